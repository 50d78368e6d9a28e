"""What others wrote and the page serves is what they published, to the bit."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import kalepool

STATIC = Path(kalepool.__file__).parent / "api/static"
PUBLISHED = {
    "freighter/freighter-api.js": "d797429cf97f9a67f1999910830a89dc01d565aedebafb651a11b1ed003a7e9d",
}
"""build/index.min.js of @stellar/freighter-api 6.0.1."""


def test_vendored_files_are_as_published() -> None:
    for name, digest in PUBLISHED.items():
        path = STATIC / name
        assert sha256(path.read_bytes()).hexdigest() == digest, name
        assert (path.parent / "LICENSE").is_file() and (path.parent / "NOTICE").is_file()
        assert path.stat().st_size < 20_000
