"""The lease table against a list of what should be held, under any order of calls."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zgen.core.effects import Effect, Send
from zgen.ids import JobId, LeaseId, PeerId
from zgen.wire.lease import LeaseWaiting, RequestLease, Shape
from zgen_node.core.lease_table import Lease, LeaseState, LeaseTable

TOTAL: Shape = (("CPU", 40_000), ("GPU", 10_000))
PASSED_MAX = 3
JOB = JobId(b"j" * 16)
OWNERS = [PeerId(bytes([number]) * 16) for number in (1, 2, 3)]
MET = (LeaseState.GRANTED, LeaseState.BLOCKED)

shapes = st.builds(
    lambda cpus, gpus: tuple(
        (name, amount) for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount
    ),
    st.sampled_from([0, 2_500, 10_000, 10_000, 40_000, 50_000]),
    st.sampled_from([0, 0, 0, 5_000, 10_000]),
)


@dataclass(slots=True)
class Asked:
    """One request as the model knows it."""

    owner: PeerId
    shape: Shape
    holds: bool = False
    ever_reserved: bool = False
    overtaken: int = 0

    @property
    def feasible(self) -> bool:
        total = dict(TOTAL)
        return all(total.get(name, 0) >= amount for name, amount in self.shape)

    def shares(self, other: Asked) -> bool:
        return any(name in dict(other.shape) for name, _ in self.shape)


class LeaseTableMachine(RuleBasedStateMachine):
    """Calls the table as a node does and keeps its own books."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()  # so that the bound is reached within few steps
        self.patch.setattr("zgen_node.core.lease_table.LEASE_PASSED_MAX", PASSED_MAX)
        self.table = LeaseTable(TOTAL)
        #: In order of arrival; those that are over are removed.
        self.asked: dict[LeaseId, Asked] = {}
        self.now_ns = 0
        self.count = 0

    def teardown(self) -> None:
        self.patch.undo()

    # -- books -------------------------------------------------------------------------------------
    def free(self) -> dict[str, int]:
        free = dict(TOTAL)
        for asked in self.asked.values():
            if asked.holds:
                for name, amount in asked.shape:
                    free[name] -= amount
        return free

    def fits(self, shape: Shape) -> bool:
        free = self.free()
        return all(free[name] >= amount for name, amount in shape)

    def queued(self) -> list[Asked]:
        waiting = (asked for asked in self.asked.values() if not asked.ever_reserved)
        return [asked for asked in waiting if asked.feasible]

    def pick(self, data: st.DataObject, *states: LeaseState) -> Lease:
        return data.draw(st.sampled_from(self.those(*states)))

    def those(self, *states: LeaseState) -> list[Lease]:
        return [made for made in self.table.all() if made.state in states]

    # -- calls -------------------------------------------------------------------------------------
    @rule(shape=shapes, owner=st.sampled_from(OWNERS))
    def request(self, shape: Shape, owner: PeerId) -> None:
        self.count += 1
        name = LeaseId(self.count.to_bytes(16, "big"))
        made = self.table.request(owner, RequestLease(name, JOB, shape, "w"), self.now_ns)
        self.asked[name] = Asked(owner, shape)
        assert made.feasible is self.asked[name].feasible

    @rule()
    def reserve(self) -> None:
        before = {made.lease for made in self.table.reserved()}
        self.table.reserve(self.now_ns)
        for made in self.table.reserved():
            if made.lease in before:
                continue
            asked = self.asked[made.lease]
            assert self.fits(asked.shape), "reserved what was not free"
            eldest = self.queued()[0]
            if eldest is not asked and eldest.shares(asked):
                eldest.overtaken += 1
                assert eldest.overtaken <= PASSED_MAX, "the eldest was overtaken too often"
            asked.holds = asked.ever_reserved = True
        for asked in self.queued():
            if not any(elder.shares(asked) for elder in self.queued() if elder is not asked):
                assert not self.fits(asked.shape), "what fits and disturbs nobody still waits"

    @precondition(lambda self: self.those(LeaseState.RESERVED))
    @rule(data=st.data())
    def grant(self, data: st.DataObject) -> None:
        made = self.pick(data, LeaseState.RESERVED)
        self.table.grant(made, PeerId(made.lease), self.now_ns)

    @precondition(lambda self: self.those(*MET))
    @rule(data=st.data(), blocked=st.booleans())
    def block(self, data: st.DataObject, blocked: bool) -> None:
        made = self.pick(data, *MET)
        changes = (made.state is LeaseState.BLOCKED) is not blocked
        assert self.table.set_blocked(made, blocked, self.now_ns) is changes
        self.asked[made.lease].holds = not blocked

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(list(self.asked)))
        made = self.table.get(name)
        assert made is not None
        self.table.end(made, "over", self.now_ns)
        del self.asked[name]

    @rule()
    def ask_back(self) -> None:
        out: list[Effect] = []
        self.table.ask_back(out)
        waiting = [m for m in self.those(LeaseState.QUEUED) if m.feasible]
        owners = []
        for effect in out:
            assert isinstance(effect, Send)
            made = self.table.get(effect.message.lease)
            assert made is not None
            assert made.state is LeaseState.GRANTED
            assert made.owner == effect.peer
            assert any((w.owner, w.shape) != (made.owner, made.shape) for w in waiting)
            owners.append(effect.peer)
        assert len(owners) == len(dict.fromkeys(owners)), "an owner was asked twice"
        again: list[Effect] = []
        self.table.ask_back(again)
        assert again == []

    @rule(by_ns=st.integers(1, 10 * 1_000_000_000))
    def advance(self, by_ns: int) -> None:
        self.now_ns += by_ns
        out: list[Effect] = []
        self.table.on_timer(self.now_ns, out)
        for effect in out:
            assert isinstance(effect, Send)
            assert isinstance(effect.message, LeaseWaiting)
            assert effect.message.reason
            made = self.table.get(effect.message.lease)
            assert made is not None
            assert made.worker is None
            assert effect.message.feasible is made.feasible
            assert made.lease in self.table.deadlines

    # -- promises ----------------------------------------------------------------------------------
    @invariant()
    def the_table_is_sound(self) -> None:
        self.table.check()

    @invariant()
    def the_books_agree(self) -> None:
        assert dict(self.table.resources.free) == self.free()
        assert [made.lease for made in self.table.all()] == list(self.asked)


TestLeaseTable = LeaseTableMachine.TestCase
TestLeaseTable.settings = settings(max_examples=60, stateful_step_count=40)
