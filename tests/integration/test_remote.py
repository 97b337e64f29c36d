"""Declaring and calling remote functions: options, results, arguments, what is sent along."""

from __future__ import annotations

import functools
import importlib.util
import operator
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.remote_class import RemoteClass
from zgen.exceptions import TaskError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote
def echo(value: Any) -> Any:
    return value


@zgen.remote
def add(*terms: int, **more: int) -> int:
    return sum(terms) + sum(more.values())


@zgen.remote
def fail(*_: Any) -> None:
    raise LookupError("the first")


@zgen.remote
def numbers(count: int, *, start: int = 0) -> Any:
    yield from range(start, start + count)


@zgen.remote
def after(gate: Gate, value: Any = None) -> Any:
    gate.wait()
    return value


def values(stream: Any) -> list[Any]:
    return [zgen.get(ref) for ref in stream]


# -- options ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_retruns": 1}, ValueError),
        ({"num_returns": -1}, ValueError),
        ({"num_returns": "many"}, ValueError),
        ({"num_returns": 1.5}, ValueError),
        ({"num_returns": True}, ValueError),
        ({"num_cpus": -1}, ValueError),
        ({"num_cpus": "2"}, TypeError),
        ({"num_gpus": -0.5}, ValueError),
        ({"memory": -1}, ValueError),
        ({"resources": {"disk": -1}}, ValueError),
        ({"resources": {"CPU": 1}}, ValueError),
        ({"resources": ["disk"]}, TypeError),
        ({"max_retries": -2}, ValueError),
        ({"max_retries": "3"}, ValueError),
        ({"max_retries": 1.5}, ValueError),
        ({"retry_exceptions": "yes"}, TypeError),
        ({"retry_exceptions": [ValueError, "KeyError"]}, TypeError),
        ({"retry_exceptions": ValueError}, TypeError),
        ({"name": 3}, TypeError),
    ],
    ids=repr,
)
def test_a_wrong_option_is_refused_where_it_is_written(options: Any, error: Any) -> None:
    name = next(iter(options))
    with pytest.raises(error, match=name):
        echo.options(**options)
    with pytest.raises(error, match=name):
        zgen.remote(**options)(len)


def test_options_make_another_function_and_leave_the_first_alone() -> None:
    pair = echo.options(num_returns=2, name="pair")
    assert zgen.get(pair.remote([1, 2])) == [1, 2]
    assert zgen.get(echo.remote([1, 2])) == [1, 2]
    assert isinstance(echo.remote(1), zgen.ObjectRef)


def test_arguments_may_have_any_name() -> None:
    names = zgen.remote(lambda self, cls, args, kwargs: [self, cls, args, kwargs])
    assert zgen.get(names.remote(self=1, cls=2, args=3, kwargs=4)) == [1, 2, 3, 4]


class Counted:
    """Counts how often it is pickled."""

    count = 0

    def __reduce__(self) -> tuple[type, tuple[()]]:
        Counted.count += 1
        return Counted, ()


def test_what_has_other_options_is_not_pickled_again() -> None:
    inside = Counted()
    kind = zgen.remote(lambda: type(inside).__name__)

    @zgen.remote
    class Holder(RemoteClass):
        def kind(self) -> str:
            return type(inside).__name__

    before = Counted.count
    found = [kind.options(name=f"kind {number}").remote() for number in range(3)]
    found += [Holder.options(max_restarts=number).remote().kind.remote() for number in range(3)]
    assert zgen.get([*found, kind.remote()]) == ["Counted"] * 7
    assert Counted.count == before + 2


def test_options_can_be_stacked_and_keep_what_they_do_not_name() -> None:
    three = zgen.remote(num_returns=3)(lambda: "abc").options(num_cpus=0)
    assert zgen.get(three.remote()) == ["a", "b", "c"]


@pytest.mark.parametrize("options", [{}, {"num_cpus": 1, "max_retries": 0}])
def test_a_decorator_with_and_without_options_keeps_name_and_doc(options: Any) -> None:
    def documented() -> str:
        """Say so."""
        return "said"

    made = zgen.remote(**options)(documented) if options else zgen.remote(documented)
    assert (made.__name__, made.__doc__) == ("documented", "Say so.")
    assert zgen.get(made.remote()) == "said"


def test_a_decorator_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        zgen.remote(lambda: 1, num_cpus=1)  # type: ignore[call-overload]  # what this is about
    with pytest.raises(TypeError):
        zgen.remote(1)  # type: ignore[call-overload]  # what this is about
    with pytest.raises(TypeError, match="already"):
        zgen.remote(echo)


def test_a_coroutine_function_is_a_value_error() -> None:
    async def later() -> int:
        return 1

    with pytest.raises(ValueError, match="async"):
        zgen.remote(later)


