"""The soak of ``scripts/soak``: a few seconds of it, its schedule, and its checks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import zgen
from scripts.soak import actors, bodies, names, streams, work
from scripts.soak.check import Work
from scripts.soak.run import OPERATIONS, _left
from scripts.soak.schedule import AWAY_MAX, KINDS, OF_LINKS, Fault, schedule
from scripts.soak.talking import Talk, talk
from scripts.soak.tally import PAGE, Tally, WrongError, with_table
from tests.integration.scripts import ROOT, environment
from tests.integration.watching import wait_until

pytestmark = pytest.mark.chaos


def faults(seed: int, kinds: tuple[str, ...] = tuple(KINDS)) -> list[Fault]:
    return schedule(seed, 1800.0, 5.0, 4, kinds)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_short_soak_finds_nothing_wrong_and_says_so_in_a_table() -> None:
    command = [sys.executable, "-m", "scripts.soak", "--loopback", "--minutes", "0.1", "--every"]
    command += ["1", "--kinds", "worker,zygote,node", "--seed", "3", "--clients", "2"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment(), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| **false deaths** | **0** |" in done.stdout
    assert "| soak, seed 3, " in done.stdout
    assert "| **faults** | **0** |" not in done.stdout


def test_the_faults_of_a_seed_are_always_the_same_and_of_every_kind() -> None:
    assert faults(5) == faults(5) != faults(6)
    assert sorted({fault.kind for fault in faults(5)}) == sorted(KINDS)
    assert len(faults(5)) >= 300
    plain = tuple(kind for kind in KINDS if kind not in OF_LINKS)
    assert not {fault.kind for fault in faults(5, plain)} & {*OF_LINKS}


@pytest.mark.parametrize("seed", range(20))
def test_no_more_nodes_are_away_at_a_time_than_others_can_stand_in_for(seed: int) -> None:
    made = faults(seed)
    for fault in made:
        now = [each for each in made if each.at_s <= fault.at_s < each.until_s]
        slots = [slot for each in now for slot in each.slots]
        assert len(slots) == len({*slots}), "one thing at a time befalls a node"
        assert sum(KINDS[each.kind].takes for each in now if KINDS[each.kind].is_away) <= AWAY_MAX
        assert sum(KINDS[each.kind].is_cut for each in now) <= 1
    assert max(fault.until_s for fault in made) < 1800


@pytest.mark.parametrize("size_bytes", [0, 150_000])
@pytest.mark.parametrize(("index", "kind"), [(4, "lost"), (2, "repeated"), (3, "wrong")])
def test_an_item_that_is_another_one_is_lost_repeated_or_wrong(
    tmp_path: Path, size_bytes: int, index: int, kind: str
) -> None:
    run = Work("a run", str(tmp_path / "notes"))
    run.check(bodies.value(run.seed, 3, size_bytes), 3, size_bytes)
    other = bodies.value(run.seed + 2 * (index == 3), index, size_bytes)
    with pytest.raises(WrongError) as caught:
        run.check(other, 3, size_bytes)
    assert caught.value.kind == kind


def test_whatever_goes_wrong_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    assert Tally().good
    tally.fault("node")
    tally.did("tasks", 7)
    tally.errs("tasks", "WorkerCrashedError")
    tally.wrong("hung", "a story")
    assert not tally.good
    assert "a story" in capsys.readouterr().out
    table = tally.table(9).splitlines()
    assert "| **hung** | **1** |" in table
    assert "| **lost** | **0** |" in table
    assert f"| {KINDS['node'].told} | 1 |" in table
    assert "| tasks: 7 items checked, expected errors: WorkerCrashedError 1 | 1 |" in table


def test_errors_leaks_and_times_are_told_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    began = time.monotonic()
    tally.begin()
    tally.fault("node")
    tally.errs("streams", "StreamLentError")
    tally.errs("tasks", "StreamLentError")
    for hundredths in range(1, 101):
        tally.noticed("node killed, by another", hundredths / 100)
    # Two waited when the node died, and one began to wait later.
    tally.waited([(began - 1, began + 2), (began - 1, began + 3), (began + 1, began + 9)])
    left = ["process 7 [S] python", "descriptor 9 -> socket:[1]", "descriptor 4 -> /memfd:zgen"]
    tally.leaked([*left, "file /run/zgen/key", "TaskRow(...)"], "five things")
    assert "five things" in capsys.readouterr().out
    table = tally.table(9).splitlines()
    assert "| **typed errors that a fault explains** | **2** |" in table
    assert "| StreamLentError | 2 |" in table
    noticed = "noticed: node killed, by another, 100 times (p50 / p99 / max)"
    assert f"| {noticed} | 0.51 s / 1.00 s / 1.00 s |" in table
    [went_on] = [row for row in table if row.startswith("| went on: ")]
    assert went_on.startswith("| went on: after deaths and leaves of nodes, 1 times")
    assert went_on.endswith("| 3.00 s / 3.00 s / 3.00 s |")
    assert not tally.good
    told = {kind: f"| leaked {kind} | {count} |" for kind, count in tally.left.items()}
    assert sorted(told) == ["entries of tables", "files", "memfds", "processes", "sockets"]
    assert all(row in table for row in told.values())
    assert "| leaked threads | 0 |" in table


def test_a_wrong_step_of_a_dialogue_is_told_from_the_right_one() -> None:
    said, other = Talk(1, 10), Talk(1, 10)
    assert said.answer(None) == other.answer(None)
    assert said.answer(1) != other.answer(2)
    assert said.answer(3) != other.answer(3), "it has heard something else before"
    speaker = talk(1, 10)
    assert next(speaker) == Talk(1, 10).answer(None)
    assert speaker.throw(KeyError(4))[0] == 2
    with pytest.raises(StopIteration, match="ended"):
        speaker.send("end")


def test_every_kind_of_work_has_a_name_of_its_own() -> None:
    tables = [each.OPERATIONS for each in (work, streams, actors, names)]
    assert len(OPERATIONS) == sum(map(len, tables)) >= 34


def test_the_table_replaces_the_one_in_the_documentation() -> None:
    page = "before\n<!-- soak:begin -->\n| old |\n<!-- soak:end -->\nafter"
    written = with_table(page, "| new |")
    assert written == "before\n<!-- soak:begin -->\n| new |\n<!-- soak:end -->\nafter"
    assert with_table(PAGE.read_text(encoding="utf-8"), "| new |").count("| new |") == 1
    with pytest.raises(ValueError, match="soak:begin"):
        with_table("a page", "| new |")


@pytest.mark.timeout(120)
def test_what_is_still_held_anywhere_is_found_and_nothing_else() -> None:
    zgen.init(num_cpus=2)
    try:
        actor = bodies.Regular.remote(1)
        assert zgen.get(actor.tell.remote(1))[0] == 1
        ref = zgen.put(bytes(200_000))
        stream = bodies.items.remote(1, 1 << 40, 0, 0.01)
        zgen.get(next(stream))
        told = "\n".join(_left())
        for each in (
            "ActorState",
            "ObjectState",
            "StreamState",
            "TaskState",
            "lease on",
            "regions",
        ):
            assert each in told, told
        zgen.cancel(stream)
        del actor, ref, stream
        wait_until(lambda: not _left(), 30, "nothing is held")
    finally:
        zgen.shutdown()
