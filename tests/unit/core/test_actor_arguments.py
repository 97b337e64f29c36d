"""The arguments of a constructor that are lost are made again before the actor is created."""

from __future__ import annotations

import pytest

from tests.unit.core.actor_bench import ACTOR, HANDLE, ActorBench, down, lease_of, returned, wanted
from tests.unit.core.bench import error
from tests.unit.core.names import OTHER_WORKER, WORKER, result, spec, task
from tests.unit.core.rebuild_bench import FARTHER, again, entries, far
from zgen.core.actor_table import Standing
from zgen.core.effects import Effect
from zgen.core.task_table import Doing
from zgen.exceptions import RemoteProtocolError
from zgen.ids import TaskId
from zgen.limits import SECOND
from zgen.wire.actor import ActorSettings
from zgen.wire.task import ArgumentsLost, Outcome, TasksDone
from zgen.wire.value import NONE, Fault, FaultKind

A = result("a")


class LostBench(ActorBench):
    """A process that made a large value, which an actor is created with."""

    def __init__(self, retries: int = 3) -> None:
        super().__init__()
        self.submit(spec("a", retries=retries))
        self.grant(worker=OTHER_WORKER)
        self.made(0, 1)

    def _checked(self, out: list[Effect]) -> list[Effect]:
        self.store.settle(out)
        return super()._checked(out)

    def made(self, attempt: int, number: int) -> list[Effect]:
        outcome = Outcome(task("a"), attempt, 0, 0, entries(far(number, FARTHER)))
        return self.hear(OTHER_WORKER, TasksDone((outcome,)))

    def not_read(self, number: int, life: int = 0, lease: int = 0) -> list[Effect]:
        slots = ((0, far(number, FARTHER).region),)
        lost = ArgumentsLost(lease_of(lease), TaskId(ACTOR), life, slots, "gone")
        return self.hear(WORKER, lost)

    def standing(self) -> Standing:
        return self.owner.actors.supervision.table.actors[ACTOR].standing.state


def test_an_actor_is_created_when_its_argument_is_there_again() -> None:
    bench = LostBench()
    bench.create(slots=(A,))
    bench.grant_actor()
    assert returned() in bench.not_read(1), "the worker that was to host it ends"
    assert bench.state("actor") is Doing.WAITING_ARGS
    assert again(bench.grant(2, OTHER_WORKER)) == [("a", 1, (0,))]
    assert wanted(1) in bench.made(1, 2)
    bench.grant_actor(1)
    bench.created()
    assert bench.standing() is Standing.ALIVE


def test_an_argument_that_is_there_again_already_is_sent_to_another_worker() -> None:
    bench = LostBench()
    bench.create(slots=(A,))
    bench.grant_actor()
    assert bench.not_read(7)[:2] == [returned(), wanted(1)]


def restarting(retries: int = 3) -> LostBench:
    """An actor lived, and its next life is about to begin; its argument went with the first."""
    bench = LostBench(retries)
    bench.create(ActorSettings(1), (A,))
    bench.grant_actor()
    bench.created()
    bench.down(said=down())
    bench.advance(SECOND)
    bench.grant_actor(1)
    return bench


def test_an_actor_is_restarted_when_its_argument_is_there_again() -> None:
    bench = restarting()
    bench.not_read(1, 1)
    assert bench.standing() is Standing.RESTARTING
    bench.grant(2, OTHER_WORKER)
    assert wanted(2, retriable=True) in bench.made(1, 2)
    bench.grant_actor(2)
    bench.created(attempt=1)
    assert bench.standing() is Standing.ALIVE


@pytest.mark.parametrize("retries", [0, 1])
def test_an_actor_whose_argument_does_not_come_again_is_dead(retries: int) -> None:
    bench = restarting(retries)
    bench.not_read(1, 1)
    if retries:
        bench.grant(2, OTHER_WORKER)
        bench.hear(OTHER_WORKER, TasksDone((error("a", 1),)))
    assert bench.standing() is Standing.DEAD
    assert bench.value(HANDLE) == NONE, "it did live"
    bench.call("late")
    fault = bench.value(result("late"))
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.init_failed) == (FaultKind.ACTOR_DIED, True)


def test_an_actor_that_lives_has_its_arguments() -> None:
    bench = LostBench()
    bench.create(ActorSettings(1), (A,))
    bench.grant_actor()
    bench.created()
    with pytest.raises(RemoteProtocolError, match="an actor that was created"):
        bench.not_read(1)
