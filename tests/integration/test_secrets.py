"""What may be in nothing that is written or sent: the key of a cluster, and what users pass."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zmq.utils import z85

import zgen
from tests.integration import strangers
from tests.integration.remote_class import RemoteClass
from tests.integration.strangers import Member
from tests.integration.watching import marked, wait_until
from zgen import cli
from zgen.io import keys
from zgen.io.security import Lock, Locks
from zgen.testing import Cluster
from zgen.wire.state import KINDS

#: What a user passes and never prints.
CANARY = "a-canary-of-a-user-4711"
WITHIN_S = 10.0


@pytest.fixture
def cluster(own_runtime_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Two nodes that talk over tcp, under a key that is being replaced, and a program."""
    with Cluster() as made:
        keys.change(made.key, keys.ClusterKey.with_next)
        for name in ("a", "b"):
            monkeypatch.setenv("ZGEN_MACHINE", name)
            made.add_node(num_cpus=2, resources={name: 1})
        monkeypatch.setenv("ZGEN_MACHINE", "driver")
        zgen.init(address=made.address, key=made.key)
        try:
            yield made
        finally:
            zgen.shutdown()


@pytest.fixture(autouse=True)
def shared_node() -> None:
    """Have each test look for leaks when the cluster is gone."""


@zgen.remote(max_retries=0)
def echo(text: str, how: str = "") -> Iterator[str]:
    yield text
    if how == "raise":
        raise ValueError("it was told to")
    if how == "die":
        os.abort()


@zgen.remote
class Keeper(RemoteClass):
    def __init__(self, text: str) -> None:
        self.text = text

    def tell(self, more: str) -> int:
        return len(self.text + more)


def forms(raw: bytes) -> list[bytes]:
    """Return what bytes may look like where they are written."""
    return [raw, raw.hex().encode(), base64.b64encode(raw), z85.encode(raw), repr(raw).encode()]


