"""What `zgen stack` makes of stacks, and whom it does not ask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zgen import cli
from zgen.stacks import WorkerStacks, parse, stacks_json, stacks_text

TEXT = """\
Thread 0x00007f0000000abc (most recent call first):
  File "/a b/work.py", line 7 in spin
  File "/a b/work.py", line ??? in <module>
  ...

Current thread 0x00007f0000000fff (most recent call first):
  File "/lib/zgen/io/stacks.py", line 88 in tell_when_asked

Thread 0x00007f0000000def [python] (most recent call first):
  File "/lib/zgen/io/runner.py", line 12 in run_next
"""
NAMES = "name 7f0000000def MainThread\nname 7f0000000abc it's mine\n"


def row(**more: object) -> WorkerStacks:
    known = {"pid": 12, "worker_id": "a" * 32, "node_id": "b" * 32, "job_id": "c" * 32}
    return WorkerStacks(**{**known, "state": "leased", "works_on": "spin()", **more})  # type: ignore[arg-type]


def test_stacks_are_told_by_thread_without_the_one_that_tells() -> None:
    threads = parse(TEXT + NAMES, forced=False)
    assert stacks_text([row(threads=threads)]).splitlines() == [
        "worker pid=12 of node bbbbbbbb: leased, spin()",
        "  it's mine (most recent call first)",
        '    File "/a b/work.py", line 7, in spin',
        '    File "/a b/work.py", line ?, in <module>',
        "    ...",
        "  MainThread (most recent call first)",
        '    File "/lib/zgen/io/runner.py", line 12, in run_next',
    ]


def test_the_oldest_thread_is_the_main_thread_where_names_are_not_known() -> None:
    first, last = parse(TEXT, forced=True)
    assert (first.name, last.name) == ("", "MainThread")
    first, last = parse(TEXT + "...\n", forced=True)  # there are older ones
    assert (first.name, last.name) == ("", "")
    text = stacks_text([row(forced=True, threads=(first,))])
    assert "C code keeps the interpreter\n  thread 0x7f0000000abc (most" in text


def test_a_worker_that_says_nothing_has_a_line_that_says_why() -> None:
    silent = row(works_on="", silence="it is stopped")
    lines = stacks_text([silent]).splitlines()
    assert lines == ["worker pid=12 of node bbbbbbbb: leased", "  not known: it is stopped"]
    assert stacks_json([silent])[0]["silence"] == "it is stopped"
    assert stacks_text([]) == "no worker runs"


def test_processes_that_are_no_workers_are_refused_by_name(
    own_runtime_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["stack"]) == 1
    assert "no node of this user runs here" in capsys.readouterr().err
    assert cli.main(["stack", "--pid", str(os.getpid())]) == 1
    assert "is no worker" in capsys.readouterr().err
    assert cli.main(["stack", "--pid", str(1 << 30)]) == 1
    assert "no process" in capsys.readouterr().err
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert cli.main(["stack", "--pid", str(os.getpid())]) == 1
    assert f"belongs to user {os.getuid()}" in capsys.readouterr().err
