"""Transactions are accepted, refused and charged as by stellar-core; each case names the line that decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
from stellar_sdk import (
    Account,
    FeeBumpTransactionEnvelope,
    IdMemo,
    MuxedAccount,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)

from kalepool.devnet.ledger.queue import QueueAnswer
from kalepool.devnet.ledger.transactions import parse
from kalepool.networks import DEVNET
from tests.support.core_cases import (
    KALE,
    SOURCE_LINE,
    UNIT,
    Case,
    Fork,
    Step,
    World,
    bump,
    create,
    data,
    hash_key,
    hold,
    keypair,
    merge,
    names,
    operation,
    options,
    parse_result,
    pay,
    payload_key,
    pre_authorised_key,
    signer_key,
    trust,
)

Type = xdr.OperationType
_i64 = xdr.Int64
_NETWORK_ID = sha256(DEVNET.passphrase.encode()).digest()


@pytest.fixture(scope="module")
def world() -> World:
    return World()


# --- signatures: checked once, before the first operation

_SHARED_PAYS = pay("bob", UNIT, source="shared")
SIGNATURES = [
    Case(
        "what an operation takes away still signs the next",
        [options(master=0), pay("bob", UNIT)],
        ["SET_OPTIONS_SUCCESS", "PAYMENT_SUCCESS"],
        "OperationFrame.cpp:304",
    ),
    Case(
        "thresholds raised on the way do not matter",
        [options(high=200, medium=200), pay("bob", UNIT), options(low=9)],
        ["SET_OPTIONS_SUCCESS", "PAYMENT_SUCCESS", "SET_OPTIONS_SUCCESS"],
        "OperationFrame.cpp:304",
    ),
    Case(
        "a signer added on the way has not signed",
        [options(signer=(signer_key("bob"), 1)), pay("carol", 1)],
        [],
        "TransactionFrame.cpp:1970",
        signers=("bob",),
        refused=True,
        code="txBAD_AUTH_EXTRA",
    ),
    Case(
        "no signature", [pay("bob", 1)], [], "TransactionFrame.cpp:1752", signed=False, refused=True, code="txBAD_AUTH"
    ),
    Case(
        "another's signature",
        [pay("bob", 1)],
        [],
        "TransactionFrame.cpp:1752",
        signed=False,
        signers=("bob",),
        refused=True,
        code="txBAD_AUTH",
    ),
    Case(
        "one signature too many",
        [pay("bob", 1)],
        [],
        "TransactionFrame.cpp:1970",
        signers=("bob",),
        refused=True,
        code="txBAD_AUTH_EXTRA",
    ),
    Case("too little weight", [pay("bob", 1)], ["opBAD_AUTH"], "OperationFrame.cpp:234", source="shared", refused=True),
    Case(
        "enough weight",
        [pay("bob", 1)],
        ["PAYMENT_SUCCESS"],
        "SignatureChecker.cpp:111",
        source="shared",
        signers=("cosigner",),
    ),
    Case(
        "the low threshold is enough for a number",
        [bump(0)],
        ["BUMP_SEQUENCE_SUCCESS"],
        "BumpSequenceOpFrame.cpp:28",
        source="shared",
    ),
    Case(
        "a merge needs the high threshold",
        [merge("bob")],
        ["opBAD_AUTH"],
        "MergeOpFrame.cpp:32",
        source="shared",
        signers=("cosigner",),
        refused=True,
    ),
    Case(
        "a home domain needs the medium threshold",
        [options(domain=b"a.org")],
        ["SET_OPTIONS_SUCCESS"],
        "SetOptionsOpFrame.cpp:41",
        source="shared",
        signers=("cosigner",),
    ),
    Case(
        "a weight needs the high threshold",
        [options(low=0)],
        ["opBAD_AUTH"],
        "SetOptionsOpFrame.cpp:39",
        source="shared",
        signers=("cosigner",),
        refused=True,
    ),
    Case(
        "an operation's source that has not signed",
        [pay("carol", 1, source="bob")],
        ["opBAD_AUTH"],
        "OperationFrame.cpp:234",
        refused=True,
    ),
    Case(
        "an operation's source that needs two",
        [_SHARED_PAYS],
        ["PAYMENT_SUCCESS"],
        "OperationFrame.cpp:229",
        signers=("shared", "cosigner"),
    ),
    Case(
        "an operation's source that is made on the way",
        [create("new", 5 * UNIT), pay("bob", UNIT, source="new")],
        ["CREATE_ACCOUNT_SUCCESS", "PAYMENT_SUCCESS"],
        "OperationFrame.cpp:250",
        signers=("new",),
    ),
    Case(
        "one that is made on the way and has not signed",
        [create("new", 5 * UNIT), pay("bob", UNIT, source="new")],
        ["CREATE_ACCOUNT_SUCCESS", "opBAD_AUTH"],
        "OperationFrame.cpp:255",
        refused=True,
    ),
    Case(
        "an operation's source that is never made",
        [pay("bob", UNIT, source="new")],
        ["opNO_ACCOUNT"],
        "OperationFrame.cpp:327",
        signers=("new",),
    ),
    Case(
        "a source that is not there",
        [pay("bob", 1)],
        [],
        "TransactionFrame.cpp:1550",
        source="nobody",
        refused=True,
        code="txNO_ACCOUNT",
    ),
    Case(
        "the first bad operation decides",
        [pay("bob", 0), pay("bob", 0)],
        ["PAYMENT_MALFORMED", "PAYMENT_SUCCESS"],
        "TransactionFrame.cpp:1963",
        refused=True,
    ),
    Case(
        "a missing signature before a malformed operation",
        [pay("bob", 1), pay("alice", 1, source="bob"), pay("bob", 0)],
        ["PAYMENT_SUCCESS", "opBAD_AUTH", "PAYMENT_SUCCESS"],
        "TransactionFrame.cpp:1963",
        refused=True,
    ),
    Case(
        "a malformed operation before a missing signature",
        [pay("bob", 0), pay("alice", 1, source="bob")],
        ["PAYMENT_MALFORMED", "PAYMENT_SUCCESS"],
        "TransactionFrame.cpp:1963",
        refused=True,
    ),
    Case("no operation", [], [], "TransactionFrame.cpp:1372", refused=True, code="txMISSING_OPERATION"),
    Case(
        "an operation that the network no longer knows",
        [operation(Type.INFLATION)],
        ["opNOT_SUPPORTED"],
        "InflationOpFrame.cpp:140",
        refused=True,
    ),
]


@pytest.mark.parametrize("case", SIGNATURES, ids=lambda case: case.name)
def test_signatures_are_checked_as_in_stellar_core(world: World, case: Case) -> None:
    assert SOURCE_LINE.fullmatch(case.at)
    fork = world.fork()
    refused, result, _ = fork.run(case)
    assert (names(result), result.result.code.name) == (list(case.results), case.expected_code)
    assert refused == case.refused
    fork.close()


# --- other kinds of signers


def _signed_by(fork: Fork, key: xdr.SignerKey, *, weight: int = 1) -> TransactionEnvelope:
    """A payment of alice, who has given the signer a weight; nobody has signed it yet."""
    fork.step(Step("alice", [options(signer=(key, weight))]))
    return fork.build("alice", [pay("bob", UNIT)])


def _by_hash(fork: Fork) -> TransactionEnvelope:
    envelope = _signed_by(fork, hash_key(b"secret"))
    envelope.sign_hashx(b"secret")
    return envelope


def _by_wrong_hash(fork: Fork) -> TransactionEnvelope:
    envelope = _signed_by(fork, hash_key(b"secret"))
    envelope.sign_hashx(b"another")
    return envelope


def _by_payload(payload: bytes) -> Callable[[Fork], TransactionEnvelope]:
    def build(fork: Fork) -> TransactionEnvelope:
        envelope = _signed_by(fork, payload_key("cosigner", payload))
        envelope.signatures.append(keypair("cosigner").sign_payload_decorated(payload))
        return envelope

    return build


def _by_payload_unsigned(fork: Fork) -> TransactionEnvelope:
    envelope = _signed_by(fork, payload_key("cosigner", b"a payload"))
    envelope.sign(keypair("cosigner"))  # the transaction, where the payload was to be signed
    return envelope


def _pre_authorised(fork: Fork) -> TransactionEnvelope:
    account = fork.ledger.view.account(keypair("alice").raw_public_key())
    assert account is not None
    envelope = fork.build("alice", [pay("bob", UNIT)], sequence=account.sequence + 2)
    fork.step(Step("alice", [options(signer=(pre_authorised_key(envelope.hash()), 1))]))
    return envelope


def _pre_authorised_but_signed(fork: Fork) -> TransactionEnvelope:
    envelope = _pre_authorised(fork)
    envelope.sign(keypair("alice"))
    return envelope


def _extra(*keys: xdr.SignerKey, sign: Callable[[TransactionEnvelope], None] = lambda _: None):
    def build(fork: Fork) -> TransactionEnvelope:
        envelope = fork.build("alice", [pay("bob", UNIT)])
        condition = xdr.PreconditionsV2(None, None, None, xdr.Duration(xdr.Uint64(0)), xdr.Uint32(0), list(keys))
        return _with_condition(envelope, condition, sign)

    return build


def _with_condition(envelope: TransactionEnvelope, condition: xdr.PreconditionsV2, sign: Callable[[Any], None]) -> Any:
    """The transaction with conditions that the SDK need not like, signed by alice."""
    parsed = envelope.to_xdr_object()
    assert parsed.v1 is not None
    parsed.v1.tx.cond = xdr.Preconditions(xdr.PreconditionType.PRECOND_V2, v2=condition)
    parsed.v1.signatures = []
    digest = parse(parsed.to_xdr_bytes(), _NETWORK_ID).hash
    raw = _Raw(parsed, digest)
    raw.sign(keypair("alice"))
    sign(raw)
    return raw


@dataclass
class _Raw:
    """An envelope as XDR, with its hash."""

    envelope: xdr.TransactionEnvelope
    digest: bytes

    def to_xdr_object(self) -> xdr.TransactionEnvelope:
        return self.envelope

    @property
    def signatures(self) -> list[xdr.DecoratedSignature]:
        body = self.envelope.v1 or self.envelope.v0 or self.envelope.fee_bump
        assert body is not None
        return body.signatures

    def sign(self, key: Any) -> None:
        self.signatures.append(key.sign_decorated(self.digest).to_xdr_object())


def _by_cosigner(envelope: Any) -> None:
    envelope.sign(keypair("cosigner"))


def _with_payload(payload: bytes) -> Callable[[Any], None]:
    def sign(envelope: Any) -> None:
        envelope.signatures.append(keypair("cosigner").sign_payload_decorated(payload).to_xdr_object())

    return sign


@dataclass(frozen=True)
class SentCase:
    """A transaction, and the code that it ends with."""

    name: str
    build: Callable[[Fork], Any]
    code: str
    at: str


_TWICE = signer_key("cosigner")
SIGNERS = [
    SentCase("a preimage", _by_hash, "txSUCCESS", "SignatureChecker.cpp:126"),
    SentCase("a wrong preimage", _by_wrong_hash, "txBAD_AUTH", "SignatureUtils.cpp:90"),
    SentCase("a signed payload", _by_payload(b"a payload"), "txSUCCESS", "SignatureChecker.cpp:162"),
    SentCase("a payload of one byte", _by_payload(b"x"), "txSUCCESS", "SignatureUtils.cpp:97"),
    SentCase("a payload of 64 bytes", _by_payload(bytes(range(64))), "txSUCCESS", "SignatureUtils.cpp:97"),
    SentCase("a payload that is not signed", _by_payload_unsigned, "txBAD_AUTH", "SignatureUtils.cpp:54"),
    SentCase("authorised before", _pre_authorised, "txSUCCESS", "SignatureChecker.cpp:75"),
    SentCase(
        "authorised before, and signed", _pre_authorised_but_signed, "txBAD_AUTH_EXTRA", "SignatureChecker.cpp:85"
    ),
    SentCase("an extra signer that signs", _extra(_TWICE, sign=_by_cosigner), "txSUCCESS", "TransactionFrame.cpp:548"),
    SentCase("an extra signer that does not", _extra(_TWICE), "txBAD_AUTH", "TransactionFrame.cpp:548"),
    SentCase(
        "the same extra signer twice",
        _extra(_TWICE, _TWICE, sign=_by_cosigner),
        "txMALFORMED",
        "TransactionFrame.cpp:1355",
    ),
    SentCase(
        "an extra signer of nothing", _extra(payload_key("cosigner", b"")), "txMALFORMED", "TransactionFrame.cpp:1364"
    ),
    SentCase(
        "an extra signer of a payload",
        _extra(payload_key("cosigner", b"terms"), sign=_with_payload(b"terms")),
        "txSUCCESS",
        "TransactionFrame.cpp:548",
    ),
    SentCase(
        "two extra signers of which one signs",
        _extra(_TWICE, signer_key("bob"), sign=_by_cosigner),
        "txBAD_AUTH",
        "TransactionFrame.cpp:548",
    ),
    SentCase(
        "the source as an extra signer",
        _extra(signer_key("alice")),
        "txSUCCESS",
        "TransactionFrame.cpp:548",
    ),
]


@pytest.mark.parametrize("case", SIGNERS, ids=lambda case: case.name)
def test_signers_of_every_kind(world: World, case: SentCase) -> None:
    assert SOURCE_LINE.fullmatch(case.at)
    fork = world.fork()
    _, result, _ = fork.send(case.build(fork))
    assert result.result.code.name == case.code


@pytest.mark.parametrize("operations", [[pay("bob", UNIT)], [pay("nobody", UNIT)]], ids=["applied", "failed"])
def test_a_pre_authorisation_holds_once_whatever_came_of_it(world: World, operations: Sequence[Any]) -> None:
    """TransactionFrame.cpp:1629; for a fee-bump's payer FeeBumpTransactionFrame.cpp:162."""
    fork = world.fork()
    alice = keypair("alice").raw_public_key()
    account = fork.ledger.view.account(alice)
    assert account is not None
    envelope = fork.build("alice", operations, sequence=account.sequence + 2)
    fork.step(Step("alice", [options(signer=(pre_authorised_key(envelope.hash()), 1))]))
    fork.send(envelope)
    after = fork.ledger.view.account(alice)
    assert after is not None
    assert (after.signers, after.subentries, after.sequence) == ((), account.subentries, account.sequence + 2)


