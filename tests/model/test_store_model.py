"""A node's object store under any order of grants, holds, spills and deaths.

The processes and the disk keep their own books: who may still touch which region, and where it
lies. Nothing that somebody may touch is given away, punched, spilled or moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.node.fakes import DRIVER
from tests.unit.node.store_bench import MB, STREAM, StoreBench
from zgen.core.effects import Effect, Send
from zgen.core.events import (
    ProcessExited,
)
from zgen.core.node_effects import SpawnWorker
from zgen.core.store_effects import (
    CloseSlab,
    CreateSlab,
    ForgetSpilled,
    PunchRegion,
    RestoreRegion,
    SpillRegion,
)
from zgen.core.store_events import (
    RegionRestored,
    RegionSpilled,
)
from zgen.ids import NO_STREAM, PeerId
from zgen.limits import REGION_WARM_NS, SECOND, STORE_FULL_NS
from zgen.wire.lease import ProcessDown
from zgen.wire.store import (
    AskEvict,
    Evict,
    HoldRegions,
    LeasedRegion,
    Place,
    RegionsHeld,
    RegionsLeased,
    RegionsOrphaned,
    RegionsRefused,
    ReleaseRegions,
    UnholdRegions,
    WantRegions,
)

#: A process and what it may do to a region: "writer", "owner" or "reader".
Claim = tuple[PeerId, str]


class StoreModel(RuleBasedStateMachine):
    """Processes that do what they like with what they have been given."""

    def __init__(self) -> None:
        super().__init__()
        self.slabs: dict[int, int] = {}
        self.claims: dict[int, dict[Claim, None]] = {}
        self.places: dict[int, Place] = {}
        self.sides: dict[int, tuple[PeerId, PeerId]] = {}  # writer and owner, while both matter
        self.reported: dict[int, None] = {}
        self.disk: dict[int, None] = {}
        self.spilling: dict[int, Place] = {}
        self.restoring: dict[int, Place] = {}
        self.wants: dict[tuple[PeerId, int], PeerId] = {}
        self.holds: dict[tuple[PeerId, int], tuple[int, ...]] = {}
        self.asked: dict[PeerId, None] = {}
        self.orphans: list[tuple[PeerId, int]] = []
        self.spawned: list[PeerId] = []
        self.alive: list[PeerId] = [DRIVER]
        self.request = 100
        self.bench = StoreBench()
        self.alive += [made.worker for made in self.bench.machine.pool.all()]

    # -- what the node does ------------------------------------------------------------------------
    def take(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                if effect.peer in self.alive:
                    self.told(effect.peer, effect.message)
                continue
            match effect:
                case CreateSlab(slab, size_bytes):
                    assert slab not in self.slabs
                    self.slabs[slab] = size_bytes
                case PunchRegion(slab, offset, size_bytes):
                    self.touches_nothing(Place(slab, offset, size_bytes, 0, False))
                case CloseSlab(slab):
                    self.touches_nothing(Place(slab, 0, self.slabs.pop(slab), 0, False))
                case SpillRegion(region, place):
                    assert not self.claims[region], "spilled what somebody may touch"
                    assert self.places[region] == place
                    self.spilling[region] = place
                case RestoreRegion(region, place):
                    assert region in self.disk
                    self.touches_nothing(place)
                    self.restoring[region] = place
                case ForgetSpilled(region):
                    self.disk.pop(region, None)
                case SpawnWorker(worker):
                    self.spawned.append(worker)
                case _:
                    pass

    def told(self, peer: PeerId, message: Any) -> None:
        match message:
            case RegionsLeased(request, regions):
                owner = self.wants.pop((peer, request))
                for leased in regions:
                    self.touches_nothing(leased.place)
                    assert leased.place.slab_bytes == self.slabs[leased.place.slab]
                    self.places[leased.region] = leased.place
                    self.sides[leased.region] = (peer, owner)
                    self.claims[leased.region] = {(peer, "writer"): None, (owner, "owner"): None}
            case RegionsRefused(request):
                del self.wants[peer, request]
            case RegionsHeld(request, regions, lost):
                wanted = self.holds.pop((peer, request))
                assert sorted([leased.region for leased in regions] + list(lost)) == sorted(wanted)
                for leased in regions:
                    self.held(peer, leased)
            case AskEvict():
                assert peer not in self.asked
                self.asked[peer] = None
            case RegionsOrphaned(dead, regions):
                assert dead not in self.alive
                self.orphans += [(peer, region) for region in regions]
            case ProcessDown(dead):
                assert all(dead != writer for writer, owner in self.sides.values() if owner == peer)
            case _:
                pass

    def held(self, peer: PeerId, leased: LeasedRegion) -> None:
        region = leased.region
        if self.claims[region] or region in self.spilling:
            same = (leased.place.slab, leased.place.offset)
            assert same == (self.places[region].slab, self.places[region].offset), "moved"
        else:
            self.touches_nothing(leased.place, but=region)
        self.places[region] = leased.place
        role = "owner" if self.sides[region][1] == peer else "reader"
        self.claims[region][peer, role] = None

    def touches_nothing(self, place: Place, but: int = 0) -> None:
        """Assert that nobody may touch this part of a slab, and the disk does not."""
        busy = [self.places[region] for region, claims in self.claims.items() if claims]
        busy += [*self.spilling.values(), *self.restoring.values()]
        for other in busy:
            apart = place.offset >= other.offset + other.room
            before = other.offset >= place.offset + place.room
            assert place.slab != other.slab or apart or before, f"{place} is in use: {other}"

    def say(self, peer: PeerId, message: Any) -> None:
        self.take(self.bench.say(peer, message))

    # -- what processes do -------------------------------------------------------------------------
    def claimed(self, *roles: str, reported: bool | None = None) -> list[tuple[int, Claim]]:
        return [
            (region, claim)
            for region, claims in self.claims.items()
            for claim in claims
            if claim[1] in roles
            and claim[0] in self.alive
            and reported in (None, region in self.reported)
        ]

    @rule(
        data=st.data(),
        size_bytes=st.sampled_from([MB, MB, 300_000, 2 * MB, 4 * MB, 5 * MB]),
        count=st.sampled_from([1, 1, 4]),
        stream=st.sampled_from([STREAM, NO_STREAM]),
    )
    def want(self, data: st.DataObject, size_bytes: int, count: int, stream: Any) -> None:
        if not self.alive:
            return
        writer, owner = (data.draw(st.sampled_from(self.alive)) for _ in range(2))
        self.request += 1
        self.wants[writer, self.request] = owner
        self.say(writer, WantRegions(self.request, owner, stream, size_bytes, count))

    @precondition(lambda self: self.alive and not self.wants)
    @rule(data=st.data(), gives_up=st.integers(0, 4))
    def write_until_it_is_full(self, data: st.DataObject, gives_up: int) -> None:
        writer, owner = (data.draw(st.sampled_from(self.alive)) for _ in range(2))
        while not self.wants:
            self.request += 1
            self.wants[writer, self.request] = owner
            self.say(writer, WantRegions(self.request, owner, STREAM, MB, 1))
            for region, claim in self.claimed("writer"):
                del self.claims[region][claim]
                self.reported[region] = None
        while gives_up and self.asked:
            self.evict(next(iter(self.asked)), False, gives_up)
            gives_up -= 1

    @precondition(lambda self: self.claimed("writer"))
    @rule(data=st.data(), how=st.sampled_from(["reports", "reports", "gives back", "drops"]))
    def writer_is_done(self, data: st.DataObject, how: str) -> None:
        region, claim = data.draw(st.sampled_from(self.claimed("writer")))
        del self.claims[region][claim]
        if how == "reports" and self.sides[region][1] in self.alive:
            self.reported[region] = None
            return
        self.claims[region].pop((self.sides[region][1], "owner"), None)
        self.say(claim[0], ReleaseRegions((region,), how == "gives back"))
        self.sides.pop(region, None)

    @precondition(lambda self: self.claimed("owner", reported=True))
    @rule(data=st.data())
    def owner_releases(self, data: st.DataObject) -> None:
        region, claim = data.draw(st.sampled_from(self.claimed("owner", reported=True)))
        self.release(claim[0], region)

    def release(self, owner: PeerId, region: int) -> None:
        self.claims[region].pop((owner, "owner"), None)
        self.say(owner, ReleaseRegions((region,)))
        self.sides.pop(region, None)

    @precondition(lambda self: self.alive and self.reported)
    @rule(data=st.data(), count=st.integers(1, 3))
    def hold(self, data: st.DataObject, count: int) -> None:
        peer = data.draw(st.sampled_from(self.alive))
        known = [region for region in self.reported if region in self.sides]
        regions = tuple(
            dict.fromkeys(data.draw(st.sampled_from(known)) for _ in range(count if known else 0))
        )
        self.request += 1
        self.holds[peer, self.request] = regions
        self.say(peer, HoldRegions(self.request, regions))

    @precondition(lambda self: self.claimed("reader"))
    @rule(data=st.data())
    def unhold(self, data: st.DataObject) -> None:
        region, claim = data.draw(st.sampled_from(self.claimed("reader")))
        del self.claims[region][claim]
        self.say(claim[0], UnholdRegions((region,)))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), waits=st.booleans(), count=st.integers(0, 4))
    def answer(self, data: st.DataObject, waits: bool, count: int) -> None:
        self.evict(data.draw(st.sampled_from(list(self.asked))), waits, count)

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), count=st.integers(1, 4))
    def give_up_unasked(self, data: st.DataObject, count: int) -> None:
        self.evict(data.draw(st.sampled_from(self.alive)), False, count)

    def evict(self, owner: PeerId, waits: bool, count: int) -> None:
        self.asked.pop(owner, None)
        mine = [
            region for region, claim in self.claimed("owner", reported=True) if claim[0] == owner
        ]
        for region in mine[:count]:
            del self.claims[region][owner, "owner"]
        self.say(owner, Evict(tuple(mine[:count]), waits))

    @precondition(lambda self: self.orphans)
    @rule(data=st.data())
    def answer_for_the_dead(self, data: st.DataObject) -> None:
        peer, region = self.orphans.pop(data.draw(st.integers(0, len(self.orphans) - 1)))
        if region not in self.sides or peer not in self.alive:
            return
        _, owner = self.sides[region]
        if owner == peer and region in self.reported:
            return
        self.claims[region].pop((peer, "writer"), None)
        self.claims[region].pop((peer, "owner"), None)
        self.say(peer, ReleaseRegions((region,)))
        del self.sides[region]

    # -- the disk ----------------------------------------------------------------------------------
    @precondition(lambda self: self.spilling)
    @rule(data=st.data(), failure=st.sampled_from(["", "", "", "full", "broken"]))
    def spilled(self, data: st.DataObject, failure: str) -> None:
        region = data.draw(st.sampled_from(list(self.spilling)))
        del self.spilling[region]
        if not failure:
            self.disk[region] = None
        self.take(self.bench.step(RegionSpilled(region, failure, failure == "full")))

    @precondition(lambda self: self.restoring)
    @rule(data=st.data(), failure=st.sampled_from(["", "", "", "checksum"]))
    def restored(self, data: st.DataObject, failure: str) -> None:
        region = data.draw(st.sampled_from(list(self.restoring)))
        self.places[region] = self.restoring.pop(region)
        del self.disk[region]
        self.take(self.bench.step(RegionRestored(region, failure)))

    # -- time and death ----------------------------------------------------------------------------
    @rule(by_ns=st.sampled_from([SECOND // 20, SECOND // 10, SECOND, STORE_FULL_NS]))
    def advance(self, by_ns: int) -> None:
        self.take(self.bench.advance(by_ns))

    @rule()
    def quiet(self) -> None:
        self.take(self.bench.quiet())

    @precondition(lambda self: self.spawned and DRIVER in self.alive)
    @rule()
    def worker_starts(self) -> None:
        worker = self.spawned.pop(0)
        self.take(self.bench.start(worker))
        self.alive.append(worker)

    @precondition(lambda self: len(self.alive) > 1)
    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        self.bury(data.draw(st.sampled_from([peer for peer in self.alive if peer != DRIVER])))

    def bury(self, dead: PeerId) -> None:
        self.alive.remove(dead)
        for claims in self.claims.values():
            for claim in [claim for claim in claims if claim[0] == dead]:
                del claims[claim]
        self.wants = {key: owner for key, owner in self.wants.items() if key[0] != dead}
        self.holds = {key: regions for key, regions in self.holds.items() if key[0] != dead}
        self.asked.pop(dead, None)
        if dead == DRIVER:
            self.take(self.bench.step(ProcessExited(dead, 1, "killed")))
        else:
            self.take(self.bench.die(dead))

    # -- promises ----------------------------------------------------------------------------------
    @invariant()
    def nothing_is_taken_beyond_the_capacity(self) -> None:
        assert self.bench.used_bytes <= 4 * MB

    @rule()
    def all_let_go(self) -> None:
        """Let all be well from now on: every request is met, and none is left."""
        for _ in range(1_000):
            if not self.one_good_turn():
                break
        else:
            raise AssertionError("no rest")
        assert not self.wants
        assert not self.holds
        assert self.bench.report()["waiting"] == 0

    def one_good_turn(self) -> bool:
        for region in list(self.spilling)[:1]:
            del self.spilling[region]
            self.disk[region] = None
            self.take(self.bench.step(RegionSpilled(region, "", False)))
            return True
        for region in list(self.restoring)[:1]:
            self.places[region] = self.restoring.pop(region)
            del self.disk[region]
            self.take(self.bench.step(RegionRestored(region, "")))
            return True
        for owner in list(self.asked):
            self.evict(owner, False, 10)
            return True
        for region, claim in self.claimed("reader"):
            del self.claims[region][claim]
            self.say(claim[0], UnholdRegions((region,)))
            return True
        for region, claim in self.claimed("writer"):
            del self.claims[region][claim]
            self.reported[region] = None
            return True
        for region, claim in self.claimed("owner"):
            self.release(claim[0], region)
            return True
        if self.wants or self.holds:
            self.take(self.bench.advance(SECOND))
            return True
        return False

    def teardown(self) -> None:
        """Let everybody die: everything is free."""
        for peer in list(self.alive):
            self.bury(peer)
        self.take(self.bench.quiet())
        for region in list(self.spilling):
            self.take(self.bench.step(RegionSpilled(region, "", False)))
        self.spilling.clear()
        for region in list(self.restoring):
            self.take(self.bench.step(RegionRestored(region, "")))
        self.restoring.clear()
        self.take(self.bench.advance(REGION_WARM_NS))
        report = self.bench.report()
        del report["capacity_bytes"]
        assert not any(report.values()), report
        assert self.slabs == {}


TestStore = StoreModel.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=50)
