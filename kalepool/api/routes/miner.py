"""What external miners use: registering, jobs, shares, and what came of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from datetime import datetime
from math import ceil
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import Discriminator, Field, StringConstraints, Tag, TypeAdapter, ValidationError

from kalepool.api.auth import PaidMiner, Principal, bearer, costs, principal, record, require, still_valid
from kalepool.api.limits import FROM_SIBLING, per_address
from kalepool.api.models import WHOLE, AccountAddress, Described, Hash, Name, Nonce, Sent, Stroops
from kalepool.api.paging import Page
from kalepool.api.problems import Problem, documented
from kalepool.clock import steady_now
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import NotFoundError
from kalepool.policy.conduct import Standing
from kalepool.policy.credits import HOUSE
from kalepool.policy.shares import ShareOutcome, below_for
from kalepool.protocol.model import U32_MAX
from kalepool.services.keys import Role
from kalepool.services.mining import Mining, miners
from kalepool.services.mining.credits import credited_blocks
from kalepool.services.mining.dealer import GivenJob, Rig
from kalepool.services.mining.gate import BannedError, WaitError
from kalepool.services.mining.service import Offer, Silence
from kalepool.services.mining.solo import own_farmer

router = APIRouter(prefix="/miner", tags=["miners"])

require_miner = require(Role.MINER)
Miner = Annotated[Principal, Depends(require_miner)]
Operator = Annotated[Principal, Depends(require(Role.OPERATOR))]
Hashes = Annotated[int, Field(description="A number of hashes.")]

MOST_SHARES = 100
"""In one request."""

CREDITS_COST = 99
"""A page of credits counts as so many more requests: a miner's limit is made for shares."""

MOST_SEARCHER = 2**63 - 1
SEARCHER = "`searcher` of the rig, as GET /miner/me names it."

MOST_KEY = 128
"""Characters of an Idempotency-Key."""


def _mining(request: Request) -> Mining:
    return request.app.state.mining


def _database(request: Request) -> Database:
    return request.app.state.context.database


def _settings(request: Request) -> Settings:
    return request.app.state.context.settings


@contextmanager
def _telling_to_wait() -> Iterator[None]:
    """Makes a miner that has to wait a problem with Retry-After: 403 while it is banned, 429 while it is slowed."""
    try:
        yield
    except WaitError as error:
        raise _wait_problem(error) from None


def _wait_problem(error: WaitError) -> Problem:
    status = 403 if isinstance(error, BannedError) else 429
    headers = {"Retry-After": str(max(ceil(error.retry_after_seconds), 1))}
    return Problem(status, error.code, str(error), headers=headers)


# ----------------------------------------------------------------------------------------------------------------------
# Registering


class MinerRegistration(Sent):
    """Somebody who wants to mine."""

    name: Name = Field(description="Shown to the pool's operator.", examples=["a rig in the cellar"])
    payout_wallet: AccountAddress | None = Field(default=None, description="Where the earnings are to go.")
    invite: Annotated[str, StringConstraints(max_length=100)] | None = Field(
        default=None, description="An invitation, where the pool asks for one."
    )


class RegisteredMiner(Described):
    """A miner just registered."""

    miner_id: UUID
    name: str
    payout_wallet: str | None
    created_at: datetime
    api_key: str = Field(description="The miner's key. Shown this once.")


@router.post(
    "/register",
    summary="Become a miner",
    status_code=201,
    responses=documented(400, 403, 413, 422, 429, 503),
    dependencies=[Depends(per_address)],
)
async def register(request: Request, sent: MinerRegistration) -> RegisteredMiner:
    """Needs no key. Where the pool is not open to everybody it needs an invitation."""
    ctx = request.app.state.context
    new = await miners.register(ctx.database, ctx.custody, ctx.settings, sent.name, sent.payout_wallet, sent.invite)
    return RegisteredMiner(
        miner_id=new.miner.miner_id,
        name=new.miner.name,
        payout_wallet=new.miner.payout_wallet,
        created_at=new.miner.created_at,
        api_key=new.key,
    )


