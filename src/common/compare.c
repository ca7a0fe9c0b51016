/*
 * compare.c - what canonical documents have in common: equality, order, members
 *
 * Canonical text differs only where the documents do, but for numbers, which keep the zeros that they were written with. So
 * texts are compared byte by byte, numbers digit by digit, and nothing is built or nested.
 */
#define _GNU_SOURCE /* memmem */
#include "common/compare.h"

#include <stdlib.h>
#include <string.h>

/* A number's digits before and after the point, without zeros at the end. */
typedef struct decimal {
    bool negative;
    clo_span whole;
    clo_span fraction;
} decimal;

static bool is_number(const char *text);
static size_t token_length(clo_span document, size_t at);
static decimal read_decimal(const char *text, size_t length);
static int compare_decimals(const decimal *one, const decimal *other);
static int compare_bytes(clo_span one, clo_span other);
static bool unquote_both(clo_span one, clo_span other, clo_span *one_text, clo_span *other_text, char **memory);
static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t length);

bool clo_json_equal(clo_span one, clo_span other)
{
    size_t i = 0;
    size_t j = 0;

    while (i < one.length && j < other.length) {
        const size_t length = token_length(one, i);
        const size_t other_length = token_length(other, j);

        if (is_number(one.text + i) && is_number(other.text + j)) {
            const decimal number = read_decimal(one.text + i, length);
            const decimal other_number = read_decimal(other.text + j, other_length);

            if (compare_decimals(&number, &other_number) != 0) {
                return false;
            }
        } else if (length != other_length || memcmp(one.text + i, other.text + j, length) != 0) {
            return false;
        }
        i += length;
        j += other_length;
    }
    return i == one.length && j == other.length;
}

uint64_t clo_json_hash(clo_span document)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < document.length;) {
        const size_t length = token_length(document, i);

        if (is_number(document.text + i)) {
            const decimal number = read_decimal(document.text + i, length);

            hash = hash_bytes(hash, number.negative ? "-" : "+", 1);
            hash = hash_bytes(hash, number.whole.text, number.whole.length);
            hash = hash_bytes(hash, ".", 1);
            hash = hash_bytes(hash, number.fraction.text, number.fraction.length);
        } else {
            hash = hash_bytes(hash, document.text + i, length);
        }
        i += length;
    }
    return hash;
}

bool clo_json_compare(clo_span one, clo_span other, int *order)
{
    clo_span text, other_text;
    char *memory;

    if (is_number(one.text) && is_number(other.text)) {
        const decimal number = read_decimal(one.text, one.length);
        const decimal other_number = read_decimal(other.text, other.length);

        *order = compare_decimals(&number, &other_number);
        return true;
    }
    if (*one.text != '"' || *other.text != '"' || !unquote_both(one, other, &text, &other_text, &memory)) {
        return false;
    }
    *order = compare_bytes(text, other_text);
    free(memory);
    return true;
}

bool clo_json_contains(clo_span whole, clo_span part)
{
    const char *at = whole.text;
    clo_span key, element, text, part_text;
    char *memory;
    bool found = false;

    if (*whole.text == '"' && *part.text == '"' && unquote_both(whole, part, &text, &part_text, &memory)) {
        found = memmem(text.text, text.length, part_text.text, part_text.length) != NULL;
        free(memory);
    } else if (*whole.text == '{' && *part.text == '"') {
        found = clo_json_member(whole, part).text != NULL;
    } else if (*whole.text == '[') {
        while (!found && clo_json_next(&at, &key, &element)) {
            found = clo_json_equal(element, part);
        }
    }
    return found;
}

clo_span clo_json_member(clo_span object, clo_span key)
{
    const char *at = object.text;
    clo_span name, element;

    while (*object.text == '{' && clo_json_next(&at, &name, &element)) {
        if (name.length == key.length && memcmp(name.text, key.text, key.length) == 0) {
            return element;
        }
    }
    return (clo_span){NULL, 0};
}

static bool is_number(const char *text)
{
    return *text == '-' || (*text >= '0' && *text <= '9');
}

/* What starts there: a string with its quotes, a number, or a byte of anything else. */
static size_t token_length(clo_span document, size_t at)
{
    const char *text = document.text + at;
    const size_t left = document.length - at;
    size_t length = 1;

    if (*text == '"') {
        while (length < left && text[length] != '"') {
            length += text[length] == '\\' ? 2 : 1;
        }
        return length < left ? length + 1 : left;
    }
    while (is_number(text) && length < left && (is_number(text + length) || text[length] == '.')) {
        length++;
    }
    return length;
}

static decimal read_decimal(const char *text, size_t length)
{
    const bool negative = *text == '-';
    const char *end = text + length;
    const char *digits = text + negative;
    const char *point = memchr(digits, '.', (size_t) (end - digits));

    if (point == NULL) {
        return (decimal){negative, {digits, (size_t) (end - digits)}, {end, 0}};
    }
    while (end[-1] == '0') {
        end--;
    }
    return (decimal){negative, {digits, (size_t) (point - digits)}, {point + 1, (size_t) (end - point - 1)}};
}

/* Zero is never negative in canonical text, and no number starts with a zero that does not stand alone. */
static int compare_decimals(const decimal *one, const decimal *other)
{
    int order;

    if (one->negative != other->negative) {
        return one->negative ? -1 : 1;
    }
    order = one->whole.length != other->whole.length ? (one->whole.length < other->whole.length ? -1 : 1)
                                                     : memcmp(one->whole.text, other->whole.text, one->whole.length);
    if (order == 0) {
        order = compare_bytes(one->fraction, other->fraction);
    }
    return one->negative ? -order : order;
}

static int compare_bytes(clo_span one, clo_span other)
{
    const int order = memcmp(one.text, other.text, one.length < other.length ? one.length : other.length);

    return order != 0 || one.length == other.length ? order : (one.length < other.length ? -1 : 1);
}

/* The texts that two strings stand for, in memory of their own. */
static bool unquote_both(clo_span one, clo_span other, clo_span *one_text, clo_span *other_text, char **memory)
{
    *memory = malloc(one.length + other.length);
    if (*memory == NULL) {
        return false;
    }
    *one_text = (clo_span){*memory, clo_json_unquote(one, *memory)};
    *other_text = (clo_span){*memory + one.length, clo_json_unquote(other, *memory + one.length)};
    return true;
}

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char) bytes[i]) * UINT64_C(1099511628211);
    }
    return hash;
}
