-- @helper contains
--
-- Whether a text has another within it, an array an element, an object a key.
create function cloaca.contains(whole jsonb, part jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return case jsonb_typeof(whole)
        when 'string' then jsonb_typeof(part) = 'string' and position((part #>> '{}') in (whole #>> '{}')) > 0
        when 'array' then exists (select from jsonb_array_elements(whole) as e (value) where e.value = part)
        when 'object' then jsonb_typeof(part) = 'string' and whole ? (part #>> '{}')
    end;
end
$$;
