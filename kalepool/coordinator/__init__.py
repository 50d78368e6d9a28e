"""The coordinator of one pooler: reads chain and database, lets the policy decide, acts through API and cluster.

planner.py        plans each block before it is planted: how many, with what stake
process.py        the process: opens everything, runs the loops, ends on SIGINT and SIGTERM
leadership.py     which of a pooler's coordinators leads: stands by, renews its lease, knows when it is over
state.py          all it knows, in memory; gives the policy its snapshot and the workers their job
watch.py          follows the chain, ledger by ledger
acting.py         carries out what the policy decided
pool_api.py       the client of the pool's own API that this goes through
finds.py          hashes workers' finds again and records them
workers_table.py  writes its workers and their hashrates to the database
metrics.py        its figures for Prometheus
"""

from __future__ import annotations

from kalepool.config import Settings


def run(settings: Settings) -> None:
    """Coordinate until SIGINT or SIGTERM. Raises KalepoolError where it cannot start."""
    from kalepool.coordinator.process import main  # with all it needs, which `kalepool --help` does not

    main(settings)
