/*
 * backend_sqlite.c - runs the functions on SQLite: the connection, its settings and its tables
 *
 * A function is a list of statements (sqlite_statements.c). They run in one transaction, which takes the write lock at once
 * when one of them writes, or in a savepoint inside the caller's transaction. The loadable module compiles this backend again,
 * against the SQLite that loads it, and keeps no statement: a host could not close its connection else.
 *
 * Processes and locks: SQLite's own. Only one connection writes at a time; the others wait for the busy timeout.
 */
#define _DEFAULT_SOURCE /* strcasecmp, clock_gettime */
#include "backend_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* The version of the tables that this library makes and knows. */
#define TABLE_VERSION 1

/* What a connection keeps of its memory between calls. */
#define KEPT_MEMORY ((size_t) 1 << 20)

static const clo_backend backend;

static bool statement_writes(sqlite_connection *self);
static cloaca_status new_connection(sqlite_connection **made, cloaca_error *error);
static int wait_for_lock(void *self, int count);
static int is_over(void *self);
static cloaca_status configure(sqlite_connection *self, const clo_url *url, cloaca_error *error);
static int set_journal_mode(sqlite_connection *self, const char *mode, bool demanded);
static bool in_wal_mode(sqlite_connection *self);
static cloaca_status open_watcher(sqlite_connection *self, const char *file, cloaca **watcher, cloaca_error *error);
static const char *option(const clo_url *url, const char *name, const char *otherwise);
static cloaca_status ensure_tables(sqlite_connection *self, cloaca_error *error);
static cloaca_status find_tables(sqlite_connection *self, bool *found, cloaca_error *error);
static cloaca_status make_tables(sqlite_connection *self, cloaca_error *error);
static cloaca_status check_version(sqlite_connection *self, cloaca_error *error);

cloaca_status clo_sqlite_open(const clo_url *url, const clo_guard *guard, cloaca **made, cloaca_error *error)
{
    const char *mode = option(url, "mode", "rwc");
    const int flags = strcmp(mode, "ro") == 0   ? SQLITE_OPEN_READONLY
                      : strcmp(mode, "rw") == 0 ? SQLITE_OPEN_READWRITE
                                                : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    sqlite_connection *self;
    cloaca_status status = new_connection(&self, error);
    int code;

    if (status != CLOACA_OK) {
        return status;
    }
    self->base.guard = guard;
    code = sqlite3_open_v2(url->location, &self->database, flags | SQLITE_OPEN_NOMUTEX, NULL);
    code = code == SQLITE_OK ? clo_sqlite_functions(self->database) : code;
    if (code != SQLITE_OK) {
        status = self->database == NULL ? clo_no_memory(error) : clo_sqlite_fail(self, code, error);
    } else {
        status = configure(self, url, error);
    }
    if (status != CLOACA_OK) {
        cloaca_close(&self->base);
        return status;
    }
    self->cache = true;
    *made = &self->base;
    return CLOACA_OK;
}

/* Changes no setting of the handle, but adds a few functions to it. `cache` says whether statements may stay prepared between
 * calls. */
cloaca_status clo_sqlite_attach(void *handle, bool cache, cloaca **made, cloaca_error *error)
{
    sqlite_connection *self;
    cloaca_status status = new_connection(&self, error);

    if (status != CLOACA_OK) {
        return status;
    }
    self->database = handle;
    self->base.borrowed = true;
    self->cache = cache;
    if (clo_sqlite_functions(handle) != SQLITE_OK) {
        status = clo_sqlite_fail(self, sqlite3_errcode(handle), error);
        cloaca_close(&self->base);
        return status;
    }
    *made = &self->base;
    return CLOACA_OK;
}

/* ------------------------------------------------------------------------------------------------- the backend's functions */

