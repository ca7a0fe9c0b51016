/*
 * advance.c - executions go on from tasks that have ended, on the direct path
 *
 * What depends on a task that has ended is counted down; a node that has nothing left to wait for gets its context and becomes
 * a live task, or is skipped, and then what depends on it is counted down, too. Executions whose last task has ended end. Costs
 * what the dependents are, however many tasks there are besides. cloaca.advance does the same in SQL; a node with a trigger
 * rule and the end of an execution, which are few, are left to SQL.
 *
 * Runs just before a commit, with the rights of whoever ended the tasks. Dependents are changed in the order of their ranks and
 * ids, then executions, by everybody: so nobody waits in a circle. What depends on a skipped node has a greater rank than that;
 * so those of the lowest rank come first, and the others wait for their turn. The executions are locked by whoever ended the
 * tasks, so that none is paused or cancelled meanwhile. Locks besides: ROW EXCLUSIVE on the tables, cloaca_task among them.
 */
#include "execution.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* A node that waits for some of the tasks that have ended. */
typedef struct Dependent {
    int32 rank;
    int64 task;
    int32 ended;
} Dependent;

/* What a node depends on. */
typedef struct Dependencies {
    bool are_completed; /* all of them */
    Datum changes;      /* what they added to the context, 0 for nothing */
    int count;
    Datum *numbers;
    Datum *states;
} Dependencies;

typedef struct Advance {
    CloacaTables tables;
    CloacaExecutions executions;
    TupleTableSlot *dependency_row;
    TupleTableSlot *other_plan_row;
    const char *tenant;
    TimestampTz at;
    MemoryContext memory; /* of all of it */
    MemoryContext node_memory;

    Dependent *waiting; /* for their turn */
    int waiting_count;
    int waiting_limit;
    Datum *ended; /* tasks whose dependents are to be found */
    int ended_count;
    int ended_limit;
    int64 *finals; /* the execution of each final task that has ended */
    int final_count;
    int final_limit;
} Advance;

static bool begin(Advance *advance);
static void end(Advance *advance);
static void find_dependents(Advance *advance, int64 task);
static bool find_origin(const CloacaExecutions *executions);
static bool find_execution(const CloacaExecutions *executions, int64 execution);
static bool find_plan(const CloacaExecutions *executions, int32 n);
static void add_waiting(Advance *advance, int64 execution, int32 n);
static void make_room(Advance *advance);
static void take_turn(Advance *advance);
static void merge_waiting(Advance *advance);
static int compare_dependents(const void *one, const void *other);
static void count_down(Advance *advance, const Dependent *dependent);
static bool change_remaining(const CloacaExecutions *executions, int32 remaining);
static bool activate(Advance *advance, int64 task);
static void add_ended(Advance *advance, int64 task);
static void read_dependencies(Advance *advance, Dependencies *dependencies);
static bool fires(Advance *advance, const Dependencies *dependencies, Datum context);
static Datum states_of(Advance *advance, const Dependencies *dependencies);
static bool change_state(const Advance *advance, bool is_ready, Datum changes);
static bool is_paused(const Advance *advance);
static void insert_task(Advance *advance, int64 task, Datum context);
static void tell_activated(const Advance *advance, int64 task, bool is_ready);
static void count_executions(Advance *advance);
static bool has_ended(Advance *advance, int64 execution, int32 tasks);
static void end_executions(const Advance *advance, Datum *executions, int count);
static void *room(Advance *advance, void *items, int count, int *limit, Size size);

