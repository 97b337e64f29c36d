"""Names that processes of a node claimed."""

from __future__ import annotations

from tests.unit.node.fakes import DRIVER, peer
from zgen.ids import ActorId
from zgen.wire.actor import ClaimName
from zgen.wire.session import Address
from zgen_node.core.names import Names

OTHER = peer("other")
ONE, TWO = ActorId(peer("one")), ActorId(peer("two"))


def claim(actor: ActorId, by: bytes = DRIVER, namespace: str = "") -> ClaimName:
    creator = Address(peer(by.decode().rstrip(".")), 1, "")
    return ClaimName(1, namespace, "name", actor, creator, b"")


def test_each_actor_has_a_claim_of_its_own_until_it_gives_it_up() -> None:
    names = Names()
    assert names.get(ONE) is None
    named = names.claim(DRIVER, claim(ONE))
    assert names.claim(DRIVER, claim(ONE)) is named
    other = names.claim(OTHER, claim(TWO, OTHER))
    assert names.all() == [named, other]
    assert named.key == other.key == ("", "name")
    named.settled = True
    names.check()
    assert names.give_up(TWO) is other
    assert names.get(ONE) is named
    assert len(names) == 1


def test_only_its_owner_frees_a_name_and_only_for_the_actor_that_has_it() -> None:
    names = Names()
    assert names.free(DRIVER, "", "name", ONE) is None
    named = names.claim(DRIVER, claim(ONE))
    assert names.free(OTHER, "", "name", ONE) is None
    assert names.free(DRIVER, "", "other", ONE) is None
    assert names.free(DRIVER, "", "name", TWO) is None
    assert names.free(DRIVER, "", "name", ONE) is named
    assert len(names) == 0


def test_a_creators_death_frees_all_that_it_claimed() -> None:
    names = Names()
    named = names.claim(DRIVER, claim(ONE))
    names.claim(OTHER, claim(TWO, OTHER, "elsewhere"))
    assert names.drop_owner(DRIVER) == [named]
    assert [left.owner for left in names.all()] == [OTHER]
