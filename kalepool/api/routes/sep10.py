"""Signing in with a Stellar wallet: SEP-10 at /auth, and the stellar.toml that wallets find it by (SEP-1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from kalepool.api.limits import per_address
from kalepool.api.models import AccountAddress, Described
from kalepool.api.problems import SAID, Problem, documented, of_said
from kalepool.api.routes.farming import context
from kalepool.services.signin import ChallengeError, SignIn


class SepRoute(APIRoute):
    """An endpoint whose problems have also the member that SEP-10 and SEP-45 give errors."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_sep10(request: Request) -> Response:
            try:
                return await handle(request)
            except SAID as error:
                problem = of_said(error)
            problem.extra["error"] = problem.detail
            raise problem

        return handle_sep10


router = APIRouter(tags=["sign-in"], dependencies=[Depends(per_address)], route_class=SepRoute)

MOST_CHARACTERS = 10_000
"""Of a signed challenge: 20 signatures, the most a transaction has, fit well."""

MOST_FIELDS = 1000
"""Of a form. One is needed."""


def sign_in(request: Request) -> SignIn:
    return request.app.state.sign_in


class WalletCors:
    """ASGI middleware: web wallets and their pages, wherever they come from, may call what farmers use (SEP-1, SEP-10).

    No cookie is ever read, so a page can do no more than who holds the key or token it sends.
    """

    PATHS = ("/auth", "/.well-known/stellar.toml", "/farmer", "/farmers")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open = CORSMiddleware(
            app,
            allow_origins=["*"],
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        theirs = any(path == each or path.startswith(f"{each}/") for each in self.PATHS)
        await (self._open if theirs else self._app)(scope, receive, send)


@router.get(
    "/.well-known/stellar.toml",
    summary="The pool, for Stellar wallets",
    response_class=PlainTextResponse,
    responses=documented(429, 503),
)
async def stellar_toml(request: Request) -> PlainTextResponse:
    """SEP-1: the key that signs challenges, and where to sign in."""
    network = context(request).settings.chain
    found = sign_in(request)
    lines = {
        "VERSION": "2.0.0",
        "NETWORK_PASSPHRASE": network.passphrase,
        "SIGNING_KEY": found.signer.public_key,
        "WEB_AUTH_ENDPOINT": found.endpoint,
    }
    if network.web_auth_id is not None:
        lines["WEB_AUTH_FOR_CONTRACTS_ENDPOINT"] = f"{found.endpoint}/contracts"
        lines["WEB_AUTH_CONTRACT_ID"] = network.web_auth_id
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    text += f'\n[DOCUMENTATION]\nORG_NAME = "kalepool"\nORG_URL = {json.dumps(found.endpoint.removesuffix("/auth"))}\n'
    text += f"\n[[CURRENCIES]]\ncode = {json.dumps(network.asset_code)}\nissuer = {json.dumps(network.asset_issuer)}\n"
    return PlainTextResponse(text)


class ChallengeView(Described):
    """A transaction that can never apply. Check it as SEP-10 says, sign it, and send it back within 15 minutes."""

    transaction: str = Field(description="Base64 XDR.")
    network_passphrase: str


@router.get("/auth", summary="A challenge to sign", responses=documented(400, 422, 429, 503))
async def challenge(
    request: Request,
    account: Annotated[AccountAddress, Query(description="The payout wallet that signs in.")],
    home_domain: Annotated[str | None, Query(description="The domain of the stellar.toml that led here.")] = None,
    memo: Annotated[str | None, Query(description="Of a shared account: these cannot sign in here.")] = None,
) -> ChallengeView:
    """SEP-10, first half. Good for 15 minutes, and for one token."""
    found = sign_in(request)
    if home_domain not in (None, found.home_domain):
        raise refused(ChallengeError(f"this service signs in for {found.home_domain} only"))
    if memo is not None:
        raise refused(ChallengeError("shared accounts (a memo, or an M… address) cannot sign in"))
    passphrase = context(request).settings.chain.passphrase
    return ChallengeView(transaction=found.challenge(account, passphrase), network_passphrase=passphrase)


class TokenView(Described):
    """For `Authorization: Bearer`. A JWT, but nobody needs to read it."""

    token: str


# Generated clients have one form of a body: JSON. The other that SEP-10 asks for is taken, and told in words.
_SIGNED = {
    "type": "object",
    "required": ["transaction"],
    "properties": {
        "transaction": {
            "type": "string",
            "maxLength": MOST_CHARACTERS,
            "description": "The challenge with the wallet's signatures, as base64 XDR.",
        }
    },
}


@router.post(
    "/auth",
    summary="Sign in",
    responses=documented(400, 413, 415, 422, 429, 503),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _SIGNED}}}},
)
async def answer(request: Request) -> TokenView:
    """SEP-10, second half: gives a token for the challenge, signed to the wallet's medium threshold. Once for each. The
    field may come as a form too (`application/x-www-form-urlencoded`)."""
    transaction = field_of(request.headers.get("content-type", ""), await request.body(), "transaction")
    try:
        token = await sign_in(request).answer(context(request), transaction)
    except ChallengeError as error:
        raise refused(error) from None
    return TokenView(token=token.token)


def field_of(content_type: str, body: bytes, name: str) -> str:
    """The signed challenge in a JSON or form body, the field of this name. Raises Problem 415, 422."""
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            try:
                sent: Any = json.loads(body)
            except (ValueError, RecursionError):
                sent = None
            found = sent.get(name) if isinstance(sent, dict) else None
        case "application/x-www-form-urlencoded":
            try:
                fields = parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
            except ValueError:
                fields = {}
            found = fields.get(name, [None])[0]
        case _:
            raise Problem(415, "unsupported-media-type", "send application/json or application/x-www-form-urlencoded")
    if not isinstance(found, str) or len(found) > MOST_CHARACTERS:
        detail = f"{name} is missing, or not text of at most {MOST_CHARACTERS} characters"
        raise Problem(422, "invalid-input", detail, errors=[{"where": f"body.{name}", "message": detail}])
    return found


def refused(error: ChallengeError) -> Problem:
    return Problem(400, error.code, str(error))
