"""The call that comes hundreds of times a second goes past the framework's routing, which costs as much as the call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kalepool.api.problems import SAID, of_said

Endpoint = Callable[[Request], Awaitable[Response]]


class Straight:
    """ASGI middleware: answers some calls by their endpoints alone. The same routes, for the description and whatever
    else is done with these paths, are the app's."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        """endpoints: by method and path. Each reads the request itself, and raises what has a problem as its answer."""
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            answer = await endpoint(Request(scope, receive))
        except SAID as error:
            answer = of_said(error).response()
        await answer(scope, receive, send)
