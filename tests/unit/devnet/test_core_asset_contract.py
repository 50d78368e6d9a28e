"""The asset contract does what soroban-env-host's does; each case names a line of rs-soroban-env v27.0.1.

Lines are below soroban-env-host/src/builtin_contracts/stellar_asset_contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from stellar_sdk import MuxedAccount, StrKey, scval, xdr

from kalepool.devnet.ledger.queue import SendStatus
from tests.support.core_cases import (
    KALE,
    OPEN,
    SOURCE_LINE,
    STRICT,
    UNIT,
    XLM,
    Fork,
    Step,
    World,
    keypair,
    names,
)

VAULT = StrKey.encode_contract(b"\7" * 32)
FAR = 2_000_000
"""A last ledger that allowances may have."""


def address(name: str) -> xdr.SCVal:
    """An account by name, M… where it has an id (`bob#7`), or the contract `vault`."""
    if name == "vault":
        return scval.to_address(VAULT)
    name, _, number = name.partition("#")
    key = keypair(name).public_key
    return scval.to_address(MuxedAccount(key, int(number)).universal_account_id if number else key)


@dataclass(frozen=True)
class Invocation:
    """A call of an asset's contract: who calls, what, and with which arguments (names, amounts, …)."""

    source: str
    asset: xdr.Asset
    function: str
    args: Sequence[Any]


def call(source: str, asset: xdr.Asset, function: str, *args: Any) -> Invocation:
    return Invocation(source, asset, function, args)


def _values(invocation: Invocation) -> list[xdr.SCVal]:
    until = invocation.function == "approve"
    values = []
    for position, arg in enumerate(invocation.args):
        if isinstance(arg, bool):
            values.append(scval.to_bool(arg))
        elif isinstance(arg, str):
            values.append(address(arg))
        else:
            values.append(scval.to_uint32(arg) if until and position == 3 else scval.to_int128(arg))
    return values


@dataclass(frozen=True)
class AssetCase:
    """A call, and either the number of the contract's error or what is returned; `event`: name, addresses and data."""

    name: str
    invocation: Invocation
    at: str
    error: int | None = None
    returns: Any = None
    event: tuple[str, list[str], Any] | None = None
    before: Sequence[Step | Invocation] = field(default=())


APPROVED = [call("alice", KALE, "approve", "alice", "carol", 10 * UNIT, FAR)]
IN_VAULT = [call("alice", KALE, "transfer", "alice", "vault", 10 * UNIT)]
STRICT_IN_VAULT = [
    call("strict", STRICT, "set_authorized", "vault", True),
    call("dave", STRICT, "transfer", "dave", "vault", 10 * UNIT),
]

