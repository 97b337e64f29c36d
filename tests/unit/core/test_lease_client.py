"""Leases of one owner: asked for, filled, reused, returned."""

from __future__ import annotations

import pytest

from tests.unit.core.names import (
    FUNCTION,
    JOB,
    ME,
    NODE,
    ONE,
    OTHER_WORKER,
    TWO,
    WORKER,
    peer,
    task,
)
from zgen.core import lease_client as lease_client_module
from zgen.core.effects import Effect, Send
from zgen.core.lease_client import Assignment, LeaseClient
from zgen.ids import LeaseId, PeerId, TaskId, derive_lease_id
from zgen.limits import (
    BATCH_COUNT_MAX,
    LEASE_LINGER_NS,
    LEASE_REQUESTS_OPEN_MAX,
    LEASE_TERM_NS,
    LINE_BUSY_NS,
    PIPELINE_DEPTH_MAX,
    TASK_LONG_NS,
    TASK_SHORT_NS,
)
from zgen.wire.lease import Demand, LeaseGranted, RequestLease, ReturnLease, Shape
from zgen.wire.session import Address

SHORT, MIDDLING, LONG = TASK_SHORT_NS - 1, TASK_SHORT_NS, TASK_LONG_NS + 1


def asked(number: int) -> LeaseId:
    """Return the name of the ``number``-th request, from 1."""
    return derive_lease_id(ME, number)


def request(number: int, what: str = "work", shape: Shape = ONE) -> Send:
    return Send(NODE, RequestLease(asked(number), JOB, shape, what))


def given_back(number: int, reusable: bool = True) -> Send:
    return Send(NODE, ReturnLease(asked(number), reusable))


def tasks(names: str) -> list[TaskId]:
    return [task(name) for name in names]


class Client:
    """A lease client, its node and the time."""

    def __init__(self) -> None:
        self.leases = LeaseClient(ME)
        self.now_ns = 1_000
        self.out: list[Effect] = []

    def sent(self) -> list[Effect]:
        """Return what was sent since the last look."""
        self.leases.check()
        out, self.out = self.out, []
        return out

    def wait(self, names: str, shape: Shape = ONE) -> None:
        for name in names:
            self.leases.enqueue(shape, task(name))

    def assign(self, shape: Shape = ONE) -> list[Assignment]:
        made = self.leases.assign(shape, NODE, JOB, "work", self.now_ns, self.out)
        self.leases.check()
        return made

    def grant(self, number: int, worker: PeerId = WORKER) -> Demand | None:
        message = LeaseGranted(asked(number), Address(worker, 1, "ipc://w"), 42)
        return self.leases.on_granted(message, NODE, self.now_ns, self.out)

    def put_back(self, names: str, number: int = 1) -> None:
        for name in names:
            self.release(name, None, number)
        self.leases.put_back(ONE, tasks(names), tasks("abcdefgh"))

    def waiting(self, shape: Shape = ONE) -> list[TaskId]:
        return list(self.leases.pools[shape].queue)

    def release(self, name: str, run_ns: int | None, number: int = 1) -> None:
        self.leases.release(asked(number), task(name), run_ns, NODE, self.now_ns, self.out)

    def timer(self) -> None:
        due_ns = self.leases.deadlines.next_ns
        assert due_ns is not None
        self.now_ns = max(self.now_ns, due_ns)
        self.leases.on_timer(NODE, self.now_ns, self.out)

    def due(self) -> int | None:
        return self.leases.deadlines.next_ns

    def in_flight(self, number: int = 1) -> list[TaskId]:
        return list(self.leases.held[asked(number)].in_flight)


def working(names: str = "a", depth: int = 1) -> Client:
    """A client with one lease whose worker has these tasks."""
    client = Client()
    client.wait(names)
    client.assign()
    client.grant(1)
    client.leases.pools[ONE].depth = depth
    client.assign()
    client.sent()
    return client


