"""`kalepool devnet`: run the network, or replay recordings through it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from kalepool.devnet.settings import LEDGER_CAPACITY
from kalepool.networks import DEVNET

app = typer.Typer(help="A Stellar network with KALE's contracts on this machine.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def devnet(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    ledger_seconds: Annotated[
        float, typer.Option(help="Time between ledgers; the networks' is 5. 0: by POST /ledgers (--faults).", min=0)
    ] = DEVNET.ledger_seconds,
    block_seconds: Annotated[
        int, typer.Option(help="Length of a KALE block; the real one's is 300.", min=1)
    ] = DEVNET.block_seconds,
    data: Annotated[Path | None, typer.Option(help="Folder that keeps the chain; without one it is forgotten.")] = None,
    rivals: Annotated[int, typer.Option(help="Farmers of the network's own that plant and work too.", min=0)] = 0,
    capacity: Annotated[
        int, typer.Option(help="Most transactions a ledger takes of either kind.", min=1)
    ] = LEDGER_CAPACITY,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(help="debug tells of every ledger.", envvar="KALEPOOL_LOG_LEVEL"),
    ] = None,
    faults: Annotated[
        bool, typer.Option("--faults", help="Allow faults on demand (POST /faults) and closing by hand.")
    ] = False,
    channels: Annotated[
        bool, typer.Option("--channels", help="Serve Stellar Channels at /channels: it pays for what it is given.")
    ] = False,
    channels_fee_limit: Annotated[
        int | None, typer.Option(help="Most stroops that an API key may cost Stellar Channels.", min=0)
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="A fault from the start: kind=delay,method=sendTransaction,seconds=2,count=3. Repeatable."),
    ] = None,
) -> None:
    """Run the network until SIGINT or SIGTERM. Prints its URL on standard output once it answers, its log on error."""
    if context.invoked_subcommand is not None:
        return
    import asyncio

    from kalepool.config import Settings
    from kalepool.devnet.serve import run
    from kalepool.log import configure

    configure(log_level or Settings.model_fields["log_level"].default)
    asyncio.run(
        run(
            host,
            port,
            data,
            ledger_seconds=ledger_seconds,
            block_seconds=block_seconds,
            capacity=capacity,
            rivals=rivals,
            faults=fault or [],
            with_faults=faults or bool(fault),
            channels=channels,
            channels_fee_limit=channels_fee_limit,
        )
    )


@app.command()
def replay(
    files: Annotated[list[Path], typer.Argument(help="Recorded traces (.json or .json.gz).", show_default=False)],
    hashes: Annotated[bool, typer.Option("--hash", help="The files are hash vectors, not traces.")] = False,
    backend: Annotated[str | None, typer.Option(help="Kernel for --hash; by default the fastest here.")] = None,
) -> None:
    """Replay recordings through the contract code that the network runs. Status 1 at the first difference."""
    from kalepool.devnet.recordings import replay_hashes, replay_trace
    from kalepool.errors import KalepoolError

    for path in files:
        try:
            if hashes:
                count, searches = replay_hashes(path, backend)
                typer.echo(f"{path}: {count} hashes and {searches} searches agree")
            else:
                typer.echo(f"{path}: {replay_trace(path)} calls agree")
        except (KalepoolError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = str(error) if isinstance(error, KalepoolError) else f"malformed: {error!r}"
            raise KalepoolError(reason if str(path) in reason else f"{path}: {reason}") from None
