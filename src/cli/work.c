/*
 * work.c - `cloaca work`: claims tasks, runs a command for each, reports how it ended
 *
 * One thread and one connection. The loop never waits for a command: it settles what has ended (complete, fail, release, ...),
 * extends leases at a third of their length, claims as many tasks as it has free slots, and then sleeps in poll until a command
 * writes, one ends, a signal comes or something is due. A report that could not be made (lock, lost connection, unknown commit)
 * is kept and repeated; one made twice is harmless, because every report carries its lease. A worker that dies loses nothing
 * either: the kernel kills its commands, its leases expire, and others take the tasks.
 *
 * The database's clock rules: the worker measures from the moment before a claim on its own monotonic clock, so that it always
 * believes a lease to end sooner than it does.
 */
#define _GNU_SOURCE
#include "cli.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND INT64_C(1000000)
#define NEVER INT64_MAX
#define DEFAULT_LEASE (30 * SECOND)
#define POLL_HIGH SECOND
#define UPKEEP_EVERY (10 * SECOND)
#define BACKOFF_LOW (SECOND / 10)
#define BACKOFF_HIGH (5 * SECOND)
#define DATABASE_PATIENCE (10 * SECOND)
#define CONCURRENCY_LIMIT 1000
#define EXIT_DEFER 75
#define EXIT_FINAL 100

/* How the worker will report a task. */
enum ending { ENDING_NONE, ENDING_COMPLETE, ENDING_FAIL, ENDING_FINAL, ENDING_DEFER, ENDING_RELEASE, ENDING_FORGET };

/* Why we ended a command ourselves. */
enum reason { REASON_NONE, REASON_CANCELLED, REASON_LOST, REASON_TIMEOUT, REASON_OVERFLOW, REASON_SHUTDOWN };

struct job {
    struct job *next;
    int64_t task;
    int64_t lease_id;
    int attempt;
    int max_attempts;
    char *payload;
    size_t payload_length;
    int64_t clock; /* the database's clock minus ours */
    int64_t extend_at;
    int64_t timeout_at;
    int64_t kill_at; /* SIGKILL follows SIGTERM */
    enum reason reason;
    enum ending ending;
    bool cancelled;     /* to be released to acknowledge it */
    bool unsure;        /* a report was sent whose outcome is unknown */
    struct buffer text; /* the result, or the error */
    struct process process;
    size_t first_entry; /* in the poll table */
    size_t entries;
};

struct worker {
    const struct invocation *invocation;
    cloaca *connection; /* NULL while it is lost */
    const char *queue;
    char name[201];
    int64_t lease;
    bool own_lease; /* --lease; else the queue's */
    int64_t timeout;
    int64_t grace;
    int64_t kill_after;
    int64_t defer;
    int64_t poll_low;
    int64_t pause; /* the next idle pause */
    int64_t backoff;
    int64_t max_tasks;
    size_t concurrency;
    bool once;
    bool drain;
    bool raw;
    bool maintain;
    bool quiet;
    bool verbose;

    struct job *jobs;
    size_t running; /* jobs whose command runs or whose report is not made */
    bool stopping;  /* no more claims */
    bool dry;       /* the last claim found nothing */
    bool drained;
    int signals;
    int status;
    int64_t next_claim;
    int64_t next_connect;
    int64_t next_report;
    int64_t next_upkeep;
    int64_t grace_at;
    int64_t give_up_at;
    struct pollfd *entries;

    int64_t claimed;
    int64_t completed;
    int64_t failed;
    int64_t dead;
    int64_t deferred;
    int64_t released;
    int64_t cancelled;
    int64_t lost;
};

static int signal_pipe[2] = {-1, -1};

static void configure(struct worker *worker, const struct invocation *invocation);
static void catch_signals(void);
static void on_signal(int number);
static void run_loop(struct worker *worker);
static bool finished(const struct worker *worker);
static void stop(struct worker *worker, int status);

