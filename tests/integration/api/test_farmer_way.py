"""A farmer on its own: from signing in with its wallet to a withdrawal, and out of the pool, through the API alone."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import tomllib
from datetime import timedelta

import pytest
from stellar_sdk import Keypair, Network, TransactionEnvelope
from stellar_sdk.sep.stellar_web_authentication import read_challenge_transaction

from kalepool.api.file_formats import cell
from kalepool.chain import Status, building
from tests.integration.conftest import KALE

pytestmark = pytest.mark.anyio


async def sign_in(api, *signers: Keypair, account: str | None = None):
    """The answer to a challenge for the wallet of the first signer, unless `account` names another."""
    wallet = account or signers[0].public_key
    asked = await api.anybody.get("/auth", params={"account": wallet})
    assert asked.status_code == 200, asked.text
    challenge = asked.json()
    transaction = TransactionEnvelope.from_xdr(challenge["transaction"], challenge["network_passphrase"])
    for signer in signers:
        transaction.sign(signer)
    return await api.anybody.post("/auth", json={"transaction": transaction.to_xdr()})


async def signed_in(api, wallet: Keypair):
    answer = await sign_in(api, wallet)
    assert answer.status_code == 200, answer.text
    return api.client(answer.json()["token"])


async def prepare_classic(farm, source: Keypair, operations: list) -> None:
    """Applies plain operations of somebody's own account."""
    chain = farm.ctx.chain
    deadline = await chain.now() + timedelta(seconds=30)
    prepared = await chain._prepare_classic("test", operations, source, None, deadline, 1)
    outcome = await chain.submit(prepared)
    assert outcome.status is Status.APPLIED, outcome


async def until(api, client, path: str, good) -> dict:
    """The answer once it is good; the ledgers go on meanwhile. It asks less and less often: there is a limit."""
    pause = 0.1
    async with asyncio.timeout(60):
        while not good(found := (await client.get(path)).json()):
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 3.0)
    return found


async def wait_ready(api) -> None:
    async with asyncio.timeout(60):
        while (await api.anybody.get("/health")).status_code != 200:
            await api.farm.wait_ledger()


async def open_pooler(api) -> str:
    pooler = str(api.farm.pooler_id)
    assert (await api.operator.patch(f"/operator/poolers/{pooler}", json={"open": True})).status_code == 200
    return pooler


async def register(api, client, **wish) -> dict:
    """A farmer of the wallet that signed in, funded and active."""
    answer = await client.post("/farmer/farmers", json={"pooler_id": await open_pooler(api), **wish})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    await api.farm.ctx.chain.fund(made["custodial_wallet"])
    await until(api, client, f"/farmers/{made['farmer_id']}", lambda found: found["status"] == "active")
    return made


async def add_wallet(farm, *, trustline: bool = True) -> Keypair:
    """A payout wallet on the ledger."""
    wallet = Keypair.random()
    await farm.ctx.chain.fund(wallet.public_key)
    if trustline:
        await prepare_classic(farm, wallet, [building.trustline(farm.ctx.chain.asset)])
    return wallet


async def balances(farm, address: str) -> tuple[int, int | None]:
    account = (await farm.ctx.chain.read_accounts([address]))[address]
    return account.native_stroops, account.kale_stroops


