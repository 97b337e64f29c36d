"""Fences of generators that are handed over; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

LENDING = "zgen/core/lending.py"
FAR = "zgen/core/far_streams.py"

HAND = (
    Mutant(
        "a stream has one reader at a time",
        "P1",
        LENDING,
        "            if not _may_claim(lent, message.hop, message.chain):\n",
        "            if False:\n",
        "handover",
        1,
    ),
    Mutant(
        "who got a stream from one that never held it is refused",
        "P1",
        LENDING,
        "    return lent.holder is None or chain[lent.hop : lent.hop + 1] == (lent.holder,)\n",
        "    return lent.holder is None or hop > lent.hop\n",
        "handover",
        0,
    ),
    Mutant(
        "an earlier holder ends nothing as it goes",
        "P1",
        LENDING,
        "        if lent.holder != sender:\n",
        "        if False:\n",
        "handover",
        0,
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
        0,
    ),
    Mutant(
        "who has passed a stream on says so",
        "P1",
        FAR,
        "                self._leave(far, record, PASSED_ON, out)\n",
        "                pass\n",
        "handover",
        0,
    ),
    Mutant(
        "the death of a stream's owner is told to who reads it",
        "P2",
        FAR,
        "                far.is_held = False\n                if not record.ended:\n",
        "                far.is_held = False\n                if False:\n",
        "handover",
        1,
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
)
