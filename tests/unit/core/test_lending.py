"""Streams that their owner lends: who may read, what comes back, and what an old word changes."""

from __future__ import annotations

from tests.unit.core.bench import ERROR_ENTRY, asked
from tests.unit.core.names import FUNCTION, NODE, PAYLOAD, address, peer, stream_spec, task
from tests.unit.core.names import result as named_result
from tests.unit.core.process_bench import ProcessBench
from tests.unit.core.test_borrowing import die, nested, said
from zgen.core.cancel_words import CloseRequested
from zgen.core.effects import Effect, ItemsTaken, Send, StreamAdvanced
from zgen.core.events import DefineTaskFunction, Dropped, PutObject, SubmitTask, TakeItems
from zgen.core.handover_words import HoldStream, LendStream, StreamHeld, StreamLent, StreamRefusal
from zgen.core.in_stream import InStream
from zgen.ids import ObjectId, PeerId, completion_object, item_ids, ticket_object
from zgen.wire.handover import (
    CLOSED,
    GIVEN_BACK,
    PASSED_ON,
    LeaveStream,
    StreamItems,
    StreamRefused,
    TakeStream,
)
from zgen.wire.lease import LeaseGranted
from zgen.wire.object import AddBorrowers, ObjectIs, ReturnBorrows, WantObjects
from zgen.wire.schema import Entry
from zgen.wire.store import Place
from zgen.wire.stream import CloseStream, Consumed, ReportEnd, ReportItems
from zgen.wire.task import OUTCOME_ERROR, OUTCOME_VALUE, CancelBorrowed, CancelTask
from zgen.wire.value import FaultKind, NestedRef, Stored, pack

S, X = task("s"), named_result("x")
C = completion_object(S)
MAKER, ONE, TWO = peer("maker"), peer("one"), peer("two")
REFUSED = (FaultKind.STREAM_LENT, "s")


class Bench(ProcessBench):
    """The driver "me" whose stream "s" a worker feeds; "one" and "two" may come to read it."""

    def __init__(
        self,
        count: int = 0,
        *,
        window: int = 0,
        window_bytes: int = 0,
        is_over: bool = False,
        per_yield: int = 1,
    ) -> None:
        super().__init__()
        self.step(DefineTaskFunction(FUNCTION, PAYLOAD))
        spec = stream_spec("s")
        spec.window, spec.window_bytes, spec.per_yield = window, window_bytes, per_yield
        self.step(SubmitTask(spec))
        self.say(NODE, LeaseGranted(asked(), address("maker"), 7))
        for name in ("maker", "one", "two"):
            self.meet(name)
        self.count = 0
        self.feed(count)
        if is_over:
            self.end()

    def feed(self, count: int) -> list[Effect]:
        entries = tuple([bytes([self.count + i]) for i in range(count)])
        self.count += count
        return self.say(MAKER, ReportItems(S, 0, self.count - count, entries))

    def end(self, last: Entry | None = None, outcome: int = OUTCOME_VALUE) -> list[Effect]:
        entries = () if last is None else (last,)
        return self.say(MAKER, ReportEnd(S, 0, self.count, outcome, 1, entries))

    def lend(self, *ahead: ObjectId, held: bool = True) -> StreamLent:
        """Pickle the generator, into a value that is put."""
        (lent,) = self.step(LendStream(S, ahead))
        assert isinstance(lent, StreamLent)
        if held:
            refs = [NestedRef(name, address("me")) for name in (lent.ticket, lent.completion)]
            self.step(PutObject(X, nested(*refs)))
        return lent

    def take(self, count_max: int = 64) -> list[Effect]:
        return self.step(TakeItems(S, count_max))

    def got(self, count_max: int = 64) -> tuple[list[int], bool]:
        """Return which items the owner's user gets, and whether they are the last."""
        taken = [effect for effect in self.take(count_max) if type(effect) is ItemsTaken]
        names, (answer,) = [name for each in taken for name in each.objects], taken
        positions = [int.from_bytes(name[16:], "big") - 1 for name in names]
        self.step(Dropped(tuple(names), ()))
        return positions, answer.ended

    @property
    def record(self) -> InStream:
        return self.process.owner.streams.streams[S]

    @property
    def names(self) -> list[ObjectId]:
        """Objects that are kept here, beside those that a holder borrows."""
        records = self.process.owner.refs.records
        return [name for name, record in records.items() if record.local]


