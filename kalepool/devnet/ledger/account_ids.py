"""The raw public keys behind account ids and muxed accounts."""

from __future__ import annotations

from stellar_sdk import xdr


def account_key(account: xdr.AccountID) -> bytes:
    """The raw ed25519 public key."""
    assert account.account_id.ed25519 is not None
    return account.account_id.ed25519.uint256


def muxed_key(account: xdr.MuxedAccount) -> bytes:
    """The raw public key of an account address, with or without an id."""
    if account.ed25519 is not None:
        return account.ed25519.uint256
    assert account.med25519 is not None
    return account.med25519.ed25519.uint256


def muxed_id(account: xdr.MuxedAccount) -> int | None:
    """The id of an M… address; None for a G… address."""
    return None if account.med25519 is None else account.med25519.id.uint64
