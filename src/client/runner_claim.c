/*
 * runner_claim.c - the thread of a runner that claims tasks, and waits while there are none
 *
 * It claims as many as there are handlers free, from one queue after the other, and starts each time with another queue, so
 * that a long one does not keep the others waiting. It claims nothing while reports pile up. It is also who sees that there is
 * nothing left, and begins the stop of a runner that ends by itself.
 */
#include "common/interval.h"
#include "common/json.h"
#include "runner.h"

#include <string.h>

#define LEARN_EVERY (10 * SECOND)
#define WAIT_LIMIT (60 * SECOND)
#define PAUSE_HIGH SECOND

static size_t await_room(cloaca_runner *runner);
static size_t find_room(const cloaca_runner *runner);
static bool learn_leases(cloaca_runner *runner);
static bool claim_all(cloaca_runner *runner, size_t room, size_t *found);
static bool take(cloaca_runner *runner, const cloaca_tasks *tasks, size_t queue, int64_t before);
static int64_t learn_clock(const cloaca_tasks *tasks, int64_t lease, int64_t before);
static void release_one(cloaca_runner *runner, const cloaca_task *task);
static bool is_finished(cloaca_runner *runner);
static bool are_queues_empty(cloaca_runner *runner);
static bool is_queue_empty(cloaca_runner *runner, const char *queue);
static void await_work(cloaca_runner *runner);
static void pause_claims(cloaca_runner *runner, int64_t until);

