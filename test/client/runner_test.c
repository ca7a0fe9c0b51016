/*
 * runner_test.c - the runner: defaults, outcomes, cancellation, lost leases, timeouts, stops, ends, transactions, lost
 * connections
 *
 * Every test of the first group runs on a SQLite file, and again on the server of PGHOST when there is one. The queues of a
 * test are its own. What handlers and hooks see is counted in `seen`, under a lock; tests wait for a count, never for a time.
 * Leases are so long that no machine is too slow for them; what comes with their extension, a test has come early (hurry).
 */
#define _DEFAULT_SOURCE /* strdup */
#include "test.h"

#include "common/timestamp.h"
#include "fixtures.h"
#include "runner.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 120
#define LONG_LEASE (3600 * SECOND)

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int events[CLOACA_EVENT_POSSIBLY_DONE + 1];
    int started;
    int ended;
    int warnings;
    cloaca_stop_reason reason;
    bool go;
    int gate; /* what "gated" handlers with that payload or less wait for */
} seen = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {0}, 0, 0, 0, CLOACA_GO_ON, false, 0};

static void forget(void)
{
    pthread_mutex_lock(&seen.lock);
    memset(seen.events, 0, sizeof(seen.events));
    seen.started = seen.ended = seen.warnings = seen.gate = 0;
    seen.reason = CLOACA_GO_ON;
    seen.go = false;
    pthread_mutex_unlock(&seen.lock);
}

