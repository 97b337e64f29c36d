"""The writer's stock: leased ahead while it is used, given back when it is not."""

from __future__ import annotations

from tests.unit.core.names import ME, NODE, OTHER_WORKER, task
from zgen.core.effects import (
    Effect,
    Send,
)
from zgen.core.region_stock import RegionStock
from zgen.core.store_effects import (
    RegionGiven,
    RegionRefused,
)
from zgen.core.store_events import (
    WantRegion,
)
from zgen.ids import PeerId, StreamId
from zgen.limits import MS, REGIONS_AHEAD_COUNT_MAX, REGIONS_AHEAD_NS
from zgen.wire.session import Address
from zgen.wire.store import (
    REFUSED_DISK,
    REFUSED_FULL,
    Holder,
    LeasedRegion,
    Place,
    RegionsLeased,
    RegionsRefused,
    ReleaseRegions,
    WantRegions,
)

S = StreamId(task("stream"))
MB = 1 << 20


def leased(number: int, room: int = MB) -> LeasedRegion:
    return LeasedRegion(number, Place(number, 0, room, room, True))


def asked(request: int, size_bytes: int = MB, count: int = 1, owner: PeerId = ME) -> Send:
    return Send(NODE, WantRegions(request, owner, S, size_bytes, count))


def given(request: int, number: int, room: int = MB) -> RegionGiven:
    return RegionGiven(request, NODE, number, leased(number, room).place)


def returned(*numbers: int) -> Send:
    return Send(NODE, ReleaseRegions(numbers, True))


class Writer:
    """A stock, the time, and numbers for what is wanted; ``check()`` after every step."""

    def __init__(self) -> None:
        self.stock = RegionStock()
        self.stock.node = NODE
        self.now_ns = 1_000_000_000
        self.wants = 0

    def want(self, size_bytes: int = MB, owner: PeerId = ME) -> list[Effect]:
        self.wants += 1
        return self.do(
            "want", WantRegion(self.wants, owner, S, size_bytes), Address(owner, 1, ""), self.now_ns
        )

    def lease(self, request: int, *regions: LeasedRegion) -> list[Effect]:
        return self.do("on_leased", RegionsLeased(request, regions))

    def do(self, what: str, *arguments: object) -> list[Effect]:
        out: list[Effect] = []
        getattr(self.stock, what)(*arguments, out)
        self.stock.check()
        return out


def test_the_first_region_is_asked_for_and_given_when_it_comes() -> None:
    writer = Writer()
    assert writer.want() == [asked(1)]
    assert writer.lease(1, leased(7)) == [given(1, 7)]
    assert writer.do("reported", 7) == []
    assert writer.stock.writing == {}


def test_who_writes_often_gets_more_and_more_ahead_and_waits_no_more() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(1))
    assert writer.want() == [asked(2, count=2)]
    assert writer.lease(2, leased(2), leased(3)) == [given(2, 2)]
    assert writer.want() == [given(3, 3), asked(3, count=3)]
    assert writer.want() == [asked(4)], "what is asked ahead is not there yet"
    assert writer.lease(3, leased(4), leased(5), leased(6)) == []
    assert writer.want() == [given(5, 4), asked(5, count=13)]
    assert writer.want() == [given(6, 5)], "one request ahead is open"


def test_large_regions_are_not_leased_ahead() -> None:
    writer = Writer()
    for request in (1, 2, 3):
        assert writer.want(100 * MB) == [asked(request, 100 * MB)]


def test_a_region_that_is_too_small_or_much_too_large_stays_for_another() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(1), leased(2, MB // 2), leased(3, 8 * MB), leased(4, 2 * MB))
    assert writer.want()[0] == given(2, 4, 2 * MB)
    assert writer.want(8 * MB)[0] == given(3, 3, 8 * MB)


def test_a_pause_ends_the_burst() -> None:
    writer = Writer()
    writer.want()
    writer.want()
    writer.now_ns += REGIONS_AHEAD_NS
    assert writer.want() == [asked(3)]


def test_what_was_leased_ahead_and_is_not_used_goes_back() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(1), leased(2), leased(3))
    first_ns = writer.stock.deadlines.next_ns
    assert first_ns == writer.now_ns + REGIONS_AHEAD_NS
    writer.now_ns += 60 * MS
    writer.want()
    assert writer.do("on_timer", first_ns) == [], "it was used meanwhile"
    due_ns = writer.stock.deadlines.next_ns
    assert due_ns == writer.now_ns + REGIONS_AHEAD_NS
    assert writer.do("on_timer", due_ns) == [returned(3)]
    assert writer.stock.deadlines.next_ns is None
    assert writer.lease(2, leased(8)) == [returned(8)], "nobody uses what comes too late"


