"""The machine of a process with peers that speak real frames, and what it does readably."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.unit.core.names import JOB, address, peer
from zgen.core.effects import Effect, OpenConnection, Send, Transmit
from zgen.core.events import Arrived, ConnectionUp, Event, InboxDrained, Join, TimerDue
from zgen.core.identity import Identity
from zgen.core.machine import Machine
from zgen.core.process import ProcessMachine
from zgen.ids import PeerId
from zgen.limits import QUIET_LINE_NS
from zgen.wire.codec import (
    FLAG_BODY,
    FLAG_UNSEQUENCED,
    decode,
    decode_header,
    encode,
    encode_header,
)
from zgen.wire.schema import VERSION_MAX, VERSION_MIN
from zgen.wire.session import Goodbye, Hello

PYTHON, RELEASE = "3.11", "0"
DRIVER = peer("driver")


class ProcessBench:
    """One machine, called "me"; every step is followed by ``check()``.

    Attributes:
        acks: Whether peers acknowledge at once what reaches them.
    """

    def __init__(self, *, executes: bool = False, joined: bool = True) -> None:
        self.process = ProcessMachine(Identity(address("me"), PYTHON, RELEASE), executes=executes)
        self.machine: Machine = self.process
        self.now_ns = 1_000_000_000
        self.acks = True
        self._lives: dict[PeerId, int] = {}
        self._sent: dict[PeerId, int] = {}
        self._seen: dict[PeerId, int] = {}
        self._epochs: dict[PeerId, int] = {}
        if joined:
            self.step(Join(address("node"), JOB, 7))
            self.meet("node")

    # -- what happens ------------------------------------------------------------------------------
    def step(self, event: Event) -> list[Effect]:
        """Step the machine; return what it did: messages as ``Send``, neither hellos nor acks."""
        effects = self.machine.step(event, self.now_ns)
        self.machine.check()
        done = self._readable(effects)
        if self.acks:
            for to in dict.fromkeys(e.peer for e in effects if isinstance(e, Transmit)):
                if to in self._sent:
                    done += self.acknowledge(to)
        return done

    def meet(self, name: str, incarnation: int = 1) -> list[Effect]:
        """Let a process say hello, and its inbox answer when it is dialled."""
        who = peer(name)
        self._lives[who] = incarnation
        self._sent[who] = self._seen[who] = 0
        hello = Hello(
            address(name, incarnation),
            peer("me"),
            1,
            1,
            VERSION_MIN,
            VERSION_MAX,
            PYTHON,
            RELEASE,
        )
        frames = [encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0), *encode(hello)]
        done = self.step(self._arrived(who, frames))
        return done + self.step(ConnectionUp(who, self._epochs[who]))

    def say(self, who: PeerId, *messages: Any) -> list[Effect]:
        """Let a process say messages, each in a step of its own."""
        done: list[Effect] = []
        for message in messages:
            done += self.say_frames(who, encode(message))
        return done

    def say_frames(self, who: PeerId, body: list[bytes]) -> list[Effect]:
        self._sent[who] += 1
        ack = self._seen[who] if self.acks else 0
        header = encode_header(FLAG_BODY, self._sent[who], ack)
        return self.step(self._arrived(who, [header, *body]))

    def acknowledge(self, who: PeerId) -> list[Effect]:
        frames = [encode_header(0, 0, self._seen[who])]
        effects = self.machine.step(self._arrived(who, frames), self.now_ns)
        self.machine.check()
        return self._readable(effects)

    def goodbye(self, who: PeerId) -> list[Effect]:
        header = encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0)
        body = encode(Goodbye(who, self._lives[who], "done"))
        return self.step(self._arrived(who, [header, *body]))

    def quiet(self) -> list[Effect]:
        """Let the inbox be found empty twice, far enough apart."""
        done = self.step(InboxDrained())
        self.now_ns += QUIET_LINE_NS
        return done + self.step(InboxDrained())

    def advance(self, by_ns: int) -> list[Effect]:
        """Let time pass and every deadline on the way be kept."""
        until_ns = self.now_ns + by_ns
        done: list[Effect] = []
        while (due_ns := self.machine.next_deadline_ns) is not None and due_ns <= until_ns:
            self.now_ns = max(self.now_ns, due_ns)
            done += self.step(TimerDue())
        self.now_ns = until_ns
        return done

    # -- what is known -----------------------------------------------------------------------------
    @property
    def counts(self) -> dict[str, int]:
        return self.process.session.counts

    def epoch(self, who: PeerId) -> int:
        return self._epochs[who]

    def closing(self) -> bool:
        return self.machine.lines_closing

    def due(self) -> int | None:
        return self.machine.next_deadline_ns

    def _arrived(self, who: PeerId, frames: list[bytes]) -> Arrived:
        return Arrived(b"from " + who + bytes([self._lives[who]]), frames)

    def _readable(self, effects: Sequence[Effect]) -> list[Effect]:
        done: list[Effect] = []
        for effect in effects:
            if isinstance(effect, OpenConnection):
                self._epochs[effect.peer] = effect.epoch
            if not isinstance(effect, Transmit):
                done.append(effect)
                continue
            header = decode_header(effect.frames[0])
            if header.flags == FLAG_BODY and header.seq > self._seen.get(effect.peer, 0):
                self._seen[effect.peer] = header.seq
                done.append(Send(effect.peer, decode(effect.frames[1:])))
        return done


def worker_bench() -> ProcessBench:
    """A worker that knows its node and a driver."""
    bench = ProcessBench(executes=True)
    bench.meet("driver")
    return bench
