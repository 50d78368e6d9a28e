"""What farmers do: register by themselves, look at every block, change their stake, withdraw, leave."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Request
from pydantic import Field, PlainSerializer, StringConstraints, WithJsonSchema

from kalepool.api.auth import Anyone, SignedIn, record, require_sign_in
from kalepool.api.calls import context, finish, visible_farmer
from kalepool.api.limits import address_of
from kalepool.api.models import (
    STAKE_PART,
    Described,
    Metadata,
    MostStake,
    Nonce,
    PayoutAddress,
    PayoutMemo,
    Sent,
    StakeWish,
    Stroops,
    most_stroops,
    stake_part,
)
from kalepool.api.paging import BlockPaging, Page, Paging, next_cursor
from kalepool.api.problems import documented
from kalepool.api.routes.farmers import FarmerView, Missing, RegisteredFarmer, Status
from kalepool.errors import Fault
from kalepool.services import farmers, leaving, own_wallets, poolers, withdrawals
from kalepool.services.blocks import blocks_of_farmer

router = APIRouter(tags=["farmers"])

SignedStroops = Annotated[
    int,
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^-?[0-9]+$", "description": "Stroops (10^-7) as a decimal string."}),
]

StroopsText = Annotated[
    str,
    StringConstraints(pattern="^[1-9][0-9]{0,17}$"),
    Field(description="Stroops (10^-7) as a decimal string, 1 or more.", examples=["25000000"]),
]


# ----------------------------------------------------------------------------------------------------------------------
# Registering


class OpenPooler(Described):
    """A pooler that farmers may register with."""

    pooler_id: UUID
    name: str
    farmers: int
    max_farmers: int


@router.get("/farmer/poolers", summary="Where to register", responses=documented(401, 403, 422, 429, 503))
async def open_poolers(request: Request, caller: SignedIn, paging: Paging) -> Page[OpenPooler]:
    """Poolers that an operator has opened to everybody."""
    rows = await poolers.open_poolers(context(request).database, after=paging.after, limit=paging.limit)
    items = [OpenPooler.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.pooler_id for item in items], paging))


class SelfRegistration(Sent):
    """A farmer to be registered for the wallet that signed in."""

    pooler_id: UUID
    payout_wallet: PayoutAddress | None = Field(
        default=None, description="Where its money goes. The wallet that signed in where absent."
    )
    payout_memo: PayoutMemo | None = None
    stake_percentage: StakeWish | None = Field(
        default=None, description=f"{STAKE_PART} The pool's default where absent.", examples=[0.1]
    )
    stake_most_stroops: MostStake = None
    metadata: Metadata = Field(default_factory=dict)


class OwnFarmer(RegisteredFarmer):
    """A farmer that has just registered by itself."""

    api_key: str = Field(description="The farmer's own key: it sees everything and changes nothing. Shown this once.")


@router.post(
    "/farmer/farmers",
    summary="Register as a farmer",
    status_code=201,
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def register(request: Request, body: SelfRegistration, caller: SignedIn) -> OwnFarmer:
    """A farmer with a custodial wallet of its own; everything it earns can only go to its payout wallet: the one that
    signed in, or another that is named now and stays. Who signed in lets it withdraw and leave.

    Send the custodial wallet what `missing` names, the KALE once it has its trustline: it becomes active by itself
    within a few ledgers, and holds no place with its pooler before. What nothing comes for lapses. Each call makes
    another farmer, up to the pool's limit. 409: `pooler-full`, `too-many-waiting`.
    """
    ctx = context(request)
    wallet = caller.subject_wallet
    assert wallet is not None
    percentage = stake_part(body.stake_percentage, ctx.settings.stake_percentage)
    made = await farmers.register_oneself(
        ctx,
        body.pooler_id,
        body.payout_wallet or wallet,
        percentage,
        body.metadata,
        address=address_of(request),
        owner_wallet=wallet,
        payout_memo=body.payout_memo,
        stake_most_stroops=most_stroops(body.stake_most_stroops),
    )
    assert made.api_key is not None
    return OwnFarmer(
        **FarmerView.model_validate(made.farmer).model_dump(),
        needs_funding=bool(made.missing),
        missing=Missing.model_validate(made.missing),
        api_key=made.api_key,
    )


class OwnWalletWish(Sent):
    """The wallet that signed in, to be registered as a farmer that plants itself."""

    pooler_id: UUID
    metadata: Metadata = Field(default_factory=dict)


class OwnWalletFarmer(FarmerView):
    """A farmer that plants itself and has just registered. It is let in once `prepay_stroops` of KALE have come to
    `prepay_to`, which is null until the pool has a treasury, by a transfer of its own wallet."""

    prepay_to: str | None
    prepay_stroops: Stroops
    api_key: str = Field(description="The farmer's own key: it sees everything and changes nothing. Shown this once.")


@router.post(
    "/farmer/own-wallets",
    summary="Register as a farmer that plants itself",
    status_code=201,
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def join_with_own_wallet(request: Request, body: OwnWalletWish, caller: SignedIn) -> OwnWalletFarmer:
    """The wallet that signed in plants by itself, at its own cost and risk; the pool has no key of it. Once it has
    planted in a block the pool searches for it, works and harvests; stake and reward go to the wallet itself.

    Each harvested pail takes `price_stroops` off what is prepaid: KALE that this wallet sends to `prepay_to`, and that
    is not paid back. With less it is not served. What nothing is prepaid for lapses; who has left and registers again
    with the same pooler has what was prepaid still. 409: `pooler-full`, `too-many-waiting`, and for a wallet that is a
    farmer's already.
    """
    ctx, wallet = context(request), caller.subject_wallet
    assert wallet is not None
    made = await own_wallets.register_oneself(
        ctx, body.pooler_id, wallet, dict(body.metadata), address=address_of(request)
    )
    farmer, treasury = made.farmer, ctx.accounts.treasury
    return OwnWalletFarmer(
        **FarmerView.model_validate(farmer).model_dump(),
        prepay_to=None if treasury is None else treasury.public_key,
        prepay_stroops=max(farmer.price_stroops - farmer.prepaid_stroops, 0),
        api_key=made.api_key,
    )


@router.get("/farmer/farmers", summary="My farmers", responses=documented(401, 403, 422, 429, 503))
async def own_farmers(request: Request, caller: SignedIn, paging: Paging) -> Page[FarmerView]:
    """The farmers of the wallet that signed in, in the order of their registration."""
    rows = await farmers.farmers_of_wallet(
        context(request).database, caller.subject_wallet, after=paging.after, limit=paging.limit
    )
    items = [FarmerView.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([row.farmer_id for row in rows], paging))


class FarmerChange(Sent):
    """What a farmer may change of itself; what is absent stays."""

    stake_percentage: StakeWish | None = Field(default=None, description=STAKE_PART, examples=[0.1])
    stake_most_stroops: StroopsText | None = Field(
        default=None, description="The most that is staked in a block, whatever the balance. Null: no such limit."
    )
    paused: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="Whether it is left out: nothing new is planted, what is planted ends as ever."
    )


@router.patch(
    "/farmers/{farmer_id:uuid}",
    summary="Change the stake, or pause",
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def change_farmer(request: Request, farmer_id: UUID, body: FarmerChange, caller: Anyone) -> FarmerView:
    """From the next plant on. 409 `farmer-leaves` for one that leaves. For the payout wallet, signed in, and operators:
    a key is not enough.
    """
    ctx = context(request)
    await visible_farmer(request, caller, farmer_id, not_pooler=True)
    require_sign_in(caller)
    part, most = body.stake_percentage, body.stake_most_stroops
    wishes = farmers.Wishes(
        stake_percentage=None if part is None else stake_part(part, 0),
        stake_most_stroops=None if most is None else int(most),
        unlimited=most is None and "stake_most_stroops" in body.model_fields_set,
        paused=body.paused,
    )
    await farmers.change_wishes(ctx.database, farmer_id, wishes)
    changed = {name: str(value) for name, value in body.model_dump(exclude_unset=True).items()}
    await record(ctx.database, caller, "change-stake", farmer_id, **changed)
    return FarmerView.model_validate(await visible_farmer(request, caller, farmer_id))


# ----------------------------------------------------------------------------------------------------------------------
# Block by block


class FarmerBlock(Described):
    """A farmer's part in a block: null where a step was not done (or not yet).

    `difference_stroops`: what was received beyond the forecast; the forecast is exact, so it should be 0.
    `owed_stroops`: the lost stake and its reward, by whose fault, and the transaction that paid it. `failed_…`: the
    last failure in this block, also where a later try succeeded.
    """

    block_index: int
    started_at: datetime | None
    stake_stroops: Stroops | None
    plant_transaction: str | None
    nonce: Nonce | None
    hash: str | None
    zeros: int | None
    gap: int | None
    work_transaction: str | None
    forecast_stroops: Stroops | None
    reward_stroops: Stroops | None
    difference_stroops: SignedStroops | None
    harvest_transaction: str | None
    owed_stroops: Stroops | None
    owed_by: Fault | None
    owed_code: str | None
    owed_paid_transaction: str | None
    failed_code: str | None
    failed_fault: Fault | None
    failed_message: str | None
    solo: bool | None = Field(description="A rig of the farmer's own found the work: told once it is harvested.")


@router.get(
    "/farmers/{farmer_id:uuid}/blocks", summary="A farmer's blocks", responses=documented(401, 404, 422, 429, 503)
)
async def farmer_blocks(request: Request, farmer_id: UUID, caller: Anyone, paging: BlockPaging) -> Page[FarmerBlock]:
    """Stakes, works, harvests, and forecasts against what was received: the newest block first."""
    await visible_farmer(request, caller, farmer_id)
    rows = await blocks_of_farmer(context(request).database, farmer_id, before=paging.before, limit=paging.limit)
    items = [FarmerBlock.model_validate(row) for row in rows]
    return Page(items=items, next=paging.next_cursor([item.block_index for item in items]))


# ----------------------------------------------------------------------------------------------------------------------
# Withdrawing


class WithdrawalOrder(Sent):
    """What is to be paid to the payout wallet."""

    asset: withdrawals.Asset = Field(description="KALE, or XLM beyond the reserve that Stellar locks.")
    amount_stroops: StroopsText


class WithdrawalView(Described):
    """A withdrawal. `open`: on its way, or to be tried again by itself; `failed`: nothing moved, `code` says why."""

    withdrawal_id: UUID
    farmer_id: UUID
    asset: withdrawals.Asset
    amount_stroops: Stroops
    destination: str
    created_at: datetime
    status: Literal["open", "paid", "failed"]
    transaction_hash: str | None
    ledger: int | None
    code: str | None
    message: str | None


@router.post(
    "/farmers/{farmer_id:uuid}/withdrawals",
    summary="Withdraw",
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def withdraw(
    request: Request,
    farmer_id: UUID,
    body: WithdrawalOrder,
    caller: SignedIn,
    idempotency_key: Annotated[
        str,
        Header(
            min_length=1,
            max_length=100,
            pattern=r"^[A-Za-z0-9._~-]+$",
            description="A name of your own for this withdrawal: sent again, it is paid once and answered the same.",
        ),
    ],
) -> WithdrawalView:
    """Pays to the payout wallet, and to no other; the pool pays the fee. Takes a sign-in, a key is not enough.

    One at a time. 409, and nothing is begun: `payout-account-missing`, `payout-trustline-missing`, `memo-required`,
    `balance-too-low`, `amount-too-low`, `withdrawal-open`, `idempotency-key-reused`, `farmer-leaves`, `not-active`.
    """
    farmer = await visible_farmer(request, caller, farmer_id)
    ctx = context(request)
    paid = await finish(
        request, withdrawals.withdraw(ctx, farmer, idempotency_key, body.asset, int(body.amount_stroops))
    )
    return WithdrawalView.model_validate(paid)


@router.get(
    "/farmers/{farmer_id:uuid}/withdrawals", summary="Withdrawals", responses=documented(401, 404, 422, 429, 503)
)
async def list_withdrawals(request: Request, farmer_id: UUID, caller: Anyone, paging: Paging) -> Page[WithdrawalView]:
    """The newest first."""
    await visible_farmer(request, caller, farmer_id)
    rows = await withdrawals.withdrawals_of(
        context(request).database, farmer_id, after=paging.after, limit=paging.limit
    )
    items = [WithdrawalView.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.withdrawal_id for item in items], paging))


@router.get(
    "/farmers/{farmer_id:uuid}/withdrawals/{withdrawal_id:uuid}",
    summary="A withdrawal",
    responses=documented(401, 404, 422, 429, 503),
)
async def show_withdrawal(request: Request, farmer_id: UUID, withdrawal_id: UUID, caller: Anyone) -> WithdrawalView:
    """How a withdrawal stands."""
    await visible_farmer(request, caller, farmer_id)
    return WithdrawalView.model_validate(await withdrawals.read(context(request), farmer_id, withdrawal_id))


# ----------------------------------------------------------------------------------------------------------------------
# Leaving


class LeavingView(Described):
    """How far a farmer is on its way out. `code` and `message` say what it waits for: `pail-open`, `harvest-waits`,
    `under-way`, `payout-account-missing`, `payout-trustline-missing`, `memo-required`, `deposits-come`, or why the
    network refused the pay-out. It goes on by itself when that is mended. `transaction_hash`: of the transaction that
    closed the account. `kale_stroops`: what was paid on the way out; `native_stroops`: the XLM with it.
    """

    status: Status
    leaving_at: datetime | None
    departed_at: datetime | None
    code: str | None
    message: str | None
    transaction_hash: str | None
    kale_stroops: Stroops | None
    native_stroops: Stroops | None


@router.post(
    "/farmers/{farmer_id:uuid}/leave",
    summary="Leave the pool",
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def leave(request: Request, farmer_id: UUID, caller: Anyone) -> LeavingView:
    """No new plants from now on; after the last harvests everything goes to the payout wallet and the account is
    closed. There is no way back. For one that plants itself, what it has planted by now is worked and harvested, and
    nothing that it plants later. For the payout wallet, signed in, and operators.
    """
    farmer = await visible_farmer(request, caller, farmer_id, not_pooler=True)
    require_sign_in(caller)
    found = await leaving.leave(context(request), farmer)
    await record(context(request).database, caller, "make-leave", farmer_id)
    return LeavingView.model_validate(found)


@router.get("/farmers/{farmer_id:uuid}/leave", summary="How far it is", responses=documented(401, 404, 422, 429, 503))
async def show_leaving(request: Request, farmer_id: UUID, caller: Anyone) -> LeavingView:
    """What a farmer that leaves waits for."""
    await visible_farmer(request, caller, farmer_id)
    return LeavingView.model_validate(await leaving.read(context(request), farmer_id))
