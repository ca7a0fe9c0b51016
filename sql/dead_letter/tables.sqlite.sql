-- Tasks that failed for good, with the last error and the history of attempts, until they are retried or resolved.
create table if not exists cloaca_dead_letter (
    id           integer primary key autoincrement,
    task         integer not null unique,
    queue        text    not null,
    failed_at    integer not null,
    status       text    not null default 'failed',
    resolution   text,
    resolved_at  integer,
    priority     integer not null,
    attempt      integer not null,
    max_attempts integer not null,
    lease_id     integer,
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
    error        text    not null,
    errors       text    not null,
    steps        text
) strict;

create index if not exists cloaca_dead_letter_queue on cloaca_dead_letter (queue, status, id);
create index if not exists cloaca_dead_letter_key on cloaca_dead_letter (queue, key) where key is not null;
