"""Farmers who take money out while all goes wrong, and ask again, with the same key, until they have an answer."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import time

import httpx2
from stellar_sdk import Asset, Keypair, Network, SorobanServer, TransactionBuilder, TransactionEnvelope
from stellar_sdk.soroban_rpc import GetTransactionStatus

from tests.chaos.stage import Stage, wait_for


def demo_wallet(number: int) -> Keypair:
    """The payout wallet of a demo farmer, which anybody can make again."""
    return Keypair.from_raw_ed25519_seed(hashlib.sha256(f"kalepool demo farmer {number}".encode()).digest())


class Customers:
    """A thread that withdraws now and then, one wish after the other, about every `pause` seconds.

    `asked` counts wishes, `paid` those that were told to be paid.
    """

    def __init__(self, stage: Stage, rng: random.Random, pause: float, asset: Asset) -> None:
        self.asked = self.paid = 0
        self._stage, self._rng, self._pause, self._asset = stage, rng, pause, asset
        self._wallets: list[tuple[str, Keypair]] = []  # farmer's id, payout wallet
        self._http = httpx2.Client(base_url=stage.api_url, timeout=10.0)
        self._tokens: dict[str, str] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="customers", daemon=True)

    def prepare(self, count: int) -> None:
        """Puts the payout wallets of some farmers on the ledger, with a trustline."""
        rows = dict(self._stage.ask("SELECT payout_wallet, farmer_id::text FROM farmers"))
        with SorobanServer(self._stage.rpc_url) as server:
            for number in range(1, count + 1):
                wallet = demo_wallet(number)
                self._stage.http.get(
                    f"{self._stage.rpc_url}/friendbot", params={"addr": wallet.public_key}, timeout=30.0
                ).raise_for_status()
                builder = TransactionBuilder(server.load_account(wallet.public_key), _passphrase(server), base_fee=1000)
                trust = builder.append_change_trust_op(self._asset).set_timeout(60).build()
                trust.sign(wallet)
                name = server.send_transaction(trust).hash
                found = lambda name=name: server.get_transaction(name).status is GetTransactionStatus.SUCCESS  # noqa: E731
                assert wait_for(found, 30.0), "a payout wallet has no trustline"
                self._wallets.append((rows[wallet.public_key], wallet))

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._pause * self._rng.uniform(0.5, 1.5)):
            self._withdraw(*self._rng.choice(self._wallets))

    def end(self) -> None:
        self._ended.set()
        self._thread.join(30.0)
        self._http.close()

    def _withdraw(self, farmer_id: str, wallet: Keypair) -> None:
        self.asked += 1
        key, amount = f"wish-{self.asked}", self._rng.randint(10_000_000, 40_000_000)
        body = {"asset": "KALE", "amount_stroops": str(amount)}
        give_up_at = time.monotonic() + 60.0
        while not self._ended.is_set() and time.monotonic() < give_up_at:
            with contextlib.suppress(httpx2.HTTPError, KeyError, ValueError):
                headers = {"Authorization": f"Bearer {self._token(wallet)}", "Idempotency-Key": key}
                answer = self._http.post(f"/farmers/{farmer_id}/withdrawals", json=body, headers=headers)
                if answer.status_code == 401:
                    self._tokens.pop(wallet.public_key, None)
                if answer.status_code == 200 and answer.json()["status"] == "paid":
                    self.paid += 1
                    return
                if answer.status_code in (404, 409, 422):
                    return
            self._ended.wait(1.0)

    def _token(self, wallet: Keypair) -> str:
        if wallet.public_key not in self._tokens:
            challenge = self._http.get("/auth", params={"account": wallet.public_key}).raise_for_status().json()
            answer = TransactionEnvelope.from_xdr(challenge["transaction"], challenge["network_passphrase"])
            answer.sign(wallet)
            signed = self._http.post("/auth", json={"transaction": answer.to_xdr()}).raise_for_status()
            self._tokens[wallet.public_key] = signed.json()["token"]
        return self._tokens[wallet.public_key]


def _passphrase(server: SorobanServer) -> str:
    return server.get_network().passphrase or Network.TESTNET_NETWORK_PASSPHRASE
