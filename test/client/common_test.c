/*
 * common_test.c - intervals, times and JSON: every spelling, and every edge
 */
#include "test.h"

#include "common/interval.h"
#include "common/json.h"
#include "common/timestamp.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

static void intervals_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t microseconds;
    } cases[] = {
        {"90", 90 * SECOND},
        {"0", 0},
        {"0 s", 0},
        {"90 seconds", 90 * SECOND},
        {"1.5 s", 1500000},
        {".5 s", 500000},
        {"1 day 02:00:00", DAY + 7200 * SECOND},
        {"1 DAY", DAY},
        {"2 days 3 hours 4 min 5.000006 sec", 2 * DAY + 3 * 3600 * SECOND + 245 * SECOND + 6},
        {"1h30m", 5400 * SECOND},
        {"@ 1 minute ago", -60 * SECOND},
        {"-1 day", -DAY},
        {"-1 day 02:00", -DAY + 7200 * SECOND},
        {"-00:00:01.5", -1500000},
        {"1 mon", 30 * DAY},
        {"1 month", 30 * DAY},
        {"1 year", 31557600 * SECOND},
        {"10 years", 315576000 * SECOND},
        {"1 week", 7 * DAY},
        {"250 ms", 250000},
        {"7 us", 7},
        {"9223372036854775807 microseconds", INT64_MAX},
        {"9223372036854775808 microseconds", INT64_MAX},
        {"-9223372036854775808 microseconds", INT64_MIN},
        {"99999999999999999999999999999999999999999999 years", INT64_MAX},
        {"-99999999999999999999999999999999999999999999 years", INT64_MIN},
        {"99999999999999999999:00:00", INT64_MAX},
        {"  5 s  ", 5 * SECOND},
        {"1 hour 30", 3630 * SECOND},
        {"0.0000005 s", 1},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value = 42;

        if (!clo_interval_parse(cases[i].text, strlen(cases[i].text), &value) || value != cases[i].microseconds) {
            fail_msg("\"%s\" is %lld", cases[i].text, (long long) value);
        }
    }
}

static void malformed_intervals_are_refused(void **state)
{
    static const char *const cases[] = {"",     " ",    "soon",      "infinity", "-infinity",     "1 fortnight", "1 2 3 fish",
                                        "s",    "1:60", "1:00:60",   "1:2:3:4",  "--1 s",         "1e3 s",       "1e300",
                                        "NaN",  "ago",  "1 s ago x", "+",        "1 day ago 2 s", "1 s;",        "1,5 s",
                                        "0x10", "12:",  "."};

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value;

        if (clo_interval_parse(cases[i], strlen(cases[i]), &value)) {
            fail_msg("\"%s\" is taken for %lld", cases[i], (long long) value);
        }
    }
}

