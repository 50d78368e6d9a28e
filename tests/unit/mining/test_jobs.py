"""Job ids hold what they say, and only if we issued them."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.ranges import COUNTERS, PREFIXES
from kalepool.services.mining.jobs import ID_LENGTH, JobIds, JobTerms

IDS = JobIds(b"k" * 32)
TERMS = st.builds(
    JobTerms,
    block_index=st.integers(0, 2**32 - 1),
    farmer_id=st.uuids(),
    searcher=st.integers(0, 2**63 - 1),
    serial=st.integers(0, 2**63),
    difficulty=st.integers(1, 2**60),
    solo=st.booleans(),
)


@given(TERMS)
def test_what_is_issued_is_read_and_the_same_terms_give_the_same_id(terms: JobTerms):
    job_id = IDS.issue(terms)
    assert len(job_id) == ID_LENGTH
    assert IDS.read(job_id) == terms
    assert IDS.issue(terms) == job_id


@given(TERMS, st.integers(0, ID_LENGTH - 1), st.characters())
def test_a_changed_id_is_nobodys(terms: JobTerms, position: int, character: str):
    job_id = IDS.issue(terms)
    changed = job_id[:position] + character + job_id[position + 1 :]
    assert IDS.read(changed) == (terms if changed == job_id else None)


@given(st.text(max_size=80))
def test_anything_else_is_nobodys(text: str):
    assert IDS.read(text) is None


@given(TERMS, TERMS, st.integers(0, COUNTERS - 1))
def test_a_nonce_counts_in_one_job_at_the_most(terms: JobTerms, other: JobTerms, counter: int):
    """Jobs of a block have serials from one sequence, and far fewer than there are prefixes."""
    nonce = terms.nonces.start + counter
    assert nonce in terms.nonces
    assert (nonce in other.nonces) == (terms.serial % PREFIXES == other.serial % PREFIXES)


def test_another_pools_id_is_not_ours():
    assert IDS.read(JobIds(b"x" * 32).issue(JobTerms(1, UUID(int=1), 1, 1, 4096))) is None
