/*
 * runner_claim.c - the thread of a runner that claims tasks, and waits while there are none
 *
 * It claims as many as there are handlers free, from one queue after the other, and starts each time with another queue, so
 * that a long one does not keep the others waiting. It claims nothing while reports pile up.
 */
#include "common/interval.h"
#include "runner.h"

#include <string.h>

#define LEARN_EVERY (10 * SECOND)
#define WAIT_LIMIT (60 * SECOND)
#define PAUSE_HIGH SECOND

static size_t await_room(cloaca_runner *runner);
static bool learn_leases(cloaca_runner *runner);
static bool claim_all(cloaca_runner *runner, size_t room, size_t *found);
static bool take(cloaca_runner *runner, const cloaca_tasks *tasks, size_t queue, int64_t before);
static int64_t learn_clock(const cloaca_tasks *tasks, int64_t lease, int64_t before);
static void release_one(cloaca_runner *runner, const cloaca_task *task);
static void await_work(cloaca_runner *runner);

void *clo_runner_claim(void *context)
{
    cloaca_runner *runner = context;
    cloaca_error error;
    size_t room;

    while ((room = await_room(runner)) > 0) {
        size_t found = 0;

        if (!clo_link_ready(runner, &runner->claim_link, &error) || !learn_leases(runner) || !claim_all(runner, room, &found)) {
            clo_runner_pause(runner, runner->claim_link.next_try);
        } else if (found == 0) {
            await_work(runner);
        } else {
            runner->poll_pause = runner->options.poll;
            runner->in_vain = 0;
        }
    }
    clo_link_close(runner, &runner->claim_link);
    pthread_mutex_lock(&runner->lock);
    runner->claimer_ended = true;
    pthread_cond_broadcast(&runner->work);
    pthread_mutex_unlock(&runner->lock);
    clo_runner_wake(runner);
    return NULL;
}

/* How many tasks to claim; 0 when the runner stops. */
static size_t await_room(cloaca_runner *runner)
{
    size_t room = 0;

    pthread_mutex_lock(&runner->lock);
    while (!runner->stopping) {
        const size_t idle = runner->thread_count > runner->busy ? runner->thread_count - runner->busy : 0;
        const size_t space = runner->capacity > runner->in_hand ? runner->capacity - runner->in_hand : 0;

        room = idle < space ? idle : space;
        if (room > 0) {
            break;
        }
        clo_runner_await_change(runner, NEVER);
    }
    room = runner->stopping ? 0 : room;
    pthread_mutex_unlock(&runner->lock);
    return room;
}

/*
 * The leases of the queues, unless the program has its own, every ten seconds, for they may be set anew. Claims name them, so
 * that the clocks can be compared. False when a call failed.
 */
static bool learn_leases(cloaca_runner *runner)
{
    const int64_t now = clo_monotonic_now();
    cloaca_result *queues;
    cloaca_error error;

    if (runner->options.lease != 0 || now < runner->learn_at) {
        return true;
    }
    if (cloaca_call(runner->claim_link.connection, "list_queues", NULL, &queues, &error) != CLOACA_OK) {
        clo_link_failed(runner, &runner->claim_link, "cannot read the settings of queues", &error);
        return false;
    }
    for (size_t i = 0; i < runner->options.queue_count; i++) {
        runner->leases[i] = LEASE_DEFAULT;
        for (size_t row = 0; row < cloaca_result_rows(queues); row++) {
            const char *lease = cloaca_result_get(queues, row, "lease");

            if (strcmp(cloaca_result_get(queues, row, "queue"), runner->options.queues[i]) == 0) {
                clo_interval_parse(lease, strlen(lease), &runner->leases[i]);
            }
        }
    }
    cloaca_result_free(queues);
    runner->learn_at = now + LEARN_EVERY;
    return true;
}

/* False when a call failed. */
static bool claim_all(cloaca_runner *runner, size_t room, size_t *found)
{
    const cloaca_runner_options *options = &runner->options;

    runner->next_queue++;
    for (size_t i = 0; i < options->queue_count && *found < room; i++) {
        const size_t queue = (runner->next_queue + i) % options->queue_count;
        const int64_t before = clo_monotonic_now();
        cloaca_tasks *tasks = NULL;
        cloaca_error error;
        bool taken;

        if (cloaca_claim(runner->claim_link.connection, options->queues[queue], options->worker, (int32_t) (room - *found),
                         runner->leases[queue], &tasks, &error) != CLOACA_OK) {
            clo_link_failed(runner, &runner->claim_link, "cannot claim", &error);
            return false;
        }
        clo_link_worked(&runner->claim_link);
        *found += tasks->count;
        taken = take(runner, tasks, queue, before);
        cloaca_tasks_free(tasks);
        if (!taken) {
            clo_runner_log(runner, CLOACA_LOG_ERROR, "out of memory: tasks were released");
            runner->claim_link.next_try = clo_monotonic_now() + SECOND;
            return false;
        }
    }
    return true;
}

