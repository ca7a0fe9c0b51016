/*
 * commands.c - the table of commands: what each is called, takes, calls and shows
 *
 * Help, completion and parsing read this table, so that they agree by construction.
 */
#include "cli.h"

#define END                                                                                                                    \
    {                                                                                                                          \
        NULL, 0, OPTION_TEXT, NULL, NULL, NULL                                                                                 \
    }
#define QUEUE_OPTION(help)                                                                                                     \
    {                                                                                                                          \
        "queue", 'q', OPTION_TEXT, "queue", "QUEUE", help                                                                      \
    }
#define MAX_OPTION(help)                                                                                                       \
    {                                                                                                                          \
        "max", 'm', OPTION_INTEGER, "max", "N", help                                                                           \
    }
#define AFTER_OPTION                                                                                                           \
    {                                                                                                                          \
        "after", 0, OPTION_INTEGER, "after", "ID", "only those with a larger id, for paging"                                   \
    }
#define ALL_OPTION                                                                                                             \
    {                                                                                                                          \
        "all", 'a', OPTION_FLAG, NULL, NULL, "every page, of --max rows each"                                                  \
    }
#define PASSWORD_OPTION                                                                                                        \
    {                                                                                                                          \
        "password-file", 0, OPTION_TEXT, NULL, "FILE",                                                                         \
            "the password is its first line, - for stdin (default: a generated one)"                                           \
    }
#define CRON_HELP "when, such as '0 6 * * mon-fri': minute, hour, day, month, weekday; seconds may stand first"
#define TIMEZONE_OPTION                                                                                                        \
    {                                                                                                                          \
        "timezone", 'z', OPTION_TEXT, "timezone", "ZONE", "by the clocks of this zone, such as Europe/Berlin (default: UTC)"   \
    }
#define SCHEDULE_OPTIONS                                                                                                       \
    {"workflow", 'w', OPTION_TEXT, "workflow", "NAME", "start this workflow"},                                                 \
        {"task", 0, OPTION_TEXT, "task", "NAME", "or enqueue a task of this name"},                                            \
        QUEUE_OPTION("the task's queue (default: default)"),                                                                   \
        {"payload", 'p', OPTION_JSON, "payload", "JSON", "the task's payload, or the workflow's context (default: {})"},       \
        {"priority", 0, OPTION_INTEGER, "priority", "N", "of the task; smaller runs first (default: 0)"}, TIMEZONE_OPTION,     \
        {"catch-up", 0, OPTION_TEXT, "catch_up", "POLICY", "what becomes of late times: skip (default), run_once or run_all"}, \
        {"max-catch-up", 0, OPTION_INTEGER, "max_catch_up", "N", "run_all fires at most this many late times (default: 100)"}, \
        {"starts-at", 0, OPTION_TEXT, "starts_at", "TIME", "never before this time"},                                          \
    {                                                                                                                          \
        "ends-at", 0, OPTION_TEXT, "ends_at", "TIME", "never after this time"                                                  \
    }
#define RETRY_HELP "retry policy, such as '{\"strategy\": \"fixed\", \"initial\": 5}'"

const struct option global_options[] = {
    {"url", 'u', OPTION_TEXT, NULL, "URL", "the database (default: DATABASE_URL)"},
    {"json", 'j', OPTION_FLAG, NULL, NULL, "print JSON, errors too (default when stdout is no terminal)"},
    {"table", 't', OPTION_FLAG, NULL, NULL, "print a table (default on a terminal)"},
    {"help", 'h', OPTION_FLAG, NULL, NULL, "print help"},
    {"version", 'V', OPTION_FLAG, NULL, NULL, "print the version"},
    END,
};

static const struct option task_operand[] = {{"TASK", 0, OPTION_INTEGER, "task", NULL, "the id of the task"}, END};
static const struct option some_task_operand[] = {
    {"TASK", 0, OPTION_INTEGER, "task", "?", "the id of the task (or give --queue)"}, END};
static const struct option queue_operand[] = {{"QUEUE", 0, OPTION_TEXT, "queue", NULL, "the name of the queue"}, END};
static const struct option some_queue_operand[] = {
    {"QUEUE", 0, OPTION_TEXT, "queue", "?", "the name of the queue (default: all queues)"}, END};
static const struct option dead_letter_operand[] = {
    {"DEAD_LETTER", 0, OPTION_INTEGER, "dead_letter", NULL, "the id of the dead letter"}, END};
