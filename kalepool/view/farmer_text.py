"""One farmer, for people: which one is meant, how it stands, how far it is on its way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from kalepool.database import Database
from kalepool.errors import ConflictError, NotFoundError
from kalepool.units import amount, kale, plain

Line = tuple[str, str]


@dataclass(frozen=True, slots=True)
class NamedFarmer:
    """A farmer as it is told from others. Names are free: a farmer gives itself one, or none."""

    farmer_id: UUID
    custodial_wallet: str
    payout_wallet: str
    status: str
    name: str | None


async def find_farmer(database: Database, called: str) -> NamedFarmer:
    """By id, custodial wallet or name. Raises as `choose`."""
    try:
        farmer_id = UUID(called)
    except ValueError:
        farmer_id = None
    return choose(await farmers_called(database, called, farmer_id), called, farmer_id)


async def farmers_called(database: Database, called: str, farmer_id: UUID | None = None) -> Sequence[NamedFarmer]:
    """All whose custodial wallet or name is `called`, and the one with this id."""
    return await database.fetch_all("select_farmers_called", row=NamedFarmer, called=called, farmer_id=farmer_id)


def choose(farmers: Sequence[NamedFarmer], called: str, farmer_id: UUID | None) -> NamedFarmer:
    """The one that is meant: ids and wallets before names, and names of who is there before those of who departed.

    Raises NotFoundError for none, ConflictError for several.
    """
    certain = [farmer for farmer in farmers if farmer.farmer_id == farmer_id or farmer.custodial_wallet == called]
    found = certain or [farmer for farmer in farmers if farmer.status != "departed"] or farmers
    if not found:
        raise NotFoundError(f"no farmer has the id, custodial wallet or name {called!r}: see `kalepool farmer list`")
    if len(found) > 1:
        ids = ", ".join(str(farmer.farmer_id) for farmer in found)
        raise ConflictError(f"{len(found)} farmers are called {called!r}: say which by its id, one of {ids}")
    return found[0]


def describe(farmer: Mapping[str, Any], leaving: Mapping[str, Any] | None) -> list[Line]:
    """What the API says of a farmer and, of one that leaves or has departed, of its way out."""
    done, memo = farmer["performance"], farmer.get("payout_memo")
    blocks = (f"{done[f'blocks_{step}']} {step}" for step in ("planted", "worked", "harvested"))
    lines = [
        ("name", plain(str(farmer["metadata"].get("name") or "-"))),
        ("farmer_id", farmer["farmer_id"]),
        ("status", farmer["status"]),
        ("stake", farmer["stake"].removeprefix("stakes ")),
        ("custodial wallet", farmer["custodial_wallet"]),
        ("payout wallet", farmer["payout_wallet"] + (f" with the memo {plain(memo)}" if memo else "")),
        ("pooler_id", farmer["pooler_id"]),
        ("registered", _moment(farmer["registered_at"])),
        ("active since", _moment(farmer["activated_at"])),
        ("balance", _balance(farmer)),
    ]
    if farmer["needs_funding"]:
        lines.append(("missing", _missing(farmer["missing"])))
    if leaving is not None:
        lines += _way_out(leaving)
    return [
        *lines,
        ("blocks", ", ".join(blocks)),
        ("staked in all", f"{kale(int(done['staked_stroops']))} KALE"),
        ("rewarded in all", f"{kale(int(done['rewarded_stroops']))} KALE"),
    ]


def _balance(farmer: Mapping[str, Any]) -> str:
    if farmer["needs_funding"] is None:
        return "not known: the chain does not answer"
    if (held := farmer["balances"]) is None:
        return "none: the custodial wallet is not on the chain"
    tokens = "no KALE trustline" if held["kale_stroops"] is None else f"{kale(int(held['kale_stroops']))} KALE"
    native, spendable = (kale(int(held[f"{which}_stroops"])) for which in ("native", "spendable"))
    return f"{tokens}, {native} XLM ({spendable} beyond the reserve)"


def _missing(missing: Mapping[str, Any]) -> str:
    if native := int(missing["native_stroops"]):
        return f"{amount(native)} XLM: send that to the custodial wallet"
    if missing["trustline"]:
        return "the KALE trustline, which the pool adds by itself"
    return f"{amount(int(missing['kale_stroops']))} KALE: send that to the custodial wallet"


def _way_out(leaving: Mapping[str, Any]) -> list[Line]:
    if leaving["status"] == "departed":
        return [("departed", f"{_moment(leaving['departed_at'])}, {paid(leaving)}")]
    return [("leaves since", _moment(leaving["leaving_at"])), ("still here", waits(leaving))]


def waits(leaving: Mapping[str, Any]) -> str:
    """Why a farmer that leaves has not departed yet."""
    return leaving["message"] or "its last harvest and the pay-out are under way"


def paid(leaving: Mapping[str, Any]) -> str:
    """What a departed farmer took along."""
    if leaving["transaction_hash"] is None:
        return "with nothing to pay out"
    stroops = int(leaving["kale_stroops"] or 0)
    return f"paid {kale(stroops)} KALE and all its XLM in transaction {leaving['transaction_hash']}"


def _moment(text: str | None) -> str:
    return "-" if text is None else f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"