static void connect_again(struct worker *worker);
static bool call_failed(struct worker *worker, const char *what, const cloaca_error *error);
static void upkeep(struct worker *worker, int64_t now);
static void learn_lease(struct worker *worker);

static void claim_tasks(struct worker *worker, int64_t now);
static void start_job(struct worker *worker, const cloaca_task *task, int64_t before);
static void launch(struct worker *worker, struct job *job, const cloaca_task *task);
static void set_payload(const struct worker *worker, struct job *job, const char *payload);
static void look_for_end(struct worker *worker);

static void extend_leases(struct worker *worker, int64_t now);
static void apply_extension(struct worker *worker, struct job *job, const char *outcome, int64_t now);

static void enforce_deadlines(struct worker *worker, int64_t now);
static void end_command(struct worker *worker, struct job *job, enum reason reason);
static void reap(struct worker *worker);
static void decide(struct worker *worker, struct job *job, int wait_status);
static void keep_result(struct job *job);
static void keep_error(struct job *job, int wait_status);

static void report_endings(struct worker *worker, int64_t now);
static bool complete_together(struct worker *worker);
static bool report_one(struct worker *worker, struct job *job);
static void settle(struct worker *worker, struct job *job, cloaca_status outcome);
static void remove_settled(struct worker *worker);

static void wait_for_events(struct worker *worker, int64_t now);
static int64_t next_event(const struct worker *worker, int64_t now);
static void take_signals(struct worker *worker);
static void note(const struct worker *worker, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print_summary(const struct worker *worker);
static int64_t earlier(int64_t one, int64_t other);

int run_work(const struct invocation *invocation)
{
    struct worker worker = {0};
    int status;

    configure(&worker, invocation);
    status = open_connection(invocation, &worker.connection);
    if (status != STATUS_OK)
        return status;
    catch_signals();
    run_loop(&worker);
    print_summary(&worker);
    cloaca_close(worker.connection);
    free(worker.entries);
    return worker.status;
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
    worker->entries = allocate((1 + PROCESS_PIPES * worker->concurrency) * sizeof *worker->entries);
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
        if (finished(worker))
            return;
        wait_for_events(worker, monotonic_now());
        take_signals(worker);
        reap(worker);
        enforce_deadlines(worker, monotonic_now());
    }
}

static bool finished(const struct worker *worker)
{
    bool done = worker->stopping || worker->drained || worker->claimed >= worker->max_tasks || (worker->once && worker->dry);

    return done && worker->running == 0;
}

/* No more claims; what runs may end within the grace. */
static void stop(struct worker *worker, int status)
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

