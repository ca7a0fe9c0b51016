/*
 * cloaca.h - durable tasks inside the database that you already run
 *
 * One header for PostgreSQL and SQLite. A connection is opened by URL, functions are called by name with named arguments,
 * and every call answers with a status, a result that the caller frees, and, when it failed, an error struct that the caller
 * owns.
 *
 * Threads: a connection belongs to one thread at a time; only cloaca_interrupt may come from another. The library has no
 * globals, installs no signal handler and never prints. Strings are UTF-8. Times are microseconds since 1970-01-01 UTC,
 * intervals microseconds.
 */
#ifndef CLOACA_H
#define CLOACA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a call came to: one value for each condition of sql/conditions, in its order. */
typedef enum cloaca_status {
    CLOACA_OK = 0,
    CLOACA_INVALID_ARGUMENT,       /* an argument is null, out of range or malformed */
    CLOACA_INVALID_NAME,           /* a name is empty, too long, reserved or has characters that it must not have */
    CLOACA_NAME_TAKEN,             /* a schema or role of that name exists */
    CLOACA_UNKNOWN_TENANT,         /* no such tenant, or none for this role */
    CLOACA_UNKNOWN_QUEUE,          /* no such queue */
    CLOACA_UNKNOWN_TASK,           /* no such task, or not in the state that the call needs */
    CLOACA_UNKNOWN_DEAD_LETTER,    /* no such dead letter */
    CLOACA_UNKNOWN_FUNCTION,       /* cloaca has no function of that name */
    CLOACA_LEASE_LOST,             /* the task is not held under this lease; nothing was changed */
    CLOACA_CANCELLED,              /* the task was cancelled while it ran; release it to acknowledge */
    CLOACA_DUPLICATE_KEY,          /* another live task of the queue has the key */
    CLOACA_QUEUE_NOT_EMPTY,        /* the queue still has tasks */
    CLOACA_TENANT_OUTDATED,        /* the tenant's tables are older than the functions: migrate_tenants */
    CLOACA_TENANT_IN_USE,          /* something still depends on the tenant; the detail names it */
    CLOACA_NOT_SUPPORTED,          /* this backend does not have that */
    CLOACA_IN_TRANSACTION,         /* the call commits by itself and cannot run inside a transaction block */
    CLOACA_INSUFFICIENT_PRIVILEGE, /* the role may not do that */
    CLOACA_AUTHENTICATION_FAILED,  /* wrong user or password */
    CLOACA_UNKNOWN_DATABASE,       /* no such database, or the file cannot be opened */
    CLOACA_CONNECTION_REFUSED,     /* the server cannot be reached */
    CLOACA_CONNECTION_LOST,        /* the connection broke; an uncommitted transaction is rolled back */
    CLOACA_COMMIT_UNKNOWN,         /* the connection broke during a commit: it may or may not have happened */
    CLOACA_TIMEOUT,                /* the server or the caller cut the call short */
    CLOACA_BUSY,                   /* another connection holds the lock; nothing was changed */
    CLOACA_CONFLICT,               /* a serialization failure or deadlock; the transaction is rolled back */
    CLOACA_READ_ONLY,              /* the database cannot be written */
    CLOACA_STORAGE_FULL,           /* the disk or the file is full; nothing was changed */
    CLOACA_NOT_A_DATABASE,         /* the file is no SQLite database, or the database has no cloaca in it */
    CLOACA_UNKNOWN_WORKFLOW,       /* no workflow of that name, or no such version */
    CLOACA_INVALID_DEFINITION,     /* a workflow's definition that cannot be */
    CLOACA_UNKNOWN_EXECUTION,      /* no execution of that id */
    CLOACA_EXECUTION_FINISHED,     /* the execution has ended */
    CLOACA_UNKNOWN_SCHEDULE,       /* no schedule of that name */
    CLOACA_OUT_OF_MEMORY,          /* memory ran out */
    CLOACA_DATABASE_ERROR          /* anything else that the database said */
} cloaca_status;

