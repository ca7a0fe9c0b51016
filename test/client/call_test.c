/*
 * call_test.c - arguments, URLs and errors: what is checked before a database sees anything
 */
#include "test.h"

#include "backend.h"

static cloaca *memory_file(void)
{
    cloaca *connection;
    cloaca_error error;

    assert_ok(cloaca_open("sqlite:///:memory:", &connection, &error));
    return connection;
}

static void wrong_arguments_are_refused(void **state)
{
    static const struct {
        const char *function;
        const char *arguments;
        cloaca_status status;
        const char *detail;
    } cases[] = {
        {"frobnicate", NULL, CLOACA_UNKNOWN_FUNCTION, "There is no function \"frobnicate\"."},
        {"", NULL, CLOACA_UNKNOWN_FUNCTION, "There is no function \"\"."},
        {"enqueu", "{}", CLOACA_UNKNOWN_FUNCTION, "There is no function \"enqueu\"."},
        {"check_name", "{}", CLOACA_UNKNOWN_FUNCTION, "There is no function \"check_name\"."},
        {"enqueue", NULL, CLOACA_INVALID_ARGUMENT, "The argument name is missing."},
        {"enqueue", "", CLOACA_INVALID_ARGUMENT, "The arguments are not valid JSON: a value is missing at byte 1."},
        {"enqueue", "[]", CLOACA_INVALID_ARGUMENT, "The arguments must be a JSON object."},
        {"enqueue", "{\"name\": \"x\", \"colour\": 1}", CLOACA_INVALID_ARGUMENT,
         "The function enqueue has no argument \"colour\"."},
        {"enqueue", "{\"name\": 1}", CLOACA_INVALID_ARGUMENT, "The name must be text."},
        {"enqueue", "{\"name\": \"\\u0000\"}", CLOACA_INVALID_ARGUMENT,
         "The arguments are not valid JSON: \\u0000 is not allowed at byte 11."},
        {"enqueue", "{\"name\": \"x\", \"priority\": 2147483648}", CLOACA_INVALID_ARGUMENT,
         "The priority must be an integer from -2147483648 to 2147483647."},
        {"enqueue", "{\"name\": \"x\", \"priority\": \"1\"}", CLOACA_INVALID_ARGUMENT,
         "The priority must be an integer from -2147483648 to 2147483647."},
        {"enqueue", "{\"name\": \"x\", \"max_attempts\": 2147483648}", CLOACA_INVALID_ARGUMENT,
         "The max_attempts must be an integer from -2147483648 to 2147483647."},
        {"enqueue", "{\"name\": \"x\", \"run_at\": \"tomorrow\"}", CLOACA_INVALID_ARGUMENT,
         "The run_at must be a time such as 2026-01-01T00:00:00Z."},
        {"enqueue", "{\"name\": \"x\", \"delay\": 5}", CLOACA_INVALID_ARGUMENT,
         "The delay must be an interval such as 90 seconds."},
        {"enqueue", "{\"name\": \"x\", \"delay\": \"infinity\"}", CLOACA_INVALID_ARGUMENT,
         "The delay must be an interval such as 90 seconds."},
        {"enqueue", "{\"name\": \"x\", \"delay\": \"99999999999999999999 years\"}", CLOACA_INVALID_ARGUMENT,
         "The delay must be from 0 to 10 years."},
        {"enqueue", "{\"name\": \"x\", \"delay\": \"-1 s\"}", CLOACA_INVALID_ARGUMENT, "The delay must be from 0 to 10 years."},
        {"get_task", "{\"task\": 1.5}", CLOACA_INVALID_ARGUMENT,
         "The task must be an integer from -9223372036854775808 to 9223372036854775807."},
        {"get_task", "{\"task\": 9223372036854775808}", CLOACA_INVALID_ARGUMENT,
         "The task must be an integer from -9223372036854775808 to 9223372036854775807."},
        {"complete_many", "{\"tasks\": [1, \"2\"], \"lease_ids\": []}", CLOACA_INVALID_ARGUMENT,
         "The tasks must be an array of integers."},
        {"complete_many", "{\"tasks\": 1, \"lease_ids\": []}", CLOACA_INVALID_ARGUMENT,
         "The tasks must be an array of integers."},
        {"enqueue_many", "{\"name\": \"x\", \"payloads\": [], \"keys\": [1]}", CLOACA_INVALID_ARGUMENT,
         "The keys must be an array of texts."},
        {"enqueue_many", "{\"name\": \"x\", \"payloads\": {}}", CLOACA_INVALID_ARGUMENT, "The payloads must be an array."},
        {"drop_queue", "{\"queue\": \"q\", \"force\": 1}", CLOACA_INVALID_ARGUMENT, "The force must be true or false."},
        {"create_tenant", "{\"schema_name\": \"a\", \"username\": \"b\"}", CLOACA_NOT_SUPPORTED,
         "SQLite does not have create_tenant."},
    };
    cloaca *connection = memory_file();

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cloaca_error error;
        cloaca_result *result = (cloaca_result *) &error;

        assert_condition(cloaca_call(connection, cases[i].function, cases[i].arguments, &result, &error), cases[i].status);
        assert_null(result);
        assert_string_equal(error.detail, cases[i].detail);
        assert_string_equal(error.sqlstate, cloaca_status_sqlstate(cases[i].status));
        assert_false(error.retryable || error.transaction_aborted || error.connection_lost || error.commit_unknown);
        /* The error struct is the caller's choice, and so is the result. */
        assert_int_equal(cloaca_call(connection, cases[i].function, cases[i].arguments, NULL, NULL), cases[i].status);
    }
    cloaca_close(connection);
}

