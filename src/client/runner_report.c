/*
 * runner_report.c - the thread of a runner that reports how handlers ended, and does the maintenance
 *
 * What has ended while it was busy is completed together. A report that cannot be made now (lock, lost connection, unknown
 * commit, a database that is read-only for a while) is kept and repeated; one made twice is harmless, because it carries its
 * lease. A call that something holds up is given up after a while, so that others' reports come through.
 */
#define _GNU_SOURCE
#include "common/timestamp.h"
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a report may take the first time; it doubles up to 64 times that. */
#define REPORT_PATIENCE SECOND
#define REPORT_DOUBLINGS 6
#define REPORT_PAUSE (2 * SECOND)
/* The same for several, and for each of them. */
#define BATCH_PATIENCE (2 * SECOND)
#define BATCH_PATIENCE_EACH (10 * MILLISECOND)
#define ASK_PATIENCE (5 * SECOND)
#define MAINTAIN_PATIENCE (10 * SECOND)
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
} report_batch;

static bool await_turn(cloaca_runner *runner);
static int64_t next_turn(const cloaca_runner *runner, int64_t ready_at);
static bool is_reportable(const cloaca_job *job);
static bool is_removable(const cloaca_job *job);
static void talk(cloaca_runner *runner);
static void collect_due(cloaca_runner *runner, report_batch *batch);
static bool complete_together(cloaca_runner *runner, report_batch *batch);
static bool is_completion(const cloaca_job *job);
static bool together_failed(cloaca_runner *runner, report_batch *batch, size_t count, const cloaca_error *error);
static bool report(cloaca_runner *runner, cloaca_job *job);
static bool needs_no_call(const cloaca_job *job, cloaca_job_event *event);
static cloaca_status call_for(cloaca_runner *runner, cloaca_job *job, cloaca_job_event *event, cloaca_error *error);
static bool is_refused(cloaca_job *job, cloaca_status status, const cloaca_error *error);
static bool report_failed(cloaca_runner *runner, cloaca_job *job, const cloaca_error *error);
static bool fails_instead(cloaca_job *job, const cloaca_error *error);
static void put_off(cloaca_runner *runner, cloaca_job *job);
static bool is_extending(cloaca_runner *runner, const cloaca_job *job);
static bool conclude(cloaca_runner *runner, cloaca_job *job, cloaca_status status, cloaca_job_event event);
static void settle(cloaca_runner *runner, cloaca_job *job, cloaca_job_event event);
static void remove_settled(cloaca_runner *runner);
static void maintain(cloaca_runner *runner, int64_t now);
static bool run_maintenance(cloaca_runner *runner, cloaca_error *error);
static bool says(cloaca_runner *runner, const char *function);
static bool ask_when_due(cloaca_runner *runner, int64_t now);
static void cannot_ask(cloaca_runner *runner, const cloaca_error *error);

void *clo_runner_report(void *context)
{
    cloaca_runner *runner = context;

    runner->maintain_at = runner->options.no_recovery ? NEVER : clo_monotonic_now();
    runner->maintain_patience = MAINTAIN_PATIENCE;
    runner->ask_at = runner->due_at = NEVER;
    while (await_turn(runner)) {
        talk(runner);
        remove_settled(runner);
    }
    pthread_mutex_lock(&runner->report_lock);
    clo_link_close(runner, &runner->report_link);
    pthread_mutex_unlock(&runner->report_lock);
    pthread_mutex_lock(&runner->lock);
    runner->reporter_ended = true;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
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
    return batch->jobs != NULL && batch->tasks != NULL && batch->lease_ids != NULL && batch->results != NULL &&
           batch->outcomes != NULL;
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
        free(batch);
    }
}

/* ------------------------------------------------------------------------------------------------------------------- turns */

/* False at the end of the runner. */
static bool await_turn(cloaca_runner *runner)
{
    int64_t ready_at;
    bool go_on;

    pthread_mutex_lock(&runner->report_lock);
    ready_at = runner->report_link.next_try;
    pthread_mutex_unlock(&runner->report_lock);
    pthread_mutex_lock(&runner->lock);
    for (;;) {
        const int64_t next = next_turn(runner, ready_at);

        if (runner->quitting || next <= clo_monotonic_now()) {
            break;
        }
        clo_runner_await(runner, &runner->reports, next);
    }
    go_on = !runner->quitting;
    pthread_mutex_unlock(&runner->lock);
    return go_on;
}

