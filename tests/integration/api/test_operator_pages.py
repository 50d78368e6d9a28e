"""The operators' pages: who gets in and out, what is asked before it is done and is written down, what names can do."""

from __future__ import annotations

import re

import pytest
from stellar_sdk import Keypair

from kalepool.api.routes.operating import PLACES, UNDER
from kalepool.errors import ConfigError
from kalepool.services import operator_wallets
from kalepool.services.keys import Role, create_key
from tests.integration.services.test_forgotten import forget, send_payment
from tests.support.browser import Browser, signed
from tests.support.browsing import chromium, needs_chromium, open_window
from tests.support.seasoned import season
from tests.support.served import served

pytestmark = pytest.mark.anyio

HOSTILE = '<img src=x onerror="window.taken=1"><script>window.taken=1</script>'


@pytest.fixture
def wallet(api) -> Keypair:
    """An operator's, by the settings."""
    made = Keypair.random()
    settings = api.farm.settings.model_copy(update={"operator_wallets": f" {made.public_key}, "})
    api.app.state.context.settings = settings
    return made


async def challenged(browser: Browser, wallet: Keypair) -> str:
    shown = await browser.look(f"/operator?account={wallet.public_key}")
    found = re.search(r'id="challenge"[^>]*>([^<]+)<', shown.text)
    assert found, shown.text
    return found[1]


async def enter(api, browser: Browser, **proof: str):
    return await browser.send(f"{UNDER}/sign-in", proof, page="/operator")


async def is_in(browser: Browser) -> bool:
    return (await browser.look(f"{UNDER}/settings")).status_code == 200


async def test_a_wallet_on_the_list_gets_in_until_it_is_off_it(api, wallet: Keypair) -> None:
    browser, passphrase = Browser.of(api.app), api.farm.settings.chain.passphrase
    stranger = Keypair.random()
    refused = await enter(api, browser, transaction=signed(await challenged(browser, stranger), stranger, passphrase))
    assert refused.status_code == 403 and "not-an-operator" in refused.text
    assert not await is_in(browser)

    challenge = signed(await challenged(browser, wallet), wallet, passphrase)
    assert (await enter(api, browser, transaction=challenge)).headers["location"] == "/operator"
    assert await is_in(browser)
    assert (await enter(api, Browser.of(api.app), transaction=challenge)).status_code == 422, "a challenge is good once"
    assert await api.farm.rows("SELECT 1 FROM api_keys WHERE role = 'farmer' AND revoked_at IS NULL") == []
    again = Browser.of(api.app)
    await enter(api, again, transaction=signed(await challenged(again, wallet), wallet, passphrase))
    keys = await api.farm.rows("SELECT subject_wallet FROM api_keys WHERE role = 'operator' AND subject_wallet <> ''")
    assert keys == [(wallet.public_key,)], "one key a wallet: the audit tells it by that"

    api.app.state.context.settings = api.farm.settings
    answer = await browser.look("/operator")
    assert answer.status_code == 403 and "not-an-operator" in answer.text
    assert not await is_in(browser) and not await is_in(again)
    bad = api.farm.settings.model_copy(update={"operator_wallets": "GABC"})
    with pytest.raises(ConfigError, match="KALEPOOL_OPERATOR_WALLETS"):
        operator_wallets.listed(bad)


async def test_an_operators_key_gets_in_and_no_other(api) -> None:
    browser = Browser.of(api.app)
    for key in (api.farm.pooler_key, "kp_" + "x" * 43, "", "é", "x" * 10_000):
        assert (await enter(api, browser, key=key)).status_code == 403
    key = await create_key(api.farm.ctx.database, Role.OPERATOR, label="Ann")
    assert (await enter(api, browser, key=key.key)).status_code == 303
    assert await is_in(browser)
    assert key.key not in (await browser.look("/operator")).text
    await browser.send("/sign-out", {}, page="/operator")
    assert not await is_in(browser)
    assert (await api.client(key.key).get("/operator/planting")).status_code == 200, "the key outlives the browser"


async def entered(api) -> Browser:
    browser = Browser.of(api.app)
    key = await create_key(api.farm.ctx.database, Role.OPERATOR, label="Ann")
    await enter(api, browser, key=key.key)
    return browser


