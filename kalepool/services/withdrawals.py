"""Farmers take money out: to their payout wallet and nowhere else, once for each idempotency key.

The wish is a row before anything is sent. Whether it was paid is told by the journal, whose open or applied item for a
withdrawal is unique. What a crash or a silent network left open goes on by itself: see `resume`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Account, Destination, Receiver
from kalepool.database import Database, Session, new_id
from kalepool.errors import (
    AccountMissingError,
    AssetContractError,
    ConflictError,
    Fault,
    InsufficientBalanceError,
    KalepoolError,
    NotFoundError,
    TransactionFailedError,
    TrustlineMissingError,
)
from kalepool.marking import Sum, mark
from kalepool.services import postings
from kalepool.services.context import Context
from kalepool.services.failures import FarmerLeavesError
from kalepool.services.farmers import Farmer, FarmerStatus, find_farmer
from kalepool.services.journal.carry import carry_within
from kalepool.services.journal.intents import Intent, Item

log = structlog.get_logger()

Asset = Literal["KALE", "XLM"]


class PayoutAccountError(ConflictError):
    """The payout wallet is not on the ledger, and cannot be paid."""

    code = "payout-account-missing"
    fault = Fault.FARMER


class PayoutTrustlineError(ConflictError):
    """The payout wallet has no trustline for KALE, and cannot be paid in it."""

    code = "payout-trustline-missing"
    fault = Fault.FARMER


class MemoRequiredError(ConflictError):
    """The payout wallet loses track of what comes without a memo, and the farmer has none."""

    code = "memo-required"
    fault = Fault.FARMER


class WithdrawalOpenError(ConflictError):
    """The farmer has a withdrawal that is on its way: one at a time."""

    code = "withdrawal-open"
    fault = Fault.FARMER


class TooLittleError(ConflictError):
    """Less than the least that is withdrawn."""

    code = "amount-too-low"
    fault = Fault.FARMER


class PayoutChangedError(ConflictError):
    """The withdrawal is to another wallet than the farmer's payout wallet."""

    code = "payout-changed"


class NotActiveError(ConflictError):
    """A farmer that has brought nothing yet takes nothing out."""

    code = "not-active"
    fault = Fault.FARMER


class PaidBeforeError(ConflictError):
    """The withdrawal was paid, by a transaction that the database does not have any more."""

    code = "paid-before"


class TooMuchError(ConflictError):
    """More than the wallet has to give."""

    code = "balance-too-low"
    fault = Fault.FARMER


class KeyReusedError(ConflictError):
    """This idempotency key stands for another withdrawal."""

    code = "idempotency-key-reused"
    fault = Fault.FARMER


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """`status`: open (on its way, or to be tried again), paid, or failed (`code` and `message` say why; nothing moved).

    `transaction_hash` of the payment that is under way or done.
    """

    withdrawal_id: UUID
    farmer_id: UUID
    asset: Asset
    amount_stroops: int
    destination: str
    created_at: datetime
    status: Literal["open", "paid", "failed"]
    transaction_hash: str | None
    ledger: int | None
    code: str | None
    message: str | None


async def withdraw(ctx: Context, farmer: Farmer, idempotency_key: str, asset: Asset, amount_stroops: int) -> Withdrawal:
    """Pays an amount to the farmer's payout wallet. The same key again gives the same withdrawal.

    Raises PayoutAccountError, PayoutTrustlineError, MemoRequiredError, TooMuchError, TooLittleError,
    WithdrawalOpenError (nothing was begun then), KeyReusedError, FarmerLeavesError, CustodyError where the farmer's row
    was changed past us, ChainError where the balances cannot be read.
    """
    _require_kept(farmer)
    ctx.custody.signer(farmer.binding, farmer.secret_sealed).check()
    wish = {"farmer_id": farmer.farmer_id, "idempotency_key": idempotency_key}
    # Written down before it waits for the wallet: what is refused holds nothing up.
    found = await _find(ctx, wish) or await _begin(ctx, farmer, wish, asset, amount_stroops)
    if (found.asset, found.amount_stroops) != (asset, amount_stroops):
        raise KeyReusedError(
            mark("this key stands for %(sum)s %(asset)s; take another"),
            sum=Sum(found.amount_stroops),
            asset=found.asset,
        )
    if found.status != "open":
        return found
    async with ctx.wallet(farmer.farmer_id):
        return await _pay(ctx, farmer, await read(ctx, farmer.farmer_id, found.withdrawal_id))


async def _find(ctx: Context, wish: dict[str, Any]) -> Withdrawal | None:
    return await ctx.database.fetch_one("select_withdrawal", row=Withdrawal, withdrawal_id=None, **wish)


