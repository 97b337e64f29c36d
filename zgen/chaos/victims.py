"""Processes of this machine's nodes, as faults choose them."""

import os
from collections.abc import Callable
from typing import Any

from zgen.exceptions import NodeStartError
from zgen.io.inquiry import query_node
from zgen.io.spawn import NodeFacts, find_node, started_nodes
from zgen.slotted import slotted

#: How long a node is waited for that is to name its workers.
_ASK_S = 1.0


@slotted
class Victim:
    """What a fault befalls.

    Attributes:
        pid: Process id; of a node its daemon's.
        role: ``worker``, ``zygote``, ``daemon`` or ``node``.
        node: Its node.
    """

    pid: int
    role: str
    node: NodeFacts


def nodes(place: str | None) -> list[NodeFacts]:
    """Return this user's nodes of this machine, or the one at ``place``.

    Raises:
        NodeStartError: There is none at ``place``.
    """
    if place is not None:
        return [find_node(place)]
    return sorted(started_nodes(embedded=True), key=lambda node: node.folder)


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
    return one_of([Victim(node.daemon, "daemon", node) for node in found], die)


def whole_nodes(found: list[NodeFacts], die: int) -> Victim | None:
    """Return one of these nodes."""
    return one_of([Victim(node.daemon, "node", node) for node in found], die)


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


def is_there(pid: int) -> bool:
    """Return whether a process has not ended."""
    return os.path.exists(f"/proc/{pid}")


def _workers_of(node: NodeFacts) -> list[dict[str, Any]]:
    try:
        state = query_node(node.address, node.folder, _ASK_S)
    except NodeStartError:
        return []  # it is stopped, or ends
    found: list[dict[str, Any]] = state["workers"]
    return found
