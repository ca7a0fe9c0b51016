-- @function schedule_history(name text, before timestamptz = null, max integer = 100) -> scheduled_at timestamptz, fired_at timestamptz, task bigint, execution bigint, outcome text, count bigint, error text
--
-- What became of the scheduled times of a schedule, the newest first. The newest 1,000 rows are kept. For paging, pass the last
-- scheduled_at of a page as `before`.
--
-- name: of the schedule
-- before: scheduled before this time; null for all
-- max: how many at most, 1 to 10,000
-- Returns: a row for each time that was fired, with the task or execution that it made; for each that failed, with the error; and for
--     times that were skipped one after the other, with the first of them and their number (1,000 stands for that many or more)
-- Errors: unknown_schedule, invalid_argument
-- Writes: nothing
create function cloaca.schedule_history(name text, before timestamptz default null, max integer default 100)
returns table (scheduled_at timestamptz, fired_at timestamptz, task bigint, execution bigint, outcome text, count bigint, error text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    schedule bigint;
begin
    perform cloaca.check_max(schedule_history.max);
    execute format('select s.id from %I.cloaca_schedule s where s.name = $1', tenant) into schedule using schedule_history.name;
    if schedule is null then
        perform cloaca.refuse_schedule(schedule_history.name);
    end if;
    return query execute format($query$
        select f.scheduled_at, f.fired_at, f.task, f.execution, f.outcome, f.count, f.error
        from %I.cloaca_firing f where f.schedule = $1 and ($2 is null or f.scheduled_at < $2)
        order by f.scheduled_at desc limit $3
        $query$, tenant) using schedule, schedule_history.before, schedule_history.max;
end
$$;
