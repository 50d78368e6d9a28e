from __future__ import annotations

from typing import Any

from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params
from kalepool.devnet.settings import PROTOCOL_VERSION


def get_network(node: Node, params: Params) -> dict[str, Any]:
    """The passphrase, the protocol, and where friendbot is."""
    return {
        "friendbotUrl": node.friendbot_url,
        "passphrase": node.ledger.passphrase,
        "protocolVersion": PROTOCOL_VERSION,
    }
