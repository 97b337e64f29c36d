"""Who waits for room: writers, and regions on disk that are to come back.

Rules of this file: requests in order of arrival, and when each gives up. How room is made is not
known here.

Theory of operation. A request gives up after ``STORE_FULL_NS`` in which no room was made for
anybody. A request that is *held back* does not: the consumer of its stream has yet to take what is
there. It stays so for ``EVICT_AGAIN_NS``, or until its owner gives something up unasked.
"""

from zgen.core.deadlines import Deadlines
from zgen.ids import NO_STREAM, PeerId, StreamId
from zgen.limits import EVICT_AGAIN_NS, STORE_FULL_NS
from zgen.slotted import slotted
from zgen.wire.store import WantRegions


@slotted
class Request:
    """Room that somebody waits for.

    Attributes:
        key: Its number.
        writer: Who asked; for a region that is to come back, its owner.
        request: Number of the request, by the writer.
        owner: Who will own the value, or owns it.
        stream: Stream that it is an item of, or zeroes.
        room_bytes: Size class.
        count: How many rooms are of use.
        since_ns: From when on the wait counts.
        region: The region that is to come back from disk; None for a writer's request.
        held_back: Whether its consumer has items to take first.
    """

    key: int
    writer: PeerId
    request: int
    owner: PeerId
    stream: StreamId
    room_bytes: int
    count: int
    since_ns: int
    region: int | None = None
    held_back: bool = False


class RoomQueue:
    """All requests for room that are not met.

    Attributes:
        deadlines: When a request gives up, or is no longer held back.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.deadlines: Deadlines[int] = Deadlines()
        self._key_count = 0
        #: When room was made last.
        self._progress_ns = 0
        #: Key -> request. Added by ``want`` and ``restore``; removed by ``end``.
        self._requests: dict[int, Request] = {}
        #: The writers' among them, in order of arrival.
        self._wants: dict[int, Request] = {}
        #: Region -> request, in order of arrival. Added by ``restore``; removed by ``end``.
        self._restores: dict[int, Request] = {}
        #: Writer or owner -> keys of writers' requests.
        self._keys_of: dict[PeerId, dict[int, None]] = {}

    def __len__(self) -> int:
        """Return how many requests wait."""
        return len(self._requests)

    def __contains__(self, request: Request) -> bool:
        """Return whether a request still waits."""
        return request.key in self._requests

    def wants(self) -> list[Request]:
        """Return the writers' requests, in order of arrival."""
        return list(self._wants.values())

    def restores(self) -> list[Request]:
        """Return the requests for what is on disk, in order of arrival."""
        return list(self._restores.values())

    def of(self, peer: PeerId) -> list[Request]:
        """Return the writers' requests by or for a process, in order of arrival."""
        return [self._wants[key] for key in self._keys_of.get(peer, {})]

    def want(self, writer: PeerId, said: WantRegions, room_bytes: int, now_ns: int) -> None:
        """Queue a writer's request."""
        request = Request(
            self._key_count + 1,
            writer,
            said.request,
            said.owner,
            said.stream,
            room_bytes,
            said.count,
            now_ns,
        )
        self._add(request)
        self._wants[request.key] = request
        for peer in (writer, said.owner):
            self._keys_of.setdefault(peer, {})[request.key] = None

    def restore(self, region: int, owner: PeerId, room_bytes: int, now_ns: int) -> None:
        """Queue the return of a region from disk, once."""
        if region not in self._restores:
            key = self._key_count + 1
            request = Request(key, owner, 0, owner, NO_STREAM, room_bytes, 1, now_ns, region)
            self._add(request)
            self._restores[region] = request

    def has_restore(self, region: int) -> bool:
        """Return whether a region waits for room to come back."""
        return region in self._restores

    def end_restore(self, region: int) -> None:
        """Forget that a region is to come back, if it is."""
        request = self._restores.get(region)
        if request is not None:
            self.end(request)

    def end(self, request: Request) -> None:
        """Forget a request."""
        self.deadlines.clear(request.key)
        del self._requests[request.key]
        if request.region is not None:
            del self._restores[request.region]
            return
        del self._wants[request.key]
        for peer in dict.fromkeys((request.writer, request.owner)):
            keys = self._keys_of[peer]
            del keys[request.key]
            if not keys:
                del self._keys_of[peer]

    def made_room(self, now_ns: int) -> None:
        """Have every wait count from now on."""
        self._progress_ns = now_ns

    def hold_back(self, key: int, owner: PeerId, now_ns: int) -> bool:
        """Hold a writer's request back at the word of its owner; return False if there is none."""
        request = self._wants.get(key)
        if request is None or request.owner != owner:
            return False
        request.held_back = True
        self.deadlines.set(key, now_ns + EVICT_AGAIN_NS)
        return True

    def let_go(self, owner: PeerId, now_ns: int) -> None:
        """Hold nothing of an owner back any more."""
        for request in self.of(owner):
            if request.held_back and request.owner == owner:
                self._count_on(request, now_ns)

    def on_timer(self, now_ns: int) -> list[Request]:
        """Return the requests that are to give up, each for ``end`` or ``postpone``."""
        overdue: list[Request] = []
        for key in self.deadlines.pop_due(now_ns):
            request = self._requests[key]
            since_ns = max(request.since_ns, self._progress_ns)
            if request.held_back:
                self._count_on(request, now_ns)
            elif since_ns + STORE_FULL_NS > now_ns:
                self.deadlines.set(key, since_ns + STORE_FULL_NS)
            else:
                self.deadlines.set(key, now_ns)
                overdue.append(request)
        return overdue

    def postpone(self, request: Request, at_ns: int) -> None:
        """Have a request that is to give up wait a little longer."""
        self.deadlines.set(request.key, at_ns)

    def check(self) -> None:
        """Assert the invariants of every request."""
        count = 0
        assert len(self._requests) == len(self._wants) + len(self._restores)
        assert all(key in self.deadlines for key in self._requests)
        for key, request in self._wants.items():
            assert self._requests[key] is request
            assert request.region is None
            for peer in dict.fromkeys((request.writer, request.owner)):
                assert key in self._keys_of[peer]
                count += 1
        for region, request in self._restores.items():
            assert request.region == region
            assert self._requests[request.key] is request
            assert not request.held_back
        assert count == sum(len(keys) for keys in self._keys_of.values())
        assert all(self._keys_of.values()), "an empty row"

    def _add(self, request: Request) -> None:
        self._key_count = request.key
        self._requests[request.key] = request
        self.deadlines.set(request.key, request.since_ns + STORE_FULL_NS)

    def _count_on(self, request: Request, now_ns: int) -> None:
        request.held_back = False
        request.since_ns = now_ns
        self.deadlines.set(request.key, now_ns + STORE_FULL_NS)
