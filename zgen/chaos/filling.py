"""Fills the object store of a node by a program of its own, which ends with whoever fills."""

import os
import select
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from zgen.io.inquiry import query_node
from zgen.io.spawn import NodeFacts
from zgen.slotted import slotted

#: Puts so many bytes and keeps them until its input ends, also if its parent is killed.
_FILLER: Final = """
import os, sys, threading
over = threading.Event()
def watch():
    sys.stdin.read()
    over.set()
    threading.Event().wait(3)
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
import zgen
zgen.init(address=sys.argv[1], log_to_driver=False)
left, kept = int(sys.argv[2]), []
while left >= 1 << 20 and not over.is_set():
    size = min(left, 64 << 20)
    kept.append(zgen.put(bytes(size - 4096)))
    left -= size
print("full", flush=True)
over.wait()
"""
_FILLED_SHARE: Final = 0.98
_FILL_BYTES_MIN: Final = 2 << 20
#: How long filling may take, and emptying, in seconds.
_FILL_S: Final = 60.0
_EMPTY_S: Final = 5.0


@slotted
class Filled:
    """What came of it.

    Attributes:
        told: How much was filled, or why nothing.
        heal: Empties the store; None if it was not filled.
    """

    told: str
    heal: Callable[[], None] | None = None


def fill(node: NodeFacts) -> Filled:
    """Fill what is free in the store of a node, and wait until it is.

    Raises:
        NodeStartError: The node does not answer.
    """
    store = query_node(node.address, node.folder)["store"]
    free = round((store["capacity_bytes"] - store["used_bytes"]) * _FILLED_SHARE)
    if free < _FILL_BYTES_MIN:
        return Filled("the store is full already")
    filler = subprocess.Popen(
        [sys.executable, "-c", _FILLER, node.folder, str(free)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # so that Ctrl-C does not tear it
    )

    said: list[str] = []

    def heal() -> None:
        with suppress(subprocess.TimeoutExpired):
            text = filler.communicate(timeout=_EMPTY_S)[1].decode("utf-8", "replace")
            said.extend(filter(None, text.splitlines()))
        filler.kill()
        filler.communicate()

    assert filler.stdout is not None
    try:
        is_told, _, _ = select.select([filler.stdout], [], [], _FILL_S)
        is_full = bool(is_told) and filler.stdout.readline() == b"full\n"
    except BaseException:
        heal()
        raise
    if not is_full:
        heal()
        why = said or [f"not within {_FILL_S:g} s"]
        return Filled(f"it was not filled: {why[-1]}")
    return Filled(f"{free >> 20} MiB", heal)