def ask(upto: int = 0, hop: int = 0, epoch: int = 1, room: int = 4, *chain: PeerId) -> TakeStream:
    return TakeStream(S, epoch, hop, upto, room, 7, "a task", chain)


def leave(upto: int, how: int = GIVEN_BACK, hop: int = 0, epoch: int = 1) -> LeaveStream:
    return LeaveStream(S, epoch, hop, upto, how)


def items(effects: list[Effect]) -> list[tuple[PeerId, int, int, bool]]:
    """Return whom items were sent, from where on, how many, and whether they are the last."""
    sends = said(effects, StreamItems)
    return [(s.peer, s.message.first_index, s.message.count, s.message.is_end) for s in sends]


def is_refused(effects: list[Effect]) -> bool:
    (refusal,) = effects
    assert isinstance(refusal, StreamRefusal)
    return (refusal.fault.kind, refusal.fault.name) == REFUSED


def test_a_holder_is_sent_items_and_their_values_as_far_as_it_has_room() -> None:
    bench = Bench(6)
    lent = bench.lend()
    assert (lent.epoch, lent.hop, lent.upto, lent.owner) == (1, 0, 0, None)
    done = bench.say(ONE, ask())
    assert items(done) == [(ONE, 0, 4, False)]
    assert [s.message.object for s in said(done, ObjectIs)] == list(item_ids(S, 0, 4))
    assert items(bench.say(ONE, ask(1))) == [(ONE, 4, 1, False)]
    assert items(bench.say(ONE, ask(2))) == [(ONE, 5, 1, False)]
    assert items(bench.say(ONE, ask(3))) == []
    assert items(bench.feed(1)) == [(ONE, 6, 1, False)]
    assert items(bench.say(ONE, ask(7))) == []
    assert items(bench.end()) == [(ONE, 7, 0, True)]
    assert items(bench.say(ONE, ask(7))) == []


def test_nobody_hears_that_a_stream_advances_which_is_lent() -> None:
    bench = Bench(1)
    bench.lend()
    assert not [effect for effect in bench.feed(1) if type(effect) is StreamAdvanced]
    assert not bench.process.owner.streams.is_ready(S)


def test_the_owner_is_told_who_reads() -> None:
    bench = Bench(3)
    bench.lend()
    assert is_refused(bench.take())
    assert is_refused(bench.step(LendStream(S)))
    bench.say(ONE, ask())
    (refusal,) = bench.take()
    assert isinstance(refusal, StreamRefusal)
    assert refusal.fault.reason == "a task reads it"


def test_what_a_holder_has_not_taken_comes_first_when_it_gives_the_stream_back() -> None:
    bench = Bench(6)
    bench.lend()
    bench.say(ONE, ask(), ask(2))
    done = bench.say(ONE, leave(2))
    assert StreamAdvanced(S) in done
    assert bench.got(3) == ([2, 3, 4], False)
    assert bench.got() == ([5], False)
    assert bench.got() == ([], False)
    bench.end()
    assert bench.got() == ([], True)


def test_nobody_is_woken_for_a_stream_that_comes_back_with_nothing_to_read() -> None:
    bench = Bench(1)
    bench.lend()
    bench.say(ONE, ask(), ask(1))
    assert StreamAdvanced(S) not in bench.say(ONE, leave(1))
    assert StreamAdvanced(S) in bench.feed(1)
    assert bench.got() == ([1], False)


def test_items_that_were_taken_over_and_not_given_out_are_lent_first() -> None:
    bench = Bench(5)
    (taken,) = bench.take(3)
    assert isinstance(taken, ItemsTaken)
    bench.step(Dropped(taken.objects[:1], ()))
    bench.lend(*taken.objects[1:])
    bench.step(Dropped(taken.objects[1:], ()))
    done = bench.say(ONE, ask(1))
    assert items(done) == [(ONE, 1, 4, False)]
    bench.say(ONE, leave(4))
    (lent,) = bench.step(LendStream(S))
    assert isinstance(lent, StreamLent)
    assert (lent.epoch, lent.upto) == (2, 4)
    assert bench.got() == ([4], False)


