/*
 * backend_postgres.c - runs the functions on PostgreSQL
 *
 * A function is one statement (postgres_values.c). Inside a borrowed connection's transaction a call has a savepoint, so that
 * an error leaves the caller's transaction usable. Nobody but this backend's files uses libpq.
 *
 * Processes: one server process a connection. Locks: those that the functions take.
 */
#define _DEFAULT_SOURCE /* pthread_sigmask */
#include "backend_postgres.h"
#include "common/timestamp.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a command came to, when it failed, for COMMIT_UNKNOWN. */
typedef enum effect_kind {
    EFFECT_NONE,  /* a lost connection loses nothing but the answer */
    EFFECT_COMMIT /* the command commits: it may have happened */
} effect_kind;

/* What a statement has answered so far. */
typedef struct reply {
    effect_kind effect;
    bool answered;
    cloaca_status status;
    PGresult *last; /* of those that succeeded */
} reply;

/* A request to cancel that a thread of its own makes, as its answer may never come. */
typedef struct cancel_request {
    PGcancel *cancel;
    atomic_int holders; /* the connection, and that thread until the server has answered */
} cancel_request;

typedef struct connection {
    cloaca base;
    PGconn *server;
    cancel_request *cancelling; /* NULL: no request was made for the statement that runs */
    bool silent;                /* the server does not answer: the connection is lost */
    clo_buffer sql;
    clo_arena arena;   /* the parameters of the call that runs */
    reply waited;      /* of the wait under way */
    cloaca_error *why; /* its error */
} connection;

/* How long to wait for the answer to a request to cancel, in milliseconds, before it is repeated, and how often that is done.
 */
#define CANCEL_PAUSE 100
#define CANCEL_TRIES 50
/* The same for a call that its guard ends, in all. */
#define CANCEL_PATIENCE 2000

static const clo_backend backend;

static cloaca_status set_setting(connection *self, const char *name, const char *value, cloaca_error *error);
static cloaca_status run(connection *self, const char *sql, const postgres_parameters *given, effect_kind effect,
                         PGresult **result, cloaca_error *error);
static cloaca_status send(connection *self, const char *sql, const postgres_parameters *given, effect_kind effect,
                          cloaca_error *error);
static void take(connection *self, reply *got, PGresult *next, cloaca_error *error);
static cloaca_status finish(connection *self, reply *got, PGresult **result, cloaca_error *error);
static PGresult *next_result(connection *self);
static bool await_answer(connection *self);
static void begin_cancel(connection *self);
static void *make_request(void *request);
static bool end_cancel(connection *self);
static void request_cancel(connection *self);
static void end_copy(connection *self, ExecStatusType kind);
static cloaca_status command(connection *self, const char *sql, effect_kind effect, cloaca_error *error);
static cloaca_status fail_with(connection *self, const PGresult *result, bool answered, effect_kind effect,
                               cloaca_error *error);
static cloaca_status lost(connection *self, effect_kind effect, cloaca_error *error);
static cloaca_status older_server(const clo_function *function, cloaca_status status, cloaca_error *error);
static bool still_there(connection *self);

bool clo_postgres_option(const char *name)
{
    PQconninfoOption *known = PQconndefaults();
    bool found = false;

    for (PQconninfoOption *option = known; option != NULL && option->keyword != NULL && !found; option++) {
        found = strcmp(option->keyword, name) == 0;
    }
    PQconninfoFree(known);
    return found;
}

cloaca_status clo_postgres_open(const clo_url *url, const clo_guard *guard, cloaca **made, cloaca_error *error)
{
    connection *self = calloc(1, sizeof(connection));
    cloaca_status status;

    if (self == NULL) {
        return clo_no_memory(error);
    }
    self->base.backend = &backend;
    self->base.guard = guard;
    status = clo_postgres_connect(url->location, guard, &self->server, error);
    if (guard != NULL && self->server != NULL) {
        PQsetnonblocking(self->server, 1);
    }
    if (status == CLOACA_OK && url->schema != NULL) {
        const clo_value schema[CLO_PARAMETER_LIMIT] = {{CLO_TEXT, 0, url->schema, strlen(url->schema)}};

        status = backend.call(&self->base, &clo_functions[CLO_SET_TENANT], schema, NULL, error);
    }
    if (status != CLOACA_OK) {
        cloaca_close(&self->base);
        return status;
    }
    *made = &self->base;
    return CLOACA_OK;
}

