"""What stellar-core does with operations, as data: cases, the world they run in, and the words they are written in.

Every case names the line of stellar-core's source that decides it (`CORE_VERSION`, below src/transactions unless a
folder is given). Accounts are called by name: each name has the same key in every run. Amounts are stroops.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from hashlib import sha256
from typing import Any

from stellar_sdk import Account, Asset, Keypair, MuxedAccount, TransactionBuilder, TransactionEnvelope, xdr

from kalepool.devnet.genesis import contracts, derived_keypair, genesis
from kalepool.devnet.ledger.closing import Closed, DevnetLedger, asset_contract_id
from kalepool.devnet.ledger.ledger_entries import LedgerEntry
from kalepool.devnet.ledger.meta import Header, TransactionRecord
from kalepool.devnet.ledger.queue import QueueAnswer
from kalepool.devnet.soroban.asset_contract import AssetContract, pack_asset_instance
from kalepool.devnet.soroban.authorisation import AuthMode
from kalepool.devnet.soroban.invoke import apply
from kalepool.devnet.soroban.simulation import Simulated, simulate
from kalepool.networks import DEVNET

CORE_VERSION = "v27.1.0"
SOURCE_LINE = re.compile(r"(\w+/)?\w+\.(cpp|h|rs|go):\d+")

UNIT = 10_000_000
LIMIT = 2**63 - 1


@lru_cache
def keypair(name: str) -> Keypair:
    """The key of a name; `issuer` and `friendbot` are the devnet's own."""
    if name in ("issuer", "friendbot"):
        return derived_keypair(DEVNET, name)
    return Keypair.from_raw_ed25519_seed(sha256(name.encode()).digest())


# --- the words cases are written in


def account_id(name: str) -> xdr.AccountID:
    return keypair(name).xdr_account_id()


def muxed(name: str) -> xdr.MuxedAccount:
    """A G… address; M… where the name ends in an id: `bob#7`."""
    name, _, number = name.partition("#")
    return MuxedAccount(keypair(name).public_key, int(number) if number else None).to_xdr_object()


def asset(code: bytes, issuer: str, size: int = 0) -> xdr.Asset:
    """A credit asset, of 4 or 12 characters by its length unless `size` says; valid or not."""
    if (size or len(code)) <= 4:
        short = xdr.AlphaNum4(xdr.AssetCode4(code.ljust(4, b"\0")), account_id(issuer))
        return xdr.Asset(xdr.AssetType.ASSET_TYPE_CREDIT_ALPHANUM4, alpha_num4=short)
    long = xdr.AlphaNum12(xdr.AssetCode12(code.ljust(12, b"\0")), account_id(issuer))
    return xdr.Asset(xdr.AssetType.ASSET_TYPE_CREDIT_ALPHANUM12, alpha_num12=long)


XLM = xdr.Asset(xdr.AssetType.ASSET_TYPE_NATIVE)
KALE = asset(DEVNET.asset_code.encode(), "issuer")
STRICT = asset(b"STRICT", "strict")  # its issuer authorises, revokes and claws back
OPEN = asset(b"OPEN", "open")  # its issuer does nothing of it
INVALID_ASSETS = {
    "empty": asset(b"", "issuer"),
    "with a blank": asset(b"A B", "issuer"),
    "with a zero inside": asset(b"A\0B", "issuer"),
    "no ASCII": asset(b"\xc3\x84", "issuer"),
    "with a hyphen": asset(b"A-B", "issuer"),
    "long kind, four characters": asset(b"ABCD", "issuer", 12),
    "long kind, with a zero inside": asset(b"ABCDE\0F", "issuer"),
    "long kind, no ASCII": asset(b"ABCDE\xff", "issuer"),
}


def operation(kind: xdr.OperationType, source: str | None = None, **arm: Any) -> xdr.Operation:
    return xdr.Operation(None if source is None else muxed(source), xdr.OperationBody(kind, **arm))


Type = xdr.OperationType
_i64, _u32 = xdr.Int64, xdr.Uint32


def create(name: str, amount: int, source: str | None = None) -> xdr.Operation:
    op = xdr.CreateAccountOp(account_id(name), _i64(amount))
    return operation(Type.CREATE_ACCOUNT, source, create_account_op=op)


def pay(to: str, amount: int, what: xdr.Asset = XLM, source: str | None = None) -> xdr.Operation:
    return operation(Type.PAYMENT, source, payment_op=xdr.PaymentOp(muxed(to), what, _i64(amount)))


