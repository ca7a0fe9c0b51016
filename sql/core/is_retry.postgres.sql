-- @helper is_retry
--
-- Whether a document is a retry policy: no unknown keys, no values out of range. Null stands for the default, and is one.
create function cloaca.is_retry(retry jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    item record;
begin
    if retry is null then
        return true;
    elsif jsonb_typeof(retry) <> 'object' then
        return false;
    end if;
    for item in select each.key, each.value, jsonb_typeof(each.value) as type from jsonb_each(retry) as each loop
        continue when item.key = 'strategy' and item.value in ('"fixed"', '"linear"', '"exponential"');
        continue when item.key = 'condition' and item.value in ('"all"', '"never"', '"transient"');
        -- Nested, since and does not promise that the type is looked at before the cast.
        if item.key in ('initial', 'max') and item.type = 'number' then
            continue when item.value::numeric between 0 and 315576000;
        elsif item.key = 'jitter' and item.type = 'number' then
            continue when item.value::numeric between 0 and 1;
        elsif item.key = 'condition' and item.type = 'object' then
            continue when jsonb_typeof(item.value -> 'pattern') = 'string' and item.value - 'pattern' = '{}'
                and item.value ->> 'pattern' <> '';
        end if;
        return false;
    end loop;
    return true;
end
$$;
