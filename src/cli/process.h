/*
 * process.h - a command that runs for a task: its process group, its pipes, its end
 *
 * The parent never blocks on a child: all pipes are non-blocking and served from the caller's poll.
 */
#ifndef CLOACA_CLI_PROCESS_H
#define CLOACA_CLI_PROCESS_H

#include "text.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#define PROCESS_PIPES 3

struct process {
    pid_t pid; /* also its process group; 0 when it does not run */
    int input;
    int output;
    int errors;
    int failure;           /* the errno of an exec that failed comes through here */
    size_t written;        /* of the input */
    struct buffer result;  /* everything, up to PROCESS_OUTPUT_LIMIT */
    struct buffer trouble; /* the end */
    bool pass_errors;      /* copy stderr to ours */
    bool overflow;         /* it wrote more than we keep */
    int exec_error;        /* set by process_reap: why it could not be started, or 0 */
};

#define PROCESS_OUTPUT_LIMIT (64 * 1024 * 1024)

/* Starts words[0] (looked up in PATH) with additional "NAME=value" variables up to a NULL. On failure errno says why. */
bool process_start(struct process *process, char *const *words, char *const *variables);
/* Fills up to PROCESS_PIPES entries with what to wait for; returns how many. */
size_t process_wait_for(const struct process *process, size_t input_length, struct pollfd *entries);
/* Moves what the pipes can take and give. */
void process_serve(struct process *process, const char *input, size_t length, const struct pollfd *entries, size_t count);
/* Signals the whole group. */
void process_signal(const struct process *process, int signal_number);
/* After its end: kills what remains of its group, reads what it left, collects it. Returns the wait status. */
int process_reap(struct process *process);
void process_free(struct process *process);

#endif
