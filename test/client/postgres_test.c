/*
 * postgres_test.c - the library on a PostgreSQL server: tenants and their passwords, transactions, borrowed connections, odd
 * session settings, and connections that are lost
 *
 * Runs under test/cluster; without PGHOST in the environment every test is skipped. Some tests fork a child that cuts the
 * parent's connection, or ends its server process, once the server process waits for something that the test keeps from it.
 */
#define _DEFAULT_SOURCE /* usleep, clock_gettime */
#include "test.h"

#include "common/json.h"
#include "common/timestamp.h"
#include "fixtures.h"

#include "backend.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static cloaca *open_server(const char *options)
{
    cloaca *connection;
    cloaca_error error;
    char full[300];

    snprintf(full, sizeof(full), "postgresql:///%s", options);
    assert_ok(cloaca_open(full, &connection, &error));
    return connection;
}

static PGconn *open_raw(void)
{
    PGconn *server = PQconnectdb("client_encoding=UTF8");

    assert_int_equal(PQstatus(server), CONNECTION_OK);
    return server;
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

/* A tenant of its own for a test; the same name is made once. */
static cloaca *open_tenant(const char *name)
{
    cloaca *admin = open_server("");
    cloaca_error error;
    char text[100];

    assert_ok(cloaca_init(admin, &error));
    snprintf(text, sizeof(text), "{\"schema_name\": \"%s\", \"username\": \"%s_user\"}", name, name);
    assert_ok(cloaca_call(admin, "create_tenant", text, NULL, &error));
    cloaca_close(admin);
    snprintf(text, sizeof(text), "?schema=%s", name);
    return open_server(text);
}

static void drop_tenant(cloaca *connection, const char *name)
{
    cloaca *admin = open_server("");
    cloaca_error error;
    char text[100];

    cloaca_close(connection);
    snprintf(text, sizeof(text), "{\"schema_name\": \"%s\"}", name);
    assert_ok(cloaca_call(admin, "drop_tenant_all", text, NULL, &error));
    cloaca_close(admin);
}

static void a_task_lives(void **state)
{
    cloaca *connection = open_tenant("client_life");
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    const char *const payloads[] = {"{\"q\": \"a\\\"b\\\\c{},\"}", "[1, 2]", "\"s\""};
    const char *const keys[] = {"a\"\\{},", NULL, "NULL"};
    int64_t ids[3], done[3], leases[3], task, until;
    cloaca_status outcomes[3];
    bool created[3], dead;
    cloaca_tasks *tasks;
    cloaca_error error;

    (void) state;
    assert_int_equal(cloaca_backend_of(connection), CLOACA_POSTGRES);
    assert_ok(cloaca_set_clock(connection, 0, &error));
    assert_ok(cloaca_set_random(connection, 0.5, &error));
    options.name = "mail";
    options.payload = "{\"to\":\"a\",\"n\":1.10}";
    options.priority = -5;
    options.delay = 1500000;
    options.retry = "{\"strategy\": \"fixed\", \"initial\": 2}";
    assert_ok(cloaca_enqueue(connection, &options, &task, created, &error));
    assert_true(created[0]);
    assert_ok(cloaca_claim(connection, NULL, "w", 10, CLOACA_NO_INTERVAL, &tasks, &error));
    assert_int_equal(tasks->count, 0);
    cloaca_tasks_free(tasks);
    assert_ok(cloaca_set_clock(connection, 1500000, &error));
    assert_ok(cloaca_claim(connection, NULL, "w", 10, 60000000, &tasks, &error));
    assert_int_equal(tasks->count, 1);
    assert_true(tasks->tasks[0].task == task);
    assert_string_equal(tasks->tasks[0].payload, "{\"n\": 1.10, \"to\": \"a\"}");
    assert_true(tasks->tasks[0].run_at == 1500000);
    assert_true(tasks->tasks[0].lease_until == 61500000);
    assert_int_equal(tasks->tasks[0].priority, -5);
    assert_ok(cloaca_extend(connection, task, tasks->tasks[0].lease_id, 1000000, &until, &error));
    assert_true(until == 2500000);
    assert_condition(cloaca_release(connection, task, tasks->tasks[0].lease_id + 1, &error), CLOACA_LEASE_LOST);
    assert_string_equal(error.sqlstate, "ZC009");
    assert_string_equal(error.hint, "Its lease expired, another worker holds it, or it is finished.");
    assert_ok(cloaca_fail(connection, task, tasks->tasks[0].lease_id, "no", false, CLOACA_NO_INTERVAL, &dead, &error));
    assert_false(dead);
    cloaca_tasks_free(tasks);
    assert_ok(cloaca_set_clock(connection, CLO_TIME_END - 1000000, &error));
    assert_ok(cloaca_claim(connection, NULL, "w", 1, 1, &tasks, &error));
    assert_true(tasks->tasks[0].run_at == 3500000);
    assert_ok(cloaca_defer_until(connection, task, tasks->tasks[0].lease_id, CLO_TIME_FIRST, &error));
    cloaca_tasks_free(tasks);
    assert_ok(cloaca_claim(connection, NULL, "w", 1, CLOACA_NO_INTERVAL, &tasks, &error));
    assert_true(tasks->tasks[0].run_at == CLO_TIME_FIRST);
    assert_condition(cloaca_defer_until(connection, task, tasks->tasks[0].lease_id, INT64_MAX, &error),
                     CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_defer_until(connection, task, tasks->tasks[0].lease_id, INT64_MIN + 1, &error),
                     CLOACA_INVALID_ARGUMENT);
    assert_string_equal(error.detail, "The run_at must be a time between the years 1 and 9999.");
    assert_ok(cloaca_complete(connection, task, tasks->tasks[0].lease_id, "{\"ok\": true}", &error));
    cloaca_tasks_free(tasks);
    assert_ok(cloaca_set_clock(connection, CLOACA_NO_TIME, &error));

    options = (cloaca_enqueue_options) CLOACA_ENQUEUE_INIT;
    options.name = "x";
    assert_ok(cloaca_enqueue_many(connection, &options, 3, payloads, keys, ids, created, &error));
    assert_ok(cloaca_claim(connection, "default", NULL, 10, CLOACA_NO_INTERVAL, &tasks, &error));
    assert_int_equal(tasks->count, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(tasks->tasks[i].payload, payloads[i]);
        done[i] = tasks->tasks[i].task;
        leases[i] = tasks->tasks[i].lease_id + (i == 1);
    }
    cloaca_tasks_free(tasks);
    assert_ok(cloaca_complete_many(connection, 3, done, leases, payloads, outcomes, &error));
    assert_int_equal(outcomes[0], CLOACA_OK);
    assert_int_equal(outcomes[1], CLOACA_LEASE_LOST);
    assert_int_equal(outcomes[2], CLOACA_OK);
    drop_tenant(connection, "client_life");
}

/* What the server prints of a document is what the library makes of it, so that both backends print the same. */
static void documents_are_the_servers(void **state)
{
    static const char *const parts[] = {"1",
                                        "-0",
                                        "1.50",
                                        "1e3",
                                        "2.5e-4",
                                        "0e9",
                                        "123456789012345678901234567890",
                                        "\"\"",
                                        "\"\\u00e9\"",
                                        "\"\\/\"",
                                        "\"\\n\"",
                                        "\"\\u007f\\u0001\"",
                                        "\"😀\"",
                                        "\"\\ud83d\\ude00\"",
                                        "true",
                                        "null",
                                        "[]",
                                        "{}",
                                        "0.0",
                                        "1E-10",
                                        "\"ab\"",
                                        "[[], {}]"};
    static const char *const keys[] = {"\"a\"",    "\"b\"",  "\"aa\"", "\"\\u0061\"", "\"é\"",
                                       "\"z\\n\"", "\"zz\"", "\"\"",   "\"\\\"\""};
    cloaca *connection = open_tenant("client_json");
    cloaca_error error;
    unsigned seed = 42;

    (void) state;
    for (int i = 0; i < 200; i++) {
        cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
        clo_buffer text = {0}, canonical = {0};
        cloaca_result *result;
        char arguments[64];
        int64_t task;

        clo_buffer_byte(&text, '{');
        for (int j = 0; j < 8; j++) {
            seed = seed * 1103515245 + 12345;
            clo_buffer_text(&text, j > 0 ? "," : "");
            clo_buffer_text(&text, keys[(seed >> 16) % (sizeof(keys) / sizeof(keys[0]))]);
            seed = seed * 1103515245 + 12345;
            clo_buffer_text(&text, seed & 0x100000 ? ":" : " : [{\"k\":");
            clo_buffer_text(&text, parts[(seed >> 16) % (sizeof(parts) / sizeof(parts[0]))]);
            clo_buffer_text(&text, seed & 0x100000 ? "" : ", \"a\":0}]");
        }
        clo_buffer_byte(&text, '}');
        assert_true(clo_buffer_finish(&text));
        assert_true(clo_json_canonical(text.data, text.length, &canonical, NULL));
        assert_true(clo_buffer_finish(&canonical));
        options.name = "x";
        options.payload = text.data;
        assert_ok(cloaca_enqueue(connection, &options, &task, NULL, &error));
        snprintf(arguments, sizeof(arguments), "{\"task\": %lld}", (long long) task);
        assert_ok(cloaca_call(connection, "get_task", arguments, &result, &error));
        assert_string_equal(cloaca_result_get(result, 0, "payload"), canonical.data);
        cloaca_result_free(result);
        clo_buffer_free(&text);
        clo_buffer_free(&canonical);
    }
    drop_tenant(connection, "client_json");
}

static void settings_play_no_part(void **state)
{
    cloaca *connection = open_tenant("client_settings");
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_execute(connection,
                             "set datestyle = 'german'; set intervalstyle = 'sql_standard'; set timezone = 'Asia/Kathmandu';"
                             "set bytea_output = 'escape'; set extra_float_digits = -5; set standard_conforming_strings = off;"
                             "create schema if not exists evil; set search_path = evil, pg_catalog",
                             &error));
    assert_ok(cloaca_set_clock(connection, 0, &error));
    assert_call(
        connection, "set_queue",
        "{\"queue\": \"default\", \"lease\": \"1 day 2 hours\", \"retention\": \"1 month\", \"key_retention\": \"1.5 s\"}",
        "[{\"queue\":\"default\",\"paused\":false,\"lease\":\"1 day 02:00:00\",\"max_attempts\":3,\"retry\":{},"
        "\"retention\":\"30 days 00:00:00\",\"key_retention\":\"00:00:01.5\"}]");
    assert_call(connection, "enqueue", "{\"name\": \"x\", \"run_at\": \"2026-06-01T02:00:00.000001+02:00\"}",
                "[{\"task\":1,\"created\":true}]");
    assert_call(connection, "list_tasks", "{\"state\": \"scheduled\"}",
                "[{\"task\":1,\"queue\":\"default\",\"name\":\"x\",\"state\":\"scheduled\",\"payload\":{},\"priority\":0,"
                "\"run_at\":\"2026-06-01T00:00:00.000001Z\",\"attempt\":0,\"max_attempts\":3,\"key\":null,\"worker\":null,"
                "\"lease_until\":null,\"execution\":null,\"result\":null,\"error\":null,\"errors\":null,"
                "\"enqueued_at\":\"1970-01-01T00:00:00.000000Z\",\"claimed_at\":null,\"finished_at\":null}]");
    assert_ok(cloaca_execute(connection, "set search_path = public; drop schema evil", &error));
    drop_tenant(connection, "client_settings");
}

