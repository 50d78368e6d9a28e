"""Tells farmers and miners of what is theirs: a stake lost, a wallet out of XLM, a payment, a rig gone. Each names one
address, of Telegram, Discord or ntfy, at a server that the operator's settings allow.

What to say is kept in the database before it is said: nothing is said twice, nothing forgotten while nobody answers.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import UUID

import structlog

from kalepool.config import Settings, WebhookForm
from kalepool.database import Database, new_id
from kalepool.errors import ChainError, ConflictError, InputError
from kalepool.marking import mark
from kalepool.services import outgoing
from kalepool.services.context import Context
from kalepool.services.farmers import missing_funds
from kalepool.services.keys import Role
from kalepool.services.outgoing import Posted
from kalepool.units import amount, kale, plain

GONE_SECONDS = 300.0
"""A rig that was not seen for so long is gone."""

LEAST_SECONDS = 30.0
"""Between two messages to an address; what comes meanwhile goes together."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3600.0
"""After a failure an address is left alone; twice as long after each, up to this."""

AT_ONCE = 20
"""Addresses that are told side by side."""

MOST_LINES = 10
"""Of a message."""

PATIENCE_SECONDS = 10.0
"""How long the chain may take; else wallets are looked at the next time."""

MOST_CHARACTERS = 500

_PATHS = {
    WebhookForm.TELEGRAM: re.compile(r"/bot\d{1,20}:[A-Za-z0-9_-]{1,100}/sendMessage"),
    WebhookForm.DISCORD: re.compile(r"/api/webhooks/\d{1,30}/[A-Za-z0-9_-]{1,150}"),
}
_TOPIC = re.compile(r"/[A-Za-z0-9_-]{1,64}")
_CHAT = re.compile(r"-?\d{1,20}|@[A-Za-z0-9_]{1,64}")

log = structlog.get_logger()


# ----------------------------------------------------------------------------------------------------------------------
# Where


@dataclass(frozen=True, slots=True)
class AlertAddress:
    """Where somebody is told, for itself to see. `host`: the rest of the address is a secret."""

    host: str
    since: datetime
    trouble: str | None


def origins(settings: Settings) -> list[str]:
    """Where the operator lets messages go: scheme and host."""
    return [each.strip().rstrip("/").lower() for each in settings.own_alert_origins.split(",") if each.strip()]


def form_of(host: str | None) -> WebhookForm | None:
    """What is spoken there; None for ntfy."""
    return {"api.telegram.org": WebhookForm.TELEGRAM, "discord.com": WebhookForm.DISCORD}.get(host or "")


def checked(text: str, allowed: Sequence[str]) -> str:
    """The address, if messages may go there. Raises InputError, which does not show it. Pure."""
    try:
        parts = urlsplit(text.strip())
        origin = f"{parts.scheme}://{parts.netloc}".lower()
    except ValueError:
        parts, origin = urlsplit(""), ""
    if len(text) > MOST_CHARACTERS or not text.isascii() or origin not in allowed or "@" in parts.netloc:
        raise InputError(
            mark("alerts of this pool go to addresses that begin with one of: %(allowed)s"), allowed=", ".join(allowed)
        )
    form, chat = form_of(parts.hostname), ""
    if form is WebhookForm.TELEGRAM:
        chat = (parse_qs(parts.query).get("chat_id") or [""])[0]
        good = _PATHS[form].fullmatch(parts.path) and _CHAT.fullmatch(chat)
        wanted = "https://api.telegram.org/bot…/sendMessage?chat_id=…"
    elif form is WebhookForm.DISCORD:
        good, wanted = _PATHS[form].fullmatch(parts.path), "https://discord.com/api/webhooks/…/…"
    else:
        good, wanted = _TOPIC.fullmatch(parts.path), f"{origin}/topic"
    if not good:
        raise InputError(mark("an address there is written %(wanted)s"), wanted=wanted)
    return urlunsplit(parts._replace(query=f"chat_id={chat}" if chat else "", fragment=""))


