"""Regular actors: state, order, streams, errors, and when they end."""

from __future__ import annotations

import os
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import LATE_S, Gate
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive, wait_until
from zgen.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    PendingCallsLimitExceeded,
    RayActorError,
    TaskError,
)
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=20)


def values(stream: Any) -> list[Any]:
    return [get(ref) for ref in stream]


@zgen.remote
class Counter(RemoteClass):
    """Counts."""

    kind = "counter"

    def __init__(self, first: int = 0, *, step: int = 1) -> None:
        self.number = first
        self.step = step

    def add(self, times: int = 1) -> int:
        self.number += times * self.step
        return self.number

    def count(self, items: int) -> Iterator[int]:
        for _ in range(items):
            yield self.add()

    def count_then_fail(self, items: int) -> Iterator[int]:
        yield from self.count(items)
        raise LookupError(f"after {items}")

    def fail(self) -> None:
        raise KeyError("no")

    @zgen.method(num_returns=2)
    def pair(self) -> tuple[int, int]:
        return self.number, -self.number

    def pid(self) -> int:
        return os.getpid()

    def echo(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def wait(self, gate: Gate) -> int:
        gate.wait()
        return self.number

    def park(self, gate: Gate) -> Iterator[int]:
        yield 1
        gate.wait()
        yield 2

    def leave(self) -> None:
        zgen.actor.exit_actor()

    def leave_midway(self) -> Iterator[int]:
        yield 1
        sys.exit(0)

    def fail_in_the_first_life(self) -> Iterator[int]:
        yield 1
        if not zgen.get_runtime_context().was_current_actor_reconstructed:
            sys.exit("bye")
        yield 2

    @staticmethod
    def twice(value: int) -> int:
        return 2 * value

    @classmethod
    def which(cls) -> str:
        return cls.kind


# -- calls -----------------------------------------------------------------------------------------
def test_an_actor_keeps_its_state_between_calls() -> None:
    counter = Counter.remote(5, step=2)
    assert get(counter.add.remote()) == 7
    assert get(counter.add.remote(3)) == 13
    assert get(counter.add.remote(times=1)) == 15


def test_calls_run_in_the_order_in_which_they_were_made() -> None:
    counter = Counter.remote()
    assert get([counter.add.remote() for _ in range(2000)]) == list(range(1, 2001))


def test_two_actors_of_one_class_share_nothing() -> None:
    one, other = Counter.remote(), Counter.remote(100)
    get([one.add.remote() for _ in range(3)])
    assert get([one.add.remote(), other.add.remote()]) == [4, 101]
    assert get(one.pid.remote()) != get(other.pid.remote())


def test_references_are_replaced_by_their_values_and_hold_back_later_calls(gate: Gate) -> None:
    @zgen.remote
    def slow(gate: Gate) -> int:
        gate.wait()
        return 10

    counter = Counter.remote(zgen.put(1))
    first, second = counter.add.remote(slow.remote(gate)), counter.add.remote()
    with pytest.raises(GetTimeoutError):
        zgen.get(second, timeout=0.1)
    gate.open()
    assert get([first, second]) == [11, 12]


def test_a_result_of_one_actor_is_an_argument_of_another() -> None:
    one, other = Counter.remote(), Counter.remote()
    ref = one.add.remote()
    for _ in range(20):
        ref = other.add.remote(one.add.remote(ref))
    assert get(ref) > 0
    assert get(Counter.remote(ref).add.remote()) == get(ref) + 1


@pytest.mark.parametrize("size", [10, 5000, 300_000, 3_000_000])
def test_arguments_and_results_of_every_size_arrive_whole(size: int) -> None:
    counter = Counter.remote()
    data = os.urandom(size)
    assert get(counter.echo.remote(data, named=data)) == ((data,), {"named": data})
    assert get(counter.echo.remote(zgen.put(data))) == ((data,), {})


def test_a_method_may_have_several_results_or_none() -> None:
    counter = Counter.remote(3)
    assert get(counter.pair.remote()) == [3, -3]
    one, other, third = counter.echo.options(num_returns=1), counter.pair, counter.count
    assert get(one.remote(1)) == ((1,), {})
    assert get(other.options(num_returns=1).remote()) == (3, -3)
    assert get(third.options(num_returns=3).remote(3)) == [4, 5, 6]
    assert counter.add.options(num_returns=0).remote() is None
    assert get(counter.add.remote()) == 8


def test_static_methods_class_methods_and_inherited_ones_are_methods() -> None:
    class Plain:
        kind = "base"

        def who(self) -> str:
            return "base"

        @classmethod
        def which(cls) -> str:
            return cls.kind

    @zgen.remote
    class Derived(Plain, RemoteClass):
        kind = "derived"

        @staticmethod
        def twice(value: int) -> int:
            return 2 * value

    derived, counter = Derived.remote(), Counter.remote()
    assert get([derived.who.remote(), derived.which.remote()]) == ["base", "derived"]
    assert get([derived.twice.remote(4), counter.twice.remote(4)]) == [8, 8]
    assert get(counter.which.remote()) == "counter"


def test_a_field_of_the_instance_does_not_hide_a_method_of_its_class() -> None:
    @zgen.remote
    class Shadowed(RemoteClass):
        def __init__(self) -> None:
            vars(self)["reported"] = 7

        def reported(self) -> Any:
            return self.reported

    assert get(Shadowed.remote().reported.remote()) == 7


def test_a_method_may_have_nearly_any_name() -> None:
    @zgen.remote
    class Film(RemoteClass):
        def actor(self) -> str:
            return "actor"

        def creator(self) -> str:
            return "creator"

        def _private(self) -> str:
            return "private"

        def __len__(self) -> int:
            return 3

    film: Any = Film.remote()
    calls: list[Any] = [film.actor, film.creator, film._private, film.__len__]
    assert get([call.remote() for call in calls]) == ["actor", "creator", "private", 3]
    assert "actor" in dir(film)
    with pytest.raises(AttributeError, match="no method 'director'"):
        film.director.remote()
    with pytest.raises(TypeError, match=r"handle\.actor\.remote"):
        film.actor()
    with pytest.raises(TypeError, match=r"Counter\.remote"):
        Counter()
    with pytest.raises(TypeError, match="cannot be inherited"):
        types.resolve_bases((Counter,))
    with pytest.raises(AttributeError, match=r"handle\.add\.remote"):
        _ = Counter.add
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(Counter, "nothing")  # noqa: B009  # mypy knows that there is none


def test_what_belongs_to_the_class_is_there_without_an_actor() -> None:
    assert (Counter.kind, Counter.twice(4), Counter.which()) == ("counter", 8, "counter")


def test_calls_that_do_not_fit_and_options_that_make_no_sense_are_refused_at_once() -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError, match="too many"):
        counter.add.remote(1, 2)
    with pytest.raises(TypeError, match="too many"):
        Counter.remote(1, 2, 3)
    refused: list[dict[str, Any]] = [
        {"max_restarts": -2},
        {"max_task_retries": 1.5},
        {"max_concurrency": 0},
        {"num_cpus": -1},
        {"max_retries": 1},
        {"concurrency_groups": {"io": 0}},
    ]
    for options in refused:
        with pytest.raises(ValueError, match=next(iter(options))):
            Counter.options(**options)
    with pytest.raises(ValueError, match="a detached actor needs a name"):
        Counter.options(lifetime="detached").remote()
    with pytest.raises(ValueError, match="lifetime must be 'detached' or 'non_detached', got 'lo"):
        Counter.options(lifetime="long")
    unfit: list[dict[str, Any]] = [{"num_returns": -1}, {"no": 1}, {"concurrency_group": "io"}]
    for options in unfit:
        with pytest.raises(ValueError, match=r"num_returns|'no'|'io'"):
            counter.add.options(**options)
    with pytest.raises(ValueError, match="not a generator"):
        counter.add.options(num_returns="streaming")
    with pytest.raises(ValueError, match="not a generator"):
        zgen.remote(type("Wrong", (), {"work": zgen.method(num_returns="streaming")(get)}))
    with pytest.raises(TypeError, match="name must be a string"):
        counter.add.options(name=5)
    with pytest.raises(TypeError, match="keywords"):
        zgen.method()
    assert get(counter.add.remote()) == 1