cloaca_status clo_postgres_attach(void *handle, cloaca **made, cloaca_error *error)
{
    connection *self;

    if (PQstatus(handle) != CONNECTION_OK || PQtransactionStatus(handle) == PQTRANS_ACTIVE) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The connection must be open and idle.");
    }
    if (strcmp(PQparameterStatus(handle, "client_encoding"), "UTF8") != 0) {
        clo_fail(error, CLOACA_NOT_SUPPORTED, "The connection's client_encoding must be UTF8.");
        clo_error_hint(error, "Call PQsetClientEncoding(connection, \"UTF8\") first.");
        return CLOACA_NOT_SUPPORTED;
    }
    self = calloc(1, sizeof(connection));
    if (self == NULL) {
        return clo_no_memory(error);
    }
    self->base.backend = &backend;
    self->base.borrowed = true;
    self->server = handle;
    *made = &self->base;
    return CLOACA_OK;
}

/* ------------------------------------------------------------------------------------------------- the backend's functions */

static cloaca_status call(cloaca *base, const clo_function *function, const clo_value *arguments, const clo_sink *sink,
                          cloaca_error *error)
{
    connection *self = (connection *) base;
    const bool outside = PQtransactionStatus(self->server) == PQTRANS_IDLE;
    const bool savepoint = base->borrowed && !base->began && !outside && !function->procedure;
    postgres_parameters built = {0};
    PGresult *result = NULL;
    cloaca_status status;

    clo_arena_reset(&self->arena);
    status = clo_postgres_parameters(function, arguments, &self->arena, &built, error);
    if (status == CLOACA_OK && savepoint) {
        status = command(self, "savepoint cloaca", EFFECT_NONE, error);
    }
    if (status != CLOACA_OK) {
        return status;
    }
    clo_postgres_statement(function, arguments, &self->sql);
    status = clo_buffer_finish(&self->sql)
                 ? run(self, self->sql.data, &built, outside && function->writes ? EFFECT_COMMIT : EFFECT_NONE, &result, error)
                 : clo_no_memory(error);
    status = older_server(function, status, error);
    if (status == CLOACA_OK && function->column_count > 0) {
        status = clo_postgres_rows(function, result, sink, error);
    }
    PQclear(result);
    if (savepoint && PQstatus(self->server) == CONNECTION_OK) {
        if (status != CLOACA_OK && command(self, "rollback to savepoint cloaca", EFFECT_NONE, NULL) == CLOACA_OK &&
            error != NULL) {
            error->transaction_aborted = false;
        }
        command(self, "release savepoint cloaca", EFFECT_NONE, NULL);
    }
    return status;
}

static cloaca_status init(cloaca *base, cloaca_error *error)
{
    /* Without the extension when the script of the functions was loaded instead. */
    return command((connection *) base,
                   "do $$ begin if pg_catalog.to_regproc('cloaca.current_tenant') is null then"
                   " create extension cloaca; end if; end $$",
                   EFFECT_NONE, error);
}

static cloaca_status begin(cloaca *base, cloaca_error *error)
{
    return command((connection *) base, "begin", EFFECT_NONE, error);
}

/* An aborted transaction answers "rollback" to commit. */
static cloaca_status commit(cloaca *base, cloaca_error *error)
{
    connection *self = (connection *) base;
    PGresult *result = NULL;
    cloaca_status status = run(self, "commit", NULL, EFFECT_COMMIT, &result, error);

    if (status == CLOACA_OK && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        status = clo_fail(error, CLOACA_DATABASE_ERROR, "The transaction was rolled back: an earlier statement in it failed.");
    }
    PQclear(result);
    return status;
}

static cloaca_status rollback(cloaca *base, cloaca_error *error)
{
    connection *self = (connection *) base;

    return PQtransactionStatus(self->server) == PQTRANS_IDLE ? CLOACA_OK : command(self, "rollback", EFFECT_NONE, error);
}

static cloaca_status execute(cloaca *base, const char *sql, cloaca_error *error)
{
    connection *self = (connection *) base;

    return command(self, sql, PQtransactionStatus(self->server) == PQTRANS_IDLE ? EFFECT_COMMIT : EFFECT_NONE, error);
}

