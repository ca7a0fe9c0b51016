/*
 * cron.h - cron expressions: reading one, and the next time that it means on the clocks of a time zone
 *
 * Pure: no process, no lock, no global, no time zone database. Whoever asks says what the offset of the zone is at a time.
 * Times are seconds since 1970-01-01, in UTC or, where it says local, as the clocks of the zone show them.
 */
#ifndef CLO_CRON_H
#define CLO_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest expression, in bytes. */
#define CLO_CRON_LENGTH 200

/* A bit for each value that matches. */
typedef struct clo_cron {
    uint64_t seconds;
    uint64_t minutes;
    uint64_t hours;
    uint64_t days;     /* 1 to 31 */
    uint64_t months;   /* 1 to 12 */
    uint64_t weekdays; /* 0 to 6, from Sunday on */
    bool either;       /* a day needs to match by the month or by the week, not by both */
    bool elapsed;      /* the hour is * or a step of it: every hour that passes counts, whatever the clocks do */
} clo_cron;

/* Reads `[second] minute hour day month weekday` or @hourly and the like. NULL, or a sentence that says what is wrong. */
const char *clo_cron_read(const char *text, size_t length, clo_cron *cron);

/* The offset of local time from UTC, in seconds, at a time. It is less than a day, and stays the same for two days after it
 * changed. */
typedef int32_t (*clo_offset)(void *zone, int64_t at);

/*
 * The first time after `after` at which a schedule is due; false when there is none before the year 10000.
 *
 * A schedule is due when the clocks of the zone reach a time that matches for the first time. So one that they skip is due in
 * the moment in which they skip it, together with all others that are skipped, and one that they show twice is due once. A
 * schedule of every hour or of every n-th (`elapsed`) is due whenever the clocks show a time that matches.
 */
bool clo_cron_next(const clo_cron *cron, clo_offset offset, void *zone, int64_t after, int64_t *next);

/* Whether a name may be one of the IANA database, and not a rule of POSIX, an abbreviation with an offset or a path. */
bool clo_zone_is_name(const char *name, size_t length);

#endif