CASES = [
    AssetCase(
        "transfer XLM",
        call("alice", XLM, "transfer", "alice", "bob", 5),
        "contract.rs:206",
        event=("transfer", ["alice", "bob"], 5),
    ),
    AssetCase(
        "transfer to oneself",
        call("alice", XLM, "transfer", "alice", "alice", 5),
        "event.rs:54",
        event=("transfer", ["alice", "alice"], 5),
    ),
    AssetCase(
        "transfer nothing",
        call("alice", XLM, "transfer", "alice", "bob", 0),
        "contract.rs:213",
        event=("transfer", ["alice", "bob"], 0),
    ),
    AssetCase(
        "transfer less than nothing", call("alice", XLM, "transfer", "alice", "bob", -1), "contract.rs:36", error=8
    ),
    AssetCase(
        "transfer the reserve", call("alice", XLM, "transfer", "alice", "bob", 1_000 * UNIT), "balance.rs:475", error=10
    ),
    AssetCase(
        "transfer more than an i64", call("alice", XLM, "transfer", "alice", "bob", 2**63), "balance.rs:165", error=12
    ),
    AssetCase(
        "transfer to an M… address",
        call("alice", XLM, "transfer", "alice", "bob#7", 5),
        "event.rs:84",
        event=("transfer", ["alice", "bob"], (5, 7)),
    ),
    AssetCase(
        "transfer KALE to an M… address",
        call("alice", KALE, "transfer", "alice", "bob#0", 5),
        "event.rs:84",
        event=("transfer", ["alice", "bob"], (5, 0)),
    ),
    AssetCase(
        "transfer to a new account",
        call("alice", XLM, "transfer", "alice", "new", UNIT),
        "balance.rs:522",
        event=("transfer", ["alice", "new"], UNIT),
    ),
    AssetCase(
        "transfer too little for a new account",
        call("alice", XLM, "transfer", "alice", "new", UNIT - 1),
        "balance.rs:502",
        error=14,
    ),
    AssetCase(
        "transfer nothing to a new account",
        call("alice", XLM, "transfer", "alice", "new", 0),
        "balance.rs:488",
        error=6,
    ),
    AssetCase(
        "transfer KALE",
        call("alice", KALE, "transfer", "alice", "bob", 5),
        "contract.rs:206",
        event=("transfer", ["alice", "bob"], 5),
    ),
    AssetCase(
        "transfer more KALE than there is",
        call("alice", KALE, "transfer", "alice", "bob", 1_001 * UNIT),
        "balance.rs:620",
        error=10,
    ),
    AssetCase(
        "transfer to a full line", call("alice", KALE, "transfer", "alice", "full", 1), "balance.rs:620", error=10
    ),
    AssetCase(
        "transfer to who has no line", call("alice", KALE, "transfer", "alice", "carol", 1), "balance.rs:574", error=13
    ),
    AssetCase(
        "transfer to who is not authorised",
        call("dave", STRICT, "transfer", "dave", "erin", 1),
        "balance.rs:103",
        error=11,
    ),
    AssetCase(
        "the issuer transfers: a mint",
        call("open", OPEN, "transfer", "open", "frank", 5),
        "event.rs:57",
        event=("mint", ["frank"], 5),
    ),
    AssetCase(
        "a mint to an M… address",
        call("open", OPEN, "transfer", "open", "frank#9", 5),
        "event.rs:57",
        event=("mint", ["frank"], (5, 9)),
    ),
    AssetCase(
        "the issuer is paid: a burn",
        call("frank", OPEN, "transfer", "frank", "open", 5),
        "event.rs:59",
        event=("burn", ["frank"], 5),
    ),
    AssetCase(
        "transfer to a contract",
        call("alice", KALE, "transfer", "alice", "vault", 5),
        "balance.rs:121",
        event=("transfer", ["alice", "vault"], 5),
    ),
    AssetCase(
        "transfer to a contract that is not authorised",
        call("dave", STRICT, "transfer", "dave", "vault", 5),
        "balance.rs:243",
        error=11,
    ),
    AssetCase(
        "what a contract holds",
        call("bob", KALE, "balance", "vault"),
        "balance.rs:48",
        returns=10 * UNIT,
        before=IN_VAULT,
    ),
    AssetCase(
        "what a contract without a balance holds", call("bob", KALE, "balance", "vault"), "balance.rs:61", returns=0
    ),
    AssetCase("what an account holds", call("bob", KALE, "balance", "alice"), "balance.rs:424", returns=1_000 * UNIT),
    AssetCase("what an issuer holds", call("bob", OPEN, "balance", "open"), "balance.rs:411", returns=2**63 - 1),
    AssetCase(
        "what an account without a line holds", call("bob", KALE, "balance", "carol"), "balance.rs:574", error=13
    ),
    AssetCase("what nobody holds", call("bob", XLM, "balance", "nobody"), "balance.rs:558", error=6),
    AssetCase("an authorised line", call("bob", STRICT, "authorized", "dave"), "balance.rs:841", returns=True),
    AssetCase("a line that is not", call("bob", STRICT, "authorized", "erin"), "balance.rs:841", returns=False),
    AssetCase("an issuer", call("bob", STRICT, "authorized", "strict"), "balance.rs:790", returns=True),
    AssetCase(
        "a contract where authorisation is required",
        call("bob", STRICT, "authorized", "vault"),
        "balance.rs:243",
        returns=False,
    ),
    AssetCase("a contract where it is not", call("bob", OPEN, "authorized", "vault"), "balance.rs:243", returns=True),
    AssetCase(
        "approve",
        call("alice", KALE, "approve", "alice", "carol", 5, FAR),
        "contract.rs:158",
        event=("approve", ["alice", "carol"], [5, FAR]),
    ),
    AssetCase(
        "approve less than nothing",
        call("alice", KALE, "approve", "alice", "carol", -1, FAR),
        "contract.rs:166",
        error=8,
    ),
    AssetCase(
        "approve for too long",
        call("alice", KALE, "approve", "alice", "carol", 5, 2**32 - 1),
        "allowance.rs:47",
        error=9,
    ),
    AssetCase(
        "approve until a ledger that is over",
        call("alice", KALE, "approve", "alice", "carol", 5, 2),
        "allowance.rs:55",
        error=9,
    ),
    AssetCase(
        "approve nothing until then",
        call("alice", KALE, "approve", "alice", "carol", 0, 2),
        "allowance.rs:90",
        event=("approve", ["alice", "carol"], [0, 2]),
    ),
    AssetCase(
        "an allowance",
        call("bob", KALE, "allowance", "alice", "carol"),
        "allowance.rs:24",
        returns=10 * UNIT,
        before=APPROVED,
    ),
    AssetCase("no allowance", call("bob", KALE, "allowance", "bob", "carol"), "allowance.rs:27", returns=0),
    AssetCase(
        "an allowance taken back",
        call("bob", KALE, "allowance", "alice", "carol"),
        "allowance.rs:24",
        returns=0,
        before=[*APPROVED, call("alice", KALE, "approve", "alice", "carol", 0, 2)],
    ),
    AssetCase(
        "transfer_from",
        call("carol", KALE, "transfer_from", "carol", "alice", "bob", 4 * UNIT),
        "contract.rs:229",
        event=("transfer", ["alice", "bob"], 4 * UNIT),
        before=APPROVED,
    ),
    AssetCase(
        "what is left of the allowance",
        call("bob", KALE, "allowance", "alice", "carol"),
        "allowance.rs:158",
        returns=6 * UNIT,
        before=[*APPROVED, call("carol", KALE, "transfer_from", "carol", "alice", "bob", 4 * UNIT)],
    ),
    AssetCase(
        "transfer_from more than is allowed",
        call("carol", KALE, "transfer_from", "carol", "alice", "bob", 11 * UNIT),
        "allowance.rs:144",
        error=9,
        before=APPROVED,
    ),
    AssetCase(
        "transfer_from without an allowance",
        call("carol", KALE, "transfer_from", "carol", "bob", "alice", 1),
        "allowance.rs:144",
        error=9,
    ),
    AssetCase(
        "transfer_from less than nothing",
        call("carol", KALE, "transfer_from", "carol", "alice", "bob", -1),
        "contract.rs:237",
        error=8,
    ),
    AssetCase("burn", call("alice", KALE, "burn", "alice", 5), "contract.rs:253", event=("burn", ["alice"], 5)),
    AssetCase("burn XLM", call("alice", XLM, "burn", "alice", 5), "contract.rs:48", error=2),
    AssetCase("burn as the issuer", call("open", OPEN, "burn", "open", 5), "contract.rs:62", error=2),
    AssetCase(
        "burn_from",
        call("carol", KALE, "burn_from", "carol", "alice", 4),
        "contract.rs:272",
        event=("burn", ["alice"], 4),
        before=APPROVED,
    ),
    AssetCase(
        "burn_from more than is allowed",
        call("carol", KALE, "burn_from", "carol", "alice", 11 * UNIT),
        "allowance.rs:144",
        error=9,
        before=APPROVED,
    ),
    AssetCase("burn_from XLM", call("carol", XLM, "burn_from", "carol", "alice", 4), "contract.rs:48", error=2),
    AssetCase("burn_from the issuer", call("carol", OPEN, "burn_from", "carol", "open", 4), "contract.rs:62", error=2),
    AssetCase("mint", call("open", OPEN, "mint", "frank", 5), "contract.rs:337", event=("mint", ["frank"], 5)),
    AssetCase("mint to the issuer", call("open", OPEN, "mint", "open", 5), "contract.rs:62", error=2),
    AssetCase(
        "clawback", call("strict", STRICT, "clawback", "dave", 5), "contract.rs:297", event=("clawback", ["dave"], 5)
    ),
    AssetCase(
        "clawback of more than there is",
        call("strict", STRICT, "clawback", "dave", 101 * UNIT),
        "balance.rs:620",
        error=10,
    ),
    AssetCase(
        "clawback from a line without it", call("open", OPEN, "clawback", "frank", 5), "balance.rs:314", error=10
    ),
    AssetCase("clawback of XLM", call("strict", XLM, "clawback", "dave", 5), "balance.rs:325", error=2),
    AssetCase("clawback from the issuer", call("strict", STRICT, "clawback", "strict", 5), "balance.rs:306", error=2),
    AssetCase(
        "clawback from a contract without a balance",
        call("strict", STRICT, "clawback", "vault", 0),
        "balance.rs:358",
        error=10,
    ),
    AssetCase(
        "clawback from a contract",
        call("strict", STRICT, "clawback", "vault", 5),
        "balance.rs:348",
        event=("clawback", ["vault"], 5),
        before=STRICT_IN_VAULT,
    ),
    AssetCase(
        "clawback from a contract that holds KALE",
        call("alice", KALE, "clawback", "vault", 5),
        "balance.rs:348",
        error=10,
        before=IN_VAULT,
    ),
    AssetCase(
        "clawback from who is not authorised",
        call("strict", STRICT, "clawback", "dave", 5),
        "contract.rs:310",
        event=("clawback", ["dave"], 5),
        before=[call("strict", STRICT, "set_authorized", "dave", False)],
    ),
    AssetCase(
        "set_authorized",
        call("strict", STRICT, "set_authorized", "erin", True),
        "contract.rs:317",
        event=("set_authorized", ["erin"], True),
    ),
    AssetCase(
        "set_authorized false",
        call("strict", STRICT, "set_authorized", "dave", False),
        "balance.rs:909",
        event=("set_authorized", ["dave"], False),
    ),
    AssetCase(
        "transfers end there",
        call("dave", STRICT, "transfer", "dave", "strict", 1),
        "balance.rs:223",
        error=11,
        before=[call("strict", STRICT, "set_authorized", "dave", False)],
    ),
    AssetCase(
        "set_authorized false without the right to",
        call("open", OPEN, "set_authorized", "frank", False),
        "balance.rs:264",
        error=2,
    ),
    AssetCase(
        "set_authorized where there is no line",
        call("strict", STRICT, "set_authorized", "alice", True),
        "balance.rs:574",
        error=13,
    ),
    AssetCase(
        "set_authorized of the issuer",
        call("strict", STRICT, "set_authorized", "strict", True),
        "balance.rs:849",
        error=2,
    ),
    AssetCase(
        "set_authorized of a contract",
        call("strict", STRICT, "set_authorized", "vault", True),
        "balance.rs:280",
        event=("set_authorized", ["vault"], True),
    ),
    AssetCase(
        "an authorised contract is paid",
        call("dave", STRICT, "transfer", "dave", "vault", 5),
        "balance.rs:239",
        event=("transfer", ["dave", "vault"], 5),
        before=STRICT_IN_VAULT,
    ),
    AssetCase(
        "set_admin, and the old one mints no more",
        call("open", OPEN, "set_admin", "alice"),
        "contract.rs:356",
        event=("set_admin", ["open"], "alice"),
    ),
    AssetCase(
        "the new admin mints",
        call("alice", OPEN, "mint", "frank", 5),
        "admin.rs:10",
        event=("mint", ["frank"], 5),
        before=[call("open", OPEN, "set_admin", "alice")],
    ),
    AssetCase("trust", call("carol", OPEN, "trust", "carol"), "contract.rs:403"),
    AssetCase("trust again", call("frank", OPEN, "trust", "frank"), "balance.rs:997"),
    AssetCase("trust of a contract", call("frank", OPEN, "trust", "vault"), "balance.rs:954"),
    AssetCase("trust of XLM", call("frank", XLM, "trust", "frank"), "balance.rs:969", error=2),
    AssetCase("trust of the issuer", call("open", OPEN, "trust", "open"), "balance.rs:987", error=2),
    AssetCase(
        "what trust has opened takes payments",
        call("frank", OPEN, "transfer", "frank", "carol", 5),
        "balance.rs:1084",
        event=("transfer", ["frank", "carol"], 5),
        before=[call("carol", OPEN, "trust", "carol")],
    ),
    AssetCase("decimals", call("bob", KALE, "decimals"), "contract.rs:376", returns=7),
    AssetCase("name", call("bob", XLM, "name"), "contract.rs:382", returns="native"),
    AssetCase("symbol", call("bob", KALE, "symbol"), "contract.rs:387", returns="KALE"),
]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def _do(fork: Fork, item: Step | Invocation) -> tuple[str | None, xdr.SCVal | None, Any]:
    if isinstance(item, Step):
        fork.step(item)
        return None, None, None
    return fork.invoke(item.source, item.asset, item.function, *_values(item))


