-- @helper check_max
--
-- Refuses a number of rows outside 1 to 10,000: one call is to stay one short transaction.
create function cloaca.check_max(max integer) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if max is null or max not between 1 and 10000 then
        perform cloaca.raise_condition('invalid_argument', 'The max must be from 1 to 10000.');
    end if;
end
$$;
