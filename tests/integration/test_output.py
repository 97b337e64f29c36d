"""What a person sees of the workers: their output, and what they wait for."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.integration.gates import Gate, seconds_since
from tests.integration.scripts import finish, run, start, succeeded

PREFIX = r"\(worker pid=(\d+)\) "


def unprefixed(text: str) -> list[str]:
    """Return the lines of workers without their prefix; fail on any other line."""
    lines = []
    for line in text.splitlines():
        match = re.fullmatch(PREFIX + "(.*)", line)
        assert match is not None, line
        lines.append(match[2])
    return lines


def test_prints_of_workers_appear_with_their_pid_in_order(tmp_path: Path) -> None:
    source = """
    import os, subprocess, sys, time, zgen
    zgen.init(num_cpus=1)
    @zgen.remote
    def speak():
        for number in range(50):
            print("line", number)
        print("ünïcode", end="\\n\\n")
        return os.getpid()
    pid = zgen.get(speak.remote())
    zgen.shutdown()
    print(pid)
    """
    *lines, pid = succeeded(run(tmp_path, source)).splitlines()
    assert unprefixed("\n".join(lines)) == [
        *(f"line {number}" for number in range(50)),
        "ünïcode",
        "",
    ]
    assert re.match(PREFIX, lines[0])[1] == pid  # type: ignore[index]  # it matched above


def test_everything_that_was_printed_is_shown_before_shutdown_returns(tmp_path: Path) -> None:
    source = """
    import os, subprocess, sys, time, zgen
    @zgen.remote
    def speak(number):
        print("said", number)
    for _ in range(3):
        zgen.init(num_cpus=2)
        zgen.get([speak.remote(number) for number in range(20)])
        zgen.shutdown()
        print("shut down")
    """
    out = succeeded(run(tmp_path, source))
    parts = out.split("shut down\n")
    assert [len(unprefixed(part)) for part in parts] == [20, 20, 20, 0]


def test_a_line_without_an_end_is_shown_before_shutdown_returns(tmp_path: Path) -> None:
    source = """
    import sys, zgen
    @zgen.remote
    def speak():
        print("said", end="")
        sys.stderr.write("complained")
    @zgen.remote
    def tell():
        print("told", end="")
        yield
        print("more", end="")
    zgen.init(num_cpus=1)
    zgen.get(speak.remote())
    zgen.shutdown()
    print("shut down")
    zgen.init(num_cpus=1)
    zgen.get(list(tell.remote()))
    zgen.shutdown()
    """
    done = run(tmp_path, source)
    first, second = done.stdout.split("shut down\n")
    assert [unprefixed(first), unprefixed(second)] == [["said"], ["toldmore"]]
    assert unprefixed(done.stderr) == ["complained"]


def test_prints_are_shown_at_the_end_of_a_program_that_forgets_to_shut_down(
    tmp_path: Path,
) -> None:
    source = """
    import os, subprocess, sys, time, zgen
    @zgen.remote
    def speak():
        print("said")
    zgen.get(speak.remote())
    """
    assert unprefixed(succeeded(run(tmp_path, source))) == ["said"]


def test_error_output_goes_to_the_error_output(tmp_path: Path) -> None:
    source = """
    import os, subprocess, sys, time, zgen
    import logging
    @zgen.remote
    def speak():
        print("good")
        print("bad", file=sys.stderr)
        logging.warning("worse")
        os.write(1, b"raw\\n")
        subprocess.run(["echo", "child"])
    with zgen.init(num_cpus=1):
        zgen.get(speak.remote())
    """
    done = run(tmp_path, source)
    assert done.returncode == 0
    assert sorted(unprefixed(done.stdout)) == ["child", "good", "raw"]
    assert unprefixed(done.stderr) == ["bad", "WARNING:root:worse"]


def test_a_line_is_shown_while_its_task_still_runs(tmp_path: Path, gate: Gate) -> None:
    source = f"""
    import os, subprocess, sys, time, zgen
    @zgen.remote
    def speak():
        print("early")
        while not os.path.exists({str(gate.path)!r}):
            time.sleep(0.01)
        print("late")
    zgen.init(num_cpus=1)
    zgen.get(speak.remote())
    """
    with start(tmp_path, source) as process:
        assert process.stdout is not None
        assert unprefixed(process.stdout.readline()) == ["early"]
        gate.open()
        assert unprefixed(succeeded(finish(process))) == ["late"]


def test_the_last_words_of_a_worker_that_dies_are_shown(tmp_path: Path) -> None:
    source = """
    import os, subprocess, sys, time, zgen
    @zgen.remote(max_retries=0)
    def die():
        print("last words")
        os.kill(os.getpid(), 9)
    with zgen.init(num_cpus=1):
        try:
            zgen.get(die.remote())
        except zgen.exceptions.WorkerCrashedError as error:
            print("driver saw", error.log_tail)
    """
    lines = succeeded(run(tmp_path, source)).splitlines()
    assert "driver saw last words" in lines
    lines.remove("driver saw last words")
    assert unprefixed("\n".join(lines)) == ["last words"]


def test_log_to_driver_false_shows_nothing(tmp_path: Path) -> None:
    source = """
    import os, subprocess, sys, time, zgen
    @zgen.remote
    def speak():
        print("hidden")
        print("hidden too", file=sys.stderr)
    with zgen.init(num_cpus=1, log_to_driver=False):
        zgen.get(speak.remote())
    """
    assert succeeded(run(tmp_path, source)) == ""


def test_a_driver_that_closed_its_output_goes_on(tmp_path: Path) -> None:
    source = """
    import os, subprocess, sys, time, zgen
    @zgen.remote
    def speak():
        print("nobody hears this")
        return 5
    with zgen.init(num_cpus=1):
        sys.stdout.close()
        assert zgen.get([speak.remote() for _ in range(5)]) == [5] * 5
    print("fine", file=sys.stderr)
    """
    done = run(tmp_path, source)
    assert (done.returncode, done.stderr) == (0, "fine\n")


def test_what_can_never_be_met_says_so_within_5_seconds(tmp_path: Path) -> None:
    source = """
    import zgen
    zgen.init(num_cpus=2)
    def greedy():
        return 1
    options = [{"num_cpus": 8}, {"num_gpus": 1}, {"resources": {"disk": 1}}]
    refs = [zgen.remote(**each)(greedy).remote() for each in options]
    print("asked", flush=True)
    print(zgen.wait(refs, timeout=30))
    """
    with start(tmp_path, source) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "asked\n"
        began = time.monotonic()
        lines = [process.stderr.readline() for _ in range(3)]
        assert seconds_since(began) < 5
        process.terminate()
        process.communicate(timeout=20)
    assert lines == [
        "greedy() waits: needs num_cpus=8, this node has 2\n",
        "greedy() waits: needs num_gpus=1, this node has 0\n",
        "greedy() waits: needs resources['disk']=1, this node has 0\n",
    ]


def test_what_waits_for_busy_cpus_says_so_and_runs_in_the_end(tmp_path: Path, gate: Gate) -> None:
    source = f"""
    import os, subprocess, sys, time, zgen
    zgen.init(num_cpus=1)
    @zgen.remote
    def hold():
        while not os.path.exists({str(gate.path)!r}):
            time.sleep(0.01)
        return 1
    held = hold.remote()
    zgen.wait([held], timeout=1)
    other = hold.options(num_cpus=0.5).remote()
    print("asked", flush=True)
    print(zgen.get([held, other]))
    """
    with start(tmp_path, source) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "asked\n"
        began = time.monotonic()
        line = process.stderr.readline()
        assert seconds_since(began) < 8
        assert "hold() waits: needs num_cpus=0.5, 0 of 1 free" in line
        gate.open()
        assert finish(process).stdout == "[1, 1]\n"
    assert process.returncode == 0
