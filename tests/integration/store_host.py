"""The machine, sockets and shared memory of a node, without a supervisor and workers.

``python -m tests.integration.store_host FOLDER PEER STORE_BYTES`` prints its state as hex, takes
those of other nodes as lines on its standard input, and ends with that.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from functools import partial

from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.core.identity import Identity
from zgen.core.node_events import MemberSaid
from zgen.core.store_effects import (
    CloseCopy,
    CloseSlab,
    CreateSlab,
    ForgetLine,
    OpenCopy,
    PopulateSlab,
    PunchRegion,
    SendChunks,
)
from zgen.ids import PeerId
from zgen.io.exposure import Exposure
from zgen.io.folders import endpoint_of
from zgen.io.keys import ClusterKey
from zgen.io.loop import Loop
from zgen.io.mailbox import Mailbox
from zgen.io.release import PYTHON, RELEASE
from zgen.limits import KEY_BYTES
from zgen.wire.codec import encode
from zgen.wire.session import Address
from zgen_node.core.node import NodeMachine
from zgen_node.io.slabs import Slabs
from zgen_node.io.transfer import Transfer

KEY = bytes(range(KEY_BYTES))


class StoreHost:
    """The parts of a node that copying needs."""

    def __init__(self, folder: str, peer: bytes, store_bytes: int) -> None:
        exposure = Exposure("127.0.0.1", "*", "127.0.0.1", peer[:8], ClusterKey(KEY))
        mailbox = Mailbox(endpoint_of(folder, peer), exposure)
        address = Address(PeerId(peer), 1, mailbox.endpoint, PeerId(peer))
        address = exposure.told(address, mailbox.tcp_port)
        self.machine = NodeMachine(Identity(address, PYTHON, RELEASE), (), False, store_bytes)
        self.loop = Loop(self.machine, mailbox, self._perform, self._perform_inside)
        self.slabs = Slabs(folder, self.loop, partial(print, file=sys.stderr))
        self.found: deque[Event] = deque()
        self.found_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.loop.watch(self.found_fd, self._step_found)
        self.loop.watch(0, self._on_members)
        self.transfer = Transfer(mailbox.locks, self.loop, self._find, self.slabs.copy_of)
        mailbox.take_parts(self.transfer.take)
        self.over = False
        print(encode(self.machine.cluster.state())[0].hex(), flush=True)

    def run(self) -> None:
        self.loop.run(lambda: self.over)
        self.transfer.end()
        self.slabs.end()
        self.loop.close()

    def _on_members(self) -> None:
        line = os.read(0, 1 << 16)
        self.over = not line
        for said in line.split():
            self.loop.post(MemberSaid(bytes.fromhex(said.decode())))

    def _step_found(self) -> None:
        os.eventfd_read(self.found_fd)
        for _ in range(len(self.found)):
            self.loop.post(self.found.popleft())

    def _find(self, event: Event) -> None:
        self.found.append(event)
        os.eventfd_write(self.found_fd, 1)

    def _perform_inside(self, effect: Effect) -> bool:
        match effect:
            case CreateSlab(slab, size_bytes, is_shared):
                self.slabs.create(slab, size_bytes, is_shared=is_shared)
            case PunchRegion(slab, offset, size_bytes):
                self.slabs.punch(slab, offset, size_bytes)
            case CloseSlab(slab):
                self.slabs.close(slab)
            case SendChunks() | OpenCopy() | CloseCopy() | ForgetLine():
                self.transfer.order(effect)
            case PopulateSlab():
                pass
            case _:
                return False
        return True

    def _perform(self, effect: Effect) -> None:
        """Leave jobs and processes alone: there are no workers."""


if __name__ == "__main__":
    StoreHost(sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3])).run()
