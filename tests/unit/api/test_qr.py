"""A QR code says what it should, and a payment's link what SEP-7 asks for."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import segno

from kalepool.api.qr import BORDER, payment_link, qr_code
from kalepool.networks import DEVNET

ADDRESS = "GCHPTWXMT3HYF4RLZHWBNRF4MPXLTJ76ISHMSYIWCCDXWUYOQG5MR2AB"


def test_the_path_draws_each_dark_module_and_no_other() -> None:
    code = qr_code(ADDRESS)
    drawn = set()
    for x, y, run in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", code.path):
        drawn |= {(int(x) + step, int(y)) for step in range(int(run))}
    matrix = segno.make(ADDRESS, error="m", micro=False).matrix
    dark = {(x + BORDER, y + BORDER) for y, row in enumerate(matrix) for x, module in enumerate(row) if module}
    assert drawn == dark and code.size == len(matrix) + 2 * BORDER


def test_a_payments_link() -> None:
    link = urlsplit(payment_link(DEVNET, ADDRESS, "KALE", 125_000_000))
    asked = {name: values[0] for name, values in parse_qs(link.query).items()}
    assert (link.scheme, link.path) == ("web+stellar", "pay")
    assert asked == {
        "destination": ADDRESS,
        "amount": "12.5",
        "asset_code": DEVNET.asset_code,
        "asset_issuer": DEVNET.asset_issuer,
        "network_passphrase": DEVNET.passphrase,
    }
    assert "asset_code" not in payment_link(DEVNET, ADDRESS, "XLM", 1)
