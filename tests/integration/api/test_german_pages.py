"""Every page in German: what says the same in English is a name, a unit, or a word that both languages have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx2
import pytest
from stellar_sdk import Keypair

from kalepool.api.limits import RateLimits
from kalepool.api.routes.operating import PLACES, UNDER
from kalepool.services.keys import Role, create_key
from kalepool.services.mining.gate import HASTY
from kalepool.view.words import CATALOGUES
from tests.integration.api.test_farmer_way import add_wallet, wait_ready
from tests.support.browser import Browser
from tests.support.seasoned import season

pytestmark = [pytest.mark.anyio]

LETTERS = re.compile(r"[^\W\d_]{2,}")
READ = ("title", "alt", "placeholder", "aria-label", "data-live", "data-lost", "data-silent", "data-done")
SILENT = {"script", "style", "code", "pre"}
NAMES = re.compile(
    r"(kalepool|devnet|Deutsch|English|KALE|XLM|API|UTC|SOLO|Linux|macOS|Windows|Docker|JSON|CSV|Ann|ben|ann|RPC|"
    r"test|ours|pooler|cpu|cuda|worker|and|s|[kMG]?H/s|text:…|id:…|hash:…|[{]\w+[}]|"
    r"[GCTS][A-Z2-7]{3,55}(…[A-Z2-7]{4})?|[0-9a-f…-]{6,64}|https?://\S+|KALEPOOL_\w+|[\d.,:+−–/()\s%·#]+)"
)
"""Which stand as they are: names of things and people, addresses, numbers with their units."""

SPOKEN_BY_CODE = {
    "/operator",
    f"{UNDER}/money",
    f"{UNDER}/settings",
    f"{UNDER}/audit",
    f"{UNDER}/journal",
    f"{UNDER}/keys",
}
"""An operator's pages whose rows are the code's own names, as logs, /health, settings and commands have them: parts of
the pool, accounts of the books, actions."""


VOID = {"meta", "link", "input", "img", "br", "hr", "rect", "path", "line"}


class Texts(HTMLParser):
    """What somebody reads on a page, in its order; not what is shown as an address or a command."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open: list[bool] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        is_silent = tag in SILENT or "id" in (known.get("class") or "").split()
        if not any(self._open):
            self.found += [known[name] or "" for name in READ if name in known and not is_silent]
        if tag not in VOID:
            self._open.append(is_silent)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing is inside."""

    def handle_endtag(self, tag: str) -> None:
        if self._open and tag not in VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not any(self._open) and data.strip():
            self.found.append(" ".join(data.split()))


def same_in_both() -> Iterator[re.Pattern[str]]:
    """Of the catalogue: what is the same in German, with whatever its names stand for."""
    for english, german in CATALOGUES["de"].WORDS.items():
        if english == german:
            if "%(" in english and not LETTERS.search(re.sub(r"%\(\w+\)s", "", english)):
                continue
            yield re.compile(re.sub(r"%\\\(\w+\\\)s", ".+", re.escape(english)))


SAME = list(same_in_both())


def is_name(word: str) -> bool:
    return not LETTERS.search(word) or bool(NAMES.fullmatch(word)) or any(each.fullmatch(word) for each in SAME)


def left_english(german: str, english: str) -> set[str]:
    """Texts that are on both pages and have letters, and are no names."""
    there = set(Texts(english).found)
    return {
        text
        for text in Texts(german).found
        if text in there
        and LETTERS.search(text)
        and not all(is_name(word.strip("()[]…,;:✕✓!")) for word in text.split())
        and not any(each.fullmatch(text) for each in SAME)
    }


def test_what_is_left_is_seen() -> None:
    english = '<p title="Stake">Block <b>7</b> KALE</p><p>the block was over</p><i class="id">abc</i>'
    german = english.replace("Stake", "Einsatz")
    assert left_english(german, english) == {"the block was over"}


class Reader:
    """Looks at pages of an app, and sends forms, in both languages."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.left: dict[str, set[str]] = {}

    async def _in(self, language: str, path: str, fields: dict[str, str] | None, page: str) -> httpx2.Response:
        self.browser.client.headers["Accept-Language"] = language
        if fields is None:
            return await self.browser.look(path)
        return await self.browser.send(path, fields, page=page)

    async def read(self, path: str, fields: dict[str, str] | None = None, *, page: str = "/farm") -> str:
        """In German."""
        german, english = [await self._in(each, path, fields, page) for each in ("de", "en")]
        assert german.headers.get("Content-Language") == "de", (path, fields, german.status_code)
        assert german.status_code == english.status_code
        if left := left_english(german.text, english.text):
            self.left[f"{path} {fields or ''}"] = left
        return german.text


