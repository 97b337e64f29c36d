"""Names of actors."""

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


def test_a_name_belongs_to_whoever_claimed_it_first() -> None:
    names = Names()
    assert names.find("", "name") is None
    assert names.claim(DRIVER, claim(ONE)) == claim(ONE)
    assert names.claim(OTHER, claim(TWO, OTHER)) == claim(ONE)
    assert names.find("", "name") == claim(ONE)
    assert names.claim(OTHER, claim(TWO, OTHER, "elsewhere")) == claim(TWO, OTHER, "elsewhere")
    assert len(names) == 2
    names.check()


def test_only_its_owner_frees_a_name_and_only_for_the_actor_that_has_it() -> None:
    names = Names()
    assert not names.free(DRIVER, "", "name", ONE)
    names.claim(DRIVER, claim(ONE))
    assert not names.free(OTHER, "", "name", ONE)
    assert not names.free(DRIVER, "", "name", TWO)
    assert names.free(DRIVER, "", "name", ONE)
    assert len(names) == 0


def test_a_creators_death_frees_all_that_it_claimed() -> None:
    names = Names()
    names.claim(DRIVER, claim(ONE))
    names.claim(OTHER, claim(TWO, OTHER, "elsewhere"))
    names.drop_owner(DRIVER)
    assert names.find("", "name") is None
    assert len(names) == 1
