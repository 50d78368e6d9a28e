"""The HTTP service: one FastAPI app, one router per audience."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from kalepool.api import problems
from kalepool.api.auth import Keys
from kalepool.api.bodies import BodyLimits
from kalepool.api.description import describe
from kalepool.api.forwarding import Forwarding, Peers, pass_home
from kalepool.api.head import HeadAsGet
from kalepool.api.leading import Leading
from kalepool.api.limits import Holders, RateLimits, UnderWay
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
    operating_keys,
    operator,
    owning,
    page,
    pooler,
    public,
    self_planters,
    self_service,
    sep10,
    sep45,
    showing,
    webhook_pages,
    webhooks,
)
from kalepool.api.routes.public import VERSION
from kalepool.api.straight import Straight
from kalepool.api.versions import Versioned
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ConfigError
from kalepool.services import operator_wallets
from kalepool.services.mining import Mining
from kalepool.services.mining.homes import ElsewhereError
from kalepool.services.mining.service import read_job_key
from kalepool.services.siblings import Siblings

DESCRIPTION = """
A mining pool for KALE on Stellar. Every amount is in stroops (10^-7) and, like every nonce, a decimal string. Errors
are `application/problem+json` with a stable `type`. What plants, works, harvests or pays may be sent again: nothing is
done twice.
"""

CONNECTIONS = 20
"""Connections to the database at most, of each process."""


def create_app(settings: Settings) -> FastAPI:
    """The app. It opens the database when it starts, chain and custody when it leads, and closes them when it stops.

    Where it leads, routers find the services' Context at `request.app.state.context`; else Forwarding lets only those
    requests in that need none. Raises ConfigError without a database, and for operators' wallets that are none.
    """
    if settings.database_url is None:
        raise ConfigError("no database: set KALEPOOL_DATABASE_URL, or let `kalepool up` start one")
    url = settings.database_url.get_secret_value()
    operator_wallets.listed(settings)

    requests = Holders(settings.api_connections_per_address)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = app.state
        async with Database.open(url, connections=CONNECTIONS) as database, AsyncExitStack() as stack:
            state.database = database
            state.limits = RateLimits(settings)
            state.keys = Keys(database)
            state.running = set()
            state.log_readers = closings.LogReaders()
            siblings = await stack.enter_async_context(
                Siblings.open(database, await read_job_key(database), state.sibling_address)
            )
            state.peers = await stack.enter_async_context(Peers.open(siblings))
            state.viewing = page.Viewing(state.peers)
            shared = {"rates": state.limits, "requests": requests, "viewers": state.viewing.holders}
            for name, each in (shared | state.shared).items():
                siblings.share(name, each)
            state.lead = Leading(app, settings, database, siblings)
            await stack.enter_async_context(state.keys.listening())
            await stack.enter_async_context(state.lead.running())
            state.mining = await stack.enter_async_context(Mining.open(database, settings, siblings))
            yield

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
    app.state.sibling_address = ""
    app.state.shared = {}  # what else this process counts and the others are told of, by name
    app.state.end = lambda: None  # ends the process
    app.add_middleware(Straight, {("POST", "/miner/shares"): miner.shares})
    app.add_middleware(Forwarding)
    app.add_middleware(BodyLimits)
    app.add_middleware(sep10.WalletCors)
    app.add_middleware(UnderWay, requests)
    app.add_middleware(ProxiedClients, Proxies(settings.trusted_proxies))
    app.add_middleware(Versioned, lambda: app.openapi()["paths"])
    app.add_middleware(HeadAsGet)
    audiences = (
        public,
        books,
        showing,
        farmers,
        farming,
        pooler,
        self_service,
        csv_exports,
        sep10,
        sep45,
        keys,
        miner,
        closings,
        earnings,
        operator,
        owning,
        webhooks,
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
        operating_keys,
        webhook_pages,
        metrics,
    )
    for audience in audiences:
        app.include_router(audience.router)
    problems.install(app, [route for audience in audiences for route in audience.router.routes], page.show_missing)
    app.add_exception_handler(ElsewhereError, pass_home)
    app.openapi = lambda: describe(app)
    return app
