-- @helper execution_state
--
-- Locks an execution against completions and everybody else, then its live tasks, has executions go on from what the transaction ended, and
-- tells its state. Raises when there is none of that id, or when it has ended in a state that is not among `ends`.
--
-- A transaction that claimed or extended a task before has that in hand, and completing it needs the execution: so while tasks are not
-- to be had, the execution is let go of again.
create function cloaca.execution_state(tenant text, execution bigint, variadic ends text[] default '{}') returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    state text;
    is_locked boolean := false;
    patience constant interval := nullif(current_setting('lock_timeout'), '0');
    begun constant timestamptz := clock_timestamp();
begin
    loop
        begin
            is_locked := false;
            execute format('select e.state from %I.cloaca_execution e where e.id = $1 for update', tenant)
                into state using execution_state.execution;
            is_locked := true;
            if state is null then
                perform cloaca.refuse_execution(execution_state.execution);
            end if;
            perform cloaca.lock_execution_tasks(tenant, execution_state.execution);
            exit;
        exception when lock_not_available then
            if not is_locked or clock_timestamp() > begun + patience then
                raise;
            end if;
        end;
        perform pg_sleep(0.02);
    end loop;
    -- What this very transaction ended counts as ended before.
    perform cloaca.advance_now();
    execute format('select e.state from %I.cloaca_execution e where e.id = $1', tenant) into state using execution_state.execution;
    if state <> all (ends) then
        perform cloaca.refuse_finished(execution_state.execution, state);
    end if;
    return state;
end
$$;
