"""Whether a miner's wallet can be paid, by what the ledger says of it, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from kalepool.chain import Destination, Payee
from kalepool.custody import Custody
from kalepool.errors import ConflictError
from kalepool.services.context import Context
from kalepool.services.mining import payout_wallets

RETRY_SECONDS = 3600.0
"""When a miner that could not be paid is looked at again."""

NO_LINE = frozenset({"payee-account-missing", "payee-trustline-missing"})
"""What keeps a miner from being paid, and nothing from being put down for it to claim."""


class PayeeError(ConflictError):
    """The miner's wallet cannot be paid. `reason` says why."""

    code = "payee-refused"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class MinerDue:
    """What a miner is due, with where it goes, and what seals that. `since`: the oldest of it was earned. `claimable`:
    it wants it put down where the wallet cannot be paid. `lying`: something is put down already."""

    miner_id: UUID
    due_stroops: int
    payout_wallet: str | None
    payout_memo: str | None
    payout_threshold_stroops: int | None
    since: datetime | None
    claimable: bool
    lying: bool
    next_wallet: str | None
    next_memo: str | None
    next_wallet_at: datetime | None
    payout_seal: bytes | None

    @property
    def destination(self) -> Destination | None:
        return Destination(self.payout_wallet, self.payout_memo) if self.payout_wallet is not None else None


def refusal(to: Destination | None, payee: Payee | None, stroops: int) -> PayeeError | None:
    """Why so much cannot be paid there; None: it can. Pure."""
    if to is None:
        return PayeeError("payout-wallet-missing", "no payout wallet is set: PATCH /miner/me")
    name = to.address
    if payee is None or not payee.exists:
        reason = "payee-contract-missing" if to.is_contract else "payee-account-missing"
        return PayeeError(reason, f"{name} is not on the ledger")
    if not payee.trusts:
        return PayeeError("payee-trustline-missing", f"{name} has no KALE trustline: add it")
    if not payee.authorised:
        return PayeeError("payee-not-authorised", f"the trustline of {name} is not authorised by KALE's issuer")
    if payee.room_stroops < stroops:
        return PayeeError("payee-line-full", f"the trustline of {name} has room for {payee.room_stroops} stroops more")
    if payee.memo_required and not to.tells_whose:
        return PayeeError(
            "payee-memo-required", f"{name} takes nothing without a memo (SEP-29): set one, or an M… address"
        )
    return None


def too_little(to: Destination | None, stroops: int, least_stroops: int) -> PayeeError | None:
    """Why so much is not worth the call of a contract, which costs the pool many times a payment's fee; None: it is.
    Pure."""
    if to is None or not to.is_contract or stroops >= least_stroops:
        return None
    return PayeeError("contract-too-little", f"less than {least_stroops} stroops are not paid to a contract")


def unsealed(custody: Custody, row: payout_wallets.Wallets) -> PayeeError | None:
    """Why nothing is paid to wallets that the pool did not write; None: it did. Pure."""
    if row["payout_wallet"] is None or payout_wallets.is_sealed(custody, row):
        return None
    error = payout_wallets.changed(row["miner_id"])
    return PayeeError(error.code, str(error))


def lies_down(to: Destination, error: PayeeError, due: MinerDue, least_stroops: int) -> PayeeError | None:
    """Why what cannot be paid there is not put down for it either; None: it is. Pure.

    Only for a plain account, whose owner can claim; and one at a time, for each locks XLM of the pool's.
    """
    if error.reason not in NO_LINE or not due.claimable or to.account is None or to.tells_whose:
        return error
    if due.lying:
        return PayeeError("claimable-unclaimed", f"{to.address} has to claim what is put down for it first")
    if due.due_stroops < least_stroops:
        return PayeeError("claimable-too-little", f"{error}; and less than {least_stroops} stroops are not put down")
    return None


async def read_payees(ctx: Context, destinations: Sequence[Destination | None]) -> dict[str, Payee]:
    """By who is credited: G… accounts, C… contracts. Raises ChainError."""
    credited = {to.credited for to in destinations if to is not None}
    return await ctx.chain.read_payees(sorted(credited))


def payee_of(payees: dict[str, Payee], to: Destination | None) -> Payee | None:
    return payees.get(to.credited) if to is not None else None


def noted(miner_id: UUID, error: PayeeError | None) -> dict[str, Any]:
    """What `note_payee` takes."""
    code, message = (error.reason, str(error)) if error is not None else (None, None)
    return {"miner_id": miner_id, "code": code, "message": message, "retry_seconds": RETRY_SECONDS}