static const struct option schema_operand[] = {{"SCHEMA", 0, OPTION_TEXT, "schema_name", NULL, "the tenant's schema"}, END};
static const struct option schema_user_operands[] = {
    {"SCHEMA", 0, OPTION_TEXT, "schema_name", NULL, "the tenant's schema"},
    {"USER", 0, OPTION_TEXT, "username", NULL, "the role that the tenant logs in as"},
    END,
};
static const struct option schema_role_operands[] = {
    {"SCHEMA", 0, OPTION_TEXT, "schema_name", NULL, "the tenant's schema"},
    {"ROLE", 0, OPTION_TEXT, "role", NULL, "the role that may use it"},
    END,
};
static const struct option role_operand[] = {{"ROLE", 0, OPTION_TEXT, "role", NULL, "the role that may manage tenants"}, END};
static const struct option call_operands[] = {
    {"FUNCTION", 0, OPTION_TEXT, NULL, NULL, "its SQL name, without the schema"},
    {"ARGUMENTS", 0, OPTION_JSON, NULL, "?", "a JSON object with the arguments by name"},
    END,
};
static const struct option enqueue_operands[] = {
    {"NAME", 0, OPTION_TEXT, "name", NULL, "the name of the task: what a worker is to do"},
    {"PAYLOAD", 0, OPTION_TEXT, NULL, "?", "JSON, or - for stdin (default: {})"},
    END,
};

static const struct option definition_operand[] = {
    {"FILE", 0, OPTION_TEXT, NULL, NULL, "the definition, a JSON document, - for stdin"}, END};
static const struct option workflow_operand[] = {{"NAME", 0, OPTION_TEXT, "name", NULL, "the name of the workflow"}, END};
static const struct option graph_operand[] = {
    {"WORKFLOW", 0, OPTION_TEXT, NULL, NULL, "the name of a workflow, or the id of an execution"}, END};
static const struct option execution_operand[] = {
    {"EXECUTION", 0, OPTION_INTEGER, "execution", NULL, "the id of the execution"}, END};
static const struct option signal_operands[] = {
    {"EXECUTION", 0, OPTION_INTEGER, "execution", NULL, "the id of the execution"},
    {"NAME", 0, OPTION_TEXT, "name", NULL, "the name of the signal"},
    {"PAYLOAD", 0, OPTION_JSON, "payload", "?", "JSON (default: null)"},
    END,
};

static const struct option define_options[] = {
    {"name", 'n', OPTION_TEXT, NULL, "NAME", "the name of the workflow (default: that of the file, without its ending)"}, END};

static const struct option start_options[] = {
    {"context", 'c', OPTION_JSON, "context", "JSON", "what its tasks get, an object (default: {})"},
    {"key", 'k', OPTION_TEXT, "key", "KEY", "at most one execution of the workflow has this key"},
    {"timeout", 0, OPTION_TEXT, "timeout", "INTERVAL", "it fails when it takes longer (default: the workflow's)"},
    {"wait", 'w', OPTION_FLAG, NULL, NULL, "wait for its end, and show it; exit status 1 unless it is completed"},
    END,
};

static const struct option status_options[] = {
    {"watch", 'w', OPTION_FLAG, NULL, NULL, "until it has ended; exit status 1 unless it is completed"}, END};

static const struct option graph_options[] = {{"dot", 'd', OPTION_FLAG, NULL, NULL, "for Graphviz: dot -Tsvg"}, END};

static const struct option cancel_execution_options[] = {
    {"reason", 'r', OPTION_TEXT, "reason", "TEXT", "why: it becomes the error of the execution"}, END};

static const struct option executions_options[] = {
    {"workflow", 'w', OPTION_TEXT, "workflow", "NAME", "only this workflow"},
    {"state", 's', OPTION_TEXT, "state", "STATE", "pending, running, paused, completed, failed or cancelled"},
    {"before", 0, OPTION_INTEGER, "before", "ID", "only those with a smaller id, for paging"},
    MAX_OPTION("at most this many (default: 100)"),
    END,
};

static const struct option execution_tasks_options[] = {
    {"state", 's', OPTION_TEXT, "state", "STATE", "waiting, ready, running, completed, failed, skipped or cancelled"},
    {"after", 0, OPTION_INTEGER, "after", "N", "only those with a larger number, for paging"},
    MAX_OPTION("at most this many (default: 100)"),
    END,
};