static cloaca_status call(cloaca *base, const clo_function *function, const clo_value *arguments, const clo_sink *sink,
                          cloaca_error *error)
{
    sqlite_connection *self = (sqlite_connection *) base;
    sqlite_scope entered = SCOPE_NONE;
    cloaca_status status;

    if (function->postgres_only) {
        clo_fail(error, CLOACA_NOT_SUPPORTED, "SQLite does not have %s.", function->name);
        clo_error_hint(error, "SQLite has one tenant a file: open another file instead.");
        return CLOACA_NOT_SUPPORTED;
    }
    status = self->tables_known ? CLOACA_OK : ensure_tables(self, error);
    if (status == CLOACA_OK) {
        status = clo_sqlite_prepare(self, function, error);
    }
    if (status == CLOACA_OK) {
        const prepared_function *known = &self->functions[function->id];
        const bool was_inside = !sqlite3_get_autocommit(self->database);

        status = clo_sqlite_enter(self, known->reads, function->statement_count == 1, &entered, error);
        if (status == CLOACA_OK) {
            status = clo_sqlite_run(self, function, arguments, sink, error);
            status = status == CLOACA_OK ? clo_sqlite_leave(self, entered, error) : status;
        }
        if (status == CLOACA_BUSY && sqlite3_extended_errcode(self->database) == SQLITE_BUSY && statement_writes(self)) {
            status = clo_fail(error, CLOACA_NOT_SUPPORTED,
                              "A statement that writes cannot call cloaca_%s: select from it first.", function->name);
        }
        if (status != CLOACA_OK) {
            clo_sqlite_undo(self, entered);
            if (was_inside && sqlite3_get_autocommit(self->database) && error != NULL) {
                error->transaction_aborted = true;
            }
        }
    }
    if (!self->cache) {
        clo_sqlite_forget(self);
    }
    if (self->json.capacity > KEPT_MEMORY) {
        clo_buffer_free(&self->json);
    }
    return status;
}

static cloaca_status init(cloaca *base, cloaca_error *error)
{
    sqlite_connection *self = (sqlite_connection *) base;

    self->tables_known = false;
    return ensure_tables(self, error);
}

static cloaca_status begin(cloaca *base, cloaca_error *error)
{
    sqlite_connection *self = (sqlite_connection *) base;
    const bool writable = sqlite3_db_readonly(self->database, "main") == 0;
    cloaca_status status = CLOACA_OK;

    if (writable && !self->tables_known) {
        status = ensure_tables(self, error);
    }
    return status == CLOACA_OK ? clo_sqlite_control(self, writable ? CONTROL_BEGIN_IMMEDIATE : CONTROL_BEGIN, error) : status;
}

static cloaca_status commit(cloaca *base, cloaca_error *error)
{
    sqlite_connection *self = (sqlite_connection *) base;
    cloaca_status status = clo_sqlite_control(self, CONTROL_COMMIT, error);

    if (status != CLOACA_OK) {
        clo_sqlite_undo(self, SCOPE_TRANSACTION);
    }
    return status;
}

static cloaca_status rollback(cloaca *base, cloaca_error *error)
{
    sqlite_connection *self = (sqlite_connection *) base;

    return sqlite3_get_autocommit(self->database) ? CLOACA_OK : clo_sqlite_control(self, CONTROL_ROLLBACK, error);
}

/* Several statements outside of a transaction are one: all or nothing, as on PostgreSQL. */
static cloaca_status execute(cloaca *base, const char *sql, cloaca_error *error)
{
    sqlite_connection *self = (sqlite_connection *) base;
    sqlite3_stmt *statement = NULL;
    cloaca_status status = CLOACA_OK;
    sqlite_scope entered = SCOPE_NONE;
    const char *rest = NULL;
    int code = sqlite3_prepare_v2(self->database, sql, -1, &statement, &rest);

    if (code == SQLITE_OK && rest[strspn(rest, " \t\r\n;")] != '\0' && sqlite3_get_autocommit(self->database)) {
        status = clo_sqlite_enter(self, true, false, &entered, error);
    }
    sqlite3_finalize(statement);
    if (status == CLOACA_OK && code == SQLITE_OK) {
        code = sqlite3_exec(self->database, sql, NULL, NULL, NULL);
    }
    if (status == CLOACA_OK && code != SQLITE_OK) {
        status = clo_sqlite_fail(self, code, error);
    }
    if (status == CLOACA_OK && entered == SCOPE_TRANSACTION && sqlite3_get_autocommit(self->database)) {
        entered = SCOPE_NONE;
    }
    status = status == CLOACA_OK ? clo_sqlite_leave(self, entered, error) : status;
    if (status != CLOACA_OK) {
        clo_sqlite_undo(self, entered);
    }
    return status;
}

