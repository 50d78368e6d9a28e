"""Tells operators of trouble over a webhook. What to say is decided apart from saying it, and kept in the database:
nothing is said twice, and nothing is forgotten while the webhook does not answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import UUID

import structlog

from kalepool.chain import Farm
from kalepool.config import Settings, WebhookForm
from kalepool.custody import Binding
from kalepool.database import Database, new_id
from kalepool.errors import ChainError, ConfigError
from kalepool.policy.endurance import WARN_HOURS, Endurance
from kalepool.policy.rpc_servers import Trouble
from kalepool.services import outgoing
from kalepool.services.books import held
from kalepool.services.books.held import Difference
from kalepool.services.context import Context
from kalepool.services.coordinators import (
    LEADERLESS_SECONDS,
    SETTLED_SECONDS,
    TOLD_SECONDS,
    Coordinating,
    coordinating,
)
from kalepool.services.farmers import missing_funds
from kalepool.services.farming import harvest
from kalepool.services.health import (
    SILENT_SECONDS,
    DiskRoom,
    Unsearched,
    awaited_seconds,
    count_unsearched,
    disk_room,
    is_starting,
)
from kalepool.services.journal.gaps import describe
from kalepool.services.journal.state import Gap
from kalepool.services.mining.payout_records import NO_TROUBLE, PayoutTrouble, payout_trouble
from kalepool.units import counted, kale

LOOK_SECONDS = 15.0
TELL_SECONDS = 2.0

DOWN_SECONDS = 30.0
"""A chain that is silent for so long is told of."""

SERVER_SECONDS = 120.0
"""One of several RPC servers that has been in trouble for so long is told of."""

PATIENCE_SECONDS = 10.0
"""How long the chain may take to answer before it counts as silent."""

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = outgoing.LONGEST_WAIT_SECONDS
"""After a failure the webhook is left alone; twice as long after each, up to this."""

LASTING = frozenset({"stake-lost", "forecast-off"})
"""Kinds that cannot be undone: never resolved, said once."""

OF_CHAIN = frozenset(
    {"block-missed", "stake-lost", "forecast-off", "farmer-out-of-xlm", "outcome-unknown", "contract-changed"}
)
"""Kinds that nobody can judge while the chain is silent."""

OF_WORKERS = frozenset({"nobody-mining", "worker-gone"})
"""Kinds that are not raised while the pool starts and its workers are on their way."""

NONE_UNSEARCHED = Unsearched(0, 0)
ENOUGH_ROOM = DiskRoom(10**12, 10**12, is_low=False)

log = structlog.get_logger()

# ----------------------------------------------------------------------------------------------------------------------
# Decide


@dataclass(frozen=True, slots=True)
class Condition:
    """Something is wrong. The same trouble has the same key."""

    kind: str
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Amount:
    """Farmers of one block and what it is about; `forecast_stroops` where something else was received."""

    block_index: int
    farmers: int
    stroops: int
    forecast_stroops: int | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """Blocks one after another, up to the last that is over, in which none of the pool's farmers was planted."""

    first_index: int
    last_index: int
    farmers: int


