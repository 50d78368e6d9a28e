"""Webhooks in a browser: made, tried, paused and ended on the pages of operators, miners and farmers; and what an
attacker does with their forms, their addresses and somebody else's webhooks."""

from __future__ import annotations

import asyncio
import html
import re
from uuid import UUID

import pytest

from kalepool.api.routes.operating import UNDER
from kalepool.services import webhooks
from kalepool.services.keys import Role, create_key
from kalepool.services.mining import miners
from kalepool.services.webhooks import OPERATORS, OWN_TYPES, EventType, Keeper
from tests.integration.api.test_browser_sessions import HOSTILE
from tests.integration.api.test_farmer_way import add_wallet, signed_in, wait_ready
from tests.integration.api.test_miner_pages import join
from tests.integration.api.test_operator_pages import entered
from tests.support.browser import Browser
from tests.support.browsing import chromium, needs_chromium, open_window
from tests.support.receiver import Receiver, documented_verify, receiving
from tests.support.served import served

pytestmark = pytest.mark.anyio

SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")


@pytest.fixture
def open_pool(api):
    """Anybody becomes a miner or a farmer."""
    ctx = api.app.state.context
    ctx.settings = ctx.settings.model_copy(update={"miner_registration": "open"})
    return api


def allow(api, receiver: Receiver) -> None:
    ctx = api.app.state.context
    origin = receiver.url.rpartition("/")[0]
    ctx.settings = ctx.settings.model_copy(update={"own_webhook_origins": origin, "webhook_origins": origin})


