"""Session folders: where they lie, who owns them, which of them are dead."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from zgen.exceptions import NodeStartError
from zgen.io import folders


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    base = tmp_path / "r"
    base.mkdir(mode=0o700)
    # The real one is short; here the limit is on the way of everything else.
    monkeypatch.setattr(folders, "SOCKET_PATH_BYTES_MAX", 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    return base / "zgen"


def test_sockets_lie_in_their_nodes_folder_under_the_names_of_their_processes() -> None:
    folder = folders.node_folder("/run/user/7/zgen", b"\x01\x02\x03\x04" + bytes(12))
    assert folder == "/run/user/7/zgen/node-01020304"
    endpoint = folders.endpoint_of(folder, b"\xaa\xbb\xcc\xdd" + bytes(12))
    assert endpoint == "ipc:///run/user/7/zgen/node-01020304/aabbccdd.sock"


def test_a_runtime_folder_that_is_too_long_for_sockets_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert folders.runtime_folder() == f"/tmp/zgen-{os.getuid()}"


def test_every_endpoint_fits_where_the_preferred_folder_just_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folders, "_is_mine", lambda path: True)
    for length in range(40, 100):
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "x" * length)
        root = folders.runtime_folder()
        endpoint = folders.endpoint_of(folders.node_folder(root, bytes(16)), bytes(16))
        assert len(endpoint) < 107


def test_a_runtime_folder_of_somebody_else_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    assert str(tmp_path) not in folders.runtime_folder()


def test_the_folder_is_made_for_this_user_alone(root: Path) -> None:
    folder = folders.node_folder(str(root), b"n" * 16)
    lock = folders.make_node_folder(folder)
    try:
        assert os.stat(root).st_mode & 0o777 == 0o700
        assert os.stat(folder).st_mode & 0o777 == 0o700
        assert not os.get_inheritable(lock)
    finally:
        os.close(lock)


def test_a_parent_that_others_may_enter_is_refused(root: Path) -> None:
    root.mkdir()
    root.chmod(0o755)
    with pytest.raises(NodeStartError, match="mode 755"):
        folders.make_node_folder(folders.node_folder(str(root), b"n" * 16))


def test_a_parent_that_is_a_link_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NodeStartError, match="not a folder"):
        folders.make_node_folder(folders.node_folder(str(root), b"n" * 16))


def test_only_ready_nodes_whose_lock_is_held_live(root: Path) -> None:
    folder = folders.node_folder(str(root), b"n" * 16)
    lock = folders.make_node_folder(folder)
    assert folders.living_nodes() == []
    folders.write_node_file(folder, {"peer": "aa"})
    assert folders.living_nodes() == [{"peer": "aa", "folder": folder}]
    assert folders.sweep() == []
    os.close(lock)
    assert folders.living_nodes() == []


def test_sweeping_removes_the_folders_of_the_dead_and_keeps_those_of_the_living(
    root: Path,
) -> None:
    living = folders.node_folder(str(root), b"live" * 4)
    dead = folders.node_folder(str(root), b"dead" * 4)
    lock = folders.make_node_folder(living)
    os.close(folders.make_node_folder(dead))
    (Path(dead) / "logs").mkdir()
    (Path(dead) / "logs" / "old").write_text("")
    assert folders.sweep() == [dead]
    assert not os.path.exists(dead)
    assert os.path.exists(living)
    os.close(lock)


def test_a_folder_without_a_lock_is_dead(root: Path) -> None:
    root.mkdir(mode=0o700)
    folder = root / "node-00000000"
    folder.mkdir()
    assert folders.sweep() == [str(folder)]


def test_a_half_written_node_file_is_nobody(root: Path) -> None:
    folder = folders.node_folder(str(root), b"n" * 16)
    lock = folders.make_node_folder(folder)
    (Path(folder) / folders.NODE_FILE).write_text(json.dumps({"peer": "aa"})[:-3])
    assert folders.living_nodes() == []
    os.close(lock)


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    folders.remove_folder(str(tmp_path / "gone"))
    folders.unlink_quietly(str(tmp_path / "gone"))
