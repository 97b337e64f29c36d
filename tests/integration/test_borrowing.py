"""References inside values: what they keep, for whom, and how long."""

from __future__ import annotations

import asyncio
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import numpy
import pytest

import zgen
from tests.integration.gates import Gate
from tests.integration.memories import MIB, wait_for_no_regions
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen.exceptions import GetTimeoutError, NestedRefError
from zgen.ids import ObjectId
from zgen.runtime import process
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("for_ever", "runtime")


class Box:
    """Something of a user that holds a reference."""

    def __init__(self, ref: Any) -> None:
        self.ref = ref


@zgen.remote
def echo(value: Any) -> Any:
    return value


@zgen.remote
def opened(nested: Any) -> Any:
    (ref,) = nested
    return zgen.get(ref)


@zgen.remote
def after(gate: Gate, value: Any) -> Any:
    gate.wait()
    return value


@zgen.remote
def put_in(wrap: Callable[[Any], Any], value: Any) -> Any:
    return wrap(zgen.put(value))


@zgen.remote
def items(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield {"nested": zgen.put(value)}


@zgen.remote
def passed_on(nested: Any, times: int) -> Any:
    if times:
        return zgen.get(passed_on.remote(nested, times - 1))
    return zgen.get(nested[0])


@zgen.remote
def raises() -> None:
    raise LookupError("inside")


def is_held(runtime: Runtime, ref: Any) -> Callable[[], bool]:
    """Return what tells whether the driver keeps an object, without keeping it."""
    name = ObjectId(ref.binary())

    def look() -> bool:
        with runtime.loop.lock:
            return name in runtime.machine.owner.refs.records

    return look


def gone(look: Callable[[], bool]) -> None:
    wait_until(lambda: not look(), 20, "the object is let go")


def drained() -> None:
    """Wait, in a worker, until everything that was dropped before has been let go."""
    runtime = process.require()
    sentinel = zgen.put(None)
    look = is_held(runtime, sentinel)
    del sentinel
    gone(look)


class LateOutput:
    """Standard output that takes until everything dropped is let go, once."""

    def __init__(self) -> None:
        self.before = sys.stdout

    def write(self, text: str) -> int:
        return self.before.write(text)

    def flush(self) -> None:
        sys.stdout = self.before
        drained()


@zgen.remote(num_returns=2)
def puts_two() -> Iterator[Any]:
    yield [zgen.put("first")]
    drained()
    yield zgen.put("second")


@zgen.remote
def ends_late(value: Any) -> Any:
    sys.stdout = LateOutput()
    return echo.remote(value)


@zgen.remote
class EndsLate(RemoteClass):
    async def ends_late(self, value: Any) -> Any:
        sys.stdout = LateOutput()
        return zgen.put(value)


# -- where references may lie ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda ref: [ref], lambda value: value[0]),
        (lambda ref: {"k": (1, ref)}, lambda value: value["k"][1]),
        (lambda ref: ref, lambda value: value),
        (Box, lambda box: box.ref),
        (lambda ref: (ref, b"x" * 200_000), lambda value: value[0]),
        (lambda ref: (ref, numpy.zeros(MIB)), lambda value: value[0]),
    ],
    ids=["list", "dict", "bare", "object", "large bytes", "array"],
)
def test_a_reference_comes_out_of_a_value_as_it_went_in(wrap: Any, unwrap: Any) -> None:
    inner = zgen.put(41)
    assert unwrap(zgen.get(echo.remote([wrap(inner)]))[0]) == inner
    if not isinstance(wrap(inner), type(inner)):
        assert unwrap(zgen.get(zgen.put(wrap(inner)))) == inner
    back = unwrap(zgen.get(put_in.remote(wrap, 42)))
    assert zgen.get(back) == 42
    assert zgen.get(echo.remote(back)) == 42
    del back
    wait_for_no_regions()


def test_items_of_a_stream_hold_references() -> None:
    values = [1, "two", None, b"3" * 200_000]
    assert [zgen.get(zgen.get(ref)["nested"]) for ref in items.remote(values)] == values


def test_a_result_keeps_its_references_until_its_end_is_told() -> None:
    nested, second = zgen.get(list(puts_two.remote()))
    assert zgen.get([nested[0], second]) == ["first", "second"]
    assert zgen.get(zgen.get(ends_late.remote(1))) == 1
    assert zgen.get(zgen.get(EndsLate.remote().ends_late.remote(2))) == 2


