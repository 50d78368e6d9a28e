"""XDR as JSON, as stellar-rpc's Rust library (rs-stellar-xdr v27.0.0) writes it."""

from __future__ import annotations

from typing import Any

import pytest
from stellar_sdk import Address, StrKey, TextMemo, scval, xdr

from kalepool.devnet.ledger.meta import ledger_close_meta
from kalepool.devnet.rpc.xdr_json import escape, to_json
from tests.support.core_cases import (
    ALWAYS,
    KALE,
    STRICT,
    UNIT,
    World,
    allow,
    before_time,
    data,
    either,
    hold,
    keypair,
    negated,
    nested,
    operation,
    options,
    parse_result,
    pay,
    payload_key,
    within,
)

ALICE, BOB = keypair("alice").public_key, keypair("bob").public_key


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def _transaction_result(code: xdr.TransactionResultCode) -> xdr.TransactionResult:
    body = xdr.TransactionResultResult(code, results=[] if code == 0 else None)
    return xdr.TransactionResult(xdr.Int64(100), body, xdr.TransactionResultExt(0))


def _event(contract: bytes | None) -> xdr.ContractEvent:
    body = xdr.ContractEventBody(0, v0=xdr.ContractEventV0([scval.to_symbol("a")], scval.to_uint32(1)))
    identity = None if contract is None else xdr.ContractID(xdr.Hash(contract))
    return xdr.ContractEvent(xdr.ExtensionPoint(0), identity, xdr.ContractEventType.CONTRACT, body)


_EVENT_BODY = {"v0": {"topics": [{"symbol": "a"}], "data": {"u32": 1}}}
Codes, OpCodes = xdr.TransactionResultCode, xdr.OperationResultCode

# Name, value, JSON, and the file of rs-stellar-xdr's src that says so.
VALUES: list[tuple[str, Any, Any, str]] = [
    (
        "a success",
        _transaction_result(Codes.txSUCCESS),
        {"fee_charged": "100", "result": {"tx_success": []}, "ext": "v0"},
        "generated/transaction_result_code.rs:50",
    ),
    (
        "a refusal",
        _transaction_result(Codes.txBAD_SEQ),
        {"fee_charged": "100", "result": "tx_bad_seq", "ext": "v0"},
        "generated/transaction_result_code.rs:55",
    ),
    ("a code", Codes.txBAD_MIN_SEQ_AGE_OR_GAP, "tx_bad_min_seq_age_or_gap", "generated/transaction_result_code.rs:65"),
    ("an outer code", xdr.OperationResult(OpCodes.opNO_ACCOUNT), "op_no_account", "generated/operation_result_code.rs"),
    (
        "a payment's result",
        xdr.OperationResult(
            OpCodes.opINNER,
            xdr.OperationResultTr(
                xdr.OperationType.PAYMENT,
                payment_result=xdr.PaymentResult(xdr.PaymentResultCode.PAYMENT_NO_TRUST),
            ),
        ),
        {"op_inner": {"payment": "no_trust"}},
        "generated/operation_result.rs",
    ),
    (
        "an event",
        _event(bytes(32)),
        {"ext": "v0", "contract_id": StrKey.encode_contract(bytes(32)), "type_": "contract", "body": _EVENT_BODY},
        "generated/contract_event.rs:43",
    ),
    (
        "an event of nobody",
        _event(None),
        {"ext": "v0", "contract_id": None, "type_": "contract", "body": _EVENT_BODY},
        "generated/contract_event.rs:42",
    ),
    ("no vec", xdr.SCVal(xdr.SCValType.SCV_VEC), {"vec": None}, "generated/sc_val.rs"),
    ("no map", xdr.SCVal(xdr.SCValType.SCV_MAP), {"map": None}, "generated/sc_val.rs"),
    ("an empty vec", scval.to_vec([]), {"vec": []}, "generated/sc_val.rs"),
    ("void", scval.to_void(), "void", "generated/sc_val.rs"),
    ("true", scval.to_bool(True), {"bool": True}, "generated/sc_val.rs"),
    ("u32", scval.to_uint32(7), {"u32": 7}, "generated/sc_val.rs"),
    ("u64", scval.to_uint64(2**64 - 1), {"u64": str(2**64 - 1)}, "generated/sc_val.rs"),
    ("i64", scval.to_int64(-7), {"i64": "-7"}, "generated/sc_val.rs"),
    ("i128", scval.to_int128(-(2**100)), {"i128": str(-(2**100))}, "str.rs:478"),
    ("u256", scval.to_uint256(2**200), {"u256": str(2**200)}, "str.rs:493"),
    ("a time", scval.to_timepoint(5), {"timepoint": "5"}, "generated/sc_val.rs"),
    ("bytes", scval.to_bytes(b"\xff\0"), {"bytes": "ff00"}, "generated/sc_bytes.rs"),
    ("text", scval.to_string("a"), {"string": "a"}, "generated/sc_string.rs"),
    (
        "text that is none",
        scval.to_string(b'\xff\0\n\t\r\\"'),
        {"string": '\\xff\\0\\n\\t\\r\\\\"'},
        "generated/sc_string.rs",
    ),
    ("an account", scval.to_address(ALICE), {"address": ALICE}, "str.rs:343"),
    (
        "a contract",
        scval.to_address(StrKey.encode_contract(bytes(32))),
        {"address": StrKey.encode_contract(bytes(32))},
        "str.rs:343",
    ),
    (
        "a claimable balance",
        scval.to_address(Address(StrKey.encode_claimable_balance(bytes(33)))),
        {"address": StrKey.encode_claimable_balance(bytes(33))},
        "str.rs:343",
    ),
    (
        "an error of the contract",
        xdr.SCVal(xdr.SCValType.SCV_ERROR, error=xdr.SCError(xdr.SCErrorType.SCE_CONTRACT, xdr.Uint32(8))),
        {"error": {"contract": 8}},
        "generated/sc_error.rs",
    ),
    (
        "an error of the host",
        xdr.SCVal(
            xdr.SCValType.SCV_ERROR,
            error=xdr.SCError(xdr.SCErrorType.SCE_AUTH, code=xdr.SCErrorCode.SCEC_INVALID_ACTION),
        ),
        {"error": {"auth": "invalid_action"}},
        "generated/sc_error.rs",
    ),
    (
        "a pair",
        scval.to_map({scval.to_symbol("a"): scval.to_uint32(1)}),
        {"map": [{"key": {"symbol": "a"}, "val": {"u32": 1}}]},
        "generated/sc_map_entry.rs",
    ),
    ("always", ALWAYS, "unconditional", "generated/claim_predicate.rs"),
    ("not", negated(ALWAYS), {"not": "unconditional"}, "generated/claim_predicate.rs"),
    ("not anything", negated(None), {"not": None}, "generated/claim_predicate.rs"),
    (
        "or",
        either(ALWAYS, within(5)),
        {"or": ["unconditional", {"before_relative_time": "5"}]},
        "generated/claim_predicate.rs",
    ),
    ("a signer of a payload", payload_key("bob", b"x"), payload_key("bob", b"x").to_json_dict(), "str.rs:201"),
    (
        "a short code",
        KALE,
        {"credit_alphanum4": {"asset_code": "KALE", "issuer": keypair("issuer").public_key}},
        "str.rs:377",
    ),
    (
        "a long code",
        STRICT,
        {"credit_alphanum12": {"asset_code": "STRICT", "issuer": keypair("strict").public_key}},
        "str.rs:397",
    ),
    ("a long code that is short", xdr.AssetCode12(b"AB".ljust(12, b"\0")), "AB\\0\\0\\0", "str.rs:399"),
    ("XLM", xdr.Asset(xdr.AssetType.ASSET_TYPE_NATIVE), "native", "generated/asset.rs"),
    ("a memo", xdr.Memo(xdr.MemoType.MEMO_TEXT, text=b"\xffa"), {"text": "\\xffa"}, "generated/memo.rs"),
    ("no memo", xdr.Memo(xdr.MemoType.MEMO_NONE), "none", "generated/memo.rs"),
]


