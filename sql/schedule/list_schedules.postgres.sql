-- @function list_schedules(after text = null, max integer = 100) -> schedule bigint, name text, cron text, timezone text, workflow text, task text, queue text, payload jsonb, priority smallint, catch_up text, max_catch_up integer, starts_at timestamptz, ends_at timestamptz, enabled boolean, next_at timestamptz, created_at timestamptz
--
-- Schedules by name. For paging, pass the last name of a page as `after`.
--
-- after: with a name after this one
-- max: how many at most, 1 to 10,000
-- Returns: a row for each schedule, ordered by name
-- Errors: invalid_argument
-- Writes: nothing
create function cloaca.list_schedules(after text default null, max integer default 100) returns table (schedule bigint, name text,
    cron text, timezone text, workflow text, task text, queue text, payload jsonb, priority smallint, catch_up text,
    max_catch_up integer, starts_at timestamptz, ends_at timestamptz, enabled boolean, next_at timestamptz, created_at timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform cloaca.check_max(list_schedules.max);
    return query execute format($query$
        select s.id, s.name, s.cron, s.timezone, s.workflow, s.task, s.queue, s.payload, s.priority, s.catch_up, s.max_catch_up,
            s.starts_at, s.ends_at, s.enabled, s.next_at, s.created_at
        from %I.cloaca_schedule s where $1 is null or s.name > $1 order by s.name limit $2
        $query$, cloaca.current_tenant()) using list_schedules.after, list_schedules.max;
end
$$;
