"""Farmers that plant themselves: worked and harvested for, and nothing of theirs in the pool's hands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from stellar_sdk import Keypair, StrKey

from kalepool.database import new_id
from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import LedgerEntry
from kalepool.devnet.soroban.kale_contract import pack_key
from kalepool.errors import ConflictError, CustodyError, InputError
from kalepool.networks import DEVNET
from kalepool.protocol.model import pail_key
from kalepool.services import farmers, leaving, own_wallets, seals, withdrawals
from kalepool.services.books import held
from kalepool.services.failures import Failure
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.journal import gaps
from kalepool.services.keys import Role, create_key
from kalepool.services.upkeep import record_losses, sweep
from kalepool.view.moment import MomentReader
from tests.integration.conftest import ISSUER, KALE

pytestmark = pytest.mark.anyio

PATIENCE = timedelta(seconds=30)


@pytest.fixture
async def operator(farm) -> UUID:
    return (await create_key(farm.ctx.database, Role.OPERATOR, label="test")).key_id


async def owner(farm) -> Keypair:
    """Somebody with a wallet of one's own, and 100 KALE in it."""
    chain, key = farm.ctx.chain, Keypair.random()
    await chain.fund(key.public_key)
    deadline = await farm.ctx.chain.now() + PATIENCE
    prepared = await chain.prepare_trustline(key, pool=None, deadline=deadline)
    await chain.submit(prepared)
    await farm.give(key.public_key, 100 * KALE)
    return key


async def plant_oneself(farm, key: Keypair, stake: int = 10 * KALE) -> None:
    """Without the pool, from one's own wallet and at one's own cost."""
    chain = farm.ctx.chain
    prepared = await chain.prepare_plant(key, stake, pool=key, deadline=await chain.now() + PATIENCE)
    outcome = await chain.submit(prepared)
    assert outcome.error is None, outcome.error


async def balance(farm, wallet: str) -> int:
    account = (await farm.ctx.chain.read_accounts([wallet]))[wallet]
    return account.kale_stroops or 0


async def served(farm) -> set[UUID]:
    """Whom the coordinator searches for, and whom external miners may."""
    rows = await farm.ctx.database.fetch_all("select_coordinated_farmers", pooler_id=farm.pooler_id)
    return {row["farmer_id"] for row in rows}


async def test_it_is_worked_and_harvested_for_and_nothing_is_kept(farm, operator) -> None:
    [ours] = await farm.add_farmers(1)
    key = await owner(farm)
    price = farm.settings.self_planting_price_stroops
    theirs = await own_wallets.register(
        farm.ctx, operator, farm.pooler_id, key.public_key, {}, prepaid_stroops=price + 1
    )
    assert theirs.plants_itself and theirs.status == "active" and theirs.custodial_wallet == key.public_key
    assert await served(farm) == {ours.farmer_id, theirs.farmer_id}

    # The pool plants for its own, and not for it.
    planted = await plant.plant(farm.ctx, 0, farm.pooler_id)
    assert [each.farmer_id for each in planted.planted] == [ours.farmer_id] and not planted.failed
    assert await own_wallets.note_plants(farm.ctx) == 0
    await plant_oneself(farm, key)
    assert await own_wallets.note_plants(farm.ctx) == 1
    assert await own_wallets.note_plants(farm.ctx) == 0
    before = await balance(farm, key.public_key)

    found = [Submission(each.farmer_id, await farm.nonce(each, 0)) for each in (ours, theirs)]
    worked = await work.work(farm.ctx, 0, farm.pooler_id, found)
    assert {each.farmer_id for each in worked.accepted} == {ours.farmer_id, theirs.farmer_id}, worked.refused
    await farm.end_block()
    await plant.plant(farm.ctx, 1, farm.pooler_id)
    done = await harvest.harvest(farm.ctx, farm.pooler_id, 0)
    brought = next(each for each in done.harvested if each.farmer_id == theirs.farmer_id)
    assert brought.reward_stroops > 0
    assert await balance(farm, key.public_key) == before + 10 * KALE + brought.reward_stroops

    # Of the books nothing is its, and the books are as the chain says.
    await held.look(farm.ctx)
    entries = await farm.rows("SELECT count(*) FROM transfers WHERE debit LIKE %s OR credit LIKE %s",
                              f"%{theirs.farmer_id}%", f"%{theirs.farmer_id}%")  # fmt: skip
    assert entries == [(0,)]
    assert not await farm.rows("SELECT FROM book_checks WHERE difference_stroops <> 0")
    # It has paid for one pail, and not for another.
    paid = await farms_row(farm, theirs.farmer_id)
    assert paid == (price, 1) and await served(farm) == {ours.farmer_id}
    await own_wallets.change_terms(farm.ctx, operator, theirs.farmer_id, price_stroops=0, prepaid_stroops=0)
    assert await served(farm) == {ours.farmer_id, theirs.farmer_id}


