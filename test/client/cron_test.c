/*
 * cron_test.c - cron expressions: what is read and refused, and the times that they mean where the clocks are changed
 */
#include "test.h"

#include "client/timezone.h"
#include "common/cron.h"
#include "common/timestamp.h"

#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Whether GLib is to be found: the tests are linked with --wrap=dlopen. */
static bool has_library = true;

void *__real_dlopen(const char *file, int flags);
void *__wrap_dlopen(const char *file, int flags);

void *__wrap_dlopen(const char *file, int flags)
{
    return has_library ? __real_dlopen(file, flags) : NULL;
}

/* A zone whose clocks are put forward at one time and back at another. */
typedef struct zone {
    int64_t forward;
    int64_t back;
    int32_t before;
    int32_t shift;
} zone;

static int32_t offset_of(void *context, int64_t at)
{
    const zone *self = context;

    return self->before + (at >= self->forward && at < self->back ? self->shift : 0);
}

static int64_t seconds_of(const char *text)
{
    int64_t microseconds;

    if (!clo_time_parse(text, strlen(text), &microseconds)) {
        fail_msg("%s is no time", text);
    }
    return microseconds / 1000000;
}

/* The time after another one, or -1 when there is no more. */
static int64_t next_of(const char *expression, zone *where, int64_t after)
{
    clo_cron cron;
    int64_t next = -1;

    if (clo_cron_read(expression, strlen(expression), &cron) != NULL) {
        fail_msg("%s is refused", expression);
    }
    return clo_cron_next(&cron, offset_of, where, after, &next) ? next : -1;
}

/* Every row: an expression, a time, and the one that comes after it. */
static void expect(zone *where, size_t count, const char *const rows[][3])
{
    for (size_t i = 0; i < count; i++) {
        const int64_t next = next_of(rows[i][0], where, seconds_of(rows[i][1]));

        if (next != seconds_of(rows[i][2])) {
            fail_msg("%s after %s is %lld, not %lld (%s)", rows[i][0], rows[i][1], (long long) next,
                     (long long) seconds_of(rows[i][2]), rows[i][2]);
        }
    }
}

static zone utc = {INT64_MAX, INT64_MAX, 0, 0};

/* Berlin in 2026: an hour at 01:00 UTC, from 02:00 to 03:00, and back. */
static zone berlin(void)
{
    return (zone){seconds_of("2026-03-29T01:00:00Z"), seconds_of("2026-10-25T01:00:00Z"), 3600, 3600};
}

