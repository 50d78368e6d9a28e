"""The operators' pages: how the pool is, whom it has, what it did, what waits for a hand. What they change is in
operating_forms.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from kalepool import shown_settings
from kalepool.actions import ActionName
from kalepool.api.auth import Principal
from kalepool.api.calls import context
from kalepool.api.rendering import PageRoute, language_of, page
from kalepool.api.routes import operator
from kalepool.api.routes.browser import sign_in_page
from kalepool.api.routes.page import Viewing
from kalepool.api.sessions import AnyVisitor, signed_in
from kalepool.services import operators, poolers
from kalepool.services.books import ledgers
from kalepool.services.farmers import FarmerStatus
from kalepool.services.farming.compensation import CompensationStanding
from kalepool.services.health import Health
from kalepool.services.journal.submissions import read_submission, submissions_page
from kalepool.services.keys import Role
from kalepool.services.operator_wallets import require_listed
from kalepool.services.seeking import actions_with_who, farmers_sought, miners_sought
from kalepool.view.verdict import judge
from kalepool.view.wellbeing import read_waiting, wellbeing
from kalepool.view.words import Language, mark

router = APIRouter(include_in_schema=False, route_class=PageRoute)

HOME = "/operator"
UNDER = "/operator/page"
"""`/operator/miners` and the like are the API's."""

ROWS = 50
MOST_SOUGHT = 100

PLACES = {
    HOME: mark("Now"),
    f"{UNDER}/farmers": mark("Farmers"),
    f"{UNDER}/poolers": mark("Poolers"),
    f"{UNDER}/miners": mark("Miners"),
    f"{UNDER}/keys": mark("Keys"),
    f"{UNDER}/journal": mark("Journal"),
    f"{UNDER}/money": mark("Money"),
    f"{UNDER}/webhooks": mark("Webhooks"),
    f"{UNDER}/settings": mark("Settings"),
    f"{UNDER}/audit": mark("Audit"),
}


async def operating(request: Request, caller: Annotated[Principal, Depends(signed_in(Role.OPERATOR))]) -> Principal:
    """A dependency: the operator that is signed in here. Problem 401, 403; NotListedError for a wallet that was taken
    off the list."""
    if caller.subject_wallet is not None:
        require_listed(context(request).settings, caller.subject_wallet)
    return caller


Operating = Annotated[Principal, Depends(operating)]
Sought = Annotated[str, Query(max_length=MOST_SOUGHT)]
After = Annotated[UUID | None, Query()]


async def show(request: Request, template: str, **known: Any) -> Response:
    """A page of an operator's, with the way to the others."""
    return await page(request, f"operator/{template}.html", places=PLACES, under=UNDER, **known)


def following(rows: list[Any], key: str) -> UUID | None:
    """Where the next page begins, if there may be one."""
    if len(rows) < ROWS:
        return None
    last = rows[-1]
    return last[key] if isinstance(last, dict) else getattr(last, key)


@router.get(HOME)
async def show_now(request: Request, visitor: AnyVisitor, account: str | None = None) -> Response:
    """Who is not signed in as an operator is asked to. `account`: a wallet that signs somewhere else."""
    caller = visitor.speaks_as(Role.OPERATOR)
    if caller is None:
        return await sign_in_page(request, "operator/sign_in.html", account)
    await operating(request, caller)
    ctx = context(request)
    health: Health = request.app.state.health
    viewing: Viewing = request.app.state.viewing
    moment = await viewing.moment()
    report = await health.report()
    known = {
        "report": report,
        "wellbeing": wellbeing(report, judge(moment, Language(language_of(request)))),
        "moment": moment,
        "waiting": await read_waiting(ctx),
        "paused": await operators.planting_paused(ctx.database),
        "caller": caller,
    }
    return await show(request, "now", **known)


@router.get(f"{UNDER}/farmers")
async def show_farmers(
    request: Request, _: Operating, q: Sought = "", status: FarmerStatus | None = None, after: After = None
) -> Response:
    """All of them, or those with these words in a name, a wallet or an id."""
    rows = await farmers_sought(context(request).database, _words(q), status, after=after, limit=ROWS)
    known = {
        "rows": rows,
        "next": following(rows, "farmer_id"),
        "q": q,
        "state": status,
        "statuses": list(FarmerStatus),
    }
    return await show(request, "farmers", **known)


@router.get(f"{UNDER}/poolers")
async def show_poolers(request: Request, _: Operating, after: After = None) -> Response:
    """All of them, with what may be changed of each."""
    rows = await poolers.summaries(context(request).database, after=after, limit=ROWS)
    return await show(request, "poolers", rows=rows, next=following(rows, "pooler_id"))


@router.get(f"{UNDER}/miners")
async def show_miners(
    request: Request, _: Operating, q: Sought = "", banned: bool = False, after: After = None
) -> Response:
    """All of them, or those with these words in the name, the wallet or the id."""
    rows = await miners_sought(context(request).database, _words(q), banned=banned, after=after, limit=ROWS)
    return await show(request, "miners", rows=rows, next=following(rows, "miner_id"), q=q, banned=banned)


@router.get(f"{UNDER}/journal")
async def show_journal(
    request: Request,
    _: Operating,
    action: ActionName | None = None,
    status: str | None = Query(default=None, pattern="^(open|applied|failed|expired)$"),
    after: After = None,
) -> Response:
    """Every transaction, the newest first; above them what only an operator can decide."""
    ctx = context(request)
    rows = await submissions_page(ctx.database, action, status, after=after, limit=ROWS)
    known = {
        "rows": rows,
        "next": following(rows, "submission_id"),
        "action": action,
        "state": status,
        "actions": list(ActionName),
        "waiting": await read_waiting(ctx),
    }
    return await show(request, "journal", **known)


@router.get(f"{UNDER}/journal/{{submission_id:uuid}}")
async def show_submission(request: Request, _: Operating, submission_id: UUID) -> Response:
    """One transaction, with what it is to do for whom."""
    ctx = context(request)
    found = await read_submission(ctx.database, submission_id)
    return await show(request, "submission", row=found, undecided=submission_id in ctx.journal.undecided)


@router.get(f"{UNDER}/money")
async def show_money(request: Request, caller: Operating, after: After = None) -> Response:
    """Fees of the last day, the books in sums, the treasury, and what is owed for lost stakes."""
    ctx = context(request)
    owed = await operators.compensations(ctx.database, None, False, None, after=after, limit=ROWS)
    known = {
        "fees": await operator.fees(request, caller, datetime.now(UTC) - timedelta(days=1)),
        "books": await ledgers.summary(ctx.database),
        "treasury": ctx.accounts.treasury and ctx.accounts.treasury.public_key,
        "rows": [row for row in owed if row.standing != CompensationStanding.NOT_OWED],
        "next": following(owed, "compensation_id"),
    }
    return await show(request, "money", **known)


@router.get(f"{UNDER}/settings")
async def show_settings(request: Request, _: Operating) -> Response:
    """Every setting as this process has it. Secrets stay hidden."""
    found = shown_settings.of(context(request).settings)
    groups = [(heading, list(group)) for heading, group in groupby(found, attrgetter("heading"))]
    return await show(request, "settings", groups=groups)


@router.get(f"{UNDER}/audit")
async def show_audit(request: Request, _: Operating, after: After = None) -> Response:
    """What operators did, the newest first."""
    rows = await actions_with_who(context(request).database, after=after, limit=ROWS)
    return await show(request, "audit", rows=rows, next=following(rows, "action_id"))


def _words(q: str) -> str:
    """What is sought, as PostgreSQL takes it."""
    return q.strip().replace("\x00", "")
