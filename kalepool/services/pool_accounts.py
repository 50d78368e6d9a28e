"""The pool's own accounts: one that pays, and channels that carry work and harvests. Made and funded on first start.

Where there is a friendbot (devnet, testnet) the pool's account gets its XLM there; elsewhere the operator sends it, and
`Needs` says how much and where. The pool then creates the channels and keeps them filled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import BASE_RESERVE_STROOPS, Account, Chain, ChainReader, Channels, Prepared, Signer
from kalepool.config import Settings
from kalepool.custody import Binding, Custody, Purpose
from kalepool.database import Database, new_id
from kalepool.derivation import account_path
from kalepool.errors import DuplicateRowError
from kalepool.policy.endurance import MEASURED_SECONDS, Endurance, endurance
from kalepool.services.failures import CallTimeoutError, NetworkRestartedError, NotReadyError
from kalepool.services.journal.carry import carry_within
from kalepool.services.journal.intents import Intent, Item
from kalepool.services.journal.state import Journal

log = structlog.get_logger()

CHANNEL_STROOPS = 50_000_000
"""What a channel is filled up to beyond its reserve: 5 XLM, fees of some hundred transactions."""
CHANNEL_LOW_STROOPS = 10_000_000
"""Below this a channel is filled up again."""
POOL_SPARE_STROOPS = 100_000_000
"""What the pool's account should have left for fees once its channels are filled: 10 XLM."""
TREASURY_STROOPS = 20_000_000
"""What the treasury is made with: its reserve of 1.5 XLM, and some to spare. The pool's account pays its fees."""
RESERVE = 2 * BASE_RESERVE_STROOPS
"""What Stellar locks in a plain account."""
FARMER_RESERVES = 3
"""What Stellar locks for an account with a trustline, in reserves."""
BEHIND_LEDGERS = 100
"""An RPC server may lag so far behind the ledger of our last transaction, and be of the same network."""
OPERATIONS = 100
"""Operations in one transaction."""


@dataclass(frozen=True, slots=True)
class Needs:
    """XLM to be sent to the pool's account."""

    address: str
    native_stroops: int


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """A row of `accounts`."""

    account_id: UUID
    purpose: str
    name: str
    address: str
    secret_sealed: bytes = field(repr=False)

    @property
    def binding(self) -> Binding:
        """What its secret must have been sealed for."""
        return Binding(self.account_id, Purpose(self.purpose), self.address, self.name)


async def own_accounts(database: Database, custody: Custody, chain: ChainReader, channels: int) -> list[OwnAccount]:
    """The pool's account, then its channels; those that do not exist yet are made."""
    names = [(Purpose.POOL, Purpose.POOL.value)]
    names += [(Purpose.CHANNEL, f"channel-{number:02}") for number in range(1, channels + 1)]
    return await named_accounts(database, custody, chain, names)


async def named_accounts(
    database: Database, custody: Custody, chain: ChainReader | None, names: Sequence[tuple[Purpose, str]]
) -> list[OwnAccount]:
    """The accounts of these (purpose, name); those that do not exist yet are made.

    One that is on the ledger from before, of this or an earlier master key, is taken up again. `chain`: None for
    accounts that are never on the ledger.
    """
    known = {row.name: row for row in await database.fetch_all("select_accounts", row=OwnAccount)}
    for purpose, name in names:
        if name not in known:
            account_id, path = new_id(), account_path(name)
            addresses = custody.addresses(path)
            before = await chain.read_accounts(addresses) if chain is not None and len(addresses) > 1 else {}
            taken_up = next((each for each in addresses if each in before), addresses[0])
            address, sealed, master_key_id = custody.create_sealed(
                account_id, purpose, path, name=name, address=taken_up
            )
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


