"""What deploy/ says is whole: names that point at each other, commands that zgen knows, limits."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from zgen import cli
from zgen.limits import DESCRIPTORS_COUNT_MAX

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "zgen-node.service"
DOCKERFILE = DEPLOY / "container" / "Dockerfile"
SCRIPTS = [DEPLOY / "slurm" / "zgen.sbatch", DEPLOY / "container" / "entrypoint.sh"]
#: Fields of Kubernetes' objects that the manifest may use, by where they stand.
POD = {
    "automountServiceAccountToken", "terminationGracePeriodSeconds", "securityContext",
    "containers", "volumes",
}  # fmt: skip
CONTAINER = {
    "name", "image", "command", "args", "env", "ports", "startupProbe", "readinessProbe",
    "lifecycle", "resources", "securityContext", "volumeMounts",
}  # fmt: skip
STATEFUL_SET = {"serviceName", "replicas", "podManagementPolicy", "selector", "template"}


def needs(name: str) -> str:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found


def deadline_s(command: list[str]) -> float:
    """Return the deadline in a `zgen node drain`, which zgen itself reads."""
    given = cli.parser().parse_args(command[1:])
    return float(given.deadline)


def unit() -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, mark, value = line.partition("=")
        if mark and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


def manifest() -> dict[str, dict[str, Any]]:
    text = (DEPLOY / "kubernetes" / "zgen.yaml").read_text()
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_a_script_can_be_read_by_its_shell(script: Path) -> None:
    shell = script.read_text().splitlines()[0].removeprefix("#!/bin/")
    subprocess.run([needs(shell), "-n", str(script)], check=True)
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_a_script_has_no_known_mistakes(script: Path) -> None:
    subprocess.run([needs("shellcheck"), str(script)], check=True)


def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    analyze = needs("systemd-analyze")
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace("/opt/zgen/bin/zgen", "/bin/true"))
    told = subprocess.run([analyze, "verify", here], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    # 1.9 of 10, where 10 is open to everything; `--threshold` is in tenths.
    closed = [analyze, "security", "--offline=yes", "--threshold=25", str(here)]
    told = subprocess.run(closed, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_the_unit_waits_longer_than_its_drain_and_starts_what_zgen_knows() -> None:
    settings = unit()
    (stop,) = settings["ExecStop"]
    assert float(settings["TimeoutStopSec"][0]) > deadline_s(shlex.split(stop)) + 10
    (start,) = settings["ExecStart"]
    words = [word for word in shlex.split(start) if word != "$ZGEN_NODE_OPTIONS"]
    given = cli.parser().parse_args(words[1:])
    assert given.key in settings["ExecStartPre"][0]
    assert int(settings["LimitNOFILE"][0]) >= DESCRIPTORS_COUNT_MAX
    assert settings["KillMode"] == ["mixed"]
    assert settings["OOMPolicy"] == ["continue"]


def test_the_names_in_the_manifest_point_at_each_other() -> None:
    found = manifest()
    assert sorted(found) == ["NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"]
    service, stateful = found["Service"], found["StatefulSet"]["spec"]
    assert stateful.keys() <= STATEFUL_SET
    labels = stateful["template"]["metadata"]["labels"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == labels == stateful["selector"]["matchLabels"]
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert stateful["serviceName"] == service["metadata"]["name"]
    pod = stateful["template"]["spec"]
    assert pod.keys() <= POD
    (container,) = pod["containers"]
    assert container.keys() <= CONTAINER
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["ZGEN_SECRET"].startswith(mounted["key"])
    ports = {port["containerPort"] for port in container["ports"]}
    assert ports == {port["port"] for port in service["spec"]["ports"]} == {6380}
    numbers = range(stateful["replicas"])
    assert f"for number in {' '.join(map(str, numbers))};" in container["args"][0]


def test_pods_are_asked_stopped_and_closed_as_zgen_wants_it() -> None:
    pod = manifest()["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for probe in ("startupProbe", "readinessProbe"):
        command = container[probe]["exec"]["command"]
        assert cli.parser().parse_args(command[1:]).json
    drain = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] > deadline_s(drain) + 10
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}" in DOCKERFILE.read_text()
    closed = container["securityContext"]
    assert closed["readOnlyRootFilesystem"]
    assert closed["allowPrivilegeEscalation"] is False
    assert closed["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]
    assert not any("medium" in volume.get("emptyDir", {}) for volume in pod["volumes"])


def test_the_image_runs_a_user_of_its_own_and_the_entry_point() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    steps = [line.split(maxsplit=1) for line in lines if re.match(r"[A-Z]+ ", line)]
    known = [
        "FROM",
        "COPY",
        "RUN",
        "USER",
        "WORKDIR",
        "ENV",
        "EXPOSE",
        "ENTRYPOINT",
        "STOPSIGNAL",
        "HEALTHCHECK",
    ]
    assert {word for word, _ in steps} <= {*known}
    final = dict(steps[1 + max(n for n, step in enumerate(steps) if step[0] == "FROM") :])
    assert final["USER"] not in ("0", "root")
    (entry,) = json.loads(final["ENTRYPOINT"])
    assert any(f"deploy/container/entrypoint.sh {entry}" in told for _, told in steps)
    probe = json.loads(final["HEALTHCHECK"].partition("CMD ")[2])
    assert cli.parser().parse_args(probe[1:]).json
    for word, told in steps:
        if word == "COPY" and not told.startswith("--from"):
            assert (ROOT / told.split()[0]).exists()


def test_the_services_of_compose_are_closed_and_know_each_other() -> None:
    found = compose()
    for service in found["services"].values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["init"] is False
        assert [each in found["secrets"] for each in service["secrets"]] == [True]
        for peer in service["environment"]["ZGEN_PEERS"].split():
            assert peer.partition(":")[0] in found["services"]
    begins = [
        name for name, each in found["services"].items() if "ZGEN_BEGIN" in each["environment"]
    ]
    assert begins == ["first"]
    assert found["services"]["first"].get("deploy", {}).get("replicas", 1) == 1


def test_compose_takes_its_file() -> None:
    docker = needs("docker")
    path = DEPLOY / "container" / "compose.yaml"
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("this docker has no compose")
    told = subprocess.run(
        [docker, "compose", "-f", path, "config", "-q"], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
