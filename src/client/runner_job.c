/*
 * runner_job.c - the threads of a runner that call handlers, and what a handler can ask of its job
 *
 * A handler's thread touches the database only when the handler asks for it: through a connection of its own, kept for later
 * jobs, or else through the runner's, one thread at a time.
 */
#define _GNU_SOURCE /* pipe2 */
#include "common/json.h"
#include "common/timestamp.h"
#include "runner.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TASK_TIMEOUT_DEFAULT (300 * SECOND)
/* How long a call through the runner's connection may take the first time; it doubles up to 64 times that. */
#define CALL_PATIENCE SECOND
#define CALL_DOUBLINGS 6

/* A call for a job that may be repeated. */
typedef struct job_call {
    cloaca_status (*run)(cloaca *connection, const cloaca_job *job, struct job_call *call, cloaca_error *error);
    const char *name;
    const char *result;
    int64_t timeout;
    bool *recorded;
    char **text;
    cloaca_signal_outcome *outcome;
    int held_up; /* how many tries took too long */
    int64_t backoff;
} job_call;

/* Of the thread's handler, if it is one's. */
static _Thread_local const cloaca_runner *own_runner;

static cloaca_job *next_job(cloaca_runner *runner);
static void run_handler(handler_thread *thread, cloaca_job *job);
static const handler_entry *find_handler(const cloaca_runner *runner, const char *name);
static void clean_connection(handler_thread *thread);
static void drop_if_lost(handler_thread *thread);
static void end_job(cloaca_runner *runner, cloaca_job *job);
static int64_t longest_time(const cloaca_runner *runner, const cloaca_task *task);
static void set_text(cloaca_job *job, char **place, const char *text);
static cloaca_status repeat(cloaca_job *job, job_call *call, cloaca_error *error);
static bool in_own_transaction(const cloaca_job *job);
static cloaca_status try_once(cloaca_job *job, job_call *call, cloaca_error *error);
static cloaca_status run_step(cloaca *connection, const cloaca_job *job, job_call *call, cloaca_error *error);
static cloaca_status run_record(cloaca *connection, const cloaca_job *job, job_call *call, cloaca_error *error);
static cloaca_status run_await(cloaca *connection, const cloaca_job *job, job_call *call, cloaca_error *error);

void *clo_runner_handle(void *context)
{
    handler_thread *thread = context;
    cloaca_runner *runner = thread->runner;
    cloaca_job *job;

    own_runner = runner;
    while ((job = next_job(runner)) != NULL) {
        run_handler(thread, job);
        end_job(runner, job);
    }
    cloaca_close(thread->connection);
    thread->connection = NULL;
    return NULL;
}

/* NULL at the end of the runner. */
static cloaca_job *next_job(cloaca_runner *runner)
{
    cloaca_job *job;

    pthread_mutex_lock(&runner->lock);
    while (runner->first_queued == NULL && !runner->stopping) {
        pthread_cond_wait(&runner->work, &runner->lock);
    }
    job = runner->first_queued;
    if (job != NULL) {
        runner->first_queued = job->next_queued;
        runner->last_queued = runner->first_queued != NULL ? runner->last_queued : NULL;
        job->state = JOB_RUNNING;
        if (job->timeout_at < runner->next_event) {
            clo_runner_wake(runner);
        }
    }
    pthread_mutex_unlock(&runner->lock);
    return job;
}

static void run_handler(handler_thread *thread, cloaca_job *job)
{
    cloaca_runner *runner = thread->runner;
    const handler_entry *entry = find_handler(runner, job->name);

    if (entry == NULL) {
        clo_runner_log(runner, CLOACA_LOG_WARNING, "task %lld: there is no handler for \"%.200s\"", (long long) job->task,
                       job->name);
        job->outcome = CLOACA_JOB_DEFERRED;
        job->sleep_for = runner->options.unknown_delay;
        return;
    }
    job->thread = thread;
    job->outcome = entry->handler(job, entry->user);
    job->thread = NULL;
    clean_connection(thread);
    if (job->outcome == CLOACA_JOB_AWAITING && !atomic_load(&job->awaiting)) {
        clo_runner_log(runner, CLOACA_LOG_WARNING, "task %lld: its handler awaits nothing: released", (long long) job->task);
        job->outcome = CLOACA_JOB_RELEASED;
    }
}

