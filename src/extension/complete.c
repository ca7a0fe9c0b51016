/*
 * complete.c - complete and complete_many on the direct path
 *
 * A task that is held under the lease, of a queue that keeps nothing, is deleted by its id; its execution, if it has one, is
 * locked before and told after. Everything else (history, keys that stay, a lease that is lost, a task that was cancelled) is
 * the SQL path's, which also says what is wrong.
 *
 * Runs in the backend of the caller, with its rights. Locks: cloaca_task ROW EXCLUSIVE, and the rows, in the order of their
 * ids, so that two calls with the same tasks cannot deadlock. Waits for a transaction that has changed a row, and looks again
 * then.
 */
#include "execution.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(cloaca_complete);
PG_FUNCTION_INFO_V1(cloaca_complete_many);

/* A result beyond this may be too large, which the SQL path finds out. */
#define SMALL_RESULT 5000

/* Whether the queue that was asked about last keeps something of its tasks. */
typedef struct Keeper {
    text *queue;
    bool keeps;
} Keeper;

/* What a call finishes. */
typedef struct Finish {
    CloacaTables tables;
    CloacaRows rows;
    Keeper keeper;
    TimestampTz now;
    const CloacaPair *pairs; /* all of the call's */
    int64 *locked;           /* the executions of their tasks, in order, once one of them was needed */
    int locked_count;

    CloacaEnded *ended; /* tasks of executions that were finished */
    int ended_count;
    int limit;
} Finish;

static bool is_small(FunctionCallInfo fcinfo, int number);
static bool begin(Finish *finish, const CloacaPair *pairs, int count);
static void end(Finish *finish);
static bool finish_one(Finish *finish, const CloacaPair *pair, Datum output, bool no_output);
static bool has_locked(const Finish *finish, int64 execution);
static void lock_executions(Finish *finish, int64 first);
static bool may_finish(Finish *finish);
static void note_ended(Finish *finish, int64 task, Datum output, bool no_output);
static bool keeps_nothing(const CloacaTables *tables, CloacaRows *rows, Keeper *keeper);
static CloacaPair *read_pairs(FunctionCallInfo fcinfo, int *count);
static int finish_pairs(FunctionCallInfo fcinfo, Finish *finish, CloacaPair *pairs, int count);
static void answer(FunctionCallInfo fcinfo, CloacaPair *pairs, int count, int done);
static Datum *outcomes_by_sql(FunctionCallInfo fcinfo, const CloacaPair *pairs, int count, int left);
static Datum chosen(ArrayType *array, const CloacaPair *pairs, int count, int left, Oid type, int16 length, bool by_value,
                    char align);

/* complete(task, lease_id, result) */
Datum cloaca_complete(PG_FUNCTION_ARGS)
{
    static CloacaTwin twin = {.sql = "select cloaca.complete_sql($1, $2, $3)"};
    Finish finish;
    bool is_done = false;

    if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1) && is_small(fcinfo, 2)) {
        CloacaPair pair = {.task = PG_GETARG_INT64(0), .lease_id = PG_GETARG_INT64(1)};

        if (begin(&finish, &pair, 1)) {
            is_done = finish_one(&finish, &pair, PG_GETARG_DATUM(2), PG_ARGISNULL(2));
            end(&finish);
        }
    }
    if (is_done)
        cloaca_direct_count++;
    else
        cloaca_sql_path(fcinfo, &twin);
    if (cloaca_bind_leases && !PG_ARGISNULL(1))
        cloaca_note_ended(PG_GETARG_INT64(1));
    PG_RETURN_VOID();
}

/* complete_many(tasks, lease_ids, results) */
Datum cloaca_complete_many(PG_FUNCTION_ARGS)
{
    static CloacaTwin twin = {.sql = "select * from cloaca.complete_many_sql($1, $2, $3)"};
    Finish finish;
    int count;
    CloacaPair *pairs = read_pairs(fcinfo, &count);
    int done;

    if (pairs == NULL || !begin(&finish, pairs, count))
        return cloaca_sql_path(fcinfo, &twin);
    done = finish_pairs(fcinfo, &finish, pairs, count);
    end(&finish);
    answer(fcinfo, pairs, count, done);
    cloaca_direct_count++;
    PG_RETURN_NULL();
}

static bool is_small(FunctionCallInfo fcinfo, int number)
{
    return PG_ARGISNULL(number) || toast_raw_datum_size(PG_GETARG_DATUM(number)) <= SMALL_RESULT;
}

static bool begin(Finish *finish, const CloacaPair *pairs, int count)
{
    *finish = (Finish){.now = cloaca_now(), .pairs = pairs, .limit = count};
    if (!cloaca_open_tables(&finish->tables, ACL_SELECT | ACL_UPDATE | ACL_DELETE))
        return false;
    cloaca_begin_lookup(&finish->rows, &finish->tables);
    return true;
}

