"""What became of a transaction is said only when it is certain, and nothing is sent that was not written down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from stellar_sdk import Keypair, RestoreFootprint, SorobanDataBuilder, TransactionEnvelope, scval
from stellar_sdk import xdr as stellar_xdr

from kalepool.chain import Chain, Channels, Outcome, Prepared, Status, building, submitting
from kalepool.chain.entries import account_key
from kalepool.contract_errors import PailExistsError
from kalepool.errors import (
    BadSequenceError,
    DeadlinePassedError,
    HistoryGoneError,
    RpcUnavailableError,
    TransactionExpiredError,
    TransactionLostError,
)
from kalepool.networks import Network

pytestmark = pytest.mark.anyio

SOURCE = Keypair.from_raw_ed25519_seed(bytes(range(32)))
OTHER = Keypair.from_raw_ed25519_seed(bytes(range(1, 33)))
CODES = stellar_xdr.TransactionResultCode


def result(code: stellar_xdr.TransactionResultCode) -> str:
    body = stellar_xdr.TransactionResultResult(code, results=[] if code.value in (0, -1) else None)
    return stellar_xdr.TransactionResult(stellar_xdr.Int64(200), body, stellar_xdr.TransactionResultExt(0)).to_xdr()


def meta(value: stellar_xdr.SCVal) -> str:
    soroban = stellar_xdr.SorobanTransactionMetaV2(stellar_xdr.SorobanTransactionMetaExt(0), value)
    v4 = stellar_xdr.TransactionMetaV4(
        stellar_xdr.ExtensionPoint(0),
        stellar_xdr.LedgerEntryChanges([]),
        [],
        stellar_xdr.LedgerEntryChanges([]),
        soroban,
        [],
        [],
    )
    return stellar_xdr.TransactionMeta(4, v4=v4).to_xdr()


class World:
    """A network whose ledger closes once per look at it, one second after the one before."""

    def __init__(self, rpc: Any) -> None:
        self.rpc = rpc
        self.start = datetime.now(UTC).replace(microsecond=0)
        self.sequence = 100
        self.stuck = False
        self.oldest = 1
        self.known: dict[str, tuple[str, str]] = {}  # hash: status, result
        self.sends: list[Any] = []  # answers to sendTransaction, one after the other; then PENDING
        self.sent: list[str] = []
        self.was_sent = asyncio.Event()
        self.take_after: int | None = 1  # ledgers until what was taken is applied; None: never
        self.pending: dict[str, int] = {}
        self.return_value = scval.to_uint32(3)
        self.account_sequence: int | None = 4  # of SOURCE; None: it is gone
        rpc.answers["getHealth"] = [self.health]
        rpc.answers["getTransaction"] = [self.transaction]
        rpc.answers["sendTransaction"] = [self.send]
        rpc.answers["getLedgerEntries"] = [self.entries]
        rpc.answers["getFeeStats"] = [self.fees]

    def closed(self, sequence: int) -> int:
        return int(self.start.timestamp()) + sequence - 100

    def times(self) -> dict[str, int]:
        return {
            "latestLedger": self.sequence,
            "latestLedgerCloseTime": self.closed(self.sequence),
            "oldestLedger": self.oldest,
            "oldestLedgerCloseTime": self.closed(self.oldest),
        }

    async def health(self, _: Any) -> Any:
        self.sequence += not self.stuck
        for transaction, at in list(self.pending.items()):
            if at <= self.sequence:
                self.known[transaction] = ("SUCCESS", result(CODES.txSUCCESS))
                del self.pending[transaction]
        return self.times() | {"status": "healthy", "ledgerRetentionWindow": 100}

    async def send(self, params: Any) -> Any:
        transaction = TransactionEnvelope.from_xdr(params["transaction"], self.rpc.passphrase).hash_hex()
        self.sent.append(transaction)
        self.was_sent.set()
        status = self.sends.pop(0) if self.sends else "PENDING"
        if isinstance(status, web.Response):
            return status
        answer = self.times() | {"hash": transaction, "status": status}
        if status not in ("PENDING", "DUPLICATE", "TRY_AGAIN_LATER"):
            return answer | {"status": "ERROR", "errorResultXdr": result(CODES[status])}
        if status == "PENDING" and self.take_after is not None:
            self.pending[transaction] = self.sequence + self.take_after
        return answer

    async def transaction(self, params: Any) -> Any:
        answer = self.times() | {"txHash": params["hash"], "status": "NOT_FOUND"}
        if (found := self.known.get(params["hash"])) is not None:
            status, outcome = found
            answer |= {
                "status": status,
                "ledger": self.sequence,
                "createdAt": self.closed(self.sequence),
                "resultXdr": outcome,
                "resultMetaXdr": meta(self.return_value),
            }
        return answer

    async def entries(self, params: Any) -> Any:
        if self.account_sequence is None:
            return {"entries": [], "latestLedger": self.sequence}
        return account_entries(self, params, self.account_sequence)

    async def fees(self, _: Any) -> Any:
        bids = dict.fromkeys(
            ["max", "min", "mode", *(f"p{n}" for n in (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99))], "100"
        )
        bids |= {"transactionCount": "1", "ledgerCount": "10"}
        return {"sorobanInclusionFee": bids, "inclusionFee": bids, "latestLedger": self.sequence}


@pytest.fixture
def world(rpc: Any, network: Network, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(submitting, "GRACE_SECONDS", 0.5)
    rpc.passphrase = network.passphrase
    return World(rpc)


def account_entries(world: World, params: Any, sequence: int = 40) -> Any:
    """SOURCE's account at this sequence number, whatever was asked for."""
    account = stellar_xdr.AccountEntry(
        SOURCE.xdr_account_id(),
        stellar_xdr.Int64(10**9),
        stellar_xdr.SequenceNumber(stellar_xdr.Int64(sequence)),
        stellar_xdr.Uint32(0),
        None,
        stellar_xdr.Uint32(0),
        stellar_xdr.String32(b""),
        stellar_xdr.Thresholds(bytes(4)),
        [],
        stellar_xdr.AccountEntryExt(0),
    )
    data = stellar_xdr.LedgerEntryData(stellar_xdr.LedgerEntryType.ACCOUNT, account=account)
    key = account_key(SOURCE.public_key)
    found = [{"key": key, "xdr": data.to_xdr(), "lastModifiedLedgerSeq": 1}] if key in params["keys"] else []
    return {"entries": found, "latestLedger": world.sequence}


