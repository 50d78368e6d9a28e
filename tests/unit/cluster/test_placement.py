"""Which workers the nodes of a cluster get, from what Ray says of them."""

from __future__ import annotations

from typing import Any

from kalepool.cluster.placement import WorkerPlace, places_on, resources_for


def node(name: str, *, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "NodeID": name * 8, "NodeManagerHostname": f"host-{name}", "Resources": resources}


def test_a_worker_for_all_cores_and_one_for_each_card() -> None:
    assert places_on([node("a", CPU=16.0, GPU=2.0)]) == [
        WorkerPlace("aaaaaaaa", "host-a/aaaaaa", "cpu", 0, 14),
        WorkerPlace("aaaaaaaa", "host-a/aaaaaa", "cuda", 0, 1),
        WorkerPlace("aaaaaaaa", "host-a/aaaaaa", "cuda", 1, 1),
    ]


def test_a_card_gets_a_core_to_be_kept_busy_by_and_the_cores_search_too() -> None:
    for cores, cards, threads in ((8.0, 1.0, 7), (8.0, 0.0, 8), (2.0, 2.0, 1), (1.0, 4.0, 1)):
        first, *others = places_on([node("a", CPU=cores, GPU=cards)])
        assert (first.kind, first.threads) == ("cpu", threads)
        assert [place.kind for place in others] == ["cuda"] * int(cards)
    assert [place.kind for place in places_on([node("a", GPU=1.0)])] == ["cuda"], "a node that offers no cores"


def test_dead_nodes_and_a_head_that_is_kept_free_get_none() -> None:
    assert places_on([node("a", alive=False, CPU=4.0), node("b"), node("c", CPU=0.0)]) == []


def test_a_worker_takes_the_whole_node_or_one_card() -> None:
    cores, card = places_on([node("a", CPU=8.0, GPU=1.0)])
    assert resources_for(cores) == {"num_cpus": 7, "num_gpus": 0}
    assert resources_for(card) == {"num_cpus": 0, "num_gpus": 1}


def test_what_a_node_says_of_itself_is_bounded() -> None:
    """One that was changed must not fill the coordinator's memory, or write to its operator's terminal."""
    boasting = {**node("a", CPU=1e12, GPU=1e12), "NodeManagerHostname": "\x1b[2J" + "x" * 1000}
    places = places_on([boasting])
    assert len(places) == 65 and places[0].threads == 4096 - 64
    assert places[0].host == "??2J" + "x" * 60 + "/aaaaaa"
