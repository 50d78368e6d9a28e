"""Every error kalepool raises on purpose, drawn as one tree.

    KalepoolError
    ├── ConfigError                a setting is missing or wrong
    ├── InputError                 a caller's value is wrong (4xx at the API)
    │   └── NotFoundError, ConflictError (NotLeadingError), ForbiddenError
    ├── CustodyError               a key cannot be made, opened or used
    ├── DatabaseError              the database refused something, or its schema is not ours
    │   ├── DatabaseUnavailableError  it does not answer now: try again later
    │   │   └── DatabaseFullError         it cannot write: its disk is full
    │   └── DuplicateRowError         a unique constraint said no
    └── ChainError                 something about the chain
        ├── RpcUnavailableError    no usable answer from the RPC server
        │   └── HistoryGoneError      its memory does not reach back so far
    │       └── TransactionLostError  nor has it what a ledger took since
        ├── AccountMissingError    an account does not exist on the ledger
        ├── FeeTooHighError        the network asks for more than the cap
        ├── DeadlinePassedError    no time left to try again before the block is over
        ├── TransactionFailedError the network refused or failed a transaction
        │   ├── FootprintStaleError   simulated against one block, applied in another
        │   ├── BadSequenceError, TransactionExpiredError
        │   └── InsufficientBalanceError, TrustlineMissingError, FeeUnpaidError
        ├── ResourceLimitError     more than one transaction may use
        ├── NothingHarvestableError the tractor found no pail it could harvest
        ├── ContractError          the KALE contract said no: one class per code, in contract_errors.py
        └── AssetContractError     the KALE asset's own contract said no

`code` is stable and machine-readable; `fault` says who owes what when a stake is lost through it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Whose fault a failure is. The party at fault owes compensation for a lost stake."""

    POOLER = "pooler"
    BACKEND = "backend"
    FARMER = "farmer"
    NETWORK = "network"


class KalepoolError(Exception):
    """Base of all. The message names what was wrong, with what value, and what to do.

    One that people read on a page is a `mark` with `names` that stand in it: kalepool/view/reasons.py tells it in the
    reader's language. `text` and `names` are kept for that; any other message is told by its `code`.
    """

    code: ClassVar[str] = "error"
    fault: ClassVar[Fault] = Fault.BACKEND

    def __init__(self, text: str = "", /, **names: object) -> None:
        super().__init__(text % names if names else text)
        self.text, self.names = text, names


class ConfigError(KalepoolError):
    """A setting is missing, malformed, or contradicts another."""

    code = "config"


class InputError(KalepoolError):
    """A value given by a caller is wrong."""

    code = "invalid-input"
    fault = Fault.POOLER


class NotFoundError(InputError):
    """The thing named does not exist, or is not the caller's to see."""

    code = "not-found"


class ConflictError(InputError):
    """The request contradicts the present state."""

    code = "conflict"


class NotLeadingError(ConflictError):
    """A coordinator's leadership is over: another has taken over, and nothing is written or sent for this one."""

    code = "not-leading"
    fault = Fault.BACKEND


class ForbiddenError(InputError):
    """The caller may not do this."""

    code = "forbidden"


class CustodyError(KalepoolError):
    """A key cannot be made, opened or used. Never carries the key."""

    code = "custody"


class DatabaseError(KalepoolError):
    """The database refused something, or its schema is not the one this version needs."""

    code = "database"


class DatabaseUnavailableError(DatabaseError):
    """The database does not answer, or broke off. A transaction that was open is undone. Try again later."""

    code = "database-unavailable"


class DatabaseFullError(DatabaseUnavailableError):
    """The database answers and cannot write: its disk, or what it may use of that, is full."""

    code = "database-full"


class DuplicateRowError(DatabaseError):
    """A row like this exists. `constraint` names the unique constraint or index that said so."""

    code = "duplicate"

    def __init__(self, message: str, *, constraint: str) -> None:
        super().__init__(message)
        self.constraint = constraint


class ChainError(KalepoolError):
    """Something about the chain."""

    code = "chain"
    fault = Fault.NETWORK


class RpcUnavailableError(ChainError):
    """The RPC server gave no usable answer. Nothing is known about the request's effect."""

    code = "rpc-unavailable"


class HistoryGoneError(RpcUnavailableError):
    """The RPC server's memory does not reach back to a transaction's life: asking it again tells nothing either."""

    code = "history-gone"


class TransactionLostError(HistoryGoneError):
    """The RPC server does not know a transaction whose sequence number was used up: only the ledger can tell."""

    code = "transaction-lost"


class AccountMissingError(ChainError):
    """An account does not exist on the ledger: it was never funded, or was merged away."""

    code = "account-missing"
    fault = Fault.FARMER


class FeeTooHighError(ChainError):
    """The network asks for a higher fee than the configured cap."""

    code = "fee-too-high"


class DeadlinePassedError(ChainError):
    """There is no time left to try again before the block is over."""

    code = "deadline-passed"


class TransactionFailedError(ChainError):
    """The network refused a transaction, or it was applied and failed. `result_code` is Stellar's, as txBAD_AUTH."""

    code = "transaction-failed"

    def __init__(self, message: str, *, result_code: str, transaction_hash: str | None = None) -> None:
        super().__init__(message)
        self.result_code = result_code
        self.transaction_hash = transaction_hash


class FootprintStaleError(TransactionFailedError):
    """Simulated against one block and applied in another: its footprint named the wrong keys. Simulate again."""

    code = "footprint-stale"


class BadSequenceError(TransactionFailedError):
    """The source account's sequence number has moved on. Read it again."""

    code = "bad-sequence"


class TransactionExpiredError(TransactionFailedError):
    """No ledger took the transaction within its time bound. It can never apply any more; it may be built anew."""

    code = "transaction-expired"


class InsufficientBalanceError(TransactionFailedError):
    """An account has too little for the payment, or would fall below its reserve."""

    code = "insufficient-balance"
    fault = Fault.FARMER


class TrustlineMissingError(TransactionFailedError):
    """An account has no trustline for the asset, or it is full or not authorised."""

    code = "trustline-missing"
    fault = Fault.FARMER


class FeeUnpaidError(TransactionFailedError):
    """The account that pays the fee cannot: fund the pool's account or the channel."""

    code = "fee-unpaid"
    fault = Fault.BACKEND


class ResourceLimitError(ChainError):
    """A call needs more instructions, entries or bytes than the network allows one transaction: split it."""

    code = "resource-limit"
    fault = Fault.BACKEND


class NothingHarvestableError(ChainError):
    """The tractor harvested none of the pails it was given."""

    code = "nothing-harvestable"
    fault = Fault.BACKEND


class AssetContractError(ChainError):
    """The KALE asset's own contract refused, with numbers of its own (10: balance too low, 13: no trustline)."""

    code = "asset-contract"
    fault = Fault.FARMER

    def __init__(self, number: int, message: str = "") -> None:
        meaning = {10: "balance too low", 13: "no trustline"}.get(number, "refused")
        super().__init__(message or f"the KALE asset contract said #{number}: {meaning}")
        self.number = number
