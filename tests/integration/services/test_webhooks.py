"""Deliveries to receivers that are not always well: signed, at least once, the oldest first; nobody holds up others."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from kalepool.custody import rotate
from kalepool.database import new_id
from kalepool.errors import ConflictError, NotFoundError
from kalepool.policy.delivering import PATIENCE_SECONDS
from kalepool.services import outgoing, retention, webhooks
from kalepool.services.keys import Role, create_key
from kalepool.services.outgoing import INNER
from kalepool.services.webhooks import OPERATORS, DeliveryStatus, EventType, Keeper
from tests.support.hooks import add, send, sending
from tests.support.receiver import Receiver, documented_verify, receiving

pytestmark = pytest.mark.anyio


@pytest.fixture
async def keeper(farm) -> Keeper:
    """Operators', by a key of one."""
    return Keeper(Role.OPERATOR, key_id=(await create_key(farm.ctx.database, Role.OPERATOR)).key_id)


def allow(farm, *receivers: Receiver) -> None:
    origins = ",".join(each.url.rpartition("/")[0] for each in receivers)
    farm.ctx.settings = farm.settings.model_copy(update={"webhook_origins": origins})


async def open_blocks(farm, *indexes: int) -> None:
    for index in indexes:
        await farm.rows(
            "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) VALUES (%s, %s, %s, now())",
            *(index, farm.pooler_id, bytes(32)),
        )


async def at_once(farm) -> None:
    """As if all pauses were over."""
    await farm.rows("UPDATE webhooks SET retry_at = now()")
    await farm.rows("UPDATE webhook_deliveries SET due_at = now() WHERE status = 'waiting'")


async def age(farm, **interval: int) -> None:
    """As if everything had begun so much earlier."""
    for column in ("since", "created_at"):
        await farm.rows(
            f"UPDATE webhook_deliveries SET {column} = {column} - make_interval(hours => %s)", interval["hours"]
        )


async def test_what_is_not_taken_comes_again_the_same_with_growing_pauses_and_is_given_up(
    farm, keeper: Keeper, capfd: pytest.CaptureFixture[str]
) -> None:
    database = farm.ctx.database
    async with receiving() as receiver, sending(farm) as hooks:
        allow(farm, receiver)
        new = await add(farm, keeper, receiver, EventType.BLOCK_OPENED)
        assert new.secret.startswith("whsec_") and new.secret not in repr(new)
        await open_blocks(farm, 3, 4)
        assert (await hooks.look(), await hooks.look()) == (2, 0)
        receiver.head = "500 Oh"
        pauses = []
        for _ in range(3):
            await send(hooks)
            await send(hooks)  # its pause is not over
            pauses += await farm.rows("SELECT extract(epoch FROM retry_at - now())::float FROM webhooks")
            await at_once(farm)
        assert all(wanted - 4 < pause <= wanted for (pause,), wanted in zip(pauses, (5, 10, 20), strict=True))
        assert [each.json["data"]["block_index"] for each in receiver.refused] == [3, 3, 3], "the oldest first"
        assert (
            len({each.body for each in receiver.refused})
            == len({each.headers["webhook-id"] for each in receiver.refused})
            == 1
        )
        [told] = await webhooks.all_webhooks(database, OPERATORS)
        assert (told.waiting, told.failures, told.trouble) == (2, 3, "HTTP status 500")
        assert "/hook" not in capfd.readouterr().out, "the address is in no log"

        # A redirect is not followed, a receiver's wish is heeded; then it takes both, whichever process sends.
        receiver.head = f"302 Found\r\nLocation: {receiver.url}/elsewhere"
        await send(hooks)
        await at_once(farm)
        receiver.head = "429 Slow Down\r\nRetry-After: 200"
        await send(hooks)
        [(pause,)] = await farm.rows("SELECT extract(epoch FROM retry_at - now()) FROM webhooks")
        assert 190 < pause <= 200
        await at_once(farm)
        receiver.head, seen = "204 Fine", receiver.connections
        async with sending(farm) as other:
            await asyncio.gather(send(hooks), send(other), send(other))
        assert [each.json["data"]["block_index"] for each in receiver.taken] == [3, 4], "each by one of them"
        assert receiver.connections - seen <= 2, "one after another over one connection"
        verify = documented_verify()
        for each in receiver.taken:
            verify(new.secret, each.headers, each.body)
            with pytest.raises(ValueError, match="not from the pool"):
                verify(new.secret, each.headers, each.body + b" ")
            with pytest.raises(ValueError, match="too old"):
                verify(new.secret, {**each.headers, "webhook-timestamp": str(int(time.time()) - 1000)}, each.body)
        assert (await webhooks.read(database, OPERATORS, new.webhook_id)).trouble is None

        # Nobody takes it for a day: given up, shown so, and sent again when somebody says so.
        receiver.head = "503 Away"
        await open_blocks(farm, 5)
        await hooks.look()
        await send(hooks)
        await age(farm, hours=23)
        assert await hooks.give_up() == 0
        await age(farm, hours=2)
        assert (await hooks.give_up(), await hooks.give_up()) == (1, 0)
        await at_once(farm)
        await send(hooks)
        [lost] = await webhooks.deliveries(
            database, OPERATORS, new.webhook_id, DeliveryStatus.GIVEN_UP, after=None, limit=9
        )
        assert (lost.attempts, lost.trouble, lost.due_at) == (1, "HTTP status 503", None)
        assert await webhooks.count(database) == (0, 1)
        receiver.head = "200 OK"
        again = await webhooks.send_again(database, keeper, new.webhook_id, lost.event_id)
        assert again.status == DeliveryStatus.WAITING
        assert await hooks.give_up() == 0, "for another day"
        await send(hooks)
        assert receiver.taken[-1].headers["webhook-id"] == str(lost.event_id)

        # What is closed goes after some days, what waits does not.
        await open_blocks(farm, 8)
        await hooks.look()
        await farm.rows("UPDATE webhook_deliveries SET closed_at = closed_at - interval '71 hours'")
        assert (await retention.prune(database, farm.ctx.settings))["delete_old_webhook_deliveries"] == 0
        await farm.rows("UPDATE webhook_deliveries SET closed_at = closed_at - interval '2 hours'")
        assert (await retention.prune(database, farm.ctx.settings))["delete_old_webhook_deliveries"] == 3
        assert await farm.rows("SELECT status FROM webhook_deliveries") == [("waiting",)]

        # What is removed is sent nothing, and goes as a whole.
        await open_blocks(farm, 6)
        await hooks.look()
        await webhooks.remove(database, keeper, new.webhook_id)
        await at_once(farm)
        await send(hooks)
        assert [each.json["data"]["block_index"] for each in receiver.taken] == [3, 4, 5]
        with pytest.raises(NotFoundError):
            await webhooks.remove(database, keeper, new.webhook_id)
        await retention.prune(database, farm.ctx.settings)
        assert await farm.rows("SELECT 1 FROM webhooks") == []
        await open_blocks(farm, 7)
        assert await farm.rows("SELECT 1 FROM webhook_events") == [], "nothing is noted that nobody wants"