static void intervals_are_written(void **state)
{
    static const struct {
        int64_t microseconds;
        const char *text;
    } cases[] = {
        {0, "00:00:00"},
        {30 * SECOND, "00:00:30"},
        {1500000, "00:00:01.5"},
        {1, "00:00:00.000001"},
        {DAY, "1 day 00:00:00"},
        {DAY + 7200 * SECOND, "1 day 02:00:00"},
        {2 * DAY - 1, "1 day 23:59:59.999999"},
        {-1500000, "-00:00:01.5"},
        {-DAY - SECOND, "-1 days -00:00:01"},
        {INT64_MAX, "106751991 days 04:00:54.775807"},
        {INT64_MIN, "-106751991 days -04:00:54.775808"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[CLO_INTERVAL_SIZE];
        int64_t value;

        assert_int_equal(clo_interval_format(cases[i].microseconds, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
        assert_true(clo_interval_parse(text, strlen(text), &value));
        assert_true(value == cases[i].microseconds);
    }
}

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t microseconds;
        const char *written;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000000Z"},
        {"2026-01-01T00:00:00.5Z", INT64_C(1767225600500000), "2026-01-01T00:00:00.500000Z"},
        {"2024-02-29 12:00:00+02:00", INT64_C(1709200800000000), "2024-02-29T10:00:00.000000Z"},
        {"2024-02-29t12:00-0530", INT64_C(1709227800000000), "2024-02-29T17:30:00.000000Z"},
        {"1969-12-31T23:59:59.999999Z", -1, "1969-12-31T23:59:59.999999Z"},
        {"0001-01-01T00:00:00Z", CLO_TIME_FIRST, "0001-01-01T00:00:00.000000Z"},
        {"9999-12-31T23:59:59.999999Z", CLO_TIME_END - 1, "9999-12-31T23:59:59.999999Z"},
        {"10000-01-01T00:00:00Z", CLO_TIME_END, "10000-01-01T00:00:00.000000Z"},
        {"2000-01-01T00:00:00.1234567Z", INT64_C(946684800123457), "2000-01-01T00:00:00.123457Z"},
        {"1900-03-01T00:00:00Z", INT64_C(-2203891200000000), "1900-03-01T00:00:00.000000Z"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[CLO_TIME_SIZE];
        int64_t value = 42;

        if (!clo_time_parse(cases[i].text, strlen(cases[i].text), &value) || value != cases[i].microseconds) {
            fail_msg("\"%s\" is %lld", cases[i].text, (long long) value);
        }
        clo_time_format(value, text);
        assert_string_equal(text, cases[i].written);
    }
}

static void malformed_times_are_refused(void **state)
{
    static const char *const cases[] = {"",
                                        "now",
                                        "infinity",
                                        "2026-01-01",
                                        "2026-01-01T00:00:00",
                                        "2026-02-29T00:00:00Z",
                                        "1900-02-29T00:00:00Z",
                                        "2026-13-01T00:00:00Z",
                                        "2026-00-01T00:00:00Z",
                                        "2026-01-32T00:00:00Z",
                                        "2026-01-01T24:00:00Z",
                                        "2026-01-01T00:60:00Z",
                                        "2026-01-01T00:00:60Z",
                                        "2026-01-01T00:00:00.Z",
                                        "2026-01-01T00:00:00+",
                                        "2026-01-01T00:00:00+99",
                                        "2026-01-01T00:00:00Zx",
                                        "0000-01-01T00:00:00Z",
                                        "999999-01-01T00:00:00Z",
                                        "-2026-01-01T00:00:00Z",
                                        "26-01-01T00:00:00Z"};

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value;

        if (clo_time_parse(cases[i], strlen(cases[i]), &value)) {
            fail_msg("\"%s\" is taken for %lld", cases[i], (long long) value);
        }
    }
}

/* A time of every day of 800 years comes back as it was. */
static void calendar_is_whole(void **state)
{
    (void) state;
    for (int64_t day = -200000; day < 92000; day++) {
        char text[CLO_TIME_SIZE];
        int64_t value;

        clo_time_format(day * DAY + day, text);
        assert_true(clo_time_parse(text, strlen(text), &value));
        assert_true(value == day * DAY + day);
    }
}

static void documents_are_canonical(void **state)
{
    static const struct {
        const char *text;
        const char *canonical;
    } cases[] = {
        {"null", "null"},
        {" [ ] ", "[]"},
        {"{ }", "{}"},
        {"[1,2 , 3]", "[1, 2, 3]"},
        {"{\"b\":1,\"a\":2}", "{\"a\": 2, \"b\": 1}"},
        {"{\"aa\":1,\"b\":2}", "{\"b\": 2, \"aa\": 1}"},
        {"{\"a\":1,\"a\":2}", "{\"a\": 2}"},
        {"{\"b\":{\"d\":1,\"c\":[{\"z\":0,\"y\":0}]},\"a\":{}}",
         "{\"a\": {}, \"b\": {\"c\": [{\"y\": 0, \"z\": 0}], \"d\": 1}}"},
        {"\"a\\u0041\\u00e9\\n\\u001f\\/\\\"\\\\\"", "\"aAé\\n\\u001f/\\\"\\\\\""},
        {"\"\\ud83d\\ude00\"", "\"😀\""},
        {"{\"\\u0061\":1,\"a\":2}", "{\"a\": 2}"},
        {"{\"\\n\\n\":1,\"abc\":2,\"x\":3}", "{\"x\": 3, \"\\n\\n\": 1, \"abc\": 2}"},
        {"-0", "0"},
        {"-0.0", "0.0"},
        {"1.50", "1.50"},
        {"1e2", "100"},
        {"1.5E1", "15"},
        {"1.50e1", "15.0"},
        {"1.5e-3", "0.0015"},
        {"-100e-2", "-1.00"},
        {"0e5", "0"},
        {"0e-5", "0.00000"},
        {"0.05e1", "0.5"},
        {"0.05e3", "50"},
        {"123456789012345678901234567890.10", "123456789012345678901234567890.10"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        clo_buffer buffer = {0};
        clo_json_error error;

        if (!clo_json_canonical(cases[i].text, strlen(cases[i].text), &buffer, &error)) {
            fail_msg("%s: %s", cases[i].text, error.reason);
        }
        assert_true(clo_buffer_finish(&buffer));
        assert_string_equal(buffer.data, cases[i].canonical);
        clo_buffer_free(&buffer);
    }
}

static void malformed_documents_are_refused(void **state)
{
    static const struct {
        const char *text;
        size_t position;
    } cases[] = {
        {"", 1},
        {"nul", 1},
        {"truex", 5},
        {"[1", 3},
        {"[1,]", 4},
        {"{\"a\"}", 5},
        {"{a:1}", 2},
        {"{\"a\":1,}", 8},
        {"01", 1},
        {"1.", 3},
        {"1e", 3},
        {".5", 1},
        {"+1", 1},
        {"\"abc", 5},
        {"\"\\x\"", 2},
        {"\"\\u0000\"", 2},
        {"\"\\ud800\"", 8},
        {"\"\\udc00\"", 2},
        {"\"\\u12g4\"", 2},
        {"\"\t\"", 2},
        {"\"\xff\"", 2},
        {"\"\xc0\xaf\"", 2},
        {"\"\xed\xa0\x80\"", 2},
        {"1 2", 3},
        {"NaN", 1},
        {"'a'", 1},
        {"1e999999", 9},
        {"-", 1},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        clo_buffer buffer = {0};
        clo_json_error error = {0};

        if (clo_json_canonical(cases[i].text, strlen(cases[i].text), &buffer, &error) || error.position != cases[i].position ||
            error.reason == NULL) {
            fail_msg("%s: %s at %zu", cases[i].text, error.reason, error.position);
        }
        clo_buffer_free(&buffer);
    }
}

/* Brackets without end are refused before the stack runs out; objects of many keys are sorted in time. */
static void large_documents_are_bounded(void **state)
{
    const size_t size = 1000000;
    char *text = malloc(size);
    clo_buffer buffer = {0};
    clo_json_error error;
    size_t length = 0;

    (void) state;
    memset(text, '[', size);
    assert_false(clo_json_canonical(text, size, &buffer, &error));
    assert_string_equal(error.reason, "it is nested too deeply");
    buffer.length = 0;
    text[length++] = '{';
    for (int i = 0; i < 50000; i++) {
        length += (size_t) snprintf(text + length, size - length, "%s\"%05d\":%d", i > 0 ? "," : "", 49999 - i, i);
    }
    text[length++] = '}';
    assert_true(clo_json_canonical(text, length, &buffer, &error));
    assert_memory_equal(buffer.data, "{\"00000\": 49999, \"00001\": 49998", 31);

    /* A few bytes that stand for many digits. */
    buffer.length = length = 0;
    text[length++] = '[';
    for (int i = 0; i < 9000; i++) {
        length += (size_t) snprintf(text + length, size - length, "%s1e131071", i > 0 ? "," : "");
    }
    text[length++] = ']';
    assert_false(clo_json_canonical(text, length, &buffer, &error));
    assert_string_equal(error.reason, "its numbers are too long when they are written out");
    assert_true(buffer.length < (size_t) 65 << 20);
    clo_buffer_free(&buffer);
    free(text);
}

static void texts_are_mended(void **state)
{
    static const char text[] = "a\xff\xc3\xa9\xc3(\xed\xa0\x80\0\xf0\x9f\x98\x80\xe2\x82";
    clo_buffer out = {0};

    (void) state;
    clo_utf8_mend(&out, text, sizeof(text) - 1);
    assert_true(clo_buffer_finish(&out));
    assert_string_equal(out.data, "a\uFFFDé\uFFFD(\uFFFD\uFFFD\uFFFD\uFFFD😀\uFFFD\uFFFD");
    assert_true(clo_utf8_valid(out.data, out.length));
    clo_buffer_free(&out);
}

static void elements_are_walked(void **state)
{
    const char *at = "[1, \"a, ]\\\"\", [2, [3]], {\"k\": [4]}, null]";
    const char *object = "{\"a\": {\"x\": 1}, \"b,:\": \"}\"}";
    static const char *const expected[] = {"1", "\"a, ]\\\"\"", "[2, [3]]", "{\"k\": [4]}", "null"};
    clo_span key, element;
    char text[16];
    size_t i = 0;

    (void) state;
    for (; clo_json_next(&at, &key, &element); i++) {
        assert_int_equal(element.length, strlen(expected[i]));
        assert_memory_equal(element.text, expected[i], element.length);
    }
    assert_int_equal(i, 5);
    assert_true(clo_json_next(&object, &key, &element));
    assert_memory_equal(key.text, "\"a\"", key.length);
    assert_memory_equal(element.text, "{\"x\": 1}", element.length);
    assert_true(clo_json_next(&object, &key, &element));
    assert_memory_equal(key.text, "\"b,:\"", key.length);
    assert_int_equal(clo_json_unquote((clo_span){"\"\\n\\u001f\\\"\\\\\"", 14}, text), 4);
    assert_memory_equal(text, "\n\x1f\"\\", 4);
    assert_false(clo_json_next(&object, &key, &element));
    at = "[]";
    assert_false(clo_json_next(&at, &key, &element));
}

static void integers_are_exact(void **state)
{
    int64_t value;

    (void) state;
    assert_true(clo_json_integer((clo_span){"-9223372036854775808", 20}, &value));
    assert_true(value == INT64_MIN);
    assert_true(clo_json_integer((clo_span){"9223372036854775807", 19}, &value));
    assert_true(value == INT64_MAX);
    assert_false(clo_json_integer((clo_span){"9223372036854775808", 19}, &value));
    assert_false(clo_json_integer((clo_span){"-9223372036854775809", 20}, &value));
    assert_false(clo_json_integer((clo_span){"99999999999999999999999", 23}, &value));
    assert_false(clo_json_integer((clo_span){"1.0", 3}, &value));
    assert_false(clo_json_integer((clo_span){"-", 1}, &value));
    assert_false(clo_json_integer((clo_span){"\"1\"", 3}, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_are_read),          cmocka_unit_test(malformed_intervals_are_refused),
        cmocka_unit_test(intervals_are_written),       cmocka_unit_test(times_are_read),
        cmocka_unit_test(malformed_times_are_refused), cmocka_unit_test(calendar_is_whole),
        cmocka_unit_test(documents_are_canonical),     cmocka_unit_test(malformed_documents_are_refused),
        cmocka_unit_test(large_documents_are_bounded), cmocka_unit_test(elements_are_walked),
        cmocka_unit_test(integers_are_exact),          cmocka_unit_test(texts_are_mended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
