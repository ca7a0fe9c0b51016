/*
 * wait_execution.c - wait_for_execution: a procedure that sleeps until an execution has ended
 *
 * It looks, commits, so that neither snapshot nor lock stays, and sleeps on the latch of its process. With shared memory it has
 * a seat among the sleepers (sleepers.c), in a place that stands for the execution, and the commit that ends that wakes it;
 * without, it looks every cloaca.poll_interval. What nobody announced (plain SQL) is found after cloaca.repair_interval.
 *
 * Runs in the backend of the caller, with its rights. It ends at once when the call is cancelled or the client is gone.
 */
#include "sleepers.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(cloaca_wait_for_execution);

static char *wait_until_ended(FunctionCallInfo fcinfo);
static TimestampTz end_of(FunctionCallInfo fcinfo);
static CloacaQueue place_of(int64 execution);
static char *look(FunctionCallInfo fcinfo, MemoryContext memory);
static Datum answer(const char *state);

/* wait_for_execution(execution, timeout, inout state) */
Datum cloaca_wait_for_execution(PG_FUNCTION_ARGS)
{
    char *volatile state = NULL;

    cloaca_refuse_atomic(fcinfo);
    PreventCommandDuringRecovery("CALL cloaca.wait_for_execution");
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    PG_TRY();
    {
        state = wait_until_ended(fcinfo);
    }
    PG_CATCH();
    {
        cloaca_sleepers_leave(false, false);
        PG_RE_THROW();
    }
    PG_END_TRY();
    cloaca_sleepers_leave(true, false);
    SPI_finish();
    return answer(state);
}

static char *wait_until_ended(FunctionCallInfo fcinfo)
{
    MemoryContext memory = CurrentMemoryContext;
    MemoryContext round = AllocSetContextCreate(memory, "cloaca wait", ALLOCSET_SMALL_SIZES);
    TimestampTz end = end_of(fcinfo);

    for (;;) {
        TimestampTz now = GetCurrentTimestamp();
        bool looks;
        char *state;
        CloacaQueue place = {0};

        MemoryContextReset(round);
        MemoryContextSwitchTo(round);
        /* Whoever wakes us from here on does so for what this look may not see. */
        if (cloaca_sleepers_entered())
            cloaca_sleepers_begin(true, &looks);
        EnsurePortalSnapshotExists();
        state = look(fcinfo, memory);
        if (state == NULL && cloaca_sleepers_entered())
            cloaca_sleepers_done(0, now, now + cloaca_repair_interval * INT64CONST(1000));
        else if (state == NULL)
            place = place_of(PG_GETARG_INT64(0));
        MemoryContextSwitchTo(memory);
        if (state)
            return state;
        SPI_commit();
        /* Whoever enters looks again: the commit may have come before. */
        if (!cloaca_sleepers_entered() && now < end && cloaca_sleepers_enter(&place, 1, now))
            continue;
        if (!cloaca_nap(end, now + cloaca_poll_interval * INT64CONST(1000)))
            return NULL;
    }
}

/* When the timeout is over, in real time. */
static TimestampTz end_of(FunctionCallInfo fcinfo)
{
    static SPIPlanPtr plan;
    Oid types[] = {INTERVALOID};
    Datum values[] = {PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1)};
    char nulls[] = {PG_ARGISNULL(1) ? 'n' : ' '};
    TimestampTz now = GetCurrentTimestamp();
    bool is_null;
    Datum timeout;

    cloaca_prepare(&plan, "select cloaca.microseconds($1, 'timeout')", 1, types);
    if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "unexpected answer of microseconds");
    timeout = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
    return is_null ? DT_NOEND : now + DatumGetInt64(timeout);
}

static CloacaQueue place_of(int64 execution)
{
    static SPIPlanPtr plan;

    cloaca_prepare(&plan, "select cloaca.current_tenant()", 0, NULL);
    if (SPI_execute_plan(plan, NULL, NULL, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "unexpected answer of current_tenant");
    return cloaca_execution_queue(get_namespace_oid(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), false),
                                  execution);
}

/* The state that the execution ended in, in `memory`, or NULL. */
static char *look(FunctionCallInfo fcinfo, MemoryContext memory)
{
    static SPIPlanPtr plan;
    Oid types[] = {INT8OID};
    Datum values[] = {PG_ARGISNULL(0) ? (Datum) 0 : PG_GETARG_DATUM(0)};
    char nulls[] = {PG_ARGISNULL(0) ? 'n' : ' '};
    char *state;

    cloaca_prepare(&plan, "select cloaca.final_state($1)", 1, types);
    if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "unexpected answer of final_state");
    state = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
    SPI_freetuptable(SPI_tuptable);
    return state ? MemoryContextStrdup(memory, state) : NULL;
}

/* The record that a procedure answers with. */
static Datum answer(const char *state)
{
    TupleDesc columns = CreateTemplateTupleDesc(1);
    Datum value = state ? CStringGetTextDatum(state) : (Datum) 0;
    bool null = state == NULL;

    TupleDescInitEntry(columns, 1, "state", TEXTOID, -1, 0);
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), &value, &null));
}
