"""Which secret key belongs to which wallet: derived from a master key and the wallet's path, never random.

The master key alone brings every wallet back, whatever became of the database: see `kalepool custody recover`. A seed is
keyed BLAKE2b (RFC 7693) of its path, which is one-way: one wallet's seed tells nothing of the master key or of another.
"""  # noqa: E501

from __future__ import annotations

import hashlib

SEED_BYTES = 32


def farmer_path(number: int) -> str:
    """The path of a farmer's wallet. Each number is given out once: see `wallet_numbers` in the database."""
    return f"farmer/{number}"


def account_path(name: str) -> str:
    """The path of one of the pool's own accounts, by its name: pool, channel-01, …"""
    return f"account/{name}"


def seed(master: bytes, path: str) -> bytes:
    """The ed25519 seed, 32 bytes, of a path under a master key of 32 bytes."""
    return hashlib.blake2b(path.encode(), key=master, person=b"kalepool wallet", digest_size=SEED_BYTES).digest()
