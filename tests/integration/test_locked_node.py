"""A node that other machines reach: who may join, what harms it not, what it tells nobody."""

from __future__ import annotations

import base64
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zmq
from zmq.utils import z85

import zgen
from tests.integration import malformed
from tests.integration.gates import LATE_S
from tests.integration.listening import LOOPBACK, listening
from tests.integration.strangers import Member, resident_bytes
from tests.integration.watching import marked, wait_until
from zgen import cli
from zgen.exceptions import HandshakeError, NodeStartError, VersionMismatchError, WrongKeyError
from zgen.io import exposure, folders, keys, spawn
from zgen.io.doorbell import who_is_at
from zgen.io.inquiry import query_node
from zgen.io.keys import generate
from zgen.io.security import Lock
from zgen.io.spawn import NodeFacts
from zgen.runtime import process
from zgen.wire.codec import FLAG_BODY, encode, encode_header
from zgen.wire.lease import NodeReport, QueryNode

#: What a mistaken process is told, it is told within this time.
TOLD_WITHIN_S = 3.0


class Guarded:
    """A node in the foreground, its key and what it says."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.key_file = folder / "key"
        if not self.key_file.exists():
            keys.generate().write(str(self.key_file))
        self.key = keys.load(str(self.key_file))
        self.out, self.err = folder / "out", folder / "err"
        command = [sys.executable, "-m", "zgen.cli", "node", "start", "--num-cpus", "1"]
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [*command, "--listen", "tcp://127.0.0.1:*", *options], stdout=out, stderr=err
            )
        wait_until(lambda: "join it" in self.out.read_text() or self._over(), 20, "it is ready")
        self.facts = self._facts()
        self.place = self.facts.address.tcp.removeprefix("tcp://")

    def _over(self) -> bool:
        return self.process.poll() is not None

    def _facts(self) -> NodeFacts:
        found = re.search(r"folder: (.*)", self.out.read_text())
        assert found is not None, self.said
        return spawn.find_node(found[1])

    @property
    def said(self) -> str:
        return self.out.read_text() + self.err.read_text()

    def has_said(self, text: str) -> bool:
        return text in self.said

    def answers(self) -> float:
        """Return how long the node takes to answer."""
        began = time.monotonic()
        query_node(self.facts.address, self.facts.folder, timeout_s=10.0)
        return time.monotonic() - began

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)


@pytest.fixture(scope="module")
def guarded(
    own_runtime_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    node = Guarded(folder, "--key", str(folder / "key"))
    yield node
    node.stop()


def test_who_has_the_key_is_told_who_is_there(guarded: Guarded) -> None:
    assert who_is_at(guarded.place, guarded.key) == guarded.facts.address
    assert guarded.facts.locked


@pytest.mark.beside_ray("a_key_by_default")
def test_who_is_mistaken_is_told_why_on_both_ends(guarded: Guarded) -> None:
    def told(error: type[HandshakeError], says: str, *given: object, **more: str) -> None:
        began = time.monotonic()
        with pytest.raises(error, match=says):
            who_is_at(*given, **more)  # type: ignore[arg-type]  # as they come
        assert time.monotonic() - began < TOLD_WITHIN_S + LATE_S

    told(WrongKeyError, "it has another key", guarded.place, generate())
    told(WrongKeyError, "this process has none; give it --key FILE", guarded.place, None)
    told(VersionMismatchError, r"zgen .* there, 99 here", guarded.place, guarded.key, release="99")
    told(HandshakeError, "nothing listens there", "127.0.0.1:1", guarded.key)
    names = ("a process with another key was refused", "without a key")
    for name in names:
        wait_until(partial(guarded.has_said, name), 10, name)
    wait_until(lambda: "zgen 99 there" in guarded.said, 10, "the version is named there, too")
    guarded.answers()


def test_malformed_messages_of_a_member_do_a_node_no_harm(guarded: Guarded, tmp_path: Path) -> None:
    harm(guarded, tmp_path, 600, seed=1)


def harm(
    guarded: Guarded, folder: Path, count: int, seed: int, looks_count: int = 5
) -> tuple[float, float, int]:
    """Send malformed messages as a member; return the node's answer times and its growth."""
    quiet_s = max(guarded.answers() for _ in range(looks_count))
    before = resident_bytes(guarded.facts.daemon)
    with Member(folder, guarded.key) as member:
        line = member_line(guarded, member)
        for frames in malformed.messages(count, seed):
            line.send_multipart(frames)
        busy_s = max(guarded.answers() for _ in range(looks_count))
        wait_until(partial(was_answered, member), 60, "the node has heard them all")
        line.close()
    growth = resident_bytes(guarded.facts.daemon) - before
    assert growth < 32 << 20
    for reason in ("frames refused", "malformed message"):
        assert reason in guarded.said
    assert "Traceback" not in guarded.said
    return quiet_s, busy_s, growth


