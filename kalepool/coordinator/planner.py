"""Plans each block before it is planted: reads what the plan hangs on, asks the policy, and writes down what is
meant."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from kalepool import tracing
from kalepool.actions import ActionName
from kalepool.chain import ChainReader
from kalepool.config import Settings
from kalepool.coordinator.state import State
from kalepool.database import Database, first_id
from kalepool.errors import ChainError
from kalepool.policy.foresight import PastBlock, Rivals
from kalepool.policy.planting import PlantingPlan, PlantingQuestion, budget_left, plan_block
from kalepool.policy.price_gate import PRIOR_FEES, PailFees, PriceGate, step_towards
from kalepool.policy.schedule import ScheduleSettings, miss_probability
from kalepool.policy.submitters import expected_fee
from kalepool.protocol.lifecycle import new_block
from kalepool.protocol.model import ZERO_ENTROPY, Block, Pail
from kalepool.protocol.rewards import block_reward
from kalepool.units import STROOPS
from kalepool.view.sitting_out import in_words

PRIOR_PAILS = 20
"""How many pails the assumed fees weigh as much as, beside those in the journal."""

RELAYED_BLOCKS = 12
"""Over how many blocks is looked back for what a relayer carried: an hour, on the public networks."""

SEARCH_PART = 0.93
"""The part of a block that is over when its works leave."""

AGAIN_SECONDS = 10.0
"""A plan of which nothing is planted yet is made anew when it is older: prices and budgets change."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a plan hangs on besides the block: as read last. `ceilings` by wallet, in stroops."""

    past: Sequence[PastBlock]
    gate: PriceGate
    ceilings: dict[str, int]
    hashes_per_second: float
    budget_stroops: int | None


class Planner:
    """`day`: how many blocks are looked back on."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        chain: ChainReader,
        database: Database,
        pooler_id: UUID,
        day: int,
        rules: ScheduleSettings,
    ) -> None:
        self._settings, self._state, self._chain, self._database = settings, state, chain, database
        self._pooler_id, self._day, self._rules = pooler_id, day, rules
        self._outlook: Outlook | None = None
        self._planned_at = 0.0
        self._written: PlantingPlan | None = None
        self._price: float | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is anything to plan by: before, nothing is to be planted."""
        return self._outlook is not None

    # Reading

    async def refresh(self) -> None:
        """Reads again what plans hang on, and writes the last plan. Raises DatabaseError, ChainError."""
        await self._write()
        index = self._state.index
        past = await self._database.fetch_all(
            "select_past_blocks", pooler_id=self._pooler_id, first=(index or 0) - self._day, last=index or 0
        )
        now = datetime.now(UTC)
        since = first_id(now - timedelta(days=1))
        recent = first_id(now - timedelta(seconds=RELAYED_BLOCKS * self._settings.chain.block_seconds))
        rows = await self._database.fetch_all("select_pail_fees", since=since, recent=recent)
        fees = {row["action"]: row for row in rows}
        power = await self._database.fetch_one("select_power")
        has_relayer = self._settings.relayer_url is not None
        gate = PriceGate(pail_fees(fees, has_relayer=has_relayer), await self._read_price())
        self._state.gate = gate
        self._outlook = Outlook(
            past=[past_block(row) for row in past],
            gate=gate,
            ceilings=await self._read_ceilings(),
            hashes_per_second=float(power["hashes_per_second"]) if power else 0.0,
            budget_stroops=self._left(sum(int(row["fee_stroops"]) for row in fees.values()), gate.fees),
        )

    async def _read_price(self) -> float | None:
        settings = self._settings
        if settings.kale_price_xlm != "pool":
            self._price = settings.kale_price_xlm
            return self._price
        try:
            found = await self._chain.read_kale_price()
        except ChainError as error:
            log.warning("kale_price_not_read", reason=str(error))
            return self._price
        if found is None:
            log.warning("kale_price_not_read", reason="the chain has no liquidity pool of KALE and XLM")
            return self._price
        floor, ceiling = settings.kale_price_floor_xlm, settings.kale_price_ceiling_xlm
        self._price = step_towards(self._price, min(max(found, floor), ceiling))
        return self._price

    async def _read_ceilings(self) -> dict[str, int]:
        """The most that each farmer stakes, in the order of their turns."""
        farmers = [farmer for farmer in self._state.farmers.values() if farmer.may_plant]
        accounts = await self._chain.read_accounts([farmer.wallet for farmer in farmers])
        most = self._settings.stake_most_stroops
        found: dict[str, int] = {}
        for farmer in farmers:
            account = accounts.get(farmer.wallet)
            held = (account.kale_stroops or 0) if account else 0
            found[farmer.wallet] = farmer.stake_of(held, most)
        return found

    def _left(self, spent_stroops: int, fees: PailFees) -> int | None:
        """XLM in stroops that plants may still cost today. None without a budget."""
        if self._settings.xlm_per_day is None:
            return None
        unworked = sum(pail.zeros is None for pail in self._state.pails.values())
        unharvested = unworked + len(self._state.harvests)
        return budget_left(round(self._settings.xlm_per_day * STROOPS), spent_stroops, unworked, unharvested, fees)

    # Planning

    def plan(self, now: datetime, hashes_per_second: float) -> None:
        """Has the state hold a plan for the block that is to be planted now. Without an outlook, none."""
        state, outlook = self._state, self._outlook
        target = self._target(now)
        if outlook is None or target is None:
            return
        index, block, seconds = target
        old = state.plan
        if old is not None and old.index == index and not self._may_change(old):
            return
        ceilings = [outlook.ceilings.get(wallet, 0) for wallet, farmer in state.farmers.items() if farmer.may_plant]
        with tracing.block(self._pooler_id, index), tracing.span("plan", block=index) as planning:
            state.plan = plan_block(
                PlantingQuestion(
                    index=index,
                    block=block,
                    ceilings=ceilings,
                    rivals=Rivals.foresee(outlook.past, block),
                    gate=outlook.gate,
                    hashes=max(hashes_per_second, outlook.hashes_per_second) * seconds * SEARCH_PART,
                    miss=miss_probability(state.works_due, state.works_lost, self._rules),
                    pot=block_reward(index),
                    budget_stroops=outlook.budget_stroops,
                )
            )
            planning.note(farmers=state.plan.farmers, places=state.plan.places, reason=in_words(state.plan))
        self._planned_at = time.monotonic()
        state.job_is_old = True
        if old is None or old.index != index or in_words(old) != in_words(state.plan):
            log.info("block_planned", **{**asdict(state.plan), "reason": in_words(state.plan)})

    def _may_change(self, plan: PlantingPlan) -> bool:
        """Until something is planted by it: others may have joined, and prices moved."""
        state = self._state
        begun = plan.index in state.planting.values() or plan.index in state.awaited.values()
        if begun or (plan.index == state.index and state.pails):
            return False
        others = sum(farmer.may_plant for farmer in state.farmers.values())
        return plan.farmers != others or time.monotonic() - self._planned_at > AGAIN_SECONDS

    def _target(self, now: datetime) -> tuple[int, Block, float] | None:
        """The block to plant in now, with its bounds, and the seconds left in it; as the schedule chooses it."""
        farm = self._state.farm
        if farm is None or farm.farm_block is None:
            return None
        seconds = self._settings.chain.block_seconds
        over = now.timestamp() - farm.farm_block.timestamp - seconds + self._rules.plant_lead_seconds
        index = farm.index or 0
        if over < 0 and farm.block is not None:
            return index, farm.block, -over
        follows = index + 1 if over >= 0 or index > 0 else index
        return follows, new_block(farm.farm_block, farm.farm_block.timestamp), float(seconds)

    async def _write(self) -> None:
        plan = self._state.plan
        if plan is None or plan == self._written:
            return
        columns: dict[str, Any] = asdict(plan)
        columns["block_index"], columns["price_xlm"] = columns.pop("index"), columns.pop("price")
        await self._database.execute("upsert_block_plan", pooler_id=self._pooler_id, **columns)
        self._written = plan


