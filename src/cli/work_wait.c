/*
 * work_wait.c - `cloaca work` without anything to do: waits for work instead of asking for it again and again
 *
 * The wait has a connection of its own, opened when it is first needed, because the other one has leases to extend meanwhile.
 * It is under way only while the last claim found nothing and there is room for a task: a worker that could not take a task
 * must not be woken for it in the place of one that can. A wait ends after a minute, and is followed by a claim, so that
 * nothing depends on it alone. Where the server cannot wait, the worker polls (--poll).
 */
#define _GNU_SOURCE
#include "work.h"

#define WAIT_LIMIT (60 * SECOND)
#define IN_VAIN_LOW 1000

static bool is_wanted(const struct worker *worker);
static void begin_wait(struct worker *worker, int64_t now);
static void wait_failed(struct worker *worker, const cloaca_error *error, int64_t now);

void wait_for_work(struct worker *worker, int64_t now)
{
    struct waiter *waiter = &worker->waiter;
    cloaca_error error = {0};

    if (!is_wanted(worker)) {
        if (waiter->waiting && cloaca_wait_cancel(waiter->connection, NULL, &error) != CLOACA_OK)
            wait_failed(worker, &error, now);
        waiter->waiting = false;
    } else if (!waiter->waiting && now >= waiter->next) {
        begin_wait(worker, now);
    }
}

/* With --drain the end of other workers' tasks counts too, which only asking finds out. */
bool waits_for_work(const struct worker *worker)
{
    return worker->waiter.waiting && !worker->drain;
}

size_t waiter_entries(const struct worker *worker, struct pollfd *entry)
{
    const struct waiter *waiter = &worker->waiter;

    *entry = (struct pollfd){waiter->waiting ? cloaca_wait_descriptor(waiter->connection) : -1, POLLIN, 0};
    return entry->fd >= 0 ? 1 : 0;
}

int64_t waiter_event(const struct worker *worker)
{
    const struct waiter *waiter = &worker->waiter;

    if (waiter->waiting)
        return waiter->check_at;
    return is_wanted(worker) ? waiter->next : NEVER;
}

/* Is cheap, and so done whenever the loop turns. */
void check_waiter(struct worker *worker, int64_t now)
{
    struct waiter *waiter = &worker->waiter;
    cloaca_error error = {0};
    cloaca_status status;
    int64_t again;
    bool done, ready;

    if (!waiter->waiting)
        return;
    status = cloaca_wait_check(waiter->connection, &done, &ready, &again, &error);
    if (status == CLOACA_TIMEOUT) {
        /* The server's statement_timeout is shorter than our wait: the wait is over all the same. */
        waiter->next = now + BACKOFF_LOW;
    } else if (status != CLOACA_OK) {
        wait_failed(worker, &error, now);
        return;
    }
    waiter->check_at = again < 0 ? NEVER : now + again;
    if (done) {
        waiter->waiting = false;
        waiter->woken = ready;
        waiter->backoff = BACKOFF_LOW;
        worker->next_claim = 0;
    }
}

/*
 * When others are always faster, or hold what we see, we are woken and find nothing: then there is a pause before the next
 * wait, at first none, later up to a second.
 */
void note_claim(struct worker *worker, bool found, int64_t now)
{
    struct waiter *waiter = &worker->waiter;

    if (found)
        waiter->in_vain = 0;
    else if (waiter->woken && waiter->in_vain++ > 0)
        waiter->next = now + earlier((int64_t) IN_VAIN_LOW << (waiter->in_vain < 20 ? waiter->in_vain : 20), POLL_HIGH);
    waiter->woken = false;
}

void close_waiter(struct worker *worker)
{
    cloaca_close(worker->waiter.connection);
    worker->waiter.connection = NULL;
    worker->waiter.waiting = false;
}

static bool is_wanted(const struct worker *worker)
{
    return worker->dry && !worker->waiter.impossible && worker->connection != NULL && wants_tasks(worker) &&
           !(worker->once && worker->running == 0);
}

static void begin_wait(struct worker *worker, int64_t now)
{
    struct waiter *waiter = &worker->waiter;
    cloaca_error error = {0};

    if (waiter->connection == NULL && cloaca_open(worker->invocation->url, &waiter->connection, &error) != CLOACA_OK) {
        wait_failed(worker, &error, now);
        return;
    }
    if (cloaca_wait_begin(waiter->connection, 1, &worker->queue, WAIT_LIMIT, &error) != CLOACA_OK) {
        wait_failed(worker, &error, now);
        return;
    }
    waiter->waiting = true;
    waiter->check_at = now;
}

/* The worker polls until it can wait again, if ever. */
static void wait_failed(struct worker *worker, const cloaca_error *error, int64_t now)
{
    struct waiter *waiter = &worker->waiter;

    waiter->waiting = false;
    waiter->impossible = error->status == CLOACA_UNKNOWN_FUNCTION || error->status == CLOACA_NOT_SUPPORTED;
    if (worker->verbose)
        note(worker, "cannot wait for work, polling %s: %s%s%s", waiter->impossible ? "from now on" : "for a while",
             error->message, error->detail[0] != '\0' ? ": " : "", error->detail);
    if (waiter->impossible || error->connection_lost)
        close_waiter(worker);
    waiter->backoff = waiter->backoff > 0 ? earlier(waiter->backoff * 2, BACKOFF_HIGH) : BACKOFF_LOW;
    waiter->next = now + waiter->backoff;
    worker->next_claim = earlier(worker->next_claim, now + worker->pause);
}
