-- @function resume_execution(execution bigint) -> state text
--
-- Lets the tasks of a paused execution be claimed again. Resuming one that is not paused changes nothing.
--
-- execution: the execution
-- Returns: the state, pending or running
-- Errors: unknown_execution, execution_finished
-- Writes: cloaca_execution, cloaca_execution_task, cloaca_execution_event, cloaca_task
create function cloaca.resume_execution(execution bigint) returns table (state text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    state text := cloaca.execution_state(tenant, resume_execution.execution);
begin
    if state = 'paused' then
        execute format($query$
            with freed as (
                update %1$I.cloaca_task t set run_at = n.held_run_at from %1$I.cloaca_execution_task n
                where n.execution = $1 and n.state = 'ready' and n.held_run_at is not null and t.id = n.task
                returning t.id, t.queue, t.priority, t.run_at
            ), cleared as (
                update %1$I.cloaca_execution_task n set held_run_at = null
                where n.execution = $1 and n.held_run_at is not null
            )
            select cloaca.note_ready(%1$L, f.queue, f.priority, min(f.run_at), min(f.id), count(*))
            from freed f where f.run_at < 'infinity' group by f.queue, f.priority
            $query$, tenant) using resume_execution.execution;
        execute format($query$
            update %I.cloaca_execution e set state = case when e.started_at is null then 'pending' else 'running' end
            where e.id = $1 returning e.state
            $query$, tenant) into state using resume_execution.execution;
        perform cloaca.add_event(tenant, resume_execution.execution, null, 'resumed', null, null, null, cloaca.now());
    end if;
    return query select state;
end
$$;
