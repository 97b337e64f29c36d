"""What is proved is what runs: machines fed with a record of real programs do the same again."""

from __future__ import annotations

from pathlib import Path

import pytest

import zgen
from tests.integration.programs import PROGRAMS, STORE_BYTES
from tests.integration.replay import Replay, steps_of
from zgen.testing import leaks

pytestmark = pytest.mark.integration

ROLES = ("driver", "worker", "daemon")


@pytest.fixture(scope="module")
def records(own_runtime_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run every program in one session, recorded; nothing of it runs when the tests begin."""
    folder, before = tmp_path_factory.mktemp("records"), leaks.Snapshot.take()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZGEN_RECORD", str(folder))
        with zgen.init(num_cpus=2, resources={"thing": 2}, object_store_memory=STORE_BYTES):
            for program in PROGRAMS:
                program(tmp_path_factory.mktemp(program.__name__))
    assert not leaks.left_behind(before)
    return folder


def of_role(records: Path, role: str) -> list[Path]:
    return sorted(records.glob(f"{role}-*.record"))


def test_every_process_was_recorded(records: Path) -> None:
    assert len(PROGRAMS) == 26
    assert len(of_role(records, "driver")) == 1
    assert len(of_role(records, "daemon")) == 1
    # Four of them were killed, so there were at least that many and two that served on.
    assert len(of_role(records, "worker")) >= 5
    assert len(list(records.iterdir())) == sum(len(of_role(records, role)) for role in ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_fresh_machines_fed_with_the_record_give_the_same_effects(records: Path, role: str) -> None:
    for record in of_role(records, role):
        made_by, steps = steps_of(record)
        replay = Replay(made_by, steps)
        assert replay.first_other is None, f"{record.name}, step {replay.count}"
        assert replay.count == len(steps) > 0
        replay.machine.check()


@pytest.mark.parametrize("role", ROLES)
def test_a_record_with_a_step_less_does_not_replay(records: Path, role: str) -> None:
    """The comparison can fail: one event that did not happen changes what follows."""
    # A worker that was forked ahead may never have been told anything: take who did the most.
    made_by, steps = max(map(steps_of, of_role(records, role)), key=lambda record: len(record[1]))
    whole = Replay(made_by, steps)
    assert whole.first_other is None
    told = [n for n, step in enumerate(steps) if "\tArrived(" in step and "\t[]" not in step]
    dropped = told[0]  # an arrival after which something was done
    less = Replay(made_by, steps[:dropped] + steps[dropped + 1 :])
    assert less.first_other is not None


def test_regions_were_spilled_and_came_back(records: Path) -> None:
    _, steps = steps_of(of_role(records, "daemon")[0])
    for effect in ("SpillRegion(", "RestoreRegion("):
        assert any(effect in step for step in steps)


def test_a_changed_effect_is_noticed(records: Path) -> None:
    made_by, steps = steps_of(of_role(records, "driver")[0])
    changed = next(number for number, step in enumerate(steps) if "ObjectsReady(" in step)
    steps[changed] = steps[changed].replace("ObjectsReady(", "ObjectsGone(")
    assert Replay(made_by, steps).count == changed