# -- asking --------------------------------------------------------------------------------------
def test_each_waiting_task_asks_for_a_worker_up_to_the_bound() -> None:
    client = Client()
    client.wait("a")
    assert client.assign() == []
    assert client.sent() == [request(1)]
    client.assign()
    assert client.sent() == [], "the open request is for it"
    client.wait("bcdefgh")
    client.assign()
    assert client.sent() == [request(n) for n in range(2, LEASE_REQUESTS_OPEN_MAX + 1)]


def test_shapes_have_pools_of_their_own() -> None:
    client = Client()
    client.wait("a")
    client.wait("b", TWO)
    client.assign()
    client.assign(TWO)
    assert client.sent() == [request(1), request(2, shape=TWO)]
    assert client.grant(2) == TWO
    assert client.assign() == []
    assert client.assign(TWO) == [Assignment(asked(2), WORKER, 0, tasks("b"), 0)]


def test_a_grant_nobody_asked_for_goes_back() -> None:
    client = Client()
    assert client.grant(1) is None
    assert client.sent() == [given_back(1)]


def test_a_repeated_grant_changes_nothing() -> None:
    client = working()
    assert client.grant(1) is None
    assert client.sent() == []
    assert client.in_flight() == tasks("a")


def test_requests_that_nothing_waits_for_are_withdrawn() -> None:
    client = Client()
    client.wait("ab")
    client.assign()
    client.sent()
    client.grant(1)
    client.leases.pools[ONE].depth = 2
    assert [each.tasks for each in client.assign()] == [tasks("a"), tasks("b")]
    assert client.sent() == [given_back(2)]
    assert client.leases.shape_asked(asked(2)) is None
    assert client.grant(2) is None
    assert client.sent() == [given_back(2)]


def test_a_refusal_takes_what_waited_along() -> None:
    client = Client()
    client.wait("ab")
    client.assign()
    assert client.leases.shape_asked(asked(1)) == ONE
    assert client.leases.on_refused(asked(1)) == tasks("ab")
    assert client.leases.on_refused(asked(1)) == []
    assert client.leases.shape_asked(asked(1)) is None
    client.sent()
    client.assign()
    assert client.sent() == [given_back(2)]


# -- filling -------------------------------------------------------------------------------------
def test_a_worker_gets_one_task_at_first_and_pushes_are_numbered() -> None:
    client = Client()
    client.wait("ab")
    client.assign()
    client.grant(1)
    assert client.assign() == [Assignment(asked(1), WORKER, 0, tasks("a"), 0)]
    assert client.assign() == []
    client.release("a", MIDDLING)
    assert client.assign() == [Assignment(asked(1), WORKER, 1, tasks("b"), 0)]


def test_the_depth_doubles_while_tasks_are_short_and_falls_with_the_first_long_one() -> None:
    client = working()
    depths = []
    for run_ns in [SHORT] * 8 + [MIDDLING, TASK_LONG_NS, LONG, SHORT, None]:
        client.release("a", run_ns)
        depths.append(client.leases.pools[ONE].depth)
        client.wait("a")
        client.assign()
    assert depths == [2, 4, 8, 16, 32, 64, 64, 64, 64, 64, 1, 2, 1]
    assert max(depths) == PIPELINE_DEPTH_MAX


def test_waiting_tasks_are_shared_between_workers_in_hand_and_on_their_way() -> None:
    client = working("abcdefg", depth=4)
    assert client.in_flight() == tasks("abcd")
    client = Client()
    client.wait("abcdefgh")
    client.assign()
    client.grant(1)
    client.grant(2, OTHER_WORKER)
    client.leases.pools[ONE].depth = PIPELINE_DEPTH_MAX
    first, *_ = client.assign()
    assert first == Assignment(asked(1), WORKER, 0, tasks("ab"), 0), "two more are on their way"


def test_the_emptiest_worker_is_filled_first() -> None:
    client = working("abc", depth=2)
    client.grant(2, OTHER_WORKER)
    client.wait("def")
    made = client.assign()
    assert made[0].worker == OTHER_WORKER
    assert sum(len(each.tasks) for each in made) == 2
    assert len(client.in_flight(2)) == 2


