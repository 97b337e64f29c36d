"""Heals what a killed `zgen chaos` left: a process that outlives it and sees its end.

It reads from its input the folders of nodes that something lasting is about to befall, a line each.
Where that ends without a last word, all of them are healed.
"""

import os
import subprocess
import sys
from typing import Final

#: The last word: all is healed.
DONE: Final = b"done"


class Guard:
    """The guard of one run, seen from that."""

    def __init__(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from zgen.chaos.guard import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # so that what is sent to the group does not reach it
        )

    def tell(self, folder: str) -> None:
        """Say that a node is about to be struck; only after this it may be."""
        assert self._process.stdin is not None
        self._process.stdin.write(os.fsencode(folder) + b"\n")
        self._process.stdin.flush()

    def done(self) -> None:
        """Say that all is healed, and end it."""
        self._process.communicate(DONE)


def main() -> None:
    """Be the guard."""
    from zgen.chaos.blows import heal_node

    words = dict.fromkeys(line.rstrip(b"\n") for line in sys.stdin.buffer)
    if DONE not in words:
        for word in words:
            heal_node(os.fsdecode(word))
