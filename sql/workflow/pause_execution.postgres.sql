-- @function pause_execution(execution bigint) -> state text
--
-- Keeps the tasks of an execution from being claimed, from the moment that this commits until resume_execution. Tasks that run go on
-- to their end; what they make ready is held, too. Pausing a paused execution changes nothing.
--
-- execution: the execution
-- Returns: the state, paused
-- Errors: unknown_execution, execution_finished
-- Writes: cloaca_execution, cloaca_execution_task, cloaca_execution_event, cloaca_task
create function cloaca.pause_execution(execution bigint) returns table (state text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    state text := cloaca.execution_state(tenant, pause_execution.execution);
begin
    if state <> 'paused' then
        execute format($query$
            with held as (
                update %1$I.cloaca_execution_task n set held_run_at = t.run_at
                from %1$I.cloaca_task t where n.execution = $1 and n.state = 'ready' and t.id = n.task
                returning n.task
            )
            update %1$I.cloaca_task t set run_at = 'infinity' where t.id = any (array(select h.task from held h))
            $query$, tenant) using pause_execution.execution;
        execute format('update %I.cloaca_execution e set state = ''paused'' where e.id = $1', tenant) using pause_execution.execution;
        perform cloaca.add_event(tenant, pause_execution.execution, null, 'paused', null, null, null, cloaca.now());
    end if;
    return query select 'paused';
end
$$;
