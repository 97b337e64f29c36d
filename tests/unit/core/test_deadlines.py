"""Deadlines: one a key, earliest first, in the order of setting where they tie."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from zgen.core.deadlines import Alarm, Deadlines, earliest


def test_the_earlier_of_two_deadlines_wins_and_none_is_never() -> None:
    one, other = Deadlines[str](), Deadlines[str]()
    assert earliest(()) is None
    assert earliest((one, other)) is None
    one.set("a", 3)
    assert earliest((one, other)) == 3
    other.set("b", 4)
    assert earliest((one, other)) == earliest((other, one)) == 3


def test_all_are_forgotten_together() -> None:
    deadlines = Deadlines[str]()
    deadlines.set("a", 3)
    deadlines.clear_all()
    assert deadlines.next_ns is None
    assert deadlines.pop_due(9) == []
    deadlines.set("a", 5)
    assert deadlines.next_ns == 5


def test_what_is_due_comes_once_and_earliest_first() -> None:
    due: Deadlines[str] = Deadlines()
    due.set("late", 30)
    due.set("soon", 10)
    due.set("also soon", 10)
    assert due.next_ns == 10
    assert due.pop_due(9) == []
    assert due.pop_due(10) == ["soon", "also soon"]
    assert due.next_ns == 30
    assert due.pop_due(100) == ["late"]
    assert due.pop_due(100) == []
    assert due.next_ns is None


def test_setting_again_replaces_in_both_directions() -> None:
    due: Deadlines[str] = Deadlines()
    due.set("a", 10)
    due.set("a", 20)
    assert due.next_ns == 20
    due.set("a", 5)
    assert due.next_ns == 5
    assert due.pop_due(30) == ["a"]


def test_setting_back_to_an_outdated_time_counts_once() -> None:
    due: Deadlines[str] = Deadlines()
    due.set("a", 10)
    due.set("a", 20)
    due.set("a", 10)
    assert due.pop_due(30) == ["a"]


def test_a_deadline_that_is_set_is_kept_where_asked_for() -> None:
    due: Deadlines[str] = Deadlines()
    due.set_if_unset("a", 10)
    due.set_if_unset("a", 5)
    assert due.next_ns == 10
    assert "a" in due
    due.clear("a")
    due.clear("a")
    assert "a" not in due
    assert due.next_ns is None


def test_outdated_entries_do_not_pile_up() -> None:
    due: Deadlines[int] = Deadlines()
    due.set(0, 1)
    for at_ns in range(2, 2_000):
        due.set(1, at_ns)
    assert len(due._heap) < 70
    assert due.pop_due(5_000) == [0, 1]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["set", "clear", "pop"]), st.integers(0, 3), st.integers(0, 20)),
        max_size=40,
    )
)
def test_deadlines_behave_like_a_dictionary_of_times(steps: list[tuple[str, int, int]]) -> None:
    due: Deadlines[int] = Deadlines()
    model: dict[int, int] = {}
    for what, key, at_ns in steps:
        if what == "set":
            due.set(key, at_ns)
            model[key] = at_ns
        elif what == "clear":
            due.clear(key)
            model.pop(key, None)
        else:
            popped = due.pop_due(at_ns)
            assert [model[key] for key in popped] == sorted(
                time for time in model.values() if time <= at_ns
            )
            for key in popped:
                del model[key]
        assert due.next_ns == min(model.values(), default=None)
        assert [key in due for key in range(4)] == [key in model for key in range(4)]


def test_an_alarm_hears_of_every_change_of_the_earliest_deadline_and_of_no_other() -> None:
    due: Deadlines[str] = Deadlines()
    alarm = due.alarm = Alarm()

    def moved() -> bool:
        was, alarm.moved = alarm.moved, False
        return was

    due.set("a", 10)
    assert moved()
    due.set("b", 20)
    assert not moved()
    due.clear("b")
    assert not moved()
    due.set("a", 15)
    assert moved()
    due.clear("a")
    assert moved()
    assert due.pop_due(100) == []
    assert not moved()
    due.set("c", 5)
    moved()
    assert due.pop_due(5) == ["c"]
    assert moved()
    due.set("d", 5)
    moved()
    due.clear_all()
    assert moved()
