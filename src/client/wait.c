/*
 * wait.c - waiting for a task or the end of an execution: blocking, for event loops, and its interruption
 *
 * A backend whose server can sleep does the waiting there, and this file polls its socket. On the other one this file looks
 * again, every 5 to 50 ms, whether anything was written since the last look or is due by now, and only then asks the tables. A
 * call by name, a typed one and one of the loadable module take the same way.
 *
 * Threads: cloaca_interrupt alone may come from another thread or a signal handler. It sets a flag, and then writes into a pipe
 * if a wait that blocks has made one; the wait makes the pipe first and looks at the flag after that, so that none is missed.
 */
#define _GNU_SOURCE /* pipe2 */
#include "backend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND INT64_C(1000)
#define PAUSE_LOW (5 * MILLISECOND)
#define PAUSE_HIGH (50 * MILLISECOND)
#define NEVER INT64_MAX

static cloaca_status begin(cloaca *connection, const clo_function *function, const clo_value *arguments, cloaca_error *error);
static cloaca_status begin_watching(cloaca *connection, const clo_function *function, const clo_value *arguments,
                                    cloaca_error *error);
static cloaca_status copy_arguments(clo_wait *wait, const clo_function *function, const clo_value *arguments,
                                    cloaca_error *error);
static cloaca_status check(cloaca *connection, const clo_sink *sink, bool *done, int64_t *again, cloaca_error *error);
static cloaca_status check_watched(cloaca *connection, const clo_sink *sink, bool *done, int64_t *again, cloaca_error *error);
static cloaca_status watch(cloaca *connection, cloaca_error *error);
static cloaca_status look(cloaca *connection, cloaca *through, cloaca_error *error);
static bool take_look(void *context, const clo_value *values);
static cloaca_status cancel(cloaca *connection, const clo_sink *sink, cloaca_error *error);
static void finish(cloaca *connection);
static cloaca_status make_pipe(clo_wait *wait, cloaca_error *error);
static bool take_interrupt(clo_wait *wait);
static cloaca_status typed_arguments(cloaca *connection, size_t count, const char *const *queues, int64_t timeout,
                                     clo_value *values, cloaca_error *error);
static bool take_ready(void *context, const clo_value *values);
static clo_value no_answer(const clo_function *function);
static int64_t timeout_of(const clo_function *function, const clo_value *arguments);
static int64_t monotonic_now(void);
static int64_t least(int64_t one, int64_t other);

cloaca_status cloaca_wait_for_task(cloaca *connection, size_t count, const char *const *queues, int64_t timeout, bool *ready,
                                   cloaca_error *error)
{
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    bool found = false;
    cloaca_status status = typed_arguments(connection, count, queues, timeout, values, error);

    if (status == CLOACA_OK) {
        status = clo_wait_for(connection, &clo_functions[CLO_WAIT_FOR_TASK], values, &(clo_sink){take_ready, &found}, error);
    }
    if (ready != NULL) {
        *ready = found;
    }
    return status;
}

cloaca_status cloaca_wait_begin(cloaca *connection, size_t count, const char *const *queues, int64_t timeout,
                                cloaca_error *error)
{
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    const cloaca_status status = typed_arguments(connection, count, queues, timeout, values, error);

    return status == CLOACA_OK ? begin(connection, &clo_functions[CLO_WAIT_FOR_TASK], values, error) : status;
}

int cloaca_wait_descriptor(const cloaca *connection)
{
    return connection->wait.function != NULL && connection->backend->wait_descriptor != NULL
               ? connection->backend->wait_descriptor(connection)
               : -1;
}

cloaca_status cloaca_wait_check(cloaca *connection, bool *done, bool *ready, int64_t *again, cloaca_error *error)
{
    bool found = false;
    cloaca_status status;

    clo_error_clear(error);
    *done = true;
    *ready = false;
    *again = CLOACA_NO_INTERVAL;
    if (connection->wait.function == NULL) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "There is no wait under way.");
    }
    status = check(connection, &(clo_sink){take_ready, &found}, done, again, error);
    *ready = found;
    return status;
}

