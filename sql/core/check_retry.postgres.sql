-- @helper check_retry
--
-- Refuses a retry policy with unknown keys or values out of range. Null stands for the queue's.
create function cloaca.check_retry(retry jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    item record;
begin
    if jsonb_typeof(retry) = 'object' then
        for item in select each.key, each.value, jsonb_typeof(each.value) as type from jsonb_each(retry) as each loop
            continue when item.key = 'strategy' and item.value in ('"fixed"', '"linear"', '"exponential"');
            -- Nested, since and does not promise that the type is looked at before the cast.
            if item.key in ('initial', 'max') and item.type = 'number' then
                continue when item.value::numeric between 0 and 315576000;
            elsif item.key = 'jitter' and item.type = 'number' then
                continue when item.value::numeric between 0 and 1;
            end if;
            retry := null;
            exit;
        end loop;
        if retry is not null then
            return;
        end if;
    elsif retry is null then
        return;
    end if;
    perform cloaca.raise_condition('invalid_argument',
        'The retry policy must be an object with strategy (fixed, linear or exponential), initial and max (seconds from 0 to '
        || '315576000) and jitter (from 0 to 1).');
end
$$;
