/*
 * claim.c - claim on the direct path, and the probe of wait_for_task
 *
 * The index (queue, priority, run_at, id) is read in its order, from priority to priority, in each from its cursor on, up to
 * the first task that is not due. A task that is to be had is taken by one heap update that waits for nobody: what another
 * transaction holds or has changed since is skipped. The update changes no indexed column, so it is a HOT update while the page
 * has room.
 *
 * For each priority the cursor is read first and the snapshot taken then: whatever commits later lowers the cursor, and is not
 * passed over. Where cursors are the backend's own nobody else lowers them; there they stay below whatever was seen in flux and
 * below the last moments, in which others may have taken their time from the clock but not yet entered their task.
 *
 * Every cloaca.repair_interval the part below the cursor is looked at too (the sweep), which finds expired leases and tasks
 * that somebody put there by hand. It is done in pieces of a fraction of a millisecond that take at most a twentieth of the
 * time.
 *
 * Runs in the backend of the caller, with its rights. Locks: cloaca_task ROW EXCLUSIVE, and the rows that it takes.
 */
#include "execution.h"

#include "access/genam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "worker.h"

PG_FUNCTION_INFO_V1(cloaca_claim);

/* A piece of a sweep takes from PIECE to LIMIT microseconds, and a SHARE-th of the time at most. Claims that find something
 * make one only EVERY so many times, or when there was none for a time of PATIENCE, so that few of them take longer than the
 * others. */
#define SWEEP_PIECE 100
#define SWEEP_LIMIT 200
#define SWEEP_SHARE 20
#define SWEEP_EVERY 1024
#define SWEEP_PATIENCE (200 * 1000)
#define SWEEP_CHECK 16
/* After how many entries in vain a claim goes on where the cursor was before it was lowered. */
#define SKIP_AFTER 256
#define NO_PRIORITY (PG_INT16_MAX + 1)
/* How long it may take from the clock to the index, where nobody lowers the cursor. */
#define UNSEEN_TIME (10 * 1000)
#define LEASE_IDS 64
/* How many more entries are read than tasks are wanted, since others may have some of them. */
#define SPARE_ENTRIES 4
/* How much room on a page one version of a task takes. */
#define ROOM_FOR_ONE 200

enum {
    RESULT_TASK,
    RESULT_LEASE_ID,
    RESULT_ATTEMPT,
    RESULT_NAME,
    RESULT_PAYLOAD,
    RESULT_PRIORITY,
    RESULT_RUN_AT,
    RESULT_LEASE_UNTIL,
    RESULT_MAX_ATTEMPTS,
    RESULT_EXECUTION,
    RESULT_TIMEOUT,
    RESULT_COLUMNS
};

typedef struct Claim {
    /* what is asked for */
    Datum queue_name;
    text *worker;
    int max;
    bool has_lease;
    int64 lease;
    bool is_probe; /* only looks */
    TimestampTz now;

    CloacaTables tables;
    CloacaQueue queue;
    CloacaSettings settings;
    bool has_snapshot;
    bool has_settings;
    TimestampTz lease_until;

    /* the entries of the queue, and the row of the one that it is at */
    Relation index;
    CloacaEntries entries;
    Buffer buffer;
    TupleTableSlot *slot;
    CloacaKey flux;        /* the lowest key of this priority that somebody is at */
    TimestampTz first_end; /* the first end of a lease in this priority */

    /* what came of it */
    Tuplestorestate *rows;
    TupleDesc row_type;
    int found;
    CloacaStarted *started; /* tasks of executions */
    int started_count;
    TimestampTz due; /* a probe's: when the next task is */
} Claim;

/* When this backend last swept, on the monotonic clock. */
static int64 last_sweep;
static int claims_since_sweep;