static void transactions_are_whole(void **state)
{
    cloaca *connection = open_tenant("client_transaction");
    cloaca *other = open_server("?schema=client_transaction");
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_begin(connection, &error));
    assert_condition(cloaca_begin(connection, &error), CLOACA_IN_TRANSACTION);
    enqueue(connection, "rolled back");
    assert_call(other, "list_tasks", NULL, "[]");
    assert_ok(cloaca_rollback(connection, &error));
    assert_condition(cloaca_rollback(connection, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_commit(connection, &error), CLOACA_INVALID_ARGUMENT);
    assert_ok(cloaca_begin(connection, &error));
    enqueue(connection, "stays");
    assert_ok(cloaca_execute(
        connection, "create table client_transaction.mine (x int); insert into client_transaction.mine values (1)", &error));
    assert_ok(cloaca_commit(connection, &error));
    assert_call(other, "failure_stats", NULL, "[]");

    assert_ok(cloaca_begin(connection, &error));
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"\"}", NULL, &error), CLOACA_INVALID_NAME);
    assert_true(error.transaction_aborted);
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_DATABASE_ERROR);
    assert_string_equal(error.sqlstate, "25P02");
    assert_true(error.transaction_aborted);
    assert_condition(cloaca_commit(connection, &error), CLOACA_DATABASE_ERROR);
    assert_ok(cloaca_begin(connection, &error));
    assert_condition(cloaca_call(connection, "drop_tenant_all", "{\"schema_name\": \"client_transaction\"}", NULL, &error),
                     CLOACA_IN_TRANSACTION);
    assert_ok(cloaca_rollback(connection, &error));
    assert_condition(cloaca_execute(connection, "select 1; select nothing", &error), CLOACA_DATABASE_ERROR);
    assert_string_equal(error.sqlstate, "42703");
    assert_condition(cloaca_execute(connection, "copy (select 1) to stdout", &error), CLOACA_NOT_SUPPORTED);
    assert_condition(cloaca_execute(connection, "copy client_transaction.mine from stdin", &error), CLOACA_NOT_SUPPORTED);
    assert_ok(cloaca_execute(connection, "drop table client_transaction.mine", &error));
    cloaca_close(other);
    drop_tenant(connection, "client_transaction");
}

