"""Members that talk to each other by hand: probes, suspicion, death, joining, leaving."""

from __future__ import annotations

from tests.unit.node.fakes import peer
from tests.unit.node.members import Few, word
from zgen.core.effects import Report
from zgen.core.events import Leave, TimerDue
from zgen.ids import PeerId
from zgen.limits import MS, SECOND
from zgen.wire.membership import (
    ACTIVE,
    DEAD,
    DECLARED_DEAD,
    DRAINING,
    ID_TAKEN,
    NOBODY,
    OTHER_CLUSTER,
    OTHER_PYTHON,
    OTHER_RELEASE,
    SUSPECT,
    WELCOME,
    Digest,
    Fence,
    Gossip,
    IndirectAck,
    JoinAnswer,
    JoinRequest,
    MemberAlive,
    MemberDead,
    MemberDoubt,
    Ping,
    PingAck,
    PingRequest,
    PushPull,
)
from zgen_node.core.membership_profile import fast, lan
from zgen_node.core.membership_words import (
    Drain,
    Fenced,
    Join,
    Joined,
    JoinRefused,
    LeftCluster,
    LinkBroken,
    LinkRestored,
    MemberBuried,
    MemberChanged,
    MemberDown,
    MemberSuspected,
    MemberTrusted,
    MemberUnlisted,
    MemberUp,
    PeerRefused,
    Publish,
    UnwatchMember,
    WatchMember,
)
from zgen_node.limits import ENDPOINT_BYTES_MAX, HEARD_COUNT_MAX

A, B, C, X, Y = peer("a"), peer("b"), peer("c"), peer("x"), peer("y")


def settled(names: str, full_count_max: int = 1000, partial_count: int = 256) -> Few:
    few = Few(names, full_count_max, partial_count)
    few.run(2 * SECOND)
    for name in names:
        few.other[name].clear()
    few.sent.clear()
    return few


def doubt(node: PeerId, state: int = SUSPECT, incarnation: int = 0, by: PeerId = X) -> MemberDoubt:
    return MemberDoubt(node, incarnation, state, by)


def some(each: int) -> PeerId:
    return PeerId(each.to_bytes(2, "big") * 8)


# -- joining ---------------------------------------------------------------------------------------
def test_who_joins_is_known_to_all_and_knows_all() -> None:
    few = Few("abc")
    few.run(SECOND)
    assert few.knows("a") == [B, C]
    assert few.knows("b") == [A, C]
    assert few.knows("c") == [A, B]
    assert few.of("c", Joined) == [Joined(3)]
    assert [up.member.node for up in few.of("b", MemberUp)] == [A, C]


def test_who_has_joined_tells_so_as_well_since_who_let_it_in_may_be_gone() -> None:
    few = settled("ab")
    few.add("c")
    few.cut["a", "b"] = few.cut["b", "a"] = None
    few.step("c", Join(("tcp://a",)))
    few.members.pop("a")
    few.run(SECOND)
    assert C in few.knows("b")


def test_seeds_are_asked_in_turn_until_one_answers() -> None:
    few = Few("a")
    few.add("b")
    few.step("b", Join(("tcp://z", "tcp://b", "tcp://a")))
    assert not few.of("b", Joined)
    few.run(SECOND)
    assert few.of("b", Joined)
    assert [to for to, said in few.sent if type(said) is JoinRequest] == ["z", "a"]
    few.hear("b", few.last(JoinAnswer))
    assert len(few.of("b", Joined)) == 1


def test_a_node_that_does_not_fit_is_refused_with_the_reason() -> None:
    few = Few("a")
    said = {"cluster": OTHER_CLUSTER, "release": OTHER_RELEASE, "python": OTHER_PYTHON}
    for name, (what, refusal) in zip("bcd", said.items(), strict=True):
        few.add(name, **{what: "another"})
        few.step(name, Join(("tcp://a",)))
        (refused,) = few.of(name, JoinRefused)
        assert refused.refusal == refusal
        assert "another" in refused.detail
        assert few.members[name].next_deadline_ns is None
    assert len(few.of("a", Report)) == 3
    assert few.knows("a") == []


