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
declare
    executions bigint[];
begin
    execute format($query$
        select array_agg(t.execution) from %I.cloaca_task t where t.id = any ($1) and t.execution is not null
        $query$, tenant) into executions using tasks;
    if executions is null then
        return false;
    end if;
    execute format('select from %I.cloaca_execution e where e.id = any ($1) order by e.id for key share', tenant) using executions;
    return true;
end
$$;
