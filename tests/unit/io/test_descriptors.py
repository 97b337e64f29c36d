"""The asking side of the socket for descriptors, with answers made by hand."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import pytest

from zgen.exceptions import NodeDiedError, ObjectLostError
from zgen.io.descriptors import FAILED, GIVEN, REQUEST, SOCKET_NAME, UNKNOWN, Descriptors


class Bench:
    """A client, the node's end of the socket, and a thread for the client to wait in."""

    def __init__(self, folder: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(os.path.join(folder, SOCKET_NAME))
        self.listener.listen()
        self.client = Descriptors(folder)
        self.pool = ThreadPoolExecutor(2)

    def close(self) -> None:
        self.client.close()
        self.listener.close()
        self.pool.shutdown()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="zt-") as folder:
        made = Bench(folder)
        yield made
        made.close()


def test_one_connection_serves_all_requests(bench: Bench) -> None:
    first = bench.pool.submit(bench.client.fetch, 3, write=True)
    node, _ = bench.listener.accept()
    with node:
        for number, write in ((3, 1), (4, 0)):
            assert REQUEST.unpack(node.recv(100)) == (number, write)
            socket.send_fds(node, [GIVEN], [node.fileno()])
            os.close(first.result(10))
            first = bench.pool.submit(bench.client.fetch, number + 1, write=False)
    with pytest.raises(NodeDiedError):
        first.result(10)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(UNKNOWN, ObjectLostError), (FAILED, OSError), (GIVEN, OSError)],
    ids=["unknown", "failed", "no descriptor came through"],
)
def test_answers_without_a_descriptor_are_errors_that_name_the_slab(
    bench: Bench, answer: bytes, error: type[Exception]
) -> None:
    asked = bench.pool.submit(bench.client.fetch, 3, write=True)
    node, _ = bench.listener.accept()
    with node:
        node.send(answer)
        with pytest.raises(error, match="slab 3"):
            asked.result(10)


def test_a_node_that_closes_the_connection_is_dead_for_ever(bench: Bench) -> None:
    asked = bench.pool.submit(bench.client.fetch, 3, write=True)
    node, _ = bench.listener.accept()
    node.recv(100)
    node.close()
    with pytest.raises(NodeDiedError, match="it closed the connection"):
        asked.result(10)
    with pytest.raises(NodeDiedError, match="it closed the connection"):
        bench.client.fetch(3, write=True)
    bench.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        bench.listener.accept()


def test_a_folder_without_the_socket_is_a_dead_node_that_is_named() -> None:
    with pytest.raises(NodeDiedError, match=r"node 12345678 died \(.*No such file"):
        Descriptors("/nowhere/node-12345678").fetch(1, write=False)


def test_closing_lets_go_of_who_waits_and_of_who_comes_later(bench: Bench) -> None:
    asked = bench.pool.submit(bench.client.fetch, 3, write=True)
    node, _ = bench.listener.accept()
    with node:
        node.recv(100)
        bench.client.close()
        with pytest.raises(NodeDiedError, match="shut down"):
            asked.result(10)
        assert node.recv(100) == b""
    with pytest.raises(NodeDiedError, match="shut down"):
        bench.client.fetch(3, write=True)


class Alarm(Exception):
    """What a handler of the user raises."""


def test_the_answer_to_an_interrupted_request_is_not_taken_for_that_of_the_next(
    bench: Bench,
) -> None:
    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        raise Alarm

    def interrupt() -> socket.socket:
        node, _ = bench.listener.accept()
        node.recv(100)
        signal.pthread_kill(main, signal.SIGUSR1)
        return node

    def answer_late(old: socket.socket) -> bytes:
        node, _ = bench.listener.accept()
        with node, old:
            request = node.recv(100)
            node.send(UNKNOWN)
        return request

    before = signal.signal(signal.SIGUSR1, on_alarm)
    try:
        main = threading.get_ident()
        interrupted = bench.pool.submit(interrupt)
        with pytest.raises(Alarm):
            bench.client.fetch(3, write=True)
        answered = bench.pool.submit(answer_late, interrupted.result(10))
        with pytest.raises(ObjectLostError, match="slab 4"):
            bench.client.fetch(4, write=False)
        assert REQUEST.unpack(answered.result(10)) == (4, 0)
    finally:
        signal.signal(signal.SIGUSR1, before)
