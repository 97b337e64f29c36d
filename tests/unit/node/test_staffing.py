import pytest

from tests.unit.node.fakes import (
    DRIVER,
    JOB,
    NO_LEASE,
    NODE,
    Bench,
    ask,
    cpu,
    job,
    lease,
    peer,
    spawned,
)
from zgen.core.effects import Report, Send
from zgen.core.events import WorkerExited
from zgen.core.node_effects import JobKnown, JobOver, KillWorker, SpawnWorker
from zgen.ids import PeerId, derive_worker_id
from zgen.limits import (
    SECOND,
    WORKER_IDLE_NS,
    WORKER_START_NS,
    ZERO_CPU_STARTING_MAX,
)
from zgen.wire.lease import (
    EndJob,
    LeaseGranted,
    LeaseRefused,
    LeaseWaiting,
    RequestLease,
    ReturnLease,
)

OTHER, OTHER_DRIVER = job("other"), peer("other driver")


def worker(index: int) -> PeerId:
    return derive_worker_id(NODE, index)


def failed(index: int, log_tail: str = "") -> WorkerExited:
    return WorkerExited(worker(index), 0, 1, 0, log_tail, NO_LEASE, 0)


def with_lease(name: str = "a") -> Bench:
    """A node of one CPU whose first worker serves a lease of the driver."""
    bench = Bench(cpus=1)
    bench.drive()
    bench.say(DRIVER, ask(name))
    bench.start(worker(1))
    return bench


def test_a_job_gets_a_worker_for_each_cpu_before_it_asks() -> None:
    bench = Bench(cpus=2, prestart=True)
    done = bench.drive()
    assert spawned(done) == [worker(1), worker(2)]


def test_only_four_workers_are_started_ahead() -> None:
    bench = Bench(cpus=64, prestart=True)
    assert len(spawned(bench.drive())) == 4


def test_a_node_without_cpus_starts_nothing_ahead() -> None:
    assert spawned(Bench(cpus=0, prestart=True).drive()) == []
    assert spawned(Bench(cpus=0.5, prestart=True).drive()) == []
    assert spawned(Bench(cpus=2, prestart=False).drive()) == []


def test_a_request_takes_an_idle_worker_at_once() -> None:
    bench = Bench(cpus=1, prestart=True)
    bench.drive()
    bench.start(worker(1), pid=5)
    assert bench.say(DRIVER, ask("a")) == [
        Send(DRIVER, LeaseGranted(lease("a"), bench.addresses[worker(1)], 5))
    ]


def test_a_request_without_an_idle_worker_starts_one_and_gets_it() -> None:
    bench = Bench(cpus=1)
    bench.drive()
    assert bench.say(DRIVER, ask("a")) == [SpawnWorker(worker(1), JOB)]
    assert bench.free == (("CPU", 0),)
    done = bench.start(worker(1), pid=5)
    granted = LeaseGranted(lease("a"), bench.addresses[worker(1)], 5)
    assert done[-1] == Send(DRIVER, granted)


def test_a_worker_that_starts_already_is_not_started_twice() -> None:
    bench = Bench(cpus=2, prestart=True)
    bench.drive()
    assert spawned(bench.say(DRIVER, ask("a"), ask("b"))) == []


def test_a_returned_worker_serves_the_next_request() -> None:
    bench = with_lease()
    assert spawned(bench.say(DRIVER, ask("b"))) == []
    address = bench.addresses[worker(1)]
    assert bench.say(DRIVER, ReturnLease(lease("a"), True)) == [
        Send(DRIVER, LeaseGranted(lease("b"), address, 100))
    ]


def test_a_worker_that_is_not_reusable_ends_and_another_is_started() -> None:
    bench = with_lease()
    bench.say(DRIVER, ask("b"))
    assert bench.say(DRIVER, ReturnLease(lease("a"), False)) == [
        KillWorker(worker(1)),
        SpawnWorker(worker(2), JOB),
    ]


def test_requests_without_cpus_start_few_workers_at_a_time() -> None:
    bench = Bench(cpus=0)
    bench.drive()
    bench.drive(OTHER_DRIVER, OTHER)
    done = bench.say(DRIVER, *(ask(f"a{index}", ()) for index in range(3)))
    done += bench.say(OTHER_DRIVER, *(ask(f"b{index}", (), OTHER) for index in range(3)))
    assert len(spawned(done)) == ZERO_CPU_STARTING_MAX == 4
    assert spawned(bench.start(worker(1))) == [worker(5)]


def test_requests_with_cpus_do_not_count_among_those_without() -> None:
    bench = Bench(cpus=8)
    bench.drive()
    done = bench.say(DRIVER, *(ask(f"a{index}") for index in range(6)))
    done += bench.say(DRIVER, *(ask(f"b{index}", ()) for index in range(6)))
    assert len(spawned(done)) == 6 + ZERO_CPU_STARTING_MAX