def test_a_fee_bump_can_be_authorised_before(world: World) -> None:
    fork = world.fork()
    inner = fork.build("alice", [pay("bob", UNIT)])
    inner.sign(keypair("alice"))
    bumped = _bump(inner, "carol", 200, sign=False)
    fork.step(Step("carol", [options(signer=(pre_authorised_key(bumped.hash()), 1))]))
    _, result, _ = fork.send(bumped)
    assert result.result.code.name == "txFEE_BUMP_INNER_SUCCESS"
    account = fork.ledger.view.account(keypair("carol").raw_public_key())
    assert account is not None and (account.signers, account.subentries) == ((), 0)


# --- what a refusal says was charged


def _bump(inner: TransactionEnvelope, payer: str, fee: int, *, sign: bool = True) -> FeeBumpTransactionEnvelope:
    parsed = TransactionEnvelope.from_xdr(inner.to_xdr(), DEVNET.passphrase)
    bumped = TransactionBuilder.build_fee_bump_transaction(keypair(payer), max(fee, 200), parsed, DEVNET.passphrase)
    bumped.transaction.fee = fee
    if sign:
        bumped.sign(keypair(payer))
    return bumped


def _alone(sequence: int | None = None, fee: int = 100, count: int = 1, sign: bool = True, source: str = "alice"):
    def build(fork: Fork) -> TransactionEnvelope:
        envelope = fork.build(source, [pay("bob", UNIT)] * count, fee=fee, sequence=sequence)
        if sign:
            envelope.sign(keypair(source))
        return envelope

    return build