@dataclass(frozen=True, slots=True)
class Observation:
    """How the pool is. `chain_silent_seconds`: 0 while the chain answers; what hangs on it is then as last known."""

    chain_silent_seconds: float = 0.0
    servers: Mapping[str, tuple[Trouble, float]] | None = None  # in trouble, of several: for how many seconds
    server_asked: str = ""
    missed: Missed | None = None
    lost_stakes: Sequence[Amount] = ()
    wrong_forecasts: Sequence[Amount] = ()
    poor_farmers: Mapping[str, int] | None = None  # wallet -> XLM it lacks, in stroops
    pool_lacks_stroops: int = 0
    new_contract: str | None = None  # SHA-256 of the KALE contract's code, where it is not the one that is known
    restarted: str | None = None  # why the network is taken to be another than the database is of
    endurance: Endurance | None = None  # how long the pool's XLM lasts
    undecided: Sequence[tuple[UUID, str, str]] = ()  # (submission, action, transaction hash)
    to_check: int = 0  # stakes of which nobody knows whether they came back
    gone_machines: Sequence[tuple[str, str]] = ()  # (machine, kind)
    unsearched: Unsearched = NONE_UNSEARCHED
    starting: bool = False  # workers are on their way
    gaps: Sequence[Gap] = ()  # transactions of ours that this database does not have
    books: Sequence[Difference] = ()  # accounts whose books are not as the chain says
    payouts: PayoutTrouble = NO_TROUBLE
    disk: DiskRoom = ENOUGH_ROOM
    broken_seals: Sequence[Binding] = ()  # of rows that were changed past us
    suspicions: Sequence[tuple[UUID, str, str]] = ()  # (miner, its name, what was found)
    coordinators: Sequence[Coordinating] = ()
    coordinators_wanted: int = 1  # for each pooler


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new, the keys of what is over, and what is to be said otherwise by now."""

    raised: tuple[Condition, ...]
    resolved: tuple[str, ...]
    reworded: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """Raised and not resolved."""

    key: str
    kind: str
    message: str


def conditions(seen: Observation) -> list[Condition]:
    """Everything that is wrong now."""
    found = []
    if seen.chain_silent_seconds >= DOWN_SECONDS:
        found.append(Condition("rpc-down", "rpc-down", "The chain's RPC server does not answer."))
    found += [
        Condition("rpc-server", f"rpc-server:{name}", f"The RPC server {name} {trouble}; {seen.server_asked} is asked.")
        for name, (trouble, seconds) in (seen.servers or {}).items()
        if seconds >= SERVER_SECONDS or trouble is Trouble.FOREIGN
    ]
    if missed := seen.missed:
        one = missed.first_index == missed.last_index
        which = f"Block {missed.last_index} is" if one else f"Blocks {missed.first_index} to {missed.last_index} are"
        said = f"{which} over and none of {_farmers(missed.farmers)} was planted in {'it' if one else 'them'}."
        found.append(Condition("block-missed", "block-missed", said))
    for lost in seen.lost_stakes:
        what = f"lost {kale(lost.stroops)} KALE of stakes" if lost.stroops else "had nothing at stake and got no reward"
        said = f"Block {lost.block_index}: {_farmers(lost.farmers)} {what}."
        found.append(Condition("stake-lost", f"stake-lost:{lost.block_index}", said))
    for off in seen.wrong_forecasts:
        said = (
            f"Block {off.block_index}: {_farmers(off.farmers)} received {kale(off.stroops, 7)} KALE "
            f"where {kale(off.forecast_stroops, 7)} were forecast."
        )
        found.append(Condition("forecast-off", f"forecast-off:{off.block_index}", said))
    for wallet, lacks in (seen.poor_farmers or {}).items():
        said = f"Farmer {wallet} lacks {kale(lacks)} XLM and is not planted for."
        found.append(Condition("farmer-out-of-xlm", f"farmer-out-of-xlm:{wallet}", said))
    if seen.pool_lacks_stroops:
        said = f"The pool's account needs {kale(seen.pool_lacks_stroops)} XLM; GET /health says where to send it."
        found.append(Condition("pool-out-of-xlm", "pool-out-of-xlm", said))
    if seen.new_contract:
        said = (
            f"The KALE contract's code was changed to {seen.new_contract}: find out what it does. "
            "KALEPOOL_CONTRACT_WASM agrees to it, and until then KALEPOOL_PAUSE_ON_NEW_CONTRACT keeps plants from it."
        )
        found.append(Condition("contract-changed", f"contract-changed:{seen.new_contract}", said))
    if seen.restarted:
        found.append(Condition("network-restarted", "network-restarted", f"{seen.restarted}."))
    found += [*_running_out(seen.endurance), *_unsettled(seen)]
    for machine, kind in seen.gone_machines:
        found.append(
            Condition("worker-gone", f"worker-gone:{machine}:{kind}", f"No {kind} worker on {machine} any more.")
        )
    for miner_id, name, suspicion in seen.suspicions:
        said = f"Miner {miner_id} ({name}) seems to hold back shares: {suspicion}."
        found.append(Condition("withholding", f"withholding:{miner_id}", said))
    for binding in seen.broken_seals:
        said = (
            f"The database's row of the {binding.purpose} account {binding.address} was changed past the pool, in its "
            "payout wallet, address or secret: nothing is signed for it, or paid to it. Find out who writes to the "
            "database, and put the row back as it was in a backup."
        )
        found.append(Condition("seal-broken", f"seal-broken:{binding.row_id}", said))
    return found


def _running_out(lasts: Endurance | None) -> list[Condition]:
    """Each of the hours that the pool's XLM does not last is told of by itself."""
    if lasts is None or lasts.short_of is None:
        return []
    said = (
        f"The pool's XLM lasts for less than {{}} hours: {kale(lasts.spare_stroops)} XLM are left, and fees take "
        f"{kale(lasts.daily_stroops)} a day. GET /health names the pool's account."
    )
    return [
        Condition("xlm-runs-out", f"xlm-runs-out:{hours}", said.format(hours))
        for hours in WARN_HOURS
        if lasts.short_of <= hours
    ]


