"""Words about regions of nodes that are not known yet."""

from __future__ import annotations

from tests.unit.node.fakes import DRIVER, peer
from zgen.limits import NODE_UNKNOWN_NS, WORDS_EARLY_COUNT_MAX
from zgen_node.core.early_words import EarlyWords

OTHER = peer("other")


def test_words_wait_in_order_and_not_for_ever() -> None:
    words = EarlyWords()
    assert words.keep(3, DRIVER, "a", 5)
    assert words.keep(3, OTHER, "b", 9)
    words.check()
    assert words.deadlines.next_ns == 5 + NODE_UNKNOWN_NS
    assert words.take(3) == [(DRIVER, "a"), (OTHER, "b")]
    assert words.take(3) == []
    words.check()
    assert 3 not in words.deadlines
    words.check()


def test_the_dead_say_nothing_more() -> None:
    words = EarlyWords()
    words.keep(3, DRIVER, "a", 5)
    words.keep(4, DRIVER, "b", 5)
    words.keep(4, OTHER, "c", 5)
    words.drop(DRIVER)
    words.check()
    assert (words.take(3), words.take(4)) == ([], [(OTHER, "c")])


def test_only_so_many_words_wait() -> None:
    words = EarlyWords()
    for _ in range(WORDS_EARLY_COUNT_MAX):
        assert words.keep(3, DRIVER, "a", 5)
    assert not words.keep(3, DRIVER, "a", 5)
    words.check()
