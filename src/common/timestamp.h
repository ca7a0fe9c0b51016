/*
 * timestamp.h - points in time as ISO 8601 text and as microseconds since 1970-01-01 UTC
 *
 * Pure: no process, no lock, no global, no time zone database.
 */
#ifndef CLO_TIMESTAMP_H
#define CLO_TIMESTAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The years 1 to 9999: what ISO 8601 text can carry, and what the functions take. */
#define CLO_TIME_FIRST INT64_C(-62135596800000000)
#define CLO_TIME_END INT64_C(253402300800000000)

/* Reads 2026-01-01T00:00:00[.ffffff]Z, or +02:00 and the like in place of Z. False when the text is no such time. */
bool clo_time_parse(const char *text, size_t length, int64_t *microseconds);

/* Writes 2026-01-01T00:00:00.000000Z into at most CLO_TIME_SIZE bytes, the zero included, and returns the length. */
#define CLO_TIME_SIZE 40
size_t clo_time_format(int64_t microseconds, char *text);

#endif
