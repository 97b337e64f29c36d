"""A node's machine among other nodes that speak real frames."""

from __future__ import annotations

from tests.unit.node.fakes import DRIVER, NODE, Bench, ask, cpu, lease, peer
from zgen.core.effects import Effect, Send
from zgen.core.node_events import MemberGone, MemberSaid
from zgen.ids import PeerId, derive_worker_id
from zgen.wire.cluster import ForwardLease, NodeState, ShareJob
from zgen.wire.codec import encode
from zgen.wire.lease import ANYWHERE, LeaseGranted, RequestLease, Shape, Strategy
from zgen.wire.session import Address

EAST, WEST = peer("east"), peer("west")
FAR_DRIVER, FAR_WORKER = peer("far driver"), peer("far worker")
FIRST = derive_worker_id(NODE, 1)


def far(name: PeerId, node: PeerId = EAST) -> Address:
    """Return the address of a process of another node."""
    return Address(name, 1, "ipc://" + name.decode("latin-1"), node)


def state(
    node: PeerId = EAST,
    total: Shape | None = None,
    free: Shape | None = None,
    version: int = 0,
    labels: tuple[tuple[str, str], ...] = (),
) -> NodeState:
    total = cpu(2) if total is None else total
    return NodeState(far(node, node), total, total if free is None else free, labels, 0, version)


def placed(name: str, strategy: Strategy, shape: Shape | None = None) -> RequestLease:
    asked = ask(name, cpu(1) if shape is None else shape)
    return RequestLease(asked.lease, asked.job, asked.shape, asked.what, strategy)


def messages(effects: list[Effect], to: PeerId | None = None) -> list[object]:
    """Return what is said, to anybody or to one."""
    return [e.message for e in effects if isinstance(e, Send) and to in (None, e.peer)]


class Among(Bench):
    """A node whose driver asks for leases, and other nodes."""

    def member(self, said: NodeState | None = None, *, speaks: bool = True) -> list[Effect]:
        """Let membership tell of a node, and the node say hello."""
        said = state() if said is None else said
        done: list[Effect] = []
        if speaks and said.address.peer not in self.addresses:
            done += self.join(said.address.peer, 1, said.address.peer)
        return done + self.step(MemberSaid(encode(said)[0]))

    def gone(self, node: PeerId = EAST) -> list[Effect]:
        return self.step(MemberGone(node, "it is dead"))

    def forwarded(self, name: str = "a") -> list[Effect]:
        """Let a request go to another node, since there are no CPUs here."""
        return self.say(DRIVER, ask(name))

    def granted(self, name: str = "a", node: PeerId = EAST) -> list[Effect]:
        """Let the other node grant it."""
        return self.say(node, LeaseGranted(lease(name), far(FAR_WORKER, node), 9))

    def shared(self, node: PeerId = EAST, *, queued: bool = False, name: str = "f") -> list[Effect]:
        """Let another node share a job and forward a request of its driver."""
        job = ask(name).job
        done = self.say(node, ShareJob(job, far(FAR_DRIVER, node), ("lib",), "folder", ()))
        return done + self.say(node, ForwardLease(ask(name), far(FAR_DRIVER, node), queued))


def alone() -> Among:
    """A node without CPUs, with a driver."""
    bench = Among(cpus=0)
    bench.join(DRIVER, 1, NODE)
    bench.drive_again(DRIVER, ask("a").job)
    return bench


def beside() -> Among:
    """The same, beside another node that has two."""
    bench = alone()
    bench.member()
    return bench


ANY = ANYWHERE
