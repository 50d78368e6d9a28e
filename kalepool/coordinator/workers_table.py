"""The coordinator's workers and their hashrates, written to the database for everybody to read."""

from __future__ import annotations

from uuid import UUID

from kalepool.cluster.members import Cluster
from kalepool.database import Database, new_id

WORKERS_PER_SECOND = 1000  # how many rows are refreshed a second at most


class WorkersTable:
    """Writes the table of workers. A worker's row is its own: another in the same place gets another."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[int, UUID] = {}  # by the first serial, which no other member ever has

    def pause_seconds(self, cluster: Cluster | None) -> float:
        """Between two writes: longer for a large cluster."""
        return max(2.0, len(cluster.members) / WORKERS_PER_SECOND if cluster else 0.0)

    async def write(self, cluster: Cluster | None) -> None:
        """All workers as they are, and those that are gone since."""
        members = list(cluster.members.values()) if cluster else []
        ids = {member.serials[0]: self._ids.get(member.serials[0]) or new_id() for member in members}
        gone = [worker_id for serial, worker_id in self._ids.items() if serial not in ids]
        async with self._database.transaction() as session:
            await session.execute(
                "upsert_workers",
                worker_ids=list(ids.values()),
                searchers=[member.serials[-1] for member in members],
                nodes=[member.place.host for member in members],
                kinds=[member.place.kind for member in members],
                backends=[member.hello.backend for member in members],
                threads=[member.hello.threads for member in members],
                versions=[member.hello.code_version for member in members],
                speeds=[member.hashes_per_second or 0.0 for member in members],
                hashes=[member.hashes for member in members],
                best_zeros=[member.best_zeros for member in members],
            )
            await session.execute("retire_workers", worker_ids=gone)
        self._ids = ids

    async def sample(self, cluster: Cluster | None) -> None:
        """One point of every worker's hashrate, for charts."""
        members = list(cluster.members.values()) if cluster else []
        await self._database.execute(
            "insert_hashrates",
            searchers=[member.serials[-1] for member in members],
            speeds=[member.hashes_per_second or 0.0 for member in members],
        )