static void expressions_are_read(void **state)
{
    static const char *const expected[][3] = {
        {"* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"},
        {"* * * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"},
        {"59 59 23 31 12 *", "2026-01-01T00:00:00Z", "2026-12-31T23:59:59Z"},
        {"\t5/20  0 * * *  ", "2026-01-01T00:05:00Z", "2026-01-01T00:25:00Z"},
        {"0 0 * * FRI-SUN", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
        {"0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
        {"0 0 13 * 5", "2026-01-03T00:00:00Z", "2026-01-09T00:00:00Z"},
        {"0 0 13 * */5", "2026-01-03T00:00:00Z", "2026-02-13T00:00:00Z"},
        {"0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
        {"@YEARLY", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
        {"0 0 1 1 *", "0001-06-01T00:00:00Z", "0002-01-01T00:00:00Z"},
        {"30 12 * * *", "1969-12-31T12:30:00Z", "1970-01-01T12:30:00Z"},
    };

    (void) state;
    expect(&utc, COUNT(expected), expected);
}

static void others_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        " ",
        "* * * *",
        "* * * * * * *",
        "@reboot",
        "@daily x",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "*/61 * * * *",
        "5-2 * * * *",
        "1- * * * *",
        "1/ * * * *",
        ", * * * *",
        "1,,2 * * * *",
        "*5 * * * *",
        "001 * * * *",
        "* * * janu *",
        "* * jan * *",
        "? * * * *",
        "0 0 31 2 *",
        "0 0 30 2 */2",
        "0\n0 * * *",
    };
    clo_cron cron;
    char text[CLO_CRON_LENGTH + 2];

    (void) state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        if (clo_cron_read(wrong[i], strlen(wrong[i]), &cron) == NULL) {
            fail_msg("\"%s\" is read", wrong[i]);
        }
    }
    snprintf(text, sizeof(text), "%-*s", CLO_CRON_LENGTH + 1, "* * * * *");
    assert_null(clo_cron_read(text, CLO_CRON_LENGTH, &cron));
    assert_non_null(clo_cron_read(text, CLO_CRON_LENGTH + 1, &cron));
    /* The text need not end with a zero. */
    assert_null(clo_cron_read("* * * * *9", 9, &cron));
    assert_non_null(clo_cron_read("* * * * *9", 10, &cron));
}

static void clocks_are_put_forward(void **state)
{
    static const char *const expected[][3] = {
        {"30 2 * * *", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z"},
        {"30 2 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
        {"*/5 2 * * *", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z"},
        {"*/5 2 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"},
        {"0 2,3 * * *", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z"},
        {"0 2,3 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"},
        {"30 * * * *", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"},
        {"0 */2 * * *", "2026-03-28T23:00:00Z", "2026-03-29T02:00:00Z"},
    };
    zone where = berlin();

    (void) state;
    expect(&where, COUNT(expected), expected);
}

static void clocks_are_put_back(void **state)
{
    static const char *const expected[][3] = {
        {"30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
        {"30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
        {"30 2 * * *", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z"},
        {"0 3 * * *", "2026-10-25T01:10:00Z", "2026-10-25T02:00:00Z"},
        {"30 * * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
        {"*/10 2 * * *", "2026-10-25T00:50:00Z", "2026-10-26T01:00:00Z"},
    };
    zone where = berlin();

    (void) state;
    expect(&where, COUNT(expected), expected);
}

/* A whole day can be skipped, or come twice. */
static void days_are_skipped_and_doubled(void **state)
{
    static const char *const skipped[][3] = {
        {"0 9 * * *", "2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z"},
        {"0 9 * * *", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"},
        {"0 9 30 12 *", "2011-06-01T00:00:00Z", "2011-12-30T10:00:00Z"},
    };
    static const char *const doubled[][3] = {
        {"0 9 * * *", "1867-10-18T00:00:00Z", "1867-10-18T18:00:00Z"},
        {"0 9 * * *", "1867-10-18T18:00:00Z", "1867-10-20T18:00:00Z"},
    };
    zone apia = {seconds_of("2011-12-30T10:00:00Z"), INT64_MAX, -10 * 3600, 86400};
    zone alaska = {INT64_MIN, seconds_of("1867-10-19T00:00:00Z"), -9 * 3600, 86400};

    (void) state;
    expect(&apia, COUNT(skipped), skipped);
    expect(&alaska, COUNT(doubled), doubled);
}

static void there_may_be_no_more(void **state)
{
    zone west = {INT64_MAX, INT64_MAX, -12 * 3600, 0};
    int64_t last;

    (void) state;
    assert_true(next_of("@yearly", &utc, seconds_of("9998-06-01T00:00:00Z")) >= 0);
    assert_int_equal(next_of("@yearly", &utc, seconds_of("9999-06-01T00:00:00Z")), -1);
    assert_int_equal(next_of("0 23 31 12 *", &west, seconds_of("9999-06-01T00:00:00Z")), -1);
    last = next_of("0 */23 31 12 *", &west, seconds_of("9999-06-01T00:00:00Z"));
    assert_true(last >= 0);
    assert_int_equal(next_of("0 */23 31 12 *", &west, last), -1);
}

/* What is rare, after what is nearly a year of hours that match: a month is passed over at once. */
static void rare_times_are_found_fast(void **state)
{
    zone where = berlin();
    clo_cron cron;
    int64_t next;
    const clock_t begun = clock();

    (void) state;
    assert_null(clo_cron_read("* * * 29 2 *", 12, &cron));
    for (int i = 0; i < 1000; i++) {
        assert_true(clo_cron_next(&cron, offset_of, &where, seconds_of("2096-03-01T00:00:00Z"), &next));
        assert_int_equal(next, seconds_of("2104-02-28T23:00:00Z"));
    }
    assert_true((double) (clock() - begun) / CLOCKS_PER_SEC < 5);
}

static void zones_have_names(void **state)
{
    static const char *const good[] = {"UTC",        "Europe/Berlin", "America/Port-au-Prince", "W-SU", "GMT+0",
                                       "Etc/GMT-14", "EST5EDT"};
    static const char *const bad[] = {"",          "/",       "+02:00", "UTC+2",   "Etc/GMT+13", "Etc/GMT-15",
                                      "FOO5",      "../UTC",  "a.tab",  "Europe/", "localtime",  "posix/UTC",
                                      "right/UTC", "Factory", "-UTC",   "Eur ope"};

    (void) state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(clo_zone_is_name(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (clo_zone_is_name(bad[i], strlen(bad[i]))) {
            fail_msg("\"%s\" is a name", bad[i]);
        }
    }
}

static void zones_of_the_system(void **state)
{
    static const struct {
        const char *name;
        clo_zone_state found;
        const char *at;
        int32_t offset;
    } cases[] = {
        {"Europe/Berlin", CLO_ZONE_FOUND, "2026-03-29T00:59:59Z", 3600},
        {"Europe/Berlin", CLO_ZONE_FOUND, "2026-03-29T01:00:00Z", 7200},
        {"Europe/Berlin", CLO_ZONE_FOUND, "2090-07-01T00:00:00Z", 7200},
        /* What was found last still counts. */
        {"Europe/Nowhere", CLO_ZONE_UNKNOWN, "2026-01-01T00:00:00Z", 3600},
        {"Europe", CLO_ZONE_UNKNOWN, "2026-01-01T00:00:00Z", 3600},
        {"../zoneinfo/UTC", CLO_ZONE_UNKNOWN, "2026-01-01T00:00:00Z", 3600},
        {"Australia/Lord_Howe", CLO_ZONE_FOUND, "2026-07-01T00:00:00Z", 10 * 3600 + 1800},
        /* Daylight saving by the spelling of POSIX is not what these names mean. */
        {"EST5EDT", CLO_ZONE_FOUND, "1990-04-20T00:00:00Z", -4 * 3600},
        {"UTC", CLO_ZONE_FOUND, "2026-07-01T00:00:00Z", 0},
    };
    clo_zones *zones = clo_zones_new();

    (void) state;
    assert_non_null(zones);
    assert_int_equal(clo_zone_offset(zones, 0), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (clo_zones_use(zones, cases[i].name, strlen(cases[i].name)) != cases[i].found ||
            clo_zone_offset(zones, seconds_of(cases[i].at)) != cases[i].offset) {
            fail_msg("%s at %s is otherwise", cases[i].name, cases[i].at);
        }
    }
    clo_zones_free(zones);
    clo_zones_free(NULL);
}

static const char file[] = "build/test/cron_test.db";

static cloaca *open_at(int64_t now)
{
    cloaca *connection;
    cloaca_error error;
    char url[100];

    snprintf(url, sizeof(url), "sqlite:///%s?_journal_mode=delete", file);
    assert_ok(cloaca_open(url, &connection, &error));
    assert_ok(cloaca_set_clock(connection, now, &error));
    return connection;
}

/* Without GLib UTC works, and other zones are not supported; schedules that have one wait for it. */
static void the_library_may_be_missing(void **state)
{
    static const char *const in_berlin =
        "{\"name\": \"b\", \"cron\": \"0 12 * * *\", \"timezone\": \"Europe/Berlin\", \"task\": \"t\"}";
    static const char *const in_utc = "{\"name\": \"u\", \"cron\": \"0 12 * * *\", \"task\": \"t\"}";
    cloaca_error error;
    cloaca *connection;
    cloaca_result *result;

    (void) state;
    remove(file);
    connection = open_at(0);
    assert_call(connection, "create_schedule", in_berlin, "[{\"schedule\":1,\"next_at\":\"1970-01-01T11:00:00.000000Z\"}]");
    cloaca_close(connection);

    has_library = false;
    connection = open_at(0);
    assert_condition(cloaca_call(connection, "create_schedule",
                                 "{\"name\": \"c\", \"cron\": \"@daily\", \"timezone\": \"Europe/Berlin\", \"task\": \"t\"}",
                                 &result, &error),
                     CLOACA_NOT_SUPPORTED);
    assert_string_equal(error.detail, "Time zones other than UTC need the library libglib-2.0.so.0, which cannot be loaded.");
    assert_string_equal(error.hint, "Install GLib (libglib2.0-0 on Debian), or use UTC.");
    assert_condition(
        cloaca_call(connection, "cron_next", "{\"cron\": \"@daily\", \"timezone\": \"Asia/Kathmandu\"}", &result, &error),
        CLOACA_NOT_SUPPORTED);
    assert_condition(cloaca_call(connection, "cron_next", "{\"cron\": \"@daily\", \"timezone\": \"UTC+2\"}", &result, &error),
                     CLOACA_INVALID_ARGUMENT);
    assert_call(connection, "create_schedule", in_utc, "[{\"schedule\":2,\"next_at\":\"1970-01-01T12:00:00.000000Z\"}]");
    assert_ok(cloaca_set_clock(connection, INT64_C(43200000000), &error));
    assert_ok(cloaca_call(connection, "run_maintenance", NULL, &result, &error));
    cloaca_result_free(result);
    assert_call(connection, "schedule_history", "{\"name\": \"b\"}", "[]");
    assert_call(connection, "next_maintenance", NULL, "[{\"at\":\"1970-01-02T12:00:00.000000Z\"}]");
    cloaca_close(connection);

    has_library = true;
    connection = open_at(INT64_C(43200000000));
    assert_ok(cloaca_call(connection, "run_maintenance", NULL, &result, &error));
    cloaca_result_free(result);
    assert_call(connection, "schedule_stats", "{\"name\": \"b\"}",
                "[{\"name\":\"b\",\"fired\":0,\"skipped\":1,\"failed\":0,\"last_scheduled_at\":"
                "\"1970-01-01T11:00:00.000000Z\","
                "\"last_fired_at\":null,\"next_at\":\"1970-01-02T11:00:00.000000Z\",\"average_delay\":null,"
                "\"largest_delay\":null}]");
    cloaca_close(connection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_are_read),         cmocka_unit_test(others_are_refused),
        cmocka_unit_test(clocks_are_put_forward),       cmocka_unit_test(clocks_are_put_back),
        cmocka_unit_test(days_are_skipped_and_doubled), cmocka_unit_test(there_may_be_no_more),
        cmocka_unit_test(rare_times_are_found_fast),    cmocka_unit_test(zones_have_names),
        cmocka_unit_test(zones_of_the_system),          cmocka_unit_test(the_library_may_be_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
