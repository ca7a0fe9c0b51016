/*
 * execution.h - the tables of a tenant's executions, for those who read and write them directly
 *
 * The functions that claim and end tasks, and the end of a transaction, have executions go on. Where the tables are as this
 * library knows them that takes a few lookups by keys; everything else is left to the functions of sql/workflow that do the
 * same in SQL.
 */
#ifndef CLOACA_EXECUTION_H
#define CLOACA_EXECUTION_H

#include "extension.h"

/* The columns of cloaca_execution. */
enum {
    EXECUTION_ID = 1,
    EXECUTION_WORKFLOW,
    EXECUTION_CREATED_AT,
    EXECUTION_STARTED_AT,
    EXECUTION_FINISHED_AT,
    EXECUTION_DEADLINE,
    EXECUTION_EXPIRES_AT,
    EXECUTION_TIMEOUT,
    EXECUTION_REMAINING,
    EXECUTION_STATE,
    EXECUTION_NAME,
    EXECUTION_KEY,
    EXECUTION_ERROR,
    EXECUTION_INPUT,
    EXECUTION_CONTEXT,
    EXECUTION_RESULT,
    EXECUTION_COLUMNS = EXECUTION_RESULT
};

/* The columns of cloaca_execution_task, whose rows are called nodes here. */
enum {
    NODE_TASK = 1,
    NODE_EXECUTION,
    NODE_N,
    NODE_REMAINING,
    NODE_ATTEMPT,
    NODE_STARTED_AT,
    NODE_FINISHED_AT,
    NODE_HELD_RUN_AT,
    NODE_STATE,
    NODE_WORKER,
    NODE_AWAITS,
    NODE_ERROR,
    NODE_OUTPUT,
    NODE_CHANGES,
    NODE_STEPS,
    NODE_COLUMNS = NODE_STEPS
};

/* The columns of cloaca_workflow_task, whose rows are called plans here: what the definition says of a node. */
enum {
    PLAN_WORKFLOW = 1,
    PLAN_N,
    PLAN_RANK,
    PLAN_PRIORITY,
    PLAN_MAX_ATTEMPTS,
    PLAN_NAME,
    PLAN_HANDLER,
    PLAN_QUEUE,
    PLAN_DEPENDENCIES,
    PLAN_DEPENDENTS,
    PLAN_TIMEOUT,
    PLAN_RETRY,
    PLAN_TRIGGER,
    PLAN_INPUT,
    PLAN_COLUMNS = PLAN_INPUT
};

/* The columns of cloaca_execution_event. */
enum {
    EVENT_ID = 1,
    EVENT_EXECUTION,
    EVENT_TASK,
    EVENT_AT,
    EVENT_ATTEMPT,
    EVENT_STATE,
    EVENT_WORKER,
    EVENT_NAME,
    EVENT_DETAIL,
    EVENT_COLUMNS = EVENT_DETAIL
};

/* The tables, opened and locked until the end of the transaction, and a place for one row of each but the last. */
typedef struct CloacaExecutions {
    Relation execution;
    Relation node;
    Relation plan;
    Relation event;
    Oid execution_id; /* the indexes on (id), */
    Oid node_task;    /* (task), */
    Oid node_place;   /* (execution, n), */
    Oid plan_place;   /* (workflow, n) */
    Oid event_sequence;
    struct TupleTableSlot *execution_row;
    struct TupleTableSlot *node_row;
    struct TupleTableSlot *plan_row;
} CloacaExecutions;

/* execution_tables.c: opens those of the tenant whose other tables are open. False, and nothing is open, when only SQL should
 * write them. */
extern bool cloaca_open_executions(const CloacaTables *tables, CloacaExecutions *executions);
extern void cloaca_close_executions(CloacaExecutions *executions);

/* rows.c: rows found by their keys under the active snapshot, and changed */

/* A new value of a column. */
typedef struct CloacaChange {
    AttrNumber column;
    Datum value;
    bool is_null;
} CloacaChange;

extern bool cloaca_find_by_id(Relation table, Oid index, int64 id, struct TupleTableSlot *row);
extern bool cloaca_find_by_place(Relation table, Oid index, int64 id, int32 n, struct TupleTableSlot *row);
/* Changes the row that was found. Waits for a transaction that has changed it; then false: it is to be found again, under
 * another snapshot. */
extern bool cloaca_change_row(Relation table, struct TupleTableSlot *row, const CloacaChange *changes, int count);
extern void cloaca_insert_row(Relation table, Datum *values, bool *nulls);
/* Whether a value of type text is this. */
extern bool cloaca_is_text(Datum value, const char *other);

/* execution.c: what executions have to do with a task's claim and end */

/* A task of an execution that was claimed. */
typedef struct CloacaStarted {
    int64 execution;
    int64 task;
    int32 attempt;
} CloacaStarted;

/* A task of an execution that was completed. */
typedef struct CloacaEnded {
    int64 task;
    int32 attempt;
    bool no_output;
    Datum output;
    text *worker; /* or NULL */
    TimestampTz claimed_at;
} CloacaEnded;

extern void cloaca_tell_started(const CloacaTables *tables, CloacaStarted *started, int count, text *worker, TimestampTz at);
extern void cloaca_lock_execution(const CloacaTables *tables, int64 execution);
extern void cloaca_end_tasks(const CloacaTables *tables, const CloacaEnded *ended, int count, TimestampTz at);

/* What happened in an execution, or to a task of it. */
typedef struct CloacaEvent {
    int64 execution;
    int64 task; /* or 0 */
    TimestampTz at;
    int32 attempt; /* or 0 */
    const char *state;
    text *worker; /* or NULL */
} CloacaEvent;

extern void cloaca_add_event(const CloacaExecutions *executions, const CloacaEvent *event);

/* advance.c: goes on from tasks that have ended, in the order of their ids, as cloaca.advance does. False, and nothing is done,
 * when that should. */
extern bool cloaca_advance(const char *tenant, const Datum *tasks, int count, TimestampTz at);

/* workflow.c: has executions go on from these tasks when the transaction commits. */
extern void cloaca_note_ended_tasks(const char *tenant, const Datum *tasks, int count);

/* document.c: the documents merged from left to right, those that are NULL (0) left out; 0 when none is left. */
extern Datum cloaca_merge_documents(const Datum *documents, int count);
/* An object with this one member. */
extern Datum cloaca_member(Datum name, Datum document);
/* An object with these texts. */
extern Datum cloaca_texts_object(const Datum *names, const Datum *texts, int count);

#endif
