/*
 * runner_report.c - the thread of a runner that reports how handlers ended, extends leases, and keeps the time
 *
 * It sleeps in poll until it is woken or something is due. What has ended while it was busy is completed together. A report
 * that cannot be made now (lock, lost connection, unknown commit) is kept and repeated; one made twice is harmless, because it
 * carries its lease. It also carries out a stop, and is the last thread to end.
 */
#define _GNU_SOURCE
#include "common/timestamp.h"
#include "runner.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATABASE_PATIENCE (10 * SECOND)
#define MAINTAIN_EVERY (10 * SECOND)
#define ASK_EVERY SECOND

/* Room for a report on everything that is in hand. */
typedef struct report_batch {
    size_t count;
    cloaca_job **jobs;
    int64_t *tasks;
    int64_t *lease_ids;
    const char **results;
    cloaca_status *outcomes;
    int64_t *lease_untils;
} report_batch;

static void take_wakes(cloaca_runner *runner);
static void keep_time(cloaca_runner *runner, int64_t now);
static bool is_over(cloaca_runner *runner, int64_t now);
static void sleep_until_due(cloaca_runner *runner);
static int64_t next_event(cloaca_runner *runner);
static void talk(cloaca_runner *runner, int64_t now);
static void collect_ended(cloaca_runner *runner, report_batch *batch);
static bool complete_together(cloaca_runner *runner, report_batch *batch);
static bool is_completion(const cloaca_job *job);
static bool report(cloaca_runner *runner, cloaca_job *job);
static bool needs_no_call(const cloaca_job *job, cloaca_job_event *event);
static cloaca_status call_for(cloaca_runner *runner, cloaca_job *job, cloaca_job_event *event, cloaca_error *error);
static bool is_refused(cloaca_job *job, cloaca_status status, const cloaca_error *error);
static bool conclude(cloaca_runner *runner, cloaca_job *job, cloaca_status status, cloaca_job_event event);
static void settle(cloaca_runner *runner, cloaca_job *job, cloaca_job_event event);
static void remove_settled(cloaca_runner *runner);
static void release_abandoned(cloaca_runner *runner);
static void extend_leases(cloaca_runner *runner, int64_t now);
static bool keeps_lease(const cloaca_job *job, int64_t now);
static cloaca_status extend_batch(cloaca_runner *runner, report_batch *batch, cloaca_error *error);
static void maintain(cloaca_runner *runner, int64_t now);
static bool says(cloaca_runner *runner, const char *function);
static bool ask_when_due(cloaca_runner *runner, int64_t now);
static void cannot_ask(cloaca_runner *runner, const cloaca_error *error);

void *clo_runner_report(void *context)
{
    cloaca_runner *runner = context;
    int64_t now = clo_monotonic_now();

    runner->maintain_at = runner->options.no_recovery ? NEVER : now;
    runner->ask_at = runner->due_at = NEVER;
    for (;;) {
        take_wakes(runner);
        now = clo_monotonic_now();
        keep_time(runner, now);
        talk(runner, now);
        remove_settled(runner);
        if (is_over(runner, clo_monotonic_now())) {
            break;
        }
        sleep_until_due(runner);
    }
    pthread_mutex_lock(&runner->report_lock);
    clo_link_close(runner, &runner->report_link);
    pthread_mutex_unlock(&runner->report_lock);
    pthread_mutex_lock(&runner->lock);
    runner->complete = runner->jobs == NULL;
    runner->reporter_ended = true;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
    clo_runner_log(runner, CLOACA_LOG_DEBUG, "ended");
    return NULL;
}