class PoolAccounts:
    """The accounts themselves, as far as they are usable, and what the operator has to send before they are.

    One for the API process; `ensure` keeps it current.
    """

    def __init__(
        self, settings: Settings, chain: Chain, custody: Custody, database: Database, journal: Journal
    ) -> None:
        self._settings = settings
        self._chain = chain
        self._custody = custody
        self._database = database
        self._journal = journal
        self.pool: Signer | None = None
        """Signs for the account that pays the fees; None until it is on the ledger."""
        self.channels = Channels(chain)
        """Submit what needs no farmer's signature, one transaction at a time each."""
        self.treasury: Signer | None = None
        """Holds what is the pool's and its miners'; None until it is on the ledger, with its trustline."""
        self._there: set[str] = set()
        """Accounts of the pool's own that were seen on the ledger, besides these."""
        self.to_be_made: int | None = None
        """How many of them are not on the ledger; None while nobody has looked."""
        self.needs: Needs | None = None
        """What the operator has to send before the pool can work, or soon; None when all is well."""
        self.restarted: str | None = None
        """Why the network is taken to be another than the database is of; None where it is the same."""
        self.sponsors = 0
        """How many more farmers' reserves the pool's account pays, as read last,"""
        self.sponsored_stroops = 0
        """and the XLM that it has lent to those it pays for."""
        self.endurance: Endurance | None = None
        """How long the pool's XLM lasts; None while nobody has looked."""

    @property
    def payer(self) -> Signer:
        """The pool's account. NotReadyError while it is not funded."""
        if self.pool is None:
            raise NotReadyError("the pool's account is not funded yet; GET /health says what is missing")
        return self.pool

    @asynccontextmanager
    async def channel(self, deadline: datetime) -> AsyncIterator[Signer]:
        """A channel account for the caller alone. NotReadyError where there is none, CallTimeoutError when none is free
        before the deadline."""
        if not len(self.channels):
            raise NotReadyError("the pool's channel accounts are not funded yet; GET /health says what is missing")
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout((deadline - await self._chain.now()).total_seconds()):
                    signer = await stack.enter_async_context(self.channels.lend())
            except TimeoutError:
                raise CallTimeoutError(f"none of {len(self.channels)} channel accounts came free in time") from None
            yield signer

    async def ensure(self) -> Needs | None:
        """Makes the pool's account and channels usable as far as that is possible now. Idempotent.

        Returns what the operator has to send, None when all is well; also in `needs`. Raises ChainError, DatabaseError,
        and CustodyError where an account's row was changed past us: nothing is sent to its address then.
        """
        own = await own_accounts(self._database, self._custody, self._chain, self._settings.channel_accounts)
        signers = {row.address: self._custody.signer(row.binding, row.secret_sealed) for row in own}
        for signer in signers.values():
            signer.check()
        pool, *channels = signers
        accounts = await self._chain.read_accounts(list(signers))
        await self._require_same_network(None if pool in accounts else pool)
        if pool not in accounts and self._settings.chain.friendbot_url:
            await self._chain.fund(pool)
            accounts |= await self._chain.read_accounts([pool])
        todo = plan(accounts.get(pool), channels, accounts)
        self.sponsored_stroops = accounts[pool].sponsoring * BASE_RESERVE_STROOPS if pool in accounts else 0
        await self._measure(sum(account.spendable_stroops for account in accounts.values()))
        self.needs = Needs(pool, todo.needed) if todo.needed else None
        self.to_be_made = len(todo.create) + (pool not in accounts)
        if pool not in accounts:
            return self.needs
        self.pool = signers[pool]
        # A transaction that a crash left open may still apply: its account waits until that is settled. One that only
        # an operator can settle has used its sequence number and holds nobody up.
        open_rows = await self._journal.open_submissions()
        known = self._journal.following | self._journal.undecided.keys()
        busy = {row.source_account for row in open_rows if row.submission_id not in known}
        for address in channels:
            if address in accounts and address not in busy:
                self.channels.add(signers[address])
        if todo.needed <= todo.spare and pool not in busy:
            await self._create_and_fill(signers, todo)
        return self.needs

    async def _require_same_network(self, missing: str | None) -> None:
        """NetworkRestartedError where the ledger does not reach to what this database has of it, or does not know the
        pool's account (`missing`), which was used before: the network was started anew."""
        row = await self._database.fetch_one("select_last_ledger_used", address=missing)
        assert row is not None
        last, used, newest = row["ledger"], row["used"], (await self._chain.read_ledger()).sequence
        behind = last > newest + BEHIND_LEDGERS
        self.restarted = None
        if behind or (missing is not None and used):
            why = f"its newest ledger is {newest}" if behind else f"it does not know the pool's account {missing}"
            self.restarted = (
                f"{self._settings.network} was started anew: {why}, and this database has transactions up to ledger "
                f"{last}. Its farmers' wallets are gone from the network, and its blocks are of the old one. Give the "
                "pool a new database: another KALEPOOL_DATABASE_URL, or another KALEPOOL_DATA_DIR for an embedded one "
                "(take master.key with you). On a devnet the folder of its chain may have been removed: put it back"
            )
            raise NetworkRestartedError(self.restarted)

    async def read_sponsors(self) -> int:
        """How many more farmers' reserves the pool's account pays now: by the setting, by what it pays already, and by
        the XLM it has. Also in `sponsors`. Raises RpcUnavailableError."""
        most, account = self._settings.sponsored_farmers, None
        if most and self.pool is not None:
            account = (await self._chain.read_accounts([self.pool.public_key])).get(self.pool.public_key)
        self.sponsors = 0
        if account is not None:
            self.sponsored_stroops = account.sponsoring * BASE_RESERVE_STROOPS
            room = most - -(-account.sponsoring // FARMER_RESERVES)
            spare = (account.spendable_stroops - CHANNEL_LOW_STROOPS) // (FARMER_RESERVES * BASE_RESERVE_STROOPS)
            self.sponsors = max(min(room, spare), 0)
        return self.sponsors

    async def ensure_treasury(self) -> Signer | None:
        """Makes the treasury, with its KALE trustline, as soon as the pool's account can pay for it. Idempotent.

        Raises as `ensure`, and as carry."""
        if self.treasury is not None or self.pool is None:
            return self.treasury
        [row] = await named_accounts(
            self._database, self._custody, self._chain, [(Purpose.TREASURY, Purpose.TREASURY.value)]
        )
        signer = self._custody.signer(row.binding, row.secret_sealed)
        signer.check()
        found = await self._chain.read_accounts([row.address, self.pool.public_key])
        account, payer = found.get(row.address), found.get(self.pool.public_key)
        if account is None:
            if payer is None or payer.spendable_stroops < TREASURY_STROOPS + CHANNEL_LOW_STROOPS:
                return None
            created = [(row.address, TREASURY_STROOPS)]
            async with self._chain.pool_lock:
                await self._carry(
                    ActionName.CREATE_ACCOUNT,
                    created,
                    partial(self._chain.prepare_create_accounts, created, pool=self.payer),
                )
        if account is None or account.kale_stroops is None:
            prepare = partial(self._chain.prepare_trustline, signer, pool=self.payer)
            await self._carry(ActionName.TRUSTLINE, [(row.address, 0)], prepare)
            log.info("treasury_made", address=row.address)
        self.treasury = signer
        return signer

    async def ensure_account(self, address: str) -> None:
        """Has the pool's account make an account of the pool's own that only has to be there. Idempotent.

        Raises NotReadyError, and as carry."""
        if address in self._there:  # whoever asks for it does not wait for what the pool pays
            return
        async with self._chain.pool_lock:
            if address not in await self._chain.read_accounts([address]):
                created = [(address, 2 * BASE_RESERVE_STROOPS)]
                prepare = partial(self._chain.prepare_create_accounts, created, pool=self.payer)
                await self._carry(ActionName.CREATE_ACCOUNT, created, prepare)
                log.info("account_made", address=address)
        self._there.add(address)

    async def give_treasury(self, native_stroops: int) -> int:
        """Lets the treasury have so much XLM beyond its reserve, as far as the pool's account can spare it. Returns
        what it has. Raises as carry."""
        if not native_stroops or self.treasury is None:
            return 0
        addresses = [self.treasury.public_key, self.payer.public_key]
        found = await self._chain.read_accounts(addresses)
        treasury, payer = (found[each].spendable_stroops if each in found else 0 for each in addresses)
        lacks = min(native_stroops - treasury, payer - CHANNEL_LOW_STROOPS)
        if lacks <= 0:
            return treasury
        async with self._chain.pool_lock:
            given = [(self.treasury.public_key, lacks)]
            prepare = partial(self._chain.prepare_payment, self.payer, given[0][0], native_stroops=lacks)
            await self._carry(ActionName.PAYMENT, given, prepare)
        log.info("treasury_given", native_stroops=lacks)
        return treasury + lacks

    async def _measure(self, spare_stroops: int) -> None:
        row = await self._database.fetch_one("select_fees_burned", seconds=MEASURED_SECONDS)
        assert row is not None
        self.endurance = endurance(
            spare_stroops, row["fee_stroops"], row["seconds"], self._settings.chain.block_seconds
        )

    async def _create_and_fill(self, signers: Mapping[str, Signer], todo: Plan) -> None:
        """Carries the plan out: channels created a hundred at a time, filled up one by one."""
        async with self._chain.pool_lock:
            for start in range(0, len(todo.create), OPERATIONS):
                created = [(address, CHANNEL_STROOPS + RESERVE) for address in todo.create[start : start + OPERATIONS]]
                await self._carry(
                    ActionName.CREATE_ACCOUNT,
                    created,
                    partial(self._chain.prepare_create_accounts, created, pool=self.payer),
                )
                self.to_be_made = 0
                for address, _ in created:
                    self.channels.add(signers[address])
                log.info("channels_created", count=len(created))
            for address, amount in todo.fill:
                prepare = partial(self._chain.prepare_payment, self.payer, address, native_stroops=amount)
                await self._carry(ActionName.PAYMENT, [(address, amount)], prepare)

    async def _carry(
        self, action: ActionName, amounts: Sequence[tuple[str, int]], prepare: Callable[..., Awaitable[Prepared]]
    ) -> None:
        """One transaction of the pool's account that gives each address its amount."""
        items = [Item(destination=address, amount_stroops=amount, asset="XLM") for address, amount in amounts]
        intent = Intent(action, None, items, to_ourselves=True)
        await carry_within(self._journal, intent, prepare, self._settings.plant_timeout_seconds)
