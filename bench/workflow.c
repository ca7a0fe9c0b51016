/*
 * workflow.c - how fast executions go on, on either database, through libcloaca
 *
 *   workflow rate URL SHAPE WORKERS SECONDS    executions a second, and how long a task that is ready waits for its worker
 *   workflow wake URL ROUNDS                   how long it takes until a sleeping worker has the next task
 *
 * The shapes: fan, where one task is followed by three and these by one; chain, three tasks in a row. Each worker is a thread
 * with a connection of its own: it claims, completes, and sleeps in cloaca_wait_for_task when there is nothing. In "rate" there
 * are as many executions as workers: who completes the last task of one starts another. The latency is that between the moment
 * from which a task could be claimed and the return of its claim.
 *
 * In "wake" there are two tasks in a row, in two queues, in each of which a worker sleeps. The times are those from the return
 * of the start until the first worker has the first task, and from the return of its complete until the other one has the
 * second; 0 when the worker is faster than the answer to the caller.
 *
 * Prints a line for each figure: its name and value; milliseconds. A call that fails ends the program with status 1.
 */
#define _GNU_SOURCE
#include "cloaca.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_WORKERS = 256 };

typedef struct worker {
    pthread_t thread;
    cloaca *connection;
    const char *queue;
    double *samples;
    size_t count, room;
} worker;

static const struct {
    const char *name, *definition;
} shapes[] = {
    {"fan",
     "{\"queue\": \"fan\", \"tasks\": [{\"name\": \"first\"},"
     " {\"name\": \"a\", \"dependencies\": [\"first\"]}, {\"name\": \"b\", \"dependencies\": [\"first\"]},"
     " {\"name\": \"c\", \"dependencies\": [\"first\"]}, {\"name\": \"last\", \"dependencies\": [\"a\", \"b\", \"c\"]}]}"},
    {"chain", "{\"queue\": \"chain\", \"tasks\": [{\"name\": \"first\"}, {\"name\": \"middle\", \"dependencies\": [\"first\"]},"
              " {\"name\": \"last\", \"dependencies\": [\"middle\"]}]}"},
    {"wake", "{\"tasks\": [{\"name\": \"first\", \"queue\": \"wake-1\"},"
             " {\"name\": \"last\", \"queue\": \"wake-2\", \"dependencies\": [\"first\"]}]}"},
};

static const char *url, *shape;
static double end;                 /* of the measurement */
static atomic_long started, ended; /* executions */
static atomic_long ended_in_time;

static void measure_rate(int workers, double seconds);
static void *work(void *argument);
static void measure_wake(int rounds);
static void *wake_once(void *argument);
static void define(cloaca *connection);
static void start(cloaca *connection);
static cloaca_tasks *claim(worker *worker, int64_t wait);
static void open_worker(worker *worker, const char *queue);
static void add_sample(worker *worker, double sample);
static void report(const char *name, double *samples, size_t count);
static void check(cloaca_status status, const cloaca_error *error);
static double now(void);
static void rest(double milliseconds);

