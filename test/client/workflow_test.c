/*
 * workflow_test.c - what the SQLite statements of workflows take from C: merging, comparing, trigger rules, retry conditions,
 * definitions, and the functions on connections of every kind
 */
#include "test.h"

#include "common/compare.h"
#include "common/definition.h"
#include "common/merge.h"
#include "common/trigger.h"

#include <sqlite3.h>

/* The canonical form, to be freed. */
static clo_buffer canonical(const char *text)
{
    clo_buffer out = {0};

    assert_true(clo_json_canonical(text, strlen(text), &out, NULL));
    assert_true(clo_buffer_finish(&out));
    return out;
}

static clo_span span_of(const clo_buffer *buffer)
{
    return (clo_span){buffer->data, buffer->length};
}

static void assert_merged(size_t count, const char *const *documents, const char *expected)
{
    clo_merge *merge = clo_merge_new();
    clo_buffer out = {0};

    assert_non_null(merge);
    assert_true(clo_merge_empty(merge));
    for (size_t i = 0; i < count; i++) {
        clo_buffer document = canonical(documents[i]);

        assert_true(clo_merge_add(merge, document.data, document.length));
        clo_buffer_free(&document);
    }
    clo_merge_write(merge, &out);
    assert_true(clo_buffer_finish(&out));
    assert_string_equal(out.data, expected);
    clo_buffer_free(&out);
    clo_merge_free(merge);
}

#define MERGED(expected, ...)                                                                                                  \
    assert_merged(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), (const char *const[]){__VA_ARGS__}, expected)

static void merges(void **state)
{
    (void) state;
    MERGED("{}", "{}");
    MERGED("{\"a\": 1, \"b\": 2}", "{\"b\": 2}", "{\"a\": 1}");
    MERGED("{\"a\": {\"x\": 1, \"y\": {\"z\": [1, 2]}}}", "{\"a\": {\"x\": 0, \"y\": {\"z\": [1]}}}",
           "{\"a\": {\"y\": {\"z\": [2, 1.0]}, \"x\": 1}}");
    /* What is twice in the first stays; of later ones only what is not there yet comes, once. */
    MERGED("[1, 1, 2, {\"a\": 1.0}, null]", "[1, 1]", "[2, 1.00, 2.0, {\"a\": 1.0}]", "[{\"a\": 1}, null, null]");
    /* Anything else: the last one. */
    MERGED("[1]", "{\"a\": 1}", "[1]");
    MERGED("{\"b\": 1}", "{\"a\": 1}", "5", "{\"b\": 1}");
    MERGED("{\"a\": null}", "{\"a\": {\"b\": 1}}", "{\"a\": null}");
    MERGED("{\"a\": {\"c\": 1}}", "{\"a\": [1]}", "{\"a\": {\"c\": 1}}");
    /* Keys stay in the canonical order: by length, then by bytes, escapes not counted. */
    MERGED("{\"\\n\": 1, \"b\": 2, \"aa\": 4, \"é\": 3}", "{\"aa\": 4, \"b\": 2}", "{\"é\": 3, \"\\n\": 1}");
}

static void merges_many(void **state)
{
    clo_merge *merge = clo_merge_new();
    clo_buffer out = {0};
    clo_span key, element;
    const char *at;
    int count = 0;

    (void) state;
    for (int i = 0; i < 10000; i++) {
        char text[100];
        const int length =
            snprintf(text, sizeof(text), "{\"k%d\": %d, \"all\": [%d, %d]}", i * 7919 % 10000, i, i % 100, i % 50);

        clo_buffer document = canonical(text);
        assert_true(length > 0 && clo_merge_add(merge, document.data, document.length));
        clo_buffer_free(&document);
    }
    clo_merge_write(merge, &out);
    assert_true(clo_buffer_finish(&out));
    at = out.data;
    while (clo_json_next(&at, &key, &element)) {
        count++;
    }
    assert_int_equal(count, 10001);
    clo_buffer_free(&out);
    clo_merge_free(merge);
}

