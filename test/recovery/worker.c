/*
 * worker.c - the worker of the recovery tests
 *
 *   worker work URL NAME MAX LEASE_MS LOG    claims, works and completes until SIGTERM, in every way that a worker may
 *   worker enqueue URL FIRST LAST BATCH LOG  enqueues payloads FIRST to LAST, skipping what it got no answer for, until SIGTERM
 *   worker flow URL NAME MAX LEASE_MS ODDS   claims tasks of executions and completes them until SIGTERM, each with a row in
 *                                            the table `effect` in the same transaction; one batch in ODDS comes late, one is
 *                                            forgotten, and one transaction given up (0: none). On queue "default"
 *   worker hold URL NAME MAX LEASE_MS        claims until the server is gone; after a line on stdin tries every call with
 *                                            what it has
 *   worker fill URL PAGES LOG                enqueues into a SQLite file that may not grow beyond PAGES, until it is full
 *
 * It is meant to be killed at any moment, and its server too: it opens its connection again and goes on. Whatever the database
 * acknowledged, it appends to LOG, a line each: "done TASK LEASE" for a completion, "task PAYLOAD TASK" for an enqueued task.
 * What it must never see (an error that no fault explains) ends it with status 1. All on queue "storm".
 */
#define _POSIX_C_SOURCE 200809L
#include "cloaca.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* PATIENCE: seconds. */
enum { MOST = 256, PATIENCE = 300 };

static const char *const queue = "storm";
static volatile sig_atomic_t stopped;
static const char *url;
static cloaca *connection;
static int log_file = -1;

static int work(char **arguments);
static int enqueue(char **arguments);
static int flow(char **arguments);
static void leave_effect(const cloaca_task *task, const char *name, bool gives_up);
static int hold(char **arguments);
static int fill(char **arguments);
static void treat(const cloaca_tasks *tasks, int64_t lease);
static void complete_all(const cloaca_tasks *tasks);
static bool retry(cloaca_status status, const cloaca_error *error, const char *what);
static bool enqueue_batch(int64_t first, int64_t count);
static void connect_again(void);
static void pause_ms(long milliseconds);
static int chance(int sides);
static void open_log(const char *path);
static void append(const char *format, ...);
static void stop(int signal);

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        int arguments;
        int (*run)(char **arguments);
    } modes[] = {{"work", 7, work}, {"enqueue", 7, enqueue}, {"flow", 7, flow}, {"hold", 6, hold}, {"fill", 5, fill}};

    signal(SIGTERM, stop);
    srand((unsigned) getpid() ^ (unsigned) time(NULL));
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        if (count == modes[i].arguments && strcmp(arguments[1], modes[i].name) == 0) {
            url = arguments[2];
            connect_again();
            int status = modes[i].run(arguments + 3);
            cloaca_close(connection);
            return status;
        }
    }
    fprintf(stderr, "usage: worker work|enqueue|flow|hold|fill URL ...\n");
    return 2;
}

/* ------------------------------------------------------------------------------------------------------------------- work */

static int work(char **arguments)
{
    const char *name = arguments[0];
    int max = atoi(arguments[1]);
    int64_t lease = atoll(arguments[2]) * 1000;

    open_log(arguments[3]);
    while (!stopped) {
        cloaca_error error;
        cloaca_tasks *tasks;
        cloaca_status status = cloaca_claim(connection, queue, name, 1 + chance(max), lease, &tasks, &error);
        if (retry(status, &error, "claim")) {
            continue;
        }
        if (tasks->count == 0) {
            pause_ms(20);
        } else {
            treat(tasks, lease);
        }
        cloaca_tasks_free(tasks);
    }
    return 0;
}

/* What happens to a claimed batch: mostly it is completed, at times late, one by one, after a heartbeat, or not at all. */
static void treat(const cloaca_tasks *tasks, int64_t lease)
{
    cloaca_error error;
    const cloaca_task *first = tasks->tasks;

    switch (chance(40)) {
    case 0: /* too slow */
        pause_ms((long) (lease / 1000 + 50));
        break;
    case 1:
        retry(cloaca_extend(connection, first->task, first->lease_id, lease, NULL, &error), &error, "extend");
        break;
    case 2:
        retry(cloaca_fail(connection, first->task, first->lease_id, "broken", false, 0, NULL, &error), &error, "fail");
        break;
    case 3:
        retry(cloaca_release(connection, first->task, first->lease_id, &error), &error, "release");
        break;
    case 4: /* one transaction that is given up half-way */
        if (!retry(cloaca_begin(connection, &error), &error, "begin")) {
            retry(cloaca_complete(connection, first->task, first->lease_id, NULL, &error), &error, "complete");
            cloaca_rollback(connection, &error);
        }
        break;
    case 5: /* forgotten */
        return;
    case 6:
    case 7:
        for (size_t i = 0; i < tasks->count; i++) {
            cloaca_status status;
            const cloaca_task *task = &tasks->tasks[i];
            do {
                status = cloaca_complete(connection, task->task, task->lease_id, task->payload, &error);
            } while (retry(status, &error, "complete"));
            if (status == CLOACA_OK) {
                append("done %" PRId64 " %" PRId64 "\n", task->task, task->lease_id);
            }
        }
        return;
    }
    complete_all(tasks);
}

