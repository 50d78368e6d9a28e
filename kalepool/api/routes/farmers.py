"""Farmers as poolers and operators see them: registered, listed, shown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field, computed_field

from kalepool.api.auth import Anyone, PoolerOrOperator
from kalepool.api.calls import context, visible_farmer
from kalepool.api.models import (
    POOLER,
    STAKE_PART,
    WALLET,
    Described,
    Metadata,
    MostStake,
    PayoutAddress,
    PayoutMemo,
    Sent,
    StakePart,
    StakeWish,
    Stroops,
    example,
    most_stroops,
    stake_part,
    stakes,
)
from kalepool.api.paging import Page, Paging, next_cursor
from kalepool.api.problems import documented
from kalepool.services import farmers, postings
from kalepool.services.context import Context
from kalepool.services.holdings import Holdings, read_holdings
from kalepool.services.keys import Role
from kalepool.units import rate_text

router = APIRouter(tags=["poolers"])

Status = farmers.FarmerStatus


class Registration(Sent):
    """A farmer to be registered."""

    model_config = example(
        pooler_id=POOLER,
        payout_wallet=WALLET,
        stake_percentage=0.1,
        metadata={"name": "Ann"},
    )

    pooler_id: UUID
    payout_wallet: PayoutAddress
    payout_memo: PayoutMemo | None = None
    stake_percentage: StakeWish | None = Field(
        default=None, description=f"{STAKE_PART} The pool's default where absent.", examples=[0.1]
    )
    stake_most_stroops: MostStake = None
    metadata: Metadata = Field(default_factory=dict)


class Missing(Described):
    """What the custodial wallet lacks to become active. The pool adds the trustline once the XLM is there; KALE can be
    sent from then on."""

    native_stroops: Stroops
    trustline: bool
    kale_stroops: Stroops


class FarmerView(Described):
    """A farmer."""

    farmer_id: UUID
    custodial_wallet: str = Field(
        description="Send XLM here; the farmer's KALE lives here. Of one that plants itself: its own wallet, of which "
        "the pool has no key."
    )
    pooler_id: UUID
    payout_wallet: str
    payout_memo: str | None = None
    stake_percentage: StakePart
    stake_most_stroops: Stroops | None = Field(
        default=None, description="The most KALE it stakes in a block, besides that part; null for no such limit."
    )
    paused: bool = False
    status: Status
    metadata: dict[str, Any]
    registered_at: datetime
    activated_at: datetime | None
    plants_itself: bool = Field(
        default=False, description="The pool searches, works and harvests for its wallet, and keeps nothing of it."
    )
    price_stroops: Stroops = Field(default=0, description="Of one that plants itself: KALE for a harvested pail.")
    prepaid_stroops: Stroops = Field(default=0, description="What of that is prepaid: with less it is not served.")

    @computed_field(
        description="The stake in words.", examples=["stakes 10 % of the KALE balance in each block, at most 25 KALE"]
    )
    @property
    def stake(self) -> str:
        return stakes(self.stake_percentage, self.stake_most_stroops)


class RegisteredFarmer(FarmerView):
    """A farmer just registered."""

    needs_funding: bool
    missing: Missing


class Balances(Described):
    """What the custodial wallet holds, and what the farmer has at stake, both as of one ledger. `kale_stroops` is null
    without a trustline; together with `planted_stroops`, and without `fee_owed_stroops`, it is the farmer's own."""

    native_stroops: Stroops
    spendable_stroops: Stroops
    kale_stroops: Stroops | None
    planted_stroops: Stroops


class Performance(Described):
    """All blocks of a farmer together."""

    blocks_planted: int
    blocks_worked: int
    blocks_harvested: int
    staked_stroops: Stroops
    rewarded_stroops: Stroops


class FarmerDetails(FarmerView):
    """A farmer with what its wallet holds (null while the chain does not answer) and what it has done. `fee_rate`: the
    pool's part of its rewards, for good; `fee_owed_stroops`: what of that was not collected yet. It lies in the wallet
    and is not the farmer's own."""

    fee_rate: Annotated[str, Field(description="0.05 is a twentieth.", examples=["0.05"])]
    fee_owed_stroops: Stroops

    needs_funding: bool | None
    missing: Missing | None
    balances: Balances | None
    performance: Performance


