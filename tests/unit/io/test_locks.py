"""The pairs of keys of a process: which are tried where, and what stays when they are replaced."""

from __future__ import annotations

import pytest

from zgen.io import keys, security
from zgen.io.security import Locks


def test_there_is_a_lock_for_each_key_and_none_twice_over_a_change() -> None:
    key = keys.generate()
    locks = Locks(key)
    (old,) = locks.each
    added = key.with_next()
    locks.replace(added)
    assert locks.each[0] is old
    new = locks.each[1]
    promoted = added.promoted()
    locks.replace(promoted)
    assert locks.each == (new, old)
    assert locks.members == (new.member, old.member)
    locks.replace(promoted.retired())
    assert list(locks.each) == [new]


def test_the_one_that_fitted_last_is_tried_first_until_the_keys_change() -> None:
    key = keys.generate().with_next()
    locks = Locks(key)
    first, second = locks.each
    assert locks.to_try("here") == (first, second)
    locks.note_fitting("here", second)
    assert locks.to_try("here") == (second, first)
    assert locks.to_try("there") == (first, second)
    locks.note_fitting("here", first)
    assert locks.to_try("here") == (first, second)
    locks.note_fitting("here", second)
    locks.replace(key.promoted())
    assert locks.to_try("here") == (second, first)
    assert locks.each == (second, first)


def test_what_fitted_is_forgotten_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "CONNECTIONS_COUNT_MAX", 2)
    locks = Locks(keys.generate().with_next())
    first, second = locks.each
    for where in ("a", "b", "c"):
        locks.note_fitting(where, second)
    assert locks.to_try("a") == (first, second)
    assert locks.to_try("c") == (second, first)
