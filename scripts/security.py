"""What strangers and members can do to a process behind the lock, with figures: the RS rows.

``python scripts/security.py`` runs each attack in full against processes of this machine and prints
a table; ``--quick`` makes them small. Rows that take no attack of their own name the tests that
show them. Exits with 1 if a row misses its bar.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from zmq.utils import z85

from scripts.faults.rotation import rs7
from scripts.faults.row import NotMadeError, Setting, SkippedError
from tests.integration import malformed, strangers
from tests.integration.strangers import Member, flood, greeting, resident_bytes
from tests.integration.test_locked_node import Guarded, harm
from tests.integration.watching import wait_until
from zgen.core.handshake_events import Refusal
from zgen.exceptions import HandshakeError, RemoteProtocolError, WrongKeyError
from zgen.io.doorbell import who_is_at
from zgen.io.keys import ClusterKey, generate
from zgen.io.security import Doorman, Lock
from zgen.wire.codec import decode

ROOT: Final = Path(__file__).resolve().parent.parent
MIB: Final = 1 << 20
#: Answers of a node that are timed, each with a connection of its own.
ANSWERS_COUNT: Final = 30
#: What one row says: whether it is at its bar, and the figures.
Outcome = tuple[bool, str]


class Sizes:
    """How much of everything."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.flood_bytes = (20 if quick else 200) * MIB
        self.idle_count = 300 if quick else 3000
        self.malformed_count = 1000 if quick else 10_000


@contextmanager
def pair() -> Iterator[tuple[Member, Member, ClusterKey]]:
    """Run two members in this process."""
    key = generate()
    with (
        tempfile.TemporaryDirectory(prefix="zs-") as folder,
        Member(Path(folder), key) as victim,
        Member(Path(folder), key) as friend,
    ):
        yield victim, friend, key


def rs1(sizes: Sizes) -> Outcome:
    """Hear nobody who has not the key, keep nothing of a flood, and say why in time."""
    beginnings = {
        "bytes": b"",
        "NULL": greeting(b"NULL"),
        "command": greeting(b"CURVE") + strangers.LONG_COMMAND,
        "message": greeting(b"CURVE") + strangers.LONG_MESSAGE,
    }
    with pair() as (victim, friend, key), tempfile.TemporaryDirectory(prefix="zs-") as folder:
        friend.reach(victim)
        growth: dict[str, float] = {}
        for name, beginning in beginnings.items():
            gc.collect()
            before = peak = resident_bytes(os.getpid())
            for _ in range(4):
                flood(victim.port, beginning, sizes.flood_bytes // 4)
                peak = max(peak, resident_bytes(os.getpid()))
            growth[name] = (peak - before) / MIB
        for stranger_key in (generate(), None):
            with Member(Path(folder), stranger_key) as stranger:
                stranger.say(victim.address, strangers.STRANGERS_WORDS)
                wait_until(lambda s=stranger: bool(s.machine.failures), 10, "told")  # type: ignore[misc]
        context, _ = strangers.with_another_key(victim.port, z85.encode(Lock(key).member))
        wait_until(lambda: victim.machine.refused[Refusal.OTHER_KEY] > 1, 10, "refused")
        context.destroy(0)
        said = [message.payload for message in victim.machine.heard]
        heard = said.count(strangers.STRANGERS_WORDS) + victim.machine.let_in
        took_s = 0.0
        for wrong in (generate(), None):
            began = time.monotonic()
            try:
                who_is_at(f"127.0.0.1:{victim.port}", wrong)
            except WrongKeyError:
                took_s = max(took_s, time.monotonic() - began)
            else:
                heard += 1
    grew = ", ".join(f"{name} {mib:.1f}" for name, mib in growth.items())
    mib = sizes.flood_bytes // MIB
    told = f"{heard} heard; {mib} MiB floods grew it by MiB: {grew}; error after {took_s:.2f} s"
    return heard == 0 and max(growth.values()) <= 4 and took_s <= 1, told


def rs1b(sizes: Sizes) -> Outcome:
    """Refuse everybody new when the doorman fails, and go on with who is there."""
    answer = Doorman._answer_to
    with pair() as (victim, friend, key):
        friend.reach(victim)
        victim.reach(friend)
        Doorman._answer_to = fail  # type: ignore[method-assign]  # to see what then happens
        try:
            server_key = z85.encode(Lock(key).member)
            dialled = [strangers.with_another_key(victim.port, server_key) for _ in range(5)]
            refused = victim.machine.refused
            took_s = wait_until(lambda: refused[Refusal.NOBODY_DECIDES] > 0, 10, "reported")
            wait_until(lambda: sum(refused.values()) >= 5, 10, "all are refused")
            for context, _ in dialled:
                context.destroy(0)
            friend.reach(victim)
            victim.reach(friend)
        finally:
            Doorman._answer_to = answer  # type: ignore[method-assign]
        let_in, lost = victim.machine.let_in, sum(victim.machine.lost.values())
    told = (
        f"{let_in} of 5 let in; reported after {took_s:.3f} s; {lost} connections of members lost"
    )
    return let_in == 0 and lost == 0 and took_s <= 1, told


def fail(self: Doorman, asked: list[bytes]) -> list[bytes]:
    raise RuntimeError("out of order")


def rs2(sizes: Sizes) -> Outcome:
    """Let a member in while others say nothing, and close those."""
    with pair() as (victim, friend, _):
        lines = strangers.idle_connections(victim.port, sizes.idle_count)
        try:
            reached_s = friend.reach(victim)
            closed_s = strangers.wait_until_closed(lines, 30)
        finally:
            for line in lines:
                line.close()
    told = (
        f"{sizes.idle_count} idle; a member heard after {reached_s * 1000:.0f} ms; all closed after"
    )
    return reached_s <= 0.1 and closed_s <= 5, f"{told} {closed_s:.1f} s more"


def rs3(sizes: Sizes) -> Outcome:
    """Take malformed connections and messages without harm."""
    with tempfile.TemporaryDirectory(prefix="zs-") as folder:
        place = Path(folder)
        node = Guarded(place, "--key", str(place / "key"))
        try:
            before = resident_bytes(node.facts.daemon)
            port = int(node.place.rpartition(":")[2])
            strangers.malformed_transport(port, sizes.malformed_count, seed=1)
            transport_mib = (resident_bytes(node.facts.daemon) - before) / MIB
            quiet_s, busy_s, growth = harm(
                node, place, sizes.malformed_count, seed=2, looks_count=ANSWERS_COUNT
            )
            node.answers()
            crashed = "Traceback" in node.said
        finally:
            node.stop()
    count = sizes.malformed_count
    told = (
        f"{count} connections: {transport_mib:+.1f} MiB; {count} messages: {growth / MIB:+.1f} "
        f"MiB, slowest of {ANSWERS_COUNT} answers {busy_s * 1000:.0f} ms (quiet "
        f"{quiet_s * 1000:.0f} ms); crashed: {crashed}"
    )
    calm = busy_s <= 2 * quiet_s
    return not crashed and growth / MIB + transport_mib <= 32 and calm, told


def rs4(sizes: Sizes) -> Outcome:
    """Refuse what claims to be more than it is before room is made for it."""
    worst = 0.0
    for bomb in malformed.BOMBS:
        tracemalloc.start()
        try:
            decode([bomb])
        except RemoteProtocolError:
            pass
        else:
            return False, f"{bomb[:8]!r}... was taken"
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        worst = max(worst, peak / max(len(bomb), 4096))
    told = (
        f"{len(malformed.BOMBS)} bombs refused; worst peak {worst:.1f} x the message (of 4 KiB up)"
    )
    return worst <= 2, told


def rotation(sizes: Sizes) -> Outcome:
    """Replace the key of a cluster that works."""
    try:
        outcome = rs7(Setting(seed=1, quick=sizes.quick))
    except SkippedError as error:
        return True, f"skipped: {error}"
    except NotMadeError as error:
        return False, f"the change was not made: {error}"
    return outcome.good, outcome.told


def of_tests(*names: str) -> Callable[[Sizes], Outcome]:
    """Return a row that these tests show."""

    def run(sizes: Sizes) -> Outcome:
        where = "tests/integration/test_locked_node.py"
        places = [name if "/" in name else f"{where}::{name}" for name in names]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *places]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return ended.returncode == 0, (ended.stdout.strip().splitlines() or ["nothing ran"])[-1]

    return run


