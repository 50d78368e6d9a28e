"""Following the pool while it runs, and showing it: a picture in a terminal, plain lines anywhere else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
from rich.console import Console, Group
from rich.live import Live

from kalepool.chain import ChainReader
from kalepool.database import Database
from kalepool.errors import ChainError, DatabaseError
from kalepool.live.lines import changes
from kalepool.live.screen import render
from kalepool.live.view import BlockView, View, read_view

NOTICES = 6  # shown below the picture
LOOK_SECONDS = 1.0
LOOK_TIMEOUT_SECONDS = 10.0
PAINT_SECONDS = 0.5
HEALTH_SECONDS = 5.0
LEAST_PATIENCE_SECONDS = 30


class Voice:
    """Says things: below the picture while there is one, else as lines."""

    def __init__(self) -> None:
        self.console = Console()
        self.notices: list[str] = []
        self.live: Live | None = None
        self.spoke_at = time.monotonic()

    @property
    def has_terminal(self) -> bool:
        return self.console.is_terminal

    def say(self, text: str) -> None:
        if self.live is not None:
            self.notices = [*self.notices, f"{datetime.now().astimezone():%H:%M:%S} {text}"][-NOTICES:]
        else:
            print(text, flush=True)
            self.spoke_at = time.monotonic()


class RunWatch:
    """Follows the pool: the latest view, and the blocks that were planted since `since` (the database's clock)."""

    def __init__(self, database: Database, chain: ChainReader, pooler_id: UUID, since: datetime) -> None:
        self._database, self._chain, self._pooler_id = database, chain, pooler_id
        self._since = since
        self._blocks: dict[int, BlockView] = {}
        self._read_at = 0.0
        self.block_seconds = chain.network.block_seconds
        self.view: View | None = None

    async def look(self) -> None:
        """Read the view. Raises ChainError, DatabaseError, TimeoutError."""
        async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
            self.view = await read_view(self._database, self._chain, self._pooler_id)
        self._read_at = time.monotonic()
        self._blocks |= {block.block_index: block for block in self.view.blocks}

    def now(self) -> datetime:
        """The ledger's clock, carried on since the view was read."""
        if self.view is None:
            return datetime.now(UTC)
        return self.view.at + timedelta(seconds=time.monotonic() - self._read_at)

    def finished(self) -> list[int]:
        """Indexes of the blocks that this run planted and that are over, oldest first.

        One whose harvests do not come is waited for one block's time.
        """
        patience = timedelta(seconds=max(self.block_seconds, LEAST_PATIENCE_SECONDS))
        return [
            index
            for index, block in sorted(self._blocks.items())
            if block.planted_at is not None
            and block.planted_at >= self._since
            and (block.is_settled or (block.closed_at is not None and self.now() > block.closed_at + patience))
        ]

    def is_done(self, blocks: int | None) -> bool:
        return blocks is not None and len(self.finished()) >= blocks


async def show(watch: RunWatch, voice: Voice, title: str, blocks: int | None, health_url: str) -> None:
    """Show the pool until `blocks` blocks are finished; None: until cancelled."""
    shown = _paint(watch, voice, title, blocks) if voice.has_terminal else _speak(watch, voice, blocks)
    tasks = {asyncio.create_task(work) for work in (_look_on(watch, voice), _mind_health(health_url, voice), shown)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _look_on(watch: RunWatch, voice: Voice) -> None:
    trouble = ""
    while True:
        started = time.monotonic()
        try:
            await watch.look()
            trouble = ""
        except (ChainError, DatabaseError, TimeoutError) as error:
            if type(error).__name__ != trouble:
                voice.say(f"cannot look at the pool just now: {error or 'no answer in time'}")
            trouble = type(error).__name__
        await asyncio.sleep(max(0.2, LOOK_SECONDS - (time.monotonic() - started)))


async def _mind_health(url: str, voice: Voice) -> None:
    """Say what the API finds wanting, above all which account the operator has to send XLM to."""
    said: dict[str, str] = {}
    async with httpx2.AsyncClient(timeout=LOOK_TIMEOUT_SECONDS) as client:
        while True:
            with contextlib.suppress(httpx2.HTTPError, ValueError, KeyError):  # its end is the supervisor's to tell
                for name, part in (await client.get(url)).json()["components"].items():
                    wanting = "" if part["state"] == "up" or name == "workers" else part["detail"] or part["state"]
                    if wanting and wanting != said.get(name):
                        voice.say(f"{name}: {wanting}")
                    said[name] = wanting
            await asyncio.sleep(HEALTH_SECONDS)


async def _paint(watch: RunWatch, voice: Voice, title: str, blocks: int | None) -> None:
    def picture() -> Group:
        return render(
            watch.view,
            watch.now(),
            voice.notices,
            title=title,
            block_seconds=watch.block_seconds,
            height=voice.console.size.height,
        )

    with Live(console=voice.console, auto_refresh=False, redirect_stdout=False) as voice.live:
        try:
            while not watch.is_done(blocks):
                voice.live.update(picture(), refresh=True)
                await asyncio.sleep(PAINT_SECONDS)
        finally:
            voice.live = None


async def _speak(watch: RunWatch, voice: Voice, blocks: int | None) -> None:
    said: View | None = None
    while True:
        if watch.view is not None and watch.view is not said:
            for line in changes(said, watch.view, time.monotonic() - voice.spoke_at):
                voice.say(line)
            said = watch.view
        if watch.is_done(blocks):
            return
        await asyncio.sleep(PAINT_SECONDS)