static void end(Finish *finish)
{
    cloaca_end_lookup(&finish->rows);
    if (finish->ended_count > 0)
        cloaca_end_tasks(&finish->tables, finish->ended, finish->ended_count, finish->now);
    cloaca_close_tables(&finish->tables);
}

/* Deletes the task when it is this path's to finish. */
static bool finish_one(Finish *finish, const CloacaPair *pair, Datum output, bool no_output)
{
    while (cloaca_lookup_held(&finish->rows, pair->task, pair->lease_id) && may_finish(finish)) {
        bool has_none;
        int64 execution = DatumGetInt64(slot_getattr(finish->rows.slot, TASK_EXECUTION, &has_none));
        TM_Result result;

        if (!has_none && !has_locked(finish, execution)) {
            lock_executions(finish, execution);
            continue;
        }
        result = cloaca_delete_task(&finish->tables, finish->rows.slot);
        if (result == TM_Ok && !has_none)
            note_ended(finish, pair->task, output, no_output);
        if (result == TM_Ok)
            return true;
        if (result != TM_Updated && result != TM_Deleted)
            return false;
        /* It was changed while we waited for the row: by whom shows another snapshot. */
        cloaca_end_lookup(&finish->rows);
        cloaca_begin_lookup(&finish->rows, &finish->tables);
    }
    return false;
}

static bool has_locked(const Finish *finish, int64 execution)
{
    return finish->locked_count > 0 &&
           bsearch(&execution, finish->locked, finish->locked_count, sizeof(int64), cloaca_compare_ids);
}

/* Those of all tasks of the call, in the order of their ids, which is everybody's, and before any of their tasks is touched.
 * What changed while we waited shows another snapshot. */
static void lock_executions(Finish *finish, int64 first)
{
    int64 *found = palloc((finish->limit + 1) * sizeof(int64));
    int count = 1;

    found[0] = first;
    for (int i = 0; i < finish->limit && finish->limit > 1; i++) {
        bool has_none;
        Datum execution;

        if (!cloaca_lookup_held(&finish->rows, finish->pairs[i].task, finish->pairs[i].lease_id))
            continue;
        execution = slot_getattr(finish->rows.slot, TASK_EXECUTION, &has_none);
        if (!has_none)
            found[count++] = DatumGetInt64(execution);
    }
    qsort(found, count, sizeof(int64), cloaca_compare_ids);
    finish->locked = found;
    finish->locked_count = 0;
    cloaca_end_lookup(&finish->rows);
    for (int i = 0; i < count; i++) {
        if (i > 0 && found[i] == found[finish->locked_count - 1])
            continue;
        found[finish->locked_count++] = found[i];
        cloaca_lock_execution(&finish->tables, found[finish->locked_count - 1]);
    }
    cloaca_begin_lookup(&finish->rows, &finish->tables);
}

/* Not when something is kept of it, or its time is over. */
static bool may_finish(Finish *finish)
{
    TupleTableSlot *slot = finish->rows.slot;

    if (!keeps_nothing(&finish->tables, &finish->rows, &finish->keeper))
        return false;
    slot_getsomeattrs(slot, TASK_TIMEOUT);
    return cloaca_task_end(slot->tts_values, slot->tts_isnull, DatumGetTimestampTz(slot->tts_values[TASK_CLAIMED_AT - 1])) >
           finish->now;
}

static void note_ended(Finish *finish, int64 task, Datum output, bool no_output)
{
    TupleTableSlot *slot = finish->rows.slot;
    CloacaEnded *ended;

    if (finish->ended_count == 0)
        finish->ended = palloc(finish->limit * sizeof(CloacaEnded));
    ended = &finish->ended[finish->ended_count++];
    slot_getsomeattrs(slot, TASK_ATTEMPT);
    *ended = (CloacaEnded){.task = task,
                           .attempt = DatumGetInt32(slot->tts_values[TASK_ATTEMPT - 1]),
                           .no_output = no_output,
                           .output = output,
                           .claimed_at = DatumGetTimestampTz(slot->tts_values[TASK_CLAIMED_AT - 1])};
    if (!slot->tts_isnull[TASK_WORKER - 1])
        ended->worker = DatumGetTextPCopy(slot->tts_values[TASK_WORKER - 1]);
}

static bool keeps_nothing(const CloacaTables *tables, CloacaRows *rows, Keeper *keeper)
{
    bool is_null;
    text *queue = DatumGetTextPP(slot_getattr(rows->slot, TASK_QUEUE, &is_null));

    if (keeper->queue == NULL || VARSIZE_ANY_EXHDR(queue) != VARSIZE_ANY_EXHDR(keeper->queue) ||
        memcmp(VARDATA_ANY(queue), VARDATA_ANY(keeper->queue), VARSIZE_ANY_EXHDR(queue)) != 0) {
        CloacaSettings settings;

        keeper->queue = DatumGetTextPCopy(PointerGetDatum(queue));
        cloaca_read_settings(tables, PointerGetDatum(keeper->queue), &settings);
        keeper->keeps = settings.keeps;
    }
    return !keeper->keeps;
}

