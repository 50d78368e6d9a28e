"""Answers that are compressed where the client takes it.

Only what holds no secret: of a token beside what a stranger chose the page's length would tell (BREACH).
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

from fastapi import Request

HEADERS = {"Content-Encoding": "gzip"}


def is_taken(request: Request) -> bool:
    """Whether the client takes gzip."""
    return "gzip" in request.headers.get("Accept-Encoding", "")


def squeeze(text: str) -> bytes:
    """A page's text: a few milliseconds for the largest."""
    return gzip.compress(text.encode(), 6, mtime=0)


@cache
def version(path: Path) -> str:
    """Of a file of ours: another one where its content is."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@cache
def file(path: Path) -> bytes:
    """A file of ours, which stays as it is while the process runs."""
    return gzip.compress(path.read_bytes(), 9, mtime=0)
