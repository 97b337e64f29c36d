"""A node's machine with peers that speak real frames, and what it does in a readable form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zgen.core.effects import Effect, OpenConnection, Send, Transmit
from zgen.core.events import (
    Arrived,
    ConnectionUp,
    Event,
    InboxDrained,
    TimerDue,
    WorkerExited,
    WorkerSpawned,
)
from zgen.core.identity import Identity
from zgen.core.node_effects import SpawnWorker
from zgen.ids import NO_PEER, JobId, LeaseId, PeerId
from zgen.limits import QUIET_LINE_NS, STORE_BYTES_MIN
from zgen.wire.codec import (
    FLAG_BODY,
    FLAG_UNSEQUENCED,
    decode,
    decode_header,
    encode,
    encode_header,
)
from zgen.wire.lease import RegisterJob, RequestLease, Shape, WorkerReady
from zgen.wire.schema import VERSION_MAX, VERSION_MIN
from zgen.wire.session import Address, Goodbye, Hello
from zgen_node.core.node import NodeMachine

NO_LEASE = LeaseId(bytes(16))
PYTHON, RELEASE = "3.11", "0"
SIGKILL = 9


def peer(name: str) -> PeerId:
    return PeerId(name.encode().ljust(16, b"."))


def job(name: str) -> JobId:
    return JobId(name.encode().ljust(16, b"."))


def lease(name: str) -> LeaseId:
    return LeaseId(name.encode().ljust(16, b"."))


def cpu(count: float) -> Shape:
    return (("CPU", round(count * 10_000)),) if count else ()


ONE = cpu(1)
#: Its regions are numbered from 1.
NODE = PeerId(bytes(4) + b"node".ljust(12, b"."))
JOB = job("job")
DRIVER = peer("driver")
#: What a driver says of its job.
REGISTER = RegisterJob(JOB, 77, ("lib",), "folder", (("A", "b"),))


def ask(name: str, shape: Shape = ONE, of: JobId = JOB) -> RequestLease:
    return RequestLease(lease(name), of, shape, f"work {name}")


class Bench:
    """A node and its peers.

    Every step is followed by ``check()``; peers acknowledge at once what reaches them.
    """

    def __init__(
        self,
        cpus: float = 2,
        prestart: bool = False,
        more: Shape = (),
        store_bytes: int = STORE_BYTES_MIN,
        memory_ppm: int = 0,
    ) -> None:
        address = Address(NODE, 1, "ipc://node", NODE)
        total = tuple(sorted((*cpu(cpus), *more)))
        identity = Identity(address, PYTHON, RELEASE)
        self.machine = NodeMachine(identity, total, prestart, store_bytes, (), memory_ppm)
        self.now_ns = 1_000
        self.addresses: dict[PeerId, Address] = {}
        self._sent: dict[PeerId, int] = {}
        self._seen: dict[PeerId, int] = {}
        self._epochs: dict[PeerId, int] = {}

    # -- what happens ------------------------------------------------------------------------------
    def step(self, event: Event) -> list[Effect]:
        """Step the machine; return what it did: messages as ``Send``, neither hellos nor acks."""
        effects = self.machine.step(event, self.now_ns)
        self.machine.check()
        done = self._readable(effects)
        for name in {e.peer for e in effects if isinstance(e, Transmit)}:
            if name in self._sent:
                frames = [encode_header(0, 0, self._seen.get(name, 0))]
                assert (
                    self._readable(self.machine.step(self._arrived(name, frames), self.now_ns))
                    == []
                )
        return done

    def join(self, name: PeerId, incarnation: int = 1, node: PeerId = NO_PEER) -> list[Effect]:
        """Let a process say hello, and its inbox answer when it is dialled back."""
        address = Address(name, incarnation, f"ipc://{name.decode('latin-1')}", node)
        self.addresses[name] = address
        self._sent[name] = self._seen[name] = 0
        hello = Hello(address, NODE, 1, 1, VERSION_MIN, VERSION_MAX, PYTHON, RELEASE)
        frames = [encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0), *encode(hello)]
        effects = self.step(self._arrived(name, frames))
        return effects + self.step(ConnectionUp(name, self._epochs[name]))

    def say(self, name: PeerId, *messages: Any) -> list[Effect]:
        """Let a process say messages, each in a step of its own."""
        done: list[Effect] = []
        for message in messages:
            done += self.say_frames(name, encode(message))
        return done

    def say_frames(self, name: PeerId, body: list[bytes]) -> list[Effect]:
        self._sent[name] += 1
        header = encode_header(FLAG_BODY, self._sent[name], self._seen[name])
        return self.step(self._arrived(name, [header, *body]))

    def leave(self, name: PeerId) -> list[Effect]:
        goodbye = Goodbye(name, self.addresses[name].incarnation, "done")
        header = encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0)
        return self.step(self._arrived(name, [header, *encode(goodbye)]))

    def drive(self, name: PeerId = DRIVER, of: JobId = JOB) -> list[Effect]:
        """Let a driver join and register its job."""
        self.join(name)
        return self.drive_again(name, of)

    def drive_again(self, name: PeerId, of: JobId) -> list[Effect]:
        """Let a driver that has joined register its job."""
        return self.say(name, RegisterJob(of, 77, ("lib",), "folder", (("A", "b"),)))

    def start(self, worker: PeerId, pid: int = 100) -> list[Effect]:
        """Let a spawned worker come up."""
        done = self.step(WorkerSpawned(worker, pid))
        done += self.join(worker)
        return done + self.say(worker, WorkerReady(pid))

    def die(
        self,
        worker: PeerId,
        pid: int = 100,
        log_tail: str = "",
        under: LeaseId = NO_LEASE,
        started: int = 0,
    ) -> list[Effect]:
        """Let the zygote report that a worker was killed."""
        return self.step(WorkerExited(worker, pid, -1, SIGKILL, log_tail, under, started))

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
        return self.machine.session.counts

    @property
    def free(self) -> Shape:
        return self.machine.leases.resources.free

    def closing(self) -> bool:
        return self.machine.lines_closing

    @property
    def due_ns(self) -> int | None:
        return self.machine.next_deadline_ns

    def states(self) -> list[str]:
        """Return the state of every worker, and whether it is ending."""
        return [
            worker.state.value + (" ending" if worker.ending else "")
            for worker in self.machine.pool.all()
        ]

    def _arrived(self, name: PeerId, frames: list[bytes]) -> Arrived:
        life = self.addresses[name].incarnation
        return Arrived(b"from " + name + bytes([life]), frames)

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


def spawned(effects: Sequence[Effect]) -> list[PeerId]:
    """Return the workers that are wanted."""
    return [effect.worker for effect in effects if isinstance(effect, SpawnWorker)]


def without(effects: Sequence[Effect], *classes: type) -> list[Effect]:
    """Return the effects of other classes."""
    return [effect for effect in effects if not isinstance(effect, classes)]
