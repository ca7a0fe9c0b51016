/*
 * task.c - typed calls of the task functions
 *
 * They build typed values and take the same way to the backend as calls by name, past the JSON of the arguments and the text of
 * the results.
 */
#include "backend.h"
#include "common/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What cloaca_claim hands out, with the memory behind it. */
typedef struct claimed {
    cloaca_tasks public;
    size_t capacity;
    clo_arena arena;
} claimed;

/* Where rows go, at most `capacity` of them, whatever the database says. */
typedef struct enqueued {
    size_t count;
    size_t capacity;
    int64_t *tasks;
    bool *created;
} enqueued;

typedef struct outcomes {
    int column;
    size_t count;
    size_t capacity;
    cloaca_status *statuses;
} outcomes;

static cloaca_status enqueue_values(cloaca *connection, const clo_function *function, const cloaca_enqueue_options *options,
                                    const int positions[8], clo_value *values, cloaca_error *error);
static cloaca_status read_parameter(cloaca *connection, const clo_function *function, int position, const char *text,
                                    clo_value *values, cloaca_error *error);
static cloaca_status integer_array(cloaca *connection, const int64_t *integers, size_t count, clo_value *value,
                                   cloaca_error *error);
static cloaca_status run(cloaca *connection, const clo_function *function, const clo_value *values, const clo_sink *sink,
                         cloaca_error *error);
static cloaca_status run_for_result(cloaca *connection, const clo_function *function, const clo_value *values,
                                    cloaca_result **result, cloaca_error *error);
static cloaca_status lease_call(cloaca *connection, const clo_function *function, int64_t task, int64_t lease_id,
                                clo_value last, const clo_sink *sink, cloaca_error *error);
static bool take_enqueued(void *context, const clo_value *values);
static bool take_task(void *context, const clo_value *values);
static bool take_outcome(void *context, const clo_value *values);
static bool take_lease(void *context, const clo_value *values);
static bool take_dead(void *context, const clo_value *values);
static bool take_cancelling(void *context, const clo_value *values);
static bool take_retried(void *context, const clo_value *values);
static bool take_nothing(void *context, const clo_value *values);
static clo_value integer_value(int64_t integer);
static clo_value text_value(const char *text);
static clo_value interval_value(int64_t interval);

static const clo_sink nothing = {take_nothing, NULL};

cloaca_status cloaca_enqueue(cloaca *connection, const cloaca_enqueue_options *options, int64_t *task, bool *created,
                             cloaca_error *error)
{
    static const int positions[] = {CLO_ENQUEUE_ARG_NAME,         CLO_ENQUEUE_ARG_QUEUE, CLO_ENQUEUE_ARG_PRIORITY,
                                    CLO_ENQUEUE_ARG_RUN_AT,       CLO_ENQUEUE_ARG_DELAY, CLO_ENQUEUE_ARG_KEY,
                                    CLO_ENQUEUE_ARG_MAX_ATTEMPTS, CLO_ENQUEUE_ARG_RETRY};
    const clo_function *function = &clo_functions[CLO_ENQUEUE];
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    enqueued rows = {0, 1, task, created};
    cloaca_status status;

    clo_arena_reset(&connection->scratch);
    status = enqueue_values(connection, function, options, positions, values, error);
    if (status == CLOACA_OK && options->payload != NULL) {
        status = read_parameter(connection, function, CLO_ENQUEUE_ARG_PAYLOAD, options->payload, values, error);
    }
    if (status == CLOACA_OK && options->key != NULL) {
        status = read_parameter(connection, function, CLO_ENQUEUE_ARG_KEY, options->key, values, error);
    }
    return status == CLOACA_OK ? run(connection, function, values, &(clo_sink){take_enqueued, &rows}, error) : status;
}

