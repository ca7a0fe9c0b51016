/*
 * work_claim.c - the connection of `cloaca work`, its claims, and the leases of what it claimed
 *
 * The database's clock rules: the worker measures from the moment before a claim on its own monotonic clock, so that it always
 * believes a lease to end sooner than it does.
 */
#define _GNU_SOURCE
#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UPKEEP_EVERY (10 * SECOND)
#define DUE_EVERY SECOND
#define EXTEND_LOW (SECOND / 4)

static bool bind_leases(struct worker *worker, cloaca_error *error);
static void learn_lease(struct worker *worker);
static bool has_worker(struct worker *worker);
static bool is_due(struct worker *worker, int64_t now);
static void learn_clock(struct worker *worker, const cloaca_tasks *tasks, int64_t before);
static void look_for_end(struct worker *worker);
static void apply_extension(struct worker *worker, struct job *job, const cloaca_result *result, size_t row, int64_t now);

int open_worker(struct worker *worker)
{
    cloaca_error error = {0};
    int status = open_connection(worker->invocation, &worker->connection);

    if (status == STATUS_OK && !bind_leases(worker, &error)) {
        status = report(worker->invocation, &error);
        cloaca_close(worker->connection);
        worker->connection = NULL;
    }
    return status;
}

void connect_again(struct worker *worker)
{
    cloaca_error error = {0};

    if (cloaca_open(worker->invocation->url, &worker->connection, &error) == CLOACA_OK && bind_leases(worker, &error)) {
        note(worker, "connected again");
        worker->next_report = worker->next_claim = 0;
        return;
    }
    cloaca_close(worker->connection);
    worker->connection = NULL;
    worker->next_connect = monotonic_now() + worker->backoff;
    worker->backoff = earlier(worker->backoff * 2, BACKOFF_HIGH);
    if (error.status == CLOACA_AUTHENTICATION_FAILED || error.status == CLOACA_UNKNOWN_DATABASE ||
        error.status == CLOACA_INVALID_ARGUMENT) {
        note(worker, "cannot connect again: %s: %s", error.message, error.detail);
        stop(worker, STATUS_ERROR);
    }
}

/*
 * A call went wrong. Returns true when it is to be repeated later; else the caller gives up on it, and the worker has been
 * stopped if there is no use in going on.
 */
bool call_failed(struct worker *worker, const char *what, const cloaca_error *error)
{
    int64_t now = monotonic_now();

    if (error->connection_lost || error->commit_unknown || error->retryable) {
        if (worker->verbose || error->connection_lost)
            note(worker, "%s: %s%s%s", what, error->message, error->detail[0] != '\0' ? ": " : "", error->detail);
        worker->next_report = now + worker->backoff;
        worker->next_connect = now + worker->backoff;
        worker->backoff = earlier(worker->backoff * 2, BACKOFF_HIGH);
        if (error->connection_lost) {
            cloaca_close(worker->connection);
            worker->connection = NULL;
        }
        return true;
    }
    if (option_flag(worker->invocation, "json")) {
        report(worker->invocation, error);
    } else {
        note(worker, "%s: %s%s%s", what, error->message, error->detail[0] != '\0' ? ": " : "", error->detail);
        if (error->hint[0] != '\0')
            note(worker, "hint: %s", error->hint);
    }
    stop(worker, STATUS_ERROR);
    return false;
}

/*
 * Every ten seconds: maintenance, unless the database has a worker of its own for it, and the queue's lease, which may have
 * been changed. In between maintenance when it is due.
 */
void upkeep(struct worker *worker, int64_t now)
{
    cloaca_error error = {0};

    if (now >= worker->next_upkeep) {
        worker->next_upkeep = now + UPKEEP_EVERY;
        if (!worker->own_lease)
            learn_lease(worker);
        worker->next_due = worker->maintain && !has_worker(worker) ? 0 : NEVER;
    } else if (now < worker->next_due || !is_due(worker, now)) {
        return;
    }
    if (worker->next_due == NEVER || worker->connection == NULL)
        return;
    worker->next_due = now + DUE_EVERY;
    if (cloaca_call(worker->connection, "run_maintenance", NULL, NULL, &error) != CLOACA_OK &&
        (error.connection_lost || !error.retryable))
        call_failed(worker, "cannot maintain the queue", &error);
}

