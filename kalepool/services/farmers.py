"""Farmers: registered → active (funded, trustline) → leaving → departed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from kalepool.actions import ActionName
from kalepool.chain import BASE_RESERVE_STROOPS, Account, Destination, require_destination
from kalepool.custody import Binding, Purpose
from kalepool.database import Database, Session, new_id
from kalepool.errors import ConflictError, ForbiddenError, InputError, KalepoolError, NotFoundError
from kalepool.marking import mark
from kalepool.notices import FarmerNotice, tell
from kalepool.policy.stake import ceiling_of
from kalepool.protocol.hashing import farmer_bytes
from kalepool.services import poolers, wallets
from kalepool.services.context import Context
from kalepool.services.failures import FarmerLeavesError
from kalepool.services.journal.carry import carry_within
from kalepool.services.journal.gaps import require_whole
from kalepool.services.journal.intents import Intent, Item
from kalepool.services.keys import Role, create_key

log = structlog.get_logger()


class FarmerStatus(StrEnum):
    """Where a farmer stands: registered until its wallet is funded; departed once nothing of it is left."""

    REGISTERED = "registered"
    ACTIVE = "active"
    LEAVING = "leaving"
    DEPARTED = "departed"


PRESENT = [FarmerStatus.ACTIVE, FarmerStatus.LEAVING]
"""Farmers in these states may have pails: those who leave are planted for no more, and still worked and harvested."""

OWN_FEE_STROOPS = 100_000
"""What a farmer that has brought nothing yet may pay the network for its trustline, or to leave."""

LAPSED = "registration-lapsed"
"""Code of a registration that nothing ever came for."""


class NoPlaceError(ConflictError):
    """The pooler has as many farmers as it may have."""

    code = "pooler-full"


class TooManyWaitingError(ConflictError):
    """Too many farmers wait for funds that were registered from the same place."""

    code = "too-many-waiting"


@dataclass(frozen=True, slots=True)
class Farmer:
    farmer_id: UUID
    pooler_id: UUID
    custodial_wallet: str
    payout_wallet: str
    stake_percentage: Decimal
    """The part of the KALE balance that is staked in each block: 0 to 1, six decimals."""
    status: str
    metadata: dict[str, Any]
    registered_at: datetime
    activated_at: datetime | None
    secret_sealed: bytes = field(repr=False)
    deposit_stroops: int = 0
    """KALE that it has to bring before the pool pays for anything; 0 for those that an operator registered."""
    payout_memo: str | None = None
    """Goes with every payment to the payout wallet."""
    owner_wallet: str | None = None
    """Who signs in for it; None: nobody does."""
    plants_itself: bool = False
    """The pool has no key of its wallet: see own_wallets.py."""
    price_stroops: int = 0
    prepaid_stroops: int = 0
    paused: bool = False
    """Its own wish: it is planted for no more until it says otherwise."""
    stake_most_stroops: int | None = None
    """Its own wish: the most that it stakes in a block."""

    @property
    def destination(self) -> Destination:
        """Where everything that is the farmer's own goes."""
        return Destination(self.payout_wallet, self.payout_memo)

    @property
    def pays_itself(self) -> bool:
        """Whether it has brought nothing yet: the network's fees are its own until it is active."""
        return self.deposit_stroops > 0 and self.activated_at is None

    @property
    def binding(self) -> Binding:
        """What its secret must have been sealed for."""
        return Binding(
            self.farmer_id,
            Purpose.FARMER,
            self.custodial_wallet,
            payout_wallet=self.payout_wallet,
            payout_memo=self.payout_memo,
        )

    def stake_of(self, kale_stroops: int) -> int:
        """The most it stakes of such a balance, in stroops, rounded down."""
        return ceiling_of(kale_stroops, self.stake_percentage, self.stake_most_stroops)


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a wallet lacks to become active: XLM to send to it, the trustline (which the pool adds by itself), and then
    KALE."""

    native_stroops: int
    trustline: bool
    kale_stroops: int = 0

    def __bool__(self) -> bool:
        return self.native_stroops > 0 or self.trustline or self.kale_stroops > 0


@dataclass(frozen=True, slots=True)
class Registered:
    """A farmer just made; one that registered by itself with its own API key, which is shown once."""

    farmer: Farmer
    missing: Lacking
    api_key: str | None = field(repr=False)


def missing_funds(
    account: Account | None, min_spare_stroops: int, deposit_stroops: int = 0, *, sponsored: bool = False
) -> Lacking:
    """What an account lacks: the reserve of an account with a trustline, `min_spare_stroops` beyond it, and KALE.

    Of the spare it may have paid the fee of its trustline. Whose reserve somebody else pays needs no XLM; `sponsored`:
    the pool would, of what is not on the ledger yet.
    """
    kale = None if account is None else account.kale_stroops
    if account is not None and account.sponsored and kale is None and not sponsored:
        needed = BASE_RESERVE_STROOPS + OWN_FEE_STROOPS
        return Lacking(max(needed - account.spendable_stroops, 0), True, deposit_stroops)
    if (kale is None and sponsored) or (account is not None and account.sponsored):
        return Lacking(0, kale is None, max(deposit_stroops - (kale or 0), 0))
    if account is None:
        return Lacking(3 * BASE_RESERVE_STROOPS + min_spare_stroops, True, deposit_stroops)
    if account.kale_stroops is None:
        needed = min_spare_stroops + BASE_RESERVE_STROOPS
        return Lacking(max(needed - account.spendable_stroops, 0), True, deposit_stroops)
    needed = max(min_spare_stroops - OWN_FEE_STROOPS, 0)
    return Lacking(max(needed - account.spendable_stroops, 0), False, max(deposit_stroops - account.kale_stroops, 0))


async def register(
    ctx: Context,
    pooler_id: UUID,
    payout_wallet: str,
    stake_percentage: Decimal,
    metadata: dict[str, Any] | None = None,
    *,
    by: Role = Role.OPERATOR,
    address: str | None = None,
    payout_memo: str | None = None,
    owner_wallet: str | None = None,
    stake_most_stroops: int | None = None,
) -> Registered:
    """Makes a farmer with a keypair of its own, sealed by custody. `by`: who registers it; `address`: and from where,
    if by itself. `owner_wallet`: who signs in for it, by default the payout wallet.

    It holds no place until it has brought what it must, which is nothing where an operator registers it.

    A pooler learns no key of the farmer's, and decides over no more of its balance than the pool's usual part: the
    farmer signs in with its payout wallet. Raises InputError for what is no address or memo, ForbiddenError for a
    larger part by a pooler, ConflictError for a wallet that is a farmer's custodial one, NoPlaceError, and as
    poolers.active_pooler, gaps.require_whole and wallets.new_wallet.
    """
    destination = require_destination(payout_wallet, payout_memo)
    usual = ctx.settings.stake_percentage
    if by == Role.POOLER and stake_percentage > Decimal(str(usual)):
        raise ForbiddenError(
            f"a pooler registers farmers with at most {usual:g} of their balance as stake, the pool's usual part: the "
            "farmer itself may raise it, signed in with its payout wallet"
        )
    farmer_id = new_id()
    async with ctx.lock("register", pooler_id):
        async with ctx.database.transaction() as tx:
            await require_outside_wallet(tx, destination)
        await require_place(ctx.database, pooler_id, announced=by != Role.FARMER)
        await require_whole(ctx.journal)  # a database that is behind does not know whose wallet it would give out
        made = await wallets.new_wallet(ctx.chain, ctx.custody, ctx.database, farmer_id, destination)
        async with ctx.database.transaction() as tx:
            farmer = await tx.fetch_one(
                "insert_farmer",
                row=Farmer,
                farmer_id=farmer_id,
                pooler_id=pooler_id,
                custodial_wallet=made.address,
                secret_sealed=made.secret_sealed,
                master_key_id=made.master_key_id,
                payout_wallet=payout_wallet,
                payout_memo=payout_memo,
                owner_wallet=owner_wallet or owner_of(destination),
                stake_percentage=stake_percentage,
                stake_most_stroops=stake_most_stroops,
                metadata=Jsonb(metadata or {}),
                registered_by=by,
                registered_from=address,
                deposit_stroops=0 if by == Role.OPERATOR else ctx.settings.farmer_deposit_stroops,
                fee_rate=Decimal(str(ctx.settings.platform_fee)),
            )
            assert farmer is not None
            key = None
            if by == Role.FARMER:
                key = (await create_key(tx, Role.FARMER, subject_id=farmer_id, label="registration")).key
    log.info("farmer_registered", farmer=str(farmer_id), pooler=str(pooler_id), wallet=made.address, by=by)
    missing = missing_funds(
        None, ctx.settings.min_spare_stroops, farmer.deposit_stroops, sponsored=ctx.accounts.sponsors > 0
    )
    return Registered(farmer, missing, key)


async def require_place(database: Database, pooler_id: UUID, *, announced: bool = True) -> None:
    """NoPlaceError where the pooler has as many farmers as it may have, those that wait and that it registered itself
    (`announced`) among them. Raises as poolers.active_pooler."""
    pooler = await poolers.active_pooler(database, pooler_id)
    count = await database.fetch_one("count_farmers", pooler_id=pooler_id)
    assert count is not None
    if count["present"] + (count["announced"] if announced else 0) >= pooler.max_farmers:
        raise NoPlaceError(
            mark("pooler %(pooler)s has its %(most)s farmers already"), pooler=pooler_id, most=pooler.max_farmers
        )


def owner_of(destination: Destination) -> str | None:
    """Whose sign-in counts for a farmer that is paid there, where nothing else is said: its account's, or its
    contract's. With a memo that is somebody who keeps many people's money."""
    return None if destination.memo is not None else destination.account or destination.address


async def require_outside_wallet(session: Session, destination: Destination) -> None:
    """ConflictError for a wallet that the pool keeps for a farmer."""
    if await session.fetch_one("select_wallet_owner", custodial_wallet=destination.account):
        raise ConflictError(
            mark(
                "%(address)s is a wallet that this pool keeps for a farmer: a payout wallet is one whose key you have"
            ),
            address=destination.address,
        )


def require_account_address(address: str) -> None:
    """InputError unless `address` is a G… account with a right checksum."""
    if address.startswith("S"):
        raise InputError(
            mark("this looks like a secret key: nobody may know it but you; an address begins with G"),
        )
    if not address.startswith("G"):
        raise InputError(mark("not an account (G…) address: %(address)s"), address=repr(address))
    try:
        farmer_bytes(address)
    except ValueError:
        raise InputError(
            mark("not a G… address of 56 characters, of which the last confirm the others: %(address)s"),
            address=repr(address),
        ) from None


async def activate(ctx: Context) -> int:
    """Looks at every registered farmer's wallet once; adds the trustline where the XLM is there or the pool pays the
    reserve, and makes active who has all that is asked of it, while its pooler has places. Registrations that nothing
    came for lapse. Returns how many became active. One farmer's failure never stops another."""
    farmers = await ctx.database.fetch_all("select_registered_farmers", row=Farmer)
    accounts = await ctx.chain.read_accounts([farmer.custodial_wallet for farmer in farmers]) if farmers else {}
    room = await ctx.accounts.read_sponsors()
    ready: list[Farmer] = []
    bare: list[Awaitable[Farmer | None]] = []
    for farmer in farmers:
        account = accounts.get(farmer.custodial_wallet)
        missing = missing_funds(account, ctx.settings.min_spare_stroops, farmer.deposit_stroops)
        if not missing:
            ready.append(farmer)
        elif not missing.trustline or ctx.accounts.pool is None:
            continue
        elif not missing.native_stroops:
            bare.append(_add_trustline(ctx, farmer))
        elif room > 0:
            room -= 1
            bare.append(_sponsor(ctx, farmer, create=account is None))
    ready += [farmer for farmer in await asyncio.gather(*bare) if farmer is not None and not farmer.deposit_stroops]
    await _lapse(ctx, farmers, accounts)
    return await let_in(ctx, ready)


