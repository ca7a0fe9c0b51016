/*
 * run.c - runs a scenario on one database and prints what came of it
 *
 *   conformance <url> <scenario>
 *
 * A scenario has one command a line: `clock <time>`, `random <number>`, `call <function> <arguments>` (the arguments may go on
 * in lines that start with a space), `count <function> <arguments>`, `begin`, `commit`, `rollback`; comments and blank lines
 * are echoed. Each command is echoed, then its rows follow as canonical JSON (sorted keys, no spaces), or their number, or its
 * error. Lease ids are random: they print as "L1", "L2" and so on in the order in which they appear, and "$L1" in arguments
 * stands for the number;
 * "$stale" is a lease that nobody ever had. "$array 9" stands for an array of nine zeros, "$text 9" for a text of nine letters
 * x.
 *
 * The output must be the same on every backend. One process, one connection.
 */
#define _GNU_SOURCE /* asprintf, getline */
#include "cloaca.h"
#include "common/timestamp.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_LIMIT 1000
#define STALE "4242"

static char leases[LEASE_LIMIT][24];
static size_t lease_count;

static void run_command(cloaca *connection, char *command);
static void run_call(cloaca *connection, const char *rest, bool count);
static void print_rows(const cloaca_result *result);
static void print_status(cloaca_status status, const cloaca_error *error, bool quiet);
static char *expand(const char *arguments);
static size_t expand_one(const char *word, FILE *out);
static void name_leases(json_t *row);
static const char *lease_name(const char *number, char *name, size_t size);
static void stop(const char *message);

int main(int argc, char **argv)
{
    cloaca_error error;
    cloaca *connection;
    char *line = NULL;
    char *command = NULL;
    size_t capacity = 0;
    FILE *scenario = argc == 3 ? fopen(argv[2], "r") : NULL;

    if (scenario == NULL) {
        stop("usage: conformance <url> <scenario>");
    }
    if (cloaca_open(argv[1], &connection, &error) != CLOACA_OK) {
        fprintf(stderr, "%s\n%s\n", error.message, error.detail);
        return 1;
    }
    /* A command ends where the next line does not go on with it. */
    while (getline(&line, &capacity, scenario) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (command != NULL && line[0] == ' ') {
            char *longer;

            if (asprintf(&longer, "%s\n%s", command, line) < 0) {
                stop("out of memory");
            }
            free(command);
            command = longer;
            continue;
        }
        if (command != NULL) {
            run_command(connection, command);
        }
        free(command);
        command = strdup(line);
    }
    if (command != NULL) {
        run_command(connection, command);
    }
    free(command);
    free(line);
    fclose(scenario);
    cloaca_close(connection);
    return 0;
}

static void run_command(cloaca *connection, char *command)
{
    cloaca_error error;

    printf("%s\n", command);
    if (command[0] == '\0' || command[0] == '#') {
        return;
    } else if (strncmp(command, "clock ", 6) == 0) {
        int64_t now;

        if (!clo_time_parse(command + 6, strlen(command + 6), &now)) {
            stop("clock: no time");
        }
        print_status(cloaca_set_clock(connection, now, &error), &error, true);
    } else if (strncmp(command, "random ", 7) == 0) {
        print_status(cloaca_set_random(connection, strtod(command + 7, NULL), &error), &error, true);
    } else if (strncmp(command, "call ", 5) == 0) {
        run_call(connection, command + 5, false);
    } else if (strncmp(command, "count ", 6) == 0) {
        run_call(connection, command + 6, true);
    } else if (strcmp(command, "begin") == 0) {
        print_status(cloaca_begin(connection, &error), &error, false);
    } else if (strcmp(command, "commit") == 0) {
        print_status(cloaca_commit(connection, &error), &error, false);
    } else if (strcmp(command, "rollback") == 0) {
        print_status(cloaca_rollback(connection, &error), &error, false);
    } else {
        stop("unknown command");
    }
    fflush(stdout);
}

