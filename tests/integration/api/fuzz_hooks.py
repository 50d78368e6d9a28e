"""What schemathesis cannot know by itself: the formats of our strings, whose key an operation takes, and what exists.

FUZZ_KEYS and FUZZ_IDS are JSON: a key by the operation's tag (or its label), and ids by the parameter's name.
"""

from __future__ import annotations

import json
import os
import random
from uuid import UUID

import schemathesis
from hypothesis import strategies as st
from stellar_sdk import StrKey

ACCOUNTS = [
    "GBDVX4VELCDSQ54KQJYTNHXAHFLBCA77ZY2USQBM4CSHTTV7DME7KALE",
    "GCHPTWXMT3HYF4RLZHWBNRF4MPXLTJ76ISHMSYIWCCDXWUYOQG5MR2AB",
    "GB4DUS2LV6BFK2COCY6H6C5XIKX452SIWSLPISSOK6EYG3HPXXCGBAPF",
]
CONTRACTS = [StrKey.encode_contract(bytes([number] * 32)) for number in range(3)]
KEYS = json.loads(os.environ.get("FUZZ_KEYS", "{}"))
IDS = json.loads(os.environ.get("FUZZ_IDS", "{}"))
EXISTING = 0.7
"""How often what exists is named."""

chance = random.Random(1)

schemathesis.openapi.format("stellar-account", st.sampled_from(ACCOUNTS))
schemathesis.openapi.format("stellar-address", st.sampled_from(ACCOUNTS))
schemathesis.openapi.format("stellar-contract", st.sampled_from(CONTRACTS))
schemathesis.openapi.format("webhook-address", st.just("https://receiver.example/kale"))
schemathesis.openapi.format("uint64", st.integers(0, 2**64 - 1).map(str))


@schemathesis.auth(refresh_interval=None)
class RoleKeys:
    """The key of who may do it."""

    def get(self, case, context):
        return ""

    def set(self, case, data, context) -> None:
        operation = case.operation
        key = KEYS.get(operation.label) or KEYS[operation.tags[0]]
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {key}"}


@schemathesis.hook
def before_call(context, case, kwargs) -> None:
    """Names what exists, most of the time; and waits for no job."""
    for values in (case.path_parameters, case.query, case.body):
        if not isinstance(values, dict):
            continue
        for name, existing in IDS.items():
            if _is_id(values.get(name)) and chance.random() < EXISTING:
                values[name] = existing
    if case.operation.path == "/miner/job" and _is_number(case.query.get("wait")):
        case.query["wait"] = min(float(case.query["wait"]), 0.01)


def _is_id(value) -> bool:
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False


def _is_number(value) -> bool:
    try:
        return float(value) >= 0
    except (TypeError, ValueError):
        return False
