"""Actors of the soak: regular, threaded and async ones, that live on or die for good."""

from __future__ import annotations

import time
from typing import Any, Final

import zgen
from scripts.soak import bodies
from scripts.soak.check import Operation, Work, amount_of
from scripts.soak.tally import WrongError
from zgen.exceptions import ActorDiedError, ActorUnavailableError

_ALWAYS: Final[dict[str, Any]] = {"max_restarts": -1, "max_task_retries": -1}
_SPREAD: Final[dict[str, Any]] = {"scheduling_strategy": "SPREAD"}


def _made(work: Work, **options: Any) -> tuple[str, Any]:
    """Return a kind of actor and one of that kind."""
    kind = work.dice.choice(["regular", "threaded", "async"])
    cls: Any = bodies.Async if kind == "async" else bodies.Regular
    more = {"max_concurrency": 4} if kind == "threaded" else {}
    return kind, cls.options(**_SPREAD, **options, **more).remote(work.seed)


def calls(work: Work) -> None:
    """Call an actor that is made anew as often as it dies."""
    kind, actor = _made(work, **_ALWAYS)
    count = work.dice.randrange(10, 120)
    pause_s = work.dice.choice([0, 0, 0.02])
    refs = [actor.tell.remote(k, pause_s) for k in range(count)]
    lives: dict[str, int] = {}
    for k, ref in enumerate(refs):
        index, got, life, number = work.get(ref, f"call {k} of a {kind} actor")
        work.equal(index, k, "answer")
        work.check(got, k)
        if kind == "regular" and lives.get(life, 0) >= number:
            raise WrongError("wrong", f"call {k} ran as number {number} of a life, out of order")
        lives[life] = number


def streams(work: Work) -> None:
    """Read several streams of one actor, small and large items."""
    kind, actor = _made(work, **_ALWAYS)
    size = work.dice.choice([0, 0, 0, 200_000])
    count = work.dice.randrange(10, 60 if size else 300)
    opened = [actor.items.remote(count, size, 0.005) for _ in range(2)]
    for each in opened:
        work.read(each, count, size)
        work.end(each)
    work.equal(work.get(actor.tell.remote(1), f"last call of a {kind} actor")[0], 1, "answer")


def held(work: Work) -> None:
    """Hold large items of an actor unread for a while; then read them."""
    _, actor = _made(work, **_ALWAYS)
    size, count = 200_000, work.dice.randrange(2, 8)
    generator = actor.items.remote(count, size, 0.0)
    refs = [work.next(generator, index) for index in range(count)]
    work.end(generator)
    work.doing = "holds"
    time.sleep(work.dice.uniform(0.5, 12))
    for index, ref in enumerate(refs):
        work.check(work.get(ref, f"held item {index} of an actor"), index, size)


def mortal(work: Work) -> None:
    """Call an actor that is made anew once, with calls that run at most once."""
    actor = bodies.Regular.options(max_restarts=1, **_SPREAD).remote(work.seed)
    names = [f"{work.name}-{i}" for i in range(20)]
    error: Exception | None = None
    for name in names:
        try:
            ref = actor.once.remote(work.notes, name, 0.1)
            work.equal(work.get(ref, "a call that may run once"), name, "answer")
        except (ActorDiedError, ActorUnavailableError) as caught:
            error = caught
    if error:
        raise error


def passed_on(work: Work) -> None:
    """Have tasks call an actor, and have the actor read what is lent to it."""
    _, actor = _made(work, **_ALWAYS)
    asked = [bodies.ask.remote(actor, k) for k in range(6)]
    sizes = [work.dice.choice([0, 200_000]) for _ in range(3)]
    refs = [bodies.make.remote(work.seed, i, size) for i, size in enumerate(sizes)]
    taken = actor.take.remote(refs)
    del refs
    for k, ref in enumerate(asked):
        index, got = work.get(ref, f"call {k} by a task")
        work.equal(index, k, "answer")
        work.check(got, k)
    wanted = amount_of(bodies.value(work.seed, i, size) for i, size in enumerate(sizes))
    work.equal(work.get(taken, "what an actor read"), wanted, "what an actor read")


def owned(work: Work) -> None:
    """Have a task make an actor and call it."""
    count = work.dice.randrange(1, 10)
    said = work.get(bodies.with_actor.remote(work.seed, count), "a task with an actor of its own")
    work.equal(len(said), count, "answers")
    for k, (index, got) in enumerate(said):
        work.equal(index, k, "answer")
        work.check(got, k)


def killed(work: Work) -> None:
    """Kill an actor under its calls and streams."""
    _, actor = _made(work, **_ALWAYS)
    generator = actor.items.remote(100_000, 0, 0.01)
    work.read(generator, 5)
    calls_ = [actor.tell.remote(k) for k in range(3)]
    work.doing = "kills"
    zgen.kill(actor)
    died = 0
    for ref in calls_:
        try:
            work.get(ref, "a call of a killed actor")
        except ActorDiedError:
            died += 1
    index = 5
    while True:
        ref = work.next(generator, index)
        try:
            got = work.get(ref, f"item {index} of a killed actor")
        except ActorDiedError:
            break
        work.check(got, index)
        index += 1
    work.end(generator)


_MORTAL: Final = (ActorDiedError, ActorUnavailableError)

OPERATIONS: Final = {
    "actors' calls": Operation(calls, 4),
    "actors' streams": Operation(streams, 4),
    "actors' large items held and read later": Operation(held, 2),
    "actors that die for good": Operation(mortal, 2, _MORTAL),
    "actors called by tasks": Operation(passed_on, 3),
    "actors of tasks": Operation(owned, 2),
    "actors killed by this program": Operation(killed, 1),
}
