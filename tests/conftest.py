"""What every test may ask for: an embedded PostgreSQL and fresh, migrated databases on it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from kalepool.database import Database, migrate
from kalepool.postgres import Postgres

_numbers = count(1)

# Property tests try the same examples every time; other ones, and more, in `make fuzz`. No deadline: cores are shared.
settings.register_profile("test", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=int(os.environ.get("KALEPOOL_FUZZ_EXAMPLES", "100")), deadline=None)
settings.load_profile("fuzz" if "KALEPOOL_FUZZ_EXAMPLES" in os.environ else "test")


# What one worker does, one after the other. Two of them start whole pools, each with a Ray, and wait for blocks: three
# at once would take each other the time they promise to keep. The other workers fill the cores meanwhile.
# xdist's own groups do not work with this pytest (pytest-xdist issue 1386).
TOGETHER = {
    "tests/acceptance/test_kills.py": "pools",
    "tests/acceptance/test_miners.py": "pools",
    "tests/acceptance/test_money.py": "pools",
    "tests/chaos/test_chaos.py": "pools",
    "tests/chaos/test_two_coordinators.py": "pools",
    "tests/acceptance/test_up.py": "nodes",
    "tests/acceptance/test_cluster.py": "nodes",
    "tests/integration/cluster/test_ray.py": "nodes",
}


class Scheduling(LoadScopeScheduling):
    """Each test to whoever is free, but those that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    config.option.loadscopereorder = False  # it knows how many there are, not how long they take
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left with one when the others have ended."""

    def seconds(item: pytest.Item) -> float:
        marker = item.get_closest_marker("slow")
        return marker.args[0] if marker else 0.0

    items.sort(key=seconds, reverse=True)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def one_day() -> None:
    """Keeps a test that speaks of today away from the end of a day in UTC."""
    left = 86_400 - time.time() % 86_400
    if left < 60:
        time.sleep(left + 1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One server for the whole session. Nothing it holds outlives the session, so it need not flush to disk."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    settings = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with Postgres.start(folder / "data", settings=settings) as server:
        asyncio.run(migrate(server.create_database("base")))
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """The address of a fresh database with the schema in place."""
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name, template="base")
    postgres.drop_database(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open Database on a fresh schema."""
    async with Database.open(database_url) as opened:
        yield opened