/* The pairs of the arguments; NULL when something about them is not for this path. */
static CloacaPair *read_pairs(FunctionCallInfo fcinfo, int *count)
{
    CloacaPair *pairs = is_small(fcinfo, 2) ? cloaca_read_pairs(fcinfo, count) : NULL;

    if (pairs && !PG_ARGISNULL(2)) {
        ArrayType *results = PG_GETARG_ARRAYTYPE_P(2);

        if (ARR_NDIM(results) > 1 || (*count > 0 && (ARR_NDIM(results) == 0 || ARR_DIMS(results)[0] != *count)))
            return NULL;
    }
    return pairs;
}

/* Finishes those that it can, in the order of their ids, and says how many. The pairs are in their own order again after it. */
static int finish_pairs(FunctionCallInfo fcinfo, Finish *finish, CloacaPair *pairs, int count)
{
    int done = 0;
    Datum *results = NULL;
    bool *no_results = NULL;

    if (!PG_ARGISNULL(2) && count > 0)
        deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), JSONBOID, -1, false, TYPALIGN_INT, &results, &no_results, &count);
    cloaca_sort_pairs(pairs, count);
    for (int i = 0; i < count; i++) {
        bool is_repeated = i > 0 && cloaca_compare_pairs(&pairs[i - 1], &pairs[i]) == 0;
        int place = pairs[i].place;

        pairs[i].is_done = is_repeated ? pairs[i - 1].is_done
                                       : finish_one(finish, &pairs[i], results ? results[place] : (Datum) 0,
                                                    results == NULL || no_results[place]);
        done += pairs[i].is_done;
        if (cloaca_bind_leases)
            cloaca_note_ended(pairs[i].lease_id);
    }
    cloaca_restore_pairs(pairs, count);
    return done;
}

/* A row for each pair, in the order of the arguments. */
static void answer(FunctionCallInfo fcinfo, CloacaPair *pairs, int count, int done)
{
    Tuplestorestate *store = cloaca_begin_rows(fcinfo);
    TupleDesc type = ((ReturnSetInfo *) fcinfo->resultinfo)->expectedDesc;
    Datum *others = done < count ? outcomes_by_sql(fcinfo, pairs, count, count - done) : NULL;
    Datum completed = CStringGetTextDatum("completed");
    int other = 0;

    for (int i = 0; i < count; i++) {
        Datum values[] = {Int64GetDatum(pairs[i].task), pairs[i].is_done ? completed : others[other++]};
        bool nulls[] = {false, false};

        tuplestore_putvalues(store, type, values, nulls);
    }
}

/* The outcomes of those pairs that are not done, which the SQL path tries. */
static Datum *outcomes_by_sql(FunctionCallInfo fcinfo, const CloacaPair *pairs, int count, int left)
{
    static SPIPlanPtr plan;
    Oid types[] = {INT8ARRAYOID, INT8ARRAYOID, get_array_type(JSONBOID)};
    MemoryContext caller = CurrentMemoryContext;
    Datum *outcomes = palloc(left * sizeof(Datum));
    Datum values[3];
    char nulls[] = {' ', ' ', PG_ARGISNULL(2) ? 'n' : ' '};

    values[0] = chosen(PG_GETARG_ARRAYTYPE_P(0), pairs, count, left, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
    values[1] = chosen(PG_GETARG_ARRAYTYPE_P(1), pairs, count, left, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
    values[2] =
        PG_ARGISNULL(2) ? (Datum) 0 : chosen(PG_GETARG_ARRAYTYPE_P(2), pairs, count, left, JSONBOID, -1, false, TYPALIGN_INT);
    SPI_connect();
    cloaca_prepare(&plan, "select outcome from cloaca.complete_many_sql($1, $2, $3)", lengthof(types), types);
    if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_SELECT || SPI_processed != (uint64) left)
        elog(ERROR, "unexpected answer of complete_many_sql");
    for (int i = 0; i < left; i++) {
        MemoryContext own = MemoryContextSwitchTo(caller);

        outcomes[i] = CStringGetTextDatum(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
        MemoryContextSwitchTo(own);
    }
    SPI_finish();
    return outcomes;
}

/* The elements of an array at the places of those pairs that are not done. */
static Datum chosen(ArrayType *array, const CloacaPair *pairs, int count, int left, Oid type, int16 length, bool by_value,
                    char align)
{
    Datum *elements;
    bool *nulls;
    int size;
    int kept = 0;
    int dimensions[] = {left};
    int lower_bounds[] = {1};

    deconstruct_array(array, type, length, by_value, align, &elements, &nulls, &size);
    for (int i = 0; i < count; i++) {
        if (!pairs[i].is_done) {
            elements[kept] = elements[i];
            nulls[kept++] = nulls[i];
        }
    }
    return PointerGetDatum(construct_md_array(elements, nulls, 1, dimensions, lower_bounds, type, length, by_value, align));
}
