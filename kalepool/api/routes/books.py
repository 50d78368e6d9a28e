"""The books: for everybody in sums, and by block and day; corrected by operators."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field, StringConstraints

from kalepool.api.auth import Operator
from kalepool.api.calls import context
from kalepool.api.limits import per_address
from kalepool.api.models import Described, Hash, Sent, Stroops
from kalepool.api.paging import Page
from kalepool.api.problems import documented
from kalepool.api.rendering import page
from kalepool.api.routes.operator import Reason
from kalepool.api.routes.self_service import SignedStroops, StroopsText
from kalepool.protocol.model import U32_MAX
from kalepool.services.books import amending, results
from kalepool.services.mining import share_logs
from kalepool.view.pages import read_books, read_payouts

router = APIRouter()

LAST = 12
"""Closed blocks and payments on the page."""

AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z-]+(/[0-9a-z-]+)?$", max_length=100)]


class DifferenceView(Described):
    """What an account has on the chain beyond its books. `unexplained`: it was posted as such, and waits for an
    operator."""

    account: str
    stroops: SignedStroops
    unexplained: bool


class KindView(Described):
    """Accounts of one kind together, in KALE. `difference_stroops`: what they have on the chain beyond their books;
    `checked`: that was looked at."""

    kind: str
    accounts: int
    stroops: SignedStroops
    difference_stroops: SignedStroops
    checked: bool


class TreasuryView(Described):
    """The treasury: what it has, what is on its way to miners and due to them, and what farmers owe."""

    treasury_stroops: SignedStroops
    paying_stroops: SignedStroops
    due_stroops: SignedStroops
    owed_stroops: SignedStroops


class BooksView(Described):
    """The pool's KALE, in double entry. `balances`: of each kind of account, debits less credits; what is on the chain
    (wallet, pail, treasury, claimable) is positive, what is somebody's (farmer, miner, paying, fee-due, operator)
    negative, and together they are 0. `head`: the hash that all `entries` lead to. `checked_ledger`: all wallets were
    held against the chain at it, or later; `differences`: what was not the same. While there is one, nothing is paid
    out to miners."""

    balances: dict[str, SignedStroops]
    accounts: dict[str, int]
    entries: int
    head: str = Field(examples=["9f" * 32])
    checked_ledger: int | None
    checked_at: datetime | None
    differences: list[DifferenceView]
    on_chain: list[KindView]
    treasury: TreasuryView


@router.get(
    "/books",
    summary="The books",
    tags=["public"],
    response_model=BooksView,
    responses=documented(429, 503),
    dependencies=[Depends(per_address)],
)
async def show_books(request: Request, response: Response) -> BooksView | Response:
    """What the pool holds, whose it is, and whether the chain says the same. A browser gets a page, with the blocks
    that were closed last and the last payments."""
    database = context(request).database
    if "text/html" in request.headers.get("accept", ""):
        shown = await page(request, "books.html", found=await read_books(database, LAST))
        shown.headers["Vary"] = "Accept, Accept-Language"
        return shown
    response.headers["Vary"] = "Accept"
    found = await read_books(database, 0)
    return BooksView(
        **{name: getattr(found.books, name) for name in found.books.__slots__},
        on_chain=[KindView.model_validate(each) for each in found.on_chain],
        treasury=TreasuryView.model_validate(found.treasury),
    )


class ClosedBlock(Described):
    """A block that was closed: what miners were credited of its fees, and the SHA-256 of its share log."""

    block_index: int
    closed_at: datetime
    fees_stroops: Stroops
    credited_stroops: Stroops
    miners: int
    shares: int | None
    sha256: str | None


MostShown = Annotated[int, Query(ge=1, le=100, description="How many at most.")]


@router.get(
    "/books/closings",
    summary="The blocks that were closed last",
    tags=["public"],
    responses=documented(422, 429, 503),
    dependencies=[Depends(per_address)],
)
async def show_closings(request: Request, limit: MostShown = LAST) -> list[ClosedBlock]:
    """The newest first. GET /miner/blocks/{block_index}/closing has all of one."""
    found = await share_logs.last_closings(context(request).database, limit)
    return [ClosedBlock.model_validate(each) for each in found]


class PaidView(Described):
    """A payment to a miner, or what was put down for it. Where it went is the miner's own."""

    posted_at: datetime
    amount_stroops: Stroops
    ledger: int | None
    transaction_hash: Hash | None


@router.get(
    "/books/payouts",
    summary="The last payments to miners",
    tags=["public"],
    responses=documented(422, 429, 503),
    dependencies=[Depends(per_address)],
)
async def show_paid(request: Request, limit: MostShown = LAST) -> list[PaidView]:
    """The newest first."""
    return [PaidView.model_validate(each) for each in await read_payouts(context(request).database, limit)]


class ResultView(Described):
    """`…_fee_stroops`: XLM paid to the network, for tries that failed, too. `won_stroops`: KALE of rewards;
    `lost_stroops`: KALE of stakes. `net_stroops`: XLM that are left at the price a KALE had in each block; null where
    KALE were won or lost whose price nobody knew: so many are `unpriced_stroops`."""

    plant_fee_stroops: Stroops
    work_fee_stroops: Stroops
    harvest_fee_stroops: Stroops
    other_fee_stroops: Stroops
    spent_stroops: Stroops
    won_stroops: Stroops
    lost_stroops: Stroops
    unpriced_stroops: Stroops
    net_stroops: SignedStroops | None


class BlockResultView(ResultView):
    """`price_xlm`: what a KALE was taken to be worth when the block was planted; null where nobody knew."""

    block_index: int
    price_xlm: float | None


class DayResultView(ResultView):
    """Of a day in UTC: fees of what was sent on it, rewards of what was harvested on it."""

    day: date


@router.get(
    "/books/blocks",
    summary="What blocks cost and brought",
    tags=["public"],
    responses=documented(422, 429, 503),
    dependencies=[Depends(per_address)],
)
async def show_block_results(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=50, description="How many blocks at most.")] = 20,
    after: Annotated[int | None, Query(ge=0, le=U32_MAX, description="`next` of the page before.")] = None,
) -> Page[BlockResultView]:
    """Blocks that the pool did something in, the newest first."""
    before = U32_MAX + 1 if after is None else after
    found = await results.of_blocks(context(request).database, before=before, limit=limit)
    following = str(found[-1].block_index) if len(found) == limit else None
    return Page(items=[BlockResultView.model_validate(result) for result in found], next=following)


@router.get(
    "/books/days",
    summary="What days cost and brought",
    tags=["public"],
    responses=documented(429, 503),
    dependencies=[Depends(per_address)],
)
async def show_day_results(request: Request) -> list[DayResultView]:
    """The newest days, in UTC, the newest first. Today's is some seconds old."""
    days: results.Days = request.app.state.days
    return [DayResultView.model_validate(result) for result in await days.read()]


class Correction(Sent):
    """An amount from the account `credit` to the account `debit`."""

    debit: AccountName
    credit: AccountName
    amount_stroops: StroopsText
    reason: Reason


class CorrectionView(Described):
    """The entry that was made."""

    cause: str


@router.post(
    "/operator/books/corrections",
    summary="Correct the books",
    tags=["operators"],
    status_code=201,
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def correct_books(request: Request, caller: Operator, body: Correction) -> CorrectionView:
    """By one more entry, with the reason, for good: as what is `unexplained` to whose it is. No KALE moves."""
    cause = await amending.correct(
        context(request).database, caller.key_id, body.debit, body.credit, int(body.amount_stroops), body.reason
    )
    return CorrectionView(cause=cause)
