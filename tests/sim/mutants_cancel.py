"""Fences of cancels; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

CANCELLATION = "zgen/core/cancellation.py"
SETTLEMENT = "zgen/core/settlement.py"
PLACEMENT = "zgen/core/placement.py"
PROCESS = "zgen/core/process.py"
EXECUTOR = "zgen/core/executor.py"
UNWANTED = "zgen/core/unwanted.py"
CALLING = "zgen/core/calling.py"
STREAMS = "zgen/core/stream_in.py"
STREAMS_OUT = "zgen/core/stream_out.py"

CANCEL = (
    Mutant(
        "what is cancelled in a worker's queue never begins",
        "P5",
        UNWANTED,
        "        waiting = queue.withdraw(sender, message.task, message.attempt)\n",
        "        waiting = None\n",
        "cluster",
        53,
    ),
    Mutant(
        "a cancelled task that is handed back waits for no other worker",
        "P5",
        PLACEMENT,
        "            if entry is not None and entry.cancel is not None:\n",
        "            if False:\n",
        "cluster",
        29,
    ),
    Mutant(
        "a cancelled task does not run again when its worker dies",
        "P5",
        SETTLEMENT,
        '        if entry.cancel is not None:\n            reached("worker died under a',
        '        if False:\n            reached("worker died under a',
        "cluster",
        7,
    ),
    Mutant(
        "a cancelled task does not run when its worker dies before it",
        "P5",
        SETTLEMENT,
        '        if entry.cancel is not None:\n            reached("worker died before',
        '        if False:\n            reached("worker died before',
        "cluster",
        49,
    ),
    Mutant(
        "a cancelled task does not run again for what it raised",
        "P5",
        CANCELLATION,
        "        if outcome == OUTCOME_RETRY and entry.cancel is not None:\n",
        "        if False:\n",
        "cluster",
        61,
    ),
    Mutant(
        "what a cancelled task has submitted is cancelled too",
        "P5",
        PROCESS,
        "cancellation.cancel_children(message.task, message.attempt, now_ns, out)",
        "cancellation.check()",
        "cluster",
        12,
    ),
    Mutant(
        "what a cancelled body returns is dropped",
        "P1",
        EXECUTOR,
        "            event = self.unwanted.as_cancelled(event)\n",
        "            pass\n",
        "cluster",
        7,
    ),
    Mutant(
        "what a cancelled stream yields is not counted",
        "P2",
        STREAMS_OUT,
        "            record.count -= record.cancelled\n",
        "            pass\n",
        "cluster",
        7,
    ),
    Mutant(
        "an error of a cancelled replay stands, wherever it was",
        "P1",
        STREAMS,
        " and not (is_cut and error is not None):\n",
        ":\n",
        "cluster",
        82,
    ),
    Mutant(
        "a call that is cancelled in its worker's queue never begins",
        "P5",
        UNWANTED,
        "        waiting = queue.withdraw(sender, message.task, message.attempt)\n",
        "        waiting = None\n",
        "actors",
        60,
    ),
    Mutant(
        "calls that a cancelled one held back leave",
        "P2",
        CALLING,
        "        if self.calls.targets[actor].queue:\n            self.pump(actor, now_ns, out)\n",
        "",
        "actors",
        88,
    ),
    Mutant(
        "a cancelled call is not sent to the next life of its actor",
        "P5",
        CALLING,
        "            if verdict.is_dead or entry.cancel is not None:\n",
        "            if verdict.is_dead:\n",
        "actors",
        27,
    ),
    Mutant(
        "a call that nobody interrupts is over for its caller at once",
        "P2",
        UNWANTED,
        "            self._say(running, OUTCOME_CANCELLED, count, now_ns, out)\n",
        "            pass\n",
        "actors",
        7,
    ),
    Mutant(
        "what a cancelled body of an actor yields is dropped",
        "P1",
        STREAMS_OUT,
        "        record.closed = record.cancelled = True\n",
        "        record.cancelled = True\n",
        "actors",
        19,
    ),
    Mutant(
        "who borrows a reference can cancel its task",
        "P2",
        CANCELLATION,
        "            out.append(Send(borrow.owner.peer, message))\n",
        "            pass\n",
        "borrowing",
        3,
    ),
    Mutant(
        "an owner cancels for who borrows from it",
        "P2",
        CANCELLATION,
        "        self.cancel(task, message.force, message.recursive, now_ns, out)\n",
        "",
        "borrowing",
        3,
    ),
    Mutant(
        "a generator method does not go on for a dead caller",
        "P2",
        UNWANTED,
        "                out.append(AbandonBody(running.task.task, running.task.attempt))\n",
        "                pass\n",
        "actors",
        102,
    ),
)
