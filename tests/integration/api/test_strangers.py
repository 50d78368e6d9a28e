"""What outside poolers and strangers try at an open pool: to burn what is not theirs, and to farm at its cost."""

from __future__ import annotations

import pytest

from tests.integration.api.test_farmer_way import add_wallet, signed_in, wait_ready
from tests.integration.conftest import KALE

pytestmark = pytest.mark.anyio


async def test_a_pooler_decides_over_no_more_of_a_balance_than_the_usual_part(api) -> None:
    farm = api.farm
    await wait_ready(api)
    wallet = await add_wallet(farm)
    wish = {"pooler_id": str(farm.pooler_id), "payout_wallet": wallet.public_key}
    greedy = await api.pooler.post("/farmers/register", json=wish | {"stake_percentage": 1})
    assert (greedy.status_code, greedy.json()["code"]) == (403, "forbidden")
    answer = await api.pooler.post("/farmers/register", json=wish)
    assert answer.status_code == 201, answer.text
    assert "kp_" not in answer.text, "no key of the farmer's"
    farmer = f"/farmers/{answer.json()['farmer_id']}"
    assert (await api.pooler.patch(farmer, json={"stake_percentage": 1})).status_code == 403
    order = {"role": "farmer", "subject_id": answer.json()["farmer_id"]}
    assert (await api.pooler.post("/operator/keys", json=order)).status_code == 403

    # not with a key of the farmer's that it got somewhere either: the wallet itself has to sign in
    stolen = api.client((await api.operator.post("/operator/keys", json=order)).json()["api_key"])
    refused = await stolen.patch(farmer, json={"stake_percentage": 1})
    assert (refused.status_code, refused.json()["code"]) == (403, "sign-in-needed")
    assert (await stolen.get(farmer)).json()["stake_percentage"] == 0.1
    owner = await signed_in(api, wallet)
    assert (await owner.patch(farmer, json={"stake_percentage": 1})).json()["stake_percentage"] == 1


async def test_a_try_before_the_plant_moves_no_blame(api) -> None:
    """A pooler that never means to work hands in something that has to fail: the loss stays its own."""
    farm = api.farm
    await wait_ready(api)
    pooler = str(farm.pooler_id)
    (farmer,) = await farm.add_farmers(1)
    await farm.end_block()
    await farm.start_block(1)
    nonce = [{"farmer_id": str(farmer.farmer_id), "nonce": "1"}]
    early = await api.pooler.post("/work", json={"block_index": 1, "pooler_id": pooler, "submissions": nonce})
    (refused,) = early.json()["refused"]
    assert (refused["code"], refused["fault"]) == ("pail-missing", "pooler")
    planted = await api.pooler.post("/plant", json={"block_index": 1, "pooler_id": pooler})
    assert planted.json()["totals"]["planted"] == 1
    await farm.end_block()
    await farm.start_block(2)
    await api.pooler.post("/harvest", json={"block_index": 1, "pooler_id": pooler})
    (owed,) = (await api.pooler.get(f"/poolers/{pooler}/compensations")).json()["items"]
    assert (owed["fault"], owed["stake_stroops"]) == ("pooler", str(10 * KALE))
    [(outcome, left)] = await farm.rows("SELECT outcome, seconds_left FROM works")
    assert outcome == "refused"
    assert 200 < left < 300, "how much of the block was left is on record"