def was_answered(member: Member) -> bool:
    """Return whether the node has answered what stands behind all that was said."""
    heard = [message for message in list(member.machine.heard) if isinstance(message, NodeReport)]
    return any(message.query == malformed.LAST_QUERY for message in heard)


def member_line(guarded: Guarded, member: Member) -> zmq.Socket[bytes]:
    """Return a connection to the node on which ``member`` has said hello."""
    line = member.mailbox._context.socket(zmq.DEALER)
    line.setsockopt(zmq.LINGER, 10_000)
    line.setsockopt(zmq.SNDHWM, 0)
    Lock(guarded.key).open(line)
    line.connect(guarded.facts.address.tcp)
    line.send_multipart(member.machine._session.identity.hello_to(guarded.facts.address, 1))
    return line


def test_no_message_makes_a_daemon_unpickle(guarded: Guarded, tmp_path: Path) -> None:
    sign = tmp_path / "unpickled"
    data = malformed.canary(sign)
    dice = random.Random(5)
    with Member(tmp_path, guarded.key) as member:
        line = member_line(guarded, member)
        line.send_multipart([data, data])
        question = QueryNode(malformed.LAST_QUERY)
        said = [*malformed.of_every_kind(dice, data), question]
        for seq, message in enumerate(said, start=1):
            line.send_multipart([encode_header(FLAG_BODY, seq, 0), *encode(message)])
        wait_until(partial(was_answered, member), 30, "the node has heard them all")
        line.close()
    assert not sign.exists()


