"""How a run of `kalepool up` begins and ends."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from kalepool.api.webhook_shapes import shaped
from kalepool.services import upkeep
from kalepool.up import run as module
from kalepool.up.books import Books
from kalepool.up.demo import demo_wallet
from kalepool.up.follow import RunWatch, Voice, wanting
from kalepool.up.report import RunReport, with_search
from kalepool.up.run import _until_stopped, patiently


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("promised", [True, False])
def test_a_run_that_is_stopped_has_not_kept_its_promise(number: signal.Signals, promised: bool) -> None:
    async def work() -> int:
        os.kill(os.getpid(), number)
        await asyncio.sleep(30)
        return 0

    status = asyncio.run(_until_stopped(work(), Voice(), promised=promised))
    assert status == (128 + number if promised else 0)


def test_a_run_that_was_not_stopped_has_its_own_status() -> None:
    async def work() -> int:
        return 1

    assert asyncio.run(_until_stopped(work(), Voice(), promised=True)) == 1


@pytest.mark.anyio
async def test_what_waits_for_an_operator_holds_up_no_start(farm) -> None:
    await farm.rows(
        "INSERT INTO submissions (submission_id, action, source_account, sequence, transaction_hash, envelope_xdr, "
        "valid_until) VALUES (gen_random_uuid(), 'payment', 'G', 1, %s, '', now() - interval '1 hour')",
        b"1" * 32,
    )
    async with asyncio.timeout(30):
        await Books.open(farm.ctx.database, farm.ctx.chain, farm.pooler_id)


@pytest.mark.anyio
async def test_a_start_waits_for_the_rpc_server_and_says_so(
    farm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RPC_RETRY_SECONDS", 0.05)
    monkeypatch.setattr("kalepool.chain.rpc.READ_PAUSES_SECONDS", (0.01,))
    await farm.add_farmers(1)
    farm.devnet.node.faults.add({"kind": "unavailable", "method": "", "count": 0})
    begun = asyncio.create_task(
        patiently(lambda: Books.open(farm.ctx.database, farm.ctx.chain, farm.pooler_id), Voice())
    )
    said = ""
    while "waiting for" not in said:
        await asyncio.sleep(0.05)
        said += capsys.readouterr().out
    await asyncio.sleep(0.2)
    said += capsys.readouterr().out
    assert not begun.done()
    assert said.count("waiting for the RPC server (KALEPOOL_RPC_URL): getLedgerEntries: 127.0.0.1 answered 503") == 1
    farm.devnet.node.faults.clear()
    async with asyncio.timeout(30):
        assert await begun


@pytest.mark.anyio
async def test_a_start_outlives_an_error_of_friendbots(
    farm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RPC_RETRY_SECONDS", 0.05)
    farm.devnet.node.faults.add({"kind": "unavailable", "method": "friendbot", "count": 2})
    wallet = demo_wallet(1).public_key
    async with asyncio.timeout(30):
        await patiently(lambda: farm.ctx.chain.fund(wallet), Voice())
    assert "friendbot answered 503" in capsys.readouterr().out
    assert await farm.ctx.chain.read_accounts([wallet])


@pytest.mark.anyio
async def test_an_api_starts_without_an_rpc_server_that_answers(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked in vain for a while, and the API serves: `up` would end with one that does not."""
    monkeypatch.setattr(upkeep, "START_SECONDS", 0.3)
    farm.devnet.node.faults.add({"kind": "hang", "count": 0})
    async with asyncio.timeout(30):
        async with upkeep.running(farm.ctx, shaped):
            assert farm.ctx.journal.gaps is None, "nothing is paid before they were looked for"
    farm.devnet.node.faults.clear()


@pytest.mark.parametrize(
    ("part", "state", "detail", "said"),
    [
        ("chain", "up", "one of two servers answers", ""),
        ("chain", "down", "no answer", "no answer"),
        ("custody", "waiting", "", "waiting"),
        ("relayer", "none", "", ""),  # there is none, as nearly everywhere
        ("price", "none", "no price of KALE is set", "no price of KALE is set"),
        ("workers", "down", "none has come", ""),
        ("coordinator", "none", "none has led", ""),
    ],
)
def test_a_run_says_what_is_wanting_and_nothing_else(part: str, state: str, detail: str, said: str) -> None:
    assert wanting(part, state, detail) == said


def test_blocks_in_which_nobody_searched_are_no_success() -> None:
    """As where Ray could not start: planted or not, such a run has not mined."""
    well = RunReport([], [], [])
    assert with_search(well, saw_search=True).problems == []
    assert "nobody searched" in with_search(well, saw_search=False).problems[0]


async def _moment(searchers: tuple[object, ...]) -> Any:
    return SimpleNamespace(searchers=searchers, blocks=(), at=datetime.now(UTC), trouble=None)


def test_who_searched_once_was_there() -> None:
    seen: list[tuple[object, ...]] = [(), ("a worker",), ()]
    reader: Any = SimpleNamespace(read=lambda: _moment(seen.pop(0)))
    watch = RunWatch(reader, datetime.now(UTC), 60)
    said = []
    for _ in range(3):
        asyncio.run(watch.look())
        said.append(watch.saw_search)
    assert said == [False, True, True]
