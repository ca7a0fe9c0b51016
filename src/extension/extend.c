/*
 * extend.c - extend and extend_many on the direct path
 *
 * A task that is held under the lease gets a new end of it, by a HOT update of its row. Everything else is the SQL path's.
 *
 * Runs in the backend of the caller, with its rights. Locks: cloaca_task ROW EXCLUSIVE, and the rows, in the order of their
 * ids.
 */
#include "extension.h"

#include "executor/executor.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "worker.h"

PG_FUNCTION_INFO_V1(cloaca_extend);
PG_FUNCTION_INFO_V1(cloaca_extend_many);

/* By how much: the argument, or for each task what its queue says. */
typedef struct Extension {
    CloacaTables tables;
    CloacaRows rows;
    TimestampTz now;
    bool has_lease;
    int64 lease;
} Extension;

static bool begin(FunctionCallInfo fcinfo, int number, Extension *extension);
static void end(Extension *extension);
static bool prolong(Extension *extension, int64 task, int64 lease_id, TimestampTz *until);
static void note_end(const Extension *extension, const Datum *values, TimestampTz until);
static TimestampTz new_end(const Extension *extension);
static void answer(FunctionCallInfo fcinfo, const CloacaPair *leases, int count);

/* extend(task, lease_id, lease) */
Datum cloaca_extend(PG_FUNCTION_ARGS)
{
    static CloacaTwin twin = {.sql = "select * from cloaca.extend_sql($1, $2, $3)"};
    Extension extension;
    TimestampTz until = 0;
    bool is_done = false;

    if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1) && begin(fcinfo, 2, &extension)) {
        is_done = prolong(&extension, PG_GETARG_INT64(0), PG_GETARG_INT64(1), &until);
        end(&extension);
    }
    if (is_done) {
        Tuplestorestate *store = cloaca_begin_rows(fcinfo);
        Datum values[] = {TimestampTzGetDatum(until)};
        bool nulls[] = {false};

        tuplestore_putvalues(store, ((ReturnSetInfo *) fcinfo->resultinfo)->expectedDesc, values, nulls);
        cloaca_direct_count++;
        PG_RETURN_NULL();
    }
    return cloaca_sql_path(fcinfo, &twin);
}

/* extend_many(tasks, lease_ids, lease): all of them by this path, or all by the other. What was prolonged here is prolonged
 * again there, which changes nothing. */
Datum cloaca_extend_many(PG_FUNCTION_ARGS)
{
    static CloacaTwin twin = {.sql = "select * from cloaca.extend_many_sql($1, $2, $3)"};
    Extension extension;
    int count;
    CloacaPair *leases = cloaca_read_pairs(fcinfo, &count);
    bool is_done = leases != NULL && begin(fcinfo, 2, &extension);

    if (is_done) {
        cloaca_sort_pairs(leases, count);
        for (int i = 0; is_done && i < count; i++)
            is_done = prolong(&extension, leases[i].task, leases[i].lease_id, &leases[i].until);
        end(&extension);
    }
    if (!is_done)
        return cloaca_sql_path(fcinfo, &twin);
    cloaca_restore_pairs(leases, count);
    answer(fcinfo, leases, count);
    cloaca_direct_count++;
    PG_RETURN_NULL();
}

static bool begin(FunctionCallInfo fcinfo, int number, Extension *extension)
{
    extension->has_lease = !PG_ARGISNULL(number);
    extension->now = cloaca_now();
    if ((extension->has_lease && !cloaca_is_length(PG_GETARG_INTERVAL_P(number), true, &extension->lease)) ||
        !cloaca_open_tables(&extension->tables, ACL_SELECT | ACL_UPDATE))
        return false;
    cloaca_begin_lookup(&extension->rows, &extension->tables);
    return true;
}

static void end(Extension *extension)
{
    cloaca_end_lookup(&extension->rows);
    cloaca_close_tables(&extension->tables);
}

static bool prolong(Extension *extension, int64 task, int64 lease_id, TimestampTz *until)
{
    bool was_pruned = false;

    while (cloaca_lookup_held(&extension->rows, task, lease_id)) {
        TupleTableSlot *slot = extension->rows.slot;
        ItemPointerData root;
        TM_Result result;
        TimestampTz end_of_task;
        Datum values[TASK_COLUMNS];
        bool nulls[TASK_COLUMNS];

        if (!was_pruned && !cloaca_has_room(extension->rows.buffer, CLOACA_ROOM)) {
            /* Heartbeats would fill the page with old versions. */
            was_pruned = true;
            ExecClearTuple(slot);
            cloaca_prune(&extension->tables, extension->rows.buffer);
            continue;
        }
        slot_getallattrs(slot);
        memcpy(values, slot->tts_values, sizeof(values));
        memcpy(nulls, slot->tts_isnull, sizeof(nulls));
        end_of_task = cloaca_task_end(values, nulls, DatumGetTimestampTz(values[TASK_CLAIMED_AT - 1]));
        if (end_of_task <= extension->now)
            return false;
        *until = Min(new_end(extension), end_of_task);
        values[TASK_LEASE_UNTIL - 1] = TimestampTzGetDatum(*until);
        result = cloaca_update_task(&extension->tables, slot, values, nulls, true, &root);
        if (result == TM_Ok) {
            note_end(extension, values, *until);
            cloaca_prolong_bound_lease(lease_id, *until);
            return true;
        }
        if (result != TM_Updated && result != TM_Deleted)
            return false;
        cloaca_end_lookup(&extension->rows);
        cloaca_begin_lookup(&extension->rows, &extension->tables);
    }
    return false;
}

/* The new end may be sooner than the old one. */
static void note_end(const Extension *extension, const Datum *values, TimestampTz until)
{
    const text *name = DatumGetTextPP(values[TASK_QUEUE - 1]);
    CloacaQueue queue = cloaca_queue(RelationGetRelid(extension->tables.task), VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));

    cloaca_cursor_lease(&queue, DatumGetInt16(values[TASK_PRIORITY - 1]), until);
    cloaca_note_due(queue.database, queue.table, until, true);
}

static TimestampTz new_end(const Extension *extension)
{
    CloacaSettings settings;
    bool is_null;

    if (extension->has_lease)
        return extension->now + extension->lease;
    cloaca_read_settings(&extension->tables, slot_getattr(extension->rows.slot, TASK_QUEUE, &is_null), &settings);
    return DatumGetTimestampTz(
        DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(extension->now), IntervalPGetDatum(&settings.lease)));
}

static void answer(FunctionCallInfo fcinfo, const CloacaPair *leases, int count)
{
    Tuplestorestate *store = cloaca_begin_rows(fcinfo);
    TupleDesc type = ((ReturnSetInfo *) fcinfo->resultinfo)->expectedDesc;
    Datum extended = CStringGetTextDatum("extended");

    for (int i = 0; i < count; i++) {
        Datum values[] = {Int64GetDatum(leases[i].task), extended, TimestampTzGetDatum(leases[i].until)};
        bool nulls[] = {false, false, false};

        tuplestore_putvalues(store, type, values, nulls);
    }
}
