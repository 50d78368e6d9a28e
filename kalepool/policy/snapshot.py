"""What the schedule looks at: plain data about the chain, the farmers and what is under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kalepool.policy.planting import PlantingPlan
from kalepool.policy.price_gate import UNPRICED, PriceGate
from kalepool.protocol.model import Block, Pail


@dataclass(frozen=True, slots=True)
class ChainState:
    """The chain as last read. `index`, `farm_block` and `block` are None where the contract has none.

    `ledger_seconds` is the measured mean time between ledgers, `block_seconds` the contract's interval.
    `previous_block` is Block(index - 1) at its end, where it is known: it tells how many take part.
    """

    ledger: int
    ledger_closed_at: datetime
    index: int | None
    farm_block: Block | None
    block: Block | None
    paused: bool
    ledger_seconds: float
    block_seconds: float
    previous_block: Block | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A share of a farmer in the current block, verified."""

    zeros: int
    nonce: int


@dataclass(frozen=True, slots=True)
class FailureState:
    """The last of `count` failures in a row of one action in block `index`. `code` is that of the error."""

    index: int
    code: str
    failed_at: datetime
    count: int


@dataclass(frozen=True, slots=True)
class FarmerState:
    """A farmer in the current block.

    `may_plant`: active; whether a plant succeeds is for a try to tell. `plants_itself`: the pool does not, and what its
    work costs was agreed on. `pail`: that of the current index. `shares`:
    every record so far, zeros strictly increasing. `planting` and `working`: such a submission is in flight.
    """

    farmer: str
    may_plant: bool = True
    plants_itself: bool = False
    pail: Pail | None = None
    shares: tuple[Found, ...] = ()
    planting: bool = False
    working: bool = False
    plant_failure: FailureState | None = None
    work_failure: FailureState | None = None

    @property
    def is_unsaved(self) -> bool:
        """Planted and not worked: its stake is lost if that stays so."""
        return self.pail is not None and self.pail.zeros is None


@dataclass(frozen=True, slots=True)
class HarvestState:
    """A worked pail of a past block that is not harvested."""

    index: int
    farmer: str
    harvesting: bool = False
    failure: FailureState | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that `schedule.decide` knows.

    `farmers`: in the order of their turns. `hashes_per_second`: the pool's search speed. `inclusion_ledgers`: of the
    last few hundred calls that sent works, the last ledger that included one minus `ledger_now` when it was decided:
    works of one call wait for the same things. Of a call whose works came too late, one more than the ledgers it had.
    `works_due`, `works_lost`: pails of late that had to be worked, and those of them that were not in time. `plan`:
    what is meant for the block to plant in; of another block, or without one, everybody is planted. `gate`: what fees
    and KALE are worth."""

    chain: ChainState
    farmers: Sequence[FarmerState] = ()
    harvests: Sequence[HarvestState] = ()
    hashes_per_second: float = 0.0
    inclusion_ledgers: Sequence[int] = ()
    works_due: int = 0
    works_lost: int = 0
    plan: PlantingPlan | None = None
    gate: PriceGate = UNPRICED
