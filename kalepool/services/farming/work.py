"""Hands in work: hashes every nonce again, keeps the best per farmer, submits it through a channel account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Foreseen, PailToWork, Prepared, Signer
from kalepool.contract_errors import PailMissingError, ZeroCountTooLowError
from kalepool.errors import Fault, RpcUnavailableError
from kalepool.protocol.hashing import count_zeros, hash_work
from kalepool.protocol.model import Pail
from kalepool.services import poolers
from kalepool.services.context import Context
from kalepool.services.failures import BlockNotOpenError, BlockOverError, Failure, Refused
from kalepool.services.farmers import PRESENT, Farmer, FarmerStatus, farmers_of_pooler
from kalepool.services.farming.opening import interval_end
from kalepool.services.journal.carry import carry, events
from kalepool.services.journal.intents import Intent, Item
from kalepool.tracing import traced

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Submission:
    """A nonce for a farmer, untrusted. `hash` is what the sender thinks it hashes to, if it says so."""

    farmer_id: UUID
    nonce: int
    hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A submission hashed again by us."""

    farmer_id: UUID
    wallet: str
    nonce: int
    hash: bytes
    zeros: int


@dataclass(frozen=True, slots=True)
class Worked:
    """A work on the chain. `gap` in ledgers; `already`: it was there before this call."""

    farmer_id: UUID
    nonce: int
    hash: bytes
    zeros: int
    gap: int
    transaction_hash: str | None
    ledger: int | None
    already: bool = False


@dataclass(frozen=True, slots=True)
class WorkResult:
    """One entry in `accepted` or `refused` per submission. `ready_for_harvest`: farmers whose pail has work."""

    block_index: int
    accepted: list[Worked]
    refused: list[Refused]
    ready_for_harvest: list[UUID]
    duration_ms: int


def choose(
    block_index: int, entropy: bytes, wallets: Mapping[UUID, str], submissions: Sequence[Submission]
) -> tuple[dict[UUID, Candidate], list[Refused]]:
    """The best candidate per farmer (most zeros, the first of equals), and every other submission with its reason.

    `wallets`: the custodial wallet of each farmer that may be worked for.
    """
    best: dict[UUID, Candidate] = {}
    refused: list[Refused] = []

    def refuse(farmer_id: UUID, nonce: int, code: str, message: str, digest: bytes | None = None) -> None:
        failure = Failure(block_index, farmer_id, code, message, Fault.POOLER)
        refused.append(Refused(nonce, failure, digest, None if digest is None else count_zeros(digest)))

    for submission in submissions:
        farmer_id, nonce = submission.farmer_id, submission.nonce
        wallet = wallets.get(farmer_id)
        if wallet is None:
            refuse(farmer_id, nonce, "unknown-farmer", "this pooler has no such farmer")
            continue
        digest = hash_work(block_index, nonce, entropy, wallet)
        if submission.hash is not None and submission.hash != digest:
            refuse(farmer_id, nonce, "hash-mismatch", f"the nonce hashes to {digest.hex()} in this block", digest)
            continue
        better = Candidate(farmer_id, wallet, nonce, digest, count_zeros(digest))
        worse = best.get(farmer_id)
        if worse is not None and worse.zeros >= better.zeros:
            better, worse = worse, better
        if worse is not None:
            reason = f"nonce {better.nonce} of the same farmer has {better.zeros} zeros, this one {worse.zeros}"
            refuse(farmer_id, worse.nonce, "not-best", reason, worse.hash)
        best[farmer_id] = better
    return best, refused