static const struct option events_options[] = {
    AFTER_OPTION,
    MAX_OPTION("at most this many (default: 1000)"),
    END,
};

static const struct option definitions_options[] = {
    {"after", 0, OPTION_TEXT, "after", "NAME", "only those with a later name, for paging"},
    MAX_OPTION("at most this many (default: 100)"),
    END,
};

static const struct option show_options[] = {
    {"version", 0, OPTION_TEXT, "version", "VERSION", "this version (default: the current one)"}, END};

static const struct option schedule_operand[] = {{"NAME", 0, OPTION_TEXT, "name", NULL, "the name of the schedule"}, END};
static const struct option some_schedule_operand[] = {
    {"NAME", 0, OPTION_TEXT, "name", "?", "the name of the schedule (default: all schedules)"}, END};
static const struct option schedule_cron_operands[] = {
    {"NAME", 0, OPTION_TEXT, "name", NULL, "the name of the schedule"},
    {"CRON", 0, OPTION_TEXT, "cron", NULL, CRON_HELP},
    END,
};
static const struct option cron_operand[] = {{"CRON", 0, OPTION_TEXT, "cron", NULL, CRON_HELP}, END};

static const struct option schedule_create_options[] = {SCHEDULE_OPTIONS, END};

static const struct option schedule_update_options[] = {
    {"cron", 0, OPTION_TEXT, "cron", "CRON", CRON_HELP}, SCHEDULE_OPTIONS, END};

static const struct option schedule_list_options[] = {
    {"after", 0, OPTION_TEXT, "after", "NAME", "only those with a later name, for paging"},
    MAX_OPTION("at most this many (default: 100)"),
    END,
};

static const struct option schedule_history_options[] = {
    {"before", 0, OPTION_TEXT, "before", "TIME", "only what was scheduled before this time, for paging"},
    MAX_OPTION("at most this many (default: 100)"),
    END,
};

static const struct option schedule_next_options[] = {
    TIMEZONE_OPTION,
    {"after", 0, OPTION_TEXT, "after", "TIME", "after this time (default: now)"},
    {"count", 'n', OPTION_INTEGER, "count", "N", "so many times (default: 1)"},
    END,
};

static const struct option enqueue_options[] = {
    QUEUE_OPTION("the queue (default: default)"),
    {"priority", 'p', OPTION_INTEGER, "priority", "N", "smaller runs first (default: 0)"},
    {"run-at", 0, OPTION_TEXT, "run_at", "TIME", "not before this time, such as 2026-01-01T00:00:00Z"},
    {"delay", 0, OPTION_TEXT, "delay", "INTERVAL", "not before this much later, such as \"90 seconds\""},
    {"key", 'k', OPTION_TEXT, "key", "KEY", "at most one live task of the queue has this key"},
    {"max-attempts", 0, OPTION_INTEGER, "max_attempts", "N", "attempts before it is a dead letter (default: the queue's)"},
    {"retry", 0, OPTION_JSON, "retry", "JSON", RETRY_HELP},
    {"raw", 'r', OPTION_FLAG, NULL, NULL, "payloads are plain text and become JSON strings"},
    {"bulk", 'b', OPTION_FLAG, NULL, NULL, "one task for every line of stdin (NDJSON)"},
    {"null", '0', OPTION_FLAG, NULL, NULL, "in bulk: records end with NUL, not newline"},
    {"keys-from", 0, OPTION_TEXT, NULL, "FIELD", "in bulk: the key of each task is this field of its payload"},
    {"batch", 0, OPTION_INTEGER, NULL, "N", "in bulk: tasks a call (default: 1000)"},
    {"atomic", 0, OPTION_FLAG, NULL, NULL, "in bulk: all or nothing, in one transaction"},
    END,
};