/* With the lock. */
static int64_t next_turn(const cloaca_runner *runner, int64_t ready_at)
{
    int64_t next = clo_earlier(runner->maintain_at, clo_earlier(runner->ask_at, runner->due_at));

    next = runner->stopping ? NEVER : next;
    for (const cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        if (is_reportable(job)) {
            next = clo_earlier(next, job->next_try);
        }
    }
    next = next > ready_at ? next : ready_at;
    for (const cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        next = is_removable(job) ? 0 : next;
    }
    return next;
}

static bool is_reportable(const cloaca_job *job)
{
    return (job->state == JOB_ENDED || job->state == JOB_ABANDONED) && !atomic_load(&job->settled);
}

static bool is_removable(const cloaca_job *job)
{
    return atomic_load(&job->settled) && (job->state == JOB_ENDED || job->handler_ended);
}

/* Everything that there is to say to the database now, until something holds it up: what comes meanwhile is said first. */
static void talk(cloaca_runner *runner)
{
    report_batch *batch = runner->batch;
    cloaca_error error;

    pthread_mutex_lock(&runner->report_lock);
    if (clo_monotonic_now() >= runner->report_link.next_try && clo_link_ready(runner, &runner->report_link, &error)) {
        bool good;

        collect_due(runner, batch);
        good = complete_together(runner, batch);
        for (size_t i = 0; i < batch->count && good; i++) {
            good = atomic_load(&batch->jobs[i]->settled) || report(runner, batch->jobs[i]);
        }
        if (good) {
            maintain(runner, clo_monotonic_now());
        }
    }
    pthread_mutex_unlock(&runner->report_lock);
}

/* ------------------------------------------------------------------------------------------------------------------ reports */

/* Those of which no report has failed come first. */
static void collect_due(cloaca_runner *runner, report_batch *batch)
{
    const int64_t now = clo_monotonic_now();

    batch->count = 0;
    pthread_mutex_lock(&runner->lock);
    for (int again = 0; again < 2; again++) {
        for (cloaca_job *job = runner->jobs; job != NULL && batch->count < runner->capacity; job = job->next) {
            if (is_reportable(job) && job->next_try <= now && (job->backoff > 0) == (again > 0)) {
                batch->jobs[batch->count++] = job;
            }
        }
    }
    pthread_mutex_unlock(&runner->lock);
}

/* Completes everything that succeeded in one call. One alone, and a batch that was refused or held up, are completed one by
 * one. False when there is no use in that. */
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
    clo_link_limit(&runner->report_link, BATCH_PATIENCE + (int64_t) count * BATCH_PATIENCE_EACH);
    if (cloaca_complete_many(runner->report_link.connection, count, batch->tasks, batch->lease_ids, batch->results,
                             batch->outcomes, &error) != CLOACA_OK) {
        return together_failed(runner, batch, count, &error);
    }
    clo_link_worked(&runner->report_link);
    for (size_t i = 0; i < count; i++) {
        /* One that an extension met just now: alone it is asked for again. */
        if (batch->outcomes[i] == CLOACA_LEASE_LOST && is_extending(runner, jobs[i])) {
            continue;
        }
        /* Unlike complete, complete_many lets a cancelled task go itself. */
        if (batch->outcomes[i] == CLOACA_CANCELLED) {
            atomic_store(&jobs[i]->acknowledged, true);
        }
        conclude(runner, jobs[i], batch->outcomes[i], CLOACA_EVENT_COMPLETED);
    }
    return true;
}

/* One that something held up before is not completed with others. */
static bool is_completion(const cloaca_job *job)
{
    cloaca_job_event event;

    return job->state == JOB_ENDED && job->outcome == CLOACA_JOB_DONE && !job->no_memory && !job->cancelled &&
           job->backoff == 0 && !needs_no_call(job, &event);
}

