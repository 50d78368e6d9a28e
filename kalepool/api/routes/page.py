"""The page: whole HTML without JavaScript; with it, its parts are sent again over SSE as they change.

One reader serves all viewers: while anybody looks, the pool is read once a tick, however many they are.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as InPath
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, StreamingResponse

from kalepool.api import gzipped
from kalepool.api.charts import hashrate_chart, reward_chart
from kalepool.api.limits import Holders, address_of, per_address, too_busy
from kalepool.api.rendering import FOLDER, HEADERS, TEMPLATES, PageRoute, go_to, kept, language_of, page
from kalepool.api.sse import GZIP_HEADER, Message
from kalepool.database import Database
from kalepool.errors import DatabaseError, NotFoundError
from kalepool.protocol.model import U32_MAX
from kalepool.services.books.results import DayResult, Days
from kalepool.services.context import Context
from kalepool.services.mining import share_logs
from kalepool.services.siblings import NoLeaderError
from kalepool.services.signin import addresses
from kalepool.view.history import History, HistoryReader
from kalepool.view.moment import Moment, MomentReader, trouble_first
from kalepool.view.pages import find_pages, read_block, read_events, read_farmer, read_miner
from kalepool.view.sitting_out import in_words
from kalepool.view.verdict import judge
from kalepool.view.words import Language, mark

TICK_SECONDS = 1.0
SILENCE_SECONDS = 3.0
"""A stream of which nothing has changed says so after so long, and when that was read: the page takes what it shows for
over where it hears of no later reading (SILENT_MS in page.js), and nobody between takes the stream for dead."""

MOST_VIEWERS = 2000
MOST_VIEWERS_OF_ADDRESS = 50
ROWS = 50
EVENTS = 16
"""On the first page."""

PARTS = ("clock", "verdict", "figures", "farmers", "hashrate", "rewards", "blocks", "days", "events")
"""The page's parts: a template each, and an element of that id."""

STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "times.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "farm.js": "text/javascript; charset=utf-8",
    "freighter/freighter-api.js": "text/javascript; charset=utf-8",
    "swagger-ui/swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PageShown:
    """What the page's parts show, but days, which have a reader of their own. `short_hours`: so long the pool's XLM
    last, where that is not long."""

    moment: Moment
    history: History
    events: Sequence[Mapping[str, Any]]
    short_hours: float | None


def render_parts(
    language: str, shown: PageShown, explorer_url: str | None, days: Sequence[DayResult] = ()
) -> dict[str, str]:
    """The page's parts as HTML in a language, by id."""
    words, moment = Language(language), shown.moment
    known: dict[str, Any] = {
        "moment": moment,
        "verdict": judge(moment, words),
        "events": shown.events,
        "days": days,
        "explorer_url": explorer_url,
        "short_hours": shown.short_hours,
        "hashrate": hashrate_chart(shown.history, words),
        "rewards": reward_chart(moment.blocks, words),
        "farmers": sorted(moment.farmers, key=trouble_first),
    }
    return {name: TEMPLATES[language].get_template(f"parts/{name}.html").render(known) for name in PARTS}


# ----------------------------------------------------------------------------------------------------------------------
# Who looks


@dataclass(frozen=True, slots=True)
class Reading:
    """The pool's page as it was at a time: its parts as HTML, by language and name. `shown`: what they show, where
    this process has read it."""

    at: datetime
    parts: dict[tuple[str, str], str]
    shown: PageShown | None = None


class PageReader:
    """Reads the pool, and draws its page."""

    def __init__(self, ctx: Context, days: Days) -> None:
        self._database, self._accounts = ctx.database, ctx.accounts
        self._explorer_url = ctx.settings.chain.explorer_url
        self._moments = MomentReader(ctx.database, ctx.chain, min_spare_stroops=ctx.settings.min_spare_stroops)
        self._history = HistoryReader(ctx.database)
        self._days = days

    async def read(self, languages: Sequence[str]) -> Reading:
        """Raises DatabaseError."""
        begun = datetime.now(UTC)
        moment = await self._moments.read()
        history = await self._history.read()
        events = await read_events(self._database, None, EVENTS)
        days = await self._days.read()
        endurance = self._accounts.endurance
        short_hours = endurance.hours if endurance is not None and endurance.short_of is not None else None
        shown = PageShown(moment, history, events, short_hours)
        parts = await asyncio.to_thread(self._render, languages, shown, days)
        return Reading(begun, parts, shown)

    def _render(
        self, languages: Sequence[str], shown: PageShown, days: Sequence[DayResult]
    ) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for language in languages:
            parts = render_parts(language, shown, self._explorer_url, days)
            found |= {(language, name): html for name, html in parts.items()}
        return found


class Reader(Protocol):
    """Where the page comes from: PageReader, or another process that has one."""

    async def read(self, languages: Sequence[str]) -> Reading:
        """Raises DatabaseError, NoLeaderError."""
        ...


