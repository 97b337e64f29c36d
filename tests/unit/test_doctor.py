"""What `zgen doctor` says of a machine, good or bad."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zgen import cli, doctor
from zgen.doctor import FAILURE, OK, WARNING, Finding
from zgen.exceptions import HandshakeError, VersionMismatchError, WrongKeyError
from zgen.io import folders, keys
from zgen.io.release import PYTHON
from zgen.limits import DESCRIPTORS_COUNT_MAX


def only(check: Callable[[], Iterator[Finding]], name: str) -> Finding:
    (found,) = [each for each in check() if each.check == name]
    assert bool(found.todo) is (found.verdict != OK)
    return found


def raises(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("hard", "verdict"),
    [(1024, WARNING), (DESCRIPTORS_COUNT_MAX, OK), (resource.RLIM_INFINITY, OK)],
)
def test_few_descriptors_are_told(monkeypatch: pytest.MonkeyPatch, hard: int, verdict: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, hard))
    assert only(doctor._descriptors, "descriptors").verdict == verdict


def test_versions_are_told_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.verdict for each in doctor._versions()] == [OK, OK, OK]
    monkeypatch.setattr(doctor, "_PYTHON_MIN", (99, 0))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(doctor, "transport_facts", lambda: ("1", "2", False))
    assert [each.verdict for each in doctor._versions()] == [FAILURE, FAILURE, WARNING]


def test_memory_that_does_not_suffice_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_meminfo", lambda: (10 << 30, 9 << 30))
    assert only(doctor._memory, "memory").verdict == OK
    monkeypatch.setattr(doctor, "_meminfo", lambda: (10 << 30, 1 << 30))
    assert only(doctor._memory, "memory").verdict == WARNING
    monkeypatch.setattr(os, "memfd_create", raises(OSError(1, "not permitted")))
    assert only(doctor._memory, "memory").verdict == FAILURE


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert only(doctor._disk, "disk").verdict == WARNING


def test_a_session_folder_that_others_may_enter_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "zgen"
    monkeypatch.setattr(folders, "runtime_folder", lambda: str(root))
    assert "does not exist yet" in only(doctor._session_folder, "session folder").found
    root.mkdir(mode=0o700)
    assert only(doctor._session_folder, "session folder").verdict == OK
    root.chmod(0o755)
    assert only(doctor._session_folder, "session folder").verdict == FAILURE
    monkeypatch.setattr(folders, "runtime_folder", lambda: str(tmp_path / "no" / "zgen"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert only(doctor._session_folder, "session folder").verdict == FAILURE


def test_what_dead_nodes_left_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "zgen"
    monkeypatch.setattr(folders, "runtime_folder", lambda: str(root))
    monkeypatch.setattr(folders, "strays", dict)
    assert [each.verdict for each in doctor._left_over()] == [OK, OK]
    (root / "node-12345678").mkdir(parents=True)
    monkeypatch.setattr(folders, "strays", lambda: {77: "gone"})
    assert [each.verdict for each in doctor._left_over()] == [WARNING, WARNING]


def test_a_process_of_a_node_that_is_gone_is_found(tmp_path: Path) -> None:
    pid = os.posix_spawn(
        "/bin/sleep", ["sleep", "60"], {**os.environ, folders.MARK: str(tmp_path / "node-1")}
    )
    try:
        assert folders.strays()[pid] == str(tmp_path / "node-1")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_clocks_that_are_wrong_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(doctor._clocks, "clock").verdict == OK
    monkeypatch.setattr(doctor, "wall_s", lambda: 0.0)
    assert only(doctor._clocks, "clock").verdict == WARNING
    monkeypatch.setattr(doctor, "now_ns", iter((2, 1)).__next__)
    assert only(doctor._clocks, "clock").verdict == FAILURE


def test_a_key_that_others_may_read_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keys.generate().write(str(path))
    assert only(lambda: doctor._key(str(path)), "key").verdict == OK
    path.chmod(stat.S_IRUSR | stat.S_IROTH)
    assert only(lambda: doctor._key(str(path)), "key").verdict == FAILURE
    found = only(lambda: doctor._reach("tcp://127.0.0.1:1", str(path)), "reach")
    assert (found.verdict, found.todo) == (FAILURE, "see the key")


@pytest.mark.parametrize(
    ("error", "todo"),
    [
        (WrongKeyError("tcp://there", "other keys"), "--key FILE"),
        (VersionMismatchError("tcp://there", "zgen 9 there"), "same zgen"),
        (HandshakeError("tcp://there", "nothing listens there"), "firewall"),
        (ValueError("no address"), "tcp://HOST:PORT"),
    ],
)
def test_why_an_address_cannot_be_reached_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, todo: str
) -> None:
    monkeypatch.setattr(doctor, "who_is_at", raises(error))
    found = only(lambda: doctor._reach("tcp://there:1", None), "reach")
    assert found.verdict == FAILURE
    assert str(error) in found.found
    assert todo in found.todo


def test_a_node_of_another_release_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Facts:
        release, python = "9.9", PYTHON

        class address:
            peer = b"p" * 16

    monkeypatch.setattr(doctor, "started_nodes", lambda **_: [Facts])
    found = only(doctor._nodes, "nodes")
    assert (found.verdict, "runs zgen 9.9" in found.found) == (WARNING, True)


def test_the_command_tells_all_and_fails_if_anything_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = Finding("this", OK, "good"), Finding("that", FAILURE, "bad", "mend it")
    monkeypatch.setattr(doctor, "examine", lambda *_: [good])
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["ok", "this", "good"]
    monkeypatch.setattr(doctor, "examine", lambda *_: [good, bad])
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "that: mend it"
    assert cli.main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["checks"][1]["todo"] == "mend it"


def test_all_checks_can_be_made_here(own_folder: None) -> None:
    names = [each.check for each in doctor.examine("tcp://127.0.0.1:1")]
    assert (names[0], names[-1]) == ("python", "reach")


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Look at no node of anybody else."""
    monkeypatch.setattr(folders, "runtime_folder", lambda: str(tmp_path / "zgen"))
