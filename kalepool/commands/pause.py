"""`kalepool pause` and `kalepool resume`: planting, for the whole pool."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from kalepool.commands.pool import AsJson, ask_api, operate, show_json
from kalepool.config import Settings
from kalepool.database import Database

LOOK_SECONDS = 1.0

Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


def pause(
    wait: Annotated[bool, typer.Option("--wait", help="Return only once it is safe to stop the pool.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Plant nothing more, in the whole pool. What is planted is worked and harvested as ever.

    With --wait the command returns once it is safe to stop: nothing is on its way, and all that was planted is worked.
    It waits for the end of the block at most, as works go out late.
    """
    operate(lambda settings, database: _switch(settings, database, True, reason))
    if not as_json:
        typer.echo("Planting is paused.")
    if wait:
        operate(_until_safe)
    if as_json:
        show_json({"planting_paused": True, "safe_to_stop": wait or None})
    elif wait:
        typer.echo("It is safe to stop now.")


def resume(reason: Reason = "", as_json: AsJson = False) -> None:
    """Plant again, from the next block on or in this one if it has just begun."""
    operate(lambda settings, database: _switch(settings, database, False, reason))
    if as_json:
        show_json({"planting_paused": False})
    else:
        typer.echo("Planting goes on.")


async def _switch(settings: Settings, database: Database, paused: bool, reason: str) -> None:
    await ask_api(settings, database, "PUT", "/operator/planting", {"paused": paused, "reason": reason})


async def _until_safe(settings: Settings, database: Database) -> None:
    from kalepool.chain import ChainReader
    from kalepool.view.moment import MomentReader
    from kalepool.view.verdict import judge

    said, safe_since = "", None
    async with ChainReader.of(settings) as chain:
        reader = MomentReader(database, chain, min_spare_stroops=settings.min_spare_stroops)
        while True:
            moment = await reader.read()
            if not moment.may_stop:
                safe_since = None
            elif safe_since is None:
                safe_since = time.monotonic()
            elif time.monotonic() - safe_since > 2 * moment.ledger_seconds:  # a plant may have been about to leave
                return
            verdict = judge(moment)
            line = f"{verdict.title}: {verdict.detail}"
            if line != said:
                typer.echo(line, err=True)
                said = line
            await asyncio.sleep(LOOK_SECONDS)
