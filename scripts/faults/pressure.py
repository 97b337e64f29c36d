"""RF20: consumers that are a thousand times slower than their producers."""

from __future__ import annotations

import os
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import wait_until
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, made
from tests.integration.memories import daemon, own_bytes, slab_bytes
from tests.integration.remote_class import RemoteClass
from zgen import state

MIB: Final = 1 << 20
WINDOW_COUNT: Final = 64
WINDOW_BYTES: Final = 64 * MIB
#: Bytes of an item of each kind of stream: in shared memory, and inline.
SIZES: Final = {"large": MIB, "small": 16 << 10}
CONSUMER_BYTES_PER_S: Final = MIB
_COUNT: Final = struct.Struct("Q")


def made_in(path: Path) -> int:
    """Return how many items a body has made."""
    return int(_COUNT.unpack(path.read_bytes())[0])


def items(path: str, size_bytes: int) -> Iterator[bytes]:
    """Yield items as fast as anybody lets, and say how many were made."""
    file = os.open(path, os.O_WRONLY)
    try:
        item = bytes(size_bytes)
        for count in range(1, 1_000_000):
            os.pwrite(file, _COUNT.pack(count), 0)
            yield item
    finally:
        os.close(file)


class Source(RemoteClass):
    """The same as a method of a regular or a threaded actor."""

    def items(self, path: str, size_bytes: int) -> Iterator[bytes]:
        """Yield items."""
        return (yield from items(path, size_bytes))


class AsyncSource(RemoteClass):
    """The same as a method of an async actor."""

    async def items(self, path: str, size_bytes: int) -> AsyncIterator[bytes]:
        """Yield items."""
        for item in items(path, size_bytes):
            yield item


def _makers() -> dict[str, Any]:
    """Return what begins a stream, by kind of worker, each with a worker of its own."""
    wide = {"max_pending_items": WINDOW_COUNT, "max_pending_bytes": WINDOW_BYTES}
    found: dict[str, Any] = {"task": zgen.remote(num_cpus=0, **wide)(items).remote}
    kinds: dict[str, tuple[type, dict[str, Any]]] = {
        "regular actor": (Source, {}),
        "threaded actor": (Source, {"max_concurrency": 4}),
        "async actor": (AsyncSource, {}),
    }
    for kind, (cls, options) in kinds.items():
        actor: Any = zgen.remote(num_cpus=0, **options)(cls).remote()
        found[kind] = actor.items.options(num_returns="streaming", **wide).remote
    return found


def _node_bytes() -> int:
    """Return the memory of the node and of this program, beside the code that they share."""
    workers = [row.pid for row in state.list_workers() if row.worker_type == "WORKER" and row.pid]
    pids = {daemon(), os.getpid(), *workers}
    return slab_bytes(daemon()) + sum(own_bytes(pid) for pid in pids)


def _one(make: Any, path: Path, size_bytes: int, lasts_s: float) -> tuple[int, int, float]:
    """Read slowly; return most items ahead, by how much memory grew at most, and the pace."""
    path.write_bytes(_COUNT.pack(0))
    before = _node_bytes()
    most_ahead = most_bytes = taken = 0
    began = time.monotonic()
    with make(str(path), size_bytes) as stream:
        full = WINDOW_COUNT - 2
        wait_until(lambda: made_in(path) >= full, PATIENCE_S, "the window is full")
        fast = made_in(path) * size_bytes / (time.monotonic() - began)
        began = time.monotonic()
        while time.monotonic() - began < lasts_s:
            due = taken * size_bytes / CONSUMER_BYTES_PER_S
            if time.monotonic() - began >= due:
                made(len(zgen.get(next(stream))) == size_bytes, "an item came whole")
                taken += 1
            else:
                time.sleep(0.02)
            most_ahead = max(most_ahead, made_in(path) - taken)
            most_bytes = max(most_bytes, _node_bytes() - before)
    del stream
    wait_until(lambda: not state.list_streams(), PATIENCE_S, "the stream is gone")
    return most_ahead, most_bytes, fast


def rf20(setting: Setting) -> Outcome:
    """Read streams of every kind of worker at 1 MiB/s that are made as fast as they can be."""
    lasts_s = 3.0 if setting.quick else 15.0
    ahead: list[int] = []
    grew: list[float] = []
    paces: list[float] = []
    with tempfile.TemporaryDirectory(prefix="zf-") as folder, zgen.init(num_cpus=4):
        path = Path(folder) / "count"
        for make in _makers().values():
            _one(make, path, 1, 0.5)  # so that its worker is there
            for size_bytes in SIZES.values():
                most_ahead, most_bytes, pace = _one(make, path, size_bytes, lasts_s)
                ahead.append(most_ahead)
                grew.append(most_bytes / min(WINDOW_BYTES, WINDOW_COUNT * size_bytes))
                paces.append(pace)
    large = [(a, g) for a, g in zip(ahead[::2], grew[::2], strict=True)]
    good = max(ahead) <= WINDOW_COUNT + 1 and max(g for _, g in large) <= 1.2
    told = (
        f"{len(ahead)} streams of tasks and of all kinds of actor, of items of 1 MiB and 16 KiB, "
        f"made at up to {max(paces) / MIB:.0f} MiB/s and read at 1 MiB/s for {lasts_s:.0f} s each: "
        f"at most {max(ahead)} items ahead of a window of {WINDOW_COUNT} items and 64 MiB, with "
        f"the one that is being made; memory grew by {max(g for _, g in large):.2f} times the "
        f"window at most"
    )
    figures = {"ahead_count": float(max(ahead)), "grew_windows": max(g for _, g in large)}
    return Outcome(good, told, figures)


ROWS: Final = {
    "RF20": Row(
        "a consumer reads 1 MiB/s of what is made a thousand times faster",
        "never ahead by more than the window of 64 items and 64 MiB; memory grows by at most 1.2 "
        "times that",
        rf20,
    ),
}
