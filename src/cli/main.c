/*
 * main.c - the `cloaca` command: from the command line to a command, the connection, and what went wrong
 *
 * Answers go to stdout, everything else to stderr as `cloaca: message: detail` and a line with a hint. The library keeps
 * passwords out of its errors, and this file prints no URL.
 */
#define _GNU_SOURCE
#include "cli.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int skip_global_options(struct invocation *invocation, int count, char **words);
static int run(struct invocation *invocation, int count, char **words);
static bool is_family(const char *noun);
static bool wants_json(int count, char **words);
static void print_error(const cloaca_error *error);
static void print_json_error(const cloaca_error *error);

/* --json, for what goes wrong before the command line is parsed, or far from the invocation. */
static bool json_errors;

int main(int count, char **words)
{
    struct invocation invocation = {0};
    int status;

    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL)
        setlocale(LC_CTYPE, "");
    if (count >= 2 && strcmp(words[1], "__complete") == 0) {
        print_candidates(count - 2, words + 2);
        return STATUS_OK;
    }
    json_errors = wants_json(count - 1, words + 1);
    status = run(&invocation, count - 1, words + 1);
    free(invocation.values);
    free(invocation.hidden_url);
    return end_output() || status != STATUS_OK ? status : STATUS_ERROR;
}

void usage_error(const struct command *command, const char *format, ...)
{
    cloaca_error error = {.status = CLOACA_INVALID_ARGUMENT};
    va_list values;
    bool named = command != NULL && command->name[0] != '\0';

    va_start(values, format);
    vsnprintf(error.message, sizeof error.message, format, values);
    va_end(values);
    snprintf(error.hint, sizeof error.hint, "See cloaca %s%s--help.", named ? command->name : "", named ? " " : "");
    print_error(&error);
    exit(STATUS_USAGE);
}

int complain(const char *hint, const char *format, ...)
{
    cloaca_error error = {.status = CLOACA_INVALID_ARGUMENT};
    va_list values;

    va_start(values, format);
    vsnprintf(error.message, sizeof error.message, format, values);
    va_end(values);
    snprintf(error.hint, sizeof error.hint, "%s", hint);
    print_error(&error);
    return STATUS_ERROR;
}

int report(const struct invocation *invocation, const cloaca_error *error)
{
    (void) invocation;
    print_error(error);
    return status_of(error);
}

int status_of(const cloaca_error *error)
{
    switch (error->status) {
    case CLOACA_UNKNOWN_TENANT:
    case CLOACA_UNKNOWN_QUEUE:
    case CLOACA_UNKNOWN_TASK:
    case CLOACA_UNKNOWN_DEAD_LETTER:
    case CLOACA_UNKNOWN_FUNCTION:
    case CLOACA_UNKNOWN_WORKFLOW:
    case CLOACA_UNKNOWN_EXECUTION:
    case CLOACA_UNKNOWN_SCHEDULE:
        return STATUS_UNKNOWN;
    case CLOACA_COMMIT_UNKNOWN:
        return STATUS_UNCERTAIN;
    default:
        if (error->commit_unknown)
            return STATUS_UNCERTAIN;
        return error->retryable || error->connection_lost ? STATUS_TEMPORARY : STATUS_ERROR;
    }
}

const char *database_url(const struct invocation *invocation)
{
    if (invocation->url == NULL || invocation->url[0] == '\0')
        usage_error(invocation->command, "no database given: set DATABASE_URL, or use --url, "
                                         "such as sqlite:///tasks.db or postgresql://user@host/database");
    return invocation->url;
}

int open_connection(const struct invocation *invocation, cloaca **connection)
{
    cloaca_error error = {0};

    *connection = NULL;
    if (cloaca_open(database_url(invocation), connection, &error) != CLOACA_OK)
        return report(invocation, &error);
    return STATUS_OK;
}

