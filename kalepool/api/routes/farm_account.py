"""One farmer's pages, for the wallet that signed in for it: fund, look, change the stake, pause, withdraw, leave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from kalepool.api.auth import Principal
from kalepool.api.calls import context, finish, visible_farmer
from kalepool.api.charts import block_chart
from kalepool.api.file_formats import PAGE, Row, export
from kalepool.api.qr import payment_link, qr_code
from kalepool.api.rendering import HEADERS, TEMPLATES, PageRoute, go_to, language_of, page, words_of
from kalepool.api.routes.farm import payout_trouble, signature_in
from kalepool.api.routes.own_alert_forms import alerts_known, send_test, set_alerts
from kalepool.api.routes.sep10 import sign_in
from kalepool.api.sessions import PageForm, WalletVisitor
from kalepool.api.typed import FormError, percent, stroops_of
from kalepool.chain import Status, deposit_envelope, send_deposit
from kalepool.errors import InputError
from kalepool.marking import Sum
from kalepool.services import farmers, leaving, withdrawals
from kalepool.services.context import Context
from kalepool.services.farmers import Farmer, FarmerStatus, Wishes
from kalepool.services.holdings import read_holdings
from kalepool.services.keys import Role
from kalepool.services.signin import Deed
from kalepool.services.withdrawals import Asset
from kalepool.units import amount
from kalepool.view.farm import LEAVING_WHY, FarmView, read_entries, read_farm, read_sums, read_xlm_entries, tell
from kalepool.view.reasons import told
from kalepool.view.words import Language, mark

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/farm/{farmer_id:uuid}")

PARTS = ("state", "figures", "sums", "fund", "earnings", "withdrawals", "blocks", "have")
"""Of a farmer's page: a template each, and an element of that id, brought up to date while somebody looks."""

MOST_WITHDRAWALS = 10
"""Shown."""

PREPAID_PAILS = 100
"""A farmer that plants itself is asked to pay for so many ahead: about eight hours of blocks."""


# ----------------------------------------------------------------------------------------------------------------------
# Looking


async def _farm(request: Request, farmer: Farmer) -> FarmView:
    ctx = context(request)
    sums = await read_sums(ctx.database, farmer.farmer_id)
    return await read_farm(
        ctx.database,
        farmer,
        await read_holdings(ctx, farmer),
        sums,
        min_spare_stroops=ctx.settings.min_spare_stroops,
        block_seconds=ctx.settings.chain.block_seconds,
        sponsored=ctx.accounts.sponsors > 0,
        deposit_stroops=ctx.settings.farmer_deposit_stroops,
    )


def _paid_to(ctx: Context, farmer: Farmer) -> str:
    """Where a deposit goes: to the farmer's wallet; of one that plants itself, to the treasury. Raises FormError."""
    if not farmer.plants_itself:
        return farmer.custodial_wallet
    if ctx.accounts.treasury is None:
        raise FormError(mark("the pool has no treasury yet: try again in a moment"))
    return ctx.accounts.treasury.public_key


async def _known(request: Request, farmer: Farmer) -> dict[str, Any]:
    """What every part of the page may ask for."""
    ctx, network = context(request), context(request).settings.chain
    view, language = await _farm(request, farmer), Language(language_of(request))
    missing = view.missing
    asset, due = ("XLM", missing.native_stroops) if missing.native_stroops else ("KALE", missing.kale_stroops)
    leaves = farmer.status in (FarmerStatus.LEAVING, FarmerStatus.DEPARTED)
    fund, treasury = None, ctx.accounts.treasury
    if not leaves and not farmer.plants_itself and due and not (asset == "KALE" and missing.trustline):
        link = payment_link(network, farmer.custodial_wallet, asset, due)
        fund = {"asset": asset, "stroops": due, "link": link}
    pay_to = farmer.custodial_wallet
    if farmer.plants_itself and not leaves and treasury is not None:
        pay_to, due = treasury.public_key, PREPAID_PAILS * farmer.price_stroops
        link = payment_link(network, pay_to, "KALE", due)
        fund = {"asset": "KALE", "stroops": due, "link": link} if due else None
    return {
        "farm": view,
        "farmer": farmer,
        "fund": fund,
        "pay_to": pay_to,
        "qr": qr_code(pay_to),
        "charts": _charts(view.blocks, language),
        "told": [(block, tell(block)) for block in view.blocks],
        "leaving_words": LEAVING_WHY,
        "leaving": await leaving.read(ctx, farmer.farmer_id) if leaves else None,
        "withdrawals": await withdrawals.withdrawals_of(
            ctx.database, farmer.farmer_id, after=None, limit=MOST_WITHDRAWALS
        ),
        "settings": ctx.settings,
        "spare": _spare(ctx),
        "explorer_url": network.explorer_url,
        "years": range(datetime.now(UTC).year, farmer.registered_at.year - 1, -1),
        "passphrase": network.passphrase,
        "wallet": farmer.owner_wallet,
    }


