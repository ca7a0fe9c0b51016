/*
 * cloaca.h - durable tasks inside the database that you already run
 *
 * One header for PostgreSQL and SQLite. A connection is opened by URL, functions are called by name with named arguments,
 * and every call answers with a status, a result that the caller frees, and, when it failed, an error struct that the caller
 * owns.
 *
 * Threads: a connection belongs to one thread at a time; only cloaca_interrupt may come from another. A runner has threads of
 * its own. The library has no globals, installs no signal handler and never prints. Strings are UTF-8. Times are microseconds
 * since 1970-01-01 UTC, intervals microseconds.
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
    int64_t timeout;   /* the task's own, of an attempt, beyond which no lease goes; CLOACA_NO_INTERVAL: none */
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
 * Workflows. The typed calls of the functions that programs need most; the others by cloaca_call.
 *
 * definition, context, result and payload are JSON text; NULL stands for null, or for the default. A *result is to be freed
 * with cloaca_result_free, and NULL when the call failed; texts handed out in a char ** are to be freed with cloaca_free.
 */
/* *version, unless NULL, gets the version's name; *created says whether it is a new one. */
cloaca_status cloaca_define_workflow(cloaca *connection, const char *name, const char *definition, char **version,
                                     bool *created, cloaca_error *error);
/* key: at most one execution of the workflow has it (NULL: none). timeout: CLOACA_NO_INTERVAL for the workflow's own. */
cloaca_status cloaca_start_workflow(cloaca *connection, const char *name, const char *context, const char *key, int64_t timeout,
                                    int64_t *execution, bool *created, cloaca_error *error);
cloaca_status cloaca_get_execution(cloaca *connection, int64_t execution, cloaca_result **result, cloaca_error *error);
/* NULL for workflow and state: any. The newest first, those before the id `before` (0: all), at most `max` (0: 100). */
cloaca_status cloaca_list_executions(cloaca *connection, const char *workflow, const char *state, int64_t before, int32_t max,
                                     cloaca_result **result, cloaca_error *error);
/* The tasks of an execution in the order of the definition, after the number `after` (0: from the first). */
cloaca_status cloaca_list_execution_tasks(cloaca *connection, int64_t execution, const char *state, int32_t after, int32_t max,
                                          cloaca_result **result, cloaca_error *error);
cloaca_status cloaca_execution_events(cloaca *connection, int64_t execution, int64_t after, int32_t max, cloaca_result **result,
                                      cloaca_error *error);
/* *state, unless NULL, gets the state that the execution is in then. */
cloaca_status cloaca_pause_execution(cloaca *connection, int64_t execution, char **state, cloaca_error *error);
cloaca_status cloaca_resume_execution(cloaca *connection, int64_t execution, char **state, cloaca_error *error);
cloaca_status cloaca_cancel_execution(cloaca *connection, int64_t execution, const char *reason, char **state,
                                      cloaca_error *error);
/* What failed or was cancelled, and all that follows, runs again: *tasks of them. */
cloaca_status cloaca_retry_execution(cloaca *connection, int64_t execution, char **state, int64_t *tasks, cloaca_error *error);
/*
 * Blocks until the execution has ended, the timeout is over (CLOACA_NO_INTERVAL: none), or cloaca_interrupt: *state gets the
 * final state, NULL when it has not ended. Waits as cloaca_wait_for_task does, and is refused where that is.
 */
cloaca_status cloaca_wait_for_execution(cloaca *connection, int64_t execution, int64_t timeout, char **state,
                                        cloaca_error *error);
/* Durable steps of a task. *recorded says whether the step was done before, with *result (NULL: null). */
cloaca_status cloaca_step(cloaca *connection, int64_t task, int64_t lease_id, const char *name, bool *recorded, char **result,
                          cloaca_error *error);
/* The first record stays: *stored, unless NULL, gets it. */
cloaca_status cloaca_record_step(cloaca *connection, int64_t task, int64_t lease_id, const char *name, const char *result,
                                 char **stored, cloaca_error *error);
/* Waiting: the lease is given up, and the task comes back when the signal has come or the timeout is over. */
typedef enum cloaca_signal_outcome {
    CLOACA_SIGNAL_WAITING = 0,
    CLOACA_SIGNAL_RECEIVED,
    CLOACA_SIGNAL_TIMED_OUT
} cloaca_signal_outcome;
cloaca_status cloaca_await_signal(cloaca *connection, int64_t task, int64_t lease_id, const char *name, int64_t timeout,
                                  cloaca_signal_outcome *outcome, char **payload, cloaca_error *error);
