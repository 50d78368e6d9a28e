"""The proof-of-work hash as the contract computes it, over the readable Keccak in `kernels`.

One 76-byte message: index (u32, big-endian), nonce (u64, big-endian), block entropy (32 bytes), farmer (32 bytes).
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

from kernels.keccak import hash_nonce, leading_zeros

_VERSION_BYTES = {"G": 6 << 3, "C": 2 << 3}


@lru_cache(maxsize=4096)
def farmer_bytes(farmer: str) -> bytes:
    """The 32 bytes of a G… (account) or C… (contract) address that go into the hash.

    They are the strkey's payload, which is also the end of the address's XDR.
    Raises ValueError when `farmer` is not such an address or its checksum is wrong.
    """
    version = _VERSION_BYTES.get(farmer[:1])
    if version is None or len(farmer) != 56:
        raise ValueError(f"not a G… or C… address of 56 characters: {farmer!r}")
    try:
        raw = base64.b32decode(farmer)
    except ValueError:  # binascii.Error, or a character beyond ASCII
        raise ValueError(f"not base32: {farmer!r}") from None
    body, checksum = raw[:-2], raw[-2:]
    # Strkey (SEP-23): a version byte, the payload, CRC-16/XMODEM little-endian.
    if body[0] != version or binascii.crc_hqx(body, 0).to_bytes(2, "little") != checksum:
        raise ValueError(f"wrong checksum or version in address {farmer!r}")
    return body[1:]


def hash_work(index: int, nonce: int, entropy: bytes, farmer: str) -> bytes:
    """The 32-byte digest that `work` expects for this nonce. ValueError on a bad address."""
    return hash_nonce(index, nonce, entropy, farmer_bytes(farmer))


def count_zeros(digest: bytes) -> int:
    """The score of a digest: its leading zero hex digits, 0 to 64."""
    return leading_zeros(digest)
