"""A node has detached actors kept, here and elsewhere, and creates them again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.node.clusters import EAST, WEST, Among, far, messages, state
from tests.unit.node.fakes import DRIVER, NODE, ask, cpu, peer
from zgen.core.node_effects import JobKnown, JobOver, KillWorker, SpawnWorker
from zgen.core.node_events import MemberGone
from zgen.ids import NO_ACTOR, ActorId, JobId, PeerId, derive_worker_id
from zgen.wire.actor import (
    CHARTER_BYTES_MAX,
    ActorRestarted,
    AskCharter,
    Charter,
    ClaimName,
    DetachActor,
    FreeName,
    KeepActor,
    NameAnswer,
)
from zgen.wire.cluster import DrainNode
from zgen.wire.lease import EndJob
from zgen.wire.naming import (
    HELD,
    LATER,
    PENDING,
    TAKEN,
    DropName,
    HoldName,
    NameWord,
    SeekName,
)
from zgen_node.core import detached
from zgen_node.core.detached import HOST_GONE, LARGE, NO_JOB, NO_KEEPER, NO_ROOM, Wish
from zgen_node.core.name_questions import CUT_OFF
from zgen_node.limits import ADOPT_AGAIN_NS, ADOPT_STEP_NS, KEEPER_LINGER_NS, NAMES_SILENCE_NS

FIRST, SECOND = derive_worker_id(NODE, 1), derive_worker_id(NODE, 2)
ACTOR, NEXT, OTHER = (ActorId(peer(name)) for name in ("actor", "next", "other"))
WANTED = DetachActor(7, "shop", "name", Charter(b"class", 2))
KEY = ("shop", "name")
#: The charter as the node of the creator's job completes it.
WHOLE = Charter(b"class", 2, 0, ("lib",), "folder", (("A", "b"), ("ZGEN_NAMESPACE", "shop")))


def node(*others: PeerId, cpus: int = 2, theirs: int = 2) -> Among:
    """Return a node with a driver beside others, which count it as a keeper already."""
    bench = Among(cpus=cpus)
    bench.drive()
    for other in others:
        bench.member(state(other, cpu(theirs) if theirs else ()))
    keeper = bench.machine.cluster.naming.keeper
    keeper._counted_by, keeper._keeps = {}, True
    return bench


def claim(keeper: PeerId = FIRST, actor: ActorId = ACTOR, query: int = 3) -> ClaimName:
    return ClaimName(query, *KEY, actor, far(keeper, NODE), b"methods")


def answers(done: list[Any], to: PeerId = DRIVER) -> list[tuple[int, ActorId, str, bool]]:
    said = [each for each in messages(done, to) if isinstance(each, NameAnswer)]
    return [(each.query, each.actor, each.refusal, each.is_new) for each in said]


def spawned(done: list[Any]) -> list[PeerId]:
    return [each.worker for each in done if isinstance(each, SpawnWorker)]


def kept(bench: Among) -> list[Any]:
    """Let the driver want an actor and its keeper create it; return what is done."""
    bench.say(DRIVER, WANTED)
    bench.start(FIRST)
    bench.say(FIRST, AskCharter(1), claim())
    return bench.say(FIRST, ActorRestarted(ACTOR, 0))


def record_of(bench: Among) -> Any:
    return bench.machine.cluster.naming.records.get(KEY)


# -- keepers -------------------------------------------------------------------------------------


def test_a_process_that_lives_as_its_node_creates_a_detached_actor() -> None:
    bench = node()
    done = bench.say(DRIVER, WANTED)
    assert spawned(done) == [FIRST]
    assert [each for each in done if isinstance(each, JobKnown)] == [
        JobKnown(JobId(FIRST), WHOLE.sys_path, WHOLE.cwd, WHOLE.environment)
    ]
    bench.start(FIRST)
    assert messages(bench.say(FIRST, AskCharter(1)), FIRST) == [KeepActor(1, b"class", 0)]
    done = bench.say(FIRST, claim())
    assert answers(done, FIRST) == [(3, ACTOR, "", False)]
    assert answers(done) == [], "it is there when it is created, not when it has a name"
    assert record_of(bench).claim.charters == (WHOLE,)
    assert answers(bench.say(FIRST, ActorRestarted(ACTOR, 0))) == [(7, ACTOR, "", True)]
    assert answers(bench.say(FIRST, ActorRestarted(ACTOR, 0))) == [], "one answer"


def test_a_worker_of_a_job_has_its_detached_actors_in_the_environment_of_that_job() -> None:
    bench = node()
    bench.say(DRIVER, ask("a"))
    bench.start(FIRST)
    done = bench.say(FIRST, WANTED)
    (job,) = [each for each in done if isinstance(each, JobKnown)]
    assert (job.sys_path, job.cwd) == (("lib",), "folder")


def test_a_detached_actor_outlives_the_driver_that_wanted_it() -> None:
    bench = node()
    kept(bench)
    done = bench.say(DRIVER, EndJob(ask("a").job))
    assert [each for each in done if isinstance(each, KillWorker)] == []
    assert record_of(bench).settled
    bench.leave(DRIVER)
    assert record_of(bench).settled


def test_a_keeper_is_no_worker_for_others_and_never_idle() -> None:
    bench = node()
    kept(bench)
    assert bench.machine.pool.idle(JobId(FIRST), DRIVER) is None
    assert bench.advance(400 * 1_000_000_000) == []
    assert bench.states() == ["idle"]


def test_a_keeper_lingers_when_its_actor_is_dead_and_its_job_ends_with_it() -> None:
    bench = node()
    kept(bench)
    assert bench.say(FIRST, FreeName(*KEY, ACTOR)) == []
    assert record_of(bench) is None
    assert bench.advance(KEEPER_LINGER_NS - 1) == []
    assert bench.advance(1) == [KillWorker(FIRST)]
    assert JobOver(JobId(FIRST)) in bench.die(FIRST)
    bench.advance(KEEPER_LINGER_NS)
    assert spawned(bench.quiet()) == []


def test_a_name_that_another_actor_has_is_told_to_who_wanted_the_detached_one() -> None:
    bench = node()
    bench.say(DRIVER, ClaimName(1, *KEY, OTHER, far(DRIVER, NODE), b"theirs"), WANTED)
    bench.start(FIRST)
    done = bench.say(FIRST, claim())
    assert answers(done) == [(7, OTHER, "", False)]
    assert KillWorker(FIRST) in done


def test_who_wants_a_detached_actor_hears_that_its_node_is_cut_off() -> None:
    others = (EAST, WEST, peer("south"), peer("north"))
    bench = node(*others)
    bench.say(DRIVER, WANTED)
    bench.start(FIRST)
    for other in others:
        bench.step(MemberGone(other, "silent"))
    done = bench.say(FIRST, claim())
    assert answers(done) == [(7, NO_ACTOR, CUT_OFF, False)]
    assert KillWorker(FIRST) in done


def test_a_keeper_that_ends_before_it_has_the_name_is_told_of() -> None:
    bench = node()
    bench.say(DRIVER, WANTED)
    bench.start(FIRST)
    assert answers(bench.die(FIRST)) == [(7, NO_ACTOR, NO_KEEPER, False)]


def test_a_keeper_that_ends_before_it_has_created_its_actor_is_told_of() -> None:
    bench = node()
    once = DetachActor(7, *KEY, Charter(b"class", 0))
    bench.say(DRIVER, once)
    bench.start(FIRST)
    bench.say(FIRST, claim())
    assert answers(bench.die(FIRST)) == [(7, NO_ACTOR, NO_KEEPER, False)]
    again = node()
    again.say(DRIVER, WANTED)
    again.start(FIRST)
    again.say(FIRST, claim())
    assert answers(again.die(FIRST)) == [], "another one creates it"
    again.start(SECOND)
    again.say(SECOND, claim(SECOND, NEXT))
    assert answers(again.say(SECOND, ActorRestarted(NEXT, 0))) == [(7, NEXT, "", True)]


def test_a_keeper_that_dies_is_replaced_as_often_as_the_actor_may_be_created_again() -> None:
    bench = node()
    kept(bench)
    assert spawned(bench.die(FIRST)) == [SECOND]
    bench.start(SECOND)
    assert messages(bench.say(SECOND, AskCharter(1)), SECOND) == [KeepActor(1, b"class", 1)]
    bench.say(SECOND, claim(SECOND, NEXT))
    assert record_of(bench).claim.actor == NEXT
    assert record_of(bench).settled
    bench.say(SECOND, ActorRestarted(NEXT, 0), ActorRestarted(NEXT, 1))
    assert record_of(bench).claim.charters[0].restarts == 2
    assert spawned(bench.die(SECOND)) == []
    assert record_of(bench) is None, "its name is free"


def test_the_name_of_an_actor_that_cannot_be_created_again_is_free() -> None:
    bench = node()
    kept(bench)
    bench.die(FIRST)
    assert record_of(bench).claim.actor == ACTOR
    bench.start(SECOND)
    bench.die(SECOND)
    assert record_of(bench) is None


def test_all_keepers_of_the_name_hear_of_restarts() -> None:
    bench = node(EAST)
    bench.say(DRIVER, WANTED)
    bench.start(FIRST)
    done = bench.say(FIRST, claim())
    (asked,) = [each for each in messages(done, EAST) if isinstance(each, HoldName)]
    assert asked.claim.charters == (WHOLE,)
    bench.say(EAST, NameWord(asked.query, HELD))
    done = bench.say(FIRST, ActorRestarted(ACTOR, 1))
    (copy,) = [each for each in messages(done, EAST) if isinstance(each, HoldName)]
    assert copy.settled
    assert copy.claim.charters[0].restarts == 1
    naming = bench.machine.cluster.naming
    bench.say(FIRST, FreeName(*KEY, ACTOR))
    naming.recharter(ACTOR, WHOLE, done)
    assert bench.say(FIRST, ActorRestarted(ACTOR, 2)) == [], "it is dead"


def test_words_of_others_than_keepers_are_refused() -> None:
    bench = node(EAST)
    bench.join(peer("stranger"))
    bench.say(peer("stranger"), WANTED)
    bench.say(DRIVER, AskCharter(1), ActorRestarted(ACTOR, 1))
    bench.say(EAST, NameAnswer(1, ACTOR, far(EAST, EAST), b""))
    for reason in (
        "detached actor of no process",
        "charter for no keeper",
        "restart of an actor that is not kept",
        "word about a name that nobody asked for",
    ):
        assert bench.counts[reason] == 1


def test_what_takes_too_much_or_comes_too_late_is_refused() -> None:
    bench = node()
    large = DetachActor(8, *KEY, Charter(bytes(CHARTER_BYTES_MAX + 1), 0))
    assert answers(bench.say(DRIVER, large)) == [(8, NO_ACTOR, LARGE, False)]
    bench.say(DRIVER, ask("a"))
    bench.start(FIRST)
    bench.say(DRIVER, EndJob(ask("a").job))
    assert answers(bench.say(FIRST, WANTED), FIRST) == [(7, NO_ACTOR, NO_JOB, False)]


def test_a_keeper_names_other_actors_as_well() -> None:
    bench = node()
    kept(bench)
    other = ClaimName(9, "", "other", OTHER, far(FIRST, NODE), b"")
    assert answers(bench.say(FIRST, other), FIRST) == [(9, OTHER, "", False)]
    assert bench.machine.cluster.naming.records.get(("", "other")).claim.charters == ()  # type: ignore[union-attr]  # it is there
    bench.say(FIRST, FreeName("", "other", OTHER))
    assert bench.advance(KEEPER_LINGER_NS) == []


# -- where it is kept ----------------------------------------------------------------------------


def test_a_node_of_a_program_has_another_one_keep_the_actor() -> None:
    bench = node(EAST, cpus=0)
    done = bench.say(DRIVER, WANTED)
    assert spawned(done) == []
    assert messages(done, EAST) == [DetachActor(1, *KEY, WHOLE)]
    done = bench.say(EAST, NameAnswer(1, ACTOR, far(peer("keeper")), b"methods", "", True))
    assert answers(done) == [(7, ACTOR, "", True)]


def test_a_node_that_dies_before_it_keeps_an_actor_is_told_of() -> None:
    bench = node(EAST, cpus=0)
    bench.say(DRIVER, WANTED)
    done = bench.step(MemberGone(EAST, "dead", proven=True))
    assert answers(done) == [(7, NO_ACTOR, HOST_GONE, False)]


def test_a_node_keeps_an_actor_itself_if_nobody_else_has_cpus() -> None:
    assert spawned(node(EAST, cpus=0, theirs=0).say(DRIVER, WANTED)) == [FIRST]


def test_a_node_keeps_what_another_one_asks_for() -> None:
    bench = node(EAST)
    assert spawned(bench.say(EAST, DetachActor(4, *KEY, WHOLE))) == [FIRST]


def test_a_node_that_drains_keeps_nothing_new() -> None:
    bench = node(EAST)
    bench.join(peer("tool"))
    bench.say(peer("tool"), DrainNode(1, 10_000_000_000))
    assert answers(bench.say(EAST, DetachActor(4, *KEY, WHOLE)), EAST) == [
        (4, NO_ACTOR, NO_ROOM, False)
    ]
    assert [type(each) for each in messages(bench.say(DRIVER, WANTED), EAST)] == [DetachActor]


def test_a_keeper_that_ends_as_its_node_drains_leaves_the_actor_to_others() -> None:
    bench = node()
    kept(bench)
    bench.join(peer("tool"))
    bench.say(peer("tool"), DrainNode(1, 10_000_000_000))
    assert spawned(bench.die(FIRST)) == []
    assert record_of(bench).claim.actor == ACTOR


# -- actors whose homes are dead -----------------------------------------------------------------


def copied(bench: Among, home: PeerId = EAST, restarts: int = 0, name: str = "name") -> HoldName:
    """Return the copy of a name of another node."""
    charter = Charter(b"class", 2, restarts, ("lib",), "folder", ())
    theirs = ClaimName(0, "shop", name, ACTOR, far(peer("old"), home), b"methods", (charter,))
    group = bench.machine.cluster.naming.electorate.keepers(("shop", name))
    return HoldName(0, theirs, group, True)


def orphaned(*others: PeerId, cpus: int = 2, theirs: int = 2, restarts: int = 0) -> Among:
    """Return a node that keeps the name of an actor whose home has just died."""
    bench = node(*others, cpus=cpus, theirs=theirs)
    bench.say(EAST, copied(bench, restarts=restarts))
    bench.step(MemberGone(EAST, "dead", proven=True))
    return bench


def turn(bench: Among) -> list[Any]:
    """Let the time come at which this node has the actor created again."""
    return bench.advance(2 * ADOPT_STEP_NS)


def test_when_its_home_is_dead_a_keeper_of_its_name_has_the_actor_created_again() -> None:
    bench = orphaned(EAST)
    assert spawned(turn(bench)) == [FIRST]
    bench.start(FIRST)
    assert messages(bench.say(FIRST, AskCharter(1)), FIRST) == [KeepActor(1, b"class", 1)]
    done = bench.say(FIRST, claim(FIRST, NEXT))
    assert answers(done, FIRST) == [(3, NEXT, "", False)]
    assert (record_of(bench).claim.actor, record_of(bench).orphaned) == (NEXT, False)
    assert bench.say(FIRST, ActorRestarted(NEXT, 0)) == [], "nobody asked"
    assert spawned(bench.advance(5 * ADOPT_AGAIN_NS)) == []


def test_it_is_tried_again_until_it_is_there_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detached, "ADOPTIONS_COUNT_MAX", 2)
    bench = orphaned(EAST)
    assert spawned(turn(bench)) == [FIRST]
    assert spawned(bench.advance(ADOPT_AGAIN_NS)) == [], "it is under way"
    bench.start(FIRST)
    bench.die(FIRST)
    assert spawned(bench.advance(ADOPT_AGAIN_NS)) == [SECOND]
    bench.start(SECOND)
    bench.die(SECOND)
    bench.advance(2 * ADOPT_AGAIN_NS)
    assert record_of(bench) is None


def test_an_actor_that_may_not_be_created_again_ends_with_its_home() -> None:
    bench = orphaned(EAST, restarts=2)
    assert record_of(bench) is None
    assert spawned(turn(bench)) == []


def test_a_node_of_a_program_has_another_one_create_it_again() -> None:
    bench = orphaned(EAST, WEST, cpus=0)
    asked = [each for each in messages(turn(bench), WEST) if isinstance(each, DetachActor)]
    assert [each.instead_of for each in asked] == [ACTOR]
    assert spawned(bench.advance(ADOPT_AGAIN_NS)) == [], "it is under way"
    bench.say(WEST, NameAnswer(asked[0].query, NO_ACTOR, far(WEST, WEST), b"", CUT_OFF))
    again = bench.advance(2 * ADOPT_AGAIN_NS)
    assert [each for each in messages(again, WEST) if isinstance(each, DetachActor)]


def test_who_is_on_the_smaller_side_creates_nothing_again() -> None:
    bench = orphaned(EAST, WEST, peer("south"), peer("north"))
    for other in (WEST, peer("south"), peer("north")):
        bench.step(MemberGone(other, "silent"))
    assert spawned(bench.advance(3 * ADOPT_AGAIN_NS)) == []
    bench.advance(2 * NAMES_SILENCE_NS)
    assert spawned(bench.advance(3 * ADOPT_AGAIN_NS)) == []
    assert record_of(bench).orphaned


def test_an_orphan_is_neither_found_nor_given_away() -> None:
    bench = orphaned(EAST, WEST)
    group = bench.machine.cluster.naming.electorate.keepers(KEY)
    done = bench.say(WEST, SeekName(1, *KEY, group))
    assert messages(done, WEST)[-1] == NameWord(1, LATER)
    other = ClaimName(1, *KEY, OTHER, far(peer("p"), WEST), b"")
    (word,) = [
        each
        for each in messages(bench.say(WEST, HoldName(2, other, group, False)), WEST)
        if isinstance(each, NameWord)
    ]
    assert (word.verdict, word.claims[0].actor, word.claims[0].charters) == (TAKEN, ACTOR, ())


def next_of(instead_of: ActorId, home: PeerId = WEST, actor: ActorId = NEXT) -> ClaimName:
    return ClaimName(1, *KEY, actor, far(peer("new"), home), b"", (WHOLE,), instead_of)


def verdict(done: list[Any], to: PeerId = WEST) -> int:
    return next(each.verdict for each in messages(done, to) if isinstance(each, NameWord))


def test_who_creates_it_again_elsewhere_gets_the_name_and_gives_it_back_if_that_fails() -> None:
    bench = orphaned(EAST, WEST)
    group = bench.machine.cluster.naming.electorate.keepers(KEY)
    held = HoldName(2, next_of(ACTOR), group, False)
    assert verdict(bench.say(WEST, held)) == HELD
    assert record_of(bench).claim.actor == NEXT
    other = HoldName(3, next_of(ACTOR, actor=OTHER), group, False)
    assert verdict(bench.say(WEST, other)) == PENDING
    bench.say(WEST, DropName(*KEY, NEXT))
    assert record_of(bench).claim.actor == ACTOR
    assert spawned(turn(bench)) == [FIRST], "it waits again"


def test_a_home_that_lives_is_not_replaced_before_its_death_is_known() -> None:
    bench = node(EAST, WEST)
    bench.say(EAST, copied(bench))
    group = bench.machine.cluster.naming.electorate.keepers(KEY)
    assert verdict(bench.say(WEST, HoldName(2, next_of(ACTOR), group, False))) == LATER
    assert record_of(bench).claim.actor == ACTOR


def test_an_orphan_of_which_others_know_better_is_given_up() -> None:
    bench = orphaned(EAST, WEST)
    assert spawned(turn(bench)) == [FIRST]
    bench.start(FIRST)
    done = bench.say(FIRST, claim(FIRST, NEXT))
    query = next(each.query for each in messages(done, WEST) if isinstance(each, HoldName))
    theirs = ClaimName(1, *KEY, OTHER, far(peer("p"), WEST), b"")
    done = bench.say(WEST, NameWord(query, TAKEN, (theirs,)))
    assert KillWorker(FIRST) in done
    assert record_of(bench) is None


def test_who_keeps_an_orphan_no_more_hears_that_it_was_created_again() -> None:
    bench = orphaned(EAST, WEST)
    assert bench.say(WEST, DropName(*KEY, OTHER, True)) == []
    assert record_of(bench).orphaned
    bench.join(peer("stranger"))
    bench.say(peer("stranger"), DropName(*KEY, ACTOR, True))
    assert record_of(bench).orphaned
    bench.say(WEST, DropName(*KEY, ACTOR, True))
    assert record_of(bench) is None
    assert spawned(turn(bench)) == []


def test_all_nodes_hear_that_an_actor_was_created_again() -> None:
    bench = orphaned(EAST, WEST)
    turn(bench)
    bench.start(FIRST)
    done = bench.say(FIRST, claim(FIRST, NEXT))
    query = next(each.query for each in messages(done, WEST) if isinstance(each, HoldName))
    done = bench.say(WEST, NameWord(query, HELD))
    assert DropName(*KEY, ACTOR, True) in messages(done, WEST)
    assert record_of(bench).claim.actor == NEXT


def test_a_wish_that_replaces_nothing_known_gives_nothing_up() -> None:
    bench = orphaned(EAST)
    machine = bench.machine.cluster.detached
    machine._outdone(Wish(DRIVER, 1, ("", "unknown"), WHOLE, ACTOR))
    machine._outdone(Wish(DRIVER, 1, KEY, WHOLE, OTHER))
    assert record_of(bench).orphaned
