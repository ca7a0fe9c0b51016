/*
 * options.c - from the words of the command line to options, operands and SQL arguments
 *
 * Options may stand anywhere (--name value, --name=value, -n value, -nvalue), except in a command that runs another one: there
 * the first operand ends ours. `--` ends the options everywhere.
 */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option *find_long(const struct command *command, const char *name, size_t length);
static const struct option *find_letter(const struct command *command, char letter);
static bool take_option(struct invocation *invocation, int count, char **words, int *at);
static void take_operand(struct invocation *invocation, const char *word);
static void add_value(struct invocation *invocation, const struct option *option, const char *text);
static void check_operands(const struct invocation *invocation);
static void check_value(const struct command *command, const struct option *option, const char *text);
static bool parse_integer(const char *text, int64_t *number);
static bool is_operand(const struct command *command, const struct option *option);

const struct command *find_command(const char *noun, const char *verb)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        size_t length = strcspn(command->name, " ");
        const char *second = command->name[length] == ' ' ? command->name + length + 1 : NULL;

        if (strncmp(command->name, noun, length) != 0 || noun[length] != '\0')
            continue;
        if (second == NULL || (verb != NULL && strcmp(second, verb) == 0))
            return command;
    }
    return NULL;
}

void parse_command_line(struct invocation *invocation, int count, char **words)
{
    const struct command *command = invocation->command;
    bool options_end = false;

    for (int at = 0; at < count; at++) {
        if (!options_end && strcmp(words[at], "--") == 0) {
            options_end = true;
        } else if (options_end || words[at][0] != '-' || words[at][1] == '\0') {
            if (command->rest != NULL) {
                invocation->rest = words + at;
                invocation->rest_count = count - at;
                break;
            }
            take_operand(invocation, words[at]);
        } else if (!take_option(invocation, count, words, &at)) {
            usage_error(command, "unknown option %s", words[at]);
        }
    }
    check_operands(invocation);
}

const char *option_text(const struct invocation *invocation, const char *name)
{
    for (size_t i = invocation->count; i > 0; i--)
        if (strcmp(invocation->values[i - 1].option->name, name) == 0)
            return invocation->values[i - 1].text;
    return NULL;
}

bool option_flag(const struct invocation *invocation, const char *name)
{
    return option_text(invocation, name) != NULL;
}

int64_t option_integer(const struct invocation *invocation, const char *name, int64_t low, int64_t high, int64_t fallback)
{
    const char *text = option_text(invocation, name);
    int64_t number;

    if (text == NULL)
        return fallback;
    if (!parse_integer(text, &number) || number < low || number > high)
        usage_error(invocation->command, "--%s must be from %lld to %lld", name, (long long) low, (long long) high);
    return number;
}

int64_t option_duration(const struct invocation *invocation, const char *name, int64_t fallback)
{
    const char *text = option_text(invocation, name);
    int64_t duration;

    if (text == NULL)
        return fallback;
    if (!parse_duration(text, &duration))
        usage_error(invocation->command, "--%s must be a duration such as 30s, 1.5 min or 02:00:00", name);
    return duration;
}

void append_arguments(const struct invocation *invocation, const char *except, struct buffer *buffer)
{
    if (invocation->command->fixed != NULL)
        buffer_text(buffer, invocation->command->fixed);
    for (size_t i = 0; i < invocation->count; i++) {
        const struct option *option = invocation->values[i].option;
        const char *text = invocation->values[i].text;

        if (option->argument == NULL || (except != NULL && has_word(except, option->argument)))
            continue;
        append_member(buffer, option->argument);
        if (option->kind == OPTION_FLAG)
            buffer_text(buffer, "true");
        else if (option->kind == OPTION_TEXT)
            buffer_json(buffer, text, strlen(text));
        else
            buffer_text(buffer, text);
    }
}

bool has_word(const char *words, const char *word)
{
    char spaced[80];

    snprintf(spaced, sizeof spaced, " %s ", word);
    return strstr(words, spaced) != NULL;
}

void append_member(struct buffer *buffer, const char *name)
{
    buffer_format(buffer, "%s\"%s\": ", buffer->length > 0 ? ", " : "", name);
}

static const struct option *find_long(const struct command *command, const char *name, size_t length)
{
    const struct option *tables[] = {command->options, global_options};

    for (size_t i = 0; i < 2; i++)
        for (const struct option *option = tables[i]; option != NULL && option->name != NULL; option++)
            if (strncmp(option->name, name, length) == 0 && option->name[length] == '\0')
                return option;
    return NULL;
}