cloaca_status cloaca_signal(cloaca *connection, int64_t execution, const char *name, const char *payload, cloaca_error *error);

/*
 * The runner: calls C functions for tasks, on threads of its own.
 *
 * It claims tasks of some queues, plain ones and those of workflows alike, calls the handler that is registered for the name of
 * each, and reports how it ended. While handlers work it extends their leases, tells them when their task was cancelled or
 * lost, and connects again when the database was away. It has three connections (one waits and claims, one reports, one extends
 * leases), and one more for each handler that asks for one. Handlers run side by side on max_concurrent_tasks threads.
 *
 * A report that the database cannot take now, because of a lock, a lost connection, or a server that is read-only or full for a
 * while, is made again for as long as the lease is kept, and others' reports and leases do not wait for it. A result that the
 * database refuses for good is a failure of its task, with the reason.
 *
 * Every task runs at least once: a handler whose process dies after its work and before the report is called again. Work on the
 * same database that must count once is done in the transaction that completes the task: cloaca_job_begin, cloaca_job_commit.
 *
 * Threads: all functions of a runner may be called from any thread, cloaca_runner_free once and last; except that a handler
 * calls none but cloaca_runner_interrupt and cloaca_runner_execute of its own runner: cloaca_runner_stop and _wait would wait
 * for the handler itself, and are refused with CLOACA_INVALID_ARGUMENT, and _free only interrupts. The functions of a job are
 * called from the thread that its handler runs on, except that cloaca_job_is_cancelled may come from any while the handler
 * runs. Hooks and handlers are called without any lock held.
 */
typedef struct cloaca_runner cloaca_runner;
typedef struct cloaca_job cloaca_job; /* a task in the hands of its handler */

typedef enum cloaca_log_level { CLOACA_LOG_DEBUG = 1, CLOACA_LOG_INFO, CLOACA_LOG_WARNING, CLOACA_LOG_ERROR } cloaca_log_level;

/* What happened to a task, for counting. */
typedef enum cloaca_job_event {
    CLOACA_EVENT_CLAIMED = 1,
    CLOACA_EVENT_COMPLETED,
    CLOACA_EVENT_RETRIED,  /* failed, to be tried again */
    CLOACA_EVENT_FAILED,   /* failed for good: a dead letter */
    CLOACA_EVENT_DEFERRED, /* by its handler, or because there is none for its name */
    CLOACA_EVENT_AWAITING, /* gave its lease up until a signal */
    CLOACA_EVENT_RELEASED, /* at the end of the runner: claimable again */
    CLOACA_EVENT_CANCELLED,
    CLOACA_EVENT_LEASE_LOST,   /* another worker has it, its time was over, or the database takes no report for good */
    CLOACA_EVENT_POSSIBLY_DONE /* a report was lost with the connection, and the task was no longer ours after that */
} cloaca_job_event;

typedef struct cloaca_metric {
    cloaca_job_event event;
    int64_t task;
    int64_t execution; /* 0: none */
    const char *name;
    int32_t attempt;
    int64_t latency; /* microseconds: CLAIMED: since it became claimable; else since it was claimed */
} cloaca_metric;

/* How a handler ended. */
typedef enum cloaca_job_outcome {
    CLOACA_JOB_DONE = 0, /* complete, with the result of cloaca_job_set_result, if any */
    CLOACA_JOB_RETRY,    /* failed: tried again by the task's retry policy, until it has had its attempts */
    CLOACA_JOB_FAILED,   /* failed for good */
    CLOACA_JOB_DEFERRED, /* comes back at the time of cloaca_job_sleep_until or _for; the attempt does not count */
    CLOACA_JOB_AWAITING, /* cloaca_job_await_signal said that it is waiting */
    CLOACA_JOB_RELEASED  /* claimable again at once; the attempt does not count */
} cloaca_job_outcome;

typedef cloaca_job_outcome (*cloaca_handler)(cloaca_job *job, void *user);

/* When a runner ends by itself, besides its max_tasks. It claims after the first maintenance, and after what it has to report.
 */
typedef enum cloaca_runner_until {
    CLOACA_UNTIL_STOPPED = 0, /* never */
    CLOACA_UNTIL_IDLE,        /* a claim finds nothing, and no handler works */
    CLOACA_UNTIL_EMPTY        /* its queues have no task left: neither ready nor scheduled nor running under any worker */
} cloaca_runner_until;

/* Zeroed with CLOACA_RUNNER_INIT, then url and whatever differs from the default. Everything is copied. Times are at most 10
 * years. */
