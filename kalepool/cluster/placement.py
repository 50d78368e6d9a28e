"""Which workers a node of the Ray cluster gets: one for its cores, one for each card. Knows nothing of Ray."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# A node says of itself what it likes.
MOST_CORES = 4096
MOST_CARDS = 64
NAME_CHARACTERS = 64
UNUSUAL = re.compile(r"[^\w.-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Where a worker belongs: the cores of a node (kind "cpu", number 0) or one of its cards (kind "cuda")."""

    node_id: str
    host: str
    kind: str
    number: int
    threads: int


def places_on(nodes: Iterable[Mapping[str, Any]]) -> list[WorkerPlace]:
    """The places of all nodes that are alive, in the form of `ray.nodes()`. A node without CPUs has none for cores:
    so a head is kept free. Each card's thread needs some of a core to keep the card busy: one is left to it, where
    there are more."""
    places = []
    for node in nodes:
        if not node["Alive"]:
            continue
        resources, name = node["Resources"], UNUSUAL.sub("?", node["NodeManagerHostname"])[:NAME_CHARACTERS]
        host = f"{name}/{node['NodeID'][:6]}"
        cores, cards = min(int(resources.get("CPU", 0)), MOST_CORES), min(int(resources.get("GPU", 0)), MOST_CARDS)
        if cores:
            places.append(WorkerPlace(node["NodeID"], host, "cpu", 0, max(cores - cards, 1)))
        places.extend(WorkerPlace(node["NodeID"], host, "cuda", number, 1) for number in range(cards))
    return places


def resources_for(place: WorkerPlace) -> dict[str, int]:
    """What a worker there takes of its node's resources, by Ray's names for the options of an actor."""
    if place.kind == "cuda":
        return {"num_cpus": 0, "num_gpus": 1}  # Ray shows the worker this one card
    return {"num_cpus": place.threads, "num_gpus": 0}  # all it has: the node is ours, and not idle to the autoscaler
