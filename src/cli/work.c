/*
 * work.c - `cloaca work`: claims tasks, runs a command for each, reports how it ended
 *
 * One thread, a connection that claims and reports, and another that waits while there is nothing to claim. The loop never
 * waits for a command: it settles what has ended (complete, fail, release, ...), extends leases at a third of their length,
 * claims as many tasks as it has free slots, and then sleeps in poll until a command writes, one ends, a signal comes, there is
 * work again or something is due. A worker that dies loses nothing: the kernel kills its commands, its leases end, and others
 * take the tasks.
 */
#define _GNU_SOURCE
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DATABASE_PATIENCE (10 * SECOND)
#define CONCURRENCY_LIMIT 1000

static int signal_pipe[2] = {-1, -1};

static void configure(struct worker *worker, const struct invocation *invocation);
static void catch_signals(void);
static void on_signal(int number);
static void run_loop(struct worker *worker);
static bool finished(const struct worker *worker);
static void wait_for_events(struct worker *worker, int64_t now);
static int64_t next_event(const struct worker *worker, int64_t now);
static void take_signals(struct worker *worker);
static void print_summary(const struct worker *worker);

int run_work(const struct invocation *invocation)
{
    struct worker worker = {0};
    int status;

    configure(&worker, invocation);
    status = open_worker(&worker);
    if (status != STATUS_OK)
        return status;
    catch_signals();
    run_loop(&worker);
    close_waiter(&worker);
    print_summary(&worker);
    cloaca_close(worker.connection);
    free(worker.entries);
    return worker.status;
}

/* No more claims; what runs may end within the grace. */
void stop(struct worker *worker, int status)
{
    int64_t now = monotonic_now();

    if (worker->status == STATUS_OK)
        worker->status = status;
    if (worker->stopping)
        return;
    worker->stopping = true;
    worker->grace_at = now + worker->grace;
    worker->give_up_at = worker->grace_at + worker->kill_after + DATABASE_PATIENCE;
}

void note(const struct worker *worker, const char *format, ...)
{
    struct buffer line = {0};
    va_list values;
    char text[2048];

    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    buffer_format(&line, "cloaca work %s: %s\n", worker->name, text);
    fputs(buffer_value(&line), stderr);
    buffer_free(&line);
}

static void configure(struct worker *worker, const struct invocation *invocation)
{
    char host[128] = "worker";
    const char *name = option_text(invocation, "worker");

    gethostname(host, sizeof host - 1);
    worker->invocation = invocation;
    worker->queue = option_text(invocation, "queue") != NULL ? option_text(invocation, "queue") : "default";
    if (name != NULL && strlen(name) >= sizeof worker->name)
        usage_error(invocation->command, "--worker must have at most %zu bytes", sizeof worker->name - 1);
    if (name != NULL)
        snprintf(worker->name, sizeof worker->name, "%s", name);
    else
        snprintf(worker->name, sizeof worker->name, "%s:%ld", host, (long) getpid());
    worker->own_lease = option_text(invocation, "lease") != NULL;
    worker->lease = option_duration(invocation, "lease", DEFAULT_LEASE);
    if (worker->lease == 0)
        usage_error(invocation->command, "--lease must be more than 0");
    worker->timeout = option_duration(invocation, "timeout", 0);
    worker->grace = option_duration(invocation, "grace", 30 * SECOND);
    worker->kill_after = option_duration(invocation, "kill-after", 5 * SECOND);
    worker->defer = option_duration(invocation, "defer", 10 * SECOND);
    worker->poll_low = option_duration(invocation, "poll", SECOND / 10);
    if (worker->poll_low < 1000)
        usage_error(invocation->command, "--poll must be at least 1 ms");
    worker->concurrency = (size_t) option_integer(invocation, "concurrency", 1, CONCURRENCY_LIMIT, 1);
    worker->max_tasks = option_integer(invocation, "max-tasks", 1, INT64_MAX, INT64_MAX);
    worker->once = option_flag(invocation, "once");
    worker->drain = option_flag(invocation, "drain");
    worker->raw = option_flag(invocation, "raw");
    worker->maintain = !option_flag(invocation, "no-maintenance");
    worker->quiet = option_flag(invocation, "quiet");
    worker->verbose = option_flag(invocation, "verbose");
    worker->pause = worker->poll_low;
    worker->backoff = BACKOFF_LOW;
    worker->grace_at = worker->give_up_at = NEVER;
    worker->entries = allocate((2 + PROCESS_PIPES * worker->concurrency) * sizeof *worker->entries);
}

