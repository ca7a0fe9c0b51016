/*
 * worker.c - the background worker of a database: does maintenance of its tenants when that is due
 *
 * It knows from shared memory (due.c) which tenant has its turn next, and sleeps until then on its latch, without transaction
 * and snapshot. Each tenant is a transaction of its own, which runs as the owner of the tenant's tables in a
 * security-restricted context, calls the same function as run_maintenance, and asks when that is due next. What goes wrong with
 * one tenant is a line in the log, and the others go on; what is locked has another turn soon.
 *
 * When the first lease of a tenant ends is known from the last look at all of its tasks and from the claims since, so that the
 * tasks need not be read each time; and reading them takes at most a twentieth of the time, however many there are. Every
 * cloaca.maintenance_interval all tenants have their turn and all of their leases are looked at, for what nobody noted: plain
 * SQL, a clock that was set.
 *
 * The worker keeps no state that a new one would miss. It leaves when its database has no extension (any longer), when somebody
 * wants the database for himself, when another database needs the process more, and when it is switched off.
 */
#include "due.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "worker.h"

/* How many rows of each kind in one transaction. */
#define BATCH 1000
/* Looks at all tasks take this share of the time at most. */
#define LOOK_SHARE 20
/* How soon something is tried again that somebody else was at; twice as long each time. */
#define FIRST_RETRY USECS_PER_SEC
#define LASTING 20
/* When another worker may start after one that ended with an error. */
#define RESTART (10 * USECS_PER_SEC)
#define LONGEST_SLEEP (3600 * 1000L)

typedef struct Tenant {
    NameData schema;
    Oid owner;
    Oid table; /* of tasks */
} Tenant;

/* What is remembered of a tenant from turn to turn. */
typedef struct Memory {
    Oid table;             /* the hash key */
    uint64 round;          /* when it was last a tenant */
    TimestampTz next_look; /* when all of its tasks may be looked at again */
    int misses;            /* how many turns in a row brought nothing forward */
} Memory;

/* What a turn of a tenant had to tell. */
typedef struct Turn {
    int64 done;        /* how many rows */
    TimestampTz due;   /* when something but a lease is due next */
    TimestampTz lease; /* when the first lease ends */
} Turn;

typedef struct Guard {
    Oid role;
    int context;
    int nesting;
} Guard;

static HTAB *memories;
static uint64 round_number;
static MemoryContext round_memory;
static bool is_useless; /* there is no extension here */

static void on_terminate(SIGNAL_ARGS);
static void leave_at_exit(int code, Datum argument);
static void prepare_session(void);
static void follow_interval(void);
static bool must_leave(void);
static void make_round(void);
static List *find_tenants(bool *has_extension);
static List *read_tenants(void);
static Memory *remember(const Tenant *tenant);
static bool is_tenant(Oid table);
static void forget_others(void);
static void take_turn(const Tenant *tenant, Memory *memory, bool looks);
static bool maintain(const Tenant *tenant, Memory *memory, Turn *turn);
static void call_maintenance(const Tenant *tenant, Turn *turn, Guard *guard);
static TimestampTz column_time(int column);
static void begin_as(Oid role, Guard *guard);
static void end_as(const Guard *guard);
static ErrorData *abort_quietly(void);
static bool is_passing(int sqlstate);

void cloaca_worker_main(Datum argument)
{
    Oid database = DatumGetObjectId(argument);

    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, on_terminate);
    BackgroundWorkerUnblockSignals();
    /* Registered before the connection is made, it is called when that is gone. */
    on_shmem_exit(leave_at_exit, (Datum) 0);
    if (!cloaca_due_arrive(database))
        proc_exit(0);
    BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    prepare_session();
    while (cloaca_process_goes_on() && !must_leave()) {
        TimestampTz next;

        follow_interval();
        next = cloaca_due_next();
        if (next <= GetCurrentTimestamp())
            make_round();
        else
            cloaca_sleep_until(next);
    }
    proc_exit(0);
}

/* Ends a statement that runs, and the sleep. */
static void on_terminate(SIGNAL_ARGS)
{
    ShutdownRequestPending = true;
    die(postgres_signal_arg);
}

static void leave_at_exit(int code, Datum argument)
{
    LWLockReleaseAll();
    cloaca_due_leave(code == 0 ? DT_NOBEGIN : GetCurrentTimestamp() + RESTART, is_useless);
}

