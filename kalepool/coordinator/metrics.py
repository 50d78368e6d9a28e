"""The coordinator's figures for Prometheus."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from statistics import median

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kalepool.cluster.members import Cluster, Member
from kalepool.coordinator.finds import Finds
from kalepool.coordinator.leadership import Leadership
from kalepool.coordinator.state import State
from kalepool.errors import ConfigError
from kalepool.policy.planting import SitOut
from kalepool.units import STROOPS


class CoordinatorMetrics(Collector):
    """Reads the coordinator's present state whenever Prometheus asks."""

    def __init__(self, state: State, finds: Finds, leadership: Leadership) -> None:
        self.cluster: Cluster | None = None
        self._state = state
        self._finds = finds
        self._leadership = leadership

    @contextlib.contextmanager
    def served(self, port: int | None) -> Iterator[None]:
        """On http://127.0.0.1:port/metrics; nowhere without a port. Raises ConfigError for one that is taken."""
        if port is None:
            yield
            return
        registry = CollectorRegistry()
        registry.register(self)
        try:
            server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
        except OSError as error:
            raise ConfigError(
                f"KALEPOOL_METRICS_PORT: {port} cannot be listened on ({error}): two coordinators want two"
            ) from None
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def collect(self) -> Iterable[Metric]:
        members = list(self.cluster.members.values()) if self.cluster else []
        yield self._of_workers(members, "hashes_per_second", "Hashes a second", lambda m: m.hashes_per_second or 0.0)
        yield self._of_workers(members, "busy_share", "Part of thread time spent searching", lambda m: m.busy_share)
        yield self._of_workers(members, "best_zeros", "Most zeros found in this block", lambda m: m.best_zeros)
        state, finds, fence = self._state, self._finds, self._leadership.fence
        yield _gauge("coordinator_leads", "Whether this coordinator leads; 0: it stands by", fence is not None)
        yield _gauge("coordinator_fence", "The number of its leadership", fence.number if fence else 0)
        yield _gauge("block", "Index of the current block", state.index or 0)
        yield _gauge("farmers", "Farmers taking part", len(state.farmers))
        yield _gauge("farmers_planted", "Farmers with a pail in this block", len(state.pails))
        worked = sum(pail.zeros is not None for pail in list(state.pails.values()))
        yield _gauge("farmers_worked", "Farmers worked in this block", worked)
        if plan := state.plan:
            yield _gauge("farmers_sitting_out", "Farmers that the newest plan leaves out of its block", plan.sat_out)
            reasons = GaugeMetricFamily(
                "kalepool_farmers_sitting_out_by_reason", "The same, by what leaves them out", labels=["reason"]
            )
            for reason in SitOut:
                reasons.add_metric([reason], plan.sat_out if plan.reason == reason else 0)
            yield reasons
            yield _gauge("stake_kale", "Stake of all farmers that can afford it, in KALE", plan.stake_stroops / STROOPS)
            yield _gauge("pail_fee_xlm", "What a pail is taken to cost, in XLM", plan.pail_fee_stroops / STROOPS)
            if plan.price is not None:
                yield _gauge("kale_price_xlm", "What a KALE is taken to be worth, in XLM", plan.price)
        best = max((records[-1].zeros for records in list(state.records.values()) if records), default=0)
        yield _gauge("best_zeros", "Most zeros of any farmer in this block", best)
        yield _gauge("calls_in_flight", "Farmers in calls to the API", len(state.planting) + len(state.working))
        yield _gauge("shares_waiting", "Shares not written to the database yet", finds.waiting)
        yield _gauge(
            "workers_refused", "Places whose worker was refused", len(self.cluster.refused) if self.cluster else 0
        )
        if written := list(finds.write_seconds):
            yield _gauge("share_write_seconds", "Median time from accepting a share to its commit", median(written))
        yield _counter("shares", "Shares accepted", finds.accepted)
        yield _counter("shares_rejected", "Finds that were not what they claimed", finds.rejected)
        if cluster := self.cluster:
            yield _counter("hashes", "Hashes tried by workers", cluster.hashes)
            yield _counter("busy_thread_seconds", "Time of search threads spent searching", cluster.busy_seconds)
        yield _counter("reports", "Reports of workers", self.cluster.reports if self.cluster else 0)

    @staticmethod
    def _of_workers(members: Iterable[Member], name: str, text: str, value: Callable[[Member], float]) -> Metric:
        family = GaugeMetricFamily(f"kalepool_worker_{name}", text, labels=["node", "kind", "number"])
        for member in members:
            family.add_metric([member.place.host, member.place.kind, str(member.place.number)], value(member))
        return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"kalepool_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"kalepool_{name}", text, value=value)