async def test_each_button_asks_before_and_is_written_down(api) -> None:
    browser, farm = await entered(api), api.farm
    [(miner_id,)] = await farm.rows(
        "INSERT INTO miners (miner_id, name) VALUES (gen_random_uuid(), 'a miner') RETURNING miner_id"
    )
    pooler = f"{UNDER}/poolers/{farm.pooler_id}"
    correction = {"debit": "operator", "credit": "outside", "amount_stroops": "30000000", "reason": "a gift"}
    forms = {
        f"{UNDER}/planting": ({"paused": "yes", "reason": "a look"}, "pause-planting"),
        pooler: ({"field": "open", "value": "yes"}, "change-pooler"),
        f"{UNDER}/miners/{miner_id}/ban": ({"hours": "5", "reason": "rubbish"}, "ban-miner"),
        f"{UNDER}/miners/{miner_id}/lift": ({}, "lift-ban"),
        f"{UNDER}/books": (correction, "correct-books"),
    }
    done: list[str] = []
    for path, (fields, action) in forms.items():
        asked = await browser.send(path, fields, page="/operator")
        assert asked.status_code == 200 and "Yes, do it" in asked.text, asked.text
        rows = await farm.rows("SELECT action FROM operator_actions ORDER BY action_id")
        assert [row[0] for row in rows] == done, f"{path} was done before it was sure"
        kept = dict(re.findall(r'<input type="hidden" name="(?!csrf)(\w+)" value="([^"]*)"', asked.text))
        assert kept == fields
        answer = await browser.send(path, kept | {"sure": "yes"}, page="/operator")
        assert answer.status_code == 303, answer.text
        done.append(action)
    rows = await farm.rows("SELECT action FROM operator_actions ORDER BY action_id")
    assert [row[0] for row in rows] == done
    shown = (await browser.look(f"{UNDER}/audit")).text
    assert all(action in shown for action in done) and "Ann" in shown and "reason: rubbish" in shown
    assert "paused" in (await browser.look("/operator")).text
    again = await browser.send(f"{UNDER}/planting", SURE | {"paused": "yes", "reason": ""}, page="/operator")
    assert again.status_code == 303
    shown = (await browser.look(f"{UNDER}/audit")).text
    assert shown.count("pause-planting") > 1 and not re.search("reason: *[;<]", shown), "no reason is no detail"
    for path, fields in ((pooler, {"field": "status", "value": "gone"}), (pooler, {"field": "name", "value": "yes"})):
        assert (await browser.send(path, SURE | fields, page="/operator")).status_code == 422
    wrong = {"hours": "0", "reason": ""}
    assert (await browser.send(f"{UNDER}/miners/{miner_id}/ban", SURE | wrong, page="/operator")).status_code == 422


SURE = {"sure": "yes"}


async def test_who_is_sought_is_found_by_any_part(api) -> None:
    browser = await entered(api)
    seen = await season(api.farm, ("a_n%n", "ben"), "Zoë")
    farmer, other = seen.farmers[0], seen.farmers[1]
    await api.farm.rows("UPDATE farmers SET metadata = '{}' WHERE farmer_id = %s", other.farmer_id)
    for words in ("zoë", farmer.custodial_wallet[5:20].lower(), farmer.payout_wallet[-9:], str(farmer.farmer_id)):
        shown = (await browser.client.get(f"{UNDER}/farmers", params={"q": words})).text
        assert farmer.custodial_wallet in shown and other.custodial_wallet not in shown, words
    assert "None." in (await browser.client.get(f"{UNDER}/farmers", params={"q": "%"})).text
    assert "None." in (await browser.client.get(f"{UNDER}/farmers", params={"status": "departed"})).text
    shown = (await browser.client.get(f"{UNDER}/miners", params={"q": "_N%"})).text
    assert "a_n%n" in shown and "ben" not in shown
    assert (await browser.client.get(f"{UNDER}/miners", params={"q": "\x00"})).status_code == 200
    assert (await browser.client.get(f"{UNDER}/miners", params={"q": "x" * 101})).status_code == 422


async def test_no_setting_tells_a_secret(api) -> None:
    shown = (await (await entered(api)).look(f"{UNDER}/settings")).text
    password = re.search(r"://[^:]*:([^@]*)@", api.farm.database_url)
    assert "KALEPOOL_DATABASE_URL" in shown and "(hidden)" in shown
    assert shown.index("The chain") < shown.index("Custody") < shown.index("Alerts"), "in the order of docs/settings.md"
    assert api.farm.database_url not in shown and (password is None or password[1] not in shown)