async def let_in(ctx: Context, ready: Sequence[Farmer]) -> int:
    """Makes them active, the longest registered first, as far as their poolers have places. Returns how many."""
    rows = await ctx.database.fetch_all("select_pooler_places", pooler_ids=list({farmer.pooler_id for farmer in ready}))
    places: dict[UUID, int] = {row["pooler_id"]: row["places"] for row in rows}
    let_in = 0
    for farmer in ready:
        if places[farmer.pooler_id] <= 0:
            continue
        places[farmer.pooler_id] -= 1
        let_in += 1
        async with ctx.database.transaction() as tx:
            await tx.execute("activate_farmer", farmer_id=farmer.farmer_id)
            await tell(tx, FarmerNotice(farmer.farmer_id))
        log.info("farmer_active", farmer=str(farmer.farmer_id), wallet=farmer.custodial_wallet)
    return let_in


async def _lapse(ctx: Context, farmers: Sequence[Farmer], accounts: Mapping[str, Account]) -> None:
    """Registrations that nothing came for end after a while: at once where the wallet is not on the ledger, else, where
    the pool pays its reserve, by leaving, which gives that back. What comes later all the same is paid out when the
    farmer leaves once more."""
    hours = ctx.settings.registration_hours
    told = {"code": LAPSED, "message": f"nothing came to its custodial wallet within {hours:g} hours: register again"}
    absent = [farmer.farmer_id for farmer in farmers if farmer.custodial_wallet not in accounts]
    lapsed = await ctx.database.execute("lapse_farmers", farmer_ids=absent, seconds=hours * 3600, **told)
    empty = [
        farmer.farmer_id
        for farmer in farmers
        if (account := accounts.get(farmer.custodial_wallet)) is not None
        and account.sponsored
        and not account.kale_stroops
        and not account.native_stroops
    ]
    if empty:
        lapsed += await ctx.database.execute("lapse_sponsored", farmer_ids=empty, seconds=hours * 3600, **told)
    if lapsed:
        log.info("registrations_lapsed", farmers=lapsed)


