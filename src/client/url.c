/*
 * url.c - takes URLs apart: what is ours, what is the backend's
 *
 * No message quotes a value of the URL, since a password may be among them.
 */
#include "backend.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static cloaca_status parse_postgres(const char *url, clo_arena *arena, clo_url *parsed, cloaca_error *error);
static cloaca_status parse_sqlite(const char *url, clo_arena *arena, clo_url *parsed, cloaca_error *error);
static cloaca_status check_sqlite_option(const char *name, const char *value, cloaca_error *error);
static cloaca_status check_pool_option(const char *name, const char *value, cloaca_error *error);
static cloaca_status decode(const char *text, size_t length, clo_arena *arena, const char **decoded, cloaca_error *error);
static bool next_option(const char **at, const char **name, size_t *name_length, const char **value, size_t *value_length);
static bool one_of(const char *value, const char *const *known);
static bool is_number(const char *value, long most);
static int hex(char digit);

cloaca_status clo_url_parse(const char *url, clo_arena *arena, clo_url *parsed, cloaca_error *error)
{
    memset(parsed, 0, sizeof(*parsed));
    if (url != NULL && (strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0)) {
        parsed->backend = CLOACA_POSTGRES;
        return parse_postgres(url, arena, parsed, error);
    }
    if (url != NULL && strncmp(url, "sqlite:", 7) == 0) {
        parsed->backend = CLOACA_SQLITE;
        return parse_sqlite(url, arena, parsed, error);
    }
    return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The URL must start with postgresql:// or sqlite:///.");
}

/* Everything but our own options goes to libpq as it is. */
static cloaca_status parse_postgres(const char *url, clo_arena *arena, clo_url *parsed, cloaca_error *error)
{
    const char *at = strchr(url, '?');
    const size_t base = at != NULL ? (size_t) (at - url) : strlen(url);
    char *location = clo_arena_copy(arena, url, strlen(url));
    static const char *const booleans[] = {"true", "false", NULL};
    const char *name, *value;
    const char *text = "";
    size_t name_length, value_length;
    size_t length = base;
    cloaca_status status = CLOACA_OK;

    if (location == NULL) {
        return clo_no_memory(error);
    }
    while (status == CLOACA_OK && at != NULL && next_option(&at, &name, &name_length, &value, &value_length)) {
        const char *known = "";

        status = decode(name, name_length, arena, &known, error);
        if (status == CLOACA_OK) {
            status = decode(value, value_length, arena, &text, error);
        }
        if (status != CLOACA_OK) {
            return status;
        }
        if (strcmp(known, "schema") == 0) {
            parsed->schema = text;
        } else if (strcmp(known, "direct") == 0) {
            parsed->direct = strcasecmp(text, "true") == 0;
            status = one_of(text, booleans) ? CLOACA_OK
                                            : clo_fail(error, CLOACA_INVALID_ARGUMENT, "The direct must be true or false.");
        } else if (strncmp(known, "pool_", 5) == 0) {
            status = check_pool_option(known, text, error);
        } else if (strcmp(known, "ssl") != 0 && !clo_postgres_option(known)) {
            status = clo_fail(error, CLOACA_INVALID_ARGUMENT, "The URL has an unknown option %.100s.", known);
        } else {
            location[length] = length == base ? '?' : '&';
            memcpy(location + length + 1, name, (size_t) (value + value_length - name));
            length += 1 + (size_t) (value + value_length - name);
        }
    }
    location[length] = '\0';
    parsed->location = location;
    return status;
}

/* sqlite:///relative, sqlite:////absolute, sqlite:///:memory: */
static cloaca_status parse_sqlite(const char *url, clo_arena *arena, clo_url *parsed, cloaca_error *error)
{
    const char *at = strchr(url, '?');
    const char *end = at != NULL ? at : url + strlen(url);
    const char *name, *value;
    size_t name_length, value_length;
    cloaca_status status;

    if (strncmp(url, "sqlite:///", 10) != 0) {
        clo_fail(error, CLOACA_INVALID_ARGUMENT, "A SQLite URL needs three slashes before the name of the file.");
        clo_error_hint(error, "Write sqlite:///relative.db, sqlite:////absolute.db or sqlite:///:memory:.");
        return CLOACA_INVALID_ARGUMENT;
    }
    status = decode(url + 10, (size_t) (end - url) - 10, arena, &parsed->location, error);
    if (status == CLOACA_OK && *parsed->location == '\0') {
        status = clo_fail(error, CLOACA_INVALID_ARGUMENT, "The URL names no file.");
    }
    while (status == CLOACA_OK && at != NULL && next_option(&at, &name, &name_length, &value, &value_length)) {
        clo_option *option = &parsed->options[parsed->option_count];

        if (parsed->option_count == sizeof(parsed->options) / sizeof(parsed->options[0])) {
            return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The URL has too many options.");
        }
        status = decode(name, name_length, arena, &option->name, error);
        if (status == CLOACA_OK) {
            status = decode(value, value_length, arena, &option->value, error);
        }
        if (status == CLOACA_OK) {
            status = check_sqlite_option(option->name, option->value, error);
        }
        parsed->option_count++;
    }
    return status;
}

