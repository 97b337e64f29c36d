"""`stream_position`: where the body of a generator goes on that runs again."""

from zgen.core.stream_words import AskPosition, PositionIs
from zgen.exceptions import LocalProtocolError
from zgen.runtime import process


def stream_position() -> int:
    """Return which item the running generator is to yield next, from 0.

    In its first execution that is 0, until it yields. In one that follows a failure it is the first
    item that the caller has not got from those before: a body that asks before its first ``yield``
    and goes on from there makes nothing again that is there already. One that does not ask yields
    from item 0 on, as ever. It may be less than what was got, where items have to be made again.

    Raises:
        LocalProtocolError: The calling code is not that of a remote generator that streams.
    """
    runtime = process.require()
    context = runtime.context
    if runtime.runner is not None and context is not runtime.root:
        runtime.enter()
        for effect in runtime.loop.post(AskPosition(context.task, context.attempt)):
            if type(effect) is PositionIs and effect.index >= 0:
                return effect.index
    raise LocalProtocolError("stream_position() is for the body of a generator that streams")
