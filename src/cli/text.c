/*
 * text.c - growing buffers, UTF-8, JSON quoting and durations (see text.h)
 */
#define _GNU_SOURCE
#include "text.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <wchar.h>

static uint32_t code_point(const char *character, size_t length);
static bool unit_of(const char *name, size_t length, double *microseconds);
static bool parse_clock(const char **text, double *microseconds);

void *allocate(size_t size)
{
    return reallocate(NULL, size);
}

void *reallocate(void *memory, size_t size)
{
    void *moved = realloc(memory, size > 0 ? size : 1);

    if (moved == NULL) {
        fputs("cloaca: out of memory\n", stderr);
        exit(1);
    }
    return moved;
}

char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(allocate(size), text, size);
}

void buffer_append(struct buffer *buffer, const char *bytes, size_t length)
{
    if (buffer->length + length + 1 > buffer->capacity) {
        buffer->capacity = (buffer->length + length + 1) * 2;
        buffer->data = reallocate(buffer->data, buffer->capacity);
    }
    if (length > 0)
        memcpy(buffer->data + buffer->length, bytes, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
}

void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    va_list values;
    char *text = NULL;
    int length;

    va_start(values, format);
    length = vasprintf(&text, format, values);
    va_end(values);
    if (length < 0) {
        fputs("cloaca: out of memory\n", stderr);
        exit(1);
    }
    buffer_append(buffer, text, (size_t) length);
    free(text);
}

void buffer_json(struct buffer *buffer, const char *text, size_t length)
{
    static const char escapes[] = "\"\"\\\\\bb\ff\nn\rr\tt";

    buffer_append(buffer, "\"", 1);
    for (size_t at = 0; at < length;) {
        unsigned char byte = (unsigned char) text[at];
        size_t size = utf8_character(text + at, length - at);
        const char *escape = NULL;

        for (size_t i = 0; i < sizeof escapes - 1 && escape == NULL; i += 2)
            escape = escapes[i] == text[at] ? &escapes[i + 1] : NULL;
        if (escape != NULL)
            buffer_format(buffer, "\\%c", *escape);
        else if (size == 0 || byte == 0)
            buffer_text(buffer, "\xEF\xBF\xBD");
        else if (byte < 0x20 || byte == 0x7F)
            buffer_format(buffer, "\\u%04x", byte);
        else
            buffer_append(buffer, text + at, size);
        at += size > 0 ? size : 1;
    }
    buffer_append(buffer, "\"", 1);
}

void buffer_printable(struct buffer *buffer, const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t size = utf8_character(text + at, length - at);
        unsigned char byte = (unsigned char) text[at];
        uint32_t point = size > 0 ? code_point(text + at, size) : 0;
        bool control = point < 0x20 || (point >= 0x7F && point < 0xA0);
        bool turns = (point >= 0x202A && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);

        if (byte == '\n' || byte == '\t' || byte == '\r')
            buffer_text(buffer, byte == '\n' ? "\\n" : byte == '\t' ? "\\t" : "\\r");
        else if (size == 0 || control)
            buffer_format(buffer, "\\x%02x", size == 0 ? byte : (unsigned) point);
        else if (turns)
            buffer_format(buffer, "\\u%04x", (unsigned) point);
        else
            buffer_append(buffer, text + at, size);
        at += size > 0 ? size : 1;
    }
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}

const char *buffer_value(const struct buffer *buffer)
{
    return buffer->data != NULL ? buffer->data : "";
}

size_t utf8_character(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *) text;
    size_t size;
    uint32_t point;

    if (length == 0)
        return 0;
    if (bytes[0] < 0x80)
        return 1;
    size = bytes[0] >= 0xF0 ? 4 : bytes[0] >= 0xE0 ? 3 : 2;
    if (bytes[0] < 0xC2 || bytes[0] > 0xF4 || length < size)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
    point = code_point(text, size);
    if ((size == 3 && point < 0x800) || (size == 4 && point < 0x10000) || point > 0x10FFFF ||
        (point >= 0xD800 && point <= 0xDFFF))
        return 0;
    return size;
}

bool utf8_valid(const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t size = utf8_character(text + at, length - at);

        if (size == 0)
            return false;
        at += size;
    }
    return true;
}

int utf8_width(const char *character, size_t length)
{
    int width = length == 1 ? 1 : wcwidth((wchar_t) code_point(character, length));

    return width < 0 ? 1 : width;
}

bool json_check(const char *text, size_t length, const char **problem)
{
    static _Thread_local char message[JSON_ERROR_TEXT_LENGTH + 32];
    json_error_t error;
    json_t *value = json_loadb(text, length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);

    if (value != NULL) {
        json_decref(value);
        return true;
    }
    snprintf(message, sizeof message, "%s (at byte %d)", error.text, error.position);
    *problem = message;
    return false;
}

bool parse_duration(const char *text, int64_t *microseconds)
{
    double total = 0;
    bool any = false;

    for (;;) {
        double amount;
        double unit;
        char *end;
        size_t length = 0;

        while (isspace((unsigned char) *text))
            text++;
        if (*text == '\0')
            break;
        if (!isdigit((unsigned char) *text) && *text != '.')
            return false;
        any = true;
        if (parse_clock(&text, &total))
            continue;
        amount = strtod(text, &end);
        if (end == text)
            return false;
        while (isspace((unsigned char) *end))
            end++;
        while (isalpha((unsigned char) end[length]))
            length++;
        if (!unit_of(end, length, &unit))
            return false;
        total += amount * unit;
        text = end + length;
    }
    if (!any || !(total <= 315576000.0 * 1e6))
        return false;
    *microseconds = (int64_t) (total + 0.5);
    return true;
}

int64_t monotonic_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint32_t code_point(const char *character, size_t length)
{
    const unsigned char *bytes = (const unsigned char *) character;
    uint32_t point = length == 1 ? bytes[0] : bytes[0] & (0xFFU >> (length + 1));

    for (size_t i = 1; i < length; i++)
        point = point << 6 | (bytes[i] & 0x3F);
    return point;
}

static bool unit_of(const char *name, size_t length, double *microseconds)
{
    static const struct {
        const char *names;
        double microseconds;
    } units[] = {
        {" us usec usecs microsecond microseconds ", 1},
        {" ms msec msecs millisecond milliseconds ", 1e3},
        {" s sec secs second seconds ", 1e6},
        {" m min mins minute minutes ", 60e6},
        {" h hr hrs hour hours ", 3600e6},
        {" d day days ", 86400e6},
        {" w week weeks ", 7 * 86400e6},
    };
    char word[16];

    *microseconds = 1e6;
    if (length == 0)
        return true;
    if (length > sizeof word - 3)
        return false;
    snprintf(word, sizeof word, " %.*s ", (int) length, name);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        *microseconds = units[i].microseconds;
        if (strcasestr(units[i].names, word) != NULL)
            return true;
    }
    return false;
}

/* HH:MM:SS[.ffffff], moving *text behind it; false when something else stands there. */
static bool parse_clock(const char **text, double *microseconds)
{
    double parts[3];
    const char *at = *text;

    for (int i = 0; i < 3; i++) {
        char *end;

        if (i > 0 && *at++ != ':')
            return false;
        parts[i] = strtod(at, &end);
        if (end == at || !(parts[i] >= 0))
            return false;
        at = end;
    }
    *microseconds += parts[0] * 3600e6 + parts[1] * 60e6 + parts[2] * 1e6;
    *text = at;
    return true;
}
