"""Marks of rare branches that some seeds must reach between them; see ``scenarios``."""

from typing import Final

from tests.sim.moments import DROPPED

CLUSTER = (
    *DROPPED,
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
    "orphaned region released",
    "writer died over what its dead owner left",
    "owner died while its value was written",
    "region written for a dead owner returned",
    "regions leased for nobody returned",
    "release of what is released ignored",
    "fresh room freed that may be written in part",
    "warm rooms of other classes punched",
    "view of a region that was given up",
    "request held back for its consumer",
    "owner slow to give up what it holds",
    "region lost",
    "cancelled waiting for arguments",
    "cancelled waiting for a worker",
    "cancelled waiting before it runs again",
    "cancelled in a worker's queue",
    "cancelled task handed back",
    "cancelled task would have run again",
    "cancelled again for nothing",
    "cancel of what has ended",
    "cancel of what this worker does not have",
    "child cancelled with its parent",
    "output of a cancelled body dropped",
    "worker died under a cancelled task",
    "worker died before it began a cancelled task",
    "worker killed that held a cancelled task",
)

ACTORS = (
    "actor restarted",
    "actor dropped before it was created",
    "call sent again to the next life of its actor",
    "kill of a dead actor ignored",
    "worker died before it began to create its actor",
    "last call in flight ended after its actor",
    "worker left on its own",
    "stream closed before its end",
    "item of a closed stream dropped at the producer",
    "replayed items dropped",
)

BORROWING = (
    "borrow of a dead process ended",
    "loan of what a dead owner had given up",
    "watch of the dead answered at once",
    "worker died under a task",
    "late result of a freed reference dropped",
    "stream closed before its end",
    "stream pushed that nobody reads",
    "end of a closed stream",
    "item of a closed stream dropped at the producer",
    "repeated word of a blocked worker ignored",
)

#: Of 25 seeds of copies.
COPIES: Final = (
    "copy given up for room",
    "value on another node owned",
    "view of a region that was given up",
    "damaged part asked for again",
    "node gone from which something is copied",
)

#: Rare branches of work over nodes some of which start no workers or run out of memory.
SURVIVAL = (
    "worker ended for memory",
    "last resort for memory",
    "memory still full while a worker dies for it",
    "request refused by every node that could meet it",
    "requests refused after failed starts",
)
DRAIN = ("request handed back by a node that drains",)
#: Of 35 seeds of links that are cut.
ONEWAY: Final = (
    "copy asked for of a node on the way",
    "node on the way of a detour cut off",
    "node on the way of a detour is gone",
    "node on the way reaches the other one as little",
)
#: Of 25 seeds of rebuilding.
REBUILD: Final = (
    "lost object is to be made again",
    "argument of a lost object made again",
    "task handed back whose arguments are gone",
)
#: Of 25 seeds of streams that are closed or return values.
ENDS: Final = (
    "closed at a worker",
    "closed again for nothing",
    "end of a closed stream",
    "value returned to nobody",
    "stream resumed",
)
#: Of 25 seeds of streams that lose items while they run.
STOPPED: Final = ("stream stopped that is past a lost item",)
#: Of 25 seeds of two-way streams.
DIALOGUE: Final = (
    "log of inputs let go",
    "sent into what has ended",
    "inputs of what does not listen",
    "replayed items dropped",
)
#: Of 25 seeds of names over several nodes.
NAMED: Final = (
    "keeper that counts other keepers asked",
    "keeper asked by a node that is not a member yet",
    "keeper counted when it became a member",
    "gives way to who has the first keeper of a name",
    "node that joins while others are silent does not vote",
    "who votes is taken over by a newcomer",
    "word of a keeper that came too late",
    "name asked for on the smaller side of a cut",
)
#: Of 25 seeds of detached actors.
DETACHED: Final = (
    "keeper of a detached actor replaced",
    "keeper of a detached actor replaced",
    "detached actor created again by a keeper of its name",
    "detached actor looked for that is about to be created again",
)
#: Of 25 seeds of streams whose consumers hold them back.
PRESSURE: Final = (
    "body parked until its next item fits",
    "item that does not fit kept back",
    "stream resumed",
)
#: Of 25 seeds of generators that are handed over.
HANDOVER: Final = (
    "stream refused to a second reader",
    "stream given back",
    "stream passed on",
    "stream came back from the dead",
    "lent stream outlives its owner's generator",
    "nobody living can come with a lent stream",
    "nobody can come with a lent stream any more",
    "word of an earlier holder",
    "items for who holds the stream no more",
    "refusal for who holds the stream no more",
    "owner of a far stream died",
    "stream unpickled twice in one process",
)

REKEY = ("process that started told of other keys",)

SLEEPERS = ("borrow of what is gone",)

ABSENT = ("borrower asks for what is lost",)
