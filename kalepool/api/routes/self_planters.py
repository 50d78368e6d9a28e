"""Operators: farmers that plant themselves, with wallets that the pool has no key of."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field, StringConstraints

from kalepool.api.auth import Operator
from kalepool.api.calls import context
from kalepool.api.models import POOLER, WALLET, Metadata, Sent, example
from kalepool.api.problems import documented
from kalepool.api.routes.farmers import FarmerView
from kalepool.services import own_wallets

router = APIRouter(prefix="/operator", tags=["operators"])

AgreedStroops = Annotated[
    str,
    StringConstraints(pattern="^(0|[1-9][0-9]{0,17})$"),
    Field(description="Stroops (10^-7) as a decimal string.", examples=["25000000"]),
]
OwnWallet = Annotated[
    str, StringConstraints(pattern="^[GC][A-Z2-7]{55}$"), Field(json_schema_extra={"format": "stellar-address"})
]


class OwnWalletRegistration(Sent):
    """A wallet, G… or C…, whose farmer plants itself."""

    model_config = example(pooler_id=POOLER, wallet=WALLET, prepaid_stroops="100000000", metadata={"name": "Ann"})

    pooler_id: UUID
    wallet: OwnWallet
    price_stroops: AgreedStroops | None = Field(
        default=None,
        description="KALE for a harvested pail; 0: for nothing, at the pool's cost. The pool's where absent.",
    )
    prepaid_stroops: AgreedStroops = Field(default="0", description="What it has paid to the treasury ahead.")
    metadata: Metadata = Field(default_factory=dict)


class SelfPlantingTerms(Sent):
    """What was agreed on with a farmer that plants itself."""

    model_config = example(price_stroops="1000000", prepaid_stroops="100000000")

    price_stroops: AgreedStroops
    prepaid_stroops: AgreedStroops


@router.post(
    "/own-wallets",
    status_code=201,
    summary="Register a farmer that plants itself",
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def register_own_wallet(request: Request, caller: Operator, body: OwnWalletRegistration) -> FarmerView:
    """The pool has no key of its wallet, takes nothing into custody, and owes nothing for its stakes. Once it has
    planted in a block the pool searches for it, works and harvests; stake and reward go to the wallet itself. Each
    harvested pail takes its price off what is prepaid; while less is left it is not served."""
    made = await own_wallets.register(
        context(request),
        caller.key_id,
        body.pooler_id,
        body.wallet,
        dict(body.metadata),
        price_stroops=None if body.price_stroops is None else int(body.price_stroops),
        prepaid_stroops=int(body.prepaid_stroops),
    )
    return FarmerView.model_validate(made)


@router.put(
    "/own-wallets/{farmer_id}/terms",
    summary="Agree with a farmer that plants itself",
    responses=documented(401, 403, 404, 413, 422, 429, 503),
)
async def change_self_planting_terms(
    request: Request, caller: Operator, farmer_id: UUID, body: SelfPlantingTerms
) -> FarmerView:
    """What a pail costs from now on, and what is prepaid."""
    found = await own_wallets.change_terms(
        context(request),
        caller.key_id,
        farmer_id,
        price_stroops=int(body.price_stroops),
        prepaid_stroops=int(body.prepaid_stroops),
    )
    return FarmerView.model_validate(found)
