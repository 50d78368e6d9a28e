"""The fee goes from farmers' wallets to the treasury, and from there to miners: each stroop once, whatever dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from stellar_sdk import Keypair, Operation, StrKey
from stellar_sdk.operation import AccountMerge, ChangeTrust, ManageData

from kalepool.chain import Destination, Status, building
from kalepool.errors import AssetContractError, KalepoolError
from kalepool.services import leaving, postings, upkeep, withdrawals
from kalepool.services.books import collecting, held, ledgers
from kalepool.services.books.held import BooksOffError
from kalepool.services.farmers import Farmer, find_farmer
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.journal import gaps
from kalepool.services.journal.recovery import recover
from kalepool.services.mining import miners, payout_records, payout_wallets, payout_wishes, payouts
from kalepool.services.mining.closing import close_blocks
from kalepool.services.mining.credits import Credits, fix_terms

from ..conftest import KALE
from .test_crashes import CrashError, arm, crash
from .test_double_entry import balances, right

pytestmark = pytest.mark.anyio


def arm_payment(farm, point: str, patch: pytest.MonkeyPatch) -> None:
    """`claim`: the process dies before the payment is in the journal. The others as in test_crashes.py."""
    if point == "claim":
        patch.setattr(payouts, "_payable", crash)
    else:
        arm(farm.ctx, point, patch)


async def do(farm, source: Keypair, *operations: Operation) -> None:
    """A classic transaction of somebody's."""
    chain = farm.ctx.chain
    sequence = (await chain.read_accounts([source.public_key]))[source.public_key].sequence + 1
    envelope = building.envelope(
        source.public_key, sequence, operations, chain.network.passphrase, fee_stroops=1000 * len(operations)
    )
    until = await chain.now() + timedelta(seconds=60)
    prepared = building.signed(
        envelope, source, action="test", payer=None, bid_stroops=1000, ledger=0, valid_until=until
    )
    assert (await chain.submit(prepared)).status is Status.APPLIED


async def payee(farm, limit: int | None = None) -> Keypair:
    """An account with a KALE trustline."""
    made = Keypair.random()
    await farm.ctx.chain.fund(made.public_key)
    await do(farm, made, building.trustline(farm.ctx.chain.asset, limit))
    return made


async def new_miner(farm, name: str, wallet: Keypair) -> UUID:
    settings = farm.settings.model_copy(update={"miner_registration": "open"})
    new = await miners.register(farm.ctx.database, farm.ctx.custody, settings, name, wallet.public_key)
    return new.miner.miner_id


async def credited(farm, *amounts: int, wallets: list[Keypair] | None = None) -> list[tuple[UUID, Keypair]]:
    """Miners that have earned so much, and a treasury that has it. Not by blocks: by an operator's entry."""
    made: list[tuple[UUID, Keypair]] = []
    for number, amount in enumerate(amounts):
        wallet = wallets[number] if wallets else await payee(farm)
        miner_id = await new_miner(farm, f"m{number}", wallet)
        made.append((miner_id, wallet))
        await farm.rows(
            "SELECT post_transfers(ARRAY[%s], '{corrected}', '{operator}', ARRAY[%s], ARRAY[%s]::numeric[], '{NULL}', "
            "'{NULL}', '{NULL}', '{NULL}')",
            *(f"test/{miner_id}", f"miner/{miner_id}", amount),
        )
    treasury = await farm.ctx.accounts.ensure_treasury()
    assert treasury is not None
    if sum(amounts):
        await farm.give(treasury.public_key, sum(amounts))
    async with asyncio.timeout(30):
        # An API's own look beside this one may have begun a ledger earlier.
        while await right(farm):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return made


async def kale_of(farm, *wallets: Keypair) -> list[int | None]:
    found = await farm.ctx.chain.read_accounts([each.public_key for each in wallets])
    return [found[each.public_key].kale_stroops if each.public_key in found else None for each in wallets]


