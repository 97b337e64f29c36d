"""RF19, RF24, RF27: work that takes all memory, kills whoever runs it, or abuses its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import cluster, wait_until
from scripts.faults.bodies import note, noted
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, SkippedError, made
from tests.integration.watching import is_alive
from zgen.exceptions import OutOfMemoryError, TaskError, WorkerCrashedError, ZgenError

GROUPS: Final = Path("/sys/fs/cgroup/memory")
LIMIT_BYTES: Final = 500 << 20
#: Part of it that may be in use before the node ends workers.
PART: Final = "0.8"
CHILD: Final = [sys.executable, "-S", "-c", "import time; time.sleep(1000)"]


@contextmanager
def _group() -> Iterator[Path]:
    """Make a control group with a limit; what this process starts in ``_inside`` is of it."""
    group = GROUPS / f"zgen-faults-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError as error:
        raise SkippedError(f"no control group can be made: {error}") from None
    try:
        yield group
    finally:
        group.rmdir()


@contextmanager
def _inside(group: Path) -> Iterator[None]:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    home = next(line.split(":", 2)[2] for line in lines if ":memory:" in line)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (GROUPS / home.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))


@zgen.remote(max_retries=1)
def hog(pause_s: float) -> None:
    """Take memory in steps until somebody puts an end to it."""
    taken = []
    while True:
        taken.append(bytearray(8 << 20))
        time.sleep(pause_s)


@zgen.remote(max_retries=0)
def precious(lasts_s: float) -> int:
    """Hold some memory for a while; may not run again."""
    held = bytearray(50 << 20)
    time.sleep(lasts_s)
    return len(held)


def rf19(setting: Setting) -> Outcome:
    """Have tasks take all the memory of a node, slowly and as fast as they can."""
    times = 4 if setting.quick else 20
    named = spared = alive = 0
    with _group() as group:
        os.environ["ZGEN_MEMORY_THRESHOLD"] = PART
        try:
            with _inside(group):
                zgen.init(num_cpus=2, object_store_memory=50 << 20, log_to_driver=False)
        finally:
            del os.environ["ZGEN_MEMORY_THRESHOLD"]
        try:
            for number in range(times):
                held = precious.remote(3.0)
                greedy = hog.remote((0.05, 0.01, 0.002, 0.0)[number % 4])
                try:
                    zgen.get(greedy, timeout=PATIENCE_S)
                except OutOfMemoryError as error:
                    may_bytes = round(LIMIT_BYTES * float(PART))
                    sizes = error.rss_bytes > 100 << 20 and error.limit_bytes == may_bytes
                    named += sizes and error.attempts == 2
                except ZgenError:
                    pass
                spared += zgen.get(held, timeout=PATIENCE_S) == 50 << 20
                alive += len(zgen.nodes()) == 1
            killed = (group / "memory.oom_control").read_text().split()[-1]
        finally:
            zgen.shutdown()
    good = named == spared == alive == times
    told = (
        f"{times} hogs in a control group of {LIMIT_BYTES >> 20} MiB, of which {PART} may be used: "
        f"{alive} times the node lived, {named} times `OutOfMemoryError` with both sizes after two "
        f"attempts, {spared} times the task beside it that may not run again was spared; killed by "
        f"the kernel: {killed}"
    )
    return Outcome(good, told, {"alive_count": float(alive), "named_count": float(named)})


@zgen.remote(num_cpus=0)
def poison(runs: str) -> None:
    """Kill the process that runs this."""
    note(runs, str(time.monotonic()))
    os.kill(os.getpid(), signal.SIGKILL)


def rf24(setting: Setting) -> Outcome:
    """Run a task that kills its worker every time, with three retries and without a bound."""
    lasts_s = 10.0 if setting.quick else 20.0
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(2, profile="fast", namespaces=False),
    ):
        path, endless = Path(folder) / "runs", Path(folder) / "endless"
        history = attempts = 0
        try:
            zgen.get(poison.options(max_retries=3).remote(str(path)), timeout=PATIENCE_S)
        except WorkerCrashedError as error:
            history, attempts = len(error.history), error.attempts
        runs = len(noted(path))
        ref = poison.options(max_retries=-1).remote(str(endless))
        time.sleep(lasts_s)
        zgen.cancel(ref)
        times = [float(line) for line in noted(endless)]
        pauses = [b - a for a, b in pairwise(times)]
        try:
            zgen.get(ref, timeout=PATIENCE_S)
            ended = ""
        except ZgenError as error:
            ended = type(error).__name__
        time.sleep(2.5)
        after = len(noted(endless)) - len(times)
    made(len(pauses) > 5, "it runs again and again")
    late = pauses[-3:]
    good = attempts == runs == 4 and history == 3
    good = good and min(late) > 0.4 and after <= 1 and ended != ""
    told = (
        f"`max_retries=3`: {attempts} runs, then `WorkerCrashedError` with a history of {history}; "
        f"`max_retries=-1`: {len(times)} runs in {lasts_s:g} s, the first pause {pauses[0]:.2f} s, "
        f"the last ones {min(late):.2f} to {max(late):.2f} s; cancelled, it ended with `{ended}` "
        f"and ran {after} times more"
    )
    return Outcome(good, told, {"runs_count": float(len(times)), "pause_s_last": pauses[-1]})


def _fork_child(notes: str) -> str:
    pid = os.fork()
    if not pid:
        time.sleep(1000)
        os._exit(0)
    note(notes, str(pid))
    return "ok"


def _spawn_child(notes: str) -> str:
    note(notes, str(subprocess.Popen(CHILD).pid))
    return "ok"


def _setsid_child(notes: str) -> str:
    note(notes, str(subprocess.Popen(CHILD, start_new_session=True).pid))
    return "ok"


def _double_fork(notes: str) -> str:
    script = (
        "import os, sys, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "time.sleep(1000)\n"
    )
    subprocess.run([sys.executable, "-S", "-c", script, notes], check=True)
    while not noted(Path(notes)):
        time.sleep(0.01)
    return "ok"


def _close_descriptors(notes: str) -> str:
    os.closerange(3, 256)
    return "ok"


def _replace_handlers(notes: str) -> str:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    return "ok"


def _exit(notes: str) -> str:
    sys.exit(3)


def _hard_exit(notes: str) -> str:
    os._exit(4)


class _Base(BaseException):
    """No ``Exception``."""


def _raise_base(notes: str) -> str:
    raise _Base("of the user")


#: What is done, and what may come of it: a value, or an error of one of these kinds.
ABUSES: Final[dict[str, tuple[Callable[[str], str], tuple[Any, ...]]]] = {
    "fork": (_fork_child, ("ok",)),
    "spawn": (_spawn_child, ("ok",)),
    "setsid": (_setsid_child, ("ok",)),
    "double fork and setsid": (_double_fork, ("ok",)),
    "close all descriptors": (_close_descriptors, ("ok", WorkerCrashedError)),
    "replace signal handlers": (_replace_handlers, ("ok",)),
    "sys.exit": (_exit, (WorkerCrashedError,)),
    "os._exit": (_hard_exit, (WorkerCrashedError,)),
    "raise BaseException": (_raise_base, (TaskError,)),
}


def rf27(setting: Setting) -> Outcome:
    """Abuse the process of a task in many ways; then run others, and look for what is left."""
    contained: list[str] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="zf-") as folder:
        children: list[int] = []
        with cluster(1, profile="fast", namespaces=False):
            for number, (name, (abuse, allowed)) in enumerate(ABUSES.items()):
                path = Path(folder) / f"notes{number}"
                ref = zgen.remote(max_retries=0, num_cpus=1)(abuse).remote(str(path))
                came: Any
                try:
                    came = zgen.get(ref, timeout=PATIENCE_S)
                except ZgenError as error:
                    came = error
                kinds = tuple(one for one in allowed if isinstance(one, type))
                good = came in allowed or isinstance(came, kinds)
                beside = zgen.get([_add.remote(each) for each in range(4)], timeout=PATIENCE_S)
                good = good and beside == [1, 2, 3, 4]
                (contained if good else failed).append(name)
                children += [int(line) for line in noted(path)]
        made(len(children) == 4, f"four processes were started: {children}")
        gone_s = wait_until(lambda: not any(map(is_alive, children)), 30, "they end")
    told = (
        f"{len(contained)} of {len(ABUSES)} contained: {', '.join(contained)}"
        + (f"; NOT: {', '.join(failed)}" if failed else "")
        + f"; what they started was gone {gone_s:.2f} s after the end of the node"
    )
    return Outcome(not failed and gone_s <= 3, told, {"contained_count": float(len(contained))})


@zgen.remote(num_cpus=1)
def _add(number: int) -> int:
    return number + 1


ROWS: Final = {
    "RF19": Row(
        "tasks take all memory of a node, 20 times",
        "the node lives; who may run again ends first; the error names both sizes",
        rf19,
    ),
    "RF24": Row(
        "a task kills its worker every time",
        "stops after its retries, with their history; endless ones wait longer and longer",
        rf24,
    ),
    "RF27": Row(
        "a body forks, spawns, closes descriptors, exits, raises `BaseException`",
        "contained; what it started is gone within 3 s",
        rf27,
    ),
}
