"""What can be said of starting nodes without starting one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zgen.exceptions import NodeStartError
from zgen.io import folders, spawn
from zgen.limits import STORE_BYTES_MIN


@pytest.mark.parametrize("amounts", [{"gpu": -1.0}, {"gpu": float("nan")}, {"gpu": float("inf")}])
def test_amounts_that_are_none_are_refused(amounts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no amount"):
        spawn.start_node(1, amounts)


def test_cpus_are_said_in_one_place() -> None:
    with pytest.raises(ValueError, match="num_cpus"):
        spawn.start_node(1, {"CPU": 2.0})


@pytest.mark.parametrize("size_bytes", [-1, 0, STORE_BYTES_MIN - 1, 1 << 62])
def test_a_store_of_no_sensible_size_is_refused(size_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"object_store_memory .* got {size_bytes}"):
        spawn.start_node(1, object_store_memory=size_bytes)


def test_a_folder_to_spill_to_that_is_missing_is_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(ValueError, match=f"object_spilling_directory='{missing}': .*No such file"):
        spawn.start_node(1, object_spilling_directory=missing)


def test_a_folder_to_spill_to_that_cannot_be_written_to_is_refused() -> None:
    with pytest.raises(ValueError, match="object_spilling_directory='/sys'"):
        spawn.start_node(1, object_spilling_directory="/sys")


def _publish(root: Path, peer: bytes, embedded: bool) -> int:
    folder = folders.node_folder(str(root), peer)
    lock = folders.make_node_folder(folder)
    facts = {
        "peer": peer.hex(),
        "incarnation": 1,
        "endpoint": folders.endpoint_of(folder, peer),
        "supervisor": 1,
        "daemon": 1,
        "embedded": embedded,
        "release": "0",
        "python": "3",
    }
    folders.write_node_file(folder, facts)
    return lock


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "SOCKET_PATH_BYTES_MAX", 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "zgen"


def test_there_may_be_no_node_to_find(root: Path) -> None:
    with pytest.raises(NodeStartError, match="zgen node start"):
        spawn.find_node()


def test_embedded_nodes_are_not_found(root: Path) -> None:
    lock = _publish(root, b"a" * 16, embedded=True)
    with pytest.raises(NodeStartError, match="zgen node start"):
        spawn.find_node()
    os.close(lock)


def test_the_only_started_node_is_found(root: Path) -> None:
    locks = [_publish(root, b"a" * 16, True), _publish(root, b"b" * 16, False)]
    found = spawn.find_node()
    assert found.address.peer == b"b" * 16
    assert found.folder == folders.node_folder(str(root), b"b" * 16)
    for lock in locks:
        os.close(lock)


def test_of_several_started_nodes_one_must_be_named(root: Path) -> None:
    locks = [_publish(root, peer, False) for peer in (b"a" * 16, b"b" * 16)]
    with pytest.raises(NodeStartError, match="2 nodes") as error:
        spawn.find_node()
    folder = folders.node_folder(str(root), b"b" * 16)
    assert folders.endpoint_of(folder, b"b" * 16) in str(error.value)
    assert spawn.find_node(folder).address.peer == b"b" * 16
    assert spawn.find_node(folders.endpoint_of(folder, b"b" * 16)).folder == folder
    for lock in locks:
        os.close(lock)