static cloaca_status set_clock(cloaca *base, int64_t now, cloaca_error *error)
{
    char text[CLO_TIME_SIZE] = "";

    if (now != CLOACA_NO_TIME) {
        clo_time_format(now, text);
    }
    return set_setting((connection *) base, "cloaca.clock", text, error);
}

static cloaca_status set_random(cloaca *base, double random, cloaca_error *error)
{
    char text[40] = "";

    if (random >= 0) {
        snprintf(text, sizeof(text), "%.17g", random);
    }
    return set_setting((connection *) base, "cloaca.random", text, error);
}

static cloaca_status make_verifier(cloaca *base, const char *password, clo_arena *arena, const char **verifier,
                                   cloaca_error *error)
{
    connection *self = (connection *) base;
    char *made = PQencryptPasswordConn(self->server, password, "", "scram-sha-256");

    if (made == NULL) {
        return clo_fail(error, CLOACA_DATABASE_ERROR, "The password cannot be made into a verifier.");
    }
    *verifier = clo_arena_copy(arena, made, strlen(made));
    PQfreemem(made);
    return *verifier == NULL ? clo_no_memory(error) : CLOACA_OK;
}

static const char *server_host(cloaca *base)
{
    return PQhost(((connection *) base)->server);
}

/* A lost connection has no transaction any more, but that is for the next call to find out. */
static bool in_transaction(cloaca *base)
{
    const PGTransactionStatusType state = PQtransactionStatus(((connection *) base)->server);

    return state == PQTRANS_UNKNOWN ? base->began : state != PQTRANS_IDLE;
}

static bool is_there(cloaca *base)
{
    return still_there((connection *) base);
}

static cloaca_status bind_leases(cloaca *base, bool on, cloaca_error *error)
{
    return set_setting((connection *) base, "cloaca.bind_leases", on ? "on" : "off", error);
}

static cloaca_status wait_begin(cloaca *base, const clo_function *function, const clo_value *arguments, cloaca_error *error)
{
    connection *self = (connection *) base;
    postgres_parameters built = {0};
    cloaca_status status = CLOACA_OK;

    if (self->why == NULL) {
        self->why = calloc(1, sizeof(cloaca_error));
        status = self->why == NULL ? clo_no_memory(error) : CLOACA_OK;
    }
    clo_arena_reset(&self->arena);
    if (status == CLOACA_OK) {
        status = clo_postgres_parameters(function, arguments, &self->arena, &built, error);
    }
    if (status == CLOACA_OK) {
        clo_postgres_statement(function, arguments, &self->sql);
        status = clo_buffer_finish(&self->sql) ? send(self, self->sql.data, &built, EFFECT_NONE, error) : clo_no_memory(error);
    }
    self->waited = (reply){.effect = EFFECT_NONE};
    return status;
}

static int wait_descriptor(const cloaca *base)
{
    return PQsocket(((const connection *) base)->server);
}

/* Takes what has arrived, without waiting for more. */
static cloaca_status wait_check(cloaca *base, const clo_sink *sink, bool *done, cloaca_error *error)
{
    connection *self = (connection *) base;
    const clo_function *function = base->wait.function;
    PGresult *result = NULL;
    cloaca_status status;

    *done = false;
    /* When the connection is broken, libpq makes that a result. */
    PQflush(self->server);
    PQconsumeInput(self->server);
    while (!*done && !PQisBusy(self->server)) {
        PGresult *next = PQgetResult(self->server);

        *done = next == NULL;
        if (next != NULL) {
            take(self, &self->waited, next, self->why);
        }
    }
    if (!*done) {
        return CLOACA_OK;
    }
    status = finish(self, &self->waited, &result, self->why);
    if (status != CLOACA_OK) {
        status = older_server(function, status, self->why);
        if (error != NULL) {
            *error = *self->why;
        }
    } else if (sink != NULL) {
        status = clo_postgres_rows(function, result, sink, error);
    }
    PQclear(result);
    return status;
}

/*
 * Asks the server to cancel, and takes its answer: the cancellation, or what came just before it. A request that is there
 * before the statement cancels nothing, so it is repeated. Once one is answered its signal is on its way, and cannot meet a
 * later statement.
 */
