/*
 * drive.c - runs the statements of a worker over many connections, and says how fast that was
 *
 *   drive [option...] SCRIPT
 *
 *   -c CLIENTS   connections, each with a thread (1)          -t SECONDS  how long to run (5)
 *   -n CYCLES    run so many in all instead                   -r RATE     cycles a second in all, not as many as possible
 *   -i MS        how long to rest after an empty claim (0)    -w SECONDS  report the first and the last so many seconds as well
 *   -s FILE      write a line for each second to FILE         -D NAME=VALUE[,VALUE...]  a variable, whose values take turns
 *
 * The script is a list of steps, each a line "-- step NAME" and one statement. All of them in order are a cycle. A statement is
 * prepared once in each connection and runs in a transaction of its own, unless the script has steps that begin and end one.
 * $name in it is a parameter: a variable ($client is the number of the connection, from 0), or a column of the first row of an
 * earlier step in the same cycle; $name[] is an array of that column in all rows. The rows of the step "claim" are the cycle's
 * tasks (a row that starts with null is none); without such a step, a cycle counts as $batch tasks. When there are none the
 * cycle is empty: steps that need a column of it are left out.
 *
 * Prints a line for each figure: its name and value. Times are in microseconds: "claim" from the begin of the cycle until the
 * tasks are in our hands, "cycle" all of it. The server's processor time is that of our backends, read from /proc, so the
 * server must be on this machine. A statement that fails ends the run with status 1. The connection comes from the environment
 * (PGHOST ...).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_STEPS = 8, MOST_PARAMETERS = 8, MOST_VARIABLES = 8 };

typedef struct variable {
    char *name;
    char **values;
    size_t count;
} variable;

/* A parameter is variables[variable], or else a column of an earlier step. */
typedef struct parameter {
    char name[64];
    bool is_array;
    int variable;
} parameter;

typedef struct step {
    char name[64];
    char *sql;
    parameter parameters[MOST_PARAMETERS];
    int count;
} step;

typedef struct sample {
    uint32_t at_ms, claim_us, cycle_us, tasks;
} sample;

typedef struct client {
    pthread_t thread;
    int number;
    PGconn *connection;
    PGresult *results[MOST_STEPS];
    char name[16];
    char *arrays[MOST_PARAMETERS];
    size_t sizes[MOST_PARAMETERS];
    sample *samples;
    size_t count, room;
    uint64_t cycles;
} client;

static struct {
    int clients;
    double seconds, rate, idle, window;
    uint64_t cycles;
    const char *series;
    variable variables[MOST_VARIABLES];
    int variable_count;
    step steps[MOST_STEPS];
    int step_count, claim;
} options = {.clients = 1, .seconds = 5, .claim = -1};

static pthread_barrier_t barrier;
static double begun;

static void read_options(int count, char **arguments);
static void add_variable(char *text);
static void read_script(const char *path);
static void add_step(const char *name, const char *body, size_t length);
static size_t add_parameter(step *step, const char *text);
static int find_variable(const char *name);
static void open_client(client *client, int number);
static void close_client(client *client);
static void *run_client(void *argument);
static void run_cycle(client *client);
static bool run_step(client *client, int number, const char *const *fixed);
static const char *column(client *client, int before, int parameter, const char *name, bool is_array);
static const char *array_of(client *client, int parameter, const PGresult *result, int field);
static uint32_t tasks_of(const PGresult *result);
static uint64_t processor_time(client *clients);
static void report(client *clients, double seconds, uint64_t processor_us);
static sample *all_samples(const client *clients, size_t *count);
static void report_window(const char *name, sample *samples, size_t count, double from, double to);
static void write_series(sample *samples, size_t count, double seconds);
static uint32_t percentile(uint32_t *values, size_t count, double share);
static double now(void);
static void rest_until(double when);
static void *allocate(void *old, size_t size);
static _Noreturn void fail(const char *what, const char *why);

