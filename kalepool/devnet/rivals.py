"""Rival farmers: they plant, work and harvest with keys of their own, so that blocks have other participants.

Each is a task that wakes with every ledger and does what is due next. They differ in stake, in when they plant and
work, and in how many nonces they try, so that the bounds of gap, stake and zeros move from block to block.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from stellar_sdk import Asset, scval

from kalepool.devnet import wire
from kalepool.devnet.friendbot import Friendbot, FriendbotError
from kalepool.devnet.genesis import derived_keypair
from kalepool.devnet.node import Node
from kalepool.devnet.soroban.kale_state import FarmState, read_farm, read_pail
from kalepool.devnet.wallet import Wallet, WalletError
from kalepool.networks import DEVNET
from kalepool.protocol.hashing import count_zeros, hash_work
from kalepool.protocol.model import Block

log = structlog.get_logger()

_STARTING_KALE = "1000"
_KALE = Asset(DEVNET.asset_code, DEVNET.asset_issuer)
_HASHES_PER_SLICE = 8
"""The readable hash takes about 0.2 ms; between slices the devnet answers its clients."""


class Rival:
    """One rival farmer. `number` gives it its key and its habits."""

    def __init__(self, node: Node, friendbot: Friendbot, number: int) -> None:
        self._node = node
        self._friendbot = friendbot
        self._wallet = Wallet(node, derived_keypair(DEVNET, f"rival {number}"))
        self._farmer = scval.to_address(self._wallet.address)
        block_seconds = self._block_seconds = node.block_seconds
        self._stake_percent = 5 + number * 7 % 30
        self._plant_after = block_seconds * (number * 3 % 10) // 40  # in the first quarter of the block
        self._work_after = block_seconds * (60 + number * 5 % 30) // 100  # from 60 % to 90 % of it
        self._tries = 8 << number % 4
        self._unharvested: set[int] = set()

    async def run(self) -> None:
        """Farms for ever. What the network refuses is tried again with the next ledger."""
        funded = False
        while True:
            await self._node.wait_ledger()
            try:
                if not funded:
                    await self._get_funds()
                    funded = True
                await self._act(read_farm(self._node.ledger))
            except (WalletError, FriendbotError, TimeoutError) as error:
                log.debug("rival_refused", rival=self._wallet.address, reason=str(error))

    async def _get_funds(self) -> None:
        view, key = self._node.ledger.view, wire.account_key(self._wallet.address)
        if view.account(key) is None:
            await self._friendbot.fund(self._wallet.address)
        if view.trustline(key, _KALE.to_xdr_object().to_xdr_bytes()) is None:
            await self._wallet.send(lambda builder: builder.append_change_trust_op(_KALE))
            await self._friendbot.fund(self._wallet.address, _STARTING_KALE)

    async def _act(self, farm: FarmState) -> None:
        age = self._node.ledger.header.close_time - farm.farm_block.timestamp
        pail = read_pail(self._node.ledger, self._wallet.address, farm.index)
        over = age >= self._block_seconds
        if over or (pail is None and age >= self._plant_after):
            await self._plant()
        elif pail is not None and pail.zeros is None and age >= self._work_after and farm.block is not None:
            await self._work(farm.index, farm.block)
        else:
            await self._harvest(farm.index)

    async def _plant(self) -> None:
        line = self._node.ledger.view.trustline(
            wire.account_key(self._wallet.address), _KALE.to_xdr_object().to_xdr_bytes()
        )
        stake = 0 if line is None else line.balance * self._stake_percent // 100
        await self._wallet.invoke(DEVNET.contract_id, "plant", self._farmer, scval.to_int128(stake))

    async def _work(self, index: int, block: Block) -> None:
        best = 0, 0, b""
        for nonce in range(self._tries):
            if nonce % _HASHES_PER_SLICE == 0:
                await asyncio.sleep(0)
            digest = hash_work(index, nonce, block.entropy, self._wallet.address)
            best = max(best, (count_zeros(digest), nonce, digest), key=lambda item: (item[0], bool(item[2])))
        _, nonce, digest = best
        args = self._farmer, scval.to_bytes(digest), scval.to_uint64(nonce)
        await self._wallet.invoke(DEVNET.contract_id, "work", *args)
        self._unharvested.add(index)

    async def _harvest(self, current: int) -> None:
        for index in sorted(self._unharvested):
            if index < current:
                self._unharvested.discard(index)
                await self._wallet.invoke(DEVNET.contract_id, "harvest", self._farmer, scval.to_uint32(index))


@asynccontextmanager
async def farming(node: Node, friendbot: Friendbot, count: int) -> AsyncIterator[None]:
    """Lets `count` rivals farm until the block ends."""
    tasks = [asyncio.create_task(Rival(node, friendbot, n).run()) for n in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