async def test_from_sign_in_to_departure(api, capfd: pytest.CaptureFixture[str]) -> None:
    farm = api.farm
    await wait_ready(api)
    toml = tomllib.loads((await api.anybody.get("/.well-known/stellar.toml")).text)
    assert toml["WEB_AUTH_ENDPOINT"].endswith("/auth")
    assert toml["NETWORK_PASSPHRASE"] == farm.settings.chain.passphrase

    wallet = await add_wallet(farm)
    client = await signed_in(api, wallet)
    assert (await client.get("/farmer/poolers")).json()["items"] == []
    pooler = str(farm.pooler_id)
    closed = await client.post("/farmer/farmers", json={"pooler_id": pooler})
    assert closed.status_code == 404, "the operator has not opened it"
    await open_pooler(api)
    assert [each["pooler_id"] for each in (await client.get("/farmer/poolers")).json()["items"]] == [pooler]

    answer = await client.post("/farmer/farmers", json={"pooler_id": pooler, "metadata": {"name": "Ann"}})
    made = answer.json()
    assert answer.status_code == 201, answer.text
    assert made["payout_wallet"] == wallet.public_key
    assert made["missing"] == {"native_stroops": "25000000", "trustline": True, "kale_stroops": "0"}
    farmer = f"/farmers/{made['farmer_id']}"
    await farm.ctx.chain.fund(made["custodial_wallet"])
    await until(api, client, farmer, lambda found: found["status"] == "active")
    await farm.give(made["custodial_wallet"], 1000 * KALE)
    assert (await client.patch(farmer, json={"stake_percentage": 0.25})).json()["stake_percentage"] == 0.25
    assert [each["farmer_id"] for each in (await client.get("/farmer/farmers")).json()["items"]] == [made["farmer_id"]]

    # a block, from plant to harvest
    await api.pooler.post("/plant", json={"block_index": 0, "pooler_id": pooler})
    work = [{"farmer_id": made["farmer_id"], "nonce": "7"}]
    await api.pooler.post("/work", json={"block_index": 0, "pooler_id": pooler, "submissions": work})
    await farm.end_block()
    await farm.start_block(1)
    harvest = (await api.pooler.post("/harvest", json={"block_index": 0, "pooler_id": pooler})).json()["harvested"][0]
    (block,) = (await client.get(f"{farmer}/blocks")).json()["items"]
    assert block["stake_stroops"] == str(250 * KALE)
    assert block["nonce"] == "7"
    assert block["reward_stroops"] == block["forecast_stroops"] == harvest["reward_stroops"]
    assert block["difference_stroops"] == "0"
    table = list(csv.DictReader(io.StringIO((await client.get(f"{farmer}/export")).text)))
    rows = (await client.get(f"{farmer}/export", params={"format": "json"})).json()
    assert rows == [block | {"started_at": None}]
    assert {name: value or None for name, value in table[0].items()} == {
        name: cell(value) or None for name, value in rows[0].items()
    }

    # a withdrawal, sent twice
    order = {"asset": "KALE", "amount_stroops": str(100 * KALE)}
    before = await balances(farm, wallet.public_key)
    paid = [
        (await client.post(f"{farmer}/withdrawals", json=order, headers={"Idempotency-Key": "first"})).json()
        for _ in range(2)
    ]
    assert paid[0] == paid[1]
    assert paid[0]["status"] == "paid", paid
    assert paid[0]["destination"] == wallet.public_key
    after = await balances(farm, wallet.public_key)
    assert after == (before[0], 100 * KALE)
    listed = (await client.get(f"{farmer}/withdrawals")).json()["items"]
    assert listed == [paid[0]]
    assert (await client.get(f"{farmer}/withdrawals/{paid[0]['withdrawal_id']}")).json() == paid[0]

    # and out, with a pail in the block that is open
    planted = (await api.pooler.post("/plant", json={"block_index": 1, "pooler_id": pooler})).json()
    assert planted["totals"]["planted"] == 1
    assert (await client.post(f"{farmer}/leave")).json()["status"] == "leaving"
    await until(api, client, f"{farmer}/leave", lambda found: found["code"] == "pail-open")
    work = [{"farmer_id": made["farmer_id"], "nonce": "1"}]
    worked = await api.pooler.post("/work", json={"block_index": 1, "pooler_id": pooler, "submissions": work})
    assert worked.json()["totals"]["accepted"] == 1, worked.text
    held_native, _ = await balances(farm, made["custodial_wallet"])
    await farm.end_block()
    await farm.start_block(2)
    gone = await until(api, client, f"{farmer}/leave", lambda found: found["status"] == "departed")
    late = (await api.pooler.post("/plant", json={"block_index": 2, "pooler_id": pooler})).json()
    assert late["totals"]["eligible"] == 0
    blocks = (await client.get(f"{farmer}/blocks")).json()["items"]
    rewards = sum(int(each["reward_stroops"]) for each in blocks)
    assert len(blocks) == 2
    fees = sum(int(each["reward_stroops"]) * 5 // 100 for each in blocks)  # the pool's part, which went before
    assert await balances(farm, wallet.public_key) == (before[0] + held_native, 1000 * KALE + rewards - fees)
    assert int(gone["kale_stroops"]) == 900 * KALE + rewards - fees
    assert not await farm.ctx.chain.read_accounts([made["custodial_wallet"]])
    assert not (await client.get(farmer)).json()["needs_funding"], "nobody is told to send XLM there any more"
    refused = await client.post(f"{farmer}/withdrawals", json=order, headers={"Idempotency-Key": "late"})
    assert (refused.status_code, refused.json()["code"]) == (409, "farmer-leaves")

    said = capfd.readouterr().out
    assert client.headers["Authorization"].removeprefix("Bearer ") not in said
    assert made["api_key"] not in said


async def test_another_payout_wallet_is_named_when_registering(api) -> None:
    """As of an exchange, which never signs in: who registered does, and nobody else."""
    farm = api.farm
    await wait_ready(api)
    owner, exchange = await add_wallet(farm, trustline=False), await add_wallet(farm)
    client = await signed_in(api, owner)
    for wrong in ({"payout_memo": "1234"}, {"payout_wallet": "GNOBODY"}, {"payout_wallet": owner.secret}):
        answer = await client.post("/farmer/farmers", json={"pooler_id": await open_pooler(api), **wrong})
        assert answer.status_code == 422, answer.text
    made = await register(api, client, payout_wallet=exchange.public_key, payout_memo="id:1234")
    assert (made["payout_wallet"], made["payout_memo"]) == (exchange.public_key, "id:1234")
    farmer = f"/farmers/{made['farmer_id']}"
    await farm.give(made["custodial_wallet"], 50 * KALE)
    assert [each["farmer_id"] for each in (await client.get("/farmer/farmers")).json()["items"]] == [made["farmer_id"]]
    stranger = await signed_in(api, exchange)
    assert (await stranger.get("/farmer/farmers")).json()["items"] == []
    assert (await stranger.post(f"{farmer}/leave")).status_code == 404
    order = {"asset": "KALE", "amount_stroops": str(20 * KALE)}
    paid = await client.post(f"{farmer}/withdrawals", json=order, headers={"Idempotency-Key": "a"})
    assert paid.json()["status"] == "paid", paid.text
    await client.post(f"{farmer}/leave")
    await until(api, client, f"{farmer}/leave", lambda found: found["status"] == "departed")
    assert (await balances(farm, exchange.public_key))[1] == 50 * KALE


async def test_leaving_waits_for_a_wallet_that_can_be_paid(api) -> None:
    farm = api.farm
    await wait_ready(api)
    wallet = Keypair.random()
    client = await signed_in(api, wallet)
    made = await register(api, client)
    farmer = f"/farmers/{made['farmer_id']}"
    await farm.give(made["custodial_wallet"], 5 * KALE)
    order = {"asset": "KALE", "amount_stroops": str(KALE)}
    too_early = await client.post(f"{farmer}/withdrawals", json=order, headers={"Idempotency-Key": "a"})
    assert (too_early.status_code, too_early.json()["code"]) == (409, "payout-account-missing")
    await client.post(f"{farmer}/leave")
    await until(api, client, f"{farmer}/leave", lambda found: found["code"] == "payout-account-missing")
    await farm.ctx.chain.fund(wallet.public_key)
    await until(api, client, f"{farmer}/leave", lambda found: found["code"] == "payout-trustline-missing")
    await prepare_classic(farm, wallet, [building.trustline(farm.ctx.chain.asset)])
    await until(api, client, f"{farmer}/leave", lambda found: found["status"] == "departed")
    assert (await balances(farm, wallet.public_key))[1] == 5 * KALE


async def test_what_cannot_be_withdrawn(api) -> None:
    farm = api.farm
    await wait_ready(api)
    wallet = await add_wallet(farm, trustline=False)
    client = await signed_in(api, wallet)
    made = await register(api, client)
    farmer = f"/farmers/{made['farmer_id']}"

    async def ask(asset: str, stroops: int, key: str):
        order = {"asset": asset, "amount_stroops": str(stroops)}
        return await client.post(f"{farmer}/withdrawals", json=order, headers={"Idempotency-Key": key})

    assert (await ask("KALE", KALE, "a")).json()["code"] == "payout-trustline-missing"
    too_little = await ask("XLM", farm.settings.least_withdrawal_stroops - 1, "a")
    assert (too_little.status_code, too_little.json()["code"]) == (409, "amount-too-low")
    spendable = (await farm.ctx.chain.read_accounts([made["custodial_wallet"]]))[made["custodial_wallet"]]
    too_much = await ask("XLM", spendable.spendable_stroops + 1, "b")
    assert (too_much.status_code, too_much.json()["code"]) == (409, "balance-too-low")
    assert (await client.get(f"{farmer}/withdrawals")).json()["items"] == []
    paid = (await ask("XLM", spendable.spendable_stroops, "b")).json()
    assert paid["status"] == "paid", "all but the reserve; the key was not used up by the refusal"
    assert (await ask("XLM", KALE, "b")).json()["code"] == "idempotency-key-reused"
    keyless = await client.post(f"{farmer}/withdrawals", json={"asset": "XLM", "amount_stroops": "1"})
    assert keyless.status_code == 422
    with_key = api.client(made["api_key"])
    order = {"asset": "XLM", "amount_stroops": "1"}
    refused = await with_key.post(f"{farmer}/withdrawals", json=order, headers={"Idempotency-Key": "c"})
    assert (refused.status_code, refused.json()["code"]) == (403, "sign-in-needed")
    assert (await with_key.post(f"{farmer}/leave")).json()["code"] == "sign-in-needed"
    assert (await with_key.get(farmer)).status_code == 200


async def test_a_challenge_is_good_once(api) -> None:
    wallet = Keypair.random()
    asked = (await api.anybody.get("/auth", params={"account": wallet.public_key})).json()
    transaction = TransactionEnvelope.from_xdr(asked["transaction"], asked["network_passphrase"])
    unsigned = await api.anybody.post("/auth", json={"transaction": transaction.to_xdr()})
    assert (unsigned.status_code, unsigned.json()["code"]) == (400, "challenge-invalid")
    transaction.sign(Keypair.random())
    foreign = await api.anybody.post("/auth", json={"transaction": transaction.to_xdr()})
    assert foreign.json()["code"] == "challenge-invalid"
    assert foreign.json()["error"] == foreign.json()["detail"], "SEP-10's own member"

    good = TransactionEnvelope.from_xdr(asked["transaction"], asked["network_passphrase"])
    good.sign(wallet)
    form = await api.anybody.post("/auth", data={"transaction": good.to_xdr()})
    assert form.status_code == 200, form.text
    again = await api.anybody.post("/auth", json={"transaction": good.to_xdr()})
    assert (again.status_code, again.json()["code"]) == (400, "challenge-used")

    token = form.json()["token"]
    header, claims, signature = token.split(".")
    body = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert (body["sub"], body["exp"] - body["iat"]) == (wallet.public_key, api.farm.settings.sign_in_seconds)
    toml = tomllib.loads((await api.anybody.get("/.well-known/stellar.toml")).text)
    server = Keypair.from_public_key(toml["SIGNING_KEY"])
    server.verify(f"{header}.{claims}".encode(), base64.urlsafe_b64decode(signature + "=="))

    client = api.client(token)
    (key,) = (await client.get("/keys")).json()["items"]
    assert key["subject_wallet"] == wallet.public_key
    assert (await client.post("/keys", json={})).status_code == 403, "a token makes no key that outlives it"
    assert (await client.delete(f"/keys/{key['key_id']}")).status_code == 204
    assert (await client.get("/keys")).status_code == 401, "signed out"


async def test_challenges_as_wallets_check_them(api) -> None:
    """What a wallet verifies of the server before it signs, by the SDK's own reader."""
    wallet = Keypair.random().public_key
    toml = tomllib.loads((await api.anybody.get("/.well-known/stellar.toml")).text)
    asked = (await api.anybody.get("/auth", params={"account": wallet, "home_domain": "127.0.0.1:8737"})).json()
    read = read_challenge_transaction(
        asked["transaction"], toml["SIGNING_KEY"], "127.0.0.1:8737", "127.0.0.1", asked["network_passphrase"]
    )
    assert read.client_account_id == wallet
    assert toml["DOCUMENTATION"] == {"ORG_NAME": "kalepool", "ORG_URL": "http://127.0.0.1:8737"}
    for wrong in ({"home_domain": "elsewhere.example"}, {"memo": "12"}):
        answer = await api.anybody.get("/auth", params={"account": wallet, **wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "challenge-invalid")
    other_network = TransactionEnvelope.from_xdr(asked["transaction"], Network.TESTNET_NETWORK_PASSPHRASE)
    assert other_network.hash() != read.transaction.hash()
    preflight = await api.anybody.options(
        "/auth", headers={"Origin": "https://wallet.example", "Access-Control-Request-Method": "POST"}
    )
    assert preflight.headers["access-control-allow-origin"] == "*"
    refused = await api.anybody.post("/auth", content=b"x", headers={"Origin": "https://wallet.example"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (415, "*")
    assert (
        "access-control-allow-origin"
        not in (await api.anybody.get("/info", headers={"Origin": "https://wallet.example"})).headers
    )


async def test_errors_have_the_member_that_wallets_read(api) -> None:
    refused = [
        (await api.anybody.get("/auth", params={"account": "GNOBODY"}), 422),
        (await api.anybody.get("/auth"), 422),
        (await api.anybody.get("/auth", params={"account": Keypair.random().public_key, "memo": "1"}), 400),
        (await api.anybody.post("/auth", json={"transaction": "none"}), 400),
        (await api.anybody.post("/auth", json={}), 422),
        (await api.anybody.post("/auth", content=b"x"), 415),
    ]
    for answer, status in refused:
        problem = answer.json()
        assert (answer.status_code, problem["error"]) == (status, problem["detail"])
    answer = await api.anybody.get("/auth", params={"account": "GNOBODY"})
    for _ in range(3 * api.farm.settings.requests_per_minute):  # one more is allowed each second
        if answer.status_code == 429:
            break
        answer = await api.anybody.get("/auth", params={"account": "GNOBODY"})
    assert (answer.status_code, answer.json()["error"]) == (429, answer.json()["detail"])


async def test_head_is_answered_wherever_get_is(api) -> None:
    account = {"account": Keypair.random().public_key}
    for path, params in (("/.well-known/stellar.toml", {}), ("/auth", account), ("/info", {}), ("/events", {})):
        answer = await asyncio.wait_for(api.anybody.head(path, params=params), 30)
        assert (answer.status_code, answer.content) == (200, b""), path
    got = await api.anybody.get("/.well-known/stellar.toml")
    head = await api.anybody.head("/.well-known/stellar.toml")
    assert head.headers["content-length"] == str(len(got.content))
    for client, path, status in (
        (api.anybody, "/nowhere", 404),
        (api.anybody, "/keys", 401),
        (api.pooler, "/work", 405),
    ):
        assert (await client.head(path)).status_code == status
    assert "HEAD" in (await api.anybody.put("/info")).headers["allow"]


async def test_the_wallets_own_signers_count(api) -> None:
    """A wallet of two keys of weight 1 and medium threshold 2, its master key put out of use."""
    from stellar_sdk.operation import SetOptions
    from stellar_sdk.signer import Signer

    farm = api.farm
    wallet = await add_wallet(farm, trustline=False)
    first, second = Keypair.random(), Keypair.random()
    added = [SetOptions(signer=Signer.ed25519_public_key(each.public_key, 1)) for each in (first, second)]
    await prepare_classic(farm, wallet, [*added, SetOptions(med_threshold=2, high_threshold=2, master_weight=0)])

    for signers in ([wallet], [first], [second], [wallet, first], [first, second, Keypair.random()]):
        refused = await sign_in(api, *signers, account=wallet.public_key)
        assert refused.json()["code"] == "challenge-invalid", [each.public_key for each in signers]
    assert (await sign_in(api, first, second, account=wallet.public_key)).status_code == 200


async def test_one_wallet_never_sees_anothers_farmers(api) -> None:
    await wait_ready(api)
    ann, bob = [await signed_in(api, Keypair.random()) for _ in range(2)]
    pooler = await open_pooler(api)
    made = (await ann.post("/farmer/farmers", json={"pooler_id": pooler})).json()
    farmer = f"/farmers/{made['farmer_id']}"
    key = {"Idempotency-Key": "x"}
    order = {"asset": "XLM", "amount_stroops": "1"}
    answers = [
        await bob.get(farmer),
        await bob.get(f"{farmer}/blocks"),
        await bob.get(f"{farmer}/export"),
        await bob.get(f"{farmer}/withdrawals"),
        await bob.post(f"{farmer}/withdrawals", json=order, headers=key),
        await bob.get(f"{farmer}/leave"),
        await bob.post(f"{farmer}/leave"),
        await bob.patch(farmer, json={"stake_percentage": 1}),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert (await bob.get("/farmer/farmers")).json()["items"] == []


async def test_a_wallet_registers_only_so_many(api) -> None:
    client = await signed_in(api, Keypair.random())
    pooler = await open_pooler(api)
    most = api.farm.settings.farmers_per_wallet
    answers = [await client.post("/farmer/farmers", json={"pooler_id": pooler}) for _ in range(most + 1)]
    assert [answer.status_code for answer in answers] == [201] * most + [409]


async def test_an_account_that_was_never_funded_leaves_at_once(api) -> None:
    await wait_ready(api)
    client = await signed_in(api, Keypair.random())
    made = (await client.post("/farmer/farmers", json={"pooler_id": await open_pooler(api)})).json()
    farmer = f"/farmers/{made['farmer_id']}"
    await client.post(f"{farmer}/leave")
    await until(api, client, f"{farmer}/leave", lambda found: found["status"] == "departed")
    # money that arrives after that is not lost: leaving again sends it on
    await api.farm.ctx.chain.fund(made["custodial_wallet"])
    await client.post(f"{farmer}/leave")
    await until(api, client, f"{farmer}/leave", lambda found: found["code"] == "payout-account-missing")
