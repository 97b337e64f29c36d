"""Starting and leaving zgen, and the ways in which programs are run."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, seconds_since
from tests.integration.scripts import run, start, succeeded, type_in
from tests.integration.watching import wait_until
from zgen.exceptions import (
    GetTimeoutError,
    LocalProtocolError,
    ObjectLostError,
    StreamClosedError,
    ZgenError,
)
from zgen.runtime import process
from zgen.testing import leaks


@zgen.remote
def echo(value: Any) -> Any:
    return value


@zgen.remote
def numbers(count: int) -> Any:
    yield from range(count)


@zgen.remote
def after(gate: Gate, value: Any = None) -> Any:
    gate.wait()
    return value


@zgen.remote
def one_then_wait(gate: Gate) -> Any:
    yield 1
    gate.wait()
    yield 2


# -- init and shutdown -----------------------------------------------------------------------------
def test_init_says_what_it_started_and_shutdown_ends_it() -> None:
    assert not zgen.is_initialized()
    context = zgen.init(num_cpus=3, num_gpus=1, resources={"disk": 2.5})
    try:
        assert zgen.is_initialized()
        assert context.resources == {"CPU": 3, "GPU": 1, "disk": 2.5}
        assert Path(context.session_dir).is_dir()
        assert context.address.startswith("ipc://")
        assert context.node_id
    finally:
        zgen.shutdown()
    assert not zgen.is_initialized()
    assert not Path(context.session_dir).exists()


def test_the_cpus_are_those_that_this_process_may_use_by_default() -> None:
    with zgen.init() as context:
        assert context.resources == {"CPU": len(os.sched_getaffinity(0))}


def test_a_second_init_is_an_error_that_says_what_to_do() -> None:
    with zgen.init(num_cpus=1) as context:
        with pytest.raises(RuntimeError, match=r"shutdown\(\).*ignore_reinit_error"):
            zgen.init()
        again = zgen.init(num_cpus=7, ignore_reinit_error=True)
        assert (again.address, again.resources) == (context.address, {"CPU": 1})
        assert zgen.get(echo.remote(1)) == 1
    assert not zgen.is_initialized()


def test_shutdown_is_harmless_before_init_and_twice() -> None:
    zgen.shutdown()
    zgen.init(num_cpus=1)
    zgen.shutdown()
    zgen.shutdown()


def test_the_context_shuts_down_when_its_block_raises() -> None:
    with pytest.raises(KeyError, match="out"), zgen.init(num_cpus=1):
        raise KeyError("out")
    assert not zgen.is_initialized()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_cpus": "2"}, TypeError),
        ({"num_gpus": -1}, ValueError),
        ({"resources": {"disk": -1}}, ValueError),
        ({"resources": {"CPU": 1}}, ValueError),
        ({"endpoint": "auto"}, TypeError),
        ({"address": "auto", "num_cpus": 1}, ValueError),
        ({"key": "/no/such/key"}, ValueError),
        ({"address": "auto"}, ZgenError),
        ({"address": "ipc:///nowhere"}, ZgenError),
    ],
    ids=repr,
)
def test_a_wrong_init_raises_and_starts_nothing(options: Any, error: Any) -> None:
    with pytest.raises(error):
        zgen.init(**options)
    assert not zgen.is_initialized()


def test_options_of_ray_without_a_meaning_here_are_taken() -> None:
    options: dict[str, Any] = {"include_dashboard": False, "logging_level": 30, "namespace": "n"}
    with zgen.init("local", num_cpus=1, **options):
        assert zgen.get(echo.remote(1)) == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda: list(numbers.remote(3)),
        lambda: zgen.get(zgen.put(1)),
    ],
    ids=["generator", "put"],
)
def test_the_first_use_starts_zgen(use: Callable[[], Any]) -> None:
    try:
        use()
        assert zgen.is_initialized()
    finally:
        zgen.shutdown()


def test_threads_that_use_it_first_at_once_share_one_node() -> None:
    start_line = threading.Barrier(4)
    results: list[tuple[int, Any]] = []

    def first_use(number: int) -> None:
        start_line.wait()
        value = zgen.get(echo.remote(number))
        results.append((value, process.current))

    threads = [threading.Thread(target=first_use, args=(number,)) for number in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(value for value, _ in results) == [0, 1, 2, 3]
        assert {id(runtime) for _, runtime in results} == {id(process.current)}
    finally:
        zgen.shutdown()


def test_three_rounds_leave_nothing() -> None:
    runtimes = []
    before = leaks.Snapshot.take()
    for _ in range(3):
        zgen.init(num_cpus=2)
        refs = [echo.remote(number) for number in range(20)] + list(numbers.remote(20))
        assert zgen.get(refs) == [*range(20), *range(20)]
        runtimes.append(weakref.ref(process.current))
        del refs
        zgen.shutdown()
        assert leaks.left_behind(before, 0.2) == []
    gc.collect()
    assert [runtime() for runtime in runtimes] == [None] * 3


def test_shutdown_is_quick_while_tasks_run(gate: Gate) -> None:
    zgen.init(num_cpus=2)
    refs = [after.remote(gate) for _ in range(10)]
    zgen.wait(refs, timeout=0.05)
    began = time.monotonic()
    zgen.shutdown()
    assert seconds_since(began) < 3
    for ref in refs:
        with pytest.raises(StreamClosedError, match="shut down"):
            zgen.get(ref, timeout=5)


def test_what_was_there_can_be_read_after_shutdown_and_the_rest_is_a_typed_error(
    gate: Gate,
) -> None:
    zgen.init(num_cpus=2)
    done, pending, stream = echo.remote([1]), after.remote(gate), one_then_wait.remote(gate)
    completed = stream.completed()
    zgen.wait([done, stream], num_returns=2)
    zgen.shutdown()
    assert zgen.get(done) == [1]
    for ref in (pending, completed):
        with pytest.raises(ZgenError, match="shut down"):
            zgen.get(ref)
    for _ in range(2):
        with pytest.raises(StreamClosedError, match="shut down"):
            next(stream)
    assert not zgen.is_initialized()


def test_references_of_an_earlier_round_are_a_typed_error_as_arguments() -> None:
    zgen.init(num_cpus=1)
    old = echo.remote(1)
    zgen.get(old)
    zgen.shutdown()
    with zgen.init(num_cpus=1):
        assert zgen.get(old) == 1
        with pytest.raises(ObjectLostError, match="shut down"):
            echo.remote(old)
        assert zgen.get(echo.remote(2)) == 2
        del old
        gc.collect()
        assert zgen.get(echo.remote(3)) == 3


def test_a_function_works_again_in_the_next_round() -> None:
    for _ in range(2):
        with zgen.init(num_cpus=1):
            assert zgen.get(echo.remote("again")) == "again"
            assert zgen.get(next(numbers.remote(1))) == 0


# -- threads and forks -----------------------------------------------------------------------------
def test_threads_call_everything_at_once() -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                expected = [number * turn + each for each in range(5)]
                assert zgen.get([echo.remote(each) for each in expected]) == expected
                stream = numbers.remote(10)
                ready, _ = zgen.wait([stream, echo.remote(0)], num_returns=2, timeout=30)
                assert len(ready) == 2
                assert [zgen.get(ref) for ref in stream] == list(range(10))
                with pytest.raises(GetTimeoutError):
                    zgen.get(never, timeout=0.001)
        except BaseException as error:
            failures.append(error)

    with zgen.init(num_cpus=2):
        never = echo.options(num_cpus=50).remote(1)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        assert failures == []
        assert not any(thread.is_alive() for thread in threads)


def test_one_reference_wakes_every_thread_that_waits_for_it(gate: Gate) -> None:
    got: list[Any] = []
    with zgen.init(num_cpus=1):
        ref = after.remote(gate, "all")
        threads = [threading.Thread(target=lambda: got.append(zgen.get(ref))) for _ in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)  # most of them wait by now; the others find the value
        gate.open()
        for thread in threads:
            thread.join(20)
    assert got == ["all"] * 5


def test_shutdown_ends_the_wait_of_other_threads(gate: Gate) -> None:
    raised: list[BaseException] = []

    def wait_for_ever(call: Callable[[], Any]) -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    zgen.init(num_cpus=2)
    ref, stream = after.remote(gate), one_then_wait.remote(gate)
    next(stream)
    calls: list[Callable[[], Any]] = [lambda: zgen.get(ref), lambda: zgen.get([ref, ref])]
    calls += [lambda: zgen.get(next(stream)), lambda: zgen.get(stream.completed())]
    calls += [lambda: zgen.get(zgen.wait([ref])[0][0])]
    threads = [threading.Thread(target=wait_for_ever, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    runtime = process.current
    assert runtime is not None
    wait_until(lambda: len(runtime.loop._parked) >= len(threads) - 1, 10, "they wait")
    zgen.shutdown()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert [type(error) for error in raised] == [StreamClosedError] * 5


def test_a_forked_child_gets_typed_errors_and_harms_nothing(gate: Gate) -> None:
    with zgen.init(num_cpus=2):
        pending, stream, ready = after.remote(gate), one_then_wait.remote(gate), zgen.put(1)
        calls: list[Callable[[], Any]] = [
            lambda: zgen.get(pending),
            lambda: zgen.wait([pending]),
            lambda: next(stream),
            lambda: stream.next(timeout=1),
            stream.completed,
            lambda: zgen.put(2),
            lambda: echo.remote(3),
            lambda: zgen.get(echo.remote(ready)),
            zgen.init,
        ]
        child = os.fork()
        if child == 0:
            wrong = 100
            try:
                wrong = sum(not refused(call) for call in calls) + zgen.is_initialized()
                del pending, stream, ready, calls
                gc.collect()
                zgen.shutdown()
            finally:
                os._exit(wrong)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        gate.open()
        assert zgen.get(pending) is None
        assert [zgen.get(ref) for ref in stream] == [1, 2]
        assert zgen.get(echo.remote(ready)) == 1


def refused(call: Callable[[], Any]) -> bool:
    try:
        call()
    except LocalProtocolError as error:
        return "fork" in str(error)
    return False


def test_a_child_that_exits_in_order_does_not_end_the_parents_node(tmp_path: Path) -> None:
    source = """
    import os, sys, zgen
    zgen.init(num_cpus=1)
    f = zgen.remote(lambda: "alive")
    assert zgen.get(f.remote()) == "alive"
    child = os.fork()
    if child == 0:
        sys.exit(0)  # runs every atexit handler
    print(os.waitpid(child, 0)[1])
    print(zgen.get(f.remote()))
    """
    assert succeeded(run(tmp_path, source)) == "0\nalive\n"


# -- programs --------------------------------------------------------------------------------------
def test_a_script_with_functions_classes_and_globals_of_main(tmp_path: Path) -> None:
    source = """
    import zgen
    FACTOR = 3
    class Record:
        def __init__(self, number):
            self.number = number
        def __eq__(self, other):
            return type(other) is Record and other.number == self.number
    class Refused(Exception):
        pass
    def helper(number):
        return Record(number * FACTOR)
    @zgen.remote
    def stream(count, step=1):
        for number in range(0, count, step):
            yield helper(number)
        raise Refused("enough")
    if __name__ == "__main__":
        with zgen.init(num_cpus=2):
            refs = list(stream.remote(6, step=2))
            assert zgen.get(refs[:-1]) == [Record(0), Record(6), Record(12)]
            try:
                zgen.get(refs[-1])
            except Refused as error:
                print("refused:", error.args)
    """
    assert succeeded(run(tmp_path, source)) == "refused: ('enough',)\n"


def test_a_script_that_imports_a_module_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def double(n):\n    return 2 * n\n")
    source = """
    import os, beside, zgen
    stream = zgen.remote(lambda n: beside.double(n))
    print(zgen.get(stream.remote(4)), zgen.get(zgen.remote(beside.double).remote(5)))
    print(zgen.get(zgen.remote(os.getcwd).remote()) == os.getcwd())
    """
    assert succeeded(run(tmp_path, source)) == "8 10\nTrue\n"


def test_an_ordinary_ray_program_runs_as_it_is(tmp_path: Path) -> None:
    source = """
    import time
    import zgen as ray
    ray.init(num_cpus=2, include_dashboard=False)
    assert ray.is_initialized()

    @ray.remote(num_returns="streaming", max_retries=2)
    def split(text):
        for word in text.split():
            yield word
        raise ValueError("no more words")

    @ray.remote
    def shout(word):
        return word.upper()

    @ray.remote
    def nap():
        time.sleep(30)

    gen = split.remote(ray.put("some words here"))
    assert isinstance(gen, ray.ObjectRefGenerator)
    unready, loud = [gen], []
    while unready:
        ready, unready = ray.wait(unready, num_returns=1)
        for item in ready:
            try:
                ref = next(item)
                loud.append(shout.remote(ref))
                unready.append(item)
            except StopIteration:
                pass
    print(ray.get(loud[:-1]))
    try:
        ray.get(loud[-1])
    except ray.exceptions.RayTaskError as error:
        print("RayTaskError", isinstance(error, ValueError))
        assert isinstance(error, ray.exceptions.RayError)
    try:
        ray.get(nap.remote(), timeout=0.1)
    except ray.exceptions.GetTimeoutError as error:
        print("GetTimeoutError", isinstance(error, TimeoutError))
    ray.shutdown()
    print(ray.is_initialized())
    """
    assert succeeded(run(tmp_path, source)).splitlines() == [
        "['SOME', 'WORDS', 'HERE']",
        "RayTaskError True",
        "GetTimeoutError True",
        "False",
    ]


def test_a_program_that_dies_of_a_remote_error_shows_where_it_came_from(tmp_path: Path) -> None:
    source = """
    import zgen
    def deep():
        raise LookupError("nothing there")  # the cause
    @zgen.remote
    def work():
        deep()
    zgen.get(work.remote())
    """
    done = run(tmp_path, source)
    assert done.returncode == 1
    for part in (
        "in deep",
        "# the cause",
        "LookupError",
        "nothing there",
        "zgen.get(work.remote())",
    ):
        assert part in done.stderr
    assert done.stdout == ""


def test_lines_typed_into_the_interpreter_run(tmp_path: Path) -> None:
    typed = """\
    import zgen
    context = zgen.init(num_cpus=2)
    class Point:
        def __init__(self, x):
            self.x = x

    @zgen.remote
    def points(count):
        for x in range(count):
            yield Point(x)

    print("got", [zgen.get(ref).x for ref in points.remote(3)])
    zgen.get(zgen.remote(lambda: 1 / 0).remote())
    print("still", zgen.is_initialized())
    """
    done = type_in(tmp_path, typed, "-X", "dev", "-i", "-q")
    assert done.returncode == 0
    assert "got [0, 1, 2]\n" in done.stdout
    assert "still True\n" in done.stdout
    assert "ZeroDivisionError" in done.stderr


def test_a_program_given_on_the_command_line_or_as_input_runs(tmp_path: Path) -> None:
    program = "import zgen\nprint(zgen.get(zgen.remote(lambda: 'ran').remote()))\n"
    assert type_in(tmp_path, "", "-c", program).stdout == "ran\n"
    assert type_in(tmp_path, program, "-").stdout == "ran\n"


def test_under_pytest_with_a_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import pytest, zgen\n"
        "@pytest.fixture(scope='module')\n"
        "def node():\n"
        "    with zgen.init(num_cpus=2) as context:\n"
        "        yield context\n"
        "class Mine(Exception): pass\n"
        "def helper(n): return n + 1\n"
        "@zgen.remote\n"
        "def stream(count):\n"
        "    for n in range(count): yield helper(n)\n"
        "    raise Mine('end')\n"
        "def test_stream(node):\n"
        "    *refs, last = stream.remote(3)\n"
        "    assert zgen.get(refs) == [1, 2, 3]\n"
        "    with pytest.raises(Mine): zgen.get(last)\n"
        "def test_output(node, capfd):\n"
        "    zgen.get(zgen.remote(lambda: print('said')).remote())\n"
    )
    options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    for mode in ("prepend", "importlib"):
        done = type_in(tmp_path, "", *options, f"--import-mode={mode}", "test_mine.py")
        assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_a_program_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    source = """
    import time, zgen
    zgen.init(num_cpus=2)
    @zgen.remote
    def run_on():
        while True:
            yield time.sleep(0.01)
    stream = run_on.remote()
    next(stream)
    print("running", flush=True)
    for ref in stream: pass
    """
    with start(tmp_path, source) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "running\n"
        program.kill()
        program.communicate(timeout=10)
    # The leak check of every test looks for its processes and files.


def test_a_task_that_waits_for_its_own_blocked_thread_gives_its_cpu_back(tmp_path: Path) -> None:
    source = """
    import threading, zgen
    @zgen.remote
    def child(number):
        return number
    @zgen.remote
    def parent():
        found = []
        def run(number):
            found.append(zgen.get(child.remote(number)))
        for _ in range(2):  # the CPU is taken back in between
            threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        return sorted(found)
    with zgen.init(num_cpus=1):
        print(zgen.get(parent.remote(), timeout=30))
        print(zgen.get(parent.remote(), timeout=30))
    """
    assert succeeded(run(tmp_path, source)) == "[0, 0, 1, 1, 2, 2]\n" * 2


def test_a_remote_function_does_not_keep_a_runtime_that_is_over(tmp_path: Path) -> None:
    source = """
    import gc, weakref, zgen
    from zgen.runtime import process
    function = zgen.remote(abs)
    with zgen.init(num_cpus=1):
        assert zgen.get(function.remote(-1)) == 1
        runtime = weakref.ref(process.current)
    gc.collect()
    print(runtime())
    """
    assert succeeded(run(tmp_path, source)) == "None\n"


def test_a_destructor_at_the_end_of_the_interpreter_starts_no_node(tmp_path: Path) -> None:
    source = """
    import zgen
    class Late:
        def __del__(self):
            zgen.put(1)
    with zgen.init(num_cpus=1):
        zgen.put(0)
        late = Late()
        late.itself = late
    """
    done = run(tmp_path, source)
    assert done.returncode == 0
    assert "while the interpreter ends" in done.stderr