def _bumped(payer: str = "carol", fee: int = 200, sign: bool = True, **inner: Any):
    return lambda fork: _bump(_alone(**inner)(fork), payer, fee, sign=sign)


@dataclass(frozen=True)
class ChargedCase:
    """A transaction that is refused: its code, the inner one's where there is one, and `feeCharged`."""

    name: str
    build: Callable[[Fork], Any]
    code: str
    charged: int
    at: str
    inner: str | None = None


def _call(fork: Fork, price: int, **changes: Any) -> TransactionEnvelope:
    """A balance asked of the asset's contract with a footprint of one key, for a resource fee in stroops."""
    builder = TransactionBuilder(_account(fork, "alice"), DEVNET.passphrase, base_fee=100).add_time_bounds(0, 0)
    args = [scval.to_address(keypair("bob").public_key)]
    builder.append_invoke_contract_function_op(DEVNET.asset_contract_id, "balance", args)
    envelope = builder.build()
    instance = xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE)
    address = scval.to_address(DEVNET.asset_contract_id).address
    assert address is not None
    key = xdr.LedgerKeyContractData(address, instance, xdr.ContractDataDurability.PERSISTENT)
    keys = changes.get("keys", [xdr.LedgerKey(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=key)])
    footprint = xdr.LedgerFootprint(keys, changes.get("writes", []))
    numbers = [xdr.Uint32(changes.get(name, 0)) for name in ("instructions", "reads", "bytes")]
    resources = xdr.SorobanResources(footprint, *numbers)
    soroban = xdr.SorobanTransactionData(xdr.SorobanTransactionDataExt(0), resources, _i64(price))
    envelope.transaction.soroban_data = soroban
    envelope.transaction.fee = changes.get("fee", 100 + max(0, price))
    if "source" in changes:
        envelope.transaction.source = MuxedAccount(keypair("alice").public_key, changes["source"])
    if "caller" in changes:
        envelope.transaction.operations[0].source = MuxedAccount(keypair("alice").public_key, changes["caller"])
    if "memo" in changes:
        envelope.transaction.memo = changes["memo"]
    envelope.sign(keypair("alice"))
    return envelope


