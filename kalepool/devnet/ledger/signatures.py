"""Whose signatures a transaction bears, and whether they weigh enough for what it does."""

from __future__ import annotations

from hashlib import sha256

from kalepool.devnet.ledger.ledger_entries import AccountEntry
from kalepool.devnet.ledger.transactions import Signatures, Transaction
from kalepool.devnet.wire import ZERO, u32

_ED25519, _PRE_AUTHORISED, _HASH, _SIGNED_PAYLOAD = ZERO, u32(1), u32(2), u32(3)
"""SignerKeyType."""
_MAX_WEIGHT = 255


class SignatureChecker:
    """Counts weights of the signatures that belong to an account, and knows at the end which were used at all."""

    def __init__(self, transaction: Transaction, message: bytes, signatures: Signatures) -> None:
        self._transaction = transaction
        self._message = message
        self._signatures = signatures
        self._used = [False] * len(signatures)

    @property
    def all_used(self) -> bool:
        return all(self._used)

    def check(self, account: AccountEntry, level: int) -> bool:
        """Whether the account's signers among the signatures reach its threshold of that level."""
        needed = account.thresholds[level]
        signers = dict(account.signers)
        if account.thresholds[0]:
            signers[ZERO + account.key] = account.thresholds[0]
        return self.check_signers(signers, needed)

    def check_master(self, key: bytes) -> bool:
        """Whether the key itself signed, for an account that does not exist yet."""
        return self.check_signers({ZERO + key: 1}, 0)

    def check_signers(self, signers: dict[bytes, int], needed: int) -> bool:
        """Whether those of the signers (packed SignerKey -> weight) that have signed weigh enough.

        As soon as they do, no other signature is looked at. Of each kind of signer all signatures are tried.
        """
        weight = 0
        pre_authorised = signers.get(one_time_signer(self._message))
        if pre_authorised is not None:  # the hash itself is authorised: it needs no signature
            weight += min(pre_authorised, _MAX_WEIGHT)
            if weight >= needed:
                return True
        for kind in (_HASH, _ED25519, _SIGNED_PAYLOAD):
            remaining = {key: value for key, value in signers.items() if key[:4] == kind}
            for position in range(len(self._signatures) if remaining else 0):
                key = next((key for key in remaining if self._matches(key, position)), None)
                if key is not None:
                    self._used[position] = True
                    weight += min(remaining.pop(key), _MAX_WEIGHT)
                    if weight >= needed:
                        return True
        return False

    def _matches(self, key: bytes, position: int) -> bool:
        """Whether a signature is that signer's."""
        hint, signature = self._signatures[position]
        kind, raw = key[:4], key[4:36]
        if kind == _SIGNED_PAYLOAD:
            payload = key[40 : 40 + int.from_bytes(key[36:40], "big")]
            tail = payload[-4:].ljust(4, b"\0")
            expected = bytes(a ^ b for a, b in zip(raw[-4:], tail, strict=True))
            return hint == expected and self._transaction.has_signed(raw, payload, signature)
        if hint != raw[-4:]:
            return False
        if kind == _ED25519:
            return self._transaction.has_signed(raw, self._message, signature)
        return sha256(signature).digest() == raw


def one_time_signer(digest: bytes) -> bytes:
    """The packed SignerKey that authorises the transaction with this hash."""
    return _PRE_AUTHORISED + digest
