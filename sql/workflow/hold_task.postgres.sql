-- @helper hold_task
--
-- When a task of an execution that is given back is to run: at run_at, or never while the execution is paused, which then remembers
-- run_at for its resume. `awaits` is the signal that the task waits for, if any. The caller has locked the execution.
create function cloaca.hold_task(tenant text, execution bigint, task bigint, run_at timestamptz, awaits text)
returns timestamptz
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    is_paused boolean;
begin
    execute format('select e.state = ''paused'' from %I.cloaca_execution e where e.id = $1', tenant)
        into is_paused using hold_task.execution;
    execute format($query$
        update %I.cloaca_execution_task n set held_run_at = case when $2 then $3 end, awaits = $4 where n.task = $1
        $query$, tenant) using hold_task.task, is_paused, hold_task.run_at, hold_task.awaits;
    return case when is_paused then 'infinity' else hold_task.run_at end;
end
$$;
