"""Actors that call themselves, and calls that fail before they leave, with others behind them."""

from __future__ import annotations

from tests.sim.actor_run import ActorProgram, ActorRun, draw_call
from tests.sim.programs import Plan
from tests.sim.run import Outcome, run_seed
from zgen.ids import ActorId, object_id
from zgen.limits import MS
from zgen.sim.trace import Trace
from zgen.wire.task import STREAMING

#: Calls that wait for others of the same actor: fewer than its least limit, or they wait for ever.
WAITING_COUNT_MAX = 3


class SelfCallProgram(ActorProgram):
    """One driver's user, who has actors call themselves and calls fail for their arguments."""

    def _one(self, number: str, actor: ActorId) -> None:
        how = self.random.random()
        if how < 0.3:
            self._of_itself(number, actor)
        elif how < 0.5:
            self._after_a_failure(number, actor)
        else:
            super()._one(number, actor)

    def _of_itself(self, number: str, actor: ActorId) -> None:
        """Call a method that calls its own actor, and waits for that where it may."""
        plan = draw_call(self.random)
        inner = ["call", actor.hex(), draw_call(self.random).to_json()]
        pending = self.user.owner.actors.pending_count(actor)
        if self.cluster.actors[actor].settings.is_async and pending < WAITING_COUNT_MAX:
            plan.ops[:0] = [inner, ["gather"]]
        else:
            plan.ops.append(inner)
        self._call(number, actor, plan)

    def _after_a_failure(self, number: str, actor: ActorId) -> None:
        """Make a call whose argument fails after a while, and one behind it."""
        source = Plan([["sleep", self.random.choice((1, 10)) * MS], ["raise", -1]], 1, 0, 0)
        made = self.submit(source)
        failing = Plan([], 1, 0, 0)
        call = self.user.call(actor, failing, self.parent, self.submitted, (object_id(made, 0),))
        self.submitted += 1
        self._results(f"{number} argument", [(made, source)])
        self._results(f"{number} failing", [(call, failing)])
        self._call(number, actor, draw_call(self.random))

    def _call(self, number: str, actor: ActorId, plan: Plan) -> None:
        call = self.user.call(actor, plan, self.parent, self.submitted)
        self.submitted += 1
        if plan.returns == STREAMING:
            self._read(number, call)
        else:
            self._results(number, [(call, plan)])


class SelfCallRun(ActorRun):
    """A cluster whose drivers have actors that call themselves."""

    program_class = SelfCallProgram


def run_self_calls(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, SelfCallRun)
