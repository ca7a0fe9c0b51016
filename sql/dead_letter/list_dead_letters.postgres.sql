-- @function list_dead_letters(queue text = null, status text = 'failed', after bigint = null, max integer = 100) -> dead_letter bigint, task bigint, queue text, name text, payload jsonb, priority smallint, attempt integer, max_attempts integer, key text, worker text, error text, errors jsonb, execution bigint, enqueued_at timestamptz, failed_at timestamptz, status text, resolution text, resolved_at timestamptz
--
-- Tasks that failed for good, with the last error and the history of attempts. For paging, pass the last dead_letter of a page as
-- `after`.
--
-- queue: of this queue alone; null for all
-- status: failed or resolved; null for both
-- after: with a larger dead_letter than this
-- max: how many at most, 1 to 10,000
-- Returns: a row for each dead letter, ordered by its id
-- Errors: invalid_argument
-- Writes: nothing
create type cloaca.dead_letter_info as (
    dead_letter  bigint,
    task         bigint,
    queue        text,
    name         text,
    payload      jsonb,
    priority     smallint,
    attempt      integer,
    max_attempts integer,
    key          text,
    worker       text,
    error        text,
    errors       jsonb,
    execution    bigint,
    enqueued_at  timestamptz,
    failed_at    timestamptz,
    status       text,
    resolution   text,
    resolved_at  timestamptz
);

create function cloaca.list_dead_letters(queue text default null, status text default 'failed', after bigint default null,
    max integer default 100) returns setof cloaca.dead_letter_info
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if list_dead_letters.status not in ('failed', 'resolved') then
        perform cloaca.raise_condition('invalid_argument', 'The status must be failed or resolved.');
    end if;
    perform cloaca.check_max(list_dead_letters.max);
    return query execute format($query$
        select d.id, d.task, d.queue, d.name, d.payload, d.priority, d.attempt, d.max_attempts, d.key, d.worker, d.error, d.errors,
            d.execution, d.enqueued_at, d.failed_at, d.status, d.resolution, d.resolved_at
        from %I.cloaca_dead_letter d
        where d.id > $3 and ($1 is null or d.queue = $1) and ($2 is null or d.status = $2)
        order by d.id limit $4
        $query$, cloaca.current_tenant())
        using list_dead_letters.queue, list_dead_letters.status, coalesce(list_dead_letters.after, 0), list_dead_letters.max;
end
$$;
