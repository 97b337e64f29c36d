"""Every bound, with its unit in its name.

Reaching a bound is an event with a typed outcome, never a surprise; nothing in zgen grows past a
number that does not stand here, or, of membership, in ``zgen_node.limits``.
"""

from typing import Final

US: Final = 1_000
MS: Final = 1_000_000
SECOND: Final = 1_000_000_000

# -- session ---------------------------------------------------------------------------------------
#: A pure acknowledgement is sent after this many messages or this long, if no traffic carried it.
ACK_AFTER_COUNT: Final = 32
ACK_DELAY_NS: Final = 20 * MS
#: The oldest unacknowledged message is sent again after this long, doubling up to the maximum.
RESEND_FIRST_NS: Final = 250 * MS
RESEND_NS_MAX: Final = 1 * SECOND
#: And later by this for each byte that is on its way: 50 MB a second.
RESEND_NS_PER_BYTE: Final = 20
#: A new connection is tried this long after one was lost or refused, doubling up to the maximum.
RECONNECT_FIRST_NS: Final = 5 * MS
RECONNECT_NS_MAX: Final = 1 * SECOND
#: Messages kept that came before an earlier one; what lies further ahead is dropped and resent.
REORDER_COUNT_MAX: Final = 4096
#: Item bytes unacknowledged by one peer before the next item blocks its body.
ITEM_BYTES_UNACKED_MAX: Final = 64 << 20
#: Bytes that one process relays over one line and that are not acknowledged; what comes on top is
#: dropped, unless nothing is, and sent again by whom it is from.
RELAYED_BYTES_MAX: Final = 64 << 20
#: A way round a cut link is tried so long before the word of who relays counts against it.
DETOUR_TRY_NS: Final = 1 * SECOND
#: Two looks at an empty inbox, so far apart with nothing of the peer between, make a line quiet.
QUIET_LINE_NS: Final = 20 * MS
#: So many messages in a row, and two for each connection, say as much of a peer that sent none of
#: them as an empty inbox: sockets take turns, and the inboxes share every look evenly.
PASSED_COUNT_MIN: Final = 256
#: A clean exit waits this long for its last messages to be acknowledged.
FLUSH_AT_EXIT_NS: Final = 2 * SECOND
#: Connections that said hello, kept per process; the oldest superseded ones go first.
CONNECTIONS_COUNT_MAX: Final = 16_384
#: Failed dials in a row after which a node forgets a peer that is no driver or worker of its own.
REDIALS_FAILED_MAX: Final = 12
#: Lives that were declared dead and are still remembered, so that they stay dead.
FENCED_COUNT_MAX: Final = 65_536
#: Messages that wait for a slow connection; what comes on top is lost as on a wire, and sent again.
OUTBOX_COUNT_MAX: Final = 65_536

# -- connections to other machines -----------------------------------------------------------------
#: Bytes of the secret that the processes of a cluster share.
KEY_BYTES: Final = 32
#: A handshake that takes longer than this is given up, and its descriptor closed.
HANDSHAKE_NS_MAX: Final = 3 * SECOND
#: A dial without any answer is given up, and the next one made: long after a cut the system would
#: repeat its own only every so often. No machine is farther away than this.
CONNECT_NS_MAX: Final = 1500 * MS
#: An idle connection is tried this often, and is lost when nothing comes for the second time.
HEARTBEAT_NS: Final = 1 * SECOND
HEARTBEAT_NS_MAX: Final = 3 * SECOND
#: Connections that wait to be accepted.
BACKLOG_COUNT: Final = 1024
#: Sockets of one process.
SOCKETS_COUNT_MAX: Final = 16_384
#: Bytes of one part of a message over tcp: a stranger can make a process keep as many. Longer
#: frames travel in several parts.
TCP_PART_BYTES_MAX: Final = 1 << 20
#: What encryption and framing add to a part, at most.
TCP_PART_BYTES_ADDED_MAX: Final = 1 << 10
#: Handshakes with one peer that fail in a row before it is said in the log.
DIALS_REFUSED_TOLD_COUNT: Final = 3
#: Who listens at an address says who it is within this time; or else what listens there is found
#: out within that.
DOORBELL_NS_MAX: Final = 1500 * MS
GREETING_NS_MAX: Final = 1 * SECOND

