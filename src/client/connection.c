/*
 * connection.c - opening, closing and transactions: what both backends share
 */
#include "backend.h"

#include <stdlib.h>

static cloaca_status nested(cloaca_error *error);

cloaca_status cloaca_open(const char *url, cloaca **connection, cloaca_error *error)
{
    return clo_open(url, NULL, connection, error);
}

cloaca_status clo_open(const char *url, const clo_guard *guard, cloaca **connection, cloaca_error *error)
{
    clo_arena arena = {.secret = true};
    clo_url parsed;
    cloaca_status status;

    *connection = NULL;
    clo_error_clear(error);
    status = clo_url_parse(url, &arena, &parsed, error);
    if (status == CLOACA_OK) {
        status = parsed.backend == CLOACA_POSTGRES ? clo_postgres_open(&parsed, guard, connection, error)
                                                   : clo_sqlite_open(&parsed, guard, connection, error);
    }
    if (status == CLOACA_OK) {
        (*connection)->direct = parsed.direct;
    }
    clo_arena_free(&arena);
    return status;
}

cloaca_status cloaca_attach(cloaca_backend backend, void *handle, cloaca **connection, cloaca_error *error)
{
    *connection = NULL;
    clo_error_clear(error);
    if (handle == NULL) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The handle must not be null.");
    }
    switch (backend) {
    case CLOACA_POSTGRES:
        return clo_postgres_attach(handle, connection, error);
    case CLOACA_SQLITE:
        return clo_sqlite_attach(handle, true, connection, error);
    }
    return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The backend must be CLOACA_POSTGRES or CLOACA_SQLITE.");
}

cloaca_backend cloaca_backend_of(const cloaca *connection)
{
    return connection->backend->kind;
}

bool cloaca_is_direct(const cloaca *connection)
{
    return connection->direct;
}

cloaca_status cloaca_init(cloaca *connection, cloaca_error *error)
{
    cloaca_status status;

    clo_error_clear(error);
    status = clo_check_usable(connection, error);
    return status == CLOACA_OK ? connection->backend->init(connection, error) : status;
}

cloaca_status cloaca_begin(cloaca *connection, cloaca_error *error)
{
    cloaca_status status;

    clo_error_clear(error);
    status = clo_check_usable(connection, error);
    if (status != CLOACA_OK) {
        return status;
    }
    if (connection->began || connection->backend->in_transaction(connection)) {
        return nested(error);
    }
    status = connection->backend->begin(connection, error);
    connection->began = status == CLOACA_OK;
    return status;
}

cloaca_status cloaca_commit(cloaca *connection, cloaca_error *error)
{
    const bool gone = connection->began && !connection->backend->in_transaction(connection);

    clo_error_clear(error);
    if (!connection->began) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "There is no transaction to commit.");
    }
    connection->began = false;
    if (gone) {
        return clo_fail(error, CLOACA_DATABASE_ERROR, "The transaction was rolled back when an earlier statement failed.");
    }
    return connection->backend->commit(connection, error);
}

cloaca_status cloaca_rollback(cloaca *connection, cloaca_error *error)
{
    clo_error_clear(error);
    if (!connection->began) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "There is no transaction to roll back.");
    }
    connection->began = false;
    return connection->backend->rollback(connection, error);
}

cloaca_status cloaca_execute(cloaca *connection, const char *sql, cloaca_error *error)
{
    cloaca_status status;

    clo_error_clear(error);
    status = clo_check_usable(connection, error);
    return status == CLOACA_OK ? connection->backend->execute(connection, sql, error) : status;
}

cloaca_status cloaca_bind_leases(cloaca *connection, bool on, cloaca_error *error)
{
    cloaca_status status;

    clo_error_clear(error);
    status = clo_check_usable(connection, error);
    return status == CLOACA_OK && connection->backend->bind_leases != NULL
               ? connection->backend->bind_leases(connection, on, error)
               : status;
}

cloaca_status cloaca_set_clock(cloaca *connection, int64_t now, cloaca_error *error)
{
    cloaca_status status;

    clo_error_clear(error);
    status = clo_check_usable(connection, error);
    return status == CLOACA_OK ? connection->backend->set_clock(connection, now, error) : status;
}

cloaca_status cloaca_set_random(cloaca *connection, double random, cloaca_error *error)
{
    cloaca_status status;

    clo_error_clear(error);
    status = clo_check_usable(connection, error);
    if (status == CLOACA_OK && !(random < 1)) {
        status = clo_fail(error, CLOACA_INVALID_ARGUMENT, "The random number must be less than 1.");
    }
    return status == CLOACA_OK ? connection->backend->set_random(connection, random, error) : status;
}

static cloaca_status nested(cloaca_error *error)
{
    clo_fail(error, CLOACA_IN_TRANSACTION, "A transaction is open already.");
    clo_error_hint(error, "Commit it or roll it back first.");
    return CLOACA_IN_TRANSACTION;
}