async def of_strangers(api, seen) -> Reader:
    reader = Reader(Browser.of(api.app))
    paths = [
        "/",
        "/block/0",
        "/block/1",
        "/block/999",
        "/books",
        "/farm",
        "/operator",
        "/mine",
        "/mine/browser",
        "/nowhere",
    ]
    paths += [f"/farmer/{seen.farmers[0].farmer_id}", f"/farmer/{seen.farmers[3].farmer_id}"]
    paths += [f"/miner/{each}" for each in seen.miner_ids]
    paths += [
        "/find?q=nobody",
        "/farm?account=GABC",
        "/farm?account=S",
        "/mine?account=x",
        "/farm/wallet",
        "/mine/join",
    ]
    for path in paths:
        await reader.read(path)
    for path, fields in (
        ("/farm/sign-in", {"transaction": "nonsense", "account": Keypair.random().public_key}),
        ("/mine/sign-in", {"key": "kp_wrong"}),
        ("/mine/join", {"name": "", "invite": "x"}),
        (f"{UNDER}/sign-in", {"key": "kp_wrong"}),
    ):
        await reader.read(path, fields, page="/" + path.split("/")[1])
    return reader


async def of_webhooks(api, reader: Reader, home: str) -> None:
    """The page without one, with one that fails and one that is paused, and what is wrong with a form."""
    await reader.read(home)
    ctx = api.app.state.context
    whole = {"url": "https://receiver.example/kale", "type.key.ended": "1"}
    made = await reader.read(home, whole, page=home)  # one in each language
    assert "whsec_" in made
    paths = re.findall(rf'action="({home}/[0-9a-f-]+)/test"', (await reader.browser.look(home)).text)
    for path in paths:
        assert (await reader.browser.send(f"{path}/test", {}, page=home)).status_code == 303
    delivered = "UPDATE webhook_deliveries SET status = %s, trouble = %s, closed_at = CASE WHEN %s THEN now() END"
    for status, trouble in (("given_up", "HTTP status 503"), ("waiting", "TimeoutError"), ("delivered", None)):
        await api.farm.rows(delivered, status, trouble, status != "waiting")
        await api.farm.rows(
            "UPDATE webhooks SET failures = 3, trouble = %s, retry_at = now() + interval '1 hour'", trouble
        )
        await reader.read(home)
    await reader.browser.send(f"{paths[0]}/pause", {"paused": "yes"}, page=home)
    await reader.read(home)
    for fields in (whole | {"url": "x"}, {"url": "x"}, whole | {"url": "http://x.example/"}):
        assert 'role="alert"' in await reader.read(home, fields, page=home)
    assert 'role="alert"' in await reader.read(f"{paths[0]}/test", {}, page=home)
    await reader.read(f"{paths[0]}/end", {}, page=home)
    if "/operator/" not in home:
        before, ctx.settings = ctx.settings, ctx.settings.model_copy(update={"own_webhooks": 2})
        assert 'name="url"' not in await reader.read(home)
        assert 'role="alert"' in await reader.read(home, whole, page=home)
        ctx.settings = before