static void borrowed_connections_stay_usable(void **state)
{
    PGconn *server = open_raw();
    cloaca *tenant = open_tenant("client_borrowed");
    cloaca *connection;
    cloaca_error error;

    (void) state;
    run_on_server(server, "set cloaca.tenant = 'client_borrowed'; create temp table mine (x int)");
    assert_ok(cloaca_attach(CLOACA_POSTGRES, server, &connection, &error));
    run_on_server(server, "begin; insert into mine values (1)");
    enqueue(connection, "in it");
    assert_condition(cloaca_call(connection, "get_task", "{\"task\": 99}", NULL, &error), CLOACA_UNKNOWN_TASK);
    assert_false(error.transaction_aborted);
    assert_int_equal(PQtransactionStatus(server), PQTRANS_INTRANS);
    assert_condition(cloaca_begin(connection, &error), CLOACA_IN_TRANSACTION);
    run_on_server(server, "insert into mine values (2); rollback");
    assert_call(tenant, "list_tasks", NULL, "[]");
    run_on_server(server, "begin");
    enqueue(connection, "in it");
    run_on_server(server, "commit");
    assert_condition(cloaca_call(connection, "get_task", "{\"task\": 99}", NULL, &error), CLOACA_UNKNOWN_TASK);
    assert_ok(cloaca_begin(connection, &error));
    enqueue(connection, "rolled back");
    cloaca_close(connection);
    assert_int_equal(PQtransactionStatus(server), PQTRANS_IDLE);
    run_on_server(server,
                  "do $$ begin if (select count(*) from client_borrowed.cloaca_task) <> 1 then raise 'no'; end if; end $$");
    run_on_server(server, "set client_encoding = 'LATIN1'");
    assert_condition(cloaca_attach(CLOACA_POSTGRES, server, &connection, &error), CLOACA_NOT_SUPPORTED);
    PQfinish(server);
    drop_tenant(tenant, "client_borrowed");
}