int main(int count, char **arguments)
{
    client *clients;
    uint64_t processor;
    double seconds;

    read_options(count, arguments);
    clients = allocate(NULL, sizeof(client) * (size_t) options.clients);
    for (int i = 0; i < options.clients; i++) {
        open_client(&clients[i], i);
    }
    processor = processor_time(clients);
    pthread_barrier_init(&barrier, NULL, (unsigned) options.clients + 1);
    for (int i = 0; i < options.clients; i++) {
        if (pthread_create(&clients[i].thread, NULL, run_client, &clients[i]) != 0) {
            fail("pthread_create", strerror(errno));
        }
    }
    begun = now();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < options.clients; i++) {
        pthread_join(clients[i].thread, NULL);
    }
    seconds = now() - begun;
    report(clients, seconds, processor_time(clients) - processor);
    for (int i = 0; i < options.clients; i++) {
        close_client(&clients[i]);
    }
    free(clients);
    return 0;
}

/* ---------------------------------------------------------------------------------------------------------------- options */

static void read_options(int count, char **arguments)
{
    int option;

    while ((option = getopt(count, arguments, "c:t:n:r:i:w:s:D:")) != -1) {
        switch (option) {
        case 'c':
            options.clients = atoi(optarg);
            break;
        case 't':
            options.seconds = atof(optarg);
            break;
        case 'n':
            options.cycles = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            options.rate = atof(optarg);
            break;
        case 'i':
            options.idle = atof(optarg) / 1000;
            break;
        case 'w':
            options.window = atof(optarg);
            break;
        case 's':
            options.series = optarg;
            break;
        case 'D':
            add_variable(optarg);
            break;
        default:
            exit(2);
        }
    }
    if (optind + 1 != count || options.clients < 1) {
        fail("usage: drive [-c CLIENTS] [-t SECONDS] [-n CYCLES] [-r RATE] [-i MS] [-w SECONDS] [-s FILE] [-D "
             "NAME=VALUE,...]...",
             "SCRIPT");
    }
    read_script(arguments[optind]);
}

static void add_variable(char *text)
{
    variable *variable = &options.variables[options.variable_count++];
    char *value = strchr(text, '=');

    if (value == NULL || options.variable_count > MOST_VARIABLES) {
        fail("variable", text);
    }
    *value++ = '\0';
    variable->name = text;
    for (char *next; value != NULL; value = next) {
        next = strchr(value, ',');
        if (next != NULL) {
            *next++ = '\0';
        }
        variable->values = allocate(variable->values, sizeof(char *) * (variable->count + 1));
        variable->values[variable->count++] = value;
    }
}

static void read_script(const char *path)
{
    static const char mark[] = "-- step ";
    FILE *file = fopen(path, "r");
    char *text = NULL, *next;
    size_t room = 0;

    if (file == NULL || getdelim(&text, &room, '\0', file) < 0) {
        fail(path, strerror(errno));
    }
    fclose(file);
    for (char *at = strstr(text, mark); at != NULL; at = next) {
        char *body = strchr(at, '\n');
        if (body == NULL) {
            fail(path, "a step without a statement");
        }
        *body++ = '\0';
        next = strstr(body, mark);
        add_step(at + strlen(mark), body, next != NULL ? (size_t) (next - body) : strlen(body));
    }
    if (options.step_count == 0) {
        fail(path, "no steps");
    }
    free(text);
}

/* Writes each $name as a numbered parameter. */
static void add_step(const char *name, const char *body, size_t length)
{
    step *step = &options.steps[options.step_count++];
    char *to;

    if (options.step_count > MOST_STEPS) {
        fail(name, "too many steps");
    }
    snprintf(step->name, sizeof(step->name), "%s", name);
    if (strcmp(name, "claim") == 0) {
        options.claim = options.step_count - 1;
    }
    to = step->sql = allocate(NULL, 2 * length + 1);
    for (size_t at = 0; at < length;) {
        bool starts =
            body[at] == '$' && at + 1 < length && ((body[at + 1] >= 'a' && body[at + 1] <= 'z') || body[at + 1] == '_');
        if (starts) {
            at += add_parameter(step, body + at);
            to += sprintf(to, "$%d", step->count);
        } else {
            *to++ = body[at++];
        }
    }
    while (to > step->sql && strchr(" \n;", to[-1]) != NULL) {
        to--;
    }
    *to = '\0';
}

