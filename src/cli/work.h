/*
 * work.h - what the parts of `cloaca work` share
 *
 * work.c has the options, the runner of the library, and the signals; work_job.c the commands, each on a thread of the runner.
 */
#ifndef CLOACA_CLI_WORK_H
#define CLOACA_CLI_WORK_H

#include "cli.h"

#include <stdatomic.h>

#define SECOND INT64_C(1000000)

/* Settled before the threads start, but for what is atomic. */
struct worker {
    const struct invocation *invocation;
    cloaca_runner *runner;
    char name[201];
    int64_t kill_after;
    int64_t defer;
    bool raw;
    bool quiet;
    bool verbose;
    atomic_int running; /* commands */
    atomic_bool unable; /* the command cannot be started at all */
    atomic_llong events[CLOACA_EVENT_POSSIBLY_DONE + 1];
};

/* work.c: a line about the worker on stderr. */
void note(const struct worker *worker, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* work_job.c: the handler of the runner; `worker` is ours. */
cloaca_job_outcome run_command(cloaca_job *job, void *worker);

#endif
