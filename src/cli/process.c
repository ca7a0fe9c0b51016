/*
 * process.c - a command that runs for a task (see process.h)
 *
 * Every command leads a process group, so that a signal reaches all that it started, and is killed by the kernel when the
 * thread that started it ends, and so when the worker dies (Linux: PR_SET_PDEATHSIG). A command has ended when its leader has:
 * what remains of the group is killed then, before the leader is collected, while its id cannot belong to anyone else.
 *
 * The child of a process with threads may only do what a signal handler may: its environment is made before the fork.
 */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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

/* What comes through the last pipe: from the child why exec failed, from whoever collects it how it ended. */
struct message {
    int ended;
    int value;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct process *running;

static bool make_pipes(int pipes[4][2]);
static char **make_environment(char *const *variables);
static bool is_set(const char *entry, char *const *variables);
static void run_child(int pipes[4][2], char *const *words, char *const *environment, pid_t parent) __attribute__((noreturn));
static void end_process(pid_t pid);
static void write_input(struct process *process, const char *input, size_t length);
static void read_output(struct process *process);
static void read_errors(struct process *process);
static void read_end(struct process *process);
static void close_end(int *descriptor);

bool process_start(struct process *process, char *const *words, char *const *variables)
{
    int pipes[4][2];
    char **environment;
    pid_t parent = getpid();
    pid_t pid;
    int problem;

    process->input = process->output = process->errors = process->end = process->told = -1;
    if (!make_pipes(pipes))
        return false;
    environment = make_environment(variables);
    /* It is in the list before it can be found to have ended. */
    pthread_mutex_lock(&lock);
    pid = fork();
    problem = errno;
    if (pid == 0)
        run_child(pipes, words, environment, parent);
    if (pid > 0) {
        /* The child does the same: whoever comes first. */
        setpgid(pid, pid);
        process->pid = pid;
        process->told = pipes[3][1];
        process->next = running;
        running = process;
    }
    pthread_mutex_unlock(&lock);
    free(environment);
    for (int i = 0; i < 3; i++)
        close(pipes[i][i == 0 ? 0 : 1]);
    process->input = pipes[0][1];
    process->output = pipes[1][0];
    process->errors = pipes[2][0];
    process->end = pipes[3][0];
    if (pid < 0) {
        close(pipes[3][1]);
        process_free(process);
        errno = problem;
        return false;
    }
    fcntl(process->input, F_SETFL, O_NONBLOCK);
    fcntl(process->output, F_SETFL, O_NONBLOCK);
    fcntl(process->errors, F_SETFL, O_NONBLOCK);
    fcntl(process->end, F_SETFL, O_NONBLOCK);
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
    entries[count++] = (struct pollfd){process->end, POLLIN, 0};
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
        else if (entries[i].fd == process->end)
            read_end(process);
    }
}

void process_signal(const struct process *process, int signal_number)
{
    pthread_mutex_lock(&lock);
    if (process->pid > 0)
        kill(-process->pid, signal_number);
    pthread_mutex_unlock(&lock);
}

void process_collect(void)
{
    for (;;) {
        siginfo_t info = {0};

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        end_process(info.si_pid);
    }
}

void process_free(struct process *process)
{
    close_end(&process->input);
    close_end(&process->output);
    close_end(&process->errors);
    close_end(&process->end);
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

/* Ours with the variables, which take the place of any of the same name. */
static char **make_environment(char *const *variables)
{
    size_t count = 0;
    size_t length = 0;
    char **made;

    while (environ[count] != NULL)
        count++;
    for (char *const *variable = variables; *variable != NULL; variable++)
        count++;
    made = allocate((count + 1) * sizeof *made);
    for (char **entry = environ; *entry != NULL; entry++)
        if (!is_set(*entry, variables))
            made[length++] = *entry;
    for (; *variables != NULL; variables++)
        made[length++] = *variables;
    made[length] = NULL;
    return made;
}

static bool is_set(const char *entry, char *const *variables)
{
    const size_t length = strcspn(entry, "=");

    for (; *variables != NULL; variables++)
        if (strncmp(entry, *variables, length) == 0 && (*variables)[length] == '=')
            return true;
    return false;
}

static void run_child(int pipes[4][2], char *const *words, char *const *environment, pid_t parent)
{
    struct message message = {0, 0};
    sigset_t none;

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
    execvpe(words[0], words, environment);
    message.value = errno;
    while (write(pipes[3][1], &message, sizeof message) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* Collects one child, and tells its owner if it has one. */
static void end_process(pid_t pid)
{
    struct process **link = &running;
    struct message message = {1, 0};

    pthread_mutex_lock(&lock);
    while (*link != NULL && (*link)->pid != pid)
        link = &(*link)->next;
    if (*link != NULL)
        kill(-pid, SIGKILL);
    while (waitpid(pid, &message.value, 0) < 0 && errno == EINTR)
        ;
    if (*link != NULL) {
        struct process *process = *link;
        int told = process->told;

        /* Its owner is free to go as soon as it is told. */
        *link = process->next;
        process->pid = 0;
        process->told = -1;
        while (write(told, &message, sizeof message) < 0 && errno == EINTR)
            ;
        close(told);
    }
    pthread_mutex_unlock(&lock);
}

/* The last message comes after everything that the command wrote. */
static void read_end(struct process *process)
{
    struct message message;

    while (!process->ended && read(process->end, &message, sizeof message) == (ssize_t) sizeof message) {
        if (!message.ended) {
            process->exec_error = message.value;
            continue;
        }
        process->ended = true;
        process->status = message.value;
        close_end(&process->input);
        read_output(process);
        read_errors(process);
        close_end(&process->output);
        close_end(&process->errors);
    }
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