def _plain(value: xdr.SCVal) -> Any:
    """A value as cases write it: accounts by name, text as text, {amount, to_muxed_id} as a pair."""
    if value.address is not None:
        strkey = scval.from_address(value).address
        known = {
            keypair(name).public_key: name
            for name in ("alice", "bob", "carol", "dave", "erin", "frank", "new", "open", "strict")
        }
        return known.get(strkey, "vault" if strkey == VAULT else strkey)
    if value.map is not None:
        return tuple(_plain(item.val) for item in value.map.sc_map)
    native = scval.to_native(value)
    return native.decode() if isinstance(native, bytes) else native


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_asset_contract_does_as_the_hosts_does(world: World, case: AssetCase) -> None:
    assert SOURCE_LINE.fullmatch(case.at)
    fork = world.fork()
    for item in case.before:
        error, _, _ = _do(fork, item)
        assert error is None, error
    error, value, record = _do(fork, case.invocation)
    if case.error is not None:
        assert error == f"HostError: Error(Contract, #{case.error})"
        return
    assert error is None and value is not None and record is not None
    assert _plain(value) == case.returns
    found = []
    for packed in record.operation_events[0]:
        event = xdr.ContractEvent.from_xdr_bytes(packed).body.v0
        assert event is not None
        name, *addresses, _ = event.topics
        found.append((scval.from_symbol(name), [_plain(item) for item in addresses], _plain(event.data)))
    assert found == ([] if case.event is None else [case.event])


