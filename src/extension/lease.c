/*
 * lease.c - leases that end with the session that claimed the tasks (cloaca.bind_leases)
 *
 * The session remembers its leases. When it ends, in whatever way short of a crash, it ends them as if their time had come, and
 * wakes who waits: one transaction a tenant, which waits for nobody and not for the disk. Whatever stands in its way is a line
 * in the log, and the lease runs out later.
 *
 * Runs in the backend that claimed; the end as the first thing of its exit, before anything else is torn down.
 */
#include "extension.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "worker.h"

PG_FUNCTION_INFO_V1(cloaca_note_claimed_call);

/* How long the end of a session may take at most because of us, and how long it waits for a lock, in milliseconds. */
#define LONGEST_END 1000
#define LONGEST_LOCK_WAIT "100ms"

typedef struct BoundLease {
    int64 lease_id;
    int64 task;
    TimestampTz lease_until;
    NameData schema;
} BoundLease;

/* Some leases of one tenant, as arguments. */
typedef struct Batch {
    NameData schema;
    int count;
    Datum *tasks;
    Datum *lease_ids;
} Batch;

static HTAB *bound;
static long prune_at = 1024;

static void make_table(void);
static void prune(void);
static void end_leases(int code, Datum argument);
static void prepare_session(void);
static bool next_batch(Batch *batch);
static void end_quietly(const Batch *batch);
static void set_exiting(bool is_exiting);
static void end_batch(const Batch *batch);
static Oid table_of(const char *schema);

/* note_claimed(tenant, queue, priority, run_at, task, lease_id, lease_until): what the direct path does itself. */
Datum cloaca_note_claimed_call(PG_FUNCTION_ARGS)
{
    CloacaQueue queue;

    for (int i = 0; i < PG_NARGS(); i++) {
        if (PG_ARGISNULL(i))
            PG_RETURN_VOID();
    }
    if (cloaca_named_queue(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1), &queue)) {
        cloaca_note_due(queue.database, queue.table, PG_GETARG_TIMESTAMPTZ(6), true);
        cloaca_note_claimed(&queue, PG_GETARG_INT16(2), (CloacaKey){PG_GETARG_TIMESTAMPTZ(3), PG_GETARG_INT64(4)});
        if (cloaca_bind_leases)
            cloaca_bind_lease(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT64(4), PG_GETARG_INT64(5),
                              PG_GETARG_TIMESTAMPTZ(6));
    }
    PG_RETURN_VOID();
}

void cloaca_bind_lease(const char *schema_name, int64 task, int64 lease_id, TimestampTz lease_until)
{
    BoundLease *lease;

    if (bound == NULL)
        make_table();
    if (hash_get_num_entries(bound) >= prune_at)
        prune();
    lease = hash_search(bound, &lease_id, HASH_ENTER, NULL);
    lease->task = task;
    lease->lease_until = lease_until;
    namestrcpy(&lease->schema, schema_name);
}

void cloaca_prolong_bound_lease(int64 lease_id, TimestampTz lease_until)
{
    BoundLease *lease = bound ? hash_search(bound, &lease_id, HASH_FIND, NULL) : NULL;

    if (lease)
        lease->lease_until = lease_until;
}

void cloaca_unbind_lease(int64 lease_id)
{
    if (bound)
        hash_search(bound, &lease_id, HASH_REMOVE, NULL);
}