def _account(fork: Fork, name: str) -> Any:
    account = fork.ledger.view.account(keypair(name).raw_public_key())
    assert account is not None
    return Account(keypair(name).public_key, account.sequence)


FEE = 1_000_000
CHARGED = [
    ChargedCase("a bad number", _alone(sequence=7), "txBAD_SEQ", 100, "TransactionFrame.cpp:2002"),
    ChargedCase(
        "three operations", _alone(sequence=7, fee=5_000, count=3), "txBAD_SEQ", 300, "TransactionFrame.cpp:478"
    ),
    ChargedCase("too low a fee", _alone(fee=99), "txINSUFFICIENT_FEE", 100, "TransactionFrame.cpp:1537"),
    ChargedCase("no signature", _alone(sign=False), "txBAD_AUTH", 100, "TransactionFrame.cpp:2002"),
    ChargedCase(
        "more than there is",
        _alone(fee=2_000, source="poor"),
        "txINSUFFICIENT_BALANCE",
        100,
        "TransactionFrame.cpp:1772",
    ),
    ChargedCase(
        "a call's number",
        lambda fork: _numbered(_call(fork, FEE), 7),
        "txBAD_SEQ",
        FEE + 100,
        "TransactionFrame.cpp:478",
    ),
    ChargedCase(
        "a call for too little",
        lambda fork: _call(fork, 1_000),
        "txSOROBAN_INVALID",
        1_100,
        "TransactionFrame.cpp:1455",
    ),
    ChargedCase("a resource fee below 0", lambda fork: _call(fork, -1), "txMALFORMED", 0, "TransactionFrame.cpp:1850"),
    ChargedCase(
        "a resource fee beyond all",
        lambda fork: _call(fork, 2**50 + 1, fee=100),
        "txMALFORMED",
        0,
        "TransactionFrame.cpp:1850",
    ),
    ChargedCase(
        "a resource fee above the fee",
        lambda fork: _call(fork, FEE, fee=100),
        "txMALFORMED",
        0,
        "herder/TransactionQueue.cpp:348",
    ),
    ChargedCase("a bump of too little", _bumped(fee=199), "txINSUFFICIENT_FEE", 200, "FeeBumpTransactionFrame.cpp:390"),
    ChargedCase("a bump without signature", _bumped(sign=False), "txBAD_AUTH", 200, "FeeBumpTransactionFrame.cpp:470"),
    ChargedCase("a bump by nobody", _bumped("nobody"), "txNO_ACCOUNT", 200, "FeeBumpTransactionFrame.cpp:443"),
    ChargedCase(
        "a bump of a bad number",
        _bumped(sequence=7),
        "txFEE_BUMP_INNER_FAILED",
        200,
        "MutableTransactionResult.cpp:401",
        "txBAD_SEQ",
    ),
    ChargedCase(
        "a bump of an unsigned one",
        lambda fork: _bump(_alone(sign=False)(fork), "carol", 200),
        "txFEE_BUMP_INNER_FAILED",
        200,
        "MutableTransactionResult.cpp:401",
        "txBAD_AUTH",
    ),
]


