/*
 * runner.c - the runner as programs see it: made, started, stopped, and asked to execute a workflow
 *
 * The threads are in runner_claim.c, runner_report.c, runner_lease.c, runner_time.c and runner_job.c; runner.h says who owns
 * what. The thread that keeps the time decides when a stop is over; everything here only asks it and waits. A signal handler
 * may do no more than add to a counter and write into a pipe, which is what wakes that thread in any case.
 */
#define _GNU_SOURCE /* pipe2 */
#include "runner.h"
#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TASKS_DEFAULT 4
#define EXECUTION_TIMEOUT_DEFAULT (3600 * SECOND)
#define TASKS_LIMIT 1000
#define QUEUE_LIMIT 1000
#define NAME_LIMIT 200
/* Beyond the grace, and what handlers may take to heed it: the runner's own end comes well before. */
#define STOP_PATIENCE (20 * SECOND)

static cloaca_status check_options(const cloaca_runner_options *options, cloaca_error *error);
static bool are_times_good(const cloaca_runner_options *options);
static bool is_name(const char *name);
static cloaca_status check_url(const char *url, cloaca_error *error);
static bool copy_options(cloaca_runner *runner, const cloaca_runner_options *given);
static bool make_locks(cloaca_runner *runner);
static cloaca_status try_connections(cloaca_runner *runner, cloaca_error *error);
static bool start_threads(cloaca_runner *runner);
static void join_services(cloaca_runner *runner);
static cloaca_status await_end(cloaca_runner *runner, int64_t until, cloaca_error *error);
static cloaca_status from_handler(cloaca_error *error);
static cloaca_status choose_timeout(cloaca *connection, const char *workflow, int64_t *timeout, cloaca_error *error);
static bool has_timeout(const char *definition);
static cloaca_status follow(cloaca_runner *runner, cloaca **connection, int64_t execution, cloaca_result **result,
                            cloaca_error *error);
static cloaca_status wait_on(cloaca_runner *runner, cloaca *connection, int64_t execution, bool *over, cloaca_error *error);
static bool enlist(cloaca_runner *runner, execution_wait *wait);
static void delist(cloaca_runner *runner, execution_wait *wait);
static int64_t or_default(int64_t given, int64_t fallback);

cloaca_status cloaca_runner_new(const cloaca_runner_options *options, cloaca_runner **runner, cloaca_error *error)
{
    cloaca_runner *made;
    cloaca_status status;

    *runner = NULL;
    clo_error_clear(error);
    status = check_options(options, error);
    if (status != CLOACA_OK) {
        return status;
    }
    made = calloc(1, sizeof(cloaca_runner));
    if (made == NULL) {
        return clo_no_memory(error);
    }
    made->arena.secret = true; /* the URL may hold a password */
    made->wake[0] = made->wake[1] = -1;
    made->claimer_ended = made->reporter_ended = made->extender_ended = true;
    made->next_event = made->next_extension = NEVER;
    made->grace_at = made->abandon_at = made->give_up_at = NEVER;
    made->clock = clo_runner_clock();
    if (!make_locks(made)) {
        free(made);
        return clo_no_memory(error);
    }
    if (!copy_options(made, options) || !clo_report_batch_new(made) || !clo_lease_batch_new(made)) {
        cloaca_runner_free(made);
        return clo_no_memory(error);
    }
    if (pipe2(made->wake, O_CLOEXEC | O_NONBLOCK) < 0) {
        cloaca_runner_free(made);
        return clo_fail(error, CLOACA_OUT_OF_MEMORY, "The process cannot open another pipe.");
    }
    *runner = made;
    return CLOACA_OK;
}