static void make_table(void)
{
    HASHCTL control = {.keysize = sizeof(int64), .entrysize = sizeof(BoundLease), .hcxt = TopMemoryContext};
    HTAB *table = hash_create("cloaca leases", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

    before_shmem_exit(end_leases, (Datum) 0);
    bound = table;
}

/* Forgets the leases that are over; those that were lost to others, or never committed, are among them some time. */
static void prune(void)
{
    TimestampTz now = cloaca_now();
    HASH_SEQ_STATUS scan;
    BoundLease *lease;

    hash_seq_init(&scan, bound);
    while ((lease = hash_seq_search(&scan)) != NULL) {
        if (lease->lease_until <= now)
            hash_search(bound, &lease->lease_id, HASH_REMOVE, NULL);
    }
    prune_at = Max(1024, hash_get_num_entries(bound) * 2);
}

/* ------------------------------------------------------------------------------------------------------------ end of session
 */

static void end_leases(int code, Datum argument)
{
    Batch batch;

    if (hash_get_num_entries(bound) == 0 || (IsUnderPostmaster && !PostmasterIsAlive()) || RecoveryInProgress())
        return;
    AbortOutOfAnyTransaction();
    prepare_session();
    while (next_batch(&batch) && get_timeout_active(STATEMENT_TIMEOUT))
        end_quietly(&batch);
    disable_all_timeouts(false);
}

/* Nobody listens any more; nothing may make the exit wait. */
static void prepare_session(void)
{
    static const char *const settings[][2] = {
        {"search_path", "pg_catalog, pg_temp"},   {"default_transaction_isolation", "read committed"},
        {"default_transaction_read_only", "off"}, {"synchronous_commit", "off"},
        {"lock_timeout", LONGEST_LOCK_WAIT},
    };

    disable_all_timeouts(false);
    whereToSendOutput = DestNone;
    for (size_t i = 0; i < lengthof(settings); i++)
        SetConfigOption(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION);
    QueryCancelHoldoffCount = 0;
    ClientConnectionLost = false;
    enable_timeout_after(STATEMENT_TIMEOUT, LONGEST_END);
}

/* Takes all leases of one tenant; false when none are left. */
static bool next_batch(Batch *batch)
{
    int most = (int) hash_get_num_entries(bound);
    HASH_SEQ_STATUS scan;
    BoundLease *lease;

    if (most == 0)
        return false;
    batch->count = 0;
    batch->tasks = MemoryContextAllocHuge(TopMemoryContext, most * sizeof(Datum));
    batch->lease_ids = MemoryContextAllocHuge(TopMemoryContext, most * sizeof(Datum));
    hash_seq_init(&scan, bound);
    while ((lease = hash_seq_search(&scan)) != NULL) {
        if (batch->count == 0)
            batch->schema = lease->schema;
        if (strcmp(NameStr(batch->schema), NameStr(lease->schema)) != 0)
            continue;
        batch->tasks[batch->count] = Int64GetDatum(lease->task);
        batch->lease_ids[batch->count++] = Int64GetDatum(lease->lease_id);
        hash_search(bound, &lease->lease_id, HASH_REMOVE, NULL);
    }
    return true;
}

/*
 * In a transaction of its own; an error is a line in the log. While a process exits any error would end it on the spot, and no
 * timeout or cancel would count. But this is the beginning, and everything that a transaction needs is still there: so for as
 * long as it takes, the process does not exit.
 */
static void end_quietly(const Batch *batch)
{
    PG_TRY();
    {
        set_exiting(false);
        StartTransactionCommand();
        if (OidIsValid(table_of(NameStr(batch->schema))))
            end_batch(batch);
        CommitTransactionCommand();
        set_exiting(true);
    }
    PG_CATCH();
    {
        ErrorData *error;

        set_exiting(true);
        MemoryContextSwitchTo(TopMemoryContext);
        error = CopyErrorData();
        FlushErrorState();
        AbortOutOfAnyTransaction();
        ereport(LOG, (errmsg("leases of tenant \"%s\" do not end with the session, but when they run out: %s",
                             NameStr(batch->schema), error->message)));
    }
    PG_END_TRY();
}

/* As proc_exit does at its beginning, or back. */
static void set_exiting(bool is_exiting)
{
    proc_exit_inprogress = is_exiting;
    InterruptHoldoffCount = is_exiting ? 1 : 0;
    if (is_exiting)
        InterruptPending = QueryCancelPending = ProcDiePending = false;
}

/* Tasks that somebody else has locked are no longer ours. */
static void end_batch(const Batch *batch)
{
    const char *schema = quote_identifier(NameStr(batch->schema));
    char *query =
        psprintf("with held as materialized ("
                 "select t.id from %s.cloaca_task t where t.id = any ($1) and t.lease_id = any ($2) "
                 "and t.lease_until > $3 for update skip locked), "
                 "ended as (update %s.cloaca_task t set lease_until = $3 where t.id = any (array(select h.id from held h)) "
                 "returning t.queue, t.priority, t.run_at, t.id, t.cancelled or t.attempt >= t.max_attempts as is_last) "
                 "select cloaca.note_ready($4, e.queue, e.priority, e.run_at, e.id, 1) from ended e where not e.is_last",
                 schema, schema);
    Oid types[] = {INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID, TEXTOID};
    Datum values[4];

    values[0] = PointerGetDatum(construct_array(batch->tasks, batch->count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
    values[1] = PointerGetDatum(construct_array(batch->lease_ids, batch->count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
    values[2] = TimestampTzGetDatum(cloaca_now());
    values[3] = CStringGetTextDatum(NameStr(batch->schema));
    PushActiveSnapshot(GetTransactionSnapshot());
    SPI_connect();
    if (SPI_execute_with_args(query, 4, types, values, NULL, false, 0) != SPI_OK_SELECT)
        elog(ERROR, "could not end leases");
    cloaca_note_due(MyDatabaseId, table_of(NameStr(batch->schema)), DatumGetTimestampTz(values[2]), true);
    SPI_finish();
    PopActiveSnapshot();
}

/* The tenant's table of tasks; none when it was dropped. */
static Oid table_of(const char *schema)
{
    Oid namespace = get_namespace_oid(schema, true);

    return OidIsValid(namespace) ? get_relname_relid("cloaca_task", namespace) : InvalidOid;
}
