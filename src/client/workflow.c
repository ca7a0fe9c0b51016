/*
 * workflow.c - typed calls of the workflow functions
 *
 * They name the arguments and take the same way to the backend as calls by name, so that a value is what was given, never a
 * piece of JSON that somebody put together.
 */
#include "backend.h"

#include <stdlib.h>
#include <string.h>

/* An argument: a text, also of JSON, when it has one, else an integer. */
typedef struct argument {
    const char *name;
    const char *text;
    int64_t integer;
} argument;

static argument of_text(const char *name, const char *text);
static argument of_integer(const char *name, int64_t integer);
static argument of_interval(const char *name, int64_t interval);
static argument of_count(const char *name, int64_t count);
static cloaca_status call(cloaca *connection, const char *function, const argument *arguments, size_t count,
                          cloaca_result **result, cloaca_error *error);
static cloaca_status read_value(cloaca *connection, const clo_function *function, const argument *given, clo_value *values,
                                cloaca_error *error);
static cloaca_status for_state(cloaca *connection, const char *function, const argument *arguments, size_t count, char **state,
                               cloaca_error *error);
static cloaca_status copy_column(const cloaca_result *result, const char *column, char **text, cloaca_error *error);
static int64_t integer_column(const cloaca_result *result, const char *column);
static bool is_true(const cloaca_result *result, const char *column);

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

cloaca_status cloaca_define_workflow(cloaca *connection, const char *name, const char *definition, char **version,
                                     bool *created, cloaca_error *error)
{
    const argument arguments[] = {of_text("name", name), of_text("definition", definition)};
    cloaca_result *result;
    cloaca_status status = call(connection, "define_workflow", arguments, COUNT(arguments), &result, error);

    if (created != NULL) {
        *created = is_true(result, "created");
    }
    if (version != NULL) {
        *version = NULL;
        status = status == CLOACA_OK ? copy_column(result, "version", version, error) : status;
    }
    cloaca_result_free(result);
    return status;
}

cloaca_status cloaca_start_workflow(cloaca *connection, const char *name, const char *context, const char *key, int64_t timeout,
                                    int64_t *execution, bool *created, cloaca_error *error)
{
    const argument arguments[] = {of_text("name", name), of_text(context != NULL ? "context" : NULL, context),
                                  of_text("key", key), of_interval("timeout", timeout)};
    cloaca_result *result;
    const cloaca_status status = call(connection, "start_workflow", arguments, COUNT(arguments), &result, error);

    if (execution != NULL) {
        *execution = integer_column(result, "execution");
    }
    if (created != NULL) {
        *created = is_true(result, "created");
    }
    cloaca_result_free(result);
    return status;
}

cloaca_status cloaca_get_execution(cloaca *connection, int64_t execution, cloaca_result **result, cloaca_error *error)
{
    return call(connection, "get_execution", &(argument){"execution", NULL, execution}, 1, result, error);
}

cloaca_status cloaca_list_executions(cloaca *connection, const char *workflow, const char *state, int64_t before, int32_t max,
                                     cloaca_result **result, cloaca_error *error)
{
    const argument arguments[] = {of_text("workflow", workflow), of_text("state", state), of_count("before", before),
                                  of_count("max", max)};

    return call(connection, "list_executions", arguments, COUNT(arguments), result, error);
}

cloaca_status cloaca_list_execution_tasks(cloaca *connection, int64_t execution, const char *state, int32_t after, int32_t max,
                                          cloaca_result **result, cloaca_error *error)
{
    const argument arguments[] = {of_integer("execution", execution), of_text("state", state), of_count("after", after),
                                  of_count("max", max)};

    return call(connection, "list_execution_tasks", arguments, COUNT(arguments), result, error);
}

cloaca_status cloaca_execution_events(cloaca *connection, int64_t execution, int64_t after, int32_t max, cloaca_result **result,
                                      cloaca_error *error)
{
    const argument arguments[] = {of_integer("execution", execution), of_count("after", after), of_count("max", max)};

    return call(connection, "execution_events", arguments, COUNT(arguments), result, error);
}

