/*
 * runner_lease.c - the thread of a runner that extends the leases of what is in hand
 *
 * It has a connection of its own, so that no report holds it up. All leases that are due are extended in one call. When that
 * is held up, by a lock on one of the tasks say, or refused, each is extended alone, and never so long that others have to
 * wait: those that were extended come first.
 */
#define _GNU_SOURCE
#include "common/timestamp.h"
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_LOW (50 * MILLISECOND)
#define CALL_HIGH (5 * SECOND)
/* A lease that something else cut short is not extended more often than this. */
#define EXTEND_LOW (SECOND / 4)

/* Copies: the jobs may be gone when the answer comes. */
typedef struct lease_batch {
    size_t count;
    int64_t *tasks;
    int64_t *lease_ids;
    cloaca_status *outcomes;
    int64_t *lease_untils;
} lease_batch;

static bool await_turn(cloaca_runner *runner);
static int64_t earliest(const cloaca_runner *runner, int64_t now, bool with_alone);
static bool keeps_lease(const cloaca_job *job, int64_t now);
static int64_t collect_due(cloaca_runner *runner, int64_t now);
static int64_t collect_one(cloaca_runner *runner, int64_t now);
static void add(lease_batch *batch, cloaca_job *job);
static void extend(cloaca_runner *runner, int64_t now, int64_t patience);
static cloaca_status call_extend(cloaca_runner *runner, cloaca_error *error);
static void take_answer(cloaca_runner *runner, int64_t before);
static void put_off(cloaca_runner *runner, bool together);
static int64_t pause_of(const cloaca_job *job, int64_t now);
static bool is_for_all(cloaca_runner *runner, const cloaca_error *error);
static size_t place_of(const lease_batch *batch, const cloaca_job *job);
static int64_t within(int64_t low, int64_t value, int64_t high);

void *clo_runner_extend(void *context)
{
    cloaca_runner *runner = context;
    runner_link *link = &runner->lease_link;
    cloaca_error error;

    while (await_turn(runner)) {
        const bool known = link->was_open;
        const int64_t now = clo_monotonic_now();
        int64_t patience;

        if (!clo_link_ready(runner, link, &error)) {
            if (!known) {
                clo_runner_log_error(runner, CLOACA_LOG_WARNING, "cannot connect to extend leases", &error);
            }
        } else if ((patience = collect_due(runner, now)) > 0 || (patience = collect_one(runner, now)) > 0) {
            extend(runner, now, patience);
        }
    }
    clo_link_close(runner, link);
    pthread_mutex_lock(&runner->lock);
    runner->extender_ended = true;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
    return NULL;
}

bool clo_lease_batch_new(cloaca_runner *runner)
{
    lease_batch *batch = calloc(1, sizeof(lease_batch));
    const size_t room = runner->capacity;

    runner->lease_batch = batch;
    if (batch == NULL) {
        return false;
    }
    batch->tasks = calloc(room, sizeof(int64_t));
    batch->lease_ids = calloc(room, sizeof(int64_t));
    batch->outcomes = calloc(room, sizeof(cloaca_status));
    batch->lease_untils = calloc(room, sizeof(int64_t));
    return batch->tasks != NULL && batch->lease_ids != NULL && batch->outcomes != NULL && batch->lease_untils != NULL;
}

void clo_lease_batch_free(cloaca_runner *runner)
{
    lease_batch *batch = runner->lease_batch;

    if (batch != NULL) {
        free(batch->tasks);
        free(batch->lease_ids);
        free(batch->outcomes);
        free(batch->lease_untils);
        free(batch);
    }
}

/* To be extended at a third of what is left of it. */
void clo_job_set_lease(cloaca_job *job, int64_t lease_until, int64_t before, int64_t clock)
{
    const int64_t low = clo_earlier(job->lease / 3, EXTEND_LOW);
    const int64_t left = clo_earlier(lease_until - clock - before, job->lease);

    job->lease_end = before + (left > low ? left : low);
    job->extend_at = before + (left / 3 > low ? left / 3 : low);
}

/* ----------------------------------------------------------------------------------------------------------------- choosing */

