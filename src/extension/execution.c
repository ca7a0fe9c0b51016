/*
 * execution.c - what executions have to do with the claim and the end of their tasks
 *
 * A claim writes down which tasks began, and has an execution that is pending run. Who ends a task locks its execution before,
 * so that nobody pauses, cancels or ends it meanwhile; those who complete tasks do not stand in each other's way. The task's
 * state, output and worker then go to its node, and what depends on it goes on when the transaction commits (workflow.c).
 *
 * Runs in the backend of the caller, with its rights, in claims and completions of the direct path; what the tables of
 * executions have that this library does not know is left to the functions of the same names in SQL. Locks: ROW EXCLUSIVE on
 * the tables; executions KEY SHARE, or NO KEY UPDATE where their state changes; nodes as an update does.
 */
#include "execution.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

static int compare_started(const void *one, const void *other);
static void begin_execution(const CloacaExecutions *executions, int64 execution, TimestampTz at);
static bool is_pending(TupleTableSlot *row);
static void tell_started_by_sql(const CloacaTables *tables, const CloacaStarted *started, int count, text *worker,
                                TimestampTz at);
static void lock_execution_by_sql(const CloacaTables *tables, int64 execution);
static bool end_task(const CloacaExecutions *executions, const CloacaEnded *ended, TimestampTz at);
static Datum changes_of(const CloacaExecutions *executions, const CloacaEnded *ended);
static bool complete_node(const CloacaExecutions *executions, const CloacaEnded *ended, Datum changes, TimestampTz at);
static Datum node_name(const CloacaExecutions *executions);
static void end_tasks_by_sql(const CloacaTables *tables, const CloacaEnded *ended, int count, TimestampTz at);
static Datum array_of(Datum *values, bool *nulls, int count, Oid type);

void cloaca_tell_started(const CloacaTables *tables, CloacaStarted *started, int count, text *worker, TimestampTz at)
{
    CloacaExecutions executions;

    if (!cloaca_open_executions(tables, &executions)) {
        tell_started_by_sql(tables, started, count, worker, at);
        return;
    }
    qsort(started, count, sizeof(CloacaStarted), compare_started);
    cloaca_look();
    for (int i = 0; i < count; i++) {
        CloacaEvent running = {started[i].execution, started[i].task, at, started[i].attempt, "running", worker};

        CHECK_FOR_INTERRUPTS();
        if (i == 0 || started[i].execution != started[i - 1].execution)
            begin_execution(&executions, started[i].execution, at);
        cloaca_add_event(&executions, &running);
    }
    PopActiveSnapshot();
    cloaca_close_executions(&executions);
}

void cloaca_lock_execution(const CloacaTables *tables, int64 execution)
{
    CloacaExecutions executions;
    TupleTableSlot *row;
    TM_FailureData failure;

    if (!cloaca_open_executions(tables, &executions)) {
        lock_execution_by_sql(tables, execution);
        return;
    }
    row = executions.execution_row;
    cloaca_look();
    if (cloaca_find_by_id(executions.execution, executions.execution_id, execution, row)) {
        TM_Result result = table_tuple_lock(
            executions.execution, &row->tts_tid, GetActiveSnapshot(), row, GetCurrentCommandId(true), LockTupleKeyShare,
            LockWaitBlock, TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS | TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);

        if (result != TM_Ok && result != TM_SelfModified && result != TM_Deleted)
            elog(ERROR, "could not lock an execution: %d", result);
    }
    PopActiveSnapshot();
    cloaca_close_executions(&executions);
}

void cloaca_end_tasks(const CloacaTables *tables, const CloacaEnded *ended, int count, TimestampTz at)
{
    CloacaExecutions executions;
    MemoryContext caller = CurrentMemoryContext;
    MemoryContext memory;
    Datum *tasks;
    int done = 0;

    if (!cloaca_open_executions(tables, &executions)) {
        end_tasks_by_sql(tables, ended, count, at);
        return;
    }
    tasks = palloc(count * sizeof(Datum));
    memory = AllocSetContextCreate(caller, "cloaca task", ALLOCSET_DEFAULT_SIZES);
    cloaca_look();
    for (int i = 0; i < count; i++) {
        CHECK_FOR_INTERRUPTS();
        MemoryContextSwitchTo(memory);
        if (end_task(&executions, &ended[i], at))
            tasks[done++] = Int64GetDatum(ended[i].task);
        MemoryContextSwitchTo(caller);
        MemoryContextReset(memory);
    }
    PopActiveSnapshot();
    MemoryContextDelete(memory);
    cloaca_close_executions(&executions);
    if (done > 0)
        cloaca_note_ended_tasks(NameStr(tables->schema), tasks, done);
    pfree(tasks);
}

