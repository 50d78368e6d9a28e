"""How fast ledgers are is the network's word, which validators may change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kalepool.chain import Chain
from kalepool.chain.relayer import Relayer
from kalepool.devnet.testing import running_devnet
from kalepool.networks import DEVNET
from kalepool.policy.timing import living_blocks

pytestmark = pytest.mark.anyio


async def test_ledgers_are_as_fast_as_the_network_says() -> None:
    """Whatever our own setting says; and as fast as validators make them while the pool runs."""
    async with running_devnet(ledger_seconds=4.5) as devnet:
        network = replace(DEVNET, rpc_url=devnet.url, ledger_seconds=30.0)
        async with Chain(network, fee_cap_stroops=100_000) as chain:
            chain.relayer = Relayer("http://127.0.0.1:9", "key", network.ledger_seconds)
            limits = await chain.read_limits()
            assert limits.ledger_seconds == chain.network.ledger_seconds == chain.relayer.ledger_seconds == 4.5
            assert living_blocks(limits.temporary_ttl, chain.network) == 325, "a day of faster ledgers is shorter"
            devnet.node.ledger_seconds = 4.0
            assert (await chain.read_limits()).ledger_seconds == 4.5, "asked now and then"
            chain._limits = None
            await chain.read_limits()
            assert chain.network.ledger_seconds == chain.relayer.ledger_seconds == 4.0


async def test_a_network_without_that_setting_is_as_fast_as_ours_says() -> None:
    async with running_devnet() as devnet:
        network = replace(DEVNET, rpc_url=devnet.url, ledger_seconds=7.0)
        async with Chain(network, fee_cap_stroops=100_000) as chain:
            assert (await chain.read_limits()).ledger_seconds is None
            assert chain.network.ledger_seconds == 7.0