static const struct option work_options[] = {
    {"queue", 'q', OPTION_TEXT, NULL, "QUEUE", "the queue (default: default)"},
    {"worker", 'w', OPTION_TEXT, NULL, "NAME", "the name of this worker (default: host:pid)"},
    {"concurrency", 'c', OPTION_INTEGER, NULL, "N", "commands at once (default: 1)"},
    {"lease", 'l', OPTION_TEXT, NULL, "DURATION",
     "how long a claim holds, extended while the command runs (default: the queue's)"},
    {"timeout", 0, OPTION_TEXT, NULL, "DURATION", "a command that runs longer is ended, the attempt failed"},
    {"grace", 'g', OPTION_TEXT, NULL, "DURATION", "at SIGTERM: running commands may take this long (default: 30s)"},
    {"kill-after", 0, OPTION_TEXT, NULL, "DURATION", "SIGKILL follows SIGTERM after this long (default: 5s)"},
    {"defer", 0, OPTION_TEXT, NULL, "DURATION", "a task whose command exits with 75 comes back then (default: 10s)"},
    {"poll", 0, OPTION_TEXT, NULL, "DURATION",
     "first pause when idle, where it has to poll; it doubles up to 1s (default: 100ms)"},
    {"once", 0, OPTION_FLAG, NULL, NULL, "end when a claim finds nothing and the commands have ended"},
    {"drain", 0, OPTION_FLAG, NULL, NULL, "end when the queue has no task left: ready, scheduled or running anywhere"},
    {"max-tasks", 'n', OPTION_INTEGER, NULL, "N", "end after this many tasks"},
    {"raw", 'r', OPTION_FLAG, NULL, NULL, "a payload that is a JSON string is given as its text"},
    {"no-maintenance", 0, OPTION_FLAG, NULL, NULL, "leave run_maintenance to others"},
    {"quiet", 0, OPTION_FLAG, NULL, NULL, "do not pass on what the commands write to stderr"},
    {"verbose", 'v', OPTION_FLAG, NULL, NULL, "say what happens to each task"},
    END,
};

static const struct option tasks_options[] = {
    QUEUE_OPTION("only this queue"),
    {"state", 's', OPTION_TEXT, "state", "STATE", "scheduled, ready, running, cancelling, completed, cancelled or dead"},
    {"name", 'n', OPTION_TEXT, "name", "NAME", "only tasks of this name"},
    AFTER_OPTION,
    MAX_OPTION("at most this many (default: 100)"),
    ALL_OPTION,
    END,
};

static const struct option retry_options[] = {
    QUEUE_OPTION("all dead letters of this queue"),
    MAX_OPTION("at most this many, the oldest first"),
    END,
};

static const struct option dead_letters_options[] = {
    QUEUE_OPTION("only this queue"),
    {"status", 's', OPTION_TEXT, "status", "STATUS", "failed or resolved (default: failed)"},
    AFTER_OPTION,
    MAX_OPTION("at most this many (default: 100)"),
    ALL_OPTION,
    END,
};

static const struct option resolve_options[] = {
    {"resolution", 'r', OPTION_TEXT, "resolution", "TEXT", "what was done about it"}, END};

static const struct option delete_resolved_options[] = {
    QUEUE_OPTION("only this queue"),
    {"older-than", 0, OPTION_TEXT, "older_than", "INTERVAL", "resolved at least this long ago (default: 0)"},
    MAX_OPTION("at most this many (default: 1000)"),
    END,
};

static const struct option maintain_options[] = {MAX_OPTION("at most this many rows a step (default: 1000)"), END};

static const struct option maintain_all_options[] = {
    MAX_OPTION("at most this many rows a step (default: 1000)"),
    {"all", 'a', OPTION_FLAG, NULL, NULL, "every tenant that you may use, one after the other (PostgreSQL)"},
    END,
};

static const struct option queue_set_options[] = {
    {"lease", 'l', OPTION_TEXT, "lease", "INTERVAL", "how long a claim holds"},
    {"max-attempts", 0, OPTION_INTEGER, "max_attempts", "N", "attempts before a task is a dead letter"},
    {"retry", 0, OPTION_JSON, "retry", "JSON", RETRY_HELP},
    {"retention", 0, OPTION_TEXT, "retention", "INTERVAL", "how long finished tasks are kept (0: deleted at once)"},
    {"key-retention", 0, OPTION_TEXT, "key_retention", "INTERVAL", "how long the key of a finished task stays taken"},
    END,
};

static const struct option queue_drop_options[] = {
    {"force", 'f', OPTION_FLAG, "force", NULL, "even when it still has tasks: they are deleted"}, END};

