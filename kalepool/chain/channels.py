"""Channel accounts: the pool's own, each carrying one work or harvest transaction at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kalepool.chain.records import Signer
from kalepool.chain.submitting import Submitter


class Channels:
    """Lends channel accounts, longest unused first, and takes each back when its transaction's outcome is known.

    The network takes one pending transaction per source account, so `len(channels)` is how many can be in flight.
    """

    def __init__(self, chain: Submitter, signers: Sequence[Signer] = ()) -> None:
        self._chain = chain
        self._addresses: set[str] = set()
        self._free: asyncio.Queue[Signer] = asyncio.Queue()
        for signer in signers:
            self.add(signer)

    def __len__(self) -> int:
        return len(self._addresses)

    def add(self, signer: Signer) -> None:
        """Make a channel account available from now on. One that is here already stays as it is."""
        if signer.public_key not in self._addresses:
            self._addresses.add(signer.public_key)
            self._free.put_nowait(signer)

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[Signer]:
        """A channel account of one's own for the time of the block. Waits while all are lent.

        One that was given back with a transaction that may still apply (cancelled, or of unknown outcome) is lent again
        only after that transaction's time bound.
        """
        signer = await self._free.get()
        try:
            await self._chain.settle(signer.public_key)
            yield signer
        finally:
            self._free.put_nowait(signer)
