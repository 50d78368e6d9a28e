"""Where a farmer or a miner is told of what is its own: what its page shows, and what the forms there do."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import Request, Response

from kalepool.api.calls import context
from kalepool.api.rendering import go_to
from kalepool.api.sessions import PageForm
from kalepool.services import own_alerts
from kalepool.services.keys import Role
from kalepool.services.own_alerts import OwnAlerts


async def alerts_known(request: Request, subject_id: UUID) -> dict[str, Any]:
    """For the template: where alerts may go, and where they do."""
    ctx = context(request)
    return {
        "alert_origins": own_alerts.origins(ctx.settings),
        "alert_address": await own_alerts.read_address(ctx.database, subject_id),
        "alert_kept": request.query_params.get("done") == "alerts",
        "alert_told": request.query_params.get("told") == "yes",
    }


async def set_alerts(request: Request, role: Role, subject_id: UUID, form: PageForm, home: str) -> Response:
    """Another address, or none."""
    ctx = context(request)
    await own_alerts.set_address(ctx.database, ctx.settings, role, subject_id, form.get("url", ""))
    return go_to(f"{home}?done=alerts#alerts")


async def send_test(request: Request, subject_id: UUID, home: str) -> Response:
    """A message to try it with; what came of it stands on the page."""
    posted = await OwnAlerts(context(request)).test(subject_id)
    return go_to(f"{home}?told=yes#alerts" if posted.is_taken else f"{home}#alerts")