static const handler_entry *find_handler(const cloaca_runner *runner, const char *name)
{
    const handler_entry *any = NULL;

    for (size_t i = 0; i < runner->handler_count; i++) {
        const handler_entry *entry = &runner->handlers[i];

        if (entry->name == NULL) {
            any = entry;
        } else if (strcmp(entry->name, name) == 0) {
            return entry;
        }
    }
    return any;
}

/* Nothing of a job's transaction is left for the next one, which opens anew what was lost. */
static void clean_connection(handler_thread *thread)
{
    cloaca *connection = thread->connection;
    cloaca_error error;

    if (connection == NULL) {
        return;
    }
    if ((connection->began || connection->backend->in_transaction(connection)) &&
        connection->backend->rollback(connection, &error) != CLOACA_OK) {
        cloaca_close(connection);
        thread->connection = NULL;
        return;
    }
    connection->began = false;
    drop_if_lost(thread);
}

static void drop_if_lost(handler_thread *thread)
{
    cloaca *connection = thread->connection;

    if (connection != NULL && connection->backend->is_there != NULL && !connection->backend->is_there(connection)) {
        cloaca_close(connection);
        thread->connection = NULL;
    }
}

/* The job is the reporting thread's from here on. */
static void end_job(cloaca_runner *runner, cloaca_job *job)
{
    pthread_mutex_lock(&runner->lock);
    runner->busy--;
    if (job->state == JOB_ABANDONED) {
        job->handler_ended = true;
    } else {
        job->state = JOB_ENDED;
    }
    pthread_cond_broadcast(&runner->changed);
    pthread_cond_signal(&runner->reports);
    if (runner->stopping) {
        clo_runner_wake(runner);
    }
    pthread_mutex_unlock(&runner->lock);
}

bool clo_runner_is_own_thread(const cloaca_runner *runner)
{
    return own_runner == runner;
}

/* --------------------------------------------------------------------------------------------------------------------- jobs */

cloaca_job *clo_job_new(cloaca_runner *runner, const cloaca_task *task, const char *queue, int64_t lease, int64_t claimed_at)
{
    const int64_t timeout = longest_time(runner, task);
    cloaca_job *job = calloc(1, sizeof(cloaca_job));

    if (job == NULL) {
        return NULL;
    }
    job->runner = runner;
    job->task = task->task;
    job->lease_id = task->lease_id;
    job->execution = task->execution;
    job->attempt = task->attempt;
    job->max_attempts = task->max_attempts;
    job->priority = task->priority;
    job->name = clo_arena_copy(&job->arena, task->name, strlen(task->name));
    job->payload = clo_arena_copy(&job->arena, task->payload, strlen(task->payload));
    job->queue = queue;
    job->claimed_at = claimed_at;
    job->lease = lease;
    job->timeout_at = timeout < 0 ? NEVER : clo_later_by(claimed_at, timeout);
    job->retry_in = CLOACA_NO_INTERVAL;
    job->sleep_until = CLOACA_NO_TIME;
    if (job->name == NULL || job->payload == NULL) {
        clo_job_free(job);
        return NULL;
    }
    return job;
}

/* Of an attempt, as far as the runner is concerned: the database sees to the task's own. */
static int64_t longest_time(const cloaca_runner *runner, const cloaca_task *task)
{
    if (runner->options.task_timeout != 0) {
        return runner->options.task_timeout;
    }
    return task->timeout == CLOACA_NO_INTERVAL ? TASK_TIMEOUT_DEFAULT : CLOACA_NO_INTERVAL;
}