@traced("api work")
async def work(ctx: Context, block_index: int, pooler_id: UUID, submissions: Sequence[Submission]) -> WorkResult:
    """Submits the best of the submissions for each farmer in block `block_index`, which must be the current one.

    A farmer may be worked again with strictly more zeros. Repeating a call answers with what was done. Raises
    BlockOverError, BlockNotOpenError, NotReadyError, as poolers.active_pooler, and ChainError when the chain cannot be
    read.
    """
    begun = time.monotonic()
    await poolers.active_pooler(ctx.database, pooler_id)
    rows = await farmers_of_pooler(ctx.database, pooler_id, PRESENT)
    done_with = await _done_with(ctx, block_index, pooler_id, rows)
    wallets = {farmer.farmer_id: farmer.custodial_wallet for farmer in rows if farmer.farmer_id not in done_with}
    farm = await ctx.chain.read_farm()
    current = farm.index or 0
    if block_index < current:
        raise BlockOverError(f"block {block_index} is over; the chain is at block {current}")
    if block_index > current or farm.block is None:
        raise BlockNotOpenError(f"block {block_index} has not begun; the chain is at block {current}")
    best, refused = await asyncio.to_thread(choose, block_index, farm.block.entropy, wallets, submissions)

    timeout = timedelta(seconds=ctx.settings.work_timeout_seconds)
    ends_at, asked_at = interval_end(farm, ctx.settings.chain.block_seconds), await ctx.chain.now()
    # A work past the interval's end still counts until somebody plants.
    deadline = max(ends_at, asked_at + timeout)
    before = await _look(ctx, block_index, pooler_id, best.values())

    async def one(candidate: Candidate) -> Worked | Refused:
        lock = ctx.lock("work", block_index, candidate.farmer_id)
        waited = lock.locked()
        async with lock:
            try:
                # Another call was at work for this farmer: see what came of it.
                found = await _look(ctx, block_index, pooler_id, [candidate]) if waited else before
                return await _work_one(ctx, block_index, pooler_id, candidate, found, deadline, ends_at)
            except Exception as error:
                failure = Failure.of(error, block_index, candidate.farmer_id)
                if isinstance(error, PailMissingError):  # who hands in before it has planted
                    failure = replace(failure, fault=Fault.POOLER)
                return Refused(candidate.nonce, failure, candidate.hash, candidate.zeros)

    # Channels are lent in this order: stakes at risk come before what is only to be improved.
    order = sorted(best.values(), key=lambda candidate: candidate.farmer_id in before.worked)
    outcomes = await asyncio.gather(*(one(candidate) for candidate in order))
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Worked)]
    refused += [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    seconds_left = (ends_at - asked_at).total_seconds()
    await events.insert_refusals(ctx.database, pooler_id, refused, wallets.keys(), seconds_left)
    ready = sorted(before.worked | {item.farmer_id for item in accepted})
    duration_ms = round((time.monotonic() - begun) * 1000)
    log.info("worked", block=block_index, accepted=len(accepted), refused=len(refused), ms=duration_ms)
    return WorkResult(block_index, accepted, refused, ready, duration_ms)


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is already: works by (farmer, nonce), pails by farmer, and the farmers that have work."""

    done: Mapping[tuple[UUID, int], Worked]
    pails: Mapping[UUID, Pail]

    @property
    def worked(self) -> set[UUID]:
        on_chain = {farmer_id for farmer_id, pail in self.pails.items() if pail.zeros is not None}
        return on_chain | {farmer_id for farmer_id, _ in self.done}


async def _done_with(ctx: Context, block_index: int, pooler_id: UUID, farmers: Iterable[Farmer]) -> set[UUID]:
    """Of those that plant themselves who leaves, and had not planted in this block when it began to."""
    leave = {each.farmer_id for each in farmers if each.plants_itself and each.status == FarmerStatus.LEAVING}
    if not leave:
        return leave
    rows = await ctx.database.fetch_all("select_planted", block_index=block_index, pooler_id=pooler_id)
    return leave - {row["farmer_id"] for row in rows}


async def _look(ctx: Context, block_index: int, pooler_id: UUID, candidates: Iterable[Candidate]) -> _Found:
    rows = await ctx.database.fetch_all("select_worked", row=Worked, block_index=block_index, pooler_id=pooler_id)
    farmers = {candidate.wallet: candidate.farmer_id for candidate in candidates}
    pails = await ctx.chain.read_pails([(wallet, block_index) for wallet in farmers])
    return _Found(
        done={(row.farmer_id, row.nonce): replace(row, already=True) for row in rows},
        pails={farmers[wallet]: pail for (wallet, _), pail in pails.items()},
    )


async def _work_one(
    ctx: Context,
    block_index: int,
    pooler_id: UUID,
    candidate: Candidate,
    found: _Found,
    deadline: datetime,
    ends_at: datetime,
) -> Worked:
    known = found.done.get((candidate.farmer_id, candidate.nonce))
    if known is not None:
        return known
    pail = require_better(candidate, found.pails.get(candidate.farmer_id))
    # Simulation reckons with the latest ledger: in that of the plant itself it sees no gap yet.
    await ctx.chain.next_ledger(pail.sequence, 2 * ctx.chain.network.ledger_seconds + 1)
    return await _submit(ctx, pooler_id, candidate, PailToWork(candidate.wallet, block_index, pail), deadline, ends_at)


def require_better(candidate: Candidate, pail: Pail | None) -> Pail:
    """The pail, whose plant's ledger the work must come after.

    Raises where the contract would refuse: no pail (PailMissingError), not more zeros (ZeroCountTooLowError).
    """
    if pail is None:
        raise PailMissingError("nothing is planted for this farmer in this block")
    if pail.zeros is not None and candidate.zeros <= pail.zeros:
        raise ZeroCountTooLowError(f"{candidate.zeros} zeros, the pail has {pail.zeros} already")
    return pail


async def _submit(
    ctx: Context, pooler_id: UUID, candidate: Candidate, pail: PailToWork, deadline: datetime, ends_at: datetime
) -> Worked:
    item = Item(
        block_index=pail.block_index,
        farmer_id=candidate.farmer_id,
        nonce=candidate.nonce,
        hash=candidate.hash,
        zeros=candidate.zeros,
    )
    foreseen = await _foresee(ctx, candidate, pail)  # while others have the channels

    async def prepare(channel: Signer, attempt: int) -> Prepared:
        nonlocal foreseen
        if attempt == 1 and foreseen is not None and not ctx.chain.is_good(foreseen):
            foreseen = await _foresee(ctx, candidate, pail)
        return await ctx.chain.prepare_work(
            candidate.wallet,
            candidate.hash,
            candidate.nonce,
            channel=channel,
            deadline=deadline,
            attempt=attempt,
            lands_by=ends_at,
            foreseen=foreseen if attempt == 1 else None,  # what was refused is simulated anew, by itself
        )

    async with ctx.accounts.channel(deadline) as channel:
        outcome = await carry(
            ctx.journal,
            Intent(ActionName.WORK, pooler_id, [item]),
            lambda attempt: prepare(channel, attempt),
            deadline=deadline,
            timeout_seconds=ctx.settings.work_timeout_seconds,
        )
    assert isinstance(outcome.return_value, int), "an applied work returns its gap"
    return Worked(
        candidate.farmer_id,
        candidate.nonce,
        candidate.hash,
        candidate.zeros,
        outcome.return_value,
        outcome.transaction_hash,
        outcome.ledger,
    )


async def _foresee(ctx: Context, candidate: Candidate, pail: PailToWork) -> Foreseen | None:
    """The work's simulation, or that of another like it; None where there is none in time. Raises what the contract
    refuses it with."""
    try:
        async with ctx.journal.foresights, asyncio.timeout(2 * ctx.chain.network.ledger_seconds + 1):
            return await ctx.chain.foresee_work(pail, candidate.hash, candidate.nonce)
    except (RpcUnavailableError, TimeoutError):
        return None
