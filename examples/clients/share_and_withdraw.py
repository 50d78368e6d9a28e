"""A miner brings a share and a farmer withdraws, by a client that is generated (docs/api.md). Beside that client:

KALEPOOL_API_KEY=kp_… KALEPOOL_WALLET_SECRET=S… python share_and_withdraw.py http://127.0.0.1:8737"""

from __future__ import annotations

import base64
import os
import sys
import tomllib
import uuid
from urllib.parse import urlsplit

from Crypto.Hash import keccak
from kalepool_client import AuthenticatedClient, Client
from kalepool_client.api.farmers import list_own_farmers, order_withdrawal
from kalepool_client.api.miners import get_job, submit_shares
from kalepool_client.api.sign_in import answer_challenge, get_challenge, get_stellar_toml
from kalepool_client.models.answer_challenge_body import AnswerChallengeBody
from kalepool_client.models.challenge_view import ChallengeView
from kalepool_client.models.job_view import JobView
from kalepool_client.models.page_farmer_view import PageFarmerView
from kalepool_client.models.share_answers import ShareAnswers
from kalepool_client.models.submit_shares_share_offer import SubmitSharesShareOffer
from kalepool_client.models.token_view import TokenView
from kalepool_client.models.withdrawal_order import WithdrawalOrder
from kalepool_client.models.withdrawal_order_asset import WithdrawalOrderAsset
from kalepool_client.models.withdrawal_view import WithdrawalView
from stellar_sdk import Keypair, TransactionEnvelope
from stellar_sdk.sep.stellar_web_authentication import read_challenge_transaction


def first_below(job: JobView) -> int:
    """The first nonce of the job's range whose hash is below its target."""
    head, entropy = job.block_index.to_bytes(4, "big"), bytes.fromhex(job.entropy)
    tail = entropy + base64.b32decode(job.farmer)[1:33]
    nonce, target = int(job.nonce_start), bytes.fromhex(job.target)
    while keccak.new(digest_bits=256, data=head + nonce.to_bytes(8, "big") + tail).digest() >= target:
        nonce += 1
    return nonce


def mine(pool: str, key: str) -> str:
    """What became of a share."""
    miner = AuthenticatedClient(f"{pool}/v1", token=key)
    job = get_job.sync(client=miner, rig="python", wait=30, hashes_per_second=1)
    if not isinstance(job, JobView):
        sys.exit(f"no job: {job}")
    share = SubmitSharesShareOffer(job_id=job.job_id, nonce=str(first_below(job)))
    answer = submit_shares.sync(client=miner, body=share)
    if not isinstance(answer, ShareAnswers):
        sys.exit(f"no share was taken: {answer}")
    return answer.results[0].outcome.value


def sign_in(pool: str, wallet: Keypair) -> str:
    """A token for the wallet (SEP-10)."""
    anybody = Client(f"{pool}/v1")
    said = tomllib.loads(str(get_stellar_toml.sync(client=anybody)))
    asked = get_challenge.sync(client=anybody, account=wallet.public_key)
    if not isinstance(asked, ChallengeView) or asked.network_passphrase != said["NETWORK_PASSPHRASE"]:
        sys.exit(f"no challenge: {asked}")
    domain = urlsplit(said["WEB_AUTH_ENDPOINT"])
    # Never sign before this: it raises for anything but a challenge, as for a payment.
    read_challenge_transaction(
        asked.transaction, said["SIGNING_KEY"], [domain.netloc], domain.hostname or "", asked.network_passphrase
    )
    challenge = TransactionEnvelope.from_xdr(asked.transaction, asked.network_passphrase)
    challenge.sign(wallet)
    token = answer_challenge.sync(client=anybody, body=AnswerChallengeBody(transaction=challenge.to_xdr()))
    if not isinstance(token, TokenView):
        sys.exit(f"not signed in: {token}")
    return token.token


def withdraw(pool: str, wallet: Keypair) -> WithdrawalView:
    """One KALE of the wallet's first farmer."""
    farmer = AuthenticatedClient(f"{pool}/v1", token=sign_in(pool, wallet))
    own = list_own_farmers.sync(client=farmer)
    if not isinstance(own, PageFarmerView) or not own.items:
        sys.exit(f"no farmer of this wallet: {own}")
    order = WithdrawalOrder(asset=WithdrawalOrderAsset.KALE, amount_stroops="10000000")
    paid = order_withdrawal.sync(own.items[0].farmer_id, client=farmer, body=order, idempotency_key=str(uuid.uuid4()))
    if not isinstance(paid, WithdrawalView):
        sys.exit(f"nothing is paid: {paid}")
    return paid


if __name__ == "__main__":
    pool = sys.argv[1].rstrip("/")
    print("share", mine(pool, os.environ["KALEPOOL_API_KEY"]))
    paid = withdraw(pool, Keypair.from_secret(os.environ["KALEPOOL_WALLET_SECRET"]))
    print("withdrawal", paid.status.value, paid.transaction_hash)
