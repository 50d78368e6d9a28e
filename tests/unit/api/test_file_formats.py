"""Rows as files: nothing a spreadsheet would run, nothing that loses digits."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.api.file_formats import PAGE, Format, Row, cell, csv_lines, export, plain
from kalepool.database import first_id, new_id

pytestmark = pytest.mark.anyio


@given(st.text(max_size=30))
def test_no_cell_is_a_formula_and_no_text_is_lost(text: str) -> None:
    written = cell(text)
    number = text.lstrip("-").replace(".", "", 1).isdigit()
    assert number or not written.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert written in (text, f"'{text}")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (-5, "-5"),
        ("-5", "-5"),
        (0.25, "0.25"),
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-5+cmd|' /C calc'!A0", "'-5+cmd|' /C calc'!A0"),
        (True, "true"),
        ({"name": "=x"}, '{"name": "=x"}'),
    ],
)
def test_cells(value: object, written: str) -> None:
    assert cell(value) == written


@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=2, max_size=2)))
def test_a_table_is_read_as_it_was_written(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_lines(rows), newline="")))
    assert read == [[cell(text) for text in row] for row in rows]


def test_values_as_json_has_them() -> None:
    highest = 2**64 - 1
    row = {"nonce": highest, "stake_stroops": highest, "zeros": 7, "hash": b"\xab", "final": True, "note": None}
    assert {name: plain(name, value) for name, value in row.items()} == {
        "nonce": str(highest),
        "stake_stroops": str(highest),
        "zeros": 7,
        "hash": "ab",
        "final": True,
        "note": None,
    }
    assert plain("id", UUID(int=1)) == "00000000-0000-0000-0000-000000000001"
    assert plain("at", datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00+00:00"


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 2 * PAGE])
@pytest.mark.parametrize("form", ["csv", "json", "ndjson"])
async def test_every_row_once_over_the_pages(form: Format, count: int) -> None:
    async def read(last: Row | None) -> Sequence[Row]:
        start = 0 if last is None else last["number"] + 1
        return [{"number": number, "unasked": 0} for number in range(start, min(start + PAGE, count))]

    answer = await export(read, ["number"], form, "rows")
    text = "".join([part if isinstance(part, str) else bytes(part).decode() async for part in answer.body_iterator])
    match form:
        case "csv":
            found: list[Any] = [int(row["number"]) for row in csv.DictReader(io.StringIO(text))]
        case "json":
            found = [row["number"] for row in json.loads(text)]
        case "ndjson":
            found = [json.loads(line)["number"] for line in text.splitlines()]
    assert found == list(range(count))


def test_ids_are_found_by_their_time() -> None:
    before = datetime.now(UTC)
    made = new_id()
    assert first_id(before) <= made
    assert first_id(datetime(1969, 1, 1, tzinfo=UTC)) == UUID(int=0)
