"""What docs/protocol.md says is so: a client that does just that, without zgen, uses real nodes."""

from __future__ import annotations

import ast
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import msgpack
import pytest

from tests.integration import second_client as wire
from tests.integration.second_client import Address, Client
from zgen.io.exposure import check_opening
from zgen.io.keys import generate
from zgen.io.spawn import start_node

ONE_CPU = [["CPU", 10_000]]


class Facts:
    """What a program finds in the session folder of a node."""

    def __init__(self, folder: str, key_file: Path) -> None:
        said = json.loads(Path(folder, "node.json").read_text())
        self.folder = folder
        self.key_file = str(key_file)
        self.clients: list[Client] = []
        self.release, self.python = said["release"], said["python"]
        peer, machine = bytes.fromhex(said["peer"]), bytes.fromhex(said["machine"])
        where = said["endpoint"], peer, said["tcp"], machine
        self.node = Address(peer, said["incarnation"], *where)

    def client(self, *, far: bool = False, **other: Any) -> Client:
        pair = wire.curve_pair(self.key_file) if far else None
        made = Client(self.folder, self.release, self.python, pair, **other)
        self.clients.append(made)
        made.dial(self.node)
        return made


@pytest.fixture(scope="module")
def node(
    own_runtime_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """Run a node with a key; return its session folder and the file of the key."""
    key_file = tmp_path_factory.mktemp("cluster") / "key"
    generate().write(str(key_file))
    opening = check_opening("tcp://127.0.0.1:*", None, str(key_file), insecure=False)
    started = start_node(1, opening=opening, prestart=False)
    yield started.folder, key_file
    started.stop()


@pytest.fixture
def facts(node: tuple[str, Path]) -> Iterator[Facts]:
    """Tell a program where the node is, and end the processes that it makes of it."""
    found = Facts(*node)
    yield found
    for client in found.clients:
        client.end()


def report(client: Client, node: bytes, query: int) -> dict[str, Any]:
    client.say(node, wire.QUERY_NODE, query)
    (number, state), _ = client.hear(wire.NODE_REPORT)
    assert number == query
    found: dict[str, Any] = json.loads(state)
    return found


def test_the_client_imports_nothing_of_zgen() -> None:
    tree = ast.parse(Path(wire.__file__).read_text())
    imported = [n.names[0].name for n in ast.walk(tree) if isinstance(n, ast.Import)]
    imported += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert "msgpack" in imported
    assert not [name for name in imported if name.startswith(("zgen", "tests"))]


@pytest.mark.parametrize("far", [False, True], ids=["over ipc", "over tcp with the key"])
def test_a_second_implementation_is_greeted_and_answered(facts: Facts, far: bool) -> None:
    client = facts.client(far=far)
    node = facts.node.peer
    assert report(client, node, 7)["node"] == node.hex()
    ((sender, to, life, *_, python, release),) = client.hellos[:1]
    assert (sender[0], to, life) == (node, client.peer, 1)
    assert (python, release) == (facts.python, facts.release)
    client.say(node, wire.LIST_STATE, 8, "nodes", 10, 5_000_000_000, False)
    told, _ = client.hear(wire.STATE_TOLD)
    assert (told[0], told[1], told[3], told[4]) == (8, node, 1, "")
    client.leave()


def test_what_is_malformed_is_refused_and_counted_and_the_line_goes_on(facts: Facts) -> None:
    client = facts.client()
    node = facts.node.peer
    before = report(client, node, 1)["counts"]
    line = client.lines[node]
    client.say_frames(node, [b"\xc1"])  # no msgpack
    client.say_frames(node, [msgpack.packb([0x7FFF])])  # no such kind
    client.say_frames(node, [msgpack.packb([wire.QUERY_NODE, "two"])])  # no integer
    client.say_frames(node, [msgpack.packb([wire.QUERY_NODE, 2]), b"a buffer too many"])
    client.say_frames(node, [msgpack.packb([wire.QUERY_NODE, {}])])  # maps are never sent
    client.say(node, wire.TASKS_DONE, [])  # a node is never told that
    line.dealer.send_multipart([b"zg\x02\x01" + bytes(16), b""])  # another version
    line.dealer.send_multipart([b"no header"])
    line.dealer.send_multipart(client.hello(Address(os.urandom(16), 1, "")))  # for somebody else
    line.dealer.send_multipart(client.hello(facts.node, release="0.0.0"))
    stranger = client.outbox(facts.node.endpoint)
    stranger.send_multipart(
        [wire.HEADER.pack(b"zg", 1, wire.BODY, 1, 0), msgpack.packb([wire.QUERY_NODE, 3])]
    )
    counted: dict[str, int] = {}

    def all_counted() -> bool:
        after = report(client, node, 4)["counts"]
        counted.update({name: after[name] - before.get(name, 0) for name in after})
        return counted.get("frames refused", 0) >= 4 and "data before hello" in counted

    client.run(all_counted)
    assert counted["malformed message"] == 5
    assert counted["unexpected message"] == 1
    assert counted["frames refused"] == 4
    assert counted["data before hello"] == 1
    client.leave()


def test_what_is_not_acknowledged_comes_again_and_what_comes_twice_counts_once(
    facts: Facts,
) -> None:
    client = facts.client()
    node = facts.node.peer
    line = client.lines[node]
    client.acks = False
    report(client, node, 1)
    client.run(lambda: line.repeated > 1)
    client.acks = True
    client.ack(line)
    first, second, third = ([msgpack.packb([wire.QUERY_NODE, n])] for n in (2, 3, 4))
    for seq, frames in ((3, second), (4, third), (3, second), (2, first), (2, first)):
        line.dealer.send_multipart([wire.HEADER.pack(b"zg", 1, wire.BODY, seq, 1), *frames])
    assert [client.hear(wire.NODE_REPORT)[0][0] for _ in range(3)] == [2, 3, 4]
    line.seq = 4
    report(client, node, 5)
    assert not client.heard
    client.leave()


def test_an_older_life_is_refused(facts: Facts) -> None:
    younger = facts.client(incarnation=2)
    node = facts.node.peer
    line = younger.lines[node]
    before = report(younger, node, 1)["counts"].get("frames refused", 0)
    line.dealer.send_multipart(younger.hello(facts.node, epoch=9, incarnation=1))
    assert report(younger, node, 2)["counts"]["frames refused"] == before + 1
    younger.leave()


def lease_of(client: Client, facts: Facts) -> tuple[bytes, bytes, bytes]:
    """Register a job and get a worker; return lease, job and worker."""
    node = facts.node.peer
    job = os.urandom(16)
    environment = [list(each) for each in os.environ.items()]
    client.say(node, wire.REGISTER_JOB, job, os.getpid(), sys.path, os.getcwd(), environment)
    (known, total), _ = client.hear(wire.JOB_REGISTERED)
    assert (known, total[0]) == (job, ["CPU", 10_000])
    lease = wire.derived(16, client.peer, b"lease", (0).to_bytes(8, "big"))
    client.say(node, wire.REQUEST_LEASE, lease, job, ONE_CPU, "f")
    (granted, worker, _), _ = client.hear(wire.LEASE_GRANTED, 30)
    assert granted == lease
    client.dial(Address(*worker))
    return lease, job, worker[0]


class Driver:
    """Pushes work to one worker."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.client = facts.client()
        self.lease, self.job, self.worker = lease_of(self.client, facts)
        self.pushed = 0

    def push(
        self, function: Callable[..., Any], *args: Any, returns: int, window: int = 0
    ) -> bytes:
        payload = cloudpickle.dumps(function)
        name = wire.derived(16, payload)
        life, index = (1).to_bytes(4, "big"), self.pushed.to_bytes(8, "big")
        task = wire.derived(16, self.job, life, index)
        arguments = pickle.dumps((args, {}), 5)
        self.client.say(self.worker, wire.DEFINE_FUNCTION, name, payload)
        pushed = [task, 0, name, "f", returns, arguments, [], b"", window]
        self.client.say(self.worker, wire.PUSH_TASKS, self.lease, self.pushed, [pushed])
        self.pushed += 1
        return task

    def end(self) -> None:
        node = self.facts.node.peer
        self.client.say(node, wire.RETURN_LEASE, self.lease, True)
        self.client.say(node, wire.END_JOB, self.job)
        self.client.leave()


def test_a_second_implementation_drives_tasks_and_streams(facts: Facts) -> None:
    driver = Driver(facts)
    client = driver.client

    task = driver.push(lambda a, b: a + b, 2, 3, returns=1)
    (((done, attempt, outcome, _, (entry,)),),), _ = client.hear(wire.TASKS_DONE)
    assert (done, attempt, outcome, pickle.loads(entry)) == (task, 0, 0, 5)

    driver.push(lambda: 1 // 0, returns=1)
    ((((_, _, outcome, _, (entry,)),)),), _ = client.hear(wire.TASKS_DONE)
    flags, data, buffers = entry
    assert (outcome, flags, buffers) == (1, 1, 0)
    assert isinstance(pickle.loads(data).cause, ZeroDivisionError)

    stream = driver.push(lambda n: (i * i for i in range(n)), 100, returns=-2)
    items: list[int] = []
    while len(items) < 100:
        (name, attempt, first, entries), _ = client.hear(wire.REPORT_ITEMS)
        assert (name, attempt, first) == (stream, 0, len(items))
        items.extend(map(pickle.loads, entries))
    assert items == [i * i for i in range(100)]
    (name, attempt, count, outcome, _, entries), _ = client.hear(wire.REPORT_END)
    assert (name, attempt, count, outcome, entries) == (stream, 0, 100, 0, [])
    driver.end()


def test_a_second_implementation_holds_a_stream_back_by_its_window(facts: Facts) -> None:
    driver = Driver(facts)
    client = driver.client
    stream = driver.push(lambda: (i for i in range(6)), returns=-2, window=2)
    taken = 0
    while taken < 6:
        came = 0
        while came < 2:
            (_, _, first, entries), _ = client.hear(wire.REPORT_ITEMS)
            assert first == taken + came
            came += len(entries)
        client.turn(0.1)
        assert came == 2, "the window is two items wide"
        assert not [each for each in client.heard if each[1][0] == wire.REPORT_ITEMS]
        taken += came
        client.say(driver.worker, wire.CONSUMED, stream, 0, taken)
    (_, _, count, outcome, _, _), _ = client.hear(wire.REPORT_END)
    assert (count, outcome) == (6, 0)
    driver.end()


class Counter:
    """What the client makes an actor of."""

    def __init__(self, first: int) -> None:
        self.number = first

    def add(self, step: int) -> int:
        self.number += step
        return self.number


def test_a_second_implementation_creates_an_actor_and_calls_it(facts: Facts) -> None:
    driver = Driver(facts)
    client, worker = driver.client, driver.worker
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    payload = cloudpickle.dumps(Counter)
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    cls = wire.derived(16, payload)
    actor = wire.derived(16, driver.job, (1).to_bytes(4, "big"), bytes(8))
    client.say(worker, wire.DEFINE_FUNCTION, cls, payload)
    client.say(worker, wire.HOST_ACTOR, actor, 0, [])
    made = [actor, 0, cls, "Counter.__init__", 1, pickle.dumps(((10,), {}), 5), [], b""]
    client.say(worker, wire.PUSH_TASKS, driver.lease, 0, [made], 0, [[actor, "__init__"]])
    (((_, _, outcome, _, _),),), _ = client.hear(wire.TASKS_DONE)
    assert outcome == 0
    method = wire.derived(16, cls, b"add")
    for index in range(3):
        call = wire.derived(16, driver.job, (1).to_bytes(4, "big"), (1 + index).to_bytes(8, "big"))
        pushed = [call, 0, method, "add", 1, pickle.dumps(((1,), {}), 5), [], b""]
        client.say(worker, wire.PUSH_TASKS, actor, index, [pushed], 0, [[actor, "add"]])
        (((done, _, outcome, _, (entry,)),),), _ = client.hear(wire.TASKS_DONE)
        assert (done, outcome, pickle.loads(entry)) == (call, 0, 11 + index)
    client.say(worker, wire.END_ACTOR, actor)
    (dead, life, *_), _ = client.hear(wire.PROCESS_DOWN)
    assert (dead, life) == (worker, 1)
    client.forget(worker)
    driver.end()


def test_a_second_implementation_reads_a_large_value_where_it_lies(facts: Facts) -> None:
    driver = Driver(facts)
    client = driver.client
    driver.push(lambda: b"large" * 100_000, returns=1)
    ((((_, _, outcome, _, (entry,)),)),), _ = client.hear(wire.TASKS_DONE)
    flags, data, buffers = entry
    assert (outcome, flags, buffers) == (0, 4, 0)
    region, parts = wire.read_stored(facts.folder, data)
    count = wire.STORED.unpack_from(data)[-1]
    text = data[wire.STORED.size + 8 * count :]
    assert pickle.loads(text, buffers=parts) == b"large" * 100_000
    client.say(facts.node.peer, wire.RELEASE_REGIONS, [region])
    driver.end()


def test_a_second_implementation_is_answered_by_membership(facts: Facts) -> None:
    client = facts.client(far=True)
    me, node = client.peer, facts.node
    client.probe(node.tcp, wire.PING, me, node.peer, 5, client.address.tcp, b"", [], [])
    client.run(lambda: bool(client.probes))
    kind, sender, to, number, _, _ = client.probes.pop(0)
    assert (kind, sender, to, number) == (wire.PING_ACK, node.peer, me, 5)

    where = client.address.tcp
    mine = [me, 0, where, 0, 0, b""]
    client.probe(node.tcp, wire.JOIN_REQUEST, mine, "another cluster", facts.python, facts.release)
    client.run(lambda: bool(client.probes))
    kind, sender, to, refusal, *_ = client.probes.pop(0)
    assert (kind, sender, to, refusal) == (wire.JOIN_ANSWER, node.peer, me, 1)
    client.leave()
