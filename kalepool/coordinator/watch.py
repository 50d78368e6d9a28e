"""Follows the chain: every ledger, the farm, and the pails that may have changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from kalepool.chain import ChainReader, Farm
from kalepool.coordinator.state import State
from kalepool.errors import ChainError

RETRY_SECONDS = 0.5

log = structlog.get_logger()


class ChainWatch:
    """Keeps the state's view of the chain current.

    on_change: called after each look; True: there is another block. on_previous: the last block as it ended was read.
    """

    def __init__(
        self,
        chain: ChainReader,
        state: State,
        on_change: Callable[[bool], None],
        on_previous: Callable[[], None],
    ) -> None:
        self._chain = chain
        self._state = state
        self._on_change = on_change
        self._on_previous = on_previous

    async def run(self) -> None:
        """For ever. While the chain cannot be read, what was known stays."""
        answers = True
        while True:
            try:
                await self._look()
                answers = True
            except ChainError as error:
                if answers:
                    log.warning("chain_not_read", reason=str(error))
                answers = False
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        state = self._state
        seen = state.ledgers[-1].sequence if state.ledgers else 0
        ledger = await self._chain.next_ledger(seen, max(2 * state.ledger_seconds, 5.0))
        looked_at = time.monotonic()
        if ledger is None:
            ledger = await self._chain.read_ledger()
        state.saw_ledger(ledger)
        farm = await self._chain.read_farm()
        old = state.farm
        is_other = state.saw_farm(farm)
        if is_other:
            log.info("block_began", block=farm.index, ledger=farm.ledger, max_zeros=farm.block and farm.block.max_zeros)
            state.previous_is_final = False  # the last look at it may be older than its last works
            state.previous_block = old.block if old and farm.index is not None and old.index == farm.index - 1 else None
        self._on_change(is_other)
        await self._read_pails()
        state.saw_others()
        if farm.index and not state.previous_is_final:
            await self._read_previous(farm)
        # No ledger closes for a while: leave the server alone until shortly before the next one should.
        pause = state.ledger_seconds * 0.7 - (time.monotonic() - looked_at)
        await asyncio.sleep(max(pause, 0))

    async def _read_previous(self, farm: Farm) -> None:
        """The last block as it ended. Where it cannot be read, the next look tries again."""
        index = (farm.index or 0) - 1
        blocks = await self._chain.read_blocks([index])
        self._state.previous_block = blocks.get(index)
        self._state.previous_is_final = True
        self._on_previous()

    async def _read_pails(self) -> None:
        state = self._state
        index, stale = state.index, state.stale_pails & state.farmers.keys()
        if index is None or not stale:
            return
        pails = await self._chain.read_pails((wallet, index) for wallet in stale)
        if index == state.index:
            late = {wallet for wallet in stale if state.plants_itself(wallet) and (wallet, index) not in pails}
            state.stale_pails -= stale - late
            state.saw_pails({wallet: pail for (wallet, _), pail in pails.items()})
            if late != stale:
                self._on_change(False)
