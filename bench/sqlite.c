/*
 * sqlite.c - libcloaca on SQLite against the bare statements that do the same
 *
 *   sqlite SECONDS ROUNDS
 *
 * Both work on a file of their own in the temporary folder, with the same table, indexes and settings (WAL, synchronous
 * NORMAL); one process, no other writers. The bare statements are prepared once and run in transactions of their own, as a
 * careful programmer would. They take turns, four times in each of ROUNDS, for a quarter of SECONDS each. Prints a line for
 * each case: scenario, batch, tasks a second of the bare statements and of the library, parted by tabs.
 */
#define _POSIX_C_SOURCE 200809L
#include "cloaca.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 100, BACKLOG = 20000 };

static const char *const payload = "{\"n\": 1}";

typedef struct bench {
    sqlite3 *bare;
    sqlite3_stmt *begin, *commit, *insert, *claim, *finish;
    cloaca *library;
    size_t batch;
} bench;

/* One transaction or, for a lifecycle, two. */
typedef void step_function(bench *bench);

static step_function bare_enqueue, bare_lifecycle, library_enqueue, library_lifecycle;
static double rate(bench *bench, step_function *step, double seconds);
static void fill(bench *bench, step_function *enqueue);
static void open_bare(bench *bench, const char *path);
static void open_library(bench *bench, const char *path);
static sqlite3_stmt *prepare(sqlite3 *database, const char *sql);
static void run(sqlite3_stmt *statement);
static void check(cloaca_status status, const cloaca_error *error);
static double now(void);

int main(int count, char **arguments)
{
    double seconds = (count > 1 ? atof(arguments[1]) : 5) / 4;
    int rounds = (count > 2 ? atoi(arguments[2]) : 2) * 4;
    static const size_t batches[] = {1, 10, MOST};
    char folder[] = "/tmp/cloaca-bench-XXXXXX";
    char path[2][sizeof(folder) + 16];
    bench bench = {0};

    if (mkdtemp(folder) == NULL) {
        perror(folder);
        return 1;
    }
    snprintf(path[0], sizeof(path[0]), "%s/bare.db", folder);
    snprintf(path[1], sizeof(path[1]), "%s/library.db", folder);
    open_bare(&bench, path[0]);
    open_library(&bench, path[1]);
    for (size_t i = 0; i < sizeof(batches) / sizeof(*batches); i++) {
        double rates[4] = {0};
        bench.batch = batches[i];
        for (int round = 0; round < rounds; round++) {
            rates[0] += rate(&bench, bare_enqueue, seconds / 2);
            rates[1] += rate(&bench, library_enqueue, seconds / 2);
            fill(&bench, bare_enqueue);
            rates[2] += rate(&bench, bare_lifecycle, seconds);
            fill(&bench, library_enqueue);
            rates[3] += rate(&bench, library_lifecycle, seconds);
        }
        printf("SQLite enqueue, tasks/s\tbatch %zu\t%.1f\t%.1f\n", bench.batch, rates[0] / rounds, rates[1] / rounds);
        printf("SQLite lifecycle, tasks/s\tbatch %zu\t%.1f\t%.1f\n", bench.batch, rates[2] / rounds, rates[3] / rounds);
    }
    cloaca_close(bench.library);
    sqlite3_finalize(bench.begin);
    sqlite3_finalize(bench.commit);
    sqlite3_finalize(bench.insert);
    sqlite3_finalize(bench.claim);
    sqlite3_finalize(bench.finish);
    sqlite3_close(bench.bare);
    for (int i = 0; i < 2; i++) {
        unlink(path[i]);
    }
    return rmdir(folder) != 0;
}

/* Tasks a second. A lifecycle puts back what it takes, outside of the clock, so that the backlog stays. */
static double rate(bench *bench, step_function *step, double seconds)
{
    double spent = 0;
    size_t tasks = 0;

    while (spent < seconds) {
        double begun = now();
        for (size_t done = 0; done < BACKLOG / 2; done += bench->batch) {
            step(bench);
            tasks += bench->batch;
            if (now() - begun + spent > seconds) {
                break;
            }
        }
        spent += now() - begun;
        if (step == bare_lifecycle || step == library_lifecycle) {
            fill(bench, step == library_lifecycle ? library_enqueue : bare_enqueue);
        }
    }
    return (double) tasks / spent;
}

static void fill(bench *bench, step_function *enqueue)
{
    size_t batch = bench->batch;

    bench->batch = MOST;
    for (size_t done = 0; done < BACKLOG / 2; done += MOST) {
        enqueue(bench);
    }
    bench->batch = batch;
}

/* ------------------------------------------------------------------------------------------------------------------- bare */

