"""Checking one ed25519 signature."""

from __future__ import annotations

import nacl.exceptions
from nacl.bindings import crypto_sign_open


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an ed25519 signature is the key's. False for keys and signatures of a wrong length."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True