def test_a_direct_call_is_a_type_error_that_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"echo\.remote\(\)"):
        echo(1)
    with pytest.raises(TypeError, match=r"numbers\.remote\(\)"):
        numbers(1)


# -- how many results ------------------------------------------------------------------------------
@pytest.mark.ray_docs("52-53")
def test_a_plain_function_gives_one_reference_and_a_generator_function_streams() -> None:
    assert isinstance(echo.remote(1), zgen.ObjectRef)
    assert isinstance(numbers.remote(1), zgen.ObjectRefGenerator)
    explicit = numbers.options(num_returns="streaming").remote(2)
    assert isinstance(explicit, zgen.StreamingObjectRefGenerator)
    assert values(explicit) == [0, 1]


def test_a_fixed_number_of_results_gives_as_many_references() -> None:
    refs = echo.options(num_returns=3).remote("xyz")
    assert [type(ref) for ref in refs] == [zgen.ObjectRef] * 3
    assert zgen.get(refs) == ["x", "y", "z"]
    assert len({ref.hex() for ref in refs}) == 3


def test_no_results_give_none_and_the_function_runs(gate: Gate) -> None:
    assert zgen.remote(num_returns=0)(lambda: gate.open()).remote() is None
    gate.wait()


@pytest.mark.parametrize(("given", "wanted"), [("ab", 3), ("abcd", 3), ("", 2)])
def test_another_number_of_results_is_an_error_for_all_of_them(given: str, wanted: int) -> None:
    for ref in echo.options(num_returns=wanted).remote(given):
        with pytest.raises(ValueError, match=f"num_returns={wanted}"):
            zgen.get(ref)


def test_results_that_are_no_sequence_are_an_error_for_all_of_them() -> None:
    for ref in echo.options(num_returns=2).remote(7):
        with pytest.raises(TypeError, match="num_returns=2"):
            zgen.get(ref)


@pytest.mark.ray_docs("52-53")
def test_streaming_is_for_generator_functions_only() -> None:
    with pytest.raises(ValueError, match="not a generator function"):
        zgen.remote(num_returns="streaming")(len)
    with pytest.raises(ValueError, match="not a generator function"):
        echo.options(num_returns="streaming")


def test_a_plain_function_that_returns_a_generator_fails_to_pickle_it() -> None:
    with pytest.raises(TypeError, match="pickle"):
        zgen.get(zgen.remote(lambda: (n for n in range(2))).remote())  # type: ignore[call-overload]  # what this is about


def test_a_generator_function_can_have_a_fixed_number_of_results() -> None:
    refs = numbers.options(num_returns=3).remote(3)
    assert zgen.get(refs) == [0, 1, 2]
    assert zgen.get(numbers.options(num_returns=1).remote(1)) == 0


def test_too_few_yields_fail_the_missing_results_only() -> None:
    first, second, third = numbers.options(num_returns=3).remote(1)
    assert zgen.get(first) == 0
    for ref in (second, third):
        with pytest.raises(ValueError, match="num_returns=3"):
            zgen.get(ref)


def test_too_many_yields_are_dropped() -> None:
    assert zgen.get(numbers.options(num_returns=2).remote(5)) == [0, 1]


def test_an_exception_midway_keeps_the_results_before_it() -> None:
    @zgen.remote(num_returns=3)
    def breaks() -> Any:
        yield 1
        raise LookupError("midway")

    first, second, third = breaks.remote()
    assert zgen.get(first) == 1
    for ref in (second, third):
        with pytest.raises(LookupError, match="midway"):
            zgen.get(ref)


# -- arguments -------------------------------------------------------------------------------------
def test_wrong_arguments_are_a_type_error_at_the_call() -> None:
    calls: list[Callable[[], Any]] = [
        lambda: echo.remote(),
        lambda: echo.remote(1, 2),
        lambda: echo.remote(worth=1),
        lambda: numbers.remote(1, 2),
        lambda: zgen.remote(lambda: 1).remote(1),  # type: ignore[call-arg]  # what this is about
    ]
    for call in calls:
        with pytest.raises(TypeError, match="argument"):
            call()


def test_arguments_of_every_kind_arrive() -> None:
    @zgen.remote
    def show(a: Any, /, b: Any, *rest: Any, c: Any = "default", **more: Any) -> Any:
        return a, b, rest, c, more

    assert zgen.get(show.remote(1, 2)) == (1, 2, (), "default", {})
    assert zgen.get(show.remote(1, 2, 3, c=4, d=5)) == (1, 2, (3,), 4, {"d": 5})


