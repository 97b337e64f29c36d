"""Streams with several readers: what each gets, who waits for whom, who leaves, who is given up."""

from __future__ import annotations

from tests.unit.core.names import NODE, address, task
from tests.unit.core.names import result as named_result
from tests.unit.core.test_borrowing import die, nested, said
from tests.unit.core.test_lending import MAKER, ONE, TWO, Bench, C, S
from zgen.core.cancel_words import CloseRequested
from zgen.core.effects import Effect, ItemsTaken, Send, StreamAdvanced
from zgen.core.events import Dropped, PutObject, RefCompletion, TakeItems
from zgen.core.fans import GIVEN_UP
from zgen.core.handover_words import (
    FannedOut,
    FanOut,
    HoldStream,
    LendStream,
    StreamHeld,
    StreamLent,
    StreamRefusal,
)
from zgen.ids import ObjectId, PeerId, StreamId, item_ids
from zgen.wire.handover import CLOSED, GIVEN_BACK, PASSED_ON, LeaveStream, StreamItems, TakeStream
from zgen.wire.object import ObjectIs
from zgen.wire.stream import CloseStream, Consumed
from zgen.wire.value import FaultKind, NestedRef

X = named_result("x")


class FanBench(Bench):
    """The driver's stream "s", with several readers."""

    def __init__(self, count: int, readers: int = 2, pending: int = 3, **how: int) -> None:
        super().__init__(count, **how)  # type: ignore[arg-type]  # as they are named there
        done = self.step(FanOut(S, (), readers, pending))
        (answer,) = [effect for effect in done if isinstance(effect, FannedOut)]
        self.opened = done
        self.readers = answer.readers

    def read(self, number: int, count: int = 1) -> list[int]:
        """Return the positions of the items that a reader takes here, so many at most."""
        found: list[int] = []
        for _ in range(count):
            taken = [
                effect
                for effect in self.step(TakeItems(self.readers[number], 64))
                if type(effect) is ItemsTaken
            ]
            names = taken[0].objects
            found += positions(names)
            self.step(Dropped(names, ()))
        return found

    def is_over(self, number: int) -> bool:
        done = self.step(TakeItems(self.readers[number], 64))
        return ItemsTaken(self.readers[number], (), True) in done

    def refusal(self, number: int) -> str:
        (refusal,) = self.step(TakeItems(self.readers[number], 64))
        assert isinstance(refusal, StreamRefusal)
        assert refusal.fault.kind is FaultKind.STREAM_LENT
        return refusal.fault.reason

    def lend_reader(self, number: int, value: ObjectId = X) -> StreamLent:
        (lent,) = [
            effect
            for effect in self.step(LendStream(self.readers[number]))
            if isinstance(effect, StreamLent)
        ]
        refs = [NestedRef(name, address("me")) for name in (lent.ticket, lent.completion)]
        self.step(PutObject(value, nested(*refs)))
        return lent

    def ask(
        self, number: int, upto: int = 0, *, who: PeerId = ONE, hop: int = 0, room: int = 4
    ) -> list[Effect]:
        return self.say(who, TakeStream(self.readers[number], 1, hop, upto, room, 7, "a task", ()))

    def leave(self, number: int, upto: int, how: int = GIVEN_BACK) -> list[Effect]:
        return self.say(ONE, LeaveStream(self.readers[number], 1, 0, upto, how))

    @property
    def items_kept(self) -> list[int]:
        """Positions of the items that are not let go here; who borrows them may have them yet."""
        return positions([name for name in self.names if name[:16] == S and name != C])


def positions(names: list[ObjectId] | tuple[ObjectId, ...]) -> list[int]:
    return [int.from_bytes(name[16:], "big") - 1 for name in names]


def sent(effects: list[Effect]) -> list[tuple[StreamId, int, int, bool]]:
    """Return which items were sent for which reader, and whether they are the last."""
    messages = [send.message for send in said(effects, StreamItems)]
    assert all(each.source == S for each in messages)
    return [(each.stream, each.first_index, each.count, each.is_end) for each in messages]


def test_each_reader_gets_every_item_and_the_end() -> None:
    bench = FanBench(3)
    assert bench.read(0, 3) == bench.read(1, 3) == [0, 1, 2]
    assert bench.read(0) == []
    bench.end(b"total")
    assert bench.is_over(0)
    assert bench.is_over(1)
    for reader in bench.readers:
        assert bench.process.owner.streams.streams[reader].completion == b"total"


def test_a_reader_takes_up_what_was_taken_over_before() -> None:
    bench = Bench(4)
    (taken,) = bench.take(2)
    assert isinstance(taken, ItemsTaken)
    done = bench.step(FanOut(S, taken.objects[1:], 2, 1))
    bench.step(Dropped(taken.objects, ()))
    (answer,) = [effect for effect in done if isinstance(effect, FannedOut)]
    for reader in answer.readers:
        (first, *_) = bench.step(TakeItems(reader, 64))
        assert first == ItemsTaken(reader, item_ids(S, 1, 1), False)


