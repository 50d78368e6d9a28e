"""The rules load without anything heavy, so that every process and worker can have them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import pkgutil, importlib, sys
import kalepool.policy, kalepool.protocol
for package in (kalepool.policy, kalepool.protocol):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
heavy = {"ray", "psycopg", "fastapi", "stellar_sdk", "numpy", "numba", "pydantic", "structlog"}
print(sorted(heavy & set(sys.modules)))
"""


def test_protocol_and_policy_need_the_standard_library_only() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
