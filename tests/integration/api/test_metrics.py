"""/metrics: whose it is, what it counts, over restarts too; and a dashboard that asks for nothing else."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from kalepool.api.routes.metrics import Metrics
from kalepool.services.farming import plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.settling import settle

pytestmark = pytest.mark.anyio

RULES = Path(__file__).parents[3] / "deploy" / "watch" / "rules.yml"
DASHBOARD = Path(__file__).parents[3] / "grafana" / "dashboard.json"


def samples(text: str) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of the labels' names) -> value; the text is well-formed or this fails."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_a_block_counts(api) -> None:
    farm = api.farm
    await farm.add_farmers(2)
    first, second = farm.farmers
    farm.devnet.node.faults.add({"kind": "unavailable", "method": "getHealth", "count": 1})
    await farm.ctx.chain.read_ledger()
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await farm.pass_time(5)
    right = Submission(first.farmer_id, await farm.nonce(first, 0))
    wrong = Submission(second.farmer_id, 1, hash=bytes(32))
    await work.work(farm.ctx, 0, farm.pooler_id, [right, wrong])

    answer = await api.operator.get("/metrics")
    assert answer.status_code == 200
    now = samples(answer.text)
    assert now["kalepool_plants_total", "", "planted"] == 2
    assert now["kalepool_works_total", "", "worked"] == 1
    assert now["kalepool_works_total", "hash-mismatch", "refused"] == 1
    assert now["kalepool_transactions_total", "plant", "applied"] == 2
    assert now["kalepool_inclusion_seconds_count", "plant"] == 2
    assert now["kalepool_inclusion_seconds_bucket", "plant", "+Inf"] == 2
    assert now["kalepool_fees_stroops_total", "plant"] > 0
    assert now["kalepool_staked_stroops_total",] == sum(
        int(row[0]) for row in await farm.rows("SELECT stake_stroops FROM plantings")
    )
    assert now["kalepool_rpc_errors_total", "getHealth"] >= 1
    assert now["kalepool_component_up", "database"] == 1
    assert now["kalepool_suspected_miners",] == 0
    assert now["kalepool_farmers_by_status", "active"] == 2

    # A new process, with everything settled: the same counters, and nothing counted twice later.
    await settle(farm.ctx.database, datetime.now(UTC) + timedelta(hours=1))
    fresh = Metrics(farm.ctx, api.app.state.health, api.app.state.days)
    for _ in range(2):
        again = samples((await fresh.text()).decode())
        for key in now:
            if key[0].endswith(("_total", "_bucket", "_count")) and "rpc" not in key[0]:
                assert again[key] >= now[key]
        assert again["kalepool_plants_total", "", "planted"] == 2
        fresh._last = None

    # The dashboard asks for what there is, and for everything worth a look.
    text = DASHBOARD.read_text()
    asked = {
        name
        for panel in json.loads(text)["panels"]
        for target in panel["targets"]
        for name in re.findall(r"kalepool_\w+", target["expr"])
    }
    rules = {
        name
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        for name in re.findall(r"kalepool_\w+", rule["expr"])
    }
    types = set(re.findall(r"^# TYPE (\S+)", answer.text, re.M))
    there = types | {name + "_bucket" for name in types}
    assert asked | rules <= there, (asked | rules) - there
    assert len(asked) >= 15 and len(rules) >= 8


async def test_for_operators_only(api) -> None:
    async def status(client: httpx2.AsyncClient, **headers: str) -> int:
        return (await client.get("/metrics", headers=headers)).status_code

    for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"Host": "127.0.0.1"}):
        assert await status(api.anybody, **headers) == 401  # from this machine: a proxy's callers would be so, too
    assert await status(api.pooler) == 403
    assert await status(api.operator) == 200
    far = httpx2.ASGITransport(app=api.app, client=("203.0.113.9", 4000))
    async with httpx2.AsyncClient(transport=far, base_url="http://pool") as stranger:
        assert await status(stranger) == 401
        assert await status(stranger, Authorization=api.operator.headers["Authorization"]) == 200
    assert "/metrics" not in api.app.openapi()["paths"]