def test_an_item_goes_when_the_slowest_has_it() -> None:
    bench = FanBench(9)
    assert bench.read(0, 3) == [0, 1, 2]
    assert bench.items_kept == [0, 1, 2]
    assert bench.read(0) == []  # which is three ahead
    assert bench.read(1) == [0]
    assert bench.items_kept == [1, 2, 3]
    assert bench.read(0) == [3]
    assert bench.process.owner.handover.fans.slowest(bench.readers[0]) == bench.readers[1]
    assert bench.process.owner.handover.fans.slowest(S) == bench.readers[1]


def test_who_waits_is_told_of_an_item_and_of_the_room_for_it() -> None:
    bench = FanBench(0, pending=1)
    assert bench.read(0) == []
    done = bench.feed(2)
    assert [StreamAdvanced(reader) in done for reader in bench.readers] == [True, True]
    assert StreamAdvanced(S) not in done
    assert bench.read(0) == [0]
    done = bench.step(TakeItems(bench.readers[1], 64))
    assert StreamAdvanced(bench.readers[0]) in done
    assert bench.process.owner.handover.fans.slowest(bench.readers[0]) is not None
    assert bench.process.owner.handover.fans.slowest(task("other")) is None


def test_nobody_keeps_a_reader_back_that_has_room() -> None:
    bench = FanBench(1)
    assert bench.process.owner.handover.fans.slowest(bench.readers[0]) is None


def test_the_stream_itself_is_read_by_nobody_else() -> None:
    bench = FanBench(2)
    for refused in (bench.take(), bench.step(LendStream(S)), bench.step(FanOut(S, (), 2, 1))):
        (refusal,) = refused
        assert isinstance(refusal, StreamRefusal)
        assert refusal.fault.reason == "zgen.streams.fan_out reads it"
    assert not bench.process.owner.streams.is_ready(S)


def test_the_last_reader_that_leaves_gives_the_stream_back() -> None:
    bench = FanBench(5)
    assert bench.read(0, 2) == [0, 1]
    bench.step(Dropped((), bench.readers))
    assert bench.items_kept == []
    assert bench.got() == ([3, 4], False)  # behind the one that was at hand
    bench.step(Dropped((), (S,)))
    assert bench.names == []


def test_a_stream_whose_generator_went_ends_with_its_last_reader() -> None:
    bench = FanBench(2)
    assert bench.step(Dropped((), (S,))) == []
    assert bench.read(0, 2) == [0, 1]
    assert said(bench.step(Dropped((), bench.readers)), CloseStream)
    assert bench.names == []


def test_a_reader_that_is_closed_is_at_its_end_and_holds_nobody_up() -> None:
    bench = FanBench(9, pending=2)
    assert bench.read(0, 3) == [0, 1]
    done = bench.step(CloseRequested(bench.readers[1]))
    assert StreamAdvanced(bench.readers[0]) in done
    assert bench.is_over(1)
    assert bench.read(0, 3) == [2, 3, 4]
    bench.step(CloseRequested(bench.readers[1]))
    bench.step(Dropped((), bench.readers[1:]))
    bench.step(RefCompletion(bench.readers[0]))
    assert C in bench.names


def test_readers_end_with_a_stream_that_is_closed() -> None:
    bench = FanBench(5)
    assert bench.read(0) == [0]
    bench.step(CloseRequested(S))
    assert bench.read(0) == [1]
    assert bench.is_over(0)
    assert bench.read(1, 2) == [0, 1]
    assert bench.is_over(1)


def test_readers_that_are_lent_are_sent_the_same_items() -> None:
    bench = FanBench(9, pending=3)
    for number, value in enumerate((X, named_result("y"))):
        assert bench.lend_reader(number, value).completion == C
    one, two = bench.readers
    done = bench.ask(0)
    assert sent(done) == [(one, 0, 3, False)]
    assert [s.message.object for s in said(done, ObjectIs)] == list(item_ids(S, 0, 3))
    assert sent(bench.ask(0, 2)) == []
    assert sent(bench.ask(1, who=TWO)) == [(two, 0, 3, False)]
    done = bench.ask(1, 2, who=TWO)
    assert sorted(sent(done)) == sorted([(one, 3, 2, False), (two, 3, 2, False)])
    assert bench.items_kept == [2, 3, 4]
    assert bench.process.owner.handover.fans.slowest(one) is None  # others read for both
    done = bench.ask(0, 5) + bench.ask(1, 5, who=TWO)
    done += bench.ask(0, 8) + bench.ask(1, 8, who=TWO)
    done += bench.end()
    assert (one, 9, 0, True) in sent(done)
    assert (two, 9, 0, True) in sent(done)


