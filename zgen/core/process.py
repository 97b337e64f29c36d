"""Session, owner and executor of one process as one machine.

Every event of a driver or worker enters here, and every effect leaves here: what a recording of
both shows is all there is.
"""

from collections.abc import Callable
from typing import Any

from zgen.core import events as ev
from zgen.core import owner_audit
from zgen.core.actor_events import ExitActor
from zgen.core.actor_requests import ActorRequests
from zgen.core.deadlines import Deadlines, earliest, shared_alarm
from zgen.core.detours import Detours
from zgen.core.effects import Effect, Exit, Rekey, Send
from zgen.core.executor import Executor
from zgen.core.handshake_events import HandshakeFailed, StrangersRefused
from zgen.core.identity import Gone, Identity
from zgen.core.marks import reached
from zgen.core.owner import Owner
from zgen.core.ref_exchange import RefExchange
from zgen.core.session import Session
from zgen.core.state_report import StateReport
from zgen.core.state_words import AskState
from zgen.core.store_client import MESSAGES as STORE_MESSAGES
from zgen.core.store_client import StoreClient
from zgen.core.store_events import OpenView, RegionUnused, WantRegion
from zgen.core.together import Together
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId, short
from zgen.wire.actor import ActorAt
from zgen.wire.cluster import KeysChanged
from zgen.wire.codec import decode, encode
from zgen.wire.lease import LeaseGranted, ProcessDown, WorkerReady
from zgen.wire.store import AskEvict, RegionsHeld, RegionsLeased, RegionsRefused
from zgen.wire.task import CancelTask
from zgen.wire.value import Parcel, Stored


