"""Poll the inbox, step the machine under the process lock, perform its effects.

Rules of this file: who steps, who receives, who sleeps until when. What happens is the machine's to
say.

Locks. The process lock guards the machine and every outbox; whoever has an event takes it for one
step. The receive lock guards the inbox, the monitors and the poll set; who holds it leads: it
polls, collects and steps for everybody. Order: receive, then process. A destructor or a signal
handler may run anywhere and call zgen: one that runs inside a step, or has to wait inside a lead,
is refused. The process lock lets its thread in again only for that, so that it can be told.

Who leads. The I/O thread, unless a caller that blocks takes the lead itself, which saves two hops
between threads. Who leaves the lead wakes nobody after a short one; the parked I/O thread looks
again every ``LEAD_LOOK_NS``.
"""

import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from zgen.core.effects import CloseConnection, Effect, OpenConnection, Transmit
from zgen.core.events import Event, InboxDrained, TimerDue
from zgen.core.machine import Machine
from zgen.exceptions import InternalError
from zgen.io import clock
from zgen.io.interrupts import Interrupting
from zgen.io.recorder import Recorder, beside
from zgen.io.waiter import Gate, Waiter
from zgen.limits import DRAIN_COUNT_MAX, LEAD_LOOK_NS, SECOND, SLOW_POLL_NS

if TYPE_CHECKING:  # ZeroMQ is loaded with the first runtime, not with the package
    from zgen.io.mailbox import Mailbox

#: How long the parked I/O thread trusts one leader that stays.
_LONG_LEAD_NS = 500_000_000
#: For how long the I/O thread looks after a caller's lead; a longer one wakes it when it ends.
_LOOKED_AFTER_NS = 20_000_000
_REENTERED: Final = (
    "zgen was called by a destructor or a signal handler that ran inside zgen itself; let it note "
    "what is to be done, and do that elsewhere"
)
#: Pause between repeats of a noted interrupt.
_REPEAT_S = 0.005


