"""`kalepool status`: one look at the pool."""

from __future__ import annotations

from kalepool.commands.pool import no_pool, read_settings, show, with_database_open
from kalepool.database import Database
from kalepool.errors import ChainError

PATIENCE_SECONDS = 8.0
"""`kalepool status` waits for the chain no longer."""


def status() -> None:
    """Show whether stakes are safe, the block, the farmers, the workers, the last blocks, and what today cost
    and brought, once.

    Where the chain cannot be read, what the database knows is shown, and the exit status is 1.
    """
    from kalepool.chain import ChainReader
    from kalepool.services.books import results
    from kalepool.services.books.results import DayResult
    from kalepool.services.coordinators import Coordinating, coordinating, who_leads
    from kalepool.view.moment import Moment, MomentReader
    from kalepool.view.screen import render, workers_table

    settings = read_settings()
    if settings.network == "devnet" and settings.rpc_url is None:
        raise no_pool(settings)

    async def read(database: Database) -> tuple[Moment, list[DayResult], list[Coordinating]]:
        async with ChainReader.of(settings) as chain:
            reader = MomentReader(
                database,
                chain,
                min_spare_stroops=settings.min_spare_stroops,
                balances=True,
                patience_seconds=PATIENCE_SECONDS,
            )
            days = await results.of_days(database, [results.today()])
            return await reader.read(), days, await coordinating(database)

    moment, (day,), leads = with_database_open(settings, read)
    title = f"kalepool on {settings.network}" + (f"   page {settings.api_url}/" if settings.api_url else "")
    show(render(moment, moment.at, [], title=title, height=10_000))
    show(f"today (UTC): {day.in_words}")
    for each in leads:
        show(f"coordinator of {each.pooler}: {who_leads(each, by_place=True)}")
    if moment.workers:
        show(workers_table(moment.workers))
    if moment.trouble:
        raise ChainError(f"the chain cannot be read: {moment.trouble}")
