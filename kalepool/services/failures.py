"""Why something did not happen: the errors services add to the tree, and failures as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from kalepool.errors import (
    ChainError,
    ConflictError,
    DatabaseError,
    Fault,
    KalepoolError,
)

log = structlog.get_logger()


class InFlightError(ChainError):
    """Sent, or about to be, and not known yet whether it took effect. Nothing else may be tried until it is."""

    code = "in-flight"


class UnconfirmedError(ChainError):
    """The RPC server knows of no such pail; it is looked for again before that is believed."""

    code = "absence-unconfirmed"


class CallTimeoutError(ChainError):
    """The time for one call was over before anything was sent."""

    code = "timeout"


class JournalBehindError(KalepoolError):
    """The ledger has transactions of ours that this database has not: paid from it, something might be paid twice."""

    code = "journal-behind"


class PoolAwayError(KalepoolError):
    """The pool itself was away when works were due."""

    code = "pool-away"


class NotReadyError(ChainError):
    """The pool's own accounts are not on the ledger yet: it cannot pay for anything."""

    code = "accounts-not-ready"
    fault = Fault.BACKEND


class UnderfundedError(ChainError):
    """A wallet lacks what it must hold."""

    code = "underfunded"
    fault = Fault.FARMER


class BlockNotOpenError(ConflictError):
    """The block asked for has not begun, and cannot yet. `opens_at` says when it can, where that is known."""

    code = "block-not-open"

    def __init__(self, message: str, opens_at: datetime | None = None) -> None:
        super().__init__(message)
        self.opens_at = opens_at


class BlockOverError(ConflictError):
    """The block asked for is past."""

    code = "block-over"


class PlantingPausedError(ConflictError):
    """An operator has paused planting. What is planted is worked and harvested as ever."""

    code = "planting-paused"


class ContractChangedError(ConflictError):
    """The KALE contract's code is another than this pool knows, and no operator has agreed to it."""

    code = "contract-changed"


class NetworkRestartedError(KalepoolError):
    """The network was started anew: what the database says of it is of the old one."""

    code = "network-restarted"


class FarmerLeavesError(ConflictError):
    """The farmer is leaving or has left: it is planted for no more, and everything goes to its payout wallet."""

    code = "farmer-leaves"
    fault = Fault.FARMER


@dataclass(frozen=True, slots=True)
class Failure:
    """What was not done for one farmer in one block, why, and whose fault it is."""

    block_index: int
    farmer_id: UUID
    code: str
    message: str
    fault: Fault

    @classmethod
    def of(cls, error: Exception, block_index: int, farmer_id: UUID) -> Failure:
        """`error` as a failure. One that was not raised on purpose is logged, and told without detail."""
        if isinstance(error, KalepoolError) and not isinstance(error, DatabaseError):
            return cls(block_index, farmer_id, error.code, str(error), error.fault)
        log.error("unexpected_failure", block=block_index, farmer=str(farmer_id), exc_info=error)
        return cls(block_index, farmer_id, "internal", "an error on our side; it is in the log", Fault.BACKEND)


@dataclass(frozen=True, slots=True)
class Refused:
    """A submission that did not become work. `hash` and `zeros` where it was hashed."""

    nonce: int
    failure: Failure
    hash: bytes | None = None
    zeros: int | None = None
