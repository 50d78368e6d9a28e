"""A served devnet, and the official Python SDK speaking to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from stellar_sdk import (
    Asset,
    FeeBumpTransactionEnvelope,
    Keypair,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)
from stellar_sdk.client.aiohttp_client import AiohttpClient
from stellar_sdk.soroban_rpc import GetTransactionStatus, SendTransactionStatus
from stellar_sdk.soroban_server_async import SorobanServerAsync

from kalepool.devnet.testing import RunningDevnet, running_devnet
from kalepool.networks import DEVNET

KALE = Asset(DEVNET.asset_code, DEVNET.asset_issuer)


@dataclass
class Client:
    """stellar-sdk against a devnet whose ledgers close by hand."""

    devnet: RunningDevnet
    server: SorobanServerAsync
    http: aiohttp.ClientSession
    kale: Asset = KALE

    async def post(self, body: Any) -> Any:
        """A raw JSON-RPC request."""
        async with self.http.post(self.devnet.url, json=body) as response:
            return await response.json()

    async def call(self, method: str, **params: Any) -> Any:
        """A method's raw result."""
        answer = await self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        assert "error" not in answer, answer
        return answer["result"]

    async def refuse(self, method: str, **params: Any) -> tuple[int, str]:
        """The code and message of the error a method answers with."""
        answer = await self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return answer["error"]["code"], answer["error"]["message"]

    async def friendbot(self, address: str, **query: str) -> tuple[int, Any]:
        """(status, body); ledgers close until it has answered."""
        query = {"addr": address, **query}

        async def ask() -> tuple[int, Any]:
            async with self.http.get(self.devnet.friendbot_url, params=query) as response:
                return response.status, await response.json()

        return await self.closing(ask())

    async def closing(self, work: Awaitable[Any]) -> Any:
        """Closes ledgers until the work is done."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.sleep(0.005)
            if len(self.devnet.node.ledger.queue):
                await self.devnet.close_ledger()
        return task.result()

    async def account(self, name: str, *, kale: str | None = "1000") -> Keypair:
        """A new account with XLM, and with KALE unless that is None."""
        key = Keypair.random()
        assert (await self.friendbot(key.public_key))[0] == 200
        if kale is not None:
            await self.send(key, lambda b: b.append_change_trust_op(KALE))
            assert (await self.friendbot(key.public_key, kale=kale))[0] == 200
        return key

    async def build(self, source: Keypair, compose: Callable[[TransactionBuilder], TransactionBuilder]) -> Any:
        account = await self.server.load_account(source.public_key)
        return compose(TransactionBuilder(account, DEVNET.passphrase, base_fee=1000)).set_timeout(600).build()

    async def apply(self, envelope: TransactionEnvelope | FeeBumpTransactionEnvelope) -> Any:
        """Sends a signed envelope, closes the ledger that takes it, and gives getTransaction's answer."""
        sent = await self.server.send_transaction(envelope)
        assert sent.status is SendTransactionStatus.PENDING, sent
        assert (await self.server.get_transaction(sent.hash)).status is GetTransactionStatus.NOT_FOUND
        await self.devnet.close_ledger()
        return await self.server.get_transaction(sent.hash)

    async def send(self, source: Keypair, compose: Callable[[TransactionBuilder], TransactionBuilder]) -> Any:
        envelope = await self.build(source, compose)
        envelope.sign(source)
        done = await self.apply(envelope)
        assert done.status is GetTransactionStatus.SUCCESS, done
        return done

    async def prepare(self, source: Keypair, contract: str, function: str, *args: xdr.SCVal) -> Any:
        envelope = await self.build(
            source, lambda b: b.append_invoke_contract_function_op(contract, function, list(args))
        )
        envelope = await self.server.prepare_transaction(envelope)
        envelope.sign(source)
        return envelope

    async def invoke(self, source: Keypair, contract: str, function: str, *args: xdr.SCVal) -> Any:
        """Prepares, applies and returns the contract's return value."""
        done = await self.apply(await self.prepare(source, contract, function, *args))
        assert done.status is GetTransactionStatus.SUCCESS, done
        meta = xdr.TransactionMeta.from_xdr(done.result_meta_xdr).v4
        assert meta is not None and meta.soroban_meta is not None and meta.soroban_meta.return_value is not None
        return scval.to_native(meta.soroban_meta.return_value)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running_devnet(block_seconds=60) as devnet, aiohttp.ClientSession() as http:
        server = SorobanServerAsync(devnet.url, AiohttpClient(request_timeout=5))
        yield Client(devnet, server, http)
        await server.close()
