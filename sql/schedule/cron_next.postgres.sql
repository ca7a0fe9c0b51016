-- @function cron_next(cron text, timezone text = 'UTC', after timestamptz = null, count integer = 1) -> at timestamptz
--
-- When a schedule would be due, without making one.
--
-- A cron expression has five fields, `minute hour day month weekday`, or six, with the second before them. Each is `*`, a value, a range
-- `1-5`, a step `*/15`, `10-50/20` or `5/15` (from 5 on), or a list of these. Months and weekdays may be given by name (JAN, MON);
-- Sunday is 0 or 7. When neither day nor weekday begins with `*`, one of the two has to match, else both. @hourly, @daily, @midnight,
-- @weekly, @monthly, @yearly and @annually stand for the usual expressions.
--
-- It is the clocks of the time zone that count. A schedule is due when they reach a time that matches for the first time: where they are put
-- forward, all times that they skip are due together, at the first instant after the gap; where they are put back, a time that they show
-- twice is due the first time. A schedule whose hour begins with `*` follows the time that passes instead: it is due in both of two doubled
-- hours, and nothing is added in a gap.
--
-- cron: the expression, at most 200 bytes
-- timezone: a zone of the IANA database, as it is spelled there
-- after: later than this time; null for now
-- count: how many times, 1 to 10,000
-- Returns: the times, in their order; fewer, when there are no more before the year 10000
-- Errors: invalid_name, invalid_argument, not_supported (SQLite: other zones than UTC need the library GLib)
-- Writes: nothing
create function cloaca.cron_next(cron text, timezone text default 'UTC', after timestamptz default null, count integer default 1)
returns table (at timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform cloaca.check_name(cron_next.timezone, 'time zone');
    at := cloaca.cron_after(cron_next.cron, cron_next.timezone, cloaca.now());
    if cron_next.after is not null then
        perform cloaca.check_time(cron_next.after, 'after');
    end if;
    if cron_next.count is null or cron_next.count not between 1 and 10000 then
        perform cloaca.raise_condition('invalid_argument', 'The count must be from 1 to 10000.');
    end if;
    at := coalesce(cron_next.after, cloaca.now());
    for n in 1 .. cron_next.count loop
        at := cloaca.cron_after(cron_next.cron, cron_next.timezone, at);
        exit when at is null;
        return next;
    end loop;
end
$$;
