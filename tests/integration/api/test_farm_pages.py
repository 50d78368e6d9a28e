"""The farmers' pages without a script: by forms alone, and what nobody gets done without the wallet's signature."""

from __future__ import annotations

import asyncio
import csv
import html
import io
import re
from datetime import UTC, datetime
from uuid import UUID

import httpx2
import pytest
from stellar_sdk import Keypair

from kalepool.chain import deposit_envelope
from kalepool.errors import RpcUnavailableError
from kalepool.services.farmers import find_farmer
from kalepool.view.farm import read_sums
from tests.integration.api.test_farmer_way import add_wallet, balances, sign_in, wait_ready
from tests.integration.conftest import KALE
from tests.support.browser import Browser, signed

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_day")]

HOSTILE = "<script>alert(1)</script>"
UNSIGNED = re.compile(r'id="unsigned"[^>]*>([^<]+)<')


def to_sign(shown: httpx2.Response) -> str:
    found = UNSIGNED.search(shown.text)
    assert found, shown.text
    return html.unescape(found[1])


@pytest.fixture
async def wallet(api) -> Keypair:
    await wait_ready(api)
    await api.farm.rows("UPDATE poolers SET open = true")
    return await add_wallet(api.farm)


@pytest.fixture
async def browser(api, wallet: Keypair) -> Browser:
    made = Browser.of(api.app)
    assert (await made.sign_in(wallet, api.farm.settings.chain.passphrase)).status_code == 303
    return made


async def join(api, browser: Browser, **wish: str) -> httpx2.Response:
    fields = {"pooler": str(api.farm.pooler_id), "stake": "10", "agreed": "1", **wish}
    return await browser.send("/farm/join", fields, page="/farm/join")


async def active_farmer(api, browser: Browser) -> str:
    """The path of a farmer with 100 KALE."""
    answer = await join(api, browser)
    path = answer.headers["location"]
    found = await api.farm.rows("SELECT custodial_wallet FROM farmers ORDER BY registered_at DESC LIMIT 1")
    await api.farm.ctx.chain.fund(found[0][0])
    async with asyncio.timeout(60):
        while not await api.farm.rows("SELECT 1 FROM farmers WHERE status = 'active'"):
            await api.farm.wait_ledger()
    await api.farm.give(found[0][0], 100 * KALE)
    await api.farm.wait_ledger()
    return path


async def test_a_hostile_name_is_text_on_every_page(api, browser: Browser) -> None:
    answer = await join(api, browser, name=HOSTILE)
    assert answer.status_code == 303, answer.text
    path = answer.headers["location"]
    for shown in ("/farm", path, f"{path}/withdraw", f"{path}/leave", f"{path}/withdraw?amount={HOSTILE}"):
        text = (await browser.look(shown)).text
        assert HOSTILE not in text and not re.search(r"<script(?! src=\"/static/)|\son\w+=|\sstyle=", text), shown
    parts = (await browser.look(f"{path}/parts")).json()
    assert HOSTILE not in "".join(parts.values())
    assert html.escape(HOSTILE) in (await browser.look(path)).text
    for wish in (
        {"name": "x" * 41},
        {"stake": HOSTILE},
        {"stake": "101"},
        {"pooler": HOSTILE},
        {"payout_wallet": HOSTILE},
    ):
        refused = await join(api, browser, **wish)
        assert refused.status_code == 422 and HOSTILE not in refused.text, wish
    assert (await browser.send("/farm/join", {"pooler": str(api.farm.pooler_id), "stake": "10"})).status_code == 422