cloaca_status cloaca_enqueue_many(cloaca *connection, const cloaca_enqueue_options *options, size_t count,
                                  const char *const *payloads, const char *const *keys, int64_t *tasks, bool *created,
                                  cloaca_error *error)
{
    static const int positions[] = {
        CLO_ENQUEUE_MANY_ARG_NAME,  CLO_ENQUEUE_MANY_ARG_QUEUE, CLO_ENQUEUE_MANY_ARG_PRIORITY,     CLO_ENQUEUE_MANY_ARG_RUN_AT,
        CLO_ENQUEUE_MANY_ARG_DELAY, CLO_ENQUEUE_MANY_ARG_KEYS,  CLO_ENQUEUE_MANY_ARG_MAX_ATTEMPTS, CLO_ENQUEUE_MANY_ARG_RETRY};
    const clo_function *function = &clo_functions[CLO_ENQUEUE_MANY];
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    enqueued rows = {0, count, tasks, created};
    cloaca_status status;

    clo_arena_reset(&connection->scratch);
    status = enqueue_values(connection, function, options, positions, values, error);
    if (status == CLOACA_OK) {
        status = clo_read_list(connection, &function->parameters[CLO_ENQUEUE_MANY_ARG_PAYLOADS], payloads, count,
                               &values[CLO_ENQUEUE_MANY_ARG_PAYLOADS], error);
    }
    if (status == CLOACA_OK && keys != NULL) {
        status = clo_read_list(connection, &function->parameters[CLO_ENQUEUE_MANY_ARG_KEYS], keys, count,
                               &values[CLO_ENQUEUE_MANY_ARG_KEYS], error);
    }
    return status == CLOACA_OK ? run(connection, function, values, &(clo_sink){take_enqueued, &rows}, error) : status;
}

cloaca_status cloaca_claim(cloaca *connection, const char *queue, const char *worker, int32_t max, int64_t lease,
                           cloaca_tasks **tasks, cloaca_error *error)
{
    const clo_function *function = &clo_functions[CLO_CLAIM];
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    claimed *rows = calloc(1, sizeof(claimed));
    cloaca_status status = CLOACA_OK;

    *tasks = NULL;
    if (rows == NULL) {
        return clo_no_memory(error);
    }
    if (queue != NULL) {
        status = read_parameter(connection, function, CLO_CLAIM_ARG_QUEUE, queue, values, error);
    }
    if (worker != NULL && status == CLOACA_OK) {
        status = read_parameter(connection, function, CLO_CLAIM_ARG_WORKER, worker, values, error);
    }
    values[CLO_CLAIM_ARG_MAX] = integer_value(max);
    values[CLO_CLAIM_ARG_LEASE] = interval_value(lease);
    if (status == CLOACA_OK) {
        status = run(connection, function, values, &(clo_sink){take_task, rows}, error);
    }
    if (status == CLOACA_OK) {
        *tasks = &rows->public;
    } else {
        cloaca_tasks_free(&rows->public);
    }
    return status;
}

void cloaca_tasks_free(cloaca_tasks *tasks)
{
    claimed *rows = (claimed *) tasks;

    if (rows != NULL) {
        clo_arena_free(&rows->arena);
        free(rows);
    }
}

cloaca_status cloaca_extend(cloaca *connection, int64_t task, int64_t lease_id, int64_t lease, int64_t *lease_until,
                            cloaca_error *error)
{
    return lease_call(connection, &clo_functions[CLO_EXTEND], task, lease_id, interval_value(lease),
                      &(clo_sink){take_lease, lease_until}, error);
}

cloaca_status cloaca_extend_many(cloaca *connection, size_t count, const int64_t *tasks, const int64_t *lease_ids,
                                 int64_t lease, cloaca_status *statuses, cloaca_error *error)
{
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    outcomes rows = {CLO_EXTEND_MANY_COL_OUTCOME, 0, count, statuses};
    cloaca_status status;

    clo_arena_reset(&connection->scratch);
    values[CLO_EXTEND_MANY_ARG_LEASE] = interval_value(lease);
    status = integer_array(connection, tasks, count, &values[CLO_EXTEND_MANY_ARG_TASKS], error);
    if (status == CLOACA_OK) {
        status = integer_array(connection, lease_ids, count, &values[CLO_EXTEND_MANY_ARG_LEASE_IDS], error);
    }
    return status == CLOACA_OK
               ? run(connection, &clo_functions[CLO_EXTEND_MANY], values, &(clo_sink){take_outcome, &rows}, error)
               : status;
}

cloaca_status cloaca_complete(cloaca *connection, int64_t task, int64_t lease_id, const char *result, cloaca_error *error)
{
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    cloaca_status status = CLOACA_OK;

    if (result != NULL) {
        clo_arena_reset(&connection->scratch);
        status = read_parameter(connection, &clo_functions[CLO_COMPLETE], CLO_COMPLETE_ARG_RESULT, result, values, error);
    }
    return status != CLOACA_OK ? status
                               : lease_call(connection, &clo_functions[CLO_COMPLETE], task, lease_id,
                                            values[CLO_COMPLETE_ARG_RESULT], &nothing, error);
}