bool clo_report_batch_new(cloaca_runner *runner)
{
    report_batch *batch = calloc(1, sizeof(report_batch));
    const size_t room = runner->capacity;

    runner->batch = batch;
    if (batch == NULL) {
        return false;
    }
    batch->jobs = calloc(room, sizeof(cloaca_job *));
    batch->tasks = calloc(room, sizeof(int64_t));
    batch->lease_ids = calloc(room, sizeof(int64_t));
    batch->results = calloc(room, sizeof(char *));
    batch->outcomes = calloc(room, sizeof(cloaca_status));
    batch->lease_untils = calloc(room, sizeof(int64_t));
    return batch->jobs != NULL && batch->tasks != NULL && batch->lease_ids != NULL && batch->results != NULL &&
           batch->outcomes != NULL && batch->lease_untils != NULL;
}

void clo_report_batch_free(cloaca_runner *runner)
{
    report_batch *batch = runner->batch;

    if (batch != NULL) {
        free(batch->jobs);
        free(batch->tasks);
        free(batch->lease_ids);
        free(batch->results);
        free(batch->outcomes);
        free(batch->lease_untils);
        free(batch);
    }
}

/* ----------------------------------------------------------------------------------------------------------------- the time */

/* The flag is taken down before the work is looked at: what comes later writes another byte. */
static void take_wakes(cloaca_runner *runner)
{
    char bytes[64];

    while (read(runner->wake[0], bytes, sizeof(bytes)) > 0) {
    }
    atomic_store(&runner->woken, false);
}

/* Interrupts, the steps of a stop, and attempts that take too long. */
static void keep_time(cloaca_runner *runner, int64_t now)
{
    const int interrupts = atomic_load(&runner->interrupts);

    pthread_mutex_lock(&runner->lock);
    if (interrupts > runner->interrupts_seen) {
        const bool again = runner->interrupts_seen > 0 || interrupts > 1;

        runner->interrupts_seen = interrupts;
        clo_runner_begin_stop(runner, again ? now : clo_later_by(now, runner->options.drain));
    }
    if (runner->stopping && now >= runner->grace_at && runner->abandon_at == NEVER) {
        runner->abandon_at = clo_later_by(now, runner->options.heed);
        runner->give_up_at = clo_later_by(runner->abandon_at, DATABASE_PATIENCE);
    }
    for (cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        if (job->state != JOB_RUNNING) {
            continue;
        }
        if (now >= job->timeout_at) {
            clo_job_stop(job, CLOACA_STOP_TIMED_OUT);
        }
        if (runner->stopping && now >= runner->grace_at) {
            clo_job_stop(job, CLOACA_STOP_RUNNER);
        }
        if (now >= runner->abandon_at) {
            job->state = JOB_ABANDONED;
            runner->in_hand--;
        }
    }
    pthread_mutex_unlock(&runner->lock);
}

/* What handlers that do not end still hold was released by then. */
static bool is_over(cloaca_runner *runner, int64_t now)
{
    size_t left = 0;
    bool over;

    pthread_mutex_lock(&runner->lock);
    for (const cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        left += job->state != JOB_ABANDONED || !job->settled ? 1 : 0;
    }
    over = runner->stopping && runner->claimer_ended && (left == 0 || now >= runner->give_up_at);
    pthread_mutex_unlock(&runner->lock);
    if (over && left > 0) {
        clo_runner_log(runner, CLOACA_LOG_ERROR, "gave up reporting %zu tasks: their leases will expire", left);
    }
    return over;
}

static void sleep_until_due(cloaca_runner *runner)
{
    struct pollfd entry = {runner->wake[0], POLLIN, 0};
    const int64_t left = next_event(runner) - clo_monotonic_now();

    poll(&entry, 1, left <= 0 ? 0 : left > 60 * SECOND ? 60000 : (int) ((left + MILLISECOND - 1) / MILLISECOND));
}

