"""The key of a cluster is replaced while it runs: nobody is lost, and the old one is of no use."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration import strangers
from tests.integration.remote_class import RemoteClass
from tests.integration.strangers import Member
from tests.integration.watching import wait_until
from zgen import cli
from zgen.exceptions import WrongKeyError
from zgen.io import keys
from zgen.io.doorbell import who_is_at
from zgen.io.keys import ClusterKey
from zgen.testing import Cluster

WITHIN_S = 10.0
STEPS = [ClusterKey.with_next, ClusterKey.promoted, ClusterKey.retired]


def rekey(member: Member, key: ClusterKey) -> None:
    member.mailbox.rekey(key)


def test_members_hear_each_other_at_every_step_whoever_takes_it_first(tmp_path: Path) -> None:
    key = keys.generate()
    with Member(tmp_path, key) as one, Member(tmp_path, key) as other:
        one.reach(other)
        other.reach(one)
        for step in STEPS:
            key = step(key)
            for member in (one, other):
                rekey(member, key)
                one.reach(other)
                other.reach(one)
        assert not one.machine.failures
        assert not other.machine.failures


def test_what_was_connected_with_the_old_key_is_cut_and_the_session_goes_on(
    tmp_path: Path,
) -> None:
    key = keys.generate()
    with Member(tmp_path, key) as one, Member(tmp_path, key) as other:
        one.reach(other)
        other.reach(one)
        before = one.machine.ups[other.address.peer]
        key = key.with_next()
        for member in (one, other):
            rekey(member, key)
        one.reach(other)
        assert one.machine.ups[other.address.peer] == before, "what is there stays"
        key = key.promoted()
        rekey(other, key)
        wait_until(lambda: one.machine.ups[other.address.peer] > before, WITHIN_S, "it dials again")
        one.reach(other)
        rekey(one, key)
        words = [os.urandom(8) for _ in range(200)]
        for number, word in enumerate(words):
            one.say(other.address, word)
            if number == 100:
                for member in (one, other):
                    rekey(member, key.retired())
        wait_until(lambda: other.has_heard(words[-1]), WITHIN_S, "all are heard")
        heard = [message.payload for message in other.machine.heard]
        assert [word for word in heard if word in words] == words


def test_who_has_the_old_key_alone_is_refused_once_the_new_one_is_shown(tmp_path: Path) -> None:
    old = keys.generate()
    key = old.with_next()
    with Member(tmp_path, key) as victim:
        place = f"tcp://{strangers.HOST}:{victim.port}"
        assert who_is_at(place, old) == victim.address
        rekey(victim, key.promoted())
        wait_until(lambda: _is_refused(place, old), WITHIN_S, "the old key is refused")
        assert who_is_at(place, key) == victim.address, "the file of the first step still works"
        rekey(victim, key.promoted().retired())
        assert _is_refused(place, old)
        assert who_is_at(place, key.promoted().retired()) == victim.address


def _is_refused(place: str, key: ClusterKey) -> bool:
    try:
        who_is_at(place, key)
    except WrongKeyError:
        return True
    return False


@pytest.fixture
def cluster(own_runtime_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Nodes that talk over tcp, as if each had a machine of its own, with a program that joined."""
    with Cluster() as made:
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
def count(n: int) -> Iterator[tuple[int, bytes]]:
    for i in range(n):
        yield i, bytes(200_000 if i % 20 == 0 else 10)
        time.sleep(0.005)


@zgen.remote(num_cpus=0)
class Counter(RemoteClass):
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


def test_a_cluster_goes_on_while_its_key_is_replaced(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    old = keys.load(cluster.key)
    streams = [count.options(resources={name: 1}).remote(300) for name in ("a", "b")]
    actor: Any = Counter.options(resources={"b": 0.1}).remote()
    calls = [actor.add.remote()]
    items: list[list[int]] = [[], []]
    for step in ("add", "promote", "retire"):
        assert cli.main(["key", step, cluster.key]) == 0
        assert cli.main(["node", "reload"]) == 0
        for stream, read in zip(streams, items, strict=True):
            read += [zgen.get(next(stream), timeout=20)[0] for _ in range(50)]
        calls += [actor.add.remote() for _ in range(20)]
        assert zgen.get(calls, timeout=20) == list(range(1, len(calls) + 1))
    for stream, read in zip(streams, items, strict=True):
        read += [zgen.get(ref, timeout=20)[0] for ref in stream]
        assert read == list(range(300))
    capsys.readouterr()
    assert cli.main(["node", "reload", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["prints"] for row in told] == [list(keys.load(cluster.key).prints())] * 3
    for node in cluster.nodes:
        with pytest.raises(WrongKeyError):
            who_is_at(node.address, old)
    cluster.wait_for_nodes()


def test_a_key_file_that_cannot_be_used_changes_nothing(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chmod(cluster.key, 0o644)
    assert cli.main(["node", "reload"]) == 1
    assert "its mode is 644" in capsys.readouterr().out
    os.chmod(cluster.key, 0o600)
    assert cli.main(["node", "reload"]) == 0
    assert zgen.get(next(count.remote(1)), timeout=20)[0] == 0