async def send(url: str, text: str) -> Posted:
    """One message. Neither Discord nor Telegram reads markup or mentions in it."""
    parts = urlsplit(url)
    match form_of(parts.hostname):
        case WebhookForm.TELEGRAM:
            chat = parse_qs(parts.query)["chat_id"][0]
            to = urlunsplit(parts._replace(query=""))
            return await outgoing.post(
                to, json={"chat_id": chat, "text": text[:4096], "disable_web_page_preview": True}
            )
        case WebhookForm.DISCORD:
            return await outgoing.post(url, json={"content": text[:2000], "allowed_mentions": {"parse": []}})
        case _:
            return await outgoing.post(url, text=text[:4000])


async def set_address(database: Database, settings: Settings, role: Role, subject_id: UUID, text: str) -> None:
    """From now on the farmer or miner is told there; nowhere, where it is blank. Raises InputError."""
    if not text.strip():
        await database.execute("delete_own_alert_address", subject_id=subject_id)
        return
    url = checked(text.strip(), origins(settings))
    await database.execute("set_own_alert_address", subject_id=subject_id, role=role, url=url)


async def read_address(database: Database, subject_id: UUID) -> AlertAddress | None:
    """Where it is told, if anywhere."""
    row = await database.fetch_one("select_own_alert_address", subject_id=subject_id)
    return AlertAddress(urlsplit(row["url"]).netloc, row["since"], row["trouble"]) if row else None


# ----------------------------------------------------------------------------------------------------------------------
# What


@dataclass(frozen=True, slots=True)
class OwnAlert:
    """What somebody is to be told once."""

    subject_id: UUID
    kind: str
    key: str
    message: str


def lost(row: Mapping[str, Any]) -> OwnAlert:
    """A stake that was lost."""
    index = row["block_index"]
    said = f"Stake lost: {kale(row['stake_stroops'])} KALE in block {index}. Your page says what you are owed for it."
    return OwnAlert(row["subject_id"], "stake-lost", f"stake-lost/{index}", said)


def paid(row: Mapping[str, Any]) -> OwnAlert:
    """A payment that is on the ledger."""
    sum_said = f"{amount(row['amount_stroops'] or 0)} {row['asset']}"
    rest = ", and all the XLM that is left," if row["action"] == "merge" else ""
    said = f"Paid: {sum_said}{rest} to {row['destination']}. Transaction {row['transaction_hash']}."
    return OwnAlert(row["subject_id"], "paid", f"paid/{row['submission_id']}", said)


def rig_gone(row: Mapping[str, Any]) -> OwnAlert:
    """A machine that was not seen for a while."""
    at: datetime = row["last_seen_at"]
    said = f"Rig gone: {plain(row['name']) or 'the one without a name'}, last seen {at:%Y-%m-%d %H:%M} UTC."
    return OwnAlert(row["subject_id"], "rig-gone", f"rig-gone/{row['searcher']}/{int(at.timestamp())}", said)


def out_of_xlm(subject_id: UUID, wallet: str, lacks_stroops: int, alert_id: UUID) -> OwnAlert:
    """A wallet that is not planted for any more."""
    said = f"Out of XLM: your farmer's wallet {wallet} lacks {amount(lacks_stroops)} XLM, and is not planted for."
    return OwnAlert(subject_id, "out-of-xlm", f"out-of-xlm/{alert_id}", said)


def together(messages: Sequence[str], network: str) -> str:
    """Several as one."""
    lines = [f"kalepool, {network}", *messages[:MOST_LINES]]
    more = len(messages) - MOST_LINES
    return "\n".join([*lines, f"… and {more} more: see your page."] if more > 0 else lines)


# ----------------------------------------------------------------------------------------------------------------------
# Do


