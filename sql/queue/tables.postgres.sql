-- The settings of queues. A queue without a row has the defaults: a row is made by set_queue alone, never by a task, so that
-- enqueue, claim and complete update nothing but the task itself.
create table cloaca_queue (
    queue         text collate "C" primary key,
    paused        boolean     not null default false,
    lease         interval    not null default interval '30 seconds',
    max_attempts  integer     not null default 3,
    retry         jsonb       not null default '{}',
    retention     interval    not null default interval '0',
    key_retention interval    not null default interval '0',
    created_at    timestamptz not null
);

-- What run_maintenance counted last in a queue too long to be counted at once.
create table cloaca_queue_estimate (
    queue      text collate "C" primary key,
    ready      bigint      not null,
    scheduled  bigint      not null,
    running    bigint      not null,
    dead       bigint      not null,
    counted_at timestamptz not null
);