static int64_t next_event(cloaca_runner *runner)
{
    int64_t calls = clo_earlier(runner->maintain_at, clo_earlier(runner->ask_at, runner->due_at));
    const int64_t now = clo_monotonic_now();
    int64_t next = NEVER;

    pthread_mutex_lock(&runner->lock);
    if (runner->stopping) {
        calls = NEVER;
        next = runner->abandon_at == NEVER ? runner->grace_at : runner->give_up_at;
    }
    for (const cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        if (job->state == JOB_ENDED || (job->state == JOB_ABANDONED && !job->settled)) {
            calls = 0;
        } else if (keeps_lease(job, now)) {
            calls = clo_earlier(calls, job->extend_at);
        }
        if (job->state == JOB_RUNNING) {
            next = clo_earlier(next, atomic_load(&job->reason) == CLOACA_GO_ON ? job->timeout_at : NEVER);
            next = clo_earlier(next, runner->abandon_at);
        }
    }
    pthread_mutex_unlock(&runner->lock);
    pthread_mutex_lock(&runner->report_lock);
    calls = calls > runner->report_link.next_try ? calls : runner->report_link.next_try;
    pthread_mutex_unlock(&runner->report_lock);
    return clo_earlier(next, calls);
}

/* Everything that there is to say to the database now. */
static void talk(cloaca_runner *runner, int64_t now)
{
    report_batch *batch = runner->batch;
    cloaca_error error;

    pthread_mutex_lock(&runner->report_lock);
    if (now >= runner->report_link.next_try && clo_link_ready(runner, &runner->report_link, &error)) {
        bool good;

        extend_leases(runner, now);
        collect_ended(runner, batch);
        good = complete_together(runner, batch);
        for (size_t i = 0; i < batch->count && good; i++) {
            good = batch->jobs[i]->settled || report(runner, batch->jobs[i]);
        }
        if (good) {
            release_abandoned(runner);
            maintain(runner, now);
        }
    }
    pthread_mutex_unlock(&runner->report_lock);
}

/* ------------------------------------------------------------------------------------------------------------------ reports */

static void collect_ended(cloaca_runner *runner, report_batch *batch)
{
    batch->count = 0;
    pthread_mutex_lock(&runner->lock);
    for (cloaca_job *job = runner->jobs; job != NULL && batch->count < runner->capacity; job = job->next) {
        if (job->state == JOB_ENDED && !job->settled) {
            batch->jobs[batch->count++] = job;
        }
    }
    pthread_mutex_unlock(&runner->lock);
}

/* Completes everything that succeeded in one call. One alone, and a batch that was refused, are completed one by one. */
static bool complete_together(cloaca_runner *runner, report_batch *batch)
{
    cloaca_job **jobs = batch->jobs;
    cloaca_error error;
    size_t count = 0;

    /* The completions first, each where it is found. */
    for (size_t i = 0; i < batch->count; i++) {
        if (is_completion(jobs[i])) {
            cloaca_job *job = jobs[i];

            jobs[i] = jobs[count];
            jobs[count] = job;
            batch->tasks[count] = job->task;
            batch->lease_ids[count] = job->lease_id;
            batch->results[count++] = job->result;
        }
    }
    if (count < 2) {
        return true;
    }
    if (cloaca_complete_many(runner->report_link.connection, count, batch->tasks, batch->lease_ids, batch->results,
                             batch->outcomes, &error) != CLOACA_OK) {
        if (error.status == CLOACA_INVALID_ARGUMENT) {
            return true;
        }
        for (size_t i = 0; i < count; i++) {
            if (error.commit_unknown || error.connection_lost) {
                atomic_store(&jobs[i]->unsure, true);
            }
        }
        clo_link_failed(runner, &runner->report_link, "cannot complete tasks", &error);
        return false;
    }
    clo_link_worked(&runner->report_link);
    for (size_t i = 0; i < count; i++) {
        /* Unlike complete, complete_many lets a cancelled task go itself. */
        jobs[i]->acknowledged = batch->outcomes[i] == CLOACA_CANCELLED;
        conclude(runner, jobs[i], batch->outcomes[i], CLOACA_EVENT_COMPLETED);
    }
    return true;
}

