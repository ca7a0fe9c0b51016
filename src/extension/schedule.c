/*
 * schedule.c - when a schedule is due next, in C
 *
 * The rules are in src/common/cron.c; here they get the server's time zones. cron_after_sql is the same in PL/pgSQL. Runs in
 * the backend of the caller; reads no table and takes no lock.
 */
#include "extension.h"

#include "common/cron.h"

#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(cloaca_cron_after);

/* Seconds from 1970, where the library's times begin, to 2000, where the server's do. */
#define EPOCH_DISTANCE (INT64CONST(86400) * (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE))

static void read_cron(text *expression, clo_cron *cron);
static pg_tz *find_zone(text *argument);
static int32_t offset_at(void *zone, int64_t at);

/* cron_after(cron, timezone, after) */
Datum cloaca_cron_after(PG_FUNCTION_ARGS)
{
    clo_cron cron;
    pg_tz *zone;
    int64 after;
    int64 next;

    read_cron(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0), &cron);
    zone = find_zone(PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
    if (PG_ARGISNULL(2) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)))
        PG_RETURN_NULL();
    after = PG_GETARG_TIMESTAMPTZ(2) / USECS_PER_SEC - (PG_GETARG_TIMESTAMPTZ(2) % USECS_PER_SEC < 0 ? 1 : 0) + EPOCH_DISTANCE;
    if (!clo_cron_next(&cron, offset_at, zone, after, &next))
        PG_RETURN_NULL();
    PG_RETURN_TIMESTAMPTZ((next - EPOCH_DISTANCE) * USECS_PER_SEC);
}

static void read_cron(text *expression, clo_cron *cron)
{
    const char *problem =
        clo_cron_read(expression ? VARDATA_ANY(expression) : "", expression ? VARSIZE_ANY_EXHDR(expression) : 0, cron);

    if (problem)
        cloaca_raise(CLOACA_INVALID_ARGUMENT, problem, NULL);
}

/* The server takes other spellings, abbreviations and rules of POSIX besides; SQLite could not follow. */
static pg_tz *find_zone(text *argument)
{
    const char *name = argument ? text_to_cstring(argument) : "";
    pg_tz *zone = clo_zone_is_name(name, strlen(name)) ? pg_tzset(name) : NULL;

    if (zone == NULL || !pg_tz_acceptable(zone) || strcmp(pg_get_timezone_name(zone), name) != 0)
        cloaca_raise(CLOACA_INVALID_ARGUMENT, psprintf("Time zone \"%s\" does not exist.", name),
                     "Name a zone of the IANA database, such as Europe/Berlin.");
    return zone;
}

static int32_t offset_at(void *zone, int64_t at)
{
    pg_time_t time = at;
    struct pg_tm *local = pg_localtime(&time, zone);

    if (local == NULL)
        elog(ERROR, "time out of range");
    return (int32_t) local->tm_gmtoff;
}