@needs_chromium
@pytest.mark.slow(12, "a browser sees every page of an operator's, in four ways each")
async def test_names_run_nothing_on_any_page_and_each_is_for_everybody(farm) -> None:
    """XSS by names of farmers, miners, rigs, poolers and reasons; axe; no page in a frame."""
    async with served(farm.settings) as (url, server), chromium() as browser:
        farm.ctx = server._app.state.context
        while farm.ctx.accounts.pool is None:
            await farm.wait_ledger()
        seen = await season(farm, (HOSTILE, HOSTILE), HOSTILE)
        await farm.rows("UPDATE poolers SET name = %s", HOSTILE)
        await farm.rows(
            "UPDATE miners SET ban_reason = %s, suspicion = %s, banned_until = now() + interval '1 day' "
            "WHERE miner_id = %s",
            *(HOSTILE, HOSTILE, seen.miner_ids[0]),
        )
        key = await create_key(farm.ctx.database, Role.OPERATOR, label=HOSTILE)
        await farm.rows(
            "INSERT INTO operator_actions (action_id, key_id, action, detail) "
            "VALUES (gen_random_uuid(), %s, 'test', jsonb_build_object('reason', %s::text))",
            *(key.key_id, HOSTILE),
        )
        window = await open_window(browser, url, path="/operator")
        assert await window.violations() == []
        await window.page.fill("#key", key.key)
        await window.page.click("form:has(#key) button")
        await window.shows("h1", "Now")
        [(submission_id,)] = await farm.rows("SELECT submission_id FROM submissions LIMIT 1")
        shown = 0
        for path in (*PLACES, f"{UNDER}/journal/{submission_id}", "/", f"/miner/{seen.miner_ids[0]}", "/block/0"):
            await window.page.goto(url + path)
            shown += (await window.page.content()).count("&lt;img src=x")
            assert await window.page.locator("img[src=x]").count() == 0, path
            assert await window.page.evaluate("typeof window.taken") == "undefined", path
            for width in (1440, 390):
                await window.page.set_viewport_size({"width": width, "height": 844})
                for scheme in ("light", "dark"):
                    await window.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                    assert await window.violations() == [], (path, width, scheme)
            assert await window.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert shown >= 8, "the names are on the pages"
        await window.page.goto(f"{url}{UNDER}/miners")
        await window.page.locator(f"form[action*='{seen.miner_ids[1]}'] input[name=reason]").fill(HOSTILE[:50])
        await window.page.locator(f"form[action*='{seen.miner_ids[1]}'] button").click()
        await window.shows("h1", "Ban miner <img")
        assert await window.violations() == []
        assert window.complaints == []

        elsewhere = await browser.new_page()
        await elsewhere.set_content(f"<iframe src='{url}/operator'></iframe><iframe src='{url}/'></iframe>")
        await elsewhere.wait_for_timeout(300)
        inside = [await frame.content() for frame in elsewhere.frames[1:]]
        assert len(inside) == 2 and not [each for each in inside if "kalepool" in each], "no page shows it in a frame"


