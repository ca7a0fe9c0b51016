-- @function schedule_stats(name text = null) -> name text, fired bigint, skipped bigint, failed bigint, last_scheduled_at timestamptz, last_fired_at timestamptz, next_at timestamptz, average_delay interval, largest_delay interval
--
-- How schedules have done since they were made.
--
-- name: of this schedule alone; null for all
-- Returns: a row for each schedule, ordered by name: how many times were fired, skipped, or failed to start anything; the newest of these
--     times; when it was last fired, and is due next; and how long after their time firings came, null while there was none
-- Errors: unknown_schedule
-- Writes: nothing
create type cloaca.schedule_counts as (
    name              text,
    fired             bigint,
    skipped           bigint,
    failed            bigint,
    last_scheduled_at timestamptz,
    last_fired_at     timestamptz,
    next_at           timestamptz,
    average_delay     interval,
    largest_delay     interval
);

create function cloaca.schedule_stats(name text default null) returns setof cloaca.schedule_counts
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query execute format($query$
        select s.name, s.fired, s.skipped, s.failed, s.last_scheduled_at, s.last_fired_at, s.next_at,
            floor(extract(epoch from s.delay) * 1000000 / nullif(s.fired, 0)) * interval '1 microsecond',
            case when s.fired > 0 then s.largest_delay end
        from %I.cloaca_schedule s where $1 is null or s.name = $1 order by s.name
        $query$, cloaca.current_tenant()) using schedule_stats.name;
    if not found and schedule_stats.name is not null then
        perform cloaca.refuse_schedule(schedule_stats.name);
    end if;
end
$$;
