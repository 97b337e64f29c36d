"""Fences of nodes in trouble, and of the deaths of owners; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

CORE = "node/zgen_node/core/"
WATCH = CORE + "memory_watch.py"
SPILLBACK = CORE + "spillback.py"
CLUSTER = CORE + "cluster.py"

SURVIVAL = (
    Mutant(
        "what one node refuses goes to another one",
        "P2",
        SPILLBACK,
        "        forward.refusals[peer] = said.reason\n",
        "        out.append(Send(forward.owner, said))\n        return\n",
        "survival",
        24,
    ),
    Mutant(
        "what every node refuses is refused",
        "P2",
        SPILLBACK,
        "        elif lease.refusals and not self._could_go(lease):\n",
        "        elif False:\n",
        "survival",
        2,
    ),
    Mutant(
        "what may run again ends first for memory",
        "P5",
        WATCH,
        "found.append((not lease.asked.retriable, ",
        "found.append((False, ",
        "survival",
        3,
    ),
    Mutant(
        "the youngest ends first for memory",
        "P5",
        WATCH,
        "-lease.granted_ns",
        "lease.granted_ns",
        "survival",
        2,
    ),
    Mutant(
        "one worker at a time ends for memory",
        "P5",
        WATCH,
        "        if last is not None and last.state is not WorkerState.DEAD:\n",
        "        if False:\n",
        "survival",
        2,
    ),
    Mutant(
        "the end of an owner ends its leases on other nodes",
        "P3",
        CLUSTER,
        "        self._staffing.end_owner(down.peer, down.log_tail, now_ns, out)\n",
        "",
        "survival",
        11,
    ),
    Mutant(
        "the end of a driver ends its job on other nodes",
        "P3",
        CLUSTER,
        "        job = self._staffing.jobs.of_driver(down.peer)\n        if job is not None:\n",
        "        job = self._staffing.jobs.of_driver(down.peer)\n        if False:\n",
        "survival",
        0,
    ),
    Mutant(
        "a task whose node died tells how often it was tried",
        "P5",
        "zgen/core/task_table.py",
        "    entry.history = (*entry.history, ",
        "    entry.history = (",
        "survival",
        30,
    ),
)
