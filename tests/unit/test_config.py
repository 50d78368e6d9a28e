"""Settings: what is written wrongly is told, and never left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kalepool.config import Settings
from kalepool.errors import ConfigError


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(("KALEPOOL_", "DATABASE_URL"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def told() -> str:
    with pytest.raises(ConfigError) as wrong:
        Settings.load()
    return str(wrong.value)


def test_an_unknown_name_is_told_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("# mine\n\nPATH_OF_OTHERS=1\n\nexport KALEPOOL_NETWROK=mainnet\n")
    assert told() == ".env, line 5: unknown setting KALEPOOL_NETWROK: did you mean KALEPOOL_NETWORK?"
    monkeypatch.setenv("kalepool_data_dri", "/tmp")
    assert told() == "unknown setting kalepool_data_dri: did you mean KALEPOOL_DATA_DIR?"


def test_names_that_others_read_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    others = ("BACKEND", "FUZZ_EXAMPLES", "SERVICE_HOST", "DB_SERVICE_PORT_PG", "PORT_8737_TCP_ADDR")
    for name in others:
        monkeypatch.setenv(f"KALEPOOL_{name}", "1")
    monkeypatch.setenv("KALEPOOL_PORT", "tcp://10.0.0.1:8737")
    assert Settings.load().network == "devnet"


@pytest.mark.parametrize("line", ["KALEPOOL_NETWORK: mainnet", "KALEPOOL_NETWORK", 'KALEPOOL_API_KEY="secret', "=1"])
def test_a_line_that_is_no_setting_is_told_without_its_text(line: str) -> None:
    Path(".env").write_text(f"\nDATABASE_URL=postgresql://x\n\n{line}\nKALEPOOL_PLATFORM_FEE=0.1\n")
    assert told() == ".env, line 4: not a setting: write NAME=value"


def test_a_file_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_bytes("A=1\nKALEPOOL_HOME_DOMAIN=münchen\n".encode("latin-1"))
    assert ".env, line 2: not UTF-8" in told()
    Path(".env").write_bytes("KALEPOOL_NETWORK=mainnet\n".encode("utf-16"))
    assert ".env, line 1: not UTF-8" in told()
    Path(".env").unlink()
    Path(".env").mkdir()
    assert told() == ".env cannot be read: Is a directory"
    monkeypatch.setenv("KALEPOOL_ENV_FILE", "gone")
    assert told() == "there is no gone, which KALEPOOL_ENV_FILE names"


def test_a_byte_order_mark_hides_nothing() -> None:
    Path(".env").write_bytes("KALEPOOL_NETWORK=mainnet\n".encode("utf-8-sig"))
    assert Settings.load().network == "mainnet"


@pytest.mark.parametrize("name", ["KALEPOOL_MASTER_KEY", "kalepool_api_key", "DATABASE_URL", "KALEPOOL_ALERT_WEBHOOK"])
def test_a_file_with_a_secret_is_closed_to_others(name: str) -> None:
    file = Path(".env")
    file.write_text(f"KALEPOOL_NETWORK=testnet\n{name}=hush\n")
    for mode in (0o644, 0o640, 0o604):
        file.chmod(mode)
        assert told() == f".env holds {name.upper()} and is open to others ({mode:o}): chmod 600 .env"
    file.chmod(0o600)
    assert Settings.load().network == "testnet"
    file.write_text("KALEPOOL_NETWORK=testnet\n")
    file.chmod(0o644)
    assert Settings.load().network == "testnet", "nothing secret is in it"


SECRET = "SBQWY3DNPFWGSQZ7I4WFRNAFHIVSL6JYBPMZHV4MRFS4HCNLKWQRX7NS"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PLATFORM_FEE", "5", "=5: should be less than 1"),
        ("KALE_PRICE_XLM", "0,004", "=0,004: should be 'pool' or a valid number, unable to parse string as a number"),
        ("RPC_URL", "rpc.example/hunter2", ": no web address: write it as https://host or https://host:port/path"),
        ("CONTRACT_ID", "xyz", "=xyz: not a C… address of 56 characters, of which the last confirm the others"),
        ("ASSET_ISSUER", SECRET, "=(a secret key, hidden): not a G… address"),
        ("MASTER_KEY_FILE", "", "=: empty: write a path, or leave the setting out"),
        ("NETWORK_PASSPHRASE", "", "=: String should have at least 1 character"),
    ],
)
def test_a_wrong_value_is_told_with_what_it_may_be(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"KALEPOOL_{name}", value)
    assert told().startswith(f"wrong settings: KALEPOOL_{name}{said}")


def test_a_kernel_named_in_the_file_would_be_named_to_nobody() -> None:
    Path(".env").write_text("KALEPOOL_BACKEND=avx2\n")
    assert told() == ".env, line 1: KALEPOOL_BACKEND is read from the environment alone: export it there"
