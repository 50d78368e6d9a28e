"""A contract whose code was changed, and a network that was started anew under its database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from hashlib import sha256

import pytest

from kalepool.devnet.soroban.wasm import KALE_CODE
from kalepool.devnet.testing import running_devnet
from kalepool.networks import DEVNET, MAINNET
from kalepool.services import alerts
from kalepool.services.alerts import Observation
from kalepool.services.failures import ContractChangedError, NetworkRestartedError
from kalepool.services.farming import plant
from kalepool.services.health import Health
from tests.integration.conftest import FarmUnderTest, open_context

pytestmark = pytest.mark.anyio

HERE, KNOWN = sha256(KALE_CODE).hexdigest(), "ab" * 32


@pytest.fixture
async def elsewhere(farm) -> AsyncIterator[FarmUnderTest]:
    """The farm's database and master key beside a network that was started anew."""
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(running_devnet(ledger_seconds=0.1))
        changes = {"rpc_url": devnet.url, "friendbot_url": devnet.friendbot_url}
        settings = type(farm.settings)(**(farm.settings.model_dump() | changes), _env_file=None)
        ctx = await open_context(stack, settings, farm.database_url)
        yield FarmUnderTest(devnet, settings, farm.database_url, ctx, farm.pooler_id, farm.pooler_key)


def test_the_code_that_is_known() -> None:
    assert MAINNET.knows_contract("db2c1429" + "0" * 52 + "1627")
    assert not MAINNET.knows_contract("db2c1429" + "0" * 52 + "1628")
    assert DEVNET.knows_contract(HERE) and MAINNET.knows_contract(None)


async def test_another_contract_is_told_of_and_not_planted_at_until_an_operator_agrees(farm) -> None:
    await farm.add_farmers(1)
    before = farm.settings

    def use(**changes: object) -> None:
        farm.ctx.settings = type(before)(**(before.model_dump() | changes), _env_file=None)

    assert (await farm.ctx.chain.read_farm()).wasm == HERE
    use(contract_wasm=KNOWN)
    with pytest.raises(ContractChangedError, match=HERE):
        await plant.plant(farm.ctx, 0, farm.pooler_id)
    (said,) = alerts.conditions(Observation(new_contract=HERE))
    assert said.kind == "contract-changed" and HERE in said.message
    use(contract_wasm=HERE)  # the operator has looked at it
    assert len((await plant.plant(farm.ctx, 0, farm.pooler_id)).planted) == 1
    await farm.end_block()
    use(contract_wasm=KNOWN, pause_on_new_contract=False)
    assert len((await plant.plant(farm.ctx, 1, farm.pooler_id)).planted) == 1


async def test_a_network_that_was_started_anew_is_refused_with_the_way_out(farm, elsewhere) -> None:
    """Else the pool would fund itself there again, and go on with farmers whose wallets are gone."""
    await farm.add_farmers(1)
    with pytest.raises(NetworkRestartedError, match=r"started anew.*new database"):
        await elsewhere.ctx.accounts.ensure()
    own = [address for (address,) in await farm.rows("SELECT address FROM accounts")]
    assert not await elsewhere.ctx.chain.read_accounts(own), "nothing was made there"
    accounts = (await Health(elsewhere.ctx).report()).components["accounts"]
    assert accounts.state == "down" and "KALEPOOL_DATA_DIR" in accounts.detail
    (said,) = alerts.conditions(Observation(restarted=elsewhere.ctx.accounts.restarted))
    assert said.kind == "network-restarted"
    # On its own network the same database goes on.
    async with AsyncExitStack() as stack:
        assert await (await farm.restart(stack)).accounts.ensure() is None


async def test_a_ledger_that_is_behind_the_journal_is_another_network(farm) -> None:
    await farm.rows("UPDATE submissions SET ledger = 5000000")
    with pytest.raises(NetworkRestartedError, match="newest ledger is"):
        await farm.ctx.accounts.ensure()
