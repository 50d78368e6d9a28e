"""The miners' pages without a script, and what an attacker tries with them: other sites' forms, a planted cookie,
frames, names, other miners' pages."""

from __future__ import annotations

import html
import re

import pytest
from stellar_sdk import Keypair

from kalepool.services.mining import miners
from tests.integration.api.test_browser_sessions import HOSTILE
from tests.integration.services.test_own_alerts import TOPIC, listening
from tests.support.browser import TOKEN, Browser

pytestmark = pytest.mark.anyio

KEY = re.compile(r"kp_[A-Za-z0-9_-]{43}")


@pytest.fixture
def browser(api) -> Browser:
    """At a pool that is open to miners."""
    ctx = api.app.state.context
    ctx.settings = ctx.settings.model_copy(update={"miner_registration": "open"})
    return Browser.of(api.app)


async def join(browser: Browser, name: str = "ann", wallet: str = "", **more: str) -> tuple[str, str]:
    """(the key, the path of its page)"""
    shown = await browser.send("/mine/join", {"name": name, "payout_wallet": wallet, **more}, page="/mine")
    assert shown.status_code == 200, shown.text
    path = re.search(r"/mine/[0-9a-f-]{36}", shown.text)
    assert path
    return KEY.findall(shown.text)[0], path[0]


async def test_a_key_is_shown_once_and_opens_its_page(api, browser: Browser) -> None:
    key, path = await join(browser)
    assert (await browser.look("/mine")).url.path == path, "whoever joins is signed in"
    assert key not in (await browser.look(path)).text
    assert (await api.client(key).get("/miner/me")).json()["name"] == "ann"
    other = Browser.of(api.app)
    assert (await other.send("/mine/sign-in", {"key": "kp_" + "x" * 43}, page="/mine")).status_code == 403
    answer = await other.send("/mine/sign-in", {"key": f" {key} "}, page="/mine")
    assert (answer.status_code, answer.headers["location"]) == (303, "/mine")
    assert (await other.look("/mine")).url.path == path
    # Somebody else's page is nobody's.
    _, theirs = await join(third := Browser.of(api.app), "ben")
    assert (await other.look(theirs)).status_code == 404
    answer = await other.send(f"{theirs}/terms", {"threshold": "99"}, page=path)
    assert answer.status_code == 404 and (await third.look(theirs)).status_code == 200


async def test_an_invitation_is_asked_for_where_the_pool_does(api, browser: Browser) -> None:
    ctx = api.app.state.context
    ctx.settings = ctx.settings.model_copy(update={"miner_registration": "invite"})
    shown = (await browser.look("/mine")).text
    assert 'name="invite"' in shown
    refused = await browser.send("/mine/join", {"name": HOSTILE, "invite": "wrong"}, page="/mine")
    assert refused.status_code == 422 and HOSTILE not in refused.text and "this invitation is unknown" in refused.text
    invite = await miners.create_invite(ctx.database, "", 1, 3600)
    await join(browser, invite=invite.invite)
    refused = await Browser.of(api.app).send("/mine/join", {"name": "two", "invite": invite.invite}, page="/mine")
    assert refused.status_code == 422, "it was for one"


async def test_other_sites_and_old_forms_do_nothing_to_a_miner(api, browser: Browser) -> None:
    """CSRF, fixation and sending again: nothing is joined, changed or shown by it."""
    planted = Browser.of(api.app)
    await planted.look("/mine")
    browser.bring(planted.cookie or "")
    key, path = await join(browser, wallet=Keypair.random().public_key)
    assert browser.cookie != planted.cookie
    assert (await planted.look(path)).status_code == 401, "who planted a cookie shares nothing"
    evil = Browser(browser.client, "https://evil.example")
    for action, fields in {
        "/mine/join": {"name": "x"},
        "/mine/sign-in": {"key": key},
        f"{path}/keys": {},
        f"{path}/terms": {"threshold": "5000"},
        f"{path}/payouts": {"once": "0" * 36},
        f"{path}/wallet": {"payout_wallet": Keypair.random().public_key, "later": "1"},
        f"{path}/rigs/1/retire": {},
    }.items():
        refused = await evil.send(action, fields, page=path)
        assert refused.status_code == 403 and "origin-refused" in refused.text, action
        refused = await browser.send(action, fields | {"csrf": "0" * 64}, page=path)
        assert refused.status_code == 403 and "csrf-refused" in refused.text, action
    # What made a key makes no second one when it is sent again: its token went with the old cookie.
    token = TOKEN.search((await browser.look(path)).text)
    assert token
    made = await browser.send(f"{path}/keys", {"label": "cellar"}, page=path)
    assert KEY.search(made.text)
    again = await browser.send(f"{path}/keys", {"label": "cellar", "csrf": token[1]}, page=path)
    assert again.status_code == 403
    assert await api.farm.rows("SELECT count(*) FROM api_keys WHERE role = 'miner'") == [(2,)]


