"""The books on a devnet: what happens is posted with what is written of it, and held against the chain."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from stellar_sdk import Keypair

from kalepool.chain import Status
from kalepool.database import _checksum, migrate, migrations
from kalepool.errors import DatabaseError
from kalepool.services import withdrawals
from kalepool.services.books import amending, held, ledgers
from kalepool.services.books.held import BooksOffError
from kalepool.services.farmers import find_farmer
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.keys import Role, create_key

from ..conftest import KALE, open_context

pytestmark = pytest.mark.anyio


async def balances(farm) -> dict[str, int]:
    return dict(await farm.rows("SELECT account, balance_stroops::bigint FROM book_accounts"))


async def right(farm) -> list[str]:
    """What is wrong: in the books, and between them and the chain. Looked at twice, as what was found is posted."""
    await held.look(farm.ctx)
    _, beyond = await held.compare(farm.ctx.database, farm.ctx.chain)
    off = [f"{row.account} {stroops}" for row, stroops in beyond.items() if stroops]
    return [*off, *(map(str, await held.differences(farm.ctx.database))), *await ledgers.faults(farm.ctx.database)]


async def farmed(farm, index: int) -> None:
    """A block: planted, worked and harvested."""
    assert not (await plant.plant(farm.ctx, index, farm.pooler_id)).failed
    nonces = [Submission(each.farmer_id, await farm.nonce(each, index, zeros=1)) for each in farm.farmers]
    assert not (await work.work(farm.ctx, index, farm.pooler_id, nonces)).refused
    await farm.end_block()
    await farm.start_block(index + 1)
    assert not (await harvest.harvest(farm.ctx, farm.pooler_id, index)).failed


@pytest.mark.slow(6, "a block of two farmers on the devnet, and what follows")
async def test_a_block_a_deposit_and_a_withdrawal_leave_the_books_as_the_chain(farm) -> None:
    one, two = await farm.add_farmers(2)
    payout = Keypair.random()
    await farm.ctx.chain.fund(payout.public_key)
    await trust(farm, payout)
    await farm.pay_out_to(one, payout.public_key)
    found = await find_farmer(farm.ctx.database, one.farmer_id)
    assert found is not None
    one = found
    assert await right(farm) == [], "what was brought before anything was posted"

    await farmed(farm, await farm.current_index())
    assert await right(farm) == []
    await farm.give(two.custodial_wallet, 7)
    assert (await withdrawals.withdraw(farm.ctx, one, "k", "KALE", 3 * KALE)).status == "paid"
    assert await right(farm) == []

    found = await balances(farm)
    rewards = dict(await farm.rows("SELECT farmer_id, reward_stroops::bigint FROM harvests"))
    fees = {farmer: reward * 5 // 100 for farmer, reward in rewards.items()}
    assert dict(await farm.rows("SELECT farmer_id, fee_stroops::bigint FROM harvests")) == fees
    assert found["fee-due"] == -sum(fees.values()) != 0
    assert found[f"farmer/{two.farmer_id}"] == -(100 * KALE + 7 + rewards[two.farmer_id] - fees[two.farmer_id])
    assert found[f"wallet/{one.farmer_id}"] == 97 * KALE + rewards[one.farmer_id]
    assert found[f"pail/{one.farmer_id}"] == 0 and sum(found.values()) == 0
    entries = await ledgers.entries(farm.ctx.database)
    text = "".join(ledgers.beancount(entries, set()))
    assert text.count(" open ") == len(found) and text.count(' * "rewarded"') == 2
    assert "".join(ledgers.ledger_text(entries)).count("KALE\n") == 2 * len(entries)

    # A database that was changed past us.
    await farm.rows("ALTER TABLE transfers DISABLE TRIGGER append_only")
    await farm.rows("UPDATE transfers SET amount_stroops = amount_stroops + 1 WHERE number = 3")
    assert any("entry 3 was changed" in line for line in await ledgers.faults(farm.ctx.database))


async def payee(farm) -> Keypair:
    """An account that trusts KALE."""
    made = Keypair.random()
    await farm.ctx.chain.fund(made.public_key)
    await trust(farm, made)
    return made


async def trust(farm, account: Keypair) -> None:
    chain = farm.ctx.chain
    deadline = await chain.now() + timedelta(seconds=30)
    prepared = await chain.prepare_trustline(account, pool=farm.ctx.accounts.payer, deadline=deadline)
    assert (await chain.submit(prepared)).status is Status.APPLIED


async def test_posting_twice_is_impossible_and_nobody_writes_past_the_function(farm) -> None:
    (one,) = await farm.add_farmers(1)
    await right(farm)
    before = await balances(farm)
    again = (
        "SELECT post_transfers(array_agg(cause), array_agg(event), array_agg(debit), array_agg(credit), "
        "array_agg(amount_stroops::numeric), array_agg(block_index), array_agg(ledger), "
        "array_agg(transaction_hash::bytea), array_agg(note)) FROM transfers"
    )
    assert await farm.rows(again) == [(0,)]
    assert await balances(farm) == before and before[f"wallet/{one.farmer_id}"] == 100 * KALE
    with pytest.raises(DatabaseError, match="permission denied"):
        async with farm.ctx.database.transaction() as session:
            await session._connection.execute("UPDATE book_accounts SET balance_stroops = 0")
    with pytest.raises(DatabaseError, match="is fixed"):
        async with farm.ctx.database.transaction() as session:
            await session._connection.execute("UPDATE farmers SET fee_rate = 1")


async def test_what_nothing_explains_stops_payments_until_an_operator_has_corrected_it(farm, monkeypatch) -> None:
    (one,) = await farm.add_farmers(1)
    assert await right(farm) == []
    wallet, owner = f"wallet/{one.farmer_id}", f"farmer/{one.farmer_id}"
    await farm.rows(
        "SELECT post_transfers('{false}', '{corrected}', ARRAY[%s], ARRAY[%s], '{5}', '{NULL}', '{NULL}', '{NULL}', "
        "'{NULL}')",
        *(wallet, owner),
    )
    [found] = await held.look(farm.ctx)
    assert (found.account, found.stroops, found.unexplained) == (wallet, -5, False)
    with pytest.raises(BooksOffError, match="by -5"):
        await held.require_even(farm.ctx.database)
    monkeypatch.setattr(held, "PATIENCE_LEDGERS", 0)
    assert [each.unexplained for each in await held.look(farm.ctx)] == [True]
    assert [each.unexplained for each in await held.look(farm.ctx)] == [True], "it stays until somebody looked"
    with pytest.raises(BooksOffError, match="unexplained/wallet"):
        await held.require_even(farm.ctx.database)
    key = await create_key(farm.ctx.database, Role.OPERATOR, label="test")
    await amending.correct(farm.ctx.database, key.key_id, owner, found_account(wallet), 5, "a wrong entry")
    assert await right(farm) == []
    await held.require_even(farm.ctx.database)
    assert ("a wrong entry",) in await farm.rows("SELECT detail->>'reason' FROM operator_actions")


def found_account(wallet: str) -> str:
    return f"unexplained/{wallet.replace('/', '-')}"


async def test_a_harvest_by_somebody_else_is_no_deposit(farm) -> None:
    """Anybody may harvest for anybody: the pool's own record posts it, with the fee."""
    (one,) = await farm.add_farmers(1)
    assert await right(farm) == []
    index = await farm.current_index()
    assert not (await plant.plant(farm.ctx, index, farm.pooler_id)).failed
    nonce = Submission(one.farmer_id, await farm.nonce(one, index, zeros=1))
    assert not (await work.work(farm.ctx, index, farm.pooler_id, [nonce])).refused
    await farm.end_block()
    await farm.start_block(index + 1)
    chain, stranger = farm.ctx.chain, Keypair.random()
    await chain.fund(stranger.public_key)
    deadline = await chain.now() + timedelta(seconds=60)
    prepared = await chain.prepare_harvest([(one.custodial_wallet, index)], channel=stranger, deadline=deadline)
    assert (await chain.submit(prepared)).status is Status.APPLIED
    assert await held.look(farm.ctx) == [], "it is waited for"
    assert (await balances(farm))[f"pail/{one.farmer_id}"] == 10 * KALE
    assert not (await harvest.harvest(farm.ctx, farm.pooler_id, index)).failed
    assert await right(farm) == []
    assert (await balances(farm))["fee-due"] < 0


