/*
 * module.c - cloaca in any SQLite client: a loadable module with the functions as SQL
 *
 * Every function comes twice: as a table-valued function, `select * from cloaca_claim('default', 'w1', 10)`, with the arguments
 * in the order of the signature and the defaults for those left out, and as a scalar one that returns the rows as JSON. A join
 * may filter a table-valued function again for each row of another table, which would repeat its effect: the second time is an
 * error, and the scalar is the way to call a function for each row. Neither can be called from views or triggers that a file
 * brings along.
 *
 * Locks: those of the library's SQLite backend, on the connection that loaded the module, in its transaction if there is one.
 */
#include "backend.h"

#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the functions of one connection share; the last of them to be dropped frees it. */
typedef struct shared {
    cloaca *connection;
    int references;
} shared;

typedef struct registered {
    shared *shared;
    const clo_function *function;
} registered;

typedef struct table {
    sqlite3_vtab base;
    const registered *owner;
} table;

typedef struct cursor {
    sqlite3_vtab_cursor base;
    bool filtered;
    cloaca_result *result;
    size_t row;
} cursor;

static int register_function(sqlite3 *database, shared *owned, const clo_function *function);
static void unregister(void *context);
static void release(shared *owned);
static cloaca_status run(const registered *owner, sqlite3_value **values, int count, unsigned given, cloaca_result **result,
                         cloaca_error *error);
static cloaca_status read_value(const clo_parameter *parameter, sqlite3_value *value, clo_arena *arena, clo_value *read,
                                cloaca_error *error);
static char *twice(const clo_function *function);
static char *message_of(const cloaca_error *error);
static char *declaration(const clo_function *function);
static int code_of(cloaca_status status);

/* ------------------------------------------------------------------------------------------------ the table-valued functions
 */

static int table_connect(sqlite3 *database, void *context, int count, const char *const *arguments, sqlite3_vtab **made,
                         char **message)
{
    const registered *owner = context;
    char *sql = declaration(owner->function);
    table *self = sqlite3_malloc(sizeof(table));
    int code = SQLITE_NOMEM;

    (void) count;
    (void) arguments;
    (void) message;
    if (sql != NULL && self != NULL) {
        memset(self, 0, sizeof(table));
        self->owner = owner;
        code = sqlite3_declare_vtab(database, sql);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_vtab_config(database, SQLITE_VTAB_DIRECTONLY);
    }
    sqlite3_free(sql);
    if (code != SQLITE_OK) {
        sqlite3_free(self);
        return code;
    }
    *made = &self->base;
    return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *base)
{
    sqlite3_free(base);
    return SQLITE_OK;
}

/* The arguments are equalities with hidden columns; idxNum has a bit for each that is given. */
static int table_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    const clo_function *function = ((table *) base)->owner->function;
    const int first = (int) (function->column_count > 0 ? function->column_count : 1);
    int places[CLO_PARAMETER_LIMIT];
    int next = 1;

    memset(places, -1, sizeof(places));
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *constraint = &info->aConstraint[i];

        if (constraint->iColumn < first || constraint->op != SQLITE_INDEX_CONSTRAINT_EQ) {
            continue;
        }
        /* SQLite asks with everything usable first, and again without what comes from another table or an IN list: a plan would
         * repeat the effect, so that the statement is refused before it runs. */
        if (!constraint->usable) {
            sqlite3_free(base->zErrMsg);
            base->zErrMsg = twice(function);
            return SQLITE_ERROR;
        }
        places[constraint->iColumn - first] = i;
    }
    info->idxNum = 0;
    for (size_t i = 0; i < function->parameter_count; i++) {
        if (places[i] >= 0) {
            info->aConstraintUsage[places[i]].argvIndex = next++;
            info->aConstraintUsage[places[i]].omit = 1;
            info->idxNum |= 1 << i;
        }
    }
    info->estimatedCost = 1000000;
    info->estimatedRows = 1000;
    return SQLITE_OK;
}

static int table_open(sqlite3_vtab *base, sqlite3_vtab_cursor **made)
{
    cursor *self = sqlite3_malloc(sizeof(cursor));

    (void) base;
    if (self == NULL) {
        return SQLITE_NOMEM;
    }
    memset(self, 0, sizeof(cursor));
    *made = &self->base;
    return SQLITE_OK;
}

static int table_close(sqlite3_vtab_cursor *base)
{
    cloaca_result_free(((cursor *) base)->result);
    sqlite3_free(base);
    return SQLITE_OK;
}

/* Here the function runs, to its end. */
static int table_filter(sqlite3_vtab_cursor *base, int given, const char *name, int count, sqlite3_value **values)
{
    cursor *self = (cursor *) base;
    table *owner = (table *) base->pVtab;
    cloaca_error error;
    cloaca_status status;

    (void) name;
    sqlite3_free(owner->base.zErrMsg);
    owner->base.zErrMsg = NULL;
    if (self->filtered) {
        owner->base.zErrMsg = twice(owner->owner->function);
        return SQLITE_ERROR;
    }
    self->filtered = true;
    status = run(owner->owner, values, count, (unsigned) given, &self->result, &error);
    if (status != CLOACA_OK) {
        owner->base.zErrMsg = message_of(&error);
    }
    return code_of(status);
}