def prepared(world: World, network: Network, *, life: int = 8, sequence: int = 5, bid: int = 100) -> Prepared:
    until = world.start + timedelta(seconds=life)
    inner = building.envelope(
        SOURCE.public_key, sequence, [building.merge(OTHER.public_key)], network.passphrase, valid_until=until
    )
    return building.signed(
        inner, SOURCE, action="merge", payer=None, bid_stroops=bid, ledger=world.sequence, valid_until=until
    )


# Looking up


async def test_a_transaction_is_open_while_its_time_bound_has_not_passed(world: World, network: Network):
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.look_up("ab" * 32, world.start)
    assert (outcome.status, outcome.error) == (Status.UNKNOWN, None)


async def test_it_is_expired_only_after_two_answers_from_after_its_time_bound(world: World, network: Network):
    world.sequence = 101
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.look_up("ab" * 32, world.start)
        assert outcome.status is Status.EXPIRED
        assert isinstance(outcome.error, TransactionExpiredError)
        assert world.rpc.asked("getTransaction") == 2


async def test_one_that_was_being_taken_in_is_found_by_the_second_answer(world: World, network: Network):
    world.sequence = 101

    async def once_not_found(params: Any) -> Any:
        answer = await world.transaction(params)
        world.known[params["hash"]] = ("SUCCESS", result(CODES.txSUCCESS))
        return answer

    world.rpc.answers["getTransaction"] = [once_not_found, world.transaction]
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.look_up("ab" * 32, world.start)
    assert (outcome.status, outcome.return_value, outcome.fee_stroops) == (Status.APPLIED, 3, 200)


async def test_a_server_that_forgot_cannot_say_expired(world: World, network: Network):
    world.sequence, world.oldest = 1000, 900
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.look_up("ab" * 32, world.start + timedelta(seconds=850))
        assert outcome.status is Status.UNKNOWN
        assert isinstance(outcome.error, HistoryGoneError)
        world.oldest = 500
        assert (await chain.look_up("ab" * 32, world.start + timedelta(seconds=850))).status is Status.EXPIRED


