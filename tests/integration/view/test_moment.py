"""One moment of the pool, read with the chain and without it: the same for all who look."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from kalepool.api.routes.page import PageReader, Viewing
from kalepool.commands import pool
from kalepool.commands.status import status
from kalepool.errors import ChainError
from kalepool.services.books.results import Days
from kalepool.services.farming import plant, work
from kalepool.services.farming.work import Submission
from kalepool.up.follow import RunWatch
from kalepool.view.lines import progress
from kalepool.view.moment import Moment, MomentReader
from kalepool.view.screen import render
from kalepool.view.verdict import PoolVerdict, judge

pytestmark = pytest.mark.anyio

WORKERS = """
INSERT INTO workers (worker_id, searcher, node, kind, backend, threads, version, hashes_per_second)
VALUES (gen_random_uuid(), 1, 'here/1', 'cpu', 'avx512', 2, '0', 41e6)"""
MINERS = (
    "INSERT INTO miners (miner_id, name) VALUES (gen_random_uuid(), 'rigs of Bob')",
    "INSERT INTO rigs (miner_id, name) SELECT miner_id, 'a rig' FROM miners",
    "INSERT INTO hashrates SELECT now(), searcher, 1e6 FROM rigs",
)


def reader(farm, *, balances: bool = True, of_pooler: bool = False) -> MomentReader:
    pooler_id = farm.pooler_id if of_pooler else None
    spare = farm.settings.min_spare_stroops
    return MomentReader(
        farm.ctx.database, farm.ctx.chain, min_spare_stroops=spare, pooler_id=pooler_id, balances=balances
    )


async def open_block(farm, index: int) -> None:
    """As the coordinator does when it has seen a block begin."""
    farm_now = await farm.ctx.chain.read_farm()
    await farm.ctx.database.execute(
        "open_block_operation",
        block_index=index,
        pooler_id=farm.pooler_id,
        entropy=farm_now.block.entropy,
        started_at=await farm.ctx.chain.now(),
    )


def silence(farm) -> None:
    farm.devnet.node.faults.add({"kind": "unavailable", "method": "", "count": 0})


async def test_without_the_chain_the_database_is_shown(farm) -> None:
    await farm.add_farmers(2)
    await farm.start_block(0)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await open_block(farm, 0)
    both = await reader(farm).read()
    silence(farm)
    alone = await reader(farm).read()
    assert both.ledger is not None and both.planted == 2 and alone.ledger is None
    assert alone.index == both.index == 0 and alone.blocks == both.blocks and alone.blocks[0].planted == 2
    assert [farmer.name for farmer in alone.farmers] == ["farmer 1", "farmer 2"]
    assert all(farmer.balance_stroops is None and farmer.stake_stroops is None for farmer in alone.farmers)
    assert all(farmer.balance_stroops is not None for farmer in both.farmers)
    assert alone.trouble and judge(alone).title == "Chain does not answer"


async def test_the_chain_s_last_word_is_shown_while_it_is_silent(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kalepool.view.moment.FRESH_LEDGERS", 0.0)  # it is asked every time
    await farm.add_farmers(1)
    await farm.start_block(0)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    looking = reader(farm)
    heard = await looking.read()
    silence(farm)
    shown = await looking.read()
    assert heard.trouble is None and shown.trouble is not None
    assert shown.at >= heard.at and (shown.index, shown.ends_at) == (heard.index, heard.ends_at)
    assert figures(shown) == figures(heard) and shown.planted == 1


def figures(moment: Moment) -> tuple[object, ...]:
    return (
        *(moment.index, moment.block, moment.ends_at, moment.paused, moment.planting_paused, moment.lost),
        *(moment.active, moment.planted, moment.worked, moment.at_risk_stroops, moment.best_zeros),
        *(moment.hashes_per_second, moment.searchers, moment.blocks),
        *((farmer.name, farmer.stake_stroops, farmer.worked_zeros, farmer.gap) for farmer in moment.farmers),
        *((farmer.forecast_stroops, farmer.received_stroops) for farmer in moment.farmers),
    )


async def test_all_who_look_see_the_same_figures_and_the_same_verdict(
    farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, _ = await farm.add_farmers(2)
    assert len((await plant.plant(farm.ctx, 0, farm.pooler_id)).planted) == 2
    await open_block(farm, 0)
    await farm.pass_time(5)
    nonce = await farm.nonce(first, 0, zeros=1)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(first.farmer_id, nonce)])
    for statement in (WORKERS, *MINERS):
        await farm.rows(statement)
    for passed, title in ((0, "On course"), (farm.settings.chain.block_seconds, "At risk")):
        await farm.pass_time(passed)
        page = await reader(farm, balances=False).read()
        watch = RunWatch(reader(farm, of_pooler=True), await farm.ctx.chain.now(), 300)
        terminal = await watch.look()
        assert figures(page) == figures(terminal) and judge(page) == judge(terminal)
        assert (page.planted, page.worked, page.miners, page.hashes_per_second) == (2, 1, 1, 42e6)
        parts = await Viewing(PageReader(farm.ctx, Days(farm.ctx.database))).parts()
        said = await run_status(farm, monkeypatch, capsys, tmp_path)
        verdict = judge(page)
        assert verdict.title == title
        told_by_all(verdict, parts["verdict"], picture(terminal), said)
        assert progress(terminal).endswith(f"  {title}")
        assert "<dd>2<small> of 2</small></dd>" in parts["figures"] and "42.0 MH/s" in parts["figures"]
        assert "<dd>1<small> of 2</small></dd>" in parts["figures"]
        for text in (picture(terminal), said):
            for figure in ("planted 2/2", "worked 1/2", "42.0 MH/s", "1 worker, 1 miner"):
                assert figure in text


def told_by_all(verdict: PoolVerdict, *texts: str) -> None:
    for text in texts:
        assert verdict.title in text and verdict.detail in text


def picture(moment: Moment) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(moment, moment.at, [], title="kalepool", height=40))
    return console.export_text()


async def run_status(farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """What `kalepool status` prints."""
    settings = {
        "KALEPOOL_NETWORK": "devnet",
        "KALEPOOL_RPC_URL": farm.devnet.url,
        "KALEPOOL_LEDGER_SECONDS": "0.1",
        "KALEPOOL_BLOCK_SECONDS": "300",
        "KALEPOOL_DATA_DIR": str(folder),
        "DATABASE_URL": farm.database_url,
        "COLUMNS": "200",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(pool, "configure", lambda level: None)  # logging is the whole process's
    capsys.readouterr()
    await asyncio.to_thread(status)
    return capsys.readouterr().out


async def test_status_says_what_the_database_knows_and_that_the_chain_is_silent(
    farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    await farm.add_farmers(1)
    silence(farm)
    with pytest.raises(ChainError, match="the chain cannot be read: "):
        await run_status(farm, monkeypatch, capsys, tmp_path)
    said = capsys.readouterr().out
    assert "Chain does not answer" in said and "farmer 1" in said