# -- wire ------------------------------------------------------------------------------------------
#: Bytes of one message body, and of one buffer frame.
BODY_BYTES_MAX: Final = 1 << 30
BUFFER_BYTES_MAX: Final = 1 << 40
#: A pickle longer than this travels as a frame of its own, which is not copied into a body.
INBODY_BYTES_MAX: Final = 64 << 10
#: Buffer frames of one message.
BUFFERS_COUNT_MAX: Final = 1 << 16
#: Elements of one array on the wire.
ARRAY_COUNT_MAX: Final = 1 << 20
#: Bytes of serialised values gathered into one message before it is sent at once.
BATCH_BYTES_MAX: Final = 1 << 20
#: Entries of one report or tasks of one push.
BATCH_COUNT_MAX: Final = 1024

# -- reports ---------------------------------------------------------------------------------------
#: A line that was flushed less than this ago is busy: the next yield waits for company.
LINE_BUSY_NS: Final = 300 * US
#: The longest that the first waiting entry waits.
LINE_TICK_NS: Final = 1 * MS
#: Where so many calls are on their way, nobody waits for the next one: it may wait for company.
CROWD_COUNT: Final = 32

# -- tasks -----------------------------------------------------------------------------------------
MAX_RETRIES_DEFAULT: Final = 3
RETRY_DELAY_FIRST_NS: Final = 50 * MS
RETRY_DELAY_NS_MAX: Final = 1 * SECOND
#: Attempts of a task that its error tells of.
HISTORY_COUNT_MAX: Final = 16
#: A task that is run again for ever says so when it has failed so often, and at each doubling.
RETRIES_TOLD_COUNT: Final = 4
#: Workers in a row that may die before they begin a task, at no cost to it; then it fails.
WORKERS_LOST_COUNT_MAX: Final = 16
#: Items of one stream, as in Ray; and of one yield.
ITEMS_COUNT_MAX: Final = 100_000_000
PER_YIELD_COUNT_MAX: Final = 1_000
#: Fixed results of one task.
RETURNS_COUNT_MAX: Final = 100_000
#: Ready items that one ``next`` takes over for the following ones.
TAKE_COUNT_MAX: Final = 64
#: Of streams that are merged, those that had nothing are looked at again after so many items, or
#: after as many as there are of them.
MERGE_LOOK_ITEMS_COUNT: Final = 32
#: An event loop gets a turn this often from a consumer who never has to wait.
LOOP_TURN_NS: Final = 5 * MS
#: What takes more bytes than this to unpickle is unpickled in a thread when it is awaited.
LOAD_IN_PLACE_BYTES_MAX: Final = 1 << 20
#: Bytes that such a thread copies at a time, so that others get their turn in between.
LOAD_PIECE_BYTES: Final = 1 << 20
#: Threads that map and unpickle what is awaited, and threads that settle futures.
LOAD_THREADS_COUNT_MAX: Final = 4
FUTURE_THREADS_COUNT_MAX: Final = 4
#: From this window on a producer hears of what was taken when it is such a part of its window;
#: below it hears of each item.
WINDOW_WIDE_COUNT_MIN: Final = 16
WINDOW_STEPS_COUNT: Final = 2
#: A window in bytes is told of by such parts of it; a wider one is as the widest.
WINDOW_BYTES_STEPS_COUNT: Final = 4
WINDOW_BYTES_MAX: Final = 1 << 50
#: How far readers of ``fan_out`` may be apart, and how long one waits where nobody else reads.
FAN_OUT_ITEMS_COUNT: Final = 64
FAN_OUT_SELF_WAIT_NS: Final = 2 * SECOND
#: Items that the reader of a lent stream is sent ahead, and how often one passes it to the next.
LOAN_ROOM_COUNT: Final = 16
LOAN_HOPS_COUNT_MAX: Final = 256

# -- actors ----------------------------------------------------------------------------------------
#: A worker whose actor ends in peace has this long for its last calls and its exit handlers.
ACTOR_END_NS: Final = 30 * SECOND
#: What is known of an actor of another process that this one holds no counted handle of is kept
#: this long without calls.
ACTOR_UNUSED_NS: Final = 10 * SECOND

#: Names of actors on one node.
NAMES_COUNT_MAX: Final = 1 << 16

# -- borrowed references ---------------------------------------------------------------------------
#: What a dead process had borrowed is kept this long for those to whom it passed it on: they say so
#: as soon as they have it.
BORROW_GRACE_NS: Final = 5 * SECOND
#: Objects named by one message about borrows.
BORROWS_COUNT_MAX: Final = 4096

