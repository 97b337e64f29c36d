"""Values in shared memory: put, passed, yielded and returned, read-only, and gone when unused."""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import zgen
from tests.integration import scripts
from tests.integration.watching import wait_until
from zgen.io import serializer
from zgen.io.serializer import Large
from zgen.limits import INLINE_BYTES_MAX
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime", "no_regions_left")

SIZE = 1 << 20


class Column:
    """Has a buffer that is pickled out of band, as Arrow's arrays have."""

    def __init__(self, content: Any) -> None:
        self.content = memoryview(content)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Column, (pickle.PickleBuffer(self.content),)


def store(runtime: Runtime) -> dict[str, int]:
    """Return what the node says of its store."""
    state = runtime.ask_node(10)
    assert state is not None
    found: dict[str, int] = json.loads(state)["store"]
    return found


@pytest.fixture
def no_regions_left(runtime: Runtime) -> Iterator[None]:
    yield

    def is_empty() -> bool:
        gc.collect()
        return store(runtime)["regions"] == 0

    wait_until(is_empty, 10, "all regions are returned")
    assert not runtime.objects._asked


@zgen.remote
def total(*arrays: Any) -> float:
    return float(sum(array.sum() for array in arrays))


@zgen.remote
def length(value: Any) -> int:
    return len(value)


@zgen.remote
def arrays(count: int, size: int = SIZE) -> Any:
    for number in range(count):
        yield numpy.full(size, number % 256, numpy.uint8)


# -- there and back --------------------------------------------------------------------------------
VALUES: list[Callable[[], Any]] = [
    lambda: numpy.arange(SIZE),
    lambda: numpy.asfortranarray(numpy.arange(SIZE).reshape(1024, -1)),
    lambda: [numpy.arange(SIZE), numpy.ones(SIZE), "and"],
    lambda: {"text": "x" * SIZE, "array": numpy.arange(20_000)},
    lambda: os.urandom(SIZE),
    lambda: bytearray(os.urandom(SIZE)),
    lambda: "é" * SIZE,
    lambda: list(range(SIZE)),
    lambda: Column(os.urandom(SIZE)),
]
IDS = ["array", "fortran", "arrays", "mixed", "bytes", "bytearray", "str", "list", "column"]


def assert_same(value: Any, expected: Any) -> None:
    assert type(value) is type(expected)
    if isinstance(expected, dict):
        for key in expected:
            assert_same(value[key], expected[key])
    elif isinstance(expected, list) and type(expected[0]) is not int:
        for mine, other in zip(value, expected, strict=True):
            assert_same(mine, other)
    elif isinstance(expected, Column):
        assert value.content == expected.content
    else:
        assert numpy.array_equal(value, expected) if hasattr(value, "dtype") else value == expected


@zgen.remote
def same(value: Any) -> Any:
    return value


@zgen.remote
def twice(value: Any) -> Any:
    yield value
    yield value


@pytest.mark.parametrize("make", VALUES, ids=IDS)
def test_a_large_value_survives_every_way(make: Callable[[], Any], runtime: Runtime) -> None:
    value = make()
    ref = zgen.put(value)
    assert store(runtime)["regions"] == 1
    assert_same(zgen.get(ref), value)
    assert_same(zgen.get(same.remote(ref)), value)
    assert_same(zgen.get(same.remote(value)), value)
    for item in twice.remote(ref):
        assert_same(zgen.get(item), value)
    for result in zgen.get(twice.options(num_returns=2).remote(ref)):
        assert_same(result, value)


@pytest.mark.parametrize("size", [1 << 17, 1 << 20, 9 << 20, 100 << 20])
def test_arrays_of_every_size_are_yielded(size: int) -> None:
    for number, ref in enumerate(arrays.remote(3, size)):
        array = zgen.get(ref)
        assert array.nbytes == size
        assert (array == number).all()


