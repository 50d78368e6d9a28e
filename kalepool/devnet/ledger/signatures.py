"""Whose signatures a transaction bears, and whether they weigh enough for what it does."""

from __future__ import annotations

from hashlib import sha256

from kalepool.devnet.ledger.ledger_entries import AccountEntry
from kalepool.devnet.ledger.transactions import Signatures, Transaction
from kalepool.devnet.wire import ZERO, u32


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
        weight = 0
        remaining = dict(signers)
        if remaining.pop(u32(1) + self._message, None) is not None:  # a pre-authorised hash needs no signature
            weight += signers[u32(1) + self._message]
            if weight >= needed:
                return True
        for position, (hint, signature) in enumerate(self._signatures):
            for key in list(remaining):
                if key[-4:] == hint and self._matches(key, signature):
                    self._used[position] = True
                    weight += min(remaining.pop(key), 255)
                    if weight >= needed:
                        return True
                    break
        return False

    def _matches(self, key: bytes, signature: bytes) -> bool:
        kind, raw = key[:4], key[4:36]
        if kind == ZERO:
            return self._transaction.has_signed(raw, self._message, signature)
        return kind == u32(2) and sha256(signature).digest() == raw
