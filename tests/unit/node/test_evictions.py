from tests.unit.node.fakes import peer
from zgen.ids import PeerId
from zgen.limits import EVICT_AGAIN_NS
from zgen_node.core.evictions import Evictions

A, B, C = peer("a"), peer("b"), peer("c")
OWNERS = [(A, 10), (B, 30), (C, 20)]


def answer(evictions: Evictions, owner: PeerId) -> int | None:
    key = evictions.answered(owner)
    evictions.check()
    return key


def test_the_owner_that_room_is_wanted_for_comes_first_and_then_the_largest() -> None:
    evictions = Evictions()
    assert evictions.next_owner(A, OWNERS) == A
    assert evictions.next_owner(peer("none"), OWNERS) == B
    assert evictions.next_owner(A, []) is None


def test_one_is_asked_at_a_time() -> None:
    evictions = Evictions()
    evictions.ask(A, 7, 0)
    evictions.check()
    assert evictions.next_owner(B, OWNERS) is None
    assert answer(evictions, A) == 7
    assert evictions.next_owner(B, OWNERS) == B


def test_who_is_late_is_not_asked_again_and_keeps_nobody_from_asking_others() -> None:
    evictions = Evictions()
    evictions.ask(A, 7, 0)
    assert not evictions.on_timer(EVICT_AGAIN_NS - 1)
    assert evictions.on_timer(EVICT_AGAIN_NS)
    evictions.check()
    assert evictions.next_owner(A, OWNERS) == B
    evictions.ask(B, 8, EVICT_AGAIN_NS)
    assert answer(evictions, A) == 7
    assert evictions.next_owner(A, OWNERS) is None


def test_who_had_nothing_is_asked_again_later() -> None:
    evictions = Evictions()
    evictions.ask(A, 7, 0)
    answer(evictions, A)
    evictions.had_nothing(A, 5)
    evictions.check()
    assert evictions.next_owner(A, OWNERS) == B
    assert evictions.on_timer(5 + EVICT_AGAIN_NS)
    assert evictions.next_owner(A, OWNERS) == A


def test_an_answer_that_nobody_asked_for_makes_its_owner_worth_asking() -> None:
    evictions = Evictions()
    assert answer(evictions, A) is None
    evictions.had_nothing(A, 0)
    assert answer(evictions, A) is None
    assert evictions.next_owner(A, OWNERS) == A


def test_the_dead_are_forgotten() -> None:
    evictions = Evictions()
    evictions.ask(A, 7, 0)
    evictions.forget(A)
    evictions.check()
    assert evictions.deadlines.next_ns is None
    assert evictions.next_owner(B, OWNERS) == B
