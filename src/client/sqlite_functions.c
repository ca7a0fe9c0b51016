/*
 * sqlite_functions.c - what the statements of the functions need and SQLite's SQL does not have
 *
 *   cloaca_merge(document, ...)               documents merged, as the context of a workflow's task is; nulls are passed over
 *   cloaca_merge_all(document)                the same of all rows, in their order
 *   cloaca_fires(trigger, states, context)    whether a task runs, by its trigger rule
 *   cloaca_retries(error, condition)          whether a failed task is tried again, by the condition of its retry policy
 *   cloaca_is_retry(policy)                   whether a document is a retry policy
 *   cloaca_definition_problem(definition)     what is wrong with a workflow's definition, null when nothing is
 *   cloaca_definition_edges(definition)       the numbers of each task's dependencies and dependents
 *   cloaca_sha256(text)                       the hash, as 64 hexadecimal digits
 *
 * They are registered on every connection that the library uses, those of others included, where they stay until it is closed:
 * several users of one connection share them. Documents are brought into the canonical form first, whoever wrote them.
 */
#include "backend.h"
#include "common/definition.h"
#include "common/merge.h"
#include "common/trigger.h"

#ifdef CLOACA_SQLITE_MODULE
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

#include <sha2.h>
#include <stdlib.h>

static void merge(sqlite3_context *context, int count, sqlite3_value **values);
static void merge_step(sqlite3_context *context, int count, sqlite3_value **values);
static void merge_final(sqlite3_context *context);
static void fires(sqlite3_context *context, int count, sqlite3_value **values);
static void retries(sqlite3_context *context, int count, sqlite3_value **values);
static void is_retry(sqlite3_context *context, int count, sqlite3_value **values);
static void definition_problem(sqlite3_context *context, int count, sqlite3_value **values);
static void definition_edges(sqlite3_context *context, int count, sqlite3_value **values);
static void sha256(sqlite3_context *context, int count, sqlite3_value **values);
static bool add_document(sqlite3_context *context, clo_merge *merged, sqlite3_value *value);
static void return_merged(sqlite3_context *context, clo_merge *merged);
static bool read_document(sqlite3_context *context, sqlite3_value *value, clo_buffer *document);
static clo_span span_of(const clo_buffer *document);

/* The SQLite code. A function that is in use just now is there already. */
int clo_sqlite_functions(void *database)
{
    static const struct {
        const char *name;
        int count;
        void (*call)(sqlite3_context *, int, sqlite3_value **);
        void (*step)(sqlite3_context *, int, sqlite3_value **);
        void (*final)(sqlite3_context *);
    } functions[] = {
        {"cloaca_merge", -1, merge, NULL, NULL},
        {"cloaca_merge_all", 1, NULL, merge_step, merge_final},
        {"cloaca_fires", 3, fires, NULL, NULL},
        {"cloaca_retries", 2, retries, NULL, NULL},
        {"cloaca_is_retry", 1, is_retry, NULL, NULL},
        {"cloaca_definition_problem", 1, definition_problem, NULL, NULL},
        {"cloaca_definition_edges", 1, definition_edges, NULL, NULL},
        {"cloaca_sha256", 1, sha256, NULL, NULL},
    };
    int code = SQLITE_OK;

    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]) && code == SQLITE_OK; i++) {
        code = sqlite3_create_function_v2(database, functions[i].name, functions[i].count, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                          NULL, functions[i].call, functions[i].step, functions[i].final, NULL);
        code = code == SQLITE_BUSY ? SQLITE_OK : code;
    }
    return code == SQLITE_OK ? clo_sqlite_cron(database) : code;
}

static void merge(sqlite3_context *context, int count, sqlite3_value **values)
{
    clo_merge *merged = clo_merge_new();
    bool good = merged != NULL;

    if (!good) {
        sqlite3_result_error_nomem(context);
    }
    for (int i = 0; i < count && good; i++) {
        good = add_document(context, merged, values[i]);
    }
    if (good) {
        return_merged(context, merged);
    }
    clo_merge_free(merged);
}

static void merge_step(sqlite3_context *context, int count, sqlite3_value **values)
{
    clo_merge **merged = sqlite3_aggregate_context(context, sizeof(clo_merge *));

    (void) count;
    if (merged != NULL && *merged == NULL) {
        *merged = clo_merge_new();
    }
    if (merged == NULL || *merged == NULL) {
        sqlite3_result_error_nomem(context);
        return;
    }
    add_document(context, *merged, values[0]);
}

/* Called after an error, too, whose result it leaves. */
static void merge_final(sqlite3_context *context)
{
    clo_merge **merged = sqlite3_aggregate_context(context, 0);

    if (merged != NULL && *merged != NULL) {
        return_merged(context, *merged);
        clo_merge_free(*merged);
        *merged = NULL;
    }
}