bool cloaca_advance(const char *tenant, const Datum *tasks, int count, TimestampTz at)
{
    Advance advance = {.tenant = tenant, .at = at};

    if (!begin(&advance))
        return false;
    for (int i = 0; i < count; i++) {
        if (i == 0 || tasks[i] != tasks[i - 1])
            add_ended(&advance, DatumGetInt64(tasks[i]));
    }
    do {
        int ended = advance.ended_count;

        cloaca_look();
        for (int i = 0; i < ended; i++)
            find_dependents(&advance, DatumGetInt64(advance.ended[i]));
        advance.ended_count = 0;
        if (advance.waiting_count > 0)
            take_turn(&advance);
        PopActiveSnapshot();
    } while (advance.waiting_count > 0 || advance.ended_count > 0);
    if (advance.final_count > 0)
        count_executions(&advance);
    end(&advance);
    return true;
}

static bool begin(Advance *advance)
{
    if (!cloaca_open_remembered(advance->tenant, &advance->tables, ACL_SELECT | ACL_INSERT))
        return false;
    advance->memory = AllocSetContextCreate(CurrentMemoryContext, "cloaca advance", ALLOCSET_DEFAULT_SIZES);
    advance->node_memory = AllocSetContextCreate(advance->memory, "cloaca node", ALLOCSET_DEFAULT_SIZES);
    if (!cloaca_open_executions(&advance->tables, &advance->executions)) {
        cloaca_close_tables(&advance->tables);
        MemoryContextDelete(advance->memory);
        return false;
    }
    advance->dependency_row = table_slot_create(advance->executions.node, NULL);
    advance->other_plan_row = table_slot_create(advance->executions.plan, NULL);
    return true;
}

static void end(Advance *advance)
{
    ExecDropSingleTupleTableSlot(advance->dependency_row);
    ExecDropSingleTupleTableSlot(advance->other_plan_row);
    cloaca_close_executions(&advance->executions);
    cloaca_close_tables(&advance->tables);
    MemoryContextDelete(advance->memory);
}

/* Adds what waits for this task, or the execution, when it was a final one. Nothing when its execution was removed. */
static void find_dependents(Advance *advance, int64 task)
{
    CloacaExecutions *executions = &advance->executions;
    MemoryContext caller = MemoryContextSwitchTo(advance->node_memory);

    if (cloaca_find_by_id(executions->node, executions->node_task, task, executions->node_row) && find_origin(executions)) {
        int64 execution = DatumGetInt64(executions->execution_row->tts_values[EXECUTION_ID - 1]);
        Datum dependents = executions->plan_row->tts_values[PLAN_DEPENDENTS - 1];
        Datum *numbers;
        int count;

        deconstruct_array(DatumGetArrayTypePCopy(dependents), INT4OID, sizeof(int32), true, TYPALIGN_INT, &numbers, NULL,
                          &count);
        for (int i = 0; i < count; i++)
            add_waiting(advance, execution, DatumGetInt32(numbers[i]));
        if (count == 0) {
            advance->finals = room(advance, advance->finals, advance->final_count, &advance->final_limit, sizeof(int64));
            advance->finals[advance->final_count++] = execution;
        }
    }
    MemoryContextSwitchTo(caller);
    MemoryContextReset(advance->node_memory);
}

/* The execution and the plan of the node in hand, into their rows. */
static bool find_origin(const CloacaExecutions *executions)
{
    slot_getallattrs(executions->node_row);
    return find_execution(executions, DatumGetInt64(executions->node_row->tts_values[NODE_EXECUTION - 1])) &&
           find_plan(executions, DatumGetInt32(executions->node_row->tts_values[NODE_N - 1]));
}

/* Into execution_row. */
static bool find_execution(const CloacaExecutions *executions, int64 execution)
{
    if (!cloaca_find_by_id(executions->execution, executions->execution_id, execution, executions->execution_row))
        return false;
    slot_getallattrs(executions->execution_row);
    return true;
}

/* Into plan_row, of the execution in hand. */
static bool find_plan(const CloacaExecutions *executions, int32 n)
{
    int64 workflow = DatumGetInt64(executions->execution_row->tts_values[EXECUTION_WORKFLOW - 1]);

    if (!cloaca_find_by_place(executions->plan, executions->plan_place, workflow, n, executions->plan_row))
        return false;
    slot_getallattrs(executions->plan_row);
    return true;
}

