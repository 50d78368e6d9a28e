"""What is settled is added up once, and no page reads more the longer the pool's past is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from benchmarks.year import DAYS, ENVELOPE, SETUP
from kalepool.database import Database, first_id, new_id, queries, sql_folder
from kalepool.services import settling
from kalepool.services.books import results
from kalepool.services.settling import settle
from kalepool.services.totals import DELAY_BOUNDS, read_totals

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_day")]

FARMERS, BLOCKS = 2, 288
NEVER = datetime(2000, 1, 1, tzinfo=UTC)


async def write(connection: psycopg.AsyncConnection[Any], day: int, start: datetime) -> None:
    """A day of blocks, as the benchmark writes them."""
    given = {"first": day * BLOCKS, "last": (day + 1) * BLOCKS - 1, "start": start, "whole": False}
    for statement in filter(str.strip, DAYS.format(**ENVELOPE).split(";\n")):
        await connection.execute(statement.encode(), given)
    await connection.execute("DROP TABLE pails")


async def begin(url: str, days: int) -> psycopg.AsyncConnection[Any]:
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(SETUP.format(farmers=FARMERS, days=days, miners=2).encode())
    return connection


async def everything(database: Database, farmer: UUID) -> dict[str, Any]:
    """What is made of sums, as who looks gets it."""
    called = {"called": "miner 1", "first": None, "last": None, "index": None}
    miner = next(iter(await database.fetch_all("select_pages_called", **called)))["id"]
    found: dict[str, Any] = {
        "performance": await database.fetch_one("select_farmer_performance", farmer_id=farmer),
        "farm": await database.fetch_one("select_farm_totals", farmer_id=farmer, week_blocks=2304),
        "out": [
            row
            for row in await database.fetch_all("select_holdings", farmer_id=farmer)
            if row["stake_stroops"] is not None
        ],
        "forgotten": await database.fetch_all("select_forgotten", newest_index=10**6, blocks=0),
        "miner": await database.fetch_one("select_page_miner", miner_id=miner),
        "days": await results.of_days(database, await results.days_before(database, results.today(), 9)),
        "totals": await read_totals(database),
    }
    return found


async def test_settled_sums_are_those_of_all_there_was(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(settling, "BATCH", 700)
    start = datetime.now(UTC) - timedelta(days=2)
    async with await begin(database_url, 2) as connection, Database.open(database_url) as database:
        await write(connection, 0, start)
        await write(connection, 1, start + timedelta(days=1))
        rows = await (await connection.execute("SELECT farmer_id, pooler_id FROM places ORDER BY n")).fetchall()
        (farmer, pooler), (other, _) = rows
        # A block worked twice, the second time after the first was settled; failures; a pail that nobody harvested and
        # one that was lost, both long ago; a transaction for two.
        for hours, zeros in ((40, 9), (1, 10)):
            await connection.execute(
                "INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, zeros, gap, "
                "transaction_hash) "
                "VALUES (%s, 5, %s, %s, 'worked', %s, 1, %s)",
                (first_id(datetime.now(UTC) - timedelta(hours=hours)), pooler, farmer, zeros, bytes([zeros]) * 32),
            )
        for index, at in ((10_000, start), (10_001, start + timedelta(hours=30))):
            await connection.execute(
                "INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops) "
                "VALUES (%s, %s, %s, %s, 'planted', 77)",
                (first_id(at), index, pooler, farmer),
            )
            await connection.execute(
                "INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, code, fault) "
                "VALUES (%s, %s, %s, %s, 'failed', 'no-funds', 'farmer')",
                (first_id(at + timedelta(seconds=1)), index, pooler, other),
            )
        before = await everything(database, farmer)
        assert before["performance"]["blocks_planted"] == 2 * BLOCKS + 2
        assert before["performance"]["blocks_worked"] == 2 * BLOCKS
        assert [row["block_index"] for row in before["out"]] == [10_000, 10_001]
        assert before["miner"]["earned_stroops"] == 2 * BLOCKS * 500_000
        assert before["totals"]["events", "plant", "failed", "no-funds"] == 2
        assert before["days"][0].won_stroops > 0

        assert await settle(database, NEVER) > 0  # books and shares alone
        assert await everything(database, farmer) == before
        for hours in (47, 30, 24, 5, 0):
            await settle(database, datetime.now(UTC) - timedelta(hours=hours))
            assert await everything(database, farmer) == before, hours
        assert await settle(database) == 0
        settled = (await (await connection.execute("SELECT until_id FROM settled")).fetchone() or (UUID(int=0),))[0]
        assert settled > first_id(datetime.now(UTC) - timedelta(hours=1))
        assert await (await connection.execute("SELECT block_index FROM open_pails ORDER BY 1")).fetchall() == [
            (10_000,),
            (10_001,),
        ]

        # What ends later is seen at once, and the next look keeps it so.
        await connection.execute(
            "INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, "
            "stake_stroops) "
            "VALUES (%s, 10000, %s, %s, 'harvested', 5, 77)",
            (new_id(), pooler, farmer),
        )
        assert [row["block_index"] for row in (await everything(database, farmer))["out"]] == [10_001]
        await settle(database, datetime.now(UTC) + timedelta(hours=1))
        after = await everything(database, farmer)
        assert [row["block_index"] for row in after["out"]] == [10_001]
        assert after["performance"]["blocks_harvested"] == before["performance"]["blocks_harvested"] + 1


async def test_a_transaction_under_way_and_what_came_after_it_wait(database_url: str) -> None:
    start = datetime.now(UTC) - timedelta(days=1)
    async with await begin(database_url, 1) as connection, Database.open(database_url) as database:
        await write(connection, 0, start)
        at = start + timedelta(hours=3)
        farmer = (
            await (await connection.execute("SELECT farmer_id FROM places WHERE n = 1")).fetchone() or (UUID(int=0),)
        )[0]
        await connection.execute(
            "UPDATE submissions SET status = 'open', closed_at = NULL, fee_stroops = NULL WHERE submission_id = "
            "(SELECT submission_id FROM submissions WHERE submission_id >= %s ORDER BY submission_id LIMIT 1)",
            (first_id(at),),
        )
        before = await everything(database, farmer)
        await settle(database)
        assert await everything(database, farmer) == before
        await connection.execute(
            "UPDATE submissions SET status = 'applied', closed_at = now(), fee_stroops = 11 WHERE status = 'open'"
        )
        after = await everything(database, farmer)
        assert sum(after["totals"]["transactions", each, "applied"] for each in ENVELOPE) == 3 * FARMERS * BLOCKS
        await settle(database)
        assert await everything(database, farmer) == after


# ----------------------------------------------------------------------------------------------------------------------
# No query of a page's reads from the beginning

LOOKED_AT = ("view", "farm", "totals", "health")
"""Files of queries that are asked while somebody waits."""

ALSO = ("select_leaving", "select_rewards_since", "select_day_results", "select_block_results")
"""Of other files."""

RIGHTLY = {"select_movements": "the closing table of a run: since its start"}


def queries_of(file: str) -> list[str]:
    text = (sql_folder() / "queries" / f"{file}.sql").read_text()
    return re.findall(r"^-- name: *(\S+) *$", text, flags=re.MULTILINE)


def given(query: str, known: dict[str, Any]) -> dict[str, Any]:
    return {name: known[name] for name in re.findall(r"%\((\w+)\)s", queries()[query].decode())}


async def rows_read(connection: psycopg.AsyncConnection[Any], query: str, known: dict[str, Any]) -> int:
    """How many rows of tables and indexes a query touches."""
    count = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS rows FROM pg_stat_xact_user_tables"
    async with connection.transaction():
        before = (await (await connection.execute(count)).fetchone() or {"rows": 0})["rows"] or 0
        await (await connection.execute(queries()[query], given(query, known))).fetchall()
        return ((await (await connection.execute(count)).fetchone() or {"rows": 0})["rows"] or 0) - before


async def test_no_query_of_a_page_reads_more_the_longer_the_past_is(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "PAUSE_SECONDS", 0.0)
    end = datetime.now(UTC)
    asked = sorted({name for file in LOOKED_AT for name in queries_of(file) if name not in RIGHTLY} | {*ALSO})
    assert len(asked) > 30
    read: dict[int, dict[str, int]] = {}
    async with await begin(database_url, 9) as connection, Database.open(database_url) as database:
        connection.row_factory = dict_row
        # What seven days show is the same in both: the past before them is what grows.
        for length, first in ((2, 0), (4, 2)):
            for day in range(first, length):
                await write(connection, day, end - timedelta(days=4 - day))
            await settle(database, end - timedelta(days=4 - length))
            await connection.execute("ANALYZE")
            # These tables are small, and a plan that reads them whole is the cheapest: what grows has to have another.
            await connection.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
            ids = await (
                await connection.execute("SELECT farmer_id, pooler_id, custodial_wallet FROM places LIMIT 1")
            ).fetchone()
            miner = await (await connection.execute("SELECT miner_id FROM rig_places LIMIT 1")).fetchone()
            assert ids is not None and miner is not None
            newest, last = length * BLOCKS - 1, end - timedelta(days=4 - length)
            known: dict[str, Any] = ids | miner | {
                "block_index": newest - 5, "everybody": True, "from_index": 0, "to_index": newest, "limit": 20,
                "before": newest, "before_index": newest, "bin_seconds": 60, "since": end, "called": "12", "index": 12,
                "last": "WXYZ",
                "grace_seconds": 60, "first_bin": 0,
                "ledger": 0, "week_blocks": 100, "day_blocks": 100, "first": first_id(end), "end": first_id(end),
                "events": ["deposited", "rewarded", "fee"],
                "bounds": list(DELAY_BOUNDS), "silent_seconds": 15, "early_seconds": 30, "oldest": 0,
                "days": [last.date()], "firsts": [first_id(last - timedelta(hours=1))], "ends": [first_id(last)],
            }  # fmt: skip
            read[length] = {}
            for query in asked:
                if query == "count_miner_shares":
                    known["since"] = newest - settling.SETTLING_BLOCKS
                elif query == "select_rewards_since":
                    known["since"] = first_id(last - timedelta(hours=1))
                elif query == "select_hashrates":
                    known["since"] = end
                elif query == "select_farm_entries":  # a last page: what was posted later is none of it
                    known |= {"since": end - timedelta(hours=73), "until": end - timedelta(hours=72.8), "after": 0}
                elif query == "select_farm_xlm_entries":
                    known["after"] = None
                read[length][query] = await rows_read(connection, query, known)
    more = {query: (read[2][query], read[4][query]) for query in asked if read[4][query] > 1.1 * read[2][query] + 100}
    assert not more
    assert sum(read[4].values()) > 1000


async def test_a_farmers_entries_of_a_time_are_all_of_them_page_by_page(database_url: str) -> None:
    end = datetime.now(UTC)
    naive = (
        "SELECT number FROM transfers WHERE %(account)s IN (debit, credit) AND posted_at >= %(since)s "
        "AND posted_at < %(until)s ORDER BY number"
    )
    async with await begin(database_url, 2) as connection, Database.open(database_url) as database:
        for day in range(2):
            await write(connection, day, end - timedelta(days=2 - day))
        [farmer] = await (await connection.execute("SELECT farmer_id FROM places WHERE n = 1")).fetchone() or (None,)
        hours = [(60, 50), (48, 40), (30, 20), (5, -1), (-1, -2)]
        counts = []
        for first, last in hours:
            window: dict[str, Any] = {"since": end - timedelta(hours=first), "until": end - timedelta(hours=last)}
            account = {"account": f"farmer/{farmer}"}
            wanted = [row[0] for row in await (await connection.execute(naive, window | account)).fetchall()]
            found: list[int] = []
            while page := await database.fetch_all(
                "select_farm_entries", farmer_id=farmer, after=found[-1] if found else 0, limit=50, **window
            ):
                found += [row["number"] for row in page]
            assert found == wanted
            counts.append(len(found))
        assert counts[0] == counts[-1] == 0 < min(counts[1:-1])
