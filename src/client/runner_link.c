/*
 * runner_link.c - the connections of a runner, which are opened again when they were lost
 *
 * Each is used by one thread at a time (see runner.h). Pauses between attempts double from 0.1 to 5 seconds.
 */
#include "runner.h"

#include <stdio.h>

/* How long the server may take to let us in again. */
#define OPEN_PATIENCE (10 * SECOND)

static void set_connection(cloaca_runner *runner, runner_link *link, cloaca *connection);
static void back_off(runner_link *link);
static void cannot_connect(cloaca_runner *runner, const runner_link *link, const cloaca_error *error);

bool clo_link_ready(cloaca_runner *runner, runner_link *link, cloaca_error *error)
{
    cloaca *connection = NULL;
    cloaca_status status;

    if (link->connection != NULL) {
        return true;
    }
    if (clo_monotonic_now() < link->next_try) {
        clo_fail(error, CLOACA_CONNECTION_LOST, "The runner has no connection now.");
        return false;
    }
    link->guard.limit = link->was_open ? clo_monotonic_now() + OPEN_PATIENCE : 0;
    status = clo_open(runner->options.url, &link->guard, &connection, error);
    /* The connection is held for the runner's whole life: what it claims may end with it, unless a pooler stands between. */
    if (status == CLOACA_OK && link->binds_leases && cloaca_is_direct(connection)) {
        status = cloaca_bind_leases(connection, true, error);
    }
    link->guard.limit = 0;
    if (status != CLOACA_OK) {
        cloaca_close(connection);
        back_off(link);
        cannot_connect(runner, link, error);
        return false;
    }
    set_connection(runner, link, connection);
    if (link->was_open) {
        clo_runner_log(runner, CLOACA_LOG_WARNING, "connected again %s", link->purpose);
    }
    link->was_open = true;
    return true;
}

void clo_link_limit(runner_link *link, int64_t patience)
{
    link->guard.limit = cloaca_backend_of(link->connection) == CLOACA_SQLITE ? 0 : clo_monotonic_now() + patience;
}

bool clo_link_is_locked(const runner_link *link, const cloaca_error *error)
{
    return error->status == CLOACA_BUSY && cloaca_backend_of(link->connection) == CLOACA_SQLITE;
}

bool clo_link_failed(cloaca_runner *runner, runner_link *link, const char *what, const cloaca_error *error)
{
    clo_link_note(runner, link, what, error);
    if (!error->connection_lost) {
        back_off(link);
    }
    return error->retryable || clo_is_unsure(error);
}

void clo_link_note(cloaca_runner *runner, runner_link *link, const char *what, const cloaca_error *error)
{
    const bool repeat = error->retryable || clo_is_unsure(error);

    clo_runner_log_error(runner,
                         error->connection_lost ? CLOACA_LOG_WARNING
                         : repeat               ? CLOACA_LOG_INFO
                         : clo_passes(error)    ? CLOACA_LOG_WARNING
                                                : CLOACA_LOG_ERROR,
                         what, error);
    if (error->connection_lost) {
        clo_link_close(runner, link);
        back_off(link);
    }
    if (!repeat) {
        clo_runner_fail(runner, error);
    }
}

/* A failover makes a server read-only for a while, and others make room. */
bool clo_passes(const cloaca_error *error)
{
    return error->retryable || clo_is_unsure(error) || error->status == CLOACA_READ_ONLY ||
           error->status == CLOACA_STORAGE_FULL || error->status == CLOACA_OUT_OF_MEMORY;
}

bool clo_is_unsure(const cloaca_error *error)
{
    return error->connection_lost || error->commit_unknown;
}

void clo_link_worked(runner_link *link)
{
    link->backoff = BACKOFF_LOW;
    link->next_try = 0;
}

void clo_link_close(cloaca_runner *runner, runner_link *link)
{
    cloaca *connection = link->connection;

    set_connection(runner, link, NULL);
    cloaca_close(connection);
}

/* Others may interrupt what waits on it, as long as they see it. */
static void set_connection(cloaca_runner *runner, runner_link *link, cloaca *connection)
{
    pthread_mutex_lock(&runner->lock);
    link->connection = connection;
    pthread_mutex_unlock(&runner->lock);
}

static void back_off(runner_link *link)
{
    link->next_try = clo_monotonic_now() + link->backoff;
    link->backoff = clo_earlier(link->backoff * 2, BACKOFF_HIGH);
}

/* That it was lost was said before; and when it was never there, whoever starts the runner is told. */
static void cannot_connect(cloaca_runner *runner, const runner_link *link, const cloaca_error *error)
{
    const bool for_good = error->status == CLOACA_AUTHENTICATION_FAILED || error->status == CLOACA_UNKNOWN_DATABASE ||
                          error->status == CLOACA_INVALID_ARGUMENT;
    char what[64];

    if (!link->was_open) {
        return;
    }
    snprintf(what, sizeof(what), "cannot connect %s", link->purpose);
    clo_runner_log_error(runner, for_good ? CLOACA_LOG_ERROR : CLOACA_LOG_INFO, what, error);
    if (for_good) {
        clo_runner_fail(runner, error);
    }
}