static int run(struct invocation *invocation, int count, char **words)
{
    static const struct command none = {.name = ""};
    int at;

    invocation->command = &none;
    at = skip_global_options(invocation, count, words);
    if (option_flag(invocation, "version")) {
        printf("cloaca %s\n", cloaca_version());
        return STATUS_OK;
    }
    if (at < count && strcmp(words[at], "help") == 0) {
        const struct command *about =
            at + 1 < count ? find_command(words[at + 1], at + 2 < count ? words[at + 2] : NULL) : NULL;

        print_help(about);
        return STATUS_OK;
    }
    if (at >= count || option_flag(invocation, "help")) {
        print_help(NULL);
        if (at >= count && !option_flag(invocation, "help"))
            return STATUS_USAGE;
        return STATUS_OK;
    }
    invocation->command = find_command(words[at], at + 1 < count ? words[at + 1] : NULL);
    if (invocation->command == NULL) {
        bool family = is_family(words[at]);
        bool help = option_flag(invocation, "help") ||
                    (at + 1 < count && (strcmp(words[at + 1], "--help") == 0 || strcmp(words[at + 1], "-h") == 0));

        if (family && (help || at + 1 >= count)) {
            print_family(words[at]);
            return help ? STATUS_OK : STATUS_USAGE;
        }
        usage_error(NULL, "unknown command \"%s%s%s\"", words[at], family && at + 1 < count ? " " : "",
                    family && at + 1 < count ? words[at + 1] : "");
    }
    at += strchr(invocation->command->name, ' ') != NULL ? 2 : 1;
    parse_command_line(invocation, count - at, words + at);
    if (option_flag(invocation, "help")) {
        print_help(invocation->command);
        return STATUS_OK;
    }
    invocation->url = option_text(invocation, "url") != NULL ? option_text(invocation, "url") : getenv("DATABASE_URL");
    json_errors = option_flag(invocation, "json");
    invocation->json = json_errors || (!option_flag(invocation, "table") && !isatty(STDOUT_FILENO));
    return invocation->command->run(invocation);
}

/* Whether it is the first word of commands that have two. */
static bool is_family(const char *noun)
{
    size_t length = strlen(noun);

    for (const struct command *command = commands; command->name != NULL; command++)
        if (strncmp(command->name, noun, length) == 0 && command->name[length] == ' ')
            return true;
    return false;
}

/* Takes the options in front of the command; returns the place of the first word that is none. */
static int skip_global_options(struct invocation *invocation, int count, char **words)
{
    int at = 0;

    while (at < count && words[at][0] == '-') {
        int length = strcmp(words[at], "--url") == 0 || strcmp(words[at], "-u") == 0 ? 2 : 1;

        parse_command_line(invocation, length < count - at ? length : count - at, words + at);
        at += length;
    }
    return at;
}

/* --json or -j among the words that are ours. */
static bool wants_json(int count, char **words)
{
    for (int at = 0; at < count && strcmp(words[at], "--") != 0; at++)
        if (strcmp(words[at], "--json") == 0 || strcmp(words[at], "-j") == 0)
            return true;
    return false;
}

static void print_error(const cloaca_error *error)
{
    clear_progress();
    if (json_errors) {
        print_json_error(error);
        return;
    }
    fprintf(stderr, "cloaca: %s%s%s\n", error->message, error->detail[0] != '\0' ? ": " : "", error->detail);
    if (error->hint[0] != '\0')
        fprintf(stderr, "hint: %s\n", error->hint);
}

static void print_json_error(const cloaca_error *error)
{
    const char *names[] = {"condition", "sqlstate", "message", "detail", "hint"};
    const char *values[] = {cloaca_status_name(error->status), error->sqlstate, error->message, error->detail, error->hint};
    struct buffer line = {0};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        append_member(&line, names[i]);
        buffer_json(&line, values[i], strlen(values[i]));
    }
    fprintf(stderr, "{\"error\": {%s}}\n", buffer_value(&line));
    buffer_free(&line);
}
