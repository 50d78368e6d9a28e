"""Everybody's own keys: seen, made anew, and ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field, StringConstraints

from kalepool.api.auth import Anyone, record
from kalepool.api.models import WHOLE, Described, Sent
from kalepool.api.paging import Page, Paging, next_cursor
from kalepool.api.problems import Problem, documented
from kalepool.api.routes.farming import context
from kalepool.database import Session
from kalepool.services.keys import NewKey, Role, add_own_key, own_keys, revoke_own_key
from kalepool.services.mining import miners

router = APIRouter(prefix="/keys", tags=["keys"])

Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Days = Annotated[
    int, Field(strict=True, ge=1, le=3650, description="How long it may be used; for ever if absent."), WHOLE
]


class KeyView(Described):
    """A key, without the secret: that was shown once."""

    key_id: UUID
    role: Role
    subject_id: UUID | None = Field(description="The farmer, miner or pooler it speaks for; null for an operator.")
    subject_wallet: str | None = Field(description="The payout wallet that signed in.")
    label: str
    created_at: datetime
    expires_at: datetime | None


class KeyOrder(Sent):
    """A key to be made for the caller, in place of another one where `replaces` names it."""

    label: Text = ""
    valid_days: Days | None = None
    replaces: UUID | None = Field(default=None, description="A key of the caller's that ends.")
    overlap_seconds: Annotated[int, Field(strict=True, ge=0, le=86_400), WHOLE] = Field(
        default=0, description="How long the replaced key may still be used."
    )


class NewKeyView(Described):
    """A key just made."""

    key_id: UUID
    api_key: str = Field(description="Shown this once.")


@router.get("", summary="My keys", responses=documented(401, 422, 429, 503))
async def list_keys(request: Request, caller: Anyone, paging: Paging) -> Page[KeyView]:
    """The caller's keys and tokens that may be used, the newest first."""
    rows = await own_keys(
        context(request).database,
        caller.role,
        caller.subject_id,
        caller.subject_wallet,
        after=paging.after,
        limit=paging.limit,
    )
    return Page(
        items=[KeyView.model_validate(row) for row in rows], next=next_cursor([row.key_id for row in rows], paging)
    )


@router.post(
    "", summary="Make or rotate a key", status_code=201, responses=documented(401, 403, 404, 409, 413, 422, 429, 503)
)
async def make_key(request: Request, caller: Anyone, order: KeyOrder) -> NewKeyView:
    """Another key with the caller's own rights. With `replaces` the old one ends, at once or after a while. 409
    `too-many-keys`: 50 may be used at the same time. Requests are counted for the caller, whichever key they carry."""
    if caller.subject_wallet is not None:
        raise Problem(403, "forbidden", "who signed in makes no keys: a stolen token would live on; sign in again")
    expires_at = None if order.valid_days is None else datetime.now(UTC) + timedelta(days=order.valid_days)

    async def note(session: Session, new: NewKey) -> None:
        await record(session, caller, "add-key", new_key_id=str(new.key_id), replaces=str(order.replaces or ""))

    new = await add_own_key(
        context(request).database,
        caller.role,
        caller.subject_id,
        label=order.label,
        expires_at=expires_at,
        replaces=order.replaces,
        overlap_seconds=order.overlap_seconds,
        note=note,
    )
    if order.replaces is not None:
        request.app.state.keys.forget(order.replaces)
    return NewKeyView(key_id=new.key_id, api_key=new.key)


@router.delete(
    "/{key_id}", summary="End a key of mine", status_code=204, responses=documented(401, 404, 409, 422, 429, 503)
)
async def end_key(request: Request, caller: Anyone, key_id: UUID) -> None:
    """At once, for good: also the very key or token of this call, which signs out. 409 `last-key`: a miner's last
    one, where no payout wallet could sign in for it."""
    if caller.role == Role.MINER and caller.subject_id is not None:
        await miners.end_key(context(request).database, caller.subject_id, key_id)
    else:
        await revoke_own_key(context(request).database, key_id, caller.role, caller.subject_id, caller.subject_wallet)
    await record(context(request).database, caller, "revoke-key", key_id)
    request.app.state.keys.forget(key_id)