def _numbered(envelope: TransactionEnvelope, sequence: int) -> TransactionEnvelope:
    envelope.transaction.sequence = sequence
    envelope.signatures.clear()
    envelope.sign(keypair("alice"))
    return envelope


@pytest.mark.parametrize("case", CHARGED, ids=lambda case: case.name)
def test_a_refusal_names_what_it_would_have_cost(world: World, case: ChargedCase) -> None:
    assert SOURCE_LINE.fullmatch(case.at)
    fork = world.fork()
    refused, result, _ = fork.send(case.build(fork))
    inner = result.result.inner_result_pair
    code = None if inner is None else inner.result.result.code.name
    assert refused and (result.result.code.name, code) == (case.code, case.inner)
    assert result.fee_charged.int64 == case.charged
    assert inner is None or inner.result.fee_charged.int64 == 0
    assert fork.close().transactions == []


def test_a_bump_below_the_inner_bid_is_told_what_it_takes(world: World) -> None:
    """FeeBumpTransactionFrame.cpp:417."""
    fork = world.fork()
    inner = fork.build("alice", [pay("bob", UNIT)], fee=1_000)
    inner.sign(keypair("alice"))
    bumped = _bump(inner, "carol", 1_999)
    _, result, _ = fork.send(bumped)
    assert (result.result.code.name, result.fee_charged.int64) == ("txINSUFFICIENT_FEE", 2_000)


