"""What users of one process ask of actors, and the lines that this takes.

Rules of this file: a line to another process is asked for here, before anything is said on it. What
becomes of a request is not decided here.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.actor_events import (
    CallActor,
    CreateActor,
    DetachNow,
    FindActor,
    KillActorNow,
    NameActor,
    WantCharter,
)
from zgen.core.actors import Actors
from zgen.core.borrowing import Borrowing
from zgen.core.effects import Effect, Send
from zgen.core.placement import Placement
from zgen.core.session import Session
from zgen.wire.actor import AskCharter, Charter, ClaimName, DetachActor, FindName
from zgen.wire.session import Address


class ActorRequests:
    """Local events about actors.

    Attributes:
        handlers: What to do about each class of event.
    """

    def __init__(
        self, session: Session, actors: Actors, placement: Placement, borrowing: Borrowing
    ) -> None:
        """Hand on to these tables."""
        self._session = session
        self._actors = actors
        self._placement = placement
        self._borrowing = borrowing
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            CreateActor: actors.create,
            CallActor: self._on_call,
            KillActorNow: self._on_kill,
            NameActor: self._on_name_actor,
            FindActor: self._on_find_actor,
            DetachNow: self._on_detach,
            WantCharter: lambda e, now, out: self._to_node(AskCharter(e.query), out),
        }

    def is_dead(self, process: Address, out: list[Effect]) -> bool:
        """Have a line to a process, this one too; return whether it was declared dead.

        An actor may call itself: what it says then travels as to anybody else.
        """
        self._session.dial(process, out)
        return self._session.is_fenced(process.peer, process.incarnation)

    def _on_call(self, event: CallActor, now_ns: int, out: list[Effect]) -> None:
        is_mine = event.creator.peer == self._session.identity.address.peer
        is_dead = not is_mine and self.is_dead(event.creator, out)
        self._actors.call(event, now_ns, out)
        if is_dead:
            self._actors.calling.on_down(event.creator.peer, [], now_ns, out)

    def _on_kill(self, event: KillActorNow, now_ns: int, out: list[Effect]) -> None:
        if self._is_mine(event.creator):
            self._actors.kill(event, now_ns, out)
        elif not self.is_dead(event.creator, out):
            # Where it was, somebody else may listen who never answers: no connection is lost then.
            self._borrowing.watch(event.creator, out)
            self._actors.kill(event, now_ns, out)

    def _on_name_actor(self, event: NameActor, now_ns: int, out: list[Effect]) -> None:
        me = self._session.identity.address
        self._actors.supervision.table.expect(event.query, event.actor)
        claim = ClaimName(
            event.query, event.namespace, event.name, event.actor, me, event.description
        )
        self._to_node(claim, out)

    def _on_find_actor(self, event: FindActor, now_ns: int, out: list[Effect]) -> None:
        self._to_node(FindName(event.query, event.namespace, event.name), out)

    def _on_detach(self, event: DetachNow, now_ns: int, out: list[Effect]) -> None:
        charter = Charter(event.payload, event.max_restarts)
        self._to_node(DetachActor(event.query, event.namespace, event.name, charter), out)

    def _is_mine(self, creator: Address) -> bool:
        return creator.peer == self._session.identity.address.peer

    def _to_node(self, message: Any, out: list[Effect]) -> None:
        if self._placement.node is not None:
            out.append(Send(self._placement.node, message))
