"""The tables of membership: view, news, suspicions, probes, graves."""

from __future__ import annotations

import pytest

from tests.unit.node.fakes import peer
from tests.unit.node.members import word
from zgen.ids import PeerId
from zgen.limits import FENCED_COUNT_MAX, SECOND
from zgen.wire.codec import encode
from zgen.wire.membership import DEAD, SUSPECT, Gossip, MemberAlive, MemberDead, MemberDoubt
from zgen_node.core.membership_dice import Dice
from zgen_node.core.membership_doubts import Doubts
from zgen_node.core.membership_graves import Graves
from zgen_node.core.membership_news import News, size_of
from zgen_node.core.membership_probes import Probes, Relay, Strain
from zgen_node.core.membership_profile import fast, lan
from zgen_node.core.membership_view import View, bucket_of, buckets_that_differ, score_of
from zgen_node.limits import (
    GRAVES_COUNT_MAX,
    LINKS_STRAINED_COUNT_MAX,
    MEMBERS_WATCHED_COUNT_MAX,
    PIGGYBACK_BYTES_MAX,
    RELAYS_COUNT_MAX,
)

ME = PeerId(b"\x80" * 16)


def number(each: int) -> PeerId:
    return PeerId(each.to_bytes(2, "big") * 8)


def said(each: int) -> MemberAlive:
    return MemberAlive(number(each), 0, f"tcp://{each}", 0, 0, b"")


def view_of(count: int, full: int = 1000, partial: int = 256) -> View:
    view = View(ME, Dice(b"seed"), full, partial)
    for each in range(count):
        view.add(said(each))
    view.check()
    return view


# -- view ------------------------------------------------------------------------------------------
def test_each_member_comes_once_a_round_and_rounds_differ() -> None:
    view = view_of(9)
    view.next_in_turn()
    while view._round:
        view.next_in_turn()
    rounds = [[view.next_in_turn() for _ in range(9)] for _ in range(2)]
    assert sorted(rounds[0], key=bytes) == sorted(view.members)  # type: ignore[arg-type]  # no None
    assert rounds[0] != rounds[1]


def test_the_dead_have_no_turn_and_nobody_has_one_where_nobody_is() -> None:
    view = view_of(2)
    view.remove(number(0))
    assert [view.next_in_turn() for _ in range(3)] == [number(1)] * 3
    view.remove(number(1))
    view.check()
    assert view.next_in_turn() is None
    assert view.successor() is None
    assert view.lowest == ME
    assert view.draw(3) == []


def test_the_successor_is_next_round_the_ring() -> None:
    view = View(ME, Dice(b""))
    view.add(said(1))
    assert view.successor() == number(1)
    view.add(said(0x9000))
    assert view.successor() == number(0x9000)
    assert view.lowest == number(1)


def test_members_are_drawn_once_and_never_the_one_excepted() -> None:
    view = view_of(40)
    for _ in range(50):
        drawn = view.draw(5, number(7))
        assert len(dict.fromkeys(drawn)) == 5
        assert number(7) not in drawn
    assert view_of(3).draw(3, number(1)) == [number(0), number(2)]


def test_a_large_cluster_is_known_in_part_by_hash_and_its_size_is_guessed() -> None:
    view = View(ME, Dice(b""), 100, 40)
    gone = []
    for each in range(100):
        assert view.add(said(each))[1] == []
    assert not view.partial
    refused = 0
    for each in range(100, 3000):
        kept, out = view.add(said(each))
        refused += kept is None
        gone += out
    view.check()
    nearest = sorted((number(each) for each in range(3000)), key=lambda node: score_of(ME, node))
    assert sorted(view.members) == sorted(nearest[:40])
    assert len(gone) + refused == 2960
    assert 1500 < view.count_estimate < 6000
    assert view.summary(said(1)) == b""


def test_a_cluster_that_shrank_is_known_in_full_again() -> None:
    view = view_of(200, 100, 40)
    assert view.partial
    view.widen()
    assert view.partial
    for node in list(view.members)[1:]:
        view.remove(node)
    assert view.count_estimate == 2
    view.widen()
    assert not view.partial


