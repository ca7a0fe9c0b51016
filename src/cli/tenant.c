/*
 * tenant.c - the tenant commands that are more than one call: those that take a password, and the drop in batches
 *
 * A password is never an argument of the command line, where every user of the machine could read it: it is generated, or read
 * from a file or stdin. It is wiped from memory when the call is made.
 */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_password(const struct invocation *invocation, struct buffer *password);
static void wipe(struct buffer *buffer);

/* create, adopt and rotate-password. */
int run_tenant_secret(const struct invocation *invocation)
{
    struct buffer password = {0};
    struct buffer members = {0};
    struct buffer arguments = {0};
    cloaca_result *result = NULL;
    cloaca_error error = {0};
    cloaca *connection;
    int status;

    if (!read_password(invocation, &password))
        return STATUS_ERROR;
    append_arguments(invocation, NULL, &members);
    if (password.length > 0) {
        append_member(&members, "password");
        buffer_json(&members, buffer_value(&password), password.length);
    }
    buffer_format(&arguments, "{%s}", buffer_value(&members));
    status = open_connection(invocation, &connection);
    if (status == STATUS_OK &&
        cloaca_call(connection, invocation->command->function, buffer_value(&arguments), &result, &error) != CLOACA_OK)
        status = report(invocation, &error);
    wipe(&arguments);
    wipe(&members);
    wipe(&password);
    if (status == STATUS_OK)
        print_result(invocation, result, SHAPE_ROW);
    cloaca_result_free(result);
    cloaca_close(connection);
    return status;
}

/* drop_tenant removes a batch a call and says what remains. */
int run_tenant_drop(const struct invocation *invocation)
{
    struct buffer members = {0};
    struct buffer arguments = {0};
    cloaca *connection;
    int status = open_connection(invocation, &connection);
    long long remaining = status == STATUS_OK ? 1 : 0;

    append_arguments(invocation, NULL, &members);
    buffer_format(&arguments, "{%s}", buffer_value(&members));
    while (remaining > 0) {
        cloaca_result *result = NULL;
        cloaca_error error = {0};

        if (cloaca_call(connection, "drop_tenant", buffer_value(&arguments), &result, &error) != CLOACA_OK) {
            status = report(invocation, &error);
            break;
        }
        remaining = strtoll(cloaca_result_get(result, 0, "remaining"), NULL, 10);
        cloaca_result_free(result);
        if (remaining > 0)
            show_progress("%lld tables remain", remaining);
    }
    clear_progress();
    if (status == STATUS_OK && invocation->json)
        puts("null");
    buffer_free(&members);
    buffer_free(&arguments);
    cloaca_close(connection);
    return status;
}

/* The first line of the file that --password-file names; "-" is stdin. Without the option the password stays empty. */
static bool read_password(const struct invocation *invocation, struct buffer *password)
{
    const char *path = option_text(invocation, "password-file");
    bool is_stdin = path != NULL && strcmp(path, "-") == 0;
    FILE *file;
    char line[1024] = "";
    bool ok;

    if (path == NULL)
        return true;
    file = is_stdin ? stdin : fopen(path, "re");
    if (file == NULL) {
        complain("", "cannot read %s: %s", path, strerror(errno));
        return false;
    }
    ok = fgets(line, sizeof line, file) != NULL;
    line[strcspn(line, "\r\n")] = '\0';
    if (!is_stdin)
        fclose(file);
    buffer_text(password, line);
    explicit_bzero(line, sizeof line);
    if (!ok || password->length == 0) {
        complain("", "%s has no password in its first line", is_stdin ? "stdin" : path);
        return false;
    }
    return true;
}

static void wipe(struct buffer *buffer)
{
    if (buffer->data != NULL)
        explicit_bzero(buffer->data, buffer->capacity);
    buffer_free(buffer);
}
