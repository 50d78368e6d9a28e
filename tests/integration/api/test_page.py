"""The page over HTTP: whole without JavaScript, harmless, public matters only, and one reading for all who look."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from decimal import Decimal

import pytest
from stellar_sdk import Keypair

from kalepool.api.routes.page import STATIC, TICK_SECONDS, Viewing
from kalepool.api.sse import GZIP_HEADER, Message
from kalepool.services import farmers
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.units import amount

pytestmark = pytest.mark.anyio

HOSTILE = "<script>alert(1)</script>"


async def test_the_description_comes_from_here_alone(api) -> None:
    shown = await api.anybody.get("/docs")
    assert not re.search(r"https?://", shown.text)
    assert "frame-ancestors 'none'" in shown.headers["Content-Security-Policy"], "keys are pasted into it"
    parts = re.findall(r'(?:src|href)="(/[^"]+)"', shown.text)
    assert len(parts) >= 3
    for part in parts:
        assert (await api.anybody.get(part)).status_code == 200, part


async def test_a_block_on_every_page(api) -> None:
    farm = api.farm
    await farm.add_farmers(2)
    first, second = farm.farmers
    await farm.rows("UPDATE farmers SET metadata = jsonb_build_object('name', %s::text)", "Ann, ann@example.org")
    assert len((await plant.plant(farm.ctx, 0, farm.pooler_id)).planted) == 2
    await farm.pass_time(5)
    nonce = await farm.nonce(first, 0, zeros=1)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(first.farmer_id, nonce)])
    await farm.end_block()

    shown = await api.anybody.get("/")
    assert shown.status_code == 200
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    html = shown.text
    assert "At risk" in html
    assert first.custodial_wallet in html
    assert "example.org" not in html
    assert first.payout_wallet not in html
    assert not re.search(r"<script(?! src=\"/static/)|\son\w+=|\sstyle=|https?://", html)

    await farm.start_block(1)
    await harvest.harvest(farm.ctx, farm.pooler_id, block_index=0)
    page = (await api.anybody.get("/block/0")).text
    assert first.custodial_wallet in page
    assert "no hash was handed in before" in page and "work-missing" not in page  # the second's stake is lost
    row = (await farm.rows("SELECT reward_stroops FROM harvests WHERE outcome = 'harvested'"))[0][0]
    own = (await api.anybody.get(f"/farmer/{first.farmer_id}")).text
    assert f"{int(row) / 1e7:,.2f}" in own
    for wallet in (first.payout_wallet, second.payout_wallet):
        assert wallet not in page + own
    assert "example.org" not in page + own
    await asyncio.sleep(TICK_SECONDS)
    assert "Block 0 lost 1 stake, " in (await api.anybody.get("/")).text

    changed = await api.operator.put("/operator/planting", json={"paused": True, "reason": "a look at it"})
    assert changed.status_code == 200
    await farm.rows("UPDATE pooler_compensations SET standing = 'not-owed'")
    await asyncio.sleep(TICK_SECONDS)
    assert "Paused, safe to stop" in (await api.anybody.get("/")).text


async def test_the_newest_block_leads_to_none_that_is_not_there(api) -> None:
    farm = api.farm
    await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await farm.end_block()
    await farm.start_block(1)
    await plant.plant(farm.ctx, 1, farm.pooler_id)
    for index, leads in ((0, ["/block/1"]), (1, ["/block/0"])):
        shown = await api.anybody.get(f"/block/{index}")
        found = re.findall(r'<nav class="turn"[^>]*>(.*?)</nav>', shown.text)[0]
        assert re.findall(r'href="([^"]+)"', found) == leads
        assert (await api.anybody.get(leads[0])).status_code == 200
    assert (await api.anybody.get("/block/2")).status_code == 404


async def test_a_page_is_compressed_unless_it_holds_a_secret(api) -> None:
    """A form's token beside what a stranger chose would tell of itself by the length (BREACH)."""
    for path, squeezed in (
        ("/", True),
        ("/static/page.css", True),
        ("/find?q=x", True),
        ("/farm", False),
        ("/operator", False),
    ):
        headers = {"Accept-Encoding": "gzip", "Accept": "text/html"}
        answer = await api.anybody.get(path, headers=headers)
        assert (answer.headers.get("Content-Encoding") == "gzip") == squeezed, path
        plain = await api.anybody.get(path, headers=headers | {"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers and "Accept-Encoding" in plain.headers["Vary"]
        if path.startswith("/static"):
            assert answer.text == plain.text


async def test_what_does_not_change_is_asked_for_once(api) -> None:
    """A style sheet that is asked for again on each page keeps it from being painted for a trip."""
    for path in ("/", "/farm", "/mine", "/mine/browser"):
        files = re.findall(r'(?:src|href)="(/static/[^"]+)"', (await api.anybody.get(path)).text)
        assert [each for each in files if "page.css" in each]
        for each in files:
            assert (await api.anybody.get(each)).headers["Cache-Control"] == "public, max-age=31536000, immutable", each
            assert (await api.anybody.get(each.partition("?")[0] + "?v=old")).headers["Cache-Control"] == "no-cache"


async def test_a_page_that_cannot_be_read_says_so_as_a_page(api) -> None:
    await api.farm.rows("ALTER TABLE block_plans RENAME TO gone")
    answer = await api.anybody.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 503 and answer.headers["Content-Type"].startswith("text/html")
    assert "the database is in trouble" in answer.text and answer.headers["Retry-After"]
    assert (await api.anybody.get("/")).json()["code"] == "database"


async def test_what_is_not_there(api) -> None:
    for path in ("/block/77", "/farmer/" + str(api.farm.pooler_id), "/miner/" + str(api.farm.pooler_id)):
        answer = await api.anybody.get(path)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"].startswith("text/html")
    for path in ("/farmer/xyz", "/nowhere", "/block/x"):
        answer = await api.anybody.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert "there is nothing at this address" in answer.text
        assert (await api.anybody.get(path)).json()["code"] == "not-found"
    assert (await api.anybody.get("/static/..%2fpage.py")).status_code == 404
    assert (await api.anybody.get(f"/block/{2**32}")).status_code == 422
    assert (await api.anybody.get("/miner/me")).status_code == 401  # not taken for a miner's page
    for name, kind in STATIC.items():
        answer = await api.anybody.get(f"/static/{name}")
        assert answer.headers["Content-Type"] == kind
        assert answer.content
    assert not [path for path in api.app.openapi()["paths"] if path.startswith(("/block/", "/static", "/events"))]


async def test_a_miner_s_name_is_text(api) -> None:
    await api.farm.rows("INSERT INTO miners (miner_id, name) VALUES (gen_random_uuid(), %s)", HOSTILE)
    miner_id = (await api.farm.rows("SELECT miner_id FROM miners"))[0][0]
    await api.farm.rows("INSERT INTO rigs (miner_id, name) VALUES (%s, 'a rig')", miner_id)
    await api.farm.rows(
        "INSERT INTO hashrates SELECT now() - part * interval '10 seconds', searcher, 4e6 "
        "FROM rigs, generate_series(0, 12) part"
    )
    for path in (f"/miner/{miner_id}", "/"):
        page = (await api.anybody.get(path)).text
        assert HOSTILE not in page
        assert "&lt;script&gt;" in page
        assert ("4.0 MH/s" in page) == (path == "/"), "by what it says on the first page, by its shares on its own"
        assert "a rig" not in page


async def test_a_farmer_that_waits_is_shown_with_what_it_lacks(api) -> None:
    made = await farmers.register(
        api.farm.ctx, api.farm.pooler_id, Keypair.random().public_key, Decimal("0.1"), {"name": "Ann"}
    )
    page = (await api.anybody.get("/")).text
    lacks = amount(made.missing.native_stroops)
    assert made.farmer.custodial_wallet in page and f"waits for {lacks} XLM" in page
    assert made.farmer.payout_wallet not in page and "Ann" not in page


def parts_of(message: Message) -> dict[str, str]:
    return json.loads(message.whole.decode().removeprefix("data: "))


async def test_many_viewers_one_reading(api) -> None:
    viewing: Viewing = api.app.state.viewing
    streams = [viewing.changes(f"192.0.2.{number}") for number in range(50)]
    first = await asyncio.gather(*(anext(stream) for stream in streams))
    assert "verdict" in parts_of(first[0])
    assert all(message is first[0] for message in first), "made and compressed once"
    before, begun = viewing.reads, asyncio.get_running_loop().time()
    await api.farm.start_block(0)
    later = await asyncio.gather(*(anext(stream) for stream in streams))
    ticks = (asyncio.get_running_loop().time() - begun) / TICK_SECONDS
    assert 1 <= viewing.reads - before <= ticks + 2
    assert all("Block 0" in parts_of(message)["clock"] for message in later)
    told = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(GZIP_HEADER + first[0].squeezed + later[0].squeezed)
    assert told == first[0].whole + later[0].whole
    assert len(first[0].squeezed) < len(first[0].whole) / 2
    assert viewing.viewers == 50
    for stream in streams:
        await stream.aclose()
    assert viewing.viewers == 0
    assert viewing._ticking is None  # nobody looks: nothing is read


async def test_the_stream_is_server_sent_events(api) -> None:
    viewing: Viewing = api.app.state.viewing

    async def end_soon() -> None:
        while not viewing._messages:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        viewing.end_waiting()

    ending = asyncio.create_task(end_soon())
    answer = await api.anybody.get("/events")  # ends because the process is about to
    await ending
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Content-Encoding"] == "gzip", "an open page is told much"
    line = next(line for line in answer.text.splitlines() if line.startswith("data: "))
    assert {"clock", "verdict", "farmers"} <= json.loads(line.removeprefix("data: ")).keys()


async def test_a_silent_chain_is_said_at_once(api) -> None:
    await api.farm.start_block(0)
    assert "Chain does not answer" not in (await api.anybody.get("/")).text
    api.farm.devnet.node.faults.add({"kind": "unavailable", "method": "", "count": 0})
    await asyncio.sleep(TICK_SECONDS)  # what was read is shown for a tick
    page = (await api.anybody.get("/")).text
    assert "Chain does not answer" in page
    assert "Block 0" in page