cloaca_status cloaca_pause_execution(cloaca *connection, int64_t execution, char **state, cloaca_error *error)
{
    return for_state(connection, "pause_execution", &(argument){"execution", NULL, execution}, 1, state, error);
}

cloaca_status cloaca_resume_execution(cloaca *connection, int64_t execution, char **state, cloaca_error *error)
{
    return for_state(connection, "resume_execution", &(argument){"execution", NULL, execution}, 1, state, error);
}

cloaca_status cloaca_cancel_execution(cloaca *connection, int64_t execution, const char *reason, char **state,
                                      cloaca_error *error)
{
    const argument arguments[] = {of_integer("execution", execution), of_text("reason", reason)};

    return for_state(connection, "cancel_execution", arguments, COUNT(arguments), state, error);
}

cloaca_status cloaca_retry_execution(cloaca *connection, int64_t execution, char **state, int64_t *tasks, cloaca_error *error)
{
    cloaca_result *result;
    cloaca_status status = call(connection, "retry_execution", &(argument){"execution", NULL, execution}, 1, &result, error);

    if (tasks != NULL) {
        *tasks = integer_column(result, "tasks");
    }
    if (state != NULL) {
        *state = NULL;
        status = status == CLOACA_OK ? copy_column(result, "state", state, error) : status;
    }
    cloaca_result_free(result);
    return status;
}

cloaca_status cloaca_wait_for_execution(cloaca *connection, int64_t execution, int64_t timeout, char **state,
                                        cloaca_error *error)
{
    const argument arguments[] = {of_integer("execution", execution), of_interval("timeout", timeout)};

    return for_state(connection, "wait_for_execution", arguments, COUNT(arguments), state, error);
}

cloaca_status cloaca_step(cloaca *connection, int64_t task, int64_t lease_id, const char *name, bool *recorded, char **result,
                          cloaca_error *error)
{
    const argument arguments[] = {of_integer("task", task), of_integer("lease_id", lease_id), of_text("name", name)};
    cloaca_result *rows;
    cloaca_status status = call(connection, "step", arguments, COUNT(arguments), &rows, error);

    if (recorded != NULL) {
        *recorded = cloaca_result_rows(rows) > 0;
    }
    if (result != NULL) {
        *result = NULL;
        status = status == CLOACA_OK ? copy_column(rows, "result", result, error) : status;
    }
    cloaca_result_free(rows);
    return status;
}

cloaca_status cloaca_record_step(cloaca *connection, int64_t task, int64_t lease_id, const char *name, const char *result,
                                 char **stored, cloaca_error *error)
{
    const argument arguments[] = {of_integer("task", task), of_integer("lease_id", lease_id), of_text("name", name),
                                  of_text("result", result)};
    cloaca_result *rows;
    cloaca_status status = call(connection, "record_step", arguments, COUNT(arguments), &rows, error);

    if (stored != NULL) {
        *stored = NULL;
        status = status == CLOACA_OK ? copy_column(rows, "result", stored, error) : status;
    }
    cloaca_result_free(rows);
    return status;
}

cloaca_status cloaca_await_signal(cloaca *connection, int64_t task, int64_t lease_id, const char *name, int64_t timeout,
                                  cloaca_signal_outcome *outcome, char **payload, cloaca_error *error)
{
    const argument arguments[] = {of_integer("task", task), of_integer("lease_id", lease_id), of_text("name", name),
                                  of_interval("timeout", timeout)};
    cloaca_result *rows;
    cloaca_status status = call(connection, "await_signal", arguments, COUNT(arguments), &rows, error);
    const char *word = cloaca_result_get(rows, 0, "outcome");

    *outcome = word != NULL && strcmp(word, "received") == 0    ? CLOACA_SIGNAL_RECEIVED
               : word != NULL && strcmp(word, "timed_out") == 0 ? CLOACA_SIGNAL_TIMED_OUT
                                                                : CLOACA_SIGNAL_WAITING;
    if (payload != NULL) {
        *payload = NULL;
        status = status == CLOACA_OK ? copy_column(rows, "payload", payload, error) : status;
    }
    cloaca_result_free(rows);
    return status;
}