static const struct option *find_letter(const struct command *command, char letter)
{
    const struct option *tables[] = {command->options, global_options};

    for (size_t i = 0; i < 2; i++)
        for (const struct option *option = tables[i]; option != NULL && option->name != NULL; option++)
            if (option->letter == letter)
                return option;
    return NULL;
}

/* Takes the option at words[*at], and its value; false when there is no such option. */
static bool take_option(struct invocation *invocation, int count, char **words, int *at)
{
    const struct command *command = invocation->command;
    char *word = words[*at];
    bool is_long = word[1] == '-';
    size_t length = is_long ? strcspn(word + 2, "=") : 1;
    const struct option *option = is_long ? find_long(command, word + 2, length) : find_letter(command, word[1]);
    char *value = NULL;

    if (option == NULL)
        return false;
    if (is_long && word[2 + length] == '=')
        value = word + 3 + length;
    else if (!is_long && word[2] != '\0')
        value = word + 2;
    if (option->kind == OPTION_FLAG) {
        if (value != NULL)
            usage_error(command, "--%s takes no value", option->name);
        value = word;
    } else if (value == NULL) {
        if (*at + 1 >= count)
            usage_error(command, "--%s needs a value", option->name);
        value = words[++*at];
    }
    if (strcmp(option->name, "url") == 0) {
        /* Others can read our command line: they need not find a password there. */
        char *visible = value;

        free(invocation->hidden_url);
        value = invocation->hidden_url = copy_text(visible);
        memset(visible, 'x', strlen(visible));
    }
    check_value(command, option, value);
    add_value(invocation, option, value);
    return true;
}

static void take_operand(struct invocation *invocation, const char *word)
{
    const struct option *operand = invocation->command->operands;
    size_t given = 0;

    for (size_t i = 0; i < invocation->count; i++)
        given += is_operand(invocation->command, invocation->values[i].option) ? 1 : 0;
    for (; operand != NULL && operand->name != NULL && given > 0; given--)
        operand++;
    if (operand == NULL || operand->name == NULL)
        usage_error(invocation->command, "unexpected argument \"%s\"", word);
    check_value(invocation->command, operand, word);
    add_value(invocation, operand, word);
}

/* A repeated option replaces the earlier one, so that each gives one argument. */
static void add_value(struct invocation *invocation, const struct option *option, const char *text)
{
    size_t at = 0;

    while (at < invocation->count && invocation->values[at].option != option)
        at++;
    if (at == invocation->count)
        invocation->values = reallocate(invocation->values, ++invocation->count * sizeof *invocation->values);
    invocation->values[at] = (struct value){option, text};
}

static void check_operands(const struct invocation *invocation)
{
    const struct command *command = invocation->command;

    if (option_flag(invocation, "help"))
        return;
    for (const struct option *operand = command->operands; operand != NULL && operand->name != NULL; operand++)
        if (operand->value == NULL && option_text(invocation, operand->name) == NULL)
            usage_error(command, "%s is missing", operand->name);
    if (command->rest != NULL && invocation->rest_count == 0)
        usage_error(command, "the command to run is missing");
}

static void check_value(const struct command *command, const struct option *option, const char *text)
{
    const char *dashes = is_operand(command, option) ? "" : "--";
    const char *problem;
    int64_t number;

    if (!utf8_valid(text, strlen(text)))
        usage_error(command, "%s%s is not UTF-8", dashes, option->name);
    if (option->kind == OPTION_INTEGER && !parse_integer(text, &number))
        usage_error(command, "%s%s must be a whole number", dashes, option->name);
    if (option->kind == OPTION_JSON && !json_check(text, strlen(text), &problem))
        usage_error(command, "%s%s is not JSON: %s", dashes, option->name, problem);
}

static bool parse_integer(const char *text, int64_t *number)
{
    char *end;

    /* Strict, because the text goes into JSON as it is. */
    if (text[strspn(text, "-0123456789")] != '\0' || (text[0] == '-' ? text[1] : text[0]) == '\0')
        return false;
    if ((text[0] == '0' && text[1] != '\0') || (text[0] == '-' && (text[1] == '0' || text[1] == '-')))
        return false;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool is_operand(const struct command *command, const struct option *option)
{
    for (const struct option *operand = command->operands; operand != NULL && operand->name != NULL; operand++)
        if (operand == option)
            return true;
    return false;
}
