/*
 * sqlite_test.c - the library on SQLite files: the life of a task, transactions, borrowed connections, and files that cannot be
 * used
 */
#include "test.h"

#include "backend.h"
#include "fixtures.h"

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

/* The URL of a file in the test's folder; a static buffer. */
static const char *url_of(const char *name, const char *options)
{
    static char full[256];

    snprintf(full, sizeof(full), "sqlite:///%s/%s%s", folder, name, options[0] != '\0' ? options : "?_busy_timeout=120000");
    return full;
}

static const char *path_of(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static cloaca *open_file(const char *name, const char *options)
{
    cloaca *connection;
    cloaca_error error;

    assert_ok(cloaca_open(url_of(name, options), &connection, &error));
    return connection;
}

static sqlite3 *open_raw(const char *name)
{
    sqlite3 *database;

    assert_int_equal(sqlite3_open(path_of(name), &database), SQLITE_OK);
    return database;
}

static void run_raw(sqlite3 *database, const char *sql)
{
    if (sqlite3_exec(database, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(database));
    }
}

static int64_t number_raw(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement;
    int64_t number;

    assert_int_equal(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

static int64_t enqueue(cloaca *connection, const char *name)
{
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    cloaca_error error;
    int64_t task;

    options.name = name;
    assert_ok(cloaca_enqueue(connection, &options, &task, NULL, &error));
    return task;
}

static cloaca_tasks *claim(cloaca *connection, int max)
{
    cloaca_tasks *tasks;
    cloaca_error error;

    assert_ok(cloaca_claim(connection, NULL, "w", max, CLOACA_NO_INTERVAL, &tasks, &error));
    return tasks;
}

static void assert_same(char *left, char *right)
{
    assert_string_equal(left, right);
    cloaca_free(left);
    cloaca_free(right);
}

static void a_task_lives(void **state)
{
    cloaca *connection = open_file("life.db", "");
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    cloaca_error error;
    cloaca_tasks *tasks;
    int64_t task, again, until;
    bool created, dead;

    (void) state;
    assert_int_equal(cloaca_backend_of(connection), CLOACA_SQLITE);
    assert_ok(cloaca_set_clock(connection, 0, &error));
    assert_ok(cloaca_set_random(connection, 0.5, &error));
    options.name = "mail";
    options.payload = "{\"to\":\"a\",\"n\":1.10}";
    options.key = "k";
    options.priority = -5;
    assert_ok(cloaca_enqueue(connection, &options, &task, &created, &error));
    assert_true(created);
    assert_ok(cloaca_enqueue(connection, &options, &again, &created, &error));
    assert_false(created);
    assert_true(again == task);

    tasks = claim(connection, 10);
    assert_int_equal(tasks->count, 1);
    assert_true(tasks->tasks[0].task == task);
    assert_int_equal(tasks->tasks[0].attempt, 1);
    assert_int_equal(tasks->tasks[0].max_attempts, 3);
    assert_int_equal(tasks->tasks[0].priority, -5);
    assert_string_equal(tasks->tasks[0].name, "mail");
    assert_string_equal(tasks->tasks[0].payload, "{\"n\": 1.10, \"to\": \"a\"}");
    assert_true(tasks->tasks[0].run_at == 0);
    assert_true(tasks->tasks[0].lease_until == 30000000);
    assert_true(tasks->tasks[0].execution == 0);

    assert_ok(cloaca_extend(connection, task, tasks->tasks[0].lease_id, 60000000, &until, &error));
    assert_true(until == 60000000);
    assert_condition(cloaca_complete(connection, task, tasks->tasks[0].lease_id + 1, NULL, &error), CLOACA_LEASE_LOST);
    assert_ok(cloaca_release(connection, task, tasks->tasks[0].lease_id, &error));
    assert_condition(cloaca_release(connection, task, tasks->tasks[0].lease_id, &error), CLOACA_LEASE_LOST);
    cloaca_tasks_free(tasks);

    tasks = claim(connection, 1);
    assert_int_equal(tasks->tasks[0].attempt, 1);
    assert_ok(cloaca_defer_until(connection, task, tasks->tasks[0].lease_id, 5000000, &error));
    cloaca_tasks_free(tasks);
    tasks = claim(connection, 1);
    assert_int_equal(tasks->count, 0);
    cloaca_tasks_free(tasks);

    assert_ok(cloaca_set_clock(connection, 5000000, &error));
    tasks = claim(connection, 1);
    assert_ok(cloaca_fail(connection, task, tasks->tasks[0].lease_id, "no", false, 0, &dead, &error));
    assert_false(dead);
    cloaca_tasks_free(tasks);
    tasks = claim(connection, 1);
    assert_ok(cloaca_fail(connection, task, tasks->tasks[0].lease_id, "never", true, CLOACA_NO_INTERVAL, &dead, &error));
    assert_true(dead);
    cloaca_tasks_free(tasks);
    assert_call(connection, "retry_task", "{\"queue\": \"default\"}", "[{\"retried\":1}]");
    tasks = claim(connection, 1);
    assert_ok(cloaca_complete(connection, task, tasks->tasks[0].lease_id, "{\"ok\": true}", &error));
    cloaca_tasks_free(tasks);
    assert_call(connection, "list_tasks", NULL, "[]");
    cloaca_close(connection);
}

static void many_tasks_live(void **state)
{
    cloaca *connection = open_file("many.db", "");
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    const char *const payloads[] = {"1", "{\"a\": [\"\\\"\"]}", "\"three\"", "4"};
    const char *const keys[] = {"a", NULL, "a", "d \"quoted\" \\"};
    const char *const results[] = {"1", NULL, "3"};
    int64_t ids[4], done[3], leases[3];
    bool created[4];
    cloaca_status outcomes[3];
    cloaca_tasks *tasks;
    cloaca_error error;

    (void) state;
    options.name = "x";
    assert_ok(cloaca_enqueue_many(connection, &options, 4, payloads, keys, ids, created, &error));
    assert_true(created[0] && created[1] && !created[2] && created[3]);
    assert_true(ids[0] == ids[2] && ids[0] < ids[1] && ids[1] < ids[3]);
    tasks = claim(connection, 100);
    assert_int_equal(tasks->count, 3);
    assert_string_equal(tasks->tasks[1].payload, "{\"a\": [\"\\\"\"]}");
    for (int i = 0; i < 3; i++) {
        done[i] = tasks->tasks[i].task;
        leases[i] = tasks->tasks[i].lease_id;
    }
    leases[1]++;
    assert_ok(cloaca_extend_many(connection, 3, done, leases, 60000000, outcomes, &error));
    assert_int_equal(outcomes[0], CLOACA_OK);
    assert_int_equal(outcomes[1], CLOACA_LEASE_LOST);
    assert_int_equal(outcomes[2], CLOACA_OK);
    assert_ok(cloaca_extend_many(connection, 3, done, leases, CLOACA_NO_INTERVAL, NULL, &error));
    assert_condition(cloaca_extend_many(connection, 3, NULL, leases, CLOACA_NO_INTERVAL, NULL, &error),
                     CLOACA_INVALID_ARGUMENT);
    assert_ok(cloaca_complete_many(connection, 3, done, leases, results, outcomes, &error));
    assert_int_equal(outcomes[0], CLOACA_OK);
    assert_int_equal(outcomes[1], CLOACA_LEASE_LOST);
    assert_int_equal(outcomes[2], CLOACA_OK);
    cloaca_tasks_free(tasks);
    assert_condition(cloaca_complete_many(connection, 3, done, leases, NULL, NULL, &error) == CLOACA_OK
                         ? cloaca_call(connection, "complete_many", "{\"tasks\": [1], \"lease_ids\": []}", NULL, &error)
                         : CLOACA_OK,
                     CLOACA_INVALID_ARGUMENT);
    cloaca_close(connection);
}

static void tasks_are_looked_after(void **state)
{
    cloaca *connection = open_file("after.db", "");
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    cloaca_result *result;
    cloaca_tasks *tasks;
    cloaca_error error;
    int64_t task, retried;
    bool cancelling;

    (void) state;
    options.name = "x";
    assert_ok(cloaca_enqueue(connection, &options, &task, NULL, &error));
    assert_ok(cloaca_enqueue(connection, &options, NULL, NULL, &error));
    assert_ok(cloaca_get_task(connection, task, &result, &error));
    assert_string_equal(cloaca_result_get(result, 0, "state"), "ready");
    cloaca_result_free(result);
    assert_ok(cloaca_list_tasks(connection, NULL, NULL, NULL, 0, 0, &result, &error));
    assert_int_equal(cloaca_result_rows(result), 2);
    cloaca_result_free(result);
    assert_ok(cloaca_list_tasks(connection, "default", "ready", "x", task, 1, &result, &error));
    assert_int_equal(cloaca_result_rows(result), 1);
    assert_string_equal(cloaca_result_get(result, 0, "task"), "2");
    cloaca_result_free(result);
    assert_condition(cloaca_list_tasks(connection, NULL, "odd", NULL, 0, 0, &result, &error), CLOACA_INVALID_ARGUMENT);
    assert_null(result);
    assert_condition(cloaca_get_task(connection, 99, &result, &error), CLOACA_UNKNOWN_TASK);
    assert_null(result);

    assert_ok(cloaca_cancel_task(connection, 2, &cancelling, &error));
    assert_false(cancelling);
    assert_condition(cloaca_cancel_task(connection, 2, NULL, &error), CLOACA_UNKNOWN_TASK);
    for (int i = 0; i < 2; i++) {
        tasks = claim(connection, 1);
        assert_ok(cloaca_fail(connection, task, tasks->tasks[0].lease_id, "no", true, CLOACA_NO_INTERVAL, NULL, &error));
        cloaca_tasks_free(tasks);
        assert_ok(cloaca_retry_task(connection, i == 0 ? task : 0, i == 0 ? NULL : "default", i, &retried, &error));
        assert_int_equal(retried, 1);
    }
    assert_condition(cloaca_retry_task(connection, 0, NULL, 0, NULL, &error), CLOACA_INVALID_ARGUMENT);
    tasks = claim(connection, 1);
    assert_ok(cloaca_cancel_task(connection, task, &cancelling, &error));
    assert_true(cancelling);
    cloaca_tasks_free(tasks);

    assert_condition(cloaca_enqueue(connection, NULL, NULL, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_enqueue_many(connection, NULL, 0, NULL, NULL, NULL, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_enqueue_many(connection, &options, 1, NULL, NULL, NULL, NULL, &error), CLOACA_INVALID_ARGUMENT);
    cloaca_close(connection);
}

static void transactions_are_whole(void **state)
{
    cloaca *connection = open_file("transaction.db", "");
    cloaca *other = open_file("transaction.db", "");
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_execute(connection, "create table mine (x); insert into mine values (1)", &error));
    assert_ok(cloaca_begin(connection, &error));
    assert_condition(cloaca_begin(connection, &error), CLOACA_IN_TRANSACTION);
    enqueue(connection, "rolled back");
    assert_ok(cloaca_execute(connection, "insert into mine values (2)", &error));
    assert_call(other, "list_tasks", NULL, "[]");
    assert_ok(cloaca_rollback(connection, &error));
    assert_condition(cloaca_rollback(connection, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_commit(connection, &error), CLOACA_INVALID_ARGUMENT);
    assert_call(connection, "list_tasks", NULL, "[]");

    /* A call that fails undoes itself alone. */
    assert_ok(cloaca_begin(connection, &error));
    enqueue(connection, "stays");
    assert_condition(cloaca_call(connection, "enqueue_many", "{\"name\": \"x\", \"payloads\": [1, 2], \"keys\": [\"\", null]}",
                                 NULL, &error),
                     CLOACA_INVALID_NAME);
    assert_false(error.transaction_aborted);
    assert_ok(cloaca_commit(connection, &error));
    assert_same(call_json(other, "list_tasks", NULL), call_json(connection, "list_tasks", NULL));

    /* Several statements are all or nothing; a wrong one says why. */
    assert_condition(cloaca_execute(connection, "insert into mine values (3); insert into yours values (1)", &error),
                     CLOACA_DATABASE_ERROR);
    assert_string_equal(error.detail, "No such table: yours.");
    assert_condition(cloaca_execute(connection, "select raise_it()", &error), CLOACA_DATABASE_ERROR);
    assert_ok(cloaca_execute(connection, "create table empty as select * from mine where x = 3; select 1", &error));
    cloaca_close(connection);
    cloaca_close(other);
    {
        sqlite3 *raw = open_raw("transaction.db");

        assert_int_equal(number_raw(raw, "select count(*) from mine"), 1);
        assert_int_equal(number_raw(raw, "select count(*) from cloaca_task"), 1);
        sqlite3_close(raw);
    }
}

static void closing_rolls_back(void **state)
{
    cloaca *connection = open_file("closing.db", "");
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_begin(connection, &error));
    enqueue(connection, "gone");
    cloaca_close(connection);
    connection = open_file("closing.db", "");
    assert_call(connection, "list_tasks", NULL, "[]");
    cloaca_close(connection);
}

static void borrowed_connections_stay_as_they_are(void **state)
{
    sqlite3 *database = open_raw("borrowed.db");
    cloaca *connection;
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_attach(CLOACA_SQLITE, database, &connection, &error));
    run_raw(database, "begin; create table mine (x); insert into mine values (1)");
    enqueue(connection, "first");
    assert_condition(cloaca_begin(connection, &error), CLOACA_IN_TRANSACTION);
    assert_condition(cloaca_call(connection, "get_task", "{\"task\": 99}", NULL, &error), CLOACA_UNKNOWN_TASK);
    assert_false(sqlite3_get_autocommit(database));
    run_raw(database, "rollback");
    assert_int_equal(number_raw(database, "select count(*) from sqlite_master"), 0);

    /* The tables were rolled back with the transaction that made them. */
    enqueue(connection, "second");
    assert_true(sqlite3_get_autocommit(database));
    run_raw(database, "begin");
    enqueue(connection, "third");
    run_raw(database, "commit");
    assert_int_equal(number_raw(database, "select count(*) from cloaca_task"), 2);
    assert_ok(cloaca_begin(connection, &error));
    enqueue(connection, "fourth");
    cloaca_close(connection);
    assert_true(sqlite3_get_autocommit(database));
    assert_int_equal(number_raw(database, "select count(*) from cloaca_task"), 2);
    assert_int_equal(number_raw(database, "pragma foreign_keys"), 0);
    assert_int_equal(number_raw(database, "pragma busy_timeout"), 0);
    assert_int_equal(number_raw(database, "pragma synchronous"), 2);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
    assert_condition(cloaca_attach(CLOACA_SQLITE, NULL, &connection, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_attach((cloaca_backend) 7, database, &connection, &error), CLOACA_INVALID_ARGUMENT);
}

static void locked_files_are_busy(void **state)
{
    cloaca *connection = open_file("locked.db", "?_busy_timeout=0");
    sqlite3 *other = open_raw("locked.db");
    cloaca_error error;

    (void) state;
    enqueue(connection, "first");
    run_raw(other, "begin immediate");
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_BUSY);
    assert_true(error.retryable);
    assert_string_equal(error.sqlstate, "55P03");
    assert_condition(cloaca_begin(connection, &error), CLOACA_BUSY);
    /* Readers go on. */
    cloaca_free(call_json(connection, "list_tasks", NULL));
    run_raw(other, "rollback");
    enqueue(connection, "second");
    sqlite3_close(other);
    cloaca_close(connection);
}

static void old_snapshots_are_busy(void **state)
{
    cloaca *writer = open_file("snapshot.db", "");
    sqlite3 *database = open_raw("snapshot.db");
    cloaca *connection;
    cloaca_error error;

    (void) state;
    enqueue(writer, "first");
    assert_ok(cloaca_attach(CLOACA_SQLITE, database, &connection, &error));
    run_raw(database, "begin; select * from cloaca_task");
    enqueue(writer, "second");
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_BUSY);
    assert_true(error.retryable);
    assert_string_equal(error.hint, "Another connection wrote since the transaction began to read: roll back and begin again.");
    run_raw(database, "rollback");
    enqueue(connection, "third");
    cloaca_close(connection);
    sqlite3_close(database);
    cloaca_close(writer);
}

static void full_files_change_nothing(void **state)
{
    cloaca *connection = open_file("full.db", "");
    char *payload = malloc(100003);
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    cloaca_error error;
    cloaca_status status;
    int stored = 0;
    sqlite3 *raw;

    (void) state;
    memset(payload, 'x', 100002);
    payload[0] = payload[100001] = '"';
    payload[100002] = '\0';
    options.name = "x";
    options.payload = payload;
    enqueue(connection, "first");
    assert_ok(cloaca_execute(connection, "pragma max_page_count = 200", &error));
    while ((status = cloaca_enqueue(connection, &options, NULL, NULL, &error)) == CLOACA_OK && stored < 100) {
        stored++;
    }
    assert_int_equal(status, CLOACA_STORAGE_FULL);
    assert_string_equal(error.sqlstate, "53100");
    assert_true(stored > 2);
    assert_condition(cloaca_enqueue(connection, &options, NULL, NULL, &error), CLOACA_STORAGE_FULL);

    /* Inside a transaction the database gives all of it up; nothing goes on as if it were still there. */
    assert_ok(cloaca_begin(connection, &error));
    enqueue(connection, "with it");
    status = cloaca_enqueue(connection, &options, NULL, NULL, &error);
    assert_int_equal(status, CLOACA_STORAGE_FULL);
    if (error.transaction_aborted) {
        assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_DATABASE_ERROR);
        assert_true(error.transaction_aborted);
        assert_string_equal(error.sqlstate, "25P02");
        assert_condition(cloaca_commit(connection, &error), CLOACA_DATABASE_ERROR);
    } else {
        assert_ok(cloaca_rollback(connection, &error));
    }
    assert_ok(cloaca_execute(connection, "pragma max_page_count = 100000", &error));
    assert_ok(cloaca_enqueue(connection, &options, NULL, NULL, &error));
    cloaca_close(connection);
    raw = open_raw("full.db");
    assert_int_equal(number_raw(raw, "select count(*) from cloaca_task"), stored + 2);
    sqlite3_close(raw);
    free(payload);
}

static void read_only_files_are_read(void **state)
{
    cloaca *connection = open_file("readonly.db", "");
    cloaca_error error;

    (void) state;
    enqueue(connection, "x");
    cloaca_close(connection);
    connection = open_file("readonly.db", "?mode=ro");
    assert_same(call_json(connection, "get_task", "{\"task\": 1}"), call_json(connection, "list_tasks", NULL));
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_READ_ONLY);
    assert_false(error.retryable);
    assert_ok(cloaca_begin(connection, &error));
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_READ_ONLY);
    assert_ok(cloaca_rollback(connection, &error));
    cloaca_close(connection);
    assert_condition(cloaca_open(url_of("missing.db", "?mode=ro"), &connection, &error), CLOACA_UNKNOWN_DATABASE);
    assert_condition(cloaca_open(url_of("missing.db", "?mode=rw"), &connection, &error), CLOACA_UNKNOWN_DATABASE);
    assert_condition(cloaca_open(url_of("no/such/folder.db", ""), &connection, &error), CLOACA_UNKNOWN_DATABASE);
    assert_condition(cloaca_open(url_of("", ""), &connection, &error), CLOACA_UNKNOWN_DATABASE);
}

