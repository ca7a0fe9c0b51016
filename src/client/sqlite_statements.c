/*
 * sqlite_statements.c - prepares and runs the statements of the functions on SQLite, and those that begin and end transactions
 *
 * Some statements decide which one comes next. They are prepared once for each connection and function, those that do not
 * always run when they first do. Where statements may not stay prepared, the backend has them forgotten after every call.
 *
 * Processes and locks: SQLite's own. Only one connection writes at a time; the others wait for the busy timeout.
 */
#define _DEFAULT_SOURCE /* getrandom */
#include "backend_sqlite.h"
#include "common/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Sources of parameters beyond the arguments. */
enum { NOW = CLO_PARAMETER_LIMIT, RANDOM, LEASE_BASE, SOURCE_COUNT };

typedef struct prepared {
    sqlite3_stmt *statement;
    int parameter_count;
    unsigned char sources[SOURCE_COUNT]; /* of each parameter */
} prepared;

static const char *const control_sql[] = {
    [CONTROL_BEGIN] = "begin",
    [CONTROL_BEGIN_IMMEDIATE] = "begin immediate",
    [CONTROL_COMMIT] = "commit",
    [CONTROL_ROLLBACK] = "rollback",
    [CONTROL_SAVEPOINT] = "savepoint cloaca",
    [CONTROL_RELEASE] = "release cloaca",
    [CONTROL_ROLLBACK_TO] = "rollback to cloaca",
};

/* What the statements of one call bind; random numbers are made when first needed. */
typedef struct bindings {
    const clo_function *function;
    const clo_value *arguments;
    int64_t now;
    bool random_known;
    double random;
    int64_t lease_base;
} bindings;

static cloaca_status prepare_one(sqlite_connection *self, const clo_function *function, size_t number, prepared *made,
                                 cloaca_error *error);
static int source_of(const clo_function *function, const char *name);
static void forget_function(sqlite_connection *self, size_t number);
static cloaca_status run_statement(sqlite_connection *self, bindings *bound, size_t number, const clo_sink *sink, bool *found,
                                   cloaca_error *error);
static cloaca_status raise_row(sqlite3_stmt *statement, cloaca_status condition, cloaca_error *error);
static int bind_all(sqlite_connection *self, const prepared *one, bindings *bound);
static int bind_value(sqlite3_stmt *statement, int number, const clo_value *value);
static bool make_random(const sqlite_connection *self, bindings *bound);
static cloaca_status read_row(sqlite_connection *self, const clo_function *function, sqlite3_stmt *statement,
                              const clo_sink *sink, cloaca_error *error);

cloaca_status clo_sqlite_prepare(sqlite_connection *self, const clo_function *function, cloaca_error *error)
{
    prepared_function *known = &self->functions[function->id];
    cloaca_status status = CLOACA_OK;

    if (known->statements != NULL) {
        return CLOACA_OK;
    }
    if (function->statement_count == 0) {
        return clo_fail(error, CLOACA_NOT_SUPPORTED, "This library was built without the statements of %s.", function->name);
    }
    known->statements = calloc(function->statement_count, sizeof(prepared));
    if (known->statements == NULL) {
        return clo_no_memory(error);
    }
    known->reads = true;
    for (size_t i = 0; i < function->statement_count && status == CLOACA_OK; i++) {
        if (function->statements[i].inner) {
            known->reads = false;
            continue;
        }
        status = prepare_one(self, function, i, &known->statements[i], error);
        known->reads = known->reads && sqlite3_stmt_readonly(known->statements[i].statement);
    }
    if (status != CLOACA_OK) {
        forget_function(self, (size_t) function->id);
    }
    return status;
}

static cloaca_status prepare_one(sqlite_connection *self, const clo_function *function, size_t number, prepared *made,
                                 cloaca_error *error)
{
    const int code = sqlite3_prepare_v3(self->database, function->statements[number].sql, -1,
                                        self->cache ? SQLITE_PREPARE_PERSISTENT : 0, &made->statement, NULL);

    if (code != SQLITE_OK) {
        return clo_sqlite_fail(self, code, error);
    }
    made->parameter_count = sqlite3_bind_parameter_count(made->statement);
    for (int i = 0; i < made->parameter_count; i++) {
        const int source = i < SOURCE_COUNT ? source_of(function, sqlite3_bind_parameter_name(made->statement, i + 1) + 1) : -1;

        if (source < 0) {
            return clo_fail(error, CLOACA_DATABASE_ERROR, "Statement %zu of %s has unknown parameters.", number + 1,
                            function->name);
        }
        made->sources[i] = (unsigned char) source;
    }
    if (number + 1 == function->statement_count && function->column_count > 0 &&
        (size_t) sqlite3_column_count(made->statement) != function->column_count + (function->waits ? 1 : 0)) {
        return clo_fail(error, CLOACA_DATABASE_ERROR, "The last statement of %s returns other columns.", function->name);
    }
    return CLOACA_OK;
}

