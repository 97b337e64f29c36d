"""Large values go from node to node: two nodes' machines, sockets and memory, in two processes."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.talker import Talker
from zgen.ids import NO_STREAM, PeerId
from zgen.io.folders import endpoint_of
from zgen.io.shared_memory import SharedMemory
from zgen.wire.session import Address
from zgen.wire.store import (
    HoldRegions,
    RegionsHeld,
    RegionsLeased,
    ReleaseRegions,
    UnholdRegions,
    WantRegions,
)

STORE_BYTES = 64 << 20
WITHIN_S = 20.0


class Host:
    """A node in a process of its own, and a driver of it."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        folder.mkdir()
        peer = bytes([number]) * 16
        command = [sys.executable, "-m", "tests.integration.store_host"]
        command += [str(folder), peer.hex(), str(STORE_BYTES)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.state = self.process.stdout.readline()
        address = Address(PeerId(peer), 1, endpoint_of(str(folder), peer), PeerId(peer))
        self.driver = Talker(address, str(folder))
        self.driver.register()
        self.memory = SharedMemory(str(folder), lambda: None)

    def meet(self, other: Host) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(other.state)
        self.process.stdin.flush()

    def end(self) -> None:
        self.memory.close()
        if self.process.poll() is None:
            self.driver.close()
        else:
            self.driver.abandon()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(WITHIN_S)
        self.process.stdout.close()

    def write(self, content: bytes) -> int:
        """Put a value; return its region."""
        driver = self.driver
        driver.say(WantRegions(1, driver.peer, NO_STREAM, len(content), 1))
        (leased,) = driver.hear(RegionsLeased, WITHIN_S).regions
        self.memory.write(leased.place, [memoryview(content)])
        return leased.region

    def hold(self, region: int, room: int) -> RegionsHeld:
        self.driver.say(HoldRegions(region, (region,), (room,)))
        return self.driver.hear(RegionsHeld, WITHIN_S)

    def read(self, held: RegionsHeld, size_bytes: int) -> bytes:
        (leased,) = held.regions
        (part,) = self.memory.views(leased.region, leased.place, (size_bytes,))
        return bytes(part)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    east, west = Host(tmp_path / "east", 1), Host(tmp_path / "west", 2)
    west.meet(east)
    east.meet(west)
    yield east, west
    east.end()
    west.end()


def test_a_value_is_read_where_it_was_not_written_until_it_is_released(
    hosts: tuple[Host, Host],
) -> None:
    east, west = hosts
    content = random.Random(7).randbytes(20_000_003)
    region = east.write(content)
    held = west.hold(region, len(content))
    assert west.read(held, len(content)) == content
    again = west.hold(region, len(content))
    assert again.regions == held.regions, "it is copied once"
    west.driver.say(UnholdRegions((region,)))
    east.driver.say(ReleaseRegions((region,)))
    while not (lost := west.hold(region, len(content))).lost:  # until west has heard of it
        west.driver.say(UnholdRegions((region,)))
    assert lost.reason == "its owner released it"


def test_what_is_not_copied_when_its_node_dies_is_an_error_and_no_hang(
    hosts: tuple[Host, Host],
) -> None:
    _, west = hosts
    unknown = int.from_bytes(bytes([2]) * 4, "big") << 31 | 9
    held = west.hold(unknown, 5)
    assert held.lost == (unknown,)