def merge(to: str, source: str | None = None) -> xdr.Operation:
    return operation(Type.ACCOUNT_MERGE, source, destination=muxed(to))


def trust(what: xdr.Asset, limit: int = LIMIT, source: str | None = None) -> xdr.Operation:
    line = xdr.ChangeTrustAsset(what.type, what.alpha_num4, what.alpha_num12)
    return operation(Type.CHANGE_TRUST, source, change_trust_op=xdr.ChangeTrustOp(line, _i64(limit)))


def allow(name: str, code: xdr.Asset, authorize: int, source: str | None = None) -> xdr.Operation:
    short = None if code.alpha_num4 is None else code.alpha_num4.asset_code
    long = None if code.alpha_num12 is None else code.alpha_num12.asset_code
    op = xdr.AllowTrustOp(account_id(name), xdr.AssetCode(code.type, short, long), _u32(authorize))
    return operation(Type.ALLOW_TRUST, source, allow_trust_op=op)


def set_flags(name: str, what: xdr.Asset, *, add: int = 0, clear: int = 0, source: str | None = None) -> xdr.Operation:
    op = xdr.SetTrustLineFlagsOp(account_id(name), what, _u32(clear), _u32(add))
    return operation(Type.SET_TRUST_LINE_FLAGS, source, set_trust_line_flags_op=op)


def claw_back(name: str, amount: int, what: xdr.Asset, source: str | None = None) -> xdr.Operation:
    return operation(Type.CLAWBACK, source, clawback_op=xdr.ClawbackOp(what, muxed(name), _i64(amount)))


def data(name: bytes, value: bytes | None = b"value", source: str | None = None) -> xdr.Operation:
    op = xdr.ManageDataOp(xdr.String64(name), None if value is None else xdr.DataValue(value))
    return operation(Type.MANAGE_DATA, source, manage_data_op=op)


def bump(to: int, source: str | None = None) -> xdr.Operation:
    op = xdr.BumpSequenceOp(xdr.SequenceNumber(_i64(to)))
    return operation(Type.BUMP_SEQUENCE, source, bump_sequence_op=op)


def _optional_u32(number: int | None) -> xdr.Uint32 | None:
    return None if number is None else _u32(number)


def options(
    *,
    source: str | None = None,
    inflation: str | None = None,
    add: int | None = None,
    clear: int | None = None,
    master: int | None = None,
    low: int | None = None,
    medium: int | None = None,
    high: int | None = None,
    domain: bytes | None = None,
    signer: tuple[xdr.SignerKey, int] | None = None,
) -> xdr.Operation:
    op = xdr.SetOptionsOp(
        inflation_dest=None if inflation is None else account_id(inflation),
        clear_flags=_optional_u32(clear),
        set_flags=_optional_u32(add),
        master_weight=_optional_u32(master),
        low_threshold=_optional_u32(low),
        med_threshold=_optional_u32(medium),
        high_threshold=_optional_u32(high),
        home_domain=None if domain is None else xdr.String32(domain),
        signer=None if signer is None else xdr.Signer(signer[0], _u32(signer[1])),
    )
    return operation(Type.SET_OPTIONS, source, set_options_op=op)


def begin_sponsoring(name: str, source: str | None = None) -> xdr.Operation:
    op = xdr.BeginSponsoringFutureReservesOp(account_id(name))
    return operation(Type.BEGIN_SPONSORING_FUTURE_RESERVES, source, begin_sponsoring_future_reserves_op=op)


def end_sponsoring(source: str | None = None) -> xdr.Operation:
    return operation(Type.END_SPONSORING_FUTURE_RESERVES, source)


def signer_key(name: str) -> xdr.SignerKey:
    key = xdr.Uint256(keypair(name).raw_public_key())
    return xdr.SignerKey(xdr.SignerKeyType.SIGNER_KEY_TYPE_ED25519, ed25519=key)


def hash_key(preimage: bytes) -> xdr.SignerKey:
    digest = xdr.Uint256(sha256(preimage).digest())
    return xdr.SignerKey(xdr.SignerKeyType.SIGNER_KEY_TYPE_HASH_X, hash_x=digest)


def payload_key(name: str, payload: bytes) -> xdr.SignerKey:
    signed = xdr.SignerKeyEd25519SignedPayload(xdr.Uint256(keypair(name).raw_public_key()), payload)
    kind = xdr.SignerKeyType.SIGNER_KEY_TYPE_ED25519_SIGNED_PAYLOAD
    return xdr.SignerKey(kind, ed25519_signed_payload=signed)


