"""Webhooks of farmers and miners: each is told of what is its own alone, reaches no inner network, and starves nobody,
whatever it does."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from kalepool.database import new_id
from kalepool.errors import ConflictError, InputError, NotFoundError
from kalepool.services import keys, retention, webhook_sending, webhooks
from kalepool.services.keys import Role, create_key
from kalepool.services.mining import miners
from kalepool.services.outgoing import INNER
from kalepool.services.webhook_sending import CHANGED, NO_MORE, Webhooks
from kalepool.services.webhooks import OPERATORS, DeliveryStatus, EventType, Keeper, NewWebhook, TooManyWebhooksError
from tests.support.hooks import add, send, sending
from tests.support.receiver import Receiver, documented_verify, receiving

pytestmark = pytest.mark.anyio


def allow(farm, *own: Receiver, operators: Receiver | None = None) -> None:
    """As the operator's settings do."""
    where = {"own_webhook_origins": ",".join(each.url.rpartition("/")[0] for each in own)}
    if operators is not None:
        where["webhook_origins"] = operators.url.rpartition("/")[0]
    farm.ctx.settings = farm.settings.model_copy(update=where)


async def a_miner(farm, name: str) -> Keeper:
    settings = farm.settings.model_copy(update={"miner_registration": "open"})
    made = await miners.register(farm.ctx.database, farm.ctx.custody, settings, name)
    return Keeper(Role.MINER, made.miner.miner_id)


async def until(hooks: Webhooks, receiver: Receiver, count: int = 1) -> None:
    """It has taken so many, as the chore sends that looks again and again."""
    async with asyncio.timeout(60):
        while len(receiver.taken) < count:
            await hooks.send_due()
            await asyncio.sleep(0.01)


async def waiting(farm, new: NewWebhook, count: int) -> None:
    """As if so many events had happened."""
    for _ in range(count):
        await farm.ctx.database.execute(
            "insert_webhook_test", webhook_id=new.webhook_id, event_id=new_id(), body='{"type":"test"}'
        )


async def end_a_key(farm, keeper: Keeper) -> None:
    made = await create_key(farm.ctx.database, keeper.role, subject_id=keeper.subject_id)
    await keys.revoke_own_key(farm.ctx.database, made.key_id, keeper.role, keeper.subject_id, None)