class OwnAlerts:
    """Looks, keeps what is to be said, and says it. `look` and `tell` are called again and again."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    async def look(self) -> int:
        """Keeps what is new. Returns how many. Raises DatabaseError."""
        database = self._ctx.database
        if not origins(self._ctx.settings):
            return 0
        found = [lost(row) for row in await database.fetch_all("select_own_losses")]
        found += [paid(row) for row in await database.fetch_all("select_own_payments")]
        if time.monotonic() - self._ctx.started > GONE_SECONDS:  # before it could not be seen
            found += [rig_gone(row) for row in await database.fetch_all("select_own_gone_rigs", seconds=GONE_SECONDS)]
        found += await self._out_of_xlm()
        new = 0
        for each in found:
            new += await database.execute(
                "insert_own_alert",
                alert_id=new_id(),
                subject_id=each.subject_id,
                kind=each.kind,
                key=each.key,
                message=each.message,
            )
        return new

    async def _out_of_xlm(self) -> list[OwnAlert]:
        """Wallets that lack XLM and of which that was not said; those that have it again are noted."""
        rows = await self._ctx.database.fetch_all("select_own_wallets_told_of")
        if not rows:
            return []
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                accounts = await self._ctx.chain.read_accounts([row["custodial_wallet"] for row in rows])
        except (ChainError, TimeoutError):
            return []
        spare, found, over = self._ctx.settings.min_spare_stroops, [], []
        for row in rows:
            wallet = row["custodial_wallet"]
            lacks = missing_funds(accounts.get(wallet), spare).native_stroops
            if lacks and not row["told"]:
                found.append(out_of_xlm(row["subject_id"], wallet, lacks, new_id()))
            elif row["told"] and not lacks:
                over.append(row["subject_id"])
        if over:
            await self._ctx.database.execute("end_own_alerts", subject_ids=over)
        return found

    async def tell(self) -> int:
        """Tells everybody whose turn it is what was not said. Returns how many messages were taken. Raises
        DatabaseError. A message that was taken and could not be marked so is sent again: better twice than never."""
        rows = await self._ctx.database.fetch_all("select_own_alert_turns", limit=AT_ONCE)
        return sum(await asyncio.gather(*(self._tell(row["subject_id"]) for row in rows)))

    async def _tell(self, subject_id: UUID) -> bool:
        waiting = await self._ctx.database.fetch_all("select_untold_own_alerts", subject_id=subject_id)
        if not waiting:
            return False
        text = together([row["message"] for row in waiting], self._ctx.settings.network)
        posted = await self.deliver(subject_id, text)
        if posted is None or not posted.is_taken:
            return False
        await self._ctx.database.execute("mark_own_alerts_told", alert_ids=[row["alert_id"] for row in waiting])
        return True

    async def deliver(self, subject_id: UUID, text: str) -> Posted | None:
        """One message, and a note of what came of it; None where it is not the address's turn, or it has none."""
        database = self._ctx.database
        turn = await database.fetch_one("take_own_alert_turn", subject_id=subject_id, seconds=LEAST_SECONDS)
        if turn is None:
            return None
        url, failures = turn["url"], 0
        try:
            checked(url, origins(self._ctx.settings))  # the operator may have changed its mind
            posted = await send(url, text)
        except InputError:
            posted = Posted(is_taken=False, reason="this pool sends nothing there any more")
        pause = LEAST_SECONDS
        if not posted.is_taken:
            failures = turn["failures"] + 1
            pause = min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10), LONGEST_PAUSE_SECONDS)
            pause = max(pause, posted.wait_seconds)
            log.info("own_alert_not_sent", subject=str(subject_id), reason=posted.reason, failures=failures)
        noted = {"failures": failures, "trouble": posted.reason or None, "seconds": pause}
        await database.execute("note_own_alert_outcome", subject_id=subject_id, url=url, **noted)
        return posted

    async def test(self, subject_id: UUID) -> Posted:
        """A message to try the address with. Raises ConflictError where another one went there just now."""
        text = together(["This is a test: alerts come here."], self._ctx.settings.network)
        posted = await self.deliver(subject_id, text)
        if posted is None:
            raise ConflictError(
                mark("no address is set, or a message went there less than %(seconds)s s ago: try again later"),
                seconds=f"{LEAST_SECONDS:g}",
            )
        return posted