def test_an_id_is_one_node_and_a_dead_one_is_refused() -> None:
    few = settled("ab")
    for node, endpoint in ((B, "tcp://c"), (A, "tcp://c")):
        thief = MemberAlive(node, 0, endpoint, ACTIVE, 0, b"")
        few.hear("a", JoinRequest(thief, "c", "3.11", "0.1"))
        assert few.last(JoinAnswer).refusal == ID_TAKEN
    few.hear("a", JoinRequest(word("b"), "c", "3.11", "0.1"))
    assert few.last(JoinAnswer).refusal == WELCOME
    few.hear("a", Gossip(B, A, (), (doubt(X, DEAD),)))
    few.add("x")
    few.step("x", Join(("tcp://a",)))
    assert few.last(JoinAnswer).refusal == DECLARED_DEAD
    assert few.of("x", Fenced)[0].endpoints == ("tcp://a",)


def test_before_it_is_in_a_node_says_nothing() -> None:
    few = Few("")
    few.add("b")
    few.step("b", Join(("tcp://z",)))
    few.sent.clear()
    few.hear("b", Ping(A, B, 1, "tcp://a", NOBODY, (), ()))
    few.hear("b", JoinRequest(word("c"), "c", "3.11", "0.1"))
    assert few.sent == []
    few.step("b", Leave("no more"))
    assert few.of("b", LeftCluster)


# -- what members say of themselves ----------------------------------------------------------------
def test_a_payload_and_a_drain_reach_all_once() -> None:
    few = settled("abc")
    few.step("a", Publish(b"cpu 4"))
    few.step("a", Publish(b"cpu 4"))
    few.run(SECOND)
    few.step("a", Drain())
    few.run(SECOND)
    for name in "bc":
        changed = [each.member for each in few.of(name, MemberChanged)]
        assert [(each.payload, each.phase) for each in changed] == [
            (b"cpu 4", ACTIVE),
            (b"cpu 4", DRAINING),
        ]


def test_older_words_of_a_member_change_nothing_and_newest_parts_are_kept() -> None:
    few = settled("ab")
    few.hear("a", Gossip(B, A, (word("b", 0, 3, b"new"),), ()))
    few.hear("a", Gossip(B, A, (word("b", 0, 2, b"old"), word("a", 9)), ()))
    few.hear("a", Gossip(B, A, (word("b", 1, 1, b"old"),), ()))
    assert few.members["a"].standing.view.members[B].said == word("b", 1, 3, b"new")
    assert len(few.of("a", MemberChanged)) == 1


def test_unsound_and_foreign_messages_are_counted_and_dropped() -> None:
    few = settled("ab")
    big = MemberAlive(C, 0, "e" * (ENDPOINT_BYTES_MAX + 1), ACTIVE, 0, b"")
    for _ in range(3):
        few.hear("a", Gossip(B, A, (big,), ()))
    few.hear("a", JoinRequest(big, "c", "3.11", "0.1"))
    few.hear("a", word("b"))
    assert few.members["a"].counts == {"unsound word of a member": 4, "unexpected message": 1}
    assert len(few.of("a", Report)) == 4
    few.sent.clear()
    few.hear("a", Ping(B, C, 1, "tcp://b", NOBODY, (), ()))
    assert few.sent == []


# -- suspicion and death ---------------------------------------------------------------------------
def test_a_silent_member_is_suspected_within_two_seconds_and_dead_within_ten() -> None:
    few = settled("abc")
    few.isolate("c", "ab")
    few.run(2 * SECOND)
    assert few.of("a", MemberSuspected) == few.of("b", MemberSuspected) == [MemberSuspected(C)]
    few.run(4 * SECOND)
    assert not few.of("a", MemberDown)
    few.run(4 * SECOND)
    assert few.of("a", MemberDown) == few.of("b", MemberDown) == [MemberDown(C, "dead")]