class Viewing:
    """The newest parts for everybody. Viewers wait for a version above the last they saw, so a slow one skips ticks."""

    def __init__(self, reader: Reader) -> None:
        self.viewers = 0
        self.reader = reader
        self.holders = Holders(MOST_VIEWERS_OF_ADDRESS)
        self.reads = 0
        self._parts: dict[tuple[str, str], tuple[int, str]] = {}  # by language and name
        self._languages: set[str] = set()  # in which anybody has looked yet
        self._shown: PageShown | None = None
        self._messages: dict[tuple[str, int], Message] = {}  # in a language, for viewers that saw this version last
        self._version = 0
        self._read_at: float | None = None
        self.read_at = datetime.now(UTC)
        """When what is shown was read."""
        self._reading = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._ticking: asyncio.Task[None] | None = None
        self._ended = False

    async def parts(self, language: str = "en") -> dict[str, str]:
        """All parts, not older than a tick. Raises DatabaseError."""
        await self._refresh(language)
        return {name: html for (each, name), (_, html) in self._parts.items() if each == language}

    async def moment(self) -> Moment:
        """The pool, not older than a tick. Raises DatabaseError. Of the process that leads."""
        return (await self.shown()).moment

    async def shown(self) -> PageShown:
        """What the parts show, not older than a tick. Raises DatabaseError. Of the process that leads."""
        await self._refresh()
        assert self._shown is not None
        return self._shown

    async def told(self, languages: Sequence[str]) -> Reading:
        """As a Reader gives it, not older than a tick: for other processes. Raises DatabaseError."""
        for language in languages:
            await self._refresh(language)
        return Reading(self.read_at, {key: html for key, (_, html) in self._parts.items() if key[0] in languages})

    def require_room(self, network: str) -> None:
        """Problem 503 where as many look as may, from there or in all."""
        if self.viewers >= MOST_VIEWERS:
            raise too_busy("too many look already; reload later", 60)
        if not self.holders.has_room(network):
            raise too_busy(f"{MOST_VIEWERS_OF_ADDRESS} look from {network} already; close some", 60)

    async def changes(self, network: str, language: str = "en") -> AsyncGenerator[Message]:
        """All parts, then again and again those that changed, none where nothing did; each time `at`, when they were
        read. Ends when the process does.

        `network`: where the viewer is; `language`: of its page.
        """
        if self.viewers >= MOST_VIEWERS or not self.holders.has_room(network):
            return  # many came at once
        self.viewers += 1
        self.holders.take(network)
        self._languages.add(language)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())
        seen = 0
        try:
            while not self._ended:
                async with self._changed:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(SILENCE_SECONDS):
                            await self._changed.wait_for(lambda was=seen: self._version > was or self._ended)
                    message = self._since(language, seen)
                    seen = self._version
                if not self._ended:
                    yield message
        finally:
            self.viewers -= 1
            self.holders.give_back(network)
            if not self.viewers and self._ticking is not None:
                self._ticking.cancel()
                self._ticking = None

    def _since(self, language: str, seen: int) -> Message:
        """What changed after this version: made and compressed once for all that look in this language."""
        known = language, seen
        if known not in self._messages:
            parts = self._parts.items()
            fresh = {name: html for (each, name), (version, html) in parts if each == language and version > seen}
            told = {"at": self.read_at.isoformat(timespec="milliseconds")} | fresh
            self._messages[known] = Message(f"data: {json.dumps(told)}\n\n".encode())
        return self._messages[known]

    def end_waiting(self) -> None:
        """Ends every stream within a tick. May be called by a signal's handler."""
        self._ended = True

    async def _tick(self) -> None:
        said = False
        while not self._ended:
            try:
                await self._refresh()
                said = False
            except (DatabaseError, NoLeaderError) as error:
                if not said:
                    log.warning("page_waits", reason=str(error))
                said = True
            except Exception:
                log.exception("page_broken")
            await asyncio.sleep(TICK_SECONDS)
        async with self._changed:
            self._changed.notify_all()

    async def _refresh(self, language: str = "en") -> None:
        async with self._reading:
            now = asyncio.get_running_loop().time()
            fresh = self._read_at is not None and now - self._read_at < TICK_SECONDS * 0.9
            if fresh and (language, PARTS[0]) in self._parts:
                return
            self._languages.add(language)
            reading = await self.reader.read(sorted(self._languages))
            self.reads += 1
            self._read_at = asyncio.get_running_loop().time()
            found = reading.parts
            changed = {key: html for key, html in found.items() if self._parts.get(key, (0, ""))[1] != html}
            async with self._changed:
                self.read_at, self._shown = reading.at, reading.shown
                self._messages.clear()
                if changed:
                    self._version += 1
                    self._parts |= {key: (self._version, html) for key, html in changed.items()}
                    self._changed.notify_all()


# ----------------------------------------------------------------------------------------------------------------------
# Routes


router = APIRouter(include_in_schema=False, route_class=PageRoute)
limited = [Depends(per_address)]


async def _missing(request: Request, what: str, **names: object) -> HTMLResponse:
    """`what`: by the catalogue, after "Sorry, "."""
    said = Language(language_of(request)).gettext(what) % names
    return await page(request, "missing.html", 404, what=said)


async def show_missing(request: Request) -> HTMLResponse:
    """For an address that is none of ours."""
    return await _missing(request, mark("there is nothing at this address"))


