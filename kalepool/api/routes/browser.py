"""Browsers: signed out again, on every page where they can sign in."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from kalepool.api import sessions
from kalepool.api.calls import context
from kalepool.api.rendering import PageRoute, came_from, go_to, page, words_of
from kalepool.api.routes.sep10 import sign_in
from kalepool.api.sessions import AnyVisitor, PageForm
from kalepool.errors import InputError
from kalepool.services.farmers import require_account_address
from kalepool.services.keys import Role
from kalepool.view.reasons import told

router = APIRouter(include_in_schema=False, route_class=PageRoute)

HOMES = {Role.FARMER: "/farm", Role.OPERATOR: "/operator", Role.MINER: "/mine"}
"""Where who signed out, or has nothing to do where it is, goes by its role."""


@router.post("/sign-out")
async def sign_out(request: Request, visitor: AnyVisitor, form: PageForm) -> Response:
    """This browser, in all its roles; with the field `everywhere`, every other of the same wallets and keys too."""
    led_here = came_from(request)
    homes = [home for home in HOMES.values() if led_here == home or led_here.startswith((f"{home}/", f"{home}?"))]
    homes += [HOMES.get(each.role, "/") for each in visitor.principals]
    answer = go_to(next(iter(homes), "/"))
    await sessions.sign_out(request, visitor, answer, everywhere="everywhere" in form)
    return answer


async def sign_in_page(
    request: Request, template: str, account: str | None, *, unsigned: str = "", **more: Any
) -> Response:
    """The page that asks for a wallet's signature (SEP-10). `account`: a wallet that signs somewhere else; `unsigned`:
    what is wrong with its signature; `more`: what else the template asks for."""
    account, challenge, wrong = (account or "").strip(), None, None
    passphrase = context(request).settings.chain.passphrase
    if account:
        try:
            require_account_address(account)
            challenge = sign_in(request).challenge(account, passphrase)
        except InputError as error:
            wrong = told(error, words_of(request))
    known = {"account": account, "challenge": challenge, "wrong": wrong, "passphrase": passphrase, "unsigned": unsigned}
    return await page(request, template, 422 if wrong or unsigned else 200, **known | more)
