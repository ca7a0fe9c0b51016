/*
 * call.c - calls by name: arguments from JSON, checked before any backend sees them
 *
 * The checks are of types alone: what a value may be is the functions' own business. Both backends therefore give the same
 * errors.
 */
#define _DEFAULT_SOURCE /* explicit_bzero */
#include "backend.h"
#include "common/interval.h"
#include "common/json.h"
#include "common/timestamp.h"

#include <stdio.h>
#include <string.h>

static cloaca_status read_arguments(const clo_function *function, const char *arguments, clo_buffer *buffer, clo_arena *arena,
                                    clo_value *values, cloaca_error *error);
static cloaca_status read_element(const clo_parameter *parameter, clo_span element, clo_arena *arena, clo_value *value,
                                  cloaca_error *error);
static cloaca_status read_array(const clo_parameter *parameter, clo_span element, clo_arena *arena, clo_value *value,
                                cloaca_error *error);
static cloaca_status read_time(const clo_parameter *parameter, const char *text, size_t length, clo_value *value,
                               cloaca_error *error);
static cloaca_status wrong_type(const clo_parameter *parameter, cloaca_error *error);
static cloaca_status wrong_json(const char *what, clo_json_error *wrong, cloaca_error *error);
static const clo_parameter *find_parameter(const clo_function *function, const char *name, size_t length);
static bool is_json(cloaca_type type);

cloaca_status cloaca_call(cloaca *connection, const char *function, const char *arguments, cloaca_result **result,
                          cloaca_error *error)
{
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    const clo_function *known;
    clo_buffer buffer = {0};
    cloaca_result *rows = NULL;
    cloaca_status status;

    if (result != NULL) {
        *result = NULL;
    }
    clo_error_clear(error);
    known = function != NULL ? clo_function_find(function, strlen(function)) : NULL;
    if (known == NULL) {
        return clo_fail(error, CLOACA_UNKNOWN_FUNCTION, "There is no function \"%.200s\".", function != NULL ? function : "");
    }
    clo_arena_reset(&connection->scratch);
    connection->scratch.secret = known->credentials;
    status = read_arguments(known, arguments, &buffer, &connection->scratch, values, error);
    if (status == CLOACA_OK && known->credentials && connection->backend->verifier != NULL) {
        status = clo_call_with_credentials(connection, known, values, &rows, error);
    } else if (status == CLOACA_OK) {
        rows = clo_result_new(known);
        status =
            rows == NULL ? clo_no_memory(error) : clo_call(connection, known, values, &(clo_sink){clo_result_row, rows}, error);
    }
    if (known->credentials && buffer.data != NULL) {
        explicit_bzero(buffer.data, buffer.length);
    }
    clo_buffer_free(&buffer);
    clo_arena_reset(&connection->scratch);
    if (status != CLOACA_OK || result == NULL) {
        cloaca_result_free(rows);
    } else {
        *result = rows;
    }
    return status;
}

const char *cloaca_function_name(size_t index)
{
    return index < CLO_FUNCTION_COUNT ? clo_functions[index].name : NULL;
}

const char *cloaca_function_signature(size_t index)
{
    return index < CLO_FUNCTION_COUNT ? clo_functions[index].signature : NULL;
}

const clo_function *clo_function_find(const char *name, size_t length)
{
    for (size_t i = 0; i < CLO_FUNCTION_COUNT; i++) {
        if (strncmp(clo_functions[i].name, name, length) == 0 && clo_functions[i].name[length] == '\0') {
            return &clo_functions[i];
        }
    }
    return NULL;
}

/* The one way to a backend, for calls by name and for the typed ones. */
cloaca_status clo_call(cloaca *connection, const clo_function *function, const clo_value *arguments, const clo_sink *sink,
                       cloaca_error *error)
{
    const cloaca_status status = clo_check_usable(connection, error);

    if (status != CLOACA_OK) {
        return status;
    }
    return function->waits ? clo_wait_for(connection, function, arguments, sink, error)
                           : connection->backend->call(connection, function, arguments, sink, error);
}