# -- lineage ---------------------------------------------------------------------------------------
#: Bytes of specs and small arguments that an owner keeps to rebuild what may be lost, and tasks of
#: which it does; beyond it gives up the eldest until half is left.
LINEAGE_BYTES_MAX: Final = 256 << 20
LINEAGE_COUNT_MAX: Final = 200_000
#: Bytes of what a two-way generator was sent that are kept to run it again, each input counted
#: with so many more; beyond it nothing is, and it cannot run again.
INPUT_LOG_BYTES_MAX: Final = 64 << 20
INPUT_BYTES: Final = 128
#: What a kept task counts for beside its arguments.
LINEAGE_SPEC_BYTES: Final = 1024

# -- shared memory ---------------------------------------------------------------------------------
#: A value with more bytes than this goes into shared memory; what is not more stays with its owner.
INLINE_BYTES_MAX: Final = 100 << 10
#: Regions of at most this many bytes share a slab, which has this many bytes.
SLAB_BYTES: Final = 32 << 20
REGION_SHARED_BYTES_MAX: Final = 8 << 20
#: Bytes of one part of a copy that goes from node to node, in frames of ``TCP_PART_BYTES_MAX``, and
#: how often one is asked for that comes damaged.
CHUNK_BYTES: Final = 4 << 20
CHUNK_TRIES_COUNT_MAX: Final = 3
#: Parts under way for one copy from one node, of those asked for at once, and for all copies of one
#: node.
CHUNKS_COUNT_MAX: Final = 4
CHUNKS_ASKED_COUNT_MAX: Final = 2
CHUNKS_OF_NODE_COUNT_MAX: Final = 16
#: Parts that do not come within this time are asked for again, of another node if there is one.
CHUNKS_STALLED_NS: Final = 2 * SECOND
#: Nodes with a copy that one is told of who wants another.
COPIES_TOLD_COUNT_MAX: Final = 3
#: Nodes that are asked for a region of one that is gone; further ones are not.
NODES_ASKED_COUNT_MAX: Final = 100
#: A connection for parts is closed when none was sent for this long.
TRANSFER_LINE_IDLE_NS: Final = 30 * SECOND
#: Words of processes about regions of nodes that are not known yet, kept until these are.
WORDS_EARLY_COUNT_MAX: Final = 10_000
#: Regions that a writer may lease ahead of time, together with their bytes.
REGIONS_AHEAD_COUNT_MAX: Final = 16
REGIONS_AHEAD_BYTES_MAX: Final = 32 << 20
#: What was leased ahead and is not used for this long goes back.
REGIONS_AHEAD_NS: Final = 100 * MS
#: Free memory stays warm for this long.
REGION_WARM_NS: Final = 2 * SECOND
#: A slab of one room with at most this many bytes gets its pages ahead of time.
POPULATE_BYTES_MAX: Final = 256 << 20
#: No more of it is given back to the machine in one step, which takes about 15 ms.
COOL_STEP_BYTES: Final = 64 << 20
#: A writer that finds the store full gets an error after this long without any room made.
STORE_FULL_NS: Final = 10 * SECOND
#: An owner that had nothing to give up is asked again after this long.
EVICT_AGAIN_NS: Final = 100 * MS
#: An owner is asked for at least one of so many parts of the capacity, not for each item.
EVICT_PARTS_COUNT: Final = 16
#: A stream whose consumer took nothing for this long no longer holds its producer back: it spills.
CONSUMER_IDLE_NS: Final = 5 * SECOND
#: A disk that was full is tried again after this long.
DISK_AGAIN_NS: Final = 1 * SECOND
#: Share of the machine's memory that a node's store may take, and the least that makes sense.
STORE_PERCENT: Final = 30
STORE_BYTES_MIN: Final = 1 << 20
#: Largest holders that an error names.
HOLDERS_COUNT_MAX: Final = 5
#: A task that waits longer than this for shared memory gives its CPU away meanwhile.
REGION_SOON_NS: Final = 5 * MS
#: Slabs that a process keeps mapped though it uses nothing in them.
SLABS_UNUSED_COUNT_MAX: Final = 16
#: A file of spilled regions that has grown this long is followed by another one.
SPILL_FILE_BYTES_MAX: Final = 4 << 30
#: Spilled regions are copied in pieces of this many bytes.
SPILL_CHUNK_BYTES: Final = 1 << 20
#: A node that ends waits this long for a piece that is being copied.
SPILL_STOP_NS: Final = 300 * MS

