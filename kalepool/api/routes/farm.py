"""The farmers' pages: sign in with a wallet, and join. Whole without a script; farm_account.py is of one farmer.

What could move money asks the wallet once more: nothing that runs in a page can sign for it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from kalepool.api import sessions
from kalepool.api.calls import context
from kalepool.api.limits import address_of
from kalepool.api.rendering import PageRoute, go_to, page, words_of
from kalepool.api.routes.browser import sign_in_page
from kalepool.api.routes.sep10 import MOST_CHARACTERS, sign_in
from kalepool.api.sessions import AnyVisitor, PageForm, WalletVisitor
from kalepool.api.typed import FormError, percent
from kalepool.chain import Destination, require_destination
from kalepool.errors import ChainError, ConflictError, InputError
from kalepool.services import farmers, own_wallets, poolers, withdrawals
from kalepool.services.context import Context
from kalepool.services.keys import Role
from kalepool.services.signin import Deed
from kalepool.view.farm import LEAVING_WHY, state_of
from kalepool.view.reasons import told
from kalepool.view.words import Language, mark

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MOST_SHOWN = 100
"""Farmers of a wallet on its page; it may have `farmers_per_wallet`, and those that have departed."""

WISHES = ("pooler", "payout_wallet", "payout_memo", "stake", "name", "agreed")
"""Fields of the form that joins."""

NAME_LENGTH = 40
"""Of a farmer, for its own eyes and the operator's."""


@router.get("/farm")
async def show_farm(request: Request, visitor: AnyVisitor, account: str | None = None) -> Response:
    """Who is not signed in is asked to; who is sees its farmers. `account`: a wallet that signs somewhere else."""
    caller = visitor.speaks_as(Role.FARMER)
    if caller is None or caller.subject_wallet is None:
        return await _sign_in_page(request, account)
    rows = await farmers.farmers_of_wallet(
        context(request).database, caller.subject_wallet, after=None, limit=MOST_SHOWN
    )
    if not rows:
        return go_to("/farm/join")
    return await page(request, "farm/farmers.html", farmers=rows, state_of=state_of, wallet=caller.subject_wallet)


async def _sign_in_page(request: Request, account: str | None, *, unsigned: str = "") -> Response:
    """With the terms, and whether anybody may join."""
    opened = await poolers.open_poolers(context(request).database, after=None, limit=1)
    known = {"open": bool(opened), **_terms(request)}
    return await sign_in_page(request, "farm/sign_in.html", account, unsigned=unsigned, **known)


def _terms(request: Request) -> dict[str, Any]:
    """What farm/terms.html asks for."""
    ctx = context(request)
    return {"settings": ctx.settings, "sponsored": ctx.accounts.sponsors > 0}


@router.post("/farm/sign-in")
async def answer_challenge(request: Request, visitor: AnyVisitor, form: PageForm) -> Response:
    """The challenge, signed by the wallet (SEP-10)."""
    ctx = context(request)
    try:
        token = await sign_in(request).answer(ctx, signature_in(form), seconds=ctx.settings.browser_seconds)
    except InputError as error:
        return await _sign_in_page(request, form.get("account"), unsigned=told(error, words_of(request)))
    answer = go_to("/farm")
    await sessions.sign_in(request, visitor, token, answer)
    return answer


def signature_in(form: PageForm) -> str:
    """What the form's wallet has signed. Raises FormError where it is too long."""
    transaction = form.get("transaction", "").strip()
    if len(transaction) > MOST_CHARACTERS:
        raise FormError(
            mark("a signed transaction has at most %(most)s characters; this has %(count)s"),
            most=MOST_CHARACTERS,
            count=len(transaction),
        )
    return transaction


# ----------------------------------------------------------------------------------------------------------------------
# Joining


@router.get("/farm/join")
async def show_join(request: Request, caller: WalletVisitor) -> Response:
    """The terms, and what a farmer decides."""
    return await _join_page(request, caller.subject_wallet or "")


