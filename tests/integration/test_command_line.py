"""What the commands print with `--json` is what docs/reference/command-line.md says of them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.command_line import SHAPES, commands
from tests.integration.scripts import ROOT, environment
from zgen import cli
from zgen.io import spawn
from zgen.runtime.process import Runtime

#: Commands that show nothing but a line for people.
STEPS = ("zgen key add", "zgen key promote", "zgen key retire", "zgen key show")
SILENT = (*STEPS, "zgen keygen", "zgen node start")
#: Commands of which the page names only some of what they print.
MORE = ("zgen node status",)


@contextlib.contextmanager
def started() -> Iterator[str]:
    """Run a node by `zgen node start` and give its folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zgen.cli", "node", "start", "--num-cpus", "1"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        yield lines[1].removeprefix("folder: ").strip()
    finally:
        process.terminate()
        process.communicate(timeout=40)


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    status = cli.main([*words, "--json"])
    told = capsys.readouterr()
    assert told.err == ""
    return status, told.out


def check(command: str, told: str) -> Any:
    """Compare what a command printed with the page, and return it."""
    lines = told.splitlines() if command == "zgen logs" else [told]
    found = [json.loads(line) for line in lines]
    assert found, command
    entries = found if isinstance(found[0], dict) else found[0]
    assert entries, f"{command} shows nothing"
    for entry in entries:
        if command in MORE:
            assert [key for key in SHAPES[command].keys if key not in entry] == []
        else:
            assert sorted(entry) == sorted(SHAPES[command].keys), command
    return found[0]


def test_every_command_that_shows_something_can_say_it_in_json() -> None:
    found = dict.fromkeys(name for name, _, _ in commands(cli.parser(), "zgen"))
    with_json = [
        name
        for name, parser, _ in commands(cli.parser(), "zgen")
        if "--json" in parser.format_help()
    ]
    assert [*with_json, *SILENT] == sorted(with_json) + list(SILENT)
    assert sorted([*with_json, *SILENT]) == sorted(found)
    assert [name for name in SHAPES if name != "zgen list nodes"] == with_json


def test_what_is_printed_for_programs_is_what_the_page_says(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    import zgen

    @zgen.remote
    def speak() -> None:
        print("said")

    zgen.get(speak.remote())
    runtime.ask_node(5.0)  # its answer comes behind the lines
    for words in ("list tasks", "list nodes", "logs", "memory", "stack", "status", "clean"):
        status, told = shown(capsys, *words.split())
        assert status == 0, words
        check("zgen list" if words == "list tasks" else f"zgen {words}", told)
    status, told = shown(capsys, "chaos", "--at", "1s:kill-worker", "--dry-run")
    assert (status, len(check("zgen chaos", told)["faults"])) == (0, 1)
    status, told = shown(capsys, "doctor")
    assert check("zgen doctor", told)["ok"] == (status == 0)


def test_nodes_that_are_started_are_shown_drained_and_stopped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with started() as first, started():
        status, told = shown(capsys, "node", "status")
        assert status == 0
        assert len(check("zgen node status", told)) == 2
        status, told = shown(capsys, "node", "drain", "--address", first)
        assert (status, check("zgen node drain", told)[0]["drained"]) == (0, True)
        status, told = shown(capsys, "node", "stop")
        assert (status, check("zgen node stop", told)[0]["stopped"]) == (0, True)
        assert spawn.started_nodes() == []


def test_the_exit_status_says_whether_it_was_done_or_asked_wrongly(
    capsys: pytest.CaptureFixture[str], own_runtime_folder: Any
) -> None:
    assert cli.main(["node", "status"]) == 1  # nobody to ask
    assert cli.main(["logs", "--node", "tcp://10.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("zgen: ")
    for words in (["none"], ["list", "none"], ["logs", "--pid", "x"]):
        with pytest.raises(SystemExit) as wrong:
            cli.main(words)
        assert wrong.value.code == 2
