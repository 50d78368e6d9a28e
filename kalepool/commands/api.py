"""`kalepool api`: the API and custody as a process."""

from __future__ import annotations

from kalepool.commands.pool import read_settings, with_database_url
from kalepool.log import configure
from kalepool.logins import Login


def api() -> None:
    """Run the API and custody: the only process that opens farmers' keys."""
    from kalepool.api import serve

    settings = with_database_url(read_settings(), Login.API)
    configure(settings.log_level)
    serve(settings)
