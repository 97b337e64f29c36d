"""Streams of all kinds of bodies: handed over, spoken with, shared, held back, closed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import zgen
from scripts.soak import bodies, readers, talking
from scripts.soak.check import Operation, Work, index_of, is_one_of
from scripts.soak.tally import WrongError
from zgen.async_streams import fan_out as fan_out_async
from zgen.exceptions import (
    ActorDiedError,
    NodeDiedError,
    ObjectLostError,
    OwnerDiedError,
    StreamLentError,
    WorkerCrashedError,
)
from zgen.streams import fan_out

_ALWAYS: Final[dict[str, Any]] = {"max_restarts": -1, "max_task_retries": -1}
_SPREAD: Final[dict[str, Any]] = {"scheduling_strategy": "SPREAD"}
#: Who yields.
_KINDS: Final = ("task", "async task", "regular", "threaded", "async")
_LARGE_BYTES: Final = 200_000


def _actor(work: Work, kind: str, **options: Any) -> Any:
    cls: Any = bodies.Async if kind == "async" else bodies.Regular
    more = {"max_concurrency": 4} if kind == "threaded" else {}
    return cls.options(**_SPREAD, **_ALWAYS, **options, **more).remote(work.seed)


def _opened(
    work: Work, count: int, size_bytes: int, pause_s: float = 0.0, **options: Any
) -> tuple[Any, Any]:
    """Return a stream by a kind of body that dice choose, and its actor; None for a task."""
    kind = work.dice.choice(_KINDS)
    if kind == "task":
        task = bodies.items.options(**_SPREAD, **options)
        return task.remote(work.seed, count, size_bytes, pause_s), None
    if kind == "async task":
        task = bodies.async_items.options(**_SPREAD, **options)
        return task.remote(work.seed, count, pause_s, size_bytes), None
    actor = _actor(work, kind)
    return actor.items.options(**options).remote(count, size_bytes, pause_s), actor


def _window(work: Work) -> dict[str, int]:
    """Return how far a body may be ahead: not said, in items, in bytes, or in both."""
    return {
        "none": {},
        "items": {"max_pending_items": work.dice.choice([1, 2, 5, 16])},
        "bytes": {"max_pending_bytes": work.dice.choice([1_000, 500_000])},
        "both": {"max_pending_items": 4, "max_pending_bytes": 300_000},
    }[work.dice.choice(["none", "items", "bytes", "both"])]


# -- handed over -----------------------------------------------------------------------------------
def handed(work: Work) -> None:
    """Have tasks and actors read parts of a stream, one after the other, and read the rest."""
    size = work.dice.choice([0, 0, _LARGE_BYTES])
    count = work.dice.randrange(40, 60 if size else 300)
    pause_s = work.dice.choice([0, 0.005])
    stream, actor = _opened(work, count, size, pause_s, **_window(work))
    at = work.dice.randrange(5)
    work.read(stream, at, size)
    died: Exception | None = None
    for _ in range(work.dice.randrange(1, 4)):
        some = work.dice.randrange(2, 11)
        work.doing = f"hands over {stream!r} at {at}"
        refs = _hand_over(work, stream, some)
        try:
            got = work.get(refs, f"what a reader got of {stream!r} from {at}")
        except Exception as error:
            if not is_one_of(error, (StreamLentError,)):
                raise
            died, at = error, _taken_up(work, stream, at, at + some, size)
            continue
        if isinstance(got, tuple):
            got, back = got
            work.equal(back is stream, True, "whether it is the same stream")
        work.equal(got, readers.prints(work.seed, at, some, size), "what a reader got")
        work.checked += some - 1
        at += some
    work.read(stream, count, size, first=at)
    work.end(stream)
    del actor
    if died:
        raise died


def _hand_over(work: Work, stream: Any, some: int) -> Any:
    how = work.dice.choice(["read", "return", "pass", "actor", "async actor"])
    pause_s = work.dice.choice([0, 0.02])
    if how == "read":
        return readers.read.options(**_SPREAD).remote(stream, some, pause_s)
    if how == "return":
        task: Any = readers.read_and_return.options(**_SPREAD)
        return task.remote({"stream": stream}, some, pause_s)
    if how == "pass":
        return readers.read_and_pass.options(**_SPREAD).remote(stream, some, pause_s)
    cls: Any = readers.Reader if how == "actor" else readers.AsyncReader
    return cls.options(**_SPREAD, **_ALWAYS).remote().read.remote(stream, some, pause_s)


def _taken_up(work: Work, stream: Any, low: int, high: int, size: int) -> int:
    """Read one item of a stream whose reader died, when it is back; return the next one's index.

    What the reader had taken when it died is gone with it, from ``low`` up to ``high`` at most.
    """
    while True:
        work.doing = f"waits until {stream!r} comes back"
        ready, _ = zgen.wait([stream], timeout=work.left_s)
        if not ready:
            raise TimeoutError(work.doing)
        try:
            ref = work.next(stream, low)
        except StreamLentError:  # by a task that the dead reader had passed it on to
            time.sleep(0.01)
            continue
        got = work.get(ref, "the first item after a reader")
        index = index_of(got)
        if index is None or not low <= index <= high:
            told = f"a dead reader had items {low} to {high} at most; then came {got!r:.200}"
            raise WrongError("lost" if index is None or index > high else "repeated", told)
        work.check(got, index, size)
        return index + 1


def reader_killed(work: Work) -> None:
    """Kill the actor that reads a stream, and read on."""
    size = work.dice.choice([0, 0, _LARGE_BYTES])
    count = work.dice.randrange(30, 60 if size else 400)
    stream, actor = _opened(work, count, size, 0.002, **_window(work))
    kind = work.dice.choice(["regular", "threaded", "async"])
    cls: Any = readers.AsyncReader if kind == "async" else readers.Reader
    more = {"max_concurrency": 4} if kind == "threaded" else {}
    reader = cls.options(**_SPREAD, **more).remote()
    most = count - 1
    ref = reader.read.remote(stream, most, 0.005)
    work.doing = "lets it read"
    time.sleep(work.dice.uniform(0, 1.5))
    zgen.kill(reader)
    try:
        got = work.get(ref, "what a killed reader got")
    except ActorDiedError:
        at = _taken_up(work, stream, 0, most, size)
    else:
        work.equal(got, readers.prints(work.seed, 0, most, size), "what a reader got")
        at = most
    work.read(stream, count, size, first=at)
    work.end(stream)
    del actor


def made(work: Work) -> None:
    """Read a stream that a task has made, which owns it and may die."""
    size = work.dice.choice([0, _LARGE_BYTES])
    count = work.dice.randrange(5, 30 if size else 200)
    stream = work.get(readers.make.options(**_SPREAD).remote(work.seed, count, size), "a stream")
    work.read(stream, count, size)
    work.end(stream)


def repeated(work: Work) -> None:
    """Read what an actor yields that reads what it was given."""
    size = work.dice.choice([0, _LARGE_BYTES])
    count = work.dice.randrange(5, 30 if size else 150)
    cls: Any = work.dice.choice([readers.Reader, readers.AsyncReader])
    # Made again, it would not get the items that it took in its first life.
    reader = cls.options(**_SPREAD).remote()
    stream = reader.repeat.remote(bodies.items.remote(work.seed, count, size, 0.005))
    work.read(stream, count, size)
    work.end(stream)


# -- spoken with -----------------------------------------------------------------------------------
def spoken(work: Work) -> None:
    """Send values and errors into a generator; check its answers by one of one's own."""
    size = work.dice.choice([0, 0, 150_000])
    count = work.dice.randrange(5, 25 if size else 120)
    kind = work.dice.choice(_KINDS)
    if kind == "task":
        stream: Any = talking.talk_task.options(**_SPREAD).remote(work.seed, size)
    elif kind == "async task":
        stream = talking.talk_async_task.options(**_SPREAD).remote(work.seed, size)
    else:
        stream = _actor(work, kind).talk.options(two_way=True).remote(size)
    twin = talking.talk(work.seed, size)
    work.doing = f"begins to speak with {stream!r}"
    _answers(work, stream.next(timeout=work.left_s), next(twin), 0)
    for step in range(1, count):
        work.doing = f"step {step} with {stream!r}"
        if work.dice.random() < 0.1:
            _answers(work, stream.throw(KeyError(step)), twin.throw(KeyError(step)), step)
        else:
            given = work.dice.choice([step, None, "x" * work.dice.randrange(2_000), [step, "y"]])
            _answers(work, stream.send(given), twin.send(given), step)
        time.sleep(work.dice.choice([0, 0, 0.02]))
    if work.dice.random() < 0.3:
        stream.close()
        work.end(stream)
        return
    work.doing = f"ends {stream!r}"
    try:
        stream.send("end")
    except StopIteration as end:
        if not kind.startswith("async"):
            work.equal(end.value, "ended", "what a body returned")
    else:
        raise WrongError("repeated", f"{work.name}: an answer after the end")