static bool is_completion(const cloaca_job *job)
{
    cloaca_job_event event;

    return job->outcome == CLOACA_JOB_DONE && !job->no_memory && !job->cancelled && !needs_no_call(job, &event);
}

/* Reports one; false when the connection or a lock does not let us, and all is to be repeated later. */
static bool report(cloaca_runner *runner, cloaca_job *job)
{
    cloaca_job_event event = CLOACA_EVENT_RELEASED;
    cloaca_error error;
    cloaca_status status;

    if (needs_no_call(job, &event)) {
        settle(runner, job, event);
        return true;
    }
    status = call_for(runner, job, &event, &error);
    if (status == CLOACA_OK || status == CLOACA_LEASE_LOST || status == CLOACA_CANCELLED) {
        clo_link_worked(&runner->report_link);
        return conclude(runner, job, status, event) || report(runner, job);
    }
    if (is_refused(job, status, &error)) {
        return report(runner, job);
    }
    if (error.commit_unknown || error.connection_lost) {
        atomic_store(&job->unsure, true);
    }
    if (clo_link_failed(runner, &runner->report_link, "cannot report a task", &error)) {
        return false;
    }
    settle(runner, job, CLOACA_EVENT_LEASE_LOST);
    return true;
}

/* What the database knows already, or would refuse. */
static bool needs_no_call(const cloaca_job *job, cloaca_job_event *event)
{
    const int reason = atomic_load(&job->reason);

    if (job->committed) {
        *event = CLOACA_EVENT_COMPLETED;
    } else if (job->awaiting) {
        *event = CLOACA_EVENT_AWAITING;
    } else if (job->acknowledged) {
        *event = CLOACA_EVENT_CANCELLED;
    } else if (reason == CLOACA_STOP_LEASE_LOST) {
        *event = atomic_load(&job->unsure) ? CLOACA_EVENT_POSSIBLY_DONE : CLOACA_EVENT_LEASE_LOST;
    } else {
        return false;
    }
    return true;
}

static cloaca_status call_for(cloaca_runner *runner, cloaca_job *job, cloaca_job_event *event, cloaca_error *error)
{
    cloaca *connection = runner->report_link.connection;
    const int reason = atomic_load(&job->reason);
    cloaca_job_outcome outcome = job->outcome;
    const char *message = job->error != NULL ? job->error : "the handler failed";
    clo_buffer late = {0};
    cloaca_status status;
    int64_t run_at;
    bool dead = false;

    if (job->cancelled || (reason == CLOACA_STOP_RUNNER && outcome == CLOACA_JOB_RETRY)) {
        outcome = CLOACA_JOB_RELEASED;
    } else if (reason == CLOACA_STOP_TIMED_OUT && outcome != CLOACA_JOB_DONE) {
        outcome = CLOACA_JOB_RETRY;
        clo_buffer_text(&late, "timed out");
        clo_buffer_text(&late, job->error != NULL ? ": " : "");
        clo_buffer_text(&late, job->error != NULL ? job->error : "");
        message = clo_buffer_finish(&late) ? late.data : "timed out";
    } else if (job->no_memory) {
        outcome = CLOACA_JOB_RETRY;
        message = "out of memory";
    }
    switch (outcome) {
    case CLOACA_JOB_DONE:
        *event = CLOACA_EVENT_COMPLETED;
        return cloaca_complete(connection, job->task, job->lease_id, job->result, error);
    case CLOACA_JOB_RETRY:
    case CLOACA_JOB_FAILED:
        status = cloaca_fail(connection, job->task, job->lease_id, message, outcome == CLOACA_JOB_FAILED, job->retry_in, &dead,
                             error);
        clo_buffer_free(&late);
        *event = dead ? CLOACA_EVENT_FAILED : CLOACA_EVENT_RETRIED;
        return status;
    case CLOACA_JOB_DEFERRED:
        pthread_mutex_lock(&runner->lock);
        run_at = clo_monotonic_now() + runner->clock + job->sleep_for;
        pthread_mutex_unlock(&runner->lock);
        *event = CLOACA_EVENT_DEFERRED;
        return cloaca_defer_until(connection, job->task, job->lease_id,
                                  job->sleep_until != CLOACA_NO_TIME ? job->sleep_until : run_at, error);
    default:
        *event = CLOACA_EVENT_RELEASED;
        return cloaca_release(connection, job->task, job->lease_id, error);
    }
}