typedef struct cloaca_runner_options {
    const char *url;    /* required, as for cloaca_open; not sqlite:///:memory:, which has one connection alone */
    size_t queue_count; /* 0: one, "default" */
    const char *const *queues;
    const char *worker;           /* its name, 1 to 200 bytes without control characters; NULL: host:pid */
    int32_t max_concurrent_tasks; /* handlers at once, 1 to 1000; 0: 4 */
    int64_t poll;                 /* the first pause where the database cannot wait; 0: 100 ms. It doubles, up to a second */
    int64_t lease;        /* how long a claim holds, extended at a third of it; 0: the queue's, which is 30 s unless set */
    int64_t task_timeout; /* the longest time of an attempt, whatever the task says; 0: the task's own, and 300 s for one that
                             has none; CLOACA_NO_INTERVAL: the task's own alone */
    int64_t execution_timeout; /* of cloaca_runner_execute, whatever the workflow says; 0: the workflow's own, and 3600 s for
                                  one that has none; CLOACA_NO_INTERVAL: the workflow's own alone */
    int64_t unknown_delay;     /* when a task without handler comes back; 0: 5 s */
    int64_t drain;             /* how long handlers may go on when cloaca_runner_run ends; 0: 30 s */
    int64_t heed;              /* how long a handler that is told to stop may take, its lease going on meanwhile; 0: 2 s */
    int64_t max_tasks;         /* ends after that many; 0: no limit */
    cloaca_runner_until until; /* or when there is nothing left */
    bool no_recovery;          /* leave run_maintenance to others */
    bool stop_on_error; /* ends, within `drain`, at an error that no repetition helps; else it is logged and tried again */
    /* Hooks, from any of the runner's threads, several at a time. They must not call the runner. NULL: none. */
    void (*log)(void *user, cloaca_log_level level, const char *message);
    void (*metric)(void *user, const cloaca_metric *metric);
    void *user;
} cloaca_runner_options;
#define CLOACA_RUNNER_INIT                                                                                                     \
    {                                                                                                                          \
        NULL, 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, CLOACA_UNTIL_STOPPED, false, false, NULL, NULL, NULL                   \
    }

/* Checks the options; opens nothing yet. On failure *runner is NULL. */
cloaca_status cloaca_runner_new(const cloaca_runner_options *options, cloaca_runner **runner, cloaca_error *error);
/*
 * The handler for tasks of that name; NULL: for those that have none of their own. Only before the start. A task that no
 * handler is for is put off by unknown_delay, for another worker to take; that is logged.
 */
cloaca_status cloaca_runner_register(cloaca_runner *runner, const char *name, cloaca_handler handler, void *user,
                                     cloaca_error *error);
/* Opens the connections and starts the threads. A runner starts once. */
cloaca_status cloaca_runner_start(cloaca_runner *runner, cloaca_error *error);
/*
 * No more claims. Returns when every handler has ended and is reported. After `grace` microseconds handlers that still work are
 * told to stop, and `heed` later their tasks are released: then it returns CLOACA_TIMEOUT, and cloaca_runner_free waits for
 * them. Reports that the database does not take within five seconds after that are given up, and so are calls that it does not
 * answer: CLOACA_TIMEOUT, and their leases expire. The error that ended a runner with stop_on_error is returned here, and by
 * cloaca_runner_run.
 */
cloaca_status cloaca_runner_stop(cloaca_runner *runner, int64_t grace, cloaca_error *error);
/* Returns when a runner that was started ends by itself, or cloaca_runner_interrupt or _stop was called, and the rest is done
 * as cloaca_runner_stop says. */
cloaca_status cloaca_runner_wait(cloaca_runner *runner, cloaca_error *error);
/* Starts, and waits. */
cloaca_status cloaca_runner_run(cloaca_runner *runner, cloaca_error *error);
/* Asks a runner to stop, with the grace of its options, and returns at once; the second time the grace is over. The one
 * function that a signal handler may call. */
void cloaca_runner_interrupt(cloaca_runner *runner);
/* Stops without grace if that was not done, and waits for handlers that do not end; their calls of the database fail by then.
 * NULL is allowed. */
void cloaca_runner_free(cloaca_runner *runner);
/*
 * Starts a workflow and waits for its end, on a connection of its own; whoever runs the tasks, this runner or others.
 *
 * *result: the row of get_execution (state, result, error, ...), also when the execution failed or was cancelled.
 * Errors: those of start_workflow; CLOACA_TIMEOUT when the runner is stopped meanwhile, the execution going on.
 */
