"""Classic operations: what they change, and the codes they fail with."""

from __future__ import annotations

from stellar_sdk import Asset, Keypair, Signer, xdr

from kalepool.devnet.ledger.ledger_entries import AccountEntry


def test_create_account_checks_reserve_funds_and_existence(chain) -> None:
    (alice,) = chain.fund("alice", kale=None, xlm="10")
    new = chain.keypair("new").public_key
    assert chain.operations(chain.send(alice, lambda b: b.append_create_account_op(new, "0.9999999"))) == [-3]
    assert chain.operations(chain.send(alice, lambda b: b.append_create_account_op(new, "9"))) == [-2]
    made = chain.send(alice, lambda b: b.append_create_account_op(new, "1"))
    assert made.success
    account = chain.account(Keypair.from_public_key(new))
    assert (account.balance, account.sequence) == (10_000_000, chain.node.ledger.header.sequence << 32)
    assert chain.operations(chain.send(alice, lambda b: b.append_create_account_op(new, "2"))) == [-4]


def test_payments_need_destination_trust_and_funds(chain) -> None:
    alice, bob = chain.fund("alice", "bob")
    (carol,) = chain.fund("carol", kale=None)
    nobody = chain.keypair("nobody").public_key

    def pay(to: str, asset: Asset, amount: str) -> list[int]:
        return chain.operations(chain.send(alice, lambda b: b.append_payment_op(to, asset, amount)))

    assert pay(nobody, Asset.native(), "1") == [-5]
    assert pay(carol.public_key, chain.kale, "1") == [-6]
    assert pay(bob.public_key, chain.kale, "1000.0000001") == [-2]
    assert pay(bob.public_key, Asset("OTHER", chain.issuer.public_key), "1") == [-6]
    assert pay(bob.public_key, Asset.native(), "999") == [-2]  # the reserve stays
    before = chain.kale_of(alice), chain.kale_of(bob)
    assert pay(bob.public_key, chain.kale, "12.5") == [0]
    assert (chain.kale_of(alice), chain.kale_of(bob)) == (before[0] - 125_000_000, before[1] + 125_000_000)
    assert pay(chain.issuer.public_key, chain.kale, "1") == [0]  # burned
    assert chain.kale_of(alice) == before[0] - 135_000_000


def test_a_full_line_takes_no_more(chain) -> None:
    (alice,) = chain.fund("alice")
    chain.must(chain.send(alice, lambda b: b.append_change_trust_op(chain.kale, "1000.5")))
    paid = chain.send(chain.issuer, lambda b: b.append_payment_op(alice.public_key, chain.kale, "0.5000001"))
    assert chain.operations(paid) == [-8]


def test_trustlines_cost_a_reserve_and_close_only_empty(chain) -> None:
    (alice,) = chain.fund("alice", kale=None, xlm="1.4")
    assert chain.operations(chain.send(alice, lambda b: b.append_change_trust_op(chain.kale))) == [-4]
    (bob,) = chain.fund("bob")
    assert chain.operations(chain.send(bob, lambda b: b.append_change_trust_op(chain.kale, "0"))) == [-3]
    unknown = Asset("KALE", chain.keypair("nobody").public_key)
    assert chain.operations(chain.send(bob, lambda b: b.append_change_trust_op(unknown))) == [-2]
    chain.must(chain.send(bob, lambda b: b.append_payment_op(chain.issuer.public_key, chain.kale, "1000")))
    chain.must(chain.send(bob, lambda b: b.append_change_trust_op(chain.kale, "0")))
    assert chain.kale_of(bob) is None
    account = chain.account(bob)
    assert account.subentries == 0


def test_an_account_leaves_with_all_it_has(chain) -> None:
    alice, bob = chain.fund("alice", "bob")
    merge = chain.send(alice, lambda b: b.append_account_merge_op(bob.public_key))
    assert chain.operations(merge) == [-4]  # it still has a trustline
    chain.must(chain.send(alice, lambda b: b.append_payment_op(bob.public_key, chain.kale, "1000")))
    before = chain.account(alice).balance + chain.account(bob).balance
    merged = chain.send(
        alice, lambda b: b.append_change_trust_op(chain.kale, "0").append_account_merge_op(bob.public_key)
    )
    assert merged.success
    assert chain.account(alice) is None
    assert chain.account(bob).balance == before - 200
    result = xdr.TransactionResult.from_xdr_bytes(merged.result).result.results
    assert result is not None and result[1].tr is not None and result[1].tr.account_merge_result is not None
    assert result[1].tr.account_merge_result.source_account_balance is not None