async def test_a_script_in_the_page_names_no_payout_wallet_of_its_own(api, browser: Browser, wallet: Keypair) -> None:
    thief, passphrase = Keypair.random().public_key, api.farm.settings.chain.passphrase
    asked = await join(api, browser, payout_wallet=thief)
    assert asked.status_code == 200 and thief in asked.text
    assert await api.farm.rows("SELECT 1 FROM farmers") == []
    # What its holder signed to sign in, or for another deed, is no word for this one.
    login = (await api.anybody.get("/auth", params={"account": wallet.public_key})).json()["transaction"]
    other = to_sign(await join(api, browser, payout_wallet=Keypair.random().public_key))
    for transaction in (login, other, to_sign(asked)):
        by = Keypair.random() if transaction == to_sign(asked) else wallet
        refused = await join(api, browser, payout_wallet=thief, transaction=signed(transaction, by, passphrase))
        assert refused.status_code == 422, refused.text
    assert await api.farm.rows("SELECT 1 FROM farmers") == []
    agreed = signed(to_sign(asked), wallet, passphrase)
    assert (await join(api, browser, payout_wallet=thief, transaction=agreed)).status_code == 303
    assert (await join(api, browser, payout_wallet=thief, transaction=agreed)).status_code == 422, "once"


async def test_money_moves_by_the_wallets_signature_alone(api, browser: Browser, wallet: Keypair) -> None:
    farm, passphrase = api.farm, api.farm.settings.chain.passphrase
    path = await active_farmer(api, browser)
    fields = {"asset": "KALE", "amount": "10"}
    before = (await balances(farm, wallet.public_key))[1] or 0
    page = await browser.look(f"{path}/withdraw?asset=KALE&amount=10")
    login = (await api.anybody.get("/auth", params={"account": wallet.public_key})).json()["transaction"]
    less = to_sign(await browser.look(f"{path}/withdraw?asset=KALE&amount=1"))
    wrong = ["", to_sign(page), signed(login, wallet, passphrase), signed(less, wallet, passphrase)]
    wrong += [signed(to_sign(page), Keypair.random(), passphrase)]
    for transaction in wrong:
        answer = await browser.send(f"{path}/withdraw", fields | {"transaction": transaction}, page=path)
        assert answer.status_code == 422, answer.text
        assert (await browser.send(f"{path}/leave", {"transaction": transaction}, page=path)).status_code == 422
    assert await farm.rows("SELECT 1 FROM withdrawals") == []
    # What was signed for a deed signs nobody in.
    deed = signed(to_sign(page), wallet, passphrase)
    assert (await api.anybody.post("/auth", json={"transaction": deed})).status_code == 400

    for _ in range(2):  # a button that is pressed twice pays once
        answer = await browser.send(f"{path}/withdraw", fields | {"transaction": deed}, page=path)
        assert answer.status_code == 303, answer.text
    assert (await balances(farm, wallet.public_key))[1] == before + 10 * KALE
    assert (
        await browser.send(f"{path}/withdraw", {"asset": "XLM", "amount": "10", "transaction": deed})
    ).status_code == 422
    everything = await browser.look(f"{path}/withdraw?asset=KALE&all=1")
    assert "Withdraw 90 KALE" in everything.text
    assert (await browser.look(f"{path}/withdraw?asset=KALE&amount=91")).status_code == 422
    assert (await browser.look(f"{path}/withdraw?asset=KALE&amount=0.1")).status_code == 422, "less than the least"