/* As deep as documents may be. */
static void merges_deep(void **state)
{
    enum { DEPTH = 1000 };
    char *text = malloc(DEPTH * 6 + DEPTH + 2);
    clo_merge *merge = clo_merge_new();
    clo_buffer out = {0};

    (void) state;
    for (int round = 0; round < 3; round++) {
        clo_buffer document;

        text[0] = '\0';
        for (int i = 0; i < DEPTH; i++) {
            memcpy(text + (size_t) i * 5, "{\"a\":", 6);
        }
        text[DEPTH * 5] = (char) ('0' + round);
        memset(text + DEPTH * 5 + 1, '}', DEPTH);
        text[DEPTH * 6 + 1] = '\0';
        document = canonical(text);
        assert_true(clo_merge_add(merge, document.data, document.length));
        clo_buffer_free(&document);
    }
    clo_merge_write(merge, &out);
    assert_true(clo_buffer_finish(&out));
    assert_non_null(strstr(out.data, "{\"a\": 2}"));
    assert_null(strstr(out.data, "{\"a\": 1}"));
    clo_buffer_free(&out);
    clo_merge_free(merge);
    free(text);
}

static void compares(void **state)
{
    static const struct {
        const char *one, *other;
        int order; /* 2: cannot be compared */
        bool equal;
    } cases[] = {
        {"1", "1.0", 0, true},
        {"1.50", "1.5", 0, true},
        {"0", "-0.00", 0, true},
        {"1e2", "100", 0, true},
        {"9", "10", -1, false},
        {"-9", "-10", 1, false},
        {"-1", "1", -1, false},
        {"0.09", "0.1", -1, false},
        {"0.1", "0.10000001", -1, false},
        {"\"a\"", "\"b\"", -1, false},
        {"\"a\"", "\"aa\"", -1, false},
        {"\"Z\"", "\"a\"", -1, false},
        {"\"\\n\"", "\"a\"", -1, false},
        {"\"1\"", "1", 2, false},
        {"true", "false", 2, false},
        {"null", "null", 2, true},
        {"[1.0, {\"a\": 2}]", "[1, {\"a\": 2.00}]", 2, true},
        {"[1, 2]", "[2, 1]", 2, false},
        {"[1]", "[1, 1]", 2, false},
        {"[12]", "[1, 2]", 2, false},
        {"{\"a\": 1}", "{\"b\": 1}", 2, false},
        {"\"1.0\"", "\"1\"", 1, false},
        {"99999999999999999999.1", "99999999999999999999.2", -1, false},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        clo_buffer one = canonical(cases[i].one);
        clo_buffer other = canonical(cases[i].other);
        int order = 0;

        if (clo_json_equal(span_of(&one), span_of(&other)) != cases[i].equal) {
            fail_msg("%s and %s", cases[i].one, cases[i].other);
        }
        if (cases[i].equal) {
            assert_true(clo_json_hash(span_of(&one)) == clo_json_hash(span_of(&other)));
        }
        assert_int_equal(clo_json_compare(span_of(&one), span_of(&other), &order), cases[i].order != 2);
        if (cases[i].order != 2 && (order > 0) - (order < 0) != cases[i].order) {
            fail_msg("%s compared with %s", cases[i].one, cases[i].other);
        }
        clo_buffer_free(&one);
        clo_buffer_free(&other);
    }
}

static bool fires(const char *trigger, const char *states, const char *context)
{
    clo_buffer rule = trigger != NULL ? canonical(trigger) : (clo_buffer){0};
    clo_buffer known = canonical(states);
    clo_buffer seen = canonical(context);
    const bool answer = clo_trigger_fires(span_of(&rule), span_of(&known), span_of(&seen));

    clo_buffer_free(&rule);
    clo_buffer_free(&known);
    clo_buffer_free(&seen);
    return answer;
}

