/*
 * process.h - a command that runs for a task: its process group, its pipes, its end
 *
 * Each belongs to one thread, which never blocks on it: all pipes are non-blocking and served from its poll. Another thread
 * collects what has ended, ours and what a container's process 1 inherits, and tells the owner through a pipe. A lock guards
 * the list of what runs, so that no signal ever reaches another process that got the same id.
 */
#ifndef CLOACA_CLI_PROCESS_H
#define CLOACA_CLI_PROCESS_H

#include "text.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#define PROCESS_PIPES 4

struct process {
    struct process *next; /* in the list; lock */
    pid_t pid;            /* also its process group; 0 when it does not run; lock */
    int input;
    int output;
    int errors;
    int end;    /* how it began and ended comes through here */
    int told;   /* the other end; lock */
    bool ended; /* it was collected, and `status` is its wait status */
    int status;
    size_t written;        /* of the input */
    struct buffer result;  /* everything, up to PROCESS_OUTPUT_LIMIT */
    struct buffer trouble; /* the end */
    bool pass_errors;      /* copy stderr to ours */
    bool overflow;         /* it wrote more than we keep */
    int exec_error;        /* why it could not be started, or 0 */
};

#define PROCESS_OUTPUT_LIMIT (64 * 1024 * 1024)

/* Starts words[0] (looked up in PATH) with additional "NAME=value" variables up to a NULL. On failure errno says why. */
bool process_start(struct process *process, char *const *words, char *const *variables);
/* Fills up to PROCESS_PIPES entries with what to wait for; returns how many. */
size_t process_wait_for(const struct process *process, size_t input_length, struct pollfd *entries);
/* Moves what the pipes can take and give. */
void process_serve(struct process *process, const char *input, size_t length, const struct pollfd *entries, size_t count);
/* Signals the whole group, unless it has ended. */
void process_signal(const struct process *process, int signal_number);
/* After its end. */
void process_free(struct process *process);
/* Collects every child that has ended, at SIGCHLD, in one thread; what remains of the group of one of ours is killed then. */
void process_collect(void);

#endif
