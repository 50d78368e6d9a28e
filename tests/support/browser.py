"""A browser without a script: it keeps cookies, and sends the forms that pages have, as people do."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

import httpx2
from fastapi import FastAPI
from stellar_sdk import Keypair, TransactionEnvelope

from kalepool.api.cookies import SESSION

TOKEN = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


@dataclass
class Browser:
    """Looks at pages of an app; `origin` is what it says of where its forms come from."""

    client: httpx2.AsyncClient
    origin: str = "http://pool"

    @classmethod
    def of(cls, app: FastAPI, url: str = "http://pool", address: str = "127.0.0.1") -> Browser:
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False, client=(address, 1))
        headers = {"Accept": "text/html"}
        return cls(httpx2.AsyncClient(transport=transport, base_url=url, headers=headers), url)

    async def look(self, path: str) -> httpx2.Response:
        return await self.client.get(path, follow_redirects=True)

    async def send(self, path: str, fields: dict[str, str], *, page: str = "/farm", **headers: str) -> httpx2.Response:
        """Sends a form to `path` with the token that the page has."""
        found = TOKEN.search((await self.look(page)).text)
        sent = ({"csrf": found[1]} if found else {}) | fields
        return await self.client.post(path, data=sent, headers={"Origin": self.origin} | headers)

    async def challenge(self, wallet: Keypair) -> str:
        """What a wallet that signs somewhere else has to sign."""
        shown = await self.look(f"/farm?account={wallet.public_key}")
        found = re.search(r'id="challenge"[^>]*>([^<]+)<', shown.text)
        assert found, shown.text
        return html.unescape(found[1])

    async def sign_in(self, wallet: Keypair, passphrase: str) -> httpx2.Response:
        return await self.send(
            "/farm/sign-in", {"transaction": signed(await self.challenge(wallet), wallet, passphrase)}
        )

    async def is_signed_in(self) -> bool:
        return 'action="/sign-out"' in (await self.look("/farm")).text

    def bring(self, secret: str) -> None:
        """Has this in its cookie from now on, and nothing else."""
        self.client.cookies.clear()
        self.client.cookies.set(SESSION, secret, domain="pool.local")

    @property
    def cookie(self) -> str | None:
        return next((each.value for each in self.client.cookies.jar if each.name.endswith(SESSION)), None)


def signed(transaction: str, wallet: Keypair, passphrase: str) -> str:
    """As a wallet does."""
    envelope = TransactionEnvelope.from_xdr(transaction, passphrase)
    envelope.sign(wallet)
    return envelope.to_xdr()
