"""`kalepool webhook`: addresses at which programs of others are told what happens."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer

from kalepool.commands.pool import ALL, AsJson, Yes, ask_api, confirm, operate, show_json, show_rows
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.services.webhooks import DeliveryStatus, EventType
from kalepool.units import plain

webhook = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Tell programs of others what happens, at an address of theirs: docs/webhooks.md.",
)

TRY_SECONDS = 15.0
"""How long `webhook test` waits for what comes of it."""

WebhookId = Annotated[UUID, typer.Argument(help="Its id: see `webhook list`.")]

COLUMNS = ("webhook_id", "url", "types", "waiting", "given_up", "delivered_at", "retry_at", "paused_at", "trouble")


@webhook.command("add")
def webhook_add(
    url: Annotated[str, typer.Argument(help="An https address, or one of a server in KALEPOOL_WEBHOOK_ORIGINS.")],
    types: Annotated[list[EventType] | None, typer.Option("--type", help="Only of this; several may be given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell an address of what happens from now on, and print the secret that its deliveries are signed with, once."""
    order = {"url": url, "types": [str(each) for each in types or ()]}
    made = operate(lambda settings, database: ask_api(settings, database, "POST", "/operator/webhooks", order))
    if as_json:
        show_json(made)
    else:
        typer.echo(f"webhook_id  {made['webhook_id']}\nsecret      {made['secret']}\nThe secret is not shown again.")


@webhook.command("list")
def webhook_list(as_json: AsJson = False) -> None:
    """List webhooks: what waits for each, what was given up, and why the last delivery was not taken."""
    from kalepool.services.webhooks import OPERATORS, all_webhooks

    rows = [asdict(each) for each in operate(lambda _, database: all_webhooks(database, OPERATORS))]
    show_rows(rows if as_json else [_shown(row) for row in rows], COLUMNS, as_json=as_json)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"types": "all" if len(row["types"]) == len(EventType) else ", ".join(row["types"])}


@webhook.command("delete")
def webhook_delete(webhook_id: WebhookId, yes: Yes = False, as_json: AsJson = False) -> None:
    """Send nothing there any more."""
    confirm(f"Delete webhook {webhook_id}? What waits for it is not sent, and its secret is gone.", yes=yes)
    operate(lambda settings, database: ask_api(settings, database, "DELETE", f"/operator/webhooks/{webhook_id}"))
    if as_json:
        show_json({"webhook_id": webhook_id, "deleted": True})
    else:
        typer.echo("It is told nothing any more.")


@webhook.command("pause")
def webhook_pause(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send nothing there until it is resumed; what happens meanwhile waits, and is given up after a day."""
    _pause(webhook_id, paused=True, as_json=as_json)


@webhook.command("resume")
def webhook_resume(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send there again, and at once what waits."""
    _pause(webhook_id, paused=False, as_json=as_json)


def _pause(webhook_id: UUID, *, paused: bool, as_json: bool) -> None:
    change = {"paused": paused}
    path = f"/operator/webhooks/{webhook_id}"
    now = operate(lambda settings, database: ask_api(settings, database, "PATCH", path, change))
    if as_json:
        show_json(now)
    else:
        typer.echo("Nothing is sent there until it is resumed." if paused else "It is told again.")


@webhook.command("test")
def webhook_test(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send it something to try it with, and say what came of it. Ends with status 1 where it was not taken."""
    _send(f"/operator/webhooks/{webhook_id}/test", webhook_id, as_json=as_json)


@webhook.command("deliveries")
def webhook_deliveries(
    webhook_id: WebhookId,
    status: Annotated[DeliveryStatus | None, typer.Option("--status", help="Only these.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=ALL, help="So many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was sent there, or waits to be, the newest first."""
    from kalepool.services.webhooks import OPERATORS, deliveries

    found = operate(lambda _, database: deliveries(database, OPERATORS, webhook_id, status, after=None, limit=most))
    columns = ("event_id", "type", "status", "attempts", "created_at", "due_at", "closed_at", "trouble")
    show_rows([asdict(each) for each in found], columns, as_json=as_json)


@webhook.command("again")
def webhook_again(
    webhook_id: WebhookId,
    event_id: Annotated[UUID, typer.Argument(help="The delivery's: see `webhook deliveries`.")],
    as_json: AsJson = False,
) -> None:
    """Send a delivery again, whatever became of it. Ends with status 1 where it was not taken."""
    _send(f"/operator/webhooks/{webhook_id}/deliveries/{event_id}/again", webhook_id, as_json=as_json)


def _send(path: str, webhook_id: UUID, *, as_json: bool) -> None:
    """Orders it, and waits until it was tried."""
    from kalepool.services.webhooks import OPERATORS, read_delivery

    async def order(settings: Settings, database: Database) -> Any:
        ordered = await ask_api(settings, database, "POST", path)
        loop = asyncio.get_running_loop()
        until = loop.time() + TRY_SECONDS
        while True:
            now = await read_delivery(database, OPERATORS, webhook_id, UUID(ordered["event_id"]))
            tried = now.attempts > ordered["attempts"]
            if tried or loop.time() > until:
                return now
            await asyncio.sleep(0.2)

    now = operate(order)
    taken = now.status == DeliveryStatus.DELIVERED
    if as_json:
        show_json(asdict(now))
    elif taken:
        typer.echo("It was taken.")
    else:
        typer.echo(f"It was not taken: {plain(now.trouble or 'not tried yet, others wait before it')}")
    if not taken:
        raise typer.Exit(1)