bool wants_tasks(const struct worker *worker)
{
    return !worker->stopping && !worker->drained && worker->running < worker->concurrency &&
           worker->claimed < worker->max_tasks;
}

void claim_tasks(struct worker *worker, int64_t now)
{
    int64_t room = (int64_t) (worker->concurrency - worker->running);
    int64_t before = monotonic_now();
    cloaca_tasks *tasks = NULL;
    cloaca_error error = {0};

    room = earlier(room, worker->max_tasks - worker->claimed);
    if (worker->connection == NULL || !wants_tasks(worker) || waits_for_work(worker) || now < worker->next_claim ||
        now < worker->next_report)
        return;
    if (cloaca_claim(worker->connection, worker->queue, worker->name, (int32_t) room, worker->lease, &tasks, &error) !=
        CLOACA_OK) {
        call_failed(worker, "cannot claim", &error);
        return;
    }
    worker->backoff = BACKOFF_LOW;
    learn_clock(worker, tasks, before);
    for (size_t i = 0; i < tasks->count; i++)
        start_job(worker, &tasks->tasks[i], before);
    worker->dry = tasks->count == 0;
    note_claim(worker, !worker->dry, now);
    if (worker->dry) {
        worker->next_claim = now + worker->pause;
        worker->pause = earlier(worker->pause * 2, worker->poll_low > POLL_HIGH ? worker->poll_low : POLL_HIGH);
        look_for_end(worker);
    } else {
        worker->pause = worker->poll_low;
    }
    cloaca_tasks_free(tasks);
}

/* At a third of what is left, which the timeout of a task or an execution may have cut short. */
int64_t extend_time(const struct worker *worker, int64_t lease_until, int64_t before)
{
    int64_t low = earlier(worker->lease / 3, EXTEND_LOW);
    int64_t third = earlier(lease_until - worker->clock - before, worker->lease) / 3;

    return before + (third > low ? third : low);
}

/* All leases that are due, in one call. Commands that have ended keep theirs until the report is made. */
void extend_leases(struct worker *worker, int64_t now)
{
    struct buffer tasks = {0};
    struct buffer leases = {0};
    struct buffer arguments = {0};
    cloaca_result *result = NULL;
    cloaca_error error = {0};
    size_t row = 0;

    for (struct job *job = worker->jobs; job != NULL; job = job->next)
        if (job->extend_at <= now && job->reason != REASON_LOST) {
            buffer_format(&tasks, "%s%lld", tasks.length > 0 ? ", " : "", (long long) job->task);
            buffer_format(&leases, "%s%lld", leases.length > 0 ? ", " : "", (long long) job->lease_id);
        }
    if (tasks.length == 0 || worker->connection == NULL || now < worker->next_report)
        goto done;
    buffer_format(&arguments, "{\"tasks\": [%s], \"lease_ids\": [%s], \"lease\": \"%lld microseconds\"}", buffer_value(&tasks),
                  buffer_value(&leases), (long long) worker->lease);
    if (cloaca_call(worker->connection, "extend_many", buffer_value(&arguments), &result, &error) != CLOACA_OK) {
        call_failed(worker, "cannot extend leases", &error);
        goto done;
    }
    for (struct job *job = worker->jobs; job != NULL && row < cloaca_result_rows(result); job = job->next)
        if (job->extend_at <= now && job->reason != REASON_LOST)
            apply_extension(worker, job, result, row++, now);
done:
    cloaca_result_free(result);
    buffer_free(&arguments);
    buffer_free(&leases);
    buffer_free(&tasks);
}

/* The connection is held for the worker's whole life: what it claims may end with it, unless a pooler stands between. */
static bool bind_leases(struct worker *worker, cloaca_error *error)
{
    return !cloaca_is_direct(worker->connection) || cloaca_bind_leases(worker->connection, true, error) == CLOACA_OK;
}

static void learn_lease(struct worker *worker)
{
    cloaca_result *queues = NULL;
    cloaca_error error = {0};
    int64_t lease = DEFAULT_LEASE;

    if (cloaca_call(worker->connection, "list_queues", NULL, &queues, &error) != CLOACA_OK) {
        call_failed(worker, "cannot read the queue's settings", &error);
        worker->next_upkeep = 0;
        return;
    }
    for (size_t row = 0; row < cloaca_result_rows(queues); row++) {
        const char *queue = cloaca_result_get(queues, row, "queue");
        const char *text = cloaca_result_get(queues, row, "lease");

        if (strcmp(queue, worker->queue) == 0 && text != NULL && !parse_duration(text, &lease))
            lease = DEFAULT_LEASE;
    }
    worker->lease = lease;
    cloaca_result_free(queues);
}

