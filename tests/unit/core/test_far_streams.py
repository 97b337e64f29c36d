"""Streams of other processes that one reads by a loan: claimed, taken, passed on, let go."""

from __future__ import annotations

import pytest

from tests.unit.core.names import FUNCTION, NODE, address, lease, peer, pushed, task
from tests.unit.core.names import result as named_result
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from tests.unit.core.test_borrowing import die, nested, said
from zgen.core.cancel_words import CloseRequested
from zgen.core.effects import (
    Effect,
    ItemsTaken,
    ObjectsReady,
    OpenConnection,
    Send,
    StreamAdvanced,
)
from zgen.core.events import Dropped, PutObject, RefCompletion, TakeItems, WantValues
from zgen.core.handover_words import HoldStream, LendStream, StreamHeld, StreamLent, StreamRefusal
from zgen.ids import (
    ObjectId,
    StreamId,
    completion_object,
    derive_loan_id,
    item_ids,
    ticket_object,
)
from zgen.limits import LOAN_HOPS_COUNT_MAX, LOAN_ROOM_COUNT
from zgen.wire.handover import (
    CLOSED,
    GIVEN_BACK,
    PASSED_ON,
    LeaveStream,
    StreamItems,
    StreamRefused,
    TakeStream,
)
from zgen.wire.object import ObjectIs, ObjectsGone, ReturnBorrows, WantObjects, WatchProcess
from zgen.wire.task import PushTasks
from zgen.wire.value import Fault, FaultKind, NestedRef, Parcel, pack

S, X = task("s"), named_result("x")
KEY = derive_loan_id(S, 1, 0)
TICKET = ticket_object(S, 1)
C = completion_object(S)
ROOM = LOAN_ROOM_COUNT


def carried(owner: str) -> Parcel:
    """Return a value with a generator in it."""
    return nested(*[NestedRef(name, address(owner)) for name in (TICKET, C)])


class Bench:
    """A worker that was given the driver's stream "s"."""

    def __init__(self, upto: int = 0, hop: int = 0, per_yield: int = 1) -> None:
        self.per_yield = per_yield
        self.bench = worker_bench()
        entry = pack((carried("driver"),), [])[0]
        plain = pushed("t")
        task_ = type(plain)(plain.task, 0, FUNCTION, "t", 1, entry, (), b"")
        self.bench.say(DRIVER, PushTasks(lease("l"), 0, (task_,)))
        self.key = derive_loan_id(S, 1, hop)
        self.claimed = self.hold(upto, hop)

    def hold(self, upto: int = 0, hop: int = 0) -> list[Effect]:
        how = ("s", address("driver"), C, (), "a task", self.per_yield)
        event = HoldStream(S, 1, hop, upto, *how)
        return self.bench.step(event)

    def items(
        self, first: int, count: int, *, is_end: bool = False, claim: int = 1, hop: int = 0
    ) -> list[Effect]:
        """Let items come, and their values behind."""
        message = StreamItems(S, 1, hop, claim, first, count, is_end)
        done = self.bench.say(DRIVER, message)
        for name in item_ids(S, first, count):
            self.bench.say(DRIVER, ObjectIs(name, pack((b"v",), [])))
        return done

    def take(self, key: StreamId = KEY) -> tuple[list[ObjectId], bool]:
        taken = [effect for effect in self.step(TakeItems(key, 64)) if type(effect) is ItemsTaken]
        (answer,) = taken
        return list(answer.objects), answer.ended

    def refusal(self, key: StreamId = KEY) -> tuple[FaultKind, str]:
        (refusal,) = self.step(TakeItems(key, 64))
        assert isinstance(refusal, StreamRefusal)
        return refusal.fault.kind, refusal.fault.reason

    def lend(self, *, held: bool = True) -> StreamLent:
        (lent,) = self.step(LendStream(KEY))
        assert isinstance(lent, StreamLent)
        if held:
            self.put = self.step(PutObject(X, carried("driver")))
        return lent

    def step(self, event: object) -> list[Effect]:
        return self.bench.step(event)  # type: ignore[arg-type]  # one of those

    @property
    def names(self) -> list[ObjectId]:
        """Objects that code of this process refers to."""
        records = self.bench.process.owner.refs.records
        return [name for name, record in records.items() if record.local]


def left(effects: list[Effect]) -> list[LeaveStream]:
    return [send.message for send in said(effects, LeaveStream)]


