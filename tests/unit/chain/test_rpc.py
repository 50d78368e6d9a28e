"""A server that misbehaves is told from one that answers, and asked again with manners."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from aiohttp import web

from kalepool.chain import Chain, ChainReader
from kalepool.chain import rpc as rpc_module
from kalepool.errors import ChainError, ConfigError, RpcUnavailableError
from kalepool.networks import DEVNET, MAINNET, Network

pytestmark = pytest.mark.anyio


def health(ledger: int = 10, close_time: int = 1_700_000_000, **more: object) -> dict[str, object]:
    return {
        "status": "healthy",
        "latestLedger": ledger,
        "latestLedgerCloseTime": close_time,
        "oldestLedger": 1,
        "oldestLedgerCloseTime": close_time - ledger,
        "ledgerRetentionWindow": 100,
    } | more


def entries(ledger: int) -> dict[str, object]:
    return {"entries": [], "latestLedger": ledger}


BROKEN = {
    "a gateway's error": lambda: web.Response(status=502, text="<html>bad gateway</html>"),
    "no JSON": lambda: web.Response(status=200, text="<html>"),
    "not an object": lambda: web.Response(status=200, text="[1, 2]"),
    "another id": lambda: web.json_response({"jsonrpc": "2.0", "id": 10**9, "result": health()}),
    "no result": lambda: None,
    "a missing field": lambda: {"status": "healthy"},
    "ledger 0": lambda: health(ledger=0),
    "its own trouble": lambda: {"error!": {"code": -32603, "message": "data stores are not initialized"}},
    "bad health": lambda: health(status="catching up"),
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rpc_module, "READ_PAUSES_SECONDS", (0.01, 0.01, 0.01))
    monkeypatch.setattr("kalepool.chain.reader.LAG_PAUSES_SECONDS", (0.01, 0.01))


@pytest.mark.parametrize("kind", BROKEN)
async def test_what_is_no_usable_answer_is_unavailable(rpc, network: Network, kind: str):
    async def answer(_):
        return BROKEN[kind]()

    rpc.answers["getHealth"] = [answer]
    async with ChainReader(network) as chain:
        with pytest.raises(RpcUnavailableError):
            await chain.read_ledger()


async def test_a_read_is_asked_again(rpc, network: Network):
    rpc.answers["getHealth"] = [web.Response(status=503), {"error!": {"code": -32603, "message": "x"}}, health(12)]
    async with ChainReader(network) as chain:
        assert (await chain.read_ledger()).sequence == 12
    assert rpc.asked("getHealth") == 3


async def test_a_server_that_is_silent_or_gone_is_unavailable(rpc, network: Network):
    async def silent(_):
        await asyncio.sleep(5)

    rpc.answers["getHealth"] = [silent]
    rpc.answers["getNetwork"] = [{"passphrase": network.passphrase, "protocolVersion": 23}]
    async with ChainReader(network, timeout_seconds=0.05) as chain:
        with pytest.raises(RpcUnavailableError, match="did not answer in time"):
            await chain.read_health()
    async with ChainReader(replace(network, rpc_url="http://127.0.0.1:1/secret-key")) as chain:
        with pytest.raises(RpcUnavailableError, match="no connection to 127") as caught:
            await chain.read_health()
    assert "secret-key" not in str(caught.value)


async def test_where_the_contract_is_missing_another_network_s_server_is_told_first(rpc, network: Network):
    rpc.answers["getHealth"] = [health()]
    rpc.answers["getLedgerEntries"] = [{"latestLedger": 10, "entries": []}]
    rpc.answers["getNetwork"] = [{"passphrase": "Elsewhere", "protocolVersion": 23}]
    async with ChainReader(network) as chain:
        with pytest.raises(ChainError, match=f"serves 'Elsewhere', not {network.name}: set KALEPOOL_RPC_URL"):
            await chain.read_farm()
    rpc.answers["getNetwork"] = [{"passphrase": network.passphrase, "protocolVersion": 23}]
    async with ChainReader(network) as chain:
        with pytest.raises(ChainError, match="is KALEPOOL_CONTRACT_ID right"):
            await chain.read_farm()


async def test_a_rate_limit_is_waited_for(rpc, network: Network):
    rpc.answers["getHealth"] = [web.Response(status=429, headers={"Retry-After": "0.3"}), health()]
    async with ChainReader(network) as chain:
        started = time.perf_counter()
        await chain.read_ledger()
    assert time.perf_counter() - started >= 0.3


async def test_a_request_the_server_calls_wrong_is_our_fault(rpc, network: Network):
    rpc.answers["getHealth"] = [{"error!": {"code": -32602, "message": "invalid parameters"}}]
    async with ChainReader(network) as chain:
        with pytest.raises(ChainError, match="invalid parameters") as caught:
            await chain.read_ledger()
    assert type(caught.value) is ChainError
    assert rpc.asked("getHealth") == 1


async def test_the_ledger_never_goes_back(rpc, network: Network):
    rpc.answers["getHealth"] = [health(12), health(11), health(13)]
    async with ChainReader(network) as chain:
        assert [(await chain.read_ledger()).sequence for _ in range(3)] == [12, 12, 13]


async def test_the_answer_of_a_lagging_node_is_not_used(rpc, network: Network):
    rpc.answers["getHealth"] = [health(12)]
    rpc.answers["getLedgerEntries"] = [entries(11), entries(11), entries(12), entries(11)]
    async with ChainReader(network) as chain:
        await chain.read_ledger()
        assert await chain.read_blocks([1]) == {}
        assert rpc.asked("getLedgerEntries") == 3
        with pytest.raises(RpcUnavailableError, match="ledger 11, and ledger 12 was seen"):
            await chain.read_blocks([1])


async def test_an_older_server_is_asked_for_the_close_time(rpc, network: Network):
    rpc.answers["getHealth"] = [health(12, latestLedgerCloseTime=None)]
    rpc.answers["getLatestLedger"] = [{"id": "x", "sequence": 13, "closeTime": "1700000013", "protocolVersion": 23}]
    async with ChainReader(network) as chain:
        ledger = await chain.read_ledger()
    assert (ledger.sequence, ledger.closed_at.timestamp()) == (13, 1_700_000_013)


async def test_another_networks_server_is_refused(rpc, network: Network):
    rpc.answers["getNetwork"] = [{"passphrase": MAINNET.passphrase, "protocolVersion": 23}]
    async with ChainReader(network) as chain:
        with pytest.raises(ConfigError, match="Public Global"):
            await chain.read_health()


async def test_reads_come_in_batches_of_200_keys(rpc, network: Network):
    rpc.answers["getLedgerEntries"] = [entries(5)]
    async with ChainReader(network) as chain:
        assert await chain.read_blocks(range(450)) == {}
    assert [len(params["keys"]) for _, params in rpc.requests] == [200, 200, 50]


async def test_a_contract_that_is_not_there_is_not_block_0(rpc, network: Network):
    rpc.answers["getLedgerEntries"] = [entries(5)]
    async with ChainReader(network) as chain:
        with pytest.raises(ChainError, match=network.contract_id):
            await chain.read_farm()


async def test_waiting_for_a_ledger_shares_one_poll(rpc, network: Network):
    rpc.answers["getHealth"] = [health(7), health(7), web.Response(status=500), health(8)]
    async with ChainReader(network) as chain:
        waits = [chain.next_ledger(7, 5) for _ in range(20)]
        assert {ledger.sequence for ledger in await asyncio.gather(*waits) if ledger} == {8}
        assert rpc.asked("getHealth") == 4
        assert await chain.next_ledger(8, 0.1) is None


async def test_many_who_need_the_fees_ask_once(rpc, network: Network):
    names = ["max", "min", "mode", *(f"p{number}" for number in (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99))]
    bids = dict.fromkeys(names, "250") | {"transactionCount": "1", "ledgerCount": 10}
    rpc.answers["getFeeStats"] = [{"sorobanInclusionFee": bids, "inclusionFee": bids, "latestLedger": 7}]
    async with ChainReader(replace(network, ledger_seconds=5)) as chain:
        fees = await asyncio.gather(*(chain.read_fees() for _ in range(9)))
    assert {found.contract.p90 for found in fees} == {250}
    assert rpc.asked("getFeeStats") == 1


async def test_a_chain_without_a_server_is_a_matter_of_settings():
    with pytest.raises(ConfigError, match="KALEPOOL_RPC_URL"):
        Chain(DEVNET, fee_cap_stroops=10_000_000)


async def test_what_is_read_at_the_same_time_is_one_request(rpc, network: Network):
    """And what is read later another: it may have changed."""
    rpc.answers["getLedgerEntries"] = [entries(5)]
    async with ChainReader(network) as chain:
        await asyncio.gather(*(chain.read_blocks([index]) for index in range(150)), chain.read_blocks(range(100, 230)))
        assert sorted(len(params["keys"]) for _, params in rpc.requests) == [130, 150]
        await chain.read_blocks([1])
    assert rpc.asked("getLedgerEntries") == 3


async def test_requests_leave_no_faster_than_is_allowed(rpc, network: Network):
    """Sends first; what waits for its turn takes others with it."""
    rpc.answers["getLedgerEntries"] = [entries(5)]
    rpc.answers["getFeeStats"] = [{}]
    async with ChainReader(network, requests_per_second=20) as chain:
        begun = time.monotonic()
        turns = [chain.servers._turns[0].turn("simulateTransaction") for _ in range(6)]
        waiting = [asyncio.create_task(each) for each in turns]
        await asyncio.sleep(0)
        send = asyncio.create_task(chain.servers._turns[0].turn("sendTransaction"))
        read = [asyncio.create_task(chain.read_blocks([index])) for index in range(3)]
        await asyncio.sleep(0.05)
        read.append(asyncio.create_task(chain.read_blocks([9])))
        await send
        assert sum(task.done() for task in waiting) <= 3
        await asyncio.gather(*waiting, *read)
        assert time.monotonic() - begun >= 6 / 17
    assert [len(params["keys"]) for _, params in rpc.requests] == [4]
