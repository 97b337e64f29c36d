"""Tasks whose one result is all that they yield."""

from __future__ import annotations

import pickle

import pytest

from tests.unit.core.bench import ERROR, ERROR_ENTRY, OwnerBench, push
from tests.unit.core.names import NODE, WORKER, address, pushed, result, spec, task
from tests.unit.core.process_bench import PYTHON, RELEASE
from zgen import dynamic
from zgen.core.effects import ObjectsReady, Send, StreamAdvanced
from zgen.core.gathering import value_of
from zgen.core.identity import Identity
from zgen.core.session import Session
from zgen.core.task_table import Doing
from zgen.ids import item_ids
from zgen.limits import SECOND
from zgen.wire.lease import ProcessDown
from zgen.wire.store import Place
from zgen.wire.stream import CloseStream
from zgen.wire.task import DYNAMIC, OUTCOME_ERROR, OUTCOME_RETRY, STREAMING
from zgen.wire.value import Fault, FaultKind, NestedRef, Parcel, Stored, pack, refs_of

G, RESULT = task("g"), result("g")
ME = address("me")
STORED = Stored(NODE, 5, Place(1, 0, 4096, 4096, True), b"", (9,))


def gathering(retries: int = 0) -> OwnerBench:
    bench = OwnerBench()
    bench.owner.borrowing.session = Session(Identity(ME, PYTHON, RELEASE))
    return bench.running(spec("g", DYNAMIC, retries=retries))


def names_in(bench: OwnerBench) -> list[bytes]:
    value = bench.value(RESULT)
    assert isinstance(value, Parcel)
    return [ref.object for ref in value.refs]


def test_a_worker_sees_a_stream() -> None:
    bench = OwnerBench()
    bench.submit(spec("g", DYNAMIC))
    assert bench.grant()[-1] == push(0, pushed("g", 0, STREAMING))


def test_items_become_objects_that_the_result_keeps() -> None:
    bench = gathering()
    bench.items("g", 0, b"a", b"b")
    assert bench.value(RESULT) is None
    assert bench.end("g", 2) == [StreamAdvanced(G), ObjectsReady((RESULT,))]
    names = item_ids(G, 0, 2)
    assert names_in(bench) == list(names)
    assert [bench.value(name) for name in names] == [b"a", b"b"]
    assert not bench.owner.streams.streams
    bench.drop(RESULT)
    bench.owner.borrowing.settle([])
    assert bench.is_empty()


def test_an_error_is_the_last_object() -> None:
    bench = gathering()
    bench.items("g", 0, b"a")
    bench.end("g", 1, ERROR_ENTRY, kind=OUTCOME_ERROR)
    assert [bench.value(name) for name in item_ids(G, 0, 2)] == [b"a", ERROR]


def test_a_task_that_yields_nothing_has_a_result_all_the_same() -> None:
    bench = gathering()
    bench.end("g", 0)
    assert names_in(bench) == []


def test_what_lies_in_shared_memory_stays_there() -> None:
    bench = gathering()
    bench.items("g", 0, *pack((STORED,), []))
    bench.end("g", 1)
    (name,) = item_ids(G, 0, 1)
    assert bench.value(name) == STORED
    assert bench.owner.holds_back(G, bench.now_ns) is False


@pytest.mark.parametrize("retries", [0, 1])
def test_a_failure_of_the_system_is_the_result_and_what_was_yielded_goes(retries: int) -> None:
    bench = gathering(retries)
    bench.items("g", 0, b"a")
    down = ProcessDown(WORKER, 1, 1, -1, 9, "", bench.owner.tasks.entries[G].lease, 1)  # type: ignore[arg-type]  # it has one
    bench.down(WORKER, down)
    if retries:
        assert bench.state("g") is Doing.WAITING_RETRY
        bench.advance(SECOND)
        bench.grant(2)
        bench.items("g", 0, b"a", b"b", attempt=1)
        bench.end("g", 2, attempt=1)
        assert names_in(bench) == list(item_ids(G, 0, 2))
    else:
        fault = bench.value(RESULT)
        assert isinstance(fault, Fault)
        assert fault.kind is FaultKind.WORKER_CRASHED
        assert not bench.owner.streams.streams


def test_a_replay_that_yields_less_is_an_error_without_objects() -> None:
    bench = gathering(retries=1)
    bench.items("g", 0, b"a", b"b")
    bench.end("g", 2, ERROR_ENTRY, kind=OUTCOME_RETRY)
    bench.advance(SECOND)
    bench.end("g", 0, attempt=1)
    fault = bench.value(RESULT)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.REPLAY_MISMATCH
    assert list(bench.owner.refs.records) == [RESULT]


def test_a_result_that_nobody_holds_any_more_stops_its_gathering() -> None:
    bench = gathering()
    other = result("other")
    bench.put(other)
    bench.items("g", 0, b"a")
    assert bench.drop(other) == []
    assert bench.drop(RESULT) == [Send(WORKER, CloseStream(G, 0))]
    assert not bench.owner.streams.streams[G].unread
    bench.end("g", 3)
    bench.owner.borrowing.settle([])
    assert bench.is_empty()


def test_a_result_that_a_task_waits_for_is_wanted_though_its_reference_is_gone() -> None:
    bench = gathering()
    bench.submit(spec("a", slots=[RESULT]))
    assert bench.drop(RESULT) == []
    bench.items("g", 0, b"a")
    bench.end("g", 1)
    assert names_in(bench) == list(item_ids(G, 0, 1))


def test_the_value_is_a_pickle_of_what_the_api_makes_of_the_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dynamic, "gathered", lambda *names: names)
    for count in (0, 1, 300):
        names = item_ids(G, 0, count)
        value = value_of(names, ME)
        assert isinstance(value, Parcel)
        assert pickle.loads(value.data) == names
        assert refs_of(value) == tuple(NestedRef(name, ME) for name in names)
