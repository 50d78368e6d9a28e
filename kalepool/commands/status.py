"""`kalepool status`: one look at the pool."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from kalepool.commands.pool import no_pool, read_settings, show, with_database_open
from kalepool.database import Database
from kalepool.errors import ChainError

PATIENCE_SECONDS = 8.0
"""`kalepool status` waits for the chain no longer."""


def status() -> None:
    """Show the block, the farmers, the workers and the last blocks, once.

    Where the chain cannot be read, what the database knows is shown, and the exit status is 1.
    """
    from kalepool.chain import ChainReader
    from kalepool.view.moment import View, read_view
    from kalepool.view.screen import render, workers_table

    settings = read_settings()
    if settings.network == "devnet" and settings.rpc_url is None:
        raise no_pool(settings)

    async def read(database: Database) -> tuple[View, str | None]:
        try:
            async with ChainReader(settings.chain) as chain, asyncio.timeout(PATIENCE_SECONDS):
                return await read_view(database, chain, None), None
        except TimeoutError:
            server = urlsplit(settings.chain.rpc_url or "").hostname  # the rest of the address may hold a key
            trouble = f"the RPC server {server} did not answer within {PATIENCE_SECONDS:g} s"
        except ChainError as error:
            trouble = str(error)
        return await read_view(database, None, None), trouble

    view, trouble = with_database_open(settings, read)
    title = f"kalepool on {settings.network}" + (f"   page {settings.api_url}/" if settings.api_url else "")
    seconds = settings.chain.block_seconds
    show(render(view, view.at, [], title=title, block_seconds=seconds, height=10_000))
    if view.workers:
        show(workers_table(view.workers))
    if trouble:
        raise ChainError(f"the chain cannot be read: {trouble}")
