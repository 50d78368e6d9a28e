"""One farmer as its own wallet sees it: how far it is, what it has and earned, and each block in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from kalepool.chain import Account
from kalepool.database import Database
from kalepool.policy.bookkeeping import BookEvent
from kalepool.protocol.model import U32_MAX
from kalepool.services.blocks import blocks_of_farmer
from kalepool.services.farmers import Farmer, FarmerStatus, Lacking, missing_funds
from kalepool.services.holdings import Holdings
from kalepool.view.reasons import reason
from kalepool.view.words import mark

Row = Mapping[str, Any]

DEPOSITS = 10
"""The newest, on its page."""

BLOCKS = 40
"""The newest, on its page."""

WEEK_AND_A_DAY = timedelta(days=8)
"""What was harvested within a week was planted within this time: a pail lives for a day."""


@dataclass(frozen=True, slots=True)
class Step:
    """One on the way in or out. state: done, now or later; `detail`: what it waits for, with `amount` in it."""

    title: str
    state: str
    detail: str = ""
    amount: int = 0
    asset: str = ""


@dataclass(frozen=True, slots=True)
class FarmView:
    """What is shown of a farmer. `sums`: what made up what is its own by the books, each with its name; what went is
    less than 0. Amounts in stroops."""

    farmer: Farmer
    holdings: Holdings
    missing: Lacking
    totals: Row
    blocks: Sequence[Row]
    steps: Sequence[Step]
    sums: Sequence[tuple[str, int]] = ()
    deposits: Sequence[Row] = ()

    @property
    def account(self) -> Account | None:
        """Its wallet: None where it is not on the ledger, or the chain does not answer."""
        return self.holdings.account

    @property
    def is_silent(self) -> bool:
        """Whether the chain does not answer."""
        return self.holdings.is_silent

    @property
    def kale_stroops(self) -> int:
        """Of its own in its wallet, without the fee that it owes."""
        return self.holdings.kale_stroops

    @property
    def owed_stroops(self) -> int:
        return self.holdings.owed_stroops

    @property
    def booked_stroops(self) -> int:
        """Its own, by the books, which are some seconds behind the chain."""
        return sum(stroops for _, stroops in self.sums)

    @property
    def unbooked_stroops(self) -> int:
        """What balance and stakes have beyond the books: a payment or harvest that is on its way into them."""
        return self.kale_stroops + self.planted_stroops - self.booked_stroops

    @property
    def spendable_stroops(self) -> int:
        return self.account.spendable_stroops if self.account else 0

    @property
    def planted_stroops(self) -> int:
        return self.holdings.planted_stroops

    @property
    def lacks_xlm(self) -> bool:
        """Active, and not planted until somebody sends it some."""
        return self.farmer.status == FarmerStatus.ACTIVE and bool(self.missing.native_stroops)

    @property
    def pails_left(self) -> int | None:
        """For how many harvested pails it has prepaid; None where the pool asks no price."""
        return self.farmer.prepaid_stroops // self.farmer.price_stroops if self.farmer.price_stroops else None

    @property
    def newest_stake(self) -> Row | None:
        """The newest block that it was planted in."""
        return next((block for block in self.blocks if block["stake_stroops"] is not None), None)

    @property
    def status(self) -> str:
        """As people call it."""
        return state_of(self.farmer)


def state_of(farmer: Farmer) -> str:
    """Where a farmer stands, as people call it: to be translated."""
    if farmer.status == FarmerStatus.ACTIVE and farmer.paused:
        return mark("paused")
    if farmer.status == FarmerStatus.REGISTERED and farmer.plants_itself:  # its wallet may be full
        return mark("not let in yet")
    return STATUSES[FarmerStatus(farmer.status)]


STATUSES = {
    FarmerStatus.REGISTERED: mark("not funded yet"),
    FarmerStatus.ACTIVE: mark("active"),
    FarmerStatus.LEAVING: mark("leaving"),
    FarmerStatus.DEPARTED: mark("gone"),
}

LEAVING_WHY = {
    "pail-open": mark("for the block that it is planted in to be over"),
    "harvest-waits": mark("for its last harvest"),
    "under-way": mark("for what is under way"),
    "payout-account-missing": mark("the payout wallet is not on the ledger: create it, with 1 XLM or more"),
    "payout-trustline-missing": mark("the payout wallet has no KALE trustline: add it"),
    "memo-required": mark("the payout wallet asks for a memo, and there is none: ask the pool's operator to set one"),
    "deposits-come": mark("for somebody to stop sending it small amounts"),
}
"""What who leaves waits for, in words."""


@dataclass(frozen=True, slots=True)
class BlockTold:
    """What became of a block: `level` as verdicts have it, `text` and `reason` in words, to be translated."""

    level: str
    text: str
    reason: str = ""


def tell(block: Row) -> BlockTold:
    """A row of blocks_of_farmer in words."""
    if block["owed_code"] is not None:
        text = mark("stake lost, made good") if block["owed_paid_transaction"] else mark("stake lost, owed to you")
        return BlockTold("bad", text, reason(block["owed_code"]))
    if block["reward_stroops"] is not None:
        return BlockTold("good", mark("harvested"))
    if block["zeros"] is not None:
        return BlockTold("busy", mark("worked, harvested when the block is over"))
    if block["stake_stroops"] is not None:
        return BlockTold("busy", mark("planted, a hash is searched for"))
    return BlockTold("warn", mark("not planted"), reason(block["failed_code"]) if block["failed_code"] else "")


def steps_in(farmer: Farmer, account: Account | None, missing: Lacking, *, has_place: bool, blocks: int) -> list[Step]:
    """The way in: what is done, what is waited for now, and what comes then."""
    active = farmer.status == FarmerStatus.ACTIVE
    wanted: list[tuple[str, bool, str, int, str]] = [
        (
            mark("XLM in the wallet"),
            active or not missing.native_stroops,
            mark("waits for"),
            missing.native_stroops,
            "XLM",
        ),
        (
            mark("Trustline for KALE, which the pool adds"),
            active or not missing.trustline,
            mark("a few ledgers"),
            0,
            "",
        ),
    ]
    if farmer.deposit_stroops:
        need = missing.kale_stroops
        wanted.append((mark("KALE in the wallet"), active or not need, mark("waits for"), need, "KALE"))
    waits = mark("a few ledgers") if has_place else mark("the pool is full: it waits for a place")
    wanted += [
        (mark("Let in by the pool"), active, waits, 0, ""),
        (mark("First planted"), blocks > 0, mark("with the next block"), 0, ""),
    ]
    steps, now = [Step(mark("Registered"), "done")], True
    for title, done, detail, amount, asset in wanted:
        steps.append(Step(title, "done" if done else "now" if now else "later", "" if done else detail, amount, asset))
        now = now and done
    return steps


def steps_of_own(
    farmer: Farmer, held_stroops: int, deposit_stroops: int, *, has_place: bool, blocks: int
) -> list[Step]:
    """The way in of one that plants itself. `deposit_stroops`: the KALE in its wallet where nothing is prepaid."""
    active = farmer.status == FarmerStatus.ACTIVE
    if farmer.price_stroops:
        title, need = mark("Paid ahead to the pool"), max(farmer.price_stroops - farmer.prepaid_stroops, 0)
    else:
        title, need = mark("KALE in your wallet"), max(deposit_stroops - held_stroops, 0)
    waits = mark("a few ledgers") if has_place else mark("the pool is full: it waits for a place")
    wanted = [
        (title, active or not need, mark("waits for"), need),
        (mark("Let in by the pool"), active, waits, 0),
        (mark("First planted by you"), blocks > 0, mark("the pool sees it on the ledger"), 0),
    ]
    steps, now = [Step(mark("Registered"), "done")], True
    for name, done, detail, stroops in wanted:
        steps.append(Step(name, "done" if done else "now" if now else "later", "" if done else detail, stroops, "KALE"))
        now = now and done
    return steps


async def read_farm(
    database: Database,
    farmer: Farmer,
    holdings: Holdings,
    sums: Sequence[tuple[str, int]],
    *,
    min_spare_stroops: int,
    block_seconds: float,
    sponsored: bool = False,
    deposit_stroops: int = 0,
) -> FarmView:
    """`sums`: from before the holdings, which then have all that the books had. `sponsored`: the pool pays the reserve
    of a wallet that is not on the ledger yet. `deposit_stroops`: the KALE that one that plants itself has to have where
    nothing is prepaid. Raises DatabaseError."""
    totals = await read_totals(database, farmer.farmer_id, block_seconds)
    place = await database.fetch_one("select_farm_place", farmer_id=farmer.farmer_id)
    blocks = await blocks_of_farmer(database, farmer.farmer_id, before=U32_MAX + 1, limit=BLOCKS)
    assert place is not None
    tried = sum(block["stake_stroops"] is not None for block in blocks)
    if farmer.plants_itself:
        missing = Lacking(0, trustline=False)
        steps = steps_of_own(farmer, holdings.held_stroops, deposit_stroops, has_place=place["has_place"], blocks=tried)
    else:
        deposit = 0 if farmer.activated_at else farmer.deposit_stroops
        missing = missing_funds(holdings.account, min_spare_stroops, deposit, sponsored=sponsored)
        steps = steps_in(farmer, holdings.account, missing, has_place=place["has_place"], blocks=tried)
    deposits = await database.fetch_all("select_farm_deposits", farmer_id=farmer.farmer_id, limit=DEPOSITS)
    return FarmView(farmer, holdings, missing, totals, blocks, steps, sums, deposits)


SUMS = {
    BookEvent.DEPOSITED: mark("Deposited"),
    BookEvent.REWARDED: mark("Earned"),
    BookEvent.FEE: mark("The pool's fee"),
    BookEvent.WITHDRAWN: mark("Withdrawn"),
}
"""Always told."""

RARE_SUMS = {
    BookEvent.LOST: mark("Stakes lost"),
    BookEvent.COMPENSATED: mark("Made good"),
    BookEvent.OPENED: mark("There before the books"),
    BookEvent.CORRECTED: mark("Corrected by the operator"),
    BookEvent.UNEXPLAINED: mark("Not explained"),
}
"""Told where there was any."""


async def read_sums(database: Database, farmer_id: UUID) -> list[tuple[str, int]]:
    """What made up what is a farmer's own. Raises DatabaseError."""
    names = SUMS | RARE_SUMS
    rows = await database.fetch_all("select_farm_sums", farmer_id=farmer_id, events=[str(event) for event in names])
    found = {BookEvent(row["event"]): int(row["stroops"]) for row in rows}
    return [(name, found[event]) for event, name in names.items() if event in SUMS or found[event]]


