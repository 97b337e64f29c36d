"""Memory full, /dev/shm full, disk full, disk damaged: errors where one writes, and right bytes.

As root, programs run in a mount namespace of their own, and in a control group with little memory
where there is version 1 of them; otherwise with a small store and a bound on the size of files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy
import pytest

import zgen
from tests.integration import scripts
from tests.integration.memories import MIB, daemon, lower_store_full, store, wait_for_no_regions
from zgen.exceptions import ObjectLostError
from zgen.limits import SECOND

pytestmark = pytest.mark.chaos

GROUPS: Final = Path("/sys/fs/cgroup/memory")
GROUP_BYTES: Final = 320 * MIB
IS_ROOT: Final = os.getuid() == 0


@pytest.fixture
def group() -> Iterator[Path | None]:
    """A control group with little memory, or None where that cannot be had."""
    path = GROUPS / f"zgen-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError:
        yield None
        return
    try:
        (path / "memory.limit_in_bytes").write_text(str(GROUP_BYTES))
        yield path
    finally:
        for _ in range(100):  # the kernel lets go of a process a moment after its end
            try:
                path.rmdir()
                break
            except OSError:
                time.sleep(0.05)


def run(folder: Path, source: str, group: Path | None, *mounts: str) -> str:
    """Run a program, and as root with ``mounts`` of its own; return what it printed."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(source))
    command = [sys.executable, "-X", "dev", str(script)]
    if IS_ROOT:
        entering = [f"echo $$ > {group}/cgroup.procs"] if group is not None else []
        shell = " && ".join([*entering, *mounts, 'exec "$@"'])
        command = ["unshare", "--mount", "sh", "-c", shell, "sh", *command]
    lowered = lower_store_full(folder, 2 * SECOND)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**scripts.environment(), "PYTHONPATH": lowered},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return scripts.succeeded(done)


STORE_FULL = """
    import os, threading, time
    import numpy, zgen
    from tests.integration import memories
    from tests.integration.memories import MIB, store
    from tests.integration.watching import wait_until

    @zgen.remote
    def arrays(count):
        for number in range(count):
            yield numpy.full(MIB, number, numpy.uint8)

    @zgen.remote
    def pid():
        return os.getpid()

    if {is_root}:
        space = os.statvfs("/dev/shm")
        assert space.f_blocks * space.f_frsize == 16 * MIB and space.f_bavail == 0, space
    zgen.init(num_cpus=1, object_store_memory={store_bytes}, object_spilling_directory=".")
    capacity = store()["capacity_bytes"]
    assert {low} <= capacity <= {high}, capacity
    worker = zgen.get(pid.remote())

    # Spill.
    count = 2 * capacity // MIB
    refs = [zgen.put(numpy.full(MIB, number % 251, numpy.uint8)) for number in range(count)]
    assert store()["spilled_bytes"] >= capacity // 2, store()
    for number, ref in enumerate(refs):
        assert (zgen.get(ref) == number % 251).all()
    del refs, ref

    # Backpressure.
    gen = arrays.remote(200)
    wait_until(lambda: store()["waiting"] > 0, 20, "the producer waits")
    for number, ref in enumerate(gen):
        assert (zgen.get(ref) == number).all()
        assert store()["spilled_bytes"] == 0, store()
    assert number == 199
    del ref

    # The error.
    views = []
    began = time.monotonic()
    try:
        while True:
            number = len(views) % 251
            views.append(zgen.get(zgen.put(numpy.full(MIB, number, numpy.uint8))))
    except zgen.exceptions.ObjectStoreFullError as error:
        (name, size, regions), *_ = error.largest_holders
        assert name == f"driver pid={{os.getpid()}}" and name in str(error)
        assert size == regions * MIB == len(views) * MIB > 0.9 * capacity, error
    for number, view in enumerate(views):
        assert (view == number % 251).all()
    assert zgen.get(pid.remote()) == worker  # nobody crashed
    assert memories.slab_bytes(memories.daemon()) <= capacity
    del views, view
    memories.wait_for_no_regions()
    assert (zgen.get(zgen.put(numpy.ones(capacity // 2, numpy.uint8))) == 1).all()
    zgen.shutdown()
    print("done")
"""


def kills_of(group: Path) -> int:
    """Return how many processes of a group were killed for want of memory."""
    lines = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
    return int(lines.get("oom_kill", 0))


@pytest.mark.root
def test_a_full_store_beside_a_full_dev_shm_and_in_little_memory_is_an_error_and_no_signal(
    tmp_path: Path, group: Path | None
) -> None:
    source = STORE_FULL.format(
        is_root=True,
        store_bytes=None if group else 64 * MIB,
        low=GROUP_BYTES // 4 if group else 64 * MIB,
        high=GROUP_BYTES // 3 if group else 64 * MIB,
    )
    full = "mount -t tmpfs -o size=16m zgen /dev/shm", "head -c 16M /dev/zero > /dev/shm/full"
    assert run(tmp_path, source, group, *full) == "done\n"
    if group is not None:
        assert kills_of(group) == 0


