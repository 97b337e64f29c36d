"""Waits before retries: none, then doubling up to a bound, jittered by a seed alone."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from zgen.core.backoff import backoff_ns

FIRST, MOST = 1_000, 64_000


def test_the_first_retry_is_at_once() -> None:
    assert backoff_ns(0, FIRST, MOST, b"seed") == 0
    assert backoff_ns(1, FIRST, MOST, b"seed") == 0


@given(attempt=st.integers(2, 2**31), seed=st.binary(max_size=16))
def test_a_wait_lies_between_half_and_the_whole_of_its_doubled_bound(
    attempt: int, seed: bytes
) -> None:
    whole = min(FIRST * 2 ** min(attempt - 2, 40), MOST)
    assert whole // 2 <= backoff_ns(attempt, FIRST, MOST, seed) <= whole


def test_the_same_seed_waits_as_long_and_others_spread() -> None:
    waits = [backoff_ns(9, FIRST, MOST, bytes([number])) for number in range(50)]
    assert waits == [backoff_ns(9, FIRST, MOST, bytes([number])) for number in range(50)]
    assert len(dict.fromkeys(waits)) > 40
    assert min(waits) < 0.6 * MOST
    assert max(waits) > 0.9 * MOST
