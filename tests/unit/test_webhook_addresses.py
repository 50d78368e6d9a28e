"""Where webhooks may go, and what is signed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import threading
import time
from concurrent.futures import wait
from datetime import UTC, datetime
from ipaddress import ip_address
from uuid import UUID

import pytest

from kalepool.config import Settings
from kalepool.errors import InputError
from kalepool.services import outgoing
from kalepool.services.keys import Role
from kalepool.services.outgoing import INNER, Door, is_public
from kalepool.services.webhook_sending import signed
from kalepool.services.webhooks import OPERATORS, OWN_TYPES, Keeper, body_of, checked, inner_origins, wanted_types
from kalepool.view.webhook_words import why
from kalepool.view.words import Language

INNER_ADDRESSES = """
0.0.0.0 127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 192.0.2.1 198.18.0.1 224.0.0.1 240.0.0.1
255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1::
2001::1 2001:db8::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1
"""


@pytest.mark.parametrize("address", INNER_ADDRESSES.split())
def test_inner_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_addresses_of_the_internet_are(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/hook",
        "https://127.1/hook",
        "https://2130706433/hook",
        "https://0x7f.1/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://[::1]/hook",
        "https://169.254.169.254/latest/meta-data",
    ],
)
async def test_no_name_of_an_inner_address_is_asked(url: str) -> None:
    """However it is written: by what it resolves to."""
    async with Door.open(url) as door:
        posted = await door.post(b"{}", {})
    assert (posted.is_taken, posted.reason) == (False, INNER)


@pytest.mark.anyio
async def test_a_name_that_leads_elsewhere_the_second_time_is_asked_where_it_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One look at the name for each request, and all of its addresses have to be public."""
    asked: list[tuple[str, str]] = []
    answers = iter([["1.1.1.1"], ["1.1.1.1", "127.0.0.1"], ["127.0.0.1"]])

    async def resolve(host: str, port: int, threads: object) -> list[str]:
        return next(answers)

    async with Door.open("https://hook.example:8443/kale?a=b") as door:

        async def send(request: object, **_: object) -> None:
            asked.append((str(request.url), request.headers["host"]))  # pyright: ignore[reportAttributeAccessIssue]
            raise TimeoutError

        monkeypatch.setattr(outgoing, "resolve", resolve)
        monkeypatch.setattr(door._client, "send", send)
        reasons = [(await door.post(b"{}", {})).reason for _ in range(3)]
    assert reasons == ["TimeoutError", INNER, INNER]
    assert asked == [("https://1.1.1.1:8443/kale?a=b", "hook.example:8443")]


@pytest.mark.anyio
async def test_a_name_server_that_is_silent_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "POST_SECONDS", 0.05)

    async def resolve(host: str, port: int, threads: object) -> list[str]:
        await asyncio.sleep(5)
        return []

    monkeypatch.setattr(outgoing, "resolve", resolve)
    async with Door.open("https://hook.example/") as door:
        assert (await door.post(b"{}", {})).reason == "TimeoutError"


@pytest.mark.anyio
async def test_who_names_an_address_learns_nothing_of_the_names_of_the_inner_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that there is not is told as one that leads to an inner address."""

    async def resolve(host: str, port: int, threads: object) -> list[str]:
        if host == "database.inner":
            return ["10.0.0.5"]
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(outgoing, "resolve", resolve)
    posted = []
    for host in ("database.inner", "nowhere.inner"):
        async with Door.open(f"https://{host}/", is_own=True) as door:
            posted.append(await door.post(b"{}", {}))
    assert posted[0] == posted[1] and posted[0].reason == INNER


@pytest.mark.anyio
async def test_names_of_strangers_are_looked_up_apart() -> None:
    """Sixteen of their name servers are silent: operators' webhooks are sent all the same."""
    freed = threading.Event()
    stuck = [outgoing._RESOLVING_OWN.submit(freed.wait, 120) for _ in range(16)]
    try:
        async with asyncio.timeout(60), Door.open("https://127.0.0.1/") as door:
            assert (await door.post(b"{}", {})).reason == INNER
        async with Door.open("https://127.0.0.1/", is_own=True) as door:
            waiting = asyncio.create_task(door.post(b"{}", {}))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            freed.set()
            assert (await waiting).reason == INNER
    finally:
        freed.set()
        wait(stuck)