void clo_job_free(cloaca_job *job)
{
    if (job->has_pipe) {
        close(job->pipe[0]);
        close(job->pipe[1]);
    }
    free(job->result);
    free(job->error);
    clo_arena_free(&job->arena);
    free(job);
}

/* A lost lease is the last word; of the others the first counts. */
void clo_job_stop(cloaca_job *job, cloaca_stop_reason reason)
{
    const int before = atomic_load(&job->reason);

    if (before == CLOACA_GO_ON || reason == CLOACA_STOP_LEASE_LOST) {
        atomic_store(&job->reason, (int) reason);
    }
    if (before == CLOACA_GO_ON && job->has_pipe) {
        /* It holds one byte for ever. */
        (void) !write(job->pipe[1], "", 1);
    }
}

void clo_job_unlink(cloaca_runner *runner, cloaca_job *job)
{
    cloaca_job **link = &runner->jobs;

    while (*link != job) {
        link = &(*link)->next;
    }
    *link = job->next;
}

/* --------------------------------------------------------------------------------------------------------- what handlers ask
 */

int64_t cloaca_job_task(const cloaca_job *job)
{
    return job->task;
}

int64_t cloaca_job_lease_id(const cloaca_job *job)
{
    return job->lease_id;
}

int64_t cloaca_job_execution(const cloaca_job *job)
{
    return job->execution;
}

int32_t cloaca_job_attempt(const cloaca_job *job)
{
    return job->attempt;
}

int32_t cloaca_job_max_attempts(const cloaca_job *job)
{
    return job->max_attempts;
}

int16_t cloaca_job_priority(const cloaca_job *job)
{
    return job->priority;
}

const char *cloaca_job_name(const cloaca_job *job)
{
    return job->name;
}

const char *cloaca_job_queue(const cloaca_job *job)
{
    return job->queue;
}

const char *cloaca_job_payload(const cloaca_job *job)
{
    return job->payload;
}

cloaca_stop_reason cloaca_job_is_cancelled(const cloaca_job *job)
{
    return (cloaca_stop_reason) atomic_load(&job->reason);
}

int cloaca_job_descriptor(cloaca_job *job)
{
    cloaca_runner *runner = job->runner;
    int descriptor;

    pthread_mutex_lock(&runner->lock);
    if (!job->has_pipe && pipe2(job->pipe, O_CLOEXEC | O_NONBLOCK) == 0) {
        job->has_pipe = true;
        if (atomic_load(&job->reason) != CLOACA_GO_ON) {
            (void) !write(job->pipe[1], "", 1);
        }
    }
    descriptor = job->has_pipe ? job->pipe[0] : -1;
    pthread_mutex_unlock(&runner->lock);
    return descriptor;
}

cloaca_stop_reason cloaca_job_pause(cloaca_job *job, int64_t microseconds)
{
    const int64_t until = clo_later_by(clo_monotonic_now(), microseconds > 0 ? microseconds : 0);
    struct pollfd entry = {cloaca_job_descriptor(job), POLLIN, 0};

    for (;;) {
        const int64_t left = until - clo_monotonic_now();
        const cloaca_stop_reason reason = cloaca_job_is_cancelled(job);

        if (left <= 0 || reason != CLOACA_GO_ON) {
            return reason;
        }
        /* Without a descriptor it looks every 50 ms. */
        poll(&entry, 1, (int) (clo_earlier(left, entry.fd < 0 ? 50 * MILLISECOND : 60 * SECOND) / MILLISECOND) + 1);
    }
}

void cloaca_job_set_result(cloaca_job *job, const char *result)
{
    set_text(job, &job->result, result);
}

