"""A devnet inside a test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalepool.devnet.ledger.closing import Closed
from kalepool.devnet.node import Node
from kalepool.devnet.rpc.http_server import serving
from kalepool.devnet.settings import LEDGER_CAPACITY, MIN_TEMPORARY_TTL
from kalepool.networks import DEVNET


@dataclass(frozen=True, slots=True)
class RunningDevnet:
    """A devnet that is being served at `url`."""

    url: str
    node: Node

    @property
    def friendbot_url(self) -> str:
        return self.node.friendbot_url

    async def close_ledger(self, seconds: int | None = None) -> Closed:
        """Closes one ledger by hand, `seconds` (1) after the last one by the chain's clock."""
        return self.node.close_ledger(seconds)


@asynccontextmanager
async def running_devnet(
    folder: Path | None = None,
    *,
    ledger_seconds: float = 0,
    block_seconds: int = DEVNET.block_seconds,
    capacity: int = LEDGER_CAPACITY,
    faults: bool = True,
    rivals: int = 0,
    temporary_ttl: int = MIN_TEMPORARY_TTL,
    channels: bool = False,
    channels_fee_limit: int | None = None,
) -> AsyncIterator[RunningDevnet]:
    """Serves a devnet on a free loopback port. `ledger_seconds` 0: ledgers close only by `close_ledger`."""
    node = Node(
        folder,
        ledger_seconds=ledger_seconds,
        block_seconds=block_seconds,
        capacity=capacity,
        temporary_ttl=temporary_ttl,
    )
    options: dict[str, Any] = {
        "with_faults": faults,
        "rivals": rivals,
        "channels": channels,
        "channels_fee_limit": channels_fee_limit,
    }
    async with serving(node, "127.0.0.1", 0, **options) as url:
        yield RunningDevnet(url, node)
