/*
 * cron.c - cron expressions: reading one, and the next time that it means on the clocks of a time zone
 *
 * cron_after_sql does the same in PL/pgSQL, step by step; a test compares the two.
 */
#include "cron.h"

#include <string.h>

#define DAY 86400
#define LAST INT64_C(253402300799) /* 9999-12-31 23:59:59 */

typedef struct field {
    int first;
    int last;
    const char *names; /* of three letters each, from `first` on */
    const char *problem;
} field;

enum { SECOND, MINUTE, HOUR, MONTH_DAY, MONTH, WEEKDAY, FIELDS };

/* A weekday counts to 7, which is Sunday again. */
static const field fields[FIELDS] = {
    {0, 59, "", "The second of the cron expression must be from 0 to 59, with *, lists, ranges and steps."},
    {0, 59, "", "The minute of the cron expression must be from 0 to 59, with *, lists, ranges and steps."},
    {0, 23, "", "The hour of the cron expression must be from 0 to 23, with *, lists, ranges and steps."},
    {1, 31, "", "The day of the cron expression must be from 1 to 31, with *, lists, ranges and steps."},
    {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec",
     "The month of the cron expression must be from 1 to 12 or JAN to DEC, with *, lists, ranges and steps."},
    {0, 7, "sunmontuewedthufrisat",
     "The weekday of the cron expression must be from 0 to 7 or SUN to SAT, with *, lists, ranges and steps."},
};