void cloaca_job_set_error(cloaca_job *job, const char *message)
{
    clo_buffer mended = {0};

    if (message == NULL) {
        set_text(job, &job->error, NULL);
        return;
    }
    /* Such as errno's text in another encoding: the database would refuse all of it, and with it that the task is tried again.
     */
    clo_utf8_mend(&mended, message, strlen(message));
    set_text(job, &job->error, clo_buffer_finish(&mended) ? mended.data : message);
    job->no_memory = job->no_memory || mended.failed;
    clo_buffer_free(&mended);
}

void cloaca_job_retry_in(cloaca_job *job, int64_t delay)
{
    job->retry_in = delay >= 0 ? clo_earlier(delay, INTERVAL_LIMIT) : CLOACA_NO_INTERVAL;
}

void cloaca_job_sleep_until(cloaca_job *job, int64_t time)
{
    const int64_t early_enough = clo_earlier(time, CLO_TIME_END - 1);

    job->sleep_until = time == CLOACA_NO_TIME || early_enough > CLO_TIME_FIRST ? early_enough : CLO_TIME_FIRST;
}

void cloaca_job_sleep_for(cloaca_job *job, int64_t interval)
{
    job->sleep_until = CLOACA_NO_TIME;
    job->sleep_for = interval > 0 ? clo_earlier(interval, INTERVAL_LIMIT) : 0;
}

cloaca_status cloaca_job_step(cloaca_job *job, const char *name, bool *recorded, char **result, cloaca_error *error)
{
    return repeat(job, &(job_call){.run = run_step, .name = name, .recorded = recorded, .text = result}, error);
}

cloaca_status cloaca_job_record_step(cloaca_job *job, const char *name, const char *result, char **stored, cloaca_error *error)
{
    return repeat(job, &(job_call){.run = run_record, .name = name, .result = result, .text = stored}, error);
}

cloaca_status cloaca_job_await_signal(cloaca_job *job, const char *name, int64_t timeout, cloaca_signal_outcome *outcome,
                                      char **payload, cloaca_error *error)
{
    job_call call = {.run = run_await, .name = name, .timeout = timeout, .text = payload, .outcome = outcome};
    const bool was_unsure = atomic_load(&job->unsure);
    cloaca_status status;

    clo_error_clear(error);
    if (in_own_transaction(job)) {
        /* Waiting gives the lease up, which an end of the handler would undo. */
        clo_fail(error, CLOACA_IN_TRANSACTION, "A wait for a signal holds no transaction open.");
        clo_error_hint(error, "Commit it or roll it back first.");
        return CLOACA_IN_TRANSACTION;
    }
    status = repeat(job, &call, error);
    /* The first try may have given the lease up before the connection broke. */
    if (status == CLOACA_LEASE_LOST && !was_unsure && atomic_load(&job->unsure)) {
        *outcome = CLOACA_SIGNAL_WAITING;
        clo_error_clear(error);
        status = CLOACA_OK;
    }
    if (status == CLOACA_OK && *outcome == CLOACA_SIGNAL_WAITING) {
        atomic_store(&job->awaiting, true);
    }
    return status;
}

cloaca_status cloaca_job_connection(cloaca_job *job, cloaca **connection, cloaca_error *error)
{
    handler_thread *thread = job->thread;
    cloaca_status status = CLOACA_OK;

    clo_error_clear(error);
    /* What is called in a transaction that was lost must not be done outside of one. */
    if (!in_own_transaction(job)) {
        drop_if_lost(thread);
    }
    if (thread->connection == NULL) {
        status = clo_open(job->runner->options.url, &thread->guard, &thread->connection, error);
    }
    *connection = thread->connection;
    return status;
}

cloaca_status cloaca_job_begin(cloaca_job *job, cloaca **connection, cloaca_error *error)
{
    cloaca_error why;
    cloaca_status status = cloaca_job_connection(job, connection, &why);

    for (int i = 0; i < 2 && status == CLOACA_OK; i++) {
        status = cloaca_begin(*connection, &why);
        /* That it was lost may be found out only now. */
        if (status == CLOACA_OK || !why.connection_lost || i == 1) {
            break;
        }
        status = cloaca_job_connection(job, connection, &why);
    }
    if (error != NULL) {
        *error = why;
    }
    return status;
}

