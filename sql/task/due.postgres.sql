-- @helper due
--
-- When a task becomes claimable: at run_at, after delay, or at once.
create function cloaca.due(run_at timestamptz, delay interval, at timestamptz) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if run_at is not null and delay is not null then
        perform cloaca.raise_condition('invalid_argument', 'Give run_at or delay, not both.');
    elsif run_at is not null then
        perform cloaca.check_time(run_at);
    end if;
    return coalesce(run_at, at + cloaca.microseconds(delay, 'delay') * interval '1 microsecond', at);
end
$$;