async def require_may_withdraw(ctx: Context, farmer: Farmer, asset: Asset, amount_stroops: int) -> None:
    """Whatever the balances are. Raises NotActiveError, FarmerLeavesError, TooLittleError, WithdrawalOpenError, and
    ConflictError for one that plants itself."""
    _require_kept(farmer)
    if farmer.pays_itself:
        raise NotActiveError(
            mark("farmer %(farmer)s was never active: to have its XLM back, it leaves"), farmer=farmer.farmer_id
        )
    if farmer.status not in (FarmerStatus.REGISTERED, FarmerStatus.ACTIVE):
        raise _leaves(farmer)
    least = ctx.settings.least_withdrawal_stroops
    if amount_stroops < least:
        raise TooLittleError(
            mark(
                "%(sum)s %(asset)s are less than the %(least)s that are withdrawn at least: a farmer that leaves is "
                "paid the rest"
            ),
            sum=Sum(amount_stroops),
            asset=asset,
            least=Sum(least),
        )
    await _require_none_open(ctx, farmer)


def _require_kept(farmer: Farmer) -> None:
    if farmer.plants_itself:
        raise ConflictError(
            f"{farmer.custodial_wallet} is the farmer's own wallet: nothing of it is in the pool's hands"
        )


async def _require_none_open(ctx: Context, farmer: Farmer) -> None:
    row = await ctx.database.fetch_one("select_open_withdrawal", farmer_id=farmer.farmer_id)
    if row is not None:
        raise WithdrawalOpenError(
            mark("withdrawal %(withdrawal)s is on its way: wait until it is paid"), withdrawal=row["withdrawal_id"]
        )


def _leaves(farmer: Farmer) -> FarmerLeavesError:
    return FarmerLeavesError(
        mark("farmer %(farmer)s leaves: everything goes to %(payout)s"),
        farmer=farmer.farmer_id,
        payout=farmer.destination,
    )


async def _begin(ctx: Context, farmer: Farmer, wish: dict[str, Any], asset: Asset, amount_stroops: int) -> Withdrawal:
    """Writes the wish down."""
    await require_may_withdraw(ctx, farmer, asset, amount_stroops)
    accounts, receiver = await asyncio.gather(
        ctx.chain.read_accounts([farmer.custodial_wallet]), ctx.chain.read_receiver(farmer.destination)
    )
    check_payout(farmer.destination, receiver, kale=asset == "KALE")
    owed = await postings.owed_by(ctx.database, farmer.farmer_id)
    check_balance(accounts.get(farmer.custodial_wallet), asset, amount_stroops, owed)
    await ctx.database.execute(
        "insert_withdrawal", withdrawal_id=new_id(), asset=asset, amount_stroops=amount_stroops, **wish
    )
    found = await _find(ctx, wish)
    if found is None:
        await _require_none_open(ctx, farmer)
        raise _leaves(farmer)
    log.info("withdrawal_begun", withdrawal=str(found.withdrawal_id), asset=asset, stroops=amount_stroops)
    return found


def check_payout(destination: Destination, receiver: Receiver, *, kale: bool) -> None:
    """Unless it can be paid raises PayoutAccountError, PayoutTrustlineError (for `kale`), MemoRequiredError."""
    address = destination.address
    if not receiver.is_there:
        if destination.is_contract:
            raise PayoutAccountError(
                mark("the contract %(address)s, which is to be paid, is not on the ledger"), address=address
            )
        raise PayoutAccountError(
            mark("the payout wallet %(address)s is not on the ledger: create it, with 1 XLM or more"), address=address
        )
    if kale and not receiver.trusts_kale:
        raise PayoutTrustlineError(mark("the payout wallet %(address)s has no KALE trustline: add it"), address=address)
    if receiver.wants_memo and not destination.tells_whose:
        raise MemoRequiredError(
            mark(
                "the payout wallet %(address)s asks for a memo (SEP-29), and would lose what comes without: an "
                "operator can set one by `kalepool custody payout`"
            ),
            address=address,
        )


def check_balance(account: Account | None, asset: Asset, amount_stroops: int, owed_stroops: int = 0) -> None:
    """TooMuchError unless the wallet has so much KALE beyond what it owes, which is KALE, or XLM beyond its reserve."""
    held, owed = 0, owed_stroops if asset == "KALE" else 0
    if account is not None:
        held = (account.kale_stroops or 0) if asset == "KALE" else account.spendable_stroops
    have = max(held - owed, 0)
    if amount_stroops > have:
        known = {"sum": Sum(amount_stroops), "asset": asset, "have": Sum(have)}
        if owed:
            text = mark(
                "%(sum)s %(asset)s are more than the %(have)s that can be withdrawn, without the %(fee)s of the pool's "
                "fee"
            )
            raise TooMuchError(text, **known, fee=Sum(owed))
        raise TooMuchError(mark("%(sum)s %(asset)s are more than the %(have)s that can be withdrawn"), **known)


def _fee_item(farmer: Farmer, address: str, stroops: int) -> Item:
    """What the farmer owes, as a part of the transaction."""
    action = ActionName.COLLECT
    return Item(farmer_id=farmer.farmer_id, amount_stroops=stroops, destination=address, asset="KALE", action=action)


