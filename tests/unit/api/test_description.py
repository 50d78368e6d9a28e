"""The OpenAPI description: its examples are true, and its errors are ours."""

from __future__ import annotations

import re

import jsonschema
import pytest

from kalepool.api import create_app
from kalepool.api.description import OPERATION_IDS
from kalepool.config import Settings
from kalepool.errors import ConfigError
from kalepool.policy.shares import ShareOutcome


def description() -> dict:
    settings = Settings(database_url="postgresql://nowhere", _env_file=None)  # pyright: ignore
    return create_app(settings).openapi()


def test_every_example_is_valid() -> None:
    described = description()
    checked = 0
    for name, schema in described["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            jsonschema.validate(
                example, {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
            )
            checked += 1
    assert checked >= 7


def test_every_operation_has_a_lasting_name_a_summary_and_examples() -> None:
    described = description()
    assert described["servers"] == [{"url": "/v1"}]
    assert not [name for name in described["components"]["schemas"] if "__" in name], "two schemas of one name"
    ids, checked = [], 0
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if method == "servers":
                continue
            name = f"{method.upper()} {path}"
            assert operation["summary"], name
            assert operation["operationId"] == OPERATION_IDS[name], "a new operation gets a name that stays"
            ids.append(operation["operationId"])
            bodies = [("request", operation.get("requestBody", {}).get("content", {}))]
            answers = operation["responses"].items()
            bodies += [("answer", answer.get("content", {})) for status, answer in answers if status < "300"]
            for what, content in bodies:
                if (form := content.get("application/json")) is None:
                    continue
                schema = form["schema"] | {"components": described["components"]}
                kind = described["components"]["schemas"].get(form["schema"].get("$ref", "").rpartition("/")[2], {})
                examples = [form["example"]] if "example" in form else kind.get("examples", [])
                assert examples or form.get("examples"), f"{name}: no example of its {what}"
                for example in examples:
                    jsonschema.validate(example, schema)
                    checked += 1
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", each) for each in ids)
    assert len(set(ids)) == len(ids) == len(OPERATION_IDS)
    assert checked > 90


def test_every_error_is_a_problem() -> None:
    for path, operations in description()["paths"].items():
        for method, operation in ((each, operations[each]) for each in operations if each != "servers"):
            for status, answer in operation["responses"].items():
                if status >= "400" and (path, status) != ("/health", "503"):
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)


def test_no_service_without_a_database() -> None:
    with pytest.raises(ConfigError, match="KALEPOOL_DATABASE_URL"):
        create_app(Settings(_env_file=None))  # pyright: ignore[reportCallIssue]


def test_a_stake_is_a_part_wherever_it_is_named() -> None:
    """1 is everything and not 1 %: whoever reads of it is told so."""
    named = {
        name: schema["properties"]["stake_percentage"]
        for name, schema in description()["components"]["schemas"].items()
        if "stake_percentage" in schema.get("properties", {})
    }
    kinds = {name.rpartition("__")[2] for name in named}
    assert {"Registration", "SelfRegistration", "FarmerChange", "FarmerView", "InfoView"} <= kinds
    for name, field in named.items():
        assert "0.1 is a tenth, 1 is everything" in field["description"], name
        assert field["examples"] == [0.1], name


def test_every_outcome_of_a_share_is_explained() -> None:
    described = description()["components"]["schemas"]["ShareAnswer"]["properties"]["outcome"]["description"]
    assert all(f"- `{outcome}`: " in described for outcome in ShareOutcome)
