/*
 * flows.c - the worker of the tests of workflows under load
 *
 *   flows URL NAME SEED WILDNESS LEASE_MS FIRST LAST
 *
 * Claims tasks and ends them in every way that a worker may, until SIGTERM. A completion puts a row into the table `effect`, in
 * its own transaction: what the worker did. WILDNESS 0 only completes; 1 also fails, releases, defers, waits for signals and
 * forgets; 2 also completes several tasks in one transaction, and pauses, resumes, cancels, retries and signals executions
 * FIRST to LAST.
 *
 * It is meant to be killed, and its server too: it opens its connection again and goes on. An error that neither a fault nor
 * another's call explains ends it with status 1; a deadlock is one.
 */
#define _POSIX_C_SOURCE 200809L
#include <libpq-fe.h>

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* PATIENCE: seconds. */
enum { MOST = 20, PATIENCE = 300 };

static volatile sig_atomic_t stopped;
static const char *url;
static const char *worker;
static int wildness;
static long lease;
static long first_execution;
static long last_execution;
static PGconn *connection;

static void work(void);
static void treat(char tasks[][24], char leases[][24], int count);
static void treat_one(const char *task, const char *lease_id);
static void complete(const char *task, const char *lease_id);
static void complete_together(char tasks[][24], char leases[][24], int count);
static void join(char *array, size_t size, char numbers[][24], int count);
static void control(void);
static PGresult *call(const char *query, int count, ...);
static bool run(const char *query, int count, ...);
static PGresult *execute(const char *query, int count, const char *const *values);
static bool is_explained(const char *state, const char *query);
static bool is_fault(const char *state);
static void connect_again(void);
static void ignore(void *argument, const char *message);
static void pause_ms(long milliseconds);
static int chance(int sides);
static void stop(int signal);

int main(int count, char **arguments)
{
    if (count != 8) {
        fprintf(stderr, "usage: flows URL NAME SEED WILDNESS LEASE_MS FIRST LAST\n");
        return 2;
    }
    signal(SIGTERM, stop);
    url = arguments[1];
    worker = arguments[2];
    srand((unsigned) atoi(arguments[3]));
    wildness = atoi(arguments[4]);
    lease = atol(arguments[5]);
    first_execution = atol(arguments[6]);
    last_execution = atol(arguments[7]);
    connect_again();
    while (!stopped) {
        if (wildness > 1 && chance(20) == 0) {
            control();
        } else {
            work();
        }
    }
    PQfinish(connection);
    return 0;
}

/* -------------------------------------------------------------------------------------------------------------------- work */

static void work(void)
{
    char max[16], length[32], tasks[MOST][24], leases[MOST][24];
    int count = 0;
    PGresult *claimed;

    snprintf(max, sizeof(max), "%d", 1 + chance(chance(2) ? MOST : 2));
    snprintf(length, sizeof(length), "%ld ms", lease);
    claimed = call("select task, lease_id from cloaca.claim('default', $1, $2::integer, $3::interval)", 3, worker, max, length);
    for (; claimed && count < PQntuples(claimed); count++) {
        snprintf(tasks[count], sizeof(tasks[count]), "%s", PQgetvalue(claimed, count, 0));
        snprintf(leases[count], sizeof(leases[count]), "%s", PQgetvalue(claimed, count, 1));
    }
    PQclear(claimed);
    if (count == 0) {
        pause_ms(10);
    } else {
        treat(tasks, leases, count);
    }
}

static void treat(char tasks[][24], char leases[][24], int count)
{
    if (wildness > 1 && chance(3) == 0) {
        complete_together(tasks, leases, count);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (wildness == 0) {
            complete(tasks[i], leases[i]);
        } else {
            treat_one(tasks[i], leases[i]);
        }
    }
}

/* Mostly a task is completed. */
static void treat_one(const char *task, const char *lease_id)
{
    switch (chance(40)) {
    case 0:
    case 1:
        run("select cloaca.fail($1, $2, 'broken', retry_in => '5 ms')", 2, task, lease_id);
        break;
    case 2:
        run("select cloaca.fail($1, $2, 'broken for good', final => true)", 2, task, lease_id);
        break;
    case 3:
        run("select cloaca.release($1, $2)", 2, task, lease_id);
        break;
    case 4:
        run("select cloaca.defer_until($1, $2, cloaca.now() + interval '20 ms')", 2, task, lease_id);
        break;
    case 5:
    case 6:
        run("select cloaca.await_signal($1, $2, 'go', interval '100 ms')", 2, task, lease_id);
        break;
    case 7:
        if (run("select cloaca.extend($1, $2)", 2, task, lease_id)) {
            run("select cloaca.record_step($1, $2, 'step', '1')", 2, task, lease_id);
        }
        complete(task, lease_id);
        break;
    case 8: /* too slow, or dead */
        if (chance(4) == 0) {
            break;
        }
        complete(task, lease_id);
        break;
    default:
        complete(task, lease_id);
    }
    /* Whoever is told that a task was cancelled acknowledges it; of any other the lease is gone. */
    if (chance(3) == 0) {
        run("select cloaca.release($1, $2)", 2, task, lease_id);
    }
}

/* With its effect. */
static void complete(const char *task, const char *lease_id)
{
    run("with done as (insert into effect (task, lease_id, worker) values ($1, $2, $3) returning task, lease_id) "
        "select cloaca.complete(task, lease_id, jsonb_build_object('task' || task, lease_id)) from done",
        3, task, lease_id, worker);
}

