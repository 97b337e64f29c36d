"""What a simulated process does with shared memory: writes values, opens views, lets go of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from zgen.core.effects import (
    Effect,
)
from zgen.core.events import (
    Dropped,
)
from zgen.core.store_effects import (
    RegionGiven,
    RegionRefused,
    ValueInstead,
    ViewOpened,
    ViewRefused,
)
from zgen.core.store_events import (
    OpenView,
    RegionUnused,
    WantRegion,
)
from zgen.ids import ObjectId, PeerId, TaskId
from zgen.sim.world import Life
from zgen.wire.value import Stored, room_bytes

if TYPE_CHECKING:
    from tests.sim.memory import Memory
    from tests.sim.oracles_store import StoreAnswers
    from tests.sim.programs import Consumer

NO_STREAM = TaskId(bytes(16))

Written = Callable[[Stored | None], None]
Opened = Callable[[int | None], None]


@dataclass(slots=True)
class Want:
    """A region that is wanted.

    Attributes:
        owns: Who will own the value.
        template: The value without its place.
        then: Who waits for the value; None if there is no room.
        asked_ns: Since when, in the world's time.
    """

    owns: Life
    template: Stored
    then: Written
    asked_ns: int


@dataclass(slots=True)
class Opening:
    """A view that is to be opened.

    Attributes:
        name: The object.
        then: Who waits for its region; None if the value is gone.
        asked_ns: Since when, in the world's time.
    """

    name: ObjectId
    then: Opened
    asked_ns: int


class StoreUser:
    """The shared memory of one process, as its user sees it.

    Attributes:
        wants: Request -> region that is wanted. Removed by its answer.
        openings: Request -> view that is wanted. Removed by its answer.
        views: Region -> views that are open.
    """

    def __init__(self, user: Consumer) -> None:
        self.user = user
        self.wants: dict[int, Want] = {}
        self.openings: dict[int, Opening] = {}
        self.views: dict[int, int] = {}
        self._requests = 0

    @property
    def memory(self) -> Memory:
        return self.user.cluster.memory_of(self.user.life)

    @property
    def answers(self) -> StoreAnswers:
        return self.user.cluster.promises.store

    # -- writing -----------------------------------------------------------------------------------
    def write(
        self, owns: Life, owner: PeerId, stream: TaskId, template: Stored, then: Written
    ) -> None:
        """Write a value for ``owns``; ``then`` gets it and says at once what becomes of it."""
        self._requests += 1
        request = self._requests
        self.wants[request] = Want(owns, template, then, self.user.cluster.world.now_ns)
        self.user.post(WantRegion(request, owner, stream, room_bytes(template.sizes)))

    def reported(self, values: tuple[object, ...]) -> None:
        """The values are handed in now: what lies in them is their owner's."""
        for value in values:
            if isinstance(value, Stored):
                self.memory.let_go(self.user.life, value.region)

    def unused(self, values: list[Stored]) -> None:
        """The values will not be handed in."""
        for value in values:
            self.memory.let_go(self.user.life, value.region)
            self.user.post(RegionUnused(value.region))

    # -- reading -----------------------------------------------------------------------------------
    def open(self, name: ObjectId, then: Opened) -> None:
        """Open a view of an object that lies in shared memory."""
        self.user.cluster.promises.lost.read(self.user, name)
        self._requests += 1
        request = self._requests
        self.openings[request] = Opening(name, then, self.user.cluster.world.now_ns)
        self.user.post(OpenView(request, name))

    def opened(self, value: Stored) -> int:
        """Count a view that the machine opened; return its region."""
        self.memory.open_view(self.user.life, value.region, value.place, value.data)
        self.views[value.region] = self.views.get(value.region, 0) + 1
        return value.region

    def close(self, regions: list[int]) -> None:
        """Drop views."""
        if not regions:
            return
        for region in regions:
            self.memory.close_view(self.user.life, region)
            self.views[region] -= 1
            if not self.views[region]:
                del self.views[region]
        self.user.post(Dropped((), (), tuple(regions)))

    def read(self, names: list[ObjectId], hold_ns: int, then: Callable[[], None]) -> None:
        """Look at what lies in shared memory of these, one after the other, then go on."""
        left = [name for name in names if type(self.user.owner.refs.value_of(name)) is Stored]

        def next_one() -> None:
            if left:
                self.open(left.pop(), opened)
            else:
                then()

        def opened(region: int | None) -> None:
            if region is None:
                next_one()
            else:
                self.user.later(hold_ns, partial(looked, region))

        def looked(region: int) -> None:
            self.close([region])
            next_one()

        next_one()

    # -- what the machine tells --------------------------------------------------------------------
    def perform(self, effect: Effect) -> None:
        if isinstance(effect, RegionGiven):
            want = self.wants.pop(effect.request)
            life, template = self.user.life, want.template
            self.memory.give(life, want.owns, effect.region, effect.place, template.data)
            value = Stored(effect.node, effect.region, effect.place, template.data, template.sizes)
            self.user.later(0, partial(self._write, value, want.then))
        elif isinstance(effect, RegionRefused):
            want = self.wants.pop(effect.request)
            size_bytes = room_bytes(want.template.sizes)
            self.answers.refused(self.user, effect, size_bytes, want)
            self.user.later(0, partial(want.then, None))
        elif isinstance(effect, ViewOpened):
            opening = self.openings.pop(effect.request)
            value = effect.value
            self.answers.read(self.user, opening.name, value)
            region = self.opened(
                Stored(value.node, value.region, effect.place, value.data, value.sizes)
            )
            self.user.later(0, partial(opening.then, region))
        elif isinstance(effect, ViewRefused):
            opening = self.openings.pop(effect.request)
            self.answers.lost(self.user, opening.name, effect.fault, opening.asked_ns)
            self.user.later(0, partial(opening.then, None))
        elif isinstance(effect, ValueInstead):
            opening = self.openings.pop(effect.request)
            self.answers.instead(self.user, opening.name, effect.value)
            self.user.later(0, partial(opening.then, None))

    def _write(self, value: Stored, then: Written) -> None:
        self.memory.begin_write(self.user.life, value.region)

        def written() -> None:
            self.memory.end_write(self.user.life, value.region)
            then(value)

        cluster = self.user.cluster
        self.user.later(cluster.world.random.randrange(cluster.settings.write_ns_max), written)
