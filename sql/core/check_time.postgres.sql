-- @helper check_time
--
-- Refuses a time that is null, infinite or outside the years 1 to 9999, which is what ISO 8601 text can carry.
create function cloaca.check_time(run_at timestamptz, what text default 'run_at') returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if run_at is null or run_at < '0001-01-01 00:00:00+00' or run_at >= '10000-01-01 00:00:00+00' then
        perform cloaca.raise_condition('invalid_argument', format('The %s must be a time between the years 1 and 9999.', what));
    end if;
end
$$;
