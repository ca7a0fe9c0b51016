-- @helper microseconds
--
-- The length of an interval in microseconds, checked as a number before any arithmetic can overflow: 0 to 10 years, or more than
-- 0 where `positive`. A month counts 30 days and a year 365.25 days, so that no length depends on the calendar. Null stays null.
create function cloaca.microseconds(length interval, what text, positive boolean default false) returns bigint
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    seconds numeric := extract(epoch from length);
begin
    if positive and not (seconds > 0 and seconds <= 315576000) then
        perform cloaca.raise_condition('invalid_argument', format('The %s must be more than 0 and at most 10 years.', what));
    elsif not (seconds >= 0 and seconds <= 315576000) then
        perform cloaca.raise_condition('invalid_argument', format('The %s must be from 0 to 10 years.', what));
    end if;
    return seconds * 1000000;
end
$$;
