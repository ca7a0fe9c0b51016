/*
 * postgres_values.c - the forms that a call has on PostgreSQL: its statement, its parameters and its rows
 *
 * The types of the parameters are given and every name is qualified, so that neither the search path nor the session's formats
 * play a part: times and intervals travel as numbers, arrays come back as JSON.
 *
 * Pure: no connection is touched, and nothing is locked.
 */
#include "backend_postgres.h"
#include "common/json.h"
#include "common/timestamp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The types' own numbers are fixed for ever. */
static const Oid type_oids[] = {
    [CLOACA_TYPE_BOOLEAN] = 16,       [CLOACA_TYPE_SMALLINT] = 21,      [CLOACA_TYPE_INTEGER] = 23,
    [CLOACA_TYPE_BIGINT] = 20,        [CLOACA_TYPE_TEXT] = 25,          [CLOACA_TYPE_JSONB] = 3802,
    [CLOACA_TYPE_TIMESTAMPTZ] = 1184, [CLOACA_TYPE_INTERVAL] = 1186,    [CLOACA_TYPE_BIGINT_ARRAY] = 1016,
    [CLOACA_TYPE_TEXT_ARRAY] = 1009,  [CLOACA_TYPE_JSONB_ARRAY] = 3807,
};

/* 2000-01-01, where PostgreSQL's times start. */
#define POSTGRES_EPOCH INT64_C(946684800000000)

static void build_column(clo_buffer *sql, const clo_column *column);
static char *number_parameter(clo_arena *arena, cloaca_type type, int64_t integer, int *length);
static char *array_parameter(clo_arena *arena, const clo_value *value, cloaca_type type);

/* A procedure's columns are its inout arguments, which come back as they are. */
void clo_postgres_statement(const clo_function *function, const clo_value *arguments, clo_buffer *sql)
{
    const size_t columns = function->procedure ? 0 : function->column_count;
    char text[16];
    int number = 0;

    sql->length = 0;
    clo_buffer_text(sql, function->procedure ? "call" : "select");
    for (size_t i = 0; i < columns; i++) {
        clo_buffer_text(sql, i > 0 ? ", " : " ");
        build_column(sql, &function->columns[i]);
    }
    clo_buffer_text(sql, function->procedure ? " cloaca." : " from cloaca.");
    clo_buffer_text(sql, function->name);
    clo_buffer_byte(sql, '(');
    for (size_t i = 0; i < function->parameter_count; i++) {
        if (arguments[i].kind != CLO_OMITTED) {
            snprintf(text, sizeof(text), " => $%d", ++number);
            clo_buffer_text(sql, number > 1 ? ", " : "");
            clo_buffer_text(sql, function->parameters[i].name);
            clo_buffer_text(sql, text);
        }
    }
    clo_buffer_byte(sql, ')');
    for (size_t i = 0; i < columns; i++) {
        clo_buffer_text(sql, i > 0 ? ", " : " as r (");
        clo_buffer_text(sql, function->columns[i].name);
    }
    clo_buffer_text(sql, columns > 0 ? ")" : "");
}

/* Times and intervals come as microseconds; a time that never comes as the largest number. */
static void build_column(clo_buffer *sql, const clo_column *column)
{
    const bool time = column->type == CLOACA_TYPE_TIMESTAMPTZ;
    const bool microseconds = time || column->type == CLOACA_TYPE_INTERVAL;
    const bool array = column->type >= CLOACA_TYPE_BIGINT_ARRAY;

    if (time) {
        clo_buffer_text(sql, "case when r.");
        clo_buffer_text(sql, column->name);
        clo_buffer_text(sql, " operator(pg_catalog.=) 'infinity' then 9223372036854775807 else ");
    }
    clo_buffer_text(sql, microseconds ? "(extract(epoch from r." : (array ? "pg_catalog.to_jsonb(r." : "r."));
    clo_buffer_text(sql, column->name);
    clo_buffer_text(sql, microseconds ? ") operator(pg_catalog.*) 1000000)::bigint" : (array ? ")" : ""));
    clo_buffer_text(sql, time ? " end" : "");
}

cloaca_status clo_postgres_parameters(const clo_function *function, const clo_value *arguments, clo_arena *arena,
                                      postgres_parameters *built, cloaca_error *error)
{
    for (size_t i = 0; i < function->parameter_count; i++) {
        const clo_value *value = &arguments[i];
        const cloaca_type type = function->parameters[i].type;
        const int number = built->count;

        if (value->kind == CLO_OMITTED) {
            continue;
        }
        built->types[number] = type_oids[type];
        if (value->kind == CLO_INTEGER) {
            built->values[number] = number_parameter(arena, type, value->integer, &built->lengths[number]);
            built->formats[number] = 1;
        } else if (value->kind == CLO_TEXT) {
            built->values[number] = type >= CLOACA_TYPE_BIGINT_ARRAY ? array_parameter(arena, value, type) : value->text;
        }
        if (value->kind != CLO_NULL && built->values[number] == NULL) {
            return clo_no_memory(error);
        }
        built->count++;
    }
    return CLOACA_OK;
}

