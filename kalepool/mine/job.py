"""A job as the pool gives it to a miner, and which of its nonces are next."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kalepool.protocol.hashing import farmer_bytes
from kernels import Template


@dataclass(frozen=True, slots=True)
class PoolJob:
    """What the pool wants hashed. A hash counts if its first 8 bytes, big-endian, are below `below`."""

    job_id: str
    template: Template
    farmer: str
    nonce_start: int
    nonce_count: int
    below: int
    difficulty: int
    ends: float
    """When its block is over, by time.monotonic()."""
    solo: bool | None = None
    """For the miner's own farmer alone; None where the pool does not know of that."""

    @classmethod
    def from_json(cls, text: dict[str, Any]) -> PoolJob:
        starts_at, closes_at = (datetime.fromisoformat(text[name]) for name in ("starts_at", "closes_at"))
        # By a wrong clock it would be over, or never: it cannot last longer than the whole block.
        left = min(max((closes_at - datetime.now(UTC)).total_seconds(), 0.0), (closes_at - starts_at).total_seconds())
        return cls(
            job_id=text["job_id"],
            template=Template(text["block_index"], bytes.fromhex(text["entropy"]), farmer_bytes(text["farmer"])),
            farmer=text["farmer"],
            nonce_start=int(text["nonce_start"]),
            nonce_count=int(text["nonce_count"]),
            below=int(text["target"], 16),
            difficulty=int(text["difficulty"]),
            ends=time.monotonic() + left,
            solo=text.get("solo"),
        )

    @property
    def zeros(self) -> int:
        """The fewest leading zero digits that are surely enough."""
        return (65 - self.below.bit_length() + 3) // 4


class Nonces:
    """Hands out pieces of the rig's own range, from a random place on: a restart does not hash the same again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._range = (0, 0)
        self._next = 0

    def take(self, job: PoolJob, count: int) -> tuple[int, int]:
        """(start, count) of a piece of at most `count` nonces."""
        with self._lock:
            if self._range != (job.nonce_start, job.nonce_count):
                self._range = (job.nonce_start, job.nonce_count)
                self._next = job.nonce_start + secrets.randbelow(job.nonce_count)
            start, last = self._next, job.nonce_start + job.nonce_count
            count = min(count, last - start)
            self._next = start + count if start + count < last else job.nonce_start
            return start, count

    def skip(self, job: PoolJob, until: int) -> None:
        """Nonces before `until` were tried, by an engine that went on past its piece."""
        with self._lock:
            last = job.nonce_start + job.nonce_count
            if self._range == (job.nonce_start, job.nonce_count) and self._next < until:
                self._next = until if until < last else job.nonce_start