static void fires_by_rules(void **state)
{
    (void) state;
    assert_true(fires(NULL, "{}", "{}"));
    assert_true(fires(NULL, "{\"a\": \"completed\"}", "{}"));
    assert_false(fires(NULL, "{\"a\": \"completed\", \"b\": \"skipped\"}", "{}"));
    assert_true(fires("\"always\"", "{\"a\": \"failed\"}", "{}"));
    assert_true(fires("{\"all\": [{\"task_failed\": \"a\"}]}", "{\"a\": \"cancelled\"}", "{}"));
    assert_false(fires("{\"all\": [{\"task_success\": \"a\"}, {\"task_success\": \"b\"}]}",
                       "{\"a\": \"completed\", \"b\": \"failed\"}", "{}"));
    assert_true(fires("{\"any\": [{\"task_success\": \"a\"}, {\"task_success\": \"b\"}]}",
                      "{\"a\": \"completed\", \"b\": \"failed\"}", "{}"));
    assert_false(fires("{\"none\": [{\"task_skipped\": \"a\"}]}", "{\"a\": \"skipped\"}", "{}"));
    assert_true(
        fires("{\"all\": [{\"context_value\": {\"key\": [\"a\", \"b\"], \"operator\": \"greater_than\", \"value\": 1}}]}", "{}",
              "{\"a\": {\"b\": 1.5}}"));
    /* What no definition can have does not fire, and does no harm. */
    assert_false(fires("{\"all\": [{\"context_value\": {}}]}", "{}", "{}"));
    assert_false(fires("5", "{}", "{}"));
    assert_false(fires("{\"all\": [7]}", "{}", "{}"));
    assert_false(fires("{}", "{}", "{}"));
}

static bool is_retried(const char *condition, const char *error)
{
    clo_buffer rule = condition != NULL ? canonical(condition) : (clo_buffer){0};
    const bool answer = clo_retry_matches(span_of(&rule), error, strlen(error));

    clo_buffer_free(&rule);
    return answer;
}

static void retries_by_conditions(void **state)
{
    (void) state;
    assert_true(is_retried(NULL, "e"));
    assert_true(is_retried("\"all\"", ""));
    assert_false(is_retried("\"never\"", "timeout"));
    assert_true(is_retried("\"transient\"", "it TIMED OUT"));
    assert_true(is_retried("\"transient\"", "temporary"));
    assert_false(is_retried("\"transient\"", "timed  out"));
    assert_true(is_retried("{\"pattern\": \"a*c\"}", "xxABBBCxx"));
    assert_false(is_retried("{\"pattern\": \"a*c\"}", "cba"));
    assert_true(is_retried("{\"pattern\": \"*\"}", ""));
    assert_true(is_retried("{\"pattern\": \"100%_\"}", "is 100%_"));
    assert_false(is_retried("{\"pattern\": \"100%_\"}", "is 100x"));
    assert_true(is_retried("{\"pattern\": \"aa*ab\"}", "aaab aab"));
    assert_false(is_retried("{\"pattern\": \"aab*b\"}", "aab"));
    assert_true(is_retried("{\"pattern\": \"a\\nb\"}", "A\nB"));
    assert_false(is_retried("{\"pattern\": \"\\u00c4\"}", "\xc3\xa4"));
}

static void assert_edges(const char *definition, const char *expected)
{
    clo_buffer text = canonical(definition);
    clo_buffer problem = {0};
    clo_buffer edges = {0};

    clo_definition_problem(span_of(&text), &problem);
    assert_int_equal(problem.length, 0);
    clo_definition_edges(span_of(&text), &edges);
    assert_true(clo_buffer_finish(&edges));
    assert_string_equal(edges.data, expected);
    clo_buffer_free(&text);
    clo_buffer_free(&edges);
}

static void draws_edges(void **state)
{
    (void) state;
    assert_edges("{\"tasks\": [{\"name\": \"a\"}]}", "[{\"dependencies\": [], \"dependents\": [], \"rank\": 0}]");
    assert_edges("{\"tasks\": [{\"name\": \"d\", \"dependencies\": [\"c\", \"a\"]}, {\"name\": \"a\"}, {\"name\": \"c\", "
                 "\"dependencies\": [\"a\"]}]}",
                 "[{\"dependencies\": [3, 2], \"dependents\": [], \"rank\": 2}, {\"dependencies\": [], \"dependents\": [1, 3], "
                 "\"rank\": 0}, "
                 "{\"dependencies\": [2], \"dependents\": [1], \"rank\": 1}]");
}

