"""The page in a real Chromium: a block turns over under it, on a desk and on a phone, by light and by dark."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field

import pytest
from playwright.async_api import Browser, Page, async_playwright

from kalepool.services.farming import plant, work
from kalepool.services.farming.work import Submission
from tests.support.served import served, tell_to_stop

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

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


@dataclass
class Window:
    """A page, and what it complained of or asked others for."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    async def shows(self, selector: str, text: str) -> None:
        """Until it does, by itself: nothing is reloaded."""
        await self.page.wait_for_function(
            "([selector, text]) => document.querySelector(selector)?.innerText.replace(/\\s+/g, ' ').includes(text)",
            arg=[selector, text],
            timeout=20_000,
        )


async def open_window(browser: Browser, url: str, width: int, scheme) -> Window:
    context = await browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    window = Window(await context.new_page())
    window.page.on("console", lambda said: window.complaints.append(said.text) if said.type == "error" else None)
    window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
    window.page.on(
        "request", lambda asked: None if asked.url.startswith(url) else window.complaints.append(f"asked {asked.url}")
    )
    await window.page.goto(url + "/")
    return window


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
@pytest.mark.slow(8, "a browser starts, and a block turns over")
async def test_a_block_turns_over_under_it(farm) -> None:
    await farm.add_farmers(3)
    async with served(farm.settings) as (url, server), async_playwright() as playwright:
        farm.ctx = server._app.state.context
        while farm.ctx.accounts.pool is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
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
        assert asyncio.get_running_loop().time() - begun < 5
        assert await desk.page.title() == "Connection lost · kalepool"
        left = await desk.page.inner_text("[data-left]")
        await asyncio.sleep(1.2)
        assert await desk.page.inner_text("[data-left]") == left, "what may be over does not go on counting"
        await browser.close()