SENT = [
    ("XLM to an account", XLM, "alice", "bob"),
    ("XLM to a contract", XLM, "alice", "vault"),
    ("KALE to an account", KALE, "alice", "bob"),
    ("KALE to a contract", KALE, "alice", "vault"),
    ("an issuer's to a contract", OPEN, "open", "vault"),
]


@pytest.mark.parametrize(("name", "asset", "source", "to"), SENT, ids=[row[0] for row in SENT])
def test_a_transfer_is_within_what_sdks_declare_unseen(
    world: World, name: str, asset: xdr.Asset, source: str, to: str
) -> None:
    """addSacTransferOperation of the JavaScript SDK: 400,000 instructions, 1,000 bytes read and written."""
    fork = world.fork()
    for _ in range(2):  # the second one finds a balance there
        simulated = fork.simulate(
            fork.build_call(source, asset, "transfer", [address(source), address(to), scval.to_int128(5)])
        )
        resources = xdr.SorobanTransactionData.from_xdr_bytes(simulated.transaction_data).resources
        leeway = 50_000  # what a simulation adds
        assert resources.instructions.uint32 - leeway <= 400_000
        assert max(resources.disk_read_bytes.uint32, resources.write_bytes.uint32) <= 1_000
        assert _do(fork, call(source, asset, "transfer", source, to, 5))[0] is None


