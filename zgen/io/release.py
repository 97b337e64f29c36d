"""Which zgen and which Python this process runs, as hellos and `zgen --version` say it."""

import sys
from typing import Final

#: Equal to the version in ``pyproject.toml``; a test holds it to that.
RELEASE: Final = "0.1.0"
#: Pickles travel between equal ones only.
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
