"""What operators change by their pages: the API's own operations, each asked for once more before it is done.

Whoever changes something is written down by the operation itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from kalepool.api import sessions
from kalepool.api.auth import Keys
from kalepool.api.calls import context
from kalepool.api.problems import Problem
from kalepool.api.questions import Question, asked
from kalepool.api.rendering import PageRoute, go_to
from kalepool.api.routes import books, operator
from kalepool.api.routes.operating import HOME, UNDER, Operating
from kalepool.api.routes.sep10 import MOST_CHARACTERS
from kalepool.api.routes.sep10 import sign_in as wallets
from kalepool.api.sessions import AnyVisitor, PageForm
from kalepool.errors import InputError
from kalepool.services import operator_wallets
from kalepool.services.keys import Role
from kalepool.services.mining import miners
from kalepool.units import amount
from kalepool.view.words import mark

router = APIRouter(include_in_schema=False, route_class=PageRoute)

Model = TypeVar("Model", bound=BaseModel)


@router.post(f"{UNDER}/sign-in")
async def sign_in(request: Request, visitor: AnyVisitor, form: PageForm) -> Response:
    """With an operator's key, or with a challenge that a wallet on the operators' list has signed (SEP-10)."""
    ctx = context(request)
    if transaction := form.get("transaction", "").strip():
        if len(transaction) > MOST_CHARACTERS:
            raise InputError(f"a signed challenge has at most {MOST_CHARACTERS} characters")
        proof = await wallets(request).answer(ctx, transaction)
        owner = await operator_wallets.admit(ctx, proof)
    else:
        keys: Keys = request.app.state.keys
        found = await keys.owner(form.get("key", "").strip())
        if found is None or found.role != Role.OPERATOR:
            raise Problem(403, "forbidden", "this is no operator's key, or it is expired or revoked")
        owner = found
    answer = go_to(HOME)
    await sessions.sign_in(request, visitor, owner, answer)
    return answer


# ----------------------------------------------------------------------------------------------------------------------
# Asked once more


def sent(model: type[Model], **values: object) -> Model:
    """The values as the API takes them. Raises RequestValidationError."""
    try:
        return model(**values)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def number(form: Mapping[str, str], name: str) -> int | str:
    """A whole number of a form; what is none is left for the model to refuse."""
    text = form.get(name, "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else text


def said(form: Mapping[str, str], name: str) -> str:
    return form.get(name, "").strip()


# ----------------------------------------------------------------------------------------------------------------------
# Planting and poolers


@router.post(f"{UNDER}/planting")
async def switch_planting(request: Request, caller: Operating, form: PageForm) -> Response:
    """Pauses or resumes planting for the whole pool."""
    pause = said(form, "paused") == "yes"
    order = sent(operator.PlantingChange, paused=pause, reason=said(form, "reason"))
    question = (
        Question(
            mark("Pause planting?"),
            mark("Nothing more is planted. What is planted is worked and harvested as ever."),
            HOME,
        )
        if pause
        else Question(mark("Resume planting?"), mark("Every active farmer's stake is planted again from now on."), HOME)
    )
    if answer := await asked(request, form, question):
        return answer
    await operator.switch_planting(request, caller, order)
    return go_to(HOME)


POOLER_CHANGES = {
    "status": {"active", "inactive"},
    "open": {"yes", "no"},
    "planting_paused": {"yes", "no"},
}
"""What a button may say of a pooler."""


@router.post(f"{UNDER}/poolers/{{pooler_id:uuid}}")
async def change_pooler(request: Request, caller: Operating, form: PageForm, pooler_id: UUID) -> Response:
    """One thing of a pooler: `field` becomes `value`."""
    name, value = said(form, "field"), said(form, "value")
    if value not in POOLER_CHANGES.get(name, ()):
        raise InputError(f"a pooler's {name!r} cannot become {value!r}")
    change = sent(operator.PoolerChange, **{name: value if name == "status" else value == "yes"})
    back = f"{UNDER}/poolers"
    question = Question(
        mark("Change the pooler?"),
        mark("%(field)s becomes %(value)s, from now on. What is planted is worked and harvested as ever."),
        back,
        {"field": name, "value": value},
    )
    if answer := await asked(request, form, question):
        return answer
    await operator.change_pooler(request, caller, pooler_id, change)
    return go_to(back)


# ----------------------------------------------------------------------------------------------------------------------
# Miners


@router.post(f"{UNDER}/miners/{{miner_id:uuid}}/ban")
async def ban(request: Request, caller: Operating, form: PageForm, miner_id: UUID) -> Response:
    """Bans a miner for some hours."""
    miner = await miners.read_miner(context(request).database, miner_id)
    order = sent(operator.BanOrder, hours=number(form, "hours"), reason=said(form, "reason"))
    back = f"{UNDER}/miners"
    question = Question(
        mark("Ban miner %(name)s for %(hours)s hours?"),
        mark("Its shares and requests for jobs are refused until then. What it has earned stays its own."),
        back,
        {"name": miner.name, "hours": order.hours},
    )
    if answer := await asked(request, form, question):
        return answer
    await operator.ban(request, caller, miner_id, order)
    return go_to(back)


@router.post(f"{UNDER}/miners/{{miner_id:uuid}}/lift")
async def lift_ban(request: Request, caller: Operating, form: PageForm, miner_id: UUID) -> Response:
    """Lifts a miner's ban."""
    miner = await miners.read_miner(context(request).database, miner_id)
    back = f"{UNDER}/miners"
    question = Question(
        mark("Lift the ban of miner %(name)s?"),
        mark("It may mine again at once, with a clean slate."),
        back,
        {"name": miner.name},
    )
    if answer := await asked(request, form, question):
        return answer
    await operator.lift_ban(request, caller, miner_id)
    return go_to(back)


