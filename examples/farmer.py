"""A farmer signs in with its wallet (SEP-10) and looks at what it has. Needs stellar-sdk and requests:

KALEPOOL_WALLET_SECRET=S… python examples/farmer.py http://127.0.0.1:8737"""

from __future__ import annotations

import os
import sys
import tomllib
from urllib.parse import urlsplit

import requests
from stellar_sdk import Keypair, TransactionEnvelope
from stellar_sdk.sep.stellar_web_authentication import read_challenge_transaction

if len(sys.argv) != 2 or not sys.argv[1].startswith(("http://", "https://")) or not os.getenv("KALEPOOL_WALLET_SECRET"):
    sys.exit(__doc__)
pool, wallet = sys.argv[1].rstrip("/"), Keypair.from_secret(os.environ["KALEPOOL_WALLET_SECRET"])


def ask(method: str, path: str, **given: object) -> requests.Response:
    """The answer; ends with what the pool says where it refuses."""
    answer = requests.request(method, pool + path, timeout=30, **given)  # type: ignore[arg-type]
    if not answer.ok:
        sys.exit(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer


# Who signs challenges for this pool, and for which network.
said = tomllib.loads(ask("GET", "/.well-known/stellar.toml").text)
asked = ask("GET", "/v1/auth", params={"account": wallet.public_key}).json()
if asked["network_passphrase"] != said["NETWORK_PASSPHRASE"]:
    sys.exit("the pool names two networks")
# Never sign before this: it raises for anything but a challenge, as for a payment.
domain = urlsplit(said["WEB_AUTH_ENDPOINT"])
read_challenge_transaction(
    asked["transaction"],
    said["SIGNING_KEY"],
    [os.getenv("KALEPOOL_HOME_DOMAIN") or domain.netloc],
    domain.hostname or "",
    asked["network_passphrase"],
)
challenge = TransactionEnvelope.from_xdr(asked["transaction"], asked["network_passphrase"])
challenge.sign(wallet)
token = ask("POST", "/v1/auth", json={"transaction": challenge.to_xdr()}).json()["token"]

headers = {"Authorization": f"Bearer {token}"}
farmers = ask("GET", "/v1/farmer/farmers", headers=headers).json()["items"]
for farmer in farmers:
    shown = ask("GET", f"/v1/farmers/{farmer['farmer_id']}", headers=headers).json()
    print(shown["farmer_id"], shown["status"], shown["custodial_wallet"], shown["performance"]["blocks_harvested"])
if not farmers:
    for pooler in ask("GET", "/v1/farmer/poolers", headers=headers).json()["items"]:
        print("no farmer yet; register with POST /v1/farmer/farmers at", pooler["pooler_id"], pooler["name"])
