"""Asking processes where they are: politely, by force, and those that cannot be asked."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

from zgen.io import stacks

#: Offers its stacks, does what it is told, and says so; ends with its standard input.
HOST = r"""
import ctypes, glob, os, signal, sys, threading, time
from zgen.io import stacks
if sys.argv[2:]:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
stacks.prepare()
file = stacks.offer()
libc, space = ctypes.PyDLL(None), ctypes.create_string_buffer(1)
def wait():
    print("ready", flush=True)
    sys.stdin.read()
def listens():
    tasks = glob.glob("/proc/self/task/*/status")
    blocked = [line.split()[1] for path in tasks for line in open(path) if "SigBlk" in line]
    return not all(int(mask, 16) & 1 << stacks.ASK_SIGNAL - 1 for mask in blocked)
def hold():
    while not listens():
        time.sleep(0.001)
    hold_now()
def hold_now():
    sys.setswitchinterval(1000)  # so that nobody else gets the interpreter from here on
    libc.write(1, b"ready\n", 6)
    libc.read(0, space, 1)
exec(sys.argv[1])
"""
Start: TypeAlias = Callable[..., int]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that do what is said and can be asked; return the id of each."""
    with ExitStack() as ends:

        def started(code: str, *deaf: str) -> int:
            command = [sys.executable, "-c", HOST, code, *deaf]
            host = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            ends.enter_context(host)
            ends.callback(host.kill)
            assert host.stdout is not None
            assert host.stdout.readline() == b"ready\n"
            return host.pid

        yield started


def ask(pid: int, patience_s: float = 20.0) -> stacks.Told:
    return stacks.ask([pid], patience_s)[pid]


def file_of(pid: int) -> int:
    """Open the file that a process tells in."""
    names = [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
    (path,) = [name for name in names if "zgen-stacks" in os.readlink(name)]
    return os.open(path, os.O_RDWR)


def test_the_stacks_of_all_threads_are_told_with_their_names(start: Start) -> None:
    pid = start("threading.Thread(target=threading.Event().wait, name='by\\nname').start(); wait()")
    told = ask(pid)
    assert (told.forced, told.silence) == (False, "")
    assert "in wait\n" in told.text
    names = [line.split(" ", 2) for line in told.text.splitlines() if line.startswith(stacks.NAME)]
    assert sorted(name for _, _, name in names) == ["MainThread", "by name"]
    for _, ident, _ in names:
        assert f"{ident} (most recent call first)" in told.text
    file = file_of(pid)
    assert os.fstat(file).st_size == 0  # its memory is given back
    os.close(file)


def test_what_keeps_the_interpreter_in_c_is_asked_by_force(start: Start) -> None:
    told = ask(start("hold()"))
    assert (told.forced, told.silence) == (True, "")
    assert "in hold_now\n" in told.text


def test_it_is_asked_by_force_also_if_it_cannot_even_listen(start: Start) -> None:
    told = ask(start("hold_now()"))  # its thread has not come that far, or has by now
    assert (told.forced, told.silence) == (True, "")
    assert "in hold_now\n" in told.text


def test_what_was_left_by_an_asker_that_died_is_not_taken_for_an_answer(start: Start) -> None:
    file = file_of(pid := start("wait()"))
    os.write(file, b"zgen: stacks\nold\nzgen: that is all\n")
    os.close(file)
    told = ask(pid)
    assert "old" not in told.text
    assert "in wait\n" in told.text


def test_one_that_lets_no_signal_through_is_given_up(start: Start) -> None:
    assert ask(start("hold()", "deaf"), 1.5).silence == "no answer within 1.5 s"


def test_two_do_not_ask_one_process_at_once(start: Start) -> None:
    file = file_of(pid := start("wait()"))
    fcntl.flock(file, fcntl.LOCK_EX)
    assert ask(pid, 0.01).silence == "somebody else asks it"
    os.close(file)
    assert "in wait\n" in ask(pid).text


def test_programs_that_would_die_of_the_signal_are_sent_none(start: Start) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        told = ask(stranger.pid)
        assert told.silence == "it does not listen: it is no worker, or not yet"
        assert stranger.poll() is None
        stranger.kill()
        stranger.wait()
        assert ask(stranger.pid).silence == "it has ended"
    assert "closed the file" in ask(start("os.close(file); wait()")).silence


def test_the_process_of_another_user_is_refused(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = start("wait()")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert ask(pid).silence == f"it is a process of user {os.getuid()}"