static int source_of(const clo_function *function, const char *name)
{
    if (strcmp(name, "now") == 0) {
        return NOW;
    } else if (strcmp(name, "random") == 0) {
        return RANDOM;
    } else if (strcmp(name, "lease_base") == 0) {
        return LEASE_BASE;
    }
    for (size_t i = 0; i < function->parameter_count; i++) {
        if (strcmp(function->parameters[i].name, name) == 0) {
            return (int) i;
        }
    }
    return -1;
}

void clo_sqlite_forget(sqlite_connection *self)
{
    for (size_t i = 0; i < CLO_FUNCTION_COUNT; i++) {
        forget_function(self, i);
    }
    for (size_t i = 0; i < CONTROL_COUNT; i++) {
        sqlite3_finalize(self->controls[i]);
        self->controls[i] = NULL;
    }
}

static void forget_function(sqlite_connection *self, size_t number)
{
    prepared_function *known = &self->functions[number];

    for (size_t i = 0; known->statements != NULL && i < clo_functions[number].statement_count; i++) {
        sqlite3_finalize(known->statements[i].statement);
    }
    free(known->statements);
    known->statements = NULL;
}

/* ------------------------------------------------------------------------------------------------------------ transactions */

cloaca_status clo_sqlite_enter(sqlite_connection *self, bool reads, bool single, sqlite_scope *entered, cloaca_error *error)
{
    const bool outside = sqlite3_get_autocommit(self->database);
    cloaca_status status = CLOACA_OK;

    *entered = SCOPE_NONE;
    if (reads && (single || !outside)) {
        return CLOACA_OK;
    }
    status = clo_sqlite_control(self, !outside ? CONTROL_SAVEPOINT : (reads ? CONTROL_BEGIN : CONTROL_BEGIN_IMMEDIATE), error);
    if (status == CLOACA_OK) {
        *entered = outside ? SCOPE_TRANSACTION : SCOPE_SAVEPOINT;
    }
    return status;
}

cloaca_status clo_sqlite_leave(sqlite_connection *self, sqlite_scope entered, cloaca_error *error)
{
    if (entered == SCOPE_NONE) {
        return CLOACA_OK;
    }
    return clo_sqlite_control(self, entered == SCOPE_TRANSACTION ? CONTROL_COMMIT : CONTROL_RELEASE, error);
}

void clo_sqlite_undo(sqlite_connection *self, sqlite_scope entered)
{
    if (entered == SCOPE_NONE || sqlite3_get_autocommit(self->database)) {
        return;
    }
    if (entered == SCOPE_TRANSACTION) {
        clo_sqlite_control(self, CONTROL_ROLLBACK, NULL);
    } else if (clo_sqlite_control(self, CONTROL_ROLLBACK_TO, NULL) == CLOACA_OK) {
        clo_sqlite_control(self, CONTROL_RELEASE, NULL);
    }
}

cloaca_status clo_sqlite_control(sqlite_connection *self, sqlite_control which, cloaca_error *error)
{
    sqlite3_stmt **statement = &self->controls[which];
    int code = SQLITE_OK;

    if (*statement == NULL) {
        code = sqlite3_prepare_v3(self->database, control_sql[which], -1, self->cache ? SQLITE_PREPARE_PERSISTENT : 0,
                                  statement, NULL);
    }
    if (code == SQLITE_OK) {
        sqlite3_step(*statement);
        code = sqlite3_reset(*statement);
    }
    return code == SQLITE_OK ? CLOACA_OK : clo_sqlite_fail(self, code, error);
}

/* ----------------------------------------------------------------------------------------------------------------- running */