static cloaca_status wait_cancel(cloaca *base, const clo_sink *sink, cloaca_error *error)
{
    connection *self = (connection *) base;
    bool done = false;
    cloaca_status status = CLOACA_OK;

    for (int i = 0; !done; i++) {
        struct pollfd descriptor = {PQsocket(self->server), POLLIN, 0};

        if (i > 0 && poll(&descriptor, 1, CANCEL_PAUSE) == 0 && i > CANCEL_TRIES) {
            self->silent = true;
            return clo_fail(error, CLOACA_CONNECTION_LOST, "The server does not answer a request to cancel.");
        }
        status = wait_check(base, sink, &done, error);
        if (!done && base->guard != NULL) {
            begin_cancel(self);
        } else if (!done) {
            request_cancel(self);
        }
    }
    if (self->cancelling != NULL && !end_cancel(self)) {
        self->silent = true;
    }
    if (status == CLOACA_TIMEOUT) {
        const bool is_boolean = base->wait.function->columns[0].type == CLOACA_TYPE_BOOLEAN;
        const clo_value no = {is_boolean ? CLO_INTEGER : CLO_NULL, 0, NULL, 0};

        clo_error_clear(error);
        status = sink == NULL || sink->row(sink->context, &no) ? CLOACA_OK : clo_no_memory(error);
    }
    return status;
}

static void close_connection(cloaca *base)
{
    connection *self = (connection *) base;

    if (self->cancelling != NULL) {
        end_cancel(self);
    }
    clo_buffer_free(&self->sql);
    clo_arena_free(&self->arena);
    PQclear(self->waited.last);
    free(self->why);
    if (!base->borrowed) {
        PQfinish(self->server);
    }
}

static const clo_backend backend = {
    .kind = CLOACA_POSTGRES,
    .call = call,
    .init = init,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .execute = execute,
    .set_clock = set_clock,
    .set_random = set_random,
    .verifier = make_verifier,
    .host = server_host,
    .in_transaction = in_transaction,
    .is_there = is_there,
    .bind_leases = bind_leases,
    .wait_begin = wait_begin,
    .wait_descriptor = wait_descriptor,
    .wait_check = wait_check,
    .wait_cancel = wait_cancel,
    .close = close_connection,
};

/* ----------------------------------------------------------------------------------------------------------------- calling */

static cloaca_status set_setting(connection *self, const char *name, const char *value, cloaca_error *error)
{
    const postgres_parameters given = {2, {25, 25}, {name, value}, {0}, {0}};
    PGresult *result = NULL;
    cloaca_status status = run(self, "select pg_catalog.set_config($1, $2, false)", &given, EFFECT_NONE, &result, error);

    PQclear(result);
    return status;
}

/* Runs a statement and gives its last result when it succeeded. */
static cloaca_status run(connection *self, const char *sql, const postgres_parameters *given, effect_kind effect,
                         PGresult **result, cloaca_error *error)
{
    reply got = {.effect = effect};
    PGresult *next;
    cloaca_status status = send(self, sql, given, effect, error);

    *result = NULL;
    if (status != CLOACA_OK) {
        return status;
    }
    while ((next = next_result(self)) != NULL) {
        take(self, &got, next, error);
    }
    if (self->cancelling != NULL && !end_cancel(self)) {
        self->silent = true;
    }
    return finish(self, &got, result, error);
}

static cloaca_status send(connection *self, const char *sql, const postgres_parameters *given, effect_kind effect,
                          cloaca_error *error)
{
    int sent;

    if (!still_there(self)) {
        return lost(self, EFFECT_NONE, error);
    }
    sent = given == NULL ? PQsendQuery(self->server, sql)
                         : PQsendQueryParams(self->server, sql, given->count, given->types, given->values, given->lengths,
                                             given->formats, 0);
    if (sent) {
        return CLOACA_OK;
    }
    return PQstatus(self->server) == CONNECTION_BAD
               ? lost(self, effect, error)
               : clo_fail(error, CLOACA_DATABASE_ERROR, "The statement cannot be sent on this connection now.");
}