def test_a_full_store_is_an_error_and_no_signal(tmp_path: Path) -> None:
    source = STORE_FULL.format(is_root=False, store_bytes=48 * MIB, low=48 * MIB, high=48 * MIB)
    assert run(tmp_path, source, None) == "done\n"


DISK_FULL = """
    import os, resource, threading
    import numpy, zgen
    from tests.integration import memories
    from tests.integration.memories import MIB, store

    @zgen.remote
    def double(number):
        return 2 * number

    if {has_disk}:
        space = os.statvfs("spilled")
        assert space.f_blocks * space.f_frsize == 16 * MIB, space
    else:  # slabs have 32 MiB, and must be made
        resource.setrlimit(resource.RLIMIT_FSIZE, (40 * MIB, 40 * MIB))
    zgen.init(num_cpus=1, object_store_memory=32 * MIB, object_spilling_directory="spilled")
    assert zgen.get(double.remote(1)) == 2

    refs, answers, over = [], [], threading.Event()

    def work():  # goes on while a writer waits
        while not over.is_set():
            if store()["waiting"]:
                answers.append((zgen.get(double.remote(21)), int(zgen.get(refs[-1])[-1])))

    worker = threading.Thread(target=work)
    worker.start()
    caught = None
    try:
        while len(refs) < 200:
            refs.append(zgen.put(numpy.full(MIB, len(refs), numpy.uint8)))
    except zgen.exceptions.OutOfDiskError as error:
        caught = error
    over.set()
    worker.join()
    assert caught is not None, len(refs)
    assert caught.largest_holders[0][0] == f"driver pid={{os.getpid()}}", caught
    assert "spilled" in caught.limit, caught
    assert answers.count((42, len(refs) - 1)) > 3, answers
    assert all(doubled == 42 for doubled, _ in answers)
    disk = {disk} * MIB
    spilled = store()["spilled_bytes"]
    assert disk // 2 < spilled <= disk, spilled
    assert len(refs) * MIB <= 32 * MIB + disk

    # All of what was put is right.
    {let_go}  # or there is no room to bring any back
    for number, ref in enumerate(refs):
        assert (zgen.get(ref) == number).all(), number
    del ref

    # Space returns.
    del refs[:12]
    more = [zgen.put(numpy.full(MIB, 100 + number, numpy.uint8)) for number in range(10)]
    for number, ref in enumerate([*refs, *more]):
        expected = number + 12 if number < len(refs) else 100 + number - len(refs)
        assert (zgen.get(ref) == expected).all(), number
    del refs, more, ref
    memories.wait_for_no_regions()
    assert store()["spilled_bytes"] == 0
    zgen.shutdown()
    print("done")
"""


@pytest.mark.parametrize(
    ("mounts", "disk", "let_go"),
    [
        pytest.param(
            ("mount -t tmpfs -o size=16m zgen spilled",),
            16,
            "del refs[-4:]",
            marks=pytest.mark.root,
        ),
        # A file that may not grow is not used again before it is empty.
        ((), 40, "del refs[4:]"),
    ],
    ids=["small disk", "small file"],
)
def test_a_full_disk_is_an_error_until_it_has_room_again(
    mounts: tuple[str, ...], disk: int, let_go: str, tmp_path: Path
) -> None:
    (tmp_path / "spilled").mkdir()
    source = DISK_FULL.format(has_disk=bool(mounts), disk=disk, let_go=let_go)
    assert run(tmp_path, source, None, *mounts) == "done\n"


def spill_file() -> str:
    """Return a path to the file that the node spills to."""
    folder = f"/proc/{daemon()}/fd"
    paths = [f"{folder}/{name}" for name in os.listdir(folder)]
    (found,) = [path for path in paths if "/spilled/" in os.readlink(path)]
    return found


def test_what_was_damaged_on_disk_is_lost_and_never_read(tmp_path: Path) -> None:
    (tmp_path / "spilled").mkdir()
    zgen.init(
        num_cpus=1,
        object_store_memory=16 * MIB,
        object_spilling_directory=str(tmp_path / "spilled"),
    )
    try:
        refs = [zgen.put(numpy.full(MIB, number + 1, numpy.uint8)) for number in range(40)]
        assert store()["spilled_regions"] >= 24
        with open(spill_file(), "r+b") as file:
            for at in (5 * MIB + 4711, 9 * MIB, 10 * MIB - 1):
                file.seek(at)
                (byte,) = file.read(1)
                file.seek(at)
                file.write(bytes([byte ^ 1]))
        lost: list[int] = []
        value: Any = None
        for number, ref in enumerate(refs):
            try:
                value = zgen.get(ref)
                assert (value == number + 1).all()
            except ObjectLostError:
                lost.append(number)
        assert len(lost) == 2
        with pytest.raises(ObjectLostError, match="damaged"):
            zgen.get(refs[lost[0]])
        del refs, ref, value
        wait_for_no_regions()
        assert (zgen.get(zgen.put(numpy.ones(8 * MIB, numpy.uint8))) == 1).all()
    finally:
        zgen.shutdown()
