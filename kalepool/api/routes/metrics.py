"""`GET /metrics` for Prometheus: what the whole pool does, from the database, so that counters outlive restarts.

For operators: with a key of theirs, or on a port of this machine that is for metrics (KALEPOOL_API_METRICS_PORT). The
coordinator has metrics of its own, on KALEPOOL_METRICS_PORT.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from kalepool.api.auth import bearer, principal
from kalepool.api.limits import AT_METRICS
from kalepool.api.problems import Problem
from kalepool.chain import Limits
from kalepool.errors import ChainError
from kalepool.policy.endurance import Endurance
from kalepool.policy.timing import living_blocks
from kalepool.services import webhooks
from kalepool.services.books import held, results
from kalepool.services.books.held import Difference
from kalepool.services.books.results import BlockResult, Days, PeriodResult
from kalepool.services.books.treasury import TreasuryRow, read_treasury
from kalepool.services.context import Context
from kalepool.services.coordinators import Coordinating, coordinating
from kalepool.services.health import PATIENCE_SECONDS, Health, disk_room
from kalepool.services.keys import Role
from kalepool.services.mining.payout_records import PayoutTrouble, payout_trouble
from kalepool.services.siblings import read_siblings, read_term
from kalepool.services.totals import DELAY_BOUNDS, read_figures, read_totals

router = APIRouter(include_in_schema=False)


class _Given(Collector):
    """Hands over what was read before."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class Metrics:
    """Reads all metrics of the pool. One scrape at a time, and its answer serves for a second."""

    def __init__(self, ctx: Context, health: Health, days: Days | None = None) -> None:
        self._ctx = ctx
        self._health = health
        self._days = days or Days(ctx.database)
        self._lock = asyncio.Lock()
        self._last: tuple[float, bytes] | None = None

    async def text(self) -> bytes:
        """In Prometheus' text format. Raises DatabaseError."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > 1.0:
                registry = CollectorRegistry()
                registry.register(_Given(await self._read()))
                self._last = time.monotonic(), generate_latest(registry)
            return self._last[1]

    async def _limits(self) -> Limits:
        """As the network says, or usually are: the database has its metrics also while the chain is silent."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._ctx.chain.read_limits()
        except (ChainError, TimeoutError):
            return Limits()

    async def _read(self) -> list[Metric]:
        sums = await read_totals(self._ctx.database)
        living = living_blocks((await self._limits()).temporary_ttl, self._ctx.chain.network)
        now = await read_figures(self._ctx.database, living)
        lost = now.lost
        block = await results.newest_harvested(self._ctx.database)
        waiting, given_up = await webhooks.count(self._ctx.database)
        siblings, term = await read_siblings(self._ctx.database), await read_term(self._ctx.database)
        report, room = await self._health.report(), await disk_room(self._ctx.settings)
        return [
            *_of_events(sums),
            *_of_submissions(sums),
            *_of_shares(sums),
            _counter("stakes_lost", "Stakes lost", ["fault"], {(r["fault"],): r["stakes"] for r in lost}),
            _counter(
                "stakes_lost_stroops",
                "Stakes lost, in stroops",
                ["fault"],
                {(r["fault"],): r["stake_stroops"] for r in lost},
            ),
            _counter(
                "rpc_errors",
                "Unusable answers of the chain's RPC server to this process",
                ["method"],
                {(method,): errors for method, errors in self._ctx.chain.rpc_errors.items()},
            ),
            _gauge("farmers_by_status", "Farmers", ["status"], {(r["status"],): r["farmers"] for r in now.farmers}),
            _gauge(
                "component_up",
                "Whether a part of the pool works (1) or not (0)",
                ["component"],
                {(name,): part.state in ("up", "none") for name, part in report.components.items()},
            ),
            _gauge("api_processes", "API processes that are there", [], {(): len(siblings)}),
            _counter("api_leads", "How often an API process has taken the lead", [], {(): term}),
            _gauge(
                "webhook_deliveries",
                "Deliveries to operators' webhooks that wait, and that were given up, as long as they are kept",
                ["status"],
                {("waiting",): waiting, ("given_up",): given_up},
            ),
            *_of_coordinators(await coordinating(self._ctx.database)),
            *_of_endurance(self._ctx.accounts.endurance),
            _gauge(
                "xlm_lent_stroops",
                "XLM that the pool's account has locked in reserves of farmers' wallets",
                [],
                {(): self._ctx.accounts.sponsored_stroops},
            ),
            *_of_result("day", "Today, by UTC", next(iter(await self._days.read(1)), None)),
            *_of_result("block", "The newest block with harvests", block),
            _gauge("disk_free_bytes", "Free on the disk of the data folder", [], {(): room.free_bytes}),
            *_of_gauges(now.gauges),
            *_of_money(
                await read_treasury(self._ctx.database),
                now.gauges["open_payouts"],
                await payout_trouble(self._ctx.database),
                await held.lasting(self._ctx.database, self._ctx.chain.network),
            ),
        ]


