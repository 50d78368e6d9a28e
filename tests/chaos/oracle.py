"""Whether a pool has kept its promises, judged by what the ledgers and its database say. It knows nothing of the pool's
code: what is promised is written here a second time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from tests.chaos.history import History, LedgerTransaction, Pail, PailState
from tests.chaos.record import Record, Row


class Invariant(StrEnum):
    """What holds whatever happens."""

    JOURNALLED = "every transaction of ours is in the journal, once"
    AGREES = "a row of the journal says what the ledger says: status, ledger, fee"
    SETTLED = "nothing stays open"
    NOT_AGAIN = "what was done is not sent again"
    PAID_ONCE = "a withdrawal is paid once, the amount that was asked for, to where it was to go"
    EVENTS = "what was done is an event, once, and nothing else is"
    ACCOUNTED = "every stake is back, or booked as lost"
    BALANCED = "balances add up to the stroop"
    SPARED = "no stake is lost that could have been spared"


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was not kept, with what to look up. `block`: where it was a block's."""

    invariant: Invariant
    text: str
    block: int | None = None

    def __str__(self) -> str:
        return f"NOT KEPT: {self.invariant}: {self.text}"


@dataclass(frozen=True)
class Case:
    """What is judged, with what is looked up again and again."""

    history: History
    record: Record
    due: int
    """The last block of which everything must be over: fetched, or booked as lost."""

    @cached_property
    def own(self) -> set[str]:
        return set(self.record.own_accounts())

    @cached_property
    def wallets(self) -> dict[str, Any]:
        """Farmers' ids by their custodial wallets."""
        return {row["custodial_wallet"]: row["farmer_id"] for row in self.record.farmers}

    @cached_property
    def ours(self) -> list[LedgerTransaction]:
        own = self.own
        return [each for each in self.history.transactions if own & {each.source, each.fee_source, *each.sources}]

    @cached_property
    def pails(self) -> dict[Pail, PailState | None]:
        """How each of our farmers' pails stands, or stood before it was taken off the ledger (None: harvested)."""
        wallets = self.wallets
        found: dict[Pail, PailState | None] = {}
        for each in self.history.transactions:
            found.update({change.pail: change.after for change in each.changes if change.pail[0] in wallets})
        return found

    @cached_property
    def stakes(self) -> dict[Pail, int]:
        """What was put into each of our farmers' pails, in stroops."""
        wallets = self.wallets
        return {
            change.pail: change.after.stake
            for each in self.history.transactions
            for change in each.changes
            if change.before is None and change.after is not None and change.pail[0] in wallets
        }

    @cached_property
    def lost(self) -> dict[Pail, int]:
        """The stakes of pails that nobody worked while their block lasted."""
        standing, stakes = self.pails, self.stakes
        return {
            pail: stakes[pail]
            for pail, state in standing.items()
            if state is not None and state.zeros is None and pail[1] < self.history.current_block
        }


def judge(history: History, record: Record, *, unsparable: Container[int] = (), grace: int = 1) -> list[Finding]:
    """Every promise that was not kept.

    `unsparable`: blocks in which losing a stake is forgiven. `grace`: of so many blocks behind the current one pails
    may still wait to be harvested.
    """
    case = Case(history, record, history.current_block - grace)
    found = [finding for check in CHECKS for finding in check(case)]
    found += [
        Finding(Invariant.SPARED, f"{stake} stroops of {wallet} in block {block}", block)
        for (wallet, block), stake in case.lost.items()
        if block not in unsparable
    ]
    return found


# --- the journal


def check_journalled(case: Case) -> Iterator[Finding]:
    rows = Counter(row["transaction_hash"] for row in case.record.submissions)
    for each in case.ours:
        count = rows[each.hash] + (rows[each.inner_hash] if each.inner_hash else 0)
        if count != 1:
            yield Finding(Invariant.JOURNALLED, f"{_name(each)} has {count} rows", _block(each))


