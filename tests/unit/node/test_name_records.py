"""Names that a node keeps for the cluster."""

from __future__ import annotations

import pytest

from tests.unit.node.fakes import peer
from zgen.ids import NO_ACTOR, ActorId
from zgen.wire.actor import Charter, ClaimName
from zgen.wire.session import Address
from zgen_node.core.name_records import NameRecords

EAST, WEST = peer("east"), peer("west")
ONE, TWO = ActorId(peer("one")), ActorId(peer("two"))
KEY = ("space", "name")


def claim(actor: ActorId = ONE, name: str = "name") -> ClaimName:
    return ClaimName(1, "space", name, actor, Address(peer("creator"), 1, "", EAST), b"")


def test_a_name_is_held_for_its_home_until_that_drops_it() -> None:
    records = NameRecords()
    records.hold(EAST, claim(), False)
    records.check()
    known = records.get(KEY)
    assert known is not None
    assert not known.settled
    assert not records.settle(WEST, KEY, ONE)
    assert not records.settle(EAST, KEY, TWO)
    assert records.settle(EAST, KEY, ONE)
    records.hold(EAST, claim(), False)
    held = records.get(KEY)
    assert held is not None
    assert held.settled, "what is settled stays so"
    assert records.homes() == (EAST,)
    assert not records.drop(WEST, KEY, ONE)
    assert not records.drop(EAST, KEY, TWO)
    assert records.drop(EAST, KEY, ONE)
    assert not records.drop(EAST, KEY, ONE)
    assert len(records) == 0


def test_a_name_is_held_for_one_actor() -> None:
    records = NameRecords()
    records.hold(EAST, claim(), True)
    with pytest.raises(AssertionError, match="held for another"):
        records.hold(EAST, claim(TWO), True)


def test_with_a_home_goes_what_is_held_for_it() -> None:
    records = NameRecords()
    records.hold(EAST, claim(), True)
    records.hold(WEST, claim(TWO, "other"), True)
    records.drop_home(EAST)
    assert records.homes() == (WEST,)
    assert len(records) == 1


def kept(actor: ActorId = ONE, instead_of: ActorId = NO_ACTOR, restarts: int = 0) -> ClaimName:
    """Return a claim of a detached actor that may be created again twice."""
    creator, charter = Address(peer("creator"), 1, "", EAST), Charter(b"", 2, restarts)
    return ClaimName(1, "space", "name", actor, creator, b"", (charter,), instead_of)


def test_a_detached_actor_waits_to_be_created_again_when_its_home_is_gone() -> None:
    records = NameRecords()
    records.hold(EAST, kept(), True)
    assert records.orphans() == []
    records.drop_home(EAST)
    assert records.newly_orphaned
    assert [key for key, _ in records.orphans()] == [KEY]
    records.give_up(KEY)
    assert len(records) == 0
    records.hold(EAST, kept(restarts=2), True)
    records.drop_home(EAST)
    assert len(records) == 0


def test_what_replaces_an_orphan_gives_its_place_back_unless_it_is_settled() -> None:
    records = NameRecords()
    records.hold(EAST, kept(), True)
    records.drop_home(EAST)
    records.hold(WEST, kept(TWO, ONE), False)
    assert records.orphans() == []
    records.drop_home(WEST)
    (orphan,) = records.orphans()
    assert orphan[1].claim.actor == ONE
    records.hold(WEST, kept(TWO, ONE), False)
    records.hold(WEST, kept(TWO, ONE), False)
    assert records.settle(WEST, KEY, TWO)
    assert records.drop(WEST, KEY, TWO)
    assert len(records) == 0


def test_with_one_home_go_an_actor_and_who_was_to_replace_it_there() -> None:
    records = NameRecords()
    records.hold(EAST, kept(), True)
    records.hold(EAST, kept(TWO, ONE), False)
    records.drop_home(EAST)
    (orphan,) = records.orphans()
    assert orphan[1].claim.actor == ONE


def test_a_copy_of_what_all_keepers_gave_takes_the_place_of_an_orphan() -> None:
    records = NameRecords()
    records.hold(EAST, kept(), True)
    records.drop_home(EAST)
    records.hold(WEST, kept(TWO), True)
    known = records.get(KEY)
    assert known is not None
    assert (known.claim.actor, known.before) == (TWO, None)


def test_who_replaces_who_was_to_replace_an_orphan_gives_the_orphans_place_back() -> None:
    records = NameRecords()
    records.hold(EAST, kept(), True)
    records.drop_home(EAST)
    records.hold(WEST, kept(TWO, ONE), False)
    third = ActorId(peer("third"))
    records.hold(WEST, kept(third, TWO), False)
    assert records.drop(WEST, KEY, third)
    known = records.get(KEY)
    assert known is not None
    assert known.claim.actor == ONE
