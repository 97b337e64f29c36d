"""`Cluster Node`: several nodes on this machine, to test programs and their failures with."""

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final

from zgen.api import is_initialized
from zgen.cluster import nodes
from zgen.exceptions import GetTimeoutError, NamespaceError, NodeDiedError, NodeStartError
from zgen.io import clock, folders, keys, spawn
from zgen.io.exposure import check_opening
from zgen.io.inquiry import query_node
from zgen.io.joining import opening_to_join
from zgen.io.waiter import Waiter
from zgen.limits import SECOND
from zgen.options import node_resources
from zgen.testing.network import Machine, Network

_LOOPBACK: Final = "127.0.0.1"
_LOOK_S: Final = 0.02
#: How long a node that joined may stay unknown to one that is not cut off.
_TOLD_NS: Final = 5 * SECOND
_FOLDER_PREFIX: Final = "zgen-cluster-"


class Here:
    """The machine of this program and of its own node; for ``Cluster.partition``."""

    def __repr__(self) -> str:
        """Show what it is."""
        return "Here()"


class Node:
    """One node of a ``Cluster``."""

    def __init__(self, process: spawn.NodeProcess, machine: Machine | None) -> None:
        """Made by ``Cluster.add_node``."""
        self._process = process
        self._machine = machine
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
    """Several nodes on this machine, with a key and a fast membership.

    All that a node starts ends with it, and all nodes end with this process. Programs join with
    ``zgen.init(address=cluster.address, key=cluster.key)``. The nodes are on loopback, or each in
    a network namespace of its own, where links between them can be cut.

    Attributes:
        key: File with the key of the cluster.
        nodes: Its nodes that were not removed.
        here: The machine of this program, for ``partition``.
    """

    def __init__(self, *, profile: str = "fast", namespaces: bool = False) -> None:
        """Start without nodes; ``add_node`` next.

        Args:
            profile: How soon a node that says nothing is dead: ``fast`` (about 2 s) or ``lan``
                (about 10 s). One that was killed is noticed sooner.
            namespaces: Give each node a network namespace, so that ``partition`` works. Takes root
                and iproute2.

        Raises:
            NamespaceError: There are none here.
        """
        self._profile = profile
        self.here: Final = Here()
        self.nodes: list[Node] = []
        self._network = Network() if namespaces else None
        try:
            self._folder, self._lock_fd = _own_folder()
            self.key: Final = os.path.join(self._folder, "key")
            keys.generate().write(self.key)
        except BaseException:
            if self._network is not None:
                self._network.close()
            raise

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

        The node of this program, if it has joined the cluster and is not cut off, knows it then.

        Args:
            num_cpus: Its CPUs, which need not exist.
            num_gpus: Its GPUs, likewise.
            resources: Its other resources, by name.
            object_store_memory: Bytes that its objects may take; by default a share of the memory.
            labels: What work may ask of a node by name and value.

        Raises:
            NodeStartError: It could not be started.
            ValueError: An amount is out of range.
            TypeError: A label is no string.
            RuntimeError: The cluster was shut down.
        """
        if self._lock_fd < 0:
            raise RuntimeError("the cluster was shut down; make another one")
        for text in (text for label in (labels or {}).items() for text in label):
            if not isinstance(text, str):
                raise TypeError(f"labels and their values are strings, got {text!r}")
        amounts = node_resources(num_cpus, num_gpus, resources)
        given = {"resources": amounts, "object_store_memory": object_store_memory}
        named = tuple(sorted((labels or {}).items()))
        if self._network is None:
            process = self._start(_LOOPBACK, named, num_cpus, **given)
            node = Node(process, None)
        else:
            machine = self._network.add()
            process = machine.call(lambda: self._start(machine.host, named, num_cpus, **given))
            node = Node(process, machine)
        self.nodes.append(node)
        deadline_ns = clock.now_ns() + _TOLD_NS
        hosts, new = self._hosts(), node.node_id
        while (known := _known_here(hosts)) and new not in known and clock.now_ns() < deadline_ns:
            Waiter().park(_LOOK_S)
        return node

    def _start(
        self, host: str, labels: tuple[tuple[str, str], ...], num_cpus: float, **given: Any
    ) -> spawn.NodeProcess:
        """Start a node that listens at ``host``, in the network of the calling thread."""
        listen = f"tcp://{host}:*"
        if self.nodes:
            seeds = ",".join(node.address for node in self.nodes)
            opening = opening_to_join(seeds, self.key, listen=listen, profile=self._profile)
        else:
            opening = replace(check_opening(listen, None, self.key, False), profile=self._profile)
        opening = replace(opening, comes_back=True, labels=labels)
        return spawn.start_node(num_cpus, opening=opening, **given)

    def remove_node(self, node: Node, allow_graceful: bool = False) -> None:
        """End a node and wait until nothing of it runs.

        Args:
            node: Which one.
            allow_graceful: Whether it may take its leave; else all its processes are killed at
                once, as if its machine had failed.

        Raises:
            ValueError: It is no node of this cluster, or not any more.
        """
        self.nodes.remove(self._mine(node))
        if not allow_graceful:
            folders.signal_marked(node.folder, signal.SIGSTOP)  # so that none sees another die
            folders.end_marked(node.folder)
        node._process.stop()  # noqa: SLF001  # of the same module

    def pause_node(self, node: Node) -> None:
        """Stop the processes of a node, as a machine does that sleeps; the others may bury it.

        Its supervisor, which talks to nobody, goes on, and ends it with this program.

        Raises:
            ValueError: It is no node of this cluster, or not any more.
        """
        facts = self._mine(node)._now()  # noqa: SLF001  # of the same module
        folders.signal_marked(facts.folder, signal.SIGSTOP, spared=facts.supervisor)

    def resume_node(self, node: Node) -> None:
        """Let a paused node go on.

        If it was declared dead meanwhile, it ends all its work and comes back under another id.

        Raises:
            ValueError: It is no node of this cluster, or not any more.
        """
        folders.signal_marked(self._mine(node).folder, signal.SIGCONT)

    def partition(self, *sides: Iterable[Node | Here], one_way: bool = False) -> None:
        """Cut sides off from each other: what they send to each other vanishes until ``heal``.

        Who is on no side still reaches all; so does this program, unless ``here`` is on a side.
        A single side is cut off from all others, ``here`` too. Cuts add up.

        Args:
            sides: Nodes, and perhaps ``here``.
            one_way: Only what the first side sends to the others vanishes; what they send arrives.

        Raises:
            NamespaceError: The nodes have no network namespaces; the message says what to do.
            ValueError: There is no side, or one node is on two.
        """
        if self._network is None:
            raise NamespaceError("this cluster was made without")
        parts = [[self._machine(each) for each in side] for side in sides]
        named = [machine for part in parts for machine in part]
        if not named or len(named) != len(dict.fromkeys(named)):
            raise ValueError("expected sides that have no node in common")
        if len(parts) == 1:
            every = [self._network.here, *self._network.machines]
            parts.append([machine for machine in every if machine not in named])
        for i, part in enumerate(parts):
            others = [machine for other in parts if other is not part for machine in other]
            for source in part if i == 0 or not one_way else []:
                for target in others:
                    self._network.cut(source, target)

    def heal(self) -> None:
        """Mend all that ``partition`` cut; harmless without.

        Of nodes that declared each other dead meanwhile the larger side stays; those of the other
        end their work and come back under other ids.
        """
        if self._network is not None:
            self._network.heal()

    def wait_for_nodes(self, timeout: float = 30.0) -> None:
        """Wait until every node of this cluster knows all of them, and none that was removed.

        So does the node of this program, if it has joined them. Paused nodes answer nobody, so
        resume them first.

        Raises:
            GetTimeoutError: Not within ``timeout`` seconds.
            TypeError: ``timeout`` is no number.
        """
        if not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout must be seconds, got {timeout!r}")
        deadline_ns = clock.now_ns() + round(timeout * SECOND)
        while not self._agrees():
            if clock.now_ns() > deadline_ns:
                raise GetTimeoutError(f"the nodes did not agree within {timeout:g} s: {self.nodes}")
            Waiter().park(_LOOK_S)

    def shutdown(self) -> None:
        """End all nodes, paused ones too, and remove key and network; harmless twice."""
        if self._lock_fd < 0:
            return
        self.heal()
        for node in self.nodes:
            folders.signal_marked(node.folder, signal.SIGCONT)
        while self.nodes:
            self.remove_node(self.nodes[-1], allow_graceful=True)
        if self._network is not None:
            self._network.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock_fd)
        self._lock_fd = -1

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

    def _machine(self, place: Node | Here) -> Machine:
        machine = place._machine if isinstance(place, Node) else None  # noqa: SLF001  # as above
        if machine is None and self._network is not None and isinstance(place, Here):
            machine = self._network.here
        if machine is None:
            raise ValueError(f"{place} is not of this cluster")
        return machine

    def _mine(self, node: Node) -> Node:
        if node not in self.nodes:
            raise ValueError(f"{node!r} is not of this cluster: {self.nodes}")
        return node

    def _agrees(self) -> bool:
        hosts = self._hosts()
        for each in [node._now() for node in self.nodes]:  # noqa: SLF001  # of the same module
            try:
                state: dict[str, Any] = query_node(each.address, each.folder)
            except NodeStartError:
                return False  # it is coming back, perhaps
            if not _is_all({row["node"]: bool(row["total"]) for row in state["nodes"]}, hosts):
                return False
        known = _known_here(hosts)
        return not known or _is_all(known, hosts)

    def _hosts(self) -> set[str]:
        return {node.node_id for node in self.nodes}


def _is_all(known: dict[str, bool], hosts: set[str]) -> bool:
    """Return whether nodes are those of a cluster; those of drivers have nothing to give.

    Args:
        known: Node -> whether it has something to give.
        hosts: The nodes of the cluster.
    """
    return known.keys() >= hosts and not {node for node, gives in known.items() if gives} - hosts


def _known_here(hosts: set[str]) -> dict[str, bool]:
    """Return what the node of this program knows, as ``_is_all`` takes it.

    Nothing, if it is none of the cluster of ``hosts``, or is cut off from it.
    """
    try:
        rows = nodes() if is_initialized() else []
    except NodeDiedError:
        return {}
    known = {row["NodeID"]: bool(row["Resources"]) for row in rows}
    return known if known.keys() & hosts else {}


def _own_folder() -> tuple[str, int]:
    """Make a folder for a key; return it and a descriptor whose lock says that it is in use.

    Those of killed programs are removed.
    """
    parent = tempfile.gettempdir()
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if name.startswith(_FOLDER_PREFIX) and (found := _locked(path)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(found)
    folder = tempfile.mkdtemp(prefix=_FOLDER_PREFIX)
    lock = _locked(folder)
    if lock is None:
        return _own_folder()  # somebody took it for one of a killed program
    return folder, lock


def _locked(folder: str) -> int | None:
    """Return a descriptor that holds the lock of a folder of this user, or None."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_uid == os.getuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
