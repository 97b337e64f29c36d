import pytest

from tests.unit.node.fakes import peer
from zgen_node.core.monitors import Monitors

A, B, C = peer("a"), peer("b"), peer("c")


def test_each_watcher_is_told_once_however_often_it_asked() -> None:
    monitors = Monitors()
    for watcher in (B, A, B):
        monitors.add(watcher, C)
    assert monitors.down(C) == [B, A]
    assert monitors.down(C) == []
    monitors.check()


def test_a_dead_watcher_is_not_told() -> None:
    monitors = Monitors()
    monitors.add(A, C)
    monitors.add(B, C)
    monitors.forget_watcher(A)
    monitors.check()
    assert monitors.watchers_of(C) == [B]
    assert monitors.down(C) == [B]


def test_two_that_watch_each_other_leave_nothing_behind() -> None:
    monitors = Monitors()
    monitors.add(A, B)
    monitors.add(B, A)
    assert monitors.down(A) == [B]
    assert monitors.down(B) == []
    assert monitors._watchers == {}
    assert monitors._watched == {}


def test_a_watcher_keeps_what_else_it_watches() -> None:
    monitors = Monitors()
    monitors.add(A, B)
    monitors.add(A, C)
    assert monitors.down(B) == [A]
    monitors.check()
    assert monitors.down(C) == [A]


def test_nobody_watches_itself() -> None:
    monitors = Monitors()
    monitors.add(A, A)
    assert monitors.down(A) == []


@pytest.mark.parametrize("direction", ["_watchers", "_watched"])
def test_a_one_sided_entry_is_found_by_the_check(direction: str) -> None:
    monitors = Monitors()
    monitors.add(A, B)
    getattr(monitors, direction).clear()
    with pytest.raises((AssertionError, KeyError)):
        monitors.check()
