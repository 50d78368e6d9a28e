"""What callers of the API may have looked up on the chain, once a ledger: nothing changes between two of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kalepool.chain import Account, ChainReader, Destination, HeldAndPlanted

MOST_KEPT = 10_000
"""Answers kept at once."""

Found = TypeVar("Found")


@dataclass(slots=True)
class KeptAnswer:
    """What is asked, or was: with the newest ledger known when the answer came (0 before), and when it was asked."""

    task: asyncio.Task[Any]
    asked_at: float
    ledger: int = 0


class Lookups:
    """Asks the chain for each wallet at most once a ledger, however often and by how many at once it is asked for."""

    def __init__(self, chain: ChainReader) -> None:
        self._chain = chain
        self._answers: dict[tuple[str, str], KeptAnswer] = {}

    async def account(self, wallet: str) -> Account | None:
        """None where it is not on the ledger. Raises RpcUnavailableError."""

        async def read() -> Account | None:
            return (await self._chain.read_accounts([wallet])).get(wallet)

        return await self._once(("account", wallet), read)

    async def holding(self, wallet: str, indexes: Sequence[int]) -> HeldAndPlanted:
        """KALE of an account (G…) or a contract (C…) and its pails in these blocks. Raises RpcUnavailableError."""
        name = f"{wallet} {','.join(map(str, indexes))}"
        return await self._once(("holding", name), lambda: self._chain.read_holding(wallet, indexes))

    async def is_there(self, contract: str) -> bool:
        """Whether a contract (C…) is on the ledger. Raises RpcUnavailableError."""

        async def read() -> bool:
            return (await self._chain.read_receiver(Destination(contract))).is_there

        return await self._once(("contract", contract), read)

    async def signers(self, wallet: str) -> tuple[int, dict[str, int]] | None:
        """As ChainReader.read_signers."""
        return await self._once(("signers", wallet), lambda: self._chain.read_signers(wallet))

    async def _once(self, key: tuple[str, str], read: Callable[[], Awaitable[Found]]) -> Found:
        answer = self._answers.get(key)
        if answer is None or not self._is_fresh(answer):
            if len(self._answers) >= MOST_KEPT:
                self._answers = {name: each for name, each in self._answers.items() if self._is_fresh(each)}
            answer = self._answers[key] = KeptAnswer(asyncio.ensure_future(_run(read)), time.monotonic())
            answer.task.add_done_callback(lambda task: self._came(answer, task))
        return await asyncio.shield(answer.task)  # who hangs up does not take it from the others

    def _came(self, answer: KeptAnswer, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is None:
            answer.ledger = self._chain.newest_ledger

    def _is_fresh(self, answer: KeptAnswer) -> bool:
        if not answer.task.done():
            return True
        age = time.monotonic() - answer.asked_at
        return answer.ledger == self._chain.newest_ledger and age < self._chain.network.ledger_seconds


async def _run(read: Callable[[], Awaitable[Found]]) -> Found:
    return await read()