/* Whatever the settings of the database and the server are made for, this is not. */
static void prepare_session(void)
{
    static const char *const settings[][2] = {
        {"role", "none"},
        {"search_path", "pg_catalog, pg_temp"},
        {"default_transaction_isolation", "read committed"},
        {"default_transaction_read_only", "off"},
        {"default_transaction_deferrable", "off"},
        {"lock_timeout", "1s"},
        {"statement_timeout", "0"},
        {"idle_in_transaction_session_timeout", "0"},
        {"jit", "off"},
        {"max_parallel_workers_per_gather", "0"},
        {"cloaca.clock", ""},
        {"cloaca.random", ""},
        {"cloaca.tenant", ""},
    };
    HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(Memory), .hcxt = TopMemoryContext};

    for (size_t i = 0; i < lengthof(settings); i++)
        SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_SESSION);
    cloaca_name_process("cloaca worker");
    memories = hash_create("cloaca worker", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    round_memory = AllocSetContextCreate(TopMemoryContext, "cloaca round", ALLOCSET_DEFAULT_SIZES);
}

/* One that became shorter counts at once. */
static void follow_interval(void)
{
    static int followed = 0;

    if (cloaca_maintenance_interval < followed)
        cloaca_due_note(MyDatabaseId, InvalidOid, GetCurrentTimestamp() + cloaca_maintenance_interval * USECS_PER_SEC, false);
    followed = cloaca_maintenance_interval;
}

static bool must_leave(void)
{
    return ShutdownRequestPending || !cloaca_background_worker || cloaca_due_must_leave();
}

/* ----------------------------------------------------------------------------------------------------------- both processes */

void cloaca_name_process(const char *name)
{
    SetConfigOption("application_name", name, PGC_USERSET, PGC_S_SESSION);
    pgstat_report_activity(STATE_IDLE, NULL);
}

bool cloaca_process_goes_on(void)
{
    ResetLatch(MyLatch);
    if (ShutdownRequestPending)
        return false;
    CHECK_FOR_INTERRUPTS();
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
    if (catchupInterruptPending)
        ProcessCatchupInterrupt();
    return true;
}

void cloaca_begin_transaction(void)
{
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
}

void cloaca_sleep_until(TimestampTz until)
{
    TimestampTz now = GetCurrentTimestamp();
    long milliseconds = LONGEST_SLEEP;

    if (until <= now)
        return;
    if (until < now + LONGEST_SLEEP * INT64CONST(1000))
        milliseconds = TimestampDifferenceMilliseconds(now, until);
    (void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (until == DT_NOEND ? 0 : WL_TIMEOUT), milliseconds,
                     PG_WAIT_EXTENSION);
}

/* -------------------------------------------------------------------------------------------------------------------- rounds
 */

/* Each tenant whose turn it is has one. */
static void make_round(void)
{
    TimestampTz now = GetCurrentTimestamp();
    bool all = cloaca_due_begin(now);
    bool has_extension;
    bool is_whole = true;
    List *tenants = find_tenants(&has_extension);
    ListCell *cell;

    if (!has_extension) {
        is_useless = true;
        proc_exit(0);
    }
    foreach (cell, tenants) {
        const Tenant *tenant = lfirst(cell);
        Memory *memory = remember(tenant);
        bool looks;

        is_whole = cloaca_process_goes_on() && !must_leave();
        if (!is_whole)
            break;
        if (cloaca_due_take(tenant->table, now, all, memory->next_look <= now, &looks))
            take_turn(tenant, memory, looks);
    }
    if (all && is_whole)
        forget_others();
    cloaca_due_end(!all ? DT_NOEND : !is_whole ? DT_NOBEGIN : now + cloaca_maintenance_interval * USECS_PER_SEC);
    pgstat_report_stat(true);
    pgstat_report_activity(STATE_IDLE, NULL);
    MemoryContextReset(round_memory);
}

