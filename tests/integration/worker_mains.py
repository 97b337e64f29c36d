"""What workers run in the tests of processes, instead of a runtime."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from typing import Final

Node = tuple[bytes, int, str]

FOREVER_S: Final = 1000


def sleep(worker: bytes, folder: str, node: Node, job: bytes, started_fd: int) -> int:
    """Do nothing for ever."""
    time.sleep(FOREVER_S)
    return 0


def tell(worker: bytes, folder: str, node: Node, job: bytes, started_fd: int) -> int:
    """Say where and what this process is, then do nothing for ever."""
    import __main__

    facts = {
        "worker": worker.hex(),
        "job": job.hex(),
        "folder": folder,
        "node": [node[0].hex(), *node[1:]],
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "cwd": os.getcwd(),
        "sys_path": sys.path,
        "environment": dict(os.environ),
        "main": sorted(name for name in vars(__main__) if not name.startswith("__")),
        "argv": sys.argv,
        "descriptors": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) > 2),
        "stdin": sys.stdin.read(),
        "sigint_ignored": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "sigterm_default": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "threads": len(os.listdir("/proc/self/task")),
    }
    print(json.dumps(facts))
    time.sleep(FOREVER_S)
    return 0


def speak(worker: bytes, folder: str, node: Node, job: bytes, started_fd: int) -> int:
    """Print on both outputs, the last line without an end, and leave with exit code 7."""
    print("first")
    print("second ü", file=sys.stderr)
    os.write(1, b"broken \xff byte\n")
    sys.stdout.write("no end")
    return 7


def mark_and_die(worker: bytes, folder: str, node: Node, job: bytes, started_fd: int) -> int:
    """Note two started pushes under a lease, then die as by the kernel's hand."""
    with mmap.mmap(started_fd, 24) as marks:
        marks[:] = b"L" * 16 + (2).to_bytes(8, sys.byteorder)
        print("about to die")
        os.kill(os.getpid(), signal.SIGKILL)
    return 0


def fail(worker: bytes, folder: str, node: Node, job: bytes, started_fd: int) -> int:
    """Raise."""
    raise ValueError("not today")


def breed(worker: bytes, folder: str, node: Node, job: bytes, started_fd: int) -> int:
    """Start a child in this group, one in its own session, a daemonised one; print their pids."""
    plain = subprocess.Popen(["sleep", str(FOREVER_S)])
    apart = subprocess.Popen(["sleep", str(FOREVER_S)], start_new_session=True)
    script = f"setsid sleep {FOREVER_S} >/dev/null 2>&1 & echo $!"
    shell = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True)
    print("bred", os.getpid(), plain.pid, apart.pid, int(shell.stdout))
    time.sleep(FOREVER_S)
    return 0


def run_twice(worker: bytes, folder: str, node: Node, job: bytes, started_fd: int) -> int:
    """Exit at once in the job's first worker, stay in the others."""
    marker = os.path.join(os.getcwd(), "ran")
    if not os.path.exists(marker):
        with open(marker, "w"):
            return 1
    time.sleep(FOREVER_S)
    return 0
