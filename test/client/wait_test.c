/*
 * wait_test.c - waiting for a task, blocking and for event loops, and for the end of an execution: what wakes it, what ends it,
 * what it refuses
 *
 * Every test of the first group runs on a SQLite file, and again on the server of PGHOST when there is one. The queues of a
 * test are its own. Where something must happen while a wait blocks, a child process, a thread or a timer does it: whether it
 * comes early or late, the wait must end in the same way.
 */
#define _DEFAULT_SOURCE /* usleep */
#include "test.h"

#include "fixtures.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000)
/* Only a test that fails waits so long. */
#define PATIENCE (120 * SECOND)

static int64_t enqueue(cloaca *connection, const char *queue, int64_t delay)
{
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    cloaca_error error;
    int64_t task;

    options.name = "x";
    options.queue = queue;
    options.delay = delay;
    assert_ok(cloaca_enqueue(connection, &options, &task, NULL, &error));
    return task;
}

static bool wait_for(cloaca *connection, const char *queue, int64_t timeout)
{
    cloaca_error error;
    bool ready;

    assert_ok(cloaca_wait_for_task(connection, 1, &queue, timeout, &ready, &error));
    return ready;
}

static void wait_begin(cloaca *connection, const char *queue)
{
    cloaca_error error;

    assert_ok(cloaca_wait_begin(connection, 1, &queue, CLOACA_NO_INTERVAL, &error));
}

/* One turn of an event loop: polls as it was told to, then checks. */
static bool turn(cloaca *connection, bool *ready, int64_t *again)
{
    struct pollfd entry = {cloaca_wait_descriptor(connection), POLLIN, 0};
    cloaca_error error;
    bool done;

    poll(&entry, 1, *again < 0 ? -1 : (int) (*again / 1000 + 1));
    assert_ok(cloaca_wait_check(connection, &done, ready, again, &error));
    return done;
}

static bool wait_on(cloaca *connection)
{
    int64_t again = 0;
    bool ready = false;

    while (!turn(connection, &ready, &again)) {
    }
    return ready;
}

static cloaca_tasks *claim(cloaca *connection, const char *queue, int64_t lease)
{
    cloaca_tasks *tasks;
    cloaca_error error;

    assert_ok(cloaca_claim(connection, queue, "w", 10, lease, &tasks, &error));
    return tasks;
}

static int64_t monotonic_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * SECOND + now.tv_nsec / 1000;
}

static void what_is_there_is_ready(void **state)
{
    cloaca *connection = open_here();
    const char *const queues[] = {"there 1", "there 2", "there 1"};
    cloaca_error error;
    cloaca_tasks *tasks;
    int64_t begun;
    bool ready = true;

    (void) state;
    assert_ok(cloaca_wait_for_task(connection, 3, queues, 0, &ready, &error));
    assert_false(ready);
    enqueue(connection, "there 2", CLOACA_NO_INTERVAL);
    assert_ok(cloaca_wait_for_task(connection, 3, queues, CLOACA_NO_INTERVAL, &ready, &error));
    assert_true(ready);
    assert_ok(cloaca_wait_for_task(connection, 3, queues, 0, NULL, &error));
    assert_call(connection, "wait_for_task", "{\"queues\": [\"there 1\", \"there 2\"], \"timeout\": \"1 day\"}",
                "[{\"ready\":true}]");
    assert_call(connection, "wait_for_task", "{\"queues\": [\"there 1\"], \"timeout\": \"0\"}", "[{\"ready\":false}]");
    assert_true(wait_for(connection, "there 2", 0));
    tasks = claim(connection, "there 2", CLOACA_NO_INTERVAL);
    assert_int_equal(tasks->count, 1);
    cloaca_tasks_free(tasks);
    begun = monotonic_now();
    assert_false(wait_for(connection, "there 2", SECOND / 10));
    assert_true(monotonic_now() - begun >= SECOND / 10);
    cloaca_close(connection);
}