/* Those that are active and up to date. None when the registry is locked: perhaps the extension is being dropped. */
static List *find_tenants(bool *has_extension)
{
    List *tenants = NIL;

    round_number++;
    *has_extension = true;
    MemoryContextSwitchTo(round_memory);
    PG_TRY();
    {
        cloaca_begin_transaction();
        PushActiveSnapshot(GetTransactionSnapshot());
        *has_extension = OidIsValid(get_extension_oid("cloaca", true));
        if (*has_extension)
            tenants = read_tenants();
        PopActiveSnapshot();
        CommitTransactionCommand();
    }
    PG_CATCH();
    {
        ErrorData *error = abort_quietly();

        if (!is_passing(error->sqlerrcode))
            ThrowErrorData(error);
        cloaca_due_note(MyDatabaseId, InvalidOid, GetCurrentTimestamp() + FIRST_RETRY, false);
    }
    PG_END_TRY();
    MemoryContextSwitchTo(round_memory);
    return tenants;
}

/* As the owner of the registry. */
static List *read_tenants(void)
{
    List *tenants = NIL;
    Oid schema = get_namespace_oid("cloaca", false);
    HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
    Guard guard;
    Oid owner;

    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for namespace %u", schema);
    owner = ((const FormData_pg_namespace *) GETSTRUCT(tuple))->nspowner;
    ReleaseSysCache(tuple);
    SPI_connect();
    begin_as(owner, &guard);
    if (SPI_execute("select t.schema_name::name, r.oid, c.oid from cloaca.tenant t"
                    " join pg_roles r on r.rolname = t.owner join pg_namespace n on n.nspname = t.schema_name"
                    " join pg_class c on c.relnamespace = n.oid and c.relname = 'cloaca_task'"
                    " where t.state = 'active' and t.table_version = cloaca.table_version() order by t.schema_name",
                    true, 0) != SPI_OK_SELECT)
        elog(ERROR, "could not read the registry of tenants");
    for (uint64 i = 0; i < SPI_processed; i++) {
        MemoryContext before = MemoryContextSwitchTo(round_memory);
        Tenant *tenant = palloc(sizeof(Tenant));
        HeapTuple row = SPI_tuptable->vals[i];
        bool is_null;

        tenant->schema = *DatumGetName(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &is_null));
        tenant->owner = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &is_null));
        tenant->table = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &is_null));
        tenants = lappend(tenants, tenant);
        MemoryContextSwitchTo(before);
    }
    end_as(&guard);
    SPI_finish();
    return tenants;
}

static Memory *remember(const Tenant *tenant)
{
    bool found;
    Memory *memory = hash_search(memories, &tenant->table, HASH_ENTER, &found);

    if (!found) {
        memory->next_look = DT_NOBEGIN;
        memory->misses = 0;
    }
    memory->round = round_number;
    return memory;
}

static bool is_tenant(Oid table)
{
    const Memory *memory = hash_search(memories, &table, HASH_FIND, NULL);

    return memory && memory->round == round_number;
}

/* Those who are no tenants any longer. */
static void forget_others(void)
{
    HASH_SEQ_STATUS scan;
    Memory *memory;

    cloaca_due_prune(is_tenant);
    hash_seq_init(&scan, memories);
    while ((memory = hash_seq_search(&scan)) != NULL) {
        if (memory->round != round_number)
            hash_search(memories, &memory->table, HASH_REMOVE, NULL);
    }
}

/* --------------------------------------------------------------------------------------------------------------------- turns
 */

/* Does what is due, a batch of it, and finds out when something is due again. */
static void take_turn(const Tenant *tenant, Memory *memory, bool looks)
{
    TimestampTz interval = cloaca_maintenance_interval * USECS_PER_SEC;
    TimestampTz begun = GetCurrentTimestamp();
    TimestampTz now;
    TimestampTz due;
    Turn turn = {0, DT_NOEND, DT_NOEND};
    bool is_fine;

    cloaca_lease_look = (CloacaLeaseLook){.is_needless = !looks, .first_left = DT_NOEND};
    is_fine = maintain(tenant, memory, &turn);
    now = GetCurrentTimestamp();
    if (looks)
        memory->next_look = now + (now - begun) * LOOK_SHARE;
    /* A look that failed is to be made again. */
    turn.lease = Min(turn.lease, !looks    ? cloaca_due_lease(tenant->table)
                                 : is_fine ? cloaca_lease_look.first_left
                                           : DT_NOBEGIN);
    due = Min(turn.due, Max(turn.lease, memory->next_look));
    if (is_fine && (due > now || turn.done > 0)) {
        memory->misses = 0;
    } else {
        TimestampTz pause = FIRST_RETRY << Min(memory->misses, LASTING);

        due = now + Min(pause, interval);
        memory->misses++;
    }
    cloaca_due_settle(tenant->table, due, turn.lease);
}

