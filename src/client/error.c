/*
 * error.c - conditions, and the error struct that a failed call fills
 */
#define _DEFAULT_SOURCE /* strnlen */
#include "backend.h"
#include "common/json.h"
#include "conditions.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ERROR, RETRY, LOST };

static const struct {
    const char *name;
    char sqlstate[6];
    int kind;
    const char *message;
} conditions[] = {{"ok", "00000", ERROR, "ok"},
#define CONDITION(suffix, name, sqlstate, kind, message) {name, sqlstate, kind, message},
                  CLOACA_CONDITIONS(CONDITION)
#undef CONDITION
};

#define CONDITION_COUNT (sizeof(conditions) / sizeof(conditions[0]))

/* The header documents the enumerators one by one; they must stay in the order of sql/conditions. */
enum order {
    ORDER_OK,
#define CONDITION(suffix, name, sqlstate, kind, message) ORDER_##suffix,
    CLOACA_CONDITIONS(CONDITION)
#undef CONDITION
};
#define CONDITION(suffix, name, sqlstate, kind, message)                                                                       \
    _Static_assert((int) ORDER_##suffix == (int) CLOACA_##suffix, "cloaca.h and sql/conditions differ at " name);
CLOACA_CONDITIONS(CONDITION)
#undef CONDITION

static void clean(char *text, size_t length);
static size_t cut_at_character(const char *text, size_t length);

const char *cloaca_version(void)
{
    return CLOACA_VERSION;
}

const char *cloaca_status_name(cloaca_status status)
{
    return (size_t) status < CONDITION_COUNT ? conditions[status].name : "unknown";
}

const char *cloaca_status_sqlstate(cloaca_status status)
{
    return (size_t) status < CONDITION_COUNT ? conditions[status].sqlstate : "XX000";
}

void clo_error_clear(cloaca_error *error)
{
    if (error != NULL) {
        error->status = CLOACA_OK;
        memcpy(error->sqlstate, "00000", sizeof(error->sqlstate));
        error->message[0] = '\0';
        error->detail[0] = '\0';
        error->hint[0] = '\0';
        error->retryable = false;
        error->transaction_aborted = false;
        error->connection_lost = false;
        error->commit_unknown = false;
    }
}

/* Fills the error from the condition and returns its status. */
cloaca_status clo_fail(cloaca_error *error, cloaca_status status, const char *detail, ...)
{
    if (error == NULL) {
        return status;
    }
    clo_error_clear(error);
    error->status = status;
    memcpy(error->sqlstate, conditions[status].sqlstate, sizeof(error->sqlstate));
    snprintf(error->message, sizeof(error->message), "%s", conditions[status].message);
    error->retryable = conditions[status].kind == RETRY;
    error->connection_lost = conditions[status].kind == LOST;
    error->commit_unknown = status == CLOACA_COMMIT_UNKNOWN;
    if (detail != NULL) {
        char text[sizeof(error->detail) + 4];
        va_list arguments;

        va_start(arguments, detail);
        vsnprintf(text, sizeof(text), detail, arguments);
        va_end(arguments);
        clean(text, strlen(text));
        snprintf(error->detail, sizeof(error->detail), "%.*s", (int) cut_at_character(text, sizeof(error->detail) - 1), text);
    }
    return status;
}

void clo_error_hint(cloaca_error *error, const char *hint)
{
    if (error != NULL) {
        snprintf(error->hint, sizeof(error->hint), "%s", hint);
    }
}

void clo_error_copy(char *field, size_t size, const char *text, size_t length)
{
    size_t end = 0;

    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' ')) {
        length--;
    }
    /* Room for the full stop. */
    while (end < length && end + 2 < size) {
        const char byte = text[end];

        field[end++] = byte == '\n' || byte == '\t' || byte == '\r' ? ' ' : byte;
    }
    field[end] = '\0';
    end = cut_at_character(field, end);
    field[end] = '\0';
    if (end > 0) {
        if (field[0] >= 'a' && field[0] <= 'z') {
            field[0] = (char) (field[0] - 'a' + 'A');
        }
        if (strchr(".!?", field[end - 1]) == NULL) {
            field[end++] = '.';
            field[end] = '\0';
        }
    }
}

/* PostgreSQL's own states become the condition that a program acts on. */
cloaca_status clo_status_of_sqlstate(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        cloaca_status status;
    } others[] = {
        {"28", CLOACA_AUTHENTICATION_FAILED},
        {"08", CLOACA_CONNECTION_LOST},
        {"57P01", CLOACA_CONNECTION_LOST},
        {"57P02", CLOACA_CONNECTION_LOST},
        {"57P03", CLOACA_CONNECTION_REFUSED},
        {"57P05", CLOACA_CONNECTION_LOST},
        {"25P03", CLOACA_CONNECTION_LOST},
        {"25P04", CLOACA_CONNECTION_LOST},
        {"53300", CLOACA_CONNECTION_REFUSED},
        {"40P01", CLOACA_CONFLICT},
        {"40", CLOACA_CONFLICT},
        {"25001", CLOACA_IN_TRANSACTION},
        {"2D000", CLOACA_IN_TRANSACTION},
        {"0A000", CLOACA_NOT_SUPPORTED},
        {"54000", CLOACA_INVALID_ARGUMENT},
        {"22", CLOACA_INVALID_ARGUMENT},
        {"3F000", CLOACA_NOT_A_DATABASE},
    };

    for (size_t i = 1; i < CONDITION_COUNT; i++) {
        if (strcmp(conditions[i].sqlstate, sqlstate) == 0) {
            return (cloaca_status) i;
        }
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strncmp(others[i].prefix, sqlstate, strlen(others[i].prefix)) == 0) {
            return others[i].status;
        }
    }
    return CLOACA_DATABASE_ERROR;
}

cloaca_status clo_status_named(const char *name)
{
    for (size_t i = 0; i < CONDITION_COUNT; i++) {
        if (strcmp(conditions[i].name, name) == 0) {
            return (cloaca_status) i;
        }
    }
    return CLOACA_DATABASE_ERROR;
}

cloaca_status clo_no_memory(cloaca_error *error)
{
    return clo_fail(error, CLOACA_OUT_OF_MEMORY, NULL);
}

/* A detail may quote what somebody else wrote, cut anywhere: what is no character, or one of control, becomes a question mark.
 */
static void clean(char *text, size_t length)
{
    for (size_t i = 0, size; i < length; i += size) {
        const unsigned char byte = (unsigned char) text[i];
        bool good = byte >= 0x20 && byte < 0x7f;

        size = 1;
        while (byte >= 0x80 && !good && i + size < length && size < 4) {
            good = clo_utf8_valid(text + i, ++size);
        }
        if (!good) {
            text[i] = '?';
            size = 1;
        }
    }
}

/* The largest length up to the given one that does not end inside a UTF-8 character. */
static size_t cut_at_character(const char *text, size_t length)
{
    size_t end = strnlen(text, length);

    if (end < length || text[end] == '\0') {
        return end;
    }
    while (end > 0 && ((unsigned char) text[end] & 0xc0) == 0x80) {
        end--;
    }
    return end;
}
