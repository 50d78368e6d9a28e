"""The Stellar asset contract's own errors (soroban-env-host, contract_error.rs)."""

from __future__ import annotations

from kalepool.devnet.soroban.host import Error

NOT_SUPPORTED: Error = (0, 2)
ACCOUNT_MISSING: Error = (0, 6)
NEGATIVE_AMOUNT: Error = (0, 8)
ALLOWANCE: Error = (0, 9)
BALANCE: Error = (0, 10)
DEAUTHORIZED: Error = (0, 11)
OVERFLOW: Error = (0, 12)
TRUSTLINE_MISSING: Error = (0, 13)
LOW_RESERVE: Error = (0, 14)
TOO_MANY_SUBENTRIES: Error = (0, 15)