static bool read_arguments(FunctionCallInfo fcinfo, Claim *claim);
static Datum by_sql(FunctionCallInfo fcinfo);
static void run(Claim *claim);
static bool take_level(Claim *claim);
static void look_from_here(Claim *claim);
static bool may_take(Claim *claim);
static bool take_due(Claim *claim, const CloacaCursor *cursor);
static bool sweep(Claim *claim, CloacaCursor *cursor);
static bool sweep_until(Claim *claim, const CloacaCursor *cursor, int64 end);
static bool seek_level(Claim *claim, int32 priority);
static bool seek(Claim *claim, int16 priority, CloacaKey from, int want);
static void take(Claim *claim);
static bool is_visible(Claim *claim);
static void make_room(Claim *claim, BlockNumber block);
static bool is_claimable(Claim *claim);
static bool has_time(const Claim *claim);
static bool update(Claim *claim);
static Datum expired_errors(const Claim *claim);
static void add_started(Claim *claim, const Datum *values);
static void add_row(Claim *claim, const Datum *values, const bool *nulls);
static int64 new_lease_id(void);
static CloacaKey after(CloacaKey key);

/* claim(queue, worker, max, lease) */
Datum cloaca_claim(PG_FUNCTION_ARGS)
{
    Claim claim = {0};

    if (!read_arguments(fcinfo, &claim) || !cloaca_open_tables(&claim.tables, ACL_SELECT | ACL_UPDATE))
        return by_sql(fcinfo);
    claim.rows = cloaca_begin_rows(fcinfo);
    claim.row_type = ((ReturnSetInfo *) fcinfo->resultinfo)->expectedDesc;
    cloaca_claim_begins();
    run(&claim);
    if (claim.started_count > 0)
        cloaca_tell_started(&claim.tables, claim.started, claim.started_count, claim.worker, claim.now);
    cloaca_claim_ends();
    cloaca_close_tables(&claim.tables);
    cloaca_direct_count++;
    PG_RETURN_NULL();
}

bool cloaca_probe(const char *queue, size_t length, TimestampTz *due, bool *possible)
{
    Claim claim = {.queue_name = PointerGetDatum(cstring_to_text_with_len(queue, length)), .max = 1, .is_probe = true};

    claim.now = cloaca_now();
    claim.due = DT_NOEND;
    *possible = cloaca_open_tables(&claim.tables, ACL_SELECT);
    if (*possible) {
        run(&claim);
        cloaca_close_tables(&claim.tables);
    }
    *due = claim.due;
    return claim.found > 0;
}

static bool read_arguments(FunctionCallInfo fcinfo, Claim *claim)
{
    if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || !ActiveSnapshotSet())
        return false;
    claim->queue_name = PointerGetDatum(PG_GETARG_TEXT_PP(0));
    claim->worker = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
    claim->max = PG_GETARG_INT32(2);
    claim->has_lease = !PG_ARGISNULL(3);
    claim->now = cloaca_now();
    return cloaca_is_name((text *) DatumGetPointer(claim->queue_name), 200) &&
           (claim->worker == NULL || cloaca_is_name(claim->worker, 200)) && claim->max >= 1 && claim->max <= 10000 &&
           (!claim->has_lease || cloaca_is_length(PG_GETARG_INTERVAL_P(3), true, &claim->lease));
}

static Datum by_sql(FunctionCallInfo fcinfo)
{
    static CloacaTwin twin = {.sql = "select * from cloaca.claim_sql($1, $2, $3, $4)"};

    return cloaca_sql_path(fcinfo, &twin);
}

