/*
 * waiters.c - many sessions that wait for tasks, in one process, for the tests of wait_for_task
 *
 *   waiters stress WAITERS ENQUEUERS ROUNDS   no wake is lost: in each round enqueuers do something at random, and the
 *                                             waiters must finish all of it. Meanwhile some of these are cancelled,
 *                                             terminated, run into timeouts, hang up, or roll back what they claimed. Each
 *                                             ends one wait a round, and then rests: who waits again looks again, and would
 *                                             hide that a wake was lost
 *   waiters herd WAITERS TASKS SQL            all sleep; then SQL makes TASKS tasks claimable, for each of which one waiter
 *                                             must return, and no other. Each claims one
 *
 * What does not happen within PATIENCE milliseconds does not happen, as the server looks by itself only later.
 *
 * The server is found by libpq's environment. Queues are "wait0" to "wait3". Prints what it saw; status 1 when it is not as it
 * must be.
 */
#define _POSIX_C_SOURCE 200809L
#include <libpq-fe.h>

#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 400, QUEUES = 4, PATIENCE = 50000, QUIET = 1000 };

typedef enum State { IDLE, WAITING, CLAIMING, COMPLETING, ENQUEUING } State;

typedef struct Session {
    PGconn *connection;
    State state;
    int first; /* it waits for the queues from this one on, */
    int count; /* so many */
    int asked; /* the claim is for this one */
    int taken;
    bool ready;
    bool doomed;      /* its backend was told to end */
    bool claims_back; /* the claim is rolled back */
    char task[64];    /* task, lease */
} Session;

static Session sessions[MOST];
static int session_count;
static PGconn *admin;
static long finished, returned, empty, rolled_back, cancelled, terminated, hung_up;

static int stress(int waiters, int enqueuers, int rounds);
static bool enqueuing(int waiters);
static int herd(int waiters, int tasks, const char *sql);
static void enqueue_something(Session *session);
static void disturb(int waiters);
static bool turn(long milliseconds);
static void react(Session *session);
static void take_result(Session *session, PGresult *result);
static void advance(Session *session);
static void wait_for_task(Session *session, bool ends);
static void claim(Session *session);
static void ask(Session *session, State state, const char *format, ...);
static void open_session(Session *session);
static int asleep(int waiters);
static long tasks_left(void);
static void admin_run(const char *sql);
static int chance(int sides);
static long now_ms(void);
static void fail(const char *format, ...);

int main(int count, char **arguments)
{
    srand((unsigned) time(NULL));
    admin = PQconnectdb("");
    if (PQstatus(admin) != CONNECTION_OK) {
        fail("%s", PQerrorMessage(admin));
    }
    if (count == 5 && strcmp(arguments[1], "stress") == 0) {
        return stress(atoi(arguments[2]), atoi(arguments[3]), atoi(arguments[4]));
    }
    if (count == 5 && strcmp(arguments[1], "herd") == 0) {
        return herd(atoi(arguments[2]), atoi(arguments[3]), arguments[4]);
    }
    fprintf(stderr, "usage: waiters stress WAITERS ENQUEUERS ROUNDS | herd WAITERS TASKS SQL\n");
    return 2;
}

/* ---------------------------------------------------------------------------------------------------------------------- tests
 */

static int stress(int waiters, int enqueuers, int rounds)
{
    session_count = waiters + enqueuers;
    for (int i = 0; i < session_count; i++) {
        open_session(&sessions[i]);
    }
    for (int round = 0; round < rounds; round++) {
        long end = now_ms() + PATIENCE;
        int disturbances = waiters / 8;

        for (int i = 0; i < session_count; i++) {
            if (i % 4 == 0 && waiters + i / 4 < session_count) {
                enqueue_something(&sessions[waiters + i / 4]);
            }
            if (i < waiters && sessions[i].state == IDLE) {
                /* Two thirds of the waiters wait for all queues: enough for any task that comes. */
                sessions[i].first = chance(QUEUES);
                sessions[i].count = i % 3 ? QUEUES : 1 + chance(QUEUES);
                wait_for_task(&sessions[i], chance(8) == 0);
            }
            turn(0);
        }
        while (enqueuing(waiters) || tasks_left() > 0) {
            if (now_ms() > end) {
                fail("round %d: %ld tasks are left, and %d waiters sleep", round, tasks_left(), asleep(waiters));
            }
            if (disturbances > 0 && chance(4) == 0) {
                disturb(waiters);
                disturbances--;
            }
            turn(chance(10));
        }
    }
    printf("rounds %d tasks %ld returned %ld empty %ld rolled back %ld cancelled %ld terminated %ld hung up %ld\n", rounds,
           finished, returned, empty, rolled_back, cancelled, terminated, hung_up);
    return 0;
}

static bool enqueuing(int waiters)
{
    for (int i = waiters; i < session_count; i++) {
        if (sessions[i].state != IDLE) {
            return true;
        }
    }
    return false;
}