cloaca_status cloaca_wait_cancel(cloaca *connection, bool *ready, cloaca_error *error)
{
    bool found = false;
    cloaca_status status = CLOACA_OK;

    clo_error_clear(error);
    if (connection->wait.function != NULL) {
        status = cancel(connection, &(clo_sink){take_ready, &found}, error);
    }
    if (ready != NULL) {
        *ready = found;
    }
    return status;
}

void cloaca_interrupt(cloaca *connection)
{
    const int kept = errno;

    atomic_store(&connection->wait.interrupted, true);
    /* A full pipe wakes just as well. */
    if (atomic_load(&connection->wait.has_pipe) && write(connection->wait.pipe[1], "", 1) < 0) {
        errno = kept;
    }
    errno = kept;
}

/* A call of a function that waits, to its end. */
cloaca_status clo_wait_for(cloaca *connection, const clo_function *function, const clo_value *arguments, const clo_sink *sink,
                           cloaca_error *error)
{
    clo_wait *wait = &connection->wait;
    cloaca_status status = make_pipe(wait, error);
    bool done = false;
    int64_t again;

    if (status == CLOACA_OK) {
        status = begin(connection, function, arguments, error);
    }
    while (status == CLOACA_OK) {
        status = check(connection, sink, &done, &again, error);
        if (status == CLOACA_OK && !done) {
            struct pollfd entries[] = {{wait->pipe[0], POLLIN, 0}, {cloaca_wait_descriptor(connection), POLLIN, 0}};

            /* A descriptor of -1 is passed over. */
            poll(entries, 2, again < 0 ? -1 : (int) ((again + MILLISECOND - 1) / MILLISECOND));
        } else {
            break;
        }
    }
    return status;
}

/* The end of the connection: nothing of a wait stays behind. */
void clo_wait_end(cloaca *connection)
{
    clo_wait *wait = &connection->wait;

    if (wait->function != NULL) {
        cancel(connection, NULL, NULL);
    }
    if (atomic_load(&wait->has_pipe)) {
        close(wait->pipe[0]);
        close(wait->pipe[1]);
    }
    clo_arena_free(&wait->arena);
}

/* --------------------------------------------------------------------------------------------------------------- beginning */

static cloaca_status begin(cloaca *connection, const clo_function *function, const clo_value *arguments, cloaca_error *error)
{
    clo_wait *wait = &connection->wait;
    cloaca_status status;

    clo_error_clear(error);
    status = clo_check_usable(connection, error);
    if (status == CLOACA_OK && (connection->began || connection->backend->in_transaction(connection))) {
        status = clo_fail(error, CLOACA_IN_TRANSACTION, "A wait holds no transaction open.");
        clo_error_hint(error, "Commit or roll back first.");
    }
    if (status != CLOACA_OK) {
        return status;
    }
    if (connection->backend->wait_begin == NULL) {
        return begin_watching(connection, function, arguments, error);
    }
    status = connection->backend->wait_begin(connection, function, arguments, error);
    wait->function = status == CLOACA_OK ? function : NULL;
    return status;
}

/* The first look is one through the connection itself, and says what is wrong with the arguments. */
static cloaca_status begin_watching(cloaca *connection, const clo_function *function, const clo_value *arguments,
                                    cloaca_error *error)
{
    clo_wait *wait = &connection->wait;
    const int64_t now = monotonic_now();
    const int64_t timeout = timeout_of(function, arguments);
    cloaca_status status = copy_arguments(wait, function, arguments, error);

    wait->function = function;
    wait->watcher = NULL;
    wait->pause = PAUSE_LOW / 2;
    wait->deadline = timeout < NEVER - now ? now + timeout : NEVER;
    if (status == CLOACA_OK) {
        status = look(connection, connection, error);
    }
    if (status != CLOACA_OK) {
        finish(connection);
    }
    return status;
}