/* What the handler gave cannot be stored: the task fails with the reason. */
static bool is_refused(cloaca_job *job, cloaca_status status, const cloaca_error *error)
{
    char message[sizeof(error->detail) + 64];

    if (status != CLOACA_INVALID_ARGUMENT || job->outcome == CLOACA_JOB_RELEASED) {
        return false;
    }
    snprintf(message, sizeof(message), "%s refused: %s",
             job->outcome == CLOACA_JOB_DONE ? "the result was" : "what the handler gave was", error->detail);
    /* The second time it is released, which has no argument. */
    job->retry_in = CLOACA_NO_INTERVAL;
    job->outcome = job->outcome == CLOACA_JOB_FAILED ? CLOACA_JOB_RELEASED : CLOACA_JOB_FAILED;
    cloaca_job_set_error(job, message);
    return true;
}

/* The database has answered. False when a cancelled task is still to be released, to acknowledge it. */
static bool conclude(cloaca_runner *runner, cloaca_job *job, cloaca_status status, cloaca_job_event event)
{
    if (status == CLOACA_CANCELLED && !job->acknowledged && !job->cancelled) {
        job->cancelled = true;
        return false;
    }
    if (job->cancelled || job->acknowledged) {
        event = CLOACA_EVENT_CANCELLED;
    } else if (status != CLOACA_OK) {
        event = atomic_load(&job->unsure) ? CLOACA_EVENT_POSSIBLY_DONE : CLOACA_EVENT_LEASE_LOST;
    }
    settle(runner, job, event);
    return true;
}

static void settle(cloaca_runner *runner, cloaca_job *job, cloaca_job_event event)
{
    static const char *const words[] = {
        [CLOACA_EVENT_COMPLETED] = "completed",
        [CLOACA_EVENT_RETRIED] = "failed, to be tried again",
        [CLOACA_EVENT_FAILED] = "failed for good",
        [CLOACA_EVENT_DEFERRED] = "deferred",
        [CLOACA_EVENT_AWAITING] = "awaits a signal",
        [CLOACA_EVENT_RELEASED] = "released",
        [CLOACA_EVENT_CANCELLED] = "cancelled",
        [CLOACA_EVENT_LEASE_LOST] = "the lease is lost",
        [CLOACA_EVENT_POSSIBLY_DONE] = "a report was lost with the connection, and the task is no longer ours: possibly done",
    };
    const bool in_vain =
        event == CLOACA_EVENT_LEASE_LOST || event == CLOACA_EVENT_POSSIBLY_DONE || event == CLOACA_EVENT_CANCELLED;
    const bool failed = event == CLOACA_EVENT_RETRIED || event == CLOACA_EVENT_FAILED;

    job->settled = true;
    clo_runner_log(runner, in_vain ? CLOACA_LOG_WARNING : CLOACA_LOG_DEBUG, "task %" PRId64 ": %s%s%.1000s", job->task,
                   words[event], failed && job->error != NULL ? ": " : "", failed && job->error != NULL ? job->error : "");
    clo_runner_metric(runner, job, event, clo_monotonic_now() - job->claimed_at);
}

