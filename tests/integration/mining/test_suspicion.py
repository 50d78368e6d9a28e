"""Who holds back shares with many zeros is told to the operator; who does not, or no longer, is not."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import structlog

from kalepool.config import Settings
from kalepool.database import Database, first_id, new_id
from kalepool.services.mining import miners
from kalepool.services.mining.suspicion import look_for_withholding
from tests.integration.mining.conftest import CUSTODY, Field

pytestmark = pytest.mark.anyio

DIFFICULTY = 2**18
ALL = {4: 760, 5: 226, 6: 13, 7: 1}
"""By zeros, as chance would have 1,000 shares."""


async def bring(field: Field, miner_id: UUID, shares: dict[int, int], hours_ago: float = 1) -> None:
    farmer_id = next(iter(field.farmers))
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    for zeros, count in shares.items():
        base = int.from_bytes(hashlib.sha256(str(new_id()).encode()).digest()[:6], "big") << 14
        await field.execute(
            "INSERT INTO shares (share_id, block_index, farmer_id, searcher, miner_id, nonce, hash, zeros, "
            "credited_hashes, found_at) SELECT (%s::text || lpad(to_hex(%s::bigint + n), 16, '0'))::uuid, 40, %s, 1, "
            "%s, %s::bigint + n, sha256(n::text::bytea), %s, %s, %s FROM generate_series(1, %s) n",
            *(str(first_id(at)).replace("-", "")[:16], base, farmer_id, miner_id, base, zeros, DIFFICULTY, at, count),
        )


async def test_who_holds_back_is_told_to_the_operator(field: Field, database: Database, settings: Settings) -> None:
    honest, thief, new = [
        (await miners.register(database, CUSTODY, settings, name)).miner.miner_id for name in ("honest", "thief", "new")
    ]
    await bring(field, honest, ALL)
    await bring(field, thief, {zeros: count for zeros, count in ALL.items() if zeros < 6} | {4: 774})
    await bring(field, new, {4: 10})
    with structlog.testing.capture_logs() as logs:
        suspected = await look_for_withholding(database)
        assert set(suspected) == {thief}
        assert set(await look_for_withholding(database)) == {thief}
    assert [(line["event"], line["miner"]) for line in logs] == [("miner_withholds", str(thief))]
    rows = {row.miner_id: row.suspicion for row in await miners.miners_page(database, after=None, limit=10)}
    assert rows[honest] is None
    assert rows[new] is None
    assert str(rows[thief]).startswith("0 shares with 6 zeros or more in a day, where 15.6 are expected")

    await bring(field, thief, {6: 15, 7: 1})  # it brings what it had, and is no longer suspected
    assert not await look_for_withholding(database)
    assert (await miners.read_miner(database, thief)).suspicion is None


async def test_older_shares_are_no_part_of_it(field: Field, database: Database, settings: Settings) -> None:
    miner_id = (await miners.register(database, CUSTODY, settings, "reformed")).miner.miner_id
    await bring(field, miner_id, {4: 5000}, hours_ago=25)
    await bring(field, miner_id, ALL)
    assert not await look_for_withholding(database)
