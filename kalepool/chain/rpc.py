"""JSON-RPC to a Stellar RPC server, over stellar-sdk's aiohttp client: every misbehaviour becomes one typed error.

Whatever is not a well-formed answer (no connection, timeout, 4xx, 5xx, rate limit, broken JSON, a missing field, an
internal error of the server) is RpcUnavailableError, with the trouble that the server is in. A request the server
calls wrong is our bug: ChainError.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from aiohttp import ClientConnectorError
from pydantic import BaseModel, ValidationError
from stellar_sdk.client.aiohttp_client import AiohttpClient
from stellar_sdk.client.response import Response
from stellar_sdk.exceptions import ConnectionError as SdkConnectionError

from kalepool.errors import ChainError, RpcUnavailableError
from kalepool.policy.rpc_servers import Trouble

READ_PAUSES_SECONDS = (0.1, 0.4, 1.0)
"""Pauses before a read is tried again: four tries in all."""

MAX_RETRY_AFTER_SECONDS = 5.0
OUR_FAULT = {-32700, -32600, -32601, -32602}
"""JSON-RPC codes of a request that is wrong in itself: parse, request, method, parameters."""

M = TypeVar("M", bound=BaseModel)


class ServerTroubleError(RpcUnavailableError):
    """A server gave no usable answer. `has_left`: the request may have reached it."""

    def __init__(self, message: str, trouble: Trouble, *, has_left: bool = True) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.has_left = has_left


class RateLimitedError(ServerTroubleError):
    """The server asks to be left alone for `retry_after_seconds`."""

    code = "rpc-rate-limited"

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message, Trouble.LIMITED, has_left=False)
        self.retry_after_seconds = retry_after_seconds


class Rpc:
    """One RPC server. `call` asks once. `place` is what it is called in messages: its URL may hold a key."""

    def __init__(self, url: str, place: str, *, timeout_seconds: float = 10.0, connections: int = 32) -> None:
        self.url = url
        self.place = place
        self._client = AiohttpClient(
            pool_size=connections, request_timeout=timeout_seconds, post_timeout=timeout_seconds
        )
        self._ids = count(1)
        self.errors: Counter[str] = Counter()  # unusable answers so far, by method

    async def close(self) -> None:
        await self._client.close()

    async def call(
        self, method: str, answer: type[M], params: Mapping[str, Any] | None = None, patience: float | None = None
    ) -> M:
        """Ask once. Raises ServerTroubleError, or ChainError where the server calls the request wrong. `patience`:
        seconds, where they are fewer than for any request."""
        try:
            return await self._call(method, answer, params, patience)
        except RpcUnavailableError:
            self.errors[method] += 1
            raise

    async def _call(self, method: str, answer: type[M], params: Mapping[str, Any] | None, patience: float | None) -> M:
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": next(self._ids), "method": method}
        if params is not None:
            request["params"] = params
        try:
            async with asyncio.timeout(patience):
                response = await self._client.post(self.url, json_data=request)
        except TimeoutError:
            raise ServerTroubleError(f"{method}: {self.place} did not answer in time", Trouble.SILENT) from None
        except (SdkConnectionError, OSError, UnicodeDecodeError) as error:
            said = f"{method}: no connection to {self.place}: {type(error).__name__}"
            has_left = not isinstance(error.__cause__, ClientConnectorError)
            raise ServerTroubleError(said, Trouble.SILENT, has_left=has_left) from None
        return self._parse(method, answer, response, request["id"])

    async def get(self, url: str, params: dict[str, str]) -> Response:
        """A plain HTTP GET, for friendbot. Raises RpcUnavailableError without a connection."""
        try:
            return await self._client.get(url, params=params)
        except (TimeoutError, SdkConnectionError, OSError) as error:
            place = urlsplit(url).hostname
            raise RpcUnavailableError(f"no connection to {place}: {type(error).__name__}") from None

    def _parse(self, method: str, answer: type[M], response: Response, request_id: int) -> M:
        where = f"{method}: {self.place}"
        if response.status_code == 429:
            raise RateLimitedError(
                f"{where} limits our rate (429)", _retry_after(cast("dict[str, str]", response.headers))
            )
        if not 200 <= response.status_code < 300:
            raise ServerTroubleError(f"{where} answered {response.status_code}", Trouble.FAILING)
        try:
            body = _fields(json.loads(response.text))
        except ValueError:
            raise ServerTroubleError(f"{where} answered something that is not JSON", Trouble.UNREADABLE) from None
        if body.get("id") != request_id:
            said = f"{where} answered something that is not a JSON-RPC response to the request"
            raise ServerTroubleError(said, Trouble.UNREADABLE)
        if (error := body.get("error")) is not None:
            found = _fields(error)
            code = found.get("code")
            text = str(found.get("message", "") if found else error)
            if code in OUR_FAULT:
                raise ChainError(f"{where} refused the request ({code}): {text[:300]}")
            raise ServerTroubleError(f"{where} has trouble of its own ({code}): {text[:300]}", Trouble.FAILING)
        try:
            return answer.model_validate(body.get("result"))
        except ValidationError as invalid:
            fields = ", ".join(".".join(map(str, e["loc"])) or "result" for e in invalid.errors()[:5])
            raise ServerTroubleError(f"{where} answered without usable {fields}", Trouble.UNREADABLE) from None


def _fields(value: object) -> dict[str, Any]:
    """The fields of a JSON object; none where the value is something else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header; 1 where it is absent or a date."""
    for name, value in headers.items():
        if name.lower() == "retry-after":
            try:
                return max(0.0, float(value))
            except ValueError:
                return 1.0
    return 1.0
