"""SOLO: a rig that hashes for one farmer alone, outside of what all miners share.

A miner's own farmers are those whose rewards go where it is paid itself. Nobody has to prove more: what such a rig
finds brings that farmer zeros, and nobody anything else. Where its find is what the farmer's work is made of, the pool
takes the service fee; by other finds the farmer's fee, which miners share as ever. A SOLO share counts for nobody's
part."""

from __future__ import annotations

from uuid import UUID

from kalepool.custody import Custody
from kalepool.database import Database
from kalepool.errors import ForbiddenError
from kalepool.services.mining import payout_wallets


class OtherFarmerError(ForbiddenError):
    """The farmer that a rig is to hash for is not the miner's own."""

    code = "farmer-not-own"


async def own_farmer(database: Database, custody: Custody, miner_id: UUID, farmer: str) -> UUID:
    """The farmer, by its id or its wallet, that this miner's rigs may hash for alone: paid out to the miner's own
    payout wallet, without a memo: an exchange's account is many people's.

    Raises OtherFarmerError, WalletChangedError where the miner's wallets were changed past the pool.
    """
    try:
        farmer_id = UUID(farmer)
    except ValueError:
        farmer_id = None
    row = await database.fetch_one("select_solo_farmer", miner_id=miner_id, farmer=farmer, farmer_id=farmer_id)
    own = row is not None and row["payout_wallet"] is not None and row["payout_wallet"] == row["farmers_wallet"]
    if row is None or not own or row["payout_memo"] is not None or row["farmers_memo"] is not None:
        raise OtherFarmerError(
            f"{farmer} is no farmer of yours: SOLO is for one whose payout wallet is the miner's, too, without a memo"
        )
    if not payout_wallets.is_sealed(custody, row):
        raise payout_wallets.changed(miner_id)
    return row["farmer_id"]
