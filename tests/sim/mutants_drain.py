"""Fences of nodes that drain, and of questions to all nodes; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

CORE = "node/zgen_node/core/"

DRAIN = (
    Mutant(
        "who drains takes in no guests",
        "P5",
        CORE + "hosting.py",
        "        if self._view.draining:\n",
        "        if False:\n",
        "drain",
        3,
    ),
    Mutant(
        "nobody sends work to who drains",
        "P5",
        CORE + "scheduler.py",
        "        return not self.closed and self.has(shape)\n",
        "        return self.has(shape)\n",
        "drain",
        0,
    ),
    Mutant(
        "who drains hands on what waits there",
        "P5",
        CORE + "cluster.py",
        "        self.hosting.drain(now_ns, out)\n",
        "",
        "drain",
        13,
    ),
    Mutant(
        "a value that is needed keeps its node",
        "P4",
        CORE + "draining.py",
        '            (values, "values in shared memory"),\n',
        "",
        "drain",
        30,
    ),
    Mutant(
        "what runs on past the time is ended before the node goes",
        "P5",
        CORE + "draining.py",
        "            self._staffing.pool.kill(worker, OVERDUE, out)\n",
        "            pass\n",
        "drain",
        6,
    ),
    Mutant(
        "a lease whose node drains gets nothing more",
        "P5",
        "zgen/core/lease_client.py",
        "held.stalled or held.doomed or held.closing or is_over",
        "held.stalled or held.doomed or is_over",
        "drain",
        19,
    ),
    Mutant(
        "a node that drains waits no longer than it was told",
        "P2",
        CORE + "node.py",
        "        self.draining.on_timer(now_ns, out)\n",
        "",
        "drain",
        0,
    ),
    Mutant(
        "who leaves lets no program in any more",
        "P2",
        CORE + "node.py",
        "            if self._leaving or self.draining.is_closed:\n",
        "            if False:\n",
        "drain",
        66,
    ),
    Mutant(
        "who is asked and gone is waited for no longer",
        "P2",
        CORE + "cluster.py",
        "        self.poll.on_gone(node, out)\n",
        "",
        "census",
        0,
    ),
    Mutant(
        "a driver is asked by its own node alone",
        "P2",
        CORE + "census.py",
        "            if job.far_driver is not None:\n                continue",
        "            if False:\n                continue",
        "census",
        0,
    ),
)