def pre_authorised_key(digest: bytes) -> xdr.SignerKey:
    return xdr.SignerKey(xdr.SignerKeyType.SIGNER_KEY_TYPE_PRE_AUTH_TX, pre_auth_tx=xdr.Uint256(digest))


Kind = xdr.ClaimPredicateType
ALWAYS = xdr.ClaimPredicate(Kind.CLAIM_PREDICATE_UNCONDITIONAL)


def before_time(unix: int) -> xdr.ClaimPredicate:
    return xdr.ClaimPredicate(Kind.CLAIM_PREDICATE_BEFORE_ABSOLUTE_TIME, abs_before=_i64(unix))


def within(seconds: int) -> xdr.ClaimPredicate:
    return xdr.ClaimPredicate(Kind.CLAIM_PREDICATE_BEFORE_RELATIVE_TIME, rel_before=_i64(seconds))


def negated(predicate: xdr.ClaimPredicate | None) -> xdr.ClaimPredicate:
    return xdr.ClaimPredicate(Kind.CLAIM_PREDICATE_NOT, not_predicate=predicate)


def both(*predicates: xdr.ClaimPredicate) -> xdr.ClaimPredicate:
    return xdr.ClaimPredicate(Kind.CLAIM_PREDICATE_AND, and_predicates=list(predicates))


def either(*predicates: xdr.ClaimPredicate) -> xdr.ClaimPredicate:
    return xdr.ClaimPredicate(Kind.CLAIM_PREDICATE_OR, or_predicates=list(predicates))


def nested(depth: int) -> xdr.ClaimPredicate:
    """A predicate of that many levels."""
    return ALWAYS if depth == 1 else negated(nested(depth - 1))


def hold(
    claimants: dict[str, xdr.ClaimPredicate] | Sequence[str],
    amount: int,
    what: xdr.Asset = XLM,
    source: str | None = None,
) -> xdr.Operation:
    """CreateClaimableBalance."""
    pairs = claimants.items() if isinstance(claimants, dict) else [(name, ALWAYS) for name in claimants]
    each = [
        xdr.Claimant(xdr.ClaimantType.CLAIMANT_TYPE_V0, xdr.ClaimantV0(account_id(name), predicate))
        for name, predicate in pairs
    ]
    op = xdr.CreateClaimableBalanceOp(what, _i64(amount), each)
    return operation(Type.CREATE_CLAIMABLE_BALANCE, source, create_claimable_balance_op=op)


FIRST = b"the balance that the step before made"
"""Stands for the id of the claimable balance that was made first in the case."""


def balance_id(digest: bytes) -> xdr.ClaimableBalanceID:
    return xdr.ClaimableBalanceID(
        xdr.ClaimableBalanceIDType.CLAIMABLE_BALANCE_ID_TYPE_V0, xdr.Hash(digest.ljust(32, b"\0")[:32])
    )


def claim(digest: bytes = FIRST, source: str | None = None) -> xdr.Operation:
    op = xdr.ClaimClaimableBalanceOp(balance_id(digest))
    return operation(Type.CLAIM_CLAIMABLE_BALANCE, source, claim_claimable_balance_op=op)


def claw_back_balance(digest: bytes = FIRST, source: str | None = None) -> xdr.Operation:
    op = xdr.ClawbackClaimableBalanceOp(balance_id(digest))
    return operation(Type.CLAWBACK_CLAIMABLE_BALANCE, source, clawback_claimable_balance_op=op)


# --- cases


@dataclass(frozen=True)
class Step:
    """A transaction: its source, its operations, who signs beside the source, and the seconds its ledger takes."""

    source: str
    operations: Sequence[xdr.Operation]
    signers: tuple[str, ...] = ()
    seconds: int = 1


@dataclass(frozen=True)
class Case:
    """Operations and the names of the codes they end with; `at` is the line of stellar-core's source that decides.

    `refused`: the queue says so, else a ledger. `signed` False leaves the source's signature out.
    """

    name: str
    operations: Sequence[xdr.Operation]
    results: Sequence[str]
    at: str
    source: str = "alice"
    signers: tuple[str, ...] = ()
    before: Sequence[Step] = ()
    refused: bool = False
    signed: bool = True
    seconds: int = 1
    code: str = field(default="")

    @property
    def expected_code(self) -> str:
        if self.code:
            return self.code
        return "txSUCCESS" if all(name.endswith("_SUCCESS") for name in self.results) else "txFAILED"


class _RawOperation:
    """An operation that the SDK need not like."""

    def __init__(self, operation: xdr.Operation) -> None:
        self._operation = operation
        self.source = None

    def to_xdr_object(self) -> xdr.Operation:
        return self._operation


