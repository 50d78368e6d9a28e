"""The page that mines in a browser, and what its workers load. Its key is typed in and sent as any miner's.

The search is a module of WebAssembly, made of the kernels when it is first asked for: by a process of its own, which
ends with LLVM's memory.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response

from kalepool.api.limits import per_address
from kalepool.api.rendering import FOLDER, HEADERS, PageRoute, kept, page
from kalepool.errors import NotFoundError
from kernels import card_text, keccak

router = APIRouter(include_in_schema=False, route_class=PageRoute)

SCRIPT = "text/javascript; charset=utf-8"
FILES = {
    "page.js": FOLDER / "static/mine/page.js",
    "worker.js": FOLDER / "static/mine/worker.js",
    "search.mjs": Path(keccak.__file__).with_name("browser.mjs"),
}
OF_THE_PAGE = HEADERS["Content-Security-Policy"] + "; worker-src 'self'"
OF_A_WORKER = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
"""A worker's policy is its script's own: it alone may compile the module."""

BUILD_SECONDS = 60.0


@router.get("/mine/browser", dependencies=[Depends(per_address)])
async def show_browser_miner(request: Request) -> Response:
    """Whole without a key; it asks for nothing before a click."""
    fee = request.app.state.context.settings.solo_fee
    answer = await page(request, "mine.html", solo_fee=f"{100 * fee:g} %")
    answer.headers["Content-Security-Policy"] = OF_THE_PAGE
    return answer


@router.get("/static/mine/{name}")
async def show_file(request: Request, name: str) -> Response:
    """The page's script, the workers', and what these search with."""
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": OF_A_WORKER,
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    if name == "search.wasm":
        return Response(await _module(request), media_type="application/wasm", headers=headers)
    if name == "card.json":
        card = {"text": card_text.wgsl(), "constants": card_text.WGSL_CONSTANTS}
        return Response(json.dumps(card), media_type="application/json", headers=headers)
    if name not in FILES:
        raise NotFoundError(f"there is no file {name!r}")
    headers["Cache-Control"] = kept(request, FILES[name])
    return Response(FILES[name].read_bytes(), media_type=SCRIPT, headers=headers)


async def _module(request: Request) -> bytes:
    """The module, built once in the app's life, however many ask at once."""
    state = request.app.state
    if getattr(state, "search_module", None) is None:
        state.search_module = asyncio.ensure_future(_build())
    task: asyncio.Task[bytes] = state.search_module
    try:
        return await asyncio.shield(task)
    except Exception:
        state.search_module = None  # the next one tries again
        raise


async def _build() -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kernels.wasm"), env={}, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(BUILD_SECONDS):
            module, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"kernels.wasm ended with status {process.returncode}")
    return module