def _charts(blocks: Sequence[Row], language: Language) -> dict[str, Any]:
    """Rewards and stakes by block, the oldest first."""
    rewards = [(row["block_index"], row["reward_stroops"]) for row in blocks if row["reward_stroops"] is not None]
    stakes = [(row["block_index"], row["stake_stroops"]) for row in blocks if row["stake_stroops"] is not None]
    earned = language.say(mark("%(sum)s KALE, without stakes"), sum=language.kale(sum(each for _, each in rewards)))
    staked = language.say(
        mark("at most %(most)s KALE"), most=language.kale(max((each for _, each in stakes), default=0))
    )
    return {
        "rewards": block_chart(rewards[::-1], earned, language),
        "stakes": block_chart(stakes[::-1], staked, language),
    }


@router.get("")
async def show_account(request: Request, farmer_id: UUID, caller: WalletVisitor) -> Response:
    """All of a farmer."""
    farmer = await visible_farmer(request, caller, farmer_id)
    return await _account_page(request, farmer)


async def _account_page(request: Request, farmer: Farmer, form: PageForm | None = None, **wrong: str) -> Response:
    """`wrong`: by the form that was sent (stake, deposit, alerts), what is wrong with it; what it had in it stays."""
    known = await _known(request, farmer) | await alerts_known(request, farmer.farmer_id)
    known |= {"wrong": wrong, "typed": form or {}, "done": request.query_params.get("done")}
    return await page(request, "farm/account.html", 422 if wrong else 200, **known)


@router.get("/parts")
async def show_parts(request: Request, farmer_id: UUID, caller: WalletVisitor) -> Response:
    """The parts of its page as they are now: HTML by id."""
    farmer = await visible_farmer(request, caller, farmer_id)
    known = await _known(request, farmer) | {"visitor": request.state.visitor}
    made = TEMPLATES[language_of(request)]
    parts = await asyncio.to_thread(lambda: {n: made.get_template(f"farm/parts/{n}.html").render(known) for n in PARTS})
    return JSONResponse(parts, headers=HEADERS)


@router.get("/books.csv")
async def save_entries(
    request: Request, farmer_id: UUID, caller: WalletVisitor, year: Annotated[int, Query(ge=2015, le=9998)]
) -> StreamingResponse:
    """Every entry of the farmer's in the pool's books in a year (UTC), then the XLM that it was paid: for its taxes."""
    await visible_farmer(request, caller, farmer_id)
    database = context(request).database

    async def read(last: Row | None) -> Sequence[Row]:
        found: list[Row] = []
        if last is None or last["asset"] == "KALE":
            after = last["number"] if last else 0
            found += await read_entries(database, farmer_id, year, after=after, limit=PAGE)
        if len(found) < PAGE:
            paid = last["submission_id"] if last else None
            found += await read_xlm_entries(database, farmer_id, year, after=paid, limit=PAGE - len(found))
        return [NO_ENTRY | dict(row) | {"amount": amount(row["amount_stroops"])} for row in found]

    return await export(read, ENTRY_COLUMNS, "csv", f"kalepool-{year}-{farmer_id}")


ENTRY_COLUMNS = (
    "number",
    "posted_at",
    "event",
    "asset",
    "amount",
    "amount_stroops",
    "block_index",
    "transaction_hash",
    "ledger",
    "note",
)
NO_ENTRY: dict[str, Any] = dict.fromkeys((*ENTRY_COLUMNS, "submission_id"))


