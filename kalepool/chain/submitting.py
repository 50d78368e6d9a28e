"""Sending a prepared transaction and finding out what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog
from stellar_sdk.soroban_rpc import (
    GetTransactionResponse,
    GetTransactionsResponse,
    GetTransactionStatus,
    SendTransactionResponse,
)

from kalepool.chain import building, decoding
from kalepool.chain.gathering import GatheredLookUps
from kalepool.chain.reader import ChainReader
from kalepool.chain.records import Account, Outcome, Prepared, Status
from kalepool.chain.relayer import Relayer
from kalepool.chain.rpc import RateLimitedError
from kalepool.errors import (
    ChainError,
    HistoryGoneError,
    TransactionExpiredError,
    TransactionLostError,
)
from kalepool.networks import Network
from kalepool.policy.rpc_servers import Sending

log = structlog.get_logger(__name__)

RESEND_AFTER_LEDGERS = 2
"""Ledgers after which a transaction that was taken but not applied is sent again: it may have been lost."""

FRESH_LEDGERS = 2
"""A sequence number that was read is good for so many ledgers: only we sign for our accounts. Where it was not, the
network says so, and it is read again."""

GRACE_SECONDS = 5.0
"""With three ledgers' time, how long after the time bound the outcome is waited for before it is called unknown."""

LONGEST_LIFE = timedelta(minutes=5)
"""No transaction is made to be valid for longer; so an RPC server that remembers this long knows all of it."""

FIRST_LEDGERS = 2
"""A server whose oldest ledger is one of these remembers everything."""


A = TypeVar("A")
B = TypeVar("B")