static void remove_settled(cloaca_runner *runner)
{
    cloaca_job *removed = NULL;

    pthread_mutex_lock(&runner->lock);
    for (cloaca_job *job = runner->jobs, *next; job != NULL; job = next) {
        next = job->next;
        if (job->state == JOB_ENDED && job->settled) {
            clo_job_unlink(runner, job);
            runner->in_hand--;
            job->next = removed;
            removed = job;
        }
    }
    if (removed != NULL) {
        pthread_cond_broadcast(&runner->changed);
    }
    /* That may be the end. */
    if (removed != NULL && runner->in_hand == 0 && runner->options.until != CLOACA_UNTIL_STOPPED) {
        runner->claim_soon = true;
        if (runner->claim_link.connection != NULL) {
            cloaca_interrupt(runner->claim_link.connection);
        }
    }
    pthread_mutex_unlock(&runner->lock);
    while (removed != NULL) {
        cloaca_job *job = removed;

        removed = job->next;
        clo_job_free(job);
    }
}

/* A handler that did not end in time keeps its job, but others may take the task. */
static void release_abandoned(cloaca_runner *runner)
{
    for (;;) {
        cloaca_error error;
        int64_t task = 0, lease_id = 0;
        cloaca_status status;

        pthread_mutex_lock(&runner->lock);
        for (cloaca_job *job = runner->jobs; job != NULL && task == 0; job = job->next) {
            if (job->state == JOB_ABANDONED && !job->settled) {
                job->settled = true;
                task = job->task;
                lease_id = job->lease_id;
            }
        }
        pthread_mutex_unlock(&runner->lock);
        if (task == 0) {
            return;
        }
        status = cloaca_release(runner->report_link.connection, task, lease_id, &error);
        clo_runner_log(runner, CLOACA_LOG_WARNING, "task %" PRId64 ": its handler does not end, %s", task,
                       status == CLOACA_OK ? "the task was released" : "its lease will expire");
    }
}

/* ------------------------------------------------------------------------------------------------------------------- leases */

/* All leases that are due, in one call; those of jobs that have ended too, until the report is made. */
static void extend_leases(cloaca_runner *runner, int64_t now)
{
    report_batch *batch = runner->batch;
    cloaca_error error;
    int64_t clock;

    batch->count = 0;
    pthread_mutex_lock(&runner->lock);
    clock = runner->clock;
    for (cloaca_job *job = runner->jobs; job != NULL && batch->count < runner->capacity; job = job->next) {
        if (job->extend_at <= now && keeps_lease(job, now)) {
            batch->jobs[batch->count] = job;
            batch->tasks[batch->count] = job->task;
            batch->lease_ids[batch->count++] = job->lease_id;
        }
    }
    pthread_mutex_unlock(&runner->lock);
    if (batch->count == 0) {
        return;
    }
    if (extend_batch(runner, batch, &error) != CLOACA_OK) {
        clo_link_failed(runner, &runner->report_link, "cannot extend leases", &error);
        return;
    }
    clo_link_worked(&runner->report_link);
    /* Only this thread takes jobs off the list, unless they were abandoned, which only this thread does. */
    pthread_mutex_lock(&runner->lock);
    for (size_t i = 0; i < batch->count; i++) {
        cloaca_job *job = batch->jobs[i];

        job->extend_at = clo_job_extend_at(job, batch->lease_untils[i], now, clock);
        if (batch->outcomes[i] == CLOACA_CANCELLED) {
            /* extend_many lets a cancelled task go itself. */
            job->acknowledged = true;
            clo_job_stop(job, CLOACA_STOP_CANCELLED);
        } else if (batch->outcomes[i] != CLOACA_OK) {
            clo_job_stop(job, CLOACA_STOP_LEASE_LOST);
        }
    }
    pthread_mutex_unlock(&runner->lock);
}

/* An attempt that takes too long loses it in the end: so others can have the task even when its handler never ends. */
static bool keeps_lease(const cloaca_job *job, int64_t now)
{
    const int reason = atomic_load(&job->reason);
    const bool in_time = job->state == JOB_ENDED || now < clo_later_by(job->timeout_at, job->runner->options.heed);

    return job->state != JOB_ABANDONED && !job->settled && !job->acknowledged &&
           (reason == CLOACA_GO_ON || reason == CLOACA_STOP_RUNNER || (reason == CLOACA_STOP_TIMED_OUT && in_time));
}