/* False at the end of the runner. The connection is opened before it is needed. */
static bool await_turn(cloaca_runner *runner)
{
    const bool open = runner->lease_link.connection != NULL;
    bool go_on;

    pthread_mutex_lock(&runner->lock);
    for (;;) {
        const int64_t now = clo_monotonic_now();

        runner->next_extension = open ? earliest(runner, now, true) : runner->lease_link.next_try;
        if (runner->quitting || runner->next_extension <= now) {
            break;
        }
        clo_runner_await(runner, &runner->leases_due, runner->next_extension);
    }
    go_on = !runner->quitting;
    pthread_mutex_unlock(&runner->lock);
    return go_on;
}

/* With the lock: when the next lease is due. */
static int64_t earliest(const cloaca_runner *runner, int64_t now, bool with_alone)
{
    int64_t next = NEVER;

    for (const cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        if (keeps_lease(job, now) && (with_alone || !job->alone)) {
            next = clo_earlier(next, job->extend_at);
        }
    }
    return next;
}

/* Also of jobs that have ended, until the report is made. An attempt that takes too long loses it in the end: so others can
 * have the task even when its handler never ends. */
static bool keeps_lease(const cloaca_job *job, int64_t now)
{
    const int reason = atomic_load(&job->reason);
    const bool in_time = job->state == JOB_ENDED || now < clo_later_by(job->timeout_at, job->runner->options.heed);

    return job->state != JOB_ABANDONED && !atomic_load(&job->settled) && !atomic_load(&job->acknowledged) &&
           (reason == CLOACA_GO_ON || reason == CLOACA_STOP_RUNNER || (reason == CLOACA_STOP_TIMED_OUT && in_time));
}

/* All that are due together. Says how long the call may take, a part of what is left of the shortest; 0: none is due. */
static int64_t collect_due(cloaca_runner *runner, int64_t now)
{
    lease_batch *batch = runner->lease_batch;
    int64_t end = NEVER;

    batch->count = 0;
    pthread_mutex_lock(&runner->lock);
    for (cloaca_job *job = runner->jobs; job != NULL && batch->count < runner->capacity; job = job->next) {
        if (job->extend_at <= now && !job->alone && keeps_lease(job, now)) {
            add(batch, job);
            end = clo_earlier(end, job->lease_end);
        }
    }
    pthread_mutex_unlock(&runner->lock);
    return batch->count == 0 ? 0 : within(CALL_LOW, (end - now) / 4, CALL_HIGH);
}

/* The one that ends first of those that are extended alone, with its share of the time; and others are not to wait for it. */
static int64_t collect_one(cloaca_runner *runner, int64_t now)
{
    lease_batch *batch = runner->lease_batch;
    cloaca_job *first = NULL;
    int64_t count = 0;
    int64_t patience = 0;

    batch->count = 0;
    pthread_mutex_lock(&runner->lock);
    for (cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        if (job->extend_at <= now && job->alone && keeps_lease(job, now)) {
            first = first == NULL || job->lease_end < first->lease_end ? job : first;
            count++;
        }
    }
    if (first != NULL) {
        add(batch, first);
        patience = within(CALL_LOW, (first->lease_end - now) / (2 * count), CALL_HIGH);
        patience = within(CALL_LOW, clo_earlier(patience, earliest(runner, now, false) - now), CALL_HIGH);
    }
    pthread_mutex_unlock(&runner->lock);
    return patience;
}

static void add(lease_batch *batch, cloaca_job *job)
{
    job->extending = true;
    batch->tasks[batch->count] = job->task;
    batch->lease_ids[batch->count++] = job->lease_id;
}

/* ------------------------------------------------------------------------------------------------------------------ calling */

static void extend(cloaca_runner *runner, int64_t now, int64_t patience)
{
    runner_link *link = &runner->lease_link;
    cloaca_error error;

    clo_link_limit(link, patience);
    if (call_extend(runner, &error) == CLOACA_OK) {
        clo_link_worked(link);
        take_answer(runner, now);
    } else {
        const bool together = is_for_all(runner, &error);

        clo_link_note(runner, link, "cannot extend leases", &error);
        put_off(runner, together);
    }
}

