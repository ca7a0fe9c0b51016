-- @helper cron_match
--
-- The first local time from a local time on that a cron expression matches, in seconds since 1970-01-01 as the clocks show it;
-- null when there is none before the year 10000.
create function cloaca.cron_match(fields cloaca.cron_fields, local bigint) returns bigint
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    first constant bigint := floor(cron_match.local / 86400.0);
    rest constant integer := cron_match.local - first * 86400;
    day bigint := cloaca.cron_day(fields, first);
    hour integer := rest / 3600;
    minute integer := rest / 60 % 60;
    second integer;
begin
    if day = first then
        if fields.hours & (1::bigint << hour) <> 0 then
            if fields.minutes & (1::bigint << minute) <> 0 then
                second := cloaca.cron_bit(fields.seconds, rest % 60);
                if second is not null then
                    return day * 86400 + hour * 3600 + minute * 60 + second;
                end if;
            end if;
            minute := cloaca.cron_bit(fields.minutes, minute + 1);
            if minute is not null then
                return day * 86400 + hour * 3600 + minute * 60 + cloaca.cron_bit(fields.seconds, 0);
            end if;
        end if;
        hour := cloaca.cron_bit(fields.hours, hour + 1);
        if hour is null then
            day := cloaca.cron_day(fields, day + 1);
        end if;
    else
        hour := null;
    end if;
    return day * 86400 + coalesce(hour, cloaca.cron_bit(fields.hours, 0)) * 3600
        + cloaca.cron_bit(fields.minutes, 0) * 60 + cloaca.cron_bit(fields.seconds, 0);
end
$$;