/* Hands the tasks to the handlers' threads. What there is no memory for goes back. */
static bool take(cloaca_runner *runner, const cloaca_tasks *tasks, size_t queue, int64_t before)
{
    const int64_t lease = runner->leases[queue];
    const int64_t clock = learn_clock(tasks, lease, before);
    bool good = true;

    for (size_t i = 0; i < tasks->count; i++) {
        const cloaca_task *task = &tasks->tasks[i];
        cloaca_job *job = clo_job_new(runner, task, runner->options.queues[queue], lease, before);
        int64_t waited = before + clock - task->run_at;

        if (job == NULL) {
            release_one(runner, task);
            good = false;
            continue;
        }
        waited = waited > 0 ? waited : 0;
        job->extend_at = clo_job_extend_at(job, task->lease_until, before, clock);
        clo_runner_metric(runner, job, CLOACA_EVENT_CLAIMED, waited);
        pthread_mutex_lock(&runner->lock);
        runner->clock = clock;
        job->next = runner->jobs;
        runner->jobs = job;
        runner->in_hand++;
        if (runner->stopping) {
            job->state = JOB_ENDED;
            job->outcome = CLOACA_JOB_RELEASED;
        } else {
            runner->busy++;
            *(runner->last_queued != NULL ? &runner->last_queued->next_queued : &runner->first_queued) = job;
            runner->last_queued = job;
            pthread_cond_signal(&runner->work);
        }
        pthread_mutex_unlock(&runner->lock);
    }
    if (tasks->count > 0) {
        clo_runner_wake(runner);
    }
    return good;
}

/*
 * The database's clock minus ours, as well as it can be known: a lease that nothing cut short ends the lease's length after the
 * claim. Where all were cut short, the system's clock has to do. An error only makes extensions come earlier or later.
 */
static int64_t learn_clock(const cloaca_tasks *tasks, int64_t lease, int64_t before)
{
    int64_t clock = clo_runner_clock();

    for (size_t i = 0; i < tasks->count; i++) {
        const int64_t uncut = tasks->tasks[i].lease_until - lease - before;

        clock = uncut > clock ? uncut : clock;
    }
    return clock;
}

static void release_one(cloaca_runner *runner, const cloaca_task *task)
{
    cloaca_error error;

    if (cloaca_release(runner->claim_link.connection, task->task, task->lease_id, &error) != CLOACA_OK) {
        clo_link_failed(runner, &runner->claim_link, "cannot release a task", &error);
    }
}

/* Where the database can wait it does; else, and when others are always faster, there is a pause. */
static void await_work(cloaca_runner *runner)
{
    const cloaca_runner_options *options = &runner->options;
    cloaca_error error;
    bool ready = false;
    cloaca_status status;

    if (runner->polls) {
        clo_runner_pause(runner, clo_monotonic_now() + runner->poll_pause);
        runner->poll_pause = clo_earlier(runner->poll_pause * 2, options->poll > PAUSE_HIGH ? options->poll : PAUSE_HIGH);
        return;
    }
    if (runner->in_vain > 1) {
        const int shift = runner->in_vain < 10 ? runner->in_vain : 10;

        clo_runner_pause(runner, clo_monotonic_now() + (MILLISECOND << shift));
    }
    status =
        cloaca_wait_for_task(runner->claim_link.connection, options->queue_count, options->queues, WAIT_LIMIT, &ready, &error);
    runner->in_vain = ready ? runner->in_vain + 1 : 0;
    if (status == CLOACA_UNKNOWN_FUNCTION || status == CLOACA_NOT_SUPPORTED) {
        clo_runner_log_error(runner, CLOACA_LOG_INFO, "cannot wait for work, polling instead", &error);
        runner->polls = true;
    } else if (status == CLOACA_TIMEOUT) {
        /* The server's statement_timeout is shorter than our wait. */
        clo_runner_pause(runner, clo_monotonic_now() + options->poll);
    } else if (status != CLOACA_OK) {
        clo_link_failed(runner, &runner->claim_link, "cannot wait for work", &error);
        clo_runner_pause(runner, runner->claim_link.next_try);
    }
}
