"""Carries out what the policy decided, through the pool's API. Marks what is in flight before it returns."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.coordinator.pool_api import ApiError, PoolApi
from kalepool.coordinator.state import State
from kalepool.policy.schedule import Action, Harvest, Plant, Submit
from kalepool.protocol.model import Pail
from kalepool.tasks import end_tasks

HARVEST_TARGETS = 200  # pails asked for in one call

TOO_LATE = frozenset({"block-over", "deadline-passed", "timeout", "in-flight", "transaction-expired"})
"""Refusals of works that were not included for as long as they were tried. That our own API or the RPC server does not
answer is none: it says nothing of ledgers."""
MAYBE_OVER = frozenset({"pail-missing", "hash-invalid"})  # so the next block refuses works of the one before

PAUSED = "planting-paused"
"""An operator paused planting: no failure."""

log = structlog.get_logger()


class Acting:
    """works_per_call: how many works one call hands in; the API carries that many at a time.

    on_change: called after every answer.
    """

    def __init__(
        self,
        state: State,
        api: PoolApi,
        clock: Callable[[], Awaitable[datetime]],
        *,
        works_per_call: int,
        on_change: Callable[[], None],
    ) -> None:
        self._state = state
        self._api = api
        self._clock = clock
        self._works_per_call = works_per_call
        self._on_change = on_change
        self._calls: set[asyncio.Task[None]] = set()
        self._said_paused = False

    def start(self, actions: Sequence[Action], ledger: int) -> None:
        """Begin all of these; their answers arrive in the state. `ledger`: the one they were decided in."""
        works: dict[tuple[int, str], list[Submit]] = defaultdict(list)
        for action in actions:
            match action:
                case Plant(index, farmers, places, stake):
                    if index not in self._state.planting.values():
                        self._state.planting.update(dict.fromkeys(farmers, index))
                        self._run(self._plant(index, farmers, places, stake))
                case Submit(index, _, _, _, reason):
                    works[index, reason].append(action)
                case Harvest(targets):
                    for part in _parts(targets, HARVEST_TARGETS):
                        self._state.harvesting.update(part)
                        self._run(self._harvest(part))
        for (index, reason), submits in works.items():
            for part in _parts(submits, self._works_per_call):
                self._state.working.update((index, submit.farmer) for submit in part)
                self._run(self._work(index, reason, part, ledger))

    async def finish(self, seconds: float) -> None:
        """Wait so long for the calls under way."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=seconds)

    async def stop(self) -> None:
        await end_tasks(self._calls)

    def _run(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _plant(self, index: int, wallets: Sequence[str], places: int | None, stake: int | None) -> None:
        state = self._state
        try:
            answer = await self._api.plant(index, places, stake)
            missing = set(wallets)
            for planted in answer["planted"]:
                wallet = str(planted["custodial_wallet"])
                ledger = planted["ledger"] or (state.ledgers[-1].sequence if state.ledgers else 0)
                state.planted(wallet, index, Pail(ledger, None, int(planted["stake_stroops"]), None))
                missing.discard(wallet)
            now = await self._clock()
            for failed in answer["failed"]:
                if wallet := self._wallet(failed["farmer_id"]):
                    state.failed(ActionName.PLANT, wallet, index, failed["code"], now)
                    missing.discard(wallet)
            full = places is not None and len(answer["planted"]) >= places
            for wallet in missing:  # beyond the plan's or the pooler's limit, or no longer active
                if full:
                    state.sits_out(wallet, index)
                    continue
                state.failed(ActionName.PLANT, wallet, index, "not-eligible", now)
            self._said_paused = False
            log.info("planted", block=index, **_counts(answer, "planted", "failed"))
        except Exception as error:
            await self._failed(ActionName.PLANT, ((index, wallet) for wallet in wallets), error)
        finally:
            for wallet in wallets:
                if state.planting.get(wallet) == index:  # else the next block's plant has begun meanwhile
                    del state.planting[wallet]
            self._on_change()

    async def _work(self, index: int, reason: str, submits: Sequence[Submit], ledger: int) -> None:
        state = self._state
        targets = [(index, submit.farmer) for submit in submits]
        left = state.ledgers_left(ledger)
        try:
            answer = await self._api.work(
                index, [(state.farmers[submit.farmer].farmer_id, submit.nonce) for submit in submits]
            )
            for accepted in answer["accepted"]:
                if wallet := self._wallet(accepted["farmer_id"]):
                    state.worked(wallet, index, int(accepted["zeros"]), int(accepted["gap"]))
            now = await self._clock()
            landed = [int(a["ledger"]) - ledger for a in answer["accepted"] if a["ledger"] and not a["already"]]
            landed += self._too_late(index, {refused["code"] for refused in answer["refused"]}, ledger, left, now)
            if landed:
                state.inclusion_ledgers.append(max(landed))
            for refused in answer["refused"]:
                if wallet := self._wallet(refused["farmer_id"]):
                    state.failed(ActionName.WORK, wallet, index, refused["code"], now)
            log.info("worked", block=index, reason=reason, **_counts(answer, "accepted", "refused"))
        except Exception as error:
            if isinstance(error, ApiError):
                now = await self._clock()
                state.inclusion_ledgers.extend(self._too_late(index, {error.problem_code}, ledger, left, now))
                if error.problem_code == "api-unavailable" and index == state.index:
                    for target in targets:
                        state.unanswered.setdefault(target, left * state.ledger_seconds)
            await self._failed(ActionName.WORK, targets, error)
        finally:
            state.working.difference_update(targets)
            self._on_change()

    def _too_late(self, index: int, codes: set[str], ledger: int, left: int, now: datetime) -> list[int]:
        """The least number of ledgers that a call with these refusals would have taken, if they tell it.

        Were only works counted that landed, slow ledgers would look quick: those that take the slow ones' works are not
        seen. ledger, left: when the call was decided, and how many the block had left then.
        """
        passed = self._state.ledger_at(now) - ledger
        is_over = "block-over" in codes or index != self._state.index
        if is_over:
            passed = min(passed, left)
        late = codes & (TOO_LATE | MAYBE_OVER if is_over else TOO_LATE)
        return [passed + 1] if late and passed > 0 else []

    async def _harvest(self, targets: Sequence[tuple[int, str]]) -> None:
        state = self._state
        try:
            answer = await self._api.harvest((index, state.farmers[wallet].farmer_id) for index, wallet in targets)
            for harvested in answer["harvested"]:
                if wallet := self._wallet(harvested["farmer_id"]):
                    state.harvests.discard((harvested["block_index"], wallet))
            now = await self._clock()
            for failed in answer["failed"]:
                if wallet := self._wallet(failed["farmer_id"]):
                    state.failed(ActionName.HARVEST, wallet, failed["block_index"], failed["code"], now)
            log.info("harvested", **_counts(answer, "harvested", "failed"))
        except Exception as error:
            await self._failed(ActionName.HARVEST, targets, error)
        finally:
            state.harvesting.difference_update(targets)
            self._on_change()

    def _wallet(self, farmer_id: str) -> str | None:
        """Of a farmer as the API names it; None where it takes part no more."""
        farmer = self._state.by_id.get(UUID(farmer_id))
        return farmer.wallet if farmer else None

    async def _failed(self, action: ActionName, targets: Iterable[tuple[int, str]], error: Exception) -> None:
        """A call failed as a whole; each of its targets may be tried again after a while."""
        if isinstance(error, ApiError) and error.problem_code == PAUSED:
            code = PAUSED  # it is asked again and again, as nothing else tells when it goes on
            if not self._said_paused:
                self._said_paused = True
                log.info("planting_paused", block=self._state.index)
        elif isinstance(error, ApiError):
            code = error.problem_code
            log.warning(f"{action}_failed", reason=str(error))
        else:  # an answer unlike what the API promises: it must not be asked again at once either
            code = "unexpected"
            log.error(f"{action}_failed", exc_info=error)
        now = await self._clock()
        for index, wallet in targets:
            self._state.failed(action, wallet, index, code, now)


def _counts(answer: dict[str, Any], *lists: str) -> dict[str, Any]:
    """How many of each for the log, and why the failed ones failed."""
    codes = sorted({entry["code"] for name in lists for entry in answer[name] if "code" in entry})
    return {name: len(answer[name]) for name in lists} | ({"codes": codes} if codes else {})


def _parts(items: Sequence[Any], size: int) -> list[tuple[Any, ...]]:
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