static void other_files_are_refused(void **state)
{
    FILE *file = fopen(path_of("text.db"), "w");
    sqlite3 *raw = open_raw("empty.db");
    cloaca *connection;
    cloaca_error error;

    (void) state;
    for (int i = 0; i < 1000; i++) {
        fputs("This is no database. ", file);
    }
    fclose(file);
    assert_condition(cloaca_open(url_of("text.db", ""), &connection, &error), CLOACA_NOT_A_DATABASE);
    assert_null(connection);
    assert_condition(cloaca_open(url_of("text.db", "?mode=ro"), &connection, &error), CLOACA_NOT_A_DATABASE);
    run_raw(raw, "create table mine (x)");
    connection = open_file("empty.db", "?mode=ro");
    assert_condition(cloaca_call(connection, "list_tasks", NULL, NULL, &error), CLOACA_NOT_A_DATABASE);
    assert_condition(cloaca_init(connection, &error), CLOACA_NOT_A_DATABASE);
    cloaca_close(connection);
    sqlite3_close(raw);
}

static void newer_tables_are_refused(void **state)
{
    cloaca *connection = open_file("newer.db", "");
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_init(connection, &error));
    assert_ok(cloaca_init(connection, &error));
    assert_ok(cloaca_execute(connection, "update cloaca_meta set table_version = 1000", &error));
    cloaca_close(connection);
    connection = open_file("newer.db", "");
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_NOT_SUPPORTED);
    assert_string_equal(error.detail, "The file has tables of version 1000, and this library knows version 1.");
    assert_condition(cloaca_begin(connection, &error), CLOACA_NOT_SUPPORTED);
    cloaca_close(connection);
}

