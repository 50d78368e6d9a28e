"""The command `mine`, of kalepool and of the miner alone: what it is given, and what it shows."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

import httpx2
import typer

from kalepool.errors import ConfigError, KalepoolError
from kalepool.mine.engines import Engine, choose_engines
from kalepool.mine.miner import MiningClient
from kalepool.platforms import on_end, yield_to_others
from kalepool.units import plain, rate
from kernels import KernelError


def status_line(miner: MiningClient) -> str:
    """What the terminal shows of a miner, in one line."""
    job, refused = miner.job, sum(miner.outcomes.values()) - miner.outcomes["accepted"]
    doing = (
        f"block {job.template.index}  {'SOLO ' if job.solo else ''}{job.farmer[:4]}…{job.farmer[-4:]}  "
        f"difficulty {job.difficulty:.3g}"
        if job
        else "no job"
    )
    shares = f"accepted {miner.outcomes['accepted']}  refused {refused}"
    return f"{rate(miner.hashes_per_second):>12}  {doing}  {shares}" + ("" if miner.connected else "  (not connected)")


async def run(
    url: str, key: str, engines: Sequence[Engine], rig: str, seconds: float | None, solo: str | None = None
) -> MiningClient:
    """Mine until SIGINT or SIGTERM, or for `seconds`; show how it goes. Returns the miner with its counts."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)

    def say(text: str) -> None:
        console.print(f"{datetime.now():%H:%M:%S}  {plain(text)}", markup=False)  # noqa: DTZ005  # the user's clock

    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as http:
        miner = MiningClient(http, engines, rig, say, solo=solo)
        whom = f", SOLO for {solo}," if solo is not None else ""
        say(f"mining for {url}{whom} as rig {rig!r} with {', '.join(engine.name for engine in engines)}")
        work = asyncio.create_task(miner.run())
        on_end(asyncio.get_running_loop(), work.cancel)
        ends_at = time.monotonic() + (seconds or math.inf)
        with (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live
        ):
            next_line = time.monotonic() + 10.0
            while not (await asyncio.wait([work], timeout=1.0))[0]:
                if live is not None:
                    live.update(Text(status_line(miner), no_wrap=True, overflow="ellipsis"), refresh=True)
                elif time.monotonic() >= next_line:
                    say(status_line(miner))
                    next_line += 10.0
                # Once: cancelled again, it would not bring what it found last.
                if time.monotonic() >= ends_at and not work.cancelling():
                    work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        counts = ", ".join(f"{count} {outcome}" for outcome, count in miner.outcomes.most_common()) or "none"
        say(f"ended; shares: {counts}")
        return miner


def checked_url(url: str | None) -> str:
    """The pool's address, if it is one. Raises ConfigError."""
    if url is None:
        raise ConfigError("which pool? Give --url, or set KALEPOOL_API_URL in the environment")
    url = url.strip()
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:  # a port that is none
        wrong = True
    if wrong:
        raise ConfigError(f"{url!r} is not a pool's address: write it as http://127.0.0.1:8737")
    return url.rstrip("/")


def checked_key(key: str | None) -> str:
    """The key, without what a file's line ends with. Raises ConfigError, which does not show it."""
    key = (key or "").strip()
    if not key:
        raise ConfigError("whose miner? Give --key, or set KALEPOOL_API_KEY in the environment")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError("this is no key of a pool: one begins with kp_, and has letters, digits, - and _ only")
    return key


def mine(
    url: Annotated[
        str | None, typer.Option(envvar="KALEPOOL_API_URL", help="The pool, as http://127.0.0.1:8737.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="KALEPOOL_API_KEY", help="Your miner's key; in the environment nobody else sees it."),
    ] = None,
    rig: Annotated[str, typer.Option(help="This machine's name; every rig of a key gets a range of its own.")] = "",
    backend: Annotated[str | None, typer.Option(help="One kernel backend; default: every card and the CPU.")] = None,
    threads: Annotated[int, typer.Option(min=0, max=4096, help="CPU threads; 0 is one for each core.")] = 0,
    command: Annotated[
        str | None,
        typer.Option(
            "--exec",
            help="Another miner's program, with {index} {entropy_b64} {nonce} {zeros} {farmer} {threads}; "
            'it prints {"hash", "nonce"}. '
            "As: ./miner {index} {entropy_b64} {nonce} {zeros} {farmer} --max-threads {threads}",
        ),
    ] = None,
    low_priority: Annotated[
        bool, typer.Option("--low-priority", help="Let everything else on this machine go first.")
    ] = False,
    solo: Annotated[
        str | None,
        typer.Option(
            metavar="FARMER",
            help="Hash for this farmer of yours alone, by its id or wallet; it is paid out to your miner's payout "
            "wallet. Of what you find for it the pool takes its service fee only.",
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="End by itself after so long.")] = None,
) -> None:
    """Hash for a pool. Ctrl-C ends it."""
    url, key = checked_url(url), checked_key(key)
    try:
        engines = choose_engines(backend, threads, command)
        if low_priority:
            yield_to_others()
        asyncio.run(run(url, key, engines, rig or socket.gethostname(), seconds, solo))
    except (KernelError, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise KalepoolError(str(error)) from error
