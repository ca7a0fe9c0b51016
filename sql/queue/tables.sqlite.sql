-- The settings of queues. A queue without a row has the defaults: a row is made by set_queue alone, never by a task.
-- Times and intervals are integer microseconds, booleans 0 or 1, documents JSON text.
create table if not exists cloaca_queue (
    queue         text    primary key,
    paused        integer not null default 0,
    lease         integer not null default 30000000,
    max_attempts  integer not null default 3,
    retry         text    not null default '{}',
    retention     integer not null default 0,
    key_retention integer not null default 0,
    created_at    integer not null
) strict, without rowid;

-- What run_maintenance counted last in a queue too long to be counted at once.
create table if not exists cloaca_queue_estimate (
    queue      text    primary key,
    ready      integer not null,
    scheduled  integer not null,
    running    integer not null,
    dead       integer not null,
    counted_at integer not null
) strict, without rowid;
