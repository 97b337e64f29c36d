"""SIGKILL of readers, writers, owners and daemons of shared memory: nothing left, nothing reused.

The checker of all of them: views with a known pattern stay open while the node is made to write
another pattern wherever it may, and must not change.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy
import pytest

import zgen
from tests.chaos.hangman import Hangman, await_kill, await_mark, mark, marks
from tests.integration.gates import Gate
from tests.integration.memories import (
    MIB,
    daemon,
    node_report,
    reuse_everything,
    slab_bytes,
    store,
    wait_for_no_memory,
    wait_for_no_regions,
)
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive, marked, wait_until
from zgen.exceptions import NodeDiedError, ObjectLostError, WorkerCrashedError
from zgen.runtime import process, start

pytestmark = pytest.mark.chaos

CAPACITY: Final = 48 * MIB


@pytest.fixture
def spill_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "spilled"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def node(spill_folder: Path) -> Iterator[None]:
    """A node of two CPUs and a small store, that is empty at the end if it lives."""
    zgen.init(num_cpus=2, object_store_memory=CAPACITY, object_spilling_directory=str(spill_folder))
    try:
        yield
        if process.current is not None:
            wait_for_no_regions()
            with process.current.loop.lock:
                process.current.machine.check()
    finally:
        zgen.shutdown()
    assert list(spill_folder.iterdir()) == []


@pytest.fixture
def hangman(tmp_path: Path) -> Iterator[Hangman]:
    with Hangman(tmp_path) as started:
        yield started


class Kept:
    """Views of the driver, each full of its own number, that nobody may change."""

    def __init__(self, size: int = MIB) -> None:
        refs = [zgen.put(numpy.full(size, number, numpy.uint8)) for number in range(4)]
        self.views = dict(enumerate(zgen.get(refs)))

    def assert_unchanged(self, others: int = 0) -> None:
        """Have all else used again, twice; ``others`` is how many regions others look at."""
        reuse_everything(CAPACITY)
        wait_for_regions(len(self.views) + others)
        reuse_everything(CAPACITY, 0x55)
        for number, view in self.views.items():
            assert (view == number).all()


def wait_for_regions(count: int) -> None:
    wait_until(lambda: store()["regions"] == count, 10, f"{count} regions are left")


def worker_pids() -> list[int]:
    return [worker["pid"] for worker in node_report()["workers"]]


def kill(pid: int) -> None:
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), 5, f"{pid} dead")


@zgen.remote(max_retries=0)
def keeps_looking(array: Any, number: int, seen: str, look: str, told: str) -> None:
    """Look at the argument, and again when told to; then stay."""
    mark(seen, str(os.getpid()))
    Gate(Path(look)).wait()
    mark(told, "unchanged" if (array == number).all() else "changed")
    time.sleep(60)


def test_a_reader_killed_with_views_open_leaves_nothing(tmp_path: Path) -> None:
    seen, told, look = tmp_path / "seen", tmp_path / "told", Gate(tmp_path / "look")
    kept = Kept()
    ref = zgen.put(numpy.full(8 * MIB, 7, numpy.uint8))
    done = keeps_looking.remote(ref, 7, str(seen), str(look.path), str(told))
    reader = int(await_mark(seen, "the reader looks"))
    del ref
    kept.assert_unchanged(1)
    look.open()
    assert await_mark(told, "the reader has looked again") == "unchanged"
    kill(reader)
    with pytest.raises(WorkerCrashedError):
        zgen.get(done)
    wait_for_regions(len(kept.views))
    kept.assert_unchanged()
    del kept
    wait_for_no_memory()


def stop_halfway(name: str, fifo: str) -> None:
    """Have this process killed when half of the next value lies in shared memory."""
    from zgen.io import copying

    def half_a_copy(address: int, part: memoryview) -> None:
        copy(address, part[: part.nbytes // 2])
        await_kill(fifo)

    def half_a_write(fd: int, batch: list[memoryview], offset: int) -> int:
        write(fd, [batch[0][: batch[0].nbytes // 2]], offset)
        await_kill(fifo)
        return 0

    copy, write = copying.copy, copying._pwritev
    replacement = {"copy": half_a_copy, "_pwritev": half_a_write}[name]
    setattr(copying, name, replacement)


@zgen.remote(max_retries=1)
def dies_in_a_write(count: int, kill_at: int, name: str, log: str, fifo: str) -> Iterator[Any]:
    for number in range(count):
        if mark(log, str(number)) == 1 and number == kill_at:
            stop_halfway(name, fifo)
        yield numpy.full(2 * MIB, 100 + number, numpy.uint8)


@pytest.mark.parametrize(
    ("name", "kill_at"), [("_pwritev", 0), ("copy", 25)], ids=["fresh", "warm"]
)
def test_a_stream_whose_writer_is_killed_half_way_goes_on_without_a_gap(
    name: str, kill_at: int, hangman: Hangman, tmp_path: Path
) -> None:
    kept, log = Kept(), tmp_path / "log"
    gen = dies_in_a_write.remote(40, kill_at, name, str(log), hangman.fifo)
    count = 0
    last: Any = None
    for number, ref in enumerate(gen):
        last = zgen.get(ref)
        assert last.nbytes == 2 * MIB
        assert (last == 100 + number).all()
        count += 1
    assert count == 40
    assert len(hangman.killed) == 1
    executed = [int(line) for line in marks(log)]
    killed_in = len(executed) - 40 - 1  # at or after the item, when such memory was at hand
    assert killed_in >= kill_at
    assert executed == [*range(killed_in + 1), *range(40)]
    del ref, gen
    kept.assert_unchanged(1)
    assert (last == 139).all()
    del last, kept
    wait_for_no_memory()


def test_a_writer_killed_in_the_middle_of_the_systems_own_write_leaves_nothing(
    tmp_path: Path,
) -> None:
    size, log = 40 * MIB, tmp_path / "log"

    @zgen.remote(max_retries=1)
    def writes(log: str) -> Any:
        array = numpy.full(size, 9, numpy.uint8)
        mark(log, str(os.getpid()))
        return array

    for _ in range(10):
        log.unlink(missing_ok=True)
        ref = writes.remote(str(log))
        pid = int(await_mark(log, "it writes"))
        deadline = time.monotonic() + 2
        while slab_bytes(daemon()) < MIB and time.monotonic() < deadline:
            pass
        os.kill(pid, signal.SIGKILL)
        written = slab_bytes(daemon())
        assert (zgen.get(ref) == 9).all()
        del ref
        wait_for_no_memory()
        if MIB <= written < size and len(log.read_text().split()) == 2:
            break
    else:
        pytest.fail("no write was hit in its middle")


@zgen.remote(max_retries=0, num_cpus=0)
def owns(seen: str, look: str, told: str, owner: str) -> None:
    """Put a value, have another task look at it, and stay."""
    ref = zgen.put(numpy.full(8 * MIB, 3, numpy.uint8))
    mark(owner, str(os.getpid()))
    zgen.get(keeps_looking.options(num_cpus=0).remote(ref, 3, seen, look, told))


def test_an_owner_killed_while_another_task_looks_leaves_nothing(tmp_path: Path) -> None:
    seen, told, owner = (tmp_path / name for name in ("seen", "told", "owner"))
    look = Gate(tmp_path / "look")
    kept = Kept()
    done = owns.remote(str(seen), str(look.path), str(told), str(owner))
    reader = int(await_mark(seen, "the other task looks"))
    victim = int(await_mark(owner, "its owner has named itself"))
    assert reader != victim
    kill(victim)
    with pytest.raises(WorkerCrashedError):
        zgen.get(done)
    wait_until(lambda: not is_alive(reader), 10, "a task without an owner ends")
    wait_for_regions(len(kept.views))
    kept.assert_unchanged()


def test_views_outlive_the_daemon_and_nothing_else_does(spill_folder: Path) -> None:
    @zgen.remote
    def arrays(count: int) -> Iterator[Any]:
        for number in range(count):
            yield numpy.full(MIB, 200 + number, numpy.uint8)

    kept = Kept()
    spilled = [zgen.put(numpy.full(MIB, n, numpy.uint8)) for n in range(60)]
    streamed = zgen.get(list(arrays.remote(5)))
    assert store()["spilled_regions"] > 10
    assert start.driver is not None
    folder, pids = start.driver.node.folder, [daemon(), *worker_pids()]
    below = [pid for pid in marked(folder) if pid != os.getpid()]
    assert set(pids) <= set(below)
    kill(pids[0])
    wait_until(lambda: not any(map(is_alive, below)), 5, "the node is gone")
    wait_until(lambda: not os.path.exists(folder), 5, "its folder is gone")
    assert list(spill_folder.iterdir()) == []
    for number, view in kept.views.items():
        assert (view == number).all()
    for number, view in enumerate(streamed):
        assert (view == 200 + number).all()

    def is_noticed() -> bool:
        try:
            zgen.put(numpy.zeros(MIB, numpy.uint8))
        except NodeDiedError:
            return True
        return False

    wait_until(is_noticed, 5, "a writer is told")
    outcomes = []
    for number, ref in enumerate(spilled):
        try:
            assert (zgen.get(ref, timeout=5) == number).all()
            outcomes.append("right")
        except (NodeDiedError, ObjectLostError):
            outcomes.append("lost")
    assert "lost" in outcomes  # what was on disk is
    zgen.shutdown()
    for number, view in kept.views.items():
        assert (view == number).all()


@zgen.remote
def yields_and_stays(stays: bool) -> Iterator[Any]:
    """Yield large items; between the last two sleep for ever, or be held back by the window."""
    for number in (1, 2):
        yield numpy.full(MIB, number, numpy.uint8)
    if stays:
        time.sleep(600)
    yield "the last one"


@zgen.remote
class Yields(RemoteClass):
    def items(self) -> Iterator[Any]:
        for number in (1, 2, 3):
            yield numpy.full(MIB, number, numpy.uint8)


def ruin(folder: Path) -> None:
    """Overwrite all that the daemon has on disk, in files without a name."""
    files = []
    for file in Path(f"/proc/{daemon()}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(file).startswith(str(folder)):
                files.append(file)
    assert files, "nothing is on disk"
    for file in files:
        with file.open("r+b") as spilled:
            spilled.write(bytes(file.stat().st_size))


def test_an_item_that_the_disk_loses_comes_while_its_generator_stays(spill_folder: Path) -> None:
    window = {"_generator_backpressure_num_objects": 1}
    actor = Yields.options(max_restarts=-1).remote()
    gens: list[Any] = [
        actor.items.options(max_task_retries=-1, **window).remote(),
        yields_and_stays.options(**window).remote(False),
        yields_and_stays.remote(True),
    ]
    while gens:
        gen = gens.pop(0)
        first = next(gen)
        others = [zgen.put(numpy.zeros(MIB, numpy.uint8)) for _ in range(CAPACITY // MIB + 8)]
        assert store()["spilled_regions"] > 0
        ruin(spill_folder)
        assert (zgen.get(first, timeout=30) == 1).all()
        del first, others
        assert (zgen.get(next(gen), timeout=30) == 2).all()
        gen.close()