def test_arguments_are_what_they_were_at_the_call(gate: Gate) -> None:
    items = [1]
    ref = add.remote(zgen.put(0), after.remote(gate, 0), *items)
    items.append(2)
    payload = bytearray(b"a" * 100_000)
    kept = echo.remote(payload)
    payload[:] = b"b" * 100_000
    gate.open()
    assert zgen.get(ref) == 1
    assert zgen.get(kept) == b"a" * 100_000


def test_references_are_resolved_wherever_they_stand_at_the_top() -> None:
    one, two = zgen.put(1), echo.remote(2)
    assert zgen.get(add.remote(one, two, 3, x=two, y=4)) == 12
    assert zgen.get(add.remote(*[one] * 50)) == 50
    assert values(numbers.remote(two, start=one)) == [1, 2]


def test_a_reference_to_what_is_not_there_yet_holds_the_task_back(gate: Gate) -> None:
    doubled = add.remote(after.remote(gate, 5), x=5)
    assert zgen.wait([doubled], timeout=0.05) == ([], [doubled])
    gate.open()
    assert zgen.get(doubled) == 10


def test_an_argument_lives_until_the_task_has_it(gate: Gate) -> None:
    late = add.remote(zgen.put(7), after.remote(gate, 1))  # nobody else holds the put object
    gate.open()
    assert zgen.get(late) == 8


def test_large_arguments_arrive_whole() -> None:
    block = bytes(range(256)) * (4 << 12)
    assert zgen.get(echo.remote(block)) == block
    assert zgen.get(echo.remote(zgen.put(bytearray(block)))) == block


def test_a_failed_argument_is_the_error_of_the_task_which_does_not_run(gate: Gate) -> None:
    wrong = fail.remote()

    @zgen.remote
    def touch(_: Any) -> None:
        gate.open()

    for argument in (touch.remote(wrong), touch.options(max_retries=5).remote(_=wrong)):
        with pytest.raises(LookupError, match="the first") as raised:
            zgen.get(argument)
        assert isinstance(raised.value, TaskError)
        assert "argument of touch()" in str(raised.value)
        assert raised.value.may_have_run is False
    assert not gate.is_open


def test_a_failed_argument_is_the_first_item_of_a_stream_and_its_end() -> None:
    stream = numbers.remote(fail.remote())
    with pytest.raises(LookupError, match="the first"):
        zgen.get(next(stream))
    assert list(stream) == []
    with pytest.raises(LookupError):
        zgen.get(stream.completed())


def test_a_failed_argument_fails_all_of_several_results() -> None:
    for ref in echo.options(num_returns=2).remote(fail.remote()):
        with pytest.raises(LookupError):
            zgen.get(ref)


def test_a_failure_of_the_system_in_an_argument_keeps_its_class() -> None:
    @zgen.remote(max_retries=0)
    def die() -> None:
        import os

        os._exit(4)

    with pytest.raises(WorkerCrashedError, match="argument of echo") as raised:
        zgen.get(echo.remote(die.remote()))
    assert isinstance(raised.value, TaskError)
    assert raised.value.exit_code == 4


def test_a_chain_of_300_tasks_hands_a_value_through() -> None:
    ref = zgen.put(0)
    for _ in range(300):
        ref = add.remote(ref, 1)
    assert zgen.get(ref) == 300


def test_a_chain_of_300_tasks_whose_first_fails_tells_of_the_first(gate: Gate) -> None:
    @zgen.remote
    def fail_after() -> int:
        gate.wait()
        raise LookupError("the first")

    ref = fail_after.remote()
    chain = []
    for _ in range(300):
        ref = add.remote(ref, 1)
        chain.append(ref)
    gate.open()
    with pytest.raises(LookupError, match="the first") as raised:
        zgen.get(ref)
    assert len(str(raised.value)) < 5_000
    assert zgen.wait(chain, num_returns=300, timeout=5) == (chain, [])
    with pytest.raises(LookupError, match="the first"):  # and so for who comes later
        zgen.get(add.remote(ref, 1))


# -- functions -------------------------------------------------------------------------------------
def test_lambdas_closures_partials_and_builtins_run() -> None:
    factor = 3
    assert zgen.get(zgen.remote(lambda value: value * factor).remote(5)) == 15
    assert zgen.get(zgen.remote(functools.partial(operator.add, 1)).remote(2)) == 3
    assert zgen.get(zgen.remote(len).remote([1, 2])) == 2
    assert zgen.get(zgen.remote(max).remote(3, 9, 4)) == 9  # type: ignore[call-overload]  # generic


def test_a_closure_is_what_it_was_at_its_first_call() -> None:
    cell = [1]
    read = zgen.remote(lambda: list(cell))
    assert zgen.get(read.remote()) == [1]
    cell.append(2)
    assert zgen.get(read.remote()) == [1]


