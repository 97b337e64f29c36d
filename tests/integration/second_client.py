"""A process of a zgen cluster by docs/protocol.md, that imports nothing of zgen.

What a name here means, and why, is said in that document.
"""

from __future__ import annotations

import array
import hashlib
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack
import zmq
from zmq.utils import z85

HEADER: Final = struct.Struct("!2sBBQQ")
BODY, UNSEQUENCED, PROBE = 1, 2, 4
STORED: Final = struct.Struct("!16sQQQQQ?I")
RESEND_S: Final = 0.25

HELLO, GOODBYE = 0x01, 0x02
REGISTER_JOB, JOB_REGISTERED, REQUEST_LEASE, LEASE_GRANTED = 0x10, 0x11, 0x12, 0x13
RETURN_LEASE, PROCESS_DOWN, END_JOB, QUERY_NODE, NODE_REPORT = 0x16, 0x1A, 0x1B, 0x1D, 0x1E
DEFINE_FUNCTION, PUSH_TASKS, TASKS_DONE = 0x20, 0x21, 0x22
REPORT_ITEMS, REPORT_END, CLOSE_STREAM, CONSUMED = 0x30, 0x31, 0x32, 0x33
RELEASE_REGIONS, LIST_STATE, STATE_ROWS, STATE_TOLD = 0x43, 0x70, 0x72, 0x73
HOST_ACTOR, END_ACTOR = 0x60, 0x66
PING, PING_ACK, JOIN_REQUEST, JOIN_ANSWER = 0x80, 0x81, 0x85, 0x86


def derived(digest_bytes: int, *parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=digest_bytes).digest()


def curve_pair(key_file: str) -> tuple[bytes, bytes]:
    """Return the public and the secret key of a cluster, as Z85."""
    with open(key_file, "rb") as file:
        secret = bytes.fromhex(file.readline().strip().decode("ascii"))
    seed = hashlib.blake2b(key=secret, person=b"zgen CURVE v1", digest_size=32).digest()
    pair = z85.encode(seed)
    return zmq.curve_public(pair), pair


@dataclass
class Address:
    """Where a process is reached, with its fields in the order of the wire."""

    peer: bytes
    incarnation: int
    endpoint: str
    node: bytes = bytes(16)
    tcp: str = ""
    machine: bytes = b""

    def fields(self) -> list[Any]:
        return [self.peer, self.incarnation, self.endpoint, self.node, self.tcp, self.machine]


@dataclass
class Line:
    """What is known of the talk with one peer."""

    address: Address
    dealer: zmq.Socket[bytes]
    seq: int = 0
    #: Number -> frames that are not acknowledged, and when they left.
    kept: dict[int, list[bytes]] = field(default_factory=dict)
    sent_s: float = 0.0
    arrived: int = 0
    early: dict[int, list[bytes]] = field(default_factory=dict)
    repeated: int = 0


