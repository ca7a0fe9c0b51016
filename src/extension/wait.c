/*
 * wait.c - wait_for_task: a procedure that sleeps until a queue has a task
 *
 * It looks (by the direct path, or by cloaca.next_task), commits, so that neither snapshot nor lock stays, and sleeps on the
 * latch of its process. With shared memory it has seats among the sleepers (sleepers.c), and looks when it is woken or when it
 * keeps a queue's time; without, or when all seats are taken, it looks every cloaca.poll_interval.
 *
 * Runs in the backend of the caller, with its rights. It ends at once when the call is cancelled or the client is gone.
 */
#include "sleepers.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/sinval.h"
#include "tcop/pquery.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(cloaca_wait_for_task);

/* As in libpq/libpq.h, which includes headers of other libraries that need not be installed. */
extern PGDLLIMPORT WaitEventSet *FeBeWaitSet;
#define CLIENT_SOCKET 0

/* No timer is longer than this, whatever it waits for. */
#define LONGEST_SLEEP (3600 * 1000L)

/* One call. */
typedef struct Wait {
    int count;
    Datum *names; /* of the queues, text, each once */
    bool *looks;  /* which of them this round is about */
    int *numbers; /* the same as a list */
    TimestampTz *due;
    TimestampTz end; /* in real time; DT_NOEND: none */
    char *schema;    /* of the tenant */
    Oid table;
    TimestampTz at;   /* what the clock said when this round began */
    TimestampTz real; /* the same in real time: tests set the clock */
    MemoryContext memory;
    MemoryContext round;
} Wait;

static Datum answer(bool ready);
static Wait *begin(FunctionCallInfo fcinfo);
static void check_arguments(Wait *wait, Datum *values, const char *nulls);
static bool wait_until_ready(Wait *wait);
static void find_table(Wait *wait);
static Oid table_of(const char *schema);
static void resolve(Wait *wait);
static bool enter(const Wait *wait);
static bool look_round(Wait *wait, bool all);
static bool look_at_woken(Wait *wait, int number);
static bool look_at_kept(Wait *wait, int number);
static bool share(Wait *wait, int number);
static int64 count_due(Wait *wait, int number, TimestampTz since, int max);
static void settle(const Wait *wait, int number);
static bool look(Wait *wait, const int *numbers, int count);
static bool look_by_sql(Wait *wait, const int *numbers, int count);
static TimestampTz next_look(const Wait *wait, int number);
static TimestampTz next_poll(const Wait *wait);
static void sleep_for(long milliseconds);
static int wait_for_events(long milliseconds);
static void run(SPIPlanPtr *plan, const char *sql, int count, Oid *types, Datum *values, const char *nulls);

Datum cloaca_wait_for_task(PG_FUNCTION_ARGS)
{
    volatile bool ready = false;

    cloaca_refuse_atomic(fcinfo);
    PreventCommandDuringRecovery("CALL cloaca.wait_for_task");
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    PG_TRY();
    {
        ready = wait_until_ready(begin(fcinfo));
    }
    PG_CATCH();
    {
        cloaca_sleepers_leave(false, false);
        PG_RE_THROW();
    }
    PG_END_TRY();
    cloaca_sleepers_leave(ready, false);
    SPI_finish();
    return answer(ready);
}

void cloaca_refuse_atomic(FunctionCallInfo fcinfo)
{
    if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) || ((CallContext *) fcinfo->context)->atomic ||
        IsSubTransaction())
        cloaca_raise(CLOACA_IN_TRANSACTION, "The procedure commits as it goes.", "Call it outside of BEGIN and COMMIT.");
}

/* The record that a procedure answers with. */
static Datum answer(bool ready)
{
    TupleDesc columns = CreateTemplateTupleDesc(1);
    Datum value = BoolGetDatum(ready);
    bool null = false;

    TupleDescInitEntry(columns, 1, "ready", BOOLOID, -1, 0);
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), &value, &null));
}

/* ------------------------------------------------------------------------------------------------------------------ arguments
 */