static void files_are_in_wal_mode(void **state)
{
    cloaca *connection = open_file("wal.db", "");
    sqlite3 *raw = open_raw("wal.db");
    cloaca_error error;

    (void) state;
    assert_int_equal(number_raw(raw, "select journal_mode = 'wal' from pragma_journal_mode"), 1);
    cloaca_close(connection);
    connection = open_file("delete.db", "?_journal_mode=DELETE&_synchronous=FULL&_busy_timeout=1");
    enqueue(connection, "x");
    cloaca_close(connection);
    sqlite3_close(raw);
    raw = open_raw("delete.db");
    assert_int_equal(number_raw(raw, "select journal_mode = 'delete' from pragma_journal_mode"), 1);
    /* Another mode than the file's needs it alone. */
    run_raw(raw, "begin; select * from cloaca_task");
    assert_condition(cloaca_open(url_of("delete.db", "?_busy_timeout=0"), &connection, &error), CLOACA_BUSY);
    sqlite3_close(raw);
}

/* Two connections share the tasks of a file, and no task goes to both. */
static void claims_are_exclusive(void **state)
{
    cloaca *connections[] = {open_file("claims.db", ""), open_file("claims.db", "")};
    bool seen[101] = {false};
    cloaca_error error;

    (void) state;
    for (int i = 0; i < 100; i++) {
        enqueue(connections[i % 2], "x");
    }
    for (int i = 0, left = 100; left > 0; i++) {
        cloaca_tasks *tasks = claim(connections[i % 2], 7);

        for (size_t j = 0; j < tasks->count; j++, left--) {
            const int64_t task = tasks->tasks[j].task;

            if (task >= 1 && task <= 100 && !seen[task]) {
                seen[task] = true;
            } else {
                fail_msg("task %lld went to both", (long long) task);
            }
            assert_ok(cloaca_complete(connections[1 - i % 2], task, tasks->tasks[j].lease_id, NULL, &error));
        }
        cloaca_tasks_free(tasks);
    }
    cloaca_close(connections[0]);
    cloaca_close(connections[1]);
}