static cloaca_status extend_batch(cloaca_runner *runner, report_batch *batch, cloaca_error *error)
{
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
                 ? cloaca_call(runner->report_link.connection, "extend_many", arguments.data, &result, error)
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

/* -------------------------------------------------------------------------------------------------------------- maintenance */

/*
 * Every ten seconds, and when the database says that something is due; not where a background worker sees to it, which is asked
 * every ten seconds, too.
 */
static void maintain(cloaca_runner *runner, int64_t now)
{
    const bool turn = now >= runner->maintain_at;
    bool stopping;
    cloaca_error error;

    pthread_mutex_lock(&runner->lock);
    stopping = runner->stopping;
    pthread_mutex_unlock(&runner->lock);
    if (stopping || (!turn && now < runner->ask_at && now < runner->due_at)) {
        return;
    }
    if (turn) {
        runner->maintain_at = now + MAINTAIN_EVERY;
        runner->attended = says(runner, "has_worker");
    } else if (!ask_when_due(runner, now)) {
        return;
    }
    runner->due_at = NEVER;
    runner->ask_at = runner->attended ? NEVER : now + BACKOFF_LOW;
    if (!runner->attended && runner->report_link.connection != NULL &&
        cloaca_call(runner->report_link.connection, "run_maintenance", NULL, NULL, &error) != CLOACA_OK) {
        runner->ask_at = now + ASK_EVERY;
        clo_link_failed(runner, &runner->report_link, "cannot run maintenance", &error);
    }
    pthread_mutex_lock(&runner->lock);
    runner->maintained = true;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
}

/* The answer of a function without arguments; no where the database is too old to have it. */
static bool says(cloaca_runner *runner, const char *function)
{
    cloaca_result *result = NULL;
    cloaca_error error;
    const char *answer;
    bool yes;

    if (cloaca_call(runner->report_link.connection, function, NULL, &result, &error) != CLOACA_OK) {
        cannot_ask(runner, &error);
    }
    answer = cloaca_result_value(result, 0, 0);
    yes = answer != NULL && strcmp(answer, "true") == 0;
    cloaca_result_free(result);
    return yes;
}

/* Whether it is due now. */
static bool ask_when_due(cloaca_runner *runner, int64_t now)
{
    cloaca_result *result = NULL;
    cloaca_error error;
    const char *text;
    int64_t at = NEVER;

    runner->ask_at = now + ASK_EVERY;
    runner->due_at = NEVER;
    if (cloaca_call(runner->report_link.connection, "next_maintenance", NULL, &result, &error) != CLOACA_OK) {
        runner->ask_at = error.status == CLOACA_UNKNOWN_FUNCTION ? NEVER : runner->ask_at;
        cannot_ask(runner, &error);
        return false;
    }
    text = cloaca_result_get(result, 0, "at");
    if (text != NULL && clo_time_parse(text, strlen(text), &at)) {
        pthread_mutex_lock(&runner->lock);
        runner->due_at = at - runner->clock;
        pthread_mutex_unlock(&runner->lock);
    }
    cloaca_result_free(result);
    return runner->due_at <= now;
}

/* A database that is too old to say, or does not want to, is maintained every ten seconds. */
static void cannot_ask(cloaca_runner *runner, const cloaca_error *error)
{
    if (error->connection_lost || error->retryable) {
        clo_link_failed(runner, &runner->report_link, "cannot ask for maintenance", error);
    } else if (error->status != CLOACA_UNKNOWN_FUNCTION) {
        clo_runner_log_error(runner, CLOACA_LOG_INFO, "cannot ask for maintenance", error);
    }
}