async def _sponsor(ctx: Context, farmer: Farmer, *, create: bool) -> Farmer | None:
    """The pool's account pays the reserve of the farmer's wallet and trustline. None where that failed."""
    signer = ctx.custody.signer(farmer.binding, farmer.secret_sealed)
    seconds = ctx.settings.plant_timeout_seconds
    try:
        async with ctx.accounts.channel(await ctx.chain.now() + timedelta(seconds=seconds)) as channel:
            intent = Intent(ActionName.TRUSTLINE, farmer.pooler_id, [Item(farmer_id=farmer.farmer_id)])
            prepare = partial(
                ctx.chain.prepare_sponsored, signer, create=create, pool=ctx.accounts.payer, channel=channel
            )
            await carry_within(ctx.journal, intent, prepare, seconds)
    except KalepoolError as error:
        log.warning("sponsoring_failed", farmer=str(farmer.farmer_id), code=error.code, reason=str(error))
        return None
    log.info("farmer_sponsored", farmer=str(farmer.farmer_id), wallet=farmer.custodial_wallet)
    return farmer


async def _add_trustline(ctx: Context, farmer: Farmer) -> Farmer | None:
    """The farmer's XLM pays the reserve; and the fee, where it has brought nothing else yet. None where that failed."""
    signer = ctx.custody.signer(farmer.binding, farmer.secret_sealed)
    intent = Intent(ActionName.TRUSTLINE, farmer.pooler_id, [Item(farmer_id=farmer.farmer_id)])
    payer = None if farmer.pays_itself else ctx.accounts.payer
    try:
        prepare = partial(ctx.chain.prepare_trustline, signer, pool=payer)
        await carry_within(ctx.journal, intent, prepare, ctx.settings.plant_timeout_seconds)
    except KalepoolError as error:
        log.warning("trustline_failed", farmer=str(farmer.farmer_id), code=error.code, reason=str(error))
        return None
    return farmer


