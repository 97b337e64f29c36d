"""Detached actors: which node has a process create them, and who does so again when that is dead.

Rules of this file: starts keepers, and answers who asked for an actor. Who gets a name is decided
in ``naming``, and what becomes of an actor while its keeper lives, in that process.

Theory of operation. A detached actor is created by a *keeper*: a worker that is the driver of a job
of its own, so that it ends with its node, and with nothing else. It claims the name as any creator
does; its node adds the charter, and so all keepers of the name have that. A keeper that dies is
replaced here. When this node is dead, the others that keep the name have one started, each a second
later than the one before it: the new one claims the name instead of the old one, so that one at
most gets it, and creates nothing before it has it. Each of this counts as a restart of the actor.
A node without CPUs may be that of a program, and end with it: it has another one start keepers.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import NO_ACTOR, NO_PEER, ActorId, PeerId, short
from zgen.slotted import slotted
from zgen.wire.actor import (
    CHARTER_BYTES_MAX,
    ActorRestarted,
    AskCharter,
    Charter,
    ClaimName,
    DetachActor,
    KeepActor,
    NameAnswer,
)
from zgen.wire.session import Address
from zgen_node.core.directory import Directory
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.name_records import NameRecord
from zgen_node.core.names import Key, Named
from zgen_node.core.naming import Naming
from zgen_node.core.peers import Peers
from zgen_node.core.resources import CPU, amount_of
from zgen_node.core.staffing import Staffing
from zgen_node.core.view import View
from zgen_node.limits import (
    ADOPT_AGAIN_NS,
    ADOPT_STEP_NS,
    ADOPTIONS_COUNT_MAX,
    KEEPER_LINGER_NS,
)

#: Environment variable that tells a job's workers where names count.
NAMESPACE: Final = "ZGEN_NAMESPACE"
LARGE: Final = f"class and arguments take more than {CHARTER_BYTES_MAX} bytes"
NO_JOB: Final = "the job that asks is over"
NO_ROOM: Final = "the node that is to keep it can start no process"
HOST_GONE: Final = "the node that was to keep it is dead; look for it by its name"
NO_KEEPER: Final = "the process that was to keep it ended before the actor was created"


@slotted
class Wish:
    """A detached actor that is to be created.

    Attributes:
        asker: The process or node that is told, or nobody.
        query: The number of its question.
        key: Namespace and name.
        charter: What it takes.
        instead_of: The actor that it replaces, or zeroes.
        before: The name of that actor, if its home is this node.
    """

    asker: PeerId
    query: int
    key: Key
    charter: Charter
    instead_of: ActorId = NO_ACTOR
    before: Named | None = None


@slotted
class Kept:
    """A keeper of this node.

    Attributes:
        wish: What it was started for.
        actor: The actor for which it claimed the name; zeroes before.
        query: The number of that claim.
        base: How often the actor was created again before this keeper was there.
        has_name: Whether the actor has the name.
        over: Whether the actor is dead for good.
    """

    wish: Wish
    base: int
    actor: ActorId = NO_ACTOR
    query: int = 0
    has_name: bool = False
    over: bool = False


class Detached:
    """Detached actors that this node keeps, or has others keep.

    Attributes:
        deadlines: When a keeper ends whose actor is dead, and when actors are created again.
        messages: What to do about each class of message.
    """

    def __init__(
        self,
        me: Address,
        peers: Peers,
        staffing: Staffing,
        view: View,
        monitors: FarMonitors,
        directory: Directory,
        naming: Naming,
    ) -> None:
        """Keep nothing."""
        #: Keeper -> what it keeps. Added by ``_start``; removed by ``died``.
        self._kept: dict[PeerId, Kept] = {}
        #: Question to another node -> that node and the wish. Removed by its answer or its end.
        self._away: dict[int, tuple[PeerId, Wish]] = {}
        self._questions_count = 0
        self._linger: Deadlines[PeerId] = Deadlines()
        self._adopt: Deadlines[Key] = Deadlines()
        self.deadlines: tuple[Deadlines[Any], ...] = (self._linger, self._adopt)
        self._me = me
        self._peers = peers
        self._staffing = staffing
        self._view = view
        self._monitors = monitors
        self._directory = directory
        self._naming = naming
        naming.completed, naming.told = self._completed, self._on_told
        naming.survives, naming.freed = self._survives, self._on_freed
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            DetachActor: self._on_detach_actor,
            AskCharter: self._on_ask_charter,
            ActorRestarted: self._on_actor_restarted,
            NameAnswer: self._on_name_answer,
        }

    def died(self, process: PeerId, now_ns: int, out: list[Effect]) -> None:
        """A process of this node is dead, and its names are free."""
        kept = self._kept.pop(process, None)
        self._linger.clear(process)
        if kept is not None:
            self._give_up(kept.wish, _refusal(self._me, NO_KEEPER), out)

    def on_gone(self, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        """A node is gone for good."""
        for number in [number for number, (host, _) in self._away.items() if host == node]:
            _, wish = self._away.pop(number)
            reached("node gone that was to keep a detached actor")
            self._give_up(wish, _refusal(self._me, HOST_GONE), out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """End keepers that nobody needs, and have actors created again whose homes are dead."""
        for keeper in self._linger.pop_due(now_ns):
            self._end(keeper, "its detached actor is dead", out)
        orphans = dict(self._naming.records.orphans())
        for key in self._adopt.pop_due(now_ns):
            record = orphans.get(key)
            if record is not None:
                self._adopt.set(key, now_ns + ADOPT_AGAIN_NS)
                self._adopted(key, record, now_ns, out)

    def check(self) -> None:
        """Assert that each keeper is a worker, and each orphan is looked after."""
        for keeper in self._kept:
            assert self._staffing.pool.get(keeper) is not None, f"keeper {short(keeper)} is gone"
        for key, _ in self._naming.records.orphans():
            assert key in self._adopt, f"nobody creates {key} again"

    # -- what is asked -----------------------------------------------------------------------------
    def _on_detach_actor(
        self, peer: PeerId, said: DetachActor, now_ns: int, out: list[Effect]
    ) -> None:
        charter, key = said.charter, (said.namespace, said.name)
        wish = Wish(peer, said.query, key, charter, said.instead_of)
        if self._monitors.is_node(peer):
            self._start(wish, now_ns, out)
            return
        if not self._directory.is_there(peer):
            self._peers.refuse("detached actor of no process", short(peer), out)
            return
        worker, jobs = self._staffing.pool.get(peer), self._staffing.jobs
        job = jobs.of_driver(peer) if worker is None else jobs.get(worker.job)
        if job is None or job.known is None:
            reached("detached actor asked for when its job was over")
            self._give_up(wish, _refusal(self._me, NO_JOB), out)
        elif len(charter.payload) > CHARTER_BYTES_MAX:
            self._give_up(wish, _refusal(self._me, LARGE), out)
        else:
            known = job.known
            given = dict(known.environment)
            given.setdefault(NAMESPACE, said.namespace)
            wish.charter = Charter(
                charter.payload,
                charter.max_restarts,
                0,
                known.sys_path,
                known.cwd,
                tuple(given.items()),
            )
            self._place(wish, now_ns, out)

    def _on_name_answer(
        self, peer: PeerId, said: NameAnswer, now_ns: int, out: list[Effect]
    ) -> None:
        host, wish = self._away.get(said.query, (NO_PEER, None))
        if wish is None or host != peer:
            self._peers.refuse("word about a name that nobody asked for", short(peer), out)
            return
        del self._away[said.query]
        self._give_up(wish, said, out)

    def _on_ask_charter(
        self, peer: PeerId, said: AskCharter, now_ns: int, out: list[Effect]
    ) -> None:
        kept = self._kept.get(peer)
        if kept is None:
            self._peers.refuse("charter for no keeper", short(peer), out)
            return
        charter = kept.wish.charter
        out.append(Send(peer, KeepActor(said.query, charter.payload, charter.restarts)))

    def _on_actor_restarted(
        self, peer: PeerId, said: ActorRestarted, now_ns: int, out: list[Effect]
    ) -> None:
        kept = self._kept.get(peer)
        if kept is None or kept.actor != said.actor or not kept.has_name:
            self._peers.refuse("restart of an actor that is not kept", short(peer), out)
            return
        wish, restarts = kept.wish, kept.base + said.life
        if restarts > wish.charter.restarts:
            wish.charter = replace(wish.charter, restarts=restarts)
            self._naming.recharter(said.actor, wish.charter, out)
        named = self._naming.names.get(said.actor)
        if named is not None:  # else it has died meanwhile
            claim = named.claim
            self._answer(
                wish,
                NameAnswer(0, claim.actor, claim.creator, claim.description, "", True),
                out,
            )

    # -- what names come to ------------------------------------------------------------------------
    def _completed(self, peer: PeerId, claim: ClaimName) -> ClaimName:
        kept = self._kept.get(peer)
        if kept is None or kept.wish.key != (claim.namespace, claim.name):
            return claim
        kept.actor, kept.query = claim.actor, claim.query
        return replace(claim, charters=(kept.wish.charter,), instead_of=kept.wish.instead_of)

    def _on_told(self, peer: PeerId, said: NameAnswer, now_ns: int, out: list[Effect]) -> None:
        kept = self._kept.get(peer)
        if kept is None or kept.query != said.query or kept.has_name:
            return
        if said.actor == kept.actor:
            kept.has_name, kept.wish.before = True, None
            return
        reached("keeper of a detached actor did not get the name")
        del self._kept[peer]
        if not said.refusal:
            self._outdone(kept.wish)
        self._give_up(kept.wish, said, out)
        self._end(peer, "another actor has the name", out)

    def _survives(self, named: Named, now_ns: int, out: list[Effect]) -> bool:
        """The keeper of a named actor is dead, unless it is another process: start another one."""
        kept = self._kept.get(named.owner)
        if kept is None or kept.actor != named.claim.actor or not kept.has_name:
            return False
        charter = kept.wish.charter
        if not charter.may_restart:
            return False
        if self._view.draining:
            reached("keeper of a detached actor ended as its node drains")
            return True  # whoever keeps the name has it created again when this node is gone
        charter = replace(charter, restarts=charter.restarts + 1)
        wish = kept.wish
        again = Wish(wish.asker, wish.query, named.key, charter, kept.actor, named)
        wish.asker = NO_PEER
        reached("keeper of a detached actor replaced")
        self._start(again, now_ns, out)
        return True

    def _on_freed(self, named: Named, now_ns: int) -> None:
        kept = self._kept.get(named.owner)
        if kept is not None and kept.actor == named.claim.actor:
            self._linger.set(named.owner, now_ns + KEEPER_LINGER_NS)

    # -- where it is kept --------------------------------------------------------------------------
    def _place(self, wish: Wish, now_ns: int, out: list[Effect]) -> None:
        """Have a node start a keeper that does not end with a program, if there is one."""
        host = self._host(wish.key)
        if host == self._me.peer:
            self._start(wish, now_ns, out)
            return
        self._questions_count += 1
        self._away[self._questions_count] = (host, wish)
        said = DetachActor(self._questions_count, *wish.key, wish.charter, wish.instead_of)
        self._naming.keeper.say(host, said, out)

    def _host(self, key: Key) -> PeerId:
        me, view = self._me.peer, self._view
        if amount_of(self._staffing.leases.resources.total, CPU) and not view.draining:
            return me
        for node in self._naming.electorate.ranked(key):
            member = view.members.get(node)
            if member is not None and not member.draining and amount_of(member.state.total, CPU):
                return node
        return me

    def _start(self, wish: Wish, now_ns: int, out: list[Effect]) -> None:
        if self._staffing.pool.full or self._staffing.draining:
            reached("no keeper can be started")
            self._give_up(wish, _refusal(self._me, NO_ROOM), out)
            return
        job = wish.charter
        keeper = self._staffing.start_keeper(job.sys_path, job.cwd, job.environment, now_ns, out)
        self._kept[keeper] = Kept(wish, wish.charter.restarts)

    def _end(self, keeper: PeerId, cause: str, out: list[Effect]) -> None:
        worker = self._staffing.pool.get(keeper)
        assert worker is not None, f"keeper {short(keeper)} is gone"
        self._staffing.pool.kill(worker, cause, out)

    def _give_up(self, wish: Wish, said: NameAnswer, out: list[Effect]) -> None:
        """Answer a wish that this node can do no more for, and free what it was to replace."""
        if wish.before is not None:
            self._naming.release(wish.before, out)
        self._answer(wish, said, out)

    def _answer(self, wish: Wish, said: NameAnswer, out: list[Effect]) -> None:
        asker, wish.asker = wish.asker, NO_PEER
        if asker != NO_PEER and self._peers.session.knows(asker):
            out.append(Send(asker, replace(said, query=wish.query)))

    # -- actors whose homes are dead ---------------------------------------------------------------
    def look(self, now_ns: int) -> None:
        """Note which actors wait to be created again: the first keeper begins at once."""
        if not self._naming.records.newly_orphaned:
            return
        self._naming.records.newly_orphaned = False
        for key, record in self._naming.records.orphans():
            living = self._naming.keeper.living(record.group)
            rank = living.index(self._me.peer) if self._me.peer in living else len(living)
            self._adopt.set_if_unset(key, now_ns + rank * ADOPT_STEP_NS)

    def _adopted(self, key: Key, record: NameRecord, now_ns: int, out: list[Effect]) -> None:
        """Have an actor created again, unless that is under way."""
        wishes = [kept.wish for kept in self._kept.values()]
        wishes += [wish for _, wish in self._away.values()]
        actor = record.claim.actor
        if any(wish.instead_of == actor for wish in wishes):
            return
        if not self._naming.electorate.has_majority:
            reached("detached actor not created again on the smaller side of a cut")
            return
        if record.tries >= ADOPTIONS_COUNT_MAX:
            reached("detached actor cannot be created again")
            self._naming.records.give_up(key)
            return
        record.tries += 1
        (charter,) = record.claim.charters
        charter = replace(charter, restarts=charter.restarts + 1)
        reached("detached actor created again by a keeper of its name")
        self._place(Wish(NO_PEER, 0, key, charter, actor), now_ns, out)

    def _outdone(self, wish: Wish) -> None:
        """Another actor has a name: whom it was to be given to again waits no more."""
        record = self._naming.records.get(wish.key)
        if record is not None and record.orphaned and record.claim.actor == wish.instead_of:
            self._naming.records.give_up(wish.key)


def _refusal(me: Address, reason: str) -> NameAnswer:
    return NameAnswer(0, NO_ACTOR, me, b"", reason)