static int herd(int waiters, int tasks, const char *sql)
{
    long begun, end;

    session_count = waiters;
    for (int i = 0; i < waiters; i++) {
        open_session(&sessions[i]);
        sessions[i].count = 1;
        wait_for_task(&sessions[i], false);
    }
    begun = now_ms();
    while (asleep(waiters) < waiters) {
        turn(20);
        if (now_ms() > begun + 3 * PATIENCE) {
            fail("only %d of %d waiters sleep", asleep(waiters), waiters);
        }
    }
    if (returned > 0) {
        fail("%ld waiters returned before there was a task", returned);
    }
    begun = now_ms();
    admin_run(sql);
    for (end = begun + PATIENCE; finished < tasks && now_ms() < end;) {
        turn(20);
    }
    printf("tasks %d finished %ld after %ld ms", tasks, finished, now_ms() - begun);
    /* Some time longer, for those who must not return. */
    for (end = now_ms() + QUIET; now_ms() < end;) {
        turn(20);
    }
    printf(" returned %ld empty %ld\n", returned, empty);
    return returned == tasks && finished == tasks ? 0 : 1;
}

/* One of the ways in which tasks become claimable, or nearly do. */
static void enqueue_something(Session *session)
{
    int queue = chance(QUEUES);
    int tasks = 1 + chance(3);

    switch (chance(8)) {
    case 0:
    case 1:
        ask(session, ENQUEUING, "select cloaca.enqueue('x', queue => 'wait%d', priority => %d)", queue, chance(3));
        break;
    case 2:
        ask(session, ENQUEUING, "select cloaca.enqueue_many('x', array_fill(jsonb '1', array[%d]), queue => 'wait%d')", tasks,
            queue);
        break;
    case 3:
        ask(session, ENQUEUING,
            "begin; select cloaca.enqueue('x', queue => 'wait%d'); select cloaca.enqueue('x', queue => 'wait%d'); "
            "select pg_sleep(0.00%d); commit",
            queue, (queue + 1) % QUEUES, chance(10));
        break;
    case 4:
        ask(session, ENQUEUING, "begin; select cloaca.enqueue('x', queue => 'wait%d'); rollback", queue);
        break;
    case 5:
        ask(session, ENQUEUING, "select cloaca.enqueue('x', queue => 'wait%d', delay => '%d ms')", queue, chance(60));
        break;
    case 6:
        ask(session, ENQUEUING,
            "begin; select cloaca.enqueue('x', queue => 'wait%d'); savepoint s; select cloaca.enqueue('x', queue => 'wait%d'); "
            "rollback to s; select cloaca.enqueue('x', queue => 'wait%d', delay => '%d ms'); commit",
            queue, chance(QUEUES), chance(QUEUES), chance(60));
        break;
    default:
        break;
    }
}

/* Something happens to a waiter that sleeps. */
static void disturb(int waiters)
{
    Session *session = &sessions[chance(waiters)];
    char query[64];
    char message[256];
    PGcancel *cancel;

    if (session->state != WAITING) {
        return;
    }
    switch (chance(4)) {
    case 0:
        cancel = PQgetCancel(session->connection);
        cancelled += PQcancel(cancel, message, sizeof(message));
        PQfreeCancel(cancel);
        break;
    case 1:
        snprintf(query, sizeof(query), "select pg_terminate_backend(%d)", PQbackendPID(session->connection));
        admin_run(query);
        session->doomed = true;
        terminated++;
        break;
    case 2:
        PQfinish(session->connection);
        open_session(session);
        wait_for_task(session, false);
        hung_up++;
        break;
    default:
        break;
    }
}

/* ------------------------------------------------------------------------------------------------------------------- sessions
 */

/* Waits for something to happen and has the sessions react; false when nothing did. */
static bool turn(long milliseconds)
{
    struct pollfd polled[MOST] = {0};

    for (int i = 0; i < session_count; i++) {
        polled[i].fd = PQsocket(sessions[i].connection);
        polled[i].events = sessions[i].state == IDLE ? 0 : POLLIN;
    }
    if (poll(polled, (nfds_t) session_count, (int) milliseconds) <= 0) {
        return false;
    }
    for (int i = 0; i < session_count; i++) {
        if (polled[i].revents && sessions[i].state != IDLE) {
            react(&sessions[i]);
        }
    }
    return true;
}

/* Reads what has come; when the statements are all answered, goes on. */
static void react(Session *session)
{
    bool alive = PQconsumeInput(session->connection);

    while (!PQisBusy(session->connection)) {
        PGresult *result = PQgetResult(session->connection);

        if (result == NULL) {
            if (alive && PQstatus(session->connection) == CONNECTION_OK) {
                advance(session);
                return;
            }
            break;
        }
        take_result(session, result);
        PQclear(result);
    }
    if (!alive || PQstatus(session->connection) != CONNECTION_OK) {
        if (!session->doomed) {
            fail("a session was lost: %s", PQerrorMessage(session->connection));
        }
        PQfinish(session->connection);
        open_session(session);
        wait_for_task(session, false);
    }
}