ENDLESS_HEADERS = b"HTTP/1.1 200 OK\r\n" + b"X-More: " + b"x" * 1_000_000
ENDLESS_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 1_000_000
BOMB = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n" + b"\x1f\x8b" * 50_000


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "is_taken"),
    [
        (ENDLESS_HEADERS, False),
        (ENDLESS_BODY, True),
        (BOMB, True),
        (b"HTTP/1.1 2", False),
        (b"\x16\x03\x01" * 99, False),
    ],
)
async def test_an_answer_without_end_is_read_for_a_moment_and_kept_nowhere(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, is_taken: bool
) -> None:
    """Long, packed, cut off or nonsense: it costs a connection for POST_SECONDS at most, and little memory."""
    monkeypatch.setattr(outgoing, "POST_SECONDS", 0.5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()  # until the other side has had enough
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        began = time.monotonic()
        async with Door.open(f"{origin}/", inner_origins=[origin]) as door:
            posted = await door.post(b"{}", {})
        assert posted.is_taken == is_taken and time.monotonic() - began < 2


BAD = [
    "",
    "example.org/kale",
    "http://example.org/kale",
    "ftp://example.org/",
    "https://",
    "https:///kale",
    "https://me:pw@example.org/",
    "https://example.org/#a",
    "https://example.org:99999/",
    "https://example.org:0/",
    "https://[/",
    "https://exämple.org/",
    "https://example.org/a b",
    "https://example.org/a\nHost: x",
    "https://example.org\\@127.0.0.1/",
    "https://example.org/" + "x" * 500,
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_address_for_a_webhook_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InputError) as refused:
        checked(text, [])
    assert len(text) < 10 or text not in str(refused.value)


def test_inner_servers_are_the_settings_to_name() -> None:
    settings = Settings.load(webhook_origins="http://127.0.0.1:8080/, HTTPS://Inner.example")
    inner = inner_origins(settings, is_own=False)
    assert inner_origins(settings, is_own=True) == [], "not for anybody who joins"
    assert checked(" http://127.0.0.1:8080/a?b=c ", inner) == "http://127.0.0.1:8080/a?b=c"
    assert checked("https://inner.example/x", inner) and checked("https://example.org:8443/x?token=1", [])
    with pytest.raises(InputError, match="KALEPOOL_WEBHOOK_ORIGINS"):
        checked("http://127.0.0.1:8081/", inner)


OWN_BAD = [
    "https://256.1.1.1/",
    "https://[v1.x]/",
    "http://example.org/",
    "https://example.org:22/",
    "https://example.org:25/",
    "https://example.org:1023/",
    "https://example.org:80/",
    "https://example.org:0443x/",
    "https://example.org:443@127.0.0.1/",
    "https://127.0.0.1:8080#@example.org/",
]


@pytest.mark.parametrize("text", OWN_BAD)
def test_farmers_and_miners_own_go_to_https_and_to_no_other_service_s_port(text: str) -> None:
    with pytest.raises(InputError):
        checked(text, [], is_own=True)


def test_ports_that_are_free_to_anybody_are_fine() -> None:
    for text in (
        "https://example.org/",
        "https://example.org:443/",
        "https://example.org:1024/",
        "https://[2606:4700::1]:8443/a",
    ):
        assert checked(text, [], is_own=True) == text


def test_each_role_is_told_of_its_own_types() -> None:
    assert wanted_types(Keeper(Role.MINER, UUID(int=1)), []) == list(OWN_TYPES[Role.MINER])
    assert wanted_types(OPERATORS, ["payout", "harvest"]) == ["harvest", "payout"]
    for keeper, type in ((Keeper(Role.MINER, UUID(int=1)), "harvest"), (OPERATORS, "test"), (OPERATORS, "<b>")):
        with pytest.raises(InputError, match="is not told of"):
            wanted_types(keeper, [type])


def test_why_it_was_not_taken_is_told_in_words() -> None:
    german = Language("de")
    assert why("HTTP status 503", german) == "die Antwort war HTTP-Status 503"
    assert why("TimeoutError", german) == "keine Antwort binnen zehn Sekunden"
    assert why(INNER, Language("en")) == INNER
    assert why("OddError\n", german) == "ein Fehler: OddError\ufffd"


def test_a_signature_is_of_id_time_and_body() -> None:
    secret, event_id = bytes(range(32)), UUID(int=7)
    body = body_of(event_id, "harvest", datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC), {"name": "ä"}).encode()
    assert (
        body
        == (
            '{"id":"00000000-0000-0000-0000-000000000007","type":"harvest","timestamp":"2026-01-02T03:04:05.678Z",'
            '"api_version":"v1","data":{"name":"ä"}}'
        ).encode()
    )
    headers = signed(secret, event_id, 1_700_000_000, body)
    digest = hmac.new(secret, f"{event_id}.1700000000.".encode() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (str(event_id), "1700000000")