cloaca_status cloaca_runner_register(cloaca_runner *runner, const char *name, cloaca_handler handler, void *user,
                                     cloaca_error *error)
{
    handler_entry *grown;

    clo_error_clear(error);
    if (handler == NULL || (name != NULL && (*name == '\0' || strlen(name) > NAME_LIMIT))) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "A handler needs a function, and a name of 1 to 200 bytes or none.");
    }
    if (runner->started) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The runner has been started already.");
    }
    for (size_t i = 0; i < runner->handler_count; i++) {
        const char *other = runner->handlers[i].name;

        if (name == NULL || other == NULL ? name == other : strcmp(name, other) == 0) {
            return clo_fail(error, CLOACA_NAME_TAKEN, "There is a handler of that name already.");
        }
    }
    grown = realloc(runner->handlers, (runner->handler_count + 1) * sizeof(handler_entry));
    if (grown == NULL) {
        return clo_no_memory(error);
    }
    runner->handlers = grown;
    grown += runner->handler_count;
    *grown = (handler_entry){NULL, handler, user};
    if (name != NULL) {
        grown->name = clo_arena_copy(&runner->arena, name, strlen(name));
        if (grown->name == NULL) {
            return clo_no_memory(error);
        }
    }
    runner->handler_count++;
    return CLOACA_OK;
}

cloaca_status cloaca_runner_start(cloaca_runner *runner, cloaca_error *error)
{
    cloaca_status status;

    clo_error_clear(error);
    if (runner->started || runner->handler_count == 0) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT,
                        runner->started ? "The runner has been started already." : "The runner has no handler.");
    }
    status = try_connections(runner, error);
    if (status != CLOACA_OK) {
        return status;
    }
    if (!start_threads(runner)) {
        return clo_fail(error, CLOACA_OUT_OF_MEMORY, "The process cannot start another thread.");
    }
    clo_runner_log(runner, CLOACA_LOG_DEBUG, "started with %zu threads", runner->thread_count);
    return CLOACA_OK;
}

cloaca_status cloaca_runner_stop(cloaca_runner *runner, int64_t grace, cloaca_error *error)
{
    const int64_t grace_at = clo_later_by(clo_monotonic_now(), grace < 0 ? NEVER : grace);

    bool started;

    clo_error_clear(error);
    if (clo_runner_is_own_thread(runner)) {
        return from_handler(error);
    }
    pthread_mutex_lock(&runner->lock);
    clo_runner_begin_stop(runner, grace_at);
    started = runner->started;
    pthread_mutex_unlock(&runner->lock);
    if (!started) {
        return CLOACA_OK;
    }
    return await_end(runner, clo_later_by(clo_later_by(grace_at, runner->options.heed), STOP_PATIENCE), error);
}

cloaca_status cloaca_runner_wait(cloaca_runner *runner, cloaca_error *error)
{
    clo_error_clear(error);
    if (clo_runner_is_own_thread(runner)) {
        return from_handler(error);
    }
    return runner->started ? await_end(runner, NEVER, error)
                           : clo_fail(error, CLOACA_INVALID_ARGUMENT, "The runner has not been started.");
}

cloaca_status cloaca_runner_run(cloaca_runner *runner, cloaca_error *error)
{
    const cloaca_status status = cloaca_runner_start(runner, error);

    return status == CLOACA_OK ? cloaca_runner_wait(runner, error) : status;
}

void cloaca_runner_interrupt(cloaca_runner *runner)
{
    atomic_fetch_add(&runner->interrupts, 1);
    clo_runner_wake(runner);
}

