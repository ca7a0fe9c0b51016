/*
 * json.h - strict JSON, brought into the one form that PostgreSQL's jsonb prints
 *
 * Documents are checked and rewritten before any database sees them, so that the same document gives the same text, and the
 * same error, everywhere: object members sorted by length and bytes, the last of equal keys kept, ", " and ": " between things,
 * numbers written out exactly, whatever their size, strings escaped only where they must be. Pure: no process, no lock, no
 * global.
 */
#ifndef CLO_JSON_H
#define CLO_JSON_H

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is wrong with a document, and at which byte, counted from 1. */
typedef struct clo_json_error {
    const char *reason; /* such as "a string is not closed"; NULL when memory ran out */
    size_t position;
} clo_json_error;

/* Appends the canonical form of the text to the buffer. The text must be one document in UTF-8 without \u0000. */
bool clo_json_canonical(const char *text, size_t length, clo_buffer *out, clo_json_error *error);

/* The same for what was made of such documents, and may be nested a little deeper than they. */
bool clo_json_rewrite(const char *text, size_t length, clo_buffer *out, clo_json_error *error);

/* Whether the text is UTF-8 without a zero byte. */
bool clo_utf8_valid(const char *text, size_t length);

/* Appends the text; zero bytes, and those that are no UTF-8, become U+FFFD each. */
void clo_utf8_mend(clo_buffer *out, const char *text, size_t length);

/* Appends the text, which is UTF-8, as a JSON string in quotes. */
void clo_json_string(clo_buffer *out, const char *text, size_t length);

/*
 * Reading canonical text. An element is a span of it; strings and keys are spans with their quotes.
 */
typedef struct clo_span {
    const char *text;
    size_t length;
} clo_span;

/* Starts with *at at the opening bracket; each call gives the next element, and its key in an object. False at the end. */
bool clo_json_next(const char **at, clo_span *key, clo_span *element);

/* The text that a string stands for, which is never longer than the string; `text` may be its own place. Returns the length. */
size_t clo_json_unquote(clo_span string, char *text);

/* The order of the keys of an object: by the length of what they stand for, then by its bytes. */
int clo_json_compare_keys(clo_span left, clo_span right);

/* Whether the element is a number without fraction that fits. */
bool clo_json_integer(clo_span element, int64_t *value);

#endif
