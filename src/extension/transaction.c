/*
 * transaction.c - what is to happen when the transaction ends
 *
 * A task that becomes claimable does so for others when its transaction commits; one that was claimed, when it aborts. Only
 * then may cursors be lowered and sleepers be woken. Notes of both are kept with the transaction that made them, and with the
 * subtransaction. COMMIT PREPARED and ROLLBACK PREPARED call nobody back, so they reset the cursors of the database.
 *
 * A transaction that wrote nothing but claims need not wait for the disk: should a crash lose it, the tasks are simply
 * claimable again. That is decided just before it commits, when nothing more can be written: no transaction id before the first
 * claim, and not a byte in the WAL by this backend before, between and after the claims.
 *
 * Runs in the backend of the caller; the callbacks take no lock but those of cursors and sleepers.
 */
#include "extension.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker.h"

PG_FUNCTION_INFO_V1(cloaca_refuse_transaction);
PG_FUNCTION_INFO_V1(cloaca_note_ready);

typedef enum NoteKind {
    NOTE_READY,
    NOTE_DUE,
    NOTE_CLAIMED,
    NOTE_ENDED,
    NOTE_EXECUTION,
    NOTE_MAINTENANCE, /* run_at: when it is due; hash: because a lease ends */
    NOTE_CLOSED       /* a database that no worker may be in, until the transaction ends */
} NoteKind;

typedef struct Note {
    NoteKind kind;
    int nesting; /* of the subtransaction that made it */
    CloacaQueue queue;
    int16 priority;
    CloacaKey first;  /* NOTE_ENDED: its id is the lease; NOTE_EXECUTION: the execution */
    CloacaKey resume; /* what this transaction's own claims have not passed */
    int64 count;
} Note;

/* How far back an equal note is looked for. */
#define NEAR_NOTES 8

static Note *notes; /* in the memory of the transaction */
static int note_count;
static int note_limit;

/* Whether the transaction wrote nothing but claims until claims_end. */
static bool has_claims;
static bool has_only_claims;
static XLogRecPtr claims_end;
static int kept_synchronous_commit = -1;

static ProcessUtility_hook_type next_utility_hook;

static void add_note(NoteKind kind, const CloacaQueue *queue, int16 priority, CloacaKey first, int64 count);
static void add_nested(Note added);
static bool makes_claimable(const Note *note, const CloacaQueue *queue, int16 priority);
static void on_transaction(XactEvent event, void *argument);
static void on_subtransaction(SubXactEvent event, SubTransactionId own, SubTransactionId parent, void *argument);
static void decide_commit(void);
static void keep_promises(bool is_commit);
static void keep_promise(const Note *note, bool is_commit);
static void open_databases(void);
static void forget_transaction(void);
static void on_utility(PlannedStmt *statement, const char *text, bool read_only, ProcessUtilityContext context,
                       ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
                       QueryCompletion *completion);

Datum cloaca_refuse_transaction(PG_FUNCTION_ARGS)
{
    if (IsTransactionBlock())
        cloaca_raise(CLOACA_IN_TRANSACTION, "The procedure commits as it goes.", "Call it outside of BEGIN and COMMIT.");
    PG_RETURN_VOID();
}

/* note_ready(tenant, queue, priority, run_at, task, count): the same for the SQL path. Without a priority: look at the queue.
 */
Datum cloaca_note_ready(PG_FUNCTION_ARGS)
{
    CloacaQueue queue;

    if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || !cloaca_named_queue(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1), &queue))
        PG_RETURN_VOID();
    if (PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(4) || PG_ARGISNULL(5))
        add_note(NOTE_DUE, &queue, 0, (CloacaKey){PG_INT64_MIN, 0}, 0);
    else
        cloaca_note_tasks(&queue, PG_GETARG_INT16(2), (CloacaKey){PG_GETARG_TIMESTAMPTZ(3), PG_GETARG_INT64(4)},
                          PG_GETARG_INT64(5), cloaca_now());
    PG_RETURN_VOID();
}

