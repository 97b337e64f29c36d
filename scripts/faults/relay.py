"""A bad link: passes frames between two devices, late and in disorder, some twice, not all.

    python -m scripts.faults.relay 5 6 1     frames of descriptor 5 to 6 and back, with dice from 1

Both descriptors are Ethernet devices of this system's (TAP). At the end of its input it prints what
it did to the frames as JSON.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import select
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

LOST: Final = 0.05
TWICE: Final = 0.01
DELAY_S: Final = (0.05, 0.15)
FRAME_BYTES_MAX: Final = 1 << 16
#: Frames on their way at a time; what comes on top is lost, as in any router.
FRAMES_COUNT_MAX: Final = 2000
_BURST_COUNT: Final = 64


@dataclass
class Done:
    """What was done to the frames.

    Attributes:
        passed_count: Frames that were passed on, repetitions not counted.
        lost_count: Frames that the dice lost.
        full_count: Frames lost as too many were on their way.
        twice_count: Frames passed on twice.
        late_count: Frames passed on after one that had come later.
        delay_s: How long all that were passed on took together.
    """

    passed_count: int = 0
    lost_count: int = 0
    full_count: int = 0
    twice_count: int = 0
    late_count: int = 0
    delay_s: float = 0.0


class Link:
    """Frames on their way between two devices."""

    def __init__(self, dice: random.Random) -> None:
        """Begin with an idle link."""
        self.done = Done()
        self._dice = dice
        #: When due, number, when taken in, to which device, the frame.
        self._way: list[tuple[float, int, float, int, bytes]] = []
        self._number = 0
        self._newest = [0, 0]

    def take(self, frame: bytes, to: int, now_s: float) -> None:
        """Decide what becomes of a frame."""
        if self._dice.random() < LOST:
            self.done.lost_count += 1
            return
        if len(self._way) >= FRAMES_COUNT_MAX:
            self.done.full_count += 1
            return
        self._send(frame, to, now_s)
        if self._dice.random() < TWICE:
            self.done.twice_count += 1
            self._send(frame, to, now_s)

    def due(self, now_s: float) -> list[tuple[int, bytes]]:
        """Return what arrives by now: to which device, and the frame."""
        arrived: list[tuple[int, bytes]] = []
        while self._way and self._way[0][0] <= now_s:
            _, number, taken_s, to, frame = heapq.heappop(self._way)
            self.done.passed_count += 1
            self.done.delay_s += now_s - taken_s
            self.done.late_count += number < self._newest[to]
            self._newest[to] = max(number, self._newest[to])
            arrived.append((to, frame))
        return arrived

    def next_s(self) -> float | None:
        """Return when the next frame arrives."""
        return self._way[0][0] if self._way else None

    def _send(self, frame: bytes, to: int, now_s: float) -> None:
        self._number += 1
        due_s = now_s + self._dice.uniform(*DELAY_S)
        heapq.heappush(self._way, (due_s, self._number, now_s, to, frame))


def run(fds: list[int], link: Link, end_fd: int) -> None:
    """Pass frames on until ``end_fd`` says something or is closed."""
    poll = select.poll()
    for fd in [*fds, end_fd]:
        os.set_blocking(fd, False)
        poll.register(fd, select.POLLIN)
    while True:
        next_s, now_s = link.next_s(), time.monotonic()
        wait_ms = None if next_s is None else max(0.0, (next_s - now_s) * 1000)
        for ready, _ in poll.poll(wait_ms):
            if ready == end_fd:
                return
            to = 1 - fds.index(ready)
            for _ in range(_BURST_COUNT):
                try:
                    frame = os.read(ready, FRAME_BYTES_MAX)
                except BlockingIOError:
                    break
                link.take(frame, to, time.monotonic())
        for to, frame in link.due(time.monotonic()):
            try:
                os.write(fds[to], frame)
            except OSError:
                link.done.full_count += 1


if __name__ == "__main__":
    between = Link(random.Random(int(sys.argv[3])))
    run([int(sys.argv[1]), int(sys.argv[2])], between, sys.stdin.fileno())
    print(json.dumps(asdict(between.done)))