static void take_result(Session *session, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (status == PGRES_FATAL_ERROR) {
        /* Without one the connection is gone. */
        bool is_expected = sqlstate == NULL || (session->state == WAITING && strcmp(sqlstate, "57014") == 0) ||
                           (session->doomed && strcmp(sqlstate, "57P01") == 0);

        if (!is_expected) {
            fail("%s", PQresultErrorMessage(result));
        }
    } else if (status == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        if (session->state == WAITING) {
            session->ready = strcmp(PQgetvalue(result, 0, 0), "t") == 0;
        } else if (session->state == CLAIMING) {
            snprintf(session->task, sizeof(session->task), "%s, %s", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
        }
    }
}

/* It does not know which queue it was woken for: so it takes one task of each. */
static void advance(Session *session)
{
    State state = session->state;

    session->state = IDLE;
    if (state == WAITING && session->ready) {
        returned++;
        session->asked = session->taken = 0;
        claim(session);
    } else if (state == CLAIMING && session->task[0] && !session->claims_back) {
        session->taken++;
        ask(session, COMPLETING, "select cloaca.complete(%s)", session->task);
    } else if (state == CLAIMING || state == COMPLETING) {
        finished += state == COMPLETING;
        if (session->task[0] && state == CLAIMING) {
            session->taken++;
            rolled_back++;
        }
        if (++session->asked < session->count) {
            claim(session);
        } else if (session->taken == 0) {
            /* Others were faster. */
            empty++;
            wait_for_task(session, false);
        }
    }
}

/* For all of its queues. */
static void wait_for_task(Session *session, bool ends)
{
    char queues[QUEUES * 8] = "";
    char timeout[16];

    for (int i = 0; i < session->count; i++) {
        size_t length = strlen(queues);
        snprintf(queues + length, sizeof(queues) - length, "%swait%d", i ? "," : "", (session->first + i) % QUEUES);
    }
    if (ends) {
        snprintf(timeout, sizeof(timeout), "'%d ms'", chance(30));
    } else {
        snprintf(timeout, sizeof(timeout), "null");
    }
    session->ready = false;
    ask(session, WAITING, "call cloaca.wait_for_task('{%s}', %s)", queues, timeout);
}

/* One task; now and then the claim is rolled back, and the task is there again. */
static void claim(Session *session)
{
    int queue = (session->first + session->asked) % QUEUES;

    session->task[0] = '\0';
    session->claims_back = session->count > 1 && chance(8) == 0;
    ask(session, CLAIMING,
        session->claims_back ? "begin; select task, lease_id from cloaca.claim('wait%d'); rollback"
                             : "select task, lease_id from cloaca.claim('wait%d')",
        queue);
}

static void ask(Session *session, State state, const char *format, ...)
{
    char query[512];
    va_list values;

    va_start(values, format);
    vsnprintf(query, sizeof(query), format, values);
    va_end(values);
    session->state = state;
    if (!PQsendQuery(session->connection, query)) {
        fail("%s", PQerrorMessage(session->connection));
    }
}

static void open_session(Session *session)
{
    session->connection = PQconnectdb("");
    session->doomed = false;
    if (PQstatus(session->connection) != CONNECTION_OK) {
        fail("%s", PQerrorMessage(session->connection));
    }
}

/* How many of the waiters sleep, as the server says. */
static int asleep(int waiters)
{
    int count = 0;
    PGresult *result = PQexec(admin, "select pid from pg_stat_activity where wait_event_type = 'Extension'");

    for (int i = 0; i < waiters; i++) {
        for (int row = 0; row < PQntuples(result); row++) {
            count += atoi(PQgetvalue(result, row, 0)) == PQbackendPID(sessions[i].connection);
        }
    }
    PQclear(result);
    return count;
}

static long tasks_left(void)
{
    PGresult *result = PQexec(admin, "select count(*) from cloaca_default.cloaca_task");
    long left = PQntuples(result) == 1 ? atol(PQgetvalue(result, 0, 0)) : -1;

    PQclear(result);
    if (left < 0) {
        fail("%s", PQerrorMessage(admin));
    }
    return left;
}

static void admin_run(const char *sql)
{
    PGresult *result = PQexec(admin, sql);

    if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        fail("%s", PQresultErrorMessage(result));
    }
    PQclear(result);
}

/* -------------------------------------------------------------------------------------------------------------------- helpers
 */

/* A random number from 0 to below sides. */
static int chance(int sides)
{
    return (int) (rand() / (RAND_MAX + 1.0) * sides);
}

static long now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void fail(const char *format, ...)
{
    va_list values;

    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}
