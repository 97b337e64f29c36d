"""What `zgen status` shows of a cluster."""

from __future__ import annotations

from typing import Any

from zgen.overview import nodes_text, overview, overview_text


def node(name: str, free: str, **more: Any) -> dict[str, Any]:
    said = {"node": name * 8, "endpoint": f"ipc://{name}", "tcp": f"tcp://{name}", "labels": {}}
    return {**said, "total": {"CPU": "4"}, "free": {"CPU": free}, "queued": 0, **more}


def test_what_a_node_says_of_itself_counts_and_what_waits_is_shown() -> None:
    lease = {"what": "work()", "waits_for": "needs num_gpus=1"}
    states: list[dict[str, Any]] = [
        {"node": "a" * 8, "nodes": [node("a", "1.5"), node("b", "4")], "leases": [lease]},
        {"node": "b" * 8, "nodes": [node("b", "2"), node("a", "4")], "leases": []},
    ]
    found = overview(states)
    assert (found["total"], found["free"]) == ({"CPU": 8}, {"CPU": 3.5})
    assert overview_text(found).splitlines() == [
        "2 nodes",
        "aaaaaaaa  tcp://a  1.5 of 4 CPU free",
        "bbbbbbbb  tcp://b  2 of 4 CPU free",
        "together  3.5 of 8 CPU free",
        "waiting   work(): needs num_gpus=1",
    ]


def test_what_drains_and_who_is_silent_is_told() -> None:
    drains = {"waits_for": "1 programs", "left_ms": 5}
    state = {"node": "a" * 8, "nodes": [node("a", "4", draining=True)], "leases": []}
    found = overview([{**state, "draining": drains}], {"b" * 32: "it is gone"})
    assert overview_text(found).splitlines() == [
        "1 node",
        "aaaaaaaa  tcp://a  4 of 4 CPU free  draining",
        "together  4 of 4 CPU free",
        "silent    node bbbbbbbb: it is gone",
        "draining  node aaaaaaaa waits for 1 programs",
    ]
    assert (found["nodes"][0]["workers"], found["nodes"][0]["leases"]) == (0, 0)


def test_a_node_without_anything_is_a_drivers_and_labels_are_told() -> None:
    bare = {**node("c", "0", tcp=""), "total": {}, "free": {}}
    east = node("d", "4", labels={"zone": "east"}, queued=3)
    assert nodes_text([bare, east]).splitlines() == [
        "cccccccc  ipc://c  no resources, as of a driver",
        "dddddddd  tcp://d  4 of 4 CPU free  3 waiting  zone=east",
    ]