async def read_totals(database: Database, farmer_id: UUID, block_seconds: float) -> Row:
    """What a farmer earned, lost and paid. Raises DatabaseError."""
    week_blocks = ceil(WEEK_AND_A_DAY.total_seconds() / block_seconds)
    totals = await database.fetch_one("select_farm_totals", farmer_id=farmer_id, week_blocks=week_blocks)
    assert totals is not None
    return totals


async def read_entries(database: Database, farmer_id: UUID, year: int, *, after: int, limit: int) -> Sequence[Row]:
    """What the books have of a farmer in a year (UTC), a page at a time: KALE. Raises DatabaseError."""
    since, until = _of_year(year)
    return await database.fetch_all(
        "select_farm_entries", farmer_id=farmer_id, since=since, until=until, after=after, limit=limit
    )


async def read_xlm_entries(
    database: Database, farmer_id: UUID, year: int, *, after: UUID | None, limit: int
) -> Sequence[Row]:
    """The XLM that were paid out to a farmer in a year (UTC), a page at a time. Raises DatabaseError."""
    since, until = _of_year(year)
    return await database.fetch_all(
        "select_farm_xlm_entries", farmer_id=farmer_id, since=since, until=until, after=after, limit=limit
    )


def _of_year(year: int) -> tuple[datetime, datetime]:
    return datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