static void typed_arguments_are_checked(void **state)
{
    cloaca *connection = memory_file();
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    const char *const payloads[] = {"{}", "{"};
    cloaca_error error;
    cloaca_tasks *tasks;

    (void) state;
    assert_condition(cloaca_enqueue(connection, &options, NULL, NULL, &error), CLOACA_INVALID_NAME);
    options.name = "bad \xff name";
    assert_condition(cloaca_enqueue(connection, &options, NULL, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_string_equal(error.detail, "The name must be valid UTF-8 without zero bytes.");
    options.name = "x";
    options.payload = "{\"a\": 01}";
    assert_condition(cloaca_enqueue(connection, &options, NULL, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_string_equal(error.detail, "The payload is not valid JSON: a number starts with 0 at byte 7.");
    options.payload = NULL;
    options.max_attempts = -1;
    assert_condition(cloaca_enqueue(connection, &options, NULL, NULL, &error), CLOACA_INVALID_ARGUMENT);
    options.max_attempts = 0;
    assert_condition(cloaca_enqueue_many(connection, &options, 2, payloads, NULL, NULL, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_claim(connection, NULL, NULL, 0, CLOACA_NO_INTERVAL, &tasks, &error), CLOACA_INVALID_ARGUMENT);
    assert_null(tasks);
    assert_condition(cloaca_fail(connection, 1, 2, NULL, false, CLOACA_NO_INTERVAL, NULL, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_complete(connection, 1, 2, "nope", &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_defer_until(connection, 1, 2, CLOACA_NO_TIME, &error), CLOACA_INVALID_ARGUMENT);
    assert_condition(cloaca_set_random(connection, 1, &error), CLOACA_INVALID_ARGUMENT);
    assert_call(connection, "list_tasks", "{}", "[]");
    cloaca_close(connection);
}

static void urls_are_taken_apart(void **state)
{
    static const struct {
        const char *url;
        cloaca_backend backend;
        const char *location;
        const char *schema;
        size_t options;
    } cases[] = {
        {"sqlite:///relative.db", CLOACA_SQLITE, "relative.db", NULL, 0},
        {"sqlite:////tmp/absolute.db", CLOACA_SQLITE, "/tmp/absolute.db", NULL, 0},
        {"sqlite:///./data/a%20b%3f.db", CLOACA_SQLITE, "./data/a b?.db", NULL, 0},
        {"sqlite:///:memory:", CLOACA_SQLITE, ":memory:", NULL, 0},
        {"sqlite:///a.db?mode=rwc&_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=5000", CLOACA_SQLITE, "a.db", NULL, 4},
        {"sqlite:///a.db?", CLOACA_SQLITE, "a.db", NULL, 0},
        {"postgresql://u:p@h:1/d", CLOACA_POSTGRES, "postgresql://u:p@h:1/d", NULL, 0},
        {"postgres://h/d?schema=acme", CLOACA_POSTGRES, "postgres://h/d", "acme", 0},
        {"postgresql:///d?host=%2Ftmp&pool_min_size=5&schema=a%63me&sslmode=require&pool_max_size=20&pool_timeout=30",
         CLOACA_POSTGRES, "postgresql:///d?host=%2Ftmp&sslmode=require", "acme", 0},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        clo_arena arena = {0};
        cloaca_error error;
        clo_url url;

        assert_ok(clo_url_parse(cases[i].url, &arena, &url, &error));
        assert_int_equal(url.backend, cases[i].backend);
        assert_string_equal(url.location, cases[i].location);
        assert_int_equal(url.option_count, cases[i].options);
        assert_true((url.schema == NULL) == (cases[i].schema == NULL));
        if (cases[i].schema != NULL) {
            assert_string_equal(url.schema, cases[i].schema);
        }
        clo_arena_free(&arena);
    }
}

static void malformed_urls_are_refused(void **state)
{
    static const struct {
        const char *url;
        const char *detail;
    } cases[] = {
        {NULL, "The URL must start with postgresql:// or sqlite:///."},
        {"", "The URL must start with postgresql:// or sqlite:///."},
        {"mysql://h", "The URL must start with postgresql:// or sqlite:///."},
        {"sqlite://a.db", "A SQLite URL needs three slashes before the name of the file."},
        {"sqlite:a.db", "A SQLite URL needs three slashes before the name of the file."},
        {"sqlite:///", "The URL names no file."},
        {"sqlite:///a%0", "The URL has a percent sign without two hexadecimal digits other than 00."},
        {"sqlite:///a%00b", "The URL has a percent sign without two hexadecimal digits other than 00."},
        {"sqlite:///a%zz", "The URL has a percent sign without two hexadecimal digits other than 00."},
        {"sqlite:///a.db?cache=shared", "The URL has an unknown option cache."},
        {"sqlite:///a.db?mode=w", "The mode must be ro, rw or rwc."},
        {"sqlite:///a.db?_journal_mode=none", "The _journal_mode must be WAL, DELETE, TRUNCATE, PERSIST, MEMORY or OFF."},
        {"sqlite:///a.db?_synchronous=maybe", "The _synchronous must be OFF, NORMAL, FULL or EXTRA."},
        {"sqlite:///a.db?_synchronous=off;drop table x", "The _synchronous must be OFF, NORMAL, FULL or EXTRA."},
        {"sqlite:///a.db?_busy_timeout=-1", "The _busy_timeout must be from 0 to 86400000 milliseconds."},
        {"sqlite:///a.db?_busy_timeout=", "The _busy_timeout must be from 0 to 86400000 milliseconds."},
        {"postgresql://u:secret@h/d?fish=1", "The URL has an unknown option fish."},
        {"postgresql://u:secret@h/d?%ff%0a%c3%bc=1", "The URL has an unknown option ??ü."},
        {"postgresql://u:secret@h/d?pool_size=1", "The URL has an unknown option pool_size."},
        {"postgresql://u:secret@h/d?pool_timeout=x", "The pool_timeout must be from 0 to 1000000."},
        {"postgresql://u:secret@[h/d", "The URL is malformed."},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cloaca *connection = (cloaca *) &cases;
        cloaca_error error;

        assert_condition(cloaca_open(cases[i].url, &connection, &error), CLOACA_INVALID_ARGUMENT);
        assert_null(connection);
        assert_string_equal(error.detail, cases[i].detail);
        assert_null(strstr(error.hint, "secret"));
    }
}

static void statuses_have_names(void **state)
{
    (void) state;
    assert_string_equal(cloaca_status_name(CLOACA_OK), "ok");
    assert_string_equal(cloaca_status_name(CLOACA_LEASE_LOST), "lease_lost");
    assert_string_equal(cloaca_status_sqlstate(CLOACA_LEASE_LOST), "ZC009");
    assert_string_equal(cloaca_status_name(CLOACA_DATABASE_ERROR), "database_error");
    assert_string_equal(cloaca_status_name((cloaca_status) 1000), "unknown");
    assert_int_equal(clo_status_of_sqlstate("ZC009"), CLOACA_LEASE_LOST);
    assert_int_equal(clo_status_of_sqlstate("40P01"), CLOACA_CONFLICT);
    assert_int_equal(clo_status_of_sqlstate("28000"), CLOACA_AUTHENTICATION_FAILED);
    assert_int_equal(clo_status_of_sqlstate("22P02"), CLOACA_INVALID_ARGUMENT);
    assert_int_equal(clo_status_of_sqlstate("42P01"), CLOACA_DATABASE_ERROR);
    assert_non_null(cloaca_version());
}

static void functions_are_listed(void **state)
{
    size_t count = 0;

    (void) state;
    for (const char *name; (name = cloaca_function_name(count)) != NULL; count++) {
        assert_memory_equal(cloaca_function_signature(count), name, strlen(name));
    }
    assert_true(count > 30);
    assert_null(cloaca_function_signature(count));
}

static void long_texts_are_cut_at_a_character(void **state)
{
    cloaca_error error;
    char long_text[3000];

    (void) state;
    for (size_t i = 0; i + 2 < sizeof(long_text); i += 2) {
        memcpy(long_text + i, "é", 3);
    }
    clo_fail(&error, CLOACA_INVALID_ARGUMENT, "x%s", long_text);
    assert_int_equal(strlen(error.detail) % 2, 1);
    assert_true(strlen(error.detail) >= sizeof(error.detail) - 3);
    clo_error_copy(error.hint, sizeof(error.hint), long_text, strlen(long_text));
    assert_true(strlen(error.hint) < sizeof(error.hint));
    assert_int_equal(error.hint[strlen(error.hint) - 1], '.');
    clo_error_copy(error.hint, sizeof(error.hint), "two\nlines\n", 10);
    assert_string_equal(error.hint, "Two lines.");
}

static void null_is_free(void **state)
{
    (void) state;
    cloaca_close(NULL);
    cloaca_result_free(NULL);
    cloaca_tasks_free(NULL);
    cloaca_free(NULL);
    assert_int_equal(cloaca_result_rows(NULL), 0);
    assert_int_equal(cloaca_result_columns(NULL), 0);
    assert_null(cloaca_result_value(NULL, 0, 0));
    assert_null(cloaca_result_get(NULL, 0, "x"));
    assert_null(cloaca_result_name(NULL, 0));
}

static void results_outlive_connections(void **state)
{
    cloaca *connection = memory_file();
    cloaca_result *result;
    cloaca_error error;

    (void) state;
    assert_ok(cloaca_call(connection, "enqueue", "{\"name\": \"x\"}", &result, &error));
    cloaca_close(connection);
    assert_int_equal(cloaca_result_rows(result), 1);
    assert_int_equal(cloaca_result_columns(result), 2);
    assert_string_equal(cloaca_result_name(result, 1), "created");
    assert_int_equal(cloaca_result_type(result, 1), CLOACA_TYPE_BOOLEAN);
    assert_string_equal(cloaca_result_value(result, 0, 1), "true");
    assert_string_equal(cloaca_result_get(result, 0, "task"), "1");
    assert_null(cloaca_result_get(result, 0, "nothing"));
    assert_null(cloaca_result_get(result, 1, "task"));
    assert_null(cloaca_result_value(result, 0, 2));
    cloaca_result_free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(typed_arguments_are_checked),
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(malformed_urls_are_refused),
        cmocka_unit_test(statuses_have_names),
        cmocka_unit_test(functions_are_listed),
        cmocka_unit_test(long_texts_are_cut_at_a_character),
        cmocka_unit_test(null_is_free),
        cmocka_unit_test(results_outlive_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
