"""Large objects of a process over a node that answers as the test says, and real memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy
import pytest

from tests.unit.io.slabs import Slabs, make_memory, slabs
from zgen.core.effects import (
    Effect,
    Left,
)
from zgen.core.events import (
    Event,
)
from zgen.core.store_effects import (
    RegionGiven,
    RegionRefused,
    ViewOpened,
    ViewRefused,
)
from zgen.core.store_events import (
    OpenView,
    RegionUnused,
    WantRegion,
)
from zgen.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    StreamClosedError,
)
from zgen.ids import NO_STREAM, ObjectId, PeerId
from zgen.io import copying
from zgen.io.loop import Loop
from zgen.io.serializer import Large, deserialize_parts, serialize
from zgen.io.waiter import Waiter
from zgen.runtime.objects import LargeObjects, Reply
from zgen.wire.store import REFUSED_DISK, REFUSED_FULL, Holder, Place
from zgen.wire.value import Fault, FaultKind, Stored, room_bytes

ME = PeerId(b"m" * 16)
NODE = PeerId(b"n" * 16)
NAME = ObjectId(b"o" * 20)
ARRAY = numpy.arange(50_000)


class World:
    """A loop whose machine is the test, and what was posted to it."""

    def __init__(self, node: Slabs) -> None:
        self.lock = threading.RLock()
        self.node = node
        self.posted: list[Event] = []
        #: What the machine says to an event at once.
        self.answer: Callable[[Any], list[Effect]] = lambda event: []
        #: What happens while somebody waits.
        self.meanwhile: Callable[[], None] = lambda: None
        self.waited: list[int | None] = []
        self.lost = False
        self.objects = LargeObjects(
            cast(Loop, self), "/nowhere", lambda: None, self.wait, self.refuse_if_lost
        )
        self.objects._memory = make_memory(node)
        self.objects._memory.dropped = self.objects.dropped

    def post(self, event: Event) -> list[Effect]:
        self.posted.append(event)
        effects = self.answer(event)
        for effect in effects:
            self.perform(effect)
        return effects

    def perform(self, effect: Effect) -> None:
        with self.lock:
            if self.objects.perform_inside(effect):
                return
        self.objects.perform(effect)

    def wait(self, waiter: Waiter, deadline_ns: int | None) -> bool:
        self.waited.append(deadline_ns)
        self.meanwhile()
        return waiter.done

    def refuse_if_lost(self) -> None:
        if self.lost:
            raise NodeDiedError("", "killed")

    def unused(self) -> list[int]:
        return [event.region for event in self.posted if isinstance(event, RegionUnused)]


@pytest.fixture
def world() -> Iterator[World]:
    with slabs() as node:
        yield World(node)


def array() -> Large:
    packed = serialize(ARRAY)
    assert isinstance(packed, Large)
    return packed


def written(world: World, warm: bool = True) -> Stored:
    """Store the array in region 1."""
    place = world.node.make(1 << 20, warm=warm)
    world.answer = lambda event: (
        [RegionGiven(event.request, NODE, 1, place)] if isinstance(event, WantRegion) else []
    )
    stored = world.objects.store(array(), ME, NO_STREAM)
    world.answer = lambda event: []
    return stored


def opened(value: Stored, place: Place | None = None) -> Callable[[Any], list[Effect]]:
    return lambda event: [ViewOpened(event.request, value, place or value.place)]


# -- writing ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("warm", [False, True])
def test_what_is_stored_is_read_without_a_wait(world: World, warm: bool) -> None:
    stored = written(world, warm)
    assert isinstance(world.posted[0], WantRegion)
    assert world.posted[0].size_bytes == room_bytes(stored.sizes) >= ARRAY.nbytes
    world.answer = opened(stored)
    back = world.objects.open(NAME, None)
    assert (back == ARRAY).all()
    assert not back.flags.writeable
    assert not world.waited
    assert not world.objects.dropped
    del back
    assert list(world.objects.dropped) == [1]
    assert not world.objects._asked


def test_who_wants_room_waits_for_it(world: World) -> None:
    place = world.node.make(1 << 20)
    world.meanwhile = lambda: world.perform(RegionGiven(1, NODE, 8, place))
    assert world.objects.store(array(), ME, NO_STREAM).region == 8
    assert world.waited == [None]
    assert not world.unused()


@pytest.mark.parametrize(
    ("reason", "kind"), [(REFUSED_FULL, ObjectStoreFullError), (REFUSED_DISK, OutOfDiskError)]
)
def test_a_refusal_names_the_largest_holders(
    world: World, reason: int, kind: type[ObjectStoreFullError]
) -> None:
    holders = (Holder("driver pid=7", 1000, 2),)
    world.answer = lambda event: [RegionRefused(event.request, reason, "9 of 10 bytes", holders)]
    with pytest.raises(kind, match="driver pid=7") as caught:
        world.objects.store(array(), ME, NO_STREAM)
    assert caught.value.largest_holders == (("driver pid=7", 1000, 2),)
    assert "9 of 10 bytes" in str(caught.value)


def test_a_refusal_after_the_death_of_the_node_says_that(world: World) -> None:
    world.lost = True
    world.answer = lambda event: [RegionRefused(event.request, REFUSED_FULL, "no node", ())]
    with pytest.raises(NodeDiedError):
        world.objects.store(array(), ME, NO_STREAM)


def test_a_region_that_cannot_be_written_goes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_pwritev", lambda fd, batch, offset: 0)
    with pytest.raises(ObjectStoreFullError, match="the machine has no memory"):
        written(world, warm=False)
    assert world.unused() == [1]


def test_a_region_of_a_dead_node_goes_back(world: World) -> None:
    world.node.is_dead = True
    with pytest.raises(NodeDiedError):
        written(world)
    assert world.unused() == [1]


# -- giving up -------------------------------------------------------------------------------------
def interrupt() -> None:
    raise KeyboardInterrupt


def test_room_that_comes_after_an_interrupt_goes_back(world: World) -> None:
    world.meanwhile = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.objects.store(array(), ME, NO_STREAM)
    world.perform(RegionGiven(1, NODE, 8, world.node.make(1 << 20)))
    assert world.unused() == [8]
    assert not world.objects._asked


def test_room_that_comes_with_an_interrupt_goes_back(world: World) -> None:
    def both() -> None:
        world.perform(RegionGiven(1, NODE, 8, world.node.make(1 << 20)))
        raise KeyboardInterrupt

    world.meanwhile = both
    with pytest.raises(KeyboardInterrupt):
        world.objects.store(array(), ME, NO_STREAM)
    assert world.unused() == [8]


def test_a_view_that_comes_after_an_interrupt_is_dropped(world: World) -> None:
    stored = written(world)
    world.meanwhile = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.objects.open(NAME, None)
    world.perform(ViewOpened(2, stored, stored.place))
    assert list(world.objects.dropped) == [1]


def test_a_view_that_comes_with_an_interrupt_is_dropped(world: World) -> None:
    stored = written(world)

    def both() -> None:
        world.perform(ViewOpened(2, stored, stored.place))
        raise KeyboardInterrupt

    world.meanwhile = both
    with pytest.raises(KeyboardInterrupt):
        world.objects.open(NAME, None)
    assert list(world.objects.dropped) == [1]


def test_a_view_that_comes_too_late_is_dropped(world: World) -> None:
    stored = written(world)
    with pytest.raises(GetTimeoutError):
        world.objects.open(NAME, 5)
    assert world.waited == [5]
    world.perform(ViewOpened(2, stored, stored.place))
    assert list(world.objects.dropped) == [1]


def test_a_view_that_comes_in_the_last_moment_is_taken(world: World) -> None:
    stored = written(world)
    world.meanwhile = lambda: world.perform(ViewOpened(2, stored, stored.place))
    world.objects._wait = lambda waiter, deadline_ns: bool(world.wait(waiter, 5)) and False
    assert (world.objects.open(NAME, 5) == ARRAY).all()


def test_a_shutdown_ends_every_wait(world: World) -> None:
    world.meanwhile = world.objects.finish_all
    with pytest.raises(StreamClosedError):
        world.objects.store(array(), ME, NO_STREAM)
    with pytest.raises(StreamClosedError):
        world.objects.open(NAME, 5)


def test_what_is_refused_after_its_asker_gave_up_is_nobodys(world: World) -> None:
    for effect in (
        RegionRefused(7, REFUSED_FULL, "", ()),
        ViewRefused(7, Fault(FaultKind.OBJECT_LOST, "")),
    ):
        assert not world.objects.perform_inside(effect)
        assert world.objects.perform(effect)
    assert not world.posted
    assert not world.objects.perform_inside(Left())
    assert not world.objects.perform(Left())


# -- reading ---------------------------------------------------------------------------------------
def test_an_object_is_read_where_it_lies_now(world: World) -> None:
    stored = written(world)
    moved = world.node.make(1 << 20)
    make_memory(world.node).write(moved, array().parts)
    stored = Stored(NODE, 1, Place(99, 0, 1 << 20, 1 << 20, True), stored.data, stored.sizes)
    world.answer = opened(stored, moved)
    assert (world.objects.open(NAME, None) == ARRAY).all()


def test_a_lost_object_is_named(world: World) -> None:
    lost = Fault(FaultKind.OBJECT_LOST, "", "the disk is gone")
    world.answer = lambda event: [ViewRefused(event.request, lost)]
    with pytest.raises(ObjectLostError, match=f"{NAME.hex()} is lost: the disk is gone"):
        world.objects.open(NAME, None)
    assert isinstance(world.posted[0], OpenView)
    assert world.posted[0].object == NAME


def test_a_value_that_cannot_be_unpickled_leaves_no_view(world: World) -> None:
    stored = written(world)
    broken = Stored(NODE, 1, stored.place, b"\x80\x05no pickle", stored.sizes)
    world.answer = opened(broken)
    with pytest.raises(Exception, match="invalid load key"):
        world.objects.open(NAME, None)
    assert list(world.objects.dropped) == [1]


def test_after_the_death_of_the_node_what_was_mapped_is_read_and_the_rest_says_so(
    world: World,
) -> None:
    stored = written(world)
    world.answer = opened(stored)
    world.objects.open(NAME, None)
    world.node.is_dead = True
    assert (world.objects.open(NAME, None) == ARRAY).all()
    world.answer = opened(stored, world.node.make(1 << 20))
    with pytest.raises(NodeDiedError):
        world.objects.open(NAME, None)
    assert list(world.objects.dropped) == [1, 1, 1]


def test_views_stay_readable_when_all_is_closed(world: World) -> None:
    stored = written(world)
    world.answer = opened(stored)
    back = world.objects.open(NAME, None)
    world.objects.close()
    assert (back == ARRAY).all()
    assert world.objects.memory.mapped_count() == 1


def test_an_argument_is_viewed_and_what_is_given_back_is_dropped(world: World) -> None:
    stored = written(world)
    assert (world.objects.view(stored) == ARRAY).all()
    world.objects.give_back(4)
    assert list(world.objects.dropped) == [1, 4]


# -- for who does not block ------------------------------------------------------------------------
def test_a_view_can_be_asked_for_without_a_wait(world: World) -> None:
    stored = written(world)
    reply = Reply()
    request = world.objects.ask_view(NAME, reply)
    world.perform(ViewOpened(request, stored, stored.place))
    assert reply.done
    assert isinstance(reply.answer, ViewOpened)
    assert not world.objects.is_at_hand(reply.answer), "it is not mapped to be read"
    seen = world.objects.opened(NAME, reply.answer, deserialize_parts)
    assert (seen == ARRAY).all()
    assert world.objects.is_at_hand(reply.answer)
    assert not world.waited


def test_a_refused_view_is_at_hand_and_raises(world: World) -> None:
    world.answer = lambda event: [ViewRefused(event.request, Fault(FaultKind.OBJECT_LOST, "it"))]
    reply = Reply()
    world.objects.ask_view(NAME, reply)
    assert isinstance(reply.answer, ViewRefused)
    assert world.objects.is_at_hand(reply.answer)
    with pytest.raises(ObjectLostError, match=NAME.hex()):
        world.objects.opened(NAME, reply.answer, deserialize_parts)


@pytest.mark.parametrize("in_time", [False, True])
def test_a_view_that_was_given_up_is_dropped_whenever_it_comes(world: World, in_time: bool) -> None:
    stored = written(world)
    reply = Reply()
    request = world.objects.ask_view(NAME, reply)
    if not in_time:
        world.objects.give_up(request, reply)
    world.perform(ViewOpened(request, stored, stored.place))
    if in_time:
        world.objects.give_up(request, reply)
    assert list(world.objects.dropped) == [stored.region]
    assert not world.objects._asked


def test_what_has_much_to_be_read_is_not_at_hand(world: World) -> None:
    place = world.node.make(4 << 20)
    sizes = (2 << 20,)
    arrays = Stored(NODE, 1, place, b"a pickle of arrays", sizes)
    pickled = Stored(NODE, 1, place, b"", sizes)
    world.objects.keep(place)
    assert world.objects.is_at_hand(ViewOpened(1, arrays, place))
    assert not world.objects.is_at_hand(ViewOpened(1, pickled, place))


def test_memory_is_made_with_the_first_large_object() -> None:
    objects = LargeObjects(
        cast(Loop, None), "/nowhere", lambda: None, lambda w, d: True, lambda: None
    )
    assert objects._memory is None
    objects.close()
    assert objects.memory is objects.memory
    assert objects.memory.dropped is objects.dropped
    objects.close()
