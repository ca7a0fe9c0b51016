/*
 * backend.h - what a backend gives to the library, and what the library gives to its parts. Private.
 *
 * A connection belongs to one thread at a time; nothing here locks. What cloaca_interrupt touches is atomic.
 */
#ifndef CLO_BACKEND_H
#define CLO_BACKEND_H

#include "cloaca.h"
#include "common/arena.h"
#include "functions.h"

#include <stdatomic.h>

/* Where rows go: called for each, with a value for each column of the function. False when memory ran out. */
typedef struct clo_sink {
    bool (*row)(void *context, const clo_value *values);
    void *context;
} clo_sink;

typedef struct clo_backend {
    cloaca_backend kind;
    /* Runs a function: `arguments` has a value for each parameter, in order. All or nothing. */
    cloaca_status (*call)(cloaca *connection, const clo_function *function, const clo_value *arguments, const clo_sink *sink,
                          cloaca_error *error);
    cloaca_status (*init)(cloaca *connection, cloaca_error *error);
    cloaca_status (*begin)(cloaca *connection, cloaca_error *error);
    cloaca_status (*commit)(cloaca *connection, cloaca_error *error);
    cloaca_status (*rollback)(cloaca *connection, cloaca_error *error);
    cloaca_status (*execute)(cloaca *connection, const char *sql, cloaca_error *error);
    cloaca_status (*set_clock)(cloaca *connection, int64_t now, cloaca_error *error);
    cloaca_status (*set_random)(cloaca *connection, double random, cloaca_error *error);
    /* The verifier that the server stores in place of the password, in the arena. */
    cloaca_status (*verifier)(cloaca *connection, const char *password, clo_arena *arena, const char **verifier,
                              cloaca_error *error);
    /* Where the server was found: a host's name or the directory of its socket; NULL when that is not known. */
    const char *(*host)(cloaca *connection);
    bool (*in_transaction)(cloaca *connection);
    /* Whether the connection still is, as far as that can be told without asking the server. NULL: it always is. */
    bool (*is_there)(cloaca *connection);
    cloaca_status (*bind_leases)(cloaca *connection, bool on, cloaca_error *error);
    /*
     * A backend that waits at its server begins, says what to poll, checks whether the row has come, and cancels, which gives a
     * row only when it had come before. The others, without wait_begin, are looked at by wait.c again and again.
     */
    cloaca_status (*wait_begin)(cloaca *connection, const clo_function *function, const clo_value *arguments,
                                cloaca_error *error);
    int (*wait_descriptor)(const cloaca *connection);
    cloaca_status (*wait_check)(cloaca *connection, const clo_sink *sink, bool *done, cloaca_error *error);
    cloaca_status (*wait_cancel)(cloaca *connection, const clo_sink *sink, cloaca_error *error);
    /* For looking again: through which connection (this one, or another that is to be closed), whether anything was written
     * since the last time, and the time. A call of the function then gives its row with one value more, the time when the
     * answer may change by itself. */
    cloaca_status (*watch_begin)(cloaca *connection, cloaca **watcher, cloaca_error *error);
    cloaca_status (*watch_changed)(cloaca *connection, bool *changed, cloaca_error *error);
    int64_t (*now)(const cloaca *connection);
    void (*close)(cloaca *connection);
} clo_backend;

/* A wait under way, and what interrupts it: the flag is set first, so that a pipe made just then is not needed. */
typedef struct clo_wait {
    const clo_function *function; /* NULL: none is under way */
    atomic_bool interrupted;
    atomic_bool has_pipe;
    int pipe[2];                              /* a byte in it wakes a wait that blocks */
    int64_t deadline;                         /* on the monotonic clock; INT64_MAX: none */
    clo_value arguments[CLO_PARAMETER_LIMIT]; /* from here on for looking again alone */
    clo_arena arena;                          /* what they point to */
    cloaca *watcher;                          /* NULL: not looked a second time yet */
    bool stale;                               /* there is no answer: look at the next check */
    bool ready;
    clo_value answer; /* when it is ready */
    int64_t next_at;  /* the answer may change then by itself; INT64_MAX: never */
    int64_t pause;
} clo_wait;

/*
 * What ends calls that something holds up: the call is cancelled and fails with CLOACA_TIMEOUT (SQLite: or CLOACA_BUSY), and
 * when the server does not even answer that, the connection counts as lost. Opening a connection heeds it, too.
 */
typedef struct clo_guard {
    int64_t limit;       /* on the monotonic clock, 0: none; for the thread that makes the calls */
    atomic_bool aborted; /* from any thread, for good: no call may wait any more */
} clo_guard;