async def _join_page(
    request: Request,
    wallet: str,
    wish: dict[str, Any] | None = None,
    *,
    wrong: str = "",
    challenge: str | None = None,
    trouble: str = "",
    own_wrong: str = "",
) -> Response:
    """`trouble`: why the payout wallet cannot be paid now; `own_wrong`: what is wrong with joining with one's own."""
    settings = context(request).settings
    open_ones = await poolers.open_poolers(context(request).database, after=None, limit=MOST_SHOWN)
    usual = {
        "pooler": str(open_ones[0]["pooler_id"]) if open_ones else "",
        "payout_wallet": wallet,
        "payout_memo": "",
        "stake": settings.stake_percentage * 100,
        "name": "",
        "agreed": "",
    }
    return await page(
        request,
        "farm/join.html",
        422 if wrong or own_wrong else 200,
        poolers=open_ones,
        wish=usual | (wish or {}),
        wrong=wrong,
        own_wrong=own_wrong,
        challenge=challenge,
        trouble=trouble,
        wallet=wallet,
        **_terms(request),
        passphrase=settings.chain.passphrase,
        name_length=NAME_LENGTH,
    )


@router.post("/farm/join")
async def join(request: Request, caller: WalletVisitor, form: PageForm) -> Response:
    """A farmer for the wallet that signed in. Another payout wallet than that takes its signature: whoever put a script
    into the page could name one of its own."""
    ctx, wallet = context(request), caller.subject_wallet
    assert wallet is not None
    wish = {name: form.get(name, "").strip() for name in WISHES}
    wish["payout_wallet"] = wish["payout_wallet"] or wallet
    payout, memo = wish["payout_wallet"], wish["payout_memo"] or None
    try:
        if "agreed" not in form:
            raise FormError(mark("read the terms, and say that you agree"))
        if len(wish["name"]) > NAME_LENGTH:
            raise FormError(mark("a name has at most %(most)s characters"), most=NAME_LENGTH)
        pooler_id, part = _id(wish["pooler"]), percent(wish["stake"])
        destination = require_destination(payout, memo)
        trouble = await payout_trouble(ctx, destination, words_of(request))
        if (destination.address, memo) != (wallet, None):
            deed = Deed(f"pay out to {payout[:6]}...{payout[-6:]}", (payout, memo or "", wish["pooler"]))
            if not signature_in(form):
                challenge = sign_in(request).challenge(wallet, ctx.settings.chain.passphrase, deed)
                return await _join_page(request, wallet, wish, challenge=challenge, trouble=trouble)
            await sign_in(request).confirm(ctx, signature_in(form), wallet, deed)
        elif trouble and form.get("warned") != payout:
            return await _join_page(request, wallet, wish, trouble=trouble)
        made = await farmers.register_oneself(
            ctx,
            pooler_id,
            payout,
            part,
            {"name": wish["name"]} if wish["name"] else {},
            address=address_of(request),
            owner_wallet=wallet,
            payout_memo=memo,
        )
    except InputError as error:
        return await _join_page(request, wallet, wish, wrong=told(error, words_of(request)))
    return go_to(f"/farm/{made.farmer.farmer_id}")


@router.post("/farm/own-wallet")
async def join_with_own_wallet(request: Request, caller: WalletVisitor, form: PageForm) -> Response:
    """The wallet that signed in, as a farmer that plants itself."""
    ctx, wallet = context(request), caller.subject_wallet
    assert wallet is not None
    name = form.get("name", "").strip()
    try:
        if "agreed" not in form:
            raise FormError(mark("read the terms, and say that you agree"))
        if len(name) > NAME_LENGTH:
            raise FormError(mark("a name has at most %(most)s characters"), most=NAME_LENGTH)
        made = await own_wallets.register_oneself(
            ctx, _id(form.get("pooler", "")), wallet, {"name": name} if name else {}, address=address_of(request)
        )
    except InputError as error:
        return await _join_page(request, wallet, own_wrong=told(error, words_of(request)))
    return go_to(f"/farm/{made.farmer.farmer_id}")


async def payout_trouble(ctx: Context, destination: Destination, words: Language) -> str:
    """Why KALE cannot be paid there as it is now, in words; nothing where it can, or the network does not answer."""
    try:
        receiver = await ctx.chain.read_receiver(destination)
        withdrawals.check_payout(destination, receiver, kale=True)
    except ChainError:
        return ""
    except ConflictError as error:
        return words.gettext(LEAVING_WHY[error.code]) if error.code in LEAVING_WHY else told(error, words)
    return ""


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise FormError(mark("choose who runs your farmer")) from None