# ----------------------------------------------------------------------------------------------------------------------
# By themselves


@asynccontextmanager
async def self_registration(ctx: Context, pooler_id: UUID, owner_wallet: str, address: str) -> AsyncIterator[None]:
    """Within it the wallet may register one more farmer with this pooler, from this network address.

    Raises NotFoundError for a pooler that is not open, ConflictError when the wallet has its most farmers,
    TooManyWaitingError.
    """
    async with ctx.lock("self-registration", owner_wallet), ctx.lock("registration from", address):
        if not await poolers.is_open(ctx.database, pooler_id):
            raise NotFoundError(f"no pooler {pooler_id} that is open to farmers: see GET /farmer/poolers")
        count = await ctx.database.fetch_one("count_farmers_of_wallet", owner_wallet=owner_wallet)
        if count is not None and count["farmers"] >= ctx.settings.farmers_per_wallet:
            raise ConflictError(
                mark("wallet %(wallet)s has %(count)s farmers already, the most it may register"),
                wallet=owner_wallet,
                count=count["farmers"],
            )
        waiting = await ctx.database.fetch_one("count_waiting_from", registered_from=address)
        if waiting is not None and waiting["farmers"] >= ctx.settings.waiting_per_address:
            raise TooManyWaitingError(
                mark(
                    "%(count)s farmers that were registered from here wait for funds, the most there may be: fund one "
                    "of them first"
                ),
                count=waiting["farmers"],
            )
        yield