@needs_chromium
@pytest.mark.slow(10, "a browser signs in, and goes through what an operator does")
async def test_an_operator_in_a_browser(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs in with a wallet, pauses, resumes, bans, settles: in Chromium, with no request but its own pages'."""
    (farmer,) = await farm.add_farmers(1)
    begun = await send_payment(farm, farmer)
    forget(monkeypatch)
    await farm.pass_time(60)
    [(miner_id,)] = await farm.rows(
        "INSERT INTO miners (miner_id, name) VALUES (gen_random_uuid(), 'ann') RETURNING miner_id"
    )
    wallet = Keypair.random()
    settings = farm.settings.model_copy(update={"operator_wallets": wallet.public_key})
    async with served(settings) as (url, server), chromium() as browser:
        journal = server._app.state.context.journal
        while not journal.undecided:
            await farm.wait_ledger()
        window = await open_window(browser, url, path="/operator")
        page = window.page

        async def press(button: str) -> None:
            async with page.expect_navigation():
                await page.get_by_role("button", name=button, exact=True).click()

        async def confirm(button: str) -> None:
            await press(button)
            await press("Yes, do it")

        await page.fill("#account", wallet.public_key)
        await press("Show what it has to sign")
        await page.fill("#signed", signed(await page.input_value("#challenge"), wallet, farm.settings.chain.passphrase))
        await page.locator("form:has(#signed) button:not(.copy)").click()
        await window.shows(".who", f"Signed in as {wallet.public_key[:4]}")

        await page.fill("#reason", "a look at it")
        await press("Pause planting")
        await page.get_by_role("link", name="No, back").click()
        await window.shows("#planting", "goes on")
        await page.fill("#reason", "a look at it")
        await confirm("Pause planting")
        await window.shows("#planting", "paused")
        assert await farm.rows("SELECT planting_paused FROM pool_switches") == [(True,)]
        await confirm("Resume planting")
        await window.shows("#planting", "goes on")

        await page.get_by_role("link", name="Miners").click()
        await page.get_by_label("Hours of the ban of ann").fill("2")
        await page.get_by_label("Reason for the ban of ann").fill("rubbish")
        await confirm("Ban")
        await window.shows("table", "✕ banned until")
        assert await farm.rows("SELECT banned_until > now() + interval '1 hour' FROM miners") == [(True,)]
        await confirm("Lift the ban")

        await page.get_by_role("link", name="Now", exact=True).click()
        await page.get_by_role("link", name="Settle a transaction: payment").click()
        await window.shows(".facts", begun.transaction_hash or "?")
        await page.select_option("#status", "applied")
        await page.fill("#ledger", "7")
        await confirm("Settle")
        await window.shows("h1", "payment applied")
        assert journal.undecided == {}
        assert ("applied", 7) in await farm.rows("SELECT status, ledger FROM submissions WHERE action = 'payment'")

        await page.get_by_role("link", name="Audit").click()
        told = [await each.inner_text() for each in await page.locator("tbody tr td:nth-child(3)").all()]
        assert told == ["settle-submission", "lift-ban", "ban-miner", "resume-planting", "pause-planting"]
        await window.shows("tbody", f"{wallet.public_key[:4]}…{wallet.public_key[-4:]}")
        assert await farm.rows("SELECT subject_id FROM operator_actions WHERE action = 'ban-miner'") == [(miner_id,)]
        await page.goto(f"{url}/operator")
        await press("Sign out")
        await window.shows("h1", "For operators")
        assert window.complaints == []


async def test_an_operator_invites_miners_and_ends_keys(api) -> None:
    database, browser = api.farm.ctx.database, Browser.of(api.app)
    operator = await create_key(database, Role.OPERATOR)
    await enter(api, browser, key=operator.key)
    here = f"{UNDER}/keys"
    invitation = {"label": HOSTILE, "uses": "2", "valid_days": "7"}
    shown = await browser.send(f"{UNDER}/invites", invitation, page=here)
    code = re.search(r'id="invite">([\w-]{43})<', shown.text)
    assert code and HOSTILE not in shown.text
    listed = (await browser.look(here)).text
    assert code[1] not in listed, "it is shown once"
    for name, status in (("ann", 201), ("ben", 201), ("eve", 403)):
        sent = {"name": name, "invite": code[1]}
        assert (await api.anybody.post("/miner/register", json=sent)).status_code == status
    await browser.send(f"{UNDER}/invites", invitation, page=here)
    [invite] = re.findall(rf"{UNDER}/invites/([0-9a-f-]+)/end", (await browser.look(here)).text)
    asked = await browser.send(f"{UNDER}/invites/{invite}/end", {}, page=here)
    assert "End the invitation?" in asked.text
    assert (await browser.send(f"{UNDER}/invites/{invite}/end", {"sure": "yes"}, page=here)).status_code == 303
    assert (await browser.send(f"{UNDER}/invites/{invite}/end", {"sure": "yes"}, page=here)).status_code == 404

    other = await create_key(database, Role.OPERATOR, label=HOSTILE)
    client = api.client(other.key)
    assert (await client.get("/keys")).status_code == 200
    listed = (await browser.look(f"{here}?role=operator")).text
    assert f"{here}/{other.key_id}/end" in listed and HOSTILE not in listed
    assert "End the key" in (await browser.send(f"{here}/{other.key_id}/end", {}, page=here)).text
    assert (await client.get("/keys")).status_code == 200, "it was only asked"
    await browser.send(f"{here}/{other.key_id}/end", {"sure": "yes"}, page=here)
    assert (await client.get("/keys")).status_code == 401
    assert f"{here}/{other.key_id}/end" not in (await browser.look(here)).text
    actions = [row[0] for row in await api.farm.rows("SELECT action FROM operator_actions ORDER BY created_at")]
    assert actions == ["invite-miners", "invite-miners", "end-invitation", "revoke-key"]