def test_what_a_ledger_refuses_has_its_refundable_fee_back(world: World) -> None:
    """TransactionFrame.cpp:2120: the refund is reckoned before signatures are checked, and the number is used."""
    fork = world.fork()
    alice = keypair("alice").raw_public_key()
    before = fork.ledger.view.account(alice)
    called = _call(fork, FEE)
    stopped = fork.build("bob", [options(master=0, source="alice")])  # classic transactions are applied first
    for name in ("alice", "bob"):
        stopped.sign(keypair(name))
    assert [fork.submit(envelope).status for envelope in (called, stopped)] == ["PENDING", "PENDING"]
    first, second = fork.close().transactions
    result = parse_result(second.result)
    assert first.success and result.result.code.name == "txBAD_AUTH"
    after = fork.ledger.view.account(alice)
    assert before is not None and after is not None and after.sequence == before.sequence + 1
    assert before.balance - after.balance == result.fee_charged.int64 < 100 + FEE
    stages = [xdr.TransactionEvent.from_xdr_bytes(event).stage.value for event in second.transaction_events]
    assert stages == [0, 2]


# --- operations nobody looked at


def _pool_id() -> xdr.PoolID:
    return xdr.PoolID(xdr.Hash(bytes(32)))


_PRICE = xdr.Price(xdr.Int32(1), xdr.Int32(1))
_XLM = xdr.Asset(xdr.AssetType.ASSET_TYPE_NATIVE)


def _address() -> xdr.MuxedAccount:
    return xdr.MuxedAccount(xdr.CryptoKeyType.KEY_TYPE_ED25519, ed25519=xdr.Uint256(keypair("bob").raw_public_key()))