static void connect_again(struct worker *worker)
{
    cloaca_error error = {0};

    if (cloaca_open(worker->invocation->url, &worker->connection, &error) == CLOACA_OK) {
        note(worker, "connected again");
        worker->next_report = worker->next_claim = 0;
        return;
    }
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
static bool call_failed(struct worker *worker, const char *what, const cloaca_error *error)
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

/* Every ten seconds: maintenance, and the queue's lease, which may have been changed. */
static void upkeep(struct worker *worker, int64_t now)
{
    cloaca_error error = {0};

    if (now < worker->next_upkeep)
        return;
    worker->next_upkeep = now + UPKEEP_EVERY;
    if (!worker->own_lease)
        learn_lease(worker);
    if (worker->maintain && worker->connection != NULL &&
        cloaca_call(worker->connection, "run_maintenance", NULL, NULL, &error) != CLOACA_OK &&
        (error.connection_lost || !error.retryable))
        call_failed(worker, "cannot maintain the queue", &error);
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

static void claim_tasks(struct worker *worker, int64_t now)
{
    int64_t room = (int64_t) (worker->concurrency - worker->running);
    int64_t before = monotonic_now();
    cloaca_tasks *tasks = NULL;
    cloaca_error error = {0};

    room = earlier(room, worker->max_tasks - worker->claimed);
    if (worker->connection == NULL || worker->stopping || worker->drained || room == 0 || now < worker->next_claim ||
        now < worker->next_report)
        return;
    if (cloaca_claim(worker->connection, worker->queue, worker->name, (int32_t) room, worker->lease, &tasks, &error) !=
        CLOACA_OK) {
        call_failed(worker, "cannot claim", &error);
        return;
    }
    worker->backoff = BACKOFF_LOW;
    for (size_t i = 0; i < tasks->count; i++)
        start_job(worker, &tasks->tasks[i], before);
    worker->dry = tasks->count == 0;
    if (worker->dry) {
        worker->next_claim = now + worker->pause;
        worker->pause = earlier(worker->pause * 2, worker->poll_low > POLL_HIGH ? worker->poll_low : POLL_HIGH);
        look_for_end(worker);
    } else {
        worker->pause = worker->poll_low;
    }
    cloaca_tasks_free(tasks);
}

static void start_job(struct worker *worker, const cloaca_task *task, int64_t before)
{
    struct job *job = allocate(sizeof *job);

    *job = (struct job){
        .next = worker->jobs,
        .task = task->task,
        .lease_id = task->lease_id,
        .attempt = task->attempt,
        .max_attempts = task->max_attempts,
        .clock = task->lease_until - worker->lease - before,
        .extend_at = before + worker->lease / 3,
        .timeout_at = worker->timeout > 0 ? before + worker->timeout : NEVER,
        .kill_at = NEVER,
        .process = {.pass_errors = !worker->quiet},
    };
    worker->jobs = job;
    worker->running++;
    worker->claimed++;
    set_payload(worker, job, task->payload);
    launch(worker, job, task);
}

static void launch(struct worker *worker, struct job *job, const cloaca_task *task)
{
    struct buffer variables[8] = {{0}};
    char *environment[sizeof variables / sizeof variables[0] + 1] = {NULL};
    size_t count = 0;

    buffer_format(&variables[count++], "CLOACA_TASK=%lld", (long long) task->task);
    buffer_format(&variables[count++], "CLOACA_LEASE_ID=%lld", (long long) task->lease_id);
    buffer_format(&variables[count++], "CLOACA_ATTEMPT=%d", (int) task->attempt);
    buffer_format(&variables[count++], "CLOACA_MAX_ATTEMPTS=%d", (int) task->max_attempts);
    buffer_format(&variables[count++], "CLOACA_PRIORITY=%d", (int) task->priority);
    buffer_format(&variables[count++], "CLOACA_NAME=%s", task->name);
    buffer_format(&variables[count++], "CLOACA_QUEUE=%s", worker->queue);
    buffer_format(&variables[count++], "CLOACA_WORKER=%s", worker->name);
    for (size_t i = 0; i < count; i++)
        environment[i] = variables[i].data;
    if (worker->verbose)
        note(worker, "task %lld: attempt %d of %d", (long long) job->task, job->attempt, job->max_attempts);
    if (!process_start(&job->process, worker->invocation->rest, environment)) {
        note(worker, "cannot start a process: %s", strerror(errno));
        job->ending = ENDING_RELEASE;
        worker->next_claim = monotonic_now() + SECOND;
    }
    for (size_t i = 0; i < count; i++)
        buffer_free(&variables[i]);
}

/* What the command reads: the payload and a newline; with --raw a JSON string is given as its text. */
static void set_payload(const struct worker *worker, struct job *job, const char *payload)
{
    json_t *value = worker->raw && payload[0] == '"' ? json_loads(payload, JSON_DECODE_ANY, NULL) : NULL;
    struct buffer text = {0};

    if (json_is_string(value))
        buffer_append(&text, json_string_value(value), json_string_length(value));
    else
        buffer_text(&text, payload);
    buffer_text(&text, "\n");
    json_decref(value);
    job->payload = text.data;
    job->payload_length = text.length;
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

/* All leases that are due, in one call. Commands that have ended keep theirs until the report is made. */
static void extend_leases(struct worker *worker, int64_t now)
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
            apply_extension(worker, job, cloaca_result_get(result, row++, "outcome"), now);
done:
    cloaca_result_free(result);
    buffer_free(&arguments);
    buffer_free(&leases);
    buffer_free(&tasks);
}

static void apply_extension(struct worker *worker, struct job *job, const char *outcome, int64_t now)
{
    job->extend_at = now + worker->lease / 3;
    if (strcmp(outcome, "lease_lost") == 0) {
        note(worker, "task %lld: the lease is lost", (long long) job->task);
        end_command(worker, job, REASON_LOST);
    } else if (strcmp(outcome, "cancelled") == 0 && job->reason == REASON_NONE) {
        end_command(worker, job, REASON_CANCELLED);
    }
}

static void enforce_deadlines(struct worker *worker, int64_t now)
{
    for (struct job *job = worker->jobs; job != NULL; job = job->next) {
        if (job->process.pid == 0)
            continue;
        if (job->kill_at <= now) {
            process_signal(&job->process, SIGKILL);
            job->kill_at = NEVER;
        }
        if (job->reason != REASON_NONE)
            continue;
        if (job->process.overflow)
            end_command(worker, job, REASON_OVERFLOW);
        else if (job->timeout_at <= now)
            end_command(worker, job, REASON_TIMEOUT);
        else if (worker->grace_at <= now)
            end_command(worker, job, REASON_SHUTDOWN);
    }
    if (worker->give_up_at <= now && worker->running > 0) {
        note(worker, "gave up reporting %zu tasks: their leases will expire", worker->running);
        for (struct job *job = worker->jobs; job != NULL; job = job->next)
            job->ending = job->process.pid == 0 ? ENDING_FORGET : job->ending;
        remove_settled(worker);
        worker->status = STATUS_TEMPORARY;
    }
}

/* SIGTERM, and SIGKILL after a while; when the task is another worker's by now, SIGKILL. */
static void end_command(struct worker *worker, struct job *job, enum reason reason)
{
    job->reason = reason;
    if (job->process.pid == 0) {
        /* It has ended already: the report will be told the same. */
        return;
    }
    process_signal(&job->process, reason == REASON_LOST ? SIGKILL : SIGTERM);
    job->kill_at = monotonic_now() + worker->kill_after;
}

/* Collects every child that has ended; as process 1 of a container also those that are not ours. */
static void reap(struct worker *worker)
{
    for (;;) {
        siginfo_t info = {0};
        struct job *job = worker->jobs;

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        while (job != NULL && job->process.pid != info.si_pid)
            job = job->next;
        if (job == NULL)
            waitpid(info.si_pid, NULL, 0);
        else
            decide(worker, job, process_reap(&job->process));
    }
}

/* From how the command ended to what is reported. */
static void decide(struct worker *worker, struct job *job, int wait_status)
{
    int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
    int problem = job->process.exec_error;

    if (problem != 0) {
        note(worker, "cannot run %s: %s", worker->invocation->rest[0], strerror(problem));
        job->ending = ENDING_RELEASE;
        worker->next_claim = monotonic_now() + SECOND;
        if (problem != EAGAIN && problem != ENOMEM && problem != EMFILE && problem != ENFILE && problem != ETXTBSY)
            stop(worker, STATUS_ERROR);
    } else if (job->reason == REASON_LOST) {
        job->ending = ENDING_FORGET;
        worker->lost++;
    } else if (job->reason == REASON_CANCELLED) {
        job->ending = ENDING_RELEASE;
        job->cancelled = true;
    } else if (job->process.overflow) {
        job->ending = ENDING_FINAL;
        buffer_text(&job->text, "the command wrote more than 64 MiB");
    } else if (code == 0) {
        job->ending = ENDING_COMPLETE;
        keep_result(job);
    } else if (job->reason == REASON_SHUTDOWN) {
        job->ending = ENDING_RELEASE;
    } else if (code == EXIT_DEFER && job->reason != REASON_TIMEOUT) {
        job->ending = ENDING_DEFER;
    } else {
        job->ending = code == EXIT_FINAL && job->reason != REASON_TIMEOUT ? ENDING_FINAL : ENDING_FAIL;
        keep_error(job, wait_status);
    }
    buffer_free(&job->process.result);
    buffer_free(&job->process.trouble);
}

/* JSON as it is, other text as a JSON string, nothing as null. */
static void keep_result(struct job *job)
{
    struct buffer *output = &job->process.result;
    const char *problem;

    while (output->length > 0 && strchr(" \t\r\n", output->data[output->length - 1]) != NULL &&
           output->data[output->length - 1] != '\0')
        output->data[--output->length] = '\0';
    if (output->length == 0)
        buffer_text(&job->text, "null");
    else if (memchr(output->data, '\0', output->length) == NULL && json_check(output->data, output->length, &problem))
        buffer_append(&job->text, output->data, output->length);
    else
        buffer_json(&job->text, output->data, output->length);
}

/* "exit status 3: the end of stderr" */
static void keep_error(struct job *job, int wait_status)
{
    struct buffer *trouble = &job->process.trouble;
    size_t start = 0;

    if (job->reason == REASON_TIMEOUT)
        buffer_text(&job->text, "timed out");
    else if (WIFSIGNALED(wait_status))
        buffer_format(&job->text, "killed by signal %d (%s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    else
        buffer_format(&job->text, "exit status %d", WEXITSTATUS(wait_status));
    while (trouble->length > 0 && strchr(" \t\r\n", trouble->data[trouble->length - 1]) != NULL)
        trouble->length--;
    if (trouble->length > 0)
        buffer_text(&job->text, ": ");
    while (start < trouble->length) {
        size_t size = utf8_character(trouble->data + start, trouble->length - start);

        if (size == 0 || trouble->data[start] == '\0')
            buffer_text(&job->text, "\xEF\xBF\xBD");
        else
            buffer_append(&job->text, trouble->data + start, size);
        start += size > 0 ? size : 1;
    }
}

static void report_endings(struct worker *worker, int64_t now)
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
        status = cloaca_defer_until(worker->connection, job->task, job->lease_id, monotonic_now() + job->clock + worker->defer,
                                    &error);
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

static void remove_settled(struct worker *worker)
{
    struct job **link = &worker->jobs;
    bool removed = false;

    while (*link != NULL) {
        struct job *job = *link;

        if (job->ending != ENDING_FORGET) {
            link = &job->next;
            continue;
        }
        *link = job->next;
        removed = true;
        worker->running--;
        process_free(&job->process);
        buffer_free(&job->text);
        free(job->payload);
        free(job);
    }
    /* The last one is gone: whether the queue is drained need not wait for the end of the pause. */
    if (removed && worker->drain && worker->running == 0)
        worker->next_claim = 0;
}

/* Sleeps until something happens or is due, and serves the pipes. */
static void wait_for_events(struct worker *worker, int64_t now)
{
    int64_t until = next_event(worker, now);
    int64_t timeout = until <= now ? 0 : (until - now + 999) / 1000;
    size_t count = 1;

    worker->entries[0] = (struct pollfd){signal_pipe[0], POLLIN, 0};
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
    int64_t next = worker->next_upkeep > reports ? worker->next_upkeep : reports;
    bool claims =
        !worker->stopping && !worker->drained && worker->running < worker->concurrency && worker->claimed < worker->max_tasks;

    if (claims && worker->connection != NULL)
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
    return earlier(next, worker->give_up_at);
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

static void note(const struct worker *worker, const char *format, ...)
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

static int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}