static void add_waiting(Advance *advance, int64 execution, int32 n)
{
    CloacaExecutions *executions = &advance->executions;
    bool is_null;

    CHECK_FOR_INTERRUPTS();
    if (!cloaca_find_by_place(executions->node, executions->node_place, execution, n, executions->node_row) ||
        !find_plan(executions, n))
        return;
    if (advance->waiting_count == advance->waiting_limit)
        make_room(advance);
    advance->waiting[advance->waiting_count++] =
        (Dependent){DatumGetInt32(executions->plan_row->tts_values[PLAN_RANK - 1]),
                    DatumGetInt64(slot_getattr(executions->node_row, NODE_TASK, &is_null)), 1};
}

/* Many tasks may have the same dependents; so there is more room only when half of it is needed for different ones. */
static void make_room(Advance *advance)
{
    if (advance->waiting_count > 0)
        merge_waiting(advance);
    if (advance->waiting_count >= advance->waiting_limit / 2)
        advance->waiting = room(advance, advance->waiting, advance->waiting_limit, &advance->waiting_limit, sizeof(Dependent));
}

/* Counts those of the lowest rank down. */
static void take_turn(Advance *advance)
{
    Dependent *waiting = advance->waiting;
    int next = 0;

    merge_waiting(advance);
    while (next < advance->waiting_count && waiting[next].rank == waiting[0].rank)
        count_down(advance, &waiting[next++]);
    advance->waiting_count -= next;
    memmove(waiting, waiting + next, advance->waiting_count * sizeof(Dependent));
}

/* In their order, each once. */
static void merge_waiting(Advance *advance)
{
    Dependent *waiting = advance->waiting;
    int kept = 0;

    qsort(waiting, advance->waiting_count, sizeof(Dependent), compare_dependents);
    for (int i = 1; i < advance->waiting_count; i++) {
        if (waiting[i].task == waiting[kept].task)
            waiting[kept].ended += waiting[i].ended;
        else
            waiting[++kept] = waiting[i];
    }
    advance->waiting_count = kept + 1;
}

static int compare_dependents(const void *one, const void *other)
{
    const Dependent *a = one;
    const Dependent *b = other;

    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    return a->task < b->task ? -1 : a->task > b->task;
}

/* When nothing else is left to wait for, nobody but who cancels the execution changes the node. */
static void count_down(Advance *advance, const Dependent *dependent)
{
    CloacaExecutions *executions = &advance->executions;
    const TupleTableSlot *row = executions->node_row;
    MemoryContext caller = MemoryContextSwitchTo(advance->node_memory);

    CHECK_FOR_INTERRUPTS();
    while (cloaca_find_by_id(executions->node, executions->node_task, dependent->task, executions->node_row)) {
        int32 remaining;

        slot_getallattrs(executions->node_row);
        remaining = DatumGetInt32(row->tts_values[NODE_REMAINING - 1]) - dependent->ended;
        if (!cloaca_is_text(row->tts_values[NODE_STATE - 1], "waiting") ||
            (remaining == 0 ? activate(advance, dependent->task) : change_remaining(executions, remaining)))
            break;
        PopActiveSnapshot();
        cloaca_look();
    }
    MemoryContextSwitchTo(caller);
    MemoryContextReset(advance->node_memory);
}

/* Of the node in hand; false when somebody changed it, as in all that follows. */
static bool change_remaining(const CloacaExecutions *executions, int32 remaining)
{
    CloacaChange change = {NODE_REMAINING, Int32GetDatum(remaining), false};

    return cloaca_change_row(executions->node, executions->node_row, &change, 1);
}