static void refused_connections_say_why(void **state)
{
    static const struct {
        const char *options;
        cloaca_status status;
        const char *sqlstate;
        const char *part;
    } cases[] = {
        {"no_such_database", CLOACA_UNKNOWN_DATABASE, "3D000", "Database \"no_such_database\" does not exist."},
        {"?user=nobody_at_all", CLOACA_AUTHENTICATION_FAILED, "28P01", ""},
        {"?port=1&host=127.0.0.1", CLOACA_CONNECTION_REFUSED, "08001", "refused"},
        {"?host=/no/such/folder", CLOACA_CONNECTION_REFUSED, "08001", "No such file"},
        {"?schema=no_such_tenant", CLOACA_UNKNOWN_TENANT, "ZC004", "no_such_tenant"},
        {"?schema=pg_catalog", CLOACA_UNKNOWN_TENANT, "ZC004", "pg_catalog"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cloaca *connection;
        cloaca_error error;
        char full[200];

        snprintf(full, sizeof(full), "postgresql:///%s", cases[i].options);
        assert_condition(cloaca_open(full, &connection, &error), cases[i].status);
        assert_null(connection);
        assert_string_equal(error.sqlstate, cases[i].sqlstate);
        if (strstr(error.detail, cases[i].part) == NULL) {
            fail_msg("%s: %s", cases[i].options, error.detail);
        }
    }
}

static void databases_without_cloaca_are_noticed(void **state)
{
    cloaca *connection = open_server("template1");
    cloaca_error error;

    (void) state;
    assert_condition(cloaca_call(connection, "list_tasks", NULL, NULL, &error), CLOACA_NOT_A_DATABASE);
    assert_string_equal(error.hint, "Create the extension in this database: create extension cloaca.");
    cloaca_close(connection);
}

/* Whether the server's log has a text. */
static bool logged(const char *text)
{
    const char *path = getenv("CLOACA_PGLOG");
    FILE *log = path != NULL ? fopen(path, "r") : NULL;
    char *line = NULL;
    size_t size = 0;
    bool found = false;

    assert_non_null(log);
    while (!found && getline(&line, &size, log) > 0) {
        found = strstr(line, text) != NULL;
    }
    free(line);
    fclose(log);
    return found;
}

static void passwords_stay_secret(void **state)
{
    cloaca *admin = open_server("");
    cloaca *tenant;
    cloaca_result *first, *second;
    cloaca_error error;
    const char *password;

    (void) state;
    assert_ok(cloaca_init(admin, &error));
    assert_ok(cloaca_execute(
        admin, "set log_statement = 'all'; set log_min_duration_statement = 0; set log_parameter_max_length = -1", &error));
    assert_ok(cloaca_call(admin, "create_tenant", "{\"schema_name\": \"Client_Secret\", \"username\": \"Client_User\"}", &first,
                          &error));
    password = cloaca_result_get(first, 0, "password");
    assert_int_equal(strlen(password), 32);
    assert_int_equal(strspn(password, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"), 32);
    assert_string_equal(cloaca_result_get(first, 0, "username"), "Client_User");
    assert_ok(cloaca_open(cloaca_result_get(first, 0, "connection_string"), &tenant, &error));
    assert_call(tenant, "current_tenant", NULL, "[{\"current_tenant\":\"Client_Secret\"}]");
    enqueue(tenant, "x");
    assert_condition(cloaca_call(tenant, "list_tenants", NULL, NULL, &error), CLOACA_INSUFFICIENT_PRIVILEGE);
    assert_string_equal(error.sqlstate, "42501");
    cloaca_close(tenant);

    assert_ok(cloaca_call(admin, "rotate_password", "{\"schema_name\": \"Client_Secret\", \"password\": \"pass /@:%?word\"}",
                          &second, &error));
    assert_string_equal(cloaca_result_get(second, 0, "password"), "pass /@:%?word");
    assert_ok(cloaca_open(cloaca_result_get(second, 0, "connection_string"), &tenant, &error));
    cloaca_close(tenant);
    assert_condition(cloaca_open(cloaca_result_get(first, 0, "connection_string"), &tenant, &error),
                     CLOACA_AUTHENTICATION_FAILED);
    assert_string_equal(error.sqlstate, "28P01");
    assert_null(strstr(error.detail, password));
    assert_false(logged(password));
    assert_false(logged("pass /@:%?word"));
    assert_true(logged("SCRAM-SHA-256$"));
    assert_condition(
        cloaca_call(admin, "create_tenant", "{\"schema_name\": \"Client_Secret\", \"username\": \"other\"}", NULL, &error),
        CLOACA_NAME_TAKEN);
    cloaca_result_free(first);
    cloaca_result_free(second);
    drop_tenant(admin, "Client_Secret");
}

/* Until a server process waits for a lock, or sleeps. */
static PGconn *wait_until_it_waits(int backend)
{
    PGconn *server = PQconnectdb("");
    bool waits = false;
    char sql[200];

    snprintf(sql, sizeof(sql),
             "select from pg_stat_activity where pid = %d and (wait_event_type = 'Lock' or wait_event = 'PgSleep')", backend);
    while (!waits) {
        PGresult *result = PQexec(server, sql);

        waits = PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) > 0;
        PQclear(result);
        usleep(10000);
    }
    return server;
}

/* The children below leave without the parent's exit handlers. */
static pid_t cut_later(const PGconn *server)
{
    const pid_t child = fork();

    if (child == 0) {
        wait_until_it_waits(PQbackendPID(server));
        shutdown(PQsocket(server), SHUT_RDWR);
        _exit(0);
    }
    return child;
}

static pid_t terminate_later(int backend)
{
    const pid_t child = fork();

    if (child == 0) {
        PGconn *server = wait_until_it_waits(backend);
        char sql[60];

        snprintf(sql, sizeof(sql), "select pg_terminate_backend(%d)", backend);
        PQclear(PQexec(server, sql));
        _exit(0);
    }
    return child;
}

/* A server process that does not notice that its client is gone. */
static void terminate(PGconn *server, int backend)
{
    char sql[80];

    snprintf(sql, sizeof(sql), "select pg_terminate_backend(%d, 120000)", backend);
    run_on_server(server, sql);
}

static void idle_connections_are_lost(void **state)
{
    PGconn *other = open_raw();
    PGconn *server = open_raw();
    cloaca *connection;
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_attach(CLOACA_POSTGRES, server, &connection, &error));
    assert_ok(cloaca_begin(connection, &error));
    terminate(other, PQbackendPID(server));
    /* Nothing was sent, so nothing is unknown. */
    assert_condition(cloaca_commit(connection, &error), CLOACA_CONNECTION_LOST);
    assert_true(error.connection_lost);
    assert_false(error.commit_unknown);
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_CONNECTION_LOST);
    assert_condition(cloaca_begin(connection, &error), CLOACA_CONNECTION_LOST);
    cloaca_close(connection);
    PQfinish(server);
    PQfinish(other);
}