@pytest.mark.parametrize("used_up_to", [5, 6, None], ids=["its own", "a later one", "the account is gone"])
async def test_a_server_that_lost_it_cannot_say_expired(world: World, network: Network, used_up_to: int | None):
    """Its sequence number was used up: built anew it would be paid again."""
    world.take_after, world.account_sequence = None, used_up_to
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.submit(prepared(world, network, life=4))
        assert outcome.status is Status.UNKNOWN
        assert isinstance(outcome.error, TransactionLostError)
        world.known[outcome.transaction_hash] = ("SUCCESS", result(CODES.txSUCCESS))
        found = await chain.look_up(outcome.transaction_hash, world.start, source=SOURCE.public_key, sequence=5)
        assert found.status is Status.APPLIED, "it may come to its mind again"


async def test_a_failure_in_a_ledger_is_told(world: World, network: Network):
    world.known["ab" * 32] = ("FAILED", result(CODES.txBAD_SEQ))
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.look_up("ab" * 32, world.start)
    assert (outcome.status, outcome.ledger, outcome.result_code) == (Status.FAILED, 100, "txBAD_SEQ")
    assert isinstance(outcome.error, BadSequenceError)


# Submitting


@pytest.mark.parametrize(
    "sends",
    [
        [],
        ["TRY_AGAIN_LATER", "TRY_AGAIN_LATER"],
        [web.Response(status=502)],
        [web.Response(status=429, headers={"Retry-After": "0.1"})],
        ["DUPLICATE"],
    ],
    ids=["taken at once", "later", "gateway", "rate limit", "duplicate"],
)
async def test_a_transaction_is_sent_until_it_is_taken(world: World, network: Network, sends: list[Any]):
    world.sends = list(sends)
    if sends == ["DUPLICATE"]:
        world.pending[prepared(world, network).transaction_hash] = 102
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.submit(prepared(world, network))
    assert (outcome.status, outcome.return_value) == (Status.APPLIED, 3)
    assert set(world.sent) == {outcome.transaction_hash}
    assert len(world.sent) == (1 if sends in ([], ["DUPLICATE"]) else len(sends) + 1)


async def test_a_refusal_is_final(world: World, network: Network):
    world.sends = ["txBAD_SEQ"]
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.submit(prepared(world, network))
    assert (outcome.status, outcome.ledger) == (Status.FAILED, None)
    assert isinstance(outcome.error, BadSequenceError)
    assert (len(world.sent), world.rpc.asked("getTransaction")) == (1, 0)


async def test_a_refusal_after_a_lost_answer_is_not(world: World, network: Network):
    """The first send went through, its answer did not: the second is refused because the first was applied."""
    transaction = prepared(world, network)

    async def lost(_: Any) -> web.Response:
        world.pending[transaction.transaction_hash] = 103
        return web.Response(status=504)

    world.rpc.answers["sendTransaction"] = [lost, world.send]
    world.sends = ["txBAD_SEQ"] * 3
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.submit(transaction)
    assert outcome.status is Status.APPLIED


async def test_what_was_taken_and_lost_is_sent_again(world: World, network: Network):
    world.take_after = None
    world.sends = ["PENDING"]

    async def again(params: Any) -> Any:
        world.take_after = 1
        return await world.send(params)

    world.rpc.answers["sendTransaction"] = [world.send, again]
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.submit(prepared(world, network, life=20))
    assert outcome.status is Status.APPLIED
    assert len(world.sent) == 2


@pytest.mark.parametrize("sends", [[], ["TRY_AGAIN_LATER"] * 100], ids=["taken and lost", "never taken"])
async def test_it_expires_when_no_ledger_takes_it(world: World, network: Network, sends: list[Any]):
    world.take_after, world.sends = None, list(sends)
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome = await chain.submit(prepared(world, network, life=4))
        assert outcome.status is Status.EXPIRED
        assert chain._unsettled == {}
    assert world.sequence > 104


async def test_it_stays_unknown_when_no_ledger_closes_and_its_account_is_not_used(world: World, network: Network):
    world.stuck, world.take_after = True, None
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        channels = Channels(chain, [SOURCE])
        outcome = await chain.submit(prepared(world, network, life=1))
        assert outcome.status is Status.UNKNOWN

        async def lend() -> int:
            async with channels.lend() as channel:
                assert channel is SOURCE
                return world.sequence

        lent = asyncio.create_task(lend())
        await asyncio.sleep(0.2)
        assert not lent.done()
        world.stuck = False
        assert await asyncio.wait_for(lent, 30) > 101


