"""`get`: what it takes, what it returns, what it raises and when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import LATE_S, Gate, seconds_since
from zgen.exceptions import GetTimeoutError, TaskError, WorkerCrashedError, ZgenError

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote
def echo(value: Any) -> Any:
    return value


@zgen.remote
def fail(error: BaseException) -> None:
    raise error


@zgen.remote
def after(gate: Gate, value: Any = None) -> Any:
    gate.wait()
    return value


@zgen.remote
def numbers(count: int) -> Any:
    yield from range(count)


class NeedsTwo(Exception):
    """An exception whose constructor takes what its ``args`` do not hold."""

    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Sealed(Exception):
    """An exception class that cannot be subclassed."""

    def __init_subclass__(cls) -> None:
        raise TypeError("sealed")


@pytest.mark.parametrize(
    "value",
    [None, 0, "text", b"bytes", [1, (2, {"three": 4})], ValueError("not raised"), object],
    ids=lambda value: type(value).__name__,
)
def test_a_reference_gives_the_value_that_was_returned(value: Any) -> None:
    got = zgen.get(echo.remote(value))
    assert type(got) is type(value)
    assert repr(got) == repr(value)


def test_a_reference_gives_its_value_as_often_as_it_is_asked() -> None:
    ref = echo.remote([1, 2])
    first, second = zgen.get(ref), zgen.get(ref)
    assert first == second == [1, 2]
    assert first is not second


def test_a_list_gives_values_in_its_order_whatever_ends_first(gate: Gate) -> None:
    late, early = after.remote(gate, "late"), echo.remote("early")
    assert zgen.get(early) == "early"
    gate.open()
    assert zgen.get([late, early, late]) == ["late", "early", "late"]


def test_an_empty_list_gives_an_empty_list() -> None:
    assert zgen.get([]) == []


@pytest.mark.parametrize(
    "shape", [tuple, set, iter, dict.fromkeys], ids=lambda shape: shape.__name__
)
def test_anything_but_a_reference_or_a_list_is_a_value_error(shape: Any) -> None:
    with pytest.raises(ValueError, match="an ObjectRef or a list"):
        zgen.get(shape([echo.remote(1)]))


@pytest.mark.parametrize("wrong", [None, 7, "ref", b"\0" * 20])
def test_something_that_is_no_reference_at_all_is_a_value_error(wrong: Any) -> None:
    with pytest.raises(ValueError, match=type(wrong).__name__):
        zgen.get(wrong)


@pytest.mark.parametrize("wrong", [None, 7, [], "ref"])
def test_a_list_with_something_else_in_it_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=type(wrong).__name__):
        zgen.get([echo.remote(1), wrong])


@pytest.mark.ray_docs("167-168")
def test_a_generator_is_a_type_error_that_says_what_to_do() -> None:
    stream = numbers.remote(2)
    with pytest.raises(TypeError, match=r"next\(gen\).*for.*completed\(\)"):
        zgen.get(stream)
    with pytest.raises(TypeError, match="ObjectRefGenerator"):
        zgen.get([stream])
    assert [zgen.get(ref) for ref in stream] == [0, 1]  # nothing was taken


def test_the_items_of_a_generator_can_be_got_in_a_list() -> None:
    assert zgen.get(list(numbers.remote(100))) == list(range(100))


# -- timeouts --------------------------------------------------------------------------------------
@pytest.mark.parametrize("timeout_s", [0.0, 0.2])
@pytest.mark.parametrize("in_list", [False, True])
def test_a_timeout_ends_the_wait_and_harms_nothing(
    gate: Gate, timeout_s: float, in_list: bool
) -> None:
    ref = after.remote(gate, "there")
    began = time.monotonic()
    with pytest.raises(GetTimeoutError) as raised:
        zgen.get([ref] if in_list else ref, timeout=timeout_s)
    assert timeout_s <= seconds_since(began) < timeout_s + LATE_S
    assert isinstance(raised.value, TimeoutError)
    assert isinstance(raised.value, ZgenError)
    gate.open()
    assert zgen.get(ref, timeout=20) == "there"


def test_timeout_zero_gives_what_is_there() -> None:
    refs = [echo.remote(1), zgen.put(2)]
    zgen.wait(refs, num_returns=2)
    assert zgen.get(refs[0], timeout=0) == 1
    assert zgen.get(refs, timeout=0) == [1, 2]


def test_a_timeout_does_not_end_a_wait_for_what_comes_in_time(gate: Gate) -> None:
    gate.open()
    assert zgen.get(after.remote(gate, 5), timeout=20) == 5


@pytest.mark.parametrize("ready", [False, True])
def test_a_negative_timeout_is_a_value_error(gate: Gate, ready: bool) -> None:
    ref = after.remote(gate)
    if ready:
        gate.open()
        zgen.wait([ref])
    with pytest.raises(ValueError, match="timeout"):
        zgen.get(ref, timeout=-1)
    with pytest.raises(ValueError, match="timeout"):
        zgen.get([ref], timeout=-0.001)
    gate.open()


def test_an_endless_timeout_is_none() -> None:
    ref = zgen.remote(time.sleep).remote(0.05)
    assert zgen.get(ref, timeout=float("inf")) is None
    assert zgen.get([ref], timeout=1e300) == [None]
    assert zgen.wait([ref], timeout=float("inf")) == ([ref], [])


@pytest.mark.parametrize("bad", ["1", [], 1j])
def test_a_timeout_that_is_no_number_says_so(bad: Any) -> None:
    ref = zgen.put(1)
    for call in (zgen.get, lambda ref, timeout: zgen.wait([ref], timeout=timeout)):
        with pytest.raises(TypeError, match="timeout must be a number of seconds"):
            call(ref, timeout=bad)
        with pytest.raises(ValueError, match="timeout"):
            call(ref, timeout=float("nan"))


# -- errors ----------------------------------------------------------------------------------------
def test_the_error_is_of_the_class_that_was_raised_and_a_task_error() -> None:
    for wanted in (ValueError, TaskError, ZgenError, zgen.exceptions.RayTaskError):
        with pytest.raises(wanted, match="not today") as raised:
            zgen.get(fail.remote(ValueError("not today", 7)))
        error = raised.value
        assert isinstance(error, TaskError)
        assert isinstance(error, ValueError)
        assert type(error).__name__ == "TaskError(ValueError)"
        assert error.args == ("not today", 7)
        assert type(error.cause) is ValueError
        assert error.function_name == "fail"


def test_an_error_is_raised_as_often_as_it_is_asked_for() -> None:
    ref = fail.remote(KeyError("k"))
    raised = []
    for _ in range(3):
        with pytest.raises(KeyError) as caught:
            zgen.get(ref)
        raised.append(caught.value)
    assert len({id(error) for error in raised}) == 3


def test_attributes_of_the_users_exception_are_kept() -> None:
    @zgen.remote
    def refuse() -> None:
        error = RuntimeError("outer")
        error.code = 42  # type: ignore[attr-defined]  # as user code does
        raise error

    with pytest.raises(RuntimeError) as raised:
        zgen.get(refuse.remote())
    assert getattr(raised.value, "code", None) == 42


def test_fields_of_builtin_exceptions_are_kept() -> None:
    missing = FileNotFoundError(2, "No such file", "/nowhere")
    with pytest.raises(FileNotFoundError) as raised:
        zgen.get(fail.remote(missing))
    assert (raised.value.errno, raised.value.filename) == (2, "/nowhere")
    undecodable = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    with pytest.raises(UnicodeDecodeError) as caught:
        zgen.get(fail.remote(undecodable))
    assert (caught.value.object, caught.value.end) == (b"\xff", 1)


def test_fields_in_slots_are_kept() -> None:
    with pytest.raises(Slotted) as raised:
        zgen.get(fail.remote(Slotted(9)))
    assert raised.value.code == 9


def test_a_class_that_cannot_be_subclassed_falls_back_to_the_plain_task_error() -> None:
    with pytest.raises(TaskError) as raised:
        zgen.get(fail.remote(Sealed("closed")))
    assert type(raised.value) is TaskError
    assert type(raised.value.cause) is Sealed
    assert "closed" in str(raised.value)


def test_an_exception_that_does_not_survive_pickling_becomes_its_text() -> None:
    @zgen.remote
    def refuse() -> None:
        raise NeedsTwo(3, detail="split")

    with pytest.raises(TaskError, match=r"NeedsTwo.*3: split") as raised:
        zgen.get(refuse.remote())
    assert type(raised.value.cause) is ZgenError


def test_an_exception_group_is_one_for_its_handlers_too() -> None:
    @zgen.remote
    def both() -> None:
        raise ExceptionGroup("two things", [ValueError("first"), TypeError("second")])

    with pytest.raises(TaskError) as raised:
        zgen.get(both.remote())
    group = raised.value
    assert isinstance(group, ExceptionGroup)
    assert [type(error) for error in group.exceptions] == [ValueError, TypeError]
    matching, rest = group.split(ValueError)
    assert matching is not None
    assert rest is not None


def test_a_raised_stop_iteration_cannot_end_the_callers_loop() -> None:
    ref = fail.remote(StopIteration("sneaky"))

    def values() -> Iterator[Any]:
        yield zgen.get(ref)

    with pytest.raises(RuntimeError, match="StopIteration") as raised:
        list(values())
    assert isinstance(raised.value, TaskError)


def test_an_exception_outside_the_exception_tree_is_delivered() -> None:
    with pytest.raises(TaskError) as raised:
        zgen.get(fail.remote(KeyboardInterrupt("by hand")))
    assert isinstance(raised.value.cause, KeyboardInterrupt)


def test_the_first_error_of_a_list_ends_the_wait_for_the_others(gate: Gate) -> None:
    never = after.remote(gate)
    wrong = fail.remote(LookupError("at once"))
    with pytest.raises(LookupError, match="at once"):
        zgen.get([never, wrong, never], timeout=20)
    assert zgen.wait([never], timeout=0) == ([], [never])
    gate.open()


def test_an_error_that_is_there_already_wins_over_one_to_come(gate: Gate) -> None:
    wrong = fail.remote(LookupError("first"))
    with pytest.raises(LookupError):
        zgen.get(wrong)
    pending = after.remote(gate)
    with pytest.raises(LookupError, match="first"):
        zgen.get([pending, wrong], timeout=0)
    gate.open()


def test_failures_of_the_system_are_raised_as_they_are() -> None:
    @zgen.remote(max_retries=0)
    def die() -> None:
        import os

        os._exit(3)

    with pytest.raises(WorkerCrashedError) as raised:
        zgen.get(die.remote())
    assert type(raised.value) is WorkerCrashedError
    assert not isinstance(raised.value, TaskError)


def test_an_error_out_of_an_inner_task_keeps_its_class_and_both_stories() -> None:
    @zgen.remote
    def outer() -> Any:
        return zgen.get(fail.remote(LookupError("deep inside")))

    with pytest.raises(LookupError) as raised:
        zgen.get(outer.remote())
    error = raised.value
    assert isinstance(error, TaskError)
    assert error.function_name == "outer"
    assert "deep inside" in str(error)
    assert "in fail" in str(error)
    assert "in outer" in str(error)
