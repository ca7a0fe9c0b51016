-- @function cancel_execution(execution bigint, reason text = null) -> state text
--
-- Ends an execution: none of its tasks is claimed from the moment that this commits, and one that runs gets `cancelled` at its next
-- extend. Cancelling again changes nothing.
--
-- execution: the execution
-- reason: what is said to be its error; the first 10,000 characters are kept
-- Returns: the state, cancelled
-- Errors: unknown_execution, execution_finished (when it completed or failed)
-- Writes: cloaca_execution, cloaca_execution_task, cloaca_execution_event, cloaca_task, cloaca_task_history
create function cloaca.cancel_execution(execution bigint, reason text default null) returns table (state text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    state text := cloaca.execution_state(tenant, cancel_execution.execution, 'cancelled');
begin
    if state <> 'cancelled' then
        perform cloaca.close_execution(tenant, cancel_execution.execution, 'cancelled', left(reason, 10000), cloaca.now());
    end if;
    return query select 'cancelled';
end
$$;