bool cloaca_named_queue(text *schema, text *name, CloacaQueue *queue)
{
    Oid namespace = get_namespace_oid(text_to_cstring(schema), true);
    Oid table = InvalidOid;

    if (OidIsValid(namespace) && compat_schema_aclcheck(namespace, GetUserId(), ACL_USAGE) == ACLCHECK_OK)
        table = get_relname_relid("cloaca_task", namespace);
    *queue = cloaca_queue(table, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
    return OidIsValid(table);
}

void cloaca_register_callbacks(void)
{
    RegisterXactCallback(on_transaction, NULL);
    RegisterSubXactCallback(on_subtransaction, NULL);
    next_utility_hook = ProcessUtility_hook;
    ProcessUtility_hook = on_utility;
}

void cloaca_note_tasks(const CloacaQueue *queue, int16 priority, CloacaKey first, int64 count, TimestampTz now)
{
    add_note(first.run_at <= now ? NOTE_READY : NOTE_DUE, queue, priority, first, count);
}

void cloaca_note_claimed(const CloacaQueue *queue, int16 priority, CloacaKey key)
{
    add_note(NOTE_CLAIMED, queue, priority, key, 1);
}

void cloaca_note_ended(int64 lease_id)
{
    static const CloacaQueue none = {0};

    add_note(NOTE_ENDED, &none, 0, (CloacaKey){0, lease_id}, 1);
}

void cloaca_note_execution_end(Oid schema, int64 execution)
{
    CloacaQueue queue = cloaca_execution_queue(schema, execution);

    add_note(NOTE_EXECUTION, &queue, 0, (CloacaKey){0, execution}, 1);
}

void cloaca_note_due(Oid database, Oid table, TimestampTz at, bool is_lease)
{
    CloacaQueue tenant = {database, table, is_lease};

    add_note(NOTE_MAINTENANCE, &tenant, 0, (CloacaKey){at, 0}, 1);
}

void cloaca_note_closed(Oid database)
{
    CloacaQueue queue = {database, InvalidOid, 0};

    add_note(NOTE_CLOSED, &queue, 0, CLOACA_FIRST_KEY, 1);
    cloaca_due_close(database);
}

CloacaKey cloaca_noted_start(const CloacaQueue *queue, int16 priority, CloacaKey start)
{
    for (int i = 0; i < note_count; i++) {
        const Note *note = &notes[i];

        if (makes_claimable(note, queue, priority) && cloaca_key_less(note->resume, start))
            start = note->resume;
    }
    return start;
}

void cloaca_noted_passed(const CloacaQueue *queue, int16 priority, CloacaKey to)
{
    for (int i = 0; i < note_count; i++) {
        if (makes_claimable(&notes[i], queue, priority) && cloaca_key_less(notes[i].resume, to))
            notes[i].resume = to;
    }
}

static bool makes_claimable(const Note *note, const CloacaQueue *queue, int16 priority)
{
    return (note->kind == NOTE_READY || note->kind == NOTE_DUE) && note->priority == priority &&
           note->queue.hash == queue->hash && note->queue.table == queue->table;
}

void cloaca_claim_begins(void)
{
    if (!has_claims)
        has_only_claims = !TransactionIdIsValid(GetTopTransactionIdIfAny()) && XactLastRecEnd == InvalidXLogRecPtr;
    else if (XactLastRecEnd != claims_end)
        has_only_claims = false;
    has_claims = true;
    claims_end = XactLastRecEnd;
}

void cloaca_claim_ends(void)
{
    claims_end = XactLastRecEnd;
}

/* Adds a note, or widens a near one of the same kind and level. */
static void add_note(NoteKind kind, const CloacaQueue *queue, int16 priority, CloacaKey first, int64 count)
{
    add_nested((Note){kind, GetCurrentTransactionNestLevel(), *queue, priority, first, first, count});
}

static void add_nested(Note added)
{
    bool is_single = added.kind == NOTE_ENDED || added.kind == NOTE_CLOSED;

    for (int i = note_count - 1; !is_single && i >= Max(0, note_count - NEAR_NOTES); i--) {
        Note *note = &notes[i];

        if (note->kind == added.kind && note->nesting == added.nesting && note->priority == added.priority &&
            note->queue.hash == added.queue.hash && note->queue.table == added.queue.table &&
            note->queue.database == added.queue.database) {
            note->count += added.count;
            if (cloaca_key_less(added.first, note->first))
                note->first = added.first;
            if (cloaca_key_less(added.resume, note->resume))
                note->resume = added.resume;
            return;
        }
    }
    if (notes == NULL) {
        note_limit = 16;
        notes = MemoryContextAlloc(TopTransactionContext, note_limit * sizeof(Note));
    } else if (note_count == note_limit) {
        notes = repalloc_huge(notes, (Size) note_limit * 2 * sizeof(Note));
        note_limit *= 2;
    }
    notes[note_count++] = added;
}

static void on_transaction(XactEvent event, void *argument)
{
    switch (event) {
    case XACT_EVENT_PRE_COMMIT:
        cloaca_advance_ended();
        decide_commit();
        break;
    case XACT_EVENT_PRE_PREPARE:
        cloaca_advance_ended();
        break;
    case XACT_EVENT_COMMIT:
        keep_promises(true);
        forget_transaction();
        break;
    case XACT_EVENT_ABORT:
        keep_promises(false);
        forget_transaction();
        break;
    case XACT_EVENT_PREPARE:
        open_databases();
        forget_transaction();
        break;
    default:
        break;
    }
}

/* The notes of a subtransaction go to its parent, or count now when it aborts. */
static void on_subtransaction(SubXactEvent event, SubTransactionId own, SubTransactionId parent, void *argument)
{
    int nesting = GetCurrentTransactionNestLevel();
    int end = note_count;
    int first = end;

    if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
        return;
    if (event == SUBXACT_EVENT_ABORT_SUB)
        cloaca_forget_ended(nesting);
    else
        cloaca_keep_ended(nesting);
    /* Its notes are the last ones. */
    while (first > 0 && notes[first - 1].nesting >= nesting)
        first--;
    note_count = first;
    for (int i = first; i < end; i++) {
        Note note = notes[i];

        note.nesting = nesting - 1;
        if (event == SUBXACT_EVENT_ABORT_SUB)
            keep_promise(&note, false);
        else
            add_nested(note);
    }
}

static void decide_commit(void)
{
    if (has_claims && has_only_claims && cloaca_asynchronous_claims && claims_end != InvalidXLogRecPtr &&
        XactLastRecEnd == claims_end && synchronous_commit > SYNCHRONOUS_COMMIT_OFF) {
        kept_synchronous_commit = synchronous_commit;
        synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
    }
}

static void keep_promises(bool is_commit)
{
    for (int i = 0; i < note_count; i++)
        keep_promise(&notes[i], is_commit);
}

static void keep_promise(const Note *note, bool is_commit)
{
    if (note->kind == NOTE_CLOSED) {
        cloaca_due_open(note->queue.database);
        return;
    }
    if (note->kind == NOTE_MAINTENANCE) {
        if (is_commit)
            cloaca_due_note(note->queue.database, note->queue.table, note->first.run_at, note->queue.hash != 0);
        return;
    }
    if (note->kind == NOTE_ENDED) {
        if (is_commit)
            cloaca_unbind_lease(note->first.id);
        return;
    }
    if (note->kind == NOTE_EXECUTION) {
        if (is_commit)
            cloaca_wake(&note->queue, PG_INT32_MAX);
        return;
    }
    /* A task that was claimed is ready again when that aborts; everything else happens only when it commits. */
    if (is_commit == (note->kind == NOTE_CLAIMED))
        return;
    if (note->count > 0)
        cloaca_cursor_lower(&note->queue, note->priority, note->first);
    if (note->kind == NOTE_DUE)
        cloaca_wake_at(&note->queue, note->first.run_at);
    else
        cloaca_wake(&note->queue, note->count);
}

/* Nobody says when a prepared transaction ends. */
static void open_databases(void)
{
    for (int i = 0; i < note_count; i++) {
        if (notes[i].kind == NOTE_CLOSED)
            cloaca_due_open(notes[i].queue.database);
    }
}

static void forget_transaction(void)
{
    cloaca_forget_ended(0);
    notes = NULL;
    note_count = note_limit = 0;
    has_claims = has_only_claims = false;
    claims_end = InvalidXLogRecPtr;
    if (kept_synchronous_commit >= 0) {
        synchronous_commit = kept_synchronous_commit;
        kept_synchronous_commit = -1;
    }
}

static void on_utility(PlannedStmt *statement, const char *text, bool read_only, ProcessUtilityContext context,
                       ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
                       QueryCompletion *completion)
{
    const TransactionStmt *transaction =
        IsA(statement->utilityStmt, TransactionStmt) ? (const TransactionStmt *) statement->utilityStmt : NULL;
    bool ends_prepared =
        transaction && (transaction->kind == TRANS_STMT_COMMIT_PREPARED || transaction->kind == TRANS_STMT_ROLLBACK_PREPARED);

    cloaca_before_command(statement->utilityStmt);
    if (next_utility_hook)
        next_utility_hook(statement, text, read_only, context, parameters, environment, destination, completion);
    else
        standard_ProcessUtility(statement, text, read_only, context, parameters, environment, destination, completion);
    if (ends_prepared) {
        cloaca_cursor_reset();
        cloaca_wake_all();
        cloaca_due_note(MyDatabaseId, InvalidOid, DT_NOBEGIN, false);
    }
    cloaca_after_command(statement->utilityStmt);
}
