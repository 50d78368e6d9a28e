"""Transactions that the RPC server has forgotten or lost: what became of them, by what the ledger holds now.

A sequence number is used once. While the source account's is below the transaction's, or another transaction of our
journal used it, no ledger took this one: for certain, as its time bound has passed. Else a ledger took it, and what it
was to change tells whether it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal
from uuid import UUID

from kalepool.actions import ActionName
from kalepool.chain import Account, Outcome, Status, envelope_hash, expired
from kalepool.errors import ChainError, ConflictError
from kalepool.policy import bookkeeping
from kalepool.protocol.model import Pail
from kalepool.services import postings
from kalepool.services.journal.events import read_pail
from kalepool.services.journal.intents import Item, Open
from kalepool.services.journal.state import Journal

CLOCKS_DIFFER = 1.5
"""Ledgers may close so much faster than the network says."""

CREATED_IN = 32
"""A new account's sequence number begins with the ledger that made it, shifted by so many bits."""


async def decide(journal: Journal, row: Open, items: Sequence[Item]) -> Outcome | None:
    """What became of a forgotten transaction whose time bound has passed. None: the ledger does not tell.

    Raises RpcUnavailableError, DatabaseError.
    """
    name = row.transaction_hash.hex()
    source = (await journal.chain.read_accounts([row.source_account])).get(row.source_account)
    unused = source is not None and source.sequence < row.sequence
    if unused or await journal.database.fetch_one(
        "select_sequence_taken",
        submission_id=row.submission_id,
        source_account=row.source_account,
        sequence=row.sequence,
    ):
        return expired(name, row.valid_until)
    match row.action:
        case ActionName.PLANT:
            return await _plant(journal, name, items[0])
        case ActionName.WORK:
            return await _work(journal, name, items[0])
        case ActionName.HARVEST:
            return await _harvest(journal, name, items)
        case ActionName.TRUSTLINE if source is not None:
            return _outcome(name, applied=source.kale_stroops is not None)
        case ActionName.MERGE:
            return await _merge(journal, row, source)
        case ActionName.TAKE_BACK:
            return await _taken_back(journal, name, items)
        case ActionName.PAYOUT | ActionName.COMPENSATE if source is not None:
            paid = sum(item.amount_stroops or 0 for item in items)
            return await _moved(journal, name, {bookkeeping.TREASURY: (source.address, paid)})
        case ActionName.COLLECT:
            return await _collected(journal, name, items)
        case ActionName.CREATE_ACCOUNT:
            wanted = [item.destination for item in items if item.destination is not None]
            return _outcome(name, applied=bool(await journal.chain.read_accounts(wanted)))
    return None  # a balance may have moved for many reasons


def _is_new(account: Account, sequence: int) -> bool:
    """Whether the account was closed and made again since it had this sequence number."""
    return account.sequence >> CREATED_IN != sequence >> CREATED_IN


async def with_charge(journal: Journal, row: Open, outcome: Outcome) -> Outcome:
    """The outcome with the ledger that took the transaction, and what it cost, where the server still has the events
    that tell. Raises DatabaseError."""
    payers = [found["address"] for found in await journal.database.fetch_all("select_payers")]
    try:
        now = await journal.chain.read_ledger()
        seconds = max((now.closed_at - row.created_at).total_seconds(), 0.0)
        ledgers = seconds / journal.chain.network.ledger_seconds
        paid = await journal.chain.find_paid(payers, max(now.sequence - int(CLOCKS_DIFFER * ledgers) - 10, 1))
    except ChainError:
        return outcome
    # Prepared for the relayer it has the inner transaction's hash, and was paid for by us under another.
    names = (outcome.transaction_hash, envelope_hash(row.envelope_xdr, journal.chain.network.passphrase))
    charge = next((paid[name] for name in names if name in paid), None)
    if charge is None or outcome.status is Status.EXPIRED:
        return outcome
    return replace(outcome, ledger=charge.ledger, fee_stroops=charge.fee_stroops)


async def _merge(journal: Journal, row: Open, source: Account | None) -> Outcome | None:
    name = row.transaction_hash.hex()
    if source is None:
        # Whom it was merged into is there: a server that shows neither of them shows nothing.
        wanted = [found["address"] for found in await journal.database.fetch_all("select_payers")]
        return _outcome(name, applied=True) if await journal.chain.read_accounts(wanted) else None
    return _outcome(name, applied=_is_new(source, row.sequence))


def _outcome(name: str, *, applied: bool, ledger: int | None = None, value: int | None = None) -> Outcome:
    if applied:
        return Outcome(name, Status.APPLIED, ledger=ledger, return_value=value)
    error = ChainError(f"transaction {name} was taken and changed nothing, by what the ledger holds")
    return Outcome(name, Status.FAILED, error=error)