/* In the binary form: big-endian, of the type's size; an interval has its days and months after the microseconds. */
static char *number_parameter(clo_arena *arena, cloaca_type type, int64_t integer, int *length)
{
    char *bytes = clo_arena_allocate(arena, 16);
    int size = 8;

    if (bytes == NULL) {
        return NULL;
    }
    switch (type) {
    case CLOACA_TYPE_BOOLEAN:
        size = 1;
        break;
    case CLOACA_TYPE_SMALLINT:
        size = 2;
        break;
    case CLOACA_TYPE_INTEGER:
        size = 4;
        break;
    case CLOACA_TYPE_TIMESTAMPTZ:
        /* Far outside is as good as just outside of what the functions take. */
        if (integer < CLO_TIME_FIRST) {
            integer = CLO_TIME_FIRST - 1;
        } else if (integer > CLO_TIME_END) {
            integer = CLO_TIME_END;
        }
        integer -= POSTGRES_EPOCH;
        break;
    default:
        break;
    }
    for (int i = 0; i < size; i++) {
        bytes[i] = (char) ((uint64_t) integer >> (8 * (size - 1 - i)));
    }
    *length = size;
    if (type == CLOACA_TYPE_INTERVAL) {
        memset(bytes + 8, 0, 8);
        *length = 16;
    }
    return bytes;
}

/* JSON's array becomes PostgreSQL's, every element but null in quotes. */
static char *array_parameter(clo_arena *arena, const clo_value *value, cloaca_type type)
{
    const char *at = value->text;
    clo_buffer buffer = {0};
    clo_span key, element;
    char *text = NULL;
    char *plain = clo_arena_allocate(arena, value->length + 1);

    clo_buffer_byte(&buffer, '{');
    while (plain != NULL && clo_json_next(&at, &key, &element)) {
        clo_buffer_text(&buffer, buffer.length > 1 ? "," : "");
        if (*element.text == 'n') {
            clo_buffer_text(&buffer, "null");
            continue;
        }
        if (type == CLOACA_TYPE_TEXT_ARRAY) {
            element.length = clo_json_unquote(element, plain);
            element.text = plain;
        }
        clo_buffer_byte(&buffer, '"');
        for (size_t i = 0; i < element.length; i++) {
            if (element.text[i] == '"' || element.text[i] == '\\') {
                clo_buffer_byte(&buffer, '\\');
            }
            clo_buffer_byte(&buffer, element.text[i]);
        }
        clo_buffer_byte(&buffer, '"');
    }
    clo_buffer_byte(&buffer, '}');
    if (plain != NULL && !buffer.failed) {
        text = clo_arena_copy(arena, buffer.data, buffer.length);
    }
    clo_buffer_free(&buffer);
    return text;
}

cloaca_status clo_postgres_rows(const clo_function *function, const PGresult *result, const clo_sink *sink, cloaca_error *error)
{
    clo_value values[CLO_COLUMN_LIMIT];

    if ((size_t) PQnfields(result) != function->column_count) {
        return clo_fail(error, CLOACA_DATABASE_ERROR, "The server's %s returns other columns.", function->name);
    }
    for (int row = 0; row < PQntuples(result); row++) {
        for (int i = 0; i < PQnfields(result); i++) {
            const cloaca_type type = function->columns[i].type;
            const char *text = PQgetvalue(result, row, i);

            values[i] = (clo_value){CLO_NULL, 0, NULL, 0};
            if (PQgetisnull(result, row, i)) {
                continue;
            }
            if (type == CLOACA_TYPE_TEXT || type == CLOACA_TYPE_JSONB || type >= CLOACA_TYPE_BIGINT_ARRAY) {
                values[i] = (clo_value){CLO_TEXT, 0, text, (size_t) PQgetlength(result, row, i)};
            } else {
                values[i].kind = CLO_INTEGER;
                values[i].integer = type == CLOACA_TYPE_BOOLEAN ? *text == 't' : strtoll(text, NULL, 10);
            }
        }
        if (!sink->row(sink->context, values)) {
            return clo_no_memory(error);
        }
    }
    return CLOACA_OK;
}
