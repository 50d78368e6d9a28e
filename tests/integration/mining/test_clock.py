"""The machine's clock is set back by ten minutes while the pool runs: nobody waits for them, or is given them."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta

import pytest

from kalepool.mine.job import PoolJob
from kalepool.services.keys import Role, create_key
from tests.integration.mining.test_api import SLOW, Pool, good_nonces, pool

__all__ = ["pool"]

pytestmark = pytest.mark.anyio

STEP = timedelta(minutes=10)


class SteppedDatetime(datetime):
    """A clock that was set back."""

    @classmethod
    def now(cls, tz=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        return datetime.now(tz) - STEP


def set_clock_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all of kalepool."""
    for name, module in list(sys.modules.items()):
        if name.startswith("kalepool.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", SteppedDatetime)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - STEP.total_seconds())


async def set_databases_clock_back(pool: Pool) -> None:
    """All that it wrote lies ten minutes later, as seen from then on."""
    for table, column in (("block_operations", "seen_at"), ("shares", "found_at"), ("hashrates", "sampled_at")):
        await pool.field.execute(f"UPDATE {table} SET {column} = {column} + %s", STEP)


async def test_a_clock_that_steps_back_changes_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = pool.client((await create_key(pool.database, Role.OPERATOR, label="test")).key)
    await pool.field.execute("UPDATE block_operations SET seen_at = seen_at - interval '200 seconds'")
    pool.app.state.mining.dealer.places.clear()  # as after a restart
    await pool.app.state.mining._load_places()  # 100 s are left of the block
    async with await pool.miner() as miner, operator:
        job = (await miner.get("/miner/job", params=SLOW)).json()
        nonces = good_nonces(job, 40)

        async def bring(count: int) -> set[str]:
            shares = [{"job_id": job["job_id"], "nonce": nonces.pop()} for _ in range(count)]
            answer = await miner.post("/miner/shares", json={"shares": shares})
            assert answer.status_code == 200, answer.text
            return {each["outcome"] for each in answer.json()["results"]}

        assert await bring(20) == {"accepted"}
        before = (await miner.get("/miner/me")).json()
        assert float(before["hashrate"]["1m"]["hashes_per_second"]) > 0

        set_clock_back(monkeypatch)
        await set_databases_clock_back(pool)
        await pool.app.state.mining._load_places()
        for _ in range(5):
            assert await bring(2) == {"accepted"}
        assert (await miner.get("/miner/job")).status_code == 200
        places = pool.app.state.mining.dealer.places.values()
        assert all(
            timedelta(0) < place.ends_at - datetime.now(place.ends_at.tzinfo) < timedelta(seconds=101)
            for place in places
        )

        # shares of before count no longer: half as many were brought since
        now = (await miner.get("/miner/me")).json()
        assert now["standing"] == "ok"
        rates = [float(each["hashrate"]["1m"]["hashes_per_second"]) for each in (before, now)]
        assert rates[1] == pytest.approx(rates[0] / 2)
        assert 0 <= (await operator.get("/info")).json()["uptime_seconds"] < 60

        await operator.put(f"/operator/miners/{now['miner_id']}/ban", json={"hours": 1, "reason": "a test"})
        banned = await miner.get("/miner/job")
        assert banned.status_code == 403
        assert 3500 < int(banned.headers["Retry-After"]) <= 3600


async def test_a_miner_whose_clock_is_wrong_keeps_its_job(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await pool.miner() as miner:
        text = (await miner.get("/miner/job", params=SLOW)).json()
    left = PoolJob.from_json(text).ends - time.monotonic()
    assert 290 < left <= 300
    set_clock_back(monkeypatch)  # ten minutes more, by its own reckoning
    assert PoolJob.from_json(text).ends - time.monotonic() <= 300
    monkeypatch.setattr(sys.modules[__name__], "STEP", -STEP)
    assert PoolJob.from_json(text).ends - time.monotonic() > -1
