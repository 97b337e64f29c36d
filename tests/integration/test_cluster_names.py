"""Names of actors over several nodes: one owner in the whole cluster, found from everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen.exceptions import ActorExistsError
from zgen.testing import Cluster, leaks


@pytest.fixture(scope="module")
def cluster(own_runtime_folder: Path) -> Iterator[Cluster]:
    """Run two nodes and a driver that joined by the first; nothing of them may be left."""
    before = leaks.Snapshot.take()
    with Cluster() as nodes:
        nodes.add_node(num_cpus=1, resources={"near": 4})
        nodes.add_node(num_cpus=1, resources={"far": 4})
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
class Counter(RemoteClass):
    def __init__(self, number: int = 0) -> None:
        self.number = number

    def add(self) -> int:
        self.number += 1
        return self.number


@zgen.remote(num_cpus=0)
def call(name: str) -> int:
    return int(zgen.get(zgen.get_actor(name).add.remote()))


@zgen.remote(num_cpus=0)
def claim(name: str, number: int) -> str:
    actor = Counter.options(name=name).remote(number)  # ends with this task
    return str(actor._actor_id)


def is_free(name: str) -> bool:
    try:
        zgen.get_actor(name)
    except ValueError:
        return True
    return False


def test_an_actor_is_found_by_its_name_on_every_node() -> None:
    actor = Counter.options(name="everywhere").remote(4)
    places = [{"resources": {place: 1}} for place in ("near", "far")]
    assert [get(call.options(**place).remote("everywhere")) for place in places] == [5, 6]
    assert get(zgen.get_actor("everywhere").add.remote()) == 7
    assert get(actor.add.remote()) == 8


def test_a_name_has_one_actor_in_the_cluster_and_is_free_everywhere_when_that_is_dead() -> None:
    actor = Counter.options(name="one").remote()
    there = claim.options(resources={"far": 1})
    with pytest.raises(ActorExistsError, match="'one' is taken"):
        get(there.remote("one", 1))
    assert get(actor.add.remote()) == 1
    zgen.kill(actor)
    wait_until(lambda: is_free("one"), 20, "the name is free")
    assert get(there.remote("one", 1))
    wait_until(lambda: is_free("one"), 20, "the name is free again")


def test_of_many_on_all_nodes_that_want_a_name_one_gets_it() -> None:
    @zgen.remote(num_cpus=0)
    class Wanter(RemoteClass):
        def want(self) -> str:
            self.actor = Counter.options(name="wanted", get_if_exists=True).remote()
            return str(self.actor._actor_id)

    wanters = [
        Wanter.options(resources={place: 1}).remote() for place in ("near", "far") for _ in range(3)
    ]
    assert len(set(get([wanter.want.remote() for wanter in wanters]))) == 1
    assert get(zgen.get_actor("wanted").add.remote()) == 1
