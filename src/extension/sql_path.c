/*
 * sql_path.c - calls a function's twin in SQL, which serves whatever the direct path does not
 *
 * The twin has the same arguments and results. Its statement is planned once a session; the server plans it anew when the twin
 * is replaced or dropped. Runs in the backend of the caller, with its rights, and takes the locks that the twin takes.
 */
#include "extension.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(cloaca_direct_calls);

int64 cloaca_direct_count = 0;

static SPIPlanPtr plan_twin(FunctionCallInfo fcinfo, CloacaTwin *twin);
static void keep_rows(FunctionCallInfo fcinfo, Tuplestorestate *rows);

/* direct_calls(): how many calls of this session the direct path served, for tests and the curious. */
Datum cloaca_direct_calls(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT64(cloaca_direct_count);
}

Datum cloaca_sql_path(FunctionCallInfo fcinfo, CloacaTwin *twin)
{
    bool is_set = fcinfo->flinfo->fn_retset;
    Tuplestorestate *rows = is_set ? cloaca_begin_rows(fcinfo) : NULL;
    Datum values[FUNC_MAX_ARGS];
    char nulls[FUNC_MAX_ARGS];

    for (int i = 0; i < fcinfo->nargs; i++) {
        values[i] = fcinfo->args[i].value;
        nulls[i] = fcinfo->args[i].isnull ? 'n' : ' ';
    }
    SPI_connect();
    if (SPI_execute_plan(plan_twin(fcinfo, twin), values, nulls, false, 0) != SPI_OK_SELECT)
        elog(ERROR, "unexpected answer of: %s", twin->sql);
    if (is_set)
        keep_rows(fcinfo, rows);
    SPI_finish();
    if (is_set)
        PG_RETURN_NULL();
    PG_RETURN_VOID();
}

void cloaca_prepare(SPIPlanPtr *plan, const char *sql, int count, Oid *types)
{
    SPIPlanPtr prepared;

    if (*plan)
        return;
    prepared = SPI_prepare(sql, count, types);
    if (prepared == NULL || SPI_keepplan(prepared) != 0)
        elog(ERROR, "could not prepare: %s", sql);
    *plan = prepared;
}

void cloaca_call(SPIPlanPtr *plan, const char *sql, int count, Oid *types, Datum *values, const char *nulls)
{
    cloaca_look();
    SPI_connect();
    cloaca_prepare(plan, sql, count, types);
    if (SPI_execute_plan(*plan, values, nulls, false, 0) != SPI_OK_SELECT)
        elog(ERROR, "unexpected answer of: %s", sql);
    SPI_finish();
    PopActiveSnapshot();
}

void cloaca_look(void)
{
    CommandCounterIncrement();
    PushActiveSnapshot(GetTransactionSnapshot());
}

Tuplestorestate *cloaca_begin_rows(FunctionCallInfo fcinfo)
{
    ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
    MemoryContext before;

    if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("set-valued function called in context that cannot accept a set")));
    before = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
    result->returnMode = SFRM_Materialize;
    result->setResult = tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
    if (result->expectedDesc == NULL) {
        if (get_call_result_type(fcinfo, NULL, &result->setDesc) != TYPEFUNC_COMPOSITE)
            elog(ERROR, "return type must be a row type");
        result->expectedDesc = result->setDesc = CreateTupleDescCopy(result->setDesc);
    }
    MemoryContextSwitchTo(before);
    return result->setResult;
}

static SPIPlanPtr plan_twin(FunctionCallInfo fcinfo, CloacaTwin *twin)
{
    if (twin->plan == NULL) {
        Oid *types;
        int count;

        get_func_signature(fcinfo->flinfo->fn_oid, &types, &count);
        cloaca_prepare(&twin->plan, twin->sql, count, types);
    }
    return twin->plan;
}

static void keep_rows(FunctionCallInfo fcinfo, Tuplestorestate *rows)
{
    for (uint64 i = 0; i < SPI_processed; i++)
        tuplestore_puttuple(rows, SPI_tuptable->vals[i]);
}