void *clo_runner_claim(void *context)
{
    cloaca_runner *runner = context;
    cloaca_error error;
    size_t room;

    while ((room = await_room(runner)) > 0) {
        size_t found = 0;

        if (!clo_link_ready(runner, &runner->claim_link, &error) || !learn_leases(runner) || !claim_all(runner, room, &found)) {
            pause_claims(runner, runner->claim_link.next_try);
        } else if (found > 0) {
            runner->poll_pause = runner->options.poll;
            runner->in_vain = 0;
        } else if (!is_finished(runner) && runner->claim_link.connection != NULL) {
            await_work(runner);
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
    while (!runner->stopping && (room = find_room(runner)) == 0) {
        if (runner->claimed >= runner->options.max_tasks && runner->in_hand == 0) {
            clo_runner_begin_stop(runner, NEVER);
        } else {
            clo_runner_await_change(runner, NEVER);
        }
    }
    room = runner->stopping ? 0 : room;
    runner->was_idle = runner->in_hand == 0;
    runner->claim_soon = false;
    pthread_mutex_unlock(&runner->lock);
    return room;
}

/* What a runner that ends by itself has to report or to maintain may make tasks claimable. */
static size_t find_room(const cloaca_runner *runner)
{
    const size_t idle = runner->thread_count > runner->busy ? runner->thread_count - runner->busy : 0;
    const size_t space = runner->capacity > runner->in_hand ? runner->capacity - runner->in_hand : 0;
    const int64_t left = runner->options.max_tasks - runner->claimed;
    const size_t room = idle < space ? idle : space;

    if (runner->options.until != CLOACA_UNTIL_STOPPED && (!runner->maintained || runner->in_hand > runner->busy)) {
        return 0;
    }
    return left < (int64_t) room ? (size_t) left : room;
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
        runner->claimed += (int64_t) tasks->count;
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
        clo_job_set_lease(job, task->lease_until, before, clock);
        clo_runner_metric(runner, job, CLOACA_EVENT_CLAIMED, waited);
        pthread_mutex_lock(&runner->lock);
        runner->clock = clock;
        job->next = runner->jobs;
        runner->jobs = job;
        runner->in_hand++;
        if (runner->stopping) {
            job->state = JOB_ENDED;
            job->outcome = CLOACA_JOB_RELEASED;
            pthread_cond_signal(&runner->reports);
        } else {
            runner->busy++;
            *(runner->last_queued != NULL ? &runner->last_queued->next_queued : &runner->first_queued) = job;
            runner->last_queued = job;
            pthread_cond_signal(&runner->work);
        }
        if (job->extend_at < runner->next_extension) {
            pthread_cond_signal(&runner->leases_due);
        }
        pthread_mutex_unlock(&runner->lock);
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

/*
 * There was nothing to claim: whether that is the end, whose stop it begins then. A report that was made after the claim may
 * have made another task claimable.
 */
static bool is_finished(cloaca_runner *runner)
{
    if (runner->options.until == CLOACA_UNTIL_STOPPED || !runner->was_idle ||
        (runner->options.until == CLOACA_UNTIL_EMPTY && !are_queues_empty(runner))) {
        return false;
    }
    pthread_mutex_lock(&runner->lock);
    clo_runner_begin_stop(runner, NEVER);
    pthread_mutex_unlock(&runner->lock);
    return true;
}

static bool are_queues_empty(cloaca_runner *runner)
{
    for (size_t i = 0; i < runner->options.queue_count; i++) {
        if (!is_queue_empty(runner, runner->options.queues[i])) {
            return false;
        }
    }
    return true;
}

/* With nothing under way anywhere. False when it cannot be asked. */
static bool is_queue_empty(cloaca_runner *runner, const char *queue)
{
    static const char *const counts[] = {"ready", "scheduled", "running"};
    cloaca_result *stats = NULL;
    clo_buffer arguments = {0};
    cloaca_error error;
    cloaca_status status;
    bool empty = true;

    clo_buffer_text(&arguments, "{\"queue\": ");
    clo_json_string(&arguments, queue, strlen(queue));
    clo_buffer_text(&arguments, "}");
    status = clo_buffer_finish(&arguments)
                 ? cloaca_call(runner->claim_link.connection, "queue_stats", arguments.data, &stats, &error)
                 : clo_no_memory(&error);
    clo_buffer_free(&arguments);
    if (status != CLOACA_OK && status != CLOACA_UNKNOWN_QUEUE) {
        clo_link_failed(runner, &runner->claim_link, "cannot count the tasks of a queue", &error);
        return false;
    }
    for (size_t i = 0; i < 3 && cloaca_result_rows(stats) > 0; i++) {
        empty = empty && strcmp(cloaca_result_get(stats, 0, counts[i]), "0") == 0;
    }
    cloaca_result_free(stats);
    return empty;
}

/*
 * Where the database can wait it does; else, and when others are always faster, there is a pause. That others' tasks have
 * ended, which may be the end of this runner too, only asking finds out.
 */
static void await_work(cloaca_runner *runner)
{
    const cloaca_runner_options *options = &runner->options;
    const int64_t pause = runner->poll_pause;
    cloaca_error error;
    bool ready = false;
    cloaca_status status;

    runner->poll_pause = clo_earlier(pause * 2, options->poll > PAUSE_HIGH ? options->poll : PAUSE_HIGH);
    if (runner->polls) {
        pause_claims(runner, clo_monotonic_now() + pause);
        return;
    }
    if (runner->in_vain > 1) {
        const int shift = runner->in_vain < 10 ? runner->in_vain : 10;

        pause_claims(runner, clo_monotonic_now() + (MILLISECOND << shift));
    }
    status = cloaca_wait_for_task(runner->claim_link.connection, options->queue_count, options->queues,
                                  options->until == CLOACA_UNTIL_EMPTY ? clo_earlier(pause, WAIT_LIMIT) : WAIT_LIMIT, &ready,
                                  &error);
    runner->in_vain = ready ? runner->in_vain + 1 : 0;
    if (status == CLOACA_UNKNOWN_FUNCTION || status == CLOACA_NOT_SUPPORTED) {
        clo_runner_log_error(runner, CLOACA_LOG_INFO, "cannot wait for work, polling from now on", &error);
        runner->polls = true;
    } else if (status == CLOACA_TIMEOUT) {
        /* The server's statement_timeout is shorter than our wait. */
        pause_claims(runner, clo_monotonic_now() + BACKOFF_LOW);
    } else if (status != CLOACA_OK && error.connection_lost) {
        clo_link_failed(runner, &runner->claim_link, "cannot wait for work, polling for a while", &error);
        pause_claims(runner, runner->claim_link.next_try);
    } else if (status != CLOACA_OK) {
        clo_runner_log_error(runner, CLOACA_LOG_INFO, "cannot wait for work, polling for a while", &error);
        pause_claims(runner, clo_monotonic_now() + clo_earlier(pause, PAUSE_HIGH));
    }
}

/* Sleeps; ends early when the runner stops, or may be about to. */
static void pause_claims(cloaca_runner *runner, int64_t until)
{
    pthread_mutex_lock(&runner->lock);
    while (!runner->stopping && !runner->claim_soon && clo_monotonic_now() < until) {
        clo_runner_await_change(runner, until);
    }
    pthread_mutex_unlock(&runner->lock);
}
