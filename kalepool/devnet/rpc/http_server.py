"""The devnet's HTTP side: JSON-RPC over POST at /, friendbot at /friendbot, and faults where they are allowed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from aiohttp import web

from kalepool.devnet.channels_plugin import METHOD as CHANNELS
from kalepool.devnet.channels_plugin import ChannelsPlugin
from kalepool.devnet.faults import FaultKind
from kalepool.devnet.friendbot import Friendbot, FriendbotError
from kalepool.devnet.node import Node
from kalepool.devnet.rivals import farming
from kalepool.devnet.rpc.cross_origin import allow_origin, answer_preflight
from kalepool.devnet.rpc.json_rpc import RpcCall, failure, read_calls, success
from kalepool.devnet.rpc.methods import METHODS
from kalepool.devnet.rpc.params import Params, read_params
from kalepool.devnet.rpc.rpc_errors import INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, RpcError
from kalepool.errors import ConfigError, InputError

log = structlog.get_logger()

MAX_REQUEST_BYTES = 512 * 1024
_FOR_EVER_SECONDS = 86_400.0
_PAGE = "<html><body><h1>Welcome</h1></body></html>"
_JSON_TYPE = "application/json"
_CHARSETS = (None, "utf-8", "utf8")


class HttpServer:
    """Answers requests for a node."""

    def __init__(self, node: Node, *, with_faults: bool, channels: bool = False, fee_limit: int | None = None) -> None:
        self.node = node
        self.friendbot = Friendbot(node)
        self.channels = ChannelsPlugin(node, self.friendbot, fee_limit=fee_limit) if channels else None
        self._with_faults = with_faults

    def make_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[answer_preflight])
        app.on_response_prepare.append(allow_origin)
        app.router.add_route("*", "/", self.serve_rpc)
        app.router.add_get("/friendbot", self.serve_friendbot)
        app.router.add_post("/friendbot", self.serve_friendbot)
        if self.channels is not None:
            # As the managed service has it, and as a relayer of one's own.
            for path in ("/channels", "/channels/", "/api/v1/plugins/channels/call"):
                app.router.add_post(path, self.serve_channels)
        if self._with_faults:
            app.router.add_get("/faults", self.list_faults)
            app.router.add_post("/faults", self.add_faults)
            app.router.add_delete("/faults", self.clear_faults)
            app.router.add_post("/ledgers", self.close_ledger)
        return app

    # --- JSON-RPC

    async def serve_rpc(self, request: web.Request) -> web.StreamResponse:
        response = await self._serve_rpc(request)
        if not response.prepared:
            response.headers["Accept-Post"] = _JSON_TYPE
        return response

    async def _serve_rpc(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response(status=405)
        if request.content_type != _JSON_TYPE or "Content-Type" not in request.headers:
            return web.Response(status=415, text="content-type must be application/json\n")
        if request.charset not in _CHARSETS:
            return web.Response(status=415, text="invalid content-type charset\n")
        try:
            calls, batch = read_calls(await request.read())
        except RpcError as error:
            return _json(failure(None, error))
        answers = [failure(call.identity, call.error) for call in calls if call.error is not None]
        for call in calls:
            answer = None if call.error is not None else await self._serve_one(request, call)
            if answer is not None:
                answers.append(answer)
        if not answers:
            return web.Response(status=204)
        if batch:
            return _json(answers)
        return await self._spoil(request, calls[0].method, _json(answers[0]))

    async def _serve_one(self, request: web.Request, call: RpcCall) -> dict[str, Any] | None:
        """The answer to a call; None to a notification."""
        await self._fail_before(request, call.method)
        answer = self.call(call)
        if self.node.faults.take(FaultKind.DUPLICATE, call.method):
            answer = self.call(call)
        await self._hold_back(request, call.method)
        return None if call.identity is None else answer

    def call(self, call: RpcCall) -> dict[str, Any]:
        """The answer to one call."""
        try:
            return success(call.identity, self._run(call.method, call.params))
        except RpcError as error:
            return failure(call.identity, error)
        except Exception as error:
            log.exception("request_failed", method=call.method)
            message = f"[{INTERNAL_ERROR}] {type(error).__name__}"
            return failure(call.identity, RpcError(INTERNAL_ERROR, message))

    def _run(self, name: str, params: Any) -> dict[str, Any]:
        if not name:
            raise RpcError(INVALID_REQUEST, "empty method name")
        method = METHODS.get(name)
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, "method not found", name)
        read: Params = read_params(name, params)
        return method(self.node, read)

    async def _fail_before(self, request: web.Request, method: str) -> None:
        faults = self.node.faults
        delay = faults.take(FaultKind.DELAY, method)
        if delay is not None:
            await asyncio.sleep(delay.seconds)
        hang = faults.take(FaultKind.HANG, method)
        if hang is not None:
            await asyncio.sleep(hang.seconds or _FOR_EVER_SECONDS)
        if hang is not None or faults.take(FaultKind.DROP, method):
            _hang_up(request)
        if faults.take(FaultKind.UNAVAILABLE, method):
            raise web.HTTPServiceUnavailable(text="service unavailable")

    async def _hold_back(self, request: web.Request, method: str) -> None:
        late = self.node.faults.take(FaultKind.LATE_ANSWER, method)
        if late is not None:
            await asyncio.sleep(late.seconds)
        if self.node.faults.take(FaultKind.DROP_ANSWER, method):
            _hang_up(request)

    async def _spoil(self, request: web.Request, method: str, response: web.Response) -> web.StreamResponse:
        """What becomes of the answer on its way back."""
        faults = self.node.faults
        if faults.take(FaultKind.GARBAGE, method):
            return web.Response(text=_PAGE, content_type="text/html")
        if faults.take(FaultKind.CUT, method):
            body = bytes(response.body)  # pyright: ignore[reportArgumentType]  # _json gives text
            cut = web.StreamResponse(headers={"Content-Type": _JSON_TYPE})
            cut.content_length = len(body)
            await cut.prepare(request)
            await cut.write(body[: len(body) // 2])
            if request.transport is not None:
                request.transport.close()  # once what was written has left
            raise ConnectionResetError("cut on demand")
        return response

    # --- Stellar Channels

    async def serve_channels(self, request: web.Request) -> web.StreamResponse:
        assert self.channels is not None
        content = await request.read()  # first: what comes late takes effect though the client has left
        await self._fail_before(request, CHANNELS)
        try:
            body = json.loads(content)
        except ValueError:
            return web.Response(status=400, text="Json deserialize error")
        authorization = request.headers.getall("Authorization", [])
        status, answer = await self.channels.serve(authorization, request.headers.get("x-api-key"), body)
        await self._hold_back(request, CHANNELS)
        return await self._spoil(request, CHANNELS, _json(answer, status=status))

    # --- friendbot

    async def serve_friendbot(self, request: web.Request) -> web.Response:
        address = request.query.get("addr")
        if address is None and request.method == "POST" and request.content_type.endswith("form-urlencoded"):
            address = str((await request.post()).get("addr", ""))
        await self._fail_before(request, "friendbot")
        try:
            return _json(await self.friendbot.fund(address or "", request.query.get("kale")))
        except FriendbotError as error:
            problem = {
                "type": "https://stellar.org/horizon-errors/bad_request",
                "title": "Bad Request",
                "status": 400,
                "detail": str(error),
            }
            return _json(problem, status=400)
        except TimeoutError:
            return _json({"title": "Timeout", "status": 504, "detail": "no ledger took the transaction"}, status=504)

    # --- faults

    async def list_faults(self, request: web.Request) -> web.Response:
        return _json(self.node.faults.describe())

    async def add_faults(self, request: web.Request) -> web.Response:
        """Takes one fault or a list of them."""
        try:
            body = json.loads(await request.read())
            for fault in body if isinstance(body, list) else [body]:
                if not isinstance(fault, dict):
                    raise InputError(f"not a fault: {fault!r}")
                self.node.faults.add(fault)
        except (ValueError, InputError) as error:
            return _json({"detail": str(error)}, status=400)
        return await self.list_faults(request)

    async def clear_faults(self, request: web.Request) -> web.Response:
        self.node.faults.clear()
        return await self.list_faults(request)

    async def close_ledger(self, request: web.Request) -> web.Response:
        """Closes a ledger by hand: the only way to where the devnet runs with --ledger-seconds 0."""
        seconds = request.query.get("seconds")
        if seconds is not None and not seconds.isdecimal():
            return _json({"detail": f"seconds must be a whole number, not {seconds!r}"}, status=400)
        closed = self.node.close_ledger(None if seconds is None else int(seconds))
        return _json({"sequence": closed.header.sequence, "close_time": closed.header.close_time})


def _hang_up(request: web.Request) -> None:
    """Closes the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("dropped on demand")


def _json(body: Any, status: int = 200) -> web.Response:
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type=_JSON_TYPE)


@asynccontextmanager
async def serving(
    node: Node,
    host: str,
    port: int,
    *,
    with_faults: bool,
    rivals: int = 0,
    channels: bool = False,
    channels_fee_limit: int | None = None,
) -> AsyncIterator[str]:
    """Serves the node and closes its ledgers until the block ends; gives the URL. Port 0 takes a free one. `channels`:
    with Stellar Channels at /channels, where an API key may cost so many stroops, None for any."""
    server = HttpServer(node, with_faults=with_faults, channels=channels, fee_limit=channels_fee_limit)
    runner = web.AppRunner(server.make_app(), access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
        bound = runner.addresses[0][1]
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        node.friendbot_url = f"{url}/friendbot"
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(_background(node.run()))
            if server.channels is not None:
                await stack.enter_async_context(_background(server.channels.run()))
            await stack.enter_async_context(farming(node, server.friendbot, rivals))
            yield url
    finally:
        await runner.cleanup()
        node.close()


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs the work until the block ends. Where it fails, the block is ended and the failure raised."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield
        task.cancel()
