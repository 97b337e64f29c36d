"""Fences of cancels; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

CANCELLATION = "zgen/core/cancellation.py"
SETTLEMENT = "zgen/core/settlement.py"
PLACEMENT = "zgen/core/placement.py"
PROCESS = "zgen/core/process.py"
EXECUTOR = "zgen/core/executor.py"
STREAMS = "zgen/core/stream_in.py"
STREAMS_OUT = "zgen/core/stream_out.py"

CANCEL = (
    Mutant(
        "what is cancelled in a worker's queue never begins",
        "P5",
        EXECUTOR,
        "        waiting = self.admission.withdraw(*which)\n",
        "        waiting = None\n",
        "cluster",
        27,
    ),
    Mutant(
        "a cancelled task that is handed back waits for no other worker",
        "P5",
        PLACEMENT,
        "            if entry is not None and entry.cancel is not None:\n",
        "            if False:\n",
        "cluster",
        39,
    ),
    Mutant(
        "a cancelled task does not run again when its worker dies",
        "P5",
        SETTLEMENT,
        '        if entry.cancel is not None:\n            reached("worker died under a',
        '        if False:\n            reached("worker died under a',
        "cluster",
        5,
    ),
    Mutant(
        "a cancelled task does not run when its worker dies before it",
        "P5",
        SETTLEMENT,
        '        if entry.cancel is not None:\n            reached("worker died before',
        '        if False:\n            reached("worker died before',
        "cluster",
        17,
    ),
    Mutant(
        "a cancelled task does not run again for what it raised",
        "P5",
        CANCELLATION,
        "        if outcome == OUTCOME_RETRY and entry.cancel is not None:\n",
        "        if False:\n",
        "cluster",
        76,
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
        "        if ended.cancelled:\n",
        "        if False:\n",
        "cluster",
        27,
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
        135,
    ),
)
