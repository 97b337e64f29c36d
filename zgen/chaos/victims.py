"""Processes of this machine's nodes, as faults choose them."""

from collections.abc import Callable
from typing import Any

from zgen.exceptions import NodeStartError
from zgen.io.inquiry import query_node
from zgen.io.spawn import NodeFacts
from zgen.slotted import slotted

#: How long a node is waited for that is to name its workers.
_ASK_S = 2.0


@slotted
class Victim:
    """What a fault befalls.

    Attributes:
        pid: Process id; of a node its daemon's.
        role: ``worker``, ``zygote``, ``daemon``, ``supervisor`` or ``node``.
        node: Its node.
    """

    pid: int
    role: str
    node: NodeFacts


def workers(found: list[NodeFacts], die: int) -> Victim | None:
    """Return a worker of one of these nodes, one that works if there is one."""
    busy: list[Victim] = []
    idle: list[Victim] = []
    for node in found:
        for worker in _workers_of(node):
            if worker["pid"]:
                works = worker["state"] != "idle"
                (busy if works else idle).append(Victim(worker["pid"], "worker", node))
    return one_of(busy or idle, die)


def zygotes(found: list[NodeFacts], die: int) -> Victim | None:
    """Return the zygote of one of these nodes."""
    every = [
        Victim(pid, "zygote", node)
        for node in found
        for pid in children(node.daemon)
        if b"zygote" in command(pid)
    ]
    return one_of(every, die)


def daemons(found: list[NodeFacts], die: int) -> Victim | None:
    """Return the daemon of one of these nodes."""
    return one_of([Victim(node.daemon, "daemon", node) for node in _givers(found)], die)


def supervisors(found: list[NodeFacts], die: int) -> Victim | None:
    """Return the supervisor of one of these nodes."""
    return one_of([Victim(node.supervisor, "supervisor", node) for node in _givers(found)], die)


def whole_nodes(found: list[NodeFacts], die: int) -> Victim | None:
    """Return one of these nodes."""
    return one_of([Victim(node.daemon, "node", node) for node in _givers(found)], die)


#: Chooses among nodes by a number; None if there is nobody.
Choose = Callable[[list[NodeFacts], int], Victim | None]


def one_of(victims: list[Victim], die: int) -> Victim | None:
    """Return the one that a number chooses."""
    return victims[die % len(victims)] if victims else None


def children(pid: int) -> list[int]:
    """Return the children of a process; of a dead one none."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def command(pid: int) -> bytes:
    """Return the command line of a process; of a dead one nothing."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False


def _givers(found: list[NodeFacts]) -> list[NodeFacts]:
    """Return the nodes that give work to do; all if there are none.

    A program that joins a cluster has a node without CPUs, and does not outlive it.
    """
    for node in found if len(found) > 1 else ():
        try:
            rows = query_node(node.address, node.folder, _ASK_S)["nodes"]
        except NodeStartError:
            continue  # it is stopped, or ends
        empty = [row["node"] for row in rows if not row["total"]]
        return [each for each in found if each.address.peer.hex() not in empty] or found
    return found


def _workers_of(node: NodeFacts) -> list[dict[str, Any]]:
    try:
        state = query_node(node.address, node.folder, _ASK_S)
    except NodeStartError:
        return []  # it is stopped, or ends
    found: list[dict[str, Any]] = state["workers"]
    return found
