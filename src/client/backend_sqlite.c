/*
 * backend_sqlite.c - runs the functions on SQLite, the only user of its library
 *
 * A function is a list of statements. They run in one transaction, which takes the write lock at once when one of them writes,
 * or in a savepoint inside the caller's transaction. Some decide which one comes next. Statements are prepared once for each
 * connection and function, those that do not always run when they first do. The loadable module compiles this file again,
 * against the SQLite that loads it, and keeps no statement: a host could not close its connection else.
 *
 * Processes and locks: SQLite's own. Only one connection writes at a time; the others wait for the busy timeout.
 */
#define _DEFAULT_SOURCE /* getrandom, strcasecmp, clock_gettime */
#include "backend.h"
#include "common/json.h"

#ifdef CLOACA_SQLITE_MODULE
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

/* The version of the tables that this library makes and knows. */
#define TABLE_VERSION 1

/* What a connection keeps of its memory between calls. */
#define KEPT_MEMORY ((size_t) 1 << 20)

/* Sources of parameters beyond the arguments. */
enum { NOW = CLO_PARAMETER_LIMIT, RANDOM, LEASE_BASE, SOURCE_COUNT };

typedef struct prepared {
    sqlite3_stmt *statement;
    int parameter_count;
    unsigned char sources[SOURCE_COUNT]; /* of each parameter */
} prepared;

typedef struct prepared_function {
    prepared *statements;
    bool reads; /* no statement writes */
} prepared_function;

typedef enum control { BEGIN, BEGIN_IMMEDIATE, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, ROLLBACK_TO, CONTROL_COUNT } control;

static const char *const control_sql[] = {
    "begin", "begin immediate", "commit", "rollback", "savepoint cloaca", "release cloaca", "rollback to cloaca",
};

typedef struct connection {
    cloaca base;
    sqlite3 *database;
    bool cache;        /* keep prepared statements */
    bool tables_known; /* the tables are there, and of our version */
    bool clock_set;
    int64_t clock;
    double random;      /* negative: real randomness */
    bool version_known; /* the two below are of the last look for changes */
    int64_t version;    /* of the file, which other connections' commits change */
    int own_changes;    /* rows that this one wrote */
    sqlite3_stmt *controls[CONTROL_COUNT];
    prepared_function functions[CLO_FUNCTION_COUNT];
    clo_buffer json; /* documents of the row that is read */
} connection;

/* What the statements of one call bind; random numbers are made when first needed. */
typedef struct bindings {
    const clo_function *function;
    const clo_value *arguments;
    int64_t now;
    bool random_known;
    double random;
    int64_t lease_base;
} bindings;

/* Whether a call has a transaction, a savepoint or nothing of its own to end. */
typedef enum scope { SCOPE_NONE, SCOPE_TRANSACTION, SCOPE_SAVEPOINT } scope;

static const clo_backend backend;

static cloaca_status new_connection(connection **made, cloaca_error *error);
static cloaca_status configure(connection *self, const clo_url *url, cloaca_error *error);
static int set_journal_mode(connection *self, const char *mode, bool demanded);
static bool in_wal_mode(connection *self);
static cloaca_status open_watcher(connection *self, const char *file, cloaca **watcher, cloaca_error *error);
static const char *option(const clo_url *url, const char *name, const char *otherwise);
static cloaca_status ensure_tables(connection *self, cloaca_error *error);
static cloaca_status find_tables(connection *self, bool *found, cloaca_error *error);
static cloaca_status make_tables(connection *self, cloaca_error *error);
static cloaca_status check_version(connection *self, cloaca_error *error);
static cloaca_status prepare(connection *self, const clo_function *function, cloaca_error *error);
static cloaca_status prepare_one(connection *self, const clo_function *function, size_t number, prepared *made,
                                 cloaca_error *error);
