"""What an owner and a reader hold, give up, ask for and let go."""

from __future__ import annotations

import pytest

from tests.unit.core.names import NODE, task
from zgen.core.effects import (
    Effect,
    Send,
)
from zgen.core.region_table import RegionTable
from zgen.core.store_effects import (
    ViewOpened,
    ViewRefused,
)
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId, StreamId, node_tag, region_number
from zgen.wire.store import (
    RELEASED,
    Evict,
    HoldRegions,
    LeasedRegion,
    Place,
    RegionsHeld,
    ReleaseRegions,
    UnholdRegions,
)
from zgen.wire.value import Fault, FaultKind, Stored

S = StreamId(task("stream"))
ROOM = 1 << 20


def place(number: int, offset: int = 0) -> Place:
    return Place(number, offset, ROOM, 2 * ROOM, True)


def stored(number: int, offset: int = 0) -> Stored:
    return Stored(NODE, number, place(number, offset), b"pickle", (9,))


def held(number: int, offset: int = ROOM) -> RegionsHeld:
    return RegionsHeld(1, (LeasedRegion(number, place(number, offset)),), (), "")


def lost(reason: str) -> Fault:
    return Fault(FaultKind.OBJECT_LOST, "", reason)


#: What those hear who read what is not held, when the node is gone.
NODE_DIED = Fault(FaultKind.NODE_DIED, "", "the node is gone")


class Process:
    """A table; every step ends with what it tells the node and a ``check()``."""

    def __init__(self, *owned: int) -> None:
        self.table = RegionTable()
        self.table.node = NODE
        for number in owned:
            self.table.own(stored(number))

    def do(self, what: str, *arguments: object) -> list[Effect]:
        out: list[Effect] = []
        method = getattr(self.table, what)
        if what in ("open", "evict", "on_held", "on_orphaned", "leave_node"):
            method(*arguments, out)
        else:
            method(*arguments)
        assert self.table.changed or not out or what != "disown"
        self.table.flush(out)
        assert not self.table.changed
        self.table.check()
        return out


def test_an_owner_looks_at_once_and_releases_with_the_last_view() -> None:
    process = Process(7)
    assert process.do("open", 1, stored(7)) == [ViewOpened(1, stored(7), place(7))]
    assert process.do("open", 2, stored(7)) == [ViewOpened(2, stored(7), place(7))]
    assert process.table.bytes_named() == ROOM
    assert process.do("disown", stored(7)) == []
    assert process.table.bytes_named() == 0
    assert process.do("drop_views", (7,)) == []
    assert process.do("drop_views", (7,)) == [Send(NODE, ReleaseRegions((7,)))]
    assert process.table.regions == {}


def test_releases_of_one_step_travel_together() -> None:
    process = Process(7, 8)
    process.table.disown(stored(7))
    assert process.do("disown", stored(8)) == [Send(NODE, ReleaseRegions((7, 8)))]


def test_a_second_value_in_a_region_is_refused() -> None:
    process = Process(7)
    with pytest.raises(RemoteProtocolError, match="second value"):
        process.table.own(stored(7))


def test_an_owner_gives_up_the_oldest_first_and_unread_items_last_the_newest_of_them_first() -> (
    None
):
    process = Process(1, 2, 3)
    for number in (4, 5):
        process.table.own(stored(number), S)
    process.do("open", 1, stored(1))
    assert process.do("evict", 2 * ROOM, False) == [Send(NODE, Evict((2, 3), False))]
    assert process.do("evict", 9 * ROOM, False) == [Send(NODE, Evict((5, 4), False))]
    assert process.do("evict", ROOM, False) == [Send(NODE, Evict((), False))]


def test_an_item_that_was_taken_is_like_any_other() -> None:
    process = Process()
    process.table.own(stored(1), S)
    process.table.own(stored(2), S)
    process.do("take", stored(1))
    assert process.do("evict", 9 * ROOM, False) == [Send(NODE, Evict((1, 2), False))]


def test_a_producer_that_is_to_wait_gets_nothing() -> None:
    process = Process(1)
    assert process.do("evict", ROOM, True) == [Send(NODE, Evict((), True))]
    assert process.table.regions[1].place == place(1)