cloaca_status clo_sqlite_run(sqlite_connection *self, const clo_function *function, const clo_value *arguments,
                             const clo_sink *sink, cloaca_error *error)
{
    bindings bound = {.function = function, .arguments = arguments};
    cloaca_status status = CLOACA_OK;

    /* Read now, when the lock is held: waiting for it takes time. */
    bound.now = self->base.backend->now(&self->base);
    for (size_t i = 0; i < function->statement_count && status == CLOACA_OK;) {
        const clo_statement *statement = &function->statements[i];
        bool found = false;

        status = run_statement(self, &bound, i, sink, &found, error);
        i = statement->tests && !found ? statement->skip : statement->next;
    }
    return status;
}

/* `found` says whether it returned a row. */
static cloaca_status run_statement(sqlite_connection *self, bindings *bound, size_t number, const clo_sink *sink, bool *found,
                                   cloaca_error *error)
{
    const clo_function *function = bound->function;
    prepared *one = &self->functions[function->id].statements[number];
    const cloaca_status condition = function->statements[number].raises;
    const bool last = number + 1 == function->statement_count && function->column_count > 0;
    cloaca_status status = one->statement != NULL ? CLOACA_OK : prepare_one(self, function, number, one, error);
    int code;

    if (status != CLOACA_OK) {
        return status;
    }
    code = bind_all(self, one, bound);
    if (code == SQLITE_OK) {
        while (status == CLOACA_OK && (code = sqlite3_step(one->statement)) == SQLITE_ROW) {
            *found = true;
            if (function->statements[number].tests) {
                code = SQLITE_DONE;
                break;
            } else if (condition != CLOACA_OK) {
                status = raise_row(one->statement, condition, error);
            } else if (last) {
                status = read_row(self, function, one->statement, sink, error);
            }
        }
    }
    if (status == CLOACA_OK && code != SQLITE_DONE) {
        status = clo_sqlite_fail(self, code, error);
    }
    sqlite3_reset(one->statement);
    return status;
}

static cloaca_status raise_row(sqlite3_stmt *statement, cloaca_status condition, cloaca_error *error)
{
    const char *detail = NULL;
    const char *hint = NULL;

    for (int i = 0; i < sqlite3_column_count(statement); i++) {
        const char *name = sqlite3_column_name(statement, i);

        if (name != NULL && strcmp(name, "detail") == 0) {
            detail = (const char *) sqlite3_column_text(statement, i);
        } else if (name != NULL && strcmp(name, "hint") == 0) {
            hint = (const char *) sqlite3_column_text(statement, i);
        }
    }
    if (detail != NULL) {
        clo_fail(error, condition, "%s", detail);
    } else {
        clo_fail(error, condition, NULL);
    }
    if (hint != NULL) {
        clo_error_hint(error, hint);
    }
    return condition;
}

static int bind_all(sqlite_connection *self, const prepared *one, bindings *bound)
{
    int code = SQLITE_OK;

    for (int i = 0; i < one->parameter_count && code == SQLITE_OK; i++) {
        const int source = one->sources[i];

        if (source == NOW) {
            code = sqlite3_bind_int64(one->statement, i + 1, bound->now);
        } else if (source == RANDOM || source == LEASE_BASE) {
            if (!bound->random_known && !make_random(self, bound)) {
                return SQLITE_IOERR;
            }
            code = source == RANDOM ? sqlite3_bind_double(one->statement, i + 1, bound->random)
                                    : sqlite3_bind_int64(one->statement, i + 1, bound->lease_base);
        } else {
            const clo_value *value = &bound->arguments[source];

            code = bind_value(one->statement, i + 1,
                              value->kind == CLO_OMITTED ? &bound->function->parameters[source].value : value);
        }
    }
    return code;
}

static int bind_value(sqlite3_stmt *statement, int number, const clo_value *value)
{
    switch (value->kind) {
    case CLO_INTEGER:
        return sqlite3_bind_int64(statement, number, value->integer);
    case CLO_TEXT:
        return sqlite3_bind_text64(statement, number, value->text, value->length, SQLITE_STATIC, SQLITE_UTF8);
    default:
        return sqlite3_bind_null(statement, number);
    }
}

/* 53 bits make a number from 0 to below 1, 62 a lease that leaves room for more after it. */
static bool make_random(const sqlite_connection *self, bindings *bound)
{
    uint64_t bits[2];

    if (getrandom(bits, sizeof(bits), 0) != (ssize_t) sizeof(bits)) {
        return false;
    }
    bound->random = self->random >= 0 ? self->random : (double) (bits[0] >> 11) / (double) (UINT64_C(1) << 53);
    bound->lease_base = (int64_t) (bits[1] >> 2);
    bound->random_known = true;
    return true;
}

