"""Following the pool while it runs, and showing it: a picture in a terminal, plain lines anywhere else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta

import httpx2
from rich.console import Console, Group
from rich.live import Live

from kalepool.errors import DatabaseError
from kalepool.units import plain_lines
from kalepool.view.lines import changes
from kalepool.view.moment import BlockSummary, Moment, MomentReader
from kalepool.view.screen import render

NOTICES = 6  # shown below the picture
LOOK_SECONDS = 1.0
LOOK_TIMEOUT_SECONDS = 10.0
LOOK_PATIENCE_SECONDS = 8.0  # with the chain alone
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
        text = plain_lines(text)  # what a child logged or an RPC server said may be in it
        if self.live is not None:
            self.notices = [*self.notices, f"{datetime.now().astimezone():%H:%M:%S} {text}"][-NOTICES:]
        else:
            print(text, flush=True)
            self.spoke_at = time.monotonic()


class RunWatch:
    """Follows the pool: the latest moment, and the blocks that were planted since `since` (the database's clock)."""

    def __init__(self, reader: MomentReader, since: datetime, block_seconds: int) -> None:
        self._reader, self._since = reader, since
        self._blocks: dict[int, BlockSummary] = {}
        self._read_at = 0.0
        self.block_seconds = block_seconds
        self.saw_search = False
        self.moment: Moment | None = None

    async def look(self) -> Moment:
        """Read the moment. Raises DatabaseError, TimeoutError."""
        async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
            self.moment = await self._reader.read()
        self._read_at = time.monotonic()
        self.saw_search |= bool(self.moment.searchers)
        self._blocks |= {block.block_index: block for block in self.moment.blocks}
        return self.moment

    def now(self) -> datetime:
        """The ledger's clock, carried on since the moment was read."""
        if self.moment is None:
            return datetime.now(UTC)
        return self.moment.at + timedelta(seconds=time.monotonic() - self._read_at)

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
    said = ""
    while True:
        started = time.monotonic()
        try:
            silent = (await watch.look()).trouble
            kind, trouble = ("chain", silent) if silent else ("", "")
        except (DatabaseError, TimeoutError) as error:
            kind, trouble = type(error).__name__, str(error) or "no answer in time"
        if kind and kind != said:
            voice.say(f"cannot look at the pool just now: {trouble}")
        said = kind
        await asyncio.sleep(max(0.2, LOOK_SECONDS - (time.monotonic() - started)))


async def _mind_health(url: str, voice: Voice) -> None:
    """Say what the API finds wanting, above all which account the operator has to send XLM to."""
    said: dict[str, str] = {}
    async with httpx2.AsyncClient(timeout=LOOK_TIMEOUT_SECONDS) as client:
        while True:
            with contextlib.suppress(httpx2.HTTPError, ValueError, KeyError):  # its end is the supervisor's to tell
                for name, part in (await client.get(url)).json()["components"].items():
                    wants = wanting(name, part["state"], part["detail"])
                    if wants and wants != said.get(name):
                        voice.say(f"{name}: {wants}")
                    said[name] = wants
            await asyncio.sleep(HEALTH_SECONDS)


def wanting(part: str, state: str, detail: str) -> str:
    """What there is to say of a part of the pool; nothing where it works, or where there is none and no reason for it.
    Workers are in the picture, and `up` itself looks after the coordinator."""
    if state == "up" or part in ("workers", "coordinator"):
        return ""
    return detail or ("" if state == "none" else state)


async def _paint(watch: RunWatch, voice: Voice, title: str, blocks: int | None) -> None:
    def picture() -> Group:
        return render(
            watch.moment,
            watch.now(),
            voice.notices,
            title=title,
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
    said: Moment | None = None
    while True:
        if watch.moment is not None and watch.moment is not said:
            for line in changes(said, watch.moment, time.monotonic() - voice.spoke_at):
                voice.say(line)
            said = watch.moment
        if watch.is_done(blocks):
            return
        await asyncio.sleep(PAINT_SECONDS)
