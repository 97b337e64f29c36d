"""Fences between nodes; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

CLUSTER = "node/zgen_node/core/cluster.py"
SPILLBACK = "node/zgen_node/core/spillback.py"
MONITORS = "node/zgen_node/core/far_monitors.py"
OWNER = "zgen/core/owner.py"

NODES = (
    Mutant(
        "what a node that is gone had not granted queues again",
        "P2",
        CLUSTER,
        "            self.spillback.queue_again(forward, forward.backs, now_ns, out)\n",
        "            pass\n",
        "nodes",
        3,
    ),
    Mutant(
        "what was pushed to a node that is gone may have begun",
        "P5",
        OWNER,
        "if down is not None and down.started >= 0:",
        "if down is not None:",
        "nodes",
        11,
    ),
    Mutant(
        "the processes of a node that is gone are dead",
        "P2",
        MONITORS,
        "        for far in self.far.of_node(node):\n            story",
        "        for far in ():\n            story",
        "nodes",
        3,
    ),
    Mutant(
        "who counted something off hears what is free even if nothing changed",
        "P2",
        CLUSTER,
        "        if news == self._published and not self.hosting.touched:\n",
        "        if news == self._published:\n",
        "nodes",
        0,
    ),
    Mutant(
        "a dead owner gives back what it has elsewhere",
        "P3",
        SPILLBACK,
        "        for forward in self.forwards.of_owner(owner):\n",
        "        for forward in ():\n",
        "nodes",
        2,
    ),
    Mutant(
        "what came from another node goes to no third one",
        "P5",
        SPILLBACK,
        "            if lease.via != lease.owner or kind in stuck:\n",
        "            if kind in stuck:\n",
        "nodes",
        2,
    ),
    Mutant(
        "a request that may run on a dead node alone is refused",
        "P2",
        CLUSTER,
        "        self.spillback.refuse_hopeless(now_ns, out)\n",
        "        pass\n",
        "nodes",
        13,
    ),
)
