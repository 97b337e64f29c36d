"""Detached actors of real nodes: they outlive who created them, and any one node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen.exceptions import ActorDiedError, ActorExistsError
from zgen.testing import Cluster, leaks

#: A program that creates a detached actor and counts with it, then ends, or is killed.
CREATOR = """
import os, signal, sys
import zgen

@zgen.remote(max_restarts=2)
class Counter:
    def __init__(self, number):
        self.number = number

    def add(self):
        self.number += 1
        return self.number

    def pid(self):
        return os.getpid()

zgen.init(address=sys.argv[1], key=sys.argv[2], namespace="shop")
counter = Counter.options(name=sys.argv[3], lifetime="detached").remote(10)
assert zgen.get(counter.add.remote(), timeout=30) == 11
if sys.argv[4] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def cluster(own_runtime_folder: Path) -> Iterator[Cluster]:
    """Run three nodes and a driver that joined by the first; nothing of them may be left."""
    before = leaks.Snapshot.take()
    with Cluster() as nodes:
        for _ in range(3):
            nodes.add_node(num_cpus=1)
        zgen.init(address=nodes.address, key=nodes.key, namespace="shop")
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
    return zgen.get(refs, timeout=30)


def create(cluster: Cluster, name: str, end: str) -> int:
    """Run a program that creates an actor and ends; return its exit status."""
    arguments = [cluster.address, str(cluster.key), name, end]
    return subprocess.run([sys.executable, "-c", CREATOR, *arguments], timeout=60).returncode


def is_free(name: str) -> bool:
    try:
        zgen.get_actor(name)
    except ValueError:
        return True
    return False


@zgen.remote
class Note(RemoteClass):
    def __init__(self, text: str = "") -> None:
        self.text = text

    def read(self) -> str:
        return self.text


def test_a_detached_actor_outlives_a_driver_that_ends_and_keeps_its_state(
    cluster: Cluster,
) -> None:
    assert create(cluster, "ended", "ended") == 0
    counter = zgen.get_actor("ended")
    assert get(counter.add.remote()) == 12
    zgen.kill(counter)
    wait_until(lambda: is_free("ended"), 20, "the name is free")
    with pytest.raises(ActorDiedError):
        get(counter.add.remote())


@pytest.mark.beside_ray("detached_actors")
def test_a_detached_actor_outlives_a_driver_that_is_killed(cluster: Cluster) -> None:
    assert create(cluster, "killed", "killed") == -signal.SIGKILL
    counter = zgen.get_actor("killed")
    assert get(counter.add.remote()) == 12
    os.kill(get(counter.pid.remote()), signal.SIGKILL)
    wait_until(lambda: again(counter) == 11, 20, "it was created again, with nothing counted")
    zgen.kill(counter)
    wait_until(lambda: is_free("killed"), 20, "the name is free")


def again(counter: Any) -> int:
    try:
        return int(get(counter.add.remote()))
    except zgen.exceptions.ActorError:
        return 0


def test_a_name_has_one_detached_actor() -> None:
    made = Note.options(name="one", lifetime="detached")
    first = made.remote("first")
    with pytest.raises(ActorExistsError):
        made.remote("second")
    same = made.options(get_if_exists=True).remote("third")
    assert same == first
    assert get(same.read.remote()) == "first"
    zgen.kill(first)
    wait_until(lambda: is_free("one"), 20, "the name is free")


def test_a_detached_actor_holds_no_references_of_who_creates_it() -> None:
    with pytest.raises(zgen.exceptions.NestedRefError):
        Note.options(name="two", lifetime="detached").remote(zgen.put("text"))
    assert is_free("two")
    with pytest.raises(ValueError, match="524288"):
        Note.options(name="two", lifetime="detached").remote("x" * (1 << 20))
    with pytest.raises(ValueError, match="needs a name"):
        Note.options(lifetime="detached").remote()
    with pytest.raises(ValueError, match="lifetime"):
        Note.options(name="two", lifetime="for ever")


def test_a_detached_actor_whose_constructor_raises_is_dead() -> None:
    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("cannot be")

        def read(self) -> str:
            return ""

    broken = zgen.remote(Broken).options(name="broken", lifetime="detached").remote()
    with pytest.raises(ActorDiedError, match="cannot be"):
        get(broken.read.remote())
    wait_until(lambda: is_free("broken"), 20, "the name is free")


@pytest.mark.beside_ray("detached_actors")
def test_a_detached_actor_is_created_again_when_its_home_is_killed(cluster: Cluster) -> None:
    assert create(cluster, "moved", "ended") == 0
    counter = zgen.get_actor("moved")
    home = counter._zgen_creator.node.hex()
    (node,) = [each for each in cluster.nodes if each.node_id == home]
    cluster.add_node(num_cpus=1)
    cluster.remove_node(node)
    wait_until(lambda: found_again("moved") == 11, 30, "it is there again")
    moved = zgen.get_actor("moved")
    assert moved._zgen_creator.node.hex() != home
    with pytest.raises(ActorDiedError):
        get(counter.add.remote())
    zgen.kill(moved)
    wait_until(lambda: is_free("moved"), 20, "the name is free")


def found_again(name: str) -> int:
    try:
        return int(get(zgen.get_actor(name).add.remote()))
    except (ValueError, zgen.exceptions.ActorError):
        return 0