/* Why a call failed. Owned by the caller, filled by the library; never holds a password. */
typedef struct cloaca_error {
    cloaca_status status;
    char sqlstate[6];
    char message[512];        /* lower-case, one line */
    char detail[1024];        /* a full sentence, or empty */
    char hint[512];           /* a full sentence, or empty */
    bool retryable;           /* the same call may succeed later */
    bool transaction_aborted; /* the transaction in progress can only be rolled back */
    bool connection_lost;     /* close the connection and open another */
    bool commit_unknown;      /* the commit may or may not have happened */
} cloaca_error;

typedef struct cloaca cloaca;               /* a connection */
typedef struct cloaca_result cloaca_result; /* rows that a function returned */

typedef enum cloaca_backend { CLOACA_POSTGRES = 1, CLOACA_SQLITE = 2 } cloaca_backend;

typedef enum cloaca_type {
    CLOACA_TYPE_BOOLEAN = 1,
    CLOACA_TYPE_SMALLINT,
    CLOACA_TYPE_INTEGER,
    CLOACA_TYPE_BIGINT,
    CLOACA_TYPE_TEXT,
    CLOACA_TYPE_JSONB,
    CLOACA_TYPE_TIMESTAMPTZ,
    CLOACA_TYPE_INTERVAL,
    CLOACA_TYPE_BIGINT_ARRAY,
    CLOACA_TYPE_TEXT_ARRAY,
    CLOACA_TYPE_JSONB_ARRAY
} cloaca_type;

/* The version of the library, such as "0.1.0". */
const char *cloaca_version(void);

/* The name of a condition ("lease_lost"), and its SQLSTATE ("ZC009"); "ok" and "00000" for CLOACA_OK. */
const char *cloaca_status_name(cloaca_status status);
const char *cloaca_status_sqlstate(cloaca_status status);

/*
 * Opens a connection.
 *
 * url: postgresql://user:password@host:port/database?option=value, with libpq's options and `schema` (the tenant's schema;
 *      the role's own tenant without it) and `direct` (true: the URL leads straight to the server, not through a pooler; false
 *      is the default); pool_min_size, pool_max_size and pool_timeout are for pools, and only checked here.
 *      Or sqlite:///relative.db, sqlite:////absolute.db, sqlite:///:memory: with `mode` (ro, rw, rwc: the default),
 *      `_journal_mode` (WAL), `_synchronous` (NORMAL) and `_busy_timeout` (5000, milliseconds).
 *
 * A SQLite file gets its tables at the first call. On failure *connection is NULL.
 */
cloaca_status cloaca_open(const char *url, cloaca **connection, cloaca_error *error);

/*
 * Borrows a connection that the program already has, so that calls run inside the caller's own transaction.
 *
 * handle: a PGconn * or a sqlite3 *, idle, which stays the caller's and must outlive the cloaca handle.
 */
cloaca_status cloaca_attach(cloaca_backend backend, void *handle, cloaca **connection, cloaca_error *error);

/* Closes the connection (a borrowed one is left open); a transaction in progress of our own is rolled back. NULL is allowed. */
void cloaca_close(cloaca *connection);

cloaca_backend cloaca_backend_of(const cloaca *connection);

/* Whether the URL said direct=true: then, and only then, a server session is the connection's own (see cloaca_bind_leases). */
bool cloaca_is_direct(const cloaca *connection);

/* Creates what cloaca needs in the database: the tables of a SQLite file, or the extension on PostgreSQL. Doing it again is
 * harmless. */
cloaca_status cloaca_init(cloaca *connection, cloaca_error *error);

/*
 * One transaction around several calls; nested begins are refused with CLOACA_IN_TRANSACTION. A call that fails changes
 * nothing. On PostgreSQL the transaction can then only be rolled back, as transaction_aborted says; on SQLite it goes on
 * without the call.
 */
