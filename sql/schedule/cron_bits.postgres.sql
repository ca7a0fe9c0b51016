-- @helper cron_bits
--
-- The values that a field of a cron expression allows, a bit each, or null when it is no list of *, values, ranges and steps. The
-- names, of three letters, count from `low` on; `high` is the last value that * stands for, and one more is allowed in a week.
create function cloaca.cron_bits(field text, low integer, high integer, names text[]) returns bigint
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    last constant integer := high + (names[1] is not distinct from 'sun')::integer;
    bits bigint := 0;
    item text;
    part text[];
    bounds integer[];
begin
    foreach item in array string_to_array(cron_bits.field, ',') loop
        part := regexp_match(item, '^(?:[*]|([0-9][0-9]?|[a-z]{3})(?:-([0-9][0-9]?|[a-z]{3}))?)(?:/([0-9][0-9]?))?$');
        if part is null or part[3]::integer not between 1 and high - low + 1 then
            return null;
        end if;
        bounds := array(select coalesce(low - 1 + array_position(names, v.value), case when v.value ~ '^[0-9]' then v.value::integer end)
                        from unnest(part[1:2]) with ordinality as v (value, n) order by v.n);
        if (part[1] is not null and (bounds[1] is null or bounds[1] not between low and last))
            or (part[2] is not null and (bounds[2] is null or bounds[2] not between low and last)) then
            return null;
        end if;
        -- A week may end on Sunday; a step behind a single value goes on to the end.
        bounds := case
            when part[1] is null then array[low, high]
            when part[2] is not null then array[bounds[1], case when last > high and bounds[2] = 0 and bounds[1] > 0 then last else bounds[2] end]
            when part[3] is not null then array[bounds[1], greatest(bounds[1], high)]
            else array[bounds[1], bounds[1]] end;
        if bounds[1] > bounds[2] then
            return null;
        end if;
        bits := (select bits | bit_or(1::bigint << n) from generate_series(bounds[1], bounds[2], coalesce(part[3]::integer, 1)) n);
    end loop;
    return bits;
end
$$;
