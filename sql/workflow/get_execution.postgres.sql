-- @function get_execution(execution bigint) -> execution bigint, workflow text, version text, state text, key text, input jsonb, context jsonb, result jsonb, error text, tasks jsonb, created_at timestamptz, started_at timestamptz, finished_at timestamptz, deadline timestamptz
--
-- Everything about one execution but its tasks, which list_execution_tasks gives. Where the server has the library, what
-- comes after tasks that the caller's own transaction ended is there once that has committed, or has cancelled, paused, resumed or retried
-- an execution.
--
-- execution: the execution
-- Returns: one row. The state is pending (no task has been claimed), running, paused, completed, failed or cancelled. input is what
--     it was started with, context what that became and result the outputs of its final tasks by name, both once it has ended; error
--     the first failed task's; tasks how many there are in all and in which state
-- Errors: unknown_execution
-- Writes: nothing
create function cloaca.get_execution(execution bigint) returns setof cloaca.execution_info
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query select i.* from cloaca.execution_info(cloaca.current_tenant(), get_execution.execution) i;
    if not found then
        perform cloaca.refuse_execution(get_execution.execution);
    end if;
end
$$;
