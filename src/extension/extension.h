/*
 * extension.h - what the parts of the server library share
 *
 * The library is loaded by the first call of one of its functions, or by shared_preload_libraries; both work. Everything runs
 * in the backend of the session that calls it. With preload there is shared memory (cursors, sleepers); without, each backend
 * has hints of its own. Tables are the truth: whatever is in memory may be lost at any moment, and costs time only.
 */
#ifndef CLOACA_EXTENSION_H
#define CLOACA_EXTENSION_H

#include "postgres.h"

#include "access/itup.h"
#include "access/tableam.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "storage/block.h"
#include "storage/buf.h"
#include "utils/acl.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "compat.h"
#include "conditions.h"

/* The conditions of sql/conditions: CLOACA_INVALID_ARGUMENT and so on. */
#define CLOACA_ENUMERATOR(name, text, sqlstate, kind, message) CLOACA_##name,
typedef enum CloacaCondition { CLOACA_CONDITIONS(CLOACA_ENUMERATOR) CLOACA_CONDITION_COUNT } CloacaCondition;

/* condition.c: raises it, with a detail and a hint (full sentences, or NULL), as cloaca.raise_condition does. */
extern _Noreturn void cloaca_raise(CloacaCondition condition, const char *detail, const char *hint);

/* module.c: the settings. */
extern bool cloaca_allow_plain_password;
extern bool cloaca_direct;
extern bool cloaca_asynchronous_claims;
extern bool cloaca_bind_leases;
extern int cloaca_repair_interval; /* milliseconds */
extern int cloaca_poll_interval;   /* milliseconds */
extern char *cloaca_tenant_setting;
/* The one clock, as cloaca.now() reads it. */
extern TimestampTz cloaca_now(void);

/* shared_memory.c: asks for the shared memory at the start of the server, and finds it. */
extern void cloaca_request_shared_memory(void);

/* layout.c: whether tables are as this library knows them */
typedef struct CloacaColumn {
    const char *name;
    Oid type;
    bool is_not_null;
} CloacaColumn;

/* A heap of its own with just these columns, and without triggers, rules, row security, partitions or constraints. */
extern bool cloaca_is_plain_table(Relation relation, const CloacaColumn *columns, int count);
/* A valid B-tree on just these columns, ascending, by their types' own order, texts by their bytes. */
extern bool cloaca_is_index_on(Relation index, int count, const AttrNumber *columns, bool is_unique);
/* Whether an entry into the index calls functions, which may depend on the search path. */
extern bool cloaca_has_calls(Relation index);

/* tables.c: the tables of the session's tenant, for those who read and write them directly */

/* The columns of cloaca_task. What a claim changes stands together, so that the WAL has little more than that. */
enum {
    TASK_ID = 1,
    TASK_RUN_AT,
    TASK_ENQUEUED_AT,
    TASK_MAX_ATTEMPTS,
    TASK_PRIORITY,
    TASK_CANCELLED,
    TASK_WORKER,
    TASK_LEASE_ID,
    TASK_LEASE_UNTIL,
    TASK_CLAIMED_AT,
    TASK_ATTEMPT,
    TASK_QUEUE,
    TASK_NAME,
    TASK_KEY,
    TASK_EXECUTION,
    TASK_DEADLINE,
    TASK_TIMEOUT,
    TASK_PAYLOAD,
    TASK_RETRY,
    TASK_ERRORS,
    TASK_STEPS,
    TASK_COLUMNS = TASK_STEPS
};

/* The tables of one tenant, opened and locked until the end of the transaction, all of them as this library knows them. */
typedef struct CloacaTables {
    NameData schema;
    Oid claim_index; /* (queue, priority, run_at, id) */
    Oid id_index;    /* (id) */
    Oid key_index;   /* (queue, key) where key is not null */
    Oid sequence;    /* of id */
    Oid queue_index; /* of cloaca_queue: (queue) */
    Relation task;
    Relation queue;
} CloacaTables;

/* Opens the tables of the session's tenant. False when the direct path must not serve this call: it is switched off, the
 * isolation is stricter than read committed, nothing may be written, a privilege is missing, or a table has anything that only
 * SQL knows how to treat. Raises what cloaca.current_tenant() raises. */
extern bool cloaca_open_tables(CloacaTables *tables, AclMode mode);
/* The same for a tenant by the name of its schema, if it is the session's and was opened before; raises nothing. */
extern bool cloaca_open_remembered(const char *schema, CloacaTables *tables, AclMode mode);
extern void cloaca_close_tables(CloacaTables *tables);
/* Grows whenever something that is remembered of tables may be outdated. */
extern uint64 cloaca_forgettings(void);