# -- leases ----------------------------------------------------------------------------------------
#: Requests of one resource shape that an owner keeps open at a time.
LEASE_REQUESTS_OPEN_MAX: Final = 4
#: Resource shapes that an owner remembers; beyond it those without work are forgotten.
IDLE_POOLS_COUNT_MAX: Final = 256
#: An idle lease is kept this long for the next task of its shape.
LEASE_LINGER_NS: Final = 100 * MS
#: A lease that others want is not refilled after this long.
LEASE_TERM_NS: Final = 500 * MS
#: Tasks pushed ahead to one worker: starts at one, doubles while they are short.
PIPELINE_DEPTH_MAX: Final = 64
TASK_SHORT_NS: Final = 1 * MS
TASK_LONG_NS: Final = 5 * MS
#: An unmet request says what it waits for after this long, and again after each doubling.
LEASE_WAIT_NOTICE_NS: Final = 3 * SECOND
#: Younger requests that may overtake the eldest one that waits for a resource; then none may.
LEASE_PASSED_MAX: Final = 16
#: Lease requests known to one node, met or not; what comes beyond is refused.
LEASES_COUNT_MAX: Final = 65_536
#: Names in one resource shape.
SHAPE_NAMES_COUNT_MAX: Final = 64

# -- workers ---------------------------------------------------------------------------------------
#: Workers of zero-CPU shapes that may be starting at a time.
ZERO_CPU_STARTING_MAX: Final = 4
#: Worker processes of one node.
WORKERS_COUNT_MAX: Final = 512
#: Workers started when a job registers, at most one for each CPU.
PRESTART_COUNT_MAX: Final = 4
#: A worker above the prestarted count that is idle this long ends.
WORKER_IDLE_NS: Final = 10 * SECOND
#: The same at a node that drains; longer than a word of who needs an idle worker is on its way.
DRAIN_IDLE_NS: Final = 1 * SECOND
#: A node that drains ends what runs after this long, unless it is told another time.
DRAIN_NS: Final = 60 * SECOND
#: The longest time that it may be told.
DRAIN_SECONDS_COUNT_MAX: Final = 30 * 24 * 3600
#: How long it then waits for the ends of its workers before it leaves all the same.
DRAIN_END_NS: Final = 5 * SECOND
#: A worker that has not said it is ready this long after its fork is killed.
WORKER_START_NS: Final = 60 * SECOND
#: Failed starts in a row after which the waiting leases are refused with the worker's last lines.
WORKER_START_FAILURES_MAX: Final = 3

# -- memory of a node ------------------------------------------------------------------------------
#: Part of a node's memory that may be in use before workers end for it, in millionths.
MEMORY_PPM_DEFAULT: Final = 950_000
#: It is looked at as soon as what is free may have been filled at this rate, and this often.
MEMORY_FILL_BYTES_PER_MS: Final = 4 << 20
MEMORY_LOOK_NS_MIN: Final = 50 * MS
MEMORY_LOOK_NS_MAX: Final = 1 * SECOND
#: A task whose worker ended for memory runs again after at least this long.
MEMORY_RETRY_NS: Final = 1 * SECOND

# -- processes of a node ---------------------------------------------------------------------------
#: A node that is not ready this long after its start is ended.
NODE_START_NS: Final = 30 * SECOND
#: A daemon that was asked to stop is killed after this long; its flush at exit fits into it.
NODE_STOP_NS: Final = 2500 * MS
#: The same when its driver is dead and nobody waits for a flush.
ORPHAN_STOP_NS: Final = 300 * MS
#: Processes killed together are waited for at most this long.
KILL_NS_MAX: Final = 2 * SECOND
#: Forks that are asked of the zygote before it has answered; few enough for its socket's queue.
ZYGOTE_ORDERS_OPEN_MAX: Final = 8
#: Zygotes in a row that die before they are ready; then the node ends.
ZYGOTE_FAILURES_MAX: Final = 3
#: Descriptors that a node's processes may have open, where the machine allows as many.
DESCRIPTORS_COUNT_MAX: Final = 65_536
#: Descriptors that a node keeps for itself, and for who asks it: it starts no workers with them.
DESCRIPTORS_SPARE_COUNT: Final = 16
#: Bytes of a node's log file; past it the file starts anew.
NODE_LOG_BYTES_MAX: Final = 8 << 20

# -- threads ---------------------------------------------------------------------------------------
#: Messages that a leader takes in before it looks at its own wait again.
DRAIN_COUNT_MAX: Final = 64
#: The parked I/O thread looks this often whether anyone leads.
LEAD_LOOK_NS: Final = 2 * MS
#: Dropped references gather this long before they are released together.
DROP_DELAY_NS: Final = 5 * MS
#: And at most so many of them in one step.
DROPPED_COUNT_MAX: Final = 16_384
#: The slow poll that backs up every wake-up.
SLOW_POLL_NS: Final = 1 * SECOND