async def farms_row(farm, farmer_id: UUID) -> tuple[int, int]:
    query = "SELECT price_stroops::bigint, prepaid_stroops::bigint FROM farmers WHERE farmer_id = %s"
    [row] = await farm.rows(query, farmer_id)
    return row


async def test_the_pool_has_no_hand_in_its_wallet(farm, operator) -> None:
    key = await owner(farm)
    farmer = await own_wallets.register(farm.ctx, operator, farm.pooler_id, key.public_key, {}, price_stroops=0)
    assert await seals.look(farm.ctx) == 0
    with pytest.raises(CustodyError):
        farm.ctx.custody.signer(farmer.binding, farmer.secret_sealed).sign(b"anything")
    with pytest.raises(ConflictError, match="own wallet"):
        await withdrawals.withdraw(farm.ctx, farmer, str(new_id()), "KALE", 10 * KALE)
    # Its transactions are its own: none of them is missing here.
    await plant_oneself(farm, key)
    await gaps.look(farm.ctx.journal)
    assert not farm.ctx.journal.gaps
    # A stake of its own that nobody worked is owed by nobody.
    await own_wallets.note_plants(farm.ctx)
    await farm.end_block()
    await farm.start_block(1)
    assert await record_losses(farm.ctx) == 0
    lost = await harvest.harvest(farm.ctx, farm.pooler_id, 0)
    assert [failure.code for failure in lost.failed] == ["work-missing"] and isinstance(lost.failed[0], Failure)
    assert await farm.rows("SELECT count(*) FROM pooler_compensations") == [(0,)]
    assert await sweep(farm.ctx) == 0
    # It leaves, and nothing moves.
    before = await balance(farm, key.public_key)
    await leaving.leave(farm.ctx, farmer)
    await leaving.advance(farm.ctx)
    gone = await farmers.find_farmer(farm.ctx.database, farmer.farmer_id)
    assert gone is not None and gone.status == "departed"
    assert await balance(farm, key.public_key) == before


async def take_part(farm, index: int) -> None:
    """As a coordinator writes down that its pooler does."""
    query = "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) VALUES (%s, %s, %s, now())"
    await farm.rows(query, index, farm.pooler_id, bytes(32))