class Fork:
    """A ledger that goes its own way from a state; what it closes is kept nowhere."""

    def __init__(self, entries: dict[bytes, LedgerEntry], header: Header) -> None:
        self.contracts = {**contracts(60), **_asset_contracts()}
        run = partial(apply, contracts=self.contracts)
        self.ledger = DevnetLedger(DEVNET.passphrase, run, entries, header, capacity=100, keep=lambda closed: None)
        self.closed: Closed | None = None
        self._first: bytes | None = None

    def build(
        self, source: str, operations: Sequence[xdr.Operation], *, fee: int = 100, sequence: int | None = None
    ) -> TransactionEnvelope:
        """An unsigned transaction; FIRST in its operations stands for the first balance made."""
        name, _, number = source.partition("#")
        account = self.ledger.view.account(keypair(name).raw_public_key())
        last = account.sequence if account is not None and sequence is None else (sequence or 1) - 1
        address = MuxedAccount(keypair(name).public_key, int(number)) if number else keypair(name).public_key
        builder = TransactionBuilder(Account(address, last), DEVNET.passphrase, base_fee=fee).add_time_bounds(0, 0)
        envelope = builder.build()
        envelope.transaction.operations = [_RawOperation(self._resolve(item)) for item in operations]  # pyright: ignore
        envelope.transaction.fee = fee * len(operations)
        return envelope

    def _resolve(self, item: xdr.Operation) -> xdr.Operation:
        if self._first is None:
            return item
        packed = item.to_xdr_bytes().replace(FIRST[:32].ljust(32, b"\0"), self._first)
        return xdr.Operation.from_xdr_bytes(packed)

    def submit(self, envelope: Any) -> QueueAnswer:
        return self.ledger.submit(self.ledger.parse(envelope.to_xdr_object().to_xdr_bytes()))

    def close(self, seconds: int = 1) -> Closed:
        self.closed = self.ledger.close(self.ledger.header.close_time + seconds)
        return self.closed

    def send(self, envelope: Any, seconds: int = 1) -> tuple[bool, xdr.TransactionResult, TransactionRecord | None]:
        """(refused by the queue, the result, the record where it was applied)."""
        answer = self.submit(envelope)
        if answer.result is not None:
            packed = answer.result.pack(self.ledger.parse(envelope.to_xdr_object().to_xdr_bytes()))
            return True, parse_result(packed), None
        assert answer.status == "PENDING", answer
        (record,) = self.close(seconds).transactions
        result = parse_result(record.result)
        self._remember(result)
        return False, result, record

    def _remember(self, result: xdr.TransactionResult) -> None:
        for item in result.result.results or []:
            made = None if item.tr is None else item.tr.create_claimable_balance_result
            if made is not None and made.balance_id is not None and self._first is None:
                assert made.balance_id.v0 is not None
                self._first = made.balance_id.v0.hash

    def simulate(self, envelope: TransactionEnvelope) -> Simulated:
        return simulate(
            self.ledger.parse(envelope.to_xdr_object().to_xdr_bytes()),
            self.ledger.view,
            self.ledger.info,
            self.contracts,
            mode=AuthMode.RECORD,
            upgraded_auth=True,
            instruction_leeway=0,
        )

    def build_call(self, source: str, contract: xdr.Asset, function: str, args: Sequence[xdr.SCVal]) -> Any:
        """An unsigned call of an asset's contract."""
        account = self.ledger.view.account(keypair(source).raw_public_key())
        assert account is not None
        builder = TransactionBuilder(Account(keypair(source).public_key, account.sequence), DEVNET.passphrase)
        address = Asset.from_xdr_object(contract).contract_id(DEVNET.passphrase)
        return builder.append_invoke_contract_function_op(address, function, list(args)).add_time_bounds(0, 0).build()

    def invoke(
        self, source: str, contract: xdr.Asset, function: str, *args: xdr.SCVal, seconds: int = 1
    ) -> tuple[str | None, xdr.SCVal | None, TransactionRecord | None]:
        """Calls an asset's contract: (the simulation's error, the value returned, the record where it was applied)."""
        envelope = self.build_call(source, contract, function, args)
        simulated = self.simulate(envelope)
        if simulated.error is not None:
            return simulated.error.partition("\n")[0], None, None
        assert simulated.return_value is not None
        envelope.transaction.soroban_data = xdr.SorobanTransactionData.from_xdr_bytes(simulated.transaction_data)
        envelope.transaction.fee = 100 + simulated.resource_fee
        envelope.transaction.operations[0].auth = [
            xdr.SorobanAuthorizationEntry.from_xdr_bytes(entry) for entry in simulated.auth
        ]
        envelope.sign(keypair(source))
        refused, result, record = self.send(envelope, seconds)
        assert not refused and record is not None and record.success, names(result)
        return None, xdr.SCVal.from_xdr_bytes(simulated.return_value), record

    def step(self, step: Step) -> None:
        """A transaction that must succeed."""
        envelope = self.build(step.source, step.operations)
        for name in dict.fromkeys((step.source.partition("#")[0], *step.signers)):
            envelope.sign(keypair(name))
        refused, result, _ = self.send(envelope, step.seconds)
        assert not refused and result.result.code is xdr.TransactionResultCode.txSUCCESS, (step, names(result))

    def run(self, case: Case) -> tuple[bool, xdr.TransactionResult, TransactionRecord | None]:
        """What comes of a case."""
        for step in case.before:
            self.step(step)
        envelope = self.build(case.source, case.operations)
        own = (case.source.partition("#")[0],) if case.signed else ()
        for name in dict.fromkeys((*own, *case.signers)):
            envelope.sign(keypair(name))
        return self.send(envelope, case.seconds)