def test_a_reader_is_lent_and_comes_back() -> None:
    bench = FanBench(4)
    lent = bench.lend_reader(0)
    bench.ask(0, 0)
    assert bench.refusal(0) == "a task reads it"
    bench.ask(0, 2)
    bench.say(ONE, LeaveStream(bench.readers[0], 1, 0, 2, PASSED_ON))
    back = HoldStream(bench.readers[0], 1, 1, 2, "s", address("me"), lent.completion, (ONE,))
    assert StreamHeld(bench.readers[0]) in bench.step(back)
    assert bench.read(0) == [2]


def test_what_was_pickled_for_nothing_is_read_on() -> None:
    bench = FanBench(4)
    bench.step(LendStream(bench.readers[0]))
    assert bench.read(0, 2) == [0, 1]


def test_a_reader_whose_process_died_holds_nobody_up_and_may_be_taken_up_again() -> None:
    bench = FanBench(20, pending=3)
    bench.lend_reader(0)
    bench.ask(0)
    bench.ask(0, 1)
    assert bench.read(1, 3) == [0, 1, 2]
    die(bench, ONE)
    assert bench.read(0, 2) == [1, 2]  # it is read here now, and holds the others up
    assert bench.read(1, 9) == [3, 4, 5]


def test_the_others_go_on_without_a_reader_that_nobody_takes_up() -> None:
    bench = FanBench(20, pending=3)
    bench.lend_reader(0)
    bench.ask(0)
    bench.ask(0, 1)
    die(bench, ONE)
    assert bench.read(1, 9) == list(range(9))
    assert bench.refusal(0) == GIVEN_UP
    (refusal,) = bench.step(LendStream(bench.readers[0]))
    assert isinstance(refusal, StreamRefusal)
    assert bench.process.owner.handover.fans.slowest(bench.readers[1]) is None
    bench.step(Dropped((), bench.readers))
    assert bench.items_kept == []


def test_a_reader_that_nobody_has_leaves_as_its_loan_ends() -> None:
    bench = FanBench(20, pending=2)
    bench.lend_reader(0)
    bench.ask(0)
    bench.step(Dropped((), bench.readers[:1]))
    bench.ask(0, 1)
    assert bench.read(1, 9) == [0, 1, 2]
    die(bench, ONE)
    assert bench.readers[0] not in bench.process.owner.streams.streams
    assert bench.read(1, 9) == list(range(3, 12))


def test_a_reader_that_is_closed_where_it_was_handed_to_leaves() -> None:
    bench = FanBench(9, pending=2)
    bench.lend_reader(0)
    bench.ask(0)
    assert said(bench.leave(0, 1, CLOSED), CloseStream) == []
    assert bench.is_over(0)
    assert bench.read(1, 4) == [0, 1, 2, 3]


def test_a_reader_that_its_owner_closes_is_read_to_what_it_was_sent() -> None:
    bench = FanBench(9, pending=4)
    bench.lend_reader(0)
    bench.ask(0)
    bench.step(CloseRequested(bench.readers[0]))
    assert sent(bench.ask(0, 1)) == [(bench.readers[0], 4, 0, True)]
    assert bench.read(1, 6) == [0, 1, 2, 3, 4, 5]


def test_a_window_follows_the_fastest() -> None:
    bench = FanBench(2, window=2)
    assert said(bench.opened, Consumed) == []
    done = bench.step(TakeItems(bench.readers[1], 64))
    assert said(done, Consumed) == [Send(MAKER, Consumed(S, 0, 1))]
    assert said(bench.step(TakeItems(bench.readers[0], 64)), Consumed) == []


def test_yields_of_several_values_stay_together() -> None:
    bench = FanBench(8, per_yield=2, pending=2)
    assert bench.read(0, 3) == [0, 1, 2, 3]
    assert bench.read(1, 2) == [0, 1, 2, 3]
    assert bench.read(0, 3) == [4, 5, 6, 7]


def test_readers_hear_of_the_death_of_the_node() -> None:
    bench = FanBench(2)
    bench.lend_reader(0)
    bench.ask(0)
    bench.goodbye(NODE)
    assert bench.read(0, 3) == bench.read(1, 3) == [0, 1, 2]  # the last one is an error
    assert bench.is_over(0)


def test_who_asks_after_all_have_left_is_at_the_end() -> None:
    bench = FanBench(5)
    for reader in bench.readers:
        bench.step(CloseRequested(reader))
    assert bench.is_over(0)
    assert bench.got() == ([1, 2, 3, 4], False)  # behind the one that was at hand


def test_who_waits_for_a_reader_that_comes_back_with_nothing_is_told_of_the_next_item() -> None:
    bench = FanBench(1)
    bench.lend_reader(0)
    bench.ask(0)
    bench.ask(0, 1)
    bench.leave(0, 1)
    assert not bench.process.owner.streams.is_ready(bench.readers[0])
    assert StreamAdvanced(bench.readers[0]) in bench.feed(1)
    assert bench.read(0) == [1]