static void lost_answers_are_told_apart(void **state)
{
    cloaca *tenant = open_tenant("client_lost");
    PGconn *other = open_raw();
    cloaca_error error;

    (void) state;
    run_on_server(other,
                  "create function client_lost.sleep() returns trigger language plpgsql as $$ begin perform pg_sleep(600); "
                  "return null; end $$;"
                  "create table client_lost.slow (x int);"
                  "create constraint trigger slow after insert on client_lost.slow deferrable initially deferred"
                  " for each row execute function client_lost.sleep()");
    for (int i = 0; i < 5; i++) {
        PGconn *server = open_raw();
        const int backend = PQbackendPID(server);
        cloaca_status status;
        cloaca *connection;
        pid_t child;

        run_on_server(server, "set cloaca.tenant = 'client_lost'");
        assert_ok(cloaca_attach(CLOACA_POSTGRES, server, &connection, &error));
        if (i < 3) {
            run_on_server(other, "begin; lock table client_lost.cloaca_task in access exclusive mode");
        }
        if (i == 0) { /* a write of its own: done or not, nobody knows */
            child = cut_later(server);
            status = cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error);
            assert_int_equal(status, CLOACA_COMMIT_UNKNOWN);
            assert_true(error.commit_unknown && error.connection_lost);
        } else if (i == 1) { /* a read */
            child = cut_later(server);
            status = cloaca_call(connection, "get_task", "{\"task\": 1}", NULL, &error);
            assert_int_equal(status, CLOACA_CONNECTION_LOST);
        } else if (i == 2) { /* a write that the server itself gave up */
            child = terminate_later(backend);
            status = cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error);
            assert_int_equal(status, CLOACA_CONNECTION_LOST);
            assert_true(strstr(error.detail, "terminating connection") != NULL);
        } else if (i == 3) { /* a write in a transaction */
            assert_ok(cloaca_begin(connection, &error));
            child = cut_later(server);
            status = cloaca_execute(connection, "select pg_sleep(600)", &error);
            assert_int_equal(status, CLOACA_CONNECTION_LOST);
        } else { /* its commit */
            assert_ok(cloaca_begin(connection, &error));
            assert_ok(cloaca_execute(connection, "insert into client_lost.slow values (1)", &error));
            child = cut_later(server);
            status = cloaca_commit(connection, &error);
            assert_int_equal(status, CLOACA_COMMIT_UNKNOWN);
        }
        assert_int_equal(error.status, status);
        waitpid(child, NULL, 0);
        if (i < 3) {
            run_on_server(other, "rollback");
        } else {
            terminate(other, backend);
        }
        cloaca_close(connection);
        PQfinish(server);
    }
    run_on_server(other, "drop table client_lost.slow; drop function client_lost.sleep()");
    PQfinish(other);
    drop_tenant(tenant, "client_lost");
}

