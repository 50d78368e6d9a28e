"""What befalls a farmer and a miner, told to a server that is not always well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from kalepool.errors import ConflictError, RpcUnavailableError
from kalepool.services import own_alerts, retention, withdrawals
from kalepool.services.farmers import Farmer, find_farmer
from kalepool.services.farming import plant
from kalepool.services.keys import Role
from kalepool.services.own_alerts import OwnAlerts, read_address, set_address

from ..conftest import KALE
from .test_payouts import credited, new_miner, payee, payouts

pytestmark = pytest.mark.anyio

TOPIC = "secret-9f3a"


@dataclass
class Topic:
    """A server of ntfy: keeps what it is sent, answers with `head`."""

    head: str = "200 OK"
    taken: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        text = (await reader.readexactly(length)).decode()
        if self.head.startswith("200"):
            self.taken.append(text)
        writer.write(f"HTTP/1.1 {self.head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Topic]:
    topic = Topic()
    server = await asyncio.start_server(topic.answer, "127.0.0.1", 0)
    topic.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{TOPIC}"
    async with server:
        yield topic


def allow(farm, topic: Topic) -> OwnAlerts:
    farm.ctx.settings = farm.settings.model_copy(update={"own_alert_origins": topic.url.rpartition("/")[0]})
    return OwnAlerts(farm.ctx)


async def at_once(farm) -> None:
    """As if the pause since the last message were over."""
    await farm.rows("UPDATE own_alert_addresses SET retry_at = now()")


async def trouble(farm, farmer: Farmer) -> str | None:
    """Why the last message was not taken, as its page says."""
    found = await read_address(farm.ctx.database, farmer.farmer_id)
    assert found is not None
    return found.trouble


async def test_a_farmer_is_told_of_its_stake_its_xlm_and_its_payments(
    farm, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    farmer, other = await farm.add_farmers(2)
    database = farm.ctx.database
    async with listening() as topic:
        alerts = allow(farm, topic)
        await set_address(database, farm.ctx.settings, Role.FARMER, farmer.farmer_id, topic.url)
        assert (await alerts.look(), await alerts.tell(), topic.taken) == (0, 0, [])

        # Planted and never worked: lost, once the block is over; nobody else is told of it.
        await plant.plant(farm.ctx, 0, farm.pooler_id)
        await farm.rows(
            "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) VALUES (0, %s, %s, now())",
            *(farm.pooler_id, bytes(32)),
        )
        assert await alerts.look() == 0, "it may still be worked"
        await farm.rows("UPDATE block_operations SET status = 'given_up', closed_at = now()")
        assert await alerts.look() == 1

        # Whoever does not take it is left alone for longer each time; nothing is lost, and the address is in no log.
        topic.head = "302 Found\r\nLocation: http://127.0.0.1:1/elsewhere"
        assert (await alerts.tell(), await alerts.tell()) == (0, 0)
        assert await trouble(farm, farmer) == "HTTP status 302"
        await at_once(farm)
        topic.head = "429 Slow Down\r\nRetry-After: 200"
        assert await alerts.tell() == 0
        [(failures, waits)] = await farm.rows(
            "SELECT failures, extract(epoch FROM retry_at - now())::int FROM own_alert_addresses"
        )
        assert failures == 2 and 150 < waits <= 200
        assert TOPIC not in capfd.readouterr().out
        await at_once(farm)
        topic.head = "200 OK"
        assert (await OwnAlerts(farm.ctx).tell(), await alerts.tell()) == (1, 0), "once, by whichever process"
        assert "Stake lost: 10.00 KALE in block 0." in topic.taken.pop()
        assert await trouble(farm, farmer) is None

        # Out of XLM: once, again after it was over; the chain's silence is no news.
        usual = farm.ctx.settings
        poor = usual.model_copy(update={"min_spare_stroops": 10**12})
        farm.ctx.settings = poor
        assert (await alerts.look(), await alerts.look()) == (1, 0)

        async def silent(*_: object) -> None:
            raise RpcUnavailableError("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(farm.ctx.chain, "read_accounts", silent)
            assert await alerts.look() == 0
        farm.ctx.settings = usual
        assert await alerts.look() == 0
        farm.ctx.settings = poor
        assert await alerts.look() == 1
        farm.ctx.settings = usual
        await at_once(farm)
        assert await alerts.tell() == 1
        assert topic.taken.pop().count("Out of XLM") == 2, "what came meanwhile comes together"

        # Paid.
        wallet = await payee(farm)
        for each in (farmer, other):
            await farm.pay_out_to(each, wallet.public_key)
            found = await find_farmer(database, each.farmer_id)
            assert found is not None
            await withdrawals.withdraw(farm.ctx, found, "test", "KALE", 5 * KALE)
        assert (await alerts.look(), await alerts.look()) == (1, 0)
        await at_once(farm)
        assert await alerts.tell() == 1
        assert f"Paid: 5 KALE to {wallet.public_key}. Transaction " in topic.taken.pop()

        # What was told goes with time; a pool that lets nobody be told, tells nobody.
        await farm.rows("UPDATE own_alerts SET told_at = now()")
        kept = farm.ctx.settings.model_copy(update={"alert_days": 2})
        assert (await retention.prune(database, kept))["delete_old_own_alerts"] == 0
        await at_once(farm)
        farm.ctx.settings = farm.settings.model_copy(update={"own_alert_origins": ""})
        assert await alerts.look() == 0
        assert not (await alerts.test(farmer.farmer_id)).is_taken
        assert await trouble(farm, farmer) == "this pool sends nothing there any more"


async def test_a_miner_is_told_of_its_rigs_and_its_payouts(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    [(miner_id, _)] = await credited(farm, 30 * KALE)
    stranger = await new_miner(farm, "other", await payee(farm))
    database = farm.ctx.database
    async with listening() as topic:
        alerts = allow(farm, topic)
        await set_address(database, farm.ctx.settings, Role.MINER, miner_id, topic.url)
        assert (await alerts.test(miner_id)).is_taken and "This is a test" in topic.taken.pop()
        with pytest.raises(ConflictError, match="try again later"):
            await alerts.test(miner_id)
        with pytest.raises(ConflictError):
            await alerts.test(stranger)

        await farm.rows("UPDATE own_alert_addresses SET since = now() - interval '1 hour'")
        for owner, name, minutes in ((miner_id, "cellar", 6), (miner_id, "attic", 1), (stranger, "theirs", 6)):
            await farm.rows(
                "INSERT INTO rigs (miner_id, name, last_seen_at) VALUES (%s, %s, now() - make_interval(mins => %s))",
                *(owner, name, minutes),
            )
        assert await alerts.look() == 0, "the pool was not there to see it"
        monkeypatch.setattr(farm.ctx, "started", farm.ctx.started - own_alerts.GONE_SECONDS)
        assert (await alerts.look(), await alerts.look()) == (1, 0)
        assert await payouts.pay(farm.ctx) == 1
        assert await alerts.look() == 1
        await at_once(farm)
        assert await alerts.tell() == 1
        [text] = topic.taken
        assert "Rig gone: cellar, last seen" in text and "Paid: 30 KALE to G" in text and "attic" not in text

        # It comes back, and goes again.
        await farm.rows("UPDATE rigs SET last_seen_at = now() - interval '301 s' WHERE name = 'cellar'")
        assert await alerts.look() == 1
        await set_address(database, farm.ctx.settings, Role.MINER, miner_id, " ")
        assert await read_address(database, miner_id) is None
        await at_once(farm)
        assert await alerts.tell() == 0 and await farm.rows("SELECT 1 FROM own_alerts") == []
