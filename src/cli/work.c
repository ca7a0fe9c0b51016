/*
 * work.c - `cloaca work`: claims tasks, runs a command for each, reports how it ended
 *
 * The library's runner claims, extends leases, reports and ends; its handler runs the command (work_job.c). A thread takes the
 * signals, which all others block: the first SIGTERM lets commands end within the grace, the second ends that; SIGCHLD collects
 * what has ended, also what process 1 of a container inherits. A worker that dies loses nothing: the kernel kills its commands,
 * its leases end, and others take the tasks.
 */
#define _GNU_SOURCE
#include "work.h"

#include "process.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONCURRENCY_LIMIT 1000
/* After SIGKILL, for the command to be gone and collected. */
#define KILL_PATIENCE (5 * SECOND)

/* Who takes the signals. */
struct attendant {
    struct worker *worker;
    sigset_t signals;
    pthread_t thread;
    atomic_bool started; /* the runner */
    atomic_bool over;
};

static void configure(struct worker *worker, const struct invocation *invocation);
static cloaca_runner_options runner_options(struct worker *worker, const char *const *queue);
static void begin_attending(struct attendant *attendant);
static void do_nothing(int number);
static void *attend(void *attendant);
static void die(int number, const sigset_t *signals);
static void end_attending(struct attendant *attendant);
static int judge(const struct worker *worker, const cloaca_error *error);
static void on_log(void *worker, cloaca_log_level level, const char *message);
static void on_metric(void *worker, const cloaca_metric *metric);
static void print_summary(const struct worker *worker);

int run_work(const struct invocation *invocation)
{
    const char *queue = option_text(invocation, "queue") != NULL ? option_text(invocation, "queue") : "default";
    struct worker worker = {0};
    struct attendant attendant = {.worker = &worker};
    cloaca_runner_options options;
    cloaca_error error = {0};
    bool started;
    int status;

    configure(&worker, invocation);
    options = runner_options(&worker, &queue);
    if (cloaca_runner_new(&options, &worker.runner, &error) != CLOACA_OK)
        return report(invocation, &error);
    begin_attending(&attendant);
    started = cloaca_runner_register(worker.runner, NULL, run_command, &worker, &error) == CLOACA_OK &&
              cloaca_runner_start(worker.runner, &error) == CLOACA_OK;
    if (started) {
        atomic_store(&attendant.started, true);
        cloaca_runner_wait(worker.runner, &error);
        status = judge(&worker, &error);
    } else {
        status = report(invocation, &error);
    }
    end_attending(&attendant);
    cloaca_runner_free(worker.runner);
    if (started)
        print_summary(&worker);
    return status;
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
    if (name != NULL && strlen(name) >= sizeof worker->name)
        usage_error(invocation->command, "--worker must have at most %zu bytes", sizeof worker->name - 1);
    if (name != NULL)
        snprintf(worker->name, sizeof worker->name, "%s", name);
    else
        snprintf(worker->name, sizeof worker->name, "%s:%ld", host, (long) getpid());
    worker->kill_after = option_duration(invocation, "kill-after", 5 * SECOND);
    worker->defer = option_duration(invocation, "defer", 10 * SECOND);
    worker->raw = option_flag(invocation, "raw");
    worker->quiet = option_flag(invocation, "quiet");
    worker->verbose = option_flag(invocation, "verbose");
}

/* An option of 0 stands for the runner's default: where 0 was asked for, it gets a microsecond. */
static cloaca_runner_options runner_options(struct worker *worker, const char *const *queue)
{
    const struct invocation *invocation = worker->invocation;
    const int64_t grace = option_duration(invocation, "grace", 30 * SECOND);
    const int64_t timeout = option_duration(invocation, "timeout", 0);
    cloaca_runner_options options = {
        .url = database_url(invocation),
        .queue_count = 1,
        .queues = queue,
        .worker = worker->name,
        .max_concurrent_tasks = (int32_t) option_integer(invocation, "concurrency", 1, CONCURRENCY_LIMIT, 1),
        .poll = option_duration(invocation, "poll", SECOND / 10),
        .lease = option_duration(invocation, "lease", 0),
        .task_timeout = timeout > 0 ? timeout : CLOACA_NO_INTERVAL,
        .drain = grace > 0 ? grace : 1,
        .heed = worker->kill_after + KILL_PATIENCE,
        .max_tasks = option_integer(invocation, "max-tasks", 1, INT64_MAX, 0),
        .no_recovery = option_flag(invocation, "no-maintenance"),
        .stop_on_error = true,
        .log = on_log,
        .metric = on_metric,
        .user = worker,
    };

    if (option_text(invocation, "lease") != NULL && options.lease == 0)
        usage_error(invocation->command, "--lease must be more than 0");
    if (options.poll < 1000)
        usage_error(invocation->command, "--poll must be at least 1 ms");
    if (option_flag(invocation, "drain"))
        options.until = CLOACA_UNTIL_EMPTY;
    if (option_flag(invocation, "once"))
        options.until = CLOACA_UNTIL_IDLE;
    return options;
}

