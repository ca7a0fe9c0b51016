-- @helper check_priority
--
-- Refuses a priority that is null or does not fit its column. The argument is an integer, since SQL does not take a plain 5 for a
-- smallint.
create function cloaca.check_priority(priority integer) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if priority is null then
        perform cloaca.raise_condition('invalid_argument', 'The priority must not be null.');
    elsif priority not between -32768 and 32767 then
        perform cloaca.raise_condition('invalid_argument', 'The priority must be an integer from -32768 to 32767.');
    end if;
end
$$;
