"""CURVE and ZAP: the pairs of keys of a cluster, and who is let in.

Every process of a cluster derives the same pair from the cluster's secret. A connection is
encrypted with fresh keys that both ends agree on; the pair proves that both know the secret. Left
to itself, libzmq lets anybody in whose handshake is in order, and everybody when nobody answers
what it asks; with an enforced domain it refuses then.

While the secret is replaced there are two pairs. Who is dialled shows the first of its own, and who
dials has to know it: it tries those that it has in turn, and shows the same one itself.
"""

from typing import Final

import zmq
from zmq.utils import z85

from zgen.exceptions import NodeStartError
from zgen.io.keys import ClusterKey
from zgen.io.sockets import descriptor
from zgen.limits import CONNECTIONS_COUNT_MAX

_PURPOSE: Final = b"zgen CURVE v1"
_DOMAIN: Final = b"zgen"
#: Where libzmq asks, in the context of the socket that was dialled.
_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_ZAP_VERSION: Final = b"1.0"
_ZAP_FRAMES: Final = 9


def transport_facts() -> tuple[str, str, bool]:
    """Return the versions of pyzmq and of libzmq, and whether that can lock connections."""
    return zmq.pyzmq_version(), zmq.zmq_version(), zmq.has("curve")


class Lock:
    """One CURVE pair of a cluster, as options of sockets."""

    __slots__ = ("_pair",)

    def __init__(self, key: ClusterKey) -> None:
        """Derive the pair of the key that ``key`` shows.

        Raises:
            NodeStartError: The installed libzmq cannot encrypt.
        """
        if not zmq.has("curve"):
            raise NodeStartError(
                "the installed libzmq has no CURVE, so a key is of no use; install the wheel of "
                "pyzmq from PyPI"
            )
        secret = z85.encode(key.derive(_PURPOSE))
        self._pair = zmq.curve_public(secret), secret

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "Lock(...)"

    @property
    def member(self) -> bytes:
        """What a member shows of itself: its public key as 32 bytes."""
        return z85.decode(self._pair[0])

    def shut(self, inbox: "zmq.Socket[bytes]") -> None:
        """Let only members connect to ``inbox``; before it is bound."""
        inbox.setsockopt(zmq.CURVE_SERVER, 1)
        inbox.setsockopt(zmq.CURVE_PUBLICKEY, self._pair[0])
        inbox.setsockopt(zmq.CURVE_SECRETKEY, self._pair[1])
        inbox.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        inbox.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def open(self, outbox: "zmq.Socket[bytes]") -> None:
        """Let ``outbox`` connect as a member, and to members only; before it connects."""
        outbox.setsockopt(zmq.CURVE_SERVERKEY, self._pair[0])
        outbox.setsockopt(zmq.CURVE_PUBLICKEY, self._pair[0])
        outbox.setsockopt(zmq.CURVE_SECRETKEY, self._pair[1])


class Locks:
    """The pairs of a process, which may be replaced while it runs, from any thread.

    Attributes:
        each: The one that is shown to who dials, then the other one, if there is one.
    """

    def __init__(self, key: ClusterKey) -> None:
        """Derive those of ``key``.

        Raises:
            NodeStartError: The installed libzmq cannot encrypt.
        """
        self.each = tuple(Lock(one) for one in key.each())
        #: Endpoint -> the one that it showed, where that was not the first; the oldest go beyond
        #: the bound.
        self._fitted: dict[str, Lock] = {}

    @property
    def members(self) -> tuple[bytes, ...]:
        """What members show of themselves."""
        return tuple(lock.member for lock in self.each)

    def replace(self, key: ClusterKey) -> None:
        """Take those of ``key`` instead; one that was there before stays the same object."""
        known = {lock.member: lock for lock in self.each}
        fresh = [Lock(one) for one in key.each()]
        self.each = tuple(known.get(lock.member, lock) for lock in fresh)
        self._fitted = {}

    def to_try(self, endpoint: str) -> tuple[Lock, ...]:
        """Return in which order they are tried at an endpoint: first the one that fitted last."""
        each = self.each
        fitted = self._fitted.get(endpoint)
        if fitted not in each:
            return each
        return (fitted, *[lock for lock in each if lock is not fitted])

    def note_fitting(self, endpoint: str, lock: Lock) -> None:
        """Note what an endpoint showed."""
        if lock is self.each[0]:
            self._fitted.pop(endpoint, None)
            return
        self._fitted[endpoint] = lock
        if len(self._fitted) > CONNECTIONS_COUNT_MAX:
            self._fitted.pop(next(iter(self._fitted)))


class Doorman:
    """Answers what libzmq asks of each new connection: whether its key is allowed.

    It has no thread: whoever receives for the process lets it answer. If it fails it is closed, and
    libzmq refuses everybody from then on, while the connections that there are go on.

    Attributes:
        fd: Readable when something is asked.
        allowed: Keys of those who are let in from now on.
    """

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", allowed: tuple[bytes, ...]
    ) -> None:
        """Allow the keys ``allowed``, of 32 bytes each; before the inbox is bound."""
        self.allowed = allowed
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ZAP_ENDPOINT)
        self.fd = descriptor(self._socket)

    @property
    def gone(self) -> bool:
        """Whether it does not answer any more."""
        return bool(self._socket.closed)

    def answer(self) -> None:
        """Answer everything that was asked.

        Raises:
            ValueError: The question is none of libzmq's.
            zmq.ZMQError: The socket failed.
        """
        while True:
            try:
                asked = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._socket.send_multipart(self._answer_to(asked), zmq.NOBLOCK)

    def close(self) -> None:
        """Let nobody in any more."""
        self._socket.close(0)

    def _answer_to(self, asked: list[bytes]) -> list[bytes]:
        if len(asked) < _ZAP_FRAMES - 1 or asked[2] != _ZAP_VERSION:
            raise ValueError(f"{len(asked)} frames that are no question of ZAP {_ZAP_VERSION!r}")
        requester, _, version, number, domain, _, _, mechanism, *credentials = asked
        allowed = (
            mechanism == b"CURVE"
            and domain == _DOMAIN
            and len(credentials) == 1
            and credentials[0] in self.allowed
        )
        verdict = (b"200", b"OK") if allowed else (b"400", b"no member of this cluster")
        return [requester, b"", version, number, *verdict, b"", b""]