def test_a_watched_member_stays_whatever_its_hash() -> None:
    view = view_of(150, 100, 40)
    far = max((number(each) for each in range(150)), key=lambda node: score_of(ME, node))
    member, gone = view.add(said(int.from_bytes(far[:2], "big")), watched=True)
    assert member is not None
    assert gone == []
    assert len(view) == 41
    view.check()
    assert view.unwatch(member) == [far]
    assert view.unwatch(member) == []
    near = next(iter(view.members.values()))
    view.watch(near)
    view.watch(near)
    view.check()
    assert view.unwatch(near) == []


def test_no_more_are_watched_than_the_bound_says() -> None:
    view = view_of(1)
    view._watched_count = MEMBERS_WATCHED_COUNT_MAX
    assert view.add(said(5), watched=True) == (None, [])
    view.watch(view.members[number(0)])
    assert not view.members[number(0)].watched


def test_hashes_of_those_that_left_do_not_pile_up() -> None:
    view = view_of(3)
    for each in range(10, 400):
        view.add(said(each))
        view.remove(number(each))
    assert len(view._worst) < 80
    view.check()


def test_sums_differ_where_members_or_their_words_do() -> None:
    one, other = view_of(20), view_of(20)
    me = MemberAlive(ME, 0, "", 0, 0, b"")
    assert buckets_that_differ(one.summary(me), other.summary(me)) == []
    changed = MemberAlive(number(3), 1, "", 0, 0, b"")
    one.change(one.members[number(3)], changed)
    assert buckets_that_differ(one.summary(me), other.summary(me)) == [bucket_of(number(3))]
    assert len(buckets_that_differ(b"", one.summary(me))) == 32
    assert len(buckets_that_differ(b"", b"")) == 32


def test_the_size_of_a_cluster_is_known_where_all_are_watched() -> None:
    view = view_of(5, 4, 2)
    for member in view.members.values():
        view.watch(member)
    view.remove(next(iter(view.members)))
    assert view.count_estimate == 2


# -- news ------------------------------------------------------------------------------------------
def doubt(name: str, state: int = SUSPECT) -> MemberDoubt:
    return MemberDoubt(peer(name), 1 << 40, state, peer("by"))


def test_news_are_told_so_often_as_the_cluster_has_digits_and_once_more() -> None:
    news = News()
    news.put(doubt("a"))
    told = 0
    while news:
        told += len(news.take(10)[1])
        news.check()
    assert told == 12
    assert news.take(10) == ((), ())


def test_newer_news_take_the_place_of_older_and_are_told_first() -> None:
    news = News()
    news.put(doubt("a"))
    news.take(10)
    news.put(word("b"))
    news.put(doubt("a", DEAD))
    news.check()
    assert news.take(10) == ((word("b"),), (doubt("a", DEAD),))
    assert news.has(peer("b"), MemberAlive)
    news.drop(peer("b"), MemberAlive)
    news.drop(peer("b"), MemberAlive)
    assert not news.has(peer("b"), MemberAlive)
    news.clear()
    news.check()
    assert not news


def test_what_the_receiver_must_hear_comes_first_and_once() -> None:
    news = News()
    mine = word("a")
    assert news.take(1, mine) == ((mine,), ())
    news.put(mine)
    news.put(doubt("b"))
    assert news.take(1, mine) == ((mine,), (doubt("b"),))


def test_a_message_carries_no_more_news_than_fit() -> None:
    news = News()
    for each in range(100):
        payload = bytes(each * 5)
        news.put(MemberAlive(number(each), 1 << 40, f"tcp://{each}", 1, 1 << 40, payload))
        news.put(MemberDoubt(number(each), 1 << 40, SUSPECT, number(each)))
    bare = len(encode(Gossip(ME, ME, (), ()))[0])
    while news:
        gossip = Gossip(ME, ME, *news.take(10))
        news.check()
        assert len(encode(gossip)[0]) - bare <= PIGGYBACK_BYTES_MAX
        assert gossip.alive or gossip.doubts


