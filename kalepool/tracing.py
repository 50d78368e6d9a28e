"""Spans of a block, a share and a payout, for OpenTelemetry: the one door to it.

Nothing is recorded, and next to nothing done, unless `tracing` has begun in this process: it takes KALEPOOL_OTLP_URL
and the extra `traces`. Spans of a block have one trace, whichever process they are of: its id follows from pooler and
index.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

from kalepool.errors import ConfigError, KalepoolError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, SpanContext, Tracer

HEADER = "traceparent"
"""Where a request has the span that makes it (W3C Trace Context)."""

EXPORT_SECONDS = 2
"""How long a collector may take; what it does not take then is lost."""

SAID_AGAIN_SECONDS = 300.0

P = ParamSpec("P")
T = TypeVar("T")


class Spanning:
    """Something that takes time; `with` begins and ends it. This one records nothing."""

    __slots__ = ()

    def __enter__(self) -> Spanning:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it."""

    def note(self, **attributes: object) -> None:
        """More of what is known of it. Nothing secret."""

    def child(self, name: str, **attributes: object) -> Spanning:
        """A part of it: recorded if it is."""
        return self

    def forget(self) -> None:
        """There was nothing to do: it is not recorded. Only for one without parts."""


QUIET = Spanning()


class _Recorded(Spanning):
    __slots__ = ("_attributes", "_current", "_forgotten", "_name", "_span", "_tracer")

    def __init__(self, tracer: Tracer, name: str, attributes: dict[str, object]) -> None:
        self._tracer, self._name, self._attributes = tracer, name, attributes
        self._forgotten = False

    def __enter__(self) -> Spanning:
        from opentelemetry import trace

        self._span: Span = self._tracer.start_span(self._name, attributes=_plain(self._attributes))
        self._current: AbstractContextManager[object] = trace.use_span(
            self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )
        self._current.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from opentelemetry.trace import StatusCode

        self._current.__exit__(kind, error, trace)
        if error is not None:  # its message is for people, and may name what is nobody else's
            code = error.code if isinstance(error, KalepoolError) else type(error).__name__
            self._span.set_status(StatusCode.ERROR, code)
        if not self._forgotten:
            self._span.end()

    def note(self, **attributes: object) -> None:
        self._span.set_attributes(_plain(attributes))

    def child(self, name: str, **attributes: object) -> Spanning:
        return _Recorded(self._tracer, name, attributes)

    def forget(self) -> None:
        self._forgotten = True


def _plain(attributes: dict[str, object]) -> dict[str, Any]:
    """As OpenTelemetry takes them; what is None is left out."""
    return {
        name: value if isinstance(value, bool | int | float | str) and not _is_large(value) else str(value)
        for name, value in attributes.items()
        if value is not None
    }


def _is_large(value: object) -> bool:
    return isinstance(value, int) and not -(2**63) <= value < 2**63


_tracer: Tracer | None = None
_share_part = 1.0
_wanted_ids: ContextVar[tuple[int, int] | None] = ContextVar("wanted span", default=None)


def span(name: str, **attributes: object) -> Spanning:
    """Something that takes time, and is part of what is under way here."""
    return QUIET if _tracer is None else _Recorded(_tracer, name, attributes)


def span_of_shares(name: str, **attributes: object) -> Spanning:
    """The same for what happens a thousand times a second: only a part of them is recorded."""
    if _tracer is None or random.random() >= _share_part:
        return QUIET
    return _Recorded(_tracer, name, attributes)


def traced(name: str) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """A decorator: each call is a span."""

    def decorate(call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @functools.wraps(call)
        async def spanning(*args: P.args, **kwargs: P.kwargs) -> T:
            if _tracer is None:
                return await call(*args, **kwargs)
            with span(name):
                return await call(*args, **kwargs)

        return spanning

    return decorate


# ----------------------------------------------------------------------------------------------------------------------
# From process to process


def carried() -> dict[str, str]:
    """The header by which another process knows what its part belongs to."""
    if _tracer is None:
        return {}
    from opentelemetry import trace

    here = trace.get_current_span().get_span_context()
    if not here.is_valid:
        return {}
    return {HEADER: f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"}


def follow(header: str | None) -> None:
    """What this task does from here on belongs to what another process does; what is no such header is passed over."""
    if _tracer is None or header is None:
        return
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context.attach(TraceContextTextMapPropagator().extract({HEADER: header}))


def _ids_of_block(pooler_id: UUID, block_index: int) -> tuple[int, int]:
    """Of its trace and of the span that has all others: the same in every process."""
    digest = hashlib.blake2b(f"{pooler_id}/{block_index}".encode(), digest_size=24).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1


@contextmanager
def block(pooler_id: UUID, block_index: int) -> Iterator[None]:
    """What is done inside belongs to this block."""
    if _tracer is None:
        yield
        return
    from opentelemetry import context, trace

    trace_id, span_id = _ids_of_block(pooler_id, block_index)
    whole: SpanContext = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(1))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(whole)))
    try:
        yield
    finally:
        context.detach(token)


def block_over(pooler_id: UUID, block_index: int, started_at: datetime) -> None:
    """The block as a whole: the span that all of its phases are parts of."""
    if _tracer is None:
        return
    from opentelemetry.context import Context

    token = _wanted_ids.set(_ids_of_block(pooler_id, block_index))
    try:
        attributes = _plain({"block": block_index, "pooler": pooler_id})
        begun = round(started_at.timestamp() * 1e9)
        whole = _tracer.start_span("block", context=Context(), attributes=attributes, start_time=begun)
    finally:
        _wanted_ids.reset(token)
    whole.end()


# ----------------------------------------------------------------------------------------------------------------------
# The process


@contextmanager
def tracing(
    url: str | None, process: str, *, share_part: float = 1.0, processor: SpanProcessor | None = None
) -> Iterator[None]:
    """Records what this process does until the block ends, where there is a collector's address. `processor`: another
    way for what is recorded. Raises ConfigError without the extra."""
    global _tracer, _share_part
    if url is None and processor is None:
        yield
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    except ImportError:
        raise ConfigError("KALEPOOL_OTLP_URL takes the extra traces: pip install 'kalepool[traces]'") from None

    class Ids(RandomIdGenerator):
        """Random ones, but where a span is to have its own."""

        def generate_trace_id(self) -> int:
            wanted = _wanted_ids.get()
            return super().generate_trace_id() if wanted is None else wanted[0]

        def generate_span_id(self) -> int:
            wanted = _wanted_ids.get()
            return super().generate_span_id() if wanted is None else wanted[1]

    resource = Resource.create({"service.name": f"kalepool-{process}"})
    provider = TracerProvider(resource=resource, id_generator=Ids(), shutdown_on_exit=False)
    provider.add_span_processor(processor or _to_collector(url or ""))
    _tracer, _share_part = provider.get_tracer("kalepool"), share_part
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()


def _to_collector(url: str) -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    seldom = _Seldom()
    for part in ("exporter.otlp.proto.http.trace_exporter", "exporter.otlp.common.http", "sdk._shared_internal"):
        logging.getLogger(f"opentelemetry.{part}").addFilter(seldom)
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS))


class _Seldom(logging.Filter):
    """A collector that is away is told of now and then, and not with every batch."""

    _said_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._said_at < SAID_AGAIN_SECONDS:
            return False
        self._said_at = now
        return True