def test_a_stream_ends_for_the_owner_with_the_last_item_that_came_back() -> None:
    bench = Bench(2, is_over=True)
    bench.lend()
    assert items(bench.say(ONE, ask())) == [(ONE, 0, 2, True)]
    bench.say(ONE, leave(1))
    assert bench.got() == ([1], True)


def test_one_who_comes_second_is_refused_and_what_it_says_changes_nothing() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask())
    (refused,) = said(bench.say(TWO, ask()), StreamRefused)
    assert refused == Send(TWO, StreamRefused(S, 1, 0, 7, "a task reads it"))
    bench.say(TWO, leave(3))
    assert is_refused(bench.take())
    assert items(bench.say(ONE, ask(3))) == []


def test_a_word_of_an_older_loan_finds_none() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask(), leave(1))
    bench.step(Dropped((X,), ()))
    bench.lend()
    (refused,) = said(bench.say(ONE, ask(1)), StreamRefused)
    assert refused.message.reason.endswith("its owner")
    bench.say(ONE, leave(3))
    assert items(bench.say(TWO, ask(1, epoch=2))) == [(TWO, 1, 2, False)]
    bench.say(TWO, leave(1, epoch=2))
    (refused,) = said(bench.say(TWO, ask(1, epoch=2)), StreamRefused)
    bench.say(TWO, leave(3, epoch=2))
    assert bench.got() == ([1, 2], False)


def test_a_word_of_an_older_loan_or_hop_ends_nothing_of_who_holds_it_again() -> None:
    bench = Bench(5)
    bench.lend()
    bench.say(ONE, ask(), leave(1))
    bench.step(Dropped((X,), ()))
    bench.lend()
    bench.say(ONE, ask(1, epoch=2), leave(3))
    assert is_refused(bench.take())
    bench.say(ONE, leave(1, PASSED_ON, epoch=2), ask(1, 1, 2, 4, ONE), leave(3, epoch=2))
    assert is_refused(bench.take())
    bench.say(ONE, leave(2, hop=1, epoch=2))
    assert bench.got() == ([2, 3, 4], False)


def test_who_gets_it_passed_on_goes_on_where_the_holder_before_was() -> None:
    bench = Bench(5)
    bench.lend()
    bench.say(ONE, ask())
    # Its own words are still on their way.
    done = bench.say(TWO, ask(3, 1, 1, 4, ONE))
    assert items(done) == [(TWO, 3, 2, False)]
    (refused,) = said(bench.say(ONE, ask(2)), StreamRefused)
    assert refused.message.reason == "it was passed on to another task"
    bench.say(ONE, leave(3, PASSED_ON))
    bench.say(TWO, leave(4, hop=1))
    assert bench.got() == ([4], False)


def test_between_two_holders_nobody_else_may_come() -> None:
    bench = Bench(5)
    bench.lend()
    bench.say(ONE, ask(), leave(2, PASSED_ON))
    (refused,) = said(bench.say(TWO, ask()), StreamRefused)
    assert refused.message.reason == "it was passed on to another task"
    (refusal,) = bench.take()
    assert isinstance(refusal, StreamRefusal)
    assert "has not begun" in refusal.fault.reason
    assert items(bench.say(TWO, ask(2, 1, 1, 4, ONE))) == [(TWO, 2, 3, False)]


def test_who_got_it_from_one_that_never_held_it_is_refused() -> None:
    bench = Bench(5)
    bench.lend()
    bench.say(ONE, ask())
    assert said(bench.say(TWO, ask(0, 1, 1, 4, TWO)), StreamRefused)
    assert said(bench.say(TWO, ask(0, 1)), StreamRefused)
    assert items(bench.say(ONE, ask(4))) == [(ONE, 4, 1, False)]


def test_a_holder_that_dies_gives_back_what_it_has_not_taken() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask(), ask(2))
    assert StreamAdvanced(S) in die(bench, ONE)
    assert bench.got() == ([2], False)