static int table_next(sqlite3_vtab_cursor *base)
{
    ((cursor *) base)->row++;
    return SQLITE_OK;
}

static int table_eof(sqlite3_vtab_cursor *base)
{
    const cursor *self = (cursor *) base;

    return self->row >= cloaca_result_rows(self->result);
}

static int table_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int number)
{
    const cursor *self = (cursor *) base;
    const size_t column = (size_t) number;
    const char *value = cloaca_result_value(self->result, self->row, column);

    if (value == NULL) {
        return SQLITE_OK;
    }
    switch (cloaca_result_type(self->result, column)) {
    case CLOACA_TYPE_BOOLEAN:
        sqlite3_result_int(context, *value == 't');
        break;
    case CLOACA_TYPE_SMALLINT:
    case CLOACA_TYPE_INTEGER:
    case CLOACA_TYPE_BIGINT:
        sqlite3_result_int64(context, strtoll(value, NULL, 10));
        break;
    default:
        sqlite3_result_text(context, value, -1, SQLITE_TRANSIENT);
        break;
    }
    return SQLITE_OK;
}

static int table_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    *rowid = (sqlite3_int64) ((cursor *) base)->row + 1;
    return SQLITE_OK;
}

/* Without xCreate: the tables exist by themselves, and cannot be created. */
static const sqlite3_module table_module = {
    .xConnect = table_connect,
    .xBestIndex = table_best_index,
    .xDisconnect = table_disconnect,
    .xOpen = table_open,
    .xClose = table_close,
    .xFilter = table_filter,
    .xNext = table_next,
    .xEof = table_eof,
    .xColumn = table_column,
    .xRowid = table_rowid,
};

/* ----------------------------------------------------------------------------------------------------- the scalar functions */

static void scalar(sqlite3_context *context, int count, sqlite3_value **values)
{
    const registered *owner = sqlite3_user_data(context);
    cloaca_result *result = NULL;
    cloaca_error error;
    cloaca_status status;
    char *json;

    if ((size_t) count > owner->function->parameter_count) {
        sqlite3_result_error(context, "too many arguments", -1);
        return;
    }
    status = run(owner, values, count, (1U << count) - 1, &result, &error);
    if (status != CLOACA_OK) {
        char *message = message_of(&error);

        sqlite3_result_error(context, message != NULL ? message : "out of memory", -1);
        sqlite3_result_error_code(context, code_of(status));
        sqlite3_free(message);
        return;
    }
    json = cloaca_result_json(result);
    cloaca_result_free(result);
    if (json == NULL) {
        sqlite3_result_error_nomem(context);
    } else {
        sqlite3_result_text(context, json, -1, cloaca_free);
    }
}

/* ------------------------------------------------------------------------------------------------------------------ loading */

/* SQLite finds it by the name of the file. */
__attribute__((visibility("default"))) int sqlite3_cloacasqlite_init(sqlite3 *database, char **message,
                                                                     const sqlite3_api_routines *api);

int sqlite3_cloacasqlite_init(sqlite3 *database, char **message, const sqlite3_api_routines *api)
{
    shared *made;
    int code = SQLITE_OK;

    SQLITE_EXTENSION_INIT2(api)
    (void) message;
    made = sqlite3_malloc(sizeof(shared));
    if (made == NULL) {
        return SQLITE_NOMEM;
    }
    made->references = 1;
    if (clo_sqlite_attach(database, false, &made->connection, NULL) != CLOACA_OK) {
        sqlite3_free(made);
        return SQLITE_NOMEM;
    }
    for (size_t i = 0; i < CLO_FUNCTION_COUNT && code == SQLITE_OK; i++) {
        code = register_function(database, made, &clo_functions[i]);
    }
    release(made);
    return code;
}

/* SQLite calls `unregister` for what it was given, when it drops it and also when it refuses it. */
static int register_function(sqlite3 *database, shared *owned, const clo_function *function)
{
    registered *owners[2];
    char name[80];
    int code;

    for (int i = 0; i < 2; i++) {
        owners[i] = sqlite3_malloc(sizeof(registered));
        if (owners[i] == NULL) {
            if (i > 0) {
                unregister(owners[0]);
            }
            return SQLITE_NOMEM;
        }
        owners[i]->shared = owned;
        owners[i]->function = function;
        owned->references++;
    }
    snprintf(name, sizeof(name), "cloaca_%s", function->name);
    code = sqlite3_create_module_v2(database, name, &table_module, owners[0], unregister);
    if (code != SQLITE_OK) {
        unregister(owners[1]);
        return code;
    }
    return sqlite3_create_function_v2(database, name, -1, SQLITE_UTF8 | SQLITE_DIRECTONLY, owners[1], scalar, NULL, NULL,
                                      unregister);
}

