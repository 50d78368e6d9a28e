"""Trouble of a real pool, told to a real HTTP server that is not always well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from kalepool.api.routes.metrics import Metrics
from kalepool.services import alerts as service
from kalepool.services.alerts import DOWN_SECONDS, Alerts
from kalepool.services.books import held
from kalepool.services.farming import plant
from kalepool.services.health import Health

from ..conftest import KALE
from .test_payouts import credited, payee

pytestmark = pytest.mark.anyio

SECRET = "do-not-tell-9f3a"


@dataclass
class Receiver:
    """A webhook: keeps what it is sent, answers with `status`."""

    status: int = 200
    taken: list[dict] = field(default_factory=list)
    port: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        sent = json.loads(await reader.readexactly(length))
        if self.status == 200:
            self.taken.append(sent)
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver


def of(farm, receiver: Receiver) -> Alerts:
    farm.ctx.settings = farm.settings.model_copy(update={"alert_webhook": secret_url(receiver.port)})
    return Alerts(farm.ctx)


def secret_url(port: int):
    return SecretStr(f"http://127.0.0.1:{port}/hooks/{SECRET}")


async def test_from_trouble_to_its_end(
    farm, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    await farm.add_farmers(2)
    await farm.rows("UPDATE farmers SET activated_at = now() - interval '1 day'")
    async with receiving() as receiver:
        alerts = of(farm, receiver)
        await alerts.look()
        assert await alerts.tell() == 0  # all is well

        # Planted and never worked: the stake is lost once the next block has begun. In block 1 nobody plants.
        await plant.plant(farm.ctx, 0, farm.pooler_id)
        await farm.end_block()
        await farm.start_block(1)
        await farm.end_block()
        await farm.start_block(2)
        await farm.rows(
            "INSERT INTO workers (worker_id, searcher, node, kind, backend, threads, version, last_seen_at) "
            "VALUES (gen_random_uuid(), 1, '10.0.0.7/a1b2c3', 'cpu', 'numba', 2, '1', now() - interval '5 minutes')"
        )
        raised = {new.key for new in (await alerts.look()).raised}
        assert raised == {"block-missed", "stake-lost:0", "worker-gone:10.0.0.7:cpu"}

        # A webhook in trouble is left alone for a while; nothing is lost, not even by a restart of the process.
        receiver.status = 500
        assert await alerts.tell() == 0
        receiver.status = 200
        assert await alerts.tell() == 0
        alerts = of(farm, receiver)
        assert await alerts.tell() == 3
        assert {sent["key"] for sent in receiver.taken} == raised
        assert all(sent["state"] == "raised" and sent["network"] == "devnet" for sent in receiver.taken)
        lost = next(sent for sent in receiver.taken if sent["kind"] == "stake-lost")
        assert lost["message"] == "Block 0: 2 farmers lost 20.00 KALE of stakes."
        assert (await alerts.look()).raised == ()
        assert await alerts.tell() == 0

        # It goes on: told of no second time, and when it is over, of all of it.
        await farm.end_block()
        await farm.start_block(3)
        assert (await alerts.look()).raised == ()

        # Over: said once. A lost stake is never over.
        await farm.rows("UPDATE workers SET last_seen_at = now()")
        await plant.plant(farm.ctx, 3, farm.pooler_id)
        await farm.end_block()
        await farm.start_block(4)
        await alerts.look()
        receiver.taken.clear()
        await alerts.tell()
        said = {(sent["key"], sent["state"]) for sent in receiver.taken}
        assert {("block-missed", "resolved"), ("worker-gone:10.0.0.7:cpu", "resolved")} < said
        assert ("stake-lost:0", "resolved") not in said
        missed = next(sent for sent in receiver.taken if sent["kind"] == "block-missed")
        assert missed["message"] == "Blocks 1 to 2 are over and none of 2 farmers was planted in them."

        # The chain goes silent: an alarm after a while, while everything else keeps still.
        farm.devnet.node.faults.add({"kind": "unavailable", "method": "", "count": 0})
        monkeypatch.setattr(service, "PATIENCE_SECONDS", 0.5)
        assert await alerts.look() == service.Changes((), ())
        alerts._answered -= DOWN_SECONDS + 1
        assert [new.key for new in (await alerts.look()).raised] == ["rpc-down"]
    captured = capfd.readouterr()
    assert SECRET not in captured.out + captured.err


async def test_stakes_that_nobody_searches_for_are_told_until_somebody_does(farm) -> None:
    await farm.add_farmers(2)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await farm.rows(
        "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at, seen_at) "
        "SELECT 0, pooler_id, decode(repeat('00', 32), 'hex'), now(), now() - interval '1 minute' FROM poolers"
    )
    async with receiving() as receiver:
        alerts = of(farm, receiver)
        await farm.rows(
            "INSERT INTO coordinator_leases (pooler_id, fence, coordinator_id, place, taken_at, expires_at) "
            "SELECT pooler_id, 1, gen_random_uuid(), 'here', now(), now() FROM poolers"
        )
        assert (await alerts.look()).raised == (), "its workers are on their way"
        await farm.rows("UPDATE coordinator_leases SET given_up = true")
        (raised,) = (await alerts.look()).raised
        assert raised.kind == "nobody-mining" and "2 farmers with 20.00 KALE of stakes" in raised.message
        await farm.rows(
            "INSERT INTO workers (worker_id, searcher, node, kind, backend, threads, version) "
            "VALUES (gen_random_uuid(), 1, 'here/a1b2c3', 'cpu', 'numba', 2, '1')"
        )
        assert (await alerts.look()).resolved == ("nobody-mining",)


async def test_a_dead_webhook_stops_nobody(farm, capfd: pytest.CaptureFixture[str]) -> None:
    await farm.add_farmers(1)
    async with receiving() as receiver:
        alerts = of(farm, receiver)
    wallet = farm.farmers[0].custodial_wallet
    farm.ctx.settings = farm.ctx.settings.model_copy(update={"min_spare_stroops": 10**12})
    changes = await alerts.look()
    assert [new.key for new in changes.raised] == [f"farmer-out-of-xlm:{wallet}"]
    assert await alerts.tell() == 0
    assert (await farm.rows("SELECT count(*) FROM alerts WHERE told_at IS NULL"))[0][0] == 1
    captured = capfd.readouterr()
    assert "alert_not_sent" in captured.out + captured.err
    assert SECRET not in captured.out + captured.err


async def test_books_off_a_short_treasury_and_a_payout_that_is_stuck_are_told_and_counted(farm, monkeypatch) -> None:
    (one,) = await farm.add_farmers(1)
    wallet = await payee(farm)
    [(miner, _)] = await credited(farm, 0, wallets=[wallet])
    async with receiving() as receiver:
        alerts = of(farm, receiver)
        metrics = Metrics(farm.ctx, Health(farm.ctx))

        async def money() -> dict[str, float]:
            metrics._last = None
            lines = [line.rsplit(" ", 1) for line in (await metrics.text()).decode().splitlines() if line[0] != "#"]
            return {name.removeprefix("kalepool_"): float(value) for name, value in lines}

        assert not (await alerts.look()).raised
        quiet = await money()
        names = ("books_off_accounts", 'payouts{state="open"}', 'payouts{state="stuck"}', "treasury_short_stroops")
        assert [quiet[name] for name in names] == [0, 0, 0, 0]

        # The miner has earned 40 KALE that no fee brought, 10 of them were begun to be paid two hours ago.
        await post(farm, "earned", "operator", f"miner/{miner}", 40 * KALE)
        await post(farm, "begun", f"miner/{miner}", f"paying/{miner}", 10 * KALE)
        await farm.rows(
            "INSERT INTO payouts (payout_id, miner_id, amount_stroops, destination, reason, created_at) "
            "VALUES (gen_random_uuid(), %s, %s, %s, 'wish', now() - interval '2 hours')",
            *(miner, 10 * KALE, wallet.public_key),
        )
        await post(farm, "false", f"wallet/{one.farmer_id}", f"farmer/{one.farmer_id}", 5)
        monkeypatch.setattr(held, "PATIENCE_LEDGERS", 0)
        for _ in range(2):
            await held.look(farm.ctx)
        raised = {new.key: new.message for new in (await alerts.look()).raised}
        assert set(raised) == {"books-off", "payout-stuck", "treasury-short"}
        assert f"wallet-{one.farmer_id} by -5" in raised["books-off"] and "40.00 KALE" in raised["treasury-short"]
        assert raised["payout-stuck"].startswith("1 payout to miners was begun")
        told = await money()
        assert [told[name] for name in names] == [1, 1, 1, 40 * KALE] and told["books_off_stroops"] == 5
        assert told['miners_owed_stroops{state="due"}'] == 30 * KALE
        assert told['miners_owed_stroops{state="paying"}'] == 10 * KALE
        assert await alerts.tell() == 3

        # Explained, paid for and given up: each is over.
        other = f"unexplained/wallet-{one.farmer_id}"
        await post(farm, "right", f"farmer/{one.farmer_id}", other, 5)
        await farm.rows("UPDATE payouts SET closed_at = now(), code = 'x'")
        await post(farm, "back", f"paying/{miner}", f"miner/{miner}", 10 * KALE)
        await post(farm, "brought", "treasury", "outside", 40 * KALE)
        assert set((await alerts.look()).resolved) == set(raised)
        assert [(await money())[name] for name in names] == [0, 0, 0, 0]


async def post(farm, cause: str, debit: str, credit: str, stroops: int) -> None:
    """An entry of the books, past everything that posts them."""
    await farm.rows(
        "SELECT post_transfers(ARRAY[%s], '{corrected}', ARRAY[%s], ARRAY[%s], ARRAY[%s]::numeric[], '{NULL}', "
        "'{NULL}', '{NULL}', '{NULL}')",
        *(cause, debit, credit, stroops),
    )
