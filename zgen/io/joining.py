"""How a node that is to join a cluster is reached, found out by asking at the door."""

from dataclasses import replace

from zgen.exceptions import HandshakeError, VersionMismatchError, WrongKeyError
from zgen.io import keys
from zgen.io.doorbell import who_is_at
from zgen.io.endpoints import endpoint, facing, parse_place
from zgen.io.exposure import Opening, check_opening


def opening_to_join(
    seeds: str,
    key_file: str | None = None,
    *,
    listen: str | None = None,
    advertise: str | None = None,
    insecure: bool = False,
    profile: str = "lan",
) -> Opening:
    """Return how a node is reached that joins a cluster, after asking whether it may.

    Args:
        seeds: Members: ``HOST:PORT``, several with commas between, any of which may be gone.
        key_file: File with the cluster's key, or None for the one that ``ZGEN_KEY`` names, if any.
        listen: ``tcp://HOST:PORT``; by default a free port at the address that faces the members.
        advertise: Host that others are told, or None.
        insecure: Whether it may be open to other machines without a key.
        profile: How fast membership is.

    Raises:
        ValueError: An address is none.
        KeyFileError: The key cannot be used.
        UnlockedError: Whoever reaches this machine could run code on it.
        WrongKeyError: A member has another key, or only one end has one.
        VersionMismatchError: A member runs another zgen or Python.
        HandshakeError: No member answers.
    """
    places = [parse_place(seed.strip()) for seed in seeds.split(",") if seed.strip()]
    if not places:
        raise ValueError(f"expected HOST:PORT, got {seeds!r}")
    key = keys.load_given(key_file)
    host = _answering(places, key)
    opening = check_opening(listen or endpoint(facing(host), "*"), advertise, key_file, insecure)
    return replace(opening, join=tuple(endpoint(*place) for place in places), profile=profile)


def _answering(places: list[tuple[str, int]], key: keys.ClusterKey | None) -> str:
    """Return the host of the first member that answers."""
    failure: HandshakeError | None = None
    for host, port in places:
        try:
            who_is_at(endpoint(host, port), key)
        except (WrongKeyError, VersionMismatchError):
            raise
        except HandshakeError as error:
            failure = failure or error
        else:
            return host
    assert failure is not None
    raise failure
