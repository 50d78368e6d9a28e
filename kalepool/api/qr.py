"""QR codes as SVG paths, and the links that wallets open (SEP-7)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import segno

from kalepool.networks import Network
from kalepool.units import amount

BORDER = 4
"""Empty modules around it, which readers need."""


@dataclass(frozen=True, slots=True)
class QrCode:
    """A square of `size` modules, its border among them; `path` draws the dark ones."""

    size: int
    path: str


def qr_code(text: str) -> QrCode:
    """With room for a seventh of it to be unreadable (level M)."""
    made = segno.make(text, error="m", micro=False)
    rows = list(made.matrix)
    path = []
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            run = next((end for end in range(x, len(row)) if not row[end]), len(row)) - x
            if run:
                path.append(f"M{x + BORDER} {y + BORDER}h{run}v1h-{run}z")
            x += max(run, 1)
    return QrCode(len(rows) + 2 * BORDER, "".join(path))


def payment_link(network: Network, destination: str, asset: str, stroops: int) -> str:
    """What a wallet opens to pay so much KALE or XLM there."""
    wanted = {"destination": destination, "amount": amount(stroops)}
    if asset == "KALE":
        wanted |= {"asset_code": network.asset_code, "asset_issuer": network.asset_issuer}
    return "web+stellar:pay?" + urlencode(wanted | {"network_passphrase": network.passphrase})
