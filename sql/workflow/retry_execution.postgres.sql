-- @function retry_execution(execution bigint) -> state text, tasks bigint
--
-- Runs a failed or cancelled execution again, from the tasks that failed or were cancelled: these, and whatever comes after them, run
-- again with all their attempts; tasks that completed before keep their outputs. Its timeout begins anew.
--
-- Tasks that failed or were cancelled keep the steps that they recorded and the signals that they received; a signal that had not come,
-- or not in time, is awaited anew. What runs again only because it comes after such a task begins without either.
--
-- execution: the execution
-- Returns: the state, running, and how many tasks are to run or to be skipped again
-- Errors: unknown_execution, invalid_argument (it has not ended), execution_finished (it completed)
-- Writes: cloaca_execution, cloaca_execution_task, cloaca_execution_event, cloaca_task, cloaca_task_history,
--     cloaca_dead_letter
create function cloaca.retry_execution(execution bigint) returns table (state text, tasks bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    state text := cloaca.execution_state(tenant, retry_execution.execution, 'failed', 'cancelled');
    again record;
    due timestamptz;
begin
    if state not in ('failed', 'cancelled') then
        perform cloaca.raise_condition('invalid_argument', format('Execution %s has not ended.', retry_execution.execution));
    end if;
    again := cloaca.reset_tasks(tenant, retry_execution.execution);
    -- Workers that still hold one of them lose it.
    execute format('delete from %I.cloaca_task t where t.id = any ($1)', tenant) using again.tasks;
    execute format('delete from %I.cloaca_task_history h where h.task = any ($1)', tenant) using again.tasks;
    execute format('delete from %I.cloaca_dead_letter d where d.task = any ($1)', tenant) using again.tasks;
    execute format($query$
        update %I.cloaca_execution e set state = 'running', started_at = coalesce(e.started_at, $2), finished_at = null,
            expires_at = null, error = null, context = null, result = null, remaining = $3, deadline = $2 + e.timeout
        where e.id = $1 returning e.deadline
        $query$, tenant) into due using retry_execution.execution, at, again.finals;
    perform cloaca.add_event(tenant, retry_execution.execution, null, 'retried', null, null, null, at);
    perform cloaca.advance(tenant, cloaca.activate(tenant, again.free, at), at);
    if due is not null then
        perform cloaca.note_due(tenant, due);
    end if;
    return query select 'running', cardinality(again.tasks)::bigint;
end
$$;