UNTOUCHED = {
    "createAccount": create("new", UNIT),
    "payment": pay("bob", 1),
    "pathPaymentStrictReceive": operation(
        Type.PATH_PAYMENT_STRICT_RECEIVE,
        path_payment_strict_receive_op=xdr.PathPaymentStrictReceiveOp(_XLM, _i64(1), _address(), KALE, _i64(1), []),
    ),
    "pathPaymentStrictSend": operation(
        Type.PATH_PAYMENT_STRICT_SEND,
        path_payment_strict_send_op=xdr.PathPaymentStrictSendOp(_XLM, _i64(1), _address(), KALE, _i64(1), []),
    ),
    "manageSellOffer": operation(
        Type.MANAGE_SELL_OFFER, manage_sell_offer_op=xdr.ManageSellOfferOp(_XLM, KALE, _i64(1), _PRICE, _i64(0))
    ),
    "manageBuyOffer": operation(
        Type.MANAGE_BUY_OFFER, manage_buy_offer_op=xdr.ManageBuyOfferOp(_XLM, KALE, _i64(1), _PRICE, _i64(0))
    ),
    "createPassiveSellOffer": operation(
        Type.CREATE_PASSIVE_SELL_OFFER,
        create_passive_sell_offer_op=xdr.CreatePassiveSellOfferOp(_XLM, KALE, _i64(1), _PRICE),
    ),
    "setOptions": options(),
    "changeTrust": trust(KALE),
    "accountMerge": merge("bob"),
    "inflation": operation(Type.INFLATION),
    "manageData": data(b"name"),
    "bumpSequence": bump(0),
    "createClaimableBalance": hold(["bob"], 1),
    "beginSponsoring": operation(
        Type.BEGIN_SPONSORING_FUTURE_RESERVES,
        begin_sponsoring_future_reserves_op=xdr.BeginSponsoringFutureReservesOp(keypair("bob").xdr_account_id()),
    ),
    "endSponsoring": operation(Type.END_SPONSORING_FUTURE_RESERVES),
    "liquidityPoolWithdraw": operation(
        Type.LIQUIDITY_POOL_WITHDRAW,
        liquidity_pool_withdraw_op=xdr.LiquidityPoolWithdrawOp(_pool_id(), _i64(1), _i64(1), _i64(1)),
    ),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_an_untouched_operation_has_a_whole_result(world: World, name: str) -> None:
    """initializeOperationResults, MutableTransactionResult.cpp:23: default-constructed arms."""
    fork = world.fork()
    envelope = fork.build("alice", [data(b""), UNTOUCHED[name]])
    envelope.sign(keypair("alice"))
    answer: QueueAnswer = fork.submit(envelope)
    assert answer.result is not None
    result = parse_result(answer.result.pack(fork.ledger.parse(envelope.to_xdr_object().to_xdr_bytes())))
    invalid, untouched = names(result)
    assert invalid == "MANAGE_DATA_INVALID_NAME" and untouched.endswith("_SUCCESS")


# --- envelopes of version 0, and the same transaction again


@pytest.mark.parametrize("bounds", [None, (0, 0)], ids=["no bounds", "bounds"])
def test_an_envelope_of_version_0_is_made_into_one_of_version_1(world: World, bounds: tuple[int, int] | None) -> None:
    """TransactionBridge.cpp:19."""
    fork = world.fork()
    envelope = fork.build("alice", [pay("bob", UNIT)])
    modern = envelope.to_xdr_object().v1
    assert modern is not None
    old_bounds = None if bounds is None else xdr.TimeBounds(*(xdr.TimePoint(xdr.Uint64(n)) for n in bounds))
    raw = modern.tx
    old = xdr.TransactionV0(
        xdr.Uint256(keypair("alice").raw_public_key()),
        raw.fee,
        raw.seq_num,
        old_bounds,
        raw.memo,
        raw.operations,
        xdr.TransactionV0Ext(0),
    )
    kind = xdr.EnvelopeType.ENVELOPE_TYPE_TX_V0
    unsigned = xdr.TransactionEnvelope(kind, v0=xdr.TransactionV0Envelope(old, []))
    converted = parse(unsigned.to_xdr_bytes(), _NETWORK_ID)
    sent = _Raw(unsigned, converted.hash)
    sent.sign(keypair("alice"))
    _, result, record = fork.send(sent)
    assert result.result.code.name == "txSUCCESS" and record is not None
    assert record.hash == converted.hash
    kept = xdr.TransactionEnvelope.from_xdr_bytes(record.envelope)
    assert kept.v1 is not None and (kept.v1.tx.cond.time_bounds is None) == (bounds is None)


def test_what_was_bumped_is_a_duplicate_of_its_bump(world: World) -> None:
    """herder/TransactionQueue.cpp:276."""
    fork = world.fork()
    inner = _alone()(fork)
    bumped = _bump(inner, "carol", 200)
    assert fork.submit(bumped).status == "PENDING"
    assert fork.submit(inner).status == "DUPLICATE"
    assert fork.submit(bumped).status == "DUPLICATE"
    assert fork.submit(_bump(inner, "bob", 200)).status == "ERROR"  # another bump, which does not bid enough


def test_the_same_transaction_with_another_signature_is_no_duplicate(world: World) -> None:
    """herder/TransactionQueue.cpp:262: the hash of the whole envelope is compared."""
    fork = world.fork()
    first = fork.build("shared", [pay("bob", UNIT)])
    first.sign(keypair("shared"))
    first.sign(keypair("cosigner"))
    again = TransactionEnvelope.from_xdr(first.to_xdr(), DEVNET.passphrase)
    again.signatures.reverse()
    assert fork.submit(first).status == "PENDING"
    assert fork.submit(again).status == "TRY_AGAIN_LATER"


def test_the_first_number_of_a_ledgers_accounts_is_nobodys(world: World) -> None:
    """TransactionFrame.cpp:1650."""
    fork = world.fork()
    number = (fork.ledger.header.sequence + 1) << 32
    fork.step(Step("carol", [bump(number - 1)]))
    envelope = fork.build("carol", [pay("bob", UNIT)])
    assert envelope.transaction.sequence == number
    envelope.sign(keypair("carol"))
    _, result, _ = fork.send(envelope)
    assert result.result.code.name == "txBAD_SEQ"


# --- what Soroban transactions declare


def _trust_line_key(asset: xdr.Asset, holder: str) -> xdr.LedgerKey:
    line = xdr.TrustLineAsset(asset.type, asset.alpha_num4, asset.alpha_num12)
    key = xdr.LedgerKeyTrustLine(keypair(holder).xdr_account_id(), line)
    return xdr.LedgerKey(xdr.LedgerEntryType.TRUSTLINE, trust_line=key)


def _data_key(name: bytes) -> xdr.LedgerKey:
    key = xdr.LedgerKeyData(keypair("bob").xdr_account_id(), xdr.String64(name))
    return xdr.LedgerKey(xdr.LedgerEntryType.DATA, data=key)


def _contract_key(size: int) -> xdr.LedgerKey:
    address = scval.to_address(DEVNET.contract_id).address
    assert address is not None
    key = xdr.LedgerKeyContractData(address, scval.to_bytes(bytes(size)), xdr.ContractDataDurability.PERSISTENT)
    return xdr.LedgerKey(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=key)


DECLARED = [
    ("a memo", {"memo": IdMemo(1)}, (8, 2), "TransactionFrame.cpp:1399"),
    ("a source with an id", {"source": 7}, (8, 2), "TransactionFrame.cpp:1399"),
    ("an operation's source with an id", {"caller": 7}, (8, 2), "TransactionFrame.cpp:1399"),
    ("too many instructions", {"instructions": 400_000_001}, (7, 5), "TransactionFrame.cpp:835"),
    ("too many bytes read", {"reads": 200_001}, (3, 5), "TransactionFrame.cpp:844"),
    ("too many bytes written", {"bytes": 132_097}, (3, 5), "TransactionFrame.cpp:853"),
    ("XLM as a trustline", {"keys": [_trust_line_key(_XLM, "bob")]}, (3, 2), "TransactionFrame.cpp:928"),
    ("an issuer's own trustline", {"keys": [_trust_line_key(KALE, "issuer")]}, (3, 2), "TransactionFrame.cpp:928"),
    ("a data entry", {"keys": [_data_key(b"name")]}, (3, 8), "TransactionFrame.cpp:945"),
    ("a key of 300 bytes", {"keys": [_contract_key(240)]}, (3, 5), "TransactionFrame.cpp:952"),
    ("a key twice", {"keys": [_contract_key(4)], "writes": [_contract_key(4)]}, (3, 2), "TransactionFrame.cpp:1476"),
    ("less than it costs", {"fee": 1_100, "resource_fee": 1_000}, (8, 5), "TransactionFrame.cpp:1455"),
]


@pytest.mark.parametrize(("name", "changes", "error", "at"), DECLARED, ids=[row[0] for row in DECLARED])
def test_what_a_call_declares_is_judged_as_in_stellar_core(
    world: World, name: str, changes: dict[str, Any], error: tuple[int, int], at: str
) -> None:
    assert SOURCE_LINE.fullmatch(at)
    fork = world.fork()
    answer = fork.submit(_call(fork, changes.get("resource_fee", FEE), **changes))
    assert answer.result is not None and answer.result.code.name == "SOROBAN_INVALID"
    (packed,) = answer.diagnostics
    event = xdr.DiagnosticEvent.from_xdr_bytes(packed).event.body.v0
    assert event is not None and event.topics[1].error is not None
    kind, code = event.topics[1].error.type, event.topics[1].error.code
    assert (kind.value, code and code.value) == error