async def read_pails(journal: Journal, items: Sequence[Item]) -> Mapping[tuple[UUID, int], Pail]:
    """The items' pails that are on the chain, by farmer and block."""
    rows = await journal.database.fetch_all("select_wallets", farmer_ids=[item.farmer_id for item in items])
    wallets: dict[str, UUID] = {row["custodial_wallet"]: row["farmer_id"] for row in rows}
    indexes = {item.block_index for item in items if item.block_index is not None}
    found = await journal.chain.read_pails([(wallet, index) for wallet in wallets for index in indexes])
    return {(wallets[wallet], index): pail for (wallet, index), pail in found.items()}


async def _collected(journal: Journal, name: str, items: Sequence[Item]) -> Outcome | None:
    rows = await journal.database.fetch_all("select_wallets", farmer_ids=[item.farmer_id for item in items])
    wallets: dict[UUID, str] = {row["farmer_id"]: row["custodial_wallet"] for row in rows}
    parts: dict[str, tuple[str, int]] = {}
    for item in items:
        if item.farmer_id is None or item.farmer_id not in wallets:
            return None
        parts[bookkeeping.wallet(item.farmer_id)] = (wallets[item.farmer_id], item.amount_stroops or 0)
    return await _moved(journal, name, parts)


async def _moved(journal: Journal, name: str, parts: Mapping[str, tuple[str, int]]) -> Outcome | None:
    """By the books: what each account (address, stroops) was to pay is gone from all of them, or from none. What came
    in since hides it."""
    accounts = await journal.chain.read_accounts([address for address, _ in parts.values()])
    books = await postings.balances(journal.database, list(parts))
    there = {
        account: (accounts[address].kale_stroops or 0) if address in accounts else 0
        for account, (address, _) in parts.items()
    }
    if all(there[account] == books[account] - stroops for account, (_, stroops) in parts.items()):
        return _outcome(name, applied=True)
    if all(there[account] == books[account] for account in parts):
        return _outcome(name, applied=False)
    return None


async def _taken_back(journal: Journal, name: str, items: Sequence[Item]) -> Outcome | None:
    """Nobody else could claim what it was to take back: that was tried after its time only."""
    balances = {item.balance_id for item in items if item.balance_id is not None}
    there, _ = await journal.chain.read_claimables(balances)
    return None if there and there != balances else _outcome(name, applied=not there)


async def _plant(journal: Journal, name: str, item: Item) -> Outcome | None:
    for pail in (await read_pails(journal, [item])).values():
        return _outcome(name, applied=True, ledger=pail.sequence)
    # Before the block is over nobody can have harvested it away.
    current = (await journal.chain.read_farm()).index
    return _outcome(name, applied=False) if current == item.block_index else None


async def _work(journal: Journal, name: str, item: Item) -> Outcome | None:
    assert item.zeros is not None
    for pail in (await read_pails(journal, [item])).values():
        zeros = -1 if pail.zeros is None else pail.zeros
        # With more, a later work has covered up what this one did.
        ledger = None if pail.gap is None else pail.sequence + pail.gap
        return (
            None if zeros > item.zeros else _outcome(name, applied=zeros == item.zeros, ledger=ledger, value=pail.gap)
        )
    return None


async def _harvest(journal: Journal, name: str, items: Sequence[Item]) -> Outcome | None:
    """A pail that is gone while its block is not was harvested, for the reward that was forecast: that was final."""
    pails = await read_pails(journal, items)
    blocks = await journal.chain.read_blocks({item.block_index for item in items if item.block_index is not None})
    rewards: list[int] = []
    for item in items:
        assert item.block_index is not None
        assert item.farmer_id is not None
        if (item.farmer_id, item.block_index) in pails:
            rewards.append(0)
        elif item.block_index in blocks and item.forecast_stroops:
            rewards.append(item.forecast_stroops)
        else:
            return None
    if not any(rewards):
        return _outcome(name, applied=False)
    return Outcome(name, Status.APPLIED, return_value=rewards[0] if len(rewards) == 1 else tuple(rewards))


async def by_hand(
    journal: Journal, row: Open, items: Sequence[Item], status: Literal["applied", "failed"], ledger: int
) -> Outcome:
    """The outcome as somebody found it elsewhere, with what follows from it. ConflictError where that is not known."""
    name = row.transaction_hash.hex()
    if status == "failed":
        error = ChainError(f"transaction {name} failed in ledger {ledger}, by what an operator found")
        return Outcome(name, Status.FAILED, ledger=ledger, error=error)
    value: int | tuple[int, ...] | None = None
    match row.action:
        case ActionName.WORK:
            block_index, farmer_id = items[0].block_index, items[0].farmer_id
            assert block_index is not None and farmer_id is not None
            pail = await read_pail(journal.database, block_index, farmer_id)
            if pail is None or pail.sequence is None or pail.sequence >= ledger:
                raise ConflictError(f"nothing of the farmer was planted before ledger {ledger}: no work can count")
            value = ledger - pail.sequence
        case ActionName.HARVEST:
            value = tuple(item.forecast_stroops or 0 for item in items)
    return Outcome(name, Status.APPLIED, ledger=ledger, return_value=value)