async def farmed(farm) -> int:
    """A block: planted, worked, harvested. Returns the fees."""
    index = await farm.current_index()
    assert not (await plant.plant(farm.ctx, index, farm.pooler_id)).failed
    nonces = [Submission(each.farmer_id, await farm.nonce(each, index, zeros=1)) for each in farm.farmers]
    assert not (await work.work(farm.ctx, index, farm.pooler_id, nonces)).refused
    await farm.end_block()
    await farm.start_block(index + 1)
    assert not (await harvest.harvest(farm.ctx, farm.pooler_id, index)).failed
    [(fees,)] = await farm.rows("SELECT sum(fee_stroops)::bigint FROM harvests WHERE block_index = %s", index)
    return fees


async def now(farm, farmer: Farmer) -> Farmer:
    """The farmer as the database has it."""
    found = await find_farmer(farm.ctx.database, farmer.farmer_id)
    assert found is not None
    return found


@pytest.mark.slow(12, "a block of twenty farmers, collected in two transactions")
async def test_the_fee_is_collected_from_nineteen_wallets_at_a_time(farm) -> None:
    await farm.add_farmers(20, kale_stroops=20 * KALE)
    assert await right(farm) == []
    fees = await farmed(farm)
    treasury = await farm.ctx.accounts.ensure_treasury()
    owed = await postings.owed(farm.ctx.database, [each.farmer_id for each in farm.farmers])
    assert sum(owed.values()) == fees > 0 and len(owed) == 20
    farm.ctx.settings = farm.settings.model_copy(update={"fee_collect_stroops": 1})
    assert await collecting.collect(farm.ctx) == 0, "not while a block begins"
    await farm.pass_time(120)
    assert await collecting.collect(farm.ctx) == 20
    assert await farm.rows("SELECT action, status FROM submissions WHERE action = 'collect'") == [
        ("collect", "applied"),
        ("collect", "applied"),
    ]
    assert (await farm.ctx.chain.read_accounts([treasury.public_key]))[treasury.public_key].kale_stroops == fees
    assert not any((await postings.owed(farm.ctx.database, list(owed))).values())
    assert await collecting.collect(farm.ctx) == 0
    assert await right(farm) == []


async def test_a_withdrawal_and_a_departure_settle_the_fee(farm) -> None:
    one, two = await farm.add_farmers(2)
    payout = await payee(farm)
    for each in (one, two):
        await farm.pay_out_to(each, payout.public_key)
    assert await right(farm) == []
    await farmed(farm)
    treasury = await farm.ctx.accounts.ensure_treasury()
    one, two = [await now(farm, each) for each in (one, two)]
    owed = await postings.owed(farm.ctx.database, [one.farmer_id, two.farmer_id])
    [held_by_one, _] = await kale_of(farm, Keypair.from_public_key(one.custodial_wallet), payout)
    assert held_by_one is not None
    with pytest.raises(withdrawals.TooMuchError, match="of the pool's fee"):
        await withdrawals.withdraw(farm.ctx, one, "all", "KALE", held_by_one)
    rest = held_by_one - owed[one.farmer_id]
    assert (await withdrawals.withdraw(farm.ctx, one, "rest", "KALE", rest)).status == "paid"
    assert await kale_of(farm, Keypair.from_public_key(one.custodial_wallet), payout) == [0, rest]
    await leaving.leave(farm.ctx, two)
    assert await leaving.advance(farm.ctx) == 1
    assert await kale_of(farm, Keypair.from_public_key(treasury.public_key)) == [sum(owed.values())]
    assert await right(farm) == []
    found = await balances(farm)
    assert found["treasury"] == -found["fee-due"] == sum(owed.values())