def test_who_unpickles_a_generator_claims_its_stream() -> None:
    bench = Bench(upto=3)
    claim = TakeStream(S, 1, 0, 3, ROOM, 1, "a task", ())
    watch = Send(NODE, WatchProcess(DRIVER, 1))
    assert bench.claimed == [StreamHeld(KEY), watch, Send(DRIVER, claim)]
    assert bench.take() == ([], False)


def test_each_item_is_given_out_once_and_told() -> None:
    bench = Bench()
    assert StreamAdvanced(KEY) in bench.items(0, 2)
    first, second = item_ids(S, 0, 2)
    done = bench.step(TakeItems(KEY, 64))
    assert done == [ItemsTaken(KEY, (first,), False), Send(DRIVER, TakeStream(S, 1, 0, 1, ROOM, 1))]
    assert bench.take() == ([second], False)
    assert bench.take() == ([], False)
    assert bench.bench.process.owner.refs.value_of(second) == b"v"
    bench.items(2, 1, is_end=True)
    assert bench.take() == (list(item_ids(S, 2, 1)), True)
    assert bench.take() == ([], True)


def test_where_others_had_gone_on_it_goes_on_behind_them() -> None:
    bench = Bench()
    bench.items(4, 1)
    assert bench.take() == (list(item_ids(S, 4, 1)), False)


def test_items_that_leave_a_gap_are_not_believed() -> None:
    bench = Bench()
    bench.items(0, 1)
    before = sum(bench.bench.counts.values())
    bench.items(2, 1)
    bench.items(1, 0, is_end=True)
    bench.items(1, 1)
    assert sum(bench.bench.counts.values()) == before + 2
    assert bench.take()[0] == list(item_ids(S, 0, 1))


def test_a_generator_that_is_dropped_gives_the_stream_back() -> None:
    bench = Bench()
    bench.items(0, 3)
    (name,), _ = bench.take()
    done = bench.step(Dropped((), (KEY,)))
    assert left(done) == [LeaveStream(S, 1, 0, 1, GIVEN_BACK)]
    given = [name for send in said(done, ReturnBorrows) for name, _ in send.message.objects]
    assert given == list(item_ids(S, 1, 2))
    assert bench.names == [name]
    late = bench.items(3, 1)
    assert said(late, ReturnBorrows)[0].message.objects == ((item_ids(S, 3, 1)[0], 1),)
    assert bench.names == [name]


def test_two_generators_of_one_loan_are_one() -> None:
    bench = Bench()
    assert bench.hold() == [StreamHeld(KEY)]
    assert left(bench.step(Dropped((), (KEY,)))) == []
    assert left(bench.step(Dropped((), (KEY,)))) != []


def test_an_answer_to_an_earlier_claim_of_this_process_changes_nothing() -> None:
    bench = Bench()
    bench.step(Dropped((), (KEY,)))
    bench.hold()
    bench.items(7, 1, claim=1)
    bench.bench.say(DRIVER, StreamRefused(S, 1, 0, 1, "somebody reads it"))
    bench.items(0, 1, claim=2)
    assert bench.take() == (list(item_ids(S, 0, 1)), False)


def test_who_is_refused_is_told_who_reads() -> None:
    bench = Bench()
    refused = StreamRefused(S, 1, 0, 1, "somebody reads it")
    assert bench.bench.say(DRIVER, refused) == [StreamAdvanced(KEY)]
    assert bench.refusal() == (FaultKind.STREAM_LENT, "somebody reads it")
    (refusal,) = bench.step(LendStream(KEY))
    assert isinstance(refusal, StreamRefusal)
    assert bench.bench.say(DRIVER, refused) == []
    assert left(bench.step(Dropped((), (KEY,)))) == []
    assert bench.names == []


def test_who_passes_it_on_lets_go_of_it_when_the_value_is_held() -> None:
    bench = Bench()
    bench.items(0, 3)
    bench.take()
    lent = bench.lend()
    assert (lent.stream, lent.epoch, lent.hop, lent.upto) == (S, 1, 1, 1)
    assert (lent.ticket, lent.owner) == (TICKET, address("driver"))
    assert lent.chain == (peer("me"),)
    assert left(bench.put) == [LeaveStream(S, 1, 0, 1, PASSED_ON)]
    assert bench.refusal() == (FaultKind.STREAM_LENT, "this process has passed it on")
    assert TICKET not in bench.names
    assert left(bench.step(Dropped((), (KEY,)))) == []


