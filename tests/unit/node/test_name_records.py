"""Names that a node keeps for the cluster."""

from __future__ import annotations

import pytest

from tests.unit.node.fakes import peer
from zgen.ids import ActorId
from zgen.wire.actor import ClaimName
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
