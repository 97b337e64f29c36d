"""A node answers about processes and names."""

from __future__ import annotations

import pytest

from tests.unit.node.fakes import DRIVER, JOB, NO_LEASE, Bench, ask, peer, spawned
from zgen.core.effects import Effect, Send
from zgen.ids import NO_ACTOR, ActorId, PeerId, derive_worker_id
from zgen.wire.actor import ClaimName, FindName, FreeName, NameAnswer
from zgen.wire.lease import EndJob, ProcessDown
from zgen.wire.object import WatchProcess
from zgen.wire.session import Address
from zgen_node.core import naming

OTHER, STRANGER = peer("other"), peer("stranger")
OTHER_JOB = type(JOB)(peer("other job"))
ACTOR, ANOTHER = ActorId(peer("actor")), ActorId(peer("another"))
HERE = Address(DRIVER, 1, "ipc://driver")


def node_with_worker() -> tuple[Bench, PeerId]:
    """Return a node with two drivers, and a worker of the first."""
    bench = Bench()
    bench.drive()
    bench.drive(OTHER, OTHER_JOB)
    (worker,) = spawned(bench.say(DRIVER, ask("l")))
    bench.start(worker)
    return bench, worker


def told(effects: list[Effect]) -> list[tuple[PeerId, PeerId]]:
    """Return who is told of whose end."""
    return [
        (effect.peer, effect.message.peer)
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, ProcessDown)
    ]


def claim(
    bench: Bench, by: PeerId = DRIVER, actor: ActorId = ACTOR, creator: PeerId | None = None
) -> list[Effect]:
    where = Address(creator or by, 1, f"ipc://{by.decode().rstrip('.')}")
    return bench.say(by, ClaimName(5, "", "name", actor, where, b"class"))


# -- watching ------------------------------------------------------------------------------------
def test_who_watches_a_worker_is_told_of_its_end_once_and_the_worker_of_its_watchers() -> None:
    bench, worker = node_with_worker()
    assert bench.say(OTHER, WatchProcess(worker, 1)) == []
    assert bench.say(OTHER, WatchProcess(worker, 1)) == []
    done = bench.die(worker)
    assert sorted(told(done)) == sorted([(DRIVER, worker), (OTHER, worker)])
    assert told(bench.quiet()) == []
    bench, worker = node_with_worker()
    bench.say(OTHER, WatchProcess(worker, 1))
    assert (worker, OTHER) in told(bench.leave(OTHER))


def test_who_watches_the_dead_is_told_at_once() -> None:
    bench, _ = node_with_worker()
    unknown = derive_worker_id(peer("node"), 99)
    assert bench.say(OTHER, WatchProcess(unknown, 1)) == [
        Send(OTHER, ProcessDown(unknown, 1, 0, -1, 0, "it was dead already", NO_LEASE, 0))
    ]


def test_who_watches_one_that_died_just_now_is_told_at_once_and_all_that_is_known() -> None:
    bench, worker = node_with_worker()
    bench.die(worker, pid=101, log_tail="last words")
    (answer,) = bench.say(OTHER, WatchProcess(worker, 1))
    assert isinstance(answer, Send)
    assert isinstance(answer.message, ProcessDown)
    assert (answer.peer, answer.message.log_tail) == (OTHER, "last words")
    assert told(bench.quiet()) == []


def test_drivers_can_be_watched_and_strangers_watch_nobody() -> None:
    bench, worker = node_with_worker()
    assert bench.say(worker, WatchProcess(OTHER, 1)) == []
    assert (worker, OTHER) in told(bench.leave(OTHER))
    bench.join(STRANGER)
    bench.say(STRANGER, WatchProcess(worker, 1))
    assert bench.counts["watch by a stranger"] == 1


# -- names ---------------------------------------------------------------------------------------
def test_a_claimed_name_is_found_until_it_is_freed() -> None:
    bench, _ = node_with_worker()
    mine = Send(DRIVER, NameAnswer(5, ACTOR, HERE, b"class"))
    assert claim(bench) == [mine]
    assert claim(bench, OTHER, ANOTHER) == [Send(OTHER, NameAnswer(5, ACTOR, HERE, b"class"))]
    found = Send(OTHER, NameAnswer(6, ACTOR, HERE, b"class"))
    assert bench.say(OTHER, FindName(6, "", "name")) == [found]
    bench.say(OTHER, FreeName("", "name", ACTOR))
    assert bench.say(OTHER, FindName(6, "", "name")) == [found], "it is not theirs"
    bench.say(DRIVER, FreeName("", "name", ACTOR))
    (answer,) = bench.say(OTHER, FindName(6, "", "name"))
    assert isinstance(answer, Send)
    assert answer.message.actor == NO_ACTOR


@pytest.mark.parametrize("how", ["leaves", "ends its job"])
def test_a_name_goes_with_its_creator(how: str) -> None:
    bench, _ = node_with_worker()
    claim(bench)
    if how == "leaves":
        bench.leave(DRIVER)
    else:
        bench.say(DRIVER, EndJob(JOB))
    (answer,) = claim(bench, OTHER, ANOTHER)
    assert isinstance(answer, Send)
    assert answer.message.actor == ANOTHER


def test_nobody_claims_a_name_for_another_process() -> None:
    bench, _ = node_with_worker()
    assert claim(bench, DRIVER, ACTOR, OTHER) != []
    bench.join(STRANGER)
    claim(bench, STRANGER)
    assert bench.counts["name for another process"] == 2
    assert len(bench.machine.cluster.naming.names) == 0


def test_names_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "NAMES_COUNT_MAX", 0)
    bench, _ = node_with_worker()
    answers = [e for e in claim(bench) if isinstance(e, Send)]
    assert [answer.message.actor for answer in answers] == [NO_ACTOR]
