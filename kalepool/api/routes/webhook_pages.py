"""Webhooks in a browser: operators' for the whole pool, a farmer's or a miner's own; listed with what came of them,
made, tried, paused and ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from kalepool.api import sessions
from kalepool.api.calls import context, visible_farmer
from kalepool.api.problems import of_said
from kalepool.api.questions import Question, asked
from kalepool.api.rendering import PageRoute, go_to, language_of, page, words_of
from kalepool.api.routes.mine_account import OwnMiner
from kalepool.api.routes.mine_pages import HOME as MINE
from kalepool.api.routes.operating import PLACES, UNDER, Operating
from kalepool.api.sessions import AnyVisitor, PageForm, WalletVisitor
from kalepool.errors import ConflictError, InputError
from kalepool.services import webhooks
from kalepool.services.keys import Role
from kalepool.services.mining import miners
from kalepool.services.webhooks import Keeper, NewWebhook
from kalepool.view.reasons import told
from kalepool.view.webhook_words import STATES, TYPES, why
from kalepool.view.words import Language, mark

router = APIRouter(include_in_schema=False, route_class=PageRoute)

SHOWN = 10
"""Deliveries of each webhook."""

TYPE = "type."
"""Before the name of a box that is ticked for a type of event."""


@dataclass(frozen=True)
class Desk:
    """Where whose webhooks are shown. home: the page's path. back: of what they are about, and its name. key_id: whose
    session it is."""

    keeper: Keeper
    key_id: UUID
    home: str
    template: str = "own_webhooks.html"
    known: dict[str, Any] = field(default_factory=dict)


async def of_operators(caller: Operating) -> Desk:
    """A dependency."""
    keeper = Keeper(Role.OPERATOR, key_id=caller.key_id)
    known = {"places": PLACES, "under": UNDER}
    return Desk(keeper, caller.key_id, f"{UNDER}/webhooks", "operator/webhooks.html", known)


async def of_miner(request: Request, miner_id: UUID, caller: OwnMiner) -> Desk:
    """A dependency: the miner that is signed in here, by its key or its payout wallet."""
    miner = await miners.read_miner(context(request).database, miner_id)
    home = f"{MINE}/{miner_id}"
    known = {"back": home, "name": miner.name}
    return Desk(Keeper(Role.MINER, miner_id), caller.key_id, f"{home}/webhooks", known=known)


async def of_farmer(request: Request, farmer_id: UUID, caller: WalletVisitor) -> Desk:
    """A dependency: the farmer of the payout wallet that is signed in here."""
    farmer = await visible_farmer(request, caller, farmer_id)
    home = f"/farm/{farmer.farmer_id}"
    known = {"back": home, "name": farmer.metadata.get("name") or farmer.custodial_wallet}
    return Desk(Keeper(Role.FARMER, farmer.farmer_id), caller.key_id, f"{home}/webhooks", known=known)


async def show(
    request: Request,
    desk: Desk,
    status: int = 200,
    *,
    form: PageForm | None = None,
    wrong: str = "",
    made: NewWebhook | None = None,
) -> Response:
    """wrong: of the form that was sent, whose fields stay. made: a webhook whose secret is shown, this once."""
    ctx, keeper = context(request), desk.keeper
    rows = await webhooks.all_webhooks(ctx.database, keeper)
    sent = [
        await webhooks.deliveries(ctx.database, keeper, row.webhook_id, None, after=None, limit=SHOWN) for row in rows
    ]
    known = desk.known | {
        "home": desk.home,
        "rows": list(zip(rows, sent, strict=True)),
        "types": keeper.types,
        "most": keeper.most(ctx.settings),
        "is_own": keeper.subject_id is not None,
        "names": TYPES,
        "states": STATES,
        "why": partial(why, words=Language(language_of(request))),
        "typed": form or {},
        "wrong": wrong,
        "made": made,
    }
    return await page(request, desk.template, status, **known)


async def _refused(request: Request, desk: Desk, error: InputError, form: PageForm | None = None) -> Response:
    said = told(error, words_of(request))
    return await show(request, desk, of_said(error).status, form=form, wrong=said)


def offer(home: str, whose: Callable[..., Awaitable[Desk]]) -> None:
    """The page of an audience's webhooks, and what its forms do."""
    its = Depends(whose)
    one = f"{home}/{{webhook_id:uuid}}"

    @router.get(home)
    async def show_webhooks(request: Request, desk: Desk = its) -> Response:
        """All of them, each with its last deliveries."""
        return await show(request, desk)

    @router.post(home)
    async def add_webhook(request: Request, visitor: AnyVisitor, form: PageForm, desk: Desk = its) -> Response:
        """Another one. Its secret is shown this once, by the answer itself, which makes no second one."""
        ctx = context(request)
        types = [name.removeprefix(TYPE) for name in form if name.startswith(TYPE)]
        try:
            if not types:
                raise InputError(mark("choose what it is told of"))
            made = await webhooks.add(ctx.database, ctx.custody, ctx.settings, desk.keeper, form.get("url", ""), types)
        except InputError as error:
            return await _refused(request, desk, error, form)
        renewed = await sessions.renew(request, visitor, desk.key_id)
        answer = await show(request, desk, made=made)
        sessions.keep(request, renewed, answer)
        return answer

    @router.post(f"{one}/test")
    async def try_webhook(request: Request, webhook_id: UUID, form: PageForm, desk: Desk = its) -> Response:
        """Whether something arrives there."""
        try:
            await webhooks.send_test(context(request).database, desk.keeper, webhook_id)
        except ConflictError as error:
            return await _refused(request, desk, error)
        return go_to(f"{desk.home}#hook-{webhook_id}")

    @router.post(f"{one}/pause")
    async def pause_webhook(request: Request, webhook_id: UUID, form: PageForm, desk: Desk = its) -> Response:
        """Or resume it."""
        database = context(request).database
        await webhooks.pause(database, desk.keeper, webhook_id, paused=form.get("paused") == "yes")
        return go_to(f"{desk.home}#hook-{webhook_id}")

    @router.post(f"{one}/end")
    async def end_webhook(request: Request, webhook_id: UUID, form: PageForm, desk: Desk = its) -> Response:
        """For good, once it was asked for again."""
        database = context(request).database
        await webhooks.read(database, desk.keeper, webhook_id)
        question = Question(
            mark("End this webhook?"),
            mark("At once, for good: what waits for it is not sent, and its secret is gone."),
            desk.home,
        )
        if answer := await asked(request, form, question):
            return answer
        await webhooks.remove(database, desk.keeper, webhook_id)
        return go_to(desk.home)

    @router.post(f"{one}/deliveries/{{event_id:uuid}}/again")
    async def send_again(
        request: Request, webhook_id: UUID, event_id: UUID, form: PageForm, desk: Desk = its
    ) -> Response:
        """Whatever became of it."""
        try:
            await webhooks.send_again(context(request).database, desk.keeper, webhook_id, event_id)
        except ConflictError as error:
            return await _refused(request, desk, error)
        return go_to(f"{desk.home}#hook-{webhook_id}")


offer(f"{UNDER}/webhooks", of_operators)
offer(f"{MINE}/{{miner_id:uuid}}/webhooks", of_miner)
offer("/farm/{farmer_id:uuid}/webhooks", of_farmer)