class InviteOrder(Sent):
    """An invitation to be made."""

    label: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")] = ""
    uses: Annotated[int, Field(ge=1, le=1000, strict=True), WHOLE] = 1
    valid_days: Annotated[int, Field(ge=1, le=365, strict=True), WHOLE] = 30


class InviteView(Described):
    """An invitation just made."""

    invite_id: UUID
    label: str
    uses_left: int
    created_at: datetime
    expires_at: datetime
    invite: str = Field(description="Give it to who is to register. Shown this once.")


@router.post(
    "/invites", summary="Invite miners", status_code=201, responses=documented(400, 401, 403, 413, 422, 429, 503)
)
async def invite(request: Request, caller: Operator, sent: InviteOrder) -> InviteView:
    """An operator's."""
    made = await miners.create_invite(_database(request), sent.label, sent.uses, sent.valid_days * 86_400.0)
    await record(_database(request), caller, "invite-miners", made.invite_id, label=sent.label, uses=sent.uses)
    return InviteView.model_validate(made)


# ----------------------------------------------------------------------------------------------------------------------
# Jobs


class JobView(Described):
    """What to hash: the Keccak-256 (padding 0x01) of block_index (u32, big-endian), nonce (u64, big-endian), entropy
    (32 bytes) and the farmer's 32 bytes (bytes 1 to 33 of its base32-decoded address).
    """

    job_id: str
    block_index: int
    entropy: Hash
    farmer: str
    nonce_start: Nonce = Field(description="The first nonce of your own range.")
    nonce_count: Nonce = Field(description="How many there are. Nobody else gets them.")
    target: str = Field(
        description="16 hex digits. A share's hash is below it: its first 8 bytes, read big-endian.",
        pattern="^[0-9a-f]{16}$",
        examples=["000fffffffffffff"],
    )
    difficulty: Nonce = Field(description="Hashes such a share takes on average; what it is credited with.")
    zeros: int = Field(description="Leading zero digits of the best hash this farmer has in this block.")
    solo: bool = Field(description="For your own farmer: its shares are in nobody's part.")
    starts_at: datetime
    closes_at: datetime = Field(description="When the block's interval is over.")


def _view(given: GivenJob) -> JobView:
    job = given.job
    return JobView(
        job_id=job.job_id,
        block_index=job.index,
        entropy=job.entropy,
        farmer=job.farmer,
        nonce_start=job.nonces.start,
        nonce_count=job.nonces.count,
        target=f"{below_for(job.difficulty):016x}",
        difficulty=job.difficulty,
        zeros=given.place.zeros,
        solo=given.solo,
        starts_at=given.place.started_at,
        closes_at=given.closes_at,
    )


async def _rig(
    request: Request,
    caller: Miner,
    rig: Annotated[
        str,
        Query(
            max_length=64,
            pattern=r"^[^\x00-\x1f\x7f]*$",
            description="A name for this machine. Each has its own nonces: give every machine under a key another one.",
        ),
    ] = "",
    hashes_per_second: Annotated[
        float | None, Query(gt=0, le=1e15, description="Your speed, if you know it: sets a new rig's first target.")
    ] = None,
    whole_zeros: Annotated[bool, Query(description="Only targets of whole zero digits.")] = False,
    solo: Annotated[
        str | None,
        Query(
            max_length=56,
            pattern=r"^[0-9A-Za-z-]+$",
            description="A farmer of your own, by its id or wallet: one that is paid out to your payout wallet. This "
            "machine then hashes for it alone, outside of what miners share, and as ever while it is in no block.",
        ),
    ] = None,
) -> Rig:
    """The machine that asks for jobs."""
    assert caller.subject_id is not None
    own: UUID | None = None
    if solo is not None:
        ctx = request.app.state.context
        own = await own_farmer(ctx.database, ctx.custody, caller.subject_id, solo)
    with _telling_to_wait():
        return await _mining(request).claim_rig(
            caller.subject_id,
            rig,
            hashes_per_second=hashes_per_second,
            whole_zeros=whole_zeros,
            solo=own,
            # whose farmer it is, only the leader can tell: it has such rigs
            at_once=request.scope.get(FROM_SIBLING, False) or own is not None,
        )


CallersRig = Annotated[Rig, Depends(_rig)]
JOB_PROBLEMS = documented(401, 403, 409, 422, 429, 503)


