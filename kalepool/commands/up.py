"""The command `kalepool up`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# For a first look, blocks turn while one watches. The real networks' times are theirs to set.
DEMO_LEDGER_SECONDS = 1.0
DEMO_BLOCK_SECONDS = 60
DEMO_FARMERS = 10


def up(
    blocks: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many finished blocks and print the closing table.")
    ] = None,
    farmers: Annotated[
        int | None, typer.Option(min=0, help="Have so many demo farmers (10 on the devnet, else none).")
    ] = None,
    rivals: Annotated[int, typer.Option(min=0, help="Other farmers on the devnet, not ours.")] = 0,
    ledger_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="A ledger's length on the devnet (1; the real networks: 5).")
    ] = None,
    block_seconds: Annotated[
        int | None, typer.Option(min=5, help="A block's length on the devnet (60; the real networks: 300).")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where database, chain, keys and logs are kept (KALEPOOL_DATA_DIR).")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Use this Ray cluster ('auto': the one on this machine), not one of our own.")
    ] = None,
    api_workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that serve the API (KALEPOOL_API_WORKERS; 1).")
    ] = None,
) -> None:
    """Start and watch everything that is not configured elsewhere, and mine.

    Without any setting that is an embedded PostgreSQL, an offline devnet, the API, a local Ray and the coordinator,
    with ten demo farmers. Ctrl-C ends it all; the next start goes on where this one ended. DATABASE_URL,
    KALEPOOL_NETWORK and KALEPOOL_RPC_URL put real things in place of ours.
    """
    from kalepool.config import Settings
    from kalepool.errors import ConfigError
    from kalepool.log import configure
    from kalepool.up.parts import needs_devnet
    from kalepool.up.run import Options, run

    given = {"data_dir": data_dir, "ray_address": ray_address, "api_workers": api_workers}
    settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
    ours = needs_devnet(settings)
    if not ours:
        for name, value in (("rivals", rivals), ("ledger-seconds", ledger_seconds), ("block-seconds", block_seconds)):
            if value:
                raise ConfigError(f"--{name} is for the devnet that `kalepool up` starts itself")
        if farmers and settings.chain.friendbot_url is None:
            raise ConfigError(
                f"no friendbot on {settings.network}: add farmers with `kalepool farmer add` and fund them"
            )
    else:
        ledger = ledger_seconds or settings.ledger_seconds or DEMO_LEDGER_SECONDS
        block = block_seconds or settings.block_seconds or DEMO_BLOCK_SECONDS
        settings = settings.model_copy(update={"ledger_seconds": ledger, "block_seconds": block})
    if farmers is None:
        farmers = DEMO_FARMERS if ours else 0
    configure("warning")
    raise typer.Exit(run(settings, Options(blocks=blocks, farmers=farmers, rivals=rivals)))