cloaca_status cloaca_begin(cloaca *connection, cloaca_error *error);
cloaca_status cloaca_commit(cloaca *connection, cloaca_error *error);
cloaca_status cloaca_rollback(cloaca *connection, cloaca_error *error);

/* Runs the caller's own SQL, one statement or several without parameters, on the same connection and in the same transaction.
 */
cloaca_status cloaca_execute(cloaca *connection, const char *sql, cloaca_error *error);

/*
 * Calls a function by its SQL name.
 *
 * arguments: a JSON object with the arguments by name, such as {"queue": "mail", "max": 10}, or NULL for none. Arrays are JSON
 *            arrays, intervals text in PostgreSQL's spelling ("90 seconds", "1 day 02:00:00"), times ISO 8601 text with a zone.
 * result: the rows, to be freed with cloaca_result_free; may be NULL when they are not wanted.
 */
cloaca_status cloaca_call(cloaca *connection, const char *function, const char *arguments, cloaca_result **result,
                          cloaca_error *error);

/* Reading a result. Rows and columns count from 0; a value is NULL for SQL null, and text in the form of the type map else. */
size_t cloaca_result_rows(const cloaca_result *result);
size_t cloaca_result_columns(const cloaca_result *result);
const char *cloaca_result_name(const cloaca_result *result, size_t column);
cloaca_type cloaca_result_type(const cloaca_result *result, size_t column);
const char *cloaca_result_value(const cloaca_result *result, size_t row, size_t column);
/* The value of a named column; NULL when it is null or there is none. */
const char *cloaca_result_get(const cloaca_result *result, size_t row, const char *name);
/* All rows as JSON, an array of objects; the caller frees it with cloaca_free. NULL when memory runs out. */
char *cloaca_result_json(const cloaca_result *result);
void cloaca_result_free(cloaca_result *result);
void cloaca_free(void *memory);

/* The functions that the library knows, for help and completion: name and signature by index, NULL past the end. */
const char *cloaca_function_name(size_t index);
const char *cloaca_function_signature(size_t index);

/* Typed wrappers of the task functions. A negative interval, and a time of CLOACA_NO_TIME, stand for null. */
#define CLOACA_NO_TIME INT64_MIN
#define CLOACA_NO_INTERVAL (-1)

/* What to enqueue. Zeroed with CLOACA_ENQUEUE_INIT, then name and whatever differs from the default. */
typedef struct cloaca_enqueue_options {
    const char *queue;    /* NULL: "default" */
    const char *name;     /* required */
    const char *payload;  /* JSON text; NULL: {} */
    int16_t priority;     /* smaller runs first */
    int64_t run_at;       /* CLOACA_NO_TIME: now */
    int64_t delay;        /* CLOACA_NO_INTERVAL: none */
    const char *key;      /* NULL: none */
    int32_t max_attempts; /* 0: the queue's */
    const char *retry;    /* JSON text; NULL: the queue's */
} cloaca_enqueue_options;
#define CLOACA_ENQUEUE_INIT                                                                                                    \
    {                                                                                                                          \
        NULL, NULL, NULL, 0, CLOACA_NO_TIME, CLOACA_NO_INTERVAL, NULL, 0, NULL                                                 \
    }

/* A claimed task. The strings belong to the cloaca_tasks that holds it. */
typedef struct cloaca_task {
    int64_t task;
    int64_t lease_id;
    int32_t attempt;
    int32_t max_attempts;
    int16_t priority;
    const char *name;
    const char *payload; /* JSON text */
    int64_t run_at;
    int64_t lease_until;
    int64_t execution; /* 0: none */
} cloaca_task;

typedef struct cloaca_tasks {
    size_t count;
    cloaca_task *tasks;
} cloaca_tasks;

cloaca_status cloaca_enqueue(cloaca *connection, const cloaca_enqueue_options *options, int64_t *task, bool *created,
                             cloaca_error *error);