static void count(int *counter)
{
    pthread_mutex_lock(&seen.lock);
    ++*counter;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static void await(const int *counter, int value)
{
    struct timespec limit;
    int error = 0;
    bool there;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += PATIENCE;
    pthread_mutex_lock(&seen.lock);
    while (*counter < value && error == 0) {
        error = pthread_cond_timedwait(&seen.changed, &seen.lock, &limit);
    }
    there = *counter >= value;
    pthread_mutex_unlock(&seen.lock);
    if (!there) {
        fail_msg("waited in vain for %d, there are %d", value, *counter);
    }
}

static void let_go(void)
{
    pthread_mutex_lock(&seen.lock);
    seen.go = true;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static void *let_go_beside(void *nothing)
{
    let_go();
    return nothing;
}

static void note_metric(void *user, const cloaca_metric *metric)
{
    (void) user;
    assert_true(metric->latency >= 0);
    count(&seen.events[metric->event]);
}

static void note_log(void *user, cloaca_log_level level, const char *message)
{
    (void) user;
    if (getenv("CLOACA_TEST_LOG") != NULL) {
        fprintf(stderr, "%d %s\n", (int) level, message);
    }
    if (level >= CLOACA_LOG_WARNING) {
        count(&seen.warnings);
    }
}

static int64_t enqueue(cloaca *connection, const char *queue, const char *name, const char *payload)
{
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    cloaca_error error;
    int64_t task;

    options.name = name;
    options.queue = queue;
    options.payload = payload;
    assert_ok(cloaca_enqueue(connection, &options, &task, NULL, &error));
    return task;
}

/* A column of a task; the caller frees it. NULL when the task is gone, or the column null. */
static char *task_value(cloaca *connection, int64_t task, const char *column)
{
    cloaca_result *result;
    cloaca_error error;
    const cloaca_status status = cloaca_get_task(connection, task, &result, &error);
    const char *value = cloaca_result_get(result, 0, column);
    char *copy = value != NULL ? strdup(value) : NULL;

    if (status != CLOACA_UNKNOWN_TASK) {
        assert_int_equal(status, CLOACA_OK);
    }
    cloaca_result_free(result);
    return copy;
}

static void assert_task(cloaca *connection, int64_t task, const char *column, const char *expected)
{
    char *value = task_value(connection, task, column);

    assert_string_equal(value != NULL ? value : "(null)", expected);
    free(value);
}

static void set_queue(cloaca *connection, const char *queue, const char *settings)
{
    char arguments[300];
    cloaca_error error;

    snprintf(arguments, sizeof(arguments), "{\"queue\": \"%s\", %s}", queue, settings);
    assert_ok(cloaca_call(connection, "set_queue", arguments, NULL, &error));
}

static cloaca_runner_options options_for(const char *const *queue)
{
    cloaca_runner_options options = CLOACA_RUNNER_INIT;

    forget();
    options.url = url;
    options.queue_count = 1;
    options.queues = queue;
    options.log = note_log;
    options.metric = note_metric;
    return options;
}

static cloaca_runner *start(const cloaca_runner_options *options, const char *name, cloaca_handler handler)
{
    cloaca_runner *runner;
    cloaca_error error;

    assert_ok(cloaca_runner_new(options, &runner, &error));
    assert_ok(cloaca_runner_register(runner, name, handler, NULL, &error));
    assert_ok(cloaca_runner_start(runner, &error));
    return runner;
}

static void stop_only(cloaca_runner *runner)
{
    cloaca_error error;

    assert_ok(cloaca_runner_stop(runner, PATIENCE * SECOND, &error));
}

static void stop(cloaca_runner *runner)
{
    stop_only(runner);
    cloaca_runner_free(runner);
}

/* Has all leases extended now, which the runner does as long as a handler runs. */
static void hurry(cloaca_runner *runner)
{
    pthread_mutex_lock(&runner->lock);
    for (cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        job->extend_at = 0;
    }
    pthread_cond_signal(&runner->leases_due);
    pthread_mutex_unlock(&runner->lock);
}

/* ----------------------------------------------------------------------------------------------------------------- handlers */

static cloaca_job_outcome echo(cloaca_job *job, void *user)
{
    (void) user;
    cloaca_job_set_result(job, cloaca_job_payload(job));
    count(&seen.ended);
    return CLOACA_JOB_DONE;
}

/* Ends as its name says. */
static cloaca_job_outcome obey(cloaca_job *job, void *user)
{
    const char *name = cloaca_job_name(job);

    (void) user;
    count(&seen.started);
    cloaca_job_set_error(job, "as told");
    if (strcmp(name, "retry") == 0) {
        cloaca_job_retry_in(job, 3600 * SECOND);
        return CLOACA_JOB_RETRY;
    }
    if (strcmp(name, "fail") == 0) {
        return CLOACA_JOB_FAILED;
    }
    if (strcmp(name, "defer") == 0) {
        cloaca_job_sleep_for(job, 3600 * SECOND);
        return CLOACA_JOB_DEFERRED;
    }
    if (strcmp(name, "sleep until") == 0) {
        cloaca_job_sleep_until(job, INT64_C(4102444800000000));
        return CLOACA_JOB_DEFERRED;
    }
    cloaca_job_set_result(job, "{not JSON");
    return CLOACA_JOB_DONE;
}

/* Works until it is told to stop, or let go. */
static cloaca_job_outcome work_on(cloaca_job *job, void *user)
{
    struct pollfd entry = {cloaca_job_descriptor(job), POLLIN, 0};
    bool go = false;

    (void) user;
    count(&seen.started);
    while (!go && cloaca_job_pause(job, SECOND / 50) == CLOACA_GO_ON) {
        pthread_mutex_lock(&seen.lock);
        go = seen.go;
        pthread_mutex_unlock(&seen.lock);
    }
    if (!go) {
        assert_int_equal(poll(&entry, 1, 0), 1);
    }
    pthread_mutex_lock(&seen.lock);
    seen.reason = cloaca_job_is_cancelled(job);
    pthread_mutex_unlock(&seen.lock);
    count(&seen.ended);
    return go ? CLOACA_JOB_DONE : CLOACA_JOB_RETRY;
}

/* Heeds nothing but being let go. */
static cloaca_job_outcome stubborn(cloaca_job *job, void *user)
{
    (void) job;
    (void) user;
    count(&seen.started);
    pthread_mutex_lock(&seen.lock);
    while (!seen.go) {
        pthread_cond_wait(&seen.changed, &seen.lock);
    }
    pthread_mutex_unlock(&seen.lock);
    count(&seen.ended);
    return CLOACA_JOB_DONE;
}

static cloaca_job_outcome gated(cloaca_job *job, void *user)
{
    const int number = (int) strtol(cloaca_job_payload(job), NULL, 10);

    (void) user;
    count(&seen.started);
    await(&seen.gate, number);
    count(&seen.ended);
    return CLOACA_JOB_DONE;
}

/* Its work is a row; by its payload it completes the task with it, forgets to, or fails after it. */
static cloaca_job_outcome transact(cloaca_job *job, void *user)
{
    const char *payload = cloaca_job_payload(job);
    cloaca_error error;
    cloaca *connection;
    char sql[100];

    (void) user;
    snprintf(sql, sizeof(sql), "insert into runner_work values (%s)", payload);
    assert_ok(cloaca_job_begin(job, &connection, &error));
    assert_ok(cloaca_execute(connection, sql, &error));
    if (strcmp(payload, "2") == 0) {
        return CLOACA_JOB_DONE;
    }
    if (strcmp(payload, "3") == 0) {
        assert_condition(cloaca_job_commit(job, "{no JSON", &error), CLOACA_INVALID_ARGUMENT);
        return CLOACA_JOB_FAILED;
    }
    assert_ok(cloaca_job_commit(job, "\"committed\"", &error));
    return CLOACA_JOB_DONE;
}

static cloaca_job_outcome die(cloaca_job *job, void *user)
{
    (void) user;
    assert_int_equal(cloaca_job_attempt(job), 1);
    _exit(0);
}

/* -------------------------------------------------------------------------------------------------------------------- tests */

/* A column of the time type; CLOACA_NO_TIME when it is null. */
static int64_t time_of(const char *text)
{
    int64_t time = CLOACA_NO_TIME;

    assert_true(text == NULL || clo_time_parse(text, strlen(text), &time));
    return time;
}

static void define(cloaca *connection, const char *name, const char *definition)
{
    cloaca_error error;
    char *version;
    bool created;

    assert_ok(cloaca_define_workflow(connection, name, definition, &version, &created, &error));
    assert_true(created);
    assert_int_equal(strlen(version), 16);
    cloaca_free(version);
}

static int64_t begin_workflow(cloaca *connection, const char *name)
{
    cloaca_error error;
    int64_t execution;
    bool created;

    assert_ok(cloaca_start_workflow(connection, name, NULL, NULL, CLOACA_NO_INTERVAL, &execution, &created, &error));
    assert_true(created);
    return execution;
}

static int64_t lease_until(cloaca *connection, int64_t task)
{
    char *text = task_value(connection, task, "lease_until");
    const int64_t until = time_of(text);

    free(text);
    return until;
}

/* How long the lease of a task still is, by the clock that this machine and the database share. */
static int64_t lease_left(cloaca *connection, int64_t task)
{
    return lease_until(connection, task) - clo_monotonic_now() - clo_runner_clock();
}

static size_t count_tasks(cloaca *connection, const char *queue, const char *task_state)
{
    cloaca_result *tasks;
    cloaca_error error;
    size_t found;

    assert_ok(cloaca_list_tasks(connection, queue, task_state, NULL, 0, 0, &tasks, &error));
    found = cloaca_result_rows(tasks);
    cloaca_result_free(tasks);
    return found;
}

static struct {
    int64_t lease;
    int64_t timeout;
} limits;

static cloaca_job_outcome note_limits(cloaca_job *job, void *user)
{
    pthread_mutex_lock(&seen.lock);
    limits.lease = job->lease;
    limits.timeout = job->timeout_at - job->claimed_at;
    pthread_mutex_unlock(&seen.lock);
    return work_on(job, user);
}

/* What the header says of the options that are left out. */
static void defaults_are_as_documented(void **state)
{
    static const char *const queue = "default";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(NULL);
    cloaca_runner *runner;
    int64_t first;

    (void) state;
    options.queue_count = 0;
    first = enqueue(connection, queue, "x", NULL);
    for (int i = 0; i < 5; i++) {
        enqueue(connection, queue, "x", NULL);
    }
    runner = start(&options, "x", note_limits);
    await(&seen.started, 4);
    assert_int_equal(count_tasks(connection, queue, "running"), 4);
    assert_int_equal(count_tasks(connection, queue, "ready"), 2);
    assert_in_range(lease_left(connection, first), SECOND, 30 * SECOND);
    let_go();
    await(&seen.events[CLOACA_EVENT_COMPLETED], 6);
    stop_only(runner);
    assert_int_equal(limits.lease, 30 * SECOND);
    assert_int_equal(limits.timeout, 300 * SECOND);
    assert_int_equal(runner->options.max_concurrent_tasks, 4);
    assert_int_equal(runner->options.poll, 100 * MILLISECOND);
    assert_int_equal(runner->options.unknown_delay, 5 * SECOND);
    assert_int_equal(runner->options.drain, 30 * SECOND);
    assert_false(runner->options.no_recovery);
    cloaca_runner_free(runner);
    cloaca_close(connection);
}

static void queues_have_leases(void **state)
{
    static const char *const queue = "long leases";
    cloaca *connection = open_here();

    (void) state;
    set_queue(connection, queue, "\"lease\": \"1 hour\"");
    for (int64_t lease = 0; lease <= 60 * SECOND; lease += 60 * SECOND) {
        cloaca_runner_options options = options_for(&queue);
        const int64_t task = enqueue(connection, queue, "x", NULL);
        cloaca_runner *runner;

        options.lease = lease;
        runner = start(&options, "x", work_on);
        await(&seen.started, 1);
        if (lease == 0) {
            assert_in_range(lease_left(connection, task), 3000 * SECOND, 3600 * SECOND);
        } else {
            assert_in_range(lease_left(connection, task), SECOND, lease);
        }
        let_go();
        stop(runner);
    }
    cloaca_close(connection);
}

static void tasks_run_and_complete(void **state)
{
    static const char *const queues[] = {"run 1", "run 2", "run 3"};
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(queues);
    cloaca_runner *runner;
    int64_t tasks[60];

    (void) state;
    options.queue_count = 3;
    for (int i = 0; i < 3; i++) {
        set_queue(connection, queues[i], "\"retention\": \"1 day\"");
    }
    for (int i = 0; i < 30; i++) {
        tasks[i] = enqueue(connection, queues[i % 3], "echo", "[1, {\"a\": \"é\"}]");
    }
    runner = start(&options, "echo", echo);
    for (int i = 30; i < 60; i++) {
        tasks[i] = enqueue(connection, queues[i % 3], "echo", "{}");
    }
    await(&seen.events[CLOACA_EVENT_COMPLETED], 60);
    stop(runner);
    assert_int_equal(seen.events[CLOACA_EVENT_CLAIMED], 60);
    assert_int_equal(seen.ended, 60);
    for (int i = 0; i < 60; i++) {
        assert_task(connection, tasks[i], "state", "completed");
        assert_task(connection, tasks[i], "result", i < 30 ? "[1, {\"a\": \"é\"}]" : "{}");
    }
    cloaca_close(connection);
}

static void handlers_decide(void **state)
{
    static const char *const queue = "decide";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    const int64_t retry = enqueue(connection, queue, "retry", NULL);
    const int64_t failed = enqueue(connection, queue, "fail", NULL);
    const int64_t deferred = enqueue(connection, queue, "defer", NULL);
    const int64_t later = enqueue(connection, queue, "sleep until", NULL);
    const int64_t refused = enqueue(connection, queue, "refused", NULL);
    cloaca_runner *runner = start(&options, NULL, obey);

    (void) state;
    await(&seen.events[CLOACA_EVENT_FAILED], 2);
    await(&seen.events[CLOACA_EVENT_RETRIED], 1);
    await(&seen.events[CLOACA_EVENT_DEFERRED], 2);
    stop(runner);
    assert_task(connection, retry, "state", "scheduled");
    assert_task(connection, retry, "error", "as told");
    assert_task(connection, retry, "attempt", "1");
    assert_task(connection, failed, "state", "dead");
    assert_task(connection, failed, "error", "as told");
    assert_task(connection, deferred, "state", "scheduled");
    assert_task(connection, deferred, "attempt", "0");
    assert_task(connection, later, "run_at", "2100-01-01T00:00:00.000000Z");
    assert_task(connection, refused, "state", "dead");
    cloaca_close(connection);
}

/* Gives what no database stores. */
static cloaca_job_outcome overdo(cloaca_job *job, void *user)
{
    const char *name = cloaca_job_name(job);

    (void) user;
    cloaca_job_set_error(job, "dur\xe9"
                              "e \xff");
    if (strcmp(name, "retry") == 0) {
        cloaca_job_retry_in(job, INT64_MAX);
        return CLOACA_JOB_RETRY;
    }
    if (strcmp(name, "retry early") == 0) {
        cloaca_job_retry_in(job, -77);
        return CLOACA_JOB_RETRY;
    }
    if (strcmp(name, "sleep for") == 0) {
        cloaca_job_sleep_for(job, INT64_MAX);
    } else {
        cloaca_job_sleep_until(job, strcmp(name, "sleep until") == 0 ? INT64_MAX : CLO_TIME_FIRST - 1);
    }
    return CLOACA_JOB_DEFERRED;
}

static void what_is_too_much_is_cut(void **state)
{
    static const char *const queue = "too much";
    static const char *const names[] = {"retry", "retry early", "sleep for", "sleep until", "sleep since"};
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    int64_t tasks[5], later;
    cloaca_runner *runner;
    cloaca_error error;
    char *text;

    (void) state;
    set_queue(connection, queue, "\"retry\": {\"initial\": 86400, \"jitter\": 0}");
    for (int i = 0; i < 5; i++) {
        tasks[i] = enqueue(connection, queue, names[i], NULL);
    }
    /* All in one claim, and each once. */
    options.max_tasks = options.max_concurrent_tasks = 5;
    runner = start(&options, NULL, overdo);
    assert_ok(cloaca_runner_wait(runner, &error));
    cloaca_runner_free(runner);
    assert_int_equal(seen.events[CLOACA_EVENT_RETRIED], 2);
    assert_int_equal(seen.events[CLOACA_EVENT_DEFERRED], 3);
    assert_task(connection, tasks[0], "error", "dur\uFFFDe \uFFFD");
    for (int i = 0; i <= 2; i += 2) {
        text = task_value(connection, tasks[i], "run_at");
        later = time_of(text) - clo_monotonic_now() - clo_runner_clock();
        assert_in_range(later, INTERVAL_LIMIT - 3600 * SECOND, INTERVAL_LIMIT + 3600 * SECOND);
        free(text);
    }
    assert_task(connection, tasks[1], "state", "scheduled");
    assert_task(connection, tasks[3], "run_at", "9999-12-31T23:59:59.999999Z");
    assert_task(connection, tasks[4], "run_at", "0001-01-01T00:00:00.000000Z");
    cloaca_close(connection);
}

static void nobody_for_a_name(void **state)
{
    static const char *const queue = "nobody";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    const int64_t task = enqueue(connection, queue, "unheard of", NULL);
    cloaca_runner *runner;

    (void) state;
    options.unknown_delay = 3600 * SECOND;
    runner = start(&options, "echo", echo);
    await(&seen.events[CLOACA_EVENT_DEFERRED], 1);
    stop(runner);
    assert_true(seen.warnings >= 1);
    assert_int_equal(seen.ended, 0);
    assert_task(connection, task, "state", "scheduled");
    assert_task(connection, task, "attempt", "0");
    cloaca_close(connection);
}

static void cancelled_tasks_are_told(void **state)
{
    static const char *const queue = "cancel";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    const int64_t task = enqueue(connection, queue, "x", NULL);
    cloaca_runner *runner;
    cloaca_error error;
    bool cancelling;

    (void) state;
    options.lease = LONG_LEASE;
    runner = start(&options, "x", work_on);
    await(&seen.started, 1);
    assert_ok(cloaca_cancel_task(connection, task, &cancelling, &error));
    assert_true(cancelling);
    hurry(runner);
    await(&seen.events[CLOACA_EVENT_CANCELLED], 1);
    stop(runner);
    assert_int_equal(seen.reason, CLOACA_STOP_CANCELLED);
    assert_task(connection, task, "state", "(null)");
    cloaca_close(connection);
}

/* Waits until a lease ends later than it did. */
static void await_extension(cloaca *connection, int64_t task, int64_t before)
{
    for (int i = 0; lease_until(connection, task) <= before; i++) {
        assert_true(i < PATIENCE * 20);
        poll(NULL, 0, 50);
    }
}

/* The runner's own lease, or the queue's; by itself, or when it is told to. */
static void hold_for_long(const char *queue, int64_t lease, int64_t length, bool by_itself)
{
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    const int64_t task = enqueue(connection, queue, "x", NULL);
    cloaca_runner *runner;
    int64_t before;

    options.lease = lease;
    runner = start(&options, "x", work_on);
    await(&seen.started, 1);
    before = lease_until(connection, task);
    if (!by_itself) {
        hurry(runner);
    }
    await_extension(connection, task, before);
    assert_in_range(lease_left(connection, task), length / 10, length);
    let_go();
    await(&seen.events[CLOACA_EVENT_COMPLETED], 1);
    stop(runner);
    assert_int_equal(seen.started, 1);
    cloaca_close(connection);
}

/* By itself a third of the lease after the claim. */
static void leases_are_extended(void **state)
{
    cloaca *connection = open_here();

    (void) state;
    set_queue(connection, "extend in turn", "\"lease\": \"1 hour\"");
    cloaca_close(connection);
    hold_for_long("extend", 15 * SECOND, 15 * SECOND, true);
    hold_for_long("extend in turn", 0, 3600 * SECOND, false);
}

static int64_t stolen_lease;

static cloaca_job_outcome tell_lease(cloaca_job *job, void *user)
{
    pthread_mutex_lock(&seen.lock);
    stolen_lease = cloaca_job_lease_id(job);
    pthread_mutex_unlock(&seen.lock);
    return work_on(job, user);
}

static void lost_leases_are_told(void **state)
{
    static const char *const queue = "lost";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    const int64_t task = enqueue(connection, queue, "x", NULL);
    cloaca_runner *runner;
    cloaca_tasks *tasks;
    cloaca_error error;

    (void) state;
    options.lease = LONG_LEASE;
    options.max_concurrent_tasks = 1;
    runner = start(&options, "x", tell_lease);
    await(&seen.started, 1);
    assert_ok(cloaca_release(connection, task, stolen_lease, &error));
    assert_ok(cloaca_claim(connection, queue, "thief", 1, LONG_LEASE, &tasks, &error));
    assert_int_equal(tasks->count, 1);
    hurry(runner);
    await(&seen.events[CLOACA_EVENT_LEASE_LOST], 1);
    assert_int_equal(seen.reason, CLOACA_STOP_LEASE_LOST);
    stop(runner);
    /* The thief's lease is as good as it was. */
    assert_ok(cloaca_complete(connection, task, tasks->tasks[0].lease_id, NULL, &error));
    cloaca_tasks_free(tasks);
    cloaca_close(connection);
}

static void attempts_time_out(void **state)
{
    static const char *const queue = "timeout";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    int64_t task;
    cloaca_runner *runner;

    (void) state;
    set_queue(connection, queue, "\"retry\": {\"strategy\": \"fixed\", \"initial\": 3600}");
    task = enqueue(connection, queue, "x", NULL);
    options.task_timeout = SECOND / 5;
    runner = start(&options, "x", work_on);
    await(&seen.events[CLOACA_EVENT_RETRIED], 1);
    stop(runner);
    assert_int_equal(seen.reason, CLOACA_STOP_TIMED_OUT);
    assert_task(connection, task, "error", "timed out");
    assert_task(connection, task, "state", "scheduled");
    cloaca_close(connection);
}

/* Of a task that is claimed at 7 microseconds. */
static int64_t end_of_attempt(int64_t chosen, int64_t own)
{
    cloaca_runner runner = {.options = {.task_timeout = chosen}};
    const cloaca_task task = {.name = "x", .payload = "{}", .timeout = own};
    cloaca_job *job = clo_job_new(&runner, &task, "default", SECOND, 7);
    int64_t end;

    assert_non_null(job);
    end = job->timeout_at;
    clo_job_free(job);
    return end;
}

/* The database ends what has a time of its own; the runner's default is for what has none. */
static void own_timeouts_hold(void **state)
{
    (void) state;
    assert_int_equal(end_of_attempt(0, CLOACA_NO_INTERVAL), 7 + 300 * SECOND);
    assert_int_equal(end_of_attempt(0, 3600 * SECOND), NEVER);
    assert_int_equal(end_of_attempt(0, SECOND), NEVER);
    assert_int_equal(end_of_attempt(5 * SECOND, CLOACA_NO_INTERVAL), 7 + 5 * SECOND);
    assert_int_equal(end_of_attempt(5 * SECOND, 3600 * SECOND), 7 + 5 * SECOND);
    assert_int_equal(end_of_attempt(CLOACA_NO_INTERVAL, CLOACA_NO_INTERVAL), NEVER);
    assert_int_equal(end_of_attempt(CLOACA_NO_INTERVAL, SECOND), NEVER);
}

/* Heeds a word to stop only when it is let go. */
static cloaca_job_outcome end_late(cloaca_job *job, void *user)
{
    cloaca_job_pause(job, PATIENCE * SECOND);
    cloaca_job_set_error(job, "late");
    stubborn(job, user);
    return CLOACA_JOB_FAILED;
}

/* The lease of an attempt that is to end goes on, so that its own report counts. */
static void late_ends_are_reported(void **state)
{
    static const char *const queue = "late";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    int64_t task, before;

    (void) state;
    set_queue(connection, queue, "\"retry\": {\"strategy\": \"fixed\", \"initial\": 3600}");
    task = enqueue(connection, queue, "x", NULL);
    options.task_timeout = SECOND / 5;
    options.lease = LONG_LEASE;
    options.heed = LONG_LEASE;
    runner = start(&options, "x", end_late);
    await(&seen.started, 1);
    before = lease_until(connection, task);
    hurry(runner);
    await_extension(connection, task, before);
    let_go();
    await(&seen.events[CLOACA_EVENT_RETRIED], 1);
    stop(runner);
    assert_task(connection, task, "error", "timed out: late");
    cloaca_close(connection);
}

/* Runs until the runner ends by itself. */
static void run_to_the_end(const cloaca_runner_options *options, cloaca_handler handler)
{
    cloaca_runner *runner;
    cloaca_error error;

    assert_ok(cloaca_runner_new(options, &runner, &error));
    assert_condition(cloaca_runner_wait(runner, &error), CLOACA_INVALID_ARGUMENT);
    assert_ok(cloaca_runner_register(runner, NULL, handler, NULL, &error));
    assert_ok(cloaca_runner_run(runner, &error));
    assert_ok(cloaca_runner_wait(runner, &error));
    cloaca_runner_free(runner);
}

static void some_tasks_are_enough(void **state)
{
    static const char *const queues[] = {"enough 1", "enough 2"};
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(queues);

    (void) state;
    options.queue_count = 2;
    for (int i = 0; i < 10; i++) {
        enqueue(connection, queues[i % 2], "x", NULL);
    }
    options.max_tasks = 7;
    run_to_the_end(&options, echo);
    assert_int_equal(seen.events[CLOACA_EVENT_CLAIMED], 7);
    assert_int_equal(seen.events[CLOACA_EVENT_COMPLETED], 7);
    assert_int_equal(count_tasks(connection, queues[0], "ready") + count_tasks(connection, queues[1], "ready"), 3);
    cloaca_close(connection);
}

/* What maintenance makes claimable counts, and so does what its own tasks make so; what is for later does not. */
static void an_idle_runner_ends(void **state)
{
    static const char *const queue = "idle";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_enqueue_options later = CLOACA_ENQUEUE_INIT;
    cloaca_error error;

    (void) state;
    options.until = CLOACA_UNTIL_IDLE;
    /* It was due when 2020 began. */
    assert_ok(cloaca_set_clock(connection, INT64_C(1577836700000000), &error));
    assert_ok(cloaca_call(connection, "create_schedule",
                          "{\"name\": \"idle\", \"cron\": \"0 0 1 1 *\", \"task\": \"fired\", \"queue\": \"idle\","
                          " \"catch_up\": \"run_once\", \"ends_at\": \"2020-06-01T00:00:00Z\"}",
                          NULL, &error));
    assert_ok(cloaca_set_clock(connection, CLOACA_NO_TIME, &error));
    define(connection, "idle",
           "{\"queue\": \"idle\", \"tasks\": [{\"name\": \"a\"}, {\"name\": \"b\", \"dependencies\": [\"a\"]},"
           "{\"name\": \"c\", \"dependencies\": [\"b\"]}]}");
    begin_workflow(connection, "idle");
    later.name = "later";
    later.queue = queue;
    later.delay = 3600 * SECOND;
    assert_ok(cloaca_enqueue(connection, &later, NULL, NULL, &error));
    run_to_the_end(&options, echo);
    assert_int_equal(seen.events[CLOACA_EVENT_COMPLETED], 4);
    assert_int_equal(count_tasks(connection, queue, "scheduled"), 1);
    run_to_the_end(&options, echo);
    assert_int_equal(seen.events[CLOACA_EVENT_CLAIMED], 4);
    cloaca_close(connection);
}

/* Whatever comes between a claim that finds nothing and the end of what made the next task claimable. */
static void idle_runners_end_executions(void **state)
{
    static const char *const queue = "idle again";
    cloaca *connection = open_here();

    (void) state;
    define(connection, "idle again",
           "{\"queue\": \"idle again\", \"tasks\": [{\"name\": \"a\"}, {\"name\": \"b\"}, {\"name\": \"c\", \"dependencies\": "
           "[\"a\"]},"
           "{\"name\": \"d\", \"dependencies\": [\"b\"]}, {\"name\": \"e\", \"dependencies\": [\"c\", \"d\"]}]}");
    for (int i = 0; i < 30; i++) {
        cloaca_runner_options options = options_for(&queue);

        options.until = CLOACA_UNTIL_IDLE;
        options.max_concurrent_tasks = 2 + i % 3;
        begin_workflow(connection, "idle again");
        run_to_the_end(&options, echo);
        assert_int_equal(seen.events[CLOACA_EVENT_COMPLETED], 5);
    }
    cloaca_close(connection);
}

static void *complete_beside(void *claimed)
{
    const cloaca_tasks *tasks = claimed;
    cloaca *connection = open_here();
    cloaca_error error;

    await(&seen.events[CLOACA_EVENT_COMPLETED], 1);
    assert_ok(cloaca_complete(connection, tasks->tasks[0].task, tasks->tasks[0].lease_id, NULL, &error));
    cloaca_close(connection);
    return NULL;
}

/* It waits for what comes due, and for what another worker has in hand. */
static void empty_queues_end_a_runner(void **state)
{
    static const char *const queues[] = {"\"emptied\"", "never heard of"};
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(queues);
    cloaca_enqueue_options soon = CLOACA_ENQUEUE_INIT;
    cloaca_tasks *tasks;
    cloaca_error error;
    pthread_t thread;

    (void) state;
    options.queue_count = 2;
    options.until = CLOACA_UNTIL_EMPTY;
    enqueue(connection, queues[0], "x", NULL);
    assert_ok(cloaca_claim(connection, queues[0], "another", 1, 3600 * SECOND, &tasks, &error));
    assert_int_equal(tasks->count, 1);
    soon.name = "soon";
    soon.queue = queues[0];
    soon.delay = SECOND / 2;
    assert_ok(cloaca_enqueue(connection, &soon, NULL, NULL, &error));
    assert_int_equal(pthread_create(&thread, NULL, complete_beside, tasks), 0);
    run_to_the_end(&options, echo);
    pthread_join(thread, NULL);
    assert_int_equal(seen.events[CLOACA_EVENT_COMPLETED], 1);
    assert_int_equal(count_tasks(connection, queues[0], NULL), 0);
    cloaca_tasks_free(tasks);
    cloaca_close(connection);
}

static void a_stop_drains(void **state)
{
    static const char *const queue = "drain";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    pthread_t thread;
    int64_t left;

    (void) state;
    options.max_concurrent_tasks = 1;
    enqueue(connection, queue, "x", NULL);
    left = enqueue(connection, queue, "x", NULL);
    runner = start(&options, "x", work_on);
    await(&seen.started, 1);
    cloaca_runner_interrupt(runner);
    assert_int_equal(pthread_create(&thread, NULL, let_go_beside, NULL), 0);
    stop(runner);
    pthread_join(thread, NULL);
    assert_int_equal(seen.events[CLOACA_EVENT_COMPLETED], 1);
    assert_int_equal(seen.started, 1);
    assert_int_equal(seen.reason, CLOACA_GO_ON);
    assert_task(connection, left, "state", "ready");
    cloaca_close(connection);
}

static void the_grace_ends(void **state)
{
    static const char *const queue = "grace";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    const int64_t task = enqueue(connection, queue, "x", NULL);
    cloaca_runner *runner = start(&options, "x", work_on);
    cloaca_error error;

    (void) state;
    await(&seen.started, 1);
    assert_ok(cloaca_runner_stop(runner, 0, &error));
    cloaca_runner_free(runner);
    assert_int_equal(seen.reason, CLOACA_STOP_RUNNER);
    /* Twice when a claim that was under way got it again. */
    assert_true(seen.events[CLOACA_EVENT_RELEASED] >= 1);
    assert_task(connection, task, "state", "ready");
    assert_task(connection, task, "attempt", "0");
    cloaca_close(connection);
}

static void handlers_that_do_not_end(void **state)
{
    static const char *const queue = "stubborn";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    const int64_t task = enqueue(connection, queue, "x", NULL);
    cloaca_runner *runner = start(&options, "x", stubborn);
    cloaca_error error;

    (void) state;
    await(&seen.started, 1);
    assert_condition(cloaca_runner_stop(runner, 0, &error), CLOACA_TIMEOUT);
    assert_task(connection, task, "state", "ready");
    assert_int_equal(seen.events[CLOACA_EVENT_RELEASED], 1);
    let_go();
    cloaca_runner_free(runner);
    assert_int_equal(seen.ended, 1);
    assert_task(connection, task, "state", "ready");
    cloaca_close(connection);
}

static cloaca_job_outcome stop_it_all(cloaca_job *job, void *user)
{
    cloaca_runner *runner = *(cloaca_runner **) user;
    cloaca_error error;

    (void) job;
    count(&seen.started);
    await(&seen.gate, 1);
    assert_condition(cloaca_runner_stop(runner, -1, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_runner_wait(runner, &error), CLOACA_INVALID_ARGUMENT);
    cloaca_runner_free(runner);
    count(&seen.ended);
    return CLOACA_JOB_DONE;
}

/* What would wait for itself is refused, and the last of it taken for an interrupt. */
static void handlers_stop_no_runner(void **state)
{
    static const char *const queue = "stop it all";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_error error;

    (void) state;
    enqueue(connection, queue, "x", NULL);
    assert_ok(cloaca_runner_new(&options, &runner, &error));
    assert_ok(cloaca_runner_register(runner, "x", stop_it_all, &runner, &error));
    assert_ok(cloaca_runner_start(runner, &error));
    await(&seen.started, 1);
    count(&seen.gate);
    assert_ok(cloaca_runner_wait(runner, &error));
    assert_int_equal(seen.events[CLOACA_EVENT_COMPLETED], 1);
    cloaca_runner_free(runner);
    cloaca_close(connection);
}

/* A call that takes as long as it is let. */
static cloaca_job_outcome compute(cloaca_job *job, void *user)
{
    cloaca_error error;
    cloaca *connection;

    (void) user;
    assert_ok(cloaca_job_connection(job, &connection, &error));
    count(&seen.started);
    assert_true(cloaca_execute(connection,
                               "with recursive n (i) as (select 1 union all select 1 from n) select count(*) from n",
                               &error) != CLOACA_OK);
    count(&seen.ended);
    return CLOACA_JOB_DONE;
}

/* A runner that is over lets no handler hold its end up in the database. */
static void calls_of_handlers_end(void **state)
{
    static const char *const queue = "compute";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_error error;
    cloaca_status status;

    (void) state;
    enqueue(connection, queue, "x", NULL);
    runner = start(&options, "x", compute);
    await(&seen.started, 1);
    /* The handler is given up, and then its call is ended: it may come back before the stop does. */
    status = cloaca_runner_stop(runner, 0, &error);
    assert_true(status == CLOACA_TIMEOUT || status == CLOACA_OK);
    cloaca_runner_free(runner);
    assert_int_equal(seen.ended, 1);
    assert_int_equal(seen.events[CLOACA_EVENT_RELEASED], 1);
    cloaca_close(connection);
}

static void *run_it(void *runner)
{
    cloaca_error error;

    assert_ok(cloaca_runner_run(runner, &error));
    return NULL;
}

static void interrupts_end_a_run(void **state)
{
    static const char *const queue = "interrupt";
    const cloaca_runner_options options = options_for(&queue);
    cloaca *connection = open_here();
    cloaca_runner *runner;
    cloaca_error error;
    pthread_t thread;

    (void) state;
    enqueue(connection, queue, "x", NULL);
    assert_ok(cloaca_runner_new(&options, &runner, &error));
    assert_ok(cloaca_runner_register(runner, "x", work_on, NULL, &error));
    assert_int_equal(pthread_create(&thread, NULL, run_it, runner), 0);
    await(&seen.started, 1);
    cloaca_runner_interrupt(runner);
    cloaca_runner_interrupt(runner);
    pthread_join(thread, NULL);
    assert_int_equal(seen.reason, CLOACA_STOP_RUNNER);
    cloaca_runner_free(runner);
    cloaca_close(connection);
}

static void work_commits_with_its_task(void **state)
{
    static const char *const queue = "transact";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_error error;
    int64_t tasks[3];

    (void) state;
    set_queue(connection, queue, "\"retention\": \"1 day\"");
    assert_ok(cloaca_execute(connection, "drop table if exists runner_work; create table runner_work (n integer)", &error));
    tasks[0] = enqueue(connection, queue, "x", "1");
    tasks[1] = enqueue(connection, queue, "x", "2");
    tasks[2] = enqueue(connection, queue, "x", "3");
    options.max_concurrent_tasks = 1;
    runner = start(&options, "x", transact);
    await(&seen.events[CLOACA_EVENT_COMPLETED], 2);
    await(&seen.events[CLOACA_EVENT_FAILED], 1);
    stop(runner);
    assert_task(connection, tasks[0], "result", "\"committed\"");
    assert_task(connection, tasks[1], "state", "completed");
    assert_task(connection, tasks[2], "state", "dead");
    /* The first row alone was committed. */
    assert_ok(cloaca_execute(connection,
                             "create table runner_check (n integer not null check (n = 1));"
                             "insert into runner_check select sum(n) from runner_work; drop table runner_check",
                             &error));
    cloaca_close(connection);
}

/* Another process takes the task and dies; its lease ends, and the task runs here. */
static void crashes_are_recovered(void **state)
{
    static const char *const queue = "crash";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    const int64_t task = enqueue(connection, queue, "x", NULL);
    cloaca_runner *runner;
    pid_t child;
    int status;

    (void) state;
    cloaca_close(connection);
    options.lease = SECOND;
    child = fork();
    if (child == 0) {
        start(&options, "x", die);
        poll(NULL, 0, PATIENCE * 1000);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    options.lease = LONG_LEASE;
    runner = start(&options, "x", echo);
    await(&seen.events[CLOACA_EVENT_COMPLETED], 1);
    stop(runner);
    connection = open_here();
    assert_task(connection, task, "state", "(null)");
    cloaca_close(connection);
}

/* A lease that ends with the last attempt waits for maintenance, which the runner does. */
static void maintenance_is_done(void **state)
{
    static const char *const queue = "maintained";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_tasks *tasks;
    cloaca_error error;
    char *result = NULL;

    (void) state;
    set_queue(connection, queue, "\"max_attempts\": 1");
    enqueue(connection, queue, "x", NULL);
    assert_ok(cloaca_claim(connection, queue, "dead", 1, 1, &tasks, &error));
    assert_int_equal(tasks->count, 1);
    runner = start(&options, "x", echo);
    for (int i = 0; i < PATIENCE * 20; i++) {
        result = task_value(connection, tasks->tasks[0].task, "state");
        if (result == NULL || strcmp(result, "dead") == 0) {
            break;
        }
        free(result);
        result = NULL;
        poll(NULL, 0, 50);
    }
    assert_string_equal(result != NULL ? result : "", "dead");
    free(result);
    stop(runner);
    assert_int_equal(seen.ended, 0);
    cloaca_tasks_free(tasks);
    cloaca_close(connection);
}

/* It would come with the first report at the latest, and the second is one after that. */
static void maintenance_is_left_to_others(void **state)
{
    static const char *const queue = "unmaintained";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_tasks *tasks;
    cloaca_error error;

    (void) state;
    set_queue(connection, queue, "\"max_attempts\": 1");
    enqueue(connection, queue, "x", NULL);
    assert_ok(cloaca_claim(connection, queue, "dead", 1, 1, &tasks, &error));
    assert_int_equal(tasks->count, 1);
    options.no_recovery = true;
    runner = start(&options, "echo", echo);
    for (int i = 1; i <= 3; i++) {
        enqueue(connection, queue, "echo", "{}");
        await(&seen.events[CLOACA_EVENT_COMPLETED], i);
    }
    stop(runner);
    assert_task(connection, tasks->tasks[0].task, "state", "running");
    cloaca_tasks_free(tasks);
    cloaca_close(connection);
}

/* What no claim would take is refused before there is one, and what is as long as it may be works. */
static void options_have_limits(void **state)
{
    static const char *const queue = "limits of options";
    static const int64_t limit = INT64_C(315576000) * SECOND;
    char long_name[202] = "";
    const char *const bad_names[] = {"", "a\nb", "a\x7f", "\xc2\x85", "\xff", long_name};
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    int64_t *const times[] = {&options.poll,  &options.lease, &options.task_timeout,     &options.unknown_delay,
                              &options.drain, &options.heed,  &options.execution_timeout};
    cloaca_runner *runner;
    cloaca_error error;

    (void) state;
    memset(long_name, 'x', sizeof(long_name) - 1);
    for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++) {
        options.worker = bad_names[i];
        assert_condition(cloaca_runner_new(&options, &runner, &error), CLOACA_INVALID_NAME);
        assert_null(runner);
    }
    long_name[200] = '\0';
    options.worker = long_name;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        *times[i] = limit + 1;
        assert_condition(cloaca_runner_new(&options, &runner, &error), CLOACA_INVALID_ARGUMENT);
        *times[i] = INT64_MAX;
        assert_condition(cloaca_runner_new(&options, &runner, &error), CLOACA_INVALID_ARGUMENT);
        *times[i] = limit;
    }
    options.until = CLOACA_UNTIL_IDLE;
    enqueue(connection, queue, "x", NULL);
    enqueue(connection, queue, "unheard of", NULL);
    runner = start(&options, "x", echo);
    assert_ok(cloaca_runner_wait(runner, &error));
    cloaca_runner_free(runner);
    assert_int_equal(seen.events[CLOACA_EVENT_COMPLETED], 1);
    assert_int_equal(seen.events[CLOACA_EVENT_DEFERRED], 1);
    cloaca_close(connection);
}

static void what_is_refused(void **state)
{
    static const char *const bad_queue = "";
    const char *queue = "refused";
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_error error;

    (void) state;
    assert_condition(cloaca_runner_new(NULL, &runner, &error), CLOACA_INVALID_ARGUMENT);
    assert_null(runner);
    options.max_concurrent_tasks = 1001;
    assert_condition(cloaca_runner_new(&options, &runner, &error), CLOACA_INVALID_ARGUMENT);
    options.max_concurrent_tasks = 0;
    options.lease = -1;
    assert_condition(cloaca_runner_new(&options, &runner, &error), CLOACA_INVALID_ARGUMENT);
    options.lease = 0;
    options.max_tasks = -1;
    assert_condition(cloaca_runner_new(&options, &runner, &error), CLOACA_INVALID_ARGUMENT);
    options.max_tasks = 0;
    options.heed = -1;
    assert_condition(cloaca_runner_new(&options, &runner, &error), CLOACA_INVALID_ARGUMENT);
    options.heed = 0;
    options.url = "sqlite:///:memory:";
    assert_condition(cloaca_runner_new(&options, &runner, &error), CLOACA_NOT_SUPPORTED);
    options.url = "mysql://";
    assert_condition(cloaca_runner_new(&options, &runner, &error), CLOACA_INVALID_ARGUMENT);
    options.url = url;
    assert_ok(cloaca_runner_new(&options, &runner, &error));
    assert_condition(cloaca_runner_start(runner, &error), CLOACA_INVALID_ARGUMENT);
    assert_ok(cloaca_runner_register(runner, "x", echo, NULL, &error));
    assert_condition(cloaca_runner_register(runner, "x", echo, NULL, &error), CLOACA_NAME_TAKEN);
    assert_ok(cloaca_runner_register(runner, NULL, echo, NULL, &error));
    assert_condition(cloaca_runner_register(runner, NULL, echo, NULL, &error), CLOACA_NAME_TAKEN);
    assert_condition(cloaca_runner_register(runner, "", echo, NULL, &error), CLOACA_INVALID_ARGUMENT);
    cloaca_runner_free(runner);
    options.queues = &bad_queue;
    assert_ok(cloaca_runner_new(&options, &runner, &error));
    assert_ok(cloaca_runner_register(runner, "x", echo, NULL, &error));
    assert_condition(cloaca_runner_start(runner, &error), CLOACA_INVALID_NAME);
    cloaca_runner_free(runner);
    cloaca_runner_free(NULL);
}

/* ---------------------------------------------------------------------------------------------------------------- workflows */

static int side_effects;

/* "double" doubles a number, "sum" adds what came before, "flaky" fails once after a step, "wait" awaits a signal. */
static cloaca_job_outcome play(cloaca_job *job, void *user)
{
    const char *name = cloaca_job_name(job);
    cloaca_signal_outcome outcome;
    cloaca_error error;
    char *text = NULL;
    bool recorded;

    (void) user;
    assert_true(cloaca_job_execution(job) > 0);
    if (strcmp(name, "broken") == 0) {
        cloaca_job_set_error(job, "it is broken");
        return CLOACA_JOB_FAILED;
    }
    if (strcmp(name, "flaky") == 0) {
        assert_ok(cloaca_job_step(job, "effect", &recorded, &text, &error));
        assert_int_equal(recorded, cloaca_job_attempt(job) > 1);
        if (!recorded) {
            count(&side_effects);
            assert_ok(cloaca_job_record_step(job, "effect", "{\"n\": 7}", &text, &error));
            assert_string_equal(text, "{\"n\": 7}");
            cloaca_free(text);
            cloaca_job_retry_in(job, 0);
            return CLOACA_JOB_RETRY;
        }
        cloaca_job_set_result(job, text);
        cloaca_free(text);
        return CLOACA_JOB_DONE;
    }
    if (strcmp(name, "wait") == 0) {
        assert_ok(cloaca_job_await_signal(job, "go", CLOACA_NO_INTERVAL, &outcome, &text, &error));
        if (outcome == CLOACA_SIGNAL_WAITING) {
            return CLOACA_JOB_AWAITING;
        }
        assert_int_equal(outcome, CLOACA_SIGNAL_RECEIVED);
        cloaca_job_set_result(job, text);
        cloaca_free(text);
        return CLOACA_JOB_DONE;
    }
    cloaca_job_set_result(job, "{\"done\": true}");
    return CLOACA_JOB_DONE;
}

/* Leaves its transaction open the first time: the step that was recorded in it is undone. */
static cloaca_job_outcome step_in_transaction(cloaca_job *job, void *user)
{
    cloaca_error error;
    cloaca *connection;
    bool recorded;

    (void) user;
    assert_ok(cloaca_job_begin(job, &connection, &error));
    assert_ok(cloaca_job_step(job, "effect", &recorded, NULL, &error));
    assert_false(recorded);
    assert_ok(cloaca_job_record_step(job, "effect", "1", NULL, &error));
    assert_ok(cloaca_job_step(job, "effect", &recorded, NULL, &error));
    assert_true(recorded);
    if (cloaca_job_attempt(job) == 1) {
        cloaca_job_retry_in(job, 0);
        return CLOACA_JOB_RETRY;
    }
    assert_ok(cloaca_job_commit(job, NULL, &error));
    return CLOACA_JOB_DONE;
}

static void steps_join_the_transaction(void **state)
{
    static const char *const queue = "steps";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;

    (void) state;
    enqueue(connection, queue, "x", NULL);
    runner = start(&options, "x", step_in_transaction);
    await(&seen.events[CLOACA_EVENT_COMPLETED], 1);
    stop(runner);
    assert_int_equal(seen.events[CLOACA_EVENT_RETRIED], 1);
    cloaca_close(connection);
}

static cloaca_job_outcome await_in_transaction(cloaca_job *job, void *user)
{
    cloaca_signal_outcome outcome;
    cloaca_error error;
    cloaca *connection;

    (void) user;
    assert_ok(cloaca_job_begin(job, &connection, &error));
    assert_condition(cloaca_job_await_signal(job, "go", CLOACA_NO_INTERVAL, &outcome, NULL, &error), CLOACA_IN_TRANSACTION);
    assert_ok(cloaca_rollback(connection, &error));
    assert_ok(cloaca_job_await_signal(job, "go", CLOACA_NO_INTERVAL, &outcome, NULL, &error));
    return outcome == CLOACA_SIGNAL_WAITING ? CLOACA_JOB_AWAITING : CLOACA_JOB_DONE;
}

/* One that is rolled back would be none. */
static void waits_join_no_transaction(void **state)
{
    static const char *const queue = "await";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_error error;
    int64_t execution;

    (void) state;
    define(connection, "await", "{\"queue\": \"await\", \"tasks\": [{\"name\": \"a\"}]}");
    execution = begin_workflow(connection, "await");
    runner = start(&options, NULL, await_in_transaction);
    await(&seen.events[CLOACA_EVENT_AWAITING], 1);
    assert_ok(cloaca_signal(connection, execution, "go", NULL, &error));
    await(&seen.events[CLOACA_EVENT_COMPLETED], 1);
    stop(runner);
    cloaca_close(connection);
}

static void assert_ends(cloaca *connection, int64_t execution, const char *expected)
{
    cloaca_error error;
    char *state;

    assert_ok(cloaca_wait_for_execution(connection, execution, PATIENCE * SECOND, &state, &error));
    assert_string_equal(state != NULL ? state : "(null)", expected);
    cloaca_free(state);
}

static void workflows_are_executed(void **state)
{
    static const char *const queue = "executed";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    cloaca_result *result;
    cloaca_error error;
    cloaca_runner *runner;

    (void) state;
    define(connection, "diamond",
           "{\"queue\": \"executed\", \"tasks\": [{\"name\": \"a\"}, {\"name\": \"b\", \"dependencies\": [\"a\"]},"
           "{\"name\": \"flaky\", \"dependencies\": [\"a\"]}, {\"name\": \"d\", \"dependencies\": [\"b\", \"flaky\"]}]}");
    define(connection, "failing", "{\"queue\": \"executed\", \"tasks\": [{\"name\": \"broken\"}]}");
    side_effects = 0;
    runner = start(&options, NULL, play);
    assert_ok(cloaca_runner_execute(runner, "diamond", "{\"in\": 1}", NULL, &result, &error));
    assert_string_equal(cloaca_result_get(result, 0, "state"), "completed");
    assert_string_equal(cloaca_result_get(result, 0, "result"), "{\"d\": {\"done\": true}}");
    assert_string_equal(cloaca_result_get(result, 0, "context"), "{\"n\": 7, \"in\": 1, \"done\": true}");
    cloaca_result_free(result);
    assert_int_equal(side_effects, 1);
    assert_int_equal(seen.events[CLOACA_EVENT_RETRIED], 1);
    assert_ok(cloaca_runner_execute(runner, "failing", NULL, NULL, &result, &error));
    assert_string_equal(cloaca_result_get(result, 0, "state"), "failed");
    assert_string_equal(cloaca_result_get(result, 0, "error"), "it is broken");
    cloaca_result_free(result);
    assert_condition(cloaca_runner_execute(runner, "unheard of", NULL, NULL, &result, &error), CLOACA_UNKNOWN_WORKFLOW);
    assert_condition(cloaca_runner_execute(runner, NULL, NULL, NULL, &result, &error), CLOACA_INVALID_ARGUMENT);
    assert_null(result);
    stop(runner);
    cloaca_close(connection);
}

/* How long an execution may take, with the runner's option; CLOACA_NO_INTERVAL: without end. */
static int64_t time_given(const char *workflow, int64_t option)
{
    static const char *const queue = "timed";
    cloaca_runner_options options = options_for(&queue);
    cloaca_result *result;
    cloaca_runner *runner;
    cloaca_error error;
    int64_t deadline, created;

    options.execution_timeout = option;
    runner = start(&options, NULL, play);
    assert_ok(cloaca_runner_execute(runner, workflow, NULL, NULL, &result, &error));
    deadline = time_of(cloaca_result_get(result, 0, "deadline"));
    created = time_of(cloaca_result_get(result, 0, "created_at"));
    cloaca_result_free(result);
    stop(runner);
    return deadline == CLOACA_NO_TIME ? CLOACA_NO_INTERVAL : deadline - created;
}

static void executions_have_their_time(void **state)
{
    cloaca *connection = open_here();

    (void) state;
    define(connection, "its \"own\"", "{\"queue\": \"timed\", \"timeout\": 7200, \"tasks\": [{\"name\": \"a\"}]}");
    define(connection, "none", "{\"queue\": \"timed\", \"tasks\": [{\"name\": \"timeout\"}]}");
    assert_int_equal(time_given("its \"own\"", 0), 7200 * SECOND);
    assert_int_equal(time_given("none", 0), 3600 * SECOND);
    assert_int_equal(time_given("its \"own\"", 60 * SECOND), 60 * SECOND);
    assert_int_equal(time_given("none", 60 * SECOND), 60 * SECOND);
    assert_int_equal(time_given("its \"own\"", CLOACA_NO_INTERVAL), 7200 * SECOND);
    assert_int_equal(time_given("none", CLOACA_NO_INTERVAL), CLOACA_NO_INTERVAL);
    cloaca_close(connection);
}

static void signals_resume_tasks(void **state)
{
    static const char *const queue = "signalled";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    cloaca_result *result;
    cloaca_error error;
    cloaca_runner *runner;
    int64_t execution;

    (void) state;
    define(connection, "signalled", "{\"queue\": \"signalled\", \"tasks\": [{\"name\": \"wait\"}]}");
    execution = begin_workflow(connection, "signalled");
    runner = start(&options, NULL, play);
    await(&seen.events[CLOACA_EVENT_AWAITING], 1);
    assert_ok(cloaca_list_execution_tasks(connection, execution, NULL, 0, 0, &result, &error));
    assert_string_equal(cloaca_result_get(result, 0, "awaits"), "go");
    cloaca_result_free(result);
    assert_ok(cloaca_signal(connection, execution, "go", "{\"sent\": 1}", &error));
    assert_ends(connection, execution, "completed");
    assert_ok(cloaca_get_execution(connection, execution, &result, &error));
    assert_string_equal(cloaca_result_get(result, 0, "result"), "{\"wait\": {\"sent\": 1}}");
    cloaca_result_free(result);
    assert_condition(cloaca_signal(connection, execution, "go", NULL, &error), CLOACA_EXECUTION_FINISHED);
    stop(runner);
    cloaca_close(connection);
}

static void executions_are_managed(void **state)
{
    static const char *const queue = "managed";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_result *result;
    cloaca_error error;
    int64_t execution, tasks;
    char *text;

    (void) state;
    define(connection, "managed", "{\"queue\": \"managed\", \"tasks\": [{\"name\": \"x\"}]}");
    execution = begin_workflow(connection, "managed");
    assert_ok(cloaca_wait_for_execution(connection, execution, 0, &text, &error));
    assert_null(text);
    assert_ok(cloaca_pause_execution(connection, execution, &text, &error));
    assert_string_equal(text, "paused");
    cloaca_free(text);
    assert_ok(cloaca_resume_execution(connection, execution, NULL, &error));
    options.lease = LONG_LEASE;
    runner = start(&options, NULL, work_on);
    await(&seen.started, 1);
    assert_ok(cloaca_cancel_execution(connection, execution, "enough", &text, &error));
    assert_string_equal(text, "cancelled");
    cloaca_free(text);
    hurry(runner);
    await(&seen.ended, 1);
    assert_true(seen.reason == CLOACA_STOP_CANCELLED || seen.reason == CLOACA_STOP_LEASE_LOST);
    assert_ends(connection, execution, "cancelled");
    assert_ok(cloaca_retry_execution(connection, execution, &text, &tasks, &error));
    cloaca_free(text);
    assert_int_equal(tasks, 1);
    await(&seen.started, 2);
    let_go();
    assert_ends(connection, execution, "completed");
    stop(runner);
    assert_ok(cloaca_list_executions(connection, "managed", "completed", 0, 10, &result, &error));
    assert_int_equal(cloaca_result_rows(result), 1);
    cloaca_result_free(result);
    assert_ok(cloaca_execution_events(connection, execution, 0, 0, &result, &error));
    assert_true(cloaca_result_rows(result) >= 8);
    cloaca_result_free(result);
    assert_condition(cloaca_get_execution(connection, 999999, &result, &error), CLOACA_UNKNOWN_EXECUTION);
    assert_null(result);
    cloaca_close(connection);
}

static void *execute_beside(void *runner)
{
    cloaca_result *result;
    cloaca_error error;

    assert_condition(cloaca_runner_execute(runner, "endless", NULL, "once", &result, &error), CLOACA_TIMEOUT);
    assert_null(result);
    return NULL;
}

static void a_stop_ends_waits_for_executions(void **state)
{
    static const char *const queue = "endless";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    pthread_t thread;

    (void) state;
    define(connection, "endless", "{\"queue\": \"endless\", \"tasks\": [{\"name\": \"wait\"}]}");
    runner = start(&options, NULL, play);
    assert_int_equal(pthread_create(&thread, NULL, execute_beside, runner), 0);
    await(&seen.events[CLOACA_EVENT_AWAITING], 1);
    stop_only(runner);
    pthread_join(thread, NULL);
    cloaca_runner_free(runner);
    cloaca_close(connection);
}

/* ------------------------------------------------------------------------------------------------------------------- server */

/* Ends every other session of the test's database. */
static void end_sessions(void)
{
    PGconn *server = PQconnectdb(url);

    run_on_server(server, "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                          " where datname = current_database() and pid <> pg_backend_pid()");
    PQfinish(server);
}

static void lost_connections_come_back(void **state)
{
    static const char *const queue = "sessions";
    cloaca *connection = open_here();
    const cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;

    (void) state;
    enqueue(connection, queue, "x", NULL);
    runner = start(&options, "x", work_on);
    await(&seen.started, 1);
    cloaca_close(connection);
    end_sessions();
    let_go();
    await(&seen.events[CLOACA_EVENT_COMPLETED], 1);
    connection = open_here();
    for (int i = 0; i < 20; i++) {
        enqueue(connection, queue, "x", NULL);
    }
    await(&seen.events[CLOACA_EVENT_COMPLETED], 21);
    stop(runner);
    assert_int_equal(seen.events[CLOACA_EVENT_LEASE_LOST], 0);
    cloaca_close(connection);
}

static cloaca_job_outcome use_connection(cloaca_job *job, void *user)
{
    cloaca_error error;
    cloaca *connection;
    bool recorded;

    (void) user;
    count(&seen.started);
    await(&seen.gate, (int) strtol(cloaca_job_payload(job), NULL, 10));
    assert_ok(cloaca_job_step(job, "a", &recorded, NULL, &error));
    assert_ok(cloaca_job_connection(job, &connection, &error));
    assert_ok(cloaca_execute(connection, "select 1", &error));
    return CLOACA_JOB_DONE;
}

/* What one job used of its thread's connection the next finds lost, or does not ask for. */
static void connections_of_jobs_come_back(void **state)
{
    static const char *const queue = "connections";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;

    (void) state;
    options.max_concurrent_tasks = 1;
    options.lease = LONG_LEASE;
    enqueue(connection, queue, "x", "0");
    enqueue(connection, queue, "x", "1");
    cloaca_close(connection);
    runner = start(&options, "x", use_connection);
    await(&seen.started, 2);
    end_sessions();
    count(&seen.gate);
    await(&seen.events[CLOACA_EVENT_COMPLETED], 2);
    stop(runner);
    assert_int_equal(seen.events[CLOACA_EVENT_CLAIMED], 2);
}

/* Begins a transaction that has the task locked. */
static cloaca *lock_task(int64_t task)
{
    cloaca *connection = open_here();
    cloaca_error error;
    char sql[200];

    snprintf(sql, sizeof(sql),
             "do $$ begin execute format('select from %%I.cloaca_task where id = %lld for update', cloaca.current_tenant());"
             " end $$",
             (long long) task);
    assert_ok(cloaca_begin(connection, &error));
    assert_ok(cloaca_execute(connection, sql, &error));
    return connection;
}

/* While the report of one waits, and with it its extension, the leases of others are extended. */
static void locked_tasks_cost_no_lease(void **state)
{
    static const char *const queue = "locked";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    const int64_t locked = enqueue(connection, queue, "x", "1");
    const int64_t other = enqueue(connection, queue, "x", "2");
    cloaca_runner *runner;
    cloaca *locker;

    (void) state;
    options.lease = LONG_LEASE;
    runner = start(&options, "x", gated);
    await(&seen.started, 2);
    locker = lock_task(locked);
    count(&seen.gate);
    await(&seen.ended, 1);
    for (int i = 0; i < 2; i++) {
        const int64_t before = lease_until(connection, other);

        hurry(runner);
        await_extension(connection, other, before);
    }
    assert_int_equal(seen.events[CLOACA_EVENT_COMPLETED], 0);
    cloaca_close(locker);
    count(&seen.gate);
    await(&seen.events[CLOACA_EVENT_COMPLETED], 2);
    stop(runner);
    assert_int_equal(seen.events[CLOACA_EVENT_LEASE_LOST], 0);
    cloaca_close(connection);
}

/* What ended together with one whose report waits is reported, and the end of the runner does not wait for that one. */
static void locked_tasks_hold_up_nothing(void **state)
{
    static const char *const queue = "locked again";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    const int64_t locked = enqueue(connection, queue, "x", "1");
    cloaca_runner *runner;
    cloaca_error error;
    cloaca *locker;

    (void) state;
    options.lease = LONG_LEASE;
    enqueue(connection, queue, "x", "1");
    enqueue(connection, queue, "x", "1");
    runner = start(&options, "x", gated);
    await(&seen.started, 3);
    locker = lock_task(locked);
    count(&seen.gate);
    await(&seen.events[CLOACA_EVENT_COMPLETED], 2);
    cloaca_runner_interrupt(runner);
    cloaca_runner_interrupt(runner);
    assert_condition(cloaca_runner_wait(runner, &error), CLOACA_TIMEOUT);
    cloaca_runner_free(runner);
    assert_task(connection, locked, "state", "running");
    cloaca_close(locker);
    cloaca_close(connection);
}

/* The tables refuse to let a task go while the table of rules has its payload, with that SQLSTATE. */
static void make_rules(cloaca *connection)
{
    cloaca_error error;

    assert_ok(
        cloaca_execute(connection,
                       "create table if not exists runner_rules (payload text, state text);"
                       "create or replace function runner_refuse() returns trigger language plpgsql as $$"
                       " declare rule text := (select state from public.runner_rules r where r.payload = old.payload::text);"
                       " begin if rule is not null then raise 'my rule says no' using errcode = rule; end if;"
                       " return old; end $$;"
                       "do $$ begin execute format('create or replace trigger runner_refuse before delete on"
                       " %I.cloaca_task for each row execute function public.runner_refuse()', cloaca.current_tenant());"
                       " end $$",
                       &error));
}

/* A database that is read-only for a while is one to wait for. */
static void read_only_passes(void **state)
{
    static const char *const queue = "read only";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_error error;

    (void) state;
    set_queue(connection, queue, "\"max_attempts\": 1");
    make_rules(connection);
    assert_ok(cloaca_execute(connection, "insert into runner_rules values ('1', '25006')", &error));
    options.lease = LONG_LEASE;
    enqueue(connection, queue, "x", "1");
    enqueue(connection, queue, "x", "1");
    runner = start(&options, "x", gated);
    await(&seen.started, 2);
    count(&seen.gate);
    await(&seen.warnings, 4);
    assert_int_equal(seen.events[CLOACA_EVENT_LEASE_LOST], 0);
    assert_ok(cloaca_execute(connection, "delete from runner_rules", &error));
    await(&seen.events[CLOACA_EVENT_COMPLETED], 2);
    stop(runner);
    cloaca_close(connection);
}

/* What the database will never take becomes a failure of that task alone. */
static void refused_reports_hold_up_nothing(void **state)
{
    static const char *const queue = "refuses";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_error error;
    int64_t refused;

    (void) state;
    set_queue(connection, queue, "\"retry\": {\"strategy\": \"fixed\", \"initial\": 3600}");
    make_rules(connection);
    assert_ok(cloaca_execute(connection, "insert into runner_rules values ('1', 'P0001')", &error));
    options.lease = LONG_LEASE;
    options.max_concurrent_tasks = 3;
    enqueue(connection, queue, "x", "0.1");
    refused = enqueue(connection, queue, "x", "1");
    enqueue(connection, queue, "x", "1.0");
    runner = start(&options, "x", gated);
    await(&seen.started, 3);
    count(&seen.gate);
    await(&seen.events[CLOACA_EVENT_COMPLETED], 2);
    await(&seen.events[CLOACA_EVENT_RETRIED], 1);
    stop(runner);
    assert_task(connection, refused, "state", "scheduled");
    assert_task(connection, refused, "error", "the database did not take the result: database error: My rule says no.");
    cloaca_close(connection);
}

/* Whatever a session did when it was ended: no task is lost, and none stays. */
static void sessions_are_ended_all_the_time(void **state)
{
    static const char *const queue = "sessions again";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *runner;
    cloaca_error error;

    (void) state;
    for (int i = 0; i < 300; i++) {
        enqueue(connection, queue, "echo", "{}");
    }
    cloaca_close(connection);
    options.lease = SECOND;
    runner = start(&options, "echo", echo);
    for (int i = 1; i <= 10; i++) {
        await(&seen.ended, i * 20);
        end_sessions();
    }
    connection = open_here();
    for (int i = 0; i < PATIENCE * 10; i++) {
        cloaca_result *tasks;
        size_t left;

        assert_ok(cloaca_list_tasks(connection, queue, NULL, NULL, 0, 1, &tasks, &error));
        left = cloaca_result_rows(tasks);
        cloaca_result_free(tasks);
        if (left == 0) {
            break;
        }
        assert_true(i < PATIENCE * 10 - 1);
        poll(NULL, 0, 100);
    }
    stop(runner);
    assert_true(seen.ended >= 300);
    assert_true(seen.events[CLOACA_EVENT_COMPLETED] <= 300);
    assert_true(seen.events[CLOACA_EVENT_COMPLETED] + seen.events[CLOACA_EVENT_POSSIBLY_DONE] +
                    seen.events[CLOACA_EVENT_LEASE_LOST] >=
                300);
    cloaca_close(connection);
}

/* A file that lost its tables: one runner says why and ends, the other goes on when they are back. */
static void errors_end_a_runner(void **state)
{
    static const char *const queue = "broken";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    cloaca_runner *patient, *strict;
    cloaca_error error;

    (void) state;
    patient = start(&options, "x", echo);
    options.stop_on_error = true;
    assert_ok(cloaca_runner_new(&options, &strict, &error));
    assert_ok(cloaca_runner_register(strict, "x", echo, NULL, &error));
    assert_ok(cloaca_runner_start(strict, &error));
    assert_ok(cloaca_execute(connection, "alter table cloaca_task rename to hidden", &error));
    assert_condition(cloaca_runner_wait(strict, &error), CLOACA_DATABASE_ERROR);
    assert_true(strlen(error.detail) > 0);
    cloaca_runner_free(strict);
    assert_ok(cloaca_execute(connection, "alter table hidden rename to cloaca_task", &error));
    enqueue(connection, queue, "x", NULL);
    await(&seen.events[CLOACA_EVENT_COMPLETED], 1);
    stop(patient);
    cloaca_close(connection);
}

/* The last one: it takes a procedure away. */
static void servers_that_cannot_wait_are_polled(void **state)
{
    static const char *const queue = "polled";
    cloaca *connection = open_here();
    cloaca_runner_options options = options_for(&queue);
    PGconn *server = PQconnectdb(url);
    cloaca_runner *runner;

    (void) state;
    run_on_server(server, "alter extension cloaca drop procedure cloaca.wait_for_task");
    run_on_server(server, "drop procedure cloaca.wait_for_task");
    PQfinish(server);
    runner = start(&options, "echo", echo);
    for (int i = 1; i <= 3; i++) {
        enqueue(connection, queue, "echo", "{}");
        await(&seen.events[CLOACA_EVENT_COMPLETED], i);
    }
    stop_only(runner);
    assert_true(runner->polls);
    cloaca_runner_free(runner);
    cloaca_close(connection);
}

#define SHARED_TESTS                                                                                                           \
    cmocka_unit_test(tasks_run_and_complete), cmocka_unit_test(handlers_decide), cmocka_unit_test(nobody_for_a_name),          \
        cmocka_unit_test(cancelled_tasks_are_told), cmocka_unit_test(leases_are_extended),                                     \
        cmocka_unit_test(lost_leases_are_told), cmocka_unit_test(attempts_time_out), cmocka_unit_test(own_timeouts_hold),      \
        cmocka_unit_test(late_ends_are_reported), cmocka_unit_test(some_tasks_are_enough),                                     \
        cmocka_unit_test(an_idle_runner_ends), cmocka_unit_test(idle_runners_end_executions),                                  \
        cmocka_unit_test(empty_queues_end_a_runner), cmocka_unit_test(a_stop_drains), cmocka_unit_test(the_grace_ends),        \
        cmocka_unit_test(handlers_that_do_not_end), cmocka_unit_test(interrupts_end_a_run),                                    \
        cmocka_unit_test(work_commits_with_its_task), cmocka_unit_test(crashes_are_recovered),                                 \
        cmocka_unit_test(maintenance_is_done), cmocka_unit_test(defaults_are_as_documented),                                   \
        cmocka_unit_test(queues_have_leases), cmocka_unit_test(maintenance_is_left_to_others),                                 \
        cmocka_unit_test(executions_have_their_time), cmocka_unit_test(what_is_refused),                                       \
        cmocka_unit_test(workflows_are_executed), cmocka_unit_test(signals_resume_tasks),                                      \
        cmocka_unit_test(executions_are_managed), cmocka_unit_test(a_stop_ends_waits_for_executions),                          \
        cmocka_unit_test(steps_join_the_transaction), cmocka_unit_test(waits_join_no_transaction),                             \
        cmocka_unit_test(handlers_stop_no_runner), cmocka_unit_test(calls_of_handlers_end),                                    \
        cmocka_unit_test(options_have_limits), cmocka_unit_test(what_is_too_much_is_cut)

int main(void)
{
    const struct CMUnitTest on_files[] = {SHARED_TESTS, cmocka_unit_test(errors_end_a_runner)};
    const struct CMUnitTest on_servers[] = {SHARED_TESTS,
                                            cmocka_unit_test(lost_connections_come_back),
                                            cmocka_unit_test(sessions_are_ended_all_the_time),
                                            cmocka_unit_test(connections_of_jobs_come_back),
                                            cmocka_unit_test(locked_tasks_cost_no_lease),
                                            cmocka_unit_test(locked_tasks_hold_up_nothing),
                                            cmocka_unit_test(read_only_passes),
                                            cmocka_unit_test(refused_reports_hold_up_nothing),
                                            cmocka_unit_test(servers_that_cannot_wait_are_polled)};
    int failed = cmocka_run_group_tests_name("SQLite", on_files, make_folder, drop_folder);

    if (getenv("PGHOST") == NULL) {
        puts("PGHOST is not set: run this under test/cluster.");
        return failed;
    }
    return failed + cmocka_run_group_tests_name("PostgreSQL", on_servers, use_server, NULL);
}
