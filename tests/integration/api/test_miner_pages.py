"""The miners' pages without a script, and what an attacker tries with them: other sites' forms, a planted cookie,
frames, names, other miners' pages."""

from __future__ import annotations

import html
import re

import pytest
from stellar_sdk import Keypair

from kalepool.services.mining import miners, payout_wallets
from tests.integration.api.test_browser_sessions import HOSTILE
from tests.integration.services.test_own_alerts import TOPIC, listening
from tests.support.browser import TOKEN, Browser, signed

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


async def test_the_last_key_of_a_miner_without_a_wallet_is_not_ended(api, browser: Browser) -> None:
    """It would lock it out for good; and every other is asked for once more."""
    key, path = await join(browser)
    [key_id] = re.findall(rf"{path}/keys/([0-9a-f-]+)/end", (await browser.look(path)).text)
    refused = await browser.send(f"{path}/keys/{key_id}/end", {"sure": "yes"}, page=path)
    assert refused.status_code == 409 and "This is the last key" in refused.text
    client = api.client(key)
    answer = await client.delete(f"/keys/{key_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "last-key")
    # An exchange's wallet, which is many people's, signs in for nobody.
    exchange = {"payout_wallet": Keypair.random().public_key, "payout_memo": "id:7"}
    assert (await browser.send(f"{path}/wallet", exchange, page=path)).status_code == 303
    assert (await client.delete(f"/keys/{key_id}")).status_code == 409
    # With another key it may go, when that was said twice.
    await browser.send(f"{path}/keys", {"label": "cellar"}, page=path)
    asked = await browser.send(f"{path}/keys/{key_id}/end", {}, page=path)
    assert asked.status_code == 200 and "Yes, do it" in asked.text
    assert (await client.get("/miner/me")).status_code == 200, "nothing was ended yet"
    ended = await browser.send(f"{path}/keys/{key_id}/end", {"sure": "yes"}, page=path)
    assert (ended.status_code, ended.headers["location"]) == (303, "/mine?done=key-ended")
    assert (await client.get("/miner/me")).status_code == 401


async def test_who_ends_this_browsers_key_is_told_so(api, browser: Browser) -> None:
    _, path = await join(browser, wallet=Keypair.random().public_key)
    [key_id] = re.findall(rf"{path}/keys/([0-9a-f-]+)/end", (await browser.look(path)).text)
    asked = await browser.send(f"{path}/keys/{key_id}/end", {}, page=path)
    assert "you are signed out here" in asked.text
    answer = await browser.send(f"{path}/keys/{key_id}/end", {"sure": "yes"}, page=path)
    shown = await browser.look(answer.headers["location"])
    assert shown.status_code == 200 and "The key is ended; you are signed out here." in shown.text
    assert 'action="/sign-out"' not in shown.text


async def test_a_key_page_that_is_loaded_again_says_what_to_do(api, browser: Browser) -> None:
    token = TOKEN.search((await browser.look("/mine")).text)
    assert token
    _, path = await join(browser)
    for action in ("/mine/join", f"{path}/keys"):
        again = await browser.send(action, {"name": "ann", "csrf": token[1]}, page=path)
        assert again.status_code == 403 and "A key is shown once" in again.text and 'href="/mine"' in again.text
    other = await browser.send(f"{path}/terms", {"csrf": token[1]}, page=path)
    assert "load the page and try again" in other.text


async def test_a_banned_miner_reads_why_on_its_page(api, browser: Browser) -> None:
    _, path = await join(browser)
    assert "Banned until" not in (await browser.look(path)).text
    until = "2100-01-02 03:04"
    await api.farm.rows("UPDATE miners SET banned_until = %s, ban_reason = 'too many <shares>'", until + "+00")
    for each in ((await browser.look(path)).text, (await browser.look(f"{path}/parts")).json()["figures"]):
        assert f"Banned until {until} UTC: too many &lt;shares&gt;." in each


async def test_what_a_miner_changes_is_confirmed_and_what_is_wrong_stands_in_the_form(api, browser: Browser) -> None:
    _, path = await join(browser)
    for typed, said in {
        "5": "5 KALE are less than the pool&#39;s least, 10",
        "1,000": "can be read in two ways",
        "99999999999999": "is too large",
        "999999999999": "is too large",
    }.items():
        refused = await browser.send(f"{path}/terms", {"threshold": typed, "claimable": "1"}, page=path)
        assert refused.status_code == 422 and said in refused.text, typed
        assert re.search(rf'id="threshold"[^>]* value="{typed}"', refused.text) and "checked" in refused.text
    for typed, kept in {"15": "15", "": "15"}.items():
        answer = await browser.send(f"{path}/terms", {"threshold": typed}, page=path)
        assert f"Kept: from {kept} KALE on." in (await browser.look(answer.headers["location"])).text
    refused = await browser.send(f"{path}/wallet", {"payout_wallet": "GNONE", "payout_memo": "id:5"}, page=path)
    assert refused.status_code == 422 and 'value="GNONE"' in refused.text and 'value="id:5"' in refused.text
    refused = await browser.send(f"{path}/payouts", {"once": "0" * 36}, page=path)
    assert refused.status_code == 409
    assert "0 KALE are due: from 1 KALE on they are paid when you ask" in refused.text
    refused = await Browser.of(api.app).send("/mine/sign-in", {"key": "kp_" + "x" * 43}, page="/mine")
    assert refused.status_code == 403 and 'id="key-wrong"' in refused.text


async def test_another_wallet_is_taken_back_by_a_button_or_by_the_old_one(api, browser: Browser) -> None:
    old, new = Keypair.random().public_key, Keypair.random().public_key
    _, path = await join(browser)
    answer = await browser.send(f"{path}/wallet", {"payout_wallet": old, "payout_memo": "id:5"}, page=path)
    assert f"Kept: you are paid to {old}." in (await browser.look(answer.headers["location"])).text
    for action, fields in {
        f"{path}/wallet/keep": {},
        f"{path}/wallet": {"payout_wallet": old, "payout_memo": "id:5"},
    }.items():
        answer = await browser.send(f"{path}/wallet", {"payout_wallet": new, "later": "1"}, page=path)
        assert "Keep the old one" in (await browser.look(answer.headers["location"])).text
        answer = await browser.send(action, fields, page=path)
        shown = (await browser.look(answer.headers["location"])).text
        assert f"Kept: you are paid to {old}." in shown and new not in shown
    ctx, miner_id = api.app.state.context, path.rpartition("/")[2]
    async with ctx.database.transaction() as session:
        row = await session.fetch_one("lock_miner_wallets", miner_id=miner_id)
    assert row and row["payout_memo"] == "id:5" and payout_wallets.is_sealed(ctx.custody, row)


async def test_a_miner_that_is_not_paid_reads_what_to_do(api, browser: Browser) -> None:
    _, path = await join(browser, wallet=Keypair.random().public_key)
    for code, link in {"payee-trustline-missing": "/farm/wallet", "payee-memo-required": "#paid"}.items():
        await api.farm.rows("UPDATE miners SET payout_code = %s, payout_message = 'it cannot be paid'", code)
        said = re.search(r"Not paid lately.*?</p>", (await browser.look(path)).text)
        assert said and "tried again within an hour" in said[0] and f'href="{link}"' in said[0]


async def test_how_to_claim_what_was_put_down_is_told(api, browser: Browser) -> None:
    wallet = Keypair.random().public_key
    _, path = await join(browser, wallet=wallet)
    miner_id, payout_id = path.rpartition("/")[2], "0" * 8 + "-0000-7000-8000-" + "0" * 12
    await api.farm.rows(
        "INSERT INTO payouts (payout_id, miner_id, amount_stroops, destination, reason, claimable_until) "
        "VALUES (%s, %s, 25000000, %s, 'wish', now() + interval '1 day')",
        *(payout_id, miner_id, wallet),
    )
    await api.farm.rows("INSERT INTO claimable_balances (balance_id, payout_id) VALUES (%s, %s)", b"\7" * 32, payout_id)
    shown = (await browser.look(path)).text
    assert "To claim 2.5 KALE: add KALE's trustline" in shown and f">{'0' * 8}{'07' * 32}<" in shown


async def test_miners_of_one_name_are_told_apart_and_found(api, browser: Browser) -> None:
    wallet = Keypair.random()
    paths = [(await join(Browser.of(api.app), "twin", wallet.public_key))[1] for _ in range(2)]
    tails = [path[-8:] for path in paths]
    shown = (await browser.look("/find?q=twin")).text
    assert all(f">{tail}<" in shown for tail in tails)
    assert (await browser.look(f"/find?q={tails[0]}")).url.path == f"/miner/{paths[0].rpartition('/')[2]}"
    for path, tail in zip(paths, tails, strict=True):
        assert f">{tail}</small>" in (await browser.look(f"/miner/{path.rpartition('/')[2]}")).text
    await browser.sign_in(wallet, api.farm.settings.chain.passphrase)
    shown = (await browser.look("/mine")).text
    assert all(f">{tail}<" in shown for tail in tails)
    assert 'href="/mine">All my miners' in (await browser.look(paths[0])).text
    assert 'href="/mine"' in (await browser.look("/find?q=nobody")).text


async def test_a_miner_reads_before_it_joins_what_was_earned_here(api, browser: Browser) -> None:
    assert "Not known yet" in (await browser.look("/mine")).text
    closing = "INSERT INTO block_closings (block_index, fees_stroops, shared_stroops, window_blocks)"
    await api.farm.rows(f"{closing} VALUES (7, 2000, 1000, 12)")
    await api.farm.rows("INSERT INTO house_hashes VALUES (7, 500000)")
    # 0.0001 KALE for half a megahash: 86,400 of them a day
    assert "17.2800 KALE a day for 1 MH/s" in (await browser.look("/mine")).text
    _, path = await join(browser)
    for shown in (path, f"/miner/{path.rpartition('/')[2]}"):
        assert "kalepool verify-credits 7 --url http" in (await browser.look(shown)).text


async def test_a_rig_that_stops_is_gone_and_makes_no_rate_and_solo_is_shown(api, browser: Browser) -> None:
    _, path = await join(browser)
    miner_id = path.rpartition("/")[2]
    await api.farm.add_farmers(1)
    for name, ago in {"there": 60, "stopped": 90}.items():
        await api.farm.rows(
            "INSERT INTO rigs (miner_id, name, last_seen_at, created_at) "
            "VALUES (%s, %s, now() - make_interval(secs => %s), now() - interval '1 h')",
            *(miner_id, name, ago),
        )
    await api.farm.rows(
        "INSERT INTO shares "
        "(share_id, block_index, farmer_id, searcher, miner_id, nonce, hash, zeros, credited_hashes, solo) "
        "SELECT gen_random_uuid(), 0, %s, searcher, %s, searcher, decode(repeat('00', 31) || '01', 'hex'), 7, "
        "6000000000, name = 'there' FROM rigs",
        *(api.farm.farmers[0].farmer_id, miner_id),
    )
    rigs = re.findall(
        r"<tr><th scope=.row.>(\w+)</th><td>(.*?)</td>\s*<td class=.n.>([^<]+)<", (await browser.look(path)).text
    )
    assert [name for name, _, _ in rigs] == ["there", "stopped"]
    assert "at work" in rigs[0][1] and "SOLO" in rigs[0][1] and rigs[0][2] == "10.0 MH/s"
    assert "gone" in rigs[1][1] and "SOLO" not in rigs[1][1] and rigs[1][2] == "0 H/s"
    for shown in (path, f"/miner/{miner_id}"):
        text = (await browser.look(shown)).text
        assert re.search(r"Hashrate</button></dt><dd>10.0 MH/s", text), "the same on both pages"
        assert 'id="why-miner-hashrate"' in text


async def test_a_farmer_and_a_miner_are_signed_in_side_by_side(api, browser: Browser) -> None:
    """One browser, one cookie: signing in as the one leaves the other in place, and signing out ends both."""
    wallet, passphrase = Keypair.random(), api.farm.settings.chain.passphrase
    key, path = await join(Browser.of(api.app))
    await browser.sign_in(wallet, passphrase)
    planted = browser.cookie
    assert (await browser.send("/mine/sign-in", {"key": key}, page="/mine")).status_code == 303
    assert browser.cookie != planted and await browser.is_signed_in()
    assert (await browser.look("/mine")).url.path == path, "as the miner"
    assert wallet.public_key[-4:] in (await browser.look("/farm/join")).text, "as the farmer"
    # Again as the farmer: the miner stays, and there is no third session.
    challenge = await Browser.of(api.app).challenge(wallet)
    await browser.send("/farm/sign-in", {"transaction": signed(challenge, wallet, passphrase)}, page=path)
    assert (await browser.look("/mine")).url.path == path
    live = "SELECT count(*) FROM browser_sessions JOIN api_keys USING (key_id) WHERE ended_at IS NULL AND role = %s"
    assert [await api.farm.rows(live, role) for role in ("farmer", "miner")] == [[(1,)], [(2,)]], "and where it joined"
    stolen = Browser.of(api.app)
    stolen.bring(planted or "")
    assert not await stolen.is_signed_in(), "an old cookie speaks for nobody"
    old = browser.cookie
    answer = await browser.send("/sign-out", {}, page=path, Referer=f"http://pool{path}")
    assert answer.headers["location"] == "/mine"
    for again in (browser, stolen):
        again.bring(old or "")
        assert not await again.is_signed_in() and (await again.look(path)).status_code == 401