def test_more_than_is_ever_kept_ahead_goes_back() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(1))
    for _ in range(4):
        writer.want()
    writer.lease(2, leased(2), leased(3))
    writer.now_ns += REGIONS_AHEAD_NS
    writer.do("on_timer", writer.now_ns)
    assert writer.want() == [asked(6)], "what was asked ahead is forgotten, and comes"
    many = [leased(number) for number in range(10, 10 + REGIONS_AHEAD_COUNT_MAX + 2)]
    assert writer.lease(6, *many) == [given(6, 10), returned(11)]


def test_what_is_not_written_goes_back() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(7))
    assert writer.do("unused", 7) == [returned(7)]
    assert writer.do("unused", 8) == [returned(8)], "an item that was dropped before it left"


def test_a_refusal_reaches_who_wants_the_region() -> None:
    writer = Writer()
    writer.want()
    holders = (Holder("driver", MB, 1),)
    refusal = RegionsRefused(1, REFUSED_DISK, "full", holders)
    assert writer.do("on_refused", refusal) == [RegionRefused(1, REFUSED_DISK, "full", holders)]
    assert writer.do("on_refused", refusal) == [], "it is answered"


def test_a_refusal_of_what_nobody_waits_for_is_asked_again_later() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(1), leased(2), leased(3))
    assert writer.want()[1:] == [], "half of it is there"
    assert writer.want()[1:] == [asked(2, count=3)]
    assert writer.do("on_refused", RegionsRefused(2, REFUSED_FULL, "full", ())) == []
    assert writer.want() == [asked(3, count=8)]
    writer.lease(3, leased(4), leased(5))
    assert writer.want()[1:] == [asked(4, count=15)]
    writer.do("on_owner_down", ME)
    assert writer.do("on_refused", RegionsRefused(4, REFUSED_FULL, "full", ())) == []


def test_a_refusal_of_what_was_asked_ahead_may_come_when_nothing_is_wanted_any_more() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(1), leased(2))
    assert writer.want()[1:] == [asked(2, count=1)]
    writer.do("on_timer", writer.now_ns + REGIONS_AHEAD_NS)
    assert writer.do("on_refused", RegionsRefused(2, REFUSED_FULL, "full", ())) == []


def test_nothing_is_kept_for_a_dead_owner() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(1), leased(2))
    writer.want(4 * MB)
    writer.want(owner=OTHER_WORKER)
    refused = RegionRefused(2, REFUSED_FULL, "the owner of the value is dead", ())
    assert writer.do("on_owner_down", ME) == [returned(2), refused]
    assert writer.lease(2, leased(5, 4 * MB)) == [returned(5)]
    assert writer.do("on_owner_down", ME) == []
    assert writer.lease(3, leased(6)) == [given(3, 6)]


def test_what_is_being_written_for_a_dead_owner_goes_back_when_it_is_written() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(1))
    assert writer.stock.on_orphaned((1, 2)) == [2]
    assert writer.do("reported", 1) == [returned(1)]


def test_without_a_node_there_are_no_regions() -> None:
    writer = Writer()
    writer.want()
    writer.lease(1, leased(1), leased(2))
    assert writer.want()[1:] == [asked(2, count=1)]
    writer.want(2 * MB)
    gone = RegionRefused(3, REFUSED_FULL, "the node is gone", ())
    assert writer.do("leave_node") == [gone]
    assert writer.want() == [RegionRefused(4, REFUSED_FULL, "the node is gone", ())]
    assert writer.do("unused", 1) == []


def test_the_node_hears_where_an_owner_of_another_node_is() -> None:
    writer = Writer()
    far = Address(OTHER_WORKER, 3, "", PeerId(b"far".ljust(16)))
    writer.wants += 1
    (sent,) = writer.do("want", WantRegion(1, OTHER_WORKER, S, MB), far, writer.now_ns)
    assert isinstance(sent, Send)
    assert (sent.message.owner_life, sent.message.owner_node) == (3, far.node)