/* What a value points to may be gone by the next look. */
static cloaca_status copy_arguments(clo_wait *wait, const clo_function *function, const clo_value *arguments,
                                    cloaca_error *error)
{
    for (size_t i = 0; i < function->parameter_count; i++) {
        wait->arguments[i] = arguments[i];
        if (arguments[i].kind == CLO_TEXT) {
            wait->arguments[i].text = clo_arena_copy(&wait->arena, arguments[i].text, arguments[i].length);
            if (wait->arguments[i].text == NULL) {
                return clo_no_memory(error);
            }
        }
    }
    return CLOACA_OK;
}

/* ---------------------------------------------------------------------------------------------------------------- checking */

/* The row that says how it ended goes to the sink, once; after that, and after an error, no wait is under way. */
static cloaca_status check(cloaca *connection, const clo_sink *sink, bool *done, int64_t *again, cloaca_error *error)
{
    const clo_backend *backend = connection->backend;
    cloaca_status status;

    *again = CLOACA_NO_INTERVAL;
    *done = true;
    if (take_interrupt(&connection->wait)) {
        return cancel(connection, sink, error);
    }
    status = backend->wait_begin != NULL ? backend->wait_check(connection, sink, done, error)
                                         : check_watched(connection, sink, done, again, error);
    if (status != CLOACA_OK || *done) {
        *done = true;
        finish(connection);
    }
    return status;
}

/* Looks when there is a reason to. A lock that stands in the way is one to look later. */
static cloaca_status check_watched(cloaca *connection, const clo_sink *sink, bool *done, int64_t *again, cloaca_error *error)
{
    clo_wait *wait = &connection->wait;
    const int64_t now = monotonic_now();
    cloaca_status status = CLOACA_OK;

    if (!wait->ready && now < wait->deadline) {
        status = watch(connection, error);
        if (status == CLOACA_BUSY) {
            clo_error_clear(error);
            status = CLOACA_OK;
        }
    }
    *done = wait->ready || now >= wait->deadline;
    if (status != CLOACA_OK) {
        return status;
    }
    if (*done) {
        const clo_value answer = wait->ready ? wait->answer : no_answer(wait->function);

        return sink->row(sink->context, &answer) ? CLOACA_OK : clo_no_memory(error);
    }
    *again = least(wait->pause, wait->deadline - now);
    if (wait->next_at != NEVER) {
        const int64_t left = wait->next_at - connection->backend->now(connection);

        *again = least(*again, left > 0 ? left : 0);
    }
    return CLOACA_OK;
}

static cloaca_status watch(cloaca *connection, cloaca_error *error)
{
    const clo_backend *backend = connection->backend;
    clo_wait *wait = &connection->wait;
    bool changed = false;
    cloaca_status status = CLOACA_OK;

    wait->pause = least(wait->pause * 2, PAUSE_HIGH);
    if (wait->watcher == NULL) {
        status = backend->watch_begin(connection, &wait->watcher, error);
        wait->stale = wait->watcher != connection;
    }
    /* What interrupts the caller's statement ends the wait, although another connection watches. */
    if (status == CLOACA_OK && wait->watcher != connection) {
        status = backend->watch_changed(connection, &changed, error);
    }
    if (status == CLOACA_OK) {
        status = backend->watch_changed(wait->watcher, &changed, error);
    }
    if (status != CLOACA_OK) {
        return status;
    }
    if (changed) {
        wait->pause = PAUSE_LOW;
    }
    if (changed || wait->stale || backend->now(connection) >= wait->next_at) {
        status = look(connection, wait->watcher, error);
    }
    return status;
}

/* Asks the tables. What is written from here on counts as a change, whatever the answer. */
static cloaca_status look(cloaca *connection, cloaca *through, cloaca_error *error)
{
    clo_wait *wait = &connection->wait;
    bool changed;
    cloaca_status status = connection->backend->watch_changed(through, &changed, error);

    wait->stale = true;
    wait->ready = false;
    wait->next_at = NEVER;
    return status == CLOACA_OK
               ? connection->backend->call(through, wait->function, wait->arguments, &(clo_sink){take_look, wait}, error)
               : status;
}