/* Every appearance is a parameter of its own. Returns the length of the text that names it. */
static size_t add_parameter(step *step, const char *text)
{
    parameter *parameter = &step->parameters[step->count++];
    size_t length = strspn(text + 1, "abcdefghijklmnopqrstuvwxyz_0123456789") + 1;

    if (step->count > MOST_PARAMETERS || length >= sizeof(parameter->name)) {
        fail(step->name, "too many parameters, or a name that is too long");
    }
    memcpy(parameter->name, text + 1, length - 1);
    parameter->name[length - 1] = '\0';
    parameter->is_array = strncmp(text + length, "[]", 2) == 0;
    parameter->variable = find_variable(parameter->name);
    return length + (parameter->is_array ? 2 : 0);
}

static int find_variable(const char *name)
{
    for (int i = 0; i < options.variable_count; i++) {
        if (strcmp(options.variables[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* ----------------------------------------------------------------------------------------------------------------- clients */

static void open_client(client *client, int number)
{
    client->number = number;
    snprintf(client->name, sizeof(client->name), "%d", number);
    client->connection = PQconnectdb("");
    if (PQstatus(client->connection) != CONNECTION_OK) {
        fail("connection", PQerrorMessage(client->connection));
    }
    for (int i = 0; i < options.step_count; i++) {
        PGresult *result = PQprepare(client->connection, options.steps[i].name, options.steps[i].sql, 0, NULL);
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            fail(options.steps[i].name, PQerrorMessage(client->connection));
        }
        PQclear(result);
    }
}

static void close_client(client *client)
{
    PQfinish(client->connection);
    free(client->samples);
    for (int i = 0; i < MOST_PARAMETERS; i++) {
        free(client->arrays[i]);
    }
}

static void *run_client(void *argument)
{
    client *client = argument;
    double interval = options.rate > 0 ? options.clients / options.rate : 0;
    uint64_t most = options.cycles / (uint64_t) options.clients;

    pthread_barrier_wait(&barrier);
    while (options.cycles > 0 ? client->cycles < most : now() - begun < options.seconds) {
        if (interval > 0) {
            rest_until(begun + interval * ((double) client->cycles + (double) client->number / options.clients));
        }
        run_cycle(client);
        client->cycles++;
        if (client->samples[client->count - 1].tasks == 0 && options.idle > 0) {
            rest_until(now() + options.idle);
        }
    }
    return NULL;
}

static void run_cycle(client *client)
{
    const char *fixed[MOST_VARIABLES] = {NULL};
    double start = now(), claimed = start;
    sample sample = {.at_ms = (uint32_t) ((start - begun) * 1000)};
    int batch = find_variable("batch");

    for (int i = 0; i < options.variable_count; i++) {
        const variable *variable = &options.variables[i];
        uint64_t offset = (uint64_t) client->number * variable->count / (uint64_t) options.clients;
        fixed[i] = variable->values[(client->cycles + offset) % variable->count];
    }
    for (int i = 0; i < options.step_count; i++) {
        bool ran = run_step(client, i, fixed);
        if (i == options.claim) {
            claimed = now();
            sample.tasks = ran ? tasks_of(client->results[i]) : 0;
        }
    }
    for (int i = 0; i < options.step_count; i++) {
        PQclear(client->results[i]);
        client->results[i] = NULL;
    }
    if (options.claim < 0) {
        sample.tasks = batch >= 0 ? (uint32_t) atoi(fixed[batch]) : 1;
    }
    sample.claim_us = (uint32_t) ((claimed - start) * 1e6);
    sample.cycle_us = (uint32_t) ((now() - start) * 1e6);
    if (client->count == client->room) {
        client->room = client->room == 0 ? 4096 : client->room * 2;
        client->samples = allocate(client->samples, client->room * sizeof(*client->samples));
    }
    client->samples[client->count++] = sample;
}

/* False when the step was left out, because it needs a column of which there are no rows. */
static bool run_step(client *client, int number, const char *const *fixed)
{
    const step *step = &options.steps[number];
    const char *values[MOST_PARAMETERS];
    ExecStatusType status;

    for (int i = 0; i < step->count; i++) {
        const parameter *parameter = &step->parameters[i];
        values[i] = parameter->variable >= 0 ? fixed[parameter->variable]
                                             : column(client, number, i, parameter->name, parameter->is_array);
        if (values[i] == NULL) {
            return false;
        }
    }
    client->results[number] = PQexecPrepared(client->connection, step->name, step->count, values, NULL, NULL, 0);
    status = PQresultStatus(client->results[number]);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fail(step->name, PQerrorMessage(client->connection));
    }
    return true;
}

static const char *column(client *client, int before, int parameter, const char *name, bool is_array)
{
    bool was_left_out = false;

    if (strcmp(name, "client") == 0) {
        return client->name;
    }
    for (int i = before - 1; i >= 0; i--) {
        const PGresult *result = client->results[i];
        int field = result != NULL ? PQfnumber(result, name) : -1;
        was_left_out |= result == NULL;
        if (field < 0) {
            continue;
        }
        if (tasks_of(result) == 0) {
            return NULL;
        }
        return is_array ? array_of(client, parameter, result, field) : PQgetvalue(result, 0, field);
    }
    if (!was_left_out) {
        fail(name, "no such variable or column");
    }
    return NULL;
}

static const char *array_of(client *client, int parameter, const PGresult *result, int field)
{
    size_t length = 1, needed = 3;
    char *array;

    for (int row = 0; row < PQntuples(result); row++) {
        needed += (size_t) PQgetlength(result, row, field) + 1;
    }
    if (needed > client->sizes[parameter]) {
        client->arrays[parameter] = allocate(client->arrays[parameter], needed * 2);
        client->sizes[parameter] = needed * 2;
    }
    array = client->arrays[parameter];
    array[0] = '{';
    for (int row = 0; row < PQntuples(result); row++) {
        const char *value = PQgetvalue(result, row, field);
        size_t size = (size_t) PQgetlength(result, row, field);
        if (value[strcspn(value, "{},\"\\ ")] != '\0') {
            fail(value, "not fit for an array");
        }
        memcpy(array + length, value, size);
        length += size;
        array[length++] = ',';
    }
    memcpy(array + length - 1, "}", 2);
    return array;
}

static uint32_t tasks_of(const PGresult *result)
{
    int rows = PQntuples(result);

    return rows > 0 && PQgetisnull(result, 0, 0) ? 0 : (uint32_t) rows;
}

/* Microseconds that all our backends ran. */
static uint64_t processor_time(client *clients)
{
    uint64_t sum = 0;

    for (int i = 0; i < options.clients; i++) {
        char path[64];
        uint64_t nanoseconds;
        FILE *file;
        snprintf(path, sizeof(path), "/proc/%d/schedstat", PQbackendPID(clients[i].connection));
        file = fopen(path, "r");
        if (file == NULL || fscanf(file, "%" SCNu64, &nanoseconds) != 1) {
            fail(path, "the server is not on this machine, or its kernel keeps no such figures");
        }
        fclose(file);
        sum += nanoseconds / 1000;
    }
    return sum;
}

/* ------------------------------------------------------------------------------------------------------------------ report */

static void report(client *clients, double seconds, uint64_t processor_us)
{
    size_t count;
    sample *samples = all_samples(clients, &count);

    printf("seconds %.6f\ncpu_us %" PRIu64 "\n", seconds, processor_us);
    report_window("", samples, count, 0, seconds + 1);
    if (options.window > 0) {
        report_window("first_", samples, count, 0, options.window);
        report_window("last_", samples, count, options.seconds - options.window, options.seconds);
    }
    if (options.series != NULL) {
        write_series(samples, count, seconds);
    }
    free(samples);
}

static sample *all_samples(const client *clients, size_t *count)
{
    sample *samples;

    *count = 0;
    for (int i = 0; i < options.clients; i++) {
        *count += clients[i].count;
    }
    samples = allocate(NULL, (*count + 1) * sizeof(*samples));
    *count = 0;
    for (int i = 0; i < options.clients; i++) {
        memcpy(samples + *count, clients[i].samples, clients[i].count * sizeof(*samples));
        *count += clients[i].count;
    }
    return samples;
}

/* The cycles that began in the window. */
static void report_window(const char *name, sample *samples, size_t count, double from, double to)
{
    uint32_t *claims = allocate(NULL, (count + 1) * sizeof(*claims)), *cycles = allocate(NULL, (count + 1) * sizeof(*cycles));
    uint64_t tasks = 0, empty = 0;
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        if (samples[i].at_ms >= from * 1000 && samples[i].at_ms < to * 1000) {
            claims[n] = samples[i].claim_us;
            cycles[n++] = samples[i].cycle_us;
            tasks += samples[i].tasks;
            empty += samples[i].tasks == 0;
        }
    }
    printf("%scycles %zu\n%stasks %" PRIu64 "\n%sempty %" PRIu64 "\n", name, n, name, tasks, name, empty);
    printf("%sclaim_p50 %u\n%sclaim_p99 %u\n", name, percentile(claims, n, 0.5), name, percentile(claims, n, 0.99));
    printf("%scycle_p50 %u\n%scycle_p99 %u\n", name, percentile(cycles, n, 0.5), name, percentile(cycles, n, 0.99));
    free(claims);
    free(cycles);
}

/* second, tasks, claim p50, claim p99 */
static void write_series(sample *samples, size_t count, double seconds)
{
    FILE *file = fopen(options.series, "w");
    uint32_t *claims = allocate(NULL, (count + 1) * sizeof(*claims));

    if (file == NULL) {
        fail(options.series, strerror(errno));
    }
    for (uint32_t second = 0; second + 1 <= seconds; second++) {
        uint64_t tasks = 0;
        size_t n = 0;
        for (size_t i = 0; i < count; i++) {
            if (samples[i].at_ms / 1000 == second) {
                claims[n++] = samples[i].claim_us;
                tasks += samples[i].tasks;
            }
        }
        fprintf(file, "%u %" PRIu64 " %u %u\n", second, tasks, percentile(claims, n, 0.5), percentile(claims, n, 0.99));
    }
    if (fclose(file) != 0) {
        fail(options.series, strerror(errno));
    }
    free(claims);
}

static int compare(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *) one, b = *(const uint32_t *) other;

    return (a > b) - (a < b);
}

static uint32_t percentile(uint32_t *values, size_t count, double share)
{
    if (count == 0) {
        return 0;
    }
    qsort(values, count, sizeof(*values), compare);
    return values[(size_t) ((double) (count - 1) * share)];
}

/* ----------------------------------------------------------------------------------------------------------------- helpers */

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

static void rest_until(double when)
{
    double rest = when - now();
    struct timespec time;

    if (rest > 0) {
        time.tv_sec = (time_t) rest;
        time.tv_nsec = (long) ((rest - (double) time.tv_sec) * 1e9);
        nanosleep(&time, NULL);
    }
}

/* New memory is zero. */
static void *allocate(void *old, size_t size)
{
    void *memory = old == NULL ? calloc(1, size) : realloc(old, size);

    if (memory == NULL) {
        fail("memory", strerror(errno));
    }
    return memory;
}

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "drive: %s: %s\n", what, why);
    exit(1);
}
