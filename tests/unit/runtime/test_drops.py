"""What was dropped is taken out once, whoever else takes of it at the same time."""

from __future__ import annotations

from collections import deque

import pytest

from zgen.runtime import objects
from zgen.runtime.objects import drained


class Shared(deque[int]):
    """Some of it is taken by another thread right after it was counted."""

    def __len__(self) -> int:
        return super().__len__() + 2


def test_what_another_thread_took_meanwhile_is_not_missed() -> None:
    assert drained(Shared([1, 2, 3])) == (1, 2, 3)
    assert drained(Shared()) == ()


def test_so_many_are_taken_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "DROPPED_COUNT_MAX", 2)
    dropped = deque([1, 2, 3])
    assert drained(dropped) == (1, 2)
    assert drained(dropped) == (3,)