static cloaca_status call_extend(cloaca_runner *runner, cloaca_error *error)
{
    lease_batch *batch = runner->lease_batch;
    cloaca_result *result = NULL;
    clo_buffer arguments = {0};
    char number[64];
    cloaca_status status;

    clo_buffer_text(&arguments, "{\"tasks\": [");
    for (size_t i = 0; i < batch->count; i++) {
        snprintf(number, sizeof(number), i > 0 ? ", %" PRId64 : "%" PRId64, batch->tasks[i]);
        clo_buffer_text(&arguments, number);
    }
    clo_buffer_text(&arguments, "], \"lease_ids\": [");
    for (size_t i = 0; i < batch->count; i++) {
        snprintf(number, sizeof(number), i > 0 ? ", %" PRId64 : "%" PRId64, batch->lease_ids[i]);
        clo_buffer_text(&arguments, number);
    }
    if (runner->options.lease != 0) {
        snprintf(number, sizeof(number), "], \"lease\": \"%" PRId64 " microseconds\"}", runner->options.lease);
    }
    clo_buffer_text(&arguments, runner->options.lease != 0 ? number : "]}");
    status = clo_buffer_finish(&arguments)
                 ? cloaca_call(runner->lease_link.connection, "extend_many", arguments.data, &result, error)
                 : clo_no_memory(error);
    clo_buffer_free(&arguments);
    for (size_t i = 0; i < batch->count && status == CLOACA_OK; i++) {
        const char *outcome = cloaca_result_get(result, i, "outcome");
        const char *until = cloaca_result_get(result, i, "lease_until");

        batch->lease_untils[i] = 0;
        batch->outcomes[i] = outcome == NULL                    ? CLOACA_LEASE_LOST
                             : strcmp(outcome, "extended") == 0 ? CLOACA_OK
                                                                : clo_status_named(outcome);
        if (until != NULL) {
            clo_time_parse(until, strlen(until), &batch->lease_untils[i]);
        }
    }
    cloaca_result_free(result);
    return status;
}

static void take_answer(cloaca_runner *runner, int64_t before)
{
    const lease_batch *batch = runner->lease_batch;

    pthread_mutex_lock(&runner->lock);
    for (cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        const size_t i = job->extending ? place_of(batch, job) : batch->count;

        if (i == batch->count) {
            continue;
        }
        job->extending = job->alone = false;
        clo_job_set_lease(job, batch->lease_untils[i], before, runner->clock);
        if (batch->outcomes[i] == CLOACA_CANCELLED) {
            /* extend_many lets a cancelled task go itself. */
            atomic_store(&job->acknowledged, true);
            clo_job_stop(job, CLOACA_STOP_CANCELLED);
        } else if (batch->outcomes[i] != CLOACA_OK) {
            clo_job_stop(job, CLOACA_STOP_LEASE_LOST);
        }
    }
    pthread_mutex_unlock(&runner->lock);
}

/* Where one of several may be the reason each is alone the next time. What is no better alone comes again soon. */
static void put_off(cloaca_runner *runner, bool together)
{
    const lease_batch *batch = runner->lease_batch;
    const int64_t now = clo_monotonic_now();

    pthread_mutex_lock(&runner->lock);
    for (cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        if (job->extending && place_of(batch, job) < batch->count) {
            job->extending = false;
            job->extend_at = job->alone || together ? now + pause_of(job, now) : now;
            job->alone = job->alone || !together;
        }
    }
    pthread_mutex_unlock(&runner->lock);
}

/* For one whose lease is over there is no hurry any more. */
static int64_t pause_of(const cloaca_job *job, int64_t now)
{
    const int64_t left = job->lease_end - now;

    return left > 0 ? within(CALL_LOW, left / 10, SECOND) : SECOND;
}

/* Whether the error has nothing to do with any one task. */
static bool is_for_all(cloaca_runner *runner, const cloaca_error *error)
{
    return clo_is_unsure(error) || error->status == CLOACA_READ_ONLY || error->status == CLOACA_STORAGE_FULL ||
           clo_link_is_locked(&runner->lease_link, error);
}

static size_t place_of(const lease_batch *batch, const cloaca_job *job)
{
    size_t i = 0;

    while (i < batch->count && batch->lease_ids[i] != job->lease_id) {
        i++;
    }
    return i;
}

static int64_t within(int64_t low, int64_t value, int64_t high)
{
    return value < low ? low : value < high ? value : high;
}
