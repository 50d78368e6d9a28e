"""Server-sent events that are compressed once for everybody who listens."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Of a stream that is compressed (RFC 1952), without a name or a time. Such a stream has no end."""


@dataclass
class Message:
    """One message, and as a part of any compressed stream: it begins and ends at a byte, and refers to nothing before
    it (a full flush, RFC 1951), so what was made once fits into all of them."""

    whole: bytes

    @cached_property
    def squeezed(self) -> bytes:
        deflating = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        return deflating.compress(self.whole) + deflating.flush(zlib.Z_FULL_FLUSH)
