"""What the network says to a transaction that is sent, and which of them a ledger takes."""

from __future__ import annotations

import pytest
from stellar_sdk import Asset, LedgerBounds, TransactionBuilder

from kalepool.devnet.ledger.queue import BANNED_LEDGERS, PENDING_LEDGERS, SendStatus
from kalepool.networks import DEVNET


def _payment(chain, source, amount="1", **options):
    envelope = chain.build(
        source, lambda b: b.append_payment_op(chain.issuer.public_key, Asset.native(), amount), **options
    )
    envelope.sign(source)
    return envelope


def _bump(envelope, payer, fee):
    bumped = TransactionBuilder.build_fee_bump_transaction(
        fee_source=payer, base_fee=fee, inner_transaction_envelope=envelope, network_passphrase=DEVNET.passphrase
    )
    bumped.sign(payer)
    return bumped


def _code(answer) -> str:
    assert answer.status is SendStatus.ERROR, answer
    return answer.result.code.name


def test_one_pending_transaction_for_each_source(chain) -> None:
    alice, bob = chain.fund("alice", "bob", kale=None)
    first = _payment(chain, alice)
    assert chain.submit(first).status is SendStatus.PENDING
    assert chain.submit(first).status is SendStatus.DUPLICATE
    sequence = first.transaction.sequence
    assert chain.submit(_payment(chain, alice, "2", sequence=sequence)).status is SendStatus.TRY_AGAIN_LATER
    assert chain.submit(_payment(chain, alice, "2", sequence=sequence + 1)).status is SendStatus.TRY_AGAIN_LATER
    assert _code(chain.submit(_payment(chain, alice, sequence=sequence - 1))) == "BAD_SEQ"
    assert chain.submit(_payment(chain, bob)).status is SendStatus.PENDING
    assert len(chain.close().transactions) == 2
    assert chain.submit(_payment(chain, alice)).status is SendStatus.PENDING


def test_what_was_applied_is_not_taken_again(chain) -> None:
    (alice,) = chain.fund("alice", kale=None)
    envelope = _payment(chain, alice)
    assert chain.apply(envelope).success
    for _ in range(BANNED_LEDGERS):
        assert chain.submit(envelope).status is SendStatus.TRY_AGAIN_LATER
        chain.close()
    assert _code(chain.submit(envelope)) == "BAD_SEQ"


def test_a_fee_bump_replaces_only_at_ten_times_the_fee(chain) -> None:
    alice, pool = chain.fund("alice", "pool", kale=None)
    envelope = _payment(chain, alice)
    assert chain.submit(envelope).status is SendStatus.PENDING
    too_low = chain.submit(_bump(envelope, pool, 999))
    assert _code(too_low) == "INSUFFICIENT_FEE"
    assert too_low.result.fee_charged == 2000
    bumped = _bump(envelope, pool, 1000)
    assert chain.submit(bumped).status is SendStatus.PENDING
    closed = chain.close()
    assert [record.hash for record in closed.transactions] == [bumped.hash()]
    assert closed.transactions[0].inner_hash == envelope.hash()


def test_the_highest_bids_go_first_and_pay_what_the_lowest_of_them_bid(open_chain) -> None:
    chain = open_chain(capacity=2)
    keys = chain.fund("a", "b", "c", "d", kale=None)
    bids = dict(zip(keys, (150, 400, 100, 300), strict=True))
    hashes = {}
    for key, fee in bids.items():
        envelope = _payment(chain, key, fee=fee)
        assert chain.submit(envelope).status is SendStatus.PENDING
        hashes[envelope.hash()] = key
    first, second = chain.close().transactions, chain.close().transactions
    assert {bids[hashes[record.hash]] for record in first} == {400, 300}
    assert {bids[hashes[record.hash]] for record in second} == {150, 100}
    assert [record.inclusion_fee for record in first] == [300, 300]
    assert [record.inclusion_fee for record in second] == [100, 100]


def test_waiting_too_long_ends_in_a_ban(open_chain) -> None:
    chain = open_chain(capacity=1)
    slow, *fast = chain.fund("slow", *(f"fast {n}" for n in range(PENDING_LEDGERS - 1)), kale=None)
    waiting = _payment(chain, slow)
    assert chain.submit(waiting).status is SendStatus.PENDING
    for key in fast:
        assert chain.submit(_payment(chain, key, fee=1000)).status is SendStatus.PENDING
    for _ in fast:
        chain.close()
    hurried = _payment(chain, fast[0], fee=1000)
    assert chain.submit(hurried).status is SendStatus.PENDING
    assert [record.hash for record in chain.close().transactions] == [hurried.hash()]
    assert chain.close().transactions == []
    assert chain.submit(waiting).status is SendStatus.TRY_AGAIN_LATER


