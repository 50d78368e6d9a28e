"""The farmers' pages: sign in with a wallet, join, fund, look, withdraw, leave. Whole without a script.

What moves money asks the wallet once more: nothing that runs in a page can sign for it.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from kalepool.api import sessions
from kalepool.api.calls import context
from kalepool.api.rendering import PageRoute, go_to, page
from kalepool.api.routes.sep10 import MOST_CHARACTERS, sign_in
from kalepool.api.sessions import AnyVisitor, PageForm
from kalepool.errors import InputError
from kalepool.services import farmers
from kalepool.services.keys import Role

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MOST_SHOWN = 100
"""Farmers of a wallet on its page; it may have `farmers_per_wallet`, and those that have departed."""


@router.get("/farm")
async def show_farm(request: Request, visitor: AnyVisitor, account: str | None = None) -> Response:
    """Who is not signed in is asked to; who is sees its farmers. `account`: a wallet that signs somewhere else."""
    caller = visitor.principal
    if caller is None or caller.role != Role.FARMER or caller.subject_wallet is None:
        return await _sign_in_page(request, (account or "").strip())
    rows = await farmers.farmers_of_wallet(
        context(request).database, caller.subject_wallet, after=None, limit=MOST_SHOWN
    )
    return await page(request, "farm/farmers.html", farmers=rows)


async def _sign_in_page(request: Request, account: str) -> Response:
    challenge = wrong = None
    passphrase = context(request).settings.chain.passphrase
    if account:
        try:
            farmers.require_account_address(account)
            challenge = sign_in(request).challenge(account, passphrase)
        except InputError as error:
            wrong = str(error)
    known = {"account": account, "challenge": challenge, "wrong": wrong, "passphrase": passphrase}
    return await page(request, "farm/sign_in.html", 422 if wrong else 200, **known)


@router.post("/farm/sign-in")
async def answer_challenge(request: Request, visitor: AnyVisitor, form: PageForm) -> Response:
    """The challenge, signed by the wallet (SEP-10)."""
    transaction = form.get("transaction", "").strip()
    if len(transaction) > MOST_CHARACTERS:
        raise InputError(f"a signed challenge has at most {MOST_CHARACTERS} characters; this has {len(transaction)}")
    ctx = context(request)
    token = await sign_in(request).answer(ctx, transaction, seconds=ctx.settings.browser_seconds)
    answer = go_to("/farm")
    await sessions.sign_in(request, visitor, token, answer)
    return answer
