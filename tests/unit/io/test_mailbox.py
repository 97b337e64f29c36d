"""The inbox of a process, as far as it can be had without another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zgen.exceptions import NodeStartError
from zgen.ids import ID_BYTES, PeerId
from zgen.io.inquiry import query_node
from zgen.io.mailbox import Mailbox
from zgen.wire.session import Address


def test_where_the_folder_of_a_node_is_gone_nobody_can_listen_and_the_error_says_so(
    tmp_path: Path,
) -> None:
    with pytest.raises(NodeStartError, match=r"cannot listen at ipc:.*No such file"):
        Mailbox(f"ipc://{tmp_path}/gone/x.sock")


def test_to_ask_a_node_that_is_gone_is_no_error_of_zeromq(tmp_path: Path) -> None:
    peer = PeerId(os.urandom(ID_BYTES))
    node = Address(peer, 1, f"ipc://{tmp_path}/gone/x.sock", peer)
    with pytest.raises(NodeStartError):
        query_node(node, str(tmp_path / "gone"), 1.0)
