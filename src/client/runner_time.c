/*
 * runner_time.c - the thread of a runner that keeps the time: interrupts, the steps of a stop, attempts that take too long
 *
 * It never calls the database, so nothing that holds up a call holds it up. It decides when the runner is over: when nothing is
 * left to report, or else at a time that does not depend on the database. Then it ends the other threads, and the calls that
 * they may be in.
 */
#include "runner.h"

#include <poll.h>
#include <unistd.h>

/* For the database to take the reports of a stop, when the grace is over and no handler works any more, or it was given up. */
#define DATABASE_PATIENCE (5 * SECOND)
/* For a thread to come back from a call by itself, and when it was ended. */
#define CALL_PATIENCE SECOND
#define ABORT_PATIENCE (5 * SECOND)

static void take_wakes(cloaca_runner *runner);
static int64_t keep_time(cloaca_runner *runner, int64_t now);
static void advance_stop(cloaca_runner *runner, int64_t now);
static void keep_time_of(cloaca_runner *runner, cloaca_job *job, int64_t now);
static bool is_over(cloaca_runner *runner, int64_t now);
static void end_threads(cloaca_runner *runner);
static void await_threads(cloaca_runner *runner, int64_t until);
static void abort_calls(cloaca_runner *runner);

void *clo_runner_keep_time(void *context)
{
    cloaca_runner *runner = context;

    for (;;) {
        struct pollfd entry = {runner->wake[0], POLLIN, 0};
        int64_t now, next;

        take_wakes(runner);
        now = clo_monotonic_now();
        next = keep_time(runner, now);
        if (is_over(runner, now)) {
            break;
        }
        next -= now;
        poll(&entry, 1, next <= 0 ? 0 : next > 60 * SECOND ? 60000 : (int) ((next + MILLISECOND - 1) / MILLISECOND));
    }
    end_threads(runner);
    clo_runner_log(runner, CLOACA_LOG_DEBUG, "ended");
    return NULL;
}

/* The flag is taken down before the work is looked at: what comes later writes another byte. */
static void take_wakes(cloaca_runner *runner)
{
    char bytes[64];

    while (read(runner->wake[0], bytes, sizeof(bytes)) > 0) {
    }
    atomic_store(&runner->woken, false);
}

/* Does what is due, and says when the next is. */
static int64_t keep_time(cloaca_runner *runner, int64_t now)
{
    int64_t next = NEVER;
    bool working = false;

    pthread_mutex_lock(&runner->lock);
    advance_stop(runner, now);
    for (cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        if (job->state == JOB_RUNNING) {
            keep_time_of(runner, job, now);
            next = clo_earlier(next, atomic_load(&job->reason) == CLOACA_GO_ON ? job->timeout_at : NEVER);
            working = working || job->state == JOB_RUNNING;
        }
    }
    if (runner->stopping && runner->abandon_at == NEVER) {
        next = clo_earlier(next, runner->grace_at);
    } else if (runner->stopping) {
        runner->give_up_at = clo_earlier(runner->give_up_at, working ? NEVER : clo_later_by(now, DATABASE_PATIENCE));
        next = clo_earlier(next, working ? runner->abandon_at : runner->give_up_at);
    }
    runner->next_event = next;
    pthread_mutex_unlock(&runner->lock);
    return next;
}

static void advance_stop(cloaca_runner *runner, int64_t now)
{
    const int interrupts = atomic_load(&runner->interrupts);

    if (interrupts > runner->interrupts_seen) {
        const bool again = runner->interrupts_seen > 0 || interrupts > 1;

        runner->interrupts_seen = interrupts;
        clo_runner_begin_stop(runner, again ? now : clo_later_by(now, runner->options.drain));
    }
    if (runner->stopping && now >= runner->grace_at && runner->abandon_at == NEVER) {
        runner->abandon_at = clo_later_by(now, runner->options.heed);
        runner->give_up_at = clo_later_by(runner->abandon_at, DATABASE_PATIENCE);
    }
}

static void keep_time_of(cloaca_runner *runner, cloaca_job *job, int64_t now)
{
    if (now >= job->timeout_at) {
        clo_job_stop(job, CLOACA_STOP_TIMED_OUT);
    }
    if (runner->stopping && now >= runner->grace_at) {
        clo_job_stop(job, CLOACA_STOP_RUNNER);
    }
    if (now >= runner->abandon_at) {
        job->state = JOB_ABANDONED;
        runner->in_hand--;
        pthread_cond_signal(&runner->reports);
    }
}

/* What handlers that do not end still hold was released by then. */
static bool is_over(cloaca_runner *runner, int64_t now)
{
    size_t left = 0;
    bool over;

    pthread_mutex_lock(&runner->lock);
    for (const cloaca_job *job = runner->jobs; job != NULL; job = job->next) {
        left += job->state != JOB_ABANDONED || !atomic_load(&job->settled) ? 1 : 0;
    }
    over = runner->stopping && ((runner->claimer_ended && left == 0) || now >= runner->give_up_at);
    pthread_mutex_unlock(&runner->lock);
    if (over && left > 0) {
        clo_runner_log(runner, CLOACA_LOG_ERROR, "gave up reporting %zu tasks: their leases will expire", left);
    }
    return over;
}

static void end_threads(cloaca_runner *runner)
{
    const int64_t now = clo_monotonic_now();

    pthread_mutex_lock(&runner->lock);
    runner->quitting = true;
    pthread_cond_broadcast(&runner->reports);
    pthread_cond_broadcast(&runner->leases_due);
    await_threads(runner, now >= runner->give_up_at ? now : now + CALL_PATIENCE);
    abort_calls(runner);
    await_threads(runner, clo_monotonic_now() + ABORT_PATIENCE);
    runner->complete = runner->jobs == NULL;
    runner->ended = true;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
}

static void await_threads(cloaca_runner *runner, int64_t until)
{
    while (!(runner->claimer_ended && runner->reporter_ended && runner->extender_ended) && clo_monotonic_now() < until) {
        clo_runner_await_change(runner, until);
    }
}

/* Those of handlers too, whose tasks are no longer ours. */
static void abort_calls(cloaca_runner *runner)
{
    atomic_store(&runner->claim_link.guard.aborted, true);
    atomic_store(&runner->report_link.guard.aborted, true);
    atomic_store(&runner->lease_link.guard.aborted, true);
    for (size_t i = 0; i < runner->thread_count; i++) {
        atomic_store(&runner->threads[i].guard.aborted, true);
    }
}
