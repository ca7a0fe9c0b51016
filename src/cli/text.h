/*
 * text.h - growing buffers, UTF-8, JSON quoting and durations
 *
 * Everything that several commands do with text. Running out of memory ends the program (status 1): a command has nothing
 * better to do, and the leases of a worker that dies expire.
 */
#ifndef CLOACA_CLI_TEXT_H
#define CLOACA_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes with a terminating NUL that `length` does not count. Zeroed, it is empty. */
struct buffer {
    char *data;
    size_t length;
    size_t capacity;
};

void *allocate(size_t size);
void *reallocate(void *memory, size_t size);
char *copy_text(const char *text);

void buffer_append(struct buffer *buffer, const char *bytes, size_t length);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends the text as a JSON string; bytes that are no UTF-8, and NUL, become U+FFFD. */
void buffer_json(struct buffer *buffer, const char *text, size_t length);
/*
 * Appends the text as one line without anything that drives a terminal: control characters as escapes, and so those that turn
 * the direction of what follows.
 */
void buffer_printable(struct buffer *buffer, const char *text, size_t length);
void buffer_free(struct buffer *buffer);
/* The text of a buffer, "" when nothing was ever appended. */
const char *buffer_value(const struct buffer *buffer);

/* The length in bytes of the character that starts here, or 0 when it is no UTF-8. */
size_t utf8_character(const char *text, size_t length);
bool utf8_valid(const char *text, size_t length);
/* The columns that a character of `length` bytes takes on a terminal. */
int utf8_width(const char *character, size_t length);

/* Is this one JSON value (strict, no \u0000)? On failure *problem says why; it lives until the thread's next call. */
bool json_check(const char *text, size_t length, const char **problem);

/* "90", "1.5s", "2 min 30 s", "1 day 02:00:00" → microseconds. A number alone is seconds. */
bool parse_duration(const char *text, int64_t *microseconds);

/* A clock that only goes forward, in microseconds. */
int64_t monotonic_now(void);

#endif