cloaca_status cloaca_runner_execute(cloaca_runner *runner, const char *workflow, const char *context, const char *key,
                                    cloaca_result **result, cloaca_error *error);

/* The task. Texts belong to the job, which is gone when its handler has returned. */
int64_t cloaca_job_task(const cloaca_job *job);
int64_t cloaca_job_lease_id(const cloaca_job *job);
int64_t cloaca_job_execution(const cloaca_job *job); /* 0: none */
int32_t cloaca_job_attempt(const cloaca_job *job);
int32_t cloaca_job_max_attempts(const cloaca_job *job);
int16_t cloaca_job_priority(const cloaca_job *job);
const char *cloaca_job_name(const cloaca_job *job);
const char *cloaca_job_queue(const cloaca_job *job);
const char *cloaca_job_payload(const cloaca_job *job); /* JSON text; of a workflow's task its context */

/* Why there is no use in going on, or 0. What the handler returns after that still counts, as far as it can. */
typedef enum cloaca_stop_reason {
    CLOACA_GO_ON = 0,
    CLOACA_STOP_CANCELLED,  /* the task was cancelled */
    CLOACA_STOP_LEASE_LOST, /* it is no longer ours */
    CLOACA_STOP_TIMED_OUT,  /* the attempt took too long */
    CLOACA_STOP_RUNNER      /* the runner stops, and the grace is over */
} cloaca_stop_reason;
cloaca_stop_reason cloaca_job_is_cancelled(const cloaca_job *job);
/* A descriptor that can be read from then on, for poll, not to be read or closed; -1 when there is none left. */
int cloaca_job_descriptor(cloaca_job *job);
/* Sleeps, and returns early, with the reason, when the job is cancelled. */
cloaca_stop_reason cloaca_job_pause(cloaca_job *job, int64_t microseconds);

/*
 * What the outcome is reported with; copied. The result is JSON text; one that is none fails the task for good. The error is
 * plain text, of which the first 10,000 characters are kept, and bytes that are no UTF-8 become U+FFFD; it follows "timed out:
 * " when the attempt took too long.
 */
void cloaca_job_set_result(cloaca_job *job, const char *result);
void cloaca_job_set_error(cloaca_job *job, const char *message);
/* Another delay than the retry policy's, for CLOACA_JOB_RETRY. More than 10 years count as 10, below 0 is the policy's. */
void cloaca_job_retry_in(cloaca_job *job, int64_t delay);
/* For CLOACA_JOB_DEFERRED: a time by the database's clock (before the year 1 is its begin, after 9999 its end), or so long from
 * the report on (below 0 is 0, more than 10 years count as 10). */
void cloaca_job_sleep_until(cloaca_job *job, int64_t time);
void cloaca_job_sleep_for(cloaca_job *job, int64_t interval);

/*
 * As cloaca_step, cloaca_record_step and cloaca_await_signal, for this task. While a transaction is open on the job's
 * connection a step is recorded in it. Else they go through the runner's, where they are repeated while the database is away
 * and the lease is ours.
 */
cloaca_status cloaca_job_step(cloaca_job *job, const char *name, bool *recorded, char **result, cloaca_error *error);
cloaca_status cloaca_job_record_step(cloaca_job *job, const char *name, const char *result, char **stored, cloaca_error *error);
/* When *outcome is CLOACA_SIGNAL_WAITING the handler returns CLOACA_JOB_AWAITING, and is called again later. With a transaction
 * open on the job's connection it is refused with CLOACA_IN_TRANSACTION. */
cloaca_status cloaca_job_await_signal(cloaca_job *job, const char *name, int64_t timeout, cloaca_signal_outcome *outcome,
                                      char **payload, cloaca_error *error);

/*
 * A connection for this handler's own use in the same database, opened when it is first asked for and kept for later jobs. What
 * is left open on it when the handler returns is rolled back. It belongs to the runner. One that was lost is closed when it is
 * asked for again, outside of a transaction, and another opened.
 */
cloaca_status cloaca_job_connection(cloaca_job *job, cloaca **connection, cloaca_error *error);
/*
 * A transaction on that connection that ends with the task: begin it, do the work, and commit with the result (NULL: none)
 * instead of returning it. When the commit succeeded the handler returns CLOACA_JOB_DONE; else the work is rolled back, and it
 * returns CLOACA_JOB_RETRY or what else it likes.
 */
cloaca_status cloaca_job_begin(cloaca_job *job, cloaca **connection, cloaca_error *error);
cloaca_status cloaca_job_commit(cloaca_job *job, const char *result, cloaca_error *error);

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