async def test_a_cancelled_submission_leaves_its_account_unsettled(world: World, network: Network):
    world.take_after = None
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        transaction = prepared(world, network, life=3)
        task = asyncio.create_task(chain.submit(transaction))
        await world.was_sent.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(chain.settle(SOURCE.public_key), 30)
        assert world.sequence > 103


# Trying again


class Journal:
    def __init__(self, world: World) -> None:
        self.world = world
        self.log: list[tuple[str, str]] = []

    async def record(self, prepared: Prepared) -> None:
        assert prepared.transaction_hash not in self.world.sent
        self.log.append(("record", prepared.transaction_hash))

    async def close(self, prepared: Prepared, outcome: Outcome) -> None:
        self.log.append((str(outcome.status), prepared.transaction_hash))

    def words(self) -> list[str]:
        return [word for word, _ in self.log]


async def run(chain: Chain, world: World, network: Network, prepare: Any = None, deadline: int = 60):
    journal = Journal(world)
    attempts: list[int] = []

    async def plain(attempt: int) -> Prepared:
        attempts.append(attempt)
        life = world.sequence - 100 + 6
        return prepared(world, network, life=min(life, deadline), sequence=5 + attempt, bid=100 * attempt)

    until = world.start + timedelta(seconds=deadline)
    try:
        outcome: Any = await chain.submit_retrying(
            prepare or plain, deadline=until, record=journal.record, close=journal.close
        )
    except (PailExistsError, RpcUnavailableError) as error:
        outcome = error
    return outcome, journal, attempts


async def test_it_is_recorded_before_it_is_sent_and_closed_after(world: World, network: Network):
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome, journal, _ = await run(chain, world, network)
    assert outcome.status is Status.APPLIED
    assert journal.words() == ["record", "applied"]


@pytest.mark.parametrize("code", ["txBAD_SEQ", "txTOO_LATE", "txINSUFFICIENT_FEE", "txSOROBAN_INVALID"])
async def test_what_may_be_tried_again_is(world: World, network: Network, code: str):
    world.sends = [code, code]
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome, journal, attempts = await run(chain, world, network)
    assert outcome.status is Status.APPLIED
    assert journal.words() == ["record", "failed", "record", "failed", "record", "applied"]
    assert attempts == [1, 2, 3]
    assert len({transaction for _, transaction in journal.log}) == 3


@pytest.mark.parametrize("code", ["txBAD_AUTH", "txINSUFFICIENT_BALANCE", "txNO_ACCOUNT", "txMALFORMED"])
async def test_what_may_not_be_tried_again_is_not(world: World, network: Network, code: str):
    world.sends = [code]
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome, journal, _ = await run(chain, world, network)
    assert (outcome.status, outcome.result_code) == (Status.FAILED, code)
    assert journal.words() == ["record", "failed"]


async def test_what_expired_is_made_anew(world: World, network: Network):
    world.sends = ["TRY_AGAIN_LATER"] * 4
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome, journal, attempts = await run(chain, world, network)
    assert outcome.status is Status.APPLIED
    assert journal.words()[-1] == "applied"
    assert attempts == list(range(1, len(attempts) + 1))


async def test_nothing_is_tried_again_after_the_deadline(world: World, network: Network):
    world.take_after = None
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome, journal, _ = await run(chain, world, network, deadline=5)
    assert outcome.status is Status.EXPIRED
    assert journal.words() == ["record", "expired"]


async def test_an_unknown_outcome_is_never_repeated(world: World, network: Network):
    world.stuck = True
    world.take_after = None
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome, journal, attempts = await run(chain, world, network, deadline=1)
    assert outcome.status is Status.UNKNOWN
    assert (journal.words(), attempts) == (["record", "unknown"], [1])


async def test_a_contracts_no_is_raised_and_nothing_recorded(world: World, network: Network):
    async def refuse(_: int) -> Prepared:
        raise PailExistsError

    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome, journal, _ = await run(chain, world, network, refuse)
    assert isinstance(outcome, PailExistsError)
    assert (journal.log, world.sent) == ([], [])


