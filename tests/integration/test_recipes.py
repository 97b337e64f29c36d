"""The commands in deploy/ run real nodes: as a unit, in a job, and as process 1 of a namespace."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.integration.scripts import ROOT, environment
from zgen.io import keys, spawn

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "zgen-node.service"
#: A job of two hosts on this machine: each step runs here, once for each of its hosts.
SRUN = """\
#!{python}
import signal, subprocess, sys
hosts, words = ["127.0.0.1", "127.0.0.2"], sys.argv[1:]
while words[0].startswith("--"):
    name, _, value = words.pop(0).partition("=")
    if name == "--nodelist":
        hosts = [value]
    if name == "--exclude":
        hosts.remove(value)
there = [[word.replace("0.0.0.0", host) for word in words] for host in hosts]
steps = [subprocess.Popen(command) for command in there]
signal.signal(signal.SIGTERM, lambda number, _: [step.send_signal(number) for step in steps])
sys.exit(max(step.wait() for step in steps))
"""
SCONTROL = """\
#!/bin/sh
[ "$*" = "show hostnames two" ] && echo 127.0.0.1 && echo 127.0.0.2
"""
PROGRAM = """
import sys, zgen
zgen.init()
ends = [node for node in zgen.nodes() if node["Resources"].get("CPU")]
print(sorted({node["Address"] for node in ends}), len(ends), flush=True)
zgen.shutdown()
sys.exit(7)
"""


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which the recipes find zgen and their managers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    zgen = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m zgen.cli "$@"\n'
    scripts = {"zgen": zgen, "srun": SRUN.replace("{python}", sys.executable)}
    scripts["scontrol"] = SCONTROL
    scripts["zgen-entrypoint"] = '#!/bin/sh\necho "$ZGEN_PEERS/${ZGEN_BEGIN:-}/$*"\n'
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {**environment(), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
    return found


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a key as a manager may mount it: a group can read it."""
    path = tmp_path / "mounted.key"
    keys.generate().write(str(path))
    path.chmod(0o440)
    return path


@contextmanager
def running(
    command: list[str], environment: dict[str, str], number: int = signal.SIGTERM
) -> Iterator[subprocess.Popen[str]]:
    """Run a node and wait until it is ready."""
    node = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    try:
        assert node.stdout.readline().startswith("zgen node with ")
        yield node
    finally:
        node.send_signal(number)
        node.communicate(timeout=40)


def test_the_commands_of_the_unit_start_and_drain_a_node(
    tmp_path: Path, programs: dict[str, str], port: int, secret: Path
) -> None:
    folders = {name: tmp_path / name for name in ("run", "lib", "log")}
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    settings = dict(
        line.split("=", 1) for line in UNIT.read_text().splitlines() if line.startswith("Exec")
    )

    def command(name: str) -> list[str]:
        text = settings[name].replace("$ZGEN_NODE_OPTIONS", "--num-cpus 1")
        text = text.replace("${CREDENTIALS_DIRECTORY}/cluster.key", str(secret))
        for there, here in (
            ("/opt/zgen/bin/zgen", "zgen"),
            ("0.0.0.0:6380", f"127.0.0.1:{port}"),
            ("/run/zgen", str(folders["run"])),
            ("/var/lib/zgen", str(folders["lib"])),
        ):
            text = text.replace(there, here)
        return shlex.split(text)

    kept = {**programs, "ZGEN_LOG_FOLDER": str(folders["log"])}
    subprocess.run(command("ExecStartPre"), env=kept, check=True)
    with running(command("ExecStart"), kept) as node:
        (found,) = spawn.started_nodes()
        assert found.locked
        subprocess.run(command("ExecStop"), env=kept, check=True, capture_output=True)
        assert node.wait(40) == 0
    assert len(list(folders["log"].iterdir())) == 1


