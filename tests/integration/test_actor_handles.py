"""Handles that are passed and stored: who holds one calls the actor, and keeps it alive."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive, wait_until
from zgen.exceptions import ActorDiedError, NestedRefError
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=20)


@zgen.remote
class Counter(RemoteClass):
    def __init__(self) -> None:
        self.number = 0

    def add(self) -> int:
        self.number += 1
        return self.number

    def count(self, items: int) -> Iterator[int]:
        for _ in range(items):
            yield self.add()

    def pid(self) -> int:
        return os.getpid()


@zgen.remote
class Keeper(RemoteClass):
    def __init__(self, kept: Any = None) -> None:
        self.kept = kept

    def use(self) -> int:
        return int(zgen.get(self.kept.add.remote()))

    def give(self) -> Any:
        return self.kept

    def make(self) -> Any:
        return Counter.remote()

    def drop(self) -> None:
        self.kept = None


@zgen.remote
def add_by(handle: Any) -> int:
    return int(zgen.get(handle.add.remote()))


def test_a_handle_is_an_argument_of_a_task_and_calls_the_same_actor() -> None:
    counter = Counter.remote()
    assert get(add_by.remote(counter)) == 1
    assert sorted(get([add_by.remote(counter) for _ in range(5)])) == [2, 3, 4, 5, 6]
    assert get(counter.add.remote()) == 7


def test_a_handle_lies_inside_values_and_in_what_was_put() -> None:
    counter = Counter.remote()

    @zgen.remote
    def by_dict(handles: dict[str, Any]) -> int:
        return int(zgen.get(handles["one"].add.remote()))

    assert get(by_dict.remote({"one": counter})) == 1
    ref = zgen.put([counter])
    assert get(ref)[0] == counter
    assert get(get(ref)[0].add.remote()) == 2


def test_a_task_streams_from_an_actor_that_was_passed() -> None:
    counter = Counter.remote()

    @zgen.remote
    def relay(handle: Any, items: int) -> Iterator[int]:
        for ref in handle.count.remote(items):
            yield zgen.get(ref)

    assert [get(ref) for ref in relay.remote(counter, 30)] == list(range(1, 31))


def test_a_stored_handle_keeps_the_actor_alive_until_it_goes() -> None:
    counter = Counter.remote()
    pid = get(counter.pid.remote())
    keeper = Keeper.remote(counter)
    assert get(keeper.use.remote()) == 1
    del counter
    assert get(keeper.use.remote()) == 2
    assert is_alive(pid)
    get(keeper.drop.remote())
    wait_until(lambda: not is_alive(pid), 10.0, "the actor ends")


def test_a_handle_comes_back_from_an_actor_and_is_the_same() -> None:
    counter = Counter.remote()
    keeper = Keeper.remote(counter)
    back = get(keeper.give.remote())
    assert back == counter
    del counter
    zgen.kill(keeper)
    assert get(back.add.remote()) == 1


def test_an_actor_that_another_one_made_is_called_by_its_handle_and_dies_with_its_creator() -> None:
    keeper = Keeper.remote()
    made = get(keeper.make.remote())
    assert get(made.add.remote()) == 1
    pid = get(made.pid.remote())
    zgen.kill(keeper)
    wait_until(lambda: not is_alive(pid), 10.0, "the actor of the dead creator ends")
    with pytest.raises(ActorDiedError, match="creator"):
        get(made.add.remote())


def test_kill_by_a_handle_that_was_passed_ends_the_actor() -> None:
    counter = Counter.remote()

    @zgen.remote
    def kill(handle: Any) -> None:
        zgen.kill(handle)

    pid = get(counter.pid.remote())
    get(kill.remote(counter))
    wait_until(lambda: not is_alive(pid), 10.0, "the actor ends")
    with pytest.raises(ActorDiedError, match="killed"):
        get(counter.add.remote())


@pytest.fixture(scope="module")
def for_ever(shared_node: Runtime) -> Any:
    """Make an actor that the function closes over which the test below defines."""
    return Counter.remote()


def test_a_closure_over_a_handle_keeps_the_actor(for_ever: Any) -> None:
    counter = for_ever

    @zgen.remote
    def close_over() -> int:
        return int(zgen.get(counter.add.remote()))

    assert sorted(get([close_over.remote() for _ in range(3)])) == [1, 2, 3]


def test_a_handle_pickled_by_hand_is_refused() -> None:
    counter = Counter.remote()
    with pytest.raises(NestedRefError):
        pickle.dumps(counter)


def test_calls_of_many_processes_to_one_actor_are_each_in_order(gate: Gate) -> None:
    @zgen.remote
    class Log(RemoteClass):
        def __init__(self) -> None:
            self.seen: list[tuple[int, int]] = []

        def note(self, who: int, number: int) -> None:
            self.seen.append((who, number))

        def all(self) -> list[tuple[int, int]]:
            return self.seen

    log = Log.remote()

    @zgen.remote(num_cpus=0)
    def write(who: int, handle: Any) -> None:
        zgen.get([handle.note.remote(who, number) for number in range(50)])

    get([write.remote(who, log) for who in range(4)])
    seen = get(log.all.remote())
    assert len(seen) == 200
    for who in range(4):
        assert [number for each, number in seen if each == who] == list(range(50))


class Tally(zgen.TypedActor):
    def __init__(self, first: int) -> None:
        self.number = first

    @zgen.method
    def add(self, by: int = 1) -> int:
        self.number += by
        return self.number

    @zgen.method(num_returns=2)
    def pair(self) -> tuple[int, int]:
        return self.add(), self.add()

    def unmarked(self) -> int:
        return -self.number


def test_a_typed_actor_is_an_actor_like_any_other_where_it_runs() -> None:
    tally = zgen.remote(Tally).remote(5)
    assert zgen.get(tally.add.remote(by=2), timeout=20) == 7
    assert zgen.get(tally.pair.remote(), timeout=20) == [8, 9]
    untyped: Any = tally
    assert isinstance(untyped, zgen.ActorHandle)
    assert zgen.get(untyped.unmarked.remote(), timeout=20) == -9
    assert [name for name in dir(untyped) if name in ("remote", "options")] == []
    zgen.kill(tally)


def test_a_method_may_be_marked_without_options_by_a_plain_decorator_alone() -> None:
    def work() -> None: ...

    mark: Any = zgen.method
    assert mark(work) is work
    for given in ((), (1,), (work,)):
        with pytest.raises(TypeError, match="keywords"):
            mark(*given, **{"num_returns": 2} if given == (work,) else {})
