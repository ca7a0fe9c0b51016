/*
 * backend_postgres.h - what the parts of the PostgreSQL backend share: opening a connection to a server, and the forms that
 * calls have there. Private.
 *
 * Nothing here locks: a connection belongs to one thread at a time.
 */
#ifndef CLO_BACKEND_POSTGRES_H
#define CLO_BACKEND_POSTGRES_H

#include "backend.h"

#include <libpq-fe.h>

/* Parameters in the form of libpq. */
typedef struct postgres_parameters {
    int count;
    Oid types[CLO_PARAMETER_LIMIT];
    const char *values[CLO_PARAMETER_LIMIT];
    int lengths[CLO_PARAMETER_LIMIT];
    int formats[CLO_PARAMETER_LIMIT];
} postgres_parameters;

/* postgres_connection.c: the server is the caller's to finish, also after an error. */
cloaca_status clo_postgres_connect(const char *url, const clo_guard *guard, PGconn **server, cloaca_error *error);

/* postgres_values.c: the statement that calls a function, its parameters, which live in the arena, and what it returned. */
void clo_postgres_statement(const clo_function *function, const clo_value *arguments, clo_buffer *sql);
cloaca_status clo_postgres_parameters(const clo_function *function, const clo_value *arguments, clo_arena *arena,
                                      postgres_parameters *built, cloaca_error *error);
cloaca_status clo_postgres_rows(const clo_function *function, const PGresult *result, const clo_sink *sink,
                                cloaca_error *error);

#endif