/* In a transaction of its own. False when it failed; why is in the log, unless it is somebody else's lock, or happened for the
 * first time to tables that may be about to go. */
static bool maintain(const Tenant *tenant, Memory *memory, Turn *turn)
{
    volatile bool is_done = false;
    Guard guard;

    PG_TRY();
    {
        cloaca_begin_transaction();
        PushActiveSnapshot(GetTransactionSnapshot());
        pgstat_report_activity(STATE_RUNNING, psprintf("maintenance of tenant \"%s\"", NameStr(tenant->schema)));
        call_maintenance(tenant, turn, &guard);
        PopActiveSnapshot();
        /* What is left to the commit is done as the owner, too. */
        CommitTransactionCommand();
        SetUserIdAndSecContext(guard.role, guard.context);
        is_done = true;
    }
    PG_CATCH();
    {
        ErrorData *error = abort_quietly();
        bool may_be_gone = error->sqlerrcode == ERRCODE_UNDEFINED_TABLE || error->sqlerrcode == ERRCODE_INVALID_SCHEMA_NAME;

        if (!is_passing(error->sqlerrcode) && (memory->misses > 0 || !may_be_gone)) {
            ereport(LOG, (errmsg("maintenance of tenant \"%s\" failed: %s", NameStr(tenant->schema), error->message),
                          error->context ? errcontext("%s", error->context) : 0));
            memory->misses = LASTING;
        }
    }
    PG_END_TRY();
    MemoryContextSwitchTo(round_memory);
    return is_done;
}

/* Leaves the rights of the tenant's owner in place. */
static void call_maintenance(const Tenant *tenant, Turn *turn, Guard *guard)
{
    Oid types[] = {NAMEOID, INT4OID};
    Datum values[] = {NameGetDatum(&tenant->schema), Int32GetDatum(BATCH)};
    bool is_null;

    SPI_connect();
    begin_as(tenant->owner, guard);
    if (SPI_execute_with_args("select coalesce(sum(v.value::bigint), 0)::bigint from jsonb_each_text(to_jsonb("
                              "cloaca.maintain_tenant($1::text, $2, cloaca.now()))) v",
                              2, types, values, NULL, false, 0) != SPI_OK_SELECT ||
        SPI_processed != 1)
        elog(ERROR, "unexpected answer of maintain_tenant");
    turn->done = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
    if (SPI_execute_with_args("select d.due, d.lease from cloaca.next_due($1::text, cloaca.now()) d", 1, types, values, NULL,
                              false, 0) != SPI_OK_SELECT ||
        SPI_processed != 1)
        elog(ERROR, "unexpected answer of next_due");
    turn->due = column_time(1);
    turn->lease = column_time(2);
    SPI_finish();
    AtEOXact_GUC(false, guard->nesting);
}

/* Of the one row; null is never. */
static TimestampTz column_time(int column)
{
    bool is_null;
    Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null);

    return is_null ? DT_NOEND : DatumGetTimestampTz(value);
}

/* As VACUUM does: what runs now can neither get back to our rights nor leave anything behind. An error ends it, too. */
static void begin_as(Oid role, Guard *guard)
{
    GetUserIdAndSecContext(&guard->role, &guard->context);
    SetUserIdAndSecContext(role, guard->context | SECURITY_RESTRICTED_OPERATION);
    guard->nesting = NewGUCNestLevel();
}

static void end_as(const Guard *guard)
{
    AtEOXact_GUC(false, guard->nesting);
    SetUserIdAndSecContext(guard->role, guard->context);
}

/* Ends the transaction of an error that was caught; the error, for this round. */
static ErrorData *abort_quietly(void)
{
    ErrorData *error;

    HOLD_INTERRUPTS();
    MemoryContextSwitchTo(round_memory);
    error = CopyErrorData();
    FlushErrorState();
    AbortCurrentTransaction();
    MemoryContextSwitchTo(round_memory);
    RESUME_INTERRUPTS();
    return error;
}

/* Somebody else was at it. */
static bool is_passing(int sqlstate)
{
    return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE || sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE ||
           sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED;
}