static cloaca_status set_clock(cloaca *base, int64_t now, cloaca_error *error)
{
    sqlite_connection *self = (sqlite_connection *) base;

    (void) error;
    self->clock_set = now != CLOACA_NO_TIME;
    self->clock = now;
    return CLOACA_OK;
}

static cloaca_status set_random(cloaca *base, double random, cloaca_error *error)
{
    (void) error;
    ((sqlite_connection *) base)->random = random;
    return CLOACA_OK;
}

static bool in_transaction(cloaca *base)
{
    return !sqlite3_get_autocommit(((sqlite_connection *) base)->database);
}

/* A statement of the caller's that is under way, such as the select from the module's table, holds a snapshot in which nothing
 * ever changes: then another connection watches the file. */
static cloaca_status watch_begin(cloaca *base, cloaca **watcher, cloaca_error *error)
{
    sqlite_connection *self = (sqlite_connection *) base;
    const char *file = sqlite3_db_filename(self->database, "main");

    *watcher = base;
    if (sqlite3_txn_state(self->database, "main") == SQLITE_TXN_NONE || file == NULL || *file == '\0') {
        return CLOACA_OK;
    }
    if (!in_wal_mode(self)) {
        *watcher = NULL;
        clo_fail(error, CLOACA_NOT_SUPPORTED,
                 "A statement that reads a file without a WAL cannot wait: nobody could write meanwhile.");
        clo_error_hint(error, "Call the scalar function, or set the journal mode to WAL.");
        return CLOACA_NOT_SUPPORTED;
    }
    *watcher = NULL;
    return open_watcher(self, file, watcher, error);
}

static cloaca_status watch_changed(cloaca *base, bool *changed, cloaca_error *error)
{
    sqlite_connection *self = (sqlite_connection *) base;
    const int own = sqlite3_total_changes(self->database);
    sqlite3_stmt *statement = NULL;
    int64_t version = 0;
    int code = sqlite3_prepare_v2(self->database, "pragma main.data_version", -1, &statement, NULL);

    if (code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        version = sqlite3_column_int64(statement, 0);
    }
    code = code == SQLITE_OK ? sqlite3_finalize(statement) : code;
    if (code != SQLITE_OK) {
        return clo_sqlite_fail(self, code, error);
    }
    *changed = !self->version_known || version != self->version || own != self->own_changes;
    self->version_known = true;
    self->version = version;
    self->own_changes = own;
    return CLOACA_OK;
}

static int64_t now_of(const cloaca *base)
{
    const sqlite_connection *self = (const sqlite_connection *) base;
    struct timespec time;

    if (self->clock_set) {
        return self->clock;
    }
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t) time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void close_connection(cloaca *base)
{
    sqlite_connection *self = (sqlite_connection *) base;

    clo_sqlite_forget(self);
    clo_buffer_free(&self->json);
    if (!base->borrowed) {
        sqlite3_close_v2(self->database);
    }
}

static const clo_backend backend = {
    .kind = CLOACA_SQLITE,
    .call = call,
    .init = init,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .execute = execute,
    .set_clock = set_clock,
    .set_random = set_random,
    .in_transaction = in_transaction,
    .watch_begin = watch_begin,
    .watch_changed = watch_changed,
    .now = now_of,
    .close = close_connection,
};

/* SQLite has no code of its own for a transaction that cannot begin or end inside a statement that writes: waiting is no help.
 */
static bool statement_writes(sqlite_connection *self)
{
    return strstr(sqlite3_errmsg(self->database), "SQL statements in progress") != NULL;
}

/* ----------------------------------------------------------------------------------------------------------------- opening */

static cloaca_status new_connection(sqlite_connection **made, cloaca_error *error)
{
    *made = calloc(1, sizeof(sqlite_connection));
    if (*made == NULL) {
        return clo_no_memory(error);
    }
    (*made)->base.backend = &backend;
    (*made)->random = -1;
    return CLOACA_OK;
}

