"""What failed: whether another try can mend it, and how long the wait before it is.

Waits of the pool's own actions (plant, work, harvest). What a client that is refused waits is in api/limits.py, what
the chain's servers are given is in chain/.
"""

from __future__ import annotations

from kalepool.actions import ActionName
from kalepool.contract_errors import CONTRACT_ERRORS, ContractError
from kalepool.policy.snapshot import FailureState

RETRY_SECONDS = 1.0
"""Wait after a failure; it doubles with every further one, up to a ledger."""

SLOW_RETRY_LEDGERS = 4.0
"""Wait in ledgers before another plant of a farmer that cannot be planted until somebody mends it, and before another
look for a pail that was not there."""

HOPELESS = {
    ActionName.PLANT: frozenset({"pail-exists", "plant-amount-too-low"}),
    ActionName.WORK: frozenset({"pail-missing", "hash-invalid", "hash-mismatch", "block-over", "unknown-farmer"}),
    ActionName.HARVEST: frozenset({"pail-missing", "block-missing", "work-missing", "block-invalid"}),
}
"""Codes of failures that another try in the same block cannot mend. Everything else is retried."""

LEDGER_SAID_NO = (
    HOPELESS[ActionName.WORK]
    | {error.code for error in (ContractError, *CONTRACT_ERRORS.values())}
    | {"transaction-failed", "insufficient-balance", "trustline-missing", "asset-contract", "resource-limit"}
)
"""Codes of works that a ledger or the contract refused. Any other failure (no answer, no time, a fee, a part of our
own) says nothing of the stake: it may still be saved."""

UNFIT = frozenset({"asset-contract", "account-missing", "underfunded", "custody", "not-eligible"})
"""Codes of plants that fail until somebody mends what is wanting (a deposit, a key, a limit): retried slowly."""


UNCONFIRMED = frozenset({"absence-unconfirmed"})
"""Codes of harvests that wait for a second and third look: retried slowly."""


def may_retry(action: ActionName, failure: FailureState | None, index: int, time: float, ledger_seconds: float) -> bool:
    """Whether an action of block `index` that last failed so may be tried (again) at Unix time `time`."""
    if failure is None or failure.index != index:
        return True
    if failure.code in HOPELESS[action]:
        return False
    if (action == ActionName.PLANT and failure.code in UNFIT) or failure.code in UNCONFIRMED:
        return time >= failure.failed_at.timestamp() + SLOW_RETRY_LEDGERS * ledger_seconds
    wait = min(RETRY_SECONDS * 2.0 ** (failure.count - 1), max(ledger_seconds, RETRY_SECONDS))
    return time >= failure.failed_at.timestamp() + wait
