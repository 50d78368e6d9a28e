"""Friendbot: free XLM for new accounts, as on testnet, and here also KALE for accounts that trust it.

Every gift is a transaction of its own: one of friendbot's minions is the source, the friendbot account (or the KALE
issuer) pays.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation

from stellar_sdk import Asset, StrKey, scval

from kalepool.devnet import wire
from kalepool.devnet.genesis import FRIENDBOT_MINIONS, derived_keypair
from kalepool.devnet.node import Node
from kalepool.devnet.wallet import AppliedTransaction, Wallet, WalletError
from kalepool.networks import DEVNET

STARTING_XLM = "10000"
_TIMEOUT_SECONDS = 60
_KALE = Asset(DEVNET.asset_code, DEVNET.asset_issuer)


class FriendbotError(Exception):
    """Friendbot does not give: the reason, as testnet's says it."""


class Friendbot:
    """Gives with as many transactions at once as it has minions."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._banker = derived_keypair(DEVNET, "friendbot")
        self._issuer = derived_keypair(DEVNET, "issuer")
        self._idle: asyncio.Queue[Wallet] = asyncio.Queue()
        for number in range(FRIENDBOT_MINIONS):
            self._idle.put_nowait(Wallet(node, derived_keypair(DEVNET, f"friendbot {number}")))

    async def fund(self, address: str, kale: str | None = None) -> dict[str, object]:
        """Creates the account with 10,000 XLM, or pays it `kale` KALE where that is asked for.

        A contract needs neither an account nor a trustline: it is paid.

        Returns testnet friendbot's answer once the transaction was applied. FriendbotError where it cannot be,
        TimeoutError where no ledger takes it.
        """
        if StrKey.is_valid_contract(address):
            amount = STARTING_XLM if kale is None else _read_amount(kale)
            return _answer(await self._give(lambda wallet: self._transfer(wallet, address, amount, kale is not None)))
        if not StrKey.is_valid_ed25519_public_key(address):
            raise FriendbotError(f"The address must be a valid G... account or C... contract, not {address!r}")
        if kale is None:
            if self._node.ledger.view.account(wire.account_key(address)) is not None:
                raise FriendbotError(f"createAccountAlreadyExist: {address}")
            return _answer(await self._give(lambda wallet: self._create(wallet, address)))
        amount = _read_amount(kale)
        asset = _KALE.to_xdr_object().to_xdr_bytes()
        if self._node.ledger.view.trustline(wire.account_key(address), asset) is None:
            raise FriendbotError(f"{address} has no trustline to {_KALE.code}:{_KALE.issuer} to receive KALE on")
        return _answer(await self._give(lambda wallet: self._pay(wallet, address, amount)))

    async def _give(self, gift: Gift) -> AppliedTransaction:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            minion = await self._idle.get()
            try:
                return await gift(minion)
            except WalletError as error:
                raise FriendbotError(str(error)) from None
            finally:
                self._idle.put_nowait(minion)

    async def _create(self, wallet: Wallet, address: str) -> AppliedTransaction:
        source = self._banker.public_key
        return await wallet.send(
            lambda builder: builder.append_create_account_op(address, STARTING_XLM, source=source), self._banker
        )

    async def _transfer(self, wallet: Wallet, address: str, amount: str, kale: bool) -> AppliedTransaction:
        giver, asset = (self._issuer, _KALE) if kale else (self._banker, Asset.native())
        stroops = scval.to_int128(int(Decimal(amount) * 10**7))
        args = scval.to_address(giver.public_key), scval.to_address(address), stroops
        return await wallet.invoke(asset.contract_id(DEVNET.passphrase), "transfer", *args, source=giver)

    async def _pay(self, wallet: Wallet, address: str, amount: str) -> AppliedTransaction:
        source = self._issuer.public_key
        return await wallet.send(
            lambda builder: builder.append_payment_op(address, _KALE, amount, source=source), self._issuer
        )


Gift = Callable[[Wallet], Awaitable[AppliedTransaction]]


def _answer(sent: AppliedTransaction) -> dict[str, object]:
    return {
        "hash": sent.hash.hex(),
        "successful": True,
        "ledger": sent.ledger,
        "envelope_xdr": b64encode(sent.envelope).decode(),
    }


def _read_amount(text: str) -> str:
    try:
        amount = Decimal(text)
        if 0 < amount <= 10**9 and amount == round(amount, 7):
            return f"{amount:f}"
    except InvalidOperation:
        pass
    raise FriendbotError(f"kale must be an amount above 0 with at most 7 decimals, not {text!r}")