/* payloads and, unless NULL, keys have `count` elements; *tasks, unless NULL, gets an id for each. */
cloaca_status cloaca_enqueue_many(cloaca *connection, const cloaca_enqueue_options *options, size_t count,
                                  const char *const *payloads, const char *const *keys, int64_t *tasks, bool *created,
                                  cloaca_error *error);
/* *tasks is to be freed with cloaca_tasks_free; it is NULL when the call failed and empty when there was nothing to claim. */
cloaca_status cloaca_claim(cloaca *connection, const char *queue, const char *worker, int32_t max, int64_t lease,
                           cloaca_tasks **tasks, cloaca_error *error);
void cloaca_tasks_free(cloaca_tasks *tasks);
cloaca_status cloaca_extend(cloaca *connection, int64_t task, int64_t lease_id, int64_t lease, int64_t *lease_until,
                            cloaca_error *error);
/* outcomes as for cloaca_complete_many: CLOACA_OK where the lease goes on. */
cloaca_status cloaca_extend_many(cloaca *connection, size_t count, const int64_t *tasks, const int64_t *lease_ids,
                                 int64_t lease, cloaca_status *outcomes, cloaca_error *error);
cloaca_status cloaca_complete(cloaca *connection, int64_t task, int64_t lease_id, const char *result, cloaca_error *error);
/* outcomes, unless NULL, gets CLOACA_OK, CLOACA_LEASE_LOST or CLOACA_CANCELLED for each task. */
cloaca_status cloaca_complete_many(cloaca *connection, size_t count, const int64_t *tasks, const int64_t *lease_ids,
                                   const char *const *results, cloaca_status *outcomes, cloaca_error *error);
/* *dead, unless NULL, says whether the task went to the dead letters. */
cloaca_status cloaca_fail(cloaca *connection, int64_t task, int64_t lease_id, const char *message, bool final, int64_t retry_in,
                          bool *dead, cloaca_error *error);
cloaca_status cloaca_release(cloaca *connection, int64_t task, int64_t lease_id, cloaca_error *error);
cloaca_status cloaca_defer_until(cloaca *connection, int64_t task, int64_t lease_id, int64_t run_at, cloaca_error *error);
/* *cancelling, unless NULL, says whether a worker still holds the task; otherwise it is gone. */
cloaca_status cloaca_cancel_task(cloaca *connection, int64_t task, bool *cancelling, cloaca_error *error);
/* Either a task (0: none) or a queue (NULL: none), whose oldest `max` dead letters go back (0: all). *retried may be NULL. */
cloaca_status cloaca_retry_task(cloaca *connection, int64_t task, const char *queue, int32_t max, int64_t *retried,
                                cloaca_error *error);
/* The rows, as from cloaca_call, to be freed with cloaca_result_free; *result is NULL when the call failed. */
cloaca_status cloaca_get_task(cloaca *connection, int64_t task, cloaca_result **result, cloaca_error *error);
/* NULL for queue, state and name: any. Tasks after the id `after` (0: from the first), at most `max` (0: the default, 100). */
cloaca_status cloaca_list_tasks(cloaca *connection, const char *queue, const char *state, const char *name, int64_t after,
                                int32_t max, cloaca_result **result, cloaca_error *error);

/*
 * Waiting for work, instead of claiming again and again from queues that are empty.
 *
 * cloaca_wait_for_task blocks until one of the queues has a task that a claim would get (*ready is true: claim at once, for
 * others may be faster), until the timeout is over, or until cloaca_interrupt (*ready is false). On PostgreSQL the server
 * sleeps and wakes; on SQLite the library looks whether the file has changed, every 5 to 50 ms. Tasks that become due, leases
 * that end and queues that are resumed wake it too. One wait serves any number of queues, and as a rule a whole process.
 *
 * queues: `count` names, 1 to 1000. timeout: microseconds, 0 (look once) to 10 years; CLOACA_NO_INTERVAL: none. ready may be
 * NULL.
 * Errors: CLOACA_INVALID_ARGUMENT, CLOACA_INVALID_NAME; CLOACA_IN_TRANSACTION inside a transaction, which stays as it is;
 * CLOACA_TIMEOUT when the server's statement_timeout is shorter; CLOACA_UNKNOWN_FUNCTION when its cloaca is too old to wait, so
 * that the caller has to poll; CLOACA_NOT_SUPPORTED on SQLite while a statement of the caller's reads a file that is not in WAL
 * mode, since no other connection could then write.
 */
