"""Transactions of some accounts that a ledger took: as far back as the RPC server remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stellar_sdk import Asset, scval
from stellar_sdk.soroban_rpc import EventInfo, GetEventsResponse, GetTransactionResponse, GetTransactionStatus

from kalepool.actions import ActionName
from kalepool.chain import past
from kalepool.chain.past import PastTransaction
from kalepool.chain.records import Outcome
from kalepool.chain.submitting import Submitter
from kalepool.policy.bookkeeping import KaleMovement

EVENTS = 1000
"""Events in one answer."""

ACCOUNTS = 25
"""Accounts in one request: five filters of five topics."""


@dataclass(frozen=True, slots=True)
class Charge:
    """The ledger that took a transaction, and what it cost, what came back of it taken off."""

    ledger: int
    fee_stroops: int


class PastReader(Submitter):
    """Finds transactions by who paid for them: every ledger tells of each fee it takes (CAP-67)."""

    async def find_paid(self, payers: Sequence[str], first_ledger: int) -> dict[str, Charge]:
        """What each transaction cost that these accounts paid for, by its hash, from a ledger on or from the server's
        oldest. Raises RpcUnavailableError."""
        health = await self.read_health()
        first = max(first_ledger, health.oldest_ledger)
        found: dict[str, Charge] = {}
        for start in range(0, len(payers) if first <= health.ledger.sequence else 0, ACCOUNTS):
            await self._find_paid(payers[start : start + ACCOUNTS], first, health.ledger.sequence, found)
        return found

    async def _find_paid(self, payers: Sequence[str], first: int, last: int, found: dict[str, Charge]) -> None:
        contract = Asset.native().contract_id(self.network.passphrase)
        topics = past.paid_by(payers)
        for event in await self._read_events(contract, topics, first, last):
            fee = scval.from_int128(event.value)
            before = found.get(event.transaction_hash)
            found[event.transaction_hash] = Charge(event.ledger, fee + (before.fee_stroops if before else 0))

    async def _read_events(
        self, contract: str, topics: Sequence[Sequence[str]], first: int, last: int
    ) -> list[EventInfo]:
        """A contract's events that one of at most 25 topics allows, from one ledger to another."""
        filters = [
            {"type": "contract", "contractIds": [contract], "topics": topics[start : start + 5]}
            for start in range(0, len(topics), 5)
        ]
        where: dict[str, object] = {"startLedger": first}
        pagination: dict[str, object] = {"limit": EVENTS}
        found: list[EventInfo] = []
        while True:
            answer = await self._rpc.read(
                "getEvents", GetEventsResponse, {**where, "filters": filters, "pagination": pagination}
            )
            found += answer.events
            where, pagination = {}, {"limit": EVENTS, "cursor": answer.cursor}
            # The cursor is the id of an event: its first number begins with the ledger (SEP-35).
            if len(answer.events) < EVENTS and int(answer.cursor.partition("-")[0]) >> 32 >= last:
                return found

    async def read_movements(self, wallet: str, first_ledger: int) -> list[KaleMovement]:
        """What came to and went from a wallet in KALE, by the asset contract's events: from a ledger on, or from the
        server's oldest. Raises RpcUnavailableError."""
        health = await self.read_health()
        first, last = max(first_ledger, health.oldest_ledger), health.ledger.sequence
        if first > last:
            return []
        events = await self._read_events(self.network.asset_contract_id, past.moved_by(wallet), first, last)
        found: list[KaleMovement] = []
        for event in events:
            moved = self._decoded(lambda each: past.movement(each.topic, each.value, wallet), event)
            if not moved:
                continue
            is_mint = past.is_mint(event.topic) and not await self._is_payment(event.transaction_hash)
            name = bytes.fromhex(event.transaction_hash)
            found.append(KaleMovement(event.id, moved, event.ledger, name, is_mint, past.sender(event.topic)))
        return found

    async def _is_payment(self, transaction_hash: str) -> bool:
        """Whether it is one: what its issuer pays is made anew, too, as what is harvested."""
        known = await self.read_past(transaction_hash)
        return known is not None and known[0].action == ActionName.PAYMENT

    async def read_past(self, transaction_hash: str) -> tuple[PastTransaction, Outcome] | None:
        """A transaction that a ledger took, and what came of it. None where the server does not know it.

        Raises RpcUnavailableError."""
        answer = await self._rpc.read("getTransaction", GetTransactionResponse, {"hash": transaction_hash})
        if answer.status is GetTransactionStatus.NOT_FOUND or answer.envelope_xdr is None:
            return None
        envelope = answer.envelope_xdr
        transaction = self._decoded(lambda text: past.read_envelope(text, self.network, self.asset), envelope)
        return transaction, self._decoded(lambda found: self._found(transaction_hash, found, None), answer)