def test_who_finds_one_silent_asks_others_too_whose_turn_it_is_not() -> None:
    few = settled("abcdefgh")
    silent = "efgh"
    few.isolate("a", silent)
    few.members = {name: few.members[name] for name in "abcd"}
    few.run(4 * SECOND)
    suspected = {each.node for each in few.of("a", MemberSuspected)}
    assert suspected == {peer(name) for name in silent}


def test_one_that_is_heard_again_refutes_and_is_trusted() -> None:
    few = settled("abc")
    few.isolate("c", "ab")
    few.run(5 * SECOND)
    few.cut.clear()
    few.run(2 * SECOND)
    for name in "abc":
        assert not few.of(name, MemberDown)
        assert not few.members[name].standing.doubts.suspicions
    assert few.of("a", MemberTrusted) == [MemberTrusted(C)]
    assert few.members["c"].standing.me.incarnation > 0


def test_a_late_doubt_on_an_older_incarnation_is_told_of_the_newer_one() -> None:
    few = settled("ab")
    few.hear("a", Gossip(B, A, (), (doubt(A, SUSPECT, 4),)))
    assert few.members["a"].standing.me.incarnation == 5
    few.hear("a", Gossip(B, A, (), (doubt(A, SUSPECT, 4),)))
    assert few.members["a"].standing.me.incarnation == 5
    few.run(SECOND)
    few.hear("b", Gossip(A, B, (), (doubt(A, SUSPECT, 4),)))
    assert not few.of("b", MemberSuspected)
    few.hear("a", Ping(B, A, 1, "tcp://b", NOBODY, (), (doubt(A, SUSPECT, 4),)))
    assert few.last(PingAck).alive[0].incarnation == 5


def test_only_others_reach_a_member_and_both_ends_report_it_until_it_is_mended() -> None:
    few = settled("abc")
    few.cut["a", "b"] = None
    few.run(9 * SECOND)
    assert few.of("a", LinkBroken) == [LinkBroken(B, C)]
    assert few.of("b", LinkBroken) == [LinkBroken(A, C)]
    few.cut.clear()
    few.run(2 * SECOND)
    assert few.of("a", LinkRestored) == [LinkRestored(B)]
    assert not few.of("a", MemberDown)


def test_refused_dials_of_two_members_are_a_death_at_once() -> None:
    few = settled("abcx")
    few.isolate("x", "abc")
    few.step("a", PeerRefused(X))
    few.step("a", PeerRefused(X))
    few.step("a", PeerRefused(peer("stranger")))
    assert few.of("a", MemberSuspected) == [MemberSuspected(X)]
    assert not few.of("a", MemberDown)
    asked = [to for to, said in few.sent if type(said) is PingRequest and said.target == X]
    few.step(asked[0], PeerRefused(X))
    assert few.of(asked[0], MemberDown) == [MemberDown(X, "dead", True)]
    few.run(500 * MS)
    assert few.of("a", MemberDown) == [MemberDown(X, "dead", True)]


def test_who_is_asked_to_dial_hears_why_however_much_else_is_new() -> None:
    few = settled("abcx")
    few.isolate("x", "abc")
    standing = few.members["a"].standing
    for each in range(60):
        standing.tell(doubt(some(each)), few.now_ns)
    few.step("a", PeerRefused(X))
    assert few.last(PingRequest).doubts[0].node == X


def test_a_refused_dial_ends_the_probe_and_is_enough_where_nobody_else_is() -> None:
    few = settled("ab")
    few.isolate("a", "b")
    few.run(1500 * MS)
    while B not in few.members["a"].standing.probes.pending:
        few.run(10 * MS)
    few.step("a", PeerRefused(B))
    assert few.of("a", MemberDown) == [MemberDown(B, "dead", True)]
    few.run(SECOND)
    assert not few.members["a"].standing.news