@pytest.mark.slow
@pytest.mark.timeout(150)  # four nodes' starts, one behind the other
def test_a_job_has_a_node_on_each_host_and_leaves_nothing(
    tmp_path: Path, programs: dict[str, str], port: int
) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    job = {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "two", "SLURM_CPUS_ON_NODE": "1"}
    job |= {"ZGEN_PORT": str(port), "ZGEN_JOB_ROOT": str(tmp_path)}
    told = subprocess.run(
        [DEPLOY / "slurm" / "zgen.sbatch", sys.executable, program],
        env={**programs, **job},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 7, told.stderr
    assert told.stdout.endswith("] 2\n"), told
    assert list(tmp_path.glob(".zgen-job*")) == []
    assert spawn.started_nodes() == []


def test_a_pod_looks_for_all_others_and_only_the_first_begins(programs: dict[str, str]) -> None:
    text = (DEPLOY / "kubernetes" / "zgen.yaml").read_text()
    (stateful,) = [each for each in yaml.safe_load_all(text) if each["kind"] == "StatefulSet"]
    (container,) = stateful["spec"]["template"]["spec"]["containers"]

    def told(name: str) -> str:
        return subprocess.run(
            [*container["command"], *container["args"]],
            env={**programs, "POD_NAME": name, "POD_IP": "10.0.0.9"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    assert told("zgen-0") == "zgen-1.zgen:6380 zgen-2.zgen:6380/1/--advertise 10.0.0.9"
    assert told("zgen-2") == "zgen-0.zgen:6380 zgen-1.zgen:6380//--advertise 10.0.0.9"


def entry(programs: dict[str, str], secret: Path, port: int, **more: str) -> dict[str, str]:
    return {**programs, "ZGEN_SECRET": str(secret), "ZGEN_PORT": str(port), **more}


ENTRY = [str(DEPLOY / "container" / "entrypoint.sh"), "--advertise", "127.0.0.1", "--num-cpus", "1"]


@pytest.mark.slow
def test_a_container_joins_whoever_answers_and_begins_only_if_it_may(
    tmp_path: Path, programs: dict[str, str], port: int, secret: Path
) -> None:
    nobody = entry(programs, secret, port, ZGEN_PEERS=f"127.0.0.1:{port}", TMPDIR=str(tmp_path))
    told = subprocess.run(ENTRY, env=nobody, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "may not begin a cluster" in told.stderr
    with running(ENTRY, {**nobody, "ZGEN_BEGIN": "1"}):
        other = entry(programs, secret, 0, ZGEN_PEERS=f"127.0.0.1:1 127.0.0.1:{port}")
        other |= {"TMPDIR": str(tmp_path), "ZGEN_PORT": "*"}
        with running(ENTRY, other):
            shown = subprocess.run(
                ["zgen", "status", "--json"], env=programs, capture_output=True, check=True
            )
            assert len(json.loads(shown.stdout)["nodes"]) == 2
    copied = list(tmp_path.glob("zgen-key-*/cluster.key"))
    assert [path.stat().st_mode & 0o777 for path in copied] == [0o600]


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_a_node_as_process_1_reaps_all_that_runs_below_it_and_ends_when_told(
    tmp_path: Path, programs: dict[str, str], port: int, secret: Path
) -> None:
    into = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *ENTRY]
    given = entry(programs, secret, port, TMPDIR=str(tmp_path))
    with running(into, given, signal.SIGKILL) as outside:
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text()
        node = int(children)
        program = """
        import os, subprocess, time, zgen
        zgen.init(address="auto")
        @zgen.remote
        def orphan():
            subprocess.run("(sleep 0.1 &) ; true", shell=True, check=True)
            return os.getpid()
        @zgen.remote(max_retries=1)
        def die():
            os.kill(os.getpid(), 9)
        assert zgen.get(orphan.remote()) > 1
        try:
            zgen.get(die.remote())
        except zgen.exceptions.WorkerCrashedError:
            pass
        assert zgen.get(orphan.remote()) > 1
        zgen.shutdown()
        def processes():
            return subprocess.run(["ps", "-eo", "stat=,comm="], stdout=-1, text=True).stdout
        end = time.monotonic() + 30
        while " zgen-worker" in (left := processes()) or "sleep" in left or "\\nZ" in left:
            assert time.monotonic() < end, left
        """
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(program))
        within = ["nsenter", "--target", str(node), "--pid", "--mount", sys.executable, str(script)]
        subprocess.run(within, env=programs, check=True, timeout=40)
        os.kill(node, signal.SIGTERM)
        assert outside.wait(40) == 0
