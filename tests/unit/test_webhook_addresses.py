"""Where webhooks may go, and what is signed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from datetime import UTC, datetime
from ipaddress import ip_address
from uuid import UUID

import pytest

from kalepool.config import Settings
from kalepool.errors import InputError
from kalepool.services import outgoing
from kalepool.services.outgoing import INNER, Door, is_public
from kalepool.services.webhooks import body_of, checked, origins, signed

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

    async def resolve(host: str, port: int) -> list[str]:
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

    async def resolve(host: str, port: int) -> list[str]:
        await asyncio.sleep(5)
        return []

    monkeypatch.setattr(outgoing, "resolve", resolve)
    async with Door.open("https://hook.example/") as door:
        assert (await door.post(b"{}", {})).reason == "TimeoutError"


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
    inner = origins(Settings.load(webhook_origins="http://127.0.0.1:8080/, HTTPS://Inner.example"))
    assert checked(" http://127.0.0.1:8080/a?b=c ", inner) == "http://127.0.0.1:8080/a?b=c"
    assert checked("https://inner.example/x", inner) and checked("https://example.org:8443/x?token=1", [])
    with pytest.raises(InputError, match="KALEPOOL_WEBHOOK_ORIGINS"):
        checked("http://127.0.0.1:8081/", inner)


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
