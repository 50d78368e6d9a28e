"""What the relayer answers, and what that means for the transaction."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from kalepool.chain.relayer import Relayer, RelayTrouble

KEY = "the-secret-key"


def read(status: int, body: Any, headers: dict[str, str] | None = None) -> RelayTrouble | None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    relayer = Relayer("https://relayer.example/channels", KEY, 5.0)
    return relayer._read(httpx2.Response(status, content=content, headers=headers))


def refusal(code: str, message: str = "no") -> dict[str, Any]:
    return {"success": False, "data": {"code": code, "details": {}}, "error": message}


@pytest.mark.parametrize("status", ["pending", "sent", "submitted", "confirmed"])
def test_what_is_on_its_way_is_taken(status: str):
    assert read(200, {"success": True, "data": {"transactionId": "1", "status": status, "hash": None}}) is None


@pytest.mark.parametrize(("code", "status"), [("WAIT_TIMEOUT", 504), ("ONCHAIN_FAILED", 400)])
def test_what_was_sent_is_looked_up_on_the_ledger(code: str, status: int):
    assert read(status, refusal(code)) is None


@pytest.mark.parametrize(
    ("status", "body", "code", "may_land"),
    [
        (503, refusal("POOL_CAPACITY"), "POOL_CAPACITY", False),
        (429, refusal("FEE_LIMIT_EXCEEDED"), "FEE_LIMIT_EXCEEDED", False),
        (400, refusal("TIMEBOUNDS_TOO_FAR"), "TIMEBOUNDS_TOO_FAR", False),
        (401, {"success": False, "error": "Unauthorized"}, "UNAUTHORIZED", False),
        (403, b"<html>", "UNAUTHORIZED", False),
        (404, b"", "unreadable", False),
        (429, b"slow down", "rate-limited", False),
        (500, {"success": False, "data": None, "error": "Internal server error"}, "trouble", True),
        (502, b"<html>", "unreadable", True),
        (200, b"<html>", "unreadable", True),
        (200, b"[1]", "unreadable", True),
        (200, b"[" * 50_000, "unreadable", True),
        (200, b'{"success": true, "data": {"status": "pending"}}' + b" " * 70_000, "unreadable", True),
        (200, {"success": True, "data": {"status": "readonly"}}, "trouble", True),
        (200, {"success": True, "data": ["pending"]}, "trouble", True),
        (302, b"", "unreadable", True),
    ],
)
def test_why_it_was_not_taken(status: int, body: Any, code: str, may_land: bool):
    found = read(status, body)
    assert found is not None
    assert (found.code, found.may_land) == (code, may_land)


def test_how_long_it_wants_to_be_left_alone():
    for header, seconds in (("7", 7.0), ("-1", 0.0), ("Thu, 26 Nov 2026 12:00:00 GMT", None)):
        found = read(429, b"", {"Retry-After": header})
        assert found is not None and found.retry_after_seconds == seconds


def test_what_it_says_is_on_one_line_and_without_the_key():
    found = read(400, refusal("NO\x1b[2J" * 40, f"key {KEY} is\nnot \x1b[31mknown" + "x" * 999))
    assert found is not None
    assert KEY not in found.message and "\n" not in found.message and "\x1b" not in found.message + found.code
    assert len(found.message) < 400 and len(found.code) <= 60