int main(int count, char **arguments)
{
    if (count == 6 && strcmp(arguments[1], "rate") == 0 && atoi(arguments[4]) >= 1 && atoi(arguments[4]) <= MOST_WORKERS) {
        url = arguments[2];
        shape = arguments[3];
        measure_rate(atoi(arguments[4]), atof(arguments[5]) * 1000);
    } else if (count == 4 && strcmp(arguments[1], "wake") == 0 && atoi(arguments[3]) >= 1) {
        url = arguments[2];
        shape = "wake";
        measure_wake(atoi(arguments[3]));
    } else {
        fputs("usage: workflow rate URL SHAPE WORKERS SECONDS | workflow wake URL ROUNDS\n", stderr);
        return 2;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------------- rate */

static void measure_rate(int count, double milliseconds)
{
    worker workers[MOST_WORKERS] = {0};
    worker all = {0};

    for (int i = 0; i < count; i++) {
        open_worker(&workers[i], shape);
    }
    define(workers[0].connection);
    for (int i = 0; i < count; i++) {
        start(workers[0].connection);
    }
    end = now() + milliseconds;
    for (int i = 0; i < count; i++) {
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            fputs("workflow: there can be no thread\n", stderr);
            exit(1);
        }
    }
    for (int i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        cloaca_close(workers[i].connection);
        for (size_t n = 0; n < workers[i].count; n++) {
            add_sample(&all, workers[i].samples[n]);
        }
        free(workers[i].samples);
    }
    printf("executions %.1f\ntasks %.1f\n", (double) ended_in_time * 1000 / milliseconds,
           (double) all.count * 1000 / milliseconds);
    report("task", all.samples, all.count);
    free(all.samples);
}

/* Goes on until every execution has ended. The first tasks, which wait for the threads to begin, do not count. */
static void *work(void *argument)
{
    worker *worker = argument;
    bool first = true;

    while (ended < started) {
        cloaca_tasks *tasks = claim(worker, 100000);
        double claimed = now();
        cloaca_error error;

        if (tasks->count == 1) {
            const cloaca_task *task = &tasks->tasks[0];
            bool is_last = strcmp(task->name, "last") == 0;

            if (!first && claimed < end) {
                add_sample(worker, claimed - (double) task->run_at / 1000);
            }
            first = false;
            check(cloaca_complete(worker->connection, task->task, task->lease_id, NULL, &error), &error);
            if (is_last && now() < end) {
                ended_in_time++;
                start(worker->connection);
            }
            ended += is_last;
        }
        cloaca_tasks_free(tasks);
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------------------------- wake */

static void measure_wake(int rounds)
{
    worker starter = {0}, workers[2] = {0};
    double *waits[2] = {calloc((size_t) rounds, sizeof(double)), calloc((size_t) rounds, sizeof(double))};

    open_worker(&starter, NULL);
    define(starter.connection);
    open_worker(&workers[0], "wake-1");
    open_worker(&workers[1], "wake-2");
    for (int i = 0; i < rounds; i++) {
        double returned;

        for (int n = 0; n < 2; n++) {
            if (pthread_create(&workers[n].thread, NULL, wake_once, &workers[n]) != 0) {
                fputs("workflow: there can be no thread\n", stderr);
                exit(1);
            }
        }
        rest(60 + (double) (random() % 50));
        start(starter.connection);
        returned = now();
        pthread_join(workers[0].thread, NULL);
        pthread_join(workers[1].thread, NULL);
        waits[0][i] = workers[0].samples[0] > returned ? workers[0].samples[0] - returned : 0;
        waits[1][i] = workers[1].samples[0] > workers[0].samples[1] ? workers[1].samples[0] - workers[0].samples[1] : 0;
        workers[0].count = workers[1].count = 0;
    }
    report("first", waits[0], (size_t) rounds);
    report("next", waits[1], (size_t) rounds);
    for (int n = 0; n < 2; n++) {
        cloaca_close(workers[n].connection);
        free(workers[n].samples);
        free(waits[n]);
    }
    cloaca_close(starter.connection);
}

/* Two samples: when the claim returned, and when the complete did. The work takes long enough for the other worker to sleep. */
static void *wake_once(void *argument)
{
    worker *worker = argument;
    cloaca_tasks *tasks = NULL;
    cloaca_error error;

    do {
        cloaca_tasks_free(tasks);
        tasks = claim(worker, CLOACA_NO_INTERVAL);
    } while (tasks->count == 0);
    add_sample(worker, now());
    rest(5 + (double) (random() % 20));
    check(cloaca_complete(worker->connection, tasks->tasks[0].task, tasks->tasks[0].lease_id, NULL, &error), &error);
    add_sample(worker, now());
    cloaca_tasks_free(tasks);
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------------------- helpers */

static void define(cloaca *connection)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        if (strcmp(shapes[i].name, shape) == 0) {
            char arguments[1024];
            cloaca_error error;
            snprintf(arguments, sizeof(arguments), "{\"name\": \"%s\", \"definition\": %s}", shape, shapes[i].definition);
            check(cloaca_call(connection, "define_workflow", arguments, NULL, &error), &error);
            return;
        }
    }
    fprintf(stderr, "workflow: there is no shape %s\n", shape);
    exit(2);
}

static void start(cloaca *connection)
{
    char arguments[64];
    cloaca_error error;

    snprintf(arguments, sizeof(arguments), "{\"name\": \"%s\"}", shape);
    started++;
    check(cloaca_call(connection, "start_workflow", arguments, NULL, &error), &error);
}

/* A task; when there is none, what a claim finds after the wait for one. */
static cloaca_tasks *claim(worker *worker, int64_t wait)
{
    cloaca_tasks *tasks;
    cloaca_error error;
    bool ready;

    check(cloaca_claim(worker->connection, worker->queue, "bench", 1, CLOACA_NO_INTERVAL, &tasks, &error), &error);
    if (tasks->count == 0) {
        cloaca_tasks_free(tasks);
        check(cloaca_wait_for_task(worker->connection, 1, &worker->queue, wait, &ready, &error), &error);
        check(cloaca_claim(worker->connection, worker->queue, "bench", 1, CLOACA_NO_INTERVAL, &tasks, &error), &error);
    }
    return tasks;
}

static void open_worker(worker *worker, const char *queue)
{
    cloaca_error error;

    worker->queue = queue;
    check(cloaca_open(url, &worker->connection, &error), &error);
}

static void add_sample(worker *worker, double sample)
{
    if (worker->count == worker->room) {
        worker->room = worker->room == 0 ? 1024 : worker->room * 2;
        worker->samples = realloc(worker->samples, worker->room * sizeof(*worker->samples));
        if (worker->samples == NULL) {
            perror("workflow");
            exit(1);
        }
    }
    worker->samples[worker->count++] = sample;
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *) one, b = *(const double *) other;

    return (a > b) - (a < b);
}

static void report(const char *name, double *samples, size_t count)
{
    if (count == 0) {
        fputs("workflow: there was not the time for a single task\n", stderr);
        exit(1);
    }
    qsort(samples, count, sizeof(*samples), compare);
    printf("%s_p50 %.3f\n%s_p99 %.3f\n", name, samples[(count - 1) / 2], name, samples[(size_t) ((double) (count - 1) * 0.99)]);
}

static void check(cloaca_status status, const cloaca_error *error)
{
    if (status != CLOACA_OK) {
        fprintf(stderr, "workflow: %s %s\n", error->message, error->detail);
        exit(1);
    }
}

/* Milliseconds of the clock that the databases use, too. */
static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return (double) time.tv_sec * 1000 + (double) time.tv_nsec / 1e6;
}

static void rest(double milliseconds)
{
    struct timespec time = {.tv_nsec = (long) (milliseconds * 1e6)};

    nanosleep(&time, NULL);
}