def test_the_secret_is_in_no_file_argument_environment_or_word(guarded: Guarded) -> None:
    text = guarded.key_file.read_text().strip()
    secret = bytes.fromhex(text)
    pair = [z85.decode(half) for half in Lock(guarded.key)._pair]
    forms = [form for raw in (secret, *pair) for form in _forms(raw)]
    written = [guarded.out, guarded.err]
    for file in Path(guarded.facts.folder).iterdir():
        if file.name == "key":
            assert file.stat().st_mode & 0o777 == 0o600
        elif file.is_file():
            written.append(file)
    pids = [guarded.process.pid, *marked(guarded.facts.folder)]
    written.extend(Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ"))
    assert len(pids) > 3
    for path in written:
        found = path.read_bytes()
        assert not [form for form in forms if form in found], path
    shown = repr(guarded.key) + repr(Lock(guarded.key)) + str(WrongKeyError("here", "why"))
    assert not [form for form in forms if form in shown.encode()]


def _forms(raw: bytes) -> list[bytes]:
    return [raw, raw.hex().encode(), base64.b64encode(raw), z85.encode(raw), repr(raw).encode()]


def test_a_node_listens_to_nobody_but_whom_it_is_told(guarded: Guarded) -> None:
    assert {address for address, _ in listening(guarded.facts.folder)} == {LOOPBACK}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--listen", "tcp://0.0.0.0:*"], "zgen keygen FILE"),
        (["--listen", "tcp://0.0.0.0:*", "--key", "/nowhere"], "/nowhere cannot be used: No such"),
        (["--listen", "127.0.0.1"], "expected tcp://HOST:PORT"),
        (["--insecure"], "of no use without --listen"),
    ],
)
@pytest.mark.beside_ray("a_key_by_default")
def test_what_would_be_open_to_all_or_to_nobody_does_not_start(
    options: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(keys.KEY_VARIABLE, raising=False)
    before = len(folders.living_nodes())
    assert cli.main(["node", "start", *options]) == 1
    assert says in capsys.readouterr().err
    assert len(folders.living_nodes()) == before


@pytest.mark.slow
def test_a_port_that_is_taken_is_named(guarded: Guarded) -> None:
    taken = guarded.facts.address.tcp
    with pytest.raises(NodeStartError, match=f"cannot listen at {taken}: Address already in use"):
        spawn.start_node(1, opening=exposure.check_opening(taken, None, None, insecure=False))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_this_machine_learns_nothing(guarded: Guarded) -> None:
    folder = guarded.facts.folder
    program = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
def refused(what, attempt):
    try:
        attempt()
    except PermissionError:
        return
    print(what)
folder, inbox, key, pid = sys.argv[1:]
refused("the folder", lambda: os.listdir(folder))
for name in ("key", "lock", "node.json", "objects"):
    refused(name, lambda: open(folder + "/" + name, "rb"))
refused("the key", lambda: open(key, "rb"))
for path in (inbox, folder + "/objects"):
    refused(path, lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(path))
for name in ("fd", "environ", "mem", "maps"):
    look = os.listdir if name == "fd" else lambda path: open(path, "rb").read(1)
    refused(name, lambda: look(f"/proc/{pid}/{name}"))
refused("a signal", lambda: os.kill(int(pid), 0))
"""
    inbox = guarded.facts.address.endpoint.removeprefix("ipc://")
    given = [folder, inbox, str(guarded.key_file), str(guarded.facts.daemon)]
    command = [sys.executable, "-c", program, *given]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert told.stdout == ""


def test_nobody_takes_over_the_folder_or_the_inbox_of_a_node(guarded: Guarded) -> None:
    with pytest.raises(Exception, match="File exists"):
        folders.make_node_folder(guarded.facts.folder)
    assert folders.sweep() == [], "its lock is held, so nobody takes it for dead"
    guarded.answers()


@pytest.fixture
def far_driver(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be a driver of the node that takes itself to be on another machine."""

    find = exposure.find

    def find_far(folder: str) -> exposure.Exposure | None:
        found = find(folder)
        return None if found is None else replace(found, machine=b"elsewhere")

    monkeypatch.setattr(exposure, "find", find_far)
    zgen.init(address=guarded.facts.folder)
    yield
    zgen.shutdown()


@pytest.mark.usefixtures("far_driver")
def test_tasks_streams_and_large_values_work_for_a_driver_behind_the_lock() -> None:
    @zgen.remote
    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    @zgen.remote
    def swap(array: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, bytes]:
        return int(array.sum()), bytes(3 << 20)

    class Big:
        """Travels inside the function, and so in one frame of the line."""

        filler = bytes(5 << 20)

    @zgen.remote
    def length() -> int:
        return len(Big.filler)

    assert [zgen.get(ref) for ref in numbers.remote(500)] == list(range(500))
    total, block = zgen.get(swap.remote(np.ones(1 << 20, np.int64)))
    assert (total, len(block)) == (1 << 20, 3 << 20)
    assert zgen.get(length.remote()) == 5 << 20
    runtime = process.current
    assert runtime is not None
    lines, me = runtime.machine.session._lines, runtime.machine.session.identity
    dialled = [me.inbox_of(line.address) for line in lines.values()]
    assert len(dialled) > 1
    assert all(inbox.startswith("tcp://127.") for inbox in dialled)
    assert runtime.loop.rescues == 0