def test_time_in_which_a_member_was_not_stepped_is_nobodys_silence() -> None:
    few = settled("abc")
    few.isolate("c", "ab")
    few.run(3 * SECOND)
    assert C in few.members["a"].standing.doubts.suspicions
    few.now_ns += 20 * SECOND
    few.members.pop("b")
    few.step("a", TimerDue())
    assert not few.of("a", MemberDown)
    few.cut.clear()
    few.run(SECOND)
    assert few.of("a", MemberTrusted)


def test_a_timer_with_nothing_due_changes_nothing() -> None:
    few = Few("")
    few.add("a")
    few.step("a", TimerDue())
    assert few.members["a"].next_deadline_ns is None


# -- the dead --------------------------------------------------------------------------------------
def test_who_was_declared_dead_may_come_back_by_those_too_that_it_had_buried() -> None:
    few = settled("abc")
    few.hear("c", Gossip(A, C, (), (doubt(B, DEAD),)))
    assert few.of("c", MemberDown) == [MemberDown(B, "dead")]
    few.hear("c", Fence(X, C, "tcp://x", 9, A, False))
    assert few.of("c", Fenced)[0].endpoints == ("tcp://x", "tcp://b", "tcp://a")


def test_a_zombie_is_told_and_ends() -> None:
    few = settled("abc")
    few.hear("a", Gossip(B, A, (), (doubt(C, DEAD),)))
    few.hear("a", Gossip(C, A, (), (doubt(B, DEAD),)))
    assert few.of("a", MemberDown) == [MemberDown(C, "dead")]
    few.hear("a", Ping(C, A, 1, "tcp://c", NOBODY, (), ()))
    assert few.of("c", Fenced)[0].endpoints == ("tcp://a", "tcp://b")
    assert few.members["c"].next_deadline_ns is None
    few.sent.clear()
    few.hear("c", Ping(A, C, 1, "tcp://a", NOBODY, (), ()))
    assert few.sent == []


def test_news_of_the_dead_are_answered_with_their_death() -> None:
    few = settled("abc")
    few.hear("a", Gossip(B, A, (), (doubt(X, DEAD),)))
    few.members["a"].standing.news.clear()
    for _ in range(2):
        few.hear("a", Gossip(B, A, (word("x", 7),), ()))
    few.hear("a", Gossip(B, A, (), (doubt(X),)))
    assert X not in few.members["a"].standing.view.members
    assert few.members["a"].standing.news.has(X, MemberDoubt)


def test_a_member_that_hears_of_its_death_ends_whatever_it_was_told_in() -> None:
    kinds = (
        Ping(B, A, 1, "tcp://b", NOBODY, (), (doubt(A, DEAD), doubt(B))),
        PingAck(B, A, 1, (), (doubt(A, DEAD),)),
        PingRequest(B, A, 1, "tcp://b", C, "tcp://c", (), (doubt(A, DEAD),)),
        Gossip(B, A, (), (doubt(A, DEAD),)),
        PushPull(B, A, "tcp://b", b"", True, (), (MemberDead(A, "tcp://a"),)),
        Fence(B, A, "tcp://b", 1, B, False),
    )
    for message in kinds:
        few = settled("abc")
        few.hear("a", message)
        assert few.of("a", Fenced), message


def test_a_stranger_cannot_tell_deaths() -> None:
    few = settled("ab")
    few.hear("a", Gossip(X, A, (), (doubt(B, DEAD), doubt(A, DEAD))))
    assert not few.of("a", MemberDown)
    assert not few.of("a", Fenced)


def test_of_two_sides_that_hold_each_other_for_dead_the_smaller_ends() -> None:
    few = settled("abc")
    few.hear("a", Fence(X, A, "tcp://x", 2, X, False))
    assert few.last(Fence).answer
    assert few.last(Fence).to == X
    few.sent.clear()
    few.hear("a", Fence(X, A, "tcp://x", 2, X, True))
    assert few.sent == []
    few.hear("a", Fence(X, A, "tcp://x", 3, PeerId(bytes(16)), False))
    where = ("tcp://x", "tcp://b", "tcp://c")
    assert few.of("a", Fenced) == [Fenced(f"declared dead by {X[:4].hex()}", where)]


