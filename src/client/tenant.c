/*
 * tenant.c - credentials: passwords are made here, and only their verifiers are sent
 *
 * A statement's parameters reach the server's log, so no password ever is one. The plain one goes into the result alone, and
 * every other copy of it is wiped.
 */
#define _DEFAULT_SOURCE /* getrandom, explicit_bzero */
#include "backend.h"

#include <string.h>
#include <sys/random.h>

#define PASSWORD_LENGTH 32
#define ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static bool generate(char *password);
static bool add_host(cloaca_result *result, const char *host, clo_arena *arena);
static bool names_host(const char *url);
static bool add_password(cloaca_result *result, const char *password, clo_arena *arena);
static size_t percent_encode(const char *text, char *encoded);
static int password_position(const clo_function *function);

cloaca_status clo_call_with_credentials(cloaca *connection, const clo_function *function, const clo_value *arguments,
                                        cloaca_result **result, cloaca_error *error)
{
    const int position = password_position(function);
    const clo_value *given = &arguments[position];
    clo_value values[CLO_PARAMETER_LIMIT];
    char generated[PASSWORD_LENGTH + 1];
    const char *password = given->text;
    const char *verifier = NULL;
    cloaca_status status = CLOACA_OK;

    *result = clo_result_new(function);
    if (*result == NULL) {
        return clo_no_memory(error);
    }
    clo_result_keep_secret(*result);
    memcpy(values, arguments, sizeof(values));
    if (given->kind != CLO_TEXT || given->length == 0) {
        if (!generate(generated)) {
            return clo_fail(error, CLOACA_DATABASE_ERROR, "The system gives no random numbers.");
        }
        password = generated;
    }
    if (strncmp(password, "SCRAM-SHA-256$", 14) == 0) {
        password = NULL;
    } else {
        status = connection->backend->verifier(connection, password, &connection->scratch, &verifier, error);
        values[position] = (clo_value){CLO_TEXT, 0, verifier, verifier != NULL ? strlen(verifier) : 0};
    }
    if (status == CLOACA_OK) {
        status = clo_call(connection, function, values, &(clo_sink){clo_result_row, *result}, error);
    }
    if (status == CLOACA_OK && !add_host(*result, connection->backend->host(connection), &connection->scratch)) {
        status = clo_no_memory(error);
    }
    if (status == CLOACA_OK && password != NULL && !add_password(*result, password, &connection->scratch)) {
        status = clo_no_memory(error);
    }
    explicit_bzero(generated, sizeof(generated));
    return status;
}

/* From the system's strong randomness, without bias: bytes beyond the last multiple of the alphabet's size are thrown away. */
static bool generate(char *password)
{
    static const char alphabet[] = ALPHABET;
    const unsigned size = sizeof(alphabet) - 1;
    unsigned char bytes[64];
    size_t length = 0;
    bool good = true;

    while (length < PASSWORD_LENGTH && good) {
        good = getrandom(bytes, sizeof(bytes), 0) == (ssize_t) sizeof(bytes);
        for (size_t i = 0; good && i < sizeof(bytes) && length < PASSWORD_LENGTH; i++) {
            if (bytes[i] < 256 / size * size) {
                password[length++] = alphabet[bytes[i] % size];
            }
        }
    }
    password[length] = '\0';
    explicit_bzero(bytes, sizeof(bytes));
    return good;
}

/* A server that may not tell the directory of its socket leaves the host out: what this connection found others find too. */
static bool add_host(cloaca_result *result, const char *host, clo_arena *arena)
{
    for (size_t row = 0; row < cloaca_result_rows(result); row++) {
        const char *url = cloaca_result_get(result, row, "connection_string");

        if (url != NULL && host != NULL && *host != '\0' && !names_host(url)) {
            char *text = clo_arena_allocate(arena, strlen(url) + 3 * strlen(host) + 7);
            size_t length = strlen(url);

            if (text == NULL) {
                return false;
            }
            memcpy(text, url, length + 1);
            text[length++] = strchr(url, '?') != NULL ? '&' : '?';
            memcpy(text + length, "host=", sizeof("host="));
            length += 5;
            length += percent_encode(host, text + length);
            if (!clo_result_set(result, row, "connection_string", text, length)) {
                return false;
            }
        }
    }
    return true;
}

/* Whether the URL has a host after the user's name, or among the options. */
static bool names_host(const char *url)
{
    const char *start = strstr(url, "://");
    const char *options = strchr(url, '?');
    size_t length = start != NULL ? strcspn(start + 3, "/?") : 0;
    const char *at = length > 0 ? memchr(start + 3, '@', length) : NULL;

    if (start == NULL) {
        return true;
    }
    start = at != NULL ? at + 1 : start + 3;
    return strchr(":/?", *start) == NULL ||
           (options != NULL && (strstr(options, "?host") != NULL || strstr(options, "&host") != NULL));
}

/* Into the column of its own, and after the user's name in the connection string. */
static bool add_password(cloaca_result *result, const char *password, clo_arena *arena)
{
    for (size_t row = 0; row < cloaca_result_rows(result); row++) {
        const char *url = cloaca_result_get(result, row, "connection_string");
        const char *user = url != NULL ? strstr(url, "://") : NULL;
        const char *at = user != NULL ? user + 3 + strcspn(user + 3, "/?@") : NULL;

        if (!clo_result_set(result, row, "password", password, strlen(password))) {
            return false;
        }
        if (at != NULL && *at == '@' && memchr(user + 3, ':', (size_t) (at - user - 3)) == NULL) {
            char *text = clo_arena_allocate(arena, strlen(url) + 3 * strlen(password) + 2);
            size_t length = (size_t) (at - url);

            if (text == NULL) {
                return false;
            }
            memcpy(text, url, length);
            text[length++] = ':';
            length += percent_encode(password, text + length);
            memcpy(text + length, at, strlen(at) + 1);
            if (!clo_result_set(result, row, "connection_string", text, length + strlen(at))) {
                return false;
            }
        }
    }
    return true;
}

static size_t percent_encode(const char *text, char *encoded)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t length = 0;

    for (; *text != '\0'; text++) {
        const unsigned char byte = (unsigned char) *text;

        if (strchr(ALPHABET "-._~", byte) != NULL) {
            encoded[length++] = *text;
        } else {
            encoded[length++] = '%';
            encoded[length++] = digits[byte >> 4];
            encoded[length++] = digits[byte & 15];
        }
    }
    return length;
}

static int password_position(const clo_function *function)
{
    int position = 0;

    while (strcmp(function->parameters[position].name, "password") != 0) {
        position++;
    }
    return position;
}