@pytest.mark.slow(9, "five hundred blocks of history are posted")
async def test_an_existing_pools_books_are_the_chain_or_name_every_difference(farm, postgres, monkeypatch) -> None:
    """The migration posts what 500 blocks of events say. The first looks at the chain take in what came before the RPC
    server's memory, explain what came since, and name the rest."""
    wallets = [await payee(farm) for _ in range(3)]
    said = 499 * 1000 - 100  # of each 500 stakes of 100, 499 came back with 1,000, and the last was lost
    for wallet, stroops in zip(wallets, (said - 30 + 700, said, said - 40), strict=True):
        await farm.give(wallet.public_key, stroops)
    await farm.devnet.close_ledger(1)
    farm.devnet.node.faults.add({"kind": "forget"})
    await farm.devnet.close_ledger(1)

    url = postgres.create_database(f"history_{uuid4().hex[:8]}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE migrations (name TEXT PRIMARY KEY, checksum TEXT, applied_at TIMESTAMPTZ DEFAULT now())"
        )
        for name, text in migrations().items():
            if name < "0018":
                connection.execute(text.encode())
                connection.execute("INSERT INTO migrations VALUES (%s, %s)", (name, _checksum(text)))
        names = "ARRAY[" + ", ".join(f"'{wallet.public_key}'" for wallet in wallets) + "]"
        connection.execute(HISTORY.replace("WALLETS", names).encode())
    assert (await migrate(url))[0] == "0018_books.sql"
    async with AsyncExitStack() as stack:
        ctx = await open_context(stack, farm.settings, url)
        assert await ledgers.faults(ctx.database) == []
        found = (await ledgers.summary(ctx.database)).balances
        assert (found["fee-due"], found["pail"], found["wallet"]) == (-3 * 499 * 50, 0, 3 * said - 30)
        farmers = await ctx.database.fetch_all("select_wallet_owners", wallets=[each.public_key for each in wallets])
        ids = {row["wallet"]: row["farmer_id"] for row in farmers}
        one, two, three = (ids[each.public_key] for each in wallets)

        assert [each.account for each in await held.look(ctx)] == [f"wallet/{three}"], "it may still be explained"
        await farm.give(wallets[1].public_key, 9)
        monkeypatch.setattr(held, "PATIENCE_LEDGERS", 0)
        await held.look(ctx)
        assert await held.look(ctx) == [held.Difference(f"unexplained/wallet-{three}", -40, True)]
        _, beyond = await held.compare(ctx.database, ctx.chain)
        assert [*beyond.values()] == [0, 0, 0] and await ledgers.faults(ctx.database) == []
        rows = await ledgers.entries(ctx.database, after=len(await ledgers.entries(ctx.database, limit=10**6)) - 3)
        assert [(row["event"], row["debit"], row["credit"], row["amount_stroops"]) for row in rows] == [
            ("opened", f"wallet/{one}", f"farmer/{one}", 700),
            ("deposited", f"wallet/{two}", f"farmer/{two}", 9),
            ("unexplained", f"unexplained/wallet-{three}", f"wallet/{three}", 40),
        ]
        each = {row["account"]: row["balance_stroops"] for row in await ctx.database.fetch_all("select_all_balances")}
        own = -(499 * 950 - 100)  # less the fee, which is owed
        assert [each[f"farmer/{farmer}"] for farmer in (one, two, three)] == [own + 30 - 700, own - 9, own]
        with pytest.raises(
            BooksOffError, match=f"1 account are not as the chain says.* unexplained/wallet-{three} by -40"
        ):
            await held.require_even(ctx.database)