ROWS: Final[dict[str, tuple[str, Callable[[Sizes], Outcome]]]] = {
    "RS1": ("no key, another key, NULL, plain TCP", rs1),
    "RS1b": ("the doorman fails", rs1b),
    "RS2": ("idle connections", rs2),
    "RS3": ("malformed connections and messages", rs3),
    "RS4": ("claimed lengths, depth, maps", rs4),
    "RS5": (
        "what was recorded",
        of_tests(
            "tests/integration/test_secrets.py::"
            "test_what_was_recorded_of_a_member_is_worth_nothing_on_another_connection",
            "tests/unit/core/test_session.py::test_a_fenced_life_is_heard_no_more",
        ),
    ),
    "RS7": ("the key is replaced under load", rotation),
    "RS8": (
        "what is open by default",
        of_tests(
            "test_what_would_be_open_to_all_or_to_nobody_does_not_start",
            "test_a_node_listens_to_nobody_but_whom_it_is_told",
            "tests/integration/test_node.py::test_a_ready_node_says_who_it_is",
        ),
    ),
    "RS9": (
        "the daemon never unpickles",
        of_tests(
            "test_no_message_makes_a_daemon_unpickle",
            "tests/project/test_imports.py::test_the_contracts_hold",
        ),
    ),
    "RS10": ("another user", of_tests("test_another_user_of_this_machine_learns_nothing")),
    "RS11": (
        "taking over a folder or an inbox",
        of_tests("test_nobody_takes_over_the_folder_or_the_inbox_of_a_node"),
    ),
    "RS13": (
        "secrets",
        of_tests(
            "test_the_secret_is_in_no_file_argument_environment_or_word",
            "tests/integration/test_secrets.py::"
            "test_the_key_and_what_users_pass_are_in_nothing_that_is_written",
        ),
    ),
    "RS14": (
        "dependencies, and nobody told",
        of_tests(
            "tests/project/test_dependencies.py",
            "tests/integration/test_secrets.py::test_a_program_sends_nothing_to_anybody",
        ),
    ),
}


def main(arguments: list[str]) -> int:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small attacks")
    parser.add_argument("-k", metavar="ROW", action="append", choices=list(ROWS), help="only these")
    given = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    missed = 0
    print("| row | what | at its bar | figures |\n|---|---|---|---|")
    for name in given.k or ROWS:
        what, run = ROWS[name]
        try:
            good, told = run(Sizes(quick=given.quick))
        except (AssertionError, HandshakeError, OSError) as error:
            good, told = False, f"{type(error).__name__}: {error}"
        missed += not good
        print(f"| {name} | {what} | {'yes' if good else '**no**'} | {told} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
