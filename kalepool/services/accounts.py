"""The pool's own accounts: one that pays, and channels that carry work and harvests. Made and funded on first start.

Where there is a friendbot (devnet, testnet) the pool's account gets its XLM there; elsewhere the operator sends it, and
`Needs` says how much and where. The pool then creates the channels and keeps them filled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog

from kalepool.chain import BASE_RESERVE_STROOPS, Account, Prepared, Signer
from kalepool.custody import Custody
from kalepool.database import Database, new_id
from kalepool.errors import DuplicateRowError
from kalepool.services import journal
from kalepool.services.context import Context, Needs
from kalepool.services.events import Item

log = structlog.get_logger()

POOL = "pool"
CHANNEL_STROOPS = 50_000_000
"""What a channel is filled up to beyond its reserve: 5 XLM, fees of some hundred transactions."""
CHANNEL_LOW_STROOPS = 10_000_000
"""Below this a channel is filled up again."""
POOL_SPARE_STROOPS = 100_000_000
"""What the pool's account should have left for fees once its channels are filled: 10 XLM."""
RESERVE = 2 * BASE_RESERVE_STROOPS
"""What Stellar locks in a plain account."""
OPERATIONS = 100
"""Operations in one transaction."""


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """A row of `accounts`."""

    account_id: UUID
    purpose: str
    name: str
    address: str
    secret_sealed: bytes = field(repr=False)


async def own_accounts(database: Database, custody: Custody, channels: int) -> list[OwnAccount]:
    """The pool's account, then its channels; those that do not exist yet are made."""
    names = [(POOL, POOL), *(("channel", f"channel-{number:02}") for number in range(1, channels + 1))]
    return await named_accounts(database, custody, names)


async def named_accounts(database: Database, custody: Custody, names: Sequence[tuple[str, str]]) -> list[OwnAccount]:
    """The accounts of these (purpose, name); those that do not exist yet are made."""
    known = {row.name: row for row in await database.fetch_all("select_accounts", row=OwnAccount)}
    for purpose, name in names:
        if name not in known:
            account_id = new_id()
            address, sealed, master_key_id = custody.create_sealed(account_id)
            with suppress(DuplicateRowError):  # another process was quicker
                await database.execute(
                    "insert_account",
                    account_id=account_id,
                    purpose=purpose,
                    name=name,
                    address=address,
                    secret_sealed=sealed,
                    master_key_id=master_key_id,
                )
    known = {row.name: row for row in await database.fetch_all("select_accounts", row=OwnAccount)}
    return [known[name] for _, name in names]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about the pool's accounts, by what the ledger says of them. Amounts in stroops."""

    needed: int  # to be sent to the pool's account
    spare: int  # the part of it that is reserve for fees: the rest of the plan can be done without
    create: Sequence[str]
    fill: Sequence[tuple[str, int]]  # (channel, amount)


def plan(pool: Account | None, channels: Sequence[str], accounts: dict[str, Account]) -> Plan:
    """Which channels are to be created and filled up, and what the pool's account lacks for it."""
    create = [address for address in channels if address not in accounts]
    low = [accounts[address] for address in channels if address in accounts]
    fill = [
        (account.address, CHANNEL_STROOPS - account.spendable_stroops)
        for account in low
        if account.spendable_stroops < CHANNEL_LOW_STROOPS
    ]
    cost = len(create) * (CHANNEL_STROOPS + RESERVE) + sum(amount for _, amount in fill)
    have = pool.spendable_stroops if pool else -RESERVE
    # Before the first start with room to spare; a pool that runs goes on until it is nearly empty.
    spare = POOL_SPARE_STROOPS if create else CHANNEL_LOW_STROOPS
    return Plan(max(cost + spare - have, 0), spare, create, fill)


async def ensure(ctx: Context) -> Needs | None:
    """Makes the pool's account and channels usable as far as that is possible now. Idempotent; call it every so often.

    Returns what the operator has to send, None when all is well; also in `ctx.needs`. Raises ChainError, DatabaseError.
    """
    own = await own_accounts(ctx.database, ctx.custody, ctx.settings.channel_accounts)
    signers = {row.address: ctx.custody.signer(row.account_id, row.address, row.secret_sealed) for row in own}
    pool, *channels = signers
    accounts = await ctx.chain.read_accounts(list(signers))
    if pool not in accounts and ctx.settings.chain.friendbot_url:
        await ctx.chain.fund(pool)
        accounts |= await ctx.chain.read_accounts([pool])
    todo = plan(accounts.get(pool), channels, accounts)
    ctx.needs = Needs(pool, todo.needed) if todo.needed else None
    if pool not in accounts:
        return ctx.needs
    ctx.pool = signers[pool]
    # A transaction that a crash left open may still apply: its account waits until that is settled. One that only an
    # operator can settle has used its sequence number and holds nobody up.
    open_rows = await ctx.database.fetch_all("select_open_submissions", row=journal.Open)
    known = ctx.following | ctx.undecided.keys()
    busy = {row.source_account for row in open_rows if row.submission_id not in known}
    for address in channels:
        if address in accounts and address not in busy:
            ctx.channels.add(signers[address])
    if todo.needed <= todo.spare and pool not in busy:
        await _create_and_fill(ctx, signers, todo)
    return ctx.needs


async def _create_and_fill(ctx: Context, signers: Mapping[str, Signer], todo: Plan) -> None:
    """Carries the plan out: channels created a hundred at a time, filled up one by one."""
    async with ctx.chain.pool_lock:
        for start in range(0, len(todo.create), OPERATIONS):
            created = [(address, CHANNEL_STROOPS + RESERVE) for address in todo.create[start : start + OPERATIONS]]
            await _carry(
                ctx, "create_account", created, partial(ctx.chain.prepare_create_accounts, created, pool=ctx.payer)
            )
            for address, _ in created:
                ctx.channels.add(signers[address])
            log.info("channels_created", count=len(created))
        for address, amount in todo.fill:
            prepare = partial(ctx.chain.prepare_payment, ctx.payer, address, native_stroops=amount)
            await _carry(ctx, "payment", [(address, amount)], prepare)


async def _carry(
    ctx: Context, action: str, amounts: Sequence[tuple[str, int]], prepare: Callable[..., Awaitable[Prepared]]
) -> None:
    """One transaction of the pool's account that gives each address its amount."""
    timeout = ctx.settings.plant_timeout_seconds
    deadline = await ctx.chain.now() + timedelta(seconds=timeout)
    items = [Item(destination=address, amount_stroops=amount) for address, amount in amounts]
    await journal.carry(
        ctx,
        journal.Intent(action, None, items),
        lambda attempt: prepare(deadline=deadline, attempt=attempt),
        deadline=deadline,
        timeout_seconds=timeout,
    )
