"""The daemon's processes where the kernel does not take what is sent to the zygote."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, cast

import pytest

from zgen.core.events import Event, WorkerExited
from zgen.core.node_effects import JobKnown
from zgen.ids import ID_BYTES, JobId, PeerId
from zgen_node.io.processes import Processes
from zgen_node.io.zygote_link import ZygoteLink

JOB = JobId(bytes(ID_BYTES))
WORKERS = [PeerId(bytes([number]) * ID_BYTES) for number in range(1, 4)]


class Pipes:
    """A watcher that tells when it is told to, and a reader of pipes that closes them."""

    def __init__(self) -> None:
        self.open: dict[PeerId, tuple[int, int]] = {}
        self.readable: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        self.readable[fd] = on_readable

    def unwatch(self, fd: int) -> None:
        pass

    def started(self, worker: PeerId, pid: int) -> None:
        assert worker in self.open
        assert pid > 0

    def attach(self, worker: PeerId, stdout: int, stderr: int) -> None:
        self.open[worker] = stdout, stderr

    def finish(self, worker: PeerId) -> str:
        for descriptor in self.open.pop(worker):
            os.close(descriptor)
        return ""


class FakeLink:
    """A line to a zygote.

    Attributes:
        sent: What it was sent.
        answers: What it says next.
        failure: What sending raises instead; 0 for nothing.
        full: Whether there is no room.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.answers: list[dict[str, str]] = []
        self.failure = 0
        self.full = False
        self.pidfd = -2
        self.socket = self

    def fileno(self) -> int:
        return -1

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        return (self.answers.pop(0), []) if self.answers else None

    def send(self, order: dict[str, Any], descriptors: list[int]) -> bool:
        if self.failure:
            raise OSError(self.failure, os.strerror(self.failure))
        if not self.full:
            self.sent.append(order["worker"])
        return not self.full


def end(processes: Processes, pipes: Pipes, link: FakeLink) -> None:
    """Let all that was ordered fail, which closes what is open for it."""
    link.answers = [{"failed": worker, "error": "fork: no"} for worker in link.sent]
    pipes.readable[-1]()
    processes.forget_job(JOB)
    assert not pipes.open


def start_none() -> ZygoteLink:
    raise AssertionError("nobody died")


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def pipes() -> Pipes:
    return Pipes()


@pytest.fixture
def processes(told: list[Event], pipes: Pipes) -> Processes:
    made = Processes("/nowhere", pipes, pipes, told.append, start_none)
    made.know_job(JobKnown(JOB, (), "/", ()))
    return made


def test_an_order_that_the_kernel_does_not_take_is_a_failed_start_and_does_not_wait(
    processes: Processes, told: list[Event], pipes: Pipes
) -> None:
    link = FakeLink()
    processes.serve(cast(ZygoteLink, link))
    link.failure = errno.ETOOMANYREFS
    processes.spawn(WORKERS[0], JOB)
    [failed] = told
    assert isinstance(failed, WorkerExited)
    assert (failed.worker, failed.pid) == (WORKERS[0], 0)
    assert "its zygote could not be asked" in failed.log_tail
    link.failure = 0
    processes.spawn(WORKERS[1], JOB)
    assert link.sent == [WORKERS[1].hex()]
    end(processes, pipes, link)


def test_an_order_for_which_there_is_no_room_waits_for_an_answer_or_for_the_next_zygote(
    processes: Processes, told: list[Event], pipes: Pipes
) -> None:
    link, after = FakeLink(), FakeLink()
    link.full = True
    for worker in WORKERS[:2]:
        processes.spawn(worker, JOB)
    processes.serve(cast(ZygoteLink, link))
    assert (link.sent, told) == ([], [])
    processes.serve(cast(ZygoteLink, after))
    assert after.sent == [worker.hex() for worker in WORKERS[:2]]
    end(processes, pipes, after)
