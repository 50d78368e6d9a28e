"""Whose turn it is at a farmer's wallet: plants come before payments, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kalepool.errors import ChainError


class WalletBusyError(ChainError):
    """Something else of the same wallet took too long. The next try finds it done."""

    code = "wallet-busy"


class WalletTurns:
    """The queue at one wallet: an account carries one transaction at a time."""

    def __init__(self) -> None:
        self._is_taken = False
        self._first: deque[asyncio.Future[None]] = deque()
        self._later: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def take(self, *, first: bool = False, within_seconds: float | None = None) -> AsyncIterator[None]:
        """Holds the wallet. `first`: before all that wait and are not. Raises WalletBusyError when it is not one's turn
        in time; None waits for it."""
        if self._is_taken:
            await self._wait(self._first if first else self._later, within_seconds)
        self._is_taken = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, queue: deque[asyncio.Future[None]], within_seconds: float | None) -> None:
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(within_seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it came just when the wait ended
                self._pass_on()
            elif turn in queue:
                queue.remove(turn)
            if isinstance(error, TimeoutError):
                raise WalletBusyError(
                    f"the wallet was not free within {within_seconds:g} s: another transaction of it is under way"
                ) from None
            raise

    def _pass_on(self) -> None:
        for queue in (self._first, self._later):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)  # it stays taken
                    return
        self._is_taken = False
