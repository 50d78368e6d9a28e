"""The devnet as a process: serve until a signal comes."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from kalepool.devnet.faults import parse_fault
from kalepool.devnet.node import Node
from kalepool.devnet.rpc.http_server import serving
from kalepool.errors import ConfigError

MIN_LEDGER_SECONDS = 0.05


async def run(
    host: str,
    port: int,
    data: Path | None,
    *,
    ledger_seconds: float,
    block_seconds: int,
    capacity: int,
    rivals: int,
    faults: list[str],
    with_faults: bool,
    channels: bool = False,
    channels_fee_limit: int | None = None,
) -> None:
    """Serves a devnet, prints its URL once it answers, and returns at SIGINT or SIGTERM.

    ConfigError where the options contradict each other, the data cannot be used or the port is taken.
    """
    if ledger_seconds == 0 and not with_faults:
        raise ConfigError("--ledger-seconds 0 closes ledgers by POST /ledgers only, which needs --faults")
    if 0 < ledger_seconds < MIN_LEDGER_SECONDS:
        raise ConfigError(f"--ledger-seconds {ledger_seconds} is too short: at least {MIN_LEDGER_SECONDS}")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    node = Node(data, ledger_seconds=ledger_seconds, block_seconds=block_seconds, capacity=capacity)
    for text in faults:
        node.faults.add(parse_fault(text))
    more: dict[str, Any] = {"channels": channels, "channels_fee_limit": channels_fee_limit}
    async with serving(node, host, port, with_faults=with_faults, rivals=rivals, **more) as url:
        print(url, flush=True)
        await stop.wait()
