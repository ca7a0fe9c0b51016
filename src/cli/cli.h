/*
 * cli.h - what the parts of the `cloaca` command share
 *
 * A command is a row of the table in commands.c: its words, its operands and options (each may stand for an argument of the SQL
 * function), the function that it calls, how its rows are shown. Commands that need more have a `run` of their own.
 * One process, one thread, one connection, except that `work` has the threads and connections of a runner.
 */
#ifndef CLOACA_CLI_H
#define CLOACA_CLI_H

#include "cloaca.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses, documented in the man page. */
enum {
    STATUS_OK = 0,
    STATUS_ERROR = 1,     /* it failed, and will fail again unchanged */
    STATUS_USAGE = 2,     /* the command line is wrong */
    STATUS_UNKNOWN = 3,   /* no such task, queue, dead letter, workflow, execution, schedule, tenant or function */
    STATUS_TEMPORARY = 4, /* it failed and changed nothing; it may succeed later */
    STATUS_UNCERTAIN = 5  /* the connection broke during the commit: it may or may not have happened */
};

enum option_kind { OPTION_TEXT, OPTION_INTEGER, OPTION_JSON, OPTION_FLAG };

/* An option or an operand. A table of them ends with a name of NULL. */
struct option {
    const char *name; /* "queue" for --queue; for an operand the word of the usage line, "QUEUE" */
    char letter;      /* 'q' for -q, or 0 */
    enum option_kind kind;
    const char *argument; /* the argument of the SQL function that it gives; NULL: the command itself reads it */
    const char *value;    /* the word for its value in the help; for an operand "?" when it may be left out */
    const char *help;
};

enum shape { SHAPE_ROWS, SHAPE_ROW, SHAPE_NOTHING };

struct invocation;

struct command {
    const char *name;     /* "enqueue", "tenant create" */
    const char *summary;  /* one line */
    const char *function; /* the SQL function */
    enum shape shape;
    const struct option *operands;
    const struct option *options;
    const char *fixed;   /* arguments that the command always gives, as JSON members */
    const char *columns; /* the columns of the table for people, " a b c "; NULL: all */
    const char *rest;    /* "COMMAND [ARGUMENT...]": the words from the first operand on are not ours */
    const char *notes;   /* more help */
    int (*run)(const struct invocation *invocation);
};

struct value {
    const struct option *option;
    const char *text;
};

/* A parsed command line. */
struct invocation {
    const struct command *command;
    const char *url;
    char *hidden_url; /* the copy of --url, whose word on the command line is overwritten */
    bool json;        /* JSON was asked for, or stdout is no terminal */
    struct value *values;
    size_t count;
    char **rest;
    int rest_count;
};

/* commands.c: ends with a name of NULL. */
extern const struct command commands[];
extern const struct option global_options[];

/* options.c */
const struct command *find_command(const char *noun, const char *verb);
void parse_command_line(struct invocation *invocation, int count, char **words);
const char *option_text(const struct invocation *invocation, const char *name);
bool option_flag(const struct invocation *invocation, const char *name);
int64_t option_integer(const struct invocation *invocation, const char *name, int64_t low, int64_t high, int64_t fallback);
int64_t option_duration(const struct invocation *invocation, const char *name, int64_t fallback);
/* The arguments of the SQL function, as JSON members without braces; those of `except`, " a b " or NULL, are left out. */
void append_arguments(const struct invocation *invocation, const char *except, struct buffer *buffer);
/* Is the word in a list such as " a b c "? */
bool has_word(const char *words, const char *word);
void append_member(struct buffer *buffer, const char *name);

/* main.c: errors, and the connection. */
void usage_error(const struct command *command, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* What went wrong here, not in the database: says it, and returns STATUS_ERROR. The hint may be empty. */
int complain(const char *hint, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says what went wrong, and returns the exit status. */
int report(const struct invocation *invocation, const cloaca_error *error);
int status_of(const cloaca_error *error);
/* The one that was given; there must be one. */
const char *database_url(const struct invocation *invocation);
int open_connection(const struct invocation *invocation, cloaca **connection);

/* help.c */
void print_help(const struct command *command);
void print_family(const char *noun);
void print_usage(const struct command *command);
void print_candidates(int count, char **words);

/* call.c: the commands that only call a function, and those that page. */
int run_call(const struct invocation *invocation);
int run_generic(const struct invocation *invocation);
int run_pages(const struct invocation *invocation);
int run_maintain(const struct invocation *invocation);
int run_init(const struct invocation *invocation);
int run_functions(const struct invocation *invocation);

/* The other subjects. */
int run_tenant_secret(const struct invocation *invocation); /* tenant.c: those that take a password */
int run_tenant_drop(const struct invocation *invocation);
int run_enqueue(const struct invocation *invocation);
int run_work(const struct invocation *invocation);
int run_workflow_define(const struct invocation *invocation); /* workflow.c */
int run_workflow_start(const struct invocation *invocation);
int run_workflow_status(const struct invocation *invocation);
int run_workflow_graph(const struct invocation *invocation);

/* output.c: a table of text values, for people or as JSON. */
struct table {
    size_t columns;
    size_t rows;
    size_t capacity;
    const char **names;
    cloaca_type *types;
    const char **values; /* row by row; owned by whoever filled the table */
};

void table_add_result(struct table *table, const cloaca_result *result);
void table_add_number(struct table *table, const char *name, const char *number);
void table_free(struct table *table);
void print_table(const struct invocation *invocation, const struct table *table, enum shape shape);
void print_result(const struct invocation *invocation, const cloaca_result *result, enum shape shape);
/* JSON rows over several results: begin, rows, end. */
void print_json_rows(const struct table *table, bool *first);
/* One row as an object on a line of its own. */
void print_json_line(const struct table *table, size_t row);
/* One line on the terminal that is written over and over; nothing when stderr is none. */
void show_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
void clear_progress(void);
/* Writes out what was printed so far; false when that failed, now or before. At the end of the program it also says why. */
bool flush_output(void);
bool end_output(void);
/* The columns of the terminal, or 0 when stdout is none. */
int screen_width(void);

#endif