static void run(Claim *claim)
{
    text *name = (text *) DatumGetPointer(claim->queue_name);
    bool is_at_level;

    claims_since_sweep++;
    CommandCounterIncrement();
    claim->queue = cloaca_queue(RelationGetRelid(claim->tables.task), VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
    claim->index = index_open(claim->tables.claim_index, AccessShareLock);
    claim->slot = table_slot_create(claim->tables.task, NULL);
    cloaca_begin_entries(&claim->entries, claim->tables.task, claim->index, claim->queue_name);

    is_at_level = seek_level(claim, PG_INT16_MIN);
    while (is_at_level)
        is_at_level = take_level(claim);

    cloaca_end_entries(&claim->entries);
    if (claim->has_snapshot)
        PopActiveSnapshot();
    ExecDropSingleTupleTableSlot(claim->slot);
    if (BufferIsValid(claim->buffer))
        ReleaseBuffer(claim->buffer);
    index_close(claim->index, NoLock);
}

/* Takes what there is in the priority of the entry that the scan is at; true when it then is at an entry of the next one. */
static bool take_level(Claim *claim)
{
    int16 priority = claim->entries.entry.priority;
    int32 next = NO_PRIORITY;
    bool swept;
    CloacaCursor cursor;

    cloaca_cursor_read(&claim->queue, priority, claim->now, &cursor);
    look_from_here(claim);
    if (!may_take(claim))
        return false;
    claim->flux = (CloacaKey){PG_INT64_MAX, PG_INT64_MAX};
    claim->first_end = DT_NOEND;
    swept = (cursor.is_urgent || cursor.has_ended || claims_since_sweep >= SWEEP_EVERY ||
             (cursor.sweeps && cloaca_monotonic() - last_sweep >= SWEEP_PATIENCE)) &&
            sweep(claim, &cursor);
    if (claim->found < claim->max && take_due(claim, &cursor)) {
        bool is_next = claim->entries.entry.priority != priority;

        if (!is_next)
            claim->due = Min(claim->due, claim->entries.entry.key.run_at);
        next = is_next ? claim->entries.entry.priority : priority + 1;
    }
    /* Who found nothing has the time to look further down. */
    if (claim->found == 0 && !swept)
        sweep(claim, &cursor);
    claim->due = Min(claim->due, Min(claim->first_end, cursor.next_lease));
    return claim->found < claim->max && next <= PG_INT16_MAX && seek_level(claim, next);
}

/* Takes what is due from the cursor on, and moves that. True when the scan then is at an entry that is not due, or not of this
 * priority. */
static bool take_due(Claim *claim, const CloacaCursor *cursor)
{
    CloacaKey passed = cloaca_noted_start(&claim->queue, cursor->priority, cursor->start);
    const CloacaEntry *entry = &claim->entries.entry;
    int missed = 0;
    bool is_at_entry = seek(claim, cursor->priority, passed, claim->max - claim->found + SPARE_ENTRIES);

    while (is_at_entry && entry->priority == cursor->priority && entry->key.run_at <= claim->now) {
        int before = claim->found;

        passed = after(entry->key);
        take(claim);
        if (claim->is_probe && claim->found > 0)
            passed = entry->key;
        missed = claim->found > before ? 0 : missed + 1;
        if (missed > SKIP_AFTER && cloaca_key_less(passed, cursor->rest)) {
            cloaca_cursor_skipped(cursor, passed);
            passed = cursor->rest;
            is_at_entry = seek(claim, cursor->priority, passed, claim->max - claim->found + SPARE_ENTRIES);
        } else {
            is_at_entry = claim->found < claim->max && cloaca_next_entry(&claim->entries);
        }
    }
    if (!cloaca_cursors_shared()) {
        CloacaKey unseen = {claim->now - UNSEEN_TIME, PG_INT64_MIN};

        passed = cloaca_key_less(unseen, passed) ? unseen : passed;
        passed = cloaca_key_less(claim->flux, passed) ? claim->flux : passed;
    }
    cloaca_noted_passed(&claim->queue, cursor->priority, passed);
    cloaca_cursor_advance(cursor, passed, claim->first_end);
    return is_at_entry;
}

/* A snapshot of now, for this priority. */
static void look_from_here(Claim *claim)
{
    if (claim->has_snapshot)
        PopActiveSnapshot();
    PushActiveSnapshot(GetTransactionSnapshot());
    claim->has_snapshot = true;
}

/* Not when the queue is paused. Its settings are read once, when there is something to take. */
static bool may_take(Claim *claim)
{
    if (!claim->has_settings) {
        claim->has_settings = true;
        cloaca_read_settings(&claim->tables, claim->queue_name, &claim->settings);
        claim->lease_until =
            claim->has_lease ? claim->now + claim->lease
                             : DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(claim->now),
                                                                       IntervalPGetDatum(&claim->settings.lease)));
    }
    return !claim->settings.paused;
}

