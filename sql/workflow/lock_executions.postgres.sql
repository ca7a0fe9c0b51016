-- @helper lock_executions
--
-- Keeps the executions of tasks from being paused, cancelled or ended by others while the caller's transaction ends these tasks. Must
-- come before the tasks' own rows are locked: that is the order of locks everywhere. Completions do not stand in each other's way.
-- True when there are any.
create function cloaca.lock_executions(tenant text, tasks bigint[]) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform from cloaca.query($query$
        select e.id from %1$I.cloaca_execution e
        where e.id = any (array(
            select t.execution from %1$I.cloaca_task t where t.id = any ($1[1]::bigint[]) and t.execution is not null))
        order by e.id for key share
        $query$, tenant, tasks::text) as q (execution bigint);
    return found;
end
$$;
