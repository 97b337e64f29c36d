"""Marks of rare branches that a hundred seeds must reach between them."""

REQUIRED = (
    "early message kept",
    "repeated message dropped",
    "oldest resent after a timeout",
    "resent on a new connection",
    "hello repeated with an ack",
    "hello of a newer life",
    "stranger's data dropped",
    "second DOWN of one life ignored",
    "worker died under a task",
    "attempt that never started queued again",
    "queued tasks handed back",
    "replayed items dropped",
    "late result of a freed reference dropped",
    "stream closed before its end",
    "item of a closed stream dropped at the producer",
    "open requests withdrawn",
    "unwanted grant returned",
    "body held for unacknowledged bytes",
)