def test_instances_and_classes_of_the_test_travel_both_ways() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    moved = zgen.get(zgen.remote(lambda point: Point(point.x + 1)).remote(Point(1)))
    assert type(moved).__name__ == "Point"
    assert moved.x == 2


def test_functions_of_a_module_that_workers_cannot_import(tmp_path: Path) -> None:
    name = "zgen_test_unimportable"
    path = tmp_path / f"{name}.py"
    path.write_text(
        "STEP = 2\n"
        "class Odd(Exception): pass\n"
        "def helper(value): return value + STEP\n"
        "def plain(value): return helper(value)\n"
        "def stream(count):\n"
        "    for number in range(count): yield helper(number)\n"
        "def refuse(): raise Odd('here')\n"
    )
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        assert zgen.get(zgen.remote(module.plain).remote(1)) == 3
        assert values(zgen.remote(module.stream).remote(3)) == [2, 3, 4]
        with pytest.raises(module.Odd, match="here"):
            zgen.get(zgen.remote(module.refuse).remote())
    finally:
        del sys.modules[name]


def test_a_remote_function_can_be_an_argument_and_a_result() -> None:
    @zgen.remote
    def call(function: Any, value: int) -> Any:
        return zgen.get(function.remote(value))

    assert zgen.get(call.remote(echo, 5)) == 5
    returned = zgen.get(zgen.remote(lambda: echo).remote())
    assert zgen.get(returned.remote(6)) == 6


# -- nesting ---------------------------------------------------------------------------------------
def test_recursion_far_deeper_than_the_cpus_ends() -> None:
    @zgen.remote
    def depth(left: int, reached: int = 0) -> int:
        if left == 0:
            return reached
        return int(zgen.get(depth.remote(left - 1, reached=reached + 1)))

    assert zgen.get(depth.remote(12)) == 12


def test_recursion_that_branches_ends() -> None:
    @zgen.remote
    def fibonacci(n: int) -> int:
        if n < 2:
            return n
        return sum(zgen.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    assert zgen.get(fibonacci.remote(7)) == 13


def test_nested_generators_that_consume_each_other_end() -> None:
    @zgen.remote
    def relay(depth: int) -> Any:
        if depth == 0:
            yield from range(5)
        else:
            streams = [relay.remote(depth - 1) for _ in range(2)]
            for stream in streams:
                yield sum(zgen.get(ref) for ref in stream)

    assert values(relay.remote(3)) == [40, 40]


def test_wait_in_a_task_gives_its_cpu_away() -> None:
    @zgen.remote
    def waits(depth: int) -> int:
        if depth == 0:
            return 0
        ready, rest = zgen.wait([waits.remote(depth - 1)])
        assert not rest
        return 1 + int(zgen.get(ready[0]))

    assert zgen.get(waits.remote(5)) == 5


# -- resources -------------------------------------------------------------------------------------
def test_tasks_without_cpus_run_beside_full_cpus(gate: Gate) -> None:
    busy = [after.remote(gate) for _ in range(2)]
    together = [gate.beside(str(number)) for number in range(6)]

    @zgen.remote(num_cpus=0)
    def meet(number: int) -> int:
        together[number].open()
        for each in together:
            each.wait()
        return number

    assert zgen.get([meet.remote(number) for number in range(6)], timeout=30) == list(range(6))
    assert zgen.wait(busy, timeout=0) == ([], busy)
    gate.open()
    zgen.get(busy)


def test_fractions_of_a_cpu_share_it(gate: Gate) -> None:
    together = [gate.beside(str(number)) for number in range(4)]

    @zgen.remote(num_cpus=0.5)
    def meet(number: int) -> int:
        together[number].open()
        for each in together:
            each.wait()
        return number

    assert zgen.get([meet.remote(number) for number in range(4)], timeout=30) == list(range(4))


def test_no_more_tasks_run_at_once_than_there_are_cpus(gate: Gate) -> None:
    tally = Tally(gate.path.with_name("tally"))

    @zgen.remote
    def hold() -> int:
        at_start = tally.add()
        gate.wait()
        return at_start

    refs = [hold.remote() for _ in range(5)]
    zgen.wait(refs, timeout=0.5)
    assert tally.count == 2
    gate.open()
    assert sorted(zgen.get(refs)) == [1, 2, 3, 4, 5]


def test_a_program_that_a_task_starts_inherits_nothing_of_zgen() -> None:
    @zgen.remote
    def look() -> str:
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, close_fds=False
        ).stdout

    assert zgen.get(look.remote()).strip() == "[0, 1, 2, 3]"  # the last is the folder it lists
