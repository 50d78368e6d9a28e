"""What is kept for how long: single shares, charts, alerts, webhooks' deliveries, envelopes. Sums, events and
everything about money stay."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from kalepool.config import Settings
from kalepool.database import Database, first_id
from kalepool.services.alerts import LASTING

PRUNE_SECONDS = 60.0
"""Between two looks for what is old."""

BATCH = 5000
"""Rows of one statement: some 50 ms, and its locks are gone again."""

PAUSE_SECONDS = 0.2
"""Between two batches, for everybody else."""

MOST_BATCHES = 100
"""Of one table in one look: the others have their turn, and the rest comes with the next."""

log = structlog.get_logger()


async def prune(database: Database, settings: Settings, now: datetime | None = None) -> dict[str, int]:
    """Removes what is older than the settings keep at `now`, by default ours. Returns how many rows, by query. Raises
    DatabaseError."""
    now = now or datetime.now(UTC)

    def ago(days: int) -> datetime:
        return now - timedelta(days=days)

    shares, charts = ago(settings.share_days), settings.chart_days
    chores: dict[str, dict[str, object]] = {
        "delete_old_shares": {"at": shares, "before": first_id(shares)},
        "delete_old_refused_shares": {"at": ago(1)},
        "delete_old_hashrates": {"at": ago(charts)},
        "delete_old_workers": {"at": ago(charts + 1)},
        "delete_old_alerts": {"before": first_id(ago(settings.alert_days)), "lasting": sorted(LASTING)},
        "delete_old_own_alerts": {"before": first_id(ago(settings.alert_days))},
        "delete_old_webhook_deliveries": {"at": ago(settings.webhook_days)},
        "delete_removed_webhook_deliveries": {},
        "delete_removed_webhooks": {},
        "empty_old_envelopes": {"before": first_id(ago(settings.envelope_days))},
    }
    removed = {query: await _in_batches(database, query, given) for query, given in chores.items()}
    if any(removed.values()):
        log.info("old_rows_removed", **{query: rows for query, rows in removed.items() if rows})
    return removed


async def _in_batches(database: Database, query: str, given: dict[str, object]) -> int:
    rows = 0
    for _ in range(MOST_BATCHES):
        touched = await database.execute(query, batch=BATCH, **given)
        rows += touched
        if touched < BATCH:
            break
        await asyncio.sleep(PAUSE_SECONDS)
    return rows
