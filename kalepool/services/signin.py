"""Signing in with a payout wallet, a farmer's or a miner's, as the Stellar ecosystem does: SEP-10, Stellar Web
Authentication.

A challenge is a transaction that can never apply (sequence number 0), signed by the pool's sign-in key. Who gives it
back signed by the wallet's own signers gets a token. The token is a JWT, because wallets read its claims; the pool
itself finds it like any key, by its hash, so that it can be revoked and nothing depends on reading what was sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from stellar_sdk import Account, ManageData, TransactionBuilder, TransactionEnvelope
from stellar_sdk.decorated_signature import DecoratedSignature
from stellar_sdk.exceptions import BadSignatureError
from stellar_sdk.keypair import Keypair
from stellar_sdk.sep.ed25519_public_key_signer import Ed25519PublicKeySigner
from stellar_sdk.sep.stellar_web_authentication import (
    ChallengeTransaction,
    read_challenge_transaction,
    verify_challenge_transaction_threshold,
)

from kalepool.chain import Signer
from kalepool.config import Settings
from kalepool.custody import Purpose
from kalepool.database import Session
from kalepool.errors import InputError
from kalepool.marking import mark
from kalepool.services.context import Context
from kalepool.services.keys import SIGN_IN, Role, create_key, make_room_for_token
from kalepool.services.pool_accounts import named_accounts

log = structlog.get_logger()

CHALLENGE_SECONDS = 900
"""How long a challenge may be answered: SEP-10 recommends 15 minutes."""

MASTER_WEIGHT = 255
"""A wallet that is not on the ledger has no signers but its own key."""


class ChallengeError(InputError):
    """What was given back is no challenge of ours, is too old, or is not signed as the wallet's signers must."""

    code = "challenge-invalid"


class DeedError(ChallengeError):
    """What was signed is something else than what is to be done."""

    code = "deed-not-signed"


class ChallengeUsedError(ChallengeError):
    """This challenge has given its token already: ask for another."""

    code = "challenge-used"