/* Before the runner has threads: they inherit what is blocked. */
static void begin_attending(struct attendant *attendant)
{
    static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
    struct sigaction action = {.sa_handler = do_nothing};

    sigemptyset(&action.sa_mask);
    sigemptyset(&attendant->signals);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction before;

        /* nohup stays in force; and what has no handler is not kept for us, in process 1 and of SIGCHLD. */
        if (sigaction(numbers[i], NULL, &before) == 0 && (before.sa_handler != SIG_IGN || numbers[i] == SIGCHLD)) {
            sigaction(numbers[i], &action, NULL);
            sigaddset(&attendant->signals, numbers[i]);
        }
    }
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &attendant->signals, NULL);
    if (pthread_create(&attendant->thread, NULL, attend, attendant) != 0) {
        perror("cloaca: cannot start a thread");
        exit(STATUS_ERROR);
    }
}

static void do_nothing(int number)
{
    (void) number;
}

static void *attend(void *context)
{
    struct attendant *attendant = context;
    struct worker *worker = attendant->worker;
    bool told = false;
    int number;

    while (sigwait(&attendant->signals, &number) == 0) {
        int running = atomic_load(&worker->running);

        if (number == SIGCHLD) {
            process_collect();
            if (atomic_load(&attendant->over))
                break;
            continue;
        }
        if (!atomic_load(&attendant->started))
            die(number, &attendant->signals);
        cloaca_runner_interrupt(worker->runner);
        if (!told && running > 0)
            note(worker, "%s: finishing %d running tasks", strsignal(number), running);
        told = true;
    }
    return NULL;
}

/* While it connects there is nothing to finish. Process 1 has to leave by itself. */
static void die(int number, const sigset_t *signals)
{
    signal(number, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
    raise(number);
    _exit(128 + number);
}

/* A runner that gave commands up leaves them to be collected here. */
static void end_attending(struct attendant *attendant)
{
    atomic_store(&attendant->over, true);
    pthread_kill(attendant->thread, SIGCHLD);
    pthread_join(attendant->thread, NULL);
    while (atomic_load(&attendant->worker->running) > 0) {
        process_collect();
        poll(NULL, 0, 20);
    }
}

/* What went wrong was said when it did, by on_log. */
static int judge(const struct worker *worker, const cloaca_error *error)
{
    if (error->status == CLOACA_TIMEOUT)
        return STATUS_TEMPORARY;
    if (error->status != CLOACA_OK && option_flag(worker->invocation, "json"))
        report(worker->invocation, error);
    else if (error->hint[0] != '\0')
        note(worker, "hint: %s", error->hint);
    return error->status != CLOACA_OK || atomic_load(&worker->unable) ? STATUS_ERROR : STATUS_OK;
}

static void on_log(void *context, cloaca_log_level level, const char *message)
{
    const struct worker *worker = context;

    if (worker->verbose || level >= CLOACA_LOG_WARNING)
        note(worker, "%s", message);
}

static void on_metric(void *context, const cloaca_metric *metric)
{
    struct worker *worker = context;

    atomic_fetch_add(&worker->events[metric->event], 1);
}

static void print_summary(const struct worker *worker)
{
    static const struct {
        const char *name;
        cloaca_job_event events[2];
    } counts[] = {
        {"claimed", {CLOACA_EVENT_CLAIMED}},
        {"completed", {CLOACA_EVENT_COMPLETED}},
        {"failed", {CLOACA_EVENT_RETRIED, CLOACA_EVENT_FAILED}},
        {"dead", {CLOACA_EVENT_FAILED}},
        {"deferred", {CLOACA_EVENT_DEFERRED}},
        {"released", {CLOACA_EVENT_RELEASED}},
        {"cancelled", {CLOACA_EVENT_CANCELLED}},
        {"lost", {CLOACA_EVENT_LEASE_LOST, CLOACA_EVENT_POSSIBLY_DONE}},
    };
    char numbers[sizeof counts / sizeof counts[0]][24];
    struct table table = {0};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        /* The first place is nobody's. */
        snprintf(numbers[i], sizeof numbers[i], "%lld",
                 atomic_load(&worker->events[counts[i].events[0]]) + atomic_load(&worker->events[counts[i].events[1]]));
        table_add_number(&table, counts[i].name, numbers[i]);
    }
    print_table(worker->invocation, &table, SHAPE_ROW);
    table_free(&table);
}
