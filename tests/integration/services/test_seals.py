"""Who writes to the database takes no money: what a secret was sealed for cannot be changed there."""

from __future__ import annotations

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Account, Destination
from kalepool.errors import ConflictError, CustodyError, DatabaseError, InputError
from kalepool.services import alerts, leaving, seals, withdrawals
from kalepool.services.farmers import Farmer
from kalepool.services.health import Health
from kalepool.services.mining import payout_records, payout_wallets, payouts
from tests.integration.conftest import KALE
from tests.integration.services.test_paying_farmers import add_farmer, kale_of, read
from tests.integration.services.test_payouts import credited, payee

pytestmark = pytest.mark.anyio


async def account_of(farm, address: str) -> Account | None:
    return (await farm.ctx.chain.read_accounts([address])).get(address)


async def thiefs_wallet(farm) -> str:
    """On the ledger, with a trustline: the pool could pay it."""
    return (await add_farmer(farm)).payout_wallet


async def test_one_update_of_the_payout_wallet_pays_nobody(farm) -> None:
    farmer = await add_farmer(farm)
    thief = await thiefs_wallet(farm)
    honest = farmer.payout_wallet
    await farm.rows("UPDATE farmers SET payout_wallet = %s WHERE farmer_id = %s", thief, farmer.farmer_id)
    changed = await read(farm, farmer)
    with pytest.raises(CustodyError, match="payout wallet"):
        await withdrawals.withdraw(farm.ctx, changed, "once", "KALE", 30 * KALE)
    await leaving.leave(farm.ctx, changed)
    await leaving.advance(farm.ctx)
    assert await kale_of(farm, thief) == 0 and await kale_of(farm, honest) == 0
    found = await leaving.read(farm.ctx, farmer.farmer_id)
    assert (found.status, found.code) == ("leaving", "custody") and "payout wallet" in (found.message or "")

    # The operator is told, by webhook and by /health.
    assert await seals.look(farm.ctx) == 1
    (told,) = alerts.conditions(alerts.Observation(broken_seals=farm.ctx.broken_seals))
    assert told.kind == "seal-broken" and farmer.custodial_wallet in told.message
    custody = (await Health(farm.ctx).report()).components["custody"]
    assert custody.state == "down" and farmer.custodial_wallet in custody.detail

    # Put back as it was, everything goes where it belongs.
    await farm.rows(
        "UPDATE farmers SET payout_wallet = %s, leaving_retry_at = NULL WHERE farmer_id = %s", honest, farmer.farmer_id
    )
    await leaving.advance(farm.ctx)
    assert (await leaving.read(farm.ctx, farmer.farmer_id)).status == "departed"
    assert await kale_of(farm, honest) == 100 * KALE
    assert await seals.look(farm.ctx) == 0


async def test_nor_does_one_of_the_memo(farm) -> None:
    """At an exchange the memo is what tells whose the money is."""
    farmer = await add_farmer(farm)
    await farm.pay_out_to(farmer, farmer.payout_wallet, "id:1")
    await farm.rows("UPDATE farmers SET payout_memo = 'id:2' WHERE farmer_id = %s", farmer.farmer_id)
    with pytest.raises(CustodyError):
        await withdrawals.withdraw(farm.ctx, await read(farm, farmer), "once", "KALE", 30 * KALE)
    assert await seals.look(farm.ctx) == 1


async def test_a_withdrawal_under_way_goes_to_no_other_wallet(farm) -> None:
    """Its own row names the destination, too."""
    farmer = await add_farmer(farm)
    thief = await thiefs_wallet(farm)
    await farm.ctx.database.execute(
        "insert_withdrawal",
        withdrawal_id=(wanted := farmer.farmer_id),
        farmer_id=farmer.farmer_id,
        idempotency_key="once",
        asset="KALE",
        amount_stroops=30 * KALE,
    )
    await farm.rows("UPDATE withdrawals SET destination = %s", thief)
    await withdrawals.resume(farm.ctx)
    found = await withdrawals.read(farm.ctx, farmer.farmer_id, wanted)
    assert (found.status, found.code) == ("failed", "payout-changed") and thief in (found.message or "")
    assert await kale_of(farm, thief) == 0


async def test_the_pool_sends_nothing_to_an_account_that_is_not_its_own(farm) -> None:
    thief = Keypair.random().public_key
    await farm.rows("UPDATE accounts SET address = %s WHERE name = 'channel-03'", thief)
    with pytest.raises(CustodyError, match="was changed"):
        await farm.ctx.accounts.ensure()
    assert await account_of(farm, thief) is None


