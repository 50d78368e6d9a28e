"""A miner's whole way in a real Chromium: joins on the page, runs the command that it shows, is credited and paid."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import sys
import zipfile
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from playwright.async_api import Page
from stellar_sdk import Keypair

from kalepool.services.books import collecting
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.mining import homes
from tests.integration.api.test_farmer_in_browser import is_for_everybody, open_page, shows
from tests.integration.conftest import FarmUnderTest, open_farm
from tests.integration.services.test_payouts import kale_of, payee
from tests.support.browsing import chromium, needs_chromium
from tests.support.served import served
from tests.support.wallet_extension import WalletExtension

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]


async def open_block(farm: FarmUnderTest, index: int) -> None:
    """Planted, and seen as the coordinator sees it."""
    assert (await plant.plant(farm.ctx, index, farm.pooler_id)).planted
    found = (await farm.ctx.chain.read_blocks([index]))[index]
    await farm.rows(
        "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) VALUES (%s, %s, %s, now())",
        *(index, farm.pooler_id, found.entropy),
    )


async def end_blocks(farm: FarmUnderTest) -> int:
    """Block 0 is worked with what the miner found, harvested, and four blocks old. Returns its fees."""
    farmer = farm.farmers[0]
    [(nonce,)] = await farm.rows("SELECT nonce::text FROM shares WHERE block_index = 0 ORDER BY hash LIMIT 1")
    await farm.pass_time(5)
    assert not (await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, int(nonce))])).refused
    await farm.end_block()
    await farm.start_block(1)
    await harvest.harvest(farm.ctx, farm.pooler_id, block_index=0)
    await farm.rows("UPDATE block_operations SET status = 'finished', closed_at = now()")
    await farm.rows(
        "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at, status, closed_at) "
        "SELECT n, %s, %s, now(), 'finished', now() FROM generate_series(1, 4) n",
        *(farm.pooler_id, bytes(32)),
    )
    [(fees,)] = await farm.rows("SELECT sum(fee_stroops)::bigint FROM harvests WHERE block_index = 0")
    return fees


async def install(url: str, command: str, folder: Path) -> None:
    """What the shown command installs, without an index: the package that it names, and this environment's numpy."""
    [package] = re.findall(rf"pip install ({re.escape(url)}/mine/package/kalepool_miner-\S+\.whl)$", command)
    async with httpx2.AsyncClient(timeout=30) as client:
        content = (await client.get(package)).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder / "site")
        assert "kalepool-miner = kalepool.mine.__main__:main" in "".join(
            archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt")
        )
    program = folder / "bin/kalepool-miner"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={folder / "site"} exec {sys.executable} -m kalepool.mine "$@"\n')
    program.chmod(0o755)


