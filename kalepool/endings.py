"""How a command line ends: what went wrong in one line, and the exit status."""

from __future__ import annotations

import io
import sys
import traceback
from typing import Any, NoReturn

import typer

from kalepool.hardening import keep_private


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run a command: most hold a secret, so none leaves a core dump or a file for others.

    What went wrong is one line on standard error: exit status 2 for a wrong use, 1 for the rest.
    """
    keep_private()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a pipe of Windows, or of the locale C, does not know every letter
    try:
        status = typer.main.get_command(app).main(prog_name=name, standalone_mode=False)
    except Exception as error:
        said = _explain(error, name)
        if said is None:
            raise
        message, status = said
        if message:
            typer.echo(message, err=True)
    except KeyboardInterrupt:
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


def _explain(error: Exception, name: str) -> tuple[str, int] | None:
    """The line and exit status for an error that a user can cause; None for one that only a programmer can."""
    if hasattr(error, "format_message"):  # a wrong option or argument; the class moved between releases of typer
        context = _context_of(error)
        message = error.format_message()  # pyright: ignore[reportAttributeAccessIssue]
        if type(error).__name__ == "NoArgsIsHelpError":
            return message, 2
        command = context.command_path if context else name
        end = "" if message.endswith(("?", ".")) else "."
        return f"{command}: {message}{end} See `{command} --help`.", 2
    if isinstance(error, typer.Abort):
        return "", 1
    if "kalepool.errors" in sys.modules:
        from kalepool.errors import ConfigError, InputError, KalepoolError
        from kalepool.units import plain_lines  # what an RPC server said may be in it

        if isinstance(error, KalepoolError):
            return plain_lines(f"{name}: {error}"), 2 if isinstance(error, ConfigError | InputError) else 1
    if isinstance(error, BrokenPipeError):
        return "", 1
    return None


def _context_of(error: Exception) -> Any:
    """The command that was called wrongly. What its parser raises does not say: it is the innermost one on the way."""
    found = getattr(error, "ctx", None)
    if found is None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            ctx = frame.f_locals.get("ctx")
            found = ctx if hasattr(ctx, "command_path") else found
    return found


def show_version(wanted: bool, name: str) -> None:
    """Print the version of an installed package, and exit, if that is wanted."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{name} {version(name)}")
        raise typer.Exit