def test_a_holder_that_dies_before_it_took_anything_leaves_all_to_who_comes_again() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask())
    die(bench, TWO)
    die(bench, ONE)
    assert is_refused(bench.take())
    bench.meet("one", 2)
    assert items(bench.say(ONE, ask())) == [(ONE, 0, 3, False)]


def test_nobody_can_come_again_once_only_the_dead_could() -> None:
    bench = Bench(3)
    bench.lend()
    ticket = ticket_object(S, 1)
    bench.say(ONE, AddBorrowers(address("one"), (ticket,)), ask())
    bench.step(Dropped((X,), ()))
    assert is_refused(bench.take())
    assert StreamAdvanced(S) in die(bench, ONE)
    assert bench.got() == ([0, 1, 2], False)


def test_a_loan_ends_when_nothing_refers_to_it_any_more() -> None:
    bench = Bench(2)
    bench.lend()
    assert StreamAdvanced(S) in bench.step(Dropped((X,), ()))
    assert bench.got() == ([0, 1], False)


def test_a_loan_lasts_while_a_process_may_have_it() -> None:
    bench = Bench(2)
    lent = bench.lend()
    bench.say(ONE, AddBorrowers(address("one"), (lent.ticket,)))
    bench.step(Dropped((X,), ()))
    assert is_refused(bench.take())
    bench.say(ONE, ReturnBorrows(((lent.ticket, 1),)))
    assert bench.got() == ([0, 1], False)


def test_what_was_pickled_for_nothing_is_lent_to_nobody() -> None:
    bench = Bench(2)
    bench.lend(held=False)
    assert bench.got(1) == ([0], False)
    first, second = bench.lend(held=False), bench.lend()
    assert (first.epoch, second.epoch) == (2, 3)
    assert is_refused(bench.take())
    assert first.ticket not in bench.names


def test_a_generator_that_is_dropped_as_it_is_pickled_for_nothing_is_gone() -> None:
    bench = Bench(2)
    bench.lend(held=False)
    (close,) = said(bench.step(Dropped((), (S,))), CloseStream)
    assert close.message == CloseStream(S, 0)
    assert bench.names == []


def test_a_stream_outlives_its_owners_generator_while_it_is_lent() -> None:
    bench = Bench(3)
    bench.lend()
    assert said(bench.step(Dropped((), (S,))), CloseStream) == []
    assert items(bench.say(ONE, ask())) == [(ONE, 0, 3, False)]
    assert said(bench.say(ONE, leave(1)), CloseStream)
    bench.step(Dropped((X,), ()))
    assert bench.names == []
    bench.end()
    assert not bench.process.owner.streams.streams


def test_a_generator_that_comes_back_to_its_owner_reads_on_there() -> None:
    bench = Bench(3)
    lent = bench.lend()
    bench.say(ONE, ask(), ask(1))
    back = HoldStream(S, 1, 1, 1, "s", address("me"), C, (ONE,))
    assert bench.step(back) == [StreamAdvanced(S), StreamHeld(S)]
    bench.say(ONE, leave(1, PASSED_ON))
    assert bench.got() == ([1, 2], False)
    assert bench.step(Dropped((), (S,))) == []  # of two generators
    assert said(bench.step(Dropped((), (S,))), CloseStream)
    assert lent.ticket in bench.process.owner.refs.records  # as long as the value


def test_a_generator_that_comes_back_after_the_last_one_went_is_read_on() -> None:
    bench = Bench(3)
    bench.lend()
    bench.step(Dropped((), (S,)))
    bench.step(HoldStream(S, 1, 0, 0, "s", address("me"), C))
    assert bench.got() == ([0, 1, 2], False)


def test_a_generator_that_comes_back_is_refused_while_somebody_holds_it() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask())
    assert bench.step(HoldStream(S, 1, 0, 0, "s", address("me"), C)) == [StreamHeld(S)]
    assert is_refused(bench.take())
    assert bench.step(HoldStream(S, 0, 9, 0, "s", address("me"), C)) == [StreamHeld(S)]
    assert is_refused(bench.take())


