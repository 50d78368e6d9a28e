"""Faults, phases of a block, and in what order they are made: a cell is one fault in one phase."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import psutil

from tests.chaos.stage import Stage, StageError, family, wait_for

OUTAGE_SECONDS = 5.0
"""How long a fault lasts that is taken back; below the ten seconds within which a part is back."""

BACK_SECONDS = 30.0
"""A part that was killed runs again by then, or never will."""

WRONG_SECONDS = 30
"""How far a wrong clock is off."""

PHASES = {
    # Plants are under way.
    "planting": """SELECT max(block_index) FROM submission_items
        WHERE action = 'plant' AND status = 'open' AND block_index > %(after)s HAVING count(*) > 0""",
    # All are planted, none is worked.
    "searching": """SELECT p.block_index FROM plantings p
        WHERE p.outcome = 'planted' AND p.block_index > %(after)s
          AND NOT EXISTS (SELECT FROM submission_items i WHERE i.block_index = p.block_index AND i.action = 'work')
        GROUP BY 1 HAVING count(*) = %(farmers)s""",
    "working": """SELECT max(block_index) FROM submission_items
        WHERE action = 'work' AND status = 'open' AND block_index > %(after)s HAVING count(*) > 0""",
    # The block is over, and what it brought is on its way.
    "harvesting": """SELECT max(block_index) + 1 FROM submission_items
        WHERE action = 'harvest' AND status = 'open' AND block_index >= %(after)s HAVING count(*) > 0""",
}

Inflict = Callable[[Stage, random.Random], None]


@dataclass(frozen=True, slots=True)
class ChaosFault:
    """What is done, from its beginning until it is taken back, or until the pool has mended it. `ray`: needs a Ray."""

    name: str
    inflict: Inflict
    ray: bool = False
    clock: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    fault: ChaosFault
    phase: str

    @property
    def name(self) -> str:
        return f"{self.fault.name}/{self.phase}"


def killed(part: str) -> Inflict:
    """kill -9, and the wait until there is another."""

    def inflict(stage: Stage, rng: random.Random) -> None:
        process = stage.process(part)
        process.kill()
        if part == "devnet":
            time.sleep(rng.uniform(0.5, 2.0))
            stage.start_devnet()
            wait_for(lambda: _answers(stage), BACK_SECONDS)
        else:
            psutil.wait_procs([process], timeout=2.0)

    return inflict


def _answers(stage: Stage) -> bool:
    with contextlib.suppress(Exception):
        stage.mend()
        return True
    return False


def frozen(part: str) -> Inflict:
    """SIGSTOP to a part and all below it, and SIGCONT."""

    def inflict(stage: Stage, rng: random.Random) -> None:
        stopped = list(family(stage.process(part)))
        try:
            for process in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGSTOP)
            time.sleep(OUTAGE_SECONDS)
        finally:
            for process in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):  # killed, as one that hung
                    process.send_signal(signal.SIGCONT)

    return inflict


def server_does(kind: str, method: str = "", *, lasts: float = OUTAGE_SECONDS, seconds: float = 0.0) -> Inflict:
    """The RPC server does this to every request of a method ("": of all), for as long as it `lasts`."""

    def inflict(stage: Stage, rng: random.Random) -> None:
        stage.spoil(kind=kind, method=method, count=0, seconds=seconds)
        try:
            time.sleep(lasts)
        finally:
            stage.mend()

    return inflict


def clock_off(seconds: int) -> Inflict:
    def inflict(stage: Stage, rng: random.Random) -> None:
        stage.set_clock(seconds)
        try:
            time.sleep(OUTAGE_SECONDS)
        finally:
            stage.set_clock(0)

    return inflict


def two_coordinators(stage: Stage, rng: random.Random) -> None:
    """For a block's time."""
    second = stage.second_coordinator()
    time.sleep(stage.times.block)
    _end(second)