async def test_each_is_told_of_what_is_its_own_and_of_nobody_elses(farm) -> None:
    """Every type of event, made by what makes it; operators are told of all."""
    ann, ben = await a_miner(farm, "ann"), await a_miner(farm, "ben")
    one, two = [Keeper(Role.FARMER, each.farmer_id) for each in await farm.add_farmers(2, kale_stroops=0)]
    async with (
        receiving() as all_of_it, receiving() as of_ann, receiving() as of_ben, receiving() as of_one,
        receiving() as of_two, sending(farm) as hooks,
    ):  # fmt: skip
        allow(farm, of_ann, of_ben, of_one, of_two, operators=all_of_it)
        secrets = [
            (await add(farm, keeper, to)).secret
            for keeper, to in ((OPERATORS, all_of_it), (ann, of_ann), (ben, of_ben), (one, of_one), (two, of_two))
        ]
        await end_a_key(farm, ann)
        payout = await farm.rows(
            "INSERT INTO payouts (payout_id, miner_id, amount_stroops, destination, reason, idempotency_key) "
            "VALUES (%s, %s, 7, 'GX', 'wish', 'x') RETURNING payout_id",
            *(new_id(), ann.subject_id),
        )
        await farm.rows("UPDATE payouts SET closed_at = now(), code = 'test' WHERE payout_id = %s", payout[0][0])
        await farm.rows(
            "INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops) "
            "VALUES (%s, 3, %s, %s, 'planted', 5)",
            *(new_id(), farm.pooler_id, one.subject_id),
        )
        await farm.rows(
            "INSERT INTO pooler_compensations (compensation_id, block_index, pooler_id, farmer_id, fault, code, "
            "stake_stroops, forecast_stroops, wait_code, wait_message) "
            "VALUES (%s, 3, %s, %s, 'pooler', 'work-missing', 5, 2, 'treasury-short', 'the treasury has 3 KALE')",
            *(new_id(), farm.pooler_id, one.subject_id),
        )
        await farm.rows(
            "INSERT INTO withdrawals (withdrawal_id, farmer_id, idempotency_key, asset, amount_stroops, destination) "
            "VALUES (%s, %s, 'x', 'XLM', 1, 'GX')",
            *(new_id(), one.subject_id),
        )
        await farm.rows("UPDATE withdrawals SET closed_at = now(), code = 'test'")
        await farm.rows("UPDATE farmers SET status = 'leaving' WHERE farmer_id = %s", one.subject_id)
        await farm.rows(
            "UPDATE farmers SET status = 'departed', departed_at = now() WHERE farmer_id = %s", one.subject_id
        )
        await hooks.look()
        await send(hooks)
        of_miners = ["key.ended", "payout.refused"]
        of_farmers = ["farmer.left", "planting", "stake.lost", "withdrawal.refused"]
        assert (sorted(of_ann.types()), sorted(of_one.types())) == (of_miners, of_farmers)
        assert sorted(all_of_it.types()) == sorted(of_miners + of_farmers)
        assert of_ben.connections == of_two.connections == 0, "what is somebody else's is not even made for them"
        for each in of_one.taken:
            assert each.json["data"]["farmer_id"] == str(one.subject_id)
            documented_verify()(secrets[3], each.headers, each.body)
            assert "treasury" not in each.body.decode(), "words for operators"
        [lost] = [each for each in of_one.taken if each.json["type"] == "stake.lost"]
        assert (lost.json["data"]["owed_stroops"], lost.json["data"]["owed_code"]) == ("7", "work-missing")
        assert any("treasury" in each.body.decode() for each in all_of_it.taken)
        with pytest.raises(InputError, match="not told of"):
            await add(farm, ann, of_ann, EventType.HARVEST)


