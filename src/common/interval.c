/*
 * interval.c - intervals as text and as microseconds
 */
#include "interval.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* So large that no sum of a few of them leaves 128 bits, and far beyond 64. */
#define LIMIT ((__int128) 1 << 100)

typedef struct reader {
    const char *at;
    const char *end;
} reader;

static const struct {
    const char *names;
    int64_t length;
} units[] = {
    {" us usec usecs usecond useconds microsecond microseconds ", 1},
    {" ms msec msecs msecond mseconds millisecond milliseconds ", 1000},
    {" s sec secs second seconds ", SECOND},
    {" m min mins minute minutes ", MINUTE},
    {" h hr hrs hour hours ", HOUR},
    {" d day days ", DAY},
    {" w week weeks ", 7 * DAY},
    {" mon mons month months ", 30 * DAY},
    {" y yr yrs year years ", 8766 * HOUR},
};

static bool read_field(reader *in, __int128 *value);
static bool read_clock(reader *in, __int128 hours, __int128 *value);
static bool read_digits(reader *in, __int128 *value);
static bool read_fraction(reader *in, __int128 *fraction);
static bool read_word(reader *in, char *word, size_t size);
static bool unit_length(const char *word, int64_t *length);
static void skip_space(reader *in);
static bool peek(const reader *in, char byte);

/* Fractions are counted in parts of this. */
#define FRACTION INT64_C(1000000000000000)

bool clo_interval_parse(const char *text, size_t length, int64_t *microseconds)
{
    reader in = {text, text + length};
    __int128 sum = 0;
    bool any = false;

    skip_space(&in);
    if (peek(&in, '@')) {
        in.at++;
        skip_space(&in);
    }
    while (in.at < in.end) {
        __int128 value;
        char word[8];

        if (any && (*in.at == 'a' || *in.at == 'A')) {
            if (!read_word(&in, word, sizeof(word)) || strcmp(word, "ago") != 0 || in.at < in.end) {
                return false;
            }
            sum = -sum;
            break;
        }
        if (!read_field(&in, &value)) {
            return false;
        }
        any = true;
        sum += value;
        if (sum > LIMIT || sum < -LIMIT) {
            sum = sum > 0 ? LIMIT : -LIMIT;
        }
    }
    if (sum > INT64_MAX) {
        sum = INT64_MAX;
    } else if (sum < INT64_MIN) {
        sum = INT64_MIN;
    }
    *microseconds = (int64_t) sum;
    return any;
}

size_t clo_interval_format(int64_t microseconds, char *text)
{
    const char *sign = microseconds < 0 ? "-" : "";
    const uint64_t rest = microseconds < 0 ? 0 - (uint64_t) microseconds : (uint64_t) microseconds;
    const uint64_t days = rest / (uint64_t) DAY;
    const uint64_t seconds = rest % (uint64_t) DAY / (uint64_t) SECOND;
    const unsigned fraction = (unsigned) (rest % (uint64_t) SECOND);
    int length = 0;

    if (days > 0) {
        length =
            snprintf(text, CLO_INTERVAL_SIZE, "%s%" PRIu64 " %s ", sign, days, days == 1 && *sign == '\0' ? "day" : "days");
    }
    length += snprintf(text + length, CLO_INTERVAL_SIZE - (size_t) length, "%s%02u:%02u:%02u", sign,
                       (unsigned) (seconds / 3600), (unsigned) (seconds / 60 % 60), (unsigned) (seconds % 60));
    if (fraction > 0) {
        length += snprintf(text + length, CLO_INTERVAL_SIZE - (size_t) length, ".%06u", fraction);
        while (text[length - 1] == '0') {
            text[--length] = '\0';
        }
    }
    return (size_t) length;
}

/* A number with a unit, a bare number (seconds), or hours, minutes and seconds with colons. */
static bool read_field(reader *in, __int128 *value)
{
    bool negative = peek(in, '-');
    __int128 whole = 0;
    __int128 fraction = 0;
    bool digits;
    int64_t unit = SECOND;
    char word[16];

    if (negative || peek(in, '+')) {
        in->at++;
        skip_space(in);
    }
    digits = read_digits(in, &whole);
    if (digits && peek(in, ':')) {
        if (!read_clock(in, whole, value)) {
            return false;
        }
    } else {
        if (read_fraction(in, &fraction)) {
            digits = true;
        }
        skip_space(in);
        /* "ago" is no unit: it is left for the caller, and the number before it counts seconds. */
        if (in->at < in->end && *in->at != '+' && *in->at != '-' && *in->at != 'a' && *in->at != 'A' &&
            (*in->at < '0' || *in->at > '9')) {
            if (!read_word(in, word, sizeof(word)) || !unit_length(word, &unit)) {
                return false;
            }
        }
        *value = whole * unit + (fraction * unit + FRACTION / 2) / FRACTION;
    }
    if (negative) {
        *value = -*value;
    }
    skip_space(in);
    return digits;
}

/* The rest of HH:MM[:SS[.f]]. */
static bool read_clock(reader *in, __int128 hours, __int128 *value)
{
    __int128 minutes = 0;
    __int128 seconds = 0;
    __int128 fraction = 0;

    in->at++;
    if (!read_digits(in, &minutes) || minutes > 59) {
        return false;
    }
    if (peek(in, ':')) {
        in->at++;
        if (!read_digits(in, &seconds) || seconds > 59) {
            return false;
        }
        read_fraction(in, &fraction);
    }
    *value = hours * HOUR + minutes * MINUTE + seconds * SECOND + (fraction * SECOND + FRACTION / 2) / FRACTION;
    return in->at == in->end || *in->at == ' ' || *in->at == '\t' || *in->at == '\n';
}

/* The value stops growing far beyond what fits, where a few more digits make no difference. */
static bool read_digits(reader *in, __int128 *value)
{
    const char *start = in->at;

    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') {
        if (*value < LIMIT >> 36) {
            *value = *value * 10 + (*in->at - '0');
        }
        in->at++;
    }
    return in->at > start;
}

static bool read_fraction(reader *in, __int128 *fraction)
{
    int64_t part = FRACTION / 10;
    const char *start;

    if (!peek(in, '.')) {
        return false;
    }
    start = ++in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') {
        *fraction += (*in->at++ - '0') * part;
        part /= 10;
    }
    return in->at > start;
}

static bool read_word(reader *in, char *word, size_t size)
{
    size_t length = 0;

    while (in->at < in->end && ((*in->at >= 'a' && *in->at <= 'z') || (*in->at >= 'A' && *in->at <= 'Z'))) {
        if (length + 1 >= size) {
            return false;
        }
        word[length++] = (char) (*in->at++ | 0x20);
    }
    word[length] = '\0';
    skip_space(in);
    return length > 0;
}

static bool unit_length(const char *word, int64_t *length)
{
    char needle[20];

    snprintf(needle, sizeof(needle), " %s ", word);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strstr(units[i].names, needle) != NULL) {
            *length = units[i].length;
            return true;
        }
    }
    return false;
}

static void skip_space(reader *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n')) {
        in->at++;
    }
}

static bool peek(const reader *in, char byte)
{
    return in->at < in->end && *in->at == byte;
}