def test_who_looks_at_what_was_given_up_asks_for_it_once() -> None:
    process = Process(7)
    process.do("evict", ROOM, False)
    assert process.do("open", 1, stored(7)) == [Send(NODE, HoldRegions(1, (7,)))]
    assert process.do("open", 2, stored(7)) == []
    assert process.do("evict", ROOM, False) == [Send(NODE, Evict((), False))]
    moved = place(7, ROOM)
    opened = [ViewOpened(1, stored(7), moved), ViewOpened(2, stored(7), moved)]
    assert process.do("on_held", held(7)) == opened
    assert process.do("open", 3, stored(7)) == [ViewOpened(3, stored(7), moved)]


def test_what_is_dropped_while_its_hold_is_asked_for_is_released_after_the_answer() -> None:
    process = Process(7)
    process.do("evict", ROOM, False)
    process.do("open", 1, stored(7))
    assert process.do("disown", stored(7)) == []
    assert process.do("on_held", held(7)) == [ViewOpened(1, stored(7), place(7, ROOM))]
    assert process.do("drop_views", (7,)) == [Send(NODE, ReleaseRegions((7,)))]


def test_what_the_node_has_lost_cannot_be_read_and_is_released_in_the_end() -> None:
    process = Process(7)
    process.do("evict", ROOM, False)
    process.do("open", 1, stored(7))
    gone = RegionsHeld(1, (), (7,), "the disk lied")
    assert process.do("on_held", gone) == [ViewRefused(1, lost("the disk lied"))]
    process.do("open", 2, stored(7))
    forgotten = RegionsHeld(2, (), (7,), RELEASED)
    assert process.do("on_held", forgotten) == [ViewRefused(2, lost("the disk lied"))]
    assert process.do("disown", stored(7)) == [Send(NODE, ReleaseRegions((7,)))]


def test_what_did_not_come_back_for_want_of_room_is_asked_for_again() -> None:
    process = Process(7)
    process.do("evict", ROOM, False)
    process.do("open", 1, stored(7))
    full = Fault(FaultKind.STORE_FULL, "", "no room")
    said = process.do("on_held", RegionsHeld(1, (), (7,), "no room", is_full=True))
    assert said == [ViewRefused(1, full)]
    assert process.do("open", 2, stored(7)) == [Send(NODE, HoldRegions(2, (7,)))]
    said = process.do("on_held", RegionsHeld(2, (), (7,), RELEASED))
    assert said == [ViewRefused(2, lost(RELEASED))]  # gone now: the want of room is no reason
    assert process.do("open", 2, stored(7)) == [Send(NODE, HoldRegions(3, (7,)))]
    assert process.do("on_held", held(7)) == [ViewOpened(2, stored(7), place(7, ROOM))]
    process.do("evict", ROOM, False)
    process.do("drop_views", (7,))
    process.do("evict", ROOM, False)
    process.do("leave_node")
    assert process.do("open", 3, stored(7)) == [ViewRefused(3, NODE_DIED)]


@pytest.mark.parametrize("answer", [held(9), RegionsHeld(1, (), (9,), "gone")])
def test_an_answer_about_what_was_not_asked_for_is_refused(answer: RegionsHeld) -> None:
    process = Process(7)
    with pytest.raises(RemoteProtocolError, match="region 9"):
        process.table.on_held(answer, [])


def test_what_no_report_of_a_dead_writer_named_is_released() -> None:
    process = Process(7)
    process.table.borrow(stored(9))
    process.table.flush([])
    assert process.do("on_orphaned", (7,)) == []
    assert process.do("on_orphaned", (7, 8, 9)) == [Send(NODE, ReleaseRegions((8, 9), True))]
    process.table.node = None
    assert process.do("on_orphaned", (8,)) == []


# -- readers -------------------------------------------------------------------------------------
def test_a_reader_holds_a_region_before_its_task_starts_and_lets_go_with_the_last_view() -> None:
    process = Process()
    assert not process.table.borrow(stored(7))
    assert not process.table.borrow(stored(7))
    out: list[Effect] = []
    process.table.flush(out)
    assert out == [Send(NODE, HoldRegions(1, (7,)))]
    assert process.do("on_held", held(7)) == []
    assert process.table.begin(stored(7)) == stored(7, ROOM)
    assert process.table.borrow(stored(7)), "it is held already"
    assert process.do("unborrow", stored(7)) == []
    assert process.do("drop_views", (7,)) == [], "another task waits for it"
    process.table.begin(stored(7))
    assert process.do("drop_views", (7,)) == [Send(NODE, UnholdRegions((7,)))]


