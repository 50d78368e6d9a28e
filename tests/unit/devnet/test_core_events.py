"""Classic movements have the events that stellar-core writes for them (EventManager.cpp, CAP-67)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from stellar_sdk import Asset, IdMemo, Memo, ReturnHashMemo, StrKey, TextMemo, scval, xdr

from kalepool.devnet.ledger.event_rows import OPERATION_MASK, event_rows
from tests.support.core_cases import (
    KALE,
    SOURCE_LINE,
    STRICT,
    UNIT,
    XLM,
    Step,
    World,
    allow,
    claim,
    claw_back,
    claw_back_balance,
    create,
    hold,
    keypair,
    merge,
    pay,
    set_flags,
)

BALANCE = "the balance's address"


@dataclass(frozen=True)
class EventCase:
    """A transaction, and (name, addresses, asset, data) of the events of its one operation.

    Addresses are accounts by name, or BALANCE; data is an amount, (amount, to_muxed_id) or a bool.
    """

    name: str
    operation: xdr.Operation
    events: list[tuple[str, list[str], xdr.Asset, Any]]
    at: str
    source: str = "alice"
    memo: Memo | None = None
    before: list[Step] = field(default_factory=list)


_MEMO = IdMemo(2**64 - 1)
_HELD = [Step("alice", [hold(["bob"], UNIT, KALE)])]

CASES = [
    EventCase("XLM", pay("bob", 5), [("transfer", ["alice", "bob"], XLM, 5)], "EventManager.cpp:347"),
    EventCase("KALE", pay("bob", 5, KALE), [("transfer", ["alice", "bob"], KALE, 5)], "EventManager.cpp:347"),
    EventCase("to oneself", pay("alice", 5), [("transfer", ["alice", "alice"], XLM, 5)], "PaymentOpFrame.cpp:58"),
    EventCase(
        "from an issuer", pay("bob", 5, KALE), [("mint", ["bob"], KALE, 5)], "EventManager.cpp:339", source="issuer"
    ),
    EventCase("to an issuer", pay("issuer", 5, KALE), [("burn", ["alice"], KALE, 5)], "EventManager.cpp:343"),
    EventCase(
        "an issuer to itself",
        pay("issuer", 5, KALE),
        [("transfer", ["issuer", "issuer"], KALE, 5)],
        "EventManager.cpp:335",
        source="issuer",
    ),
    EventCase("to an id", pay("bob#7", 5), [("transfer", ["alice", "bob"], XLM, (5, 7))], "EventManager.cpp:130"),
    EventCase(
        "KALE to an id", pay("bob#0", 5, KALE), [("transfer", ["alice", "bob"], KALE, (5, 0))], "EventManager.cpp:130"
    ),
    EventCase(
        "minted to an id", pay("bob#7", 5, KALE), [("mint", ["bob"], KALE, (5, 7))], "EventManager.cpp:391", "issuer"
    ),
    EventCase("burned by an id", pay("issuer#7", 5, KALE), [("burn", ["alice"], KALE, 5)], "EventManager.cpp:343"),
    EventCase(
        "from an id", pay("bob", 5), [("transfer", ["alice", "bob"], XLM, 5)], "TransactionUtils.cpp:2289", "alice#3"
    ),
    EventCase(
        "an operation from an id",
        pay("bob", 5, source="alice#3"),
        [("transfer", ["alice", "bob"], XLM, 5)],
        "TransactionUtils.cpp:2289",
    ),
    EventCase(
        "memo id",
        pay("bob", 5),
        [("transfer", ["alice", "bob"], XLM, (5, 2**64 - 1))],
        "EventManager.cpp:130",
        memo=_MEMO,
    ),
    EventCase(
        "an id and a memo",
        pay("bob#7", 5),
        [("transfer", ["alice", "bob"], XLM, (5, 7))],
        "EventManager.cpp:131",
        memo=_MEMO,
    ),
    EventCase(
        "memo text",
        pay("bob", 5, KALE),
        [("transfer", ["alice", "bob"], KALE, (5, "invoice 7"))],
        "TransactionUtils.cpp:2222",
        memo=TextMemo("invoice 7"),
    ),
    EventCase(
        "memo text that is no UTF-8",
        pay("bob", 5),
        [("transfer", ["alice", "bob"], XLM, (5, b"\xff\xfe"))],
        "TransactionUtils.cpp:2222",
        memo=TextMemo(b"\xff\xfe"),
    ),
    EventCase(
        "memo return hash",
        pay("bob", 5),
        [("transfer", ["alice", "bob"], XLM, (5, bytes(range(32))))],
        "TransactionUtils.cpp:2228",
        memo=ReturnHashMemo(bytes(range(32))),
    ),
    EventCase(
        "memo on a mint",
        pay("bob", 5, KALE),
        [("mint", ["bob"], KALE, (5, 2**64 - 1))],
        "EventManager.cpp:391",
        "issuer",
        _MEMO,
    ),
    EventCase(
        "memo on a burn", pay("issuer", 5, KALE), [("burn", ["alice"], KALE, 5)], "EventManager.cpp:343", memo=_MEMO
    ),
    EventCase(
        "an account made",
        create("new", UNIT),
        [("transfer", ["alice", "new"], XLM, (UNIT, 2**64 - 1))],
        "CreateAccountOpFrame.cpp:166",
        memo=_MEMO,
    ),
    EventCase(
        "merged into an id",
        merge("bob#4"),
        [("transfer", ["carol", "bob"], XLM, (1_000 * UNIT - 100, 4))],
        "MergeOpFrame.cpp:267",
        "carol",
    ),
    EventCase(
        "held",
        hold(["bob"], 5, KALE),
        [("transfer", ["alice", BALANCE], KALE, 5)],
        "CreateClaimableBalanceOpFrame.cpp:252",
        memo=_MEMO,
    ),
    EventCase(
        "held by the issuer", hold(["bob"], 5, KALE), [("mint", [BALANCE], KALE, 5)], "EventManager.cpp:339", "issuer"
    ),
    EventCase(
        "claimed",
        claim(),
        [("transfer", [BALANCE, "bob"], KALE, UNIT)],
        "ClaimClaimableBalanceOpFrame.cpp:188",
        "bob",
        before=_HELD,
    ),
    EventCase(
        "claimed with a memo",
        claim(),
        [("transfer", [BALANCE, "bob"], KALE, (UNIT, 2**64 - 1))],
        "ClaimClaimableBalanceOpFrame.cpp:188",
        "bob",
        _MEMO,
        _HELD,
    ),
    EventCase(
        "claimed by an id",
        claim(),
        [("transfer", [BALANCE, "bob"], KALE, (UNIT, 12))],
        "ClaimClaimableBalanceOpFrame.cpp:188",
        "bob#12",
        before=_HELD,
    ),
    EventCase(
        "claimed by the issuer",
        claim(),
        [("burn", [BALANCE], KALE, 5)],
        "EventManager.cpp:343",
        "issuer",
        before=[Step("alice", [hold(["issuer"], 5, KALE)])],
    ),
    EventCase(
        "clawed back",
        claw_back("dave", 5, STRICT),
        [("clawback", ["dave"], STRICT, 5)],
        "EventManager.cpp:456",
        "strict",
    ),
    EventCase(
        "a balance clawed back",
        claw_back_balance(),
        [("clawback", [BALANCE], STRICT, 5)],
        "ClawbackClaimableBalanceOpFrame.cpp:75",
        "strict",
        before=[Step("dave", [hold(["bob"], 5, STRICT)])],
    ),
    EventCase(
        "authorised",
        set_flags("erin", STRICT, add=1),
        [("set_authorized", ["erin"], STRICT, True)],
        "EventManager.cpp:479",
        "strict",
    ),
    EventCase(
        "no longer authorised",
        allow("dave", STRICT, 0),
        [("set_authorized", ["dave"], STRICT, False)],
        "TrustFlagsOpFrameBase.cpp:136",
        "strict",
    ),
    EventCase(
        "authorised to maintain",
        set_flags("erin", STRICT, add=2),
        [("set_authorized", ["erin"], STRICT, False)],
        "TrustFlagsOpFrameBase.cpp:134",
        "strict",
    ),
]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def _address(value: xdr.SCVal) -> str:
    assert value.address is not None
    if value.address.claimable_balance_id is not None:
        return BALANCE
    address = scval.from_address(value).address
    known = {
        keypair(name).public_key: name for name in ("alice", "bob", "carol", "dave", "erin", "issuer", "new", "strict")
    }
    return known[address]


def _data(value: xdr.SCVal) -> Any:
    if value.map is None:
        return scval.to_native(value)
    fields = {scval.from_symbol(item.key): item.val for item in value.map.sc_map}
    assert list(fields) == ["amount", "to_muxed_id"]
    return scval.from_int128(fields["amount"]), scval.to_native(fields["to_muxed_id"])


def _name(asset: xdr.Asset) -> str:
    sdk = Asset.from_xdr_object(asset)
    return "native" if sdk.is_native() else f"{sdk.code}:{sdk.issuer}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_movements_have_cores_events(world: World, case: EventCase) -> None:
    assert SOURCE_LINE.fullmatch(case.at)
    fork = world.fork()
    for step in case.before:
        fork.step(step)
    envelope = fork.build(case.source, [case.operation])
    if case.memo is not None:
        envelope.transaction.memo = case.memo
    envelope.sign(keypair(case.source.partition("#")[0]))
    _, result, record = fork.send(envelope)
    assert record is not None and record.success, result
    found = []
    for packed in record.operation_events[0]:
        event = xdr.ContractEvent.from_xdr_bytes(packed)
        assert event.to_xdr_bytes() == packed and event.body.v0 is not None and event.contract_id is not None
        name, *addresses, asset = event.body.v0.topics
        found.append(
            (
                scval.from_symbol(name),
                [_address(item) for item in addresses],
                scval.from_string(asset).decode(),
                _data(event.body.v0.data),
            )
        )
        contract = StrKey.encode_contract(event.contract_id.contract_id.hash)
        assert contract == Asset.from_xdr_object(case.events[0][2]).contract_id(fork.ledger.passphrase)
    assert found == [(name, addresses, _name(asset), data) for name, addresses, asset, data in case.events]
    assert fork.closed is not None
    assert len([row for row in event_rows(fork.closed) if row[1] & OPERATION_MASK == 0 and row[1] >> 12 & 1]) == 1