def test_a_dead_worker_is_replaced_for_who_waits_and_for_the_prestarted_count() -> None:
    bench = Bench(cpus=1, prestart=True)
    bench.drive()
    bench.start(worker(1))
    assert spawned(bench.die(worker(1))) == [worker(2)]
    bench.say(DRIVER, ask("a"))
    assert spawned(bench.step(failed(2))) == [worker(3)]
    assert bench.start(worker(3))[-1] == Send(
        DRIVER, LeaseGranted(lease("a"), bench.addresses[worker(3)], 100)
    )


def test_the_death_of_a_worker_frees_what_its_lease_held() -> None:
    bench = with_lease()
    done = bench.die(worker(1))
    assert done[0] == Report("warning", "worker pid=100 died of signal 9")
    assert bench.free == (("CPU", 10_000),)
    assert bench.machine.leases.all() == []


def test_starts_that_fail_again_and_again_refuse_who_waits() -> None:
    bench = Bench(cpus=2)
    bench.drive()
    bench.drive(OTHER_DRIVER, OTHER)
    bench.say(DRIVER, ask("a"), ask("b", cpu(2)))
    bench.say(OTHER_DRIVER, ask("c", cpu(2), OTHER))
    assert spawned(bench.step(failed(1))) == [worker(2)]
    assert spawned(bench.step(failed(2))) == [worker(3)]
    done = bench.step(failed(3, "ModuleNotFoundError: nope"))
    reason = (
        "workers of this job do not start, 3 failed in a row: worker pid=0 died of exit code 1\n"
        "its last lines:\nModuleNotFoundError: nope"
    )
    assert done == [
        Send(DRIVER, LeaseRefused(lease("a"), reason)),
        Send(DRIVER, LeaseRefused(lease("b"), reason)),
        SpawnWorker(worker(4), OTHER),
    ]
    assert [made.lease for made in bench.machine.leases.all()] == [lease("c")]


def test_after_a_refusal_each_new_request_gets_one_more_try() -> None:
    bench = Bench(cpus=1, prestart=True)
    bench.drive()
    for index in (1, 2):
        assert spawned(bench.step(failed(index))) == [worker(index + 1)]
    assert spawned(bench.step(failed(3))) == []
    assert spawned(bench.say(DRIVER, ask("a"))) == [worker(4)]
    done = bench.step(failed(4))
    assert [type(effect.message) for effect in done if isinstance(effect, Send)] == [LeaseRefused]
    assert spawned(done) == []
    assert spawned(bench.say(DRIVER, ask("b"))) == [worker(5)]
    assert isinstance(bench.start(worker(5))[-1], Send)
    assert spawned(bench.die(worker(5))) == [worker(6)]


def test_workers_that_die_together_are_one_failed_start() -> None:
    bench = Bench(cpus=4, prestart=True)
    bench.drive()
    bench.say(DRIVER, ask("a"))
    for index in (1, 2, 3, 4):
        bench.step(failed(index))
    assert [made.lease for made in bench.machine.leases.all()] == [lease("a")]


def test_a_worker_that_is_late_to_start_counts_as_failed() -> None:
    bench = Bench(cpus=1)
    bench.drive()
    bench.say(DRIVER, ask("a"))
    for index in (1, 2):
        assert KillWorker(worker(index)) in bench.advance(WORKER_START_NS)
        bench.die(worker(index))
    bench.advance(WORKER_START_NS)
    done = bench.die(worker(3))
    seconds = WORKER_START_NS // SECOND
    reason = f"workers of this job do not start, 3 failed in a row: not ready after {seconds} s"
    assert Send(DRIVER, LeaseRefused(lease("a"), reason)) in done


def test_an_idle_worker_beyond_the_prestarted_ones_ends() -> None:
    bench = with_lease()
    bench.say(DRIVER, ReturnLease(lease("a"), True))
    assert bench.advance(WORKER_IDLE_NS - 1) == []
    assert bench.advance(1) == [KillWorker(worker(1))]


def test_a_prestarted_worker_may_idle_for_ever() -> None:
    bench = Bench(cpus=1, prestart=True)
    bench.drive()
    bench.start(worker(1))
    assert bench.advance(10 * WORKER_IDLE_NS) == []
    assert bench.states() == ["idle"]


def test_an_idle_worker_that_owns_leases_is_kept() -> None:
    bench = with_lease()
    bench.say(worker(1), ask("nested", ()))
    bench.start(worker(2), pid=101)
    bench.say(DRIVER, ReturnLease(lease("a"), True))
    assert bench.advance(WORKER_IDLE_NS) == []
    assert bench.states() == ["idle", "leased"]
    bench.say(worker(1), ReturnLease(lease("nested"), True))
    assert bench.advance(2 * WORKER_IDLE_NS) == [KillWorker(worker(1)), KillWorker(worker(2))]


