import pytest

from tests.unit.node.fakes import DRIVER, ask, cpu, lease, peer
from zgen.core.effects import Effect, Send
from zgen.ids import PeerId
from zgen.limits import LEASE_PASSED_MAX, LEASE_WAIT_NOTICE_NS
from zgen.wire.lease import LeaseWaiting, LeaseWanted, Shape
from zgen_node.core.lease_table import Lease, LeaseState, LeaseTable

WORKER, OTHER = peer("worker"), peer("other")
GPU: Shape = (("GPU", 10_000),)
NOTICE = LEASE_WAIT_NOTICE_NS
ONE = cpu(1)


def add(table: LeaseTable, name: str, shape: Shape = ONE, owner: PeerId = DRIVER) -> Lease:
    """Ask, and look at once whether it can be met."""
    made = table.request(owner, ask(name, shape), 0)
    table.reserve(0)
    table.check()
    return made


def grant(table: LeaseTable, name: str, shape: Shape = ONE, owner: PeerId = DRIVER) -> Lease:
    made = add(table, name, shape, owner)
    table.grant(made, peer(f"serves {name}"), 0)
    table.check()
    return made


def state(made: Lease) -> LeaseState:
    return made.state


def wanted(table: LeaseTable) -> list[Effect]:
    out: list[Effect] = []
    table.ask_back(out)
    return out


def test_resources_are_held_from_reservation_to_the_end() -> None:
    table = LeaseTable(cpu(2))
    made = add(table, "a", cpu(1.5))
    assert state(made) is LeaseState.RESERVED
    assert table.reserved() == [made]
    assert table.resources.free == (("CPU", 5_000),)
    table.grant(made, WORKER, 1)
    assert made.worker == WORKER
    assert table.resources.free == (("CPU", 5_000),)
    table.end(made, "returned", 2)
    table.check()
    assert table.resources.free == (("CPU", 20_000),)
    assert table.get(lease("a")) is None
    assert len(table) == 0


def test_requests_are_met_in_order_of_arrival() -> None:
    table = LeaseTable(cpu(1))
    first = grant(table, "a")
    second, third = add(table, "b"), add(table, "c")
    assert table.unmet() == [second, third]
    table.end(first, "returned", 1)
    table.reserve(1)
    assert table.reserved() == [second]
    assert state(third) is LeaseState.QUEUED


def test_what_is_queued_holds_nothing_when_it_ends() -> None:
    table = LeaseTable(cpu(1))
    grant(table, "a")
    table.end(add(table, "b"), "withdrawn", 1)
    table.check()
    assert table.resources.free == (("CPU", 0),)


def test_what_is_reserved_gives_back_when_it_ends() -> None:
    table = LeaseTable(cpu(1))
    table.end(add(table, "a"), "withdrawn", 1)
    table.check()
    assert table.resources.free == (("CPU", 10_000),)


def test_small_requests_overtake_a_large_one_only_so_often() -> None:
    table = LeaseTable(cpu(2))
    running = grant(table, "running")
    large = add(table, "large", cpu(2))
    for index in range(LEASE_PASSED_MAX):
        small = add(table, f"small {index}")
        assert state(small) is LeaseState.RESERVED
        table.end(small, "returned", 1)
    late = add(table, "late")
    assert state(late) is LeaseState.QUEUED
    assert table.waits_for(late) == "waits behind an earlier request"
    table.end(running, "returned", 2)
    table.reserve(2)
    assert state(large) is LeaseState.RESERVED
    assert state(late) is LeaseState.QUEUED
    table.end(large, "returned", 3)
    table.reserve(3)
    assert state(late) is LeaseState.RESERVED


def test_of_many_that_want_the_same_one_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    table = LeaseTable(cpu(1))
    grant(table, "a")
    for number in range(100):
        table.request(DRIVER, ask(str(number), cpu(1 + number % 2)), 0)
    looked: list[Shape] = []

    def fits(shape: Shape) -> bool:
        looked.append(shape)
        return False

    monkeypatch.setattr(table.resources, "fits", fits)
    table.reserve(0)
    assert looked == [cpu(1)], "what this node could never meet is not looked at"


def test_what_shares_no_resource_always_overtakes() -> None:
    table = LeaseTable((*cpu(2), *GPU))
    grant(table, "running")
    large = add(table, "large", cpu(2))
    large.passed_count = LEASE_PASSED_MAX
    assert state(add(table, "gpu", GPU)) is LeaseState.RESERVED
    assert state(add(table, "nothing", ())) is LeaseState.RESERVED
    assert large.passed_count == LEASE_PASSED_MAX
    assert state(add(table, "small")) is LeaseState.QUEUED


def test_only_the_eldest_of_a_resource_counts_who_overtakes() -> None:
    table = LeaseTable(cpu(2))
    grant(table, "running")
    eldest, second = add(table, "eldest", cpu(2)), add(table, "second", cpu(2))
    add(table, "small")
    assert (eldest.passed_count, second.passed_count) == (1, 0)


def test_what_can_never_be_met_stands_in_nobodys_way() -> None:
    table = LeaseTable(cpu(2))
    never = add(table, "never", cpu(8))
    assert not never.feasible
    for index in range(LEASE_PASSED_MAX + 1):
        table.end(add(table, f"small {index}"), "returned", 1)
    assert never.passed_count == 0
    assert state(add(table, "last", cpu(2))) is LeaseState.RESERVED


