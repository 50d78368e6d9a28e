"""What external miners have earned, and how they are paid."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field, StringConstraints

from kalepool.api.auth import PaidMiner, costs
from kalepool.api.calls import context
from kalepool.api.file_formats import PAGE, Row, documented_export, export
from kalepool.api.models import Described, PayoutAddress, PayoutMemo, Sent, Stroops
from kalepool.api.paging import Page, Paging, next_cursor
from kalepool.api.problems import documented
from kalepool.api.routes.self_service import StroopsText
from kalepool.chain import require_destination
from kalepool.database import Database
from kalepool.errors import ConflictError
from kalepool.services.keys import find_owner
from kalepool.services.mining import payout_records, payout_wallets
from kalepool.services.mining.payout_records import PayoutStatus
from kalepool.services.mining.payout_wishes import wish
from kalepool.services.signin import SignIn
from kalepool.units import amount

router = APIRouter(prefix="/miner", tags=["miners"])

STATEMENT_COST = 19
"""A statement counts as so many more requests: a miner's limit is made for shares."""


class BalanceView(Described):
    """How a miner stands. What it finds counts for the credits of `window_blocks` blocks; a block's credits are due
    (`due_stroops`) once it is final and three blocks old, on their way (`paying_stroops`) once a payout was begun, and
    then `paid_stroops`, or `claimable_stroops` until the wallet has claimed them. It is paid from
    `payout_threshold_stroops` on, after `payout_days` days, or when it asks for it (POST /miner/payouts) from
    `payout_wish_stroops` on. `waits_code`, `waits_message`: why it was not paid lately."""

    earned_stroops: Stroops
    due_stroops: Stroops
    paying_stroops: Stroops
    claimable_stroops: Stroops
    paid_stroops: Stroops
    payout_wallet: str | None
    payout_memo: str | None
    payout_threshold_stroops: Stroops
    payout_wish_stroops: Stroops
    payout_days: float
    window_blocks: int
    next_wallet: str | None = Field(description="Counts from `next_wallet_at` on.")
    next_wallet_at: datetime | None
    claimable: bool = Field(description="Paid by a claimable balance where the wallet has no KALE trustline.")
    waits_code: str | None
    waits_message: str | None


class PayoutChange(Sent):
    """How the miner wants to be paid; what is absent stays."""

    payout_wallet: PayoutAddress | None = None
    payout_memo: PayoutMemo | None = None
    payout_threshold_stroops: StroopsText | None = Field(
        default=None, description="Not below the pool's own, which counts where this is less."
    )
    claimable: Annotated[bool, Field(strict=True)] | None = Field(
        default=None,
        description="Where the wallet is not on the ledger, or has no KALE trustline: put what is due down as a "
        "claimable balance, to be claimed within `claimable_days`. Afterwards it is due again, and this is off.",
    )
    sign_in_token: Annotated[str, StringConstraints(max_length=4000)] | None = Field(
        default=None,
        description="Of the old payout wallet, by SEP-10 (POST /auth) or, for a contract, SEP-45 (POST "
        "/auth/contracts): then the new one counts at once.",
    )


@router.get("/balance", summary="What I am owed", responses=documented(401, 403, 404, 409, 422, 429, 503))
async def show_balance(request: Request, caller: PaidMiner) -> BalanceView:
    """Earned, due, on its way and paid; and what the next payout waits for."""
    ctx, settings = context(request), context(request).settings
    assert caller.subject_id is not None
    found = await payout_records.balance(ctx.database, caller.subject_id)
    own = found.pop("payout_threshold_stroops") or 0
    return BalanceView(
        **found,
        payout_threshold_stroops=max(own, settings.payout_threshold_stroops),
        payout_wish_stroops=settings.payout_wish_stroops,
        payout_days=settings.payout_days,
        window_blocks=settings.pplns_blocks,
        waits_code=found["payout_code"],
        waits_message=found["payout_message"],
    )


