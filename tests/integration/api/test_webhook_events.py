"""Everything that a webhook is told of, from what makes it happen to the receiver, by the API's own chores."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from kalepool.services import withdrawals
from kalepool.services.farmers import find_farmer
from kalepool.services.farming import plant
from kalepool.services.keys import Role, create_key
from tests.integration.conftest import KALE
from tests.integration.services.test_payouts import credited, payee
from tests.support.receiver import Received, Receiver, documented_verify, receiving

pytestmark = pytest.mark.anyio


async def told(receiver: Receiver, *types: str) -> dict[str, Received]:
    """The first of each type, once each has come."""
    async with asyncio.timeout(30):
        while not set(types) <= set(receiver.types()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return {each.json["type"]: each for each in reversed(receiver.taken)}


@pytest.mark.slow(6, "a block to its harvest, payments, and what they wait for")
async def test_all_that_happens_is_told_as_the_api_shows_it(api) -> None:
    farm, operator = api.farm, api.operator
    lazy, keen = await farm.add_farmers(2)
    pooler = {"pooler_id": str(farm.pooler_id)}
    async with receiving() as receiver:
        farm.ctx.settings = farm.settings.model_copy(update={"webhook_origins": receiver.url.rpartition("/")[0]})
        made = (await operator.post("/v1/operator/webhooks", json={"url": receiver.url})).json()
        [listed] = (await operator.get("/v1/operator/webhooks")).json()["items"]
        assert len(listed["types"]) == 11 and made["secret"] not in str(listed)

        # A block: one farmer is worked and harvested, the other loses its stake; and then they are paid.
        open_block = (
            "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) VALUES (0, %s, %s, now())"
        )
        await farm.rows(open_block, farm.pooler_id, bytes(32))
        assert len((await plant.plant(farm.ctx, 0, farm.pooler_id)).planted) == 2
        work = {"farmer_id": str(keen.farmer_id), "nonce": str(await farm.nonce(keen, 0, zeros=1))}
        worked = (await api.pooler.post("/v1/work", json={**pooler, "block_index": 0, "submissions": [work]})).json()
        assert worked["accepted"], worked
        await farm.rows("UPDATE block_operations SET status = 'given_up', closed_at = now()")
        await farm.rows("UPDATE block_operations SET reason = 'said again'")
        await farm.end_block()
        await farm.start_block(1)
        assert (await api.pooler.post("/v1/harvest", json={**pooler, "block_index": 0})).status_code == 200
        wallet = await payee(farm)
        await farm.pay_out_to(keen, wallet.public_key)
        farmer = await find_farmer(farm.ctx.database, keen.farmer_id)
        assert farmer is not None
        await withdrawals.withdraw(farm.ctx, farmer, "test", "KALE", 5 * KALE)
        [(miner_id, _)] = await credited(farm, 30 * KALE)
        await operator.post(f"/v1/operator/webhooks/{made['webhook_id']}/test")
        types = ("block.opened", "block.closed", "harvest", "planting", "stake.lost", "withdrawal", "payout", "test")
        found = await told(receiver, *types)

        # Each once (and both farmers were planted), signed, and as the API shows it.
        assert sorted(receiver.types()) == sorted([*types, "planting"])
        for each in receiver.taken:
            documented_verify()(made["secret"], each.headers, each.body)
            assert each.json["id"] == each.headers["webhook-id"] and each.json["api_version"] == "v1"
        data = {kind: each.json["data"] for kind, each in found.items()}
        miner = api.client((await create_key(farm.ctx.database, Role.MINER, subject_id=miner_id)).key)
        withdrawal_id = data["withdrawal"]["withdrawal_id"]

        async def first(client, path: str, **more: str) -> dict:
            return (await client.get(f"/v1{path}")).json()["items"][0] | more

        async with miner:
            paid = await first(miner, "/miner/payouts", miner_id=str(miner_id))
        assert data["payout"] == paid and paid["status"] == "paid"
        block = await first(operator, f"/poolers/{farm.pooler_id}/blocks", **pooler)
        assert data["block.closed"] == block | {name: data["block.closed"][name] for name in ("harvested", *KALE_SUMS)}
        assert (data["block.closed"]["planted"], data["block.closed"]["worked"]) == (2, 1)
        assert data["block.opened"].keys() == block.keys() and data["block.opened"]["status"] in ("open", "given_up")
        harvest = await first(operator, f"/farmers/{keen.farmer_id}/blocks", farmer_id=str(keen.farmer_id))
        assert data["harvest"] == harvest and int(harvest["reward_stroops"]) > 0
        lost = await first(operator, "/operator/compensations")
        later = {name: data["stake.lost"][name] for name in ("wait_code", "wait_message")}  # what it waits for by now
        assert data["stake.lost"] == lost | later and lost["farmer_id"] == str(lazy.farmer_id)
        path = f"/v1/farmers/{keen.farmer_id}/withdrawals/{withdrawal_id}"
        assert data["withdrawal"] == (await operator.get(path)).json()

        # Operators see what became of it, have it sent again, and are written down.
        deliveries = f"/v1/operator/webhooks/{made['webhook_id']}/deliveries"
        rows = (await operator.get(deliveries, params={"status": "delivered"})).json()["items"]
        assert {row["type"] for row in rows} == set(types)
        again = await operator.post(f"{deliveries}/{data_id(found['payout'])}/again")
        assert again.json()["status"] == "waiting"
        async with asyncio.timeout(30):
            while receiver.types().count("payout") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await operator.post(f"{deliveries}/{UUID(int=1)}/again")).status_code == 404
        assert (await operator.delete(f"/v1/operator/webhooks/{made['webhook_id']}")).status_code == 204
        assert (await operator.get(deliveries)).status_code == 404
        assert (await operator.get("/v1/operator/webhooks")).json() == {"items": []}
        said = [row["action"] for row in (await operator.get("/v1/operator/actions")).json()["items"]]
        assert said[:4] == ["delete-webhook", "resend-webhook", "test-webhook", "add-webhook"]
        metrics = (await operator.get("/metrics")).text
        assert 'kalepool_webhook_deliveries{status="waiting"} 0.0' in metrics
    refused = await operator.post("/v1/operator/webhooks", json={"url": "http://10.0.0.1/kale"})
    assert refused.status_code == 422 and "KALEPOOL_WEBHOOK_ORIGINS" in refused.json()["detail"]


KALE_SUMS = ("rewarded_stroops", "forecast_stroops")
"""Of a block at its close, when nothing of it is harvested yet."""


def data_id(received: Received) -> str:
    return received.json["id"]
