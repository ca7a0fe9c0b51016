-- @helper cron_after_sql
--
-- What clo_cron_next of src/common/cron.c does, step by step, for servers without the library.
create function cloaca.cron_after_sql(cron text, timezone text, after timestamptz) returns timestamptz
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
    fields constant cloaca.cron_fields := cloaca.cron_read(cron);
    second bigint := floor(extract(epoch from after));
    local bigint;
    shown bigint;
    change bigint;
    next bigint;
begin
    perform cloaca.use_zone(cron_after_sql.timezone);
    if fields.is_elapsed then
        -- The first time at which the clocks show what matches, looked for from one change of the offset to the next.
        change := second + 1;
        while change is not null loop
            second := change;
            local := cloaca.cron_match(fields, second + cloaca.zone_offset(second));
            next := local - cloaca.zone_offset(second);
            change := cloaca.zone_change(second, next);
        end loop;
    else
        -- The latest that the clocks have shown: what they show, or, when they were put back, what they showed before.
        shown := second + cloaca.zone_offset(second);
        change := cloaca.zone_change(second - 172800, second) - 1;
        local := cloaca.cron_match(fields, greatest(shown, change + cloaca.zone_offset(change)) + 1);
        -- When they first show the next that matches or, if they skip it, more.
        change := cloaca.zone_change(local - 86400, local + 86400);
        next := local - cloaca.zone_offset(local - 86400);
        if next >= change then
            next := greatest(change, local - cloaca.zone_offset(change));
        end if;
    end if;
    return case when next <= 253402300799 then to_timestamp(next) end;
end
$$;