def test_the_size_of_a_word_is_never_more_than_is_reckoned() -> None:
    long = MemberAlive(ME, 1 << 63, "e" * 255, 1, 1 << 63, bytes(512))
    for each in (long, MemberDoubt(ME, 1 << 63, DEAD, ME)):
        alive, doubts = ((each,), ()) if isinstance(each, MemberAlive) else ((), (each,))
        bare = len(encode(Gossip(ME, ME, (), ()))[0])
        assert len(encode(Gossip(ME, ME, alive, doubts))[0]) - bare <= size_of(each)


# -- suspicions ------------------------------------------------------------------------------------
def test_each_other_member_that_suspects_makes_a_suspicion_shorter() -> None:
    doubts = Doubts(lan())
    due_s = []
    for name in ("a", "b", "b", "c", "d", "e"):
        suspicion, _ = doubts.suspect(peer("x"), 0, peer(name), 9, 0)
        due_s.append(suspicion.due_ns / SECOND)
        doubts.check()
    assert due_s == [7.0, 6.5, 6.5, 6.208, 6.0, 6.0]


def test_where_nobody_else_can_confirm_a_suspicion_is_short_at_once() -> None:
    suspicion, is_news = Doubts(lan()).suspect(peer("x"), 0, peer("a"), 0, 5)
    assert is_news
    assert suspicion.due_ns == 6 * SECOND + 5


def test_a_newer_incarnation_is_suspected_from_the_beginning() -> None:
    doubts = Doubts(lan())
    doubts.suspect(peer("x"), 0, peer("a"), 9, 0)
    suspicion, is_news = doubts.suspect(peer("x"), 1, peer("a"), 9, SECOND)
    assert is_news
    assert suspicion.began_ns == SECOND
    ((_, shifted),) = doubts.shift(SECOND)
    assert shifted.due_ns == 9 * SECOND
    assert doubts.end(peer("x"))
    assert not doubts.end(peer("x"))


def test_two_refused_dials_are_proof_and_one_where_nobody_else_is() -> None:
    doubts = Doubts(fast())
    suspicion, _ = doubts.suspect(peer("x"), 0, peer("a"), 9, 0)
    assert not doubts.refused(suspicion, peer("a"), alone=False)
    assert not doubts.refused(suspicion, peer("a"), alone=False)
    assert doubts.refused(suspicion, peer("b"), alone=False)
    alone, _ = doubts.suspect(peer("y"), 0, peer("a"), 0, 0)
    assert doubts.refused(alone, peer("a"), alone=True)


# -- probes ----------------------------------------------------------------------------------------
def test_an_answer_counts_for_the_probe_of_its_number_alone() -> None:
    probes = Probes()
    probe = probes.begin(peer("a"), 0, 10)
    assert probes.answered(peer("a"), probe.number)
    assert not probes.answered(peer("a"), probe.number + 1)
    assert not probes.answered(peer("b"), probe.number)
    probes.check()
    assert probes.end(peer("a")) is probe
    assert probes.end(peer("a")) is None


def test_a_ping_for_another_is_answered_once_and_the_oldest_are_forgotten() -> None:
    probes = Probes()
    relay = Relay(peer("a"), "tcp://a", 7, peer("x"))
    numbers = [probes.relay(relay) for _ in range(RELAYS_COUNT_MAX + 1)]
    probes.check()
    assert probes.relayed(peer("x"), numbers[0]) is None
    assert probes.relayed(peer("y"), numbers[1]) is None
    assert probes.relayed(peer("x"), numbers[1]) is relay
    assert probes.relayed(peer("x"), numbers[1]) is None


def test_strained_links_are_bounded() -> None:
    probes = Probes()
    for each in range(LINKS_STRAINED_COUNT_MAX + 1):
        probes.strain(number(each), each, peer("x"))
    probes.strain(number(0), 99, peer("y"))
    assert probes.strains[number(0)] == Strain(0, peer("y"))
    probes.check()
    assert not probes.ease(number(0))
    assert not probes.ease(number(0))
    probes.begin(peer("a"), 0, 10)
    ((_, probe),) = probes.shift(5)
    assert probe.due_ns == 15
    assert probes.strains[number(1)].since_ns == 6
    probes.strains[number(1)].broken = True
    assert probes.ease(number(1))