async def test_a_deposit_goes_to_the_farmer_and_nowhere_else(api, browser: Browser, wallet: Keypair) -> None:
    farm, passphrase = api.farm, api.farm.settings.chain.passphrase
    path = (await join(api, browser)).headers["location"]
    [(custodial,)] = await farm.rows("SELECT custodial_wallet FROM farmers")
    shown = await browser.look(f"{path}/deposit?asset=XLM&amount=2.5")
    transaction = to_sign(shown)
    elsewhere = await deposit_envelope(farm.ctx.chain, wallet.public_key, wallet.public_key, native_stroops=1)
    for wrong in ("", "nothing", transaction, signed(elsewhere, wallet, passphrase)):
        answer = await browser.send(f"{path}/deposit", {"transaction": wrong}, page=path)
        assert answer.status_code == 422, wrong
    sent = signed(transaction, wallet, passphrase)
    assert (await browser.send(f"{path}/deposit", {"transaction": sent}, page=path)).status_code == 303
    assert (await balances(farm, custodial))[0] >= 25 * KALE // 10 - 1000
    again = await browser.send(f"{path}/deposit", {"transaction": sent}, page=path)
    assert again.status_code in (303, 422), "the network takes it once"
    await farm.give(wallet.public_key, 2 * KALE)
    await farm.wait_ledger()
    assert (await browser.look(f"{path}/deposit?asset=KALE&amount=1.5")).status_code == 200
    more = await browser.look(f"{path}/deposit?asset=KALE&amount=2.5")
    assert more.status_code == 422 and "your wallet has 2 KALE to send: 2.5 are more" in more.text
    assert (await browser.look(f"{path}/deposit?asset=KALE&amount=-1")).status_code == 422
    assert (await browser.look(f"{path}/deposit?asset=BTC&amount=1")).status_code == 422