def test_the_dead_are_tried_often_at_first_and_then_by_few() -> None:
    few = settled("ab")
    few.hear("a", Gossip(B, A, (), (doubt(B, DEAD, 0, A),)))
    few.members.pop("b")
    few.run(10 * SECOND)
    assert len([1 for _, said in few.sent if type(said) is Fence]) >= 9
    few.run(60 * SECOND)
    few.sent.clear()
    few.run(3 * SECOND)
    assert [1 for _, said in few.sent if type(said) is Fence], "it is one of few"
    standing = few.members["a"].standing
    for each in range(2000):
        node = some(each)
        standing.view.add(MemberAlive(node, 0, "tcp://nobody", ACTIVE, 0, b""))
    few.sent.clear()
    few.run(SECOND)
    assert not [1 for _, said in few.sent if type(said) is Fence]


# -- comparing -------------------------------------------------------------------------------------
def test_what_news_missed_is_found_by_comparing() -> None:
    few = settled("abc")
    a, b = few.members["a"].standing, few.members["b"].standing
    few.hear("a", Gossip(B, A, (), (doubt(C, DEAD), doubt(X, DEAD))))
    few.hear("a", Gossip(B, A, (word("d"),), ()))
    few.cut["a", "c"] = few.cut["c", "a"] = None
    few.members.pop("c")
    a.news.clear()
    few.hear("b", Digest(A, B, "tcp://a", a.view.summary(a.me)))
    assert few.knows("a") == [B, peer("d")]
    assert few.knows("b") == [A, peer("d")]
    assert b.news.has(peer("d"), MemberAlive), "others may lack it too"
    assert few.of("b", MemberDown) == [MemberDown(C, "dead")]
    few.sent.clear()
    few.hear("b", Digest(A, B, "tcp://a", a.view.summary(a.me)))
    assert few.sent == []
    dead = (MemberDead(X, ""), MemberDead(X, ""), MemberDead(Y, "tcp://y"))
    few.hear("b", PushPull(A, B, "tcp://a", b.view.summary(b.me), True, (), dead))
    assert few.of("b", MemberBuried) == [MemberBuried(X), MemberBuried(Y)]
    assert X in b.graves
    assert b.graves.listed()[-1] == MemberDead(Y, "tcp://y")


def test_members_of_a_large_cluster_tell_each_other_of_samples() -> None:
    few = settled("abcde", full_count_max=3, partial_count=2)
    assert few.members["a"].standing.view.partial
    assert len(few.knows("a")) == 2
    few.run(20 * SECOND)
    assert few.last(Digest).sums == b""
    assert 2 <= len(few.last(PushPull).members) <= 3


def test_news_of_members_outside_the_view_are_passed_on_once() -> None:
    few = settled("abcde", full_count_max=3, partial_count=2)
    standing = few.members["a"].standing
    standing.news.clear()
    known = [name for name in "bcde" if peer(name) in standing.view.members]
    worse = [MemberAlive(some(each), 0, "", ACTIVE, 0, b"") for each in range(40)]
    for said in worse:
        standing.view.add(said)
    best = list(standing.view.members)
    far = next(said for said in worse if said.node not in best)
    for times in (1, 0):
        standing.news.clear()
        few.hear("a", Gossip(peer(known[0]), A, (far,), ()))
        assert standing.news.has(far.node, MemberAlive) == times
    for times in (1, 0):
        standing.news.clear()
        few.hear("a", Gossip(peer(known[0]), A, (), (doubt(far.node),)))
        assert standing.news.has(far.node, MemberDoubt) == times
    for each in range(HEARD_COUNT_MAX + 1):
        standing._is_heard(PeerId(b"h%015d" % each), (0, 0, 0))
    assert len(standing._heard) <= HEARD_COUNT_MAX + 1
    few.hear("a", Gossip(peer(known[0]), A, (), (doubt(far.node, DEAD),)))
    assert far.node in standing.graves


