"""A node with a driver and two workers that use its object store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tests.unit.node.fakes import DRIVER, NODE, Bench
from zgen.core.effects import (
    Effect,
    Send,
)
from zgen.core.store_effects import (
    RestoreRegion,
    SpillRegion,
)
from zgen.core.store_events import (
    RegionRestored,
    RegionSpilled,
)
from zgen.ids import NO_STREAM, PeerId, StreamId, derive_worker_id
from zgen.wire.store import (
    HoldRegions,
    LeasedRegion,
    RegionsHeld,
    RegionsLeased,
    ReleaseRegions,
    WantRegions,
)

MB = 1 << 20
WRITER, READER = (derive_worker_id(NODE, index) for index in (1, 2))
STREAM = StreamId(b"stream".ljust(16, b"."))

T = TypeVar("T")


class StoreBench(Bench):
    """Its store has room for four regions of a megabyte unless told otherwise."""

    def __init__(self, store_bytes: int = 4 * MB) -> None:
        super().__init__(cpus=2, prestart=True, store_bytes=store_bytes)
        self.drive()
        self.start(WRITER, 101)
        self.start(READER, 102)
        self.request = 0

    @property
    def used_bytes(self) -> int:
        return self.machine.storage.rooms.slabs.used_bytes

    @property
    def warm_bytes(self) -> int:
        return self.machine.storage.rooms.slabs.warm_bytes

    def report(self) -> dict[str, int]:
        return self.machine.storage.report()

    def want(
        self,
        writer: PeerId = WRITER,
        owner: PeerId = DRIVER,
        size_bytes: int = MB,
        count: int = 1,
        stream: StreamId = NO_STREAM,
    ) -> list[Effect]:
        self.request += 1
        return self.say(writer, WantRegions(self.request, owner, stream, size_bytes, count))

    def lease(
        self, writer: PeerId = WRITER, owner: PeerId = DRIVER, size_bytes: int = MB
    ) -> LeasedRegion:
        """Let a writer get a region at once."""
        (leased,) = told(self.want(writer, owner, size_bytes), RegionsLeased)
        return leased.regions[0]

    def fill(self, owner: PeerId = DRIVER, count: int = 4) -> list[int]:
        """Let a worker write so many regions for an owner."""
        return [self.lease(owner=owner).region for _ in range(count)]

    def hold(self, peer: PeerId, *regions: int) -> list[Effect]:
        self.request += 1
        return self.say(peer, HoldRegions(self.request, regions))

    def held(self, peer: PeerId, *regions: int) -> RegionsHeld:
        """Let a reader hold regions at once."""
        (answer,) = told(self.hold(peer, *regions), RegionsHeld)
        return answer

    def release(self, peer: PeerId, *regions: int, unwritten: bool = False) -> list[Effect]:
        return self.say(peer, ReleaseRegions(regions, unwritten))

    def spilled(self, *regions: int, failure: str = "", full: bool = False) -> list[Effect]:
        return [
            effect
            for region in regions
            for effect in self.step(RegionSpilled(region, failure, full))
        ]

    def restored(self, region: int, failure: str = "") -> list[Effect]:
        return self.step(RegionRestored(region, failure))


def told(effects: Sequence[Effect], cls: type[T], peer: PeerId | None = None) -> list[T]:
    """Return the messages of a class, to a process or to all."""
    return [
        effect.message
        for effect in effects
        if isinstance(effect, Send)
        and isinstance(effect.message, cls)
        and peer in (None, effect.peer)
    ]


def of(effects: Sequence[Effect], *classes: type[Any]) -> list[Any]:
    """Return the effects of some classes."""
    return [effect for effect in effects if isinstance(effect, classes)]


def spills(effects: Sequence[Effect]) -> list[int]:
    return [effect.region for effect in effects if isinstance(effect, SpillRegion)]


def restores(effects: Sequence[Effect]) -> list[int]:
    return [effect.region for effect in effects if isinstance(effect, RestoreRegion)]
