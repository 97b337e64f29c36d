"""Options that programs for Ray pass, and that ask for nothing here."""

from __future__ import annotations

from typing import Any

import pytest

import zgen
from tests.integration.remote_class import RemoteClass

pytestmark = pytest.mark.usefixtures("runtime")


def test_options_of_ray_that_ask_for_nothing_are_taken() -> None:
    idle: dict[str, Any] = {
        "enable_task_events": False,
        "_metadata": {"who": "asks"},
        "runtime_env": {},
        "max_calls": 0,
        "accelerator_type": None,
        "_num_objects_per_yield": 1,
    }
    assert zgen.get(zgen.remote(**idle)(lambda: 1).options(**idle).remote()) == 1

    @zgen.remote(**idle)
    class Idle(RemoteClass):
        @zgen.method(enable_task_events=False)
        def one(self) -> int:
            return 1

    assert zgen.get(Idle.options(**idle).remote().one.options(_metadata={}).remote()) == 1


@pytest.mark.beside_ray("environments")
@pytest.mark.beside_ray("worker_reuse_limit")
@pytest.mark.beside_ray("placement_groups")
@pytest.mark.parametrize(
    ("name", "asked"),
    [("runtime_env", {"pip": ["six"]}), ("max_calls", 2), ("placement_group", object())],
)
def test_what_is_not_here_is_refused_by_its_name(name: str, asked: Any) -> None:
    with pytest.raises(ValueError, match=name):
        zgen.remote(**{name: asked})(len)
    with pytest.raises(ValueError, match=name):
        zgen.remote(RemoteClass).options(**{name: asked})