/* The node in hand has nothing left to wait for: by its trigger rule it becomes ready or is skipped. */
static bool activate(Advance *advance, int64 task)
{
    CloacaExecutions *executions = &advance->executions;
    const TupleTableSlot *plan = executions->plan_row;
    Dependencies dependencies;
    Datum context;
    bool is_ready;

    if (!find_origin(executions))
        return true;
    read_dependencies(advance, &dependencies);
    context = cloaca_merge_documents((Datum[]){executions->execution_row->tts_values[EXECUTION_INPUT - 1], dependencies.changes,
                                               plan->tts_isnull[PLAN_INPUT - 1] ? (Datum) 0 : plan->tts_values[PLAN_INPUT - 1]},
                                     3);
    is_ready = plan->tts_isnull[PLAN_TRIGGER - 1] ? dependencies.are_completed : fires(advance, &dependencies, context);
    if (!change_state(advance, is_ready, dependencies.changes))
        return false;
    if (is_ready)
        insert_task(advance, task, context);
    else
        add_ended(advance, task);
    tell_activated(advance, task, is_ready);
    return true;
}

static void add_ended(Advance *advance, int64 task)
{
    advance->ended = room(advance, advance->ended, advance->ended_count, &advance->ended_limit, sizeof(Datum));
    advance->ended[advance->ended_count++] = Int64GetDatum(task);
}

static void read_dependencies(Advance *advance, Dependencies *dependencies)
{
    CloacaExecutions *executions = &advance->executions;
    int64 execution = DatumGetInt64(executions->node_row->tts_values[NODE_EXECUTION - 1]);
    TupleTableSlot *row = advance->dependency_row;
    Datum *numbers;
    Datum *documents;
    int count;

    deconstruct_array(DatumGetArrayTypeP(executions->plan_row->tts_values[PLAN_DEPENDENCIES - 1]), INT4OID, sizeof(int32), true,
                      TYPALIGN_INT, &numbers, NULL, &count);
    documents = palloc(Max(1, count) * sizeof(Datum));
    *dependencies = (Dependencies){.are_completed = true,
                                   .numbers = palloc(Max(1, count) * sizeof(Datum)),
                                   .states = palloc(Max(1, count) * sizeof(Datum))};
    for (int i = 0; i < count; i++) {
        int n = dependencies->count;

        CHECK_FOR_INTERRUPTS();
        if (!cloaca_find_by_place(executions->node, executions->node_place, execution, DatumGetInt32(numbers[i]), row))
            continue;
        slot_getallattrs(row);
        dependencies->numbers[n] = numbers[i];
        dependencies->states[n] = PointerGetDatum(DatumGetTextPCopy(row->tts_values[NODE_STATE - 1]));
        dependencies->are_completed = dependencies->are_completed && cloaca_is_text(dependencies->states[n], "completed");
        documents[n] = row->tts_isnull[NODE_CHANGES - 1]
                           ? (Datum) 0
                           : JsonbPGetDatum(DatumGetJsonbPCopy(row->tts_values[NODE_CHANGES - 1]));
        dependencies->count++;
    }
    dependencies->changes = cloaca_merge_documents(documents, dependencies->count);
}

