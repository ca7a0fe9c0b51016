-- @helper compare
--
-- Less than 0, 0 or more: two numbers by their value, two texts by their bytes. Null when they are anything else.
create function cloaca.compare(one jsonb, other jsonb) returns integer
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if jsonb_typeof(one) = 'number' and jsonb_typeof(other) = 'number' then
        -- Their difference may be beyond what a number can be.
        return case when one::numeric < other::numeric then -1 when one::numeric > other::numeric then 1 else 0 end;
    elsif jsonb_typeof(one) = 'string' and jsonb_typeof(other) = 'string' then
        return case when (one #>> '{}') collate "C" < (other #>> '{}') collate "C" then -1
            when (one #>> '{}') collate "C" > (other #>> '{}') collate "C" then 1 else 0 end;
    end if;
    return null;
end
$$;
