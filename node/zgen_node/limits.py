"""Bounds and times of a node, most of them of membership."""

from typing import Final

from zgen.limits import MS, SECOND

#: A member probes its successor and one other member in turn this often.
PROBE_PERIOD_NS: Final = 1 * SECOND
#: A ping without an answer is repeated after this long, and again; other members are asked at the
#: second and third time, and after the fourth the member is suspected.
PROBE_TRY_NS: Final = 250 * MS
PROBE_TRIES_COUNT: Final = 4
INDIRECT_PROBES_COUNT: Final = 2
#: A suspected member that does not refute is dead after this long: the longer one if nobody else
#: suspects it, the shorter one if this many others do.
SUSPICION_NS_MIN: Final = 6 * SECOND
SUSPICION_NS_MAX: Final = 7 * SECOND
CONFIRMATIONS_COUNT_MAX: Final = 3
#: Who suspects a member tells it this often.
SUSPECT_AGAIN_NS: Final = 500 * MS
#: News wait this long for company, then go to so many members every so often.
GOSSIP_DELAY_NS: Final = 20 * MS
GOSSIP_PERIOD_NS: Final = 200 * MS
GOSSIP_FANOUT_COUNT: Final = 3
#: Each piece of news is sent so often for each decimal digit of the number of members, and once
#: more: then one in e^8 of ten members misses it, and fewer of more.
TRANSMITS_PER_DIGIT_COUNT: Final = 4
#: Bytes of news on one message.
PIGGYBACK_BYTES_MAX: Final = 1200
#: Members whose turn it is and who are asked already are passed over, so many a period.
PROBES_SKIPPED_COUNT_MAX: Final = 8
#: Members that are probed at once beside those whose turn it is when one does not answer.
PROBES_MORE_COUNT: Final = 3
#: Bytes of an endpoint that a member may have.
ENDPOINT_BYTES_MAX: Final = 255
#: Two members compare what they know this often.
REPAIR_PERIOD_NS: Final = 10 * SECOND
#: Members of whom every member knows; in a larger cluster each knows so many, drawn by hash.
MEMBERS_FULL_COUNT_MAX: Final = 1000
MEMBERS_PARTIAL_COUNT: Final = 256
#: Members that two of a large cluster tell each other of at a comparison.
SAMPLE_COUNT: Final = 8
#: Members that are watched whatever the hash says.
MEMBERS_WATCHED_COUNT_MAX: Final = 4096

#: Connections for probes that one node has, and how long one stays that is not used. A node of a
#: cluster of no more members than that dials each of them once.
PROBE_LINES_COUNT_MAX: Final = 1024
PROBE_LINE_IDLE_NS: Final = 30 * SECOND

#: Probes that wait for a connection; each is repeated by its sender anyway.
PROBES_WAITING_COUNT_MAX: Final = 8

#: A node that leaves says so to the cluster when its lines are flushed, or after this long.
LEAVE_WORD_NS: Final = 200 * MS
#: How long it then lives on, so that the word of it gets out.
LEAVE_PROBES_NS: Final = 50 * MS
#: Last words on members outside the view, kept so that they are passed on once. If more members
#: than that come within a few seconds, words that were forgotten are news again, for ever.
HEARD_COUNT_MAX: Final = 16_384
#: How much slower a member that may itself be at fault becomes, at most: so many times and once.
HEALTH_COUNT_MAX: Final = 1
#: Dead members that are still tried, as a partition may have parted them from here.
GRAVES_COUNT_MAX: Final = 1024
#: For this long after a death each member tries who died, one a period; later few members do.
GRAVE_FRESH_NS: Final = 60 * SECOND
GRAVES_TRIED_COUNT: Final = 4
#: Pings under way for others.
RELAYS_COUNT_MAX: Final = 1024
#: A member that only others reach is reported after this long.
LINK_BROKEN_NS: Final = 4 * SECOND
LINKS_STRAINED_COUNT_MAX: Final = 64
#: Pauses between two requests to join.
JOIN_RETRY_FIRST_NS: Final = 250 * MS
JOIN_RETRY_NS_MAX: Final = 5 * SECOND
#: A member that leaves tells so many others, each so many times.
LEAVE_FANOUT_COUNT: Final = 8
LEAVE_REPEATS_COUNT: Final = 2
#: Where a node asks to be let in that comes back: the latest seeds, and those of its first life.
SEEDS_COUNT_MAX: Final = 64

#: Nodes that keep one name of an actor.
KEEPERS_COUNT: Final = 3
#: A node that fell silent counts for names so much longer than it is a member: by then whoever is
#: on the smaller side of a cut has noticed.
NAMES_SILENCE_NS: Final = 10 * SECOND
#: What is asked about a name is asked again after twice this long, then twice as long, up to the
#: longest wait, and given up in the end: then whoever is dead of its keepers is held for dead.
NAME_AGAIN_NS: Final = 10 * MS
NAME_AGAIN_NS_MAX: Final = 500 * MS
NAME_PATIENCE_NS: Final = 15 * SECOND
#: Questions about names under way at one node.
NAME_QUESTIONS_COUNT_MAX: Final = 65_536
#: Bytes of the log of a node, with what its workers print; of two files, the older one goes first.
OUTPUT_LOG_BYTES_MAX: Final = 16 << 20
#: The keeper of a detached actor that is dead answers late callers for so long.
KEEPER_LINGER_NS: Final = 5 * SECOND
#: Each further keeper of the name of a detached actor whose home is dead waits so much longer
#: before it has the actor created again, and tries so often.
ADOPT_STEP_NS: Final = 1 * SECOND
ADOPT_AGAIN_NS: Final = 2 * SECOND
ADOPTIONS_COUNT_MAX: Final = 30

#: A worker whose owner died may let its generators stop for this long before it is killed.
ORPHAN_CLOSE_NS: Final = 1 * SECOND