def check_agrees(case: Case) -> Iterator[Finding]:
    told = {name: each for each in case.history.transactions for name in (each.hash, each.inner_hash) if name}
    for row in case.record.submissions:
        each = told.get(row["transaction_hash"])
        status = row["status"]
        if status == "open":
            continue  # another check's
        name = f"{row['action']} {row['transaction_hash']} ({row['submission_id']})"
        if each is None:
            # One that the network refused when it was sent is failed, and in no ledger.
            if status == "applied" or (status == "failed" and row["ledger"] is not None):
                yield Finding(Invariant.AGREES, f"{name} is {status} in ledger {row['ledger']}, no ledger has it")
            continue
        expected = ("applied" if each.applied else "failed", each.ledger, each.fee)
        said = (status, row["ledger"], row["fee_stroops"])
        if said != expected:
            yield Finding(Invariant.AGREES, f"{name} is {said}, and {expected} in truth", _block(each))


def check_settled(case: Case) -> Iterator[Finding]:
    statuses = {row["submission_id"]: row["status"] for row in case.record.submissions}
    for row in case.record.submissions:
        if row["status"] == "open":
            yield Finding(Invariant.SETTLED, f"{row['action']} {row['transaction_hash']} is open")
    for row in case.record.submission_items:
        whole = statuses.get(row["submission_id"], "missing")
        # The tractor passes over what it cannot harvest: such a part has failed in a whole that was applied.
        if row["status"] != whole and not (whole == "applied" and row["status"] == "failed"):
            text = f"a part of submission {row['submission_id']} is {row['status']}, the whole {whole}"
            yield Finding(Invariant.SETTLED, text, row["block_index"])
    planted = {row["block_index"] for row in case.record.plantings if row["outcome"] == "planted"}
    for row in case.record.block_operations:
        # One that nobody of ours is in is the last that a coordinator saw before it was told to end.
        if row["status"] == "open" and row["block_index"] <= case.due and row["block_index"] in planted:
            yield Finding(Invariant.SETTLED, f"block {row['block_index']} is open", row["block_index"])
    for row in case.record.withdrawals:
        if row["closed_at"] is None:
            yield Finding(Invariant.SETTLED, f"withdrawal {row['withdrawal_id']} is open")


def check_not_again(case: Case) -> Iterator[Finding]:
    """Not even as one that fails: it costs its fee."""
    done: dict[tuple[str, Pail, int | None], str] = {}
    for each in case.ours:
        # The tractor passes over pails that others have harvested: what it is sent may be done in part already.
        for pail in each.meant:
            intent = (each.operation, pail, each.nonce)
            if intent in done:
                yield Finding(Invariant.NOT_AGAIN, f"{_name(each)} after {done[intent]} had done it", pail[1])
        if each.applied:
            done.update({(each.operation, change.pail, each.nonce): each.hash for change in each.changes})


# --- money


def check_paid_once(case: Case) -> Iterator[Finding]:
    applied = {name: each for each in case.ours if each.applied for name in (each.hash, each.inner_hash) if name}
    submissions = {row["submission_id"]: row for row in case.record.submissions}
    farmers = {row["farmer_id"]: row for row in case.record.farmers}
    paid: dict[Any, list[LedgerTransaction]] = defaultdict(list)
    fees: Counter[tuple[str, Any]] = Counter()
    for item in case.record.submission_items:
        row = submissions.get(item["submission_id"])
        each = applied.get(row["transaction_hash"]) if row else None
        if each is not None and item["withdrawal_id"] is not None:
            paid[item["withdrawal_id"]].append(each)
        if each is not None and item["action"] == "collect":
            fees[each.hash, item["farmer_id"]] += item["amount_stroops"]
    for row in case.record.withdrawals:
        name, transactions = f"withdrawal {row['withdrawal_id']}", paid[row["withdrawal_id"]]
        expected = int(row["closed_at"] is not None and row["code"] is None)
        if len(transactions) != expected:
            hashes = ", ".join(each.hash for each in transactions) or "nothing"
            yield Finding(Invariant.PAID_ONCE, f"{name} is to be paid {expected} times, and was by {hashes}")
        wallet = farmers[row["farmer_id"]]["custodial_wallet"]
        for each in transactions:
            moved = each.kale if row["asset"] == "KALE" else each.xlm
            fee = fees[each.hash, row["farmer_id"]]  # paid to the pool besides
            wanted = {wallet: -row["amount_stroops"] - fee, row["destination"]: row["amount_stroops"]}
            if {address: amount for address, amount in moved.items() if address in wanted} != wanted:
                yield Finding(Invariant.PAID_ONCE, f"{name} moved {moved}, not {wanted}")
    known = {each.hash for row in case.record.withdrawals for each in paid[row["withdrawal_id"]]}
    known |= {
        each.hash
        for name, each in applied.items()
        for row in case.record.submissions
        if row["transaction_hash"] == name and row["action"] in ("merge", "create_account")
    }
    own = case.own
    for each in case.ours:
        out = {address for moved in (each.kale, each.xlm) for address, amount in moved.items() if amount > 0} - own
        if out and each.hash not in known:
            yield Finding(Invariant.PAID_ONCE, f"{_name(each)} paid {sorted(out)}, for no withdrawal")


