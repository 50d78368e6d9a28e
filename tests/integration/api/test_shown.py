"""All that a public page shows is had from /v1, and is the same there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from jinja2 import Environment, nodes

from kalepool.api.rendering import FOLDER
from tests.integration.api.test_roles import FORMS, PAGE, TABLE, Cast, cast  # noqa: F401  a fixture

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_day")]

SHOWN: dict[str, dict[str, str]] = {
    "pool.html": {},
    "parts/clock.html": {"moment": "GET /pool"},
    "parts/verdict.html": {"verdict": "GET /pool verdict", "moment": "GET /pool"},
    "parts/figures.html": {"moment": "GET /pool", "over": "GET /pool last_over"},
    "parts/farmers.html": {"farmer": "GET /pool/farmers items"},
    "parts/blocks.html": {"block": "GET /pool/blocks items"},
    "parts/days.html": {"day": "GET /books/days"},
    "block.html": {
        "block": "GET /pool/blocks/{index} block",
        "chain": "GET /pool/blocks/{index} chain",
        "result": "GET /pool/blocks/{index} result",
        "farmer": "GET /pool/blocks/{index}/farmers items",
    },
    "farmer.html": {"farmer": "GET /pool/farmers/{farmer_id} farmer", "block": "GET /pool/farmers/{farmer_id} blocks"},
    "farm/parts/figures.html": {"totals": "GET /farmers/{farmer_id}/totals"},
    "farm/parts/blocks.html": {"block": "GET /farmers/{farmer_id}/blocks items"},
    "farm/parts/withdrawals.html": {
        "each": "GET /farmers/{farmer_id}/withdrawals items",
        "leaving": "GET /farmers/{farmer_id}/leave",
    },
    "mine/parts/figures.html": {"balance": "GET /miner/balance"},
    "mine/parts/rigs.html": {"rig": "GET /miner/rigs"},
    "mine/parts/payouts.html": {"each": "GET /miner/payouts items"},
    "operator/poolers.html": {"row": "GET /operator/poolers items"},
    "operator/miners.html": {"row": "GET /operator/miners items"},
    "operator/now.html": {"waiting": "GET /operator/waiting", "alert": "GET /operator/waiting alerts"},
    "operator/submission.html": {
        "row": "GET /operator/submissions/{submission_id}",
        "part": "GET /operator/submissions/{submission_id} parts",
    },
    "webhooks.html": {"row": "GET /miner/webhooks items", "each": "GET /miner/webhooks/{webhook_id}/deliveries items"},
    "miner.html": {"miner": "GET /pool/miners/{miner_id} miner", "block": "GET /pool/miners/{miner_id} blocks"},
}
"""By template: what it names, and where that is had: an operation, and the member of its answer."""

OTHERWISE = {
    "moment.index": "block_index",
    "moment.block": "bounds",
    "moment.is_silent": "silent",
    "moment.told_servers": "servers",
    "block.min_zeros": "bounds",
    "result.price": "price_xlm",
    "farmer.planted": "stake_stroops",
    "farmer.worked": "worked_zeros",
    "farmer.waiting_for": "missing",
    "day.isoformat": "day",
    "day.strftime": "day",
    "waiting.is_nothing": "alerts",
    "balance.payout_code": "waits_code",
}
"""What has another name there, or is read off another member."""

PAGES = {
    "/": [
        "GET /pool",
        "GET /pool/farmers",
        "GET /pool/blocks",
        "GET /pool/hashrates",
        "GET /pool/events",
        "GET /books/days",
    ],
    "/events": ["GET /pool", "GET /pool/events"],
    "/find": ["GET /pool/find"],
    "/block/{index:int}": ["GET /pool/blocks/{index}", "GET /pool/blocks/{index}/farmers"],
    "/farmer/{farmer_id:uuid}": ["GET /pool/farmers/{farmer_id}"],
    "/miner/{miner_id:uuid}": ["GET /pool/miners/{miner_id}"],
    "/mine/browser": ["GET /miner/me", "GET /miner/job", "POST /miner/shares"],
    # somebody may be signed in
    "/farm": ["GET /pool/terms", "GET /farmer/farmers"],
    "/farm/join": ["GET /pool/terms", "GET /farmer/poolers"],
    "/farm/{farmer_id:uuid}": [
        "GET /farmers/{farmer_id}",
        "GET /farmers/{farmer_id}/totals",
        "GET /farmers/{farmer_id}/blocks",
        "GET /farmers/{farmer_id}/withdrawals",
        "GET /farmers/{farmer_id}/leave",
    ],
    "/farm/{farmer_id:uuid}/parts": ["GET /farmers/{farmer_id}", "GET /farmers/{farmer_id}/blocks"],
    "/farm/{farmer_id:uuid}/books.csv": ["GET /farmers/{farmer_id}/export"],
    "/farm/{farmer_id:uuid}/deposit": ["GET /farmers/{farmer_id}"],
    "/farm/{farmer_id:uuid}/withdraw": ["GET /farmers/{farmer_id}", "GET /farmers/{farmer_id}/withdrawals"],
    "/farm/{farmer_id:uuid}/leave": ["GET /farmers/{farmer_id}/leave"],
    "/farm/{farmer_id:uuid}/webhooks": [
        "GET /farmers/{farmer_id}/webhooks",
        "GET /farmers/{farmer_id}/webhooks/{webhook_id}/deliveries",
    ],
    "/mine": ["GET /pool/terms", "GET /miner/me"],
    "/mine/join": ["GET /pool/terms"],
    "/mine/{own_miner_id:uuid}": [
        "GET /miner/me",
        "GET /miner/rigs",
        "GET /miner/credits",
        "GET /miner/balance",
        "GET /miner/payouts",
        "GET /keys",
    ],
    "/mine/{own_miner_id:uuid}/parts": ["GET /miner/me", "GET /miner/balance"],
    "/mine/{own_miner_id:uuid}/statement.csv": ["GET /miner/statement"],
    "/mine/{own_miner_id:uuid}/webhooks": ["GET /miner/webhooks", "GET /miner/webhooks/{webhook_id}/deliveries"],
    "/operator": ["GET /health", "GET /pool", "GET /operator/planting", "GET /operator/waiting"],
    "/operator/page/farmers": ["GET /farmers"],
    "/operator/page/poolers": ["GET /operator/poolers"],
    "/operator/page/miners": ["GET /operator/miners"],
    "/operator/page/keys": ["GET /operator/keys", "GET /operator/invites"],
    "/operator/page/journal": ["GET /operator/submissions", "GET /operator/waiting", "GET /operator/gaps"],
    "/operator/page/journal/{submission_id:uuid}": ["GET /operator/submissions/{submission_id}"],
    "/operator/page/money": ["GET /books", "GET /operator/fees", "GET /operator/compensations"],
    "/operator/page/audit": ["GET /operator/actions"],
    "/operator/page/webhooks": ["GET /operator/webhooks", "GET /operator/webhooks/{webhook_id}/deliveries"],
}
"""By page, the operations that have what it shows, for whom it is shown to."""

NO_FIGURES = {
    "/mine/package/{name}": "a file",
    "/static/mine/{name}": "a file",
    "/static/{name:path}": "a file",
    "/farm/wallet": "the visitor's own account, which any RPC server tells",
    "/operator/page/settings": "the process's environment; `kalepool settings --json`",
}


def test_every_page_s_figures_are_had_from_an_operation() -> None:
    pages = PAGE | {each for each in FORMS if not each.startswith("POST ")}
    assert sorted(PAGES | NO_FIGURES) == sorted(pages)
    assert {each for operations in PAGES.values() for each in operations} <= set(TABLE)


def attributes(template: str, names: set[str]) -> Iterator[tuple[str, str]]:
    """What a template asks of the values of these names."""
    text = (FOLDER / "templates" / template).read_text()
    parsed = Environment(autoescape=True).parse(re.sub(r"{% extends [^%]*%}", "", text))
    for found in parsed.find_all(nodes.Getattr):
        place = found.node
        name = place.name if isinstance(place, nodes.Name) else place.attr if isinstance(place, nodes.Getattr) else ""
        if name in names:
            yield name, found.attr


def members(described: dict, place: str) -> set[str]:
    """Names of what an operation answers, or of the objects in a member of it."""
    method, path, *inner = place.split(" ")
    schema = described["paths"][path][method.lower()]["responses"]["200"]["content"]["application/json"]["schema"]
    while True:
        if "$ref" in schema:
            schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            schema = next(each for each in schema["anyOf"] if each.get("type") != "null")
        elif schema["type"] == "array":
            schema = schema["items"]
        elif inner:
            schema = schema["properties"][inner.pop(0)]
        else:
            return set(schema["properties"])


async def test_what_a_template_names_is_in_the_answer(api) -> None:
    described = api.app.openapi()
    missing, asked = [], 0
    for template, names in SHOWN.items():
        for name, attribute in attributes(template, set(names)):
            asked += 1
            if OTHERWISE.get(f"{name}.{attribute}", attribute) not in members(described, names[name]):
                missing.append(f"{template}: {name}.{attribute} is not in the answer of {names[name]}")
    assert not missing, "\n".join(missing)
    assert asked > 80


async def test_the_page_and_the_answer_say_the_same(api, cast: Cast) -> None:  # noqa: F811
    client, farmer = api.anybody, cast.farmer
    (shown,) = (await client.get("/v1/pool/farmers")).json()["items"]
    page = (await client.get("/")).text
    assert shown["custodial_wallet"] == farmer.custodial_wallet and shown["stake_stroops"] == "0"
    pool = (await client.get("/v1/pool")).json()
    assert (pool["planted"], pool["active"], pool["block_index"]) == (1, 1, 0)
    assert pool["verdict"]["title"] in page and f'href="/block/{pool["block_index"]}"' in page
    events = (await client.get("/v1/pool/events")).json()
    assert [each["action"] for each in events][-1] == "plant"
    block = (await client.get("/v1/pool/blocks/0/farmers")).json()
    assert [each["plant_transaction"] for each in block["items"]] == [events[-1]["transaction_hash"]]
    found = (await client.get("/v1/pool/find", params={"q": farmer.custodial_wallet})).json()
    assert found == [{"what": "farmer", "name": farmer.custodial_wallet, "path": f"/farmer/{farmer.farmer_id}"}]
    one = (await client.get(f"/v1/pool/farmers/{farmer.farmer_id}")).json()
    assert one["farmer"]["blocks_planted"] == len(one["blocks"]) == 1
    assert (await client.get(f"/v1/pool/miners/{cast.miner_id}")).json()["miner"]["name"] == "one"
    books = (await client.get("/v1/books")).json()
    assert {each["kind"]: each["stroops"] for each in books["on_chain"]}.items() <= books["balances"].items()
    first = (await client.get("/v1/pool/farmers", params={"limit": 1})).json()
    assert first["next"] == shown["farmer_id"]
    assert (await client.get("/v1/pool/farmers", params={"after": first["next"]})).json()["items"] == []
    for missing in ("blocks/7", "blocks/7/farmers", f"farmers/{cast.miner_id}", f"miners/{farmer.farmer_id}"):
        assert (await client.get(f"/v1/pool/{missing}")).status_code == 404