/* Whether the database does its maintenance itself; one that is too old to say so does not. */
static bool has_worker(struct worker *worker)
{
    cloaca_result *result = NULL;
    cloaca_error error = {0};
    const char *answer;
    bool yes;

    if (worker->connection == NULL)
        return true;
    if (cloaca_call(worker->connection, "has_worker", NULL, &result, &error) != CLOACA_OK && error.connection_lost)
        call_failed(worker, "cannot ask who maintains the queue", &error);
    answer = cloaca_result_value(result, 0, 0);
    yes = answer != NULL && strcmp(answer, "true") == 0;
    cloaca_result_free(result);
    return yes;
}

/* Whether maintenance is due; else when it is, or when to ask again. */
static bool is_due(struct worker *worker, int64_t now)
{
    cloaca_result *result = NULL;
    cloaca_error error = {0};
    const char *text;
    int64_t at = 0;

    worker->next_due = now + DUE_EVERY;
    if (cloaca_call(worker->connection, "next_maintenance", NULL, &result, &error) != CLOACA_OK) {
        if (error.status == CLOACA_UNKNOWN_FUNCTION)
            worker->next_due = NEVER;
        else if (error.connection_lost)
            call_failed(worker, "cannot ask for maintenance", &error);
        return false;
    }
    text = cloaca_result_get(result, 0, "at");
    if (text != NULL && parse_time(text, &at))
        worker->next_due = earlier(worker->next_due, at - worker->clock);
    cloaca_result_free(result);
    return text != NULL && worker->next_due <= now;
}

/*
 * The database's clock minus ours, as well as it can be known: a lease that nothing cut short ends the lease's length after the
 * claim; where all were cut short, the system's clock has to do.
 */
static void learn_clock(struct worker *worker, const cloaca_tasks *tasks, int64_t before)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    worker->clock = (int64_t) now.tv_sec * SECOND + now.tv_nsec / 1000 - monotonic_now();
    for (size_t i = 0; i < tasks->count; i++) {
        int64_t uncut = tasks->tasks[i].lease_until - worker->lease - before;

        worker->clock = uncut > worker->clock ? uncut : worker->clock;
    }
}

/* --drain: is the queue empty, with nothing under way anywhere? */
static void look_for_end(struct worker *worker)
{
    struct buffer arguments = {0};
    cloaca_result *stats = NULL;
    cloaca_error error = {0};
    cloaca_status status;

    if (!worker->drain || worker->running > 0)
        return;
    buffer_text(&arguments, "{\"queue\": ");
    buffer_json(&arguments, worker->queue, strlen(worker->queue));
    buffer_text(&arguments, "}");
    status = cloaca_call(worker->connection, "queue_stats", buffer_value(&arguments), &stats, &error);
    if (status == CLOACA_OK && cloaca_result_rows(stats) == 1)
        worker->drained = strcmp(cloaca_result_get(stats, 0, "ready"), "0") == 0 &&
                          strcmp(cloaca_result_get(stats, 0, "scheduled"), "0") == 0 &&
                          strcmp(cloaca_result_get(stats, 0, "running"), "0") == 0;
    else if (status == CLOACA_UNKNOWN_QUEUE)
        worker->drained = true;
    else if (status != CLOACA_OK)
        call_failed(worker, "cannot count the queue", &error);
    cloaca_result_free(stats);
    buffer_free(&arguments);
}

static void apply_extension(struct worker *worker, struct job *job, const cloaca_result *result, size_t row, int64_t now)
{
    const char *outcome = cloaca_result_get(result, row, "outcome");
    const char *until = cloaca_result_get(result, row, "lease_until");
    int64_t lease_until = now + worker->clock + worker->lease;

    if (until != NULL)
        parse_time(until, &lease_until);
    job->extend_at = extend_time(worker, lease_until, now);
    if (strcmp(outcome, "lease_lost") == 0) {
        note(worker, "task %lld: the lease is lost", (long long) job->task);
        end_command(worker, job, REASON_LOST);
    } else if (strcmp(outcome, "cancelled") == 0 && job->reason == REASON_NONE) {
        end_command(worker, job, REASON_CANCELLED);
    }
}
