-- @helper zone_change
--
-- The first time after `first` and up to `last` at which the clocks of the session's time zone are put forward or back, in seconds
-- since 1970-01-01; null when there is none. An offset stays the same for two days after it changed, so looking that often is enough.
create function cloaca.zone_change(first bigint, last bigint) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    old constant bigint := cloaca.zone_offset(first);
    until bigint;
    middle bigint;
begin
    while first < last loop
        until := least(first + 172800, last);
        if cloaca.zone_offset(until) = old then
            first := until;
            continue;
        end if;
        while until - first > 1 loop
            middle := first + (until - first) / 2;
            if cloaca.zone_offset(middle) = old then
                first := middle;
            else
                until := middle;
            end if;
        end loop;
        return until;
    end loop;
    return null;
end
$$;