def test_a_generator_that_comes_back_to_nothing_is_refused() -> None:
    bench = Bench(1)
    bench.lend()
    bench.say(ONE, ask(), leave(1))
    bench.step(Dropped((), (S,)))
    (held,) = bench.step(HoldStream(S, 1, 0, 0, "s", address("me"), C))
    assert isinstance(held, StreamHeld)
    assert held.key != S
    (refusal,) = bench.step(TakeItems(held.key, 1))
    assert isinstance(refusal, StreamRefusal)
    bench.step(Dropped((X,), (held.key,)))
    assert bench.names == []


def test_a_window_follows_who_reads() -> None:
    bench = Bench(window=2)
    bench.feed(2)
    bench.lend()
    done = bench.say(ONE, ask())
    assert items(done) == [(ONE, 0, 1, False)]
    assert said(done, Consumed) == []
    done = bench.say(ONE, ask(1))
    assert [s.message.upto for s in said(done, Consumed)] == [1]
    assert items(done) == [(ONE, 1, 1, False)]
    done = bench.say(ONE, leave(1))
    assert bench.record.consumed == 1
    assert said(bench.take(), Consumed)[0].message.upto == 2


def test_a_window_in_bytes_follows_who_reads_and_counts_nothing_twice() -> None:
    bench = Bench(window_bytes=12)
    bench.feed(3)
    ahead = bench.record.ahead_bytes
    bench.lend()
    bench.say(ONE, ask())
    bench.say(ONE, ask(2))
    assert (bench.record.consumed, bench.record.ahead_bytes) == (2, ahead // 3)
    bench.say(ONE, leave(2))
    bench.take(0)
    assert (bench.record.consumed, bench.record.ahead_bytes) == (2, ahead // 3)
    bench.take()
    assert (bench.record.consumed, bench.record.ahead_bytes) == (3, 0)


def test_large_items_are_not_taken_out_before_the_holder_comes_to_them() -> None:
    bench = Bench()
    stored = [Stored(NODE, n, Place(1, 64 * n, 64, 4096, True), b"", (9,)) for n in (1, 2)]
    for at, value in enumerate(stored):
        bench.say(MAKER, ReportItems(S, 0, at, pack((value,), [])))
    bench.count = 2
    bench.lend()
    assert items(bench.say(ONE, ask())) == [(ONE, 0, 1, False)]
    assert items(bench.say(ONE, ask(1))) == [(ONE, 1, 1, False)]


def test_the_owner_may_close_what_is_lent() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask(0, 0, 1, 1))
    done = bench.step(CloseRequested(S))
    assert said(done, CloseStream)[0].message.stop
    assert items(done) == [(ONE, 1, 0, True)]
    bench.say(ONE, leave(0))
    bench.step(Dropped((X,), (S,)))
    assert bench.names == []


def test_what_came_back_is_freed_when_the_owner_closes_the_generator() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask(), leave(1))
    bench.step(Dropped((X,), ()))
    assert len(bench.names) == 2
    bench.step(CloseRequested(S))
    assert bench.names == []
    bench.step(CloseRequested(S))


def test_a_holder_may_close_it() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask())
    done = bench.say(ONE, leave(1, CLOSED))
    assert said(done, CloseStream)[0].message.stop
    assert bench.got() == ([], True)
    bench = Bench(3)
    bench.lend()
    bench.step(Dropped((), (S,)))
    bench.say(ONE, ask())
    assert said(bench.say(ONE, leave(1, CLOSED)), CloseStream)


def test_who_has_it_may_cancel_it() -> None:
    bench = Bench(3)
    lent = bench.lend()
    bench.say(ONE, AddBorrowers(address("one"), (lent.completion,)))
    done = bench.say(ONE, CancelBorrowed(lent.completion, False, True))
    assert said(done, CancelTask) == [Send(MAKER, CancelTask(S, 0, False, True))]


def test_a_holder_that_says_it_took_more_than_it_was_given_is_not_believed() -> None:
    bench = Bench(2)
    bench.lend()
    bench.say(ONE, ask())
    before = sum(bench.counts.values())
    bench.say(ONE, ask(3))
    assert sum(bench.counts.values()) == before + 1