def test_a_blocked_lease_gives_its_resources_away_and_takes_them_back() -> None:
    table = LeaseTable(cpu(1))
    first = grant(table, "a")
    assert table.set_blocked(first, True, 1)
    table.check()
    second = grant(table, "b")
    assert table.set_blocked(first, False, 2)
    table.check()
    assert table.resources.free == (("CPU", -10_000),)
    third = add(table, "c")
    assert state(third) is LeaseState.QUEUED
    table.end(second, "returned", 3)
    table.reserve(3)
    assert state(third) is LeaseState.QUEUED
    table.end(first, "returned", 4)
    table.reserve(4)
    assert state(third) is LeaseState.RESERVED


def test_a_repeated_word_of_a_wait_changes_nothing() -> None:
    table = LeaseTable(cpu(1))
    first = grant(table, "a")
    assert not table.set_blocked(first, False, 1)
    assert table.set_blocked(first, True, 1)
    assert not table.set_blocked(first, True, 1)
    table.check()
    assert table.resources.free == (("CPU", 10_000),)


def test_a_blocked_lease_that_ends_gives_nothing_twice() -> None:
    table = LeaseTable(cpu(1))
    first = grant(table, "a")
    table.set_blocked(first, True, 1)
    table.end(first, "worker died", 2)
    table.check()
    assert table.resources.free == (("CPU", 10_000),)


def test_a_request_that_waits_says_so_at_every_doubling() -> None:
    table = LeaseTable(cpu(1))
    grant(table, "a")
    add(table, "b")
    message = LeaseWaiting(lease("b"), True, "needs num_cpus=1, 0 of 1 free")
    for at_ns in (NOTICE, 2 * NOTICE, 4 * NOTICE, 8 * NOTICE):
        assert table.deadlines.next_ns == at_ns
        out: list[Effect] = []
        table.on_timer(at_ns - 1, out)
        assert out == []
        table.on_timer(at_ns, out)
        assert out == [Send(DRIVER, message)]


def test_a_request_without_a_worker_says_that_one_starts() -> None:
    table = LeaseTable(cpu(1))
    made = add(table, "a")
    assert table.waits_for(made) == "waits for a worker to start"
    table.grant(made, WORKER, 1)
    assert table.deadlines.next_ns is None


def test_an_infeasible_request_says_what_lacks() -> None:
    table = LeaseTable(cpu(2))
    out: list[Effect] = []
    table.notify(add(table, "a", cpu(8)), 0, out)
    message = LeaseWaiting(lease("a"), False, "needs num_cpus=8, this node has 2")
    assert out == [Send(DRIVER, message)]


def test_owners_are_asked_once_to_return_what_idles() -> None:
    table = LeaseTable(cpu(2))
    grant(table, "a", owner=OTHER)
    grant(table, "b", owner=OTHER)
    assert wanted(table) == []
    add(table, "c")
    assert wanted(table) == [Send(OTHER, LeaseWanted(lease("a")))]
    assert wanted(table) == []
    add(table, "d")
    assert wanted(table) == [Send(OTHER, LeaseWanted(lease("a")))]


def test_a_lease_granted_while_others_wait_is_asked_for_too() -> None:
    table = LeaseTable(cpu(2))
    grant(table, "a", owner=OTHER)
    grant(table, "b", owner=OTHER)
    queued = add(table, "c", owner=OTHER)
    add(table, "d")
    wanted(table)
    first = table.get(lease("a"))
    assert first is not None
    table.end(first, "returned", 1)
    table.reserve(1)
    table.grant(queued, WORKER, 1)
    table.check()
    assert wanted(table) == [Send(OTHER, LeaseWanted(lease("c")))]


def test_an_owner_is_not_asked_for_what_only_it_waits_for() -> None:
    table = LeaseTable((*cpu(1), *GPU))
    grant(table, "a")
    grant(table, "g", GPU)
    add(table, "b")
    assert wanted(table) == [Send(DRIVER, LeaseWanted(lease("g")))]
    add(table, "c", cpu(0.5))
    assert wanted(table) == [Send(DRIVER, LeaseWanted(lease("a")))]


def test_nobody_is_asked_for_what_can_never_be_met() -> None:
    table = LeaseTable(cpu(1))
    grant(table, "a", owner=OTHER)
    add(table, "never", cpu(8))
    assert wanted(table) == []


def test_a_blocked_lease_is_not_asked_for() -> None:
    table = LeaseTable(cpu(1))
    first = grant(table, "a", owner=OTHER)
    table.set_blocked(first, True, 1)
    grant(table, "b")
    add(table, "c")
    assert wanted(table) == []


def test_requests_are_found_by_owner_and_by_job() -> None:
    table = LeaseTable(cpu(1))
    mine, theirs = add(table, "a"), add(table, "b", owner=OTHER)
    assert table.of_owner(OTHER) == [theirs]
    assert table.of_owner(WORKER) == []
    assert table.of_job(mine.job) == [mine, theirs]
    assert table.all() == [mine, theirs]


def test_a_request_without_cpus_is_known_as_such() -> None:
    table = LeaseTable((*cpu(1), *GPU))
    assert add(table, "gpu", GPU).zero_cpu
    assert not add(table, "cpu").zero_cpu


def test_a_lease_is_granted_once() -> None:
    table = LeaseTable(cpu(1))
    made = grant(table, "a")
    with pytest.raises(KeyError):
        table.grant(made, OTHER, 1)


def test_an_amount_that_leaks_is_found_by_the_check() -> None:
    table = LeaseTable(cpu(1))
    table.resources.take(cpu(1))
    with pytest.raises(AssertionError, match="free is"):
        table.check()
