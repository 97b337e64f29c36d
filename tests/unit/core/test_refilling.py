"""Items of streams that were lost come with a run of the stream, and nothing else does."""

from __future__ import annotations

from tests.unit.core.names import NODE, OTHER_WORKER, WORKER, result, spec, stream_spec, task, those
from tests.unit.core.rebuild_bench import (
    FAR,
    FARTHER,
    LEASE,
    RebuildBench,
    again,
    entries,
    far,
    opened,
    place,
)
from zgen.core.cancel_words import CancelRequested
from zgen.core.effects import Effect, ItemsTaken, Report, Send
from zgen.core.events import TakeItems
from zgen.core.store_effects import ValueInstead, ViewOpened
from zgen.ids import ObjectId, item_ids
from zgen.limits import LINE_TICK_NS, SECOND
from zgen.wire.lease import LeaseGranted, ProcessDown
from zgen.wire.session import Address
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems
from zgen.wire.task import (
    DYNAMIC,
    NOTHING,
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    ArgumentsLost,
)
from zgen.wire.value import (
    NONE,
    REASON_NO_RETRIES,
    REASON_SPENT,
    Fault,
    FaultKind,
    Parcel,
    Stored,
    Value,
    refs_of,
)

S = task("s")
ERROR = Parcel(b"error", (), True)


def item(position: int) -> ObjectId:
    return item_ids(S, position, 1)[0]


def take(bench: RebuildBench, count: int) -> list[ObjectId]:
    names: list[ObjectId] = []
    for _ in range(count):
        (taken,) = those(bench.step(TakeItems(S, 1)), ItemsTaken)
        assert isinstance(taken, ItemsTaken)
        names += taken.objects
    return names


def ended_stream(taken: int = 3, retries: int = 3) -> RebuildBench:
    """Three large items on one node and a small one; so many of them were taken."""
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=retries))
    bench.items("s", 0, far(1), far(2), b"small", far(3))
    take(bench, taken)
    bench.over("s", 4)
    return bench


def test_items_that_lay_on_one_node_come_with_one_run_taken_or_not() -> None:
    bench = ended_stream(taken=1)
    assert again(bench.lose(item(0), far(1))) == [("s", 1, (1, 2, 4))]
    bench.items("s", 0, far(11, FARTHER), far(12, FARTHER), NONE, far(13, FARTHER), attempt=1)
    bench.over("s", 4, attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER)
    take(bench, 3)
    there = [bench.value(item(position)) for position in range(4)]
    assert there == [far(11, FARTHER), far(12, FARTHER), b"small", far(13, FARTHER)]
    assert len(opened(bench.held(far(11, FARTHER)))) == 1


def test_a_stream_whose_handle_is_long_gone_is_run_for_the_items_that_are_held() -> None:
    bench = ended_stream(taken=4)
    bench.drop(item(1), streams=(S,))
    assert bench.owner.streams.streams == {}
    assert again(bench.lose(item(0), far(1))) == [("s", 1, (1, 4))]
    bench.items("s", 0, far(11, FARTHER), NONE, NONE, attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER), "as soon as it comes"
    bench.items("s", 3, far(13, FARTHER), attempt=1)
    bench.over("s", 4, attempt=1)
    bench.held(far(11, FARTHER))
    bench.drop(*[item(position) for position in (0, 2, 3)])
    bench.drop_views(far(11, FARTHER))
    assert bench.is_empty()


def test_nothing_is_kept_of_a_stream_when_nobody_can_want_it() -> None:
    bench = ended_stream(taken=1)
    bench.drop(item(0), streams=(S,))
    assert bench.is_empty()
    bench = ended_stream(taken=4)
    bench.drop(*[item(position) for position in range(4)])
    assert bench.owner.pins.lineage.entries == {}
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    bench.items("s", 0, far(1))
    take(bench, 1)
    bench.drop(item(0), streams=(S,))
    bench.over("s", 4)
    assert bench.is_empty()