# ----------------------------------------------------------------------------------------------------------------------
# Wishes


@router.post("/stake")
async def change_stake(request: Request, farmer_id: UUID, caller: WalletVisitor, form: PageForm) -> Response:
    """Its part of the balance, and the most in a block: from the next plant on."""
    farmer = await visible_farmer(request, caller, farmer_id)
    most = form.get("most", "").strip()
    try:
        wishes = Wishes(
            stake_percentage=percent(form.get("stake", "")),
            stake_most_stroops=stroops_of(most, words_of(request)) if most else None,
            unlimited=not most,
        )
        await farmers.change_wishes(context(request).database, farmer_id, wishes)
    except InputError as error:
        return await _account_page(request, farmer, form, stake=told(error, words_of(request)))
    return go_to(f"/farm/{farmer_id}?done=stake#stake")


@router.post("/pause")
async def pause(request: Request, farmer_id: UUID, caller: WalletVisitor, form: PageForm) -> Response:
    """Left out from the next plant on, or in again."""
    farmer = await visible_farmer(request, caller, farmer_id)
    try:
        await farmers.change_wishes(context(request).database, farmer_id, Wishes(paused=form.get("paused") == "1"))
    except InputError as error:
        return await _account_page(request, farmer, form, stake=told(error, words_of(request)))
    return go_to(f"/farm/{farmer_id}#stake")


@router.post("/alerts")
async def change_alerts(request: Request, farmer_id: UUID, caller: WalletVisitor, form: PageForm) -> Response:
    """Where it is told of what is its own."""
    farmer = await visible_farmer(request, caller, farmer_id)
    try:
        return await set_alerts(request, Role.FARMER, farmer_id, form, f"/farm/{farmer_id}")
    except InputError as error:
        return await _account_page(request, farmer, form, alerts=told(error, words_of(request)))


@router.post("/alerts/test")
async def try_alerts(request: Request, farmer_id: UUID, caller: WalletVisitor, form: PageForm) -> Response:
    """Whether a message arrives there."""
    farmer = await visible_farmer(request, caller, farmer_id)
    try:
        return await send_test(request, farmer_id, f"/farm/{farmer_id}")
    except InputError as error:
        return await _account_page(request, farmer, form, alerts=told(error, words_of(request)))


# ----------------------------------------------------------------------------------------------------------------------
# Funding


@router.get("/deposit")
async def show_deposit(
    request: Request,
    farmer_id: UUID,
    caller: WalletVisitor,
    asset: Asset,
    wanted: Annotated[str, Query(alias="amount", max_length=30)],
) -> Response:
    """A payment from the wallet that is signed in to the farmer's, to be signed: as a page, or as JSON for a script."""
    farmer = await visible_farmer(request, caller, farmer_id)
    ctx, wallet = context(request), caller.subject_wallet
    assert wallet is not None
    by_script = "application/json" in request.headers.get("accept", "")
    try:
        stroops = stroops_of(wanted, words_of(request))
        to = _paid_to(ctx, farmer)
        await _require_may_deposit(ctx, farmer, wallet, asset, stroops)
    except FormError as error:
        if by_script:
            raise
        return await _account_page(request, farmer, {"amount": wanted}, deposit=told(error, words_of(request)))
    sent = {"kale_stroops" if asset == "KALE" else "native_stroops": stroops}
    transaction = await deposit_envelope(ctx.chain, wallet, to, **sent)
    if by_script:
        return JSONResponse({"transaction": transaction}, headers=HEADERS)
    known = {
        "farmer": farmer,
        "to": to,
        "asset": asset,
        "stroops": stroops,
        "transaction": transaction,
        "wallet": wallet,
    }
    return await page(request, "farm/deposit.html", **known, passphrase=ctx.settings.chain.passphrase)