static const struct option tenant_create_options[] = {
    PASSWORD_OPTION,
    {"connection-limit", 0, OPTION_INTEGER, "connection_limit", "N", "connections that the role may have"},
    {"settings", 0, OPTION_JSON, "settings", "JSON", "settings of the role, such as '{\"statement_timeout\": \"30s\"}'"},
    END,
};

static const struct option password_options[] = {PASSWORD_OPTION, END};

static const struct option tenant_drop_options[] = {
    {"batch", 0, OPTION_INTEGER, "max", "N", "tables and the like dropped in one transaction (default: 500)"}, END};

static const struct option harden_options[] = {
    {"other-databases", 0, OPTION_FLAG, "other_databases", NULL, "revoke CONNECT on the other databases from PUBLIC too"}, END};

static const char enqueue_notes[] = "In bulk each line of stdin is a payload:\n"
                                    "  cloaca enqueue --bulk --keys-from id mail <messages.ndjson\n"
                                    "  find . -type f -print0 | cloaca enqueue --bulk --raw --null file\n";

static const char work_notes[] =
    "COMMAND runs once for each task, in a process group of its own, without a shell. It reads the payload from stdin; the\n"
    "environment has CLOACA_TASK, CLOACA_NAME, CLOACA_QUEUE, CLOACA_PRIORITY, CLOACA_ATTEMPT, CLOACA_MAX_ATTEMPTS,\n"
    "CLOACA_LEASE_ID, CLOACA_WORKER and, for a task of a workflow, CLOACA_EXECUTION. Its stdout becomes the result: JSON\n"
    "as it is, other text as a JSON string, nothing as null. Its exit status decides:\n"
    "  0      the task is complete\n"
    "  75     not now: the task comes back after --defer, and the attempt does not count\n"
    "  100    failed for good: a dead letter at once\n"
    "  other  failed, and so is one killed by a signal: tried again by the retry policy, the end of stderr kept as the error\n"
    "SIGTERM or SIGINT: no more claims, running commands may end within --grace, then they are stopped and their tasks\n"
    "released. A second signal ends the grace.\n";

static const char define_notes[] =
    "The file is such as\n"
    "  {\"tasks\": [{\"name\": \"fetch\"}, {\"name\": \"store\", \"dependencies\": [\"fetch\"]}]}\n"
    "A definition that has changed becomes a new version; executions go on with the one that they started with.\n";

static const char execution_columns[] = " execution workflow state key created_at finished_at error ";
static const char execution_task_columns[] = " n name state attempt worker awaits error output ";
static const char event_columns[] = " at name state attempt worker detail ";

static const char schedule_columns[] = " name cron timezone workflow task enabled next_at ";

static const char all_task_columns[] = " task queue name state attempt run_at worker payload error ";
static const char dead_letter_columns[] = " dead_letter task queue name attempt failed_at status error payload ";