/* Looks at a piece of what is below the cursor, if it is time for that. */
static bool sweep(Claim *claim, CloacaCursor *cursor)
{
    int before = claim->found;
    int64 begun;
    int64 limit;

    /* What this transaction made claimable may be below, and comes first. */
    if (!cursor->sweeps || cloaca_key_less(cloaca_noted_start(&claim->queue, cursor->priority, cursor->start), cursor->start))
        return false;
    begun = cloaca_monotonic();
    limit = cursor->is_urgent ? SWEEP_LIMIT : Min((begun - last_sweep) / SWEEP_SHARE, SWEEP_LIMIT);
    if (cursor->has_ended)
        limit = Max(limit, SWEEP_PIECE);
    if (limit < SWEEP_PIECE)
        return false;
    /* Leases that ended after the last look below had passed them are a reason to begin another at once. */
    if (sweep_until(claim, cursor, begun + limit) && claim->found == before) {
        cursor->sweep = CLOACA_FIRST_KEY;
        sweep_until(claim, cursor, begun + limit);
    }
    claims_since_sweep = 0;
    return true;
}

/* True when the look below came to its end, but leases that it saw have ended. */
static bool sweep_until(Claim *claim, const CloacaCursor *cursor, int64 end)
{
    int before = claim->found;
    int seen = 0;
    bool is_at_entry;
    bool is_done;
    bool is_outdated;

    is_at_entry = seek(claim, cursor->priority, cursor->sweep, CLOACA_MOST_ENTRIES);
    for (;;) {
        is_done = !is_at_entry || claim->entries.entry.priority != cursor->priority ||
                  !cloaca_key_less(claim->entries.entry.key, cursor->start);
        if (is_done || claim->found >= claim->max || (++seen % SWEEP_CHECK == 0 && cloaca_monotonic() > end))
            break;
        take(claim);
        if (claim->found < claim->max)
            is_at_entry = cloaca_next_entry(&claim->entries);
    }
    /* What a probe found there, the next claim is to find at once. */
    is_outdated = cloaca_cursor_swept(
        cursor, claim->found < claim->max || claim->is_probe ? claim->entries.entry.key : after(claim->entries.entry.key),
        is_done, claim->found > before, claim->first_end, claim->now);
    if (claim->found == before)
        last_sweep = cloaca_monotonic();
    return is_outdated;
}

/* Goes to the first priority from this one on. To learn of one any entry will do; looking for one that is not known to be dead
 * might take all of the index. */
static bool seek_level(Claim *claim, int32 priority)
{
    return cloaca_seek_entry(&claim->entries, priority, CLOACA_FIRST_KEY, 1, true);
}

/* Goes to where tasks may be had. */
static bool seek(Claim *claim, int16 priority, CloacaKey from, int want)
{
    return cloaca_seek_entry(&claim->entries, priority, from, want, false);
}

/* Takes the task that the scan is at, if it is to be had. */
static void take(Claim *claim)
{
    if (is_visible(claim) && is_claimable(claim) && (claim->is_probe || update(claim)))
        claim->found++;
}

static bool is_visible(Claim *claim)
{
    ItemPointer tid = &claim->entries.entry.tid;
    Snapshot snapshot = GetActiveSnapshot();
    bool all_dead = false;

    make_room(claim, ItemPointerGetBlockNumber(tid));
    if (cloaca_fetch_task(&claim->tables, tid, snapshot, &claim->buffer, claim->slot, &all_dead))
        return true;
    if (all_dead)
        cloaca_entry_is_dead(&claim->entries);
    if (!cloaca_cursors_shared() && !all_dead) {
        /* Not yet committed, or dead? Somebody else's commit does not lower our cursor. */
        SnapshotData dirty;

        InitDirtySnapshot(dirty);
        if (cloaca_fetch_task(&claim->tables, tid, &dirty, &claim->buffer, claim->slot, NULL) &&
            cloaca_key_less(claim->entries.entry.key, claim->flux))
            claim->flux = claim->entries.entry.key;
    }
    return false;
}

