/*
 * sqlite_cron.c - cron expressions and time zones for the statements of the SQLite functions
 *
 *   cloaca_cron_problem(cron)                   what is wrong with an expression, as a sentence; null when nothing is
 *   cloaca_zone_problem(timezone)               the same for a time zone: 'unknown' or 'no library'
 *   cloaca_cron_after(cron, timezone, after)    the first time after a time (microseconds), null when there is none
 *   cloaca_due_times(cron, timezone, catch_up, max_catch_up, first, upto, now)
 *                                               which of the times that have come are fired and which skipped, as a document;
 * what due_times of sql/schedule is on PostgreSQL
 *
 * They are registered on every connection that the library uses, where they stay until it is closed. They share one object with
 * the time zone that was used last.
 */
#include "backend.h"
#include "common/cron.h"
#include "common/json.h"
#include "timezone.h"

#ifdef CLOACA_SQLITE_MODULE
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)

/* A late time that skip still fires is at most this old. */
#define GRACE (60 * SECOND)

/* More skipped times are not counted. */
#define MOST_SKIPPED 1000

/* What the functions of one connection share; the last of them to go frees it. */
typedef struct shared {
    clo_zones *zones;
    int references;
} shared;

/* A schedule's times. */
typedef struct times {
    clo_cron cron;
    clo_zones *zones;
} times;

static void release(void *context);
static void cron_problem(sqlite3_context *context, int count, sqlite3_value **values);
static void zone_problem(sqlite3_context *context, int count, sqlite3_value **values);
static void cron_after(sqlite3_context *context, int count, sqlite3_value **values);
static void due_times(sqlite3_context *context, int count, sqlite3_value **values);
static bool read_times(sqlite3_context *context, sqlite3_value **values, times *schedule);
static int64_t time_after(const times *schedule, int64_t after);
static int64_t newest_time(const times *schedule, int64_t first, int64_t upto);

/* The SQLite code. A function that is in use just now is there already. */
int clo_sqlite_cron(void *database)
{
    static const struct {
        const char *name;
        int count;
        void (*call)(sqlite3_context *, int, sqlite3_value **);
    } functions[] = {
        {"cloaca_cron_problem", 1, cron_problem},
        {"cloaca_zone_problem", 1, zone_problem},
        {"cloaca_cron_after", 3, cron_after},
        {"cloaca_due_times", 7, due_times},
    };
    shared *owned = calloc(1, sizeof(shared));
    int code = SQLITE_OK;

    if (owned == NULL || (owned->zones = clo_zones_new()) == NULL) {
        free(owned);
        return SQLITE_NOMEM;
    }
    owned->references = 1;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]) && code == SQLITE_OK; i++) {
        owned->references++;
        /* It releases its reference itself when it fails. */
        code = sqlite3_create_function_v2(database, functions[i].name, functions[i].count, SQLITE_UTF8, owned,
                                          functions[i].call, NULL, NULL, release);
        code = code == SQLITE_BUSY ? SQLITE_OK : code;
    }
    release(owned);
    return code;
}

static void release(void *context)
{
    shared *owned = context;

    if (--owned->references == 0) {
        clo_zones_free(owned->zones);
        free(owned);
    }
}

static void cron_problem(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *text = (const char *) sqlite3_value_text(values[0]);
    const char *problem;
    clo_cron cron;

    (void) count;
    problem = clo_cron_read(text != NULL ? text : "", text != NULL ? (size_t) sqlite3_value_bytes(values[0]) : 0, &cron);
    if (problem != NULL) {
        sqlite3_result_text(context, problem, -1, SQLITE_STATIC);
    }
}

static void zone_problem(sqlite3_context *context, int count, sqlite3_value **values)
{
    const shared *owned = sqlite3_user_data(context);
    const char *name = (const char *) sqlite3_value_text(values[0]);
    clo_zone_state state;

    (void) count;
    state = clo_zones_use(owned->zones, name != NULL ? name : "", name != NULL ? (size_t) sqlite3_value_bytes(values[0]) : 0);
    if (state != CLO_ZONE_FOUND) {
        sqlite3_result_text(context, state == CLO_ZONE_UNKNOWN ? "unknown" : "no library", -1, SQLITE_STATIC);
    }
}

static void cron_after(sqlite3_context *context, int count, sqlite3_value **values)
{
    times schedule;
    int64_t next;

    (void) count;
    if (!read_times(context, values, &schedule) || sqlite3_value_type(values[2]) == SQLITE_NULL) {
        return;
    }
    next = time_after(&schedule, sqlite3_value_int64(values[2]));
    if (next != INT64_MAX) {
        sqlite3_result_int64(context, next);
    }
}