/* What the trigger rule of the plan in hand says of the states and the context. */
static bool fires(Advance *advance, const Dependencies *dependencies, Datum context)
{
    static SPIPlanPtr plan;
    Oid types[] = {JSONBOID, JSONBOID, JSONBOID};
    Datum arguments[] = {advance->executions.plan_row->tts_values[PLAN_TRIGGER - 1], states_of(advance, dependencies), context};
    bool fires;
    bool is_null;

    SPI_connect();
    cloaca_prepare(&plan, "select cloaca.fires($1, $2, $3)", lengthof(types), types);
    if (SPI_execute_plan(plan, arguments, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "unexpected answer of fires");
    fires = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
    SPI_finish();
    return fires && !is_null;
}

/* The state of each dependency by its name. */
static Datum states_of(Advance *advance, const Dependencies *dependencies)
{
    const CloacaExecutions *executions = &advance->executions;
    int64 workflow = DatumGetInt64(executions->execution_row->tts_values[EXECUTION_WORKFLOW - 1]);
    Datum *names = palloc(Max(1, dependencies->count) * sizeof(Datum));
    bool is_null;

    for (int i = 0; i < dependencies->count; i++) {
        if (!cloaca_find_by_place(executions->plan, executions->plan_place, workflow, DatumGetInt32(dependencies->numbers[i]),
                                  advance->other_plan_row))
            elog(ERROR, "a task has no place in its workflow");
        names[i] = PointerGetDatum(DatumGetTextPCopy(slot_getattr(advance->other_plan_row, PLAN_NAME, &is_null)));
    }
    return cloaca_texts_object(names, dependencies->states, dependencies->count);
}

static bool change_state(const Advance *advance, bool is_ready, Datum changes)
{
    Datum at = TimestampTzGetDatum(advance->at);
    CloacaChange all[] = {{NODE_REMAINING, Int32GetDatum(0), false},
                          {NODE_STATE, CStringGetTextDatum(is_ready ? "ready" : "skipped"), false},
                          {NODE_CHANGES, changes, changes == (Datum) 0},
                          {NODE_STEPS, (Datum) 0, true},
                          {NODE_HELD_RUN_AT, at, !(is_ready && is_paused(advance))},
                          {NODE_FINISHED_AT, at, is_ready}};

    return cloaca_change_row(advance->executions.node, advance->executions.node_row, all, lengthof(all));
}

/* The execution in hand. */
static bool is_paused(const Advance *advance)
{
    return cloaca_is_text(advance->executions.execution_row->tts_values[EXECUTION_STATE - 1], "paused");
}

/* The live task of the node in hand. While its execution is paused it waits for the resume. */
static void insert_task(Advance *advance, int64 task, Datum context)
{
    const TupleTableSlot *execution = advance->executions.execution_row;
    const TupleTableSlot *plan = advance->executions.plan_row;
    const TupleTableSlot *node = advance->executions.node_row;
    bool is_held = is_paused(advance);
    text *queue_name = DatumGetTextPP(plan->tts_values[PLAN_QUEUE - 1]);
    int16 priority = DatumGetInt16(plan->tts_values[PLAN_PRIORITY - 1]);
    TimestampTz run_at = is_held ? DT_NOEND : advance->at;
    Datum values[TASK_COLUMNS] = {
        [TASK_ID - 1] = Int64GetDatum(task),
        [TASK_RUN_AT - 1] = TimestampTzGetDatum(run_at),
        [TASK_ENQUEUED_AT - 1] = TimestampTzGetDatum(advance->at),
        [TASK_MAX_ATTEMPTS - 1] = plan->tts_values[PLAN_MAX_ATTEMPTS - 1],
        [TASK_PRIORITY - 1] = plan->tts_values[PLAN_PRIORITY - 1],
        [TASK_CANCELLED - 1] = BoolGetDatum(false),
        [TASK_ATTEMPT - 1] = Int32GetDatum(0),
        [TASK_QUEUE - 1] = plan->tts_values[PLAN_QUEUE - 1],
        [TASK_NAME - 1] = plan->tts_values[PLAN_HANDLER - 1],
        [TASK_EXECUTION - 1] = execution->tts_values[EXECUTION_ID - 1],
        [TASK_DEADLINE - 1] = execution->tts_values[EXECUTION_DEADLINE - 1],
        [TASK_TIMEOUT - 1] = plan->tts_values[PLAN_TIMEOUT - 1],
        [TASK_PAYLOAD - 1] = context,
        [TASK_RETRY - 1] = plan->tts_values[PLAN_RETRY - 1],
        [TASK_STEPS - 1] = node->tts_values[NODE_STEPS - 1],
    };
    bool nulls[TASK_COLUMNS] = {
        [TASK_WORKER - 1] = true,
        [TASK_LEASE_ID - 1] = true,
        [TASK_LEASE_UNTIL - 1] = true,
        [TASK_CLAIMED_AT - 1] = true,
        [TASK_KEY - 1] = true,
        [TASK_DEADLINE - 1] = execution->tts_isnull[EXECUTION_DEADLINE - 1],
        [TASK_TIMEOUT - 1] = plan->tts_isnull[PLAN_TIMEOUT - 1],
        [TASK_RETRY - 1] = plan->tts_isnull[PLAN_RETRY - 1],
        [TASK_ERRORS - 1] = true,
        [TASK_STEPS - 1] = node->tts_isnull[NODE_STEPS - 1],
    };
    CloacaQueue queue =
        cloaca_queue(RelationGetRelid(advance->tables.task), VARDATA_ANY(queue_name), VARSIZE_ANY_EXHDR(queue_name));

    cloaca_insert_task(&advance->tables, values, nulls);
    if (!is_held)
        cloaca_note_tasks(&queue, priority, (CloacaKey){run_at, task}, 1, advance->at);
}

static void tell_activated(const Advance *advance, int64 task, bool is_ready)
{
    CloacaEvent activated = {.execution = DatumGetInt64(advance->executions.execution_row->tts_values[EXECUTION_ID - 1]),
                             .task = task,
                             .at = advance->at,
                             .state = is_ready ? "ready" : "skipped"};

    cloaca_add_event(&advance->executions, &activated);
}

/* Counts down how many final tasks each execution has left; those that have none end. */
static void count_executions(Advance *advance)
{
    Datum *over = MemoryContextAlloc(advance->memory, advance->final_count * sizeof(Datum));
    int over_count = 0;
    int next = 0;

    qsort(advance->finals, advance->final_count, sizeof(int64), cloaca_compare_ids);
    cloaca_look();
    while (next < advance->final_count) {
        int64 execution = advance->finals[next];
        int first = next;

        while (next < advance->final_count && advance->finals[next] == execution)
            next++;
        if (has_ended(advance, execution, next - first))
            over[over_count++] = Int64GetDatum(execution);
    }
    PopActiveSnapshot();
    if (over_count > 0)
        end_executions(advance, over, over_count);
}

/* Whether the last of its tasks has ended with these. */
static bool has_ended(Advance *advance, int64 execution, int32 tasks)
{
    CloacaExecutions *executions = &advance->executions;
    TupleTableSlot *row = executions->execution_row;

    while (cloaca_find_by_id(executions->execution, executions->execution_id, execution, row)) {
        CloacaChange change = {.column = EXECUTION_REMAINING};
        int32 remaining;

        slot_getallattrs(row);
        if (!row->tts_isnull[EXECUTION_FINISHED_AT - 1])
            return false;
        remaining = DatumGetInt32(row->tts_values[EXECUTION_REMAINING - 1]) - tasks;
        change.value = Int32GetDatum(remaining);
        if (cloaca_change_row(executions->execution, row, &change, 1))
            return remaining == 0;
        PopActiveSnapshot();
        cloaca_look();
    }
    return false;
}

static void end_executions(const Advance *advance, Datum *executions, int count)
{
    static SPIPlanPtr plan;
    Oid types[] = {TEXTOID, INT8ARRAYOID, TIMESTAMPTZOID};
    Datum arguments[] = {
        CStringGetTextDatum(advance->tenant),
        PointerGetDatum(construct_array(executions, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
        TimestampTzGetDatum(advance->at)};

    cloaca_call(&plan, "select cloaca.end_executions($1, $2, $3)", lengthof(types), types, arguments, NULL);
}

/* The items, with room for one more. */
static void *room(Advance *advance, void *items, int count, int *limit, Size size)
{
    if (count < *limit)
        return items;
    *limit = Max(16, *limit * 2);
    return items ? repalloc_huge(items, *limit * size) : MemoryContextAlloc(advance->memory, *limit * size);
}
