"""`Cluster Node`: several nodes on this machine, to test programs and their failures with."""

import os
import shutil
import signal
import tempfile
from dataclasses import replace
from types import TracebackType
from typing import Any, Final

from zgen.exceptions import GetTimeoutError, NodeStartError
from zgen.io import clock, folders, keys, spawn
from zgen.io.exposure import check_opening
from zgen.io.inquiry import query_node
from zgen.io.joining import opening_to_join
from zgen.io.waiter import Waiter
from zgen.limits import SECOND
from zgen.options import node_resources

_LOOPBACK: Final = "tcp://127.0.0.1:*"
_LOOK_S: Final = 0.02


class Node:
    """One node of a ``Cluster``."""

    def __init__(self, process: spawn.NodeProcess) -> None:
        """Made by ``Cluster.add_node``."""
        self._process = process
        self._facts = process.facts

    @property
    def node_id(self) -> str:
        """Hex id of the node; another one once it has come back after it was declared dead."""
        return self._now().address.peer.hex()

    @property
    def address(self) -> str:
        """``tcp://HOST:PORT`` of the node."""
        return self._now().address.tcp

    @property
    def folder(self) -> str:
        """Its session folder, with its log."""
        return self._now().folder

    def _now(self) -> spawn.NodeFacts:
        """Return what the node last published about itself."""
        for facts in spawn.started_nodes(embedded=True):
            if facts.supervisor == self._facts.supervisor:
                self._facts = facts
        return self._facts

    def __repr__(self) -> str:
        """Show which one."""
        return f"Node({self.node_id[:8]} at {self.address})"


class Cluster:
    """Several nodes on loopback of this machine, with a key and a fast membership.

    All that a node starts ends with it, and all nodes end with this process. Programs join with
    ``zgen.init(address=cluster.address, key=cluster.key)``.

    Attributes:
        key: File with the key of the cluster.
        nodes: Its nodes that were not removed.
    """

    def __init__(self, *, profile: str = "fast") -> None:
        """Start without nodes; ``add_node`` next.

        Args:
            profile: How soon a node that says nothing is dead: ``fast`` (about 2 s) or ``lan``
                (about 10 s). One that was killed is noticed sooner.
        """
        self._folder = tempfile.mkdtemp(prefix="zgen-cluster-")
        self._profile = profile
        self.key: Final = os.path.join(self._folder, "key")
        keys.generate().write(self.key)
        self.nodes: list[Node] = []

    @property
    def address(self) -> str:
        """``tcp://HOST:PORT`` of its oldest node, for ``zgen.init``.

        Raises:
            NodeStartError: There is none.
        """
        if not self.nodes:
            raise NodeStartError("the cluster has no nodes; add_node() first")
        return self.nodes[0].address

    def add_node(
        self,
        num_cpus: float = 1,
        *,
        num_gpus: float | None = None,
        resources: dict[str, float] | None = None,
        object_store_memory: int | None = None,
        labels: dict[str, str] | None = None,
    ) -> Node:
        """Start a node that joins the others; it is a member when this returns.

        Args:
            num_cpus: Its CPUs, which need not exist.
            num_gpus: Its GPUs, likewise.
            resources: Its other resources, by name.
            object_store_memory: Bytes that its objects may take; by default a share of the memory.
            labels: What work may ask of a node by name and value.

        Raises:
            NodeStartError: It could not be started.
            ValueError: An amount is out of range.
        """
        amounts = node_resources(num_cpus, num_gpus, resources)
        if self.nodes:
            seeds = ",".join(node.address for node in self.nodes)
            opening = opening_to_join(seeds, self.key, listen=_LOOPBACK, profile=self._profile)
        else:
            opening = replace(
                check_opening(_LOOPBACK, None, self.key, False), profile=self._profile
            )
        process = spawn.start_node(
            num_cpus,
            amounts,
            object_store_memory=object_store_memory,
            opening=replace(opening, comes_back=True, labels=tuple(sorted((labels or {}).items()))),
        )
        node = Node(process)
        self.nodes.append(node)
        return node

    def remove_node(self, node: Node, allow_graceful: bool = False) -> None:
        """End a node and wait until nothing of it runs.

        Args:
            node: Which one.
            allow_graceful: Whether it may take its leave; else all its processes are killed at
                once, as if its machine had failed.
        """
        self.nodes.remove(node)
        if not allow_graceful:
            folders.signal_marked(node.folder, signal.SIGSTOP)  # so that none sees another die
            folders.end_marked(node.folder)
        node._process.stop()  # noqa: SLF001  # of the same module

    def pause_node(self, node: Node) -> None:
        """Stop all processes of a node, as a machine does that sleeps; the others may bury it."""
        folders.signal_marked(node.folder, signal.SIGSTOP)

    def resume_node(self, node: Node) -> None:
        """Let a paused node go on.

        If it was declared dead meanwhile, it ends all its work and comes back under another id.
        """
        folders.signal_marked(node.folder, signal.SIGCONT)

    def wait_for_nodes(self, timeout: float = 30.0) -> None:
        """Wait until every node of this cluster knows all of them, and none that was removed.

        Paused nodes answer nobody, so resume them first.

        Raises:
            GetTimeoutError: Not within ``timeout`` seconds.
        """
        deadline_ns = clock.now_ns() + round(timeout * SECOND)
        while not self._agrees():
            if clock.now_ns() > deadline_ns:
                raise GetTimeoutError(f"the nodes did not agree within {timeout:g} s: {self.nodes}")
            Waiter().park(_LOOK_S)

    def shutdown(self) -> None:
        """End all nodes, paused ones too, and remove the key; harmless twice."""
        for node in self.nodes:
            folders.signal_marked(node.folder, signal.SIGCONT)
        while self.nodes:
            self.remove_node(self.nodes[-1], allow_graceful=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "Cluster":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shut it down."""
        self.shutdown()

    def _agrees(self) -> bool:
        facts = [node._now() for node in self.nodes]  # noqa: SLF001  # of the same module
        wanted = sorted(each.address.peer.hex() for each in facts)
        hosts = {each.address.peer.hex() for each in facts}
        for each in facts:
            try:
                state: dict[str, Any] = query_node(each.address, each.folder)
            except NodeStartError:
                return False  # it is coming back, perhaps
            known = [node["node"] for node in state["nodes"] if _is_hosting(node, hosts)]
            if sorted(known) != wanted:
                return False
        return True


def _is_hosting(node: dict[str, Any], hosts: set[str]) -> bool:
    """Return whether a node is one of the cluster's; those of drivers have nothing to give."""
    return node["node"] in hosts or bool(node["total"])
