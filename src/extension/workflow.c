/*
 * workflow.c - what executions do when a transaction commits
 *
 * A task that ends is written down at once, by the statement that ends it. What depends on it is counted down just before the
 * transaction commits: a row that a thousand tasks count down is locked from there to the end of the commit, however long the
 * transaction was, and since all of a transaction's tasks are handed over together, rows are locked in one order and two
 * transactions cannot wait for each other.
 *
 * That is done by cloaca_advance, or by cloaca.advance in SQL, with the rights of whoever ended the tasks, and under the
 * restrictions that held then. What becomes ready does so at the time of the commit. An error there fails the commit, as one of
 * a deferred constraint does.
 */
#include "execution.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(cloaca_advance_later);
PG_FUNCTION_INFO_V1(cloaca_advance_now);
PG_FUNCTION_INFO_V1(cloaca_note_execution);

/* Tasks that one call ended. All of it lives until the transaction ends. */
typedef struct Ended {
    int nesting;  /* of the subtransaction */
    int advanced; /* of the subtransaction in which executions went on from them, 0 for none yet */
    Oid role;
    int context; /* of security */
    char *tenant;
    int count;
    Datum *tasks;
} Ended;

static List *all_ended; /* of Ended, in the order of their calls */

static const Ended *first_waiting(void);
static int count_waiting(void);
static void advance(const Ended *ended, Datum *tasks, int count);
static void advance_by_sql(const char *tenant, Datum *tasks, int count, TimestampTz at);
static bool is_same_kind(const Ended *one, const Ended *other);

/* advance_later(tenant, tasks, at) */
Datum cloaca_advance_later(PG_FUNCTION_ARGS)
{
    Datum *tasks;
    int count;

    deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &tasks, NULL, &count);
    cloaca_note_ended_tasks(text_to_cstring(PG_GETARG_TEXT_PP(0)), tasks, count);
    PG_RETURN_VOID();
}

/* advance_now() */
Datum cloaca_advance_now(PG_FUNCTION_ARGS)
{
    cloaca_advance_ended();
    PG_RETURN_VOID();
}

/* note_execution(tenant, execution) */
Datum cloaca_note_execution(PG_FUNCTION_ARGS)
{
    Oid schema = get_namespace_oid(text_to_cstring(PG_GETARG_TEXT_PP(0)), true);

    if (OidIsValid(schema))
        cloaca_note_execution_end(schema, PG_GETARG_INT64(1));
    PG_RETURN_VOID();
}

void cloaca_note_ended_tasks(const char *tenant, const Datum *tasks, int count)
{
    MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
    Ended *ended = palloc(sizeof(Ended));

    *ended = (Ended){.nesting = GetCurrentTransactionNestLevel(), .tenant = pstrdup(tenant), .count = count};
    GetUserIdAndSecContext(&ended->role, &ended->context);
    ended->tasks = palloc(Max(1, count) * sizeof(Datum));
    memcpy(ended->tasks, tasks, count * sizeof(Datum));
    all_ended = lappend(all_ended, ended);
    MemoryContextSwitchTo(caller);
}

CloacaQueue cloaca_execution_queue(Oid schema, int64 execution)
{
    return (CloacaQueue){.database = MyDatabaseId,
                         .table = get_relname_relid("cloaca_execution", schema),
                         .hash = hash_bytes_extended((const unsigned char *) &execution, sizeof(execution), 0)};
}

/* Tasks of the same role and tenant go together, in the order of their ids. What is ended meanwhile comes after. */
void cloaca_advance_ended(void)
{
    const Ended *first;

    while ((first = first_waiting()) != NULL) {
        Datum *tasks = palloc(count_waiting() * sizeof(Datum));
        int count = 0;
        ListCell *cell;

        foreach (cell, all_ended) {
            Ended *ended = lfirst(cell);

            if (ended->advanced == 0 && is_same_kind(first, ended)) {
                memcpy(tasks + count, ended->tasks, ended->count * sizeof(Datum));
                count += ended->count;
                ended->advanced = GetCurrentTransactionNestLevel();
            }
        }
        qsort(tasks, count, sizeof(Datum), cloaca_compare_ids);
        advance(first, tasks, count);
        pfree(tasks);
    }
}

void cloaca_forget_ended(int nesting)
{
    ListCell *cell;

    if (nesting <= 1)
        all_ended = NIL;
    foreach (cell, all_ended) {
        Ended *ended = lfirst(cell);

        if (ended->nesting >= nesting)
            all_ended = foreach_delete_current(all_ended, cell);
        else if (ended->advanced >= nesting)
            ended->advanced = 0;
    }
}

void cloaca_keep_ended(int nesting)
{
    ListCell *cell;

    foreach (cell, all_ended) {
        Ended *ended = lfirst(cell);

        ended->nesting = Min(ended->nesting, nesting - 1);
        ended->advanced = Min(ended->advanced, nesting - 1);
    }
}

static const Ended *first_waiting(void)
{
    ListCell *cell;

    foreach (cell, all_ended) {
        if (((const Ended *) lfirst(cell))->advanced == 0)
            return lfirst(cell);
    }
    return NULL;
}

/* How many tasks. */
static int count_waiting(void)
{
    int count = 0;
    ListCell *cell;

    foreach (cell, all_ended) {
        const Ended *ended = lfirst(cell);

        if (ended->advanced == 0)
            count += ended->count;
    }
    return count;
}

static void advance(const Ended *ended, Datum *tasks, int count)
{
    TimestampTz at = cloaca_now();
    Oid role;
    int context;

    GetUserIdAndSecContext(&role, &context);
    SetUserIdAndSecContext(ended->role, ended->context | (role == ended->role ? 0 : SECURITY_LOCAL_USERID_CHANGE));
    if (!cloaca_advance(ended->tenant, tasks, count, at))
        advance_by_sql(ended->tenant, tasks, count, at);
    SetUserIdAndSecContext(role, context);
}

static void advance_by_sql(const char *tenant, Datum *tasks, int count, TimestampTz at)
{
    static SPIPlanPtr plan;
    Oid types[] = {TEXTOID, INT8ARRAYOID, TIMESTAMPTZOID};
    Datum arguments[] = {
        CStringGetTextDatum(tenant),
        PointerGetDatum(construct_array(tasks, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
        TimestampTzGetDatum(at)};

    cloaca_call(&plan, "select cloaca.advance($1, $2, $3)", lengthof(types), types, arguments, NULL);
}

static bool is_same_kind(const Ended *one, const Ended *other)
{
    return one->role == other->role && one->context == other->context && strcmp(one->tenant, other->tenant) == 0;
}
