"""Browsers that sign in: the cookie, the token in each form, and who may use a page.

The API never reads the cookie: `Authorization: Bearer` alone counts there. Pages never read a key. What a page changes
it changes by a POST of its own, and each of those is held to three things: it comes from a page of ours (Origin), with
the token that only our page could read (`csrf`), and with the cookie, which other sites' requests do not carry.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from fastapi import Depends, Request, Response

from kalepool.api.auth import Principal
from kalepool.api.cookies import keep_secret, session_secret
from kalepool.api.limits import RateLimits
from kalepool.api.problems import Problem
from kalepool.database import Database
from kalepool.services import browsing
from kalepool.services.browsing import BrowserSession
from kalepool.services.keys import KeyOwner, Role
from kalepool.services.signin import Token, addresses

CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"

MOST_FIELDS = 100
"""Of a form."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser, signed in or not. `secret`: what its cookie holds, or will with this answer where it is `new`.
    `sessions`: what it is signed in as, by role one at most; the first is whom the page is for that it looks at."""

    secret: str = field(repr=False)
    new: bool
    sessions: Sequence[BrowserSession] = ()

    @property
    def csrf(self) -> str:
        """What each form of this browser carries. Nobody can tell the cookie by it, and it goes with the cookie."""
        return hmac.new(self.secret.encode(), b"kalepool form", hashlib.sha256).hexdigest()

    @property
    def principal(self) -> Principal | None:
        """Who it speaks for, for everything that asks for one; None where nobody has signed in."""
        return next(iter(self.principals), None)

    @property
    def principals(self) -> list[Principal]:
        """All that it speaks for."""
        return [Principal(each.key_id, each.role, each.subject_id, each.subject_wallet) for each in self.sessions]

    def speaks_as(self, *roles: Role) -> Principal | None:
        """The first of these roles that it is signed in as."""
        return next((each for each in self.principals if each.role in roles), None)


AREAS = {"/farm": Role.FARMER, "/mine": Role.MINER, "/operator": Role.OPERATOR}


def _for_page(path: str, found: Sequence[BrowserSession]) -> list[BrowserSession]:
    """Who the page of this path is for comes first."""
    role = next((role for area, role in AREAS.items() if path == area or path.startswith(f"{area}/")), None)
    return sorted(found, key=lambda each: each.role != role)


async def visitor(request: Request) -> Visitor:
    """A dependency: whose browser this is, within its rate limit. Problem 429 beyond it."""
    limits: RateLimits = request.app.state.limits
    secret = session_secret(request)
    if _SECRET.fullmatch(secret):
        found = await _known(request, secret)
    else:
        found = Visitor(browsing.new_secret(), True)
    request.state.visitor = found
    who = found.principal
    if who is None:
        limits.hit_address(request)
    else:
        limits.hit_subject(who.role, who.subject)
    return found


async def _known(request: Request, secret: str) -> Visitor:
    return Visitor(secret, False, _for_page(request.url.path, await browsing.find(_database(request), secret)))


AnyVisitor = Annotated[Visitor, Depends(visitor)]


def signed_in(*roles: Role) -> Callable[..., Awaitable[Principal]]:
    """A dependency: who signed in here, as one of these. Problem 401 for nobody, 403 for another role."""

    async def check(found: AnyVisitor) -> Principal:
        if (proper := found.speaks_as(*roles)) is not None:
            return proper
        caller = found.principal
        if caller is None:
            raise Problem(401, "sign-in-needed", "nobody is signed in here, or not any more: sign in first")
        raise Problem(403, "forbidden", f"signed in as {caller.role}; this page is for: {', '.join(roles)}")

    return check


async def with_wallet(caller: Annotated[Principal, Depends(signed_in(Role.FARMER))]) -> Principal:
    """A dependency: who signed in here with a payout wallet. Problem 401, 403."""
    if caller.subject_wallet is None:
        raise Problem(403, "sign-in-needed", "sign in with the wallet: a key is not enough")
    return caller


WalletVisitor = Annotated[Principal, Depends(with_wallet)]


async def posted(request: Request, found: AnyVisitor) -> Mapping[str, str]:
    """A dependency for whatever changes something: the fields of a form that a page of ours has sent.

    Problem 403 `origin-refused`, `csrf-refused`; 415, 422 for what is no form.
    """
    require_own_origin(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem(415, "unsupported-media-type", "send application/x-www-form-urlencoded")
    try:
        text = (await request.body()).decode()
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Problem(422, "invalid-input", f"this is no form of at most {MOST_FIELDS} fields") from None
    form = {name: values[0] for name, values in fields.items() if "\x00" not in values[0]}
    token = request.headers.get(CSRF_HEADER) or form.pop(CSRF_FIELD, "")
    if found.new or not hmac.compare_digest(token.encode(), found.csrf.encode()):
        raise Problem(403, "csrf-refused", "this form is from before you signed in or out: load the page and try again")
    return form


PageForm = Annotated[Mapping[str, str], Depends(posted)]


def require_own_origin(request: Request) -> None:
    """Problem 403 `origin-refused` unless a page of ours sent it, by what the browser says."""
    origin = request.headers.get("origin", "")
    own = {urlsplit(addresses(request.app.state.context.settings)[0]).netloc, request.headers.get("host", "")}
    parts = urlsplit(origin) if origin.isprintable() else urlsplit("")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if parts.scheme not in ("http", "https") or parts.netloc not in own - {""} or site != "same-origin":
        raise Problem(403, "origin-refused", "this was not sent by a page of this pool")


async def sign_in(request: Request, found: Visitor, proven: Token | KeyOwner, answer: Response) -> None:
    """Signs the browser in with what was just proven, and gives it a secret that it never had before."""
    seconds = request.app.state.context.settings.browser_seconds
    made = await browsing.begin(_database(request), proven.key_id, seconds=seconds, instead_of=found.secret)
    keep_secret(request, answer, made.secret, seconds)


async def renew(request: Request, found: Visitor, key_id: UUID) -> Visitor:
    """As `sign_in`, for a form that is answered with a page at once: that page's forms are of the new secret, and what
    was sent is refused when it is sent again. `keep` gives the browser the secret."""
    seconds = request.app.state.context.settings.browser_seconds
    made = await browsing.begin(_database(request), key_id, seconds=seconds, instead_of=found.secret)
    request.state.visitor = await _known(request, made.secret)
    return request.state.visitor


def keep(request: Request, renewed: Visitor, answer: Response) -> None:
    """Has the browser keep the secret of `renew`."""
    keep_secret(request, answer, renewed.secret, request.app.state.context.settings.browser_seconds)


async def sign_out(request: Request, found: Visitor, answer: Response, *, everywhere: bool) -> None:
    """Ends all that the cookie stands for, and gives the browser another that stands for nothing."""
    for session in found.sessions:
        await browsing.end(_database(request), found.secret, session, everywhere=everywhere)
    keep_secret(request, answer, browsing.new_secret())


def _database(request: Request) -> Database:
    return request.app.state.context.database