class ProcessMachine:
    """The machine of a driver or a worker.

    Attributes:
        session: Its lines.
        owner: What it submitted.
        executor: What it runs; None in a driver.
        store: What it has in shared memory.
        node: The daemon of this process, once it joined.
        next_deadline_ns: When ``TimerDue`` is wanted.
    """

    def __init__(self, identity: Identity, *, executes: bool) -> None:
        """Start without a node; ``executes`` for a worker."""
        self.session = session = Session(identity)
        self.detours = Detours(session, self._on_arrived)
        self.store = StoreClient()
        owner = self.owner = Owner(identity.address.peer, self.store)
        executor = self.executor = Executor(self.store, owner.borrowing) if executes else None
        (borrowing := owner.borrowing).session = session
        self.requests = ActorRequests(session, owner.actors, owner.placement, borrowing)
        exchanged = session, owner.refs, borrowing, owner.settlement
        self.exchange = RefExchange(*exchanged, executes=executes)
        self._returned, self._gone = owner.refs.returned, owner.refs.gone
        self._lent, self._accepted = owner.handover.lending.lent, borrowing.accepted
        #: What is empty after most steps, and has to be seen to after the others.
        self._left = (self.store.dropped, self._returned, self._gone, self._lent, self._accepted)
        self._regions, self._hops = self.store.regions, self.detours.hops
        self.next_deadline_ns: int | None = None
        self.node: PeerId | None = None
        #: Peer -> what is known of its death. Removed when the DOWN is acted on: its line is quiet.
        self._downs: dict[PeerId, tuple[ProcessDown | None, str]] = {}
        ran: tuple[Deadlines[Any], ...] = executor.all_deadlines if executor is not None else ()
        own = (session.deadlines, self.store.stock.deadlines)
        self._deadlines: tuple[Deadlines[Any], ...] = (*own, *owner.deadlines, *ran)
        self._alarm, self._routes = shared_alarm(self._deadlines), dict(self.detours.handlers)
        report = StateReport(identity.address.peer, owner, self.executor)
        self._routes |= {**self.owner.handlers, **self.exchange.handlers, **report.handlers}
        self._handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            ev.Arrived: self._on_arrived,
            ev.ConnectionUp: lambda e, now, o: session.on_connection_up(e.peer, e.epoch, now, o),
            ev.ConnectionLost: self._on_connection_lost,
            HandshakeFailed: self.session.on_handshake_failed,
            StrangersRefused: lambda e, now, out: self.session.refusals.strangers(e, out),
            ev.TimerDue: self._on_timer,
            ev.InboxDrained: self._on_drained,
            ev.Leave: lambda e, now, out: self.session.leave(e.reason, now, out),
            ev.Join: self._on_join,
            ev.RegisterDriver: lambda e, now, out: self.owner.placement.register(e, out),
            ev.DefineTaskFunction: self._on_define_function,
            ev.SubmitTask: lambda e, now, out: self.owner.submit(e.spec, now, out),
            **self.requests.handlers,
            **self.owner.wishes,
            ev.PutObject: self._on_put,
            ev.TakeItems: self.owner.take,
            ev.RefCompletion: lambda e, now, out: self.owner.ref_completion(e),
            ev.Dropped: self._on_dropped,
            ev.CountRef: lambda e, now, out: self.owner.refs.add_local(e.object),
            ev.WantValues: lambda e, now, out: self.owner.borrowing.want(e.objects, out),
            WantRegion: self._on_want_region,
            RegionUnused: lambda e, now, out: self.store.stock.unused(e.region, out),
            OpenView: self._on_open_view,
            ev.AskNode: lambda e, now, out: self.owner.placement.ask_node(e.query, out),
            AskState: report.on_ask,
            ev.ProcessExited: self._on_process_exited,
        }
        if executor is not None:
            self._routes.update({**executor.handlers, CancelTask: self._on_cancel_task})
            self._handlers |= {ev.Yielded: self._on_yielded, ExitActor: executor.on_exit_actor}
            self._handlers |= Together(executor, self.store, borrowing).handlers
            self._handlers[ev.TaskEnded] = executor.on_task_ended
            self._handlers[ev.BodyBlocked] = executor.on_body_blocked

    @property
    def lines_closing(self) -> bool:
        """Whether ``InboxDrained`` is wanted."""
        return bool(self.session.closing)

    def step(self, event: ev.Event, now_ns: int) -> list[Effect]:
        """Absorb one event and return what is to be done, in order."""
        wanted: list[Effect] = []
        self._handlers[type(event)](event, now_ns, wanted)
        executor = self.executor
        if executor is not None and executor.admission.running is None and executor.calls is None:
            self.exchange.note_tasks(bool(self.owner.tasks.entries))
        if any(self._left) or self._regions.changed or self.exchange.changed:
            self._see_to_rest(now_ns, wanted)
        if wanted and not (type(event) is ev.TakeItems and len(wanted) == 1):
            wanted = self._post(wanted, now_ns)
        if self._hops:
            wanted = self.detours.reroute(wanted, now_ns)
        if self._alarm.moved:
            self._alarm.moved = False
            self.next_deadline_ns = earliest(self._deadlines)
        return wanted

    def check(self) -> None:
        """Assert every invariant."""
        assert self.next_deadline_ns == earliest(self._deadlines), "a deadline that nobody heard of"
        self.session.check()
        self.owner.check()
        self.store.check()
        owner = self.owner
        needed = owner_audit.needs(owner.refs, owner.tasks, owner.streams, owner.placement)
        needed += owner.actors.calling.needs() + owner.pins.needs()
        if self.executor is not None:
            self.executor.check()
            needed += self.executor.needs()
        self.owner.borrowing.check(needed)

    def _post(self, wanted: list[Effect], now_ns: int) -> list[Effect]:
        """Put messages into the session; everything else passes through, in order."""
        effects: list[Effect] = []
        for effect in wanted:
            if type(effect) is Send:
                frames = encode(effect.message)
                if effect.address is not None:
                    self.session.dial(effect.address, effects)
                sent = self.session.send(
                    effect.peer, frames, now_ns, effects, effect.token, effect.item_bytes
                )
                if effect.refs:
                    self.exchange.on_sent(effect, sent)
            else:
                effects.append(effect)
        if self.exchange.changed:
            more: list[Effect] = []
            self._settle(now_ns, more)
            effects += self._post(more, now_ns)
        return effects

    def _see_to_rest(self, now_ns: int, out: list[Effect]) -> None:
        """Do what follows from a step for what it dropped, changed or may have left to be done."""
        dropped = self.store.dropped or self._returned or self._gone
        if dropped or self._regions.changed or self.exchange.changed:
            self._settle(now_ns, out)
        if self._lent or self._accepted:
            self.owner.handover.tend(out, now_ns)
            self._settle(now_ns, out)

    def _settle(self, now_ns: int, out: list[Effect]) -> None:
        """Let go of what a step has dropped, and tell others of it."""
        while True:
            self.exchange.flush(out)
            self.owner.borrowing.settle(out)
            self.store.settle(out)
            if not self._gone:
                return
            gone, self._gone[:] = list(self._gone), []
            self.store.on_gone(gone, out)
            self.owner.on_gone(gone, now_ns, out)

    def _on_connection_lost(self, event: ev.ConnectionLost, now_ns: int, out: list[Effect]) -> None:
        self.session.on_connection_lost(event.peer, event.epoch, now_ns, out)
        self.owner.borrowing.watch_stranger(event.peer, out)

    def _on_arrived(self, event: ev.Arrived, now_ns: int, out: list[Effect]) -> None:
        try:
            sender, bodies, gone = self.session.on_arrived(
                event.connection, event.frames, now_ns, out
            )
        except RemoteProtocolError as error:
            self._count(str(error))
            return
        if gone is not None:
            self._on_gone(gone, now_ns, out)
        for body in bodies:
            try:
                self._on_message(sender, decode(body), now_ns, out)
            except RemoteProtocolError as error:
                self._count(str(error))
        if self.executor is not None and sender in self.executor.holds.unacked:
            self.executor.on_acked(sender, self.session.item_bytes_unacked(sender), out)
        if self.session.closing:
            for peer in self.session.on_drained(now_ns, passed=True):
                self._act_on_down(peer, now_ns, out)

    def _on_message(self, sender: PeerId, message: Any, now_ns: int, out: list[Effect]) -> None:
        kind = type(message)
        handler = self._routes.get(kind)
        if handler is not None:
            if kind is LeaseGranted:
                if self.session.is_fenced(message.worker.peer, message.worker.incarnation):
                    raise RemoteProtocolError("a grant of a dead worker")
                self.session.dial(message.worker, out)
            elif kind is ActorAt and self.requests.is_dead(message.worker, out):
                reached("actor found at a dead worker")
                return  # its creator will say what became of it
            handler(sender, message, now_ns, out)
        elif kind in STORE_MESSAGES:
            if sender != self.node:
                raise RemoteProtocolError("word of shared memory by a stranger")
            self._on_store_message(message, now_ns, out)
        elif kind is ProcessDown:
            if sender != self.node:
                raise RemoteProtocolError("a DOWN by a stranger")
            reason = f"process {message.pid} died" if message.pid else message.log_tail
            self._on_down(message.peer, message, reason, now_ns, out)
        elif kind is KeysChanged and sender == self.node:
            out.append(Rekey())
        else:
            raise RemoteProtocolError(f"{kind.__name__} is not for this process")

    def _on_cancel_task(
        self, sender: PeerId, message: CancelTask, now_ns: int, out: list[Effect]
    ) -> None:
        executor = self.executor
        assert executor is not None
        if not executor.cancel(sender, message, now_ns, out):
            return
        heard = len(out)
        if message.recursive:
            self.owner.cancellation.cancel_children(message.task, message.attempt, now_ns, out)
        if message.force and executor.calls is None:
            executor.die(len(out) > heard, now_ns, out)

    def _on_store_message(self, message: Any, now_ns: int, out: list[Effect]) -> None:
        store, kind = self.store, type(message)
        if kind is RegionsLeased:
            store.stock.on_leased(message, out)
        elif kind is RegionsRefused:
            store.stock.on_refused(message, out)
        elif kind is RegionsHeld:
            regions = store.regions.on_held(message, out)
            if store.regions.lost_views:
                self.owner.recovery.on_views_lost(now_ns, out)
            if self.executor is not None:
                self.executor.on_held(regions, now_ns, out)
        elif kind is AskEvict:
            waits = self.owner.holds_back(message.stream, now_ns)
            store.regions.evict(message.size_bytes, waits, out)
        else:
            dead = message.dead
            is_quiet = dead not in self._downs and not self.session.knows(dead)
            store.on_orphaned(message, is_quiet=is_quiet, out=out)

    def _on_join(self, event: ev.Join, now_ns: int, out: list[Effect]) -> None:
        self.session.dial(event.node, out)
        self.node = event.node.peer
        self.owner.placement.join(event.node.peer, event.job)
        self.store.join(event.node.peer)
        self.owner.borrowing.node = event.node.peer
        if self.executor is not None:
            self.executor.node = event.node.peer
            out.append(Send(event.node.peer, WorkerReady(event.pid)))

    def _on_define_function(
        self, event: ev.DefineTaskFunction, now_ns: int, out: list[Effect]
    ) -> None:
        self.owner.borrowing.hold(Parcel(b"", (), False, event.refs))
        self.owner.placement.pushing.define(event.function, event.payload, event.refs)

    def _on_put(self, event: ev.PutObject, now_ns: int, out: list[Effect]) -> None:
        if type(event.value) is Stored:
            self.store.stock.reported(event.value.region, out)
        self.owner.put(event)

    def _on_dropped(self, event: ev.Dropped, now_ns: int, out: list[Effect]) -> None:
        self.owner.drop(event, now_ns, out)
        if event.views:
            self.store.regions.drop_views(event.views)

    def _on_want_region(self, event: WantRegion, now_ns: int, out: list[Effect]) -> None:
        me = self.session.identity.address
        owner = me if event.owner == me.peer else None
        if owner is None and self.session.knows(event.owner):
            owner = self.session.address_of(event.owner)
        self.store.want(event, owner, now_ns, out)

    def _on_open_view(self, event: OpenView, now_ns: int, out: list[Effect]) -> None:
        record = self.owner.refs.records.get(event.object)
        if record is not None and record.value is None:
            reached("view of what was just found lost")
            self.store.await_value(event.request, event.object)
            self.owner.borrowing.want((event.object,), out)
            return
        self.store.open(event, self.owner.readable(event.object), out)

    def _on_yielded(self, event: ev.Yielded, now_ns: int, out: list[Effect]) -> None:
        executor = self.executor
        assert executor is not None
        if type(event.value) is not bytes:
            self.owner.borrowing.hold(event.value)
            if type(event.value) is Stored:
                self.store.stock.reported(event.value.region, out)
        task = event.task
        is_full = executor.reports.add_item(task, event.attempt, event.value, now_ns, out)
        if out or is_full:
            owner = executor.reports.streams[task].owner
            executor.on_items_sent(task, owner, self.session.item_bytes_unacked(owner), out)
            if is_full:
                executor.parking.park(task, out)
                if executor.listening.kept:
                    executor.listening.let_go(task)

    def _on_process_exited(self, event: ev.ProcessExited, now_ns: int, out: list[Effect]) -> None:
        if not self.session.is_fenced(event.peer, event.incarnation):
            self._on_down(event.peer, None, event.reason, now_ns, out)

    def _on_down(
        self, peer: PeerId, down: ProcessDown | None, reason: str, now_ns: int, out: list[Effect]
    ) -> None:
        if peer in self._downs:
            return
        if down is not None and self.session.is_fenced(peer, down.incarnation):
            reached("second DOWN of one life ignored")
            return
        self._downs[peer] = (down, reason)
        if not self.session.hold_down(peer, now_ns):
            self._act_on_down(peer, now_ns, out)

    def _on_drained(self, event: ev.InboxDrained, now_ns: int, out: list[Effect]) -> None:
        for peer in self.session.on_drained(now_ns):
            self._act_on_down(peer, now_ns, out)

    def _act_on_down(self, peer: PeerId, now_ns: int, out: list[Effect]) -> None:
        down, reason = self._downs.pop(peer)
        gone = self.session.forget(peer, reason, out)
        if gone is None and down is not None:
            self.session.fence(peer, down.incarnation)
        self._peer_is_gone(peer, down, reason, gone, now_ns, out)

    def _on_gone(self, gone: Gone, now_ns: int, out: list[Effect]) -> None:
        down, _ = self._downs.pop(gone.peer, (None, ""))
        self._peer_is_gone(gone.peer, down, gone.reason, gone, now_ns, out)

    def _peer_is_gone(
        self,
        peer: PeerId,
        down: ProcessDown | None,
        reason: str,
        gone: Gone | None,
        now_ns: int,
        out: list[Effect],
    ) -> None:
        undelivered = gone.undelivered if gone is not None else []
        unsent = [token for token, definite in undelivered if definite]
        self.owner.on_down(peer, down, reason, unsent, now_ns, out)
        self.exchange.on_down(peer, reason, now_ns, out)
        if peer == self.node:
            self.store.leave_node(out)
        else:
            self.store.on_peer_gone(peer, out)
        if self.executor is None:
            return
        self.executor.on_owner_down(peer, down is not None, now_ns, out)
        if peer == self.node:
            out.append(Exit(f"node {short(peer)} is gone: {reason}"))

    def _on_timer(self, event: ev.TimerDue, now_ns: int, out: list[Effect]) -> None:
        self.session.on_timer(now_ns, out)
        self.owner.on_timer(now_ns, out)
        self.exchange.on_timer(now_ns)
        self.store.stock.on_timer(now_ns, out)
        if self.executor is not None:
            self.executor.on_timer(now_ns, out)

    def _count(self, reason: str) -> None:
        counts = self.session.counts
        counts[reason] = counts.get(reason, 0) + 1