async def register_oneself(
    ctx: Context,
    pooler_id: UUID,
    payout_wallet: str,
    stake_percentage: Decimal,
    metadata: dict[str, Any],
    *,
    address: str,
    owner_wallet: str,
    payout_memo: str | None = None,
    stake_most_stroops: int | None = None,
) -> Registered:
    """A farmer for who signed in with the wallet `owner_wallet`, from this network address.

    Raises as `self_registration` and `register`.
    """
    async with self_registration(ctx, pooler_id, owner_wallet, address):
        return await register(
            ctx,
            pooler_id,
            payout_wallet,
            stake_percentage,
            metadata,
            by=Role.FARMER,
            address=address,
            payout_memo=payout_memo,
            owner_wallet=owner_wallet,
            stake_most_stroops=stake_most_stroops,
        )


async def fix_fees(ctx: Context) -> int:
    """Who registered before the fee was part of the terms has what is set now, for good. Returns how many that are."""
    return await ctx.database.execute("fix_fee_rates", fee_rate=Decimal(str(ctx.settings.platform_fee)))


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a farmer changes of itself; what is None stays. `unlimited`: there is no most that it stakes any more."""

    stake_percentage: Decimal | None = None
    stake_most_stroops: int | None = None
    unlimited: bool = False
    paused: bool | None = None


async def change_wishes(database: Database, farmer_id: UUID, wishes: Wishes) -> None:
    """From the next plant on. FarmerLeavesError for one that leaves."""
    async with database.transaction() as tx:
        if not await tx.execute("update_wishes", farmer_id=farmer_id, **asdict(wishes)):
            raise FarmerLeavesError(f"farmer {farmer_id} leaves, and stakes no more")
        await tell(tx, FarmerNotice(farmer_id))


# ----------------------------------------------------------------------------------------------------------------------
# Who is there


async def find_farmer(database: Database, farmer_id: UUID) -> Farmer | None:
    """Any pooler's, whatever its state."""
    return await database.fetch_one("select_farmer_of_any_pooler", row=Farmer, farmer_id=farmer_id)


async def read_performance(database: Database, farmer_id: UUID) -> dict[str, Any]:
    """All blocks of a farmer together."""
    found = await database.fetch_one("select_farmer_performance", farmer_id=farmer_id)
    assert found is not None
    return found


async def farmers_page(
    database: Database, pooler_id: UUID | None, status: str | None, *, after: UUID | None, limit: int
) -> list[Farmer]:
    """In the order of their registration; of one pooler and in one state unless these are None."""
    return await database.fetch_all(
        "select_farmers_page", row=Farmer, pooler_id=pooler_id, status=status, after=after, limit=limit
    )


async def farmers_of_wallet(
    database: Database, owner_wallet: str | None, *, after: UUID | None, limit: int
) -> list[Farmer]:
    """A page of those that this wallet signs in for, in the order of their registration."""
    return await database.fetch_all(
        "select_farmers_of_wallet", row=Farmer, owner_wallet=owner_wallet, after=after, limit=limit
    )


async def farmers_of_pooler(database: Database, pooler_id: UUID, statuses: Sequence[str]) -> list[Farmer]:
    """All of a pooler's in one of these states, the longest registered first."""
    return await database.fetch_all(
        "select_farmers_of_pooler", row=Farmer, pooler_id=pooler_id, statuses=list(statuses)
    )


async def list_farmers(database: Database, pooler_id: UUID | None) -> list[dict[str, Any]]:
    """All, without their secrets, oldest first; of one pooler unless that is None."""
    return await database.fetch_all("select_farmers", pooler_id=pooler_id)