def check_balanced(case: Case) -> Iterator[Finding]:
    """Balances follow from the transactions; farmers' KALE also from the events; fees from the journal."""
    own = case.own
    sums: dict[str, list[int]] = {address: [0, 0] for address in own}
    for each in case.history.transactions:
        for address in own & {*each.xlm, *each.kale, each.fee_source}:
            sums[address][0] += each.xlm.get(address, 0) - (each.fee if each.fee_source == address else 0)
            sums[address][1] += each.kale.get(address, 0)
    for address, (xlm, kale) in sums.items():
        balance = case.history.balances.get(address)
        has = (balance.xlm, balance.kale or 0) if balance else (0, 0)
        if has != (xlm, kale):
            text = f"{address} has {has} stroops of XLM and KALE, by its transactions {(xlm, kale)}"
            yield Finding(Invariant.BALANCED, text)
    yield from _balanced_by_events(case, sums)
    charged = sum(each.fee for each in case.history.transactions if each.fee_source in own)
    booked = sum(row["fee_stroops"] or 0 for row in case.record.submissions)
    if charged != booked:
        yield Finding(Invariant.BALANCED, f"the network took {charged} stroops in fees, {booked} are booked")


def _balanced_by_events(case: Case, sums: dict[str, list[int]]) -> Iterator[Finding]:
    ids = case.wallets
    by_events: Counter[Any] = Counter()
    for row in case.record.plantings:
        by_events[row["farmer_id"]] -= row["stake_stroops"] or 0 if row["outcome"] == "planted" else 0
    for row in case.record.harvests:
        if row["outcome"] == "harvested":
            by_events[row["farmer_id"]] += row["reward_stroops"] + row["stake_stroops"]
    for wallet, farmer_id in ids.items():
        # What plants and harvests moved, which is not what came as a gift or was paid out.
        farmed = sum(each.kale.get(wallet, 0) for each in case.history.transactions if each.changes)
        if farmed != by_events[farmer_id]:
            text = f"farming changed the KALE of {wallet} by {farmed} stroops, by its events {by_events[farmer_id]}"
            yield Finding(Invariant.BALANCED, f"{text}; it has {sums[wallet][1]}")


# --- events and stakes


def check_events(case: Case) -> Iterator[Finding]:
    """What each transaction did to our farmers' pails, against the events, which name it where it is ours."""
    ids = case.wallets
    ours = {each.hash for each in case.ours}
    inner = {each.inner_hash: each.hash for each in case.ours if each.inner_hash}
    happened: Counter[tuple[Any, ...]] = Counter()
    for each in case.history.transactions:
        for change in each.changes:
            if (farmer_id := ids.get(change.pail[0])) is not None:
                name = each.hash if each.hash in ours else None
                happened[_happened(change.before, change.after, farmer_id, change.pail[1], name)] += 1
    booked = Counter(_booked(case.record, inner))
    for what, count in ((happened - booked) + (booked - happened)).items():
        side = "happened and is not booked" if happened[what] > booked[what] else "is booked and did not happen"
        yield Finding(Invariant.EVENTS, f"{side}, {count} times: {_words(what)}", what[1])
    yield from _rewards_agree(case, inner)


def _happened(
    before: PailState | None, after: PailState | None, farmer_id: Any, block: int, transaction: str | None
) -> tuple[Any, ...]:
    if after is None:
        assert before is not None
        return "harvest", block, farmer_id, transaction, before.stake, None, None
    if before is None:
        return "plant", block, farmer_id, transaction, after.stake, None, None
    return "work", block, farmer_id, transaction, None, after.zeros, after.gap


