"""What operators do: poolers, miners and keys, pausing, the journal, fees, compensation, and the audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints

from kalepool.actions import ActionName
from kalepool.api.auth import Operator, record
from kalepool.api.models import WHOLE, Described, HashText, Moment, Name, Nonce, Sent, Stroops
from kalepool.api.paging import Page, Paging, next_cursor
from kalepool.api.problems import documented
from kalepool.api.routes.farming import context
from kalepool.api.routes.keys import Days, KeyView, NewKeyView, Text
from kalepool.api.routes.pooler import CompensationView, PoolerView, compensation_page
from kalepool.clock import steady_now
from kalepool.errors import NotFoundError
from kalepool.policy.submitters import SubmitterName
from kalepool.protocol.model import U32_MAX
from kalepool.services import operators, poolers
from kalepool.services.farming.compensation import CompensationStanding
from kalepool.services.journal.submissions import network_fees, read_submission, submissions_page
from kalepool.services.keys import Role, all_keys
from kalepool.services.mining import miners

router = APIRouter(prefix="/operator", tags=["operators"])

READS = documented(401, 403, 422, 429, 503)
READS_ONE = documented(401, 403, 404, 422, 429, 503)
WRITES = documented(401, 403, 404, 413, 422, 429, 503)

MostFarmers = Annotated[int, Field(strict=True, ge=1, le=100_000), WHOLE]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]

# ----------------------------------------------------------------------------------------------------------------------
# Poolers


@router.get("/poolers", summary="All poolers", responses=READS)
async def list_poolers(request: Request, caller: Operator, paging: Paging) -> Page[PoolerView]:
    """In the order of their registration."""
    rows = await poolers.summaries(context(request).database, after=paging.after, limit=paging.limit)
    items = [PoolerView.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.pooler_id for item in items], paging))


class PoolerOrder(Sent):
    """A pooler to be registered."""

    name: Name = Field(description="Unlike any other's.")
    max_farmers: MostFarmers | None = Field(default=None, description="The pool's default where absent.")


class NewPoolerView(Described):
    """A pooler just registered."""

    pooler_id: UUID
    api_key: str = Field(description="The pooler's first key. Shown this once.")


@router.post(
    "/poolers", summary="Register a pooler", status_code=201, responses=documented(401, 403, 409, 413, 422, 429, 503)
)
async def add_pooler(request: Request, caller: Operator, body: PoolerOrder) -> NewPoolerView:
    """409 when the name is taken."""
    ctx = context(request)
    most = body.max_farmers or ctx.settings.pooler_farmers
    new = await operators.add_pooler(ctx.database, caller.key_id, body.name, most)
    return NewPoolerView(pooler_id=new.pooler_id, api_key=new.key)


class PoolerChange(Sent):
    """What is to change; what is absent stays."""

    status: Literal["active", "inactive"] | None = Field(
        default=None, description="Inactive: its key plants, works and harvests nothing; the pool harvests for it."
    )
    max_farmers: MostFarmers | None = None
    open: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="Farmers may register by themselves."
    )
    planting_paused: Annotated[bool, Field(strict=True)] | None = None


@router.patch("/poolers/{pooler_id}", summary="Change a pooler", responses=WRITES)
async def change_pooler(request: Request, caller: Operator, pooler_id: UUID, body: PoolerChange) -> PoolerView:
    """Its state, its limit, whether farmers may come by themselves, whether it plants."""
    database = context(request).database
    changes = {name: value for name, value in body.model_dump().items() if value is not None}
    await operators.change_pooler(database, caller.key_id, pooler_id, changes)
    return PoolerView.model_validate(await poolers.summary(database, pooler_id))


class PlantingView(Described):
    """Whether planting is paused for the whole pool."""

    paused: bool


class PlantingChange(Sent):
    """Pause, or go on."""

    paused: Annotated[bool, Field(strict=True)]
    reason: Text = ""


@router.get("/planting", summary="Is planting paused?", responses=READS)
async def show_planting(request: Request, caller: Operator) -> PlantingView:
    """For the whole pool; each pooler has a switch of its own."""
    return PlantingView(paused=await operators.planting_paused(context(request).database))


@router.put("/planting", summary="Pause or resume planting", responses=documented(401, 403, 413, 422, 429, 503))
async def switch_planting(request: Request, caller: Operator, body: PlantingChange) -> PlantingView:
    """For the whole pool, from now on. What is planted is worked and harvested as ever."""
    await operators.pause_planting(context(request).database, caller.key_id, body.paused, body.reason)
    return PlantingView(paused=body.paused)


# ----------------------------------------------------------------------------------------------------------------------
# Miners


class MinerRow(Described):
    """An external miner. `bans`: how often it was banned; each ban is longer than the one before. `suspicion`: why it
    seems to hold back shares with many zeros, if so."""

    miner_id: UUID
    name: str
    payout_wallet: str | None
    status: Literal["active", "inactive"]
    banned_until: datetime | None
    bans: int
    ban_reason: str | None
    suspicion: str | None
    created_at: datetime
    last_seen_at: datetime | None


@router.get("/miners", summary="All miners", responses=READS)
async def list_miners(request: Request, caller: Operator, paging: Paging) -> Page[MinerRow]:
    """In the order of their registration."""
    rows = await miners.miners_page(context(request).database, after=paging.after, limit=paging.limit)
    items = [MinerRow.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.miner_id for item in items], paging))


class BanOrder(Sent):
    """A ban."""

    hours: Annotated[int, Field(strict=True, ge=1, le=24 * 3650), WHOLE]
    reason: Reason


@router.put("/miners/{miner_id}/ban", summary="Ban a miner", status_code=204, responses=WRITES)
async def ban(request: Request, caller: Operator, miner_id: UUID, body: BanOrder) -> None:
    """At once: its streams end, its shares and requests for jobs are refused until then."""
    until = steady_now() + timedelta(hours=body.hours)
    if not await request.app.state.mining.gate.ban(miner_id, until, body.reason):
        raise NotFoundError(f"no miner {miner_id}")
    await record(context(request).database, caller, "ban-miner", miner_id, hours=body.hours, reason=body.reason)


@router.delete("/miners/{miner_id}/ban", summary="Lift a ban", status_code=204, responses=READS_ONE)
async def lift_ban(request: Request, caller: Operator, miner_id: UUID) -> None:
    """The miner starts with a clean slate."""
    database = context(request).database
    await miners.read_miner(database, miner_id)
    await request.app.state.mining.gate.lift_ban(miner_id)
    await record(database, caller, "lift-ban", miner_id)


# ----------------------------------------------------------------------------------------------------------------------
# Keys


class AnyKeyView(KeyView):
    """A key of anybody, ended or not."""

    revoked_at: datetime | None


@router.get("/keys", summary="All keys", responses=READS)
async def list_keys(
    request: Request,
    caller: Operator,
    paging: Paging,
    role: Annotated[Role | None, Query(description="Of this role.")] = None,
    subject_id: Annotated[UUID | None, Query(description="Of this farmer, miner or pooler.")] = None,
) -> Page[AnyKeyView]:
    """Without the secrets; the newest first."""
    rows = await all_keys(context(request).database, role, subject_id, after=paging.after, limit=paging.limit)
    items = [AnyKeyView.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.key_id for item in items], paging))


class OperatorKeyOrder(Sent):
    """A key for an operator."""

    role: Literal["operator"]
    label: Text = ""
    valid_days: Days | None = None


class SubjectKeyOrder(Sent):
    """A key for a farmer, miner or pooler."""

    role: Literal["farmer", "miner", "pooler"]
    subject_id: UUID
    label: Text = ""
    valid_days: Days | None = None


@router.post(
    "/keys",
    summary="Make a key for somebody",
    status_code=201,
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def add_key(request: Request, caller: Operator, body: OperatorKeyOrder | SubjectKeyOrder) -> NewKeyView:
    """For who lost theirs, or for another operator. 409 `too-many-keys` where it has 50 that may be used."""
    expires_at = None if body.valid_days is None else datetime.now(UTC) + timedelta(days=body.valid_days)
    subject_id = body.subject_id if isinstance(body, SubjectKeyOrder) else None
    new = await operators.add_key(
        context(request).database, caller.key_id, Role(body.role), subject_id, body.label, expires_at
    )
    return NewKeyView(key_id=new.key_id, api_key=new.key)


@router.delete("/keys/{key_id}", summary="End anybody's key", status_code=204, responses=READS_ONE)
async def end_key(request: Request, caller: Operator, key_id: UUID) -> None:
    """At once, for good. Again changes nothing."""
    await operators.revoke_key(context(request).database, caller.key_id, key_id)
    request.app.state.keys.forget(key_id)


# ----------------------------------------------------------------------------------------------------------------------
# The journal


class SubmissionRow(Described):
    """A transaction, written down before it was sent. `fee_stroops`: what the network took of the pool. `submitter`:
    who took it to the network, once a ledger has it; a relayer paid `sponsored_stroops` for it."""

    submission_id: UUID
    action: ActionName
    pooler_id: UUID | None
    source_account: str
    sequence: Nonce
    transaction_hash: str
    valid_until: datetime
    attempt: int
    status: Literal["open", "applied", "failed", "expired"]
    ledger: int | None
    result_code: str | None
    fee_stroops: Stroops | None
    submitter: SubmitterName | None
    sponsored_stroops: Stroops | None
    created_at: datetime
    closed_at: datetime | None


class SubmissionPart(Described):
    """What a transaction is to do for one farmer, or one account."""

    block_index: int | None
    farmer_id: UUID | None
    amount_stroops: Stroops | None
    forecast_stroops: Stroops | None
    destination: str | None
    nonce: Nonce | None
    hash: str | None
    zeros: int | None
    withdrawal_id: UUID | None
    status: Literal["open", "applied", "failed", "expired"]


class SubmissionView(SubmissionRow):
    """A transaction with all its parts, as it was sent."""

    envelope_xdr: str
    parts: list[SubmissionPart]


@router.get("/submissions", summary="The journal", responses=READS)
async def list_submissions(
    request: Request,
    caller: Operator,
    paging: Paging,
    action: Annotated[ActionName | None, Query()] = None,
    status: Annotated[Literal["open", "applied", "failed", "expired"] | None, Query()] = None,
) -> Page[SubmissionRow]:
    """Every transaction the pool has made, the newest first."""
    rows = await submissions_page(context(request).database, action, status, after=paging.after, limit=paging.limit)
    items = [SubmissionRow.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.submission_id for item in items], paging))


@router.get("/submissions/{submission_id}", summary="A transaction", responses=READS_ONE)
async def show_submission(request: Request, caller: Operator, submission_id: UUID) -> SubmissionView:
    """With all its parts."""
    return SubmissionView.model_validate(await read_submission(context(request).database, submission_id))


class FoundOutcome(Sent):
    """What an explorer says of a transaction: whether it was applied, and the ledger that took it."""

    status: Literal["applied", "failed"]
    ledger: Annotated[int, Field(strict=True, ge=1, le=U32_MAX), WHOLE]


@router.put(
    "/submissions/{submission_id}/outcome",
    summary="Settle a transaction by hand",
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def settle_submission(
    request: Request, caller: Operator, submission_id: UUID, body: FoundOutcome
) -> SubmissionView:
    """For one that the RPC server has forgotten before its outcome was known, and of which the ledger does not tell:
    an alert `outcome-unknown` and the log name it. Look its hash up in an explorer first: what you say here is booked,
    and a withdrawal that failed is paid again. 409 for every other transaction."""
    await operators.settle_submission(context(request), caller.key_id, submission_id, body.status, body.ledger)
    return await show_submission(request, caller, submission_id)


# ----------------------------------------------------------------------------------------------------------------------
# Money


class NetworkFees(Described):
    """What the network took for one kind of transaction, of the pool and of a relayer."""

    action: str
    submitter: SubmitterName
    transactions: int
    fee_stroops: Stroops
    sponsored_stroops: Stroops


class FeesView(Described):
    """`platform_fee_stroops`: the pool's part of the KALE that was harvested since then, by each farmer's terms. Of the
    part `miner_fee_part` miners are credited by their hashes. `platform_fee` is that of farmers who register now, and
    `miner_fee_part` that of new blocks. `network`: XLM that transactions cost."""

    since: datetime
    platform_fee: float
    miner_fee_part: float
    rewarded_stroops: Stroops
    platform_fee_stroops: Stroops
    network: list[NetworkFees]


@router.get("/fees", summary="Fees", responses=READS)
async def fees(
    request: Request,
    caller: Operator,
    since: Annotated[Moment | None, Query(description="From then on; the last day where absent.")] = None,
) -> FeesView:
    """What the pool earns, and what it pays the network."""
    ctx = context(request)
    begin = since or datetime.now(UTC) - timedelta(days=1)
    rewarded, platform_fee = await operators.rewards_since(ctx.database, begin)
    return FeesView(
        since=begin,
        platform_fee=ctx.settings.platform_fee,
        miner_fee_part=ctx.settings.miner_fee_part,
        rewarded_stroops=rewarded,
        platform_fee_stroops=platform_fee,
        network=[NetworkFees.model_validate(row) for row in await network_fees(ctx.database, begin)],
    )


@router.get("/compensations", summary="All that is owed", responses=READS)
async def list_compensations(
    request: Request,
    caller: Operator,
    paging: Paging,
    pooler_id: Annotated[UUID | None, Query(description="Of this pooler's farmers.")] = None,
    paid: Annotated[bool | None, Query(description="Only what was paid, or was not.")] = None,
    standing: Annotated[CompensationStanding | None, Query(description="Only these.")] = None,
) -> Page[CompensationView]:
    """For every stake that was lost, the newest first."""
    return await compensation_page(request, pooler_id, paid, standing, paging)


class PaidWith(Sent):
    """The transaction that paid."""

    transaction_hash: HashText


@router.put(
    "/compensations/{compensation_id}/payment",
    summary="Mark a compensation as paid",
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def pay_compensation(
    request: Request, caller: Operator, compensation_id: UUID, body: PaidWith
) -> CompensationView:
    """For one that was paid by hand, with a transaction that a ledger has applied; one may pay several. 409:
    `transaction-unknown`, `paid-already`, `not-owed`."""
    paid = await operators.pay_compensation(
        context(request), caller.key_id, compensation_id, body.transaction_hash.lower()
    )
    return CompensationView.model_validate(paid)


@router.put(
    "/compensations/{compensation_id}/approval",
    summary="Have a compensation paid",
    responses=documented(401, 403, 404, 409, 422, 429, 503),
)
async def approve_compensation(request: Request, caller: Operator, compensation_id: UUID) -> CompensationView:
    """From the operator's part of the treasury into the farmer's wallet, with the next round in which that reaches.
    409: `paid-already`, `not-owed`."""
    approved = await operators.approve_compensation(context(request), caller.key_id, compensation_id)
    return CompensationView.model_validate(approved)


class Checked(Sent):
    """What a look at the farmer's wallet in an explorer has told."""

    owed: Annotated[bool, Field(strict=True, description="False: somebody harvested it, the stake came back.")]


