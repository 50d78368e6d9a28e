"""How the pool is said to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from kalepool.chain import ChainReader
from kalepool.chain import RpcHealth as Reading
from kalepool.config import Settings
from kalepool.networks import DEVNET
from kalepool.services import health
from kalepool.services.health import Health, waiting_for_accounts, what_is_known

pytestmark = pytest.mark.anyio


class Clockwork(ChainReader):
    """A network that closes ledgers, by a clock that is off."""

    def __init__(self, off: timedelta) -> None:
        super().__init__(replace(DEVNET, rpc_url="http://127.0.0.1:9"))
        self.off, self.sequence = off, 1

    async def read_health(self) -> Reading:
        at = datetime.now(UTC) + self.off
        return Reading(self._observe(self.sequence, int(at.timestamp())), 1, 0.0)


@pytest.mark.parametrize("minutes", [-30, -2, 0, 2])
async def test_a_clock_that_is_off_is_no_chain_that_stands_still(minutes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Clockwork(timedelta(minutes=minutes)) as chain:
        ctx = SimpleNamespace(chain=chain, settings=SimpleNamespace(chain=chain.network))
        looks = Health(ctx)  # pyright: ignore[reportArgumentType]
        assert await looks._chain() == ("up", "ledger 1")
        late = health.LATE_LEDGERS * chain.network.ledger_seconds + 6
        chain._latest_at -= late
        state, detail = await looks._chain()
        assert (state, detail.startswith("no ledger closed for")) == ("down", True), "whatever the clocks say"
        chain.sequence = 2
        assert await looks._chain() == ("up", "ledger 2")


def test_accounts_are_being_made_only_where_they_are_not_there() -> None:
    said = [waiting_for_accounts(count) for count in (None, 3, 0)]
    assert ["being made" in each for each in said] == [False, True, False]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"network": "mainnet"}, "the pool does not know whether it earns: set KALEPOOL_KALE_PRICE_XLM"),
        ({"network": "mainnet", "kale_price_xlm": 0.004}, "a KALE is taken to be worth 0.004 XLM"),
        ({"network": "mainnet", "kale_price_xlm": "pool"}, "that of the chain's liquidity pool"),
    ],
)
def test_whether_the_pool_knows_what_a_kale_is_worth(known: dict[str, object], said: str) -> None:
    assert said in what_is_known(Settings(_env_file=None, **known))  # pyright: ignore[reportCallIssue, reportArgumentType]