static void fires(sqlite3_context *context, int count, sqlite3_value **values)
{
    clo_buffer documents[3] = {0};
    bool good = true;

    for (int i = 0; i < count && good; i++) {
        good = read_document(context, values[i], &documents[i]);
    }
    if (good && (documents[1].data == NULL || documents[2].data == NULL)) {
        good = false;
        sqlite3_result_error(context, "cloaca_fires needs states and a context", -1);
    }
    if (good) {
        sqlite3_result_int(context, clo_trigger_fires(span_of(&documents[0]), span_of(&documents[1]), span_of(&documents[2])));
    }
    for (int i = 0; i < count; i++) {
        clo_buffer_free(&documents[i]);
    }
}

static void retries(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *error = (const char *) sqlite3_value_text(values[0]);
    const size_t length = (size_t) sqlite3_value_bytes(values[0]);
    clo_buffer condition = {0};

    (void) count;
    if (read_document(context, values[1], &condition)) {
        sqlite3_result_int(context, clo_retry_matches(span_of(&condition), error != NULL ? error : "", length));
    }
    clo_buffer_free(&condition);
}

static void is_retry(sqlite3_context *context, int count, sqlite3_value **values)
{
    clo_buffer policy = {0};

    (void) count;
    if (read_document(context, values[0], &policy) && policy.data != NULL) {
        sqlite3_result_int(context, clo_is_retry(span_of(&policy)));
    }
    clo_buffer_free(&policy);
}

static void definition_problem(sqlite3_context *context, int count, sqlite3_value **values)
{
    clo_buffer definition = {0};
    clo_buffer problem = {0};

    (void) count;
    if (read_document(context, values[0], &definition)) {
        clo_definition_problem(definition.data != NULL ? span_of(&definition) : (clo_span){"null", 4}, &problem);
        if (problem.failed) {
            sqlite3_result_error_nomem(context);
        } else if (problem.length > 0) {
            sqlite3_result_text(context, problem.data, (int) problem.length, SQLITE_TRANSIENT);
        }
    }
    clo_buffer_free(&definition);
    clo_buffer_free(&problem);
}

static void definition_edges(sqlite3_context *context, int count, sqlite3_value **values)
{
    clo_buffer definition = {0};
    clo_buffer edges = {0};

    (void) count;
    if (read_document(context, values[0], &definition) && definition.data != NULL) {
        clo_definition_edges(span_of(&definition), &edges);
        if (clo_buffer_finish(&edges)) {
            sqlite3_result_text64(context, edges.data, edges.length, SQLITE_TRANSIENT, SQLITE_UTF8);
        } else {
            sqlite3_result_error_nomem(context);
        }
    }
    clo_buffer_free(&definition);
    clo_buffer_free(&edges);
}

static void sha256(sqlite3_context *context, int count, sqlite3_value **values)
{
    const uint8_t *text = sqlite3_value_text(values[0]);
    char digits[SHA256_DIGEST_STRING_LENGTH];

    (void) count;
    if (text != NULL) {
        SHA256Data(text, (size_t) sqlite3_value_bytes(values[0]), digits);
        sqlite3_result_text(context, digits, SHA256_DIGEST_STRING_LENGTH - 1, SQLITE_TRANSIENT);
    }
}

static bool add_document(sqlite3_context *context, clo_merge *merged, sqlite3_value *value)
{
    clo_buffer document = {0};
    bool good = read_document(context, value, &document);

    if (good && document.data != NULL && !clo_merge_add(merged, document.data, document.length)) {
        sqlite3_result_error_nomem(context);
        good = false;
    }
    clo_buffer_free(&document);
    return good;
}

/* Null when there was no document. */
static void return_merged(sqlite3_context *context, clo_merge *merged)
{
    clo_buffer out = {0};

    if (clo_merge_empty(merged)) {
        return;
    }
    clo_merge_write(merged, &out);
    if (!clo_buffer_finish(&out)) {
        clo_buffer_free(&out);
        sqlite3_result_error_nomem(context);
        return;
    }
    sqlite3_result_text64(context, out.data, out.length, free, SQLITE_UTF8);
}

/* The canonical form of a value; nothing of a null. False when an error is the result. */
static bool read_document(sqlite3_context *context, sqlite3_value *value, clo_buffer *document)
{
    clo_json_error wrong = {0};
    const char *text;

    if (sqlite3_value_type(value) == SQLITE_NULL) {
        return true;
    }
    text = (const char *) sqlite3_value_text(value);
    if (text == NULL ||
        (!clo_json_rewrite(text, (size_t) sqlite3_value_bytes(value), document, &wrong) && wrong.reason == NULL)) {
        sqlite3_result_error_nomem(context);
        return false;
    }
    if (wrong.reason != NULL) {
        sqlite3_result_error(context, "a document is not valid JSON", -1);
        return false;
    }
    if (!clo_buffer_finish(document)) {
        sqlite3_result_error_nomem(context);
        return false;
    }
    return true;
}

static clo_span span_of(const clo_buffer *document)
{
    return (clo_span){document->data, document->length};
}
