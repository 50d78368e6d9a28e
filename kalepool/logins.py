"""Who logs in to PostgreSQL: a role for each kind of process, which may do what that needs. See sql/roles.sql."""

from __future__ import annotations

from enum import StrEnum


class Login(StrEnum):
    """SERVER: the superuser, of the embedded server alone. MIGRATE: owns the tables, changes what the others may not.

    API: reads and writes all but past events and payout wallets. COORDINATOR: what it records; no secret, no key.
    """

    SERVER = "postgres"
    MIGRATE = "kalepool_migrate"
    API = "kalepool_api"
    COORDINATOR = "kalepool_coordinator"
