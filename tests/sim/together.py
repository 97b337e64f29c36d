"""Generators each of whose yields makes several items: their bodies, and what is asked of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tests.sim.programs import attempt_in, item_value
from zgen.core.effects import Effect, ItemsTaken
from zgen.core.events import Event, TakeItems
from zgen.core.stream_words import AskRoom, YieldedTogether
from zgen.ids import ITEM_INDEX_FIRST, index_of, short
from zgen.sim.oracle import Oracle
from zgen.sim.world import Life
from zgen.wire.value import NONE, Stored, Value, is_error, whole_bytes

if TYPE_CHECKING:
    from tests.sim.bodies import Body
    from tests.sim.cluster import Cluster
    from tests.sim.programs import Consumer

#: How many items a yield makes.
CHOICES = (1, 2, 2, 3, 7)


def yield_together(body: Body, count: int, delay_ns: int, size: int) -> Any:
    """Make the next yield of a body; as its ops do."""
    each = body.pushed.per_yield
    if body.skips:
        passed = min(body.skips, count - body.yielded_of_op)
        body.yielded_of_op += passed
        body.skips -= passed
    if body.yielded_of_op == count:
        body.yielded_of_op = 0
        body.at += 1
        return None
    # As a block and what is told of it: one is large, those beside it are small.
    values = [
        item_value(body.task, body.yielded + at, body.attempt, size if at == each // 2 else 0)
        for at in range(each)
    ]
    large = any(isinstance(value, Stored) for value in values)
    if large and body.pushed.window_bytes and not body.has_asked:
        body.has_asked = True
        body.user.post(AskRoom(body.task, body.attempt, sum(map(whole_bytes, values))))
        return None
    body.has_asked = False
    wanted = body.pushed.wanted
    for at in range(each):
        if wanted and ITEM_INDEX_FIRST + body.yielded + at not in wanted:
            values[at] = NONE
    body.yielded += each
    body.yielded_of_op += each
    return -1, partial(_write, body, values, (), delay_ns)


def _write(body: Body, left: list[Value], done: tuple[Value, ...], delay_ns: int) -> None:
    """Write what is large one by one; then all of it is yielded."""
    while left and not isinstance(left[0], Stored):
        done += (left.pop(0),)
    if not left:
        body.user.store.reported(done)
        body.user.post(YieldedTogether(body.task, body.attempt, done))
        wait = body.after_yield(delay_ns)
        body.user.later(wait[0] if wait else 0, body.go_on)
        return

    def written(value: Stored | None) -> None:
        if value is None:
            body.user.store.unused([each for each in done if isinstance(each, Stored)])
            body.excuse()
        else:
            _write(body, left[1:], (*done, value), delay_ns)

    template = left[0]
    assert isinstance(template, Stored)
    body.user.store.write(body.account.owner, body.owner, body.task, template, written)


class YieldsComeWhole(Oracle):
    """What was yielded together is given out together, or nothing of it, by one attempt.

    Attributes:
        yields: How many there were of several items.
        failures: How many errors stood for such a yield.
    """

    promise = "whole"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.yields = self.failures = 0

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        if type(event) is TakeItems:
            for effect in effects:
                if type(effect) is ItemsTaken:
                    self._took(self.cluster.users[life.number], effect)

    def _took(self, user: Consumer, taken: ItemsTaken) -> None:
        """A user was given items."""
        stream, names = taken.stream, taken.objects
        account = self.cluster.accounts.get(stream)
        each = account.plan.per_yield if account is not None else 1
        if each == 1:
            return
        whole = len(names) % each == 0
        self.require(whole, f"{short(stream)}: {len(names)} items of yields of {each}")
        refs = user.owner.refs
        for at in range(0, len(names), each):
            begins = (index_of(names[at]) - ITEM_INDEX_FIRST) % each == 0
            self.require(begins, f"{short(stream)}: a yield begins at {short(names[at])}")
            values = [refs.value_of(name) for name in names[at : at + each]]
            failed = [value is not None and is_error(value) for value in values]
            self.require(len(frozenset(failed)) == 1, f"{short(stream)}: {values} come together")
            self.yields += 1
            self.failures += failed[0]
            if not failed[0] and not self.cluster.promises.lost.losses:
                made = [attempt_in(value) for value in values if value is not None]
                one = len(frozenset(made)) == 1
                self.require(one, f"{short(stream)}: a yield of attempts {made}")