def _answers(work: Work, ref: Any, wanted: Any, step: int) -> None:
    work.equal(work.get(ref, f"answer {step}"), wanted, f"answer {step}")


# -- shared ----------------------------------------------------------------------------------------
def fanned(work: Work) -> None:
    """Have several readers in threads read one run of a stream."""
    size = work.dice.choice([0, 0, _LARGE_BYTES])
    count = work.dice.randrange(10, 40 if size else 300)
    stream, actor = _opened(work, count, size, 0.002, **_window(work))
    branches = fan_out(stream, work.dice.randrange(2, 5), max_pending_items=8)
    failed: list[BaseException] = []

    def read(branch: Any, pause_s: float) -> None:
        index = 0
        try:
            for ref in branch:
                work.check(zgen.get(ref, timeout=work.left_s), index, size)
                index += 1
                time.sleep(pause_s)
            work.equal(index, count, "items of a branch")
        except BaseException as error:
            failed.append(error)
        finally:
            branch.close()

    pauses = [work.dice.choice([0, 0.002, 0.01]) for _ in branches]
    threads = [
        threading.Thread(target=read, args=pair, daemon=True)
        for pair in zip(branches, pauses, strict=True)
    ]
    for thread in threads:
        thread.start()
    work.doing = f"reads {len(threads)} branches of {stream!r}"
    for thread in threads:
        thread.join(work.left_s)
    if failed:
        raise failed[0]
    if any(thread.is_alive() for thread in threads):
        raise TimeoutError(work.doing)
    del actor


