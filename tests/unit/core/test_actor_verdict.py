"""The end of a life of an actor, as it is told."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.names import task
from zgen.core.actor_verdict import Verdict, verdict_of, verdict_of_death
from zgen.ids import ActorId, LeaseId, PeerId
from zgen.wire.lease import ProcessDown
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


def test_a_death_is_told_as_its_node_tells_it_or_as_it_was_seen() -> None:
    down = ProcessDown(PeerId(bytes(16)), 1, 7, -1, 9, "words", LeaseId(bytes(16)), 1)
    assert verdict_of_death(2, 7, down) == Verdict(2, False, "words", 7, -1, 9)
    assert verdict_of_death(2, 7, "it is gone") == Verdict(2, False, "it is gone", 7)
    down = replace(down, rss_bytes=70, limit_bytes=90)
    assert "memory ran out on its node" in verdict_of_death(2, 7, down).reason