def _booked(record: Record, inner: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    for action, rows, outcome in (
        ("plant", record.plantings, "planted"),
        ("work", record.works, "worked"),
        ("harvest", record.harvests, "harvested"),
    ):
        for row in rows:
            if row["outcome"] == outcome:
                name = _outer(row, inner)
                found = (
                    (None, row["zeros"], row["gap"]) if action == "work" else (int(row["stake_stroops"]), None, None)
                )
                yield action, row["block_index"], row["farmer_id"], name, *found


def _outer(row: Row, inner: dict[str, str]) -> Any:
    """The hash by which the ledger knows an event's transaction; None where the event names none."""
    name = row["transaction_hash"]
    return inner.get(name, name)


def _words(what: tuple[Any, ...]) -> str:
    action, block, farmer_id, transaction, stake, zeros, gap = what
    more = f"zeros {zeros}, gap {gap}" if action == "work" else f"stake {stake}"
    return f"{action} of farmer {farmer_id} in block {block} by transaction {transaction}: {more}"


def _rewards_agree(case: Case, inner: dict[str, str]) -> Iterator[Finding]:
    """What the harvests of a transaction are booked with is what it brought."""
    wallets = {farmer_id: wallet for wallet, farmer_id in case.wallets.items()}
    booked: Counter[tuple[str, str]] = Counter()
    for row in case.record.harvests:
        if row["outcome"] == "harvested" and row["transaction_hash"] is not None:
            name = _outer(row, inner)
            booked[name, wallets[row["farmer_id"]]] += int(row["reward_stroops"] + row["stake_stroops"])
    for each in case.ours:
        for wallet in {change.pail[0] for change in each.changes if change.after is None} & {*case.wallets}:
            brought = each.kale.get(wallet, 0)
            if brought != booked[each.hash, wallet]:
                text = f"{_name(each)} brought {wallet} {brought} stroops, {booked[each.hash, wallet]} are booked"
                yield Finding(Invariant.EVENTS, text, _block(each))


def check_accounted(case: Case) -> Iterator[Finding]:
    wallets = {farmer_id: wallet for wallet, farmer_id in case.wallets.items()}
    lost = case.lost
    booked = {(wallets[row["farmer_id"]], row["block_index"]): row for row in case.record.pooler_compensations}
    for (wallet, block), state in case.pails.items():
        if block > case.due:
            continue
        name = f"the stake of {wallet} in block {block}"
        row = booked.pop((wallet, block), None)
        if (wallet, block) in lost:
            stake = lost[wallet, block]
            if row is None:
                yield Finding(Invariant.ACCOUNTED, f"{name}, {stake} stroops, is lost and not booked", block)
            elif (row["standing"], int(row["stake_stroops"])) != ("owed", stake):
                said = f"{row['standing']}, {row['stake_stroops']} stroops"
                yield Finding(Invariant.ACCOUNTED, f"{name} is booked as {said}; lost are {stake}", block)
        elif row is not None and row["standing"] != "not-owed":
            yield Finding(Invariant.ACCOUNTED, f"{name} is booked as lost ({row['standing']}), and is not", block)
        elif state is not None:
            yield Finding(Invariant.ACCOUNTED, f"{name} was worked and lies on the ledger unharvested", block)
    for (wallet, block), row in booked.items():
        if block <= case.due:
            text = f"{wallet} in block {block} is booked as lost ({row['standing']}) and was never planted"
            yield Finding(Invariant.ACCOUNTED, text, block)


CHECKS: tuple[Callable[[Case], Iterable[Finding]], ...] = (
    check_journalled,
    check_agrees,
    check_settled,
    check_not_again,
    check_paid_once,
    check_events,
    check_accounted,
    check_balanced,
)


def _name(each: LedgerTransaction) -> str:
    said = "applied" if each.applied else "failed"
    return f"{each.operation} {each.hash} ({said} in ledger {each.ledger}, from {each.source})"


def _block(each: LedgerTransaction) -> int | None:
    return each.meant[0][1] if each.meant else None
