"""Where a farmer's KALE is: in its wallet and at stake, both as of one ledger, and what of it is the pool's fee.

The books are some seconds behind the chain: what a ledger has harvested is in the wallet, and still a stake by the
books. Wallet and pails are therefore read from the chain, at once; the books say which pails to look for, and what is
owed.
"""

from __future__ import annotations

from dataclasses import dataclass

from kalepool.chain import Account
from kalepool.errors import ChainError
from kalepool.services import postings
from kalepool.services.context import Context
from kalepool.services.farmers import Farmer


@dataclass(frozen=True, slots=True)
class Holdings:
    """A farmer's KALE, in stroops. `account`: None where it is not on the ledger, for a contract's wallet, and where
    the chain does not answer (`is_silent`): then `held_stroops` is 0, and `planted_stroops` is by the books.
    `owed_stroops`: the pool's fee that lies in the wallet, of harvests that the books do not have yet as well."""

    account: Account | None
    is_silent: bool
    held_stroops: int
    planted_stroops: int
    owed_stroops: int

    @property
    def kale_stroops(self) -> int:
        """Its own of what the wallet holds."""
        return max(self.held_stroops - self.owed_stroops, 0)


async def read_holdings(ctx: Context, farmer: Farmer) -> Holdings:
    """As of the newest ledger. Raises DatabaseError."""
    rows = await ctx.database.fetch_all("select_holdings", farmer_id=farmer.farmer_id)
    owed = max(rows[0]["owed_stroops"], 0)
    stakes = {row["block_index"]: row for row in rows if row["block_index"] is not None}
    booked = {index: row["stake_stroops"] for index, row in stakes.items() if row["stake_stroops"] is not None}
    try:
        # After the books: what they have, the chain had before.
        found = await ctx.lookups.holding(farmer.custodial_wallet, tuple(stakes))
    except ChainError:
        return Holdings(None, True, 0, sum(booked.values()), owed)
    planted = dict(found.pails)
    if farmer.plants_itself:  # of whose lost stakes nobody keeps a record
        newest = rows[0]["newest_index"] or 0
        planted = {index: pail for index, pail in planted.items() if pail.zeros is not None or index >= newest}
    # A stake that is back, with a reward of which the books have not taken the fee yet.
    back = {index: stakes[index]["forecast_stroops"] or 0 for index in booked.keys() - found.pails.keys()}
    if back and not farmer.plants_itself:
        terms = await postings.harvest_terms(ctx.database, [(index, farmer.farmer_id) for index in back])
        owed += sum(terms[index, farmer.farmer_id].fee_of(forecast) for index, forecast in back.items())
    held, staked = found.kale_stroops or 0, sum(pail.stake for pail in planted.values())
    return Holdings(found.account, False, held, staked, owed)
