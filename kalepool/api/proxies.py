"""Trusted proxies: whose word is taken for where a request came from. Nobody's, unless the operator says so."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

from kalepool.errors import ConfigError


class Proxies:
    """The addresses and networks of trusted proxies. `host in proxies`: whether this is one of them."""

    def __init__(self, named: str) -> None:
        """`named`: separated by commas. Raises ConfigError for what is neither."""
        self._networks: list[IPv4Network | IPv6Network] = []
        for name in filter(None, (part.strip() for part in named.split(","))):
            try:
                self._networks.append(ip_network(name))
            except ValueError as error:
                raise ConfigError(f"KALEPOOL_TRUSTED_PROXIES: {error}") from None

    def __contains__(self, host: str) -> bool:
        if not self._networks:
            return False
        address = _address(host)
        return address is not None and self._has(address)

    def client(self, forwarded: list[str]) -> str | None:
        """The client's address, of an X-Forwarded-For: each proxy adds whom it heard at the end, so the last that is no
        proxy of ours. What stands before it anybody may have written. None where it is no address."""
        for said in reversed(forwarded):
            address = _address(said)
            if address is None:
                return None
            if not self._has(address):
                return str(address)
        return None

    def _has(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, also with a port; an IPv4 one that is written as IPv6, as itself."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


class ProxiedClients:
    """ASGI middleware: what comes through a trusted proxy is its client's, for limits, metrics and everything else."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client") and scope["client"][0] in self._proxies:
            headers: list[tuple[bytes, bytes]] = scope["headers"]
            values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
            client = self._proxies.client([each for value in values for each in value.split(",")])
            if client is not None:
                scope["client"] = (client, 0)
            if any(name == b"x-forwarded-proto" and value == b"https" for name, value in headers):
                scope["scheme"] = "https"
        await self._app(scope, receive, send)
