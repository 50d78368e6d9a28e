"""The page in a real Chromium: windows that note every complaint, and axe's word on what they show."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")

AXE = Path(__file__).with_name("axe") / "axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"

LOOK = """
async () => {
  const found = await axe.run({ resultTypes: ["violations"] });
  return found.violations.map((each) => [each.id, each.help, ...each.nodes.map((node) => node.html.slice(0, 160))]);
}
"""


@cache
def axe() -> str:
    """axe-core's script, as it was published."""
    text = AXE.read_bytes()
    assert hashlib.sha256(text).hexdigest() == AXE_SHA256, f"{AXE} is not what was published"
    return text.decode()


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

    async def violations(self) -> list[list[str]]:
        """What axe finds wrong with what is shown: rule, words, and the elements. The page's own policy keeps scripts
        of others out, so it comes by the debugger."""
        if not await self.page.evaluate("typeof axe !== 'undefined'"):
            await self.page.evaluate(axe())
        return await self.page.evaluate(LOOK)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without windows."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


async def open_window(
    browser: Browser, url: str, width: int = 1280, scheme: Any = "light", path: str = "/", **more: Any
) -> Window:
    """A window of its own, with nothing of other windows'. Whatever is not asked of `url` is complained of."""
    context = await browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, **more)
    window = Window(await context.new_page())
    window.page.on("console", lambda said: window.complaints.append(said.text) if said.type == "error" else None)
    window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
    window.page.on(
        "request", lambda asked: None if asked.url.startswith(url) else window.complaints.append(f"asked {asked.url}")
    )
    await window.page.goto(url + path)
    return window
