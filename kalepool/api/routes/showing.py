"""What the public pages show, as JSON: each operation reads what its page reads, as often and as much at most."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from kalepool.api.calls import context
from kalepool.api.charts import largest
from kalepool.api.limits import per_address
from kalepool.api.models import Described, Hash, Nonce, Stroops
from kalepool.api.paging import BlockPaging, Page, Paging, next_cursor
from kalepool.api.problems import documented
from kalepool.api.routes.books import BlockResultView
from kalepool.api.routes.farmers import Missing
from kalepool.api.routes.page import ROWS, PageShown, Viewing
from kalepool.errors import NotFoundError
from kalepool.protocol.model import U32_MAX
from kalepool.services import poolers
from kalepool.view.moment import FarmerProgress, read_blocks
from kalepool.view.pages import MOST_SOUGHT, BlockDetails, find_pages, read_block, read_farmer, read_miner
from kalepool.view.sitting_out import in_words
from kalepool.view.verdict import judge

router = APIRouter(prefix="/pool", tags=["public"], dependencies=[Depends(per_address)])

LIMITED = documented(422, 429, 503)
NAMED = documented(404, 422, 429, 503)

OurBlock = Annotated[int, Path(ge=0, le=U32_MAX, description="The block's index.")]


class BoundsShown(Described):
    """A block's bounds as last read of the chain: what rewards are measured against."""

    min_gap: int
    max_gap: int
    min_stake_stroops: Stroops
    max_stake_stroops: Stroops
    min_zeros: int
    max_zeros: int


class ChainShown(BoundsShown):
    """What the chain said of a block when it was read last."""

    started_at: datetime
    entropy: Hash


class BlockShown(Described):
    """How much of a block the pool has done."""

    block_index: int
    open: bool
    given_up: bool
    started_at: datetime
    closed_at: datetime | None
    planted: int
    worked: int
    harvested: int
    best_zeros: int | None
    staked_stroops: Stroops
    rewarded_stroops: Stroops
    forecast_stroops: Stroops


class FarmerShown(Described):
    """A farmer in a block. null: not, not yet, or not known. `forecast_stroops`: in the block that is open, the reward
    if it ended as it stands. `missing`: what a registered farmer lacks."""

    farmer_id: UUID
    custodial_wallet: str
    status: str = Field(description="registered, active, paused, leaving or departed.")
    plants_itself: bool
    stake_stroops: Stroops | None
    found_zeros: int | None = Field(description="Of the best share that was found.")
    worked_zeros: int | None = Field(description="Of the best work on the chain.")
    gap: int | None
    forecast_stroops: Stroops | None
    reward_stroops: Stroops | None
    plant_transaction: Hash | None
    work_transaction: Hash | None
    harvest_transaction: Hash | None
    failed_code: str | None
    missing: Missing | None


class VerdictShown(Described):
    """Whether the stakes are safe, for people. `level`: good, busy (all as it should be), warn (look at it), bad (a
    loss)."""

    level: Literal["good", "busy", "warn", "bad"]
    title: str
    detail: str


class LostShown(Described):
    """The stakes that the newest block lost which is over."""

    block_index: int
    farmers: int
    stake_stroops: Stroops


class PoolView(Described):
    """This block. `at`, by the ledger's clock; `silent`: the chain does not answer, and this is what it said last.
    `seconds_left`: until the next block may begin. `last_over`: the newest block that can be harvested. `xlm_hours`: so
    long the pool's XLM last, where that is not long."""

    at: datetime
    silent: bool
    servers: str = Field(description="Of several RPC servers: which one is asked, and why.")
    ledger: int | None
    block_index: int | None
    ends_at: datetime | None
    seconds_left: float | None
    block_seconds: int
    bounds: BoundsShown | None
    verdict: VerdictShown
    paused: bool = Field(description="By the contract.")
    planting_paused: bool = Field(description="By an operator.")
    sitting_out: str = Field(description="How many farmers sit the block out and why; empty where nobody does.")
    active: int
    planted: int
    worked: int
    at_risk_stroops: Stroops
    best_zeros: int | None
    hashes_per_second: float
    workers: int
    miners: int
    last_over: BlockShown | None
    lost: LostShown | None
    xlm_hours: float | None


async def _shown(request: Request) -> PageShown:
    viewing: Viewing = request.app.state.viewing
    return await viewing.shown()


