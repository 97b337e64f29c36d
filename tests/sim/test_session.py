"""Sessions alone: a thousand messages between processes that die, under every hardship."""

from __future__ import annotations

import pytest

from tests.sim.echo import EchoMachine, EchoWorld, run_echo
from zgen.limits import MS
from zgen.sim.faults import Hardship
from zgen.sim.network import Rates
from zgen.sim.oracle import Marks

SEEDS = 20


def test_every_message_between_the_living_arrives_once_and_in_order() -> None:
    failures = {seed: failure for seed in range(SEEDS) if (failure := run_echo(seed))}
    assert not failures


# Each of these failed once.
@pytest.mark.parametrize(
    ("seed", "fault"),
    [
        (21, "an ack of older data passed for a proof that the newest hello had arrived"),
        (18, "a line without data of its own never repeated a lost hello"),
        (89, "the hello of a life older than the one dialled was taken"),
    ],
)
def test_a_seed_that_failed_once_is_green(seed: int, fault: str) -> None:
    assert not run_echo(seed), fault


def test_damaged_frames_are_counted_and_never_raise() -> None:
    hardship = Hardship(Rates(loss=0.02, garble=0.3), every_ns={"cut": 40 * MS})
    refused = 0
    for seed in range(5):
        echo = EchoWorld(seed, 3, hardship)
        echo.in_order.heard = lambda channel, what: None  # type: ignore[method-assign]  # flipped bits are heard too
        echo.hear = lambda listener, peer, what: None  # type: ignore[method-assign]
        for life in echo.world.lives.values():
            assert isinstance(life.machine, EchoMachine)
            life.machine.hear = echo.hear
        echo.faults.begin()
        for _ in range(400):
            echo.world.at(echo.world.random.randrange(300 * MS), echo.say)
        echo.world.run(500 * MS)
        refused += sum(m.refused for m in _machines(echo))
        assert echo.world.network.counts.garbled > 50
    assert refused > 100


def _machines(echo: EchoWorld) -> list[EchoMachine]:
    return [m for life in echo.world.lives.values() if isinstance(m := life.machine, EchoMachine)]


def test_the_rare_branches_of_a_line_are_reached() -> None:
    with Marks() as marks:
        for seed in range(SEEDS):
            run_echo(seed)
    for mark in (
        "early message kept",
        "repeated message dropped",
        "oldest resent after a timeout",
        "resent on a new connection",
        "resend goes on after an ack",
        "hello repeated with an ack",
        "hello of a newer life",
        "hello of the dead refused",
        "stranger's data dropped",
    ):
        assert mark in marks.counts