def test_an_actor_may_create_actors_of_its_own_class_and_submit_tasks() -> None:
    @zgen.remote
    class Tree(RemoteClass):
        def __init__(self, depth: int) -> None:
            self.child = Tree.remote(depth - 1) if depth else None

        def size(self) -> int:
            return 1 + (zgen.get(self.child.size.remote()) if self.child else 0)

        def by_task(self, value: int) -> int:
            return int(zgen.get(zgen.remote(lambda x: x + 1).remote(value)))

    tree = Tree.remote(2)
    assert get(tree.size.remote()) == 3
    assert get(tree.by_task.remote(1)) == 2


def test_what_every_actor_has_besides_its_methods() -> None:
    counter = Counter.remote(4)
    assert get(counter.__ray_ready__.remote()) is True
    assert get(counter.__ray_call__.remote(lambda self, x: self.number + x, 3)) == 7
    with pytest.raises(ActorDiedError):
        get(counter.__ray_terminate__.remote())


# -- streams ---------------------------------------------------------------------------------------
@pytest.mark.ray_docs("45", "108-109")
def test_generator_methods_stream() -> None:
    counter = Counter.remote()
    stream = counter.count.remote(100)
    assert isinstance(stream, zgen.ObjectRefGenerator)
    assert values(stream) == list(range(1, 101))
    assert values(counter.count.options(num_returns="streaming").remote(2)) == [101, 102]


