/*
 * interval.h - intervals as text and as microseconds
 *
 * The spelling is PostgreSQL's: "90 seconds", "1 day 02:00:00", "-5 min", "1.5 hours ago". A month counts 30 days and a year
 * 365.25 days, so that no length depends on the calendar. Pure: no process, no lock, no global.
 */
#ifndef CLO_INTERVAL_H
#define CLO_INTERVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False when the text is no interval. One that does not fit becomes the largest or the smallest that does. */
bool clo_interval_parse(const char *text, size_t length, int64_t *microseconds);

/* Writes at most CLO_INTERVAL_SIZE bytes, the zero at the end included, and returns the length. */
#define CLO_INTERVAL_SIZE 64
size_t clo_interval_format(int64_t microseconds, char *text);

#endif
