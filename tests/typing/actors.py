"""What type checkers say of actors; nothing of it runs.

Cases are as in ``functions.py``. ``Plain`` is a class as any program has it: its constructor's
parameters are kept, and its methods are of any type. ``Counter`` asks for more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import zgen
from zgen import ActorHandle, DynamicObjectRefGenerator, ObjectRef, ObjectRefGenerator


# -- plain classes ---------------------------------------------------------------------------------
class Plain:
    def __init__(self, name: str, *, size: int = 0) -> None:
        self.name = name

    def work(self, by: int) -> int:
        return by


class Empty: ...


PlainActor = zgen.remote(Plain)
plain = PlainActor.remote("a", size=1)
assert_type(plain, ActorHandle[Plain])
assert_type(PlainActor.options(num_cpus=1).remote("a"), ActorHandle[Plain])
assert_type(zgen.remote(num_cpus=1)(Plain).remote("a"), ActorHandle[Plain])
assert_type(PlainActor.remote(zgen.put("a"), size=1), ActorHandle[Plain])
assert_type(zgen.remote(Empty).remote(), ActorHandle[Empty])
assert_type(plain.work.remote(1), Any)
assert_type(plain.work.options(name="x").remote("whatever"), Any)
zgen.kill(plain)
anonymous: ActorHandle = plain
anyones: ActorHandle[Any] = zgen.get_actor("a")
PlainActor.remote(1)  # wrong: of another type
PlainActor.remote()  # wrong: missing
PlainActor.remote("a", 1)  # wrong: by name alone
PlainActor.remote("a", length=1)  # wrong: no such name
PlainActor.options(num_cpus=1).remote(1)  # wrong: after options too
PlainActor.remote(zgen.put(1))  # wrong: a reference to another type
zgen.remote(Empty).remote(1)  # wrong: takes none
zgen.kill(1)  # wrong: no actor


# -- typed ones ------------------------------------------------------------------------------------
class Counter(zgen.TypedActor):
    def __init__(self, first: int = 0) -> None:
        self.number = first

    @zgen.method
    def add(self, by: int = 1, *, twice: bool = False) -> int:
        self.number += by
        return self.number

    @zgen.method
    async def later(self, by: int) -> str:
        return "a"

    @zgen.method
    def count(self, items: int) -> Iterator[int]:
        for _ in range(items):
            assert_type(self.add(1), int)
            yield self.add(by=1)

    @zgen.method(concurrency_group="io")
    async def stream(self, items: int) -> AsyncIterator[str]:
        assert_type(await self.later(items), str)
        yield await self.later(items)

    @zgen.method(num_returns=2)
    def pair(self, by: int) -> tuple[int, str]:
        return by, "a"

    @zgen.method(num_returns="dynamic")
    def dynamic(self, items: int) -> Iterator[int]:
        yield from self.count(items)

    @zgen.method
    def anything(self, by: int) -> Any:
        return by

    def unmarked(self, by: int) -> int:
        return by


CounterActor = zgen.remote(Counter)
counter = CounterActor.remote(first=1)
assert_type(counter, Counter)
assert_type(CounterActor.options(name="c", num_cpus=1).remote(1), Counter)
assert_type(zgen.remote(max_restarts=1)(Counter).remote(), Counter)
assert_type(CounterActor.remote(zgen.put(1)), Counter)
assert_type(counter.add.remote(), ObjectRef[int])
assert_type(counter.add.remote(2, twice=True), ObjectRef[int])
assert_type(counter.add.remote(zgen.put(2), twice=True), ObjectRef[int])
assert_type(zgen.get(counter.add.remote(by=2)), int)
assert_type(counter.later.remote(1), ObjectRef[str])
assert_type(counter.count.remote(1), ObjectRefGenerator[int])
assert_type(next(counter.count.remote(1)), ObjectRef[int])
assert_type(counter.stream.remote(1), ObjectRefGenerator[str])
assert_type(counter.pair.remote(1), list[ObjectRef[Any]])
assert_type(counter.dynamic.remote(1), ObjectRef[DynamicObjectRefGenerator[Any]])
assert_type(counter.add.options(name="x").remote(1), ObjectRef[int])
assert_type(counter.later.options(name="x").remote(1), ObjectRef[str])
assert_type(counter.anything.remote(1), Any)
assert_type(counter.add.options(num_returns=2).remote(1), list[ObjectRef[Any]])
zgen.kill(counter)
CounterActor.remote("1")  # wrong: of another type
CounterActor.remote(1, 2)  # wrong: too many
counter.add.remote("1")  # wrong: of another type
counter.add.remote(1, True)  # wrong: by name alone
counter.add.remote(zgen.put("1"))  # wrong: a reference to another type
counter.add.options(name="x").remote("1")  # wrong: after options too
counter.count.remote()  # wrong: missing
counter.later.remote(1, 2)  # wrong: too many
counter.subtract.remote(1)  # wrong: no such method
counter.unmarked.remote(1)  # wrong: not marked
counter.pair.remote("1")  # wrong: of another type


@zgen.remote
def uses(counter: Counter, times: int) -> int:
    return zgen.get(counter.add.remote(times))


assert_type(uses.remote(counter, 1), ObjectRef[int])