async def test_who_holds_the_master_key_may_change_a_payout_wallet(farm) -> None:
    farmer = await add_farmer(farm)
    other = await thiefs_wallet(farm)

    async def change(wallet: str) -> str:
        async with farm.as_owner() as database:
            return await seals.change_payout_wallet(farm.ctx.custody, database, farmer.farmer_id, wallet)

    with pytest.raises(DatabaseError, match="permission denied"):  # the API itself may not
        await seals.change_payout_wallet(farm.ctx.custody, farm.ctx.database, farmer.farmer_id, other)
    with pytest.raises(InputError):
        await change("GNOT")
    with pytest.raises(ConflictError):
        await change(farmer.custodial_wallet)
    assert (await read(farm, farmer)).payout_wallet == farmer.payout_wallet
    assert await change(other) == farmer.payout_wallet
    changed: Farmer = await read(farm, farmer)
    paid = await withdrawals.withdraw(farm.ctx, changed, "once", "KALE", 30 * KALE)
    assert (paid.status, paid.destination) == ("paid", other)
    assert await farm.rows("SELECT action, subject_id, detail ->> 'before' FROM operator_actions") == [
        ("change-payout", farmer.farmer_id, farmer.payout_wallet)
    ]
    # Not from a row that somebody changed before: that would make it right.
    await farm.rows(
        "UPDATE farmers SET payout_wallet = %s WHERE farmer_id = %s", farmer.payout_wallet, farmer.farmer_id
    )
    with pytest.raises(CustodyError):
        await change(other)


@pytest.mark.parametrize(
    "attack",
    [
        "payout_wallet = %s",
        "payout_wallet = %s, payout_seal = NULL",
        "next_wallet = %s, next_wallet_at = now() - interval '1 hour'",
        "payout_wallet = %s, payout_seal = (SELECT payout_seal FROM miners WHERE name = 'm1')",
    ],
)
async def test_no_update_of_a_miner_s_wallet_is_paid(farm, attack: str) -> None:
    (miner, honest), (_, thief) = await credited(farm, 20 * KALE, 1)
    await farm.rows(f"UPDATE miners SET {attack} WHERE miner_id = %s", thief.public_key, miner)
    assert await payouts.pay(farm.ctx) == 0
    assert [await kale_of(farm, each.public_key) for each in (honest, thief)] == [0, 0]
    found = await payout_records.balance(farm.ctx.database, miner)
    assert (found["payout_code"], found["due_stroops"]) == ("payout-wallet-changed", 20 * KALE)
    with pytest.raises(payout_wallets.WalletChangedError):  # nor is it made right by a change
        await payout_wallets.change(
            *(farm.ctx.database, farm.ctx.custody, farm.settings, miner),
            Destination(thief.public_key),
            signed_by=thief.public_key,
        )
    assert await seals.look(farm.ctx) == 1
    (told,) = alerts.conditions(alerts.Observation(broken_seals=farm.ctx.broken_seals))
    assert told.kind == "seal-broken"


async def test_a_miner_whose_wallet_was_taken_away_waits_for_another(farm) -> None:
    """Else who writes to the database would take it away, make itself a key, and set its own at once."""
    ((miner, _),) = await credited(farm, 20 * KALE)
    thief = await payee(farm)
    await farm.rows("UPDATE miners SET payout_wallet = NULL, payout_seal = NULL WHERE miner_id = %s", miner)
    await payout_wallets.change(
        *(farm.ctx.database, farm.ctx.custody, farm.settings, miner), Destination(thief.public_key), signed_by=None
    )
    assert await payouts.pay(farm.ctx) == 0
    found = await payout_records.balance(farm.ctx.database, miner)
    assert (found["payout_wallet"], found["next_wallet"]) == (None, thief.public_key)


async def test_a_payout_under_way_goes_to_no_other_wallet_and_none_is_made_up(farm, monkeypatch) -> None:
    ((miner, honest),) = await credited(farm, 20 * KALE)
    thief = await payee(farm)

    async def none(*_: object) -> list:
        return []

    with monkeypatch.context() as patch:
        patch.setattr(payouts, "_payable", none)
        assert await payouts.pay(farm.ctx) == 0
    await farm.rows("UPDATE payouts SET destination = %s", thief.public_key)
    assert await payouts.pay(farm.ctx) == 0
    assert await farm.rows("SELECT code FROM payouts") == [("payee-changed",)]
    await farm.rows(
        "INSERT INTO payouts (payout_id, miner_id, amount_stroops, destination, reason) "
        "VALUES (gen_random_uuid(), %s, 5, %s, 'wish')",
        *(miner, honest.public_key),
    )
    assert await payouts.pay(farm.ctx) == 0
    assert [await kale_of(farm, each.public_key) for each in (honest, thief)] == [0, 0]
