"""``send`` and ``throw``: each answer belongs to what was sent, in every kind of worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.watching import wait_until
from zgen.exceptions import CapacityError, GetTimeoutError, TaskCancelledError, TaskError
from zgen.limits import INLINE_BYTES_MAX

pytestmark = pytest.mark.usefixtures("runtime")


def echo(first: Any, gate: Gate | None = None) -> Generator[Any, Any, Any]:
    """Yield what is sent, and return all of it; ``KeyError`` is caught."""
    heard: list[Any] = []
    answer = first
    try:
        while True:
            try:
                heard.append((yield answer))
            except KeyError as error:
                heard.append(error.args)
            answer = heard[-1]
            if answer == "end":
                return heard
    finally:
        if gate is not None:
            gate.open()


async def echo_async(first: Any, gate: Gate | None = None) -> AsyncIterator[Any]:
    answer = first
    try:
        while answer != "end":
            try:
                answer = yield answer
            except KeyError as error:
                answer = error.args
            await asyncio.sleep(0)
    finally:
        if gate is not None:
            gate.open()


class Methods:
    def sync(self, first: Any, gate: Gate | None = None) -> Generator[Any, Any, Any]:
        return (yield from echo(first, gate))

    @zgen.method(two_way=True)
    def marked(self, first: Any) -> Generator[Any, Any, Any]:
        return (yield from echo(first))


class AsyncMethods(Methods):
    async def alone(self, first: Any, gate: Gate | None = None) -> AsyncIterator[Any]:
        answer = first
        try:
            while answer != "end":
                try:
                    answer = yield answer
                except KeyError as error:
                    answer = error.args
                await asyncio.sleep(0)
        finally:
            if gate is not None:
                gate.open()


def opened(kind: str) -> Callable[..., Any]:
    """Return what starts that kind of generator."""
    if kind == "task":
        return zgen.remote(two_way=True)(echo).remote
    if kind == "async task":
        return zgen.remote(echo_async).options(two_way=True).remote
    cls, options, method = {
        "actor": (Methods, {}, "sync"),
        "threaded actor": (Methods, {"max_concurrency": 2}, "sync"),
        "async actor": (AsyncMethods, {}, "alone"),
        "sync in an async actor": (AsyncMethods, {}, "sync"),
    }[kind]
    actor: Any = zgen.remote(num_cpus=0, **options)(cls).remote()
    return lambda *args: getattr(actor, method).options(two_way=True).remote(*args)


KINDS = ["task", "async task", "actor", "threaded actor", "async actor", "sync in an async actor"]
RETURNS = ["task", "actor", "threaded actor", "sync in an async actor"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.beside_ray("two_way")
def test_answers_belong_to_what_was_sent(kind: str) -> None:
    stream = opened(kind)("first")
    assert zgen.get(next(stream)) == "first"
    assert [zgen.get(stream.send(number)) for number in range(5)] == list(range(5))
    assert zgen.get(stream.throw(KeyError("key"))) == ("key",)
    assert zgen.get(next(stream)) is None
    with pytest.raises(StopIteration) as ended:
        stream.send("end")
    heard = [*range(5), ("key",), None, "end"] if kind in RETURNS else None
    assert ended.value.value == heard
    assert zgen.get(stream.completed()) == heard
    with pytest.raises(StopIteration):
        stream.send(1)
    with pytest.raises(LookupError, match="late"):
        stream.throw(LookupError("late"))


@pytest.mark.parametrize("kind", ["async task", "threaded actor", "sync in an async actor"])
@pytest.mark.beside_ray("two_way")
def test_what_the_body_does_not_catch_ends_it_with_that_error(kind: str) -> None:
    stream = opened(kind)(0)
    next(stream)
    with pytest.raises(OSError, match="sent"):
        zgen.get(stream.throw(OSError("sent")))
    assert list(stream) == []
    unbegun = opened(kind)(0)
    with pytest.raises(OSError, match="first"):
        zgen.get(unbegun.throw(OSError("first")))
    assert zgen.get(unbegun.completed(), timeout=20) is None


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("task", "close"),
        ("async task", "drop"),
        ("actor", "drop"),
        ("threaded actor", "close"),
        ("async actor", "close"),
        ("sync in an async actor", "drop"),
    ],
)
def test_a_body_that_waits_to_be_asked_is_closed_where_it_stands(
    kind: str, how: str, gate: Gate
) -> None:
    stream = opened(kind)(0, gate)
    next(stream)
    if how == "close":
        stream.close()
        assert zgen.get(stream.completed(), timeout=20) is None
    del stream
    gate.wait()


@pytest.mark.parametrize("kind", ["async task", "actor", "async actor"])
def test_it_can_be_cancelled_while_it_waits(kind: str) -> None:
    stream = opened(kind)(0)
    next(stream)
    zgen.cancel(stream)
    with pytest.raises(TaskCancelledError):
        zgen.get(stream.completed(), timeout=20)
    with pytest.raises(TaskCancelledError):
        zgen.get(stream.send(1))


def test_nothing_runs_that_was_not_asked_for(tmp_path: Any) -> None:
    tally = Tally(tmp_path / "runs")

    @zgen.remote(two_way=True)
    def counts() -> Iterator[int]:
        while True:
            yield tally.add()

    stream = counts.remote()
    for number in range(1, 4):
        assert zgen.get(next(stream)) == number
        assert tally.count == number
    assert not stream.next_ready()
    assert not stream.is_finished()


def test_who_did_not_open_it_for_that_is_told_how_to() -> None:
    @zgen.remote
    def one_way() -> Iterator[int]:
        yield 1

    stream = one_way.remote()
    with pytest.raises(NotImplementedError, match="two_way=True"):
        stream.send(1)
    with pytest.raises(NotImplementedError, match="two_way=True"):
        stream.throw(KeyError)
    assert len(list(stream)) == 1


def test_what_makes_no_sense_is_refused_at_the_call() -> None:
    body = zgen.remote(two_way=True)(echo)
    stream = body.remote(0)
    with pytest.raises(TypeError, match="just-started"):
        stream.send(1)
    with pytest.raises(TypeError, match="deriving from BaseException, not int"):
        stream.throw(1)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ValueError, match="nothing was asked of it"):
        zgen.wait([stream])
    with pytest.raises(CapacityError, match=r"zgen\.put"):
        next(stream), stream.send(bytes(INLINE_BYTES_MAX))
    assert zgen.get(stream.send("still")) == "still", "nothing has happened to it"
    with pytest.raises(ValueError, match="does not run as"):
        body.options(num_returns=2)
    with pytest.raises(ValueError, match="unasked"):
        body.options(two_way=True, _generator_backpressure_num_objects=2)
    with pytest.raises(TypeError, match="must be a bool"):
        body.options(two_way="yes")


def test_a_method_that_does_not_yield_cannot_be_two_way() -> None:
    class Bad:
        @zgen.method(two_way=True)
        def no(self) -> int:
            return 1

    with pytest.raises(ValueError, match=r"Bad\.no\(\) does not run as"):
        zgen.remote(Bad).remote()
    actor: Any = zgen.remote(num_cpus=0)(Methods).remote()
    with pytest.raises(ValueError, match="does not run as"):
        actor.sync.options(two_way=True, num_returns=2)


def test_a_method_that_is_marked_needs_no_options() -> None:
    actor: Any = zgen.remote(num_cpus=0)(Methods).remote()
    stream = actor.marked.remote(1)
    assert [zgen.get(next(stream)), zgen.get(stream.send(2))] == [1, 2]
    stream.close()
    with actor.marked.options(two_way=False).remote(0) as one_way:
        with pytest.raises(NotImplementedError):
            one_way.send(1)
        assert len([next(one_way) for _ in range(3)]) == 3, "which nobody asked for"


def test_a_reference_that_is_sent_stays_one_and_keeps_its_object() -> None:
    @zgen.remote(two_way=True)
    def reads() -> Generator[Any, Any, None]:
        answer = None
        while True:
            given = yield answer
            answer = len(zgen.get(given["data"]))

    stream = reads.remote()
    next(stream)
    data = zgen.put(bytes(1 << 20))
    answer = stream.send({"data": data})
    del data
    assert zgen.get(answer) == 1 << 20


def test_an_answer_that_is_late_is_taken_by_the_next_step(gate: Gate) -> None:
    @zgen.remote(two_way=True)
    def slow() -> Generator[Any, Any, None]:
        yield 0
        gate.wait()
        yield 1

    stream = slow.remote()
    next(stream)
    with pytest.raises(GetTimeoutError):
        stream.next(timeout=0.05)
    with pytest.raises(ValueError, match="not taken"):
        stream.send("too early")
    assert zgen.wait([stream], timeout=0) == ([], [stream])
    gate.open()
    assert zgen.wait([stream], timeout=20) == ([stream], [])
    assert zgen.get(next(stream)) == 1


@pytest.mark.parametrize("kind", ["task", "async actor"])
def test_an_event_loop_speaks_without_waiting(kind: str) -> None:
    async def main() -> None:
        stream = opened(kind)("first")
        with pytest.raises(TypeError, match="just-started"):
            await stream.asend(1)
        assert await (await anext(stream)) == "first"
        assert [await (await stream.asend(number)) for number in range(5)] == list(range(5))
        assert await (await stream.athrow(KeyError)) == ()
        with pytest.raises(TaskError):
            await (await stream.athrow(OSError))
        with pytest.raises(StopAsyncIteration):
            await stream.asend(1)
        with pytest.raises(LookupError):
            await stream.athrow(LookupError)

    asyncio.run(main())


def test_an_attempt_that_follows_an_error_hears_all_again(tmp_path: Any) -> None:
    tally = Tally(tmp_path / "runs")

    @zgen.remote(two_way=True, max_retries=1, retry_exceptions=True)
    def sums() -> Generator[int, int, None]:
        run, total = tally.add(), 0
        while True:
            total += yield total
            if total == 10 and run == 1:
                raise OSError("once")

    stream = sums.remote()
    next(stream)
    assert [zgen.get(stream.send(number)) for number in range(1, 7)] == [1, 3, 6, 10, 15, 21]
    assert tally.count == 2


def test_a_worker_that_waits_to_be_asked_holds_no_cpu() -> None:
    streams = [zgen.remote(two_way=True)(echo).remote(number) for number in range(4)]
    assert [zgen.get(next(stream)) for stream in streams] == list(range(4))
    runtime = zgen.runtime.process.current
    assert runtime is not None
    del streams
    wait_until(lambda: not runtime.machine.owner.tasks.entries, 20, "all of them are closed")
