"""What goes into and comes out of the chain: plain data. Amounts are int stroops, times the ledger's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from kalepool.chain.destinations import Destination
from kalepool.errors import KalepoolError
from kalepool.protocol.model import TEMPORARY_TTL_LEDGERS, Block, Pail

BASE_RESERVE_STROOPS = 5_000_000
"""What an account must keep per entry it owns, and twice for itself."""

CLAIMABLE_RESERVE_STROOPS = 2 * BASE_RESERVE_STROOPS
"""What is locked of who puts KALE down for somebody until it is gone: for each of two claimants."""

MIN_FEE_STROOPS = 100
"""The network's minimum inclusion fee per operation."""


class Signer(Protocol):
    """A key that signs without showing itself: stellar_sdk's Keypair, or custody's."""

    @property
    def public_key(self) -> str: ...

    def sign(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Ledger:
    """A closed ledger: its number and its close time."""

    sequence: int
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class RpcHealth:
    """What the RPC server says of itself. `latency_seconds` is our round trip to it."""

    ledger: Ledger
    oldest_ledger: int
    latency_seconds: float


@dataclass(frozen=True, slots=True)
class Farm:
    """The KALE contract's state at one ledger.

    `index` is None where the contract was never set up; `block` is Block(index), None before the first plant ever and
    once it was evicted. `farm_block` collects the next block's bounds. `closed_at` is the ledger's, where known.
    `wasm` is the SHA-256 of the contract's code, in hex.
    """

    ledger: int
    closed_at: datetime | None
    index: int | None
    farm_block: Block | None
    block: Block | None
    paused: bool
    wasm: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An account and its KALE trustline.

    `spendable_stroops` is XLM beyond reserve and liabilities, 0 at least. `kale_stroops` is None without a trustline,
    and so is `kale_limit_stroops`, the most that it takes.
    """

    address: str
    sequence: int
    native_stroops: int
    spendable_stroops: int
    kale_stroops: int | None
    subentries: int
    kale_limit_stroops: int | None = None
    sponsoring: int = 0  # reserves it pays of others' entries
    sponsored: int = 0  # of its own reserves, those that another pays


@dataclass(frozen=True, slots=True)
class HeldAndPlanted:
    """Where somebody's KALE is, as of one ledger: in the wallet, and in pails by their blocks. `account`: None for a
    contract, and where there is none."""

    account: Account | None
    kale_stroops: int
    pails: Mapping[int, Pail]


@dataclass(frozen=True, slots=True)
class Receiver:
    """What the ledger says of where money is to go. A contract trusts KALE by itself, and wants no memo.

    `is_there`: it is on the ledger. `wants_memo`: it loses track of what is sent without (SEP-29).
    """

    is_there: bool
    trusts_kale: bool = True
    wants_memo: bool = False


@dataclass(frozen=True, slots=True)
class Payee:
    """What an account can be paid in KALE. `memo_required`: only with a memo, or by an M… address (SEP-29)."""

    exists: bool
    trusts: bool
    authorised: bool = False
    room_stroops: int = 0
    memo_required: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """KALE that is to be paid to somebody. `until`: it is put down to be claimed before then; None: it is paid."""

    to: Destination
    stroops: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FeeBids:
    """What was paid for inclusion in recent ledgers, in stroops: of contract calls per transaction, of classic ones per
    operation."""

    min: int
    p70: int
    p90: int
    p99: int
    max: int


@dataclass(frozen=True, slots=True)
class Fees:
    """Inclusion fees of the recent ledgers: contract calls and classic operations compete apart."""

    ledger: int
    contract: FeeBids
    classic: FeeBids


@dataclass(frozen=True, slots=True)
class Limits:
    """What one contract call may use. The defaults hold where the network's own settings cannot be read."""

    instructions: int = 100_000_000
    footprint_entries: int = 100
    write_entries: int = 50
    write_bytes: int = 132_096
    events_bytes: int = 16_384  # of the events emitted, with the return value
    temporary_ttl: int = TEMPORARY_TTL_LEDGERS  # ledgers that a new temporary entry lives, as Block and Pail
    ledger_seconds: float | None = None  # between two ledgers, as validators are to close them; None: it is not told


@dataclass(frozen=True, slots=True)
class Prepared:
    """A signed transaction that has not been sent. Journal it, then send it.

    `transaction_hash` is the hex hash of what is sent: the fee-bump's where there is one, and then `inner_hash` is the
    inner transaction's. `sequence` belongs to `source`. No ledger that closes after `valid_until` can take it.
    `ledger` is the one it was simulated against (0: none). `forecast` is the return value of the simulation.
    `payer` pays its fee, `max_fee_stroops` at most, of which `fee_bid_stroops` are the bid for `fee_operations`.

    `relayed_until`: until then it is left to the relayer, which wraps the inner transaction in a fee-bump of its own,
    and not sent directly. `transaction_hash` is the inner transaction's then: the one that is known before, whoever
    takes it to the network.
    """

    action: str
    source: str
    transaction_hash: str
    inner_hash: str | None
    envelope_xdr: str = field(repr=False)
    sequence: int
    valid_until: datetime
    ledger: int
    fee_bid_stroops: int
    function: str | None = None
    forecast: int | tuple[int, ...] | None = None
    payer: str = ""
    max_fee_stroops: int = 0
    fee_operations: int = 1
    relayed_until: datetime | None = None


class Status(StrEnum):
    """Where a transaction stands. All but `unknown` are final."""

    APPLIED = "applied"
    FAILED = "failed"  # refused when sent, or in a ledger without effect but its fee
    EXPIRED = "expired"  # its time bound passed and no ledger has it
    UNKNOWN = "unknown"  # it may still apply, or the RPC server cannot tell


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a transaction.

    `return_value`: of work the gap, of harvest the reward, of the tractor a tuple of rewards (0: not harvested, or a
    reward of 0), else None. `ledger` and `closed_at` are set where a ledger has it, also where it failed. `payer` paid
    its fee; None where that is not known.
    """

    transaction_hash: str
    status: Status
    ledger: int | None = None
    closed_at: datetime | None = None
    result_code: str | None = None
    error: KalepoolError | None = None
    return_value: int | tuple[int, ...] | None = None
    fee_stroops: int | None = None
    needed_bid: int = 0
    """Stroops per operation that it lacked, where it was refused for too low a fee."""
    payer: str | None = None


@dataclass(frozen=True, slots=True)
class HarvestPlan:
    """Pails packed into transactions: each batch is of one farmer. `refused` says of the others why not."""

    batches: tuple[tuple[tuple[str, int], ...], ...]
    refused: dict[tuple[str, int], KalepoolError]
