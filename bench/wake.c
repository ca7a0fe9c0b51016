/*
 * wake.c - how long it takes until a sleeping worker has the task
 *
 *   wake ROUNDS
 *
 * A worker sleeps in cloaca.wait_for_task on one connection; another connection enqueues a task, at random intervals, once the
 * worker sleeps again. Two times are taken from the moment when the enqueue's commit has returned: until the wait has returned,
 * and until the worker's claim has. When the worker is faster than the answer to the enqueuer, the time is 0. Prints p50 and
 * p99 of both in milliseconds. The connection comes from the environment (PGHOST ...).
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_ROUNDS = 100000 };

/* Both sides meet at the barrier twice a round: when the worker is about to sleep, and when the times of the round are taken.
 */
static pthread_barrier_t barrier;
static PGconn *worker;
static int rounds;
static double waited, claimed;
static double waits[MOST_ROUNDS], claims[MOST_ROUNDS];

static void *work(void *unused);
static PGconn *open_connection(void);
static PGresult *run(PGconn *connection, const char *sql);
static void wait_until_asleep(PGconn *connection, int pid);
static void report(const char *name, double *times);
static double now(void);
static void rest(double milliseconds);

int main(int count, char **arguments)
{
    PGconn *enqueuer;
    pthread_t thread;

    rounds = count > 1 ? atoi(arguments[1]) : 300;
    if (rounds < 1 || rounds > MOST_ROUNDS) {
        fputs("usage: wake ROUNDS\n", stderr);
        return 2;
    }
    enqueuer = open_connection();
    worker = open_connection();
    if (pthread_barrier_init(&barrier, NULL, 2) != 0 || pthread_create(&thread, NULL, work, NULL) != 0) {
        fputs("wake: there can be no thread\n", stderr);
        return 1;
    }
    for (int i = 0; i < rounds; i++) {
        double enqueued;
        pthread_barrier_wait(&barrier);
        wait_until_asleep(enqueuer, PQbackendPID(worker));
        rest(5 + (double) (random() % 20));
        PQclear(run(enqueuer, "select cloaca.enqueue('bench', queue => 'wake')"));
        enqueued = now();
        pthread_barrier_wait(&barrier);
        waits[i] = waited > enqueued ? waited - enqueued : 0;
        claims[i] = claimed > enqueued ? claimed - enqueued : 0;
    }
    pthread_join(thread, NULL);
    report("wait", waits);
    report("claim", claims);
    PQfinish(worker);
    PQfinish(enqueuer);
    return 0;
}

static void *work(void *unused)
{
    for (int i = 0; i < rounds; i++) {
        PGresult *result;
        char sql[128];
        pthread_barrier_wait(&barrier);
        result = run(worker, "call cloaca.wait_for_task('{wake}', null)");
        waited = now();
        if (PQntuples(result) != 1 || strcmp(PQgetvalue(result, 0, 0), "t") != 0) {
            fputs("wake: the wait ended without a task\n", stderr);
            exit(1);
        }
        PQclear(result);
        result = run(worker, "select * from cloaca.claim('wake')");
        claimed = now();
        if (PQntuples(result) != 1) {
            fputs("wake: there was no task to claim\n", stderr);
            exit(1);
        }
        snprintf(sql, sizeof(sql), "select cloaca.complete(%s, %s)", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
        PQclear(result);
        PQclear(run(worker, sql));
        pthread_barrier_wait(&barrier);
    }
    return unused;
}

static PGconn *open_connection(void)
{
    PGconn *connection = PQconnectdb("");

    if (PQstatus(connection) != CONNECTION_OK) {
        fprintf(stderr, "wake: %s", PQerrorMessage(connection));
        exit(1);
    }
    return connection;
}

static PGresult *run(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fprintf(stderr, "wake: %s", PQerrorMessage(connection));
        exit(1);
    }
    return result;
}

/* The server says that the worker's backend waits for something else than for us. */
static void wait_until_asleep(PGconn *connection, int pid)
{
    char sql[256];
    int sleeps = 0;

    snprintf(sql, sizeof(sql),
             "select count(*) from pg_stat_activity where pid = %d and query like 'call%%' and state = 'active'"
             " and wait_event_type not in ('Client', 'LWLock', 'IO')",
             pid);
    for (double begun = now(); !sleeps; rest(1)) {
        PGresult *result = run(connection, sql);
        sleeps = atoi(PQgetvalue(result, 0, 0));
        PQclear(result);
        if (now() - begun > 10000) {
            fputs("wake: the worker does not go to sleep\n", stderr);
            exit(1);
        }
    }
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *) one, b = *(const double *) other;

    return (a > b) - (a < b);
}

static void report(const char *name, double *times)
{
    qsort(times, (size_t) rounds, sizeof(*times), compare);
    printf("%s_p50 %.3f\n%s_p99 %.3f\n", name, times[(rounds - 1) / 2], name, times[(int) ((rounds - 1) * 0.99)]);
}

/* Milliseconds */
static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double) time.tv_sec * 1000 + (double) time.tv_nsec / 1e6;
}

static void rest(double milliseconds)
{
    struct timespec time = {.tv_nsec = (long) (milliseconds * 1e6)};

    nanosleep(&time, NULL);
}
