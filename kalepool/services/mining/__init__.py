"""What external miners need: jobs, shares, credits. `Mining` is the live part, kept by the API process."""

from __future__ import annotations

from kalepool.services.mining.service import Mining

__all__ = ["Mining"]