static bool together_failed(cloaca_runner *runner, report_batch *batch, size_t count, const cloaca_error *error)
{
    if (clo_link_is_locked(&runner->report_link, error)) {
        clo_link_failed(runner, &runner->report_link, "cannot complete tasks", error);
        return false;
    }
    if (!clo_is_unsure(error)) {
        clo_runner_log_error(runner, CLOACA_LOG_INFO, "cannot complete tasks together", error);
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        atomic_store(&batch->jobs[i]->unsure, true);
    }
    clo_link_note(runner, &runner->report_link, "cannot complete tasks", error);
    return false;
}

/* Reports one; false when the connection is lost, or a lock has cost others time. */
static bool report(cloaca_runner *runner, cloaca_job *job)
{
    cloaca_job_event event = CLOACA_EVENT_RELEASED;
    cloaca_error error;
    cloaca_status status;

    if (needs_no_call(job, &event)) {
        settle(runner, job, event);
        return true;
    }
    clo_link_limit(&runner->report_link,
                   REPORT_PATIENCE << (job->held_up < REPORT_DOUBLINGS ? job->held_up : REPORT_DOUBLINGS));
    status = call_for(runner, job, &event, &error);
    if (status == CLOACA_LEASE_LOST && is_extending(runner, job)) {
        /* The extension says why. */
        put_off(runner, job);
        return true;
    }
    if (status == CLOACA_OK || status == CLOACA_LEASE_LOST || status == CLOACA_CANCELLED) {
        clo_link_worked(&runner->report_link);
        return conclude(runner, job, status, event) || report(runner, job);
    }
    if (job->state == JOB_ENDED && is_refused(job, status, &error)) {
        return report(runner, job);
    }
    return report_failed(runner, job, &error);
}