static void waits_are_cut_short(void **state)
{
    cloaca *connection = open_tenant("client_waits");
    PGconn *other = open_raw();
    cloaca_error error;

    (void) state;
    run_on_server(other, "begin; lock table client_waits.cloaca_task in access exclusive mode");
    assert_ok(cloaca_execute(connection, "set lock_timeout = 50", &error));
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_BUSY);
    assert_true(error.retryable);
    assert_ok(cloaca_execute(connection, "set lock_timeout = 0; set statement_timeout = 50", &error));
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_TIMEOUT);
    assert_true(error.retryable);
    run_on_server(other, "rollback");
    /* What takes the limit away must itself keep to it. */
    while (cloaca_execute(connection, "set default_transaction_read_only = on; set statement_timeout = 0", &error) !=
           CLOACA_OK) {
        assert_int_equal(error.status, CLOACA_TIMEOUT);
    }
    assert_condition(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", NULL, &error), CLOACA_READ_ONLY);
    PQfinish(other);
    drop_tenant(connection, "client_waits");
}

static int64_t soon(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000 + 50000;
}

/* A call is cancelled at its limit, and the next one is not. */
static void calls_have_limits(void **state)
{
    clo_guard guard = {0};
    PGconn *other = open_raw();
    cloaca *connection;
    cloaca_error error;

    (void) state;
    run_on_server(other, "create table client_limit ()");
    run_on_server(other, "begin; lock table client_limit");
    assert_ok(clo_open("postgresql:///", &guard, &connection, &error));
    for (int i = 0; i < 3; i++) {
        guard.limit = soon();
        assert_condition(cloaca_execute(connection, "select from client_limit", &error), CLOACA_TIMEOUT);
        guard.limit = 0;
        assert_ok(cloaca_execute(connection, "select pg_sleep(0.1)", &error));
    }
    atomic_store(&guard.aborted, true);
    assert_condition(cloaca_execute(connection, "select from client_limit", &error), CLOACA_TIMEOUT);
    cloaca_close(connection);
    run_on_server(other, "rollback");
    run_on_server(other, "drop table client_limit");
    PQfinish(other);
}

