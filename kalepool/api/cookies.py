"""The two cookies of the page: the browser's secret, and its language."""

from __future__ import annotations

from fastapi import Request, Response

from kalepool.services.signin import addresses

SESSION = "kalepool-session"
HOST_SESSION = f"__Host-{SESSION}"
"""Over TLS: no other host, and no page without TLS, can set one of that name."""

LANGUAGE = "kalepool-language"
LANGUAGE_SECONDS = 365 * 86400


def is_https(request: Request) -> bool:
    """Whether browsers reach the pool over TLS, by the address that it knows of itself."""
    return addresses(request.app.state.context.settings)[0].startswith("https:")


def session_secret(request: Request) -> str:
    """What the browser brings, whatever it is."""
    return request.cookies.get(HOST_SESSION if is_https(request) else SESSION, "")


def keep_secret(request: Request, answer: Response, secret: str, seconds: int | None = None) -> None:
    """Has the browser keep it for so long, or until it is closed. No script reads it, no other site sends it."""
    secure = is_https(request)
    answer.set_cookie(
        HOST_SESSION if secure else SESSION,
        secret,
        max_age=seconds,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def keep_language(request: Request, answer: Response, language: str) -> None:
    """Has the browser keep what its reader chose."""
    answer.set_cookie(
        LANGUAGE, language, max_age=LANGUAGE_SECONDS, secure=is_https(request), httponly=True, samesite="lax"
    )
