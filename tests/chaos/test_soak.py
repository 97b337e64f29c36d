"""The soak of ``scripts/soak``: a few seconds of it, its schedule, and its checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.soak import bodies
from scripts.soak.check import Work
from scripts.soak.schedule import AWAY_MAX, KINDS, OF_LINKS, Fault, schedule
from scripts.soak.tally import Tally, WrongError
from tests.integration.scripts import ROOT, environment

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
    work = Work("a run", str(tmp_path / "notes"))
    work.check(bodies.value(work.seed, 3, size_bytes), 3, size_bytes)
    other = bodies.value(work.seed + 2 * (index == 3), index, size_bytes)
    with pytest.raises(WrongError) as caught:
        work.check(other, 3, size_bytes)
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