def test_a_claim_that_is_not_believed_takes_no_place() -> None:
    bench = Bench(3)
    bench.lend()
    ticket = ticket_object(S, 1)
    bench.say(ONE, AddBorrowers(address("one"), (ticket,)), ask())
    bench.step(Dropped((X,), ()))
    die(bench, TWO)
    bench.meet("three")
    bench.say(peer("three"), AddBorrowers(address("three"), (ticket,)))
    die(bench, ONE)
    bench.say(peer("three"), ask(9))
    assert is_refused(bench.take())
    assert StreamAdvanced(S) in die(bench, peer("three"))


def test_a_value_of_before_it_was_passed_on_brings_nothing_back() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask(), leave(0, PASSED_ON))
    bench.step(HoldStream(S, 1, 0, 0, "s", address("me"), C))
    assert is_refused(bench.take())


def test_what_is_not_lent_goes_its_way() -> None:
    bench = Bench(1)
    bench.lend()
    bench.step(SubmitTask(stream_spec("t")))
    assert bench.step(TakeItems(task("t"), 1)) == [ItemsTaken(task("t"), (), False)]
    bench.step(Dropped((), (task("t"),)))
    assert bench.process.owner.handover.on_gone([X], 0, []) == [X]


def test_all_comes_back_when_the_node_dies() -> None:
    bench = Bench(3)
    bench.lend()
    bench.say(ONE, ask())
    bench.goodbye(NODE)
    assert bench.got()[0][:3] == [0, 1, 2]


def ending(effects: list[Effect]) -> list[bool]:
    """Return for each message with items whether the generator has returned something."""
    return [send.message.returns for send in said(effects, StreamItems)]


def test_what_the_generator_returned_follows_its_last_item() -> None:
    bench = Bench(1)
    bench.lend()
    assert ending(bench.say(ONE, ask())) == [False]
    done = bench.end(b"total")
    assert (items(done), ending(done)) == ([(ONE, 1, 0, True)], [True])
    assert [(s.peer, s.message.object) for s in said(done, ObjectIs)] == [(ONE, C)]
    done = bench.say(ONE, leave(0, PASSED_ON))
    done = bench.say(TWO, ask(0, 1))
    assert (items(done), ending(done)) == ([(TWO, 0, 1, True)], [True])
    assert [s.message.object for s in said(done, ObjectIs)] == [item_ids(S, 0, 1)[0], C]


def test_a_generator_that_returned_nothing_or_failed_says_no_more_than_its_end() -> None:
    bench = Bench(1, is_over=True)
    bench.lend()
    assert ending(bench.say(ONE, ask())) == [False]
    failed = Bench(1)
    failed.lend()
    failed.say(ONE, ask())
    done = failed.end(ERROR_ENTRY, OUTCOME_ERROR)
    assert (items(done), ending(done)) == ([(ONE, 1, 1, True)], [False])


def test_a_reader_hears_of_the_end_of_what_is_lent_to_it() -> None:
    bench = Bench(1)
    bench.lend()
    bench.say(ONE, AddBorrowers(address("me"), (C,)), ask())
    assert said(bench.say(ONE, WantObjects((C,))), ObjectIs) == []
    assert C in [s.message.object for s in said(bench.end(), ObjectIs)]
    bench.say(ONE, leave(1))
    bench.step(Dropped((X,), (S,)))
    assert C in bench.process.owner.refs.records  # somebody borrows it
    bench.say(ONE, ReturnBorrows(((C, 1),)))
    assert C not in bench.process.owner.refs.records


def test_what_is_lent_after_its_end_has_its_end_too() -> None:
    bench = Bench(1)
    bench.end(b"total")
    bench.lend()
    assert bench.process.owner.refs.value_of(C) == b"total"


def test_the_end_of_a_stream_that_is_lent_holds_its_producer_back_no_less() -> None:
    bench = Bench()
    bench.lend()
    assert C in bench.process.owner.refs.records
    stored = Stored(NODE, 1, Place(1, 64, 64, 4096, True), b"", (9,))
    bench.say(MAKER, ReportItems(S, 0, 0, pack((stored,), [])))
    assert bench.process.owner.holds_back(S, 0)
