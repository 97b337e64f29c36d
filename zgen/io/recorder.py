"""Write down what goes through a machine, one line a step, for replay and for people."""

import os
from pathlib import Path
from typing import TextIO

from zgen.core.effects import Effect
from zgen.core.events import Event

#: Folder to record into; unset means no recording.
RECORD_VARIABLE = "ZGEN_RECORD"


class FileRecorder:
    """Appends ``now_ns <tab> event <tab> effects`` to a file, as reprs that read back."""

    def __init__(self, path: Path) -> None:
        """Write to ``path``."""
        self._file: TextIO = path.open("w", encoding="utf-8", buffering=1)

    def __call__(self, now_ns: int, event: Event, effects: list[Effect]) -> None:
        """Note one step."""
        self._file.write(f"{now_ns}\t{event!r}\t{effects!r}\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def recorder_from_environment(role: str) -> FileRecorder | None:
    """Return a recorder if ``ZGEN_RECORD`` names a folder."""
    folder = os.environ.get(RECORD_VARIABLE)
    if not folder:
        return None
    return FileRecorder(Path(folder) / f"{role}-{os.getpid()}.record")
