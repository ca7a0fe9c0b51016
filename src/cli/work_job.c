/*
 * work_job.c - the commands of `cloaca work`: started, served, ended in time, and what is made of how they ended
 *
 * Each runs on a thread of the runner, which sleeps in poll until the command writes or ends, or the runner says that there is
 * no use in going on. Nothing here asks the database.
 */
#define _GNU_SOURCE
#include "work.h"

#include "process.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define EXIT_DEFER 75
#define EXIT_FINAL 100
#define NEVER INT64_MAX
/* Where the runner has no descriptor, or has told its last word but one. */
#define LOOK_EVERY (SECOND / 20)

/* A command for a task. */
struct run {
    struct worker *worker;
    cloaca_job *job;
    struct process process;
    struct buffer payload;
    struct buffer text; /* the result, or the error */
    int64_t kill_at;    /* SIGKILL follows SIGTERM */
    bool told;
    bool killed;
};

static bool launch(struct run *run);
static void set_payload(struct run *run);
static void serve(struct run *run);
static void enforce(struct run *run);
static cloaca_job_outcome decide(struct run *run);
static cloaca_job_outcome take_start(struct run *run, int problem);
static void keep_result(struct run *run);
static void keep_error(struct run *run, bool late);

cloaca_job_outcome run_command(cloaca_job *job, void *context)
{
    struct worker *worker = context;
    struct run run = {.worker = worker, .job = job, .process = {.pass_errors = !worker->quiet}, .kill_at = NEVER};
    cloaca_job_outcome outcome = CLOACA_JOB_RELEASED;

    if (worker->verbose)
        note(worker, "task %lld: attempt %d of %d", (long long) cloaca_job_task(job), (int) cloaca_job_attempt(job),
             (int) cloaca_job_max_attempts(job));
    atomic_fetch_add(&worker->running, 1);
    set_payload(&run);
    if (launch(&run)) {
        serve(&run);
        outcome = decide(&run);
    } else {
        note(worker, "cannot start a process: %s", strerror(errno));
        cloaca_job_pause(job, SECOND);
    }
    atomic_fetch_sub(&worker->running, 1);
    process_free(&run.process);
    buffer_free(&run.payload);
    buffer_free(&run.text);
    return outcome;
}

static bool launch(struct run *run)
{
    const cloaca_job *job = run->job;
    struct buffer variables[9] = {{0}};
    char *environment[sizeof variables / sizeof variables[0] + 1] = {NULL};
    size_t count = 0;
    bool started;
    int problem;

    buffer_format(&variables[count++], "CLOACA_TASK=%lld", (long long) cloaca_job_task(job));
    buffer_format(&variables[count++], "CLOACA_LEASE_ID=%lld", (long long) cloaca_job_lease_id(job));
    buffer_format(&variables[count++], "CLOACA_ATTEMPT=%d", (int) cloaca_job_attempt(job));
    buffer_format(&variables[count++], "CLOACA_MAX_ATTEMPTS=%d", (int) cloaca_job_max_attempts(job));
    buffer_format(&variables[count++], "CLOACA_PRIORITY=%d", (int) cloaca_job_priority(job));
    buffer_format(&variables[count++], "CLOACA_NAME=%s", cloaca_job_name(job));
    buffer_format(&variables[count++], "CLOACA_QUEUE=%s", cloaca_job_queue(job));
    buffer_format(&variables[count++], "CLOACA_WORKER=%s", run->worker->name);
    if (cloaca_job_execution(job) != 0)
        buffer_format(&variables[count++], "CLOACA_EXECUTION=%lld", (long long) cloaca_job_execution(job));
    for (size_t i = 0; i < count; i++)
        environment[i] = variables[i].data;
    started = process_start(&run->process, run->worker->invocation->rest, environment);
    problem = errno;
    for (size_t i = 0; i < count; i++)
        buffer_free(&variables[i]);
    errno = problem;
    return started;
}

/* What the command reads: the payload and a newline; with --raw a JSON string is given as its text. */
static void set_payload(struct run *run)
{
    const char *payload = cloaca_job_payload(run->job);
    json_t *value = run->worker->raw && payload[0] == '"' ? json_loads(payload, JSON_DECODE_ANY, NULL) : NULL;

    if (json_is_string(value))
        buffer_append(&run->payload, json_string_value(value), json_string_length(value));
    else
        buffer_text(&run->payload, payload);
    buffer_text(&run->payload, "\n");
    json_decref(value);
}

/* Until the command has ended. */
static void serve(struct run *run)
{
    struct pollfd entries[PROCESS_PIPES + 1];
    const int descriptor = cloaca_job_descriptor(run->job);

    while (!run->process.ended) {
        const size_t count = process_wait_for(&run->process, run->payload.length, entries + 1);
        const int64_t now = monotonic_now();
        int64_t left = run->told || descriptor < 0 ? LOOK_EVERY : 60 * SECOND;

        left = run->kill_at - now < left ? run->kill_at - now : left;
        /* It can be read from the first word on. */
        entries[0] = (struct pollfd){run->told ? -1 : descriptor, POLLIN, 0};
        if (poll(entries, (nfds_t) count + 1, left > 0 ? (int) ((left + 999) / 1000) : 0) > 0)
            process_serve(&run->process, run->payload.data, run->payload.length, entries + 1, count);
        enforce(run);
    }
}

