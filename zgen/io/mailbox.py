"""ROUTER inboxes, one DEALER outbox per peer, high-water policy, monitor → events.

Rules of this file: it moves frames and tells of connections; it decides nothing. The inbox and the
monitors belong to the receive lock, every outbox to the process lock (see ``io/loop.py``); what
crosses from one to the other goes through ``_handed_over`` and the wake-up descriptor.

A raw descriptor of a ZeroMQ socket is readable until its commands were processed and is not
readable again before new ones come, so whoever is woken by one reads until EAGAIN, or remembers
that it did not.
"""

import os
import select
import signal
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import zmq

from zgen.core.events import Arrived, ConnectionLost, ConnectionUp, Event
from zgen.core.handshake_events import HandshakeFailed, Refusal
from zgen.ids import PeerId
from zgen.io.exposure import Exposure
from zgen.io.keys import ClusterKey
from zgen.io.outbox import Dialler, Outbox
from zgen.io.security import Lock, Locks
from zgen.io.sockets import bind, descriptor, new_socket, read_monitor, send, split
from zgen.io.tcp_inbox import TakePart, TcpInbox, refusal_of
from zgen.limits import BACKLOG_COUNT, OUTBOX_COUNT_MAX, SOCKETS_COUNT_MAX


class Mailbox:
    """The sockets of one process.

    Attributes:
        endpoint: The inbox, as ZeroMQ names it.
        tcp_port: Port of the inbox for other machines; 0 if there is none.
        locks: Keys that it has for those; None if it has none.
    """

    def __init__(self, endpoint: str, exposure: Exposure | None = None) -> None:
        """Bind the inbox at ``endpoint``, for example ``ipc://…``.

        Args:
            endpoint: Where.
            exposure: How other machines reach it too; None if they do not.

        Raises:
            NodeStartError: The endpoint cannot be bound, say because the folder of its node is
                gone; or other machines cannot reach it as they should.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, SOCKETS_COUNT_MAX)
        key = None if exposure is None else exposure.key
        self.locks = None if key is None else Locks(key)
        self._dialler = Dialler(self._context, self.locks)
        try:
            self._far = None if exposure is None else TcpInbox(self._context, exposure, self.locks)
            self.tcp_port = 0 if self._far is None else self._far.port
            self._inbox = new_socket(self._context, zmq.ROUTER)
            self._inbox.setsockopt(zmq.BACKLOG, BACKLOG_COUNT)
            bind(self._inbox, endpoint)
        except BaseException:
            self._context.destroy(0)
            raise
        self.endpoint = self._inbox.getsockopt_string(zmq.LAST_ENDPOINT)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._inbox_fd = descriptor(self._inbox)
        self._epoll.register(self._inbox_fd, select.EPOLLIN)
        #: Peer -> open connection. Process lock. Added by ``open_connection``; removed by
        #: ``close_connection``.
        self._outboxes: dict[PeerId, Outbox] = {}
        #: Descriptor -> what to do when it is readable. Receive lock.
        self._readable: dict[int, Callable[[], None]] = {self._wake_fd: self._on_woken}
        for fd, on_readable in [] if self._far is None else self._far.readers():
            self._epoll.register(fd, select.EPOLLIN)
            self._readable[fd] = on_readable
        #: Changes of the poll set asked for under the process lock, done under the receive lock.
        self._handed_over: deque[Callable[[], None]] = deque()
        #: Connection events found by monitors and not collected yet. Receive lock.
        self._found: list[Event] = []
        #: Outboxes that can send again, or are to be dialled with another key. Receive lock adds,
        #: process lock removes.
        self.writable: deque[Outbox] = deque()
        self._inbox_pending = True
        self._closed = False

    # -- under the process lock --------------------------------------------------------------------
    def open_connection(
        self, peer: PeerId, endpoint: str, epoch: int, untried: tuple[Lock, ...] | None = None
    ) -> None:
        """Dial ``endpoint``, with keys that are ``untried`` there; its fate comes as an event."""
        old = self._outboxes.pop(peer, None)
        if old is not None:
            self._retire(old)
        try:
            opened = self._dialler.dial(peer, endpoint, epoch, untried)
        except zmq.ZMQError:  # no such address, or no descriptor is left
            self._hand_over(lambda: self._found.append(ConnectionLost(peer, epoch)))
            return
        self._outboxes[peer] = opened
        self._hand_over(partial(self._watch_monitor, opened))

    def close_connection(self, peer: PeerId, epoch: int) -> None:
        """Close the connection of this epoch, if it is still the open one."""
        outbox = self._outboxes.get(peer)
        if outbox is not None and outbox.epoch == epoch:
            del self._outboxes[peer]
            self._retire(outbox)

    def transmit(self, peer: PeerId, epoch: int, frames: list[bytes]) -> None:
        """Send without blocking; what is not taken waits, or is lost if too much does."""
        outbox = self._outboxes.get(peer)
        if outbox is None or outbox.epoch != epoch:
            return
        if outbox.far:
            frames = split(frames)
        if outbox.waiting:
            if len(outbox.waiting) < OUTBOX_COUNT_MAX:
                outbox.waiting.append(frames)
            return
        try:
            send(outbox.socket, frames)
        except zmq.Again:
            outbox.waiting.append(frames)
            if not outbox.watched:
                outbox.watched = True
                self._hand_over(partial(self._watch_outbox, outbox))
        except zmq.ZMQError:
            return  # the monitor tells of the connection's end

    def flush(self) -> None:
        """Send what waits on connections that can send again."""
        while self.writable:
            outbox = self.writable.popleft()
            if self._outboxes.get(outbox.peer) is not outbox:
                continue
            if outbox.refused is not None:
                again = outbox.peer, outbox.endpoint, outbox.epoch
                self.open_connection(*again, untried=outbox.untried)
                continue
            try:
                # Takes in the commands that made the descriptor readable.
                outbox.socket.getsockopt(zmq.EVENTS)
                while outbox.waiting:
                    send(outbox.socket, outbox.waiting[0])
                    outbox.waiting.popleft()
            except zmq.Again:
                continue
            except zmq.ZMQError:
                outbox.waiting.clear()
            outbox.watched = False
            self._hand_over(partial(self._forget_fd, outbox.fd))

    # -- under the receive lock --------------------------------------------------------------------
    def poll(self, timeout_s: float) -> bool:
        """Wait until something is there, at most ``timeout_s``; return whether it is."""
        while self._handed_over:
            self._handed_over.popleft()()
        there = self._inbox_pending or bool(self._found or self.writable)
        if self._far is not None:
            there = there or self._far.pending
        ready = self._epoll.poll(0 if there else timeout_s)
        for fd, _ in ready:
            if fd == self._inbox_fd:
                self._inbox_pending = True
            else:
                self._readable.get(fd, _ignore)()
        return there or bool(ready)

    def look(self) -> None:
        """Look into the inboxes at the next ``collect``, though nothing said that they have any."""
        self._inbox_pending = True
        if self._far is not None:
            self._far.pending = True

    def collect(self, count_max: int) -> tuple[list[Event], bool]:
        """Return up to ``count_max`` events, and whether nothing is left in the inbox."""
        events, self._found = self._found, []
        drained = True
        if self._far is not None:
            drained = self._collect_far(events, count_max // 2)
        if not self._inbox_pending:
            return events, drained
        inbox = self._inbox
        try:
            while True:
                if len(events) >= count_max:
                    return events, False
                # Frames know whether more follow; asking the socket costs more than they do.
                frame = _receive_frame(inbox, _LAST, False)
                connection = frame.bytes
                frames: list[bytes] = []
                while frame.more:
                    frame = _receive_frame(inbox, _LAST, False)
                    frames.append(frame.bytes)
                events.append(Arrived(connection, frames))
                # From the second on, asking first is cheaper than the exception of an empty socket.
                if not _option(inbox, _EVENTS) & _READABLE:
                    break
        except zmq.Again:
            pass  # it was woken for a command
        self._inbox_pending = False
        return events, drained

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` when ``fd`` is readable; from any thread."""

        def add() -> None:
            self._readable[fd] = on_readable
            self._epoll.register(fd, select.EPOLLIN)

        self._hand_over(add)

    def unwatch(self, fd: int) -> None:
        """Forget a watched descriptor before it is closed; receive lock, or single-threaded."""
        while self._handed_over:
            self._handed_over.popleft()()
        self._forget_fd(fd)

    def take_parts(self, take: TakePart) -> None:
        """Have parts of regions taken by ``take``, under the receive lock; before it is polled."""
        if self._far is not None:
            self._far.take_part = take

    # -- anywhere ----------------------------------------------------------------------------------
    def rekey(self, key: ClusterKey) -> None:
        """Have other keys from now on, if it has any; what was connected with one gone is cut."""
        if self.locks is not None:
            self.locks.replace(key)
            self._hand_over(self._on_rekeyed)

    def wake(self) -> None:
        """Let a thread in ``poll`` return; safe in signal handlers."""
        if not self._closed:
            os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """Close every socket; nobody may be in any other method."""
        if self._closed:
            return
        self._closed = True
        for outbox in self._outboxes.values():
            outbox.socket.disable_monitor()
            outbox.socket.close(0)
            outbox.monitor.close(0)
        self._outboxes.clear()
        self._inbox.close(0)
        if self._far is not None:
            self._far.close()
        self._end_context()
        self._epoll.close()
        os.close(self._wake_fd)

    # -- private -----------------------------------------------------------------------------------
    def _end_context(self) -> None:
        """End the context and its threads; a signal would end the waiting for them instead."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._context.destroy(0)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _collect_far(self, events: list[Event], count_max: int) -> bool:
        """Add what came from other machines; return whether nothing is left there.

        They get a part of each look, so that who floods them does not keep this machine's waiting.
        """
        far = self._far
        if far is None:
            return True
        events.extend(far.take_refusals())
        if far.pending:
            far.collect(events, count_max)
        return not far.pending

    def _hand_over(self, change: Callable[[], None]) -> None:
        self._handed_over.append(change)
        self.wake()

    def _on_rekeyed(self) -> None:
        if self._far is None or self.locks is None:
            return
        self._far.rekey()
        for outbox in list(self._outboxes.values()):
            if outbox.lock is not None and outbox.lock not in self.locks.each:
                self._found.append(ConnectionLost(outbox.peer, outbox.epoch))

    def _retire(self, outbox: Outbox) -> None:
        outbox.waiting.clear()
        outbox.socket.disable_monitor()

        def finish() -> None:
            self._forget_fd(outbox.fd)
            self._forget_fd(outbox.monitor_fd)
            outbox.monitor.close(0)
            # After its descriptor left the poll set, since the number may be used again.
            outbox.socket.close(0)

        self._hand_over(finish)

    def _watch_monitor(self, outbox: Outbox) -> None:
        if outbox.monitor.closed:
            return
        self._readable[outbox.monitor_fd] = partial(self._on_monitor, outbox)
        self._epoll.register(outbox.monitor_fd, select.EPOLLIN)
        self._on_monitor(outbox)  # what came before the descriptor was watched is not told again

    def _watch_outbox(self, outbox: Outbox) -> None:
        if outbox.socket.closed or not outbox.watched:
            return
        if outbox.fd not in self._readable:
            self._readable[outbox.fd] = partial(self.writable.append, outbox)
            self._epoll.register(outbox.fd, select.EPOLLIN)
        self.writable.append(outbox)

    def _forget_fd(self, fd: int) -> None:
        if self._readable.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def _on_monitor(self, outbox: Outbox) -> None:
        monitor = outbox.monitor
        if monitor.closed:
            return
        while outbox.refused is None and (told := read_monitor(monitor)) is not None:
            event, value = told
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                if outbox.lock is not None and self.locks is not None:
                    self.locks.note_fitting(outbox.endpoint, outbox.lock)
                self._found.append(ConnectionUp(outbox.peer, outbox.epoch))
                continue
            why = refusal_of(event, value)
            if why is not None and why is not Refusal.MALFORMED and outbox.untried:
                outbox.refused = why
                self.writable.append(outbox)
                continue
            if why is not None and outbox.far:
                self._found.append(HandshakeFailed(outbox.peer, outbox.epoch, why))
            self._found.append(ConnectionLost(outbox.peer, outbox.epoch))

    def _on_woken(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            return


def _ignore() -> None:
    """A descriptor that was forgotten in the same round."""


#: Plain numbers and the compiled method: flags of an enum class and the wrapper above it cost more
#: than the receiving.
_LAST: Final = int(zmq.NOBLOCK)
_EVENTS: Final = int(zmq.EVENTS)
_READABLE: Final = int(zmq.POLLIN)
_receive_frame: Final[Callable[..., Any]] = zmq.backend.Socket.recv
_option: Final[Callable[..., Any]] = zmq.backend.Socket.get
