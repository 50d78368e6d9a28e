"""Questions that come at about the same time, answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextvars import Context
from typing import Generic, TypeVar

QuestionT = TypeVar("QuestionT", bound=Hashable)
AnswerT = TypeVar("AnswerT")

GATHER_SECONDS = 0.005
"""How long the first question waits for others."""

MOST_QUESTIONS = 1_000
"""At once; the others wait for the next turn."""


class Grouped(Generic[QuestionT, AnswerT]):
    """Asks for all that wait, one group after the other: a crowd costs a few round trips. What comes while a group is
    under way belongs to the next one, so no answer is older than its question.
    """

    def __init__(self, ask: Callable[[Sequence[QuestionT]], Awaitable[Mapping[QuestionT, AnswerT]]]) -> None:
        """`ask` gets each question of a group once. It runs outside of whatever who asks is in (contextvars)."""
        self._ask = ask
        self._waiting: dict[QuestionT, list[asyncio.Future[AnswerT | None]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def answer(self, question: QuestionT) -> AnswerT | None:
        """None where there is none. Raises what `ask` raises, for all of its group."""
        future: asyncio.Future[AnswerT | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(question, []).append(future)
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._run(), context=Context())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(GATHER_SECONDS)
                await self._ask_for([*self._waiting][:MOST_QUESTIONS])
        finally:
            self._asking = None

    async def _ask_for(self, questions: Sequence[QuestionT]) -> None:
        futures = {question: self._waiting.pop(question) for question in questions}
        waiting = [(question, future) for question, group in futures.items() for future in group]
        try:
            answers = await self._ask(questions)
        except Exception as error:  # each gets it; the next group may fare better
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        except asyncio.CancelledError:  # the process ends
            for _, future in waiting:
                future.cancel()
            raise
        for question, future in waiting:
            if not future.done():  # who asked may have hung up
                future.set_result(answers.get(question))
