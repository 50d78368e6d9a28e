"""What a worker says, from the bytes it comes in: one that is broken or changed must not end, hold up or take over the
coordinator."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from kalepool.cluster.messages import MOST_BYTES, Find, Hello, WorkerFailure, WorkerReport
from kalepool.protocol.model import U32_MAX, U64_MAX

MOST_HASHES_PER_SECOND = 10**12
"""Of one worker: a hundred times the fastest card there is."""

MOST_SECONDS = 86_400.0
"""Between two reports: a worker that is silent for seconds is given up."""

CLOCK_SECONDS = 1.0
"""What a thread's time may be beyond the report's: they are read one after the other."""

DIGITS = 64
"""Hex digits of a hash."""

BACKEND = re.compile(r"[a-z0-9_.:-]{1,40}", re.ASCII)
VERSION = re.compile(r"[\w.+-]{1,80}", re.ASCII)
FARMER = re.compile(r"[0-9a-f]{64}", re.ASCII)
NONCE = re.compile(r"[0-9]{1,20}", re.ASCII)

HELLO_FIELDS = frozenset(Hello.__dataclass_fields__)
REPORT_FIELDS = frozenset(WorkerReport.__dataclass_fields__)
FAILURE_FIELDS = frozenset(WorkerFailure.__dataclass_fields__)


def read_hello(data: bytes) -> Hello | WorkerFailure:
    """The message of `Hello.pack`, in its form; `doubt_hello` tells whether it can be true. Raises ValueError."""
    fields = _fields(data, HELLO_FIELDS)
    return WorkerFailure(fields["failure"]) if fields.keys() == FAILURE_FIELDS else Hello(**fields)


def read_report(data: bytes) -> WorkerReport | WorkerFailure:
    """The message of `WorkerReport.pack`, in its form; `doubt_report` tells if it can be true. Raises ValueError."""
    fields = _fields(data, REPORT_FIELDS)
    if fields.keys() == FAILURE_FIELDS:
        return WorkerFailure(fields["failure"])
    if type(fields["finds"]) is not list:
        raise ValueError("finds that are no list")
    return WorkerReport(**{**fields, "finds": tuple(map(_find, fields["finds"]))})


def _fields(data: bytes, expected: frozenset[str]) -> dict[str, Any]:
    """The fields of a message that has these, or says that its worker failed. Raises ValueError."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"a message of {len(data)} bytes")
    try:
        message = json.loads(data.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ValueError("a message that is no JSON") from None
    if type(message) is not dict or message.keys() not in (expected, FAILURE_FIELDS):
        raise ValueError("a message with other fields")
    if "failure" in message and type(message["failure"]) is not str:
        raise ValueError("a failure without a text")
    return message


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _find(entry: object) -> Find:
    if type(entry) is not list or len(entry) != 3:
        raise ValueError("a find that is none")
    farmer, zeros, nonce = entry
    if type(farmer) is not str or not FARMER.fullmatch(farmer) or type(nonce) is not str or not NONCE.fullmatch(nonce):
        raise ValueError("a find that is none")
    return Find(bytes.fromhex(farmer), zeros, int(nonce))


def doubt_hello(hello: object, threads: int) -> str | None:
    """What is wrong with how a worker of `threads` threads presents itself; None if nothing is."""
    if type(hello) is not Hello:
        return f"it said {type(hello).__name__} for hello"
    if type(hello.code_version) is not str or not VERSION.fullmatch(hello.code_version):
        return "its code's version is none"
    if type(hello.host) is not str or not VERSION.fullmatch(hello.host) or not _is_int(hello.pid, 1, U32_MAX):
        return "its process is none"
    if type(hello.backend) is not str or not BACKEND.fullmatch(hello.backend):
        return "its backend's name is none"
    if type(hello.threads) is not int or hello.threads != threads:
        return f"it was given {threads} threads and says otherwise"
    return None


def doubt_report(report: object, threads: int) -> str | None:
    """What cannot be in a report of a worker of `threads` threads; None if all of it can."""
    if type(report) is not WorkerReport:
        return f"it reported {type(report).__name__}"
    if not _is_int(report.index, -1, U32_MAX):
        return f"block index {report.index!r:.40}"
    if not _is_number(report.seconds, MOST_SECONDS):
        return f"{report.seconds!r:.40} seconds since its last report"
    if not _is_number(report.busy_seconds, threads * (report.seconds + CLOCK_SECONDS)):
        return f"{report.busy_seconds!r:.40} thread-seconds of search"
    if not _is_number(report.working_seconds, threads * (report.seconds + CLOCK_SECONDS)):
        return f"{report.working_seconds!r:.40} thread-seconds with a core"
    if not _is_int(report.hashes, 0, math.ceil(MOST_HASHES_PER_SECOND * (report.seconds + CLOCK_SECONDS))):
        return f"{report.hashes!r:.40} hashes in {report.seconds:.1f} s"
    if type(report.needs_serial) is not bool or type(report.finds) is not tuple:
        return "fields of other kinds than a report has"
    if not all(_is_find(find) for find in report.finds):
        return "a find that is none"
    if len({find.farmer for find in report.finds}) < len(report.finds):
        return "several finds of one farmer"
    return None


def _is_find(find: object) -> bool:
    return (
        type(find) is Find
        and type(find.farmer) is bytes
        and len(find.farmer) == 32
        and _is_int(find.zeros, 0, DIGITS)
        and _is_int(find.nonce, 0, U64_MAX)
    )


def _is_int(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _is_number(value: object, most: float) -> bool:
    """A number from 0 to `most`; NaN is in no range."""
    return type(value) in (int, float) and 0 <= value <= most  # pyright: ignore[reportOperatorIssue]