@router.get(
    "/job",
    summary="A job",
    response_model=JobView,
    responses=JOB_PROBLEMS | {204: {"description": "Nothing new within `wait` seconds."}},
)
async def job(
    request: Request,
    rig: CallersRig,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for a job.")] = 0,
    after: Annotated[str | None, Query(max_length=100, description="The job you have: wait for another.")] = None,
) -> JobView | Response:
    """Answers as soon as there is a job other than `after`."""
    given = await _mining(request).next_job(rig, after, wait)
    return _view(given) if given else Response(status_code=204)


PING_SECONDS = 15.0
"""Without news for so long a stream says that it is there: else it is taken for dead."""

_FIELDS: dict[str, Any] = {name: {"type": "string"} for name in ("data", "event", "id")}
_EVENTS = {"itemSchema": {"type": "object", "properties": _FIELDS | {"retry": {"type": "integer", "minimum": 0}}}}


@router.get(
    "/jobs/stream",
    summary="Jobs as they come",
    response_class=StreamingResponse,
    responses=JOB_PROBLEMS | {200: {"content": {"text/event-stream": _EVENTS}}},
)
async def stream(request: Request, rig: CallersRig) -> StreamingResponse:
    """Server-sent events: `job` with a job as JSON, now and at each change; `idle` when there is nothing to hash.
    `banned`, with a problem, is the last one. With a key that was ended no more are sent.
    """
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(request, rig), media_type="text/event-stream", headers=headers)


async def _events(request: Request, rig: Rig) -> AsyncGenerator[str]:
    # Thousands come back within a second: FastAPI's own events would take two tasks and two queues for each.
    try:
        async with aclosing(_mining(request).jobs(rig, PING_SECONDS)) as jobs:
            async for given in jobs:
                if given is Silence.LASTS:  # asks nobody: it is to outlast a database that is away
                    yield ": ping\n\n"
                    continue
                if not await still_valid(request):
                    return
                if given is None:
                    yield "event: idle\ndata: {}\n\n"
                else:
                    yield f"event: job\ndata: {_view(given).model_dump_json()}\nid: {given.job.job_id}\n\n"
    except BannedError as error:
        yield f"event: banned\ndata: {bytes(_wait_problem(error).response().body).decode()}\n\n"


# ----------------------------------------------------------------------------------------------------------------------
# Shares


class ShareOffer(Sent):
    """A nonce found for a job."""

    job_id: Annotated[str, StringConstraints(max_length=100)]
    nonce: Annotated[str, StringConstraints(max_length=40)] = Field(examples=["9223372036854775809"])


class ShareBatch(Sent):
    """Several shares at once."""

    shares: Annotated[list[ShareOffer], Field(min_length=1, max_length=MOST_SHARES)]


OUTCOMES = """What became of it:

- `accepted`: counted, and credited.
- `stale`: its block is over, or its farmer is out of it. Some come at every change of block.
- `duplicate`: this nonce was brought before.
- `low-difficulty`: the hash is not below the target of the job.
- `out-of-range`: the nonce is not in the range of the job.
- `unknown-job`: no such job was given to you.
- `malformed`: the nonce is not a decimal number of 64 bits.
"""


class ShareAnswer(Described):
    """What became of a share. An accepted one has its zeros and the hashes it is credited with."""

    nonce: str
    outcome: Annotated[ShareOutcome, Field(description=OUTCOMES)]
    zeros: int | None
    credited_hashes: Nonce
    detail: str = Field(description="Why it was refused; empty for an accepted one.")


class ShareAnswers(Described):
    """An answer to every share, in their order."""

    results: list[ShareAnswer]


def _shape(sent: object) -> str:
    """Which of the two was sent, so that what is wrong with it is told of that one alone."""
    return "batch" if isinstance(sent, ShareBatch) or (isinstance(sent, dict) and "shares" in sent) else "share"


