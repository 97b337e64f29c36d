"""Retry arithmetic; jitter from a seed, so that one history has one schedule."""

from hashlib import blake2b


def backoff_ns(attempt: int, first_ns: int, ns_max: int, seed: bytes) -> int:
    """Return the wait before retry ``attempt``: none before the first, then doubling with jitter.

    Args:
        attempt: Number of the retry, from 1.
        first_ns: Wait before the second retry.
        ns_max: The longest wait.
        seed: Draws the jitter, between half and the whole of the wait.
    """
    if attempt <= 1:
        return 0
    wait_ns = min(first_ns << min(attempt - 2, 40), ns_max)
    drawn = int.from_bytes(
        blake2b(seed + attempt.to_bytes(4, "big"), digest_size=4).digest(), "big"
    )
    return wait_ns // 2 + wait_ns * drawn // (1 << 33)
