"""The API in this process, on a devnet, asked over HTTP's own types."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
from fastapi import FastAPI

from kalepool.api import create_app
from kalepool.services.keys import Role, create_key


@dataclass
class Api:
    """The app with its background chores running, and a client per role."""

    app: FastAPI
    farm: object
    anybody: httpx2.AsyncClient
    pooler: httpx2.AsyncClient
    operator: httpx2.AsyncClient

    def client(self, key: str | None = None) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://pool", headers=headers)


@pytest.fixture
async def api(farm) -> AsyncIterator[Api]:
    app = create_app(farm.settings)
    async with app.router.lifespan_context(app):
        farm.ctx = app.state.context
        operator = await create_key(farm.ctx.database, Role.OPERATOR, label="test")
        made = Api(app, farm, None, None, None)  # pyright: ignore[reportArgumentType]
        made.anybody, made.pooler, made.operator = (
            made.client(),
            made.client(farm.pooler_key),
            made.client(operator.key),
        )
        yield made
        for client in (made.anybody, made.pooler, made.operator):
            await client.aclose()
