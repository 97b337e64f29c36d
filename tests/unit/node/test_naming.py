"""A node claims, finds, keeps and frees names with others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.node.clusters import EAST, WEST, Among, far, messages, state
from tests.unit.node.fakes import DRIVER, NODE, peer
from zgen.core.node_events import MemberGone
from zgen.ids import NO_ACTOR, ActorId, PeerId
from zgen.wire.actor import ClaimName, FindName, FreeName, NameAnswer
from zgen.wire.cluster import NodeState
from zgen.wire.naming import (
    FREE,
    FULL,
    HELD,
    LATER,
    MINORITY,
    PENDING,
    TAKEN,
    AskNames,
    DropName,
    HoldName,
    NamesTold,
    NameWord,
    SeekName,
    SettleName,
)
from zgen_node.core import name_keeper, naming
from zgen_node.core.name_questions import CUT_OFF, NO_KEEPERS
from zgen_node.limits import NAME_PATIENCE_NS, NAMES_SILENCE_NS

ME, SOUTH, NORTH = NODE, peer("south"), peer("north")
ACTOR, OTHER = ActorId(peer("actor")), ActorId(peer("other"))


def claim(actor: ActorId = ACTOR, name: str = "name", query: int = 5) -> ClaimName:
    creator = far(DRIVER, NODE)
    return ClaimName(query, "", name, actor, creator, b"class")


def theirs(name: str = "name", node: PeerId = EAST, actor: ActorId = OTHER) -> ClaimName:
    return ClaimName(9, "", name, actor, far(peer("creator"), node), b"theirs")


def node(*others: PeerId) -> Among:
    """Return a node with a driver beside others, which count it as a keeper already."""
    bench = Among()
    bench.drive()
    for other in others:
        bench.member(state(other, ()))
    keeper = bench.machine.cluster.naming.keeper
    keeper._counted_by = {}
    keeper._keeps = True
    return bench


def group(bench: Among, name: str = "name") -> tuple[PeerId, ...]:
    return bench.machine.cluster.naming.electorate.keepers(("", name))


def led_by(bench: Among, first: PeerId) -> str:
    """Return a name of which this node is the first keeper."""
    return next(n for n in map(str, range(500)) if group(bench, n)[0] == first)


def held(done: list[Any], to: PeerId = EAST) -> HoldName | SeekName:
    """Return what a keeper was asked last."""
    return [m for m in messages(done, to) if isinstance(m, HoldName | SeekName)][-1]


def answers(done: list[Any]) -> list[tuple[ActorId, str]]:
    said = [m for m in messages(done, DRIVER) if isinstance(m, NameAnswer)]
    return [(answer.actor, answer.refusal) for answer in said]


def told(
    bench: Among, done: list[Any], verdict: int, *claims: ClaimName, by: PeerId = EAST
) -> list[Any]:
    return bench.say(by, NameWord(held(done, by).query, verdict, claims))


# -- claiming ------------------------------------------------------------------------------------
def test_a_name_is_given_when_all_keepers_hold_it_and_they_hear_of_that() -> None:
    bench = node(EAST, WEST)
    done = bench.say(DRIVER, claim())
    assert answers(done) == []
    asked = held(done)
    assert isinstance(asked, HoldName)
    assert (asked.claim, asked.group, asked.settled) == (claim(), group(bench), False)
    assert answers(told(bench, done, HELD)) == []
    done = told(bench, done, HELD, by=WEST)
    assert answers(done) == [(ACTOR, "")]
    settle = SettleName("", "name", ACTOR)
    assert messages(done, EAST) == messages(done, WEST) == [settle]
    freed = bench.say(DRIVER, FreeName("", "name", ACTOR))
    assert messages(freed, EAST) == messages(freed, WEST) == [DropName("", "name", ACTOR)]
    assert len(bench.machine.cluster.naming.records) == 0


def test_a_name_that_another_actor_has_is_not_given_and_nobody_holds_it_any_more() -> None:
    bench = node(EAST, WEST)
    done = bench.say(DRIVER, claim())
    done = told(bench, done, TAKEN, theirs())
    assert answers(done) == [(OTHER, "")]
    assert messages(done, WEST) == [DropName("", "name", ACTOR)]
    assert len(bench.machine.cluster.naming.records) == len(bench.machine.cluster.naming.names) == 0


def test_a_keeper_that_is_full_gives_no_name() -> None:
    bench = node(EAST)
    done = told(bench, bench.say(DRIVER, claim()), FULL)
    ((actor, refusal),) = answers(done)
    assert actor == NO_ACTOR
    assert "names already" in refusal


def test_whoever_has_the_first_keeper_waits_for_the_others() -> None:
    bench = node(EAST, WEST)
    name = led_by(bench, ME)
    done = bench.say(DRIVER, claim(name=name))
    told(bench, done, PENDING, theirs(name))
    told(bench, done, HELD, by=WEST)
    again = bench.advance(20_000_000)
    assert isinstance(held(again), HoldName), "it asks again"
    told(bench, again, HELD)
    assert answers(told(bench, again, HELD, by=WEST)) == [(ACTOR, "")]


def test_who_lacks_the_first_keeper_gives_way() -> None:
    bench = node(EAST, WEST)
    name = led_by(bench, EAST)
    done = bench.say(DRIVER, claim(name=name))
    told(bench, done, HELD, by=WEST)
    gives_way = told(bench, done, PENDING, theirs(name))
    drop = DropName("", name, ACTOR)
    assert messages(gives_way, WEST) == [drop]
    again = bench.advance(20_000_000)
    done = told(bench, again, TAKEN, theirs(name))
    assert answers(done) == [(OTHER, "")]


def test_a_name_is_given_without_a_keeper_that_is_dead() -> None:
    bench = node(EAST, WEST)
    done = bench.say(DRIVER, claim())
    told(bench, done, HELD)
    done = bench.gone(WEST)
    assert answers(told(bench, done, HELD)) == [(ACTOR, "")], "two of three are enough"


def test_a_word_that_comes_too_late_is_dropped() -> None:
    bench = node(EAST, WEST)
    done = bench.say(DRIVER, claim())
    told(bench, done, TAKEN, theirs())
    assert told(bench, done, HELD, by=WEST) == []
    done = bench.say(DRIVER, FindName(6, "", "name"))
    bench.join(SOUTH, 1, SOUTH)
    assert bench.say(SOUTH, NameWord(held(done).query, HELD)) == [], "nobody asked it"


def test_a_name_that_is_freed_before_it_was_got_is_not_got() -> None:
    bench = node(EAST)
    bench.say(DRIVER, FindName(6, "", "other"))
    done = bench.say(DRIVER, claim())
    freed = bench.say(DRIVER, FreeName("", "name", ACTOR))
    assert messages(freed, EAST) == [DropName("", "name", ACTOR)]
    assert answers(told(bench, done, HELD)) == []


def test_with_its_process_goes_a_claim_and_its_questions() -> None:
    bench = node(EAST)
    done = bench.say(DRIVER, claim())
    looks = bench.say(DRIVER, FindName(6, "", "other"))
    gone = bench.leave(DRIVER)
    assert DropName("", "name", ACTOR) in messages(gone, EAST)
    assert answers(told(bench, done, HELD)) == answers(told(bench, looks, FREE)) == []


def test_an_actor_claims_one_name_and_questions_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = node(EAST)
    bench.say(DRIVER, claim())
    bench.say(DRIVER, claim(name="second"))
    assert bench.counts["second name for one actor"] == 1
    monkeypatch.setattr(naming, "NAME_QUESTIONS_COUNT_MAX", 1)
    ((_, refusal),) = answers(bench.say(DRIVER, claim(OTHER, "third")))
    assert "more questions" in refusal


# -- finding -------------------------------------------------------------------------------------
def test_a_name_is_found_by_the_word_of_most_keepers() -> None:
    bench = node(EAST, WEST)
    done = bench.say(DRIVER, FindName(6, "", "name"))
    done = told(bench, done, TAKEN, theirs())
    assert answers(done) == [(OTHER, "")], "this node and one more"


def test_a_name_is_unknown_when_no_keeper_that_lives_knows_it() -> None:
    bench = node(EAST, WEST)
    done = bench.say(DRIVER, FindName(6, "", "name"))
    assert answers(told(bench, done, FREE)) == []
    assert answers(told(bench, done, FREE, by=WEST)) == [(NO_ACTOR, "")]


def test_a_name_that_is_not_settled_is_asked_for_again() -> None:
    bench = node(EAST)
    done = bench.say(DRIVER, FindName(6, "", "name"))
    assert answers(told(bench, done, PENDING, theirs())) == []
    again = bench.advance(20_000_000)
    assert answers(told(bench, again, TAKEN, theirs())) == [(OTHER, "")]


@pytest.mark.parametrize("wants", [claim(), FindName(6, "", "name")])
def test_a_question_that_finds_no_keepers_ends_with_the_reason(wants: Any) -> None:
    bench = node(EAST, WEST, SOUTH)
    done = bench.say(DRIVER, wants)
    assert answers(done) == []
    done = bench.advance(NAME_PATIENCE_NS)
    assert answers(done) == [(NO_ACTOR, NO_KEEPERS)]
    assert len(bench.machine.cluster.naming.names) == 0


@pytest.mark.parametrize("wants", [claim(), FindName(6, "", "name")])
def test_the_smaller_side_of_a_cut_says_so(wants: Any) -> None:
    bench = node(EAST, WEST)
    for other in (EAST, WEST):
        bench.gone(other)
    assert answers(bench.say(DRIVER, wants)) == [(NO_ACTOR, CUT_OFF)]
    bench.advance(NAMES_SILENCE_NS)
    assert answers(bench.say(DRIVER, wants)) == [(NO_ACTOR, CUT_OFF)]


def test_who_is_cut_off_asks_the_others_and_counts_as_they_do() -> None:
    bench = node(WEST, peer("a"), peer("b"))
    bench.gone(peer("a"))
    bench.gone(peer("b"))
    electors = bench.machine.cluster.naming.electorate
    if electors.has_majority:  # it has the lowest id
        electors._voters[PeerId(bytes(16))] = bench.now_ns
    name = led_by(bench, WEST)
    done = bench.say(DRIVER, FindName(6, "", name))
    assert answers(done) == [(NO_ACTOR, CUT_OFF)]
    assert AskNames(True) in messages(done, WEST)
    bench.say(WEST, NamesTold((), (NODE, WEST)))
    assert electors.has_majority
    assert answers(bench.say(DRIVER, FindName(6, "", name))) == []


def test_who_asks_as_one_that_is_cut_off_is_told_who_votes_by_the_larger_side() -> None:
    bench = node(EAST, WEST)
    assert messages(bench.say(EAST, AskNames(True))) == [NamesTold((), (NODE, EAST, WEST))]
    bench.gone(WEST)
    bench.gone(EAST)
    bench.member(state(SOUTH, ()))
    assert messages(bench.say(SOUTH, AskNames(True))) == []


@pytest.mark.parametrize("room", [0, 1])
def test_a_copy_of_a_name_is_kept_here_when_it_belongs_here_and_there_is_room(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = node(EAST, WEST, SOUTH, NORTH)
    name = next(n for n in map(str, range(500)) if NODE not in group(bench, n))
    done = bench.say(DRIVER, claim(name=name))
    last = [told(bench, done, HELD, by=keeper) for keeper in group(bench, name)][-1]
    assert answers(last) == [(ACTOR, "")]
    monkeypatch.setattr(name_keeper, "NAMES_COUNT_MAX", room)
    for keeper in group(bench, name)[:2]:
        bench.step(MemberGone(keeper, "dead", True))
    assert NODE in group(bench, name)
    assert len(bench.machine.cluster.naming.records) == room


def test_a_question_of_who_is_gone_is_answered_to_nobody() -> None:
    bench = node(EAST)
    naming_ = bench.machine.cluster.naming
    bench.say(DRIVER, FindName(6, "", "name"))
    (one,) = naming_._asking.values()
    one.asker = peer("gone")
    assert bench.advance(NAME_PATIENCE_NS) == [] or not answers(bench.advance(1))


def test_keepers_on_the_smaller_side_give_no_names() -> None:
    bench = node(EAST, WEST)
    done = bench.say(DRIVER, claim())
    told(bench, done, MINORITY)
    assert answers(told(bench, done, MINORITY, by=WEST)) == [(NO_ACTOR, CUT_OFF)]


# -- keeping -------------------------------------------------------------------------------------
def ask_hold(bench: Among, said: ClaimName, *, settled: bool = False, query: int = 3) -> HoldName:
    return HoldName(query, said, group(bench, said.name), settled)


def word(done: list[Any], to: PeerId = EAST) -> NameWord:
    (said,) = [m for m in messages(done, to) if isinstance(m, NameWord)]
    return said


def test_a_keeper_holds_a_name_for_one_actor_and_says_for_whom() -> None:
    bench = node(EAST, WEST)
    assert word(bench.say(EAST, ask_hold(bench, theirs()))) == NameWord(3, HELD)
    assert word(bench.say(EAST, ask_hold(bench, theirs()))) == NameWord(3, HELD)
    mine = ask_hold(bench, theirs(node=WEST, actor=ACTOR))
    assert word(bench.say(WEST, mine), WEST) == NameWord(3, PENDING, (theirs(),))
    bench.say(EAST, SettleName("", "name", ACTOR))
    bench.say(EAST, SettleName("", "name", OTHER))
    assert word(bench.say(WEST, mine), WEST) == NameWord(3, TAKEN, (theirs(),))
    seek = SeekName(4, "", "name", group(bench))
    assert word(bench.say(WEST, seek), WEST) == NameWord(4, TAKEN, (theirs(),))
    bench.say(WEST, DropName("", "name", OTHER))
    assert word(bench.say(WEST, seek), WEST).verdict == TAKEN, "it is not theirs"
    bench.say(EAST, DropName("", "name", OTHER))
    assert word(bench.say(WEST, seek), WEST) == NameWord(4, FREE)


def test_a_keeper_holds_nothing_for_who_counts_others_than_it_does() -> None:
    bench = node(EAST, WEST)
    other = HoldName(3, theirs(), (EAST, WEST), False)
    assert word(bench.say(EAST, other)) == NameWord(3, LATER)
    copy = HoldName(3, theirs(), (EAST, WEST), True)
    assert word(bench.say(EAST, copy)) == NameWord(3, HELD), "but a copy of what is settled"


def test_a_keeper_on_the_smaller_side_says_so() -> None:
    bench = node(EAST, WEST, SOUTH)
    bench.gone(WEST)
    bench.gone(SOUTH)
    verdict = word(bench.say(EAST, ask_hold(bench, theirs()))).verdict
    assert verdict == (HELD if bench.machine.cluster.naming.electorate.has_majority else MINORITY)
    bench = node(EAST, WEST, SOUTH, NORTH)
    for gone in (WEST, SOUTH, NORTH):
        bench.gone(gone)
    assert word(bench.say(EAST, ask_hold(bench, theirs()))) == NameWord(3, MINORITY)


def test_a_keeper_has_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = node(EAST, WEST)
    monkeypatch.setattr(name_keeper, "NAMES_COUNT_MAX", 0)
    assert word(bench.say(EAST, ask_hold(bench, theirs()))) == NameWord(3, FULL)


def test_strangers_and_nodes_that_are_no_members_yet_have_nothing_kept() -> None:
    bench = node(EAST)
    bench.join(SOUTH, 1, SOUTH)
    assert word(bench.say(SOUTH, ask_hold(bench, theirs())), SOUTH) == NameWord(3, LATER)
    bench.say(DRIVER, ask_hold(bench, theirs()), AskNames(False))
    assert bench.counts["name kept for no node"] == 1


def test_a_new_keeper_has_all_others_count_it_before_it_says_that_a_name_is_free() -> None:
    bench = node(EAST, WEST)
    keeper = bench.machine.cluster.naming.keeper
    keeper._counted_by, keeper._keeps = None, False
    seek = SeekName(4, "", "name", group(bench))
    done = bench.say(EAST, seek)
    assert word(done) == NameWord(4, LATER)
    assert AskNames(False) in messages(done, EAST)
    assert AskNames(False) in messages(done, WEST)
    bench.say(EAST, NamesTold((), ()))
    assert word(bench.say(EAST, seek)) == NameWord(4, LATER)
    bench.say(WEST, NamesTold((EAST, WEST), ()))
    assert word(bench.say(EAST, seek)) == NameWord(4, FREE)
    assert bench.say(WEST, NamesTold((), ())) == [], "said twice, it says nothing"


def test_a_new_keeper_asks_again_who_holds_names_for_a_node_that_it_does_not_know() -> None:
    bench = node(EAST)
    keeper = bench.machine.cluster.naming.keeper
    keeper._counted_by, keeper._keeps = None, False
    seek = SeekName(4, "", "name", group(bench))
    bench.say(EAST, seek)
    bench.say(EAST, NamesTold((SOUTH,), ()))
    done = bench.say(EAST, seek)
    assert word(done) == NameWord(4, LATER)
    assert AskNames(False) in messages(done, EAST)
    bench.step(MemberGone(SOUTH, "it was dead before"))
    bench.say(EAST, NamesTold((SOUTH,), ()))
    assert word(bench.say(EAST, seek)) == NameWord(4, FREE)


def test_a_new_keeper_does_not_wait_for_the_dead() -> None:
    bench = node(EAST, WEST)
    keeper = bench.machine.cluster.naming.keeper
    keeper._counted_by, keeper._keeps = None, False
    bench.say(EAST, SeekName(4, "", "name", group(bench)))
    bench.say(EAST, NamesTold((), ()))
    bench.step(MemberGone(WEST, "left", True))
    assert word(bench.say(EAST, SeekName(4, "", "name", group(bench)))) == NameWord(4, FREE)


def test_a_new_keeper_takes_over_who_votes() -> None:
    bench = node(EAST, WEST)
    keeper = bench.machine.cluster.naming.keeper
    keeper._counted_by, keeper._keeps = None, False
    bench.say(EAST, SeekName(4, "", "name", group(bench)))
    bench.say(EAST, NamesTold((), (EAST, WEST, SOUTH)))
    electors = bench.machine.cluster.naming.electorate
    assert electors.silent == [SOUTH]
    bench.advance(NAMES_SILENCE_NS)
    assert electors.silent == []


def test_a_node_counts_a_new_keeper_and_has_it_hold_what_it_should() -> None:
    bench = node(EAST)
    done = told(bench, bench.say(DRIVER, claim()), HELD)
    assert answers(done) == [(ACTOR, "")]
    done = bench.member(state(WEST, ()))
    copy = held(done, WEST)
    assert isinstance(copy, HoldName)
    assert copy.settled
    bench.say(WEST, NameWord(copy.query, HELD))
    done = bench.say(WEST, AskNames(False))
    assert messages(done, WEST) == [NamesTold((NODE,), ())]
    bench.say(WEST, NameWord(copy.query, TAKEN, (theirs(),)))
    assert bench.counts["name held for two actors"] == 1


def test_a_keeper_that_is_no_member_yet_is_counted_when_it_is() -> None:
    bench = node(EAST)
    bench.join(WEST, 1, WEST)
    assert bench.say(WEST, AskNames(False)) == []
    assert NamesTold((), ()) in messages(bench.member(state(WEST, ())), WEST)
    bench.join(SOUTH, 1, SOUTH)
    bench.say(SOUTH, AskNames(False))
    bench.gone(SOUTH)
    assert bench.machine.cluster.naming.keeper._early == {}


def test_a_keeper_that_was_asked_and_told_nothing_says_nothing() -> None:
    bench = Among()
    bench.drive()
    bench.member(state(EAST, ()))
    assert bench.say(EAST, NamesTold((), (EAST, NODE))) == []
    bench.gone(EAST)
    assert bench.machine.cluster.naming.keeper._counted_by is None


def test_who_counts_says_who_votes_while_somebody_is_silent() -> None:
    bench = node(EAST, WEST)
    bench.gone(WEST)
    done = bench.say(EAST, AskNames(False))
    assert messages(done, EAST) == [NamesTold((), (NODE, EAST, WEST))]


# -- members come and go -------------------------------------------------------------------------
def test_names_are_kept_by_whom_they_belong_to_as_members_come_and_go() -> None:
    bench = node(EAST, WEST)
    done = bench.say(DRIVER, claim())
    told(bench, done, HELD)
    told(bench, done, HELD, by=WEST)
    others = [peer(name) for name in ("p", "q", "r", "s")]
    keepers = dict.fromkeys(group(bench))
    for other in others:
        done = bench.member(NodeState(far(other, other), (), (), (), 0, 0))
        now = dict.fromkeys(group(bench))
        for came in [each for each in now if each not in keepers and each != NODE]:
            copy = held(done, came)
            assert isinstance(copy, HoldName)
            assert copy.settled
        for left in [each for each in keepers if each not in now and each != NODE]:
            assert messages(done, left) == [DropName("", "name", ACTOR)]
        keepers = now
    named = bench.machine.cluster.naming.names.get(ACTOR)
    assert named is not None
    assert sorted(named.keepers) == sorted(keepers)


def test_with_its_home_goes_a_name_at_once_if_that_is_certainly_dead() -> None:
    bench = node(EAST, WEST)
    bench.say(EAST, ask_hold(bench, theirs(), settled=True))
    bench.step(MemberGone(EAST, "dead", True))
    assert len(bench.machine.cluster.naming.records) == 0


def test_with_a_silent_home_goes_a_name_when_the_other_side_must_know_of_the_cut() -> None:
    bench = node(EAST, WEST)
    bench.say(EAST, ask_hold(bench, theirs(), settled=True))
    bench.gone(EAST)
    bench.advance(NAMES_SILENCE_NS - 1)
    assert len(bench.machine.cluster.naming.records) == 1
    bench.advance(1)
    assert len(bench.machine.cluster.naming.records) == 0
