"""The coordinator's process: opens everything, runs the loops until it is told to end, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from kalepool import tracing
from kalepool.chain import ChainReader, Limits
from kalepool.cluster.fleet import StuckRayError, connect
from kalepool.cluster.members import Cluster, Fleet, FleetLostError, Member, WorkerError
from kalepool.cluster.messages import WorkerReport
from kalepool.config import Settings
from kalepool.coordinator.acting import Acting
from kalepool.coordinator.finds import Finds
from kalepool.coordinator.leadership import Leadership
from kalepool.coordinator.metrics import CoordinatorMetrics
from kalepool.coordinator.planner import Planner
from kalepool.coordinator.pool_api import ApiError, PoolApi
from kalepool.coordinator.state import CoordinatedFarmer, State
from kalepool.coordinator.watch import ChainWatch
from kalepool.coordinator.workers_table import WorkersTable
from kalepool.database import Database, new_id
from kalepool.errors import ChainError, ConfigError, DatabaseError, KalepoolError, NotLeadingError
from kalepool.fencing import fenced
from kalepool.heartbeat import beat
from kalepool.logins import Login
from kalepool.notices import FarmerNotice, ShareNotice, hear
from kalepool.policy.schedule import Plant, ScheduleSettings, Submit, decide, last_works, ledger_now
from kalepool.policy.submitters import DIRECT_LEDGERS, RELAYER_LEDGERS
from kalepool.policy.timing import blocks_per_day, living_blocks, urgent_blocks
from kalepool.protocol.model import Block
from kalepool.services.keys import Role, find_owner
from kalepool.services.owed import read_claims
from kalepool.tasks import end_tasks

TICK_SECONDS = 0.2  # between two decisions; less when something changed
RETRY_SECONDS = 1.0
RECONNECT_SECONDS = 5.0
STOP_SECONDS = 2.0  # for works under way when told to stop; `kalepool up` gives 3.5 for all of it
SAMPLE_SECONDS = 10.0
BEAT_SECONDS = 1.0
STUCK_SECONDS = 40.0  # a decision that takes longer hangs: whoever started this process is told no more that it works
CALL_MARGIN_SECONDS = 15.0  # what a call to the API may take beyond the API's own limit
NO_RAY = "none"

log = structlog.get_logger()


def main(settings: Settings) -> None:
    """Coordinate until SIGINT or SIGTERM. Raises KalepoolError where it cannot start."""
    try:
        asyncio.run(_until_signalled(settings))
    except ExceptionGroup as group:  # one loop failed, and took the others with it
        if stuck := group.subgroup(StuckRayError):
            log.error("coordinator_ended", reason=str(stuck.exceptions[0]))
            os._exit(1)  # at an orderly end Ray would have it wait for ever
        raise group.exceptions[0] from None


async def _until_signalled(settings: Settings) -> None:
    work = asyncio.current_task()
    assert work is not None
    stopping = asyncio.Event()

    def stop() -> None:
        if not stopping.is_set():
            stopping.set()
            work.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    starting = asyncio.create_task(_beat(lambda: True))
    try:
        async with coordinators(settings) as another:
            starting.cancel()
            while True:
                try:
                    await another().run()
                except NotLeadingError as error:  # it stands by from now on, and knows nothing of what it knew
                    if stopping.is_set():
                        break
                    log.warning("leadership_lost", reason=str(error))
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
        log.info("coordinator_ended")
    finally:
        starting.cancel()


async def _beat(works: Callable[[], bool]) -> None:
    """Tell whoever started this process that it works, for as long as it does."""
    while True:
        if works():
            beat()
        await asyncio.sleep(BEAT_SECONDS)


@contextlib.asynccontextmanager
async def coordinator(settings: Settings) -> AsyncIterator[Coordinator]:
    """A coordinator with all it needs opened, for the pooler whose key the settings hold."""
    async with coordinators(settings) as another:
        yield another()


@contextlib.asynccontextmanager
async def coordinators(settings: Settings) -> AsyncIterator[Callable[[], Coordinator]]:
    """Makes coordinators, for one leadership each, with all they need opened. Raises ConfigError."""
    if settings.api_key is None:
        raise ConfigError(
            "the coordinator needs its pooler's key: set KALEPOOL_API_KEY (`kalepool pooler add` makes one)"
        )
    if settings.database_url is None:
        raise ConfigError("the coordinator needs the database: set KALEPOOL_DATABASE_URL")
    key = settings.api_key.get_secret_value()
    longest = max(settings.plant_timeout_seconds, settings.work_timeout_seconds, settings.harvest_timeout_seconds)
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(settings.database_url.get_secret_value(), role=Login.COORDINATOR)
        )
        pooler_id = await _pooler_of(database, key)
        chain = await stack.enter_async_context(ChainReader.of(settings))
        api = await stack.enter_async_context(
            PoolApi(settings.own_api_url, key, pooler_id, timeout_seconds=longest + CALL_MARGIN_SECONDS)
        )
        yield lambda: Coordinator(settings, pooler_id, chain, database, api)


async def _pooler_of(database: Database, key: str) -> UUID:
    owner = await find_owner(database, key)
    if owner is None:
        raise ConfigError("KALEPOOL_API_KEY is not a key of this pool, or was revoked or expired")
    if owner.role != Role.POOLER or owner.subject_id is None:
        raise ConfigError(f"KALEPOOL_API_KEY is a key of the role {owner.role}; the coordinator needs a pooler's")
    return owner.subject_id


class Coordinator:
    """Reads, decides, acts, for one pooler, as long as it leads. Once it does not, it is of no use any more."""

    def __init__(
        self, settings: Settings, pooler_id: UUID, chain: ChainReader, database: Database, api: PoolApi
    ) -> None:
        network = settings.chain
        self.settings = settings
        self.pooler_id = pooler_id
        self.state = State(block_seconds=network.block_seconds, nominal_ledger_seconds=network.ledger_seconds)
        self.finds = Finds(self.state, database, pooler_id)
        self.cluster: Cluster | None = None
        self.leadership = Leadership(database, pooler_id, settings.coordinator_lease_seconds)
        self._chain = chain
        self._database = database
        self._api = api
        self._rules = rules_of(settings)
        self._day = blocks_per_day(network)
        self._living = 0  # blocks that a pail lives
        self._live_by(Limits())
        self.planner = Planner(settings, self.state, chain, database, pooler_id, self._day, self._rules)
        self._acting = Acting(
            self.state, api, self._now, works_per_call=settings.channel_accounts, on_change=self._wake
        )
        self._workers_table = WorkersTable(database)
        self._metrics = CoordinatorMetrics(self.state, self.finds, self.leadership)
        self._decided_at = time.monotonic()
        self._counted_index: int | None = None  # the block whose past works were counted
        self._recorded: set[tuple[int, str]] = set()  # of the attempts that were not answered
        self._changed = asyncio.Event()
        self._refresh = asyncio.Event()
        self._new_block = asyncio.Event()
        self._outlook_is_old = asyncio.Event()
        self._watch = ChainWatch(chain, self.state, self._saw, self._new_block.set)

    async def run(self, fleet: contextlib.AbstractAsyncContextManager[Fleet] | None = None) -> None:
        """Stands by until it leads, then leads until cancelled. fleet: where to search instead of the settings' Ray.

        Raises NotLeadingError once another has taken over.
        """
        log.info("coordinator_started", pooler=str(self.pooler_id), network=self.settings.chain.name)
        with self._metrics.served(self.settings.metrics_port):
            beating = asyncio.create_task(_beat(lambda: True))
            try:
                with fenced(await self.leadership.stand_by()):
                    await end_tasks([beating])
                    await self._lead(fleet)
            finally:
                await end_tasks([beating])
                with contextlib.suppress(DatabaseError):
                    await self.leadership.give_up()

    async def _lead(self, fleet: contextlib.AbstractAsyncContextManager[Fleet] | None) -> None:
        """What is done here, and by tasks begun here, is for this leadership: afterwards the database refuses it."""
        self._decided_at = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (
                    self.leadership.keep(),
                    self._watch.run(),
                    self._decide(),
                    self.finds.write(),
                    self._repeat(self._record_block, self._new_block),
                    self._repeat(self._read_database, self._refresh),
                    self._repeat(self._plan_ahead, self._outlook_is_old),
                    self._repeat(self._record_unanswered, asyncio.Event()),
                    self._hear_shares(),
                    self._hear_farmers(),
                    self._harvest_leftovers(),
                    self._search(fleet),
                    self._tell(),
                    _beat(lambda: time.monotonic() - self._decided_at < STUCK_SECONDS),
                ):
                    group.create_task(loop)
        except asyncio.CancelledError:
            await self._hand_in_what_there_is()
            raise
        except BaseExceptionGroup as group:
            lost = group.subgroup(NotLeadingError)
            if lost is None or group.subgroup(StuckRayError):
                raise
            raise NotLeadingError(str(lost.exceptions[0])) from None
        finally:
            await self._acting.stop()
            with contextlib.suppress(DatabaseError, NotLeadingError):
                await self._workers_table.write(None)

    async def _hand_in_what_there_is(self) -> None:
        """Told to stop: nobody knows for how long, and a stake whose work misses the block's end is lost."""
        snapshot = self.state.snapshot(0.0)
        works = last_works(snapshot) if snapshot else []
        if snapshot and works:
            log.info("works_handed_in_at_stop", works=len(works))
            self._acting.start(works, ledger_now(snapshot.chain, await self._now()))
        await self._acting.finish(STOP_SECONDS)

    async def _now(self) -> datetime:
        """The ledger's clock; our own while the chain cannot be read."""
        try:
            return await self._chain.now()
        except ChainError:
            return datetime.now(UTC)

    # What happened

    def _wake(self) -> None:
        self._changed.set()

    def _saw(self, is_other_block: bool) -> None:
        """The watch has looked at the chain."""
        if is_other_block:
            self._publish()  # at once: every worker's old job is worthless from now on
            self._new_block.set()
            self._refresh.set()
        self._wake()

    def _reported(self, member: Member, report: WorkerReport) -> None:
        self.finds.take(member, report)

    # What follows

    def _publish(self) -> None:
        job = self.state.job(self.cluster.hashes_per_second if self.cluster else 0.0)
        if self.cluster and job:
            self.cluster.publish(job)

    async def _decide(self) -> None:
        """Every tick: what is to be done now, and the workers' job."""
        while True:
            await _wait(self._changed, TICK_SECONDS)
            self._changed.clear()
            self._decided_at = time.monotonic()
            try:
                await self.leadership.confirm()  # it may have been frozen, for however long
                await self.finds.seed()
            except DatabaseError as error:
                log.debug("nothing_decided", reason=str(error))  # the other loops say so aloud
                continue
            finally:
                if self.state.job_is_old:
                    self._publish()
            now = await self._now()
            speed = self.cluster.hashes_per_second if self.cluster else 0.0
            self.planner.plan(now, speed)
            snapshot = self.state.snapshot(speed)
            if snapshot is None:
                continue
            actions = decide(snapshot, now, self._rules)
            if not self.state.recalled:  # after a restart, better shares may be known than those in memory
                actions = [action for action in actions if not isinstance(action, Submit)]
            if not self.planner.is_ready:
                actions = [action for action in actions if not isinstance(action, Plant)]
            if not self.state.knows_stakes:  # starting the next block loses those not saved
                actions = [a for a in actions if not isinstance(a, Plant) or a.index == self.state.index]
            if self.leadership.is_sure:  # since it was looked at, too
                self._acting.start(actions, ledger_now(snapshot.chain, now))

    async def _record_unanswered(self) -> None:
        """Attempts to work that the API did not answer: whose fault a lost stake is hangs on them."""
        state = self.state
        waiting = {key: left for key, left in state.unanswered.items() if key not in self._recorded}
        rows = [
            {
                "event_id": new_id(),
                "block_index": index,
                "pooler_id": self.pooler_id,
                "farmer_id": state.farmers[wallet].farmer_id,
                "seconds_left": left,
            }
            for (index, wallet), left in waiting.items()
            if wallet in state.farmers
        ]
        if rows:
            await self._database.execute_many("insert_unanswered_work", rows)
        self._recorded |= waiting.keys()
        old = {key for key in self._recorded if key[0] < (state.index or 0)}
        self._recorded -= old
        for key in old:
            state.unanswered.pop(key, None)

    async def _record_block(self) -> None:
        """What the database is to know of a block that began, and what it knows of it already."""
        state = self.state
        farm, previous = state.farm, state.previous_block if state.previous_is_final else None
        if farm is None or farm.block is None:
            return
        index = farm.index or 0
        # First its bounds: whoever deals jobs for an open block looks at them.
        await self._database.execute("upsert_block", **_columns(index, farm.block, farm.ledger, final=False))
        await self._database.execute(
            "open_block_operation",
            block_index=index,
            pooler_id=self.pooler_id,
            entropy=farm.block.entropy,
            started_at=_time(farm.block.timestamp),
        )
        await self.finds.recall()
        if previous is not None:
            await self._database.execute(
                "upsert_block",
                **_columns(index - 1, previous, farm.ledger, final=True, others=state.previous_others_staked),
            )
            self._outlook_is_old.set()
        if self._counted_index != index:
            if previous is not None and self._counted_index == index - 1:
                tracing.block_over(self.pooler_id, index - 1, _time(previous.timestamp))
            record = await self._database.fetch_one(
                "select_works_record", pooler_id=self.pooler_id, first=index - self._day, last=index - 1
            )
            assert record is not None
            state.works_due, state.works_lost = record["due"], record["lost"]
            state.saw_claims(await read_claims(self._database, index, self._day))
            self._counted_index = index
            with contextlib.suppress(ChainError):  # then as before
                self._live_by(await self._chain.read_limits())

    def _live_by(self, limits: Limits) -> None:
        """How long pails live, and from when on they are urgent."""
        network = self._chain.network
        self.state.nominal_ledger_seconds = network.ledger_seconds
        self._living = living_blocks(limits.temporary_ttl, network)
        urgent = urgent_blocks(limits.temporary_ttl, network)
        self._rules = dataclasses.replace(self._rules, urgent_harvest_blocks=urgent)

    async def _read_database(self) -> None:
        """Farmers, pails to harvest, and blocks that can be closed."""
        state = self.state
        farmers = await self._database.fetch_all(
            "select_coordinated_farmers", row=CoordinatedFarmer, pooler_id=self.pooler_id
        )
        state.saw_farmers(farmers)
        if farmers and not self.planner.is_ready:
            self._outlook_is_old.set()
        index = state.index
        if index is not None:
            rows = await self._database.fetch_all(
                "select_unharvested_pails", pooler_id=self.pooler_id, first=index - self._living, last=index - 1
            )
            state.saw_unharvested((row["block_index"], row["wallet"]) for row in rows)
            await self._database.execute("close_block_operations", pooler_id=self.pooler_id, block_index=index)
        self._wake()

    async def _plan_ahead(self) -> None:
        """What the next plan hangs on, once the farmers are known."""
        if self.state.farmers:
            await self.planner.refresh()
            self._wake()

    async def _harvest_leftovers(self) -> None:
        """Once: whatever the chain still holds of the last day, also what this database does not know."""
        while True:
            try:
                answer = await self._api.harvest(None)
                log.info("leftovers_harvested", pails=len(answer["harvested"]), failed=len(answer["failed"]))
                self._refresh.set()
                return
            except ApiError as error:
                log.info("leftover_harvest_waits", reason=str(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _search(self, fleet: contextlib.AbstractAsyncContextManager[Fleet] | None) -> None:
        """The workers, for as long as there is a Ray; found again when it was gone."""
        settings = self.settings
        if fleet is None and settings.ray_address == NO_RAY:
            return
        while True:
            pause = RECONNECT_SECONDS
            try:
                async with fleet or connect(
                    settings.ray_address, cpus=settings.ray_cpus, gpus=settings.ray_gpus
                ) as places:
                    self.cluster = self._metrics.cluster = Cluster(places, self.finds.next_serial, self._reported)
                    self._publish()
                    await self.cluster.run()
            except StuckRayError:
                raise  # another process can start another Ray
            except (ConfigError, WorkerError) as error:
                pause = 0.0 if isinstance(error, FleetLostError) else RECONNECT_SECONDS
                log.error("no_workers", reason=str(error), next_try_seconds=pause)
            except Exception as error:  # planting, works and harvests go on without workers of our own
                log.error("no_workers", reason=repr(error), next_try_seconds=pause, exc_info=error)
            finally:
                self.cluster = self._metrics.cluster = None
            await asyncio.sleep(pause)

    async def _tell(self) -> None:
        since_sample = 0.0
        while True:
            pause = self._workers_table.pause_seconds(self.cluster)
            await asyncio.sleep(pause)
            since_sample += pause
            try:
                await self._workers_table.write(self.cluster)
                if since_sample >= SAMPLE_SECONDS:
                    since_sample = 0.0
                    await self._workers_table.sample(self.cluster)
            except DatabaseError as error:
                log.debug("workers_not_written", reason=str(error))

    # How loops go on

    async def _repeat(self, step: Callable[[], Awaitable[Any]], cue: asyncio.Event) -> None:
        """Take the step now, whenever the cue is given, and every block's thirtieth part anyway."""
        pause = min(max(self.settings.chain.block_seconds / 30, 1.0), 10.0)
        while True:
            cue.clear()
            try:
                await step()
            except NotLeadingError:
                raise
            except KalepoolError as error:
                log.warning("database_not_read", step=step.__name__.strip("_"), reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                cue.set()
            await _wait(cue, pause)

    async def _hear_shares(self) -> None:
        async for notice in hear(self._database, ShareNotice):
            if notice:
                self.finds.heard(notice)
            else:
                self._new_block.set()  # read the block's shares again

    async def _hear_farmers(self) -> None:
        async for _ in hear(self._database, FarmerNotice):
            self._refresh.set()


def rules_of(settings: Settings) -> ScheduleSettings:
    """The schedule's numbers as the operator wants them; the others are the policy's."""
    return ScheduleSettings(
        works_per_ledger=settings.channel_accounts,
        landing_probability=settings.landing_probability,
        insurance=settings.insurance,
        relayer_ledgers=0 if settings.relayer_url is None else DIRECT_LEDGERS + RELAYER_LEDGERS[1],
    )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event, or so long.

    A cancellation that came with an answer, or as an error, may be lost on its way here: whoever goes on then never
    ends.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _time(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def _columns(index: int, block: Block, ledger: int, *, final: bool, others: int | None = None) -> dict[str, Any]:
    return {
        "others_staked": others,
        "block_index": index,
        "entropy": block.entropy,
        "started_at": _time(block.timestamp),
        "min_gap": block.min_gap,
        "max_gap": block.max_gap,
        "min_stake": block.min_stake,
        "max_stake": block.max_stake,
        "min_zeros": block.min_zeros,
        "max_zeros": block.max_zeros,
        "staked_total": block.staked_total,
        "normalized_total": block.normalized_total,
        "final": final,
        "ledger": ledger,
    }
