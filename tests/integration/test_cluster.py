"""Several nodes on this machine: joining, work that goes elsewhere, nodes that die and come."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import zgen
from tests.integration.gates import LATE_S
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen import cli
from zgen.exceptions import (
    ActorDiedError,
    HandshakeError,
    NodeDiedError,
    WrongKeyError,
)
from zgen.io import keys
from zgen.runtime import process
from zgen.testing import Cluster, leaks
from zgen.wire.value import Stored

#: What a mistaken program is told, it is told within this time.
TOLD_WITHIN_S = 3.0


@pytest.fixture(scope="module")
def cluster(own_runtime_folder: Path) -> Iterator[Cluster]:
    """Run two nodes and a driver that joined by the first; nothing of them may be left."""
    before = leaks.Snapshot.take()
    with Cluster() as nodes:
        nodes.add_node(num_cpus=1)
        nodes.add_node(num_cpus=1, resources={"far": 4}, labels={"zone": "east"})
        zgen.init(address=nodes.address, key=nodes.key)
        yield nodes
        zgen.shutdown()
    left = leaks.left_behind(before)
    if left:
        leaks.end_processes(before)
        pytest.fail(leaks.told(left), pytrace=False)


@pytest.fixture(autouse=True)
def shared_node(cluster: Cluster) -> None:
    """Have each test look for leaks when the cluster is gone."""


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=20)


@zgen.remote
def where(after_s: float = 0.0) -> str:
    time.sleep(after_s)
    return zgen.get_runtime_context().get_node_id()


@zgen.remote
def count(n: int, pause_s: float = 0.0) -> Iterator[tuple[int, str]]:
    for i in range(n):
        yield i, zgen.get_runtime_context().get_node_id()
        time.sleep(pause_s)


@zgen.remote
class Counter(RemoteClass):
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> tuple[int, str]:
        self.count += 1
        return self.count, zgen.get_runtime_context().get_node_id()


def test_the_driver_knows_every_node_and_has_none_of_their_cpus(cluster: Cluster) -> None:
    mine, *others = zgen.nodes()
    assert mine["Resources"] == {}
    assert sorted(each["NodeID"] for each in others) == sorted(n.node_id for n in cluster.nodes)
    assert zgen.cluster_resources() == {"CPU": 2.0, "far": 4.0}
    assert {"zone": "east"} in [each["Labels"] for each in others]


def test_the_command_line_lists_the_nodes(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["list", "nodes", "--json"]) == 0
    listed = {node["node"] for node in json.loads(capsys.readouterr().out)}
    assert listed == {node["NodeID"] for node in zgen.nodes()}
    at_far = count.options(resources={"far": 1}).remote(100, 0.1)
    assert get(next(at_far))[0] == 0
    far = cluster.nodes[1].node_id
    assert cli.main(["list", "workers", "--json"]) == 0
    workers = json.loads(capsys.readouterr().out)
    assert workers["silent"] == []
    ours = [row for row in workers["rows"] if row["works_on"] == "count"]
    assert [row["node_id"] for row in ours] == [far]
    (task,) = [row for row in zgen.state.list_tasks() if row.name == "count"]
    mine = zgen.nodes()[0]["NodeID"]
    assert (task.worker_pid, task.node_id) == (ours[0]["pid"], mine)
    zgen.cancel(at_far)
    assert cli.main(["status"]) == 0
    assert capsys.readouterr().out.startswith("3 nodes\n")


def test_what_is_no_node_or_no_label_is_refused(cluster: Cluster) -> None:
    nodes: Any = cluster
    for refused in (nodes.remove_node, nodes.pause_node, nodes.resume_node):
        with pytest.raises(ValueError, match="'one' is not of this cluster"):
            refused("one")
    with pytest.raises(TypeError, match="labels and their values are strings, got 1"):
        nodes.add_node(labels={"zone": 1})
    with pytest.raises(TypeError, match="timeout must be seconds"):
        nodes.wait_for_nodes("soon")
    gone = Cluster()
    gone.shutdown()
    with pytest.raises(RuntimeError, match="was shut down"):
        gone.add_node()
    assert len(cluster.nodes) == 2


def test_tasks_spread_over_both_nodes(cluster: Cluster) -> None:
    spread = where.options(scheduling_strategy="SPREAD")
    assert sorted(set(get([spread.remote(0.2) for _ in range(4)]))) == sorted(
        node.node_id for node in cluster.nodes
    )


def test_tasks_streams_and_actors_run_where_a_resource_is(cluster: Cluster) -> None:
    far = cluster.nodes[1].node_id
    assert get(where.options(resources={"far": 1}).remote()) == far
    assert get(where.options(label_selector={"zone": "east"}).remote()) == far
    items = count.options(resources={"far": 1}).remote(200)
    assert [get(ref) for ref in items] == [(i, far) for i in range(200)]
    counter = Counter.options(resources={"far": 1}, num_cpus=0).remote()
    assert get([counter.add.remote() for _ in range(3)]) == [(1, far), (2, far), (3, far)]


def test_large_values_are_read_wherever_they_were_written(cluster: Cluster) -> None:
    there = {"resources": {"far": 1}}
    made = zgen.remote(**there)(lambda: np.arange(1 << 20)).remote()
    assert get(made).sum() == np.arange(1 << 20).sum()
    mine = zgen.put(np.ones(3 << 20))
    total = zgen.remote(**there)(lambda x: float(x.sum()))
    assert get([total.remote(mine), total.remote(mine)]) == [3 << 20, 3 << 20]

    @zgen.remote(**there)
    def rows() -> Iterator[Any]:
        for i in range(5):
            yield np.full(1 << 17, i)

    assert [get(ref)[0] for ref in rows.remote()] == [0, 1, 2, 3, 4]
    assert get(total.remote(made)) == np.arange(1 << 20).sum()


def is_held(value: Any) -> bool:
    """Return whether this process can read a value without asking anybody."""
    assert type(value) is Stored
    return process.require().machine.store.regions.is_held(value)


@zgen.remote(resources={"far": 1})
def large(i: int) -> Any:
    return np.full(1 << 18, i)


@zgen.remote
def poll(nested: list[zgen.ObjectRef[Any]]) -> int:
    looks = 1
    while zgen.wait(nested, timeout=0)[1]:
        time.sleep(0.01)
        looks += 1
    assert zgen.get(nested[0], timeout=20)[0] == 0
    return looks


def test_wait_brings_what_lies_elsewhere_unless_it_is_told_otherwise(cluster: Cluster) -> None:
    refs = [large.remote(i) for i in range(3)]
    assert zgen.wait(refs, num_returns=3, timeout=20, fetch_local=False) == (refs, [])
    assert [is_held(ref.record.value) for ref in refs] == [False] * 3
    ready, waiting = zgen.wait(refs, timeout=20)
    assert is_held(ready[0].record.value)
    wait_until(lambda: all(is_held(ref.record.value) for ref in waiting), LATE_S, "all have come")
    later = large.remote(7)
    assert zgen.wait([*refs, later], num_returns=4, timeout=20) == ([*refs, later], [])
    assert is_held(later.record.value)
    assert get(poll.options(label_selector={"zone": "!east"}).remote([refs[0]])) > 1


def test_wait_brings_the_next_item_of_a_generator_and_takes_nothing(cluster: Cluster) -> None:
    @zgen.remote(resources={"far": 1})
    def several() -> Iterator[Any]:
        for i in range(3):
            yield np.full(1 << 18, i)

    stream = several.remote()
    for i in range(3):
        assert zgen.wait([stream], timeout=20) == ([stream], [])
        ref = next(stream)
        assert is_held(ref.record.value)
        assert zgen.get(ref, timeout=0)[0] == i
    assert zgen.wait([stream], timeout=20) == ([stream], [])
    assert list(stream) == []


def test_the_doctor_reaches_a_node_with_its_key_and_names_what_is_wrong(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["doctor", "--json", "--address", cluster.address, "--key"]
    assert cli.main([*asked, cluster.key]) == 0
    assert json.loads(capsys.readouterr().out)["checks"][-1]["verdict"] == "ok"
    keys.generate().write(str(tmp_path / "key"))
    assert cli.main([*asked, str(tmp_path / "key")]) == 1
    assert "key" in json.loads(capsys.readouterr().out)["checks"][-1]["found"]


def test_another_key_and_a_wrong_port_are_named_at_once(cluster: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "key"
    keys.generate().write(str(other))
    from zgen.io.joining import opening_to_join

    for says, kind, place, key in (
        ("another key", WrongKeyError, cluster.address, str(other)),
        ("has none", WrongKeyError, cluster.address, None),
        ("nothing listens", HandshakeError, "tcp://127.0.0.1:1", cluster.key),
    ):
        began = time.monotonic()
        with pytest.raises(kind, match=says):
            opening_to_join(place, key)
        assert time.monotonic() - began < TOLD_WITHIN_S + LATE_S


def test_work_that_nobody_can_do_starts_when_a_node_that_can_joins_and_ends_with_it(
    cluster: Cluster,
) -> None:
    """One node comes and is killed: what runs only there fails, what may run elsewhere goes on."""
    rare = where.options(resources={"rare": 1}).remote()
    assert zgen.wait([rare], timeout=0.1) == ([], [rare])
    node = cluster.add_node(num_cpus=1, resources={"rare": 2})
    assert get(rare) == node.node_id

    there: Any = {"resources": {"rare": 0.5}, "num_cpus": 0}
    counter = Counter.options(**there).remote()
    assert get(counter.add.remote()) == (1, node.node_id)
    only_there = count.options(**there, max_retries=0).remote(10_000, 0.01)
    first, first_at = get(next(only_there))
    assert (first, first_at) == (0, node.node_id)
    soft = zgen.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.node_id, soft=True)
    anywhere = count.options(scheduling_strategy=soft, max_retries=3).remote(50, 0.01)
    assert get(next(anywhere)) == (0, node.node_id)

    began = time.monotonic()
    cluster.remove_node(node)
    with pytest.raises(NodeDiedError, match="its node is gone"):
        get(list(only_there))
    with pytest.raises(ActorDiedError):
        get(counter.add.remote())
    # The profile bounds the death of the silent; a port that refuses tells sooner.
    assert time.monotonic() - began < 2.0 + LATE_S
    rest = [get(ref) for ref in anywhere]
    assert [i for i, _ in rest] == list(range(1, 50))
    assert rest[-1][1] != node.node_id
    wait_until(lambda: len(zgen.nodes()) == 3, 5, "nobody lists the dead")


def test_a_drained_node_ends_its_work_and_leaves_and_what_follows_runs_elsewhere(
    own_runtime_folder: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    node = cluster.add_node(num_cpus=2, resources={"drained": 1})
    items = count.options(resources={"drained": 1}).remote(6, 0.1)
    assert get(next(items)) == (0, node.node_id)
    name = node.node_id
    status: list[int] = []
    told = Thread(
        target=lambda: status.append(
            cli.main(["node", "drain", "--address", node.folder, "--deadline", "30", "--json"])
        )
    )
    told.start()
    seen = {get(ref)[1] for ref in items}  # it goes on to its end
    spread = where.options(scheduling_strategy="SPREAD")
    after = set(get([spread.remote() for _ in range(6)]))
    told.join(20)
    cluster.remove_node(node, allow_graceful=True)  # nothing but its exit status is left
    assert (status, seen, name in after) == ([0], {name}, False)
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["node"], row["drained"], os.path.exists(node.folder)) == (name, True, False)
    wait_until(lambda: len(zgen.nodes()) == 3, 5, "who left is listed no more")


@pytest.mark.slow
def test_the_node_of_this_program_knows_a_node_when_it_has_been_added(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [row["NodeID"] for row in zgen.nodes()]
    looks = 0

    def late() -> list[dict[str, Any]]:
        nonlocal looks
        looks += 1
        return [row for row in zgen.nodes() if looks > 3 or row["NodeID"] in known]

    monkeypatch.setattr("zgen.testing.cluster.nodes", late)
    added = cluster.add_node(num_cpus=0)
    assert looks > 3
    assert added.node_id in [row["NodeID"] for row in zgen.nodes()]
    cluster.remove_node(added)


def test_a_node_that_slept_comes_back_as_another_and_the_first_one_may_go(
    own_runtime_folder: Path,
) -> None:
    with Cluster() as nodes:
        first = nodes.add_node()
        second = nodes.add_node()
        nodes.wait_for_nodes()
        nodes.pause_node(second)
        slept = second.node_id
        nodes.nodes.remove(second)
        nodes.wait_for_nodes()  # it is dead to the other one
        nodes.nodes.append(second)
        nodes.resume_node(second)
        wait_until(lambda: second.node_id != slept, 20, "it comes back under another id")
        nodes.wait_for_nodes()
        nodes.remove_node(first)
        third = nodes.add_node()  # by the second door
        nodes.wait_for_nodes()
        assert [node.node_id for node in nodes.nodes] == [second.node_id, third.node_id]
        assert not os.path.exists(first.folder)
