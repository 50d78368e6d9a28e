"""Browsers that sign in: the cookie, and what an attacker tries with it, with forms and with frames."""

from __future__ import annotations

import re

import pytest
from stellar_sdk import Keypair

from kalepool.api.cookies import HOST_SESSION, SESSION
from kalepool.services import browsing
from kalepool.services.keys import Role, create_key
from tests.support.browser import TOKEN, Browser, signed

pytestmark = pytest.mark.anyio

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def browser(api) -> Browser:
    return Browser.of(api.app)


@pytest.fixture
def passphrase(api) -> str:
    return api.farm.settings.chain.passphrase


async def test_a_wallet_signs_in_and_out(api, browser: Browser, passphrase: str) -> None:
    wallet = Keypair.random()
    assert not await browser.is_signed_in()
    answer = await browser.sign_in(wallet, passphrase)
    assert (answer.status_code, answer.headers["location"]) == (303, "/farm")
    assert await browser.is_signed_in()
    stored = await api.farm.rows("SELECT token_hash FROM browser_sessions")
    assert browser.cookie and browser.cookie.encode() not in stored[0][0], "only its hash is kept"
    stolen = browser.cookie

    answer = await browser.send("/sign-out", {})
    assert answer.status_code == 303
    assert not await browser.is_signed_in()
    browser.bring(stolen)
    assert not await browser.is_signed_in(), "a cookie that was kept elsewhere ended too"
    assert await api.farm.rows("SELECT 1 FROM api_keys WHERE subject_wallet IS NOT NULL AND revoked_at IS NULL") == []


async def test_the_cookie_is_out_of_reach(api, browser: Browser, passphrase: str) -> None:
    shown = await browser.look("/farm")
    flags = shown.headers["set-cookie"].lower()
    assert flags.startswith(SESSION) and "httponly" in flags and "samesite=strict" in flags and "path=/" in flags
    assert "secure" not in flags, "on this machine there is no TLS, and browsers would drop it"
    answer = await browser.sign_in(Keypair.random(), passphrase)
    assert "max-age=43200" in answer.headers["set-cookie"].lower()

    api.app.state.context.settings = api.farm.settings.model_copy(update={"public_url": "https://pool.example"})
    over_tls = (await Browser.of(api.app, "https://pool.example").look("/farm")).headers["set-cookie"]
    assert over_tls.startswith(f"{HOST_SESSION}=")
    assert "; secure" in over_tls.lower() and "domain" not in over_tls.lower() and "path=/" in over_tls.lower()


async def test_a_session_that_was_planted_is_worth_nothing(api, browser: Browser, passphrase: str) -> None:
    """Fixation: who puts its own cookie into somebody's browser does not share what is signed in there later."""
    attacker = Browser.of(api.app)
    await attacker.look("/farm")
    planted = attacker.cookie
    assert planted
    browser.bring(planted)
    await browser.sign_in(Keypair.random(), passphrase)
    assert await browser.is_signed_in()
    assert browser.cookie != planted
    assert not await attacker.is_signed_in()
    # Nor does somebody's session go on under another wallet: who signs in anew leaves the old one behind.
    old = browser.cookie
    shown = await Browser.of(api.app).challenge(wallet := Keypair.random())
    await browser.send("/farm/sign-in", {"transaction": signed(shown, wallet, passphrase)})
    assert browser.cookie != old
    attacker.bring(old or "")
    assert not await attacker.is_signed_in()


async def test_what_other_sites_send_does_nothing(api, browser: Browser, passphrase: str) -> None:
    """CSRF: without the token, with another's, with a stale one, from another origin, or by a form of another type."""
    await browser.sign_in(Keypair.random(), passphrase)
    shown = (await browser.look("/farm")).text
    token = TOKEN.search(shown)
    assert token
    other = Browser.of(api.app)
    others = TOKEN.search((await other.look("/farm")).text)
    assert others and others[1] != token[1]

    async def post(fields: dict[str, str], **headers: str) -> tuple[int, str]:
        given = {"Origin": "http://pool"} | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await browser.client.post("/sign-out", data=fields | {"x": ""}, headers=given | {"Accept": "*/*"})
        return answer.status_code, answer.json().get("code", "") if answer.status_code >= 400 else ""

    right = {"csrf": token[1]}
    assert await post({}) == (403, "csrf-refused")
    assert await post({"csrf": others[1]}) == (403, "csrf-refused")
    assert await post({"csrf": ""}) == (403, "csrf-refused")
    assert await post({"csrf": "é" * 64}) == (403, "csrf-refused")
    for origin in ("https://evil.example", "null", "", "http://pool.evil.example", "http://pool@evil.example"):
        assert await post(right, Origin=origin) == (403, "origin-refused"), origin
    assert await post(right, Origin="http://pool:81") == (403, "origin-refused"), "cookies know no ports"
    assert await post(right, Sec_Fetch_Site="cross-site") == (403, "origin-refused")
    assert await post(right, Sec_Fetch_Site="same-site") == (403, "origin-refused")
    plain = await browser.client.post(
        "/sign-out", content=f"csrf={token[1]}", headers={"Origin": "http://pool", "Content-Type": "text/plain"}
    )
    assert plain.status_code == 415
    assert await browser.is_signed_in()
    # The token goes with the cookie: another browser has no use for it.
    stranger = await other.client.post("/sign-out", data=right, headers={"Origin": "http://pool"})
    assert stranger.status_code == 403
    assert await post({}, X_CSRF_Token=token[1]) == (303, "")
    assert not await browser.is_signed_in()
    assert await post(right) == (403, "csrf-refused"), "it ended with the session"