_SENT = TypeAdapter[ShareBatch | ShareOffer](
    Annotated[
        Annotated[ShareBatch, Tag("batch")] | Annotated[ShareOffer, Tag("share")],
        Discriminator(_shape),
    ]
)
_ANSWERS = TypeAdapter(ShareAnswers)
_OFFER = ShareOffer.model_json_schema()
_BATCH = {key: value for key, value in ShareBatch.model_json_schema().items() if key != "$defs"}
_BATCH["properties"]["shares"]["items"] = _OFFER
SHARES_OPENAPI = {
    "security": [{"HTTPBearer": []}],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": [_BATCH, _OFFER]}}}},
    "parameters": [
        {
            "name": "idempotency-key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": MOST_KEY, "description": "Your name for this request."},
        }
    ],
}


@router.post(
    "/shares",
    summary="Bring shares",
    response_model=ShareAnswers,
    responses=documented(400, 401, 403, 413, 422, 429, 503),
    openapi_extra=SHARES_OPENAPI,
)
async def shares(request: Request) -> Response:
    """Every share is hashed again, and stored before it is answered. Without an answer, send the same again: it is
    counted once and answered the same. Too much that does not count is slowed (429), then banned for a while (403),
    both with Retry-After.
    """
    # The one call that comes hundreds of times a second: it reads the request itself, which costs half as much as
    # FastAPI's dependencies do.
    caller = await require_miner(await principal(request, await bearer(request)))
    assert caller.subject_id is not None
    request_key = request.headers.get("idempotency-key")
    if request_key is not None and len(request_key) > MOST_KEY:
        raise Problem(422, "invalid-input", f"header.idempotency-key: at most {MOST_KEY} characters")
    try:
        sent = _SENT.validate_json(await request.body())
    except ValidationError as error:
        # the tag that the union puts first is no part of what was sent
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"][1:])} for each in error.errors()]) from None
    offers = [Offer(each.job_id, each.nonce) for each in (sent.shares if isinstance(sent, ShareBatch) else [sent])]
    with _telling_to_wait():
        answers = await _mining(request).take_shares(caller.subject_id, offers, request_key)
    body = _ANSWERS.dump_json(ShareAnswers.model_validate({"results": answers}))
    return Response(body, media_type="application/json")


# ----------------------------------------------------------------------------------------------------------------------
# What came of them


class RateView(Described):
    """A speed with its 95 % interval, estimated from shares."""

    hashes_per_second: float
    low: float
    high: float


class RigView(Described):
    """A machine. `difficulty` is null before its first job."""

    name: str
    searcher: int
    difficulty: Nonce | None
    created_at: datetime
    last_seen_at: datetime


class MinerView(Described):
    """A miner and what it did."""

    miner_id: UUID
    name: str
    payout_wallet: str | None
    created_at: datetime
    last_seen_at: datetime | None
    standing: Standing
    wait_seconds: float = Field(description="Until the ban ends; while slowed, between two requests.")
    hashrate: dict[str, RateView] = Field(description="By window: `1m`, `10m`, `1h`.")
    shares: dict[str, int] = Field(description="All shares so far by outcome; accepted ones of SOLO jobs as `solo`.")
    rigs: list[RigView]


@router.get("/me", summary="How I do", responses=documented(401, 403, 404, 409, 422, 429, 503))
async def me(request: Request, caller: PaidMiner) -> MinerView:
    """The caller's own record."""
    assert caller.subject_id is not None
    record = await miners.read_record(_database(request), caller.subject_id)
    stands, wait = _mining(request).gate.standing(record.miner.miner_id, record.miner.banned_until, steady_now())
    return MinerView(
        miner_id=record.miner.miner_id,
        name=record.miner.name,
        payout_wallet=record.miner.payout_wallet,
        created_at=record.miner.created_at,
        last_seen_at=record.miner.last_seen_at,
        standing=stands,
        wait_seconds=wait,
        hashrate={
            name: RateView.model_validate(record.hashrates[seconds])
            for name, seconds in zip(("1m", "10m", "1h"), miners.RATE_WINDOWS, strict=True)
        },
        shares={name: record.shares.get(name, 0) for name in (*(each.value for each in ShareOutcome), miners.SOLO)},
        rigs=[RigView.model_validate(each) for each in record.rigs],
    )


