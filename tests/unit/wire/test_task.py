"""Pushed tasks and their outcomes as bytes."""

from __future__ import annotations

from zgen.ids import FunctionId, LeaseId, TaskId
from zgen.wire.codec import decode, encode
from zgen.wire.schema import Buffers
from zgen.wire.task import (
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    STREAMING,
    Outcome,
    PushedTask,
    PushTasks,
    TasksDone,
    TasksReturned,
)

TASK, LEASE, FUNCTION = TaskId(b"t" * 16), LeaseId(b"l" * 16), FunctionId(b"f" * 16)


def test_a_push_carries_tasks_as_arrays_and_buffers_as_frames() -> None:
    task = PushedTask(TASK, 1, FUNCTION, "work", STREAMING, b"args", ((0, b"d", 1),), b"")
    push = PushTasks(LEASE, 5, (task,), 2, buffers=Buffers((b"raw",)))
    body = (
        b"\x96\x21\xc4\x10"
        + LEASE
        + b"\x05\x91\x9f\xc4\x10"
        + TASK
        + b"\x01\xc4\x10"
        + FUNCTION
        + b"\xa4work\xfe\xc4\x04args\x91\x93\x00\xc4\x01d\x01\xc4\x00"
        + b"\x00\x00\x90\x00\x00\x00\x01\x02\x90"
    )
    assert encode(push) == [body, b"raw"]
    assert decode([body, b"raw"]) == push


def test_an_owner_that_counts_no_hand_backs_is_understood() -> None:
    body = b"\x94\x21\xc4\x10" + LEASE + b"\x05\x90"
    assert decode([body]) == PushTasks(LEASE, 5, ())


def test_outcomes_share_the_buffers_of_their_message() -> None:
    outcomes = (
        Outcome(TASK, 0, OUTCOME_VALUE, 1_000, (b"value",)),
        Outcome(TASK, 1, OUTCOME_ERROR, 0, ((1, b"error", 0),)),
    )
    done = TasksDone(outcomes, Buffers((b"a", b"b")))
    frames = encode(done)
    assert frames[1:] == [b"a", b"b"]
    assert decode(frames) == done


def test_what_is_handed_back_is_a_pair_of_task_and_attempt() -> None:
    body = b"\x93\x23\xc4\x10" + LEASE + b"\x91\x92\xc4\x10" + TASK + b"\x03"
    assert encode(TasksReturned(LEASE, ((TASK, 3),))) == [body]


def test_outcomes_are_told_apart_and_streaming_is_no_count() -> None:
    assert [OUTCOME_VALUE, OUTCOME_ERROR, OUTCOME_RETRY] == [0, 1, 2]
    assert STREAMING < 0