@router.put(
    "/compensations/{compensation_id}/check",
    summary="Say whether a compensation is owed",
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def check_compensation(
    request: Request, caller: Operator, compensation_id: UUID, body: Checked
) -> CompensationView:
    """For one that is `to-check`: its pail was worked, and is gone together with its block. Look in an explorer whether
    KALE was minted to the farmer's custodial wallet for that block. 409 for every other compensation."""
    checked = await operators.check_compensation(context(request), caller.key_id, compensation_id, body.owed)
    return CompensationView.model_validate(checked)


# ----------------------------------------------------------------------------------------------------------------------
# What this database does not have


class GapView(Described):
    """Transactions of one of the pool's accounts or farmers' wallets that a ledger has and this database had not."""

    gap_id: UUID
    account: str
    first_sequence: Nonce
    last_sequence: Nonce
    transactions: int
    imported: int = Field(description="How many of them the RPC server still knew.")
    found_at: datetime


class GapsView(Described):
    """All of them that nobody has acknowledged."""

    items: list[GapView]


class Acknowledgement(Sent):
    """That an operator has looked."""

    reason: Reason
    paid_withdrawals: list[UUID] = Field(
        default=[], max_length=1000, description="Open here, and paid by what is missing: they are not paid again."
    )


@router.get("/gaps", summary="Transactions that this database does not have", responses=READS)
async def list_gaps(request: Request, caller: Operator) -> GapsView:
    """Looked for now. There are some after the database was put back to an older state; while there are, nothing is
    paid out, no farmer is registered, and `/health` is down. Look the accounts up in an explorer: what was paid since,
    and to whom."""
    return GapsView(items=[GapView.model_validate(gap) for gap in await operators.open_gaps(context(request))])


@router.put("/gaps/acknowledgement", summary="Go on in spite of them", responses=WRITES)
async def acknowledge_gaps(request: Request, caller: Operator, body: Acknowledgement) -> GapsView:
    """Pays out again, and registers farmers. A withdrawal that is open here is paid then, unless it is named. Answers
    with what was acknowledged."""
    found = await operators.acknowledge_gaps(context(request), caller.key_id, body.reason, body.paid_withdrawals)
    return GapsView(items=[GapView.model_validate(gap) for gap in found])


# ----------------------------------------------------------------------------------------------------------------------
# The audit


class ActionRow(Described):
    """Something an operator did."""

    action_id: UUID
    key_id: UUID
    action: str
    subject_id: UUID | None
    detail: dict[str, Any]
    created_at: datetime


@router.get("/actions", summary="What operators did", responses=READS)
async def list_actions(request: Request, caller: Operator, paging: Paging) -> Page[ActionRow]:
    """The newest first. Nobody can change or remove an entry."""
    rows = await operators.actions(context(request).database, after=paging.after, limit=paging.limit)
    items = [ActionRow.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.action_id for item in items], paging))
