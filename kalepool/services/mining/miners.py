"""Miners as accounts: how they register, their keys, invitations and rigs, and what they did."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from kalepool.clock import steady_now
from kalepool.config import Settings
from kalepool.custody import Custody
from kalepool.database import Database, Session, new_id
from kalepool.errors import ConflictError, ForbiddenError, NotFoundError
from kalepool.marking import mark
from kalepool.names import require_name
from kalepool.policy.shares import Hashrate, estimate_hashrate
from kalepool.services.farmers import require_account_address
from kalepool.services.keys import Role, create_key, lock_keys, own_keys, revoke_own_key
from kalepool.services.mining.payout_wallets import seal_new

SOLO = "solo"
"""What accepted shares of SOLO jobs are counted as, among the outcomes."""

RATE_WINDOWS = (60, 600, 3600)
"""Seconds over which a miner's hashrate is estimated."""


class InviteError(ForbiddenError):
    """The invitation is missing, unknown, used up or expired."""

    code = "invite-needed"


class LastKeyError(ConflictError):
    """Nobody could sign in for the miner any more."""

    code = "last-key"


class MinerStatus(StrEnum):
    """Whether a miner may bring shares."""

    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Miner:
    miner_id: UUID
    name: str
    payout_wallet: str | None
    status: str
    banned_until: datetime | None
    bans: int
    ban_reason: str | None
    suspicion: str | None
    created_at: datetime
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewMiner:
    """A miner just registered, with its key, which is shown once."""

    miner: Miner
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Invite:
    """An invitation just made. `invite` is the secret: shown once, kept nowhere."""

    invite_id: UUID
    label: str
    uses_left: int
    created_at: datetime
    expires_at: datetime
    invite: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class RigRow:
    searcher: int
    name: str
    difficulty: int | None
    created_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """What a miner did: hashrates by seconds of their window, all its shares by outcome, its rigs."""

    miner: Miner
    hashrates: Mapping[int, Hashrate]
    shares: Mapping[str, int]
    rigs: Sequence[RigRow]


@dataclass(frozen=True, slots=True)
class RigWork:
    """What a rig brought within the last hour, and of that within the last ten minutes. solo: whether its newest share
    was for a farmer of its own alone."""

    searcher: int
    solo: bool
    shares: int
    hashes: int
    best_zeros: int
    best_hash: bytes
    recent_shares: int
    recent_hashes: int


def _hash_invite(invite: str) -> bytes:
    return hashlib.sha256(invite.encode("utf-8", "surrogatepass")).digest()


async def create_invite(database: Database, label: str, uses: int, valid_seconds: float) -> Invite:
    """An invitation with which `uses` miners can register."""
    invite = secrets.token_urlsafe(32)
    row = await database.fetch_one(
        "insert_miner_invite",
        invite_id=new_id(),
        invite_hash=_hash_invite(invite),
        label=label,
        uses=uses,
        expires_at=datetime.now(UTC) + timedelta(seconds=valid_seconds),
    )
    assert row is not None
    return Invite(**row, invite=invite)


async def invites(database: Database, *, limit: int) -> list[Invite]:
    """Those that may still be used, the newest first, without their secrets. Raises DatabaseError."""
    return await database.fetch_all("select_miner_invites", row=Invite, limit=limit)


async def end_invite(database: Database | Session, invite_id: UUID) -> None:
    """Nobody may register with it any more. Raises NotFoundError for one that is unknown, used up or ended."""
    if not await database.execute("end_miner_invite", invite_id=invite_id):
        raise NotFoundError(f"no invitation {invite_id} that may still be used")