/* Checks the arguments, and copies them to where no commit takes them away. */
static Wait *begin(FunctionCallInfo fcinfo)
{
    Wait *wait = palloc0(sizeof(Wait));
    Datum values[] = {fcinfo->args[0].value, fcinfo->args[1].value};
    char nulls[] = {PG_ARGISNULL(0) ? 'n' : ' ', PG_ARGISNULL(1) ? 'n' : ' ', '\0'};

    wait->memory = CurrentMemoryContext;
    wait->round = AllocSetContextCreate(CurrentMemoryContext, "cloaca wait", ALLOCSET_SMALL_SIZES);
    check_arguments(wait, values, nulls);
    wait->looks = palloc0(wait->count * sizeof(bool));
    wait->numbers = palloc(wait->count * sizeof(int));
    wait->due = palloc(wait->count * sizeof(TimestampTz));
    return wait;
}

/* Raises what they deserve; finds out the names and when to end. */
static void check_arguments(Wait *wait, Datum *values, const char *nulls)
{
    static SPIPlanPtr plan;
    Oid types[] = {TEXTARRAYOID, INTERVALOID};
    TimestampTz now = GetCurrentTimestamp();
    bool is_null;
    Datum queues;
    Datum timeout;

    run(&plan,
        "select cloaca.check_queues($1), cloaca.microseconds($2, 'timeout'), "
        "array(select distinct q.queue from pg_catalog.unnest($1) q (queue))",
        2, types, values, nulls);
    timeout = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &is_null);
    wait->end = is_null ? DT_NOEND : now + DatumGetInt64(timeout);
    queues = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &is_null);
    deconstruct_array(DatumGetArrayTypePCopy(queues), TEXTOID, -1, false, TYPALIGN_INT, &wait->names, NULL, &wait->count);
    SPI_freetuptable(SPI_tuptable);
}

/* ----------------------------------------------------------------------------------------------------------------------- loop
 */

static bool wait_until_ready(Wait *wait)
{
    bool all = true;

    for (;;) {
        bool ready;

        /* What a look allocates is not to last until the end of the call. */
        MemoryContextReset(wait->round);
        MemoryContextSwitchTo(wait->round);
        EnsurePortalSnapshotExists();
        find_table(wait);
        wait->at = cloaca_now();
        wait->real = GetCurrentTimestamp();
        ready = look_round(wait, all || !cloaca_sleepers_entered());
        MemoryContextSwitchTo(wait->memory);
        if (ready)
            return true;
        SPI_commit();
        /* Whoever enters looks again: a commit may have come before. */
        all = !cloaca_sleepers_entered() && GetCurrentTimestamp() < wait->end && enter(wait);
        if (!all && !cloaca_nap(wait->end, next_poll(wait)))
            return false;
    }
}

/* The tenant's table of tasks, locked until the commit so that it stays. When it is another one than before, sleepers of the
 * old one have to find out too: nobody will wake them. */
static void find_table(Wait *wait)
{
    Oid table = table_of(wait->schema);

    if (OidIsValid(table) && table == wait->table)
        return;
    cloaca_sleepers_leave(false, true);
    resolve(wait);
    wait->table = table_of(wait->schema);
}

static Oid table_of(const char *schema)
{
    return schema ? RangeVarGetRelid(makeRangeVar(unconstify(char *, schema), "cloaca_task", -1), AccessShareLock, true)
                  : InvalidOid;
}

/* Which tenant the call means. */
static void resolve(Wait *wait)
{
    static SPIPlanPtr plan;
    char *schema;

    run(&plan, "select cloaca.current_tenant()", 0, NULL, NULL, NULL);
    schema = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
    wait->schema = MemoryContextStrdup(wait->memory, schema);
    SPI_freetuptable(SPI_tuptable);
}