@router.get("", summary="This block, and how the pool does", responses=documented(429, 503))
async def show_pool(request: Request) -> PoolView:
    """The figures of the first page. Read once a second at most, however many ask."""
    shown = await _shown(request)
    moment, verdict = shown.moment, judge(shown.moment)
    bounds = moment.block and BoundsShown(
        min_gap=moment.block.min_gap,
        max_gap=moment.block.max_gap,
        min_stake_stroops=moment.block.min_stake,
        max_stake_stroops=moment.block.max_stake,
        min_zeros=moment.block.min_zeros,
        max_zeros=moment.block.max_zeros,
    )
    return PoolView(
        at=moment.at,
        silent=moment.is_silent,
        servers=moment.told_servers,
        ledger=moment.ledger,
        block_index=moment.index,
        ends_at=moment.ends_at,
        seconds_left=moment.seconds_left,
        block_seconds=moment.block_seconds,
        bounds=bounds,
        verdict=VerdictShown.model_validate(verdict),
        paused=moment.paused,
        planting_paused=moment.planting_paused,
        sitting_out=moment.sitting_out(),
        active=moment.active,
        planted=moment.planted,
        worked=moment.worked,
        at_risk_stroops=moment.at_risk_stroops,
        best_zeros=moment.best_zeros,
        hashes_per_second=moment.hashes_per_second,
        workers=len(moment.workers),
        miners=moment.miners,
        last_over=moment.last_over and BlockShown.model_validate(moment.last_over),
        lost=moment.lost and LostShown.model_validate(moment.lost),
        xlm_hours=shown.short_hours,
    )


def _page_of(farmers: list[FarmerProgress], paging: Paging) -> Page[FarmerShown]:
    """By id, which grows with the time of registration."""
    ordered = sorted(farmers, key=lambda each: each.farmer_id)
    rest = [each for each in ordered if paging.after is None or each.farmer_id > paging.after]
    items = [FarmerShown.model_validate(each) for each in rest[: paging.limit]]
    return Page(items=items, next=next_cursor([item.farmer_id for item in items], paging))


@router.get("/farmers", summary="The farmers in this block", responses=LIMITED)
async def show_farmers(request: Request, paging: Paging) -> Page[FarmerShown]:
    """Every farmer that takes part or waits to, with how far it is in this block."""
    return _page_of(list((await _shown(request)).moment.farmers), paging)


@router.get("/blocks", summary="The pool's blocks", responses=LIMITED)
async def show_blocks(request: Request, paging: BlockPaging) -> Page[BlockShown]:
    """The newest first."""
    found = await read_blocks(context(request).database, None, to_index=paging.before - 1, limit=paging.limit)
    items = [BlockShown.model_validate(each) for each in found]
    return Page(items=items, next=paging.next_cursor([item.block_index for item in items]))


class BlockDetailsView(Described):
    """A block. `chain`: as last read; null where it never was. `block`: what the pool has done in it. `result`: what it
    cost and brought; null where nothing was sent. `sitting_out`: who sat it out and why, in words."""

    block_index: int
    chain: ChainShown | None
    block: BlockShown | None
    result: BlockResultView | None
    sitting_out: str


async def _block(request: Request, index: int) -> BlockDetails:
    found = await read_block(context(request).database, index)
    if found is None:
        raise NotFoundError(f"block {index} is not in our records")
    return found


@router.get("/blocks/{index}", summary="One of the pool's blocks", responses=NAMED)
async def show_details(request: Request, index: OurBlock) -> BlockDetailsView:
    """What its page shows; the farmers are a list of their own."""
    found = await _block(request, index)
    return BlockDetailsView(
        block_index=index,
        chain=None if found.chain is None else ChainShown.model_validate(found.chain),
        block=found.summary and BlockShown.model_validate(found.summary),
        result=found.result and BlockResultView.model_validate(found.result),
        sitting_out=in_words(found.plan) if found.plan else "",
    )


@router.get("/blocks/{index}/farmers", summary="The farmers in one of the pool's blocks", responses=NAMED)
async def show_block_farmers(request: Request, index: OurBlock, paging: Paging) -> Page[FarmerShown]:
    """Every farmer that took part."""
    return _page_of(list((await _block(request, index)).farmers), paging)


class SeriesShown(Described):
    """One searcher's hashes a second at each of the times. Where they are many, the last is of all others."""

    label: str
    miner_id: UUID | None
    values: list[float]


class HashratesView(Described):
    """Hashrates over the last hour."""

    times: list[datetime]
    series: list[SeriesShown]


@router.get("/hashrates", summary="Hashrates over the last hour", responses=documented(429, 503))
async def show_hashrates(request: Request) -> HashratesView:
    """What the first page's chart shows."""
    history = (await _shown(request)).history
    series = [SeriesShown.model_validate(each) for each in largest(history.series)]
    return HashratesView(times=list(history.times), series=series)


class EventShown(Described):
    """A plant, a work or a harvest, or one that failed: `code` says why."""

    event_id: UUID
    created_at: datetime
    action: Literal["plant", "work", "harvest"]
    outcome: str
    block_index: int
    farmer_id: UUID
    custodial_wallet: str
    amount_stroops: Stroops | None = Field(description="The stake or the reward.")
    zeros: int | None
    transaction_hash: Hash | None
    ledger: int | None
    code: str | None


@router.get("/events", summary="What happened last", responses=documented(429, 503))
async def show_events(request: Request) -> list[EventShown]:
    """The newest first, as many as the first page shows."""
    return [EventShown.model_validate(each) for each in (await _shown(request)).events]


class FarmerFigures(Described):
    """A farmer, as far as the chain shows it too."""

    farmer_id: UUID
    custodial_wallet: str
    status: str
    paused: bool
    registered_at: datetime
    blocks_planted: int
    blocks_worked: int
    blocks_harvested: int
    staked_stroops: Stroops
    rewarded_stroops: Stroops
    best_zeros: int | None