def test_the_largest_inline_value_is_inline_and_one_byte_more_is_not(runtime: Runtime) -> None:
    spare = len(pickle.dumps("x" * INLINE_BYTES_MAX, 5)) - INLINE_BYTES_MAX
    inline, stored = "x" * (INLINE_BYTES_MAX - spare), "x" * (INLINE_BYTES_MAX - spare + 1)
    first = zgen.put(inline)
    assert store(runtime)["regions"] == 0
    second = zgen.put(stored)
    assert store(runtime)["regions"] == 1
    assert zgen.get([first, second]) == [inline, stored]
    assert zgen.get([length.remote(inline), length.remote(stored)]) == [len(inline), len(stored)]
    assert zgen.get([same.remote(inline), same.remote(stored)]) == [inline, stored]


def test_several_results_of_which_some_are_large() -> None:
    @zgen.remote(num_returns=3)
    def work() -> Any:
        return numpy.arange(SIZE), 7, b"b" * SIZE

    first, second, third = zgen.get(work.remote())
    assert (first == numpy.arange(SIZE)).all()
    assert (second, third) == (7, b"b" * SIZE)


def test_a_large_error_is_raised_as_ever() -> None:
    @zgen.remote
    def work() -> Any:
        raise ValueError("x" * SIZE)

    with pytest.raises(ValueError, match="xxx"):
        zgen.get(work.remote())


# -- arguments -------------------------------------------------------------------------------------
def test_a_value_that_many_tasks_get_is_written_once(runtime: Runtime) -> None:
    ref = zgen.put(numpy.ones(SIZE))
    results = [total.remote(ref, ref) for _ in range(20)]
    assert zgen.get(results) == [2 * SIZE] * 20
    assert store(runtime)["regions"] == 1


def test_a_large_argument_needs_no_reference_and_is_gone_with_its_task(runtime: Runtime) -> None:
    array = numpy.ones(SIZE)
    assert zgen.get(total.remote(array, array)) == 2 * SIZE
    assert zgen.get(length.remote(value=array)) == SIZE
    del array
    wait_until(lambda: store(runtime)["regions"] == 0, 10, "the arguments are gone")


def test_one_large_argument_given_twice_is_one_object() -> None:
    @zgen.remote
    def work(first: Any, second: Any, small: int, third: Any) -> Any:
        return first is second is third, small

    array = numpy.ones(SIZE)
    assert zgen.get(work.remote(array, array, 5, third=array)) == (True, 5)


