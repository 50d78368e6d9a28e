"""Errors as application/problem+json (RFC 9457), each with a stable `type`: urn:kalepool:problem:<code>."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from kalepool.contract_errors import ContractError
from kalepool.errors import (
    ChainError,
    ConflictError,
    DatabaseError,
    ForbiddenError,
    InputError,
    KalepoolError,
    NotFoundError,
)
from kalepool.marking import mark
from kalepool.services.failures import BlockNotOpenError
from kalepool.units import unprefixed

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
"""When to come back after a 503."""

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). `code`, also the end of `type`, is stable; `detail` is for people.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:kalepool:problem:not-found"]},
        "title": {"type": "string", "examples": ["Not Found"]},
        "status": {"type": "integer", "examples": [404]},
        "detail": {"type": "string", "examples": ["no farmer 0198c6f2-6c5e-7cc3-98c4-dc0c0c07398f"]},
        "code": {"type": "string", "examples": ["not-found"]},
        "fault": {"type": "string", "enum": ["pooler", "backend", "farmer", "network"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["where", "message"],
                "properties": {"where": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "opens_at": {"type": "string", "format": "date-time"},
        "error": {"type": "string", "description": "At /auth alone: `detail`, by the name that SEP-10 gives it."},
    },
}


class Problem(Exception):
    """An answer that is an error. Raise it anywhere below a route; `extra` become members of the answer."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers, self.extra = status, code, detail, headers, extra

    @property
    def phrase(self) -> str:
        """What HTTP calls the status."""
        return HTTPStatus(self.status).phrase

    def response(self) -> JSONResponse:
        body = {
            "type": f"urn:kalepool:problem:{self.code}",
            "title": self.phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.extra,
        }
        return JSONResponse(body, self.status, self.headers, media_type=MEDIA_TYPE)


SAID = (RequestValidationError, KalepoolError, Problem)
"""What handlers raise for a caller to be told."""


def of_said(error: RequestValidationError | KalepoolError | Problem) -> Problem:
    """The answer to any of them."""
    if isinstance(error, Problem):
        return error
    return of_invalid(error) if isinstance(error, RequestValidationError) else of_error(error)


def of_error(error: KalepoolError) -> Problem:
    """The answer to an error of ours. What is wrong on our side is told without detail; the log has it."""
    match error:
        case NotFoundError():
            status = 404
        case ForbiddenError():
            status = 403
        case BlockNotOpenError() if error.opens_at is not None:
            return Problem(409, error.code, str(error), fault=error.fault, opens_at=error.opens_at.isoformat())
        case ConflictError() | ContractError():
            status = 409
        case InputError():
            status = 422
        case _:
            log.error("request_failed", code=error.code, reason=str(error))
            headers = {"Retry-After": str(RETRY_SECONDS)}
            return Problem(503, error.code, _trouble(error), headers=headers, fault=error.fault)
    return Problem(status, error.code, str(error), fault=error.fault)


def _trouble(error: KalepoolError) -> str:
    if isinstance(error, DatabaseError):
        return mark("the database is in trouble; the same request may be sent again, nothing is done twice")
    if isinstance(error, ChainError):
        return mark("the chain is in trouble; the same request may be sent again, nothing is done twice")
    return mark("a part of the pool is in trouble; the same request may be sent again, nothing is done twice")


def of_invalid(error: RequestValidationError) -> Problem:
    """The answer to values that are missing or wrong. What was sent is not repeated: it may be secret, or no text."""
    errors = [
        {"where": ".".join(str(part) for part in found["loc"]), "message": unprefixed(found["msg"])}
        for found in error.errors()[:20]
    ]
    detail = "; ".join(f"{each['where']}: {each['message']}" for each in errors[:3])
    return Problem(422, "invalid-input", detail, fault="pooler", errors=errors)


def install(
    app: FastAPI, routes: Sequence[BaseRoute] = (), missing: Callable[[Request], Awaitable[Response]] | None = None
) -> None:
    """Makes every error of the app a problem. `routes`: all there are; a 405 names what each of them allows.

    `missing`: what a browser is shown at an address that is none of theirs.
    """

    @app.exception_handler(Problem)
    async def _problem(_: Request, problem: Problem) -> JSONResponse:
        return problem.response()

    @app.exception_handler(KalepoolError)
    async def _ours(_: Request, error: KalepoolError) -> JSONResponse:
        return of_error(error).response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return of_invalid(error).response()

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and missing is not None and "text/html" in request.headers.get("accept", ""):
            return await missing(request)
        if error.detail == "There was an error parsing the body":  # FastAPI's word for what is not even UTF-8
            return Problem(422, "invalid-input", "body: this is no JSON").response()
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        headers = dict(error.headers) if error.headers else None
        if error.status_code == 405 and (allowed := _methods(request, routes)):
            headers = {"Allow": ", ".join(sorted(allowed))}
        return Problem(error.status_code, code, str(error.detail), headers=headers).response()

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request_broken", method=request.method, path=request.url.path, exc_info=error)
        return Problem(500, "internal", "an error on our side; it is in the log").response()


def _methods(request: Request, routes: Sequence[BaseRoute]) -> set[str]:
    """What can be done with the path of the request. Several routers may each have some of it."""
    fitting = (route for route in routes if isinstance(route, Route) and route.path_regex.match(request.url.path))
    methods = {method for route in fitting for method in route.methods or ()}
    return methods | {"HEAD"} if "GET" in methods else methods


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems an operation may answer with, for its OpenAPI description."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": DESCRIPTIONS.get(status, HTTPStatus(status).phrase), "content": content}
        for status in statuses
    }


DESCRIPTIONS = {
    401: "No key, or one that is unknown, expired or revoked.",
    403: "The key may not do this.",
    404: "What is named does not exist, or is not the caller's.",
    409: "Not possible in the present state; `code` says why.",
    413: "The body is larger than this service takes.",
    422: "A value is missing or wrong; `errors` says which.",
    429: "Too many requests: come back after `Retry-After` seconds.",
    503: "The chain, the database or the pool's own accounts are not ready. The same request may be sent again.",
}
