-- What this file is: one row, so that a later version knows what it opens.
create table if not exists cloaca_meta (
    id            integer primary key check (id = 1),
    table_version integer not null
) strict;

insert or ignore into cloaca_meta (id, table_version) values (1, 1);

-- What one statement of a function tells those after it, within one call. Every function that uses it clears it first.
create table if not exists cloaca_scratch (
    n        integer primary key,
    task     integer,
    lease_id integer,
    outcome  text,
    queue    text
) strict;
