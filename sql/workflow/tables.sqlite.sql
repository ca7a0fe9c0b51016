-- A version of a workflow's definition, by the hash of its content. Never changed: executions go on with the one they began with.
create table if not exists cloaca_workflow (
    id         integer primary key autoincrement,
    name       text    not null,
    version    text    not null,
    is_current integer not null,
    defined_at integer not null,
    tasks      integer not null,
    timeout    integer,
    retention  integer not null,
    definition text    not null,
    unique (name, version)
) strict;

create unique index if not exists cloaca_workflow_current on cloaca_workflow (name) where is_current;

-- A task of a version, as its executions need it; n counts from 1 in the order of the definition. `rank` is how many tasks the longest
-- way to it has: it is greater than the rank of everything that it depends on. The tasks that it depends on, and
-- those that depend on it, are JSON arrays of their numbers.
create table if not exists cloaca_workflow_task (
    workflow     integer not null,
    n            integer not null,
    rank         integer not null,
    priority     integer not null,
    max_attempts integer not null,
    name         text    not null,
    handler      text    not null,
    queue        text    not null,
    dependencies text    not null,
    dependents   text    not null,
    timeout      integer,
    retry        text,
    trigger      text,
    input        text,
    primary key (workflow, n)
) strict, without rowid;

-- A run of a workflow. `remaining` counts its final tasks (those that no other waits for) that have not ended: with the last of them
-- it ends itself.
create table if not exists cloaca_execution (
    id          integer primary key autoincrement,
    workflow    integer not null,
    created_at  integer not null,
    started_at  integer,
    finished_at integer,
    deadline    integer,
    expires_at  integer,
    timeout     integer,
    remaining   integer not null,
    state       text    not null,
    name        text    not null,
    key         text,
    error       text,
    input       text    not null,
    context     text,
    result      text
) strict;

create unique index if not exists cloaca_execution_key on cloaca_execution (name, key) where key is not null;
create index if not exists cloaca_execution_name on cloaca_execution (name, id);
create index if not exists cloaca_execution_deadline on cloaca_execution (deadline) where deadline is not null and finished_at is null;
create index if not exists cloaca_execution_expiry on cloaca_execution (expires_at) where expires_at is not null;

-- A task of an execution. It has its id from the start; while the state is ready it is a live task, too, of the same id.
-- `remaining` counts its dependencies that have not ended, `changes` is what it and all before it added to the context, `steps` what it
-- recorded before it failed or was cancelled, for a retry of the execution.
create table if not exists cloaca_execution_task (
    task        integer primary key,
    execution   integer not null,
    n           integer not null,
    remaining   integer not null,
    attempt     integer not null default 0,
    started_at  integer,
    finished_at integer,
    held_run_at integer,
    state       text    not null,
    worker      text,
    awaits      text,
    error       text,
    output      text,
    changes     text,
    steps       text,
    unique (execution, n)
) strict;

-- What happened in executions: append-only.
create table if not exists cloaca_execution_event (
    id        integer primary key autoincrement,
    execution integer not null,
    task      integer,
    at        integer not null,
    attempt   integer,
    state     text    not null,
    worker    text,
    name      text,
    detail    text
) strict;

create index if not exists cloaca_execution_event_execution on cloaca_execution_event (execution, id);

-- Signals that no task has received yet.
create table if not exists cloaca_pending_signal (
    id        integer primary key autoincrement,
    execution integer not null,
    sent_at   integer not null,
    name      text    not null,
    payload   text
) strict;

create index if not exists cloaca_pending_signal_name on cloaca_pending_signal (execution, name, id);

-- Live tasks of executions that end in this call, and executions that are closed in it: what some statements tell those after them.
-- They are empty between calls.
create table if not exists cloaca_ended (
    task       integer primary key,
    state      text    not null,
    output     text,
    error      text,
    attempt    integer not null,
    worker     text,
    claimed_at integer,
    steps      text
) strict;

create table if not exists cloaca_closing (
    execution integer primary key,
    state     text not null,
    error     text
) strict;

-- Tasks of executions, in the same way: `ended` ones, whose dependents are to be counted down; `waiting` ones, by how many, and in their
-- `turn`; `free` ones, which have nothing left to wait for, and run or are skipped; `counted` ones, which ended, and are final.
create table if not exists cloaca_settling (
    task      integer primary key,
    execution integer not null,
    workflow  integer not null,
    n         integer not null,
    phase     text    not null,
    rank      integer,
    ended     integer,
    fires     integer,
    changes   text,
    context   text
) strict;
