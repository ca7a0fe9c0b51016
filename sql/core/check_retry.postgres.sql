-- @helper check_retry
--
-- Refuses what is no retry policy. Null stands for the queue's.
create function cloaca.check_retry(retry jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if not cloaca.is_retry(retry) then
        perform cloaca.raise_condition('invalid_argument',
            'The retry policy must be an object with strategy (fixed, linear or exponential), initial and max (seconds from 0 to '
            || '315576000), jitter (from 0 to 1) and condition (all, never, transient or an object with a pattern).');
    end if;
end
$$;