/* The first error counts, and the last success. */
static void take(connection *self, reply *got, PGresult *next, cloaca_error *error)
{
    const ExecStatusType kind = PQresultStatus(next);

    if (kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK || kind == PGRES_EMPTY_QUERY) {
        got->answered = true;
        PQclear(got->last);
        got->last = next;
        return;
    }
    if (kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT || kind == PGRES_COPY_BOTH) {
        PQclear(next);
        end_copy(self, kind);
        got->status = clo_fail(error, CLOACA_NOT_SUPPORTED, "Copying from and to the client is not possible here.");
        return;
    }
    if (got->status == CLOACA_OK) {
        got->status = fail_with(self, next, got->answered, got->effect, error);
    }
    PQclear(next);
}

/* After the last result of a statement. */
static cloaca_status finish(connection *self, reply *got, PGresult **result, cloaca_error *error)
{
    if (got->status == CLOACA_OK && (PQstatus(self->server) == CONNECTION_BAD || (self->silent && !got->answered))) {
        got->status = lost(self, got->effect, error);
    }
    if (got->status != CLOACA_OK) {
        PQclear(got->last);
        got->last = NULL;
        if (error != NULL) {
            error->transaction_aborted = PQtransactionStatus(self->server) == PQTRANS_INERROR;
        }
        return got->status;
    }
    *result = got->last;
    got->last = NULL;
    return CLOACA_OK;
}

/* NULL: there is no other, or the server does not answer. */
static PGresult *next_result(connection *self)
{
    return self->base.guard == NULL || await_answer(self) ? PQgetResult(self->server) : NULL;
}

/*
 * Waits for what comes next as long as the guard lets it. After that the server is asked to cancel, and has a while to answer;
 * the request is repeated, as one that is there before the statement cancels nothing.
 */
static bool await_answer(connection *self)
{
    int waited = 0;

    while (!self->silent && (PQflush(self->server) > 0 || PQisBusy(self->server))) {
        struct pollfd descriptor = {PQsocket(self->server), POLLIN, 0};
        const int left = clo_guard_left(self->base.guard);

        descriptor.events |= PQflush(self->server) > 0 ? POLLOUT : 0;
        if (left == 0 && waited >= CANCEL_PATIENCE) {
            self->silent = true;
        } else if (left == 0 && (self->cancelling == NULL || waited % CANCEL_PAUSE == 0)) {
            begin_cancel(self);
        }
        if (left == 0) {
            waited += CANCEL_PAUSE / 10;
        }
        if (poll(&descriptor, 1, left > 0 ? left : CANCEL_PAUSE / 10) > 0) {
            PQconsumeInput(self->server);
        }
    }
    return !self->silent;
}

