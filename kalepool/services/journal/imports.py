"""What the RPC server still knows of transactions that this database does not have: written down as if it had them.

Found by who paid for them, read from their envelopes. What came of a plant, work or harvest becomes an event, and a
payment settles the open withdrawal that it fits. Of a farmer that is not here nothing but the transaction is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Outcome, PastPart, PastTransaction, Status
from kalepool.database import Session, new_id
from kalepool.errors import DuplicateRowError
from kalepool.policy import bookkeeping
from kalepool.protocol.hashing import count_zeros
from kalepool.services import postings
from kalepool.services.journal.carry import item_rows, settle_in
from kalepool.services.journal.intents import Intent, Item
from kalepool.services.journal.state import Journal

log = structlog.get_logger()


async def import_missing(journal: Journal) -> int:
    """Writes down what the server knows of our transactions since the journal's last, and the journal does not.

    Returns how many they were. Raises ChainError, DatabaseError; what was written by then stays.
    """
    last = await journal.database.fetch_one("select_last_ledger")
    payers = [row["address"] for row in await journal.database.fetch_all("select_payers")]
    found = await journal.chain.find_paid(payers, last["ledger"] if last else 1)
    hashes = [bytes.fromhex(name) for name in found]
    known = {
        row["transaction_hash"]
        for row in await journal.database.fetch_all("select_known_transactions", transaction_hashes=hashes)
    }
    ours = {row["address"] for row in await journal.database.fetch_all("select_accounts_of_ours")}
    imported = 0
    for name in sorted(found, key=lambda name: found[name].ledger):
        if bytes.fromhex(name) in known:
            continue
        past = await journal.chain.read_past(name)
        if past is None or past[0].action is None or past[0].source not in ours:
            continue
        number = {"source_account": past[0].source, "sequence": past[0].sequence}
        if await journal.database.fetch_one("select_sequence_known", **number) is None:
            imported += await _write(journal, name, *past)
    if imported:
        log.warning("transactions_imported", transactions=imported)
    return imported


async def _write(journal: Journal, name: str, transaction: PastTransaction, outcome: Outcome) -> bool:
    """One transaction as a submission that is closed, with its events. False where another entry claims the same."""
    for is_whole in (True, False):
        try:
            async with journal.database.transaction() as session:
                await _write_in(session, name, transaction, outcome, is_whole=is_whole)
            return True
        except DuplicateRowError as error:  # another claim on the same: then only that it was made
            log.warning("transaction_imported_in_part", transaction=name, reason=str(error))
    return False


async def _write_in(
    session: Session, name: str, transaction: PastTransaction, outcome: Outcome, *, is_whole: bool
) -> None:
    action = transaction.action
    assert action is not None
    wallets = [part.wallet for part in transaction.parts]
    rows = await session.fetch_all("select_owners", wallets=wallets)
    owners: dict[str, tuple[UUID, UUID]] = {row["wallet"]: (row["farmer_id"], row["pooler_id"]) for row in rows}
    parts = transaction.parts
    if isinstance(outcome.return_value, tuple):  # of the tractor: 0 for what it passed over
        parts = tuple(part for part, value in zip(parts, outcome.return_value, strict=True) if value)
        outcome = replace(outcome, return_value=tuple(value for value in outcome.return_value if value))
    # What a work or harvest brought is not known where the answer cannot be read: then only that it was made.
    unread = action in (ActionName.WORK, ActionName.HARVEST) and outcome.return_value is None
    unread &= outcome.status is Status.APPLIED
    known = is_whole and not unread
    items = [await _item(session, action, part, owners, transaction.memo_id) for part in parts] if known else [None]
    whole = [item for item in items if item is not None]
    if len(whole) < len(items):  # without all of them its outcome cannot be told apart
        whole = []
    pooler_id = next((pooler for _, pooler in owners.values()), None)
    submission_id = new_id()
    await session.execute(
        "insert_submission",
        term=None,  # a ledger has it already
        submission_id=submission_id,
        action=action,
        pooler_id=pooler_id,
        source_account=transaction.source,
        sequence=transaction.sequence,
        transaction_hash=bytes.fromhex(name),
        envelope_xdr=transaction.envelope_xdr,
        valid_until=transaction.valid_until,
        attempt=1,
    )
    await session.execute_many("insert_submission_item", item_rows(submission_id, action, whole))
    await settle_in(session, submission_id, Intent(action, pooler_id, whole), outcome, with_events=bool(whole))
    log.info("transaction_imported", action=action, transaction=name, ledger=outcome.ledger, status=outcome.status)


async def _item(
    session: Session,
    action: ActionName,
    part: PastPart,
    owners: Mapping[str, tuple[UUID, UUID]],
    memo_id: int | None,
) -> Item | None:
    """The part as an item of ours; None where whose it is, or what is needed for its event, is not known."""
    if action == ActionName.PAYMENT and part.wallet not in owners:
        return await _of_the_treasury(session, part, memo_id)
    if action == ActionName.TAKE_BACK:
        return await _taken_back(session, part)
    if action == ActionName.CREATE_ACCOUNT:
        return Item(destination=part.destination, amount_stroops=part.amount_stroops)
    if part.wallet not in owners:
        return None
    farmer_id, _ = owners[part.wallet]
    match action:
        case ActionName.PLANT if part.block_index is not None:
            return Item(part.block_index, farmer_id, part.amount_stroops)
        case ActionName.WORK if part.block_index is not None and part.digest is not None:
            zeros = count_zeros(part.digest)
            return Item(part.block_index, farmer_id, nonce=part.nonce, hash=part.digest, zeros=zeros)
        case ActionName.HARVEST:
            pail = await session.fetch_one("select_pail", block_index=part.block_index, farmer_id=farmer_id)
            return Item(part.block_index, farmer_id, pail["stake"]) if pail is not None else None
        case ActionName.PAYMENT if await postings.is_treasury(session, part.destination):
            fee = {"amount_stroops": part.amount_stroops, "destination": part.destination, "asset": "KALE"}
            return Item(farmer_id=farmer_id, action=ActionName.COLLECT, **fee)
        case ActionName.PAYMENT:
            wish = await session.fetch_one(
                "select_fitting_withdrawal",
                farmer_id=farmer_id,
                asset="KALE" if part.kale else "XLM",
                amount_stroops=part.amount_stroops,
                destination=part.destination,
            )
            paid = wish["withdrawal_id"] if wish is not None else None
            return Item(
                farmer_id=farmer_id,
                amount_stroops=part.amount_stroops,
                destination=part.destination,
                withdrawal_id=paid,
                asset="KALE" if part.kale else "XLM",
            )
        case ActionName.MERGE | ActionName.TRUSTLINE:
            return Item(
                farmer_id=farmer_id,
                amount_stroops=part.amount_stroops,
                destination=part.destination,
                native_stroops=part.native_stroops,
                asset="KALE",
            )
        case _:
            return None


async def _taken_back(session: Session, part: PastPart) -> Item | None:
    found = await session.fetch_one("select_claimable", balance_id=part.balance_id)
    if found is None:
        return None
    return Item(
        balance_id=part.balance_id,
        amount_stroops=found["amount_stroops"],
        destination=part.wallet,
        asset="KALE",
        miner_id=found["miner_id"],
    )


async def _of_the_treasury(session: Session, part: PastPart, memo_id: int | None) -> Item:
    """A payment of an account of the pool's own: to a farmer's wallet for a stake that was lost in the block that its
    memo names; to a miner, where one has the wallet it went to."""
    plain = Item(destination=part.destination, amount_stroops=part.amount_stroops, asset="KALE" if part.kale else "XLM")
    if not part.kale:
        return plain
    farmers = await session.fetch_all("select_owners", wallets=[part.destination])
    if farmers and memo_id is not None and await postings.is_treasury(session, part.wallet):
        action = ActionName.COMPENSATE
        return replace(plain, action=action, block_index=memo_id, farmer_id=farmers[0]["farmer_id"])
    found = await session.fetch_one(
        "select_paid_miner", destination=part.destination, amount_stroops=part.amount_stroops, until=part.until
    )
    if found is None:
        return plain
    payout_id, miner_id = found["payout_id"], found["miner_id"]
    if part.until is not None and payout_id is None:
        payout_id = await _found_payout(session, miner_id, part)
    return replace(plain, action=ActionName.PAYOUT, miner_id=miner_id, payout_id=payout_id, until=part.until)


async def _found_payout(session: Session, miner_id: UUID, part: PastPart) -> UUID:
    """A payout for what was put down, as if this database had begun it."""
    payout_id, amount = new_id(), part.amount_stroops or 0
    await session.execute(
        "insert_found_payout",
        payout_id=payout_id,
        miner_id=miner_id,
        amount_stroops=amount,
        destination=part.destination,
        until=part.until,
    )
    await postings.post(session, bookkeeping.claimed(payout_id, miner_id, amount))
    return payout_id