async def test_a_miners_names_are_text_and_its_pages_in_no_frame(api, browser: Browser) -> None:
    _, path = await join(browser, HOSTILE)
    miner_id = path.rpartition("/")[2]
    await api.farm.rows("INSERT INTO rigs (miner_id, name) VALUES (%s, %s)", miner_id, HOSTILE)
    shown = [
        await browser.send(f"{path}/keys", {"label": HOSTILE}, page=path),
        *[await browser.look(each) for each in (path, f"{path}/parts", "/mine", f"/mine?account={HOSTILE}")],
    ]
    for each in shown:
        assert HOSTILE not in each.text
        policy = each.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy and each.headers["X-Frame-Options"] == "DENY"
        assert "unsafe" not in policy and "default-src 'none'" in policy
        assert not re.search(r"<script(?! src=\"/static/)|\son\w+=|\sstyle=|<style|javascript:", each.text), each.url
    assert html.escape(HOSTILE) in shown[1].text


async def test_no_session_moves_the_earnings_elsewhere(api, browser: Browser) -> None:
    """A script in the page has the session, and not the wallet: its wallet waits 72 hours, and the owner sees it."""
    wallet, thief = Keypair.random(), Keypair.random().public_key
    _, path = await join(browser, wallet=wallet.public_key)
    asked = await browser.send(f"{path}/wallet", {"payout_wallet": thief}, page=path)
    assert asked.status_code == 200 and "Without its signature" in asked.text
    forged = await browser.send(f"{path}/wallet", {"payout_wallet": thief, "transaction": "x"}, page=path)
    assert forged.status_code == 422
    assert (await browser.send(f"{path}/wallet", {"payout_wallet": thief, "later": "1"}, page=path)).status_code == 303
    row = await api.farm.rows("SELECT payout_wallet, next_wallet, next_wallet_at > now() + interval '71 h' FROM miners")
    assert row == [(wallet.public_key, thief, True)]
    assert thief in (await browser.look(path)).text
    # The wallet's own sign-in is not its signature either: of a key, or of another wallet.
    passphrase = api.farm.settings.chain.passphrase
    own = Browser.of(api.app)
    await own.sign_in(wallet, passphrase)
    assert KEY.search((await own.send(f"{path}/keys", {}, page=path)).text) is None
    await own.send(f"{path}/wallet", {"payout_wallet": thief}, page=path)
    assert (await api.farm.rows("SELECT payout_wallet FROM miners")) == [(wallet.public_key,)]


async def test_the_package_is_the_pools_own(api, browser: Browser) -> None:
    _, path = await join(browser)
    [url] = set(re.findall(r"/mine/package/[\w.-]+\.whl", (await browser.look(path)).text))
    found = await browser.look(url)
    assert found.content.startswith(b"PK") and len(found.content) < 200_000
    assert (await browser.look("/mine/package/..%2fapp.py")).status_code == 404
    assert (await browser.look("/mine/package/other.whl")).status_code == 404


async def test_a_miner_says_where_it_is_told(api, browser: Browser) -> None:
    ctx = api.app.state.context
    async with listening() as topic:
        _, path = await join(browser)
        ctx.settings = ctx.settings.model_copy(update={"own_alert_origins": topic.url.rpartition("/")[0]})
        refused = await browser.send(f"{path}/alerts", {"url": "http://169.254.169.254/latest"}, page=path)
        assert refused.status_code == 422
        assert (await browser.send(f"{path}/alerts", {"url": topic.url}, page=path)).status_code == 303
        answer = await browser.send(f"{path}/alerts/test", {}, page=path)
        assert answer.status_code == 303 and "This is a test" in topic.taken.pop()
        shown = (await browser.look(answer.headers["location"])).text
        assert "The test was sent." in shown and TOPIC not in shown, "the address is a secret"
        assert (await browser.send(f"{path}/alerts/test", {}, page=path)).status_code == 409, "one at a time"
        await browser.send(f"{path}/alerts", {"url": ""}, page=path)
        assert "Told at" not in (await browser.look(path)).text
        ctx.settings = ctx.settings.model_copy(update={"own_alert_origins": ""})
        assert "Alerts" not in (await browser.look(path)).text