/* A transaction that the database gave up must not go on as if every statement were one of its own. */
cloaca_status clo_check_usable(cloaca *connection, cloaca_error *error)
{
    if (connection->wait.function != NULL) {
        clo_fail(error, CLOACA_INVALID_ARGUMENT, "The connection is waiting.");
        clo_error_hint(error, "Cancel the wait first, or use another connection.");
        return CLOACA_INVALID_ARGUMENT;
    }
    if (!connection->began || connection->backend->in_transaction(connection)) {
        return CLOACA_OK;
    }
    clo_fail(error, CLOACA_DATABASE_ERROR, "The transaction was rolled back when an earlier statement failed.");
    clo_error_hint(error, "Roll back and begin again.");
    if (error != NULL) {
        error->transaction_aborted = true;
        memcpy(error->sqlstate, "25P02", sizeof(error->sqlstate));
    }
    return CLOACA_DATABASE_ERROR;
}

cloaca_status clo_read_text(const clo_parameter *parameter, const char *text, size_t length, clo_arena *arena, clo_value *value,
                            cloaca_error *error)
{
    value->kind = CLO_TEXT;
    value->text = text;
    value->length = length;
    if (is_json(parameter->type)) {
        clo_json_error wrong = {0};
        clo_buffer buffer = {0};
        char what[80];
        cloaca_status status = CLOACA_OK;

        if (!clo_json_canonical(text, length, &buffer, &wrong)) {
            snprintf(what, sizeof(what), "The %s is", parameter->name);
            status = wrong_json(what, &wrong, error);
        } else {
            value->length = buffer.length;
            value->text = clo_arena_copy(arena, buffer.data, buffer.length);
            status = value->text == NULL ? clo_no_memory(error) : CLOACA_OK;
        }
        clo_buffer_free(&buffer);
        if (value->text != NULL && status == CLOACA_OK && parameter->type != CLOACA_TYPE_JSONB) {
            status = read_array(parameter, (clo_span){value->text, value->length}, arena, value, error);
        }
        return status;
    }
    if (parameter->type == CLOACA_TYPE_TEXT) {
        return clo_utf8_valid(text, length) ? CLOACA_OK
                                            : clo_fail(error, CLOACA_INVALID_ARGUMENT,
                                                       "The %s must be valid UTF-8 without zero bytes.", parameter->name);
    }
    return read_time(parameter, text, length, value, error);
}

cloaca_status clo_read_integer(const clo_parameter *parameter, int64_t integer, clo_value *value, cloaca_error *error)
{
    value->kind = CLO_INTEGER;
    value->integer = integer;
    switch (parameter->type) {
    case CLOACA_TYPE_BOOLEAN:
        return integer == 0 || integer == 1 ? CLOACA_OK : wrong_type(parameter, error);
    case CLOACA_TYPE_SMALLINT:
        return integer >= INT16_MIN && integer <= INT16_MAX ? CLOACA_OK : wrong_type(parameter, error);
    case CLOACA_TYPE_INTEGER:
        return integer >= INT32_MIN && integer <= INT32_MAX ? CLOACA_OK : wrong_type(parameter, error);
    case CLOACA_TYPE_BIGINT:
        return CLOACA_OK;
    default:
        return wrong_type(parameter, error);
    }
}