void cloaca_runner_free(cloaca_runner *runner)
{
    if (runner == NULL) {
        return;
    }
    if (clo_runner_is_own_thread(runner)) {
        clo_runner_log(runner, CLOACA_LOG_ERROR, "a handler cannot free its runner: it was asked to stop instead");
        cloaca_runner_interrupt(runner);
        return;
    }
    if (runner->started) {
        cloaca_runner_stop(runner, 0, NULL);
        join_services(runner);
        pthread_join(runner->claimer, NULL);
        for (size_t i = 0; i < runner->thread_count; i++) {
            pthread_join(runner->threads[i].thread, NULL);
        }
    }
    while (runner->jobs != NULL) {
        cloaca_job *job = runner->jobs;

        runner->jobs = job->next;
        clo_job_free(job);
    }
    cloaca_close(runner->claim_link.connection);
    cloaca_close(runner->report_link.connection);
    cloaca_close(runner->lease_link.connection);
    for (size_t i = 0; i < 2 && runner->wake[0] >= 0; i++) {
        close(runner->wake[i]);
    }
    pthread_cond_destroy(&runner->work);
    pthread_cond_destroy(&runner->changed);
    pthread_cond_destroy(&runner->reports);
    pthread_cond_destroy(&runner->leases_due);
    pthread_mutex_destroy(&runner->lock);
    pthread_mutex_destroy(&runner->report_lock);
    clo_report_batch_free(runner);
    clo_lease_batch_free(runner);
    free(runner->threads);
    free(runner->handlers);
    clo_arena_free(&runner->arena);
    free(runner);
}

cloaca_status cloaca_runner_execute(cloaca_runner *runner, const char *workflow, const char *context, const char *key,
                                    cloaca_result **result, cloaca_error *error)
{
    cloaca_error why = {0};
    cloaca *connection = NULL;
    int64_t execution = 0;
    int64_t timeout = runner->options.execution_timeout;
    cloaca_status status = cloaca_open(runner->options.url, &connection, &why);

    *result = NULL;
    if (status == CLOACA_OK && timeout == 0) {
        status = choose_timeout(connection, workflow, &timeout, &why);
    }
    if (status == CLOACA_OK) {
        status = cloaca_start_workflow(connection, workflow, context, key, timeout, &execution, NULL, &why);
    }
    if (status == CLOACA_OK) {
        status = follow(runner, &connection, execution, result, &why);
    }
    cloaca_close(connection);
    if (error != NULL) {
        *error = why;
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------------------------- shared */

int64_t clo_monotonic_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * SECOND + now.tv_nsec / 1000;
}

int64_t clo_runner_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t) now.tv_sec * SECOND + now.tv_nsec / 1000 - clo_monotonic_now();
}

void clo_runner_log(cloaca_runner *runner, cloaca_log_level level, const char *format, ...)
{
    char message[2048];
    va_list values;

    if (runner->options.log == NULL) {
        return;
    }
    va_start(values, format);
    vsnprintf(message, sizeof(message), format, values);
    va_end(values);
    runner->options.log(runner->options.user, level, message);
}

void clo_runner_log_error(cloaca_runner *runner, cloaca_log_level level, const char *what, const cloaca_error *error)
{
    clo_runner_log(runner, level, "%s: %s%s%s", what, error->message, error->detail[0] != '\0' ? ": " : "", error->detail);
}

void clo_runner_metric(cloaca_runner *runner, const cloaca_job *job, cloaca_job_event event, int64_t latency)
{
    const cloaca_metric metric = {event, job->task, job->execution, job->name, job->attempt, latency};

    if (runner->options.metric != NULL) {
        runner->options.metric(runner->options.user, &metric);
    }
}

/* Safe in a signal handler. A pipe that is full wakes just as well. */
void clo_runner_wake(cloaca_runner *runner)
{
    const int kept = errno;

    if (!atomic_exchange(&runner->woken, true) && write(runner->wake[1], "", 1) < 0) {
        errno = kept;
    }
    errno = kept;
}

void clo_runner_begin_stop(cloaca_runner *runner, int64_t grace_at)
{
    runner->grace_at = runner->stopping ? clo_earlier(runner->grace_at, grace_at) : grace_at;
    clo_runner_wake(runner);
    if (runner->stopping) {
        return;
    }
    runner->stopping = true;
    for (cloaca_job *job = runner->first_queued; job != NULL; job = job->next_queued) {
        job->state = JOB_ENDED;
        job->outcome = CLOACA_JOB_RELEASED;
        runner->busy--;
    }
    runner->first_queued = runner->last_queued = NULL;
    if (runner->claim_link.connection != NULL) {
        cloaca_interrupt(runner->claim_link.connection);
    }
    for (const execution_wait *wait = runner->waits; wait != NULL; wait = wait->next) {
        cloaca_interrupt(wait->connection);
    }
    pthread_cond_broadcast(&runner->work);
    pthread_cond_broadcast(&runner->changed);
    pthread_cond_broadcast(&runner->reports);
}

