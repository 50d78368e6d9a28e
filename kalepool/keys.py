"""API keys: 256 random bits, shown once, kept as their SHA-256. A fast hash suffices: there is nothing to guess."""

from __future__ import annotations

import hashlib
import secrets


def new_key() -> str:
    """A key for the Authorization header: `kp_` and 43 letters, digits, - and _."""
    return "kp_" + secrets.token_urlsafe(32)


def key_hash(key: str) -> bytes:
    """What the database keeps of it (32 bytes); looking a key up by it leaks nothing through timing."""
    return hashlib.sha256(key.encode()).digest()
