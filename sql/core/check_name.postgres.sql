-- @helper check_name
--
-- Refuses a name that is null, empty, longer than `bytes`, or holds control characters: it would break terminals and logs.
create function cloaca.check_name(name text, what text, bytes integer default 200) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if name is null or octet_length(name) not between 1 and bytes or name ~ '[\x01-\x1f\x7f]' then
        perform cloaca.raise_condition('invalid_name',
            format('The %s must have 1 to %s bytes and no control characters.', what, bytes));
    end if;
end
$$;
