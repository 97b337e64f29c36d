"""Parts of regions from one node's slab into another's: real memfds, threads and sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
import zmq

from tests.unit.node.fakes import NODE
from tests.unit.node.polled import Polled
from zgen.core.store_effects import CloseCopy, ForgetLine, OpenCopy, SendChunks
from zgen.core.store_events import ChunksUnsent, ChunkWritten
from zgen.exceptions import InternalError
from zgen.ids import ID_BYTES, PeerId
from zgen.io.exposure import Exposure
from zgen.io.keys import ClusterKey, generate
from zgen.io.mailbox import Mailbox
from zgen.limits import CHUNK_BYTES, MS
from zgen.wire.parts import PartHeader
from zgen.wire.store import Place
from zgen_node.io import part_lines
from zgen_node.io.transfer import Transfer

SIZE = 2 * CHUNK_BYTES + 5
SLAB_BYTES = 3 * CHUNK_BYTES
HOST = "127.0.0.1"
CONTENT = os.urandom(SIZE)


def place(slab: int = 1, *, is_warm: bool = False) -> Place:
    return Place(slab, 100, SIZE, SLAB_BYTES, is_warm)


class Node:
    """The part of a node that copying needs, with one slab and an inbox."""

    def __init__(self, folder: Path, name: str, key: ClusterKey | None) -> None:
        exposure = Exposure(HOST, "*", HOST, b"machine", key)
        self.mailbox = Mailbox(f"ipc://{folder}/{name}", exposure)
        self.endpoint = f"tcp://{HOST}:{self.mailbox.tcp_port}"
        self.polled = Polled()
        self.posted: list[ChunksUnsent | ChunkWritten] = []
        self.slab = os.memfd_create("zt-transfer", os.MFD_CLOEXEC)
        os.ftruncate(self.slab, SLAB_BYTES)
        self.transfer = Transfer(self.mailbox.locks, self.polled, self.posted.append, self.copy_of)
        self.mailbox.take_parts(self.transfer.take)

    def copy_of(self, slab: int) -> int:
        if slab != 1:
            raise OSError(12, "no memory")
        return os.dup(self.slab)

    def turn(self) -> None:
        self.mailbox.poll(0.01)
        self.mailbox.collect(64)
        self.polled.turn(0.01)

    def until(self, count: int) -> None:
        for _ in range(2000):
            if len(self.posted) >= count:
                return
            self.turn()
        raise AssertionError(self.posted)

    def content(self) -> bytes:
        return os.pread(self.slab, SIZE, 100)

    def end(self) -> None:
        self.transfer.end()
        self.transfer.end()
        self.mailbox.close()
        self.polled.close()
        os.close(self.slab)


@pytest.fixture(params=["plain", "locked"])
def nodes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Node, Node]]:
    key = generate() if request.param == "locked" else None
    here, there = Node(tmp_path, "here", key), Node(tmp_path, "there", key)
    os.pwrite(there.slab, CONTENT, 100)
    yield here, there
    here.end()
    there.end()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path, "here", None)
    yield node
    node.end()


def send(to: Node, *, is_checked: bool = True, slab: int = 1, offset: int = 0) -> SendChunks:
    size_bytes = SIZE - offset
    return SendChunks(NODE, to.endpoint, 3, 7, place(slab), offset, size_bytes, is_checked)


@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("is_checked", [False, True])
def test_a_region_goes_from_one_slab_into_another(
    nodes: tuple[Node, Node], is_warm: bool, is_checked: bool
) -> None:
    here, there = nodes
    here.transfer.order(OpenCopy(3, 7, place(is_warm=is_warm), SIZE))
    there.transfer.order(send(here, is_checked=is_checked))
    here.until(3)
    offsets = [0, CHUNK_BYTES, 2 * CHUNK_BYTES]
    assert here.posted == [ChunkWritten(3, offset, "", False) for offset in offsets]
    assert here.content() == CONTENT
    here.transfer.order(CloseCopy(3))
    assert there.posted == []


def test_what_is_asked_for_again_comes_again_also_after_the_line_was_forgotten(
    nodes: tuple[Node, Node],
) -> None:
    here, there = nodes
    here.transfer.order(OpenCopy(3, 7, place(), SIZE))
    there.transfer.order(send(here))
    here.until(3)
    there.transfer.order(ForgetLine(NODE))
    there.transfer.order(ForgetLine(NODE))
    there.transfer.order(send(here, offset=CHUNK_BYTES))
    here.until(5)
    assert [each.offset for each in here.posted[3:] if isinstance(each, ChunkWritten)] == [
        CHUNK_BYTES,
        2 * CHUNK_BYTES,
    ]


def test_what_still_leaves_is_not_sent_twice(here: Node) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as silent:
        port = silent.bind_to_random_port(f"tcp://{HOST}")
    size_bytes = 2 * CHUNK_BYTES
    gone = SendChunks(NODE, f"tcp://{HOST}:{port}", 3, 7, place(), 0, size_bytes, is_checked=True)
    here.transfer.order(gone)
    while here.transfer.sent_count < 2:
        here.turn()
    here.transfer.order(gone)
    other = PeerId(bytes(ID_BYTES))
    here.transfer.order(SendChunks(other, "tcp://nowhere", 3, 7, place(), 0, 9, is_checked=True))
    here.until(1)
    here.transfer.end()
    assert here.transfer.sent_count == 2, "each once, though nobody takes them"


class Frame:
    """What a socket gives for a frame."""

    def __init__(self, data: bytes) -> None:
        self.buffer = memoryview(data)


def test_what_came_damaged_is_not_written_and_what_nobody_asked_for_is_dropped(here: Node) -> None:
    data = CONTENT[:CHUNK_BYTES]
    here.transfer.take(PartHeader(3, 7, 0, crc32(data)), [Frame(data)])
    here.transfer.order(OpenCopy(3, 7, place(), SIZE))
    wrong = [
        (PartHeader(4, 7, 0, None), data),
        (PartHeader(3, 8, 0, None), data),
        (PartHeader(3, 7, 5, None), data),
        (PartHeader(3, 7, 0, None), data[1:]),
        (PartHeader(3, 7, 4 * CHUNK_BYTES, None), data),
    ]
    for header, part in wrong:
        here.transfer.take(header, [Frame(part)])
    here.transfer.take(PartHeader(3, 7, 0, 1), [Frame(data)])
    here.until(1)
    (damaged,) = here.posted
    assert isinstance(damaged, ChunkWritten)
    assert damaged.is_damaged
    assert here.content() == bytes(SIZE)
    here.transfer.take(PartHeader(3, 7, 0, crc32(data)), [Frame(data[:9]), Frame(data[9:])])
    here.until(2)
    assert here.content()[:CHUNK_BYTES] == data


def test_what_cannot_be_done_is_said(here: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    here.transfer.order(OpenCopy(3, 7, place(2), SIZE))
    here.transfer.order(CloseCopy(3))
    here.transfer.order(send(here, slab=2))
    there = SendChunks(NODE, "tcp://nowhere", 3, 7, place(), 0, 9, is_checked=True)
    here.transfer.order(there)
    here.until(3)
    written, no_slab, no_line = here.posted
    assert isinstance(written, ChunkWritten)
    assert written.failure.endswith("no memory")
    assert isinstance(no_slab, ChunksUnsent)
    assert no_slab.failure.endswith("no memory")
    assert isinstance(no_line, ChunksUnsent)

    def refuse(fd: int, batch: list[memoryview], offset: int) -> int:
        raise OSError(12, "no memory")

    monkeypatch.setattr("zgen.io.copying._pwritev", refuse)
    here.transfer.order(OpenCopy(4, 7, place(), SIZE))
    here.transfer.take(PartHeader(4, 7, 0, None), [Frame(CONTENT[:CHUNK_BYTES])])
    here.until(4)
    (*_, last) = here.posted
    assert isinstance(last, ChunkWritten)
    assert last.failure.endswith("no memory")
    assert not last.is_damaged


def test_an_idle_line_is_closed_and_a_slab_forgotten(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes
    monkeypatch.setattr(part_lines, "IDLE_NS", 50 * MS)
    here.transfer.order(OpenCopy(3, 7, place(), SIZE))
    there.transfer.order(send(here))
    here.until(3)
    there.transfer.close_slab(1)
    there.transfer.close_slab(1)
    while there.transfer.lines_count:
        here.turn()
    there.transfer.order(send(here))
    here.until(6)


def test_what_breaks_the_thread_is_raised_in_the_loop(
    here: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Transfer) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(Transfer, "_turn", fail)
    here.transfer.order(OpenCopy(3, 7, place(), SIZE))
    with pytest.raises(InternalError, match="broken"):
        here.until(1)