@dataclass(frozen=True, slots=True)
class Token:
    """Proof of having signed in. `token` is the secret: shown once, kept nowhere."""

    key_id: UUID
    wallet: str
    expires_at: datetime
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Deed:
    """What a wallet is asked to sign beside who it is. `text`: what its holder reads there, at most 64 bytes;
    `details`: all that makes it this deed and no other, of which the digest is signed."""

    text: str
    details: tuple[str, ...]

    @property
    def digest(self) -> str:
        """64 hex digits: the value beside the text."""
        return hashlib.sha256(json.dumps([self.text, *self.details]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SignIn:
    """Issues challenges and takes them back. `signer` is SIGNING_KEY in stellar.toml; it signs nothing else."""

    signer: Signer
    endpoint: str
    home_domain: str
    web_auth_domain: str

    @classmethod
    async def open(cls, ctx: Context) -> SignIn:
        """With the pool's sign-in key, which is made on first use. Raises CustodyError, DatabaseError."""
        [row] = await named_accounts(ctx.database, ctx.custody, None, [(Purpose.SIGN_IN, Purpose.SIGN_IN.value)])
        url, home_domain = addresses(ctx.settings)
        signer = ctx.custody.signer(row.binding, row.secret_sealed)
        return cls(signer, f"{url}/auth", home_domain, host_of(url))

    def challenge(self, wallet: str, passphrase: str, deed: Deed | None = None) -> str:
        """A transaction for the wallet's holder to sign, as base64 XDR: to sign in, or to have a deed done."""
        now = int(time.time())
        nonce = base64.b64encode(secrets.token_bytes(48))
        builder = (
            TransactionBuilder(Account(self.signer.public_key, -1), passphrase, 100)
            .add_time_bounds(now, now + CHALLENGE_SECONDS)
            .append_manage_data_op(f"{self.home_domain} auth", nonce, source=wallet)
            .append_manage_data_op("web_auth_domain", self.web_auth_domain, source=self.signer.public_key)
        )
        if deed is not None:
            builder.append_manage_data_op(deed.text, deed.digest, source=self.signer.public_key)
        built = builder.build()
        hint = Keypair.from_public_key(self.signer.public_key).signature_hint()
        built.signatures.append(DecoratedSignature(hint, self.signer.sign(built.hash())))
        return built.to_xdr()

    async def answer(self, ctx: Context, transaction: str, *, seconds: int | None = None) -> Token:
        """The token for a signed challenge: once for each. `seconds`: how long it is good, by default as is set.

        Raises ChallengeError, ChallengeUsedError, RpcUnavailableError where the wallet's signers cannot be read.
        """
        read = await self._signed(ctx, transaction)
        if _deed_of(read.transaction) is not None:
            raise ChallengeError(mark("this was signed for something else than signing in"))
        return await self.issue(ctx, read.client_account_id, read.transaction.hash(), seconds)

    async def confirm(self, ctx: Context, transaction: str, wallet: str, deed: Deed, *, once: bool = True) -> str:
        """That the wallet's holder wants this deed done, by a challenge signed for it; `once`: which cannot be given
        again. Returns the challenge's hash in hex.

        Raises DeedError where another wallet signed, or for another deed, and as `answer`.
        """
        read = await self._signed(ctx, transaction)
        if read.client_account_id != wallet:
            raise DeedError(
                mark("it takes the signature of %(wallet)s; this is of %(other)s"),
                wallet=wallet,
                other=read.client_account_id,
            )
        if _deed_of(read.transaction) != (deed.text, deed.digest):
            raise DeedError(
                mark("what was signed is not: %(deed)s. Load the page and sign what it shows then"), deed=deed.text
            )
        if once:
            async with ctx.database.transaction() as tx:
                await self.spend(tx, wallet, read.transaction.hash())
        return read.transaction.hash().hex()

    async def _signed(self, ctx: Context, transaction: str) -> ChallengeTransaction:
        """A challenge of ours, signed as its wallet's signers must. Raises ChallengeError, RpcUnavailableError."""
        passphrase = ctx.settings.chain.passphrase
        read = self._read(transaction, passphrase)
        wallet = read.client_account_id
        if len(read.transaction.signatures) < 2:
            raise ChallengeError(mark("this is not signed by the wallet yet: have it sign, and send what comes out"))
        found = await ctx.lookups.signers(wallet)
        threshold, weights = found if found is not None else (1, {wallet: MASTER_WEIGHT})
        self._verify(transaction, passphrase, threshold, weights)
        return read

    def wallet_of(self, token: str) -> str | None:
        """The wallet that this token was given to, by its signature; None for one that is not ours, or over."""
        signed, _, signature = token.rpartition(".")
        try:
            Keypair.from_public_key(self.signer.public_key).verify(signed.encode(), _decode(signature))
            claims = json.loads(_decode(signed.partition(".")[2]))
            valid = claims["iss"] == self.endpoint and claims["exp"] > time.time()
        except (ValueError, KeyError, TypeError, BadSignatureError):
            return None
        return claims["sub"] if valid else None

    def _read(self, transaction: str, passphrase: str) -> ChallengeTransaction:
        try:
            read = read_challenge_transaction(
                transaction, self.signer.public_key, self.home_domain, self.web_auth_domain, passphrase
            )
            if not read.client_account_id.startswith("G") or read.memo is not None:
                raise ValueError("shared accounts (a memo, or an M… address) cannot sign in")
        except Exception as error:  # the SDK raises whatever its decoders do
            raise _what_is_wrong(transaction, passphrase, error) from None
        return read

    def _verify(self, transaction: str, passphrase: str, threshold: int, weights: Mapping[str, int]) -> None:
        """Every signature belongs to a signer of the wallet, and together they reach its medium threshold."""
        signers = [Ed25519PublicKeySigner(key, weight) for key, weight in weights.items()]
        try:
            verify_challenge_transaction_threshold(
                transaction,
                self.signer.public_key,
                self.home_domain,
                self.web_auth_domain,
                passphrase,
                threshold,
                signers,
            )
        except Exception as error:
            raise ChallengeError(f"the challenge is not signed as it must be: {_reason(error)}") from None

    async def issue(self, ctx: Context, wallet: str, challenge: bytes, seconds: int | None) -> Token:
        """For who has signed the challenge with this hash. Raises ChallengeUsedError."""
        seconds = seconds or ctx.settings.sign_in_seconds
        now = datetime.now(UTC).replace(microsecond=0)
        expires_at = now + timedelta(seconds=seconds)
        claims = {
            "iss": self.endpoint,
            "sub": wallet,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": secrets.token_urlsafe(32),
        }
        token = self._jwt(claims)
        async with ctx.database.transaction() as tx:
            await tx.execute("delete_old_signins")
            await make_room_for_token(tx, wallet)
            await self.spend(tx, wallet, challenge)
            key = await create_key(
                tx, Role.FARMER, subject_wallet=wallet, label=SIGN_IN, expires_at=expires_at, key=token
            )
        log.info("wallet_signed_in", wallet=wallet, key=str(key.key_id))
        return Token(key.key_id, wallet, expires_at, token)

    async def spend(self, tx: Session, wallet: str, challenge: bytes) -> None:
        """Each challenge once. Raises ChallengeUsedError."""
        fresh = await tx.execute(
            "insert_signin",
            challenge_hash=challenge,
            wallet=wallet,
            expires_at=datetime.now(UTC) + timedelta(seconds=CHALLENGE_SECONDS),
        )
        if not fresh:
            raise ChallengeUsedError(mark("this challenge has been used: ask for another"))

    def _jwt(self, claims: Mapping[str, object]) -> str:
        """The claims as a JWT with an Ed25519 signature (RFC 8037), which SIGNING_KEY verifies."""
        parts = [_encode(json.dumps(part).encode()) for part in ({"alg": "EdDSA", "typ": "JWT"}, claims)]
        return ".".join((*parts, _encode(self.signer.sign(".".join(parts).encode()))))


def _deed_of(challenge: TransactionEnvelope) -> tuple[str, str] | None:
    """Text and digest of what a challenge is signed for beside signing in."""
    for operation in challenge.transaction.operations[1:]:
        if isinstance(operation, ManageData) and operation.data_name != "web_auth_domain":
            return operation.data_name, (operation.data_value or b"").decode(errors="replace")
    return None


def addresses(settings: Settings) -> tuple[str, str]:
    """How the API is reached from outside (without a slash at the end), and the domain of stellar.toml."""
    url = settings.public_url or settings.own_api_url
    url = url.rstrip("/")
    return url, settings.home_domain or urlsplit(url).netloc


def host_of(url: str) -> str:
    """The host of a URL as wallets compare it with `web_auth_domain`: a domain name has no port."""
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _what_is_wrong(transaction: str, passphrase: str, error: Exception) -> ChallengeError:
    """With what is no challenge of ours: that it is no transaction at all, or what the SDK says."""
    try:
        TransactionEnvelope.from_xdr(transaction, passphrase)
    except Exception:  # it raises whatever its decoders do
        return ChallengeError(
            mark("this is no transaction: copy all of what the wallet gave, which is base64 and begins with AAAA")
        )
    return ChallengeError(f"this is no valid challenge: {_reason(error)}")


def _reason(error: Exception) -> str:
    """What an error of the SDK says, without what was sent."""
    text = str(error).strip()
    return text if text.isascii() and text.isprintable() and 0 < len(text) <= 200 else "it cannot be read"