async def test_a_block_is_closed_once_and_its_miners_are_paid(farm) -> None:
    await farm.add_farmers(1)
    assert await right(farm) == []
    settings = farm.settings.model_copy(update={"miner_registration": "open", "payout_threshold_stroops": 1})
    farm.ctx.settings = settings
    wallet = await payee(farm)
    miner = await new_miner(farm, "m", wallet)
    for index in range(5):
        await farm.rows(
            "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at, status, closed_at) "
            "VALUES (%s, %s, %s, now(), 'finished', now())",
            *(index, farm.pooler_id, bytes(32)),
        )
    await farm.rows("INSERT INTO share_counts VALUES (0, %s, 'accepted', 1, 300)", miner)
    await farm.rows("INSERT INTO house_hashes VALUES (0, 100)")
    await fix_terms(farm.ctx.database, settings)
    fees = await farmed(farm)
    credits = Credits(farm.ctx.database, settings)
    assert await close_blocks(farm.ctx.database, credits) == 1
    assert await close_blocks(farm.ctx.database, Credits(farm.ctx.database, settings)) == 0
    due = (await payout_records.balance(farm.ctx.database, miner))["due_stroops"]
    assert abs(due - fees * 3 / 4) < 1, "by its hashes, the house's part is the operator's"
    assert (await balances(farm))["operator"] == -(fees - due)
    assert await payouts.pay(farm.ctx) == 0, "nothing was collected yet"
    await farm.ctx.accounts.ensure_treasury()
    assert await payouts.pay(farm.ctx) == 0, "the treasury is short"
    assert await collecting.collect_from(farm.ctx, [farm.farmers[0].farmer_id]) == 1
    assert await payouts.pay(farm.ctx) == 1
    assert await kale_of(farm, wallet) == [due]
    found = await payout_records.balance(farm.ctx.database, miner)
    assert [found[f"{name}_stroops"] for name in ("earned", "due", "paying", "paid")] == [due, 0, 0, due]
    entries = await payout_records.statement(farm.ctx.database, miner, after=0, limit=9)
    assert [(row["event"], row["amount_stroops"], row["paid_stroops"]) for row in entries] == [
        ("credited", due, 0),
        ("claimed", -due, 0),
        ("paid", 0, due),
    ], "together what is due, and what was paid"
    # 400 hashes earned what was shared with all who hash: 1 MH/s makes 86.4 G a day
    assert await payout_records.day_of_a_megahash(farm.ctx.database) == fees * 86_400 * 10**6 // 400
    assert await payouts.pay(farm.ctx) == 0
    assert await right(farm) == []


