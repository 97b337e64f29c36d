"""Who counts for names, and which side of a cut may give them away."""

from __future__ import annotations

import pytest

from tests.unit.node.fakes import peer
from zgen.ids import PeerId
from zgen_node.core.electorate import Electorate
from zgen_node.limits import NAMES_SILENCE_NS

A, B, C, D, E = (peer(name) for name in "abcde")
KEY = ("", "name")
NOW_NS = 1_000


def among(me: PeerId, *others: PeerId) -> Electorate:
    electors = Electorate(me)
    for node in others:
        electors.up(node)
    electors.check()
    return electors


def test_a_node_alone_keeps_all_names_and_gives_them_away() -> None:
    electors = among(A)
    assert electors.has_majority
    assert electors.keepers(KEY) == (A,)


def test_three_nodes_keep_a_name_and_all_members_agree_which() -> None:
    nodes = (A, B, C, D, E)
    views = [among(me, *(node for node in nodes if node != me)) for me in nodes]
    for name in ("name", "other", "third"):
        (kept,) = {view.keepers(("", name)) for view in views}
        assert len(kept) == 3
    assert len({views[0].keepers(("", str(number))) for number in range(40)}) > 10
    assert views[0].keepers(("a", "b")) != views[0].keepers(("b", "a"))


@pytest.mark.parametrize("gone", [B, E])
def test_one_that_is_certainly_gone_counts_no_more_and_the_others_keep_their_names(
    gone: PeerId,
) -> None:
    electors = among(A, B, C, D, E)
    before = {name: electors.keepers(("", name)) for name in map(str, range(30))}
    assert electors.gone(gone, True, NOW_NS) is None
    electors.check()
    for name, keepers in before.items():
        kept = [node for node in keepers if node != gone]
        assert list(electors.keepers(("", name)))[: len(kept)] == kept
    assert gone not in electors.voters
    assert electors.gone(gone, True, NOW_NS) is None, "and a second time nothing happens"


def test_one_that_fell_silent_counts_until_the_other_side_would_know_of_the_cut() -> None:
    electors = among(A, B, C)
    until_ns = electors.gone(C, False, NOW_NS)
    assert until_ns == NOW_NS + NAMES_SILENCE_NS
    assert electors.gone(C, False, NOW_NS + 5) == until_ns, "it is not counted anew"
    assert electors.silent == [C]
    assert C in electors.keepers(KEY)
    assert electors.settle(until_ns - 1) == []
    assert electors.settle(until_ns) == [C]
    assert electors.voters == (A, B)


def test_a_silent_one_of_which_the_death_is_heard_counts_no_more() -> None:
    electors = among(A, B, C)
    electors.gone(C, False, NOW_NS)
    assert electors.gone(C, True, NOW_NS) is None
    assert electors.silent == []


@pytest.mark.parametrize(
    ("me", "silent", "may"),
    [
        (A, (B, C), False),
        (A, (C,), True),
        (A, (), True),
    ],
)
def test_the_side_with_most_voters_gives_names_away(
    me: PeerId, silent: tuple[PeerId, ...], may: bool
) -> None:
    electors = among(me, *(node for node in (A, B, C) if node != me))
    for node in silent:
        electors.gone(node, False, NOW_NS)
    assert electors.has_majority is may
    electors.settle(NOW_NS + NAMES_SILENCE_NS)
    assert electors.has_majority is may
    assert bool(electors.silent) is not may, "the smaller side counts them for ever"


@pytest.mark.parametrize(("me", "other", "may"), [(A, B, True), (B, A, False)])
def test_of_two_equal_halves_the_one_with_the_lowest_id_goes_on(
    me: PeerId, other: PeerId, may: bool
) -> None:
    electors = among(me, other)
    electors.gone(other, False, NOW_NS)
    assert electors.has_majority is may


def test_who_joins_while_others_are_silent_votes_when_none_is_any_more() -> None:
    electors = among(B, A, C)
    electors.gone(A, False, NOW_NS)
    electors.up(D)
    electors.check()
    assert D not in electors.voters
    assert electors.settle(NOW_NS + NAMES_SILENCE_NS) == [A]
    electors.check()
    assert electors.voters == (B, C, D)


def test_newcomers_make_no_side_the_larger_one() -> None:
    electors = among(A, B, C, D, E)
    for node in (C, D, E):
        electors.gone(node, False, NOW_NS)
    for name in ("x", "y", "z", "w"):
        electors.up(peer(name))
    assert electors.settle(NOW_NS + NAMES_SILENCE_NS) == []
    assert not electors.has_majority
    assert electors.gone(peer("x"), True, NOW_NS) is None, "it is dead"
    electors.check()


def test_a_newcomer_that_falls_silent_may_have_voted_on_the_other_side() -> None:
    electors = among(A, B, C)
    electors.gone(C, False, NOW_NS)
    electors.up(D)  # heard of late
    assert electors.has_majority
    assert electors.gone(D, False, NOW_NS + 1) == NOW_NS + 1 + NAMES_SILENCE_NS
    electors.check()
    assert electors.silent == [C, D]
    electors.up(E)
    electors.gone(E, False, NOW_NS + 2)
    assert not electors.has_majority


def test_a_newcomer_takes_over_who_votes() -> None:
    electors = among(D, A, B)
    assert electors.adopt((), NOW_NS) == []
    assert electors.adopt((A, D), NOW_NS) == [], "it votes already"
    assert electors.adopt((A, B, C, E), NOW_NS) == [C, E]
    electors.check()
    assert not electors.has_majority or electors.voters[0] == A
    assert electors.voters == (A, B, C, E)
    peers = [peer(name) for name in "fg"]
    assert electors.adopt((A, *peers), NOW_NS + 1) == [C, E, *peers], "what others said stays"
    electors.check()
    electors.up(C)
    electors.check()
    assert C not in electors.silent, "it lives, and was not known before"


def test_who_is_cut_off_in_its_own_eyes_alone_counts_as_the_others_do() -> None:
    electors = among(C, A, B, D)
    for node in (A, B):
        electors.gone(node, False, NOW_NS)
    electors.up(E)
    before = electors.has_majority
    assert electors.follow((B, D, C, E), (), NOW_NS + 1) == [A]
    electors.check()
    assert (before, electors.has_majority) == (False, True)
    assert electors.silent == [B]
    assert electors.follow((C, D), (), NOW_NS + 1) == [B]
    electors.check()
    assert electors.voters == (C, D, E)


def test_who_counts_as_others_do_still_misses_whom_they_have_not_missed_yet() -> None:
    electors = among(A, B, C, D, E)
    for node in (C, D, E):
        electors.gone(node, False, NOW_NS)
    assert electors.follow((A, B, C, D), (E,), NOW_NS + 1) == []
    electors.check()
    assert electors.newcomers == ()
    assert electors.silent == [C, D, E]
    assert not electors.has_majority


def test_a_voter_that_becomes_known_was_the_last_silent_one() -> None:
    electors = among(D, A)
    electors.adopt((A, C), NOW_NS)
    electors.up(C)
    electors.check()
    assert electors.voters == (A, C, D)


def test_who_takes_voters_over_waits_for_the_death_that_keeps_it_from_voting() -> None:
    electors = among(E, A, B)
    assert electors.adopt((A, B), NOW_NS) == []
    electors.check()
    assert E not in electors.voters
    assert electors.gone(B, True, NOW_NS) is None
    electors.check()
    assert electors.voters == (A, E)