def test_items_are_usable_while_the_method_runs_and_other_calls_wait_for_its_end(
    gate: Gate,
) -> None:
    counter = Counter.remote()
    stream, after = counter.park.remote(gate), counter.add.remote()
    assert get(next(stream)) == 1
    with pytest.raises(GetTimeoutError):
        zgen.get(after, timeout=0.1)
    gate.open()
    assert get(after) == 1
    assert values(stream) == [2]


def test_many_streams_of_one_actor_come_whole_and_in_order() -> None:
    counter = Counter.remote()
    streams = [counter.count.remote(20) for _ in range(20)]
    taken = [values(stream) for stream in reversed(streams)]
    assert [item for each in reversed(taken) for item in each] == list(range(1, 401))


def test_large_items_stream_from_an_actor() -> None:
    @zgen.remote
    class Blocks(RemoteClass):
        def give(self, count: int, size: int) -> Iterator[bytes]:
            for number in range(count):
                yield bytes([number]) * size

    blocks = Blocks.remote()
    for number, ref in enumerate(blocks.give.remote(30, 4 << 20)):
        block = get(ref)
        assert (len(block), block[0], block[-1]) == (4 << 20, number, number)
    assert number == 29


def test_a_dropped_stream_leaves_the_actor_usable() -> None:
    counter = Counter.remote()
    stream = counter.count.remote(2000)
    next(stream)
    del stream
    assert get(counter.add.remote()) == 2001


@pytest.mark.ray_docs("48")
def test_wait_takes_streams_and_references_of_actors(gate: Gate) -> None:
    fast, slow = Counter.remote(), Counter.remote()
    stream, ref = fast.count.remote(1), slow.wait.remote(gate)
    assert zgen.wait([ref, stream], timeout=20) == ([stream], [ref])
    gate.open()
    assert zgen.wait([ref, stream], num_returns=2, timeout=20) == ([ref, stream], [])


