"""Everybody's keys and miners' invitations, as operators see, make and end them in a browser."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response

from kalepool.api import sessions
from kalepool.api.auth import record
from kalepool.api.calls import context
from kalepool.api.questions import Question, asked
from kalepool.api.rendering import PageRoute, go_to
from kalepool.api.routes import miner, operator
from kalepool.api.routes.operating import ROWS, UNDER, After, Operating, following, show
from kalepool.api.routes.operating_forms import number, said, sent
from kalepool.api.sessions import AnyVisitor, PageForm
from kalepool.services.keys import Role, all_keys
from kalepool.services.mining import miners
from kalepool.view.words import mark

router = APIRouter(include_in_schema=False, route_class=PageRoute)

HERE = f"{UNDER}/keys"


@router.get(HERE)
async def show_keys(request: Request, _: Operating, role: Role | None = None, after: After = None) -> Response:
    """Invitations that may be used; then all keys, ended or not, the newest first."""
    return await _keys_page(request, role, after)


async def _keys_page(
    request: Request, role: Role | None = None, after: UUID | None = None, made: miner.InviteView | None = None
) -> Response:
    """`made`: an invitation whose code is shown."""
    database = context(request).database
    rows = await all_keys(database, role, None, after=after, limit=ROWS)
    return await show(
        request,
        "keys",
        rows=rows,
        next=following(rows, "key_id"),
        role=role,
        roles=list(Role),
        invites=await miners.invites(database, limit=ROWS),
        made=made,
    )


@router.post(f"{HERE}/{{key_id:uuid}}/end")
async def end_key(request: Request, caller: Operating, form: PageForm, key_id: UUID) -> Response:
    """Ends anybody's key."""
    question = Question(
        mark("End the key %(key)s?"),
        mark("At once, for good: whoever uses it is refused, and browsers signed in with it are signed out."),
        HERE,
        {"key": key_id},
        is_grave=True,
    )
    if answer := await asked(request, form, question):
        return answer
    await operator.end_key(request, caller, key_id)
    return go_to(HERE)


@router.post(f"{UNDER}/invites")
async def invite(request: Request, visitor: AnyVisitor, caller: Operating, form: PageForm) -> Response:
    """An invitation for miners: shown this once, by the answer itself, which makes no second one."""
    order = sent(
        miner.InviteOrder,
        label=said(form, "label"),
        uses=number(form, "uses"),
        valid_days=number(form, "valid_days"),
    )
    made = await miner.invite(request, caller, order)
    renewed = await sessions.renew(request, visitor, caller.key_id)
    answer = await _keys_page(request, made=made)
    sessions.keep(request, renewed, answer)
    return answer


@router.post(f"{UNDER}/invites/{{invite_id:uuid}}/end")
async def end_invite(request: Request, caller: Operating, form: PageForm, invite_id: UUID) -> Response:
    """Ends an invitation."""
    question = Question(mark("End the invitation?"), mark("Nobody registers with it any more. Who has, stays."), HERE)
    if answer := await asked(request, form, question):
        return answer
    database = context(request).database
    await miners.end_invite(database, invite_id)
    await record(database, caller, "end-invitation", invite_id)
    return go_to(HERE)
