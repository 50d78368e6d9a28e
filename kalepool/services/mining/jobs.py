"""Job ids that say what the job is, and cannot be forged: jobs need no storage and still hold after a restart."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

from kalepool.policy.ranges import NonceRange, job_range

_FORM = struct.Struct(">I16sQQQ")
_CODE_SIZE = 16
_SOLO = 1 << 63
"""A bit beside the searcher, whose numbers are small."""
ID_LENGTH = (_FORM.size + _CODE_SIZE) * 4 // 3


@dataclass(frozen=True, slots=True)
class JobTerms:
    """What a job id stands for. Its entropy and wallet follow from block and farmer.

    searcher: the rig it was given to. serial: the job's own, and no other's ever: it names the job's nonces. So a nonce
    says which job it was tried for; were they a rig's, each hash could be handed in under the hardest job it meets.
    solo: its shares count for the farmer alone.
    """

    block_index: int
    farmer_id: UUID
    searcher: int
    serial: int
    difficulty: int
    solo: bool = False

    @property
    def nonces(self) -> NonceRange:
        return job_range(self.serial)


class JobIds:
    """Makes and reads job ids under a key of 32 bytes. Equal terms give an equal id."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, terms: JobTerms) -> str:
        searcher = terms.searcher | (_SOLO if terms.solo else 0)
        data = _FORM.pack(terms.block_index, terms.farmer_id.bytes, searcher, terms.serial, terms.difficulty)
        return base64.urlsafe_b64encode(data + self._code(data)).decode()

    def read(self, job_id: str) -> JobTerms | None:
        """The terms of an id that we issued; None for anything else."""
        if len(job_id) != ID_LENGTH:
            return None
        try:
            raw = base64.b64decode(job_id.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return None
        data, code = raw[: _FORM.size], raw[_FORM.size :]
        if not hmac.compare_digest(code, self._code(data)):
            return None
        index, farmer_id, searcher, serial, difficulty = _FORM.unpack(data)
        solo = bool(searcher & _SOLO)
        return JobTerms(index, UUID(bytes=farmer_id), searcher & ~_SOLO, serial, difficulty, solo)

    def _code(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key, digest_size=_CODE_SIZE).digest()
