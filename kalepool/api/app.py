"""The HTTP service: one FastAPI app, one router per audience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from kalepool.api import problems
from kalepool.api.auth import Keys
from kalepool.api.bodies import BodyLimits
from kalepool.api.description import describe
from kalepool.api.head import HeadAsGet
from kalepool.api.limits import RateLimits, UnderWay
from kalepool.api.proxies import ProxiedClients, Proxies
from kalepool.api.routes import (
    books,
    browser,
    browser_miner,
    closings,
    csv_exports,
    earnings,
    farm,
    farm_account,
    farm_wallet,
    farmers,
    farming,
    keys,
    metrics,
    mine_account,
    mine_pages,
    miner,
    operating,
    operating_forms,
    operator,
    page,
    pooler,
    public,
    self_planters,
    self_service,
    sep10,
)
from kalepool.api.routes.public import VERSION
from kalepool.api.versions import Versioned
from kalepool.chain import Chain
from kalepool.config import Settings
from kalepool.custody import open_custody
from kalepool.database import Database
from kalepool.errors import ConfigError
from kalepool.services import operator_wallets, upkeep
from kalepool.services.books.results import Days
from kalepool.services.context import Context
from kalepool.services.health import Health
from kalepool.services.mining import Mining
from kalepool.services.signin import SignIn
from kalepool.tasks import end_tasks

DESCRIPTION = """
A mining pool for KALE on Stellar. Every amount is in stroops (10^-7) and, like every nonce, a decimal string. Errors
are `application/problem+json` with a stable `type`. What plants, works, harvests or pays may be sent again: nothing is
done twice.
"""

CONNECTIONS = 20
"""Connections to the database at most."""

SHUTDOWN_SECONDS = 3.0
"""What runs at the end may go on for so long; the rest is left to recovery at the next start."""


def create_app(settings: Settings) -> FastAPI:
    """The app. It opens database, chain and custody when it starts, and closes them when it stops.

    Routers find the services' Context at `request.app.state.context`. Raises ConfigError without a database, and for
    operators' wallets that are none.
    """
    if settings.database_url is None:
        raise ConfigError("no database: set KALEPOOL_DATABASE_URL, or let `kalepool up` start one")
    url = settings.database_url.get_secret_value()
    operator_wallets.listed(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Database.open(url, connections=CONNECTIONS) as database, Chain.of(settings) as chain:
            await chain.servers.require_one_network(wait_for_one=False)
            ctx = Context(settings, chain, await open_custody(settings, database), database)
            app.state.context = ctx
            app.state.health = Health(ctx)
            app.state.limits = RateLimits(settings)
            app.state.keys = Keys(database)
            app.state.running = set()
            app.state.days = Days(database)
            app.state.viewing = page.Viewing(ctx, app.state.days)
            app.state.log_readers = closings.LogReaders()
            app.state.metrics = metrics.Metrics(ctx, app.state.health, app.state.days)
            app.state.sign_in = await SignIn.open(ctx)
            async with (
                app.state.keys.listening(),
                upkeep.running(ctx),
                Mining.open(database, settings) as app.state.mining,
            ):
                try:
                    yield
                finally:
                    await _end(app.state.running)

    app = FastAPI(
        title="kalepool",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        separate_input_output_schemas=False,
        openapi_url=None,  # page.py shows it, and a page with nothing from elsewhere
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics_port = None
    app.add_middleware(BodyLimits)
    app.add_middleware(sep10.WalletCors)
    app.add_middleware(UnderWay, settings.api_connections_per_address)
    app.add_middleware(ProxiedClients, Proxies(settings.trusted_proxies))
    app.add_middleware(Versioned, lambda: app.openapi()["paths"])
    app.add_middleware(HeadAsGet)
    audiences = (
        public,
        books,
        farmers,
        farming,
        pooler,
        self_service,
        csv_exports,
        sep10,
        keys,
        miner,
        closings,
        earnings,
        operator,
        browser_miner,
        self_planters,
        page,
        browser,
        farm,
        farm_account,
        farm_wallet,
        mine_pages,
        mine_account,
        operating,
        operating_forms,
        metrics,
    )
    for audience in audiences:
        app.include_router(audience.router)
    problems.install(app, [route for audience in audiences for route in audience.router.routes], page.show_missing)
    app.openapi = lambda: describe(app)
    return app


async def _end(running: set[asyncio.Task[Any]]) -> None:
    """Gives operations under way a moment to end, then breaks them off: recovery settles what they leave open."""
    if running:
        await asyncio.wait(running, timeout=SHUTDOWN_SECONDS)
    await end_tasks(running)
