"""Fences of dialogues: what two-way streams are given, and what is repeated of it."""

from __future__ import annotations

from tests.sim.mutant import Mutant

DIALOGUE = "zgen/core/dialogue.py"
LOG = "zgen/core/input_log.py"
PUSHING = "zgen/core/pushing.py"
OWNER = "zgen/core/owner.py"

DIALOGUES = (
    Mutant(
        "the next attempt is given what was sent",
        "P2",
        PUSHING,
        "            feed(worker, where, log.inputs, self._refs.pin, out)\n",
        "            pass\n",
        "dialogue",
        0,
    ),
    Mutant(
        "what is sent is kept for the next attempt",
        "P2",
        LOG,
        "        self.inputs.append(given)\n",
        "        self.inputs = [given]\n",
        "dialogue",
        0,
    ),
    Mutant(
        "what raises is not what is returned",
        "P1",
        LOG,
        "        raises = tuple([index for index, given in enumerate(part) if given.raises])\n",
        "        raises = ()\n",
        "dialogue",
        0,
    ),
    Mutant(
        "a body that nobody asked is held",
        "P1",
        DIALOGUE,
        "        if not (inputs or waiting.closed):\n",
        "        if inputs:\n",
        "dialogue",
        0,
    ),
    Mutant(
        "an input makes room for one item",
        "P1",
        DIALOGUE,
        "            record.limit += len(inputs)\n",
        "            record.limit += len(inputs) + 1\n",
        "dialogue",
        0,
    ),
    Mutant(
        "what comes before a body starts waits for it",
        "P2",
        DIALOGUE,
        "                    waiting.inputs += inputs\n",
        "                    pass\n",
        "dialogue",
        4,
    ),
    Mutant(
        "what an input refers to is kept until the body has read it",
        "P3",
        DIALOGUE,
        "                self.kept.setdefault(task, []).append(given.value)\n",
        "                pass\n",
        "dialogue",
        0,
    ),
    Mutant(
        "what nobody listens to is let go",
        "P3",
        DIALOGUE,
        "            self._dropped.extend(keeping(values))\n",
        "            pass\n",
        "dialogue",
        17,
    ),
    Mutant(
        "who drops a dialogue ends it",
        "P3",
        OWNER,
        "            if entry.spec.window < 0:\n",
        "            if False:\n",
        "dialogue",
        2,
    ),
    Mutant(
        "nothing is forgotten of an attempt that may not have begun",
        "P2",
        DIALOGUE,
        "        if log.size_bytes > most and has_begun:\n",
        "        if log.size_bytes > most:\n",
        "dialogue",
        1,
    ),
    Mutant(
        "what is not kept is not repeated",
        "P2",
        DIALOGUE,
        "            entry.retries_left = 0\n",
        "            pass\n",
        "dialogue",
        0,
    ),
)