def _unsettled(seen: Observation) -> list[Condition]:
    """Transactions and stakes of which only an operator can find out what became of them."""
    found = []
    if seen.books:
        found.append(Condition("books-off", "books-off", f"{held.describe(seen.books)}."))
    if seen.payouts.stuck:
        one = seen.payouts.stuck == 1
        said = (
            f"{seen.payouts.stuck} payout{'' if one else 's'} to miners {'was' if one else 'were'} begun an hour ago "
            f"and more, and {'is' if one else 'are'} not paid: see the log."
        )
        found.append(Condition("payout-stuck", "payout-stuck", said))
    if seen.payouts.short_stroops:
        said = (
            f"The treasury lacks {kale(seen.payouts.short_stroops)} KALE for what miners are due after all fees that "
            "farmers owe are collected."
        )
        found.append(Condition("treasury-short", "treasury-short", said))
    if seen.gaps:
        found.append(Condition("journal-behind", "journal-behind", f"{describe(seen.gaps)}."))
    for submission_id, action, transaction in seen.undecided:
        said = (
            f"The RPC server has forgotten transaction {transaction} ({action}). Look it up in an explorer, then say "
            f"with PUT /operator/submissions/{submission_id}/outcome if it was applied or failed, and in which ledger."
        )
        found.append(Condition("outcome-unknown", f"outcome-unknown:{submission_id}", said))
    if seen.to_check:
        said = (
            f"{counted(seen.to_check, 'worked pail')} went with their blocks and may have been "
            "harvested by somebody else: see GET /operator/compensations?standing=to-check."
        )
        found.append(Condition("compensation-to-check", "compensation-to-check", said))
    return [*found, *_of_machines(seen)]


def _of_machines(seen: Observation) -> list[Condition]:
    """What is wrong with those that search, with the machine, and with what is in the database."""
    found = []
    if seen.disk.is_low:
        said = f"Only {seen.disk.free_bytes / 1e6:.0f} MB are free where the pool's data is: make room."
        found.append(Condition("disk-low", "disk-low", said))
    if farmers := seen.unsearched.farmers:
        said = (
            f"Nobody is mining: neither a worker nor a miner searches for {_farmers(farmers)} with "
            f"{kale(seen.unsearched.stake_stroops)} KALE of stakes."
        )
        found.append(Condition("nobody-mining", "nobody-mining", said))
    return [*found, *_of_coordinators(seen.coordinators, seen.coordinators_wanted)]


