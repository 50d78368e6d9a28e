"""What blocks and days cost and brought: the same on the page, in JSON, files, metrics and `status`, and to the stroop
what the journal and the harvests say."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kalepool.database import first_id, new_id
from kalepool.services.books import results
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission

from .test_metrics import samples

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_day")]

FEES = ("plant", "work", "harvest", "other")

INSERT_SUBMISSION = """
INSERT INTO submissions (submission_id, action, source_account, sequence, transaction_hash, envelope_xdr, valid_until,
                         status, fee_stroops, closed_at)
VALUES (%s, %s, 'G', 1, sha256(%s), '', now(), %s, %s, now())
"""


async def farmed(farm, index: int) -> None:
    """A block: planted, worked and harvested."""
    assert not (await plant.plant(farm.ctx, index, farm.pooler_id)).failed
    nonces = [Submission(each.farmer_id, await farm.nonce(each, index, zeros=1)) for each in farm.farmers]
    assert not (await work.work(farm.ctx, index, farm.pooler_id, nonces)).refused
    await farm.end_block()
    await farm.start_block(index + 1)
    assert not (await harvest.harvest(farm.ctx, farm.pooler_id, index)).failed


async def priced(farm, index: int, price: float) -> None:
    """The plan of a block in which a KALE was worth so many XLM."""
    await farm.rows(
        "INSERT INTO block_plans (block_index, pooler_id, farmers, places, stake_stroops, reward_stroops, "
        "pail_fee_stroops, price_xlm) VALUES (%s, %s, 2, 2, 0, 0, 0, %s)",
        index,
        farm.pooler_id,
        price,
    )


async def spent_by_journal(farm) -> dict[str, int]:
    """Fees by action, as transaction by transaction has them."""
    found: dict[str, int] = dict.fromkeys(FEES, 0)
    for action, fee in await farm.rows(
        "SELECT action, fee_stroops::bigint FROM submissions WHERE fee_stroops IS NOT NULL"
    ):
        found[action if action in found else "other"] += fee
    return found


async def at_rest(api) -> tuple[dict[str, int], dict[str, Any], dict[int, dict[str, Any]]]:
    """Fees by the journal, and the day and the blocks as everybody may see them: of one moment, for the pool's own
    chores go on."""
    while True:
        before = await spent_by_journal(api.farm)
        api.app.state.days = results.Days(api.farm.ctx.database)
        blocks = {block["block_index"]: block for block in (await api.anybody.get("/books/blocks")).json()["items"]}
        (day,) = (await api.anybody.get("/books/days")).json()
        if await spent_by_journal(api.farm) == before:
            return before, day, blocks


def spent(result: dict[str, Any]) -> dict[str, int]:
    return {action: int(result[f"{action}_fee_stroops"]) for action in FEES}


async def test_sums_agree_with_the_journal_wherever_they_are_shown(api) -> None:
    farm = api.farm
    await farm.add_farmers(2)
    await priced(farm, 0, 0.004)
    await farmed(farm, 0)
    await farmed(farm, 1)  # nobody knew a price
    journal, day, blocks = await at_rest(api)

    # To the stroop what single rows say. Trustlines and the like are of no block.
    assert spent(day) == journal and all(journal.values())
    assert day["day"] == datetime.now(UTC).date().isoformat()
    for action in ("plant", "work", "harvest"):
        assert sum(spent(block)[action] for block in blocks.values()) == journal[action]
    assert all(block["other_fee_stroops"] == "0" for block in blocks.values())
    won = {
        index: int(stroops)
        for index, stroops in await farm.rows(
            "SELECT block_index, sum(reward_stroops)::bigint FROM harvests WHERE outcome = 'harvested' GROUP BY 1"
        )
    }
    assert {index: int(block["won_stroops"]) for index, block in blocks.items()} == won
    assert int(day["won_stroops"]) == sum(won.values())

    # At the price then; without one no figure is made up.
    assert blocks[0]["price_xlm"] == 0.004
    assert int(blocks[0]["net_stroops"]) == round(won[0] * 0.004) - int(blocks[0]["spent_stroops"])
    assert (blocks[1]["price_xlm"], blocks[1]["net_stroops"]) == (None, None)
    assert int(blocks[1]["unpriced_stroops"]) == int(day["unpriced_stroops"]) == won[1]
    assert day["net_stroops"] is None

    # The same everywhere.
    for by, rows in (("blocks", [blocks[1], blocks[0]]), ("days", [day])):
        answer = await api.operator.get(f"/operator/results/{by}")
        file = list(csv.DictReader(io.StringIO(answer.text)))
        assert file == [{name: "" if row[name] is None else str(row[name]) for name in file[0]} for row in rows]
        assert (await api.operator.get(f"/operator/results/{by}?format=json")).json()[0]["spent_stroops"] == rows[0][
            "spent_stroops"
        ]
    shown = samples((await api.operator.get("/metrics")).text)
    assert shown["kalepool_day_won_stroops",] == int(day["won_stroops"])
    assert shown["kalepool_block_fees_stroops", "plant"] == int(blocks[1]["plant_fee_stroops"])
    assert not any("net_stroops" in key[0] for key in shown)
    page = {index: (await api.anybody.get(f"/block/{index}")).text for index in blocks}
    assert "<dd>0.004 XLM</dd>" in page[0]
    assert "<dd>not known: no price of KALE</dd>" in page[1]
    assert (await api.anybody.get("/")).text.count("not known: no price of KALE") == 1


async def test_every_stroop_of_a_fee_is_some_blocks(farm) -> None:
    """A transaction for three pails of two blocks, and one that failed: both have cost."""
    (farmer,) = await farm.add_farmers(1, kale_stroops=0)
    before = await spent_by_journal(farm)
    for status, fee, indexes in (("applied", 11, (7, 8, 8)), ("failed", 5, (8,))):
        submission_id = new_id()
        await farm.rows(INSERT_SUBMISSION, submission_id, "harvest", submission_id.bytes, status, fee)
        for number, index in enumerate(indexes):
            await farm.rows(
                "INSERT INTO submission_items (submission_id, item_number, action, block_index, status) "
                "VALUES (%s, %s, 'harvest', %s, %s)",
                submission_id,
                number,
                index,
                status,
            )
    found = await results.of_blocks(farm.ctx.database, limit=10)
    assert {block.block_index: block.harvest_fee_stroops for block in found} == {7: 4, 8: 4 + 3 + 5}
    assert [block.left for block in found] == ["-0.0000 XLM"] * 2, "nothing won is worth nothing at any price"
    (day,) = await results.of_days(farm.ctx.database, [results.today()])
    assert day.harvest_fee_stroops == 16 and day.other_fee_stroops == before["other"] > 0
    assert farmer.farmer_id


async def test_days_are_read_as_far_back_as_the_pool_goes(farm) -> None:
    today = results.today()
    old = first_id(datetime.now(UTC) - timedelta(days=3))
    await farm.rows(INSERT_SUBMISSION, old, "merge", b"old", "applied", 7)
    days = results.Days(farm.ctx.database)
    read = await days.read(10)
    assert [day.day for day in read] == [today - timedelta(days=number) for number in range(4)]
    assert read[3].other_fee_stroops == read[3].spent_stroops == 7
    assert [day.day for day in await days.read(2)] == [today, today - timedelta(days=1)]
    assert await results.days_before(farm.ctx.database, today - timedelta(days=2), 10) == [today - timedelta(days=3)]
