"""Fences of streams that lose items while they run: stopped, run again, named."""

from __future__ import annotations

from tests.sim.mutant import Mutant

RESTARTING = "zgen/core/restarting.py"
OUTCOMES = "zgen/core/outcomes.py"
REFILLING = "zgen/core/refilling.py"

STOPPED = (
    Mutant(
        "a stream that is past a lost item does not run on",
        "P2",
        RESTARTING,
        "        return [item for item in items if item < position]\n",
        "        return []\n",
        "stopped",
        7,
    ),
    Mutant(
        "the generator of an actor that is past a lost item is stopped",
        "P2",
        RESTARTING,
        "            out.append(Send(worker, CloseStream(task, entry.attempt, True)))\n",
        "            pass\n",
        "stopped",
        7,
    ),
    Mutant(
        "a body that does not stop is ended with its worker",
        "P2",
        RESTARTING,
        "                self._placement.end_worker(entry.lease, out)\n",
        "                pass\n",
        "stopped",
        10,
    ),
    Mutant(
        "what may not run again is named while it runs",
        "P2",
        RESTARTING,
        "        return REASON_SPENT if entry.spec.retries_max else REASON_NO_RETRIES\n",
        '        return ""\n',
        "stopped",
        7,
    ),
    Mutant(
        "a stream that was stopped for what it lost is not cancelled",
        "P5",
        OUTCOMES,
        "            fault = None if entry.cancel is None else cancelled(entry.spec)\n",
        "            fault = fault or (None if entry.cancel is None else cancelled(entry.spec))\n",
        "stopped",
        7,
    ),
    Mutant(
        "a stream that nobody reads is closed when what it lost is there",
        "P3",
        RESTARTING,
        "            out.append(Send(sender, CloseStream(stream, record.attempt)))\n",
        "            pass\n",
        "stopped",
        67,
    ),
    Mutant(
        "a replay that goes on behind the end of the first time is stopped",
        "P3",
        REFILLING,
        "            out.append(Send(sender, CloseStream(stream, entry.attempt, True)))\n",
        "            pass\n",
        "stopped",
        100047,
    ),
    Mutant(
        "a replay that raises for being cancelled does not differ",
        "P5",
        REFILLING,
        "        if entry.cancel is not None:\n",
        "        if False:\n",
        "cluster",
        1215,
    ),
)