def test_who_waits_for_an_item_is_told_that_it_was_passed_on() -> None:
    bench = Bench()
    assert bench.take() == ([], False)
    bench.lend()
    assert StreamAdvanced(KEY) in bench.put


def test_who_is_refused_while_it_reads_gives_out_nothing_more() -> None:
    bench = Bench()
    bench.items(0, 3)
    (name,), _ = bench.take()
    done = bench.bench.say(DRIVER, StreamRefused(S, 1, 0, 1, "it has gone back"))
    assert StreamAdvanced(KEY) in done
    assert left(done) == []
    given = [name for send in said(done, ReturnBorrows) for name, _ in send.message.objects]
    assert given == list(item_ids(S, 1, 2))
    assert bench.refusal() == (FaultKind.STREAM_LENT, "it has gone back")
    assert bench.names == [TICKET, C, name]


def test_a_reader_has_the_object_that_tells_of_the_end() -> None:
    bench = Bench()
    assert bench.step(RefCompletion(KEY)) == []
    assert bench.step(WantValues((C,))) == [Send(DRIVER, WantObjects((C,)))]
    done = bench.bench.say(DRIVER, ObjectIs(C, pack((b"total",), [])))
    assert done == [ObjectsReady((C,))]
    bench.step(Dropped((), (KEY,)))
    assert bench.bench.process.owner.refs.value_of(C) == b"total"
    assert bench.names == [C]


def test_who_has_passed_it_on_hears_of_the_end_too() -> None:
    bench = Bench()
    bench.lend()
    bench.step(RefCompletion(KEY))
    bench.step(Dropped((X,), (KEY,)))
    assert bench.names == [C]


def test_what_was_returned_comes_behind_the_last_item() -> None:
    bench = Bench()
    record = bench.bench.process.owner.streams.streams[KEY]
    bench.bench.say(DRIVER, StreamItems(S, 1, 0, 1, 0, 1, True, True))
    assert record.returned
    assert bench.step(WantValues((C,))) == []
    bench.bench.say(DRIVER, ObjectIs(C, pack((b"total",), [])))
    assert bench.take() == (list(item_ids(S, 0, 1)), True)
    assert bench.bench.process.owner.refs.value_of(C) == b"total"


def test_the_end_of_a_stream_whose_owner_died_is_that() -> None:
    bench = Bench()
    bench.step(RefCompletion(KEY))
    ready = [e.objects for e in die(bench.bench, DRIVER) if type(e) is ObjectsReady]
    assert C in ready[0]
    fault = bench.bench.process.owner.refs.value_of(C)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.OWNER_DIED


@pytest.mark.parametrize(
    "message",
    [
        StreamItems(S, 1, 0, 1, 0, 1 << 40, False),
        StreamItems(S, 1, 0, 1, 0, -1, False),
        StreamItems(S, 1, 0, 1, 1 << 40, 1, False),
        StreamItems(S, 1, 0, 1, -1, 1, False),
        StreamItems(S, -1, 0, 1, 0, 1, False),
        StreamItems(S, 1, -1, 1, 0, 1, False),
        StreamItems(S, 1, LOAN_HOPS_COUNT_MAX + 1, 1, 0, 1, False),
        StreamRefused(S, 1 << 63, 0, 1, "no"),
        StreamRefused(S, 1, -1, 1, "no"),
    ],
)
def test_words_that_no_owner_says_are_counted_and_change_nothing(message: object) -> None:
    bench = Bench()
    before = sum(bench.bench.counts.values())
    assert bench.bench.say(DRIVER, message) == []
    assert sum(bench.bench.counts.values()) == before + 1
    bench.items(0, 1)
    assert bench.take()[0] == list(item_ids(S, 0, 1))


def test_what_was_pickled_for_nothing_is_read_on() -> None:
    bench = Bench()
    bench.items(0, 2)
    bench.lend(held=False)
    assert bench.lend(held=False).hop == 1
    assert bench.take()[0] == list(item_ids(S, 0, 1))
    bench.lend(held=False)
    assert left(bench.step(Dropped((), (KEY,)))) == [LeaveStream(S, 1, 0, 1, GIVEN_BACK)]
    assert TICKET not in bench.names