@pytest.fixture(scope="module")
def for_ever(shared_node: Runtime) -> Any:
    """An object that the functions close over which the test below defines."""
    return zgen.put(20)


def test_a_function_may_close_over_a_reference_which_stays_as_long_as_the_job(
    for_ever: Any,
) -> None:
    nested = zgen.remote(lambda: zgen.get(for_ever) + 1)
    assert zgen.get([nested.remote(), nested.remote()]) == [21, 21]
    inside = zgen.remote(lambda: zgen.get(nested.remote()) + 1)
    assert zgen.get(inside.remote()) == 22


def test_a_thousand_references_travel_in_one_value(runtime: Runtime) -> None:
    refs = [zgen.put(number) for number in range(1000)]
    total = zgen.remote(lambda nested: sum(zgen.get(nested)))
    assert zgen.get(total.remote(refs)) == 499_500
    looks = [is_held(runtime, ref) for ref in refs]
    del refs
    for look in looks:
        gone(look)


def test_references_pickled_by_hand_are_refused() -> None:
    ref = zgen.put(1)
    for dumps in (pickle.dumps, cloudpickle.dumps):
        with pytest.raises(NestedRefError, match="by hand"):
            dumps({"nested": ref})
    refuses = zgen.remote(lambda nested: pickle.dumps(nested))
    with pytest.raises(NestedRefError, match="by hand"):
        zgen.get(refuses.remote([ref]))


# -- what they keep --------------------------------------------------------------------------------
def test_an_object_lives_as_long_as_a_value_that_refers_to_it(runtime: Runtime) -> None:
    inner = zgen.put("inner")
    held = is_held(runtime, inner)
    outer = zgen.put([zgen.put([inner])])
    del inner
    assert zgen.get(echo.remote(1)) == 1  # drops are done with long before a task is
    assert held()
    assert zgen.get(zgen.get(zgen.get(outer)[0])[0]) == "inner"
    del outer
    gone(held)


def test_an_argument_keeps_what_it_refers_to_until_its_task_ends(
    runtime: Runtime, gate: Gate
) -> None:
    inner = zgen.put("inner")
    held = is_held(runtime, inner)
    result = after.remote(gate, [inner])
    del inner
    gate.open()
    (back,) = zgen.get(result)
    assert zgen.get(back) == "inner"
    del back, result
    gone(held)


def test_a_worker_that_keeps_a_reference_keeps_its_object(runtime: Runtime) -> None:
    """Nothing is implied by the end of a task: what lives on in globals is borrowed on."""

    @zgen.remote(num_cpus=2)  # so that both run in the one worker that there is
    def keep(nested: Any) -> int:
        import os
        import sys

        sys.kept_by_a_test = nested  # type: ignore[attr-defined]  # made here
        return os.getpid()

    @zgen.remote(num_cpus=2)
    def look() -> Any:
        import os
        import sys

        kept = vars(sys).pop("kept_by_a_test", None)
        return os.getpid(), kept and zgen.get(kept[0])

    inner = zgen.put("kept")
    held = is_held(runtime, inner)
    keeper = zgen.get(keep.remote([inner]))
    del inner
    found: tuple[int, Any] = (0, None)
    while found[0] != keeper:
        assert held()
        found = zgen.get(look.remote())
    assert found == (keeper, "kept")
    gone(held)


def test_items_that_nobody_takes_let_go_of_what_they_refer_to(runtime: Runtime) -> None:
    inner = zgen.put("inner")
    held = is_held(runtime, inner)

    @zgen.remote
    def repeated(nested: Any, count: int) -> Iterator[Any]:
        for _ in range(count):
            yield nested

    stream = repeated.remote([inner], 50)
    zgen.get(next(stream))
    completed = stream.completed()
    del inner, stream
    zgen.get(completed)
    gone(held)


# -- borrowed references ---------------------------------------------------------------------------
def test_a_borrowed_object_is_waited_for_as_an_own_one_is(gate: Gate) -> None:
    submit = zgen.remote(num_cpus=0)(lambda gate: [after.remote(gate, "late")])
    (pending,) = zgen.get(submit.remote(gate))
    assert zgen.wait([pending], timeout=0.05) == ([], [pending])
    with pytest.raises(GetTimeoutError):
        zgen.get(pending, timeout=0.05)
    result = echo.remote(pending)
    waited: list[Any] = []
    thread = threading.Thread(target=lambda: waited.append(zgen.get(pending)))
    thread.start()
    gate.open()
    thread.join(20)
    assert waited == ["late"]
    assert zgen.wait([pending, result], num_returns=2, timeout=20)[1] == []
    assert zgen.get(result) == "late"