def test_a_task_that_goes_back_before_its_region_is_held_lets_go_after_the_answer() -> None:
    process = Process()
    process.table.borrow(stored(7))
    out: list[Effect] = []
    process.table.flush(out)
    assert out == [Send(NODE, HoldRegions(1, (7,)))]
    assert process.do("unborrow", stored(7)) == []
    assert process.do("on_held", held(7)) == [Send(NODE, UnholdRegions((7,)))]


def test_a_task_that_goes_back_at_once_asks_for_nothing() -> None:
    process = Process()
    assert not process.table.borrow(stored(7))
    assert process.do("unborrow", stored(7)) == []
    assert not process.table.regions


def test_a_lost_argument_is_a_fault_and_leaves_nothing_behind() -> None:
    process = Process()
    process.table.borrow(stored(7))
    process.table.borrow(stored(7))
    process.do("on_held", RegionsHeld(1, (), (7,), ""))
    assert process.table.begin(stored(7)) == lost("its node has lost it")
    assert process.table.borrow(stored(7)), "nothing is to be waited for"
    assert process.table.begin(stored(7)) == lost("its node has lost it")
    process.table.begin(stored(7))
    assert process.do("check") == []
    assert process.table.regions == {}


def test_a_region_that_is_needed_again_in_the_same_step_stays() -> None:
    process = Process()
    process.table.borrow(stored(7))
    process.table.flush([])
    process.table.on_held(held(7), [])
    process.table.unborrow(stored(7))
    assert process.table.borrow(stored(7))
    assert process.do("check") == []


# -- the node's end ------------------------------------------------------------------------------
def test_what_is_held_can_be_read_after_the_node_died_and_the_rest_cannot() -> None:
    process = Process(7, 8)
    process.do("open", 1, stored(7))
    process.do("evict", ROOM, False)
    process.do("open", 2, stored(8))
    gone = ViewRefused(2, NODE_DIED)
    assert process.do("leave_node") == [gone]
    assert process.do("open", 3, stored(7)) == [ViewOpened(3, stored(7), place(7))]
    assert process.do("open", 4, stored(8)) == [ViewRefused(4, NODE_DIED)]
    assert process.do("disown", stored(8)) == []


def test_nothing_stays_of_what_was_dropped_while_the_dead_node_was_asked_for_it() -> None:
    process = Process(7)
    process.do("evict", ROOM, False)
    process.do("open", 1, stored(7))
    process.do("disown", stored(7))
    assert process.do("leave_node") == [ViewRefused(1, NODE_DIED)]
    assert not process.table.regions


def test_what_was_given_up_is_gone_with_the_node() -> None:
    process = Process(7)
    process.do("evict", ROOM, False)
    process.do("leave_node")
    assert process.do("open", 1, stored(7)) == [ViewRefused(1, NODE_DIED)]


def test_a_hold_that_was_wanted_when_the_node_died_is_not_asked_for() -> None:
    process = Process()
    process.table.borrow(stored(7))
    assert process.do("leave_node") == []


# -- other nodes -----------------------------------------------------------------------------------
def on_node(node: bytes, number: int = 7) -> Stored:
    return Stored(PeerId(node), number, place(number), b"pickle", (9,))


def test_what_lies_on_another_node_is_owned_without_a_hold_and_its_node_hears_so() -> None:
    process = Process()
    process.table.home = NODE
    assert process.do("own", on_node(b"far".ljust(16))) == [Send(NODE, Evict((7,), False))]
    asked = HoldRegions(1, (7,), (ROOM,))
    assert process.do("open", 1, on_node(b"far".ljust(16))) == [Send(NODE, asked)]
    assert process.do("on_held", held(7)) == [
        ViewOpened(1, on_node(b"far".ljust(16)), place(7, ROOM))
    ]


def test_rooms_are_said_only_if_something_lies_elsewhere() -> None:
    process = Process()
    process.table.home = NODE
    number = region_number(node_tag(NODE), 7)
    asked = HoldRegions(1, (number,))
    assert process.do("open", 1, stored(number)) == [Send(NODE, asked)]


def test_what_lies_on_another_node_is_lost_when_the_own_one_is() -> None:
    process = Process()
    process.table.home = NODE
    process.do("leave_node")
    assert process.do("own", on_node(b"far".ljust(16))) == []
    (refused,) = process.do("open", 1, on_node(b"far".ljust(16)))
    assert refused == ViewRefused(1, NODE_DIED)
