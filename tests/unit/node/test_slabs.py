"""Slabs and who gets them: real memory, and descriptors over a real socket."""

from __future__ import annotations

import mmap
import os
import resource
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.unit.node.huge_folder import huge_folder
from tests.unit.node.polled import Polled, nothing_left_open, open_fds
from zgen.exceptions import NodeDiedError, ObjectLostError
from zgen.io.descriptors import FAILED, GIVEN, REQUEST, SOCKET_NAME, UNKNOWN, Descriptors
from zgen_node.io.slabs import Slabs

SLAB_BYTES = 1 << 20
PAGE_BYTES = 4096


class Bench:
    """Slabs, a client of them, and a thread for the client to wait in."""

    def __init__(self, folder: str, memory_fd: int | None) -> None:
        self.folder = folder
        self.polled = Polled()
        self.reports: list[str] = []
        self.slabs = Slabs(folder, self.polled, self.report, memory_fd)
        self.client = Descriptors(folder)
        self.pool = ThreadPoolExecutor(8)

    def report(self, _level: str, text: str) -> None:
        self.reports.append(text)

    def fetch(self, slab: int, *, write: bool = False) -> int:
        return self.polled.result_of(self.pool.submit(self.client.fetch, slab, write=write))

    @contextmanager
    def fetched(self, slab: int, *, write: bool = False) -> Iterator[int]:
        descriptor = self.fetch(slab, write=write)
        yield descriptor
        os.close(descriptor)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(os.path.join(self.folder, SOCKET_NAME))
        client.setblocking(False)
        return client

    def close(self) -> None:
        self.client.close()
        self.slabs.end()
        self.pool.shutdown()
        self.polled.close()