/* The start of each backend's own connection struct. */
struct cloaca {
    const clo_backend *backend;
    const clo_guard *guard; /* NULL: calls take as long as they take */
    bool borrowed;          /* the handle is the caller's */
    bool direct;            /* the URL said so */
    bool began;             /* cloaca_begin without commit or rollback yet */
    clo_arena scratch;      /* for the call that runs */
    clo_wait wait;
};

/* One option of a URL. */
typedef struct clo_option {
    const char *name;
    const char *value;
} clo_option;

/* A URL without what is ours; the strings live in the arena. */
typedef struct clo_url {
    cloaca_backend backend;
    const char *location; /* PostgreSQL: the URL for libpq; SQLite: the file name */
    const char *schema;   /* PostgreSQL: the tenant's schema, or NULL */
    bool direct;          /* PostgreSQL */
    size_t option_count;  /* SQLite */
    clo_option options[8];
} clo_url;

/* url.c */
cloaca_status clo_url_parse(const char *url, clo_arena *arena, clo_url *parsed, cloaca_error *error);

/* connection.c: as cloaca_open, with a guard that outlives the connection, or NULL. */
cloaca_status clo_open(const char *url, const clo_guard *guard, cloaca **connection, cloaca_error *error);

/* handle.c: how many milliseconds a call may still wait before it asks again; 0: no longer. */
int clo_guard_left(const clo_guard *guard);

/* backend_postgres.c */
bool clo_postgres_option(const char *name);
cloaca_status clo_postgres_open(const clo_url *url, const clo_guard *guard, cloaca **connection, cloaca_error *error);
cloaca_status clo_postgres_attach(void *handle, cloaca **connection, cloaca_error *error);

/* backend_sqlite.c */
cloaca_status clo_sqlite_open(const clo_url *url, const clo_guard *guard, cloaca **connection, cloaca_error *error);
cloaca_status clo_sqlite_attach(void *handle, bool cache, cloaca **connection, cloaca_error *error);

/* sqlite_functions.c: registers them on a handle; returns an SQLite code. */
int clo_sqlite_functions(void *database);

/* sqlite_cron.c: the same for cron expressions and time zones. */
int clo_sqlite_cron(void *database);

/* call.c: checks of arguments, the same for every backend. */
const clo_function *clo_function_find(const char *name, size_t length);
cloaca_status clo_call(cloaca *connection, const clo_function *function, const clo_value *arguments, const clo_sink *sink,
                       cloaca_error *error);
/* Whether the connection can take a statement: not while it waits, and not in a transaction that the database gave up. */
cloaca_status clo_check_usable(cloaca *connection, cloaca_error *error);
/* Texts, or documents, as one JSON array in a value of the connection's arena; a NULL among them is null. */
cloaca_status clo_read_list(cloaca *connection, const clo_parameter *parameter, const char *const *texts, size_t count,
                            clo_value *value, cloaca_error *error);
/* Reads the text of a parameter in the form of the type map; JSON types take JSON text. */
cloaca_status clo_read_text(const clo_parameter *parameter, const char *text, size_t length, clo_arena *arena, clo_value *value,
                            cloaca_error *error);
cloaca_status clo_read_integer(const clo_parameter *parameter, int64_t integer, clo_value *value, cloaca_error *error);

/* wait.c */
cloaca_status clo_wait_for(cloaca *connection, const clo_function *function, const clo_value *arguments, const clo_sink *sink,
                           cloaca_error *error);
void clo_wait_end(cloaca *connection);

/* result.c */
cloaca_result *clo_result_new(const clo_function *function);
bool clo_result_row(void *result, const clo_value *values);
bool clo_result_set(cloaca_result *result, size_t row, const char *name, const char *text, size_t length);
void clo_result_keep_secret(cloaca_result *result);
/* Writes a value of a type in the form of the type map; integers only. */
size_t clo_format(cloaca_type type, int64_t integer, char *text, size_t size);
#define CLO_FORMAT_SIZE 64

/* tenant.c */
cloaca_status clo_call_with_credentials(cloaca *connection, const clo_function *function, const clo_value *arguments,
                                        cloaca_result **result, cloaca_error *error);

/* error.c */
void clo_error_clear(cloaca_error *error);
cloaca_status clo_fail(cloaca_error *error, cloaca_status status, const char *detail, ...)
    __attribute__((format(printf, 3, 4)));
void clo_error_hint(cloaca_error *error, const char *hint);
/* Copies text that somebody else wrote as a sentence on one line, cut at a character. */
void clo_error_copy(char *field, size_t size, const char *text, size_t length);
cloaca_status clo_status_of_sqlstate(const char *sqlstate);
cloaca_status clo_status_named(const char *name);
cloaca_status clo_no_memory(cloaca_error *error);

#endif
