"""What a generator returns is its completion, and lives as that or as its handle does."""

from __future__ import annotations

import pytest

from tests.unit.core.bench import OwnerBench
from tests.unit.core.names import ME, WORKER, pushed, result, stream_spec, task
from tests.unit.core.rebuild_bench import FARTHER, RebuildBench, again, entries, far
from tests.unit.core.test_executor import Worker
from zgen.core.effects import Send
from zgen.core.events import TakeItems
from zgen.exceptions import RemoteProtocolError
from zgen.ids import COMPLETION_INDEX, ObjectId
from zgen.limits import SECOND
from zgen.wire.schema import Entry
from zgen.wire.session import Address
from zgen.wire.stream import ReportEnd
from zgen.wire.task import DYNAMIC, OUTCOME_CANCELLED, OUTCOME_RETRY, STREAMING
from zgen.wire.value import NONE, Fault, FaultKind, NestedRef, Parcel, Value

S = task("s")
C = result("s", COMPLETION_INDEX)
ERROR = Parcel(b"error", (), True)
PARCEL = Parcel(b"data", (b"buffer",))


def completion(bench: OwnerBench | RebuildBench, name: ObjectId = C) -> Value | None:
    return bench.owner.refs.value_of(name)


# -- at the worker ---------------------------------------------------------------------------------
def test_a_worker_reports_what_its_generator_returned_with_the_end() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING))
    worker.yields("s", b"item")
    said = worker.ended("s", b"returned")
    assert [each.message for each in said if isinstance(each, Send)] == [
        ReportEnd(S, 0, 1, 0, 0, (b"returned",))
    ]


def test_references_in_what_was_returned_go_to_its_owner() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING))
    mine = NestedRef(result("x"), Address(WORKER, 1, "ipc://worker"))
    worker.refs.create(mine.object, b"x")
    (sent,) = worker.ended("s", Parcel(b"data", (), False, (mine,)))
    assert isinstance(sent, Send)
    assert (sent.peer, sent.refs, sent.gives) == (ME, (mine,), True)


# -- at the owner ----------------------------------------------------------------------------------
def test_a_small_value_is_the_completion_whenever_somebody_asks() -> None:
    bench = OwnerBench().running(stream_spec("s"))
    bench.ref_completion("s")
    bench.end("s", 0, b"returned")
    assert completion(bench) == b"returned"
    bench.drop(C)
    bench.ref_completion("s")
    assert completion(bench) == b"returned"
    bench.drop(C, streams=(S,))
    assert bench.owner.refs.records == {}


def test_a_generator_that_returns_nothing_completes_with_none() -> None:
    bench = OwnerBench().running(stream_spec("s"))
    bench.end("s", 0)
    bench.ref_completion("s")
    assert completion(bench) == NONE


@pytest.mark.parametrize("asked_first", [True, False])
def test_a_large_value_lives_as_long_as_the_handle_asked_for_or_not(asked_first: bool) -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    if asked_first:
        bench.owner.refs.create(C)
        bench.drop(C)
    bench.over("s", 0, far(1))
    assert completion(bench) == far(1)
    bench.owner.refs.add_local(C)
    bench.drop(C)
    assert completion(bench) == far(1), "the handle may ask again"
    bench.drop(streams=(S,))
    assert bench.is_empty()


def test_a_large_value_that_somebody_holds_outlives_the_handle() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    bench.owner.refs.create(C)
    bench.drop(streams=(S,))
    bench.over("s", 0, far(1))
    assert completion(bench) == far(1)
    bench.drop(C)
    assert bench.is_empty()


def test_what_is_returned_to_nobody_is_let_go() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    bench.drop(streams=(S,))
    bench.over("s", 0, far(1))
    assert bench.is_empty()


def test_what_an_old_attempt_returned_is_let_go() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    bench.over("s", 0, ERROR, kind=OUTCOME_RETRY)
    bench.over("s", 0, far(1))
    assert bench.process.store.regions.regions == {}
    bench.drop(streams=(S,))


def test_a_replay_that_is_shorter_returns_nothing() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    bench.items("s", 0, b"0", b"1")
    bench.over("s", 2, ERROR, kind=OUTCOME_RETRY)
    bench.owner.refs.create(C)
    bench.advance(SECOND)
    bench.items("s", 0, b"0", attempt=1)
    bench.over("s", 1, far(1), attempt=1)
    fault = completion(bench)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.REPLAY_MISMATCH
    assert bench.process.store.regions.regions == {}


def test_a_gathered_stream_has_no_use_for_it() -> None:
    bench = RebuildBench()
    spec = stream_spec("s", retries=3)
    spec.returns_count = DYNAMIC
    bench.submit(spec)
    bench.over("s", 0, far(1))
    assert bench.process.store.regions.regions == {}
    bench.drop(C)
    assert bench.is_empty()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (0, (b"one", b"two")),
        (0, entries(ERROR)),
        (1, (b"no error",)),
        (1, ()),
        (OUTCOME_CANCELLED, (b"returned",)),
    ],
)
def test_an_end_that_no_worker_would_say_is_refused(kind: int, said: tuple[Entry, ...]) -> None:
    bench = OwnerBench().running(stream_spec("s"))
    with pytest.raises(RemoteProtocolError, match="an end carries"):
        bench.end("s", 0, *said, kind=kind)


# -- lost ------------------------------------------------------------------------------------------
def returned_far() -> RebuildBench:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    bench.items("s", 0, b"0", b"1")
    bench.over("s", 2, far(1))
    return bench


def test_a_large_value_that_is_lost_comes_with_another_run() -> None:
    bench = returned_far()
    assert again(bench.lose(C, far(1))) == [("s", 1, (COMPLETION_INDEX,))]
    assert completion(bench) is None
    bench.items("s", 0, NONE, NONE, attempt=1)
    bench.over("s", 2, far(11, FARTHER), attempt=1)
    assert completion(bench) == far(11, FARTHER)
    bench.held(far(11, FARTHER))
    bench.drop(streams=(S,))
    bench.drop_views(far(11, FARTHER))
    assert bench.is_empty()


def test_a_run_that_returns_something_small_instead_differs() -> None:
    bench = returned_far()
    bench.lose(C, far(1))
    bench.items("s", 0, NONE, NONE, attempt=1)
    bench.over("s", 2, b"small", attempt=1)
    fault = completion(bench)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.REPLAY_MISMATCH
    assert "returned" in fault.reason


def test_a_run_for_items_alone_leaves_the_value_as_it_is() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=3))
    bench.items("s", 0, far(2))
    bench.step(TakeItems(S, 1))
    bench.over("s", 1, far(1))
    bench.lose(result("s", 1), far(2))
    assert completion(bench) is None, "it lay on the same node"
    bench.items("s", 0, far(12, FARTHER), attempt=1)
    bench.over("s", 1, far(11, FARTHER), attempt=1)
    assert completion(bench) == far(11, FARTHER)