/* Takes seats among the sleepers, if there are any left. */
static bool enter(const Wait *wait)
{
    CloacaQueue *queues = MemoryContextAlloc(wait->round, wait->count * sizeof(CloacaQueue));

    for (int i = 0; i < wait->count; i++) {
        const text *name = DatumGetTextPP(wait->names[i]);

        queues[i] = cloaca_queue(wait->table, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
    }
    return cloaca_sleepers_enter(queues, wait->count, wait->at);
}

/* ---------------------------------------------------------------------------------------------------------------------- looks
 */

/* One look at all queues, or at those that it is time for. */
static bool look_round(Wait *wait, bool all)
{
    bool entered = cloaca_sleepers_entered();
    int woken_for = entered ? cloaca_sleepers_begin(all, wait->looks) : -1;
    int count = 0;

    if (woken_for >= 0) {
        if (look_at_woken(wait, woken_for))
            return true;
        wait->looks[woken_for] = false;
    }
    for (int i = 0; i < wait->count; i++) {
        if (wait->looks[i] || !entered)
            wait->numbers[count++] = i;
    }
    if (count == 0 || look(wait, wait->numbers, count)) {
        if (all)
            return count > 0;
        for (int i = 0; i < count; i++) {
            if (look_at_kept(wait, wait->numbers[i]))
                return true;
        }
    } else if (entered) {
        for (int i = 0; i < count; i++)
            settle(wait, wait->numbers[i]);
    }
    return false;
}

static bool look_at_woken(Wait *wait, int number)
{
    if (look(wait, &number, 1))
        return true;
    settle(wait, number);
    return false;
}

/* A queue whose time we keep has tasks, or another one has. */
static bool look_at_kept(Wait *wait, int number)
{
    if (look(wait, &number, 1) && share(wait, number))
        return true;
    settle(wait, number);
    return false;
}

/* There are tasks, and nobody knows but us: wakes others for those that are not ours. False when somebody was woken already. */
static bool share(Wait *wait, int number)
{
    CloacaWatch watch = cloaca_sleepers_watch(number);
    int64 count = count_due(wait, number, watch.seen, watch.others + 1);

    if (count == 0) {
        TimestampTz patience = cloaca_poll_interval * INT64CONST(1000);

        if (wait->real < watch.woken + patience) {
            /* They are on their way, perhaps. */
            cloaca_sleepers_done(number, wait->at, wait->real + patience);
            return false;
        }
        count = count_due(wait, number, DT_NOBEGIN, watch.others + 1);
    }
    if (count > 0)
        cloaca_sleepers_share(number, count - 1, wait->at, next_look(wait, number));
    return count > 0;
}

/* For how many sleepers there are tasks that nobody has woken them for; `due` says when the next is due. */
static int64 count_due(Wait *wait, int number, TimestampTz since, int max)
{
    static SPIPlanPtr plan;
    Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
    Datum values[] = {CStringGetTextDatum(wait->schema), wait->names[number], TimestampTzGetDatum(since),
                      TimestampTzGetDatum(wait->at), Int32GetDatum(max)};
    bool is_null;
    int64 count;
    Datum due;

    run(&plan, "select c.ready, c.due from cloaca.count_due($1, $2, $3, $4, $5) c", 5, types, values, NULL);
    count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
    due = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &is_null);
    wait->due[number] = is_null ? DT_NOEND : DatumGetTimestampTz(due);
    SPI_freetuptable(SPI_tuptable);
    return count;
}

/* There was nothing on the queue. */
static void settle(const Wait *wait, int number)
{
    cloaca_sleepers_done(number, wait->at, next_look(wait, number));
}

/* Whether one of the queues has a task. If not, `due` says of each when that may change. */
static bool look(Wait *wait, const int *numbers, int count)
{
    for (int i = 0; i < count; i++) {
        const text *name = DatumGetTextPP(wait->names[numbers[i]]);
        bool possible;

        if (cloaca_probe(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &wait->due[numbers[i]], &possible))
            return true;
        if (!possible)
            return look_by_sql(wait, numbers + i, count - i);
    }
    return false;
}

