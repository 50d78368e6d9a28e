"""Farmers' wallets: each is a number's, given out once; the master key alone brings it back (see derivation.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from kalepool.chain import Account, ChainReader, Destination
from kalepool.custody import Custody, Purpose
from kalepool.database import Database, new_id
from kalepool.derivation import farmer_path

log = structlog.get_logger()

SKIPPED = 500
"""Numbers passed over where a database is older than the ledger: the newer one may have given them out, and an address
that was given out may be paid to any day."""

GAP = 4 * SKIPPED
"""So many numbers in a row whose wallets are not on the ledger: there are no more."""

BATCH = 100
"""Numbers looked up on the ledger in one request."""


@dataclass(frozen=True, slots=True)
class SealedWallet:
    """A new wallet with its sealed secret, to be stored with the row it was made for."""

    address: str
    secret_sealed: bytes
    master_key_id: str


@dataclass(frozen=True, slots=True)
class DerivedWallet:
    """A wallet of the master key that is on the ledger. `farmer_id`: whose it is by the database; None: nobody's."""

    number: int
    account: Account
    farmer_id: UUID | None


async def new_wallet(
    chain: ChainReader, custody: Custody, database: Database, farmer_id: UUID, destination: Destination
) -> SealedWallet:
    """The next number's wallet for a farmer. One that is on the ledger already is some other farmer's, from a
    database newer than this: it is passed over. Raises RpcUnavailableError, DatabaseError."""
    while True:
        number = await _next_number(database, 1)
        made = SealedWallet(
            *custody.create_sealed(
                farmer_id,
                Purpose.FARMER,
                farmer_path(number),
                payout_wallet=destination.address,
                payout_memo=destination.memo,
            )
        )
        if not await chain.read_accounts([made.address]):
            return made
        log.warning("wallet_of_another_database", number=number, wallet=made.address)


async def skip_numbers(database: Database, count: int = SKIPPED) -> None:
    """Passes numbers over that a newer database than this may have given out."""
    if count > 0:
        await _next_number(database, count)


async def _next_number(database: Database, count: int) -> int:
    row = await database.fetch_one("select_next_wallet_number", count=count)
    assert row is not None
    return row["number"]


async def find_wallets(
    chain: ChainReader, custody: Custody, database: Database, *, gap: int = GAP
) -> list[DerivedWallet]:
    """Every wallet of the master keys on the ledger, by its number. Raises RpcUnavailableError, DatabaseError."""
    rows = await database.fetch_all("select_wallets_here")
    here: dict[str, UUID] = {row["custodial_wallet"]: row["farmer_id"] for row in rows}
    found: list[DerivedWallet] = []
    first, last = 1, 0
    while first <= last + gap:
        numbers = range(first, first + BATCH)
        owners = {address: number for number in numbers for address in custody.addresses(farmer_path(number))}
        accounts = await chain.read_accounts(owners)
        found += [DerivedWallet(owners[address], account, here.get(address)) for address, account in accounts.items()]
        last = max([last, *(owners[address] for address in accounts)])
        first += BATCH
    return sorted(found, key=lambda wallet: wallet.number)


async def bring_back(
    custody: Custody, database: Database, wallets: Sequence[DerivedWallet], pooler_id: UUID, payout_wallet: str
) -> list[UUID]:
    """Makes a farmer that stakes nothing of each wallet that is nobody's: it can withdraw and leave like any other.

    Returns the farmers' ids. Numbers up to the highest wallet's are given out no more. Raises DatabaseError.
    """
    made: list[UUID] = []
    for wallet in wallets:
        if wallet.farmer_id is not None:
            continue
        farmer_id = new_id()
        address, sealed, key_id = custody.create_sealed(
            farmer_id,
            Purpose.FARMER,
            farmer_path(wallet.number),
            payout_wallet=payout_wallet,
            address=wallet.account.address,
        )
        await database.execute(
            "insert_farmer_brought_back",
            farmer_id=farmer_id,
            pooler_id=pooler_id,
            custodial_wallet=address,
            secret_sealed=sealed,
            master_key_id=key_id,
            payout_wallet=payout_wallet,
            stake_percentage=Decimal(0),
            metadata=Jsonb({"name": f"brought back {wallet.number}"}),
        )
        made.append(farmer_id)
        log.info("wallet_brought_back", number=wallet.number, wallet=address, farmer=str(farmer_id))
    highest = max((wallet.number for wallet in wallets), default=0)
    last = await database.fetch_one("select_last_wallet_number")
    assert last is not None
    await skip_numbers(database, highest - last["number"])
    return made
