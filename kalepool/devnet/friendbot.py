"""Friendbot: free XLM for new accounts, as on testnet, and here also KALE for accounts that trust it.

Every gift is a transaction of its own, sent the way everybody's are: one of friendbot's minions is the source, the
friendbot account (or the KALE issuer) pays.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from decimal import Decimal, InvalidOperation

from stellar_sdk import Account, Asset, Keypair, StrKey, TransactionBuilder

from kalepool.devnet import wire
from kalepool.devnet.genesis import FRIENDBOT_MINIONS, derived_keypair
from kalepool.devnet.node import Node
from kalepool.devnet.queue import Status
from kalepool.networks import DEVNET

STARTING_XLM = "10000"
_TIMEOUT_SECONDS = 60
_FEE = 10_000


class FriendbotError(Exception):
    """Friendbot does not give: the reason, as testnet's says it."""


class Friendbot:
    """Gives with as many transactions at once as it has minions."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._banker = derived_keypair(DEVNET, "friendbot")
        self._issuer = derived_keypair(DEVNET, "issuer")
        self._idle: asyncio.Queue[Keypair] = asyncio.Queue()
        for number in range(FRIENDBOT_MINIONS):
            self._idle.put_nowait(derived_keypair(DEVNET, f"friendbot {number}"))

    async def fund(self, address: str, kale: str | None = None) -> dict[str, object]:
        """Creates the account with 10,000 XLM where it is missing; pays `kale` KALE where that is asked for.

        Returns testnet friendbot's answer once the transaction was applied. FriendbotError where it cannot be.
        """
        if not StrKey.is_valid_ed25519_public_key(address):
            raise FriendbotError("The address must be a valid G... account")
        amount = None if kale is None else _read_amount(kale)
        key = wire.account_key(address)
        exists = self._node.ledger.view.account(key) is not None
        if exists and amount is None:
            raise FriendbotError("createAccountAlreadyExist (AAAAAAAAAGT/////AAAAAQAAAAAAAAAA/////AAAAAA=)")
        asset = Asset(DEVNET.asset_code, DEVNET.asset_issuer)
        if amount is not None and self._node.ledger.view.trustline(key, asset.to_xdr_object().to_xdr_bytes()) is None:
            raise FriendbotError(f"{address} has no trustline to {asset.code}:{asset.issuer} to receive KALE on")
        minion = await self._idle.get()
        try:
            return await self._send(minion, address, asset, amount)
        finally:
            self._idle.put_nowait(minion)

    async def _send(self, minion: Keypair, address: str, asset: Asset, kale: str | None) -> dict[str, object]:
        account = self._node.ledger.view.account(minion.raw_public_key())
        assert account is not None
        source = Account(minion.public_key, account.sequence)
        builder = TransactionBuilder(source, DEVNET.passphrase, base_fee=_FEE).add_time_bounds(0, 0)
        if kale is None:
            builder.append_create_account_op(address, STARTING_XLM, source=self._banker.public_key)
        else:
            builder.append_payment_op(address, asset, kale, source=self._issuer.public_key)
        envelope = builder.build()
        envelope.sign(minion)
        envelope.sign(self._banker if kale is None else self._issuer)
        packed = envelope.to_xdr_object().to_xdr_bytes()
        transaction = self._node.ledger.parse(packed)
        applied = asyncio.ensure_future(self._node.wait_applied(transaction.hash))
        # Not through Node.submit: faults are for clients.
        answer = self._node.ledger.submit(transaction)
        if answer.status is not Status.PENDING:
            applied.cancel()
            code = "" if answer.result is None else answer.result.code.name
            raise FriendbotError(f"the network said {answer.status.value} {code}".strip())
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            success = await applied
        if not success:
            reason = "createAccountAlreadyExist" if kale is None else "payment failed"
            raise FriendbotError(f"{reason}: transaction {transaction.hash.hex()} failed")
        return {
            "hash": transaction.hash.hex(),
            "successful": True,
            "ledger": self._node.ledger.header.sequence,
            "source_account": minion.public_key,
            "envelope_xdr": b64encode(packed).decode(),
        }


def _read_amount(text: str) -> str:
    try:
        amount = Decimal(text)
        if amount > 0 and amount == round(amount, 7) and amount <= 10**9:
            return f"{amount:f}"
    except InvalidOperation:
        pass
    raise FriendbotError(f"kale must be an amount above 0 with at most 7 decimals, not {text!r}")
