/*
 * enqueue.c - enqueue and enqueue_many on the direct path
 *
 * Tasks without a key and with the queue's retry policy are formed here and entered into table and indexes. Keys, which may
 * have to wait for each other, policies, large payloads and whatever is wrong are the SQL path's.
 *
 * Runs in the backend of the caller, with its rights. Locks: cloaca_task ROW EXCLUSIVE.
 */
#include "extension.h"

#include "access/detoast.h"
#include "access/heapam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(cloaca_enqueue);
PG_FUNCTION_INFO_V1(cloaca_enqueue_many);

/* Beyond this a payload may be too large, which the SQL path finds out. */
#define SMALL_PAYLOAD 5000
/* How many tasks are formed in memory before they are written. */
#define ENQUEUE_PIECE 1000

/* The arguments of both, in the same places. */
enum { NAME, PAYLOAD, QUEUE, PRIORITY, RUN_AT, DELAY, KEY, MAX_ATTEMPTS, RETRY };

/* What all tasks of a call share. */
typedef struct Enqueue {
    CloacaTables tables;
    TimestampTz now;
    TimestampTz run_at;
    Datum values[TASK_COLUMNS];
    bool nulls[TASK_COLUMNS];
} Enqueue;

static bool begin(FunctionCallInfo fcinfo, Enqueue *enqueue);
static bool are_plain(FunctionCallInfo fcinfo);
static bool find_due(FunctionCallInfo fcinfo, Enqueue *enqueue);
static void share_values(FunctionCallInfo fcinfo, Enqueue *enqueue);
static bool read_payloads(FunctionCallInfo fcinfo, Datum **payloads, int *count);
static void insert_one(Enqueue *enqueue, int64 id, Datum payload);
static void insert_piece(Enqueue *enqueue, const int64 *ids, const Datum *payloads, int count);
static void form(const Enqueue *enqueue, TupleTableSlot *slot, int64 id, Datum payload);
static void tell(const Enqueue *enqueue, int64 first, int64 count);
static void add_row(FunctionCallInfo fcinfo, Tuplestorestate *rows, int64 id);

/* enqueue(name, payload, queue, priority, run_at, delay, key, max_attempts, retry) */
Datum cloaca_enqueue(PG_FUNCTION_ARGS)
{
    static CloacaTwin twin = {.sql = "select * from cloaca.enqueue_sql($1, $2, $3, $4, $5, $6, $7, $8, $9)"};
    Enqueue enqueue;
    int64 id;

    if (PG_ARGISNULL(PAYLOAD) || toast_raw_datum_size(PG_GETARG_DATUM(PAYLOAD)) > SMALL_PAYLOAD || !begin(fcinfo, &enqueue))
        return cloaca_sql_path(fcinfo, &twin);
    id = nextval_internal(enqueue.tables.sequence, false);
    insert_one(&enqueue, id, PointerGetDatum(PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(PAYLOAD))));
    tell(&enqueue, id, 1);
    cloaca_close_tables(&enqueue.tables);
    add_row(fcinfo, cloaca_begin_rows(fcinfo), id);
    cloaca_direct_count++;
    PG_RETURN_NULL();
}

/* enqueue_many(name, payloads, queue, priority, run_at, delay, keys, max_attempts, retry) */
Datum cloaca_enqueue_many(PG_FUNCTION_ARGS)
{
    static CloacaTwin twin = {.sql = "select * from cloaca.enqueue_many_sql($1, $2, $3, $4, $5, $6, $7, $8, $9)"};
    Enqueue enqueue;
    Datum *payloads;
    int count;
    Tuplestorestate *rows;
    int64 *ids;

    if (!read_payloads(fcinfo, &payloads, &count) || !begin(fcinfo, &enqueue))
        return cloaca_sql_path(fcinfo, &twin);
    rows = cloaca_begin_rows(fcinfo);
    ids = palloc(Max(1, count) * sizeof(int64));
    for (int i = 0; i < count; i++) {
        ids[i] = nextval_internal(enqueue.tables.sequence, false);
        add_row(fcinfo, rows, ids[i]);
    }
    for (int i = 0; i < count; i += ENQUEUE_PIECE)
        insert_piece(&enqueue, &ids[i], &payloads[i], Min(ENQUEUE_PIECE, count - i));
    if (count > 0)
        tell(&enqueue, ids[0], count);
    cloaca_close_tables(&enqueue.tables);
    cloaca_direct_count++;
    PG_RETURN_NULL();
}

static bool begin(FunctionCallInfo fcinfo, Enqueue *enqueue)
{
    enqueue->now = cloaca_now();
    if (!are_plain(fcinfo) || !find_due(fcinfo, enqueue) || !cloaca_open_tables(&enqueue->tables, ACL_SELECT | ACL_INSERT))
        return false;
    CommandCounterIncrement();
    share_values(fcinfo, enqueue);
    return true;
}

static bool are_plain(FunctionCallInfo fcinfo)
{
    return !PG_ARGISNULL(NAME) && cloaca_is_name(PG_GETARG_TEXT_PP(NAME), 200) && !PG_ARGISNULL(QUEUE) &&
           cloaca_is_name(PG_GETARG_TEXT_PP(QUEUE), 200) && !PG_ARGISNULL(PRIORITY) &&
           PG_GETARG_INT32(PRIORITY) >= PG_INT16_MIN && PG_GETARG_INT32(PRIORITY) <= PG_INT16_MAX && PG_ARGISNULL(KEY) &&
           PG_ARGISNULL(RETRY) &&
           (PG_ARGISNULL(MAX_ATTEMPTS) || (PG_GETARG_INT32(MAX_ATTEMPTS) >= 1 && PG_GETARG_INT32(MAX_ATTEMPTS) <= 1000000));
}

