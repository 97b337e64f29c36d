"""Fences of windows and gathering; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

STREAMS = "zgen/core/stream_in.py"
STREAMS_OUT = "zgen/core/stream_out.py"
EXECUTOR = "zgen/core/executor.py"

FLOW = (
    Mutant(
        "a body parks at the end of its window",
        "window",
        STREAMS_OUT,
        "            record.limit = consumed + window\n",
        "            record.limit = consumed + window + 1\n",
        "cluster",
        1,
    ),
    Mutant(
        "what was handed over ahead does not open a window",
        "window",
        STREAMS,
        "            record.consumed = first + bool(unread)\n",
        "            record.consumed = first + min(count_max, len(unread))\n",
        "cluster",
        28,
    ),
    Mutant(
        "a producer hears of what was taken before its window is used up",
        "P2",
        STREAMS,
        "record.consumed - record.granted < record.step:",
        "record.consumed - record.granted < record.window + 1:",
        "cluster",
        1,
    ),
    Mutant(
        "the window of a replay begins at what was taken",
        "P2",
        "zgen/core/pushing.py",
        "self._streams.grant_first(task) if spec.window else 0",
        "0",
        "cluster",
        1,
    ),
    Mutant(
        "a stream that nobody reads has no window",
        "P2",
        EXECUTOR,
        "            if record.closed:\n                self.holds.release",
        "            if False:\n                self.holds.release",
        "cluster",
        1,
    ),
    Mutant(
        "the death of its owner ends the window of a stream",
        "P2",
        EXECUTOR,
        "        self.holds.free_of(owner, out)\n",
        "",
        "cluster",
        97,
    ),
    # -- gathering ---------------------------------------------------------------------------------
    Mutant(
        "what is gathered for nobody goes at once",
        "P3",
        "zgen/core/owner.py",
        "            streams += self.gathering.unwanted(event.objects)\n",
        "            pass\n",
        "cluster",
        5,
    ),
    Mutant(
        "what was gathered before a failure of the system goes",
        "P3",
        "zgen/core/settlement.py",
        "            self._streams.close(task)  # what",
        "            pass  # what",
        "cluster",
        41,
    ),
    Mutant(
        "what is gathered is kept by what refers to it",
        "P1",
        "zgen/core/gathering.py",
        "        self._borrowing.hold(result)\n",
        "",
        "cluster",
        5,
    ),
)