/* Lets one client in, and says nothing after that. Requests to cancel are not even accepted. */
static void *say_nothing(void *listener)
{
    static const char welcome[] = {'R', 0, 0, 0, 8, 0, 0, 0, 0, 'Z', 0, 0, 0, 5, 'I'};
    const int client = accept(*(int *) listener, NULL, NULL);
    char bytes[1000];

    assert_true(client >= 0);
    assert_true(recv(client, bytes, sizeof(bytes), 0) > 0);
    assert_int_equal(send(client, welcome, sizeof(welcome), 0), sizeof(welcome));
    while (recv(client, bytes, sizeof(bytes), 0) > 0) {
    }
    close(client);
    return NULL;
}

static void silent_servers_are_lost(void **state)
{
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    clo_guard guard = {0};
    cloaca *connection, *second;
    cloaca_error error;
    pthread_t thread;
    char silent[200];

    (void) state;
    assert_int_equal(bind(listener, (struct sockaddr *) &address, size), 0);
    assert_int_equal(listen(listener, 10), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *) &address, &size), 0);
    snprintf(silent, sizeof(silent), "postgresql://u@127.0.0.1:%d/d?sslmode=disable&gssencmode=disable",
             ntohs(address.sin_port));
    assert_int_equal(pthread_create(&thread, NULL, say_nothing, (void *) &listener), 0);
    assert_ok(clo_open(silent, &guard, &connection, &error));
    guard.limit = soon();
    assert_condition(clo_open(silent, &guard, &second, &error), CLOACA_CONNECTION_REFUSED);
    assert_condition(cloaca_execute(connection, "select 1", &error), CLOACA_COMMIT_UNKNOWN);
    assert_condition(cloaca_execute(connection, "select 1", &error), CLOACA_CONNECTION_LOST);
    cloaca_close(connection);
    pthread_join(thread, NULL);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_lives),
        cmocka_unit_test(documents_are_the_servers),
        cmocka_unit_test(settings_play_no_part),
        cmocka_unit_test(transactions_are_whole),
        cmocka_unit_test(borrowed_connections_stay_usable),
        cmocka_unit_test(refused_connections_say_why),
        cmocka_unit_test(databases_without_cloaca_are_noticed),
        cmocka_unit_test(passwords_stay_secret),
        cmocka_unit_test(idle_connections_are_lost),
        cmocka_unit_test(lost_answers_are_told_apart),
        cmocka_unit_test(waits_are_cut_short),
        cmocka_unit_test(calls_have_limits),
        cmocka_unit_test(silent_servers_are_lost),
    };

    if (getenv("PGHOST") == NULL) {
        puts("PGHOST is not set: run this under test/cluster.");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
