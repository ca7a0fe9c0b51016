-- @helper lock_execution_tasks
--
-- Locks the live tasks of an execution, which the caller has locked, in the order of their ids. Waits for a short time only: whoever has
-- one in hand may itself wait for the execution.
create function cloaca.lock_execution_tasks(tenant text, execution bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
#variable_conflict use_column
begin
    execute format($query$
        select from %1$I.cloaca_task t where t.id = any (array(
            select n.task from %1$I.cloaca_execution_task n where n.execution = $1 and n.state in ('ready', 'cancelled')))
        order by t.id for update
        $query$, tenant) using lock_execution_tasks.execution;
end
$$;