def _database(request: Request) -> Database:
    return request.app.state.context.database


@router.get("/", dependencies=limited)
async def show_pool(request: Request) -> Response:
    """This block, and how the pool does."""
    viewing: Viewing = request.app.state.viewing
    parts = await viewing.parts(language_of(request))
    return await page(request, "pool.html", parts=parts, at=viewing.read_at)


@router.get("/events", dependencies=limited)
async def stream(request: Request) -> Response:
    """Server-sent events: parts of the page as JSON, by id, whenever they change."""
    viewing: Viewing = request.app.state.viewing
    network = address_of(request)
    viewing.require_room(network)

    language = language_of(request)
    squeezed = gzipped.is_taken(request)

    async def told() -> AsyncIterator[bytes]:
        if squeezed:
            yield GZIP_HEADER
        async with aclosing(viewing.changes(network, language)) as changes:
            async for message in changes:
                yield message.squeezed if squeezed else message.whole

    headers = {
        "Cache-Control": "no-store",
        "Vary": "Accept-Encoding, Accept-Language, Cookie",
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
    }
    if squeezed:
        headers["Content-Encoding"] = "gzip"
    return StreamingResponse(told(), media_type="text/event-stream", headers=headers)


@router.get("/block/{index:int}", dependencies=limited)
async def show_block(request: Request, index: Annotated[int, InPath(ge=0, le=U32_MAX)]) -> Response:
    """One block, with every farmer that took part."""
    found = await read_block(_database(request), index)
    if found is None:
        return await _missing(request, mark("block %(index)s is not in our records"), index=index)
    known = {"chain": found.chain, "farmers": found.farmers, "block": found.summary, "newest": found.newest_index}
    known |= {
        "result": found.result,
        "sat_out": in_words(found.plan, Language(language_of(request))) if found.plan else "",
    }
    return await page(request, "block.html", index=index, **known)


@router.get("/farmer/{farmer_id:uuid}", dependencies=limited)
async def show_farmer(request: Request, farmer_id: UUID) -> Response:
    """One farmer: what the chain shows of it, put together."""
    found = await read_farmer(_database(request), farmer_id, ROWS)
    if found is None:
        return await _missing(request, mark("there is no farmer %(id)s"), id=farmer_id)
    return await page(request, "farmer.html", farmer=found.farmer, blocks=found.blocks, events=found.events)


async def how_to_verify(request: Request) -> dict[str, Any]:
    """What mine/verify.html asks for: where the pool is, and the block that was closed last."""
    closed = await share_logs.last_closings(_database(request), 1)
    pool_url, _ = addresses(request.app.state.context.settings)
    return {"pool_url": pool_url, "closed_block": closed[0]["block_index"] if closed else None}


@router.get("/miner/{miner_id:uuid}", dependencies=limited)
async def show_miner(request: Request, miner_id: UUID) -> Response:
    """One miner: its shares by block, and its part in what all miners brought."""
    found = await read_miner(_database(request), miner_id, ROWS)
    if found is None:
        return await _missing(request, mark("there is no miner %(id)s"), id=miner_id)
    known = {"miner": found.miner, "hashes_per_second": found.hashes_per_second, "blocks": found.blocks}
    known["solo"] = any(block["solo"] for block in found.blocks)
    known |= await how_to_verify(request)
    return await page(request, "miner.html", **known)


@router.get("/find", dependencies=limited)
async def find(request: Request, q: str = "") -> Response:
    """The page of what is called so: a block, a farmer's wallet, a miner. A list where that is more than one."""
    words = q.strip()
    found = await find_pages(_database(request), words) if words else []
    if len(found) == 1:
        return go_to(found[0].path)
    return await page(request, "found.html", 200 if found or not words else 404, sought=words, found=found)


@router.get("/openapi.json")
async def show_description(request: Request) -> Response:
    """The API's description. Made in a thread: it takes a fifth of a second the first time."""
    text = await asyncio.to_thread(lambda: json.dumps(request.app.openapi()))
    return Response(text, media_type="application/json")


@router.get("/docs")
async def show_docs() -> Response:
    """The API's description to read and try: Swagger UI from here, since keys are pasted into it."""
    html = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="kalepool API",
        swagger_js_url="/static/swagger-ui/swagger-ui-bundle.js",
        swagger_css_url="/static/swagger-ui/swagger-ui.css",
        swagger_favicon_url="/static/icon.svg",
    )
    policy = "default-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
    html.headers.update(HEADERS | {"Content-Security-Policy": policy})
    return html


@router.get("/static/{name:path}")
async def show_static(request: Request, name: str) -> Response:
    """The page's own style, script and icon: nothing comes from anywhere else."""
    if name not in STATIC:
        raise NotFoundError(f"there is no file {name!r}")
    path = FOLDER / "static" / name
    headers = {"Cache-Control": kept(request, path), "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
    if gzipped.is_taken(request):
        content = await asyncio.to_thread(gzipped.file, path)
        return Response(content, media_type=STATIC[name], headers=headers | gzipped.HEADERS)
    return FileResponse(path, media_type=STATIC[name], headers=headers)
