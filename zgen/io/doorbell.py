"""Ask who is at a tcp address, and whether it and this process can work together.

This is how a process that knows of a cluster no more than one address finds its first peer.
"""

import os
from contextlib import suppress

from zgen.core.effects import Effect, Left
from zgen.core.events import (
    Arrived,
    ConnectionLost,
    ConnectionUp,
    Event,
    InboxDrained,
    Join,
    Leave,
    TimerDue,
)
from zgen.core.handshake_events import HandshakeFailed, Refusal, StrangersRefused
from zgen.core.identity import Identity
from zgen.core.refusals import DIALLED
from zgen.core.session import Session
from zgen.exceptions import (
    HandshakeError,
    RemoteProtocolError,
    VersionMismatchError,
    WrongKeyError,
)
from zgen.ids import ID_BYTES, JobId, PeerId
from zgen.io.clock import now_ns
from zgen.io.endpoints import endpoint, facing, parse_place
from zgen.io.exposure import Exposure
from zgen.io.greeting import check_greeting
from zgen.io.keys import ClusterKey
from zgen.io.loop import Loop
from zgen.io.mailbox import Mailbox
from zgen.io.release import PYTHON, RELEASE
from zgen.limits import DOORBELL_NS_MAX, GREETING_NS_MAX
from zgen.wire.codec import decode
from zgen.wire.session import ANYBODY, Address, Hello

#: Reasons that are the key's, as far as the end that dialled can tell.
_KEYS = (Refusal.OTHER_KEY, Refusal.KEY_ON_ONE_SIDE, Refusal.CUT_SHORT)


class Doorbell:
    """One ring at a door, as a machine: a hello to whoever is there, and what comes back.

    Attributes:
        next_deadline_ns: When ``TimerDue`` is wanted, or None.
        lines_closing: Never wanted.
        answer: The hello of who is there; None until it came.
        refusal: Why the last handshake failed; None if none did.
        reached: Whether a connection there was ever up.
        losses: Connections that were lost or refused.
    """

    def __init__(self, identity: Identity, deadline_ns: int) -> None:
        """Ring as ``identity``, and look around at ``deadline_ns``; a ``Join`` says where."""
        self._deadline_ns = deadline_ns
        self.next_deadline_ns: int | None = deadline_ns
        self.lines_closing = False
        self.answer: Hello | None = None
        self.refusal: Refusal | None = None
        self.reached = False
        self.losses = 0
        self._session = Session(identity)

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        """Absorb one event and return what is to be done, in order."""
        out: list[Effect] = []
        match event:
            case Join(node):
                self._session.dial(node, out)
            case ConnectionUp(peer, epoch):
                self.reached = True
                self._session.on_connection_up(peer, epoch, now_ns, out)
            case ConnectionLost(peer, epoch):
                self.losses += 1
                self._session.on_connection_lost(peer, epoch, now_ns, out)
            case HandshakeFailed():
                self.refusal = event.why
            case Arrived(connection, frames):
                self._on_arrived(connection, frames, now_ns, out)
            case TimerDue():
                self._session.on_timer(now_ns, out)
            case Leave(reason):
                self._session.leave(reason, now_ns, out)
            case InboxDrained() | StrangersRefused():
                pass
            case _:
                raise AssertionError(f"a doorbell is never told {event}")
        next_ns = self._session.deadlines.next_ns
        if now_ns < self._deadline_ns:
            next_ns = min(next_ns or self._deadline_ns, self._deadline_ns)
        self.next_deadline_ns = next_ns
        return out

    def check(self) -> None:
        """Assert the invariants of the line."""
        self._session.check()

    def _on_arrived(
        self, connection: bytes, frames: list[bytes], now_ns: int, out: list[Effect]
    ) -> None:
        with suppress(RemoteProtocolError):  # of one that runs another version, too
            self._session.on_arrived(connection, frames, now_ns, out)
        with suppress(RemoteProtocolError):
            said = decode(frames[1:])
            if isinstance(said, Hello):
                self.answer = said


def who_is_at(place: str, key: ClusterKey | None, release: str = RELEASE) -> Address:
    """Return who listens at ``HOST:PORT``, if this process may talk to it.

    Without a key the answer can be heard, and a false one given, by anybody on the way.

    Args:
        place: Where.
        key: Key of the cluster, or None.
        release: Version of zgen that this process says it runs.

    Raises:
        ValueError: ``place`` is no address.
        WrongKeyError: The keys differ, or only one end has one.
        VersionMismatchError: It runs another zgen or Python.
        HandshakeError: Nothing listens there, or something else, or it does not answer.
    """
    host, port = parse_place(place)
    where = endpoint(host, port)
    try:
        mine = facing(host)
    except OSError as error:
        raise HandshakeError(where, str(error.strerror or error)) from None
    bell, me = _ring(where, mine, key, release)
    if bell.answer is None and bell.reached and bell.refusal not in _KEYS:
        # The answer is one message that nobody sends again, as nothing is said that is to be
        # acknowledged: it may have been lost.
        bell, me = _ring(where, mine, key, release)
    if bell.answer is None:
        check_greeting(host, port, locked=key is not None, within_ns=GREETING_NS_MAX)
        raise _failure(bell, where, me.tcp)
    mismatch = Identity(me, PYTHON, release).mismatch(bell.answer)
    if mismatch:
        raise VersionMismatchError(where, mismatch)
    return bell.answer.sender


def _ring(where: str, mine: str, key: ClusterKey | None, release: str) -> tuple[Doorbell, Address]:
    """Ring once, under a name of its own; return what came of it, and where it was heard."""
    deadline_ns = now_ns() + DOORBELL_NS_MAX
    peer = PeerId(os.urandom(ID_BYTES))
    # Nothing is heard on ipc, so no machine is the same as this one.
    exposure = Exposure(mine, "*", mine, os.urandom(8), key)
    mailbox = Mailbox(f"inproc://{peer.hex()}", exposure)
    me = exposure.told(Address(peer, 1, ""), mailbox.tcp_port)
    bell = Doorbell(Identity(me, PYTHON, release), deadline_ns)
    left: list[Effect] = []

    def perform(effect: Effect) -> None:
        if isinstance(effect, Left):
            left.append(effect)

    loop = Loop(bell, mailbox, perform)
    try:
        loop.post(Join(Address(ANYBODY, 1, "", tcp=where), JobId(peer), os.getpid()))
        loop.run(lambda: _is_told(bell) or now_ns() >= deadline_ns)
        loop.post(Leave("it was only asked who is there"))
        loop.run(lambda: bool(left))
    finally:
        loop.close()
    return bell, me


def _is_told(bell: Doorbell) -> bool:
    """Return whether waiting longer would tell no more; one loss may be an accident."""
    return bell.answer is not None or (bell.losses > 1 and not bell.reached)


def _failure(bell: Doorbell, where: str, back: str) -> HandshakeError:
    """Return what went wrong with one who speaks this transport, and as safely as this process."""
    if bell.refusal in _KEYS:
        return WrongKeyError(where, DIALLED[Refusal.OTHER_KEY])
    if bell.reached:
        return HandshakeError(where, f"it was reached, but could not connect back to {back}")
    return HandshakeError(where, "it broke the connection off")