static void open_bare(bench *bench, const char *path)
{
    if (sqlite3_open(path, &bench->bare) != SQLITE_OK ||
        sqlite3_exec(bench->bare,
                     "pragma journal_mode = wal; pragma synchronous = normal; pragma foreign_keys = on;"
                     "create table task (id integer primary key autoincrement, queue text not null, priority integer not null,"
                     " run_at integer not null, attempt integer not null default 0, max_attempts integer not null,"
                     " cancelled integer not null default 0, lease_id integer, lease_until integer, claimed_at integer,"
                     " enqueued_at integer not null, execution integer, name text not null, worker text, key text,"
                     " payload text not null, retry text, errors text) strict;"
                     "create index task_claim on task (queue, priority, run_at, id);"
                     "create unique index task_key on task (queue, key) where key is not null;"
                     "create index task_lease on task (queue, lease_until) where lease_until is not null;",
                     NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(bench->bare));
        exit(1);
    }
    bench->begin = prepare(bench->bare, "begin immediate");
    bench->commit = prepare(bench->bare, "commit");
    bench->insert = prepare(bench->bare, "insert into task (queue, priority, run_at, max_attempts, enqueued_at, name, payload)"
                                         " values ('bench', 0, ?1, 3, ?1, 'bench', ?2) returning id");
    bench->claim =
        prepare(bench->bare, "update task set lease_id = abs(random()), lease_until = ?1 + 30000000, claimed_at = ?1,"
                             " attempt = attempt + 1, worker = 'bench' where id in (select id from task"
                             " where queue = 'bench' and run_at <= ?1 and not cancelled and (lease_id is null"
                             " or (lease_until <= ?1 and attempt < max_attempts)) order by priority, run_at, id limit ?2)"
                             " returning id, lease_id, attempt, name, payload, priority, run_at, lease_until,"
                             " max_attempts, execution");
    bench->finish = prepare(bench->bare, "delete from task where id = ?1 and lease_id = ?2");
}

static void bare_enqueue(bench *bench)
{
    run(bench->begin);
    for (size_t i = 0; i < bench->batch; i++) {
        sqlite3_bind_int64(bench->insert, 1, (sqlite3_int64) (now() * 1000000));
        sqlite3_bind_text(bench->insert, 2, payload, -1, SQLITE_STATIC);
        run(bench->insert);
    }
    run(bench->commit);
}

static void bare_lifecycle(bench *bench)
{
    sqlite3_int64 tasks[MOST], leases[MOST];
    size_t count = 0;

    run(bench->begin);
    sqlite3_bind_int64(bench->claim, 1, (sqlite3_int64) (now() * 1000000));
    sqlite3_bind_int64(bench->claim, 2, (sqlite3_int64) bench->batch);
    while (sqlite3_step(bench->claim) == SQLITE_ROW) {
        tasks[count] = sqlite3_column_int64(bench->claim, 0);
        leases[count++] = sqlite3_column_int64(bench->claim, 1);
    }
    sqlite3_reset(bench->claim);
    run(bench->commit);
    if (count != bench->batch) {
        fprintf(stderr, "sqlite: claimed %zu\n", count);
        exit(1);
    }
    run(bench->begin);
    for (size_t i = 0; i < count; i++) {
        sqlite3_bind_int64(bench->finish, 1, tasks[i]);
        sqlite3_bind_int64(bench->finish, 2, leases[i]);
        run(bench->finish);
    }
    run(bench->commit);
}

static sqlite3_stmt *prepare(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement;

    if (sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) {
        fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(database));
        exit(1);
    }
    return statement;
}

static void run(sqlite3_stmt *statement)
{
    int status;

    do {
        status = sqlite3_step(statement);
    } while (status == SQLITE_ROW);
    if (status != SQLITE_DONE) {
        fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(sqlite3_db_handle(statement)));
        exit(1);
    }
    sqlite3_reset(statement);
}

/* ---------------------------------------------------------------------------------------------------------------- library */

static void open_library(bench *bench, const char *path)
{
    char url[64];
    cloaca_error error;

    snprintf(url, sizeof(url), "sqlite:///%s", path);
    check(cloaca_open(url, &bench->library, &error), &error);
}

static void library_enqueue(bench *bench)
{
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    const char *payloads[MOST];
    int64_t tasks[MOST];
    cloaca_error error;

    options.queue = "bench";
    options.name = "bench";
    options.payload = payload;
    if (bench->batch == 1) {
        check(cloaca_enqueue(bench->library, &options, tasks, NULL, &error), &error);
        return;
    }
    for (size_t i = 0; i < bench->batch; i++) {
        payloads[i] = payload;
    }
    check(cloaca_enqueue_many(bench->library, &options, bench->batch, payloads, NULL, tasks, NULL, &error), &error);
}

static void library_lifecycle(bench *bench)
{
    int64_t ids[MOST], leases[MOST];
    cloaca_status outcomes[MOST];
    cloaca_tasks *tasks;
    cloaca_error error;

    check(cloaca_claim(bench->library, "bench", "bench", (int32_t) bench->batch, CLOACA_NO_INTERVAL, &tasks, &error), &error);
    if (tasks->count != bench->batch) {
        fprintf(stderr, "sqlite: the library claimed %zu\n", tasks->count);
        exit(1);
    }
    if (bench->batch == 1) {
        check(cloaca_complete(bench->library, tasks->tasks[0].task, tasks->tasks[0].lease_id, NULL, &error), &error);
    } else {
        for (size_t i = 0; i < tasks->count; i++) {
            ids[i] = tasks->tasks[i].task;
            leases[i] = tasks->tasks[i].lease_id;
        }
        check(cloaca_complete_many(bench->library, tasks->count, ids, leases, NULL, outcomes, &error), &error);
    }
    cloaca_tasks_free(tasks);
}

static void check(cloaca_status status, const cloaca_error *error)
{
    if (status != CLOACA_OK) {
        fprintf(stderr, "sqlite: %s %s\n", error->message, error->detail);
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}
