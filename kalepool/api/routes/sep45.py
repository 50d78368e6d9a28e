"""Signing in with a contract account: SEP-45 at /auth/contracts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, StringConstraints

from kalepool.api.limits import per_address
from kalepool.api.models import Described
from kalepool.api.problems import documented
from kalepool.api.routes.farming import context
from kalepool.api.routes.sep10 import MOST_CHARACTERS, SepRoute, TokenView, field_of, refused, sign_in
from kalepool.services.contract_signin import ContractSignIn
from kalepool.services.signin import ChallengeError

router = APIRouter(tags=["sign-in"], dependencies=[Depends(per_address)], route_class=SepRoute)

ContractAddress = Annotated[
    str, StringConstraints(pattern="^C[A-Z2-7]{55}$"), Field(json_schema_extra={"format": "stellar-contract"})
]


class ContractChallengeView(Described):
    """Authorisation entries of a call that is never sent. Check them as SEP-45 says, sign the contract account's own,
    and send all of them back within 15 minutes."""

    authorization_entries: str = Field(description="SorobanAuthorizationEntries as base64 XDR.")
    network_passphrase: str


@router.get(
    "/auth/contracts",
    summary="A challenge for a contract account to sign",
    responses=documented(400, 404, 422, 429, 503),
)
async def contract_challenge(
    request: Request,
    account: Annotated[ContractAddress, Query(description="The contract account (C…) that signs in.")],
    home_domain: Annotated[str | None, Query(description="The domain of the stellar.toml that led here.")] = None,
) -> ContractChallengeView:
    """SEP-45, first half. Good for 15 minutes, and for one token. A `client_domain` is not verified."""
    ctx = context(request)
    found = ContractSignIn.of(ctx, sign_in(request))
    if home_domain not in (None, found.sign_in.home_domain):
        raise refused(ChallengeError(f"this service signs in for {found.sign_in.home_domain} only"))
    entries = await found.challenge(ctx, account)
    return ContractChallengeView(authorization_entries=entries, network_passphrase=ctx.settings.chain.passphrase)


_SIGNED = {
    "type": "object",
    "required": ["authorization_entries"],
    "properties": {
        "authorization_entries": {
            "type": "string",
            "maxLength": MOST_CHARACTERS,
            "description": "The challenge with the contract account's signature, as base64 XDR.",
        }
    },
}


@router.post(
    "/auth/contracts",
    summary="Sign in with a contract account",
    responses=documented(400, 404, 413, 415, 422, 429, 503),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _SIGNED}}}},
)
async def contract_answer(request: Request) -> TokenView:
    """SEP-45, second half: gives a token where the network says that the contract account has authorised the challenge.
    Once for each. The field may come as a form too (`application/x-www-form-urlencoded`)."""
    entries = field_of(request.headers.get("content-type", ""), await request.body(), "authorization_entries")
    ctx = context(request)
    found = ContractSignIn.of(ctx, sign_in(request))
    try:
        token = await found.answer(ctx, entries)
    except ChallengeError as error:
        raise refused(error) from None
    return TokenView(token=token.token)