def test_items_that_nobody_wants_any_more_are_not_stored_again() -> None:
    bench = ended_stream(taken=4)
    bench.submit(spec("b"))
    bench.owner.placement.leases.pools[spec("b").shape].depth = 1
    bench.lose(item(0), far(1))
    bench.drop(*[item(position) for position in range(4)], streams=(S,))
    assert again(bench.ended("b", b"x")) == [("s", 1, (1, 2, 4))]
    bench.items("s", 0, far(11), attempt=1)
    bench.over("s", 1, attempt=1)
    assert bench.owner.pins.lineage.entries == {}
    assert NOTHING > 1 << 31


def test_a_worker_that_dies_under_the_run_costs_another_one() -> None:
    bench = ended_stream(taken=4)
    bench.lose(item(0), far(1))
    bench.items("s", 0, far(11, FARTHER), attempt=1)
    bench.say(NODE, ProcessDown(WORKER, 1, 42, -1, 9, "", LEASE, 2))
    bench.quiet()
    bench.meet("worker", 2)
    entry = bench.owner.tasks.entries[S]
    assert entry.attempt == 2
    assert bench.value(item(0)) == far(11, FARTHER)
    assert bench.value(item(1)) is None


def mismatch(how: str, got: int) -> Fault:
    return Fault(FaultKind.REPLAY_MISMATCH, "s", how, expected=4, got=got)


def warnings(effects: list[Effect]) -> list[str]:
    return [each.text for each in effects if isinstance(each, Report)]


SHORT = mismatch("yielded 3 items instead of 4", 3)
LONG = mismatch("yielded 5 items instead of 4", 5)


def test_a_replay_that_ends_early_fails_what_was_lost() -> None:
    for error, kind in (((), 0), ((ERROR,), OUTCOME_ERROR)):
        bench = ended_stream(taken=4)
        bench.lose(item(3), far(3))
        bench.items("s", 0, far(11, FARTHER), far(12, FARTHER), NONE, attempt=1)
        done = bench.over("s", 3, *error, attempt=1, kind=kind)
        assert opened(done) == [ValueInstead(1, SHORT)]
        assert [bench.value(item(position)) for position in (0, 1, 3)] == [SHORT] * 3
        assert bench.value(item(2)) == b"small", "it was never lost"
        assert len(warnings(done)) == 1


def test_a_replay_that_goes_on_or_raises_where_it_had_not_takes_back_what_came() -> None:
    for more, error, kind, fault in (
        ((NONE,), (), 0, LONG),
        ((), (ERROR,), OUTCOME_ERROR, mismatch("raised behind its 4 items", 4)),
    ):
        bench = ended_stream(taken=4)
        bench.lose(item(3), far(3))
        values = (far(11, FARTHER), far(12, FARTHER), NONE, far(13, FARTHER), *more)
        bench.items("s", 0, *values, attempt=1)
        (answer,) = opened(bench.held(far(13, FARTHER)))
        assert answer.value == far(13, FARTHER), "it is read as soon as it comes"
        done = bench.over("s", 4 + len(more), *error, attempt=1, kind=kind)
        assert [bench.value(item(position)) for position in (0, 1, 3)] == [fault] * 3
        (story,) = warnings(done)
        assert fault.reason in story
        assert opened(bench.open(item(3))) == [ValueInstead(2, fault)]
        bench.drop_views(far(13, FARTHER))
        bench.drop(*[item(position) for position in range(4)], streams=(S,))
        assert bench.is_empty()


def overrun() -> RebuildBench:
    """A replay that has yielded one item more than the first time, and was told to stop."""
    bench = ended_stream(taken=4)
    bench.lose(item(3), far(3))
    values = (far(11, FARTHER), far(12, FARTHER), NONE, far(13, FARTHER))
    stop = Send(WORKER, CloseStream(S, 1, True))
    assert stop not in bench.items("s", 0, *values, attempt=1)
    assert stop in bench.items("s", 4, NONE, attempt=1)
    assert stop not in bench.items("s", 5, NONE, attempt=1), "once is enough"
    return bench


