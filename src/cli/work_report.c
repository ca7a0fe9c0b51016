/*
 * work_report.c - how the commands of `cloaca work` ended, told to the database
 *
 * A report that cannot be made now (lock, lost connection, unknown commit) is kept and repeated; one made twice is harmless,
 * because every report carries its lease.
 */
#define _GNU_SOURCE
#include "work.h"

#include <stdlib.h>
#include <string.h>

static bool complete_together(struct worker *worker);
static bool report_one(struct worker *worker, struct job *job);
static void settle(struct worker *worker, struct job *job, cloaca_status outcome);

void report_endings(struct worker *worker, int64_t now)
{
    if (worker->connection == NULL || now < worker->next_report)
        return;
    if (!complete_together(worker))
        return;
    for (struct job *job = worker->jobs; job != NULL; job = job->next)
        if (job->ending != ENDING_NONE && job->ending != ENDING_FORGET && !report_one(worker, job))
            break;
    remove_settled(worker);
}

void remove_settled(struct worker *worker)
{
    struct job **link = &worker->jobs;
    bool removed = false;
    bool more = false;

    while (*link != NULL) {
        struct job *job = *link;

        if (job->ending != ENDING_FORGET) {
            link = &job->next;
            continue;
        }
        *link = job->next;
        removed = true;
        more = more || job->execution != 0;
        worker->running--;
        process_free(&job->process);
        buffer_free(&job->text);
        free(job->payload);
        free(job);
    }
    /* What comes next in a workflow is there at once. */
    if (more) {
        worker->next_claim = 0;
        worker->dry = false;
        worker->pause = worker->poll_low;
    }
    /* The last one is gone: whether the queue is drained need not wait for the end of the pause. */
    if (removed && worker->drain && worker->running == 0)
        worker->next_claim = 0;
}

/* Completes everything that succeeded in one call; false when that has to be repeated. */
static bool complete_together(struct worker *worker)
{
    size_t room = worker->running;
    struct job **jobs = allocate(room * sizeof(struct job *));
    int64_t *tasks = allocate(room * sizeof *tasks);
    int64_t *leases = allocate(room * sizeof *leases);
    const char **results = allocate(room * sizeof(char *));
    cloaca_status *outcomes = allocate(room * sizeof *outcomes);
    cloaca_error error = {0};
    size_t count = 0;
    bool go_on = true;

    for (struct job *job = worker->jobs; job != NULL; job = job->next)
        if (job->ending == ENDING_COMPLETE) {
            jobs[count] = job;
            tasks[count] = job->task;
            leases[count] = job->lease_id;
            results[count++] = buffer_value(&job->text);
        }
    /* One alone, and a batch that was refused, are completed one by one. */
    if (count > 1) {
        if (cloaca_complete_many(worker->connection, count, tasks, leases, results, outcomes, &error) == CLOACA_OK) {
            for (size_t i = 0; i < count; i++) {
                settle(worker, jobs[i], outcomes[i]);
                /* Unlike complete, complete_many lets a cancelled task go itself. */
                if (outcomes[i] == CLOACA_CANCELLED)
                    settle(worker, jobs[i], CLOACA_OK);
            }
        } else if (error.status != CLOACA_INVALID_ARGUMENT) {
            for (size_t i = 0; i < count; i++)
                jobs[i]->unsure |= error.commit_unknown || error.connection_lost;
            go_on = !call_failed(worker, "cannot complete tasks", &error);
        }
    }
    free(jobs);
    free(tasks);
    free(leases);
    free(results);
    free(outcomes);
    return go_on;
}

/* Reports one ending; false when the connection or the lock does not let us, and all is to be repeated later. */
static bool report_one(struct worker *worker, struct job *job)
{
    const char *text = buffer_value(&job->text);
    cloaca_error error = {0};
    cloaca_status status = CLOACA_OK;
    bool dead = false;

    switch (job->ending) {
    case ENDING_COMPLETE:
        status = cloaca_complete(worker->connection, job->task, job->lease_id, text, &error);
        break;
    case ENDING_FAIL:
    case ENDING_FINAL:
        status = cloaca_fail(worker->connection, job->task, job->lease_id, text, job->ending == ENDING_FINAL,
                             CLOACA_NO_INTERVAL, &dead, &error);
        break;
    case ENDING_DEFER:
        status = cloaca_defer_until(worker->connection, job->task, job->lease_id,
                                    monotonic_now() + worker->clock + worker->defer, &error);
        break;
    default:
        status = cloaca_release(worker->connection, job->task, job->lease_id, &error);
        break;
    }
    if (status == CLOACA_OK || status == CLOACA_LEASE_LOST || status == CLOACA_CANCELLED) {
        worker->dead += dead ? 1 : 0;
        settle(worker, job, status);
        /* A cancelled task is released, which acknowledges it. */
        return job->ending == ENDING_FORGET || report_one(worker, job);
    }
    if (status == CLOACA_INVALID_ARGUMENT && job->ending == ENDING_COMPLETE) {
        job->text.length = 0;
        buffer_format(&job->text, "the result was refused: %s", error.detail);
        job->ending = ENDING_FINAL;
        return report_one(worker, job);
    }
    job->unsure = job->unsure || error.commit_unknown || error.connection_lost;
    if (call_failed(worker, "cannot report a task", &error))
        return false;
    job->ending = ENDING_FORGET;
    return true;
}

/* The database has answered: count it, and either forget the job or, when the task was cancelled, release it. */
static void settle(struct worker *worker, struct job *job, cloaca_status outcome)
{
    static const char *const words[] = {"", "completed", "failed", "failed for good", "deferred", "released", ""};
    enum ending ending = job->ending;

    worker->backoff = BACKOFF_LOW;
    if (outcome == CLOACA_CANCELLED && !job->cancelled) {
        job->cancelled = true;
        job->ending = ENDING_RELEASE;
        return;
    }
    job->ending = ENDING_FORGET;
    if (outcome != CLOACA_OK && !job->cancelled) {
        worker->lost++;
        note(worker, "task %lld: %s", (long long) job->task,
             job->unsure ? "the first report was lost with the connection, the task is no longer ours" : "the lease is lost");
        return;
    }
    if (job->cancelled) {
        worker->cancelled++;
        note(worker, "task %lld: cancelled", (long long) job->task);
        return;
    }
    if (worker->verbose)
        note(worker, "task %lld: %s%s%s", (long long) job->task, words[ending],
             job->text.length > 0 && ending != ENDING_COMPLETE ? ": " : "",
             ending != ENDING_COMPLETE ? buffer_value(&job->text) : "");
    worker->completed += ending == ENDING_COMPLETE ? 1 : 0;
    worker->failed += ending == ENDING_FAIL || ending == ENDING_FINAL ? 1 : 0;
    worker->deferred += ending == ENDING_DEFER ? 1 : 0;
    worker->released += ending == ENDING_RELEASE ? 1 : 0;
}