cloaca_status cloaca_complete_many(cloaca *connection, size_t count, const int64_t *tasks, const int64_t *lease_ids,
                                   const char *const *results, cloaca_status *statuses, cloaca_error *error)
{
    const clo_function *function = &clo_functions[CLO_COMPLETE_MANY];
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    outcomes rows = {CLO_COMPLETE_MANY_COL_OUTCOME, 0, count, statuses};
    cloaca_status status;

    clo_arena_reset(&connection->scratch);
    status = integer_array(connection, tasks, count, &values[CLO_COMPLETE_MANY_ARG_TASKS], error);
    if (status == CLOACA_OK) {
        status = integer_array(connection, lease_ids, count, &values[CLO_COMPLETE_MANY_ARG_LEASE_IDS], error);
    }
    if (status == CLOACA_OK && results != NULL) {
        status = clo_read_list(connection, &function->parameters[CLO_COMPLETE_MANY_ARG_RESULTS], results, count,
                               &values[CLO_COMPLETE_MANY_ARG_RESULTS], error);
    }
    return status == CLOACA_OK ? run(connection, function, values, &(clo_sink){take_outcome, &rows}, error) : status;
}

cloaca_status cloaca_fail(cloaca *connection, int64_t task, int64_t lease_id, const char *message, bool final, int64_t retry_in,
                          bool *dead, cloaca_error *error)
{
    const clo_function *function = &clo_functions[CLO_FAIL];
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    cloaca_status status = CLOACA_OK;

    values[CLO_FAIL_ARG_ERROR] = text_value(message);
    if (message != NULL) {
        status = read_parameter(connection, function, CLO_FAIL_ARG_ERROR, message, values, error);
    }
    if (status != CLOACA_OK) {
        return status;
    }
    values[CLO_FAIL_ARG_TASK] = integer_value(task);
    values[CLO_FAIL_ARG_LEASE_ID] = integer_value(lease_id);
    values[CLO_FAIL_ARG_FINAL] = integer_value(final);
    values[CLO_FAIL_ARG_RETRY_IN] = interval_value(retry_in);
    return run(connection, function, values, &(clo_sink){take_dead, dead}, error);
}

cloaca_status cloaca_release(cloaca *connection, int64_t task, int64_t lease_id, cloaca_error *error)
{
    return lease_call(connection, &clo_functions[CLO_RELEASE], task, lease_id, (clo_value){0}, &nothing, error);
}

cloaca_status cloaca_defer_until(cloaca *connection, int64_t task, int64_t lease_id, int64_t run_at, cloaca_error *error)
{
    const clo_value time = run_at == CLOACA_NO_TIME ? text_value(NULL) : integer_value(run_at);

    return lease_call(connection, &clo_functions[CLO_DEFER_UNTIL], task, lease_id, time, &nothing, error);
}

cloaca_status cloaca_cancel_task(cloaca *connection, int64_t task, bool *cancelling, cloaca_error *error)
{
    const clo_value values[CLO_PARAMETER_LIMIT] = {[CLO_CANCEL_TASK_ARG_TASK] = integer_value(task)};

    return run(connection, &clo_functions[CLO_CANCEL_TASK], values, &(clo_sink){take_cancelling, cancelling}, error);
}

cloaca_status cloaca_retry_task(cloaca *connection, int64_t task, const char *queue, int32_t max, int64_t *retried,
                                cloaca_error *error)
{
    const clo_function *function = &clo_functions[CLO_RETRY_TASK];
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    cloaca_status status = CLOACA_OK;

    if (task != 0) {
        values[CLO_RETRY_TASK_ARG_TASK] = integer_value(task);
    }
    if (queue != NULL) {
        status = read_parameter(connection, function, CLO_RETRY_TASK_ARG_QUEUE, queue, values, error);
    }
    if (max != 0) {
        values[CLO_RETRY_TASK_ARG_MAX] = integer_value(max);
    }
    return status == CLOACA_OK ? run(connection, function, values, &(clo_sink){take_retried, retried}, error) : status;
}

cloaca_status cloaca_get_task(cloaca *connection, int64_t task, cloaca_result **result, cloaca_error *error)
{
    const clo_value values[CLO_PARAMETER_LIMIT] = {[CLO_GET_TASK_ARG_TASK] = integer_value(task)};

    return run_for_result(connection, &clo_functions[CLO_GET_TASK], values, result, error);
}

