"""One miner's pages, for its key or its payout wallet: rigs, earnings, how it is paid, keys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from kalepool.api import sessions
from kalepool.api.auth import Keys, Principal
from kalepool.api.calls import context
from kalepool.api.charts import block_chart
from kalepool.api.file_formats import Row, export
from kalepool.api.problems import of_said
from kalepool.api.questions import Question, asked
from kalepool.api.rendering import HEADERS, TEMPLATES, PageRoute, go_to, language_of, page, words_of
from kalepool.api.routes.earnings import STATEMENT_COLUMNS, statement_page
from kalepool.api.routes.farm import signature_in
from kalepool.api.routes.mine_pages import HOME, all_miners_of, how_to_mine, key_page, own_miner
from kalepool.api.routes.own_alert_forms import alerts_known, send_test, set_alerts
from kalepool.api.routes.page import how_to_verify
from kalepool.api.routes.sep10 import sign_in
from kalepool.api.sessions import AnyVisitor, PageForm
from kalepool.api.typed import FormError, stroops_of
from kalepool.chain import Destination, require_destination
from kalepool.clock import steady_now
from kalepool.errors import InputError, NotFoundError
from kalepool.marking import Sum
from kalepool.services.keys import Role, add_own_key, own_keys
from kalepool.services.mining import Mining, miners, payout_records, payout_wallets
from kalepool.services.mining.payout_wishes import NothingDueError, wish
from kalepool.services.signin import Deed
from kalepool.view.mining import OUTCOMES, MinerAccount, read_account
from kalepool.view.reasons import told
from kalepool.view.words import Language, mark

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix=f"{HOME}/{{miner_id:uuid}}")

PARTS = ("figures", "rigs", "shares", "earnings", "payouts")
"""Of a miner's page: a template each, and an element of that id, brought up to date while somebody looks."""

MOST_KEYS_SHOWN = 50
LABEL_LENGTH = 60

OwnMiner = Annotated[Principal, Depends(own_miner)]

_ONCE = re.compile(r"[0-9a-f-]{36}")


# ----------------------------------------------------------------------------------------------------------------------
# Looking


async def _known(request: Request, account: MinerAccount) -> dict[str, Any]:
    """What every part of the page may ask for."""
    settings = context(request).settings
    words = Language(language_of(request))
    sums = list(reversed(account.earnings))
    said = words.say(mark("%(sum)s KALE"), sum=words.kale(sum(stroops for _, stroops in sums)))
    own = account.balance["payout_threshold_stroops"] or 0
    return {
        "account": account,
        "miner": account.miner,
        "banned": (account.miner.banned_until or steady_now()) > steady_now(),
        "balance": account.balance,
        "threshold": max(own, settings.payout_threshold_stroops),
        "chart": block_chart(sums, said, words),
        "outcomes": OUTCOMES,
        "settings": settings,
        "explorer_url": settings.chain.explorer_url,
    }


@router.get("")
async def show_account(request: Request, miner_id: UUID, caller: OwnMiner) -> Response:
    """All of a miner."""
    return await _account_page(request, miner_id, caller)


async def _account_page(
    request: Request,
    miner_id: UUID,
    caller: Principal,
    form: PageForm | None = None,
    status: int = 200,
    **wrong: str,
) -> Response:
    """`wrong`: by the form that was sent (terms, payouts, wallet, keys, alerts), what is wrong with it; what it had in
    it stays."""
    ctx = context(request)
    account = await read_account(ctx.database, miner_id)
    keys = await own_keys(ctx.database, Role.MINER, miner_id, None, after=None, limit=MOST_KEYS_SHOWN)
    known = await _known(request, account) | how_to_mine(request) | await alerts_known(request, miner_id)
    known |= await how_to_verify(request) | {"its_miners": len(await all_miners_of(request, request.state.visitor))}
    known |= {"wrong": wrong, "typed": form or {}, "done": request.query_params.get("done")}
    return await page(request, "mine/account.html", status, **known, caller=caller, keys=keys, once=uuid4())


async def _refused(
    request: Request, miner_id: UUID, caller: Principal, form: PageForm, where: str, error: InputError
) -> Response:
    """Its page, with what is wrong in the form that was sent."""
    said = told(error, words_of(request))
    return await _account_page(request, miner_id, caller, form, of_said(error).status, **{where: said})


@router.get("/parts")
async def show_parts(request: Request, miner_id: UUID, _: OwnMiner) -> Response:
    """The parts of its page as they are now: HTML by id."""
    account = await read_account(context(request).database, miner_id)
    known = await _known(request, account) | {"visitor": request.state.visitor}
    made = TEMPLATES[language_of(request)]
    parts = await asyncio.to_thread(lambda: {n: made.get_template(f"mine/parts/{n}.html").render(known) for n in PARTS})
    return JSONResponse(parts, headers=HEADERS)