class Client:
    """One process: an inbox, a line to each peer, and what was heard."""

    def __init__(
        self,
        folder: str,
        release: str,
        python: str,
        pair: tuple[bytes, bytes] | None = None,
        incarnation: int = 1,
        peer: bytes | None = None,
    ) -> None:
        self.peer = peer or os.urandom(16)
        self.release, self.python, self.pair = release, python, pair
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.poller = zmq.Poller()
        self.doorman: zmq.Socket[bytes] | None = None
        self.inbox = self._socket(zmq.ROUTER)
        self.address = Address(self.peer, incarnation, "")
        if pair is None:
            self.address.endpoint = f"ipc://{folder}/{self.peer[:4].hex()}.sock"
            self.inbox.bind(self.address.endpoint)
        else:
            self._guard(pair)
            port = self.inbox.bind_to_random_port("tcp://127.0.0.1")
            self.address.tcp = f"tcp://127.0.0.1:{port}"
            self.address.machine = os.urandom(8)
        self.poller.register(self.inbox, zmq.POLLIN)
        self.outboxes: list[zmq.Socket[bytes]] = []
        self.lines: dict[bytes, Line] = {}
        self.named: dict[bytes, bytes] = {}
        self.hellos: list[list[Any]] = []
        self.probes: list[list[Any]] = []
        self.heard: list[tuple[bytes, list[Any], list[bytes]]] = []
        self.acks = True

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        made = self.context.socket(kind)
        made.setsockopt(zmq.LINGER, 0)
        return made

    def _guard(self, pair: tuple[bytes, bytes]) -> None:
        """Let only those in who have the same pair."""
        self.doorman = self._socket(zmq.REP)
        self.doorman.bind("inproc://zeromq.zap.01")
        self.poller.register(self.doorman, zmq.POLLIN)
        self.inbox.setsockopt(zmq.CURVE_SERVER, 1)
        self.inbox.setsockopt(zmq.CURVE_PUBLICKEY, pair[0])
        self.inbox.setsockopt(zmq.CURVE_SECRETKEY, pair[1])
        self.inbox.setsockopt(zmq.ZAP_DOMAIN, b"zgen")
        self.inbox.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def outbox(self, where: str) -> zmq.Socket[bytes]:
        """Dial, without a word."""
        dealer = self._socket(zmq.DEALER)
        if where.startswith("tcp://") and self.pair is not None:
            dealer.setsockopt(zmq.CURVE_SERVERKEY, self.pair[0])
            dealer.setsockopt(zmq.CURVE_PUBLICKEY, self.pair[0])
            dealer.setsockopt(zmq.CURVE_SECRETKEY, self.pair[1])
        dealer.connect(where)
        self.outboxes.append(dealer)
        return dealer

    def reach(self, to: Address) -> str:
        far = to.tcp and to.machine != self.address.machine
        return to.tcp if far and self.pair is not None else to.endpoint

    def hello(self, to: Address, epoch: int = 1, **other: Any) -> list[bytes]:
        said = {"release": self.release, "incarnation": self.address.incarnation, **other}
        me = self.address.fields()
        me[1] = said["incarnation"]
        body = [HELLO, me, to.peer, to.incarnation, epoch, 1, 1, self.python, said["release"]]
        return [HEADER.pack(b"zg", 1, BODY | UNSEQUENCED, 0, 0), msgpack.packb(body)]

    def dial(self, to: Address) -> Line:
        line = self.lines.get(to.peer)
        if line is None:
            line = self.lines[to.peer] = Line(to, self.outbox(self.reach(to)))
            line.dealer.send_multipart(self.hello(to))
        return line

    def say(self, to: bytes, kind: int, *fields: Any, buffers: tuple[bytes, ...] = ()) -> None:
        self.say_frames(to, [msgpack.packb([kind, *fields]), *buffers])

    def say_frames(self, to: bytes, frames: list[bytes]) -> None:
        line = self.lines[to]
        line.seq += 1
        line.kept[line.seq] = frames
        line.sent_s = time.monotonic()
        line.dealer.send_multipart([HEADER.pack(b"zg", 1, BODY, line.seq, line.arrived), *frames])

    def probe(self, where: str, kind: int, *fields: Any) -> None:
        dealer = self.outbox(where)
        dealer.send_multipart(
            [HEADER.pack(b"zg", 1, BODY | PROBE, 0, 0), msgpack.packb([kind, *fields])]
        )

    def hear(self, kind: int, within_s: float = 10.0) -> tuple[list[Any], list[bytes]]:
        """Return the fields and buffers of the next message of a kind."""
        found: list[tuple[list[Any], list[bytes]]] = []

        def look() -> bool:
            for each in self.heard:
                if each[1][0] == kind:
                    self.heard.remove(each)
                    found.append((each[1][1:], each[2]))
                    return True
            return False

        self.run(look, within_s)
        return found[0]

    def run(self, until: Callable[[], bool], within_s: float = 10.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not until():
            assert time.monotonic() < deadline_s, f"nothing came; heard {self.heard}"
            self.turn(0.05)

    def turn(self, seconds: float) -> None:
        """Take in what came within so long, and send again what nobody acknowledged."""
        for ready, _ in self.poller.poll(round(seconds * 1000)):
            if ready is self.doorman:
                self._answer_door()
            else:
                frames = self.inbox.recv_multipart()
                self._take_in(frames[0], frames[1:])
        for line in self.lines.values():
            if line.kept and time.monotonic() - line.sent_s > RESEND_S:
                seq = min(line.kept)
                line.sent_s = time.monotonic()
                line.dealer.send_multipart(self.hello(line.address))
                header = HEADER.pack(b"zg", 1, BODY, seq, line.arrived)
                line.dealer.send_multipart([header, *line.kept[seq]])

    def _answer_door(self) -> None:
        assert self.doorman is not None
        assert self.pair is not None
        version, number, domain, _, _, mechanism, *shown = self.doorman.recv_multipart()
        member = [z85.decode(self.pair[0])]
        allowed = (domain, mechanism, shown) == (b"zgen", b"CURVE", member)
        verdict = [b"200", b"OK"] if allowed else [b"400", b"no member of this cluster"]
        self.doorman.send_multipart([version, number, *verdict, b"", b""])

    def _take_in(self, connection: bytes, frames: list[bytes]) -> None:
        magic, version, flags, seq, ack = HEADER.unpack(frames[0])
        assert (magic, version) == (b"zg", 1)
        if flags & PROBE:
            self.probes.append(msgpack.unpackb(frames[1]))
            return
        if flags & UNSEQUENCED:
            said = msgpack.unpackb(frames[1])
            if said[0] == HELLO:
                self.hellos.append(said[1:])
                self.named[connection] = said[1][0]
                self.dial(Address(*said[1]))
            elif said[0] == GOODBYE and self.named.get(connection) == said[1]:
                self.forget(said[1])
            return
        line = self.lines.get(self.named[connection])
        if line is None:
            return
        for number in [each for each in line.kept if each <= ack]:
            del line.kept[number]
        if not flags & BODY:
            return
        line.repeated += seq <= line.arrived
        if seq > line.arrived:
            line.early[seq] = frames[1:]
        while line.arrived + 1 in line.early:
            line.arrived += 1
            body, *buffers = line.early.pop(line.arrived)
            self.heard.append((line.address.peer, msgpack.unpackb(body), buffers))
        if self.acks:
            self.ack(line)

    def ack(self, line: Line) -> None:
        line.dealer.send_multipart([HEADER.pack(b"zg", 1, 0, 0, line.arrived)])

    def forget(self, peer: bytes) -> None:
        """A peer has left, or is dead."""
        self.lines.pop(peer, None)

    def leave(self) -> None:
        """Say goodbye on every line, when everything was acknowledged."""
        self.run(lambda: not any(line.kept for line in self.lines.values()))
        body = msgpack.packb([GOODBYE, self.peer, self.address.incarnation, "done"])
        for line in self.lines.values():
            header = HEADER.pack(b"zg", 1, BODY | UNSEQUENCED, 0, line.arrived)
            line.dealer.send_multipart([header, body])
        self.turn(0.05)

    def end(self) -> None:
        self.context.destroy(linger=200)


def read_stored(folder: str, data: bytes) -> tuple[int, list[bytes]]:
    """Return the number of the region that an entry names, and the parts that lie there."""
    _, region, slab, offset, room, slab_bytes, _, count = STORED.unpack_from(data)
    sizes = struct.unpack_from(f"!{count}Q", data, STORED.size)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as node:
        node.connect(f"{folder}/objects")
        node.send(struct.pack("=QB", slab, 0))
        status, beside, _, _ = node.recvmsg(1, socket.CMSG_LEN(4))
    assert status == b"\0", status
    fd = array.array("i", beside[0][2])[0]
    with mmap.mmap(fd, slab_bytes, mmap.MAP_SHARED, mmap.PROT_READ) as slab_map:
        os.close(fd)
        assert sum(-size // 64 * -64 for size in sizes) <= room
        parts = []
        for size in sizes:
            parts.append(bytes(slab_map[offset : offset + size]))
            offset += -size // 64 * -64
    return region, parts
