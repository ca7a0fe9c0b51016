-- @helper cron_day
--
-- The first day from a day on that a cron expression matches, both counted from 1970-01-01; null when there is none before the
-- year 10000. Months that do not match are passed over.
create function cloaca.cron_day(fields cloaca.cron_fields, number bigint) returns bigint
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    first date := '1970-01-01'::date + cron_day.number::integer;
    next_month date;
    found bigint;
begin
    while first < '10000-01-01' loop
        next_month := (date_trunc('month', first::timestamp) + interval '1 month')::date;
        if fields.months & (1::bigint << extract(month from first)::integer) <> 0 then
            select min(d.day - '1970-01-01'::date) into found
            from (select first + n from generate_series(0, next_month - first - 1) n) d (day)
            cross join lateral (
                select fields.days & (1::bigint << extract(day from d.day)::integer) <> 0,
                    fields.weekdays & (1::bigint << extract(dow from d.day)::integer) <> 0) m (by_month, by_week)
            where (by_month and by_week) or (fields.is_either and (by_month or by_week));
            if found is not null then
                return found;
            end if;
        end if;
        first := next_month;
    end loop;
    return null;
end
$$;