# -- graves ----------------------------------------------------------------------------------------
def first(bound: int) -> int:
    return 0


def last(bound: int) -> int:
    return bound - 1


def grave(each: int) -> tuple[PeerId, str]:
    return number(each), f"tcp://{each}"


def test_who_died_lately_is_tried_by_all_and_the_others_apart() -> None:
    graves = Graves(600)
    assert graves.draw_fresh(0, first) is None
    assert graves.draw_old(first) is None
    for each, at_ns in ((1, 0), (2, 200), (3, 300)):
        graves.bury(*grave(each), at_ns)
    assert [graves.draw_fresh(300, dice) for dice in (first, last)] == [grave(1), grave(3)]
    assert graves.draw_old(first) is None
    assert [graves.draw_fresh(800, dice) for dice in (first, last)] == [grave(3), grave(3)]
    assert [graves.draw_old(dice) for dice in (first, last)] == [grave(1), grave(2)]
    assert graves.draw_fresh(900, first) is None
    graves.check()


def test_who_died_with_one_that_lives_is_tried_first_as_if_it_just_had_died() -> None:
    graves = Graves(600)
    for each, at_ns in ((1, 0), (2, 500), (3, 560), (4, 600)):
        graves.bury(*grave(each), at_ns)
    graves.stir(number(9), 600)
    assert graves.draw_fresh(5000, first) is None
    graves.bury(*grave(5), 5000)
    graves.stir(number(2), 5000)
    tried = [graves.draw_fresh(5500, last) for _ in range(4)]
    assert tried == [grave(4), grave(3), grave(2), grave(4)]
    assert graves.listed()[0] == MemberDead(*grave(1))
    graves.check()


def test_who_has_come_back_as_another_is_tried_no_more_but_those_that_died_with_it_are() -> None:
    graves = Graves(600)
    for each in (1, 2):
        graves.bury(*grave(each), 50)
    graves.settled("tcp://2", 60)
    assert graves.listed() == [MemberDead(*grave(1))]
    assert graves.told() == [MemberDead(*grave(1)), MemberDead(number(2), "")]
    assert number(2) in graves
    graves.bury(*grave(3), 70)
    assert graves.draw_fresh(900, first) is None
    graves.settled("tcp://3", 900)
    assert graves.draw_fresh(900, first) == grave(1)
    graves.check()


def test_the_oldest_dead_are_forgotten_beyond_the_bounds() -> None:
    graves = Graves(0)
    graves.bury(number(0), "tcp://0", 0)
    for each in range(1, FENCED_COUNT_MAX):
        graves.fence(number(each))
    graves.check()
    assert number(0) in graves
    graves.fence(PeerId(b"last".ljust(16)))
    assert number(0) not in graves
    assert graves.listed() == []
    for each in range(GRAVES_COUNT_MAX + 1):
        graves.bury(number(each), f"tcp://{each}", 0)
    assert len(graves.listed()) == GRAVES_COUNT_MAX
    assert graves.told() == graves.listed()
    assert graves.draw_fresh(0, first) is None
    graves.bury(PeerId(b"new".ljust(16)), "tcp://new", 0)
    assert graves.listed()[-1].endpoint == "tcp://new"
    assert len(graves.listed()) == GRAVES_COUNT_MAX
    graves.check()


@pytest.mark.parametrize("bound", [1, 2, 1000])
def test_dice_stay_below_their_bound_and_follow_from_their_seed(bound: int) -> None:
    one, other = Dice(b"seed"), Dice(b"seed")
    drawn = [one.below(bound) for _ in range(100)]
    assert drawn == [other.below(bound) for _ in range(100)]
    assert all(0 <= each < bound for each in drawn)
    assert len(dict.fromkeys(drawn)) > bound // 20