async def test_what_operators_let_their_own_webhooks_ask_nobody_else_does(farm) -> None:
    """Anybody may become a miner: KALEPOOL_WEBHOOK_ORIGINS names servers of the inner network."""
    ann = await a_miner(farm, "ann")
    async with receiving() as inner, sending(farm) as hooks:
        allow(farm, operators=inner)
        with pytest.raises(InputError, match="port 443"):
            await add(farm, ann, inner)
        port = inner.url.split(":")[2].split("/")[0]
        for trick in ("localhost", "127.0.0.1", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0x7f000001"):
            with pytest.raises(InputError):
                await add(farm, ann, Receiver(url=f"http://{trick}:{port}/"))
            new = await add(farm, ann, Receiver(url=f"https://{trick}:{port}/"))
            await waiting(farm, new, 1)
            await send(hooks)
            assert (await webhooks.read(farm.ctx.database, ann, new.webhook_id)).trouble == INNER
            await webhooks.remove(farm.ctx.database, ann, new.webhook_id)

        # A server that the operator named for them, and does not any more.
        allow(farm, inner)
        named = await add(farm, ann, inner)
        await waiting(farm, named, 1)
        for changed in ({"own_webhook_origins": ""}, {"own_webhooks": 0}):
            farm.ctx.settings = farm.ctx.settings.model_copy(update=changed)
            await farm.rows("UPDATE webhooks SET retry_at = now()")
            await farm.rows("UPDATE webhook_deliveries SET due_at = now()")
            await send(hooks)
            assert (await webhooks.read(farm.ctx.database, ann, named.webhook_id)).trouble == NO_MORE
            allow(farm, inner)
        assert inner.connections == 0


async def test_one_s_backlog_and_slow_answers_hold_up_nobody(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """One place for own webhooks. Somebody has 400 deliveries waiting there: whoever comes later has its turn before
    they are through. Others never answer and hold every place: operators' are sent all the same."""
    monkeypatch.setattr(webhook_sending, "OWN_AT_ONCE", 1)
    monkeypatch.setattr(webhook_sending, "OWN_TURN_SECONDS", 0.05)
    greedy, honest, dead = [await a_miner(farm, name) for name in ("greedy", "honest", "dead")]
    async with receiving() as busy, receiving() as quiet, receiving() as silent, receiving() as ours:
        allow(farm, busy, quiet, silent, operators=ours)
        silent.head = None
        of_greedy, of_honest = await add(farm, greedy, busy), await add(farm, honest, quiet)
        async with sending(farm) as hooks:
            await waiting(farm, of_greedy, 400)
            await hooks.send_due()
            await waiting(farm, of_honest, 1)
            await until(hooks, quiet)
            assert 0 < len(busy.taken) < 400, "it did not wait for the others"
        await webhooks.remove(farm.ctx.database, greedy, of_greedy.webhook_id)
        async with sending(farm) as hooks:
            stuck, operators = await add(farm, dead, silent), await add(farm, OPERATORS, ours)
            await waiting(farm, stuck, 3)
            await hooks.send_due()
            await waiting(farm, operators, 3)
            await until(hooks, ours, 3)
            assert silent.connections <= 1 and silent.taken == [], "the place is taken, and one alone"


async def test_what_breaks_the_sender_and_what_nobody_takes_are_nobody_else_s_trouble(
    farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that no request can be made of, should one get in: it is left alone, in place of being first in every
    look. And no miner's dead receiver rings at the operator's."""
    monkeypatch.setattr(webhook_sending, "OWN_AT_ONCE", 1)
    ann, ben = await a_miner(farm, "ann"), await a_miner(farm, "ben")
    async with receiving() as quiet, sending(farm) as hooks:
        allow(farm, quiet)
        with pytest.raises(InputError, match="no address"):
            await add(farm, ann, Receiver(url="https://256.1.1.1/"))
        broken, fine = await add(farm, ann, quiet), await add(farm, ben, quiet)
        await farm.rows("UPDATE webhooks SET url = 'https://256.1.1.1/' WHERE webhook_id = %s", broken.webhook_id)
        await waiting(farm, broken, 1)
        await waiting(farm, fine, 1)
        await until(hooks, quiet)
        [(pause,)] = await farm.rows(
            "SELECT extract(epoch FROM retry_at - now())::float FROM webhooks WHERE webhook_id = %s", broken.webhook_id
        )
        assert pause > 3000
        await farm.rows("UPDATE webhook_deliveries SET status = 'given_up', closed_at = now()")
        assert await webhooks.count(farm.ctx.database) == (0, 0)


async def test_nobody_has_requests_sent_without_end(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """By making webhooks anew, testing them, or having the same delivered again: others would be flooded through us."""
    ann, ben, database = await a_miner(farm, "ann"), await a_miner(farm, "ben"), farm.ctx.database
    async with receiving() as receiver, sending(farm) as hooks:
        allow(farm, receiver)
        made = await asyncio.gather(*(add(farm, ann, receiver) for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(each, TooManyWebhooksError) for each in made) == 2, "three are the most"
        first = (await webhooks.all_webhooks(database, ann))[0].webhook_id
        tests = await asyncio.gather(
            *(webhooks.send_test(database, ann, first) for _ in range(5)), return_exceptions=True
        )
        assert sum(isinstance(each, ConflictError) for each in tests) == 4
        await send(hooks)
        [sent] = await webhooks.deliveries(database, ann, first, DeliveryStatus.DELIVERED, after=None, limit=9)
        with pytest.raises(ConflictError, match="by hand"):
            await webhooks.send_again(database, ann, first, sent.event_id)
        await farm.rows("UPDATE webhooks SET asked_at = asked_at - interval '11 seconds'")
        await webhooks.send_again(database, ann, first, sent.event_id)

        for _ in range(7):
            await webhooks.remove(database, ann, (await webhooks.all_webhooks(database, ann))[0].webhook_id)
            await retention.prune(database, farm.ctx.settings)
            await add(farm, ann, receiver)
        await webhooks.remove(database, ann, (await webhooks.all_webhooks(database, ann))[0].webhook_id)
        with pytest.raises(TooManyWebhooksError, match="within an hour"):
            await add(farm, ann, receiver)
        await add(farm, ben, receiver)  # it is nobody else's limit
        await farm.rows("UPDATE webhooks SET created_at = created_at - interval '61 minutes'")
        await add(farm, ann, receiver)
        await retention.prune(database, farm.ctx.settings)
        assert await farm.rows("SELECT 1 FROM webhooks WHERE removed_at IS NOT NULL") == []


async def test_paused_ones_wait_and_dead_ones_are_paused(farm) -> None:
    ann, database = await a_miner(farm, "ann"), farm.ctx.database
    async with receiving() as receiver, receiving() as ours, sending(farm) as hooks:
        allow(farm, receiver, operators=ours)
        new, operators = await add(farm, ann, receiver), await add(farm, OPERATORS, ours)
        await webhooks.pause(database, ann, new.webhook_id, paused=True)
        await end_a_key(farm, ann)
        await hooks.look()
        await send(hooks)
        assert receiver.connections == 0 and ours.types() == ["key.ended"]
        with pytest.raises(ConflictError, match="paused"):
            await webhooks.send_test(database, ann, new.webhook_id)
        await webhooks.pause(database, ann, new.webhook_id, paused=False)
        await send(hooks)
        assert receiver.types() == ["key.ended"]

        # Neither a week alone, nor tries alone; nor operators'.
        for days, failures, is_paused in ((8, 29, False), (6, 30, False), (8, 30, True)):
            await farm.rows(
                "UPDATE webhooks SET delivered_at = NULL, failures = %s, "
                "created_at = now() - make_interval(days => %s)",
                *(failures, days),
            )
            await hooks.give_up()
            found = await webhooks.read(database, ann, new.webhook_id)
            assert (found.paused_at is not None) == is_paused, (days, failures)
        assert (await webhooks.read(database, OPERATORS, operators.webhook_id)).paused_at is None
        await webhooks.pause(database, ann, new.webhook_id, paused=False)
        await hooks.give_up()
        assert (await webhooks.read(database, ann, new.webhook_id)).paused_at is None, "it is tried for another day"


async def test_a_webhook_is_its_owners_alone_in_the_database_too(farm) -> None:
    """Not found for anybody else, operators among them; and a row that was given to another is sent nothing."""
    ann, ben, database = await a_miner(farm, "ann"), await a_miner(farm, "ben"), farm.ctx.database
    async with receiving() as receiver, sending(farm) as hooks:
        allow(farm, receiver)
        new = await add(farm, ann, receiver)
        event_id = (await webhooks.send_test(database, ann, new.webhook_id)).event_id
        for other in (ben, OPERATORS, Keeper(Role.FARMER, new_id())):
            assert await webhooks.all_webhooks(database, other) == []
            for attempt in (
                webhooks.read(database, other, new.webhook_id),
                webhooks.remove(database, other, new.webhook_id),
                webhooks.pause(database, other, new.webhook_id, paused=True),
                webhooks.send_test(database, other, new.webhook_id),
                webhooks.send_again(database, other, new.webhook_id, event_id),
                webhooks.deliveries(database, other, new.webhook_id, None, after=None, limit=9),
            ):
                with pytest.raises(NotFoundError):
                    await attempt

        async with await psycopg.AsyncConnection.connect(farm.database_url, autocommit=True) as connection:
            await connection.execute("SET ROLE kalepool_api")
            for column in ("subject_id", "role"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await connection.execute(f"UPDATE webhooks SET {column} = NULL".encode())
        allow(farm, receiver, operators=receiver)
        for role, to in (("miner", ben.subject_id), (None, None)):  # by who owns the tables
            await farm.rows("UPDATE webhooks SET role = %s, subject_id = %s, retry_at = now()", role, to)
            await farm.rows("UPDATE webhook_deliveries SET due_at = now()")
            await send(hooks)
            assert await farm.rows("SELECT trouble FROM webhooks") == [(CHANGED,)]
        assert receiver.connections == 0
