"""How large the store is and where it spills to, from ``init`` to the node."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import zgen
from zgen.limits import STORE_BYTES_MIN, STORE_PERCENT


def facts_of(context: zgen.api.Context) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((Path(context.session_dir) / "node.json").read_text())
    return facts


def test_the_store_has_the_size_and_the_folder_that_init_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with zgen.init(
        num_cpus=1, object_store_memory=5 << 20, object_spilling_directory="."
    ) as context:
        facts = facts_of(context)
    assert (facts["store_bytes"], facts["spill_folder"]) == (5 << 20, str(tmp_path))


def test_the_store_is_a_share_of_the_memory_by_default() -> None:
    with zgen.init(num_cpus=1) as context:
        facts = facts_of(context)
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert STORE_BYTES_MIN <= facts["store_bytes"] <= STORE_PERCENT / 100 * machine_bytes
    assert facts["spill_folder"] is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"address": "auto", "object_store_memory": 1 << 30}, ValueError),
        ({"address": "auto", "object_spilling_directory": "/tmp"}, ValueError),
        ({"object_store_memory": STORE_BYTES_MIN - 1}, ValueError),
        ({"object_store_memory": 1e9}, TypeError),
        ({"object_store_memory": True}, TypeError),
        ({"object_spilling_directory": "/missing"}, ValueError),
    ],
    ids=repr,
)
def test_wrong_settings_of_the_store_raise_and_start_nothing(options: Any, error: Any) -> None:
    (name,) = [option for option in options if option.startswith("object_")]
    with pytest.raises(error, match=name):
        zgen.init(**options)
    assert not zgen.is_initialized()
