"""Tasks and streams of the soak, each run checked item by item."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import zgen
from scripts.soak import bodies
from scripts.soak.check import Operation, Work, amount_of, is_one_of
from scripts.soak.tally import WrongError
from zgen.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OwnerDiedError,
    TaskCancelledError,
    WorkerCrashedError,
)

#: Sizes of values that lie in shared memory.
SIZES_BYTES: Final = (150_000, 400_000, 1 << 20, 3 << 20)


def tasks(work: Work) -> None:
    """Call many small tasks at once."""
    count = work.dice.randrange(5, 60)
    refs = [bodies.make.remote(work.seed, i, 0, work.dice.choice([0, 0.01])) for i in range(count)]
    for index, got in enumerate(work.get(refs, "tasks")):
        work.check(got, index)


def chain(work: Work) -> None:
    """Pass results on as arguments, small and large ones."""
    sizes = [work.dice.choice([0, *SIZES_BYTES]) for _ in range(3)]
    refs = [bodies.make.remote(work.seed, i, size) for i, size in enumerate(sizes)]
    wanted = amount_of(bodies.value(work.seed, i, size) for i, size in enumerate(sizes))
    sums = [bodies.digest.remote(*refs) for _ in range(3)]
    del refs
    for got in work.get(sums, "sums"):
        work.equal(got, wanted, "sum of arguments")


def nested(work: Work) -> None:
    """Call a tree of tasks."""

    def total(seed: int, depth: int) -> int:
        below = (total(seed * 2 + i, depth - 1) for i in range(2)) if depth else ()
        return seed + sum(below)

    depth = work.dice.randrange(1, 4)
    got = work.get(bodies.tree.remote(work.seed, depth, 2), "a tree")
    work.equal(got, total(work.seed, depth), "tree")


def at_most_once(work: Work) -> None:
    """Call tasks that may run once."""
    names = [f"{work.name}-{i}" for i in range(5)]
    refs = [bodies.once.remote(work.notes, name, 0.1) for name in names]
    error: Exception | None = None
    for name, ref in zip(names, refs, strict=True):
        try:
            work.equal(work.get(ref, "a task that may run once"), name, "answer")
        except (WorkerCrashedError, NodeDiedError) as caught:
            error = caught
    if error:
        raise error


def stream(work: Work) -> None:
    """Read a stream of small items."""
    count = work.dice.randrange(50, 1500)
    generator = bodies.items.remote(work.seed, count, 0, work.dice.choice([0, 0, 0.003]))
    work.read(generator, count)
    work.end(generator)
    work.equal(work.get(generator.completed(), "completed()"), count, "completed()")


def stream_large(work: Work) -> None:
    """Read a stream of large items."""
    size, count = work.dice.choice(SIZES_BYTES), work.dice.randrange(5, 40)
    generator = bodies.items.remote(work.seed, count, size, work.dice.choice([0, 0.05]))
    work.read(generator, count, size, pause_s=work.dice.choice([0, 0.1]))
    work.end(generator)


def window(work: Work) -> None:
    """Read a stream that may be ahead by a few items, slowly."""
    size, count = work.dice.choice([0, 0, 200_000]), work.dice.randrange(20, 150)
    ahead = work.dice.choice([1, 3, 16])
    generator = bodies.items.options(_generator_backpressure_num_objects=ahead).remote(
        work.seed, count, size
    )
    work.read(generator, count, size, pause_s=0.02)
    work.end(generator)


def resumed(work: Work) -> None:
    """Read a stream that goes on where its reader is."""
    count = work.dice.randrange(50, 400)
    generator = bodies.resumed.remote(work.seed, count, 0.01)
    work.read(generator, count)
    work.end(generator)


def failing(work: Work) -> None:
    """Read a stream that ends with an error at its place."""
    count = work.dice.randrange(1, 200)
    generator = bodies.failing.remote(work.seed, count, work.dice.choice([0, 0.01]))
    work.read(generator, count)
    last = work.next(generator, count)
    try:
        got = work.get(last, "the error")
    except KeyError:
        work.end(generator)
    else:
        raise WrongError("wrong", f"{got!r} in place of the error")


def relayed(work: Work) -> None:
    """Read a stream of a worker that reads one of its own."""
    size, count = work.dice.choice([0, 0, 200_000]), work.dice.randrange(10, 100)
    generator = bodies.relayed.remote(work.seed, count, size, 0.01)
    work.read(generator, count, size)
    work.end(generator)


def async_stream(work: Work) -> None:
    """Read streams from an event loop."""
    count = work.dice.randrange(20, 200)

    async def read(seed: int) -> None:
        generator = bodies.async_items.remote(seed, count, 0.01)
        index = 0
        async for ref in generator:
            work.check(await ref, index, 0, seed)
            index += 1
        work.equal(index, count, "items of an asynchronous stream")

    async def every() -> None:
        await asyncio.gather(*(read(work.seed + i) for i in range(3)))

    work.doing = "async for"
    asyncio.run(asyncio.wait_for(every(), work.left_s))


def rebuilt(work: Work) -> None:
    """Hold large values unread for a while, in which nodes may die; then read them."""
    size, count = work.dice.choice(SIZES_BYTES[:3]), work.dice.randrange(3, 12)
    spread = {"scheduling_strategy": "SPREAD"}
    generator = bodies.items.options(**spread).remote(work.seed, count, size)
    held = [work.next(generator, index) for index in range(count)]
    work.end(generator)
    results = [bodies.make.options(**spread).remote(work.seed, i, size) for i in range(4)]
    sums = [bodies.digest.remote(ref) for ref in results]
    work.doing = "holds"
    time.sleep(work.dice.uniform(0.5, 15))
    order = list(range(count))
    work.dice.shuffle(order)
    for index in order:
        work.check(work.get(held[index], f"held item {index}"), index, size)
    for index, ref in enumerate(results):
        work.check(work.get(ref, f"held result {index}"), index, size)
        wanted = amount_of([bodies.value(work.seed, index, size)])
        work.equal(work.get(sums[index], f"sum of held result {index}"), wanted, "sum")


def borrowed(work: Work) -> None:
    """Lend what this program owns, from process to process."""
    sizes = [work.dice.choice([0, *SIZES_BYTES[:3]]) for _ in range(3)]
    values = [bodies.value(work.seed, i, size) for i, size in enumerate(sizes)]
    refs = [zgen.put(values[0]), *(bodies.make.remote(work.seed, i, sizes[i]) for i in (1, 2))]
    sums = [bodies.pass_on.remote(refs, work.dice.randrange(3)) for _ in range(2)]
    del refs
    for got in work.get(sums, "what borrowers read"):
        work.equal(got, amount_of(values), "what a borrower read")


def lent(work: Work) -> None:
    """Read, and have read, what a worker owns that may die."""
    size, count = work.dice.choice([0, *SIZES_BYTES[:2]]), work.dice.randrange(2, 10)
    generator = bodies.lend.remote(work.seed, count, size)
    for index in range(count):
        inner = work.get(work.next(generator, index), f"lent item {index}")
        sum_ = bodies.open_and_digest.remote(inner)
        work.check(work.get(inner[0], f"lent value {index}"), index, size)
        wanted = amount_of([bodies.value(work.seed, index, size)])
        work.equal(work.get(sum_, f"sum of lent value {index}"), wanted, "sum")


def cancelled(work: Work) -> None:
    """Cancel a stream that has no end, or close it, or drop it."""
    generator = bodies.items.remote(work.seed, 1 << 40, 0, 0.005)
    count = work.dice.randrange(100)
    work.read(generator, count)
    how = work.dice.choice(["cancel", "force", "close", "drop"])
    if how == "drop":
        zgen.cancel(generator)  # a body without an end would run on
        return
    if how == "close":
        generator.close()
        work.end(generator)
        return
    zgen.cancel(generator, force=how == "force")
    ends = (WorkerCrashedError, NodeDiedError) if how == "force" else (TaskCancelledError,)
    while True:
        ref = work.next(generator, count)
        try:
            got = work.get(ref, f"item {count} after the cancel")
        except Exception as error:
            if not is_one_of(error, (TaskCancelledError, *ends)):
                raise
            break
        work.check(got, count)
        count += 1
    work.end(generator)


def waited(work: Work) -> None:
    """Wait for many streams and results at once."""
    count = work.dice.randrange(5, 40)
    streams: dict[Any, int] = {
        bodies.items.remote(work.seed + i, count, 0, 0.01): i for i in range(4)
    }
    seen = [0] * len(streams)
    refs: dict[Any, int] = {bodies.make.remote(work.seed, i, 0, 0.05): i for i in range(6)}
    open_: list[Any] = [*streams, *refs]
    while open_:
        work.doing = f"wait for {len(open_)}, streams at {seen}"
        ready, _ = zgen.wait(open_, timeout=work.left_s)
        if not ready:
            raise TimeoutError(work.doing)
        for each in ready:
            if each in refs:
                work.check(work.get(each, "a result"), refs[each])
                open_.remove(each)
                continue
            number = streams[each]
            try:
                ref = each.next(timeout=work.left_s)
            except StopIteration:
                work.equal(seen[number], count, "items of a stream")
                open_.remove(each)
                continue
            work.check(work.get(ref, "an item"), seen[number], 0, work.seed + number)
            seen[number] += 1


_OWNERS: Final = (OwnerDiedError, ObjectLostError)

OPERATIONS: Final = {
    "tasks": Operation(tasks, 4),
    "tasks with large arguments": Operation(chain, 4),
    "trees of tasks": Operation(nested, 3),
    "tasks that may run once": Operation(at_most_once, 2, (WorkerCrashedError, NodeDiedError)),
    "streams, small items": Operation(stream, 5),
    "streams, large items": Operation(stream_large, 4),
    "streams with a window": Operation(window, 3),
    "streams that resume": Operation(resumed, 2),
    "streams that raise": Operation(failing, 2),
    "streams of streams": Operation(relayed, 3),
    "streams in event loops": Operation(async_stream, 2),
    "large values held and read later": Operation(rebuilt, 4),
    "values lent by this program": Operation(borrowed, 3),
    "values lent by workers": Operation(lent, 3, _OWNERS),
    "streams cancelled, closed, dropped": Operation(cancelled, 3),
    "wait for streams and results": Operation(waited, 2),
}