static int source_of(const clo_function *function, const char *name);
static void forget(connection *self);
static void forget_function(connection *self, size_t number);
static cloaca_status enter(connection *self, bool reads, bool single, scope *entered, cloaca_error *error);
static bool statement_writes(connection *self);
static cloaca_status leave(connection *self, scope entered, cloaca_error *error);
static void undo(connection *self, scope entered);
static cloaca_status control_transaction(connection *self, control which, cloaca_error *error);
static cloaca_status run_statements(connection *self, bindings *bound, const clo_sink *sink, cloaca_error *error);
static cloaca_status run_statement(connection *self, bindings *bound, size_t number, const clo_sink *sink, bool *found,
                                   cloaca_error *error);
static cloaca_status raise_row(sqlite3_stmt *statement, cloaca_status condition, cloaca_error *error);
static int bind_all(connection *self, const prepared *one, bindings *bound);
static int bind_value(sqlite3_stmt *statement, int number, const clo_value *value);
static bool make_random(const connection *self, bindings *bound);
static cloaca_status read_row(connection *self, const clo_function *function, sqlite3_stmt *statement, const clo_sink *sink,
                              cloaca_error *error);
static cloaca_status fail_with(connection *self, int code, cloaca_error *error);

cloaca_status clo_sqlite_open(const clo_url *url, cloaca **made, cloaca_error *error)
{
    const char *mode = option(url, "mode", "rwc");
    const int flags = strcmp(mode, "ro") == 0   ? SQLITE_OPEN_READONLY
                      : strcmp(mode, "rw") == 0 ? SQLITE_OPEN_READWRITE
                                                : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    connection *self;
    cloaca_status status = new_connection(&self, error);
    int code;

    if (status != CLOACA_OK) {
        return status;
    }
    code = sqlite3_open_v2(url->location, &self->database, flags | SQLITE_OPEN_NOMUTEX, NULL);
    code = code == SQLITE_OK ? clo_sqlite_functions(self->database) : code;
    if (code != SQLITE_OK) {
        status = self->database == NULL ? clo_no_memory(error) : fail_with(self, code, error);
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
    connection *self;
    cloaca_status status = new_connection(&self, error);

    if (status != CLOACA_OK) {
        return status;
    }
    self->database = handle;
    self->base.borrowed = true;
    self->cache = cache;
    if (clo_sqlite_functions(handle) != SQLITE_OK) {
        status = fail_with(self, sqlite3_errcode(handle), error);
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
    connection *self = (connection *) base;
    bindings bound = {.function = function, .arguments = arguments};
    scope entered = SCOPE_NONE;
    cloaca_status status;

    if (function->postgres_only) {
        clo_fail(error, CLOACA_NOT_SUPPORTED, "SQLite does not have %s.", function->name);
        clo_error_hint(error, "SQLite has one tenant a file: open another file instead.");
        return CLOACA_NOT_SUPPORTED;
    }
    status = self->tables_known ? CLOACA_OK : ensure_tables(self, error);
    if (status == CLOACA_OK) {
        status = prepare(self, function, error);
    }
    if (status == CLOACA_OK) {
        const prepared_function *known = &self->functions[function->id];
        const bool was_inside = !sqlite3_get_autocommit(self->database);

        status = enter(self, known->reads, function->statement_count == 1, &entered, error);
        if (status == CLOACA_OK) {
            status = run_statements(self, &bound, sink, error);
            status = status == CLOACA_OK ? leave(self, entered, error) : status;
        }
        if (status == CLOACA_BUSY && sqlite3_extended_errcode(self->database) == SQLITE_BUSY && statement_writes(self)) {
            status = clo_fail(error, CLOACA_NOT_SUPPORTED,
                              "A statement that writes cannot call cloaca_%s: select from it first.", function->name);
        }
        if (status != CLOACA_OK) {
            undo(self, entered);
            if (was_inside && sqlite3_get_autocommit(self->database) && error != NULL) {
                error->transaction_aborted = true;
            }
        }
    }
    if (!self->cache) {
        forget(self);
    }
    if (self->json.capacity > KEPT_MEMORY) {
        clo_buffer_free(&self->json);
    }
    return status;
}

static cloaca_status init(cloaca *base, cloaca_error *error)
{
    connection *self = (connection *) base;

    self->tables_known = false;
    return ensure_tables(self, error);
}

static cloaca_status begin(cloaca *base, cloaca_error *error)
{
    connection *self = (connection *) base;
    const bool writable = sqlite3_db_readonly(self->database, "main") == 0;
    cloaca_status status = CLOACA_OK;

    if (writable && !self->tables_known) {
        status = ensure_tables(self, error);
    }
    return status == CLOACA_OK ? control_transaction(self, writable ? BEGIN_IMMEDIATE : BEGIN, error) : status;
}

static cloaca_status commit(cloaca *base, cloaca_error *error)
{
    connection *self = (connection *) base;
    cloaca_status status = control_transaction(self, COMMIT, error);

    if (status != CLOACA_OK) {
        undo(self, SCOPE_TRANSACTION);
    }
    return status;
}

static cloaca_status rollback(cloaca *base, cloaca_error *error)
{
    connection *self = (connection *) base;

    return sqlite3_get_autocommit(self->database) ? CLOACA_OK : control_transaction(self, ROLLBACK, error);
}

/* Several statements outside of a transaction are one: all or nothing, as on PostgreSQL. */
static cloaca_status execute(cloaca *base, const char *sql, cloaca_error *error)
{
    connection *self = (connection *) base;
    sqlite3_stmt *statement = NULL;
    cloaca_status status = CLOACA_OK;
    scope entered = SCOPE_NONE;
    const char *rest = NULL;
    int code = sqlite3_prepare_v2(self->database, sql, -1, &statement, &rest);

    if (code == SQLITE_OK && rest[strspn(rest, " \t\r\n;")] != '\0' && sqlite3_get_autocommit(self->database)) {
        status = enter(self, true, false, &entered, error);
    }
    sqlite3_finalize(statement);
    if (status == CLOACA_OK && code == SQLITE_OK) {
        code = sqlite3_exec(self->database, sql, NULL, NULL, NULL);
    }
    if (status == CLOACA_OK && code != SQLITE_OK) {
        status = fail_with(self, code, error);
    }
    if (status == CLOACA_OK && entered == SCOPE_TRANSACTION && sqlite3_get_autocommit(self->database)) {
        entered = SCOPE_NONE;
    }
    status = status == CLOACA_OK ? leave(self, entered, error) : status;
    if (status != CLOACA_OK) {
        undo(self, entered);
    }
    return status;
}

static cloaca_status set_clock(cloaca *base, int64_t now, cloaca_error *error)
{
    connection *self = (connection *) base;

    (void) error;
    self->clock_set = now != CLOACA_NO_TIME;
    self->clock = now;
    return CLOACA_OK;
}

static cloaca_status set_random(cloaca *base, double random, cloaca_error *error)
{
    (void) error;
    ((connection *) base)->random = random;
    return CLOACA_OK;
}

static bool in_transaction(cloaca *base)
{
    return !sqlite3_get_autocommit(((connection *) base)->database);
}

/* A statement of the caller's that is under way, such as the select from the module's table, holds a snapshot in which nothing
 * ever changes: then another connection watches the file. */
static cloaca_status watch_begin(cloaca *base, cloaca **watcher, cloaca_error *error)
{
    connection *self = (connection *) base;
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
    connection *self = (connection *) base;
    const int own = sqlite3_total_changes(self->database);
    sqlite3_stmt *statement = NULL;
    int64_t version = 0;
    int code = sqlite3_prepare_v2(self->database, "pragma main.data_version", -1, &statement, NULL);

    if (code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        version = sqlite3_column_int64(statement, 0);
    }
    code = code == SQLITE_OK ? sqlite3_finalize(statement) : code;
    if (code != SQLITE_OK) {
        return fail_with(self, code, error);
    }
    *changed = !self->version_known || version != self->version || own != self->own_changes;
    self->version_known = true;
    self->version = version;
    self->own_changes = own;
    return CLOACA_OK;
}

static int64_t now_of(const cloaca *base)
{
    const connection *self = (const connection *) base;
    struct timespec time;

    if (self->clock_set) {
        return self->clock;
    }
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t) time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void close_connection(cloaca *base)
{
    connection *self = (connection *) base;

    forget(self);
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

/* ----------------------------------------------------------------------------------------------------------------- opening */

static cloaca_status new_connection(connection **made, cloaca_error *error)
{
    *made = calloc(1, sizeof(connection));
    if (*made == NULL) {
        return clo_no_memory(error);
    }
    (*made)->base.backend = &backend;
    (*made)->random = -1;
    return CLOACA_OK;
}

/* The settings of a connection of our own. The journal mode stays in the file; the first of them reads it, and finds out what
 * it is. */
static cloaca_status configure(connection *self, const clo_url *url, cloaca_error *error)
{
    const bool writable = sqlite3_db_readonly(self->database, "main") == 0;
    const char *journal = option(url, "_journal_mode", NULL);
    const int timeout = (int) strtol(option(url, "_busy_timeout", "5000"), NULL, 10);
    char sql[200];
    int waited = 0;
    int code;

    sqlite3_extended_result_codes(self->database, 1);
    sqlite3_busy_timeout(self->database, timeout);
    snprintf(sql, sizeof(sql), "pragma foreign_keys = on; pragma synchronous = %s; pragma schema_version",
             option(url, "_synchronous", "normal"));
    code = sqlite3_exec(self->database, sql, NULL, NULL, NULL);
    /* Changing the mode needs the file alone, and SQLite does not wait for that: several processes may open a new file at once.
     */
    while (code == SQLITE_OK && (writable || journal != NULL)) {
        code = set_journal_mode(self, journal != NULL ? journal : "wal",
                                journal != NULL && strcmp(url->location, ":memory:") != 0);
        if ((code & 0xff) != SQLITE_BUSY || waited >= timeout) {
            break;
        }
        waited += sqlite3_sleep(5);
        code = SQLITE_OK;
    }
    if (code == SQLITE_MISMATCH) {
        return clo_fail(error, CLOACA_NOT_SUPPORTED, "The file cannot have the journal mode %s.", journal);
    }
    return code == SQLITE_OK ? CLOACA_OK : fail_with(self, code, error);
}

/* SQLITE_MISMATCH when the mode is demanded and SQLite chose another, as it does where it cannot have that one. */
static int set_journal_mode(connection *self, const char *mode, bool demanded)
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

static bool in_wal_mode(connection *self)
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
static cloaca_status open_watcher(connection *self, const char *file, cloaca **watcher, cloaca_error *error)
{
    sqlite3_vfs *system = NULL;
    connection *other;
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
        status = other->database == NULL ? clo_no_memory(error) : fail_with(other, code, error);
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
static cloaca_status ensure_tables(connection *self, cloaca_error *error)
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

static cloaca_status find_tables(connection *self, bool *found, cloaca_error *error)
{
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite3_prepare_v2(self->database, "select 1 from main.sqlite_master where name = 'cloaca_meta'", -1, &statement, NULL);

    *found = code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW;
    code = code == SQLITE_OK ? sqlite3_finalize(statement) : code;
    return code == SQLITE_OK ? CLOACA_OK : fail_with(self, code, error);
}

static cloaca_status make_tables(connection *self, cloaca_error *error)
{
    scope entered = SCOPE_NONE;
    cloaca_status status;

    if (sqlite3_db_readonly(self->database, "main") == 1) {
        clo_fail(error, CLOACA_NOT_A_DATABASE, "The file has no cloaca tables, and it cannot be written.");
        return CLOACA_NOT_A_DATABASE;
    }
    status = enter(self, false, false, &entered, error);
    for (size_t i = 0; status == CLOACA_OK && clo_sqlite_tables[i] != NULL; i++) {
        const int code = sqlite3_exec(self->database, clo_sqlite_tables[i], NULL, NULL, NULL);

        status = code == SQLITE_OK ? CLOACA_OK : fail_with(self, code, error);
    }
    status = status == CLOACA_OK ? leave(self, entered, error) : status;
    if (status != CLOACA_OK) {
        undo(self, entered);
    }
    return status;
}

static cloaca_status check_version(connection *self, cloaca_error *error)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(self->database, "select table_version from main.cloaca_meta", -1, &statement, NULL);
    int version = 0;

    if (code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        version = sqlite3_column_int(statement, 0);
    }
    code = code == SQLITE_OK ? sqlite3_finalize(statement) : code;
    if (code != SQLITE_OK) {
        return fail_with(self, code, error);
    }
    if (version > TABLE_VERSION) {
        clo_fail(error, CLOACA_NOT_SUPPORTED, "The file has tables of version %d, and this library knows version %d.", version,
                 TABLE_VERSION);
        clo_error_hint(error, "Use a newer cloaca for this file.");
        return CLOACA_NOT_SUPPORTED;
    }
    return CLOACA_OK;
}

/* -------------------------------------------------------------------------------------------------------------- statements */

static cloaca_status prepare(connection *self, const clo_function *function, cloaca_error *error)
{
    prepared_function *known = &self->functions[function->id];
    cloaca_status status = CLOACA_OK;

    if (known->statements != NULL) {
        return CLOACA_OK;
    }
    if (function->statement_count == 0) {
        return clo_fail(error, CLOACA_NOT_SUPPORTED, "This library was built without the statements of %s.", function->name);
    }
    known->statements = calloc(function->statement_count, sizeof(prepared));
    if (known->statements == NULL) {
        return clo_no_memory(error);
    }
    known->reads = true;
    for (size_t i = 0; i < function->statement_count && status == CLOACA_OK; i++) {
        if (function->statements[i].inner) {
            known->reads = false;
            continue;
        }
        status = prepare_one(self, function, i, &known->statements[i], error);
        known->reads = known->reads && sqlite3_stmt_readonly(known->statements[i].statement);
    }
    if (status != CLOACA_OK) {
        forget_function(self, (size_t) function->id);
    }
    return status;
}

static cloaca_status prepare_one(connection *self, const clo_function *function, size_t number, prepared *made,
                                 cloaca_error *error)
{
    const int code = sqlite3_prepare_v3(self->database, function->statements[number].sql, -1,
                                        self->cache ? SQLITE_PREPARE_PERSISTENT : 0, &made->statement, NULL);

    if (code != SQLITE_OK) {
        return fail_with(self, code, error);
    }
    made->parameter_count = sqlite3_bind_parameter_count(made->statement);
    for (int i = 0; i < made->parameter_count; i++) {
        const int source = i < SOURCE_COUNT ? source_of(function, sqlite3_bind_parameter_name(made->statement, i + 1) + 1) : -1;

        if (source < 0) {
            return clo_fail(error, CLOACA_DATABASE_ERROR, "Statement %zu of %s has unknown parameters.", number + 1,
                            function->name);
        }
        made->sources[i] = (unsigned char) source;
    }
    if (number + 1 == function->statement_count && function->column_count > 0 &&
        (size_t) sqlite3_column_count(made->statement) != function->column_count + (function->waits ? 1 : 0)) {
        return clo_fail(error, CLOACA_DATABASE_ERROR, "The last statement of %s returns other columns.", function->name);
    }
    return CLOACA_OK;
}

static int source_of(const clo_function *function, const char *name)
{
    if (strcmp(name, "now") == 0) {
        return NOW;
    } else if (strcmp(name, "random") == 0) {
        return RANDOM;
    } else if (strcmp(name, "lease_base") == 0) {
        return LEASE_BASE;
    }
    for (size_t i = 0; i < function->parameter_count; i++) {
        if (strcmp(function->parameters[i].name, name) == 0) {
            return (int) i;
        }
    }
    return -1;
}

static void forget(connection *self)
{
    for (size_t i = 0; i < CLO_FUNCTION_COUNT; i++) {
        forget_function(self, i);
    }
    for (size_t i = 0; i < CONTROL_COUNT; i++) {
        sqlite3_finalize(self->controls[i]);
        self->controls[i] = NULL;
    }
}

static void forget_function(connection *self, size_t number)
{
    prepared_function *known = &self->functions[number];

    for (size_t i = 0; known->statements != NULL && i < clo_functions[number].statement_count; i++) {
        sqlite3_finalize(known->statements[i].statement);
    }
    free(known->statements);
    known->statements = NULL;
}

/* ------------------------------------------------------------------------------------------------------------ transactions */

/* A statement alone, and what only reads inside the caller's transaction, needs nothing of its own. */
static cloaca_status enter(connection *self, bool reads, bool single, scope *entered, cloaca_error *error)
{
    const bool outside = sqlite3_get_autocommit(self->database);
    cloaca_status status = CLOACA_OK;

    *entered = SCOPE_NONE;
    if (reads && (single || !outside)) {
        return CLOACA_OK;
    }
    status = control_transaction(self, !outside ? SAVEPOINT : (reads ? BEGIN : BEGIN_IMMEDIATE), error);
    if (status == CLOACA_OK) {
        *entered = outside ? SCOPE_TRANSACTION : SCOPE_SAVEPOINT;
    }
    return status;
}

/* SQLite has no code of its own for a transaction that cannot begin or end inside a statement that writes: waiting is no help.
 */
static bool statement_writes(connection *self)
{
    return strstr(sqlite3_errmsg(self->database), "SQL statements in progress") != NULL;
}

static cloaca_status leave(connection *self, scope entered, cloaca_error *error)
{
    if (entered == SCOPE_NONE) {
        return CLOACA_OK;
    }
    return control_transaction(self, entered == SCOPE_TRANSACTION ? COMMIT : RELEASE, error);
}

/* Errors such as a full disk may have ended the transaction already. */
static void undo(connection *self, scope entered)
{
    if (entered == SCOPE_NONE || sqlite3_get_autocommit(self->database)) {
        return;
    }
    if (entered == SCOPE_TRANSACTION) {
        control_transaction(self, ROLLBACK, NULL);
    } else if (control_transaction(self, ROLLBACK_TO, NULL) == CLOACA_OK) {
        control_transaction(self, RELEASE, NULL);
    }
}

static cloaca_status control_transaction(connection *self, control which, cloaca_error *error)
{
    sqlite3_stmt **statement = &self->controls[which];
    int code = SQLITE_OK;

    if (*statement == NULL) {
        code = sqlite3_prepare_v3(self->database, control_sql[which], -1, self->cache ? SQLITE_PREPARE_PERSISTENT : 0,
                                  statement, NULL);
    }
    if (code == SQLITE_OK) {
        sqlite3_step(*statement);
        code = sqlite3_reset(*statement);
    }
    return code == SQLITE_OK ? CLOACA_OK : fail_with(self, code, error);
}

/* ----------------------------------------------------------------------------------------------------------------- running */

static cloaca_status run_statements(connection *self, bindings *bound, const clo_sink *sink, cloaca_error *error)
{
    cloaca_status status = CLOACA_OK;

    /* Read now, when the lock is held: waiting for it takes time. */
    bound->now = now_of(&self->base);
    for (size_t i = 0; i < bound->function->statement_count && status == CLOACA_OK;) {
        const clo_statement *statement = &bound->function->statements[i];
        bool found = false;

        status = run_statement(self, bound, i, sink, &found, error);
        i = statement->tests && !found ? statement->skip : statement->next;
    }
    return status;
}

/* `found` says whether it returned a row. */
static cloaca_status run_statement(connection *self, bindings *bound, size_t number, const clo_sink *sink, bool *found,
                                   cloaca_error *error)
{
    const clo_function *function = bound->function;
    prepared *one = &self->functions[function->id].statements[number];
    const cloaca_status condition = function->statements[number].raises;
    const bool last = number + 1 == function->statement_count && function->column_count > 0;
    cloaca_status status = one->statement != NULL ? CLOACA_OK : prepare_one(self, function, number, one, error);
    int code;

    if (status != CLOACA_OK) {
        return status;
    }
    code = bind_all(self, one, bound);
    if (code == SQLITE_OK) {
        while (status == CLOACA_OK && (code = sqlite3_step(one->statement)) == SQLITE_ROW) {
            *found = true;
            if (function->statements[number].tests) {
                code = SQLITE_DONE;
                break;
            } else if (condition != CLOACA_OK) {
                status = raise_row(one->statement, condition, error);
            } else if (last) {
                status = read_row(self, function, one->statement, sink, error);
            }
        }
    }
    if (status == CLOACA_OK && code != SQLITE_DONE) {
        status = fail_with(self, code, error);
    }
    sqlite3_reset(one->statement);
    return status;
}

static cloaca_status raise_row(sqlite3_stmt *statement, cloaca_status condition, cloaca_error *error)
{
    const char *detail = NULL;
    const char *hint = NULL;

    for (int i = 0; i < sqlite3_column_count(statement); i++) {
        const char *name = sqlite3_column_name(statement, i);

        if (name != NULL && strcmp(name, "detail") == 0) {
            detail = (const char *) sqlite3_column_text(statement, i);
        } else if (name != NULL && strcmp(name, "hint") == 0) {
            hint = (const char *) sqlite3_column_text(statement, i);
        }
    }
    if (detail != NULL) {
        clo_fail(error, condition, "%s", detail);
    } else {
        clo_fail(error, condition, NULL);
    }
    if (hint != NULL) {
        clo_error_hint(error, hint);
    }
    return condition;
}

static int bind_all(connection *self, const prepared *one, bindings *bound)
{
    int code = SQLITE_OK;

    for (int i = 0; i < one->parameter_count && code == SQLITE_OK; i++) {
        const int source = one->sources[i];

        if (source == NOW) {
            code = sqlite3_bind_int64(one->statement, i + 1, bound->now);
        } else if (source == RANDOM || source == LEASE_BASE) {
            if (!bound->random_known && !make_random(self, bound)) {
                return SQLITE_IOERR;
            }
            code = source == RANDOM ? sqlite3_bind_double(one->statement, i + 1, bound->random)
                                    : sqlite3_bind_int64(one->statement, i + 1, bound->lease_base);
        } else {
            const clo_value *value = &bound->arguments[source];

            code = bind_value(one->statement, i + 1,
                              value->kind == CLO_OMITTED ? &bound->function->parameters[source].value : value);
        }
    }
    return code;
}

static int bind_value(sqlite3_stmt *statement, int number, const clo_value *value)
{
    switch (value->kind) {
    case CLO_INTEGER:
        return sqlite3_bind_int64(statement, number, value->integer);
    case CLO_TEXT:
        return sqlite3_bind_text64(statement, number, value->text, value->length, SQLITE_STATIC, SQLITE_UTF8);
    default:
        return sqlite3_bind_null(statement, number);
    }
}

/* 53 bits make a number from 0 to below 1, 62 a lease that leaves room for more after it. */
static bool make_random(const connection *self, bindings *bound)
{
    uint64_t bits[2];

    if (getrandom(bits, sizeof(bits), 0) != (ssize_t) sizeof(bits)) {
        return false;
    }
    bound->random = self->random >= 0 ? self->random : (double) (bits[0] >> 11) / (double) (UINT64_C(1) << 53);
    bound->lease_base = (int64_t) (bits[1] >> 2);
    bound->random_known = true;
    return true;
}

/* Documents are brought into the canonical form, whoever wrote them. What is waited for has a column more (see backend.h). */
static cloaca_status read_row(connection *self, const clo_function *function, sqlite3_stmt *statement, const clo_sink *sink,
                              cloaca_error *error)
{
    clo_value values[CLO_COLUMN_LIMIT] = {0};
    bool document[CLO_COLUMN_LIMIT] = {false};

    self->json.length = 0;
    self->json.failed = false;
    for (size_t i = 0; i < function->column_count + (function->waits ? 1 : 0); i++) {
        const int column = (int) i;
        const cloaca_type type = i < function->column_count ? function->columns[i].type : CLOACA_TYPE_TIMESTAMPTZ;

        values[i].kind = CLO_NULL;
        if (sqlite3_column_type(statement, column) == SQLITE_NULL) {
            continue;
        }
        if (type != CLOACA_TYPE_TEXT && type < CLOACA_TYPE_JSONB) {
            values[i].kind = CLO_INTEGER;
            values[i].integer = sqlite3_column_int64(statement, column);
            continue;
        }
        if (type == CLOACA_TYPE_TIMESTAMPTZ || type == CLOACA_TYPE_INTERVAL) {
            values[i].kind = CLO_INTEGER;
            values[i].integer = sqlite3_column_int64(statement, column);
            continue;
        }
        values[i].kind = CLO_TEXT;
        values[i].text = (const char *) sqlite3_column_text(statement, column);
        values[i].length = (size_t) sqlite3_column_bytes(statement, column);
        if (values[i].text == NULL) {
            return clo_no_memory(error);
        }
        if (type != CLOACA_TYPE_TEXT) {
            const size_t start = self->json.length;
            clo_json_error wrong = {0};

            if (!clo_json_rewrite(values[i].text, values[i].length, &self->json, &wrong)) {
                return wrong.reason == NULL
                           ? clo_no_memory(error)
                           : clo_fail(error, CLOACA_DATABASE_ERROR, "The file has a document that is not valid JSON.");
            }
            document[i] = true;
            values[i].integer = (int64_t) start;
            values[i].length = self->json.length - start;
            clo_buffer_byte(&self->json, '\0');
        }
    }
    /* The buffer moved while it grew. */
    for (size_t i = 0; i < function->column_count; i++) {
        if (document[i]) {
            values[i].text = self->json.data + values[i].integer;
        }
    }
    return !self->json.failed && sink->row(sink->context, values) ? CLOACA_OK : clo_no_memory(error);
}

/* ------------------------------------------------------------------------------------------------------------------ errors */

static cloaca_status fail_with(connection *self, int code, cloaca_error *error)
{
    static const struct {
        int code;
        cloaca_status status;
    } known[] = {
        {SQLITE_BUSY, CLOACA_BUSY},
        {SQLITE_LOCKED, CLOACA_BUSY},
        {SQLITE_FULL, CLOACA_STORAGE_FULL},
        {SQLITE_READONLY, CLOACA_READ_ONLY},
        {SQLITE_NOTADB, CLOACA_NOT_A_DATABASE},
        {SQLITE_CANTOPEN, CLOACA_UNKNOWN_DATABASE},
        {SQLITE_NOMEM, CLOACA_OUT_OF_MEMORY},
        {SQLITE_INTERRUPT, CLOACA_TIMEOUT},
        {SQLITE_PERM, CLOACA_INSUFFICIENT_PRIVILEGE},
        {SQLITE_AUTH, CLOACA_INSUFFICIENT_PRIVILEGE},
        {SQLITE_TOOBIG, CLOACA_INVALID_ARGUMENT},
    };
    const int extended = sqlite3_extended_errcode(self->database);
    cloaca_status status = CLOACA_DATABASE_ERROR;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].code == (code & 0xff)) {
            status = known[i].status;
        }
    }
    clo_fail(error, status, NULL);
    if (error != NULL) {
        const char *message = sqlite3_errmsg(self->database);

        clo_error_copy(error->detail, sizeof(error->detail), message, strlen(message));
        if (extended == SQLITE_BUSY_SNAPSHOT) {
            clo_error_hint(error, "Another connection wrote since the transaction began to read: roll back and begin again.");
        } else if (status == CLOACA_BUSY) {
            clo_error_hint(error, "Another connection is writing: try again.");
        }
    }
    return status;
}
