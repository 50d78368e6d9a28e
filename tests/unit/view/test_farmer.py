"""Which farmer is meant, and what is said of it."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest

from kalepool.errors import ConflictError, NotFoundError
from kalepool.units import plain
from kalepool.view.farmer_text import NamedFarmer, choose, describe

ANN = NamedFarmer(UUID(int=1), "GANN", "GPAY", "active", "ann")
TWIN = NamedFarmer(UUID(int=2), "GTWIN", "GPAY", "registered", "ann")
GONE = NamedFarmer(UUID(int=3), "GGONE", "GPAY", "departed", "ann")


def test_a_name_is_of_who_is_there_and_of_one_who_departed_only_where_nobody_else_has_it() -> None:
    assert choose([GONE, ANN], "ann", None) is ANN
    assert choose([GONE], "ann", None) is GONE


def test_nobody_takes_another_farmers_id_or_wallet_for_a_name() -> None:
    thief = NamedFarmer(UUID(int=4), "GTHIEF", "GTHIEF", "active", "GANN")
    assert choose([thief, ANN], "GANN", None) is ANN
    thief = NamedFarmer(UUID(int=4), "GTHIEF", "GTHIEF", "active", str(UUID(int=1)))
    assert choose([thief, ANN], str(UUID(int=1)), UUID(int=1)) is ANN


def test_unknown_and_ambiguous_names_are_told_with_what_to_do() -> None:
    with pytest.raises(NotFoundError, match="'bob': see `kalepool farmer list`"):
        choose([], "bob", None)
    with pytest.raises(ConflictError, match=f"2 farmers are called 'ann': .*{UUID(int=1)}, {UUID(int=2)}"):
        choose([ANN, TWIN, GONE], "ann", None)


FARMER: dict[str, Any] = {
    "farmer_id": str(UUID(int=1)),
    "custodial_wallet": "GANN",
    "pooler_id": str(UUID(int=9)),
    "payout_wallet": "GPAY",
    "stake": "stakes 10 % of the KALE balance in each block",
    "status": "active",
    "metadata": {"name": "ann"},
    "registered_at": "2026-11-22T09:04:31.5Z",
    "activated_at": None,
    "needs_funding": False,
    "missing": {"native_stroops": "0", "trustline": False},
    "balances": {"native_stroops": "95000000", "spendable_stroops": "80000000", "kale_stroops": "12345678901"},
    "performance": {
        "blocks_planted": 12,
        "blocks_worked": 12,
        "blocks_harvested": 11,
        "staked_stroops": "2500000000",
        "rewarded_stroops": "25050000000",
    },
}
LEAVING: dict[str, Any] = {
    "status": "leaving",
    "leaving_at": "2026-11-22T10:00:00Z",
    "departed_at": None,
    "message": None,
    "transaction_hash": None,
    "kale_stroops": None,
}


def told(leaving: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
    return dict(describe(FARMER | changes, leaving))


def test_amounts_are_in_kale_and_xlm() -> None:
    said = told()
    assert said["balance"] == "1,234.56 KALE, 9.50 XLM (8.00 beyond the reserve)"
    assert said["staked in all"] == "250.00 KALE" and said["rewarded in all"] == "2,505.00 KALE"
    assert said["blocks"] == "12 planted, 12 worked, 11 harvested"
    assert said["registered"] == "2026-11-22 09:04 UTC" and "missing" not in said
    assert not re.search("stroops|None", str(said))


def test_what_a_farmer_lacks_and_waits_for_is_told() -> None:
    lacks = told(needs_funding=True, missing={"native_stroops": "45000000", "trustline": True}, balances=None)
    assert lacks["missing"] == "4.5 XLM: send that to the custodial wallet"
    assert lacks["balance"] == "none: the custodial wallet is not on the chain"
    added = told(needs_funding=True, missing={"native_stroops": "0", "trustline": True})
    assert added["missing"] == "the KALE trustline, which the pool adds by itself"
    silent = told(needs_funding=None, missing=None, balances=None)
    assert silent["balance"] == "not known: the chain does not answer" and "missing" not in silent


def test_the_way_out_is_told() -> None:
    assert told(LEAVING)["still here"] == "its last harvest and the pay-out are under way"
    assert told(LEAVING | {"message": "no trustline"})["still here"] == "no trustline"
    departed = LEAVING | {"status": "departed", "departed_at": "2026-11-22T10:05:00Z"}
    assert told(departed)["departed"] == "2026-11-22 10:05 UTC, with nothing to pay out"
    paid = departed | {"transaction_hash": "ab12", "kale_stroops": "10000000"}
    assert told(paid)["departed"] == "2026-11-22 10:05 UTC, paid 1.00 KALE and all its XLM in transaction ab12"


def test_a_name_cannot_command_the_terminal() -> None:
    assert told(metadata={"name": "a\x1b[2Jb\nc é"})["name"] == "a�[2Jb�c é"
    assert plain("demo 1") == "demo 1"
