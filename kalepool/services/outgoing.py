"""The one door out for messages: a request to an address that somebody named, and no more is read of its answer than
whether it was taken. The address is a secret: it is in no message and no log."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx2

POST_SECONDS = 10.0

LONGEST_WAIT_SECONDS = 300.0
"""What an answer may ask for at most."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of it. `reason`: why it was not taken, without the address. `wait_seconds`: what is asked for there."""

    is_taken: bool
    reason: str = ""
    wait_seconds: float = 0.0


async def post(url: str, *, json: dict[str, Any] | None = None, text: str | None = None) -> Posted:
    """Sends it once, and follows no redirect. Never raises."""
    content = None if text is None else text.encode()
    try:
        async with (
            asyncio.timeout(POST_SECONDS),
            httpx2.AsyncClient(timeout=POST_SECONDS) as client,
            client.stream("POST", url, json=json, content=content) as answer,
        ):
            if answer.is_success:
                return Posted(is_taken=True)
            status, asked = answer.status_code, answer.headers.get("Retry-After", "")
    except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        return Posted(is_taken=False, reason=type(error).__name__)
    try:
        wait = min(max(float(asked), 0.0), LONGEST_WAIT_SECONDS)
    except ValueError:
        wait = 0.0
    return Posted(is_taken=False, reason=f"HTTP status {status}", wait_seconds=wait)