cloaca_status cloaca_wait_for_task(cloaca *connection, size_t count, const char *const *queues, int64_t timeout, bool *ready,
                                   cloaca_error *error);

/*
 * The same for event loops; nothing of this blocks but cloaca_wait_cancel, which asks the server and waits for its answer.
 *
 * cloaca_wait_begin starts a wait, with the arguments and errors of cloaca_wait_for_task. Until it is over, every other call on
 * the connection is refused with CLOACA_INVALID_ARGUMENT, except cloaca_close, which cancels it.
 *
 * cloaca_wait_descriptor: what to poll for reading, or -1 when there is nothing to poll (SQLite, or no wait under way). It
 * stays the same until the wait is over.
 *
 * cloaca_wait_check says whether the wait is over, in *done, and then whether there is work, in *ready. Else it wants to be
 * called again when the descriptor can be read, and after *again microseconds at the latest (CLOACA_NO_INTERVAL: the
 * descriptor alone counts). A check that fails ends the wait, with *done true. Without a wait under way:
 * CLOACA_INVALID_ARGUMENT.
 *
 * cloaca_wait_cancel ends the wait; *ready, unless NULL, is true when it was over already, with work to claim. Without a wait
 * under way it does nothing. CLOACA_CONNECTION_LOST when the server does not answer within five seconds.
 */
cloaca_status cloaca_wait_begin(cloaca *connection, size_t count, const char *const *queues, int64_t timeout,
                                cloaca_error *error);
int cloaca_wait_descriptor(const cloaca *connection);
cloaca_status cloaca_wait_check(cloaca *connection, bool *done, bool *ready, int64_t *again, cloaca_error *error);
cloaca_status cloaca_wait_cancel(cloaca *connection, bool *ready, cloaca_error *error);

/*
 * Ends a wait on the connection: one that blocks returns at once, one of an event loop is over at its next check. When none is
 * under way, the next one ends as it begins, so that no interrupt is lost between looking at a flag and waiting. The only
 * function that may be called from another thread, or from a signal handler; the connection must not be closed meanwhile.
 */
void cloaca_interrupt(cloaca *connection);

/*
 * Binds the leases of this connection's claims to it, from now on, or no longer. A bound lease ends as soon as the connection
 * does, however that happens, so that the tasks of a worker that is killed run again at once, not after the rest of their
 * lease. Leases that were claimed before stay as they are.
 *
 * For a connection that leads straight to a PostgreSQL server and that is held for as long as the work goes on: a pooler hands
 * the server's session on to others, so that the lease would end too late or, when the session ends, too soon. Sets the
 * session's cloaca.bind_leases; call it outside of transactions. A server whose cloaca has no library, and SQLite, where a file
 * has no sessions, take the setting and change nothing.
 */
cloaca_status cloaca_bind_leases(cloaca *connection, bool on, cloaca_error *error);

/*
 * For tests: fixes the clock of this connection (microseconds; CLOACA_NO_TIME: the real one again), and the random number
 * that jitter uses (0 to below 1; a negative one: real randomness again).
 */
cloaca_status cloaca_set_clock(cloaca *connection, int64_t now, cloaca_error *error);
cloaca_status cloaca_set_random(cloaca *connection, double random, cloaca_error *error);

#ifdef __cplusplus
}
#endif

#endif /* CLOACA_H */
