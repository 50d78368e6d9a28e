"""A devnet without HTTP, whose ledgers close by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from stellar_sdk import (
    Account,
    Asset,
    FeeBumpTransactionEnvelope,
    Keypair,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)

from kalepool.devnet import wire
from kalepool.devnet.genesis import derived_keypair
from kalepool.devnet.ledger.closing import Closed
from kalepool.devnet.ledger.meta import TransactionRecord
from kalepool.devnet.ledger.queue import QueueAnswer
from kalepool.devnet.node import Node
from kalepool.devnet.soroban.authorisation import AuthMode
from kalepool.devnet.soroban.kale_state import read_farm, read_pail
from kalepool.devnet.soroban.simulation import Simulated, simulate
from kalepool.networks import DEVNET

ISSUER = derived_keypair(DEVNET, "issuer")
BANKER = derived_keypair(DEVNET, "friendbot")
KALE = Asset(DEVNET.asset_code, DEVNET.asset_issuer)

Compose = Callable[[TransactionBuilder], TransactionBuilder]


def keypair(name: str) -> Keypair:
    """The same key for the same name in every run."""
    return Keypair.from_raw_ed25519_seed(sha256(name.encode()).digest())


@dataclass
class Chain:
    """Builds, sends and applies transactions the short way."""

    node: Node
    kale: Asset = KALE
    issuer: Keypair = ISSUER
    banker: Keypair = BANKER
    keypair: Callable[[str], Keypair] = field(default=keypair)

    def build(
        self,
        source: Keypair,
        compose: Compose,
        *,
        fee: int = 100,
        sequence: int | None = None,
        bounds: tuple[int, int] = (0, 0),
    ) -> TransactionEnvelope:
        """An unsigned transaction; its sequence is the account's next unless given."""
        if sequence is None:
            account = self.node.ledger.view.account(source.raw_public_key())
            sequence = 0 if account is None else account.sequence + 1
        builder = TransactionBuilder(Account(source.public_key, sequence - 1), DEVNET.passphrase, base_fee=fee)
        return compose(builder.add_time_bounds(*bounds)).build()

    def submit(self, envelope: TransactionEnvelope | FeeBumpTransactionEnvelope) -> QueueAnswer:
        packed = envelope.to_xdr_object().to_xdr_bytes()
        return self.node.submit(self.node.ledger.parse(packed))

    def close(self, seconds: int = 1) -> Closed:
        return self.node.close_ledger(seconds)

    def apply(self, envelope: TransactionEnvelope | FeeBumpTransactionEnvelope) -> TransactionRecord:
        """Sends a signed transaction and closes the ledger that takes it."""
        answer = self.submit(envelope)
        assert answer.status == "PENDING", answer
        return next(record for record in self.close().transactions if record.hash == envelope.hash())

    def send(self, source: Keypair, compose: Compose, *signers: Keypair, **options: Any) -> TransactionRecord:
        """Builds, signs by the source and the signers, and applies."""
        envelope = self.build(source, compose, **options)
        for signer in (source, *signers):
            envelope.sign(signer)
        return self.apply(envelope)

    def fund(self, *names: str, kale: str | None = "1000", xlm: str = "1000") -> list[Keypair]:
        """Accounts with XLM, and with KALE unless that is None."""
        keys = [keypair(name) for name in names]
        for key in keys:
            self.must(self.send(self.banker, lambda b, k=key: b.append_create_account_op(k.public_key, xlm)))
            if kale is not None:
                self.must(self.send(key, lambda b: b.append_change_trust_op(KALE)))
                self.must(self.send(self.issuer, lambda b, k=key: b.append_payment_op(k.public_key, KALE, kale)))
        return keys

    def must(self, record: TransactionRecord) -> TransactionRecord:
        assert record.success, xdr.TransactionResult.from_xdr_bytes(record.result)
        return record

    def operations(self, record: TransactionRecord) -> list[int]:
        """The result code of each operation; those that did not run give their outer code."""
        result = xdr.TransactionResult.from_xdr_bytes(record.result).result
        if result.inner_result_pair is not None:
            results = result.inner_result_pair.result.result.results
        else:
            results = result.results
        codes = []
        for item in results or []:
            packed = item.to_xdr_bytes()
            inner = packed[:4] == bytes(4)
            codes.append(int.from_bytes(packed[8:12] if inner else packed[:4], "big", signed=True))
        return codes

    # --- Soroban

    def simulate(self, envelope: TransactionEnvelope, mode: AuthMode = AuthMode.RECORD) -> Simulated:
        ledger = self.node.ledger
        return simulate(
            ledger.parse(envelope.to_xdr_object().to_xdr_bytes()),
            ledger.view,
            ledger.info,
            self.node.contracts,
            mode=mode,
            upgraded_auth=True,
            instruction_leeway=0,
        )

    def call(self, source: Keypair, contract: str, function: str, *args: xdr.SCVal) -> TransactionEnvelope:
        return self.build(source, lambda b: b.append_invoke_contract_function_op(contract, function, list(args)))

    def prepare(self, source: Keypair, contract: str, function: str, *args: xdr.SCVal) -> TransactionEnvelope:
        """A contract call with what its simulation found, signed by the source."""
        envelope = self.call(source, contract, function, *args)
        simulated = self.simulate(envelope)
        assert simulated.error is None, simulated.error
        self.assemble(envelope, simulated)
        envelope.sign(source)
        return envelope

    def assemble(self, envelope: TransactionEnvelope, simulated: Simulated) -> None:
        envelope.transaction.soroban_data = xdr.SorobanTransactionData.from_xdr_bytes(simulated.transaction_data)
        envelope.transaction.fee = 100 + simulated.resource_fee
        operation: Any = envelope.transaction.operations[0]
        operation.auth = [xdr.SorobanAuthorizationEntry.from_xdr_bytes(entry) for entry in simulated.auth]

    def plant(self, farmer: Keypair, stroops: int = 0) -> TransactionEnvelope:
        return self.prepare(
            farmer, DEVNET.contract_id, "plant", scval.to_address(farmer.public_key), scval.to_int128(stroops)
        )

    # --- looking at the state

    def account(self, key: Keypair) -> Any:
        return self.node.ledger.view.account(key.raw_public_key())

    def kale_of(self, key: Keypair) -> int | None:
        line = self.node.ledger.view.trustline(key.raw_public_key(), KALE.to_xdr_object().to_xdr_bytes())
        return None if line is None else line.balance

    @property
    def farm(self) -> Any:
        return read_farm(self.node.ledger)

    def pail(self, farmer: Keypair, index: int = 0) -> Any:
        return read_pail(self.node.ledger, farmer.public_key, index)

    def meta(self, record: TransactionRecord) -> Any:
        """TransactionMeta V4."""
        return xdr.TransactionMeta.from_xdr_bytes(record.meta).v4

    def diagnostics(self, record: TransactionRecord) -> list[tuple[str | None, Any, Any]]:
        """(contract, topics, data) of every diagnostic event, as plain values."""
        found = []
        for packed in record.diagnostics:
            event = xdr.DiagnosticEvent.from_xdr_bytes(packed).event
            assert event.body.v0 is not None
            contract = None
            if event.contract_id is not None:
                contract = wire.contract_strkey(event.contract_id.contract_id.hash)
            topics = [_plain(topic) for topic in event.body.v0.topics]
            found.append((contract, topics, _plain(event.body.v0.data)))
        return found


def _plain(value: xdr.SCVal) -> Any:
    if value.error is not None:
        return value.error
    native = scval.to_native(value)
    return getattr(native, "address", native)


@pytest.fixture
def chain() -> Iterator[Chain]:
    node = Node(None, ledger_seconds=0, block_seconds=60)
    yield Chain(node)
    node.close()


@pytest.fixture
def open_chain() -> Iterator[Callable[..., Chain]]:
    """Opens chains with a folder, a capacity or blocks of their own."""
    nodes: list[Node] = []

    def open_one(folder: Path | None = None, *, capacity: int = 100, block_seconds: int = 60) -> Chain:
        node = Node(folder, ledger_seconds=0, block_seconds=block_seconds, capacity=capacity)
        nodes.append(node)
        return Chain(node)

    yield open_one
    for node in nodes:
        node.close()
