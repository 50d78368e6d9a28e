"""The description's examples are what the API answers, and /v1 is the API."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest

from kalepool.api import versions
from kalepool.api.limits import RateLimits
from kalepool.api.versions import Ending
from tests.integration.api.test_roles import NOBODY, TABLE, UNLIMITED, Call, Cast, ask, cast  # noqa: F401  a fixture

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[3] / "kalepool" / "api" / "examples.json"
SECRET = re.compile(r'(?<="invite": ")[^"]{40,}|(?<="secret": ")[^"]{40,}|kp_[A-Za-z0-9_-]{20,}')


def forms(api, operation: str) -> list[str]:
    """The values of `format`, where it is asked for one; else one that is empty."""
    method, path = operation.split(" ")
    parameters = api.app.openapi()["paths"][path][method.lower()].get("parameters", ())
    return next((each["schema"]["enum"] for each in parameters if each["name"] == "format"), [""])


async def recorded(api, the: Cast, operation: str, call: Call, number: int) -> dict[str, Any]:
    """What an operation is asked and answers, by somebody who may."""
    sent = call.body(the) if call.body else None
    who = NOBODY if NOBODY in call.may else sorted(call.may)[0]
    found: dict[str, Any] = {} if sent is None else {"request": sent}
    for form in forms(api, operation):
        params = call.params | ({"format": form} if form else {})
        fixed = Call(call.may, (lambda _: sent) if sent is not None else None, params, call.headers, call.found)
        answer = await ask(api, the, operation, fixed, who, number)
        if answer is None or not answer.content or answer.status_code >= 300:
            continue
        media_type = answer.headers["content-type"].partition(";")[0]
        if media_type == "application/json":
            found["answer"] = answer.json()
        else:
            found.setdefault("texts", {})[media_type] = answer.text
    return json.loads(SECRET.sub("x" * 43, json.dumps(found)))


@pytest.mark.slow(10, "every operation is asked")
async def test_every_operation_s_example_is_what_it_answers(api, cast: Cast) -> None:  # noqa: F811
    api.app.state.limits = RateLimits(api.farm.settings.model_copy(update=UNLIMITED))
    last = sorted(TABLE, key=lambda each: (each.endswith("/leave"), each.startswith("POST /farmer/")))
    live = {each: await recorded(api, cast, each, TABLE[each], number) for number, each in enumerate(last)}
    if os.environ.get("KALEPOOL_RECORD_EXAMPLES"):
        before = json.loads(
            EXAMPLES.read_text()
        )  # some were written: what it takes hours or a signature to be answered
        made = {each: before.get(each, {}) | live[each] for each in sorted(live) if before.get(each) or live[each]}
        EXAMPLES.write_text(json.dumps(made, indent=1) + "\n")
    described = api.app.openapi()
    wrong = []
    for operation, found in live.items():
        method, path = operation.split(" ")
        for status, answer in described["paths"][path][method.lower()]["responses"].items():
            schema = answer.get("content", {}).get("application/json", {}).get("schema")
            if status < "300" and schema and "answer" in found:
                try:
                    jsonschema.validate(found["answer"], schema | {"components": described["components"]})
                except jsonschema.ValidationError as error:
                    wrong.append(f"{operation}: {error.message}")
    assert not wrong
    assert sum("answer" in found for found in live.values()) > 45


async def test_v1_is_the_api_and_nothing_else(api, monkeypatch: pytest.MonkeyPatch) -> None:
    farmer = (await api.farm.add_farmers(1))[0]
    for client, path in (
        (api.anybody, "/info"),
        (api.anybody, "/books"),
        (api.operator, f"/farmers/{farmer.farmer_id}"),
    ):
        old, new = await client.get(path), await client.get(f"/v1{path}")
        assert new.status_code == old.status_code == 200
        assert new.json().keys() == old.json().keys()
    body = {"block_index": 0, "pooler_id": str(api.farm.pooler_id)}
    assert (await api.pooler.post("/v1/plant", json=body)).json()["planted"]
    assert (await api.anybody.head("/v1/info")).status_code == 200
    assert (await api.anybody.get("/v1/poolers/none")).json()["code"] == (
        await api.anybody.get("/poolers/none")
    ).json()["code"]
    for path in ("/v1", "/v1/", "/v1/metrics", "/v1/docs", "/v1/v1/info", "/v2/info", "/v1/farm", "/v1//info"):
        assert (await api.anybody.get(path)).status_code == 404, path
    assert "deprecation" not in (await api.anybody.get("/v1/info")).headers
    ending = Ending(datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC))
    monkeypatch.setitem(versions.ENDINGS, "GET /info", ending)
    for path in ("/v1/info", "/info"):
        answer: httpx2.Response = await api.anybody.get(path)
        assert answer.headers["deprecation"] == "@1798761600"
        assert answer.headers["sunset"] == "Sat, 01 Jan 2028 00:00:00 GMT"
    assert "sunset" not in (await api.anybody.get("/v1/books")).headers