def test_a_newcomer_with_a_better_hash_takes_anothers_place() -> None:
    few = settled("abcde", full_count_max=3, partial_count=2)
    standing = few.members["a"].standing
    for each in range(60):
        if few.of("a", MemberUnlisted):
            break
        said = MemberAlive(some(each), 0, "tcp://nobody", ACTIVE, 0, b"")
        standing.on_alive(said, few.now_ns, few.other["a"])
    assert few.of("a", MemberUnlisted)
    assert len(few.knows("a")) == 2


# -- watching --------------------------------------------------------------------------------------
def test_a_watched_node_is_known_and_of_a_dead_one_is_told_at_once() -> None:
    few = settled("abcde", full_count_max=3, partial_count=2)
    view = few.members["a"].standing.view
    for name in "abcde":
        few.step("a", WatchMember(peer(name), f"tcp://{name}"))
    assert few.knows("a") == [B, C, peer("d"), peer("e")]
    few.hear("a", Gossip(B, A, (), (doubt(X, DEAD),)))
    few.step("a", WatchMember(X, "tcp://x"))
    assert few.of("a", MemberDown) == [MemberDown(X, "dead")]
    assert few.of("a", MemberBuried) == [MemberBuried(X)]
    few.step("a", UnwatchMember(X))
    for name in "bcde":
        few.step("a", UnwatchMember(peer(name)))
    assert len(view) == 2
    view._watched_count = 1 << 20
    few.members["a"].standing.watch(peer("z"), "tcp://z", [])
    assert peer("z") not in view.members
    view._watched_count = 0


# -- leaving ---------------------------------------------------------------------------------------
def test_who_joins_hears_of_those_that_died_or_left_before() -> None:
    few = settled("abcd")
    few.step("c", Leave("done"))
    few.hear("a", Gossip(B, A, (), (doubt(peer("d"), DEAD),)))
    few.add("e")
    few.step("e", Join(("tcp://a",)))
    assert few.of("e", MemberBuried) == [MemberBuried(peer("d")), MemberBuried(C)]
    assert few.of("e", MemberDown) == []


def test_who_leaves_is_gone_to_all_at_once_and_never_tried() -> None:
    few = settled("abc")
    few.step("c", Leave("done"))
    assert few.of("a", MemberDown) == few.of("b", MemberDown) == [MemberDown(C, "left", True)]
    assert few.of("c", LeftCluster) == [LeftCluster()]
    assert few.members["a"].standing.graves.listed() == []
    few.step("c", Leave("again"))
    few.run(SECOND)
    assert len(few.of("c", LeftCluster)) == 1


# -- answers that come late ------------------------------------------------------------------------
def test_answers_to_nothing_change_nothing() -> None:
    few = settled("abc")
    few.hear("a", PingAck(B, A, 999, (), ()))
    few.hear("a", IndirectAck(B, A, 999, C, (), ()))
    standing = few.members["a"].standing
    few.hear("a", Gossip(B, A, (), (doubt(X, DEAD),)))
    few.sent.clear()
    few.hear("a", PingRequest(B, A, 1, "tcp://b", X, "tcp://x", (), ()))
    assert few.sent == []
    standing.on_death_due(B, few.now_ns, [])
    assert B in standing.view.members


def test_a_ping_for_a_stranger_goes_where_the_asker_says() -> None:
    few = settled("ab")
    few.hear("a", PingRequest(B, A, 5, "tcp://b", X, "tcp://x", (), ()))
    assert few.sent[-1][0] == "x"
    assert few.last(Ping).asked_by == B
    few.hear("a", PingAck(X, A, few.last(Ping).number, (), ()))
    assert few.last(IndirectAck).number == 5


def test_the_fast_profile_is_a_fifth_of_the_usual_one() -> None:
    assert fast().period_ns * 5 == lan().period_ns
    assert fast().suspicion_ns_max * 5 == lan().suspicion_ns_max
