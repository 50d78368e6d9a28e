"""Wherever a farmer keeps its money: memos, M… and C… addresses each withdraw and leave, and nothing is lost."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from stellar_sdk import FeeBumpTransactionEnvelope, Keypair, MuxedAccount, StrKey, TextMemo, TransactionBuilder, scval
from stellar_sdk.operation import ManageData, Payment

from kalepool.chain import Status, building
from kalepool.chain.destinations import MEMO_REQUIRED
from kalepool.policy.departing import DUST
from kalepool.services import leaving, withdrawals
from kalepool.services.farmers import Farmer
from kalepool.services.journal.recovery import recover
from tests.integration.conftest import KALE
from tests.integration.services.test_attacks_on_paying import ACCOUNTS, dusting, open_accounts
from tests.integration.services.test_crashes import CrashError, arm
from tests.integration.services.test_paying_farmers import POINTS, add_farmer, kale_of, read, restart

pytestmark = pytest.mark.anyio

MEMO = "text:order 17"


async def ask_for_memos(farm, wallet: Keypair) -> None:
    """As exchanges' accounts do (SEP-29)."""
    chain = farm.ctx.chain
    deadline = await chain.now() + timedelta(seconds=30)
    operations = [building.trustline(chain.asset), ManageData(MEMO_REQUIRED, b"1")]
    prepared = await chain._prepare_classic("test", operations, wallet, None, deadline, 1)
    assert (await chain.submit(prepared)).status is Status.APPLIED


async def held_by(farm, address: str) -> tuple[int, int]:
    """KALE and XLM of an account (G…, M…) or a contract (C…), in stroops."""
    if not address.startswith("C"):
        account = MuxedAccount.from_account(address).account_id
        found = (await farm.ctx.chain.read_accounts([account]))[account]
        return found.kale_stroops or 0, found.native_stroops
    chain = farm.ctx.chain
    contracts = (chain.network.asset_contract_id, building.NATIVE.contract_id(chain.network.passphrase))
    held = []
    for contract in contracts:
        call = building.Call(contract, "balance", "balance", (scval.to_address(address),))
        simulation = await chain._simulate(call, farm.ctx.accounts.payer.public_key)
        held.append(scval.from_int128(simulation.results[0].xdr))
    return held[0], held[1]


async def payments_to(farm, address: str) -> list[tuple[str, str, str | None]]:
    """(Asset, destination, memo) of the classic payments in what the journal has as applied, oldest first."""
    rows = await farm.rows(
        "SELECT envelope_xdr FROM submissions WHERE status = 'applied' AND action IN ('payment', 'merge') "
        "ORDER BY created_at"
    )
    found: list[tuple[str, str, str | None]] = []
    for (envelope,) in rows:
        read = TransactionBuilder.from_xdr(envelope, farm.settings.chain.passphrase)
        if isinstance(read, FeeBumpTransactionEnvelope):
            read = read.transaction.inner_transaction_envelope
        memo = read.transaction.memo
        text = memo.memo_text.decode() if isinstance(memo, TextMemo) else None
        for operation in read.transaction.operations:
            if isinstance(operation, Payment) and operation.destination.universal_account_id == address:
                found.append((operation.asset.code, address, text))
    return found


async def paid_out_to(farm, kind: str) -> tuple[Farmer, str]:
    """A farmer with 100 KALE, and the address that it is paid out to."""
    farmer = await add_farmer(farm)
    match kind:
        case "plain":
            return farmer, farmer.payout_wallet
        case "memo":
            exchange = Keypair.random()
            await farm.ctx.chain.fund(exchange.public_key)
            await ask_for_memos(farm, exchange)
            address = exchange.public_key
        case "muxed":
            address = MuxedAccount(farmer.payout_wallet, 1234).account_muxed or ""
        case _:
            address = farm.settings.chain.tractor_id or ""
    await farm.pay_out_to(farmer, address, MEMO if kind == "memo" else None)
    return await read(farm, farmer), address


@pytest.mark.parametrize("kind", ["plain", "memo", "muxed", "contract"])
async def test_every_kind_of_wallet_withdraws_and_leaves(farm, kind: str) -> None:
    farmer, address = await paid_out_to(farm, kind)
    before_kale, before_native = await held_by(farm, address)
    _, owned = await held_by(farm, farmer.custodial_wallet)
    pool = farm.ctx.accounts.payer.public_key

    withdrawn = await withdrawals.withdraw(farm.ctx, farmer, "kale", "KALE", 30 * KALE)
    assert (withdrawn.status, withdrawn.destination) == ("paid", address), withdrawn
    withdrawn = await withdrawals.withdraw(farm.ctx, farmer, "xlm", "XLM", 5 * KALE)
    assert withdrawn.status == "paid", withdrawn
    assert await held_by(farm, address) == (before_kale + 30 * KALE, before_native + 5 * KALE)

    await leaving.leave(farm.ctx, farmer)
    assert await leaving.advance(farm.ctx) == 1, await leaving.read(farm.ctx, farmer.farmer_id)
    assert not await farm.ctx.chain.read_accounts([farmer.custodial_wallet])
    assert await held_by(farm, address) == (before_kale + 100 * KALE, before_native + owned)
    gone = await leaving.read(farm.ctx, farmer.farmer_id)
    assert (gone.status, gone.kale_stroops) == ("departed", 70 * KALE)
    merged = await farm.rows("SELECT envelope_xdr FROM submissions WHERE action = 'merge'")
    assert pool in str(TransactionBuilder.from_xdr(merged[0][0], farm.settings.chain.passphrase).transaction), (
        "exchanges credit nothing that comes by a merge"
    )
    if kind != "contract":
        memo = MEMO.removeprefix("text:") if kind == "memo" else None
        expected = [(asset, address, memo) for asset in ("KALE", "XLM", "KALE", "XLM")]
        assert await payments_to(farm, address) == expected