void clo_runner_fail(cloaca_runner *runner, const cloaca_error *error)
{
    if (!runner->options.stop_on_error) {
        return;
    }
    pthread_mutex_lock(&runner->lock);
    if (runner->failure.status == CLOACA_OK) {
        runner->failure = *error;
    }
    clo_runner_begin_stop(runner, clo_later_by(clo_monotonic_now(), runner->options.drain));
    pthread_mutex_unlock(&runner->lock);
}

void clo_runner_await_change(cloaca_runner *runner, int64_t until)
{
    clo_runner_await(runner, &runner->changed, until);
}

void clo_runner_await(cloaca_runner *runner, pthread_cond_t *condition, int64_t until)
{
    const struct timespec time = {until / SECOND, until % SECOND * 1000};

    if (until == NEVER) {
        pthread_cond_wait(condition, &runner->lock);
    } else {
        pthread_cond_timedwait(condition, &runner->lock, &time);
    }
}

void clo_runner_pause(cloaca_runner *runner, int64_t until)
{
    pthread_mutex_lock(&runner->lock);
    while (!runner->stopping && clo_monotonic_now() < until) {
        clo_runner_await_change(runner, until);
    }
    pthread_mutex_unlock(&runner->lock);
}

/* ------------------------------------------------------------------------------------------------------------------- making */

static cloaca_status check_options(const cloaca_runner_options *options, cloaca_error *error)
{
    if (options == NULL || options->url == NULL) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The options need a URL.");
    }
    if (options->queue_count > QUEUE_LIMIT || (options->queue_count > 0 && options->queues == NULL)) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "A runner has 1 to 1000 queues.");
    }
    for (size_t i = 0; i < options->queue_count; i++) {
        if (options->queues[i] == NULL) {
            return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The name of a queue must not be null.");
        }
    }
    if (options->max_concurrent_tasks < 0 || options->max_concurrent_tasks > TASKS_LIMIT) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The number of concurrent tasks must be from 1 to 1000.");
    }
    if (options->worker != NULL && !is_name(options->worker)) {
        return clo_fail(error, CLOACA_INVALID_NAME, "The worker must have 1 to 200 bytes and no control characters.");
    }
    if (!are_times_good(options)) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The times of a runner must be from 0 to 10 years.");
    }
    if (options->max_tasks < 0 || options->until < CLOACA_UNTIL_STOPPED || options->until > CLOACA_UNTIL_EMPTY) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "When the runner ends is not said as it can be.");
    }
    return check_url(options->url, error);
}

static bool are_times_good(const cloaca_runner_options *options)
{
    const int64_t times[] = {options->poll, options->lease, options->unknown_delay, options->drain, options->heed};
    const int64_t limits[] = {options->task_timeout, options->execution_timeout};
    bool good = true;

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        good = good && times[i] >= 0 && times[i] <= INTERVAL_LIMIT;
    }
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        good = good && limits[i] >= CLOACA_NO_INTERVAL && limits[i] <= INTERVAL_LIMIT;
    }
    return good;
}

/* What the database would not take is said before the first claim. Characters from U+0080 to U+009F begin with the byte C2. */
static bool is_name(const char *name)
{
    const unsigned char *byte = (const unsigned char *) name;
    const size_t length = strlen(name);
    bool plain = length >= 1 && length <= NAME_LIMIT && clo_utf8_valid(name, length);

    for (; plain && *byte != '\0'; byte++) {
        plain = *byte >= 0x20 && *byte != 0x7f && !(*byte == 0xc2 && byte[1] < 0xa0);
    }
    return plain;
}