HISTORY = """
INSERT INTO poolers (pooler_id, name) VALUES (gen_random_uuid(), 'ours');
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet,
                     stake_percentage)
SELECT gen_random_uuid(), pooler_id, (WALLETS)[n], '', '', 'P' || n, 0.1 FROM poolers, generate_series(1, 3) n;
INSERT INTO block_terms SELECT n, 0.05, 1, 12 FROM generate_series(1, 500) n;
INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops, created_at)
SELECT gen_random_uuid(), n, pooler_id, farmer_id, 'planted', 100, now() - make_interval(mins => 5 * (500 - n) + 5)
FROM farmers, generate_series(1, 500) n;
INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops, reward_stroops, created_at)
SELECT gen_random_uuid(), n, pooler_id, farmer_id, 'harvested', 100, 1000, now() - make_interval(mins => 5 * (500 - n))
FROM farmers, generate_series(1, 499) n;
INSERT INTO pooler_compensations (compensation_id, block_index, pooler_id, farmer_id, fault, code, stake_stroops,
                                  forecast_stroops)
SELECT gen_random_uuid(), 500, pooler_id, farmer_id, 'backend', 'x', 100, 1000 FROM farmers;
INSERT INTO withdrawals (withdrawal_id, farmer_id, idempotency_key, asset, amount_stroops, destination)
SELECT gen_random_uuid(), farmer_id, 'k', 'KALE', 30, 'P1' FROM farmers WHERE payout_wallet = 'P1';
INSERT INTO submissions (submission_id, action, source_account, sequence, transaction_hash, envelope_xdr, valid_until,
                         status, closed_at)
VALUES (gen_random_uuid(), 'payment', 'x', 1, sha256('x'), '', now(), 'applied', now());
INSERT INTO submission_items (submission_id, action, farmer_id, amount_stroops, destination, withdrawal_id, status)
SELECT submission_id, 'payment', farmer_id, 30, 'P1', withdrawal_id, 'applied' FROM submissions, withdrawals;
"""