async def test_a_wallet_that_asks_for_a_memo_is_found_before_anything_is_paid(farm) -> None:
    farmer = await add_farmer(farm)
    exchange = Keypair.random()
    await farm.ctx.chain.fund(exchange.public_key)
    await ask_for_memos(farm, exchange)
    await farm.pay_out_to(farmer, exchange.public_key)
    farmer = await read(farm, farmer)
    with pytest.raises(withdrawals.MemoRequiredError, match="SEP-29"):
        await withdrawals.withdraw(farm.ctx, farmer, "once", "KALE", 30 * KALE)
    await leaving.leave(farm.ctx, farmer)
    assert await leaving.advance(farm.ctx) == 0
    found = await leaving.read(farm.ctx, farmer.farmer_id)
    assert (found.status, found.code) == ("leaving", "memo-required")
    assert await kale_of(farm, exchange.public_key) == 0
    assert await kale_of(farm, farmer.custodial_wallet) == 100 * KALE

    # with the memo it goes on; an M… address says by itself whose the money is
    await farm.pay_out_to(farmer, exchange.public_key, "id:99")
    await farm.rows("UPDATE farmers SET leaving_retry_at = NULL")
    assert await leaving.advance(farm.ctx) == 1
    assert await kale_of(farm, exchange.public_key) == 100 * KALE
    other = await add_farmer(farm)
    await farm.pay_out_to(other, MuxedAccount(exchange.public_key, 7).account_muxed)
    paid = await withdrawals.withdraw(farm.ctx, await read(farm, other), "once", "KALE", 30 * KALE)
    assert paid.status == "paid", paid


async def test_a_contract_that_is_not_there_is_not_paid(farm) -> None:
    farmer = await add_farmer(farm)
    await farm.pay_out_to(farmer, StrKey.encode_contract(bytes(32)))
    with pytest.raises(withdrawals.PayoutAccountError, match="contract"):
        await withdrawals.withdraw(farm.ctx, await read(farm, farmer), "once", "KALE", 30 * KALE)


@pytest.mark.parametrize(("sent_before", "point"), [(0, POINTS[1]), (1, POINTS[2]), *((2, each) for each in POINTS)])
async def test_a_contract_is_paid_once_over_a_crash(
    farm, sent_before: int, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its departure takes three transactions: the KALE, the account closed, its XLM passed on."""
    farmer, address = await paid_out_to(farm, "contract")
    _, owned = await held_by(farm, farmer.custodial_wallet)
    await leaving.leave(farm.ctx, farmer)
    carried = leaving.carry_within
    count = 0

    async def crash_at(journal, *arguments, **options):
        nonlocal count
        count += 1
        if count <= sent_before:
            return await carried(journal, *arguments, **options)
        with monkeypatch.context() as patch:
            arm(farm.ctx, point, patch)
            return await carried(journal, *arguments, **options)

    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            patch.setattr(leaving, "carry_within", crash_at)
            with pytest.raises(CrashError):
                await leaving.advance(farm.ctx)
        await restart(farm, stack)
        assert await recover(farm.ctx.journal) == 0
        assert await leaving.advance(farm.ctx) == 1, await leaving.read(farm.ctx, farmer.farmer_id)
        assert await held_by(farm, address) == (100 * KALE, owned)
        assert await leaving.advance(farm.ctx) == 0


async def test_the_last_try_may_be_the_one_that_closes(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    farmer, address = await paid_out_to(farm, "contract")
    _, owned = await held_by(farm, farmer.custodial_wallet)
    monkeypatch.setattr(leaving, "TRIES", 2)  # the KALE, and the account closed
    await leaving.leave(farm.ctx, farmer)
    assert await leaving.advance(farm.ctx) == 1, await leaving.read(farm.ctx, farmer.farmer_id)
    assert await held_by(farm, address) == (100 * KALE, owned)


@pytest.mark.slow(10, "15 accounts of a stranger's are made and funded first")
async def test_dust_holds_no_departure_to_a_contract_up(farm) -> None:
    """Not even where what each ledger brings would be worth a payment of its own."""
    farmer, address = await paid_out_to(farm, "contract")
    _, owned = await held_by(farm, farmer.custodial_wallet)
    senders = await open_accounts(farm, ACCOUNTS)
    async with dusting(farm, farmer.custodial_wallet, senders, stroops=2 * DUST) as came:
        while len(came) < 3:
            await farm.wait_ledger()
        await leaving.leave(farm.ctx, farmer)
        assert await leaving.advance(farm.ctx) == 1, await leaving.read(farm.ctx, farmer.farmer_id)
    kale, native = await held_by(farm, address)
    assert (kale >= 100 * KALE, native) == (True, owned)
