"""Commands where no pool is: they say so, and leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from stellar_sdk import Keypair

from kalepool.__main__ import COMMANDS, app, main
from kalepool.commands import pool
from kalepool.commands.custody import rotate
from kalepool.commands.doctor import of_parts
from kalepool.commands.farmer import farmer_list, farmer_set, farmer_show, stake_limit
from kalepool.commands.pool import database_url, read_settings
from kalepool.commands.pooler import pooler_add
from kalepool.commands.status import status
from kalepool.endings import _explain
from kalepool.errors import ConfigError, InputError
from kalepool.up.folder import DataFolder, Running


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(("KALEPOOL_", "DATABASE_URL"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "configure", lambda level: None)  # logging is the whole process's


def test_a_wrong_folder_is_told_and_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> set[str]:
        looks = (status, farmer_list, lambda: farmer_show("0" * 32))
        words: set[str] = set()
        for look in (*looks, lambda: pooler_add("north"), rotate):
            with pytest.raises(ConfigError) as wrong:
                look()
            words.add(str(wrong.value))
        return words

    advice = "start `kalepool up`, or go to its folder (KALEPOOL_DATA_DIR)"
    assert said() == {f"no pool here: no .kalepool/up.json in {tmp_path}; {advice}"}
    monkeypatch.setenv("KALEPOOL_DATA_DIR", str(tmp_path / "there"))
    assert said() == {f"no pool here: no {tmp_path}/there/up.json; {advice}"}
    assert not list(tmp_path.iterdir())


def test_what_else_keeps_a_pool_from_being_found_is_told() -> None:
    with DataFolder(Path(".kalepool")) as folder:
        folder.publish(Running(os.getpid(), "mainnet", "http://a", None, "http://b", 5.0, 300))
        with pytest.raises(ConfigError, match="is on mainnet, not devnet: set KALEPOOL_NETWORK=mainnet"):
            status()
        folder.publish(Running(os.getpid(), "devnet", "http://a", None, "http://b", 5.0, 300))
        with pytest.raises(ConfigError, match="has another database: set DATABASE_URL"):
            farmer_list()


def test_a_database_of_its_own_is_asked_wherever_one_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://there/pool")
    with database_url(read_settings()) as url:
        assert url == "postgresql://there/pool" and not list(tmp_path.iterdir())


def test_a_limit_of_the_stake_is_an_amount_of_kale_or_none() -> None:
    assert [stake_limit(text) for text in ("25", "0.0000001", "none")] == ["250000000", "1", None]
    for wrong in ("", "0", "-1", "1e3", "0.00000001", "ten"):
        with pytest.raises(InputError, match=r"write 25, 0\.5 or none"):
            stake_limit(wrong)
    with pytest.raises(InputError, match="say what to change"):
        farmer_set("somebody", stake_percentage=None, stake_most=None)


def _wrong_uses(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Of a command and of all under it, a call whose last option lacks its value."""
    options = [each for each in command.params if each.param_type_name == "option" and not each.is_flag]
    if options:
        yield *path, options[-1].opts[0]
    for name, under in getattr(command, "commands", {}).items():
        yield from _wrong_uses(under, (*path, name))


@pytest.mark.parametrize("name", [name for name, *_ in COMMANDS])
def test_what_is_called_wrongly_is_named_whole(name: str) -> None:
    """`kalepool mine: …`, not `kalepool: …`: the way to its --help is told, too."""
    whole: Any = typer.main.get_command(app)
    _, command, _ = whole.resolve_command(whole.make_context("kalepool", ["--version"], resilient_parsing=True), [name])
    for words in _wrong_uses(command, (name,)):
        with pytest.raises(Exception) as wrong:
            whole.main(list(words), prog_name="kalepool", standalone_mode=False)
        said = _explain(wrong.value, "kalepool")
        called = " ".join(("kalepool", *words[:-1]))
        assert said == (f"{called}: Option '{words[-1]}' requires an argument. See `{called} --help`.", 2)


def test_what_goes_wrong_inside_a_command_begins_with_its_name_too() -> None:
    whole: Any = typer.main.get_command(app)
    with pytest.raises(ConfigError) as wrong:
        whole.main(["farmer", "show", "me"], prog_name="kalepool", standalone_mode=False)
    said = _explain(wrong.value, "kalepool")
    assert said is not None and said[0].startswith("kalepool farmer show: no pool here: ") and said[1] == 2


def test_a_wrong_value_is_repeated_and_a_secret_key_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["kalepool", *words])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().err

    assert said("simulate", "--farmers", "0").startswith("kalepool simulate: Invalid value '0' for '--farmers': ")
    for secret in (Keypair.random().secret, "kp_" + "x" * 43):
        for words in (["compensation", "pay", secret], ["devnet", "--log-level", secret], [secret]):
            assert secret not in (found := said(*words)) and "hidden" in found


def test_a_price_that_nobody_set_is_worth_a_look() -> None:
    unset = "no price of KALE is set"
    parts = {
        "price": {"state": "none", "detail": unset},
        "relayer": {"state": "none", "detail": ""},
        "chain": {"state": "down", "detail": "no answer"},
        "database": {"state": "up", "detail": ""},
    }
    assert [(each.what, each.state.value) for each in of_parts(parts)] == [("price", "look"), ("chain", "wrong")]
    parts["price"] = {"state": "none", "detail": ""}
    assert [each.what for each in of_parts(parts)] == ["chain"]