# ----------------------------------------------------------------------------------------------------------------------
# What waits for a hand, and money


@router.post(f"{UNDER}/journal/{{submission_id:uuid}}")
async def settle(request: Request, caller: Operating, form: PageForm, submission_id: UUID) -> Response:
    """Settles a transaction that only an explorer knows of."""
    outcome = sent(operator.FoundOutcome, status=said(form, "status"), ledger=number(form, "ledger"))
    back = f"{UNDER}/journal/{submission_id}"
    question = Question(
        mark("Book this transaction as %(status)s in ledger %(ledger)s?"),
        mark(
            "What you say is booked for good. A withdrawal that failed is paid again: look its hash up in an explorer."
        ),
        back,
        {"status": outcome.status, "ledger": outcome.ledger},
        is_grave=True,
    )
    if answer := await asked(request, form, question):
        return answer
    await operator.settle_submission(request, caller, submission_id, outcome)
    return go_to(back)


@router.post(f"{UNDER}/gaps")
async def acknowledge(request: Request, caller: Operating, form: PageForm) -> Response:
    """Goes on in spite of what this database does not have."""
    paid = form.get("paid_withdrawals", "").replace(",", " ").split()
    order = sent(operator.Acknowledgement, reason=said(form, "reason"), paid_withdrawals=paid)
    back = f"{UNDER}/journal"
    question = Question(
        mark("Go on without the transactions that are missing here?"),
        mark("Money is paid out again. A withdrawal that is open here is paid then, unless you name it as paid."),
        back,
        is_grave=True,
    )
    if answer := await asked(request, form, question):
        return answer
    await operator.acknowledge_gaps(request, caller, order)
    return go_to(back)


@router.post(f"{UNDER}/money/{{compensation_id:uuid}}/check")
async def check(request: Request, caller: Operating, form: PageForm, compensation_id: UUID) -> Response:
    """Says whether a lost stake is owed."""
    owed = said(form, "owed") == "yes"
    back = f"{UNDER}/money"
    question = (
        Question(
            mark("Is this stake lost?"),
            mark("It is booked as lost, and owed to its farmer."),
            back,
            is_grave=True,
        )
        if owed
        else Question(mark("Has this stake come back?"), mark("It is booked as harvested: nothing is owed."), back)
    )
    if answer := await asked(request, form, question):
        return answer
    await operator.check_compensation(request, caller, compensation_id, sent(operator.Checked, owed=owed))
    return go_to(back)


@router.post(f"{UNDER}/money/{{compensation_id:uuid}}/paid")
async def pay(request: Request, caller: Operating, form: PageForm, compensation_id: UUID) -> Response:
    """Marks what is owed as paid."""
    order = sent(operator.PaidWith, transaction_hash=said(form, "transaction_hash"))
    back = f"{UNDER}/money"
    question = Question(
        mark("Mark as paid with transaction %(hash)s?"),
        mark("The pool sends nothing: it asks the ledger for that transaction, and writes it down."),
        back,
        {"hash": order.transaction_hash},
    )
    if answer := await asked(request, form, question):
        return answer
    await operator.pay_compensation(request, caller, compensation_id, order)
    return go_to(back)


@router.post(f"{UNDER}/books")
async def correct(request: Request, caller: Operating, form: PageForm) -> Response:
    """Corrects the books by one more entry."""
    order = sent(
        books.Correction,
        debit=said(form, "debit"),
        credit=said(form, "credit"),
        amount_stroops=said(form, "amount_stroops"),
        reason=said(form, "reason"),
    )
    back = f"{UNDER}/money"
    question = Question(
        mark("Book %(amount)s KALE from %(credit)s to %(debit)s?"),
        mark("One more entry, for good. No KALE moves; what is whose does."),
        back,
        {"amount": amount(int(order.amount_stroops)), "credit": order.credit, "debit": order.debit},
        is_grave=True,
    )
    if answer := await asked(request, form, question):
        return answer
    await books.correct_books(request, caller, order)
    return go_to(back)
