"""A node with readers of what lies on other nodes."""

from __future__ import annotations

from tests.unit.node.clusters import EAST, WEST, Among
from tests.unit.node.fakes import DRIVER, peer
from tests.unit.node.store_bench import MB, WRITER, told
from zgen.core.effects import Effect
from zgen.core.store_events import ChunkWritten
from zgen.ids import NO_STREAM, PeerId, node_tag, region_number
from zgen.wire.store import (
    HoldRegions,
    LeasedRegion,
    Place,
    RegionsHeld,
    RegionsLeased,
    WantRegions,
)

FAR = region_number(node_tag(EAST), 7)
FAR_TOO = region_number(node_tag(EAST), 8)
WESTERN = region_number(node_tag(WEST), 1)
THERE = Place(4, MB, MB, 8 * MB, True)
READER = peer("reader")


class Reading(Among):
    """A node with room for four megabytes, its driver, and another node with a region."""

    def __init__(self, *, knows: bool = True, store_bytes: int = 4 * MB) -> None:
        super().__init__(cpus=2, prestart=True, store_bytes=store_bytes)
        self.drive()
        self.start(WRITER, 101)
        if knows:
            self.member()
        self.request = 0

    def hold(self, *regions: int, by: PeerId = DRIVER, room: int = MB) -> list[Effect]:
        self.request += 1
        return self.say(by, HoldRegions(self.request, regions, (room,) * len(regions)))

    def held_there(self, pull: int = 1, region: int = FAR, place: Place = THERE) -> list[Effect]:
        return self.say(EAST, RegionsHeld(pull, (LeasedRegion(region, place),), (), ""))

    def copied(self, *, by: PeerId = DRIVER) -> list[Effect]:
        """Let a copy of ``FAR`` be made and held."""
        self.hold(FAR, by=by)
        self.held_there()
        return self.step(ChunkWritten(1, 0, "", False))

    def want(self, writer: PeerId = WRITER, owner: PeerId = DRIVER) -> list[Effect]:
        self.request += 1
        return self.say(writer, WantRegions(self.request, owner, NO_STREAM, MB, 1))

    def leased(self, owner: PeerId = DRIVER) -> int:
        (leased,) = told(self.want(owner=owner), RegionsLeased)
        return leased.regions[0].region

    def regions(self) -> list[int]:
        return [region.region for region in self.machine.storage.rooms.objects.all()]

    def guest(self) -> None:
        """Let the driver of another node have a worker here."""
        self.shared()

    def held(self, done: list[Effect], by: PeerId = DRIVER) -> list[int]:
        """Return the regions that a process is told to hold."""
        return [leased.region for said in told(done, RegionsHeld, by) for leased in said.regions]
