"""The wallet that is signed in, on this network: account, trustline for KALE, free money where there is any.

What it still needs before it can send KALE, or be paid it, a step at a time.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from kalepool.api.calls import context, finish
from kalepool.api.rendering import PageRoute, go_to, page, words_of
from kalepool.api.routes.farm import signature_in
from kalepool.api.sessions import PageForm, WalletVisitor
from kalepool.api.typed import FormError
from kalepool.chain import BASE_RESERVE_STROOPS, Account, Status, send_trustline, trustline_envelope
from kalepool.config import Settings
from kalepool.errors import InputError
from kalepool.networks import DEVNET
from kalepool.units import STROOPS
from kalepool.view.reasons import told
from kalepool.view.words import mark

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/farm/wallet")

GIFT_STROOPS = 1000 * STROOPS
"""KALE that the devnet gives to a wallet with less than that."""


def gift_for(settings: Settings, account: Account | None) -> str:
    """What friendbot gives this wallet now: XLM where there is no account, on the devnet KALE besides; else nothing."""
    is_devnet = settings.network == DEVNET.name
    if account is None:
        return "XLM" if is_devnet or settings.chain.friendbot_url else ""
    few = account.kale_stroops is not None and account.kale_stroops < GIFT_STROOPS
    return "KALE" if is_devnet and few else ""


@router.get("")
async def show_wallet(request: Request, caller: WalletVisitor) -> Response:
    """What it has, and what it needs next."""
    return await _wallet_page(request, caller.subject_wallet or "")


async def _wallet_page(request: Request, wallet: str, wrong: str = "") -> Response:
    ctx = context(request)
    account = (await ctx.chain.read_accounts([wallet])).get(wallet)  # as it is now: it may have changed this moment
    network, challenge = ctx.settings.chain, None
    if account and account.kale_stroops is None and account.spendable_stroops > BASE_RESERVE_STROOPS:
        challenge = await trustline_envelope(ctx.chain, wallet)
    known = {"account": account, "challenge": challenge, "gift": gift_for(ctx.settings, account), "wrong": wrong}
    return await page(
        request,
        "farm/wallet.html",
        422 if wrong else 200,
        **known,
        wallet=wallet,
        asset=network,
        passphrase=network.passphrase,
    )


@router.post("/trustline")
async def trust(request: Request, caller: WalletVisitor, form: PageForm) -> Response:
    """Sends what the wallet has signed: from then on it takes KALE."""
    wallet = caller.subject_wallet or ""
    try:
        outcome = await finish(request, send_trustline(context(request).chain, signature_in(form), wallet))
        if outcome.status is Status.FAILED:
            raise FormError(mark("the network did not take it: %(reason)s"), reason=outcome.error or "–")
    except InputError as error:
        return await _wallet_page(request, wallet, told(error, words_of(request)))
    return go_to("/farm/wallet")


@router.post("/gift")
async def give(request: Request, caller: WalletVisitor, form: PageForm) -> Response:
    """Free money of a test network, by its friendbot, to the wallet that is signed in and no other."""
    ctx, wallet = context(request), caller.subject_wallet or ""
    gift = gift_for(ctx.settings, await ctx.lookups.account(wallet))
    if not gift:
        return await _wallet_page(request, wallet, words_of(request).say(mark("there is nothing to be given to it")))
    await finish(request, ctx.chain.fund(wallet, kale_stroops=GIFT_STROOPS if gift == "KALE" else 0))
    return go_to("/farm/wallet")
