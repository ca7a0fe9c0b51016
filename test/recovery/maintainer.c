/*
 * maintainer.c - maintainers of a SQLite file, for the tests of schedules
 *
 *   maintainer call URL NOW FUNCTION JSON  calls a function by name
 *   maintainer race URL NOW ROUNDS         two processes call run_maintenance at the same moment, at NOW and each minute
 *                                          after it; prints in how many rounds one, both and none of them fired, and how
 *                                          often each did
 *   maintainer die URL NOW WRITES          calls run_maintenance, and is killed (SIGKILL) in the midst of a write to the
 *                                          file or its log, after WRITES whole ones; prints "committed" when the call has
 *                                          returned, and "closed" when it lived on until the file was closed
 *   maintainer loop URL                    calls run_maintenance again and again until it is killed, or its parent is
 *
 * NOW is what the library takes for the time, in microseconds since 1970. An error ends it with status 1.
 */
#define _GNU_SOURCE
#include "cloaca.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 10000, PATIENCE = 900 };

#define MINUTE INT64_C(60000000)

/* What the two processes of a race share. */
typedef struct track {
    pthread_barrier_t barrier;
    bool fired[2][MOST];
} track;

static const char *url;
static int writes_left;
static int (*open_file)(sqlite3_vfs *system, const char *name, sqlite3_file *file, int flags, int *chosen);
static int (*write_file)(sqlite3_file *file, const void *data, int length, sqlite3_int64 offset);

static int call_by_name(char **arguments);
static int race(char **arguments);
static void run(track *shared, int lane, int64_t now, int rounds);
static int die(char **arguments);
static void count_writes(int writes);
static int open_counted(sqlite3_vfs *system, const char *name, sqlite3_file *file, int flags, int *chosen);
static int write_counted(sqlite3_file *file, const void *data, int length, sqlite3_int64 offset);
static int loop(char **arguments);
static cloaca *open_at(int64_t now);
static int64_t maintain(cloaca *connection);
static void must(cloaca_status status, const cloaca_error *error);

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        int arguments;
        int (*run)(char **arguments);
    } modes[] = {{"call", 6, call_by_name}, {"race", 5, race}, {"die", 5, die}, {"loop", 3, loop}};

    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        if (count == modes[i].arguments && strcmp(arguments[1], modes[i].name) == 0) {
            url = arguments[2];
            return modes[i].run(arguments + 3);
        }
    }
    fprintf(stderr, "usage: maintainer call|race|die|loop URL ...\n");
    return 2;
}

static int call_by_name(char **arguments)
{
    cloaca *connection = open_at(atoll(arguments[0]));
    cloaca_result *result;
    cloaca_error error;
    char *json;

    must(cloaca_call(connection, arguments[1], arguments[2], &result, &error), &error);
    json = cloaca_result_json(result);
    puts(json);
    cloaca_free(json);
    cloaca_result_free(result);
    cloaca_close(connection);
    return 0;
}

/* -------------------------------------------------------------------------------------------------------------------- race */

static int race(char **arguments)
{
    const int rounds = atoi(arguments[1]) < MOST ? atoi(arguments[1]) : MOST;
    track *shared = mmap(NULL, sizeof(track), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int outcomes[3] = {0}, wins[2] = {0}, status, all = 0;
    pthread_barrierattr_t attributes;

    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->barrier, &attributes, 2);
    for (int lane = 0; lane < 2; lane++) {
        if (fork() == 0) {
            run(shared, lane, atoll(arguments[0]), rounds);
            _exit(0);
        }
    }
    while (wait(&status) > 0) {
        all |= status;
    }
    for (int round = 0; round < rounds; round++) {
        outcomes[shared->fired[0][round] + shared->fired[1][round]]++;
        wins[0] += shared->fired[0][round];
        wins[1] += shared->fired[1][round];
    }
    printf("one %d both %d none %d\nfirst %d second %d\n", outcomes[1], outcomes[2], outcomes[0], wins[0], wins[1]);
    return all != 0;
}

/* One of the two; if the other ends early, so does this. */
static void run(track *shared, int lane, int64_t now, int rounds)
{
    cloaca *connection = open_at(now);
    cloaca_error error;

    alarm(PATIENCE);
    for (int round = 0; round < rounds; round++) {
        must(cloaca_set_clock(connection, now + round * MINUTE, &error), &error);
        pthread_barrier_wait(&shared->barrier);
        shared->fired[lane][round] = maintain(connection) > 0;
    }
    cloaca_close(connection);
}

/* --------------------------------------------------------------------------------------------------------------------- die */

static int die(char **arguments)
{
    cloaca *connection;

    count_writes(atoi(arguments[1]));
    connection = open_at(atoll(arguments[0]));
    maintain(connection);
    puts("committed");
    fflush(stdout);
    cloaca_close(connection);
    puts("closed");
    return 0;
}

/* Files are opened and written through us from here on. */
static void count_writes(int writes)
{
    static sqlite3_vfs counted;

    counted = *sqlite3_vfs_find(NULL);
    open_file = counted.xOpen;
    counted.zName = "counted";
    counted.xOpen = open_counted;
    writes_left = writes;
    sqlite3_vfs_register(&counted, 1);
}

/* The file itself has other methods than its log, but the same one to write. */
static int open_counted(sqlite3_vfs *system, const char *name, sqlite3_file *file, int flags, int *chosen)
{
    static sqlite3_io_methods counted[2];
    sqlite3_io_methods *methods = &counted[(flags & SQLITE_OPEN_MAIN_DB) != 0];
    const int code = open_file(system, name, file, flags, chosen);

    if (code == SQLITE_OK && file->pMethods != NULL) {
        *methods = *file->pMethods;
        write_file = methods->xWrite;
        methods->xWrite = write_counted;
        file->pMethods = methods;
    }
    return code;
}

/* The last one is torn. */
static int write_counted(sqlite3_file *file, const void *data, int length, sqlite3_int64 offset)
{
    if (writes_left-- == 0) {
        write_file(file, data, length / 2, offset);
        kill(getpid(), SIGKILL);
    }
    return write_file(file, data, length, offset);
}

/* -------------------------------------------------------------------------------------------------------------------- loop */

static int loop(char **arguments)
{
    const struct timespec pause = {0, 2000000};
    const pid_t parent = getppid();
    cloaca *connection = open_at(CLOACA_NO_TIME);

    (void) arguments;
    while (getppid() == parent) {
        maintain(connection);
        nanosleep(&pause, NULL);
    }
    cloaca_close(connection);
    return 0;
}

/* ----------------------------------------------------------------------------------------------------------------- helpers */

static cloaca *open_at(int64_t now)
{
    cloaca *connection;
    cloaca_error error;

    must(cloaca_open(url, &connection, &error), &error);
    must(cloaca_set_clock(connection, now, &error), &error);
    return connection;
}

/* How much was fired. */
static int64_t maintain(cloaca *connection)
{
    cloaca_result *result;
    cloaca_error error;
    int64_t fired;

    must(cloaca_call(connection, "run_maintenance", "{}", &result, &error), &error);
    fired = strtoll(cloaca_result_get(result, 0, "fired"), NULL, 10);
    cloaca_result_free(result);
    return fired;
}

static void must(cloaca_status status, const cloaca_error *error)
{
    if (status != CLOACA_OK) {
        fprintf(stderr, "maintainer: %s (%s) %s\n", error->message, error->sqlstate, error->detail);
        exit(1);
    }
}