def test_the_error_of_a_borrowed_object_is_that_of_its_task() -> None:
    (failed,) = zgen.get(zgen.remote(lambda: [raises.remote()]).remote())
    for _ in range(2):
        with pytest.raises(LookupError, match="inside"):
            zgen.get(failed)
    with pytest.raises(LookupError, match="inside"):
        zgen.get(echo.remote(failed))
    (crashed,) = zgen.get(zgen.remote(lambda: [echo.remote(raises.remote())]).remote())
    with pytest.raises(LookupError, match="inside"):
        zgen.get(crashed)


@pytest.mark.parametrize("size", [10, 300_000], ids=["inline", "in shared memory"])
def test_a_reference_is_passed_on_from_borrower_to_borrower(size: int) -> None:
    value = b"v" * size
    inner = zgen.put(value)
    assert zgen.get(passed_on.remote([inner], 4)) == value
    (theirs,) = zgen.get(put_in.remote(lambda ref: [ref], value))
    assert zgen.get(passed_on.remote([theirs], 4)) == value
    assert zgen.get(opened.remote([theirs])) == value
    outer = zgen.put([theirs])
    del theirs
    (again,) = zgen.get(outer)
    assert zgen.get(again) == value
    del inner, outer, again
    wait_for_no_regions()


def test_values_of_an_owner_in_shared_memory_are_read_in_place() -> None:
    (theirs,) = zgen.get(put_in.remote(lambda ref: [ref], numpy.arange(MIB)))
    array = zgen.get(theirs)
    assert not array.flags.writeable
    assert int(array[-1]) == MIB - 1
    del theirs
    assert int(array.sum()) == MIB * (MIB - 1) // 2  # what is viewed stays
    del array
    wait_for_no_regions()


def test_the_puts_of_every_attempt_are_objects_of_their_own(gate: Gate) -> None:
    @zgen.remote(max_retries=1, retry_exceptions=True)
    def attempts(gate: Gate) -> Iterator[Any]:
        again = gate.is_open
        yield [zgen.put("first" if not again else "second")]
        gate.open()
        if not again:
            raise ValueError("once more")
        yield [zgen.put("last")]

    one, two = [zgen.get(ref)[0] for ref in attempts.remote(gate)]
    assert zgen.get(one) == "first"  # it was reported before, and its worker lives
    assert zgen.get(two) == "last"


def test_a_borrower_gives_back_what_it_drops(runtime: Runtime) -> None:
    """The owner lets go when its borrower does, and says so nowhere else."""
    count = zgen.remote(num_cpus=2)(_owned_count)
    (theirs,) = zgen.get(zgen.remote(num_cpus=2)(lambda: [zgen.put(1)]).remote())
    assert zgen.get(count.remote()) >= 1
    held = is_held(runtime, theirs)
    del theirs
    gone(held)
    wait_until(lambda: zgen.get(count.remote()) == 0, 20, "the owner has let go")


def _owned_count() -> int:
    """Return how many objects this worker owns that others have, unless it is another worker."""
    from zgen.runtime import process

    assert process.current is not None
    with process.current.loop.lock:
        borrowers = process.current.machine.owner.borrowing.lent.borrowers
        return sum(map(len, borrowers.values()))


def test_a_look_without_a_wait_finds_a_borrowed_object_in_the_end() -> None:
    (theirs,) = zgen.get(put_in.remote(lambda ref: [ref], 1))
    wait_until(lambda: zgen.wait([theirs], timeout=0) == ([theirs], []), 20, "it is ready")


def test_a_borrowed_object_can_be_awaited(gate: Gate) -> None:
    submit = zgen.remote(num_cpus=0)(lambda gate: [after.remote(gate, "late")])
    (pending,) = zgen.get(submit.remote(gate))

    async def awaited() -> Any:
        asyncio.get_running_loop().call_soon(gate.open)
        return await pending

    assert asyncio.run(awaited()) == "late"
    assert pending.future().result(20) == "late"
