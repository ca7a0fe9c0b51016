-- @helper end_late_executions
--
-- Ends executions whose time is over as failed, at most max of them, and says how many. It waits for nobody: an execution that somebody
-- has in hand, or a task of, is left for the next time, whole and without a lock. Should there be anything else to wait for, a few such
-- waits are enough, and they are short.
create function cloaca.end_late_executions(tenant text, max integer, at timestamptz) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
#variable_conflict use_column
declare
    execution bigint;
    ended bigint := 0;
    left_alone bigint := 0;
    waits integer := 0;
begin
    for execution in execute format($query$
        select e.id from %I.cloaca_execution e where e.deadline <= $1 and e.finished_at is null order by e.deadline
        $query$, tenant) using end_late_executions.at
    loop
        -- A subtransaction each, which gives back the locks of what is left.
        begin
            if cloaca.take_late_execution(tenant, execution, at) then
                perform cloaca.close_execution(tenant, execution, 'failed', 'timed out', at);
                ended := ended + 1;
            else
                raise object_in_use;
            end if;
        exception
            when object_in_use then
                left_alone := left_alone + 1;
            when lock_not_available then
                waits := waits + 1;
        end;
        exit when ended >= max or left_alone >= max or waits >= 5;
    end loop;
    return ended;
end
$$;