/* Processes that open a new file at once wait for each other. */
static void new_files_are_shared(void **state)
{
    cloaca *connection;
    cloaca_result *result;
    cloaca_error error;
    int status;

    (void) state;
    for (int i = 0; i < 8; i++) {
        const pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
            cloaca_status enqueued;

            options.name = "x";
            enqueued = cloaca_open(url_of("shared.db", ""), &connection, &error);
            _exit(enqueued != CLOACA_OK || cloaca_enqueue(connection, &options, NULL, NULL, &error) != CLOACA_OK);
        }
    }
    for (int i = 0; i < 8; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    connection = open_file("shared.db", "");
    assert_ok(cloaca_call(connection, "list_tasks", NULL, &result, &error));
    assert_int_equal(cloaca_result_rows(result), 8);
    cloaca_result_free(result);
    cloaca_close(connection);
}

static void broken_documents_are_noticed(void **state)
{
    cloaca *connection = open_file("broken.db", "");
    cloaca_error error;
    cloaca_tasks *tasks;

    (void) state;
    enqueue(connection, "x");
    assert_ok(cloaca_execute(connection, "update cloaca_task set payload = '{broken'", &error));
    assert_condition(cloaca_call(connection, "get_task", "{\"task\": 1}", NULL, &error), CLOACA_DATABASE_ERROR);
    assert_string_equal(error.detail, "The file has a document that is not valid JSON.");
    assert_condition(cloaca_claim(connection, NULL, NULL, 1, CLOACA_NO_INTERVAL, &tasks, &error), CLOACA_DATABASE_ERROR);
    assert_null(tasks);
    /* The claim was undone. */
    assert_ok(cloaca_execute(connection, "update cloaca_task set payload = '[1,2]'", &error));
    tasks = claim(connection, 1);
    assert_int_equal(tasks->tasks[0].attempt, 1);
    assert_string_equal(tasks->tasks[0].payload, "[1, 2]");
    cloaca_tasks_free(tasks);
    cloaca_close(connection);
}

