"""Starting zgen with what makes no sense, and again while another thread ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zgen
from zgen.testing import leaks


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"resources": ["disk"]}, TypeError, "resources must be a dict"),
        ({"resources": {1: 1}}, TypeError, "a name must be a string"),
        ({"resources": {"": 1}}, TypeError, "a name must be a string"),
        ({"resources": {"disk": "x"}}, TypeError, "disk"),
        ({"num_cpus": float("inf")}, ValueError, "num_cpus must be at least 0 and less than"),
        ({"num_gpus": -1}, ValueError, "num_gpus must be at least 0"),
        ({"namespace": 5}, TypeError, "namespace must be a string"),
        ({"address": 5}, TypeError, "address must be a string"),
        ({"key": b"/key"}, TypeError, "key must be a string"),
    ],
    ids=repr,
)
def test_a_wrong_argument_is_named_at_once(options: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        zgen.init(**options)
    assert not zgen.is_initialized()


@pytest.mark.parametrize("before", [zgen.shutdown, zgen.is_initialized])
def test_zgen_starts_again_at_once_when_another_thread_ends_it(
    own_runtime_folder: Path, before: Callable[[], Any]
) -> None:
    then = leaks.Snapshot.take()
    zgen.init(num_cpus=1)
    thread = threading.Thread(target=zgen.shutdown)
    thread.start()
    while zgen.is_initialized():
        time.sleep(0.0001)
    before()
    with zgen.init(num_cpus=1):
        thread.join()
        assert zgen.get(zgen.remote(abs).remote(-1)) == 1  # type: ignore[call-overload]  # generic
    assert leaks.left_behind(then) == []