async def test_preparing_waits_for_a_server_until_the_deadline(world: World, network: Network):
    tries = 0

    async def prepare(_: int) -> Prepared:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RpcUnavailableError("down")
        return prepared(world, network)

    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        outcome, _, _ = await run(chain, world, network, prepare)
        assert outcome.status is Status.APPLIED
        assert tries == 3
        tries = -(10**9)
        outcome, _, _ = await run(chain, world, network, prepare, deadline=world.sequence - 99)
        assert isinstance(outcome, RpcUnavailableError)


async def test_the_fee_rises_with_the_attempt_and_no_account_is_needed_twice(world: World, network: Network):
    """The sequence number is read once, carried on while it is certain, and read again after a refusal."""
    deadline = world.start + timedelta(seconds=500)
    reads = 0

    async def entries(params: Any) -> Any:
        nonlocal reads
        reads += 1
        return account_entries(world, params)

    world.rpc.answers["getLedgerEntries"] = [entries]
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:

        async def pay(attempt: int) -> Prepared:
            return await chain.prepare_payment(
                SOURCE, OTHER.public_key, native_stroops=5, deadline=deadline, attempt=attempt
            )

        first, second = await pay(1), await pay(2)
        assert (first.sequence, first.fee_bid_stroops, second.fee_bid_stroops) == (41, 100, 200)
        assert (await chain.submit(first)).status is Status.APPLIED
        before = reads
        assert (await pay(1)).sequence == 42
        assert reads == before
        world.sends = ["txBAD_SEQ"]
        await chain.submit(await pay(1))
        assert (await pay(1)).sequence == 41
        assert reads == before + 1


def archive(world: World, until: Callable[[], bool]) -> None:
    """Simulation asks for a restore until this is so."""
    data = SorobanDataBuilder().set_resources(1000, 0, 100).build().to_xdr()
    fine = {
        "transactionData": data,
        "minResourceFee": "1000",
        "events": [],
        "results": [{"auth": [], "xdr": scval.to_uint32(4).to_xdr()}],
    }

    async def simulate(_: Any) -> Any:
        archived = {"restorePreamble": {"transactionData": data, "minResourceFee": "500"}}
        return fine | ({} if until() else archived) | {"latestLedger": world.sequence}

    async def entries(params: Any) -> Any:
        return account_entries(world, params)

    world.rpc.answers["simulateTransaction"] = [simulate]
    world.rpc.answers["getLedgerEntries"] = [entries]


async def test_archived_entries_are_restored_first(world: World, network: Network):
    """Where simulation asks for it, the paying account restores, and the call is simulated anew."""
    archive(world, until=lambda: bool(world.sent))
    deadline = world.start + timedelta(seconds=500)
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        work = await chain.prepare_work(OTHER.public_key, b"\1" * 32, 7, channel=SOURCE, deadline=deadline)
    (sent,) = [params["transaction"] for method, params in world.rpc.requests if method == "sendTransaction"]
    restore = TransactionEnvelope.from_xdr(sent, network.passphrase).transaction
    assert isinstance(restore.operations[0], RestoreFootprint)
    assert (restore.source.account_id, restore.sequence, work.sequence, work.forecast) == (SOURCE.public_key, 41, 42, 4)


async def test_what_many_calls_need_restored_is_restored_once(world: World, network: Network):
    """At the opening of a block all farmers are planted at once: one transaction of the pool's account at a time."""
    archive(world, until=lambda: bool(world.known))
    deadline = world.start + timedelta(seconds=500)
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        await chain.read_ledger()
        calls = [
            chain.prepare_work(OTHER.public_key, b"\1" * 32, nonce, channel=SOURCE, deadline=deadline)
            for nonce in range(3)
        ]
        assert {each.sequence for each in await asyncio.gather(*calls)} == {42}
    assert len(world.sent) == 1


async def test_time_is_the_ledgers_when_the_clocks_disagree(world: World, network: Network):
    async with Chain(network, fee_cap_stroops=10_000_000) as chain:
        world.start -= timedelta(hours=3)
        await chain.read_ledger()
        assert abs((await chain.now() - world.start).total_seconds()) < 5
        with pytest.raises(DeadlinePassedError):
            await chain.prepare_payment(SOURCE, OTHER.public_key, native_stroops=5, deadline=world.start)
