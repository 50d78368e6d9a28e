"""Where miners are paid: sealed with the master key, so that a row that was changed in the database is not paid.

Another wallet counts at once where there was none, or the old one signs; else after some hours, in which the old one's
owner may notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from kalepool.chain import Destination
from kalepool.config import Settings
from kalepool.custody import Binding, Custody
from kalepool.database import Database, Session
from kalepool.errors import ConflictError, NotFoundError
from kalepool.services.context import Context

log = structlog.get_logger()

Wallets = Mapping[str, Any]
"""A miner's row: miner_id, payout_wallet, payout_memo, next_wallet, next_memo, next_wallet_at, payout_seal."""


class WalletChangedError(ConflictError):
    """The miner's wallet in the database is not the one that the pool wrote there."""

    code = "payout-wallet-changed"


def is_sealed(custody: Custody, row: Wallets) -> bool:
    """Whether the wallets are those that the pool wrote there. Pure."""
    return custody.is_sealed(Binding.of_miner(row), row["payout_seal"])


def changed(miner_id: UUID) -> WalletChangedError:
    """What is said where they are not."""
    return WalletChangedError(
        f"the payout wallet of miner {miner_id} was changed in the database, past the pool: nothing is paid there "
        "until an operator has put it back"
    )


async def miners_paid_to(database: Database, custody: Custody, wallet: str) -> list[UUID]:
    """The miners that are paid to this account or contract of their own. An exchange's, which is many people's, is
    nobody's sign-in: none with a memo, or an M… address. Raises DatabaseError."""
    rows = await database.fetch_all("select_miners_paid_to", wallet=wallet)
    return [row["miner_id"] for row in rows if is_sealed(custody, row)]


async def seal_new(session: Session, custody: Custody, miner_id: UUID, wallet: str | None) -> None:
    """Seals the wallet, or that there is none, of a miner that has just been made."""
    await _write(session, custody, miner_id, {"payout_wallet": wallet})


async def change(
    database: Database,
    custody: Custody,
    settings: Settings,
    miner_id: UUID,
    wallet: Destination,
    *,
    signed_by: str | None,
) -> None:
    """Has the miner paid there: at once, or from a time on. `signed_by`: the wallet that signed in for it.

    Raises NotFoundError, WalletChangedError.
    """
    async with database.transaction() as session:
        row = await session.fetch_one("lock_miner_wallets", miner_id=miner_id)
        if row is None:
            raise NotFoundError(f"no miner {miner_id}")
        sealed, old = is_sealed(custody, row), row["payout_wallet"]
        if not sealed and (old is not None or row["next_wallet"] is not None or row["payout_seal"] is not None):
            raise changed(miner_id)
        at_once = sealed if old is None else signed_by is not None and signed_by == Destination(old).credited
        if at_once:
            new = {"payout_wallet": wallet.address, "payout_memo": wallet.memo}
        else:
            counts_at = datetime.now(UTC) + timedelta(hours=settings.payout_change_hours)
            kept = {"payout_wallet": old, "payout_memo": row["payout_memo"]}
            later = {"next_wallet": wallet.address, "next_memo": wallet.memo, "next_wallet_at": counts_at}
            new = {**kept, **later}
        await _write(session, custody, miner_id, new)
    log.info("payout_wallet_changed", miner=str(miner_id), at_once=at_once)


async def keep(database: Database, custody: Custody, miner_id: UUID) -> None:
    """The wallet that there is stays: the next one is dropped. Raises NotFoundError, WalletChangedError."""
    async with database.transaction() as session:
        row = await session.fetch_one("lock_miner_wallets", miner_id=miner_id)
        if row is None:
            raise NotFoundError(f"no miner {miner_id}")
        if row["next_wallet"] is None:
            return
        if not is_sealed(custody, row):
            raise changed(miner_id)
        kept = {"payout_wallet": row["payout_wallet"], "payout_memo": row["payout_memo"]}
        await _write(session, custody, miner_id, kept)
    log.info("payout_wallet_kept", miner=str(miner_id))


async def take_next(ctx: Context) -> int:
    """Wallets that were said long enough ago count from now on. Returns how many. Raises DatabaseError."""
    taken = 0
    for found in await ctx.database.fetch_all("select_next_wallets"):
        async with ctx.database.transaction() as session:
            row = await session.fetch_one("lock_miner_wallets", miner_id=found["miner_id"])
            if row is None or row["next_wallet"] is None or row["next_wallet_at"] > datetime.now(UTC):
                continue
            if not is_sealed(ctx.custody, row):
                log.error(
                    "payout_wallet_not_taken", miner=str(found["miner_id"]), reason="it was changed past the pool"
                )
                continue
            new = {"payout_wallet": row["next_wallet"], "payout_memo": row["next_memo"]}
            await _write(session, ctx.custody, found["miner_id"], new)
            taken += 1
    return taken


async def _write(session: Session, custody: Custody, miner_id: UUID, new: Mapping[str, Any]) -> None:
    names = ("payout_wallet", "payout_memo", "next_wallet", "next_memo", "next_wallet_at")
    row = {"miner_id": miner_id, **{name: new.get(name) for name in names}}
    await session.execute("update_miner_wallets", **row, payout_seal=custody.seal(Binding.of_miner(row)))