def test_a_replay_that_goes_on_behind_the_end_is_stopped_and_differs() -> None:
    for count, kind in ((6, OUTCOME_CANCELLED), (9, OUTCOME_CANCELLED), (7, 0)):
        bench = overrun()
        bench.over("s", count, attempt=1, kind=kind)
        fault = mismatch(f"yielded {count} items instead of 4", count)
        assert [bench.value(item(position)) for position in (0, 1, 3)] == [fault] * 3
        assert S not in bench.owner.tasks.entries


def test_a_replay_that_goes_on_for_nobody_leaves_nothing() -> None:
    bench = overrun()
    bench.drop(*[item(position) for position in range(4)], streams=(S,))
    bench.not_held(far(13, FARTHER))
    bench.over("s", 6, attempt=1, kind=OUTCOME_CANCELLED)
    assert bench.is_empty()


def test_a_replay_that_was_stopped_ends_behind_what_it_reported() -> None:
    bench = overrun()
    bench.over("s", 5, attempt=1, kind=OUTCOME_CANCELLED)
    assert bench.process.session.counts["end after 5 items, 6 were reported"] == 1
    assert S in bench.owner.tasks.entries


def test_a_replay_that_does_not_raise_where_it_had_takes_back_what_came() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    bench.items("s", 0, far(1))
    take(bench, 1)
    bench.over("s", 1, ERROR, kind=OUTCOME_ERROR)
    bench.lose(item(0), far(1))
    bench.items("s", 0, far(11, FARTHER), attempt=1)
    bench.over("s", 1, attempt=1)
    value = bench.value(item(0))
    assert isinstance(value, Fault)
    assert value.reason == "did not raise behind its 1 items"


def test_items_that_nobody_has_taken_are_taken_back_too() -> None:
    bench = ended_stream(taken=1)
    bench.lose(item(0), far(1))
    values = (far(11, FARTHER), far(12, FARTHER), NONE, far(13, FARTHER), NONE)
    bench.items("s", 0, *values, attempt=1)
    bench.over("s", 5, attempt=1)
    assert take(bench, 3) == [item(1), item(2), item(3)]
    there = [bench.value(item(position)) for position in range(4)]
    assert there == [LONG, LONG, b"small", LONG]
    assert opened(bench.not_held(far(11, FARTHER))) == [ValueInstead(1, LONG)]
    bench.drop(*[item(position) for position in range(4)], streams=(S,))
    assert bench.is_empty()


def test_a_lost_item_must_come_in_the_kind_in_which_it_was() -> None:
    whole = Stored(FARTHER, far(11, FARTHER).region, place(11), b"", (9,))
    for odd in (b"small", whole):
        bench = ended_stream(taken=1)
        bench.lose(item(0), far(1))
        values: tuple[Value, ...] = (odd, far(12, FARTHER), NONE, odd)
        if odd is whole:
            values = (odd, far(12, FARTHER), NONE, far(13, FARTHER))
        bench.items("s", 0, *values, attempt=1)
        assert bench.value(item(0)) is None
        done = bench.over("s", 4, attempt=1)
        assert opened(done) == [ValueInstead(1, mismatch("its item 0 was of another kind", 4))]
    bench = ended_stream(taken=1)
    bench.lose(item(0), far(1))
    bench.items("s", 0, far(11, FARTHER), b"small", NONE, far(13, FARTHER), attempt=1)
    (answer,) = opened(bench.held(far(11, FARTHER)))
    assert isinstance(answer, ViewOpened)
    bench.over("s", 4, attempt=1)
    assert bench.value(item(0)) == mismatch("its item 1 was of another kind", 4)