@pytest.fixture(params=["memfds", "huge pages"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="zt-") as folder, nothing_left_open():
        made = Bench(folder, huge_folder() if request.param == "huge pages" else None)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- slabs -----------------------------------------------------------------------------------------
def test_what_a_writer_writes_is_read_by_the_descriptor_of_a_reader(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.fetched(7, write=True) as writer, bench.fetched(7) as reader:
        assert os.fstat(reader).st_size == SLAB_BYTES
        os.pwrite(writer, b"hello", PAGE_BYTES)
        assert os.pread(reader, 5, PAGE_BYTES) == b"hello"
        with mmap.mmap(reader, SLAB_BYTES, prot=mmap.PROT_READ) as mapped:
            assert mapped[PAGE_BYTES : PAGE_BYTES + 5] == b"hello"


def test_nothing_can_be_written_by_the_descriptor_of_a_reader(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.fetched(7) as reader:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(reader, b"x", 0)
        with pytest.raises(PermissionError):
            mmap.mmap(reader, SLAB_BYTES)
        with pytest.raises(OSError, match="Invalid argument"):
            os.ftruncate(reader, 0)


def test_fetched_descriptors_are_not_inherited_by_what_a_process_starts(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.fetched(7, write=True) as writer, bench.fetched(7) as reader:
        assert not os.get_inheritable(writer)
        assert not os.get_inheritable(reader)


def test_a_slab_takes_no_memory_until_it_is_written_and_punching_gives_it_back(
    bench: Bench,
) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.fetched(7, write=True) as writer:
        assert os.fstat(writer).st_blocks == 0
        os.pwrite(writer, b"x" * SLAB_BYTES, 0)
        assert os.fstat(writer).st_blocks * 512 == SLAB_BYTES
        bench.slabs.punch(7, 16 * PAGE_BYTES, 32 * PAGE_BYTES)
        assert os.fstat(writer).st_blocks * 512 == SLAB_BYTES - 32 * PAGE_BYTES
        assert os.fstat(writer).st_size == SLAB_BYTES
        assert os.pread(writer, PAGE_BYTES, 15 * PAGE_BYTES) == b"x" * PAGE_BYTES
        assert os.pread(writer, 32 * PAGE_BYTES, 16 * PAGE_BYTES) == bytes(32 * PAGE_BYTES)
        assert os.pread(writer, PAGE_BYTES, 48 * PAGE_BYTES) == b"x" * PAGE_BYTES


def test_a_closed_slab_is_unknown_and_what_others_have_of_it_stays(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.fetched(7, write=True) as writer:
        os.pwrite(writer, b"stays", 0)
        bench.slabs.close(7)
        with pytest.raises(ObjectLostError, match="slab 7"):
            bench.fetch(7)
        assert os.pread(writer, 5, 0) == b"stays"


def test_a_copy_of_a_slab_outlives_it(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    copy = bench.slabs.copy_of(7)
    bench.slabs.close(7)
    assert os.fstat(copy).st_size == SLAB_BYTES
    os.close(copy)


def test_a_slab_that_cannot_be_made_is_reported_and_nobody_gets_it(bench: Bench) -> None:
    with no_descriptor_left():
        bench.slabs.create(7, SLAB_BYTES)
    assert ["slab 7 cannot be made" in text for text in bench.reports] == [True]
    with pytest.raises(OSError, match="slab 7"):
        bench.fetch(7)
    with pytest.raises(OSError, match="slab 7"):
        bench.slabs.copy_of(7)
    bench.slabs.punch(7, 0, PAGE_BYTES)
    bench.slabs.close(7)
    with pytest.raises(ObjectLostError):
        bench.fetch(7)


def test_a_slab_that_cannot_have_its_size_is_reported_and_closed(bench: Bench) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE_BYTES, hard))
    try:
        bench.slabs.create(7, SLAB_BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ["slab 7 of 1048576 bytes" in text for text in bench.reports] == [True]
    assert not any("zgen-slab" in what for what in open_fds().values())
    with pytest.raises(OSError, match="slab 7"):
        bench.fetch(7, write=True)


# -- clients ---------------------------------------------------------------------------------------
def test_an_unknown_slab_is_an_error_and_the_next_one_is_given(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with pytest.raises(ObjectLostError, match="slab 8"):
        bench.fetch(8, write=True)
    with bench.fetched(7) as reader:
        assert os.fstat(reader).st_size == SLAB_BYTES
    assert len(bench.polled.readable) == 3, "one connection is kept: wake-up, listener, client"


def test_threads_that_fetch_at_once_get_each_their_own_slab(bench: Bench) -> None:
    sizes = {slab: (slab + 1) * PAGE_BYTES for slab in range(8)}
    for slab, size_bytes in sizes.items():
        bench.slabs.create(slab, size_bytes)

    def fetch_many(slab: int) -> list[int]:
        found = []
        for turn in range(50):
            descriptor = bench.client.fetch(slab, write=bool(turn % 2))
            found.append(os.fstat(descriptor).st_size)
            os.close(descriptor)
        return found

    futures = {slab: bench.pool.submit(fetch_many, slab) for slab in sizes}
    for slab, future in futures.items():
        assert bench.polled.result_of(future) == [sizes[slab]] * 50


def test_answers_are_a_status_with_a_descriptor_only_if_there_is_one(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.connect() as client:
        for slab, status, count in ((7, GIVEN, 1), (8, UNKNOWN, 0)):
            client.send(REQUEST.pack(slab, 0))
            bench.polled.settle()
            told, descriptors, _, _ = socket.recv_fds(client, 16, 16)
            assert (told, len(descriptors)) == (status, count)
            for descriptor in descriptors:
                os.close(descriptor)


@pytest.mark.parametrize(
    "packet",
    [b"", b"x", REQUEST.pack(7, 0)[:-1], REQUEST.pack(7, 0) + b"x", REQUEST.pack(7, 2), bytes(999)],
    ids=repr,
)
def test_what_is_no_request_ends_that_connection_and_no_other(bench: Bench, packet: bytes) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.connect() as wild, bench.fetched(7):
        wild.send(packet)
        bench.polled.settle()
        assert wild.recv(1) == b""
        with bench.fetched(7) as reader:
            assert os.fstat(reader).st_size == SLAB_BYTES


def test_clients_that_vanish_leave_nothing(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    before, watched = open_fds(), list(bench.polled.readable)
    for requests in (0, 1, 3):
        for settled in (False, True):
            client = bench.connect()
            if settled:
                bench.polled.settle()
            for _ in range(requests):
                client.send(REQUEST.pack(7, 0))
            client.close()
    bench.polled.settle()
    assert open_fds() == before
    assert list(bench.polled.readable) == watched
    with bench.fetched(7):
        pass


def test_a_client_that_takes_no_answers_is_hung_up_on(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    before = open_fds()

    def flood(client: socket.socket) -> None:
        while True:
            with suppress(BlockingIOError):
                client.send(REQUEST.pack(7, 1))
            bench.polled.settle()

    with bench.connect() as client, pytest.raises(ConnectionError):
        flood(client)
    assert open_fds() == before
    with bench.fetched(7):
        pass


def test_descriptors_that_a_client_sends_are_not_kept(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.connect() as client:
        bench.polled.settle()
        before = open_fds()
        socket.send_fds(client, [REQUEST.pack(8, 0)], [0, 1, 2])
        bench.polled.settle()
        assert client.recv(16) == UNKNOWN
        assert open_fds() == before


def test_a_node_without_descriptors_says_so_to_who_reads(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.connect() as client:
        bench.polled.settle()
        client.send(REQUEST.pack(7, 0))
        with no_descriptor_left():
            bench.polled.settle()
        assert client.recv(16) == FAILED
    assert ["slab 7 cannot be opened" in text for text in bench.reports] == [True]


def test_who_connects_while_no_descriptor_is_left_is_served_when_one_is(bench: Bench) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    bench.slabs.create(8, SLAB_BYTES)
    with bench.connect() as client:
        client.send(REQUEST.pack(9, 0))
        with no_descriptor_left():
            bench.polled.settle()  # ends, so the listener is not looked at again and again
            assert ["no process can be given" in text for text in bench.reports] == [True]
            bench.slabs.close(8)
            bench.polled.settle()
            assert client.recv(16) == UNKNOWN


def test_who_waits_for_a_descriptor_is_served_when_another_client_leaves(bench: Bench) -> None:
    with bench.connect() as first:
        bench.polled.settle()
        with bench.connect() as client:
            client.send(REQUEST.pack(9, 0))
            with no_descriptor_left():
                bench.polled.settle()
                first.close()
                bench.polled.settle()
                assert client.recv(16) == UNKNOWN


def test_the_end_of_the_node_is_seen_by_who_is_connected_and_by_who_connects(
    bench: Bench,
) -> None:
    bench.slabs.create(7, SLAB_BYTES)
    with bench.fetched(7) as reader:
        bench.slabs.end()
        with pytest.raises(NodeDiedError):
            bench.client.fetch(7, write=False)
        with pytest.raises(NodeDiedError):
            bench.client.fetch(7, write=False)
        late = Descriptors(bench.folder)
        with pytest.raises(NodeDiedError, match="refused"):
            late.fetch(7, write=False)
        assert os.pread(reader, 1, 0) == b"\0"
        bench.slabs.end()


def test_the_socket_lies_in_the_session_folder(bench: Bench) -> None:
    assert (Path(bench.folder) / SOCKET_NAME).is_socket()


def test_a_folder_that_is_gone_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    polled = Polled()
    with nothing_left_open(), pytest.raises(FileNotFoundError):
        Slabs(str(tmp_path / "gone"), polled, lambda _level, _text: None)
    polled.close()


@pytest.mark.parametrize(("is_shared", "taken_bytes"), [(True, PAGE_BYTES), (False, 2 << 20)])
def test_huge_pages_are_for_slabs_that_nobody_shares(*, is_shared: bool, taken_bytes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="zt-") as folder, nothing_left_open():
        bench = Bench(folder, huge_folder())
        bench.slabs.create(7, 2 << 20, is_shared=is_shared)
        with bench.fetched(7, write=True) as descriptor:
            with mmap.mmap(descriptor, 2 << 20) as mapped:
                mapped.madvise(mmap.MADV_HUGEPAGE)
                mapped[0] = 7
            assert os.fstat(descriptor).st_blocks * 512 == taken_bytes
        bench.close()
