"""Sponsorships: within a transaction one account pays the reserves of what another adds.

BeginSponsoringFutureReservesOpFrame.cpp, EndSponsoringFutureReservesOpFrame.cpp, SponsorshipUtils.cpp. What is begun
has to be ended by who is sponsored, or nothing of the transaction holds. Signers are not sponsored here, and no
sponsorship is revoked: it ends with its entry.
"""

from __future__ import annotations

from typing import Any

from stellar_sdk import xdr

from kalepool.devnet.ledger.account_ids import account_key
from kalepool.devnet.ledger.classic.operation_context import OperationContext

Begin = xdr.BeginSponsoringFutureReservesResultCode
End = xdr.EndSponsoringFutureReservesResultCode


def check_begin(op: xdr.BeginSponsoringFutureReservesOp, source: bytes) -> int:
    is_oneself = account_key(op.sponsored_id) == source
    return Begin.BEGIN_SPONSORING_FUTURE_RESERVES_MALFORMED if is_oneself else 0


def begin_sponsoring(context: OperationContext, op: xdr.BeginSponsoringFutureReservesOp) -> int:
    sponsored, running = account_key(op.sponsored_id), context.sponsorships
    if sponsored in running:
        return Begin.BEGIN_SPONSORING_FUTURE_RESERVES_ALREADY_SPONSORED
    if context.source in running or sponsored in running.values():
        return Begin.BEGIN_SPONSORING_FUTURE_RESERVES_RECURSIVE
    running[sponsored] = context.source
    return 0


def check_end(_: Any, source: bytes) -> int:
    return 0


def end_sponsoring(context: OperationContext, _: Any) -> int:
    if context.sponsorships.pop(context.source, None) is None:
        return End.END_SPONSORING_FUTURE_RESERVES_NOT_SPONSORED
    return 0