cloaca_status cloaca_signal(cloaca *connection, int64_t execution, const char *name, const char *payload, cloaca_error *error)
{
    const argument arguments[] = {of_integer("execution", execution), of_text("name", name), of_text("payload", payload)};
    cloaca_result *rows;
    const cloaca_status status = call(connection, "signal", arguments, COUNT(arguments), &rows, error);

    cloaca_result_free(rows);
    return status;
}

static argument of_text(const char *name, const char *text)
{
    return (argument){name, text, INT64_MIN};
}

static argument of_integer(const char *name, int64_t integer)
{
    return (argument){name, NULL, integer};
}

static argument of_interval(const char *name, int64_t interval)
{
    return (argument){name, NULL, interval < 0 ? INT64_MIN : interval};
}

/* Left out when it is 0. */
static argument of_count(const char *name, int64_t count)
{
    return (argument){count != 0 ? name : NULL, NULL, count};
}

/* An argument without a name is left out, one without text or integer is null. *result is NULL when it failed. */
static cloaca_status call(cloaca *connection, const char *name, const argument *arguments, size_t count, cloaca_result **result,
                          cloaca_error *error)
{
    const clo_function *function = clo_function_find(name, strlen(name));
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    cloaca_result *rows = NULL;
    cloaca_status status = CLOACA_OK;

    *result = NULL;
    clo_error_clear(error);
    clo_arena_reset(&connection->scratch);
    if (function == NULL) {
        return clo_fail(error, CLOACA_UNKNOWN_FUNCTION, "There is no function \"%s\".", name);
    }
    for (size_t i = 0; i < count && status == CLOACA_OK; i++) {
        if (arguments[i].name != NULL) {
            status = read_value(connection, function, &arguments[i], values, error);
        }
    }
    if (status == CLOACA_OK) {
        rows = clo_result_new(function);
        status = rows == NULL ? clo_no_memory(error)
                              : clo_call(connection, function, values, &(clo_sink){clo_result_row, rows}, error);
    }
    if (status == CLOACA_OK) {
        *result = rows;
    } else {
        cloaca_result_free(rows);
    }
    return status;
}

static cloaca_status read_value(cloaca *connection, const clo_function *function, const argument *given, clo_value *values,
                                cloaca_error *error)
{
    for (size_t i = 0; i < function->parameter_count; i++) {
        if (strcmp(function->parameters[i].name, given->name) != 0) {
            continue;
        }
        if (given->text != NULL) {
            return clo_read_text(&function->parameters[i], given->text, strlen(given->text), &connection->scratch, &values[i],
                                 error);
        }
        values[i] = (clo_value){given->integer == INT64_MIN ? CLO_NULL : CLO_INTEGER, given->integer, NULL, 0};
        return CLOACA_OK;
    }
    return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The function %s has no argument %s.", function->name, given->name);
}

static cloaca_status for_state(cloaca *connection, const char *function, const argument *arguments, size_t count, char **state,
                               cloaca_error *error)
{
    cloaca_result *result;
    cloaca_status status = call(connection, function, arguments, count, &result, error);

    if (state != NULL) {
        *state = NULL;
        status = status == CLOACA_OK ? copy_column(result, "state", state, error) : status;
    }
    cloaca_result_free(result);
    return status;
}

static cloaca_status copy_column(const cloaca_result *result, const char *column, char **text, cloaca_error *error)
{
    const char *value = cloaca_result_get(result, 0, column);
    const size_t size = value != NULL ? strlen(value) + 1 : 0;

    if (value == NULL) {
        return CLOACA_OK;
    }
    *text = malloc(size);
    if (*text == NULL) {
        return clo_no_memory(error);
    }
    memcpy(*text, value, size);
    return CLOACA_OK;
}

static int64_t integer_column(const cloaca_result *result, const char *column)
{
    const char *value = cloaca_result_get(result, 0, column);

    return value != NULL ? strtoll(value, NULL, 10) : 0;
}

static bool is_true(const cloaca_result *result, const char *column)
{
    const char *value = cloaca_result_get(result, 0, column);

    return value != NULL && strcmp(value, "true") == 0;
}