static cloaca_status check_url(const char *url, cloaca_error *error)
{
    clo_arena arena = {.secret = true};
    clo_url parsed;
    cloaca_status status = clo_url_parse(url, &arena, &parsed, error);

    if (status == CLOACA_OK && parsed.backend == CLOACA_SQLITE && strcmp(parsed.location, ":memory:") == 0) {
        status = clo_fail(error, CLOACA_NOT_SUPPORTED, "A runner needs several connections, and a database in memory has one.");
        clo_error_hint(error, "Use a file, such as sqlite:////tmp/tasks.db.");
    }
    clo_arena_free(&arena);
    return status;
}

static bool copy_options(cloaca_runner *runner, const cloaca_runner_options *given)
{
    cloaca_runner_options *options = &runner->options;
    const size_t count = given->queue_count > 0 ? given->queue_count : 1;
    const char **queues = clo_arena_allocate(&runner->arena, count * sizeof(char *));
    int64_t *leases = clo_arena_allocate(&runner->arena, count * sizeof(int64_t));
    char host[128] = "runner";
    char name[NAME_LIMIT + 1];

    *options = *given;
    gethostname(host, sizeof(host) - 1);
    snprintf(name, sizeof(name), "%s:%ld", host, (long) getpid());
    options->url = clo_arena_copy(&runner->arena, given->url, strlen(given->url));
    options->worker = given->worker != NULL ? given->worker : name;
    options->worker = clo_arena_copy(&runner->arena, options->worker, strlen(options->worker));
    if (options->url == NULL || options->worker == NULL || queues == NULL || leases == NULL) {
        return false;
    }
    options->queue_count = count;
    options->queues = queues;
    runner->leases = leases;
    for (size_t i = 0; i < count; i++) {
        const char *queue = given->queue_count > 0 ? given->queues[i] : "default";

        queues[i] = clo_arena_copy(&runner->arena, queue, strlen(queue));
        if (queues[i] == NULL) {
            return false;
        }
        leases[i] = or_default(given->lease, LEASE_DEFAULT);
    }
    options->max_concurrent_tasks = (int32_t) or_default(given->max_concurrent_tasks, TASKS_DEFAULT);
    options->poll = or_default(given->poll, 100 * MILLISECOND);
    options->unknown_delay = or_default(given->unknown_delay, 5 * SECOND);
    options->drain = or_default(given->drain, 30 * SECOND);
    options->heed = or_default(given->heed, 2 * SECOND);
    options->max_tasks = or_default(given->max_tasks, INT64_MAX);
    runner->maintained = given->no_recovery;
    runner->poll_pause = options->poll;
    runner->capacity = 2 * (size_t) options->max_concurrent_tasks + 16;
    runner->claim_link = (runner_link){.purpose = "to claim", .binds_leases = true, .backoff = BACKOFF_LOW};
    runner->report_link = (runner_link){.purpose = "to report", .backoff = BACKOFF_LOW};
    runner->lease_link = (runner_link){.purpose = "to extend leases", .backoff = BACKOFF_LOW};
    runner->threads = calloc((size_t) options->max_concurrent_tasks, sizeof(handler_thread));
    return runner->threads != NULL;
}

static bool make_locks(cloaca_runner *runner)
{
    pthread_condattr_t attributes;

    if (pthread_condattr_init(&attributes) != 0) {
        return false;
    }
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&runner->lock, NULL);
    pthread_mutex_init(&runner->report_lock, NULL);
    pthread_cond_init(&runner->work, &attributes);
    pthread_cond_init(&runner->changed, &attributes);
    pthread_cond_init(&runner->reports, &attributes);
    pthread_cond_init(&runner->leases_due, &attributes);
    pthread_condattr_destroy(&attributes);
    return true;
}

/* ----------------------------------------------------------------------------------------------------- starting and stopping
 */

