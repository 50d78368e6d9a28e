"""A key that lives on the devnet itself: friendbot's minions and the rivals send their transactions through this.

They go the way of everybody's: built and signed with stellar-sdk, simulated, queued, applied by a ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stellar_sdk import Account, Keypair, TransactionBuilder, TransactionEnvelope, xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.queue import SendStatus
from kalepool.devnet.node import Node
from kalepool.devnet.soroban.authorisation import AuthMode
from kalepool.devnet.soroban.simulation import simulate

Compose = Callable[[TransactionBuilder], TransactionBuilder]

_FEE = 10_000
"""Stroops per operation: above the minimum, so that a full ledger still takes it."""


class WalletError(Exception):
    """The network refused or failed a transaction; the message has its reason."""


@dataclass(frozen=True, slots=True)
class AppliedTransaction:
    """A transaction that was applied and succeeded. `ledger` is the one that took it."""

    hash: bytes
    envelope: bytes
    ledger: int


class Wallet:
    """One account of the devnet. It sends one transaction at a time."""

    def __init__(self, node: Node, keypair: Keypair) -> None:
        self._node = node
        self._keypair = keypair

    @property
    def address(self) -> str:
        return self._keypair.public_key

    async def send(self, compose: Compose, *signers: Keypair) -> AppliedTransaction:
        """Sends classic operations and waits until they are applied. WalletError where they are not."""
        envelope = compose(self._builder()).build()
        return await self._submit(envelope, *signers)

    async def invoke(
        self, contract: str, function: str, *args: xdr.SCVal, source: Keypair | None = None
    ) -> AppliedTransaction:
        """Simulates a contract call, sends it and waits until it is applied. WalletError where it fails.

        `source` calls it instead of this account, which then pays the fee only.
        """
        caller = None if source is None else source.public_key
        builder = self._builder().append_invoke_contract_function_op(contract, function, list(args), source=caller)
        envelope = builder.build()
        ledger = self._node.ledger
        simulated = simulate(
            ledger.parse(envelope.to_xdr_object().to_xdr_bytes()),
            ledger.view,
            ledger.info,
            self._node.contracts,
            mode=AuthMode.RECORD,
            upgraded_auth=False,
            instruction_leeway=0,
        )
        if simulated.error is not None:
            raise WalletError(simulated.error.partition("\n")[0])
        envelope.transaction.soroban_data = xdr.SorobanTransactionData.from_xdr_bytes(simulated.transaction_data)
        envelope.transaction.fee = _FEE + simulated.resource_fee
        operation = envelope.transaction.operations[0]
        entries = [xdr.SorobanAuthorizationEntry.from_xdr_bytes(entry) for entry in simulated.auth]
        operation.auth = entries  # pyright: ignore[reportAttributeAccessIssue]
        return await self._submit(envelope, *(() if source is None else (source,)))

    def _builder(self) -> TransactionBuilder:
        account = self._node.ledger.view.account(wire.account_key(self.address))
        if account is None:
            raise WalletError(f"account {self.address} does not exist")
        source = Account(self.address, account.sequence)
        return TransactionBuilder(source, self._node.ledger.passphrase, base_fee=_FEE).add_time_bounds(0, 0)

    async def _submit(self, envelope: TransactionEnvelope, *signers: Keypair) -> AppliedTransaction:
        for signer in (self._keypair, *signers):
            envelope.sign(signer)
        packed = envelope.to_xdr_object().to_xdr_bytes()
        transaction = self._node.ledger.parse(packed)
        # Not through Node.submit: faults are for clients.
        answer = self._node.ledger.submit(transaction)
        if answer.status is not SendStatus.PENDING:
            code = "" if answer.result is None else f": {answer.result.code.name}"
            raise WalletError(f"the network said {answer.status.value}{code}")
        if not await self._node.wait_applied(transaction.hash):
            raise WalletError(f"transaction {transaction.hash.hex()} failed or was dropped")
        return AppliedTransaction(transaction.hash, packed, self._node.ledger.header.sequence)