async def _require_may_deposit(ctx: Context, farmer: Farmer, wallet: str, asset: Asset, stroops: int) -> None:
    """What the network would refuse is told before anybody signs. Raises FormError, RpcUnavailableError."""
    if farmer.status in (FarmerStatus.LEAVING, FarmerStatus.DEPARTED):
        raise FormError(mark("this farmer leaves: send it nothing more"))
    if farmer.plants_itself and asset != "KALE":
        raise FormError(mark("the pool is paid ahead in KALE"))
    if wallet.startswith("C"):
        raise FormError(mark("this page sends nothing from a contract: pay with the wallet itself"))
    account = await ctx.lookups.account(wallet)
    if account is None:
        raise FormError(mark("your wallet has no account on this network yet: it needs XLM first"))
    if asset == "KALE" and account.kale_stroops is None:
        raise FormError(mark("your wallet has no trustline for KALE, and so no KALE to send: add it first"))
    held = (account.kale_stroops or 0) if asset == "KALE" else account.spendable_stroops
    if stroops > held:
        raise FormError(
            mark("your wallet has %(held)s %(asset)s to send: %(sum)s are more"),
            held=Sum(held),
            asset=asset,
            sum=Sum(stroops),
        )


@router.post("/deposit")
async def deposit(request: Request, farmer_id: UUID, caller: WalletVisitor, form: PageForm) -> Response:
    """Sends the payment that its wallet has signed."""
    farmer = await visible_farmer(request, caller, farmer_id)
    wallet = caller.subject_wallet
    assert wallet is not None
    ctx = context(request)
    try:
        sending = send_deposit(ctx.chain, signature_in(form), wallet, _paid_to(ctx, farmer))
        outcome = await finish(request, sending)
        if outcome.status is Status.FAILED:
            raise FormError(mark("the network did not take the payment: %(reason)s"), reason=outcome.error or "–")
    except InputError as error:
        return await _account_page(request, farmer, form, deposit=told(error, words_of(request)))
    return go_to(f"/farm/{farmer_id}?done=deposit")


# ----------------------------------------------------------------------------------------------------------------------
# Taking out


@router.get("/withdraw")
async def show_withdraw(
    request: Request,
    farmer_id: UUID,
    caller: WalletVisitor,
    asset: Asset = "KALE",
    wanted: Annotated[str, Query(alias="amount", max_length=30)] = "",
    everything: Annotated[str, Query(alias="all", max_length=5)] = "",
) -> Response:
    """What can be withdrawn; with an amount, what the wallet has to sign for it."""
    farmer = await visible_farmer(request, caller, farmer_id)
    asked = wanted if everything or "amount" in request.query_params else None
    return await _withdraw_page(request, caller, farmer, asset, asked, everything=bool(everything))


async def _withdraw_page(
    request: Request,
    caller: Principal,
    farmer: Farmer,
    asset: Asset,
    wanted: str | None,
    *,
    everything: bool = False,
    wrong: str = "",
) -> Response:
    """`wanted`: how much, as it was typed; None: not yet asked."""
    view, stroops, challenge = await _farm(request, farmer), 0, None
    have = view.kale_stroops if asset == "KALE" else view.spendable_stroops
    if wanted is not None:
        try:
            if not everything and not wanted.strip():
                raise FormError(mark("how much? Write an amount, or take all of it"))
            stroops = have if everything else stroops_of(wanted, words_of(request))
            await _require_withdrawable(request, farmer, view, asset, stroops)
            challenge = _challenge(request, caller.subject_wallet or "", _withdrawal(farmer, asset, stroops))
        except InputError as error:
            wrong = wrong or told(error, words_of(request))
    return await page(
        request,
        "farm/withdraw.html",
        422 if wrong else 200,
        farm=view,
        farmer=farmer,
        asset=asset,
        wanted=words_of(request).amount(stroops) if stroops else wanted or "",
        stroops=stroops,
        signed_for=amount(stroops),
        wrong=wrong,
        challenge=challenge,
        wallet=caller.subject_wallet,
        passphrase=context(request).settings.chain.passphrase,
        spare=_spare(context(request)),
        least=context(request).settings.least_withdrawal_stroops,
    )


def _spare(ctx: Context) -> int:
    """XLM beyond its reserve without which a farmer is not planted."""
    return max(ctx.settings.min_spare_stroops - farmers.OWN_FEE_STROOPS, 0)