def test_only_the_admin_mints(world: World) -> None:
    fork = world.fork()
    envelope = fork.build_call("frank", OPEN, "mint", [address("frank"), scval.to_int128(5)])
    simulated = fork.simulate(envelope)
    (entry,) = [xdr.SorobanAuthorizationEntry.from_xdr_bytes(packed) for packed in simulated.auth]
    assert entry.credentials.address_v2 is not None  # whom it takes: the issuer
    envelope.transaction.soroban_data = xdr.SorobanTransactionData.from_xdr_bytes(simulated.transaction_data)
    envelope.transaction.fee = 100 + simulated.resource_fee
    envelope.sign(keypair("frank"))
    assert fork.submit(envelope).status is SendStatus.PENDING
    (record,) = fork.close().transactions
    assert not record.success


def test_an_allowance_ends_with_its_last_ledger(world: World) -> None:
    """allowance.rs:21."""
    fork = world.fork()
    last = fork.ledger.header.sequence + 3
    assert _do(fork, call("alice", KALE, "approve", "alice", "carol", 5, last))[0] is None
    while fork.ledger.header.sequence < last:
        fork.close()
    (allowance,) = [_do(fork, call("bob", KALE, "allowance", "alice", "carol"))[1]]
    assert allowance is not None and scval.from_int128(allowance) == 5  # simulated in the last ledger
    fork.close()
    error, _, _ = _do(fork, call("carol", KALE, "transfer_from", "carol", "alice", "bob", 1))
    assert error == "HostError: Error(Contract, #9)"


def test_what_is_no_contract_authorises_nothing(world: World) -> None:
    fork = world.fork()
    assert _do(fork, IN_VAULT[0])[0] is None
    envelope = fork.build_call("alice", KALE, "transfer", [address("vault"), address("alice"), scval.to_int128(5)])
    simulated = fork.simulate(envelope)
    (entry,) = [xdr.SorobanAuthorizationEntry.from_xdr_bytes(packed) for packed in simulated.auth]
    assert entry.credentials.address_v2 is not None
    entry.credentials.address_v2.signature_expiration_ledger = xdr.Uint32(fork.ledger.header.sequence + 9)
    envelope.transaction.soroban_data = xdr.SorobanTransactionData.from_xdr_bytes(simulated.transaction_data)
    envelope.transaction.fee = 100 + simulated.resource_fee
    envelope.transaction.operations[0].auth = [entry]
    envelope.sign(keypair("alice"))
    _, result, record = fork.send(envelope)
    assert record is not None and names(result) == ["INVOKE_HOST_FUNCTION_TRAPPED"]
    assert any(b"trying to get non-existing value for contract instance" in event for event in record.diagnostics)