@router.get("/statement.csv")
async def save_statement(request: Request, miner_id: UUID, _: OwnMiner) -> StreamingResponse:
    """Every entry of the miner's in the pool's books, the oldest first."""
    database = context(request).database

    async def read(last: Row | None) -> Sequence[Row]:
        return await statement_page(database, miner_id, last)

    return await export(read, STATEMENT_COLUMNS, "csv", f"miner-{miner_id}")


# ----------------------------------------------------------------------------------------------------------------------
# Rigs


@router.post("/rigs/{searcher:int}/retire")
async def retire(request: Request, miner_id: UUID, searcher: int, _: OwnMiner, form: PageForm) -> Response:
    """A machine that is gone is shown no more."""
    mining: Mining = request.app.state.mining
    if searcher >= 2**63:
        raise InputError(f"{searcher} is no rig's number")
    await mining.retire_rig(miner_id, searcher)
    return go_to(f"{HOME}/{miner_id}#rigs")


# ----------------------------------------------------------------------------------------------------------------------
# Alerts


@router.post("/alerts")
async def change_alerts(request: Request, miner_id: UUID, caller: OwnMiner, form: PageForm) -> Response:
    """Where it is told of what is its own."""
    try:
        return await set_alerts(request, Role.MINER, miner_id, form, f"{HOME}/{miner_id}")
    except InputError as error:
        return await _refused(request, miner_id, caller, form, "alerts", error)


@router.post("/alerts/test")
async def try_alerts(request: Request, miner_id: UUID, _: OwnMiner, form: PageForm) -> Response:
    """Whether a message arrives there."""
    return await send_test(request, miner_id, f"{HOME}/{miner_id}")


# ----------------------------------------------------------------------------------------------------------------------
# How it is paid


@router.post("/terms")
async def change_terms(request: Request, miner_id: UUID, caller: OwnMiner, form: PageForm) -> Response:
    """From how much on it is paid, and whether by a claimable balance where its wallet has no trustline."""
    wanted = form.get("threshold", "").strip()
    least = context(request).settings.payout_threshold_stroops
    try:
        stroops = stroops_of(wanted, words_of(request)) if wanted else None
        if stroops is not None and stroops < least:
            raise FormError(
                mark("%(typed)s KALE are less than the pool's least, %(least)s"),
                typed=Sum(stroops),
                least=Sum(least),
            )
    except FormError as error:
        return await _refused(request, miner_id, caller, form, "terms", error)
    await payout_records.set_terms(context(request).database, miner_id, stroops, form.get("claimable") == "1")
    return go_to(f"{HOME}/{miner_id}?done=terms#paid")


@router.post("/payouts")
async def pay_now(request: Request, miner_id: UUID, caller: OwnMiner, form: PageForm) -> Response:
    """All that is due, with the next round. `once`: the page's own, so that a second click is the same."""
    once = form.get("once", "")
    if not _ONCE.fullmatch(once):
        raise InputError(mark("this form is not whole: load the page and try again"))
    try:
        await wish(context(request), miner_id, f"page {once}")
    except NothingDueError as error:
        said = words_of(request).say(
            mark("%(due)s KALE are due: from %(least)s KALE on they are paid when you ask"),
            due=Sum(error.due_stroops),
            least=Sum(error.least_stroops),
        )
        return await _account_page(request, miner_id, caller, form, 409, payouts=said)
    except InputError as error:
        return await _refused(request, miner_id, caller, form, "payouts", error)
    return go_to(f"{HOME}/{miner_id}#payouts")


@router.post("/wallet")
async def change_wallet(request: Request, miner_id: UUID, caller: OwnMiner, form: PageForm) -> Response:
    """Another payout wallet: at once where there was none, or the old one signs for just that; else after some hours,
    in which the old one's owner may set it back."""
    try:
        return await _change_wallet(request, miner_id, form)
    except InputError as error:
        return await _refused(request, miner_id, caller, form, "wallet", error)


async def _change_wallet(request: Request, miner_id: UUID, form: PageForm) -> Response:
    ctx = context(request)
    wanted = require_destination(form.get("payout_wallet", "").strip(), form.get("payout_memo", "").strip() or None)
    balance = await payout_records.balance(ctx.database, miner_id)
    old = balance["payout_wallet"]
    if (wanted.address, wanted.memo) == (old, balance["payout_memo"]):
        return await keep_wallet(request, miner_id)
    signer = Destination(old).account if old else None
    deed, signed_by = _moving(miner_id, wanted), None
    if signer is not None:
        if signature_in(form):
            await sign_in(request).confirm(ctx, signature_in(form), signer, deed)
            signed_by = signer
        elif form.get("later") != "1":
            challenge = sign_in(request).challenge(signer, ctx.settings.chain.passphrase, deed)
            known = {"miner_id": miner_id, "wanted": wanted, "old": old, "signer": signer, "challenge": challenge}
            hours = ctx.settings.payout_change_hours
            return await page(
                request, "mine/wallet.html", **known, hours=hours, passphrase=ctx.settings.chain.passphrase
            )
    await payout_wallets.change(ctx.database, ctx.custody, ctx.settings, miner_id, wanted, signed_by=signed_by)
    return go_to(f"{HOME}/{miner_id}?done=wallet#paid")


