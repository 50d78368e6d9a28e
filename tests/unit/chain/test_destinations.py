"""Where money may go, and what is no such place."""

from __future__ import annotations

import pytest
from stellar_sdk import Keypair, MuxedAccount, StrKey

from kalepool.chain import require_destination
from kalepool.errors import InputError
from kalepool.services.farmers import owner_of

KEY = Keypair.from_raw_ed25519_seed(bytes(32))
ACCOUNT = KEY.public_key
MUXED = MuxedAccount(ACCOUNT, 2**63).account_muxed or ""
CONTRACT = StrKey.encode_contract(bytes(32))


@pytest.mark.parametrize(
    ("address", "memo", "account", "owner"),
    [
        (ACCOUNT, None, ACCOUNT, ACCOUNT),
        (ACCOUNT, "id:18446744073709551615", ACCOUNT, None),
        (ACCOUNT, "text:" + "ä" * 14, ACCOUNT, None),
        (ACCOUNT, "hash:" + "0a" * 32, ACCOUNT, None),
        (MUXED, None, ACCOUNT, ACCOUNT),
        (CONTRACT, None, None, CONTRACT),
    ],
)
def test_what_may_be_paid(address: str, memo: str | None, account: str | None, owner: str | None) -> None:
    found = require_destination(address, memo)
    assert (found.account, found.is_contract) == (account, address == CONTRACT)
    assert found.tells_whose == (memo is not None or address == MUXED)
    assert owner_of(found) == owner, "who keeps many people's money signs in for none of them"
    found.as_memo().to_xdr_object()


@pytest.mark.parametrize(
    ("address", "memo", "why"),
    [
        (KEY.secret, None, "secret key"),
        (ACCOUNT[:-1] + ("A" if ACCOUNT[-1] != "A" else "B"), None, "not an address"),
        (MUXED[:-1], None, "not an address"),
        ("", None, "not an address"),
        (MUXED, "id:1", "G… address only"),
        (CONTRACT, "id:1", "G… address only"),
        (ACCOUNT, "1234", "a memo is"),
        (ACCOUNT, "id:18446744073709551616", "below 2"),
        (ACCOUNT, "id:01", "a memo is"),
        (ACCOUNT, "hash:0A", "a memo is"),
        (ACCOUNT, "text:" + "ä" * 15, "28 bytes"),
        (ACCOUNT, "text:a\nb", "a memo is"),
    ],
)
def test_what_may_not(address: str, memo: str | None, why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        require_destination(address, memo)
    assert address == "" or "secret" not in why or address not in str(refused.value)
