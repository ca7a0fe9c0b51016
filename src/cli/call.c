/*
 * call.c - the commands that call one function and print its rows
 */
#define _GNU_SOURCE
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 10000

static int call_function(const struct invocation *invocation, const char *function);
static int call_and_print(const struct invocation *invocation, const char *function, const char *arguments, enum shape shape);
static int print_pages(const struct invocation *invocation, cloaca *connection);
static int fetch_page(const struct invocation *invocation, cloaca *connection, size_t max, const char *after,
                      cloaca_result **page);

/* Every command that needs nothing but its row in the table. */
int run_call(const struct invocation *invocation)
{
    return call_function(invocation, invocation->command->function);
}

/* run_maintenance, or with --all maintain_tenants, which commits after each tenant. */
int run_maintain(const struct invocation *invocation)
{
    return call_function(invocation, option_flag(invocation, "all") ? "maintain_tenants" : invocation->command->function);
}

static int call_function(const struct invocation *invocation, const char *function)
{
    struct buffer members = {0};
    struct buffer arguments = {0};
    int status;

    append_arguments(invocation, NULL, &members);
    buffer_format(&arguments, "{%s}", buffer_value(&members));
    status = call_and_print(invocation, function, buffer_value(&arguments), invocation->command->shape);
    buffer_free(&arguments);
    buffer_free(&members);
    return status;
}

/* cloaca call FUNCTION [ARGUMENTS] */
int run_generic(const struct invocation *invocation)
{
    return call_and_print(invocation, option_text(invocation, "FUNCTION"), option_text(invocation, "ARGUMENTS"), SHAPE_ROWS);
}

/* The lists: a page, or with --all every page. */
int run_pages(const struct invocation *invocation)
{
    cloaca *connection;
    int status;

    if (!option_flag(invocation, "all"))
        return run_call(invocation);
    status = open_connection(invocation, &connection);
    if (status == STATUS_OK)
        status = print_pages(invocation, connection);
    cloaca_close(connection);
    return status;
}

int run_init(const struct invocation *invocation)
{
    cloaca_error error = {0};
    cloaca *connection;
    int status = open_connection(invocation, &connection);

    if (status == STATUS_OK && cloaca_init(connection, &error) != CLOACA_OK)
        status = report(invocation, &error);
    if (status == STATUS_OK && invocation->json)
        printf("{\"backend\": \"%s\", \"version\": \"%s\"}\n",
               cloaca_backend_of(connection) == CLOACA_SQLITE ? "sqlite" : "postgres", cloaca_version());
    cloaca_close(connection);
    return status;
}

int run_functions(const struct invocation *invocation)
{
    struct buffer text = {0};

    for (size_t i = 0; cloaca_function_name(i) != NULL; i++) {
        const char *name = cloaca_function_name(i);
        const char *signature = cloaca_function_signature(i);

        text.length = 0;
        if (invocation->json) {
            buffer_text(&text, i == 0 ? "[\n{\"function\": " : ",\n{\"function\": ");
            buffer_json(&text, name, strlen(name));
            buffer_text(&text, ", \"signature\": ");
            buffer_json(&text, signature, strlen(signature));
            buffer_text(&text, "}");
        } else {
            buffer_format(&text, "%s\n", signature);
        }
        fputs(buffer_value(&text), stdout);
    }
    fputs(invocation->json ? "\n]\n" : "", stdout);
    buffer_free(&text);
    return STATUS_OK;
}

static int call_and_print(const struct invocation *invocation, const char *function, const char *arguments, enum shape shape)
{
    cloaca_result *result = NULL;
    cloaca_error error = {0};
    cloaca *connection;
    int status = open_connection(invocation, &connection);

    if (status == STATUS_OK && cloaca_call(connection, function, arguments, &result, &error) != CLOACA_OK)
        status = report(invocation, &error);
    if (status == STATUS_OK)
        print_result(invocation, result, cloaca_result_columns(result) == 0 ? SHAPE_NOTHING : shape);
    cloaca_result_free(result);
    cloaca_close(connection);
    return status;
}

/*
 * Follows the ids page by page. JSON is written as it comes; a table needs all rows for its widths.
 */
static int print_pages(const struct invocation *invocation, cloaca *connection)
{
    struct buffer after = {0};
    struct table table = {0};
    cloaca_result **pages = NULL;
    size_t count = 0;
    size_t max = (size_t) option_integer(invocation, "max", 1, PAGE, PAGE);
    size_t rows = max;
    bool first = true;
    int status = STATUS_OK;

    buffer_text(&after, option_text(invocation, "after") != NULL ? option_text(invocation, "after") : "");
    while (rows == max) {
        cloaca_result *page = NULL;

        status = fetch_page(invocation, connection, max, buffer_value(&after), &page);
        if (status != STATUS_OK)
            break;
        rows = cloaca_result_rows(page);
        pages = reallocate(pages, (count + 1) * sizeof(cloaca_result *));
        pages[count++] = page;
        table_add_result(&table, page);
        if (rows > 0) {
            after.length = 0;
            buffer_text(&after, cloaca_result_value(page, rows - 1, 0));
        }
        if (invocation->json) {
            print_json_rows(&table, &first);
            table.rows = 0;
            cloaca_result_free(pages[--count]);
        }
    }
    if (status == STATUS_OK && invocation->json)
        puts(first ? "[]" : "\n]");
    else if (status == STATUS_OK)
        print_table(invocation, &table, SHAPE_ROWS);
    table_free(&table);
    while (count > 0)
        cloaca_result_free(pages[--count]);
    free(pages);
    buffer_free(&after);
    return status;
}

static int fetch_page(const struct invocation *invocation, cloaca *connection, size_t max, const char *after,
                      cloaca_result **page)
{
    struct buffer members = {0};
    struct buffer arguments = {0};
    cloaca_error error = {0};
    int status = STATUS_OK;

    append_arguments(invocation, " after max ", &members);
    append_member(&members, "max");
    buffer_format(&members, "%zu", max);
    if (after[0] != '\0') {
        append_member(&members, "after");
        buffer_text(&members, after);
    }
    buffer_format(&arguments, "{%s}", buffer_value(&members));
    if (cloaca_call(connection, invocation->command->function, buffer_value(&arguments), page, &error) != CLOACA_OK)
        status = report(invocation, &error);
    buffer_free(&members);
    buffer_free(&arguments);
    return status;
}
