"""Executor side: what a body yields together is reported together; and what it asks before it.

Rules of this file: all of it leaves in one message or none does. What a full window means for the
body is not decided here.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.borrowing import Borrowing
from zgen.core.effects import Effect
from zgen.core.executor import Executor
from zgen.core.store_client import StoreClient
from zgen.core.stream_words import AskPosition, AskRoom, YieldedTogether
from zgen.wire.value import Stored


class Together:
    """What the bodies of one worker say of their streams, but for single items.

    Attributes:
        handlers: What to do about each class of event.
    """

    def __init__(self, executor: Executor, store: StoreClient, borrowing: Borrowing) -> None:
        """Report by ``executor`` what lies in ``store`` and refers to what is in ``borrowing``."""
        self._executor = executor
        self._store = store
        self._borrowing = borrowing
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            YieldedTogether: self._on_yielded,
            AskPosition: executor.reports.on_ask,
            AskRoom: executor.parking.on_ask,
        }

    def _on_yielded(self, event: YieldedTogether, now_ns: int, out: list[Effect]) -> None:
        executor, task = self._executor, event.task
        for value in event.values:
            self._borrowing.hold(value)
            if type(value) is Stored:
                self._store.stock.reported(value.region, out)
        is_full = executor.reports.add_yield(task, event.attempt, event.values, now_ns, out)
        owner = executor.reports.streams[task].owner
        unacked_bytes = self._borrowing.session.item_bytes_unacked(owner)
        executor.on_items_sent(task, owner, unacked_bytes, out)
        if is_full:
            executor.parking.park(task, out)
