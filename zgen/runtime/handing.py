"""The half of `ObjectRefGenerator` that is handed over: pickled in values, and read elsewhere.

Rules of this file: who may read a stream is decided by the machines, which are asked as a generator
is pickled and as it is unpickled. One process has one generator object for a stream.
"""

import os
from typing import Any, TypeVar

from zgen.core.handover_words import (
    FannedOut,
    FanOut,
    HoldStream,
    LendStream,
    StreamHeld,
    StreamLent,
    StreamRefusal,
)
from zgen.exceptions import NestedRefError, StreamClosedError, StreamLentError
from zgen.ids import ObjectId, PeerId, StreamId, task_of
from zgen.io import serializer
from zgen.io.nested_refs import collect, takes_streams
from zgen.runtime import process
from zgen.runtime.closing import ClosingSteps
from zgen.runtime.process import Runtime, dropped_streams, kick
from zgen.slotted import slotted
from zgen.wire.schema import to_array
from zgen.wire.session import Address
from zgen.wire.value import NestedRef

R = TypeVar("R")
A = TypeVar("A")


@slotted
class Loan:
    """What a generator knows that reads a stream of another process.

    Attributes:
        completion: Object of the owner that tells of the end.
    """

    completion: ObjectId


class HandingSteps(ClosingSteps[R]):
    """Items of a stream that another process may come to read."""

    __slots__ = ("_loan",)

    _loan: Loan | None

    def __init__(self, stream: StreamId, runtime: Runtime) -> None:
        """Of ``ObjectRefGenerator``."""
        raise NotImplementedError

    def task_id(self) -> bytes:
        """Return the id of the generator task."""
        return task_of(self._runtime.machine.owner.handover.completion(self.stream))

    def taken_over(self) -> list[Any]:
        """Return the references that were taken over and not given out."""
        return list(self._items[self._cursor :])

    @property
    def completion(self) -> ObjectId | None:
        """Object that tells of the end of another process's stream; None for one of this one."""
        return None if self._loan is None else self._loan.completion

    def _handed_class(self) -> type["HandingSteps[R]"]:
        """Return what it is where it is unpickled."""
        return type(self)

    def fanned_out(self, count: int, pending_max: int) -> tuple[Runtime, tuple[StreamId, ...]]:
        """Give its stream several readers; return the runtime, and what that calls their streams.

        Raises:
            StreamLentError: It was handed over, or has several readers already.
            StreamClosedError: Its zgen was shut down.
        """
        event = FanOut(self.stream, self._ahead(), count, pending_max)
        (answer,) = self._give_up(event, FannedOut)
        return self._runtime, answer.readers

    def _ahead(self) -> tuple[ObjectId, ...]:
        """Return what was taken over and not given out, if it can be read at all.

        Raises:
            StreamClosedError: Its zgen was shut down.
        """
        runtime = self._runtime
        if runtime.closed or runtime is not process.current:
            raise StreamClosedError("", "the generator can no longer be read: zgen was shut down")
        runtime.enter()
        return tuple([ObjectId(ref.binary()) for ref in self.taken_over()])

    def _give_up(self, event: LendStream | FanOut, answer_class: type[A]) -> list[A]:
        """Ask for the right to read to go to others, and let go of what was taken over.

        Raises:
            StreamLentError: It is not here.
        """
        answers: list[A] = []
        for effect in self._runtime.loop.post(event):
            if type(effect) is StreamRefusal:
                raise serializer.error_of(effect.fault)
            if isinstance(effect, answer_class):
                answers.append(effect)
        assert answers, f"{type(event).__name__} was not answered"
        self._items, self._cursor, self._ended = [], 0, False
        return answers

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle inside a value that zgen pickles: who gets that reads on, and nobody else.

        Raises:
            NestedRefError: Somebody else pickles it.
            StreamLentError: It was handed over already.
            StreamClosedError: Its zgen was shut down.
        """
        if not takes_streams():
            raise NestedRefError(
                f"{self!r} was to be pickled by hand or with a function that closes over it, and "
                "zgen could not tell who reads it then; put it into an argument or a result"
            )
        runtime, ahead = self._runtime, self._ahead()
        if ahead and self._loan is not None:
            raise StreamLentError("", "an item that was taken is still to be given out here")
        (lent,) = self._give_up(LendStream(self.stream, ahead), StreamLent)
        runtime.handed[self.stream] = self
        owner = lent.owner or runtime.machine.session.identity.address
        collect(NestedRef(lent.ticket, owner))
        collect(NestedRef(lent.completion, owner))
        words = (lent.stream, lent.epoch, lent.hop, lent.upto, lent.name)
        per_yield = runtime.machine.owner.streams.streams[self.stream].per_yield
        how = (to_array(owner), lent.ticket, lent.completion, lent.chain, per_yield)
        return unpickled, (self._handed_class(), *words, *how)


def unpickled(
    generator_class: type[HandingSteps[R]],
    stream: StreamId,
    epoch: int,
    hop: int,
    upto: int,
    name: str,
    where: tuple[Any, ...],
    ticket: ObjectId,
    completion: ObjectId,
    chain: tuple[PeerId, ...],
    per_yield: int = 1,
) -> HandingSteps[R]:
    """Return the generator of this process for a stream that came inside a value.

    Raises:
        NestedRefError: That value is gone: its bytes were kept by hand.
        LocalProtocolError: zgen does not run in this process.
    """
    runtime = process.require()
    with runtime.loop.lock:
        records = runtime.machine.owner.refs.records
        if ticket not in records or completion not in records:
            raise NestedRefError(f"the value is gone that kept the generator of {name}()")
        who = f"process {os.getpid()}"
        if runtime.runner is not None:
            who = f"task {runtime.context.task.hex()[:8]} in {who}"
        how = (Address(*where), completion, chain, who, per_yield)
        event = HoldStream(stream, epoch, hop, upto, name, *how)
        (key,) = [e.key for e in runtime.loop.post(event) if type(e) is StreamHeld]
        generator: HandingSteps[R] | None = runtime.handed.get(key)
        if generator is not None:  # which is one handle, and was counted once more
            dropped_streams.append(key)
            kick()
            return generator
        generator = generator_class(key, runtime)
        if key != stream:
            generator._loan = Loan(completion)  # noqa: SLF001  # of this class
        runtime.handed[key] = generator
    return generator
