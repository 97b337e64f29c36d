"""Fences of generators that are handed over; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

LENDING = "zgen/core/lending.py"
LENT = "zgen/core/lent_stream.py"
FAR = "zgen/core/far_streams.py"
FEEDING = "zgen/core/feeding.py"
FANS = "zgen/core/fans.py"

HAND = (
    Mutant(
        "a stream has one reader at a time",
        "P1",
        LENDING,
        "            if not may_claim(lent, message.hop, message.chain):\n",
        "            if False:\n",
        "handover",
        1,
    ),
    Mutant(
        "who got a stream from one that never held it is refused",
        "P1",
        LENT,
        "    return lent.holder is None or chain[lent.hop : lent.hop + 1] == (lent.holder,)\n",
        "    return lent.holder is None or hop > lent.hop\n",
        "handover",
        5,
    ),
    Mutant(
        "an earlier holder ends nothing as it goes",
        "P1",
        LENDING,
        "        if lent.holder != sender:\n",
        "        if False:\n",
        "handover",
        5,
    ),
    Mutant(
        "what a holder has not taken comes back",
        "P1",
        LENDING,
        "        record.back = lent.items or None\n",
        "        self._refs.drop_all(lent.items)\n        record.back = None\n",
        "handover",
        0,
    ),
    Mutant(
        "a stream comes back with the end of what refers to it",
        "P2",
        LENDING,
        '                reached("nobody can come with a lent stream any more")\n'
        "                self.over(stream, now_ns, out)\n",
        "                pass\n",
        "handover",
        1,
    ),
    Mutant(
        "who has passed a stream on says so",
        "P1",
        FAR,
        "                self._leave(far, record, PASSED_ON, out)\n",
        "                pass\n",
        "handover",
        1,
    ),
    Mutant(
        "the death of a stream's owner is told to who reads it",
        "P2",
        FAR,
        "                far.is_held = False\n                if not record.ended:\n",
        "                far.is_held = False\n                if False:\n",
        "handover",
        0,
    ),
    Mutant(
        "what a generator returned is sent to who reads it at its end",
        "P2",
        FEEDING,
        "        if returns:\n            completion",
        "        if False:\n            completion",
        "handover",
        93,
    ),
    Mutant(
        "who reads to the end is told whether anything was returned",
        "P1",
        FEEDING,
        "        returns, source = is_end and has_returned(record), ",
        "        returns, source = False, ",
        "handover",
        1,
    ),
    Mutant(
        "the end of a stream that is lent is told to who waits for it elsewhere",
        "P2",
        LENDING,
        "            self._refs.records[completion] = OwnedRef(record.completion, 0)\n",
        "            self._refs.records[completion] = OwnedRef(None, 0)\n",
        "handover",
        2,
    ),
    Mutant(
        "each item that a reader takes is told to the owner",
        "P1",
        FAR,
        "            if far.is_held:\n                self._ask(far, out)\n",
        "            pass\n",
        "handover",
        1,
    ),
    Mutant(
        "a reader is no further ahead of the slowest than the bound",
        "P3",
        FANS,
        "        room = min(fan.pending_max - self._behind(fan), count_max)\n",
        "        room = count_max\n",
        "handover",
        1,
    ),
    Mutant(
        "what one reader has taken out is given to the others",
        "P1",
        FANS,
        "            if other != reader and names:\n",
        "            if False:\n",
        "handover",
        2,
    ),
    Mutant(
        "a reader that is gone lets the others go on",
        "P2",
        FANS,
        "        del fan.readers[reader]\n        self._lending.stirred[source] = None\n",
        "        del fan.readers[reader]\n",
        "handover",
        2,
    ),
    Mutant(
        "a stream with several readers goes back when the last one has left",
        "P3",
        FANS,
        "            self._refs.drop_all([fan.ticket])\n",
        "            pass\n",
        "handover",
        1,
    ),
)