static bool find_due(FunctionCallInfo fcinfo, Enqueue *enqueue)
{
    int64 delay = 0;

    if (!PG_ARGISNULL(RUN_AT)) {
        enqueue->run_at = PG_GETARG_TIMESTAMPTZ(RUN_AT);
        return PG_ARGISNULL(DELAY) && cloaca_is_time(enqueue->run_at);
    }
    if (!PG_ARGISNULL(DELAY) && !cloaca_is_length(PG_GETARG_INTERVAL_P(DELAY), false, &delay))
        return false;
    enqueue->run_at = enqueue->now + delay;
    return true;
}

static void share_values(FunctionCallInfo fcinfo, Enqueue *enqueue)
{
    static const AttrNumber given[] = {TASK_ID,      TASK_RUN_AT,       TASK_ENQUEUED_AT, TASK_PRIORITY, TASK_CANCELLED,
                                       TASK_ATTEMPT, TASK_MAX_ATTEMPTS, TASK_QUEUE,       TASK_NAME,     TASK_PAYLOAD};
    Datum *values = enqueue->values;
    int32 max_attempts;

    if (PG_ARGISNULL(MAX_ATTEMPTS)) {
        CloacaSettings settings;

        cloaca_read_settings(&enqueue->tables, PG_GETARG_DATUM(QUEUE), &settings);
        max_attempts = settings.max_attempts;
    } else {
        max_attempts = PG_GETARG_INT32(MAX_ATTEMPTS);
    }
    memset(enqueue->nulls, true, sizeof(enqueue->nulls));
    values[TASK_QUEUE - 1] = PointerGetDatum(PG_GETARG_TEXT_PP(QUEUE));
    values[TASK_PRIORITY - 1] = Int16GetDatum(PG_GETARG_INT32(PRIORITY));
    values[TASK_RUN_AT - 1] = TimestampTzGetDatum(enqueue->run_at);
    values[TASK_ATTEMPT - 1] = Int32GetDatum(0);
    values[TASK_MAX_ATTEMPTS - 1] = Int32GetDatum(max_attempts);
    values[TASK_CANCELLED - 1] = BoolGetDatum(false);
    values[TASK_ENQUEUED_AT - 1] = TimestampTzGetDatum(enqueue->now);
    values[TASK_NAME - 1] = PointerGetDatum(PG_GETARG_TEXT_PP(NAME));
    for (int i = 0; i < (int) lengthof(given); i++)
        enqueue->nulls[given[i] - 1] = false;
}

static bool read_payloads(FunctionCallInfo fcinfo, Datum **payloads, int *count)
{
    ArrayType *array;
    bool *nulls;

    if (PG_ARGISNULL(PAYLOAD))
        return false;
    array = PG_GETARG_ARRAYTYPE_P(PAYLOAD);
    if (ARR_NDIM(array) > 1 || ARR_ELEMTYPE(array) != JSONBOID || array_contains_nulls(array))
        return false;
    deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT, payloads, &nulls, count);
    for (int i = 0; i < *count; i++) {
        if (VARSIZE_ANY(DatumGetPointer((*payloads)[i])) > SMALL_PAYLOAD)
            return false;
    }
    return true;
}

static void insert_one(Enqueue *enqueue, int64 id, Datum payload)
{
    enqueue->values[TASK_ID - 1] = Int64GetDatum(id);
    enqueue->values[TASK_PAYLOAD - 1] = payload;
    cloaca_insert_task(&enqueue->tables, enqueue->values, enqueue->nulls);
}

static void insert_piece(Enqueue *enqueue, const int64 *ids, const Datum *payloads, int count)
{
    TupleTableSlot **slots = palloc(count * sizeof(TupleTableSlot *));

    for (int i = 0; i < count; i++) {
        slots[i] = table_slot_create(enqueue->tables.task, NULL);
        form(enqueue, slots[i], ids[i], payloads[i]);
    }
    table_multi_insert(enqueue->tables.task, slots, count, GetCurrentCommandId(true), 0, NULL);
    for (int i = 0; i < count; i++) {
        slot_getallattrs(slots[i]);
        cloaca_index_task(&enqueue->tables, slots[i]->tts_values, slots[i]->tts_isnull, &slots[i]->tts_tid, true);
        ExecDropSingleTupleTableSlot(slots[i]);
    }
    pfree(slots);
}

static void form(const Enqueue *enqueue, TupleTableSlot *slot, int64 id, Datum payload)
{
    ExecClearTuple(slot);
    memcpy(slot->tts_values, enqueue->values, sizeof(enqueue->values));
    memcpy(slot->tts_isnull, enqueue->nulls, sizeof(enqueue->nulls));
    slot->tts_values[TASK_ID - 1] = Int64GetDatum(id);
    slot->tts_values[TASK_PAYLOAD - 1] = payload;
    ExecStoreVirtualTuple(slot);
}

static void tell(const Enqueue *enqueue, int64 first, int64 count)
{
    const text *name = (const text *) DatumGetPointer(enqueue->values[TASK_QUEUE - 1]);
    CloacaQueue queue = cloaca_queue(RelationGetRelid(enqueue->tables.task), VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));

    cloaca_note_tasks(&queue, DatumGetInt16(enqueue->values[TASK_PRIORITY - 1]), (CloacaKey){enqueue->run_at, first}, count,
                      enqueue->now);
}

static void add_row(FunctionCallInfo fcinfo, Tuplestorestate *rows, int64 id)
{
    Datum values[] = {Int64GetDatum(id), BoolGetDatum(true)};
    bool nulls[] = {false, false};

    tuplestore_putvalues(rows, ((ReturnSetInfo *) fcinfo->resultinfo)->expectedDesc, values, nulls);
}