/* Unless one is under way. */
static void begin_cancel(connection *self)
{
    cancel_request *request = self->cancelling;
    sigset_t all, kept;
    pthread_t thread;

    if (request != NULL && atomic_load(&request->holders) > 1) {
        return;
    }
    if (request == NULL) {
        self->cancelling = request = calloc(1, sizeof(cancel_request));
    }
    if (request == NULL) {
        return;
    }
    request->cancel = PQgetCancel(self->server);
    atomic_store(&request->holders, 2);
    /* The program's signals are for its own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    if (request->cancel != NULL && pthread_create(&thread, NULL, make_request, request) == 0) {
        pthread_detach(thread);
    } else {
        PQfreeCancel(request->cancel);
        atomic_store(&request->holders, 1);
    }
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
}

static void *make_request(void *context)
{
    cancel_request *request = context;
    char reason[256];

    PQcancel(request->cancel, reason, sizeof(reason));
    PQfreeCancel(request->cancel);
    if (atomic_fetch_sub(&request->holders, 1) == 1) {
        free(request);
    }
    return NULL;
}

/* False when the request still is under way: it might cancel a later statement. */
static bool end_cancel(connection *self)
{
    cancel_request *request = self->cancelling;
    bool ended = false;

    for (int waited = 0; !ended && waited < CANCEL_PATIENCE && !self->silent; waited += CANCEL_PAUSE / 10) {
        ended = atomic_load(&request->holders) == 1;
        if (!ended) {
            poll(NULL, 0, CANCEL_PAUSE / 10);
        }
    }
    self->cancelling = NULL;
    if (atomic_fetch_sub(&request->holders, 1) == 1) {
        free(request);
    }
    return ended;
}

static void request_cancel(connection *self)
{
    PGcancel *request = PQgetCancel(self->server);
    char reason[256];

    if (request != NULL) {
        PQcancel(request, reason, sizeof(reason));
        PQfreeCancel(request);
    }
}

/* Sends nothing and reads past what comes, so that the connection can be used again. */
static void end_copy(connection *self, ExecStatusType kind)
{
    char *row;

    if (kind == PGRES_COPY_OUT) {
        while (PQgetCopyData(self->server, &row, 0) > 0) {
            PQfreemem(row);
        }
    } else {
        PQputCopyEnd(self->server, "the client copies nothing");
    }
}

static cloaca_status command(connection *self, const char *sql, effect_kind effect, cloaca_error *error)
{
    PGresult *result = NULL;
    cloaca_status status = run(self, sql, NULL, effect, &result, error);

    PQclear(result);
    return status;
}

/* ------------------------------------------------------------------------------------------------------------------ errors */

/*
 * A condition of ours comes with its own detail; what else the server says is put behind the condition's message. `answered`: a
 * result had come before, so that the command may have been committed when the connection ended.
 */
static cloaca_status fail_with(connection *self, const PGresult *result, bool answered, effect_kind effect, cloaca_error *error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    cloaca_status status;

    if (sqlstate == NULL) {
        return lost(self, effect, error);
    }
    status = clo_status_of_sqlstate(sqlstate);
    if (status == CLOACA_CONNECTION_LOST) {
        return lost(self, answered ? effect : EFFECT_NONE, error);
    }
    clo_fail(error, status, NULL);
    if (error == NULL) {
        return status;
    }
    snprintf(error->sqlstate, sizeof(error->sqlstate), "%s", sqlstate);
    if (message != NULL && strcmp(message, error->message) != 0) {
        clo_error_copy(error->detail, sizeof(error->detail), message, strlen(message));
        if (detail != NULL) {
            const size_t length = strlen(error->detail);

            snprintf(error->detail + length, sizeof(error->detail) - length, " ");
            clo_error_copy(error->detail + length + 1, sizeof(error->detail) - length - 1, detail, strlen(detail));
        }
    } else if (detail != NULL) {
        clo_error_copy(error->detail, sizeof(error->detail), detail, strlen(detail));
    }
    if (hint != NULL) {
        clo_error_copy(error->hint, sizeof(error->hint), hint, strlen(hint));
    } else if (status == CLOACA_NOT_A_DATABASE) {
        clo_error_hint(error, "Create the extension in this database: create extension cloaca.");
    }
    return status;
}

static cloaca_status lost(connection *self, effect_kind effect, cloaca_error *error)
{
    const char *message = PQerrorMessage(self->server);
    const cloaca_status status = effect == EFFECT_COMMIT ? CLOACA_COMMIT_UNKNOWN : CLOACA_CONNECTION_LOST;

    if (self->silent) {
        return clo_fail(error, status, "The server did not answer in time.");
    }
    clo_fail(error, status, NULL);
    if (error != NULL) {
        clo_error_copy(error->detail, sizeof(error->detail), message, strcspn(message, "\n"));
    }
    return status;
}

/* A function that the library knows and the server does not: its cloaca is the older one. */
static cloaca_status older_server(const clo_function *function, cloaca_status status, cloaca_error *error)
{
    char called[80];

    snprintf(called, sizeof(called), "cloaca.%s(", function->name);
    if (status != CLOACA_DATABASE_ERROR || error == NULL || strcmp(error->sqlstate, "42883") != 0 ||
        strstr(error->detail, called) == NULL) {
        return status;
    }
    clo_fail(error, CLOACA_UNKNOWN_FUNCTION, "The server's cloaca has no %s.", function->name);
    clo_error_hint(error, "It is older than this library: alter extension cloaca update.");
    return CLOACA_UNKNOWN_FUNCTION;
}

/* A connection that ended while it was idle has something to read, and then its end. */
static bool still_there(connection *self)
{
    struct pollfd descriptor = {PQsocket(self->server), POLLIN, 0};

    if (self->silent || PQstatus(self->server) == CONNECTION_BAD) {
        return false;
    }
    if (poll(&descriptor, 1, 0) > 0) {
        for (int i = 0; i < 2 && PQconsumeInput(self->server); i++) {
        }
    }
    return PQstatus(self->server) == CONNECTION_OK;
}
