/*
 * test.h - what the tests of the library share
 *
 * cmocka wants these headers before its own.
 */
#ifndef CLOACA_TEST_H
#define CLOACA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cloaca.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A call that must succeed; its error is shown when it does not. */
#define assert_ok(call)                                                                                                        \
    do {                                                                                                                       \
        const cloaca_status test_status = (call);                                                                              \
        if (test_status != CLOACA_OK) {                                                                                        \
            fail_msg("%s: %s: %s %s", #call, error.message, error.detail, error.hint);                                         \
        }                                                                                                                      \
    } while (0)

/* A call that must fail with a condition. */
#define assert_condition(call, condition)                                                                                      \
    do {                                                                                                                       \
        const cloaca_status test_status = (call);                                                                              \
        if (test_status != (condition)) {                                                                                      \
            fail_msg("%s: %s, not %s: %s", #call, cloaca_status_name(test_status), cloaca_status_name(condition),              \
                     error.detail);                                                                                            \
        }                                                                                                                      \
        assert_int_equal(error.status, (condition));                                                                           \
    } while (0)

/* What a call by name gives back, as JSON; the caller frees it. Errors fail the test. */
static inline char *call_json(cloaca *connection, const char *function, const char *arguments)
{
    cloaca_error error;
    cloaca_result *result;
    char *json;

    assert_ok(cloaca_call(connection, function, arguments, &result, &error));
    json = cloaca_result_json(result);
    cloaca_result_free(result);
    return json;
}

#define assert_call(connection, function, arguments, expected)                                                                 \
    do {                                                                                                                       \
        char *test_json = call_json(connection, function, arguments);                                                          \
        assert_string_equal(test_json, expected);                                                                              \
        cloaca_free(test_json);                                                                                                \
    } while (0)

#endif