/* In one transaction, which may be given up: by one call or by several. */
static void complete_together(char tasks[][24], char leases[][24], int count)
{
    char ids[MOST * 24 + 2], lease_ids[MOST * 24 + 2];
    bool goes_on = run("begin", 0);

    join(ids, sizeof(ids), tasks, count);
    join(lease_ids, sizeof(lease_ids), leases, count);
    if (goes_on && chance(2)) {
        goes_on =
            run("with done as materialized (select p.task, p.lease_id, c.outcome "
                "from cloaca.complete_many($1, $2) with ordinality c "
                "join unnest($1::bigint[], $2::bigint[]) with ordinality p (task, lease_id, n) on p.n = c.ordinality) "
                "insert into effect (task, lease_id, worker) select task, lease_id, $3 from done where outcome = 'completed'",
                3, ids, lease_ids, worker);
    } else {
        for (int i = count - 1; goes_on && i >= 0; i--) {
            goes_on = run("savepoint one", 0);
            if (goes_on &&
                !run("with done as (insert into effect (task, lease_id, worker) values ($1, $2, $3) returning task, lease_id) "
                     "select cloaca.complete(task, lease_id) from done",
                     3, tasks[i], leases[i], worker)) {
                goes_on = run("rollback to one", 0);
            } else if (goes_on && chance(20) == 0) {
                goes_on = run("rollback to one", 0);
            }
        }
    }
    run(goes_on && chance(10) ? "commit" : "rollback", 0);
}

/* An array of SQL. */
static void join(char *array, size_t size, char numbers[][24], int count)
{
    size_t length = 0;

    for (int i = 0; i < count; i++) {
        length += (size_t) snprintf(array + length, size - length, "%c%s", i ? ',' : '{', numbers[i]);
    }
    snprintf(array + length, size - length, "}");
}

/* Something with an execution. */
static void control(void)
{
    static const char *const calls[] = {
        "select cloaca.pause_execution($1)",       "select cloaca.resume_execution($1)", "select cloaca.resume_execution($1)",
        "select cloaca.resume_execution($1)",      "select cloaca.signal($1, 'go')",     "select cloaca.signal($1, 'go')",
        "select cloaca.retry_execution($1)",       "select cloaca.run_maintenance()",    "select cloaca.run_maintenance()",
        "select cloaca.cancel_execution($1, 'x')",
    };
    int number = chance(10);
    char execution[24];

    snprintf(execution, sizeof(execution), "%ld", first_execution + chance((int) (last_execution - first_execution + 1)));
    if (number == 9 && chance(2)) {
        return;
    }
    run(calls[number], strstr(calls[number], "$1") ? 1 : 0, execution);
}

/* ---------------------------------------------------------------------------------------------------------------- helpers */

/* The answer, or NULL when the call did nothing, or nobody knows. */
static PGresult *call(const char *query, int count, ...)
{
    const char *values[8];
    va_list list;

    va_start(list, count);
    for (int i = 0; i < count; i++) {
        values[i] = va_arg(list, const char *);
    }
    va_end(list);
    return execute(query, count, values);
}

static bool run(const char *query, int count, ...)
{
    const char *values[8];
    va_list list;
    PGresult *result;

    va_start(list, count);
    for (int i = 0; i < count; i++) {
        values[i] = va_arg(list, const char *);
    }
    va_end(list);
    result = execute(query, count, values);
    PQclear(result);
    return result != NULL;
}

static PGresult *execute(const char *query, int count, const char *const *values)
{
    PGresult *result = PQexecParams(connection, query, count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        return result;
    }
    if (PQstatus(connection) == CONNECTION_BAD || is_fault(state)) {
        PQclear(result);
        connect_again();
        return NULL;
    }
    if (!is_explained(state, query)) {
        fprintf(stderr, "flows: %s: %s\n", query, PQresultErrorMessage(result));
        exit(1);
    }
    PQclear(result);
    return NULL;
}

/* lease_lost, cancelled, execution_finished; a transaction that failed before; and a retry of what has not ended. */
static bool is_explained(const char *state, const char *query)
{
    return strcmp(state, "ZC009") == 0 || strcmp(state, "ZC010") == 0 || strcmp(state, "ZC021") == 0 ||
           strcmp(state, "25P02") == 0 || (strcmp(state, "ZC001") == 0 && strstr(query, "retry_execution"));
}

/* The server goes down, or this session does. */
static bool is_fault(const char *state)
{
    return state == NULL || strncmp(state, "57P", 3) == 0 || strncmp(state, "08", 2) == 0;
}

/* Opens the connection anew, for as long as a restart of the server may take. */
static void connect_again(void)
{
    const time_t end = time(NULL) + PATIENCE;

    PQfinish(connection);
    while (time(NULL) < end && !stopped) {
        connection = PQconnectdb(url);
        if (PQstatus(connection) == CONNECTION_OK) {
            PQsetNoticeProcessor(connection, ignore, NULL);
            return;
        }
        PQfinish(connection);
        pause_ms(100);
    }
    exit(stopped ? 0 : 1);
}

/* The last words of a server that goes down. */
static void ignore(void *argument, const char *message)
{
    (void) argument;
    (void) message;
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
