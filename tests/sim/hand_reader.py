"""One generator of the `handover` scenario, as the code has it that reads it and hands it over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.sim.programs import Consumer
from zgen.core.cancel_words import CloseRequested
from zgen.core.events import Dropped, RefCompletion, WantValues
from zgen.core.handover_words import FannedOut, FanOut, LendStream, StreamLent, StreamRefusal
from zgen.core.in_stream import has_returned
from zgen.ids import ObjectId, StreamId, TaskId, completion_object
from zgen.wire.value import NestedRef, Value

if TYPE_CHECKING:
    from tests.sim.handover import HandRun

#: How many items a driver takes over at a time.
AHEAD = 3
#: What a loan is in a script: stream or reader, epoch, hop, items taken, name, chain, stream.
Loan = list[Any]


class Reader:
    """One generator, as the code has it that reads it."""

    def __init__(
        self,
        run: HandRun,
        user: Consumer,
        key: StreamId,
        stream: TaskId,
        line: StreamId | None = None,
    ) -> None:
        self.run = run
        self.user = user
        self.key = key
        self.stream = stream
        #: The stream, or one of several readers that it has, as its owner calls that.
        self.line = line or stream
        #: Taken over and not given out.
        self.ahead: list[ObjectId] = []
        self.is_over = False
        self.is_gone = False
        #: By which loan; None for one that reads a stream of its own process.
        self.epoch: int | None = None
        user.handles.setdefault(key, None)
        run.readers[user.life.number, key] = run.readers.get((user.life.number, key), 0) + 1

    def take(self, then: Callable[[bool], None]) -> None:
        """Take an item; ``then`` hears whether there was one."""
        if self.ahead:
            self._give(then)
        elif self.is_over:
            self._over(then)
        else:
            self.user.next(self.key, AHEAD, partial(self._took, then))

    def _took(self, then: Callable[[bool], None], names: list[ObjectId], ended: bool) -> None:
        self.ahead += names
        self.is_over = ended
        if self.ahead:
            self._give(then)
        else:
            self._over(then)

    def _over(self, then: Callable[[bool], None]) -> None:
        record = self.user.owner.streams.streams.get(self.key)
        if record is not None and not self.run.is_refused(self):
            self.run.once.read_out(self.user.life, self.stream, self.line)
            is_value = has_returned(record)
            self.run.once.carries(self.user.life, self.stream, self.line, is_value=is_value)
            if has_returned(record):
                self.listen()
        then(False)

    def listen(self) -> None:
        """Call ``completed()`` and get it, whoever reads then."""
        name, user, run = completion_object(self.stream), self.user, self.run
        user.refs[name] = user.refs.get(name, 0) + 1
        user.post(RefCompletion(self.key))
        user.post(WantValues((name,)))
        owner = run.owner_of(name, user)
        waits = (user.life, self.stream)
        run.listeners.append(waits)

        def told(value: Value) -> None:
            run.listeners.remove(waits)
            run.once.heard_end(user.life, self.stream, owner, value)
            user.drop([name])

        user.get(name, told)

    def _give(self, then: Callable[[bool], None]) -> None:
        name = self.ahead.pop(0)
        self.run.once.took(self.user.life, name, self.line)
        self.run.holds(self)
        self._ends_loan()
        if self.run.is_error(name, self.user):
            self.run.once.closed[self.stream] = None  # ended early, by an error
        self.run.after_item(self.user)
        owner = self.run.owner_of(name, self.user)

        def got(value: Value) -> None:
            self.run.once.got(self.user.life, name, owner, value)
            self.user.drop([name])

        self.user.get(name, got)
        then(True)

    def lend(self) -> tuple[Loan, tuple[NestedRef, ...]] | None:
        """Pickle it; None if that is refused."""
        self._ends_loan()
        self.user.answers.clear()
        self.user.post(LendStream(self.key, tuple(self.ahead)))
        (answer,) = self.user.answers
        if isinstance(answer, StreamRefusal):
            self.run.refused(self.user, answer.fault, self)
            return None
        assert isinstance(answer, StreamLent), answer
        ahead, self.ahead = self.ahead, []
        self.is_over = False
        if ahead:
            self.user.drop(ahead)
        self.run.once.note("lent" if answer.owner is None else "passed on")
        where = answer.owner or self.user.life.address
        loan = [answer.stream.hex(), answer.epoch, answer.hop, answer.upto, answer.name]
        refs = (NestedRef(answer.ticket, where), NestedRef(answer.completion, where))
        return [*loan, [peer.hex() for peer in answer.chain], self.stream.hex()], refs

    def fan_out(self, count: int, pending_max: int) -> list[Reader]:
        """Give the stream several readers; none if that is refused."""
        self._ends_loan()
        self.user.answers.clear()
        self.user.post(FanOut(self.key, tuple(self.ahead), count, pending_max))
        (answer,) = self.user.answers
        if isinstance(answer, StreamRefusal):
            self.run.refused(self.user, answer.fault, self)
            return []
        assert isinstance(answer, FannedOut), answer
        ahead, self.ahead = self.ahead, []
        self.is_over = False
        self.user.drop(ahead)
        self.run.once.fanned(self.stream, self.line, answer.readers)
        return [Reader(self.run, self.user, key, self.stream, key) for key in answer.readers]

    def _ends_loan(self) -> None:
        """It may be that nobody else reads by the same loan from now on."""
        if self.epoch is not None:
            self.run.loans.ended[self.line, self.epoch] = None

    def drop(self) -> None:
        if not self.is_gone:
            self.is_gone = True
            self._ends_loan()
            ahead, self.ahead = self.ahead, []
            who = (self.user.life.number, self.key)
            self.run.readers[who] -= 1
            if self.run.readers[who]:
                self.user.drop(ahead)
                self.user.post(Dropped((), (self.key,)))
            else:
                self.user.drop(ahead, (self.key,))

    def close(self) -> None:
        self._ends_loan()
        self.run.once.closed[self.line] = None
        self.user.drop(self.ahead)
        self.ahead = []
        self.is_over = True
        self.user.post(CloseRequested(self.key))
