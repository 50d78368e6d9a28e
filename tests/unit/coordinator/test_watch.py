"""What the watch makes of a chain that is played."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from kalepool.chain import ChainReader, Farm, Ledger
from kalepool.coordinator import watch as watch_module
from kalepool.coordinator.state import State
from kalepool.coordinator.watch import ChainWatch
from kalepool.errors import RpcUnavailableError
from kalepool.protocol.model import Block

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 22, tzinfo=UTC)
BLOCK = Block(int(NOW.timestamp()), 0, 0, 0, 10, 0, 6, bytes([7]) * 32, 0, 10)
LEDGER_SECONDS = 0.01


class Played:
    """A chain: a ledger whenever one is asked for, block `index` begun, the blocks before it as they ended."""

    def __init__(self) -> None:
        self.ledger = 100
        self.index = 7
        self.ended: dict[int, Block] = {}
        self.answers = True
        self.reads_of_ended = 0

    async def next_ledger(self, _: int, __: float) -> Ledger:
        await asyncio.sleep(LEDGER_SECONDS)
        self.ledger += 1
        return Ledger(self.ledger, NOW + timedelta(seconds=self.ledger * LEDGER_SECONDS))

    async def read_farm(self) -> Farm:
        block = replace(BLOCK, entropy=bytes([self.index]) * 32)
        return Farm(self.ledger, None, self.index, block, block, False)

    async def read_blocks(self, indexes: Iterable[int]) -> dict[int, Block]:
        self.reads_of_ended += 1
        if not self.answers:
            raise RpcUnavailableError("no answer")
        return {index: self.ended[index] for index in indexes if index in self.ended}

    async def read_pails(self, _: object) -> dict:
        return {}


@contextlib.asynccontextmanager
async def watching(chain: Played, state: State, told: list[Block | None]) -> AsyncIterator[None]:
    watch = ChainWatch(cast(ChainReader, chain), state, lambda _: None, lambda: told.append(state.previous_block))
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_the_last_block_is_final_only_when_it_was_read_as_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "RETRY_SECONDS", 0.01)
    chain, told = Played(), []
    state = State(block_seconds=300, nominal_ledger_seconds=LEDGER_SECONDS)
    async with watching(chain, state, told), asyncio.timeout(30):
        await until(lambda: bool(told))
        assert told == [None]  # evicted: there is nothing to read, and it is not asked for again
        chain.answers, chain.index = False, 8
        chain.ended[7] = replace(BLOCK, normalized_total=99)  # a work landed after the last look at it
        before = chain.reads_of_ended
        await until(lambda: chain.reads_of_ended >= before + 3)  # it is tried again
        assert state.index == 8 and state.previous_block is not None
        assert not state.previous_is_final and len(told) == 1
        chain.answers = True
        await until(lambda: state.previous_is_final)
        assert told[1:] == [chain.ended[7]] == [state.previous_block]
        reads = chain.reads_of_ended
        await asyncio.sleep(5 * LEDGER_SECONDS)
        assert chain.reads_of_ended == reads