/* What the database knows already, or would refuse. */
static bool needs_no_call(const cloaca_job *job, cloaca_job_event *event)
{
    const int reason = atomic_load(&job->reason);

    if (atomic_load(&job->committed)) {
        *event = CLOACA_EVENT_COMPLETED;
    } else if (atomic_load(&job->awaiting)) {
        *event = CLOACA_EVENT_AWAITING;
    } else if (atomic_load(&job->acknowledged)) {
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
    cloaca_job_outcome outcome;
    const char *message;
    clo_buffer late = {0};
    cloaca_status status;
    int64_t run_at;
    bool dead = false;

    if (job->state == JOB_ABANDONED) {
        /* The handler keeps its job, but others may take the task. */
        *event = CLOACA_EVENT_RELEASED;
        return cloaca_release(connection, job->task, job->lease_id, error);
    }
    outcome = job->outcome;
    message = job->error != NULL ? job->error : "the handler failed";
    if (job->cancelled || (reason == CLOACA_STOP_RUNNER && outcome == CLOACA_JOB_RETRY && !job->refused)) {
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

/* What passes is repeated later. A completion that never will be taken becomes a failure, and any other ends with the lease. */
static bool report_failed(cloaca_runner *runner, cloaca_job *job, const cloaca_error *error)
{
    const bool held_up = error->status == CLOACA_TIMEOUT || error->status == CLOACA_BUSY || error->status == CLOACA_CONFLICT;

    if (clo_link_is_locked(&runner->report_link, error)) {
        clo_link_failed(runner, &runner->report_link, "cannot report a task", error);
        return false;
    }
    if (clo_is_unsure(error)) {
        atomic_store(&job->unsure, true);
    }
    clo_link_note(runner, &runner->report_link, "cannot report a task", error);
    if (clo_passes(error)) {
        job->held_up += held_up ? 1 : 0;
        put_off(runner, job);
        return !held_up && !clo_is_unsure(error);
    }
    if (fails_instead(job, error)) {
        return report(runner, job);
    }
    settle(runner, job, CLOACA_EVENT_LEASE_LOST);
    return true;
}

static bool fails_instead(cloaca_job *job, const cloaca_error *error)
{
    char message[sizeof(error->message) + sizeof(error->detail) + 64];

    if (job->state != JOB_ENDED || job->outcome != CLOACA_JOB_DONE) {
        return false;
    }
    snprintf(message, sizeof(message), "the database did not take the result: %s%s%s", error->message,
             error->detail[0] != '\0' ? ": " : "", error->detail);
    job->refused = true;
    job->outcome = CLOACA_JOB_RETRY;
    cloaca_job_set_error(job, message);
    return true;
}

static void put_off(cloaca_runner *runner, cloaca_job *job)
{
    job->backoff = job->backoff == 0 ? BACKOFF_LOW : clo_earlier(job->backoff * 2, REPORT_PAUSE);
    pthread_mutex_lock(&runner->lock);
    job->next_try = clo_monotonic_now() + job->backoff;
    pthread_mutex_unlock(&runner->lock);
}

static bool is_extending(cloaca_runner *runner, const cloaca_job *job)
{
    bool extending;

    pthread_mutex_lock(&runner->lock);
    extending = job->extending;
    pthread_mutex_unlock(&runner->lock);
    return extending;
}

/* The database has answered. False when a cancelled task is still to be released, to acknowledge it. */
static bool conclude(cloaca_runner *runner, cloaca_job *job, cloaca_status status, cloaca_job_event event)
{
    if (status == CLOACA_CANCELLED && !atomic_load(&job->acknowledged) && !job->cancelled) {
        job->cancelled = true;
        return false;
    }
    if (job->cancelled || atomic_load(&job->acknowledged)) {
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
    const bool given_up = job->state == JOB_ABANDONED;
    const bool failed = event == CLOACA_EVENT_RETRIED || event == CLOACA_EVENT_FAILED;
    const char *error = failed && !given_up ? job->error : NULL;

    clo_runner_log(runner, in_vain || given_up ? CLOACA_LOG_WARNING : CLOACA_LOG_DEBUG, "task %" PRId64 ": %s%s%s%.1000s",
                   job->task, given_up ? "its handler does not end: " : "", words[event], error != NULL ? ": " : "",
                   error != NULL ? error : "");
    clo_runner_metric(runner, job, event, clo_monotonic_now() - job->claimed_at);
    atomic_store(&job->settled, true);
}

static void remove_settled(cloaca_runner *runner)
{
    cloaca_job *removed = NULL;

    pthread_mutex_lock(&runner->lock);
    for (cloaca_job *job = runner->jobs, *next; job != NULL; job = next) {
        next = job->next;
        if (is_removable(job)) {
            clo_job_unlink(runner, job);
            runner->in_hand -= job->state == JOB_ENDED ? 1 : 0;
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
    if (runner->stopping) {
        clo_runner_wake(runner);
    }
    pthread_mutex_unlock(&runner->lock);
    while (removed != NULL) {
        cloaca_job *job = removed;

        removed = job->next;
        clo_job_free(job);
    }
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
    if (!runner->attended && runner->report_link.connection != NULL && !run_maintenance(runner, &error)) {
        runner->ask_at = now + ASK_EVERY;
        clo_link_note(runner, &runner->report_link, "cannot run maintenance", &error);
    }
    pthread_mutex_lock(&runner->lock);
    runner->maintained = true;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
}

/* What cannot be done in time is tried again with more of it. */
static bool run_maintenance(cloaca_runner *runner, cloaca_error *error)
{
    bool done;

    clo_link_limit(&runner->report_link, runner->maintain_patience);
    done = cloaca_call(runner->report_link.connection, "run_maintenance", NULL, NULL, error) == CLOACA_OK;
    if (done) {
        runner->maintain_patience = MAINTAIN_PATIENCE;
    } else if (error->status == CLOACA_TIMEOUT) {
        runner->maintain_patience = clo_earlier(runner->maintain_patience * 2, 3600 * SECOND);
    }
    return done;
}

/* The answer of a function without arguments; no where the database is too old to have it. */
static bool says(cloaca_runner *runner, const char *function)
{
    cloaca_result *result = NULL;
    cloaca_error error;
    const char *answer;
    bool yes;

    clo_link_limit(&runner->report_link, ASK_PATIENCE);
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
    clo_link_limit(&runner->report_link, ASK_PATIENCE);
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
        clo_link_note(runner, &runner->report_link, "cannot ask for maintenance", error);
    } else if (error->status != CLOACA_UNKNOWN_FUNCTION) {
        clo_runner_log_error(runner, CLOACA_LOG_INFO, "cannot ask for maintenance", error);
    }
}