/* Before tasks of another page are taken: a new version of each should find room there, in the place of dead ones. */
static void make_room(Claim *claim, BlockNumber block)
{
    Size need = Min(Max(CLOACA_ROOM, (Size) (claim->max - claim->found) * ROOM_FOR_ONE), BLCKSZ / 2);

    if (BufferIsValid(claim->buffer) && BufferGetBlockNumber(claim->buffer) == block)
        return;
    ExecClearTuple(claim->slot);
    claim->buffer = ReleaseAndReadBuffer(claim->buffer, claim->tables.task, block);
    if (!claim->is_probe && !cloaca_has_room(claim->buffer, need))
        cloaca_prune(&claim->tables, claim->buffer);
}

static bool is_claimable(Claim *claim)
{
    TupleTableSlot *slot = claim->slot;

    slot_getsomeattrs(slot, TASK_ATTEMPT);
    if (DatumGetBool(slot->tts_values[TASK_CANCELLED - 1]))
        return false;
    if (slot->tts_isnull[TASK_LEASE_ID - 1])
        return has_time(claim);
    if (DatumGetTimestampTz(slot->tts_values[TASK_LEASE_UNTIL - 1]) > claim->now) {
        claim->first_end = Min(claim->first_end, DatumGetTimestampTz(slot->tts_values[TASK_LEASE_UNTIL - 1]));
        return false;
    }
    return DatumGetInt32(slot->tts_values[TASK_ATTEMPT - 1]) < DatumGetInt32(slot->tts_values[TASK_MAX_ATTEMPTS - 1]) &&
           has_time(claim);
}

static bool has_time(const Claim *claim)
{
    bool is_null;
    Datum deadline = slot_getattr(claim->slot, TASK_DEADLINE, &is_null);

    return is_null || DatumGetTimestampTz(deadline) > claim->now;
}

/* Gives the task a new lease, unless somebody else has it in hand or changed it just now. */
static bool update(Claim *claim)
{
    TupleTableSlot *slot = claim->slot;
    ItemPointerData root = claim->entries.entry.tid;
    TimestampTz lease_until;
    Datum values[TASK_COLUMNS];
    bool nulls[TASK_COLUMNS];

    slot_getallattrs(slot);
    memcpy(values, slot->tts_values, sizeof(values));
    memcpy(nulls, slot->tts_isnull, sizeof(nulls));
    lease_until = Min(claim->lease_until, cloaca_task_end(values, nulls, claim->now));
    if (!nulls[TASK_LEASE_ID - 1]) {
        values[TASK_ERRORS - 1] = expired_errors(claim);
        nulls[TASK_ERRORS - 1] = false;
    }
    values[TASK_LEASE_ID - 1] = Int64GetDatum(new_lease_id());
    values[TASK_LEASE_UNTIL - 1] = TimestampTzGetDatum(lease_until);
    values[TASK_CLAIMED_AT - 1] = TimestampTzGetDatum(claim->now);
    values[TASK_ATTEMPT - 1] = Int32GetDatum(DatumGetInt32(values[TASK_ATTEMPT - 1]) + 1);
    values[TASK_WORKER - 1] = PointerGetDatum(claim->worker);
    nulls[TASK_LEASE_ID - 1] = nulls[TASK_LEASE_UNTIL - 1] = nulls[TASK_CLAIMED_AT - 1] = false;
    nulls[TASK_WORKER - 1] = claim->worker == NULL;

    if (cloaca_update_task(&claim->tables, slot, values, nulls, false, &root) != TM_Ok) {
        if (cloaca_key_less(claim->entries.entry.key, claim->flux))
            claim->flux = claim->entries.entry.key;
        return false;
    }
    claim->first_end = Min(claim->first_end, lease_until);
    cloaca_remember_place(&claim->tables, DatumGetInt64(values[TASK_LEASE_ID - 1]), &root, claim->buffer);
    cloaca_note_due(claim->queue.database, claim->queue.table, lease_until, true);
    cloaca_note_claimed(&claim->queue, claim->entries.entry.priority, claim->entries.entry.key);
    if (cloaca_bind_leases)
        cloaca_bind_lease(NameStr(claim->tables.schema), claim->entries.entry.key.id, DatumGetInt64(values[TASK_LEASE_ID - 1]),
                          lease_until);
    if (!nulls[TASK_EXECUTION - 1])
        add_started(claim, values);
    add_row(claim, values, nulls);
    return true;
}

