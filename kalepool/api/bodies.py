"""The bodies of requests: how large they may be, and how long they may take to arrive."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kalepool.api.auth import Keys
from kalepool.api.problems import Problem

MOST_BYTES = 1 << 20
"""The largest body: 1 MiB."""

MOST_BYTES_OF_STRANGERS = 1 << 14
"""The largest body without a valid key: 16 KiB. A signed challenge fits, with as many signatures as one can have."""

BODY_SECONDS = 15.0
"""A body must have arrived within this time."""


class BodyLimits:
    """ASGI middleware: answers 413 to a body over MOST_BYTES, or over MOST_BYTES_OF_STRANGERS where no valid key comes
    with it; 408 to one that takes longer than BODY_SECONDS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            whole = await _read(scope, receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        pending: list[Message] = [{"type": "http.request", "body": whole, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)


async def _read(scope: Scope, receive: Receive) -> bytes:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    announced = headers.get(b"content-length", b"0")
    most = MOST_BYTES_OF_STRANGERS
    body = bytearray()

    async def require_room(size: int) -> None:
        nonlocal most
        if most < size <= MOST_BYTES and await _has_key(scope, headers):  # looked up for a large body only
            most = MOST_BYTES
        if size > most:
            without = f", {most} without a valid key" if most < MOST_BYTES else ""
            detail = f"a body has at most {MOST_BYTES} bytes{without}"
            raise Problem(413, "too-large", detail, headers={"Connection": "close"})

    try:
        async with asyncio.timeout(BODY_SECONDS):
            await require_room(int(announced) if announced.isdigit() else MOST_BYTES + 1)
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "bad-request", "the connection was closed before the body had arrived")
                body += message.get("body", b"")
                await require_room(len(body))
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        late = f"no body within {BODY_SECONDS:g} s"
        raise Problem(408, "request-timeout", late, headers={"Connection": "close"}) from None


async def _has_key(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        return False
    keys: Keys = scope["app"].state.keys
    return await keys.owner(key.strip()) is not None
