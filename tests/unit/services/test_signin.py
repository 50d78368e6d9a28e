"""Challenges and their answers, without ledger and database: what a forger might try."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from stellar_sdk import Account, Keypair, MuxedAccount, TransactionBuilder, TransactionEnvelope

from kalepool.config import Settings
from kalepool.networks import DEVNET, NETWORKS
from kalepool.services import signin
from kalepool.services.signin import ChallengeError, SignIn, addresses, host_of

pytestmark = pytest.mark.anyio

SERVER, WALLET = Keypair.random(), Keypair.random()
OURS = SignIn(SERVER, "https://pool.example/auth", "pool.example", "pool.example")


def context(signers: tuple[int, dict[str, int]] | None = None) -> Any:
    """As much of a Context as `answer` uses before it has verified; beyond that point there is nothing."""

    async def read_signers(_: str) -> tuple[int, dict[str, int]] | None:
        return signers

    settings = Settings(_env_file=None)  # pyright: ignore[reportCallIssue]
    return SimpleNamespace(settings=settings, lookups=SimpleNamespace(signers=read_signers))


def challenge(server: SignIn = OURS, wallet: str = WALLET.public_key) -> TransactionEnvelope:
    return TransactionEnvelope.from_xdr(server.challenge(wallet, DEVNET.passphrase), DEVNET.passphrase)


def test_it_can_never_apply() -> None:
    transaction = challenge().transaction
    assert transaction.sequence == 0
    assert transaction.source.account_id == SERVER.public_key
    bounds = transaction.preconditions.time_bounds  # pyright: ignore[reportOptionalMemberAccess]
    assert bounds is not None
    assert bounds.max_time - bounds.min_time == signin.CHALLENGE_SECONDS
    assert challenge().hash() != challenge().hash(), "each is another"


def forged_server() -> TransactionEnvelope:
    made = challenge(SignIn(Keypair.random(), OURS.endpoint, OURS.home_domain, OURS.web_auth_domain))
    made.sign(WALLET)
    return made


def other_domain() -> TransactionEnvelope:
    """The same key at another of our domains, as a man in the middle would hand on."""
    made = challenge(SignIn(SERVER, "https://evil.example/auth", "evil.example", "evil.example"))
    made.sign(WALLET)
    return made


def changed_after_signing() -> TransactionEnvelope:
    made = challenge()
    made.transaction.operations[0].source = MuxedAccount(Keypair.random().public_key)
    made.sign(WALLET)
    return made


def real_payment() -> TransactionEnvelope:
    """A transaction of the wallet's own that somebody got hold of."""
    made = (
        TransactionBuilder(Account(WALLET.public_key, 7), DEVNET.passphrase)
        .add_time_bounds(int(time.time()) - 5, int(time.time()) + 300)
        .append_manage_data_op("pool.example auth", b"x" * 64, source=WALLET.public_key)
        .build()
    )
    made.sign(WALLET)
    return made


def another_network() -> TransactionEnvelope:
    passphrase = NETWORKS["testnet"].passphrase
    made = TransactionEnvelope.from_xdr(OURS.challenge(WALLET.public_key, passphrase), passphrase)
    made.sign(WALLET)
    return made


def somebody_elses_signature() -> TransactionEnvelope:
    made = challenge()
    made.sign(Keypair.random())
    return made


def the_server_alone() -> TransactionEnvelope:
    return challenge()


@pytest.mark.parametrize(
    "made",
    [
        forged_server,
        other_domain,
        changed_after_signing,
        real_payment,
        another_network,
        somebody_elses_signature,
        the_server_alone,
    ],
)
async def test_a_forgery_gives_no_token(made) -> None:
    with pytest.raises(ChallengeError):
        await OURS.answer(context(), made().to_xdr())


async def test_one_too_old_gives_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    made = challenge()
    made.sign(WALLET)
    later = time.time() + signin.CHALLENGE_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(ChallengeError, match="timebounds"):
        await OURS.answer(context(), made.to_xdr())


@pytest.mark.parametrize("sent", ["", "AAAA", "nonsense", "ä" * 40, "A" * 9_999])
async def test_what_is_no_transaction(sent: str) -> None:
    with pytest.raises(ChallengeError):
        await OURS.answer(context(), sent)


async def test_the_servers_key_counts_for_nothing_even_as_a_signer_of_the_wallet() -> None:
    """Its own signature on every challenge must never stand for the wallet's."""
    made = challenge()
    with pytest.raises(ChallengeError):
        await OURS.answer(context((1, {SERVER.public_key: 255})), made.to_xdr())


@pytest.mark.parametrize(
    ("given", "url", "domain"),
    [
        ({}, "http://127.0.0.1:8737", "127.0.0.1:8737"),
        ({"public_url": "https://pool.example/"}, "https://pool.example", "pool.example"),
        ({"public_url": "https://api.pool.example", "home_domain": "pool.example"}, None, "pool.example"),
        ({"api_url": "http://10.0.0.1:80", "public_url": "https://pool.example"}, "https://pool.example", None),
    ],
)
def test_where_wallets_find_it(given: dict[str, str], url: str | None, domain: str | None) -> None:
    found = addresses(Settings(**given, _env_file=None))  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert url in (None, found[0])
    assert domain in (None, found[1])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://pool.example", "pool.example"),
        ("http://localhost:8737", "localhost"),
        ("https://user@Pool.Example:8443/api", "pool.example"),
        ("http://[::1]:8737", "[::1]"),
    ],
)
def test_the_domain_of_a_challenge_has_no_port(url: str, host: str) -> None:
    """As a URL's `hostname` is in a browser, which the wallet SDK compares."""
    assert host_of(url) == host