def test_a_failed_operation_undoes_the_others_but_not_fee_and_sequence(chain) -> None:
    alice, bob = chain.fund("alice", "bob")
    before, sequence = chain.account(alice).balance, chain.account(alice).sequence
    failed = chain.send(
        alice,
        lambda b: b.append_payment_op(bob.public_key, Asset.native(), "1").append_payment_op(
            bob.public_key, chain.kale, "5000"
        ),
    )
    assert not failed.success
    assert chain.operations(failed) == [0, -2]
    account = chain.account(alice)
    assert account == AccountEntry(
        alice.raw_public_key(),
        before - 200,
        sequence + 1,
        subentries=1,
        sequence_ledger=chain.node.ledger.header.sequence,
        sequence_time=chain.node.ledger.header.close_time,
    )


def test_thresholds_and_signers_decide_who_may_do_what(chain) -> None:
    alice, bob = chain.fund("alice", "bob", kale=None)
    second = chain.keypair("second")
    chain.must(
        chain.send(
            alice,
            lambda b: b.append_set_options_op(
                master_weight=1,
                low_threshold=1,
                med_threshold=2,
                high_threshold=3,
                signer=Signer.ed25519_public_key(second.public_key, 1),
            ),
        )
    )

    def pay():
        return chain.build(alice, lambda b: b.append_payment_op(bob.public_key, Asset.native(), "1"))

    alone = pay()
    alone.sign(alice)
    answer = chain.submit(alone)
    assert answer.status == "ERROR" and answer.result.code.name == "FAILED"
    assert answer.result.operations == ((-1).to_bytes(4, "big", signed=True),)  # opBAD_AUTH
    both = pay()
    both.sign(alice)
    both.sign(second)
    assert chain.apply(both).success
    merge = chain.build(alice, lambda b: b.append_account_merge_op(bob.public_key))
    merge.sign(alice)
    merge.sign(second)
    assert chain.submit(merge).result.code.name == "FAILED"  # high needs 3
    extra = pay()
    for key in (alice, second, bob):
        extra.sign(key)
    assert chain.submit(extra).result.code.name == "BAD_AUTH_EXTRA"


def test_malformed_operations_are_refused_at_once(chain) -> None:
    (alice,) = chain.fund("alice", kale=None)
    envelope = chain.build(alice, lambda b: b.append_payment_op(chain.issuer.public_key, Asset.native(), "0"))
    envelope.sign(alice)
    answer = chain.submit(envelope)
    assert answer.status == "ERROR" and answer.result.code.name == "FAILED"
    unsupported = chain.build(alice, lambda b: b.append_manage_sell_offer_op(chain.kale, Asset.native(), "1", "1"))
    unsupported.sign(alice)
    answer = chain.submit(unsupported)
    assert answer.result.operations == ((-3).to_bytes(4, "big", signed=True),)  # opNOT_SUPPORTED


def test_a_channel_carries_operations_of_nineteen_others(chain) -> None:
    """Each operation's source signs for itself; the channel pays the fee and its number is used."""
    payers = chain.fund(*(f"payer {n}" for n in range(19)))
    channel, treasury = chain.fund("channel", "treasury")

    def compose(builder):
        for payer in payers:
            builder.append_payment_op(treasury.public_key, chain.kale, "1.5", source=payer.public_key)
        return builder

    missing = chain.build(channel, compose)
    for key in (channel, *payers[:-1]):
        missing.sign(key)
    answer = chain.submit(missing)
    success, bad_auth = bytes(4) + (1).to_bytes(4, "big") + bytes(4), (-1).to_bytes(4, "big", signed=True)
    assert answer.result.operations == (*[success] * 18, bad_auth)
    before, numbers = chain.account(channel), [chain.account(payer).sequence for payer in payers]
    collected = chain.must(chain.send(channel, compose, *payers))
    assert chain.operations(collected) == [0] * 19
    assert [len(events) for events in collected.operation_events] == [1] * 19
    assert chain.kale_of(treasury) == (1_000 + 19 * 1.5) * 10**7
    after = chain.account(channel)
    assert (before.balance - after.balance, after.sequence - before.sequence) == (19 * 100, 1)
    assert [chain.account(payer).sequence for payer in payers] == numbers
