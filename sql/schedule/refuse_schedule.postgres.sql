-- @helper refuse_schedule
--
-- Raises that there is no schedule of a name, or that there must be a name.
create function cloaca.refuse_schedule(name text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if name is null then
        perform cloaca.raise_condition('invalid_argument', 'The name must not be null.');
    end if;
    perform cloaca.raise_condition('unknown_schedule', format('Schedule "%s" does not exist.', name));
end
$$;