async def come(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(60):
        while len(receiver.taken) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def make(browser: Browser, home: str, url: str, *types: str) -> tuple[str, str]:
    """(the secret, the path of its forms)"""
    shown = await browser.send(home, {"url": url} | {f"type.{each}": "1" for each in types}, page=home)
    assert shown.status_code == 200, shown.text
    [secret] = SECRET.findall(html.unescape(shown.text))
    [path] = set(re.findall(rf'action="({home}/[0-9a-f-]{{36}})/test"', shown.text))
    return secret, path


async def test_a_miner_s_webhook_from_its_making_to_its_end(
    open_pool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the page alone: what comes is signed with the secret that was shown, once."""
    api, browser = open_pool, Browser.of(open_pool.app)
    monkeypatch.setattr(webhooks, "BY_HAND_SECONDS", 0.0)
    key, page = await join(browser)
    home = f"{page}/webhooks"
    assert f'href="{home}"' in (await browser.look(page)).text
    async with receiving() as receiver:
        allow(api, receiver)
        for fields in (
            {"url": receiver.url},
            {"url": receiver.url, "type.harvest": "1"},
            {"url": "https://x", "type.": "1"},
        ):
            refused = await browser.send(home, fields, page=home)
            assert refused.status_code == 422 and 'role="alert"' in refused.text
        secret, path = await make(browser, home, receiver.url, "key.ended")
        assert secret not in (await browser.look(home)).text and receiver.url in (await browser.look(home)).text
        assert (await browser.send(f"{path}/test", {}, page=home)).status_code == 303
        await come(receiver, 1)
        documented_verify()(secret, receiver.taken[0].headers, receiver.taken[0].body)

        await browser.send(f"{path}/pause", {"paused": "yes"}, page=home)
        refused = await browser.send(f"{path}/test", {}, page=home)
        assert refused.status_code == 409 and "resume it first" in refused.text
        made = await create_key(api.farm.ctx.database, Role.MINER, subject_id=UUID(page.rpartition("/")[2]))
        await api.client(made.key).delete(f"/keys/{made.key_id}")
        await browser.send(f"{path}/pause", {"paused": "no"}, page=home)
        await come(receiver, 2)
        told = receiver.taken[1].json["data"]
        assert told["key_id"] == str(made.key_id) and made.key not in receiver.taken[1].body.decode()

        shown = (await browser.look(home)).text
        again = re.findall(rf'action="({path}/deliveries/[0-9a-f-]+/again)"', shown)
        assert len(again) == 2
        await browser.send(again[0], {}, page=home)
        await come(receiver, 3)
        assert receiver.taken[2].body == receiver.taken[1].body

        assert "End this webhook?" in (await browser.send(f"{path}/end", {}, page=home)).text
        await browser.send(f"{path}/end", {"sure": "yes"}, page=home)
        assert path not in (await browser.look(home)).text
        assert (await browser.send(f"{path}/test", {}, page=home)).status_code == 404
    said = "".join(capfd.readouterr())
    assert secret not in said and receiver.url not in said and key not in said, "no log has it"


async def test_forms_of_other_sites_and_forms_sent_twice_make_nothing(open_pool) -> None:
    api, browser = open_pool, Browser.of(open_pool.app)
    _, page = await join(browser)
    home, fields = f"{page}/webhooks", {"url": "https://receiver.example/kale", "type.key.ended": "1"}
    _, path = await make(browser, home, fields["url"], "key.ended")
    stolen = re.search(r'name="csrf" value="([0-9a-f]{64})"', (await browser.look(home)).text)
    assert stolen
    attempts = [
        (home, fields),
        (f"{path}/end", {"sure": "yes"}),
        (f"{path}/pause", {"paused": "yes"}),
        (f"{path}/test", {}),
    ]
    for to, sent in attempts:
        for token, headers in (
            ("", {"Origin": "http://pool"}),
            ("0" * 64, {"Origin": "http://pool"}),
            (stolen[1], {"Origin": "https://evil.example"}),
            (stolen[1], {"Origin": "http://pool", "Sec-Fetch-Site": "cross-site"}),
            (stolen[1], {}),
        ):
            answer = await browser.client.post(to, data={"csrf": token} | sent, headers=headers)
            assert answer.status_code == 403, (to, headers)
        assert (await browser.client.get(to, params=sent)).status_code in (200, 405), "nothing is done by looking"
    # Loaded again, the answer with the secret makes no second webhook.
    first = await browser.client.post(home, data={"csrf": stolen[1]} | fields, headers={"Origin": "http://pool"})
    second = await browser.client.post(home, data={"csrf": stolen[1]} | fields, headers={"Origin": "http://pool"})
    assert (first.status_code, second.status_code) == (200, 403)
    rows = await api.farm.rows("SELECT paused_at, removed_at FROM webhooks")
    assert rows == [(None, None)] * 2 and await api.farm.rows("SELECT 1 FROM webhook_deliveries") == []


async def test_somebody_else_s_webhook_is_not_found_by_page_or_api(open_pool) -> None:
    """Asked for under one's own name with its id, by a miner, a farmer and an operator; and one's own by a key that may
    only read."""
    api, ann, ben = open_pool, Browser.of(open_pool.app), Browser.of(open_pool.app)
    await wait_ready(api)
    wallet = await add_wallet(api.farm)
    await api.farm.rows("UPDATE poolers SET open = true")
    owner = await signed_in(api, wallet)
    farmer = (await owner.post("/farmer/farmers", json={"pooler_id": str(api.farm.pooler_id)})).json()["farmer_id"]
    _, page = await join(ann)
    key, theirs = await join(ben, "ben")
    _, path = await make(ann, f"{page}/webhooks", "https://receiver.example/kale?token=x", "key.ended")
    hook = path.rpartition("/")[2]
    miner, operator = api.client(key), api.operator
    for client, home in (
        (miner, "/v1/miner/webhooks"),
        (operator, "/v1/operator/webhooks"),
        (owner, f"/v1/farmers/{farmer}/webhooks"),
    ):
        assert (await client.get(home)).json() == {"items": []}
        refused = [
            await client.patch(f"{home}/{hook}", json={"paused": True}),
            await client.post(f"{home}/{hook}/test"),
            await client.get(f"{home}/{hook}/deliveries"),
            await client.post(f"{home}/{hook}/deliveries/{hook}/again"),
            await client.delete(f"{home}/{hook}"),
        ]
        assert {each.status_code for each in refused} == {404}, home
    for browser, home in ((ben, f"{theirs}/webhooks"), (await entered(api), f"{UNDER}/webhooks")):
        for what in ("test", "pause", "end", f"deliveries/{hook}/again"):
            assert (await browser.send(f"{home}/{hook}/{what}", {"sure": "yes"}, page=home)).status_code == 404
    assert (await ben.look(f"{page}/webhooks")).status_code == 404
    reads = api.client((await create_key(api.farm.ctx.database, Role.FARMER, subject_id=farmer)).key)
    for client in (reads, miner, api.pooler, operator):
        assert (await client.get(f"/v1/farmers/{farmer}/webhooks")).status_code in (403, 404)

    # Its own, over the API: the secret once, and no more than there may be.
    made = [
        await owner.post(f"/v1/farmers/{farmer}/webhooks", json={"url": f"https://a.example/{i}"}) for i in range(4)
    ]
    assert [each.status_code for each in made] == [201, 201, 201, 409]
    assert made[3].json()["type"].endswith("too-many-webhooks")
    listed = await owner.get(f"/v1/farmers/{farmer}/webhooks")
    assert SECRET.search(made[0].text) and not SECRET.search(listed.text)
    assert listed.json()["items"][0]["types"] == list(OWN_TYPES[Role.FARMER])
    for body, status in (
        ({"url": "https://a.example/", "types": ["payout"]}, 422),
        ({"url": "https://a.example/" + "x" * 500}, 422),
        ({"url": "https://a.example/", "types": ["harvest"] * 1000}, 422),
        ({"url": "https://a.example/", "subject_id": hook}, 422),
        ({"url": "x" * 2_000_000}, 413),
    ):
        assert (await owner.post(f"/v1/farmers/{farmer}/webhooks", json=body)).status_code == status


async def test_an_operator_sees_what_fails_and_hostile_addresses_do_nothing(api) -> None:
    browser, home = await entered(api), f"{UNDER}/webhooks"
    database = api.farm.ctx.database
    async with receiving() as receiver:
        allow(api, receiver)
        receiver.head = "503 Away"
        _, path = await make(browser, home, receiver.url, *EventType)
        await browser.send(f"{path}/test", {}, page=home)
        async with asyncio.timeout(60):
            while not (await webhooks.all_webhooks(database, OPERATORS))[0].failures:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        shown = html.unescape((await browser.look(home)).text)
        assert "1 try in a row was not taken: the answer was HTTP status 503." in shown and "Next try:" in shown
        said = [row["action"] for row in (await api.operator.get("/v1/operator/actions")).json()["items"]]
        assert said[:2] == ["test-webhook", "add-webhook"]
    refused = await browser.send(home, {"url": f"https://x/{HOSTILE}", f"type.{HOSTILE}": "1"}, page=home)
    assert refused.status_code == 422 and HOSTILE not in refused.text
    await api.farm.rows("UPDATE webhooks SET url = %s, trouble = %s, failures = 2", HOSTILE, HOSTILE)
    await api.farm.rows("UPDATE webhook_deliveries SET type = %s, trouble = %s", HOSTILE, HOSTILE)
    shown = await browser.look(home)
    assert shown.status_code == 200 and HOSTILE not in shown.text and "&lt;script" in shown.text


async def test_a_pool_without_own_webhooks_offers_none(open_pool) -> None:
    api, browser = open_pool, Browser.of(open_pool.app)
    ctx = api.app.state.context
    ctx.settings = ctx.settings.model_copy(update={"own_webhooks": 0})
    _, page = await join(browser)
    home = f"{page}/webhooks"
    assert home not in (await browser.look(page)).text
    assert 'name="url"' not in (await browser.look(home)).text
    sent = {"url": "https://receiver.example/", "type.key.ended": "1"}
    refused = await browser.send(home, sent, page=page)
    assert refused.status_code == 409 and 'role="alert"' in refused.text


@needs_chromium
@pytest.mark.slow(10, "a browser looks at three pages, wide and narrow, light and dark")
async def test_the_pages_fit_a_phone_and_can_be_read_by_everybody(farm) -> None:
    """With one webhook that fails and has a long address, one that is paused, and a secret that is shown; in both
    languages."""
    settings = farm.settings.model_copy(update={"miner_registration": "open"})
    long = "https://receiver.example/" + "kale/" * 40
    async with served(settings) as (url, server), chromium() as browser:
        ctx = server._app.state.context
        made = await miners.register(ctx.database, ctx.custody, ctx.settings, "ann")
        for keeper in (Keeper(Role.MINER, made.miner.miner_id), OPERATORS):
            hooks = [await webhooks.add(ctx.database, ctx.custody, ctx.settings, keeper, long, []) for _ in range(2)]
            for hook in hooks:
                await webhooks.send_test(ctx.database, keeper, hook.webhook_id)
            await webhooks.pause(ctx.database, keeper, hooks[1].webhook_id, paused=True)
        key = await create_key(ctx.database, Role.OPERATOR)
        window = await open_window(browser, url, path="/operator")
        page = window.page
        await page.fill("#key", key.key)
        await page.click("form:has(#key) button")
        await page.goto(f"{url}/mine")
        await page.fill("#key", made.key)
        await page.click("form:has(#key) button")
        await window.shows("h1", "ann")
        await page.click("a[href$='/webhooks']")
        await page.fill("#hook-url", "https://receiver.example/third")
        await page.click("#add button")
        await window.shows("#made-title", "secret")
        for path in ("", f"{UNDER}/webhooks", f"{UNDER}/webhooks?lang=de", f"/mine/{made.miner.miner_id}/webhooks"):
            if path:
                await page.goto(url + path)
            await farm.rows("UPDATE webhooks SET failures = 3, trouble = 'HTTP status 503' WHERE paused_at IS NULL")
            for width in (1440, 390):
                await page.set_viewport_size({"width": width, "height": 844})
                for scheme in ("light", "dark"):
                    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                    assert await window.violations() == [], (path, width, scheme)
                assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
        assert window.complaints == []
