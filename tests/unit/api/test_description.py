"""The OpenAPI description: its examples are true, and its errors are ours."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import jsonschema
import pytest

from kalepool.api import create_app
from kalepool.api.description import OPERATION_IDS
from kalepool.config import Settings
from kalepool.errors import ConfigError
from kalepool.policy.shares import ShareOutcome
from tools.promises import PROMISED, added, broken, promises, read, written


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
    tags = {tag["name"]: tag["description"] for tag in described["tags"]}
    ids, checked = [], 0
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if method == "servers":
                continue
            name = f"{method.upper()} {path}"
            assert operation["summary"], name
            assert len(operation["tags"]) == 1 and operation["tags"][0] in tags, name
            assert operation["operationId"] == OPERATION_IDS[name], "a new operation gets a name that stays"
            ids.append(operation["operationId"])
            bodies = [("request", operation.get("requestBody", {}).get("content", {}))]
            answers = operation["responses"].items()
            bodies += [("answer", answer.get("content", {})) for status, answer in answers if status < "300"]
            for what, content in bodies:
                for media_type, form in content.items():
                    schema = form.get("schema", {}) | {"components": described["components"]}
                    kind = described["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
                    examples = [form["example"]] if "example" in form else kind.get("examples", [])
                    assert examples or form.get("examples"), f"{name}: no example of its {what} as {media_type}"
                    for example in examples:
                        jsonschema.validate(example, schema)
                        checked += 1
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", each) for each in ids)
    assert len(set(ids)) == len(ids) == len(OPERATION_IDS)
    assert checked > 90


def test_what_v1_promised_is_kept() -> None:
    now = promises(description())
    assert broken(read(PROMISED.read_text()), now) == []
    assert read(written(now)) == now


def test_a_promise_that_is_broken_is_named() -> None:
    """Each of docs/api.md's "never", done to today's description; and what may come at any time."""
    whole = description()
    before = promises(whole)

    def after(change: Callable[[dict], object]) -> list[str]:
        changed = copy.deepcopy(whole)
        change(changed)
        return broken(before, promises(changed))

    def schema(changed: dict, name: str) -> dict:
        return changed["components"]["schemas"][name]

    def new_member(changed: dict, name: str, **form: object) -> None:
        schema(changed, name)["properties"]["more"] = form

    def demanded(changed: dict, name: str, member: str) -> None:
        schema(changed, name).setdefault("required", []).append(member)

    def more_to_send(changed: dict) -> None:
        parameter = {"in": "query", "name": "more", "schema": {"type": "string"}, "required": True}
        changed["paths"]["/info"]["get"]["parameters"] = [parameter]

    (gone,) = {line.rpartition(": ")[0] for line in after(lambda it: it["paths"].pop("/plant"))}
    assert gone == "POST /plant"
    assert after(lambda it: it["paths"]["/info"]["get"].update(operationId="info")) == [
        "GET /info: no longer 'is get_info'"
    ]
    assert len(after(lambda it: schema(it, "InfoView")["properties"].pop("version"))) == 1
    assert len(after(lambda it: schema(it, "InfoView")["required"].remove("version"))) == 1
    assert after(lambda it: schema(it, "InfoView")["properties"]["version"].update(type="integer")) == [
        "GET /info: no longer 'answers 200 body.version string'",
        "GET /info: now 'answers 200 body.version integer'",
    ]
    assert after(lambda it: demanded(it, "Registration", "more")) == [
        "POST /farmers/register: now 'asks body.more must'"
    ]
    assert after(more_to_send) == ["GET /info: now 'asks query.more must'"]
    assert after(lambda it: it["paths"]["/plant"]["post"]["responses"].pop("409")) == [
        "POST /plant: no longer 'fails 409'"
    ]
    # and what is not felt
    assert after(lambda it: new_member(it, "InfoView", type="string")) == []
    assert after(lambda it: new_member(it, "Registration", type="object", properties={"a": {}}, required=["a"])) == []
    assert after(lambda it: it["paths"].update({"/new": it["paths"]["/info"]})) == []
    assert added(before, before) == before


def test_what_an_operation_may_refuse_is_named() -> None:
    """What follows from its form: who asks, what is sent, and that others ask as well."""
    exempt = {"GET /health", "GET /alive"}  # as often as anybody likes
    wrong = []
    for path, operations in description()["paths"].items():
        for method, operation in ((each, operations[each]) for each in operations if each != "servers"):
            name = f"{method.upper()} {path}"
            named = {int(status) for status in operation["responses"] if status >= "400"}
            due = set() if name in exempt else {429, 503}
            due |= {401} if "security" in operation else set()
            due |= {413, 422} if "requestBody" in operation else set()
            due |= {422} if operation.get("parameters") else set()
            wrong += [f"{name}: {sorted(due - named)}"] if due - named else []
    assert not wrong


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
