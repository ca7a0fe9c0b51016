/*
 * query.c - statements on a tenant's tables, planned once a session
 *
 * PL/pgSQL plans a dynamic statement at each execution, and the statements by which executions go on take far longer to plan
 * than to run. Here the text of a statement, with %1$I for the tenant's schema, leads to its plan. A plan is generic: its
 * statements find all rows by keys, whatever the arguments are. What else a planner might think of, for tables that are empty
 * as yet, is switched off while it plans; that raises the cost it expects beyond every limit of JIT compilation, which is
 * switched off, too. A plan is made again when a table has changed, as every saved plan.
 *
 * Runs in the backend of the caller, with its rights, which are checked at each execution.
 */
#include "extension.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(cloaca_query);

/* Of so many statements the plans are kept, in sets of WAYS; a set gives up the one used longest ago. */
#define STATEMENTS 256
#define WAYS 8

typedef struct Statement {
    uint64 hash;
    uint64 used; /* when, by the count of calls */
    int depth;   /* how many executions are under way */
    text *template;
    text *tenant;
    SPIPlanPtr plan;
} Statement;

static Statement *statements;
static uint64 calls;

static Statement *find_statement(const text *template, const text *tenant);
static Statement *choose(Statement *set);
static void forget(Statement *statement);
static SPIPlanPtr prepare(const text *template, const text *tenant);
static bool is_planned(SPIPlanPtr plan);
static int plan_by_keys(void);
static bool is_text(const text *one, const text *other);
static text *keep(const text *value);
static void return_rows(Tuplestorestate *rows, TupleDesc type);

/* query(template, tenant, variadic arguments) */
Datum cloaca_query(PG_FUNCTION_ARGS)
{
    Datum arguments[] = {PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2)};
    char nulls[] = {PG_ARGISNULL(2) ? 'n' : ' '};
    Tuplestorestate *rows = cloaca_begin_rows(fcinfo);
    TupleDesc type = ((ReturnSetInfo *) fcinfo->resultinfo)->expectedDesc;
    Statement *statement;
    int result;

    if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("query needs a statement and a tenant")));
    SPI_connect();
    statement = find_statement(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1));
    statement->depth++;
    PG_TRY();
    {
        int nesting = is_planned(statement->plan) ? 0 : plan_by_keys();

        result = SPI_execute_plan(statement->plan, arguments, nulls, false, 0);
        if (nesting > 0)
            AtEOXact_GUC(true, nesting);
    }
    PG_FINALLY();
    {
        statement->depth--;
    }
    PG_END_TRY();
    if (result < 0)
        elog(ERROR, "could not execute a statement: %s", SPI_result_code_string(result));
    if (SPI_tuptable)
        return_rows(rows, type);
    SPI_finish();
    PG_RETURN_NULL();
}

static Statement *find_statement(const text *template, const text *tenant)
{
    uint64 hash = hash_bytes_extended(
        (const unsigned char *) VARDATA_ANY(template), (int) VARSIZE_ANY_EXHDR(template),
        hash_bytes_extended((const unsigned char *) VARDATA_ANY(tenant), (int) VARSIZE_ANY_EXHDR(tenant), 0));
    Statement *set;
    Statement *chosen;

    if (statements == NULL)
        statements = MemoryContextAllocZero(TopMemoryContext, STATEMENTS * sizeof(Statement));
    set = &statements[hash % (STATEMENTS / WAYS) * WAYS];
    calls++;
    for (Statement *statement = set; statement < set + WAYS; statement++) {
        if (statement->plan && statement->hash == hash && is_text(statement->template, template) &&
            is_text(statement->tenant, tenant)) {
            statement->used = calls;
            return statement;
        }
    }
    chosen = choose(set);
    forget(chosen);
    chosen->template = keep(template);
    chosen->tenant = keep(tenant);
    chosen->hash = hash;
    chosen->used = calls;
    chosen->plan = prepare(template, tenant);
    return chosen;
}

/* A free place, or the one used longest ago. */
static Statement *choose(Statement *set)
{
    Statement *chosen = NULL;

    for (Statement *statement = set; statement < set + WAYS; statement++) {
        if (statement->depth == 0 && (chosen == NULL || statement->plan == NULL || statement->used < chosen->used)) {
            chosen = statement;
            if (statement->plan == NULL)
                break;
        }
    }
    if (chosen == NULL)
        ereport(ERROR, (errcode(ERRCODE_STATEMENT_TOO_COMPLEX), errmsg("too many statements are under way")));
    return chosen;
}

static void forget(Statement *statement)
{
    if (statement->plan)
        SPI_freeplan(statement->plan);
    statement->plan = NULL;
    if (statement->template)
        pfree(statement->template);
    if (statement->tenant)
        pfree(statement->tenant);
    statement->template = statement->tenant = NULL;
}

static SPIPlanPtr prepare(const text *template, const text *tenant)
{
    Oid types[] = {TEXTARRAYOID};
    StringInfoData sql;
    const char *schema = quote_identifier(text_to_cstring(tenant));
    const char *rest = text_to_cstring(template);
    const char *mark;
    SPIPlanPtr plan;

    initStringInfo(&sql);
    while ((mark = strstr(rest, "%1$I")) != NULL) {
        appendBinaryStringInfo(&sql, rest, (int) (mark - rest));
        appendStringInfoString(&sql, schema);
        rest = mark + strlen("%1$I");
    }
    appendStringInfoString(&sql, rest);
    plan = SPI_prepare_cursor(sql.data, 1, types, CURSOR_OPT_GENERIC_PLAN);
    if (plan == NULL || SPI_keepplan(plan) != 0)
        elog(ERROR, "could not prepare a statement: %s", SPI_result_code_string(SPI_result));
    return plan;
}

/* Whether the next execution takes the plan of the last one. */
static bool is_planned(SPIPlanPtr plan)
{
    const CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));

    return source->is_valid && source->gplan && source->gplan->is_valid;
}

/* Until the level of settings that it returns is ended. */
static int plan_by_keys(void)
{
    static const char *const names[] = {"jit", "enable_seqscan", "enable_hashjoin", "enable_mergejoin"};
    int nesting = NewGUCNestLevel();

    for (size_t i = 0; i < lengthof(names); i++)
        (void) set_config_option(names[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    return nesting;
}

static bool is_text(const text *one, const text *other)
{
    return VARSIZE_ANY_EXHDR(one) == VARSIZE_ANY_EXHDR(other) &&
           memcmp(VARDATA_ANY(one), VARDATA_ANY(other), VARSIZE_ANY_EXHDR(one)) == 0;
}

static text *keep(const text *value)
{
    MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
    text *kept = cstring_to_text_with_len(VARDATA_ANY(value), (int) VARSIZE_ANY_EXHDR(value));

    MemoryContextSwitchTo(caller);
    return kept;
}

/* The rows must be what the caller says. */
static void return_rows(Tuplestorestate *rows, TupleDesc type)
{
    TupleDesc actual = SPI_tuptable->tupdesc;

    if (actual->natts != type->natts)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("a statement returns other columns than are expected")));
    for (int i = 0; i < type->natts; i++) {
        if (TupleDescAttr(actual, i)->atttypid != TupleDescAttr(type, i)->atttypid)
            ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("column %d of a statement is not as expected", i + 1)));
    }
    for (uint64 i = 0; i < SPI_processed; i++)
        tuplestore_puttuple(rows, SPI_tuptable->vals[i]);
}