# -- errors ----------------------------------------------------------------------------------------
def test_an_error_of_a_method_is_raised_by_get_and_the_actor_lives_on() -> None:
    counter = Counter.remote()
    with pytest.raises(KeyError) as caught:
        get(counter.fail.remote())
    assert isinstance(caught.value, TaskError)
    assert "Counter.fail" in str(caught.value)
    assert get(counter.add.remote()) == 1


@pytest.mark.ray_docs("98-100")
def test_an_error_of_a_generator_method_comes_at_its_place() -> None:
    counter = Counter.remote()
    stream = counter.count_then_fail.remote(2)
    assert [get(next(stream)) for _ in range(2)] == [1, 2]
    with pytest.raises(LookupError, match="after 2"):
        get(next(stream))
    assert list(stream) == []
    assert get(counter.add.remote()) == 3


def test_an_error_of_the_constructor_is_raised_by_every_call() -> None:
    @zgen.remote
    class Broken(RemoteClass):
        def __init__(self) -> None:
            raise ValueError("not today")

        def work(self) -> None:
            return None

        def stream(self) -> Iterator[int]:
            yield 1

    broken = Broken.remote()
    for ref in (broken.work.remote(), next(broken.stream.remote()), broken.work.remote()):
        with pytest.raises(ActorDiedError, match="not today") as caught:
            get(ref)
        assert caught.value.actor_init_failed
        assert isinstance(caught.value, RayActorError)
        assert caught.value.actor_id == broken._actor_id
        assert caught.value.actor_name == "Broken"


def test_an_argument_that_is_an_error_fails_the_call_alone() -> None:
    counter = Counter.remote()
    with pytest.raises(KeyError):
        get(counter.add.remote(counter.fail.remote()))
    assert get(counter.add.remote()) == 1


def test_an_argument_of_the_constructor_that_is_an_error_ends_the_actor() -> None:
    counter = Counter.remote(Counter.remote().fail.remote())
    with pytest.raises(ActorDiedError, match="no"):
        get(counter.add.remote())


def test_retry_exceptions_runs_a_call_again(gate: Gate) -> None:
    @zgen.remote
    class Flaky(RemoteClass):
        def __init__(self) -> None:
            self.calls = 0

        @zgen.method(max_task_retries=2, retry_exceptions=[OSError])
        def work(self) -> int:
            self.calls += 1
            if self.calls < 3:
                raise OSError("again")
            return self.calls

    flaky = Flaky.remote()
    assert get(flaky.work.remote()) == 3
    other = Flaky.remote()
    with pytest.raises(OSError, match="again"):
        get(other.work.options(max_task_retries=1).remote())


def test_more_pending_calls_than_allowed_are_refused(gate: Gate) -> None:
    counter = Counter.options(max_pending_calls=2).remote()
    pending = [counter.wait.remote(gate), counter.add.remote()]
    with pytest.raises(PendingCallsLimitExceeded, match="2 calls"):
        counter.add.remote()
    gate.open()
    assert get(pending) == [0, 1]
    assert get(counter.add.remote()) == 2


# -- when it ends ----------------------------------------------------------------------------------
def test_an_actor_ends_with_its_last_handle_when_what_was_called_is_done(gate: Gate) -> None:
    counter = Counter.remote()
    pid = get(counter.pid.remote())
    waiting, stream = counter.wait.remote(gate), counter.count.remote(3)
    del counter
    gate.open()
    assert get(waiting) == 0
    assert values(stream) == [1, 2, 3]
    wait_until(lambda: not is_alive(pid), 10.0, "the actor's process ends")


def test_an_actor_that_is_dropped_at_once_still_runs_what_was_called() -> None:
    assert get(Counter.remote(3).add.remote()) == 4


def test_what_atexit_was_given_runs_when_the_last_handle_goes(gate: Gate) -> None:
    counter = Counter.remote()

    def register(self: Any, gate: Gate) -> None:
        import atexit

        atexit.register(gate.open)

    get(counter.__ray_call__.remote(register, gate))
    del counter
    gate.wait()