@router.delete(
    "/rigs/{searcher}", summary="Retire a rig", status_code=204, responses=documented(401, 403, 404, 409, 422, 429, 503)
)
async def retire_rig(
    request: Request, caller: PaidMiner, searcher: Annotated[int, Path(ge=1, le=MOST_SEARCHER, description=SEARCHER)]
) -> None:
    """A machine that is gone is shown no more; what it brought stays. 409 while it is at work."""
    assert caller.subject_id is not None
    await _mining(request).retire_rig(caller.subject_id, searcher)


class CreditView(Described):
    """What a miner earns with a block: fee_stroops * window_hashes / window_total_hashes, to the stroop (what the
    rounding leaves over goes to the largest remainders). `final`: no reward of the block is to come any more. Three
    blocks later it is due: see GET /miner/balance."""

    block_index: int
    shares: int
    credited_hashes: Nonce
    window_hashes: Nonce = Field(description="The miner's hashes in the window of blocks that ends with this one.")
    window_total_hashes: Nonce = Field(description="All hashes in that window, those of the pool's own workers too.")
    fee_stroops: Stroops = Field(description="What this block brings to all of them.")
    credit_stroops: Stroops
    final: bool


BlockCursor = Annotated[int | None, Query(ge=0, le=U32_MAX, description="`next` of the page before.")]


@router.get(
    "/credits",
    summary="What I earn",
    responses=documented(401, 403, 422, 429, 503),
    dependencies=[Depends(costs(CREDITS_COST))],
)
async def credits(
    request: Request, caller: Miner, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: BlockCursor = None
) -> Page[CreditView]:
    """Block by block, the newest first."""
    indexes = await credited_blocks(_database(request), U32_MAX + 1 if after is None else after, limit)
    me = str(caller.subject_id)
    items = [
        CreditView(
            block_index=block.block_index,
            shares=block.shares.get(me, 0),
            credited_hashes=block.credited_hashes.get(me, 0),
            window_hashes=block.window_hashes.get(me, 0),
            window_total_hashes=sum(block.window_hashes.values()),
            fee_stroops=block.fee_stroops,
            credit_stroops=block.credits.get(me, 0),
            final=block.final,
        )
        for block in await _mining(request).credits.read(indexes)
    ]
    return Page(items=items, next=str(indexes[-1]) if len(indexes) == limit else None)


class TotalView(Described):
    """One miner's part in a block."""

    miner_id: UUID
    shares: int
    credited_hashes: Nonce
    window_hashes: Nonce
    credit_stroops: Stroops


class BlockTotalsView(Described):
    """What all miners brought and earn with a block. Enough to check everybody's credit. The pool's own workers have
    their part like a miner: `house_hashes` in the window, and `house_credit_stroops`, which stay the pool's."""

    block_index: int
    window_blocks: int = Field(description="Blocks in the window, this one included.")
    fee_stroops: Stroops
    final: bool
    house_hashes: Nonce
    house_credit_stroops: Stroops
    miners: list[TotalView]


@router.get(
    "/blocks/{block_index}",
    summary="A block's share totals",
    responses=documented(404, 422, 429, 503),
    dependencies=[Depends(per_address)],
)
async def block_totals(request: Request, block_index: Annotated[int, Path(ge=0, le=U32_MAX)]) -> BlockTotalsView:
    """Published for everybody, so that credits can be checked: a credit is its miner's part of all the window's hashes.

    The fee is that of the block's harvests by each farmer's terms, and the window the one that held when it began.
    """
    blocks = await _mining(request).credits.read([block_index])
    if not blocks:
        raise NotFoundError(f"nothing was hashed for block {block_index}")
    [block] = blocks
    return BlockTotalsView(
        block_index=block_index,
        window_blocks=block.window_blocks,
        fee_stroops=block.fee_stroops,
        final=block.final,
        house_hashes=block.window_hashes.get(HOUSE, 0),
        house_credit_stroops=block.credits.get(HOUSE, 0),
        miners=[
            TotalView(
                miner_id=UUID(miner),
                shares=block.shares.get(miner, 0),
                credited_hashes=block.credited_hashes.get(miner, 0),
                window_hashes=hashes,
                credit_stroops=block.credits.get(miner, 0),
            )
            for miner, hashes in sorted(block.window_hashes.items())
            if miner != HOUSE
        ],
    )
