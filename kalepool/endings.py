"""How a command line ends: what went wrong in one line, begun by the command's whole name, and the exit status."""

from __future__ import annotations

import io
import sys
import traceback
from typing import NoReturn

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
            from kalepool.units import without_secrets

            typer.echo(without_secrets(message), err=True)
    except KeyboardInterrupt:
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


def _explain(error: Exception, name: str) -> tuple[str, int] | None:
    """The line and exit status for an error that a user can cause; None for one that only a programmer can."""
    from kalepool.units import plain_lines, unprefixed  # what an RPC server said may be in it

    if hasattr(error, "format_message"):  # a wrong option or argument; the class moved between releases of typer
        message = unprefixed(_with_value(error.format_message(), error))  # pyright: ignore[reportAttributeAccessIssue]
        if type(error).__name__ == "NoArgsIsHelpError":
            return message, 2
        command = _command_of(error, name)
        end = "" if message.endswith(("?", ".")) else "."
        return f"{command}: {message}{end} See `{command} --help`.", 2
    if isinstance(error, typer.Abort):
        return "", 1
    if "kalepool.errors" in sys.modules:
        from kalepool.errors import ConfigError, InputError, KalepoolError

        if isinstance(error, KalepoolError):
            status = 2 if isinstance(error, ConfigError | InputError) else 1
            return plain_lines(f"{_command_of(error, name)}: {error}"), status
    if isinstance(error, BrokenPipeError):
        return "", 1
    return None


def _command_of(error: Exception, name: str) -> str:
    """The whole name of the command that failed. An error need not know it: it is the innermost one on the way."""
    found = getattr(error, "ctx", None)
    if found is None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            ctx = frame.f_locals.get("ctx")
            found = ctx if hasattr(ctx, "command_path") else found
    return found.command_path if found is not None else name


def _with_value(message: str, error: Exception) -> str:
    """The message with the value that was wrong, as it was typed, where the parser leaves that out."""
    typed = [
        frame.f_locals.get("value")
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "process_value"
    ]
    if not typed or not isinstance(typed[-1], str) or repr(typed[-1]) in message:
        return message
    return message.replace("Invalid value for ", f"Invalid value {typed[-1]!r} for ", 1)


def show_version(wanted: bool, name: str) -> None:
    """Print the version of an installed package, and exit, if that is wanted."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{name} {version(name)}")
        raise typer.Exit
