"""The miner as a wheel, made of this pool's own files: whoever mines here needs no copy of the repository.

The same as hatchling makes of miner/ (tests/integration/mining/test_miner_alone.py), but for the readme.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from base64 import urlsafe_b64encode
from functools import cache
from importlib import metadata
from pathlib import Path

import kalepool
from kalepool.mine.contents import EXTRAS, NEEDS, PARTS

VERSION = metadata.version("kalepool")
NAME = f"kalepool_miner-{VERSION}-py3-none-any.whl"

_MADE = (1980, 1, 1, 0, 0, 0)
"""When each file was: the same wheel every time."""

_WHEEL = "Wheel-Version: 1.0\nGenerator: kalepool\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_PROGRAMS = "[console_scripts]\nkalepool-miner = kalepool.mine.__main__:main\n"


@cache
def wheel() -> bytes:
    """The wheel. Takes some ten milliseconds the first time."""
    root, info = Path(kalepool.__file__).parents[1], f"kalepool_miner-{VERSION}.dist-info"
    files: dict[str, bytes] = {}
    for part in PARTS:
        path = root / part
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            files[file.relative_to(root).as_posix()] = file.read_bytes()
    files |= {
        f"{info}/METADATA": _about().encode(),
        f"{info}/WHEEL": _WHEEL.encode(),
        f"{info}/entry_points.txt": _PROGRAMS.encode(),
    }
    lines = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items()]
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _MADE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    return made.getvalue()


def requirements() -> list[str]:
    """What it needs, as the pool says it of itself."""
    found = []
    for each in metadata.requires("kalepool") or []:
        name = re.split(r"[^A-Za-z0-9_-]", each, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"](\w+)['\"]", each)
        if extra[1] in EXTRAS if extra else name in NEEDS:
            found.append(each)
    return found


def _about() -> str:
    python = metadata.metadata("kalepool")["Requires-Python"]
    lines = [
        "Metadata-Version: 2.4",
        "Name: kalepool-miner",
        f"Version: {VERSION}",
        "Summary: Hash KALE for a kalepool, on every core and card of a machine.",
        "License-Expression: Apache-2.0",
        f"Requires-Python: {python}",
        *(f"Requires-Dist: {each}" for each in requirements()),
        *(f"Provides-Extra: {each}" for each in EXTRAS),
    ]
    return "\n".join(lines) + "\n"


def _digest(content: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
