"""The hash against known answers, and addresses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kalepool.protocol.hashing import count_zeros, farmer_bytes, hash_work

VECTORS = json.loads((Path(__file__).parents[2] / "conformance" / "hash.json").read_text())


def test_hash_and_zeros_of_every_vector() -> None:
    assert len(VECTORS["hash"]) > 100
    for vector in VECTORS["hash"]:
        digest = hash_work(vector["index"], int(vector["nonce"]), bytes.fromhex(vector["entropy"]), vector["farmer"])
        assert digest.hex() == vector["hash"]
        assert count_zeros(digest) == vector["zeros"]


def test_an_accounts_bytes_are_its_public_key() -> None:
    from stellar_sdk import Keypair

    keypair = Keypair.from_raw_ed25519_seed(bytes(range(32)))
    assert farmer_bytes(keypair.public_key) == keypair.raw_public_key()


GOOD = "GBQHTQ7NTSKHVTSVM6EHUO3TU4P4BK2TAAII25V2TT2Q6OWXUJWEKALE"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "G",
        GOOD[:-1],
        GOOD + "A",
        GOOD[:-1] + "F",  # checksum
        GOOD.lower(),
        "S" + GOOD[1:],  # a secret key's prefix
        "C" + GOOD[1:],  # another kind's prefix
        GOOD[:-1] + "!",
        GOOD[:-1] + "é",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"address|base32"):
        farmer_bytes(address)
