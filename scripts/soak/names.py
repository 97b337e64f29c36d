"""Actors of the soak that are found by their names, from all nodes."""

from __future__ import annotations

import time
from typing import Any, Final

import zgen
from scripts.soak import bodies
from scripts.soak.check import Operation, Work
from scripts.soak.tally import WrongError
from zgen.exceptions import ActorExistsError, NameUnavailableError

_ALWAYS: Final[dict[str, Any]] = {"max_restarts": -1, "max_task_retries": -1}
_SPREAD: Final[dict[str, Any]] = {"scheduling_strategy": "SPREAD"}
_ASKED_COUNT: Final = 6


def named(work: Work) -> None:
    """Find an actor by its name from tasks on any node, for a while; kill it, and use its name."""
    name = f"soak {work.name}"
    cls: Any = work.dice.choice([bodies.Regular, bodies.Async])
    options = {**_SPREAD, **_ALWAYS, "name": name}
    work.doing = f"makes an actor named {name!r}"
    actor = cls.options(**options).remote(work.seed)
    for turn in range(2):
        _asked(work, name, work.seed)
        work.doing = f"looks for {name!r}"
        work.equal(zgen.get_actor(name) == actor, True, "whether it is the same actor")
        work.doing = f"wants {name!r} twice"
        try:
            cls.options(**options).remote(work.seed)
        except ActorExistsError:
            work.checked += 1
        else:
            raise WrongError("wrong", f"two actors have the name {name!r}")
        if not turn:
            time.sleep(work.dice.uniform(0, 8))
    same = cls.options(**options, get_if_exists=True).remote(work.seed)
    work.equal(same == actor, True, "whether get_if_exists=True returns the same actor")
    zgen.kill(actor)
    work.doing = f"waits until {name!r} is free"
    while _is_taken(name):
        if not work.left_s:
            raise TimeoutError(work.doing)
        time.sleep(0.05)
    work.doing = f"makes another actor named {name!r}"
    again = cls.options(**options).remote(work.seed + 1)
    _asked(work, name, work.seed + 1)
    del again


def _asked(work: Work, name: str, seed: int) -> None:
    task = bodies.ask_named.options(**_SPREAD)
    refs = [task.remote(name, k) for k in range(_ASKED_COUNT)]
    for k, ref in enumerate(refs):
        index, got = work.get(ref, f"call {k} of {name!r}")
        work.equal(index, k, "answer")
        work.check(got, k, 0, seed)


def _is_taken(name: str) -> bool:
    try:
        zgen.get_actor(name)
    except ValueError:
        return False
    return True


OPERATIONS: Final = {"actors found by their names": Operation(named, 3, (NameUnavailableError,))}