# -- actors ----------------------------------------------------------------------------------------
#: Calls of one actor, or of one of its concurrency groups, that may run at a time; and those of an
#: async actor that does not say.
ACTOR_CALLS_COUNT_MAX: Final = 1 << 20
ASYNC_CALLS_COUNT_DEFAULT: Final = 1000
#: Items that a generator of an async actor yields in a row without a wait of its own before others
#: are let in.
ITEMS_AT_ONCE_COUNT_MAX: Final = 64

# -- cancelling ------------------------------------------------------------------------------------
#: How long a worker may take to end by itself what is cancelled by force; then its node kills it.
FORCED_CANCEL_NS: Final = 200 * MS
#: How long a worker that is to die by force lives for those to hear whom it has called; less than
#: the time in which it has to be dead.
CHILDREN_TOLD_NS: Final = 20 * MS
#: How long a body may take to stop that runs again for an item of it that was lost; then its node
#: kills its worker.
STUBBORN_BODY_NS: Final = 2 * SECOND
#: A body that a cancel did not interrupt is interrupted again this often.
CANCEL_AGAIN_NS: Final = 20 * MS

# -- membership (profile `lan`; `fast` is a fifth of every time) -----------------------------------
#: Bytes that a member has gossiped about itself.
MEMBER_PAYLOAD_BYTES_MAX: Final = 512
#: Sums of a view that are compared, each over the members whose id begins alike.
SUMS_COUNT: Final = 32

# -- cluster ---------------------------------------------------------------------------------------
#: Nodes that left and are remembered, so that nobody waits for them.
NODES_GONE_COUNT_MAX: Final = 4096
#: A node whose processes are watched becomes known within this time, or they are dead.
NODE_UNKNOWN_NS: Final = 10 * SECOND
#: A node tells the others at most this often what is free there.
PUBLISH_NS: Final = 100 * MS
#: A request that only other nodes can meet queues at one of them after this long.
QUEUE_ELSEWHERE_NS: Final = 100 * MS
#: A request that came back this often queues where it goes next.
LEASE_BACKS_COUNT_MAX: Final = 3

# -- stories ---------------------------------------------------------------------------------------
#: Moves that one entity's state machine remembers, for people.
STORY_COUNT_MAX: Final = 16

# -- logs ------------------------------------------------------------------------------------------
LOG_TAIL_LINES: Final = 20
LOG_LINE_BYTES_MAX: Final = 16 << 10
#: Bytes of worker output that wait at the daemon for one driver; past it the oldest lines are
#: dropped.
LOG_BACKLOG_BYTES_MAX: Final = 1 << 20

# -- questions about state -------------------------------------------------------------------------
#: Rows of one listing that a process tells at most.
STATE_ROWS_COUNT_MAX: Final = 10_000
#: Rows in one message.
STATE_PART_COUNT_MAX: Final = 500
#: Reasons told of one object.
STATE_HOLDS_COUNT_MAX: Final = 16
#: Objects that a row names of those that a task misses.
MISSING_NAMED_COUNT_MAX: Final = 3
#: A process that does not answer is waited for at most this long.
STATE_PATIENCE_NS_MAX: Final = 60 * SECOND
#: A node that gives up waiting for its processes has this long to say so.
STATE_GRACE_NS: Final = 3 * SECOND
#: Another node that gives up waiting has this long, its line to the one that asked it included.
STATE_FAR_NS: Final = 2 * SECOND
#: Questions that one process may owe its node an answer to; past it none is put to it.
STATE_OWED_COUNT_MAX: Final = 16
#: Questions that a node has open at a time; what comes beyond is answered without its processes.
STATE_QUESTIONS_COUNT_MAX: Final = 64

# -- stacks of workers -----------------------------------------------------------------------------
#: A worker that heard that it is asked where it is, and did not tell for so long, is made to.
STACK_FORCED_NS: Final = SECOND
#: How often is looked for what a worker tells.
STACK_LOOK_NS: Final = 2 * MS
#: Bytes that are read of what one worker tells; a hundred threads of a hundred calls take less.
STACK_BYTES_MAX: Final = 4 << 20

# -- what `zgen doctor` finds good ----------------------------------------------------------------
#: Room on disk for values that memory has none for.
DISK_FREE_BYTES_MIN: Final = 1 << 30