def fanned_async(work: Work) -> None:
    """Have several coroutines read one run of a stream; one of them leaves early."""
    count = work.dice.randrange(20, 200)
    stream, actor = _opened(work, count, 0, 0.002, **_window(work))

    async def read(branch: Any, upto: int) -> None:
        index = 0
        async for ref in branch:
            work.check(await ref, index)
            index += 1
            if index == upto:
                break
        await branch.aclose()
        work.equal(index, upto, "items of a branch")

    async def every() -> None:
        early, *others = fan_out_async(stream, 3, max_pending_items=8)
        await asyncio.gather(read(early, count // 2), *(read(each, count) for each in others))

    work.doing = f"async for of branches of {stream!r}"
    asyncio.run(asyncio.wait_for(every(), work.left_s))
    del actor


# -- held back -------------------------------------------------------------------------------------
def windows(work: Work) -> None:
    """Read streams in turns, each of which may be ahead by a window, of its own or of its actor."""
    size = work.dice.choice([0, 0, _LARGE_BYTES])
    count = work.dice.randrange(10, 40 if size else 120)
    pause_s = work.dice.choice([0, 0.01])
    if work.dice.random() < 0.5:
        kind = work.dice.choice(["threaded", "async"])
        amounts = {"max_pending_items": work.dice.choice([3, 6])}
        if size:
            amounts |= {"max_pending_bytes": 700_000}
        actor = _actor(work, kind, **amounts)
        opened = [actor.items.remote(count, size, 0.0) for _ in range(3)]
    else:
        pairs = [_opened(work, count, size, 0.0, **_window(work)) for _ in range(3)]
        opened = [stream for stream, _ in pairs]
        actor = [each for _, each in pairs]
    for index in range(count):
        for stream in opened:
            work.check(work.get(work.next(stream, index), f"item {index}"), index, size)
        time.sleep(pause_s)
    for stream in opened:
        work.end(stream)
    del actor


# -- left ------------------------------------------------------------------------------------------
def closed(work: Work) -> None:
    """Close a stream without an end in its midst, by all that closes it."""
    stream, actor = _opened(work, 1 << 40, 0, 0.003, **_window(work))
    count = work.dice.randrange(60)
    how = work.dice.choice(["with", "close", "aclose", "async with"])
    work.doing = f"{how} of {stream!r}"
    if how == "with":
        with stream:
            work.read(stream, count)
    elif how == "close":
        work.read(stream, count)
        stream.close()
    else:
        asyncio.run(asyncio.wait_for(_read_and_leave(work, stream, count, how), work.left_s))
    work.end(stream)
    ended = (WorkerCrashedError, NodeDiedError, ActorDiedError)
    died: Exception | None = None
    try:
        work.equal(work.get(stream.completed(), "completed()"), None, "completed()")
    except ended as error:
        died = error
    if actor is not None:
        work.equal(work.get(actor.tell.remote(1), "a call after a close")[0], 1, "answer")
    if died:
        raise died


async def _read_and_leave(work: Work, stream: Any, count: int, how: str) -> None:
    async def read() -> None:
        for index in range(count):
            work.check(await (await anext(stream)), index)

    if how == "async with":
        async with stream:
            await read()
    else:
        await read()
        await stream.aclose()


def resumed(work: Work) -> None:
    """Read a stream of an actor that goes on where its reader is."""
    actor = _actor(work, work.dice.choice(["regular", "threaded", "async"]))
    count = work.dice.randrange(50, 300)
    stream = actor.resumed.options(**_window(work)).remote(count, 0.005)
    work.read(stream, count)
    work.end(stream)


_ENDED: Final = (WorkerCrashedError, NodeDiedError, ActorDiedError)
_OWNERS: Final = (OwnerDiedError, ObjectLostError)
_RUN: Final[dict[str, tuple[Callable[[Work], None], int, tuple[type[BaseException], ...]]]] = {
    "streams handed over": (handed, 4, (StreamLentError,)),
    "streams whose reader is killed": (reader_killed, 2, ()),
    "streams made by tasks": (made, 2, _OWNERS),
    "streams repeated by actors": (repeated, 1, (ActorDiedError, *_OWNERS)),
    "streams spoken with": (spoken, 4, ()),
    "streams with readers in threads": (fanned, 2, ()),
    "streams with readers in an event loop": (fanned_async, 2, ()),
    "streams in turns, with windows": (windows, 3, ()),
    "streams closed in their midst": (closed, 3, _ENDED),
    "actors' streams that resume": (resumed, 2, ()),
}

OPERATIONS: Final = {name: Operation(*each) for name, each in _RUN.items()}