def test_a_further_attempt_of_a_replay_is_looked_at_anew() -> None:
    bench = ended_stream(taken=4)
    bench.lose(item(0), far(1))
    bench.items("s", 0, b"small", attempt=1)
    bench.say(NODE, ProcessDown(WORKER, 1, 42, -1, 9, "", LEASE, 2))
    bench.quiet()
    bench.meet("other worker")
    bench.advance(SECOND)
    lease = next(iter(bench.owner.placement.leases.pools[stream_spec("s").shape].open))
    bench.say(NODE, LeaseGranted(lease, Address(OTHER_WORKER, 1, "ipc://w"), 43))
    values = (far(11, FARTHER), far(12, FARTHER), NONE, far(13, FARTHER))
    bench.say(OTHER_WORKER, ReportItems(S, 2, 0, entries(*values)))
    assert warnings(bench.say(OTHER_WORKER, ReportEnd(S, 2, 4, 0, 0, ()))) == []
    assert bench.value(item(0)) == far(11, FARTHER)


def test_a_task_that_was_given_what_is_taken_back_fails_for_it() -> None:
    bench = ended_stream(taken=4)
    bench.lose(item(3), far(3))
    bench.submit(spec("taker", slots=(item(3),)))
    bench.owner.placement.leases.pools[spec("taker").shape].depth = 2
    values = (far(11, FARTHER), far(12, FARTHER), NONE, far(13, FARTHER), NONE)
    done = bench.items("s", 0, *values, attempt=1)
    assert [name for name, *_ in again(done + bench.advance(LINE_TICK_NS))] == ["taker"]
    bench.over("s", 5, attempt=1)
    lost = ArgumentsLost(LEASE, task("taker"), 0, ((0, far(13, FARTHER).region),), "it went")
    bench.say(WORKER, lost)
    value = bench.value(result("taker"))
    assert isinstance(value, Fault)
    assert value.cause == LONG


def test_a_replay_that_raises_what_may_be_retried_is_run_again() -> None:
    bench = ended_stream(taken=4)
    bench.lose(item(3), far(3))
    bench.items("s", 0, NONE, attempt=1)
    bench.over("s", 1, ERROR, attempt=1, kind=OUTCOME_RETRY)
    assert bench.owner.tasks.entries[S].attempt == 2


def test_a_replay_that_raises_for_being_cancelled_does_not_differ() -> None:
    bench = ended_stream(taken=4)
    bench.lose(item(0), far(1))
    bench.open(item(3))
    bench.items("s", 0, far(21), attempt=1)
    bench.step(CancelRequested(S, False, False))
    done = bench.over("s", 1, ERROR, attempt=1, kind=OUTCOME_ERROR)
    (answer,) = [each.value for each in opened(done)]
    assert (answer.kind, warnings(done)) == (FaultKind.CANCELLED, [])
    assert bench.value(item(0)) == far(21), "what came before that is right"


def test_what_a_replay_says_is_checked() -> None:
    bench = ended_stream(taken=4)
    bench.lose(item(0), far(1))
    bench.meet("other worker")
    bench.say(OTHER_WORKER, ReportItems(S, 1, 0, entries(far(21))))
    bench.items("s", 0, far(22), attempt=0)
    bench.items("s", 1, far(23), attempt=1)
    bench.over("s", 4, attempt=1)
    assert bench.value(item(0)) is None
    counts = bench.process.session.counts
    assert counts["item 1 of a replay, expected 0"] == 1
    assert counts["end after 4 items, 0 were reported"] == 1


# -- while it runs ---------------------------------------------------------------------------------
def running_stream(retries: int = 3) -> RebuildBench:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=retries))
    bench.items("s", 0, far(1), b"small", far(2))
    take(bench, 1)
    bench.lose(item(0), far(1))
    return bench


