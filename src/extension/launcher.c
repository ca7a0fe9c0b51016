/*
 * launcher.c - the process that starts a worker in each database that has the extension, and what commands on databases mean
 * for workers
 *
 * The launcher is there from the start of the server on (on a standby: from its promotion on), with shared_preload_libraries =
 * 'cloaca'. It is in no database, and sleeps until a commit notes something in a database without a worker. Which databases
 * have the extension it learns from workers: at the start it lets one look into each database, and one that finds no extension
 * leaves again. Later CREATE EXTENSION and CREATE DATABASE tell it. Databases that are templates or allow no connections have
 * no worker.
 *
 * Several commands want nobody else in a database: DROP DATABASE, CREATE DATABASE ... TEMPLATE, ALTER DATABASE ... RENAME and
 * SET TABLESPACE. They make its worker leave, and keep others out until their transaction ends.
 *
 * Locks: that of due.c, for moments; pg_database ACCESS SHARE.
 */
#include "due.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "worker.h"

/* After how long another worker is tried where one could not start, or ended with an error. */
#define RETRY (10 * USECS_PER_SEC)
/* How long a command waits for the worker of a database to leave, in milliseconds. Then the command itself waits, or fails. */
#define LONGEST_LEAVE 5000
/* How datconnlimit marks a database whose DROP DATABASE was interrupted. */
#define INVALID_DATABASE (-2)

static BackgroundWorkerHandle *started[CLOACA_MOST_DATABASES]; /* workers that have not arrived yet, by their places */

static void note_databases(void);
static List *find_databases(void);
static bool can_have_worker(Oid database);
static TimestampTz start_workers(void);
static void watch_started(void);
static void start_worker(int place, Oid database);
static void note_database(Oid database);
static Oid vacated_database(Node *statement);
static const char *named_option(List *options, const char *name);

/* ----------------------------------------------------------------------------------------------------------------- processes
 */

void cloaca_register_launcher(void)
{
    BackgroundWorker worker = {
        .bgw_name = "cloaca launcher",
        .bgw_type = "cloaca launcher",
        .bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
        .bgw_start_time = BgWorkerStart_RecoveryFinished,
        .bgw_restart_time = 1,
        .bgw_library_name = "cloaca",
        .bgw_function_name = "cloaca_launcher_main",
    };

    if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade)
        RegisterBackgroundWorker(&worker);
}

void cloaca_launcher_main(Datum argument)
{
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(NULL, NULL, 0);
    cloaca_name_process("cloaca launcher");
    cloaca_due_launch(MyLatch);
    note_databases();
    /* Ended with an error it is started again, unless the server stops. */
    while (cloaca_process_goes_on()) {
        cloaca_sleep_until(start_workers());
    }
    proc_exit(1);
}

static void note_databases(void)
{
    List *databases = find_databases();
    ListCell *cell;

    foreach (cell, databases)
        cloaca_due_note(lfirst_oid(cell), InvalidOid, DT_NOBEGIN, false);
    list_free(databases);
}

/* Those that can have a worker. */
static List *find_databases(void)
{
    MemoryContext caller = CurrentMemoryContext;
    List *databases = NIL;
    Relation catalogue;
    TableScanDesc scan;
    HeapTuple tuple;

    cloaca_begin_transaction();
    (void) GetTransactionSnapshot();
    catalogue = table_open(DatabaseRelationId, AccessShareLock);
    scan = table_beginscan_catalog(catalogue, 0, NULL);
    while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL) {
        const FormData_pg_database *form = (const FormData_pg_database *) GETSTRUCT(tuple);

        if (form->datallowconn && !form->datistemplate && form->datconnlimit != INVALID_DATABASE) {
            MemoryContext transaction = MemoryContextSwitchTo(caller);

            databases = lappend_oid(databases, form->oid);
            MemoryContextSwitchTo(transaction);
        }
    }
    table_endscan(scan);
    table_close(catalogue, AccessShareLock);
    CommitTransactionCommand();
    MemoryContextSwitchTo(caller);
    return databases;
}

static bool can_have_worker(Oid database)
{
    List *databases = find_databases();
    bool is_there = list_member_oid(databases, database);

    list_free(databases);
    return is_there;
}

/* Starts those that are needed. Says when to look again. */
static TimestampTz start_workers(void)
{
    TimestampTz next;
    Oid database;
    int place;

    watch_started();
    if (!cloaca_background_worker)
        return DT_NOEND;
    while ((place = cloaca_due_pick(cloaca_max_workers, &database, &next)) >= 0)
        start_worker(place, database);
    return next;
}

