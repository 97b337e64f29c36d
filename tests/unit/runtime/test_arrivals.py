"""What lies on other nodes is brought here for who waits, once, and given back at once."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from tests.unit.core.names import NODE, result, spec, stream_spec, task
from tests.unit.core.rebuild_bench import FARTHER, RebuildBench, far
from zgen.core.effects import Effect, Send
from zgen.core.events import Event, TakeItems
from zgen.exceptions import InternalError
from zgen.ids import ObjectId, item_ids
from zgen.io.loop import Loop
from zgen.io.waiter import Waiter
from zgen.runtime.arrivals import Arrivals
from zgen.runtime.objects import LargeObjects
from zgen.runtime.waits import CrowdWaiter, Mark, Waits
from zgen.wire.store import HoldRegions
from zgen.wire.value import Stored

S = task("s")
A, B = result("a"), result("b")


class Ref:
    """A reference, as ``wait`` sees it."""

    def __init__(self, world: World, name: ObjectId) -> None:
        self._id = name
        self.record = world.bench.owner.refs.records[name]


class Generator:
    """A generator, as ``wait`` sees it."""

    def __init__(self, world: World) -> None:
        self._id = self.stream = S
        self.record = Mark(True)
        self.taken: Ref | None = None
        self.world = world

    def would_not_block(self) -> bool:
        return self.taken is not None or self.world.bench.owner.streams.is_ready(S)

    def at_hand(self) -> Ref | None:
        return self.taken


class World:
    """A runtime whose node is the test."""

    def __init__(self) -> None:
        self.bench = RebuildBench()
        self.kicks = 0
        self.objects = LargeObjects(
            cast(Loop, self), "/nowhere", self._kick, self._wait, lambda: None
        )
        self.lock = threading.RLock()
        owner, regions = self.bench.owner, self.bench.process.store.regions
        self.arrivals = Arrivals(owner, regions, self.objects, self.lock)
        self.waits = Waits(owner, self.arrivals)

    def _kick(self) -> None:
        self.kicks += 1

    def _wait(self, waiter: Waiter, deadline_ns: int | None) -> bool:
        raise AssertionError("nobody blocks")

    def post(self, event: Event) -> list[Effect]:
        return self.perform(self.bench.step(event))

    def perform(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if not self.waits.perform(effect):
                self.objects.perform_inside(effect)
        self.arrivals.begin()
        return effects

    def crowd(self, *items: Any, is_local: bool = True) -> CrowdWaiter:
        waiter = CrowdWaiter({item._id: None for item in items}, 0, is_local=is_local)
        self.waits.add_crowd(waiter)
        return waiter

    def asked(self, effects: list[Effect]) -> list[int]:
        sent = [each.message for each in effects if isinstance(each, Send)]
        return [n for each in sent if isinstance(each, HoldRegions) for n in each.regions]

    def come(self, value: Stored) -> None:
        self.perform(self.bench.held(value))

    def ready(self, *items: Any) -> list[int]:
        return self.arrivals.ready_among(items, len(items))


def is_done(waiter: Waiter) -> bool:
    return waiter.done


def test_a_value_that_lies_elsewhere_is_ready_when_it_has_come() -> None:
    world = World()
    world.perform(world.bench.made(spec("a"), far(1)))
    ref = Ref(world, A)
    waiter = world.crowd(ref)
    world.arrivals.bring([ref])
    world.arrivals.bring([ref])
    assert world.ready(ref) == []
    assert not is_done(waiter)
    world.come(far(1))
    assert is_done(waiter)
    assert world.ready(ref) == [0]
    world.arrivals.bring([ref])
    assert list(world.objects.dropped) == [far(1).region], "nobody keeps it, and it came once"
    assert world.kicks == 1


def test_a_result_that_comes_while_it_is_waited_for_is_brought_only_for_who_wants_it_here() -> None:
    world = World()
    world.bench.submit(spec("a"))
    ref = Ref(world, A)
    local, anywhere = world.crowd(ref), world.crowd(ref, is_local=False)
    world.perform(world.bench.ended("a", far(1)))
    assert (is_done(local), is_done(anywhere)) == (False, True)
    world.come(far(1))
    assert is_done(local)


def test_what_nobody_wants_here_stays_where_it_is() -> None:
    world = World()
    world.bench.submit(spec("a"))
    world.crowd(Ref(world, A), is_local=False)
    world.perform(world.bench.ended("a", far(1)))
    world.perform(world.bench.made(spec("b"), far(2)))
    assert not world.arrivals.here
    assert world.bench.process.store.regions.regions[far(1).region].openers == []


def test_small_values_and_those_of_this_node_need_nothing() -> None:
    world = World()
    assert not world.arrivals.is_used
    world.perform(world.bench.made(spec("a"), b"small"))
    world.bench.submit(spec("b"))
    a, b = Ref(world, A), Ref(world, B)
    world.arrivals.bring([a, b])
    waiter = world.crowd(b)
    world.perform(world.bench.ended("b", far(1, NODE)))
    assert is_done(waiter)
    assert not world.arrivals.is_used
    assert world.ready(a, b) == [0, 1]
    assert world.arrivals.ready_among([a, b], 1) == [0]


def test_what_is_lost_and_cannot_be_made_again_counts_since_get_says_why() -> None:
    world = World()
    world.perform(world.bench.made(spec("a"), far(1)))
    ref = Ref(world, A)
    waiter = world.crowd(ref)
    world.arrivals.bring([ref])
    world.perform(world.bench.not_held(far(1)))
    assert is_done(waiter)
    assert world.ready(ref) == [0]


def test_what_is_lost_counts_when_it_was_made_again_and_has_come() -> None:
    world = World()
    world.perform(world.bench.made(spec("a", retries=1), far(1)))
    ref = Ref(world, A)
    waiter = world.crowd(ref)
    world.arrivals.bring([ref])
    world.perform(world.bench.not_held(far(1)))
    assert not is_done(waiter)
    assert world.ready(ref) == []
    world.perform(world.bench.ended("a", far(11, FARTHER), attempt=1))
    assert not is_done(waiter)
    world.come(far(11, FARTHER))
    assert is_done(waiter)
    assert world.ready(ref) == [0]


def test_the_next_item_of_a_generator_has_to_come_though_nobody_has_taken_it() -> None:
    world = World()
    world.bench.submit(stream_spec("s"))
    generator = Generator(world)
    waiter = world.crowd(generator)
    world.perform(world.bench.items("s", 0, far(1)))
    assert not is_done(waiter)
    assert world.ready(generator) == []
    world.come(far(1))
    assert is_done(waiter)
    assert world.ready(generator) == [0]
    assert world.bench.owner.streams.streams[S].taken == 0


def test_an_item_that_was_taken_over_and_is_next_has_to_come_too() -> None:
    world = World()
    world.bench.submit(stream_spec("s"))
    world.perform(world.bench.items("s", 0, far(1)))
    world.post(TakeItems(S, 1))
    generator = Generator(world)
    generator.taken = Ref(world, item_ids(S, 0, 1)[0])
    waiter = world.crowd(generator)
    world.arrivals.bring([generator])
    assert world.ready(generator) == []
    world.come(far(1))
    assert is_done(waiter)
    assert world.ready(generator) == [0]


def test_a_generator_that_is_at_its_end_or_whose_item_is_small_is_ready() -> None:
    world = World()
    world.perform(world.bench.made(spec("a"), far(1)))
    world.bench.submit(stream_spec("s"))
    generator = Generator(world)
    assert world.ready(generator) == []
    waiter = world.crowd(generator)
    world.perform(world.bench.items("s", 0, b"small"))
    assert is_done(waiter)
    world.arrivals.bring([generator])
    assert world.ready(generator) == [0]
    world.post(TakeItems(S, 1))
    assert world.ready(generator) == []
    world.perform(world.bench.over("s", 1))
    assert world.ready(generator) == [0]


def test_an_item_that_is_lost_before_anybody_has_taken_it_counts() -> None:
    world = World()
    world.bench.submit(stream_spec("s"))
    generator = Generator(world)
    waiter = world.crowd(generator)
    world.perform(world.bench.items("s", 0, far(1)))
    world.perform(world.bench.not_held(far(1)))
    assert is_done(waiter)
    assert world.ready(generator) == [0]


def test_what_is_dropped_on_its_way_is_given_back_and_forgotten() -> None:
    world = World()
    world.perform(world.bench.made(spec("a"), far(1)))
    world.perform(world.bench.made(spec("b"), far(2)))
    refs = [Ref(world, A), Ref(world, B)]
    world.arrivals.bring(refs)
    world.come(far(2))
    world.bench.drop(A, B)
    world.arrivals.forget((A, B))
    world.come(far(1))
    assert world.arrivals.here == {}
    world.bench.drop_views(far(1))
    world.bench.drop_views(far(2))
    assert world.bench.is_empty()


def test_what_was_here_and_was_given_up_is_brought_again_to_who_does_not_know_it() -> None:
    world = World()
    world.perform(world.bench.made(spec("a"), far(1)))
    ref = Ref(world, A)
    world.arrivals.bring([ref])
    world.come(far(1))
    world.arrivals.forget([A])
    assert world.ready(ref) == [0], "this process holds it"
    world.bench.process.store.regions.regions[far(1).region].place = None
    assert world.ready(ref) == []


def test_the_end_of_the_runtime_ends_what_is_on_its_way() -> None:
    world = World()
    world.perform(world.bench.made(spec("a"), far(1)))
    world.arrivals.bring([Ref(world, A)])
    world.objects.finish_all()
    assert not world.arrivals.due


def test_what_could_not_be_asked_for_is_asked_for_again() -> None:
    world = World()
    world.perform(world.bench.made(spec("a"), far(1)))
    ref = Ref(world, A)
    step = world.bench.step
    world.bench.step = refused  # type: ignore[method-assign]  # the machine is broken
    with pytest.raises(InternalError):
        world.arrivals.bring([ref])
    world.bench.step = step  # type: ignore[method-assign]  # as above
    world.arrivals.bring([ref])
    world.come(far(1))
    assert world.ready(ref) == [0]


def refused(event: Event) -> list[Effect]:
    raise InternalError("broken")