/* The history of attempts with the one whose lease ran out. */
static Datum expired_errors(const Claim *claim)
{
    static SPIPlanPtr plan;
    Oid types[] = {JSONBOID, INT4OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
    const Datum *values = claim->slot->tts_values;
    const bool *nulls = claim->slot->tts_isnull;
    TimestampTz end = cloaca_task_end(values, nulls, DatumGetTimestampTz(values[TASK_CLAIMED_AT - 1]));
    bool timed_out = DatumGetTimestampTz(values[TASK_LEASE_UNTIL - 1]) >= end;
    Datum arguments[] = {values[TASK_ERRORS - 1], values[TASK_ATTEMPT - 1], values[TASK_WORKER - 1],
                         CStringGetTextDatum(timed_out ? "timed out" : "lease expired"), TimestampTzGetDatum(claim->now)};
    char argument_nulls[] = {nulls[TASK_ERRORS - 1] ? 'n' : ' ', ' ', nulls[TASK_WORKER - 1] ? 'n' : ' ', ' ', ' '};
    MemoryContext before = CurrentMemoryContext;
    Datum errors;
    bool is_null;

    SPI_connect();
    cloaca_prepare(&plan, "select cloaca.add_error($1, $2, $3, $4, $5)", lengthof(types), types);
    if (SPI_execute_plan(plan, arguments, argument_nulls, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "unexpected answer of add_error");
    errors = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
    before = MemoryContextSwitchTo(before);
    errors = JsonbPGetDatum(DatumGetJsonbPCopy(errors));
    MemoryContextSwitchTo(before);
    SPI_finish();
    return errors;
}

static void add_started(Claim *claim, const Datum *values)
{
    if (claim->started_count == 0)
        claim->started = palloc(claim->max * sizeof(CloacaStarted));
    claim->started[claim->started_count++] = (CloacaStarted){
        DatumGetInt64(values[TASK_EXECUTION - 1]), DatumGetInt64(values[TASK_ID - 1]), DatumGetInt32(values[TASK_ATTEMPT - 1])};
}

static void add_row(Claim *claim, const Datum *values, const bool *nulls)
{
    static const AttrNumber columns[RESULT_COLUMNS] = {
        [RESULT_TASK] = TASK_ID,
        [RESULT_LEASE_ID] = TASK_LEASE_ID,
        [RESULT_ATTEMPT] = TASK_ATTEMPT,
        [RESULT_NAME] = TASK_NAME,
        [RESULT_PAYLOAD] = TASK_PAYLOAD,
        [RESULT_PRIORITY] = TASK_PRIORITY,
        [RESULT_RUN_AT] = TASK_RUN_AT,
        [RESULT_LEASE_UNTIL] = TASK_LEASE_UNTIL,
        [RESULT_MAX_ATTEMPTS] = TASK_MAX_ATTEMPTS,
        [RESULT_EXECUTION] = TASK_EXECUTION,
        [RESULT_TIMEOUT] = TASK_TIMEOUT,
    };
    Datum row[RESULT_COLUMNS];
    bool row_nulls[RESULT_COLUMNS];

    for (int i = 0; i < RESULT_COLUMNS; i++) {
        row[i] = values[columns[i] - 1];
        row_nulls[i] = nulls[columns[i] - 1];
    }
    tuplestore_putvalues(claim->rows, claim->row_type, row, row_nulls);
}

/* 62 strongly random bits, as cloaca.new_lease_id gives; drawn many at a time. */
static int64 new_lease_id(void)
{
    static uint64 drawn[LEASE_IDS];
    static int left = 0;

    if (left == 0) {
        if (!pg_strong_random(drawn, sizeof(drawn)))
            ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a lease")));
        left = LEASE_IDS;
    }
    return (int64) (drawn[--left] & UINT64CONST(4611686018427387903));
}

/* The place right behind a key. */
static CloacaKey after(CloacaKey key)
{
    return (CloacaKey){key.run_at, key.id + 1};
}
