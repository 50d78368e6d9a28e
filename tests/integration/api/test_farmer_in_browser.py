"""A farmer's whole way in a real Chromium: joins, funds, is planted, harvests, changes the stake, withdraws, leaves."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal
from uuid import UUID

import pytest
from playwright.async_api import Browser, Page, ViewportSize
from playwright.async_api import TimeoutError as PlaywrightTimeout

from kalepool.services.farmers import find_farmer
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.units import amount
from tests.integration.api.test_farmer_way import add_wallet, balances
from tests.integration.conftest import KALE, open_farm
from tests.support.browsing import Window, chromium, needs_chromium
from tests.support.served import served
from tests.support.wallet_extension import WalletExtension

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]


async def open_page(browser: Browser, extension: WalletExtension, url: str) -> tuple[Page, list[str]]:
    """A page at the pool, and what it complained of or asked others for."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(15_000)
    await extension.install(context)
    page, complaints = await context.new_page(), []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(url) else complaints.append(f"asked {asked.url}"))
    return page, complaints


async def shows(page: Page, selector: str, text: str) -> None:
    """Until it does, by itself: nothing is reloaded."""
    read = "selector => document.querySelector(selector)?.innerText.replace(/\\s+/g, ' ')"
    try:
        await page.wait_for_function(f"([selector, text]) => ({read})(selector)?.includes(text)", arg=[selector, text])
    except PlaywrightTimeout:
        raise AssertionError(
            f"{selector} has no {text!r}: {await page.evaluate(read, selector) or await page.inner_text('body')}"
        ) from None


async def is_for_everybody(page: Page) -> None:
    """axe finds nothing, on a desk by light and on a phone in the dark."""
    window, usual = Window(page), page.viewport_size
    assert usual is not None
    ways: list[tuple[int, Literal["light", "dark"]]] = [(1440, "light"), (390, "dark")]
    for width, scheme in ways:
        await page.set_viewport_size({"width": width, "height": 844})
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert await window.violations() == [], (page.url, width, scheme)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
    await page.set_viewport_size(usual)
    await page.emulate_media(color_scheme="light")


