from __future__ import annotations

from importlib.metadata import version
from typing import Any

from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params
from kalepool.devnet.settings import PROTOCOL_VERSION

_VERSION = f"kalepool-devnet {version('kalepool')}"


def get_version_info(node: Node, params: Params) -> dict[str, Any]:
    """What runs here: this package stands for both the RPC server and the core."""
    return {
        "version": _VERSION,
        "commitHash": "",
        "buildTimestamp": "",
        "captiveCoreVersion": _VERSION,
        "protocolVersion": PROTOCOL_VERSION,
    }