@router.post("/wallet/keep")
async def keep_old_wallet(request: Request, miner_id: UUID, _: OwnMiner, form: PageForm) -> Response:
    """The wallet that there is stays: the one that was to follow it is dropped."""
    return await keep_wallet(request, miner_id)


async def keep_wallet(request: Request, miner_id: UUID) -> Response:
    ctx = context(request)
    await payout_wallets.keep(ctx.database, ctx.custody, miner_id)
    return go_to(f"{HOME}/{miner_id}?done=wallet#paid")


def _moving(miner_id: UUID, wanted: Destination) -> Deed:
    to = wanted.address
    return Deed(f"pay my miner to {to[:6]}...{to[-6:]}", ("miner-wallet", str(miner_id), to, wanted.memo or ""))


# ----------------------------------------------------------------------------------------------------------------------
# Keys


@router.post("/keys")
async def make_key(request: Request, miner_id: UUID, visitor: AnyVisitor, caller: OwnMiner, form: PageForm) -> Response:
    """Another key: shown this once. Who signed in with the payout wallet has it sign for that: a stolen session would
    live on in the key."""
    ctx = context(request)
    label = form.get("label", "").strip()[:LABEL_LENGTH]
    if caller.role != Role.MINER:
        wallet = caller.subject_wallet
        assert wallet is not None
        deed = Deed(f"a new key for my miner {str(miner_id)[-12:]}", ("miner-key", str(miner_id)))
        if not signature_in(form):
            challenge = sign_in(request).challenge(wallet, ctx.settings.chain.passphrase, deed)
            known = {"miner_id": miner_id, "label": label, "wallet": wallet, "challenge": challenge}
            return await page(request, "mine/new_key.html", **known, passphrase=ctx.settings.chain.passphrase)
        await sign_in(request).confirm(ctx, signature_in(form), wallet, deed)

    async def note(*_: object) -> None:
        """It is no operator's action."""

    made = await add_own_key(
        *(ctx.database, Role.MINER, miner_id),
        label=label or "page",
        expires_at=None,
        replaces=None,
        overlap_seconds=0,
        note=note,
    )
    renewed = await sessions.renew(request, visitor, caller.key_id)
    return await key_page(request, renewed, miner_id, made.key)


@router.post("/keys/{key_id:uuid}/end")
async def end_key(
    request: Request, miner_id: UUID, key_id: UUID, visitor: AnyVisitor, caller: OwnMiner, form: PageForm
) -> Response:
    """At once, for good, once it was asked for again. The key that this browser signed in with signs it out."""
    database = context(request).database
    live = await own_keys(database, Role.MINER, miner_id, None, after=None, limit=MOST_KEYS_SHOWN)
    label = next((key.label or "–" for key in live if key.key_id == key_id), None)
    if label is None:
        raise NotFoundError(f"no key {key_id} of this miner that may still be used")
    is_this = key_id == caller.key_id
    follows = (
        mark("Machines that mine with it stop, for good. It is this browser's, too: you are signed out here.")
        if is_this
        else mark("Machines that mine with it stop, for good.")
    )
    question = Question(
        mark("End the key %(key)s?"), follows, f"{HOME}/{miner_id}#keys", {"key": label}, is_grave=is_this
    )
    try:
        await miners.require_other_key(database, miner_id, key_id)
        if answer := await asked(request, form, question):
            return answer
        await miners.end_key(database, miner_id, key_id)
    except miners.LastKeyError:
        said = words_of(request).say(
            mark(
                "This is the last key, and there is no payout wallet of your own to sign in with: set one, or make "
                "another key, before you end it."
            )
        )
        return await _account_page(request, miner_id, caller, form, 409, keys=said)
    keys: Keys = request.app.state.keys
    keys.forget(key_id)
    if not is_this:
        return go_to(f"{HOME}/{miner_id}#keys")
    answer = go_to(f"{HOME}?done=key-ended")
    if len(visitor.sessions) == 1:  # the others go on: what stood on the key has ended with it
        await sessions.sign_out(request, visitor, answer, everywhere=False)
    return answer