async def run(command: str, folder: Path) -> asyncio.subprocess.Process:
    """As it stands, in a shell."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KALEPOOL_", "PYTHON"))}
    return await asyncio.create_subprocess_shell(
        "exec env " + command,
        env=clean | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def until_rows(farm: FarmUnderTest, query: str) -> None:
    async with asyncio.timeout(60):
        while not await farm.rows(query):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def submit(page: Page, action: str) -> None:
    async with page.expect_navigation():
        await page.click(f"form[action$='{action}'] button")


@needs_chromium
@pytest.mark.slow(40, "a browser, and a miner that compiles its kernel, mines, and is paid")
async def test_a_miners_life(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "IDLE_SECONDS", 1.0)
    async with AsyncExitStack() as stack:
        terms = {"payout_threshold_stroops": 1, "fee_collect_stroops": 1, "miner_share_seconds": 0.3}
        farm = await open_farm(stack, database_url, tmp_path, miner_registration="open", **terms)
        url, server = await stack.enter_async_context(served(farm.settings))
        farm.ctx = ctx = server._app.state.context
        ctx.settings = ctx.settings.model_copy(update={"public_url": url})
        while ctx.accounts.pool is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await farm.add_farmers(1)
        await open_block(farm, 0)
        wallet, other = await payee(farm), Keypair.random()
        browser = await stack.enter_async_context(chromium())
        page, complaints = await open_page(browser, extension := WalletExtension(wallet), url)

        # Joins; the key and the commands are shown.
        await page.goto(url + "/mine")
        await is_for_everybody(page)
        await page.fill("#name", "<b>Ann</b>")
        await page.fill("#payout", wallet.public_key)
        await page.focus("form[action$='/mine/join'] button")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#run")
        assert await page.query_selector("h2 b") is None and "<b>Ann</b>" in await page.inner_text("#key-title")
        await is_for_everybody(page)
        key, command = await page.inner_text("#key"), await page.inner_text("#run")
        assert key.startswith("kp_") and key in command and f"--url {url}" in command
        for system in ("windows", "docker"):
            told = await page.text_content(f"#run-{system}") or ""
            assert key in told and f"--url {url}" in told

        # Sent again it makes no second one, and shows no key.
        await page.reload()
        assert key not in await page.content()
        assert await farm.rows("SELECT count(*) FROM miners") == [(1,)]
        await page.goto(url + "/mine")
        await page.wait_for_url(re.compile(r"/mine/[0-9a-f-]{36}$"))
        miner_id = UUID(page.url.rpartition("/")[2])

        # Mines with the command, as it stands.
        install_command = await page.text_content("#install") or ""
        await install(url, install_command, tmp_path)
        miner = await run(command, tmp_path)
        try:
            await until_rows(farm, "SELECT 1 FROM shares WHERE block_index = 0 OFFSET 2")
            await page.evaluate("refresh()")
            await shows(page, "#figures", "Rigs at work 1 / 1")
            await shows(page, "#rigs", "at work")
            await is_for_everybody(page)
        finally:
            miner.send_signal(signal.SIGINT)
            said = (await miner.communicate())[0].decode()
        assert miner.returncode == 0 and "accepted" in said, said

        # Is credited, and paid: the transaction stands there.
        fees = await end_blocks(farm)
        await until_rows(farm, "SELECT 1 FROM transfers WHERE event = 'credited'")
        await farm.pass_time(120)
        while not await farm.rows("SELECT 1 FROM submissions WHERE action = 'payout' AND status = 'applied'"):
            await collecting.collect(ctx)
            await asyncio.sleep(0.1)
        await page.evaluate("refresh()")
        await shows(page, "#payouts", "paid")
        [(paid, transaction)] = await farm.rows("SELECT amount_stroops::bigint, transaction_hash FROM payout_states")
        assert 0 < paid <= fees and await kale_of(farm, wallet) == [paid]
        assert await page.locator(f"#payouts [title='{transaction}']").count() == 1
        await shows(page, "#earnings", "KALE")

        # The rig is gone: it is retired.
        monkeypatch.setattr("kalepool.view.mining.PRESENT_SECONDS", 1)
        await asyncio.sleep(1)
        await page.reload()
        await shows(page, "#rigs", "gone")
        await submit(page, "/retire")
        await shows(page, "#rigs", "No machine yet")

        # Its terms; a second click on `pay me` is no second payout.
        await page.fill("#threshold", "12.5")
        await page.check("[name=claimable]")
        await submit(page, "/terms")
        assert await page.input_value("#threshold") == "12.5" and await page.is_checked("[name=claimable]")
        await submit(page, "/payouts")
        await shows(page, "main", "they are paid when you ask")
        await page.goto(f"{url}/mine/{miner_id}")

        # Another wallet: later without the old one's signature; at once with it.
        await page.fill("#payout", other.public_key)
        await submit(page, "/wallet")
        await is_for_everybody(page)
        async with page.expect_navigation():
            await page.click("text=Change it in 72 hours")
        await shows(page, "#paid", f"it is {other.public_key}")
        assert await page.input_value("#payout") == wallet.public_key
        await page.fill("#payout", other.public_key)
        await submit(page, "/wallet")
        await page.click("button.wallet")
        await page.wait_for_url(re.compile(rf"/mine/{miner_id}\?done=wallet#paid$"))
        assert await page.input_value("#payout") == other.public_key
        short = f"{other.public_key[:6]}...{other.public_key[-6:]}"
        assert extension.signed[-1][-1] == f"pay my miner to {short}"

        # One more key; the browser's own ends, and with it the session.
        await page.fill("#label", "cellar")
        await submit(page, "/keys")
        second = await page.inner_text("#key")
        await page.goto(f"{url}/mine/{miner_id}")
        await shows(page, "#keys", "cellar")
        async with page.expect_navigation():
            await page.click('tr:has-text("this browser\'s") button')
        await is_for_everybody(page)
        async with page.expect_navigation():
            await page.click("text=Yes, do it")
        await shows(page, "main", "The key is ended; you are signed out here.")
        await page.fill("#key", second)
        await submit(page, "/mine/sign-in")
        await page.wait_for_url(f"**/mine/{miner_id}")

        # The new wallet signs in for it, too, and makes a key with its signature alone.
        await page.click("text=Sign out everywhere")
        await page.wait_for_selector("#sign-in")
        extension.key = other
        await page.click("#sign-in button")
        await page.wait_for_url(f"**/mine/{miner_id}")
        await submit(page, "/keys")
        await is_for_everybody(page)
        assert await page.query_selector("#key") is None
        await page.click("button.wallet")
        await page.wait_for_selector("#run")
        assert extension.signed[-1][-1] == f"a new key for my miner {str(miner_id)[-12:]}"
        assert [each for each in complaints if "status of 4" not in each] == []
        assert await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        await browser.close()