async def of_a_farmer(api, wallet: Keypair) -> Reader:
    reader = Reader(browser := Browser.of(api.app))
    await browser.sign_in(wallet, api.farm.settings.chain.passphrase)
    joining = {"pooler": str(api.farm.pooler_id), "stake": "10", "agreed": "1"}
    for wish in (
        {"stake": "x"},
        {"stake": "101"},
        {"agreed": "1", "payout_wallet": "nobody"},
        {"payout_wallet": Keypair.random().secret},
        {"payout_memo": "x"},
        {"payout_wallet": Keypair.random().public_key},
        {"pooler": "x"},
        {"name": "x" * 41},
    ):
        await reader.read("/farm/join", joining | wish)
    path = (await browser.send("/farm/join", joining, page="/farm/join")).headers["location"]
    for each in ("/farm", "/farm/join", "/farm/wallet", path, f"{path}/withdraw", f"{path}/leave"):
        await reader.read(each)
    await reader.read(f"{path}/deposit?asset=XLM&amount=2")
    for amount in ("", "0", "x", "1.5,2", "99999999"):
        await reader.read(f"{path}/withdraw?asset=KALE&amount={amount}")
        await reader.read(f"{path}/deposit?asset=KALE&amount={amount}")
    for form, fields in (
        ("stake", {"stake": "x"}),
        ("stake", {"stake": "10", "most": "1 000"}),
        ("alerts", {"url": "https://elsewhere.example/"}),
        ("alerts/test", {}),
        ("deposit", {"transaction": "x"}),
        ("leave", {"transaction": "x"}),
        ("withdraw", {"asset": "KALE", "amount": "1", "transaction": "x"}),
    ):
        shown = await reader.read(f"{path}/{form}", fields, page=path)
        assert 'role="alert"' in shown and "<form" in shown, (form, "what is wrong stands in the form")
    await of_webhooks(api, reader, f"{path}/webhooks")
    return reader


async def of_a_miner(api) -> Reader:
    ctx = api.app.state.context
    ctx.settings = ctx.settings.model_copy(update={"miner_registration": "open"})
    reader = Reader(browser := Browser.of(api.app))
    await browser.send("/mine/join", {"name": "ann"}, page="/mine")
    path = (await browser.look("/mine")).url.path
    await api.farm.rows(
        "UPDATE miners SET banned_until = now() + interval '1 day', ban_reason = %s, payout_code = 'payee-line-full', "
        "payout_message = 'the trustline has room for 7 stroops more' WHERE miner_id = %s",
        *(HASTY, path.rpartition("/")[2]),
    )
    await reader.read(path)
    for form, fields in (
        ("terms", {"threshold": "0.1"}),
        ("wallet", {"payout_wallet": "x"}),
        ("payouts", {"once": "0" * 36}),
        ("alerts", {"url": "x"}),
        ("alerts/test", {}),
        ("rigs/999/retire", {}),
    ):
        await reader.read(f"{path}/{form}", fields, page=path)
    await of_webhooks(api, reader, f"{path}/webhooks")
    return reader


async def of_an_operator(api) -> Reader:
    reader = Reader(browser := Browser.of(api.app))
    key = await create_key(api.farm.ctx.database, Role.OPERATOR, label="Ann")
    await browser.send(f"{UNDER}/sign-in", {"key": key.key}, page="/operator")
    for path in PLACES:
        await reader.read(path)
        if path in SPOKEN_BY_CODE:
            reader.left.pop(f"{path} ", None)
    await of_webhooks(api, reader, f"{UNDER}/webhooks")
    return reader


@pytest.mark.slow(15, "a pool with a past, and every page of every role twice")
async def test_no_page_is_left_in_english(api) -> None:
    await wait_ready(api)
    api.app.state.limits = RateLimits(api.farm.settings.model_copy(update={"requests_per_minute": 10_000}))
    wallet = await add_wallet(api.farm)
    seen = await season(api.farm)
    settings = api.app.state.context.settings
    api.app.state.context.settings = settings.model_copy(update={"own_alert_origins": "https://ntfy.example"})
    await api.farm.rows("UPDATE poolers SET open = true")
    await api.farm.rows("UPDATE farmers SET metadata = '{}'")
    readers = [
        await of_strangers(api, seen),
        await of_a_farmer(api, wallet),
        await of_a_miner(api),
        await of_an_operator(api),
    ]
    left = {path: texts for reader in readers for path, texts in reader.left.items()}
    assert not left, "\n".join(f"{path}: {sorted(texts)}" for path, texts in left.items())
