-- @helper due_times
--
-- Of the scheduled times from `first`, which has come, up to `upto`: those to fire by the policy, the first that is skipped and how many are
-- (at most 1,000 are counted), the newest of all, and the one after it. Anything may stand in the row of a schedule, for tenants can write
-- it; so no more are fired than could have been asked for, and the time that this takes does not grow with how many are late.
create function cloaca.due_times(cron text, timezone text, catch_up text, max_catch_up integer, first timestamptz, upto timestamptz,
    at timestamptz, out fires timestamptz[], out skipped_at timestamptz, out skipped bigint, out newest timestamptz,
    out following timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    most constant integer := least(max_catch_up, 1000);
    step timestamptz;
    low timestamptz := first;
    middle timestamptz;
begin
    skipped := 0;
    newest := first;
    following := cloaca.cron_after(cron, timezone, first);
    if following <= upto then
        -- The last second after which another time comes is just before the newest.
        step := upto;
        while step - low > interval '1 second' loop
            middle := low + (step - low) / 2;
            following := cloaca.cron_after(cron, timezone, middle);
            if following <= upto then
                low := middle;
                newest := following;
            else
                step := middle;
            end if;
        end loop;
        while cloaca.cron_after(cron, timezone, newest) <= upto loop
            newest := cloaca.cron_after(cron, timezone, newest);
        end loop;
        following := cloaca.cron_after(cron, timezone, newest);
    end if;

    fires := case when catch_up = 'run_all' then array[first]
        when catch_up = 'run_once' or newest >= at - interval '60 seconds' then array[newest]
        else '{}' end;
    step := first;
    while catch_up = 'run_all' and cardinality(fires) < most and step < newest loop
        step := cloaca.cron_after(cron, timezone, step);
        fires := fires || step;
    end loop;
    if catch_up = 'run_all' then
        step := cloaca.cron_after(cron, timezone, step);
    end if;
    if step <= newest and step <> all (fires) then
        skipped_at := step;
    end if;
    while step <= newest and step <> all (fires) and skipped < 1000 loop
        skipped := skipped + 1;
        step := cloaca.cron_after(cron, timezone, step);
    end loop;
end
$$;