@asynccontextmanager
async def crashed_then_paid(farm, point: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The process dies at this point of paying out; the one after it recovers, and pays out twice over."""
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            arm_payment(farm, point, patch)
            with pytest.raises(CrashError):
                await payouts.pay(farm.ctx)
        ctx = await farm.restart(stack)
        await ctx.accounts.ensure()
        await ctx.accounts.ensure_treasury()
        await farm.wait_ledger()
        await recover(ctx.journal)
        await ctx.accounts.ensure()
        await payouts.pay(ctx)
        await payouts.pay(ctx)
        yield


@pytest.mark.parametrize("point", ["claim", "before send", "after send", "before settle"])
async def test_a_payout_is_paid_once_wherever_the_process_dies(farm, point: str, monkeypatch) -> None:
    made = await credited(farm, 30 * KALE, 40 * KALE)
    async with crashed_then_paid(farm, point, monkeypatch):
        assert await kale_of(farm, *(wallet for _, wallet in made)) == [30 * KALE, 40 * KALE]
        assert await farm.rows("SELECT count(*) FROM payouts WHERE closed_at IS NULL") == [(0,)]
        assert await right(farm) == []


@pytest.mark.parametrize("point", ["before send", "after send", "before settle"])
async def test_a_fee_is_collected_once_wherever_the_process_dies(farm, point: str, monkeypatch) -> None:
    (one,) = await farm.add_farmers(1)
    assert await right(farm) == []
    fees = await farmed(farm)
    treasury = await farm.ctx.accounts.ensure_treasury()
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            arm(farm.ctx, point, patch)
            with pytest.raises(CrashError):
                await collecting.collect_from(farm.ctx, [one.farmer_id])
        ctx = await farm.restart(stack)
        await farm.wait_ledger()
        await recover(ctx.journal)
        await ctx.accounts.ensure()
        await ctx.accounts.ensure_treasury()
        await collecting.collect_from(ctx, [one.farmer_id])
        await collecting.collect_from(ctx, [one.farmer_id])
        assert await kale_of(farm, Keypair.from_public_key(treasury.public_key)) == [fees]
        assert await right(farm) == []


async def paid_by_contract(farm, made: tuple[UUID, Keypair], to: str) -> None:
    """The miner's wallet is a contract from now on, by word of the old one."""
    wallets = (farm.ctx.database, farm.ctx.custody, farm.settings)
    await payout_wallets.change(*wallets, made[0], Destination(to), signed_by=made[1].public_key)


async def kept_for(farm, contract: str) -> int:
    return (await farm.ctx.chain.read_kale([contract]))[contract]


@pytest.mark.parametrize("point", ["claim", "before send", "after send", "before settle"])
async def test_a_contract_is_paid_once_wherever_the_process_dies(farm, point: str, monkeypatch) -> None:
    [made] = await credited(farm, 30 * KALE)
    contract = farm.settings.chain.tractor_id
    await paid_by_contract(farm, made, contract)
    async with crashed_then_paid(farm, point, monkeypatch):
        assert await kept_for(farm, contract) == 30 * KALE
        assert await farm.rows("SELECT count(*) FROM payouts WHERE closed_at IS NULL") == [(0,)]
        assert await right(farm) == []


async def test_contracts_are_paid_alone_and_what_is_none_waits(farm) -> None:
    made = await credited(farm, 20 * KALE, 21 * KALE, 22 * KALE, 23 * KALE, KALE)
    contract, nobody = farm.settings.chain.tractor_id, StrKey.encode_contract(bytes(32))
    for each, to in ((made[0], contract), (made[1], contract), (made[2], nobody), (made[4], contract)):
        await paid_by_contract(farm, each, to)
    farm.ctx.settings = farm.settings.model_copy(update={"payout_days": 0.0})  # an account would be paid the least
    assert await payouts.pay(farm.ctx) == 3
    assert await kept_for(farm, contract) == 41 * KALE and await kale_of(farm, made[3][1]) == [23 * KALE]
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'payout'") == [(3,)]
    codes = dict(await farm.rows("SELECT name, payout_code FROM miners WHERE payout_code IS NOT NULL"))
    assert codes == {"m2": "payee-contract-missing", "m4": "contract-too-little"}
    assert await right(farm) == []

    # Whose wallet is a contract signs with that: no account's word moves it at once, and nobody's does not.
    wallets, other = (farm.ctx.database, farm.ctx.custody, farm.settings), Destination(made[0][1].public_key)
    for word in (None, other.address):
        await payout_wallets.change(*wallets, made[0][0], other, signed_by=word)
        assert (await payout_records.balance(farm.ctx.database, made[0][0]))["payout_wallet"] == contract, word
    await payout_wallets.change(*wallets, made[0][0], other, signed_by=contract)
    assert (await payout_records.balance(farm.ctx.database, made[0][0]))["payout_wallet"] == other.address


async def test_a_contract_that_refuses_is_not_tried_again_and_again(farm, monkeypatch) -> None:
    [made] = await credited(farm, 20 * KALE)
    await paid_by_contract(farm, made, farm.settings.chain.tractor_id)

    async def refuse(number: int) -> int:
        async def prepare(*_, **__) -> None:
            raise AssetContractError(number)

        await farm.rows("UPDATE miners SET payout_retry_at = NULL")
        with monkeypatch.context() as patch:
            patch.setattr(farm.ctx.chain, "prepare_payment", prepare)
            return await payouts.pay(farm.ctx)

    assert await refuse(10) == 0
    assert await farm.rows("SELECT count(*) FROM payouts WHERE closed_at IS NULL") == [(1,)], "the treasury's lack"
    assert await refuse(11) == 0
    assert await farm.rows("SELECT code FROM payouts") == [("payee-refused",)]
    assert (await payout_records.balance(farm.ctx.database, made[0]))["due_stroops"] == 20 * KALE
    assert await right(farm) == []


async def test_who_cannot_be_paid_waits_with_its_reason_and_the_others_are_paid(farm) -> None:
    good, bare, full, memo, gone, noted = [await payee(farm) for _ in range(6)]
    made = await credited(farm, *[20 * KALE] * 6, wallets=[good, bare, full, memo, gone, noted])
    await do(farm, bare, ChangeTrust(farm.ctx.chain.asset, "0"))
    await do(farm, full, ChangeTrust(farm.ctx.chain.asset, "19.9999999"))
    for each in (memo, noted):
        await do(farm, each, ManageData("config.memo_required", "1"))
    to = Destination(noted.public_key, "id:7")
    await payout_wallets.change(
        farm.ctx.database, farm.ctx.custody, farm.settings, made[5][0], to, signed_by=noted.public_key
    )
    await do(farm, gone, ChangeTrust(farm.ctx.chain.asset, "0"), AccountMerge(good.public_key))

    assert await payouts.pay(farm.ctx) == 2
    codes = dict(await farm.rows("SELECT name, payout_code FROM miners"))
    assert codes == {
        "m0": None,
        "m1": "payee-trustline-missing",
        "m2": "payee-line-full",
        "m3": "payee-memo-required",
        "m4": "payee-account-missing",
        "m5": None,
    }
    assert await kale_of(farm, good, bare, full, memo, noted) == [20 * KALE, None, 0, 0, 20 * KALE]
    assert await right(farm) == []
    assert await payouts.pay(farm.ctx) == 0, "they are left alone for a while"

    # One that goes bad between the look and the ledger.
    await do(farm, full, ChangeTrust(farm.ctx.chain.asset))
    await farm.rows("UPDATE miners SET payout_retry_at = NULL WHERE name = 'm2'")
    assert await payouts.pay(farm.ctx) == 1
    assert await kale_of(farm, full) == [20 * KALE]


async def test_a_payee_that_goes_bad_after_the_look_keeps_nobody_else_from_being_paid(farm, monkeypatch) -> None:
    made = await credited(farm, 20 * KALE, 21 * KALE, 22 * KALE)
    wallet = made[1][1]
    submit = payouts._submit

    async def late(ctx, treasury, batch) -> None:
        if len(batch) == 3:
            await do(farm, wallet, ChangeTrust(farm.ctx.chain.asset, "0"))
        await submit(ctx, treasury, batch)

    monkeypatch.setattr(payouts, "_submit", late)
    assert await payouts.pay(farm.ctx) == 2
    assert await kale_of(farm, *(each for _, each in made)) == [20 * KALE, None, 22 * KALE]
    assert await farm.rows("SELECT code FROM payouts WHERE code IS NOT NULL") == [("payee-trustline-missing",)]
    assert (await payout_records.balance(farm.ctx.database, made[1][0]))["due_stroops"] == 21 * KALE
    assert await right(farm) == []


async def test_a_full_transaction_fits_into_a_ledger(farm) -> None:
    """With its fee bump it is one operation more, and a ledger may have room for a hundred."""
    wallet = await payee(farm)
    count = payouts.MOST
    await credited(farm, *[20 * KALE] * count, wallets=[wallet] * count)
    assert await payouts.pay(farm.ctx) == count
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'payout'") == [(1,)]
    assert await kale_of(farm, wallet) == [count * 20 * KALE]


async def test_a_wish_is_paid_once_for_its_key(farm) -> None:
    ((miner, wallet),) = await credited(farm, 2 * KALE)
    assert await payouts.pay(farm.ctx) == 0, "below the threshold"
    first, again = await asyncio.gather(*(payout_wishes.wish(farm.ctx, miner, "k") for _ in range(2)))
    assert first.payout_id == again.payout_id and first.status == "open"
    with pytest.raises(payout_wishes.PayoutOpenError):
        await payout_wishes.wish(farm.ctx, miner, "other")
    assert await payouts.pay(farm.ctx) == 1
    done = await payout_wishes.wish(farm.ctx, miner, "k")
    assert done.status == "paid" and done.transaction_hash is not None
    with pytest.raises(payout_wishes.NothingDueError):
        await payout_wishes.wish(farm.ctx, miner, "other")
    assert await kale_of(farm, wallet) == [2 * KALE]


async def test_another_wallet_counts_at_once_only_where_the_old_one_signed(farm) -> None:
    ((miner, old),) = await credited(farm, 20 * KALE)
    new = await payee(farm)

    async def change(to: Keypair, signed_by: str | None, hours: float = 72.0) -> None:
        settings = farm.settings.model_copy(update={"payout_change_hours": hours})
        await payout_wallets.change(
            farm.ctx.database, farm.ctx.custody, settings, miner, Destination(to.public_key), signed_by=signed_by
        )

    async def wallets() -> tuple[str | None, str | None]:
        found = await payout_records.balance(farm.ctx.database, miner)
        return found["payout_wallet"], found["next_wallet"]

    await change(new, None)
    assert await payouts.pay(farm.ctx) == 1, "the old one is paid meanwhile"
    assert await kale_of(farm, old, new) == [20 * KALE, 0]
    await change(new, None, hours=0.0)
    await payouts.pay(farm.ctx)
    assert await wallets() == (new.public_key, None)
    await change(old, Keypair.random().public_key)
    assert await wallets() == (new.public_key, old.public_key)
    await change(old, new.public_key)
    assert await wallets() == (old.public_key, None)


async def test_nothing_is_paid_while_the_books_are_off(farm) -> None:
    ((_, wallet),) = await credited(farm, 20 * KALE)
    await farm.rows(
        "SELECT post_transfers('{false}', '{corrected}', '{treasury}', '{operator}', '{5}', '{NULL}', '{NULL}', "
        "'{NULL}', '{NULL}')"
    )
    assert [each.stroops for each in await held.look(farm.ctx)] == [-5]
    with pytest.raises(BooksOffError, match="treasury by -5"):
        await payouts.pay(farm.ctx)
    assert await kale_of(farm, wallet) == [0]


async def test_a_database_put_back_pays_nothing_again(farm) -> None:
    """As it was before a payout: its transaction is imported, and what it paid is not due any more."""
    made = await credited(farm, 20 * KALE, 30 * KALE)
    tables = ("submission_items", "submissions", "payouts", "transfers", "book_accounts", "book_head")
    for table in tables:
        await farm.rows(f"CREATE TABLE before_{table} AS SELECT * FROM {table}")
    assert await payouts.pay(farm.ctx) == 2
    await farm.rows("ALTER TABLE transfers DISABLE TRIGGER append_only")
    for table in tables:
        await farm.rows(f"DELETE FROM {table}" if table != "book_accounts" else "SELECT 1")
    await farm.rows("DELETE FROM transfers")
    await farm.rows("DELETE FROM book_accounts")
    for table in reversed(tables):
        names = ", ".join(
            name
            for (name,) in await farm.rows(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                table,
            )
        )
        await farm.rows(f"INSERT INTO {table} ({names}) SELECT {names} FROM before_{table}")
    await farm.rows("ALTER TABLE transfers ENABLE TRIGGER append_only")
    async with AsyncExitStack() as stack:
        ctx = await farm.restart(stack)
        await ctx.accounts.ensure()
        await ctx.accounts.ensure_treasury()
        with pytest.raises(KalepoolError, match="the ledger has 1 transaction of 1 account"):
            await payouts.pay(ctx)
        assert await upkeep.look_for_gaps(ctx) == 1
        async with ctx.database.transaction() as session:
            await gaps.acknowledge(session)
        await gaps.look(ctx.journal)
        assert await right(farm) == []
        assert await payouts.pay(ctx) == 0
        assert await kale_of(farm, *(wallet for _, wallet in made)) == [20 * KALE, 30 * KALE]
        assert await ledgers.faults(ctx.database) == []
