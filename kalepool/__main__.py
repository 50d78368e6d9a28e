"""The command line. Each command is imported when it is called, so that `--help` answers at once."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kalepool.endings import run, show_version

# Command, where it lives, and what the list of commands says of it.
COMMANDS = [
    ("up", "kalepool.commands.up:up", "Start and watch everything that is not configured elsewhere, and mine."),
    ("status", "kalepool.commands.status:status", "Show the block, the farmers, the workers and the last blocks."),
    ("pause", "kalepool.commands.pause:pause", "Plant nothing more; --wait until it is safe to stop."),
    ("resume", "kalepool.commands.pause:resume", "Plant again."),
    ("doctor", "kalepool.commands.doctor:doctor", "Look for everything that can be wrong, and say the way out."),
    ("logs", "kalepool.commands.logs:logs", "Show the logs of the pool's parts."),
    ("farmer", "kalepool.commands.farmer:farmer", "Add, list, show and change farmers, and let them go."),
    ("pooler", "kalepool.commands.pooler:pooler", "Add, list, open and close poolers."),
    ("miner", "kalepool.commands.miner:miner", "Add, list and show external miners, and make their keys."),
    ("books", "kalepool.commands.books:books", "Check, show and export the pool's books."),
    ("compensation", "kalepool.commands.compensation:compensation", "List what is owed for lost stakes; have it paid."),
    ("operator", "kalepool.commands.operator:operator", "Make and list operators' keys."),
    ("key", "kalepool.commands.key:key", "List and revoke keys for the API."),
    ("webhook", "kalepool.commands.webhook:webhook", "Tell programs of others what happens, at an address of theirs."),
    ("backup", "kalepool.commands.backup:backup", "Write the pool's database to a file, also while it runs."),
    ("restore", "kalepool.commands.backup:restore", "Put a backup back."),
    ("move", "kalepool.commands.backup:move", "Copy the pool's database to another PostgreSQL."),
    ("mine", "kalepool.commands.mine:mine", "Hash for a pool over HTTP, as an external miner."),
    (
        "verify-credits",
        "kalepool.commands.verify_credits:verify_credits",
        "Reckon a block's credits again, from what is public alone.",
    ),
    ("simulate", "kalepool.commands.simulate:simulate", "Say what a day would bring, before anything is started."),
    ("bench", "kalepool.bench:bench", "Measure every search backend of this machine."),
    ("api", "kalepool.commands.api:api", "Run the API and custody."),
    ("coordinate", "kalepool.commands.coordinate:coordinate", "Run the coordinator and its Ray workers."),
    (
        "devnet",
        "kalepool.commands.devnet:app",
        "Run an offline Stellar network with the KALE contract, or replay traces.",
    ),
    ("migrate", "kalepool.commands.migrate:migrate", "Bring the database's schema up to date."),
    ("settings", "kalepool.commands.settings:settings", "Show every setting, its value and what it does."),
    ("custody", "kalepool.commands.custody:custody", "Look after the master key."),
]


class LazyGroup(TyperGroup):
    """Knows each command's name and help; imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        target = next(target for command, target, _ in COMMANDS if command == name)
        module, _, attribute = target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            found, function = typer.Typer(add_completion=False), found
            found.command()(function)
        return name, typer.main.get_command(found), rest


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True)


@app.callback()
def kalepool(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=lambda wanted: show_version(wanted, "kalepool"),
            is_eager=True,
        ),
    ] = False,
) -> None:
    """A mining pool for KALE, the proof-of-teamwork token on Stellar.

    Every option that is not given here is read from the environment (KALEPOOL_…) and from a file .env.
    """


for _name, _, _help in COMMANDS:
    app.command(_name, help=_help)(lambda: None)


def main() -> None:
    """Run a command."""
    run(app, "kalepool")


if __name__ == "__main__":
    main()
