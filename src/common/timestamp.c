/*
 * timestamp.c - points in time as ISO 8601 text and as microseconds since 1970-01-01 UTC
 */
#include "timestamp.h"

#include <stdio.h>

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

typedef struct reader {
    const char *at;
    const char *end;
} reader;

static bool read_number(reader *in, int least, int most, int *value);
static bool read_byte(reader *in, char byte);
static bool read_microseconds(reader *in, int64_t *value);
static bool read_zone(reader *in, int *minutes);
static int64_t days_of(int64_t year, int month, int day);
static int days_in(int year, int month);

bool clo_time_parse(const char *text, size_t length, int64_t *microseconds)
{
    reader in = {text, text + length};
    int year, month, day, hour, minute, zone;
    int second = 0;
    int64_t fraction = 0;

    if (!read_number(&in, 4, 6, &year) || !read_byte(&in, '-') || !read_number(&in, 2, 2, &month) || !read_byte(&in, '-') ||
        !read_number(&in, 2, 2, &day)) {
        return false;
    }
    if (!read_byte(&in, 'T') && !read_byte(&in, 't') && !read_byte(&in, ' ')) {
        return false;
    }
    if (!read_number(&in, 2, 2, &hour) || !read_byte(&in, ':') || !read_number(&in, 2, 2, &minute)) {
        return false;
    }
    if (read_byte(&in, ':') && (!read_number(&in, 2, 2, &second) || !read_microseconds(&in, &fraction))) {
        return false;
    }
    if (!read_zone(&in, &zone) || in.at != in.end) {
        return false;
    }
    if (year < 1 || year > 290000 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 ||
        minute > 59 || second > 59) {
        return false;
    }
    *microseconds = days_of(year, month, day) * DAY + ((hour * 60 + minute - zone) * INT64_C(60) + second) * SECOND + fraction;
    return true;
}

size_t clo_time_format(int64_t microseconds, char *text)
{
    int64_t days = microseconds / DAY;
    int64_t rest = microseconds % DAY;
    int64_t era, year_of_era, day_of_year, shifted, year;
    int64_t month, day;

    if (rest < 0) {
        rest += DAY;
        days--;
    }
    /* The calendar repeats every 400 years; a year that starts in March has its leap day at the end. */
    days += 719468;
    era = (days >= 0 ? days : days - 146096) / 146097;
    days -= era * 146097;
    year_of_era = (days - days / 1460 + days / 36524 - days / 146096) / 365;
    day_of_year = days - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    shifted = (5 * day_of_year + 2) / 153;
    day = day_of_year - (153 * shifted + 2) / 5 + 1;
    month = shifted < 10 ? shifted + 3 : shifted - 9;
    year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    return (size_t) snprintf(text, CLO_TIME_SIZE, "%04lld-%02d-%02dT%02d:%02d:%02d.%06dZ", (long long) year, (int) month,
                             (int) day, (int) (rest / (3600 * SECOND)), (int) (rest / (60 * SECOND) % 60),
                             (int) (rest / SECOND % 60), (int) (rest % SECOND));
}

static bool read_number(reader *in, int least, int most, int *value)
{
    int digits = 0;

    *value = 0;
    while (digits < most && in->at < in->end && *in->at >= '0' && *in->at <= '9') {
        *value = *value * 10 + (*in->at++ - '0');
        digits++;
    }
    return digits >= least;
}

static bool read_byte(reader *in, char byte)
{
    if (in->at < in->end && *in->at == byte) {
        in->at++;
        return true;
    }
    return false;
}

/* An optional fraction, rounded to microseconds. */
static bool read_microseconds(reader *in, int64_t *value)
{
    int64_t part = SECOND / 10;
    int digits = 0;

    if (!read_byte(in, '.')) {
        return true;
    }
    for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++, digits++) {
        if (digits < 6) {
            *value += (*in->at - '0') * part;
            part /= 10;
        } else if (digits == 6 && *in->at >= '5') {
            *value += 1;
        }
    }
    return digits > 0;
}

/* Z, +02, +0200 or +02:00, in minutes. */
static bool read_zone(reader *in, int *minutes)
{
    bool west;
    int hour;
    int minute = 0;

    *minutes = 0;
    if (read_byte(in, 'Z') || read_byte(in, 'z')) {
        return true;
    }
    west = read_byte(in, '-');
    if ((!west && !read_byte(in, '+')) || !read_number(in, 2, 2, &hour)) {
        return false;
    }
    if (read_byte(in, ':') || in->at < in->end) {
        if (!read_number(in, 2, 2, &minute)) {
            return false;
        }
    }
    if (hour > 15 || minute > 59) {
        return false;
    }
    *minutes = (hour * 60 + minute) * (west ? -1 : 1);
    return true;
}

/* Days since 1970-01-01. */
static int64_t days_of(int64_t year, int month, int day)
{
    int64_t era, year_of_era, day_of_year;

    year -= month <= 2 ? 1 : 0;
    era = (year >= 0 ? year : year - 399) / 400;
    year_of_era = year - era * 400;
    day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) {
        return 29;
    }
    return days[month - 1];
}