static cloaca_status check_sqlite_option(const char *name, const char *value, cloaca_error *error)
{
    static const char *const modes[] = {"ro", "rw", "rwc", NULL};
    static const char *const journals[] = {"wal", "delete", "truncate", "persist", "memory", "off", NULL};
    static const char *const levels[] = {"off", "normal", "full", "extra", "0", "1", "2", "3", NULL};

    if (strcmp(name, "mode") == 0) {
        return one_of(value, modes) ? CLOACA_OK : clo_fail(error, CLOACA_INVALID_ARGUMENT, "The mode must be ro, rw or rwc.");
    } else if (strcmp(name, "_journal_mode") == 0) {
        return one_of(value, journals) ? CLOACA_OK
                                       : clo_fail(error, CLOACA_INVALID_ARGUMENT,
                                                  "The _journal_mode must be WAL, DELETE, TRUNCATE, PERSIST, MEMORY or OFF.");
    } else if (strcmp(name, "_synchronous") == 0) {
        return one_of(value, levels)
                   ? CLOACA_OK
                   : clo_fail(error, CLOACA_INVALID_ARGUMENT, "The _synchronous must be OFF, NORMAL, FULL or EXTRA.");
    } else if (strcmp(name, "_busy_timeout") == 0) {
        return is_number(value, 86400000)
                   ? CLOACA_OK
                   : clo_fail(error, CLOACA_INVALID_ARGUMENT, "The _busy_timeout must be from 0 to 86400000 milliseconds.");
    }
    clo_fail(error, CLOACA_INVALID_ARGUMENT, "The URL has an unknown option %.100s.", name);
    clo_error_hint(error, "A SQLite URL can have mode, _journal_mode, _synchronous and _busy_timeout.");
    return CLOACA_INVALID_ARGUMENT;
}

/* The options of a pool mean nothing to one connection, but a URL with them is good. */
static cloaca_status check_pool_option(const char *name, const char *value, cloaca_error *error)
{
    static const char *const known[] = {"pool_min_size", "pool_max_size", "pool_timeout", NULL};

    if (!one_of(name, known)) {
        return clo_fail(error, CLOACA_INVALID_ARGUMENT, "The URL has an unknown option %.100s.", name);
    }
    return is_number(value, 1000000) ? CLOACA_OK
                                     : clo_fail(error, CLOACA_INVALID_ARGUMENT, "The %s must be from 0 to 1000000.", name);
}

/* Resolves %XX. A plus sign is a plus sign, as for libpq. */
static cloaca_status decode(const char *text, size_t length, clo_arena *arena, const char **decoded, cloaca_error *error)
{
    char *copy = clo_arena_copy(arena, text, length);
    char *to = copy;

    if (copy == NULL) {
        return clo_no_memory(error);
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '%') {
            *to++ = text[i];
            continue;
        }
        const int high = i + 2 < length ? hex(text[i + 1]) : -1;
        const int low = high >= 0 ? hex(text[i + 2]) : -1;

        if (low < 0 || (high == 0 && low == 0)) {
            return clo_fail(error, CLOACA_INVALID_ARGUMENT,
                            "The URL has a percent sign without two hexadecimal digits other than 00.");
        }
        *to++ = (char) (high * 16 + low);
        i += 2;
    }
    *to = '\0';
    *decoded = copy;
    return CLOACA_OK;
}

/* *at stands before an option, at ? or &. */
static bool next_option(const char **at, const char **name, size_t *name_length, const char **value, size_t *value_length)
{
    const char *equals;

    while (**at == '?' || **at == '&') {
        ++*at;
    }
    if (**at == '\0') {
        return false;
    }
    *name = *at;
    *at += strcspn(*at, "&");
    equals = memchr(*name, '=', (size_t) (*at - *name));
    *name_length = (size_t) ((equals != NULL ? equals : *at) - *name);
    *value = equals != NULL ? equals + 1 : *at;
    *value_length = (size_t) (*at - *value);
    return true;
}

static bool one_of(const char *value, const char *const *known)
{
    while (*known != NULL && strcasecmp(value, *known) != 0) {
        known++;
    }
    return *known != NULL;
}

static bool is_number(const char *value, long most)
{
    return *value != '\0' && strlen(value) <= 9 && strspn(value, "0123456789") == strlen(value) &&
           strtol(value, NULL, 10) <= most;
}

static int hex(char digit)
{
    const char *digits = "0123456789abcdef";
    const char *found = digit == '\0' ? NULL : strchr(digits, digit >= 'A' && digit <= 'F' ? digit | 0x20 : digit);

    return found != NULL ? (int) (found - digits) : -1;
}