async def _fee_part(ctx: Context, farmer: Farmer) -> tuple[str, int] | None:
    """Where and how much a payment out of the farmer's wallet pays besides, of what the farmer owes; None: nothing."""
    owed = await postings.owed_by(ctx.database, farmer.farmer_id)
    return (ctx.accounts.treasury.public_key, owed) if owed and ctx.accounts.treasury is not None else None


async def resume(ctx: Context) -> int:
    """Goes on with every withdrawal that has no outcome yet. Returns how many there were."""
    rows = await ctx.database.fetch_all("select_unclosed_withdrawals")
    await asyncio.gather(*(_resume(ctx, row["withdrawal_id"], row["farmer_id"]) for row in rows))
    return len(rows)


async def _resume(ctx: Context, withdrawal_id: UUID, farmer_id: UUID) -> None:
    async with ctx.wallet(farmer_id):
        farmer = await find_farmer(ctx.database, farmer_id)
        assert farmer is not None
        await _pay(ctx, farmer, await read(ctx, farmer_id, withdrawal_id))


async def read(ctx: Context, farmer_id: UUID, withdrawal_id: UUID) -> Withdrawal:
    """A withdrawal of the farmer. Raises NotFoundError."""
    found = await ctx.database.fetch_one(
        "select_withdrawal", row=Withdrawal, withdrawal_id=withdrawal_id, farmer_id=None, idempotency_key=None
    )
    if found is None or found.farmer_id != farmer_id:
        raise NotFoundError(f"no withdrawal {withdrawal_id} of farmer {farmer_id}")
    return found


async def _pay(ctx: Context, farmer: Farmer, found: Withdrawal) -> Withdrawal:
    """Sends the payment unless one is under way or done. The wallet's lock is held. Returns how it stands now."""
    if found.status == "open" and found.transaction_hash is None:
        try:
            await _send(ctx, farmer, found)
        except KalepoolError as error:
            log.warning("withdrawal_not_paid", withdrawal=str(found.withdrawal_id), code=error.code, reason=str(error))
            if is_final(error):
                await ctx.database.execute(
                    "close_withdrawal", withdrawal_id=found.withdrawal_id, code=error.code, message=str(error)
                )
        found = await read(ctx, farmer.farmer_id, found.withdrawal_id)
    if found.status == "paid":
        await ctx.database.execute("close_withdrawal", withdrawal_id=found.withdrawal_id, code=None, message=None)
    return found


def is_final(error: KalepoolError) -> bool:
    """Whether the network said no to the payment itself, or we do. Anything else may be tried again."""
    return type(error) in (
        AccountMissingError,
        InsufficientBalanceError,
        TrustlineMissingError,
        TransactionFailedError,
        AssetContractError,
        PayoutChangedError,
    )


async def _send(ctx: Context, farmer: Farmer, wanted: Withdrawal) -> None:
    signer = ctx.custody.signer(farmer.binding, farmer.secret_sealed)
    signer.check()  # then the payout wallet is the one that the secret was sealed for
    if wanted.destination != farmer.payout_wallet:
        raise PayoutChangedError(
            f"it was to go to {wanted.destination}; the farmer's payout wallet is {farmer.payout_wallet}: withdraw anew"
        )
    amount = {"kale_stroops" if wanted.asset == "KALE" else "native_stroops": wanted.amount_stroops}
    item = Item(
        farmer_id=farmer.farmer_id,
        amount_stroops=wanted.amount_stroops,
        destination=wanted.destination,
        withdrawal_id=wanted.withdrawal_id,
        asset=wanted.asset,
    )
    fee = await _fee_part(ctx, farmer) if wanted.asset == "KALE" and not farmer.destination.is_contract else None
    items = [item, *([_fee_item(farmer, *fee)] if fee else [])]
    intent = Intent(ActionName.PAYMENT, farmer.pooler_id, items)
    prepare = partial(
        ctx.chain.prepare_payment, signer, farmer.destination, **amount, pool=ctx.accounts.payer, also=fee
    )
    await carry_within(ctx.journal, intent, prepare, ctx.settings.plant_timeout_seconds)


async def close_as_paid_before(session: Session, withdrawal_id: UUID) -> None:
    """Closes one that an operator found to be paid by a transaction that this database does not have. NotFoundError
    where none of this id is open, or its payment is under way."""
    message = "paid by a transaction that the database lost, by what an operator found"
    if not await session.execute(
        "close_withdrawal", withdrawal_id=withdrawal_id, code=PaidBeforeError.code, message=message
    ):
        raise NotFoundError(f"no withdrawal {withdrawal_id} that is open and not on its way")


async def withdrawals_of(database: Database, farmer_id: UUID, *, after: UUID | None, limit: int) -> list[Withdrawal]:
    """A page of a farmer's, the newest first."""
    return await database.fetch_all("select_withdrawals", row=Withdrawal, farmer_id=farmer_id, after=after, limit=limit)