/* What is wrong with the URL, the rights or the names of the queues is said at once, not to the log later. */
static cloaca_status try_connections(cloaca_runner *runner, cloaca_error *error)
{
    cloaca_error why = {0};
    cloaca_error *said = error != NULL ? error : &why;
    cloaca_status status;

    if (!clo_link_ready(runner, &runner->claim_link, said) || !clo_link_ready(runner, &runner->report_link, said)) {
        runner->claim_link.next_try = runner->report_link.next_try = 0;
        return said->status;
    }
    status =
        cloaca_wait_for_task(runner->claim_link.connection, runner->options.queue_count, runner->options.queues, 0, NULL, said);
    if (status == CLOACA_UNKNOWN_FUNCTION) {
        clo_runner_log_error(runner, CLOACA_LOG_INFO, "cannot wait for work, polling from now on", said);
        runner->polls = true;
    }
    /* What passes is waited out by the threads. */
    if (runner->polls || (said->retryable && !said->connection_lost)) {
        clo_error_clear(said);
        status = CLOACA_OK;
    }
    return status;
}

/* When a thread cannot be started the others end again. */
static bool start_threads(cloaca_runner *runner)
{
    static void *(*const services[])(void *) = {clo_runner_keep_time, clo_runner_report, clo_runner_extend};
    const size_t wanted = (size_t) runner->options.max_concurrent_tasks;
    bool good = true;

    pthread_mutex_lock(&runner->lock);
    while (good && runner->service_count < sizeof(services) / sizeof(services[0])) {
        const size_t i = runner->service_count;

        good = pthread_create(&runner->services[i], NULL, services[i], runner) == 0;
        runner->service_count += good ? 1 : 0;
    }
    runner->reporter_ended = runner->service_count < 2;
    runner->extender_ended = runner->service_count < 3;
    while (good && runner->thread_count < wanted) {
        handler_thread *thread = &runner->threads[runner->thread_count];

        thread->runner = runner;
        good = pthread_create(&thread->thread, NULL, clo_runner_handle, thread) == 0;
        runner->thread_count += good ? 1 : 0;
    }
    runner->claimer_ended = !good || pthread_create(&runner->claimer, NULL, clo_runner_claim, runner) != 0;
    runner->started = !runner->claimer_ended;
    if (!runner->started) {
        clo_runner_begin_stop(runner, 0);
    }
    pthread_mutex_unlock(&runner->lock);
    if (!runner->started) {
        join_services(runner);
        while (runner->thread_count > 0) {
            pthread_join(runner->threads[--runner->thread_count].thread, NULL);
        }
    }
    return runner->started;
}

static void join_services(cloaca_runner *runner)
{
    while (runner->service_count > 0) {
        pthread_join(runner->services[--runner->service_count], NULL);
    }
}

/* The thread that keeps the time says so, or the time is over. */
static cloaca_status await_end(cloaca_runner *runner, int64_t until, cloaca_error *error)
{
    cloaca_error failure;
    bool complete;

    pthread_mutex_lock(&runner->lock);
    while (!runner->ended && clo_monotonic_now() < until) {
        clo_runner_await_change(runner, until);
    }
    complete = runner->ended && runner->complete;
    failure = runner->failure;
    pthread_mutex_unlock(&runner->lock);
    if (failure.status != CLOACA_OK) {
        if (error != NULL) {
            *error = failure;
        }
        return failure.status;
    }
    return complete ? CLOACA_OK
                    : clo_fail(error, CLOACA_TIMEOUT, "Handlers still work, or the database did not take what they came to.");
}

static cloaca_status from_handler(cloaca_error *error)
{
    clo_fail(error, CLOACA_INVALID_ARGUMENT, "A handler cannot wait for the end of its runner, which waits for the handler.");
    clo_error_hint(error, "Call cloaca_runner_interrupt.");
    return CLOACA_INVALID_ARGUMENT;
}

/* ---------------------------------------------------------------------------------------------------------------- executing */

