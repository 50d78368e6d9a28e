"""Farmers leave: leaving → departed, by itself, a step at a time, from what the ledger and the journal say.

No new plants (the database refuses them), the last harvests, then one transaction that pays all KALE and XLM to the
payout wallet and closes the account. Whatever stops it is told as `code` and `message`, and it goes on when mended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Account
from kalepool.errors import ConflictError, KalepoolError, NotFoundError, TransactionFailedError
from kalepool.notices import FarmerNotice, tell
from kalepool.services.context import Context
from kalepool.services.farmers import Farmer, FarmerStatus
from kalepool.services.farming import harvest
from kalepool.services.journal.carry import carry
from kalepool.services.journal.intents import Intent, Item
from kalepool.services.withdrawals import check_payout

log = structlog.get_logger()

WAIT_LEDGERS = 3
"""How often it is looked whether what a farmer waits for has come."""
RETRY_SECONDS = 300.0
"""When a pay-out that the network refused is tried again: each try costs the pool a fee."""


class UnderWayError(ConflictError):
    """Something of the farmer has no outcome yet."""

    code = "under-way"


class PailOpenError(ConflictError):
    """The farmer is planted in a block that is not over."""

    code = "pail-open"


class HarvestWaitsError(ConflictError):
    """A harvest of the farmer did not succeed yet."""

    code = "harvest-waits"


@dataclass(frozen=True, slots=True)
class Leaving:
    """How far a farmer is. `code` and `message`: what it waits for. `transaction_hash`: of the pay-out, once applied,
    which paid `kale_stroops` and all the XLM."""

    status: FarmerStatus
    leaving_at: datetime | None
    departed_at: datetime | None
    code: str | None
    message: str | None
    transaction_hash: str | None
    kale_stroops: int | None


async def leave(ctx: Context, farmer: Farmer) -> Leaving:
    """Begins to leave; again changes nothing. One who departed begins again where its account is there once more."""
    gone = farmer.status == FarmerStatus.DEPARTED
    if not gone or await ctx.chain.read_accounts([farmer.custodial_wallet]):
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
        async with ctx.lock("wallet", farmer.farmer_id):
            await _settle(ctx, farmer)
            await _harvest(ctx, farmer)
            await _pay_out(ctx, farmer)
    except KalepoolError as error:
        refused = isinstance(error, TransactionFailedError)
        await ctx.database.execute(
            "note_leaving",
            farmer_id=farmer.farmer_id,
            code=error.code,
            message=str(error),
            retry_seconds=RETRY_SECONDS if refused else WAIT_LEDGERS * ctx.settings.chain.ledger_seconds,
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
    """Harvests what is left, by the journal and by the ledger. PailOpenError, HarvestWaitsError where it must wait."""
    wallet = farmer.custodial_wallet
    current = (await ctx.chain.read_farm()).index or 0
    rows = await ctx.database.fetch_all("select_pails_left", farmer_id=farmer.farmer_id)
    oldest = max(current - harvest.living_blocks(ctx), 0)
    pails = await ctx.chain.read_pails([(wallet, index) for index in range(oldest, current + 2)])
    worked = {index for (_, index), pail in pails.items() if pail.zeros is not None or index >= current}
    left = sorted({row["block_index"] for row in rows} | worked)
    if past := [index for index in left if index < current]:
        targets = [harvest.Target(index, farmer.farmer_id) for index in past]
        result = await harvest.harvest(ctx, farmer.pooler_id, targets=targets, by_pool=True)
        # A stake that is lost is recorded as owed, and holds nobody back.
        rows = await ctx.database.fetch_all("select_pails_left", farmer_id=farmer.farmer_id)
        unsettled = worked | {row["block_index"] for row in rows}
        if waiting := [failure for failure in result.failed if failure.block_index in unsettled]:
            raise HarvestWaitsError(
                f"{len(waiting)} harvests did not succeed yet; of block {waiting[0].block_index}: {waiting[0].message}"
            )
    if len(past) < len(left):
        raise PailOpenError(f"planted in block {left[-1]}, which is not over")


async def _pay_out(ctx: Context, farmer: Farmer) -> None:
    """Everything to the payout wallet, and the account closed. Nothing to do where the account is not there.

    Raises PayoutAccountError, PayoutTrustlineError, CustodyError where the payout wallet was changed past us, and as
    carry.
    """
    signer = ctx.custody.signer(farmer.binding, farmer.secret_sealed)
    signer.check()
    accounts = await ctx.chain.read_accounts([farmer.custodial_wallet, farmer.payout_wallet])
    account: Account | None = accounts.get(farmer.custodial_wallet)
    if account is None:
        return
    check_payout(farmer.payout_wallet, accounts.get(farmer.payout_wallet), kale=bool(account.kale_stroops))
    item = Item(
        farmer_id=farmer.farmer_id,
        amount_stroops=account.kale_stroops or 0,
        destination=farmer.payout_wallet,
        asset="KALE",
    )
    timeout = ctx.settings.plant_timeout_seconds
    deadline = await ctx.chain.now() + timedelta(seconds=timeout)
    await carry(
        ctx.journal,
        Intent(ActionName.MERGE, farmer.pooler_id, [item]),
        lambda attempt: ctx.chain.prepare_merge(
            signer,
            farmer.payout_wallet,
            kale_stroops=account.kale_stroops,
            pool=ctx.accounts.payer,
            deadline=deadline,
            attempt=attempt,
        ),
        deadline=deadline,
        timeout_seconds=timeout,
    )
