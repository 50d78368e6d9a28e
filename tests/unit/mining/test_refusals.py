"""What a miner makes of proxies' answers, of its pool's, and of what its user typed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from kalepool.api.problems import Problem
from kalepool.errors import ConfigError
from kalepool.mine import miner as client
from kalepool.mine.command import checked_key, checked_url, status_line
from kalepool.mine.engines import CommandEngine
from kalepool.mine.miner import MiningClient, RefusedError
from kalepool.networks import DEVNET

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
JOB = {
    "job_id": "job",
    "block_index": 41,
    "entropy": "00" * 32,
    "farmer": DEVNET.asset_issuer,
    "nonce_start": "0",
    "nonce_count": "1000000",
    "target": "0000000000000001",
    "difficulty": "1152921504606846976",
    "starts_at": NOW.isoformat(),
    "closes_at": (NOW + timedelta(minutes=5)).isoformat(),
}
Answer = tuple[int, dict[str, str], bytes]


def stream(**more: object) -> Answer:
    """One job, and the end."""
    return 200, {"Content-Type": "text/event-stream"}, f"event: job\ndata: {json.dumps(JOB | more)}\n\n".encode()


STREAM = stream()


@contextmanager
def answering(*answers: Answer) -> Iterator[str]:
    """A server that gives these answers, one after another, and the last of them for ever."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def problem(status: int, code: str, detail: str) -> Answer:
    return status, {"Content-Type": "application/problem+json"}, bytes(Problem(status, code, detail).response().body)


async def follow(url: str, said: list[str], seconds: float = 60.0, solo: str | None = None) -> MiningClient:
    """Until the miner has a job, or is refused for good."""
    async with httpx2.AsyncClient(base_url=url) as http:
        miner = MiningClient(http, [], "rig", said.append, solo=solo)
        task = asyncio.create_task(miner._follow())
        try:
            async with asyncio.timeout(seconds):
                while miner.job is None and not task.done():  # noqa: ASYNC110  nothing tells of it
                    await asyncio.sleep(0.01)
            if task.done():
                await task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, RefusedError):
                await task
        return miner


@pytest.mark.parametrize("status", [403, 404, 408, 409, 429, 502])
async def test_a_proxys_bad_day_ends_no_miner(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.01)
    said: list[str] = []
    page: Answer = (status, {"Content-Type": "text/html"}, b"<h1>nginx</h1>")
    with answering(page, page, page, STREAM) as url:
        miner = await follow(url, said)
    assert miner.job is not None
    assert [line for line in said if str(status) in line] == [said[0]], said  # once


async def test_solo_is_what_the_pool_says_it_is() -> None:
    """A pool that does not know of it would have the machine hash for all, unasked."""
    said: list[str] = []
    with answering(stream(solo=True)) as url:
        miner = await follow(url, said, solo="GFARMER")
    assert miner.job is not None and miner.job.solo and not any("for all" in line for line in said)
    assert "SOLO " in status_line(miner)
    with answering(stream(solo=False)) as url:
        miner = await follow(url, said, solo="GFARMER")
    assert "GFARMER is in no block now: hashing for all meanwhile" in said and "SOLO" not in status_line(miner)
    with answering(STREAM) as url, pytest.raises(RefusedError, match="no SOLO"):
        await follow(url, said, solo="GFARMER")
    with answering(problem(403, "farmer-not-own", "not yours")) as url, pytest.raises(RefusedError, match="not yours"):
        await follow(url, said, solo="GFARMER")


async def test_a_pool_that_moved_is_told_where_to() -> None:
    with (
        answering((301, {"Location": "https://pool.example/miner/jobs/stream"}, b"")) as url,
        pytest.raises(RefusedError, match=r"https://pool.example/miner.*--url"),
    ):
        await follow(url, [])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (problem(401, "unauthorized", "this key is unknown"), "this key is unknown"),
        (problem(403, "forbidden", "a farmer's key may not do this"), "may not do this"),
    ],
)
async def test_what_the_pool_itself_refuses_ends_it(answer: Answer, said: str) -> None:
    with answering(answer) as url, pytest.raises(RefusedError, match=said):
        await follow(url, [])


async def test_a_banned_miner_asks_again_before_the_ban_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been lifted."""
    monkeypatch.setattr(client, "LONGEST_WAIT", 0.01)
    status, headers, body = problem(403, "banned", "you are banned until tomorrow: too loud")
    said: list[str] = []
    with answering((status, headers | {"Retry-After": "86400"}, body), STREAM) as url:
        assert (await follow(url, said)).job is not None
    assert any("too loud" in line for line in said)


def test_a_keys_line_ending_is_no_part_of_it() -> None:
    assert checked_key(" kp_abc-_9\r\n") == "kp_abc-_9"
    for wrong in ("kp_ключ", "kp_a b", "kp_\x1b[0m"):
        with pytest.raises(ConfigError) as told:
            checked_key(wrong)
        assert wrong not in str(told.value)
    for missing in (None, "", " \r"):
        with pytest.raises(ConfigError, match="KALEPOOL_API_KEY"):
            checked_key(missing)


@pytest.mark.parametrize(
    "url", ["http://pool:99999", "http://", "pool:80", "ftp://pool", "http://pool:x", "http://:80"]
)
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a pool's address"):
        checked_url(url)


def test_an_address_is_taken_as_it_is_meant() -> None:
    assert checked_url("https://pool.example/ ") == "https://pool.example"
    with pytest.raises(ConfigError, match="KALEPOOL_API_URL"):
        checked_url(None)


def test_a_command_with_an_open_quote_is_said() -> None:
    with pytest.raises(ConfigError, match=r"--exec: .* cannot be read"):
        CommandEngine("miner 'x", 1)


@pytest.mark.slow(6, "kalepool is started as its users do")
def test_the_pool_and_the_key_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KALEPOOL_API_URL=http://127.0.0.1:9\nKALEPOOL_API_KEY=kp_secret\n")
    (tmp_path / ".env").chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-m", "kalepool", "mine", "--backend", "python", "--threads", "1", "--seconds", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "mining for http://127.0.0.1:9" in done.stdout, done.stderr
    assert "kp_secret" not in done.stdout + done.stderr