/* A worker that ended before it arrived. */
static void watch_started(void)
{
    for (int i = 0; i < CLOACA_MOST_DATABASES; i++) {
        pid_t pid;

        if (started[i] == NULL)
            continue;
        if (!cloaca_due_is_starting(i)) {
            pfree(started[i]);
            started[i] = NULL;
        } else if (GetBackgroundWorkerPid(started[i], &pid) == BGWH_STOPPED) {
            cloaca_due_failed(i, GetCurrentTimestamp() + RETRY);
            pfree(started[i]);
            started[i] = NULL;
        }
    }
}

static void start_worker(int place, Oid database)
{
    static bool is_reported = false;
    BackgroundWorker worker = {
        .bgw_name = "cloaca worker",
        .bgw_type = "cloaca worker",
        .bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
        .bgw_start_time = BgWorkerStart_RecoveryFinished,
        .bgw_restart_time = BGW_NEVER_RESTART,
        .bgw_library_name = "cloaca",
        .bgw_function_name = "cloaca_worker_main",
        .bgw_main_arg = ObjectIdGetDatum(database),
        .bgw_notify_pid = MyProcPid,
    };

    if (!can_have_worker(database)) {
        cloaca_due_remove(place);
        return;
    }
    if (started[place])
        pfree(started[place]);
    started[place] = NULL;
    if (RegisterDynamicBackgroundWorker(&worker, &started[place])) {
        is_reported = false;
        return;
    }
    started[place] = NULL;
    cloaca_due_failed(place, GetCurrentTimestamp() + RETRY);
    if (!is_reported)
        ereport(LOG, (errmsg("cloaca cannot start a worker: there is no free background worker slot"),
                      errhint("Increase max_worker_processes. Until then workers are tried for again every 10 seconds.")));
    is_reported = true;
}

/* ------------------------------------------------------------------------------------------------------------------ commands
 */

void cloaca_before_command(Node *statement)
{
    Oid database = vacated_database(statement);

    if (!OidIsValid(database))
        return;
    cloaca_note_closed(database);
    /* DROP DATABASE ... WITH (FORCE) would not wait, and its user perhaps may not end a superuser's session. */
    for (int i = 0; i < LONGEST_LEAVE && !cloaca_due_is_closed(database); i++) {
        CHECK_FOR_INTERRUPTS();
        pg_usleep(1000);
    }
}

void cloaca_after_command(Node *statement)
{
    const char *name = NULL;

    if (IsA(statement, CreatedbStmt))
        name = ((CreatedbStmt *) statement)->dbname;
    else if (IsA(statement, AlterDatabaseStmt))
        name = ((AlterDatabaseStmt *) statement)->dbname;
    if (name) {
        CommandCounterIncrement();
        note_database(get_database_oid(name, true));
    } else if ((IsA(statement, DropStmt) && ((DropStmt *) statement)->removeType == OBJECT_EXTENSION) ||
               ((IsA(statement, CreateExtensionStmt) || IsA(statement, AlterExtensionStmt)) &&
                OidIsValid(get_extension_oid("cloaca", true)))) {
        note_database(MyDatabaseId);
    }
}

/* A worker is to look at it once this commits. */
static void note_database(Oid database)
{
    if (OidIsValid(database))
        cloaca_note_due(database, InvalidOid, DT_NOBEGIN, false);
}

/* The database that nobody else may be in. Those who may not give the command only make its worker come anew. */
static Oid vacated_database(Node *statement)
{
    const char *name = NULL;

    if (IsA(statement, DropdbStmt))
        name = ((DropdbStmt *) statement)->dbname;
    else if (IsA(statement, CreatedbStmt))
        name = named_option(((CreatedbStmt *) statement)->options, "template");
    else if (IsA(statement, RenameStmt) && ((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
        name = ((RenameStmt *) statement)->subname;
    else if (IsA(statement, AlterDatabaseStmt) && named_option(((AlterDatabaseStmt *) statement)->options, "tablespace"))
        name = ((AlterDatabaseStmt *) statement)->dbname;
    return name ? get_database_oid(name, true) : InvalidOid;
}

static const char *named_option(List *options, const char *name)
{
    ListCell *cell;

    foreach (cell, options) {
        DefElem *option = lfirst_node(DefElem, cell);

        if (strcmp(option->defname, name) == 0 && option->arg)
            return defGetString(option);
    }
    return NULL;
}
