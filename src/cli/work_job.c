/*
 * work_job.c - the commands of `cloaca work`: started, ended in time, collected, and what is made of how they ended
 *
 * Nothing here asks the database: a job is left with its ending, which work_report.c reports.
 */
#define _GNU_SOURCE
#include "work.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define EXIT_DEFER 75
#define EXIT_FINAL 100

static void launch(struct worker *worker, struct job *job, const cloaca_task *task);
static void set_payload(const struct worker *worker, struct job *job, const char *payload);
static void decide(struct worker *worker, struct job *job, int wait_status);
static void keep_result(struct job *job);
static void keep_error(struct job *job, int wait_status);

void start_job(struct worker *worker, const cloaca_task *task, int64_t before)
{
    struct job *job = allocate(sizeof *job);

    *job = (struct job){
        .next = worker->jobs,
        .task = task->task,
        .lease_id = task->lease_id,
        .execution = task->execution,
        .attempt = task->attempt,
        .max_attempts = task->max_attempts,
        .extend_at = extend_time(worker, task->lease_until, before),
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

void enforce_deadlines(struct worker *worker, int64_t now)
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
void end_command(struct worker *worker, struct job *job, enum reason reason)
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
void reap(struct worker *worker)
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

static void launch(struct worker *worker, struct job *job, const cloaca_task *task)
{
    struct buffer variables[9] = {{0}};
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
    if (task->execution != 0)
        buffer_format(&variables[count++], "CLOACA_EXECUTION=%lld", (long long) task->execution);
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