def _of_coordinators(coordinators: Sequence[Coordinating], wanted: int) -> Iterator[Condition]:
    """That nobody leads, unless the last one was told to end; where several are wanted, that one took over, and that
    nobody would."""
    for each in coordinators:
        if each.leaderless_seconds > LEADERLESS_SECONDS and not each.given_up:
            said = (
                f"Nobody coordinates pooler {each.pooler}: {each.place} is silent, and no other has taken over. Start "
                "`kalepool coordinate`."
            )
            yield Condition("nobody-leads", f"nobody-leads:{each.pooler_id}", said)
        if wanted == 1 or each.leaderless_seconds:
            continue
        if each.taken_from and each.led_seconds < TOLD_SECONDS:
            said = (
                f"Pooler {each.pooler}: the coordinator {each.taken_from} was silent, and {each.place} has taken over."
            )
            yield Condition("coordinator-took-over", f"coordinator-took-over:{each.pooler_id}:{each.fence}", said)
        if each.standing_by + 1 < wanted and each.led_seconds > SETTLED_SECONDS:
            said = (
                f"Pooler {each.pooler} has {counted(each.standing_by + 1, 'coordinator')} where {wanted} are wanted: "
                f"{'fewer' if each.standing_by else 'nobody'} would take over from {each.place}."
            )
            yield Condition("coordinator-missing", f"coordinator-missing:{each.pooler_id}", said)


def decide(open_alerts: Sequence[OpenAlert], seen: Observation) -> Changes:
    """What to say now. What is open is told once, and once more when it is over, in the words that fit by then.

    While the chain is silent nothing that hangs on it is raised or resolved; while the pool starts nobody's absence
    is raised.
    """
    unknown: Collection[str] = OF_CHAIN if seen.chain_silent_seconds else ()
    now = [condition for condition in conditions(seen) if condition.kind not in unknown]
    keys = {condition.key for condition in now}
    said = {alert.key: alert for alert in open_alerts}
    early: Collection[str] = OF_WORKERS if seen.starting else ()
    raised = tuple(condition for condition in now if condition.key not in said and condition.kind not in early)
    reworded = tuple(
        condition
        for condition in now
        if condition.kind not in LASTING and condition.key in said and said[condition.key].message != condition.message
    )
    # Between silence and alarm, an alarm raised before stays: it is not over yet.
    waiting = {"rpc-down"} if seen.chain_silent_seconds else set()
    resolved = tuple(
        key
        for key, alert in said.items()
        if key not in keys and alert.kind not in LASTING and alert.kind not in unknown and alert.kind not in waiting
    )
    return Changes(raised, resolved, reworded)


def _farmers(count: int) -> str:
    return counted(count, "farmer")


# ----------------------------------------------------------------------------------------------------------------------
# Say


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to send."""

    kind: str
    key: str
    message: str
    resolved: bool
    at: datetime


def body(notice: Notice, form: WebhookForm, network: str, chat_id: str = "") -> dict[str, Any]:
    """The webhook's request. Discord and Telegram show `content` and `text`; neither reads markup or mentions in it."""
    text = f"{'✅ Resolved' if notice.resolved else '🔴 Alert'} · {network} · {notice.kind}\n{notice.message}"
    match form:
        case WebhookForm.DISCORD:
            return {"content": text[:2000], "allowed_mentions": {"parse": []}}
        case WebhookForm.TELEGRAM:
            return {"chat_id": chat_id, "text": text[:4096], "disable_web_page_preview": True}
        case _:
            state = "resolved" if notice.resolved else "raised"
            return {
                "kind": notice.kind,
                "key": notice.key,
                "state": state,
                "message": notice.message,
                "at": notice.at.isoformat(),
                "network": network,
            }