class Loop:
    """Drives one machine over one mailbox.

    Attributes:
        lock: The process lock.
        broken: Story of the step that failed, or empty.
        on_broken: Called by the I/O thread when it finds that the machine failed; with no lock.
        rescues: Events that only a look without a wake-up found. A bug, and counted to be seen:
            tests fail when there is one.
    """

    def __init__(
        self,
        machine: Machine,
        mailbox: "Mailbox",
        perform: Callable[[Effect], None],
        perform_inside: Callable[[Effect], bool] = lambda effect: False,
        recorder: Recorder | None = None,
    ) -> None:
        """Drive ``machine``; the loop itself handles connections and transmissions.

        Args:
            machine: The machine.
            mailbox: Its sockets.
            perform: Does what effects ask for, outside the process lock, in order within one step.
            perform_inside: Does it under the process lock, in the order of steps; returns False for
                what ``perform`` should do instead.
            recorder: Told of every step.
        """
        self.lock = threading.RLock()
        self.broken = ""
        self.on_broken: Callable[[], None] = lambda: None
        self.rescues = 0
        self.interrupts: Interrupting | None = None
        self._machine = machine
        self._mailbox = mailbox
        self._perform = perform
        self._perform_inside = perform_inside
        self._recorder = recorder
        self._receive = threading.Lock()
        #: Whether a step, or what belongs to it, is under way. Process lock.
        self._stepping = False
        #: Thread that leads, 0 if none does. Receive lock.
        self._leader = 0
        #: When the leader means to wake up; 0 while it is awake. Process lock.
        self._sleeps_until_ns = 0
        #: What the caller that leads waits for; another thread may make it happen. Process lock,
        #: but for who leads.
        self._led_for: Waiter | None = None
        #: Callers that ask the I/O thread to step aside.
        self._lead_wanted = 0
        #: Number of the lead that a caller has now, 0 if none has; leads are numbered from 1.
        self._caller_lead = 0
        self._leads = 0
        self._gate = Gate()
        self._thread: threading.Thread | None = None
        self._closing = False
        #: Parked callers, to be woken when the runtime ends or an interrupt is noted.
        self._parked: deque[Waiter] = deque()
        self._before_sleep: Callable[[], int | None] = lambda: None

    def record(self, recorder: Recorder) -> None:
        """Tell ``recorder`` of every step from now on, behind whom is told of them already."""
        with self.lock:
            self._recorder = beside(self._recorder, recorder)

    # -- stepping ----------------------------------------------------------------------------------
    def post(self, event: Event) -> list[Effect]:
        """Step the machine with an event of this process and perform what follows.

        Returns:
            All effects of the step.

        Raises:
            InternalError: An earlier step failed, or this one did.
            RuntimeError: This thread is inside a step.
        """
        with self.lock:
            if self._stepping:
                raise RuntimeError(_REENTERED)
            self._stepping = True
            try:
                effects = self._step(event)
                later = [e for e in effects if not self._do(e)] if effects else effects
            finally:
                self._stepping = False
            if self._sleeps_until_ns:
                self._kick_if_wanted()
        for effect in later:
            self._perform(effect)
        return effects

    def _step(self, event: Event) -> list[Effect]:
        if self.broken:
            raise InternalError(self.broken)
        now_ns = clock.now_ns()
        try:
            effects = self._machine.step(event, now_ns)
        except Exception:
            self.broken = f"{event!r}\n{traceback.format_exc()}"[:20_000]
            raise InternalError(self.broken) from None
        if self._recorder is not None:
            self._recorder(now_ns, event, effects)
        return effects

    def _do(self, effect: Effect) -> bool:
        """Perform an effect that belongs under the process lock; return False if it does not."""
        if type(effect) is Transmit:
            self._mailbox.transmit(effect.peer, effect.epoch, effect.frames)
        elif type(effect) is OpenConnection:
            self._mailbox.open_connection(effect.peer, effect.endpoint, effect.epoch)
        elif type(effect) is CloseConnection:
            self._mailbox.close_connection(effect.peer, effect.epoch)
        else:
            return self._perform_inside(effect)
        return True

    def _kick_if_wanted(self) -> None:
        """Wake the leader if it sleeps too long now, or if what it waits for has happened."""
        next_ns, led_for = self._machine.next_deadline_ns, self._led_for
        sooner = next_ns is not None and next_ns < self._sleeps_until_ns
        if sooner or (led_for is not None and led_for.done):
            self._sleeps_until_ns = 0
            self._mailbox.wake()

    # -- leading -----------------------------------------------------------------------------------
    def wait(self, waiter: Waiter, deadline_ns: int | None = None) -> bool:
        """Block until ``waiter`` is done, leading if nobody else does; return whether it is.

        Raises:
            InternalError: The machine failed.
            KeyboardInterrupt: By way of the handler that was installed.
            RuntimeError: This thread is inside a step or a lead.
        """
        interrupts = self.interrupts
        if self._leader == threading.get_ident() or (self._stepping and self._is_mine()):
            raise RuntimeError(_REENTERED)
        while not waiter.done:
            if self.broken:
                raise InternalError(self.broken)
            if interrupts is not None and interrupts.noted:
                interrupts.deliver()
            if deadline_ns is not None and clock.now_ns() >= deadline_ns:
                return waiter.done
            if self._closing:
                return waiter.done
            if self._take_lead():
                began_ns = clock.now_ns()
                try:
                    self._leader = threading.get_ident()
                    self._lead(waiter, deadline_ns)
                finally:
                    self._leave_lead(began_ns)
            else:
                self._park(waiter, deadline_ns)
        return True

    def run(self, until: Callable[[], bool]) -> None:
        """Lead for ever on this thread, until ``until`` says so or the machine fails.

        Raises:
            InternalError: The machine failed.
        """
        with self._receive:
            while not until():
                self._turn(None)

    def start_thread(self, before_sleep: Callable[[], int | None]) -> None:
        """Start the I/O thread.

        Args:
            before_sleep: Called by the leader before it sleeps, with the receive lock only; returns
                when it wants to be called again, or None.
        """
        self._before_sleep = before_sleep
        self._thread = threading.Thread(target=self._run_thread, name="zgen-io", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Let whoever leads or parks look around; safe in signal handlers."""
        self._mailbox.wake()
        self._gate.open()
        for waiter in list(self._parked):
            waiter.wake()

    def look(self) -> None:
        """Let the I/O thread lead now, if nobody does, for who waits elsewhere."""
        if not self._leader:
            self._gate.open()

    @property
    def asleep(self) -> bool:
        """Whether the leader sleeps, so that who leaves work for it should wake it."""
        return self._sleeps_until_ns != 0

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` without the process lock when ``fd`` is readable."""
        self._mailbox.watch(fd, on_readable)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor before it is closed; from its own callback, or single-threaded."""
        self._mailbox.unwatch(fd)

    def close(self) -> None:
        """Stop the I/O thread and close every socket."""
        self._closing = True
        self.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self._receive, self.lock:
            self._mailbox.close()

    def _take_lead(self) -> bool:
        if self._receive.acquire(blocking=False):
            return True
        if self._caller_lead:
            return False  # another caller leads: it steps for us too
        self._lead_wanted += 1
        try:
            self._mailbox.wake()
            return self._receive.acquire(timeout=0.01)
        finally:
            self._lead_wanted -= 1

    def _lead(self, waiter: Waiter, deadline_ns: int | None) -> None:
        self._leads += 1
        self._caller_lead = self._leads
        self._led_for = waiter
        interrupts = self.interrupts
        while not (waiter.done or self.broken or self._closing):
            if interrupts is not None and interrupts.noted:
                return
            if deadline_ns is not None and clock.now_ns() >= deadline_ns:
                return
            self._turn(deadline_ns)

    def _leave_lead(self, began_ns: int) -> None:
        self._led_for = None
        self._caller_lead = self._leader = 0
        self._receive.release()
        if clock.now_ns() - began_ns > _LOOKED_AFTER_NS:
            self._gate.open()

    def _park(self, waiter: Waiter, deadline_ns: int | None) -> None:
        timeout_ns = SECOND
        if deadline_ns is not None:
            timeout_ns = max(0, min(timeout_ns, deadline_ns - clock.now_ns()))
        self._parked.append(waiter)
        try:
            waiter.park(timeout_ns / SECOND)
        finally:
            self._parked.remove(waiter)

    def _turn(self, deadline_ns: int | None) -> None:
        """Sleep until something is there or due, take it in and step it."""
        self._sleeps_until_ns = 1  # what is dropped from here on kicks, since it may not be seen
        drop_ns = self._before_sleep()
        now_ns = clock.now_ns()
        until_ns = slow_ns = now_ns + SLOW_POLL_NS
        for sooner_ns in (deadline_ns, drop_ns):
            if sooner_ns is not None and sooner_ns < until_ns:
                until_ns = sooner_ns
        with self.lock:
            next_ns = self._machine.next_deadline_ns
            if next_ns is not None and next_ns < until_ns:
                until_ns = next_ns
            if self._led_for is not None and self._led_for.done:
                until_ns = now_ns  # by another thread, which found nobody asleep
            self._sleeps_until_ns = until_ns
        woken = self._mailbox.poll(max(0, until_ns - now_ns) / SECOND)
        self._sleeps_until_ns = 0
        # A slow poll looks by itself; what came just when its time was up was told, too.
        blind = until_ns == slow_ns and not woken and not self._mailbox.poll(0)
        if blind:
            self._mailbox.look()
        events, drained = self._mailbox.collect(DRAIN_COUNT_MAX)
        if events and blind:
            self.rescues += len(events)
        for effect in self._absorb_all(events, drained):
            self._perform(effect)

    def _absorb_all(self, events: list[Event], drained: bool) -> list[Effect]:
        """Step with what was collected and what is due; return what ``perform`` should do."""
        later: list[Effect] = []
        with self.lock:
            self._stepping = True
            try:
                if self._mailbox.writable:
                    self._mailbox.flush()
                for event in events:
                    self._absorb(event, later)
                if drained and self._machine.lines_closing:
                    self._absorb(InboxDrained(), later)
                next_ns = self._machine.next_deadline_ns
                if next_ns is not None and next_ns <= clock.now_ns():
                    self._absorb(TimerDue(), later)
            finally:
                self._stepping = False
        return later

    def _is_mine(self) -> bool:
        """Return whether this thread has the process lock."""
        return self.lock._is_owned()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001  # as Condition asks

    def _absorb(self, event: Event, later: list[Effect]) -> None:
        later.extend([effect for effect in self._step(event) if not self._do(effect)])

    # -- the I/O thread ----------------------------------------------------------------------------
    def _run_thread(self) -> None:
        seen, seen_ns = 0, 0
        interrupts = self.interrupts
        while not self._closing and not self.broken:
            if interrupts is not None and interrupts.noted:
                interrupts.repeat()
                for waiter in list(self._parked):
                    waiter.wake()  # it may have parked just after it was noted
                self._gate.pass_through(_REPEAT_S)
                continue
            lead = self._caller_lead
            if self._lead_wanted or lead or not self._receive.acquire(blocking=False):
                now_ns = clock.now_ns()
                if lead != seen:
                    seen, seen_ns = lead, now_ns
                # Only who leads for so long opens the gate when it leaves.
                is_long = lead and now_ns - seen_ns > _LOOKED_AFTER_NS
                self._gate.pass_through((_LONG_LEAD_NS if is_long else LEAD_LOOK_NS) / SECOND)
                continue
            try:
                self._leader = threading.get_ident()
                while self._thread_leads():
                    self._turn(None)
            except Exception:
                # Of an effect, too: without this thread nothing would ever be received.
                told = traceback.format_exc()[:20_000]
                self.broken = self.broken or told  # type: ignore[redundant-expr]  # set by a step
            finally:
                self._leader = 0
                self._receive.release()
        if self.broken:
            self.on_broken()
            for waiter in list(self._parked):
                waiter.wake()

    def _thread_leads(self) -> bool:
        """Return whether the I/O thread may keep the lead that it has."""
        noted = self.interrupts is not None and self.interrupts.noted
        return not (self._closing or self._lead_wanted or noted)