def test_kill_ends_an_actor_whatever_it_runs(gate: Gate) -> None:
    counter = Counter.remote()
    pid = get(counter.pid.remote())
    running, queued = counter.wait.remote(gate), counter.add.remote()
    zgen.kill(counter)
    for ref in (running, queued, counter.add.remote()):
        with pytest.raises(ActorDiedError, match=r"killed by `ray\.kill`"):
            get(ref)
    wait_until(lambda: not is_alive(pid), 10.0, "the actor's process ends")
    zgen.kill(counter)  # once more changes nothing


def test_kill_by_another_thread_wakes_who_waits(runtime: Runtime, gate: Gate) -> None:
    counter = Counter.remote()
    stream = counter.park.remote(gate)
    assert get(next(stream)) == 1
    killed: list[float] = []

    def kill_once_blocked() -> None:
        wait_until(lambda: not runtime.waits.is_idle(), 20.0, "the consumer is blocked")
        time.sleep(0.05)  # so that it sleeps
        zgen.kill(counter)
        killed.append(time.monotonic())

    killer = threading.Thread(target=kill_once_blocked)
    killer.start()
    ref = stream.next(timeout=20)
    woken = time.monotonic()
    killer.join()
    assert woken - killed[0] < LATE_S  # less than a slow poll: it was woken
    with pytest.raises(ActorDiedError):
        get(ref)
    assert list(stream) == []


def test_kill_before_the_actor_is_there_ends_it_too() -> None:
    counter = Counter.remote()
    zgen.kill(counter)
    with pytest.raises(ActorDiedError):
        get(counter.add.remote())


def test_kill_takes_handles_only() -> None:
    for wrong in (Counter, "actor", None):
        with pytest.raises(ValueError, match="ActorHandle"):
            zgen.kill(wrong)  # type: ignore[arg-type]


def test_exit_actor_ends_it_on_purpose_and_runs_atexit(gate: Gate) -> None:
    counter = Counter.options(max_restarts=5).remote()
    pid = get(counter.pid.remote())

    def register(self: Any, gate: Gate) -> None:
        import atexit

        atexit.register(gate.open)

    get(counter.__ray_call__.remote(register, gate))
    leaving, queued = counter.leave.remote(), counter.add.remote()
    for ref in (leaving, queued, counter.add.remote()):
        with pytest.raises(ActorDiedError):
            get(ref)
    gate.wait()
    wait_until(lambda: not is_alive(pid), 10.0, "the actor's process ends")


def test_sys_exit_in_a_generator_method_ends_the_actor_after_what_was_reported() -> None:
    counter = Counter.options(max_restarts=5).remote()
    stream = counter.leave_midway.remote()
    assert get(next(stream)) == 1
    with pytest.raises(ActorDiedError):
        get(next(stream))
    assert list(stream) == []


def test_sys_exit_for_a_failure_is_a_crash_of_the_actor() -> None:
    counter = Counter.options(max_restarts=1, max_task_retries=1).remote()
    assert values(counter.fail_in_the_first_life.remote()) == [1, 2]


def test_exit_actor_outside_of_an_actor_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="actors"):
        zgen.actor.exit_actor()
    with pytest.raises(TypeError, match="actors"):
        get(zgen.remote(lambda: zgen.actor.exit_actor()).remote())


def test_thousand_calls_of_an_actor_that_was_killed_all_fail_and_none_hangs() -> None:
    counter = Counter.remote()
    refs = [counter.add.remote() for _ in range(500)]
    zgen.kill(counter)
    refs += [counter.add.remote() for _ in range(500)]
    outcomes = []
    for ref in refs:
        try:
            outcomes.append(get(ref))
        except ActorDiedError:
            outcomes.append(None)
    ran = [outcome for outcome in outcomes if outcome is not None]
    assert ran == list(range(1, len(ran) + 1))
    assert outcomes == ran + [None] * (1000 - len(ran))