@router.post(
    "/farmers/register",
    status_code=201,
    summary="Register a farmer",
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def register(request: Request, body: Registration, caller: PoolerOrOperator) -> RegisteredFarmer:
    """Makes a farmer with a wallet of its own, whose key never leaves the pool's custody.

    Send it what `missing` names: it becomes active by itself within a few ledgers. What the farmer itself decides, its
    stake among it, takes a sign-in with the payout wallet: no key of it is given here, and a pooler may register it
    with the pool's usual stake at most.
    """
    caller.require_pooler(body.pooler_id)
    ctx = context(request)
    part = stake_part(body.stake_percentage, ctx.settings.stake_percentage)
    made = await farmers.register(
        ctx,
        body.pooler_id,
        body.payout_wallet,
        part,
        dict(body.metadata),
        by=caller.role,
        payout_memo=body.payout_memo,
        stake_most_stroops=most_stroops(body.stake_most_stroops),
    )
    view = FarmerView.model_validate(made.farmer)
    return RegisteredFarmer(
        **view.model_dump(), needs_funding=bool(made.missing), missing=Missing.model_validate(made.missing)
    )


@router.get("/farmers", summary="List farmers", responses=documented(401, 403, 422, 429, 503))
async def list_farmers(
    request: Request,
    caller: PoolerOrOperator,
    paging: Paging,
    pooler_id: Annotated[
        UUID | None, Query(description="Of this pooler; a pooler's key sees its own in any case.")
    ] = None,
    status: Annotated[Status | None, Query(description="In this state.")] = None,
) -> Page[FarmerView]:
    """Farmers in the order of their registration."""
    if caller.role == Role.POOLER:
        if pooler_id is not None:
            caller.require_pooler(pooler_id)
        pooler_id = caller.subject_id
    rows = await farmers.farmers_page(
        context(request).database, pooler_id, status, after=paging.after, limit=paging.limit
    )
    items = [FarmerView.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([row.farmer_id for row in rows], paging))


@router.get("/farmers/{farmer_id:uuid}", summary="Show a farmer", responses=documented(401, 404, 422, 429, 503))
async def show_farmer(request: Request, farmer_id: UUID, caller: Anyone) -> FarmerDetails:
    """A farmer, its balances, what it lacks, and all its blocks together. For itself, its pooler and operators."""
    ctx = context(request)
    farmer = await visible_farmer(request, caller, farmer_id)
    performance = await farmers.read_performance(ctx.database, farmer_id)
    rates = await postings.fee_rates(ctx.database, [farmer_id])
    holdings = await read_holdings(ctx, farmer)
    return FarmerDetails(
        **FarmerView.model_validate(farmer).model_dump(),
        **_needs(ctx, farmer, holdings),
        balances=_balances(farmer, holdings),
        performance=Performance.model_validate(performance),
        fee_rate=rate_text(rates[farmer_id]),
        fee_owed_stroops=holdings.owed_stroops,
    )


def _needs(ctx: Context, farmer: farmers.Farmer, holdings: Holdings) -> dict[str, Any]:
    """needs_funding and missing."""
    if holdings.is_silent:
        return {"needs_funding": None, "missing": None}
    deposit, sponsored = 0 if farmer.activated_at else farmer.deposit_stroops, ctx.accounts.sponsors > 0
    missing = farmers.missing_funds(holdings.account, ctx.settings.min_spare_stroops, deposit, sponsored=sponsored)
    if farmer.plants_itself or farmer.status in (Status.LEAVING, Status.DEPARTED):
        missing = farmers.Lacking(0, trustline=False)  # it is to be sent nothing any more
    return {"needs_funding": bool(missing), "missing": Missing.model_validate(missing)}


def _balances(farmer: farmers.Farmer, holdings: Holdings) -> Balances | None:
    """None where nothing of it is in the pool's hands, and where the chain does not answer."""
    account = holdings.account
    if account is None or farmer.plants_itself:
        return None
    return Balances(
        native_stroops=account.native_stroops,
        spendable_stroops=account.spendable_stroops,
        kale_stroops=account.kale_stroops,
        planted_stroops=holdings.planted_stroops,
    )