cloaca_status clo_read_list(cloaca *connection, const clo_parameter *parameter, const char *const *texts, size_t count,
                            clo_value *value, cloaca_error *error)
{
    const clo_parameter element = {
        parameter->name, parameter->type == CLOACA_TYPE_TEXT_ARRAY ? CLOACA_TYPE_TEXT : CLOACA_TYPE_JSONB, false, {0}};
    clo_buffer buffer = {0};
    cloaca_status status = CLOACA_OK;

    if (texts == NULL) {
        *value = (clo_value){CLO_NULL, 0, NULL, 0};
        return CLOACA_OK;
    }
    clo_buffer_byte(&buffer, '[');
    for (size_t i = 0; i < count && status == CLOACA_OK; i++) {
        clo_value read;

        if (i > 0) {
            clo_buffer_text(&buffer, ", ");
        }
        if (texts[i] == NULL) {
            clo_buffer_text(&buffer, "null");
            continue;
        }
        status = clo_read_text(&element, texts[i], strlen(texts[i]), &connection->scratch, &read, error);
        if (status == CLOACA_OK && element.type == CLOACA_TYPE_TEXT) {
            clo_json_string(&buffer, read.text, read.length);
        } else if (status == CLOACA_OK) {
            clo_buffer_append(&buffer, read.text, read.length);
        }
    }
    clo_buffer_byte(&buffer, ']');
    if (status == CLOACA_OK) {
        const char *text = buffer.failed ? NULL : clo_arena_copy(&connection->scratch, buffer.data, buffer.length);

        *value = (clo_value){CLO_TEXT, 0, text, buffer.length};
        status = text == NULL ? clo_no_memory(error) : CLOACA_OK;
    }
    clo_buffer_free(&buffer);
    return status;
}

/* `buffer` gets the canonical text, which the values point into. */
static cloaca_status read_arguments(const clo_function *function, const char *arguments, clo_buffer *buffer, clo_arena *arena,
                                    clo_value *values, cloaca_error *error)
{
    clo_json_error wrong = {0};
    clo_span key, element;
    cloaca_status status = CLOACA_OK;
    const char *at;

    if (arguments != NULL &&
        (!clo_json_canonical(arguments, strlen(arguments), buffer, &wrong) || !clo_buffer_finish(buffer))) {
        return wrong_json("The arguments are", &wrong, error);
    }
    if (arguments != NULL && buffer->data[0] != '{') {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The arguments must be a JSON object.");
    }
    at = arguments != NULL ? buffer->data : "{}";
    while (status == CLOACA_OK && clo_json_next(&at, &key, &element)) {
        const clo_parameter *parameter = find_parameter(function, key.text + 1, key.length - 2);

        if (parameter == NULL) {
            return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The function %s has no argument %.*s.", function->name,
                            (int) (key.length < 200 ? key.length : 200), key.text);
        }
        status = read_element(parameter, element, arena, &values[parameter - function->parameters], error);
    }
    for (size_t i = 0; status == CLOACA_OK && i < function->parameter_count; i++) {
        if (values[i].kind == CLO_OMITTED && function->parameters[i].required) {
            status = clo_fail(error, CLOACA_INVALID_ARGUMENT, "The argument %s is missing.", function->parameters[i].name);
        }
    }
    return status;
}

static cloaca_status read_element(const clo_parameter *parameter, clo_span element, clo_arena *arena, clo_value *value,
                                  cloaca_error *error)
{
    const char first = *element.text;
    int64_t integer;
    char *text;

    if (first == 'n') {
        value->kind = CLO_NULL;
        return CLOACA_OK;
    }
    switch (parameter->type) {
    case CLOACA_TYPE_BOOLEAN:
        if (first != 't' && first != 'f') {
            return wrong_type(parameter, error);
        }
        value->kind = CLO_INTEGER;
        value->integer = first == 't';
        return CLOACA_OK;
    case CLOACA_TYPE_SMALLINT:
    case CLOACA_TYPE_INTEGER:
    case CLOACA_TYPE_BIGINT:
        return clo_json_integer(element, &integer) ? clo_read_integer(parameter, integer, value, error)
                                                   : wrong_type(parameter, error);
    case CLOACA_TYPE_TEXT:
    case CLOACA_TYPE_TIMESTAMPTZ:
    case CLOACA_TYPE_INTERVAL:
        if (first != '"') {
            return wrong_type(parameter, error);
        }
        text = clo_arena_allocate(arena, element.length);
        if (text == NULL) {
            return clo_no_memory(error);
        }
        value->kind = CLO_TEXT;
        value->length = clo_json_unquote(element, text);
        value->text = text;
        text[value->length] = '\0';
        return parameter->type == CLOACA_TYPE_TEXT ? CLOACA_OK : read_time(parameter, text, value->length, value, error);
    case CLOACA_TYPE_JSONB:
        value->kind = CLO_TEXT;
        value->text = clo_arena_copy(arena, element.text, element.length);
        value->length = element.length;
        return value->text == NULL ? clo_no_memory(error) : CLOACA_OK;
    default:
        return read_array(parameter, element, arena, value, error);
    }
}