/* {"times": [[time, number of skipped times or 0 for one to fire], ...], "newest": time, "following": time or null} */
static void due_times(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *catch_up = (const char *) sqlite3_value_text(values[2]);
    const int64_t most = sqlite3_value_int64(values[3]);
    const int64_t first = sqlite3_value_int64(values[4]);
    const bool all = catch_up != NULL && strcmp(catch_up, "run_all") == 0;
    times schedule;
    int64_t newest, following, skipped_at;
    int64_t skipped = 0;
    int64_t fired = 0;
    int64_t step = first;
    bool fires_newest;
    clo_buffer out = {0};
    char text[100];

    (void) count;
    if (!read_times(context, values, &schedule)) {
        return;
    }
    newest = newest_time(&schedule, first, sqlite3_value_int64(values[5]));
    following = time_after(&schedule, newest);
    fires_newest =
        !all && ((catch_up != NULL && strcmp(catch_up, "run_once") == 0) || newest >= sqlite3_value_int64(values[6]) - GRACE);
    clo_buffer_text(&out, "{\"times\": [");
    for (; all && fired < most && step <= newest; step = time_after(&schedule, step)) {
        snprintf(text, sizeof(text), "%s[%lld, 0]", fired++ > 0 ? ", " : "", (long long) step);
        clo_buffer_text(&out, text);
    }
    skipped_at = step;
    for (; step < newest + (fires_newest ? 0 : 1) && skipped < MOST_SKIPPED; step = time_after(&schedule, step)) {
        skipped++;
    }
    if (skipped > 0) {
        snprintf(text, sizeof(text), "%s[%lld, %lld]", fired > 0 ? ", " : "", (long long) skipped_at, (long long) skipped);
        clo_buffer_text(&out, text);
    }
    if (fires_newest) {
        snprintf(text, sizeof(text), "%s[%lld, 0]", skipped > 0 ? ", " : "", (long long) newest);
        clo_buffer_text(&out, text);
    }
    snprintf(text, sizeof(text), "], \"newest\": %lld, \"following\": ", (long long) newest);
    clo_buffer_text(&out, text);
    snprintf(text, sizeof(text), "%lld", (long long) following);
    clo_buffer_text(&out, following == INT64_MAX ? "null}" : text);
    clo_buffer_text(&out, following == INT64_MAX ? "" : "}");
    if (!clo_buffer_finish(&out)) {
        clo_buffer_free(&out);
        sqlite3_result_error_nomem(context);
        return;
    }
    sqlite3_result_text64(context, out.data, out.length, free, SQLITE_UTF8);
}

/* The expression and the zone, the first two values. False when an error is the result. */
static bool read_times(sqlite3_context *context, sqlite3_value **values, times *schedule)
{
    const shared *owned = sqlite3_user_data(context);
    const char *cron = (const char *) sqlite3_value_text(values[0]);
    const char *zone = (const char *) sqlite3_value_text(values[1]);

    schedule->zones = owned->zones;
    if (cron == NULL || zone == NULL || clo_cron_read(cron, (size_t) sqlite3_value_bytes(values[0]), &schedule->cron) != NULL ||
        clo_zones_use(owned->zones, zone, (size_t) sqlite3_value_bytes(values[1])) != CLO_ZONE_FOUND) {
        sqlite3_result_error(context, "the schedule has a cron expression or a time zone that cannot be read", -1);
        return false;
    }
    return true;
}

/* In microseconds; INT64_MAX: none. */
static int64_t time_after(const times *schedule, int64_t after)
{
    const int64_t seconds = after / SECOND - (after % SECOND < 0 ? 1 : 0);
    int64_t next;

    return clo_cron_next(&schedule->cron, clo_zone_offset, schedule->zones, seconds, &next) ? next * SECOND : INT64_MAX;
}

/* The last of the times from `first` up to `upto`, found by halves. */
static int64_t newest_time(const times *schedule, int64_t first, int64_t upto)
{
    int64_t low = first;
    int64_t high = upto;
    int64_t newest = first;

    if (time_after(schedule, first) > upto) {
        return first;
    }
    while (high - low > SECOND) {
        const int64_t middle = low + (high - low) / 2;
        const int64_t next = time_after(schedule, middle);

        if (next <= upto) {
            low = middle;
            newest = next;
        } else {
            high = middle;
        }
    }
    while (time_after(schedule, newest) <= upto) {
        newest = time_after(schedule, newest);
    }
    return newest;
}