async def test_nobody_is_signed_in_as_somebody_else(api, browser: Browser, passphrase: str) -> None:
    """Login CSRF: an attacker's signed challenge, sent by the victim's browser, signs it in nowhere."""
    await browser.look("/farm")
    attacker = Browser.of(api.app)
    attacker.origin = "https://evil.example"
    assert (await attacker.sign_in(Keypair.random(), passphrase)).status_code == 403
    assert not await attacker.is_signed_in()


async def test_a_cookie_opens_no_api(api, browser: Browser, passphrase: str) -> None:
    await browser.sign_in(Keypair.random(), passphrase)
    token = TOKEN.search((await browser.look("/farm")).text)
    assert token
    for path in ("/farmer/farmers", "/keys", "/farmer/poolers"):
        assert (await browser.client.get(path, headers={"X-CSRF-Token": token[1]})).status_code == 401
    assert (await browser.client.get("/keys", headers={"Authorization": f"Bearer {browser.cookie}"})).status_code == 401


async def test_it_ends_everywhere_with_the_wallet_and_with_the_key(api, browser: Browser, passphrase: str) -> None:
    wallet = Keypair.random()
    phone = Browser.of(api.app)
    for each in (browser, phone):
        await each.sign_in(wallet, passphrase)
        assert await each.is_signed_in()
    await browser.send("/sign-out", {"everywhere": "1"})
    assert not await browser.is_signed_in() and not await phone.is_signed_in()

    database = api.farm.ctx.database
    key = await create_key(database, Role.OPERATOR)
    made = await browsing.begin(database, key.key_id, seconds=60, instead_of=None)
    [found] = await browsing.find(database, made.secret)
    assert found.role == Role.OPERATOR and found.key_id == key.key_id
    await browsing.end(database, made.secret, found)
    assert await browsing.find(database, made.secret) == []
    made = await browsing.begin(database, key.key_id, seconds=60, instead_of=None)
    assert (await api.operator.delete(f"/operator/keys/{key.key_id}")).status_code == 204
    assert await browsing.find(database, made.secret) == [], "who ends a key ends what stands on it"
    made = await browsing.begin(database, (await create_key(database, Role.OPERATOR)).key_id, seconds=0, instead_of="")
    assert await browsing.find(database, made.secret) == [], "its time is over"


async def test_a_key_has_so_many_browsers(api) -> None:
    database = api.farm.ctx.database
    key = await create_key(database, Role.OPERATOR)
    made = [
        await browsing.begin(database, key.key_id, seconds=60, instead_of=None)
        for _ in range(browsing.MOST_SESSIONS + 1)
    ]
    assert await browsing.find(database, made[0].secret) == []
    assert await browsing.find(database, made[1].secret)


async def test_no_page_is_framed_or_runs_what_it_is_told(api, browser: Browser) -> None:
    """Clickjacking and XSS: what the browser is told of every page, and what was typed in shown as text."""
    await api.farm.add_farmers(1)
    farmer = api.farm.farmers[0].farmer_id
    hostile = await browser.look(f"/farm?account={HOSTILE}")
    assert HOSTILE not in hostile.text and hostile.status_code == 422
    assert HOSTILE not in (await browser.look(f"/nothing/{HOSTILE}?lang={HOSTILE}")).text
    for path in ("/", "/farm", f"/farm?account={HOSTILE}", f"/farmer/{farmer}", "/nothing", "/docs"):
        shown = await browser.look(path)
        policy = shown.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy and shown.headers["X-Frame-Options"] == "DENY"
        assert shown.headers["Cache-Control"] == "no-store"
        if path == "/docs":
            continue
        assert "unsafe" not in policy and "default-src 'none'" in policy and "form-action 'self'" in policy
        assert not re.search(r"<script(?! src=\"/static/)|\son\w+=|\sstyle=|<style|javascript:", shown.text), path


async def test_a_page_speaks_the_readers_language(api, browser: Browser) -> None:
    assert '<html lang="de">' in (await browser.client.get("/farm", headers={"Accept-Language": "de-CH"})).text
    assert "Mit der Wallet anmelden" in (await browser.look("/farm?lang=de")).text
    assert "Mit der Wallet anmelden" in (await browser.look("/farm")).text, "it is remembered"
    assert "Sign in with your wallet" in (await browser.look("/farm?lang=en")).text


async def test_what_is_wrong_is_a_page_for_who_asks_for_pages(api, browser: Browser, passphrase: str) -> None:
    shown = await browser.send("/farm/sign-in", {"transaction": "no challenge"})
    assert shown.status_code == 422 and shown.headers["content-type"].startswith("text/html")
    assert "this is no transaction" in shown.text and "challenge-invalid" not in shown.text
    assert (await browser.send("/farm/sign-in", {"transaction": "x" * 10_001})).status_code == 422