def test_a_worker_that_has_enough_to_do_gets_more_when_half_of_it_is_done() -> None:
    client = working("abcd", depth=4)
    client.wait("efg")
    client.release("a", MIDDLING)
    assert client.assign() == []
    client.release("b", MIDDLING)
    assert [each.tasks for each in client.assign()] == [tasks("e")], "a fair share of it"
    client.release("c", MIDDLING)
    assert [each.tasks for each in client.assign()] == [tasks("f"), tasks("g")]


def test_a_share_is_bounded_by_a_batch() -> None:
    client = Client()
    for number in range(3 * BATCH_COUNT_MAX):
        client.leases.enqueue(ONE, TaskId(number.to_bytes(16, "big")))
    pool = client.leases.pools[ONE]
    assert client.leases._fair_share(pool) == BATCH_COUNT_MAX


def test_what_had_its_turn_goes_to_the_front() -> None:
    client = working("ab", depth=2)
    client.wait("cd")
    client.put_back("b")
    assert client.waiting() == tasks("bcd")


def test_what_comes_back_waits_in_the_order_of_submission() -> None:
    """A worker hands back what queues behind a long task, and then what was on its way to it."""
    client = working("abcdef", depth=6)
    client.wait("gh")
    client.put_back("cb")
    client.put_back("e")
    client.put_back("fd")
    assert client.waiting() == tasks("bcdefgh")


def test_what_comes_back_waits_before_what_had_no_turn_whenever_that_was_submitted() -> None:
    client = working("cd", depth=2)
    client.wait("a")
    client.put_back("d")
    assert client.waiting() == tasks("da")
    client.put_back("c")
    assert client.waiting() == tasks("cda")


def test_only_tasks_are_put_back() -> None:
    client = working("a")
    with pytest.raises(AssertionError, match="that is none"):
        client.leases.put_back(ONE, tasks("a"), tasks("b"))


def test_workers_are_busy_while_all_have_work_and_got_some_a_moment_ago() -> None:
    client = Client()
    client.wait("a")
    assert not client.leases.is_busy(ONE, client.now_ns)
    client = working()
    assert client.leases.is_busy(ONE, client.now_ns + LINE_BUSY_NS - 1)
    assert not client.leases.is_busy(ONE, client.now_ns + LINE_BUSY_NS)
    client.release("a", MIDDLING)
    assert not client.leases.is_busy(ONE, client.now_ns)


def test_a_worker_that_handed_tasks_back_gets_nothing_until_its_task_has_ended() -> None:
    client = working("ab", depth=2)
    client.put_back("b")
    client.leases.stall(asked(1))
    assert client.assign() == []
    client.release("a", MIDDLING)
    assert client.assign() == [Assignment(asked(1), WORKER, 2, tasks("b"), 1)]


def test_a_worker_that_handed_back_all_it_had_takes_work_at_once() -> None:
    client = working("a")
    client.release("a", None)
    client.leases.stall(asked(1))
    client.wait("b")
    assert client.assign() == [Assignment(asked(1), WORKER, 1, tasks("b"), 1)]


# -- returning -----------------------------------------------------------------------------------
def test_an_idle_lease_lingers_and_is_returned_unless_work_comes() -> None:
    client = working()
    client.release("a", MIDDLING)
    assert client.sent() == []
    assert client.due() == client.now_ns + LEASE_LINGER_NS
    client.wait("b")
    client.assign()
    assert client.due() is None
    client.release("b", MIDDLING)
    client.timer()
    assert client.sent() == [given_back(1)]
    assert client.leases.held == {}


def test_a_grant_that_comes_too_late_lingers_too() -> None:
    client = Client()
    client.wait("a")
    client.assign()
    client.sent()
    client.leases.pools[ONE].queue.clear()
    client.grant(1)
    client.timer()
    assert client.sent() == [given_back(1)]


def test_an_idle_lease_that_something_waits_for_is_kept() -> None:
    client = working()
    client.release("a", MIDDLING)
    client.wait("b")
    client.timer()
    assert client.sent() == []
    assert len(client.assign()) == 1


