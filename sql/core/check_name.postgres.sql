-- @helper check_name
--
-- Refuses what is no plain name.
create function cloaca.check_name(name text, what text, bytes integer default 200) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if not cloaca.is_plain(name, bytes) then
        perform cloaca.raise_condition('invalid_name',
            format('The %s must have 1 to %s bytes and no control characters.', what, bytes));
    end if;
end
$$;
