"""Names of actors when nodes that keep them are killed, and when their finder is cut off."""

from __future__ import annotations

import pytest

import zgen
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen.exceptions import NameUnavailableError
from zgen.testing import Cluster

NAMES = [f"counter {number}" for number in range(6)]


@zgen.remote
class Counter(RemoteClass):
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


@zgen.remote(num_cpus=0, resources={"far": 1})
def call(names: list[str]) -> list[int]:
    return [zgen.get(zgen.get_actor(name).add.remote()) for name in names]


@pytest.mark.slow
def test_names_survive_the_deaths_of_nodes_that_keep_them(zgen_cluster: Cluster) -> None:
    cluster = zgen_cluster
    cluster.add_node(resources={"far": 9})
    others = [cluster.add_node() for _ in range(2)]
    zgen.init(address=cluster.address, key=cluster.key)
    cluster.wait_for_nodes()
    far = Counter.options(resources={"far": 0.1})
    actors = [far.options(name=name).remote() for name in NAMES]
    assert zgen.get(call.remote(NAMES), timeout=20) == [1] * len(NAMES)
    for turn, other in enumerate(others):
        cluster.remove_node(other)
        assert zgen.get(call.remote(NAMES), timeout=20) == [2 + turn] * len(NAMES)
        for name in NAMES:
            with pytest.raises(ValueError, match="is taken"):
                Counter.options(name=name).remote()
    zgen.kill(actors.pop())

    def is_free() -> bool:
        try:
            zgen.get_actor(NAMES[-1])
        except ValueError:
            return True
        return False

    wait_until(is_free, 20, "the name is free")
    again = Counter.options(name=NAMES[-1]).remote()
    assert zgen.get(call.remote(NAMES[-1:]), timeout=20) == [1]
    assert zgen.get(again.add.remote(), timeout=20) == 2


@pytest.mark.root
@pytest.mark.slow
def test_who_is_cut_off_from_most_nodes_is_told_so_and_finds_no_names(
    zgen_namespaces: Cluster,
) -> None:
    cluster = zgen_namespaces
    for _ in range(2):
        cluster.add_node()
    zgen.init(address=cluster.address, key=cluster.key)
    cluster.wait_for_nodes()
    actor = Counter.options(name="here").remote()
    assert zgen.get(zgen.get_actor("here").add.remote(), timeout=20) == 1
    cluster.partition([cluster.here])
    with pytest.raises(NameUnavailableError, match="cut off"):
        zgen.get_actor("here")
    with pytest.raises(NameUnavailableError, match="cut off"):
        Counter.options(name="another").remote()
    del actor