class Webhook:
    """Where alerts go. The address is a secret: it is in no message and no log."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError for an address that cannot work."""
        assert settings.alert_webhook is not None
        self._form: WebhookForm = settings.alert_kind
        self._network = settings.network
        self._url = settings.alert_webhook.get_secret_value()
        self._chat_id = ""
        try:
            parts = urlsplit(self._url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("KALEPOOL_ALERT_WEBHOOK is not an http address")
        if self._form == WebhookForm.TELEGRAM:
            self._chat_id = (parse_qs(parts.query).get("chat_id") or [""])[0]
            if not self._chat_id:
                raise ConfigError(
                    "KALEPOOL_ALERT_WEBHOOK names no chat: for telegram it ends in /sendMessage?chat_id=…"
                )
            self._url = urlunsplit(parts._replace(query=""))

    async def post(self, notice: Notice) -> tuple[bool, float]:
        """Sends it once: (whether it was taken, how long to wait at least where it was not). Never raises."""
        request = body(notice, self._form, self._network, self._chat_id)
        posted = await outgoing.post(self._url, json=request)
        if not posted.is_taken:
            log.warning("alert_not_sent", kind=notice.kind, reason=posted.reason)
        return posted.is_taken, posted.wait_seconds


# ----------------------------------------------------------------------------------------------------------------------
# Do


async def open_alerts(database: Database) -> list[OpenAlert]:
    """What was raised and is not over. Raises DatabaseError."""
    return await database.fetch_all("select_open_alerts", row=OpenAlert)


async def count_to_check(database: Database) -> int:
    """Stakes of which nobody knows whether they came back. Raises DatabaseError."""
    found = await database.fetch_one("select_to_check")
    return found["compensations"] if found else 0


class Alerts:
    """Looks, keeps what changed, and tells it. `look` and `tell` are called again and again, each in its own time."""

    def __init__(self, ctx: Context) -> None:
        """Raises ConfigError where the webhook's settings are wrong."""
        self._ctx = ctx
        self._webhook = Webhook(ctx.settings)
        self._answered = time.monotonic()
        self._pause_seconds = 0.0
        self._not_before = 0.0

    async def look(self) -> Changes:
        """Keeps what is new and what is over. Raises DatabaseError."""
        database = self._ctx.database
        await database.execute("forget_gone_machines")
        seen = await self._observe()
        changes = decide(await open_alerts(database), seen)
        if changes.raised or changes.resolved or changes.reworded:
            async with database.transaction() as session:
                for new in changes.raised:
                    await session.execute(
                        "insert_alert", alert_id=new_id(), key=new.key, kind=new.kind, message=new.message
                    )
                    log.warning("alert_raised", key=new.key, message=new.message)
                for other in changes.reworded:
                    await session.execute("reword_alert", key=other.key, message=other.message)
                for key in changes.resolved:
                    await session.execute("resolve_alert", key=key)
                    log.info("alert_resolved", key=key)
        return changes

    async def tell(self) -> int:
        """Sends what was not sent, the oldest first, until the webhook fails. Returns how many were taken.

        A message that was taken and could not be marked so is sent again: better twice than never.
        """
        clock = asyncio.get_running_loop().time
        if clock() < self._not_before:
            return 0
        told = 0
        for row in await self._ctx.database.fetch_all("select_untold_alerts"):
            steps = [(False, "mark_alert_told", row["raised_at"])] if row["told_at"] is None else []
            if row["resolved_at"] is not None:
                steps.append((True, "mark_alert_end_told", row["resolved_at"]))
            for resolved, mark, at in steps:
                notice = Notice(row["kind"], row["key"], row["message"], resolved, at)
                taken, wait = await self._webhook.post(notice)
                if not taken:
                    self._pause_seconds = min(max(2 * self._pause_seconds, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
                    self._not_before = clock() + max(wait, self._pause_seconds)
                    return told
                self._pause_seconds = 0.0
                await self._ctx.database.execute(mark, alert_id=row["alert_id"])
                told += 1
        return told

    async def _observe(self) -> Observation:
        database = self._ctx.database
        silent = 0.0
        farm: Farm | None = None
        poor: dict[str, int] = {}
        living = 0
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                farm = await self._ctx.chain.read_farm()
                poor = await self._poor_farmers()
                living = await harvest.living_blocks(self._ctx)
            self._answered = time.monotonic()
        except (ChainError, TimeoutError):
            silent = max(time.monotonic() - self._answered, 0.001)
        missed, lost, wrong = None, [], []
        if farm is not None and farm.index is not None and farm.farm_block is not None:
            first, last = farm.index - living, farm.index - 1
            started = datetime.fromtimestamp(farm.farm_block.timestamp, UTC)
            missed = await self._missed(last, started)
            lost = await database.fetch_all("select_lost_stakes", first_index=first, last_index=last)
            wrong = await database.fetch_all("select_wrong_forecasts", first_index=first, last_index=last)
        gone = await database.fetch_all("select_gone_machines", silent_seconds=SILENT_SECONDS)
        suspicions = await database.fetch_all("select_suspicions")
        return Observation(
            chain_silent_seconds=silent,
            servers=self._ctx.chain.servers.troubles(),
            server_asked=self._ctx.chain.servers.place,
            missed=missed,
            lost_stakes=[Amount(row["block_index"], row["farmers"], row["stake_stroops"]) for row in lost],
            wrong_forecasts=[
                Amount(row["block_index"], row["farmers"], row["reward_stroops"], row["forecast_stroops"])
                for row in wrong
            ],
            poor_farmers=poor,
            pool_lacks_stroops=self._ctx.accounts.needs.native_stroops if self._ctx.accounts.needs else 0,
            new_contract=None if farm is None or self._ctx.settings.chain.knows_contract(farm.wasm) else farm.wasm,
            restarted=self._ctx.accounts.restarted,
            endurance=self._ctx.accounts.endurance,
            undecided=[(key, *what) for key, what in self._ctx.journal.undecided.items()],
            gaps=self._ctx.journal.gaps or (),
            payouts=await payout_trouble(database),
            books=await held.lasting(database, self._ctx.chain.network),
            to_check=await count_to_check(database),
            gone_machines=[(row["machine"], row["kind"]) for row in gone],
            disk=await disk_room(self._ctx.settings),
            unsearched=await count_unsearched(database, self._ctx.settings.chain.block_seconds),
            starting=is_starting(await awaited_seconds(database)),
            broken_seals=self._ctx.broken_seals,
            suspicions=[(row["miner_id"], row["name"], row["suspicion"]) for row in suspicions],
            coordinators=await coordinating(database),
            coordinators_wanted=self._ctx.settings.coordinators,
        )

    async def _missed(self, block_index: int, ended_at: datetime) -> Missed | None:
        """Up to the block that ended then, where nobody was planted in it that could have been.

        A block takes at least its length, so who was active a length before its end could be planted.
        """
        started_by = ended_at - timedelta(seconds=self._ctx.settings.chain.block_seconds)
        found = await self._ctx.database.fetch_one(
            "select_missed_farmers", block_index=block_index, started_by=started_by
        )
        if found is None or not found["farmers"] or block_index < 0:
            return None
        return Missed(found["first_index"], block_index, found["farmers"])

    async def _poor_farmers(self) -> dict[str, int]:
        rows = await self._ctx.database.fetch_all("select_active_wallets")
        wallets = [row["custodial_wallet"] for row in rows]
        accounts = await self._ctx.chain.read_accounts(wallets) if wallets else {}
        spare = self._ctx.settings.min_spare_stroops
        lacks = {wallet: missing_funds(accounts.get(wallet), spare).native_stroops for wallet in wallets}
        return {wallet: stroops for wallet, stroops in lacks.items() if stroops}