/* Signals become bytes in a pipe, which poll waits for. */
static void catch_signals(void)
{
    static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        perror("cloaca: cannot make a pipe");
        exit(STATUS_ERROR);
    }
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction before;

        /* nohup stays in force. */
        if (sigaction(numbers[i], NULL, &before) == 0 && (before.sa_handler != SIG_IGN || numbers[i] == SIGCHLD))
            sigaction(numbers[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
}

static void on_signal(int number)
{
    int saved = errno;
    char byte = (char) number;

    /* A full pipe wakes the loop just as well. */
    if (write(signal_pipe[1], &byte, 1) < 0)
        errno = saved;
    errno = saved;
}

static void run_loop(struct worker *worker)
{
    for (;;) {
        int64_t now = monotonic_now();

        if (worker->connection == NULL && now >= worker->next_connect)
            connect_again(worker);
        if (worker->connection != NULL && now >= worker->next_report) {
            upkeep(worker, now);
            report_endings(worker, now);
            extend_leases(worker, monotonic_now());
            claim_tasks(worker, monotonic_now());
        }
        wait_for_work(worker, monotonic_now());
        if (finished(worker))
            return;
        wait_for_events(worker, monotonic_now());
        take_signals(worker);
        check_waiter(worker, monotonic_now());
        reap(worker);
        enforce_deadlines(worker, monotonic_now());
    }
}

static bool finished(const struct worker *worker)
{
    bool done = worker->stopping || worker->drained || worker->claimed >= worker->max_tasks || (worker->once && worker->dry);

    return done && worker->running == 0;
}

/* Sleeps until something happens or is due, and serves the pipes. */
static void wait_for_events(struct worker *worker, int64_t now)
{
    int64_t until = next_event(worker, now);
    int64_t timeout = until <= now ? 0 : (until - now + 999) / 1000;
    size_t count = 1;

    worker->entries[0] = (struct pollfd){signal_pipe[0], POLLIN, 0};
    count += waiter_entries(worker, worker->entries + count);
    for (struct job *job = worker->jobs; job != NULL; job = job->next) {
        job->first_entry = count;
        job->entries = process_wait_for(&job->process, job->payload_length, worker->entries + count);
        count += job->entries;
    }
    if (poll(worker->entries, (nfds_t) count, timeout > 60000 ? 60000 : (int) timeout) <= 0)
        return;
    for (struct job *job = worker->jobs; job != NULL; job = job->next)
        process_serve(&job->process, job->payload, job->payload_length, worker->entries + job->first_entry, job->entries);
}

static int64_t next_event(const struct worker *worker, int64_t now)
{
    int64_t reports = worker->connection == NULL ? worker->next_connect : worker->next_report;
    int64_t due = earlier(worker->next_upkeep, worker->next_due);
    int64_t next = due > reports ? due : reports;

    if (wants_tasks(worker) && !waits_for_work(worker) && worker->connection != NULL)
        next = earlier(next, worker->next_claim > reports ? worker->next_claim : reports);
    for (const struct job *job = worker->jobs; job != NULL; job = job->next) {
        if (job->ending != ENDING_NONE)
            next = earlier(next, reports);
        if (job->process.pid != 0) {
            next = earlier(next, job->reason == REASON_NONE ? earlier(job->timeout_at, worker->grace_at) : job->kill_at);
            next = earlier(next, job->extend_at > reports ? job->extend_at : reports);
            next = job->process.overflow && job->reason == REASON_NONE ? now : next;
        }
    }
    return earlier(earlier(next, waiter_event(worker)), worker->give_up_at);
}

/* The first SIGTERM or SIGINT lets commands end within the grace, the second ends it. */
static void take_signals(struct worker *worker)
{
    char bytes[256];
    ssize_t count;

    while ((count = read(signal_pipe[0], bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < count; i++) {
            if (bytes[i] == SIGCHLD)
                continue;
            worker->signals++;
            stop(worker, STATUS_OK);
            if (worker->signals > 1)
                worker->grace_at = monotonic_now();
            else if (worker->running > 0)
                note(worker, "%s: finishing %zu running tasks", strsignal(bytes[i]), worker->running);
        }
}

static void print_summary(const struct worker *worker)
{
    const struct {
        const char *name;
        int64_t count;
    } counts[] = {
        {"claimed", worker->claimed},     {"completed", worker->completed}, {"failed", worker->failed},
        {"dead", worker->dead},           {"deferred", worker->deferred},   {"released", worker->released},
        {"cancelled", worker->cancelled}, {"lost", worker->lost},
    };
    char numbers[sizeof counts / sizeof counts[0]][24];
    struct table table = {0};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%lld", (long long) counts[i].count);
        table_add_number(&table, counts[i].name, numbers[i]);
    }
    print_table(worker->invocation, &table, SHAPE_ROW);
    table_free(&table);
}