def test_it_may_come_back_to_who_had_it() -> None:
    bench = Bench()
    bench.items(0, 1)
    bench.take()
    bench.lend()
    bench.step(Dropped((), (KEY,)))
    key = derive_loan_id(S, 1, 2)
    assert bench.hold(1, 2)[0] == StreamHeld(key)
    bench.items(1, 1, claim=2, hop=2)
    assert bench.take(key) == (list(item_ids(S, 1, 1)), False)


def test_an_item_may_come_whose_value_is_here() -> None:
    bench = Bench()
    bench.items(0, 1)
    bench.take()
    bench.hold(0, 2)
    bench.items(0, 1, claim=2, hop=2)
    assert bench.take(derive_loan_id(S, 1, 2)) == (list(item_ids(S, 0, 1)), False)


def test_it_is_not_passed_on_for_ever() -> None:
    bench = Bench(hop=LOAN_HOPS_COUNT_MAX)
    (refusal,) = bench.step(LendStream(bench.key))
    assert isinstance(refusal, StreamRefusal)
    assert "too often" in refusal.fault.reason


def test_a_stream_that_is_dropped_in_the_step_that_passes_it_on_is_forgotten() -> None:
    bench = Bench()
    bench.lend(held=False)
    bench.bench.process.owner.borrowing.accepted.append(derive_loan_id(S, 9, 9))
    bench.lend()
    assert left(bench.put) == [LeaveStream(S, 1, 0, 0, PASSED_ON)]


def test_the_holder_may_close_the_generator() -> None:
    bench = Bench()
    bench.items(0, 2)
    bench.take()
    bench.lend(held=False)
    done = bench.step(CloseRequested(KEY))
    assert left(done) == [LeaveStream(S, 1, 0, 1, CLOSED)]
    assert bench.take() == ([], True)
    assert left(bench.step(CloseRequested(KEY))) == []
    assert left(bench.step(Dropped((), (KEY,)))) == []


def test_the_death_of_the_owner_is_told_behind_what_it_sent() -> None:
    bench = Bench()
    bench.items(0, 1)
    assert StreamAdvanced(KEY) in die(bench.bench, DRIVER)
    assert bench.take() == (list(item_ids(S, 0, 1)), False)
    assert bench.refusal() == (FaultKind.OWNER_DIED, "it was reading on")
    bench.step(Dropped((), (KEY,)))


def test_what_an_owner_had_sent_to_its_end_is_read_out_after_its_death() -> None:
    bench = Bench()
    bench.items(0, 1, is_end=True)
    assert StreamAdvanced(KEY) not in die(bench.bench, DRIVER)
    assert bench.take() == (list(item_ids(S, 0, 1)), True)


def test_the_death_of_another_process_is_none_of_its_business() -> None:
    bench = Bench()
    bench.bench.meet("other")
    die(bench.bench, peer("other"))
    assert bench.take() == ([], False)


def test_who_unpickles_it_after_its_owner_died_is_told_so() -> None:
    bench = Bench()
    die(bench.bench, DRIVER)
    assert bench.hold(0, 3) == [StreamHeld(derive_loan_id(S, 1, 3))]
    assert bench.refusal(derive_loan_id(S, 1, 3))[0] is FaultKind.OWNER_DIED


def test_a_ticket_that_its_owner_does_not_know_is_told_of_by_the_refusal() -> None:
    bench = Bench()
    bench.bench.say(DRIVER, ObjectsGone((TICKET,), "gone"))
    assert said(bench.hold(0, 3), TakeStream)


def test_nobody_reads_on_when_the_node_dies() -> None:
    driver = ProcessBench()
    driver.meet("worker")
    worker = address("worker")
    value = carried("worker")
    driver.say(peer("worker"), ObjectIs(X, pack((value,), [])))
    driver.step(PutObject(X, value))
    driver.step(HoldStream(S, 1, 0, 0, "s", worker, C))
    assert StreamAdvanced(KEY) in driver.goodbye(NODE)
    (refusal,) = driver.step(TakeItems(KEY, 1))
    assert isinstance(refusal, StreamRefusal)
    assert refusal.fault.kind is FaultKind.NODE_DIED


def test_an_owner_that_was_never_met_is_dialled() -> None:
    driver = ProcessBench()
    driver.meet("other")
    value = carried("far")
    done = driver.step(PutObject(X, value))
    done += driver.step(HoldStream(S, 1, 0, 0, "s", address("far"), C))
    assert [effect.peer for effect in done if isinstance(effect, OpenConnection)] == [peer("far")]