/* SIGTERM, and SIGKILL after a while; when the task is another worker's by now, SIGKILL. */
static void enforce(struct run *run)
{
    const cloaca_stop_reason reason = cloaca_job_is_cancelled(run->job);

    if (!run->told && (reason != CLOACA_GO_ON || run->process.overflow)) {
        run->told = true;
        run->kill_at = monotonic_now() + run->worker->kill_after;
        process_signal(&run->process, SIGTERM);
    }
    if (!run->killed && (reason == CLOACA_STOP_LEASE_LOST || run->kill_at <= monotonic_now())) {
        run->killed = true;
        run->kill_at = NEVER;
        process_signal(&run->process, SIGKILL);
    }
}

/* From how the command ended to what is reported. Of a task that was cancelled or lost the runner knows. */
static cloaca_job_outcome decide(struct run *run)
{
    const cloaca_stop_reason reason = cloaca_job_is_cancelled(run->job);
    const int code = WIFEXITED(run->process.status) ? WEXITSTATUS(run->process.status) : -1;
    const bool late = reason == CLOACA_STOP_TIMED_OUT;

    if (run->process.exec_error != 0)
        return take_start(run, run->process.exec_error);
    if (reason == CLOACA_STOP_LEASE_LOST || reason == CLOACA_STOP_CANCELLED)
        return CLOACA_JOB_RELEASED;
    if (run->process.overflow) {
        cloaca_job_set_error(run->job, "the command wrote more than 64 MiB");
        return CLOACA_JOB_FAILED;
    }
    if (code == 0) {
        keep_result(run);
        return CLOACA_JOB_DONE;
    }
    if (reason == CLOACA_STOP_RUNNER)
        return CLOACA_JOB_RELEASED;
    if (code == EXIT_DEFER && !late) {
        cloaca_job_sleep_for(run->job, run->worker->defer);
        return CLOACA_JOB_DEFERRED;
    }
    keep_error(run, late);
    return code == EXIT_FINAL ? CLOACA_JOB_FAILED : CLOACA_JOB_RETRY;
}

/* It could not be started: for now, or not at all, which ends the worker. */
static cloaca_job_outcome take_start(struct run *run, int problem)
{
    struct worker *worker = run->worker;

    note(worker, "cannot run %s: %s", worker->invocation->rest[0], strerror(problem));
    if (problem == EAGAIN || problem == ENOMEM || problem == EMFILE || problem == ENFILE || problem == ETXTBSY)
        cloaca_job_pause(run->job, SECOND);
    else if (!atomic_exchange(&worker->unable, true))
        cloaca_runner_interrupt(worker->runner);
    return CLOACA_JOB_RELEASED;
}

/* JSON as it is, other text as a JSON string, nothing as null. */
static void keep_result(struct run *run)
{
    struct buffer *output = &run->process.result;
    const char *problem;

    while (output->length > 0 && strchr(" \t\r\n", output->data[output->length - 1]) != NULL &&
           output->data[output->length - 1] != '\0')
        output->data[--output->length] = '\0';
    if (output->length == 0) {
        cloaca_job_set_result(run->job, "null");
    } else if (memchr(output->data, '\0', output->length) == NULL && json_check(output->data, output->length, &problem)) {
        cloaca_job_set_result(run->job, output->data);
    } else {
        buffer_json(&run->text, output->data, output->length);
        cloaca_job_set_result(run->job, run->text.data);
    }
}

/* "exit status 3: the end of stderr"; only that end where the runner says that the time was over. */
static void keep_error(struct run *run, bool late)
{
    struct buffer *trouble = &run->process.trouble;
    const int status = run->process.status;
    size_t start = 0;

    if (!late && WIFSIGNALED(status))
        buffer_format(&run->text, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (!late)
        buffer_format(&run->text, "exit status %d", WEXITSTATUS(status));
    while (trouble->length > 0 && strchr(" \t\r\n", trouble->data[trouble->length - 1]) != NULL)
        trouble->length--;
    if (trouble->length > 0 && !late)
        buffer_text(&run->text, ": ");
    /* The library replaces other bytes that are no text. */
    while (start < trouble->length) {
        size_t size = strnlen(trouble->data + start, trouble->length - start);

        buffer_append(&run->text, trouble->data + start, size);
        if (start + size < trouble->length)
            buffer_text(&run->text, "\xEF\xBF\xBD");
        start += size + 1;
    }
    cloaca_job_set_error(run->job, run->text.length > 0 ? run->text.data : NULL);
}