static const struct {
    const char *name;
    const char *stands_for;
} nicknames[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

/* A part of the text. */
typedef struct part {
    const char *at;
    const char *end;
} part;

static part resolve_nickname(const char *text, size_t length);
static int split(part text, part *words);
static bool read_field(const field *known, part word, uint64_t *bits);
static bool read_item(const field *known, part item, uint64_t *bits);
static bool read_value(const field *known, part *in, int *value);
static bool read_number(part *in, int *number);
static bool has_date(const clo_cron *cron);
static bool next_elapsed(const clo_cron *cron, clo_offset offset, void *zone, int64_t after, int64_t *next);
static int64_t latest_shown(clo_offset offset, void *zone, int64_t at);
static int64_t first_reached(clo_offset offset, void *zone, int64_t local);
static bool next_change(clo_offset offset, void *zone, int64_t from, int64_t to, int64_t *change);
static bool next_match(const clo_cron *cron, int64_t local, int64_t *match);
static bool next_in_day(const clo_cron *cron, int32_t from, int32_t *second);
static bool next_day(const clo_cron *cron, int64_t *day);
static int next_bit(uint64_t bits, int from);
static bool day_matches(const clo_cron *cron, int64_t number, int day);
static void date_of(int64_t number, int64_t *year, int *month, int *day);
static int days_in(int64_t year, int month);
static bool is_one_of(const char *name, size_t length, const char *const *list);

/* ------------------------------------------------------------------------------------------------------------------ reading */

const char *clo_cron_read(const char *text, size_t length, clo_cron *cron)
{
    part words[FIELDS + 1] = {{NULL, NULL}};
    uint64_t bits[FIELDS] = {1};
    int count, missing;

    if (length > CLO_CRON_LENGTH) {
        return "The cron expression must have at most 200 bytes.";
    }
    count = split(resolve_nickname(text, length), words);
    if (count != FIELDS && count != FIELDS - 1) {
        return "The cron expression must have 5 or 6 fields, or be @hourly, @daily, @midnight, @weekly, @monthly, @yearly or "
               "@annually.";
    }
    /* Without seconds it is the first second of the minute. */
    missing = FIELDS - count;
    for (int i = missing; i < FIELDS; i++) {
        if (!read_field(&fields[i], words[i - missing], &bits[i])) {
            return fields[i].problem;
        }
    }
    bits[WEEKDAY] = (bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f;
    *cron = (clo_cron){
        .seconds = bits[SECOND],
        .minutes = bits[MINUTE],
        .hours = bits[HOUR],
        .days = bits[MONTH_DAY],
        .months = bits[MONTH],
        .weekdays = bits[WEEKDAY],
        .either = *words[MONTH_DAY - missing].at != '*' && *words[WEEKDAY - missing].at != '*',
        .elapsed = *words[HOUR - missing].at == '*',
    };
    return has_date(cron) ? NULL : "The cron expression matches no date.";
}

/* What a word that begins with @ stands for, or the text as it is. */
static part resolve_nickname(const char *text, size_t length)
{
    part word = {text, text + length};

    while (word.at < word.end && (*word.at == ' ' || *word.at == '\t')) {
        word.at++;
    }
    while (word.at < word.end && (word.end[-1] == ' ' || word.end[-1] == '\t')) {
        word.end--;
    }
    for (size_t i = 0; i < sizeof(nicknames) / sizeof(nicknames[0]); i++) {
        const size_t size = (size_t) (word.end - word.at);
        size_t same = 0;

        while (same < size && same < strlen(nicknames[i].name) &&
               (word.at[same] >= 'A' && word.at[same] <= 'Z' ? word.at[same] | 0x20 : word.at[same]) ==
                   nicknames[i].name[same]) {
            same++;
        }
        if (same == size && same == strlen(nicknames[i].name)) {
            return (part){nicknames[i].stands_for, nicknames[i].stands_for + strlen(nicknames[i].stands_for)};
        }
    }
    return word;
}

/* The words between blanks; how many there are, but no more than one too many. */
static int split(part text, part *words)
{
    int count = 0;

    while (text.at < text.end && count <= FIELDS) {
        words[count].at = text.at;
        while (text.at < text.end && *text.at != ' ' && *text.at != '\t') {
            text.at++;
        }
        words[count++].end = text.at;
        while (text.at < text.end && (*text.at == ' ' || *text.at == '\t')) {
            text.at++;
        }
    }
    return count;
}

/* A list of items. */
static bool read_field(const field *known, part word, uint64_t *bits)
{
    *bits = 0;
    for (;;) {
        const char *comma = memchr(word.at, ',', (size_t) (word.end - word.at));

        if (!read_item(known, (part){word.at, comma != NULL ? comma : word.end}, bits)) {
            return false;
        } else if (comma == NULL) {
            return true;
        }
        word.at = comma + 1;
    }
}

/* `*`, a value or a range, and a step: one behind a single value goes on to the end. */
static bool read_item(const field *known, part item, uint64_t *bits)
{
    const bool is_weekday = known == &fields[WEEKDAY];
    const int most = is_weekday ? 6 : known->last;
    int first = known->first;
    int last = most;
    int step = 1;
    bool is_single = false;

    if (item.at < item.end && *item.at == '*') {
        item.at++;
    } else if (!read_value(known, &item, &first)) {
        return false;
    } else if (item.at < item.end && *item.at == '-') {
        item.at++;
        if (!read_value(known, &item, &last)) {
            return false;
        }
        /* A week that ends on Sunday. */
        last = is_weekday && last == 0 && first > 0 ? 7 : last;
    } else {
        is_single = true;
    }
    if (item.at < item.end && *item.at == '/') {
        item.at++;
        if (!read_number(&item, &step) || step < 1 || step > most - known->first + 1) {
            return false;
        }
        last = is_single && first > last ? first : last;
    } else if (is_single) {
        last = first;
    }
    if (item.at != item.end || first > last) {
        return false;
    }
    for (int value = first; value <= last; value += step) {
        *bits |= UINT64_C(1) << value;
    }
    return true;
}

/* A number, or a name of three letters. */
static bool read_value(const field *known, part *in, int *value)
{
    if (in->end - in->at >= 3) {
        for (int i = 0; known->names[3 * i] != '\0'; i++) {
            const char *name = known->names + 3 * i;

            if ((in->at[0] | 0x20) == name[0] && (in->at[1] | 0x20) == name[1] && (in->at[2] | 0x20) == name[2]) {
                in->at += 3;
                *value = known->first + i;
                return true;
            }
        }
    }
    return read_number(in, value) && *value >= known->first && *value <= known->last;
}

/* One digit or two. */
static bool read_number(part *in, int *number)
{
    int digits = 0;

    *number = 0;
    for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++, digits++) {
        if (digits == 2) {
            return false;
        }
        *number = *number * 10 + (*in->at - '0');
    }
    return digits > 0;
}

/* Whether any of the months has any of the days. A day of the week comes on every date some year. */
static bool has_date(const clo_cron *cron)
{
    for (int month = 1; month <= 12; month++) {
        if ((cron->months >> month & 1) != 0 && next_bit(cron->days, 1) <= days_in(2000, month)) {
            return true;
        }
    }
    return cron->either;
}

/* --------------------------------------------------------------------------------------------------------------- time zones */

bool clo_cron_next(const clo_cron *cron, clo_offset offset, void *zone, int64_t after, int64_t *next)
{
    int64_t local;

    if (cron->elapsed) {
        return next_elapsed(cron, offset, zone, after, next);
    }
    if (!next_match(cron, latest_shown(offset, zone, after) + 1, &local)) {
        return false;
    }
    *next = first_reached(offset, zone, local);
    return *next <= LAST;
}

/* The first time at which the clocks show what matches. Looks from one change of the offset to the next. */
static bool next_elapsed(const clo_cron *cron, clo_offset offset, void *zone, int64_t after, int64_t *next)
{
    int64_t from = after + 1;

    for (;;) {
        const int32_t now = offset(zone, from);
        int64_t local;

        if (!next_match(cron, from + now, &local) || local - now > LAST) {
            return false;
        }
        *next = local - now;
        if (!next_change(offset, zone, from, *next, &from)) {
            return true;
        }
    }
}

/* The latest local time that the clocks have shown up to a time: what they show, or, when they were put back, what they showed
 * before. */
static int64_t latest_shown(clo_offset offset, void *zone, int64_t at)
{
    const int64_t shown = at + offset(zone, at);
    int64_t change;

    if (next_change(offset, zone, at - 2 * DAY, at, &change)) {
        const int64_t before = change - 1 + offset(zone, change - 1);

        return before > shown ? before : shown;
    }
    return shown;
}

/* The first time at which the clocks show a local time or, when they skip it, a later one. */
static int64_t first_reached(clo_offset offset, void *zone, int64_t local)
{
    const int64_t from = local - DAY;
    const int32_t before = offset(zone, from);
    int64_t change;
    int64_t at;

    if (!next_change(offset, zone, from, local + DAY, &change) || local - before < change) {
        return local - before;
    }
    at = local - offset(zone, change);
    return at > change ? at : change;
}

/* The first time after `from` and up to `to` with another offset than that of the second before. */
static bool next_change(clo_offset offset, void *zone, int64_t from, int64_t to, int64_t *change)
{
    const int32_t old = offset(zone, from);

    while (from < to) {
        int64_t end = to - from > 2 * DAY ? from + 2 * DAY : to;

        if (offset(zone, end) == old) {
            from = end;
            continue;
        }
        while (end - from > 1) {
            const int64_t middle = from + (end - from) / 2;

            if (offset(zone, middle) == old) {
                from = middle;
            } else {
                end = middle;
            }
        }
        *change = end;
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------------------------- calendar */

/* The first local time from `local` on that matches. */
static bool next_match(const clo_cron *cron, int64_t local, int64_t *match)
{
    int64_t day = local >= 0 ? local / DAY : -((-local + DAY - 1) / DAY);
    const int64_t first = day;
    int32_t second;

    if (!next_day(cron, &day)) {
        return false;
    }
    if (day == first) {
        if (next_in_day(cron, (int32_t) (local - day * DAY), &second)) {
            *match = day * DAY + second;
            return true;
        }
        day++;
        if (!next_day(cron, &day)) {
            return false;
        }
    }
    next_in_day(cron, 0, &second);
    *match = day * DAY + second;
    return true;
}

/* The first second of a day from `from` on that matches. */
static bool next_in_day(const clo_cron *cron, int32_t from, int32_t *second)
{
    int hour = from / 3600;
    int minute = from / 60 % 60;
    int rest = next_bit(cron->seconds, from % 60);

    if ((cron->hours >> hour & 1) != 0) {
        if ((cron->minutes >> minute & 1) != 0 && rest < 64) {
            *second = hour * 3600 + minute * 60 + rest;
            return true;
        }
        minute = next_bit(cron->minutes, minute + 1);
        if (minute < 64) {
            *second = hour * 3600 + minute * 60 + next_bit(cron->seconds, 0);
            return true;
        }
    }
    hour = next_bit(cron->hours, hour + 1);
    *second = hour * 3600 + next_bit(cron->minutes, 0) * 60 + next_bit(cron->seconds, 0);
    return hour < 64;
}

/* The first day from *day on that matches, passing over months that do not. */
static bool next_day(const clo_cron *cron, int64_t *number)
{
    int64_t year;
    int month, day;

    date_of(*number, &year, &month, &day);
    while (year <= 9999) {
        const int length = days_in(year, month);

        for (; (cron->months >> month & 1) != 0 && day <= length; day++, (*number)++) {
            if (day_matches(cron, *number, day)) {
                return true;
            }
        }
        *number += length + 1 - day;
        day = 1;
        year += month == 12 ? 1 : 0;
        month = month % 12 + 1;
    }
    return false;
}

/* The lowest bit from `from` on, or 64. */
static int next_bit(uint64_t bits, int from)
{
    while (from < 64 && (bits >> from & 1) == 0) {
        from++;
    }
    return from;
}

/* 1970-01-01 was a Thursday. */
static bool day_matches(const clo_cron *cron, int64_t number, int day)
{
    const int64_t weekday = ((number + 4) % 7 + 7) % 7;
    const bool by_month = (cron->days >> day & 1) != 0;
    const bool by_week = (cron->weekdays >> weekday & 1) != 0;

    return cron->either ? by_month || by_week : by_month && by_week;
}

/* The calendar repeats every 400 years; a year that starts in March has its leap day at the end. */
static void date_of(int64_t number, int64_t *year, int *month, int *day)
{
    const int64_t shifted = number + 719468;
    const int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    const int64_t day_of_era = shifted - era * 146097;
    const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t march_month = (5 * day_of_year + 2) / 153;

    *day = (int) (day_of_year - (153 * march_month + 2) / 5) + 1;
    *month = (int) (march_month < 10 ? march_month + 3 : march_month - 9);
    *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

static int days_in(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) {
        return 29;
    }
    return days[month - 1];
}

/* ------------------------------------------------------------------------------------------------------------------- names */

/* The names with digits are few and do not change; any other with digits would be read as a rule of POSIX. */
bool clo_zone_is_name(const char *name, size_t length)
{
    static const char *const with_digits[] = {
        "GMT0",       "GMT+0",      "GMT-0",      "EST5EDT",    "CST6CDT",    "MST7MDT",   "PST8PDT",   "Etc/GMT0",
        "Etc/GMT+0",  "Etc/GMT+1",  "Etc/GMT+2",  "Etc/GMT+3",  "Etc/GMT+4",  "Etc/GMT+5", "Etc/GMT+6", "Etc/GMT+7",
        "Etc/GMT+8",  "Etc/GMT+9",  "Etc/GMT+10", "Etc/GMT+11", "Etc/GMT+12", "Etc/GMT-0", "Etc/GMT-1", "Etc/GMT-2",
        "Etc/GMT-3",  "Etc/GMT-4",  "Etc/GMT-5",  "Etc/GMT-6",  "Etc/GMT-7",  "Etc/GMT-8", "Etc/GMT-9", "Etc/GMT-10",
        "Etc/GMT-11", "Etc/GMT-12", "Etc/GMT-13", "Etc/GMT-14", NULL,
    };
    /* What lies beside the zones. */
    static const char *const others[] = {"localtime", "posixrules", "leapseconds", "Factory", NULL};
    bool plain = length > 0 && !is_one_of(name, length, others) && !(length > 6 && memcmp(name, "posix/", 6) == 0) &&
                 !(length > 6 && memcmp(name, "right/", 6) == 0);

    for (size_t i = 0; plain && i < length; i++) {
        const bool letter = ((name[i] | 0x20) >= 'a' && (name[i] | 0x20) <= 'z');

        plain = letter || (i > 0 && i + 1 < length && (name[i] == '_' || name[i] == '-' || name[i] == '/'));
    }
    return plain || is_one_of(name, length, with_digits);
}

static bool is_one_of(const char *name, size_t length, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strlen(*list) == length && memcmp(*list, name, length) == 0) {
            return true;
        }
    }
    return false;
}