@needs_chromium
@pytest.mark.slow(30, "a browser, a farmer's whole life, and the page brings itself up to date every few seconds")
async def test_a_farmers_life(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        farm = await open_farm(stack, database_url, tmp_path, farmer_deposit_stroops=50 * KALE)
        url, server = await stack.enter_async_context(served(farm.settings))
        farm.ctx = ctx = server._app.state.context
        while ctx.accounts.pool is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await farm.rows("UPDATE poolers SET open = true")
        wallet = await add_wallet(farm)
        await farm.give(wallet.public_key, 200 * KALE)
        browser = await stack.enter_async_context(chromium())
        extension = WalletExtension(wallet)
        page, complaints = await open_page(browser, extension, url)

        # Signs in; who says no in the wallet is told so.
        await page.goto(url + "/farm")
        extension.refuses = True
        await page.click("#sign-in button")
        await shows(page, "#sign-in", "The user rejected this request.")
        await page.click("#sign-in button")
        await page.wait_for_url("**/farm/join")
        await is_for_everybody(page)

        # Joins, by keyboard.
        await page.fill("#name", "<b>Ann</b>")
        await page.focus(".slide [type=range]")
        for _ in range(10):
            await page.keyboard.press("ArrowRight")
        assert await page.input_value("#stake") == "20"
        await page.focus("[name=agreed]")
        await page.keyboard.press("Space")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile(r"/farm/[0-9a-f-]{36}$"))
        farmer_id = UUID(page.url.rpartition("/")[2])
        assert await page.inner_text("h1") != "" and await page.query_selector("h1 b") is None

        # Funds it: XLM, the pool's trustline, KALE.
        await shows(page, "#state", "waits for 2.5 XLM")
        await page.click(".deposit button")
        await shows(page, "#state", "✓ Trustline for KALE")
        await shows(page, "#fund", "Send 50 KALE")
        await is_for_everybody(page)
        await page.fill("#deposit-amount", "100")
        await page.click(".deposit button")
        await shows(page, "#figures", "State active")
        await shows(page, "#figures", "Balance, KALE 100.00")

        # Is planted, and sees the harvest.
        assert len((await plant.plant(ctx, 0, farm.pooler_id)).planted) == 1
        await shows(page, "#figures", "Planted now 20.00")
        await shows(page, "#part-says", "At most 16.00 KALE")
        await shows(page, "#blocks", "planted, a hash is searched for")
        farmer = await find_farmer(ctx.database, farmer_id)
        assert farmer is not None
        await farm.pass_time(5)
        await work.work(ctx, 0, farm.pooler_id, [Submission(farmer_id, await farm.nonce(farmer, 0))])
        await farm.end_block()
        await farm.start_block(1)
        await harvest.harvest(ctx, farm.pooler_id, block_index=0)
        await shows(page, "#blocks", "harvested")
        earned = (await farm.rows("SELECT reward_stroops FROM harvests WHERE outcome = 'harvested'"))[0][0]
        assert earned > 0
        phone: ViewportSize = {"width": 390, "height": 844}
        fits = "(e) => e.scrollWidth <= e.clientWidth"
        await page.set_viewport_size(phone)
        assert await page.eval_on_selector("#blocks", fits), "what was received is seen on a phone"
        await page.set_viewport_size({"width": 1440, "height": 900})
        await shows(page, "#figures", f"Earned in all {earned // 100000 / 100:,.2f}")

        await is_for_everybody(page)

        # Changes the stake; what it means stands below. A pause holds, and ends.
        await page.fill("#part", "50")
        await page.fill("#most", "5")
        await shows(page, "#part-says", "At most 5.00 KALE")
        await page.click("form[action$='/stake'] button")
        await page.click("form[action$='/pause'] button")
        await shows(page, "#state", "It is paused")
        assert (await plant.plant(ctx, 1, farm.pooler_id)).planted == []
        await page.click("form[action$='/pause'] button")
        await page.wait_for_selector("text=A pause: nothing more is planted")
        [planted] = (await plant.plant(ctx, 1, farm.pooler_id)).planted
        assert planted.stake_stroops == 5 * KALE
        await farm.pass_time(5)
        await work.work(ctx, 1, farm.pooler_id, [Submission(farmer_id, await farm.nonce(farmer, 1))])

        # Withdraws: the wallet signs for just that.
        before = (await balances(farm, wallet.public_key))[1] or 0
        await page.click("a[href$='/withdraw']")
        await page.fill("#amount", "1000000")
        await page.click("text=Take this amount")
        await shows(page, "[role=alert]", "more than the")
        await page.fill("#amount", "12.5")
        await page.click("text=Take this amount")
        await is_for_everybody(page)
        await page.click("button.wallet")
        await page.wait_for_url(f"**/farm/{farmer_id}#withdrawals")
        await shows(page, "#withdrawals", "12.5 KALE paid")
        assert (await balances(farm, wallet.public_key))[1] == before + 125 * KALE // 10

        # Leaves.
        await page.click("text=Leave the pool")
        await is_for_everybody(page)
        await page.click("button.wallet")
        await page.wait_for_url(f"**/farm/{farmer_id}")
        await shows(page, "#state", "It waits: for the block that it is planted in to be over")
        await farm.end_block()
        await farm.start_block(2)
        await shows(page, "#state", "It is gone.")
        native = (await farm.rows("SELECT native_stroops FROM submission_items WHERE action = 'merge'"))[0][0]
        await shows(page, "#state", f"KALE and {amount(native)} XLM were paid out on the way.")
        await shows(page, "#withdrawals", f"KALE, {amount(native)} XLM paid when it left")
        await page.set_viewport_size(phone)
        assert await page.eval_on_selector("#withdrawals .scroll", fits), "what was paid is seen on a phone"
        assert ((await balances(farm, wallet.public_key))[1] or 0) > before + 90 * KALE

        await page.goto(f"{url}/farmer/{farmer_id}?lang=de")
        assert await page.eval_on_selector_all(".figures dt", f"(all) => all.every({fits})"), "no name is cut off"
        await page.goto(f"{url}/farm/{farmer_id}?lang=en")

        short = f"{wallet.public_key[:6]}...{wallet.public_key[-6:]}"
        deeds = [names[-1] for names in extension.signed]
        assert deeds == [
            "web_auth_domain",
            "CreateAccount",
            "Payment",
            f"withdraw 12.5 KALE to {short}",
            f"leave, all to {short}",
        ]
        await page.click("text=Sign out everywhere")
        await page.wait_for_selector("#sign-in")
        assert [each for each in complaints if "status of 422" not in each] == []
        assert await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        await browser.close()
