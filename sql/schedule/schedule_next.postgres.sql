-- @helper schedule_next
--
-- The first time after a time at which a schedule is due, from its start to its end; null when there is none.
create function cloaca.schedule_next(cron text, timezone text, after timestamptz, starts_at timestamptz, ends_at timestamptz)
returns timestamptz
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    at constant timestamptz := cloaca.cron_after(cron, timezone, greatest(after, starts_at - interval '1 microsecond'));
begin
    return case when at <= coalesce(ends_at, at) then at end;
end
$$;
