"""An error's code that is written down as text is one that somebody gives: a mistyped one would never be met."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kalepool
from kalepool.api import create_app
from kalepool.config import Settings
from kalepool.coordinator.acting import MAYBE_OVER, TOO_LATE
from kalepool.errors import KalepoolError
from kalepool.policy.retries import HOPELESS, LEDGER_SAID_NO, UNFIT
from kalepool.policy.shares import ShareOutcome
from kalepool.services.farming.compensation import MAY_BE_HARVESTED

PACKAGE = Path(kalepool.__file__).parent
QUERIES = PACKAGE.parent / "sql" / "queries"

GIVEN_AT = {"Problem": 1, "ApiError": 1, "refuse": 2, "failed": 3, "Failure": 2, "cls": 2}
"""What gives a code without an error class, and the place of the code among its arguments."""

READ_AS = {"code", "codes", "problem_code"}
"""The names that a code has where it is compared."""

NO_CODES = {"to-check", "sign-in", "outcome-unknown", "webhook-id"}
"""Named in the API's description with a hyphen, and not codes: a compensation's standing, a label, an alert,
a header."""


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if not {"chain", "devnet"} & set(path.parts):  # their codes are Stellar's
            yield path, ast.parse(path.read_text())


def texts(node: ast.AST) -> set[str]:
    """The texts in an expression; not those that only look something up, as in HOPELESS["plant"]."""
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) else set()
    children = [node.value] if isinstance(node, ast.Subscript) else ast.iter_child_nodes(node)
    return {text for child in children for text in texts(child)}


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def error_classes(cls: type[KalepoolError] = KalepoolError) -> Iterator[type[KalepoolError]]:
    yield cls
    for each in cls.__subclasses__():
        yield from error_classes(each)


@pytest.fixture(scope="module")
def codes() -> set[str]:
    """Every code there is: those of the errors, and those that are given without one."""
    for module in pkgutil.walk_packages([str(PACKAGE)], "kalepool."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {cls.code for cls in error_classes()} | {MAY_BE_HARVESTED}
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (place := GIVEN_AT.get(name_of(node.func))) is not None:
                found |= {code for argument in node.args[place : place + 1] for code in texts(argument)}
    return found


def test_the_schedule_and_the_coordinator_know_the_codes_they_wait_for(codes: set[str]) -> None:
    for waited_for in (*HOPELESS.values(), UNFIT, LEDGER_SAID_NO, TOO_LATE, MAYBE_OVER):
        assert waited_for <= codes


def test_a_code_that_is_compared_exists(codes: set[str]) -> None:
    compared: dict[str, str] = {}
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and READ_AS & {name_of(part) for part in ast.walk(node)}:
                compared |= dict.fromkeys(texts(node), f"{path}:{node.lineno}")
    assert {"block-over", "pail-exists"} <= compared.keys()
    assert {code: place for code, place in compared.items() if code not in codes} == {}


def test_a_lost_stake_is_recorded_with_a_code_that_exists(codes: set[str]) -> None:
    tree = ast.parse((PACKAGE / "services" / "farming" / "compensation.py").read_text())
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "fault_of"]
    given = [text for node in ast.walk(function) if isinstance(node, ast.Return) for text in texts(node)]
    assert "work-missing" in given
    assert set(given) <= codes


def test_the_codes_of_queries_exist(codes: set[str]) -> None:
    compared: set[str] = set()
    for path in QUERIES.glob("*.sql"):
        for values in re.findall(
            r"\bcode\s+(?:NOT\s+)?(?:IN|=|<>|IS\s+(?:NOT\s+)?DISTINCT\s+FROM)\s+(\([^)]*\)|'[^']*')", path.read_text()
        ):
            compared |= set(re.findall(r"'([^']*)'", values))
    assert {"not-best", "pail-missing"} <= compared <= codes


def test_the_codes_that_the_description_promises_exist(codes: set[str]) -> None:
    settings = Settings(_env_file=None, database_url="postgresql://nowhere/none")  # pyright: ignore[reportCallIssue]
    described = str(create_app(settings).openapi())
    promised = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", described))
    assert {"block-over", "farmer-leaves"} <= promised
    assert promised - {outcome.value for outcome in ShareOutcome} - NO_CODES <= codes
