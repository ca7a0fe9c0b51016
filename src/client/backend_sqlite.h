/*
 * backend_sqlite.h - what the parts of the SQLite backend share: the connection, its statements and its transactions. Private.
 *
 * Nothing here locks: a connection belongs to one thread at a time.
 */
#ifndef CLO_BACKEND_SQLITE_H
#define CLO_BACKEND_SQLITE_H

#include "backend.h"

#ifdef CLOACA_SQLITE_MODULE
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

/* The statements of a function, prepared (sqlite_statements.c). */
typedef struct prepared_function {
    struct prepared *statements;
    bool reads; /* no statement writes */
} prepared_function;

typedef enum sqlite_control {
    CONTROL_BEGIN,
    CONTROL_BEGIN_IMMEDIATE,
    CONTROL_COMMIT,
    CONTROL_ROLLBACK,
    CONTROL_SAVEPOINT,
    CONTROL_RELEASE,
    CONTROL_ROLLBACK_TO,
    CONTROL_COUNT
} sqlite_control;

typedef struct sqlite_connection {
    cloaca base;
    sqlite3 *database;
    bool cache;        /* keep prepared statements */
    bool tables_known; /* the tables are there, and of our version */
    bool clock_set;
    int64_t clock;
    double random;    /* negative: real randomness */
    int busy_timeout; /* milliseconds; of a connection with a guard */
    int busy_waited;
    bool version_known; /* the two below are of the last look for changes */
    int64_t version;    /* of the file, which other connections' commits change */
    int own_changes;    /* rows that this one wrote */
    sqlite3_stmt *controls[CONTROL_COUNT];
    prepared_function functions[CLO_FUNCTION_COUNT];
    clo_buffer json; /* documents of the row that is read */
} sqlite_connection;

/* Whether a call has a transaction, a savepoint or nothing of its own to end. */
typedef enum sqlite_scope { SCOPE_NONE, SCOPE_TRANSACTION, SCOPE_SAVEPOINT } sqlite_scope;

/* Prepares the statements of a function, once. */
cloaca_status clo_sqlite_prepare(sqlite_connection *self, const clo_function *function, cloaca_error *error);
/* Runs them, inside of what clo_sqlite_enter began. */
cloaca_status clo_sqlite_run(sqlite_connection *self, const clo_function *function, const clo_value *arguments,
                             const clo_sink *sink, cloaca_error *error);
/* Lets go of everything that is prepared. */
void clo_sqlite_forget(sqlite_connection *self);

/* A statement alone, and what only reads inside the caller's transaction, needs nothing of its own. */
cloaca_status clo_sqlite_enter(sqlite_connection *self, bool reads, bool single, sqlite_scope *entered, cloaca_error *error);
cloaca_status clo_sqlite_leave(sqlite_connection *self, sqlite_scope entered, cloaca_error *error);
/* Errors such as a full disk may have ended the transaction already. */
void clo_sqlite_undo(sqlite_connection *self, sqlite_scope entered);
cloaca_status clo_sqlite_control(sqlite_connection *self, sqlite_control which, cloaca_error *error);

/* The error for a code of SQLite's. */
cloaca_status clo_sqlite_fail(sqlite_connection *self, int code, cloaca_error *error);

#endif
