"""What the treasury has, by the books, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass

from kalepool.database import Database


@dataclass(frozen=True, slots=True)
class TreasuryRow:
    """What the treasury has; what of it is on its way to miners, and due to them; what farmers owe; the operator's part
    of all, and what of that is on its way to farmers. In stroops."""

    treasury_stroops: int
    paying_stroops: int
    due_stroops: int
    owed_stroops: int
    operator_stroops: int
    compensating_stroops: int

    @property
    def free_stroops(self) -> int:
        """What nobody is being paid."""
        return self.treasury_stroops - self.paying_stroops - self.compensating_stroops

    @property
    def short_stroops(self) -> int:
        """What it will lack for what miners are due, once what farmers owe is collected."""
        return max(self.due_stroops - self.free_stroops - self.owed_stroops, 0)

    @property
    def operators_stroops(self) -> int:
        """What of the operator's part is here, and neither on its way nor needed for what miners are due."""
        return max(min(self.operator_stroops - self.compensating_stroops, self.free_stroops - self.due_stroops), 0)


async def read_treasury(database: Database) -> TreasuryRow:
    """Raises DatabaseError."""
    row = await database.fetch_one("select_treasury", row=TreasuryRow)
    assert row is not None
    return row
