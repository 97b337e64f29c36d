"""A mailbox whose messages are lost, repeated or late by the rules of ``ZGEN_CHAOS``.

Without that variable nothing of this is loaded, and mailboxes are plain ones.
"""

import os
import threading
from typing import Any, Final, cast

from zgen.core.effects import Transmit
from zgen.core.events import Arrived, Event
from zgen.ids import NO_PEER, PeerId
from zgen.io import clock
from zgen.io.exposure import Exposure
from zgen.io.mailbox import Mailbox
from zgen.limits import MS, SECOND
from zgen.mishaps import LIVE_RULES_FILE, REPORT_FOLDER, VARIABLE
from zgen.mishaps.dice import Dice
from zgen.mishaps.harm import Harm
from zgen.mishaps.rules import Rules, parse
from zgen.mishaps.tally import Tally

#: How often new rules are looked for.
_LOOK_NS: Final = 100 * MS


class HarmedMailbox(Mailbox):
    """A mailbox that does to messages what rules say.

    Attributes:
        tally: Counts what befell them.
    """

    def __init__(
        self, endpoint: str, exposure: Exposure | None, rules: Rules, role: str, folder: str
    ) -> None:
        """Bind as ``Mailbox`` does.

        Args:
            endpoint: Where.
            exposure: How other machines reach it too; None if they do not.
            rules: What befalls messages.
            role: What this process is.
            folder: Session folder of its node.

        Raises:
            NodeStartError: The endpoint cannot be bound.
            ValueError: Nothing can be counted where the rules say.
        """
        where = rules.report or os.path.join(folder, REPORT_FOLDER)
        try:
            self.tally = Tally(where, role)
        except OSError as error:
            raise ValueError(f"{VARIABLE}: report: {where}: {error.strerror}") from None
        self._first_rules = rules
        self._harm = Harm(Dice(rules, self.tally.name), self.tally.note)
        #: Guards ``_harm``: what is sent belongs to the process lock, what is received does not.
        self._harming = threading.Lock()
        self._rules_path = os.path.join(folder, LIVE_RULES_FILE)
        self._rules_seen: int | None = None
        self._looked_ns = 0
        self._sleeps_until_ns = 0
        super().__init__(endpoint, exposure)

    def transmit(self, peer: PeerId, epoch: int, frames: list[bytes]) -> None:
        """Send what is left of a message, and what it sets free."""
        with self._harming:
            leaving = self._harm.send(Transmit(peer, epoch, frames), clock.now_ns())
            next_ns = self._harm.next_ns
        for each in leaving:
            super().transmit(each.peer, each.epoch, each.frames)
        if next_ns is not None and next_ns < self._sleeps_until_ns:
            self.wake()

    def flush(self) -> None:
        """Send what waits, and what was kept back until now."""
        super().flush()
        with self._harming:
            leaving = self._harm.due(clock.now_ns())
        for each in leaving:
            super().transmit(each.peer, each.epoch, each.frames)

    def poll(self, timeout_s: float) -> bool:
        """Wait until something is there or due, at most ``timeout_s``; return whether it is."""
        now_ns = clock.now_ns()
        self._look_for_rules(now_ns)
        # Before the look at what is due, so that nothing that comes between is overslept.
        self._sleeps_until_ns = until_ns = now_ns + round(timeout_s * SECOND)
        next_ns = self._harm.next_ns
        is_early = next_ns is not None and next_ns < until_ns
        if next_ns is not None and is_early:
            until_ns = max(now_ns, next_ns)
        there = super().poll((until_ns - now_ns) / SECOND)
        self._sleeps_until_ns = 0
        next_ns = self._harm.next_ns
        if next_ns is not None and next_ns <= clock.now_ns():
            self.writable.append(_NOBODY)  # so that the loop flushes
        return there or is_early

    def collect(self, count_max: int) -> tuple[list[Event], bool]:
        """Return what came, of which acknowledgements may be lost."""
        events, drained = super().collect(count_max)
        now_ns = clock.now_ns()
        with self._harming:
            for event in events:
                if isinstance(event, Arrived):
                    self._harm.receive(event.connection, event.frames, now_ns)
        return events, drained

    def close(self) -> None:
        """Close every socket, and count no more."""
        super().close()
        with self._harming:
            self._harm = Harm(Dice(Rules(0, (), ""), ""), lambda kind, action: None)
            self.tally.close()

    def _look_for_rules(self, now_ns: int) -> None:
        """Take over rules that were set for this node, or go back to the first ones."""
        if now_ns - self._looked_ns < _LOOK_NS:
            return
        self._looked_ns = now_ns
        try:
            seen: int | None = os.stat(self._rules_path).st_mtime_ns
        except OSError:
            seen = None
        if seen == self._rules_seen:
            return
        self._rules_seen = seen
        rules = self._first_rules
        if seen is not None:
            try:
                with open(self._rules_path, encoding="utf-8") as file:
                    rules = parse(file.read())
            except (OSError, ValueError):
                return  # who wrote them has checked them; they are gone again
        with self._harming:
            self._harm.judge = Dice(rules, self.tally.name)


class _Nobody:
    """An outbox that is nobody's, so that it is passed over."""

    peer = NO_PEER


_NOBODY: Final = cast(Any, _Nobody())