/* Ten thousand tasks, each depending on the one before; and then the first on the last. */
static void checks_long_chains(void **state)
{
    enum { COUNT = 10000 };
    clo_buffer problem = {0};

    (void) state;
    for (int round = 0; round < 2; round++) {
        clo_buffer text = {0};
        clo_buffer definition;

        clo_buffer_text(&text, round == 0 ? "{\"tasks\": [{\"name\": \"t0\"}"
                                          : "{\"tasks\": [{\"name\": \"t0\", \"dependencies\": [\"t9999\"]}");
        for (int i = 1; i < COUNT; i++) {
            char task[100];

            snprintf(task, sizeof(task), ", {\"name\": \"t%d\", \"dependencies\": [\"t%d\"]}", i, i - 1);
            clo_buffer_text(&text, task);
        }
        clo_buffer_text(&text, "]}");
        assert_true(clo_buffer_finish(&text));
        definition = canonical(text.data);
        clo_definition_problem(span_of(&definition), &problem);
        assert_int_equal(problem.length > 0, round == 1);
        clo_buffer_free(&text);
        clo_buffer_free(&definition);
    }
    assert_true(clo_buffer_finish(&problem));
    assert_memory_equal(problem.data, "The tasks depend on each other in a circle: t0 -> t9999 -> t9998 -> ", 68);
    clo_buffer_free(&problem);
}

static void assert_answer(sqlite3 *database, const char *sql, const char *expected)
{
    sqlite3_stmt *statement;

    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(database));
    }
    assert_int_equal(sqlite3_step(statement), expected != NULL ? SQLITE_ROW : SQLITE_ERROR);
    if (expected != NULL) {
        const char *text = (const char *) sqlite3_column_text(statement, 0);

        assert_string_equal(text != NULL ? text : "null", expected);
    }
    sqlite3_finalize(statement);
}