/* name, summary, function, shape, operands, options, fixed, columns, rest, notes, run */
const struct command commands[] = {
    {"init", "Create what cloaca needs in the database", NULL, SHAPE_NOTHING, NULL, NULL, NULL, NULL, NULL, NULL, run_init},
    {"enqueue", "Add a task, or with --bulk many", "enqueue", SHAPE_ROW, enqueue_operands, enqueue_options, NULL, NULL, NULL,
     enqueue_notes, run_enqueue},
    {"work", "Run a command for each task", NULL, SHAPE_ROW, NULL, work_options, NULL, NULL, "COMMAND [ARGUMENT...]",
     work_notes, run_work},
    {"tasks", "List tasks", "list_tasks", SHAPE_ROWS, NULL, tasks_options, NULL, all_task_columns, NULL, NULL, run_pages},
    {"task", "Show a task", "get_task", SHAPE_ROW, task_operand, NULL, NULL, NULL, NULL, NULL, run_call},
    {"cancel", "Cancel a task: at once, or when its worker next reports", "cancel_task", SHAPE_ROW, task_operand, NULL, NULL,
     NULL, NULL, NULL, run_call},
    {"retry", "Put dead letters back into their queue", "retry_task", SHAPE_ROW, some_task_operand, retry_options, NULL, NULL,
     NULL, NULL, run_call},
    {"stats", "Count the tasks of each queue", "queue_stats", SHAPE_ROWS, some_queue_operand, NULL, NULL, NULL, NULL, NULL,
     run_call},
    {"dead-letters", "List the tasks that failed for good", "list_dead_letters", SHAPE_ROWS, NULL, dead_letters_options, NULL,
     dead_letter_columns, NULL, NULL, run_pages},
    {"failures", "Count the dead letters of each queue", "failure_stats", SHAPE_ROWS, some_queue_operand, NULL, NULL, NULL,
     NULL, NULL, run_call},
    {"resolve", "Mark a dead letter as resolved", "mark_resolved", SHAPE_NOTHING, dead_letter_operand, resolve_options, NULL,
     NULL, NULL, NULL, run_call},
    {"delete-resolved", "Delete resolved dead letters", "delete_resolved", SHAPE_ROW, NULL, delete_resolved_options, NULL, NULL,
     NULL, NULL, run_call},
    {"maintain", "Expire leases, fire schedules, trim history: what workers do when it is due", "run_maintenance", SHAPE_ROW,
     NULL, maintain_all_options, NULL, NULL, NULL, NULL, run_maintain},
    {"workflow define", "Define a workflow, or a new version of it", "define_workflow", SHAPE_ROW, definition_operand,
     define_options, NULL, NULL, NULL, define_notes, run_workflow_define},
    {"workflow definitions", "List the workflows that are defined", "list_workflows", SHAPE_ROWS, NULL, definitions_options,
     NULL, NULL, NULL, NULL, run_call},
    {"workflow show", "Show the definition of a workflow", "get_workflow", SHAPE_ROW, workflow_operand, show_options, NULL,
     NULL, NULL, NULL, run_call},
    {"workflow start", "Start a workflow: a new execution", "start_workflow", SHAPE_ROW, workflow_operand, start_options, NULL,
     NULL, NULL, NULL, run_workflow_start},
    {"workflow status", "Show how far an execution is", "get_execution", SHAPE_ROW, execution_operand, status_options, NULL,
     NULL, NULL, NULL, run_workflow_status},
    {"workflow graph", "Draw a workflow, or an execution with the states of its tasks", NULL, SHAPE_ROWS, graph_operand,
     graph_options, NULL, NULL, NULL, "  cloaca workflow graph order --dot | dot -Tsvg >order.svg\n", run_workflow_graph},
    {"workflow list", "List executions, the newest first", "list_executions", SHAPE_ROWS, NULL, executions_options, NULL,
     execution_columns, NULL, NULL, run_call},
    {"workflow tasks", "List the tasks of an execution", "list_execution_tasks", SHAPE_ROWS, execution_operand,
     execution_tasks_options, NULL, execution_task_columns, NULL, NULL, run_call},
    {"workflow events", "List what happened in an execution", "execution_events", SHAPE_ROWS, execution_operand, events_options,
     NULL, event_columns, NULL, NULL, run_call},
    {"workflow pause", "Stop claims of an execution's tasks", "pause_execution", SHAPE_ROW, execution_operand, NULL, NULL, NULL,
     NULL, NULL, run_call},
    {"workflow resume", "Let a paused execution go on", "resume_execution", SHAPE_ROW, execution_operand, NULL, NULL, NULL,
     NULL, NULL, run_call},
    {"workflow cancel", "Cancel an execution", "cancel_execution", SHAPE_ROW, execution_operand, cancel_execution_options, NULL,
     NULL, NULL, NULL, run_call},
    {"workflow retry", "Run again what failed in an execution, and what follows", "retry_execution", SHAPE_ROW,
     execution_operand, NULL, NULL, NULL, NULL, NULL, run_call},
    {"workflow signal", "Send a signal that a task of an execution awaits", "signal", SHAPE_ROW, signal_operands, NULL, NULL,
     NULL, NULL, NULL, run_call},
    {"schedule create", "Start a workflow, or enqueue a task, again and again", "create_schedule", SHAPE_ROW,
     schedule_cron_operands, schedule_create_options, NULL, NULL, NULL,
     "  cloaca schedule create nightly '0 3 * * *' --timezone Europe/Berlin --workflow backup\n", run_call},
    {"schedule update", "Change a schedule", "update_schedule", SHAPE_ROW, schedule_operand, schedule_update_options, NULL,
     NULL, NULL, NULL, run_call},
    {"schedule enable", "Let a schedule fire again", "enable_schedule", SHAPE_ROW, schedule_operand, NULL, NULL, NULL, NULL,
     NULL, run_call},
    {"schedule disable", "Let a schedule fire no more", "disable_schedule", SHAPE_NOTHING, schedule_operand, NULL, NULL, NULL,
     NULL, NULL, run_call},
    {"schedule delete", "Delete a schedule with its history", "delete_schedule", SHAPE_NOTHING, schedule_operand, NULL, NULL,
     NULL, NULL, NULL, run_call},
    {"schedule list", "List the schedules", "list_schedules", SHAPE_ROWS, NULL, schedule_list_options, NULL, schedule_columns,
     NULL, NULL, run_call},
    {"schedule history", "List what a schedule fired, the newest first", "schedule_history", SHAPE_ROWS, schedule_operand,
     schedule_history_options, NULL, NULL, NULL, NULL, run_call},
    {"schedule stats", "Count what schedules fired", "schedule_stats", SHAPE_ROWS, some_schedule_operand, NULL, NULL, NULL,
     NULL, NULL, run_call},
    {"schedule next", "Show the next times of a cron expression", "cron_next", SHAPE_ROWS, cron_operand, schedule_next_options,
     NULL, NULL, NULL, NULL, run_call},
    {"queue list", "List queues with their settings", "list_queues", SHAPE_ROWS, NULL, NULL, NULL, NULL, NULL, NULL, run_call},
    {"queue set", "Change the settings of a queue", "set_queue", SHAPE_ROW, queue_operand, queue_set_options, NULL, NULL, NULL,
     NULL, run_call},
    {"queue pause", "Stop claims from a queue", "set_queue", SHAPE_ROW, queue_operand, NULL, "\"paused\": true", NULL, NULL,
     NULL, run_call},
    {"queue resume", "Allow claims from a queue again", "set_queue", SHAPE_ROW, queue_operand, NULL, "\"paused\": false", NULL,
     NULL, NULL, run_call},
    {"queue drop", "Delete a queue, its history and dead letters", "drop_queue", SHAPE_ROW, queue_operand, queue_drop_options,
     NULL, NULL, NULL, NULL, run_call},
    {"tenant create", "Create a tenant: a schema and a role", "create_tenant", SHAPE_ROW, schema_user_operands,
     tenant_create_options, NULL, NULL, NULL, NULL, run_tenant_secret},
    {"tenant drop", "Drop a tenant with everything in its schema", "drop_tenant", SHAPE_NOTHING, schema_operand,
     tenant_drop_options, NULL, NULL, NULL, NULL, run_tenant_drop},
    {"tenant list", "List the tenants", "list_tenants", SHAPE_ROWS, NULL, NULL, NULL, NULL, NULL, NULL, run_call},
    {"tenant status", "Show a tenant: sessions, size, problems", "tenant_status", SHAPE_ROW, schema_operand, NULL, NULL, NULL,
     NULL, NULL, run_call},
    {"tenant rotate-password", "Give a tenant a new password", "rotate_password", SHAPE_ROW, schema_operand, password_options,
     NULL, NULL, NULL, NULL, run_tenant_secret},
    {"tenant adopt", "Make a restored schema a tenant again", "adopt_tenant", SHAPE_ROW, schema_user_operands, password_options,
     NULL, NULL, NULL, NULL, run_tenant_secret},
    {"tenant grant", "Let another role use a tenant", "grant_tenant", SHAPE_NOTHING, schema_role_operands, NULL, NULL, NULL,
     NULL, NULL, run_call},
    {"tenant grant-admin", "Let a role manage tenants", "grant_admin", SHAPE_NOTHING, role_operand, NULL, NULL, NULL, NULL,
     NULL, run_call},
    {"tenant harden", "Revoke what PUBLIC may do by default", "harden", SHAPE_ROWS, NULL, harden_options, NULL, NULL, NULL,
     NULL, run_call},
    {"tenant migrate", "Bring tenants' tables to this version", "migrate_tenants", SHAPE_ROWS, NULL, maintain_options, NULL,
     NULL, NULL, NULL, run_call},
    {"call", "Call any function with JSON arguments", NULL, SHAPE_ROWS, call_operands, NULL, NULL, NULL, NULL,
     "  cloaca call claim '{\"queue\": \"mail\", \"max\": 2}'\n", run_generic},
    {"functions", "List the functions with their signatures", NULL, SHAPE_ROWS, NULL, NULL, NULL, NULL, NULL, NULL,
     run_functions},
    {NULL, NULL, NULL, SHAPE_NOTHING, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};