/* The settings of a queue that matter here, the defaults where it has no row. */
typedef struct CloacaSettings {
    bool paused;
    bool keeps; /* history, or keys of finished tasks */
    int32 max_attempts;
    Interval lease;
} CloacaSettings;

extern void cloaca_read_settings(const CloacaTables *tables, Datum queue, CloacaSettings *settings);

/* task.c: one row of cloaca_task */

/* A way to rows, by their ids or by their places, under a snapshot of its own. */
typedef struct CloacaRows {
    const CloacaTables *tables;
    BlockNumber blocks; /* how long the table is at least, 0 until it is needed */
    Relation index;
    struct IndexScanDescData *scan; /* NULL until it is needed */
    Buffer buffer;
    struct TupleTableSlot *slot;
} CloacaRows;

extern void cloaca_begin_lookup(CloacaRows *rows, const CloacaTables *tables);
/* The row of a task as it is now, into rows->slot, when it is held under the lease and nobody cancelled it. */
extern bool cloaca_lookup_held(CloacaRows *rows, int64 task, int64 lease_id);
extern void cloaca_end_lookup(CloacaRows *rows);

/* When an attempt that began at `claimed_at` has to end: DT_NOEND for tasks that have all the time. */
extern TimestampTz cloaca_task_end(const Datum *values, const bool *nulls, TimestampTz claimed_at);

/* The version of the row at an index entry's place that the active snapshot shows, into the slot; the buffer stays pinned for
 * the next one. `all_dead`, unless NULL, says that nobody can see any. */
extern bool cloaca_fetch_task(const CloacaTables *tables, ItemPointer tid, Snapshot snapshot, Buffer *buffer,
                              struct TupleTableSlot *slot, bool *all_dead);

/* Replaces the row in `slot` by one with these values, or deletes it. Waits for another transaction that has changed it, or
 * not; anything but TM_Ok means that it was changed since, and nothing is done. An update says in `root` where its index
 * entries are, which has been that place. */
extern TM_Result cloaca_update_task(const CloacaTables *tables, struct TupleTableSlot *slot, Datum *values, bool *nulls,
                                    bool wait, ItemPointer root);
extern TM_Result cloaca_delete_task(const CloacaTables *tables, struct TupleTableSlot *slot);
/* Remembers the place of a task that was claimed, and a buffer that may hold its page, so that completing it needs no index. */
extern void cloaca_remember_place(const CloacaTables *tables, int64 lease_id, ItemPointer root, Buffer buffer);
/* How much room a page should have at least for a new version of a task. A page that has less is to be pruned, but not while a
 * slot holds a row of it. */
#define CLOACA_ROOM 1024
extern bool cloaca_has_room(Buffer buffer, Size room);
extern void cloaca_prune(const CloacaTables *tables, Buffer buffer);
extern void cloaca_insert_task(const CloacaTables *tables, const Datum *values, const bool *nulls);
/* Enters a version of a task into its indexes; `fresh` when it is a new task, not a new version. */
extern void cloaca_index_task(const CloacaTables *tables, Datum *values, const bool *nulls, ItemPointer tid, bool fresh);

/* sql_path.c: a function's twin in SQL, called with the arguments of the C function and answering for it. */
typedef struct CloacaTwin {
    const char *sql;
    struct _SPI_plan *plan;
} CloacaTwin;

extern Datum cloaca_sql_path(FunctionCallInfo fcinfo, CloacaTwin *twin);
/* Plans a statement for the rest of the session, the first time. Needs SPI. */
extern void cloaca_prepare(struct _SPI_plan **plan, const char *sql, int count, Oid *types);
/* Calls a function by such a statement, of which no answer is wanted. */
extern void cloaca_call(struct _SPI_plan **plan, const char *sql, int count, Oid *types, Datum *values, const char *nulls);
/* A snapshot for the next lookups, until it is popped: what earlier commands of this transaction did is to be seen, and what
 * others committed since. */
extern void cloaca_look(void);
/* The place for the rows of a function that returns a set. */
extern struct Tuplestorestate *cloaca_begin_rows(FunctionCallInfo fcinfo);
/* How many calls of this session the direct path served. */
extern int64 cloaca_direct_count;

/* arguments.c: whether an argument is as the SQL path wants it. What is not is left to that, which says why. */
extern bool cloaca_is_name(const text *name, int bytes);
extern bool cloaca_is_time(TimestampTz time);
extern bool cloaca_is_length(const Interval *length, bool positive, int64 *microseconds);

/* Orders int64, and Datums that are these. */
extern int cloaca_compare_ids(const void *one, const void *other);

