"""Ray in a virtual environment of its own, made on demand, so that nothing else depends on it."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
VERSION: Final = "2.60.0"

_REQUIREMENTS: Final = (f"ray=={VERSION}", "numpy")


def python(folder: Path) -> Path:
    """Give the interpreter that has Ray; installs it first if it is not there."""
    interpreter = folder / "bin" / "python"
    stamp = folder / "made-for.txt"
    recipe = f"{sys.version_info.major}.{sys.version_info.minor} {' '.join(_REQUIREMENTS)}\n"
    if interpreter.exists() and stamp.exists() and stamp.read_text() == recipe:
        return interpreter
    print(f"making {folder} with Ray {VERSION} ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *_REQUIREMENTS], check=True)
    stamp.write_text(recipe)
    return interpreter


if __name__ == "__main__":
    print(python(ROOT / ".bench" / "ray-venv"))