static void wrong_arguments_are_refused(void **state)
{
    cloaca *connection = open_here();
    const char *const bad[] = {"good", ""};
    const char *const null[] = {"good", NULL};
    const char **many = malloc(1001 * sizeof(char *));
    const char *good = "good";
    cloaca_error error;
    bool ready = true;

    (void) state;
    for (int i = 0; i < 1001; i++) {
        many[i] = "many";
    }
    assert_condition(cloaca_wait_for_task(connection, 0, NULL, 0, &ready, &error), CLOACA_INVALID_ARGUMENT);
    assert_false(ready);
    assert_condition(cloaca_wait_for_task(connection, 0, &good, 0, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_wait_for_task(connection, 1001, many, 0, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_wait_for_task(connection, 2, null, 0, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_wait_for_task(connection, 2, bad, 0, NULL, &error), CLOACA_INVALID_NAME);
    assert_condition(cloaca_wait_for_task(connection, 1, &good, 316000000 * SECOND, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_call(connection, "wait_for_task", "{\"queues\": null}", NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_call(connection, "wait_for_task", "{\"queues\": [[\"x\"]]}", NULL, &error),
                     CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_call(connection, "wait_for_task", "{\"ready\": true}", NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_false(wait_for(connection, "good", 0));
    free(many);
    cloaca_close(connection);
}

static void transactions_do_not_wait(void **state)
{
    cloaca *connection = open_here();
    const char *queue = "block";
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_begin(connection, &error));
    enqueue(connection, queue, CLOACA_NO_INTERVAL);
    assert_condition(cloaca_wait_for_task(connection, 1, &queue, 0, NULL, &error), CLOACA_IN_TRANSACTION);
    assert_condition(cloaca_wait_begin(connection, 1, &queue, 0, &error), CLOACA_IN_TRANSACTION);
    assert_condition(cloaca_call(connection, "wait_for_task", "{}", NULL, &error), CLOACA_IN_TRANSACTION);
    assert_false(error.transaction_aborted);
    assert_ok(cloaca_commit(connection, &error));
    assert_true(wait_for(connection, queue, 0));
    cloaca_close(connection);
}

static void an_enqueue_wakes(void **state)
{
    cloaca *connection = open_here();
    cloaca *other = open_here();
    cloaca_error error;
    int64_t again = 0;
    bool ready = true;
    int status;
    pid_t child;

    (void) state;
    wait_begin(connection, "wake");
    assert_true((cloaca_wait_descriptor(connection) >= 0) == (cloaca_backend_of(connection) == CLOACA_POSTGRES));
    for (int i = 0; i < 3; i++) {
        assert_false(turn(connection, &ready, &again));
        assert_false(ready);
        again = 20000;
    }
    enqueue(other, "another", CLOACA_NO_INTERVAL);
    assert_ok(cloaca_begin(other, &error));
    enqueue(other, "wake", CLOACA_NO_INTERVAL);
    assert_false(turn(connection, &ready, &again));
    assert_ok(cloaca_commit(other, &error));
    assert_true(wait_on(connection));
    assert_int_equal(cloaca_wait_descriptor(connection), -1);
    cloaca_tasks_free(claim(connection, "wake", CLOACA_NO_INTERVAL));

    /* Whoever blocks is woken too. */
    cloaca_close(other);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;

        options.name = "x";
        options.queue = "wake";
        usleep(100000);
        _exit(cloaca_open(url, &other, &error) != CLOACA_OK ||
              cloaca_enqueue(other, &options, NULL, NULL, &error) != CLOACA_OK);
    }
    assert_true(wait_for(connection, "wake", CLOACA_NO_INTERVAL));
    assert_true(waitpid(child, &status, 0) == child);
    assert_int_equal(status, 0);
    cloaca_close(connection);
}

static void time_wakes(void **state)
{
    cloaca *connection = open_here();
    cloaca_tasks *tasks;
    cloaca_error error;
    int64_t begun = monotonic_now();

    (void) state;
    enqueue(connection, "time", SECOND / 5);
    assert_true(wait_for(connection, "time", CLOACA_NO_INTERVAL));
    assert_true(monotonic_now() - begun >= SECOND / 5);

    /* A lease that ends makes its task claimable. */
    begun = monotonic_now();
    tasks = claim(connection, "time", SECOND / 5);
    assert_int_equal(tasks->count, 1);
    assert_true(wait_for(connection, "time", PATIENCE));
    assert_true(monotonic_now() - begun >= SECOND / 5);
    cloaca_tasks_free(tasks);
    tasks = claim(connection, "time", CLOACA_NO_INTERVAL);
    assert_int_equal(tasks->count, 1);
    assert_ok(cloaca_fail(connection, tasks->tasks[0].task, tasks->tasks[0].lease_id, "no", false, SECOND / 10, NULL, &error));
    assert_true(wait_for(connection, "time", PATIENCE));
    cloaca_tasks_free(tasks);

    /* One whose last attempt it was does not. */
    cloaca_tasks_free(claim(connection, "time", SECOND / 20));
    assert_false(wait_for(connection, "time", SECOND / 5));
    cloaca_close(connection);
}

static void paused_queues_have_nothing(void **state)
{
    cloaca *connection = open_here();
    cloaca *other = open_here();
    cloaca_error error;
    int64_t again = 0;
    bool ready = true;

    (void) state;
    enqueue(connection, "rest", CLOACA_NO_INTERVAL);
    assert_ok(cloaca_call(connection, "set_queue", "{\"queue\": \"rest\", \"paused\": true}", NULL, &error));
    assert_false(wait_for(connection, "rest", SECOND / 20));
    wait_begin(connection, "rest");
    assert_false(turn(connection, &ready, &again));
    assert_ok(cloaca_call(other, "set_queue", "{\"queue\": \"rest\", \"paused\": false}", NULL, &error));
    assert_true(wait_on(connection));
    cloaca_close(other);
    cloaca_close(connection);
}

static void a_wait_has_the_connection_alone(void **state)
{
    cloaca *connection = open_here();
    const char *queue = "alone";
    cloaca_tasks *tasks;
    cloaca_error error;
    int64_t again;
    bool done = false, ready = true;

    (void) state;
    assert_condition(cloaca_wait_check(connection, &done, &ready, &again, &error), CLOACA_INVALID_ARGUMENT);
    assert_true(done);
    assert_false(ready);
    assert_int_equal(cloaca_wait_descriptor(connection), -1);
    assert_ok(cloaca_wait_cancel(connection, NULL, &error));

    wait_begin(connection, queue);
    assert_condition(cloaca_wait_begin(connection, 1, &queue, 0, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_wait_for_task(connection, 1, &queue, 0, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_claim(connection, queue, "w", 1, CLOACA_NO_INTERVAL, &tasks, &error), CLOACA_INVALID_ARGUMENT);
    assert_string_equal(error.detail, "The connection is waiting.");
    assert_condition(cloaca_call(connection, "list_tasks", NULL, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_execute(connection, "select 1", &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_begin(connection, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_init(connection, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_set_clock(connection, 0, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_bind_leases(connection, true, &error), CLOACA_INVALID_ARGUMENT);
    assert_ok(cloaca_wait_cancel(connection, &ready, &error));
    assert_false(ready);

    /* Nothing of the cancelled wait meets what comes after it. */
    for (int i = 0; i < 20; i++) {
        wait_begin(connection, queue);
        assert_ok(cloaca_wait_cancel(connection, &ready, &error));
        assert_false(ready);
        assert_ok(cloaca_execute(connection, "select count(*) from (select 1 union all select 2) as x", &error));
    }
    enqueue(connection, queue, CLOACA_NO_INTERVAL);
    wait_begin(connection, queue);
    assert_true(wait_on(connection));
    wait_begin(connection, "nothing there");
    cloaca_close(connection);
}

static cloaca *signalled;

static void interrupt_it(int number)
{
    (void) number;
    cloaca_interrupt(signalled);
}

static void *interrupt_from_a_thread(void *connection)
{
    usleep(50000);
    cloaca_interrupt(connection);
    return NULL;
}

/* From a signal handler or a thread, early or late; one that comes before the wait ends it as well. */
static void interrupts_end_a_wait(void **state)
{
    static const struct itimerval soon = {{0, 0}, {0, 100000}};
    const struct sigaction action = {.sa_handler = interrupt_it, .sa_flags = SA_RESTART};
    cloaca *connection = open_here();
    int64_t again = 0;
    bool ready = true;
    pthread_t thread;

    (void) state;
    signalled = connection;
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    cloaca_interrupt(connection);
    assert_false(wait_for(connection, "stop", CLOACA_NO_INTERVAL));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
        assert_false(wait_for(connection, "stop", CLOACA_NO_INTERVAL));
    }
    assert_int_equal(pthread_create(&thread, NULL, interrupt_from_a_thread, connection), 0);
    assert_false(wait_for(connection, "stop", CLOACA_NO_INTERVAL));
    assert_int_equal(pthread_join(thread, NULL), 0);
    wait_begin(connection, "stop");
    assert_false(turn(connection, &ready, &again));
    cloaca_interrupt(connection);
    again = 0;
    assert_true(turn(connection, &ready, &again));
    assert_false(ready);
    enqueue(connection, "stop", CLOACA_NO_INTERVAL);
    assert_true(wait_for(connection, "stop", CLOACA_NO_INTERVAL));
    signal(SIGALRM, SIG_DFL);
    cloaca_close(connection);
}

static void leases_can_be_bound(void **state)
{
    cloaca *connection = open_here();
    cloaca_error error;

    (void) state;
    assert_false(cloaca_is_direct(connection));
    assert_ok(cloaca_bind_leases(connection, true, &error));
    assert_ok(cloaca_bind_leases(connection, false, &error));
    cloaca_close(connection);
}

/* --------------------------------------------------------------------------------------------------------------- executions */

/* What another connection does to an execution, in a thread: early or late, the wait must end in the same way. */
typedef struct ending {
    int64_t execution;
    bool (*end)(cloaca *connection, int64_t execution);
    int64_t at; /* when it was done */
    bool done;
} ending;

static int64_t start(cloaca *connection, int64_t timeout)
{
    const char *definition = "{\"tasks\": [{\"name\": \"t\", \"queue\": \"execution\"}]}";
    cloaca_error error;
    int64_t execution;

    assert_ok(cloaca_define_workflow(connection, "wait", definition, NULL, NULL, &error));
    assert_ok(cloaca_start_workflow(connection, "wait", NULL, NULL, timeout, &execution, NULL, &error));
    return execution;
}

static bool cancel_it(cloaca *connection, int64_t execution)
{
    cloaca_error error;

    return cloaca_cancel_execution(connection, execution, "enough", NULL, &error) == CLOACA_OK;
}

/* The first task of the queue, which must be the execution's. */
static bool complete_it(cloaca *connection, int64_t execution)
{
    cloaca_error error;
    cloaca_tasks *tasks;
    bool done = cloaca_claim(connection, "execution", "w", 1, CLOACA_NO_INTERVAL, &tasks, &error) == CLOACA_OK;

    (void) execution;
    done = done && tasks->count == 1 &&
           cloaca_complete(connection, tasks->tasks[0].task, tasks->tasks[0].lease_id, NULL, &error) == CLOACA_OK;
    cloaca_tasks_free(tasks);
    return done;
}

static bool let_it_time_out(cloaca *connection, int64_t execution)
{
    cloaca_error error;

    (void) execution;
    usleep(300000);
    return cloaca_call(connection, "run_maintenance", NULL, NULL, &error) == CLOACA_OK;
}

static void *end_from_a_thread(void *argument)
{
    ending *what = argument;
    cloaca *connection;
    cloaca_error error;

    usleep(100000);
    what->done = cloaca_open(url, &connection, &error) == CLOACA_OK && what->end(connection, what->execution);
    what->at = monotonic_now();
    cloaca_close(connection);
    return NULL;
}

/* Waits for `execution` at most that long while the other one is ended. */
static char *wait_while_it_ends(cloaca *connection, int64_t execution, int64_t timeout, ending *what)
{
    cloaca_error error;
    pthread_t thread;
    char *state = NULL;

    assert_int_equal(pthread_create(&thread, NULL, end_from_a_thread, what), 0);
    assert_ok(cloaca_wait_for_execution(connection, execution, timeout, &state, &error));
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(what->done);
    return state;
}

static void the_end_of_an_execution_wakes(void **state)
{
    static const struct {
        bool (*end)(cloaca *connection, int64_t execution);
        int64_t timeout;
        const char *state;
    } cases[] = {{cancel_it, CLOACA_NO_INTERVAL, "cancelled"},
                 {complete_it, CLOACA_NO_INTERVAL, "completed"},
                 {let_it_time_out, SECOND / 5, "failed"}};
    cloaca *connection = open_here();

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ending what = {.execution = start(connection, cases[i].timeout), .end = cases[i].end};
        char *ended = wait_while_it_ends(connection, what.execution, 2 * PATIENCE, &what);

        assert_true(monotonic_now() - what.at < PATIENCE);
        assert_non_null(ended);
        assert_string_equal(ended, cases[i].state);
        cloaca_free(ended);
    }
    cloaca_close(connection);
}

static void the_end_of_another_execution_does_not(void **state)
{
    cloaca *connection = open_here();
    const int64_t execution = start(connection, CLOACA_NO_INTERVAL);
    ending what = {.execution = start(connection, CLOACA_NO_INTERVAL), .end = cancel_it};
    const int64_t begun = monotonic_now();

    (void) state;
    assert_null(wait_while_it_ends(connection, execution, SECOND / 2, &what));
    assert_true(monotonic_now() - begun >= SECOND / 2);
    assert_true(cancel_it(connection, execution));
    cloaca_close(connection);
}

static void executions_are_waited_for_as_tasks_are(void **state)
{
    cloaca *connection = open_here();
    const int64_t execution = start(connection, CLOACA_NO_INTERVAL);
    char *ended = NULL;
    cloaca_error error;
    pthread_t thread;

    (void) state;
    assert_ok(cloaca_begin(connection, &error));
    assert_condition(cloaca_wait_for_execution(connection, execution, 0, &ended, &error), CLOACA_IN_TRANSACTION);
    assert_ok(cloaca_rollback(connection, &error));
    assert_condition(cloaca_wait_for_execution(connection, 999999, 0, &ended, &error), CLOACA_UNKNOWN_EXECUTION);
    assert_condition(cloaca_wait_for_execution(connection, execution, 316000000 * SECOND, &ended, &error),
                     CLOACA_INVALID_ARGUMENT);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_from_a_thread, connection), 0);
    assert_ok(cloaca_wait_for_execution(connection, execution, CLOACA_NO_INTERVAL, &ended, &error));
    assert_null(ended);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(cancel_it(connection, execution));
    assert_ok(cloaca_wait_for_execution(connection, execution, CLOACA_NO_INTERVAL, &ended, &error));
    assert_string_equal(ended, "cancelled");
    cloaca_free(ended);
    cloaca_close(connection);
}

/* ------------------------------------------------------------------------------------------------------------- SQLite alone */

static sqlite3 *open_raw(const char *name)
{
    char path[200];
    sqlite3 *database;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    return database;
}

/* Waits on a borrowed connection while a statement of its own reads: only another connection sees what is written then. */
static cloaca_status wait_while_reading(sqlite3 *database, cloaca *other, bool *ready, cloaca_error *error)
{
    const char *queue = "reading";
    cloaca *connection;
    sqlite3_stmt *statement;
    cloaca_status status;
    int64_t again = 0;
    bool done = false;

    assert_int_equal(sqlite3_prepare_v2(database, "select * from sqlite_master", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(cloaca_attach(CLOACA_SQLITE, database, &connection, error), CLOACA_OK);
    status = cloaca_wait_begin(connection, 1, &queue, CLOACA_NO_INTERVAL, error);
    if (status == CLOACA_OK) {
        status = cloaca_wait_check(connection, &done, ready, &again, error);
    }
    if (status == CLOACA_OK) {
        assert_false(done);
        enqueue(other, queue, CLOACA_NO_INTERVAL);
        *ready = wait_on(connection);
    }
    sqlite3_finalize(statement);
    cloaca_close(connection);
    return status;
}

static void snapshots_do_not_hide_tasks(void **state)
{
    cloaca *other = open_here();
    sqlite3 *database = open_raw("test.db");
    cloaca_error error;
    bool ready = false;

    (void) state;
    assert_ok(wait_while_reading(database, other, &ready, &error));
    assert_true(ready);
    cloaca_close(other);
    assert_int_equal(sqlite3_exec(database, "pragma journal_mode = delete", NULL, NULL, NULL), SQLITE_OK);
    assert_condition(wait_while_reading(database, NULL, &ready, &error), CLOACA_NOT_SUPPORTED);
    assert_int_equal(sqlite3_exec(database, "pragma journal_mode = wal", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

/* What the owner of a borrowed connection writes counts too. */
static void own_changes_are_seen(void **state)
{
    sqlite3 *database = open_raw("own.db");
    const char *queue = "own";
    cloaca *connection;
    cloaca_error error;
    int64_t again = 0;
    bool ready = true;

    (void) state;
    assert_ok(cloaca_attach(CLOACA_SQLITE, database, &connection, &error));
    enqueue(connection, queue, 3600 * SECOND);
    wait_begin(connection, queue);
    assert_false(turn(connection, &ready, &again));
    assert_int_equal(sqlite3_exec(database, "update cloaca_task set run_at = 0", NULL, NULL, NULL), SQLITE_OK);
    assert_true(wait_on(connection));
    cloaca_close(connection);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

static void a_fixed_clock_counts(void **state)
{
    cloaca *connection;
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_open("sqlite:///:memory:", &connection, &error));
    assert_ok(cloaca_set_clock(connection, 0, &error));
    enqueue(connection, "clock", 10 * SECOND);
    assert_false(wait_for(connection, "clock", SECOND / 20));
    assert_ok(cloaca_set_clock(connection, 10 * SECOND, &error));
    assert_true(wait_for(connection, "clock", CLOACA_NO_INTERVAL));
    cloaca_close(connection);
}

/* A file that is locked is looked at later, and the timeout counts meanwhile. */
static void locks_are_waited_out(void **state)
{
    sqlite3 *database = open_raw("locked.db");
    const char *queue = "locked";
    cloaca *connection;
    char name[250];
    cloaca_error error;
    int64_t again = 0;
    bool ready = true;

    (void) state;
    snprintf(name, sizeof(name), "sqlite:///%s/locked.db?_journal_mode=DELETE&_busy_timeout=0", folder);
    assert_ok(cloaca_open(name, &connection, &error));
    assert_ok(cloaca_init(connection, &error));
    wait_begin(connection, queue);
    assert_int_equal(sqlite3_exec(database, "begin exclusive", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 5; i++) {
        assert_false(turn(connection, &ready, &again));
        assert_true(again > 0);
    }
    assert_int_equal(sqlite3_exec(database, "rollback", NULL, NULL, NULL), SQLITE_OK);
    assert_false(turn(connection, &ready, &again));
    assert_ok(cloaca_wait_cancel(connection, NULL, &error));
    assert_false(wait_for(connection, queue, SECOND / 50));
    cloaca_close(connection);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

/* ---------------------------------------------------------------------------------------------------------- PostgreSQL alone
 */

static void a_lost_server_ends_a_wait(void **state)
{
    PGconn *other = PQconnectdb("");
    PGconn *server = PQconnectdb(url);
    char text[80];
    cloaca *connection;
    cloaca_error error;
    int64_t again = 0;
    bool done = false, ready;

    (void) state;
    assert_ok(cloaca_attach(CLOACA_POSTGRES, server, &connection, &error));
    wait_begin(connection, "lost");
    snprintf(text, sizeof(text), "select pg_terminate_backend(%d)", PQbackendPID(server));
    run_on_server(other, text);
    while (!done) {
        struct pollfd entry = {cloaca_wait_descriptor(connection), POLLIN, 0};

        poll(&entry, 1, -1);
        if (cloaca_wait_check(connection, &done, &ready, &again, &error) != CLOACA_OK) {
            assert_true(done);
            assert_int_equal(error.status, CLOACA_CONNECTION_LOST);
            assert_true(error.connection_lost);
        }
    }
    assert_int_equal(error.status, CLOACA_CONNECTION_LOST);
    assert_condition(cloaca_wait_for_task(connection, 1, &(const char *){"lost"}, 0, NULL, &error), CLOACA_CONNECTION_LOST);
    cloaca_close(connection);
    PQfinish(server);
    PQfinish(other);
}

static void older_servers_say_so(void **state)
{
    cloaca *connection = open_here();
    PGconn *server = PQconnectdb("client_encoding=UTF8");
    const char *queue = "old";
    cloaca *old;
    cloaca_error error;

    (void) state;
    run_on_server(server, "create database wait_without template template0");
    PQfinish(server);
    server = PQconnectdb("client_encoding=UTF8 dbname=wait_without");
    run_on_server(server, "create extension cloaca; alter extension cloaca drop procedure cloaca.wait_for_task;"
                          "drop procedure cloaca.wait_for_task");
    assert_ok(cloaca_attach(CLOACA_POSTGRES, server, &old, &error));
    assert_condition(cloaca_wait_for_task(old, 1, &queue, 0, NULL, &error), CLOACA_UNKNOWN_FUNCTION);
    assert_string_equal(error.detail, "The server's cloaca has no wait_for_task.");
    assert_condition(cloaca_execute(old, "select no_such_function()", &error), CLOACA_DATABASE_ERROR);
    cloaca_close(old);
    PQfinish(server);
    assert_ok(cloaca_execute(connection, "drop database wait_without with (force)", &error));
    cloaca_close(connection);
}

static void the_url_says_direct(void **state)
{
    cloaca *connection;
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_open("postgresql:///?direct=true", &connection, &error));
    assert_true(cloaca_is_direct(connection));
    assert_ok(cloaca_bind_leases(connection, true, &error));
    assert_ok(cloaca_execute(connection, "do $$ begin assert current_setting('cloaca.bind_leases') = 'on'; end $$", &error));
    assert_ok(cloaca_bind_leases(connection, false, &error));
    assert_ok(cloaca_execute(connection, "do $$ begin assert current_setting('cloaca.bind_leases') = 'off'; end $$", &error));
    cloaca_close(connection);
    assert_ok(cloaca_open("postgresql:///?direct=false", &connection, &error));
    assert_false(cloaca_is_direct(connection));
    cloaca_close(connection);
    assert_condition(cloaca_open("postgresql:///?direct=perhaps", &connection, &error), CLOACA_INVALID_ARGUMENT);
    assert_string_equal(error.detail, "The direct must be true or false.");
}

#define SHARED_TESTS                                                                                                           \
    cmocka_unit_test(what_is_there_is_ready), cmocka_unit_test(wrong_arguments_are_refused),                                   \
        cmocka_unit_test(transactions_do_not_wait), cmocka_unit_test(an_enqueue_wakes), cmocka_unit_test(time_wakes),          \
        cmocka_unit_test(paused_queues_have_nothing), cmocka_unit_test(a_wait_has_the_connection_alone),                       \
        cmocka_unit_test(interrupts_end_a_wait), cmocka_unit_test(leases_can_be_bound),                                        \
        cmocka_unit_test(the_end_of_an_execution_wakes), cmocka_unit_test(the_end_of_another_execution_does_not),              \
        cmocka_unit_test(executions_are_waited_for_as_tasks_are)

int main(void)
{
    const struct CMUnitTest on_files[] = {
        SHARED_TESTS,
        cmocka_unit_test(snapshots_do_not_hide_tasks),
        cmocka_unit_test(own_changes_are_seen),
        cmocka_unit_test(a_fixed_clock_counts),
        cmocka_unit_test(locks_are_waited_out),
    };
    const struct CMUnitTest on_servers[] = {
        SHARED_TESTS,
        cmocka_unit_test(a_lost_server_ends_a_wait),
        cmocka_unit_test(older_servers_say_so),
        cmocka_unit_test(the_url_says_direct),
    };
    int failed = cmocka_run_group_tests_name("SQLite", on_files, make_folder, drop_folder);

    if (getenv("PGHOST") == NULL) {
        puts("PGHOST is not set: run this under test/cluster.");
        return failed;
    }
    return failed + cmocka_run_group_tests_name("PostgreSQL", on_servers, use_server, NULL);
}
