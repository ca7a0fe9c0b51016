/*
 * postgres_connection.c - opens a connection to a PostgreSQL server
 *
 * Waits with poll, so that connect_timeout is for the whole and not for each address, and finds out why a server refused: libpq
 * has the SQLSTATE in its message alone. No error quotes the URL, which may have a password.
 *
 * Processes: one server process a connection. Threads: the caller's; nothing is locked.
 */
#define _DEFAULT_SOURCE /* clock_gettime */
#include "backend_postgres.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static cloaca_status wait_for_server(PGconn *server, const clo_guard *guard, cloaca_error *error);
static cloaca_status connect_failed(PGconn *server, cloaca_error *error);
static cloaca_status malformed(cloaca_error *error);
static void ignore_notice(void *context, const PGresult *notice);

cloaca_status clo_postgres_connect(const char *url, const clo_guard *guard, PGconn **server, cloaca_error *error)
{
    const char *const names[] = {"dbname", "client_encoding", "fallback_application_name", NULL};
    const char *const values[] = {url, "UTF8", "cloaca", NULL};
    PQconninfoOption *options = PQconninfoParse(url, NULL);

    /* libpq's own message would quote the URL, the password included. */
    if (options == NULL) {
        return malformed(error);
    }
    PQconninfoFree(options);
    *server = PQconnectStartParams(names, values, 1);
    if (*server == NULL) {
        return clo_no_memory(error);
    }
    PQsetNoticeReceiver(*server, ignore_notice, NULL);
    /* With the SQLSTATE in the messages, the only place where a refused connection has it. */
    PQsetErrorVerbosity(*server, PQERRORS_VERBOSE);
    return PQstatus(*server) == CONNECTION_BAD ? connect_failed(*server, error) : wait_for_server(*server, guard, error);
}

/* Until the server has answered, or connect_timeout has passed, or the guard's time. */
static cloaca_status wait_for_server(PGconn *server, const clo_guard *guard, cloaca_error *error)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    PQconninfoOption *options = PQconninfo(server);
    int64_t left = -1;
    struct timespec start, now;

    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        if (strcmp(option->keyword, "connect_timeout") == 0 && option->val != NULL && strtol(option->val, NULL, 10) > 0) {
            left = (int64_t) strtol(option->val, NULL, 10) * 1000;
        }
    }
    PQconninfoFree(options);
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED) {
        struct pollfd descriptor = {PQsocket(server), state == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};
        const int most = guard != NULL ? clo_guard_left(guard) : 60000;
        int64_t passed;

        clock_gettime(CLOCK_MONOTONIC, &now);
        passed = ((int64_t) now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
        if (left >= 0 && passed >= left) {
            return clo_fail(error, CLOACA_TIMEOUT, "The server did not answer within connect_timeout.");
        }
        if (most == 0) {
            return clo_fail(error, CLOACA_CONNECTION_REFUSED, "The server did not answer in time.");
        }
        if (poll(&descriptor, 1, left >= 0 && left - passed < most ? (int) (left - passed) : most) > 0) {
            state = PQconnectPoll(server);
        }
    }
    return state == PGRES_POLLING_OK ? CLOACA_OK : connect_failed(server, error);
}

/* The message reads "connection to server ... failed: FATAL:  28P01: password authentication failed ..." when the server spoke.
 */
static cloaca_status connect_failed(PGconn *server, cloaca_error *error)
{
    const char *message = PQerrorMessage(server);
    const char *text = message;
    cloaca_status status = CLOACA_CONNECTION_REFUSED;

    for (const char *at = message; (at = strstr(at, ":  ")) != NULL; at++) {
        if (strspn(at + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && at[8] == ':') {
            char sqlstate[6] = {0};

            memcpy(sqlstate, at + 3, 5);
            text = at + 10;
            status = clo_status_of_sqlstate(sqlstate);
            if (status == CLOACA_CONNECTION_LOST) {
                status = CLOACA_CONNECTION_REFUSED;
            }
            break;
        }
    }
    if (text == message && PQconnectionNeedsPassword(server)) {
        status = CLOACA_AUTHENTICATION_FAILED;
    }
    clo_fail(error, status, NULL);
    if (error != NULL) {
        clo_error_copy(error->detail, sizeof(error->detail), text, strcspn(text, "\n"));
    }
    return status;
}

static cloaca_status malformed(cloaca_error *error)
{
    clo_fail(error, CLOACA_INVALID_ARGUMENT, "The URL is malformed.");
    clo_error_hint(error, "Write postgresql://user:password@host:port/database, with % and two digits for special characters.");
    return CLOACA_INVALID_ARGUMENT;
}

static void ignore_notice(void *context, const PGresult *notice)
{
    (void) context;
    (void) notice;
}
