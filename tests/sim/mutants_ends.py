"""Fences of the ends of streams: closed by their users, or with a value that was returned."""

from __future__ import annotations

from tests.sim.mutant import Mutant

CLOSING = "zgen/core/closing.py"
UNWANTED = "zgen/core/unwanted.py"
STREAMS = "zgen/core/stream_in.py"
OUTCOMES = "zgen/core/outcomes.py"
SETTLEMENT = "zgen/core/settlement.py"
REFILLING = "zgen/core/refilling.py"
PUSHING = "zgen/core/pushing.py"
POOL = "node/zgen_node/core/worker_pool.py"

ENDS = (
    Mutant(
        "a body that runs again is told what its owner has",
        "P5",
        PUSHING,
        "plain = replace(plain, resume=record.resume, ahead_bytes",
        "plain = replace(plain, ahead_bytes",
        "ends",
        6,
    ),
    Mutant(
        "an attempt may report from where it was told to go on",
        "P1",
        STREAMS,
        "    follows = first_index == record.position or resumes_at(record, first_index)\n",
        "    follows = first_index == record.position\n",
        "ends",
        2,
    ),
    Mutant(
        "an attempt that had nothing more to yield may end there",
        "P2",
        STREAMS,
        "        if not (reported or resumes_at(record, count)):\n",
        "        if not reported:\n",
        "ends",
        2,
    ),
    Mutant(
        "a closed generator stops at its yield",
        "P2",
        UNWANTED,
        "            out.append(StopBody(task.task, task.attempt))\n",
        "            pass\n",
        "ends",
        0,
    ),
    Mutant(
        "a worker whose owner died is killed if it does not end",
        "P3",
        POOL,
        "                self.kill(worker, worker.ending, out)\n",
        "                pass\n",
        "nodes",
        1,
    ),
    Mutant(
        "a closed generator that is held back goes on to its end",
        "P2",
        UNWANTED,
        "            self._parking.free(task.task, now_ns, out)  # it looks",
        "            # it looks",
        "ends",
        8,
    ),
    Mutant(
        "the worker of a closed generator is told",
        "P2",
        CLOSING,
        "            out.append(Send(entry.worker, CloseStream(stream, entry.attempt, True)))\n",
        "            out.append(Send(entry.worker, CloseStream(stream, entry.attempt)))\n",
        "ends",
        0,
    ),
    Mutant(
        "a closed generator never runs again",
        "P5",
        CLOSING,
        "                entry.cancel, entry.is_closing = (False, False), True\n",
        "                entry.is_closing = True\n",
        "ends",
        2,
    ),
    Mutant(
        "a closed generator that no worker has never begins",
        "P5",
        CLOSING,
        "            self._cancellation.cancel(stream, False, False, now_ns, out)\n",
        "            pass\n",
        "ends",
        1,
    ),
    Mutant(
        "who closes a generator hears of no cancel",
        "P5",
        SETTLEMENT,
        "        completion: Value = NONE if is_closed else fault\n",
        "        completion: Value = fault\n",
        "ends",
        0,
    ),
    Mutant(
        "nothing comes behind a close",
        "P1",
        STREAMS,
        "            record.stays = True\n            self._free(record)\n",
        "            record.stays = True\n",
        "ends",
        0,
    ),
    Mutant(
        "what a generator returned lives as long as its handle",
        "P1",
        OUTCOMES,
        "                self._settlement.keep_returned(stream)\n",
        "                pass\n",
        "ends",
        1,
    ),
    Mutant(
        "what a generator returned goes with its handle",
        "P3",
        STREAMS,
        "            if record.returned:\n                self.unkept.append(stream)\n",
        "",
        "ends",
        1,
    ),
    Mutant(
        "a returned value that is lost comes with another run",
        "P4",
        REFILLING,
        "                self._settlement.settle([(returned, last)], now_ns, out)\n",
        "                pass\n",
        "ends",
        9,
    ),
)