def _of_events(sums: Counter[tuple[str, ...]]) -> Iterable[Metric]:
    for action, words in (("plant", "Plants"), ("work", "Works"), ("harvest", "Harvests")):
        found = {key[2:]: value for key, value in sums.items() if key[:2] == ("events", action)}
        yield _counter(f"{action}s", f"{words} by outcome; code says why one failed", ["outcome", "code"], found)
    yield _counter("staked_stroops", "Staked in all", [], {(): sums["stroops", "plant"]})
    yield _counter("rewards_stroops", "Rewards received, without stakes", [], {(): sums["stroops", "harvest"]})


def _of_shares(sums: Counter[tuple[str, ...]]) -> Iterable[Metric]:
    shares = {key[1:]: value for key, value in sums.items() if key[0] == "shares"}
    yield _counter("miner_shares", "Shares of external miners", ["outcome"], shares)
    credited = sum(value for key, value in sums.items() if key[0] == "credited_hashes")
    yield _counter("miner_credited_hashes", "Hashes credited to external miners", [], {(): credited})


def _of_submissions(sums: Counter[tuple[str, ...]]) -> Iterable[Metric]:
    sent = {key[1:]: value for key, value in sums.items() if key[0] == "transactions"}
    yield _counter("transactions", "Transactions that are settled", ["action", "status"], sent)
    fees = {key[1:]: value for key, value in sums.items() if key[0] == "fees"}
    yield _counter("fees_stroops", "Fees paid to the network", ["action"], fees)
    delays = HistogramMetricFamily(
        "kalepool_inclusion_seconds",
        "From the journal's entry to the known outcome, of applied ones",
        labels=["action"],
    )
    for action in sorted({key[1] for key in sums if key[0] == "delays"}):
        below, buckets = 0, []
        for number, bound in enumerate((*map(str, DELAY_BOUNDS), "+Inf")):
            below += sums["delays", action, str(number)]
            buckets.append((bound, below))
        delays.add_metric([action], buckets, sums["delay_milliseconds", action] / 1000)
    yield delays


def _of_coordinators(found: Sequence[Coordinating]) -> Iterable[Metric]:
    leads = {(each.pooler,): int(not each.leaderless_seconds) for each in found}
    yield _gauge("coordinator_lease", "Whether a coordinator leads (1) or none (0)", ["pooler"], leads)
    fences = {(each.pooler,): each.fence for each in found}
    yield _counter("leaderships", "The newest leadership's number: each has one more", ["pooler"], fences)
    standing = {(each.pooler,): each.standing_by for each in found}
    yield _gauge("coordinators_standing_by", "Coordinators that would take over", ["pooler"], standing)


def _of_endurance(lasts: Endurance | None) -> Iterable[Metric]:
    if lasts is None:
        return
    yield _gauge(
        "xlm_spare_stroops", "XLM of the pool's accounts that fees can be paid with", [], {(): lasts.spare_stroops}
    )
    if lasts.hours is not None:
        yield _gauge("xlm_hours_left", "How long that lasts, by the last day's fees", [], {(): lasts.hours})


def _of_result(name: str, of: str, result: PeriodResult | None) -> Iterable[Metric]:
    """`net` is left out where nobody knows the price of a KALE: no figure is made up."""
    if result is None:
        return
    fees = {
        ("plant",): result.plant_fee_stroops,
        ("work",): result.work_fee_stroops,
        ("harvest",): result.harvest_fee_stroops,
        ("other",): result.other_fee_stroops,
    }
    yield _gauge(f"{name}_fees_stroops", f"{of}: fees, in stroops of XLM", ["action"], fees)
    yield _gauge(f"{name}_won_stroops", f"{of}: rewards, in stroops of KALE", [], {(): result.won_stroops})
    yield _gauge(f"{name}_lost_stroops", f"{of}: stakes lost, in stroops of KALE", [], {(): result.lost_stroops})
    if result.net_stroops is not None:
        left = {(): result.net_stroops}
        yield _gauge(f"{name}_net_stroops", f"{of}: stroops of XLM that are left, at the price then", [], left)
    if isinstance(result, BlockResult):
        yield _gauge("harvested_block", of, [], {(): result.block_index})