def pail_fees(rows: dict[str, dict[str, Any]], *, has_relayer: bool = False) -> PailFees:
    """What the journal says that each action cost per pail, failed tries among it, with what was assumed before; less
    by what a relayer carries."""

    def mean(action: ActionName, prior: int) -> int:
        row = rows.get(action) or {"fee_stroops": 0, "pails": 0, "direct": 0, "relayed": 0}
        sent = round((PRIOR_PAILS * prior + int(row["fee_stroops"])) / (PRIOR_PAILS + int(row["pails"])))
        return expected_fee(sent, direct=int(row["direct"]), relayed=int(row["relayed"]), has_relayer=has_relayer)

    return PailFees(
        plant=mean(ActionName.PLANT, PRIOR_FEES.plant),
        work=mean(ActionName.WORK, PRIOR_FEES.work),
        harvest=mean(ActionName.HARVEST, PRIOR_FEES.harvest),
    )


def past_block(row: dict[str, Any]) -> PastBlock:
    """From the database's words."""
    block = Block(
        timestamp=int(row["started_at"].timestamp()),
        min_gap=row["min_gap"],
        min_stake=int(row["min_stake_stroops"]),
        min_zeros=row["min_zeros"],
        max_gap=row["max_gap"],
        max_stake=int(row["max_stake_stroops"]),
        max_zeros=row["max_zeros"],
        entropy=ZERO_ENTROPY,
        staked_total=int(row["staked_total_stroops"]),
        normalized_total=int(row["normalized_total"]),
    )
    pails: Sequence[Pail] = [
        Pail(0, gap, int(stake), zeros)
        for stake, gap, zeros in zip(row["stakes"] or (), row["gaps"] or (), row["zeros"] or (), strict=True)
    ]
    others = row["others_staked_stroops"]
    return PastBlock(block, pails, None if others is None else int(others))
