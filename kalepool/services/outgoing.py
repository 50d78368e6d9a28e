"""The one door out for messages: a request to an address that somebody named, and no more is read of its answer than
whether it was taken. The address is a secret: it is in no message and no log."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx2

POST_SECONDS = 10.0

LONGEST_WAIT_SECONDS = 300.0
"""What an answer may ask for at most."""

MOST_ANSWER_BYTES = 4096
"""An answer that is longer is not read to its end, and its connection closed."""

MOST_ADDRESSES = 3
"""Of a name, that are tried."""

INNER = "its name leads to no address, or to one that is not on the internet"
"""Said of both: who names an address learns nothing of which names the inner network has."""

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as an IPv6 network's translator (NAT64) reaches them."""

_UNICAST = IPv6Network("2000::/3")
"""All that the internet has given out of IPv6."""

_RESOLVING = ThreadPoolExecutor(16, "resolve")
"""Its own threads: a name server that is silent holds up nothing else."""

_RESOLVING_OWN = ThreadPoolExecutor(16, "resolve-own")
"""For addresses that farmers and miners name: theirs hold up nobody else's."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of it. `reason`: why it was not taken, without the address. `wait_seconds`: what is asked for there.
    `status`: of HTTP, None for no answer."""

    is_taken: bool
    reason: str = ""
    wait_seconds: float = 0.0
    status: int | None = None


async def post(url: str, *, json: dict[str, Any] | None = None, text: str | None = None) -> Posted:
    """Sends it once, and follows no redirect. Never raises."""
    content = None if text is None else text.encode()
    try:
        async with (
            asyncio.timeout(POST_SECONDS),
            httpx2.AsyncClient(timeout=POST_SECONDS) as client,
            client.stream("POST", url, json=json, content=content) as answer,
        ):
            return _posted(answer)
    except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        return Posted(is_taken=False, reason=type(error).__name__)


def _posted(answer: httpx2.Response) -> Posted:
    if answer.is_success:
        return Posted(is_taken=True, status=answer.status_code)
    try:
        wait = min(max(float(answer.headers.get("Retry-After", "")), 0.0), LONGEST_WAIT_SECONDS)
    except ValueError:
        wait = 0.0
    return Posted(False, f"HTTP status {answer.status_code}", wait, answer.status_code)


# ----------------------------------------------------------------------------------------------------------------------
# To the internet alone


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether anybody on the internet has it: none of this machine, of its networks, or of nobody. Pure."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _TRANSLATED:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST or address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


async def resolve(host: str, port: int, threads: ThreadPoolExecutor = _RESOLVING) -> list[str]:
    """The addresses of a name, or the one that it is. Raises OSError, UnicodeError."""
    found = await asyncio.get_running_loop().run_in_executor(
        threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@cache
def _certificates() -> ssl.SSLContext:
    """Whose certificates are believed: as everywhere in this process. To read them takes 20 ms."""
    return httpx2.create_ssl_context()


def can_be_asked(url: str) -> bool:
    """Whether a request can be made of this address at all: what splits into parts may still be none. Pure."""
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    return True


class Door:
    """To one server, request after request: `async with Door.open(url, …) as door`.

    Its name is looked up for each request, and the connection made to just the address that was looked at: a name that
    leads elsewhere the second time leads nowhere. No proxy of the environment's is used, which would look it up itself.
    """

    def __init__(self, url: str, client: httpx2.AsyncClient, *, is_inner: bool, is_own: bool) -> None:
        parts = urlsplit(url)
        self._client, self._is_inner = client, is_inner
        self._threads = _RESOLVING_OWN if is_own else _RESOLVING
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._netloc = parts.netloc
        self._url = httpx2.URL(url)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, inner_origins: Collection[str] = (), is_own: bool = False) -> AsyncIterator[Door]:
        """inner_origins: scheme and host of servers that may be on inner networks. is_own: a farmer or miner has named
        it. Raises ValueError or httpx2.InvalidURL for what is no address."""
        parts = urlsplit(url)
        is_inner = f"{parts.scheme}://{parts.netloc}".lower() in inner_origins
        async with httpx2.AsyncClient(timeout=POST_SECONDS, trust_env=False, verify=_certificates()) as client:
            yield cls(url, client, is_inner=is_inner, is_own=is_own)

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Sends it once, and follows no redirect. Never raises."""
        try:
            async with asyncio.timeout(POST_SECONDS):
                try:
                    addresses = await resolve(self._host, self._port, self._threads)
                except socket.gaierror:
                    return Posted(is_taken=False, reason=INNER)
                if not self._is_inner and not all(is_public(ip_address(each)) for each in addresses):
                    return Posted(is_taken=False, reason=INNER)
                return await self._post(addresses[:MOST_ADDRESSES], body, headers)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return Posted(is_taken=False, reason=type(error).__name__)

    async def _post(self, addresses: list[str], body: bytes, headers: Mapping[str, str]) -> Posted:
        """To the first of these that takes connections."""
        for number, address in enumerate(addresses, 1):
            request = self._client.build_request(
                "POST",
                self._url.copy_with(host=address),
                content=body,
                headers={**headers, "Host": self._netloc},
                extensions={"sni_hostname": self._host},
            )
            try:
                answer = await self._client.send(request, stream=True)
            except httpx2.ConnectError:
                if number == len(addresses):
                    raise
                continue
            try:
                await _read_little(answer)
            finally:
                await answer.aclose()
            return _posted(answer)
        return Posted(is_taken=False, reason="no address")


async def _read_little(answer: httpx2.Response) -> None:
    """To its end, so that the connection serves the next request; a long one is left."""
    size = 0
    async for part in answer.aiter_raw():
        size += len(part)
        if size > MOST_ANSWER_BYTES:
            return