def _of_gauges(now: dict[str, Any]) -> Iterable[Metric]:
    yield _gauge("block_index", "The newest block taken part in", [], {(): now.get("block_index") or 0})
    in_block = {("planted",): now["planted"], ("worked",): now["worked"]}
    yield _gauge("block_farmers", "Farmers of the newest block", ["state"], in_block)
    yield _gauge("stakes_at_risk_stroops", "Stakes of open blocks not worked yet", [], {(): now["at_risk_stroops"]})
    rates = {("workers",): now["workers_rate"], ("miners",): now["miners_rate"]}
    yield _gauge("hashrate_hashes_per_second", "Hashrate by who searches", ["source"], rates)
    searchers = {("workers",): now["workers"], ("miners",): now["miners"]}
    yield _gauge("searchers", "Workers and miners that are there", ["source"], searchers)
    withholding = {(): now["suspected_miners"]}
    yield _gauge("suspected_miners", "Miners that seem to hold back shares with many zeros", [], withholding)
    queues = {
        ("submissions",): now["open_submissions"],
        ("withdrawals",): now["open_withdrawals"],
        ("harvests",): now["unharvested"],
        ("compensations",): now["unpaid_compensations"],
        ("alerts",): now["untold_alerts"],
    }
    yield _gauge("queue_length", "What waits to be done", ["queue"], queues)


def _of_money(
    now: TreasuryRow, open_payouts: int, trouble: PayoutTrouble, off: Sequence[Difference]
) -> Iterable[Metric]:
    yield _gauge("treasury_stroops", "What the treasury has, by the books", [], {(): now.treasury_stroops})
    short = {(): trouble.short_stroops}
    yield _gauge("treasury_short_stroops", "What it will lack for miners once all fees are collected", [], short)
    uncollected = {(): now.owed_stroops}
    yield _gauge("uncollected_fees_stroops", "The pool's part of rewards that farmers owe", [], uncollected)
    owed = {("due",): now.due_stroops, ("paying",): now.paying_stroops}
    yield _gauge("miners_owed_stroops", "What miners have earned: due, or on its way (paying)", ["state"], owed)
    payouts = {("open",): open_payouts, ("stuck",): trouble.stuck}
    yield _gauge("payouts", "Payouts that were begun; stuck are those of an hour ago and more", ["state"], payouts)
    yield _gauge("books_off_accounts", "Accounts that are not as the chain says", [], {(): len(off)})
    stroops = {(): sum(abs(each.stroops) for each in off)}
    yield _gauge("books_off_stroops", "By how much they differ together", [], stroops)


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(f"kalepool_{name}", text, labels=labels)
    for key in sorted(values):
        family.add_metric(key, values[key])
    return family


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"kalepool_{name}", text, labels=labels)
    for key in sorted(values):
        family.add_metric(key, float(values[key]))
    return family


def came_to_metrics(request: Request) -> bool:
    """Whether it is asked on the port for metrics, here or where the request came from."""
    server: tuple[str, int | None] | None = request.scope.get("server")
    port = request.app.state.metrics_port
    return request.scope.get(AT_METRICS, False) or (server is not None and port is not None and server[1] == port)


async def for_operators(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> None:
    """Problem 401 or 403 unless it is asked on the port for metrics, or with an operator's key."""
    if came_to_metrics(request):
        return
    caller = await principal(request, credentials)
    if caller.role != Role.OPERATOR:
        raise Problem(403, "forbidden", "metrics are for operators")


@router.get("/metrics", dependencies=[Depends(for_operators)])
async def show_metrics(request: Request) -> Response:
    """Everything Prometheus wants to know."""
    metrics: Metrics = request.app.state.metrics
    return Response(await metrics.text(), media_type=CONTENT_TYPE_LATEST)
