-- @helper fire_due
--
-- Fires the schedules of a tenant that are due, one after the other until `max` times or a few more were to be fired, and says how many
-- were: the late times of one schedule stay together, for its policy is about all of them. One that cannot be fired just now, because
-- of a conflict or a lack of room, is left for the next time and stops no other.
create function cloaca.fire_due(tenant text, max integer, at timestamptz) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    schedule bigint;
    made record;
    tried bigint := 0;
    put_off bigint[] := '{}';
    fired bigint := 0;
    detail text;
begin
    for turn in 1 .. max loop
        execute format($query$
            select s.id from %I.cloaca_schedule s where s.next_at <= $1 and s.id <> all ($2)
            order by s.next_at, s.id limit 1 for update skip locked
            $query$, tenant) into schedule using fire_due.at, put_off;
        exit when schedule is null;
        begin
            made := cloaca.fire_schedule(tenant, schedule, at);
            tried := tried + made.tried;
            fired := fired + made.fired;
        exception when others then
            if sqlstate ~ '^(40|53|55|57|58)' then
                put_off := put_off || schedule;
            else
                get stacked diagnostics detail = pg_exception_detail;
                perform cloaca.stop_schedule(tenant, schedule, concat_ws(': ', sqlerrm, nullif(detail, '')), at);
            end if;
        end;
        exit when tried >= max;
    end loop;
    return fired;
end
$$;