/* Nobody chose one: the definition's, or ours where it has none. One that changes just now is at worst taken for the other. */
static cloaca_status choose_timeout(cloaca *connection, const char *workflow, int64_t *timeout, cloaca_error *error)
{
    cloaca_result *result = NULL;
    clo_buffer arguments = {0};
    cloaca_status status;

    clo_buffer_text(&arguments, "{\"name\": ");
    if (workflow != NULL) {
        clo_json_string(&arguments, workflow, strlen(workflow));
    }
    clo_buffer_text(&arguments, workflow != NULL ? "}" : "null}");
    status = clo_buffer_finish(&arguments) ? cloaca_call(connection, "get_workflow", arguments.data, &result, error)
                                           : clo_no_memory(error);
    clo_buffer_free(&arguments);
    if (status == CLOACA_OK) {
        *timeout = has_timeout(cloaca_result_get(result, 0, "definition")) ? CLOACA_NO_INTERVAL : EXECUTION_TIMEOUT_DEFAULT;
    }
    cloaca_result_free(result);
    return status;
}

static bool has_timeout(const char *definition)
{
    static const char key[] = "\"timeout\"";
    clo_span name, value;

    while (definition != NULL && clo_json_next(&definition, &name, &value)) {
        if (name.length == strlen(key) && memcmp(name.text, key, name.length) == 0) {
            return value.text[0] != 'n';
        }
    }
    return false;
}

/* Asking for the outcome again is harmless, so a lost connection only costs time. */
static cloaca_status follow(cloaca_runner *runner, cloaca **connection, int64_t execution, cloaca_result **result,
                            cloaca_error *error)
{
    int64_t backoff = BACKOFF_LOW;
    bool over = false;

    for (;;) {
        cloaca_status status = CLOACA_OK;

        if (*connection == NULL) {
            status = cloaca_open(runner->options.url, connection, error);
        }
        if (status == CLOACA_OK && !over) {
            status = wait_on(runner, *connection, execution, &over, error);
        }
        if (status == CLOACA_OK && over) {
            return cloaca_get_execution(*connection, execution, result, error);
        }
        if (status == CLOACA_TIMEOUT || (status != CLOACA_OK && !error->retryable && !error->connection_lost)) {
            return status;
        }
        if (status != CLOACA_OK) {
            cloaca_close(*connection);
            *connection = NULL;
            clo_runner_pause(runner, clo_monotonic_now() + backoff);
            backoff = clo_earlier(backoff * 2, BACKOFF_HIGH);
        } else {
            backoff = BACKOFF_LOW;
        }
    }
}

static cloaca_status wait_on(cloaca_runner *runner, cloaca *connection, int64_t execution, bool *over, cloaca_error *error)
{
    execution_wait wait = {.connection = connection};
    char *state = NULL;
    cloaca_status status;

    if (!enlist(runner, &wait)) {
        return clo_fail(error, CLOACA_TIMEOUT, "The runner was stopped before the execution %lld ended.",
                        (long long) execution);
    }
    status = cloaca_wait_for_execution(connection, execution, 60 * SECOND, &state, error);
    delist(runner, &wait);
    *over = state != NULL;
    cloaca_free(state);
    /* The server's statement_timeout may be shorter than our wait. */
    return status == CLOACA_TIMEOUT ? CLOACA_OK : status;
}

/* False when the runner stops. */
static bool enlist(cloaca_runner *runner, execution_wait *wait)
{
    bool go_on;

    pthread_mutex_lock(&runner->lock);
    go_on = !runner->stopping;
    wait->next = runner->waits;
    if (go_on) {
        runner->waits = wait;
    }
    pthread_mutex_unlock(&runner->lock);
    return go_on;
}

static void delist(cloaca_runner *runner, execution_wait *wait)
{
    execution_wait **link = &runner->waits;

    pthread_mutex_lock(&runner->lock);
    while (*link != wait) {
        link = &(*link)->next;
    }
    *link = wait->next;
    pthread_mutex_unlock(&runner->lock);
}

static int64_t or_default(int64_t given, int64_t fallback)
{
    return given != 0 ? given : fallback;
}
