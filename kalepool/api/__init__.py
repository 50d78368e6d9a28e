"""The REST API and custody process. One file per audience:

public.py      health, info, blocks
pooler.py      register farmers, plant, work, harvest
miner.py       register miners, jobs, shares, credits
auth.py        keys, roles, Principal        limits.py    rates, sizes, times
problems.py    errors                        models.py, paging.py    shared types, lists
app.py         create_app                    server.py    serve
"""

from __future__ import annotations

from kalepool.api.app import create_app
from kalepool.api.server import serve

__all__ = ["create_app", "serve"]
