"""When memory is looked at, and who ends when it runs out."""

from __future__ import annotations

from tests.unit.node.fakes import DRIVER, JOB, NODE, Bench, lease
from zgen.core.effects import Effect, Report, Send
from zgen.core.node_effects import KillWorker, ReadMemory
from zgen.core.node_events import MemoryRead
from zgen.ids import PeerId, derive_worker_id
from zgen.limits import MEMORY_FILL_BYTES_PER_MS, MEMORY_LOOK_NS_MAX, MEMORY_LOOK_NS_MIN, MS
from zgen.wire.lease import ProcessDown, RequestLease, ReturnLease

TOTAL = 1_000 << 20
#: Half of it may be in use.
PPM = 500_000
LIMIT = TOTAL // 2
ZERO: tuple[tuple[str, int], ...] = ()


def worker(index: int) -> PeerId:
    return derive_worker_id(NODE, index)


def serving(*retriable: bool) -> Bench:
    """A node whose workers serve a lease each, one granted after the other."""
    bench = Bench(cpus=1, memory_ppm=PPM)
    bench.drive()
    for index, again in enumerate(retriable, 1):
        asked = RequestLease(lease(f"l{index}"), JOB, ZERO, f"work{index}", retriable=again)
        bench.say(DRIVER, asked)
        bench.start(worker(index), 100 + index)
        bench.now_ns += MS
    return bench


def read(bench: Bench, used: int, *measured: tuple[PeerId, int]) -> list[Effect]:
    """Let somebody look, who measures workers if that is wanted."""
    done = bench.step(MemoryRead(used, TOTAL, ()))
    if measured and looks(done):
        done += bench.step(MemoryRead(used, TOTAL, measured))
    return done


def looks(done: list[Effect]) -> list[tuple[PeerId, ...]]:
    return [tuple(name for name, _ in e.workers) for e in done if isinstance(e, ReadMemory)]


def killed(done: list[Effect]) -> list[PeerId]:
    return [e.worker for e in done if isinstance(e, KillWorker)]


def test_nobody_looks_while_nobody_works_or_the_watch_is_off() -> None:
    idle = Bench(cpus=1, prestart=True, memory_ppm=PPM)
    idle.drive()
    idle.start(worker(1))
    assert looks(idle.advance(MEMORY_LOOK_NS_MAX)) == []
    off = Bench(cpus=1)
    off.drive()
    off.say(DRIVER, RequestLease(lease("a"), JOB, ZERO, "work"))
    off.start(worker(1))
    assert looks(off.advance(MEMORY_LOOK_NS_MAX)) == []


def test_looking_ends_with_the_work() -> None:
    bench = serving(True)
    bench.say(DRIVER, ReturnLease(lease("l1"), True))
    assert looks(bench.advance(10 * MEMORY_LOOK_NS_MAX)) == []


def test_the_next_look_is_as_soon_as_what_is_free_could_be_filled() -> None:
    bench = serving(True)
    assert looks(bench.advance(MEMORY_LOOK_NS_MIN)) == [()]
    for spare_ms, pause_ns in ((0, MEMORY_LOOK_NS_MIN), (100, 100 * MS)):
        assert killed(read(bench, LIMIT - spare_ms * MEMORY_FILL_BYTES_PER_MS)) == []
        assert looks(bench.advance(pause_ns - 1)) == []
        assert looks(bench.advance(1)) == [()]
    read(bench, 0)
    assert looks(bench.advance(TOTAL // MEMORY_FILL_BYTES_PER_MS * MS)) == [()]
    huge = TOTAL * 1000
    bench.step(MemoryRead(0, huge, ()))
    assert looks(bench.advance(MEMORY_LOOK_NS_MAX - 1)) == []
    assert looks(bench.advance(1)) == [()]


def test_the_youngest_ends_of_those_whose_work_may_run_again() -> None:
    bench = serving(True, False, True, False)
    everybody = [(worker(index), 10 * index) for index in (1, 2, 3, 4)]
    done = read(bench, LIMIT + 1, *everybody)
    assert looks(done) == [(worker(3), worker(1), worker(4), worker(2))]
    assert killed(done) == [worker(3)]
    (said,) = [e.text for e in done if isinstance(e, Report)]
    assert "pid=103" in said
    assert f"limit is {LIMIT}" in said
    assert "work3()" in said


def test_the_owner_hears_how_much_it_had_and_what_the_limit_is() -> None:
    bench = serving(True)
    read(bench, LIMIT + 1, (worker(1), 77))
    done = bench.die(worker(1), 101, under=lease("l1"), started=1)
    (down,) = [e.message for e in done if isinstance(e, Send) and e.peer == DRIVER]
    assert isinstance(down, ProcessDown)
    assert (down.rss_bytes, down.limit_bytes) == (77, LIMIT)


def test_the_next_one_ends_when_the_last_one_is_dead_and_it_is_still_too_much() -> None:
    bench = serving(True, True)
    both = ((worker(1), 10), (worker(2), 10))
    assert killed(read(bench, LIMIT + 1, *both)) == [worker(2)]
    assert killed(read(bench, LIMIT + 1, *both)) == []
    assert looks(bench.advance(MEMORY_LOOK_NS_MIN)) == [()]
    bench.die(worker(2), 102)
    assert killed(read(bench, LIMIT + 1, *both)) == [worker(1)]


def test_what_may_not_run_again_ends_last_and_with_nobody_left_nothing_happens() -> None:
    bench = serving(False)
    assert killed(read(bench, LIMIT + 1, (worker(1), 10))) == [worker(1)]
    bench.die(worker(1), 101)
    assert looks(read(bench, LIMIT + 1)) == []
    assert killed(read(bench, LIMIT + 1, (worker(1), 10))) == []


def test_who_died_before_he_was_measured_is_passed_over() -> None:
    bench = serving(True, True)
    assert killed(read(bench, LIMIT + 1, (worker(1), 10))) == [worker(1)]


def test_when_nobody_is_left_to_be_measured_the_next_look_comes_in_its_time() -> None:
    bench = serving(True)
    assert looks(read(bench, LIMIT + 1)) == [(worker(1),)]
    assert bench.step(MemoryRead(LIMIT + 1, TOTAL, ())) == []
    assert looks(bench.advance(MEMORY_LOOK_NS_MIN - 1)) == []
    assert looks(bench.advance(1)) == [()]