def test_a_full_node_ends_idle_workers_of_other_jobs_to_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zgen_node.core.worker_pool.WORKERS_COUNT_MAX", 4)
    bench = Bench(cpus=0)
    bench.drive()
    bench.drive(OTHER_DRIVER, OTHER)
    for index in (1, 2, 3, 4):
        bench.say(OTHER_DRIVER, ask(f"b{index}", (), OTHER))
        bench.start(worker(index), pid=index)
    bench.say(OTHER_DRIVER, ReturnLease(lease("b1"), True), ReturnLease(lease("b2"), True))
    bench.say(worker(2), ask("owned", (), OTHER))  # worker 1 serves it
    bench.say(OTHER_DRIVER, ReturnLease(lease("b3"), True), ReturnLease(lease("b4"), True))
    assert bench.states() == ["leased", "idle", "idle", "idle"]
    assert bench.say(DRIVER, ask("a", ())) == [KillWorker(worker(3))]
    bench.say(DRIVER, ask("never", cpu(1)))
    assert bench.states() == ["leased", "idle", "idle ending", "idle"]
    assert bench.say(DRIVER, ask("c", ())) == [KillWorker(worker(4))]
    assert bench.say(DRIVER, ask("d", ())) == []  # worker 2 owns a lease
    assert spawned(bench.die(worker(3))) == [worker(5)]
    assert spawned(bench.die(worker(4))) == [worker(6)]


def test_workers_are_not_started_ahead_on_a_full_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zgen_node.core.worker_pool.WORKERS_COUNT_MAX", 3)
    bench = Bench(cpus=2, prestart=True)
    assert len(spawned(bench.drive())) == 2
    assert len(spawned(bench.drive(OTHER_DRIVER, OTHER))) == 1


def test_an_idle_worker_does_not_serve_what_it_asked_for_itself() -> None:
    bench = Bench(cpus=1)
    bench.drive()
    bench.say(DRIVER, ask("a"))
    bench.start(worker(1))
    bench.say(worker(1), ask("nested"))
    assert bench.say(DRIVER, ReturnLease(lease("a"), True)) == [SpawnWorker(worker(2), JOB)]


def test_the_end_of_a_job_ends_its_leases_and_workers_and_nothing_else() -> None:
    bench = Bench(cpus=4)
    bench.drive()
    bench.drive(OTHER_DRIVER, OTHER)
    bench.say(DRIVER, ask("a"), ask("b"))
    bench.say(OTHER_DRIVER, ask("c", cpu(1), OTHER))
    bench.start(worker(1))
    done = bench.say(DRIVER, EndJob(JOB))
    assert done[:3] == [KillWorker(worker(1)), KillWorker(worker(2)), JobOver(JOB)]
    assert bench.states() == ["leased ending", "starting ending", "starting"]
    assert bench.free == (("CPU", 30_000),)


def test_starts_that_fail_after_the_job_is_over_concern_nobody() -> None:
    bench = Bench(cpus=1)
    bench.drive()
    bench.say(DRIVER, ask("a"), EndJob(JOB))
    assert bench.step(failed(1)) == []
    assert bench.machine.pool.all() == []


def test_a_start_that_timed_out_before_the_job_was_over_concerns_nobody() -> None:
    bench = Bench(cpus=1)
    bench.drive()
    bench.say(DRIVER, ask("a"))
    assert KillWorker(worker(1)) in bench.advance(WORKER_START_NS)
    bench.say(DRIVER, EndJob(JOB))
    assert bench.die(worker(1)) == []


def test_a_request_with_a_worker_missing_says_that_one_starts() -> None:
    bench = Bench(cpus=1)
    bench.drive()
    bench.say(DRIVER, ask("a"))
    assert bench.advance(3 * SECOND) == [
        Send(DRIVER, LeaseWaiting(lease("a"), True, "waits for a worker to start"))
    ]


def test_a_job_is_told_to_the_processes_before_its_workers_are_wanted() -> None:
    done = Bench(cpus=1, prestart=True).drive()
    order = [type(effect) for effect in done]
    assert order.index(JobKnown) < order.index(SpawnWorker)


def test_requests_of_other_jobs_do_not_take_a_jobs_workers() -> None:
    bench = Bench(cpus=2, prestart=False)
    bench.drive()
    bench.drive(OTHER_DRIVER, OTHER)
    bench.say(DRIVER, ask("a"))
    bench.start(worker(1))
    bench.say(DRIVER, ReturnLease(lease("a"), True))
    assert bench.say(OTHER_DRIVER, RequestLease(lease("b"), OTHER, cpu(1), "b")) == [
        SpawnWorker(worker(2), OTHER)
    ]