async def test_stake_pause_and_books(api, browser: Browser, wallet: Keypair) -> None:
    path = await active_farmer(api, browser)
    farmer_id = path.rpartition("/")[2]
    assert (await browser.send(f"{path}/stake", {"stake": "12.5", "most": "3"}, page=path)).status_code == 303
    public = f"/farmer/{farmer_id}"
    assert '<span class="tag">active</span>' in (await api.anybody.get(public)).text
    assert (await browser.send(f"{path}/pause", {"paused": "1"}, page=path)).status_code == 303
    assert '<span class="tag">paused</span>' in (await api.anybody.get(public)).text
    token = (await sign_in(api, wallet)).json()["token"]
    client = api.client(token)
    seen = (await client.get(f"/farmers/{farmer_id}")).json()
    assert (seen["stake_percentage"], seen["stake_most_stroops"], seen["paused"]) == (0.125, "30000000", True)
    seen = (await client.patch(f"/farmers/{farmer_id}", json={"paused": False, "stake_most_stroops": None})).json()
    assert (seen["stake_percentage"], seen["stake_most_stroops"], seen["paused"]) == (0.125, None, False)
    seen = (await client.patch(f"/farmers/{farmer_id}", json={})).json()
    assert (seen["stake_percentage"], seen["paused"]) == (0.125, False)
    for fields in ({"stake": ""}, {"stake": "NaN"}, {"stake": "10", "most": "-1"}, {"stake": "10", "most": "1e9"}):
        assert (await browser.send(f"{path}/stake", fields, page=path)).status_code == 422, fields
    year = datetime.now(UTC).year
    saved = await browser.look(f"{path}/books.csv?year={year}")
    assert saved.headers["content-disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(saved.text)))
    assert set(rows[0] if rows else {"event": ""}) >= {"event"}
    assert len(list(csv.DictReader(io.StringIO((await browser.look(f"{path}/books.csv?year=2020")).text)))) == 0


async def test_the_terms_are_read_before_anybody_signs_in(api, wallet: Keypair) -> None:
    shown = (await api.anybody.get("/farm")).text
    assert "5 % of each reward" in shown and "the pool keeps its key" in shown
    assert "whoever signs in may join" in shown and "Nobody may join" not in shown
    await api.farm.rows("UPDATE poolers SET open = false")
    shown = (await api.anybody.get("/farm")).text
    assert "whoever signs in may join" not in shown and "Nobody may join at the moment" in shown


async def test_each_figure_of_a_farmer_says_what_it_means(api, browser: Browser) -> None:
    text = (await browser.look((await join(api, browser)).headers["location"])).text
    asked = set(re.findall(r'popovertarget="(why-[a-z-]+)"', text))
    assert asked >= {"why-expected", "why-received", "why-handed-in", "why-not-collected", "why-network-fees"}
    assert asked <= set(re.findall(r'id="(why-[a-z-]+)"', text))


async def test_nobody_sees_anothers_farmer(api, browser: Browser) -> None:
    path = (await join(api, browser)).headers["location"]
    stranger = Browser.of(api.app)
    assert (await stranger.look(path)).status_code == 401
    await stranger.sign_in(Keypair.random(), api.farm.settings.chain.passphrase)
    for page in ("", "/parts", "/withdraw", "/leave", "/books.csv?year=2026", "/deposit?asset=XLM&amount=1"):
        assert (await stranger.look(path + page)).status_code == 404, page
    for form in ("/stake", "/pause", "/withdraw", "/leave", "/deposit"):
        answer = await stranger.send(path + form, {"stake": "1", "amount": "1"}, page="/farm/join")
        assert answer.status_code == 404, form


async def test_what_a_farmer_has_adds_up(api, browser: Browser, wallet: Keypair) -> None:
    """Deposited + earned - fee - withdrawn = what is in its wallet and planted; the tax file has it all, XLM too."""
    farm, passphrase = api.farm, api.farm.settings.chain.passphrase
    path = await active_farmer(api, browser)
    for asset, typed in (("KALE", "10.5"), ("XLM", "1.5")):
        shown = await browser.look(f"{path}/withdraw?asset={asset}&amount={typed}")
        fields = {"asset": asset, "amount": typed, "transaction": signed(to_sign(shown), wallet, passphrase)}
        assert (await browser.send(f"{path}/withdraw", fields, page=path)).status_code == 303
    farmer = await find_farmer(farm.ctx.database, UUID(path.rpartition("/")[2]))
    assert farmer is not None
    async with asyncio.timeout(30):
        while len(sums := dict(await read_sums(farm.ctx.database, farmer.farmer_id))) < 4 or not sums["Deposited"]:
            await farm.wait_ledger()
    assert sums == {"Deposited": 100 * KALE, "Earned": 0, "The pool's fee": 0, "Withdrawn": -(10 * KALE + KALE // 2)}
    part = (await browser.look(f"{path}/parts")).json()["sums"]
    said = " ".join(re.sub(r"<[^>]+>", " ", part).split())
    assert "Deposited + 100.0000000" in said and "Withdrawn − 10.5000000" in said and "= 89.5000000" in said
    assert "of it in the wallet 89.5000000 of it planted 0.0000000" in said and "On its way" not in said
    assert "Deposits" in part and ">100</td>" in part
    client = api.client((await sign_in(api, wallet)).json()["token"])
    has = (await client.get(f"/farmers/{farmer.farmer_id}")).json()["balances"]
    assert (int(has["kale_stroops"]), int(has["planted_stroops"])) == (895 * KALE // 10, 0)
    saved = await browser.look(f"{path}/books.csv?year={datetime.now(UTC).year}")
    rows = [(row["event"], row["asset"], row["amount"]) for row in csv.DictReader(io.StringIO(saved.text))]
    assert ("deposited", "KALE", "100") in rows and ("withdrawn", "KALE", "-10.5") in rows
    assert rows[-1] == ("withdrawn", "XLM", "-1.5"), "after what the books have"


async def test_sums_are_read_as_the_reader_writes_them(api, browser: Browser) -> None:
    path = await active_farmer(api, browser)
    browser.client.headers["Accept-Language"] = "de"
    shown = await browser.look(f"{path}/withdraw?asset=KALE&amount=12,5")
    assert shown.status_code == 200 and "12,5 KALE abheben" in shown.text and 'name="amount" value="12.5"' in shown.text
    assert "Es sind 100 eigene KALE" in shown.text or "100 " in shown.text
    for typed in ("2.5", "1.000", "1,000"):
        shown = await browser.look(f"{path}/withdraw?asset=KALE&amount={typed}")
        assert shown.status_code == 422 and "kann zweierlei heißen" in shown.text, typed


async def test_a_wrong_address_for_alerts_stands_in_the_form(api, browser: Browser) -> None:
    ctx = api.app.state.context
    ctx.settings = ctx.settings.model_copy(update={"own_alert_origins": "https://ntfy.example"})
    path = (await join(api, browser)).headers["location"]
    for form, fields in (("alerts", {"url": "https://elsewhere.example/x"}), ("alerts/test", {})):
        wrong = await browser.send(f"{path}/{form}", fields, page=path)
        assert wrong.status_code == 422 and 'id="alert-url"' in wrong.text, form
        assert fields.get("url", "") in wrong.text and "https://ntfy.example" in wrong.text


async def test_what_is_wrong_stands_in_the_form_and_the_text_stays(api, browser: Browser, wallet: Keypair) -> None:
    path = (await join(api, browser)).headers["location"]
    for most, stake in (("1,000", "10"), ("abc", "10"), ("1.000", "10"), ("3", "101")):
        wrong = await browser.send(f"{path}/stake", {"stake": stake, "most": most}, page=path)
        assert wrong.status_code == 422 and 'role="alert"' in wrong.text, most
        assert 'name="most"' in wrong.text and f'value="{most}"' in wrong.text, "the form is there, and what was typed"
    assert (await api.farm.rows("SELECT stake_most_stroops FROM farmers")) == [(None,)]
    for query in ("deposit?asset=KALE&amount=1,000", "deposit?asset=KALE&amount=5", "withdraw?asset=KALE&amount=1,000"):
        wrong = await browser.look(f"{path}/{query}")
        assert wrong.status_code == 422 and 'role="alert"' in wrong.text and "<form" in wrong.text, query
        [told] = re.findall(r'role="alert">([^<]+)<', wrong.text)
        assert "invalid-input" not in told and "stroops" not in told, query
    assert 'role="alert"' in (await browser.look(f"{path}/withdraw?asset=KALE&amount=")).text
    little = (await browser.look(f"{path}/withdraw?asset=XLM&amount=0.5")).text
    assert "0.5 XLM are less than the 1 that are withdrawn at least" in html.unescape(little)
    for form in ("withdraw", "leave", "deposit"):
        fields = {"asset": "XLM", "amount": "1", "transaction": "nonsense"}
        wrong = await browser.send(f"{path}/{form}", fields, page=path)
        assert wrong.status_code == 422 and 'role="alert"' in wrong.text, form
        assert f'action="{path}/{form}"' in wrong.text or f'action="{path}/deposit"' in wrong.text, form
    german = await browser.look(f"{path}/withdraw?asset=KALE&amount=1,000&lang=de")
    assert "kann zweierlei heißen" in german.text


async def test_a_pasted_signature_that_is_none_is_told_beside_what_is_to_be_signed(api, wallet: Keypair) -> None:
    browser = Browser.of(api.app)
    challenge = await browser.challenge(wallet)
    for pasted, said in (("nonsense", "this is no transaction: copy all"), (challenge, "not signed by the wallet yet")):
        fields = {"transaction": pasted, "account": wallet.public_key}
        wrong = await browser.send("/farm/sign-in", fields, page=f"/farm?account={wallet.public_key}")
        assert wrong.status_code == 422 and said in wrong.text and "base64-encoded" not in wrong.text
        assert 'id="challenge"' in wrong.text and wallet.public_key in wrong.text


async def test_an_errors_page_leads_back_to_where_one_came_from(api, browser: Browser) -> None:
    path = (await join(api, browser)).headers["location"]
    for referer, back in (
        (f"http://pool{path}?lang=de", f"{path}?lang=de"),
        ("http://elsewhere/x", "/farm"),
        ("http://pool//elsewhere", "/farm"),
        ("http://pool\\@elsewhere/", "/farm"),
        ("", "/farm"),
    ):
        answer = await browser.client.get(f"{path}/deposit?asset=BTC&amount=1", headers={"Referer": referer})
        assert answer.status_code == 422 and f'<a href="{back}">' in answer.text, referer
        assert "invalid-input" not in re.sub(r"<[^>]+>", "", answer.text)


async def test_a_wallet_without_an_account_is_told_what_it_lacks(api) -> None:
    await wait_ready(api)
    await api.farm.rows("UPDATE poolers SET open = true")
    wallet, browser = Keypair.random(), Browser.of(api.app)
    await browser.sign_in(wallet, api.farm.settings.chain.passphrase)
    path = (await join(api, browser, warned=wallet.public_key)).headers["location"]
    await api.farm.wait_ledger()
    asked = {"Accept": "application/json"}
    answer = await browser.client.get(f"{path}/deposit?asset=XLM&amount=1", headers=asked)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "your wallet has no account on this network yet: it needs XLM first"


async def test_a_wallet_that_cannot_be_paid_is_warned_of_and_mended_by_the_page(api) -> None:
    await wait_ready(api)
    farm, passphrase = api.farm, api.farm.settings.chain.passphrase
    await farm.rows("UPDATE poolers SET open = true")
    wallet, browser = Keypair.random(), Browser.of(api.app)
    await browser.sign_in(wallet, passphrase)
    warned = await join(api, browser)
    assert (
        warned.status_code == 200 and "This payout wallet cannot be paid now: the payout wallet is not" in warned.text
    )
    assert " checked>" in warned.text, "that the terms were read stays said"
    assert await farm.rows("SELECT 1 FROM farmers") == []
    path = (await join(api, browser, warned=wallet.public_key)).headers["location"]
    assert "As it is now you would not be paid" in (await browser.look(f"{path}/leave")).text

    shown = await browser.look("/farm/wallet")
    assert "Give my wallet XLM" in shown.text and farm.settings.chain.asset_issuer in shown.text
    assert (await browser.send("/farm/wallet/gift", {}, page="/farm/wallet")).status_code == 303
    shown = await browser.look("/farm/wallet")
    assert "Add KALE to my wallet" in shown.text and "Give my wallet" not in shown.text
    deposit = await deposit_envelope(farm.ctx.chain, wallet.public_key, wallet.public_key, native_stroops=1)
    for wrong in ("", "nonsense", to_sign(shown), signed(deposit, wallet, passphrase)):
        refused = await browser.send("/farm/wallet/trustline", {"transaction": wrong}, page="/farm/wallet")
        assert refused.status_code == 422 and 'role="alert"' in refused.text and "Add KALE" in refused.text, wrong
    trust = {"transaction": signed(to_sign(shown), wallet, passphrase)}
    assert (await browser.send("/farm/wallet/trustline", trust, page="/farm/wallet")).status_code == 303
    assert "It can be paid KALE" in (await browser.look("/farm/wallet")).text
    assert (await browser.send("/farm/wallet/gift", {}, page="/farm/wallet")).status_code == 303
    assert (await balances(farm, wallet.public_key))[1] == 1000 * KALE
    again = await browser.send("/farm/wallet/gift", {}, page="/farm/wallet")
    assert again.status_code == 422 and "nothing to be given" in again.text
    assert "As it is now" not in (await browser.look(f"{path}/leave")).text


async def test_where_it_stands_says_what_is_wanting_and_who_leaves_signs_once(
    api, browser: Browser, wallet: Keypair
) -> None:
    farm, path = api.farm, await active_farmer(api, browser)
    saved = await browser.send(f"{path}/stake", {"stake": "20", "most": ""}, page=path)
    assert "Changed: it holds from the next block" in (await browser.look(saved.headers["location"])).text
    [(custodial,)] = await farm.rows("SELECT custodial_wallet FROM farmers")
    spendable = (await farm.ctx.chain.read_accounts([custodial]))[custodial].spendable_stroops
    assert "All is in place" not in (state := (await browser.look(f"{path}/parts")).json()["state"]), state
    query = f"{path}/withdraw?asset=XLM&amount={spendable // 10**7}"
    fields = {"asset": "XLM", "amount": str(spendable // 10**7)}
    fields["transaction"] = signed(to_sign(await browser.look(query)), wallet, farm.settings.chain.passphrase)
    assert (await browser.send(f"{path}/withdraw", fields, page=path)).status_code == 303
    await farm.wait_ledger()
    if (await farm.ctx.chain.read_accounts([custodial]))[custodial].spendable_stroops < 4_000_000:
        assert "It is not planted now: its wallet wants" in (await browser.look(f"{path}/parts")).json()["state"]
    await farm.rows("UPDATE farmers SET status = 'leaving', leaving_at = now()")
    assert 'action="' + path + '/leave"' not in (await browser.look(f"{path}/leave")).text


async def test_who_leaves_is_told_what_it_is_owed_and_who_is_not_active_what_it_may(api, browser: Browser) -> None:
    farm, path = api.farm, (await join(api, browser)).headers["location"]
    await farm.rows("UPDATE farmers SET deposit_stroops = %s", 50 * KALE)
    shown = (await browser.look(path)).text
    assert f'href="{path}/withdraw"' not in shown and "Before it is active nothing is withdrawn" in shown
    await farm.rows("UPDATE farmers SET status = 'active', activated_at = now()")
    assert f'href="{path}/withdraw"' in (await browser.look(path)).text
    assert "owed to you" not in (await browser.look(f"{path}/leave")).text
    query = (
        "INSERT INTO pooler_compensations (compensation_id, pooler_id, block_index, farmer_id, fault, code, "
        "stake_stroops, forecast_stroops, standing) "
        "SELECT gen_random_uuid(), pooler_id, 0, farmer_id, 'pooler', 'work-missing', %s, %s, 'owed' FROM farmers"
    )
    await farm.rows(query, 20 * KALE, KALE)
    assert "21.00 KALE are owed to you for lost stakes" in (await browser.look(f"{path}/leave")).text
    await farm.rows("UPDATE farmers SET status = 'leaving', leaving_at = now(), leaving_code = 'pail-open', "
                    "leaving_retry_at = now() + interval '1 day'")  # fmt: skip
    steps = (await browser.look(f"{path}/parts")).json()["state"]
    assert re.findall(r'<li class="(\w+)">', steps) == ["done", "current", "later"], "one thing is waited for"
    await farm.rows("UPDATE farmers SET status = 'departed', departed_at = now()")
    gone = (await browser.look(path)).text
    assert "the pool's operator pays them by hand" in html.unescape(gone) and 'id="alert-url"' not in gone


async def test_while_the_chain_is_silent_no_balance_is_made_up(api, browser: Browser, monkeypatch) -> None:
    async def silent(*_: object) -> None:
        raise RpcUnavailableError("not now")

    path = (await join(api, browser)).headers["location"]
    monkeypatch.setattr(api.app.state.context.chain, "read_holding", silent)
    await api.farm.wait_ledger()
    figures = (await browser.look(f"{path}/parts")).json()["figures"]
    assert "<dt>Balance, KALE</dt><dd>–</dd>" in figures


async def test_a_wallet_of_ones_own_is_not_called_unfunded(api, browser: Browser) -> None:
    wish = {"pooler": str(api.farm.pooler_id), "agreed": "1"}
    path = (await browser.send("/farm/own-wallet", wish, page="/farm/join")).headers["location"]
    assert "not let in yet" in (await browser.look(f"{path}/parts")).json()["figures"]
    listed = (await browser.look("/farm")).text
    assert "not let in yet" in listed and '<td class="n">–</td>' in listed, "what it stakes is its own business"
    assert "<noscript>" in (await api.anybody.get("/farm")).text
