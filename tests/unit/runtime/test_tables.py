"""Rows of state put together from what processes say, and their tables."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from zgen.ids import ActorId, JobId, ObjectId, PeerId, TaskId
from zgen.state_answers import Answers, listing, matching, summary
from zgen.tables import listing_json, listing_text, size_text, summary_json, summary_text
from zgen.wire.state import (
    ACTORS,
    INLINE,
    NO_REGION,
    OBJECTS,
    STREAMS,
    TASKS,
    WORKERS,
    ActorSaid,
    HoldSaid,
    ObjectSaid,
    ProcessSaid,
    StateRows,
    StateTold,
    StreamSaid,
    TaskSaid,
    TotalSaid,
)


def named(name: str) -> bytes:
    return name.encode().ljust(16, b".")


NODE, DRIVER, WORKER = PeerId(named("node")), PeerId(named("driver")), PeerId(named("worker"))
JOB, TASK, ACTOR = JobId(named("job")), TaskId(named("task")), ActorId(named("actor"))
NOBODY, NO_ACTOR = PeerId(bytes(16)), ActorId(bytes(16))
X = ObjectId(named("object") + bytes(4))
PROCESSES = (
    ProcessSaid(DRIVER, 10, True, JOB, "driver", "", ""),
    ProcessSaid(WORKER, 11, False, JOB, "leased", "f", ""),
)
SILENT = (PROCESSES[0], replace(PROCESSES[1], silence="no answer within 5 s"))
TOLD = StateTold(1, NODE, PROCESSES)


def said(process: PeerId = DRIVER, **fields: object) -> StateRows:
    return StateRows(1, process, True, **fields)  # type: ignore[arg-type]  # as a test says


def held(*holds: HoldSaid, owner: PeerId = DRIVER, size: int = 2048, more: int = 0) -> ObjectSaid:
    return ObjectSaid(X, owner, size, INLINE, NO_REGION, holds, more)


def test_a_borrower_is_named_with_its_reasons_as_far_as_they_are_known() -> None:
    borrowed = HoldSaid("borrower", WORKER.hex(), 1)
    mine = said(objects=(held(borrowed),))
    theirs = said(WORKER, actor=ACTOR, objects=(held(HoldSaid("actor state", "it", 2)),))
    for parts, told, expected in (
        ([mine], StateTold(1, NODE, ()), f"process {WORKER[:4].hex()}"),
        ([mine], TOLD, "pid 11"),
        ([mine, said(WORKER)], TOLD, "pid 11"),
        ([mine, theirs], TOLD, f"pid 11, actor {ACTOR[:4].hex()}: actor state"),
    ):
        (row,) = Answers(parts, [told]).objects()
        assert [hold.by for hold in row.held_by] == [expected]
        assert row.owner_pid == (10 if told.processes else 0)


def test_objects_are_sorted_by_size_and_counted_by_owner_and_reason() -> None:
    totals = (TotalSaid("", 2, 30), TotalSaid("local reference", 2, 30))
    small = said(count=1, objects=(held(size=10),), totals=totals)
    large = said(
        WORKER,
        count=1,
        objects=(held(HoldSaid("loan", "it", 2), owner=WORKER, size=20, more=3),),
        totals=(TotalSaid("", 1, 20), TotalSaid("local reference", 1, 20)),
    )
    nodes = [Answers([small, large], [StateTold(1, NODE, SILENT)])]
    found = summary(nodes, 1)
    assert [row.size_bytes for row in found.objects] == [20]
    assert (found.objects.total, found.objects.is_partial) == (2, True)
    assert {name: total.size_bytes for name, total in found.by_owner.items()} == {
        DRIVER.hex(): 30,
        WORKER.hex(): 20,
    }
    assert found.by_reason["local reference"].count == 3
    text = summary_text(found).splitlines()
    assert text[1].endswith("  loan (it) x2; 3 more")
    assert text[2:4] == [
        "1 more; see --limit",
        "process 11 of node 6e6f6465 is missing: no answer within 5 s",
    ]
    assert ["process", "10", "2", "30", "B"] in [line.split() for line in text]
    assert json.loads(json.dumps(summary_json(found)))["pids"] == {
        DRIVER.hex(): 10,
        WORKER.hex(): 11,
    }


def test_tasks_that_run_somewhere_are_running() -> None:
    plain = TaskSaid(TASK, "f", "SUBMITTED_TO_WORKER", 0, 3, TASK, NO_ACTOR, WORKER, "")
    rows = (
        plain,
        replace(plain, task=TaskId(named("call")), actor=ACTOR),
        replace(plain, task=TaskId(named("made")), actor=ACTOR, creates_actor=True, worker=NOBODY),
    )
    nodes = [Answers([said(tasks=rows), said(WORKER, running=(TASK,))], [TOLD])]
    found = listing(TASKS, nodes, 100)
    assert [(row.state, row.type, row.worker_pid) for row in found] == [
        ("RUNNING", "NORMAL_TASK", 11),
        ("SUBMITTED_TO_WORKER", "ACTOR_TASK", 11),
        ("SUBMITTED_TO_WORKER", "ACTOR_CREATION_TASK", None),
    ]
    assert "RUNNING" in listing_text(TASKS, found)


def test_each_kind_of_row_has_a_table() -> None:
    actor = ActorSaid(ACTOR, "Class", "", "", "ALIVE", 0, WORKER, 11, "")
    stream = StreamSaid(TASK, "numbers", 0, 3, 1, 2, 4096, True, True, 0, NOBODY)
    nodes = [Answers([said(count=1, actors=(actor,), streams=(stream,)), said(WORKER)], [TOLD])]
    for what, expected in ((ACTORS, "Class"), (STREAMS, "4.0 KiB"), (WORKERS, "DRIVER")):
        rows = listing(what, nodes, 100)
        assert expected in listing_text(what, rows)
        assert json.loads(json.dumps(listing_json(rows)))["silent"] == []
    gone = Answers([], [StateTold(1, NODE, (), 2, "it is gone")])
    assert gone.nodes == [NODE.hex()]
    text = listing_text(TASKS, listing(TASKS, [gone], 100))
    assert text.splitlines() == ["no tasks", "node 6e6f6465 is missing: it is gone"]
    silent = listing(WORKERS, [Answers([], [StateTold(1, NODE, SILENT)])], 100)
    assert listing_text(WORKERS, silent).count("no answer within 5 s") == 1
    assert listing_text(OBJECTS, listing(OBJECTS, nodes, 0)).startswith("no objects")


def test_filters_keep_the_rows_that_fit() -> None:
    rows = Answers([], [TOLD]).workers
    assert [row.pid for row in matching(rows, [("pid", "=", 11)])] == [11]
    assert [row.pid for row in matching(rows, [("pid", "=", "11")])] == [11]
    assert [row.pid for row in matching(rows, [("pid", "!=", 11), ("state", "=", "driver")])] == [
        10
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (1 << 50, "1024.0 TiB"),
    ],
)
def test_sizes_are_told_in_a_fitting_unit(size: int, text: str) -> None:
    assert size_text(size) == text