class Submitter(ChainReader):
    """Sends, follows and looks up transactions.

    It also keeps each source account's last sequence number while it is certain, and knows which accounts have a
    transaction that may still apply.
    """

    def __init__(
        self, network: Network, *, timeout_seconds: float = 10.0, requests_per_second: float | None = None
    ) -> None:
        super().__init__(network, timeout_seconds=timeout_seconds, requests_per_second=requests_per_second)
        self._sequences: dict[str, int] = {}
        self._read_sequences: dict[str, tuple[int, int]] = {}  # the ledger it was read in, and the number
        self._unsettled: dict[str, datetime] = {}
        self._told_unread = False
        self._look_ups = GatheredLookUps(self._ask_transactions)
        self.relayer: Relayer | None = None
        """Takes what is prepared for it; without one everything is sent directly."""

    async def __aexit__(self, *error: object) -> None:
        await self._look_ups.close()
        if self.relayer is not None:
            await self.relayer.close()
        await super().__aexit__(*error)

    async def submit(self, prepared: Prepared) -> Outcome:
        """Send and follow until the outcome is known. Never raises for what the network does.

        What is prepared for the relayer is handed to it, and sent directly once it says no or its time is over: a
        ledger takes the inner transaction once, from whoever pays for it.

        Sends again after TRY_AGAIN_LATER, 5xx and timeouts, always the same envelope, until `valid_until`. The status
        is `unknown` where the server could not be asked, or closed no ledger, for long after: then `look_up` later.
        When cancelled, the transaction may still apply: `look_up` it.
        """
        self._sequences.pop(prepared.source, None)
        self._read_sequences.pop(prepared.source, None)
        self._unsettled[prepared.source] = prepared.valid_until
        outcome = await self._send_and_follow(prepared)
        if outcome.status is not Status.UNKNOWN:
            self._unsettled.pop(prepared.source, None)
        consumed = outcome.ledger is not None and not (outcome.error and (outcome.result_code or "").startswith("tx"))
        if consumed:
            self._sequences[prepared.source] = prepared.sequence
        log.debug(
            "transaction_settled",
            action=prepared.action,
            transaction=outcome.transaction_hash,
            status=str(outcome.status),
            ledger=outcome.ledger,
            result_code=outcome.result_code,
            fee_bid_stroops=prepared.fee_bid_stroops,
            fee_stroops=outcome.fee_stroops,
        )
        return outcome

    async def look_up(
        self,
        transaction_hash: str,
        valid_until: datetime,
        function: str | None = None,
        *,
        source: str | None = None,
        sequence: int = 0,
    ) -> Outcome:
        """What became of a transaction sent before, as after a crash. Raises RpcUnavailableError.

        `expired` is said only when two answers in a row, of two servers where two answer, each of a time when a ledger
        had closed after `valid_until`, do not know the transaction (a server reads transactions before its ledger
        range, and may take in a ledger in between), and the account `source` has not used up the transaction's
        `sequence` number since. Where it has, or is gone, a ledger may have taken what the server has lost: the status
        is `unknown` and the error a TransactionLostError. Where the server's memory does not reach back to the
        transaction's life it is `unknown` and a HistoryGoneError. `function` is plant, work, harvest or harvest_many:
        it helps to name errors where the server gives no diagnostic events.
        """
        told: set[int] = set()
        forgot: HistoryGoneError | None = None
        for _ in range(2):
            answer = await self._rpc.read(
                "getTransaction", GetTransactionResponse, {"hash": transaction_hash}, told=told
            )
            self._observe(answer.latest_ledger, answer.latest_ledger_close_time)
            if answer.status is not GetTransactionStatus.NOT_FOUND:
                return self._decoded(lambda found: self._found(transaction_hash, found, function), answer)
            if answer.latest_ledger_close_time <= int(valid_until.timestamp()):
                return Outcome(transaction_hash, Status.UNKNOWN)
            remembered = datetime.fromtimestamp(answer.oldest_ledger_close_time, UTC)
            if answer.oldest_ledger > FIRST_LEDGERS and remembered > valid_until - LONGEST_LIFE:
                forgot = HistoryGoneError(
                    f"{self._rpc.place} remembers transactions since {remembered:%Y-%m-%d %H:%M:%S} only: "
                    f"look {transaction_hash} up elsewhere"
                )
                if not self._rpc.are_several:
                    break
        if forgot is not None:  # and none of several had it
            return Outcome(transaction_hash, Status.UNKNOWN, error=forgot)
        if not self._rpc.is_agreed(told):
            return Outcome(transaction_hash, Status.UNKNOWN)
        if source is not None:
            account = (await self.read_accounts([source])).get(source)
            if account is None or account.sequence >= sequence:
                lost = TransactionLostError(
                    f"{self._rpc.place} does not know transaction {transaction_hash}, and {source} has used its "
                    f"sequence number {sequence} or is gone: a ledger may have taken it. Look it up elsewhere"
                )
                return Outcome(transaction_hash, Status.UNKNOWN, error=lost)
        return expired(transaction_hash, valid_until)

    def _saw_accounts(self, accounts: Mapping[str, Account], ledger: int) -> None:
        for address, account in accounts.items():
            if address not in self._unsettled:
                self._read_sequences[address] = ledger, account.sequence

    def _known_sequence(self, address: str) -> int | None:
        """An account's sequence number by the last transaction of ours, or as it was read a moment ago."""
        if (last := self._sequences.get(address)) is not None:
            return last
        ledger, sequence = self._read_sequences.get(address, (0, 0))
        return sequence if ledger and ledger >= self._highest - FRESH_LEDGERS else None

    async def settle(self, address: str) -> None:
        """Wait until no transaction of the account whose outcome is unknown can still apply."""
        while (until := self._unsettled.get(address)) is not None:
            if self._latest is not None and self._latest.closed_at > until:
                self._unsettled.pop(address, None)
                return
            await self.next_ledger(self._highest, 2 * self.network.ledger_seconds + 1)

    async def _send_and_follow(self, prepared: Prepared) -> Outcome:
        bound = prepared.valid_until
        grace = 3 * self.network.ledger_seconds + GRACE_SECONDS
        give_up = time.monotonic() + grace + max((bound - self._reckon()).total_seconds(), 0)
        relay_ends, maybe_taken = await self._hand_over(prepared)
        handed_over = maybe_taken
        sent: Sending | None = None
        seen = seen_at_send = max(prepared.ledger, self._highest)
        first_ledger = seen_at_send + 1
        while True:
            pause = 2 * self.network.ledger_seconds + 1
            due = sent in (None, Sending.LATER, Sending.LOST) or (
                sent is Sending.TAKEN and seen - seen_at_send >= RESEND_AFTER_LEDGERS
            )
            if (left := relay_ends - time.monotonic()) > 0:
                due, pause = False, min(pause, left)
            if due and self._reckon() <= bound:
                sent, refusal, wait = await self._send(prepared)
                if sent is Sending.REFUSED and not maybe_taken:
                    assert refusal is not None
                    return refusal
                if sent is Sending.REFUSED and handed_over:  # as for the relayer's, which waits in the network's queue
                    sent, wait = Sending.LATER, self.network.ledger_seconds
                maybe_taken |= sent in (Sending.TAKEN, Sending.LOST)
                seen = seen_at_send = max(seen, self._highest)
                if sent in (Sending.LATER, Sending.LOST):
                    pause = wait
            latest = await self.next_ledger(seen, pause)
            if latest is not None:
                seen = latest.sequence
            is_late = self._reckon() > bound or time.monotonic() > give_up
            # Before it is sent again it is looked up, too: what fails without effect uses no number up.
            is_lost = seen - seen_at_send >= RESEND_AFTER_LEDGERS
            if is_late or (maybe_taken and (is_lost or await self._has_used(prepared))):
                try:
                    outcome = await self._look_up_together(prepared, first_ledger)
                except ChainError as error:
                    outcome = Outcome(prepared.transaction_hash, Status.UNKNOWN, error=error)
                if outcome.status is not Status.UNKNOWN or time.monotonic() > give_up:
                    return outcome

    async def _look_up_together(self, prepared: Prepared, first_ledger: int) -> Outcome:
        """As `look_up`, with the others that are looked up now. Raises ChainError."""
        found = await self._look_ups.find(prepared.transaction_hash, first_ledger)
        if found is not None:
            return self._decoded(lambda each: self._found(prepared.transaction_hash, each, prepared.function), found)
        return await self.look_up(
            prepared.transaction_hash,
            prepared.valid_until,
            prepared.function,
            source=prepared.source,
            sequence=prepared.sequence,
        )

    async def _ask_transactions(self, params: Mapping[str, Any]) -> GetTransactionsResponse:
        return await self._rpc.call("getTransactions", GetTransactionsResponse, params)

    async def _has_used(self, prepared: Prepared) -> bool:
        """Whether the number of a transaction is used up: then a ledger has it. All that wait ask by one request."""
        try:
            account = (await self.read_accounts([prepared.source])).get(prepared.source)
        except ChainError:
            return False
        return account is None or account.sequence >= prepared.sequence

    async def _hand_over(self, prepared: Prepared) -> tuple[float, bool]:
        """Gives the relayer what is prepared for it. Until when it is left to it, by the monotonic clock (0: not at
        all); and whether the relayer may have it."""
        if self.relayer is None or prepared.relayed_until is None:
            return 0.0, False
        left = (prepared.relayed_until - self._reckon()).total_seconds()
        if left <= 0 or self.relayer.paused_seconds:  # others were refused since this was prepared
            return 0.0, False
        ends = time.monotonic() + left
        trouble = await self.relayer.take(prepared, left)
        return (ends, True) if trouble is None else (0.0, trouble.may_land)

    async def _send(self, prepared: Prepared) -> tuple[Sending, Outcome | None, float]:
        """Send once: how it went, the outcome where it was refused, and how long to wait before sending again."""
        pause = min(self.network.ledger_seconds / 2, 1.0)
        sent, answer = await self._rpc.send(prepared.envelope_xdr)
        if isinstance(answer, ChainError):
            log.debug("send_unanswered", transaction=prepared.transaction_hash, reason=str(answer))
            if isinstance(answer, RateLimitedError):
                pause = max(pause, min(answer.retry_after_seconds, 2 * self.network.ledger_seconds))
            refused = Outcome(prepared.transaction_hash, Status.FAILED, error=answer)
            return sent, refused if sent is Sending.REFUSED else None, pause
        if answer.latest_ledger and answer.latest_ledger_close_time:
            self._observe(answer.latest_ledger, answer.latest_ledger_close_time)
        return sent, self._refusal(prepared, answer) if sent is Sending.REFUSED else None, pause

    def _refusal(self, prepared: Prepared, answer: SendTransactionResponse) -> Outcome:
        try:
            result = decoding.read_result(answer.error_result_xdr or "")
        except (ValueError, TypeError, EOFError):
            result = decoding.Result(False, "unreadable result", 0)
        error = decoding.refused_error(result, prepared.transaction_hash)
        needed = building.needed_bid(prepared, result.fee_stroops) if result.code == "txINSUFFICIENT_FEE" else 0
        return Outcome(
            prepared.transaction_hash, Status.FAILED, result_code=result.code, error=error, needed_bid=needed
        )

    def _found(self, transaction_hash: str, answer: GetTransactionResponse, function: str | None) -> Outcome:
        """The outcome of a transaction that a ledger has, by its result alone: what it returned is None where its meta
        cannot be read, which is told of once."""
        result = decoding.read_result(answer.result_xdr or "")
        applied = Outcome(
            transaction_hash,
            Status.APPLIED,
            ledger=answer.ledger,
            closed_at=None if answer.create_at is None else datetime.fromtimestamp(answer.create_at, UTC),
            result_code=result.code,
            fee_stroops=result.fee_stroops,
            payer=self._read(decoding.fee_payer, answer.envelope_xdr or ""),
        )
        if result.success:
            return replace(applied, return_value=self._read(decoding.return_value, answer.result_meta_xdr))
        events = answer.diagnostic_events_xdr or self._read(decoding.meta_events, answer.result_meta_xdr)
        error = self._read(
            lambda found: decoding.applied_error(result, found, self.network, function, transaction_hash), events
        ) or decoding.applied_error(result, [], self.network, function, transaction_hash)
        return replace(applied, status=Status.FAILED, error=error)

    def _read(self, decode: Callable[[A], B], value: A) -> B | None:
        """None for what this version cannot read."""
        try:
            return decode(value)
        except (ValueError, TypeError, KeyError, EOFError, AttributeError, AssertionError) as error:
            if not self._told_unread:
                self._told_unread = True
                log.error(
                    "answer_unreadable",
                    reason=f"{type(error).__name__}: {error}",
                    then="what transactions return is reckoned instead: install a version that knows this protocol",
                )
            return None


def expired(transaction_hash: str, valid_until: datetime) -> Outcome:
    """The outcome of a transaction that no ledger took, and none can take any more."""
    error = TransactionExpiredError(
        f"no ledger took transaction {transaction_hash} until {valid_until:%H:%M:%S}",
        result_code="txTOO_LATE",
        transaction_hash=transaction_hash,
    )
    return Outcome(transaction_hash, Status.EXPIRED, result_code="txTOO_LATE", error=error)