/* One of many tasks and its lease. */
typedef struct CloacaPair {
    int64 task;
    int64 lease_id;
    int place; /* in the arrays */
    bool is_done;
    TimestampTz until; /* the end of the lease */
} CloacaPair;

/* The pairs of the first two arguments, two arrays; NULL when they are nothing that the direct path takes. */
extern CloacaPair *cloaca_read_pairs(FunctionCallInfo fcinfo, int *count);
/* Sorts them by their ids, in which order rows are locked so that two calls cannot deadlock; and back. */
extern int cloaca_compare_pairs(const void *one, const void *other);
extern void cloaca_sort_pairs(CloacaPair *pairs, int count);
extern void cloaca_restore_pairs(CloacaPair *pairs, int count);

/* A queue of a tenant, as hints know it: the tenant's table of tasks, and a hash of the queue's name. */
typedef struct CloacaQueue {
    Oid database;
    Oid table;
    uint64 hash;
} CloacaQueue;

extern CloacaQueue cloaca_queue(Oid table, const char *name, size_t length);

/* cursor.c: where a claim begins to look, for each queue and priority */

/* A place in the order of one priority. */
typedef struct CloacaKey {
    int64 run_at;
    int64 id;
} CloacaKey;

#define CLOACA_FIRST_KEY ((CloacaKey){PG_INT64_MIN, PG_INT64_MIN})

static inline bool cloaca_key_less(CloacaKey one, CloacaKey other)
{
    return one.run_at < other.run_at || (one.run_at == other.run_at && one.id < other.id);
}

/* What a claim read of a cursor, before its snapshot. */
typedef struct CloacaCursor {
    CloacaQueue queue;
    int16 priority;
    CloacaKey start;   /* nothing claimable is below, as far as is known, ... */
    CloacaKey rest;    /* ... and up to here only what lowered it */
    uint64 created;    /* which cursor it was, and ... */
    uint64 generation; /* ... how often it had been lowered */
    bool sweeps;       /* this claim is to look below, from `sweep` on, ... */
    bool is_urgent;    /* ... because something is known to be there, ... */
    bool has_ended;    /* ... or because a lease may have ended there */
    CloacaKey sweep;
    TimestampTz next_lease; /* when the first lease below `start` ends, as far as is known */
} CloacaCursor;

extern Size cloaca_cursor_size(void);
extern void cloaca_cursor_attach(void *area, bool found);
extern bool cloaca_cursors_shared(void);
extern void cloaca_cursor_read(const CloacaQueue *queue, int16 priority, TimestampTz at, CloacaCursor *cursor);
/* Nothing claimable is below `to` now, unless the cursor was lowered since it was read; `lease` is the first end of a lease
 * there. */
extern void cloaca_cursor_advance(const CloacaCursor *cursor, CloacaKey to, TimestampTz lease);
extern void cloaca_cursor_lower(const CloacaQueue *queue, int16 priority, CloacaKey to);
/* A lease there ends then. */
extern void cloaca_cursor_lease(const CloacaQueue *queue, int16 priority, TimestampTz until);
/* A claim went on at `rest`, and left what is from here on to looks below. */
extern void cloaca_cursor_skipped(const CloacaCursor *cursor, CloacaKey from);
/* A part of the way below the cursor was looked at, up to `to`, or all of it when `done`; there is more where something was
 * found. `lease` is the first end of a lease that was seen. True when it is done and that has come: another look is needed. */
extern bool cloaca_cursor_swept(const CloacaCursor *cursor, CloacaKey to, bool done, bool found, TimestampTz lease,
                                TimestampTz at);
/* Forgets the cursors of this database. */
extern void cloaca_cursor_reset(void);
/* Microseconds of a clock that nobody sets. */
extern int64 cloaca_monotonic(void);

/* entries.c: the index that claims follow */
typedef struct CloacaEntry {
    CloacaKey key;
    ItemPointerData tid;
    int16 priority;
    OffsetNumber offset; /* on its page */
    bool is_shared;      /* with other versions of the task */
} CloacaEntry;

#define CLOACA_MOST_ENTRIES 256

/* Reads a queue's entries in their order; `entry` is the one it is at. */
typedef struct CloacaEntries {
    Relation table;
    Relation index;
    IndexTuple pattern; /* of the queue's entries */
    Size queue_size;    /* of its name, as it is in an entry */
    struct BTScanInsertData *key;
    int want;
    bool any; /* dead ones, too */
    CloacaEntry entry;

    /* what was read of a page and not yet passed on */
    CloacaEntry *all;
    int limit;
    int count;
    int next;
    bool at_end;              /* there are no others behind them */
    ItemPointerData last_tid; /* of the last of them */
    BlockNumber block;
    XLogRecPtr lsn;
    OffsetNumber dead[CLOACA_MOST_ENTRIES];
    int dead_count;
} CloacaEntries;

