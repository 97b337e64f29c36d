"""Links that are cut between nodes in network namespaces of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import zgen
from tests.integration.watching import is_alive, marked, wait_until
from zgen.exceptions import NamespaceError
from zgen.testing import Cluster
from zgen.testing.network import Network

pytestmark = [pytest.mark.chaos]

ITEMS_COUNT = 30
LARGE_BYTES = 3 << 20
#: Starts nodes, pauses one, says where they are, and waits to be killed.
DOOMED = """
import sys, time
from zgen.testing import Cluster

cluster = Cluster(namespaces=True)
nodes = [cluster.add_node() for _ in range(2)]
cluster.pause_node(nodes[1])
print(cluster.key, *(node.folder for node in nodes), flush=True)
time.sleep(60)
"""


@pytest.fixture
def network() -> Iterator[Network]:
    """Make a network; skip the test where there is none to be made."""
    try:
        made = Network()
    except NamespaceError as error:
        pytest.skip(error.reason)
    yield made
    made.close()
    made.close()


@zgen.remote(resources={"far": 1})
def where() -> str:
    return zgen.get_runtime_context().get_node_id()


@zgen.remote(resources={"far": 1})
def tell(count: int) -> Iterator[int | bytes]:
    for number in range(count):
        yield number
        time.sleep(0.05)  # so that it is under way when the link is cut
    yield bytes(LARGE_BYTES)


@zgen.remote(resources={"near": 1})
def follow(count: int) -> Iterator[int]:
    """Read on this node what the far one yields; of what is large, its size."""
    for ref in tell.remote(count):
        value = zgen.get(ref)
        yield len(value) if isinstance(value, bytes) else value


def test_a_cluster_without_namespaces_says_what_a_partition_takes() -> None:
    with Cluster() as cluster:
        cluster.heal()
        with pytest.raises(NamespaceError, match="namespaces=True"):
            cluster.partition([cluster.here])


@pytest.mark.root
def test_links_are_cut_both_ways_or_one_way_and_heal(network: Network) -> None:
    one, other = network.add(), network.add()
    heard = [_listening(each.call(_socket), each.host) for each in (one, other)]
    here = _listening(_socket(), network.here.host)
    network.cut(one, other)
    assert not _arrives(heard[0], heard[1])
    assert _arrives(heard[1], heard[0])
    assert _arrives(heard[0], here)
    network.cut(other, one)
    network.cut(other, one)
    assert not _arrives(heard[1], heard[0])
    network.heal()
    network.heal()
    assert _arrives(heard[0], heard[1])
    assert _arrives(heard[1], heard[0])
    for each in [*heard, here]:
        each.close()


@pytest.mark.root
@pytest.mark.slow
def test_a_node_that_is_cut_off_is_dead_to_the_others_and_comes_back_as_another(
    zgen_namespaces: Cluster,
) -> None:
    cluster = zgen_namespaces
    first, second = cluster.add_node(), cluster.add_node()
    lost = cluster.add_node(resources={"far": 1})
    zgen.init(address=cluster.address, key=cluster.key)
    cluster.wait_for_nodes()
    before = lost.node_id
    assert zgen.get(where.remote(), timeout=20) == before
    with pytest.raises(ValueError, match="no node in common"):
        cluster.partition([first], [first, second])
    cluster.partition([lost])
    cluster.nodes.remove(lost)
    cluster.wait_for_nodes()
    waits = where.remote()
    assert zgen.wait([waits], timeout=0.2) == ([], [waits])
    cluster.heal()
    cluster.nodes.append(lost)
    wait_until(lambda: lost.node_id != before, 20, "it comes back")
    cluster.wait_for_nodes()
    assert zgen.get(waits, timeout=20) == lost.node_id


@pytest.mark.root
@pytest.mark.slow
def test_work_goes_on_over_a_link_of_which_one_way_is_cut(zgen_namespaces: Cluster) -> None:
    cluster = zgen_namespaces
    one, other = cluster.add_node(resources={"near": 1}), cluster.add_node(resources={"far": 1})
    cluster.add_node()
    zgen.init(address=cluster.address, key=cluster.key)
    cluster.wait_for_nodes()
    names = [node.node_id for node in cluster.nodes]
    for sender, receiver in ((one, other), (other, one)):
        items = follow.remote(ITEMS_COUNT)
        assert [zgen.get(next(items), timeout=20) for _ in range(3)] == [0, 1, 2]
        cluster.partition([sender], [receiver], one_way=True)
        got = [zgen.get(next(items), timeout=30) for _ in range(3, ITEMS_COUNT + 1)]
        assert got == [*range(3, ITEMS_COUNT), LARGE_BYTES]
        assert list(zgen.get(list(follow.remote(1)), timeout=20)) == [0, LARGE_BYTES]
        cluster.heal()
    assert list(zgen.get(list(follow.remote(1)), timeout=20)) == [0, LARGE_BYTES]
    assert [node.node_id for node in cluster.nodes] == names


@pytest.mark.root
@pytest.mark.slow
def test_nothing_is_left_of_a_cluster_whose_program_was_killed(network: Network) -> None:
    network.close()  # the program makes one of its own
    others = _interfaces()
    program = subprocess.Popen([sys.executable, "-c", DOOMED], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    try:
        key, *folders = program.stdout.readline().split()
        links = [name for name in _interfaces() if name not in others]
        assert links
        paused = marked(folders[1])
        assert paused
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()
        program.stdout.close()
    wait_until(lambda: not any(map(os.path.exists, folders)), 10, f"{folders} gone")
    wait_until(lambda: not any(map(is_alive, paused)), 5, f"{paused} gone")
    wait_until(lambda: not any(map(_interfaces().count, links)), 10, f"{links} gone")
    assert os.path.exists(key)
    Cluster().shutdown()
    assert not os.path.exists(key)
    assert not [name for name in os.listdir(tempfile.gettempdir()) if name == Path(key).parent.name]


def _interfaces() -> list[str]:
    return [name for name in os.listdir("/sys/class/net") if name.startswith("zgen")]


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _listening(made: socket.socket, host: str) -> socket.socket:
    made.bind((host, 0))
    made.settimeout(0.2)
    return made


def _arrives(source: socket.socket, target: socket.socket) -> bool:
    """Return whether one of some datagrams gets there; the first ones may wait for an address."""
    for _ in range(3):
        source.sendto(b"x", target.getsockname())
        try:
            return target.recv(1) == b"x"
        except TimeoutError:
            continue
    return False
