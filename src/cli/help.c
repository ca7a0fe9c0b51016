/*
 * help.c - help and completion, made from the table of commands so that neither can be out of date
 */
#define _GNU_SOURCE
#include "cli.h"

#include <stdio.h>
#include <string.h>

static void print_option(const struct option *option);
static void print_words(const struct option *options);
static bool takes_value(const struct command *command, const char *word);

void print_help(const struct command *command)
{
    if (command == NULL) {
        printf(
            "usage: cloaca COMMAND [OPTION...] [ARGUMENT...]\n\nDurable tasks inside the database that you already run.\n\n");
        for (command = commands; command->name != NULL; command++)
            printf("  %-22s %s\n", command->name, command->summary);
        printf("\nEvery command:\n");
        for (const struct option *option = global_options; option->name != NULL; option++)
            print_option(option);
        printf("\nDATABASE_URL names the database when --url does not. See cloaca COMMAND --help, and cloaca(1).\n");
        return;
    }
    print_usage(command);
    printf("\n%s.\n", command->summary);
    if (command->operands != NULL) {
        printf("\n");
        for (const struct option *operand = command->operands; operand->name != NULL; operand++)
            printf("  %-26s %s\n", operand->name, operand->help);
    }
    if (command->options != NULL) {
        printf("\n");
        for (const struct option *option = command->options; option->name != NULL; option++)
            print_option(option);
    }
    if (command->notes != NULL)
        printf("\n%s", command->notes);
    printf("\nEvery command:\n");
    for (const struct option *option = global_options; option->name != NULL; option++)
        print_option(option);
}

/* The commands of a noun: "queue list", ... */
void print_family(const char *noun)
{
    size_t length = strlen(noun);

    printf("usage: cloaca %s COMMAND [OPTION...] [ARGUMENT...]\n\n", noun);
    for (const struct command *command = commands; command->name != NULL; command++)
        if (strncmp(command->name, noun, length) == 0 && command->name[length] == ' ')
            printf("  %-22s %s\n", command->name, command->summary);
}

void print_usage(const struct command *command)
{
    printf("usage: cloaca %s%s", command->name, command->options != NULL ? " [OPTION...]" : "");
    for (const struct option *operand = command->operands; operand != NULL && operand->name != NULL; operand++)
        printf(operand->value != NULL ? " [%s]" : " %s", operand->name);
    printf("%s%s\n", command->rest != NULL ? " [--] " : "", command->rest != NULL ? command->rest : "");
}

/*
 * What may come next, a candidate a line, after these words of the command line (without the one being typed).
 */
void print_candidates(int count, char **words)
{
    const struct command *command = NULL;
    const char *noun = NULL;
    int at = 0;

    while (at < count && words[at][0] == '-')
        at += strcmp(words[at], "--url") == 0 || strcmp(words[at], "-u") == 0 ? 2 : 1;
    if (at < count) {
        noun = words[at];
        command = find_command(noun, at + 1 < count ? words[at + 1] : NULL);
    }
    if (command == NULL) {
        size_t length = noun != NULL ? strlen(noun) : 0;

        for (const struct command *each = commands; each->name != NULL; each++)
            if (noun == NULL)
                printf("%.*s\n", (int) strcspn(each->name, " "), each->name);
            else if (strncmp(each->name, noun, length) == 0 && each->name[length] == ' ')
                printf("%s\n", each->name + length + 1);
        print_words(noun == NULL ? global_options : NULL);
        return;
    }
    if (command->rest != NULL && count > 0 && strcmp(words[count - 1], "--") == 0)
        return;
    if (takes_value(command, words[count - 1]))
        return;
    if (strcmp(command->name, "call") == 0 && at == count - 1)
        for (size_t i = 0; cloaca_function_name(i) != NULL; i++)
            printf("%s\n", cloaca_function_name(i));
    print_words(command->options);
    print_words(global_options);
}

static void print_option(const struct option *option)
{
    char left[64];

    snprintf(left, sizeof left, "%c%c%s --%s%s%s", option->letter != 0 ? '-' : ' ', option->letter != 0 ? option->letter : ' ',
             option->letter != 0 ? "," : " ", option->name, option->kind != OPTION_FLAG ? " " : "",
             option->kind != OPTION_FLAG ? option->value : "");
    printf("  %-26s %s\n", left, option->help);
}

static void print_words(const struct option *options)
{
    for (; options != NULL && options->name != NULL; options++)
        printf("--%s\n", options->name);
}

/* Is the word an option whose value comes next? */
static bool takes_value(const struct command *command, const char *word)
{
    const struct option *tables[] = {command->options, global_options};

    for (size_t i = 0; i < 2; i++)
        for (const struct option *option = tables[i]; option != NULL && option->name != NULL; option++)
            if (option->kind != OPTION_FLAG && ((strncmp(word, "--", 2) == 0 && strcmp(option->name, word + 2) == 0) ||
                                                (word[0] == '-' && word[1] == option->letter && word[2] == '\0')))
                return true;
    return false;
}