/* A completion whose answer was lost is sent again, as history makes that safe. */
static void complete_all(const cloaca_tasks *tasks)
{
    int64_t ids[MOST], leases[MOST];
    cloaca_status outcomes[MOST], status;
    const char *results[MOST];
    cloaca_error error;

    for (size_t i = 0; i < tasks->count; i++) {
        ids[i] = tasks->tasks[i].task;
        leases[i] = tasks->tasks[i].lease_id;
        results[i] = tasks->tasks[i].payload;
    }
    do {
        status = cloaca_complete_many(connection, tasks->count, ids, leases, results, outcomes, &error);
    } while (retry(status, &error, "complete_many"));
    for (size_t i = 0; i < tasks->count && status == CLOACA_OK; i++) {
        if (outcomes[i] == CLOACA_OK) {
            append("done %" PRId64 " %" PRId64 "\n", ids[i], leases[i]);
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------------- flow */

static int flow(char **arguments)
{
    const char *name = arguments[0];
    int max = atoi(arguments[1]);
    int64_t lease = atoll(arguments[2]) * 1000;
    int odds = atoi(arguments[3]);

    while (!stopped) {
        cloaca_error error;
        cloaca_tasks *tasks;
        cloaca_status status = cloaca_claim(connection, "default", name, 1 + chance(max), lease, &tasks, &error);
        if (retry(status, &error, "claim")) {
            continue;
        }
        if (tasks->count == 0) {
            pause_ms(5);
        } else if (odds > 0 && chance(odds) == 0) { /* too slow */
            pause_ms((long) (lease / 1000 + 50));
        }
        if (odds == 0 || chance(odds) > 0) {
            for (size_t i = 0; i < tasks->count; i++) {
                leave_effect(&tasks->tasks[i], name, odds > 0 && chance(odds) == 0);
            }
        }
        cloaca_tasks_free(tasks);
    }
    return 0;
}

static void leave_effect(const cloaca_task *task, const char *name, bool gives_up)
{
    char insert[200], result[80];
    cloaca_error error, ignored;
    cloaca_status status;

    snprintf(insert, sizeof(insert), "insert into effect (task, lease_id, worker) values (%" PRId64 ", %" PRId64 ", '%s')",
             task->task, task->lease_id, name);
    snprintf(result, sizeof(result), "{\"task%" PRId64 "\": %" PRId64 "}", task->task, task->lease_id);
    if (retry(cloaca_begin(connection, &error), &error, "begin")) {
        return;
    }
    status = cloaca_execute(connection, insert, &error);
    if (status == CLOACA_OK) {
        status = cloaca_complete(connection, task->task, task->lease_id, result, &error);
    }
    if (status == CLOACA_OK && !gives_up) {
        retry(cloaca_commit(connection, &error), &error, "commit");
    } else {
        cloaca_rollback(connection, &ignored);
        retry(status, &error, "complete");
    }
}

/* ---------------------------------------------------------------------------------------------------------------- enqueue */

static int enqueue(char **arguments)
{
    int64_t last = atoll(arguments[1]);
    int64_t batch = atoll(arguments[2]);

    open_log(arguments[3]);
    for (int64_t first = atoll(arguments[0]); first <= last && !stopped; first += batch) {
        enqueue_batch(first, first + batch > last ? last - first + 1 : batch);
    }
    return 0;
}

/* False when it may not have happened. */
static bool enqueue_batch(int64_t first, int64_t count)
{
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    char texts[MOST][24];
    const char *payloads[MOST];
    int64_t tasks[MOST];
    cloaca_error error;

    options.queue = queue;
    options.name = "storm";
    options.max_attempts = 1000000;
    for (int64_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%" PRId64, first + i);
        payloads[i] = texts[i];
    }
    cloaca_status status = cloaca_enqueue_many(connection, &options, (size_t) count, payloads, NULL, tasks, NULL, &error);
    if (status == CLOACA_STORAGE_FULL || retry(status, &error, "enqueue")) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        append("task %" PRId64 " %" PRId64 "\n", first + i, tasks[i]);
    }
    return true;
}

/* Fills up the file, and says how often it was told that it is full. */
static int fill(char **arguments)
{
    char pragma[64];
    cloaca_error error;
    int full = 0;

    open_log(arguments[1]);
    snprintf(pragma, sizeof(pragma), "pragma max_page_count = %d", atoi(arguments[0]));
    if (cloaca_execute(connection, pragma, &error) != CLOACA_OK) {
        fprintf(stderr, "%s: %s\n", pragma, error.message);
        return 1;
    }
    for (int64_t first = 1; full < 3 && first < 1000000; first += 100) {
        full += !enqueue_batch(first, 100);
    }
    printf("full %d\n", full);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------------- hold */

/* Prints what was claimed and, of each call, how many were accepted. */
static int hold(char **arguments)
{
    static cloaca_task held[100000];
    size_t count = 0, accepted[4] = {0};
    cloaca_error error;
    char line[16];

    for (;;) {
        cloaca_tasks *tasks;
        if (cloaca_claim(connection, queue, arguments[0], 1 + chance(atoi(arguments[1])), atoll(arguments[2]) * 1000, &tasks,
                         &error) != CLOACA_OK) {
            break;
        }
        for (size_t i = 0; i < tasks->count && count < sizeof(held) / sizeof(*held); i++) {
            held[count++] = tasks->tasks[i];
        }
        cloaca_tasks_free(tasks);
        /* Enough to try, but there is always a claim that has only just been made. */
        if (count > 100) {
            pause_ms(20);
        }
    }
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return 1;
    }
    connect_again();
    for (size_t i = 0; i < count; i++) {
        int64_t task = held[i].task, lease = held[i].lease_id;
        cloaca_status outcomes[] = {
            cloaca_extend(connection, task, lease, CLOACA_NO_INTERVAL, NULL, &error),
            cloaca_release(connection, task, lease, &error),
            cloaca_fail(connection, task, lease, "late", true, CLOACA_NO_INTERVAL, NULL, &error),
            cloaca_complete(connection, task, lease, NULL, &error),
        };
        for (size_t call = 0; call < 4; call++) {
            accepted[call] += outcomes[call] != CLOACA_LEASE_LOST;
        }
    }
    printf("held %zu extend %zu release %zu fail %zu complete %zu\n", count, accepted[0], accepted[1], accepted[2],
           accepted[3]);
    return 0;
}

/* ---------------------------------------------------------------------------------------------------------------- helpers */

/* True when the call did nothing, or nobody knows, and the connection is fit for another; ends us when no fault explains it. */
static bool retry(cloaca_status status, const cloaca_error *error, const char *what)
{
    switch (status) {
    case CLOACA_OK:
    case CLOACA_LEASE_LOST:
    case CLOACA_CANCELLED:
        return false;
    case CLOACA_CONNECTION_LOST:
    case CLOACA_CONNECTION_REFUSED:
    case CLOACA_COMMIT_UNKNOWN:
        connect_again();
        return true;
    case CLOACA_BUSY:
    case CLOACA_CONFLICT:
        return true;
    default:
        fprintf(stderr, "worker: %s: %s (%s) %s\n", what, error->message, error->sqlstate, error->detail);
        exit(1);
    }
}

/* Opens the connection anew, for as long as a restart of the server may take. */
static void connect_again(void)
{
    const time_t end = time(NULL) + PATIENCE;
    cloaca_error error;

    cloaca_close(connection);
    while (time(NULL) < end) {
        if (cloaca_open(url, &connection, &error) == CLOACA_OK) {
            return;
        }
        if (stopped) {
            exit(0);
        }
        pause_ms(100);
    }
    fprintf(stderr, "worker: %s: %s %s\n", url, error.message, error.detail);
    exit(1);
}

static void open_log(const char *path)
{
    log_file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (log_file < 0) {
        fprintf(stderr, "worker: %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

/* One write, so that a kill leaves a line whole or not at all. */
static void append(const char *format, ...)
{
    char line[64];
    va_list values;

    va_start(values, format);
    int length = vsnprintf(line, sizeof(line), format, values);
    va_end(values);
    if (write(log_file, line, (size_t) length) != length) {
        fprintf(stderr, "worker: cannot write the log: %s\n", strerror(errno));
        exit(1);
    }
}

static void pause_ms(long milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* A random number from 0 to below sides. */
static int chance(int sides)
{
    return (int) (rand() / (RAND_MAX + 1.0) * sides);
}

static void stop(int signal)
{
    stopped = signal;
}