@pytest.mark.parametrize(("value", "expected"), [row[1:3] for row in VALUES], ids=[row[0] for row in VALUES])
def test_values_are_written_as_by_the_rust_library(value: Any, expected: Any) -> None:
    assert to_json(value) == expected


def test_bytes_are_escaped() -> None:
    assert escape(bytes(range(33))).startswith("\\0\\x01\\x02")
    assert escape(b"~\x7f\x80") == "~\\x7f\\x80"


def _same(ours: Any, theirs: Any) -> None:
    """That the SDK writes the same, but for what it is known to write otherwise."""
    if isinstance(ours, dict):
        assert isinstance(theirs, dict)
        names = [name.removesuffix("_") for name in ours]
        assert [_plain(name) for name in names] == [_plain(name) for name in theirs]
        for name, mine in ours.items():
            other = theirs[next(n for n in theirs if _plain(n) == _plain(name.removesuffix("_")))]
            if name == "contract_id" and mine is not None:
                assert StrKey.decode_contract(mine).hex() == other
            else:
                _same(mine, other)
    elif isinstance(ours, list):
        assert isinstance(theirs, list) and len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            _same(mine, other)
    elif isinstance(ours, str):
        assert _plain(ours) == _plain(theirs)
    else:
        assert ours == theirs


def _plain(text: str) -> str:
    return text.replace("tx_", "tx").replace("op_", "op")


def test_whole_ledgers_have_all_their_parts(world: World) -> None:
    """An envelope of many operations, its result, and the meta of its ledger, held against what stellar-sdk writes."""
    fork = world.fork()
    predicates = {"bob": either(within(5), negated(before_time(9))), "carol": nested(4)}
    operations = [
        pay("bob#7", 5, KALE),
        hold(predicates, 1),
        options(signer=(payload_key("bob", b"xy"), 1), domain=b"a.org", add=3),
        data(b"name", b"\xff"),
        data(b"name", None),
    ]
    envelope = fork.build("alice", operations)
    envelope.transaction.memo = TextMemo("a memo")
    envelope.sign(keypair("alice"))
    _, result, record = fork.send(envelope)
    assert record is not None and record.success
    _same(to_json(result), result.to_json_dict())
    packed = envelope.to_xdr_object()
    _same(to_json(packed), packed.to_json_dict())
    closed = fork.closed
    assert closed is not None
    meta = xdr.LedgerCloseMeta.from_xdr_bytes(ledger_close_meta(closed.header, closed.transactions, closed.evicted))
    _same(to_json(meta), meta.to_json_dict())
    refused = fork.build("alice", [allow("bob", STRICT, 1), operation(xdr.OperationType.INFLATION), pay("bob", UNIT)])
    refused.sign(keypair("alice"))
    answer = fork.submit(refused)
    assert answer.result is not None
    told = parse_result(answer.result.pack(fork.ledger.parse(refused.to_xdr_object().to_xdr_bytes())))
    _same(to_json(told), told.to_json_dict())
    assert list(to_json(told)["result"]) == ["tx_failed"]