cloaca_status cloaca_list_tasks(cloaca *connection, const char *queue, const char *state, const char *name, int64_t after,
                                int32_t max, cloaca_result **result, cloaca_error *error)
{
    const clo_function *function = &clo_functions[CLO_LIST_TASKS];
    const char *const texts[] = {queue, state, name};
    const int places[] = {CLO_LIST_TASKS_ARG_QUEUE, CLO_LIST_TASKS_ARG_STATE, CLO_LIST_TASKS_ARG_NAME};
    clo_value values[CLO_PARAMETER_LIMIT] = {0};
    cloaca_status status = CLOACA_OK;

    *result = NULL;
    for (size_t i = 0; i < 3 && status == CLOACA_OK; i++) {
        if (texts[i] != NULL) {
            status = read_parameter(connection, function, places[i], texts[i], values, error);
        }
    }
    if (after != 0) {
        values[CLO_LIST_TASKS_ARG_AFTER] = integer_value(after);
    }
    if (max != 0) {
        values[CLO_LIST_TASKS_ARG_MAX] = integer_value(max);
    }
    return status == CLOACA_OK ? run_for_result(connection, function, values, result, error) : status;
}

/* What enqueue and enqueue_many have in common; `positions` says where their arguments are. */
static cloaca_status enqueue_values(cloaca *connection, const clo_function *function, const cloaca_enqueue_options *options,
                                    const int positions[8], clo_value *values, cloaca_error *error)
{
    const char *const texts[] = {options != NULL ? options->name : NULL, options != NULL ? options->queue : NULL,
                                 options != NULL ? options->retry : NULL};
    const int places[] = {positions[0], positions[1], positions[7]};
    cloaca_status status = CLOACA_OK;

    if (options == NULL) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The options are missing.");
    }
    values[positions[0]] = text_value(options->name);
    for (size_t i = 0; i < 3 && status == CLOACA_OK; i++) {
        if (texts[i] != NULL) {
            status = read_parameter(connection, function, places[i], texts[i], values, error);
        }
    }
    values[positions[2]] = integer_value(options->priority);
    if (options->run_at != CLOACA_NO_TIME) {
        values[positions[3]] = integer_value(options->run_at);
    }
    values[positions[4]] = interval_value(options->delay);
    if (options->max_attempts != 0) {
        values[positions[6]] = integer_value(options->max_attempts);
    }
    return status;
}

static cloaca_status read_parameter(cloaca *connection, const clo_function *function, int position, const char *text,
                                    clo_value *values, cloaca_error *error)
{
    return clo_read_text(&function->parameters[position], text, strlen(text), &connection->scratch, &values[position], error);
}

static cloaca_status integer_array(cloaca *connection, const int64_t *integers, size_t count, clo_value *value,
                                   cloaca_error *error)
{
    /* Twenty digits and a sign, and what stands between two of them. */
    char *text = integers == NULL || count > SIZE_MAX / 32 ? NULL : clo_arena_allocate(&connection->scratch, count * 22 + 3);
    size_t length = 0;

    if (integers == NULL) {
        *value = text_value(NULL);
        return CLOACA_OK;
    }
    if (text == NULL) {
        return clo_no_memory(error);
    }
    text[length++] = '[';
    for (size_t i = 0; i < count; i++) {
        length += (size_t) sprintf(text + length, i > 0 ? ", %" PRId64 : "%" PRId64, integers[i]);
    }
    text[length++] = ']';
    text[length] = '\0';
    *value = (clo_value){CLO_TEXT, 0, text, length};
    return CLOACA_OK;
}

static cloaca_status run(cloaca *connection, const clo_function *function, const clo_value *values, const clo_sink *sink,
                         cloaca_error *error)
{
    clo_error_clear(error);
    return clo_call(connection, function, values, sink, error);
}

static cloaca_status run_for_result(cloaca *connection, const clo_function *function, const clo_value *values,
                                    cloaca_result **result, cloaca_error *error)
{
    cloaca_result *rows = clo_result_new(function);
    cloaca_status status;

    *result = NULL;
    if (rows == NULL) {
        return clo_no_memory(error);
    }
    status = run(connection, function, values, &(clo_sink){clo_result_row, rows}, error);
    if (status == CLOACA_OK) {
        *result = rows;
    } else {
        cloaca_result_free(rows);
    }
    return status;
}

/* The functions that take a task, a lease and perhaps one argument more start with these two. */
static cloaca_status lease_call(cloaca *connection, const clo_function *function, int64_t task, int64_t lease_id,
                                clo_value last, const clo_sink *sink, cloaca_error *error)
{
    const clo_value values[CLO_PARAMETER_LIMIT] = {integer_value(task), integer_value(lease_id), last};

    return run(connection, function, values, sink, error);
}

