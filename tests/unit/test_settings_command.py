"""`kalepool settings`: what is set, where that comes from, and no secret of it; and the page made from the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kalepool.commands.settings import read, settings
from kalepool.config import Settings
from kalepool.errors import ConfigError
from kalepool.networks import TESTNET
from kalepool.shown_settings import options
from tools import settings_page


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(("KALEPOOL_", "DATABASE_URL"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_where_a_value_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("# mine\nkalepool_platform_fee=0.1\nKALEPOOL_API_PORT=1\n\nKALEPOOL_API_PORT=9000\n")
    monkeypatch.setenv("KALEPOOL_NETWORK", "testnet")
    monkeypatch.setenv("KALEPOOL_BLOCK_SECONDS", "60")
    monkeypatch.setenv("kalepool_platform_fee", "0.2")
    monkeypatch.setenv("DATABASE_URL", "postgresql://here/db")
    found = {field: (given.value, given.source) for field, given in read().items()}
    assert found["network"] == ("testnet", "environment")
    assert found["block_seconds"] == ("60", "environment")
    assert found["platform_fee"] == ("0.2", "environment")
    assert found["database_url"] == ("(hidden)", "environment, DATABASE_URL")
    assert found["api_port"] == ("9000", ".env, line 5")
    assert found["ledger_seconds"] == ("5", "derived from KALEPOOL_NETWORK=testnet")
    assert found["rpc_url"] == (TESTNET.rpc_url, "derived from KALEPOOL_NETWORK=testnet")
    assert found["tractor_id"] == ("none", "default")
    assert found["api_url"] == ("http://127.0.0.1:9000", "derived from KALEPOOL_API_HOST and KALEPOOL_API_PORT")
    assert found["home_domain"] == ("127.0.0.1:9000", "derived from KALEPOOL_PUBLIC_URL")
    assert found["insurance"] == ("true", "default")


def test_another_file_is_named_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pool.env").write_text("\nDATABASE_URL=postgresql://here/db\n")
    Path("pool.env").chmod(0o600)
    monkeypatch.setenv("KALEPOOL_ENV_FILE", "pool.env")
    assert read()["database_url"].source == "pool.env, line 2"
    monkeypatch.setenv("KALEPOOL_ENV_FILE", "")
    assert read()["database_url"].source == "default"


@pytest.mark.parametrize("as_json", [False, True])
def test_no_part_of_a_secret_is_shown(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "5ec2e7"
    hidden = {name for name, info in Settings.model_fields.items() if "SecretStr" in str(info.annotation)}
    assert hidden == {
        "database_url",
        "migrate_database_url",
        "coordinator_database_url",
        "api_key",
        "master_key",
        "alert_webhook",
        "relayer_key",
    }
    lines = [f"KALEPOOL_{name.upper()}=https://{secret}:{secret}@host/{secret}?{secret}#{secret}" for name in hidden]
    lines += [
        f"KALEPOOL_RPC_URL=https://rpc.example/{secret}, https://other.example/?key={secret}",
        f"KALEPOOL_RELAYER_URL=https://relayer.example/{secret}",
        f"KALEPOOL_FRIENDBOT_URL=https://{secret}@bot.example",
        f"KALEPOOL_API_URL=http://{secret}:{secret}@api.example:80?{secret}",
        f"KALEPOOL_RAY_ADDRESS=ray:{secret}@ray.example",
        f"KALEPOOL_PUBLIC_URL=https://{secret}@pool.example",
    ]
    Path(".env").write_text("\n".join(lines))
    Path(".env").chmod(0o600)
    settings(as_json=as_json)
    shown = capsys.readouterr().out
    assert secret not in shown
    assert "https://rpc.example/… (hidden),https://other.example/… (hidden)" in shown
    assert ".env, line 4" in shown


def test_every_setting_is_shown_in_lines_that_fit(capsys: pytest.CaptureFixture[str]) -> None:
    settings()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.partition("=")[0] for line in lines if line.startswith("KALEPOOL_")] == [o.name for o in options()]
    assert "    source: default; allowed: 1 to 100" in lines
    settings(as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [row["field"] for row in rows] == list(Settings.model_fields)
    assert rows[0] | {"name": "KALEPOOL_NETWORK", "value": "devnet", "source": "default"} == rows[0]


def test_a_mistyped_setting_is_told_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEPOOL_API_PROT", "1")
    with pytest.raises(ConfigError, match=r"unknown setting KALEPOOL_API_PROT: did you mean KALEPOOL_API_PORT\?"):
        settings()


def test_every_setting_explains_itself() -> None:
    assert [option.name for option in options() if not option.meaning.endswith(".")] == []
    assert all(option.heading for option in options())


def test_the_page_is_what_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_page.complaint() == ""
    old = tmp_path / "settings.md"
    old.write_text(settings_page.page().replace("`8737`", "`8738`"))
    monkeypatch.setattr(settings_page, "PAGE", old)
    assert "make fix" in settings_page.complaint()
    old.unlink()
    assert "make fix" in settings_page.complaint()
