"""Closed blocks for everybody: what was credited, and every share that it was reckoned from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from kalepool.api.calls import context
from kalepool.api.file_formats import MEDIA_TYPES, documented_export
from kalepool.api.limits import per_address, too_busy
from kalepool.api.models import Described, Nonce, Stroops
from kalepool.api.problems import documented
from kalepool.protocol.model import U32_MAX
from kalepool.services.mining import share_logs

router = APIRouter(prefix="/miner/blocks", tags=["public"])

BlockIndex = Annotated[int, Path(ge=0, le=U32_MAX, description="The block's index.")]

MOST_READERS = 32
"""Share logs that are sent at the same time."""


class LogView(Described):
    """A block's share log: GET /miner/blocks/{block_index}/shares. `sha256`: of its bytes; null where not all shares
    were kept any more when it was to be written down."""

    block_index: int
    sha256: str | None = Field(examples=["9f" * 32])
    shares: int


class HarvestView(Described):
    """A harvest, and the pool's part of it: reward_stroops × fee_rate, rounded down. `transaction_hash`: null where
    somebody else harvested. `solo`: the work, made of `nonce` in the transaction `work_transaction_hash`, was found by
    a rig of the farmer's own: then the fee is the service fee, and the pool's."""

    farmer: str
    reward_stroops: Stroops
    fee_rate: Annotated[str, Field(examples=["0.05"])]
    fee_stroops: Stroops
    transaction_hash: str | None
    solo: bool
    nonce: Nonce | None
    work_transaction_hash: str | None


class ClosingView(Described):
    """A closed block: what was posted, for good. `fees_stroops`: of all `harvests`; `shared_stroops`: what of them is
    shared out by the hashes of the `window_blocks` blocks that end with this one, whose `logs` there are; `credits`:
    by miner; `kept_stroops`: the operator's, the part of the pool's own workers in it. `window_hash`: SHA-256 of a
    line for each log, its index, a space and its `sha256` (- for null): it stands in the books, too. `share_days`:
    logs can be read for so long."""

    block_index: int
    closed_at: datetime
    window_blocks: int
    window_hash: str | None
    miner_fee_part: str
    solo_fee: Annotated[str, Field(description="The part taken of rewards whose work SOLO found.", examples=["0.01"])]
    fees_stroops: Stroops
    shared_stroops: Stroops
    kept_stroops: Stroops
    credits: dict[str, Stroops]
    logs: list[LogView]
    harvests: list[HarvestView]
    share_days: int


@router.get(
    "/{block_index}/closing",
    summary="A closed block",
    responses=documented(404, 422, 429, 503),
    dependencies=[Depends(per_address)],
)
async def show_closing(request: Request, block_index: BlockIndex) -> ClosingView:
    """All that `kalepool verify-credits` reckons again. 404 until the block is over for three blocks, and all of it is
    harvested."""
    ctx = context(request)
    found = await share_logs.read_closing(ctx.database, block_index)
    return ClosingView(
        block_index=found.block_index,
        closed_at=found.closed_at,
        window_blocks=found.window_blocks,
        window_hash=found.window_hash,
        miner_fee_part=f"{found.miner_fee_part:f}",
        solo_fee=f"{found.solo_fee:f}",
        fees_stroops=found.fees_stroops,
        shared_stroops=found.shared_stroops,
        kept_stroops=found.kept_stroops,
        credits=dict(found.credits),
        logs=[LogView.model_validate(each) for each in found.logs],
        harvests=[
            HarvestView(
                farmer=each.farmer,
                reward_stroops=each.reward_stroops,
                fee_rate=f"{each.fee_rate:f}",
                fee_stroops=each.fee_stroops,
                transaction_hash=each.transaction_hash,
                solo=each.solo,
                nonce=each.nonce,
                work_transaction_hash=each.work_transaction_hash,
            )
            for each in found.harvests
        ],
        share_days=ctx.settings.share_days,
    )


class LogReaders:
    """How many read a share log."""

    def __init__(self) -> None:
        self.reading = 0

    def require_room(self) -> None:
        """Problem 503 where as many read as may."""
        if self.reading >= MOST_READERS:
            raise too_busy(f"{MOST_READERS} share logs are being read, the most at once")

    async def counted(self, pages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.reading += 1
        try:
            async for page in pages:
                yield page
        finally:
            self.reading -= 1


@router.get(
    "/{block_index}/shares",
    summary="A block's share log",
    response_class=StreamingResponse,
    responses=documented_export("ndjson") | documented(404, 422, 429, 503),
    dependencies=[Depends(per_address)],
)
async def show_share_log(request: Request, block_index: BlockIndex) -> StreamingResponse:
    """Every share of a miner that counts, as lines of JSON: first `block_index`, `entropy` and `house_hashes` (what
    the pool's own workers hashed), then by farmer and nonce `miner`, `farmer`, `nonce`, `difficulty` (the hashes that
    it counts for), `hash` and, where it counts for its farmer alone, `solo`. Always the same bytes; their SHA-256 is in
    the closing of each block in whose window this one is."""
    readers: LogReaders = request.app.state.log_readers
    readers.require_room()
    ctx = context(request)
    pages = await share_logs.open_log(ctx.database, ctx.settings, block_index)
    headers = {
        "Content-Disposition": f'attachment; filename="shares-{block_index}.ndjson"',
        "Cache-Control": "public, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(readers.counted(pages), media_type=MEDIA_TYPES["ndjson"], headers=headers)