async def test_who_leaves_and_plants_on_is_gone_all_the_same(farm, operator) -> None:
    """What it had planted is worked and harvested; what it plants from elsewhere after that is none of the pool's."""
    key = await owner(farm)
    farmer = await own_wallets.register(farm.ctx, operator, farm.pooler_id, key.public_key, {}, price_stroops=0)
    await take_part(farm, 0)
    await plant_oneself(farm, key)
    await leaving.leave(farm.ctx, farmer)  # nobody had noted the plant before
    leaver = replace(farmer, status="leaving")
    assert await served(farm) == {farmer.farmer_id}
    assert await leaving.advance(farm.ctx) == 0
    assert (await leaving.read(farm.ctx, farmer.farmer_id)).code == "pail-open"
    done = await work.work(farm.ctx, 0, farm.pooler_id, [Submission(leaver.farmer_id, await farm.nonce(leaver, 0))])
    assert len(done.accepted) == 1, done.refused

    await farm.end_block()
    before = await balance(farm, key.public_key)
    await plant_oneself(farm, key, stake=KALE)
    await take_part(farm, 1)
    assert await farm.current_index() == 1
    assert await own_wallets.note_plants(farm.ctx) == 0 and await served(farm) == set()
    late = await work.work(farm.ctx, 1, farm.pooler_id, [Submission(leaver.farmer_id, await farm.nonce(leaver, 1))])
    assert [each.failure.code for each in late.refused] == ["unknown-farmer"]
    await farm.rows("UPDATE farmers SET leaving_retry_at = NULL")
    assert await leaving.advance(farm.ctx) == 1, await leaving.read(farm.ctx, farmer.farmer_id)
    [(reward,)] = await farm.rows("SELECT reward_stroops::bigint FROM harvests WHERE outcome = 'harvested'")
    assert await balance(farm, key.public_key) == before - KALE + 10 * KALE + reward


def hand_over(farm, index: int, planter: str, wallet: str) -> None:
    """Makes the planter's pail the wallet's. How a contract account plants by its own signature is
    test_contract_accounts.py's."""
    entries = farm.devnet.node.ledger.entries
    kale = wire.ONE + wire.contract_hash(DEVNET.contract_id)

    def place(farmer: str) -> bytes:
        return wire.key_contract_data(kale, pack_key(pail_key(farmer, index)), wire.TEMPORARY)

    old = entries.pop(place(planter))
    data = replace(old.data, key=pack_key(pail_key(wallet, index)))
    entries[place(wallet)] = LedgerEntry(data, old.modified, old.live_until)


async def test_a_contract_is_one_like_any_other(farm, operator) -> None:
    """A wallet with a C… address: hashed for, worked, harvested, and paid by the KALE contract itself."""
    wallet, key = StrKey.encode_contract(bytes(range(32))), await owner(farm)
    farmer = await own_wallets.register(farm.ctx, operator, farm.pooler_id, wallet, {}, price_stroops=0)
    assert farmer.custodial_wallet == wallet and await served(farm) == {farmer.farmer_id}
    await plant_oneself(farm, key)
    hand_over(farm, 0, key.public_key, wallet)
    assert await own_wallets.note_plants(farm.ctx) == 1
    found = [Submission(farmer.farmer_id, await farm.nonce(farmer, 0))]
    done = await work.work(farm.ctx, 0, farm.pooler_id, found)
    assert [each.farmer_id for each in done.accepted] == [farmer.farmer_id], done.refused
    await farm.end_block()
    await farm.start_block(1)
    done = await harvest.harvest(farm.ctx, farm.pooler_id, 0)
    assert [each.farmer_id for each in done.harvested] == [farmer.farmer_id], done.failed
    await gaps.look(farm.ctx.journal)
    await held.look(farm.ctx)
    assert not farm.ctx.journal.gaps
    view = await MomentReader(farm.ctx.database, farm.ctx.chain, min_spare_stroops=0, balances=True).read()
    assert [each.plants_itself for each in view.farmers] == [True]


async def test_whose_wallet_it_is_not(farm, operator) -> None:
    [ours] = await farm.add_farmers(1)
    register = own_wallets.register
    for wallet in (ours.custodial_wallet, farm.ctx.accounts.payer.public_key):
        with pytest.raises(ConflictError, match="keeps"):
            await register(farm.ctx, operator, farm.pooler_id, wallet, {})
    with pytest.raises(InputError):
        await register(farm.ctx, operator, farm.pooler_id, "G" + "A" * 55, {})
    await register(farm.ctx, operator, farm.pooler_id, ISSUER.public_key, {})
    with pytest.raises(ConflictError, match="already"):
        await register(farm.ctx, operator, farm.pooler_id, ISSUER.public_key, {})