def test_what_idles_is_returned_at_once_when_others_wait() -> None:
    client = working()
    client.leases.on_wanted(NODE, client.out)
    assert client.sent() == []
    client.release("a", MIDDLING)
    assert client.sent() == [given_back(1)]
    client = working()
    client.release("a", MIDDLING)
    client.leases.on_wanted(NODE, client.out)
    assert client.sent() == [given_back(1)]


def test_a_closing_lease_gets_nothing_more_and_goes_back_when_it_is_idle() -> None:
    client = working("abc", depth=1)
    client.leases.on_closing(asked(1), NODE, client.out)
    assert client.sent() == []
    client.release("a", SHORT)
    assert client.sent() == [given_back(1)]
    client.leases.on_closing(asked(1), NODE, client.out)  # it is over
    assert client.assign() == []
    client.sent()
    client = working()
    client.release("a", MIDDLING)
    client.leases.on_closing(asked(1), NODE, client.out)
    assert client.sent() == [given_back(1)]


def test_a_wanted_lease_with_work_waiting_is_kept_for_its_term_and_no_longer() -> None:
    client = working("ab")
    client.leases.on_wanted(NODE, client.out)
    client.now_ns += LEASE_TERM_NS
    client.release("a", MIDDLING)
    assert [each.tasks for each in client.assign()] == [tasks("b")]
    client.sent()
    client.wait("c")
    client.now_ns += 1
    assert client.assign() == []
    client.sent()
    client.release("b", MIDDLING)
    assert client.sent() == [given_back(1)]


def test_a_release_of_what_is_not_there_changes_nothing() -> None:
    client = working()
    client.release("b", SHORT)
    client.release("a", SHORT, number=9)
    assert client.leases.pools[ONE].depth == 1
    assert client.in_flight() == tasks("a")


# -- deaths --------------------------------------------------------------------------------------
def test_the_leases_of_a_dead_worker_are_given_up_for_good() -> None:
    client = working("ab", depth=2)
    assert client.leases.teach(WORKER, FUNCTION)
    ((name, held),) = client.leases.on_worker_down(WORKER, NODE, client.out)
    assert (name, held.in_flight) == (asked(1), {task("a"): 0, task("b"): 1})
    assert client.sent() == [given_back(1, reusable=False)]
    assert client.leases.on_worker_down(WORKER, NODE, client.out) == []
    assert client.leases.teach(WORKER, FUNCTION), "another life knows nothing"


def test_a_worker_learns_a_function_once() -> None:
    leases = LeaseClient(ME)
    assert leases.teach(WORKER, FUNCTION)
    assert not leases.teach(WORKER, FUNCTION)
    assert leases.teach(OTHER_WORKER, FUNCTION)


def test_nothing_is_left_when_the_node_is_gone() -> None:
    client = working("abc")
    client.leases.clear()
    client.leases.check()
    assert (client.leases.held, client.leases.pools) == ({}, {})
    assert client.due() is None
    assert client.grant(2) is None


def test_idle_shapes_are_forgotten_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client_module, "IDLE_POOLS_COUNT_MAX", 3)
    shapes: list[Shape] = [(("CPU", number),) for number in range(1, 6)]
    client = Client()
    client.wait("a", shapes[0])
    client.assign(shapes[0])
    for shape in shapes[1:3]:
        client.wait("b", shape)
        client.leases.pools[shape].queue.clear()
    assert list(client.leases.pools) == shapes[:3]
    client.wait("c", shapes[3])
    assert list(client.leases.pools) == [shapes[0], shapes[3]]


# -- check ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("broken", ["lease", "pushes", "depth", "open", "pool"])
def test_check_finds_books_that_disagree(broken: str) -> None:
    client = working("ab")
    leases = client.leases
    pool = leases.pools[ONE]
    if broken == "lease":
        pool.leases.clear()
    elif broken == "pushes":
        leases.held[asked(1)].pushes = 0
    elif broken == "depth":
        pool.depth = 0
    elif broken == "open":
        pool.open[asked(9)] = None
    else:
        pool.leases[asked(9)] = None
    with pytest.raises(AssertionError):
        leases.check()


def test_ids_of_requests_are_of_this_owner_alone() -> None:
    assert derive_lease_id(peer("you"), 1) != asked(1)
