"""What a node is started with: one JSON object on the supervisor's command line."""

import json
import os
from typing import Any, Final

from zgen.io import folders
from zgen.limits import MEMORY_PPM_DEFAULT

#: Says what part of the memory may be in use before workers end for it: 0.95 is 95 %, 0 for any.
THRESHOLD_VARIABLE: Final = "ZGEN_MEMORY_THRESHOLD"

#: Descriptors that the starter hands to the supervisor.
READY_FD: Final = 3
CONTROL_FD: Final = 4
DRIVER_FD: Final = 5


class DaemonConfig:
    """What a node is started with.

    Attributes:
        given: The object that it was read from.
        folder: Its session folder, to be made.
        peer: Id of its daemon, 16 bytes.
        resources: Name -> amount; may be fractional.
        embedded: Whether it belongs to one driver.
        log_to_file: Whether its processes write into the session folder rather than to their
            standard error.
        worker_main: ``module:function`` that a worker runs.
        prestart: Whether workers are started before they are asked for.
        store_bytes: Capacity for objects in shared memory; None for a share of the memory.
        labels: What work may ask of a node by name and value.
        spill_folder: Where objects go that it has no room for; None for that of temporary files.
        listen: ``tcp://HOST:PORT`` where other machines reach it; None if they do not.
        advertise: Host that they are told; None for the one that it listens at.
        key_file: File with the key of its cluster; None if it has none.
        join: Endpoints of members of the cluster to join; none for the first of a new one.
        comes_back: Whether another node takes its place if its cluster declares it dead.
        profile: How fast its membership is: ``lan`` or ``fast``.
        memory_ppm: Part of the memory that may be in use before workers end for it, in millionths;
            0 for any. From the environment: ``ZGEN_MEMORY_THRESHOLD``, 0.95 by default.
        log_path: Its log, with what its workers print: in the folder that ``ZGEN_LOG_FOLDER`` in
            the environment names, else in the session folder, with which it goes.
    """

    __slots__ = (
        "advertise",
        "comes_back",
        "embedded",
        "folder",
        "given",
        "join",
        "key_file",
        "labels",
        "listen",
        "log_path",
        "log_to_file",
        "memory_ppm",
        "peer",
        "prestart",
        "profile",
        "resources",
        "spill_folder",
        "store_bytes",
        "worker_main",
    )

    def __init__(self, given: dict[str, Any]) -> None:
        """Read the object that ``zgen.io.spawn`` wrote."""
        self.given = given
        self.folder: str = given["folder"]
        self.peer = bytes.fromhex(given["peer"])
        self.resources: dict[str, float] = given["resources"]
        self.embedded: bool = given["embedded"]
        self.log_to_file: bool = given["log_to_file"]
        self.worker_main: str = given["worker_main"]
        self.prestart: bool = given["prestart"]
        self.store_bytes: int | None = given["store_bytes"]
        self.spill_folder: str | None = given["spill_folder"]
        self.listen: str | None = given.get("listen")
        self.advertise: str | None = given.get("advertise")
        self.key_file: str | None = given.get("key_file")
        self.labels: dict[str, str] = given.get("labels", {})
        self.join: tuple[str, ...] = tuple(given.get("join", ()))
        self.comes_back: bool = given.get("comes_back", False)
        self.profile: str = given.get("profile", "lan")
        self.memory_ppm = _memory_ppm(os.environ.get(THRESHOLD_VARIABLE, ""))
        self.log_path = os.path.join(self.folder, folders.OUTPUT_FILE)
        if kept := os.environ.get(folders.LOG_VARIABLE):
            self.log_path = os.path.join(
                os.path.abspath(kept), f"{os.path.basename(self.folder)}.log"
            )

    @classmethod
    def parse(cls, text: str) -> "DaemonConfig":
        """Read a command line argument."""
        return cls(json.loads(text))


def _memory_ppm(said: str) -> int:
    """Return a threshold in millionths.

    Raises:
        ValueError: It is no number between 0 and 1.
    """
    if not said:
        return MEMORY_PPM_DEFAULT
    try:
        part = float(said)
    except ValueError:
        part = -1.0
    if not 0 <= part <= 1:
        raise ValueError(f"{THRESHOLD_VARIABLE}={said} is no number between 0 and 1")
    return round(part * 1_000_000)
