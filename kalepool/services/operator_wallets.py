"""Operators who sign in with a wallet: those that the settings name. Each has one key, that only its sessions use."""

from __future__ import annotations

import secrets

import structlog

from kalepool.config import Settings
from kalepool.errors import ConfigError, ForbiddenError, InputError
from kalepool.services.context import Context
from kalepool.services.farmers import require_account_address
from kalepool.services.keys import KeyOwner, Role, create_key, find_wallet_key, revoke_own_key
from kalepool.services.signin import Token

log = structlog.get_logger()


class NotListedError(ForbiddenError):
    """The wallet is not on the operators' list."""

    code = "not-an-operator"


def listed(settings: Settings) -> frozenset[str]:
    """The operators' wallets. Raises ConfigError where one is no address of an account."""
    wallets = [each.strip() for each in settings.operator_wallets.split(",") if each.strip()]
    for wallet in wallets:
        try:
            require_account_address(wallet)
        except InputError as error:
            raise ConfigError(f"KALEPOOL_OPERATOR_WALLETS: {error}") from None
    return frozenset(wallets)


def require_listed(settings: Settings, wallet: str) -> None:
    """NotListedError for a wallet that is not on the list, or not any more."""
    if wallet not in listed(settings):
        raise NotListedError(f"wallet {wallet} is not on this pool's list of operators (KALEPOOL_OPERATOR_WALLETS)")


async def admit(ctx: Context, proof: Token) -> KeyOwner:
    """The operator whose wallet has just signed in. The token that proved it ends: a browser needs none.

    Raises NotListedError.
    """
    async with ctx.database.transaction() as tx:
        await revoke_own_key(tx, proof.key_id, Role.FARMER, None, proof.wallet)
        allowed = proof.wallet in listed(ctx.settings)
        found = await find_wallet_key(tx, Role.OPERATOR, proof.wallet) if allowed else None
        if allowed and found is None:
            label = f"wallet {proof.wallet}"
            secret = f"kp_{secrets.token_urlsafe(32)}"  # of which nobody is told
            await create_key(tx, Role.OPERATOR, subject_wallet=proof.wallet, label=label, key=secret)
            found = await find_wallet_key(tx, Role.OPERATOR, proof.wallet)
    require_listed(ctx.settings, proof.wallet)
    assert found is not None
    log.info("operator_signed_in", wallet=proof.wallet, key=str(found.key_id))
    return found
