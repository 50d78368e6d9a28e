"""What /v1 promises to who calls it, a line each; `python -m tools.promises` adds what is new to its file.

    POST /work
      is work
      asks body.submissions[].nonce string
      asks body.block_index must
      answers 200 body.results[].zeros integer
      answers 200 body.results[].zeros always
      fails 429

Nothing is ever taken out: tests/unit/api/test_description.py holds today's description to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kalepool.api import create_app
from kalepool.config import Settings

PROMISED = Path(__file__).parents[1] / "tests" / "conformance" / "v1.txt"
METHODS = ("get", "put", "post", "patch", "delete")
MUST, ALWAYS = " must", " always"
"""A value has to be sent; a member is in every answer."""

Promises = dict[str, set[str]]
"""By operation, as "POST /work"."""


def described() -> dict[str, Any]:
    """Today's description."""
    return create_app(Settings(database_url="postgresql://nowhere", _env_file=None)).openapi()  # pyright: ignore


def promises(description: Mapping[str, Any]) -> Promises:
    """What a description promises."""
    return {
        f"{method.upper()} {path}": set(_of_operation(operations[method], description["components"]["schemas"]))
        for path, operations in description["paths"].items()
        for method in METHODS
        if method in operations
    }


def broken(promised: Promises, now: Promises) -> list[str]:
    """What is kept no longer, and what is demanded of callers, or new to them, where they know of nothing."""
    wrong = []
    for name, lines in sorted(promised.items()):
        there = now.get(name, set())
        wrong += [f"{name}: no longer {line!r}" for line in sorted(lines - there) if not line.endswith(MUST)]
        known = {_value(line) for line in lines}
        wrong += [f"{name}: now {line!r}" for line in sorted(there - lines) if _is_felt(line, known)]
    return wrong


def _value(line: str) -> str:
    """What a line is about: "asks body.nonce" of "asks body.nonce string"."""
    return line if line.startswith(("is ", "fails ", "takes ")) else line.rpartition(" ")[0]


def _is_felt(line: str, known: set[str]) -> bool:
    """Whether callers feel a line that is new: they send too little by now, or read what they cannot."""
    value = _value(line)
    if line.endswith(MUST):  # not where the whole of which it is a member is new and may be left out
        parent = value.rpartition(".")[0]
        return value == "asks body" or parent in known or parent in ("asks query", "asks header")
    return line.startswith("answers ") and not line.endswith(ALWAYS) and value.count(" ") == 2 and value in known


def _of_operation(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield f"is {operation['operationId']}"
    for parameter in operation.get("parameters", ()):
        where = f"asks {parameter['in']}.{parameter['name']}"
        yield from _of_schema(where, parameter["schema"], schemas, ())
        if parameter.get("required"):
            yield where + MUST
    body = operation.get("requestBody", {})
    for form, content in body.get("content", {}).items():
        yield f"takes {form}"
        yield from _of_schema("asks body", content.get("schema", {}), schemas, ())
    if body.get("required"):
        yield "asks body" + MUST
    for status, answer in operation["responses"].items():
        if status >= "400":
            yield f"fails {status}"
            continue
        yield f"answers {status}"
        for form, content in answer.get("content", {}).items():
            yield f"answers {status} {form}"
            yield from _of_schema(f"answers {status} body", content.get("schema", {}), schemas, ())


def _of_schema(
    where: str, schema: Mapping[str, Any], schemas: Mapping[str, Any], seen: tuple[str, ...]
) -> Iterator[str]:
    """Types and members of a value, and of those in it."""
    if (reference := schema.get("$ref")) is not None:
        name = reference.rpartition("/")[2]
        if name not in seen:
            yield from _of_schema(where, schemas[name], schemas, (*seen, name))
        return
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _of_schema(where, each, schemas, seen)
    if "type" in schema:
        yield f"{where} {schema['type']}"
    asked = where.startswith("asks ")
    yield from (f"{where} ={value}" for value in schema.get("enum", ()) if asked)
    yield from (f"{where}.{name}{MUST if asked else ALWAYS}" for name in schema.get("required", ()))
    for name, each in schema.get("properties", {}).items():
        yield from _of_schema(f"{where}.{name}", each, schemas, seen)
    for mark, each in (("[]", schema.get("items")), ("{}", schema.get("additionalProperties"))):
        if isinstance(each, dict):
            yield from _of_schema(where + mark, each, schemas, seen)


def read(text: str) -> Promises:
    """As `written` writes them."""
    found: Promises = {}
    lines: set[str] = set()
    for line in text.splitlines():
        if line.startswith("  "):
            lines.add(line[2:])
        elif line:
            lines = found.setdefault(line, set())
    return found


def written(found: Promises) -> str:
    return "".join(f"{name}\n" + "".join(f"  {line}\n" for line in sorted(found[name])) for name in sorted(found))


def added(promised: Promises, now: Promises) -> Promises:
    """Both together; what must be sent is what must be today."""

    def both(name: str) -> Iterable[str]:
        old, new = promised.get(name, set()), now.get(name, set())
        return {line for line in old if not line.endswith(MUST)} | new if name in now else old

    return {name: set(both(name)) for name in promised | now}


if __name__ == "__main__":
    today = promises(described())
    before = read(PROMISED.read_text()) if PROMISED.exists() else {}
    if wrong := broken(before, today):
        raise SystemExit("this breaks what /v1 promises (docs/api.md):\n" + "\n".join(wrong))
    PROMISED.write_text(written(added(before, today)))
