"""Fences of actors; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

REQUESTS = "zgen/core/actor_requests.py"
CALLS = "zgen/core/actor_calls.py"
CALLING = "zgen/core/calling.py"
SUPERVISION = "zgen/core/supervision.py"
TABLE = "zgen/core/actor_table.py"
ADMITTED = "zgen/core/call_admission.py"

ACTORS = (
    Mutant(
        "calls in flight are decided on only when their worker's line is quiet",
        "P1",
        CALLS,
        "        return self.verdict is not None and (self.is_down or not self.in_flight)\n",
        "        return self.verdict is not None\n",
        "actors",
        0,
    ),
    Mutant(
        "a call that may have run is sent again only within its budget",
        "P5",
        CALLING,
        "            elif not may_have_run:\n",
        "            elif True:\n",
        "actors",
        0,
    ),
    Mutant(
        "calls that are sent again keep their order",
        "P5",
        CALLS,
        "        for call in reversed(calls):\n",
        "        for call in calls:\n",
        "actors",
        3,
    ),
    Mutant(
        "a call of an actor that keeps order waits for those before it",
        "P5",
        CALLS,
        "next(iter(queue if target.in_order else ready))",
        "next(iter(ready))",
        "actors",
        3,
    ),
    Mutant(
        "where the next life is counts only after this one was decided on",
        "P5",
        CALLS,
        "            target.next = said\n            return False\n",
        "            pass\n",
        "actors",
        24,
    ),
    Mutant(
        "the worker of an actor that nobody can call ends",
        "P3",
        SUPERVISION,
        "                out.append(Send(record.worker.peer, EndActor(actor)))\n",
        "                pass\n",
        "actors",
        1,
    ),
    Mutant(
        "the name of a dead actor is free",
        "P3",
        SUPERVISION,
        "            out.append(Send(node, FreeName(settings.namespace, settings.name, actor)))\n",
        "            pass\n",
        "actors",
        0,
    ),
    Mutant(
        "pending calls keep their actor",
        "P2",
        CALLING,
        "        if target.pending == 1 and handle_object(actor) in self._refs.records:\n",
        "        if False:\n",
        "actors",
        0,
    ),
    Mutant(
        "an actor runs as many calls at a time as it allows",
        "P5",
        ADMITTED,
        "            room = self._limits[group] - self._counts[group]\n",
        "            room = self._limits[group] + 1\n",
        "actors",
        0,
    ),
    Mutant(
        "a call fails with its actor while it waits",
        "P2",
        CALLING,
        "        if verdict.is_dead:\n            self._fail_queue(",
        "        if False:\n            self._fail_queue(",
        "actors",
        0,
    ),
    Mutant(
        "an actor that holds a CPU gives it away while its calls wait",
        "P2",
        SUPERVISION,
        "            holds = bool(entry.spec.shape)\n",
        "            holds = False\n",
        "actors",
        14,
    ),
    Mutant(
        "a grant for an actor that is dead goes back",
        "P3",
        TABLE,
        "            del self.by_lease[lease]\n",
        "            pass\n",
        "actors",
        0,
    ),
    Mutant(
        "what a failed call held back leaves at once",
        "P2",
        CALLING,
        "        if self.calls.targets[actor].queue:\n",
        "        if False:\n",
        "self-calls",
        12,
    ),
    Mutant(
        "an actor has a line to itself",
        "P2",
        REQUESTS,
        "        self._session.dial(process, out)\n",
        "        if process.peer != self._session.identity.address.peer:\n"
        "            self._session.dial(process, out)\n",
        "self-calls",
        13,
    ),
)
