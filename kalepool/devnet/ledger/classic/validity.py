"""What asset codes and texts may consist of (stellar-core, util/types.cpp)."""

from __future__ import annotations

from stellar_sdk import StrKey, xdr

from kalepool.devnet.ledger.account_ids import account_key

AnyAsset = xdr.Asset | xdr.ChangeTrustAsset | xdr.TrustLineAsset

_CODE_CHARACTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_LONG_CODE_MINIMUM = 5


def is_text(data: bytes) -> bool:
    """Whether a home domain or a data entry's name is printable ASCII."""
    return all(0x1F < byte < 0x7F for byte in data)


def is_asset_valid(asset: AnyAsset) -> bool:
    """Whether the code is letters and digits, and has the length of its kind. XLM is valid."""
    if asset.type is xdr.AssetType.ASSET_TYPE_NATIVE:
        return True
    if asset.alpha_num4 is not None:
        return is_code_valid(asset.alpha_num4.asset_code.asset_code4, 1)
    if asset.alpha_num12 is not None:
        return is_code_valid(asset.alpha_num12.asset_code.asset_code12, _LONG_CODE_MINIMUM)
    return _is_pool_share_valid(asset)


def is_code_valid(padded: bytes, minimum: int) -> bool:
    """Whether a code, padded with zeros behind, has at least that many characters and no others."""
    code = padded.rstrip(b"\0")
    return len(code) >= minimum and _CODE_CHARACTERS.issuperset(code)


def _is_pool_share_valid(asset: AnyAsset) -> bool:
    pool = getattr(asset, "liquidity_pool", None)
    if pool is None or pool.constant_product is None:
        return False
    product = pool.constant_product
    ordered = product.asset_a.to_xdr_bytes() < product.asset_b.to_xdr_bytes()
    valid = is_asset_valid(product.asset_a) and is_asset_valid(product.asset_b)
    return valid and ordered and product.fee.int32 == xdr.constants.LIQUIDITY_POOL_FEE_V18


def issuer_of(asset: AnyAsset) -> bytes | None:
    """The raw key of a credit asset's issuer; None for XLM and pool shares."""
    alpha = asset.alpha_num4 or asset.alpha_num12
    return None if alpha is None else account_key(alpha.issuer)


def asset_name(asset: xdr.Asset) -> str:
    """SEP-11 name: `native`, or CODE:ISSUER."""
    alpha = asset.alpha_num4 or asset.alpha_num12
    if alpha is None:
        return "native"
    code = alpha.asset_code.to_xdr_bytes().rstrip(b"\0").decode("ascii")
    return f"{code}:{StrKey.encode_ed25519_public_key(account_key(alpha.issuer))}"
