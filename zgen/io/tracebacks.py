"""What an exception of a user tells as text, whatever its class breaks."""

import traceback
from types import TracebackType


def traceback_of(error: BaseException) -> str:
    """Return the traceback of ``error`` from the user's frames on."""
    frames = user_frames(error)
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # a ``SyntaxError`` with odd arguments, a class whose ``__getattr__`` raises
        last = f"{type(error).__qualname__}: {text_of(error)}\n"
        frames_text = traceback.format_tb(frames)
        return "".join(["Traceback (most recent call last):\n", *frames_text, last])


def user_frames(error: BaseException) -> TracebackType | None:
    """Return the traceback of ``error`` without zgen's own frames in front."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("zgen."):
        frames = frames.tb_next
    return frames


def text_of(error: BaseException) -> str:
    """Return the sentence of ``error``."""
    try:
        return str(error)
    except Exception:
        return "an error without a text"
