"""Spans of real blocks, shares and payouts, as OpenTelemetry's own SDK has them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode

from kalepool import tracing
from kalepool.coordinator.pool_api import ApiError, PoolApi
from kalepool.services.mining import payouts
from tests.integration.conftest import KALE
from tests.integration.services.test_payouts import credited
from tests.support.served import served

pytestmark = pytest.mark.anyio


@contextmanager
def recording(share_part: float = 1.0) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with tracing.tracing(None, "test", share_part=share_part, processor=SimpleSpanProcessor(exporter)):
        yield exporter


def ids(each: ReadableSpan) -> SpanContext:
    found = each.get_span_context()
    assert found is not None
    return found


class Spans:
    """What was recorded, by name."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self.all = exporter.get_finished_spans()

    def found(self, name: str, **attributes: object) -> list[ReadableSpan]:
        return [
            each for each in self.all if each.name == name and attributes.items() <= dict(each.attributes or {}).items()
        ]

    def one(self, name: str, **attributes: object) -> ReadableSpan:
        found = self.found(name, **attributes)
        assert len(found) == 1, (name, [each.name for each in self.all])
        return found[0]

    def last(self, name: str, **attributes: object) -> ReadableSpan:
        return self.found(name, **attributes)[-1]

    def path(self, each: ReadableSpan) -> list[str]:
        """Its name, and that of what it is a part of, up to the whole."""
        names = [each.name]
        while each.parent is not None:
            each = next(other for other in self.all if ids(other).span_id == each.parent.span_id)
            names.append(each.name)
        return names


async def test_a_block_is_one_trace_from_the_plan_to_the_ledger(farm) -> None:
    """The coordinator's client and the API, over HTTP: parts of one trace."""
    (farmer,) = await farm.add_farmers(1)
    with recording() as exporter:
        async with (
            served(farm.settings) as (url, _),
            PoolApi(url, farm.pooler_key, farm.pooler_id, timeout_seconds=30) as pool,
        ):
            began = datetime.now(UTC)
            assert (await pool.plant(0, 1, None))["planted"]
            nonce = await farm.nonce(farmer, 0)
            assert (await pool.work(0, [(farmer.farmer_id, nonce)]))["accepted"]
            with pytest.raises(ApiError):
                await pool.plant(7, None, None)
            await farm.end_block()
            await farm.start_block(1)
            async with asyncio.timeout(30):
                while not (await pool.harvest([(0, farmer.farmer_id)]))["harvested"]:  # the devnet's clock has jumped
                    pass
            tracing.block_over(farm.pooler_id, 0, began)
        spans = Spans(exporter)
    whole = spans.one("block", block=0)
    parts = {"build", "write down", "send", "settle"}
    for action in ("plant", "work", "harvest"):
        carried = spans.last("transaction", action=action)
        assert spans.path(carried) == ["transaction", f"api {action}", action, "block"]
        assert ids(carried).trace_id == ids(whole).trace_id
        inside = [each for each in spans.all if each.parent and each.parent.span_id == ids(carried).span_id]
        assert {each.name for each in inside} == parts
        assert dict(carried.attributes or {})["status"] == "applied"
    failed = spans.one("plant", block=7)
    assert failed.status.status_code is StatusCode.ERROR and failed.status.description == "api"
    assert ids(failed).trace_id != ids(whole).trace_id
    said = " ".join(str(dict(each.attributes or {})) for each in spans.all)
    assert farm.pooler_key not in said


async def test_a_payout_is_claimed_built_sent_and_settled(farm) -> None:
    await credited(farm, 30 * KALE)
    with recording() as exporter:
        assert (await payouts.pay(farm.ctx), await payouts.pay(farm.ctx)) == (1, 0)
        spans = Spans(exporter)
    whole = spans.one("payout")  # and none of the round with nothing to do
    assert dict(whole.attributes or {}) == {"claimed": 1, "sent": 1, "paid": 1}
    carried = spans.one("transaction", action="payout")
    assert spans.path(carried) == ["transaction", "payout"] and spans.path(spans.one("claim")) == ["claim", "payout"]
    order = [each.name for each in sorted(spans.all, key=lambda each: each.start_time or 0)]
    assert order == ["payout", "claim", "transaction", "build", "write down", "send", "settle"]


async def test_without_a_collector_nothing_is_recorded_and_next_to_nothing_done() -> None:
    """Neither the SDK is loaded nor a span made: it takes less than twice what any `with` does."""
    code = (
        "import sys; from kalepool import tracing\n"
        "with tracing.tracing(None, 'api'), tracing.span('x') as one, one.child('y'): pass\n"
        "assert one is tracing.QUIET and tracing.carried() == {}\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    assert await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=True)

    def nothing() -> None:
        with tracing.span("x", block=1):
            pass

    def plain() -> None:
        with nullcontext():
            pass

    def seconds(work: Callable[[], None]) -> float:
        return min(timeit.repeat(work, timer=time.thread_time, number=10_000, repeat=10))

    assert seconds(nothing) < 2 * seconds(plain)


async def test_a_collector_that_is_away_costs_spans_alone(caplog: pytest.LogCaptureFixture) -> None:
    with tracing.tracing("http://127.0.0.1:9", "test"):
        for _ in range(3):
            with tracing.span("x"):
                pass
        begun = time.monotonic()
    assert time.monotonic() - begun < 9
    assert len([each for each in caplog.records if each.name.startswith("opentelemetry")]) <= 1
    with recording(share_part=0) as exporter, tracing.span_of_shares("shares") as whole, whole.child("verify"):
        pass
    assert not exporter.get_finished_spans()
    assert tracing._ids_of_block(UUID(int=1), 5) == tracing._ids_of_block(UUID(int=1), 5)