/* Whatever somebody wrote into it. */
static void schedules_catch_up_in_bounds(void **state)
{
    cloaca *connection = open_file("schedules.db", "");
    cloaca_error error;
    sqlite3 *database;

    (void) state;
    assert_ok(cloaca_set_clock(connection, 0, &error));
    assert_ok(cloaca_call(connection, "create_schedule",
                          "{\"name\": \"s\", \"cron\": \"* * * * * *\", \"task\": \"t\", \"catch_up\": \"run_all\"}", NULL,
                          &error));
    assert_ok(cloaca_execute(connection, "update cloaca_schedule set max_catch_up = 2500", &error));
    assert_ok(cloaca_set_clock(connection, 3000 * INT64_C(1000000), &error));
    assert_ok(cloaca_call(connection, "run_maintenance", NULL, NULL, &error));
    cloaca_close(connection);
    database = open_raw("schedules.db");
    assert_int_equal(number_raw(database, "select fired from cloaca_schedule"), 1000);
    assert_int_equal(number_raw(database, "select skipped from cloaca_schedule"), 1000);
    assert_int_equal(number_raw(database, "select next_at from cloaca_schedule"), 3001 * INT64_C(1000000));
    sqlite3_close(database);
}

/* A call ends at its limit, whether it waits or works, and the next one does not. */
static void calls_have_limits(void **state)
{
    static const char endless[] = "with recursive n (i) as (select 1 union all select i + 1 from n) select count(*) from n";
    clo_guard guard = {0};
    sqlite3 *other;
    cloaca *connection;
    cloaca_error error;

    (void) state;
    assert_ok(clo_open(url_of("limits.db", "?_busy_timeout=600000"), &guard, &connection, &error));
    assert_ok(cloaca_init(connection, &error));
    other = open_raw("limits.db");
    for (int i = 0; i < 3; i++) {
        run_raw(other, "begin immediate");
        guard.limit = 1;
        assert_condition(cloaca_begin(connection, &error), CLOACA_BUSY);
        run_raw(other, "rollback");
        assert_condition(cloaca_execute(connection, endless, &error), CLOACA_TIMEOUT);
        guard.limit = 0;
        assert_ok(cloaca_begin(connection, &error));
        assert_ok(cloaca_rollback(connection, &error));
    }
    atomic_store(&guard.aborted, true);
    assert_condition(cloaca_execute(connection, endless, &error), CLOACA_TIMEOUT);
    cloaca_close(connection);
    sqlite3_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_lives),
        cmocka_unit_test(many_tasks_live),
        cmocka_unit_test(tasks_are_looked_after),
        cmocka_unit_test(transactions_are_whole),
        cmocka_unit_test(closing_rolls_back),
        cmocka_unit_test(borrowed_connections_stay_as_they_are),
        cmocka_unit_test(locked_files_are_busy),
        cmocka_unit_test(old_snapshots_are_busy),
        cmocka_unit_test(full_files_change_nothing),
        cmocka_unit_test(read_only_files_are_read),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(newer_tables_are_refused),
        cmocka_unit_test(files_are_in_wal_mode),
        cmocka_unit_test(claims_are_exclusive),
        cmocka_unit_test(new_files_are_shared),
        cmocka_unit_test(broken_documents_are_noticed),
        cmocka_unit_test(schedules_catch_up_in_bounds),
        cmocka_unit_test(calls_have_limits),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