static bool take_enqueued(void *context, const clo_value *values)
{
    enqueued *rows = context;

    if (rows->count == rows->capacity) {
        return true;
    }
    if (rows->tasks != NULL) {
        rows->tasks[rows->count] = values[CLO_ENQUEUE_COL_TASK].integer;
    }
    if (rows->created != NULL) {
        rows->created[rows->count] = values[CLO_ENQUEUE_COL_CREATED].integer != 0;
    }
    rows->count++;
    return true;
}

static bool take_task(void *context, const clo_value *values)
{
    claimed *rows = context;
    const clo_value *name = &values[CLO_CLAIM_COL_NAME];
    const clo_value *payload = &values[CLO_CLAIM_COL_PAYLOAD];
    const clo_value *timeout = &values[CLO_CLAIM_COL_TIMEOUT];
    cloaca_task *task;

    if (rows->public.count == rows->capacity) {
        const size_t capacity = rows->capacity > 0 ? rows->capacity * 4 : 1;
        cloaca_task *tasks = clo_arena_allocate(&rows->arena, capacity * sizeof(cloaca_task));

        if (tasks == NULL) {
            return false;
        }
        if (rows->capacity > 0) {
            memcpy(tasks, rows->public.tasks, rows->public.count * sizeof(cloaca_task));
        }
        rows->public.tasks = tasks;
        rows->capacity = capacity;
    }
    task = &rows->public.tasks[rows->public.count++];
    *task = (cloaca_task){
        .task = values[CLO_CLAIM_COL_TASK].integer,
        .lease_id = values[CLO_CLAIM_COL_LEASE_ID].integer,
        .attempt = (int32_t) values[CLO_CLAIM_COL_ATTEMPT].integer,
        .max_attempts = (int32_t) values[CLO_CLAIM_COL_MAX_ATTEMPTS].integer,
        .priority = (int16_t) values[CLO_CLAIM_COL_PRIORITY].integer,
        .name = clo_arena_copy(&rows->arena, name->text, name->length),
        .payload = clo_arena_copy(&rows->arena, payload->text, payload->length),
        .run_at = values[CLO_CLAIM_COL_RUN_AT].integer,
        .lease_until = values[CLO_CLAIM_COL_LEASE_UNTIL].integer,
        .execution = values[CLO_CLAIM_COL_EXECUTION].integer,
        .timeout = timeout->kind == CLO_NULL ? CLOACA_NO_INTERVAL : timeout->integer,
    };
    return task->name != NULL && task->payload != NULL;
}

static bool take_outcome(void *context, const clo_value *values)
{
    outcomes *rows = context;
    const char *outcome = values[rows->column].text;

    if (rows->count == rows->capacity || outcome == NULL) {
        return true;
    }
    if (rows->statuses != NULL) {
        rows->statuses[rows->count] =
            strcmp(outcome, "completed") == 0 || strcmp(outcome, "extended") == 0 ? CLOACA_OK : clo_status_named(outcome);
    }
    rows->count++;
    return true;
}

static bool take_lease(void *context, const clo_value *values)
{
    if (context != NULL) {
        *(int64_t *) context = values[CLO_EXTEND_COL_LEASE_UNTIL].integer;
    }
    return true;
}

static bool take_dead(void *context, const clo_value *values)
{
    if (context != NULL) {
        *(bool *) context = values[CLO_FAIL_COL_STATE].text != NULL && strcmp(values[CLO_FAIL_COL_STATE].text, "dead") == 0;
    }
    return true;
}

static bool take_cancelling(void *context, const clo_value *values)
{
    const char *state = values[CLO_CANCEL_TASK_COL_STATE].text;

    if (context != NULL) {
        *(bool *) context = state != NULL && strcmp(state, "cancelling") == 0;
    }
    return true;
}

static bool take_retried(void *context, const clo_value *values)
{
    if (context != NULL) {
        *(int64_t *) context = values[CLO_RETRY_TASK_COL_RETRIED].integer;
    }
    return true;
}

static bool take_nothing(void *context, const clo_value *values)
{
    (void) context;
    (void) values;
    return true;
}

static clo_value integer_value(int64_t integer)
{
    return (clo_value){CLO_INTEGER, integer, NULL, 0};
}

static clo_value text_value(const char *text)
{
    return text == NULL ? (clo_value){CLO_NULL, 0, NULL, 0} : (clo_value){CLO_TEXT, 0, text, strlen(text)};
}

static clo_value interval_value(int64_t interval)
{
    return interval < 0 ? (clo_value){CLO_NULL, 0, NULL, 0} : integer_value(interval);
}
