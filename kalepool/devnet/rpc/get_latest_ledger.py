from __future__ import annotations

from base64 import b64encode
from typing import Any

from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params


def get_latest_ledger(node: Node, params: Params) -> dict[str, Any]:
    """The last closed ledger, with its header and meta as XDR."""
    header = node.told().header
    return {
        "id": header.hash.hex(),
        "protocolVersion": header.version,
        "sequence": header.sequence,
        "closeTime": str(header.close_time),
        "headerXdr": b64encode(header.pack()).decode(),
        "metadataXdr": node.told_close_meta(),
    }