static bool look_by_sql(Wait *wait, const int *numbers, int count)
{
    static SPIPlanPtr plan;
    Datum *names = MemoryContextAlloc(wait->round, count * sizeof(Datum));
    Oid types[] = {TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID};
    Datum values[] = {CStringGetTextDatum(wait->schema), (Datum) 0, TimestampTzGetDatum(wait->at)};
    bool is_null;
    bool ready;
    Datum due;

    for (int i = 0; i < count; i++)
        names[i] = wait->names[numbers[i]];
    values[1] = PointerGetDatum(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
    run(&plan, "select n.ready, n.due from cloaca.next_task($1, $2, $3) n", 3, types, values, NULL);
    ready = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
    due = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &is_null);
    for (int i = 0; i < count; i++)
        wait->due[numbers[i]] = is_null ? DT_NOEND : DatumGetTimestampTz(due);
    SPI_freetuptable(SPI_tuptable);
    return ready;
}

/* Runs a statement that returns one row, with the plan of the first time. */
static void run(SPIPlanPtr *plan, const char *sql, int count, Oid *types, Datum *values, const char *nulls)
{
    MemoryContext caller = CurrentMemoryContext;

    cloaca_prepare(plan, sql, count, types);
    if (SPI_execute_plan(*plan, values, nulls, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "could not execute \"%s\"", sql);
    MemoryContextSwitchTo(caller);
}

/* ---------------------------------------------------------------------------------------------------------------------- sleep
 */

/* When the time's keeper looks at the queue again, in real time. What is due and not claimable is about to change. */
static TimestampTz next_look(const Wait *wait, int number)
{
    TimestampTz due = wait->due[number];
    TimestampTz latest = wait->real + cloaca_repair_interval * INT64CONST(1000);

    if (due <= wait->at)
        return wait->real + cloaca_poll_interval * INT64CONST(1000);
    return due == DT_NOEND ? latest : Min(latest, wait->real + (due - wait->at));
}

/* When to look without a seat. */
static TimestampTz next_poll(const Wait *wait)
{
    TimestampTz next = wait->real + cloaca_poll_interval * INT64CONST(1000);

    for (int i = 0; i < wait->count; i++)
        next = Min(next, next_look(wait, i));
    return next;
}

bool cloaca_nap(TimestampTz end, TimestampTz alarm)
{
    for (;;) {
        TimestampTz now = GetCurrentTimestamp();

        if (cloaca_sleepers_entered())
            alarm = cloaca_sleepers_alarm();
        if (now >= end)
            return false;
        if (alarm <= now)
            return true;
        sleep_for(Min(LONGEST_SLEEP, TimestampDifferenceMilliseconds(now, Min(alarm, end))));
    }
}

/* Until the latch is set. Ends the session when its client is gone: it would take a wake from somebody who lives. */
static void sleep_for(long milliseconds)
{
    int events = wait_for_events(milliseconds);

    if (events & WL_LATCH_SET) {
        ResetLatch(MyLatch);
        /* A latch that is set hides what else happened. */
        events |= wait_for_events(0);
    }
#ifdef WL_SOCKET_CLOSED
    if (events & WL_SOCKET_CLOSED)
        ClientConnectionLost = InterruptPending = true;
#endif
    CHECK_FOR_INTERRUPTS();
    if (catchupInterruptPending)
        ProcessCatchupInterrupt();
}

static int wait_for_events(long milliseconds)
{
#ifdef WL_SOCKET_CLOSED
    if (FeBeWaitSet && WaitEventSetCanReportClosed()) {
        WaitEvent happened[3]; /* to latch, client and postmaster */
        int count;
        int events = 0;

        /* Whoever waits for the client says anew what for. */
        ModifyWaitEvent(FeBeWaitSet, CLIENT_SOCKET, WL_SOCKET_CLOSED, NULL);
        count = WaitEventSetWait(FeBeWaitSet, milliseconds, happened, lengthof(happened), PG_WAIT_EXTENSION);
        for (int i = 0; i < count; i++)
            events |= (int) happened[i].events;
        if (events & WL_POSTMASTER_DEATH)
            proc_exit(1);
        return events;
    }
#endif
    return WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds, PG_WAIT_EXTENSION);
}
