"""What a node's store takes of the machine, and what is seen of it, for tests."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any, Final

import numpy

import zgen
from tests.integration.watching import wait_until
from zgen.runtime import process, start

MIB: Final = 1 << 20

#: Lowers the bound in every interpreter that finds this file as ``sitecustomize``.
_SOON_FULL: Final = """
import zgen.limits
zgen.limits.STORE_FULL_NS = {full_ns}
"""


def lower_store_full(folder: Path, full_ns: int) -> str:
    """Make a folder for ``PYTHONPATH`` with which a node refuses writers after ``full_ns``."""
    path = folder / "lowered"
    path.mkdir()
    (path / "sitecustomize.py").write_text(_SOON_FULL.format(full_ns=full_ns))
    root = Path(__file__).resolve().parents[2]
    return os.pathsep.join(map(str, (path, root, root / "node")))


def daemon() -> int:
    """Return the process id of the daemon that this driver started."""
    assert start.driver is not None
    return start.driver.node.daemon


def node_report() -> dict[str, Any]:
    """Return what the node says of itself."""
    assert process.current is not None
    state = process.current.ask_node(10)
    assert state is not None
    found: dict[str, Any] = json.loads(state)
    return found


def store() -> dict[str, int]:
    """Return what the node says of its store."""
    found: dict[str, int] = node_report()["store"]
    return found


def slab_bytes(pid: int) -> int:
    """Return the bytes of memory that the slabs of which a process has a descriptor take."""
    taken: dict[int, int] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{name}"
        try:
            if "zgen-slab" in os.readlink(path):
                stat = os.stat(path)
                taken[stat.st_ino] = stat.st_blocks * 512
        except FileNotFoundError:  # it was open for a moment, to be sent
            continue
    return sum(taken.values())


def own_bytes(pid: int) -> int:
    """Return the memory of a process that nobody shares."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("RssAnon:")]
    return int(line.split()[1]) << 10


def wait_for_no_regions() -> None:
    """Wait until every region of the node was returned."""

    def is_empty() -> bool:
        gc.collect()
        return store()["regions"] == 0

    wait_until(is_empty, 10, "all regions are returned")


def wait_for_no_memory() -> None:
    """Wait until the node has given all memory of its store back to the machine."""
    wait_for_no_regions()
    wait_until(lambda: slab_bytes(daemon()) == 0, 10, "no memory is kept")
    assert store()["used_bytes"] == 0


def reuse_everything(capacity_bytes: int, number: int = 0xEE) -> None:
    """Make the node write ``number`` wherever it may: three times what it has room for.

    What is put stays referred to and is spilled, so that every room that is free is used.
    """
    count = 3 * capacity_bytes // MIB
    refs = [zgen.put(numpy.full(MIB, number, numpy.uint8)) for _ in range(count)]
    assert store()["spilled_bytes"] > capacity_bytes
    assert (zgen.get(refs[-1]) == number).all()