static void unregister(void *context)
{
    registered *owner = context;

    release(owner->shared);
    sqlite3_free(owner);
}

static void release(shared *owned)
{
    if (--owned->references == 0) {
        cloaca_close(owned->connection);
        sqlite3_free(owned);
    }
}

/* ------------------------------------------------------------------------------------------------------------------ calling */

/* `given` has a bit for each argument that is among the values. */
static cloaca_status run(const registered *owner, sqlite3_value **values, int count, unsigned given, cloaca_result **result,
                         cloaca_error *error)
{
    const clo_function *function = owner->function;
    clo_value arguments[CLO_PARAMETER_LIMIT] = {0};
    clo_arena arena = {0};
    cloaca_status status = CLOACA_OK;
    int next = 0;

    clo_error_clear(error);
    *result = clo_result_new(function);
    if (*result == NULL) {
        return clo_no_memory(error);
    }
    /* What SQLite does not have is refused whatever the arguments are. */
    for (size_t i = 0; i < function->parameter_count && !function->postgres_only && status == CLOACA_OK; i++) {
        if ((given & 1U << i) != 0 && next < count) {
            status = read_value(&function->parameters[i], values[next++], &arena, &arguments[i], error);
        } else if (function->parameters[i].required) {
            status = clo_fail(error, CLOACA_INVALID_ARGUMENT, "The argument %s is missing.", function->parameters[i].name);
        }
    }
    if (status == CLOACA_OK) {
        status = clo_call(owner->shared->connection, function, arguments, &(clo_sink){clo_result_row, *result}, error);
    }
    clo_arena_free(&arena);
    if (status != CLOACA_OK) {
        cloaca_result_free(*result);
        *result = NULL;
    }
    return status;
}

static cloaca_status read_value(const clo_parameter *parameter, sqlite3_value *value, clo_arena *arena, clo_value *read,
                                cloaca_error *error)
{
    const bool number = parameter->type == CLOACA_TYPE_BOOLEAN || parameter->type == CLOACA_TYPE_SMALLINT ||
                        parameter->type == CLOACA_TYPE_INTEGER || parameter->type == CLOACA_TYPE_BIGINT;
    const char *text;

    if (sqlite3_value_type(value) == SQLITE_NULL) {
        read->kind = CLO_NULL;
        return CLOACA_OK;
    }
    if (number && sqlite3_value_numeric_type(value) == SQLITE_INTEGER) {
        return clo_read_integer(parameter, sqlite3_value_int64(value), read, error);
    }
    text = (const char *) sqlite3_value_text(value);
    if (text == NULL) {
        return clo_no_memory(error);
    }
    return clo_read_text(parameter, text, (size_t) sqlite3_value_bytes(value), arena, read, error);
}

static char *twice(const clo_function *function)
{
    return sqlite3_mprintf("not_supported: not supported: A statement can call cloaca_%s as a table once; "
                           "call it as a scalar for each row.",
                           function->name);
}

/* condition: message: detail, and the hint where it says what to do instead */
static char *message_of(const cloaca_error *error)
{
    if (error->status == CLOACA_NOT_SUPPORTED && error->hint[0] != '\0') {
        return sqlite3_mprintf("%s: %s: %s %s", cloaca_status_name(error->status), error->message, error->detail, error->hint);
    }
    return error->detail[0] != '\0'
               ? sqlite3_mprintf("%s: %s: %s", cloaca_status_name(error->status), error->message, error->detail)
               : sqlite3_mprintf("%s: %s", cloaca_status_name(error->status), error->message);
}

static int code_of(cloaca_status status)
{
    switch (status) {
    case CLOACA_OK:
        return SQLITE_OK;
    case CLOACA_BUSY:
        return SQLITE_BUSY;
    case CLOACA_OUT_OF_MEMORY:
        return SQLITE_NOMEM;
    case CLOACA_STORAGE_FULL:
        return SQLITE_FULL;
    case CLOACA_READ_ONLY:
        return SQLITE_READONLY;
    default:
        return SQLITE_ERROR;
    }
}

/* The columns of the result, then the arguments, hidden. A column that has an argument's name keeps it. */
static char *declaration(const clo_function *function)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);

    sqlite3_str_appendall(sql, "create table cloaca(");
    for (size_t i = 0; i < function->column_count; i++) {
        sqlite3_str_appendf(sql, "%s\"%w\"", i > 0 ? ", " : "", function->columns[i].name);
    }
    if (function->column_count == 0) {
        sqlite3_str_appendall(sql, "\"nothing\"");
    }
    for (size_t i = 0; i < function->parameter_count; i++) {
        bool taken = false;

        for (size_t j = 0; j < function->column_count; j++) {
            taken = taken || strcmp(function->columns[j].name, function->parameters[i].name) == 0;
        }
        sqlite3_str_appendf(sql, ", \"%w%s\" hidden", function->parameters[i].name, taken ? "_argument" : "");
    }
    sqlite3_str_appendall(sql, ")");
    return sqlite3_str_finish(sql);
}
