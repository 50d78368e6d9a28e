"""Calls of named queries fit the queries: name, parameters, and who may call which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kalepool.database import queries, sql_folder

PACKAGE = Path(__file__).parents[2] / "kalepool"
OWNERS = {
    "alerts": ["services/alerts.py"],
    "blocks": ["services/blocks.py"],
    "browsing": ["services/browsing.py"],
    "books": ["services/postings.py", "services/books/"],
    "coordinator": ["coordinator/"],
    "coordinators": ["services/coordinators.py"],
    "custody": ["custody.py"],
    "farm": ["view/farm.py"],
    "farmers": ["services/farmers.py"],
    "farming": ["services/farming/"],
    "health": ["services/health.py"],
    "holdings": ["services/holdings.py"],
    "journal": ["services/journal/"],
    "keys": ["services/keys.py"],
    "leaving": ["services/leaving.py"],
    "miners": ["services/mining/"],
    "operators": ["services/operators.py", "services/seeking.py"],
    "payouts": ["services/mining/"],
    "owed": ["services/owed.py"],
    "own_alerts": ["services/own_alerts.py"],
    "own_wallets": ["services/own_wallets.py", "services/prepaying.py"],
    "pool_accounts": ["services/pool_accounts.py"],
    "poolers": ["services/poolers.py"],
    "presence": ["services/presence.py"],
    "retention": ["services/retention.py"],
    "settling": ["services/settling.py"],
    "share_logs": ["services/mining/"],
    "siblings": ["services/siblings.py"],
    "signin": ["services/signin.py"],
    "totals": ["services/totals.py"],
    "upkeep": ["services/upkeep.py"],
    "view": ["view/", "up/books.py"],
    "wallets": ["services/wallets.py"],
    "webhooks": ["services/webhooks.py", "services/webhook_sending.py"],
    "withdrawals": ["services/withdrawals.py"],
}
"""Who may call the queries of a file of sql/queries: a module, or the modules of a folder. Others ask these."""

METHODS = {"fetch_all", "fetch_one", "execute", "execute_many"}


def calls() -> Iterator[tuple[str, str, str, set[str] | None]]:
    """(place, method, query, names of the keyword arguments or None where they are not written out)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
                continue
            name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if not (isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]+", name)):
                continue  # SQL written out: database.py's own, or the devnet's
            given = {keyword.arg for keyword in node.keywords if keyword.arg and keyword.arg != "row"}
            written_out = all(keyword.arg for keyword in node.keywords)
            place = f"{path.relative_to(PACKAGE.parent)}:{node.lineno}"
            yield place, node.func.attr, name, given if written_out else None


CALLS = list(calls())


def test_the_source_calls_queries() -> None:
    assert len(CALLS) > 20


@pytest.mark.parametrize(("place", "method", "query", "given"), CALLS, ids=[f"{c[0]}-{c[2]}" for c in CALLS])
def test_a_call_fits_its_query(place: str, method: str, query: str, given: set[str] | None) -> None:
    assert query in queries(), f"{place}: no query is called {query}"
    if method != "execute_many" and given is not None:
        wanted = {name.decode() for name in re.findall(rb"%\((\w+)\)s", queries()[query])}
        assert wanted == given, f"{place}: {query}"


def test_every_query_is_called_by_somebody() -> None:
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    unused = [name for name in queries() if not re.search(rf"""["']{name}["']""", source)]
    assert not unused, f"nobody calls {', '.join(unused)}"


def test_every_file_of_queries_has_an_owner() -> None:
    files = {path.stem for path in (sql_folder() / "queries").glob("*.sql")}
    assert files == set(OWNERS)
    for modules in OWNERS.values():
        assert all((PACKAGE / module).exists() for module in modules)


@pytest.mark.parametrize("file", OWNERS)
def test_queries_are_called_by_their_owner_alone(file: str) -> None:
    text = (sql_folder() / "queries" / f"{file}.sql").read_text()
    names = re.findall(r"^-- name: *(\S+) *$", text, flags=re.MULTILINE)
    named = re.compile("|".join(f"[\"']{name}[\"']" for name in names))
    strangers = [
        f"{module}: {match[0]}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not (module := str(path.relative_to(PACKAGE))).startswith(tuple(OWNERS[file]))
        for match in named.finditer(path.read_text())
    ]
    assert not strangers, f"{file}.sql is of {' and '.join(OWNERS[file])}"
