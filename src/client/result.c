/*
 * result.c - the rows that a function returned, as text in the form of the type map
 *
 * A result owns everything that it hands out, and outlives its connection.
 */
#include "backend.h"
#include "common/interval.h"
#include "common/json.h"
#include "common/timestamp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cloaca_result {
    const clo_function *function;
    size_t rows;
    size_t capacity;     /* rows that `values` has room for */
    const char **values; /* row by row; NULL for SQL null */
    clo_arena arena;
};

static bool is_quoted(cloaca_type type);
static void write_row(clo_buffer *out, const cloaca_result *result, size_t row);

cloaca_result *clo_result_new(const clo_function *function)
{
    cloaca_result *result = calloc(1, sizeof(cloaca_result));

    if (result != NULL) {
        result->function = function;
    }
    return result;
}

/* A sink: adds a row. */
bool clo_result_row(void *context, const clo_value *values)
{
    cloaca_result *result = context;
    const size_t columns = result->function->column_count;

    if (columns == 0) {
        return true;
    }
    if (result->rows == result->capacity) {
        const size_t capacity = result->capacity > 0 ? result->capacity * 2 : 4;
        const char **grown = realloc(result->values, capacity * columns * sizeof(char *));

        if (grown == NULL) {
            return false;
        }
        result->values = grown;
        result->capacity = capacity;
    }
    for (size_t i = 0; i < columns; i++) {
        const char **value = &result->values[result->rows * columns + i];
        char text[CLO_FORMAT_SIZE];
        size_t length;

        *value = NULL;
        if (values[i].kind == CLO_TEXT) {
            *value = clo_arena_copy(&result->arena, values[i].text, values[i].length);
        } else if (values[i].kind == CLO_INTEGER) {
            length = clo_format(result->function->columns[i].type, values[i].integer, text, sizeof(text));
            *value = clo_arena_copy(&result->arena, text, length);
        } else {
            continue;
        }
        if (*value == NULL) {
            return false;
        }
    }
    result->rows++;
    return true;
}

/* Puts another text in the place of a value. */
bool clo_result_set(cloaca_result *result, size_t row, const char *name, const char *text, size_t length)
{
    for (size_t i = 0; i < result->function->column_count; i++) {
        if (strcmp(result->function->columns[i].name, name) == 0) {
            const char *copy = clo_arena_copy(&result->arena, text, length);

            if (copy != NULL) {
                result->values[row * result->function->column_count + i] = copy;
            }
            return copy != NULL;
        }
    }
    return true;
}

void clo_result_keep_secret(cloaca_result *result)
{
    result->arena.secret = true;
}

size_t clo_format(cloaca_type type, int64_t integer, char *text, size_t size)
{
    switch (type) {
    case CLOACA_TYPE_BOOLEAN:
        return (size_t) snprintf(text, size, "%s", integer != 0 ? "true" : "false");
    case CLOACA_TYPE_TIMESTAMPTZ:
        return integer == INT64_MAX ? (size_t) snprintf(text, size, "infinity") : clo_time_format(integer, text);
    case CLOACA_TYPE_INTERVAL:
        return clo_interval_format(integer, text);
    default:
        return (size_t) snprintf(text, size, "%" PRId64, integer);
    }
}

size_t cloaca_result_rows(const cloaca_result *result)
{
    return result != NULL ? result->rows : 0;
}

size_t cloaca_result_columns(const cloaca_result *result)
{
    return result != NULL ? result->function->column_count : 0;
}

const char *cloaca_result_name(const cloaca_result *result, size_t column)
{
    return column < cloaca_result_columns(result) ? result->function->columns[column].name : NULL;
}

cloaca_type cloaca_result_type(const cloaca_result *result, size_t column)
{
    return column < cloaca_result_columns(result) ? result->function->columns[column].type : CLOACA_TYPE_TEXT;
}

const char *cloaca_result_value(const cloaca_result *result, size_t row, size_t column)
{
    const size_t columns = cloaca_result_columns(result);

    return column < columns && row < result->rows ? result->values[row * columns + column] : NULL;
}

const char *cloaca_result_get(const cloaca_result *result, size_t row, const char *name)
{
    for (size_t i = 0; name != NULL && i < cloaca_result_columns(result); i++) {
        if (strcmp(result->function->columns[i].name, name) == 0) {
            return cloaca_result_value(result, row, i);
        }
    }
    return NULL;
}

char *cloaca_result_json(const cloaca_result *result)
{
    clo_buffer out = {0};

    clo_buffer_byte(&out, '[');
    for (size_t row = 0; row < cloaca_result_rows(result); row++) {
        if (row > 0) {
            clo_buffer_byte(&out, ',');
        }
        write_row(&out, result, row);
    }
    clo_buffer_byte(&out, ']');
    if (!clo_buffer_finish(&out)) {
        clo_buffer_free(&out);
        return NULL;
    }
    return out.data;
}

void cloaca_result_free(cloaca_result *result)
{
    if (result != NULL) {
        clo_arena_free(&result->arena);
        free(result->values);
        free(result);
    }
}

void cloaca_free(void *memory)
{
    free(memory);
}

static void write_row(clo_buffer *out, const cloaca_result *result, size_t row)
{
    clo_buffer_byte(out, '{');
    for (size_t i = 0; i < result->function->column_count; i++) {
        const clo_column *column = &result->function->columns[i];
        const char *value = cloaca_result_value(result, row, i);

        if (i > 0) {
            clo_buffer_byte(out, ',');
        }
        clo_json_string(out, column->name, strlen(column->name));
        clo_buffer_byte(out, ':');
        if (value == NULL) {
            clo_buffer_text(out, "null");
        } else if (is_quoted(column->type)) {
            clo_json_string(out, value, strlen(value));
        } else {
            clo_buffer_text(out, value);
        }
    }
    clo_buffer_byte(out, '}');
}

/* Whether JSON has a string for it. */
static bool is_quoted(cloaca_type type)
{
    return type == CLOACA_TYPE_TEXT || type == CLOACA_TYPE_TIMESTAMPTZ || type == CLOACA_TYPE_INTERVAL;
}
