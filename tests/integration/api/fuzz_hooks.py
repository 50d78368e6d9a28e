"""What schemathesis cannot know by itself: the formats of our strings, and a pooler that exists."""

import os
import random

import schemathesis
from hypothesis import strategies as st
from stellar_sdk import Keypair

schemathesis.openapi.format(
    "stellar-account",
    st.binary(min_size=32, max_size=32).map(lambda seed: Keypair.from_raw_ed25519_seed(seed).public_key),
)
schemathesis.openapi.format("uint64", st.integers(0, 2**64 - 1).map(str))


@schemathesis.hook
def before_call(context, case, kwargs) -> None:
    """Names the pooler that exists, most of the time."""
    if isinstance(case.body, dict) and isinstance(case.body.get("pooler_id"), str) and random.random() < 0.7:
        case.body["pooler_id"] = os.environ["FUZZ_POOLER"]