/* The settings of a connection of our own. The journal mode stays in the file; the first of them reads it, and finds out what
 * it is. */
static cloaca_status configure(sqlite_connection *self, const clo_url *url, cloaca_error *error)
{
    const bool writable = sqlite3_db_readonly(self->database, "main") == 0;
    const char *journal = option(url, "_journal_mode", NULL);
    const int timeout = (int) strtol(option(url, "_busy_timeout", "5000"), NULL, 10);
    char sql[200];
    int waited = 0;
    int code;

    sqlite3_extended_result_codes(self->database, 1);
    sqlite3_busy_timeout(self->database, timeout);
    if (self->base.guard != NULL) {
        self->busy_timeout = timeout;
        sqlite3_busy_handler(self->database, wait_for_lock, self);
        sqlite3_progress_handler(self->database, 1000, is_over, self);
    }
    snprintf(sql, sizeof(sql), "pragma foreign_keys = on; pragma synchronous = %s; pragma schema_version",
             option(url, "_synchronous", "normal"));
    code = sqlite3_exec(self->database, sql, NULL, NULL, NULL);
    /* Changing the mode needs the file alone, and SQLite does not wait for that: several processes may open a new file at once.
     */
    while (code == SQLITE_OK && (writable || journal != NULL)) {
        code = set_journal_mode(self, journal != NULL ? journal : "wal",
                                journal != NULL && strcmp(url->location, ":memory:") != 0);
        if ((code & 0xff) != SQLITE_BUSY || waited >= timeout || clo_guard_left(self->base.guard) == 0) {
            break;
        }
        waited += sqlite3_sleep(5);
        code = SQLITE_OK;
    }
    if (code == SQLITE_MISMATCH) {
        return clo_fail(error, CLOACA_NOT_SUPPORTED, "The file cannot have the journal mode %s.", journal);
    }
    return code == SQLITE_OK ? CLOACA_OK : clo_sqlite_fail(self, code, error);
}

/* The busy timeout where there is a guard. The pauses grow as SQLite's own do. */
static int wait_for_lock(void *context, int count)
{
    sqlite_connection *self = context;
    const int left = clo_guard_left(self->base.guard);
    const int pause = count < 6 ? 1 << count : 50;

    self->busy_waited = count == 0 ? 0 : self->busy_waited;
    if (left == 0 || self->busy_waited >= self->busy_timeout) {
        return 0;
    }
    self->busy_waited += sqlite3_sleep(pause < left ? pause : left);
    return 1;
}

/* Asked now and then while a statement runs. */
static int is_over(void *context)
{
    return clo_guard_left(((sqlite_connection *) context)->base.guard) == 0;
}

/* SQLITE_MISMATCH when the mode is demanded and SQLite chose another, as it does where it cannot have that one. */
static int set_journal_mode(sqlite_connection *self, const char *mode, bool demanded)
{
    sqlite3_stmt *statement = NULL;
    const char *chosen = NULL;
    bool other = false;
    char sql[60];
    int code;

    snprintf(sql, sizeof(sql), "pragma journal_mode = %s", mode);
    code = sqlite3_prepare_v2(self->database, sql, -1, &statement, NULL);
    if (code != SQLITE_OK) {
        return code;
    }
    if (sqlite3_step(statement) == SQLITE_ROW) {
        chosen = (const char *) sqlite3_column_text(statement, 0);
        other = demanded && chosen != NULL && strcasecmp(chosen, mode) != 0;
    }
    code = sqlite3_finalize(statement);
    return code == SQLITE_OK && other ? SQLITE_MISMATCH : code;
}