class FarmerBlockShown(Described):
    """A farmer in a block."""

    block_index: int
    stake_stroops: Stroops
    zeros: int | None
    gap: int | None
    forecast_stroops: Stroops | None
    reward_stroops: Stroops | None


class FarmerHistoryView(Described):
    """A farmer with its newest blocks and what happened to it, the newest first."""

    farmer: FarmerFigures
    blocks: list[FarmerBlockShown]
    events: list[EventShown]


@router.get("/farmers/{farmer_id}", summary="A farmer, for everybody", responses=NAMED)
async def show_farmer(request: Request, farmer_id: UUID) -> FarmerHistoryView:
    """What its page shows: what the chain does, put together. Its owner is told more."""
    found = await read_farmer(context(request).database, farmer_id, ROWS)
    if found is None:
        raise NotFoundError(f"no farmer {farmer_id}")
    return FarmerHistoryView(
        farmer=FarmerFigures.model_validate(found.farmer),
        blocks=[FarmerBlockShown.model_validate(each) for each in found.blocks],
        events=[EventShown.model_validate(each) for each in found.events],
    )


class MinerFigures(Described):
    """A miner, by the name it chose. `due_stroops`: not paid yet; `payout_code`: why it was not paid lately."""

    miner_id: UUID
    name: str
    created_at: datetime
    last_seen_at: datetime | None
    banned: bool | None
    payout_code: str | None
    earned_stroops: Stroops
    due_stroops: Stroops
    paying_stroops: Stroops
    paid_stroops: Stroops


class MinerBlockShown(Described):
    """A miner in a block: shares, and the hashes that count, beside those of all miners and the pool's own workers."""

    block_index: int
    accepted: int | None
    solo: int | None
    refused: int | None
    credited_hashes: Nonce | None
    hashes_of_all: Nonce


class MinerHistoryView(Described):
    """A miner with its newest blocks, the newest first."""

    miner: MinerFigures
    hashes_per_second: float
    blocks: list[MinerBlockShown]


@router.get("/miners/{miner_id}", summary="A miner, for everybody", responses=NAMED)
async def show_miner(request: Request, miner_id: UUID) -> MinerHistoryView:
    """What its page shows. Its owner is told more."""
    found = await read_miner(context(request).database, miner_id, ROWS)
    if found is None:
        raise NotFoundError(f"no miner {miner_id}")
    return MinerHistoryView(
        miner=MinerFigures.model_validate(found.miner),
        hashes_per_second=found.hashes_per_second,
        blocks=[MinerBlockShown.model_validate(each) for each in found.blocks],
    )


class FoundView(Described):
    """A page of the pool: of a block, a farmer or a miner."""

    what: Literal["block", "farmer", "miner"]
    name: str
    path: str


@router.get("/find", summary="What is called so", responses=LIMITED)
async def find(
    request: Request,
    q: Annotated[
        str, Query(max_length=MOST_SOUGHT, description="A block's index, a farmer's wallet, a miner's name, or an id.")
    ],
) -> list[FoundView]:
    """The pages of blocks, farmers and miners that are called just so."""
    words = q.strip()
    found = await find_pages(context(request).database, words) if words else []
    return [FoundView.model_validate(each) for each in found]


class FarmingTerms(Described):
    """For who joins as a farmer. `open`: anybody may. `sponsored`: the pool pays the network's reserve."""

    open: bool
    platform_fee: float = Field(description="The pool's part of rewards: 0.05 is a twentieth.")
    farmer_deposit_stroops: Stroops = Field(description="The KALE to bring.")
    sponsored: bool


class MiningTerms(Described):
    """For who joins as a miner."""

    registration: Literal["open", "invite"]
    fee_part: float = Field(description="Miners' part of the fee that farmers pay.")
    window_blocks: int = Field(description="So many blocks count for what is credited.")
    payout_threshold_stroops: Stroops
    payout_days: float
    payout_change_hours: float


class TermsView(Described):
    """What the pages say before anybody signs in."""

    farming: FarmingTerms
    mining: MiningTerms


@router.get("/terms", summary="The terms", responses=documented(429, 503))
async def show_terms(request: Request) -> TermsView:
    """For farmers and miners that think of joining."""
    ctx = context(request)
    settings = ctx.settings
    return TermsView(
        farming=FarmingTerms(
            open=bool(await poolers.open_poolers(ctx.database, after=None, limit=1)),
            platform_fee=settings.platform_fee,
            farmer_deposit_stroops=settings.farmer_deposit_stroops,
            sponsored=ctx.accounts.sponsors > 0,
        ),
        mining=MiningTerms(
            registration=settings.miner_registration,
            fee_part=settings.miner_fee_part,
            window_blocks=settings.pplns_blocks,
            payout_threshold_stroops=settings.payout_threshold_stroops,
            payout_days=settings.payout_days,
            payout_change_hours=settings.payout_change_hours,
        ),
    )
