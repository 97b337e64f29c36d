"""The runtime under measurement: zgen or Ray, started so that they can be compared."""

import importlib
import os
import tempfile
from collections.abc import Callable
from typing import Any, Final, Literal

RuntimeName = Literal["zgen", "ray", "floor"]

#: The runtime that zgen is measured beside.
RAY: Final[RuntimeName] = "ray"

#: CPUs that either runtime is told it has, whatever the machine has.
CPUS: Final = 2

#: Ray's own switches that keep it from talking and phoning home while it is measured.
RAY_QUIET: Final[dict[str, str]] = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class Subject:
    """One runtime, imported and driven through the names that zgen and Ray share.

    Attributes:
        name: which runtime it is.
        api: its module; untyped on purpose, since the same body runs on either.
    """

    def __init__(self, name: RuntimeName) -> None:
        self.name: RuntimeName = name
        self.api: Any = importlib.import_module(name)

    def start(self) -> None:
        """Start the runtime with two CPUs, without dashboard and chatter."""
        if self.name == "ray":
            self.api.init(
                num_cpus=CPUS,
                include_dashboard=False,
                logging_level="ERROR",
                log_to_driver=False,
                _temp_dir=os.environ.get("TMPDIR", tempfile.gettempdir()),
            )
        else:
            self.api.init(num_cpus=CPUS)

    def stop(self) -> None:
        """Shut the runtime down."""
        self.api.shutdown()

    def stream(self, body: Callable[..., object], **options: object) -> Any:
        """Declare a generator whose items come as they are yielded."""
        return self.api.remote(num_returns="streaming", **options)(body)

    def task(self, body: Callable[..., object], **options: object) -> Any:
        """Declare a plain remote function."""
        return self.api.remote(**options)(body) if options else self.api.remote(body)

    def many(self, *, ray: int, zgen: int) -> int:
        """Choose a count that makes a run last a second or more on this runtime."""
        return ray if self.name == "ray" else zgen