static bool in_wal_mode(sqlite_connection *self)
{
    sqlite3_stmt *statement = NULL;
    bool wal = false;

    if (sqlite3_prepare_v2(self->database, "pragma main.journal_mode", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        wal = strcasecmp((const char *) sqlite3_column_text(statement, 0), "wal") == 0;
    }
    sqlite3_finalize(statement);
    return wal;
}

/* A connection to the same file, by the same file system, that only reads; with the same clock. */
static cloaca_status open_watcher(sqlite_connection *self, const char *file, cloaca **watcher, cloaca_error *error)
{
    sqlite3_vfs *system = NULL;
    sqlite_connection *other;
    cloaca_status status = new_connection(&other, error);
    int code;

    if (status != CLOACA_OK) {
        return status;
    }
    sqlite3_file_control(self->database, "main", SQLITE_FCNTL_VFS_POINTER, &system);
    code = sqlite3_open_v2(file, &other->database, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                           system != NULL ? system->zName : NULL);
    code = code == SQLITE_OK ? clo_sqlite_functions(other->database) : code;
    if (code != SQLITE_OK) {
        status = other->database == NULL ? clo_no_memory(error) : clo_sqlite_fail(other, code, error);
        cloaca_close(&other->base);
        return status;
    }
    sqlite3_extended_result_codes(other->database, 1);
    other->cache = true;
    other->clock_set = self->clock_set;
    other->clock = self->clock;
    *watcher = &other->base;
    return CLOACA_OK;
}

static const char *option(const clo_url *url, const char *name, const char *otherwise)
{
    for (size_t i = 0; i < url->option_count; i++) {
        if (strcmp(url->options[i].name, name) == 0) {
            return url->options[i].value;
        }
    }
    return otherwise;
}

/* ------------------------------------------------------------------------------------------------------------------ tables */

/*
 * Makes the tables of a new file. What is seen inside a transaction may be rolled back with it, so it is believed for good only
 * when it was seen outside of one.
 */
static cloaca_status ensure_tables(sqlite_connection *self, cloaca_error *error)
{
    const bool outside = sqlite3_get_autocommit(self->database);
    bool found;
    cloaca_status status = find_tables(self, &found, error);

    if (status == CLOACA_OK && !found) {
        status = make_tables(self, error);
    }
    if (status == CLOACA_OK) {
        status = check_version(self, error);
    }
    self->tables_known = status == CLOACA_OK && outside;
    return status;
}

static cloaca_status find_tables(sqlite_connection *self, bool *found, cloaca_error *error)
{
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite3_prepare_v2(self->database, "select 1 from main.sqlite_master where name = 'cloaca_meta'", -1, &statement, NULL);

    *found = code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW;
    code = code == SQLITE_OK ? sqlite3_finalize(statement) : code;
    return code == SQLITE_OK ? CLOACA_OK : clo_sqlite_fail(self, code, error);
}

static cloaca_status make_tables(sqlite_connection *self, cloaca_error *error)
{
    sqlite_scope entered = SCOPE_NONE;
    cloaca_status status;

    if (sqlite3_db_readonly(self->database, "main") == 1) {
        clo_fail(error, CLOACA_NOT_A_DATABASE, "The file has no cloaca tables, and it cannot be written.");
        return CLOACA_NOT_A_DATABASE;
    }
    status = clo_sqlite_enter(self, false, false, &entered, error);
    for (size_t i = 0; status == CLOACA_OK && clo_sqlite_tables[i] != NULL; i++) {
        const int code = sqlite3_exec(self->database, clo_sqlite_tables[i], NULL, NULL, NULL);

        status = code == SQLITE_OK ? CLOACA_OK : clo_sqlite_fail(self, code, error);
    }
    status = status == CLOACA_OK ? clo_sqlite_leave(self, entered, error) : status;
    if (status != CLOACA_OK) {
        clo_sqlite_undo(self, entered);
    }
    return status;
}

static cloaca_status check_version(sqlite_connection *self, cloaca_error *error)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(self->database, "select table_version from main.cloaca_meta", -1, &statement, NULL);
    int version = 0;

    if (code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        version = sqlite3_column_int(statement, 0);
    }
    code = code == SQLITE_OK ? sqlite3_finalize(statement) : code;
    if (code != SQLITE_OK) {
        return clo_sqlite_fail(self, code, error);
    }
    if (version > TABLE_VERSION) {
        clo_fail(error, CLOACA_NOT_SUPPORTED, "The file has tables of version %d, and this library knows version %d.", version,
                 TABLE_VERSION);
        clo_error_hint(error, "Use a newer cloaca for this file.");
        return CLOACA_NOT_SUPPORTED;
    }
    return CLOACA_OK;
}
