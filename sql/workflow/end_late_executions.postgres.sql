-- @helper end_late_executions
--
-- Ends executions whose time is over as failed, at most max of them, and says how many. What others have in hand, or hold tasks of,
-- is left for the next time.
create function cloaca.end_late_executions(tenant text, max integer, at timestamptz) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
#variable_conflict use_column
declare
    execution bigint;
    ended bigint := 0;
begin
    for execution in execute format($query$
        select e.id from %I.cloaca_execution e where e.deadline <= $1 and e.finished_at is null
        order by e.deadline limit $2 for update skip locked
        $query$, tenant) using end_late_executions.at, end_late_executions.max
    loop
        begin
            perform cloaca.close_execution(tenant, execution, 'failed', 'timed out', at);
            ended := ended + 1;
        exception when lock_not_available then
            null;
        end;
    end loop;
    return ended;
end
$$;
