/*
 * functions.h - what the library knows of each function: the tables that sql/embed.pl writes from the SQL files
 *
 * Constant data: shared by all threads and connections.
 */
#ifndef CLO_FUNCTIONS_H
#define CLO_FUNCTIONS_H

#include "cloaca.h"
#include "function_ids.h"

/* A value on its way to or from a backend. */
typedef enum clo_kind {
    CLO_OMITTED = 0, /* not given: the default counts */
    CLO_NULL,
    CLO_INTEGER, /* boolean, the integers, timestamptz and interval (microseconds) */
    CLO_TEXT     /* text; jsonb and arrays as canonical JSON text; ends with a zero that does not count */
} clo_kind;

typedef struct clo_value {
    clo_kind kind;
    int64_t integer;
    const char *text;
    size_t length;
} clo_value;

typedef struct clo_parameter {
    const char *name;
    cloaca_type type;
    bool required;
    clo_value value; /* the default */
} clo_parameter;

typedef struct clo_column {
    const char *name;
    cloaca_type type;
} clo_column;

typedef struct clo_statement {
    const char *sql;
    cloaca_status raises; /* when it returns a row; CLOACA_OK: nothing */
    unsigned short next;  /* the number of the one that runs after it */
    unsigned short skip;  /* the same when it tests something and returns no row */
    bool tests;
    bool inner; /* runs only when something is so, if at all */
} clo_statement;

typedef struct clo_function {
    const char *name;
    const char *signature;
    size_t parameter_count;
    const clo_parameter *parameters;
    size_t column_count;
    const clo_column *columns;
    size_t statement_count;
    const clo_statement *statements;
    int id; /* its place in clo_functions */
    bool procedure;
    bool waits; /* a procedure that takes its time, with one boolean or text as its result: wait.c runs it */
    bool postgres_only;
    bool writes;
    bool credentials; /* takes a password and returns a connection string */
} clo_function;

/* No function has more parameters, or more columns; sql/embed.pl sees to it. */
#define CLO_PARAMETER_LIMIT 16
#define CLO_COLUMN_LIMIT 32

extern const clo_function clo_functions[CLO_FUNCTION_COUNT];
extern const char *const clo_sqlite_tables[]; /* ends with NULL */

#endif