static void run_call(cloaca *connection, const char *rest, bool count)
{
    const size_t length = strcspn(rest, " \n");
    char *function = strndup(rest, length);
    char *arguments = rest[length] != '\0' ? expand(rest + length) : NULL;
    cloaca_result *result;
    cloaca_error error;
    const cloaca_status status = cloaca_call(connection, function, arguments, &result, &error);

    if (status == CLOACA_OK && count) {
        printf("  %zu rows\n", cloaca_result_rows(result));
    } else if (status == CLOACA_OK && cloaca_result_columns(result) > 0) {
        print_rows(result);
    } else {
        print_status(status, &error, false);
    }
    cloaca_result_free(result);
    free(arguments);
    free(function);
}

static void print_rows(const cloaca_result *result)
{
    char *text = cloaca_result_json(result);
    json_t *rows = json_loads(text, JSON_DECODE_ANY, NULL);
    json_t *row;
    size_t i;

    if (rows == NULL) {
        stop("a result is not JSON");
    }
    json_array_foreach(rows, i, row)
    {
        char *line;

        name_leases(row);
        line = json_dumps(row, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(15));
        printf("  %s\n", line);
        free(line);
    }
    json_decref(rows);
    cloaca_free(text);
}

static void print_status(cloaca_status status, const cloaca_error *error, bool quiet)
{
    if (status == CLOACA_OK) {
        if (!quiet) {
            printf("  ok\n");
        }
        return;
    }
    printf("  error %s %s: %s\n", cloaca_status_name(status), error->sqlstate, error->message);
    if (error->detail[0] != '\0') {
        printf("  detail: %s\n", error->detail);
    }
    if (error->hint[0] != '\0') {
        printf("  hint: %s\n", error->hint);
    }
}

/* The arguments with what the words that start with "$ stand for. */
static char *expand(const char *arguments)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    while (*arguments != '\0') {
        if (strncmp(arguments, "\"$", 2) == 0) {
            arguments += expand_one(arguments, out);
        } else {
            fputc(*arguments++, out);
        }
    }
    fclose(out);
    return text;
}

/* Writes what a word stands for; returns its length. */
static size_t expand_one(const char *word, FILE *out)
{
    const char *end = strchr(word + 1, '"');
    size_t number;

    if (end == NULL) {
        stop("a word in the arguments has no end");
    } else if (strncmp(word, "\"$stale\"", 8) == 0) {
        fputs(STALE, out);
    } else if (sscanf(word, "\"$L%zu\"", &number) == 1 && number >= 1 && number <= lease_count) {
        fputs(leases[number - 1], out);
    } else if (sscanf(word, "\"$array %zu\"", &number) == 1) {
        for (size_t i = 0; i < number; i++) {
            fputs(i == 0 ? "[0" : ",0", out);
        }
        fputs(number == 0 ? "[]" : "]", out);
    } else if (sscanf(word, "\"$text %zu\"", &number) == 1) {
        fputc('"', out);
        for (size_t i = 0; i < number; i++) {
            fputc('x', out);
        }
        fputc('"', out);
    } else {
        stop("unknown word in the arguments");
    }
    return (size_t) (end - word) + 1;
}

static void name_leases(json_t *row)
{
    json_t *lease = json_object_get(row, "lease_id");

    if (json_is_integer(lease)) {
        char number[24];
        char name[24];

        snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(lease));
        json_object_set_new(row, "lease_id", json_string(lease_name(number, name, sizeof(name))));
    }
}

static const char *lease_name(const char *number, char *name, size_t size)
{
    size_t i = 0;

    while (i < lease_count && strcmp(leases[i], number) != 0) {
        i++;
    }
    if (i == lease_count) {
        if (lease_count == LEASE_LIMIT) {
            stop("too many leases");
        }
        snprintf(leases[lease_count++], sizeof(leases[0]), "%s", number);
    }
    snprintf(name, size, "L%zu", i + 1);
    return name;
}

static void stop(const char *message)
{
    fflush(stdout);
    fprintf(stderr, "%s\n", message);
    exit(2);
}
