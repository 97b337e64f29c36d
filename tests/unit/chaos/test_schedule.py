"""When which fault happens, as a seed or the command line says."""

from __future__ import annotations

from random import Random

import pytest

from zgen.chaos.schedule import ACTIONS, action_of, at_times, by_rate, seconds


def test_times_have_units() -> None:
    told = ("200ms", "5s", "1.5m", "1h", "7")
    assert [seconds(text) for text in told] == [0.2, 5.0, 90.0, 3600.0, 7.0]
    with pytest.raises(ValueError, match="'soon' is no time, such as 200ms"):
        seconds("soon")


def test_a_fault_lasts_as_long_as_it_says_or_as_usual() -> None:
    assert action_of("pause-node") == ("pause-node", 2.0)
    assert action_of("pause-node:500ms") == ("pause-node", 0.5)
    assert action_of("kill-worker") == ("kill-worker", 0.0)
    with pytest.raises(ValueError, match="no fault 'kill-wrker'; there are kill-worker"):
        action_of("kill-wrker")
    with pytest.raises(ValueError, match="kill-worker is over at once"):
        action_of("kill-worker:2s")


def test_faults_at_given_times() -> None:
    one, other = at_times(["3s:kill-worker", "10s:pause-node:4s"], Random(1))
    assert (one.at_s, one.action, one.lasts_s) == (3.0, "kill-worker", 0.0)
    assert (other.at_s, other.action, other.lasts_s) == (10.0, "pause-node", 4.0)
    with pytest.raises(ValueError, match="must say when and what"):
        at_times(["kill-worker"], Random(1))


def test_faults_by_rate_follow_from_the_seed_and_come_as_often_as_asked_for() -> None:
    found = by_rate(list(ACTIONS), 5.0, 5000.0, Random("a"))
    assert found == by_rate(list(ACTIONS), 5.0, 5000.0, Random("a"))
    assert found != by_rate(list(ACTIONS), 5.0, 5000.0, Random("b"))
    assert 850 < len(found) < 1150
    assert all(0 < fault.at_s < 5000 for fault in found)
    assert {fault.action for fault in found} == set(ACTIONS)
    with pytest.raises(ValueError, match="makes no sense"):
        by_rate(["kill-worker"], 0.0, 5.0, Random(1))