@router.patch("/me", summary="How I am paid", responses=documented(401, 403, 404, 409, 413, 422, 429, 503))
async def change_payouts(request: Request, caller: PaidMiner, body: PayoutChange) -> BalanceView:
    """Another payout wallet counts at once where none was set, or its old one signed in; else after 72 hours, in which
    the old one may sign in and set another."""
    ctx = context(request)
    assert caller.subject_id is not None
    wallet = None
    if body.payout_wallet is not None:
        wallet = require_destination(body.payout_wallet, body.payout_memo)
    elif body.payout_memo is not None:
        raise ConflictError("a memo is set together with its payout_wallet")
    if wallet is not None:
        signed_by = await _signed_by(request, body.sign_in_token)
        await payout_wallets.change(
            ctx.database, ctx.custody, ctx.settings, caller.subject_id, wallet, signed_by=signed_by
        )
    threshold = int(body.payout_threshold_stroops) if body.payout_threshold_stroops is not None else None
    await payout_records.set_terms(ctx.database, caller.subject_id, threshold, body.claimable)
    return await show_balance(request, caller)


async def _signed_by(request: Request, sent: str | None) -> str | None:
    """The wallet that signed in, with this token or that of the call itself. By the token's own signature: a row of the
    database is no proof that a wallet has signed."""
    database = context(request).database
    token = sent if sent is not None else request.headers["Authorization"].partition(" ")[2].strip()
    sign_in: SignIn = request.app.state.sign_in
    owner, wallet = await find_owner(database, token), sign_in.wallet_of(token)
    if owner is None or wallet is None or owner.subject_wallet != wallet:
        if sent is not None:
            raise ConflictError("sign_in_token: unknown or over: sign in with the old payout wallet again (POST /auth)")
        return None
    return wallet


class PayoutView(Described):
    """A payout. `status`: open (to be sent, or on its way), paid, or failed: `code` and `message` say why, and the
    amount is due again. claimable: it lies on the ledger as `balance_id`, for the wallet to claim before
    `claimable_until` (ClaimClaimableBalance)."""

    payout_id: UUID
    amount_stroops: Stroops
    destination: str
    memo: str | None
    reason: str
    created_at: datetime
    status: PayoutStatus
    transaction_hash: str | None
    ledger: int | None
    code: str | None
    message: str | None
    balance_id: str | None
    claimable_until: datetime | None


@router.get("/payouts", summary="My payouts", responses=documented(401, 403, 409, 422, 429, 503))
async def list_payouts(request: Request, caller: PaidMiner, paging: Paging) -> Page[PayoutView]:
    """The newest first, each with its transaction."""
    assert caller.subject_id is not None
    rows = await payout_records.payouts_of(
        context(request).database, caller.subject_id, after=paging.after, limit=paging.limit
    )
    items = [PayoutView.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.payout_id for item in items], paging))


@router.post("/payouts", summary="Pay me now", status_code=201, responses=documented(401, 403, 404, 409, 422, 429, 503))
async def ask_for_payout(
    request: Request,
    caller: PaidMiner,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=128, description="The same again is the same.")],
) -> PayoutView:
    """All that is due, with the next round. 409: `nothing-due`, `payout-open`, `payee-refused`."""
    assert caller.subject_id is not None
    return PayoutView.model_validate(await wish(context(request), caller.subject_id, idempotency_key))


@router.get(
    "/statement",
    summary="My account",
    response_class=StreamingResponse,
    responses=documented_export("csv", "json") | documented(401, 403, 409, 422, 429, 503),
    dependencies=[Depends(costs(STATEMENT_COST))],
)
async def statement(
    request: Request, caller: PaidMiner, form: Annotated[Literal["csv", "json"], Query(alias="format")] = "json"
) -> StreamingResponse:
    """Every entry of the miner's in the pool's books, the oldest first: credits by their block, payouts by their
    transaction. `amount` is how it changed what is due: all of it together is what is due now. `paid` is what was paid
    by it. Both in KALE, and in stroops."""
    database, miner_id = context(request).database, caller.subject_id
    assert miner_id is not None

    async def read(last: Row | None) -> Sequence[Row]:
        return await statement_page(database, miner_id, last)

    return await export(read, STATEMENT_COLUMNS, form, f"miner-{miner_id}")


async def statement_page(database: Database, miner_id: UUID, last: Row | None) -> list[Row]:
    """Entries after the last one of the page before, with their amounts in KALE too."""
    rows = await payout_records.statement(database, miner_id, after=last["number"] if last else 0, limit=PAGE)
    return [
        row | {"amount_kale": amount(row["amount_stroops"]), "paid_kale": amount(row["paid_stroops"])} for row in rows
    ]


STATEMENT_COLUMNS = (
    "number",
    "posted_at",
    "event",
    "block_index",
    "amount_kale",
    "paid_kale",
    "amount_stroops",
    "paid_stroops",
    "transaction_hash",
    "ledger",
    "note",
)