/* Arrays stay JSON text; their elements must be of the type, or null. */
static cloaca_status read_array(const clo_parameter *parameter, clo_span array, clo_arena *arena, clo_value *value,
                                cloaca_error *error)
{
    const char *at = array.text;
    clo_span key, element;
    int64_t integer;

    if (*at == 'n') {
        value->kind = CLO_NULL;
        return CLOACA_OK;
    }
    if (*at != '[') {
        return wrong_type(parameter, error);
    }
    while (clo_json_next(&at, &key, &element)) {
        if (*element.text != 'n' && ((parameter->type == CLOACA_TYPE_BIGINT_ARRAY && !clo_json_integer(element, &integer)) ||
                                     (parameter->type == CLOACA_TYPE_TEXT_ARRAY && *element.text != '"'))) {
            return wrong_type(parameter, error);
        }
    }
    value->kind = CLO_TEXT;
    value->text = clo_arena_copy(arena, array.text, array.length);
    value->length = array.length;
    return value->text == NULL ? clo_no_memory(error) : CLOACA_OK;
}

static cloaca_status read_time(const clo_parameter *parameter, const char *text, size_t length, clo_value *value,
                               cloaca_error *error)
{
    value->kind = CLO_INTEGER;
    if (parameter->type == CLOACA_TYPE_INTERVAL
            ? clo_interval_parse(text, length, &value->integer)
            : parameter->type == CLOACA_TYPE_TIMESTAMPTZ && clo_time_parse(text, length, &value->integer)) {
        return CLOACA_OK;
    }
    return wrong_type(parameter, error);
}

static cloaca_status wrong_type(const clo_parameter *parameter, cloaca_error *error)
{
    static const char *const wanted[] = {
        [CLOACA_TYPE_BOOLEAN] = "true or false",
        [CLOACA_TYPE_SMALLINT] = "an integer from -32768 to 32767",
        [CLOACA_TYPE_INTEGER] = "an integer from -2147483648 to 2147483647",
        [CLOACA_TYPE_BIGINT] = "an integer from -9223372036854775808 to 9223372036854775807",
        [CLOACA_TYPE_TEXT] = "text",
        [CLOACA_TYPE_JSONB] = "JSON",
        [CLOACA_TYPE_TIMESTAMPTZ] = "a time such as 2026-01-01T00:00:00Z",
        [CLOACA_TYPE_INTERVAL] = "an interval such as 90 seconds",
        [CLOACA_TYPE_BIGINT_ARRAY] = "an array of integers",
        [CLOACA_TYPE_TEXT_ARRAY] = "an array of texts",
        [CLOACA_TYPE_JSONB_ARRAY] = "an array",
    };

    return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The %s must be %s.", parameter->name, wanted[parameter->type]);
}

static cloaca_status wrong_json(const char *what, clo_json_error *wrong, cloaca_error *error)
{
    if (wrong->reason == NULL) {
        return clo_no_memory(error);
    }
    return clo_fail(error, CLOACA_INVALID_ARGUMENT, "%s not valid JSON: %s at byte %zu.", what, wrong->reason, wrong->position);
}

static const clo_parameter *find_parameter(const clo_function *function, const char *name, size_t length)
{
    for (size_t i = 0; i < function->parameter_count; i++) {
        const char *known = function->parameters[i].name;

        if (strncmp(known, name, length) == 0 && known[length] == '\0') {
            return &function->parameters[i];
        }
    }
    return NULL;
}

static bool is_json(cloaca_type type)
{
    return type == CLOACA_TYPE_JSONB || type == CLOACA_TYPE_BIGINT_ARRAY || type == CLOACA_TYPE_TEXT_ARRAY ||
           type == CLOACA_TYPE_JSONB_ARRAY;
}