async def _require_withdrawable(request: Request, farmer: Farmer, view: FarmView, asset: Asset, stroops: int) -> None:
    """What `withdraw` would refuse is told before anybody signs. Raises InputError, ChainError."""
    ctx = context(request)
    await withdrawals.require_may_withdraw(ctx, farmer, asset, stroops)
    receiver = await ctx.chain.read_receiver(farmer.destination)
    withdrawals.check_payout(farmer.destination, receiver, kale=asset == "KALE")
    withdrawals.check_balance(view.account, asset, stroops, view.owed_stroops)


@router.post("/withdraw")
async def withdraw(request: Request, farmer_id: UUID, caller: WalletVisitor, form: PageForm) -> Response:
    """Pays to the payout wallet what the wallet has signed for: once for each signature, however often it is sent."""
    farmer = await visible_farmer(request, caller, farmer_id)
    ctx, wallet = context(request), caller.subject_wallet
    assert wallet is not None
    asset: Asset = "XLM" if form.get("asset") == "XLM" else "KALE"
    wanted = form.get("amount", "")
    try:
        stroops = stroops_of(wanted)
        signed = await sign_in(request).confirm(
            ctx, signature_in(form), wallet, _withdrawal(farmer, asset, stroops), once=False
        )
        await finish(request, withdrawals.withdraw(ctx, farmer, signed, asset, stroops))
    except InputError as error:
        wrong = told(error, words_of(request))
        return await _withdraw_page(request, caller, farmer, asset, wanted, wrong=wrong)
    return go_to(f"/farm/{farmer_id}#withdrawals")


def _withdrawal(farmer: Farmer, asset: Asset, stroops: int) -> Deed:
    to = farmer.payout_wallet
    text = f"withdraw {amount(stroops)} {asset} to {to[:6]}...{to[-6:]}"
    return Deed(text, ("withdraw", str(farmer.farmer_id), asset, str(stroops), to, farmer.payout_memo or ""))


@router.get("/leave")
async def show_leave(request: Request, farmer_id: UUID, caller: WalletVisitor) -> Response:
    """What leaving means, and what the wallet has to sign for it."""
    farmer = await visible_farmer(request, caller, farmer_id)
    return await _leave_page(request, caller, farmer)


async def _leave_page(request: Request, caller: Principal, farmer: Farmer, wrong: str = "") -> Response:
    """Who leaves already is shown how far it is."""
    if farmer.status in (FarmerStatus.LEAVING, FarmerStatus.DEPARTED):
        return go_to(f"/farm/{farmer.farmer_id}")
    known = await _known(request, farmer)
    challenge = _challenge(request, caller.subject_wallet or "", _departure(farmer))
    known["trouble"] = ""
    if not farmer.plants_itself:
        known["trouble"] = await payout_trouble(context(request), farmer.destination, words_of(request))
    status = 422 if wrong else 200
    return await page(request, "farm/leave.html", status, **known, challenge=challenge, wrong=wrong)


@router.post("/leave")
async def leave(request: Request, farmer_id: UUID, caller: WalletVisitor, form: PageForm) -> Response:
    """There is no way back."""
    farmer = await visible_farmer(request, caller, farmer_id)
    ctx, wallet = context(request), caller.subject_wallet
    assert wallet is not None
    try:
        await sign_in(request).confirm(ctx, signature_in(form), wallet, _departure(farmer))
        await leaving.leave(ctx, farmer)
    except InputError as error:
        return await _leave_page(request, caller, farmer, told(error, words_of(request)))
    return go_to(f"/farm/{farmer_id}")


def _departure(farmer: Farmer) -> Deed:
    to = farmer.payout_wallet
    if farmer.plants_itself:
        return Deed(f"leave with {to[:6]}...{to[-6:]}", ("leave", str(farmer.farmer_id), to))
    return Deed(f"leave, all to {to[:6]}...{to[-6:]}", ("leave", str(farmer.farmer_id), to, farmer.payout_memo or ""))


def _challenge(request: Request, wallet: str, deed: Deed) -> str:
    return sign_in(request).challenge(wallet, context(request).settings.chain.passphrase, deed)
