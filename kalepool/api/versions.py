"""`/v1`: the API under the name of its version. What was promised without it goes on without it, and is the same.

What may change within a version, and how an end is told, is in docs/api.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

V1 = "/v1"


class Ending(NamedTuple):
    """When an operation was told to end, and when it does: a year later at the earliest."""

    told: datetime
    ends: datetime


ENDINGS: dict[str, Ending] = {}
"""By "METHOD /path" of the description, without the version. Answers say so: `Deprecation` (RFC 9745), `Sunset` (RFC
8594)."""


class Versioned:
    """ASGI middleware: answers /v1/… as … for what the description has, and tells of operations that end.

    paths: the described paths, asked for once.
    """

    def __init__(self, app: ASGIApp, paths: Callable[[], Iterable[str]]) -> None:
        self._app, self._paths = app, paths
        self._patterns: list[tuple[str, re.Pattern[str]]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        versioned = path.startswith(f"{V1}/")
        template = self._described(path.removeprefix(V1) if versioned else path) if versioned or ENDINGS else None
        if versioned and template is not None:
            raw = scope.get("raw_path") or path.encode()
            scope = {**scope, "path": path.removeprefix(V1), "raw_path": raw.removeprefix(V1.encode())}
        ending = ENDINGS.get(f"{scope['method']} {template}")
        await self._app(scope, receive, send if ending is None else _telling(send, ending))

    def _described(self, path: str) -> str | None:
        """The template of the description that this path fits."""
        if self._patterns is None:
            self._patterns = [
                (each, re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(each)))) for each in sorted(self._paths())
            ]
        return next((each for each, pattern in self._patterns if pattern.fullmatch(path)), None)


def _telling(send: Send, ending: Ending) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            ends = format_datetime(ending.ends.astimezone(UTC), usegmt=True)
            told = f"@{int(ending.told.timestamp())}"
            more = [(b"deprecation", told.encode()), (b"sunset", ends.encode())]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return tell