static bool take_look(void *context, const clo_value *values)
{
    clo_wait *wait = context;

    wait->stale = false;
    wait->ready = values[0].kind == CLO_TEXT || (values[0].kind == CLO_INTEGER && values[0].integer != 0);
    wait->answer = values[0];
    wait->next_at = values[1].kind == CLO_INTEGER ? values[1].integer : NEVER;
    if (values[0].kind == CLO_TEXT) {
        wait->answer.text = clo_arena_copy(&wait->arena, values[0].text, values[0].length);
        return wait->answer.text != NULL;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------------------ ending */

static cloaca_status cancel(cloaca *connection, const clo_sink *sink, cloaca_error *error)
{
    const clo_value no = no_answer(connection->wait.function);
    cloaca_status status = CLOACA_OK;

    if (connection->backend->wait_begin != NULL) {
        status = connection->backend->wait_cancel(connection, sink, error);
    } else if (sink != NULL && !sink->row(sink->context, &no)) {
        status = clo_no_memory(error);
    }
    finish(connection);
    return status;
}

static void finish(cloaca *connection)
{
    clo_wait *wait = &connection->wait;

    if (wait->watcher != NULL && wait->watcher != connection) {
        cloaca_close(wait->watcher);
    }
    wait->watcher = NULL;
    wait->function = NULL;
    clo_arena_reset(&wait->arena);
}

/* ------------------------------------------------------------------------------------------------------------- interruption */

static cloaca_status make_pipe(clo_wait *wait, cloaca_error *error)
{
    if (!atomic_load(&wait->has_pipe)) {
        if (pipe2(wait->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
            return clo_fail(error, CLOACA_OUT_OF_MEMORY, "The process cannot open another pipe.");
        }
        atomic_store(&wait->has_pipe, true);
    }
    return CLOACA_OK;
}

/* The pipe is emptied before the flag is taken down: a byte too many only makes one more check. */
static bool take_interrupt(clo_wait *wait)
{
    char bytes[64];

    while (atomic_load(&wait->has_pipe) && read(wait->pipe[0], bytes, sizeof(bytes)) > 0) {
    }
    return atomic_exchange(&wait->interrupted, false);
}

/* ------------------------------------------------------------------------------------------------------------------ values */

static cloaca_status typed_arguments(cloaca *connection, size_t count, const char *const *queues, int64_t timeout,
                                     clo_value *values, cloaca_error *error)
{
    const clo_function *function = &clo_functions[CLO_WAIT_FOR_TASK];
    cloaca_status status;

    clo_error_clear(error);
    clo_arena_reset(&connection->scratch);
    status = clo_read_list(connection, &function->parameters[CLO_WAIT_FOR_TASK_ARG_QUEUES], queues, count,
                           &values[CLO_WAIT_FOR_TASK_ARG_QUEUES], error);
    if (timeout >= 0) {
        values[CLO_WAIT_FOR_TASK_ARG_TIMEOUT] = (clo_value){CLO_INTEGER, timeout, NULL, 0};
    }
    return status;
}

static bool take_ready(void *context, const clo_value *values)
{
    *(bool *) context = values[0].integer != 0;
    return true;
}

/* What a wait says that ended otherwise: false, or null where the answer is a text. */
static clo_value no_answer(const clo_function *function)
{
    return (clo_value){function->columns[0].type == CLOACA_TYPE_BOOLEAN ? CLO_INTEGER : CLO_NULL, 0, NULL, 0};
}

/* The argument of that name; NEVER when there is none. */
static int64_t timeout_of(const clo_function *function, const clo_value *arguments)
{
    for (size_t i = 0; i < function->parameter_count; i++) {
        if (strcmp(function->parameters[i].name, "timeout") == 0 && arguments[i].kind == CLO_INTEGER) {
            return arguments[i].integer;
        }
    }
    return NEVER;
}

static int64_t monotonic_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t least(int64_t one, int64_t other)
{
    return one < other ? one : other;
}
