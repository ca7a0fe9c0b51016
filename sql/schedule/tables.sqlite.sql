-- One row for each schedule. next_at is null when it is disabled or has nothing more to come. Times up to last_scheduled_at are
-- dealt with for good, whatever the clock says later.
create table if not exists cloaca_schedule (
    id                integer primary key autoincrement,
    name              text    not null unique,
    cron              text    not null,
    timezone          text    not null,
    workflow          text,
    task              text,
    queue             text    not null,
    priority          integer not null,
    payload           text    not null,
    catch_up          text    not null,
    max_catch_up      integer not null,
    enabled           integer not null,
    starts_at         integer,
    ends_at           integer,
    created_at        integer not null,
    next_at           integer,
    last_scheduled_at integer,
    last_fired_at     integer,
    firings           integer not null default 0,
    fired             integer not null default 0,
    skipped           integer not null default 0,
    failed            integer not null default 0,
    delay             integer not null default 0,
    largest_delay     integer not null default 0
) strict;

create index if not exists cloaca_schedule_next on cloaca_schedule (next_at) where next_at is not null;

-- What became of scheduled times, the newest rows of each schedule; n counts them. A row of skipped times stands for `count` of
-- them, the first at scheduled_at.
create table if not exists cloaca_firing (
    schedule     integer not null,
    n            integer not null,
    scheduled_at integer not null,
    fired_at     integer,
    outcome      text    not null,
    count        integer not null,
    task         integer,
    execution    integer,
    error        text,
    primary key (schedule, n),
    unique (schedule, scheduled_at)
) strict, without rowid;

-- Times that are dealt with in this call, one after the other: what some statements tell those after them. It is empty between calls.
-- `skipped` is 0 for a time that is fired.
create table if not exists cloaca_due (
    n            integer primary key,
    schedule     integer not null,
    scheduled_at integer not null,
    skipped      integer not null,
    newest       integer not null,
    following    integer,
    task         integer,
    execution    integer,
    error        text
) strict;
