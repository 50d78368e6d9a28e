"""Farmers leave: leaving → departed, by itself, a step at a time, from what the ledger and the journal say.

No new plants (the database refuses them), the last harvests, then one transaction that pays all KALE and XLM to the
payout wallet and closes the account; several where somebody sends it dust to hold that up (policy/departing.py), or a
contract is to be paid. Whatever stops it is told as `code` and `message`, and it goes on when mended.

One that plants itself is gone once the pool is done with what was planted when it began to leave, which is within the
life of a pail: what its wallet plants later holds nothing up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from random import SystemRandom
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Account, Prepared, Signer
from kalepool.errors import ConflictError, KalepoolError, NotFoundError, TransactionFailedError
from kalepool.notices import FarmerNotice, tell
from kalepool.policy import departing
from kalepool.services import own_wallets
from kalepool.services.books import collecting
from kalepool.services.context import Context
from kalepool.services.farmers import Farmer, FarmerStatus
from kalepool.services.farming import harvest
from kalepool.services.journal.carry import carry_within
from kalepool.services.journal.intents import Intent, Item
from kalepool.services.withdrawals import check_payout
from kalepool.units import counted

log = structlog.get_logger()

WAIT_LEDGERS = 3
"""How often it is looked whether what a farmer waits for has come."""
RETRY_SECONDS = 300.0
"""About when a pay-out that the network refused, or deposits held up, is tried again: each try costs the pool a fee."""
TRIES = 24
"""Transactions of one farmer before it is told what holds it up. Dust takes up to 17 (policy/departing.py's tests)."""
CAME_IN = "CHANGE_TRUST_INVALID_LIMIT"
"""Result code where something came to the wallet that was not known when the transaction was made."""
RANDOM = SystemRandom()
"""Nobody can tell when a try comes."""


class UnderWayError(ConflictError):
    """Something of the farmer has no outcome yet."""

    code = "under-way"


class PailOpenError(ConflictError):
    """The farmer is planted in a block that is not over."""

    code = "pail-open"


class HarvestWaitsError(ConflictError):
    """A harvest of the farmer did not succeed yet."""

    code = "harvest-waits"


class DepositsError(ConflictError):
    """Deposits keep coming to a wallet that is to be closed."""

    code = "deposits-come"


@dataclass(frozen=True, slots=True)
class Leaving:
    """How far a farmer is. `code` and `message`: what it waits for. `transaction_hash`: of the one that closed the
    account, once applied. `kale_stroops`: what was paid on the way out; `native_stroops`: the XLM with it."""

    status: FarmerStatus
    leaving_at: datetime | None
    departed_at: datetime | None
    code: str | None
    message: str | None
    transaction_hash: str | None
    kale_stroops: int | None
    native_stroops: int | None


async def leave(ctx: Context, farmer: Farmer) -> Leaving:
    """Begins to leave; again changes nothing. One who departed begins again where its account is there once more. Of
    one that plants itself a plant that is on the ledger by now counts still. Raises ChainError."""
    gone = farmer.status == FarmerStatus.DEPARTED
    if farmer.plants_itself and farmer.status == FarmerStatus.ACTIVE:
        await own_wallets.note_plants(ctx)
    if not gone or (not farmer.plants_itself and await ctx.chain.read_accounts([farmer.custodial_wallet])):
        async with ctx.database.transaction() as tx:
            if await tx.execute("start_leaving", farmer_id=farmer.farmer_id):
                await tell(tx, FarmerNotice(farmer.farmer_id))
                log.info("farmer_leaves", farmer=str(farmer.farmer_id), payout_wallet=farmer.payout_wallet)
    return await read(ctx, farmer.farmer_id)


async def read(ctx: Context, farmer_id: UUID) -> Leaving:
    """How far a farmer is on its way out. Raises NotFoundError."""
    found = await ctx.database.fetch_one("select_leaving", row=Leaving, farmer_id=farmer_id)
    if found is None:
        raise NotFoundError(f"no farmer {farmer_id}")
    return found


async def advance(ctx: Context) -> int:
    """Takes every farmer that leaves as far as it gets now. Returns how many departed."""
    farmers = await ctx.database.fetch_all("select_leaving_farmers", row=Farmer)
    return sum(await asyncio.gather(*(_advance(ctx, farmer) for farmer in farmers)))


async def _advance(ctx: Context, farmer: Farmer) -> bool:
    try:
        async with ctx.wallet(farmer.farmer_id):
            await _settle(ctx, farmer)
            await _harvest(ctx, farmer)
            if not farmer.plants_itself:  # of which nothing is in our hands
                await collecting.settle_fees(ctx, [farmer])
                await _pay_out(ctx, farmer)
    except KalepoolError as error:
        refused = isinstance(error, TransactionFailedError | DepositsError)
        wait = RETRY_SECONDS if refused else WAIT_LEDGERS * ctx.chain.network.ledger_seconds
        await ctx.database.execute(
            "note_leaving",
            farmer_id=farmer.farmer_id,
            code=error.code,
            message=str(error),
            retry_seconds=wait * RANDOM.uniform(0.7, 1.3),
        )
        return False
    async with ctx.database.transaction() as tx:
        await tx.execute("finish_leaving", farmer_id=farmer.farmer_id)
        await tell(tx, FarmerNotice(farmer.farmer_id))
    log.info("farmer_departed", farmer=str(farmer.farmer_id))
    return True


async def _settle(ctx: Context, farmer: Farmer) -> None:
    """UnderWayError while a transaction or withdrawal of the farmer has no outcome."""
    left = await ctx.database.fetch_one("select_left_behind", farmer_id=farmer.farmer_id)
    assert left is not None
    if left["submissions"] or left["withdrawals"]:
        raise UnderWayError(
            f"{left['submissions']} transactions and {left['withdrawals']} withdrawals are on their way"
        )


async def _harvest(ctx: Context, farmer: Farmer) -> None:
    """Harvests what is left, by the journal and by the ledger; of one that plants itself, by the pool's record alone.
    PailOpenError, HarvestWaitsError where it must wait."""
    wallet = farmer.custodial_wallet
    current = (await ctx.chain.read_farm()).index or 0
    oldest = max(current - await harvest.living_blocks(ctx), 0)
    asked = {"farmer_id": farmer.farmer_id, "first": oldest, "current": current}
    rows = await ctx.database.fetch_all("select_pails_left", **asked)
    worked: set[int] = set()
    if not farmer.plants_itself:
        pails = await ctx.chain.read_pails([(wallet, index) for index in range(oldest, current + 2)])
        worked = {index for (_, index), pail in pails.items() if pail.zeros is not None or index >= current}
    left = sorted({row["block_index"] for row in rows} | worked)
    if past := [index for index in left if index < current]:
        targets = [harvest.Target(index, farmer.farmer_id) for index in past]
        result = await harvest.harvest(ctx, farmer.pooler_id, targets=targets, by_pool=True)
        # A stake that is lost is recorded as owed, and holds nobody back.
        rows = await ctx.database.fetch_all("select_pails_left", **asked)
        unsettled = worked | {row["block_index"] for row in rows}
        if waiting := [failure for failure in result.failed if failure.block_index in unsettled]:
            raise HarvestWaitsError(
                f"{counted(len(waiting), 'harvest')} did not succeed yet; of block {waiting[0].block_index}: "
                f"{waiting[0].message}"
            )
    if len(past) < len(left):
        raise PailOpenError(f"planted in block {left[-1]}, which is not over")


async def _pay_out(ctx: Context, farmer: Farmer) -> None:
    """Everything to the payout wallet, and the account closed. Nothing to do where the account is not there.

    Raises PayoutAccountError, PayoutTrustlineError, MemoRequiredError, CustodyError where the payout wallet was changed
    past us, DepositsError, and as carry.
    """
    signer = ctx.custody.signer(farmer.binding, farmer.secret_sealed)
    signer.check()
    await _close(ctx, farmer, signer)
    await _pass_on(ctx, farmer)


async def _close(ctx: Context, farmer: Farmer, signer: Signer) -> None:
    """All KALE to the payout wallet, then its account is gone."""
    failures, failed, paid = 0, False, 0
    for _ in range(TRIES):
        accounts, receiver = await asyncio.gather(
            ctx.chain.read_accounts([farmer.custodial_wallet]), ctx.chain.read_receiver(farmer.destination)
        )
        account = accounts.get(farmer.custodial_wallet)
        if account is None:
            return
        if account.kale_stroops or account.native_stroops:  # the rest is the pool's, which pays the reserve
            check_payout(farmer.destination, receiver, kale=bool(account.kale_stroops))
        step = departing.next_step(
            account.kale_stroops,
            account.kale_limit_stroops,
            failures=failures,
            failed=failed,
            to_contract=farmer.destination.is_contract,
            paid=paid,
        )
        try:
            await _take(ctx, farmer, signer, account, step)
            failed = False
        except TransactionFailedError as error:
            if error.result_code != CAME_IN:
                raise
            failures, failed = failures + 1, True
            log.info("leaving_held_up", farmer=str(farmer.farmer_id), tries=failures)
            await asyncio.sleep(RANDOM.uniform(0, ctx.chain.network.ledger_seconds))
        else:
            paid += isinstance(step, departing.PayFirst)
            if isinstance(step, departing.Close):
                return
    raise DepositsError(
        f"somebody keeps sending KALE to {farmer.custodial_wallet}: {counted(TRIES, 'try', 'tries')} to close it failed"
    )


async def _take(ctx: Context, farmer: Farmer, signer: Signer, account: Account, step: departing.Step) -> None:
    """One step of the way, as a transaction."""
    pool, to = ctx.accounts.payer, farmer.destination
    kale = account.kale_stroops or 0
    item = Item(farmer_id=farmer.farmer_id, amount_stroops=kale, destination=to.address, asset="KALE")
    match step:
        case departing.PayFirst():
            action, prepare = ActionName.PAYMENT, partial(ctx.chain.prepare_payment, signer, to, kale_stroops=kale)
        case departing.LowerLimit(limit):
            if to.is_contract:
                kale, item = 0, replace(item, amount_stroops=None)
            action = ActionName.PAYMENT if kale else ActionName.TRUSTLINE
            prepare = partial(ctx.chain.prepare_limit, signer, to, kale_stroops=kale, limit_stroops=limit)
        case departing.Close():
            action, item = ActionName.MERGE, replace(item, native_stroops=account.native_stroops)
            prepare = partial(
                ctx.chain.prepare_close,
                signer,
                to,
                kale_stroops=account.kale_stroops,
                native_stroops=account.native_stroops,
            )
    await _carry(ctx, Intent(action, farmer.pooler_id, [item]), partial(prepare, pool=pool))


async def _pass_on(ctx: Context, farmer: Farmer) -> None:
    """The XLM of an account that was closed, where a contract is to have it. By the journal, so once."""
    row = await ctx.database.fetch_one("select_to_be_passed_on", farmer_id=farmer.farmer_id)
    due = row["native_stroops"] if row else 0
    if due <= 0:
        return
    check_payout(farmer.destination, await ctx.chain.read_receiver(farmer.destination), kale=False)
    item = Item(farmer_id=farmer.farmer_id, destination=farmer.payout_wallet, native_stroops=due, asset="XLM")
    pool, to = ctx.accounts.payer, farmer.destination
    async with ctx.chain.pool_lock:
        await _carry(
            ctx,
            Intent(ActionName.PAYMENT, farmer.pooler_id, [item]),
            partial(ctx.chain.prepare_payment, pool, to, native_stroops=due),
        )


async def _carry(ctx: Context, intent: Intent, prepare: Callable[..., Awaitable[Prepared]]) -> None:
    await carry_within(ctx.journal, intent, prepare, ctx.settings.plant_timeout_seconds)
