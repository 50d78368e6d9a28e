"""Requests of web pages: every answer, errors too, may be read by any page (stellar-rpc, jsonrpc.go: rs/cors)."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

_METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS")
_ALLOW = "Access-Control-Allow-"
_ASKED = "Access-Control-Request-"


@web.middleware
async def answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A browser's question before the request itself is answered here, whatever the path."""
    wanted = request.headers.get(f"{_ASKED}Method")
    if request.method != "OPTIONS" or wanted is None:
        return await handler(request)
    headers = {"Vary": f"Origin, {_ASKED}Method, {_ASKED}Headers"}
    if wanted.upper() in _METHODS:
        headers[f"{_ALLOW}Methods"] = wanted.upper()
        if f"{_ASKED}Headers" in request.headers:
            headers[f"{_ALLOW}Headers"] = request.headers[f"{_ASKED}Headers"]
    return web.Response(status=204, headers=headers)


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Names the page's origin in the answer."""
    origin = request.headers.get("Origin")
    response.headers.setdefault("Vary", "Origin")
    if origin is not None:
        response.headers[f"{_ALLOW}Origin"] = origin
