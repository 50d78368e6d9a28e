"""Stellar Channels (OpenZeppelin's relayer-plugin-channels) as a submitter: it pays for what it carries.

It takes a signed transaction, `{"params": {"xdr": …, "skipWait": true}}`, wraps it in a fee-bump of its own and sends
that. It also takes a function with its authorisations and makes a transaction of them itself; that is never asked for:
its hash would not be known, and not be journalled, before it is sent.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
import structlog
from stellar_sdk import FeeBumpTransactionEnvelope

from kalepool.chain.records import Prepared
from kalepool.policy.submitters import pause_seconds
from kalepool.units import plain

log = structlog.get_logger(__name__)

TAKEN = ("pending", "sent", "submitted", "mined", "confirmed")
"""The states that it gives a transaction that is on its way."""

MAY_LAND = ("WAIT_TIMEOUT", "ONCHAIN_FAILED")
"""Errors of one that was sent: what became of it, the ledger tells."""

REFUSED_STATUS = (401, 403, 404, 429)
"""Without a code of the plugin's own: it has not seen the transaction."""

LONGEST_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class RelayTrouble:
    """Why the relayer did not take a transaction. `code`: its own, or what stands for no usable answer; `may_land`: it
    may have taken it all the same."""

    code: str
    message: str
    may_land: bool = True
    retry_after_seconds: float | None = None

    @property
    def is_of_the_key(self) -> bool:
        """Whether the operator has to give another key."""
        return self.code == "UNAUTHORIZED"


class Relayer:
    """One account with a relayer. After trouble it is left alone for a while: `paused_seconds`."""

    def __init__(self, url: str, key: str, ledger_seconds: float) -> None:
        self.place = urlsplit(url).hostname or url
        self._url, self._key = url, key
        self.ledger_seconds = ledger_seconds
        self._client: httpx2.AsyncClient | None = None
        self._paused_until = 0.0  # by the monotonic clock
        self._failures = 0
        self.trouble: RelayTrouble | None = None
        """Of the last transaction that it did not take; None once it has taken one again."""
        self.taken = 0
        self.refused = 0

    @property
    def paused_seconds(self) -> float:
        """For how much longer it is not asked."""
        return max(self._paused_until - time.monotonic(), 0.0)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def take(self, prepared: Prepared, within_seconds: float) -> RelayTrouble | None:
        """Hand a transaction over. None: it was taken, which promises nothing."""
        try:
            async with asyncio.timeout(within_seconds):
                trouble = await self._ask(inner_xdr(prepared))
        except (TimeoutError, httpx2.TimeoutException):
            trouble = RelayTrouble("no-answer", f"{self.place} did not answer in time")
        except httpx2.HTTPError as error:
            trouble = RelayTrouble("no-answer", f"no connection to {self.place}: {type(error).__name__}")
        self._note(prepared, trouble)
        return trouble

    def _note(self, prepared: Prepared, trouble: RelayTrouble | None) -> None:
        self.trouble = trouble
        if trouble is None:
            self._failures = 0
            self.taken += 1
            return
        self.refused += 1
        self._failures += not self.paused_seconds  # those that were under way together count as one
        pause = pause_seconds(trouble.code, self._failures, self.ledger_seconds, trouble.retry_after_seconds)
        self._paused_until = max(self._paused_until, time.monotonic() + pause)
        log.warning(
            "relayer_did_not_take",
            action=prepared.action,
            transaction=prepared.transaction_hash,
            code=trouble.code,
            reason=trouble.message,
            pause_seconds=pause,
        )

    async def _ask(self, envelope_xdr: str) -> RelayTrouble | None:
        if self._client is None:
            self._client = httpx2.AsyncClient(follow_redirects=False, timeout=None)  # `take` has its own
        # The managed service reads the first header, a relayer of one's own hands the second on to the plugin.
        headers = {"Authorization": f"Bearer {self._key}", "x-api-key": self._key}
        body = {"params": {"xdr": envelope_xdr, "skipWait": True}}
        answer = await self._client.post(self._url, json=body, headers=headers)
        return self._read(answer)

    def _read(self, answer: httpx2.Response) -> RelayTrouble | None:
        retry_after = _seconds(answer.headers.get("retry-after"))
        body = _object(answer.content)
        data = body.get("data")
        data = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        if body.get("success") is True and data.get("status") in TAKEN:
            return None
        code = data.get("code")
        if code in MAY_LAND:
            return None
        refused = isinstance(code, str) or answer.status_code in REFUSED_STATUS
        if not isinstance(code, str):
            code = _code_of_status(answer.status_code, bool(body))
        message = body.get("error")
        text = message if isinstance(message, str) else "nothing that this version can read"
        text = plain(text.replace(self._key, "…"))[:300]
        said = f"{self.place} answered {answer.status_code}: {text}"
        return RelayTrouble(plain(code)[:60], said, may_land=not refused, retry_after_seconds=retry_after)


def inner_xdr(prepared: Prepared) -> str:
    """The signed transaction inside the fee-bump that would be sent directly."""
    bump = FeeBumpTransactionEnvelope.from_xdr(prepared.envelope_xdr, "")
    return bump.transaction.inner_transaction_envelope.to_xdr()


def _object(content: bytes) -> dict[str, Any]:
    """The fields of a JSON object; none where it is something else, or more than any answer is."""
    if len(content) > LONGEST_ANSWER_BYTES:
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _code_of_status(status: int, is_object: bool) -> str:
    if status in (401, 403):
        return "UNAUTHORIZED"
    if status == 429:
        return "rate-limited"
    return "trouble" if is_object else "unreadable"


def _seconds(header: str | None) -> float | None:
    """Of a Retry-After header; None where it is absent or a date."""
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:
        return None
