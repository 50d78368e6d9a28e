"""The OpenAPI description: its examples are true, and its errors are ours."""

from __future__ import annotations

import jsonschema
import pytest

from kalepool.api import create_app
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


def test_every_error_is_a_problem() -> None:
    for path, operations in description()["paths"].items():
        for method, operation in operations.items():
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