void cloaca_add_event(const CloacaExecutions *executions, const CloacaEvent *event)
{
    Datum values[EVENT_COLUMNS] = {
        [EVENT_ID - 1] = Int64GetDatum(nextval_internal(executions->event_sequence, false)),
        [EVENT_EXECUTION - 1] = Int64GetDatum(event->execution),
        [EVENT_TASK - 1] = Int64GetDatum(event->task),
        [EVENT_AT - 1] = TimestampTzGetDatum(event->at),
        [EVENT_ATTEMPT - 1] = Int32GetDatum(event->attempt),
        [EVENT_STATE - 1] = CStringGetTextDatum(event->state),
        [EVENT_WORKER - 1] = PointerGetDatum(event->worker),
    };
    bool nulls[EVENT_COLUMNS] = {
        [EVENT_TASK - 1] = event->task == 0,
        [EVENT_ATTEMPT - 1] = event->attempt == 0,
        [EVENT_WORKER - 1] = event->worker == NULL,
        [EVENT_NAME - 1] = true,
        [EVENT_DETAIL - 1] = true,
    };

    cloaca_insert_row(executions->event, values, nulls);
}

static int compare_started(const void *one, const void *other)
{
    const CloacaStarted *a = one;
    const CloacaStarted *b = other;

    if (a->execution != b->execution)
        return a->execution < b->execution ? -1 : 1;
    return a->task < b->task ? -1 : a->task > b->task;
}

/* The first claim of an execution has it run; of several at once one does so, and none waits. */
static void begin_execution(const CloacaExecutions *executions, int64 execution, TimestampTz at)
{
    TupleTableSlot *row = executions->execution_row;
    CloacaChange begun[] = {{EXECUTION_STATE, CStringGetTextDatum("running"), false},
                            {EXECUTION_STARTED_AT, TimestampTzGetDatum(at), false}};
    CloacaEvent running = {.execution = execution, .at = at, .state = "running"};
    TM_FailureData failure;

    if (!cloaca_find_by_id(executions->execution, executions->execution_id, execution, row) || !is_pending(row) ||
        table_tuple_lock(executions->execution, &row->tts_tid, GetActiveSnapshot(), row, GetCurrentCommandId(true),
                         LockTupleNoKeyExclusive, LockWaitSkip, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure) != TM_Ok ||
        !is_pending(row))
        return;
    if (!cloaca_change_row(executions->execution, row, begun, lengthof(begun)))
        elog(ERROR, "a locked execution was changed");
    cloaca_add_event(executions, &running);
}

static bool is_pending(TupleTableSlot *row)
{
    bool is_null;

    return cloaca_is_text(slot_getattr(row, EXECUTION_STATE, &is_null), "pending");
}

static void tell_started_by_sql(const CloacaTables *tables, const CloacaStarted *started, int count, text *worker,
                                TimestampTz at)
{
    static SPIPlanPtr plan;
    Oid types[] = {TEXTOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, TEXTOID, TIMESTAMPTZOID};
    Datum *executions = palloc(count * sizeof(Datum));
    Datum *tasks = palloc(count * sizeof(Datum));
    Datum *attempts = palloc(count * sizeof(Datum));
    char nulls[] = {' ', ' ', ' ', ' ', worker ? ' ' : 'n', ' '};

    for (int i = 0; i < count; i++) {
        executions[i] = Int64GetDatum(started[i].execution);
        tasks[i] = Int64GetDatum(started[i].task);
        attempts[i] = Int32GetDatum(started[i].attempt);
    }
    cloaca_call(&plan, "select cloaca.tell_started($1, $2, $3, $4, $5, $6)", lengthof(types), types,
                (Datum[]){CStringGetTextDatum(NameStr(tables->schema)), array_of(executions, NULL, count, INT8OID),
                          array_of(tasks, NULL, count, INT8OID), array_of(attempts, NULL, count, INT4OID),
                          PointerGetDatum(worker), TimestampTzGetDatum(at)},
                nulls);
}

static void lock_execution_by_sql(const CloacaTables *tables, int64 execution)
{
    static SPIPlanPtr plan;
    Oid types[] = {TEXTOID, INT8OID};

    cloaca_call(&plan, "select cloaca.lock_execution($1, $2)", lengthof(types), types,
                (Datum[]){CStringGetTextDatum(NameStr(tables->schema)), Int64GetDatum(execution)}, NULL);
}

/* A node that a cancelled execution has ended already is left as it is. */
static bool end_task(const CloacaExecutions *executions, const CloacaEnded *ended, TimestampTz at)
{
    TupleTableSlot *row = executions->node_row;

    while (cloaca_find_by_id(executions->node, executions->node_task, ended->task, row)) {
        Datum changes;
        CloacaEvent completed = {0, ended->task, at, ended->attempt, "completed", ended->worker};

        slot_getallattrs(row);
        if (!cloaca_is_text(row->tts_values[NODE_STATE - 1], "ready"))
            return false;
        completed.execution = DatumGetInt64(row->tts_values[NODE_EXECUTION - 1]);
        changes = changes_of(executions, ended);
        if (complete_node(executions, ended, changes, at)) {
            cloaca_add_event(executions, &completed);
            return true;
        }
        PopActiveSnapshot();
        cloaca_look();
    }
    return false;
}

