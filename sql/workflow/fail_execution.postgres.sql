-- @helper fail_execution
--
-- Ends the execution that cannot go on from this live task as failed, with the error, for maintenance. What others have in hand is left for
-- the next time; so is what is no task of an unfinished execution, with a warning. How many tasks are left so, 0 or 1.
create function cloaca.fail_execution(tenant text, task bigint, error text, at timestamptz) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
#variable_conflict use_column
declare
    execution bigint;
begin
    execute format($query$
        select e.id from %1$I.cloaca_execution e
        where e.id = (select t.execution from %1$I.cloaca_task t where t.id = $1) and e.finished_at is null
        for update nowait
        $query$, tenant) into execution using fail_execution.task;
    if execution is null then
        raise warning 'task % cannot be ended: %', fail_execution.task, fail_execution.error;
        return 1;
    end if;
    perform cloaca.close_execution(tenant, execution, 'failed', left(fail_execution.error, 10000), at);
    return 0;
exception when lock_not_available then
    return 1;
end
$$;