def test_a_full_queue_takes_only_higher_bids(open_chain) -> None:
    chain = open_chain(capacity=1)
    keys = chain.fund("a", "b", "c", "d", "e", "f", kale=None)
    for key in keys[:4]:
        assert chain.submit(_payment(chain, key, fee=200)).status is SendStatus.PENDING
    refused = chain.submit(_payment(chain, keys[4], fee=200))
    assert _code(refused) == "INSUFFICIENT_FEE"
    assert refused.result.fee_charged == 201
    assert chain.submit(_payment(chain, keys[5], fee=201)).status is SendStatus.PENDING
    assert len(chain.node.ledger.queue) == 4


def test_envelopes_are_checked_before_they_wait(chain) -> None:
    alice, bob, poor = chain.fund("alice", "bob", "poor", kale=None, xlm="100")
    now = chain.node.ledger.header.close_time
    assert _code(chain.submit(_payment(chain, chain.keypair("nobody"), sequence=1))) == "NO_ACCOUNT"
    assert _code(chain.submit(_payment(chain, alice, fee=99))) == "INSUFFICIENT_FEE"
    assert _code(chain.submit(_payment(chain, alice, bounds=(now + 1, 0)))) == "TOO_EARLY"
    assert _code(chain.submit(_payment(chain, alice, bounds=(0, now - 1)))) == "TOO_LATE"
    sequence = chain.node.ledger.view.account(alice.raw_public_key()).sequence
    assert _code(chain.submit(_payment(chain, alice, sequence=sequence + 2))) == "BAD_SEQ"
    unsigned = chain.build(alice, lambda b: b.append_payment_op(bob.public_key, Asset.native(), "1"))
    assert _code(chain.submit(unsigned)) == "BAD_AUTH"
    unsigned.sign(bob)
    assert _code(chain.submit(unsigned)) == "BAD_AUTH"
    assert _code(chain.submit(_payment(chain, poor, fee=2**32 - 1))) == "INSUFFICIENT_BALANCE"


def test_ledger_bounds_are_for_the_next_ledger(chain) -> None:
    (alice,) = chain.fund("alice", kale=None)
    following = chain.node.ledger.header.sequence + 1

    def bounded(low: int, high: int):
        envelope = chain.build(
            alice,
            lambda b: b.set_ledger_bounds(low, high).append_payment_op(chain.issuer.public_key, Asset.native(), "1"),
        )
        assert envelope.transaction.preconditions.ledger_bounds == LedgerBounds(low, high)
        envelope.sign(alice)
        return chain.submit(envelope)

    assert _code(bounded(following + 1, 0)) == "TOO_EARLY"
    assert _code(bounded(0, following)) == "TOO_LATE"
    assert bounded(following, following + 1).status is SendStatus.PENDING


def test_a_bump_must_raise_the_bid_and_be_signed(chain) -> None:
    alice, pool = chain.fund("alice", "pool", kale=None)
    envelope = _payment(chain, alice, fee=500)
    bumped = TransactionBuilder.build_fee_bump_transaction(pool, 500, envelope, DEVNET.passphrase)
    assert _code(chain.submit(bumped)) == "BAD_AUTH"
    low = TransactionBuilder.build_fee_bump_transaction(pool, 500, envelope, DEVNET.passphrase)
    low.transaction.fee = 999  # below 2 operations at the inner bid
    low.sign(pool)
    assert _code(chain.submit(low)) == "INSUFFICIENT_FEE"
    record = chain.apply(_bump(envelope, pool, 500))
    assert record.success


def test_fees_of_everything_waiting_must_be_covered(chain) -> None:
    pool, *farmers = chain.fund("pool", "a", "b", "c", kale=None, xlm="10")
    for farmer in farmers[:2]:
        assert chain.submit(_bump(_payment(chain, farmer), pool, 20_000_000)).status is SendStatus.PENDING
    third = chain.submit(_bump(_payment(chain, farmers[2]), pool, 20_000_000))
    assert _code(third) == "INSUFFICIENT_BALANCE"


@pytest.mark.parametrize("garbage", [b"", b"\0\0\0\2", b"\0\0\0\2" + bytes(100), bytes(200)])
def test_garbage_is_not_an_envelope(chain, garbage: bytes) -> None:
    with pytest.raises(ValueError):
        chain.node.ledger.parse(garbage)