/* On a borrowed handle, where another statement runs that uses one of them, too. */
static void registers_functions(void **state)
{
    cloaca *connection, *again;
    cloaca_error error;
    sqlite3_stmt *busy;
    sqlite3 *database;

    (void) state;
    assert_int_equal(sqlite3_open(":memory:", &database), SQLITE_OK);
    assert_ok(cloaca_attach(CLOACA_SQLITE, database, &connection, &error));
    assert_answer(database, "select cloaca_merge('{\"a\":[1]}', null, '{ \"a\" : [1.0, 2] }')", "{\"a\": [1, 2]}");
    assert_answer(database, "select cloaca_merge(null, null)", "null");
    assert_answer(database, "select cloaca_merge()", "null");
    assert_answer(database, "select cloaca_merge('{')", NULL);
    assert_answer(
        database,
        "select cloaca_merge_all(x) from (select '{\"a\": 2}' as x, 2 as n union all select '{\"a\": 1}', 1 order by n desc)",
        "{\"a\": 1}");
    assert_answer(database, "select cloaca_merge_all(x) from (select null as x)", "null");
    assert_answer(database, "select cloaca_merge_all('{')", NULL);
    assert_answer(database, "select cloaca_fires('\"always\"', '{}', '{}')", "1");
    assert_answer(database, "select cloaca_fires('\"always\"', null, '{}')", NULL);
    assert_answer(database, "select cloaca_retries('e', '\"never\"')", "0");
    assert_answer(database, "select cloaca_is_retry('{\"condition\": \"always\"}')", "0");
    assert_answer(database, "select cloaca_is_retry(null)", "null");
    assert_answer(database, "select cloaca_definition_problem('{\"tasks\": [{\"name\": \"a\"}]}')", "null");
    assert_answer(database, "select cloaca_definition_problem('[]')", "The definition must be an object.");
    assert_answer(database, "select cloaca_sha256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_answer(database, "select cloaca_sha256(null)", "null");

    assert_int_equal(
        sqlite3_prepare_v2(database, "select cloaca_sha256(x) from (select 1 as x union select 2)", -1, &busy, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(busy), SQLITE_ROW);
    assert_ok(cloaca_attach(CLOACA_SQLITE, database, &again, &error));
    cloaca_close(again);
    assert_int_equal(sqlite3_step(busy), SQLITE_ROW);
    sqlite3_finalize(busy);
    cloaca_close(connection);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

/* A result as deep as can be goes into a context, one level deeper, and can be read there. */
static void keeps_deep_results(void **state)
{
    enum { DEPTH = 1000 };
    char *deep = malloc(2 * DEPTH + 1);
    cloaca *connection;
    cloaca_result *result;
    cloaca_error error;

    (void) state;
    memset(deep, '[', DEPTH);
    memset(deep + DEPTH, ']', DEPTH);
    deep[2 * DEPTH] = '\0';
    assert_ok(cloaca_open("sqlite:///:memory:", &connection, &error));
    assert_ok(cloaca_call(
        connection, "define_workflow",
        "{\"name\": \"w\", \"definition\": {\"tasks\": [{\"name\": \"a\"}, {\"name\": \"b\", \"dependencies\": [\"a\"]}]}}",
        NULL, &error));
    assert_ok(cloaca_call(connection, "start_workflow", "{\"name\": \"w\"}", NULL, &error));
    for (int i = 0; i < 2; i++) {
        assert_ok(cloaca_call(connection, "claim", NULL, &result, &error));
        assert_int_equal(cloaca_result_rows(result), 1);
        assert_int_equal(strlen(cloaca_result_get(result, 0, "payload")), i == 0 ? 2 : 2 * DEPTH + strlen("{\"a\": }"));
        assert_ok(cloaca_complete(connection, strtoll(cloaca_result_get(result, 0, "task"), NULL, 10),
                                  strtoll(cloaca_result_get(result, 0, "lease_id"), NULL, 10), deep, &error));
        cloaca_result_free(result);
    }
    assert_ok(cloaca_call(connection, "get_execution", "{\"execution\": 1}", &result, &error));
    assert_string_equal(cloaca_result_get(result, 0, "state"), "completed");
    assert_int_equal(strlen(cloaca_result_get(result, 0, "result")), 2 * DEPTH + strlen("{\"b\": }"));
    cloaca_result_free(result);
    cloaca_close(connection);
    free(deep);
}

static int count_step(void *steps)
{
    ++*(int64_t *) steps;
    return 0;
}

static void complete_one(cloaca *connection, const cloaca_tasks *tasks, size_t i)
{
    cloaca_error error;

    assert_ok(cloaca_complete(connection, tasks->tasks[i].task, tasks->tasks[i].lease_id, "{\"a\": 1}", &error));
}

/* What SQLite does to complete one of `width` tasks that one task waits for, in steps of its programs. */
static int64_t steps_of_completing(int width)
{
    clo_buffer arguments = {0};
    sqlite3 *database;
    cloaca *connection;
    cloaca_tasks *tasks;
    cloaca_error error;
    int64_t steps = 0;

    clo_buffer_text(&arguments, "{\"name\": \"w\", \"definition\": {\"tasks\": [");
    for (int i = 0; i < width; i++) {
        char task[32];

        snprintf(task, sizeof(task), "{\"name\": \"t%d\"}, ", i);
        clo_buffer_text(&arguments, task);
    }
    clo_buffer_text(&arguments, "{\"name\": \"last\", \"dependencies\": [");
    for (int i = 0; i < width; i++) {
        char name[32];

        snprintf(name, sizeof(name), "%s\"t%d\"", i == 0 ? "" : ", ", i);
        clo_buffer_text(&arguments, name);
    }
    clo_buffer_text(&arguments, "]}]}}");
    assert_true(clo_buffer_finish(&arguments));

    assert_int_equal(sqlite3_open(":memory:", &database), SQLITE_OK);
    assert_ok(cloaca_attach(CLOACA_SQLITE, database, &connection, &error));
    assert_ok(cloaca_call(connection, "define_workflow", arguments.data, NULL, &error));
    assert_ok(cloaca_call(connection, "start_workflow", "{\"name\": \"w\"}", NULL, &error));
    assert_ok(cloaca_claim(connection, NULL, "w", width, CLOACA_NO_INTERVAL, &tasks, &error));
    assert_int_equal(tasks->count, width);
    complete_one(connection, tasks, 0);
    sqlite3_progress_handler(database, 1, count_step, &steps);
    complete_one(connection, tasks, 1);
    sqlite3_progress_handler(database, 0, NULL, NULL);
    cloaca_tasks_free(tasks);
    cloaca_close(connection);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
    clo_buffer_free(&arguments);
    return steps;
}

static void completing_costs_what_the_dependents_are(void **state)
{
    const int64_t few = steps_of_completing(10);

    (void) state;
    assert_true(few > 0);
    assert_int_equal(steps_of_completing(1000), few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges),
        cmocka_unit_test(merges_many),
        cmocka_unit_test(merges_deep),
        cmocka_unit_test(compares),
        cmocka_unit_test(fires_by_rules),
        cmocka_unit_test(retries_by_conditions),
        cmocka_unit_test(draws_edges),
        cmocka_unit_test(checks_long_chains),
        cmocka_unit_test(registers_functions),
        cmocka_unit_test(keeps_deep_results),
        cmocka_unit_test(completing_costs_what_the_dependents_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