extern void cloaca_begin_entries(CloacaEntries *entries, Relation table, Relation index, Datum queue);
/* Goes to the first entry at or behind a key; reads some `want` at a time. False: there is none. */
extern bool cloaca_seek_entry(CloacaEntries *entries, int32 priority, CloacaKey from, int want, bool any);
extern bool cloaca_next_entry(CloacaEntries *entries);
/* Nobody can see the row of the entry that it is at. */
extern void cloaca_entry_is_dead(CloacaEntries *entries);
extern void cloaca_end_entries(CloacaEntries *entries);

/* transaction.c: what is to happen when the transaction ends */

/* A queue by the names of the tenant's schema and its own; false when there is no such tenant that the caller may use. */
extern bool cloaca_named_queue(text *schema, text *name, CloacaQueue *queue);
/* Tasks that are claimable once this transaction commits; `first` is the lowest of their keys. */
extern void cloaca_note_tasks(const CloacaQueue *queue, int16 priority, CloacaKey first, int64 count, TimestampTz now);
/* A task that was claimed, and is claimable again should this transaction abort. */
extern void cloaca_note_claimed(const CloacaQueue *queue, int16 priority, CloacaKey key);
/* A lease that is over once this transaction commits. */
extern void cloaca_note_ended(int64 lease_id);
/* The lowest key of this level that this transaction made claimable, if it is below `start`. */
extern CloacaKey cloaca_noted_start(const CloacaQueue *queue, int16 priority, CloacaKey start);
/* A claim of this transaction has passed what it made claimable there. */
extern void cloaca_noted_passed(const CloacaQueue *queue, int16 priority, CloacaKey to);
/* Around everything that a claim writes: a transaction that wrote nothing else need not wait for the disk. */
extern void cloaca_claim_begins(void);
extern void cloaca_claim_ends(void);
extern void cloaca_register_callbacks(void);

/* An execution that has ended once this transaction commits. */
extern void cloaca_note_execution_end(Oid schema, int64 execution);

/* workflow.c: what executions do when a transaction commits */

/* What stands for an execution among the queues that sessions sleep at. */
extern CloacaQueue cloaca_execution_queue(Oid schema, int64 execution);
/* Has executions go on from the tasks that this transaction ended. */
extern void cloaca_advance_ended(void);
/* A subtransaction of this nesting is rolled back (0: the transaction is over), or its tasks are its parent's. */
extern void cloaca_forget_ended(int nesting);
extern void cloaca_keep_ended(int nesting);

/* wait.c: sleepers of wait_for_task. All of these do nothing without shared memory. */
extern Size cloaca_wait_size(void);
/* Called once a process that uses the area; `found` when somebody else has initialised it. */
extern void cloaca_wait_attach(void *area, bool found);
/* After a commit or an abort made tasks claimable: wakes as many sleepers on the queue, those who wait longest first. */
extern void cloaca_wake(const CloacaQueue *queue, int64 count);
/* After a commit made a task that is due later: whoever keeps time for the queue has to know. */
extern void cloaca_wake_at(const CloacaQueue *queue, TimestampTz run_at);
/* Has all queues of this database looked at that somebody waits for: for changes that name no queue. */
extern void cloaca_wake_all(void);

/* claim.c: whether a claim on the queue would get a task. If not, *due is when the next may become claimable (DT_NOEND: nothing
 * is known). Takes the direct path; false for *possible when that cannot serve this tenant. Its locks and its snapshot last
 * until the transaction ends. */
extern bool cloaca_probe(const char *queue, size_t length, TimestampTz *due, bool *possible);

/* lease.c: leases that end with the connection. Called at a claim of this session, and when a lease has ended. */
extern void cloaca_bind_lease(const char *schema_name, int64 task, int64 lease_id, TimestampTz lease_until);
/* Prolongs it if it is bound. */
extern void cloaca_prolong_bound_lease(int64 lease_id, TimestampTz lease_until);
extern void cloaca_unbind_lease(int64 lease_id);

/* password.c */
#define CLOACA_GENERATED_LENGTH 32

typedef struct CloacaPassword {
    char *plain;    /* what the caller is told; NULL when it gave a verifier */
    char *verifier; /* what the role gets: a SCRAM verifier */
} CloacaPassword;

/* The password that an argument (NULL or empty: a generated one) means. Raises when plain text is not allowed. */
extern CloacaPassword cloaca_password(const char *argument);
/* Gives it to a role. */
extern void cloaca_set_password(const char *role, const CloacaPassword *password);
/* Overwrites it in memory. */
extern void cloaca_wipe_password(CloacaPassword *password);

#endif
