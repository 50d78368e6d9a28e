"""The types that all audiences share.

Amounts and nonces travel as decimal strings: as JSON numbers they lose digits above 2^53.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from kalepool import names
from kalepool.chain import require_destination
from kalepool.errors import InputError
from kalepool.protocol.model import U32_MAX, U64_MAX
from kalepool.services.farmers import require_account_address
from kalepool.units import amount


class Described(BaseModel):
    """A model whose attributes may come from one of our dataclasses."""

    model_config = ConfigDict(from_attributes=True)


class Sent(BaseModel):
    """A model of what is sent to us: unknown members are refused, so that a typing error is noticed."""

    model_config = ConfigDict(extra="forbid")


def example(**members: Any) -> ConfigDict:
    """A model's example for the OpenAPI description."""
    return ConfigDict(json_schema_extra={"examples": [members]})


POOLER = "0198c6f2-6c5e-7cc3-98c4-dc0c0c07398f"
FARMER = "0198c6f2-9d0e-7b33-8b77-0f3a1c2b9d10"
WALLET = "GCHPTWXMT3HYF4RLZHWBNRF4MPXLTJ76ISHMSYIWCCDXWUYOQG5MR2AB"
DIGEST = "00000004a1f5b5c07d5c3c1ea0c2a0f6d6f5ab90c3f1d1cc4b4e7d9df8f0a1b2"
"""What examples are about."""


def _decimal(**extra: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": "^[0-9]+$", **extra})


Stroops = Annotated[
    int,
    PlainSerializer(str, return_type=str),
    _decimal(description="Stroops (10^-7) as a decimal string.", examples=["25050000000"]),
]


Name = Annotated[str, StringConstraints(min_length=1, max_length=names.MAX_LENGTH, pattern=names.PATTERN)]
"""What a pooler or a miner may be called."""


StakeText = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9][0-9]{0,18})$"),
    Field(description="Stroops (10^-7) as a decimal string, 0 or more.", examples=["100000000"]),
]


def _nonce(text: str) -> int:
    nonce = int(text)
    if nonce > U64_MAX:
        raise ValueError(f"a nonce is below 2^64; this is {text}")
    return nonce


NonceText = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9][0-9]{0,19})$"),
    AfterValidator(lambda text: str(_nonce(text))),
    WithJsonSchema(
        {
            "type": "string",
            "format": "uint64",
            "pattern": "^(0|[1-9][0-9]{0,19})$",
            "description": "A nonce, 0 to 2^64 - 1, as a decimal string.",
            "examples": ["9223372036854775809"],
        }
    ),
]

Nonce = Annotated[int, PlainSerializer(str, return_type=str), _decimal(examples=["9223372036854775809"])]

Hash = Annotated[
    bytes, PlainSerializer(bytes.hex, return_type=str), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"})
]

HashText = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F]{64}$"),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F]{64}$", "description": "32 bytes as hex digits."}),
]


def _whole(value: object) -> object:
    """JSON has one kind of number: 5.0 is a whole one too. Text and booleans are none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""For a strict int: a JSON number without a fraction. Stands after the Field with its bounds."""

BlockIndex = Annotated[
    int, Field(strict=True, ge=0, le=U32_MAX, description="The block's index.", examples=[41_218]), WHOLE
]

_TEXT = r"^[^\x00]*$"  # PostgreSQL stores no NUL

Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_TEXT)],
        Annotated[str, StringConstraints(max_length=1000, pattern=_TEXT)] | Annotated[bool, Field(strict=True)] | None,
    ],
    Field(max_length=32),
    WithJsonSchema(
        {
            "type": "object",
            "description": "Kept and given back as it is.",
            "maxProperties": 32,
            "propertyNames": {"minLength": 1, "maxLength": 64, "pattern": _TEXT},
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "maxLength": 1000, "pattern": _TEXT},
                    {"type": "boolean"},
                    {"type": "null"},
                ]
            },
            "examples": [{"name": "Ann"}],
        }
    ),
]


STAKE_PART = (
    "The part of the KALE balance that is staked in each block, from 0 to 1, rounded to six decimals: 0.1 is a "
    "tenth, 1 is everything. It is a part, not a percentage."
)

StakePart = Annotated[float, Field(description=STAKE_PART, examples=[0.1])]

StakeWish = Annotated[
    float, Field(strict=True, ge=0, le=1, allow_inf_nan=False, description=STAKE_PART, examples=[0.1])
]


def stake_part(given: float | None, usual: float) -> Decimal:
    """What is staked where a farmer wishes this, or nothing: to six decimals, as the database keeps it, halves up."""
    return Decimal(str(usual if given is None else given)).quantize(Decimal("0.000001"), ROUND_HALF_UP)


MostStake = Annotated[
    Annotated[str, StringConstraints(pattern="^[1-9][0-9]{0,17}$")] | None,
    Field(description="The most KALE staked in a block, in stroops, besides that part; null for no such limit."),
]


def most_stroops(text: str | None) -> int | None:
    return None if text is None else int(text)


def stakes(part: float, most: int | None = None) -> str:
    """A stake in words, so that nobody takes 1 for 1 %."""
    percent = f"{part * 100:.4f}".rstrip("0").rstrip(".")
    limit = "" if most is None else f", at most {amount(most)} KALE"
    return f"stakes {percent} % of the KALE balance in each block{limit}"


def _account(address: str) -> str:
    try:
        require_account_address(address)
    except InputError as error:
        raise ValueError(str(error)) from None
    return address


AccountAddress = Annotated[
    str,
    AfterValidator(_account),
    WithJsonSchema(
        {
            "type": "string",
            "format": "stellar-account",
            "pattern": "^G[A-Z2-7]{55}$",
            "description": "A Stellar account address, its checksum included.",
            "examples": ["GB4DUS2LV6BFK2COCY6H6C5XIKX452SIWSLPISSOK6EYG3HPXXCGBAPF"],
        }
    ),
]


def _destination(address: str) -> str:
    try:
        return require_destination(address).address
    except InputError as error:
        raise ValueError(str(error)) from None


PayoutAddress = Annotated[
    str,
    AfterValidator(_destination),
    WithJsonSchema(
        {
            "type": "string",
            "format": "stellar-address",
            "pattern": "^(G[A-Z2-7]{55}|M[A-Z2-7]{68}|C[A-Z2-7]{55})$",
            "description": "A Stellar account (G…), one with a number of its own (M…), or a contract (C…).",
            "examples": ["GB4DUS2LV6BFK2COCY6H6C5XIKX452SIWSLPISSOK6EYG3HPXXCGBAPF"],
        }
    ),
]

PayoutMemo = Annotated[
    str,
    StringConstraints(min_length=4, max_length=100, pattern=_TEXT),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(text:[ -~]{1,28}|id:[1-9][0-9]{0,18}|hash:[0-9a-f]{64})$",
            "description": "The memo that goes with each payment to a G… payout wallet, as `text:…` (28 bytes), `id:…` "
            "or `hash:…`: exchanges ask for one.",
            "examples": ["id:1234"],
        }
    ),
]

_DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _require_date(value: str) -> str:
    """Not the numbers that pydantic takes for times as well."""
    if not _DATE.fullmatch(value):
        raise ValueError("a time is written as 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_require_date)]