/* What the node in hand added to the context before, and what its output adds now: anything but an object under its name. */
static Datum changes_of(const CloacaExecutions *executions, const CloacaEnded *ended)
{
    const TupleTableSlot *row = executions->node_row;
    Datum changes[] = {row->tts_isnull[NODE_CHANGES - 1] ? (Datum) 0 : row->tts_values[NODE_CHANGES - 1], (Datum) 0};

    if (!ended->no_output) {
        bool is_object = JB_ROOT_IS_OBJECT(DatumGetJsonbP(ended->output));

        changes[1] = is_object ? ended->output : cloaca_member(node_name(executions), ended->output);
    }
    return cloaca_merge_documents(changes, lengthof(changes));
}

static bool complete_node(const CloacaExecutions *executions, const CloacaEnded *ended, Datum changes, TimestampTz at)
{
    CloacaChange all[] = {{NODE_STATE, CStringGetTextDatum("completed"), false},
                          {NODE_ATTEMPT, Int32GetDatum(ended->attempt), false},
                          {NODE_STARTED_AT, TimestampTzGetDatum(ended->claimed_at), false},
                          {NODE_FINISHED_AT, TimestampTzGetDatum(at), false},
                          {NODE_WORKER, PointerGetDatum(ended->worker), ended->worker == NULL},
                          {NODE_OUTPUT, ended->output, ended->no_output},
                          {NODE_CHANGES, changes, changes == (Datum) 0},
                          {NODE_ERROR, (Datum) 0, true},
                          {NODE_AWAITS, (Datum) 0, true},
                          {NODE_HELD_RUN_AT, (Datum) 0, true}};

    return cloaca_change_row(executions->node, executions->node_row, all, lengthof(all));
}

/* The name of the node in hand. */
static Datum node_name(const CloacaExecutions *executions)
{
    int64 execution = DatumGetInt64(executions->node_row->tts_values[NODE_EXECUTION - 1]);
    int32 n = DatumGetInt32(executions->node_row->tts_values[NODE_N - 1]);
    bool is_null;
    int64 workflow;

    if (!cloaca_find_by_id(executions->execution, executions->execution_id, execution, executions->execution_row))
        elog(ERROR, "a task has no execution");
    workflow = DatumGetInt64(slot_getattr(executions->execution_row, EXECUTION_WORKFLOW, &is_null));
    if (!cloaca_find_by_place(executions->plan, executions->plan_place, workflow, n, executions->plan_row))
        elog(ERROR, "a task has no place in its workflow");
    return slot_getattr(executions->plan_row, PLAN_NAME, &is_null);
}

static void end_tasks_by_sql(const CloacaTables *tables, const CloacaEnded *ended, int count, TimestampTz at)
{
    static SPIPlanPtr plan;
    Oid types[] = {TEXTOID,       INT8ARRAYOID, get_array_type(JSONBOID),
                   INT4ARRAYOID,  TEXTARRAYOID, get_array_type(TIMESTAMPTZOID),
                   TIMESTAMPTZOID};
    Datum *tasks = palloc(count * sizeof(Datum));
    Datum *outputs = palloc(count * sizeof(Datum));
    bool *no_outputs = palloc(count * sizeof(bool));
    Datum *attempts = palloc(count * sizeof(Datum));
    Datum *workers = palloc(count * sizeof(Datum));
    bool *no_workers = palloc(count * sizeof(bool));
    Datum *claims = palloc(count * sizeof(Datum));

    for (int i = 0; i < count; i++) {
        tasks[i] = Int64GetDatum(ended[i].task);
        outputs[i] = ended[i].output;
        no_outputs[i] = ended[i].no_output;
        attempts[i] = Int32GetDatum(ended[i].attempt);
        workers[i] = PointerGetDatum(ended[i].worker);
        no_workers[i] = ended[i].worker == NULL;
        claims[i] = TimestampTzGetDatum(ended[i].claimed_at);
    }
    cloaca_call(&plan,
                "select cloaca.end_tasks($1, array(select row(e.task, 'completed', e.output, null, e.attempt, e.worker, "
                "e.claimed_at, null)::cloaca.ended_task from unnest($2, $3, $4, $5, $6) as e (task, output, attempt, worker, "
                "claimed_at)), $7)",
                lengthof(types), types,
                (Datum[]){CStringGetTextDatum(NameStr(tables->schema)), array_of(tasks, NULL, count, INT8OID),
                          array_of(outputs, no_outputs, count, JSONBOID), array_of(attempts, NULL, count, INT4OID),
                          array_of(workers, no_workers, count, TEXTOID), array_of(claims, NULL, count, TIMESTAMPTZOID),
                          TimestampTzGetDatum(at)},
                NULL);
}

static Datum array_of(Datum *values, bool *nulls, int count, Oid type)
{
    int dimensions[] = {count};
    int lower_bounds[] = {1};
    int16 length;
    bool by_value;
    char align;

    get_typlenbyvalalign(type, &length, &by_value, &align);
    return PointerGetDatum(construct_md_array(values, nulls, 1, dimensions, lower_bounds, type, length, by_value, align));
}