def test_many_arguments_that_are_large_together_arrive() -> None:
    parts = [numpy.full(INLINE_BYTES_MAX // 2, n, numpy.uint8) for n in range(10)]
    assert zgen.get(total.remote(*parts)) == sum(part.sum() for part in parts)


def test_items_of_a_stream_are_arguments_of_other_tasks() -> None:
    totals = [total.remote(ref) for ref in arrays.remote(10)]
    assert zgen.get(totals) == [number * SIZE for number in range(10)]


# -- views -----------------------------------------------------------------------------------------
def test_what_was_got_is_read_only_and_one_memory() -> None:
    ref = zgen.put(numpy.zeros(SIZE))
    first, second = zgen.get([ref, ref])
    assert not first.flags.writeable
    assert not first.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    assert first.ctypes.data == second.ctypes.data


def test_what_was_put_is_a_copy() -> None:
    array = numpy.zeros(SIZE)
    ref = zgen.put(array)
    array[:] = 1
    assert not zgen.get(ref).any()


def test_a_view_keeps_the_memory_when_the_reference_is_gone(runtime: Runtime) -> None:
    ref = zgen.put(numpy.arange(SIZE))
    part = zgen.get(ref)[5:10]
    del ref
    others = [zgen.put(numpy.zeros(SIZE)) for _ in range(5)]
    assert part.tolist() == [5, 6, 7, 8, 9]
    del others
    wait_until(lambda: store(runtime)["regions"] == 1, 10, "only the viewed region is left")
    assert part.tolist() == [5, 6, 7, 8, 9]
    del part
    wait_until(lambda: store(runtime)["regions"] == 0, 10, "the viewed region is returned")


def test_an_argument_that_a_worker_keeps_stays_readable_there() -> None:
    @zgen.remote
    def keep(array: Any) -> int:
        import builtins

        builtins.kept = array  # type: ignore[attr-defined]
        return os.getpid()

    @zgen.remote
    def look(pid: int, let_go: bool) -> Any:
        import builtins

        if os.getpid() != pid:
            return None
        found = float(builtins.kept.sum())  # type: ignore[attr-defined]
        if let_go:
            del builtins.kept  # type: ignore[attr-defined]
        return found

    def look_there(let_go: bool) -> Any:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = zgen.get(look.remote(pid, let_go))
            if found is not None:
                return found
        raise AssertionError("the worker is gone")

    pid = zgen.get(keep.remote(numpy.ones(SIZE)))
    others = [zgen.put(numpy.zeros(SIZE)) for _ in range(5)]
    assert look_there(False) == SIZE
    del others
    assert look_there(True) == SIZE


def test_memory_is_used_again(runtime: Runtime) -> None:
    before = store(runtime)["used_bytes"]
    for number in range(40):
        ref = zgen.put(numpy.full(4 * SIZE, number, numpy.uint8))
        assert zgen.get(ref)[-1] == number
        del ref
        wait_until(lambda: store(runtime)["regions"] == 0, 10, "the region is returned")
    assert store(runtime)["used_bytes"] <= before + (64 << 20)


# -- deaths ----------------------------------------------------------------------------------------
def die_when_writing() -> None:
    """Let the next write into shared memory kill this process, half done."""
    from zgen.io import copying

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    for name in ("copy", "write_all"):
        setattr(copying, name, die)


def test_a_worker_that_dies_while_it_writes_leaves_nothing() -> None:
    @zgen.remote(max_retries=0)
    def returns() -> Any:
        die_when_writing()
        return numpy.ones(SIZE)

    @zgen.remote(max_retries=0)
    def yields() -> Any:
        yield numpy.ones(SIZE)
        die_when_writing()
        yield numpy.ones(SIZE)

    with pytest.raises(zgen.exceptions.WorkerCrashedError):
        zgen.get(returns.remote())
    first, second = yields.remote()
    assert zgen.get(first).sum() == SIZE
    with pytest.raises(zgen.exceptions.WorkerCrashedError):
        zgen.get(second)


def test_a_worker_that_dies_while_it_reads_leaves_nothing() -> None:
    @zgen.remote(max_retries=0)
    def work(array: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    ref = zgen.put(numpy.ones(SIZE))
    with pytest.raises(zgen.exceptions.WorkerCrashedError):
        zgen.get(work.remote(ref))
    assert zgen.get(ref).sum() == SIZE


def test_a_stream_whose_worker_dies_goes_on_with_large_items(tmp_path: Path) -> None:
    @zgen.remote(max_retries=1)
    def work(mark: str) -> Any:
        for number in range(6):
            if number == 3 and not os.path.exists(mark):
                Path(mark).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield numpy.full(SIZE, number)

    found = [int(zgen.get(ref)[-1]) for ref in work.remote(str(tmp_path / "mark"))]
    assert found == list(range(6))


def test_a_stream_that_is_dropped_returns_its_regions(runtime: Runtime) -> None:
    stream = arrays.remote(50)
    next(stream)
    del stream
    wait_until(lambda: store(runtime)["regions"] == 0, 10, "what was not taken is returned")


DAEMON_DIES = """
    import os, signal, time
    import numpy, zgen
    from zgen.runtime import process, start

    @zgen.remote
    def arrays():
        for number in range(3):
            yield numpy.full(1 << 20, number)

    zgen.init(num_cpus=1)
    refs = [zgen.put(numpy.arange(1 << 18)), *arrays.remote()]
    views = zgen.get(refs)
    unseen = [zgen.put(numpy.full(9 << 20, 7, numpy.uint8)), *arrays.remote()]
    waiting = arrays.remote()
    zgen.get(waiting.completed())
    while process.current._keeper._working:
        time.sleep(0.01)
    os.kill(start.driver.node.daemon, signal.SIGKILL)
    while True:
        try:
            zgen.put(numpy.ones(1 << 18))
        except zgen.exceptions.NodeDiedError:
            break
        time.sleep(0.01)
    assert (views[0] == numpy.arange(1 << 18)).all()
    assert [int(view[-1]) for view in views[1:]] == [0, 1, 2]
    assert [int(zgen.get(ref)[-1]) for ref in refs[1:]] == [0, 1, 2]
    assert [int(zgen.get(ref)[-1]) for ref in [*unseen, *waiting]] == [7, 0, 1, 2, 0, 1, 2]
    zgen.shutdown()
    assert [int(view[-1]) for view in views[1:]] == [0, 1, 2]
    try:
        zgen.get(refs[0])
    except zgen.exceptions.ObjectLostError as lost:
        assert "shut down" in str(lost)
    del views
    assert not [line for line in open("/proc/self/maps") if "zgen-slab" in line]
    print("done")
"""


def test_when_the_daemon_dies_the_views_of_its_driver_stay(tmp_path: Path) -> None:
    done = scripts.run(tmp_path, DAEMON_DIES)
    assert done.stdout == "done\n", done.stderr


INTERRUPTED = """
    import json, os, signal, threading, time
    import numpy, zgen
    from zgen.runtime import process

    def regions():
        return json.loads(process.current.ask_node(10))["store"]["regions"]

    zgen.init(num_cpus=1, object_store_memory=32 << 20)
    views = [zgen.get(zgen.put(numpy.full(10 << 20, n, numpy.uint8))) for n in range(3)]
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        zgen.put(numpy.zeros(10 << 20, numpy.uint8))
    except KeyboardInterrupt:
        print([int(view[-1]) for view in views], process.current.objects._asked)
    del views
    deadline = time.monotonic() + 10
    while regions() and time.monotonic() < deadline:
        time.sleep(0.01)
    print(regions(), zgen.get(zgen.put(numpy.ones(20 << 20, numpy.uint8))).sum() >> 20)
    zgen.shutdown()
"""


def test_a_put_that_waits_for_room_can_be_interrupted_and_leaks_nothing(tmp_path: Path) -> None:
    done = scripts.run(tmp_path, INTERRUPTED)
    assert scripts.succeeded(done) == "[0, 1, 2] {}\n0 20\n"


SMALL_STORE = """
    from collections import deque
    import numpy, zgen

    @zgen.remote
    def arrays():
        for number in range(300):
            yield numpy.full(1 << 20, number % 256, numpy.uint8)

    zgen.init(num_cpus=1, object_store_memory=32 << 20)
    kept = deque(maxlen=3)
    for number, ref in enumerate(arrays.remote()):
        kept.append(zgen.get(ref))
        first = max(0, number - 2)
        expected = [n % 256 for n in range(first, number + 1)]
        assert [int(array[0]) for array in kept] == expected, number
        assert [int(array[-1]) for array in kept] == expected, number
    print(number)
    zgen.shutdown()
"""


def test_more_than_the_store_holds_goes_through_it(tmp_path: Path) -> None:
    assert scripts.succeeded(scripts.run(tmp_path, SMALL_STORE)) == "299\n"


def test_no_small_value_loads_what_large_ones_need(tmp_path: Path) -> None:
    source = """
        import sys
        import zgen
        assert zgen.get(zgen.put({"k": 1})) == {"k": 1}
        print([name for name in ("ctypes", "zgen.io.shared_memory") if name in sys.modules])
    """
    assert scripts.succeeded(scripts.run(tmp_path, source)) == "[]\n"


def test_the_serialiser_calls_these_values_large() -> None:
    for make in VALUES:
        assert isinstance(serializer.serialize(make()), Large)


LEAVES = """
    import numpy, zgen
    from zgen.io import spawn

    node = spawn.start_node(1, object_store_memory=32 << 20, embedded=False)
    try:
        zgen.init(address=node.address.endpoint)
        view = zgen.get(zgen.put(numpy.full(4 << 20, 7, numpy.uint8)))
        zgen.shutdown()
        zgen.init(address=node.address.endpoint)
        for _ in range(20):
            zgen.get(zgen.put(numpy.zeros(4 << 20, numpy.uint8)))
        assert (view == 7).all()
        zgen.shutdown()
        print("done")
    finally:
        node.stop()
"""


def test_nothing_is_reused_under_a_view_that_outlives_a_shutdown(tmp_path: Path) -> None:
    assert scripts.succeeded(scripts.run(tmp_path, LEAVES)) == "done\n"