async def test_a_receiver_that_never_answers_holds_up_nobody(
    farm, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as dead, receiving() as well, sending(farm) as hooks:
        allow(farm, dead, well)
        dead.head = None
        await add(farm, keeper, dead)
        await add(farm, keeper, well)
        for index in range(5):
            await open_blocks(farm, index)
            await hooks.look()
            async with asyncio.timeout(0.8 * PATIENCE_SECONDS):
                while len(well.taken) <= index:
                    await hooks.send_due()
                    await asyncio.sleep(0.01)
        assert len(dead.taken) == 0 and dead.connections == 1, "it is asked once, and waited for"
        assert [each.json["data"]["block_index"] for each in well.taken] == [0, 1, 2, 3, 4]

        # The process ends; the next one sends what was on its way again, once the lease of the first is over.
        dead.head = "200 OK"
        await hooks.end()
        async with sending(farm) as next_one:
            await send(next_one)
            assert dead.taken == []
            await at_once(farm)
            await send(next_one)
        assert [each.json["data"]["block_index"] for each in dead.taken] == [0, 1, 2, 3, 4]


async def test_one_that_is_refused_lets_the_others_pass(farm, keeper: Keeper) -> None:
    async with receiving() as receiver, sending(farm) as hooks:
        allow(farm, receiver)
        new = await add(farm, keeper, receiver, EventType.BLOCK_OPENED)
        receiver.decide = lambda each: "422 No" if each.json["data"]["block_index"] == 1 else "200 OK"
        await open_blocks(farm, 1, 2, 3)
        await hooks.look()
        await send(hooks)
        assert [each.json["data"]["block_index"] for each in receiver.taken] == [2, 3]
        [row] = await webhooks.deliveries(
            farm.ctx.database, OPERATORS, new.webhook_id, DeliveryStatus.WAITING, after=None, limit=9
        )
        assert (row.attempts, row.trouble) == (1, "HTTP status 422") and row.due_at is not None
        # Who refuses one after another is left alone.
        receiver.decide, receiver.head = None, "404 Gone"
        await open_blocks(farm, *range(10, 30))
        await hooks.look()
        before = len(receiver.refused)
        await send(hooks)
        assert len(receiver.refused) - before == 5


async def test_no_inner_address_is_asked_that_the_settings_do_not_name(farm, keeper: Keeper) -> None:
    async with receiving() as receiver, sending(farm) as hooks:
        port = receiver.url.split(":")[2].split("/")[0]
        receiver.url = f"https://localhost:{port}/hook"
        new = await add(farm, keeper, receiver)
        await webhooks.send_test(farm.ctx.database, keeper, new.webhook_id)
        await send(hooks)
        assert (await webhooks.read(farm.ctx.database, OPERATORS, new.webhook_id)).trouble == INNER
        assert receiver.connections == 0

        # One that was named, and is not any more.
        receiver.url = f"http://127.0.0.1:{port}/hook"
        allow(farm, receiver)
        named = await add(farm, keeper, receiver)
        await webhooks.send_test(farm.ctx.database, keeper, named.webhook_id)
        farm.ctx.settings = farm.settings
        await send(hooks)
        trouble = (await webhooks.read(farm.ctx.database, OPERATORS, named.webhook_id)).trouble
        assert trouble == "this pool sends nothing there any more" and receiver.connections == 0


async def test_a_secret_is_sealed_for_its_address_and_follows_a_rotation(farm, keeper: Keeper) -> None:
    async with receiving() as receiver, receiving() as thief, sending(farm) as hooks:
        allow(farm, receiver, thief)
        new = await add(farm, keeper, receiver)
        [(sealed,)] = await farm.rows("SELECT secret_sealed FROM webhooks")
        assert new.secret.removeprefix("whsec_").encode() not in sealed
        async with farm.as_owner() as owner:
            await rotate(farm.settings, owner)
        assert (await farm.rows("SELECT secret_sealed FROM webhooks"))[0][0] != sealed
        await webhooks.send_test(farm.ctx.database, keeper, new.webhook_id)
        await send(hooks)
        documented_verify()(new.secret, receiver.taken[0].headers, receiver.taken[0].body)

        # Whoever writes to the database has nothing sent elsewhere; the API's own login changes no address.
        await farm.rows("UPDATE webhooks SET url = %s", thief.url)
        await webhooks.send_test(farm.ctx.database, keeper, new.webhook_id)
        await send(hooks)
        assert thief.connections == 0
        trouble = (await webhooks.read(farm.ctx.database, OPERATORS, new.webhook_id)).trouble
        assert trouble and trouble.startswith("its row in the database was changed")


async def test_an_event_that_cannot_be_shown_holds_up_nothing_and_there_are_so_many_webhooks(
    farm, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MOST_WEBHOOKS", 2)
    async with receiving() as receiver, sending(farm) as hooks:
        allow(farm, receiver)
        await add(farm, keeper, receiver)
        await farm.rows(
            "INSERT INTO webhook_events (type, owner_id, subject_id) VALUES ('payout', %s, %s)", new_id(), new_id()
        )
        await open_blocks(farm, 1)
        assert await hooks.look() == 1
        await send(hooks)
        assert receiver.types() == ["block.opened"]
        made = await asyncio.gather(*(add(farm, keeper, receiver) for _ in range(3)), return_exceptions=True)
        assert sum(isinstance(each, ConflictError) for each in made) == 2


async def test_tls_is_held_to_the_name_and_not_to_the_address(
    farm, keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to the address that was looked at; the certificate is that of the name."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    await asyncio.to_thread(
        subprocess.run,
        [*made, "-days", "1", *subject, "-keyout", "key.pem", "-out", "certificate.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    outgoing._certificates.cache_clear()
    try:
        async with receiving(certificate) as receiver, sending(farm) as hooks:
            other = Receiver(url=receiver.url.replace("localhost", "127.0.0.1"))
            allow(farm, receiver, other)
            good, bad = await add(farm, keeper, receiver), await add(farm, keeper, other)
            for each in (good, bad):
                await webhooks.send_test(farm.ctx.database, keeper, each.webhook_id)
            await send(hooks)
            assert receiver.types() == ["test"]
            assert receiver.taken[0].json["data"] == {"webhook_id": str(good.webhook_id)}
            assert (await webhooks.read(farm.ctx.database, OPERATORS, bad.webhook_id)).trouble == "ConnectError"
    finally:
        outgoing._certificates.cache_clear()


async def test_a_coordinators_login_makes_events_and_reads_none(farm, keeper: Keeper) -> None:
    async with receiving() as receiver:
        allow(farm, receiver)
        await add(farm, keeper, receiver)
        await farm.rows(
            "INSERT INTO coordinator_leases VALUES (%s, 1, %s, 'here', now(), now())", farm.pooler_id, new_id()
        )
        insert = "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) VALUES (8, %s, %s, now())"
        async with await psycopg.AsyncConnection.connect(farm.database_url, autocommit=True) as connection:
            await connection.execute("SET ROLE kalepool_coordinator")
            async with connection.transaction():
                await connection.execute("SELECT require_leadership(%s, 1)", (farm.pooler_id,))
                await connection.execute(insert.encode(), (farm.pooler_id, bytes(32)))
            for table in ("webhooks", "webhook_events", "webhook_deliveries"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await connection.execute(f"SELECT * FROM {table}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute("SELECT note_webhook_event('harvest', 1, gen_random_uuid(), NULL)")
        assert await farm.rows("SELECT type, block_index FROM webhook_events") == [("block.opened", 8)]
