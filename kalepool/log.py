"""Logging of every process: events with key=value for a reader at a terminal, one JSON object a line anywhere else.

`kalepool up` reads the JSON lines of its children to show their warnings.
"""

from __future__ import annotations

import logging
import sys

import structlog

from kalepool.units import plain_lines

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
NOISY = ("aiohttp", "asyncio", "httpx2", "httpcore2", "uvicorn.access")  # say less: warnings only


def _plain_values(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What others said is among the values: a terminal must not obey it. JSON escapes by itself."""
    return {key: plain_lines(value) if isinstance(value, str) else value for key, value in event.items()}


def configure(level: str) -> None:
    """Send structlog's and the standard library's records to standard error in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    last: list[structlog.typing.Processor]
    if sys.stderr.isatty():
        last = [_plain_values, structlog.dev.ConsoleRenderer(timestamp_key="at")]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, LEVELS[level]))
    # While the database is away our own loops say so once; psycopg would say it at every try, in words of its own.
    for name in ("psycopg", "psycopg.pool"):
        logging.getLogger(name).setLevel(logging.ERROR)
