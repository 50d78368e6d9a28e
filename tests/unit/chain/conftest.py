"""An RPC server that answers as it is told to, over real HTTP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kalepool.networks import DEVNET, Network

Answer = Any  # a result, a web.Response, or a function of the params that gives one


class ScriptedRpc:
    """`answers[method]` is a list of answers, given one after the other; the last one stays. `requests` keeps all."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.requests: list[tuple[str, Any]] = []
        self.url = ""

    def asked(self, method: str) -> int:
        return sum(1 for name, _ in self.requests if name == method)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        method, params = body["method"], body.get("params")
        self.requests.append((method, params))
        script = self.answers[method]
        if not script:
            error = {"code": -32601, "message": "method not found"}
            return web.json_response({"jsonrpc": "2.0", "id": body["id"], "error": error})
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Callable):
            answer = await answer(params)
        if isinstance(answer, web.StreamResponse):
            return answer
        if isinstance(answer, dict) and "error!" in answer:
            return web.json_response({"jsonrpc": "2.0", "id": body["id"], "error": answer["error!"]})
        return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": answer})


@pytest.fixture
async def rpc() -> AsyncIterator[ScriptedRpc]:
    scripted = ScriptedRpc()
    app = web.Application()
    app.router.add_post("/", scripted.handle)
    server = TestServer(app)
    await server.start_server()
    scripted.url = str(server.make_url("/"))
    yield scripted
    await server.close()


@pytest.fixture
def network(rpc: ScriptedRpc) -> Network:
    return replace(DEVNET, rpc_url=rpc.url, ledger_seconds=0.2)
