"""Rows as files: CSV, JSON and NDJSON, a page at a time, so that a long history needs little memory."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Literal
from uuid import UUID

from fastapi.responses import StreamingResponse

Format = Literal["csv", "json", "ndjson"]
Row = Mapping[str, Any]

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
}
PAGE = 250
"""Rows read and written at once: others wait meanwhile."""

_TEXT_NUMBERS = re.compile(r".*_stroops|nonce|sequence")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain(name: str, value: Any) -> Any:
    """A column's value as JSON has it: amounts and nonces as text, hashes as hex digits, times as ISO 8601."""
    match value:
        case bytes():
            return value.hex()
        case UUID():
            return str(value)
        case date():
            return value.isoformat()
        case int() if not isinstance(value, bool) and _TEXT_NUMBERS.fullmatch(name):
            return str(value)
        case _:
            return value


def cell(value: Any) -> str:
    """A CSV cell. Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    """Lines as RFC 4180 has them."""
    out = io.StringIO()
    csv.writer(out).writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()


async def export(
    read: Callable[[Row | None], Awaitable[Sequence[Row]]], columns: Sequence[str] | None, form: Format, name: str
) -> StreamingResponse:
    """All rows, a page at a time: `read` gets the last row of the page before and gives up to PAGE rows.

    `columns`: those of the rows where None. The first page is read before the answer begins, so that an error there is
    told as a problem.
    """
    first = await read(None)
    if columns is None:
        columns = list(first[0]) if first else []

    async def pages() -> AsyncIterator[list[dict[str, Any]]]:
        rows = first
        while rows:
            yield [{column: plain(column, row[column]) for column in columns} for row in rows]
            rows = await read(rows[-1]) if len(rows) == PAGE else []

    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"', "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(_written(pages(), columns, form), media_type=MEDIA_TYPES[form], headers=headers)


async def _written(
    pages: AsyncIterator[list[dict[str, Any]]], columns: Sequence[str], form: Format
) -> AsyncIterator[str]:
    match form:
        case "csv":
            yield csv_lines([columns])
            async for rows in pages:
                yield csv_lines(row.values() for row in rows)
        case "ndjson":
            async for rows in pages:
                yield "".join(json.dumps(row) + "\n" for row in rows)
        case "json":
            begun = False
            async for rows in pages:
                yield ("," if begun else "[") + ",\n".join(json.dumps(row) for row in rows)
                begun = True
            yield "]" if begun else "[]"


def documented_export(*forms: Format) -> dict[int | str, dict[str, Any]]:
    """What an export answers, for its OpenAPI description."""
    schema = {
        "csv": {"type": "string"},
        "json": {"type": "array", "items": {"type": "object"}},
        "ndjson": {"type": "string"},
    }
    content = {MEDIA_TYPES[form].partition(";")[0]: {"schema": schema[form]} for form in forms}
    return {200: {"description": "The rows, as a file.", "content": content}}