def test_an_item_lost_while_its_stream_runs_comes_with_a_run_after_it() -> None:
    bench = running_stream()
    assert bench.value(item(0)) is None
    bench.items("s", 3, b"more")
    assert again(bench.over("s", 4)) == [("s", 1, (1, 3))]
    bench.items("s", 0, far(11, FARTHER), NONE, far(12, FARTHER), NONE, attempt=1)
    bench.over("s", 4, attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER)
    assert take(bench, 3) == [item(1), item(2), item(3)]
    assert bench.value(item(2)) == far(12, FARTHER)


def test_a_retry_of_the_stream_fills_the_item_in_on_its_way() -> None:
    bench = running_stream()
    bench.over("s", 3, ERROR, kind=OUTCOME_RETRY)
    bench.advance(bench.process.next_deadline_ns - bench.now_ns)  # type: ignore[operator]
    bench.items("s", 7, far(13, FARTHER), attempt=1)
    assert bench.value(item(0)) is None, "it does not follow what this attempt reported"
    bench.items("s", 0, far(11, FARTHER), b"small", far(12, FARTHER), attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER)
    bench.over("s", 3, attempt=1)
    assert S not in bench.owner.tasks.entries
    assert bench.owner.pins.filling == {}


def test_a_retry_of_what_had_not_ended_may_give_another_kind() -> None:
    bench = running_stream()
    bench.over("s", 3, ERROR, kind=OUTCOME_RETRY)
    bench.advance(bench.process.next_deadline_ns - bench.now_ns)  # type: ignore[operator]
    bench.items("s", 0, b"tiny", attempt=1)
    assert bench.value(item(0)) == b"tiny"


def test_an_item_lost_while_its_last_attempt_runs_is_lost() -> None:
    bench = running_stream(retries=1)
    bench.over("s", 3, ERROR, kind=OUTCOME_RETRY)
    bench.advance(bench.process.next_deadline_ns - bench.now_ns)  # type: ignore[operator]
    (answer,) = opened(bench.over("s", 0, attempt=1))
    assert answer.value.why in (REASON_SPENT, REASON_NO_RETRIES)


def test_an_item_of_a_stream_that_fails_is_not_made_again() -> None:
    bench = running_stream(retries=1)
    bench.over("s", 3, ERROR, kind=OUTCOME_RETRY)
    bench.advance(bench.process.next_deadline_ns - bench.now_ns)  # type: ignore[operator]
    bench.say(NODE, ProcessDown(WORKER, 1, 42, -1, 9, "", LEASE, 2))
    (answer,) = opened(bench.quiet())
    assert answer.value.kind is FaultKind.WORKER_CRASHED
    (taken,) = those(bench.step(TakeItems(S, 9)), ItemsTaken)
    assert isinstance(taken, ItemsTaken)


def test_large_items_of_a_stream_that_failed_are_taken_as_they_are() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s"))
    bench.items("s", 0, far(1))
    bench.say(NODE, ProcessDown(WORKER, 1, 42, -1, 9, "", LEASE, 1))
    bench.quiet()
    take(bench, 1)
    (answer,) = opened(bench.lose(item(0), far(1)))
    assert answer.value.why == REASON_NO_RETRIES


def moved(bench: RebuildBench, started: int = -1) -> None:
    """Let the worker die, alone or with its node, and another one begin the next attempt."""
    bench.say(NODE, ProcessDown(WORKER, 1, 0, -1, 9, "its node is gone", LEASE, started))
    bench.quiet()
    bench.meet("other worker")
    bench.advance(SECOND)
    lease = next(iter(bench.owner.placement.leases.pools[stream_spec("s").shape].open))
    bench.say(NODE, LeaseGranted(lease, Address(OTHER_WORKER, 1, "ipc://w"), 43))


def replayed(bench: RebuildBench, first: int, *values: Value) -> None:
    bench.say(OTHER_WORKER, ReportItems(S, 1, first, entries(*values)))


