"""The page in a real Chromium: a block turns over under it, on a desk and on a phone, by light and by dark."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from kalepool.api.routes.page import TICK_SECONDS
from kalepool.services.farming import plant, work
from kalepool.services.farming.work import Submission
from tests.support.browsing import Window, chromium, needs_chromium, open_window
from tests.support.seasoned import Seasoned, season
from tests.support.served import served, tell_to_stop

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]

CONTRASTS = """
() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const linear = (v) => v <= 10.31 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const worst = [];
  for (const e of document.querySelectorAll("body *")) {
    const speaks = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (e.closest("svg, .hidden, .skip") || !speaks) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) worst.push([ratio.toFixed(2), e.tagName, e.className, e.textContent.trim().slice(0, 30)]);
  }
  return worst;
}
"""
"""Words whose contrast with what is behind them is below WCAG's 4.5."""


@needs_chromium
@pytest.mark.slow(8, "a browser starts, and a block turns over")
async def test_a_block_turns_over_under_it(farm) -> None:
    await farm.add_farmers(3)
    async with served(farm.settings) as (url, server), chromium() as browser:
        farm.ctx = server._app.state.context
        while farm.ctx.accounts.pool is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        desk = await open_window(browser, url, 1280, "light")
        phone = await open_window(browser, url, 390, "dark")
        both = (desk, phone)

        await plant.plant(farm.ctx, 0, farm.pooler_id)
        for window in both:
            await window.shows("#figures", "Planted 3 of 3")
            await window.shows("#clock", "Block 0")
            await window.shows("#link", "live")

        # By keyboard: the first stop leads past the header; the focus outlives an update of its part.
        await desk.page.keyboard.press("Tab")
        assert await desk.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        link = f"/farmer/{farm.farmers[0].farmer_id}"
        await desk.page.focus(f"#farmers a[href='{link}']")
        await farm.pass_time(5)
        nonces = [Submission(each.farmer_id, await farm.nonce(each, 0)) for each in farm.farmers]
        await work.work(farm.ctx, 0, farm.pooler_id, nonces)
        for window in both:
            await window.shows("#verdict", "Safe")
            await window.shows("#farmers", "✓ worked")
            assert await window.page.title() == "Block 0: Safe · kalepool"
        assert await desk.page.evaluate("document.activeElement.getAttribute('href')") == link

        await farm.end_block()
        await plant.plant(farm.ctx, 1, farm.pooler_id)
        for window in both:
            await window.shows("#clock", "Block 1")
            await window.shows("#figures", "Worked 0 of 3")
            await window.shows("#said", "Block 1: ")  # what a screen reader says
            assert await window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert await window.page.evaluate(CONTRASTS) == []
            assert window.complaints == []
        left = await desk.page.inner_text("[data-left]")
        await desk.page.wait_for_function("was => document.querySelector('[data-left]').innerText !== was", arg=left)

        colours = [await w.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") for w in both]
        assert colours == ["rgb(246, 247, 245)", "rgb(17, 20, 18)"]
        tables = "[...document.querySelectorAll('table')].every(t => t.caption && t.querySelector('th[scope]'))"
        assert await desk.page.evaluate(tables)

        # Without JavaScript the same page is whole.
        plain = await (await browser.new_context(java_script_enabled=False)).new_page()
        await plain.goto(url + "/")
        assert "3 of 3" in await plain.inner_text("#figures")

        # Told to stop, the server does not wait for those who look; they are told that it is gone.
        begun = asyncio.get_running_loop().time()
        tell_to_stop(server)
        await desk.shows("#link", "connection lost")
        assert asyncio.get_running_loop().time() - begun < 15
        assert await desk.page.title() == "Connection lost · kalepool"
        await desk.shows("#gone", "Connection lost What is shown was read at")
        await desk.shows("#gone", "when it was: Starting. It may be over.")
        assert not await desk.page.is_visible("#verdict"), "what was true is not told as the present"
        left = await desk.page.inner_text("[data-left]")
        await asyncio.sleep(1.2)
        assert await desk.page.inner_text("[data-left]") == left, "what may be over does not go on counting"


async def opened(farm, server) -> None:
    """Until the API has its accounts; the farm then acts as the API does."""
    farm.ctx = server._app.state.context
    while farm.ctx.accounts.pool is None:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def paths_of(seen: Seasoned) -> list[str]:
    """Every kind of page there is for everybody."""
    return [
        "/",
        "/block/0",
        "/block/1",
        f"/farmer/{seen.farmers[0].farmer_id}",
        f"/miner/{seen.miner_ids[0]}",
        "/books",
        "/farm",
        "/operator",
        "/mine",
        "/mine/browser",
        "/find?q=nobody",
        "/find?q=twin",
        "/nowhere",
    ]


@needs_chromium
@pytest.mark.slow(12, "every page, in four ways each")
async def test_every_page_is_for_everybody(farm) -> None:
    """axe finds nothing, by light and by dark, on a desk and a phone; a keyboard reaches all, and its focus is seen."""
    async with served(farm.settings) as (url, server), chromium() as browser:
        await opened(farm, server)
        seen = await season(farm, ("twin", "twin"))
        await farm.rows(
            "INSERT INTO block_closings (block_index, fees_stroops, shared_stroops, window_blocks) "
            "VALUES (170000, 123450000000, 0, 1)"
        )
        await farm.rows("INSERT INTO share_logs (block_index, sha256, shares) VALUES (170000, sha256('log'), 9)")
        for path in paths_of(seen):
            window = await open_window(browser, url, path=path)
            for width in (1440, 390):
                await window.page.set_viewport_size({"width": width, "height": 844})
                for scheme in ("light", "dark"):
                    await window.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                    assert await window.violations() == [], (path, width, scheme)
            if path == "/":
                assert await window.page.evaluate(SPILLS) == [], "words of a picture are cut off"
                await window.page.set_viewport_size({"width": 1280, "height": 844})
                await window.page.wait_for_timeout(50)
                assert await window.page.evaluate(f"({CUT})().length") == 0, "tables do not fit on a desk"
                await window.page.set_viewport_size({"width": 390, "height": 844})
            if not path.startswith("/block/"):  # each farmer's transactions: it scrolls
                assert await window.page.evaluate(CUT) == [], f"tables of {path} do not fit on a phone"
            assert await window.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            await assert_works_by_keyboard(window)
            if path not in ("/find?q=nobody", "/nowhere"):  # Chromium's own word of a 404
                assert window.complaints == [], path


CUT = """
() => [...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent)
"""

SPILLS = """
() => [...document.querySelectorAll("svg.chart text")].filter((e) => {
  const word = e.getBoundingClientRect(), svg = e.ownerSVGElement;
  const held = (getComputedStyle(svg).overflow === "visible" ? e.closest(".card") : svg).getBoundingClientRect();
  return word.left < held.left || word.right > held.right;
}).map((e) => e.textContent)
"""

STOPS = """
() => {
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
  // Of buttons for one choice the chosen one is a stop; arrows lead to the others.
  window.stops = all.filter((e) => e.checkVisibility() && !(e.type === "radio" && !e.checked));
  return window.stops.length;
}
"""
STOP = """
() => {
  const e = document.activeElement, style = getComputedStyle(e);
  return [window.stops.indexOf(e), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
}
"""


async def assert_works_by_keyboard(window: Window) -> None:
    """The tabulator leads through everything that does something, in the order of the page, and the focus is seen."""
    stops = await window.page.evaluate(STOPS)
    await window.page.evaluate("document.activeElement.blur()")
    for expected in range(stops):
        await window.page.keyboard.press("Tab")
        number, is_seen = await window.page.evaluate(STOP)
        assert (number, is_seen) == (expected, True), f"{window.page.url}: stop {number} of {stops}"


@needs_chromium
@pytest.mark.slow(6, "a browser starts")
async def test_news_that_stay_away_are_not_shown_as_news(farm) -> None:
    """The API answers, and cannot read: what is shown says of when it is, until there is news again."""
    async with served(farm.settings) as (url, server), chromium() as browser:
        await opened(farm, server)
        await farm.add_farmers(1)
        await plant.plant(farm.ctx, 0, farm.pooler_id)
        window = await open_window(browser, url, path="/block/0")
        await window.page.clock.install()
        await window.page.goto(url + "/")
        await window.shows("#link", "live")
        await window.shows("#verdict", "Starting")
        await farm.rows("ALTER TABLE block_plans RENAME TO gone")
        before, now = None, await window.page.evaluate("readAt")
        while now != before:  # what was on its way still comes
            await asyncio.sleep(2 * TICK_SECONDS)
            before, now = now, await window.page.evaluate("readAt")
        await window.page.clock.fast_forward(11_000)
        await window.shows("#link", "no news; this is from ")
        await window.shows("#gone", "The pool gives no news")
        told = await window.page.evaluate(
            "[readerTime(new Date(readAt), true), document.querySelector('#gone .at').innerText]"
        )
        assert told[0] == told[1] and await window.page.evaluate("readAt") == before, "the time of what is shown"
        assert not await window.page.is_visible("#verdict")
        await farm.rows("ALTER TABLE gone RENAME TO block_plans")
        await window.shows("#link", "live")
        await window.shows("#verdict", "Starting")
        assert not await window.page.is_visible("#gone")
        assert window.complaints == []


@needs_chromium
async def test_times_are_the_reader_s(farm) -> None:
    """In its zone and form; without a script in UTC, with the date."""
    async with served(farm.settings) as (url, _), chromium() as browser:
        miner_id, at = "00000000-0000-7000-8000-000000000001", "2026-01-02 23:30:00+00"
        await farm.rows("INSERT INTO miners (miner_id, name, created_at) VALUES (%s, 'ann', %s)", miner_id, at)
        told = {}
        readers: dict[str, dict[str, Any]] = {
            "New York": {"timezone_id": "America/New_York", "locale": "en-US"},
            "Tokyo": {"timezone_id": "Asia/Tokyo", "locale": "en-GB"},
            "no script": {"java_script_enabled": False, "timezone_id": "Asia/Tokyo"},
        }
        for reader, ways in readers.items():
            window = await open_window(browser, url, path=f"/miner/{miner_id}", **ways)
            told[reader] = (await window.page.inner_text("dl time")).replace("\u202f", " ")
        year = ", 2026" if datetime.now(UTC).year != 2026 else ""
        assert told == {
            "New York": f"Jan 2{year}, 06:30 PM",
            "Tokyo": "3 Jan" + year.replace(",", "") + ", 08:30",
            "no script": "2026-01-02 23:30 UTC",
        }


@needs_chromium
async def test_who_is_sought_is_found(farm) -> None:
    """By hand, in the header of every page: a block, a wallet, a miner. What a payout wallet is for is not told."""
    async with served(farm.settings) as (url, server), chromium() as browser:
        await opened(farm, server)
        [farmer] = await farm.add_farmers(1)
        await plant.plant(farm.ctx, 0, farm.pooler_id)
        await farm.rows(
            "INSERT INTO miners (miner_id, name) SELECT gen_random_uuid(), name "
            "FROM unnest(ARRAY['Ann', 'twin', 'Twin', '<b>x']) name"
        )
        window = await open_window(browser, url)

        async def seek(words: str) -> tuple[str, str]:
            await window.page.fill("header input[name=q]", words)
            async with window.page.expect_navigation():
                await window.page.keyboard.press("Enter")
            return window.page.url.removeprefix(url), await window.page.inner_text("h1")

        assert (await seek(" 0 "))[0] == "/block/0"
        assert (await seek(farmer.custodial_wallet.lower()))[0] == f"/farmer/{farmer.farmer_id}"
        first, last = farmer.custodial_wallet[:4], farmer.custodial_wallet[-4:]
        for short in (f"{first}…{last}", f" {first}...{last} ".lower(), f"{first}..{last}"):
            assert (await seek(short))[0] == f"/farmer/{farmer.farmer_id}"
        assert (await seek("ann"))[1].startswith("Miner Ann ")
        assert (await seek("<B>X"))[1].startswith("Miner <b>x ")
        assert (await seek("twin"))[1] == "Called “twin”"
        assert await window.page.locator("main li a").count() == 2
        for nothing in (
            farmer.payout_wallet,
            f"{first}…%%%%",
            f"{farmer.payout_wallet[:4]}…{farmer.payout_wallet[-4:]}",
            "99",
            str(2**40),
            "x" * 100,
            "<script>alert(1)</script>",
            "％",
        ):
            where, said = await seek(nothing)
            assert where.startswith("/find?q=") and said == f"Nothing is called “{nothing}”"
            assert farmer.custodial_wallet not in await window.page.inner_text("main")


@needs_chromium
@pytest.mark.slow(8, "a browser starts, and a block goes on")
async def test_each_figure_says_what_it_means_in_the_readers_language(farm) -> None:
    """Hovered, pressed or by keyboard; it stays open while the figures go on. What is live is in that language too."""
    async with served(farm.settings) as (url, server), chromium() as browser:
        await opened(farm, server)
        seen = await season(farm)
        window = await open_window(browser, url, locale="de-DE")
        assert await window.page.evaluate("document.documentElement.lang") == "de"
        for path in ("/", "/block/0", f"/farmer/{seen.farmers[0].farmer_id}", f"/miner/{seen.miner_ids[0]}"):
            await window.page.goto(url + path)
            dumb = "[...document.querySelectorAll('.figures dt:not(:has(.why))')].map(e => e.innerText)"
            assert await window.page.evaluate(dumb) == (["Seit"] if "miner" in path else []), path
            names = await window.page.evaluate(
                "[...document.querySelectorAll('.why')].map(e => e.popoverTargetElement?.id)"
            )
            assert names and all(names), f"{path}: a figure's name has nothing to say"
        await window.page.goto(url + "/")
        await window.shows("#verdict", "Dieser Block: Auf Kurs. 4 von 4 gepflanzten Farmern")
        name = window.page.get_by_role("button", name="Unbearbeitet")
        assert (await name.get_attribute("title") or "").startswith("KALE der Farmer dieses Blocks")
        await name.focus()
        await window.page.keyboard.press("Enter")
        meaning = window.page.locator("#why-unworked-stakes")
        await window.shows("#why-unworked-stakes", "verloren, wenn der Pool jetzt stehen bleibt")
        assert await window.violations() == []
        nonces = [Submission(each.farmer_id, await farm.nonce(each, 1, zeros=1)) for each in seen.farmers]
        await farm.pass_time(5)
        await work.work(farm.ctx, 1, farm.pooler_id, nonces)
        await window.shows("#farmers", "✓ bearbeitet")
        await window.shows("#verdict", "Alle 4 gepflanzten Farmer sind bearbeitet")
        assert await meaning.is_visible(), "the figures went on, and it is still open"
        assert await name.evaluate("e => e === document.activeElement")
        await window.page.keyboard.press("Escape")
        assert not await meaning.is_visible()
        for width in (390, 1440):
            await window.page.set_viewport_size({"width": width, "height": 844})
            assert await window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            await name.click()
            box = await meaning.bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] >= 0
            await window.page.keyboard.press("Escape")
        assert window.complaints == []