def frozen_beside_another(stage: Stage, rng: random.Random) -> None:
    """The coordinator that leads is frozen until long after another has taken over, and goes on then."""
    second = stage.second_coordinator()
    try:
        leads = stage.process("coordinator").pid
        if not wait_for(
            lambda: stage.ask("SELECT true FROM coordinators WHERE place LIKE %s", f"%/{second.pid}"), 15.0
        ):
            raise StageError("no second coordinator stands by")
        (fence,) = (row[0] for row in stage.ask("SELECT fence FROM coordinator_leases"))
        os.kill(leads, signal.SIGSTOP)
        try:
            time.sleep(2 * OUTAGE_SECONDS)
        finally:
            os.kill(leads, signal.SIGCONT)
        if not stage.ask("SELECT true FROM coordinator_leases WHERE fence > %s", fence):
            raise StageError("nobody took over from a coordinator that was frozen")
        time.sleep(1.0)
    finally:
        _end(second)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()


FAULTS = [
    *(ChaosFault(f"kill {part}", killed(part)) for part in ("api", "coordinator", "postgres", "devnet")),
    *(ChaosFault(f"freeze {part}", frozen(part)) for part in ("api", "coordinator", "postgres")),
    *(ChaosFault(f"kill {part}", killed(part), ray=True) for part in ("raylet", "worker")),
    ChaosFault("freeze raylet", frozen("raylet"), ray=True),
    ChaosFault("rpc hangs", server_does("hang")),
    ChaosFault("rpc drops", server_does("drop")),
    ChaosFault("rpc drops answers", server_does("drop_answer")),
    ChaosFault("rpc answers garbage", server_does("garbage")),
    ChaosFault("rpc cuts answers", server_does("cut")),
    ChaosFault("rpc unavailable", server_does("unavailable")),
    ChaosFault("rpc slow", server_does("delay", lasts=2 * OUTAGE_SECONDS, seconds=1.0)),
    ChaosFault("rpc does twice", server_does("duplicate", "sendTransaction")),
    ChaosFault("rpc lags", server_does("lag")),
    ChaosFault("rpc forgets", server_does("forget")),
    ChaosFault("rpc loses what is sent", server_does("lose")),
    ChaosFault("rpc denies transactions", server_does("lie", "getTransaction", lasts=2 * OUTAGE_SECONDS)),
    ChaosFault("rpc denies entries", server_does("lie", "getLedgerEntries")),
    ChaosFault("no ledger closes", server_does("stuck")),
    ChaosFault("clock ahead", clock_off(WRONG_SECONDS), clock=True),
    ChaosFault("clock behind", clock_off(-WRONG_SECONDS), clock=True),
    ChaosFault("two coordinators", two_coordinators),
    ChaosFault("freeze the leader beside another", frozen_beside_another),
]


def plan(seed: int, *, ray: bool, clock: bool, only: Sequence[str] = ()) -> Iterator[tuple[int, Cell]]:
    """Every cell, numbered from 1, in an order of the seed's, again and again. `only`: names of faults or cells.

    ValueError where there is none of these names.
    """
    cells = [
        Cell(fault, phase)
        for fault in FAULTS
        for phase in PHASES
        if (ray or not fault.ray) and (clock or not fault.clock)
    ]
    if only:
        cells = [cell for cell in cells if cell.name in only or cell.fault.name in only]
        if not cells:
            raise ValueError(f"no fault or cell is called {', '.join(only)}")
    rng, numbers = random.Random(seed), count(1)
    while True:
        rng.shuffle(cells)
        for cell in cells:
            yield next(numbers), cell


def wait_for_phase(stage: Stage, phase: str, after: int, seconds: float) -> int | None:
    """The block that is in that phase, once one after `after` is. None where none comes to it."""
    found: list[Any] = []

    def look() -> bool:
        found[:] = stage.ask(PHASES[phase].replace("%(farmers)s", str(stage.farmers)).replace("%(after)s", str(after)))
        return bool(found)

    return found[0][0] if wait_for(look, seconds, pause=0.05) else None
