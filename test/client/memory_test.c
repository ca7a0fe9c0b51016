/*
 * memory_test.c - the library when memory runs out: at every single allocation of a run
 *
 * The linker puts these functions in the place of the library's malloc, calloc and realloc. Each call is repeated with one
 * allocation more that succeeds, until it succeeds itself: every failure before must be out_of_memory, and must change nothing.
 */
#include "test.h"

#include <unistd.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

/* How many allocations still succeed; negative: all. */
static long left = -1;

static int exhausted(void)
{
    if (left == 0) {
        return 1;
    }
    if (left > 0) {
        left--;
    }
    return 0;
}

void *__wrap_malloc(size_t size)
{
    return exhausted() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return exhausted() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return exhausted() ? NULL : __real_realloc(memory, size);
}

static void opening_runs_out(void **state)
{
    cloaca_status status;
    long tries = 0;

    (void) state;
    do {
        cloaca *connection;
        cloaca_error error;

        left = tries++;
        status = cloaca_open("sqlite:///:memory:?_busy_timeout=1", &connection, &error);
        left = -1;
        if (status != CLOACA_OK) {
            assert_int_equal(status, CLOACA_OUT_OF_MEMORY);
            assert_int_equal(error.status, CLOACA_OUT_OF_MEMORY);
            assert_null(connection);
        }
        cloaca_close(connection);
    } while (status != CLOACA_OK);
    assert_true(tries > 1);
}

static void calls_run_out(void **state)
{
    static const char *const arguments = "{\"name\": \"x\", \"payloads\": [{\"b\": 1, \"a\\n\": \"\\u00e9\"}, [1, 2, 3]], "
                                         "\"keys\": [\"k\", null], \"delay\": \"0 s\"}";
    cloaca *connection;
    cloaca_error error;
    cloaca_status status;
    long tries = 0;

    (void) state;
    assert_ok(cloaca_open("sqlite:///:memory:", &connection, &error));
    do {
        cloaca_result *result;
        char *json;

        left = tries++;
        status = cloaca_call(connection, "enqueue_many", arguments, &result, &error);
        json = status == CLOACA_OK ? cloaca_result_json(result) : NULL;
        left = -1;
        if (status != CLOACA_OK) {
            assert_int_equal(status, CLOACA_OUT_OF_MEMORY);
            assert_null(result);
            assert_call(connection, "list_tasks", NULL, "[]");
        }
        cloaca_free(json);
        cloaca_result_free(result);
    } while (status != CLOACA_OK);
    assert_true(tries > 3);
    cloaca_close(connection);
}

static void typed_calls_run_out(void **state)
{
    const char *const payloads[] = {"{\"b\": 1, \"a\": 2}", "2", "3", "4", "5", "6"};
    cloaca_enqueue_options options = CLOACA_ENQUEUE_INIT;
    cloaca_tasks *tasks;
    cloaca_status status;
    cloaca *connection;
    cloaca_error error;
    long tries = 0;

    (void) state;
    options.name = "x";
    assert_ok(cloaca_open("sqlite:///:memory:", &connection, &error));
    do {
        left = tries++;
        status = cloaca_enqueue_many(connection, &options, 6, payloads, NULL, NULL, NULL, &error);
        left = -1;
        assert_true(status == CLOACA_OK || status == CLOACA_OUT_OF_MEMORY);
    } while (status != CLOACA_OK);
    tries = 0;
    do {
        left = tries++;
        status = cloaca_claim(connection, "default", "w", 6, CLOACA_NO_INTERVAL, &tasks, &error);
        left = -1;
        if (status != CLOACA_OK) {
            assert_int_equal(status, CLOACA_OUT_OF_MEMORY);
            assert_null(tasks);
        }
    } while (status != CLOACA_OK);
    assert_int_equal(tasks->count, 6);
    assert_int_equal(tasks->tasks[5].attempt, 1);
    cloaca_tasks_free(tasks);
    cloaca_close(connection);
}

static void waits_run_out(void **state)
{
    const char *const queues[] = {"default", "x"};
    cloaca_status status;
    cloaca *connection;
    cloaca_error error;
    long tries = 0;
    bool ready;

    (void) state;
    assert_ok(cloaca_open("sqlite:///:memory:", &connection, &error));
    do {
        left = tries++;
        status = cloaca_wait_for_task(connection, 2, queues, 20000, &ready, &error);
        left = -1;
        assert_false(ready);
        assert_int_equal(cloaca_wait_descriptor(connection), -1);
        assert_true(status == CLOACA_OK || status == CLOACA_OUT_OF_MEMORY);
    } while (status != CLOACA_OK);
    assert_true(tries > 3);
    cloaca_close(connection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_runs_out),
        cmocka_unit_test(calls_run_out),
        cmocka_unit_test(typed_calls_run_out),
        cmocka_unit_test(waits_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
