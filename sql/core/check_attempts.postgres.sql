-- @helper check_attempts
--
-- Refuses a max_attempts outside 1 to 1,000,000. Null stands for the queue's.
create function cloaca.check_attempts(max_attempts integer) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if max_attempts not between 1 and 1000000 then
        perform cloaca.raise_condition('invalid_argument', 'The max_attempts must be from 1 to 1000000.');
    end if;
end
$$;