def written_by(folder: str) -> Iterator[Path]:
    """Yield all files that a node and its processes wrote, their arguments and environments."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            if name != "key" and path.is_file():
                yield path
    for pid in marked(folder):
        yield from (Path(f"/proc/{pid}/{name}") for name in ("cmdline", "environ"))


def test_the_key_and_what_users_pass_are_in_nothing_that_is_written(
    cluster: Cluster, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []
    ref, actor = zgen.put(CANARY), Keeper.options(resources={"b": 0.1}).remote(CANARY)
    call = actor.tell.remote(CANARY)
    assert zgen.get(call, timeout=20) == 2 * len(CANARY)
    held = echo.options(resources={"a": 0.1}).remote(CANARY)
    assert zgen.get(next(held), timeout=20) == CANARY
    shown += [repr(each) for each in (ref, actor, call, held, echo, Keeper, zgen.nodes())]
    for how in ("raise", "die"):
        stream = echo.options(resources={"b": 0.1}).remote(CANARY, how)
        with pytest.raises(zgen.exceptions.ZgenError) as caught:
            zgen.get(list(stream), timeout=20)
        shown.append(f"{caught.value!r} {caught.value} {vars(caught.value)}")
    capfd.readouterr()
    asked = [["list", kind] for kind in (*KINDS, "nodes")]
    asked += [["status"], ["memory"], ["stack"], ["node", "status"], ["node", "reload"]]
    for words in (*asked, ["doctor", "--address", cluster.address, "--key", cluster.key]):
        for more in ([], ["--json"]):
            cli.main([*words, *more])
            shown.append("".join(capfd.readouterr()))
            assert len(shown[-1]) > 2 or words == ["list", "streams"], words
    cli.main(["key", "show", cluster.key])
    shown += ["".join(capfd.readouterr()), caplog.text]
    both = keys.load(cluster.key)
    shown += [repr(both), repr(Lock(both)), repr(Locks(both).each)]
    (shown_key, other_key) = Path(cluster.key).read_text().split("\n")[:2]
    halves = [half for lock in Locks(both).each for half in lock._pair]
    secrets = [bytes.fromhex(line.split()[0]) for line in (shown_key, other_key)]
    secret = [form for raw in (*secrets, *map(z85.decode, halves)) for form in forms(raw)]
    texts = {"what was shown": "\n".join(shown).encode()}
    for facts in [node._facts for node in cluster.nodes] + zgen.io.spawn.started_nodes(
        embedded=True
    ):
        texts |= {str(path): path.read_bytes() for path in written_by(facts.folder)}
    assert len(texts) > 20
    for name, text in texts.items():
        assert not [form for form in secret if form in text], name
        assert CANARY.encode() not in text, name
    del held


class Recorder:
    """Passes one connection on to a port, and keeps what was said to that."""

    def __init__(self, port: int) -> None:
        self.said = b""
        self._listener = socket.create_server((strangers.HOST, 0))
        self.endpoint = f"tcp://{strangers.HOST}:{self._listener.getsockname()[1]}"
        self._port = port
        self._lines: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._run, name="recorder")]
        self._threads[0].start()

    def close(self) -> None:
        for line in self._lines:
            line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for line in (*self._lines, self._listener):
            line.close()

    def _run(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection((strangers.HOST, self._port))
        self._lines += [near, far]
        back = threading.Thread(target=self._carry, args=(far, near, False), name="recorder back")
        self._threads.append(back)
        back.start()
        self._carry(near, far, True)

    def _carry(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        try:
            while data := source.recv(65536):
                if keep:
                    self.said += data
                target.sendall(data)
        except OSError:
            return


def test_what_was_recorded_of_a_member_is_worth_nothing_on_another_connection(
    tmp_path: Path,
) -> None:
    key = keys.generate()
    with (
        Member(tmp_path, key) as victim,
        Member(tmp_path, key) as friend,
        Member(tmp_path, key) as other,
    ):
        recorder = Recorder(victim.port)
        try:
            there = replace(victim.address, tcp=recorder.endpoint)
            friend.say(there, b"once")
            wait_until(lambda: victim.has_heard(b"once"), WITHIN_S, "it was heard")
        finally:
            recorder.close()
        assert len(recorder.said) > 500
        assert b"once" not in recorder.said
        heard, arrived = len(victim.machine.heard), victim.machine.arrived
        refused = victim.machine.refused
        with socket.create_connection((strangers.HOST, victim.port)) as line:
            line.sendall(recorder.said)
            wait_until(lambda: sum(refused.values()) > 0, WITHIN_S, "it is refused")
        assert victim.machine.arrived == arrived
        other.reach(victim)
        assert len(victim.machine.heard) == heard + 1


#: Runs alone with one way out, on which nothing leaves but what somebody sends.
ALONE = """
import subprocess, sys
def ip(*words):
    subprocess.run(["ip", *words], check=True)
ip("link", "set", "lo", "up")
ip("link", "add", "out", "type", "veth", "peer", "name", "there")
ip("link", "set", "there", "addrgenmode", "none", "up")
ip("link", "set", "out", "addrgenmode", "none", "arp", "off", "up")
ip("address", "add", "192.0.2.1/24", "dev", "out")
ip("route", "add", "default", "via", "192.0.2.2")
def sent():
    (line,) = [each for each in open("/proc/self/net/dev") if "out:" in each]
    return int(line.split(":")[1].split()[9])
import socket
before = sent()
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.9", 9))
assert sent() > before, "what leaves is counted"
before = sent()
import zgen
@zgen.remote
def count(n):
    yield from range(n)
with zgen.init(num_cpus=2):
    assert [zgen.get(ref) for ref in count.remote(100)] == list(range(100))
from zgen.cli import main
main(["doctor"])
print("left this machine:", sent() - before)
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
@pytest.mark.skipif(shutil.which("ip") is None, reason="iproute2 is not installed")
def test_a_program_sends_nothing_to_anybody(tmp_path: Path) -> None:
    script = tmp_path / "alone.py"
    script.write_text(ALONE)
    ended: Any = subprocess.run(
        ["unshare", "--net", sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    if "Operation not permitted" in ended.stderr:
        pytest.skip("no network namespace can be made here")
    assert ended.returncode == 0, ended.stderr
    assert "left this machine: 0\n" in ended.stdout
