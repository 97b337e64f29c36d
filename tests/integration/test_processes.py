"""The daemon's processes: what workers are born into, how their ends are told, what is left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.watching import is_alive, wait_until

JOB = "aa" * 16
ROOT = Path(__file__).resolve().parents[2]


def name(number: int) -> str:
    return f"{number:02x}" * 16


class Host:
    """A hosted ``Processes`` and what it said so far."""

    def __init__(self, folder: str, worker_main: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "node")])}
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.integration.processes_host",
                folder,
                f"tests.integration.worker_mains:{worker_main}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
        )
        self.said: list[dict[str, Any]] = []
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._rest = b""

    def do(self, *command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, key: str, value: Any = None, within_s: float = 10.0) -> dict[str, Any]:
        """Wait for the next thing said that has ``key``, and take it."""
        taken: list[dict[str, Any]] = []

        def found() -> bool:
            self._read()
            for said in self.said:
                if key in said and value in (None, said[key]):
                    self.said.remove(said)
                    taken.append(said)
                    return True
            return False

        wait_until(found, within_s, f"{key}={value}; heard {self.said}")
        return taken[0]

    def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            data = os.read(self.process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.said.extend(json.loads(line) for line in lines)

    def know_job(self, cwd: str = "/", environment: dict[str, str] | None = None) -> None:
        self.do(
            "job", JOB, [str(ROOT), "/somewhere"], cwd, environment or {"PATH": os.environ["PATH"]}
        )

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            assert self.process.wait(10) == 0
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="zf-") as made:
        yield made


@pytest.fixture
def host(folder: str) -> Iterator[Callable[[str], Host]]:
    made: list[Host] = []

    def make(worker_main: str) -> Host:
        made.append(Host(folder, worker_main))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_worker_is_born_into_its_jobs_environment_and_nothing_else(
    host: Callable[[str], Host], folder: str
) -> None:
    served = host("tell")
    zygote = served.hear("zygote")["zygote"]
    served.know_job(cwd=folder, environment={"COLOUR": "blü", "PATH": "/bin"})
    served.do("spawn", name(1), JOB)
    pid = served.hear("spawned", name(1))["pid"]
    told = json.loads("".join(served.hear("printed", name(1))["lines"]))
    assert told["environment"] == {"COLOUR": "blü", "PATH": "/bin", "ZGEN_NODE_FOLDER": folder}
    assert told["cwd"] == folder
    assert told["sys_path"] == [str(ROOT), "/somewhere"]
    assert (told["pid"], told["session"], told["parent"]) == (pid, pid, zygote)
    assert (told["worker"], told["job"], told["folder"]) == (name(1), JOB, folder)
    assert told["node"] == ["01" * 16, 1, "ipc:///nowhere"]
    assert told["main"] == []
    assert told["argv"] == [""]
    assert told["stdin"] == ""
    assert told["sigint_ignored"]
    assert told["sigterm_default"]
    assert told["threads"] == 1
    # The started-marks, and what listing the folder itself took.
    assert told["descriptors"] in ([3], [3, 4])


def test_exit_code_and_last_lines_are_told_after_all_output(host: Callable[[str], Host]) -> None:
    served = host("speak")
    served.know_job()
    served.do("spawn", name(1), JOB)
    ended = served.hear("exited", name(1))
    assert (ended["exit_code"], ended["signal"]) == (7, 0)
    assert sorted(ended["tail"].split("\n")) == sorted(
        ["first", "second ü", "broken � byte", "no end"]
    )
    printed = [said for said in served.said if "printed" in said]
    by_output = {
        error: [line for said in printed if said["is_error"] is error for line in said["lines"]]
        for error in (False, True)
    }
    assert by_output == {False: ["first", "broken � byte", "no end"], True: ["second ü"]}
    assert (ended["lease"], ended["started"]) == ("00" * 16, 0)


def test_a_signal_is_told_with_what_the_worker_had_started(host: Callable[[str], Host]) -> None:
    served = host("mark_and_die")
    served.know_job()
    served.do("spawn", name(1), JOB)
    ended = served.hear("exited", name(1))
    assert (ended["exit_code"], ended["signal"]) == (-1, signal.SIGKILL)
    assert (ended["lease"], ended["started"]) == (b"L".hex() * 16, 2)
    assert ended["tail"] == "about to die"


def test_an_exception_out_of_a_worker_is_in_its_last_lines(host: Callable[[str], Host]) -> None:
    served = host("fail")
    served.know_job()
    served.do("spawn", name(1), JOB)
    ended = served.hear("exited", name(1))
    assert ended["exit_code"] == 1
    assert "ValueError: not today" in ended["tail"]


def test_a_working_directory_that_is_gone_is_named(host: Callable[[str], Host]) -> None:
    served = host("sleep")
    served.know_job(cwd="/gone/away")
    served.do("spawn", name(1), JOB)
    ended = served.hear("exited", name(1))
    assert ended["exit_code"] == 1
    assert "/gone/away" in ended["tail"]


def test_a_worker_of_no_job_is_told_as_a_failed_start(host: Callable[[str], Host]) -> None:
    served = host("sleep")
    served.do("spawn", name(1), JOB)
    ended = served.hear("exited", name(1))
    assert (ended["pid"], ended["tail"]) == (0, "its job is over")


def test_a_kill_takes_all_that_a_worker_started(host: Callable[[str], Host]) -> None:
    served = host("breed")
    served.know_job()
    served.do("spawn", name(1), JOB)
    pids = [int(pid) for pid in served.hear("printed", name(1))["lines"][0].split()[1:]]
    assert len(pids) == 4
    assert all(map(is_alive, pids))
    served.do("kill", name(1))
    assert served.hear("exited", name(1))["signal"] == signal.SIGKILL
    wait_until(lambda: not any(map(is_alive, pids)), 1.0, f"{pids} gone")


def test_a_worker_can_be_killed_before_it_is_there(host: Callable[[str], Host]) -> None:
    served = host("sleep")
    served.know_job()
    for number in range(1, 31):
        served.do("spawn", name(number), JOB)
    for number in range(1, 31):
        served.do("kill", name(number))
    for number in range(1, 31):
        assert served.hear("exited", name(number))["signal"] == signal.SIGKILL


def test_many_workers_at_once_all_start(host: Callable[[str], Host]) -> None:
    served = host("sleep")
    served.know_job()
    for number in range(1, 41):
        served.do("spawn", name(number), JOB)
    pids = [served.hear("spawned", name(number))["pid"] for number in range(1, 41)]
    assert len(dict.fromkeys(pids)) == 40


def test_ended_workers_leave_no_descriptor(host: Callable[[str], Host]) -> None:
    served = host("speak")
    served.know_job()
    served.hear("zygote")
    served.do("descriptors")
    before = served.hear("descriptors")["descriptors"]
    for number in range(1, 21):
        served.do("spawn", name(number), JOB)
    for number in range(1, 21):
        served.hear("exited", name(number))
    served.do("descriptors")
    assert served.hear("descriptors")["descriptors"] == before


def test_a_killed_zygote_takes_its_workers_along_and_a_new_one_serves(
    host: Callable[[str], Host],
) -> None:
    served = host("breed")
    served.know_job()
    zygote = served.hear("zygote")["zygote"]
    served.do("spawn", name(1), JOB)
    pids = [int(pid) for pid in served.hear("printed", name(1))["lines"][0].split()[1:]]
    os.kill(zygote, signal.SIGKILL)
    ended = served.hear("exited", name(1), within_s=1.0)
    assert (ended["pid"], ended["exit_code"], ended["signal"]) == (pids[0], -1, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), 1.0, f"{pids} gone")
    assert served.hear("zygote")["zygote"] != zygote
    served.do("spawn", name(2), JOB)
    served.hear("spawned", name(2))


def test_orders_that_a_dying_zygote_did_not_take_are_given_to_the_next(
    host: Callable[[str], Host],
) -> None:
    served = host("sleep")
    served.know_job()
    zygote = served.hear("zygote")["zygote"]
    os.kill(zygote, signal.SIGSTOP)
    for number in range(1, 21):
        served.do("spawn", name(number), JOB)
    time.sleep(
        0.1
    )  # the orders reach the stopped zygote's socket; nothing else could be waited for
    os.kill(zygote, signal.SIGKILL)
    ends = {"exited": 0, "spawned": 0}
    for number in range(1, 21):
        wait_until(partial(_heard_of, served, name(number), ends), 10, f"an end of {number}")
    # Those that it may have forked are told as failed; the others start under the new zygote.
    assert 0 < ends["exited"] <= 8
    assert ends["spawned"] == 20 - ends["exited"]


def _heard_of(served: Host, worker: str, ends: dict[str, int]) -> bool:
    served._read()
    for said in served.said:
        for key in ends:
            if said.get(key) == worker:
                served.said.remove(said)
                ends[key] += 1
                return True
    return False


#: How often the zygote is killed at a moment that dice choose, and orders on their way then.
ROUNDS, ORDERS = 15, 24


@pytest.mark.timeout(180)
def test_every_order_ends_in_a_worker_or_a_failure_whenever_its_zygote_is_killed(
    host: Callable[[str], Host],
) -> None:
    served = host("sleep")
    served.know_job()
    dice = random.Random(5)
    zygote = served.hear("zygote")["zygote"]
    served.do("descriptors")
    before = served.hear("descriptors")["descriptors"]
    exits = 0
    for turn in range(ROUNDS):
        names = [f"{turn * ORDERS + number + 1:032x}" for number in range(ORDERS)]
        sent = dice.randrange(1, ORDERS)
        for name_ in names[:sent]:
            served.do("spawn", name_, JOB)
        # Before it has started, while it forks, and while orders wait for it: any moment will do.
        time.sleep(dice.choice([0, 0.002, 0.01, 0.05, 0.3]) * dice.random())
        os.kill(zygote, signal.SIGKILL)
        for name_ in names[sent:]:
            served.do("spawn", name_, JOB)
        zygote = served.hear("zygote")["zygote"]
        fates = dict.fromkeys(names, "")
        wait_until(partial(_all_settled, served, fates, zygote), 20, f"ends of {fates}")
        exits += [*fates.values()].count("exited")
        for name_, fate in fates.items():
            if fate == "lives":
                served.do("kill", name_)
                served.hear("exited", name_)
        served.do("descriptors")
        assert served.hear("descriptors")["descriptors"] == before
        assert not any("exited" in said or "spawned" in said for said in served.said)
    assert 0 < exits < ROUNDS * ORDERS


def _all_settled(served: Host, fates: dict[str, str], zygote: int) -> bool:
    """Take what was said; whether all have failed or live under this zygote."""
    served._read()
    for said in [said for said in served.said if "exited" in said or "spawned" in said]:
        served.said.remove(said)
        name_ = said.get("exited") or said["spawned"]
        assert fates[name_] != "exited", f"{name_} ended, and then {said}"
        fates[name_] = "exited" if "exited" in said else "spawned"
        if fates[name_] == "spawned" and parent_of(said["pid"]) == zygote:
            fates[name_] = "lives"
    return all(fate in ("exited", "lives") for fate in fates.values())


def parent_of(pid: int) -> int:
    """Return the parent of a process; 0 if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    return int(stat.rpartition(b")")[2].split()[1])


def test_the_death_of_a_watched_process_is_told_once_for_each_life(
    host: Callable[[str], Host],
) -> None:
    served = host("sleep")
    with subprocess.Popen(["sleep", "1000"]) as watched:
        served.do("watch", name(1), watched.pid)
        served.do("watch", name(2), watched.pid)
        served.do("watch", name(3), watched.pid)
        served.do("unwatch", name(2))
        served.do("descriptors")
        served.hear("descriptors")
        watched.kill()
        watched.wait()
        assert served.hear("process", name(1))["reason"] == f"process {watched.pid} ended"
        served.hear("process", name(3))
        # Dead before it is watched.
        served.do("watch", name(4), watched.pid)
        served.hear("process", name(4))
    assert not any("process" in said for said in served.said)
