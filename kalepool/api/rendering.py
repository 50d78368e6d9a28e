"""A page from its template: in the reader's language, and with headers that let nothing in from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kalepool.api import cookies, gzipped
from kalepool.api.problems import SAID, Problem, of_said
from kalepool.errors import KalepoolError
from kalepool.view.meanings import MEANINGS, STATES
from kalepool.view.mining import why_banned
from kalepool.view.reasons import FAILED, reason, told
from kalepool.view.words import ENGLISH, LANGUAGES, Language, choose

FOLDER = Path(__file__).parent

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with `no-referrer` a form's Origin would be null
    "Cache-Control": "no-store",
}


def short(address: str) -> str:
    """An address as people tell it apart."""
    return f"{address[:4]}…{address[-4:]}"


def tail(identity: object) -> str:
    """The end of an id, by which two of one name are told apart."""
    return str(identity)[-8:]


def static(name: str) -> str:
    """The address of a file of ours, as it is now: browsers keep it for good, and ask for another where it changes."""
    return f"/static/{name}?v={gzipped.version(FOLDER / 'static' / name)}"


def kept(request: Request, path: Path) -> str:
    """How long a browser keeps a file of ours: for good what it asked for by its version, else not unasked."""
    of_now = request.query_params.get("v") == gzipped.version(path)
    return "public, max-age=31536000, immutable" if of_now else "no-cache"


def clock(seconds: float) -> str:
    """A time left, as 4:07."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02}"


def environment(words: Language) -> Environment:
    """Templates that speak this language."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.filters.update(short=short, tail=tail, clock=clock)
    made.filters.update({each.__name__: each for each in (words.kale, words.amount, words.rate, words.number)})
    made.filters.update({each.__name__: each for each in (words.percent, words.day, words.day_of_year, words.moment)})
    made.globals.update(static=static, language=words.language, languages=LANGUAGES, words=words, meanings=MEANINGS)
    made.globals.update(states=STATES)
    made.globals.update(reason_of=reason, failed_actions=FAILED, why_banned=why_banned)
    made.install_gettext_callables(  # pyright: ignore[reportAttributeAccessIssue]  the extension adds it
        words.gettext, words.ngettext, newstyle=True
    )
    return made


TEMPLATES = {language: environment(Language(language)) for language in LANGUAGES}
"""By language."""


def language_of(request: Request) -> str:
    """What the reader chose (`?lang=de`, kept in a cookie), or what its browser asks for."""
    return choose(
        request.query_params.get("lang"),
        request.cookies.get(cookies.LANGUAGE),
        accepted=request.headers.get("Accept-Language", ""),
    )


async def page(request: Request, template: str, status: int = 200, **known: Any) -> HTMLResponse:
    """The template filled in. Made in a thread: one with many farmers takes a while.

    Every template may ask for `network`, `explorer_url`, `now`, `path`, `visitor` (None where nobody signs in here).
    """
    network = request.app.state.context.settings.chain
    language = language_of(request)
    everywhere = {
        "network": network.name,
        "explorer_url": network.explorer_url,
        "now": datetime.now(UTC),
        "path": request.url.path,
        "visitor": getattr(request.state, "visitor", None),
    }
    squeezed = everywhere["visitor"] is None and gzipped.is_taken(request)
    headers = HEADERS | {"Content-Language": language, "Vary": "Accept-Language, Accept-Encoding, Cookie"}

    def render() -> str | bytes:
        html = TEMPLATES[language].get_template(template).render(everywhere | known)
        return gzipped.squeeze(html) if squeezed else html

    answer = HTMLResponse(
        await asyncio.to_thread(render), status, headers=headers | (gzipped.HEADERS if squeezed else {})
    )
    visitor = everywhere["visitor"]
    if visitor is not None and visitor.new:
        cookies.keep_secret(request, answer, visitor.secret)  # the forms on this page are held to it
    if request.query_params.get("lang") in LANGUAGES:
        cookies.keep_language(request, answer, language)
    return answer


def words_of(request: Request) -> Language:
    """What its reader reads."""
    return Language(language_of(request))


def go_to(path: str) -> RedirectResponse:
    """What a form is answered where it did what it should: the page that shows it, which may be loaded again."""
    return RedirectResponse(path, 303, headers=HEADERS)


HOMES = ("/operator", "/mine", "/farm")


def came_from(request: Request) -> str:
    """The page of ours that led here, or else the first of those here."""
    path, referer = request.url.path, urlsplit(request.headers.get("referer", ""))
    is_ours = referer.netloc == request.url.netloc and referer.path[:1] == "/" != referer.path[1:2]
    if is_ours and (request.method != "GET" or referer.path != path):
        return referer.path + (f"?{referer.query}" if referer.query else "")
    return next((home for home in HOMES if path.startswith(home) and path != home), "/")


def spoken(error: Exception, problem: Problem, words: Language) -> str:
    """What an error's problem says, in the reader's language. Of our own side's trouble no more than its kind."""
    if words.language == ENGLISH.language:
        return problem.detail
    if isinstance(error, KalepoolError) and problem.status != 503:
        return told(error, words)
    return words.gettext(problem.detail if words.has(problem.detail) else reason(problem.code))


class PageRoute(APIRoute):
    """A route for browsers: what is wrong is a page too, where the browser asks for one."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            try:
                return await handle(request)
            except SAID as error:
                problem = of_said(error)
                problem.detail = spoken(error, problem, words_of(request))
            if "text/html" not in request.headers.get("accept", ""):
                raise problem
            known = {"problem": problem, "back": came_from(request), "sent": request.method != "GET"}
            answer = await page(request, "problem.html", problem.status, **known)
            answer.headers.update(problem.headers or {})
            return answer

        return handle_page