cloaca_status cloaca_job_commit(cloaca_job *job, const char *result, cloaca_error *error)
{
    cloaca *connection = job->thread->connection;
    cloaca_error why = {0};
    cloaca_status status;

    if (connection == NULL || !connection->began) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The job has begun no transaction.");
    }
    status = cloaca_complete(connection, job->task, job->lease_id, result, &why);
    if (status == CLOACA_OK) {
        status = cloaca_commit(connection, &why);
    } else {
        cloaca_rollback(connection, NULL);
    }
    atomic_store(&job->committed, status == CLOACA_OK);
    if (why.commit_unknown) {
        atomic_store(&job->unsure, true);
    }
    if (why.connection_lost) {
        cloaca_close(connection);
        job->thread->connection = NULL;
    }
    if (error != NULL) {
        *error = why;
    }
    return status;
}

static void set_text(cloaca_job *job, char **place, const char *text)
{
    free(*place);
    *place = text != NULL ? strdup(text) : NULL;
    job->no_memory = job->no_memory || (text != NULL && *place == NULL);
}

/* -------------------------------------------------------------------------------------------------------------------- calls */

/* Through the runner's connection a call is made again until it is answered, or there is no use in it any more. */
static cloaca_status repeat(cloaca_job *job, job_call *call, cloaca_error *error)
{
    cloaca_error why = {0};
    cloaca_status status;

    if (in_own_transaction(job)) {
        return call->run(job->thread->connection, job, call, error);
    }
    for (call->backoff = BACKOFF_LOW;; call->backoff = clo_earlier(call->backoff * 2, BACKOFF_HIGH)) {
        status = try_once(job, call, &why);
        if (status == CLOACA_OK || !clo_passes(&why) || cloaca_job_pause(job, call->backoff) != CLOACA_GO_ON) {
            break;
        }
    }
    if (error != NULL) {
        *error = why;
    }
    return status;
}

static bool in_own_transaction(const cloaca_job *job)
{
    cloaca *connection = job->thread->connection;

    return connection != NULL && (connection->began || connection->backend->in_transaction(connection));
}

static cloaca_status try_once(cloaca_job *job, job_call *call, cloaca_error *error)
{
    cloaca_runner *runner = job->runner;
    runner_link *link = &runner->report_link;
    cloaca_status status;

    pthread_mutex_lock(&runner->report_lock);
    if (!clo_link_ready(runner, link, error)) {
        status = error->status;
        error->connection_lost = error->connection_lost || error->retryable;
    } else {
        clo_link_limit(link, CALL_PATIENCE << (call->held_up < CALL_DOUBLINGS ? call->held_up : CALL_DOUBLINGS));
        status = call->run(link->connection, job, call, error);
        if (status == CLOACA_OK) {
            clo_link_worked(link);
        } else if (clo_passes(error)) {
            call->held_up++;
            if (clo_is_unsure(error)) {
                atomic_store(&job->unsure, true);
            }
            clo_link_note(runner, link, "a call of a handler failed", error);
        }
    }
    pthread_mutex_unlock(&runner->report_lock);
    return status;
}

static cloaca_status run_step(cloaca *connection, const cloaca_job *job, job_call *call, cloaca_error *error)
{
    return cloaca_step(connection, job->task, job->lease_id, call->name, call->recorded, call->text, error);
}

static cloaca_status run_record(cloaca *connection, const cloaca_job *job, job_call *call, cloaca_error *error)
{
    return cloaca_record_step(connection, job->task, job->lease_id, call->name, call->result, call->text, error);
}

static cloaca_status run_await(cloaca *connection, const cloaca_job *job, job_call *call, cloaca_error *error)
{
    return cloaca_await_signal(connection, job->task, job->lease_id, call->name, call->timeout, call->outcome, call->text,
                               error);
}
