"""Where money goes: a G… account, an M… address of one, or a C… contract, and the memo that goes with it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellar_sdk import HashMemo, IdMemo, MuxedAccount, NoneMemo, StrKey, TextMemo
from stellar_sdk.memo import Memo

from kalepool.errors import InputError
from kalepool.marking import mark

MEMO_REQUIRED = "config.memo_required"
"""Name of the data entry by which an account asks for a memo (SEP-29); its value is then `1`."""

MEMO_BYTES = 28
"""The longest text of a memo."""

_MEMO = re.compile(r"text:(?P<text>[^\x00-\x1f\x7f]+)|id:(?P<id>0|[1-9][0-9]{0,19})|hash:(?P<hash>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Destination:
    """An address that is paid, G…, M… or C…. `memo`: as text:…, id:… or hash:…; with a G… alone."""

    address: str
    memo: str | None = None

    @property
    def is_contract(self) -> bool:
        return self.address.startswith("C")

    @property
    def is_muxed(self) -> bool:
        return self.address.startswith("M")

    @property
    def account(self) -> str | None:
        """The G… account that is credited; None for a contract."""
        if self.is_contract:
            return None
        return MuxedAccount.from_account(self.address).account_id if self.is_muxed else self.address

    @property
    def credited(self) -> str:
        """The G… account or C… contract that is credited."""
        return self.account or self.address

    @property
    def tells_whose(self) -> bool:
        """Whether who keeps many people's money in one account sees whose this is."""
        return self.memo is not None or self.is_muxed

    def as_memo(self) -> Memo:
        """The memo of a transaction that pays here."""
        kind, _, value = (self.memo or "").partition(":")
        match kind:
            case "text":
                return TextMemo(value)
            case "id":
                return IdMemo(int(value))
            case "hash":
                return HashMemo(value)
            case _:
                return NoneMemo()

    def __str__(self) -> str:
        return self.address if self.memo is None else f"{self.address} with the memo {self.memo}"


def require_destination(address: str, memo: str | None = None) -> Destination:
    """The destination. Raises InputError for what is no G…, M… or C… address, for a memo that is none, and for one
    beside an M… or C… address."""
    if address.startswith("S"):
        raise InputError(
            mark("this looks like a secret key: nobody may know it but you; an address begins with G, M or C")
        )
    known = (StrKey.is_valid_ed25519_public_key, StrKey.is_valid_med25519_public_key, StrKey.is_valid_contract)
    if not any(is_valid(address) for is_valid in known):
        raise InputError(
            mark("not an address of an account (G…, M…) or a contract (C…): %(address)s"), address=repr(address[:60])
        )
    if memo is not None:
        if address[0] != "G":
            raise InputError(
                mark("a memo goes with a G… address only: %(address)s is paid without one"), address=address
            )
        _require_memo(memo)
    return Destination(address, memo)


def _require_memo(memo: str) -> None:
    parts = _MEMO.fullmatch(memo)
    if parts is None:
        raise InputError(
            mark("a memo is text:… , id:… (a number) or hash:… (64 hexadecimal digits), not %(memo)s"),
            memo=repr(memo[:80]),
        )
    if (text := parts["text"]) is not None and len(text.encode()) > MEMO_BYTES:
        raise InputError(
            mark("a memo's text has at most %(most)s bytes, this one %(count)s"),
            most=MEMO_BYTES,
            count=len(text.encode()),
        )
    if (number := parts["id"]) is not None and int(number) >= 2**64:
        raise InputError(mark("a memo's id is below 2^64; this is %(number)s"), number=number)
