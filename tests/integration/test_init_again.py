"""Starting zgen with what makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

import zgen


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
