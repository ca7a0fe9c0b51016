/*
 * process.c - a command that runs for a task (see process.h)
 *
 * Every command leads a process group, so that a signal reaches all that it started, and is killed by the kernel when the
 * worker dies (Linux: PR_SET_PDEATHSIG). A command has ended when its leader has: what remains of the group is killed then,
 * before the leader is collected, while its id cannot belong to anyone else.
 */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#define TAIL 8192
/* Blocks read in one go: one command that writes without end must not keep the others waiting. */
#define READS 32

static bool make_pipes(int pipes[4][2]);
static void run_child(int pipes[4][2], char *const *words, char *const *variables, pid_t parent) __attribute__((noreturn));
static void write_input(struct process *process, const char *input, size_t length);
static void read_output(struct process *process);
static void read_errors(struct process *process);
static void close_end(int *descriptor);

bool process_start(struct process *process, char *const *words, char *const *variables)
{
    int pipes[4][2];
    pid_t parent = getpid();
    pid_t pid;
    int problem;

    process->input = process->output = process->errors = process->failure = -1;
    if (!make_pipes(pipes))
        return false;
    pid = fork();
    problem = errno;
    if (pid == 0)
        run_child(pipes, words, variables, parent);
    for (int i = 0; i < 4; i++)
        close(pipes[i][i == 0 ? 0 : 1]);
    process->input = pipes[0][1];
    process->output = pipes[1][0];
    process->errors = pipes[2][0];
    process->failure = pipes[3][0];
    if (pid < 0) {
        process_free(process);
        errno = problem;
        return false;
    }
    /* The child does the same: whoever comes first. */
    setpgid(pid, pid);
    process->pid = pid;
    fcntl(process->input, F_SETFL, O_NONBLOCK);
    fcntl(process->output, F_SETFL, O_NONBLOCK);
    fcntl(process->errors, F_SETFL, O_NONBLOCK);
    fcntl(process->failure, F_SETFL, O_NONBLOCK);
    return true;
}

size_t process_wait_for(const struct process *process, size_t input_length, struct pollfd *entries)
{
    size_t count = 0;

    if (process->input >= 0 && process->written <= input_length)
        entries[count++] = (struct pollfd){process->input, POLLOUT, 0};
    if (process->output >= 0)
        entries[count++] = (struct pollfd){process->output, POLLIN, 0};
    if (process->errors >= 0)
        entries[count++] = (struct pollfd){process->errors, POLLIN, 0};
    return count;
}

void process_serve(struct process *process, const char *input, size_t length, const struct pollfd *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (entries[i].revents == 0)
            continue;
        if (entries[i].fd == process->input)
            write_input(process, input, length);
        else if (entries[i].fd == process->output)
            read_output(process);
        else if (entries[i].fd == process->errors)
            read_errors(process);
    }
}

void process_signal(const struct process *process, int signal_number)
{
    if (process->pid > 0)
        kill(-process->pid, signal_number);
}

int process_reap(struct process *process)
{
    int status = 0;
    int problem = 0;

    close_end(&process->input);
    process_signal(process, SIGKILL);
    read_output(process);
    read_errors(process);
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        ;
    process->pid = 0;
    if (read(process->failure, &problem, sizeof problem) == (ssize_t) sizeof problem)
        process->exec_error = problem;
    close_end(&process->output);
    close_end(&process->errors);
    close_end(&process->failure);
    return status;
}

void process_free(struct process *process)
{
    close_end(&process->input);
    close_end(&process->output);
    close_end(&process->errors);
    close_end(&process->failure);
    buffer_free(&process->result);
    buffer_free(&process->trouble);
}

/* stdin, stdout, stderr and the errno of exec; none of them is inherited as it is. */
static bool make_pipes(int pipes[4][2])
{
    for (int i = 0; i < 4; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) < 0) {
            int problem = errno;

            while (i-- > 0) {
                close(pipes[i][0]);
                close(pipes[i][1]);
            }
            errno = problem;
            return false;
        }
    }
    return true;
}

static void run_child(int pipes[4][2], char *const *words, char *const *variables, pid_t parent)
{
    sigset_t none;
    int problem;

    setpgid(0, 0);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent)
        _exit(127);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(pipes[0][0], STDIN_FILENO);
    dup2(pipes[1][1], STDOUT_FILENO);
    dup2(pipes[2][1], STDERR_FILENO);
    for (; *variables != NULL; variables++)
        putenv(*variables);
    execvp(words[0], words);
    problem = errno;
    while (write(pipes[3][1], &problem, sizeof problem) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* A command that does not read its stdin is not at fault. */
static void write_input(struct process *process, const char *input, size_t length)
{
    while (process->written < length) {
        ssize_t count = write(process->input, input + process->written, length - process->written);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count < 0)
            break;
        process->written += (size_t) count;
    }
    close_end(&process->input);
}

static void read_output(struct process *process)
{
    char block[65536];

    for (int i = 0; i < READS && process->output >= 0; i++) {
        ssize_t count = read(process->output, block, sizeof block);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count <= 0) {
            close_end(&process->output);
        } else if (process->result.length + (size_t) count > PROCESS_OUTPUT_LIMIT) {
            process->overflow = true;
            close_end(&process->output);
        } else {
            buffer_append(&process->result, block, (size_t) count);
        }
    }
}

static void read_errors(struct process *process)
{
    char block[65536];

    for (int i = 0; i < READS && process->errors >= 0; i++) {
        ssize_t count = read(process->errors, block, sizeof block);
        struct buffer *kept = &process->trouble;

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count <= 0) {
            close_end(&process->errors);
            return;
        }
        if (process->pass_errors && write(STDERR_FILENO, block, (size_t) count) < 0)
            process->pass_errors = false;
        buffer_append(kept, block, (size_t) count);
        if (kept->length > TAIL) {
            memmove(kept->data, kept->data + kept->length - TAIL, TAIL);
            kept->length = TAIL;
            kept->data[TAIL] = '\0';
        }
    }
}

static void close_end(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}
