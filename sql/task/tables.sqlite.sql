-- One row for each live task. It is claimable when run_at has come, no lease on it still runs, and its deadline, if any, has not
-- come. No lease is longer than the timeout of an attempt, or outlives the deadline. Tasks of workflows alone have either.
create table if not exists cloaca_task (
    id           integer primary key autoincrement,
    queue        text    not null,
    priority     integer not null,
    run_at       integer not null,
    attempt      integer not null default 0,
    max_attempts integer not null,
    cancelled    integer not null default 0,
    lease_id     integer,
    lease_until  integer,
    claimed_at   integer,
    enqueued_at  integer not null,
    execution    integer,
    deadline     integer,
    timeout      integer,
    name         text    not null,
    worker       text,
    key          text,
    payload      text    not null,
    retry        text,
    errors       text,
    steps        text
) strict;

create index if not exists cloaca_task_claim on cloaca_task (queue, priority, run_at, id);
create unique index if not exists cloaca_task_key on cloaca_task (queue, key) where key is not null;
create index if not exists cloaca_task_lease on cloaca_task (queue, lease_until) where lease_until is not null;
create index if not exists cloaca_task_claimed on cloaca_task (claimed_at) where execution is not null;

-- Keys that stay taken for a while after their task finished (the queue's key_retention).
create table if not exists cloaca_finished_key (
    queue text    not null,
    key   text    not null,
    task  integer not null,
    until integer not null,
    primary key (queue, key)
) strict, without rowid;

create index if not exists cloaca_finished_key_until on cloaca_finished_key (until);

-- Finished tasks of queues that keep them: append-only, trimmed from the old end.
create table if not exists cloaca_task_history (
    task         integer primary key,
    queue        text    not null,
    finished_at  integer not null,
    state        text    not null,
    priority     integer not null,
    run_at       integer not null,
    attempt      integer not null,
    max_attempts integer not null,
    lease_id     integer,
    claimed_at   integer,
    enqueued_at  integer not null,
    execution    integer,
    name         text    not null,
    worker       text,
    key          text,
    payload      text    not null,
    result       text,
    errors       text
) strict;

create index if not exists cloaca_task_history_age on cloaca_task_history (queue, finished_at, task);
