"""The end of a life of an actor, as it is told."""

from __future__ import annotations

from tests.unit.core.names import task
from zgen.core.actor_verdict import Verdict, verdict_of
from zgen.ids import ActorId
from zgen.wire.value import Fault, FaultKind, Parcel

ACTOR = ActorId(task("actor"))


def test_a_verdict_travels_with_the_error_of_init() -> None:
    verdict = Verdict(2, True, "raised", 7, 1, 9, True, Parcel(b"error", (b"buffer",), True))
    assert verdict_of(verdict.message(ACTOR)) == verdict


def test_an_error_that_no_body_raised_stays_in_its_process() -> None:
    verdict = Verdict(0, True, "an argument", error=Fault(FaultKind.WORKER_CRASHED, "f"))
    assert verdict_of(verdict.message(ACTOR)).error is None


def test_calls_of_a_life_that_is_followed_by_another_may_be_tried_again() -> None:
    fault = Verdict(0, False, "died", 7, -1, 9).fault(ACTOR, "call", may_have_run=True)
    assert (fault.kind, fault.signal, fault.actor) == (FaultKind.ACTOR_UNAVAILABLE, 9, ACTOR)
    last = Verdict(0, True, "died").fault(ACTOR, "call", may_have_run=False)
    assert (last.kind, last.may_have_run) == (FaultKind.ACTOR_DIED, False)