def parse_result(packed: bytes) -> xdr.TransactionResult:
    """A packed result, which must be exactly what the SDK makes of it."""
    result = xdr.TransactionResult.from_xdr_bytes(packed)
    assert result.to_xdr_bytes() == packed
    return result


def names(result: xdr.TransactionResult) -> list[str]:
    """The code of each operation; of one that did not run its outer code."""
    inner = result.result.inner_result_pair
    items = result.result.results if inner is None else inner.result.result.results
    return [_name(item) for item in items or []]


def _name(item: xdr.OperationResult) -> str:
    if item.tr is None:
        return item.code.name
    arms = (value for key, value in vars(item.tr).items() if key != "type" and value is not None)
    return next(arms).code.name


def _asset_contracts() -> dict[bytes, AssetContract]:
    """The contracts of assets that the devnet itself knows nothing of."""
    found: dict[bytes, AssetContract] = {}
    for item in (STRICT, OPEN):
        asset = Asset.from_xdr_object(item)
        code = AssetContract(asset.code, Keypair.from_public_key(asset.issuer or "").raw_public_key())
        found[asset_contract_id(sha256(DEVNET.passphrase.encode()).digest(), item.to_xdr_bytes())] = code
    return found


class World:
    """Accounts of every kind that cases ask for. Forks of it cost next to nothing."""

    def __init__(self) -> None:
        first = genesis(1_800_000_000, 100)
        entries = dict(first.entries)
        for contract, code in _asset_contracts().items():
            data = pack_asset_instance(contract, code, code.issuer)
            entries[data.ledger_key] = LedgerEntry(data, 1, 3_000_000)
        fork = Fork(entries, first.header)
        for step in _STEPS:
            fork.step(step)
        self._entries, self._header = fork.ledger.entries, fork.ledger.header

    def fork(self) -> Fork:
        return Fork(dict(self._entries), self._header)

    @cached_property
    def close_time(self) -> int:
        """Of the last ledger; a case's first ledger closes a second later."""
        return self._header.close_time


_RICH = ("alice", "bob", "carol", "full", "strict", "open", "dave", "erin", "frank", "fixed", "shared", "cosigner")
_STEPS = (
    Step("friendbot", [create(name, 1_000 * UNIT) for name in _RICH]),
    Step("friendbot", [create("poor", UNIT + 1_000), create("tight", UNIT + UNIT // 2 + 1_000)]),
    Step("strict", [options(add=1 | 2 | 8)]),
    Step("alice", [trust(KALE)]),
    Step("bob", [trust(KALE)]),
    Step("full", [trust(KALE, 1_000 * UNIT)]),
    Step("issuer", [pay(name, 1_000 * UNIT, KALE) for name in ("alice", "bob", "full")]),
    Step("dave", [trust(STRICT)]),
    Step("erin", [trust(STRICT)]),
    Step("frank", [trust(OPEN)]),
    Step("strict", [set_flags("dave", STRICT, add=1), pay("dave", 100 * UNIT, STRICT)]),
    Step("open", [pay("frank", 100 * UNIT, OPEN)]),
    Step("fixed", [options(add=4)]),
    Step("shared", [options(signer=(signer_key("cosigner"), 1), low=1, medium=2, high=3)]),
)
"""`poor` can pay fees only, `tight` one reserve more; `full` has no room; `shared` needs `cosigner` for payments."""