async def register(
    database: Database,
    custody: Custody,
    settings: Settings,
    name: str,
    payout_wallet: str | None = None,
    invite: str | None = None,
) -> NewMiner:
    """A new miner and its key. Raises InviteError, InputError for a wrong name or payout wallet."""
    require_name(name)
    if payout_wallet is not None:
        require_account_address(payout_wallet)
    async with database.transaction() as tx:
        if settings.miner_registration == "invite":
            if invite is None:
                raise InviteError(mark("an invitation is needed to register here; ask the pool's operator for one"))
            if not await tx.execute("use_miner_invite", invite_hash=_hash_invite(invite)):
                raise InviteError(mark("this invitation is unknown, used up or expired; ask for another"))
        miner = await tx.fetch_one("insert_miner", row=Miner, miner_id=new_id(), name=name, payout_wallet=payout_wallet)
        assert miner is not None
        await seal_new(tx, custody, miner.miner_id, payout_wallet)
        key = await create_key(tx, Role.MINER, subject_id=miner.miner_id, label=name)
    return NewMiner(miner, key.key)


async def read_miner(database: Database, miner_id: UUID) -> Miner:
    """Raises NotFoundError."""
    miner = await database.fetch_one("select_miner", row=Miner, miner_id=miner_id)
    if miner is None:
        raise NotFoundError(f"no miner {miner_id}")
    return miner


async def miners_page(database: Database, *, after: UUID | None, limit: int) -> list[Miner]:
    """All miners in the order of their registration."""
    return await database.fetch_all("select_miners", row=Miner, after=after, limit=limit)


async def find_miner(database: Database, name: str) -> UUID | None:
    """The id of the first miner of that name, if there is one."""
    found = await database.fetch_one("select_miner_called", name=name)
    return found["miner_id"] if found else None


async def end_key(database: Database, miner_id: UUID, key_id: UUID) -> None:
    """Ends a key of the miner's at once. LastKeyError for the last one of a miner that no payout wallet can sign in
    for, which would lock it out for good; NotFoundError for none of its keys that may still be used."""
    async with database.transaction() as tx:
        await lock_keys(tx, Role.MINER, miner_id)
        await require_other_key(tx, miner_id, key_id)
        await revoke_own_key(tx, key_id, Role.MINER, miner_id, None)


async def require_other_key(session: Database | Session, miner_id: UUID, key_id: UUID) -> None:
    """LastKeyError where the key is the only way to sign in for the miner. An exchange's wallet, which is paid with a
    memo or as an M… address, signs in for nobody."""
    live = await own_keys(session, Role.MINER, miner_id, None, after=None, limit=2)
    if [key.key_id for key in live] != [key_id]:
        return
    row = await session.fetch_one("select_miner_balance", miner_id=miner_id)
    if row is None or not (row["payout_wallet"] or "").startswith("G") or row["payout_memo"]:
        raise LastKeyError(
            "this is the miner's last key, and it has no payout wallet of its own to sign in with: set one, or make "
            "another key, before you end it"
        )


async def rigs_of(database: Database, miner_id: UUID) -> list[RigRow]:
    """Raises DatabaseError."""
    return await database.fetch_all("select_rigs", row=RigRow, miner_id=miner_id)


async def rig_work(database: Database, miner_id: UUID) -> dict[int, RigWork]:
    """By searcher; a rig that brought nothing is not in it. Raises DatabaseError."""
    rows = await database.fetch_all("select_rig_work", row=RigWork, miner_id=miner_id)
    return {row.searcher: row for row in rows}


async def read_record(database: Database, miner_id: UUID) -> Record:
    """Raises NotFoundError."""
    miner = await read_miner(database, miner_id)
    windows = await database.fetch_all("select_miner_hashrates", miner_id=miner_id, windows=list(RATE_WINDOWS))
    rigs = await rigs_of(database, miner_id)
    outcomes = await database.fetch_all("select_miner_outcomes", miner_id=miner_id)
    present = steady_now() - timedelta(seconds=RATE_WINDOWS[0])
    # without any share: what one of its rigs that are there would have brought
    expected = sum(rig.difficulty or 0 for rig in rigs if rig.last_seen_at > present)
    rates = {
        row["seconds"]: estimate_hashrate(row["credited_hashes"], row["shares"], row["seconds"], expected)
        for row in windows
    }
    return Record(miner, rates, {row["outcome"]: row["shares"] for row in outcomes}, rigs)