def test_a_replay_after_the_death_of_a_node_gives_what_lay_there_anew() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=1))
    bench.items("s", 0, far(1), far(2), b"small", far(3), far(4), b"small", far(5))
    take(bench, 2)
    bench.open(item(1))
    bench.held(far(2))
    moved(bench)
    first = (far(11, FARTHER), far(12, FARTHER), b"small", far(13, FARTHER), far(4, FAR))
    replayed(bench, 0, far(11, FARTHER), far(12, FARTHER), b"small", far(13, FARTHER), far(14))
    replayed(bench, 5, b"small", far(15, FARTHER), far(16, FARTHER))
    bench.say(OTHER_WORKER, ReportEnd(S, 1, 8, 0, 0, ()))
    assert bench.owner.pins.filling == {}
    take(bench, 6)
    there = [bench.value(item(position)) for position in range(8)]
    seen = [first[0], far(2), *first[2:], b"small", far(15, FARTHER), far(16, FARTHER)]
    assert there == seen, "what can be read here stays as it is"
    assert len(opened(bench.open(item(0)))) == 0
    bench.held(far(11, FARTHER))
    bench.drop(*[item(position) for position in range(8)], streams=(S,))
    bench.drop_views(far(2))
    bench.drop_views(far(11, FARTHER))
    assert bench.is_empty()


def test_a_replay_after_the_death_of_a_worker_alone_changes_nothing() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=1))
    bench.items("s", 0, far(1), far(2))
    take(bench, 1)
    moved(bench, started=1)
    replayed(bench, 0, far(11, FARTHER), far(12, FARTHER))
    take(bench, 1)
    assert [bench.value(item(position)) for position in range(2)] == [far(1), far(2)]


def test_a_stream_of_small_items_has_nothing_to_give_anew() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=1))
    bench.items("s", 0, b"small")
    moved(bench)
    assert bench.owner.pins.filling == {}


def test_a_stream_that_fails_after_the_death_of_its_node_is_forgotten() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=1))
    bench.items("s", 0, far(1))
    moved(bench)
    bench.say(NODE, ProcessDown(OTHER_WORKER, 1, 0, -1, 9, "its node is gone", LEASE, -1))
    bench.quiet()
    bench.drop(streams=(S,))
    assert bench.is_empty()


# -- gathered --------------------------------------------------------------------------------------
def test_items_of_a_gathered_stream_are_made_again() -> None:
    bench = RebuildBench()
    bench.submit(spec("s", DYNAMIC, retries=3))
    bench.items("s", 0, far(1), b"small")
    bench.over("s", 2)
    value = bench.value(result("s"))
    assert value is not None
    assert [ref.object for ref in refs_of(value)] == [item(0), item(1)]
    assert again(bench.lose(item(0), far(1))) == [("s", 1, (1,))]
    bench.items("s", 0, far(11, FARTHER), NONE, attempt=1)
    bench.over("s", 2, attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER)
    bench.held(far(11, FARTHER))
    bench.drop_views(far(11, FARTHER))
    bench.drop(result("s"))
    assert bench.is_empty()
    assert isinstance(far(1, FAR), Stored)


def test_an_item_that_is_lost_while_its_run_waits_comes_with_it() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    bench.items("s", 0, far(1), far(2, FARTHER))
    take(bench, 2)
    bench.over("s", 2)
    bench.submit(spec("b"))
    bench.owner.placement.leases.pools[spec("b").shape].depth = 1
    bench.lose(item(0), far(1))
    bench.lose(item(1), far(2, FARTHER))
    assert again(bench.ended("b", b"x")) == [("s", 1, (1, 2))]


def test_a_stream_that_failed_twice_over_is_forgotten_with_its_items() -> None:
    bench = ended_stream(taken=4, retries=1)
    bench.lose(item(0), far(1))
    bench.items("s", 0, NONE, attempt=1)
    bench.over("s", 1, attempt=1)
    bench.drop(*[item(position) for position in range(4)], streams=(S,))
    assert bench.is_empty()
