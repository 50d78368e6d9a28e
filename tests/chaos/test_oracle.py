"""The oracle sees what it is there to see: a true history is found faultless, and each doctored one is not.

The history is real: a pool's services on a devnet plant, work, lose, harvest and pay. Then one thing is changed in a
copy of the database, as a fault of the pool would have left it.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest
from stellar_sdk import Asset, Keypair

from kalepool.chain import Status, building
from kalepool.networks import DEVNET
from kalepool.postgres import Postgres
from kalepool.services import upkeep, withdrawals
from kalepool.services.farmers import Farmer
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from tests.chaos.history import History
from tests.chaos.oracle import Finding, Invariant, judge
from tests.chaos.record import Record
from tests.integration.conftest import KALE, FarmUnderTest, open_farm

ASSET = Asset(DEVNET.asset_code, DEVNET.asset_issuer)
LOST_IN = 0
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Truth:
    """What happened, and the database of a pool that wrote it down well."""

    server: Postgres
    database: str
    history: History

    def judge(self, *doctoring: str, history: History | None = None) -> list[Finding]:
        """What the oracle finds once these statements have changed a copy of the database."""
        name = f"doctored_{next(_numbers)}"
        url = self.server.create_database(name, template=self.database)
        try:
            with psycopg.connect(url) as connection:
                # What guards the pool must not guard the oracle: no triggers, no foreign keys, no unique indexes.
                connection.execute("SET session_replication_role = replica")
                for index in ("works_once", "submission_items_withdrawal"):
                    connection.execute(f"DROP INDEX {index}".encode())
                for statement in doctoring:
                    assert connection.execute(statement.encode()).rowcount != 0, statement
            return judge(history or self.history, Record.read(url), unsparable={LOST_IN})
        finally:
            self.server.drop_database(name)


@pytest.fixture(scope="module")
def truth(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Truth]:
    name = "truth"
    url = postgres.create_database(name, template="base")
    history = asyncio.run(_happen(url, tmp_path_factory.mktemp("truth")))
    yield Truth(postgres, name, history)
    postgres.drop_database(name)


async def _happen(url: str, folder: Path) -> History:
    """Three farmers over two blocks; one of them is not worked in the first, and one takes money out."""
    async with AsyncExitStack() as stack:
        farm = await open_farm(stack, url, folder)
        ctx = farm.ctx
        made = await farm.add_farmers(3)
        for block in (0, 1):
            if block:
                await _start_block(farm)
            await farm.rows(
                "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at, status, closed_at) "
                "VALUES (%s, %s, sha256('x'), now(), 'finished', now())",
                block,
                farm.pooler_id,
            )
            planted = await plant.plant(ctx, block, farm.pooler_id)
            assert len(planted.planted) == 3
            working = [farmer for farmer in made if block != LOST_IN or farmer is not made[2]]
            found = [Submission(farmer.farmer_id, await farm.nonce(farmer, block, zeros=1)) for farmer in working]
            assert len((await work.work(ctx, block, farm.pooler_id, found)).accepted) == len(working)
            await farm.end_block()
        await _start_block(farm)
        for block in (0, 1):
            await harvest.harvest(ctx, farm.pooler_id, block)
        await upkeep.record_losses(ctx)
        await farm.end_block()
        await _start_block(farm)
        await _withdraw(farm)
        accounts = Record.read(url).own_accounts()
        return await asyncio.to_thread(History.read, farm.devnet.url, ASSET, accounts)


async def _start_block(farm: FarmUnderTest) -> None:
    """Somebody who has nothing to do with the pool plants first."""
    chain, rival, sponsor = farm.ctx.chain, Keypair.random(), Keypair.random()
    for account in (rival, sponsor):
        await chain.fund(account.public_key)
    deadline = await chain.now() + timedelta(seconds=30)
    prepared = await chain.prepare_plant(rival, 0, pool=sponsor, deadline=deadline)
    assert (await chain.submit(prepared)).status is Status.APPLIED


async def _withdraw(farm: FarmUnderTest) -> None:
    chain, wallet, farmer = farm.ctx.chain, Keypair.random(), farm.farmers[0]
    await chain.fund(wallet.public_key)
    deadline = await chain.now() + timedelta(seconds=30)
    prepared = await chain._prepare_classic("test", [building.trustline(chain.asset)], wallet, None, deadline, 1)
    assert (await chain.submit(prepared)).status is Status.APPLIED
    await farm.pay_out_to(farmer, wallet.public_key)
    row = await farm.ctx.database.fetch_one("select_farmer_of_any_pooler", row=Farmer, farmer_id=farmer.farmer_id)
    assert row is not None
    paid = await withdrawals.withdraw(farm.ctx, row, "once", "KALE", 30 * KALE)
    assert paid.status == "paid"


def test_what_was_written_down_well_is_found_faultless(truth: Truth) -> None:
    """And it is not empty."""
    assert truth.judge() == []
    operations = {each.operation for each in truth.history.transactions if each.applied}
    assert operations >= {"plant", "work", "harvest", "payment", "create_account", "change_trust"}


def test_a_lost_stake_is_forgiven_only_where_it_could_not_be_spared(truth: Truth) -> None:
    url = truth.server.url(truth.database)
    (found,) = judge(truth.history, Record.read(url))
    assert (found.invariant, found.block) == (Invariant.SPARED, LOST_IN)


FIRST_PLANT = "(SELECT submission_id FROM submissions WHERE action = 'plant' ORDER BY created_at LIMIT 1)"
DOCTORED = [
    # A transaction of ours that nobody wrote down, and one that no ledger has.
    (Invariant.JOURNALLED, f"DELETE FROM submissions WHERE submission_id = {FIRST_PLANT}"),
    (Invariant.AGREES, f"UPDATE submissions SET transaction_hash = sha256('y') WHERE submission_id = {FIRST_PLANT}"),
    (Invariant.AGREES, f"UPDATE submissions SET status = 'expired' WHERE submission_id = {FIRST_PLANT}"),
    (Invariant.AGREES, f"UPDATE submissions SET status = 'failed' WHERE submission_id = {FIRST_PLANT}"),
    (Invariant.AGREES, f"UPDATE submissions SET ledger = ledger + 1 WHERE submission_id = {FIRST_PLANT}"),
    (Invariant.AGREES, f"UPDATE submissions SET fee_stroops = fee_stroops - 1 WHERE submission_id = {FIRST_PLANT}"),
    (
        Invariant.SETTLED,
        f"UPDATE submissions SET status = 'open', closed_at = NULL WHERE submission_id = {FIRST_PLANT}",
    ),
    (Invariant.SETTLED, f"UPDATE submission_items SET status = 'open' WHERE submission_id = {FIRST_PLANT}"),
    (Invariant.SETTLED, "UPDATE block_operations SET status = 'open', closed_at = NULL WHERE block_index = 1"),
    (Invariant.SETTLED, "UPDATE withdrawals SET closed_at = NULL"),
    # Said to be given up though it was paid; another amount, another destination; paid for nothing.
    (Invariant.PAID_ONCE, "UPDATE withdrawals SET code = 'gone', message = 'gone'"),
    (Invariant.PAID_ONCE, "UPDATE withdrawals SET amount_stroops = amount_stroops - 1"),
    (Invariant.PAID_ONCE, "UPDATE withdrawals SET destination = (SELECT custodial_wallet FROM farmers LIMIT 1)"),
    (Invariant.PAID_ONCE, "DELETE FROM withdrawals"),
    (
        Invariant.PAID_ONCE,
        "INSERT INTO withdrawals (withdrawal_id, farmer_id, idempotency_key, asset, amount_stroops, destination, "
        "closed_at) SELECT gen_random_uuid(), farmer_id, 'never', asset, amount_stroops, destination, now() "
        "FROM withdrawals",
    ),
    (Invariant.EVENTS, "DELETE FROM plantings WHERE block_index = 1"),
    (Invariant.EVENTS, "DELETE FROM works WHERE block_index = 1"),
    (Invariant.EVENTS, "DELETE FROM harvests WHERE block_index = 1"),
    (Invariant.EVENTS, "UPDATE plantings SET stake_stroops = stake_stroops - 1 WHERE block_index = 1"),
    (Invariant.EVENTS, "UPDATE works SET gap = gap + 1 WHERE block_index = 1"),
    (Invariant.EVENTS, "UPDATE works SET zeros = zeros + 1 WHERE block_index = 1"),
    (Invariant.EVENTS, "UPDATE harvests SET reward_stroops = reward_stroops + 1 WHERE block_index = 1"),
    (Invariant.EVENTS, "UPDATE plantings SET transaction_hash = NULL, submission_id = NULL WHERE block_index = 1"),
    (
        Invariant.EVENTS,
        "INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, gap, "
        "submission_id, transaction_hash, ledger) SELECT gen_random_uuid(), block_index, pooler_id, farmer_id, "
        "outcome, nonce, hash, zeros, gap, submission_id, transaction_hash, ledger FROM works WHERE block_index = 1 "
        "LIMIT 1",
    ),
    (Invariant.ACCOUNTED, "DELETE FROM pooler_compensations"),
    (Invariant.ACCOUNTED, "UPDATE pooler_compensations SET stake_stroops = stake_stroops - 1"),
    (Invariant.ACCOUNTED, "UPDATE pooler_compensations SET standing = 'to-check'"),
    (Invariant.ACCOUNTED, "UPDATE pooler_compensations SET block_index = 1"),
    (Invariant.BALANCED, "UPDATE harvests SET stake_stroops = stake_stroops + 1 WHERE block_index = 1"),
    (Invariant.BALANCED, "UPDATE submissions SET fee_stroops = NULL WHERE action = 'create_account'"),
]


@pytest.mark.parametrize(
    ("invariant", "doctoring"), DOCTORED, ids=[f"{n}-{each[0].name}" for n, each in enumerate(DOCTORED)]
)
def test_each_doctored_database_is_seen(truth: Truth, invariant: Invariant, doctoring: str) -> None:
    found = truth.judge(doctoring)
    assert invariant in {finding.invariant for finding in found}, found
    assert all(str(finding) for finding in found)


def test_what_is_sent_again_is_seen(truth: Truth) -> None:
    """A plant that a ledger took again, where it failed: the chain itself refuses what is done already."""
    first = next(each for each in truth.history.transactions if each.operation == "plant" and each.applied)
    again = replace(first, hash="ff" * 32, inner_hash=None, applied=False, changes=[], kale={}, xlm={})
    history = replace(truth.history, transactions=[*truth.history.transactions, again])
    found = truth.judge(history=history)
    assert Invariant.NOT_AGAIN in {finding.invariant for finding in found}
    assert Invariant.JOURNALLED in {finding.invariant for finding in found}


def test_a_payment_made_twice_is_seen(truth: Truth) -> None:
    """The second one with a row of its own, as a pool that believed the first to be lost would have made it."""
    own = set(truth.history.balances)
    paid = next(each for each in truth.history.transactions if each.operation == "payment" and each.source in own)
    again = replace(paid, hash="ee" * 32, inner_hash=None)
    history = replace(truth.history, transactions=[*truth.history.transactions, again])
    found = truth.judge(
        "INSERT INTO submissions SELECT '00000000-0000-0000-0000-000000000001', action, pooler_id, source_account, "
        f"sequence + 1, decode('{again.hash}', 'hex'), envelope_xdr, valid_until, attempt, status, ledger, "
        "result_code, fee_stroops, created_at, closed_at FROM submissions WHERE action = 'payment'",
        "INSERT INTO submission_items (submission_id, action, farmer_id, amount_stroops, destination, status, "
        "withdrawal_id) SELECT '00000000-0000-0000-0000-000000000001', action, farmer_id, amount_stroops, destination, "
        "status, withdrawal_id FROM submission_items WHERE action = 'payment'",
        history=history,
    )
    assert Invariant.PAID_ONCE in {finding.invariant for finding in found}, found
    assert Invariant.BALANCED in {finding.invariant for finding in found}, "the balances are those after one payment"


def test_a_pail_that_nobody_fetched_is_seen(truth: Truth) -> None:
    unfetched = [each for each in truth.history.transactions if each.operation != "harvest"]
    found = truth.judge(history=replace(truth.history, transactions=unfetched))
    texts = [finding.text for finding in found if finding.invariant is Invariant.ACCOUNTED]
    assert len(texts) == 5 and all("unharvested" in text for text in texts), found


def test_every_invariant_has_a_test() -> None:
    elsewhere = {Invariant.NOT_AGAIN, Invariant.SPARED}
    assert {invariant for invariant, _ in DOCTORED} | elsewhere == set(Invariant)


@pytest.mark.parametrize("name", ["history.py", "record.py", "oracle.py"])
def test_the_oracle_imports_nothing_of_the_pool(name: str) -> None:
    tree = ast.parse((Path(__file__).parent / name).read_text())
    imported = {
        module
        for node in ast.walk(tree)
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    ours = {module for module in imported if module.split(".")[0] in ("kalepool", "kernels", "tests")}
    assert ours <= {"tests.chaos.history", "tests.chaos.record"}