/* Documents are brought into the canonical form, whoever wrote them. What is waited for has a column more (see backend.h). */
static cloaca_status read_row(sqlite_connection *self, const clo_function *function, sqlite3_stmt *statement,
                              const clo_sink *sink, cloaca_error *error)
{
    clo_value values[CLO_COLUMN_LIMIT] = {0};
    bool document[CLO_COLUMN_LIMIT] = {false};

    self->json.length = 0;
    self->json.failed = false;
    for (size_t i = 0; i < function->column_count + (function->waits ? 1 : 0); i++) {
        const int column = (int) i;
        const cloaca_type type = i < function->column_count ? function->columns[i].type : CLOACA_TYPE_TIMESTAMPTZ;

        values[i].kind = CLO_NULL;
        if (sqlite3_column_type(statement, column) == SQLITE_NULL) {
            continue;
        }
        if (type != CLOACA_TYPE_TEXT && type < CLOACA_TYPE_JSONB) {
            values[i].kind = CLO_INTEGER;
            values[i].integer = sqlite3_column_int64(statement, column);
            continue;
        }
        if (type == CLOACA_TYPE_TIMESTAMPTZ || type == CLOACA_TYPE_INTERVAL) {
            values[i].kind = CLO_INTEGER;
            values[i].integer = sqlite3_column_int64(statement, column);
            continue;
        }
        values[i].kind = CLO_TEXT;
        values[i].text = (const char *) sqlite3_column_text(statement, column);
        values[i].length = (size_t) sqlite3_column_bytes(statement, column);
        if (values[i].text == NULL) {
            return clo_no_memory(error);
        }
        if (type != CLOACA_TYPE_TEXT) {
            const size_t start = self->json.length;
            clo_json_error wrong = {0};

            if (!clo_json_rewrite(values[i].text, values[i].length, &self->json, &wrong)) {
                return wrong.reason == NULL
                           ? clo_no_memory(error)
                           : clo_fail(error, CLOACA_DATABASE_ERROR, "The file has a document that is not valid JSON.");
            }
            document[i] = true;
            values[i].integer = (int64_t) start;
            values[i].length = self->json.length - start;
            clo_buffer_byte(&self->json, '\0');
        }
    }
    /* The buffer moved while it grew. */
    for (size_t i = 0; i < function->column_count; i++) {
        if (document[i]) {
            values[i].text = self->json.data + values[i].integer;
        }
    }
    return !self->json.failed && sink->row(sink->context, values) ? CLOACA_OK : clo_no_memory(error);
}

/* ------------------------------------------------------------------------------------------------------------------ errors */

cloaca_status clo_sqlite_fail(sqlite_connection *self, int code, cloaca_error *error)
{
    static const struct {
        int code;
        cloaca_status status;
    } known[] = {
        {SQLITE_BUSY, CLOACA_BUSY},
        {SQLITE_LOCKED, CLOACA_BUSY},
        {SQLITE_FULL, CLOACA_STORAGE_FULL},
        {SQLITE_READONLY, CLOACA_READ_ONLY},
        {SQLITE_NOTADB, CLOACA_NOT_A_DATABASE},
        {SQLITE_CANTOPEN, CLOACA_UNKNOWN_DATABASE},
        {SQLITE_NOMEM, CLOACA_OUT_OF_MEMORY},
        {SQLITE_INTERRUPT, CLOACA_TIMEOUT},
        {SQLITE_PERM, CLOACA_INSUFFICIENT_PRIVILEGE},
        {SQLITE_AUTH, CLOACA_INSUFFICIENT_PRIVILEGE},
        {SQLITE_TOOBIG, CLOACA_INVALID_ARGUMENT},
    };
    const int extended = sqlite3_extended_errcode(self->database);
    cloaca_status status = CLOACA_DATABASE_ERROR;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].code == (code & 0xff)) {
            status = known[i].status;
        }
    }
    clo_fail(error, status, NULL);
    if (error != NULL) {
        const char *message = sqlite3_errmsg(self->database);

        clo_error_copy(error->detail, sizeof(error->detail), message, strlen(message));
        if (extended == SQLITE_BUSY_SNAPSHOT) {
            clo_error_hint(error, "Another connection wrote since the transaction began to read: roll back and begin again.");
        } else if (status == CLOACA_BUSY) {
            clo_error_hint(error, "Another connection is writing: try again.");
        }
    }
    return status;
}
